//! Large lists as hashed blocks. The kernel searches a set of ranges (nft_set_rbtree): among 100,000 every look goes down
//! some 17 nodes that are in nobody's cache, and every range is two nodes to enter. A prefix is found by one look at a hash
//! table if its length is known: the address is cut to that length and looked up. So a large list is laid out in a few
//! **levels**, prefix lengths, each with a set of its own that holds the first addresses of **blocks** of that length; a
//! shorter prefix is as many blocks of the next level. A list whose lengths spread too widely stays one set of ranges.
//!
//! With many levels most looks would be in vain. So before them one look at a map of larger blocks tells whether anything
//! of the list is **near**, and which levels that is in: only those are asked ([`crate::near`]).
//!
//! The layout is chosen once, where the list is read, and kept while it is good enough: another one means that the set is
//! made anew.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use mwan_config::{AddressRange, BlockLevel, Family, NamedSet, SetLayout};

use crate::near;
use crate::ranges::{bits, merge, of_bits, prefixes};

/// A list of fewer ranges stays a set of ranges, which then costs no more.
pub const LARGE_MIN: usize = 1_024;
/// What is in blocks becomes a set of ranges again below this part of [`LARGE_MIN`].
const SMALL_PART: usize = 2;
/// Levels there may be. A look costs 60 to 110 ns, a first packet 4,000 to 6,000; near a block few of them are asked for.
pub(crate) const LEVELS_MAX: usize = 20;
/// Blocks per range at most. A block takes the kernel a quarter of the time that a range takes.
const BLOCKS_MAX: u64 = 4;
/// Blocks per range, in halves, that are not worth a further level: if the levels there may be allow no fewer, then the next.
const BLOCKS_GOOD_HALVES: [u64; 3] = [3, 4, 2 * BLOCKS_MAX];
/// Blocks per range for which no list is laid out anew.
const BLOCKS_KEPT: u64 = 2;
/// Levels for which it is asked first which of them are near: most addresses are in no list.
const NEAR_LEVELS_MIN: usize = 3;
/// The shortest blocks that stand for "near".
const NEAR_LENGTH_MIN: u8 = 4;
/// Ranges for each of which there may be such a block, whatever else the list takes.
const NEAR_RANGES: u64 = 8;
/// How many lengths shorter such a block may become where that says nearly as much in fewer of them.
const NEAR_SHORTER: u8 = 3;
/// Levels asked for in such a block, on average: the fewer blocks must not be paid for by first packets.
const NEAR_ASKED_MAX: u64 = 4;
/// Blocks that belong together (one range) and are in the kernel one by one: a range that grows has up to so many written
/// anew.
const RUN_BITS: u8 = 8;
/// Prefix lengths there are, 0 to 128.
const LENGTHS: usize = 129;

/// How many prefixes of each length a list is made of.
#[derive(Clone)]
pub(crate) struct Counts {
    prefixes: [u64; LENGTHS],
    ranges: u64,
    /// How many prefixes have so many bits in common with the one before; of several lists the sum.
    shared: [u64; LENGTHS],
    /// More prefixes than blocks are allowed: they were not all counted.
    scattered: bool,
}

impl Counts {
    pub(crate) fn of(family: Family, lists: &[&[AddressRange]]) -> Self {
        let own = || lists.iter().flat_map(|list| list.iter()).filter(|r| Family::of(r.first) == family);
        let ranges = own().count() as u64;
        let mut counts = Counts { prefixes: [0; LENGTHS], ranges, shared: [0; LENGTHS], scattered: false };
        let mut left = ranges * BLOCKS_MAX / 4 * 5;
        let mut before: Option<u128> = None;
        for range in own() {
            for (first, length) in prefixes(*range) {
                counts.prefixes[usize::from(length)] += 1;
                // Lists follow each other, each ascending.
                if let Some(last) = before.filter(|last| *last < first) {
                    counts.shared[usize::from(common(last, first, family))] += 1;
                }
                before = Some(first | host_mask(length, family));
                left = left.saturating_sub(1);
            }
            // A range of IPv6 may be 250 prefixes.
            if left == 0 {
                counts.scattered = true;
                break;
            }
        }
        counts
    }

