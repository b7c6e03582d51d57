//! When a link is dialled, and when not.

use std::time::Duration;

use crate::drivers::Role;
use crate::outcome::{Established, Failure};

/// First pause after a failure.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Longest pause of what nothing can replace: as long as that nobody notices that it is back.
const PAUSE_ALONE_MAX: Duration = Duration::from_secs(30);
/// First pause after a refused login: an account is locked by those who hurry.
const PAUSE_REFUSED: Duration = Duration::from_secs(60);
/// Longest of those.
const PAUSE_REFUSED_MAX: Duration = Duration::from_secs(1800);
/// A device that is not there is looked for this often; that costs nothing.
const PAUSE_NO_DEVICE: Duration = Duration::from_secs(5);
/// Attempts until the link is given up for a while.
const ATTEMPTS_MAX: u32 = 10;
/// How long.
const PAUSE_GIVEN_UP: Duration = Duration::from_secs(1800);
/// A connection that lasted so long was good: the next failure is the first again.
const GOOD: Duration = Duration::from_secs(60);

/// What a link is doing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Not wanted.
    Idle,
    /// Its plan is being run.
    Dialling {
        /// For what.
        role: Role,
        /// Since the last success, from 1.
        attempt: u32,
    },
    /// Established.
    Up {
        /// For what.
        role: Role,
        /// Since when.
        since: Duration,
        /// What it is.
        connection: Established,
    },
    /// Being taken down.
    Stopping,
    /// Until the next attempt.
    Waiting {
        /// When that is.
        until: Duration,
        /// Why the last one failed.
        why: Failure,
        /// It failed so often that others should be tried.
        given_up: bool,
    },
    /// Not tried again by itself. A SIM that wants its PUK may be when its owner says so, a PIN that was refused only when the
    /// configuration has another.
    Refused(Failure),
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// It is wanted, for this.
    Want(Role),
    /// It is not wanted any more.
    Drop,
    /// The plan has come to its end, and the link is established.
    Established(Established),
    /// The attempt failed, or the established connection ended; everything is undone. Each start has one end: this, or
    /// [`Event::Stopped`].
    Ended(Failure),
    /// It is taken down, everything is undone.
    Stopped,
    /// Nothing but the passing of time.
    Tick,
}

impl Phase {
    /// What it runs for, or is begun for.
    pub fn role(&self) -> Option<Role> {
        match self {
            Phase::Dialling { role, .. } | Phase::Up { role, .. } => Some(*role),
            _ => None,
        }
    }
}

/// What is to be done.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Run the plan for this role.
    Start(Role),
    /// End what runs, undo everything, then say [`Event::Stopped`].
    Stop,
}

/// One link.
#[derive(Clone, Debug)]
pub struct Dialler {
    phase: Phase,
    wanted: Option<Role>,
    failures: u32,
    /// Its PIN was refused.
    barred: bool,
    /// Nothing else can be tried instead.
    alone: bool,
    /// State of the generator of jitter.
    seed: u64,
}

impl Dialler {
    /// Not wanted. `seed` spreads the attempts of many; one whose PIN was refused (`barred`) is not tried.
    pub fn new(seed: u64, barred: bool) -> Self {
        let mut dialler =
            Dialler { phase: Phase::Idle, wanted: None, failures: 0, barred, alone: false, seed };
        dialler.rest();
        dialler
    }

    /// Whether its PIN is one that was refused: what does not run yet is not begun then.
    pub fn bar(&mut self, barred: bool) {
        self.barred = barred;
        if barred && matches!(self.phase, Phase::Idle | Phase::Waiting { .. }) {
            self.rest();
        }
    }

    /// Whether there is nothing else that could be tried instead, as for a trial: it is never given up then.
    pub fn keep_trying(&mut self, alone: bool) {
        self.alone = alone;
    }

    /// Its owner wants it: it is tried at once, unless an account or a SIM would be locked by haste. A SIM that is locked is told
    /// no PIN.
    pub fn hasten(&mut self) {
        let hastened = match &self.phase {
            Phase::Waiting { why, .. } => *why != Failure::LoginRefused,
            Phase::Refused(why) => *why == Failure::SimLocked,
            _ => false,
        };
        if hastened {
            self.failures = 0;
            self.rest();
        }
    }

