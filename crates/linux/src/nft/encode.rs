//! [`NftOp`]s as one batch of nf_tables messages.
//!
//! Expressions are those that nft 1.0.6 builds for the same text, so that `nft list ruleset` prints what
//! `mwan plan` promised.

use std::net::IpAddr;

use mwan_compile::nft::{
    ElementKind, HASH_SEED, Hook, HookKind, MarkKind, NftOp, Rule, Selector, SetKind, Statement, TABLE,
    Value, Verdict,
};
use mwan_config::{AddressRange, Family};

use super::{INET, SUBSYSTEM, attr, header, message};
use crate::netlink::{RequestError, Writer};

/// A statement that nf_tables cannot express.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum EncodeError {
    /// Longer than IFNAMSIZ - 1, or empty.
    #[error("`{0}` is no device name")]
    DeviceName(String),
    /// A value of another kind than its selector.
    #[error("{value:?} is no value of {selector:?}")]
    Kind {
        /// The selector.
        selector: Selector,
        /// The value.
        value: Value,
    },
    /// Another number of values than of selectors.
    #[error("a key of {found} values for {expected} selectors")]
    KeyLength {
        /// Values given.
        found: usize,
        /// Selectors.
        expected: usize,
    },
    /// NFT_DATA_VALUE_MAXLEN.
    #[error("the key is {0} bytes long, nf_tables has room for 64")]
    KeyTooLong(usize),
    /// A match without values or selectors.
    #[error("nothing to compare with")]
    Empty,
    /// NF_LOG_PREFIXLEN.
    #[error("the log prefix `{0}` is longer than 127 bytes")]
    LogPrefix(String),
    /// NFT_USERDATA_MAXLEN and the one-byte length of a comment.
    #[error("the comment is longer than 128 bytes")]
    Comment,
    /// More than netlink can express.
    #[error("larger than a netlink message can be")]
    TooLarge,
}

/// A batch, ready to send.
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    /// Which op each message belongs to; the first op message has the sequence number after the first.
    pub(super) owners: Vec<usize>,
}

/// Encodes `ops` behind a lock on `generation`. Sequence numbers count from `sequence` (the batch's begin).
pub(super) fn encode(ops: &[NftOp], sequence: u32, generation: u32) -> Result<Batch, (usize, EncodeError)> {
    let mut encoder =
        Encoder { writer: Writer::default(), sequence, owners: Vec::new(), op: 0, sets: 0, open: false };
    encoder.writer.begin(message::BATCH_BEGIN, libc::NLM_F_REQUEST, sequence, &header(0, SUBSYSTEM));
    encoder.writer.put_be32(attr::BATCH_GENID, generation);
    encoder.writer.end();
    for (index, op) in ops.iter().enumerate() {
        encoder.op = index;
        encoder.op(op).map_err(|e| (index, e))?;
        encoder.end();
    }
    let last = encoder.next_sequence();
    encoder.writer.begin(message::BATCH_END, libc::NLM_F_REQUEST, last, &header(0, SUBSYSTEM));
    let bytes = match encoder.writer.finish() {
        Ok(bytes) => bytes,
        Err(RequestError::TooLarge) => return Err((ops.len().saturating_sub(1), EncodeError::TooLarge)),
        Err(_) => unreachable!("Writer::finish has no other error"),
    };
    Ok(Batch { bytes, owners: encoder.owners })
}

/// Elements are split before an attribute reaches the 65,535 bytes that its length field can say; one element
/// is under 400 bytes.
const ELEMENTS_BYTES_MAX: usize = 60_000;

/// `NFT_REG_VERDICT`.
const VERDICT_REGISTER: u32 = 0;
/// `NFT_REG32_00`; the kernel reports it as register 1.
const FIRST_REGISTER: u32 = 8;
/// `NFT_DATA_VALUE_MAXLEN`.
const KEY_BYTES_MAX: usize = 64;
/// `IFNAMSIZ`.
const DEVICE_BYTES: usize = 16;
/// `NFT_CMP_EQ`, `NFT_CMP_NEQ`; `NFT_RANGE_EQ`, `NFT_RANGE_NEQ` are the same.
const EQUAL: u32 = 0;
const NOT_EQUAL: u32 = 1;
/// Byte orders in nft's set user data.
const HOST_ENDIAN: u32 = 1;
const BIG_ENDIAN: u32 = 2;
/// nft's number of the data type `mark` (nftables, include/datatype.h).
const TYPE_MARK: u32 = 19;
/// nft's number of the data type `integer`.
const TYPE_INTEGER: u32 = 4;

struct Encoder {
    writer: Writer,
    sequence: u32,
    owners: Vec<usize>,
    op: usize,
    sets: u32,
    open: bool,
}

/// One element of an anonymous set: closed range of keys, and where it leads in a map.
struct Element<'a> {
    first: Vec<u8>,
    last: Vec<u8>,
    verdict: Option<&'a Verdict>,
}

/// What an anonymous set is made of.
struct Shape {
    key_type: u32,
    key_len: usize,
    /// Field lengths of a concatenation, else empty.
    fields: Vec<usize>,
    byteorder: u32,
}

impl Encoder {
    fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn begin(&mut self, kind: u16, flags: i32) {
        self.end();
        let sequence = self.next_sequence();
        self.owners.push(self.op);
        self.writer.begin(kind, flags | libc::NLM_F_REQUEST, sequence, &header(INET, 0));
        self.open = true;
    }

    fn end(&mut self) {
        if self.open {
            self.writer.end();
            self.open = false;
        }
    }

