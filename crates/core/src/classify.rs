//! The reference for the data plane: which way a new flow takes, in a few plain lines.
//!
//! Used to tell flows that are where they should no longer be (failback), by the simulation as the model the
//! compiled program is compared with, and by everything that explains decisions.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use mwan_config::{AddressMatch, AddressRange, Family, LastResort, PortRange, Target};

use crate::{Carrier, Desired, DesiredInterface, DesiredRule, Home, Share};

/// The first packet of a flow.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Packet {
    /// Source address.
    pub source: IpAddr,
    /// Destination address, same family.
    pub destination: IpAddr,
    /// IP protocol number.
    pub protocol: u8,
    /// Source port, if the protocol has ports.
    pub source_port: Option<u16>,
    /// Destination port, if the protocol has ports.
    pub destination_port: Option<u16>,
    /// Device it came in by; `None`: the router's own.
    pub input: Option<String>,
}

/// What decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision<'a> {
    /// It came in by a WAN and is pinned to it: the interface's id.
    Inbound(u32),
    /// Its destination is never policy-routed.
    Local,
    /// Its source is at home on a WAN: the interface's id.
    Home(u32),
    /// This rule matched.
    Rule {
        /// Name of the rule.
        rule: &'a str,
        /// Name of its policy; `None` for a direct target.
        policy: Option<&'a str>,
        /// What carries it.
        carrier: Carrier,
    },
    /// No rule matched: the main routing table.
    Unmatched,
}

/// What of a packet a rule asks for, in the order in which it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Criterion {
    /// Its family.
    Family,
    /// The device it came in by.
    Input,
    /// Its protocol.
    Protocol,
    /// Its source address.
    Source,
    /// Its destination address.
    Destination,
    /// Its source port.
    SourcePort,
    /// Its destination port.
    DestinationPort,
    /// A set its source is to be in.
    SourceSet,
    /// A set its destination is to be in.
    DestinationSet,
}

/// Destinations that are never policy-routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// One of the main and local tables.
    Connected(IpNet),
    /// One of the tables of `rt_table_lookup`.
    Custom(IpNet),
    /// Entered by others.
    Dynamic,
}

/// What only the kernel knows: what others have entered into sets.
pub trait Entered {
    /// Whether an address is in a named set, by whoever it was entered.
    fn holds(&self, set: &str, ip: IpAddr) -> bool;
    /// Whether a destination is among the `dynamic` networks.
    fn dynamic(&self, ip: IpAddr) -> bool;
}

/// The way to a decision, step by step as the compiled program takes them.
#[derive(Clone, Debug)]
pub struct Walk<'a> {
    /// The destination is never policy-routed because of this.
    pub network: Option<Network>,
    /// Its source is at home here.
    pub home: Option<Home>,
    /// What rules took for the source of the router's own packet, where that is another one.
    pub judged: Option<IpAddr>,
    /// Rules that did not match, in their order, and the first criterion that was against each.
    pub missed: Vec<(&'a DesiredRule, Criterion)>,
    /// The rule that did.
    pub found: Option<&'a DesiredRule>,
    /// What decided.
    pub decision: Decision<'a>,
}

struct SetsOnly<'f>(&'f dyn Fn(&str, IpAddr) -> bool);

impl Entered for SetsOnly<'_> {
    fn holds(&self, set: &str, ip: IpAddr) -> bool {
        (self.0)(set, ip)
    }

    fn dynamic(&self, _: IpAddr) -> bool {
        false
    }
}

/// Decides as the compiled program does. `sets` answers whether an address is in a named set.
pub fn classify<'a>(
    desired: &'a Desired,
    packet: &Packet,
    sets: &dyn Fn(&str, IpAddr) -> bool,
) -> Decision<'a> {
    walk(desired, packet, &SetsOnly(sets)).decision
}

