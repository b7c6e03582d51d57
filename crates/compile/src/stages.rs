//! A large change of named sets in steps, so that no transaction is long: a failover waits for one step at most.

use std::net::IpAddr;
use std::sync::Arc;

use mwan_config::{AddressRange, Family, NamedSet, SetLayout};

use crate::blocks::{LARGE_MIN, PerLevel, add, anew, layout};
use crate::ranges::{bits, merge, of_bits, touches};

/// Elements one step adds or removes, about: some 20 ms in the kernel.
pub const STEP: usize = 4_096;
/// In ranges that lie side by side, or one over the other, a step goes on up to so many times as far; then it ends there, too.
const STEPS_MAX: usize = 2;

/// The lists between those in force and new ones. In each of them every address is in a set either as before or as
/// afterwards: up to some address all is new. A step ends between two ranges if it can, for what ends inside of one is cut to
/// pieces for a while, but however the lists lie to each other, no step is longer than [`STEPS_MAX`] others. Sets that are new
/// fill before a rule refers to them (I5); the other options of a set stay as they are. On the way a set has one layout that
/// is good for what it held and for what it will hold: most often the one it has, and will have.
#[derive(Debug)]
pub struct Stages {
    sets: Vec<NamedSet>,
    pairs: Vec<Pair>,
    cuts: std::vec::IntoIter<Cut>,
    done: usize,
}

/// A set's list before and afterwards, sorted and disjoint.
#[derive(Debug)]
struct Pair {
    new: NamedSet,
    old: Vec<AddressRange>,
    /// On the way; before that, the old one.
    layout: SetLayout,
    /// On the way it counts packets per element, as before.
    counters: bool,
}

/// Up to here all is new: so many sets, so many ranges of the next one's list afterwards and before.
#[derive(Debug)]
struct Cut {
    sets: usize,
    new: usize,
    old: usize,
    /// Between those ranges: what is neither a range of one list nor of the other.
    seam: Vec<AddressRange>,
}

impl Stages {
    /// From `old` to `new`, whose lists are sorted, merged and laid out by this. Nothing to do if the change is small.
    pub fn new(old: &[NamedSet], new: &mut [NamedSet]) -> Self {
        Stages::with_step(old, new, STEP, LARGE_MIN)
    }

    fn with_step(old: &[NamedSet], new: &mut [NamedSet], step: usize, large_min: usize) -> Self {
        let mut pairs = Vec::new();
        let mut cuts = Vec::new();
        let mut changed = 0;
        for (index, set) in new.iter_mut().enumerate() {
            set.entries = Arc::new(merge(set.entries.iter().copied()));
            let before = old.iter().find(|o| o.name == set.name);
            let old = before.map(|o| merge(o.entries.iter().copied())).unwrap_or_default();
            let layout = before.map(|o| o.layout.clone()).unwrap_or_default();
            let counters = before.map_or(set.counters, |o| o.counters);
            let mut pair = Pair { new: set.clone(), old, layout, counters };
            let first = cuts.len();
            pair.cuts(index, step, &mut changed, &mut cuts);
            pair.layout = pair.on_the_way(&cuts[first..], large_min);
            set.layout = anew(set, &pair.layout, large_min);
            pairs.push(pair);
        }
        Stages { sets: old.to_vec(), pairs, cuts: cuts.into_iter(), done: 0 }
    }

    fn put(&mut self, index: usize, entries: Arc<Vec<AddressRange>>) {
        let Pair { new: set, layout, .. } = &self.pairs[index];
        match self.sets.iter_mut().find(|s| s.name == set.name) {
            // Nothing was changed in it by itself.
            Some(there) if there.entries == entries => {}
            Some(there) => (there.entries, there.layout) = (entries, layout.clone()),
            None => self.sets.push(NamedSet { entries, layout: layout.clone(), ..set.clone() }),
        }
    }
}

