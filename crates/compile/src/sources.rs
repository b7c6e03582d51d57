//! What decides by the source before the rules do, and how rules judge the router's own traffic.
//!
//! ```text
//! source.4   source vmap { home of a WAN : goto set.ID }, goto rules.4        source_routing
//! own.4      the same, then the rules as if the packet came from local_source  output only
//! ```
//!
//! They are chains of their own: nobody pays for them who does not use them, only first packets of flows come by, and a
//! failover replaces nothing else.

use std::sync::Arc;

use mwan_config::{AddressMatch, Family};
use mwan_core::{Desired, DesiredRule};

use crate::build::{digit, family_is, first_match, goto, rule, rules_chain, set_chain};
use crate::nft::*;
use crate::shape::Shape;

/// The chain where the decision about a new flow of `family` begins; `own`: of the router itself.
pub(crate) fn entry(desired: &Desired, family: Family, own: bool) -> String {
    if own && desired.local_source(family).is_some() {
        format!("own.{}", digit(family))
    } else if desired.homes.is_some() {
        format!("source.{}", digit(family))
    } else {
        rules_chain(family)
    }
}

/// The chains that are in use.
pub(crate) fn section(desired: &Desired) -> Section {
    let mut section = Section::default();
    for family in Family::ALL {
        if desired.homes.is_some() {
            let mut rules = homes(desired, family, false);
            rules.push(rule("rules", vec![goto(&rules_chain(family))]));
            section.chains.insert(entry(desired, family, false), Arc::new(Chain { hook: None, rules }));
        }
        if desired.local_source(family).is_some() {
            let mut rules = homes(desired, family, true);
            rules.extend(judged_by_local_source(desired, family));
            section.chains.insert(entry(desired, family, true), Arc::new(Chain { hook: None, rules }));
        }
    }
    section
}

/// One lookup of the source.
fn homes(desired: &Desired, family: Family, own: bool) -> Vec<Rule> {
    let to = |id| Verdict::Goto(set_chain(desired.marks, id));
    let elements: Vec<_> =
        desired.homes(family, own).map(|home| (vec![Value::Address(home.range)], to(home.id))).collect();
    if elements.is_empty() {
        return Vec::new();
    }
    let lookup = Statement::Vmap { key: vec![Selector::Source(family)], elements };
    vec![rule("at home", vec![family_is(family), lookup])]
}

/// The rules, their question for the source answered beforehand.
fn judged_by_local_source(desired: &Desired, family: Family) -> Vec<Rule> {
    let Some(local) = desired.local_source(family) else { return Vec::new() };
    let within = |wanted: &AddressMatch| {
        let holds = wanted
            .ranges
            .iter()
            .any(|r| Family::of(r.first) == family && r.first <= local.address && local.address <= r.last);
        holds != wanted.negated
    };
    let judged = |found: &DesiredRule| {
        let set = found.rule.source_set.as_ref();
        let set = set.and_then(|name| desired.sets.iter().find(|set| set.name == *name));
        let listed =
            set.map(|set| set.entries.iter().any(|r| r.first <= local.address && local.address <= r.last));
        let mut rule = found.rule.clone();
        let matches = rule.source.take().is_none_or(|wanted| within(&wanted))
            && match listed {
                Some(true) => rule.source_set.take().is_some(),
                // What a resolver learned is not known here; such a set is asked for the packet's own source.
                Some(false) => set.is_some_and(|set| !set.domains.is_empty()),
                None => true,
            };
        matches.then(|| DesiredRule { rule, source_device: found.source_device.clone(), log: found.log })
    };
    let shapes = desired.rules.iter().enumerate().filter_map(|(index, found)| {
        let found = judged(found)?;
        Some((index, Shape::of(&found, family, &desired.sets, desired.marks)?))
    });
    first_match(shapes.collect(), &desired.rules, family, &mut None)
}
