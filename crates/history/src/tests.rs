//! A file against a naive model: a map of every second that was recorded.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io;

use mwan_api::HistoryQuery;
use proptest::prelude::*;

use crate::day::Latencies;
use crate::layout::{HOURS, MINUTES, SECONDS, TENS, TIERS};
use crate::record::{Record, Width};
use crate::*;

const START: u32 = 1_793_491_200;

fn new() -> History<Vec<u8>> {
    History::create(vec![0; usize::try_from(file_size()).unwrap()], "wan").unwrap()
}

/// As it is after it was written.
fn rounded<R: Record>(record: R, width: Width) -> R {
    let mut bytes = vec![0; R::size(width)];
    record.write(width, &mut bytes);
    R::read(width, &bytes)
}

/// Something that depends on the time alone.
fn second(at_s: u32) -> Second {
    let mix = at_s.wrapping_mul(2_654_435_761) >> 8;
    let path = |salt: u32| {
        let mix = mix.rotate_left(salt) & 0xFF_FFFF;
        let answered = !mix.is_multiple_of(7);
        PathSecond {
            down: (mix % 11 < 3 && (at_s / 100).is_multiple_of(2))
                .then(|| ("probes_lost".to_owned(), "lost".to_owned())),
            rtt_us: answered.then_some(500 + mix % 90_000),
            jitter_us: mix % 3000,
            loss_ppm: mix % 5 * 1000,
            sent: 3,
            received: if answered { 3 } else { 2 },
        }
    };
    let v6 = (!(at_s / 1000).is_multiple_of(3)).then(|| path(5));
    let traffic = Traffic { rx: Some(u64::from(mix) * 50), tx: Some(u64::from(mix)) };
    Second { paths: [Some(path(0)), v6], traffic }
}

#[derive(Default)]
struct Model {
    health: [BTreeMap<u32, Health>; 2],
    traffic: BTreeMap<u32, Traffic>,
    newest: Option<u32>,
}

impl Model {
    fn record(&mut self, at_s: u32) -> bool {
        if self.newest.is_some_and(|newest| at_s <= newest) {
            return false;
        }
        let second = second(at_s);
        let first = match self.newest {
            Some(newest) if at_s - newest <= 5 => newest + 1,
            _ => at_s,
        };
        for s in first..=at_s {
            for (family, path) in second.paths.iter().enumerate() {
                let Some(path) = path else { continue };
                let rtt = path.rtt_us.unwrap_or(0);
                let health = Health {
                    known_s: 1,
                    usable_s: u32::from(path.down.is_none()),
                    answered_s: u32::from(path.rtt_us.is_some()),
                    rtt_us: rtt,
                    rtt_max_us: rtt,
                    jitter_us: path.rtt_us.map_or(0, |_| path.jitter_us),
                    loss_ppm: path.loss_ppm,
                };
                self.health[family].insert(s, rounded(health, Width::Fine));
            }
            let seconds = u64::from(at_s - first + 1);
            let index = u64::from(s - first);
            let of = |bytes: u64| bytes * (index + 1) / seconds - bytes * index / seconds;
            let traffic = Traffic { rx: second.traffic.rx.map(of), tx: second.traffic.tx.map(of) };
            self.traffic.insert(s, traffic);
        }
        self.newest = Some(at_s);
        true
    }

    /// All slots of a tier that are kept, put together from all seconds there ever were.
    fn slots<R: Record>(&self, seconds: &BTreeMap<u32, R>, tier: usize) -> BTreeMap<u32, R> {
        let group = |fine: &BTreeMap<u32, R>, tier: usize| {
            let mut groups: BTreeMap<u32, Vec<R>> = BTreeMap::new();
            for (at, record) in fine {
                groups.entry(at - at % TIERS[tier].step_s).or_default().push(*record);
            }
            let merged = groups.into_iter().map(|(at, parts)| (at, R::merge(parts.into_iter())));
            merged.map(|(at, record)| (at, rounded(record, TIERS[tier].width))).collect()
        };
        let mut slots: BTreeMap<u32, R> = match tier {
            SECONDS => seconds.clone(),
            HOURS => group(&group(seconds, MINUTES), HOURS),
            _ => group(seconds, tier),
        };
        let span = TIERS[tier].span_s();
        let oldest = (self.newest.unwrap_or(0) / span).saturating_sub(TIERS[tier].blocks - 1) * span;
        slots.retain(|at, _| *at >= oldest);
        slots
    }
}

