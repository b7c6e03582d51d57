//! What has to change so that the kernel has a program: nothing if it has it already (I1).
//!
//! Rules are compared by their tags, which hold a hash of all they do; nobody guesses from what the kernel
//! prints.

use mwan_config::{Gather, sort_short};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mwan_config::{AddressRange, Family};

use crate::nft::*;
use crate::routing::{Foreign, IpRule, ObservedRouting, Route, RoutingOp};
use crate::{Observed, Program};

/// Changes in the order they are made. Any prefix of them leaves traffic no worse than before (I5): routes and
/// rules exist before a mark leads to them and go after the last one does.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Ops {
    /// Routes and rules to add, one by one; what takes the place of ours removed.
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
    // A set of another kind is made anew, and so are the rules that use it, wherever they are.
    let kinds = new.table.sets.iter().any(|(name, set)| {
        old.table.sets.get(name).is_some_and(|o| !Arc::ptr_eq(o, set) && o.kind != set.kind)
    });
    let same = |at: usize| match (old.table.sections.get(at), new.table.sections.get(at)) {
        (Some(old), Some(new)) => !kinds && Arc::ptr_eq(old, new),
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
            (name.as_str(), HaveChain { base: Base::ours(chain.hook), tags })
        });
        have.chains.extend(chains);
    }
    for (name, set) in &old.table.sets {
        if new.table.sets.get(name).is_some_and(|n| Arc::ptr_eq(n, set)) {
            continue;
        }
        let elements = set.elements.as_ref();
        have.sets.insert(name, HaveSet { kind: Some(set.kind), elements, others: false });
    }
    let wanted_sets: Vec<(&String, &Set)> = new
        .table
        .sets
        .iter()
        .filter(|(name, set)| old.table.sets.get(*name).is_none_or(|o| !Arc::ptr_eq(o, set)))
        .map(|(name, set)| (name, set.as_ref()))
        .collect();
    let nft = match (old.table.is_empty(), new.table.is_empty()) {
        (true, true) => Vec::new(),
        (true, false) => create_table(&new.table),
        (false, true) => vec![NftOp::DeleteTable],
        (false, false) => {
            table_ops(&new_sections, &wanted_sets, &have).unwrap_or_else(|| replace_table(&new.table, &have))
        }
    };
    let mut ops = Ops { nft, ..Ops::default() };
    let mut stale = Vec::new();
    if !Arc::ptr_eq(&old.routes, &new.routes) {
        route_ops(old.routes.iter(), &[], new, &mut ops.add, &mut stale);
    }
    if !Arc::ptr_eq(&old.rules, &new.rules) {
        rule_ops(old.rules.iter(), new, &mut ops);
    }
    ops.remove.extend(stale);
    ops
}

/// From what the kernel has to a program. If it touches rules or routes, another look is due afterwards: the kernel
/// takes a rule or route that is to be deleted for any it finds that is not contrary to it (rule_find, fib_nh_match).
pub fn diff_observed(observed: &Observed, new: &Program) -> Ops {
    let nft = match &observed.table {
        None if new.table.is_empty() => Vec::new(),
        Some(_) if new.table.is_empty() => vec![NftOp::DeleteTable],
        None => create_table(&new.table),
        Some(table) => {
            let sets: Vec<(&String, &Set)> = new.table.sets.iter().map(|(n, s)| (n, s.as_ref())).collect();
            let have = Have::observed(table);
            match table_ops(&new.table.sections, &sets, &have) {
                // First: nf_tables_updtable refuses when chains are updated before it.
                Some(ops) if table.dormant => [vec![NftOp::AddTable], ops].concat(),
                Some(ops) => ops,
                None => replace_table(&new.table, &have),
            }
        }
    };
    Ops { nft, ..diff_routing(&observed.routing, new) }
}

/// The part of [`diff_observed`] that is about rules and routes.
pub fn diff_routing(observed: &ObservedRouting, new: &Program) -> Ops {
    let mut ops = Ops::default();
    let mut stale = Vec::new();
    route_ops(observed.routes.iter(), &observed.foreign_routes, new, &mut ops.add, &mut stale);
    // Before ours are added: one that only adds selectors makes the kernel say EEXIST (rule_exists compares the
    // selectors of the new rule only), and one turned round by `not` is found in the place of ours.
    ops.add.extend(observed.foreign_rules.iter().cloned().map(RoutingOp::DeleteForeign));
    rule_ops(observed.rules.iter(), new, &mut ops);
    ops.remove.extend(stale);
    ops
}