    fn op(&mut self, op: &NftOp) -> Result<(), EncodeError> {
        match op {
            NftOp::AddTable => {
                self.begin_named(message::NEW_TABLE, libc::NLM_F_CREATE | libc::NLM_F_ECHO, None);
                // Without it nf_tables_updtable changes nothing.
                self.writer.put_be32(attr::TABLE_FLAGS, 0);
            }
            NftOp::DeleteTable => self.begin_named(message::DELETE_TABLE, 0, None),
            NftOp::AddSet { name, kind } => return self.add_set(name, *kind),
            NftOp::DeleteSet(name) => {
                self.begin_named(message::DELETE_SET, 0, Some((attr::SET_NAME, name)));
            }
            NftOp::AddElements { set, elements, .. } => {
                self.elements(
                    message::NEW_ELEMENTS,
                    libc::NLM_F_CREATE,
                    set,
                    None,
                    &interval_elements(elements),
                );
            }
            NftOp::DeleteElements { set, elements, .. } => {
                self.elements(message::DELETE_ELEMENTS, 0, set, None, &interval_elements(elements));
            }
            // Without a list: all of them, with `*` (nf_tables_delsetelem, nft_set_flush).
            NftOp::FlushSet(name) => {
                self.begin_named(message::DELETE_ELEMENTS, 0, Some((attr::LIST_SET, name)));
            }
            NftOp::AddCounter(name) => {
                self.begin_named(message::NEW_OBJECT, libc::NLM_F_CREATE, Some((attr::OBJECT_NAME, name)));
                self.writer.put_be32(attr::OBJECT_TYPE, attr::OBJECT_COUNTER);
                self.writer.nest(attr::OBJECT_DATA, |_| {});
            }
            NftOp::DeleteCounter(name) => {
                self.begin_named(message::DELETE_OBJECT, 0, Some((attr::OBJECT_NAME, name)));
                self.writer.put_be32(attr::OBJECT_TYPE, attr::OBJECT_COUNTER);
            }
            NftOp::AddChain { name, hook } => self.add_chain(name, *hook),
            NftOp::FlushChain(name) => {
                self.begin_named(message::DELETE_RULE, 0, Some((attr::RULE_CHAIN, name)));
            }
            NftOp::DeleteChain(name) => {
                self.begin_named(message::DELETE_CHAIN, 0, Some((attr::CHAIN_NAME, name)));
            }
            NftOp::AddRule { chain, rule } => return self.add_rule(chain, rule),
        }
        Ok(())
    }

    /// A message about our table (attribute 1 everywhere) and perhaps a named object in it.
    fn begin_named(&mut self, kind: u16, flags: i32, name: Option<(u16, &str)>) {
        self.begin(kind, flags);
        self.writer.put_str(attr::TABLE_NAME, TABLE);
        if let Some((attribute, name)) = name {
            self.writer.put_str(attribute, name);
        }
    }

    fn add_set(&mut self, name: &str, kind: SetKind) -> Result<(), EncodeError> {
        let id = self.set_id();
        let shape = shape(&kind.key())?;
        // No size: the kernel gives a set that rules update room for 65,535 (nft_dynset_init), and takes memory as it is
        // needed only if none was asked for (nft_rhash_init).
        let (flags, seconds) = match kind.elements {
            ElementKind::Ranges => (attr::SET_INTERVAL, 0),
            ElementKind::Learned(0) => (0, 0),
            ElementKind::Learned(seconds) => (attr::SET_TIMEOUT, seconds),
            ElementKind::Sources | ElementKind::Pairs => (attr::SET_TIMEOUT | attr::SET_EVAL, 0),
        };
        self.begin_named(message::NEW_SET, libc::NLM_F_CREATE, Some((attr::SET_NAME, name)));
        self.writer.put_be32(attr::SET_FLAGS, flags);
        self.writer.put_be32(attr::SET_KEY_TYPE, shape.key_type);
        self.writer.put_be32(attr::SET_KEY_LEN, shape.key_len as u32);
        self.writer.put_be32(attr::SET_ID, id);
        if seconds > 0 {
            self.writer.put(attr::SET_DEFAULT_TIMEOUT, &(u64::from(seconds) * 1000).to_be_bytes());
        }
        if kind.counter {
            self.writer.nest(attr::SET_EXPRESSION, |w| {
                w.put_str(attr::EXPR_NAME, "counter");
                w.nest(attr::EXPR_DATA, |_| {});
            });
        }
        self.writer.put(attr::SET_USERDATA, &byteorders(shape.byteorder, false));
        Ok(())
    }

    fn add_chain(&mut self, name: &str, hook: Option<Hook>) {
        self.begin_named(message::NEW_CHAIN, libc::NLM_F_CREATE, Some((attr::CHAIN_NAME, name)));
        let Some(hook) = hook else { return };
        self.writer.nest(attr::CHAIN_HOOK, |w| {
            w.put_be32(attr::HOOK_NUMBER, hook.point as u32);
            w.put_be32(attr::HOOK_PRIORITY, hook.priority as u32);
        });
        // NF_ACCEPT
        self.writer.put_be32(attr::CHAIN_POLICY, 1);
        let kind = match hook.kind {
            HookKind::Filter => "filter",
            HookKind::Route => "route",
            HookKind::Nat => "nat",
        };
        self.writer.put_str(attr::CHAIN_TYPE, kind);
    }

