//! The clock of the daemon.

use mwan_core::Time;

/// Now on `CLOCK_MONOTONIC`, as the core counts time: microseconds since boot.
pub fn now() -> Time {
    Time(crate::sys::monotonic_ns() / 1000)
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
