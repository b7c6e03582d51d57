//! The state machine of a path: rounds of probes become a score, the score becomes a state.
//!
//! The score is mwan3's, step by step (`mwan3track`; docs/compat.md). What differs is time: all targets are
//! probed at once, a round ends as soon as its outcome is certain, and rounds start `interval` after each
//! other instead of `interval` after the end of the last. While all is well, targets beyond those that `reliability`
//! asks for take turns ([`Tracker::turns`]).

use std::net::IpAddr;
use std::time::Duration;

use mwan_config::{InitialState, ProbeMethod, ProbeTarget, Quality, TRACKING_TURNS_MAX, Tracking};

use crate::Time;
use crate::quality::{Figures, PoorTarget, Recent, Verdict, judge};

/// An answer is not missed before this, whatever round trips were lately: a busy router wakes up late.
const GRACE_MIN: Duration = Duration::from_millis(20);
/// An answer is missed after so many of the longest of the last round trips. A longer one is no loss: it costs the
/// probes of one whole round.
const GRACE_ROUND_TRIPS: u32 = 3;

/// A target that left so many probes in a row unanswered is silent.
const SILENT_PROBES: usize = 3;

/// Rounds that somebody who wants to know is given, unless one before is answered: one lost packet is no verdict.
const HURRIED: u32 = 3;
/// They begin no sooner after each other.
const HURRIED_GAP: Duration = Duration::from_secs(1);

/// Highest `up` and `down`.
#[cfg(feature = "record")]
const SCORE_MAX: u32 = 1000;

/// What a path is called in status and hooks; mwan3's words.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum State {
    /// Carries traffic.
    Online,
    /// Does not: `down` rounds failed, or it has not been proven yet.
    Offline,
    /// Offline, but answering again.
    Connecting,
    /// Online, but rounds fail.
    Disconnecting,
    /// The device cannot carry anything (down, no carrier, no address, no gateway) or `ifdown` was said.
    Disabled,
}

impl State {
    /// The word in status.
    pub fn name(self) -> &'static str {
        match self {
            State::Online => "online",
            State::Offline => "offline",
            State::Connecting => "connecting",
            State::Disconnecting => "disconnecting",
            State::Disabled => "disabled",
        }
    }

    /// Whether a path in this state may carry traffic.
    pub fn usable(self) -> bool {
        matches!(self, State::Online | State::Disconnecting)
    }
}

/// What the last round said of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum TargetState {
    /// No round is complete yet.
    Unknown,
    /// It answered.
    Up,
    /// It did not.
    Down,
}

/// A target and its last result.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Target {
    /// Its address.
    pub ip: IpAddr,
    /// How it is asked.
    pub method: ProbeMethod,
    /// Outcome of its last complete round.
    pub state: TargetState,
    /// Round-trip time of its last reply.
    pub rtt: Option<Duration>,
    /// Why its last probe failed, if more is known than silence.
    pub error: Option<String>,
    /// Probes sent to it.
    pub sent: u64,
    /// Replies received from it.
    pub received: u64,
    recent: Recent,
    /// Figures of the last round, where each is judged on its own.
    round: Option<Figures>,
}

impl Target {
    fn new(target: ProbeTarget) -> Self {
        Target {
            ip: target.ip,
            method: target.method,
            state: TargetState::Unknown,
            rtt: None,
            error: None,
            sent: 0,
            received: 0,
            recent: Recent::default(),
            round: None,
        }
    }

    /// What was configured.
    pub fn probe(&self) -> ProbeTarget {
        ProbeTarget { ip: self.ip, method: self.method.clone() }
    }

    /// Whether it does not answer now. Turns ([`Tracker::turns`]) are too short to say so of one whose turn is good without it.
    pub fn is_silent(&self) -> bool {
        self.state == TargetState::Down || self.recent.ends_with_losses(SILENT_PROBES)
    }

    /// Loss and latency: of its last probes, or of its last round if `check_quality` judges single rounds.
    pub fn figures(&self) -> Figures {
        self.round.unwrap_or_else(|| self.recent.figures())
    }
}

/// What a round knows of one target.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
struct Answers {
    replies: u32,
    /// Probes known to have failed.
    failures: u32,
    /// Sum of the round-trip times.
    took: Duration,
}