    /// Nothing runs, and nothing has to be waited for.
    fn rest(&mut self) {
        self.phase = if self.barred { Phase::Refused(Failure::PinRefused) } else { Phase::Idle };
    }

    /// What it is doing.
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// When [`Event::Tick`] is due.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.phase {
            Phase::Waiting { until, .. } if self.wanted.is_some() => Some(*until),
            _ => None,
        }
    }

    /// The link means something else from now on: what runs is ended and, if it is still wanted, begun anew; what was refused
    /// may be tried again, but for a PIN that was (`barred`).
    pub fn restart(&mut self, barred: bool) -> Option<Action> {
        self.failures = 0;
        self.barred = barred;
        match self.phase {
            Phase::Dialling { .. } | Phase::Up { .. } => {
                self.phase = Phase::Stopping;
                Some(Action::Stop)
            }
            Phase::Stopping => None,
            Phase::Idle | Phase::Waiting { .. } | Phase::Refused(_) => {
                self.rest();
                None
            }
        }
    }

    /// Takes an event at `now`; what is to be done for it.
    pub fn handle(&mut self, now: Duration, event: Event) -> Option<Action> {
        match event {
            Event::Want(role) => self.wanted = Some(role),
            Event::Drop => self.wanted = None,
            Event::Established(connection) => self.established(now, connection),
            Event::Ended(why) => self.ended(now, why),
            Event::Stopped => self.stopped(),
            Event::Tick => {}
        }
        self.act(now)
    }

    fn established(&mut self, now: Duration, connection: Established) {
        if let Phase::Dialling { role, .. } = self.phase {
            self.phase = Phase::Up { role, since: now, connection };
        }
    }

    fn stopped(&mut self) {
        if self.phase == Phase::Stopping {
            self.rest();
        }
    }

    fn ended(&mut self, now: Duration, why: Failure) {
        if self.phase == Phase::Stopping {
            // It was faster than we were.
            return self.stopped();
        }
        if let Phase::Up { since, .. } = self.phase
            && now.saturating_sub(since) >= GOOD
        {
            self.failures = 0;
        }
        if matches!(why, Failure::PinRefused | Failure::SimLocked) {
            self.phase = Phase::Refused(why);
            return;
        }
        if !matches!(why, Failure::NoDevice(_)) {
            self.failures += 1;
        }
        let alone = self.alone || self.wanted == Some(Role::Trial);
        let given_up = self.failures >= ATTEMPTS_MAX && !alone;
        let pause = match self.pause(&why) {
            _ if given_up => PAUSE_GIVEN_UP,
            pause if alone && why != Failure::LoginRefused => pause.min(PAUSE_ALONE_MAX),
            pause => pause,
        };
        if given_up {
            self.failures = 0;
        }
        self.phase = Phase::Waiting { until: now + self.jitter(pause), why, given_up };
    }

    /// Doubles with every failure.
    fn pause(&self, why: &Failure) -> Duration {
        let (first, max) = match why {
            Failure::NoDevice(_) => return PAUSE_NO_DEVICE,
            Failure::LoginRefused => (PAUSE_REFUSED, PAUSE_REFUSED_MAX),
            _ => (PAUSE_FIRST, PAUSE_MAX),
        };
        let doublings = self.failures.saturating_sub(1).min(16);
        (first * (1 << doublings)).min(max)
    }

    /// A quarter less to a quarter more, so that a hundred routers do not call at once when a concentrator returns.
    fn jitter(&mut self, pause: Duration) -> Duration {
        // Marsaglia's xorshift64*, whose state must not be 0.
        let mut x = self.seed | 1;
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.seed = x;
        let thousandths = 750 + (x.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % 501;
        let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).saturating_mul(thousandths) / 1000;
        Duration::from_millis(ms)
    }

    fn act(&mut self, now: Duration) -> Option<Action> {
        match (self.phase.role(), self.wanted) {
            (Some(role), wanted) if wanted != Some(role) => {
                self.phase = Phase::Stopping;
                Some(Action::Stop)
            }
            (Some(_), _) => None,
            (None, Some(role)) if self.may_start(now) => {
                self.phase = Phase::Dialling { role, attempt: self.failures + 1 };
                Some(Action::Start(role))
            }
            (None, _) => None,
        }
    }

    fn may_start(&self, now: Duration) -> bool {
        match &self.phase {
            Phase::Idle => true,
            Phase::Waiting { until, .. } => now >= *until,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn up(d: &mut Dialler, now: Duration) {
        assert_eq!(d.handle(now, Event::Want(Role::Carry)), Some(Action::Start(Role::Carry)));
        assert_eq!(d.handle(now, Event::Established(Established::default())), None);
        assert!(matches!(d.phase(), Phase::Up { .. }));
    }

    /// Seconds until the next attempt after each of `count` failures.
    fn pauses(why: &Failure, count: usize) -> Vec<u64> {
        let mut d = Dialler::new(7, false);
        let mut now = S(0);
        d.handle(now, Event::Want(Role::Carry));
        let mut found = Vec::new();
        for _ in 0..count {
            assert_eq!(d.handle(now, Event::Ended(why.clone())), None);
            let at = d.wake_at().unwrap_or(now);
            assert_eq!(d.handle(at - Duration::from_millis(1), Event::Tick), None, "not before its time");
            found.push((at - now).as_secs());
            now = at;
            assert_eq!(d.handle(now, Event::Tick), Some(Action::Start(Role::Carry)));
        }
        found
    }

    #[test]
    fn pauses_double_up_to_a_limit_and_then_it_is_given_up_for_half_an_hour() {
        let found = pauses(&Failure::NoAnswer, 11);
        for (found, expected) in found.iter().zip([5, 10, 20, 40, 80, 160, 300, 300, 300, 1800, 5]) {
            assert!((expected * 3 / 4..=expected * 5 / 4).contains(found), "{found} for {expected}");
        }
    }

    #[test]
    fn a_refused_login_is_tried_seldom_and_a_missing_device_often() {
        assert!(pauses(&Failure::LoginRefused, 3).iter().zip([45, 90, 180]).all(|(p, least)| *p >= least));
        assert!(pauses(&Failure::NoDevice("x".into()), 20).iter().all(|p| *p <= 6), "and is never given up");
    }

    #[test]
    fn what_nothing_can_replace_is_never_given_up_and_never_long_in_coming() {
        for role in [Role::Trial, Role::Carry] {
            let mut d = Dialler::new(7, false);
            d.keep_trying(role == Role::Carry);
            let mut now = S(0);
            d.handle(now, Event::Want(role));
            for _ in 0..30 {
                d.handle(now, Event::Ended(Failure::NoAnswer));
                let at = d.wake_at().unwrap_or(now);
                assert!(at - now <= S(38), "{:?}", at - now);
                now = at;
                assert_eq!(d.handle(now, Event::Tick), Some(Action::Start(role)));
            }
        }
    }

    #[test]
    fn its_owner_ends_a_wait_but_for_a_refused_login() {
        for (why, hastened) in [(Failure::NoAnswer, true), (Failure::LoginRefused, false)] {
            let mut d = Dialler::new(7, false);
            d.handle(S(0), Event::Want(Role::Carry));
            for _ in 0..12 {
                d.handle(S(0), Event::Ended(why.clone()));
                let at = d.wake_at().unwrap_or_default();
                d.handle(at, Event::Tick);
            }
            d.handle(S(0), Event::Ended(why));
            d.hasten();
            assert_eq!(d.handle(S(1), Event::Tick).is_some(), hastened);
        }
    }

    /// Its owner puts the SIM in, or takes its lock off elsewhere.
    #[test]
    fn a_sim_that_was_missing_or_locked_is_tried_when_its_owner_asks() {
        for (why, by_itself) in
            [(Failure::NoSim, true), (Failure::SimLocked, false), (Failure::PinRefused, false)]
        {
            let mut d = Dialler::new(7, false);
            d.handle(S(0), Event::Want(Role::Carry));
            d.handle(S(0), Event::Ended(why.clone()));
            assert_eq!(d.wake_at().is_some_and(|at| at < S(7)), by_itself);
            d.hasten();
            assert_eq!(d.handle(S(1), Event::Tick).is_some(), why != Failure::PinRefused);
            // A PIN that was refused is not told for it.
            let mut d = Dialler::new(7, false);
            d.handle(S(0), Event::Want(Role::Carry));
            d.handle(S(0), Event::Ended(why));
            d.bar(true);
            d.hasten();
            assert_eq!(d.handle(S(1), Event::Tick), None);
        }
    }

    #[test]
    fn a_refused_pin_is_never_tried_again() {
        let mut d = Dialler::new(1, false);
        d.handle(S(0), Event::Want(Role::Carry));
        assert_eq!(d.handle(S(1), Event::Ended(Failure::PinRefused)), None);
        for hour in 1..100 {
            assert_eq!(d.handle(S(3600 * hour), Event::Tick), None);
            assert_eq!(d.handle(S(3600 * hour), Event::Drop), None);
            assert_eq!(d.handle(S(3600 * hour), Event::Want(Role::Carry)), None);
        }
        assert_eq!(Dialler::new(1, true).handle(S(0), Event::Want(Role::Carry)), None);
    }

    #[test]
    fn a_barred_link_runs_on_but_is_not_begun_anew() {
        let mut d = Dialler::new(1, false);
        up(&mut d, S(0));
        d.bar(true);
        assert!(matches!(d.phase(), Phase::Up { .. }), "nothing healthy is disturbed");
        assert_eq!(d.restart(true), Some(Action::Stop));
        assert_eq!(d.handle(S(1), Event::Stopped), None);
        assert_eq!(*d.phase(), Phase::Refused(Failure::PinRefused));
        assert_eq!(d.restart(false), None);
        assert_eq!(d.handle(S(2), Event::Tick), Some(Action::Start(Role::Carry)), "another PIN");
    }

    #[test]
    fn another_role_is_another_connection() {
        let mut d = Dialler::new(1, false);
        assert_eq!(d.handle(S(0), Event::Want(Role::Trial)), Some(Action::Start(Role::Trial)));
        assert_eq!(d.handle(S(1), Event::Want(Role::Carry)), Some(Action::Stop));
        assert_eq!(d.handle(S(2), Event::Established(Established::default())), None, "too late");
        assert_eq!(d.handle(S(3), Event::Stopped), Some(Action::Start(Role::Carry)));
    }

    #[test]
    fn a_good_connection_forgets_the_failures_before_it() {
        let mut d = Dialler::new(1, false);
        d.handle(S(0), Event::Want(Role::Carry));
        for _ in 0..5 {
            d.handle(S(0), Event::Ended(Failure::NoAnswer));
            d.handle(S(10_000), Event::Tick);
        }
        d.handle(S(10_000), Event::Established(Established::default()));
        d.handle(S(10_100), Event::Ended(Failure::Lost));
        assert!(d.wake_at().is_some_and(|at| at < S(10_107)), "{:?}", d.phase());
    }

    #[test]
    fn dropped_is_stopped_and_stays_down() {
        let mut d = Dialler::new(1, false);
        up(&mut d, S(0));
        assert_eq!(d.handle(S(1), Event::Drop), Some(Action::Stop));
        assert_eq!(d.handle(S(1), Event::Drop), None, "once");
        assert_eq!(d.handle(S(2), Event::Stopped), None);
        assert_eq!((d.phase(), d.wake_at()), (&Phase::Idle, None));
    }

    proptest::proptest! {
        /// Whatever happens in whatever order: never two plans at once, and nothing is started that is not wanted.
        #[test]
        fn at_most_one_plan_runs(events in proptest::collection::vec((0u8..7, 0u64..400), 0..200)) {
            let mut d = Dialler::new(3, false);
            let (mut now, mut runs, mut wanted) = (S(0), false, None);
            for (kind, seconds) in events {
                now += S(seconds);
                let event = match kind {
                    0 => Event::Want(Role::Carry),
                    1 => Event::Want(Role::Trial),
                    2 => Event::Drop,
                    3 if runs => Event::Established(Established::default()),
                    4 if runs => Event::Ended(Failure::NoAnswer),
                    5 if runs && matches!(d.phase(), Phase::Stopping) => Event::Stopped,
                    _ => Event::Tick,
                };
                match &event {
                    Event::Want(role) => wanted = Some(*role),
                    Event::Drop => wanted = None,
                    Event::Ended(_) | Event::Stopped => runs = false,
                    _ => {}
                }
                match d.handle(now, event) {
                    Some(Action::Start(role)) => {
                        proptest::prop_assert!(!runs && wanted == Some(role));
                        runs = true;
                    }
                    Some(Action::Stop) => proptest::prop_assert!(runs && wanted.is_none_or(|_| true)),
                    None => {}
                }
            }
        }
    }
}
