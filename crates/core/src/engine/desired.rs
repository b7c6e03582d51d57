//! What should be in the kernel, from what is known now.

use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::{AddressRange, Family, Masquerade, Rule};

use super::{Core, Wan};
use crate::path::Path;
use crate::policy::{Candidate, carrier};
use crate::sources;
use crate::{
    Desired, DesiredInterface, DesiredPath, DesiredPolicy, DesiredRule, Home, LocalSource, Marks,
    MasqueradePlan, NetView, PathKey,
};

/// The kernel's main table.
const TABLE_MAIN: u32 = 254;

impl Core {
    /// Everything that should be in the kernel now, sharing with `last` what did not change.
    pub(super) fn wanted(&self, net: &NetView, last: Option<&Desired>) -> Desired {
        let globals = &self.config.globals;
        let masquerade = match globals.masquerade {
            _ if !globals.enabled => MasqueradePlan::Off,
            Masquerade::On => MasqueradePlan::Everything,
            Masquerade::Auto if self.platform.translate => MasqueradePlan::Auto,
            Masquerade::Auto | Masquerade::Off => MasqueradePlan::Off,
        };
        let interfaces = match last.filter(|_| !self.dirty.interfaces) {
            Some(last) => last.interfaces.clone(),
            None => {
                let interfaces = self.wans.iter().map(|wan| self.desired_interface(net, wan)).collect();
                shared(interfaces, last.map(|l| &l.interfaces))
            }
        };
        let homes = globals
            .source_routing
            .then(|| shared(self.homes(&interfaces), last.and_then(|l| l.homes.as_ref())));
        Desired {
            generation: last.map_or(0, |l| l.generation),
            off: !globals.enabled,
            marks: Marks::new(globals.mask),
            rule_base: globals.rule_base,
            interfaces,
            policies: shared(self.desired_policies(), last.map(|l| &l.policies)),
            rules: match last.filter(|_| !self.dirty.rules) {
                Some(last) => last.rules.clone(),
                None => shared(self.desired_rules(net), last.map(|l| &l.rules)),
            },
            sets: kept(&self.config.sets, last.map(|l| &l.sets)),
            connected: kept(&net.connected, last.map(|l| &l.connected)),
            custom: kept(&net.custom, last.map(|l| &l.custom)),
            homes: homes.filter(|_| globals.enabled),
            local_source: self.local_sources(net),
            masquerade,
        }
    }

    /// The policies and what carries them. `enabled 0` in the globals: none, or they would lead all
    /// traffic to their last resort.
    fn desired_policies(&self) -> Vec<DesiredPolicy> {
        let candidate = |id, family| {
            let path = self.paths.get(&PathKey { id, family })?;
            Some(Candidate { id, usable: path.usable(), preferred: path.preferred() })
        };
        let policies = self.config.policies.iter().filter(|_| self.config.globals.enabled);
        policies
            .zip(&self.members)
            .map(|(policy, members)| {
                let of = |family| carrier(policy, |at| candidate((*members.ids.get(at)?)?, family));
                DesiredPolicy {
                    name: policy.name.clone(),
                    members: members.interfaces.clone(),
                    v4: of(Family::V4),
                    v6: of(Family::V6),
                }
            })
            .collect()
    }

    fn desired_interface(&self, net: &NetView, wan: &Wan) -> DesiredInterface {
        let interface = &self.config.interfaces[wan.index];
        let addresses = |family| {
            let link = net.links.get(&wan.device);
            let all = link.map(|l| l.addresses.as_slice()).unwrap_or_default();
            let own = all.iter().filter(|a| Family::of(a.ip) == family && a.global);
            own.filter_map(|a| ipnet::IpNet::new(a.ip, a.prefix_len).ok()).collect()
        };
        let paths = interface
            .families
            .iter()
            .map(|family| DesiredPath {
                family,
                route: self.next_hop(PathKey { id: wan.id, family }),
                addresses: addresses(family),
                routed: self.routed(wan, family),
            })
            .collect();
        let table = self.config.globals.table_base + wan.id;
        DesiredInterface { id: wan.id, table, name: wan.name.clone(), device: wan.device.clone(), paths }
    }