/// What a target says of a round.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Standing {
    /// It counts as answering.
    Up,
    /// It does not, and will not.
    Down,
    /// mwan3's "skipped": neither good enough nor bad.
    Between,
    /// It may still.
    Open,
}

/// A round on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
struct Round {
    number: u64,
    started: Time,
    deadline: Time,
    /// Which targets are asked: all of them, or those whose turn it is.
    asked: Vec<usize>,
    /// Only some are. It can prove the path, but never speaks against it.
    turn: bool,
    /// Per target asked.
    results: Vec<Answers>,
    decided: bool,
    /// What is missing has been counted as lost.
    closed: bool,
}

/// The outcome of a round, for the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// At least `reliability` targets answered.
    Good,
    /// Fewer did.
    Bad,
}

/// Score and state of one path.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Tracker {
    state: State,
    score: u32,
    lost: u32,
    bad_rounds: u32,
    targets: Vec<Target>,
    rounds: u64,
    round: Option<Round>,
    next_round: Option<Time>,
    /// Bad rounds that still count for nothing, because the device has only just come back.
    patience: u32,
    /// A turn was not answered: the next round asks everybody.
    suspect: bool,
    /// Rounds that are still to begin before they are due.
    hurried: u32,
    /// Number of the last round that came to an outcome, and of the last good one.
    judged: (u64, u64),
    /// The worst target that made the last bad round bad although it answers.
    poor: Option<PoorTarget>,
}

/// What the core does to start a round.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RoundPlan {
    /// Number of the round.
    pub round: u64,
    /// What to probe.
    pub targets: Vec<ProbeTarget>,
    /// Time between probes of one target.
    pub spacing: Duration,
}

impl Tracker {
    /// Whether a tracker can have come to this: everything refers to what is there, and can be counted on. It may have been
    /// read from a file.
    #[cfg(feature = "record")]
    pub(crate) fn is_sound(&self) -> bool {
        const SMALL: u32 = 1 << 30;
        const LARGE: u64 = 1 << 48;
        let counts = [self.score, self.lost, self.bad_rounds, self.patience, self.hurried];
        let round = self.round.as_ref().is_none_or(|round| {
            let answers = |a: &Answers| {
                let most = crate::quality::RTT_MAX * a.replies.saturating_add(1).min(SMALL);
                a.replies < SMALL && a.failures < SMALL && a.took <= most
            };
            round.number <= LARGE
                && round.asked.len() == round.results.len()
                && round.asked.iter().all(|at| *at < self.targets.len())
                && round.results.iter().all(answers)
        });
        round
            && self.rounds <= LARGE
            && self.score <= 2 * SCORE_MAX
            && counts.iter().all(|count| *count < SMALL)
            && self.targets.iter().all(|t| {
                t.sent < LARGE
                    && t.received < LARGE
                    && t.rtt.is_none_or(|rtt| rtt <= crate::quality::RTT_MAX)
                    && t.recent.is_sound()
            })
    }

    /// A tracker at its start: the device can carry traffic from `now` on.
    pub fn start(settings: &Tracking, initial: InitialState, targets: Vec<ProbeTarget>, now: Time) -> Self {
        let (state, score) = match initial {
            InitialState::Online => (State::Online, settings.down + settings.up),
            InitialState::Offline => (State::Offline, 0),
        };
        Tracker::with(state, score, targets, now)
    }

    /// A tracker whose device is back: the first good round proves it, and it has as many rounds for that as a path
    /// that is assumed online has until it is offline. Returning at once, as mwan3 does, moves traffic to links
    /// whose first packets get lost (address resolution, a modem that is still training).
    pub fn returning(settings: &Tracking, targets: Vec<ProbeTarget>, now: Time) -> Self {
        let tracker = Tracker::with(State::Connecting, settings.up.saturating_sub(1), targets, now);
        Tracker { patience: settings.down, ..tracker }
    }

    /// Whether its device is back and it waits for the first answer.
    pub fn is_returning(&self) -> bool {
        self.patience > 0
    }

    /// A tracker that goes on where an earlier process stopped.
    pub fn resume(
        settings: &Tracking,
        state: State,
        score: u32,
        targets: Vec<ProbeTarget>,
        now: Time,
    ) -> Self {
        let top = settings.down + settings.up;
        let score = match state {
            State::Online => top,
            State::Disconnecting => score.clamp(settings.up + 1, top),
            State::Connecting => score.min(settings.up.saturating_sub(1)),
            State::Offline | State::Disabled => 0,
        };
        Tracker::with(state, score, targets, now)
    }