    /// Lengths there are, ascending.
    fn lengths(&self) -> Vec<u8> {
        let there = self.prefixes.iter().zip(0u8..).filter(|(count, _)| **count > 0);
        there.map(|(_, length)| length).collect()
    }

    /// Blocks of `level` that all prefixes longer than `above` and not longer than `level` take.
    fn blocks(&self, above: Option<u8>, level: u8) -> u64 {
        let from = above.map_or(0, |above| usize::from(above) + 1);
        let lengths = from..=usize::from(level);
        lengths.fold(0u64, |sum, length| {
            sum.saturating_add(expand(self.prefixes[length], usize::from(level) - length))
        })
    }

    /// Blocks in these levels; `None`: a prefix is longer than the last.
    fn blocks_in(&self, levels: &[u8]) -> Option<u64> {
        let longest = self.lengths().last().copied();
        if self.scattered || longest.is_some_and(|longest| levels.last().is_none_or(|last| *last < longest)) {
            return None;
        }
        let above = std::iter::once(None).chain(levels.iter().copied().map(Some));
        Some(
            above
                .zip(levels)
                .fold(0u64, |sum, (above, level)| sum.saturating_add(self.blocks(above, *level))),
        )
    }

    /// For one level, two…: the levels that take the fewest blocks.
    fn fewest(&self) -> Vec<Vec<u8>> {
        let lengths = self.lengths();
        // best[i]: blocks of all prefixes up to lengths[i], which is the last level, and the levels.
        let mut best: Vec<(u64, Vec<u8>)> =
            lengths.iter().map(|level| (self.blocks(None, *level), vec![*level])).collect();
        let mut found: Vec<Vec<u8>> = best.last().map(|(_, levels)| levels.clone()).into_iter().collect();
        for count in 2..=LEVELS_MAX.min(lengths.len()) {
            let one_more = |at: usize| {
                let level = lengths[at];
                let before = (count - 2..at).map(|i| {
                    let (blocks, levels) = &best[i];
                    (blocks.saturating_add(self.blocks(levels.last().copied(), level)), levels)
                });
                let (blocks, levels) = before.min()?;
                Some((blocks, [levels.as_slice(), &[level]].concat()))
            };
            // Those with fewer lengths than levels are never asked for.
            best = (0..lengths.len()).map(|at| one_more(at).unwrap_or((u64::MAX, Vec::new()))).collect();
            found.extend(best.last().map(|(_, levels)| levels.clone()));
        }
        found
    }

    /// The levels a list is laid out in: so few that all of them may be asked, else as many as there may be. `None`: it
    /// would take too many blocks.
    fn plan(&self) -> Option<Vec<u8>> {
        let fewest = self.fewest();
        let few = || fewest.iter().take(NEAR_LEVELS_MIN - 1).chain(fewest.last());
        BLOCKS_GOOD_HALVES.iter().find_map(|halves| {
            let most = self.ranges.saturating_mul(*halves) / 2;
            few().find(|levels| self.blocks_in(levels).is_some_and(|blocks| blocks <= most)).cloned()
        })
    }

    /// Blocks of a length with anything of the list in them; of several lists the sum.
    fn near(&self, length: u8) -> u64 {
        let each = |(count, own): (&u64, u8)| expand(*count, usize::from(length.saturating_sub(own)));
        let all = self.prefixes.iter().zip(0u8..).map(each).fold(0u64, u64::saturating_add);
        all.saturating_sub(self.shared[usize::from(length)..].iter().sum())
    }

