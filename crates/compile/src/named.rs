//! Named sets (`config ipset`). What the owner lists is in `set.NAME.4`: exactly that, changed by difference. What dnsmasq
//! enters is in `learned.NAME.4`, which we create and never flush: so nobody has to know whose an element is. A rule
//! that names a set with both parts asks for one after the other.

use std::fmt::Write as _;
use std::sync::Arc;

use mwan_config::{Family, NamedSet};

use crate::build::{bounded, digit, identifier};
use crate::nft::{ElementKind, Set, SetKind, TABLE};
use crate::ranges::merge;

/// Whose elements a part of a set holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// The owner's, from the configuration.
    Listed,
    /// The resolver's.
    Learned,
    /// A set without a list and without domains: whoever fills it.
    Foreign,
}

/// The nft sets a named set is made of: name, family and part.
pub(crate) fn parts(named: &NamedSet) -> Vec<(String, Family, Part)> {
    let (listed, learned) = (!named.entries.is_empty() || named.file.is_some(), !named.domains.is_empty());
    let mut kinds = Vec::new();
    kinds.extend(listed.then_some(Part::Listed));
    kinds.extend(learned.then_some(Part::Learned));
    kinds.extend((!listed && !learned).then_some(Part::Foreign));
    let each = named.families.iter().flat_map(|family| kinds.iter().map(move |part| (family, *part)));
    each.map(|(family, part)| (name(&named.name, family, part), family, part)).collect()
}

fn name(set: &str, family: Family, part: Part) -> String {
    let prefix = if part == Part::Learned { "learned" } else { "set" };
    bounded(format!("{prefix}.{}.{}", identifier(set), digit(family)))
}

/// One part of a set.
pub(crate) fn set(named: &NamedSet, family: Family, part: Part) -> Set {
    let seconds = named.timeout.map_or(0, |t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX).max(1));
    let elements = match part {
        Part::Learned => ElementKind::Learned(seconds),
        Part::Listed | Part::Foreign => ElementKind::Ranges,
    };
    let listed = || {
        let own = named.entries.iter().copied().filter(|range| Family::of(range.first) == family);
        merge(own).into_iter().collect()
    };
    Set {
        kind: SetKind { family, elements, counter: named.counters },
        elements: (part == Part::Listed).then(listed),
    }
}

/// Whether a set is like the one of its name among `old`, told by the pointer to its list.
pub(crate) fn unchanged(named: &NamedSet, old: &[NamedSet]) -> bool {
    let like = |o: &NamedSet| {
        o.counters == named.counters
            && o.timeout == named.timeout
            && o.families == named.families
            && o.file == named.file
            && Arc::ptr_eq(&o.entries, &named.entries)
    };
    old.iter().find(|o| o.name == named.name).is_some_and(like)
}

/// The file for dnsmasq: a line per domain, since it reads no line of more than 1,024 bytes.
pub fn dnsmasq(sets: &[NamedSet]) -> String {
    let mut text = "# Written by mwan: do not edit.\n".to_owned();
    for named in sets {
        let learned = parts(named).into_iter().filter(|(_, _, part)| *part == Part::Learned);
        let targets: Vec<String> =
            learned.map(|(name, family, _)| format!("{}#inet#{TABLE}#{name}", digit(family))).collect();
        for domain in named.domains.iter() {
            let _ = writeln!(text, "nftset=/{domain}/{}", targets.join(","));
        }
    }
    text
}
