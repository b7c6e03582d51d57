use super::*;
use crate::nft::single;
use proptest::prelude::*;

fn range(first: u128, last: u128, family: Family) -> AddressRange {
    AddressRange { first: of_bits(first, family), last: of_bits(last, family) }
}

fn counts(list: &[AddressRange], family: Family) -> Counts {
    Counts::of(family, &[list])
}

fn levels(lengths: &[u8]) -> Vec<BlockLevel> {
    lengths.iter().map(|length| BlockLevel { length: *length, size: 0 }).collect()
}

/// Whether an address is found as the kernel looks for it: cut to the length of each level.
fn found(parts: &[BTreeSet<AddressRange>], lengths: &[u8], at: u128, family: Family) -> bool {
    parts.iter().zip(lengths).any(|(runs, length)| {
        let cut = of_bits(at & !host_mask(*length, family), family);
        runs.iter().any(|run| addresses(*run, *length).any(|first| first == cut))
    })
}

/// Ranges in a small part of the address space: their borders at any bit of the last sixteen.
pub(crate) fn lists(family: Family) -> impl Strategy<Value = Vec<AddressRange>> {
    let base = if family == Family::V4 { 0x0a00_0000 } else { 0x2001_0db8 << 96 };
    let one = (0..1u128 << 16, 0..12u32, any::<u16>()).prop_map(move |(at, bits, more)| {
        let more = u128::from(more) & ((1 << bits) - 1);
        let at = if more & 1 == 0 { at } else { at & !((1 << bits) - 1) };
        let last = (at + more).min(0xffff);
        range(base + at, base + last, family)
    });
    prop::collection::vec(one, 0..40).prop_map(merge)
}

fn in_list(list: &[AddressRange], ip: IpAddr) -> bool {
    list.iter().any(|range| range.first <= ip && ip <= range.last)
}

/// The borders of all ranges and what is next to them.
fn edges(list: &[AddressRange]) -> impl Iterator<Item = u128> {
    let near = |ip: IpAddr| [bits(ip).saturating_sub(1), bits(ip), bits(ip).saturating_add(1)];
    list.iter().flat_map(move |range| near(range.first).into_iter().chain(near(range.last)))
}

