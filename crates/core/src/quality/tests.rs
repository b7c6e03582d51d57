use super::*;
use std::net::IpAddr;

use mwan_config::{InitialState, ProbeMethod};
use proptest::prelude::*;

use crate::{Outcome, State, Time, Tracker};

const MWAN3: Quality = Quality {
    failure_latency_ms: 1000,
    recovery_latency_ms: 500,
    failure_loss_percent: 40,
    recovery_loss_percent: 10,
    window: 0,
};

fn settings(quality: Option<Quality>, count: u32) -> Tracking {
    let s = Duration::from_secs;
    Tracking {
        method: ProbeMethod::Ping,
        targets: vec![],
        track_gateway: false,
        reliability: 1,
        count,
        timeout: s(4),
        interval: s(10),
        failure_interval: s(10),
        recovery_interval: s(10),
        keep_failure_interval: false,
        up: 3,
        down: 3,
        size: 56,
        max_ttl: 60,
        quality,
    }
}

fn targets(n: usize) -> Vec<ProbeTarget> {
    (1..=n).map(|i| IpAddr::from([192, 0, 2, i as u8]).into()).collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Plays one round: per target the round-trip times of the probes that are answered, the others are lost.
fn play(t: &mut Tracker, s: &Tracking, now: &mut Time, answers: &[Vec<u64>]) -> Outcome {
    let configured: Vec<ProbeTarget> = t.targets().iter().map(|t| t.probe()).collect();
    loop {
        *now = (*now).max(t.wake_at().expect("a round is due"));
        let plan = t.start_round(s, *now).expect("a round");
        let mut outcome = None;
        for (at, target) in plan.targets.iter().enumerate() {
            let index = configured.iter().position(|c| c == target).expect("configured");
            for rtt in &answers[index] {
                outcome = outcome.or(t.reply(s, plan.round, at, ms(*rtt), *now));
            }
        }
        if outcome.is_none() {
            *now = t.wake_at().expect("a deadline");
            outcome = t.timeout(s, *now);
        }
        if let Some(outcome) = outcome {
            return outcome;
        }
        // A missed turn: everybody is asked at once.
    }
}

#[test]
fn thresholds_are_compared_as_mwan3_does() {
    let figures = |loss_percent, latency| Figures { loss_percent, latency_ms: Some(latency) };
    for (loss, latency, verdict) in [
        (0, 0, Verdict::Good),
        (10, 500, Verdict::Good),
        (11, 500, Verdict::Between),
        (10, 501, Verdict::Between),
        (39, 999, Verdict::Between),
        (40, 0, Verdict::Bad),
        (0, 1000, Verdict::Bad),
    ] {
        assert_eq!(judge(&MWAN3, figures(loss, latency)), verdict, "{loss} % {latency} ms");
    }
    assert_eq!(judge(&MWAN3, Figures { loss_percent: 100, latency_ms: None }), Verdict::Bad);
}

#[test]
fn figures_are_rounded_down() {
    assert_eq!(Figures::new(3, 2, ms(5)), Figures { loss_percent: 33, latency_ms: Some(2) });
    assert_eq!(Figures::new(3, 0, ms(0)), Figures { loss_percent: 100, latency_ms: None });
}

#[test]
fn a_round_waits_for_all_its_probes_where_loss_counts() {
    let s = settings(Some(MWAN3), 5);
    let mut t = Tracker::start(&s, InitialState::Online, targets(1), Time(0));
    let plan = t.start_round(&s, Time(0)).expect("due");
    for n in 0..4 {
        assert_eq!(t.reply(&s, plan.round, 0, ms(20), Time::from_ms(n * 800)), None, "{n}");
    }
    assert_eq!(t.reply(&s, plan.round, 0, ms(20), Time::from_ms(3300)), Some(Outcome::Good));
    let next = t.wake_at().expect("next");
    let plan = t.start_round(&s, next).expect("due");
    assert_eq!(t.reply(&s, plan.round, 0, ms(20), next), None);
    // The last probe leaves after 3.2 s and has the whole timeout of 4 s.
    assert_eq!(t.wake_at(), Some(next + ms(7200)));
    assert_eq!(t.timeout(&s, next + ms(7200)), Some(Outcome::Bad));
    assert_eq!(t.targets()[0].figures(), Figures { loss_percent: 80, latency_ms: Some(20) });
    let poor = t.poor().expect("it answered").to_string();
    assert_eq!(poor, "192.0.2.1 loses 80 % (good: 10 %) and takes 20 ms (good: 500 ms)");
}

#[test]
fn a_window_has_a_band_in_which_nothing_changes() {
    let s = settings(Some(Quality { window: 20, ..MWAN3 }), 1);
    let mut recent = Recent::default();
    let mut feed = |lost: bool| {
        recent.push(&s, (!lost).then_some(ms(20)));
        (recent.poor(), recent.figures().loss_percent)
    };
    for _ in 0..9 {
        assert!(!feed(true).0, "too few probes for a verdict");
    }
    assert_eq!(feed(true), (true, 100));
    // 100 %, then ever better: bad until it is as good as recovery_loss.
    let mut last = (true, 100);
    for n in 0..18 {
        last = feed(false);
        assert_eq!(last.0, last.1 > 10, "after {n} good probes: {last:?}");
    }
    assert_eq!(last, (false, 10));
    // Getting worse: good until it is as bad as failure_loss.
    for lost in (0..40).map(|n| n % 3 == 0) {
        last = feed(lost);
        assert!(!last.0 && last.1 < 40, "a third is in the band: {last:?}");
    }
    for _ in 0..20 {
        last = feed(true);
    }
    assert_eq!(last, (true, 100));
}

#[test]
fn latency_alone_makes_a_target_poor_and_the_reason_has_numbers() {
    let s = settings(Some(Quality { window: 5, ..MWAN3 }), 1);
    let mut t = Tracker::start(&s, InitialState::Online, targets(1), Time(0));
    let mut now = Time(0);
    for _ in 0..5 {
        assert_eq!(play(&mut t, &s, &mut now, &[vec![20]]), Outcome::Good);
    }
    let mut rounds = 0;
    while t.state() != State::Offline {
        play(&mut t, &s, &mut now, &[vec![3000]]);
        rounds += 1;
    }
    assert!((3..=6).contains(&rounds), "{rounds}");
    let poor = t.poor().expect("quality is the reason").to_string();
    assert!(poor.starts_with("192.0.2.1 loses 0 % (good: 10 %) and takes "), "{poor}");
    // Fast again: not before the mean is below recovery_latency, then `up` rounds.
    let mut rounds = 0;
    while t.state() != State::Online {
        play(&mut t, &s, &mut now, &[vec![20]]);
        rounds += 1;
    }
    assert!((5..=8).contains(&rounds), "{rounds}");
    assert_eq!(t.poor(), None);
}

#[test]
fn silence_takes_a_path_down_as_fast_with_a_window_as_without() {
    for quality in [None, Some(Quality { window: 20, ..MWAN3 })] {
        let s = settings(quality, 1);
        let mut t = Tracker::start(&s, InitialState::Online, targets(2), Time(0));
        let mut now = Time(0);
        for _ in 0..30 {
            play(&mut t, &s, &mut now, &[vec![20], vec![20]]);
        }
        for round in 1..=3 {
            assert_eq!(play(&mut t, &s, &mut now, &[vec![], vec![]]), Outcome::Bad);
            assert_eq!(t.state() == State::Offline, round == 3, "{quality:?}");
        }
        assert_eq!(t.poor(), None, "nothing answered: it is no question of quality");
    }
}

/// S9's shares of loss, on one target with a window of 20 probes and three rounds either way.
#[test]
fn loss_by_thresholds() {
    for (percent, bad) in [(0, 0), (5, 0), (15, 0), (30, 0), (60, 20)] {
        let s = settings(Some(Quality { window: 20, ..MWAN3 }), 1);
        let mut recent = Recent::default();
        // Evenly spread (Bresenham), so that the share of every window is that of the whole.
        let (mut error, mut poor) = (0, 0);
        for n in 0..40 {
            error += percent;
            let lost = error >= 100;
            error -= if lost { 100 } else { 0 };
            recent.push(&s, (!lost).then_some(ms(20)));
            poor += usize::from(n >= 20 && recent.poor());
        }
        assert_eq!(poor, bad, "{percent} % lost");
    }
}

/// A target in the transcription of mwan3track: loss in percent and latency in milliseconds, or `None` if nothing was
/// answered (its loss is 100 and its latency 999999 then).
fn mwan3_target(count: u32, rtts: &[u64]) -> (u64, u64) {
    let answered = rtts.len() as u64;
    let loss = (u64::from(count) - answered) * 100 / u64::from(count);
    rtts.iter().sum::<u64>().checked_div(answered).map_or((100, 999_999), |latency| (loss, latency))
}

/// mwan3track, transcribed line by line from COMPAT: targets in order until `reliability` have answered.
struct Mwan3 {
    score: u32,
    lost: u32,
}

impl Mwan3 {
    fn round(&mut self, s: &Tracking, answers: &[Vec<u64>]) -> (bool, Duration) {
        let mut host_up_count = 0;
        let mut lost = 0;
        for rtts in answers {
            if host_up_count >= s.reliability {
                continue;
            }
            match s.quality {
                None if rtts.is_empty() => lost += 1,
                None => host_up_count += 1,
                Some(q) => {
                    let (loss, latency) = mwan3_target(s.count, rtts);
                    let (failure, recovery) =
                        (u64::from(q.failure_loss_percent), u64::from(q.recovery_loss_percent));
                    if loss >= failure || latency >= u64::from(q.failure_latency_ms) {
                        lost += 1;
                    } else if loss <= recovery && latency <= u64::from(q.recovery_latency_ms) {
                        host_up_count += 1;
                    }
                }
            }
        }
        let mut sleep = s.interval;
        let good = host_up_count >= s.reliability;
        if good {
            self.score += 1;
            self.lost = 0;
            if self.score <= s.up {
                sleep = s.recovery_interval;
            }
            if self.score >= s.up {
                self.score = s.down + s.up;
            }
        } else {
            self.lost += lost;
            self.score = self.score.saturating_sub(1);
            if self.score < s.up {
                self.score = 0;
                if s.keep_failure_interval {
                    sleep = s.failure_interval;
                }
            } else {
                sleep = s.failure_interval;
            }
            if self.score == s.up {
                self.score = 0;
            }
        }
        (good, sleep)
    }
}

#[derive(Clone, Debug)]
struct Trace {
    settings: Tracking,
    targets: usize,
    online: bool,
    rounds: Vec<Vec<Vec<u64>>>,
}

fn thresholds() -> impl Strategy<Value = Option<Quality>> {
    let loss = prop::sample::subsequence(vec![0u8, 10, 20, 25, 34, 40, 50, 67, 100], 2);
    let latency = prop::sample::subsequence(vec![1u32, 100, 250, 500, 999, 1000, 2000], 2);
    prop::option::weighted(
        0.7,
        (loss, latency).prop_map(|(loss, latency)| Quality {
            recovery_loss_percent: loss[0],
            failure_loss_percent: loss[1],
            recovery_latency_ms: latency[0],
            failure_latency_ms: latency[1],
            window: 0,
        }),
    )
}

fn trace() -> impl Strategy<Value = Trace> {
    let base = (thresholds(), 1u32..6, 1usize..4, 1u32..4, 1u32..6, 1u32..6, any::<bool>(), any::<bool>());
    base.prop_flat_map(|(quality, count, targets, reliability, up, down, online, keep)| {
        let rtt = prop_oneof![Just(1u64), Just(99), Just(100), Just(500), Just(501), Just(1000), 0u64..3000];
        let one = prop::collection::vec(rtt, 0..=count as usize);
        let answers = prop_oneof![Just(vec![]), one.clone(), one];
        let rounds = prop::collection::vec(prop::collection::vec(answers, targets), 0..12);
        let s = Tracking {
            reliability,
            up,
            down,
            keep_failure_interval: keep,
            failure_interval: Duration::from_secs(20),
            recovery_interval: Duration::from_secs(15),
            interval: Duration::from_secs(30),
            ..settings(quality, count)
        };
        rounds.prop_map(move |rounds| Trace { settings: s.clone(), targets, online, rounds })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100_000, ..ProptestConfig::default() })]

    /// Score, state, targets lost and the time of the next round are mwan3's on a hundred thousand random traces,
    /// with and without `check_quality`.
    #[test]
    fn score_and_quality_are_mwan3s_on_any_trace(trace in trace()) {
        let s = &trace.settings;
        let initial = if trace.online { InitialState::Online } else { InitialState::Offline };
        let mut t = Tracker::start(s, initial, targets(trace.targets), Time(0));
        let mut now = Time(0);
        let mut mwan3 = Mwan3 { score: if trace.online { s.up + s.down } else { 0 }, lost: 0 };
        for answers in &trace.rounds {
            let outcome = play(&mut t, s, &mut now, answers);
            let (good, sleep) = mwan3.round(s, answers);
            prop_assert_eq!(outcome == Outcome::Good, good);
            prop_assert_eq!((t.score(), t.lost()), (mwan3.score, mwan3.lost));
            prop_assert_eq!(t.state().usable(), mwan3.score > s.up);
            // Ours counts from start to start, and healthy targets may take turns.
            let next = t.wake_at().expect("always").since(t.round_started().expect("one"));
            prop_assert!(next == sleep || (good && next * t.turns(s) == sleep), "{next:?} {sleep:?}");
        }
    }
}