/// The same, with every step on the way.
pub fn walk<'a>(desired: &'a Desired, packet: &Packet, entered: &dyn Entered) -> Walk<'a> {
    let family = Family::of(packet.destination);
    let decided = |decision| Walk {
        network: None,
        home: None,
        judged: None,
        missed: Vec::new(),
        found: None,
        decision,
    };
    if let Some(wan) = packet.input.as_ref().and_then(|input| owner(desired, input, family)) {
        return decided(Decision::Inbound(wan));
    }
    if let Some(network) = network(desired, packet.destination, entered) {
        return Walk { network: Some(network), ..decided(Decision::Local) };
    }
    let own = packet.input.is_none();
    if let Some(home) = desired.home(packet.source, own) {
        return Walk { home: Some(home), ..decided(Decision::Home(home.id)) };
    }
    by_rules(desired, &desired.rules, packet, entered)
}

/// The WAN that has `device` in `family`.
pub(crate) fn owner(desired: &Desired, device: &str, family: Family) -> Option<u32> {
    let has = |i: &&DesiredInterface| i.device == device && i.paths.iter().any(|p| p.family == family);
    desired.interfaces.iter().find(has).map(|i| i.id)
}

/// What these rules alone say of a packet.
pub(crate) fn by_rules<'a>(
    desired: &'a Desired,
    rules: &'a [DesiredRule],
    packet: &Packet,
    entered: &dyn Entered,
) -> Walk<'a> {
    let family = Family::of(packet.destination);
    let asked = &as_rules_see_it(desired, packet, packet.input.is_none());
    let sets = In {
        source: &|set| match asked.source == packet.source {
            true => entered.holds(set, packet.source),
            false => stands_in(desired, set, asked.source, packet.source, entered),
        },
        destination: &|set| entered.holds(set, packet.destination),
    };
    let mut missed = Vec::new();
    let mut found = None;
    for rule in rules {
        match miss(rule, asked, family, &sets) {
            Some(criterion) => missed.push((rule, criterion)),
            None => {
                found = Some(rule);
                break;
            }
        }
    }
    let decision = found.map_or(Decision::Unmatched, |found| decide(desired, found, family));
    let judged = (asked.source != packet.source).then_some(asked.source);
    Walk { network: None, home: None, judged, missed, found, decision }
}

/// Whether a rule that asks for the source's set has the address that stands for the router's own: what is listed is known
/// when the rules are made, what others enter is asked for the packet's own source.
fn stands_in(desired: &Desired, set: &str, judged: IpAddr, own: IpAddr, entered: &dyn Entered) -> bool {
    let Some(named) = desired.sets.iter().find(|named| named.name == set) else { return false };
    let listed = named.entries.iter().any(|range| contains(range, judged));
    listed || !named.domains.is_empty() && entered.holds(set, own)
}

fn network(desired: &Desired, destination: IpAddr, entered: &dyn Entered) -> Option<Network> {
    let of = |nets: &BTreeSet<IpNet>| {
        let around = nets.iter().filter(|net| net.contains(&destination));
        around.max_by_key(|net| net.prefix_len()).copied()
    };
    let listed =
        of(&desired.connected).map(Network::Connected).or_else(|| of(&desired.custom).map(Network::Custom));
    listed.or_else(|| entered.dynamic(destination).then_some(Network::Dynamic))
}

/// The router's own traffic has the source that stands for it.
fn as_rules_see_it(desired: &Desired, packet: &Packet, own: bool) -> Packet {
    let local = desired.local_source(Family::of(packet.destination)).filter(|_| own);
    Packet { source: local.map_or(packet.source, |local| local.address), ..packet.clone() }
}

