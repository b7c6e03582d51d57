//! A rule that `mwan check` calls shadowed never decides (`classify`), whatever is in the sets that others fill; and one
//! that never decides is called so.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use mwan_config::lint::lint;
use mwan_config::*;
use mwan_core::{Decision, Desired, DesiredRule, Marks, MasqueradePlan, Packet, classify};
use proptest::prelude::*;
use proptest::sample::select;

const SETS: [&str; 2] = ["s", "t"];
const DEVICES: [&str; 2] = ["lan0", "lan1"];

fn location() -> Location {
    Location { file: "test".into(), line: 1 }
}

/// The addresses of this world; sources and destinations are never the same one, so that what is in a set can be said of
/// each by itself.
fn source(host: u8) -> AddressRange {
    ranges(&[192, 168, 0, host])
}

fn destination(host: u8) -> AddressRange {
    ranges(&[10, 0, 0, host])
}

fn ranges(octets: &[u8; 4]) -> AddressRange {
    AddressRange { first: (*octets).into(), last: (*octets).into() }
}

fn up_to(first: AddressRange, last: AddressRange) -> AddressRange {
    AddressRange { first: first.first, last: last.last }
}

fn v6(first: u16, last: u16) -> AddressRange {
    let ip = |n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]);
    AddressRange { first: ip(first), last: ip(last) }
}

/// Few ranges that overlap, touch and fill each other's gaps.
fn addresses(of: fn(u8) -> AddressRange, six: u16) -> impl Strategy<Value = Option<AddressMatch>> {
    let pool = vec![
        up_to(of(0), of(1)),
        up_to(of(2), of(3)),
        up_to(of(1), of(2)),
        of(3),
        up_to(source_or(of, 0, true), source_or(of, 0, false)),
        v6(six, six + 1),
        v6(six + 1, six + 1),
    ];
    let some = (prop::collection::vec(select(pool), 1..3), prop::bool::weighted(0.2))
        .prop_map(|(ranges, negated)| AddressMatch { ranges, negated });
    prop::option::weighted(0.5, some)
}

/// All addresses of the other family's world do not matter: the whole of IPv4.
fn source_or(_: fn(u8) -> AddressRange, _: u8, first: bool) -> AddressRange {
    let ip: IpAddr = if first { [0, 0, 0, 0].into() } else { [255, 255, 255, 255].into() };
    AddressRange { first: ip, last: ip }
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let pool = [(80, 80), (1, 80), (81, 65535), (1, 65535)];
    let range = select(pool.to_vec()).prop_map(|(first, last)| PortRange { first, last });
    prop_oneof![3 => Just(vec![]), 2 => prop::collection::vec(range, 1..3)]
}

fn rule() -> impl Strategy<Value = Rule> {
    let protocols = select(vec![vec![], vec![], vec![6], vec![17], vec![6, 17], vec![1]]);
    let device = prop::option::weighted(0.15, select(DEVICES.to_vec()));
    let set = || prop::option::weighted(0.2, select(SETS.to_vec()));
    let target = select(vec![LastResort::Default, LastResort::Unreachable]);
    let addresses = (addresses(source, 0x10), addresses(destination, 0x20));
    (protocols, addresses, ports(), ports(), device, set(), set(), target).prop_filter_map(
        "source and destination of one family",
        |(protocols, (source, destination), sports, dports, device, source_set, destination_set, target)| {
            let has_ports = !protocols.is_empty() && !protocols.contains(&1);
            let ports = |ports| if has_ports { ports } else { vec![] };
            let has = |list: &Option<AddressMatch>, family| {
                list.as_ref().is_none_or(|l| l.ranges.iter().any(|r| Family::of(r.first) == family))
            };
            let both = |family| has(&source, family) && has(&destination, family);
            let families = Families { v4: both(Family::V4), v6: both(Family::V6) };
            (families.v4 || families.v6).then(|| Rule {
                name: String::new(),
                families,
                protocols,
                source,
                destination,
                source_ports: ports(sports),
                destination_ports: ports(dports),
                source_interface: device.map(str::to_owned),
                destination_set: destination_set.map(str::to_owned),
                source_set: source_set.map(str::to_owned),
                sticky: None,
                logging: false,
                target: Target::Direct(target),
                location: location(),
            })
        },
    )
}

fn set(name: &str, entries: Vec<AddressRange>) -> NamedSet {
    NamedSet {
        name: name.to_owned(),
        families: Families::ALL,
        entries: Arc::new(entries),
        file: None,
        domains: Arc::default(),
        timeout: None,
        counters: false,
        layout: SetLayout::default(),
        location: location(),
    }
}

fn config(rules: Vec<Rule>, entries: [Vec<AddressRange>; 2]) -> Config {
    let mut config = Config { rules, ..Config::default() };
    for (number, rule) in config.rules.iter_mut().enumerate() {
        rule.name = format!("r{number}");
    }
    let sets = SETS.iter().zip(entries).map(|(name, entries)| set(name, entries));
    config.sets = Arc::new(sets.collect());
    config
}

fn desired(config: &Config) -> Desired {
    let found = |rule: &Rule| DesiredRule {
        source_device: rule.source_interface.clone(),
        rule: rule.clone(),
        log: None,
    };
    Desired {
        off: false,
        generation: 1,
        marks: Marks::new(0x3F00),
        rule_base: RuleBase::default(),
        interfaces: Arc::default(),
        policies: Arc::default(),
        rules: Arc::new(config.rules.iter().map(found).collect()),
        sets: Arc::default(),
        connected: Arc::default(),
        custom: Arc::default(),
        homes: None,
        local_source: Vec::new(),
        masquerade: MasqueradePlan::Off,
    }
}

