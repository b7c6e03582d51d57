//! Marks: small numbers spread over the bits of `mmx_mask` (mwan3's scheme, see `COMPAT` facts).

use std::collections::BTreeMap;

use mwan_config::Gather;
/// The mask and the values that follow from it.
///
/// With *b* bits set: default = 2^b−1, unreachable = 2^b−2, blackhole = 2^b−3, highest interface id 2^b−4.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Marks {
    mask: u32,
}

impl Marks {
    /// `mask` must have at least three bits set (the configuration guarantees it).
    pub fn new(mask: u32) -> Self {
        debug_assert!(mask.count_ones() >= 3, "mask {mask:#x} is too small");
        Marks { mask }
    }

    /// Our bits.
    pub fn mask(self) -> u32 {
        self.mask
    }

    /// All-ones value: "routed by the main table".
    pub fn default_id(self) -> u32 {
        (u64::MAX >> (64 - self.mask.count_ones())) as u32
    }

    /// Value of traffic answered with unreachable.
    pub fn unreachable_id(self) -> u32 {
        self.default_id() - 1
    }

    /// Value of traffic dropped silently.
    pub fn blackhole_id(self) -> u32 {
        self.default_id() - 2
    }

    /// Highest id an interface can have.
    pub fn max_interface_id(self) -> u32 {
        self.default_id() - 3
    }

    /// The mark of a value: its bits, lowest first, on the set bits of the mask.
    pub fn of(self, id: u32) -> u32 {
        let mut mark = 0;
        let mut rest = self.mask;
        for bit in 0..self.mask.count_ones() {
            let place = rest & rest.wrapping_neg();
            rest &= rest - 1;
            if id & (1 << bit) != 0 {
                mark |= place;
            }
        }
        mark
    }

    /// The value in a mark: the reverse of [`Marks::of`].
    pub fn id_of(self, mark: u32) -> u32 {
        let (mut id, mut rest) = (0, self.mask);
        for bit in 0..self.mask.count_ones() {
            let place = rest & rest.wrapping_neg();
            rest &= rest - 1;
            if mark & place != 0 {
                id |= 1 << bit;
            }
        }
        id
    }
}

/// How connection entries get from the marks of one mask to those of another, so that established flows keep their WAN
/// (I10) and no bit of ours stays behind where it is somebody else's now (I3).
///
/// In this order: every entry gets its new bits beside the old ones, the program is exchanged, the old bits are cleared.
/// That loses nothing as long as an entry can have both ([`Remark::lossless`]); else the entries listed before the exchange
/// are marked anew right after it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Remark {
    old: Marks,
    new: Marks,
    /// Interfaces that are in both configurations, by their old id.
    ids: BTreeMap<u32, u32>,
}

impl Remark {
    /// `ids`: old and new id of every interface that is in both configurations.
    pub fn new(old: Marks, new: Marks, ids: impl IntoIterator<Item = (u32, u32)>) -> Self {
        Remark { old, new, ids: ids.into_iter().gather() }
    }

    /// The bits that are written.
    pub fn mask(&self) -> u32 {
        self.old.mask | self.new.mask
    }

    /// Whether every entry can have both marks at once: those that share bits agree in them. So it is for masks that have
    /// no bit in common and for one that is a continuation of the other.
    pub fn lossless(&self) -> bool {
        let both = self.old.mask & self.new.mask;
        let specials = [self.old.default_id(), self.old.unreachable_id(), self.old.blackhole_id()];
        self.ids.keys().copied().chain(specials).all(|id| (self.old.of(id) ^ self.new_mark(id)) & both == 0)
    }

    /// An entry's mark before the exchange, if it is to be changed: both.
    pub fn before(&self, mark: u32) -> Option<u32> {
        let id = self.old.id_of(mark);
        let both = mark & !self.new.mask | self.new_mark(id);
        (id != 0 && self.lossless() && both != mark).then_some(both)
    }

    /// The mark after the exchange of an entry that had its old mark before.
    pub fn translated(&self, mark: u32) -> Option<u32> {
        let id = self.old.id_of(mark);
        let new = mark & !self.mask() | self.new_mark(id);
        (id != 0 && new != mark).then_some(new)
    }

