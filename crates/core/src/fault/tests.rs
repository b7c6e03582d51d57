#![allow(clippy::unwrap_used)]
use std::time::Duration;

use mwan_config::{InitialState, ProbeTarget};

use super::*;
use crate::{Time, Tracker};

const GATEWAY: &str = "100.64.1.1";
const OWN: &str = "100.64.1.2";
const BAD_FOR: Duration = Duration::from_secs(10);
/// It answered since nothing else does; it did before.
const HERE: Neighbour = Neighbour::Answered(Duration::from_secs(9));
const BEFORE: Neighbour = Neighbour::Answered(Duration::from_secs(11));

/// One target: what is asked, its state, what other WANs say of it, and its error.
type Row = (&'static str, TargetState, Elsewhere, Option<&'static str>);

fn target((text, state, _, error): &Row) -> Target {
    let toml = format!("[wan.a]\ntargets = [\"{text}\"]\n");
    let config = mwan_config::parse("t.toml", toml.as_bytes()).config;
    let tracking = &config.interfaces[0].tracking;
    let probe: ProbeTarget = tracking.targets[0].clone();
    let tracker = Tracker::start(tracking, InitialState::Online, vec![probe], Time(0));
    let mut target = tracker.targets()[0].clone();
    target.state = *state;
    target.error = error.map(str::to_owned);
    target.rtt = Some(Duration::from_millis(1));
    target
}

fn judged(
    reason: &Reason,
    gateway: Option<&str>,
    neighbour: Neighbour,
    rows: &[Row],
) -> Option<(Fault, String)> {
    let targets: Vec<Target> = rows.iter().map(target).collect();
    let witness = |(target, row)| {
        let (_, _, elsewhere, _): &Row = row;
        Witness { target, elsewhere: *elsewhere }
    };
    attribute(&Evidence {
        ready: !is_of_the_link(reason) && *reason != Reason::TakenDown,
        reason,
        source: OWN.parse().ok(),
        gateway: gateway.map(|ip| ip.parse().unwrap()),
        neighbour,
        bad_for: Some(BAD_FOR),
        witnesses: targets.iter().zip(rows).map(witness).collect(),
    })
    .map(|a| (a.fault, a.evidence))
}

#[test]
fn what_the_link_lacks_is_the_links_fault_and_what_somebody_wants_is_nobodys() {
    let device = || "eth1".to_owned();
    let of_the_link = [
        Reason::NoDevice(device()),
        Reason::DeviceDown(device()),
        Reason::NoCarrier(device()),
        Reason::NoAddress(device()),
        Reason::NoGateway(device()),
        Reason::NoInterface(device()),
        Reason::InterfaceDown(device()),
        Reason::OtherDevice(device()),
    ];
    for reason in of_the_link {
        let (fault, evidence) = judged(&reason, None, Neighbour::Unknown, &[]).unwrap();
        assert_eq!((fault, evidence), (Fault::Link, reason.to_string()));
    }
    assert_eq!(judged(&Reason::TakenDown, None, Neighbour::Unknown, &[]), None);
}