/// The rules that the linter says never match.
fn shadowed(config: &Config) -> BTreeSet<String> {
    let loaded = Loaded { config: config.clone(), diagnostics: vec![], unused_members: vec![] };
    let found = lint(&loaded).into_iter().filter(|d| ["W0720", "N0721", "W0722"].contains(&d.code));
    found.map(|d| d.section.trim_start_matches("rule '").trim_end_matches('\'').to_owned()).collect()
}

/// The rules that decide about any packet of this world, with sets that hold nothing but what is listed and what lets the
/// packet in: every class of packets that the rules of this file can tell apart is among them.
fn deciding(config: &Config) -> BTreeSet<String> {
    let desired = desired(config);
    let listed = |name: &str, ip: IpAddr| {
        let set = config.sets.iter().find(|set| set.name == name).unwrap();
        set.entries.iter().any(|r| Family::of(r.first) == Family::of(ip) && r.first <= ip && ip <= r.last)
    };
    let hosts = |network: [u8; 3]| (0..5).map(move |n| IpAddr::from([network[0], network[1], network[2], n]));
    let far = [IpAddr::from([0, 0, 0, 0]), IpAddr::from([255, 255, 255, 255])];
    let six = |from: u16| (from..from + 3).map(|n| IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, n]));
    let sources: Vec<IpAddr> = hosts([192, 168, 0]).chain(far).chain(six(0x10)).collect();
    let destinations: Vec<IpAddr> = hosts([10, 0, 0]).chain(far).chain(six(0x20)).collect();
    let mut deciding = BTreeSet::new();
    let ports = [None, Some(0), Some(1), Some(80), Some(81), Some(65535)];
    // Who is let into which set: bit 0 the source into `s`, 1 into `t`; bits 2, 3 the destination.
    for lets in 0..16u8 {
        for input in [None, Some(DEVICES[0]), Some(DEVICES[1])] {
            for &source in &sources {
                for &destination in destinations.iter().filter(|d| d.is_ipv4() == source.is_ipv4()) {
                    for (protocol, sport, dport) in [6, 17, 1, 47].into_iter().flat_map(|p| {
                        let of: &[Option<u16>] = if p == 1 || p == 47 { &ports[..1] } else { &ports };
                        of.iter().flat_map(move |s| of.iter().map(move |d| (p, *s, *d)))
                    }) {
                        let input = input.map(str::to_owned);
                        let packet = Packet {
                            source,
                            destination,
                            protocol,
                            source_port: sport,
                            destination_port: dport,
                            input,
                        };
                        let sets = |name: &str, ip: IpAddr| {
                            let bit = usize::from(name == "t") + if ip == source { 0 } else { 2 };
                            listed(name, ip) || lets >> bit & 1 == 1
                        };
                        if let Decision::Rule { rule, .. } = classify(&desired, &packet, &sets)
                            && !deciding.contains(rule)
                        {
                            deciding.insert(rule.to_owned());
                            if deciding.len() == config.rules.len() {
                                return deciding;
                            }
                        }
                    }
                }
            }
        }
    }
    deciding
}

fn entries() -> impl Strategy<Value = Vec<AddressRange>> {
    let pool = vec![
        up_to(source(0), source(3)),
        destination(1),
        up_to(destination(0), destination(3)),
        v6(0x20, 0x21),
    ];
    prop::collection::vec(select(pool), 0..3)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Both ways: nothing that decides is called shadowed, nothing that never decides is missed, be it because of one rule
    /// or of several together.
    #[test]
    fn what_never_decides_is_exactly_what_is_reported(
        rules in prop::collection::vec(rule(), 1..6),
        s in entries(),
        t in entries(),
    ) {
        let config = config(rules, [s, t]);
        let deciding = deciding(&config);
        let never: BTreeSet<String> =
            config.rules.iter().map(|r| r.name.clone()).filter(|name| !deciding.contains(name)).collect();
        prop_assert_eq!(shadowed(&config), never, "{:#?}", config.rules);
    }
}

/// The last of 16 rules is taken by the union of the others: two halves in each of four places.
#[test]
fn a_union_is_found_and_a_gap_in_it_too() {
    let text = |gap: bool| {
        let mut text = String::from("[wan.a]\n[policy.p]\nprefer = ['a']\n");
        let mut rule = |source: &str, port: &str| {
            text.push_str(&format!(
                "[[rule]]\nproto = 'tcp'\nfrom = '{source}'\ndport = '{port}'\npolicy = 'p'\n"
            ));
        };
        rule("10.0.0.0/9", "1:1023");
        rule("10.128.0.0/9", if gap { "2:1023" } else { "1:1023" });
        rule("10.0.0.0/8", "1024:65535");
        rule("10.0.0.0/8", "1:65535");
        text
    };
    let reported =
        |gap| lint(&parse_toml("f", text(gap).as_bytes())).into_iter().map(|d| d.code).collect::<Vec<_>>();
    assert_eq!(reported(false), ["N0721"]);
    assert_eq!(reported(true), Vec::<&str>::new());
}