/// What may carry a flow of which only what conntrack knows is known: not its input device, not what is in
/// named sets. `None`: no rule decides, or none certainly.
pub(crate) fn possible(desired: &Desired, packet: &Packet) -> Option<Vec<Carrier>> {
    let family = Family::of(packet.destination);
    if is_local(desired, packet) {
        return None;
    }
    let addresses = desired.interfaces.iter().flat_map(|i| &i.paths).flat_map(|path| &path.addresses);
    let own = addresses.map(IpNet::addr).any(|ip| ip == packet.source);
    if let Some(Home { id, .. }) = desired.home(packet.source, own) {
        let interface = desired.interfaces.iter().find(|i| i.id == id).map(|i| i.name.clone());
        let share = Share { id, interface: interface.unwrap_or_default(), weight: 1 };
        return Some(vec![Carrier::Members(vec![share])]);
    }
    let packet = &as_rules_see_it(desired, packet, own);
    let mut carriers = Vec::new();
    for found in desired.rules.iter() {
        // A device and sets as the rule would have them.
        let packet = Packet { input: found.source_device.clone(), ..packet.clone() };
        if miss(found, &packet, family, &In { source: &|_| true, destination: &|_| true }).is_some() {
            continue;
        }
        if let Decision::Rule { carrier, .. } = decide(desired, found, family) {
            carriers.push(carrier);
        }
        let rule = &found.rule;
        let certain =
            found.source_device.is_none() && rule.source_set.is_none() && rule.destination_set.is_none();
        if certain {
            return Some(carriers);
        }
    }
    None
}

fn is_local(desired: &Desired, packet: &Packet) -> bool {
    let local = [&desired.connected, &desired.custom];
    local.iter().any(|nets| nets.iter().any(|net| net.contains(&packet.destination)))
}

fn decide<'a>(desired: &'a Desired, found: &'a DesiredRule, family: Family) -> Decision<'a> {
    let (policy, carrier) = match &found.rule.target {
        Target::Direct(resort) => (None, Carrier::LastResort(*resort)),
        Target::Policy(name) => {
            let policy = desired.policies.iter().find(|p| p.name == *name);
            // A rule's policy always exists; should it not, nothing carries the rule's traffic.
            let carrier =
                policy.map_or(Carrier::LastResort(LastResort::Unreachable), |p| p.carrier(family).clone());
            (Some(name.as_str()), carrier)
        }
    };
    Decision::Rule { rule: &found.rule.name, policy, carrier }
}

/// Whether source and destination are in sets.
struct In<'f> {
    source: &'f dyn Fn(&str) -> bool,
    destination: &'f dyn Fn(&str) -> bool,
}

/// The first criterion of a rule that a packet does not meet; `None`: it matches.
fn miss(found: &DesiredRule, packet: &Packet, family: Family, sets: &In<'_>) -> Option<Criterion> {
    let rule = &found.rule;
    let within =
        |set: &Option<String>, known: &dyn Fn(&str) -> bool| set.as_ref().is_none_or(|set| known(set));
    let input = || found.source_device.as_ref().is_none_or(|d| packet.input.as_ref() == Some(d));
    let asked: [(Criterion, &dyn Fn() -> bool); 9] = [
        (Criterion::Family, &|| rule.families.contains(family)),
        (Criterion::Input, &input),
        (Criterion::Protocol, &|| rule.protocols.is_empty() || rule.protocols.contains(&packet.protocol)),
        (Criterion::Source, &|| address_matches(rule.source.as_ref(), packet.source)),
        (Criterion::Destination, &|| address_matches(rule.destination.as_ref(), packet.destination)),
        (Criterion::SourcePort, &|| ports_match(&rule.source_ports, packet.source_port)),
        (Criterion::DestinationPort, &|| ports_match(&rule.destination_ports, packet.destination_port)),
        (Criterion::SourceSet, &|| within(&rule.source_set, sets.source)),
        (Criterion::DestinationSet, &|| within(&rule.destination_set, sets.destination)),
    ];
    asked.into_iter().find(|(_, holds)| !holds()).map(|(criterion, _)| criterion)
}

fn address_matches(wanted: Option<&AddressMatch>, ip: IpAddr) -> bool {
    // Ranges of the other family are no part of the question.
    wanted.is_none_or(|w| w.ranges.iter().any(|r| contains(r, ip)) != w.negated)
}

fn contains(range: &AddressRange, ip: IpAddr) -> bool {
    Family::of(range.first) == Family::of(ip) && range.first <= ip && ip <= range.last
}

fn ports_match(wanted: &[PortRange], port: Option<u16>) -> bool {
    wanted.is_empty() || port.is_some_and(|p| wanted.iter().any(|r| r.first <= p && p <= r.last))
}
