//! A recorded evening under other options: two outages and a hiccup, whose times are known to the second.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Assignment, Family};
use mwan_core::*;
use mwan_record::*;

const CONFIG: &str = "
config interface 'wan'
 option enabled 1
 option device eth0
 list track_ip 192.0.2.1
 option interval 5
 option timeout 2
 option down 5
 option up 2
config interface 'lte'
 option enabled 1
 option device eth1
 list track_ip 192.0.2.2
 option interval 5
 option timeout 2
config member 'm1'
 option interface 'wan'
config member 'm2'
 option interface 'lte'
 option metric 2
config policy 'both'
 list use_member 'm1'
 list use_member 'm2'
config rule 'all'
 option use_policy 'both'
";

fn network() -> NetView {
    let mut net = NetView::default();
    for n in 0..2u8 {
        let address =
            Address { ip: [100, 64, n, 2].into(), prefix_len: 24, peer: None, global: true, preferred: true };
        let link = Link {
            index: n.into(),
            up: true,
            carrier: true,
            point_to_point: false,
            addresses: vec![address],
        };
        net.links.insert(format!("eth{n}"), link);
        let gateway = Some([100, 64, n, 1].into());
        let device = format!("eth{n}");
        net.defaults.push(DefaultRoute { family: Family::V4, metric: 0, table: 254, device, gateway });
    }
    net
}

/// When wan answers nothing, seconds: a long outage, a hiccup of three rounds, another outage.
const DARK: [(u64, u64); 3] = [(100, 200), (400, 414), (700, 760)];

/// Records 1000 s in which wan answers within `rtt`, except when it is dark.
fn record(rtt: Duration) -> Vec<u8> {
    record_until(rtt, 1000)
}

fn record_until(rtt: Duration, seconds: u64) -> Vec<u8> {
    record_with(rtt, seconds, &[])
}

/// With what happens in some seconds.
fn record_with(rtt: Duration, seconds: u64, happens: &[(u64, Event)]) -> Vec<u8> {
    let config = Arc::new(mwan_config::parse("evening", CONFIG.as_bytes()).config);
    let mut core = Core::new(Platform { translate: true }, config, Memory::default());
    let mut now = Time::from_ms(1);
    let source = Source::File(CONFIG.to_owned());
    let source = RecordedConfig { name: "evening".into(), source, tables: BTreeMap::new() };
    let mut ring = Ring::new(1 << 20, Arc::new(source), &core, now);
    let mut queue: BTreeMap<(Time, u64), Event> = BTreeMap::new();
    let (mut number, mut wake) = (0, None);
    queue.insert((now, 0), Event::Network(Arc::new(network())));
    queue.extend(happens.iter().map(|(second, event)| ((Time::from_ms(second * 1000), 0), event.clone())));
    loop {
        let queued = queue.keys().next().map(|key| key.0);
        now = [queued, wake].into_iter().flatten().min().unwrap();
        if now.0 > seconds * 1_000_000 {
            break;
        }
        let event = match queued.filter(|at| *at <= now) {
            Some(_) => queue.pop_first().unwrap().1,
            None => Event::Tick,
        };
        ring.event(now, &event);
        let output = core.handle(now, event);
        ring.decided(&output, &core);
        wake = output.wake_at;
        number += 1;
        if let Some(desired) = output.desired {
            queue.insert((now, number), Event::Applied { generation: desired.generation });
        }
        for effect in output.effects {
            let Effect::Probe(ProbeRequest { path, round, .. }) = effect else { continue };
            let second = now.0 / 1_000_000;
            let dark = path.id == 1 && DARK.iter().any(|(from, to)| (*from..*to).contains(&second));
            if !dark {
                number += 1;
                let reply = ProbeReport::Reply { path, round, target: 0, sequence: 0, rtt };
                queue.insert((now + rtt, number), Event::Probe(reply));
            }
        }
    }
    let mut file = Vec::new();
    let made = Made::new("0.0.0", now, 1_700_000_000_000, "asked");
    ring.snapshot().unwrap().write(&made, &mut file).unwrap();
    file
}

fn tried(file: &[u8], words: &[&str]) -> Result<(Vec<Verdict>, Trial), Trouble> {
    let recording = Recording::read(file).unwrap();
    let replayed = replay(&recording).unwrap();
    assert_eq!(replayed.first, None, "the text alone gives the same decisions");
    let words: Vec<Assignment> = words.iter().map(|w| w.parse().unwrap()).collect();
    let trial = try_out(&recording, &replayed, &words)?;
    Ok((compare(&replayed.decisions, &trial.decisions, replayed.interval), trial))
}

fn shown(verdicts: &[Verdict]) -> Vec<String> {
    let one = |v: &Verdict| format!("{} {:?} {}", v.outage.from.0 / 1_000_000, v.seen, v.switched);
    verdicts.iter().map(one).collect()
}

#[test]
fn the_same_options_see_the_same() {
    let file = record(Duration::from_millis(20));
    let (verdicts, trial) = tried(&file, &["wan.down=5"]).unwrap();
    assert_eq!(verdicts.len(), 2);
    for verdict in &verdicts {
        let by = match verdict.seen {
            Seen::Alike => Duration::ZERO,
            Seen::Sooner(by) | Seen::Later(by) => by,
            _ => panic!("{verdict:?}"),
        };
        assert!(by <= Duration::from_millis(2500), "half an interval: {verdict:?}");
    }
    assert_eq!((trial.doubts.unknown, trial.doubts.late), (0, 0));
}

