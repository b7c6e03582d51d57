//! Our table as the kernel has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mwan_compile::nft::{Hook, HookKind, HookPoint, ObservedChain, ObservedSet, ObservedTable, TABLE};
use mwan_config::{AddressRange, Family};

use super::socket::ObserveError;
use super::{INET, NftSocket, attr, header, message};
use crate::netlink::{Attributes, DUMP_ATTEMPTS, Message, Writer, text, u32_be, u64_be};

/// What a named counter counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CounterValue {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

impl NftSocket {
    /// Our table and the generation at which it looked so; `None`: there is no such table.
    pub fn observe(&mut self) -> Result<(Option<ObservedTable>, u32), ObserveError> {
        let generation = |source| ObserveError::Dump { what: "the generation", source };
        for _ in 0..DUMP_ATTEMPTS {
            let before = self.generation().map_err(generation)?;
            let table = self.observe_once()?;
            // Each dump is consistent in itself (NLM_F_DUMP_INTR); the generation ties them together.
            if self.generation().map_err(generation)? == before {
                return Ok((table, before));
            }
        }
        Err(ObserveError::Inconsistent)
    }

    fn observe_once(&mut self) -> Result<Option<ObservedTable>, ObserveError> {
        if !self.table_exists()? {
            return Ok(None);
        }
        let mut sets = BTreeMap::new();
        for (name, family) in self.named_sets()? {
            let elements = match family {
                Some(family) => self.elements(&name, family)?,
                None => BTreeSet::new(),
            };
            sets.insert(name, ObservedSet { family, elements });
        }
        let mut chains = self.chains()?;
        self.rules(&mut chains)?;
        let counters = self.counters()?.into_keys().collect();
        Ok(Some(ObservedTable { sets, counters, chains }))
    }

    fn table_exists(&mut self) -> Result<bool, ObserveError> {
        let request = || Writer::message(message::GET_TABLE, 0, &header(INET, 0));
        self.dump(
            "the list",
            request,
            || false,
            |found, m| {
                let name = m.attributes(4).find(attr::TABLE_NAME).map(text);
                *found |= m.kind == message::NEW_TABLE && m.byte(0) == INET && name.as_deref() == Some(TABLE);
            },
        )
    }

    /// Named sets, with the family of those that are of our type.
    fn named_sets(&mut self) -> Result<Vec<(String, Option<Family>)>, ObserveError> {
        self.dump(
            "the sets",
            || Self::about_table(message::GET_SET),
            Vec::new,
            |sets, m| {
                if let Some(set) = parse_set(m) {
                    sets.push(set);
                }
            },
        )
    }

    fn elements(&mut self, name: &str, family: Family) -> Result<BTreeSet<AddressRange>, ObserveError> {
        let request = || {
            let mut writer = Self::about_table(message::GET_ELEMENTS);
            writer.put_str(attr::LIST_SET, name);
            writer
        };
        let marks = self.dump("the elements", request, Vec::new, |marks, m| {
            if m.kind == message::NEW_ELEMENTS {
                let list = m.attributes(4).nested(attr::LIST_ELEMENTS);
                marks.extend(list.filter_map(|(_, element)| parse_element(element, family)));
            }
        })?;
        Ok(fold(marks, family))
    }

    fn chains(&mut self) -> Result<BTreeMap<String, ObservedChain>, ObserveError> {
        self.dump(
            "the chains",
            || Self::about_table(message::GET_CHAIN),
            BTreeMap::new,
            |chains, m| {
                if let Some((name, hook)) = parse_chain(m) {
                    chains.insert(name, ObservedChain { hook, tags: Vec::new() });
                }
            },
        )
    }

    fn rules(&mut self, chains: &mut BTreeMap<String, ObservedChain>) -> Result<(), ObserveError> {
        // Dumped chain by chain, each in order of evaluation.
        let rules = self.dump(
            "the rules",
            || Self::about_table(message::GET_RULE),
            Vec::new,
            |rules, m| {
                if let Some(rule) = parse_rule(m) {
                    rules.push(rule);
                }
            },
        )?;
        for (chain, tag) in rules {
            if let Some(chain) = chains.get_mut(&chain) {
                chain.tags.push(tag);
            }
        }
        Ok(())
    }

