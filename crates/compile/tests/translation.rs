//! The source that an explanation names is the one the program gives: random interfaces, addresses and sources, the rules of the
//! program read one by one against `Explainer::translated`.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use mwan_compile::compile;
use mwan_compile::nft::{Selector, Statement, Value, Verdict};
use mwan_config::{AddressRange, Config, Family, RuleBase};
use mwan_core::{
    Desired, DesiredInterface, DesiredPath, Explainer, Marks, MasqueradePlan, NetView, Packet, Translated,
};
use proptest::prelude::*;

/// A handful of addresses of each family, so that everything lies in everything else now and then.
fn address(v6: bool, n: u8) -> IpAddr {
    match (v6, n < 64) {
        (false, _) => IpAddr::from([10, 0, 0, n]),
        (true, true) => IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(n)]),
        (true, false) => IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(n)]),
    }
}

prop_compose! {
    fn path(v6: bool)(
        nets in proptest::collection::vec((0u8..128, 0u8..8), 0..3),
        routed in proptest::collection::vec((0u8..128, 0u8..32), 0..2),
    ) -> DesiredPath {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let net = |(n, host): &(u8, u8)| ipnet::IpNet::new(address(v6, *n), family.bits() - host).unwrap();
        let range = |(n, more): &(u8, u8)| {
            let last = if *n < 64 { (n + more).min(63) } else { (n + more).min(127) };
            AddressRange { first: address(v6, *n), last: address(v6, last) }
        };
        let (addresses, routed) = (nets.iter().map(net).collect(), routed.iter().map(range).collect());
        DesiredPath { family, route: None, addresses, routed }
    }
}

prop_compose! {
    fn interface()(device in 0u8..3, v4 in path(false), v6 in path(true), which in 0u8..3) -> DesiredInterface {
        let paths = match which {
            0 => vec![v4],
            1 => vec![v6],
            _ => vec![v4, v6],
        };
        DesiredInterface { id: 0, table: 0, name: String::new(), device: format!("eth{device}"), paths }
    }
}

fn desired(mut interfaces: Vec<DesiredInterface>, masquerade: MasqueradePlan) -> Desired {
    for (id, interface) in (1..).zip(&mut interfaces) {
        (interface.id, interface.table, interface.name) = (id, id, format!("w{id}"));
    }
    Desired {
        generation: 1,
        off: false,
        marks: Marks::new(0x3F00),
        rule_base: RuleBase::default(),
        interfaces: Arc::new(interfaces),
        policies: Arc::default(),
        rules: Arc::default(),
        sets: Arc::default(),
        connected: Arc::default(),
        custom: Arc::default(),
        homes: None,
        local_source: Vec::new(),
        masquerade,
    }
}

/// What the program does with a packet that leaves by `device`.
fn masqueraded(desired: &Desired, device: &str, source: IpAddr) -> bool {
    let program = compile(desired);
    let chains: BTreeMap<_, _> = program.table.sections.iter().flat_map(|section| &section.chains).collect();
    let run = |name: &str, matches: &dyn Fn(&Statement) -> bool| {
        let rules = chains.get(&name.to_owned()).map(|chain| chain.rules.clone()).unwrap_or_default();
        let met = rules.into_iter().find(|rule| rule.statements.iter().all(matches));
        met.and_then(|rule| rule.statements.last().cloned())
    };
    let holds = |statement: &Statement| match statement {
        Statement::Match { selector, equal, values } => {
            let is = values.iter().any(|value| match (selector, value) {
                (Selector::OutputDevice, Value::Device(name)) => name == device,
                (Selector::NetworkProtocol, Value::Family(family)) => *family == Family::of(source),
                (Selector::Source(family), Value::Address(range)) => {
                    *family == Family::of(source) && range.first <= source && source <= range.last
                }
                other => panic!("{other:?}"),
            });
            is == *equal
        }
        Statement::Masquerade | Statement::Verdict(_) => true,
        other => panic!("{other:?}"),
    };
    match run("postrouting", &holds) {
        Some(Statement::Verdict(Verdict::Goto(chain))) => run(&chain, &holds) == Some(Statement::Masquerade),
        None => false,
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn a_source_is_translated_as_the_program_does(
        interfaces in proptest::collection::vec(interface(), 1..5),
        plan in 0u8..3,
        device in 0u8..3,
        v6 in any::<bool>(),
        source in 0u8..128,
    ) {
        let plan = [MasqueradePlan::Off, MasqueradePlan::Auto, MasqueradePlan::Everything][usize::from(plan)];
        let (desired, device, source) = (desired(interfaces, plan), format!("eth{device}"), address(v6, source));
        let wanted = masqueraded(&desired, &device, source);
        let packet = Packet {
            source,
            destination: address(v6, 1),
            protocol: 6,
            source_port: None,
            destination_port: None,
            input: None,
        };
        let paths = desired.interfaces.iter().filter(|i| i.device == device).flat_map(|i| i.paths.clone());
        let own: Vec<_> = paths.flat_map(|path| path.addresses).map(|net| net.addr()).collect();
        let explainer = Explainer {
            config: Arc::new(Config::default()),
            desired: Arc::new(desired),
            net: Arc::new(NetView::default()),
            standings: BTreeMap::new(),
        };
        match explainer.translated(&device, &packet) {
            Some(Translated::To(ip)) => prop_assert!(wanted && own.contains(&ip), "{ip} of {own:?}"),
            Some(Translated::Somewhere) => prop_assert!(wanted),
            None => prop_assert!(!wanted),
        }
    }
}
