//! Translation of sources, where that is ours.

use mwan_config::Gather;
use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::{AddressRange, Family, LastResort};
use mwan_core::{Desired, DesiredInterface, DesiredPath, MasqueradePlan};

use super::{by_device, devices, family_is, goto, resort_chain, rule};
use crate::nft::*;
use crate::ranges::{merge, of_net};

/// `srcnat`.
const PRIORITY_SRCNAT: i32 = 100;

/// The chain of packets that conntrack can make nothing of.
const INVALID: &str = "invalid";
/// Unique local addresses (RFC 4193).
const UNIQUE_LOCAL: IpNet =
    IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7));

/// Translation of sources that are not at home on the WAN they leave by: one lookup of the device, then its chain.
pub(super) fn nat_section(desired: &Desired) -> Section {
    let mut section = Section::default();
    if desired.masquerade == MasqueradePlan::Off {
        return section;
    }
    let mut chains = Vec::new();
    for device in devices(&desired.interfaces) {
        let here: Vec<&DesiredInterface> = desired.interfaces.iter().filter(|i| i.device == device).collect();
        let Some(first) = here.first() else { continue };
        let name = format!("nat.{}", first.id);
        let rules =
            here.iter().flat_map(|i| i.paths.iter().map(|path| translate(desired, i, path))).collect();
        section.chains.insert(name.clone(), Arc::new(Chain { hook: None, rules }));
        chains.push((device.to_owned(), name));
    }
    section.chains.insert(INVALID.to_owned(), Arc::new(invalid(desired)));
    let hook = Hook { kind: HookKind::Nat, point: HookPoint::Postrouting, priority: PRIORITY_SRCNAT };
    let rules = by_device("by device", Selector::OutputDevice, chains);
    section.chains.insert("postrouting".to_owned(), Arc::new(Chain { hook: Some(hook), rules }));
    section
}

/// Where a packet goes in a hook that begins no connection and has no mark.
pub(super) fn not_new(desired: &Desired, prerouting: bool) -> Statement {
    let leaks = prerouting && desired.masquerade != MasqueradePlan::Off;
    if leaks { goto(INVALID) } else { Statement::Verdict(Verdict::Return) }
}

/// Forwarded packets that would leave untranslated, since conntrack can make nothing of them: the last ones of a connection whose
/// entry was deleted (a FIN begins none, nf_conntrack_proto_tcp.c), or out of its window. No answer would ever come back, and the
/// provider sees addresses of the LAN. Marked, so that main's own networks still get them.
fn invalid(desired: &Desired) -> Chain {
    let rules = Family::ALL.into_iter().map(|family| {
        let mut statements = vec![family_is(family), Statement::Invalid];
        let paths = desired.interfaces.iter().flat_map(|i| &i.paths).filter(|p| p.family == family);
        let valid = paths.flat_map(at_home).collect::<Vec<_>>();
        if !valid.is_empty() {
            statements.push(source_is(false, family, valid));
        }
        if family == Family::V6 && desired.masquerade == MasqueradePlan::Auto {
            statements.push(source_is(true, family, vec![of_net(UNIQUE_LOCAL)]));
        }
        statements.push(goto(resort_chain(LastResort::Blackhole)));
        rule("untranslated", statements)
    });
    Chain { hook: None, rules: rules.collect() }
}

/// Sources of one family, or all but these.
fn source_is(equal: bool, family: Family, ranges: Vec<AddressRange>) -> Statement {
    let values = merge(ranges).into_iter().map(Value::Address).collect();
    Statement::Match { selector: Selector::Source(family), equal, values }
}

/// Sources that leave by this path as they are: ours on its device, and what is routed to us by it.
fn at_home(path: &DesiredPath) -> impl Iterator<Item = AddressRange> {
    let own = path.addresses.iter().map(|a| of_net(IpNet::from(a.addr())));
    own.chain(path.routed.iter().copied())
}

/// Which sources of one family are translated when they leave by this WAN.
fn translate(desired: &Desired, interface: &DesiredInterface, path: &DesiredPath) -> Rule {
    let mut statements = vec![family_is(path.family)];
    let own: Vec<AddressRange> = at_home(path).collect();
    if !own.is_empty() {
        statements.push(source_is(false, path.family, own));
    }
    if path.family == Family::V6 && desired.masquerade == MasqueradePlan::Auto {
        statements.push(source_is(true, path.family, foreign_sources(&desired.interfaces, interface.id)));
    }
    statements.push(Statement::Masquerade);
    rule(&interface.name, statements)
}

/// IPv6 sources that cannot be valid beyond WAN `id`: unique local ones (RFC 4193) and other WANs' own.
fn foreign_sources(interfaces: &[DesiredInterface], id: u32) -> Vec<AddressRange> {
    let of = |wanted: bool| {
        interfaces
            .iter()
            .filter(move |i| (i.id == id) == wanted)
            .flat_map(|i| i.paths.iter().filter(|p| p.family == Family::V6).flat_map(|p| &p.addresses))
            .map(IpNet::trunc)
    };
    let at_home: BTreeSet<IpNet> = of(true).gather();
    let others = interfaces.iter().filter(|i| i.id != id).flat_map(|i| &i.paths);
    let routed = others.filter(|p| p.family == Family::V6).flat_map(|p| p.routed.iter().copied());
    let nets = std::iter::once(UNIQUE_LOCAL).chain(of(false).filter(|net| !at_home.contains(net)));
    nets.map(of_net).chain(routed).collect()
}