impl Pair {
    /// Goes along both lists and cuts between ranges whenever enough has changed.
    fn cuts(&self, sets: usize, step: usize, changed: &mut usize, cuts: &mut Vec<Cut>) {
        let (mut new, mut old) = (0, 0);
        let mut reach = None;
        loop {
            let (n, o) = (self.new.entries.get(new), self.old.get(old));
            let Some(next) = [n, o].into_iter().flatten().min() else { return };
            // Ranges side by side become one, which is other blocks than they are by themselves.
            let behind = |last| touches(AddressRange { first: last, last }, *next);
            let inside = reach.is_some_and(behind);
            if *changed >= if inside { step * STEPS_MAX } else { step } {
                cuts.push(if inside {
                    self.inside(sets, new, old, next.first)
                } else {
                    Cut { sets, new, old, seam: Vec::new() }
                });
                *changed = 0;
            }
            let (next, in_new, in_old) = (*next, n == Some(next), o == Some(next));
            new += usize::from(in_new);
            old += usize::from(in_old);
            *changed += usize::from(in_new != in_old);
            reach = reach.max(Some(next.last));
        }
    }

    /// A cut before the address `at`, where `new` and `old` ranges have begun, and may go on or touch what begins there.
    fn inside(&self, sets: usize, new: usize, old: usize, at: IpAddr) -> Cut {
        let last = |list: &[AddressRange], count: usize| count.checked_sub(1).map(|index| list[index]);
        let next = AddressRange { first: at, last: at };
        let ends = last(&self.new.entries, new).filter(|range| touches(*range, next));
        // None of a range that begins there.
        let piece = ends.filter(|range| range.first < at).map(|range| {
            let before = of_bits(bits(at).saturating_sub(1), Family::of(at));
            AddressRange { last: range.last.min(before), ..range }
        });
        let goes_on = last(&self.old, old).filter(|range| range.last >= at);
        let goes_on = goes_on.map(|range| AddressRange { first: range.first.max(at), ..range });
        let joins = |range: &AddressRange| piece.is_some() && range.first == at;
        let begins = self.old.get(old).copied().filter(joins);
        Cut {
            sets,
            new: new - usize::from(ends.is_some()),
            old: old + usize::from(begins.is_some()),
            seam: merge([piece, goes_on, begins].into_iter().flatten()),
        }
    }

    /// The layout at these cuts, and when all is new and other sets are not yet.
    fn on_the_way(&self, cuts: &[Cut], large_min: usize) -> SetLayout {
        if self.counters {
            return SetLayout::default();
        }
        // Pieces may be longer prefixes than there are in either list.
        let seams: Vec<AddressRange> = cuts.iter().flat_map(|cut| cut.seam.iter().copied()).collect();
        let lists: &[&[AddressRange]] =
            if cuts.is_empty() { &[&self.new.entries] } else { &[&self.new.entries, &self.old, &seams] };
        layout(lists, &self.layout, large_min, &|count| self.most(cuts, count))
    }

    /// The most blocks that are in the set at once: of the new ranges up to a cut, its seam, and the old ones behind it.
    fn most(&self, cuts: &[Cut], count: &dyn Fn(&[AddressRange]) -> PerLevel) -> PerLevel {
        let mut most = count(&self.new.entries);
        let mut there = count(&self.old);
        let (mut new, mut old) = (0, 0);
        for cut in cuts {
            there = add(there, count(&self.new.entries[new..cut.new]));
            for (there, gone) in there.iter_mut().zip(count(&self.old[old..cut.old])) {
                // One may be for what is behind the cut, too.
                *there = there.saturating_sub(gone) + 1;
            }
            let here = add(there, count(&cut.seam));
            most.iter_mut().zip(here).for_each(|(most, here)| *most = (*most).max(here));
            (new, old) = (cut.new, cut.old);
        }
        most
    }
}

impl Iterator for Stages {
    type Item = Arc<Vec<NamedSet>>;

