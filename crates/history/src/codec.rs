//! Numbers in few bits, and checksums.

/// A number in an exponent and `mantissa` bits: exact below `2^mantissa`, above that within `2^-(mantissa + 1)` of it. Codes are in
/// the order of the numbers.
pub(crate) fn encode(value: u64, mantissa: u32) -> u64 {
    let shift = value.checked_ilog2().unwrap_or(0).saturating_sub(mantissa);
    if value < 1 << mantissa {
        return value;
    }
    let half = if shift > 0 { value >> (shift - 1) & 1 } else { 0 };
    // Rounding up may carry into the exponent, which is the next larger code.
    ((u64::from(shift) + 1) << mantissa) + (value >> shift) + half - (1 << mantissa)
}

/// The number of a code; no code is too large.
pub(crate) fn decode(code: u64, mantissa: u32) -> u64 {
    let exponent = code >> mantissa;
    if exponent == 0 {
        return code;
    }
    let significand = (1 << mantissa) + (code & ((1 << mantissa) - 1));
    u32::try_from(exponent - 1)
        .ok()
        .filter(|shift| *shift <= u64::leading_zeros(significand))
        .map_or(u64::MAX, |shift| significand << shift)
}

/// Fields of a record, one behind the other from the lowest bit.
#[derive(Default)]
pub(crate) struct Bits {
    bits: u128,
    used: u32,
}

impl Bits {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut all = [0; 16];
        all[..bytes.len()].copy_from_slice(bytes);
        Bits { bits: u128::from_le_bytes(all), used: 0 }
    }

    /// Adds `value`, or the largest that fits.
    pub(crate) fn put(&mut self, value: u64, width: u32) {
        self.bits |= u128::from(value.min((1 << width) - 1)) << self.used;
        self.used += width;
    }

    pub(crate) fn take(&mut self, width: u32) -> u64 {
        let value = self.bits & ((1 << width) - 1);
        self.bits >>= width;
        u64::try_from(value).unwrap_or(0)
    }

    pub(crate) fn write(&self, out: &mut [u8]) {
        out.copy_from_slice(&self.bits.to_le_bytes()[..out.len()]);
    }
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC-32 as in IEEE 802.3 (and gzip, RFC 1952 8).
pub(crate) fn crc32<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    !bytes.fold(!0, |crc, byte| crc >> 8 ^ CRC_TABLE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_that_of_everybody() {
        assert_eq!(crc32([&b"1234"[..], b"56789"]), 0xCBF4_3926);
    }

    proptest! {
        #[test]
        fn codes_are_near_and_in_order(value in 0..u64::MAX / 2, shift in 0..63u32, mantissa in 5..27u32) {
            let value = value >> shift;
            let near = decode(encode(value, mantissa), mantissa);
            prop_assert!(near.abs_diff(value) <= value >> (mantissa + 1), "{value} {near}");
            if value < 1 << mantissa {
                prop_assert_eq!(near, value);
            }
            prop_assert!(encode(value, mantissa) <= encode(value + 1, mantissa));
            prop_assert_eq!(encode(near, mantissa), encode(value, mantissa));
        }

        #[test]
        fn bits_come_back(fields in proptest::collection::vec((any::<u64>(), 1..33u32), 0..4)) {
            let mut bits = Bits::default();
            fields.iter().for_each(|(value, width)| bits.put(*value, *width));
            let mut bytes = [0; 16];
            bits.write(&mut bytes);
            let mut bits = Bits::of(&bytes);
            for (value, width) in fields {
                prop_assert_eq!(bits.take(width), value.min((1 << width) - 1));
            }
        }

        #[test]
        fn any_code_is_a_number(code in any::<u64>(), mantissa in 1..30u32) {
            decode(code, mantissa);
        }
    }
}
