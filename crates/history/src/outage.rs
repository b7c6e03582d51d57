//! Times in which a path was not usable, with their cause.

use crate::codec::crc32;
use crate::layout::OUTAGE_SIZE;

/// A time in which a path was not usable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outage {
    /// Which of its path's it is, counted from 1.
    pub number: u32,
    /// When it began, milliseconds since 1970.
    pub start_ms: u64,
    /// When it ended; absent: it goes on.
    pub end: Option<End>,
    /// Stable word for the cause.
    pub code: String,
    /// The cause for people.
    pub text: String,
}

/// The end of an outage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct End {
    /// Milliseconds since 1970.
    pub at_ms: u64,
    /// Whether it was seen to end; else this is when it was seen last.
    pub seen: bool,
}

const CODE_MAX: usize = 20;
const TEXT_MAX: usize = 80;
/// The end was not seen.
const UNSEEN: u8 = 1;

impl Outage {
    /// Milliseconds of it between two times; `now_ms` is the end of one that goes on.
    pub fn within_ms(&self, from_ms: u64, to_ms: u64, now_ms: u64) -> u64 {
        let end = self.end.map_or(now_ms, |end| end.at_ms).min(to_ms);
        end.saturating_sub(self.start_ms.max(from_ms))
    }

    /// Whether any of it is between two times.
    pub fn touches(&self, from_ms: u64, to_ms: u64) -> bool {
        self.start_ms < to_ms && self.end.is_none_or(|end| end.at_ms >= from_ms)
    }

    pub(crate) fn write(&self) -> [u8; OUTAGE_SIZE] {
        let mut out = [0; OUTAGE_SIZE];
        let (code, text) = (cut(&self.code, CODE_MAX), cut(&self.text, TEXT_MAX));
        out[4..8].copy_from_slice(&self.number.to_le_bytes());
        out[8..16].copy_from_slice(&self.start_ms.to_le_bytes());
        out[16..24].copy_from_slice(&self.end.map_or(0, |end| end.at_ms).to_le_bytes());
        out[24] = u8::from(self.end.is_some_and(|end| !end.seen)) * UNSEEN;
        out[25] = u8::try_from(code.len()).unwrap_or(0);
        out[26] = u8::try_from(text.len()).unwrap_or(0);
        out[28..28 + code.len()].copy_from_slice(code.as_bytes());
        out[48..48 + text.len()].copy_from_slice(text.as_bytes());
        let crc = crc32([&out[4..]]);
        out[..4].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// `None`: there is none, or it is damaged.
    pub(crate) fn read(bytes: &[u8; OUTAGE_SIZE]) -> Option<Self> {
        let word = |at: usize| bytes[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let long = |at: usize| bytes[at..at + 8].try_into().map_or(0, u64::from_le_bytes);
        let text = |at: usize, length: u8| {
            let bytes = bytes.get(at..at + usize::from(length))?;
            Some(String::from_utf8_lossy(bytes).into_owned())
        };
        let number = word(4);
        if number == 0 || word(0) != crc32([&bytes[4..]]) {
            return None;
        }
        let end =
            Some(long(16)).filter(|at| *at > 0).map(|at_ms| End { at_ms, seen: bytes[24] & UNSEEN == 0 });
        Some(Outage {
            number,
            start_ms: long(8),
            end,
            code: text(28, bytes[25])?,
            text: text(48, bytes[26])?,
        })
    }
}

/// At most so many bytes, whole characters.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn comes_back_or_is_found_to_be_damaged(
            number in 1..u32::MAX, start_ms: u64, end in proptest::option::of((1..u64::MAX, any::<bool>())),
            code in "[a-z_]{0,20}", text in "\\PC{0,60}", at in 0..OUTAGE_SIZE, flip in 1..=255u8,
        ) {
            let end = end.map(|(at_ms, seen)| End { at_ms, seen });
            let outage = Outage { number, start_ms, end, code, text };
            let bytes = outage.write();
            let read = Outage::read(&bytes).unwrap();
            prop_assert!(outage.text.starts_with(&read.text));
            prop_assert!(read.text.len() + 3 >= outage.text.len().min(TEXT_MAX));
            prop_assert_eq!(Outage { text: outage.text.clone(), ..read }, outage);
            let mut damaged = bytes;
            damaged[at] ^= flip;
            prop_assert_eq!(Outage::read(&damaged), None);
        }
    }
}
