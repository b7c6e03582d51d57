//! Random rule lists and packets. Addresses are numbers in a small space, so that ranges overlap in many ways; packets
//! keep to the edges of what some rule wants.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use mwan_compile::blocks::{LARGE_MIN, lay_out_from};
use mwan_config::*;
use mwan_core::{
    Carrier, Desired, DesiredInterface, DesiredPath, DesiredPolicy, DesiredRule, Marks, MasqueradePlan,
    Packet, Share,
};

use crate::rng::Rng;

/// Numbers of addresses: 10.0.0.0 + n, and fd00:0:0:n::/64.
const NUMBERS: u64 = 1 << 18;
const PORTS: [u16; 12] = [0, 1, 53, 79, 80, 81, 443, 1023, 1024, 5000, 65534, 65535];
pub(crate) const LANS: [&str; 2] = ["lan0", "lan1"];
pub(crate) const WAN: &str = "wan0";
const POLICY: &str = "p";

/// One configuration, and what others have entered into its sets.
pub(crate) struct Case {
    pub(crate) desired: Desired,
    /// Set and address.
    pub(crate) learned: Vec<(String, IpAddr)>,
}

impl Case {
    /// Configuration number `seed`.
    pub(crate) fn new(seed: u64) -> Case {
        let rng = &mut Rng::new(seed);
        let mut sets: Vec<NamedSet> = (0..rng.below(4)).map(|n| set(rng, format!("s{seed}_{n}"))).collect();
        // Most configurations have blocks where long lists would.
        let large_min = *rng.pick(&[1, 1, 6, LARGE_MIN]);
        lay_out_from(&mut sets, large_min);
        let mut learned = Vec::new();
        for set in sets.iter().filter(|set| !set.domains.is_empty()) {
            let families = set.families;
            let one = |rng: &mut Rng| {
                let family = pick_family(rng, families);
                (set.name.clone(), address(rng, family))
            };
            learned.extend((0..rng.range(1, 12)).map(|_| one(rng)));
        }
        // Templates: what many rules of a real list have in common, and what makes maps of them.
        let templates: Vec<Rule> = (0..rng.range(1, 4)).map(|_| template(rng, &sets)).collect();
        let count = if rng.chance(50) { rng.range(1, 12) } else { rng.range(13, 90) };
        let alike = rng.range(30, 98);
        let rules = (0..count).map(|n| {
            let mut rule = if rng.chance(alike) { similar(rng, &templates) } else { rule(rng, &sets) };
            rule.name = format!("r{n}");
            let source_device = rule.source_interface.clone();
            DesiredRule { rule, source_device, log: None }
        });
        let rules = Arc::new(rules.collect());
        let (connected, custom) = (nets(rng), nets(rng));
        let desired = Desired {
            off: false,
            generation: 1,
            marks: Marks::new(0x3F00),
            rule_base: RuleBase::default(),
            interfaces: Arc::new(vec![wan()]),
            policies: Arc::new(vec![policy()]),
            rules,
            sets: Arc::new(sets),
            connected,
            custom,
            homes: None,
            local_source: Vec::new(),
            masquerade: MasqueradePlan::Off,
        };
        Case { desired, learned }
    }

    /// Whether an address is in a set.
    pub(crate) fn holds(&self, name: &str, ip: IpAddr) -> bool {
        let listed =
            self.desired.sets.iter().filter(|set| set.name == name).flat_map(|set| set.entries.iter());
        listed.clone().any(|range| of_family(range, Family::of(ip)) && range.first <= ip && ip <= range.last)
            || self.learned.iter().any(|(set, known)| set == name && *known == ip)
    }

    /// A packet near what some rule of the list wants.
    pub(crate) fn packet(&self, rng: &mut Rng) -> Packet {
        let near = &rng.pick(&self.desired.rules).rule;
        let family = pick_family(rng, near.families);
        let protocol = match rng.below(10) {
            0..7 if !near.protocols.is_empty() => *rng.pick(&near.protocols),
            0..4 => 6,
            4..8 => 17,
            8 => {
                if family == Family::V4 {
                    1
                } else {
                    58
                }
            }
            _ => 50,
        };
        // An echo request of the other family is none.
        let protocol = match (family, protocol) {
            (Family::V4, 58) => 1,
            (Family::V6, 1) => 58,
            (_, other) => other,
        };
        let input = match (&near.source_interface, rng.below(10)) {
            (Some(device), 0..8) => Some(device.clone()),
            (_, 0..6) => Some((*rng.pick(&LANS)).to_owned()),
            (_, 6) => Some(WAN.to_owned()),
            _ => None,
        };
        let has_ports = protocol == 6 || protocol == 17;
        Packet {
            source: self.near(rng, near.source.as_ref(), near.source_set.as_ref(), family),
            destination: self.near(rng, near.destination.as_ref(), near.destination_set.as_ref(), family),
            protocol,
            source_port: has_ports.then(|| near_port(rng, &near.source_ports)),
            destination_port: has_ports.then(|| near_port(rng, &near.destination_ports)),
            input,
        }
    }

