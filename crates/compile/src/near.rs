//! What of a large list is near an address, in one look: a map from blocks with anything of the list in them to a **number**
//! that says which levels ([`crate::blocks`]) that is in. Number 1 stands for all levels, 2 and more for the sets of them in
//! [`SetLayout::codes`]; what is in no such set has the number of one that contains it, so any list fits any layout.
//!
//! nft has no way to look up in one map what another one says, except by what both can reach: so the number goes into our
//! bits of the packet's mark for a moment, where it is looked up, and is gone before the packet is marked for good, or goes on.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use mwan_config::{AddressRange, BlockLevel, Family, SetLayout};
use mwan_core::Marks;

use crate::blocks::{LEVELS_MAX, PerLevel, Runs, addresses, fold, host_mask};
use crate::ranges::{bits, of_bits, prefixes};

/// Bits of a number. In the program, and in what is observed, it is in the last bits of the first address of a run of blocks,
/// which blocks do not need.
pub(crate) const NUMBER_BITS: u8 = 6;
/// The number of all levels.
pub(crate) const ALL: u32 = 1;
/// Sets of levels that have a number: the others that there is room for.
const CODES_MAX: usize = (1 << NUMBER_BITS) - 1 - ALL as usize;

/// A level with so much of a list in it that asking it first of all spares more than it costs: an address in it needs no number,
/// and the map has none of its blocks. It has this part of the room of all levels, or more.
const FIRST_PART: u64 = 3;

/// The level that is asked before the map: the one with most of the list, if that is much of it.
pub(crate) fn first(layout: &SetLayout, family: Family) -> Option<usize> {
    layout.near(family)?;
    let levels = layout.of(family);
    let most = (0..levels.len()).max_by_key(|at| (levels[*at].size, Reverse(*at)))?;
    let sum: u64 = levels.iter().map(|level| u64::from(level.size)).sum();
    (u64::from(levels[most].size) * FIRST_PART >= sum).then_some(most)
}

/// Blocks side by side, and the levels that the list has in each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Span {
    first: u128,
    last: u128,
    levels: u32,
}

impl Span {
    /// How many; `host`: bits behind their length.
    fn blocks(&self, host: u32) -> u64 {
        u64::try_from((self.last - self.first) >> host).unwrap_or(u64::MAX).saturating_add(1)
    }
}

/// The blocks of a length with anything of a list in them but what is found before, ascending; the list is sorted and disjoint.
fn spans(list: &[AddressRange], family: Family, layout: &SetLayout, length: u8) -> Vec<Span> {
    let (host, levels, before) = (host_mask(length, family), layout.of(family), first(layout, family));
    let mut spans: Vec<Span> = Vec::new();
    let own = list.iter().filter(|range| Family::of(range.first) == family);
    for (first, own) in own.flat_map(|range| prefixes(*range)) {
        let level = levels.iter().position(|level| level.length >= own);
        if level.is_some() && level == before {
            continue;
        }
        let levels = level.map_or(0, |level| 1 << level);
        let (first, last) = (first & !host, first | host_mask(own, family) | host);
        match spans.last_mut() {
            // Both are inside of one block.
            Some(span) if span.last == last && span.first <= first => span.levels |= levels,
            _ => spans.push(Span { first, last, levels }),
        }
    }
    spans
}

/// Blocks of a length with anything of a list in them but what is found before, in place of a level's.
pub(crate) fn total(list: &[AddressRange], family: Family, layout: &SetLayout, length: u8) -> PerLevel {
    let host = u32::from(family.bits() - length);
    let spans = spans(list, family, layout, length);
    let mut total = [0; LEVELS_MAX];
    total[0] = spans.iter().fold(0u64, |sum, span| sum.saturating_add(span.blocks(host)));
    total
}

/// What numbers there are, and what they are good for.
#[derive(Default)]
pub(crate) struct Numbers {
    /// The sets of levels with a number of their own.
    pub(crate) codes: Vec<u32>,
    /// Blocks of the lists.
    pub(crate) blocks: u64,
    /// How many levels are in each of them, all together.
    pub(crate) there: u64,
    /// How many are asked for in each, all together: more, where the numbers are not enough to say which are there.
    pub(crate) asked: u64,
}

