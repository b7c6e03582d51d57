//! Every step of the score machine, against mwan3track's own arithmetic written as plainly as it is there.

use super::*;
use proptest::prelude::*;

fn settings(up: u32, down: u32) -> Tracking {
    let s = Duration::from_secs;
    Tracking {
        method: ProbeMethod::Ping,
        targets: vec![],
        track_gateway: false,
        reliability: 1,
        count: 1,
        timeout: s(4),
        interval: s(10),
        failure_interval: s(7),
        recovery_interval: s(6),
        keep_failure_interval: false,
        up,
        down,
        size: 56,
        max_ttl: 60,
        quality: None,
    }
}

fn ips(n: u8) -> Vec<ProbeTarget> {
    (1..=n).map(|i| IpAddr::from([192, 0, 2, i]).into()).collect()
}

/// Plays rounds against a tracker, keeping the clock.
struct Player {
    s: Tracking,
    t: Tracker,
    now: Time,
}

impl Player {
    fn new(s: Tracking, initial: InitialState, targets: u8) -> Self {
        let t = Tracker::start(&s, initial, ips(targets), Time(0));
        Player { s, t, now: Time(0) }
    }

    /// One round in which the first `answers` targets answer. Returns the time until the next one starts.
    fn round(&mut self, answers: usize) -> Duration {
        self.now = self.now.max(self.t.wake_at().expect("a round is due"));
        let started = self.now;
        let answering = &ips(8)[..answers];
        let mut whole = started;
        while !self.try_round(answering) {
            // A turn was missed: everybody is asked at once.
            assert_eq!(self.t.wake_at(), Some(self.now));
            whole = self.now;
        }
        self.t.wake_at().expect("a next round").since(whole)
    }

    /// One round in which these answer. Whether it came to an outcome.
    fn try_round(&mut self, answering: &[ProbeTarget]) -> bool {
        let plan = self.t.start_round(&self.s, self.now).expect("a round starts");
        for (target, ip) in plan.targets.iter().enumerate().filter(|(_, ip)| answering.contains(ip)) {
            assert!(self.t.targets().iter().any(|t| t.probe() == *ip));
            self.now = self.now + Duration::from_millis(20);
            let rtt = Duration::from_millis(20);
            if self.t.reply(&self.s, plan.round, target, rtt, self.now).is_some() {
                // The others answer too, a little later.
                for late in target + 1..plan.targets.len() {
                    if answering.contains(&plan.targets[late]) {
                        self.t.reply(&self.s, plan.round, late, rtt, self.now);
                    }
                }
                return true;
            }
        }
        self.now = self.t.wake_at().expect("a deadline");
        self.t.timeout(&self.s, self.now).is_some()
    }
}

#[test]
fn down_rounds_take_it_offline_and_up_rounds_bring_it_back() {
    let mut p = Player::new(settings(3, 5), InitialState::Online, 4);
    assert_eq!((p.t.state(), p.t.score()), (State::Online, 8));
    for expected in [7, 6, 5, 4] {
        assert_eq!(p.round(0), Duration::from_secs(7));
        assert_eq!((p.t.state(), p.t.score()), (State::Disconnecting, expected));
    }
    p.round(0);
    assert_eq!((p.t.state(), p.t.score(), p.t.bad_rounds(), p.t.lost()), (State::Offline, 0, 5, 20));
    assert_eq!(p.round(0), Duration::from_secs(10), "offline: the normal interval again");
    for expected in [1, 2] {
        assert_eq!(p.round(1), Duration::from_secs(6));
        assert_eq!((p.t.state(), p.t.score()), (State::Connecting, expected));
    }
    assert_eq!(p.round(1), Duration::from_secs(6));
    assert_eq!((p.t.state(), p.t.score(), p.t.lost()), (State::Online, 8, 0));
    assert_eq!(p.round(1), Duration::from_secs(10));
}

#[test]
fn one_good_round_resets_a_failing_path() {
    let mut p = Player::new(settings(5, 5), InitialState::Online, 1);
    p.round(0);
    p.round(0);
    p.round(1);
    assert_eq!((p.t.state(), p.t.score()), (State::Online, 10));
}

