//! Where everything is in a file. All of it follows from the constants here; a change of any of them is another version.
//!
//! ```text
//! header │ IPv4: tiers │ IPv6: tiers │ traffic: tiers │ IPv4: outages │ IPv6: outages
//! tier   = ring of blocks: block n is at n mod blocks
//! block  = number u32 │ CRC-32 of all but itself u32 │ day: what was measured in it │ records
//! ```
//! A block knows by its number which time it is of, so a gap is a gap and nothing of another time is ever taken for this
//! one. Integers are little-endian.

use crate::record::{Health, Record, Traffic, Width};

/// Version of the format.
pub(crate) const VERSION: u32 = 1;
/// Bytes of the header.
pub(crate) const HEADER_SIZE: usize = 512;
/// Bytes before the records of a block.
pub(crate) const BLOCK_HEADER: usize = 8;
/// Bytes of an outage.
pub(crate) const OUTAGE_SIZE: usize = 128;
/// Outages that are kept of a path.
pub const OUTAGES_MAX: usize = 168;
/// Largest file of an interface, bytes.
pub const INTERFACE_SIZE_MAX: u64 = 2 << 20;

/// One resolution.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Tier {
    /// Seconds of a slot.
    pub(crate) step_s: u32,
    /// Slots of a block.
    pub(crate) slots: u32,
    /// Blocks of the ring: one more than is promised, for the one that is being filled.
    pub(crate) blocks: u32,
    pub(crate) width: Width,
}

impl Tier {
    /// Seconds of a block.
    pub(crate) const fn span_s(self) -> u32 {
        self.step_s * self.slots
    }

    /// How far it reaches back at least, seconds.
    pub(crate) const fn keeps_s(self) -> u32 {
        self.span_s() * (self.blocks - 1)
    }
}

/// 1 s for an hour, 10 s for a day, a minute for 31 days, an hour for two years.
pub(crate) const TIERS: [Tier; 4] = [
    Tier { step_s: 1, slots: 60, blocks: 61, width: Width::Fine },
    Tier { step_s: 10, slots: 60, blocks: 145, width: Width::Fine },
    Tier { step_s: 60, slots: 60, blocks: 745, width: Width::Fine },
    Tier { step_s: 3600, slots: 24, blocks: 732, width: Width::Hour },
];
/// The indices of [`TIERS`].
pub(crate) const SECONDS: usize = 0;
pub(crate) const TENS: usize = 1;
pub(crate) const MINUTES: usize = 2;
pub(crate) const HOURS: usize = 3;

/// One of the series of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stream {
    /// The path of that family: 0 is IPv4, 1 IPv6.
    Path(usize),
    /// Bytes of the device.
    Traffic,
}

impl Stream {
    /// In the order of the file.
    pub(crate) const ALL: [Stream; 3] = [Stream::Path(0), Stream::Path(1), Stream::Traffic];

    pub(crate) fn is_path(self) -> bool {
        self != Stream::Traffic
    }

    fn record_size(self, width: Width) -> usize {
        if self.is_path() { Health::size(width) } else { Traffic::size(width) }
    }

    /// Bytes between header and records.
    pub(crate) fn extra_size(self, tier: usize) -> usize {
        if self.is_path() && tier == HOURS { crate::day::Day::SIZE } else { 0 }
    }

    pub(crate) fn block_size(self, tier: usize) -> usize {
        let Tier { slots, width, .. } = TIERS[tier];
        BLOCK_HEADER + self.extra_size(tier) + slots as usize * self.record_size(width)
    }

    fn size(self) -> u64 {
        (0..TIERS.len()).map(|tier| self.ring_size(tier)).sum()
    }

    fn ring_size(self, tier: usize) -> u64 {
        self.block_size(tier) as u64 * u64::from(TIERS[tier].blocks)
    }

    /// Where the block of that number is.
    pub(crate) fn block_at(self, tier: usize, number: u32) -> u64 {
        let before: u64 = match self {
            Stream::Path(family) => family as u64 * self.size(),
            Stream::Traffic => 2 * Stream::Path(0).size(),
        };
        let rings: u64 = (0..tier).map(|tier| self.ring_size(tier)).sum();
        let index = number % TIERS[tier].blocks;
        HEADER_SIZE as u64 + before + rings + self.block_size(tier) as u64 * u64::from(index)
    }
}

/// Where an outage is.
pub(crate) fn outage_at(family: usize, index: usize) -> u64 {
    let tiers: u64 = Stream::ALL.into_iter().map(Stream::size).sum();
    HEADER_SIZE as u64 + tiers + ((family * OUTAGES_MAX + index) * OUTAGE_SIZE) as u64
}

/// Bytes of a file; all of them are the same.
pub fn file_size() -> u64 {
    outage_at(2, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn an_interface_is_within_its_bound() {
        println!("{} bytes", file_size());
        assert!(file_size() <= INTERFACE_SIZE_MAX);
    }

    #[test]
    fn tiers_reach_as_far_as_is_promised() {
        let reach: Vec<u32> = TIERS.into_iter().map(Tier::keeps_s).collect();
        assert_eq!(reach, [3600, 86_400, 31 * 86_400, 731 * 86_400]);
        // A slot is made of whole slots of the tier below, which are in one of its blocks, and that is still there.
        for pair in TIERS.windows(2) {
            assert_eq!(pair[1].step_s % pair[0].step_s, 0);
            assert!(pair[0].keeps_s() >= pair[1].step_s);
        }
    }

    #[test]
    fn nothing_overlaps() {
        let mut places = BTreeSet::from([(0, HEADER_SIZE as u64)]);
        for stream in Stream::ALL {
            for (tier, ring) in TIERS.into_iter().enumerate() {
                for number in 0..ring.blocks {
                    let at = stream.block_at(tier, number);
                    places.insert((at, at + stream.block_size(tier) as u64));
                    assert_eq!(at, stream.block_at(tier, number + ring.blocks));
                }
            }
        }
        for family in 0..2 {
            for index in 0..OUTAGES_MAX {
                let at = outage_at(family, index);
                places.insert((at, at + OUTAGE_SIZE as u64));
            }
        }
        let mut end = 0;
        for (from, to) in places {
            assert_eq!(from, end);
            end = to;
        }
        assert_eq!(end, file_size());
    }
}