    /// How long the blocks are that stand for "near": as before, or the longest that are no more than what the blocks of the
    /// list leave of those that are good. `None`: it is not asked.
    fn choose_near(&self, family: Family, levels: &[BlockLevel], old: Option<u8>) -> Option<u8> {
        let levels: Vec<u8> = levels.iter().map(|level| level.length).collect();
        let blocks = self.blocks_in(&levels).filter(|_| levels.len() >= NEAR_LEVELS_MIN)?;
        let good = self.ranges.saturating_mul(BLOCKS_GOOD_HALVES[0]) / 2;
        let room = good.saturating_sub(blocks) + self.ranges / NEAR_RANGES;
        let mut lengths = (NEAR_LENGTH_MIN..=family.bits() - near::NUMBER_BITS).rev();
        old.filter(|old| self.near(*old) <= room * 2)
            .or_else(|| lengths.find(|length| self.near(*length) <= room))
    }

    /// The levels for this list when those of `old` are there; empty: a set of ranges.
    fn choose(&self, old: &[BlockLevel], large_min: usize) -> Vec<u8> {
        let min = if old.is_empty() { large_min } else { large_min / SMALL_PART };
        if self.ranges < min as u64 {
            return Vec::new();
        }
        let best = self.plan();
        // Good enough: what any list may take, or no more than a quarter above the best.
        let most = best.as_ref().and_then(|levels| self.blocks_in(levels));
        let most = most.unwrap_or(self.ranges * BLOCKS_MAX) / 4 * 5;
        let most = most.max(self.ranges * BLOCKS_KEPT);
        let kept: Vec<u8> = old.iter().map(|level| level.length).collect();
        let longest = self.lengths().last().copied().filter(|longest| kept.last() < Some(longest));
        let longer = longest.map(|longest| [kept.as_slice(), &[longest]].concat());
        let good = |levels: &Vec<u8>| {
            levels.len() <= LEVELS_MAX && self.blocks_in(levels).is_some_and(|blocks| blocks <= most)
        };
        let kept = [Some(kept), longer].into_iter().flatten().filter(|_| !old.is_empty()).find(good);
        kept.or(best).unwrap_or_default()
    }
}

/// How many bits two addresses have in common.
fn common(a: u128, b: u128, family: Family) -> u8 {
    let all = (a ^ b).leading_zeros() as u8;
    all - (128 - family.bits())
}

/// `count << bits`, or as much as there can be.
fn expand(count: u64, bits: usize) -> u64 {
    match count {
        0 => 0,
        _ => 1u64.checked_shl(bits as u32).map_or(u64::MAX, |each| count.saturating_mul(each)),
    }
}

/// Room for `blocks`, and for more: the kernel's hash table (nft_set_hash) keeps the size it is made with. Three quarters
/// of a power of two make a table of that power.
fn size(blocks: u64, old: Option<u32>) -> u32 {
    let fits = |size: &u32| blocks <= u64::from(*size) && u64::from(*size) <= 16 * blocks.max(256);
    let new = || {
        let buckets = (blocks + blocks / 2).max(64).next_power_of_two();
        u32::try_from(buckets / 4 * 3).unwrap_or(u32::MAX)
    };
    old.filter(fits).unwrap_or_else(new)
}

/// Blocks per level of a range, for ranges that the levels cover.
pub(crate) fn blocks_of(range: AddressRange, levels: &[u8]) -> PerLevel {
    let mut blocks = [0u64; LEVELS_MAX];
    for (_, length) in prefixes(range) {
        if let Some(at) = levels.iter().position(|level| *level >= length) {
            blocks[at] = blocks[at].saturating_add(expand(1, usize::from(levels[at] - length)));
        }
    }
    blocks
}

/// Blocks per level.
pub(crate) type PerLevel = [u64; LEVELS_MAX];
/// The most blocks that are there at once, of what is counted in lists.
pub(crate) type Most<'a> = dyn Fn(&dyn Fn(&[AddressRange]) -> PerLevel) -> PerLevel + 'a;