    fn add_rule(&mut self, chain: &str, rule: &Rule) -> Result<(), EncodeError> {
        if rule.tag.len() > 128 {
            return Err(EncodeError::Comment);
        }
        // Anonymous sets come before the rule that refers to them.
        let mut sets = Vec::new();
        for statement in &rule.statements {
            sets.push(self.anonymous_set(statement)?);
        }
        // ECHO: the kernel answers with the rule as it has it.
        let flags = libc::NLM_F_CREATE | libc::NLM_F_APPEND | libc::NLM_F_ECHO;
        self.begin_named(message::NEW_RULE, flags, None);
        self.writer.put_str(attr::RULE_CHAIN, chain);
        let list = self.writer.open(attr::RULE_EXPRESSIONS);
        for (statement, set) in rule.statements.iter().zip(sets) {
            let mut expressions = Expressions { writer: &mut self.writer };
            expressions.statement(statement, set)?;
        }
        self.writer.close(list);
        if !rule.tag.is_empty() {
            let mut data = vec![attr::UDATA_COMMENT, rule.tag.len() as u8 + 1];
            data.extend_from_slice(rule.tag.as_bytes());
            data.push(0);
            self.writer.put(attr::RULE_USERDATA, &data);
        }
        Ok(())
    }

    fn set_id(&mut self) -> u32 {
        self.sets += 1;
        self.sets
    }

    /// The anonymous set or map of a statement, if it has one; returns its id.
    fn anonymous_set(&mut self, statement: &Statement) -> Result<Option<u32>, EncodeError> {
        let (shape, elements) = match statement {
            Statement::MarkVmap { elements, .. } => {
                let shape = Shape { key_type: TYPE_MARK, key_len: 4, fields: vec![], byteorder: HOST_ENDIAN };
                let elements = elements.iter().map(|(value, verdict)| {
                    let key = value.to_ne_bytes().to_vec();
                    Element { first: key.clone(), last: key, verdict: Some(verdict) }
                });
                (shape, elements.collect::<Vec<_>>())
            }
            Statement::RandomVmap { elements, .. } | Statement::HashVmap { elements, .. } => {
                // numgen and hash write a host-endian number; interval sets compare byte by byte.
                let spans = has_spans(elements);
                let byteorder = if spans { BIG_ENDIAN } else { HOST_ENDIAN };
                let bytes = |n: u32| if spans { n.to_be_bytes() } else { n.to_ne_bytes() }.to_vec();
                let shape = Shape { key_type: TYPE_INTEGER, key_len: 4, fields: vec![], byteorder };
                let elements = elements.iter().map(|(first, last, verdict)| Element {
                    first: bytes(*first),
                    last: bytes(*last),
                    verdict: Some(verdict),
                });
                let elements: Vec<_> = elements.collect();
                return Ok(Some(self.write_set(&shape, true, spans, elements)));
            }
            Statement::Match { selector, values, .. } if values.len() > 1 => {
                let elements =
                    values.iter().map(|value| element(&[*selector], std::slice::from_ref(value), None));
                (shape(&[*selector])?, elements.collect::<Result<Vec<_>, _>>()?)
            }
            Statement::Vmap { key, elements } => {
                let elements = elements.iter().map(|(values, verdict)| element(key, values, Some(verdict)));
                (shape(key)?, elements.collect::<Result<Vec<_>, _>>()?)
            }
            _ => return Ok(None),
        };
        let map = !matches!(statement, Statement::Match { .. });
        let interval = elements.iter().any(|e| e.first != e.last);
        Ok(Some(self.write_set(&shape, map, interval, elements)))
    }

    fn write_set(&mut self, shape: &Shape, map: bool, interval: bool, elements: Vec<Element<'_>>) -> u32 {
        let id = self.set_id();
        // The kernel puts the lowest free number for %d.
        let name = if map { "__map%d" } else { "__set%d" };
        let concatenated = interval && !shape.fields.is_empty();
        let mut flags = attr::SET_ANONYMOUS | attr::SET_CONSTANT;
        flags |= if map { attr::SET_MAP } else { 0 };
        flags |= if interval { attr::SET_INTERVAL } else { 0 };
        // Only with intervals: a plain concatenation is a hash of bytes, which kernels before 5.6 know too.
        flags |= if concatenated { attr::SET_CONCAT } else { 0 };
        let create = libc::NLM_F_CREATE | libc::NLM_F_ECHO;
        self.begin_named(message::NEW_SET, create, Some((attr::SET_NAME, name)));
        self.writer.put_be32(attr::SET_FLAGS, flags);
        self.writer.put_be32(attr::SET_KEY_TYPE, shape.key_type);
        self.writer.put_be32(attr::SET_KEY_LEN, shape.key_len as u32);
        if map {
            // NFT_DATA_VERDICT
            self.writer.put_be32(attr::SET_DATA_TYPE, 0xffff_ff00);
            self.writer.put_be32(attr::SET_DATA_LEN, 0);
        }
        self.writer.put_be32(attr::SET_ID, id);
        let count = elements.len() as u32;
        self.writer.nest(attr::SET_DESC, |w| {
            // The size lets the kernel take its fixed-size hash. Interval sets do not profit, and what counts
            // as an element there differed between kernels.
            if !interval && count > 0 {
                w.put_be32(attr::SET_DESC_SIZE, count);
            }
            if concatenated {
                w.nest(attr::SET_DESC_CONCAT, |w| {
                    for field in &shape.fields {
                        w.nest(attr::LIST_ELEM, |w| w.put_be32(attr::SET_FIELD_LEN, *field as u32));
                    }
                });
            }
        });
        self.writer.put(attr::SET_USERDATA, &byteorders(shape.byteorder, map));
        self.end();
        let elements = if !interval {
            elements.into_iter().map(RawElement::single).collect()
        } else if concatenated {
            elements.into_iter().map(RawElement::with_key_end).collect()
        } else {
            RawElement::starts(elements)
        };
        self.elements(message::NEW_ELEMENTS, libc::NLM_F_CREATE, name, Some(id), &elements);
        id
    }