    /// The named counters of our table; empty if there is none.
    pub fn counters(&mut self) -> Result<BTreeMap<String, CounterValue>, ObserveError> {
        let request = || {
            let mut writer = Self::about_table(message::GET_OBJECT);
            writer.put_be32(attr::OBJECT_TYPE, attr::OBJECT_COUNTER);
            writer
        };
        self.dump("the counters", request, BTreeMap::new, |counters, m| {
            counters.extend(parse_counter(m));
        })
    }
}

/// Whether a message is an object of our table; the table is attribute 1 everywhere.
fn is_ours(m: &Message<'_>, kind: u16) -> bool {
    let table = m.attributes(4).find(attr::TABLE_NAME);
    m.kind == kind && m.byte(0) == INET && table.map(text).as_deref() == Some(TABLE)
}

fn be32(attributes: Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind).and_then(u32_be)
}

fn parse_set(m: &Message<'_>) -> Option<(String, Option<Family>)> {
    let attributes = m.attributes(4);
    let flags = be32(attributes, attr::SET_FLAGS).unwrap_or(0);
    if !is_ours(m, message::NEW_SET) || flags & attr::SET_ANONYMOUS != 0 {
        return None;
    }
    let family = match (flags, be32(attributes, attr::SET_KEY_TYPE), be32(attributes, attr::SET_KEY_LEN)) {
        // nft's numbers of the types ipv4_addr and ipv6_addr.
        (attr::SET_INTERVAL, Some(7), Some(4)) => Some(Family::V4),
        (attr::SET_INTERVAL, Some(8), Some(16)) => Some(Family::V6),
        _ => None,
    };
    Some((attributes.find(attr::SET_NAME).map(text)?, family))
}

/// One end of a range as dumped.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Mark {
    /// As a number, so that both families sort alike.
    key: u128,
    /// Ends sort before starts: the end of one range may be the start of the next.
    start: bool,
    /// Closed end that came with the start (`NFTA_SET_ELEM_KEY_END`).
    last: Option<u128>,
    /// With a timeout: not one of ours.
    timed: bool,
}

fn parse_element(element: &[u8], family: Family) -> Option<Mark> {
    let attributes = Attributes(element);
    let flags = be32(attributes, attr::ELEM_FLAGS).unwrap_or(0);
    let key = |kind| number(attributes.nested(kind).find(attr::DATA_VALUE)?, family);
    if flags & attr::ELEM_CATCHALL != 0 {
        return None;
    }
    Some(Mark {
        key: key(attr::ELEM_KEY)?,
        start: flags & attr::ELEM_INTERVAL_END == 0,
        last: key(attr::ELEM_KEY_END),
        timed: attributes.find(attr::ELEM_TIMEOUT).is_some(),
    })
}

fn number(bytes: &[u8], family: Family) -> Option<u128> {
    match family {
        Family::V4 => u32_be(bytes).map(u128::from),
        Family::V6 => Some(u128::from_be_bytes(bytes.try_into().ok()?)),
    }
}

fn address(number: u128, family: Family) -> IpAddr {
    match family {
        Family::V4 => IpAddr::V4(Ipv4Addr::from(number as u32)),
        Family::V6 => IpAddr::V6(Ipv6Addr::from(number)),
    }
}

/// Starts and ends folded to closed ranges. The kernel dumps them in an order of its own.
fn fold(mut marks: Vec<Mark>, family: Family) -> BTreeSet<AddressRange> {
    marks.sort_unstable();
    let highest = if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX };
    let mut ranges = BTreeSet::new();
    for (index, mark) in marks.iter().enumerate() {
        if !mark.start || mark.timed {
            continue;
        }
        // Up to the next mark: its end, or for an open one the next start.
        let next = marks[index + 1..].iter().find(|m| m.key > mark.key);
        let last = mark.last.or(next.map(|m| m.key - 1)).unwrap_or(highest);
        if last >= mark.key {
            ranges.insert(AddressRange { first: address(mark.key, family), last: address(last, family) });
        }
    }
    ranges
}

