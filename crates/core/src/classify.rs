//! The reference for the data plane: which way a new flow takes, in a few plain lines.
//!
//! Used to tell flows that are where they should no longer be (failback), by the simulation as the model the
//! compiled program is compared with, and by everything that explains decisions.

use std::net::IpAddr;

use ipnet::IpNet;
use mwan_config::{AddressMatch, AddressRange, Family, LastResort, PortRange, Target};

use crate::{Carrier, Desired, DesiredRule, Share};

/// The first packet of a flow.
#[derive(Clone, PartialEq, Eq, Debug)]
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

/// Decides as the compiled program does. `sets` answers whether an address is in a named set.
pub fn classify<'a>(
    desired: &'a Desired,
    packet: &Packet,
    sets: &dyn Fn(&str, IpAddr) -> bool,
) -> Decision<'a> {
    let family = Family::of(packet.destination);
    if let Some(input) = &packet.input {
        let wan = desired
            .interfaces
            .iter()
            .find(|i| i.device == *input && i.paths.iter().any(|p| p.family == family));
        if let Some(wan) = wan {
            return Decision::Inbound(wan.id);
        }
    }
    if is_local(desired, packet) {
        return Decision::Local;
    }
    let own = packet.input.is_none();
    if let Some(id) = desired.home(packet.source, own) {
        return Decision::Home(id);
    }
    let packet = &as_rules_see_it(desired, packet, own);
    match desired.rules.iter().find(|r| matches(r, packet, family, sets)) {
        Some(found) => decide(desired, found, family),
        None => Decision::Unmatched,
    }
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
    if let Some(id) = desired.home(packet.source, own) {
        let interface = desired.interfaces.iter().find(|i| i.id == id).map(|i| i.name.clone());
        let share = Share { id, interface: interface.unwrap_or_default(), weight: 1 };
        return Some(vec![Carrier::Members(vec![share])]);
    }
    let packet = &as_rules_see_it(desired, packet, own);
    let mut carriers = Vec::new();
    for found in desired.rules.iter() {
        // A device and sets as the rule would have them.
        let packet = Packet { input: found.source_device.clone(), ..packet.clone() };
        if !matches(found, &packet, family, &|_, _| true) {
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

fn matches(
    found: &DesiredRule,
    packet: &Packet,
    family: Family,
    sets: &dyn Fn(&str, IpAddr) -> bool,
) -> bool {
    let rule = &found.rule;
    rule.families.contains(family)
        && found.source_device.as_ref().is_none_or(|d| packet.input.as_ref() == Some(d))
        && (rule.protocols.is_empty() || rule.protocols.contains(&packet.protocol))
        && address_matches(rule.source.as_ref(), packet.source)
        && address_matches(rule.destination.as_ref(), packet.destination)
        && ports_match(&rule.source_ports, packet.source_port)
        && ports_match(&rule.destination_ports, packet.destination_port)
        && rule.source_set.as_ref().is_none_or(|set| sets(set, packet.source))
        && rule.destination_set.as_ref().is_none_or(|set| sets(set, packet.destination))
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
