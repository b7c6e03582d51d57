//! Addresses that are not public are left; every other becomes a placeholder, which is an address, too.
//!
//! | of | placeholder |
//! |---|---|
//! | IPv4 | 240.0.0.0/4 (RFC 1112, section 4: reserved, in no network): the first 16 bits by number, in order of appearance, the others mixed |
//! | IPv6 | 3fff::/20 (RFC 9637, documentation): the first 32 bits by number, the others mixed |
//! | MAC | 02:00:00:… by number: locally administered (IEEE 802, 8.4) |
//!
//! Mixed: bit n is turned over or not by a keyed sum of all that is in front of it (Crypto-PAn, Xu and others, ICNP 2002). So two
//! addresses have as many bits in common as before, a prefix holds what it held, and its length is the same. Configurations,
//! rules and recordings stay what they are for a reader and for a parser. The key is of one archive and is thrown away.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Numbers there are for the first bits, 0 aside, which is for what is too short to have them. From 3840 on they would look like masks.
const BLOCKS_MAX: usize = 3839;
/// The same for those. They are not where their addresses are: `240.0.N.0/LENGTH`, `3fff:0:0:N::/LENGTH`.
const SHORT_MAX: u32 = 255;
/// Prefixes shorter than these are parts of the world, and stay.
const WORLD_V4: u8 = 8;
const WORLD_V6: u8 = 16;
/// Bits that are numbered.
const BLOCK_V4: u8 = 16;
const BLOCK_V6: u8 = 32;

/// Addresses and their placeholders.
#[derive(Debug)]
pub(super) struct Addresses {
    key: [u64; 2],
    v4: BTreeMap<u32, u32>,
    v6: BTreeMap<u32, u32>,
    short: BTreeMap<(bool, u32, u8), u32>,
    macs: BTreeMap<[u8; 6], u32>,
    /// Something had to do without a number.
    pub(super) is_full: bool,
}

impl Addresses {
    pub(super) fn new(key: [u64; 2]) -> Self {
        let (v4, v6) = (BTreeMap::new(), BTreeMap::new());
        Addresses { key, v4, v6, short: BTreeMap::new(), macs: BTreeMap::new(), is_full: false }
    }

    /// Blocks and devices that have got a number.
    pub(super) fn counts(&self) -> [usize; 3] {
        [self.v4.len(), self.v6.len(), self.macs.len()]
    }

    /// The placeholder of an address, or of a prefix if there is nothing behind `length` bits.
    pub(super) fn v4(&mut self, ip: Ipv4Addr, length: Option<u8>) -> Ipv4Addr {
        let bits = ip.to_bits();
        let prefix = length.filter(|length| *length < 32 && bits << length == 0);
        if is_kept_v4(ip) || prefix.is_some_and(|length| length < WORLD_V4) {
            return ip;
        }
        let shown = prefix.unwrap_or(32);
        if shown < BLOCK_V4 {
            return Ipv4Addr::from_bits(0xF000_0000 | self.short(false, bits, shown) << 8);
        }
        let Some(block) = self.block(false, bits >> 16) else {
            return Ipv4Addr::new(240, 0, 255, 255);
        };
        let mixed = self.mixed(4, u128::from(bits) << 96, BLOCK_V4, shown) >> 96;
        // Of a mixed value only what is behind the block.
        Ipv4Addr::from_bits(0xF000_0000 | block << 16 | u32::try_from(mixed & 0xFFFF).unwrap_or_default())
    }

    /// The same of IPv6; what is within is looked at, too: an IPv4 address, a MAC address.
    pub(super) fn v6(&mut self, ip: Ipv6Addr, length: Option<u8>) -> Ipv6Addr {
        let bits = ip.to_bits();
        let prefix = length.filter(|length| *length < 128 && bits << length == 0);
        if prefix.is_some_and(|length| length < WORLD_V6) {
            return ip;
        }
        if let Some(kept) = self.within(ip) {
            return kept;
        }
        let shown = prefix.unwrap_or(128);
        let top = u32::try_from(bits >> 96).unwrap_or_default();
        let (block, rest) = if shown < BLOCK_V6 {
            (0, u128::from(self.short(true, top, shown)) << 64)
        } else {
            match self.block(true, top) {
                None => (0, 0xFFFF << 80),
                Some(block) => (block, self.mixed(6, bits, BLOCK_V6, shown) & (u128::MAX >> 32)),
            }
        };
        Ipv6Addr::from_bits(u128::from(0x3FFF_0000 | block) << 96 | rest)
    }

