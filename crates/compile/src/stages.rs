//! A large change of named sets in steps, so that no transaction is long: a failover waits for one step at most.

use std::sync::Arc;

use mwan_config::{AddressRange, NamedSet};

use crate::ranges::merge;

/// Elements one step adds or removes, about: some 20 ms in the kernel.
pub const STEP: usize = 4_096;

/// The lists between those in force and new ones. In each of them every address is in a set either as before or as
/// afterwards: a step ends only between two ranges, never inside of one that grows, shrinks or is split. Sets that are new
/// fill before a rule refers to them (I5); the other options of a set stay as they are.
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
}

/// Up to here all is new: so many sets, so many ranges of the next one's list afterwards and before.
#[derive(Debug)]
struct Cut {
    sets: usize,
    new: usize,
    old: usize,
}

impl Stages {
    /// From `old` to `new`, whose lists are sorted and merged by this. Nothing to do if the change is small.
    pub fn new(old: &[NamedSet], new: &mut [NamedSet]) -> Self {
        Stages::with_step(old, new, STEP)
    }

    fn with_step(old: &[NamedSet], new: &mut [NamedSet], step: usize) -> Self {
        let mut pairs = Vec::new();
        for set in new {
            set.entries = Arc::new(merge(set.entries.iter().copied()));
            let before = old.iter().find(|o| o.name == set.name);
            let old = before.map(|o| merge(o.entries.iter().copied())).unwrap_or_default();
            pairs.push(Pair { new: set.clone(), old });
        }
        let mut cuts = Vec::new();
        let mut changed = 0;
        for (index, pair) in pairs.iter().enumerate() {
            pair.cuts(index, step, &mut changed, &mut cuts);
        }
        Stages { sets: old.to_vec(), pairs, cuts: cuts.into_iter(), done: 0 }
    }

    fn put(&mut self, index: usize, entries: Arc<Vec<AddressRange>>) {
        let set = &self.pairs[index].new;
        match self.sets.iter_mut().find(|s| s.name == set.name) {
            Some(there) => there.entries = entries,
            None => self.sets.push(NamedSet { entries, ..set.clone() }),
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
            if *changed >= step && reach.is_none_or(|reach| next.first > reach) {
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
    use mwan_config::{Families, Location};
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn named(name: &str, ranges: &[(u8, u8)]) -> NamedSet {
        let ip = |n: u8| Ipv4Addr::new(10, 0, 0, n).into();
        let range = |&(a, b): &(u8, u8)| AddressRange { first: ip(a.min(b)), last: ip(a.max(b)) };
        NamedSet {
            name: name.into(),
            families: Families::ALL,
            entries: Arc::new(ranges.iter().map(range).collect()),
            file: None,
            domains: Arc::default(),
            timeout: None,
            counters: false,
            location: Location { file: "x".into(), line: 1 },
        }
    }

    fn has(sets: &[NamedSet], name: &str, n: u8) -> bool {
        let ip: std::net::IpAddr = Ipv4Addr::new(10, 0, 0, n).into();
        let set = sets.iter().find(|s| s.name == name);
        set.is_some_and(|s| s.entries.iter().any(|r| r.first <= ip && ip <= r.last))
    }

    fn ranges() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((any::<u8>(), 0..9u8).prop_map(|(a, n)| (a, a.saturating_add(n))), 0..40)
    }

    proptest! {
        /// I5: at no step is an address in a set unless it was before or is afterwards, or missing though it is in both;
        /// once it is as afterwards it stays so.
        #[test]
        fn every_address_is_as_before_or_as_afterwards(
            a in ranges(), b in ranges(), c in ranges(), d in ranges(), step in 1..6usize,
        ) {
            let old = [named("x", &a), named("y", &c), named("gone", &a)];
            let mut new = [named("y", &d), named("fresh", &c), named("x", &b)];
            let stages: Vec<_> = Stages::with_step(&old, &mut new, step).collect();
            for name in ["x", "y", "fresh"] {
                for n in 0..=255 {
                    let (before, after) = (has(&old, name, n), has(&new, name, n));
                    let mut seen = before;
                    for sets in &stages {
                        let now = has(sets, name, n);
                        prop_assert!(now == seen || (now == after && seen == before));
                        seen = now;
                    }
                }
            }
            prop_assert!(stages.iter().all(|sets| (0..=255).all(|n| has(sets, "gone", n) == has(&old, "gone", n))));
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
