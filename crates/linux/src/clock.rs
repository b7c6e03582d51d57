//! The clock of the daemon.

use mwan_core::Time;

/// Now on `CLOCK_MONOTONIC`, as the core counts time: microseconds since boot.
pub fn now() -> Time {
    Time(crate::sys::monotonic_ns() / 1000)
}

/// Since boot, time asleep included (`CLOCK_BOOTTIME`): for what is promised to people.
pub fn since_boot() -> std::time::Duration {
    std::time::Duration::from_nanos(crate::sys::boottime_ns())
}

/// Whether the wall clock is known to be right: NTP or its like has set it and steers it.
pub fn is_synchronised() -> bool {
    crate::sys::is_clock_synchronised()
}

/// What the local time zone adds to UTC at `unix_s` seconds since 1970, seconds (localtime(3): `TZ`, else /etc/localtime).
pub fn utc_offset_s(unix_s: i64) -> i32 {
    crate::sys::utc_offset_s(unix_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_offset_is_that_of_a_time_zone() {
        let date = std::process::Command::new("date")
            .args(["-d", "@1795694400", "+%:::z"])
            .output()
            .expect("date runs");
        let text = String::from_utf8_lossy(&date.stdout);
        let mut parts = text
            .trim()
            .trim_start_matches(['+', '-'])
            .split(':')
            .map(|p| p.parse::<i32>().expect("a number"));
        let hours = parts.next().unwrap_or(0) * 3600;
        let seconds = hours + parts.next().unwrap_or(0) * 60 + parts.next().unwrap_or(0);
        let wanted = if text.starts_with('-') { -seconds } else { seconds };
        assert_eq!(utc_offset_s(1_795_694_400), wanted);
    }

    #[test]
    fn never_goes_back() {
        let first = now();
        let second = now();
        assert!(second >= first && first > Time(0));
    }
}
