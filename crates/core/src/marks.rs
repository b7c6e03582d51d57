//! Marks: small numbers spread over the bits of `mmx_mask` (mwan3's scheme, see `COMPAT` facts).

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
}

#[cfg(test)]
mod tests {
    use super::*;

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