    /// A tracker whose device cannot carry anything.
    pub fn disabled(targets: Vec<ProbeTarget>) -> Self {
        Tracker {
            state: State::Disabled,
            next_round: None,
            ..Tracker::with(State::Disabled, 0, targets, Time(0))
        }
    }

    /// The same, numbering its rounds behind `rounds`: reports to an earlier life of the path never fit.
    pub(crate) fn numbered_from(self, rounds: u64) -> Self {
        Tracker { rounds, ..self }
    }

    fn with(state: State, score: u32, targets: Vec<ProbeTarget>, now: Time) -> Self {
        let targets: Vec<Target> = targets.into_iter().map(Target::new).collect();
        // Without targets there is nothing to wait for: mwan3's "tracking disabled", always up.
        let (state, next_round) = if targets.is_empty() { (State::Online, None) } else { (state, Some(now)) };
        Tracker {
            state,
            score,
            lost: 0,
            bad_rounds: 0,
            targets,
            rounds: 0,
            round: None,
            next_round,
            patience: 0,
            suspect: false,
            hurried: 0,
            judged: (0, 0),
            poor: None,
        }
    }

    /// Somebody wants to know: the next rounds ask everybody and begin at once, but no sooner than a second after each other,
    /// until one is answered or three are not.
    pub fn hurry(&mut self, now: Time) {
        if self.state == State::Disabled || self.targets.is_empty() {
            return;
        }
        self.hurried = HURRIED;
        let soon = self.round.as_ref().map_or(now, |round| (round.started + HURRIED_GAP).max(now));
        self.next_round = self.next_round.map(|at| at.min(soon));
    }

    /// Number of the last round that came to an outcome; 0: none has.
    pub fn judged_round(&self) -> u64 {
        self.judged.0
    }

    /// Number of the last round that was good; 0: none was.
    pub fn good_round(&self) -> u64 {
        self.judged.1
    }

    /// Present state.
    pub fn state(&self) -> State {
        self.state
    }

    /// Present score.
    pub fn score(&self) -> u32 {
        self.score
    }

    /// Targets that did not answer since the last good round.
    pub fn lost(&self) -> u32 {
        self.lost
    }

    /// Bad rounds since the last good one.
    pub fn bad_rounds(&self) -> u32 {
        self.bad_rounds
    }

    /// The worst target that answers too slowly or too seldom, if the last bad round is its fault.
    pub fn poor(&self) -> Option<&PoorTarget> {
        self.poor.as_ref()
    }

    /// When the last round started.
    pub fn round_started(&self) -> Option<Time> {
        self.round.as_ref().map(|r| r.started)
    }

    /// Number of the last round; they are counted through restarts of the tracker.
    pub fn rounds(&self) -> u64 {
        self.rounds
    }

    /// The targets and their last results.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// When something is to be done next.
    pub fn wake_at(&self) -> Option<Time> {
        let deadline = self.round.as_ref().filter(|r| !r.decided).map(|r| r.deadline);
        deadline.or(self.next_round)
    }

    /// Starts the next round if it is due.
    pub fn start_round(&mut self, settings: &Tracking, now: Time) -> Option<RoundPlan> {
        if self.next_round.is_none_or(|at| at > now) {
            return None;
        }
        self.next_round = None;
        self.rounds += 1;
        self.note_silent_targets(settings);
        let turns = self.turns(settings);
        let asked = self.whose_turn(turns);
        for target in &asked {
            self.targets[*target].sent += u64::from(settings.count);
        }
        self.hurried = self.hurried.saturating_sub(1);
        let patience = if turns > 1 { self.grace().min(settings.timeout) } else { settings.round_length() };
        let targets = asked.iter().map(|target| self.targets[*target].probe()).collect();
        self.round = Some(Round {
            number: self.rounds,
            started: now,
            deadline: now + patience,
            results: vec![Answers::default(); asked.len()],
            asked,
            turn: turns > 1,
            decided: false,
            closed: false,
        });
        Some(RoundPlan { round: self.rounds, targets, spacing: settings.spacing() })
    }