    /// Elements of a set in as many messages as they need.
    fn elements(&mut self, kind: u16, flags: i32, set: &str, id: Option<u32>, elements: &[RawElement<'_>]) {
        let mut rest = elements;
        while !rest.is_empty() {
            self.begin_named(kind, flags, Some((attr::LIST_SET, set)));
            if let Some(id) = id {
                self.writer.put_be32(attr::LIST_SET_ID, id);
            }
            let list = self.writer.open(attr::LIST_ELEMENTS);
            while let [next, behind @ ..] = rest {
                if self.writer.len() - list > ELEMENTS_BYTES_MAX {
                    break;
                }
                next.write(&mut self.writer);
                rest = behind;
            }
            self.writer.close(list);
            self.end();
        }
    }
}

/// An element as nf_tables wants it.
struct RawElement<'a> {
    key: Vec<u8>,
    key_end: Option<Vec<u8>>,
    interval_end: bool,
    verdict: Option<&'a Verdict>,
}

impl<'a> RawElement<'a> {
    fn single(element: Element<'a>) -> Self {
        RawElement { key: element.first, key_end: None, interval_end: false, verdict: element.verdict }
    }

    fn with_key_end(element: Element<'a>) -> Self {
        let key_end = Some(element.last);
        RawElement { key: element.first, key_end, interval_end: false, verdict: element.verdict }
    }

    /// [`Self::start_and_end`] for an anonymous set: no end where the next range begins, as in nft's
    /// `set_to_intervals`. There `nft_rbtree_lookup` of kernels up to 6.1 at least takes an end that equals the key for
    /// the answer "not in here" without looking for the start beside it: the first key of an adjacent range would
    /// never match.
    fn starts(elements: Vec<Element<'a>>) -> Vec<Self> {
        let all = Self::start_and_end(elements);
        let next = all.iter().skip(1).map(|e| Some(e.key.clone())).chain([None]).collect::<Vec<_>>();
        let kept =
            all.into_iter().zip(next).filter(|(e, next)| !e.interval_end || next.as_ref() != Some(&e.key));
        kept.map(|(element, _)| element).collect()
    }

    /// nft_set_rbtree: a start, and an end one behind the last key unless that is the highest there is.
    /// Ascending, the end of one range before the start of an adjacent one.
    fn start_and_end(mut elements: Vec<Element<'a>>) -> Vec<Self> {
        elements.sort_by(|a, b| a.first.cmp(&b.first));
        let mut all = Vec::with_capacity(elements.len() * 2);
        for mut element in elements {
            let end = increment(&mut element.last).then_some(element.last);
            all.push(RawElement {
                key: element.first,
                key_end: None,
                interval_end: false,
                verdict: element.verdict,
            });
            if let Some(key) = end {
                all.push(RawElement { key, key_end: None, interval_end: true, verdict: None });
            }
        }
        all
    }

    fn write(&self, writer: &mut Writer) {
        writer.nest(attr::LIST_ELEM, |w| {
            if self.interval_end {
                w.put_be32(attr::ELEM_FLAGS, attr::ELEM_INTERVAL_END);
            }
            w.nest(attr::ELEM_KEY, |w| w.put(attr::DATA_VALUE, &self.key));
            if let Some(end) = &self.key_end {
                w.nest(attr::ELEM_KEY_END, |w| w.put(attr::DATA_VALUE, end));
            }
            if let Some(verdict) = self.verdict {
                w.nest(attr::ELEM_DATA, |w| write_verdict(w, verdict));
            }
        });
    }
}

fn interval_elements(ranges: &[AddressRange]) -> Vec<RawElement<'static>> {
    let elements = ranges.iter().map(|range| Element {
        first: address_bytes(range.first),
        last: address_bytes(range.last),
        verdict: None,
    });
    RawElement::start_and_end(elements.collect())
}

/// Adds one to a big-endian number; false if it was the highest.
pub(super) fn increment(bytes: &mut [u8]) -> bool {
    for byte in bytes.iter_mut().rev() {
        *byte = byte.wrapping_add(1);
        if *byte != 0 {
            return true;
        }
    }
    false
}

/// Whether a random map needs an interval set: a hash of single numbers is found several times faster.
fn has_spans(elements: &[(u32, u32, Verdict)]) -> bool {
    elements.iter().any(|(first, last, _)| first != last)
}

fn address_bytes(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// nft's user data of a set: how to print keys and data.
fn byteorders(key: u32, map: bool) -> Vec<u8> {
    let mut data = vec![attr::UDATA_KEY_BYTEORDER, 4];
    data.extend_from_slice(&key.to_ne_bytes());
    if map {
        data.extend_from_slice(&[attr::UDATA_DATA_BYTEORDER, 4, 0, 0, 0, 0]);
    }
    data
}

/// The number nft gives a selector's data type.
fn data_type(selector: Selector) -> u32 {
    match selector {
        Selector::InputDevice | Selector::OutputDevice => 41,
        Selector::NetworkProtocol => 2,
        Selector::TransportProtocol => 12,
        Selector::Source(Family::V4) | Selector::Destination(Family::V4) => 7,
        Selector::Source(Family::V6) | Selector::Destination(Family::V6) => 8,
        Selector::SourcePort | Selector::DestinationPort => 13,
        Selector::Icmpv6Type => 29,
    }
}

/// Bytes of a selector's value.
fn width(selector: Selector) -> usize {
    match selector {
        Selector::InputDevice | Selector::OutputDevice => DEVICE_BYTES,
        Selector::NetworkProtocol | Selector::TransportProtocol | Selector::Icmpv6Type => 1,
        Selector::Source(family) | Selector::Destination(family) => usize::from(family.bits() / 8),
        Selector::SourcePort | Selector::DestinationPort => 2,
    }
}

/// Bytes a selector takes in a concatenation: whole 32-bit registers.
fn padded(selector: Selector) -> usize {
    width(selector).next_multiple_of(4)
}

fn shape(key: &[Selector]) -> Result<Shape, EncodeError> {
    match key {
        [] => Err(EncodeError::Empty),
        [one] => Ok(Shape {
            key_type: data_type(*one),
            key_len: width(*one),
            fields: Vec::new(),
            byteorder: match one {
                Selector::InputDevice | Selector::OutputDevice | Selector::NetworkProtocol => HOST_ENDIAN,
                _ => BIG_ENDIAN,
            },
        }),
        many => {
            let key_len = many.iter().map(|s| padded(*s)).sum();
            if key_len > KEY_BYTES_MAX {
                return Err(EncodeError::KeyTooLong(key_len));
            }
            Ok(Shape {
                // Six bits per data type, first selector highest (nftables, concat_subtype_add).
                key_type: many.iter().fold(0, |sum, s| sum << 6 | data_type(*s)),
                key_len,
                fields: many.iter().map(|s| width(*s)).collect(),
                byteorder: 0,
            })
        }
    }
}

fn element<'a>(
    key: &[Selector],
    values: &[Value],
    verdict: Option<&'a Verdict>,
) -> Result<Element<'a>, EncodeError> {
    if key.len() != values.len() {
        return Err(EncodeError::KeyLength { found: values.len(), expected: key.len() });
    }
    let mut element = Element { first: Vec::new(), last: Vec::new(), verdict };
    for (selector, value) in key.iter().zip(values) {
        push_value(*selector, value, &mut element.first, &mut element.last)?;
        if key.len() > 1 {
            let length = element.first.len().next_multiple_of(4);
            element.first.resize(length, 0);
            element.last.resize(length, 0);
        }
    }
    Ok(element)
}

