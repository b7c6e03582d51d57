//! Sets of whole numbers as sorted ranges: addresses of one family, ports.

/// `first..=last` ranges, ascending, none touching the next.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Spans(Vec<(u128, u128)>);

impl Spans {
    /// Everything from 0 to `last`.
    pub(super) fn up_to(last: u128) -> Self {
        Spans(vec![(0, last)])
    }

    /// The union of `ranges`, each with `first <= last`, in any order.
    pub(super) fn of(ranges: impl IntoIterator<Item = (u128, u128)>) -> Self {
        let mut ranges: Vec<(u128, u128)> = ranges.into_iter().collect();
        ranges.sort_unstable();
        let mut merged: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        Spans(merged)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The lowest and the highest number.
    pub(super) fn ends(&self) -> Option<(u128, u128)> {
        Some((self.0.first()?.0, self.0.last()?.1))
    }

    pub(super) fn contains(&self, number: u128) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        behind.checked_sub(1).is_some_and(|at| number <= self.0[at].1)
    }

    /// Whether all of `other` is in it.
    pub(super) fn covers(&self, other: &Spans) -> bool {
        other.0.iter().all(|&(first, last)| {
            let behind = self.0.partition_point(|(mine, _)| *mine <= first);
            behind.checked_sub(1).is_some_and(|at| last <= self.0[at].1)
        })
    }

    /// What is in both.
    pub(super) fn and(&self, other: &Spans) -> Spans {
        let mut both = Vec::new();
        for &(first, last) in &self.0 {
            let from = other.0.partition_point(|(_, end)| *end < first);
            let overlapping = other.0[from..].iter().take_while(|(start, _)| *start <= last);
            both.extend(overlapping.map(|&(start, end)| (first.max(start), last.min(end))));
        }
        Spans(both)
    }

    /// What is not in `other`.
    pub(super) fn without(&self, other: &Spans) -> Spans {
        let mut rest = Vec::new();
        for &(first, last) in &self.0 {
            let from = other.0.partition_point(|(_, end)| *end < first);
            let mut next = Some(first);
            for &(start, end) in other.0[from..].iter().take_while(|(start, _)| *start <= last) {
                let Some(begin) = next else { break };
                if begin < start {
                    rest.push((begin, start - 1));
                }
                next = end.checked_add(1).filter(|begin| *begin <= last);
            }
            rest.extend(next.map(|begin| (begin, last)));
        }
        Spans(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of subsets of 0..=5, and the edge of the numbers.
    #[test]
    fn agree_with_bit_sets() {
        let of = |bits: u32| Spans::of((0..6).filter(|n| bits >> n & 1 == 1).map(|n| (n, n)));
        for a in 0..64u32 {
            for b in 0..64u32 {
                assert_eq!(of(a).and(&of(b)), of(a & b), "{a:b} {b:b}");
                assert_eq!(of(a).without(&of(b)), of(a & !b), "{a:b} {b:b}");
                assert_eq!(of(a).covers(&of(b)), b & !a == 0, "{a:b} {b:b}");
                assert!((0..6).all(|n| of(a).contains(n) == (a >> n & 1 == 1)));
            }
        }
        let all = Spans::up_to(u128::MAX);
        let top = Spans::of([(u128::MAX, u128::MAX)]);
        assert_eq!(all.without(&top), Spans::of([(0, u128::MAX - 1)]));
        assert!(top.without(&all).is_empty() && all.covers(&top) && all.contains(u128::MAX));
    }
}
