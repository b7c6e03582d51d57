//! How often somebody may guess: per address and all together, in bounded memory.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses that are remembered. Beyond, the one that has guessed least lately is forgotten: who wants to be forgotten needs a
/// thousand others first, and all together are limited, too.
const ADDRESSES_MAX: usize = 1024;
/// An owner who mistypes, and the time a guess costs afterwards: 5 at once, then 2 a minute.
const PER_ADDRESS: Rate = Rate { burst: 5, every: Duration::from_secs(30) };
/// All together: 60 at once, then one a second.
const OVERALL: Rate = Rate { burst: 60, every: Duration::from_secs(1) };

/// So many at once, then one each so often.
#[derive(Clone, Copy, Debug)]
struct Rate {
    burst: u32,
    every: Duration,
}

/// A bucket that fills with time: when it would be empty is all that has to be known (GCRA).
#[derive(Clone, Copy, Debug)]
struct Bucket {
    paid_until: Instant,
}

impl Bucket {
    /// Takes one, or says how long to wait for it.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let from = self.paid_until.max(now);
        let until = from + rate.every;
        let ahead = until.duration_since(now);
        let room = rate.every * rate.burst;
        if ahead > room {
            return Err(ahead - room);
        }
        self.paid_until = until;
        Ok(())
    }

    fn give_back(&mut self, rate: Rate) {
        self.paid_until = self.paid_until.checked_sub(rate.every).unwrap_or(self.paid_until);
    }
}

/// Limits guesses of passwords and links.
#[derive(Debug)]
pub(crate) struct Limiter {
    addresses: BTreeMap<IpAddr, Bucket>,
    overall: Bucket,
}

impl Limiter {
    pub(crate) fn new(now: Instant) -> Self {
        Limiter { addresses: BTreeMap::new(), overall: Bucket { paid_until: now } }
    }

    /// Takes a guess from `address`, or says how long it has to wait for one.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Result<(), Duration> {
        let address = source(address);
        if !self.addresses.contains_key(&address) && self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.retain(|_, bucket| bucket.paid_until > now);
            let least = self.addresses.iter().min_by_key(|(_, bucket)| bucket.paid_until).map(|(a, _)| *a);
            if let Some(least) = least.filter(|_| self.addresses.len() >= ADDRESSES_MAX) {
                self.addresses.remove(&least);
            }
        }
        let bucket = self.addresses.entry(address).or_insert(Bucket { paid_until: now });
        bucket.take(PER_ADDRESS, now)?;
        self.overall.take(OVERALL, now).inspect_err(|_| bucket.give_back(PER_ADDRESS))
    }

    /// It was no guess: the password was right.
    pub(crate) fn give_back(&mut self, address: IpAddr) {
        if let Some(bucket) = self.addresses.get_mut(&source(address)) {
            bucket.give_back(PER_ADDRESS);
        }
        self.overall.give_back(OVERALL);
    }
}

/// What one client can choose from counts as one: an IPv6 host has at least a /64 (RFC 4291, 2.5.4).
pub(crate) fn source(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.into(),
            None => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
        },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn five_guesses_then_two_a_minute() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let taken = (0..20).filter(|_| limiter.take(ME, start).is_ok()).count();
        assert_eq!(taken, 5);
        assert_eq!(limiter.take(ME, start), Err(Duration::from_secs(30)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| limiter.take(ME, later).is_ok()).count(), 2);
        // A right password costs nothing.
        let much_later = start + Duration::from_secs(3600);
        for _ in 0..20 {
            limiter.take(ME, much_later).unwrap();
            limiter.give_back(ME);
        }
    }

    #[test]
    fn many_addresses_are_limited_together_and_in_memory() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let address = |n: u32| IpAddr::V4(n.into());
        let taken = (0..10_000).filter(|n| limiter.take(address(*n), start).is_ok()).count();
        assert_eq!(taken, 60);
        let later = start + Duration::from_secs(10);
        assert_eq!((0..10_000).filter(|n| limiter.take(address(*n), later).is_ok()).count(), 10);
        assert!(limiter.addresses.len() <= ADDRESSES_MAX);
        // Who has guessed much is not forgotten for those who have not.
        for _ in 0..5 {
            let _ = limiter.take(ME, later + Duration::from_secs(60));
        }
        for n in 0..10_000 {
            let _ = limiter.take(address(n), later + Duration::from_secs(60));
        }
        assert!(limiter.take(ME, later + Duration::from_secs(61)).is_err());
    }

    #[test]
    fn a_network_of_one_host_is_one_source() {
        let v6 = |text: &str| source(text.parse().unwrap());
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), ME);
    }
}
