//! The table in a real kernel, in a namespace of the test's own.

mod common;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use common::{enter, feed, in_namespace, sh};
use mwan_compile::nft::{
    Base, ElementKind, Hook, HookKind, HookPoint, MarkKind, NftOp, ObservedTable, Rule, Selector, SetKind,
    Statement, Value, Verdict, single,
};
use mwan_config::{AddressRange, BlockLevel, Family, PortRange};
use mwan_linux::nft::{CommitError, NftSocket};

fn ip(text: &str) -> IpAddr {
    text.parse().expect("address")
}

fn range(first: &str, last: &str) -> AddressRange {
    AddressRange { first: ip(first), last: ip(last) }
}

fn address(first: &str, last: &str) -> Value {
    Value::Address(range(first, last))
}

fn port(first: u16, last: u16) -> Value {
    Value::Port(PortRange { first, last })
}

fn goto(chain: &str) -> Verdict {
    Verdict::Goto(chain.into())
}

fn add_rule(chain: &str, tag: &str, statements: Vec<Statement>) -> NftOp {
    NftOp::AddRule { chain: chain.into(), rule: Rule { statements, tag: tag.into() } }
}

fn matching(selector: Selector, equal: bool, values: Vec<Value>) -> Statement {
    Statement::Match { selector, equal, values }
}

const V4: Family = Family::V4;
const V6: Family = Family::V6;

fn dynamic(family: Family, elements: ElementKind) -> SetKind {
    SetKind { family, elements, counter: false }
}

fn blocks(family: Family, length: u8) -> SetKind {
    dynamic(family, ElementKind::Blocks(BlockLevel { length, size: 96 }))
}

fn near(family: Family, length: u8) -> SetKind {
    dynamic(family, ElementKind::Near(BlockLevel { length, size: 96 }, 0x3f00))
}

/// What sticky rules are made of.
fn sticky() -> Vec<Vec<Statement>> {
    let of = |family: Family| matching(Selector::NetworkProtocol, true, vec![family.into()]);
    let spread = |key, second, last| Statement::HashVmap {
        key,
        modulus: last + 1,
        elements: vec![(0, second - 1, goto("set_1")), (second, last, goto("set_2"))],
    };
    let sets = [
        ("sources4", dynamic(V4, ElementKind::Sources), 600_000),
        ("pairs4", dynamic(V4, ElementKind::Pairs), 1500),
        ("pairs6", dynamic(V6, ElementKind::Pairs), 86_400_000),
    ];
    let rules = sets.into_iter().flat_map(|(name, kind, ms)| {
        let (key, set) = (kind.key(), name.to_owned());
        let known = Statement::Known { key: key.clone(), set: set.clone() };
        let timeout = std::time::Duration::from_millis(ms);
        let remember = Statement::Remember { key: key.clone(), set, timeout };
        [
            vec![of(kind.family), known, Statement::Verdict(goto("set_1"))],
            vec![of(kind.family), remember],
            vec![of(kind.family), spread(key.clone(), 1, 1)],
            vec![of(kind.family), spread(key, 150, 299)],
        ]
    });
    rules.collect()
}

