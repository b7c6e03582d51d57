//! Merging rules into verdict maps never changes which rule matches first: random rule lists and packets, the plain
//! interpreter of the pure crate (`mwan_core::classify`) against the kernel's own verdict. `explained` does the same for
//! everything else that decides about a packet.
//!
//! The program is installed as the daemon would, in a namespace, and real packets go through it: frames from a neighbour
//! and packets of the router itself. Which rule has matched is told by the counters of the rules. Packets are dropped
//! behind the program, so conntrack never confirms one and each begins a flow.
//!
//! A failure names the configuration's number, from which all of it follows. `FIRST_MATCH_CONFIGURATIONS=5000` tries more.

#[path = "../common/mod.rs"]
mod common;
mod explained;
mod lists;
#[allow(dead_code)]
#[path = "../../../compile/tests/simulation/rng.rs"]
mod rng;
#[allow(unsafe_code)]
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use common::{Peer, feed, in_namespace, sh};
use lists::{Case, LANS, WAN};
use mwan_compile::nft::{Hook, HookKind, HookPoint, NftOp, Rule, Selector, Statement, Value, Verdict};
use mwan_compile::{Observed, Program, check, compile, diff, diff_observed};
use mwan_config::{AddressRange, Family};
use mwan_core::{Decision, Packet, classify};
use mwan_linux::nft::NftSocket;
use rng::Rng;
use wire::{ROUTER_MAC, Raw};

/// Rule lists, unless the environment says otherwise.
const CONFIGURATIONS: u64 = 200;
/// Packets through each.
const PACKETS: u64 = 50;
/// Counts what has come out of the program.
const WITNESS: &str = "witness";
/// Behind the program (-149) and the witness (-100) nothing gets on.
const SINK: &str = "table inet sink {
    chain in { type filter hook prerouting priority 0; policy drop; }
    chain out { type filter hook output priority 0; policy drop; }
}";

#[test]
fn the_kernel_finds_the_first_match_however_rules_are_merged() {
    in_namespace("the_kernel_finds_the_first_match_however_rules_are_merged", || {
        let wanted = std::env::var("FIRST_MATCH_CONFIGURATIONS").ok();
        let count = wanted.map_or(CONFIGURATIONS, |n| n.parse().expect("a number"));
        let mut router = Router::new();
        let mut tally = Tally::default();
        for seed in 0..count {
            let case = Case::new(seed);
            router.install(seed, &case);
            let rng = &mut Rng::new(seed ^ 0x5eed_0000_0000);
            for _ in 0..PACKETS {
                router.compare(seed, &case, &case.packet(rng), &mut tally);
            }
        }
        tally.assert_worth(count * PACKETS);
    });
}

/// The namespace of the test, its neighbour, and what is installed.
struct Router {
    nft: NftSocket,
    installed: Option<Program>,
    counts: BTreeMap<String, u64>,
    link: Raw,
    own: [Raw; 2],
    /// Index of the neighbour's end of each device.
    ends: BTreeMap<&'static str, u32>,
    _peer: Peer,
}

impl Router {
    fn new() -> Router {
        let peer = Peer::new();
        // Nobody says a word but the test.
        sh("echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad");
        peer.sh("echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6");
        let mut ends = BTreeMap::new();
        for device in [LANS[0], LANS[1], WAN, "wan1"] {
            peer.link(device, &format!("{device}p"));
            sh(&format!("ip link set {device} address {}", ROUTER_MAC.map(|b| format!("{b:02x}")).join(":")));
            let shown = peer.sh(&format!("ip -o link show dev {device}p"));
            let index = shown.split(':').next().expect("`INDEX: NAME`");
            ends.insert(device, index.parse().expect("an index"));
        }
        // The router's own packets must have some way to go.
        sh("ip address add 192.0.2.1/24 dev lan0; ip route add default via 192.0.2.2");
        sh("ip address add 2001:db8::1/64 dev lan0; ip route add default via 2001:db8::2");
        feed("nft -f -", SINK);
        Router {
            nft: NftSocket::open().expect("nftables"),
            installed: None,
            counts: BTreeMap::new(),
            link: peer.spawn(Raw::link).join().expect("a socket of the neighbour"),
            own: [Raw::ip(libc::AF_INET), Raw::ip(libc::AF_INET6)],
            ends,
            _peer: peer,
        }
    }

    /// Every second configuration as a change of the one before it, as after a reload.
    fn install(&mut self, seed: u64, case: &Case) {
        let program = compile(&case.desired);
        assert_eq!(check(&program, case.desired.marks), [], "configuration {seed}");
        let before = self.installed.take().filter(|_| seed % 2 == 1);
        let ops = match &before {
            Some(before) => diff(before, &program).nft,
            None => {
                self.nft.delete_table_if_exists().expect("the table before");
                [diff_observed(&Observed::default(), &program).nft, witness()].concat()
            }
        };
        self.nft.commit(&ops, None).unwrap_or_else(|e| panic!("configuration {seed}: {e}"));
        // As dnsmasq does it.
        let learned = case.learned.iter().map(|(set, ip)| {
            let digit = if ip.is_ipv4() { 4 } else { 6 };
            format!("add element inet mwan learned.{set}.{digit} {{ {ip} }}\n")
        });
        let learned: String = learned.collect();
        if !learned.is_empty() {
            feed("nft -f -", &learned);
        }
        self.installed = Some(program);
        self.counts = self.read();
    }

    fn read(&mut self) -> BTreeMap<String, u64> {
        let counters = self.nft.counters().expect("counters");
        counters.into_iter().map(|(name, value)| (name, value.packets)).collect()
    }