/// A drill is in the recording, is decided by again, and is no outage, whatever the options.
#[test]
fn a_drill_is_replayed_and_is_no_outage() {
    let length = Duration::from_secs(100);
    let order = DrillOrder { interface: "wan".to_owned(), length, keeps_flows: false };
    let file = record_with(Duration::from_millis(20), 1000, &[(500, Event::Drill(order))]);
    let replayed = replay(&Recording::read(file.as_slice()).unwrap()).unwrap();
    let pretended = |d: &&Decided| match &d.decision {
        mwan_record::Decision::Path { from, to, reason, .. } => {
            reason.code() == "drill" && from.usable() && !to.usable()
        }
        _ => false,
    };
    let at: Vec<u64> = replayed.decisions.iter().filter(pretended).map(|d| d.at.0 / 1_000_000).collect();
    assert_eq!((replayed.differences, at.len()), (0, 1));
    assert!((500..600).contains(&at[0]), "{at:?}");
    for (options, outages) in [("wan.down=5", 2), ("wan.down=3", 3), ("wan.down=15", 2)] {
        let (verdicts, _) = tried(&file, &[options]).unwrap();
        assert_eq!(verdicts.len(), outages, "{options}: {verdicts:?}");
    }
}

/// Three bad rounds instead of five: both outages two rounds sooner, and the hiccup is one.
#[test]
fn fewer_rounds_see_outages_sooner_and_cost_a_false_failover() {
    let file = record(Duration::from_millis(20));
    let (verdicts, _) = tried(&file, &["wan.down=3"]).unwrap();
    let [first, hiccup, second] = verdicts.as_slice() else { panic!("{verdicts:?}") };
    for outage in [first, second] {
        let Seen::Sooner(by) = outage.seen else { panic!("{:?}", shown(&verdicts)) };
        assert!(by >= Duration::from_millis(7500) && by <= Duration::from_millis(12500), "{by:?}");
        assert!(outage.switched);
    }
    assert_eq!((hiccup.seen.clone(), hiccup.switched), (Seen::Only, true));
    assert!((400..425).contains(&(hiccup.outage.from.0 / 1_000_000)));
    // More patience than a minute has rounds for: the second outage would not have been seen at all.
    let (verdicts, _) = tried(&file, &["wan.down=15"]).unwrap();
    assert!(matches!(verdicts[0].seen, Seen::Later(_)) && verdicts[1].seen == Seen::Never, "{verdicts:?}");
}

#[test]
fn an_answer_that_comes_too_late_for_a_shorter_timeout_is_lost() {
    let file = record(Duration::from_millis(1200));
    let (verdicts, trial) = tried(&file, &["wan.timeout=1"]).unwrap();
    let seen: Vec<_> = verdicts.iter().map(|v| (v.seen.clone(), v.switched)).collect();
    let [(Seen::Only, true), (Seen::Already, true), (Seen::Already, true)] = seen.as_slice() else {
        panic!("{:?}", shown(&verdicts));
    };
    assert_eq!(trial.doubts.late, 0);
    let (_, trial) = tried(&file, &["wan.timeout=4"]).unwrap();
    assert!(trial.doubts.late > 20, "what came later than 2 s nobody knows: {:?}", trial.doubts);
}

#[test]
fn what_nobody_asked_is_refused() {
    let file = record(Duration::from_millis(20));
    for (word, said) in [
        ("wan.track_ip=192.0.2.9", "wan: another target"),
        ("wan.size=1000", "wan: another target"),
        ("wan.device=eth7", "wan: another device"),
        ("wan.count=3", "wan: another count"),
        ("wan.dwon=3", "'wan' has no option 'dwon'"),
        ("vdsl.down=3", "the configuration has no section 'vdsl'"),
        ("wan.down=0", "that cannot be set"),
    ] {
        match tried(&file, &[word]) {
            Err(Trouble::Option(message, hint)) => {
                assert!(message.starts_with(said) && !hint.is_empty(), "{word}: {message}");
            }
            other => panic!("{word}: {other:?}"),
        }
    }
}

/// A recording as it was made when the format was new: whoever changes what is written changes the format's number, or this fails.
/// `UPDATE_RECORDING=1` makes it anew.
#[test]
fn a_recording_of_this_format_stays_readable() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/evening.json");
    if std::env::var_os("UPDATE_RECORDING").is_some() {
        std::fs::write(path, record_until(Duration::from_millis(20), 430)).unwrap();
    }
    let file = std::fs::read(path).unwrap();
    let (verdicts, _) = tried(&file, &["wan.down=3"]).unwrap();
    let seen: Vec<_> =
        verdicts.iter().map(|v| (matches!(v.seen, Seen::Sooner(_)), v.seen == Seen::Only)).collect();
    assert_eq!(seen, [(true, false), (false, true)]);
}

/// What the documentation says of its size.
#[test]
fn an_answer_is_some_twenty_bytes() {
    let config = Arc::new(mwan_config::parse("evening", CONFIG.as_bytes()).config);
    let core = Core::new(Platform { translate: true }, config, Memory::default());
    let source = Source::File(String::new());
    let source = RecordedConfig { name: "evening".into(), source, tables: BTreeMap::new() };
    let mut ring = Ring::new(1 << 20, Arc::new(source), &core, Time(0));
    let (begin, mut core) = (ring.bytes(), core);
    for n in 0..1000u64 {
        let path = PathKey { id: 60, family: Family::V6 };
        let (round, rtt) = (100_000 + n, Duration::from_nanos(23_456_789));
        let event = Event::Probe(ProbeReport::Reply { path, round, target: 3, sequence: 0, rtt });
        let now = Time(n * 250_000);
        ring.event(now, &event);
        let output = core.handle(now, event);
        ring.decided(&output, &core);
    }
    let bytes = (ring.bytes() - begin) / 1000;
    assert!((10..=20).contains(&bytes), "{bytes}");
}