    /// The same if it is not known whether it had, because it may have been set up since. Only if [`Remark::lossless`].
    pub fn after(&self, mark: u32) -> Option<u32> {
        let new_bits = mark & self.new.mask;
        let new_id = self.new.id_of(mark);
        if new_id < self.new.blackhole_id() && !self.ids.values().any(|id| *id == new_id) {
            return self.translated(mark);
        }
        let cleared = mark & !self.mask() | new_bits;
        (cleared != mark).then_some(cleared)
    }

    /// The new mark of an old id. An interface that left the configuration keeps its id if there is room for it: its flows
    /// are still to be found by it.
    fn new_mark(&self, id: u32) -> u32 {
        let (old, new) = (self.old, self.new);
        match id {
            _ if id == old.default_id() => new.of(new.default_id()),
            _ if id == old.unreachable_id() => new.of(new.unreachable_id()),
            _ if id == old.blackhole_id() => new.of(new.blackhole_id()),
            _ => {
                let id = self.ids.get(&id).copied().unwrap_or(id);
                if id <= new.max_interface_id() { new.of(id) } else { 0 }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [(u32, u32); 3] = [(1, 1), (2, 2), (7, 3)];

    fn ids_of(m: Marks) -> [u32; 3] {
        [m.default_id(), m.unreachable_id(), m.blackhole_id()]
    }

    /// Every pair of masks × every mark an entry can have, with other packages' bits beside it.
    #[test]
    fn marks_survive_a_change_of_the_mask() {
        let masks = [0x3F00, 0xFF00, 0xFC000, 0xAA00, 0x1F80, 0x00FF_0000, 0x3E00];
        let mut lossless = 0;
        for (old, new) in
            masks.iter().flat_map(|a| masks.iter().map(move |b| (Marks::new(*a), Marks::new(*b))))
        {
            let remark = Remark::new(old, new, IDS);
            lossless += u32::from(remark.lossless());
            let foreign = 0x8000_0001;
            let pairs = IDS.into_iter().chain(ids_of(old).into_iter().zip(ids_of(new)));
            for (from, to) in pairs {
                let (was, is) = (old.of(from) | foreign, new.of(to) | foreign);
                assert_eq!(remark.translated(was).unwrap_or(was), is, "{old:x?} {new:x?} {from}");
                if !remark.lossless() {
                    assert_eq!(remark.before(was), None);
                    continue;
                }
                let both = remark.before(was).unwrap_or(was);
                assert_eq!((old.id_of(both), new.id_of(both), both & foreign), (from, to, foreign));
                assert_eq!(remark.before(both), None, "once is enough");
                for seen in [was, both, is] {
                    assert_eq!(remark.after(seen).unwrap_or(seen), is, "{old:x?} {new:x?} {from}: {seen:x}");
                }
            }
            assert_eq!((remark.before(foreign), remark.after(foreign)), (None, None), "not ours");
        }
        println!("{lossless} of {} pairs of masks are lossless", masks.len() * masks.len());
        let of = |a, b| Remark::new(Marks::new(a), Marks::new(b), IDS).lossless();
        assert!(of(0x3F00, 0xFC000) && !of(0x3F00, 0x1F80));
        let same = |a, b| Remark::new(Marks::new(a), Marks::new(b), [(1, 1), (2, 2)]).lossless();
        assert!(same(0x3F00, 0xFF00) && same(0xFF00, 0x3F00));
    }

    #[test]
    fn an_id_without_room_loses_its_bits() {
        let remark = Remark::new(Marks::new(0x3F00), Marks::new(0x70000), [(1, 1)]);
        assert_eq!(remark.translated(0x2800_u32 | 1), Some(1));
        assert_eq!(remark.translated(0x0400 | 1), Some(0x40001));
    }

    #[test]
    fn values_of_the_default_mask() {
        let m = Marks::new(0x3F00);
        assert_eq!((m.of(1), m.of(5)), (0x100, 0x500));
        assert_eq!(
            (m.default_id(), m.unreachable_id(), m.blackhole_id(), m.max_interface_id()),
            (63, 62, 61, 60)
        );
        assert_eq!(m.of(m.default_id()), 0x3F00);
    }

    #[test]
    fn bits_are_spread_over_any_mask() {
        assert_eq!(Marks::new(0xAA).of(5), 0x22);
        assert_eq!(Marks::new(u32::MAX).of(u32::MAX - 3), u32::MAX - 3);
        assert_eq!(Marks::new(u32::MAX).default_id(), u32::MAX);
    }
}
