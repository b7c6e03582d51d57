//! What has to change so that the kernel has a program: nothing if it has it already (I1).
//!
//! Rules are compared by their tags, which hold a hash of all they do; nobody guesses from what the kernel
//! prints.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mwan_config::{AddressRange, Family};

use crate::nft::*;
use crate::routing::{IpRule, Route, RoutingOp};
use crate::{Observed, Program};

/// Changes in the order they are made. Any prefix of them leaves traffic no worse than before (I5): routes and
/// rules exist before a mark leads to them and go after the last one does.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ops {
    /// Routes and rules to add, one by one; routes that take the place of ours removed.
    pub add: Vec<RoutingOp>,
    /// One transaction.
    pub nft: Vec<NftOp>,
    /// Rules and routes to remove, one by one.
    pub remove: Vec<RoutingOp>,
}

impl Ops {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.add.is_empty() && self.nft.is_empty() && self.remove.is_empty()
    }
}

/// From one program to the next. Sections that are the same value are not looked into.
pub fn diff(old: &Program, new: &Program) -> Ops {
    let same = |at: usize| match (old.table.sections.get(at), new.table.sections.get(at)) {
        (Some(old), Some(new)) => Arc::ptr_eq(old, new),
        _ => false,
    };
    let changed = |table: &'_ Table| -> Vec<Arc<Section>> {
        table.sections.iter().enumerate().filter(|(at, _)| !same(*at)).map(|(_, s)| s.clone()).collect()
    };
    let (old_sections, new_sections) = (changed(&old.table), changed(&new.table));
    let mut have = Have { chains: BTreeMap::new(), counters: BTreeSet::new(), sets: BTreeMap::new() };
    for section in &old_sections {
        have.counters.extend(section.counters.iter().map(String::as_str));
        let chains = section.chains.iter().map(|(name, chain)| {
            let tags = chain.rules.iter().map(|r| r.tag.as_str()).collect();
            (name.as_str(), HaveChain { hook: chain.hook, tags })
        });
        have.chains.extend(chains);
    }
    for (name, set) in &old.table.sets {
        if new.table.sets.get(name).is_some_and(|n| Arc::ptr_eq(n, set)) {
            continue;
        }
        have.sets.insert(name, HaveSet { family: Some(set.family), elements: set.elements.as_ref() });
    }
    let wanted_sets: Vec<(&String, &Set)> = new
        .table
        .sets
        .iter()
        .filter(|(name, set)| old.table.sets.get(*name).is_none_or(|o| !Arc::ptr_eq(o, set)))
        .map(|(name, set)| (name, set.as_ref()))
        .collect();
    let nft = table_ops(&new_sections, &wanted_sets, &have).unwrap_or_else(|| replace_table(&new.table));
    let mut ops = Ops { nft, ..Ops::default() };
    let mut stale = Vec::new();
    if !Arc::ptr_eq(&old.routes, &new.routes) {
        route_ops(old.routes.iter(), new, &mut ops.add, &mut stale);
    }
    if !Arc::ptr_eq(&old.rules, &new.rules) {
        rule_ops(old.rules.iter(), new, &mut ops);
    }
    ops.remove.extend(stale.into_iter().map(RoutingOp::DeleteRoute));
    ops
}

/// From what the kernel has to a program.
pub fn diff_observed(observed: &Observed, new: &Program) -> Ops {
    let nft = match &observed.table {
        None => create_table(&new.table),
        Some(table) => {
            let sets: Vec<(&String, &Set)> = new.table.sets.iter().map(|(n, s)| (n, s.as_ref())).collect();
            table_ops(&new.table.sections, &sets, &Have::observed(table))
                .unwrap_or_else(|| replace_table(&new.table))
        }
    };
    let mut ops = Ops { nft, ..Ops::default() };
    let mut stale = Vec::new();
    route_ops(observed.routing.routes.iter(), new, &mut ops.add, &mut stale);
    rule_ops(observed.routing.rules.iter(), new, &mut ops);
    ops.remove.extend(stale.into_iter().map(RoutingOp::DeleteRoute));
    ops
}