fn push_value(
    selector: Selector,
    value: &Value,
    first: &mut Vec<u8>,
    last: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    match (selector, value) {
        (Selector::InputDevice | Selector::OutputDevice, Value::Device(name)) => {
            if name.is_empty() || name.len() >= DEVICE_BYTES {
                return Err(EncodeError::DeviceName(name.clone()));
            }
            let mut padded = [0; DEVICE_BYTES];
            padded[..name.len()].copy_from_slice(name.as_bytes());
            first.extend_from_slice(&padded);
            last.extend_from_slice(&padded);
        }
        (Selector::NetworkProtocol, Value::Family(family)) => {
            // NFPROTO_IPV4, NFPROTO_IPV6
            let number = if *family == Family::V4 { 2 } else { 10 };
            first.push(number);
            last.push(number);
        }
        (Selector::TransportProtocol | Selector::Icmpv6Type, Value::Byte(low, high)) => {
            first.push(*low);
            last.push(*high);
        }
        (Selector::Source(family) | Selector::Destination(family), Value::Address(range))
            if Family::of(range.first) == family && Family::of(range.last) == family =>
        {
            first.extend_from_slice(&address_bytes(range.first));
            last.extend_from_slice(&address_bytes(range.last));
        }
        (Selector::SourcePort | Selector::DestinationPort, Value::Port(range)) => {
            first.extend_from_slice(&range.first.to_be_bytes());
            last.extend_from_slice(&range.last.to_be_bytes());
        }
        _ => return Err(EncodeError::Kind { selector, value: value.clone() }),
    }
    Ok(())
}

fn write_verdict(writer: &mut Writer, verdict: &Verdict) {
    // NFT_JUMP, NFT_GOTO, NFT_RETURN and NF_ACCEPT.
    let (code, chain) = match verdict {
        Verdict::Accept => (1, None),
        Verdict::Jump(chain) => (-3, Some(chain)),
        Verdict::Goto(chain) => (-4, Some(chain)),
        Verdict::Return => (-5, None),
    };
    writer.nest(attr::DATA_VERDICT, |w| {
        w.put_be32(attr::VERDICT_CODE, code as u32);
        if let Some(chain) = chain {
            w.put_str(attr::VERDICT_CHAIN, chain);
        }
    });
}

/// If the range is a prefix: its mask.
fn prefix_mask(first: &[u8], last: &[u8]) -> Option<Vec<u8>> {
    let differing: Vec<u8> = first.iter().zip(last).map(|(a, b)| a ^ b).collect();
    let host_bits = |bytes: &[u8], byte: usize| bytes[byte] & differing[byte];
    let mut host = false;
    for (index, bits) in differing.iter().enumerate() {
        // All ones from the first differing bit to the end, zeros below it in `first`, ones in `last`.
        let whole =
            if host { *bits == 0xff } else { bits.wrapping_add(1).is_power_of_two() || *bits == 0xff };
        if !whole || host_bits(first, index) != 0 {
            return None;
        }
        host |= *bits != 0;
    }
    Some(differing.iter().map(|bits| !bits).collect())
}

/// Writes the expressions of statements.
struct Expressions<'a> {
    writer: &'a mut Writer,
}

