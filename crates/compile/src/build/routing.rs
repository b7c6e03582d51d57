//! ip rules and routes.

use std::collections::BTreeSet;

use mwan_config::Family;
use mwan_core::{Desired, DesiredInterface};

use crate::routing::{IpRule, Route, RuleAction, TABLE_MAIN};

pub(super) fn ip_rules(desired: &Desired) -> BTreeSet<IpRule> {
    let base = desired.rule_base;
    let marks = desired.marks;
    let mut rules = BTreeSet::new();
    for family in Family::ALL {
        let plain =
            |priority, action| IpRule { family, priority, fwmark: None, iif: None, oif: None, action };
        let marked = |priority, id, action| IpRule {
            fwmark: Some((marks.of(id), marks.mask())),
            ..plain(priority, action)
        };
        let present = |i: &&DesiredInterface| i.paths.iter().any(|p| p.family == family);
        for i in desired.interfaces.iter().filter(present) {
            let lookup = RuleAction::Lookup(i.table);
            let device = Some(i.device.clone());
            if base.iif_rules {
                rules.insert(IpRule { iif: device.clone(), ..plain(base.iif + i.id, lookup) });
            }
            rules.insert(marked(base.fwmark + i.id, i.id, lookup));
            // Behind the marks, so that it costs marked packets nothing: a socket bound to a device never finds a
            // route in another WAN's table (fib_lookup_good_nhc compares the device) and arrives here.
            rules.insert(IpRule { oif: device, ..plain(base.oif + i.id, lookup) });
            rules.insert(marked(base.unreachable + i.id, i.id, RuleAction::Unreachable));
        }
        if desired.interfaces.iter().any(|i| present(&i)) {
            rules.insert(plain(base.connected, RuleAction::LookupSpecific(TABLE_MAIN)));
        }
        for (id, action) in
            [(marks.blackhole_id(), RuleAction::Blackhole), (marks.unreachable_id(), RuleAction::Unreachable)]
        {
            rules.insert(marked(base.fwmark + id.min(LAST_RESORT_OFFSET_MAX), id, action));
        }
    }
    rules
}

/// Wide masks have huge values for unreachable and blackhole; their rules must stay in the band, of which the
/// configuration guarantees no more than this. Both may share the priority: they match different marks.
const LAST_RESORT_OFFSET_MAX: u32 = 254;

pub(super) fn routes(interfaces: &[DesiredInterface]) -> BTreeSet<Route> {
    let paths = interfaces.iter().flat_map(|i| i.paths.iter().map(move |p| (i, p)));
    paths
        .filter_map(|(i, path)| {
            Some(Route {
                family: path.family,
                table: i.table,
                device: i.device.clone(),
                gateway: path.route?.gateway,
            })
        })
        .collect()
}