/// Removes everything of ours; needs no configuration (I7).
pub fn cleanup(observed: &Observed) -> Ops {
    let rules = observed.routing.rules.iter().cloned().map(RoutingOp::DeleteRule);
    let routes = observed.routing.routes.iter().cloned().map(RoutingOp::DeleteRoute);
    Ops {
        add: Vec::new(),
        nft: observed.table.iter().map(|_| NftOp::DeleteTable).collect(),
        remove: rules.chain(routes).collect(),
    }
}

/// The parts of the present table that may have to change.
struct Have<'a> {
    chains: BTreeMap<&'a str, HaveChain<'a>>,
    counters: BTreeSet<&'a str>,
    sets: BTreeMap<&'a str, HaveSet<'a>>,
}

struct HaveChain<'a> {
    hook: Option<Hook>,
    tags: Vec<&'a str>,
}

struct HaveSet<'a> {
    family: Option<Family>,
    elements: Option<&'a BTreeSet<AddressRange>>,
}

impl<'a> Have<'a> {
    fn observed(table: &'a ObservedTable) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| {
            let tags = chain.tags.iter().map(String::as_str).collect();
            (name.as_str(), HaveChain { hook: chain.hook, tags })
        });
        let sets = table.sets.iter().map(|(name, set)| {
            (name.as_str(), HaveSet { family: set.family, elements: Some(&set.elements) })
        });
        Have {
            chains: chains.collect(),
            counters: table.counters.iter().map(String::as_str).collect(),
            sets: sets.collect(),
        }
    }
}

fn create_table(table: &Table) -> Vec<NftOp> {
    let nothing = Have { chains: BTreeMap::new(), counters: BTreeSet::new(), sets: BTreeMap::new() };
    let sets: Vec<(&String, &Set)> = table.sets.iter().map(|(n, s)| (n, s.as_ref())).collect();
    let mut ops = vec![NftOp::AddTable];
    ops.extend(table_ops(&table.sections, &sets, &nothing).unwrap_or_default());
    ops
}

/// Somebody turned one of our names into something else: start afresh, still in one transaction.
fn replace_table(table: &Table) -> Vec<NftOp> {
    let mut ops = vec![NftOp::DeleteTable];
    ops.extend(create_table(table));
    ops
}

/// `None`: an object of our name has another nature, which cannot be changed in place.
fn table_ops(sections: &[Arc<Section>], sets: &[(&String, &Set)], have: &Have<'_>) -> Option<Vec<NftOp>> {
    let wanted: BTreeMap<&str, &Chain> =
        sections.iter().flat_map(|s| s.chains.iter().map(|(n, c)| (n.as_str(), c.as_ref()))).collect();
    let counters: BTreeSet<&str> =
        sections.iter().flat_map(|s| s.counters.iter().map(String::as_str)).collect();
    let mut ops = Vec::new();
    ops.extend(counters.difference(&have.counters).map(|n| NftOp::AddCounter((*n).to_owned())));
    set_ops(sets, have, &mut ops)?;
    let mut flush = Vec::new();
    let mut rules = Vec::new();
    for (name, chain) in &wanted {
        let present = have.chains.get(name);
        match present {
            None => ops.push(NftOp::AddChain { name: (*name).to_owned(), hook: chain.hook }),
            Some(present) if present.hook != chain.hook => return None,
            Some(present) if present.tags.iter().copied().eq(chain.rules.iter().map(|r| r.tag.as_str())) => {
                continue;
            }
            Some(present) if present.tags.is_empty() => {}
            Some(_) => flush.push(NftOp::FlushChain((*name).to_owned())),
        }
        let add = |rule: &Rule| NftOp::AddRule { chain: (*name).to_owned(), rule: rule.clone() };
        rules.extend(chain.rules.iter().map(add));
    }
    let stale: Vec<String> =
        have.chains.keys().filter(|n| !wanted.contains_key(*n)).map(|n| (*n).to_owned()).collect();
    flush.extend(stale.iter().cloned().map(NftOp::FlushChain));
    ops.extend(flush);
    ops.extend(rules);
    // Sets before chains: somebody's verdict map may still lead to one of them.
    let wanted_sets: BTreeSet<&str> = sets.iter().map(|(name, _)| name.as_str()).collect();
    let stale_sets = have.sets.keys().filter(|name| !wanted_sets.contains(*name));
    ops.extend(stale_sets.map(|name| NftOp::DeleteSet((*name).to_owned())));
    ops.extend(stale.into_iter().map(NftOp::DeleteChain));
    ops.extend(have.counters.difference(&counters).map(|n| NftOp::DeleteCounter((*n).to_owned())));
    Some(ops)
}

