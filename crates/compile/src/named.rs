//! Named sets (`config ipset`). What the owner lists is in `set.NAME.4`: exactly that, changed by difference. A long list is
//! laid out in blocks instead ([`crate::blocks`]), in sets `set.NAME.4.24` for each length. What dnsmasq
//! enters is in `learned.NAME.4`, which we create and never flush: so nobody has to know whose an element is. A rule
//! that names a set of several parts asks for one after the other.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use mwan_config::{BlockLevel, Family, NamedSet};
use mwan_core::Marks;

use crate::blocks::runs;
use crate::build::{bounded, digit, identifier};
use crate::near;
use crate::nft::{ElementKind, LENGTHS_SUFFIX, Set, SetKind, TABLE};
use crate::ranges::merged;

/// Whose elements a part of a set holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Part {
    /// The owner's, from the configuration.
    Listed,
    /// Blocks of this level of them.
    Blocks(BlockLevel),
    /// Larger blocks with anything of them in it, and which levels that is in ([`crate::near`]): what is in none of these is
    /// in none of the others.
    Near(BlockLevel),
    /// The resolver's.
    Learned,
    /// A set without a list and without domains: whoever fills it.
    Foreign,
}

/// The nft sets a named set is made of: name, family and part.
pub(crate) fn parts(named: &NamedSet) -> Vec<(String, Family, Part)> {
    let (listed, learned) = (!named.entries.is_empty() || named.file.is_some(), !named.domains.is_empty());
    let of = |family: Family| {
        let levels = named.layout.of(family);
        let whole = levels.is_empty().then_some(Part::Listed);
        let lists = levels.iter().copied().map(Part::Blocks).chain(whole).filter(move |_| listed);
        let others = [(learned, Part::Learned), (!listed && !learned, Part::Foreign)];
        let others = others.into_iter().filter_map(|(is, part)| is.then_some(part));
        let near = named.layout.near(family).filter(|_| listed).map(Part::Near);
        lists.chain(near).chain(others).map(move |part| (name(&named.name, family, part), family, part))
    };
    named.families.iter().flat_map(of).collect()
}

fn name(set: &str, family: Family, part: Part) -> String {
    let (set, family) = (identifier(set), digit(family));
    bounded(match part {
        Part::Listed | Part::Foreign => format!("set.{set}.{family}"),
        Part::Blocks(level) => format!("set.{set}.{family}.{}", level.length),
        Part::Near(_) => format!("set.{set}.{family}{LENGTHS_SUFFIX}"),
        Part::Learned => format!("learned.{set}.{family}"),
    })
}

/// The parts of a set.
pub(crate) fn sets(named: &NamedSet, marks: Marks) -> Vec<(String, Set)> {
    let seconds = named.timeout.map_or(0, |t| u32::try_from(t.as_secs()).unwrap_or(u32::MAX).max(1));
    // Of each level, in their order, and then what is near.
    let mut blocks = Family::ALL.map(|family| {
        let levels = named.layout.of(family);
        let ranges = if levels.is_empty() { Cow::default() } else { merged(&named.entries, family) };
        let near = named.layout.near(family);
        let near = near.map(|level| near::elements(&ranges, family, &named.layout, level, marks));
        runs(ranges.iter().copied(), family, levels).into_iter().chain(near)
    });
    let mut set = |family: Family, part| {
        let (elements, list) = match part {
            Part::Learned => (ElementKind::Learned(seconds), None),
            Part::Listed => {
                (ElementKind::Ranges, Some(merged(&named.entries, family).iter().copied().collect()))
            }
            Part::Foreign => (ElementKind::Ranges, None),
            Part::Blocks(level) => {
                (ElementKind::Blocks(level), blocks[usize::from(family == Family::V6)].next())
            }
            Part::Near(level) => {
                (ElementKind::Near(level, marks.mask()), blocks[usize::from(family == Family::V6)].next())
            }
        };
        Set { kind: SetKind { family, elements, counter: named.counters }, elements: list }
    };
    parts(named).into_iter().map(|(name, family, part)| (name, set(family, part))).collect()
}

/// Name of the part of a set that others fill in `family`; `None`: they fill nothing of it.
pub fn entered_by_others(named: &NamedSet, family: Family) -> Option<String> {
    let others = |(_, of, part): &(String, Family, Part)| {
        *of == family && matches!(part, Part::Learned | Part::Foreign)
    };
    parts(named).into_iter().find(others).map(|(name, ..)| name)
}

/// Whether a set is like the one of its name among `old`, told by the pointer to its list.
pub(crate) fn unchanged(named: &NamedSet, old: &[NamedSet]) -> bool {
    let like = |o: &NamedSet| {
        o.counters == named.counters
            && o.timeout == named.timeout
            && o.families == named.families
            && o.file == named.file
            && o.layout == named.layout
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