fn slots<R: Record>(history: &History<Vec<u8>>, stream: Stream, tier: usize) -> BTreeMap<u32, R> {
    let mut slots = BTreeMap::new();
    history
        .slots(stream, tier, (0, u32::MAX), |at, record| {
            slots.insert(at, record);
        })
        .unwrap();
    slots
}

fn compare(history: &History<Vec<u8>>, model: &Model) {
    for tier in [SECONDS, TENS, MINUTES, HOURS] {
        for family in 0..2 {
            let stream = Stream::Path(family);
            assert_eq!(slots(history, stream, tier), model.slots(&model.health[family], tier), "{tier}");
        }
    }
    // How a sum is shared between seconds that were left out does not matter, what it is does.
    let sum = |all: BTreeMap<u32, Traffic>| -> u64 { all.values().filter_map(|t| t.rx).sum() };
    for tier in [SECONDS, TENS, MINUTES, HOURS] {
        let (got, wanted) = (slots(history, Stream::Traffic, tier), model.slots(&model.traffic, tier));
        let times = |all: &BTreeMap<u32, Traffic>| all.keys().copied().collect::<Vec<u32>>();
        assert_eq!(times(&got), times(&wanted), "{tier}");
        let (got, wanted) = (sum(got), sum(wanted));
        assert!(got.abs_diff(wanted) <= wanted / 10_000, "{tier} {got} {wanted}");
    }
    for family in 0..2 {
        let mut wanted = Latencies::default();
        let oldest = (model.newest.unwrap_or(0) / 86_400).saturating_sub(731);
        for (at, health) in &model.health[family] {
            if at % 2 == 0 && health.answered_s > 0 && at / 86_400 >= oldest {
                wanted.count(health.rtt_us);
            }
        }
        assert_eq!(history.measured(family, (0, u32::MAX)).unwrap().0, wanted);
    }
}

/// What happens to a file.
#[derive(Clone, Debug)]
enum Step {
    /// Seconds are recorded, so many, so far apart.
    Run(u32, u32),
    /// The power is off.
    Gap(u32),
    /// The clock says something of the past for some seconds, and nobody says that it is right.
    Back(u32),
    /// `kill -9`, and a new start.
    Kill,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let run = || (1..150u32, prop_oneof![4 => Just(1), 1 => 2..9u32]).prop_map(|(n, d)| Step::Run(n, d));
    let gap =
        prop_oneof![1..100u32, 100..8000u32, 8000..400_000u32, 400_000..70_000_000u32].prop_map(Step::Gap);
    let back = prop_oneof![1..10u32, 10..4000u32, 4000..1_000_000_000u32].prop_map(Step::Back);
    proptest::collection::vec(prop_oneof![6 => run(), 2 => gap, 2 => back, 1 => Just(Step::Kill)], 1..14)
}