/// Sets that these changes make anew though others fill them: name and kind. What is in them is to be read and entered again
/// ([`refill`]), or a changed timeout would cost all that a resolver has entered.
pub fn emptied(ops: &Ops, program: &Program) -> Vec<(String, SetKind)> {
    let gone: BTreeSet<&str> = ops
        .nft
        .iter()
        .filter_map(|op| match op {
            NftOp::DeleteSet(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let table = ops.nft.contains(&NftOp::DeleteTable);
    let of_others = |name: &str, kind: SetKind| {
        let set = program.table.sets.get(name);
        // With the table, what was observed in sets of ranges is entered again already: `replace_table`.
        let lost = gone.contains(name) || table && kind.elements != ElementKind::Ranges;
        lost && !kind.is_dynamic() && set.is_some_and(|set| set.elements.is_none())
    };
    let made = ops.nft.iter().filter_map(|op| match op {
        NftOp::AddSet { name, kind } if of_others(name, *kind) => Some((name.clone(), *kind)),
        _ => None,
    });
    made.collect()
}

/// Has these elements entered into a set that is made anew. Their time begins anew, too.
pub fn refill(ops: &mut Ops, set: String, kind: SetKind, elements: Vec<AddressRange>) {
    if !elements.is_empty() {
        ops.nft.push(NftOp::AddElements { set, kind, elements });
    }
}

/// Empties the sets that packets fill and that are to be empty: since the transaction that said so, a packet that was
/// under way may have entered something.
pub fn flush_strays(program: &Program) -> Ops {
    let stray = |set: &Set| set.kind.is_dynamic() && set.elements.as_ref().is_some_and(BTreeSet::is_empty);
    let empty = program.table.sets.iter().filter(|(_, set)| stray(set));
    Ops { nft: empty.map(|(name, _)| NftOp::FlushSet(name.clone())).collect(), ..Ops::default() }
}

/// Removes everything of ours; needs no configuration (I7).
pub fn cleanup(observed: &Observed) -> Ops {
    Ops {
        add: Vec::new(),
        nft: observed.table.iter().map(|_| NftOp::DeleteTable).collect(),
        remove: removal(&observed.routing),
    }
}

/// Removes all rules and routes with our protocol number.
pub fn removal(routing: &ObservedRouting) -> Vec<RoutingOp> {
    let foreign = routing.foreign_rules.iter().chain(&routing.foreign_routes).cloned();
    let rules = routing.rules.iter().cloned().map(RoutingOp::DeleteRule);
    let routes = routing.routes.iter().cloned().map(RoutingOp::DeleteRoute);
    foreign.map(RoutingOp::DeleteForeign).chain(rules).chain(routes).collect()
}

/// The parts of the present table that may have to change.
struct Have<'a> {
    chains: BTreeMap<&'a str, HaveChain<'a>>,
    counters: BTreeSet<&'a str>,
    sets: BTreeMap<&'a str, HaveSet<'a>>,
}

struct HaveChain<'a> {
    base: Base,
    tags: Vec<&'a str>,
}

struct HaveSet<'a> {
    kind: Option<SetKind>,
    /// `None`: it has some, which we do not know.
    elements: Option<&'a BTreeSet<AddressRange>>,
    others: bool,
}

impl<'a> Have<'a> {
    fn observed(table: &'a ObservedTable) -> Self {
        let chains = table.chains.iter().map(|(name, chain)| {
            let tags = chain.tags.iter().map(String::as_str).collect();
            (name.as_str(), HaveChain { base: chain.base, tags })
        });
        let sets = table.sets.iter().map(|(name, set)| {
            let elements = Some(&set.elements);
            (name.as_str(), HaveSet { kind: set.kind, elements, others: set.others })
        });
        Have {
            chains: chains.gather(),
            counters: table.counters.iter().map(String::as_str).gather(),
            sets: sets.gather(),
        }
    }
}