    /// The placeholder of an Ethernet address; of none, everybody and groups there is no owner.
    pub(super) fn mac(&mut self, mac: [u8; 6]) -> [u8; 6] {
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return mac;
        }
        let next = u32::try_from(self.macs.len() + 1).unwrap_or(u32::MAX);
        let [a, b, c, d] = self.macs.entry(mac).or_insert(next).to_be_bytes();
        [2, 0, a, b, c, d]
    }

    /// Of an address that is not public as a whole: itself, with placeholders for what is in it.
    fn within(&mut self, ip: Ipv6Addr) -> Option<Ipv6Addr> {
        let bits = ip.to_bits();
        let low = Ipv4Addr::from_bits(u32::try_from(bits & 0xFFFF_FFFF).unwrap_or_default());
        // Mapped, compatible (RFC 4291, 2.5.5), translated (RFC 6052, 2.1; RFC 8215).
        let holds_v4 = [0, 0xFFFF, 0xFFFF << 16].contains(&(bits >> 32)) || bits >> 32 == 0x64_FF9B << 64;
        if holds_v4 {
            return Some(Ipv6Addr::from_bits(bits >> 32 << 32 | u128::from(self.v4(low, None).to_bits())));
        }
        if !is_kept_v6(ip) {
            return None;
        }
        let octets = ip.octets();
        // Modified EUI-64 (RFC 4291, appendix A).
        if octets[0] != 0xFF && octets[11..13] == [0xFF, 0xFE] {
            let [_, .., d, e, f] = octets;
            let mac = self.mac([octets[8] ^ 2, octets[9], octets[10], d, e, f]);
            let id = [mac[0] ^ 2, mac[1], mac[2], 0xFF, 0xFE, mac[3], mac[4], mac[5]];
            return Some(Ipv6Addr::from_bits(bits >> 64 << 64 | u128::from(u64::from_be_bytes(id))));
        }
        // ISATAP (RFC 5214, 6.1), and a tunnel's own address (add_v4_addrs in the kernel's net/ipv6/addrconf.c).
        let tunnel = bits >> 32 == 0xFE80 << 80;
        if tunnel || octets[0] != 0xFF && octets[10..12] == [0x5E, 0xFE] {
            return Some(Ipv6Addr::from_bits(bits >> 32 << 32 | u128::from(self.v4(low, None).to_bits())));
        }
        Some(ip)
    }

    fn block(&mut self, is_v6: bool, bits: u32) -> Option<u32> {
        let blocks = if is_v6 { &mut self.v6 } else { &mut self.v4 };
        let next = blocks.len() + 1;
        if next > BLOCKS_MAX && !blocks.contains_key(&bits) {
            self.is_full = true;
            return None;
        }
        Some(*blocks.entry(bits).or_insert(u32::try_from(next).unwrap_or_default()))
    }

    /// The number of a prefix too short for a block.
    fn short(&mut self, is_v6: bool, bits: u32, length: u8) -> u32 {
        let next = u32::try_from(self.short.len() + 1).unwrap_or(u32::MAX).min(SHORT_MAX);
        let number = *self.short.entry((is_v6, bits, length)).or_insert(next);
        self.is_full |= number == SHORT_MAX;
        number
    }

    /// The bits from `from` to `to`, counted from the highest, turned over by what is in front of each.
    fn mixed(&self, family: u8, bits: u128, from: u8, to: u8) -> u128 {
        let turn = |at: u8| {
            let mut sum = DefaultHasher::new();
            (self.key, family, at, bits >> (128 - at)).hash(&mut sum);
            u128::from(sum.finish() & 1) << (127 - at)
        };
        let kept = u128::MAX.checked_shl(128 - u32::from(to)).unwrap_or_default();
        bits & kept ^ (from..to).fold(0, |all, at| all | turn(at))
    }
}

/// Private, shared (RFC 6598), of this host or link, for documentation and tests, of groups, no address: see RFC 6890.
fn is_kept_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let bits = ip.to_bits();
    // 255.255.255.0 and its kind are masks; 240.0.0.0/4 is ours to give, else one placeholder could be two things.
    let mask = a == 255 && bits.leading_ones() + bits.trailing_zeros() >= 32;
    mask || matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224..=239, _, _)
    )
}

/// The same; 3fff::/20 is ours to give.
fn is_kept_v6(ip: Ipv6Addr) -> bool {
    let segments = ip.segments();
    match segments[0] {
        // Discard (RFC 6666); link-local and the former site-local; unique local.
        0x100 => segments[1..4] == [0, 0, 0],
        0xFE80..=0xFEFF | 0xFC00..=0xFDFF => true,
        0x2001 => segments[1] == 0xDB8,
        // Groups, but not those that hold a prefix (RFC 3306) or a piece of an address (RFC 4291, 2.7.1).
        0xFF00..=0xFFFF => segments[0] & 0x20 == 0 && !(segments[6] >> 8 == 0xFF && segments[5] == 1),
        _ => false,
    }
}

/// Resolvers that are asked everywhere: who helps should know that a target is one, and nobody is known by it.
pub(super) const WELL_KNOWN: [(&str, &str); 14] = [
    ("1.1.1.1", "Cloudflare's resolver, first"),
    ("1.0.0.1", "Cloudflare's resolver, second"),
    ("8.8.8.8", "Google's resolver, first"),
    ("8.8.4.4", "Google's resolver, second"),
    ("9.9.9.9", "Quad9's resolver, first"),
    ("149.112.112.112", "Quad9's resolver, second"),
    ("208.67.222.222", "OpenDNS's resolver, first"),
    ("208.67.220.220", "OpenDNS's resolver, second"),
    ("2606:4700:4700::1111", "Cloudflare's resolver, first"),
    ("2606:4700:4700::1001", "Cloudflare's resolver, second"),
    ("2001:4860:4860::8888", "Google's resolver, first"),
    ("2001:4860:4860::8844", "Google's resolver, second"),
    ("2620:fe::fe", "Quad9's resolver, first"),
    ("2620:fe::9", "Quad9's resolver, second"),
];
