//! A large change of named sets in steps, so that no transaction is long: a failover waits for one step at most.

use std::sync::Arc;

use mwan_config::{AddressRange, Family, NamedSet, SetLayout};

use crate::blocks::{Counts, LARGE_MIN, LEVELS_MAX, add, anew, layout, total};
use crate::ranges::{merge, touches};

/// Elements one step adds or removes, about: some 20 ms in the kernel.
pub const STEP: usize = 4_096;

/// The lists between those in force and new ones. In each of them every address is in a set either as before or as
/// afterwards: a step ends only between two ranges, never inside of one that grows, shrinks or is split. Sets that are new
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
            if *changed >= step && !reach.is_some_and(behind) {
                cuts.push(Cut { sets, new, old });
                *changed = 0;
            }
            let (next, in_new, in_old) = (*next, n == Some(next), o == Some(next));
            new += usize::from(in_new);
            old += usize::from(in_old);
            *changed += usize::from(in_new != in_old);
            reach = reach.max(Some(next.last));
        }
    }

    /// The layout at these cuts, and when all is new and other sets are not yet.
    fn on_the_way(&self, cuts: &[Cut], large_min: usize) -> SetLayout {
        if self.counters {
            return SetLayout::default();
        }
        let lists: &[&[AddressRange]] =
            if cuts.is_empty() { &[&self.new.entries] } else { &[&self.new.entries, &self.old] };
        let counts = Family::ALL.map(|family| Counts::of(family, lists));
        let [v4, v6] = &counts;
        layout([v4, v6], &self.layout, large_min, &|family, levels| self.most(cuts, family, levels))
    }

    /// The most blocks per level that are in the set at once: the new ranges up to a cut and the old ones behind it.
    fn most(&self, cuts: &[Cut], family: Family, levels: &[u8]) -> [u64; LEVELS_MAX] {
        let mut most = total(&self.new.entries, family, levels);
        let mut there = total(&self.old, family, levels);
        let (mut new, mut old) = (0, 0);
        for cut in cuts {
            there = add(there, total(&self.new.entries[new..cut.new], family, levels));
            for (there, gone) in there.iter_mut().zip(total(&self.old[old..cut.old], family, levels)) {
                *there = there.saturating_sub(gone);
            }
            most.iter_mut().zip(there).for_each(|(most, there)| *most = (*most).max(there));
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
        let mixed = [&pair.new.entries[..cut.new], &pair.old[cut.old..]].concat();
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
    use std::net::Ipv4Addr;

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
        let (mut found, mut near) = ([false; 256], None);
        let parts = sets.iter().find(|s| s.name == name).map(named::sets).unwrap_or_default();
        for (part_name, part) in parts.into_iter().filter(|(_, part)| part.kind.family == Family::V4) {
            let elements = part.elements.expect("a list");
            let length = match part.kind.elements {
                ElementKind::Blocks(level) => {
                    let blocks: usize =
                        elements.iter().map(|run| addresses(*run, level.length).count()).sum();
                    assert!(blocks <= level.size as usize, "{blocks} blocks in {level:?}");
                    level.length
                }
                _ => 32,
            };
            let to = if part_name.ends_with(".near") { near.insert([false; 256]) } else { &mut found };
            for (found, n) in to.iter_mut().zip(0..=255u8) {
                let net = ipnet::Ipv4Net::new(Ipv4Addr::new(10, 0, 0, n), length).expect("a length");
                let cut = std::net::IpAddr::from(net.network());
                *found |= elements.iter().any(|r| r.first <= cut && cut <= r.last);
            }
        }
        if let Some(near) = near {
            assert!(
                found.iter().zip(near).all(|(found, near)| near || !found),
                "what is in the list is near"
            );
        }
        found
    }

    fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((any::<u8>(), 0..9u8).prop_map(|(a, n)| (a, a.saturating_add(n))), 0..40)
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
        }
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
