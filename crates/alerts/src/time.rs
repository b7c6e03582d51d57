//! Times as people read them, without a clock.

use std::fmt::Write;

use mwan_api::calendar;

/// A moment: wall-clock time, and what the local time zone adds to UTC then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Milliseconds since 1970, UTC.
    pub ms: u64,
    /// Local time minus UTC, seconds.
    pub utc_offset_s: i32,
}

/// A day, ms.
pub(crate) const DAY_MS: u64 = 86_400_000;
/// A minute, ms.
pub(crate) const MINUTE_MS: u64 = 60_000;

impl Now {
    /// Milliseconds of local time since 1970.
    fn local_ms(self) -> u64 {
        self.ms.saturating_add_signed(i64::from(self.utc_offset_s) * 1000)
    }

    /// Minutes of local time since midnight.
    pub(crate) fn minute(self) -> u16 {
        // Less than 1440.
        u16::try_from(self.local_ms() % DAY_MS / MINUTE_MS).unwrap_or(0)
    }

    /// Milliseconds until the next time it is `minute` past midnight; at most a day, never 0.
    pub(crate) fn until(self, minute: u16) -> u64 {
        let passed = self.local_ms() % DAY_MS;
        let wanted = u64::from(minute) * MINUTE_MS;
        if wanted > passed { wanted - passed } else { wanted + DAY_MS - passed }
    }

    /// The moment at which clocks in the zone of `now` show what they would show here after `ms`.
    pub(crate) fn after_in_zone_of(self, now: Now, ms: u64) -> u64 {
        let change_s = i64::from(self.utc_offset_s) - i64::from(now.utc_offset_s);
        self.ms.saturating_add(ms).saturating_add_signed(change_s * 1000)
    }

    /// `2026-11-26 12:01:07 +01:00`, of another moment in the same time zone.
    pub(crate) fn show(self, ms: u64) -> String {
        let mut out = calendar::stamp(Now { ms, ..self }.local_ms() / 1000);
        let minutes = self.utc_offset_s.unsigned_abs() / 60;
        let sign = if self.utc_offset_s < 0 { '-' } else { '+' };
        // Writing into a String cannot fail.
        let _ = write!(out, " {sign}{:02}:{:02}", minutes / 60, minutes % 60);
        out
    }

    /// The same as RFC 3339 writes it.
    pub(crate) fn rfc3339(self, ms: u64) -> String {
        let text = self.show(ms);
        let (stamp, zone) = text.split_at(19);
        format!("{}{}", stamp.replace(' ', "T"), zone.trim())
    }
}

/// `4 min 12 s`: the two largest units.
pub fn duration_text(ms: u64) -> String {
    let s = ms / 1000;
    match s {
        0..=59 => format!("{s} s"),
        60..=3599 => format!("{} min {} s", s / 60, s % 60),
        3600..=86_399 => format!("{} h {} min", s / 3600, s / 60 % 60),
        _ => format!("{} d {} h", s / 86_400, s / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        // From `date -u -d @N`.
        for (s, offset, text) in [
            (0, 0, "1970-01-01 00:00:00 +00:00"),
            (951_782_400, 0, "2000-02-29 00:00:00 +00:00"),
            (1_795_691_467, 3600, "2026-11-26 12:11:07 +01:00"),
            (1_795_691_467, -34_200, "2026-11-26 01:41:07 -09:30"),
            (4_107_542_400, 0, "2100-03-01 00:00:00 +00:00"),
        ] {
            let now = Now { ms: s * 1000, utc_offset_s: offset };
            assert_eq!(now.show(now.ms), text);
        }
        let now = Now { ms: 1_795_691_467_000, utc_offset_s: 3600 };
        assert_eq!(now.rfc3339(now.ms), "2026-11-26T12:11:07+01:00");
    }

    #[test]
    fn the_next_time_of_day_is_never_now() {
        let now = |minute: u64| Now { ms: 20_000 * DAY_MS + minute * MINUTE_MS, utc_offset_s: 0 };
        assert_eq!(now(60).until(61), MINUTE_MS);
        assert_eq!(now(60).until(60), DAY_MS);
        assert_eq!(now(60).until(59), DAY_MS - MINUTE_MS);
        let east = Now { utc_offset_s: 3600, ..now(1439) };
        assert_eq!(east.minute(), 59);
    }

    #[test]
    fn durations_have_two_units() {
        for (s, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min 0 s"),
            (252, "4 min 12 s"),
            (7_260, "2 h 1 min"),
            (90_000, "1 d 1 h"),
        ] {
            assert_eq!(duration_text(s * 1000 + 999), text);
        }
    }
}