    /// Sends a packet; the counters of rules that it has passed.
    fn pass(&mut self, packet: &Packet) -> Vec<String> {
        match &packet.input {
            Some(device) => self.link.deliver(packet, self.ends[device.as_str()]),
            None => self.own[usize::from(packet.destination.is_ipv6())].emit(packet),
        }
        let before = std::mem::take(&mut self.counts);
        common::eventually(&format!("the witness sees {packet:?}"), || {
            self.counts = self.read();
            self.counts[WITNESS] > before[WITNESS]
        });
        assert_eq!(self.counts[WITNESS], before[WITNESS] + 1, "somebody else sends");
        let passed =
            self.counts.iter().filter(|(name, count)| name.starts_with("rule.") && **count != before[*name]);
        passed.map(|(name, _)| name.clone()).collect()
    }

    fn compare(&mut self, seed: u64, case: &Case, packet: &Packet, tally: &mut Tally) {
        let family = Family::of(packet.destination);
        let wanted = match classify(&case.desired, packet, &|set, ip| case.holds(set, ip)) {
            Decision::Rule { rule, .. } => {
                Some(format!("rule.{rule}.{}", if family == Family::V4 { 4 } else { 6 }))
            }
            _ => None,
        };
        let found = self.pass(packet);
        let program = self.installed.as_ref().expect("installed");
        assert_eq!(
            found,
            wanted.iter().cloned().collect::<Vec<_>>(),
            "configuration {seed}: left the kernel, right the interpreter, {packet:?}\n{:#?}\n{}",
            case.desired.rules,
            mwan_compile::text::table(&program.table)
        );
        tally.count(program, wanted.as_deref());
    }
}

/// Two chains behind the program's, in its table because its counters are what the socket reads.
fn witness() -> Vec<NftOp> {
    let mut ops = vec![NftOp::AddCounter(WITNESS.into())];
    for (name, point) in [("witness.in", HookPoint::Prerouting), ("witness.out", HookPoint::Output)] {
        let hook = Some(Hook { kind: HookKind::Filter, point, priority: -100 });
        ops.push(NftOp::AddChain { name: name.into(), hook });
        for towards in towards() {
            let statements = [towards, vec![Statement::Counter(WITNESS.into())]].concat();
            ops.push(NftOp::AddRule { chain: name.into(), rule: Rule { statements, tag: name.into() } });
        }
    }
    ops
}

/// What only the test's own packets match, once per family.
fn towards() -> [Vec<Statement>; 2] {
    let v6 = ["fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"];
    [(Family::V4, ["10.0.0.0", "10.255.255.255"]), (Family::V6, v6)].map(|(family, [first, last])| {
        let [first, last] = [first, last].map(|text| text.parse::<IpAddr>().expect("address"));
        let is = |selector, value| Statement::Match { selector, equal: true, values: vec![value] };
        vec![
            is(Selector::NetworkProtocol, Value::Family(family)),
            is(Selector::Destination(family), Value::Address(AddressRange { first, last })),
        ]
    })
}

/// How packets were decided: a test that only ever sees one of these proves little.
#[derive(Default, Debug)]
struct Tally {
    by_map: u64,
    by_rule: u64,
    unmatched: u64,
    /// Of those by a rule, by one that looks for a block.
    by_block: u64,
}

impl Tally {
    fn count(&mut self, program: &Program, rule: Option<&str>) {
        let to = match rule {
            None => &mut self.unmatched,
            Some(rule) if in_map(program).contains(rule) => &mut self.by_map,
            Some(_) => &mut self.by_rule,
        };
        *to += 1;
        self.by_block += u64::from(rule.is_some_and(|rule| by_block(program).contains(rule)));
    }

    fn assert_worth(&self, packets: u64) {
        println!("{packets} packets: {self:?}");
        for part in [self.by_map, self.by_rule, self.unmatched] {
            assert!(part * 10 >= packets, "too one-sided: {self:?}");
        }
        assert!(self.by_block * 200 >= packets, "hardly a block: {self:?}");
    }
}

/// Chains of rules that have a variant which looks for a block of more than one address.
fn by_block(program: &Program) -> BTreeSet<&str> {
    let chains = program.table.sections.iter().flat_map(|section| &section.chains);
    let rules = chains
        .filter(|(name, _)| name.starts_with("rules.") || name.starts_with("look"))
        .flat_map(|(_, chain)| &chain.rules);
    let cut = |statement: &Statement| match statement {
        Statement::InSet { selector, bits, .. } => {
            selector.family().is_some_and(|family| *bits < family.bits())
        }
        _ => false,
    };
    let verdict = |rule: &'_ Rule| rule.statements.iter().any(cut);
    let verdicts = rules.filter(|rule| verdict(rule)).filter_map(|rule| match rule.statements.last() {
        Some(Statement::Verdict(Verdict::Goto(chain))) => Some(chain.as_str()),
        _ => None,
    });
    verdicts.collect()
}

/// Chains of rules that are elements of verdict maps.
fn in_map(program: &Program) -> BTreeSet<&str> {
    let chains = program.table.sections.iter().flat_map(|section| &section.chains);
    let rules = chains.filter(|(name, _)| name.starts_with("rules.")).flat_map(|(_, chain)| &chain.rules);
    let maps = rules.flat_map(|rule| &rule.statements).filter_map(|statement| match statement {
        Statement::Vmap { elements, .. } => Some(elements),
        _ => None,
    });
    let verdicts = maps.flatten().filter_map(|(_, verdict)| match verdict {
        Verdict::Goto(chain) => Some(chain.as_str()),
        _ => None,
    });
    verdicts.collect()
}
