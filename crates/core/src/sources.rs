//! Sources that belong to a WAN (`source_routing`), and the address that stands for the router's own (`local_source`).

use std::collections::BTreeMap;
use std::net::IpAddr;

use mwan_config::address::{bits, of_bits};
use mwan_config::{AddressRange, Family};

/// Sources that are at home on a WAN.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Home {
    /// The addresses.
    pub range: AddressRange,
    /// Id of the interface.
    pub id: u32,
}

/// How rules judge the router's own traffic of one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LocalSource {
    /// The address they take for its source.
    pub address: IpAddr,
    /// The WAN whose address the kernel gives to sockets that did not choose one: by it nothing is told.
    pub unbound: Option<u32>,
}

/// Makes ranges of one family that may lie within each other disjoint: the smallest around an address counts. Of two that are
/// the same, by different WANs, neither does (two WANs may have the same network, or even the same address).
pub(crate) fn disjoint(homes: &[Home]) -> Vec<Home> {
    let mut known: BTreeMap<(u128, u128), Option<u32>> = BTreeMap::new();
    for home in homes {
        let of = known.entry((bits(home.range.first), bits(home.range.last))).or_insert(Some(home.id));
        *of = of.filter(|id| *id == home.id);
    }
    let Some(family) = homes.first().map(|home| Family::of(home.range.first)) else { return Vec::new() };
    let mut edges: Vec<u128> =
        known.keys().flat_map(|(first, last)| [Some(*first), last.checked_add(1)]).flatten().collect();
    edges.sort_unstable();
    edges.dedup();
    let mut out: Vec<Home> = Vec::new();
    for (at, first) in edges.iter().enumerate() {
        let last = edges.get(at + 1).map_or(u128::MAX, |next| next - 1);
        let around = known.iter().filter(|((a, b), _)| a <= first && last <= *b);
        let Some(id) = around.min_by_key(|((a, b), _)| b - a).and_then(|(_, id)| *id) else { continue };
        let range = AddressRange { first: of_bits(*first, family), last: of_bits(last, family) };
        match out.last_mut() {
            Some(before) if before.id == id && bits(before.range.last).checked_add(1) == Some(*first) => {
                before.range.last = range.last;
            }
            _ => out.push(Home { range, id }),
        }
    }
    out
}

/// Where an address is at home.
pub(crate) fn home_of<'h>(homes: impl IntoIterator<Item = &'h Home>, ip: IpAddr) -> Option<Home> {
    let within = |r: &AddressRange| Family::of(r.first) == Family::of(ip) && r.first <= ip && ip <= r.last;
    homes.into_iter().find(|home| within(&home.range)).copied()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn home(net: &str, id: u32) -> Home {
        let net: ipnet::IpNet = net.parse().unwrap();
        Home { range: AddressRange { first: net.network(), last: net.broadcast() }, id }
    }

    #[test]
    fn the_smallest_range_counts_and_equal_ones_cancel_out() {
        let homes = [
            home("100.64.0.0/10", 1),
            home("100.64.1.2/32", 2),
            home("198.51.100.0/24", 1),
            home("198.51.100.0/24", 2),
            home("198.51.100.7/32", 1),
            home("255.255.255.255/32", 3),
        ];
        let flat = disjoint(&homes);
        let of = |ip: &str| home_of(&flat, ip.parse().unwrap()).map(|home| home.id);
        assert_eq!((of("100.64.1.1"), of("100.64.1.2"), of("100.64.1.3")), (Some(1), Some(2), Some(1)));
        assert_eq!((of("198.51.100.6"), of("198.51.100.7"), of("255.255.255.255")), (None, Some(1), Some(3)));
        assert_eq!((of("100.128.0.0"), of("2001:db8::1")), (None, None));
        assert!(flat.windows(2).all(|w| w[0].range.last < w[1].range.first), "{flat:?}");
    }

    /// Random nested prefixes: every address has the home of the longest prefix around it.
    #[test]
    fn the_longest_prefix_around_an_address_decides() {
        let mut seed = 7u64;
        let mut next = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..500 {
            let nets: Vec<Home> = (0..next(8) + 1)
                .map(|id| home(&format!("2001:db8::{:x}/{}", next(64), 122 + next(7)), id as u32))
                .collect();
            let flat = disjoint(&nets);
            for low in 0..64u128 {
                let ip = IpAddr::V6((0x2001_0db8u128 << 96 | low).into());
                let around = nets.iter().filter(|n| n.range.first <= ip && ip <= n.range.last);
                let smallest = around.clone().map(|n| bits(n.range.last) - bits(n.range.first)).min();
                let mut ids: Vec<u32> = around
                    .filter(|n| Some(bits(n.range.last) - bits(n.range.first)) == smallest)
                    .map(|n| n.id)
                    .collect();
                ids.dedup();
                let want = if let [only] = ids[..] { Some(only) } else { None };
                assert_eq!(home_of(&flat, ip).map(|home| home.id), want, "{ip} {nets:?}");
            }
        }
    }
}