fn play(steps: &[Step], mut each: impl FnMut(u32, bool)) {
    let mut now = START;
    for step in steps {
        match step {
            Step::Run(count, apart) => {
                for _ in 0..*count {
                    now += apart;
                    each(now, false);
                }
            }
            Step::Gap(seconds) => now += seconds,
            Step::Back(seconds) => (0..20).for_each(|s| each(now.saturating_sub(*seconds) + s, false)),
            Step::Kill => each(now, true),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_tier_is_what_the_model_says(steps in steps()) {
        let mut history = Some(new());
        let mut model = Model::default();
        play(&steps, |at, kill| {
            let mut h = history.take().unwrap();
            if kill {
                h = History::open(h.into_storage()).unwrap();
                assert_eq!((h.newest_s(), h.damaged()), (model.newest, 0));
            } else {
                let done = h.record(at, &second(at), || false).unwrap() == Recorded::Done;
                assert_eq!(done, at >= EARLIEST_S && model.record(at), "{at}");
            }
            history = Some(h);
        });
        let mut history = history.unwrap();
        history.settle().unwrap();
        compare(&history, &model);
        // And a boot changes nothing of it.
        compare(&History::open(history.into_storage()).unwrap(), &model);
    }

    #[test]
    fn damage_makes_nothing_up(
        steps in steps(), flips in proptest::collection::vec((0..file_size(), 1..=255u8), 1..40),
        near in proptest::collection::vec((0..100_000u64, 1..=255u8), 1..10),
    ) {
        let mut history = new();
        play(&steps, |at, _| {
            history.record(at, &second(at), || false).unwrap();
        });
        history.settle().unwrap();
        let whole = history.storage().clone();
        let mut bytes = whole.clone();
        for (at, flip) in flips.into_iter().chain(near) {
            bytes[usize::try_from(at).unwrap()] ^= flip;
        }
        let mut damaged = match History::open(bytes) {
            Ok(damaged) => damaged,
            // Its header.
            Err(OpenError::Broken(_)) => return Ok(()),
            Err(OpenError::Io(error)) => panic!("{error}"),
        };
        damaged.mend().unwrap();
        for family in 0..2 {
            let stream = Stream::Path(family);
            for tier in [SECONDS, TENS, MINUTES] {
                let all: BTreeMap<u32, Health> = slots(&history, stream, tier);
                for (at, got) in slots::<Health>(&damaged, stream, tier) {
                    prop_assert_eq!(all.get(&at), Some(&got));
                }
            }
            let all: BTreeMap<u32, Health> = slots(&history, stream, HOURS);
            for (at, got) in slots::<Health>(&damaged, stream, HOURS) {
                prop_assert!(all[&at].known_s >= got.known_s);
            }
            let outages = history.outages(family).unwrap();
            for outage in damaged.outages(family).unwrap() {
                prop_assert!(outages.contains(&outage));
            }
        }
        // It goes on, and can be asked everything.
        let next = damaged.newest_s().unwrap_or(START) + 1;
        prop_assert_eq!(damaged.record(next, &second(next), || true).unwrap(), Recorded::Done);
        interface(&damaged, Month::of(next.into()), u64::from(next)).unwrap();
    }

    #[test]
    fn a_file_of_anything_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..2000), whole: bool) {
        let mut bytes = bytes;
        if whole {
            bytes.resize(usize::try_from(file_size()).unwrap(), 7);
        }
        prop_assert!(matches!(History::open(bytes), Err(OpenError::Broken(_))));
    }

    /// The process ends in the middle of a write.
    #[test]
    fn a_torn_write_costs_a_block_at_most(writes in 100..1500u32, part in 0..500usize) {
        let mut history = History::create(Torn { bytes: new().into_storage(), left: writes, part }, "wan").unwrap();
        let mut whole = new();
        let mut at = START + 3000;
        while history.record(at, &second(at), || false).is_ok() {
            whole.record(at, &second(at), || false).unwrap();
            at += 1;
        }
        let torn = History::open(history.into_storage().bytes).unwrap();
        prop_assert!(torn.damaged() <= 1);
        for family in 0..2 {
            let stream = Stream::Path(family);
            let all: BTreeMap<u32, Health> = slots(&whole, stream, SECONDS);
            let got: BTreeMap<u32, Health> = slots(&torn, stream, SECONDS);
            // The second that was being written may be there.
            for (second, got) in &got {
                prop_assert!(*second == at || all.get(second) == Some(got));
            }
            prop_assert!(got.len() + 60 >= all.len());
        }
    }

    #[test]
    fn any_question_has_an_answer(
        from_s in proptest::option::of(any::<u64>()), to_s in proptest::option::of(any::<u64>()),
        points in proptest::option::of(any::<u32>()), now: u64, family in "ipv[46]|x",
    ) {
        let mut history = new();
        history.record(START, &second(START), || false).unwrap();
        let family = Some(family);
        let query = HistoryQuery { interface: "wan".to_owned(), family, from_s, to_s, points };
        if let Some(chart) = series(&history, &query, now).unwrap() {
            prop_assert!(chart.series.up.len() <= 4001);
        }
        interface(&history, Month::of(now), now).unwrap();
    }

    #[test]
    fn charts_have_as_many_points_as_fit_and_all_there_is(
        from in 0..4_000_000u64, span in 1..4_000_000u64, points in 1..500u32,
    ) {
        let mut history = new();
        for at in (START..START + 8000).filter(|at| at / 500 % 2 == 0) {
            history.record(at, &second(at), || false).unwrap();
        }
        history.settle().unwrap();
        let now = u64::from(START) + 8000;
        let from_s = now - from.min(3_000_000);
        let query = HistoryQuery {
            interface: "wan".to_owned(), family: None, from_s: Some(from_s), to_s: Some(from_s + span), points: Some(points),
        };
        let chart = series(&history, &query, now).unwrap().unwrap();
        let s = &chart.series;
        let length = s.up.len();
        prop_assert!(length <= points as usize + 1 && length > 0);
        for list in [&s.rtt_ms, &s.rtt_max_ms, &s.loss, &s.jitter_ms, &s.rx_bps, &s.tx_bps] {
            prop_assert_eq!(list.len(), length);
        }
        prop_assert!(chart.from_s <= from_s);
        for (index, up) in s.up.iter().enumerate() {
            let start = chart.from_s + index as u64 * chart.step_s;
            let any = (start..start + chart.step_s)
                .any(|t| t / 500 % 2 == 0 && (u64::from(START)..now).contains(&t));
            // The end of the last whole point may be beyond what was asked for, never before it.
            prop_assert!(up.is_none() || any, "{start}");
            if any && up.is_none() {
                // Only what begins within the chart's tier counts.
                prop_assert!(start + chart.step_s > now || chart.step_s < 60, "{start} {}", chart.step_s);
            }
        }
    }
}

