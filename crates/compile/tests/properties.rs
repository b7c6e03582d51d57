//! Properties of grouping and of diffs, on small random inputs that shrink.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types, dead_code)]

#[path = "simulation/damage.rs"]
mod damage;
#[path = "simulation/kernel.rs"]
mod kernel;
#[path = "simulation/rng.rs"]
mod rng;
#[path = "simulation/setup.rs"]
mod setup;
#[path = "simulation/world.rs"]
mod world;

use std::net::IpAddr;
use std::sync::Arc;

use kernel::{Kernel, Skb, steps, walk};
use mwan_compile::nft::{ElementKind, NftOp, Selector, Statement, Value};
use mwan_compile::routing::RuleAction;
use mwan_compile::{Program, cleanup, compile, diff, diff_observed, emptied, flush_strays, refill};
use mwan_config::*;
use mwan_core::{
    Core, Decision, Desired, DesiredInterface, DesiredPath, DesiredRule, Event, Home, LocalSource, Marks,
    MasqueradePlan, Packet, Platform, Time,
};
use proptest::prelude::*;
use proptest::sample::select;

fn location() -> Location {
    Location { file: "test".into(), line: 0 }
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange { first: setup::ip(first), last: setup::ip(last) }
}

/// Few values that overlap in many ways.
fn addresses() -> impl Strategy<Value = Option<AddressMatch>> {
    let pool = vec![
        range("10.0.0.0", "10.0.0.255"),
        range("10.0.0.0", "10.0.0.1"),
        range("10.0.0.1", "10.0.0.1"),
        range("10.0.0.2", "10.0.0.3"),
        range("10.0.0.3", "10.0.0.9"),
        range("0.0.0.0", "255.255.255.255"),
        range("fd00::", "fd00::ff"),
        range("fd00::1", "fd00::1"),
    ];
    let some = (prop::collection::vec(select(pool), 1..3), prop::bool::weighted(0.2))
        .prop_map(|(ranges, negated)| AddressMatch { ranges, negated });
    prop::option::of(some)
}

fn ports() -> impl Strategy<Value = Vec<PortRange>> {
    let pool = [(80, 80), (1, 80), (80, 90), (443, 443), (0, 65535), (81, 81)];
    let range = select(pool.to_vec()).prop_map(|(first, last)| PortRange { first, last });
    prop::collection::vec(range, 0..3)
}

fn rule() -> impl Strategy<Value = DesiredRule> {
    let protocols = select(vec![vec![], vec![6], vec![17], vec![6, 17], vec![1]]);
    let device = prop::option::weighted(0.15, select(vec!["lan0".to_owned(), "lan1".to_owned()]));
    let families =
        select(vec![Families::ALL, Families { v4: true, v6: false }, Families { v4: false, v6: true }]);
    let log = select(vec![None, None, Some(5)]);
    (protocols, addresses(), addresses(), ports(), ports(), device, families, log).prop_map(
        |(protocols, source, destination, source_ports, destination_ports, source_device, families, log)| {
            let has_ports = !protocols.is_empty() && !protocols.contains(&1);
            let ports = |ports| if has_ports { ports } else { vec![] };
            let rule = Rule {
                name: String::new(),
                families,
                protocols,
                source,
                destination,
                source_ports: ports(source_ports),
                destination_ports: ports(destination_ports),
                source_interface: source_device.clone(),
                destination_set: None,
                source_set: None,
                sticky: None,
                logging: log.is_some(),
                target: Target::Direct(LastResort::Default),
                location: location(),
            };
            DesiredRule { rule, source_device, log }
        },
    )
}

