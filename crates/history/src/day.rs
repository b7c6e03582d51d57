//! What was measured on a day beside its hours: how often which latency, and what became of probes.

/// Classes of latency.
pub(crate) const CLASSES: usize = 80;
/// Lower bound of the fine classes, microseconds: eight to an octave, so a class is 6 to 12 % wide.
const FINE_FROM_US: u32 = 1000;
/// Octaves with fine classes: up to half a second.
const FINE_OCTAVES: u32 = 9;
const PER_OCTAVE: u32 = 8;
/// Classes below the fine ones, each half of them.
const BELOW: u32 = 2;

/// Lower bound of a class, microseconds. The last has no upper one.
fn from_us(class: usize) -> u64 {
    let class = u32::try_from(class).unwrap_or(u32::MAX);
    let fine = FINE_OCTAVES * PER_OCTAVE;
    match class.checked_sub(BELOW) {
        None => u64::from(class * FINE_FROM_US / BELOW),
        Some(of) if of < fine => {
            let octave = u64::from(FINE_FROM_US) << (of / PER_OCTAVE);
            octave + octave * u64::from(of % PER_OCTAVE) / u64::from(PER_OCTAVE)
        }
        Some(of) => u64::from(FINE_FROM_US) << (FINE_OCTAVES + of - fine),
    }
}

/// The class of a latency.
fn class_of(us: u32) -> usize {
    let us = u64::from(us);
    // Bounds ascend: the last that is not above it.
    let (mut low, mut high) = (0, CLASSES);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if from_us(middle) <= us { low = middle } else { high = middle }
    }
    low
}

/// How often which latency was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latencies {
    counts: [u64; CLASSES],
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies { counts: [0; CLASSES] }
    }
}

impl Latencies {
    pub(crate) fn count(&mut self, us: u32) {
        self.counts[class_of(us)] += 1;
    }

    pub(crate) fn add(&mut self, other: &Latencies) {
        for (count, more) in self.counts.iter_mut().zip(other.counts) {
            *count += more;
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The latency that `percent` of them do not exceed, microseconds; `longest_us` is that of all. Within a class they are
    /// taken to be spread evenly.
    pub fn percentile_us(&self, percent: u64, longest_us: u32) -> Option<u64> {
        let total = self.total();
        // Nearest rank: the smallest that enough do not exceed.
        let rank = (total * percent).div_ceil(100).max(1);
        let mut before = 0;
        for (class, count) in self.counts.iter().enumerate() {
            if before + count >= rank {
                let from = from_us(class);
                let to = if class + 1 < CLASSES { from_us(class + 1) } else { u64::MAX };
                let to = to.min(u64::from(longest_us)).max(from);
                return Some((from + (to - from) * (rank - before) / count).min(u64::from(longest_us)));
            }
            before += count;
        }
        None
    }
}

/// What the block of a day holds beside its hours.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Day {
    /// The minute since 1970 up to which it counts, so that none counts twice.
    pub(crate) minute: u32,
    /// Probes sent while the path was usable.
    pub(crate) sent: u32,
    /// Replies to them.
    pub(crate) received: u32,
    /// Every second second: half a day fits into 16 bits.
    pub(crate) latencies: Latencies,
}

impl Day {
    pub(crate) const SIZE: usize = 12 + 2 * CLASSES;

    pub(crate) fn read(bytes: &[u8]) -> Self {
        let word =
            |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes);
        let mut latencies = Latencies::default();
        for (count, pair) in
            latencies.counts.iter_mut().zip(bytes.get(12..).unwrap_or_default().chunks_exact(2))
        {
            *count = u64::from(u16::from_le_bytes([pair[0], pair[1]]));
        }
        Day { minute: word(0), sent: word(4), received: word(8), latencies }
    }

    pub(crate) fn write(&self, out: &mut [u8]) {
        out[..4].copy_from_slice(&self.minute.to_le_bytes());
        out[4..8].copy_from_slice(&self.sent.to_le_bytes());
        out[8..12].copy_from_slice(&self.received.to_le_bytes());
        for (pair, count) in out[12..].chunks_exact_mut(2).zip(self.latencies.counts) {
            pair.copy_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_ascend_and_hold_what_is_in_them() {
        assert_eq!((from_us(0), from_us(1), from_us(2)), (0, 500, 1000));
        assert_eq!((from_us(74), from_us(79)), (512_000, 16_384_000));
        for class in 1..CLASSES {
            let from = u32::try_from(from_us(class)).unwrap_or(0);
            assert!(from_us(class - 1) < from_us(class));
            assert_eq!((class_of(from - 1), class_of(from)), (class - 1, class));
        }
        assert_eq!(class_of(u32::MAX), CLASSES - 1);
    }

    #[test]
    fn nothing_has_no_percentile() {
        assert_eq!(Latencies::default().percentile_us(50, 7), None);
    }

    proptest! {
        /// Against the nearest rank of all values, by sorting.
        #[test]
        fn percentiles_are_within_a_class(
            values in proptest::collection::vec(1_000..500_000u32, 1..300), percent in 1..100u64,
        ) {
            let mut latencies = Latencies::default();
            values.iter().for_each(|us| latencies.count(*us));
            let mut sorted = values.clone();
            sorted.sort_unstable();
            let rank = (sorted.len() as u64 * percent).div_ceil(100).max(1);
            let exact = u64::from(sorted[usize::try_from(rank).unwrap() - 1]);
            let longest = *sorted.last().unwrap();
            let near = latencies.percentile_us(percent, longest).unwrap();
            prop_assert!(near.abs_diff(exact) <= exact / 8, "{near} {exact}");
            prop_assert!(near <= u64::from(longest));
        }

        #[test]
        fn a_day_comes_back(minute: u32, sent: u32, received: u32, values in proptest::collection::vec(any::<u32>(), 0..50)) {
            let mut day = Day { minute, sent, received, latencies: Latencies::default() };
            values.iter().for_each(|us| day.latencies.count(*us));
            let mut bytes = [0; Day::SIZE];
            day.write(&mut bytes);
            prop_assert_eq!(Day::read(&bytes), day);
        }
    }
}
