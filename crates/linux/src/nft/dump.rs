//! Our table as the kernel has it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use mwan_compile::nft::{
    Base, ElementKind, Hook, HookKind, HookPoint, ObservedChain, ObservedSet, ObservedTable, SetKind, TABLE,
    single,
};
use mwan_compile::text::{blocks_comment, near_comment};
use mwan_compile::{blocks, near};
use mwan_config::{AddressRange, BlockLevel, Family};

use super::encode::TYPE_MARK;
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

/// Rules known to be as we made them. A comment is easily copied to another rule, and `nft replace` even keeps the
/// handle; so a rule is known by what the kernel told of it when it was ours: word for word the same expressions, and
/// the same anonymous sets, which never change and whose handles are never used again in a table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OwnRules {
    /// Handle of the table, never used again in a namespace; 0 on kernels before 4.16, which tell none.
    pub table: u64,
    /// Digests of its rules.
    pub rules: BTreeSet<u64>,
}

/// A set with many elements. The kernel begins at its start for every few hundred elements it dumps (nft_rbtree_walk), so
/// that reading 100,000 of them takes long; what others change in it is seen only after [`LARGE_SET_PAUSE`]. Our own commits
/// are taken in without a look.
#[derive(Debug)]
pub(super) struct LargeSet {
    handle: u64,
    read: Instant,
    pub(super) elements: BTreeSet<AddressRange>,
}

/// From so many elements on.
const LARGE_SET: usize = 5_000;
/// Time between two readings of a large set.
const LARGE_SET_PAUSE: Duration = Duration::from_secs(600);

/// Handles of anonymous sets by name; names are used again.
pub(super) type SetHandles = BTreeMap<String, u64>;

/// `NFT_MSG_NEWTABLE`.
pub(super) struct TableMessage {
    pub(super) handle: u64,
    dormant: bool,
}