/// The table without rules.
fn skeleton() -> Vec<NftOp> {
    let hook = |kind, point, priority| Some(Hook { kind, point, priority });
    vec![
        NftOp::AddTable,
        NftOp::AddSet { name: "connected4".into(), kind: SetKind::ranges(V4) },
        NftOp::AddSet { name: "connected6".into(), kind: SetKind::ranges(V6) },
        NftOp::AddElements {
            set: "connected4".into(),
            kind: SetKind::ranges(V4),
            elements: vec![range("10.0.0.0", "10.255.255.255"), range("192.168.0.0", "192.168.0.77")],
        },
        NftOp::AddElements {
            set: "connected6".into(),
            kind: SetKind::ranges(V6),
            elements: vec![
                range("fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                range("2001:db8::1", "2001:db8::1"),
            ],
        },
        NftOp::AddSet { name: "sources4".into(), kind: dynamic(V4, ElementKind::Sources) },
        NftOp::AddSet { name: "pairs4".into(), kind: dynamic(V4, ElementKind::Pairs) },
        NftOp::AddSet { name: "pairs6".into(), kind: dynamic(V6, ElementKind::Pairs) },
        NftOp::AddSet { name: "learned4".into(), kind: dynamic(V4, ElementKind::Learned(0)) },
        NftOp::AddSet {
            name: "learned6".into(),
            kind: SetKind { counter: true, ..dynamic(V6, ElementKind::Learned(3600)) },
        },
        NftOp::AddSet { name: "counted4".into(), kind: SetKind { counter: true, ..SetKind::ranges(V4) } },
        NftOp::AddSet { name: "blocks4".into(), kind: blocks(V4, 24) },
        NftOp::AddSet { name: "blocks6".into(), kind: blocks(V6, 47) },
        NftOp::AddElements {
            set: "blocks4".into(),
            kind: blocks(V4, 24),
            elements: vec![range("10.0.0.0", "10.0.2.255"), range("255.255.255.0", "255.255.255.255")],
        },
        NftOp::AddElements {
            set: "blocks6".into(),
            kind: blocks(V6, 47),
            elements: vec![range("2001:db8::", "2001:db8:3:ffff:ffff:ffff:ffff:ffff")],
        },
        NftOp::AddSet { name: "near4.lengths".into(), kind: near(V4, 20) },
        NftOp::AddSet { name: "near6.lengths".into(), kind: near(V6, 46) },
        NftOp::AddElements {
            set: "near4.lengths".into(),
            kind: near(V4, 20),
            elements: vec![range("10.0.0.3", "10.0.31.255"), range("10.0.32.1", "10.0.47.255")],
        },
        NftOp::AddElements {
            set: "near6.lengths".into(),
            kind: near(V6, 46),
            elements: vec![range("2001:db8::3f", "2001:db8:3:ffff:ffff:ffff:ffff:ffff")],
        },
        NftOp::AddCounter("wan_in".into()),
        NftOp::AddChain { name: "set_1".into(), hook: None },
        NftOp::AddChain { name: "set_2".into(), hook: None },
        NftOp::AddChain {
            name: "prerouting".into(),
            hook: hook(HookKind::Filter, HookPoint::Prerouting, -149),
        },
        NftOp::AddChain { name: "output".into(), hook: hook(HookKind::Route, HookPoint::Output, -149) },
        NftOp::AddChain {
            name: "postrouting".into(),
            hook: hook(HookKind::Nat, HookPoint::Postrouting, 100),
        },
    ]
}

/// Every statement in every form.
#[allow(clippy::too_many_lines)] // a table
fn everything() -> Vec<NftOp> {
    use Selector::*;
    use Statement as S;
    let v4 = || matching(NetworkProtocol, true, vec![V4.into()]);
    let v6 = || matching(NetworkProtocol, true, vec![V6.into()]);
    let tcp = || matching(TransportProtocol, true, vec![Value::Byte(6, 6)]);
    let verdict = S::Verdict;
    let mark = |mark, equal, value| S::MarkMatch { mark, mask: 0x3f00, equal, value };
    let set = |mark| S::SetMark { mark, mask: 0x3f00, value: 0x100 };
    let icmp = vec![
        matching(TransportProtocol, true, vec![Value::Byte(58, 58)]),
        matching(Icmpv6Type, true, vec![Value::Byte(133, 137)]),
        verdict(Verdict::Return),
    ];
    let mut rules: Vec<Vec<S>> = vec![
        vec![S::Restore { mask: 0x3f00 }],
        vec![mark(MarkKind::Packet, false, 0), verdict(Verdict::Return)],
        vec![S::MarkVmap {
            mark: MarkKind::Connection,
            mask: 0x3f00,
            elements: vec![(0x100, goto("set_1")), (0x200, goto("set_2"))],
        }],
        vec![S::MarkVmap {
            mark: MarkKind::Packet,
            mask: u32::MAX,
            elements: vec![(0x12345678, Verdict::Return)],
        }],
        icmp,
        vec![S::NotNew, verdict(Verdict::Return)],
        vec![S::Vmap {
            key: vec![InputDevice],
            elements: vec![
                (vec![Value::Device("eth1".into())], goto("set_1")),
                (vec![Value::Device("pppoe-wan".into())], Verdict::Jump("set_2".into())),
            ],
        }],
        vec![
            matching(InputDevice, true, vec![Value::Device("lan".into())]),
            mark(MarkKind::Connection, true, 0x300),
            S::Counter("wan_in".into()),
        ],
        vec![
            matching(OutputDevice, false, vec![Value::Device("a".into()), Value::Device("b".into())]),
            verdict(Verdict::Accept),
        ],
        vec![
            v4(),
            S::InSet { selector: Destination(V4), bits: 32, equal: true, set: "connected4".into() },
            verdict(Verdict::Return),
        ],
        vec![
            v6(),
            S::InSet { selector: Source(V6), bits: 128, equal: false, set: "connected6".into() },
            verdict(Verdict::Return),
        ],
        vec![S::Vmap {
            key: vec![NetworkProtocol],
            elements: vec![(vec![V4.into()], goto("set_1")), (vec![V6.into()], goto("set_2"))],
        }],
        vec![
            v4(),
            matching(Source(V4), true, vec![address("10.16.0.0", "10.31.255.255")]),
            verdict(goto("set_1")),
        ],
        vec![
            v4(),
            matching(Source(V4), false, vec![address("10.0.0.5", "10.0.0.9")]),
            verdict(goto("set_1")),
        ],
        vec![
            v4(),
            matching(
                Destination(V4),
                true,
                vec![address("10.0.0.1", "10.0.0.1"), address("10.9.0.0", "10.9.255.255")],
            ),
            verdict(goto("set_1")),
        ],
        vec![
            v6(),
            matching(
                Destination(V6),
                false,
                vec![
                    address("2001:db8::", "2001:db8::ffff"),
                    address("ff00::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
                ],
            ),
            verdict(goto("set_1")),
        ],
        vec![
            v6(),
            matching(Source(V6), true, vec![address("fe80::", "fe80::ffff:ffff:ffff:ffff")]),
            verdict(goto("set_1")),
        ],
        vec![tcp(), matching(DestinationPort, true, vec![port(80, 90)]), verdict(goto("set_1"))],
        vec![
            tcp(),
            matching(DestinationPort, false, vec![port(80, 80), port(443, 443)]),
            verdict(goto("set_1")),
        ],
        vec![tcp(), matching(SourcePort, true, vec![port(1, 1), port(1024, 65535)]), verdict(goto("set_1"))],
        vec![
            matching(TransportProtocol, true, vec![Value::Byte(6, 6), Value::Byte(17, 17)]),
            verdict(goto("set_1")),
        ],
        vec![S::Vmap {
            key: vec![TransportProtocol],
            elements: vec![
                (vec![Value::Byte(6, 6)], goto("set_1")),
                (vec![Value::Byte(17, 17)], goto("set_2")),
            ],
        }],
        vec![
            v4(),
            S::Vmap {
                key: vec![Source(V4)],
                elements: vec![
                    (vec![address("10.0.1.0", "10.0.1.255")], goto("set_1")),
                    (vec![address("10.0.0.0", "10.0.0.255")], goto("set_2")),
                    (vec![address("200.0.0.0", "255.255.255.255")], Verdict::Return),
                ],
            },
        ],
        vec![
            v4(),
            tcp(),
            S::Vmap {
                key: vec![Source(V4), DestinationPort],
                elements: vec![
                    (vec![address("10.0.0.0", "10.255.255.255"), port(80, 90)], goto("set_1")),
                    (vec![address("11.0.0.1", "11.0.0.1"), port(443, 443)], goto("set_2")),
                ],
            },
        ],
        vec![
            v4(),
            S::Vmap {
                key: vec![TransportProtocol, Destination(V4), DestinationPort],
                elements: vec![
                    (vec![Value::Byte(6, 6), address("10.0.0.1", "10.0.0.1"), port(80, 80)], goto("set_1")),
                    (vec![Value::Byte(17, 17), address("10.0.0.1", "10.0.0.1"), port(53, 53)], goto("set_2")),
                ],
            },
        ],
        vec![
            v6(),
            S::Vmap {
                key: vec![InputDevice, TransportProtocol, Destination(V6), DestinationPort],
                elements: vec![(
                    vec![
                        Value::Device("lan".into()),
                        Value::Byte(6, 6),
                        address("2001:db8::1", "2001:db8::1"),
                        port(80, 80),
                    ],
                    goto("set_1"),
                )],
            },
        ],
        vec![
            v4(),
            S::Vmap {
                key: vec![InputDevice, TransportProtocol, Source(V4), Destination(V4), DestinationPort],
                elements: vec![(
                    vec![
                        Value::Device("lan".into()),
                        Value::Byte(6, 6),
                        address("10.0.0.0", "10.0.0.255"),
                        address("0.0.0.0", "255.255.255.255"),
                        port(0, 65535),
                    ],
                    goto("set_1"),
                )],
            },
        ],
        vec![S::RandomVmap { modulus: 5, elements: vec![(0, 2, goto("set_1")), (3, 4, goto("set_2"))] }],
        vec![S::RandomVmap { modulus: 2, elements: vec![(0, 0, goto("set_1")), (1, 1, goto("set_2"))] }],
    ];
    rules.extend(sticky());
    rules.extend((0..8).map(|level| {
        let prefix = format!("MWAN3(level {level})");
        vec![S::Limit { per_minute: 600, burst: 20 }, S::Log { prefix, level }, S::Counter("wan_in".into())]
    }));
    rules.push(vec![S::Limit { per_minute: 1, burst: 5 }, S::Log { prefix: "x".repeat(127), level: 5 }]);
    let within = |selector, bits, equal, set: &str| S::InSet { selector, bits, equal, set: set.into() };
    rules.push(vec![v4(), within(Destination(V4), 24, true, "blocks4"), verdict(goto("set_1"))]);
    rules.push(vec![v4(), within(Source(V4), 32, true, "blocks4"), verdict(goto("set_1"))]);
    rules.push(vec![v6(), within(Destination(V6), 47, false, "blocks6"), verdict(goto("set_1"))]);
    rules.push(vec![S::Invalid, verdict(Verdict::Return)]);
    let near = |selector, bits, map: &str| S::Near { selector, bits, map: map.into() };
    rules.push(vec![v4(), near(Source(V4), 20, "near4.lengths")]);
    rules.push(vec![v6(), near(Destination(V6), 46, "near6.lengths")]);
    let mut ops = vec![
        add_rule("set_1", "set #1", vec![set(MarkKind::Packet), set(MarkKind::Connection)]),
        add_rule("set_2", "clear #2", vec![S::SetMark { mark: MarkKind::Packet, mask: 0x3f00, value: 0 }]),
        add_rule(
            "postrouting",
            "masquerade #3",
            vec![matching(OutputDevice, true, vec![Value::Device("eth1".into())]), S::Masquerade],
        ),
    ];
    for (index, statements) in rules.into_iter().enumerate() {
        ops.push(add_rule("prerouting", &format!("rule #{index}"), statements));
    }
    ops
}

/// The same by hand.
const TEXT: &str = include_str!("everything.nft");

fn list() -> String {
    sh("nft list ruleset")
}

/// nft prints the elements of hashed sets in the order of their (keyed) hash: sort them.
fn normalise(listing: &str) -> Vec<String> {
    let sort = |line: &str| match (line.find("{ "), line.rfind(" }")) {
        (Some(start), Some(end)) if start < end => {
            let mut elements: Vec<_> = line[start + 2..end].split(", ").collect();
            elements.sort_unstable();
            format!("{}{}{}", &line[..start], elements.join(", "), &line[end..])
        }
        _ => line.to_owned(),
    };
    listing.lines().map(sort).collect()
}

fn assert_same(ours: &str, text: &str) {
    let (ours, text) = (normalise(ours), normalise(text));
    for (a, b) in ours.iter().zip(&text) {
        assert_eq!(a, b);
    }
    assert_eq!(ours.len(), text.len());
}

#[test]
fn every_statement_reads_as_its_text() {
    in_namespace("every_statement_reads_as_its_text", || {
        let mut ops = skeleton();
        ops.extend(everything());
        let mut socket = NftSocket::open().expect("socket");
        socket.commit(&ops, None).expect("commit");
        let ours = list();
        enter();
        feed("nft -f -", TEXT);
        let text = list();
        assert_same(&ours, &text);
        // And as mwan-compile spells it, which is what `plan` shows.
        enter();
        feed("nft -f -", &mwan_compile::text::ops(&ops));
        assert_same(&ours, &list());
    });
}

fn observed(socket: &mut NftSocket) -> (ObservedTable, u32) {
    let (table, generation) = socket.observe().expect("observe");
    (table.expect("the table"), generation)
}

#[test]
fn the_table_is_observed_as_committed() {
    in_namespace("the_table_is_observed_as_committed", || {
        let mut socket = NftSocket::open().expect("socket");
        assert_eq!(socket.observe().expect("observe").0, None);
        let mut ops = skeleton();
        ops.extend(everything());
        let generation = socket.commit(&ops, None).expect("commit");
        // Other tables must not show up.
        sh(
            "nft add table ip mwan; nft add chain ip mwan x; nft add table inet other; nft add chain inet other y; nft add rule inet mwan set_1 accept",
        );
        let (table, now) = observed(&mut socket);
        assert_eq!(now, generation + 5);
        let chains: Vec<_> = table.chains.keys().map(String::as_str).collect();
        assert_eq!(chains, ["output", "postrouting", "prerouting", "set_1", "set_2"]);
        let hook = Hook { kind: HookKind::Nat, point: HookPoint::Postrouting, priority: 100 };
        assert_eq!(table.chains["postrouting"].base, Base::Accepting(hook));
        assert_eq!(table.chains["set_1"].base, Base::No);
        let tags: Vec<_> = (0..56).map(|n| format!("rule #{n}")).collect();
        assert_eq!(table.chains["prerouting"].tags, tags);
        assert_eq!(table.chains["set_1"].tags, ["set #1", ""]);
        assert_eq!(table.counters.iter().collect::<Vec<_>>(), ["wan_in"]);
        let set = &table.sets["connected4"];
        assert_eq!(set.kind, Some(SetKind::ranges(V4)));
        let expected = [range("10.0.0.0", "10.255.255.255"), range("192.168.0.0", "192.168.0.77")];
        assert_eq!(set.elements.iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(table.sets["connected6"].elements.len(), 2);
        let set = &table.sets["blocks4"];
        assert_eq!(set.kind, Some(blocks(V4, 24)));
        let expected = [range("10.0.0.0", "10.0.2.255"), range("255.255.255.0", "255.255.255.255")];
        assert_eq!(set.elements.iter().copied().collect::<Vec<_>>(), expected);
        assert_eq!(table.sets["blocks6"].kind, Some(blocks(V6, 47)));
        let set = &table.sets["near4.lengths"];
        assert_eq!((set.kind, set.others), (Some(near(V4, 20)), false));
        let expected = [range("10.0.0.3", "10.0.31.255"), range("10.0.32.1", "10.0.47.255")];
        assert!(set.elements.iter().eq(&expected), "{set:?}");
        assert_eq!(table.sets["near6.lengths"].kind, Some(near(V6, 46)));
        let expected = [range("2001:db8::3f", "2001:db8:3:ffff:ffff:ffff:ffff:ffff")];
        assert!(table.sets["near6.lengths"].elements.iter().eq(&expected));
        socket.delete_table_if_exists().expect("delete");
        socket.delete_table_if_exists().expect("delete again");
        assert_eq!(socket.observe().expect("observe").0, None);
        assert!(sh("nft list tables").contains("inet other"));
    });
}

#[test]
fn elements_come_and_go_and_the_ends_of_the_world_are_ranges() {
    in_namespace("elements_come_and_go_and_the_ends_of_the_world_are_ranges", || {
        let mut socket = NftSocket::open().expect("socket");
        let set = |family| if family == V4 { "s4" } else { "s6" }.to_owned();
        let add = |family, elements| NftOp::AddElements {
            set: set(family),
            kind: SetKind::ranges(family),
            elements,
        };
        let delete = |family, elements| NftOp::DeleteElements {
            set: set(family),
            kind: SetKind::ranges(family),
            elements,
        };
        let all6 = range("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        let low = range("0.0.0.0", "0.0.0.255");
        let next = range("0.0.1.0", "0.0.1.0");
        let high = range("255.255.255.255", "255.255.255.255");
        let mut ops = vec![NftOp::AddTable];
        ops.extend([V4, V6].map(|family| NftOp::AddSet { name: set(family), kind: SetKind::ranges(family) }));
        ops.extend([add(V4, vec![high, next, low]), add(V6, vec![all6])]);
        socket.commit(&ops, None).expect("add");
        let (table, _) = observed(&mut socket);
        assert_eq!(table.sets["s4"].elements.iter().copied().collect::<Vec<_>>(), [low, next, high]);
        assert_eq!(table.sets["s6"].elements.iter().copied().collect::<Vec<_>>(), [all6]);
        assert!(sh("nft list set inet mwan s4").contains("0.0.0.0/24, 0.0.1.0,"));
        // A neighbour removed and another added in one transaction.
        let other = range("0.0.1.1", "0.0.1.9");
        socket.commit(&[delete(V4, vec![next, high]), add(V4, vec![other])], None).expect("change");
        let (table, _) = observed(&mut socket);
        assert_eq!(table.sets["s4"].elements.iter().copied().collect::<Vec<_>>(), [low, other]);
        socket.commit(&[delete(V4, vec![low, other]), delete(V6, vec![all6])], None).expect("empty");
        let (table, _) = observed(&mut socket);
        assert!(table.sets.values().all(|s| s.elements.is_empty()));
        // Somebody replaced our set by another kind.
        sh("nft 'delete set inet mwan s4; add set inet mwan s4 { type inet_service; elements = { 1 } }'");
        sh(
            "nft 'add set inet mwan s5 { type ipv4_addr; flags interval,timeout; elements = { 1.2.3.4 timeout 1h } }'",
        );
        let (table, _) = observed(&mut socket);
        assert_eq!((table.sets["s4"].kind, table.sets["s5"].kind), (None, None));
        socket.commit(&["s4", "s5", "s6"].map(|s| NftOp::DeleteSet(s.into())), None).expect("delete sets");
        assert_eq!(observed(&mut socket).0.sets, BTreeMap::new());
    });
}

#[test]
fn blocks_are_entered_read_and_taken_out_one_by_one() {
    in_namespace("blocks_are_entered_read_and_taken_out_one_by_one", || {
        let mut socket = NftSocket::open().expect("socket");
        let kind = blocks(V4, 24);
        let change = |add, elements| match (add, "s".to_owned()) {
            (true, set) => NftOp::AddElements { set, kind, elements },
            (false, set) => NftOp::DeleteElements { set, kind, elements },
        };
        let (one, two, three) = (
            range("10.0.0.0", "10.0.0.255"),
            range("10.0.0.0", "10.0.1.255"),
            range("10.0.0.0", "10.0.2.255"),
        );
        let far = range("10.1.0.0", "10.1.0.255");
        let mut ops = vec![NftOp::AddTable, NftOp::AddSet { name: "s".into(), kind }];
        ops.push(change(true, vec![two, far]));
        socket.commit(&ops, None).expect("add");
        let there = |socket: &mut NftSocket| {
            let set = observed(socket).0.sets.remove("s").expect("the set");
            (set.kind, set.elements.into_iter().collect::<Vec<_>>(), set.others)
        };
        assert_eq!(there(&mut socket), (Some(kind), vec![two, far], false));
        let shown = sh("nft list set inet mwan s");
        assert!(["10.0.0.0,", "10.0.1.0", "10.1.0.0"].iter().all(|ip| shown.contains(ip)), "{shown}");
        // A run that grows, in one transaction.
        socket.commit(&[change(false, vec![two]), change(true, vec![three])], None).expect("grow");
        assert_eq!(there(&mut socket).1, [three, far]);
        socket.commit(&[change(false, vec![three, far]), change(true, vec![one])], None).expect("shrink");
        assert_eq!(there(&mut socket).1, [one]);
        // Somebody enters an address as he would in a set of addresses: it stands for nothing.
        sh("nft add element inet mwan s { 10.0.0.7 }");
        assert!(there(&mut socket).2);
        // All the room there is (96) and more.
        let room = range("11.0.0.0", "11.0.95.255");
        let flush = NftOp::FlushSet("s".into());
        socket.commit(&[flush.clone(), change(true, vec![room])], None).expect("full");
        socket.commit(&[change(true, vec![range("12.0.0.0", "12.0.0.255")])], None).expect_err("too many");
        assert_eq!(there(&mut socket).1, [room]);
    });
}

#[test]
fn a_map_of_blocks_is_changed_in_place_and_strangers_in_it_are_seen() {
    in_namespace("a_map_of_blocks_is_changed_in_place_and_strangers_in_it_are_seen", || {
        let mut socket = NftSocket::open().expect("socket");
        let (name, kind) = ("s.lengths".to_owned(), near(V6, 46));
        let add = |elements| NftOp::AddElements { set: name.clone(), kind, elements };
        let delete = |elements| NftOp::DeleteElements { set: name.clone(), kind, elements };
        // Two blocks, which get other numbers.
        let (both, first, second) = (
            range("2001:db8::2", "2001:db8:7:ffff:ffff:ffff:ffff:ffff"),
            range("2001:db8::1", "2001:db8:3:ffff:ffff:ffff:ffff:ffff"),
            range("2001:db8:4::3f", "2001:db8:7:ffff:ffff:ffff:ffff:ffff"),
        );
        let create = NftOp::AddSet { name: name.clone(), kind };
        socket.commit(&[NftOp::AddTable, create, add(vec![both])], None).expect("add");
        let there = |socket: &mut NftSocket| {
            let set = observed(socket).0.sets.remove("s.lengths").expect("the map");
            (set.kind, set.elements.into_iter().collect::<Vec<_>>(), set.others)
        };
        assert_eq!(there(&mut socket), (Some(kind), vec![both], false));
        socket.commit(&[delete(vec![both]), add(vec![first, second])], None).expect("change");
        assert_eq!(there(&mut socket).1, [first, second]);
        // What somebody else enters is no block, has bits of others, or none at all.
        for stranger in ["2001:db8:9::1 : 0x100", "2001:db8:8:: : 0x101", "2001:db8:8:: : 0x0"] {
            sh(&format!("nft add element inet mwan s.lengths '{{ {stranger} }}'"));
            assert!(there(&mut socket).2, "{stranger}");
            let flush = NftOp::FlushSet(name.clone());
            socket.commit(&[flush, add(vec![first, second])], None).expect("mend");
            assert_eq!(there(&mut socket), (Some(kind), vec![first, second], false));
        }
        // A map that says something else of itself is none of ours.
        sh(
            "nft 'add map inet mwan x.lengths { type ipv6_addr : mark; size 96; comment \"lengths in blocks /46, as marks of 0x3\"; }'",
        );
        assert_eq!(observed(&mut socket).0.sets["x.lengths"].kind, None);
    });
}

/// A resolver's addresses, some with a time of their own, go from a set with one timeout to one with another, or with none.
#[test]
fn what_others_entered_is_read_and_entered_again() {
    in_namespace("what_others_entered_is_read_and_entered_again", || {
        let mut socket = NftSocket::open().expect("socket");
        let name = || "s".to_owned();
        let mut ops = vec![NftOp::AddTable];
        let there = [range("192.0.2.1", "192.0.2.1"), range("192.0.2.9", "192.0.2.9")];
        let counted = SetKind { counter: true, ..dynamic(V4, ElementKind::Learned(600)) };
        let kinds = [dynamic(V4, ElementKind::Learned(60)), counted, dynamic(V4, ElementKind::Learned(0))];
        ops.push(NftOp::AddSet { name: name(), kind: kinds[0] });
        socket.commit(&ops, None).expect("the set");
        assert_eq!(socket.content("s", kinds[0]).expect("read"), []);
        assert_eq!(socket.content("none", kinds[0]).expect("read"), []);
        sh("nft add element inet mwan s { 192.0.2.1, 192.0.2.9 timeout 5m }");
        for kind in &kinds[1..] {
            let mut elements = socket.content("s", *kind).expect("read");
            elements.sort_unstable();
            assert_eq!(elements, there);
            let anew = NftOp::AddSet { name: name(), kind: *kind };
            let filled = NftOp::AddElements { set: name(), kind: *kind, elements };
            socket.commit(&[NftOp::DeleteSet(name()), anew, filled], None).expect("made anew");
            assert_eq!(observed(&mut socket).0.sets["s"].kind, Some(*kind));
        }
        // Ranges that somebody entered into a set of nobody.
        let kind = SetKind::ranges(V4);
        socket.commit(&[NftOp::AddSet { name: "f".into(), kind }], None).expect("another");
        sh("nft add element inet mwan f { 192.0.2.0/28, 192.0.2.77 }");
        let ranges = [range("192.0.2.0", "192.0.2.15"), range("192.0.2.77", "192.0.2.77")];
        assert_eq!(socket.content("f", kind).expect("read"), ranges);
    });
}

#[test]
fn a_sleeping_table_a_dropping_chain_and_a_catchall_are_seen_and_mended() {
    in_namespace("a_sleeping_table_a_dropping_chain_and_a_catchall_are_seen_and_mended", || {
        let mut socket = NftSocket::open().expect("socket");
        let ops = skeleton();
        socket.commit(&ops, None).expect("commit");
        let before = observed(&mut socket).0;
        // nft 1.0.6 crashes on `add element … { * }`.
        let catchall = "delete set inet mwan connected4\ntable inet mwan { set connected4 {
            type ipv4_addr; flags interval
            elements = { 10.0.0.0/8, 192.168.0.0-192.168.0.77, * }\n}\n}\n";
        feed("nft -f -", catchall);
        sh("nft 'add table inet mwan { flags dormant; }'");
        sh("nft 'add chain inet mwan prerouting { policy drop; }'");
        let (table, generation) = observed(&mut socket);
        let prerouting = Hook { kind: HookKind::Filter, point: HookPoint::Prerouting, priority: -149 };
        assert!(table.dormant && table.sets["connected4"].others);
        assert_eq!(table.chains["prerouting"].base, Base::Dropping(prerouting));
        let mend = [
            NftOp::AddTable,
            NftOp::FlushSet("connected4".into()),
            ops[3].clone(),
            NftOp::AddChain { name: "prerouting".into(), hook: Some(prerouting) },
        ];
        socket.commit(&mend, Some(generation)).expect("mend");
        assert_eq!(observed(&mut socket).0, before);
        // Another priority, a hook that is none of ours.
        sh(
            "nft 'delete chain inet mwan output; add chain inet mwan output { type filter hook forward priority 0; }'",
        );
        sh("nft 'delete chain inet mwan postrouting; \
                add chain inet mwan postrouting { type nat hook postrouting priority 9; }'");
        let (table, _) = observed(&mut socket);
        assert_eq!(table.chains["output"].base, Base::Other);
        let nat = Hook { kind: HookKind::Nat, point: HookPoint::Postrouting, priority: 9 };
        assert_eq!(table.chains["postrouting"].base, Base::Accepting(nat));
        // A set that refuses the second element.
        sh("nft 'add set inet mwan small { type ipv4_addr; flags interval; size 1; }'");
        assert_eq!(observed(&mut socket).0.sets["small"].kind, None);
        // Even a sleeping one is removed without a trace.
        sh("nft 'add table inet mwan { flags dormant; }'");
        socket.delete_table_if_exists().expect("delete");
        assert_eq!(list(), "");
    });
}

fn tags(socket: &mut NftSocket, chain: &str) -> Vec<String> {
    observed(socket).0.chains[chain].tags.clone()
}

/// Of `nft -a`: the handle of the first rule with this comment.
fn handle(comment: &str) -> String {
    let listing = sh("nft -a list table inet mwan");
    let line = listing.lines().find(|l| l.contains(comment)).expect("the rule");
    line.rsplit(' ').next().expect("a handle").to_owned()
}

#[test]
fn a_copied_comment_does_not_pass_for_ours() {
    in_namespace("a_copied_comment_does_not_pass_for_ours", || {
        let mut socket = NftSocket::open().expect("socket");
        socket.commit(&skeleton(), None).expect("commit");
        let set = |value| Statement::SetMark { mark: MarkKind::Packet, mask: 0x3f00, value };
        let rules =
            [add_rule("set_1", "one #1", vec![set(0x100)]), add_rule("set_2", "two #2", vec![set(0x200)])];
        socket.commit(&rules, None).expect("commit");
        assert_eq!(
            (tags(&mut socket, "set_1"), tags(&mut socket, "set_2")),
            (vec!["one #1".into()], vec!["two #2".into()])
        );
        let own = socket.own_rules().expect("known").clone();
        assert_eq!(own.rules.len(), 2);
        sh(&format!(
            "nft 'replace rule inet mwan set_1 handle {} accept comment \"one #1\"'",
            handle("one #1")
        ));
        assert_eq!(tags(&mut socket, "set_1"), [""]);
        sh("nft 'insert rule inet mwan set_2 accept comment \"two #2\"'");
        assert_eq!(tags(&mut socket, "set_2"), ["", "two #2"]);
        // A daemon started meanwhile is told, or has to take the comment's word.
        let mut told = NftSocket::open().expect("socket");
        told.remember(own);
        assert_eq!(tags(&mut told, "set_1"), [""]);
        let mut untold = NftSocket::open().expect("socket");
        assert_eq!(tags(&mut untold, "set_1"), ["one #1"]);
        // Made anew they are known again.
        let again = [NftOp::FlushChain("set_1".into()), rules[0].clone()];
        socket.commit(&again, None).expect("commit");
        assert_eq!(tags(&mut socket, "set_1"), ["one #1"]);
        // A table that somebody saved and restored has the same comments and perhaps the same handles.
        let saved = format!("flush ruleset\n{}", list());
        feed("nft -f -", &saved);
        assert_eq!(tags(&mut socket, "set_1"), [""]);
        let mut all = vec![NftOp::DeleteTable];
        all.extend(skeleton());
        all.extend(rules);
        socket.commit(&all, None).expect("commit");
        assert_eq!(tags(&mut socket, "set_2"), ["two #2"]);
        // Only the anonymous map differs, and after two replacements not even by its name.
        let vmap = |to| Statement::MarkVmap {
            mark: MarkKind::Packet,
            mask: 0x3f00,
            elements: vec![(0x100, goto(to))],
        };
        let map = [NftOp::FlushChain("output".into()), add_rule("output", "map #4", vec![vmap("set_1")])];
        socket.commit(&map, None).expect("commit");
        assert_eq!(tags(&mut socket, "output"), ["map #4"]);
        let before = sh("nft list chain inet mwan output");
        let replace = |to: &str| {
            let rule = format!("meta mark & 0x3f00 vmap {{ 0x100 : goto {to} }} comment \"map #4\"");
            sh(&format!("nft 'replace rule inet mwan output handle {} {rule}'", handle("map #4")));
        };
        replace("set_2");
        replace("set_2");
        assert_eq!(tags(&mut socket, "output"), [""]);
        replace("set_1");
        assert_eq!(sh("nft list chain inet mwan output"), before);
        socket.commit(&map, None).expect("commit");
        assert_eq!(tags(&mut socket, "output"), ["map #4"]);
        // A transaction that is refused teaches nothing.
        let before = socket.own_rules().cloned();
        let bad = [add_rule("set_1", "three #3", vec![set(0x300)]), NftOp::DeleteChain("missing".into())];
        assert!(socket.commit(&bad, None).is_err());
        assert_eq!(socket.own_rules().cloned(), before);
    });
}

#[test]
fn a_failed_operation_is_named_and_nothing_is_changed() {
    in_namespace("a_failed_operation_is_named_and_nothing_is_changed", || {
        let mut socket = NftSocket::open().expect("socket");
        socket.commit(&skeleton(), None).expect("commit");
        let before = list();
        let bad = [
            NftOp::AddChain { name: "new".into(), hook: None },
            add_rule("new", "", vec![Statement::Verdict(goto("set_1"))]),
            add_rule("new", "r #x", vec![Statement::Verdict(goto("missing"))]),
            NftOp::DeleteChain("missing too".into()),
        ];
        let error = socket.commit(&bad, None).expect_err("refused");
        let CommitError::Refused { index, op, source } = &error else { panic!("{error:?}") };
        assert_eq!((*index, op.as_str(), source.errno), (2, "add rule `r #x` to chain new", libc::ENOENT));
        assert_eq!(error.to_string(), "failed to add rule `r #x` to chain new (operation 2)");
        assert_eq!(list(), before);
        let jump = |from, to: &str| add_rule(from, "", vec![Statement::Verdict(Verdict::Jump(to.into()))]);
        // Kernels since 6.18 or so look for loops only from base chains on.
        let loops = [jump("prerouting", "set_1"), jump("set_1", "set_2"), jump("set_2", "set_1")];
        let error = socket.commit(&loops, None).expect_err("refused");
        assert!(
            matches!(&error, CommitError::Refused { index: 2, source, .. } | CommitError::Refused { index: 0, source, .. } if matches!(source.errno, libc::ELOOP | libc::EMLINK)),
            "{error:?}"
        );
    });
}

#[test]
fn a_stale_generation_is_refused() {
    in_namespace("a_stale_generation_is_refused", || {
        let mut socket = NftSocket::open().expect("socket");
        let seen = socket.generation().expect("generation");
        let one = socket.commit(&skeleton(), Some(seen)).expect("commit");
        assert_eq!(one, seen + 1);
        assert_eq!(socket.generation().expect("generation"), one);
        sh("nft add table inet other");
        let change = [NftOp::AddChain { name: "new".into(), hook: None }];
        assert!(matches!(socket.commit(&change, Some(one)), Err(CommitError::Stale)));
        let (table, now) = observed(&mut socket);
        assert!(!table.chains.contains_key("new"));
        assert_eq!(socket.commit(&change, Some(now)).expect("commit"), now + 1);
        // Nothing to do: not even a generation.
        assert_eq!(socket.commit(&[NftOp::AddTable], Some(now + 1)).expect("commit"), now + 1);
        assert_eq!(socket.commit(&[], None).expect("commit"), now + 1);
        sh("nft flush ruleset");
        assert_eq!(socket.observe().expect("observe").0, None);
    });
}

#[test]
fn counters_count() {
    in_namespace("counters_count", || {
        let mut socket = NftSocket::open().expect("socket");
        assert_eq!(socket.counters().expect("none"), BTreeMap::new());
        let mut ops = skeleton();
        ops.push(add_rule("output", "", vec![Statement::Counter("wan_in".into())]));
        socket.commit(&ops, None).expect("commit");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        let server = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        for _ in 0..4 {
            client.send_to(&[0; 56], server.local_addr().expect("address")).expect("send");
        }
        let counter = socket.counters().expect("counters")["wan_in"];
        // IPv4 and UDP headers are 28 bytes.
        assert_eq!((counter.packets, counter.bytes), (4, 4 * 84));
    });
}

/// Many elements of one map, many rules, many set elements: beyond one attribute and one socket buffer.
/// Kernel 6.1 answered "not in here" for the first key of a range right behind another one, so that a policy of
/// weights 3:2:1 became 5:1:0 (`make test-old-kernel`).
#[test]
fn adjacent_ranges_match_from_their_first_key() {
    in_namespace("adjacent_ranges_match_from_their_first_key", || {
        let mut socket = NftSocket::open().expect("socket");
        let mut ops = skeleton();
        let names = ["a", "b", "c", "listed"];
        for name in names {
            ops.push(NftOp::AddCounter(name.into()));
            ops.push(NftOp::AddChain { name: name.into(), hook: None });
            ops.push(add_rule(name, name, vec![Statement::Counter(name.into())]));
        }
        let udp = || matching(Selector::TransportProtocol, true, vec![Value::Byte(17, 17)]);
        let key = Selector::DestinationPort;
        let jump = |first, last, chain: &str| (vec![port(first, last)], Verdict::Jump(chain.into()));
        let elements = vec![jump(1000, 1002, "a"), jump(1003, 1004, "b"), jump(1005, 1005, "c")];
        ops.push(add_rule("output", "map", vec![udp(), Statement::Vmap { key: vec![key], elements }]));
        let ports = vec![port(1000, 1002), port(1003, 1004), port(1005, 1005)];
        let listed = Statement::Counter("listed".into());
        ops.push(add_rule("output", "set", vec![udp(), matching(key, true, ports), listed]));
        socket.commit(&ops, None).expect("commit");
        let client = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        for port in 999..=1006 {
            client.send_to(b"x", ("127.0.0.1", port)).expect("send");
        }
        let counters = socket.counters().expect("counters");
        assert_eq!(names.map(|name| counters[name].packets), [3, 2, 1, 6], "{}", list());
    });
}

#[test]
fn big_programs_fit_and_are_quick() {
    in_namespace("big_programs_fit_and_are_quick", || {
        let mut socket = NftSocket::open().expect("socket");
        let key = vec![Selector::Source(V4), Selector::DestinationPort];
        let vmap = |elements: Vec<(Vec<Value>, Verdict)>, key: &[Selector]| Statement::Vmap {
            key: key.to_vec(),
            elements,
        };
        let host = |n: u32| IpAddr::from((0x0a00_0000 + n * 4).to_be_bytes());
        let mut ops = skeleton();
        let elements = (0..5000)
            .map(|n| (vec![Value::Address(single(host(n))), port(n as u16, n as u16)], goto("set_1")));
        ops.push(add_rule("prerouting", "map", vec![vmap(elements.collect(), &key)]));
        let elements = (0..5000)
            .map(|n| (vec![Value::Address(AddressRange { first: host(n), last: host(n) })], goto("set_1")));
        ops.push(add_rule("prerouting", "hash", vec![vmap(elements.collect(), &key[..1])]));
        let elements = (0..5000).map(|n| {
            let first = u32::from_be_bytes(match host(n) {
                IpAddr::V4(ip) => ip.octets(),
                IpAddr::V6(_) => unreachable!(),
            });
            (
                vec![Value::Address(AddressRange {
                    first: host(n),
                    last: IpAddr::from((first + 1).to_be_bytes()),
                })],
                goto("set_2"),
            )
        });
        ops.push(add_rule("prerouting", "intervals", vec![vmap(elements.collect(), &key[..1])]));
        for n in 0..5000u32 {
            ops.push(add_rule(
                "output",
                &format!("rule #{n}"),
                vec![
                    matching(Selector::NetworkProtocol, true, vec![V4.into()]),
                    matching(Selector::Source(V4), true, vec![Value::Address(single(host(n)))]),
                    Statement::Verdict(goto("set_1")),
                ],
            ));
        }
        let elements: Vec<_> =
            (0..5000).map(|n| single(IpAddr::from((0x1400_0000u32 + n * 2).to_be_bytes()))).collect();
        ops.push(NftOp::AddElements { set: "connected4".into(), kind: SetKind::ranges(V4), elements });
        let rule = || [add_rule("set_2", "", vec![Statement::Verdict(Verdict::Return)])];
        socket.commit(&skeleton(), None).expect("skeleton");
        let start = Instant::now();
        for _ in 0..100 {
            socket.commit(&rule(), None).expect("small");
        }
        println!("one small commit to a small table: {:?}", start.elapsed() / 100);
        socket.delete_table_if_exists().expect("delete");
        let start = Instant::now();
        socket.commit(&ops, None).expect("commit");
        let committed = start.elapsed();
        let start = Instant::now();
        let (table, _) = observed(&mut socket);
        let read = start.elapsed();
        println!(
            "15,000 map elements, 5,000 rules, 5,000 set elements: commit {committed:?}, observe {read:?}"
        );
        assert_eq!(table.chains["output"].tags.len(), 5000);
        assert_eq!(table.chains["output"].tags[4999], "rule #4999");
        println!("handles known: {}", socket.own_rules().map_or(0, |own| own.rules.len()));
        assert_eq!(table.sets["connected4"].elements.len(), 5002);
        let start = Instant::now();
        for _ in 0..100 {
            socket.commit(&rule(), None).expect("small");
        }
        println!("one small commit to this table: {:?}", start.elapsed() / 100);
        assert!(committed.as_secs() < 10 && read.as_secs() < 5);
        assert_eq!(sh("nft list ruleset | grep -c 'goto set_1'").trim(), "5002");
    });
}

/// The program has no rule for ICMPv6 133 to 137: it relies on the kernel never calling them new.
#[test]
fn neighbour_discovery_is_never_a_new_connection() {
    common::in_namespace("neighbour_discovery_is_never_a_new_connection", || {
        let peer = common::Peer::new();
        peer.link("w0", "w1");
        sh("ip addr add 2001:db8::1/64 dev w0 nodad");
        peer.sh("ip addr add 2001:db8::2/64 dev w1 nodad");
        let hook = |name, kind, hook| {
            format!(
                "chain {name} {{ type {kind} hook {hook} priority -149; icmpv6 type 133-137 counter name seen; \
                 icmpv6 type 133-137 ct state new counter name fresh; \
                 meta l4proto udp ct state new counter name datagrams; }}"
            )
        };
        let (input, output) = (hook("a", "filter", "prerouting"), hook("b", "route", "output"));
        let counters = "counter seen { }\ncounter fresh { }\ncounter datagrams { }\n";
        common::feed("nft -f -", &format!("table inet t {{\n{counters}{input}\n{output}\n}}\n"));
        let socket = std::net::UdpSocket::bind("[2001:db8::1]:0").expect("bind");
        socket.send_to(b"x", "[2001:db8::2]:9").expect("send");
        // Type 137 with the rest empty; the kernel fills in the checksum.
        let raw =
            socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::RAW, Some(socket2::Protocol::ICMPV6));
        let to: std::net::SocketAddr = "[2001:db8::2]:0".parse().expect("address");
        let mut redirect = [0; 40];
        redirect[0] = 137;
        raw.expect("raw socket").send_to(&redirect, &to.into()).expect("send");
        let count = |name: &str| -> u64 {
            let text = sh(&format!("nft list counter inet t {name}"));
            text.split_whitespace()
                .skip_while(|w| *w != "packets")
                .nth(1)
                .and_then(|n| n.parse().ok())
                .expect("packets")
        };
        common::eventually("solicitation, advertisement, redirect and the datagram", || {
            count("seen") >= 3 && count("datagrams") == 1
        });
        assert_eq!(count("fresh"), 0);
    });
}

/// A list of 100,000 prefixes is written, read back and changed by a few, as ranges and as blocks; figures are printed, not
/// asserted.
#[test]
fn a_hundred_thousand_prefixes_fit() {
    in_namespace("a_hundred_thousand_prefixes_fit", || {
        let mut socket = NftSocket::open().expect("socket");
        let prefix = |n: u32| {
            let ip = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
            AddressRange { first: ip(n * 32), last: ip(n * 32 + 15) }
        };
        let all: Vec<AddressRange> = (0..100_000).map(prefix).collect();
        let room = ElementKind::Blocks(BlockLevel { length: 28, size: 196_608 });
        for kind in [SetKind::ranges(V4), dynamic(V4, room)] {
            socket.delete_table_if_exists().expect("delete");
            let list = || "list".to_owned();
            let mut ops = skeleton();
            ops.push(NftOp::AddSet { name: list(), kind });
            ops.push(NftOp::AddElements { set: list(), kind, elements: all.clone() });
            let started = Instant::now();
            socket.commit(&ops, None).expect("commit");
            println!("{kind:?}: 100,000 prefixes written in {:?}", started.elapsed());
            let started = Instant::now();
            let (table, _) = observed(&mut socket);
            println!("… read in {:?}", started.elapsed());
            assert!(table.sets["list"].elements.iter().eq(&all));
            let change = |elements| NftOp::DeleteElements { set: list(), kind, elements };
            let started = Instant::now();
            socket.commit(&[change(all[..100].to_vec())], None).expect("commit");
            println!("… 100 deleted in {:?}", started.elapsed());
            assert_eq!(observed(&mut socket).0.sets["list"].elements.len(), 99_900);
        }
    });
}
