//! How often somebody may guess, in bounded memory: each address for itself; and those that have guessed wrong lately all together, so
//! that many addresses are no way round it. Whoever has not, or has logged in, never waits for what others do.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Addresses that are remembered, some 2 MiB. Beyond, the one whose wrong guess is longest ago is forgotten: who wants to be forgotten
/// needs as many others first.
const ADDRESSES_MAX: usize = 16_384;
/// IPv6 sites that are remembered.
const SITES_MAX: usize = 4096;
/// Addresses from which somebody has logged in.
const KNOWN_MAX: usize = 256;
/// They are known for so long.
const KNOWN_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
/// A wrong guess is held against an address for so long.
const WRONG_AGE: Duration = Duration::from_secs(24 * 3600);
/// An owner who mistypes, and the time a guess costs afterwards: 5 at once, then 2 a minute.
const PER_ADDRESS: Rate = Rate { burst: 5, every: Duration::from_secs(30) };
/// Wrong guesses of one IPv6 site, which has 65,536 networks to guess from (RFC 6177): after so many each of them counts as one that has
/// guessed wrong.
const PER_SITE: Rate = Rate { burst: 16, every: Duration::from_secs(600) };
/// All together that have guessed wrong: 60 at once, then one a second.
const SUSPECTS: Rate = Rate { burst: 60, every: Duration::from_secs(1) };

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

/// What is known of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Standing {
    /// Somebody has logged in from there.
    Known,
    /// Nothing.
    Clean,
    /// It has guessed wrong lately.
    Suspect,
}

/// Guesses of an address.
#[derive(Debug)]
struct Record {
    bucket: Bucket,
    wrong: Option<Instant>,
}

/// Limits guesses of passwords and links.
#[derive(Debug)]
pub(crate) struct Limiter {
    addresses: BTreeMap<IpAddr, Record>,
    sites: BTreeMap<IpAddr, Bucket>,
    known: BTreeMap<IpAddr, Instant>,
    suspects: Bucket,
}

impl Limiter {
    pub(crate) fn new(now: Instant) -> Self {
        let suspects = Bucket { paid_until: now };
        Limiter { addresses: BTreeMap::new(), sites: BTreeMap::new(), known: BTreeMap::new(), suspects }
    }

    /// Takes a guess from `address`, or says how long it has to wait for one.
    pub(crate) fn take(&mut self, address: IpAddr, now: Instant) -> Result<Standing, Duration> {
        let address = source(address);
        let standing = self.standing(address, now);
        if !self.addresses.contains_key(&address) && self.addresses.len() >= ADDRESSES_MAX {
            self.make_room(now);
        }
        let new = Record { bucket: Bucket { paid_until: now }, wrong: None };
        let record = self.addresses.entry(address).or_insert(new);
        record.bucket.take(PER_ADDRESS, now)?;
        if standing == Standing::Suspect {
            self.suspects.take(SUSPECTS, now).inspect_err(|_| record.bucket.give_back(PER_ADDRESS))?;
        }
        Ok(standing)
    }

    fn standing(&self, address: IpAddr, now: Instant) -> Standing {
        let recent = |then: &Instant, age| now.saturating_duration_since(*then) < age;
        let wrong = |record: &Record| record.wrong.is_some_and(|wrong| recent(&wrong, WRONG_AGE));
        if self.known.get(&address).is_some_and(|since| recent(since, KNOWN_AGE)) {
            Standing::Known
        } else if self.addresses.get(&address).is_some_and(wrong) || self.is_bad_site(address, now) {
            Standing::Suspect
        } else {
            Standing::Clean
        }
    }

    fn is_bad_site(&self, address: IpAddr, now: Instant) -> bool {
        let bucket = site(address).and_then(|site| self.sites.get(&site));
        bucket.is_some_and(|bucket| bucket.clone().take(PER_SITE, now).is_err())
    }

    fn make_room(&mut self, now: Instant) {
        self.addresses.retain(|_, record| {
            let wrong = record.wrong.is_some_and(|wrong| now.saturating_duration_since(wrong) < WRONG_AGE);
            wrong || record.bucket.paid_until > now
        });
        while self.addresses.len() >= ADDRESSES_MAX {
            let oldest = self.addresses.iter().min_by_key(|(_, record)| record.wrong).map(|(a, _)| *a);
            let Some(oldest) = oldest else { return };
            self.addresses.remove(&oldest);
        }
    }

    /// What was taken was a wrong guess.
    pub(crate) fn wrong(&mut self, address: IpAddr, now: Instant) {
        let address = source(address);
        if let Some(record) = self.addresses.get_mut(&address) {
            record.wrong = Some(now);
        }
        let Some(site) = site(address) else { return };
        if !self.sites.contains_key(&site) && self.sites.len() >= SITES_MAX {
            let least = self.sites.iter().min_by_key(|(_, bucket)| bucket.paid_until).map(|(s, _)| *s);
            least.and_then(|least| self.sites.remove(&least));
        }
        // Empty is as bad as it gets.
        let _ = self.sites.entry(site).or_insert(Bucket { paid_until: now }).take(PER_SITE, now);
    }

    /// It was a right one: it costs nothing, and what was wrong before was its owner's typing.
    pub(crate) fn right(&mut self, address: IpAddr, standing: Standing, now: Instant) {
        self.give_back(address, standing);
        let address = source(address);
        if let Some(record) = self.addresses.get_mut(&address) {
            record.wrong = None;
        }
        if !self.known.contains_key(&address) && self.known.len() >= KNOWN_MAX {
            let oldest = self.known.iter().min_by_key(|(_, since)| **since).map(|(a, _)| *a);
            oldest.and_then(|oldest| self.known.remove(&oldest));
        }
        self.known.insert(address, now);
    }