/// `NFT_MSG_NEWRULE`.
pub(super) struct RuleMessage {
    /// Of comment, expressions and sets.
    pub(super) digest: u64,
    chain: String,
    tag: String,
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
        let Some(found) = self.table()? else {
            self.own = None;
            return Ok(None);
        };
        let mut sets = BTreeMap::new();
        let (named, anonymous) = self.sets()?;
        for (name, kind, handle) in named {
            let (elements, others) = match kind {
                // Others' business: what is in it is never compared.
                Some(SetKind { elements: ElementKind::Learned(_), .. }) => (BTreeSet::new(), false),
                Some(kind) if kind.is_dynamic() => (BTreeSet::new(), self.has_elements(&name)?),
                Some(kind) => self.elements_at_times(&name, handle, kind)?,
                None => (BTreeSet::new(), false),
            };
            sets.insert(name, ObservedSet { kind, elements, others });
        }
        let mut chains = self.chains()?;
        self.rules(found.handle, &anonymous, &mut chains)?;
        let counters = self.counters()?.into_keys().collect();
        Ok(Some(ObservedTable { dormant: found.dormant, sets, counters, chains }))
    }

    fn table(&mut self) -> Result<Option<TableMessage>, ObserveError> {
        let request = || Writer::message(message::GET_TABLE, 0, &header(INET, 0));
        self.dump("the list", request, || None, |found, m| *found = found.take().or(parse_table(m)))
    }

    /// Named sets, with the kind of those that are like ours; the others' handles.
    #[allow(clippy::type_complexity)]
    fn sets(&mut self) -> Result<(Vec<(String, Option<SetKind>, u64)>, SetHandles), ObserveError> {
        self.dump(
            "the sets",
            || Self::about_table(message::GET_SET),
            Default::default,
            |(named, anonymous): &mut (Vec<_>, SetHandles), m| {
                named.extend(parse_set(m));
                anonymous.extend(anonymous_set(m));
            },
        )
    }

    /// The same, read again only now and then if there are many.
    fn elements_at_times(
        &mut self,
        name: &str,
        handle: u64,
        kind: SetKind,
    ) -> Result<(BTreeSet<AddressRange>, bool), ObserveError> {
        if let Some(large) = self.large.get(name)
            && large.handle == handle
            && large.read.elapsed() < LARGE_SET_PAUSE
        {
            return Ok((large.elements.clone(), false));
        }
        self.large.remove(name);
        let (elements, others) = self.elements(name, kind)?;
        if elements.len() >= LARGE_SET && !others {
            let large = LargeSet { handle, read: Instant::now(), elements: elements.clone() };
            self.large.insert(name.to_owned(), large);
        }
        Ok((elements, others))
    }

    /// Ranges or blocks, and whether there is anything else.
    fn elements(
        &mut self,
        name: &str,
        kind: SetKind,
    ) -> Result<(BTreeSet<AddressRange>, bool), ObserveError> {
        let family = kind.family;
        let marks = self.dump(
            "the elements",
            || Self::elements_of(name),
            Vec::new,
            |marks, m| {
                if m.kind == message::NEW_ELEMENTS {
                    let list = m.attributes(4).nested(attr::LIST_ELEMENTS);
                    marks.extend(list.map(|(_, element)| parse_element(element, family)));
                }
            },
        )?;
        let others = marks.iter().any(Option::is_none);
        if let ElementKind::Near(level, mask) = kind.elements {
            let blocks = marks.into_iter().flatten().map(|mark| (address(mark.key, family), mark.value));
            let elements = near::read(blocks.collect(), family, level.length, mask);
            let strange = elements.is_none();
            return Ok((elements.unwrap_or_default(), others || strange));
        }
        if let ElementKind::Blocks(level) = kind.elements {
            let first = marks.into_iter().flatten().map(|mark| single(address(mark.key, family)));
            let runs = blocks::fold(first.collect(), family, level.length);
            let inside = runs.is_none();
            return Ok((runs.unwrap_or_default(), others || inside));
        }
        Ok((fold(marks.into_iter().flatten().collect(), family), others))
    }

    /// What others have entered into a set of this kind, as it can be entered again; empty if there is no such set.
    pub fn content(&mut self, name: &str, kind: SetKind) -> Result<Vec<AddressRange>, ObserveError> {
        match kind.elements {
            ElementKind::Ranges => Ok(self.elements(name, kind)?.0.into_iter().collect()),
            _ => {
                let found = self.known(name, SetKind { elements: ElementKind::Sources, ..kind })?;
                let alone = found.into_iter().filter(|known| known.destination.is_none());
                Ok(alone.map(|known| single(known.source)).collect())
            }
        }
    }

    fn has_elements(&mut self, name: &str) -> Result<bool, ObserveError> {
        self.dump(
            "the elements",
            || Self::elements_of(name),
            || false,
            |any, m| {
                *any |= m.kind == message::NEW_ELEMENTS
                    && m.attributes(4).nested(attr::LIST_ELEMENTS).next().is_some();
            },
        )
    }

    /// What packets have entered into a set of ours, soonest to expire first; empty if there is no such set.
    pub fn known(&mut self, name: &str, kind: SetKind) -> Result<Vec<Known>, ObserveError> {
        let mut found = self.dump(
            "the elements",
            || Self::elements_of(name),
            Vec::new,
            |found, m| {
                if m.kind == message::NEW_ELEMENTS {
                    let list = m.attributes(4).nested(attr::LIST_ELEMENTS);
                    found.extend(list.filter_map(|(_, element)| parse_known(element, kind)));
                }
            },
        )?;
        found.sort_unstable();
        Ok(found)
    }

    fn elements_of(name: &str) -> Writer {
        let mut writer = Self::about_table(message::GET_ELEMENTS);
        writer.put_str(attr::LIST_SET, name);
        writer
    }

    fn chains(&mut self) -> Result<BTreeMap<String, ObservedChain>, ObserveError> {
        self.dump(
            "the chains",
            || Self::about_table(message::GET_CHAIN),
            BTreeMap::new,
            |chains, m| {
                if let Some((name, base)) = parse_chain(m) {
                    chains.insert(name, ObservedChain { base, tags: Vec::new() });
                }
            },
        )
    }

    fn rules(
        &mut self,
        table: u64,
        sets: &SetHandles,
        chains: &mut BTreeMap<String, ObservedChain>,
    ) -> Result<(), ObserveError> {
        // Dumped chain by chain, each in order of evaluation.
        let rules = self.dump(
            "the rules",
            || Self::about_table(message::GET_RULE),
            Vec::new,
            |rules, m| {
                rules.extend(parse_rule(m, sets));
            },
        )?;
        let tagged = rules.iter().filter(|rule| !rule.tag.is_empty()).map(|rule| rule.digest);
        let own = match &self.own {
            // Of another table of this name: somebody made ours anew, as `nft -f` does with a saved ruleset.
            Some(own) if own.table != table => BTreeSet::new(),
            Some(own) => tagged.filter(|digest| own.rules.contains(digest)).collect(),
            None => tagged.collect(),
        };
        for RuleMessage { digest, chain, tag } in rules {
            let tag = if own.contains(&digest) { tag } else { String::new() };
            if let Some(chain) = chains.get_mut(&chain) {
                chain.tags.push(tag);
            }
        }
        self.own = Some(OwnRules { table, rules: own });
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

fn parse_set(m: &Message<'_>) -> Option<(String, Option<SetKind>, u64)> {
    let attributes = m.attributes(4);
    let flags = be32(attributes, attr::SET_FLAGS).unwrap_or(0);
    if !is_ours(m, message::NEW_SET) || flags & attr::SET_ANONYMOUS != 0 {
        return None;
    }
    let number = |kind| be32(attributes, kind).unwrap_or(0);
    // nft's numbers of the types ipv4_addr and ipv6_addr, and of two of them together.
    let key = match (number(attr::SET_KEY_TYPE), number(attr::SET_KEY_LEN)) {
        (7, 4) => Some((Family::V4, false)),
        (8, 16) => Some((Family::V6, false)),
        (0x1c7, 8) => Some((Family::V4, true)),
        (0x208, 32) => Some((Family::V6, true)),
        _ => None,
    };
    const DYNAMIC: u32 = attr::SET_TIMEOUT | attr::SET_EVAL;
    let size = be32(attributes.nested(attr::SET_DESC), attr::SET_DESC_SIZE);
    let elements = match (flags, key) {
        // With room for so many elements only it would refuse some of ours.
        (attr::SET_INTERVAL, Some((_, false))) => size.is_none().then_some(ElementKind::Ranges),
        (0, Some((family, false))) => {
            match (size, attributes.find(attr::SET_USERDATA).and_then(set_comment)) {
                (None, _) => Some(ElementKind::Learned(0)),
                (Some(size), Some(comment)) => block_length(&comment, family)
                    .map(|length| ElementKind::Blocks(BlockLevel { length, size })),
                _ => None,
            }
        }
        (attr::SET_MAP, Some((family, false))) => {
            let marks = (number(attr::SET_DATA_TYPE), number(attr::SET_DATA_LEN)) == (TYPE_MARK, 4);
            let comment = attributes.find(attr::SET_USERDATA).and_then(set_comment);
            let found = comment.filter(|_| marks).and_then(|comment| near_blocks(&comment, family));
            found.zip(size).map(|((length, mask), size)| ElementKind::Near(BlockLevel { length, size }, mask))
        }
        (attr::SET_TIMEOUT, Some((_, false))) => Some(ElementKind::Learned(
            attributes
                .find(attr::SET_DEFAULT_TIMEOUT)
                .and_then(u64_be)
                .map_or(0, |ms| u32::try_from(ms / 1000).unwrap_or(u32::MAX)),
        )),
        (DYNAMIC, Some((_, false))) => Some(ElementKind::Sources),
        (DYNAMIC, Some((_, true))) => Some(ElementKind::Pairs),
        _ => None,
    };
    let counter =
        attributes.nested(attr::SET_EXPRESSION).find(attr::EXPR_NAME).map(text).as_deref() == Some("counter");
    let kind = key.zip(elements).map(|((family, _), elements)| SetKind { family, elements, counter });
    let handle = attributes.find(attr::SET_HANDLE).and_then(u64_be).unwrap_or(0);
    Some((attributes.find(attr::SET_NAME).map(text)?, kind, handle))
}

/// Something packets have entered into a set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Known {
    /// Time until it leaves, ms.
    pub left_ms: u64,
    /// Source address.
    pub source: IpAddr,
    /// Destination address, where that is part of it.
    pub destination: Option<IpAddr>,
}