#[test]
fn one_bad_round_resets_a_recovering_path() {
    let mut p = Player::new(settings(5, 5), InitialState::Offline, 1);
    p.round(1);
    p.round(1);
    p.round(0);
    assert_eq!((p.t.state(), p.t.score()), (State::Offline, 0));
}

#[test]
fn keep_failure_interval_applies_while_offline() {
    let s = Tracking { keep_failure_interval: true, ..settings(2, 1) };
    let mut p = Player::new(s, InitialState::Online, 1);
    p.round(0);
    assert_eq!(p.t.state(), State::Offline);
    assert_eq!(p.round(0), Duration::from_secs(7));
}

#[test]
fn detection_takes_the_same_time_for_any_number_of_targets() {
    for targets in [1, 4, 8] {
        let s = Tracking { failure_interval: Duration::from_secs(10), ..settings(5, 5) };
        let mut p = Player::new(s, InitialState::Online, targets);
        let bound = worst_case_detection(&p.s, &p.t);
        let mut last_good = p.now;
        for _ in 0..3 {
            p.round(1);
            last_good = p.now;
        }
        while p.t.state() != State::Offline {
            p.round(0);
        }
        let took = p.now.since(last_good);
        assert!(took <= bound, "{targets} targets: {took:?} > {bound:?}");
        assert!(took > Duration::from_secs(50), "down × interval + timeout = 54 s, less the reply: {took:?}");
    }
}

#[test]
fn a_round_is_good_when_enough_targets_answer_and_bad_as_soon_as_they_cannot() {
    let s = Tracking { reliability: 2, ..settings(1, 1) };
    let mut t = Tracker::start(&s, InitialState::Online, ips(3), Time(0));
    let round = t.start_round(&s, Time(0)).expect("due").round;
    let at = Time::from_ms(5);
    assert_eq!(t.reply(&s, round, 0, Duration::ZERO, at), None);
    assert_eq!(t.reply(&s, round, 0, Duration::ZERO, at), None, "the same target does not count twice");
    assert_eq!(t.failure(&s, round, 1, "EPERM".into(), at), None, "two can still answer");
    assert_eq!(t.failure(&s, round, 2, "EPERM".into(), at), Some(Outcome::Bad));
    assert_eq!(t.state(), State::Offline);
}

#[test]
fn replies_of_another_round_do_not_count() {
    let s = settings(1, 1);
    let mut t = Tracker::start(&s, InitialState::Online, ips(1), Time(0));
    let round = t.start_round(&s, Time(0)).expect("due").round;
    assert_eq!(t.timeout(&s, Time::from_ms(4000)), Some(Outcome::Bad));
    assert_eq!(t.reply(&s, round, 0, Duration::ZERO, Time::from_ms(4001)), None);
    assert_eq!(t.reply(&s, round + 7, 0, Duration::ZERO, Time::from_ms(4001)), None);
    assert_eq!(t.reply(&s, round, 99, Duration::ZERO, Time::from_ms(4001)), None);
    assert_eq!(t.state(), State::Offline);
}

#[test]
fn a_returning_path_is_proven_by_one_answer_and_has_down_rounds_for_it() {
    let s = settings(3, 4);
    for lost in 0..4 {
        let t = Tracker::returning(&s, ips(1), Time(0));
        let mut p = Player { s: s.clone(), t, now: Time(0) };
        for _ in 0..lost {
            assert!(!p.t.state().usable() && p.t.is_returning());
            p.round(0);
        }
        p.round(1);
        assert_eq!((p.t.state(), p.t.is_returning()), (State::Online, false), "after {lost} lost rounds");
    }
    let mut p = Player { t: Tracker::returning(&s, ips(1), Time(0)), s, now: Time(0) };
    for _ in 0..4 {
        p.round(0);
    }
    assert_eq!((p.t.state(), p.t.is_returning(), p.t.bad_rounds()), (State::Offline, false, 4));
    p.round(1);
    assert_eq!((p.t.state(), p.t.score()), (State::Connecting, 1), "from here on as any other");
}