fn exactly(list: &[AddressRange], family: Family, lengths: &[u8]) {
    let parts = runs(list.iter().copied(), family, &levels(lengths));
    let count = counts(list, family);
    let total: u64 = total(list, family, lengths).iter().sum();
    let entered = |(runs, length): (&BTreeSet<AddressRange>, &u8)| -> usize {
        runs.iter().map(|run| addresses(*run, *length).count()).sum()
    };
    assert_eq!(parts.iter().zip(lengths).map(entered).sum::<usize>() as u64, total);
    assert!(count.scattered || count.blocks_in(lengths) == Some(total));
    for at in edges(list) {
        let ip = of_bits(at, family);
        assert_eq!(found(&parts, lengths, at, family), in_list(list, ip), "{ip} in {list:?} as {lengths:?}");
    }
    for (runs, length) in parts.iter().zip(lengths) {
        let first = runs.iter().rev().flat_map(|run| addresses(*run, *length)).map(single).collect();
        assert_eq!(fold(first, family, *length).as_ref(), Some(runs));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The blocks of a list are found for exactly its addresses, whatever the levels, and read back as they were entered.
    #[test]
    fn blocks_cover_exactly_the_list(v4 in lists(Family::V4), v6 in lists(Family::V6), extra in 17..32u8) {
        for (list, family) in [(v4, Family::V4), (v6, Family::V6)] {
            let extra = extra + family.bits() - 32;
            let mut any = vec![extra, family.bits()];
            any.dedup();
            exactly(&list, family, &any);
            let count = counts(&list, family);
            for lengths in count.fewest().into_iter().filter(|_| !count.scattered) {
                exactly(&list, family, &lengths);
            }
        }
    }

    /// The dynamic programme against all choices of levels.
    #[test]
    fn no_other_levels_take_fewer_blocks(list in lists(Family::V4)) {
        let count = counts(&list, Family::V4);
        let lengths = count.lengths();
        for (found, number) in count.fewest().iter().zip(1u32..7) {
            prop_assert_eq!(found.len() as u32, number);
            let choices = (0..1u32 << lengths.len()).filter(|choice| choice.count_ones() == number);
            let best = choices.filter_map(|choice| {
                let picked: Vec<u8> = (0..lengths.len()).filter(|at| choice >> at & 1 == 1).map(|at| lengths[at]).collect();
                count.blocks_in(&picked)
            }).min();
            prop_assert_eq!(count.blocks_in(found), best);
        }
    }

    /// Blocks with anything of a list in them are counted without making them.
    #[test]
    fn blocks_that_are_near_are_counted(v4 in lists(Family::V4), v6 in lists(Family::V6), length in 8..=26u8) {
        for (list, family) in [(v4, Family::V4), (v6, Family::V6)] {
            let length = length + family.bits() - 32;
            let count = counts(&list, family);
            let step = host_mask(length, family) + 1;
            let of = |range: &AddressRange| (bits(range.first) / step)..=(bits(range.last) / step);
            let near: BTreeSet<u128> = list.iter().flat_map(of).collect();
            prop_assert!(count.scattered || count.near(length) == near.len() as u64);
        }
    }

    /// Whatever is kept of an old layout: the levels cover the list, in no more blocks than a list may take.
    #[test]
    fn a_layout_covers_its_list_within_bounds(
        list in lists(Family::V6), old in prop::collection::btree_set(100..=128u8, 0..=LEVELS_MAX),
    ) {
        let count = counts(&list, Family::V6);
        let old: Vec<u8> = old.into_iter().collect();
        let chosen = count.choose(&levels(&old), 2);
        prop_assert!(chosen.len() <= LEVELS_MAX && chosen.is_sorted());
        let blocks = count.blocks_in(&chosen);
        prop_assert!(chosen.is_empty() || blocks.is_some_and(|blocks| blocks <= count.ranges * (BLOCKS_MAX + 1)));
    }
}

#[test]
fn the_ends_of_the_world_are_blocks_and_nothing_large_is_expanded() {
    for family in Family::ALL {
        let highest = host_mask(0, family);
        let whole = range(0, highest, family);
        assert_eq!(prefixes(whole).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(blocks_of(whole, &[0])[0], 1);
        assert_eq!(addresses(whole, 0).count(), 1);
        let last = range(highest, highest, family);
        exactly(&[last], family, &[family.bits()]);
        assert_eq!(mask(0, family), of_bits(0, family));
        assert_eq!(mask(family.bits(), family), of_bits(highest, family));
        // Half the world beside single addresses: a level of its own for each.
        let mut list = vec![range(highest / 2 + 1, highest, family)];
        list.extend((1..3000).map(|n| range(n * 4, n * 4, family)));
        let list = merge(list);
        assert_eq!(counts(&list, family).choose(&[], LARGE_MIN), [1, family.bits()]);
        // As the longest level alone it would be expanded: that is never chosen, however many it is asked to keep.
        let longest = [BlockLevel { length: family.bits(), size: u32::MAX }];
        let kept = counts(&list, family).choose(&longest, LARGE_MIN);
        assert_eq!(kept, [1, family.bits()]);
    }
}

#[test]
fn a_list_of_any_lengths_stays_a_set_of_ranges() {
    // Ranges that begin and end anywhere are many prefixes each.
    let scattered: Vec<AddressRange> =
        (0..20_000u128).map(|n| range((n << 80) + 1, (n << 80) + (1 << 79) + 12_345, Family::V6)).collect();
    assert!(counts(&scattered, Family::V6).scattered);
    assert!(counts(&scattered, Family::V6).choose(&[], LARGE_MIN).is_empty());
    // A set that counts per element is not cut to pieces, and a short list is not worth it.
    let list = |count: u128| -> Vec<AddressRange> {
        (0..count).map(|n| range(n * 512, n * 512 + 255, Family::V4)).collect()
    };
    assert_eq!(counts(&list(1023), Family::V4).choose(&[], LARGE_MIN), []);
    assert_eq!(counts(&list(1024), Family::V4).choose(&[], LARGE_MIN), [24]);
    assert_eq!(counts(&list(600), Family::V4).choose(&levels(&[24]), LARGE_MIN), [24]);
    assert_eq!(counts(&list(500), Family::V4).choose(&levels(&[24]), LARGE_MIN), []);
}

/// Lengths of one country's prefixes, IPv4: more of the longer ones.
fn country() -> Vec<AddressRange> {
    let shares: [(u8, u128); 9] =
        [(24, 30), (22, 25), (23, 12), (21, 8), (20, 9), (19, 7), (18, 4), (17, 2), (16, 3)];
    let lengths = shares.iter().flat_map(|(length, share)| (0..*share).map(move |_| *length));
    let lengths: Vec<u8> = lengths.cycle().take(20_000).collect();
    let one = |(n, length): (usize, u8)| {
        let first = (n as u128) << 17;
        range(first, first | host_mask(length, Family::V4), Family::V4)
    };
    lengths.into_iter().enumerate().map(one).collect()
}

#[test]
fn a_list_that_changes_a_little_keeps_its_layout() {
    let list = country();
    let at =
        |lengths: &[u8], list: &[AddressRange]| counts(list, Family::V4).choose(&levels(lengths), LARGE_MIN);
    let chosen = at(&[], &list);
    assert!(
        counts(&list, Family::V4).blocks_in(&chosen).expect("covered") <= 2 * list.len() as u64,
        "{chosen:?}"
    );
    // A tenth is gone, another is new; a single address needs a level of its own, and keeps the others.
    assert_eq!(at(&chosen, &list[2_000..]), chosen);
    let single = range(1 << 31, 1 << 31, Family::V4);
    let with = at(&chosen, &[list.as_slice(), &[single]].concat());
    assert_eq!(with, [chosen.as_slice(), &[32]].concat());
    assert_eq!(at(&with, &list), with);
    // Room: for an eighth more at least, and kept while it is enough and not far too much.
    for blocks in [0, 1, 63, 64, 1000, 60_000, 1_000_000] {
        let room = size(blocks, None);
        assert!(u64::from(room) >= blocks + blocks / 8 && (u64::from(room) * 4 / 3).is_power_of_two());
        assert_eq!(size(blocks + blocks / 8, Some(room)), room);
    }
    assert!(size(60_000, Some(59_999)) > 60_000);
    assert!(size(100, Some(1 << 20)) < 1 << 10);
}

#[test]
fn addresses_inside_of_a_block_are_none_of_ours() {
    let inside = fold(vec![single(of_bits(0x0a00_0001, Family::V4))], Family::V4, 24);
    assert_eq!(inside, None);
    let two =
        fold([0x0a00_0100, 0x0a00_0000].map(|at| single(of_bits(at, Family::V4))).to_vec(), Family::V4, 24);
    assert_eq!(two, Some(BTreeSet::from([range(0x0a00_0000, 0x0a00_01ff, Family::V4)])));
}
