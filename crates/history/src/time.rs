//! Months, UTC.

use mwan_api::calendar::{civil, days};

/// The last second of 2099, since 1970: 32 bits do for all before it.
const LAST_S: u64 = 4_102_444_799;

/// A month, UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Month {
    year: u32,
    month: u32,
}

impl Month {
    /// Of `YYYY-MM`; from 1970 to 2099.
    pub fn parse(text: &str) -> Option<Self> {
        let (year, month) = text.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(year, 4) || !digits(month, 2) {
            return None;
        }
        let (year, month) = (year.parse().ok()?, month.parse().ok()?);
        ((1970..2100).contains(&year) && (1..=12).contains(&month)).then_some(Month { year, month })
    }

    /// That of a time, seconds since 1970.
    pub fn of(seconds: u64) -> Self {
        let (year, month, _) = civil(seconds.min(LAST_S) / 86_400);
        let small = |n| u32::try_from(n).unwrap_or(1);
        Month { year: small(year), month: small(month) }
    }

    /// Begin and end, seconds since 1970.
    pub fn range_s(self) -> (u32, u32) {
        let next = if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        (days(self.year, self.month, 1) * 86_400, days(next.0, next.1, 1) * 86_400)
    }
}

impl std::fmt::Display for Month {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `date -u -d 2028-03-01 +%s` and its like.
    #[test]
    fn months_are_those_of_date() {
        let month = |text| Month::parse(text).map(Month::range_s);
        assert_eq!(month("2026-11"), Some((1_793_491_200, 1_796_083_200)));
        assert_eq!(month("2028-02"), Some((1_832_976_000, 1_835_481_600)));
        assert_eq!(month("2025-12"), Some((1_764_547_200, 1_767_225_600)));
        for wrong in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "26-11",
            "2026-1",
            "1969-12",
            "2100-01",
            "2026-11-01",
            "+026-11",
        ] {
            assert_eq!(Month::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn every_day_of_a_century_comes_back() {
        let mut month = Month { year: 1970, month: 1 };
        for day in 0..47_000 {
            let of = Month::of(day * 86_400 + 86_399);
            let (from, to) = of.range_s();
            assert!((from..to).contains(&u32::try_from(day * 86_400).unwrap_or(0)) || of.year > 2098, "{of}");
            if of != month {
                assert_eq!(u64::from(of.range_s().0), day * 86_400);
                month = of;
            }
        }
        assert_eq!(Month::of(u64::MAX).to_string(), "2099-12");
    }
}
