//! Sets: destinations that are never policy-routed, those of the owner, and those that sticky rules fill.

use std::collections::BTreeMap;
use std::sync::Arc;

use mwan_config::Family;
use mwan_core::Desired;

use super::digit;
use crate::nft::*;
use crate::ranges::{merge, of_net};
use crate::{Program, named, sticky};

/// Names of the sets of destinations that are never policy-routed.
pub(super) const SET_NAMES: [&str; 3] = ["connected", "custom", "dynamic"];

pub(super) fn set_name(name: &str, family: Family) -> String {
    format!("{name}.{}", digit(family))
}

/// All named sets, those that did not change shared with the program before.
pub(super) fn sets(desired: &Desired, old: Option<(&Desired, &Program)>) -> BTreeMap<String, Arc<Set>> {
    let before = |name: &str| old.and_then(|(_, program)| program.table.sets.get(name));
    let mut sets = networks(desired, old);
    let same_sets = old.filter(|(old, _)| Arc::ptr_eq(&old.sets, &desired.sets));
    for named in desired.sets.iter() {
        let unchanged = same_sets.is_some() || old.is_some_and(|(old, _)| named::unchanged(named, &old.sets));
        let unchanged = unchanged && old.is_some_and(|(old, _)| old.marks == desired.marks);
        let same = named::parts(named).into_iter().map(|(name, ..)| {
            let set = before(&name).filter(|_| unchanged)?.clone();
            Some((name, set))
        });
        let new = || {
            named::sets(named, desired.marks).into_iter().map(|(name, set)| (name, Arc::new(set))).collect()
        };
        sets.extend(same.collect::<Option<Vec<_>>>().unwrap_or_else(new));
    }
    for (name, set) in sticky::sets(desired) {
        let same = before(&name).filter(|before| ***before == set).cloned();
        sets.insert(name, same.unwrap_or_else(|| Arc::new(set)));
    }
    sets
}

/// The sets of destinations that are never policy-routed.
fn networks(desired: &Desired, old: Option<(&Desired, &Program)>) -> BTreeMap<String, Arc<Set>> {
    let same = |(old, _): &(&Desired, &Program)| {
        Arc::ptr_eq(&old.connected, &desired.connected) && Arc::ptr_eq(&old.custom, &desired.custom)
    };
    let old = old.filter(same);
    let mut sets = BTreeMap::new();
    for family in Family::ALL {
        for name in SET_NAMES {
            if let Some(before) = old.and_then(|(_, program)| program.table.sets.get(&set_name(name, family)))
            {
                sets.insert(set_name(name, family), before.clone());
                continue;
            }
            let nets = match name {
                "connected" => Some(&desired.connected),
                "custom" => Some(&desired.custom),
                _ => None,
            };
            let elements = nets.map(|nets| {
                let ranges = nets.iter().map(|net| of_net(*net));
                merge(ranges.filter(|r| Family::of(r.first) == family)).into_iter().collect()
            });
            let kind = SetKind::ranges(family);
            sets.insert(set_name(name, family), Arc::new(Set { kind, elements }));
        }
    }
    sets
}