#[test]
fn a_torn_day_is_put_together_from_its_minutes() {
    let mut history = new();
    for at in START..START + 9000 {
        record(&mut history, at, PathSecond::default());
    }
    history.settle().unwrap();
    let hours: BTreeMap<u32, Health> = slots(&history, Stream::Path(0), HOURS);
    let mut bytes = history.into_storage();
    bytes[usize::try_from(Stream::Path(0).block_at(HOURS, START / 86_400)).unwrap() + 200] ^= 1;
    let mut history = History::open(bytes).unwrap();
    assert!(slots::<Health>(&history, Stream::Path(0), HOURS).is_empty());
    history.mend().unwrap();
    assert_eq!(slots::<Health>(&history, Stream::Path(0), HOURS), hours);
}

/// Memory of which only so many writes reach all of their place.
struct Torn {
    bytes: Vec<u8>,
    left: u32,
    part: usize,
}

impl Storage for Torn {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.bytes.read(at, out)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::BrokenPipe)?;
        if self.left == 0 {
            self.bytes.write(at, &bytes[..self.part.min(bytes.len())])?;
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.write(at, bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

/// Wherever the process ends while a minute is being closed, its latencies are counted once.
#[test]
fn no_minute_counts_twice() {
    let answered = || PathSecond { rtt_us: Some(10_000), ..PathSecond::default() };
    let start = |left| History::create(Torn { bytes: new().into_storage(), left, part: 0 }, "wan").unwrap();
    let until = |history: &mut History<Torn>, from: u32, to: u32| {
        (from..to).try_for_each(|at| history.record(at, &only(answered()), || false).map(drop))
    };
    let writes = |seconds: u32| {
        let mut history = start(u32::MAX);
        until(&mut history, START, START + seconds).unwrap();
        u32::MAX - history.into_storage().left
    };
    let (first, last) = (writes(60), writes(61));
    assert!(last - first >= 4, "something is written to close it");
    for left in first..=last + 1 {
        let mut history = start(left);
        assert!(until(&mut history, START, START + 90).is_err());
        let mut bytes = history.into_storage();
        bytes.left = u32::MAX;
        let mut history = History::open(bytes).unwrap();
        until(&mut history, START + 60, START + 125).unwrap();
        assert_eq!(history.measured(0, (0, u32::MAX)).unwrap().0.total(), 63, "{left}");
    }
}

fn down(text: &str) -> PathSecond {
    PathSecond { down: Some(("probes_lost".to_owned(), text.to_owned())), ..PathSecond::default() }
}

fn only(path: PathSecond) -> Second {
    Second { paths: [Some(path), None], ..Second::default() }
}

fn record(history: &mut History<Vec<u8>>, at: u32, path: PathSecond) -> Recorded {
    history.record(at, &only(path), || false).unwrap()
}

#[test]
fn a_router_without_a_clock_of_its_own_changes_nothing_of_the_past() {
    let mut history = new();
    for at in START..START + 7000 {
        record(&mut history, at, PathSecond::default());
    }
    history.settle().unwrap();
    let before = history.storage().clone();
    // Boot: 1970, then the time of the last change of a file, then the network tells.
    let mut history = History::open(before.clone()).unwrap();
    for at in (0..100).chain(START + 3600..START + 3700) {
        let became = record(&mut history, at, down("no network yet"));
        assert!(matches!(became, Recorded::Implausible | Recorded::Behind), "{at} {became:?}");
    }
    assert!(*history.storage() == before, "nothing is written");
    assert_eq!(record(&mut history, START + 90_000, PathSecond::default()), Recorded::Done);
}

#[test]
fn a_clock_that_was_ahead_is_believed_only_once_it_is_right() {
    let mut history = new();
    for at in START..START + 100 {
        record(&mut history, at, PathSecond::default());
    }
    let kept: BTreeMap<u32, Health> = slots(&history, Stream::Path(0), SECONDS);
    for at in 4_000_000_000..4_000_000_100 {
        record(&mut history, at, down("of a time that has not come"));
    }
    assert_eq!(record(&mut history, START + 200, PathSecond::default()), Recorded::Behind);
    let right = history.record(START + 200, &only(PathSecond::default()), || true).unwrap();
    assert_eq!(right, Recorded::Done);
    assert_eq!(history.newest_s(), Some(START + 200));
    // It was in another place of the ring, so what was before is all there still, and nothing else.
    let mut now: BTreeMap<u32, Health> = slots(&history, Stream::Path(0), SECONDS);
    assert!(now.remove(&(START + 200)).is_some());
    assert_eq!(now, kept);
    assert_eq!(history.outages(0).unwrap(), []);
    assert_eq!(record(&mut history, START + 201, PathSecond::default()), Recorded::Done);
    history.settle().unwrap();
    assert_eq!(slots::<Health>(&history, Stream::Path(0), HOURS)[&START].known_s, 102);
}

#[test]
fn outages_have_begin_end_and_cause() {
    let mut history = new();
    record(&mut history, START, PathSecond::default());
    // The moment comes before the second, which adds nothing to it.
    let cause = ("probes_lost".to_owned(), "2 rounds lost".to_owned());
    history.transition(0, u64::from(START) * 1000 + 300, Some(&cause)).unwrap();
    record(&mut history, START + 1, down("another text"));
    record(&mut history, START + 2, down("another text"));
    let outage = history.outages(0).unwrap().remove(0);
    let start_ms = u64::from(START) * 1000 + 300;
    let (code, text) = cause;
    assert_eq!(outage, Outage { number: 1, start_ms, end: None, code, text });

    // A new start carries on with it.
    let mut history = History::open(history.into_storage()).unwrap();
    record(&mut history, START + 5, down("still"));
    history.transition(0, u64::from(START) * 1000 + 5700, None).unwrap();
    record(&mut history, START + 6, PathSecond::default());
    let outages = history.outages(0).unwrap();
    assert_eq!(outages.len(), 1);
    assert_eq!(outages[0].end, Some(End { at_ms: u64::from(START) * 1000 + 5700, seen: true }));

    // One that goes on while the power is off.
    record(&mut history, START + 10, down("a"));
    record(&mut history, START + 11, down("a"));
    record(&mut history, START + 500, down("b"));
    let outages = history.outages(0).unwrap();
    assert_eq!(outages.len(), 3);
    assert_eq!(outages[1].end, Some(End { at_ms: u64::from(START + 11) * 1000, seen: false }));
    assert_eq!((outages[2].start_ms, outages[2].end), (u64::from(START + 500) * 1000, None));
    // Another, and after the boot the path is usable before a second is recorded.
    let mut booted = History::open(history.storage().clone()).unwrap();
    booted.transition(0, u64::from(START + 9000) * 1000, None).unwrap();
    record(&mut booted, START + 9000, PathSecond::default());
    let end = booted.outages(0).unwrap()[2].end;
    assert_eq!(end, Some(End { at_ms: u64::from(START + 500) * 1000, seen: false }));
    // One of a path that its owner takes down.
    history.record(START + 501, &Second::default(), || false).unwrap();
    let end = history.outages(0).unwrap()[2].end;
    assert_eq!(end, Some(End { at_ms: u64::from(START + 501) * 1000, seen: false }));
    assert_eq!(history.outages(1).unwrap(), []);
}

#[test]
fn of_many_outages_the_last_are_kept_and_that_is_said() {
    let mut history = new();
    for n in 0..OUTAGES_MAX as u32 + 20 {
        record(&mut history, START + 4 * n, down(&n.to_string()));
        record(&mut history, START + 4 * n + 2, PathSecond::default());
    }
    let outages = history.outages(0).unwrap();
    assert_eq!((outages.len(), outages[0].text.as_str()), (OUTAGES_MAX, "20"));
    history.settle().unwrap();
    let report = interface(&history, Month::of(START.into()), u64::from(START) + 1000).unwrap().unwrap();
    assert!(report.paths[0].outages_incomplete);
    assert_eq!(report.paths[0].outages.len(), OUTAGES_MAX);
}

/// Two years of hours by their last second each, and the file is as large as ever.
/// Of one family nothing may be known while bytes are counted: they are the device's.
#[test]
fn throughput_is_that_of_the_device_whichever_family_is_asked_for() {
    let mut history = new();
    for at in START..START + 20 {
        let v6 = (at % 10 < 5).then(PathSecond::default);
        let traffic = Traffic { rx: Some(1000), tx: None };
        let second = Second { paths: [Some(PathSecond::default()), v6], traffic };
        history.record(at, &second, || true).unwrap();
    }
    history.settle().unwrap();
    for family in ["ipv4", "ipv6"] {
        let query = HistoryQuery {
            interface: "wan".into(),
            family: Some(family.into()),
            from_s: Some(START.into()),
            to_s: Some(u64::from(START) + 20),
            points: Some(2),
        };
        let chart = series(&history, &query, u64::from(START) + 20).unwrap().unwrap();
        assert_eq!((chart.step_s, &chart.series.rx_bps), (10, &vec![Some(8000.0); 2]), "{family}");
    }
}

#[test]
fn it_never_grows() {
    let mut history = new();
    for hour in 0..20_000 {
        history.record(START + hour * 3600, &second(START + hour), || false).unwrap();
    }
    assert_eq!(history.storage().len() as u64, file_size());
    history.settle().unwrap();
    let hours: BTreeMap<u32, Health> = slots(&history, Stream::Path(0), HOURS);
    assert!(hours.len() >= 731 * 24 && hours.len() <= 732 * 24, "{}", hours.len());
}

/// A month by the second, against arithmetic.
#[test]
fn a_report_counts() {
    let mut history = new();
    let path = |n: u32| PathSecond {
        down: (n.is_multiple_of(2000))
            .then(|| ("no_carrier".to_owned(), "device eth1 has no carrier".to_owned())),
        rtt_us: Some(if n % 100 < 96 { 10_000 } else { 100_000 }),
        jitter_us: 1000,
        loss_ppm: 0,
        sent: 2,
        received: if n.is_multiple_of(10) { 1 } else { 2 },
    };
    let seconds = 20_000;
    let from = START + 3600;
    for n in 0..seconds {
        let traffic = Traffic { rx: Some(1000), tx: Some(10) };
        history.record(from + n, &Second { paths: [Some(path(n)), None], traffic }, || false).unwrap();
    }
    history.settle().unwrap();
    let now = u64::from(from + seconds);
    let report = interface(&history, Month::parse("2026-11").unwrap(), now).unwrap().unwrap();
    assert_eq!((report.interface.as_str(), report.rx_bytes), ("wan", Some(20_000_000)));
    assert!(report.tx_bytes.unwrap().abs_diff(200_000) < 20);
    let path = &report.paths[0];
    assert_eq!((path.family.as_str(), report.paths.len()), ("ipv4", 1));
    assert_eq!((path.known_s, path.usable_s, path.unknown_s), (20_000, 19_990, 3600));
    assert_eq!(path.availability_percent, Some(99.95));
    assert_eq!(path.outages.len(), 10);
    assert_eq!(path.longest_outage_s, Some(1));
    assert_eq!(
        (path.outages[3].end_ms, path.outages[3].end_seen),
        (Some(u64::from(from + 6001) * 1000), true)
    );
    let latency = path.latency.as_ref().unwrap();
    let near = |got: f64, wanted: f64| assert!((got - wanted).abs() <= wanted * 0.07, "{got} {wanted}");
    near(latency.p50_ms, 10.0);
    near(latency.p95_ms, 10.0);
    near(latency.p99_ms, 100.0);
    near(latency.mean_ms, 13.6);
    near(latency.max_ms, 100.0);
    // Of the minutes that are over.
    assert!((39_800..40_000).contains(&path.probes_sent), "{}", path.probes_sent);
    near(path.loss_percent.unwrap(), 5.0);
    assert_eq!(path.gaps.len(), 1);
    assert_eq!((path.gaps[0].from_s, path.gaps[0].unknown_s), (u64::from(START), 3600));

    let other = interface(&history, Month::parse("2026-10").unwrap(), now).unwrap();
    assert_eq!(other, None, "nothing is known of it");
}