// Never on the way of a failover; several copies of what it calls are larger than the call.
#[inline(never)]
fn create_table(table: &Table) -> Vec<NftOp> {
    let nothing = Have { chains: BTreeMap::new(), counters: BTreeSet::new(), sets: BTreeMap::new() };
    let sets: Vec<(&String, &Set)> = table.sets.iter().map(|(n, s)| (n, s.as_ref())).collect();
    let mut ops = vec![NftOp::AddTable];
    ops.extend(table_ops(&table.sections, &sets, &nothing).unwrap_or_default());
    ops
}

/// Somebody turned one of our names into something else: start afresh, still in one transaction. What others filled
/// in is kept.
fn replace_table(table: &Table, have: &Have<'_>) -> Vec<NftOp> {
    let mut ops = vec![NftOp::DeleteTable];
    ops.extend(create_table(table));
    let kept = |set: &Set| set.elements.is_none() && set.kind.elements == ElementKind::Ranges;
    for (name, set) in table.sets.iter().filter(|(_, set)| kept(set)) {
        let kind = set.kind;
        let there =
            have.sets.get(name.as_str()).filter(|s| s.kind == Some(set.kind)).and_then(|s| s.elements);
        let elements: Vec<AddressRange> = there.into_iter().flatten().copied().collect();
        if !elements.is_empty() {
            ops.push(NftOp::AddElements { set: name.clone(), kind, elements });
        }
    }
    ops
}

/// Whether a rule refers to one of these sets.
fn uses(rule: &Rule, sets: &BTreeSet<&str>) -> bool {
    rule.statements.iter().any(|statement| match statement {
        Statement::InSet { set, .. }
        | Statement::Near { map: set, .. }
        | Statement::Known { set, .. }
        | Statement::Remember { set, .. } => sets.contains(set.as_str()),
        _ => false,
    })
}

/// Sets whose kind is one of ours, but another than wanted: they are removed and made anew in the same transaction.
fn sets_anew<'a>(sets: &[(&'a String, &Set)], have: &Have<'_>) -> BTreeSet<&'a str> {
    let other = |name: &str, set: &Set| {
        have.sets.get(name).is_some_and(|s| s.kind.is_some_and(|kind| kind != set.kind))
    };
    sets.iter().filter(|(name, set)| other(name, set)).map(|(name, _)| name.as_str()).collect()
}