impl Expressions<'_> {
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Writer)) {
        self.writer.nest(attr::LIST_ELEM, |w| {
            w.put_str(attr::EXPR_NAME, name);
            w.nest(attr::EXPR_DATA, data);
        });
    }

    fn statement(&mut self, statement: &Statement, set: Option<u32>) -> Result<(), EncodeError> {
        match statement {
            Statement::MarkMatch { mark, mask, equal, value } => {
                self.load_mark(*mark);
                self.mask_register(*mask);
                self.compare(*equal, &value.to_ne_bytes());
            }
            Statement::MarkVmap { mark, mask, .. } => {
                self.load_mark(*mark);
                self.mask_register(*mask);
                self.lookup_map(set);
            }
            Statement::Restore { mask } => {
                self.load_mark(MarkKind::Packet);
                self.compare(true, &[0; 4]);
                self.load_mark(MarkKind::Connection);
                self.mask_register(*mask);
                self.store_mark(MarkKind::Packet);
            }
            Statement::NotNew => {
                self.expression("ct", |w| {
                    w.put_be32(CT_DREG, FIRST_REGISTER);
                    w.put_be32(CT_KEY, CT_STATE);
                });
                // NF_CT_STATE_BIT(IP_CT_NEW)
                self.compare(false, &8u32.to_ne_bytes());
            }
            Statement::Match { selector, equal, values } => {
                self.match_values(*selector, *equal, values, set)?
            }
            Statement::InSet { selector, equal, set } => {
                self.load(*selector, FIRST_REGISTER);
                self.lookup(set, None, false, *equal);
            }
            Statement::Vmap { key, .. } => {
                self.load_key(key);
                self.lookup_map(set);
            }
            Statement::RandomVmap { modulus, elements } => {
                self.random(*modulus, has_spans(elements));
                self.lookup_map(set);
            }
            Statement::Known { key, set } => {
                self.load_key(key);
                self.lookup(set, None, false, true);
            }
            Statement::Remember { key, set, timeout } => {
                self.load_key(key);
                let ms = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
                self.expression("dynset", |w| {
                    w.put_str(DYNSET_SET, set);
                    w.put_be32(DYNSET_OP, DYNSET_UPDATE);
                    w.put_be32(DYNSET_SREG_KEY, FIRST_REGISTER);
                    w.put(DYNSET_TIMEOUT, &ms.to_be_bytes());
                });
            }
            Statement::HashVmap { key, modulus, elements } => {
                let length = self.load_key(key);
                self.expression("hash", |w| {
                    w.put_be32(HASH_SREG, FIRST_REGISTER);
                    w.put_be32(HASH_DREG, FIRST_REGISTER);
                    w.put_be32(HASH_LEN, length);
                    w.put_be32(HASH_MODULUS, *modulus);
                    w.put_be32(HASH_SEED_ATTRIBUTE, HASH_SEED);
                });
                if has_spans(elements) {
                    self.byteorder_big();
                }
                self.lookup_map(set);
            }
            Statement::SetMark { mark, mask, value } => self.set_mark(*mark, *mask, *value),
            Statement::Counter(name) => self.expression("objref", |w| {
                w.put_be32(OBJREF_TYPE, attr::OBJECT_COUNTER);
                w.put_str(OBJREF_NAME, name);
            }),
            Statement::Limit { per_minute, burst } => self.expression("limit", |w| {
                w.put(LIMIT_RATE, &u64::from(*per_minute).to_be_bytes());
                w.put(LIMIT_UNIT, &60u64.to_be_bytes());
                w.put_be32(LIMIT_BURST, *burst);
                w.put_be32(LIMIT_TYPE, LIMIT_PACKETS);
            }),
            Statement::Log { prefix, level } => {
                if prefix.len() > LOG_PREFIX_BYTES_MAX {
                    return Err(EncodeError::LogPrefix(prefix.clone()));
                }
                self.expression("log", |w| {
                    w.put_str(LOG_PREFIX, prefix);
                    w.put_be32(LOG_LEVEL, u32::from(*level));
                });
            }
            Statement::Masquerade => self.expression("masq", |_| {}),
            Statement::Verdict(verdict) => self.expression("immediate", |w| {
                w.put_be32(IMMEDIATE_DREG, VERDICT_REGISTER);
                w.nest(IMMEDIATE_DATA, |w| write_verdict(w, verdict));
            }),
        }
        Ok(())
    }

    fn match_values(
        &mut self,
        selector: Selector,
        equal: bool,
        values: &[Value],
        set: Option<u32>,
    ) -> Result<(), EncodeError> {
        self.load(selector, FIRST_REGISTER);
        if set.is_some() {
            self.lookup("__set%d", set, false, equal);
            return Ok(());
        }
        let value = values.first().ok_or(EncodeError::Empty)?;
        let Element { first, last, .. } = element(&[selector], std::slice::from_ref(value), None)?;
        let address = matches!(selector, Selector::Source(_) | Selector::Destination(_));
        if first == last {
            self.compare(equal, &first);
        } else if let Some(mask) = prefix_mask(&first, &last).filter(|_| address) {
            self.bitwise(&mask, &vec![0; mask.len()]);
            self.compare(equal, &first);
        } else {
            self.expression("range", |w| {
                w.put_be32(RANGE_SREG, FIRST_REGISTER);
                w.put_be32(RANGE_OP, if equal { EQUAL } else { NOT_EQUAL });
                w.nest(RANGE_FROM, |w| w.put(attr::DATA_VALUE, &first));
                w.nest(RANGE_TO, |w| w.put(attr::DATA_VALUE, &last));
            });
        }
        Ok(())
    }

    /// Loads a concatenation; returns its bytes.
    fn load_key(&mut self, key: &[Selector]) -> u32 {
        let mut register = FIRST_REGISTER;
        for selector in key {
            self.load(*selector, register);
            register += padded(*selector) as u32 / 4;
        }
        (register - FIRST_REGISTER) * 4
    }

    fn load(&mut self, selector: Selector, register: u32) {
        let (base, offset) = match selector {
            Selector::InputDevice => return self.load_meta(META_IIFNAME, register),
            Selector::OutputDevice => return self.load_meta(META_OIFNAME, register),
            Selector::NetworkProtocol => return self.load_meta(META_NFPROTO, register),
            Selector::TransportProtocol => return self.load_meta(META_L4PROTO, register),
            Selector::Source(Family::V4) => (PAYLOAD_NETWORK, 12),
            Selector::Source(Family::V6) => (PAYLOAD_NETWORK, 8),
            Selector::Destination(Family::V4) => (PAYLOAD_NETWORK, 16),
            Selector::Destination(Family::V6) => (PAYLOAD_NETWORK, 24),
            Selector::SourcePort | Selector::Icmpv6Type => (PAYLOAD_TRANSPORT, 0),
            Selector::DestinationPort => (PAYLOAD_TRANSPORT, 2),
        };
        self.expression("payload", |w| {
            w.put_be32(PAYLOAD_DREG, register);
            w.put_be32(PAYLOAD_BASE, base);
            w.put_be32(PAYLOAD_OFFSET, offset);
            w.put_be32(PAYLOAD_LEN, width(selector) as u32);
        });
    }

    fn load_meta(&mut self, key: u32, register: u32) {
        self.expression("meta", |w| {
            w.put_be32(META_KEY, key);
            w.put_be32(META_DREG, register);
        });
    }

    fn load_mark(&mut self, mark: MarkKind) {
        match mark {
            MarkKind::Packet => self.load_meta(META_MARK, FIRST_REGISTER),
            MarkKind::Connection => self.expression("ct", |w| {
                w.put_be32(CT_DREG, FIRST_REGISTER);
                w.put_be32(CT_KEY, CT_MARK);
            }),
        }
    }

    fn mask_register(&mut self, mask: u32) {
        if mask != u32::MAX {
            self.bitwise(&mask.to_ne_bytes(), &[0; 4]);
        }
    }

    /// `(register & mask) ^ xor`.
    fn bitwise(&mut self, mask: &[u8], xor: &[u8]) {
        self.expression("bitwise", |w| {
            w.put_be32(BITWISE_SREG, FIRST_REGISTER);
            w.put_be32(BITWISE_DREG, FIRST_REGISTER);
            w.put_be32(BITWISE_LEN, mask.len() as u32);
            w.nest(BITWISE_MASK, |w| w.put(attr::DATA_VALUE, mask));
            w.nest(BITWISE_XOR, |w| w.put(attr::DATA_VALUE, xor));
        });
    }

    fn compare(&mut self, equal: bool, value: &[u8]) {
        self.expression("cmp", |w| {
            w.put_be32(CMP_SREG, FIRST_REGISTER);
            w.put_be32(CMP_OP, if equal { EQUAL } else { NOT_EQUAL });
            w.nest(CMP_DATA, |w| w.put(attr::DATA_VALUE, value));
        });
    }

    fn lookup_map(&mut self, set: Option<u32>) {
        self.lookup("__map%d", set, true, true);
    }

    fn lookup(&mut self, name: &str, id: Option<u32>, map: bool, equal: bool) {
        self.expression("lookup", |w| {
            w.put_be32(LOOKUP_SREG, FIRST_REGISTER);
            if map {
                w.put_be32(LOOKUP_DREG, VERDICT_REGISTER);
            }
            w.put_str(attr::LOOKUP_SET, name);
            if let Some(id) = id {
                w.put_be32(LOOKUP_SET_ID, id);
            }
            if !equal {
                // NFT_LOOKUP_F_INV
                w.put_be32(LOOKUP_FLAGS, 1);
            }
        });
    }

    fn random(&mut self, modulus: u32, big_endian: bool) {
        self.expression("numgen", |w| {
            w.put_be32(NUMGEN_DREG, FIRST_REGISTER);
            w.put_be32(NUMGEN_MODULUS, modulus);
            w.put_be32(NUMGEN_TYPE, NUMGEN_RANDOM);
            w.put_be32(NUMGEN_OFFSET, 0);
        });
        if big_endian {
            self.byteorder_big();
        }
    }

    fn byteorder_big(&mut self) {
        self.expression("byteorder", |w| {
            w.put_be32(BYTEORDER_SREG, FIRST_REGISTER);
            w.put_be32(BYTEORDER_DREG, FIRST_REGISTER);
            w.put_be32(BYTEORDER_OP, BYTEORDER_HTON);
            w.put_be32(BYTEORDER_LEN, 4);
            w.put_be32(BYTEORDER_SIZE, 4);
        });
    }

    /// The kernel's bitwise is `(x & mask) ^ xor`; with our value inside our bits that is `& ~mask | value`.
    fn set_mark(&mut self, mark: MarkKind, mask: u32, value: u32) {
        self.load_mark(mark);
        self.bitwise(&(!mask).to_ne_bytes(), &(value & mask).to_ne_bytes());
        self.store_mark(mark);
    }

    fn store_mark(&mut self, mark: MarkKind) {
        match mark {
            MarkKind::Packet => self.expression("meta", |w| {
                w.put_be32(META_KEY, META_MARK);
                w.put_be32(META_SREG, FIRST_REGISTER);
            }),
            MarkKind::Connection => self.expression("ct", |w| {
                w.put_be32(CT_KEY, CT_MARK);
                w.put_be32(CT_SREG, FIRST_REGISTER);
            }),
        }
    }
}