fn parse_known(element: &[u8], kind: SetKind) -> Option<Known> {
    let attributes = Attributes(element);
    let key = attributes.nested(attr::ELEM_KEY).find(attr::DATA_VALUE)?;
    let width = usize::from(kind.family.bits() / 8);
    let ip = |bytes| Some(address(number(bytes, kind.family)?, kind.family));
    Some(Known {
        left_ms: attributes.find(attr::ELEM_EXPIRATION).and_then(u64_be).unwrap_or(0),
        source: ip(key.get(..width)?)?,
        destination: key.get(width..).filter(|rest| !rest.is_empty()).and_then(ip),
    })
}

/// An anonymous set's name and handle.
pub(super) fn anonymous_set(m: &Message<'_>) -> Option<(String, u64)> {
    let attributes = m.attributes(4);
    let flags = be32(attributes, attr::SET_FLAGS).unwrap_or(0);
    if !is_ours(m, message::NEW_SET) || flags & attr::SET_ANONYMOUS == 0 {
        return None;
    }
    let handle = attributes.find(attr::SET_HANDLE).and_then(u64_be).unwrap_or(0);
    Some((attributes.find(attr::SET_NAME).map(text)?, handle))
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
    /// What a map has for it, if that is a mark; else 0.
    value: u32,
}

