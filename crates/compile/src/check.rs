//! Facts every program must satisfy before it may reach the kernel. A fault is a bug of ours: it refuses the
//! apply, and tests and the simulation run the same check.

use mwan_config::Gather;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mwan_core::Marks;

use crate::Program;
use crate::nft::*;
use crate::routing::{IpRule, RuleAction};

/// Something a program must never contain.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// A verdict leads to a chain that is not there.
    NoSuchChain {
        /// Where from.
        chain: String,
        /// Where to.
        target: String,
    },
    /// A rule refers to a set or counter that is not there.
    NoSuchObject {
        /// Where from.
        chain: String,
        /// What.
        object: String,
    },
    /// A mark is written outside our mask (I3).
    ForeignBits {
        /// Where.
        chain: String,
    },
    /// A mark is set that no ip rule gives a terminal verdict.
    NoVerdict {
        /// The mark.
        mark: u32,
    },
    /// Two rules of ours with one priority and family that can both match.
    SamePriority {
        /// The priority.
        priority: u32,
    },
    /// Elements of a set overlap.
    Overlap {
        /// The set.
        set: String,
    },
    /// A name appears twice.
    Duplicate {
        /// The name.
        name: String,
    },
    /// A random map does not cover its range exactly.
    Uneven {
        /// Where.
        chain: String,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::NoSuchChain { chain, target } => {
                write!(f, "chain {chain} leads to {target}, which is not there")
            }
            Fault::NoSuchObject { chain, object } => {
                write!(f, "chain {chain} needs {object}, which is not there")
            }
            Fault::ForeignBits { chain } => write!(f, "chain {chain} writes mark bits outside the mask"),
            Fault::NoVerdict { mark } => write!(f, "mark {mark:#x} has no table and no terminal verdict"),
            Fault::SamePriority { priority } => {
                write!(f, "two ip rules at priority {priority} can both match")
            }
            Fault::Overlap { set } => write!(f, "elements of set {set} overlap"),
            Fault::Duplicate { name } => write!(f, "{name} is defined twice"),
            Fault::Uneven { chain } => write!(f, "the weights of chain {chain} leave a gap"),
        }
    }
}

/// Every fault of `program`.
pub fn check(program: &Program, marks: Marks) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut chains: BTreeMap<&str, &Chain> = BTreeMap::new();
    let mut objects: BTreeSet<&str> = program.table.sets.keys().map(String::as_str).gather();
    for section in &program.table.sections {
        for (name, chain) in &section.chains {
            if chains.insert(name, chain).is_some() {
                faults.push(Fault::Duplicate { name: name.clone() });
            }
        }
        for name in &section.counters {
            if !objects.insert(name) {
                faults.push(Fault::Duplicate { name: name.clone() });
            }
        }
    }
    let mut set_marks = BTreeSet::new();
    let names = Names { chain: &|name| chains.contains_key(name), object: &|name| objects.contains(name) };
    for (name, chain) in &chains {
        for statement in chain.rules.iter().flat_map(|r| &r.statements) {
            check_statement(name, statement, &names, marks, &mut faults);
            // None is taken back: there is nothing to lead anywhere.
            if let Statement::SetMark { value, .. } = statement
                && *value != 0
            {
                set_marks.insert(*value);
            }
        }
    }
    check_sets(program, &mut faults);
    check_rules(program, marks, &set_marks, &mut faults);
    faults
}

/// The faults of `new`, given that `old` has none: in a failover only the policies are looked at, so that the check
/// costs nothing that grows with what did not change. Anything else is checked whole.
pub fn check_change(old: &Program, new: &Program, marks: Marks) -> Vec<Fault> {
    let pairs = || old.table.sections.iter().zip(&new.table.sections);
    let changed = || pairs().filter(|(old, new)| !Arc::ptr_eq(old, new));
    let same_sets = old.table.sets.keys().eq(new.table.sets.keys());
    // With the names as before, nothing in an unchanged section can have come to lead nowhere.
    let same_names = old.table.sections.len() == new.table.sections.len()
        && changed().all(|(a, b)| a.chains.keys().eq(b.chains.keys()) && a.counters == b.counters);
    let statements = || {
        let chains = changed().flat_map(|(_, section)| &section.chains);
        chains.flat_map(|(name, chain)| {
            chain.rules.iter().flat_map(move |r| r.statements.iter().map(move |s| (name, s)))
        })
    };
    let sets_marks = statements().any(|(_, s)| matches!(s, Statement::SetMark { .. }));
    if !same_sets || !same_names || sets_marks || old.rules != new.rules {
        return check(new, marks);
    }
    let sections = &new.table.sections;
    let names = Names {
        chain: &|name| sections.iter().any(|s| s.chains.contains_key(name)),
        object: &|name| {
            new.table.sets.contains_key(name) || sections.iter().any(|s| s.counters.contains(name))
        },
    };
    let mut faults = Vec::new();
    for (chain, statement) in statements() {
        check_statement(chain, statement, &names, marks, &mut faults);
    }
    let sets = old.table.sets.values().zip(&new.table.sets);
    for (_, (name, set)) in sets.filter(|(old, (_, new))| !Arc::ptr_eq(old, new)) {
        check_set(name, set, &mut faults);
    }
    faults
}

