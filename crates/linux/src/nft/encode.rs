//! [`NftOp`]s as one batch of nf_tables messages.
//!
//! Expressions are those that nft 1.0.6 builds for the same text, so that `nft list ruleset` prints what
//! `mwan plan` promised.

mod elements;
mod expressions;

use mwan_compile::blocks::addresses;
use mwan_compile::near;
use mwan_compile::nft::{
    ElementKind, Hook, HookKind, NftOp, Rule, Selector, SetKind, Statement, TABLE, Value,
};
use mwan_compile::text::{blocks_comment, near_comment};
use mwan_config::AddressRange;

use super::{INET, SUBSYSTEM, attr, header, message};
use crate::netlink::{RequestError, Writer};
use elements::{Border, Element, Mould, RawElement, Shape, borders, byteorders, element, has_spans, shape};
use expressions::Expressions;

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
pub(super) const TYPE_MARK: u32 = 19;
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
            NftOp::AddElements { set, kind, elements } => {
                self.addresses(message::NEW_ELEMENTS, libc::NLM_F_CREATE, set, *kind, elements);
            }
            NftOp::DeleteElements { set, kind, elements } => {
                self.addresses(message::DELETE_ELEMENTS, 0, set, *kind, elements);
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
        // No size, except for blocks: the kernel gives a set that rules update room for 65,535 (nft_dynset_init), and takes
        // memory as it is needed only if none was asked for (nft_rhash_init). One that is told makes a table that never has to
        // grow (nft_hash_init), into which an element goes in less than half the time.
        let (flags, seconds) = match kind.elements {
            ElementKind::Ranges => (attr::SET_INTERVAL, 0),
            ElementKind::Blocks(_) | ElementKind::Learned(0) => (0, 0),
            ElementKind::Near(..) => (attr::SET_MAP, 0),
            ElementKind::Learned(seconds) => (attr::SET_TIMEOUT, seconds),
            ElementKind::Sources | ElementKind::Pairs => (attr::SET_TIMEOUT | attr::SET_EVAL, 0),
        };
        self.begin_named(message::NEW_SET, libc::NLM_F_CREATE, Some((attr::SET_NAME, name)));
        self.writer.put_be32(attr::SET_FLAGS, flags);
        self.writer.put_be32(attr::SET_KEY_TYPE, shape.key_type);
        self.writer.put_be32(attr::SET_KEY_LEN, shape.key_len as u32);
        if let ElementKind::Near(..) = kind.elements {
            self.writer.put_be32(attr::SET_DATA_TYPE, TYPE_MARK);
            self.writer.put_be32(attr::SET_DATA_LEN, 4);
        }
        if let ElementKind::Blocks(level) | ElementKind::Near(level, _) = kind.elements {
            self.writer.nest(attr::SET_DESC, |w| w.put_be32(attr::SET_DESC_SIZE, level.size));
        }
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
        let (mapped, comment) = match kind.elements {
            ElementKind::Blocks(level) => (None, Some(blocks_comment(level.length))),
            ElementKind::Near(level, mask) => (Some(HOST_ENDIAN), Some(near_comment(level.length, mask))),
            _ => (None, None),
        };
        let mut data = byteorders(shape.byteorder, mapped);
        if let Some(comment) = comment {
            data.extend([attr::UDATA_SET_COMMENT, comment.len() as u8 + 1]);
            data.extend(comment.bytes().chain([0]));
        }
        self.writer.put(attr::SET_USERDATA, &data);
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
        self.writer.put(attr::SET_USERDATA, &byteorders(shape.byteorder, map.then_some(0)));
        self.end();
        let elements = if !interval {
            elements.into_iter().map(RawElement::single).collect()
        } else if concatenated {
            elements.into_iter().map(RawElement::with_key_end).collect()
        } else {
            RawElement::starts(elements)
        };
        let write = |element: &RawElement<'_>, w: &mut Writer| element.write(w);
        self.elements(message::NEW_ELEMENTS, libc::NLM_F_CREATE, name, Some(id), elements.into_iter(), write);
        id
    }

    /// Elements of a named set: both ends of each range, the first address of each block (with its mark), or single addresses.
    fn addresses(&mut self, message: u16, flags: i32, set: &str, kind: SetKind, list: &[AddressRange]) {
        let keys: Box<dyn Iterator<Item = Border>> = match kind.elements {
            ElementKind::Blocks(level) => {
                Box::new(list.iter().flat_map(move |run| addresses(*run, level.length)).map(Border::start))
            }
            ElementKind::Near(level, mask) => Box::new(list.iter().flat_map(move |element| {
                let (blocks, mark) = near::blocks_of(*element, level.length, mask);
                blocks.map(move |first| Border::mapped(first, mark))
            })),
            ElementKind::Ranges => Box::new(borders(list)),
            _ => Box::new(list.iter().map(|address| Border::start(address.first))),
        };
        let mut mould = Mould::default();
        self.elements(message, flags, set, None, keys, |border, w| mould.write(*border, w));
    }

    /// Elements of a set in as many messages as they need.
    fn elements<T>(
        &mut self,
        kind: u16,
        flags: i32,
        set: &str,
        id: Option<u32>,
        elements: impl Iterator<Item = T>,
        mut write: impl FnMut(&T, &mut Writer),
    ) {
        let mut rest = elements.peekable();
        while rest.peek().is_some() {
            self.begin_named(kind, flags, Some((attr::LIST_SET, set)));
            if let Some(id) = id {
                self.writer.put_be32(attr::LIST_SET_ID, id);
            }
            let list = self.writer.open(attr::LIST_ELEMENTS);
            while self.writer.len() - list <= ELEMENTS_BYTES_MAX
                && let Some(next) = rest.next()
            {
                write(&next, &mut self.writer);
            }
            self.writer.close(list);
            self.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use mwan_config::Family;

    use super::*;

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