    /// A target that left a good round unanswered until the next one is down, whatever the others say.
    fn note_silent_targets(&mut self, settings: &Tracking) {
        let Some(round) = self.round.as_ref().filter(|r| r.decided) else { return };
        if !round.turn {
            for (target, answers) in round.asked.iter().zip(&round.results) {
                if answers.replies == 0 {
                    self.targets[*target].state = TargetState::Down;
                }
            }
        }
        self.close_round(settings);
    }

    /// Counts what is missing of the round as lost, once.
    fn close_round(&mut self, settings: &Tracking) {
        let Some(round) = self.round.as_mut().filter(|r| !r.closed) else { return };
        round.closed = true;
        for (target, answers) in round.asked.iter().zip(&round.results) {
            let target = &mut self.targets[*target];
            for _ in answers.replies + answers.failures..settings.count {
                target.recent.push(settings, None);
            }
            let per_round = settings.quality.is_some_and(|q| q.window == 0);
            target.round = per_round.then(|| Figures::new(settings.count, answers.replies, answers.took));
        }
    }

    /// How many turns the targets take within an interval; 1: all are asked at once.
    ///
    /// A silent fault is noticed when the next probe after it stays unanswered, on average half an interval later. If more
    /// targets are configured than must answer, a round of a healthy path need not ask all of them: in turns, each with
    /// as many as `reliability` wants, they are asked as often as before, and something is asked more often. A turn that
    /// is answered is a good round. One that is not, within a few round trips, is no bad round, but the reason to ask
    /// everybody at once: bad rounds are whole ones, with the whole timeout, `failure_interval` apart.
    pub fn turns(&self, settings: &Tracking) -> u32 {
        let healthy =
            self.state == State::Online && self.bad_rounds == 0 && !self.suspect && self.hurried == 0;
        // Otherwise the missing answer would be noticed no sooner than the next whole round's.
        let worth_it = self.grace() * TRACKING_TURNS_MAX < settings.interval;
        // The next turn would cut several probes of a target short, and loss is measured by whole rounds.
        if !healthy || !worth_it || settings.count > 1 || settings.quality.is_some() {
            return 1;
        }
        let up = self.targets.iter().filter(|t| t.state == TargetState::Up).count();
        let possible = u32::try_from(up).unwrap_or(u32::MAX) / settings.reliability.max(1);
        possible.clamp(1, TRACKING_TURNS_MAX)
    }

    /// The targets that a round asks. Those that answer are dealt out first, so that every turn has enough of them.
    fn whose_turn(&self, turns: u32) -> Vec<usize> {
        let up = |target: &usize| self.targets[*target].state == TargetState::Up;
        let (mut asked, others): (Vec<usize>, Vec<usize>) = (0..self.targets.len()).partition(up);
        asked.extend(others);
        let turns = turns.max(1) as usize;
        let turn = usize::try_from(self.rounds).unwrap_or(0) % turns;
        let mut asked: Vec<usize> = asked.into_iter().skip(turn).step_by(turns).collect();
        asked.sort_unstable();
        asked
    }

    /// Takes part in the round that `leader`, which has the same targets, has just begun.
    pub(crate) fn follow(&mut self, leader: &Tracker, settings: &Tracking) {
        self.note_silent_targets(settings);
        self.next_round = None;
        self.rounds = leader.rounds;
        self.round.clone_from(&leader.round);
        for (own, leading) in self.targets.iter_mut().zip(&leader.targets) {
            own.sent = leading.sent;
        }
    }

    /// Takes over what another tracker of the same targets knows of them.
    pub(crate) fn set_targets_as_in(&mut self, other: Tracker) {
        self.targets = other.targets;
    }

    /// How long an answer may take before it is missed.
    fn grace(&self) -> Duration {
        let up = self.targets.iter().filter(|t| t.state == TargetState::Up);
        let slowest = up.filter_map(|t| t.rtt).max().unwrap_or_default();
        (slowest * GRACE_ROUND_TRIPS).max(GRACE_MIN)
    }