/// `None`: an object of our name has another nature, which cannot be changed in place.
#[inline(never)]
fn table_ops(sections: &[Arc<Section>], sets: &[(&String, &Set)], have: &Have<'_>) -> Option<Vec<NftOp>> {
    let wanted: BTreeMap<&str, &Chain> =
        sections.iter().flat_map(|s| s.chains.iter().map(|(n, c)| (n.as_str(), c.as_ref()))).gather();
    let counters: BTreeSet<&str> =
        sections.iter().flat_map(|s| s.counters.iter().map(String::as_str)).gather();
    let mut ops = Vec::new();
    ops.extend(counters.difference(&have.counters).map(|n| NftOp::AddCounter((*n).to_owned())));
    let anew = sets_anew(sets, have);
    let mut set_changes = Vec::new();
    set_ops(sets, have, &mut set_changes)?;
    if anew.is_empty() {
        ops.append(&mut set_changes);
    }
    let mut flush = Vec::new();
    let mut rules = Vec::new();
    for (name, chain) in &wanted {
        let present = have.chains.get(name);
        let add_chain = || NftOp::AddChain { name: (*name).to_owned(), hook: chain.hook };
        match present.map(|p| (p.base, chain.hook)) {
            None => ops.push(add_chain()),
            Some((base, hook)) if base == Base::ours(hook) => {}
            Some((Base::Dropping(there), Some(hook))) if there == hook => ops.push(add_chain()),
            Some(_) => return None,
        }
        match present {
            None => {}
            Some(present)
                if present.tags.iter().copied().eq(chain.rules.iter().map(|r| r.tag.as_str()))
                    && !chain.rules.iter().any(|rule| uses(rule, &anew)) =>
            {
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
    // No set goes while a rule refers to it.
    ops.append(&mut set_changes);
    ops.extend(rules);
    // Sets before chains: somebody's verdict map may still lead to one of them.
    let wanted_sets: BTreeSet<&str> = sets.iter().map(|(name, _)| name.as_str()).gather();
    let stale_sets = have.sets.keys().filter(|name| !wanted_sets.contains(*name));
    ops.extend(stale_sets.map(|name| NftOp::DeleteSet((*name).to_owned())));
    ops.extend(stale.into_iter().map(NftOp::DeleteChain));
    ops.extend(have.counters.difference(&counters).map(|n| NftOp::DeleteCounter((*n).to_owned())));
    Some(ops)
}

fn set_ops(sets: &[(&String, &Set)], have: &Have<'_>, ops: &mut Vec<NftOp>) -> Option<()> {
    let nothing = BTreeSet::new();
    for (name, set) in sets {
        let kind = set.kind;
        let present = have.sets.get(name.as_str());
        let anew = present.is_some_and(|p| p.kind != Some(set.kind));
        if anew {
            present.and_then(|p| p.kind)?;
            ops.push(NftOp::DeleteSet((*name).clone()));
        }
        if anew || present.is_none() {
            ops.push(NftOp::AddSet { name: (*name).clone(), kind: set.kind });
        }
        let present = present.filter(|_| !anew);
        let Some(wanted) = &set.elements else { continue };
        let others = present.is_some_and(|p| p.others || p.elements.is_none());
        if others {
            ops.push(NftOp::FlushSet((*name).clone()));
        }
        let present = present.filter(|_| !others).and_then(|p| p.elements).unwrap_or(&nothing);
        // Deletions first: an interval that grows would overlap its former self.
        let gone: Vec<AddressRange> = present.difference(wanted).copied().collect();
        if !gone.is_empty() {
            ops.push(NftOp::DeleteElements { set: (*name).clone(), kind, elements: gone });
        }
        let new: Vec<AddressRange> = wanted.difference(present).copied().collect();
        if !new.is_empty() {
            ops.push(NftOp::AddElements { set: (*name).clone(), kind, elements: new });
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
    sort_short(&mut gone, |rule| Reverse(rule.priority));
    ops.remove.extend(gone.into_iter().map(RoutingOp::DeleteRule));
    ops.add.extend(new.rules.iter().filter(|r| !seen.contains(r)).cloned().map(RoutingOp::AddRule));
}

/// A table has one default. Another one is replaced in place, so that there is no moment without; what else
/// somebody put there with our protocol number goes right away, the default of a table that shall be empty
/// at the end.
fn route_ops<'a>(
    routes: impl Iterator<Item = &'a Route>,
    foreign: &[Foreign],
    new: &Program,
    add: &mut Vec<RoutingOp>,
    stale: &mut Vec<RoutingOp>,
) {
    type Tables<'r> = BTreeMap<(Family, u32), Vec<&'r Route>>;
    let mut present: Tables<'_> = BTreeMap::new();
    for route in routes {
        present.entry((route.family, route.table)).or_default().push(route);
    }
    let mut set = BTreeSet::new();
    for route in new.routes.iter() {
        let there = present.get_mut(&(route.family, route.table));
        match there.and_then(|there| there.iter().position(|r| *r == route).map(|at| there.remove(at))) {
            Some(_) => {}
            None => {
                add.push(RoutingOp::SetRoute(route.clone()));
                set.insert((route.family, route.table));
                // `replace` takes the place of the first one.
                present.entry((route.family, route.table)).and_modify(|there| {
                    there.drain(..there.len().min(1));
                });
            }
        }
    }
    let wanted: BTreeSet<(Family, u32)> = new.routes.iter().map(|r| (r.family, r.table)).gather();
    for (table, routes) in present {
        if wanted.contains(&table) {
            add.extend(routes.into_iter().cloned().map(RoutingOp::DeleteRoute));
        } else {
            stale.extend(routes.into_iter().cloned().map(RoutingOp::DeleteRoute));
        }
    }
    for route in foreign {
        let delete = RoutingOp::DeleteForeign(route.clone());
        match (route.family, route.table) {
            // Ours may just have taken its place, and one of several hops could be ours: the next look tells.
            table if set.contains(&table) => {}
            table if wanted.contains(&table) => add.push(delete),
            _ => stale.push(delete),
        }
    }
}