/// Interval and timeout 0.2 s, three bad rounds; `reliability` 1.
fn fast() -> Tracking {
    let s = Duration::from_millis(200);
    Tracking { timeout: s, interval: s, failure_interval: s, recovery_interval: s, ..settings(3, 3) }
}

/// Milliseconds between two round starts, and who was asked.
fn starts(p: &mut Player, rounds: usize, answering: &[ProbeTarget]) -> Vec<(u64, Vec<ProbeTarget>)> {
    let mut starts = vec![];
    for _ in 0..rounds {
        let at = p.t.wake_at().expect("due");
        starts.push((at.since(p.now).as_millis() as u64, {
            p.now = at;
            let mut probe = p.t.clone();
            probe.start_round(&p.s, at).expect("due").targets
        }));
        p.try_round(answering);
        p.now = at;
    }
    starts
}

#[test]
fn targets_of_a_healthy_path_take_turns_and_each_is_asked_once_in_an_interval() {
    let all = ips(4);
    let mut p = Player::new(fast(), InitialState::Online, 4);
    starts(&mut p, 3, &all);
    let turns = starts(&mut p, 4, &all);
    assert!(turns.iter().all(|(ms, asked)| *ms == 100 && asked.len() == 2), "{turns:?}");
    assert_eq!(turns[0].1, turns[2].1);
    let mut asked: Vec<ProbeTarget> = turns[0].1.iter().chain(&turns[1].1).cloned().collect();
    asked.sort();
    assert_eq!(asked, all);
    // One target less than twice as many as must answer, several probes per target, long round trips: no turns.
    for (reliability, count, rtt) in [(3, 1, 1), (1, 2, 1), (1, 1, 40)] {
        let s = Tracking { reliability, count, ..fast() };
        let mut t = Tracker::start(&s, InitialState::Online, all.clone(), Time(0));
        let round = t.start_round(&s, Time(0)).expect("due").round;
        for target in 0..4 {
            t.reply(&s, round, target, Duration::from_millis(rtt), Time::from_ms(1));
        }
        assert_eq!(t.turns(&s), 1, "reliability {reliability}, count {count}, {rtt} ms");
        assert_eq!(t.turns(&fast()), if rtt == 40 { 1 } else { 2 });
    }
}

/// Whenever it falls silent: three whole bad rounds, with their whole timeouts, 0.2 s apart, within the stated bound.
#[test]
fn a_silent_path_with_spare_targets_is_found_within_three_quarters_of_a_second() {
    let (all, s) = (ips(4), fast());
    let mut worst = Duration::ZERO;
    for fault in (400..1000).map(Time::from_ms) {
        let mut t = Tracker::start(&s, InitialState::Online, all.clone(), Time(0));
        let (mut now, mut bad, mut bound) = (Time(0), vec![], Duration::ZERO);
        while t.state() != State::Offline {
            if t.timeout(&s, now).is_some() {
                bad.push((t.round_started().expect("one"), now));
            }
            if let Some(plan) = t.start_round(&s, now) {
                let at = now + Duration::from_millis(1);
                for target in (0..plan.targets.len()).filter(|_| at < fault) {
                    t.reply(&s, plan.round, target, Duration::from_millis(1), at);
                }
            }
            if now < fault {
                bound = worst_case_detection(&s, &t);
            }
            now = t.wake_at().expect("always");
        }
        let last_end = bad.last().expect("three").1;
        assert_eq!(bad.len(), 3);
        assert!(bad.iter().all(|(start, end)| end.since(*start) == s.timeout), "{bad:?}");
        assert!(bad.windows(2).all(|w| w[1].0.since(w[0].0) >= s.failure_interval), "{bad:?}");
        assert!(last_end.since(fault) <= bound, "{fault:?}: {bad:?} is not within {bound:?}");
        worst = worst.max(last_end.since(fault));
    }
    assert!(worst <= Duration::from_millis(730), "{worst:?}");
}

