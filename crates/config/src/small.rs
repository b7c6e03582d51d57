//! For the few dozen of anything that a router has: collecting and sorting with little code.
//!
//! The standard library's ways are made for millions. Sorting is 5 KiB of machine code for every type, and again in every place that
//! collects into a map; together that was a tenth of the binary. Where there may be thousands they are right.

/// Collects into a set or a map by entering one after the other.
pub trait Gather: Iterator + Sized {
    /// What [`Iterator::collect`] gives.
    fn gather<C: Default + Extend<Self::Item>>(self) -> C {
        let mut all = C::default();
        all.extend(self);
        all
    }
}

impl<I: Iterator> Gather for I {}

/// Sorts by a key; equals keep their order. Takes a time that grows with the square of a list in disorder.
pub fn sort_short<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    sort_short_by(list, |a, b| key(a) > key(b));
}

/// The same by a comparison: whether the first belongs behind the second.
pub fn sort_short_by<T>(list: &mut [T], behind: impl Fn(&T, &T) -> bool) {
    for end in 1..list.len() {
        for at in (1..=end).rev() {
            if !behind(&list[at - 1], &list[at]) {
                break;
            }
            list.swap(at - 1, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn short_lists_are_sorted_as_long_ones_are(list in prop::collection::vec((0..9u8, any::<u8>()), 0..60)) {
            let (mut ours, mut expected) = (list.clone(), list.clone());
            sort_short(&mut ours, |(key, _)| std::cmp::Reverse(*key));
            expected.sort_by_key(|(key, _)| std::cmp::Reverse(*key));
            prop_assert_eq!(ours, expected);
            let gathered: std::collections::BTreeMap<u8, u8> = list.iter().copied().gather();
            prop_assert_eq!(gathered, list.into_iter().collect());
        }
    }
}