    /// It was no guess.
    pub(crate) fn give_back(&mut self, address: IpAddr, standing: Standing) {
        if let Some(record) = self.addresses.get_mut(&source(address)) {
            record.bucket.give_back(PER_ADDRESS);
        }
        if standing == Standing::Suspect {
            self.suspects.give_back(SUSPECTS);
        }
    }
}

/// The /48 of a global IPv6 address (RFC 6177).
fn site(address: IpAddr) -> Option<IpAddr> {
    match source(address) {
        IpAddr::V6(v6) if v6.segments()[0] & 0xe000 == 0x2000 => {
            Some(IpAddr::V6((v6.to_bits() >> 80 << 80).into()))
        }
        _ => None,
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

    fn v4(n: u32) -> IpAddr {
        IpAddr::V4((0x0a00_0000 + n).into())
    }

    /// A guess that is judged and found wrong; whether it was.
    fn guess(limiter: &mut Limiter, address: IpAddr, now: Instant) -> bool {
        let taken = limiter.take(address, now).is_ok();
        if taken {
            limiter.wrong(address, now);
        }
        taken
    }

    #[test]
    fn five_guesses_then_two_a_minute() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        assert_eq!((0..20).filter(|_| guess(&mut limiter, ME, start)).count(), 5);
        assert_eq!(limiter.take(ME, start), Err(Duration::from_secs(30)));
        let later = start + Duration::from_secs(60);
        assert_eq!((0..20).filter(|_| guess(&mut limiter, ME, later)).count(), 2);
        // A right password costs nothing.
        let much_later = start + Duration::from_secs(3600);
        for _ in 0..20 {
            let standing = limiter.take(ME, much_later).unwrap();
            limiter.right(ME, standing, much_later);
        }
        assert_eq!(limiter.take(ME, much_later), Ok(Standing::Known));
    }

    #[test]
    fn guesses_from_many_addresses_lock_nobody_else_out() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let owner = v4(1 << 20);
        let standing = limiter.take(owner, start).unwrap();
        limiter.right(owner, standing, start);
        // Each has one guess that is not held against it; then all of them share.
        assert_eq!((0..5000).filter(|n| guess(&mut limiter, v4(*n), start)).count(), 5000);
        assert_eq!((0..5000).filter(|n| guess(&mut limiter, v4(*n), start)).count(), 60);
        let later = start + Duration::from_secs(10);
        assert_eq!((0..5000).filter(|n| guess(&mut limiter, v4(*n), later)).count(), 10);
        assert!(limiter.take(v4(7), later).is_err(), "they have nothing left");
        assert_eq!(limiter.take(owner, later), Ok(Standing::Known));
        assert_eq!(limiter.take(ME, later), Ok(Standing::Clean), "nor whoever never guessed");
        // Who mistypes has a share with them, and a right password clears that.
        limiter.wrong(ME, later);
        assert!(limiter.take(ME, later).is_err());
        let patient = later + Duration::from_secs(2);
        let standing = limiter.take(ME, patient).unwrap();
        assert_eq!(standing, Standing::Suspect);
        limiter.right(ME, standing, patient);
        assert_eq!(limiter.take(ME, patient), Ok(Standing::Known));
        // It is not held against anybody for ever.
        let next_day = later + WRONG_AGE;
        assert_eq!(limiter.take(v4(7), next_day), Ok(Standing::Clean));
    }

    #[test]
    fn a_site_has_no_more_guesses_for_having_many_networks() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let network = |n: u128| IpAddr::V6(((0x2001_0db8_0001_u128 << 80) + (n << 64) + 1).into());
        let taken = (0..5000).filter(|n| guess(&mut limiter, network(*n), start)).count();
        assert_eq!(taken, 16 + 60);
        let elsewhere: IpAddr = "2001:db8:2::1".parse().unwrap();
        assert_eq!(limiter.take(elsewhere, start), Ok(Standing::Clean));
        assert_eq!(limiter.take("fd00::1".parse().unwrap(), start), Ok(Standing::Clean));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_worst_are_remembered() {
        let start = Instant::now();
        let mut limiter = Limiter::new(start);
        let count = u32::try_from(ADDRESSES_MAX).unwrap();
        for n in 0..count {
            assert!(guess(&mut limiter, v4(n), start));
        }
        let later = start + Duration::from_secs(1);
        for n in 0..100 {
            let _ = guess(&mut limiter, v4(n), later);
        }
        for n in 0..1000 {
            let site = IpAddr::V6(((0x2001_0000_0000_u128 + u128::from(n)) << 80).into());
            let _ = guess(&mut limiter, site, later);
            limiter.right(v4(count + n), Standing::Clean, later);
        }
        let sizes = [limiter.addresses.len(), limiter.sites.len(), limiter.known.len()];
        assert_eq!(sizes, [ADDRESSES_MAX, 1000, KNOWN_MAX]);
        assert_eq!(limiter.standing(v4(0), later), Standing::Suspect, "it has guessed last");
        // Whoever has logged in last is known.
        assert_eq!(limiter.standing(v4(count + 999), later), Standing::Known);
    }

    #[test]
    fn a_network_of_one_host_is_one_source() {
        let v6 = |text: &str| source(text.parse().unwrap());
        assert_eq!(v6("2001:db8::1"), v6("2001:db8::ffff:ffff:ffff:ffff"));
        assert_ne!(v6("2001:db8::1"), v6("2001:db8:0:1::1"));
        assert_eq!(v6("::ffff:192.0.2.1"), ME);
    }
}