    /// What is routed to us by an interface: as the configuration says, and prefixes that were delegated by it.
    fn routed(&self, wan: &Wan, family: Family) -> Vec<AddressRange> {
        let configured = self.config.interfaces[wan.index].routed_networks.iter().copied();
        let manager = self.view.as_ref().and_then(|view| view.serving(&wan.name, family));
        let delegated = manager.iter().flat_map(|(_, logical)| &logical.prefixes);
        let delegated = delegated.map(|net| AddressRange { first: net.network(), last: net.broadcast() });
        let mut all: Vec<_> =
            configured.chain(delegated).filter(|range| Family::of(range.first) == family).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sources at home on a usable WAN: its addresses, what is routed by it, and IPv6 networks on its link (a LAN may share
    /// them by a neighbour discovery proxy, RFC 4389). Those of one that is not usable go where the rules say.
    fn homes(&self, interfaces: &[DesiredInterface]) -> Vec<Home> {
        let of = |family: Family| {
            let mut homes = Vec::new();
            for interface in interfaces {
                let id = interface.id;
                let usable = self.paths.get(&PathKey { id, family }).is_some_and(Path::usable);
                for path in interface.paths.iter().filter(|path| usable && path.family == family) {
                    let hosts = path.addresses.iter().map(|net| IpNet::from(net.addr()));
                    let links = path.addresses.iter().filter(|_| family == Family::V6).copied();
                    let nets = hosts.chain(links);
                    let ranges = nets.map(|net| AddressRange { first: net.network(), last: net.broadcast() });
                    homes.extend(ranges.chain(path.routed.iter().copied()).map(|range| Home { range, id }));
                }
            }
            sources::disjoint(&homes)
        };
        Family::ALL.into_iter().flat_map(of).collect()
    }

    /// The addresses that stand for the router's own. An interface without one of a family (or that is not there) leaves
    /// that family as it is.
    fn local_sources(&self, net: &NetView) -> Vec<LocalSource> {
        let globals = &self.config.globals;
        let name = globals.local_source.as_ref().filter(|_| globals.enabled);
        let device = name.and_then(|name| self.device_of(net, name));
        let link = device.and_then(|device| net.links.get(&device));
        let of = |family| {
            let address = link?.source(family)?;
            let main = net.defaults.iter().filter(|d| d.family == family && d.table == TABLE_MAIN);
            let first = main.min_by_key(|d| d.metric).map(|d| d.device.as_str());
            let unbound = self.wans.iter().find(|wan| Some(wan.device.as_str()) == first).map(|wan| wan.id);
            Some(LocalSource { address, unbound })
        };
        Family::ALL.into_iter().filter_map(of).collect()
    }

    /// The kernel device of a logical interface, also of one that is no WAN.
    #[inline(never)]
    pub(super) fn device_of(&self, net: &NetView, name: &str) -> Option<String> {
        let wan = self.wans.iter().find(|w| w.name == name).map(|w| w.device.clone());
        let managed = || self.view.as_ref()?.interfaces.get(name)?.device.clone();
        wan.or_else(managed).or_else(|| net.links.contains_key(name).then(|| name.to_owned()))
    }

    fn next_hop(&self, key: PathKey) -> Option<crate::NextHop> {
        self.paths.get(&key)?.ready.as_ref().map(|r| r.next_hop)
    }

    /// The rules that wait for an interface whose device is not known, and that interface's name.
    pub fn waiting_rules(&self) -> Vec<(&Rule, &str)> {
        let mut waiting = Vec::new();
        let Some(net) = self.net.as_deref().filter(|_| self.config.globals.enabled) else { return waiting };
        for rule in &self.config.rules {
            let Some(name) = rule.source_interface.as_deref() else { continue };
            if self.device_of(net, name).is_none() {
                waiting.push((rule, name));
            }
        }
        waiting
    }

    /// Rules whose names can be resolved now; the others wait ([`Core::waiting_rules`]; mwan3 does the same).
    fn desired_rules(&self, net: &NetView) -> Vec<DesiredRule> {
        let globals = &self.config.globals;
        self.config
            .rules
            .iter()
            .filter(|_| globals.enabled)
            .filter_map(|rule| {
                let source_device = match &rule.source_interface {
                    None => None,
                    Some(name) => Some(self.device_of(net, name)?),
                };
                let log = (rule.logging && globals.logging).then_some(globals.loglevel);
                Some(DesiredRule { rule: rule.clone(), source_device, log })
            })
            .collect()
    }
}

/// `new`, or the old value's pointer if it is equal.
fn shared<T: PartialEq>(new: T, old: Option<&Arc<T>>) -> Arc<T> {
    kept(&Arc::new(new), old)
}

/// `new`, or the old value's pointer if it is equal.
fn kept<T: PartialEq>(new: &Arc<T>, old: Option<&Arc<T>>) -> Arc<T> {
    match old {
        Some(old) if Arc::ptr_eq(old, new) || old == new => old.clone(),
        _ => new.clone(),
    }
}