    fn next(&mut self) -> Option<Self::Item> {
        let cut = self.cuts.next()?;
        for index in self.done..cut.sets {
            self.put(index, self.pairs[index].new.entries.clone());
        }
        self.done = cut.sets;
        let pair = &self.pairs[cut.sets];
        let mixed = [&pair.new.entries[..cut.new], &cut.seam, &pair.old[cut.old..]].concat();
        self.put(cut.sets, Arc::new(mixed));
        Some(Arc::new(self.sets.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::{addresses, lay_out_from};
    use crate::named;
    use crate::nft::ElementKind;
    use mwan_config::{BlockLevel, Families, Location};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn named(name: &str, ranges: &[(u8, u8)]) -> NamedSet {
        let ip = |n: u8| Ipv4Addr::new(10, 0, 0, n).into();
        let range = |&(a, b): &(u8, u8)| AddressRange { first: ip(a.min(b)), last: ip(a.max(b)) };
        NamedSet {
            name: name.into(),
            families: Families::ALL,
            entries: Arc::new(ranges.iter().map(range).collect()),
            file: Some("list".into()),
            domains: Arc::default(),
            timeout: None,
            counters: false,
            layout: SetLayout::default(),
            location: Location { file: "x".into(), line: 1 },
        }
    }

    /// Which of 10.0.0.0/24 are found in a set as it is in the kernel.
    fn has(sets: &[NamedSet], name: &str) -> [bool; 256] {
        let (mut found, mut near) = ([0u32; 256], None);
        let Some(set) = sets.iter().find(|s| s.name == name) else { return [false; 256] };
        let marks = mwan_core::Marks::new(0x3f00);
        let parts = named::sets(set, marks);
        for (_, part) in parts.into_iter().filter(|(_, part)| part.kind.family == Family::V4) {
            let elements = part.elements.expect("a list");
            let (length, size) = match part.kind.elements {
                ElementKind::Blocks(level) | ElementKind::Near(level, _) => (level.length, level.size),
                _ => (32, u32::MAX),
            };
            let cut =
                |n| ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, 0, n), length).expect("a length").network();
            if let ElementKind::Near(_, mask) = part.kind.elements {
                let blocks: std::collections::BTreeMap<std::net::IpAddr, u32> = elements
                    .iter()
                    .map(|element| crate::near::blocks_of(*element, length, mask))
                    .flat_map(|(blocks, mark)| blocks.map(move |first| (first, mark)))
                    .collect();
                assert!(blocks.len() <= size as usize, "{blocks:?}");
                let levels = |number: u32| match number {
                    0 => 0,
                    1 => u32::MAX,
                    number => set.layout.codes(Family::V4)[number as usize - 2],
                };
                near = Some(
                    (0..=255u8)
                        .map(|n| {
                            let mark = blocks.get(&cut(n).into()).copied().unwrap_or(0);
                            levels(marks.id_of(mark))
                        })
                        .collect::<Vec<u32>>(),
                );
                continue;
            }
            let blocks: usize = match part.kind.elements {
                ElementKind::Blocks(level) => {
                    elements.iter().map(|run| addresses(*run, level.length).count()).sum()
                }
                _ => 0,
            };
            assert!(blocks <= size as usize, "{blocks} blocks of /{length}, room for {size}");
            let level = set.layout.v4.iter().position(|level| level.length == length).unwrap_or(0);
            for (found, n) in found.iter_mut().zip(0..=255u8) {
                let cut = std::net::IpAddr::from(cut(n));
                *found |= u32::from(elements.iter().any(|r| r.first <= cut && cut <= r.last)) << level;
            }
        }
        if let Some(near) = near {
            let first = crate::near::first(&set.layout, Family::V4).map_or(0, |level| 1 << level);
            assert!(
                found.iter().zip(near).all(|(found, near)| found & !(near | first) == 0),
                "whatever level has an address is asked for it"
            );
        }
        found.map(|levels| levels != 0)
    }

    fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((any::<u8>(), 0..9u8).prop_map(|(a, n)| (a, a.saturating_add(n))), 0..40)
    }

    /// Ranges of a set that are in one state and not in the other.
    fn difference(one: &[NamedSet], other: &[NamedSet], name: &str) -> usize {
        let of = |sets: &[NamedSet]| -> BTreeSet<AddressRange> {
            let set = sets.iter().find(|s| s.name == name);
            set.map(|s| s.entries.iter().copied().collect()).unwrap_or_default()
        };
        of(one).symmetric_difference(&of(other)).count()
    }

    /// Of a step: the ranges, and the pieces at the cut it begins and at that it ends with.
    const fn longest(step: usize) -> usize {
        step * STEPS_MAX + 12
    }

