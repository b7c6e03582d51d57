//! Statements as expressions of nf_tables: registers are loaded, compared, looked up and written.

use mwan_compile::blocks::mask;
use mwan_compile::nft::{HASH_SEED, MarkKind, Selector, Statement, Value};
use mwan_config::Family;

use super::super::attr;
use super::elements::{
    Element, address_bytes, element, has_spans, padded, prefix_mask, width, write_verdict,
};
use super::{EQUAL, EncodeError, FIRST_REGISTER, NOT_EQUAL, VERDICT_REGISTER};
use crate::netlink::Writer;

/// Writes the expressions of statements.
pub(super) struct Expressions<'a> {
    pub(super) writer: &'a mut Writer,
}

impl Expressions<'_> {
    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Writer)) {
        self.writer.nest(attr::LIST_ELEM, |w| {
            w.put_str(attr::EXPR_NAME, name);
            w.nest(attr::EXPR_DATA, data);
        });
    }

    pub(super) fn statement(&mut self, statement: &Statement, set: Option<u32>) -> Result<(), EncodeError> {
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
            // NF_CT_STATE_BIT(IP_CT_NEW)
            Statement::NotNew => self.connection_state(false, 1 << 3),
            // NF_CT_STATE_INVALID_BIT
            Statement::Invalid => self.connection_state(true, 1),
            Statement::Match { selector, equal, values } => {
                self.match_values(*selector, *equal, values, set)?
            }
            Statement::InSet { selector, bits, equal, set } => {
                self.load_cut(*selector, *bits);
                self.lookup(set, None, None, *equal);
            }
            Statement::Near { selector, bits, map } => {
                self.load_mark(MarkKind::Packet);
                self.compare(true, &[0; 4]);
                self.load_cut(*selector, *bits);
                self.lookup(map, None, Some(FIRST_REGISTER), true);
                self.store_mark(MarkKind::Packet);
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
                self.lookup(set, None, None, true);
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
            self.lookup("__set%d", set, None, equal);
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

    /// So many bits of an address, the others as 0.
    fn load_cut(&mut self, selector: Selector, bits: u8) {
        self.load(selector, FIRST_REGISTER);
        if let Some(family) = selector.family().filter(|family| bits < family.bits()) {
            let mask = address_bytes(mask(bits, family));
            self.bitwise(&mask, &vec![0; mask.len()]);
        }
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

    /// `ct state` as a whole, a bit of `NF_CT_STATE_*`.
    fn connection_state(&mut self, equal: bool, bit: u32) {
        self.expression("ct", |w| {
            w.put_be32(CT_DREG, FIRST_REGISTER);
            w.put_be32(CT_KEY, CT_STATE);
        });
        self.compare(equal, &bit.to_ne_bytes());
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
        self.lookup("__map%d", set, Some(VERDICT_REGISTER), true);
    }

    /// `to`: the register for what a map has.
    fn lookup(&mut self, name: &str, id: Option<u32>, to: Option<u32>, equal: bool) {
        self.expression("lookup", |w| {
            w.put_be32(LOOKUP_SREG, FIRST_REGISTER);
            if let Some(register) = to {
                w.put_be32(LOOKUP_DREG, register);
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
