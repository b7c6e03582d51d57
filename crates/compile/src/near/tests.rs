use super::*;
use crate::blocks::{lay_out_from, tests::lists};
use mwan_config::{Families, Location, NamedSet};
use proptest::prelude::*;
use std::sync::Arc;

fn named(list: Vec<AddressRange>) -> NamedSet {
    let mut sets = [NamedSet {
        name: "x".into(),
        families: Families::ALL,
        entries: Arc::new(list),
        file: Some("list".into()),
        domains: Arc::default(),
        timeout: None,
        counters: false,
        layout: SetLayout::default(),
        location: Location { file: "x".into(), line: 1 },
    }];
    lay_out_from(&mut sets, 1);
    let [set] = sets;
    set
}

/// Levels by index that a number stands for.
fn stands_for(number: u32, codes: &[u32]) -> u32 {
    if number == ALL { u32::MAX } else { codes[number as usize - 2] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Of every address of a list: the number of its block stands for the level it is found in, whatever the levels, the
    /// length of the blocks, the numbers there are, and the mask, but the level that is asked before; elsewhere there is no
    /// block; and what is read from the kernel is what was entered.
    #[test]
    fn the_number_of_a_block_stands_for_all_that_is_in_it(
        v4 in lists(Family::V4), v6 in lists(Family::V6), length in 4..=26u8,
        levels in prop::collection::btree_set(0..32u8, 1..12),
        sizes in prop::collection::vec(1..1_000u32, 13),
        old in prop::collection::vec(1..4096u32, 0..70),
        mask in prop::sample::select(vec![0x7u32, 0xf0, 0x3f00, 0xff00_0000, u32::MAX]),
    ) {
        let marks = Marks::new(mask);
        for (list, family) in [(v4, Family::V4), (v6, Family::V6)] {
            let more = family.bits() - 32;
            let length = length + more;
            let level = |length: u8| BlockLevel { length, size: 1 };
            let levels: Vec<BlockLevel> =
                levels.iter().map(|length| level(length + more)).filter(|l| l.length < family.bits())
                    .chain([level(family.bits())])
                    .zip(&sizes)
                    .map(|(level, size)| BlockLevel { size: *size, ..level })
                    .collect();
            let mut layout = SetLayout::default();
            let at = usize::from(family == Family::V6);
            layout.near[at] = Some(level(length));
            *(if family == Family::V4 { &mut layout.v4 } else { &mut layout.v6 }) = levels.clone();
            let mut before = layout.clone();
            before.codes[at] = old.iter().copied().take(CODES_MAX).collect();
            layout.codes[at] = numbers(&[&list], family, &layout, &before).codes;
            let kept = layout.codes[at].iter().zip(&before.codes[at]);
            let used: Vec<u32> = spans(&list, family, &layout, length).iter().map(|s| s.levels).collect();
            prop_assert!(kept.filter(|(_, old)| used.contains(old)).all(|(new, old)| new == old));
            let found = elements(&list, family, &layout, level(length), marks);
            let mut blocks: Vec<(IpAddr, u32)> = Vec::new();
            for element in &found {
                let (all, mark) = blocks_of(*element, length, mask);
                prop_assert!(mark != 0 && mark & !mask == 0);
                blocks.extend(all.map(|first| (first, mark)));
            }
            let host = host_mask(length, family);
            let first_level = super::first(&layout, family);
            let mut expected = std::collections::BTreeSet::new();
            for (first, own) in list.iter().flat_map(|range| prefixes(*range)) {
                let index = levels.iter().position(|level| level.length >= own).expect("the last has all");
                if Some(index) == first_level {
                    continue;
                }
                let last = first | host_mask(own, family);
                for edge in [first, last] {
                    let block = of_bits(edge & !host, family);
                    let mark = blocks.iter().find(|(first, _)| *first == block).map(|(_, mark)| *mark);
                    let number = marks.id_of(mark.expect("it is near"));
                    prop_assert_eq!(stands_for(number, &layout.codes[at]) >> index & 1, 1);
                }
                expected.extend((first & !host..=last).step_by(host as usize + 1));
            }
            let there: std::collections::BTreeSet<u128> = blocks.iter().map(|(first, _)| bits(*first)).collect();
            prop_assert_eq!(there.len(), blocks.len(), "no block twice");
            prop_assert_eq!(&there, &expected);
            blocks.reverse();
            prop_assert_eq!(read(blocks, family, length, mask), Some(found));
        }
    }
}

/// 17 lengths in turns, four ranges to a block: each four that there are have a number of their own.
#[test]
fn neighbours_of_other_lengths_have_a_number_together() {
    let list: Vec<AddressRange> = (0..3_400u128)
        .map(|n| {
            let (first, length) = ((0x2a00_0000_0000 + 2 * n) << 80, 48 + (n % 17) as u8);
            let last = first | host_mask(length, Family::V6);
            AddressRange { first: of_bits(first, Family::V6), last: of_bits(last, Family::V6) }
        })
        .collect();
    let set = named(list);
    let layout = &set.layout;
    assert_eq!(layout.v6.len(), 17, "{layout:?}");
    assert_eq!(layout.near(Family::V6).map(|level| level.length), Some(45));
    assert_eq!(layout.codes(Family::V6).len(), 17);
    assert!(layout.codes(Family::V6).iter().all(|code| code.count_ones() == 4));
    // A mask of three bits has seven numbers: most stand for all.
    assert_eq!(numbered(layout.codes(Family::V6), Marks::new(0x7)).len(), 6);
    assert_eq!(number(1, &[0b111, 0b11, 0b110]), 3);
    assert_eq!(number(0b1000, &[0b111, 0b11, 0b110]), ALL);
}

/// What has a third of the list is asked for before the map, which then knows nothing of it.
#[test]
fn a_length_with_much_of_the_list_is_asked_for_first() {
    let list = |mostly: u128| -> Vec<AddressRange> {
        let range = |n: u128| {
            let length = if n % 10 < mostly { 48 } else { 49 + (n % 8) as u8 };
            let first = (0x2a00_0000_0000 + 2 * n) << 80;
            let last = first | host_mask(length, Family::V6);
            AddressRange { first: of_bits(first, Family::V6), last: of_bits(last, Family::V6) }
        };
        (0..4_000).map(range).collect()
    };
    let set = named(list(5));
    let at = first(&set.layout, Family::V6).expect("half of the list has one length");
    assert_eq!(set.layout.v6[at].length, 48);
    assert!(set.layout.codes(Family::V6).iter().all(|code| code >> at & 1 == 0));
    assert_eq!(first(&named(list(1)).layout, Family::V6), None);
}

#[test]
fn what_is_none_of_ours_is_not_read() {
    let read =
        |first: u128, mark: u32| read(vec![(of_bits(first, Family::V4), mark)], Family::V4, 24, 0xff00);
    assert_eq!(read(0x0a00_0000, 0x0100).map(|elements| elements.len()), Some(1));
    for (first, mark) in
        [(0x0a00_0001, 0x0100), (0x0a00_0000, 0), (0x0a00_0000, 0x0101), (0x0a00_0000, 0x4000)]
    {
        assert_eq!(read(first, mark), None, "{first:x} {mark:x}");
    }
}