    /// An address at or next to an end of what is wanted.
    fn near(
        &self,
        rng: &mut Rng,
        wanted: Option<&AddressMatch>,
        set: Option<&String>,
        family: Family,
    ) -> IpAddr {
        let mut ranges: Vec<AddressRange> = wanted.map(|w| w.ranges.clone()).unwrap_or_default();
        if let Some(name) = set {
            let named = self.desired.sets.iter().find(|set| set.name == *name).expect("a set of the list");
            ranges.extend(named.entries.iter());
            let learned = self.learned.iter().filter(|(set, _)| set == name);
            ranges.extend(learned.map(|(_, ip)| single(*ip)));
        }
        ranges.retain(|range| of_family(range, family));
        if ranges.is_empty() || rng.chance(3) {
            return address(rng, family);
        }
        let range = *rng.pick(&ranges);
        match rng.below(20) {
            0 => step(range.first, -1),
            1 => step(range.last, 1),
            2..11 => range.first,
            _ => range.last,
        }
    }
}

fn single(ip: IpAddr) -> AddressRange {
    AddressRange { first: ip, last: ip }
}

fn of_family(range: &AddressRange, family: Family) -> bool {
    Family::of(range.first) == family
}

fn pick_family(rng: &mut Rng, families: Families) -> Family {
    let all: Vec<Family> = families.iter().collect();
    *rng.pick(&all)
}

fn near_port(rng: &mut Rng, wanted: &[PortRange]) -> u16 {
    if wanted.is_empty() || rng.chance(3) {
        return *rng.pick(&PORTS);
    }
    let range = rng.pick(wanted);
    match rng.below(20) {
        0 => range.first.saturating_sub(1),
        1 => range.last.saturating_add(1),
        2..11 => range.first,
        _ => range.last,
    }
}

pub(crate) fn number(n: u64, family: Family, low: u64) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(0x0a00_0000 + n as u32).into(),
        Family::V6 => Ipv6Addr::from((0xfd00 << 112) | (u128::from(n) << 64) | u128::from(low)).into(),
    }
}

pub(crate) fn address(rng: &mut Rng, family: Family) -> IpAddr {
    number(rng.below(NUMBERS), family, *rng.pick(&[0, 1, u64::MAX]))
}

/// The next address, staying within 10.0.0.0/8 and fd00::/8, which the test's witness looks at.
fn step(ip: IpAddr, by: i8) -> IpAddr {
    let next: IpAddr = match ip {
        IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip).wrapping_add_signed(by.into())).into(),
        IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip).wrapping_add_signed(by.into())).into(),
    };
    let same = match (ip, next) {
        (IpAddr::V4(a), IpAddr::V4(b)) => a.octets()[0] == b.octets()[0],
        (IpAddr::V6(a), IpAddr::V6(b)) => a.octets()[0] == b.octets()[0],
        _ => false,
    };
    if same { next } else { ip }
}

/// A prefix, now and then a range that is none or a single address.
pub(crate) fn range(rng: &mut Rng, family: Family) -> AddressRange {
    let bits = *rng.pick(&[0, 0, 1, 4, 4, 8, 8, 8, 10, 12, 16, 18]);
    let n = rng.below(NUMBERS) >> bits << bits;
    let last = if rng.chance(10) { n + rng.below(NUMBERS - n) } else { n + (1 << bits) - 1 };
    let end = if n == last && rng.chance(50) { 0 } else { u64::MAX };
    AddressRange { first: number(n, family, 0), last: number(last, family, end) }
}

fn ranges(rng: &mut Rng, families: Families) -> Vec<AddressRange> {
    (0..*rng.pick(&[1, 1, 1, 2, 3]))
        .flat_map(|_| families.iter().map(|f| range(rng, f)).collect::<Vec<_>>())
        .collect()
}

fn addresses(rng: &mut Rng, families: Families, percent: u64) -> Option<AddressMatch> {
    rng.chance(percent).then(|| AddressMatch { ranges: ranges(rng, families), negated: rng.chance(10) })
}

fn ports(rng: &mut Rng, percent: u64) -> Vec<PortRange> {
    let count = if rng.chance(percent) { rng.range(1, 3) } else { 0 };
    let one = |rng: &mut Rng| {
        let (a, b) = (*rng.pick(&PORTS), *rng.pick(&PORTS));
        if rng.chance(50) {
            PortRange { first: a, last: a }
        } else {
            PortRange { first: a.min(b), last: a.max(b) }
        }
    };
    (0..count).map(|_| one(rng)).collect()
}