/// The layout of these lists, which keeps that of `old` while it is good enough.
pub(crate) fn layout(
    lists: &[&[AddressRange]],
    old: &SetLayout,
    large_min: usize,
    most: &Most<'_>,
) -> SetLayout {
    let [v4, v6] = Family::ALL.map(|family| Counts::of(family, lists));
    let of = |family: Family, counts: &Counts| {
        let levels = counts.choose(old.of(family), large_min);
        let most = most(&|list| total(list, family, &levels));
        let room = |length: u8| old.of(family).iter().find(|level| level.length == length).map(|l| l.size);
        let levels = levels.iter().zip(most);
        levels
            .map(|(length, blocks)| BlockLevel { length: *length, size: size(blocks, room(*length)) })
            .collect::<Vec<_>>()
    };
    let mut layout = SetLayout { v4: of(Family::V4, &v4), v6: of(Family::V6, &v6), ..SetLayout::default() };
    for (family, counts) in Family::ALL.into_iter().zip([v4, v6]) {
        let before = old.near(family);
        let kept = before.map(|level| level.length);
        let Some(length) = counts.choose_near(family, layout.of(family), kept) else { continue };
        let shortest = if kept == Some(length) { length } else { length - NEAR_SHORTER };
        let near = choose_shorter(lists, family, &mut layout, old, shortest.max(NEAR_LENGTH_MIN)..=length);
        // One list is there whole.
        let blocks = match lists {
            [_] => near.blocks,
            _ => most(&|list| near::total(list, family, &layout, near.length))[0],
        };
        let room = before.filter(|before| before.length == near.length).map(|before| before.size);
        layout.near[usize::from(family == Family::V6)] =
            Some(BlockLevel { length: near.length, size: size(blocks, room) });
    }
    layout
}

/// Blocks that stand for "near".
#[derive(Clone, Copy)]
struct NearBlocks {
    length: u8,
    blocks: u64,
}

/// Of these lengths of blocks that stand for "near" the longest, or a shorter one that spares the kernel a third of them, has
/// still few levels in each, and numbers for all there are (in a mask of six bits). The layout gets it, and the numbers.
fn choose_shorter(
    lists: &[&[AddressRange]],
    family: Family,
    layout: &mut SetLayout,
    old: &SetLayout,
    lengths: RangeInclusive<u8>,
) -> NearBlocks {
    let at = usize::from(family == Family::V6);
    let mut best = NearBlocks { length: *lengths.end(), blocks: u64::MAX };
    for length in lengths.clone().rev() {
        // What is asked before the map depends on whether there is one.
        layout.near[at] = Some(BlockLevel { length, size: 0 });
        let numbers = near::numbers(lists, family, layout, old);
        let good = numbers.blocks.saturating_mul(3) <= best.blocks.saturating_mul(2)
            && numbers.asked <= numbers.blocks.saturating_mul(NEAR_ASKED_MAX)
            && numbers.asked == numbers.there;
        if length != *lengths.end() && !good {
            break;
        }
        best = NearBlocks { length, blocks: numbers.blocks };
        layout.codes[at] = numbers.codes;
    }
    layout.near[at] = Some(BlockLevel { length: best.length, size: 0 });
    best
}

/// Blocks per level of a whole list of a family.
pub(crate) fn total(list: &[AddressRange], family: Family, levels: &[u8]) -> PerLevel {
    let own = list.iter().filter(|range| Family::of(range.first) == family);
    own.fold([0; LEVELS_MAX], |sum, range| add(sum, blocks_of(*range, levels)))
}

pub(crate) fn add(mut sum: PerLevel, more: PerLevel) -> PerLevel {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum = sum.saturating_add(more));
    sum
}

/// Sorts and merges the lists of sets that were read, and chooses how the kernel is to hold them.
pub fn lay_out(sets: &mut [NamedSet]) {
    lay_out_from(sets, LARGE_MIN);
}