fn desired(rules: Vec<DesiredRule>) -> Desired {
    let mut rules = rules;
    for (number, found) in rules.iter_mut().enumerate() {
        found.rule.name = format!("r{number}");
    }
    Desired {
        off: false,
        generation: 1,
        marks: Marks::new(0x3F00),
        rule_base: RuleBase::default(),
        interfaces: Arc::default(),
        policies: Arc::default(),
        rules: Arc::new(rules),
        sets: Arc::default(),
        connected: Arc::default(),
        custom: Arc::default(),
        homes: None,
        local_source: Vec::new(),
        masquerade: MasqueradePlan::Off,
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    let host = 0u8..12;
    let port = select(vec![1u16, 79, 80, 81, 90, 443, 5000]);
    let input = prop::option::of(select(vec!["lan0".to_owned(), "lan1".to_owned()]));
    let protocol = select(vec![6u8, 6, 17, 1, 47]);
    (any::<bool>(), host.clone(), host, protocol, port.clone(), port, input).prop_map(
        |(v4, source, destination, protocol, sport, dport, input)| {
            let ip = |host: u8| {
                if v4 { [10, 0, 0, host].into() } else { [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(host)].into() }
            };
            let has_ports = protocol == 6 || protocol == 17;
            Packet {
                source: ip(source),
                destination: ip(destination),
                protocol,
                source_port: has_ports.then_some(sport),
                destination_port: has_ports.then_some(dport),
                input,
            }
        },
    )
}

fn created(program: &Program) -> Kernel {
    let mut kernel =
        Kernel { up: setup::DEVICES.iter().map(|d| (*d).to_owned()).collect(), ..Kernel::default() };
    for step in steps(&diff_observed(&Default::default(), program)) {
        kernel.step(&step).unwrap();
    }
    kernel
}

/// The name of the rule whose counter a packet passes.
fn counted(program: &Program, kernel: &Kernel, packet: &Packet) -> Option<String> {
    counted_with(program, kernel, packet, 0)
}

/// The same for a packet with a mark of somebody else's, which stays.
fn counted_with(program: &Program, kernel: &Kernel, packet: &Packet, foreign: u32) -> Option<String> {
    let mut skb = Skb { mark: foreign, ..Skb::first(packet) };
    let base = if packet.input.is_some() { "prerouting" } else { "output" };
    let mut chains = vec![];
    walk(kernel.table.as_ref().unwrap(), base, &mut skb, &mut chains);
    let mut hits = chains.into_iter().filter(|chain| chain.starts_with("rule."));
    let hit = hits.next();
    // All rules here lead to the main table.
    let marked = if hit.is_some() { 0x3f00 } else { 0 };
    assert_eq!(skb.mark, foreign | marked, "nothing else stays in the mark");
    let hit = hit?;
    assert_eq!(hits.next(), None, "one rule decides");
    let chain = program.table.sections.iter().find_map(|s| s.chains.get(hit)).unwrap();
    let counter = chain.rules.last().unwrap().statements.iter().find_map(|s| match s {
        Statement::Counter(name) => Some(name.clone()),
        _ => None,
    });
    assert_eq!(counter.as_deref(), Some(hit), "counters are called like their chains");
    Some(hit.trim_start_matches("rule.").split('.').next().unwrap().to_owned())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Grouped evaluation is linear first match.
    #[test]
    fn the_first_match_wins_however_rules_are_grouped(
        rules in prop::collection::vec(rule(), 0..9),
        packets in prop::collection::vec(packet(), 1..12),
    ) {
        let desired = desired(rules);
        let program = compile(&desired);
        let kernel = created(&program);
        for packet in packets {
            let wanted = match mwan_core::classify(&desired, &packet, &|_, _| false) {
                Decision::Rule { rule, .. } => Some(rule.to_owned()),
                _ => None,
            };
            prop_assert_eq!(counted(&program, &kernel, &packet), wanted, "{:?}\n{}", packet,
                mwan_compile::text::table(&program.table));
        }
    }
}

fn in_list(list: &[AddressRange], ip: IpAddr) -> bool {
    list.iter().any(|range| range.first <= ip && ip <= range.last)
}

/// In 10.0.0.0/16 or fd00::/112.
fn near_address(v4: bool, at: u16) -> IpAddr {
    match v4 {
        true => [10, 0, (at >> 8) as u8, at as u8].into(),
        false => [0xfd00, 0, 0, 0, 0, 0, 0, at].into(),
    }
}

/// Prefixes of many lengths within 10.0.0.0/18 and fd00::/114.
fn listed() -> impl Strategy<Value = Vec<AddressRange>> {
    let one = (any::<bool>(), 0u16..1 << 14, 0u32..8).prop_map(|(v4, at, bits)| {
        let first = at & !((1 << bits) - 1);
        let last = first | ((1 << bits) - 1);
        AddressRange { first: near_address(v4, first), last: near_address(v4, last) }
    });
    prop::collection::vec(one, 0..120)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// A long list in blocks, asked for by several rules, is the list.
    #[test]
    fn the_first_match_wins_with_sets_of_many_levels(
        list in listed(),
        rules in prop::collection::vec((rule(), 0u8..4), 1..6),
        packets in prop::collection::vec((packet(), any::<u16>(), any::<prop::sample::Index>()), 1..40),
        learned in prop::option::of(0u16..1 << 14), foreign in select(vec![0u32, 0, 0x40_0001]),
    ) {
        let domains = learned.map(|_| "example.org".to_owned()).into_iter().collect();
        let set = NamedSet {
            name: "s".into(),
            families: Families::ALL,
            entries: Arc::new(list.clone()),
            file: Some("f".into()),
            domains: Arc::new(domains),
            timeout: None,
            counters: false,
            layout: SetLayout::default(),
            location: location(),
        };
        let mut sets = vec![set];
        mwan_compile::blocks::lay_out_from(&mut sets, 2);
        let rules = rules.into_iter().map(|(mut found, which)| {
            found.rule.destination_set = (which & 1 > 0).then(|| "s".into());
            found.rule.source_set = (which & 2 > 0).then(|| "s".into());
            found.rule.destination = found.rule.destination.filter(|_| which & 1 == 0);
            found
        });
        let desired = Desired { sets: Arc::new(sets), ..desired(rules.collect()) };
        let program = compile(&desired);
        prop_assert_eq!(mwan_compile::check(&program, desired.marks), vec![]);
        let mut kernel = created(&program);
        let known: Vec<AddressRange> =
            learned.into_iter().flat_map(|at| [near_address(true, at), near_address(false, at)])
                .map(|first| AddressRange { first, last: first }).collect();
        for (name, one) in ["learned.s.4", "learned.s.6"].iter().zip(&known) {
            let set = kernel.table.as_mut().and_then(|table| table.sets.get_mut(*name)).unwrap();
            set.ranges.insert(*one);
        }
        let all = [list.as_slice(), &known].concat();
        for (mut packet, at, index) in packets {
            // Near the list, or in it.
            let of_family = |r: &&AddressRange| r.first.is_ipv4() == packet.destination.is_ipv4();
            let own: Vec<&AddressRange> = all.iter().filter(of_family).collect();
            packet.destination = match own.is_empty() {
                false if at & 1 == 0 => own[index.index(own.len())].last,
                _ => near_address(packet.destination.is_ipv4(), at),
            };
            if at & 4 == 0 && !own.is_empty() {
                packet.source = own[index.index(own.len())].first;
            }
            let wanted = match mwan_core::classify(&desired, &packet, &|_, ip| in_list(&all, ip)) {
                Decision::Rule { rule, .. } => Some(rule.to_owned()),
                _ => None,
            };
            prop_assert_eq!(counted_with(&program, &kernel, &packet, foreign), wanted, "{:?}\n{}", packet,
                mwan_compile::text::table(&program.table));
        }
    }
}

/// Homes within 10.0.0.0/28 and fd00::/124 on two WANs, disjoint.
fn homes() -> impl Strategy<Value = Vec<Home>> {
    let owners = prop::collection::vec(0u32..3, 12);
    (owners.clone(), owners).prop_map(|(v4, v6)| {
        let of = |host: usize, id: u32, first: IpAddr| (id > 0 && host < 12).then_some((first, id));
        let v4 = v4.into_iter().enumerate().filter_map(|(h, id)| of(h, id, [10, 0, 0, h as u8].into()));
        let v6 = v6
            .into_iter()
            .enumerate()
            .filter_map(|(h, id)| of(h, id, [0xfd00, 0, 0, 0, 0, 0, 0, h as u16].into()));
        v4.chain(v6).map(|(ip, id)| Home { range: AddressRange { first: ip, last: ip }, id }).collect()
    })
}

/// Two WANs that packets never come in by.
fn wans() -> Vec<DesiredInterface> {
    let path = |family| DesiredPath { family, route: None, addresses: vec![], routed: vec![] };
    let wan = |id: u32| DesiredInterface {
        id,
        table: id,
        name: format!("w{id}"),
        device: format!("eth{id}"),
        paths: Family::ALL.map(path).into(),
    };
    vec![wan(1), wan(2)]
}

/// The mark the program gives a packet.
fn mark(kernel: &Kernel, packet: &Packet) -> u32 {
    let mut skb = Skb::first(packet);
    let base = if packet.input.is_some() { "prerouting" } else { "output" };
    walk(kernel.table.as_ref().unwrap(), base, &mut skb, &mut vec![]);
    skb.mark
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Homes come before the rules; the router's own traffic is judged by what stands for its source.
    #[test]
    fn sources_decide_before_rules_and_rules_see_the_local_source(
        rules in prop::collection::vec(rule(), 0..7),
        packets in prop::collection::vec(packet(), 1..12),
        homes in prop::option::of(homes()),
        local in prop::option::of((0u8..12, prop::option::of(1u32..3))),
    ) {
        let mut desired = desired(rules);
        desired.interfaces = Arc::new(wans());
        desired.homes = homes.map(Arc::new);
        // IPv4 alone: the other family stays as it is.
        desired.local_source = local
            .map(|(host, unbound)| LocalSource { address: [10, 0, 0, host].into(), unbound })
            .into_iter()
            .collect();
        let program = compile(&desired);
        let kernel = created(&program);
        prop_assert_eq!(mwan_compile::check(&program, desired.marks), vec![]);
        for packet in packets {
            let said = mwan_core::classify(&desired, &packet, &|_, _| false);
            let context = format!("{packet:?} {said:?}\n{}", mwan_compile::text::table(&program.table));
            let own = packet.input.is_none();
            let found = desired.homes.iter().flat_map(|h| h.iter()).find(|h| h.range.first == packet.source);
            let unbound = local.filter(|_| own && packet.source.is_ipv4()).and_then(|(_, unbound)| unbound);
            let at_home = found.map(|home| home.id).filter(|id| Some(*id) != unbound);
            match (&said, at_home) {
                (Decision::Home(id), Some(home)) => {
                    prop_assert_eq!((*id, mark(&kernel, &packet)), (home, desired.marks.of(home)), "{}", context);
                }
                (Decision::Home(_), None) | (_, Some(_)) => prop_assert!(false, "{context}"),
                _ => {
                    let mut seen = packet.clone();
                    if let (Some((host, _)), true) = (local, own && packet.source.is_ipv4()) {
                        seen.source = [10, 0, 0, host].into();
                    }
                    let plain = Desired { homes: None, local_source: vec![], ..desired.clone() };
                    let wanted = match mwan_core::classify(&plain, &seen, &|_, _| false) {
                        Decision::Rule { rule, .. } => Some(rule.to_owned()),
                        _ => None,
                    };
                    prop_assert_eq!(counted(&program, &kernel, &packet), wanted, "{}", context);
                }
            }
        }
    }

    /// Any mask of three bits or more: values spread over its bits and are read back from them, whatever others have beside
    /// it, and the program has these constants and no others.
    #[test]
    fn marks_of_any_mask_agree_with_the_programs_constants(
        bits in prop::collection::btree_set(0u32..32, 3..=32),
        foreign in any::<u32>(),
        seed in any::<u64>(),
        ids in prop::collection::vec(any::<u32>(), 20),
    ) {
        let mask = bits.iter().fold(0u32, |mask, bit| mask | 1 << bit);
        let marks = Marks::new(mask);
        let places: Vec<u32> = bits.iter().copied().collect();
        for id in ids.into_iter().map(|id| id & marks.default_id()).chain([0, 1, marks.default_id()]) {
            // Bit by bit, by the definition.
            let mark = places.iter().enumerate().fold(0u32, |m, (n, at)| m | ((id >> n & 1) << at));
            prop_assert_eq!(marks.of(id), mark);
            prop_assert_eq!(marks.id_of(mark | foreign & !mask), id);
        }
        let program = program_with(seed, mask);
        prop_assert_eq!(mwan_compile::check(&program, marks), vec![]);
        let known = |value: u32| {
            let id = marks.id_of(value);
            let interface = (1..=marks.max_interface_id()).contains(&id);
            value & !mask == 0 && (interface || id >= marks.blackhole_id())
        };
        let mut seen = 0;
        for rule in program.table.sections.iter().flat_map(|s| s.chains.values()).flat_map(|c| &c.rules) {
            for statement in &rule.statements {
                match statement {
                    Statement::SetMark { mask: of, value, .. } => {
                        prop_assert!(*of == mask && known(*value), "{rule}");
                        seen += 1;
                    }
                    Statement::MarkMatch { mask: of, value, .. } => {
                        prop_assert!(*of == mask && *value == 0, "{rule}");
                    }
                    Statement::MarkVmap { mask: of, elements, .. } => {
                        prop_assert!(*of == mask && elements.iter().all(|(value, _)| known(*value)), "{rule}");
                    }
                    Statement::Restore { mask: of } => prop_assert_eq!(*of, mask),
                    _ => {}
                }
            }
        }
        prop_assert!(seen > 0, "nothing is marked");
        for rule in program.rules.iter() {
            if let (Some((value, of)), RuleAction::Lookup(table)) = (rule.fwmark, rule.action) {
                prop_assert_eq!((value, of), (marks.of(table), mask), "{}", rule);
            }
        }
    }
}

/// The program of a random configuration in a random world.
fn program(seed: u64) -> Program {
    program_with(seed, 0x3F00)
}

fn program_with(seed: u64, mask: u32) -> Program {
    let mut rng = rng::Rng::new(seed);
    let mut config = setup::config(&mut rng);
    config.globals.mask = mask;
    let world = world::World::new(&mut rng);
    let mut core = Core::new(Platform { translate: rng.chance(50) }, Arc::new(config), Default::default());
    core.handle(Time::from_ms(1), Event::Network(Arc::new(world.view())));
    compile(core.desired().unwrap())
}

fn reach(kernel: &mut Kernel, ops: &mwan_compile::Ops) {
    // A route whose device is down cannot be set; these programs are about everything else.
    for step in steps(ops) {
        if let Err(error) = kernel.step(&step) {
            panic!("{error} in {ops:#?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// From every program to every other one, in an order the kernel accepts, and then there is nothing to do.
    #[test]
    fn every_program_is_reached_from_every_other(from: u32, to: u32) {
        let (from, to) = (program(from.into()), program(to.into()));
        let mut kernel = created(&from);
        reach(&mut kernel, &diff(&from, &to));
        prop_assert!(diff_observed(&kernel.observe(), &to).is_empty());
        let fresh = created(&to);
        prop_assert_eq!(&kernel.table, &fresh.table);
        let sorted = |kernel: &Kernel| kernel.rules.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        prop_assert_eq!(sorted(&kernel), sorted(&fresh));
        prop_assert_eq!(kernel.rules.len(), fresh.rules.len());
        let clean = cleanup(&kernel.observe());
        reach(&mut kernel, &clean);
        prop_assert!(kernel.table.is_none() && kernel.rules.is_empty() && kernel.routes.is_empty(), "I7");
    }

    /// Whatever somebody did to the table, rules and routes, one look and one apply put it right.
    #[test]
    fn every_damage_is_repaired(seed: u32, to: u32, damages in 1u64..6) {
        let (from, to) = (program(seed.into()), program(to.into()));
        let mut kernel = created(&from);
        let mut rng = rng::Rng::new(seed.into());
        for _ in 0..damages {
            if let Some(table) = &mut kernel.table {
                damage::table(&mut rng, table);
            }
            let copy = rng.pick(&kernel.rules).clone();
            kernel.rules.push(copy);
            kernel.rules.remove(0);
            if let Some(mut route) = kernel.routes.first().cloned() {
                route.gateway = Some(setup::ip("192.0.2.1"));
                kernel.routes.insert(0, route);
                kernel.routes.pop();
            }
        }
        kernel.rules.sort_by_key(|r| r.priority);
        let repair = diff_observed(&kernel.observe(), &to);
        reach(&mut kernel, &repair);
        let again = diff_observed(&kernel.observe(), &to);
        prop_assert!(again.is_empty(), "{:#?}", again);
        prop_assert_eq!(&kernel.table, &created(&to).table);
    }
}

fn with_set(timeout: u64, counters: bool, domains: bool) -> Program {
    let set = NamedSet {
        name: "s".into(),
        families: Families { v4: true, v6: false },
        entries: Arc::default(),
        file: None,
        domains: Arc::new(if domains { vec!["example.org".into()] } else { vec![] }),
        timeout: (timeout > 0).then(|| std::time::Duration::from_secs(timeout)),
        counters,
        layout: SetLayout::default(),
        location: location(),
    };
    compile(&Desired { sets: Arc::new(vec![set]), ..desired(vec![]) })
}

/// What others have entered into a set is entered into the one that takes its place, whatever made it another; nothing else
/// is ever read for that.
#[test]
fn a_set_that_others_fill_keeps_its_content_when_it_is_made_anew() {
    let there = vec![range("198.51.100.10", "198.51.100.10")];
    for (domains, name) in [(true, "learned.s.4"), (false, "set.s.4")] {
        let old = with_set(600, false, domains);
        for (new, another) in [
            (with_set(600, false, domains), false),
            (with_set(700, false, domains), domains),
            (with_set(0, false, domains), domains),
            (with_set(600, true, domains), true),
        ] {
            let mut kernel = created(&old);
            for mut ops in [diff(&old, &new), diff_observed(&kernel.observe(), &new)] {
                let lost = emptied(&ops, &new);
                assert_eq!(
                    lost.iter().map(|(set, _)| set.as_str()).collect::<Vec<_>>(),
                    vec![name; another.into()]
                );
                for (set, kind) in lost {
                    assert_eq!(kind, new.table.sets[name].kind);
                    refill(&mut ops, set, kind, there.clone());
                }
                let mut kernel = kernel.clone();
                reach(&mut kernel, &ops);
                let set = &kernel.table.as_ref().unwrap().sets[name];
                assert_eq!(set.ranges.iter().eq(&there), another);
                assert!(diff(&new, &new).is_empty());
            }
            // Somebody turned a chain of ours into something that cannot be changed in place: the table is made anew.
            let chain = kernel.table.as_mut().unwrap().chains.get_mut("prerouting").unwrap();
            Arc::make_mut(chain).hook = None;
            let lost = emptied(&diff_observed(&kernel.observe(), &new), &new);
            let learned =
                new.table.sets.iter().filter(|(_, set)| matches!(set.kind.elements, ElementKind::Learned(_)));
            assert!(lost.iter().map(|(set, _)| set).eq(learned.map(|(set, _)| set)));
        }
    }
}

/// Counters and the sticky entries of other members live in objects that are not touched: a failover replaces the rules of
/// policies and sticky rules only, and forgets who was on a member that does not carry any more.
#[test]
fn a_failover_touches_policies_only() {
    let mut some = false;
    for seed in 0..200 {
        let mut rng = rng::Rng::new(seed);
        let config = Arc::new(setup::config(&mut rng));
        let mut world = world::World::new(&mut rng);
        world.heal();
        let mut core = Core::new(Platform { translate: true }, config.clone(), Default::default());
        core.handle(Time::from_ms(1), Event::Network(Arc::new(world.view())));
        let before = compile(core.desired().unwrap());
        core.handle(Time::from_ms(2), Event::IfDown(config.interfaces[0].name.clone()));
        let after = compile(core.desired().unwrap());
        for op in diff(&before, &after).nft {
            // And, with source routing, what asks for the homes of sources.
            let policy = |name: &str| ["policy.", "sticky.", "source."].iter().any(|p| name.starts_with(p));
            let left = |name: &str| {
                let set = |p: &Program| p.table.sets.get(name).is_some_and(|set| set.elements.is_none());
                set(&before) && !set(&after)
            };
            let harmless = match &op {
                NftOp::FlushChain(name) | NftOp::AddRule { chain: name, .. } => policy(name),
                NftOp::FlushSet(name) => left(name),
                _ => false,
            };
            assert!(harmless, "seed {seed}: {op}");
        }
        // And what packets under way enter for such a member is taken out once more; nothing else is.
        let strays = flush_strays(&after);
        assert!(strays.add.is_empty() && strays.remove.is_empty());
        let flushed: Vec<String> = strays.nft.iter().map(ToString::to_string).collect();
        let sticky = after.table.sets.iter().filter(|(name, _)| name.starts_with("sticky."));
        let empty = sticky.filter(|(_, set)| set.elements.is_some()).map(|(name, _)| name.clone());
        let expected: Vec<String> = empty.map(|name| NftOp::FlushSet(name).to_string()).collect();
        assert_eq!(flushed, expected, "seed {seed}");
        some |= !flushed.is_empty();
    }
    assert!(some, "there were sticky rules");
}

/// The kernel goes through all elements that still match after each field: the source all rules share comes last, and what
/// does not matter stays in its order.
#[test]
fn a_map_asks_first_for_what_the_fewest_rules_share() {
    let of = |source: u8, destination: u8| {
        let ip = |n: u8| AddressRange { first: [10, 0, n, 0].into(), last: [10, 0, n, 255].into() };
        let wanted = |n| Some(AddressMatch { ranges: vec![ip(n)], negated: false });
        let rule = Rule {
            name: String::new(),
            families: Families { v4: true, v6: false },
            protocols: vec![],
            source: wanted(source),
            destination: wanted(destination),
            source_ports: vec![],
            destination_ports: vec![],
            source_interface: None,
            destination_set: None,
            source_set: None,
            sticky: None,
            logging: false,
            target: Target::Direct(LastResort::Default),
            location: location(),
        };
        DesiredRule { rule, source_device: None, log: None }
    };
    let keys = |rules: Vec<DesiredRule>| {
        let program = compile(&desired(rules));
        let chain = program.table.sections.iter().find_map(|s| s.chains.get("rules.4")).unwrap();
        let statements = chain.rules.iter().flat_map(|rule| &rule.statements);
        let maps = statements.filter_map(|s| match s {
            Statement::Vmap { key, elements } => Some((key.clone(), elements[1].0.clone())),
            _ => None,
        });
        maps.collect::<Vec<_>>()
    };
    let [source, destination] = [Selector::Source(Family::V4), Selector::Destination(Family::V4)];
    let range =
        |n: u8| Value::Address(AddressRange { first: [10, 0, n, 0].into(), last: [10, 0, n, 255].into() });
    let shared_source = keys((1..6).map(|n| of(0, n)).collect());
    assert_eq!(shared_source, [(vec![destination, source], vec![range(2), range(0)])]);
    let shared_destination = keys((1..6).map(|n| of(n, 0)).collect());
    assert_eq!(shared_destination, [(vec![source, destination], vec![range(2), range(0)])]);
    let neither = keys((1..6).map(|n| of(n, n)).collect());
    assert_eq!(neither, [(vec![source, destination], vec![range(2), range(2)])]);
}