fn set_ops(sets: &[(&String, &Set)], have: &Have<'_>, ops: &mut Vec<NftOp>) -> Option<()> {
    let nothing = BTreeSet::new();
    for (name, set) in sets {
        let family = set.family;
        let present = have.sets.get(name.as_str());
        match present {
            None => ops.push(NftOp::AddSet { name: (*name).clone(), family }),
            Some(present) if present.family != Some(family) => return None,
            Some(_) => {}
        }
        let Some(wanted) = &set.elements else { continue };
        let present = present.and_then(|p| p.elements).unwrap_or(&nothing);
        // Deletions first: an interval that grows would overlap its former self.
        let gone: Vec<AddressRange> = present.difference(wanted).copied().collect();
        if !gone.is_empty() {
            ops.push(NftOp::DeleteElements { set: (*name).clone(), family, elements: gone });
        }
        let new: Vec<AddressRange> = wanted.difference(present).copied().collect();
        if !new.is_empty() {
            ops.push(NftOp::AddElements { set: (*name).clone(), family, elements: new });
        }
    }
    Some(())
}

fn rule_ops<'a>(rules: impl Iterator<Item = &'a IpRule>, new: &Program, ops: &mut Ops) {
    let mut seen = BTreeSet::new();
    let mut gone = Vec::new();
    for rule in rules {
        // The kernel keeps a multiset; a second copy is as superfluous as an unwanted rule.
        if !seen.insert(rule) || !new.rules.contains(rule) {
            gone.push(rule.clone());
        }
    }
    // From the last priority to the first: a mark never meets its "unreachable" when its table is gone
    // already.
    gone.sort_by_key(|rule| Reverse(rule.priority));
    ops.remove.extend(gone.into_iter().map(RoutingOp::DeleteRule));
    ops.add.extend(new.rules.iter().filter(|r| !seen.contains(r)).cloned().map(RoutingOp::AddRule));
}

/// A table has one default. Another one is replaced in place, so that there is no moment without; what else
/// somebody put there with our protocol number goes right away, the default of a table that shall be empty
/// at the end.
fn route_ops<'a>(
    routes: impl Iterator<Item = &'a Route>,
    new: &Program,
    add: &mut Vec<RoutingOp>,
    stale: &mut Vec<Route>,
) {
    type Tables<'r> = BTreeMap<(Family, u32), Vec<&'r Route>>;
    let mut present: Tables<'_> = BTreeMap::new();
    for route in routes {
        present.entry((route.family, route.table)).or_default().push(route);
    }
    for route in new.routes.iter() {
        let there = present.get_mut(&(route.family, route.table));
        match there.and_then(|there| there.iter().position(|r| *r == route).map(|at| there.remove(at))) {
            Some(_) => {}
            None => {
                add.push(RoutingOp::SetRoute(route.clone()));
                // `replace` takes the place of the first one.
                present.entry((route.family, route.table)).and_modify(|there| {
                    there.drain(..there.len().min(1));
                });
            }
        }
    }
    let wanted: BTreeSet<(Family, u32)> = new.routes.iter().map(|r| (r.family, r.table)).collect();
    for (table, routes) in present {
        if wanted.contains(&table) {
            add.extend(routes.into_iter().cloned().map(RoutingOp::DeleteRoute));
        } else {
            stale.extend(routes.into_iter().cloned());
        }
    }
}