fn parse_chain(m: &Message<'_>) -> Option<(String, Option<Hook>)> {
    if !is_ours(m, message::NEW_CHAIN) {
        return None;
    }
    let attributes = m.attributes(4);
    let hook = attributes.nested(attr::CHAIN_HOOK);
    let kind = match attributes.find(attr::CHAIN_TYPE).map(text).as_deref() {
        Some("filter") => Some(HookKind::Filter),
        Some("route") => Some(HookKind::Route),
        Some("nat") => Some(HookKind::Nat),
        _ => None,
    };
    let point = match be32(hook, attr::HOOK_NUMBER) {
        Some(0) => Some(HookPoint::Prerouting),
        Some(3) => Some(HookPoint::Output),
        Some(4) => Some(HookPoint::Postrouting),
        _ => None,
    };
    // NF_ACCEPT: with another policy it is no chain of ours.
    let point = point.filter(|_| be32(attributes, attr::CHAIN_POLICY) == Some(1));
    let hook = match (kind, point, be32(hook, attr::HOOK_PRIORITY)) {
        (Some(kind), Some(point), Some(priority)) => Some(Hook { kind, point, priority: priority as i32 }),
        _ => None,
    };
    Some((attributes.find(attr::CHAIN_NAME).map(text)?, hook))
}

fn parse_rule(m: &Message<'_>) -> Option<(String, String)> {
    if !is_ours(m, message::NEW_RULE) {
        return None;
    }
    let attributes = m.attributes(4);
    let comment = attributes.find(attr::RULE_USERDATA).and_then(comment).unwrap_or_default();
    Some((attributes.find(attr::RULE_CHAIN).map(text)?, comment))
}

/// The comment in a rule's user data: type, length, value.
fn comment(mut data: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == attr::UDATA_COMMENT {
            return Some(text(value));
        }
        data = &rest[usize::from(*length)..];
    }
    None
}

fn parse_counter(m: &Message<'_>) -> Option<(String, CounterValue)> {
    let attributes = m.attributes(4);
    if !is_ours(m, message::NEW_OBJECT) || be32(attributes, attr::OBJECT_TYPE) != Some(attr::OBJECT_COUNTER) {
        return None;
    }
    let data = attributes.nested(attr::OBJECT_DATA);
    let value = |kind| data.find(kind).and_then(u64_be).unwrap_or(0);
    let counter = CounterValue { packets: value(attr::COUNTER_PACKETS), bytes: value(attr::COUNTER_BYTES) };
    Some((attributes.find(attr::OBJECT_NAME).map(text)?, counter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;
    use proptest::prelude::*;

    fn mark(key: u128, start: bool) -> Mark {
        Mark { key, start, last: None, timed: false }
    }

    fn range(first: &str, last: &str) -> AddressRange {
        AddressRange { first: first.parse().expect("address"), last: last.parse().expect("address") }
    }

    #[test]
    fn adjacent_and_open_ranges_fold() {
        let marks = vec![
            mark(0xffff_ff00, true),
            mark(0x0a00_0100, true),
            mark(0x0a00_0100, false),
            mark(0x0a00_0000, true),
            mark(0x0a00_0200, false),
            mark(0, false),
        ];
        let expected = [
            range("10.0.0.0", "10.0.0.255"),
            range("10.0.1.0", "10.0.1.255"),
            range("255.255.255.0", "255.255.255.255"),
        ];
        assert_eq!(fold(marks, Family::V4), BTreeSet::from(expected));
    }

    #[test]
    fn comments_are_found_behind_other_user_data() {
        assert_eq!(comment(&[5, 1, 9, 0, 3, b'h', b'i', 0]).as_deref(), Some("hi"));
        assert_eq!(comment(&[0, 9, b'x']), None);
        assert_eq!(comment(&[]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(kind in 2560u16..2590, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Writer::message(kind, 0, &[INET, 0, 0, 0]).finish().expect("small");
            bytes.extend_from_slice(&body);
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            for m in Messages(&bytes) {
                let _ = (parse_set(&m), parse_chain(&m), parse_rule(&m), parse_counter(&m));
            }
            let marks: Vec<_> = [Family::V4, Family::V6].iter().filter_map(|f| parse_element(&body, *f)).collect();
            let _ = (fold(marks, Family::V6), comment(&body));
        }
    }
}