fn rule(rng: &mut Rng, sets: &[NamedSet]) -> Rule {
    let families = match rng.below(5) {
        0 => Families { v4: true, v6: false },
        1 => Families { v4: false, v6: true },
        _ => Families::ALL,
    };
    let protocols: Vec<u8> =
        rng.pick(&[&[][..], &[6], &[6], &[17], &[17], &[6, 17], &[1], &[58], &[1, 58], &[50]]).to_vec();
    let has_ports = protocols.iter().all(|p| [6, 17].contains(p));
    let set = |rng: &mut Rng| {
        let some = !sets.is_empty() && rng.chance(15);
        some.then(|| rng.pick(sets).name.clone())
    };
    let target = match rng.below(4) {
        0 => Target::Direct(LastResort::Default),
        1 => Target::Direct(LastResort::Blackhole),
        _ => Target::Policy(POLICY.to_owned()),
    };
    Rule {
        name: String::new(),
        families,
        protocols,
        source: addresses(rng, families, 30),
        destination: addresses(rng, families, 60),
        source_ports: if has_ports { ports(rng, 15) } else { vec![] },
        destination_ports: if has_ports { ports(rng, 50) } else { vec![] },
        source_interface: rng.chance(12).then(|| (*rng.pick(&LANS)).to_owned()),
        destination_set: set(rng),
        source_set: set(rng),
        sticky: None,
        logging: false,
        target,
        location: location(),
    }
}

/// Mostly one that can be merged with others like it.
fn template(rng: &mut Rng, sets: &[NamedSet]) -> Rule {
    let mut rule = rule(rng, sets);
    if rng.chance(75) {
        (rule.source_interface, rule.source_set, rule.destination_set) = (None, None, None);
        rule.source.iter_mut().chain(&mut rule.destination).for_each(|wanted| wanted.negated = false);
    }
    rule
}

/// A rule of the same shape with other values, most of them narrow.
fn similar(rng: &mut Rng, templates: &[Rule]) -> Rule {
    let mut rule = rng.pick(templates).clone();
    let families = rule.families;
    for wanted in [&mut rule.source, &mut rule.destination].into_iter().flatten() {
        wanted.ranges = ranges(rng, families);
        if rng.chance(80) {
            wanted.ranges = families.iter().map(|family| single(address(rng, family))).collect();
        }
    }
    for wanted in [&mut rule.source_ports, &mut rule.destination_ports] {
        if !wanted.is_empty() {
            *wanted = ports(rng, 100);
        }
    }
    rule
}

fn set(rng: &mut Rng, name: String) -> NamedSet {
    let families =
        *rng.pick(&[Families::ALL, Families { v4: true, v6: false }, Families { v4: false, v6: true }]);
    let kind = rng.below(4);
    let count = if kind == 0 { 0 } else { rng.range(1, 40) };
    // Prefixes of a few lengths, or ranges that begin and end anywhere.
    let lengths: Vec<u64> = (0..*rng.pick(&[1, 3, 6])).map(|_| rng.range(0, 9)).collect();
    let entries = (0..count).flat_map(|_| match kind {
        2.. => families.iter().map(|family| prefix(rng, family, &lengths)).collect(),
        _ => ranges(rng, families),
    });
    let entries = entries.collect();
    NamedSet {
        name,
        families,
        entries: Arc::new(entries),
        file: None,
        domains: Arc::new(if kind < 3 { vec!["example.org".to_owned()] } else { vec![] }),
        timeout: None,
        counters: rng.chance(30),
        layout: SetLayout::default(),
        location: location(),
    }
}

/// A prefix with one of these numbers of host bits (in IPv6 of the part that counts).
fn prefix(rng: &mut Rng, family: Family, host_bits: &[u64]) -> AddressRange {
    let bits = *rng.pick(host_bits) as u8;
    let len = if family == Family::V4 { 32 - bits } else { 64 - bits };
    let net = ipnet::IpNet::new(address(rng, family), len).expect("a prefix length");
    AddressRange { first: net.network(), last: net.broadcast() }
}

/// Networks that are never policy-routed: few and small, or no packet would come to the rules.
fn nets(rng: &mut Rng) -> Arc<std::collections::BTreeSet<ipnet::IpNet>> {
    let one = |rng: &mut Rng| {
        let (family, bits) = (*rng.pick(&Family::ALL), rng.range(0, 12) as u8);
        let len = if family == Family::V4 { 32 - bits } else { 64 - bits };
        ipnet::IpNet::new(address(rng, family), len).expect("a prefix length").trunc()
    };
    Arc::new((0..rng.below(3)).map(|_| one(rng)).collect())
}

fn location() -> Location {
    Location { file: "test".into(), line: 0 }
}

fn wan() -> DesiredInterface {
    let path = |family| DesiredPath { family, route: None, addresses: vec![], routed: vec![] };
    DesiredInterface {
        id: 1,
        table: 1,
        name: "w".into(),
        device: WAN.into(),
        paths: Family::ALL.map(path).into(),
    }
}

/// One family has a member that carries, the other none.
fn policy() -> DesiredPolicy {
    let share = Share { id: 1, interface: "w".into(), weight: 1 };
    DesiredPolicy {
        name: POLICY.into(),
        members: Arc::new(vec![(1, "w".into())]),
        v4: Carrier::Members(vec![share]),
        v6: Carrier::LastResort(LastResort::Unreachable),
    }
}
