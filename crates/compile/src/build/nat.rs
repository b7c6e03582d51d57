//! Translation of sources, where that is ours.

use std::collections::BTreeSet;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::{AddressRange, Family};
use mwan_core::{Desired, DesiredInterface, DesiredPath, MasqueradePlan};

use super::{by_device, devices, family_is, rule};
use crate::nft::*;
use crate::ranges::{merge, of_net};

/// `srcnat`.
const PRIORITY_SRCNAT: i32 = 100;

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
    let hook = Hook { kind: HookKind::Nat, point: HookPoint::Postrouting, priority: PRIORITY_SRCNAT };
    let rules = by_device("by device", Selector::OutputDevice, chains);
    section.chains.insert("postrouting".to_owned(), Arc::new(Chain { hook: Some(hook), rules }));
    section
}

/// Which sources of one family are translated when they leave by this WAN.
fn translate(desired: &Desired, interface: &DesiredInterface, path: &DesiredPath) -> Rule {
    let mut statements = vec![family_is(path.family)];
    let source = |equal, ranges: Vec<AddressRange>| {
        let values = merge(ranges).into_iter().map(Value::Address).collect();
        Statement::Match { selector: Selector::Source(path.family), equal, values }
    };
    let own = path.addresses.iter().map(|a| of_net(IpNet::from(a.addr())));
    let own: Vec<AddressRange> = own.chain(path.routed.iter().copied()).collect();
    if !own.is_empty() {
        statements.push(source(false, own));
    }
    if path.family == Family::V6 && desired.masquerade == MasqueradePlan::Auto {
        statements.push(source(true, foreign_sources(&desired.interfaces, interface.id)));
    }
    statements.push(Statement::Masquerade);
    rule(&interface.name, statements)
}

/// IPv6 sources that cannot be valid beyond WAN `id`: unique local ones (RFC 4193) and other WANs' own.
fn foreign_sources(interfaces: &[DesiredInterface], id: u32) -> Vec<AddressRange> {
    const UNIQUE_LOCAL: IpNet =
        IpNet::V6(ipnet::Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xfc00, 0, 0, 0, 0, 0, 0, 0), 7));
    let of = |wanted: bool| {
        interfaces
            .iter()
            .filter(move |i| (i.id == id) == wanted)
            .flat_map(|i| i.paths.iter().filter(|p| p.family == Family::V6).flat_map(|p| &p.addresses))
            .map(IpNet::trunc)
    };
    let at_home: BTreeSet<IpNet> = of(true).collect();
    let others = interfaces.iter().filter(|i| i.id != id).flat_map(|i| &i.paths);
    let routed = others.filter(|p| p.family == Family::V6).flat_map(|p| p.routed.iter().copied());
    let nets = std::iter::once(UNIQUE_LOCAL).chain(of(false).filter(|net| !at_home.contains(net)));
    nets.map(of_net).chain(routed).collect()
}