#[test]
fn every_kind_of_evidence_has_its_fault() {
    use Elsewhere::*;
    use Fault::*;
    use Neighbour::{Silent, Unknown as Unsure};
    use TargetState::{Down, Unknown as Open, Up};
    let table: &[(&[Row], Neighbour, Option<Fault>, &str)] = &[
        // Everything is fine, or nothing is known yet.
        (&[("1.1.1.1", Up, NotAsked, None)], Silent, None, ""),
        (&[("1.1.1.1", Open, NotAsked, None)], Silent, None, ""),
        (&[], Silent, None, ""),
        // One of several.
        (
            &[("1.1.1.1", Up, Answers, None), ("8.8.8.8", Down, Answers, None)],
            HERE,
            Some(Target),
            "from 8.8.8.8; others",
        ),
        (
            &[("1.1.1.1", Up, Answers, None), (GATEWAY, Down, NotAsked, None)],
            HERE,
            Some(Target),
            "beyond it does",
        ),
        // The gateway is asked in two ways, and nothing else is asked.
        (
            &[(GATEWAY, Up, NotAsked, None), ("tcp://100.64.1.1:80", Down, NotAsked, None)],
            HERE,
            Some(Target),
            "from tcp://100.64.1.1:80; others",
        ),
        // The target fails by all WANs that ask it.
        (&[("8.8.8.8", Down, Fails, None)], HERE, Some(Target), "no WAN reaches 8.8.8.8"),
        (
            &[("8.8.8.8", Down, Fails, None), ("1.1.1.1", Down, Answers, None)],
            HERE,
            Some(Beyond),
            "no target beyond",
        ),
        // Names alone.
        (
            &[("1.1.1.1", Up, Answers, None), ("dns://9.9.9.9/example.org", Down, Answers, None)],
            HERE,
            Some(Dns),
            "names are not resolved (dns://9.9.9.9/example.org)",
        ),
        (
            &[
                ("dns://1.1.1.1/example.org", Up, Answers, None),
                ("dns://9.9.9.9/example.org", Down, Answers, None),
            ],
            HERE,
            Some(Target),
            "others answer",
        ),
        (&[("dns://9.9.9.9/example.org", Down, Answers, None)], HERE, Some(Beyond), "answers on the link"),
        // Nothing answers: what is known of the gateway decides.
        (&[("1.1.1.1", Down, Answers, None)], HERE, Some(Beyond), "100.64.1.1 answers on the link"),
        (&[("1.1.1.1", Down, NotAsked, None)], Silent, Some(Gateway), "is not on it"),
        // What it was before the fault says nothing of now.
        (&[("1.1.1.1", Down, Answers, None)], BEFORE, Some(Unknown), "did on the link 11 s ago, before that"),
        (&[(GATEWAY, Down, NotAsked, None)], BEFORE, Some(Gateway), "does not answer"),
        (&[("1.1.1.1", Down, Answers, None)], Unsure, Some(Unknown), "nothing is known"),
        (
            &[("1.1.1.1", Down, Answers, None), (GATEWAY, Up, NotAsked, None)],
            Unsure,
            Some(Beyond),
            "gateway 100.64.1.1 answers",
        ),
        (
            &[("1.1.1.1", Down, Answers, None), (GATEWAY, Down, NotAsked, None)],
            Unsure,
            Some(Gateway),
            "does not answer",
        ),
        (
            &[("1.1.1.1", Down, Answers, None), (GATEWAY, Down, NotAsked, None)],
            HERE,
            Some(Beyond),
            "on the link",
        ),
        (&[(GATEWAY, Down, NotAsked, None)], Silent, Some(Gateway), "is not on it"),
        (&[(GATEWAY, Down, NotAsked, None)], HERE, Some(Target), "does not answer probes"),
        // A router speaks up; so do we ourselves if nobody has the gateway's address.
        (
            &[("1.1.1.1", Down, Answers, Some("Network unreachable (says 100.64.9.9)"))],
            Unsure,
            Some(Beyond),
            "100.64.9.9 answers that",
        ),
        (
            &[("1.1.1.1", Down, Answers, Some("Host unreachable (says 100.64.1.2)"))],
            Unsure,
            Some(Gateway),
            "does not answer on it",
        ),
        (&[("1.1.1.1", Down, Answers, Some("says (says nobody)"))], Unsure, Some(Unknown), "nothing answers"),
    ];
    for (rows, neighbour, fault, words) in table {
        let found = judged(&Reason::Answering, Some(GATEWAY), *neighbour, rows);
        assert_eq!(found.as_ref().map(|(fault, _)| *fault), *fault, "{rows:?} {neighbour:?}: {found:?}");
        assert!(found.is_none_or(|(_, evidence)| evidence.contains(words)), "{rows:?}: {words}");
    }
    let dialled = judged(&Reason::Answering, None, Unsure, &[("1.1.1.1", Down, Answers, None)]);
    assert_eq!(dialled.unwrap().0, Beyond, "a link without a gateway");
}

#[test]
fn long_lists_are_cut() {
    let rows: Vec<Row> = ["1.0.0.1", "1.0.0.2", "1.0.0.3", "1.0.0.4", "1.0.0.5"]
        .map(|ip| (ip, TargetState::Down, Elsewhere::Fails, None))
        .into();
    let (_, evidence) = judged(&Reason::Answering, Some(GATEWAY), HERE, &rows).unwrap();
    assert_eq!(evidence, "no WAN reaches 1.0.0.1, 1.0.0.2, 1.0.0.3 and 2 more");
}