/// `None`: no end of a range, but the element `*` that matches what no other does.
fn parse_element(element: &[u8], family: Family) -> Option<Mark> {
    let attributes = Attributes(element);
    let flags = be32(attributes, attr::ELEM_FLAGS).unwrap_or(0);
    let key = |kind| number(attributes.nested(kind).find(attr::DATA_VALUE)?, family);
    if flags & attr::ELEM_CATCHALL != 0 {
        return None;
    }
    let value = attributes.nested(attr::ELEM_DATA).find(attr::DATA_VALUE);
    Some(Mark {
        key: key(attr::ELEM_KEY)?,
        start: flags & attr::ELEM_INTERVAL_END == 0,
        last: key(attr::ELEM_KEY_END),
        timed: attributes.find(attr::ELEM_TIMEOUT).is_some(),
        value: value.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes),
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

pub(super) fn parse_table(m: &Message<'_>) -> Option<TableMessage> {
    let attributes = m.attributes(4);
    is_ours(m, message::NEW_TABLE).then(|| TableMessage {
        handle: attributes.find(attr::TABLE_HANDLE).and_then(u64_be).unwrap_or(0),
        dormant: be32(attributes, attr::TABLE_FLAGS).unwrap_or(0) & attr::TABLE_DORMANT != 0,
    })
}

fn parse_chain(m: &Message<'_>) -> Option<(String, Base)> {
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
    // NF_ACCEPT
    let accepts = be32(attributes, attr::CHAIN_POLICY) == Some(1);
    let base = match (kind, point, be32(hook, attr::HOOK_PRIORITY)) {
        (Some(kind), Some(point), Some(priority)) => {
            let hook = Hook { kind, point, priority: priority as i32 };
            if accepts { Base::Accepting(hook) } else { Base::Dropping(hook) }
        }
        _ if attributes.find(attr::CHAIN_HOOK).is_some() => Base::Other,
        _ => Base::No,
    };
    Some((attributes.find(attr::CHAIN_NAME).map(text)?, base))
}

pub(super) fn parse_rule(m: &Message<'_>, sets: &SetHandles) -> Option<RuleMessage> {
    if !is_ours(m, message::NEW_RULE) {
        return None;
    }
    let attributes = m.attributes(4);
    let tag = attributes.find(attr::RULE_USERDATA).and_then(comment).unwrap_or_default();
    let expressions = attributes.find(attr::RULE_EXPRESSIONS).unwrap_or_default();
    let mut digest = fnv1a(fnv1a(FNV_START, tag.as_bytes()), expressions);
    for (_, expression) in Attributes(expressions) {
        let data = Attributes(expression).nested(attr::EXPR_DATA);
        let lookup = Attributes(expression).find(attr::EXPR_NAME).map(text).as_deref() == Some("lookup");
        let set = data.find(attr::LOOKUP_SET).filter(|_| lookup).map(text);
        if let Some(handle) = set.and_then(|name| sets.get(&name)) {
            digest = fnv1a(digest, &handle.to_ne_bytes());
        }
    }
    Some(RuleMessage { digest, chain: attributes.find(attr::RULE_CHAIN).map(text)?, tag })
}

/// FNV-1a, 64 bits: against accidents, and the same in the next version of this program.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// The length of the blocks of a set that says it is one of blocks.
fn block_length(comment: &str, family: Family) -> Option<u8> {
    (0..=family.bits()).find(|length| *comment == blocks_comment(*length))
}

/// The length of the blocks of a map that says it is one, and the mask of its marks.
fn near_blocks(comment: &str, family: Family) -> Option<(u8, u32)> {
    let (_, mask) = comment.rsplit_once("0x")?;
    let mask = u32::from_str_radix(mask, 16).ok().filter(|mask| mask.count_ones() >= 3)?;
    let length = (0..=family.bits()).find(|length| *comment == near_comment(*length, mask))?;
    Some((length, mask))
}

fn comment(data: &[u8]) -> Option<String> {
    user_data(data, attr::UDATA_COMMENT)
}

fn set_comment(data: &[u8]) -> Option<String> {
    user_data(data, attr::UDATA_SET_COMMENT)
}

/// A text in the user data of a rule or set: type, length, value.
fn user_data(mut data: &[u8], wanted: u8) -> Option<String> {
    while let [kind, length, rest @ ..] = data {
        let value = rest.get(..usize::from(*length))?;
        if *kind == wanted {
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
        Mark { key, start, last: None, timed: false, value: 0 }
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
                let _ = (parse_set(&m), parse_chain(&m), anonymous_set(&m), parse_counter(&m));
                let _ = (parse_table(&m).is_some(), parse_rule(&m, &SetHandles::new()).is_some());
            }
            let marks: Vec<_> = [Family::V4, Family::V6].iter().filter_map(|f| parse_element(&body, *f)).collect();
            let _ = (fold(marks, Family::V6), comment(&body));
        }
    }
}