/// The same for lists of `large_min` ranges or more, where they are smaller than life.
pub fn lay_out_from(sets: &mut [NamedSet], large_min: usize) {
    for set in sets {
        set.entries = Arc::new(merge(set.entries.iter().copied()));
        set.layout = anew(set, &SetLayout::default(), large_min);
    }
}

/// The layout of a set by itself. What counts packets per element is not cut to pieces.
pub(crate) fn anew(set: &NamedSet, old: &SetLayout, large_min: usize) -> SetLayout {
    if set.counters {
        return SetLayout::default();
    }
    let list: &[AddressRange] = &set.entries;
    layout(&[list], old, large_min, &|count| count(list))
}

/// The blocks of a list in each level, as ranges that begin and end with one: sorted, disjoint, and never of more than one
/// prefix that is [`RUN_BITS`] shorter. That form is the only one for these blocks, so lists of it can be compared.
pub(crate) fn runs(
    list: impl Iterator<Item = AddressRange>,
    family: Family,
    levels: &[BlockLevel],
) -> Vec<BTreeSet<AddressRange>> {
    let mut all: Vec<Runs> = levels.iter().map(|level| Runs::new(family, level.length)).collect();
    for range in list {
        for (first, length) in prefixes(range) {
            if let Some(runs) = all.iter_mut().find(|runs| runs.length >= length) {
                runs.push(first, first | host_mask(length, family));
            }
        }
    }
    all.into_iter().map(|runs| runs.list.into_iter().collect()).collect()
}

/// Runs of blocks of one length, entered in ascending order.
pub(crate) struct Runs {
    family: Family,
    length: u8,
    pub(crate) list: Vec<AddressRange>,
}

impl Runs {
    pub(crate) fn new(family: Family, length: u8) -> Self {
        Runs { family, length, list: Vec::new() }
    }

    pub(crate) fn push(&mut self, mut first: u128, last: u128) {
        let group = host_mask(self.length.saturating_sub(RUN_BITS), self.family);
        loop {
            let end = last.min(first | group);
            let joins = |run: &&mut AddressRange| {
                let there = bits(run.last);
                there.checked_add(1) == Some(first) && there | group == first | group
            };
            match self.list.last_mut().filter(joins) {
                Some(run) => run.last = of_bits(end, self.family),
                None => self.list.push(AddressRange {
                    first: of_bits(first, self.family),
                    last: of_bits(end, self.family),
                }),
            }
            if end == last {
                return;
            }
            first = end + 1;
        }
    }
}

/// The bits behind a prefix length.
pub(crate) fn host_mask(length: u8, family: Family) -> u128 {
    let host = u32::from(family.bits().saturating_sub(length));
    u128::MAX.checked_shl(host).map_or(u128::MAX, |mask| !mask)
}

/// The mask that cuts an address to a prefix length.
pub fn mask(length: u8, family: Family) -> IpAddr {
    of_bits(!host_mask(length, family) & host_mask(0, family), family)
}

/// The first addresses of the blocks of a run.
pub fn addresses(run: AddressRange, length: u8) -> impl Iterator<Item = IpAddr> + Clone {
    let family = Family::of(run.first);
    let step = host_mask(length, family).checked_add(1);
    let (first, last) = (bits(run.first), bits(run.last));
    let next = move |at: &u128| at.checked_add(step?).filter(|next| *next <= last);
    std::iter::successors(Some(first), next).map(move |at| of_bits(at, family))
}

/// The runs of blocks of which these single addresses, in any order, are the first; `None`: one is inside of a block.
pub fn fold(mut addresses: Vec<AddressRange>, family: Family, length: u8) -> Option<BTreeSet<AddressRange>> {
    addresses.sort_unstable();
    let host = host_mask(length, family);
    let mut runs = Runs::new(family, length);
    for first in addresses.into_iter().map(|address| bits(address.first)) {
        if first & host != 0 {
            return None;
        }
        runs.push(first, first | host);
    }
    Some(runs.list.into_iter().collect())
}

#[cfg(test)]
pub(crate) mod tests;