/// The sets of levels that get numbers of their own: those of `old` keep theirs while they are of use, the others come in the
/// order of how many blocks they are for.
pub(crate) fn numbers(
    lists: &[&[AddressRange]],
    family: Family,
    layout: &SetLayout,
    old: &SetLayout,
) -> Numbers {
    let (levels, Some(near)) = (layout.of(family), layout.near(family)) else { return Numbers::default() };
    let host = u32::from(family.bits() - near.length);
    // Blocks of each set of levels; there are few of those.
    let mut used: Vec<(u64, u32)> = Vec::new();
    for list in lists {
        for span in spans(list, family, layout, near.length) {
            let blocks = span.blocks(host);
            match used.iter_mut().find(|(_, code)| *code == span.levels) {
                Some((sum, _)) => *sum = sum.saturating_add(blocks),
                None => used.push((blocks, span.levels)),
            }
        }
    }
    // A level more than there was is behind the others.
    let same = |level: &BlockLevel, old: &BlockLevel| level.length == old.length;
    let kept = levels.len() >= old.of(family).len()
        && levels.iter().zip(old.of(family)).all(|(level, old)| same(level, old));
    let mut codes = if kept { old.codes(family).to_vec() } else { Vec::new() };
    let is_used = |code: &u32| used.iter().any(|(_, used)| used == code);
    let mut free: Vec<usize> = (0..codes.len()).filter(|at| !is_used(&codes[*at])).collect();
    let mut new = used.clone();
    new.retain(|(_, code)| !codes.contains(code));
    // Those of the most blocks first.
    while let Some(most) = (0..new.len()).max_by_key(|at| new[*at]) {
        let (_, code) = new.swap_remove(most);
        match free.pop() {
            Some(at) => codes[at] = code,
            None if codes.len() < CODES_MAX => codes.push(code),
            None => break,
        }
    }
    let asked = |code: u32| match number(code, &codes) {
        ALL => levels.len() as u64,
        number => u64::from(codes[(number - ALL - 1) as usize].count_ones()),
    };
    let sum = |of: &dyn Fn(u32) -> u64| {
        let each = used.iter().map(|(blocks, code)| blocks.saturating_mul(of(*code)));
        each.fold(0, u64::saturating_add)
    };
    let blocks = sum(&|_| 1);
    let (there, asked) = (sum(&|code| u64::from(code.count_ones())), sum(&asked));
    Numbers { codes, blocks, there, asked }
}

/// The sets of levels that have a number in marks of this mask: with few bits there are few.
pub(crate) fn numbered(codes: &[u32], marks: Marks) -> &[u32] {
    let room = marks.default_id().saturating_sub(ALL);
    &codes[..codes.len().min(room as usize)]
}

/// The number of a set of levels: its own, or that of the smallest with all of it.
fn number(levels: u32, codes: &[u32]) -> u32 {
    let with = codes.iter().zip(ALL + 1..).filter(|(code, _)| *code & levels == levels);
    with.min_by_key(|(code, _)| code.count_ones()).map_or(ALL, |(_, number)| number)
}

/// The elements of the map: runs of blocks with their numbers.
pub(crate) fn elements(
    list: &[AddressRange],
    family: Family,
    layout: &SetLayout,
    near: BlockLevel,
    marks: Marks,
) -> BTreeSet<AddressRange> {
    let codes = numbered(layout.codes(family), marks);
    let mut runs: Vec<Runs> = (0..1 << NUMBER_BITS).map(|_| Runs::new(family, near.length)).collect();
    for Span { first, last, levels } in spans(list, family, layout, near.length) {
        runs[number(levels, codes) as usize].push(first, last);
    }
    let mut elements = Vec::new();
    for (number, runs) in (0..).zip(runs) {
        elements.extend(runs.list.into_iter().map(|run| join(run, number)));
    }
    elements.into_iter().collect()
}

/// A run of blocks with its number.
fn join(run: AddressRange, number: u32) -> AddressRange {
    AddressRange { first: of_bits(bits(run.first) | u128::from(number), Family::of(run.first)), ..run }
}

/// The blocks of an element of the map, and what the kernel has for them: the mark of their number.
pub fn blocks_of(
    element: AddressRange,
    length: u8,
    mask: u32,
) -> (impl Iterator<Item = IpAddr> + Clone, u32) {
    let family = Family::of(element.first);
    let (first, host) = (bits(element.first), host_mask(length, family));
    let run = AddressRange { first: of_bits(first & !host, family), ..element };
    (addresses(run, length), Marks::new(mask).of((first & host) as u32))
}

/// The elements that are these blocks (their first addresses, in any order) and marks; `None`: one is none of ours.
pub fn read(
    blocks: Vec<(IpAddr, u32)>,
    family: Family,
    length: u8,
    mask: u32,
) -> Option<BTreeSet<AddressRange>> {
    let marks = Marks::new(mask);
    let mut by_number = vec![Vec::new(); 1 << NUMBER_BITS];
    for (first, mark) in blocks {
        let number = marks.id_of(mark);
        if mark & !mask != 0 || number == 0 {
            return None;
        }
        by_number.get_mut(number as usize)?.push(AddressRange { first, last: first });
    }
    let mut elements = Vec::new();
    for (number, blocks) in (0..).zip(by_number) {
        elements.extend(fold(blocks, family, length)?.into_iter().map(|run| join(run, number)));
    }
    Some(elements.into_iter().collect())
}

#[cfg(test)]
mod tests;
