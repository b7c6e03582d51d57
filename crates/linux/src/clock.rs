//! The clock of the daemon.

use mwan_core::Time;

/// Now on `CLOCK_MONOTONIC`, as the core counts time: microseconds since boot.
pub fn now() -> Time {
    Time(crate::sys::monotonic_ns() / 1000)
}

/// Whether the wall clock is known to be right: NTP or its like has set it and steers it.
pub fn is_synchronised() -> bool {
    crate::sys::is_clock_synchronised()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_goes_back() {
        let first = now();
        let second = now();
        assert!(second >= first && first > Time(0));
    }
}