    /// A reply to a probe of `round`. Returns the outcome if this decided the round.
    pub fn reply(
        &mut self,
        settings: &Tracking,
        round: u64,
        target: usize,
        rtt: Duration,
        now: Time,
    ) -> Option<Outcome> {
        let current = self.round.as_mut().filter(|r| r.number == round)?;
        let answers = current.results.get_mut(target)?;
        answers.replies += 1;
        answers.took += rtt;
        let asked = &mut self.targets[current.asked[target]];
        asked.received += 1;
        asked.rtt = Some(rtt);
        asked.error = None;
        if !current.closed {
            asked.recent.push(settings, Some(rtt));
        }
        match standing(settings, *answers, asked) {
            Standing::Up => asked.state = TargetState::Up,
            Standing::Down => asked.state = TargetState::Down,
            Standing::Between | Standing::Open => {}
        }
        self.decide(settings, false, now)
    }

    /// A probe of `round` is known to have failed. Returns the outcome if the round can no longer succeed.
    pub fn failure(
        &mut self,
        settings: &Tracking,
        round: u64,
        target: usize,
        error: String,
        now: Time,
    ) -> Option<Outcome> {
        let current = self.round.as_mut().filter(|r| r.number == round && !r.closed)?;
        current.results.get_mut(target)?.failures += 1;
        let asked = &mut self.targets[current.asked[target]];
        asked.recent.push(settings, None);
        if current.decided {
            return None;
        }
        asked.error = Some(error);
        self.decide(settings, true, now)
    }

    /// Concludes the round if its outcome is certain. An answer ends it as bad only if nothing else can come; a failure
    /// as soon as `reliability` is out of reach.
    fn decide(&mut self, settings: &Tracking, failed: bool, now: Time) -> Option<Outcome> {
        let round = self.round.as_mut().filter(|r| !r.decided)?;
        let of = |(target, answers): (&usize, &Answers)| standing(settings, *answers, &self.targets[*target]);
        let standings: Vec<Standing> = round.asked.iter().zip(&round.results).map(of).collect();
        let count = |wanted| standings.iter().filter(|s| **s == wanted).count();
        let (up, open) = (count(Standing::Up), count(Standing::Open));
        if up >= settings.reliability as usize {
            round.decided = true;
            return self.conclude(settings, Outcome::Good, now);
        }
        if up + open >= settings.reliability as usize || (open > 0 && !failed) {
            return None;
        }
        self.expire(settings, now)
    }

    /// Ends the round if its time is over. Returns its outcome.
    pub fn timeout(&mut self, settings: &Tracking, now: Time) -> Option<Outcome> {
        self.round.as_ref().filter(|r| !r.decided && r.deadline <= now)?;
        self.expire(settings, now)
    }

    fn expire(&mut self, settings: &Tracking, now: Time) -> Option<Outcome> {
        let round = self.round.as_mut()?;
        round.decided = true;
        if round.turn {
            self.suspect = true;
            self.next_round = Some(now);
            return None;
        }
        self.close_round(settings);
        let outcome = self.take_stock(settings);
        self.conclude(settings, outcome, now)
    }

    /// Judges every target of a round that is over.
    fn take_stock(&mut self, settings: &Tracking) -> Outcome {
        let Some(round) = &self.round else { return Outcome::Bad };
        let (mut up, mut lost, mut poor) = (0, 0, None::<PoorTarget>);
        for (target, answers) in round.asked.iter().zip(&round.results) {
            let target = &mut self.targets[*target];
            let missing = settings.count.saturating_sub(answers.replies);
            let standing = standing(settings, Answers { failures: missing, ..*answers }, target);
            match standing {
                Standing::Up => {
                    target.state = TargetState::Up;
                    up += 1;
                    continue;
                }
                Standing::Down => {
                    target.state = TargetState::Down;
                    lost += 1;
                }
                Standing::Between | Standing::Open => {}
            }
            if let Some(quality) = settings.quality.filter(|_| answers.replies > 0) {
                let found = poor_target(&quality, target);
                let worse = |p: &PoorTarget| found.figures.loss_percent > p.figures.loss_percent;
                if poor.as_ref().is_none_or(worse) {
                    poor = Some(found);
                }
            }
        }
        if up >= settings.reliability {
            return Outcome::Good;
        }
        self.lost += lost;
        self.poor = poor;
        Outcome::Bad
    }