    proptest! {
        /// I5: at no step is an address in a set unless it was before or is afterwards, or missing though it is in both;
        /// once it is as afterwards it stays so.
        #[test]
        fn every_address_is_as_before_or_as_afterwards(
            a in ranges(), b in ranges(), c in ranges(), d in ranges(), step in 1..6usize, large in 1..30usize,
            counters in any::<[bool; 2]>(),
        ) {
            let mut old = [named("x", &a), named("y", &c), named("gone", &a)];
            old[0].counters = counters[0];
            lay_out_from(&mut old, large);
            let mut new = [named("y", &d), named("fresh", &c), named("x", &b)];
            new[2].counters = counters[1];
            let stages: Vec<_> = Stages::with_step(&old, &mut new, step, large).collect();
            for name in ["x", "y", "fresh"] {
                let (before, after) = (has(&old, name), has(&new, name));
                let mut seen = before;
                for sets in &stages {
                    let now = has(sets, name);
                    for n in 0..256 {
                        prop_assert!(now[n] == seen[n] || (now[n] == after[n] && seen[n] == before[n]));
                    }
                    seen = now;
                }
            }
            prop_assert!(stages.iter().all(|sets| has(sets, "gone") == has(&old, "gone")));
            let states = [&[old.to_vec()][..], &stages.iter().map(|s| s.to_vec()).collect::<Vec<_>>(), &[new.to_vec()]].concat();
            for pair in states.windows(2) {
                let changed: usize = ["x", "y", "fresh"].iter().map(|name| difference(&pair[0], &pair[1], name)).sum();
                prop_assert!(changed <= longest(step), "{changed} for {step}");
            }
        }

        /// A failover waits for one step at most, whatever replaces what: lists in all places to each other.
        #[test]
        fn every_step_of_any_replacement_is_bounded(
            before in (1..64u32, 1..64u32, 0..64u32), after in (1..64u32, 1..64u32, 0..64u32), family in any::<bool>(),
        ) {
            let list = |(length, pause, from): (u32, u32, u32)| {
                let ip = |n: u32| if family { Ipv4Addr::from(n).into() } else { Ipv6Addr::from(u128::from(n) << 64).into() };
                let entries = (0..3_000u32).map(|n| n * (length + pause) + from);
                let entries = entries.map(|at| AddressRange { first: ip(at), last: ip(at + length - 1) }).collect();
                NamedSet { entries: Arc::new(entries), ..named("x", &[]) }
            };
            let (step, mut old, mut new) = (256, [list(before)], [list(after)]);
            lay_out_from(&mut old, LARGE_MIN);
            let mut there = old.to_vec();
            let steps: Vec<_> = Stages::with_step(&old, &mut new, step, LARGE_MIN).collect();
            for sets in steps.iter().map(|sets| sets.to_vec()).chain([new.to_vec()]) {
                let changed = difference(&there, &sets, "x");
                prop_assert!(changed <= longest(step), "{changed}");
                prop_assert_eq!(&merge(sets[0].entries.iter().copied()), &*sets[0].entries);
                there = sets;
            }
        }
    }

    /// Every range of the new list lies between two of the old.
    #[test]
    fn a_list_that_becomes_its_opposite_takes_steps() {
        let ip = |n: u32| std::net::IpAddr::from((0x0a00_0000 + n * 256).to_be_bytes());
        let list = |odd: u32| {
            let range = |n: u32| AddressRange {
                first: ip(2 * n + odd),
                last: (u32::from(as_v4(ip(2 * n + odd))) + 255).to_be_bytes().into(),
            };
            NamedSet { entries: Arc::new((0..20_000).map(range).collect()), ..named("x", &[]) }
        };
        let (mut old, mut new) = ([list(0)], [list(1)]);
        lay_out_from(&mut old, LARGE_MIN);
        let steps: Vec<_> = Stages::new(&old, &mut new).collect();
        assert_eq!(steps.len(), 4);
        assert!(steps.iter().all(|sets| sets[0].layout.v4.iter().any(|level| level.length == 24)));
    }