// Attributes and values of expressions, linux/netfilter/nf_tables.h.
const META_DREG: u16 = 1;
const META_KEY: u16 = 2;
const META_SREG: u16 = 3;
const META_MARK: u32 = 3;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const CT_DREG: u16 = 1;
const CT_KEY: u16 = 2;
const CT_SREG: u16 = 4;
const CT_STATE: u32 = 0;
const CT_MARK: u32 = 3;
const CMP_SREG: u16 = 1;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;
const RANGE_SREG: u16 = 1;
const RANGE_OP: u16 = 2;
const RANGE_FROM: u16 = 3;
const RANGE_TO: u16 = 4;
const BITWISE_SREG: u16 = 1;
const BITWISE_DREG: u16 = 2;
const BITWISE_LEN: u16 = 3;
const BITWISE_MASK: u16 = 4;
const BITWISE_XOR: u16 = 5;
const LOOKUP_SREG: u16 = 2;
const LOOKUP_DREG: u16 = 3;
const LOOKUP_SET_ID: u16 = 4;
const LOOKUP_FLAGS: u16 = 5;
const IMMEDIATE_DREG: u16 = 1;
const IMMEDIATE_DATA: u16 = 2;
const PAYLOAD_DREG: u16 = 1;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
const PAYLOAD_NETWORK: u32 = 1;
const PAYLOAD_TRANSPORT: u32 = 2;
const BYTEORDER_SREG: u16 = 1;
const BYTEORDER_DREG: u16 = 2;
const BYTEORDER_OP: u16 = 3;
const BYTEORDER_LEN: u16 = 4;
const BYTEORDER_SIZE: u16 = 5;
const BYTEORDER_HTON: u32 = 1;
const NUMGEN_DREG: u16 = 1;
const NUMGEN_MODULUS: u16 = 2;
const NUMGEN_TYPE: u16 = 3;
const NUMGEN_OFFSET: u16 = 4;
const NUMGEN_RANDOM: u32 = 1;
const HASH_SREG: u16 = 1;
const HASH_DREG: u16 = 2;
const HASH_LEN: u16 = 3;
const HASH_MODULUS: u16 = 4;
const HASH_SEED_ATTRIBUTE: u16 = 5;
const DYNSET_SET: u16 = 1;
const DYNSET_OP: u16 = 3;
const DYNSET_SREG_KEY: u16 = 4;
const DYNSET_TIMEOUT: u16 = 6;
/// `NFT_DYNSET_OP_UPDATE`
const DYNSET_UPDATE: u32 = 1;
const LIMIT_RATE: u16 = 1;
/// Seconds that the rate is about.
const LIMIT_UNIT: u16 = 2;
const LIMIT_BURST: u16 = 3;
const LIMIT_TYPE: u16 = 4;
/// `NFT_LIMIT_PKTS`
const LIMIT_PACKETS: u32 = 0;
const LOG_PREFIX: u16 = 2;
const LOG_LEVEL: u16 = 5;
/// `NF_LOG_PREFIXLEN` without the final NUL.
const LOG_PREFIX_BYTES_MAX: usize = 127;
const OBJREF_TYPE: u16 = 1;
const OBJREF_NAME: u16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(first: &str, last: &str) -> Option<Vec<u8>> {
        let bytes = |text: &str| address_bytes(text.parse().expect("address"));
        prefix_mask(&bytes(first), &bytes(last))
    }

    #[test]
    fn prefixes_are_recognised() {
        assert_eq!(mask("10.0.0.0", "10.255.255.255"), Some(vec![255, 0, 0, 0]));
        assert_eq!(mask("10.16.0.0", "10.31.255.255"), Some(vec![255, 240, 0, 0]));
        assert_eq!(mask("0.0.0.0", "255.255.255.255"), Some(vec![0; 4]));
        assert_eq!(mask("10.0.0.0", "10.0.0.1"), Some(vec![255, 255, 255, 254]));
        assert_eq!(mask("10.0.0.1", "10.0.0.2"), None);
        assert_eq!(mask("10.0.0.0", "10.0.0.2"), None);
        assert_eq!(mask("10.0.1.0", "10.1.255.255"), None);
        assert_eq!(mask("10.0.0.0", "10.255.255.254"), None);
        assert_eq!(mask("10.0.0.0", "10.255.0.255"), None);
    }

    #[test]
    fn the_highest_key_has_no_successor() {
        let mut bytes = [0, 255];
        assert!(increment(&mut bytes));
        assert_eq!(bytes, [1, 0]);
        assert!(!increment(&mut [255, 255]));
    }

    #[test]
    fn an_anonymous_set_has_no_end_where_the_next_range_begins() {
        let ranges = || {
            [(0u8, 2u8), (3, 4), (7, 255)].map(|(a, b)| Element {
                first: vec![a],
                last: vec![b],
                verdict: None,
            })
        };
        let keys = |all: Vec<RawElement<'_>>| -> Vec<(u8, bool)> {
            all.iter().map(|e| (e.key[0], e.interval_end)).collect()
        };
        let anonymous = keys(RawElement::starts(ranges().into()));
        assert_eq!(anonymous, [(0, false), (3, false), (5, true), (7, false)]);
        let named = keys(RawElement::start_and_end(ranges().into()));
        assert_eq!(named, [(0, false), (3, true), (3, false), (5, true), (7, false)]);
    }

    #[test]
    fn what_cannot_be_expressed_is_refused() {
        let rule = |statement| {
            let rule = Rule { statements: vec![statement], tag: String::new() };
            encode(&[NftOp::AddTable, NftOp::AddRule { chain: "c".into(), rule }], 1, 1).err()
        };
        let vmap = |key: Vec<Selector>| Statement::Vmap { key, elements: vec![] };
        let v6 = Selector::Source(Family::V6);
        assert_eq!(rule(vmap(vec![])), Some((1, EncodeError::Empty)));
        assert_eq!(rule(vmap(vec![v6; 5])), Some((1, EncodeError::KeyTooLong(80))));
        let device = |name: &str| Statement::Match {
            selector: Selector::InputDevice,
            equal: true,
            values: vec![Value::Device(name.into())],
        };
        assert!(matches!(rule(device("0123456789abcdef")), Some((1, EncodeError::DeviceName(_)))));
        assert!(matches!(rule(device("")), Some((1, EncodeError::DeviceName(_)))));
        let wrong =
            Statement::Match { selector: Selector::SourcePort, equal: true, values: vec![Value::Byte(1, 1)] };
        assert!(matches!(rule(wrong), Some((1, EncodeError::Kind { .. }))));
        let log = |bytes| Statement::Log { prefix: "x".repeat(bytes), level: 5 };
        assert_eq!(rule(log(127)), None);
        assert!(matches!(rule(log(128)), Some((1, EncodeError::LogPrefix(_)))));
    }
}