    /// mwan3track's arithmetic, and when the next round starts.
    fn conclude(&mut self, s: &Tracking, outcome: Outcome, now: Time) -> Option<Outcome> {
        let top = s.down + s.up;
        let interval = match outcome {
            Outcome::Bad if self.patience > 1 => {
                self.patience -= 1;
                self.bad_rounds += 1;
                s.failure_interval
            }
            Outcome::Good => {
                self.suspect = false;
                self.poor = None;
                self.patience = 0;
                self.lost = 0;
                self.bad_rounds = 0;
                self.score += 1;
                if self.score < s.up {
                    self.state = State::Connecting;
                    s.recovery_interval
                } else {
                    let proven = self.score == s.up;
                    self.score = top;
                    self.state = State::Online;
                    if proven { s.recovery_interval } else { s.interval / self.turns(s) }
                }
            }
            Outcome::Bad => {
                self.patience = 0;
                self.bad_rounds += 1;
                self.score = self.score.saturating_sub(1);
                if self.score > s.up {
                    self.state = State::Disconnecting;
                    s.failure_interval
                } else if self.score == s.up {
                    self.score = 0;
                    self.state = State::Offline;
                    s.failure_interval
                } else {
                    self.score = 0;
                    self.state = State::Offline;
                    if s.keep_failure_interval { s.failure_interval } else { s.interval }
                }
            }
        };
        let (started, number) = self.round.as_ref().map_or((now, 0), |r| (r.started, r.number));
        self.judged = (number, if outcome == Outcome::Good { number } else { self.judged.1 });
        // One that was under way when it was asked for is no answer.
        if outcome == Outcome::Good && self.hurried < HURRIED {
            self.hurried = 0;
        }
        let interval = if self.hurried > 0 { interval.min(HURRIED_GAP) } else { interval };
        self.next_round = Some((started + interval).max(now));
        Some(outcome)
    }

    /// Takes over changed settings: the state stays, the score is put on the new scale. With other targets
    /// a new round starts at once; without targets it is always up.
    pub fn reconfigure(&mut self, settings: &Tracking, targets: Vec<ProbeTarget>, now: Time) {
        let same = self.targets.iter().map(Target::probe).eq(targets.iter().cloned());
        let resumed = Tracker::resume(settings, self.state, self.score, targets, now);
        if !same || resumed.targets.is_empty() {
            let patience = if resumed.targets.is_empty() { 0 } else { self.patience };
            *self = Tracker { patience, ..resumed.numbered_from(self.rounds) };
            return;
        }
        self.score = resumed.score;
        // A long interval or timeout that was shortened does not keep the path waiting.
        if let Some(round) = &mut self.round {
            round.deadline = round.deadline.min(now + settings.round_length());
        }
        let longest = settings.interval.max(settings.failure_interval).max(settings.recovery_interval);
        self.next_round = self.next_round.map(|at| at.min(now + longest));
    }
}

/// What a target says of a round so far.
fn standing(settings: &Tracking, answers: Answers, target: &Target) -> Standing {
    let complete = answers.replies + answers.failures >= settings.count;
    match settings.quality {
        Some(quality) if quality.window == 0 => {
            if !complete {
                return Standing::Open;
            }
            match judge(&quality, Figures::new(settings.count, answers.replies, answers.took)) {
                Verdict::Good => Standing::Up,
                Verdict::Between => Standing::Between,
                Verdict::Bad => Standing::Down,
            }
        }
        _ if answers.replies > 0 && !target.recent.poor() => Standing::Up,
        _ if complete => Standing::Down,
        _ => Standing::Open,
    }
}

fn poor_target(quality: &Quality, target: &Target) -> PoorTarget {
    // A target in the band is as far from good as one that is bad: the recovery thresholds say what is missing.
    PoorTarget {
        target: target.probe(),
        figures: target.figures(),
        loss_percent_max: quality.recovery_loss_percent,
        latency_ms_max: quality.recovery_latency_ms,
    }
}

/// The longest time between the first lost packet and the verdict "offline": until a probe is sent that stays
/// unanswered, and `down` bad rounds from there. It is that of whole rounds unless `tracker` has its targets take turns.
pub fn worst_case_detection(s: &Tracking, tracker: &Tracker) -> Duration {
    let noticed = match tracker.turns(s) {
        1 => s.interval.max(s.round_length()),
        turns => s.interval / turns + tracker.grace().min(s.timeout),
    };
    noticed + s.verdict_after_notice()
}

#[cfg(test)]
mod tests;