    #[test]
    fn a_long_list_has_its_layout_in_all_steps_and_keeps_it_when_it_changes() {
        let ip = |n: u32| std::net::IpAddr::from((0x0a00_0000 + n * 512).to_be_bytes());
        let list = |range: std::ops::Range<u32>| {
            let entries = range.map(|n| AddressRange {
                first: ip(n),
                last: (u32::from(as_v4(ip(n))) + 255).to_be_bytes().into(),
            });
            NamedSet { entries: Arc::new(entries.collect()), ..named("x", &[]) }
        };
        let layouts = |old: &[NamedSet], new: &mut NamedSet| -> Vec<SetLayout> {
            let steps: Vec<_> =
                Stages::new(old, std::slice::from_mut(new)).map(|sets| sets[0].layout.clone()).collect();
            [steps, vec![new.layout.clone()]].concat()
        };
        let mut first = list(0..50_000);
        let there = layouts(&[], &mut first);
        assert_eq!((there.len(), &there[0].v4[..]), (13, &[BlockLevel { length: 24, size: 98_304 }][..]));
        assert!(there.iter().all(|layout| *layout == there[0]));
        // A tenth is another, and on the way nothing is made anew. Half as much again needs more room, from the first step on.
        let mut second = list(5_000..55_000);
        assert!(layouts(std::slice::from_ref(&first), &mut second).iter().all(|layout| *layout == there[0]));
        let mut third = list(0..100_000);
        let grown = layouts(&[second], &mut third);
        assert!(grown.iter().all(|layout| layout.v4 == [BlockLevel { length: 24, size: 196_608 }]));
    }

    /// The map of what is near, too, has room for what is there at once, not for both lists.
    #[test]
    fn a_list_of_many_lengths_keeps_its_map_when_it_changes() {
        let list = |range: std::ops::Range<u32>| {
            let entries = range.map(|n| {
                let first = 0x0a00_0000 + n * 32;
                let last = first + (1 << (4 - n % 5)) - 1;
                AddressRange { first: first.to_be_bytes().into(), last: last.to_be_bytes().into() }
            });
            NamedSet { entries: Arc::new(entries.collect()), ..named("x", &[]) }
        };
        let steps = |old: &[NamedSet], new: &mut NamedSet| -> Vec<SetLayout> {
            let steps = Stages::new(old, std::slice::from_mut(new));
            steps.map(|sets| sets[0].layout.clone()).collect()
        };
        let mut before = list(0..60_000);
        steps(&[], &mut before);
        let near = before.layout.near(Family::V4).expect("five lengths");
        let mut after = list(5_000..65_000);
        let on_the_way = steps(std::slice::from_ref(&before), &mut after);
        assert!(on_the_way.len() > 1, "in steps");
        for layout in on_the_way.iter().chain([&after.layout]) {
            assert_eq!((layout.near(Family::V4), &layout.v4), (Some(near), &before.layout.v4));
        }
    }

    fn as_v4(ip: std::net::IpAddr) -> Ipv4Addr {
        match ip {
            std::net::IpAddr::V4(ip) => ip,
            std::net::IpAddr::V6(_) => unreachable!("these are of IPv4"),
        }
    }

    #[test]
    fn a_large_list_takes_as_many_steps_as_its_changes_and_a_small_change_none() {
        let ip = |n: u32| std::net::IpAddr::from((0x0a00_0000 + n * 32).to_be_bytes());
        let list = |range: std::ops::Range<u32>| {
            let entries = range.map(|n| AddressRange { first: ip(n), last: ip(n) }).collect();
            NamedSet { entries: Arc::new(entries), ..named("x", &[]) }
        };
        let sizes = |old: &[NamedSet], new: NamedSet| -> Vec<usize> {
            Stages::new(old, &mut [new]).map(|sets| sets[0].entries.len()).collect()
        };
        let all: Vec<usize> = (1..25).map(|n| n * STEP).collect();
        assert_eq!(sizes(&[], list(0..100_000)), all);
        assert_eq!(sizes(&[list(0..100_000)], list(0..100_003)), Vec::<usize>::new());
        assert_eq!(sizes(&[list(0..10_000)], list(10_000..10_001)), [10_000 - STEP, 10_000 - 2 * STEP]);
    }
}
