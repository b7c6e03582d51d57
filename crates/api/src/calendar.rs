//! Dates as all of mwan writes them: the proleptic Gregorian calendar, without a clock and without a time zone.

/// Days from 1970-01-01 to a date. Years begin in March here, so that the leap day is the last (H. Hinnant, "chrono-Compatible
/// Low-Level Date Algorithms", `days_from_civil`). Dates before 1970 have none.
pub fn days(year: u32, month: u32, day: u32) -> u32 {
    let year = if month > 2 { year } else { year - 1 };
    let march = (month + 9) % 12;
    let of_year = (153 * march + 2) / 5 + day - 1;
    365 * year + year / 4 - year / 100 + year / 400 + of_year - 719_468
}

/// The other way: year, month and day of a number of days since 1970 (`civil_from_days`).
pub fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let march = (5 * of_year + 2) / 153;
    let month = if march < 10 { march + 3 } else { march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, of_year - (153 * march + 2) / 5 + 1)
}

/// `2026-11-26 09:07:01` of seconds since 1970.
pub fn stamp(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @N`.
        for (s, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_400, "2000-02-29 00:00:00"),
            (1_795_690_799, "2026-11-26 10:59:59"),
            (4_107_542_400, "2100-03-01 00:00:00"),
        ] {
            assert_eq!(stamp(s), text);
        }
    }

    #[test]
    fn every_day_of_a_century_comes_back() {
        for day in 0..47_000_u32 {
            let (year, month, of_month) = civil(day.into());
            let small = |n: u64| u32::try_from(n).unwrap_or(0);
            assert_eq!(days(small(year), small(month), small(of_month)), day);
        }
    }
}