#[test]
fn a_target_that_died_ends_the_turns_and_takes_nothing_down() {
    let (all, s) = (ips(2), fast());
    let mut p = Player::new(s, InitialState::Online, 2);
    starts(&mut p, 4, &all);
    assert_eq!(p.t.turns(&p.s), 2);
    starts(&mut p, 6, &all[..1]);
    assert_eq!(p.t.targets()[1].state, TargetState::Down);
    let rounds = starts(&mut p, 4, &all[..1]);
    assert!(rounds.iter().all(|(ms, asked)| *ms == 200 && asked.len() == 2), "{rounds:?}");
    assert_eq!((p.t.state(), p.t.lost(), p.t.bad_rounds()), (State::Online, 0, 0));
    starts(&mut p, 2, &all);
    assert_eq!(p.t.turns(&p.s), 2, "and once it is back they take turns again");
}

#[test]
fn without_targets_it_is_always_up() {
    let t = Tracker::start(&settings(5, 5), InitialState::Offline, vec![], Time(0));
    assert_eq!((t.state(), t.wake_at()), (State::Online, None));
}

/// mwan3track, transcribed line by line from the facts in COMPAT.
fn mwan3track(score: u32, up: u32, down: u32, good: bool) -> u32 {
    if good {
        let score = score + 1;
        if score < up { score } else { down + up }
    } else {
        let score = score.saturating_sub(1);
        if score <= up { 0 } else { score }
    }
}

proptest! {
    #[test]
    fn the_score_is_mwan3s_on_any_sequence(
        up in 1u32..8, down in 1u32..8, online: bool, rounds in prop::collection::vec(any::<bool>(), 0..200)
    ) {
        let initial = if online { InitialState::Online } else { InitialState::Offline };
        let mut p = Player::new(settings(up, down), initial, 2);
        let mut score = if online { up + down } else { 0 };
        for good in rounds {
            p.round(usize::from(good));
            score = mwan3track(score, up, down, good);
            prop_assert_eq!(p.t.score(), score);
            prop_assert_eq!(p.t.state().usable(), score > up);
        }
    }
}

#[test]
fn who_wants_to_know_gets_rounds_at_once_but_no_flood() {
    let second = Duration::from_secs(1);
    for answers in [0, 1] {
        let mut p = Player::new(settings(1, 9), InitialState::Online, 4);
        p.round(1);
        let last = p.t.rounds();
        for _ in 0..50 {
            p.t.hurry(p.now);
        }
        // Everybody is asked, and one good round is an answer.
        for round in 1..=3 {
            let plan = p.t.clone().start_round(&p.s, p.t.wake_at().expect("due")).expect("a round starts");
            assert_eq!((plan.targets.len(), plan.round), (4, last + round));
            let next = p.round(answers);
            assert_eq!(p.t.judged_round(), last + round);
            assert_eq!(p.t.good_round(), if answers > 0 { last + 1 } else { 1 });
            if answers > 0 {
                assert!(next > second);
                break;
            }
            // A round without an answer lasts its timeout.
            assert_eq!(next, if round < 3 { Duration::from_secs(4) } else { p.s.failure_interval });
        }
    }
    // The first begins a second after the last began.
    let mut p = Player::new(settings(1, 9), InitialState::Online, 1);
    p.round(1);
    p.t.hurry(p.now);
    assert_eq!(p.t.wake_at(), Some(Time(0) + second));
    // One under way is no answer.
    let mut p = Player::new(settings(1, 9), InitialState::Online, 1);
    let plan = p.t.start_round(&p.s, p.now).expect("a round starts");
    p.t.hurry(p.now);
    p.t.reply(&p.s, plan.round, 0, Duration::from_millis(20), p.now);
    assert_eq!(p.t.wake_at(), Some(Time(0) + second));
    // What cannot carry is not asked.
    let mut t = Tracker::disabled(ips(1));
    t.hurry(Time(0));
    assert_eq!(t.wake_at(), None);
}
