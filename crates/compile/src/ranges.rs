//! Arithmetic on address ranges. Interval sets of the kernel refuse overlaps, so everything that goes into one
//! is merged first.

use std::borrow::Cow;
use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
pub(crate) use mwan_config::address::{bits, of_bits};
use mwan_config::{AddressRange, Family, PortRange};

/// All addresses of a prefix.
pub fn of_net(net: IpNet) -> AddressRange {
    AddressRange { first: net.network(), last: net.broadcast() }
}

/// The prefix length of a range that is exactly one prefix.
pub fn prefix_len(range: AddressRange) -> Option<u8> {
    let (first, last) = (bits(range.first), bits(range.last));
    let difference = first ^ last;
    let host_bits = 128 - difference.leading_zeros();
    let is_prefix = difference & difference.wrapping_add(1) == 0 && first & difference == 0;
    is_prefix.then(|| Family::of(range.first).bits() - host_bits as u8)
}

/// Sorted, with overlapping and adjacent ranges of one family joined.
pub fn merge(ranges: impl IntoIterator<Item = AddressRange>) -> Vec<AddressRange> {
    merge_list(ranges.into_iter().collect())
}

fn merge_list(mut sorted: Vec<AddressRange>) -> Vec<AddressRange> {
    sorted.sort_unstable();
    sorted.dedup_by(|range, last| {
        let joins = touches(*last, *range);
        if joins {
            last.last = last.last.max(range.last);
        }
        joins
    });
    sorted
}

/// Those of a family, merged: a list that is, as every long one, is not copied.
pub(crate) fn merged(list: &[AddressRange], family: Family) -> Cow<'_, [AddressRange]> {
    let is_merged = list.is_sorted_by(|a, b| a < b && !touches(*a, *b));
    if !is_merged {
        return merge(list.iter().copied().filter(|range| Family::of(range.first) == family)).into();
    }
    let (v4, v6) = list.split_at(list.partition_point(|range| range.first.is_ipv4()));
    match family {
        Family::V4 => v4,
        Family::V6 => v6,
    }
    .into()
}

/// Sorted, with overlapping and adjacent ranges joined.
pub fn merge_ports(ranges: impl IntoIterator<Item = PortRange>) -> Vec<PortRange> {
    let mut sorted: Vec<PortRange> = ranges.into_iter().collect();
    sorted.sort_unstable();
    let mut merged: Vec<PortRange> = Vec::with_capacity(sorted.len());
    for range in sorted {
        match merged.last_mut() {
            Some(last) if range.first <= last.last.saturating_add(1) => last.last = last.last.max(range.last),
            _ => merged.push(range),
        }
    }
    merged
}

/// `next` starts inside or right behind `range`; `next` is not before it.
pub(crate) fn touches(range: AddressRange, next: AddressRange) -> bool {
    Family::of(range.first) == Family::of(next.first)
        && bits(next.first) <= bits(range.last).saturating_add(1)
}

/// The fewest prefixes that make up a range, ascending: first address and length.
pub(crate) fn prefixes(range: AddressRange) -> impl Iterator<Item = (u128, u8)> {
    let width = Family::of(range.first).bits();
    let (mut first, last) = (Some(bits(range.first)), bits(range.last));
    std::iter::from_fn(move || {
        let at = first.filter(|at| *at <= last)?;
        // As large as the alignment allows and the rest of the range has room for.
        let room = match (last - at).checked_add(1) {
            Some(count) => count.ilog2(),
            None => 128,
        };
        let host = at.trailing_zeros().min(room).min(u32::from(width));
        first = 1u128.checked_shl(host).and_then(|size| at.checked_add(size));
        Some((at, width - host as u8))
    })
}

/// Every address of a family.
pub fn everything(family: Family) -> AddressRange {
    match family {
        Family::V4 => AddressRange { first: Ipv4Addr::UNSPECIFIED.into(), last: Ipv4Addr::BROADCAST.into() },
        Family::V6 => {
            AddressRange { first: Ipv6Addr::UNSPECIFIED.into(), last: Ipv6Addr::from(u128::MAX).into() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange { first: first.parse().expect("ip"), last: last.parse().expect("ip") }
    }

    #[test]
    fn prefixes_are_recognised() {
        for (first, last, expected) in [
            ("10.0.0.0", "10.255.255.255", Some(8)),
            ("10.0.0.1", "10.0.0.1", Some(32)),
            ("10.0.0.1", "10.0.0.2", None),
            ("0.0.0.0", "255.255.255.255", Some(0)),
            ("224.0.0.0", "255.255.255.255", Some(3)),
            ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", Some(0)),
            ("2001:db8::", "2001:db8::ffff", Some(112)),
            ("2001:db8::1", "2001:db8::ffff", None),
        ] {
            assert_eq!(prefix_len(range(first, last)), expected, "{first}-{last}");
        }
    }

    #[test]
    fn overlapping_and_adjacent_ranges_are_joined_and_families_kept_apart() {
        let merged = merge([
            range("10.0.0.5", "10.0.0.9"),
            range("10.0.0.0", "10.0.0.4"),
            range("10.0.0.7", "10.0.0.8"),
            range("10.0.0.11", "10.0.0.11"),
            range("::a", "::b"),
            range("255.255.255.255", "255.255.255.255"),
        ]);
        assert_eq!(
            merged,
            [
                range("10.0.0.0", "10.0.0.9"),
                range("10.0.0.11", "10.0.0.11"),
                range("255.255.255.255", "255.255.255.255"),
                range("::a", "::b")
            ]
        );
    }
}