/// What exists.
struct Names<'a> {
    chain: &'a dyn Fn(&str) -> bool,
    object: &'a dyn Fn(&str) -> bool,
}

fn check_statement(
    chain: &str,
    statement: &Statement,
    names: &Names<'_>,
    marks: Marks,
    faults: &mut Vec<Fault>,
) {
    let targets: Vec<&Verdict> = match statement {
        Statement::Verdict(verdict) => vec![verdict],
        Statement::MarkVmap { elements, .. } => elements.iter().map(|(_, v)| v).collect(),
        Statement::Vmap { elements, .. } => elements.iter().map(|(_, v)| v).collect(),
        Statement::RandomVmap { elements, .. } | Statement::HashVmap { elements, .. } => {
            elements.iter().map(|(_, _, v)| v).collect()
        }
        _ => Vec::new(),
    };
    for verdict in targets {
        if let Verdict::Goto(target) | Verdict::Jump(target) = verdict
            && !(names.chain)(target)
        {
            faults.push(Fault::NoSuchChain { chain: chain.to_owned(), target: target.clone() });
        }
    }
    match statement {
        Statement::Restore { mask } if *mask != marks.mask() => {
            faults.push(Fault::ForeignBits { chain: chain.to_owned() });
        }
        Statement::SetMark { mask, value, .. } if *mask != marks.mask() || value & !mask != 0 => {
            faults.push(Fault::ForeignBits { chain: chain.to_owned() });
        }
        Statement::Counter(object)
        | Statement::InSet { set: object, .. }
        | Statement::Near { map: object, .. }
        | Statement::Known { set: object, .. }
        | Statement::Remember { set: object, .. }
            if !(names.object)(object) =>
        {
            faults.push(Fault::NoSuchObject { chain: chain.to_owned(), object: object.clone() });
        }
        Statement::RandomVmap { modulus, elements } | Statement::HashVmap { modulus, elements, .. } => {
            let mut next = 0;
            let even = elements.iter().all(|(first, last, _)| {
                let fits = *first == next && last >= first;
                next = last.wrapping_add(1);
                fits
            });
            if !even || next != *modulus {
                faults.push(Fault::Uneven { chain: chain.to_owned() });
            }
        }
        _ => {}
    }
}

fn check_sets(program: &Program, faults: &mut Vec<Fault>) {
    program.table.sets.iter().for_each(|(name, set)| check_set(name, set, faults));
}

fn check_set(name: &str, set: &Set, faults: &mut Vec<Fault>) {
    let Some(elements) = &set.elements else { return };
    if elements.iter().zip(elements.iter().skip(1)).any(|(a, b)| b.first <= a.last) {
        faults.push(Fault::Overlap { set: name.to_owned() });
    }
}

fn check_rules(program: &Program, marks: Marks, set_marks: &BTreeSet<u32>, faults: &mut Vec<Fault>) {
    let default = marks.of(marks.default_id());
    for mark in set_marks.iter().filter(|m| **m != default) {
        let of_mark = |r: &&IpRule| r.fwmark == Some((*mark, marks.mask()));
        let ends = |r: &IpRule| matches!(r.action, RuleAction::Unreachable | RuleAction::Blackhole);
        if !program.rules.iter().filter(of_mark).any(ends) {
            faults.push(Fault::NoVerdict { mark: *mark });
        }
    }
    for (a, b) in program.rules.iter().zip(program.rules.iter().skip(1)) {
        let both_marked = matches!((a.fwmark, b.fwmark), (Some(x), Some(y)) if x != y);
        if a.family == b.family && a.priority == b.priority && !both_marked {
            faults.push(Fault::SamePriority { priority: a.priority });
        }
    }
}
