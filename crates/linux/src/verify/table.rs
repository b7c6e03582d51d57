//! The table of the moment: it has the packet traced, looks at its mark behind our program, and drops it at the last hook.
//!
//! ```text
//! begin        prerouting -500   iif OURS | token → nftrace
//! own          output     -500   the same
//! marked       prerouting -148, output -148   token → (nothing: its trace tells the mark)
//! last, here   postrouting, input 1000   token → drop, before conntrack confirms
//! ```

use super::datagram::Token;
use crate::netlink::Writer;
use crate::nft::{INET, SUBSYSTEM, attr, header, message};

/// Its name.
pub(super) const TABLE: &str = "mwan-verify";
pub(super) const MARKED_IN: &str = "marked-in";
pub(super) const MARKED_OUT: &str = "marked-out";
pub(super) const LAST: &str = "last";
pub(super) const HERE: &str = "here";

/// `NFT_TABLE_F_OWNER`: it goes with the socket that made it, whatever becomes of us. Linux 5.12.
const TABLE_OWNER: u32 = 2;
/// nft's hooks of family inet (linux/netfilter.h).
const PREROUTING: u32 = 0;
const LOCAL_IN: u32 = 1;
const LOCAL_OUT: u32 = 3;
const POSTROUTING: u32 = 4;
/// Before conntrack (-200) and every program's rules.
const EARLY: i32 = -500;
/// Right behind ours (-149).
const BEHIND_OURS: i32 = -148;
/// Behind the translation of sources (100) and before conntrack's confirmation.
const LATE: i32 = 1000;

const REGISTER: u32 = 8;
const VERDICT_REGISTER: u32 = 0;
const DREG: u16 = 1;
const META_KEY: u16 = 2;
const META_SREG: u16 = 3;
const META_NFTRACE: u32 = 12;
const META_L4PROTO: u32 = 16;
const PAYLOAD_BASE: u16 = 2;
const PAYLOAD_OFFSET: u16 = 3;
const PAYLOAD_LEN: u16 = 4;
const PAYLOAD_TRANSPORT: u32 = 2;
const CMP_OP: u16 = 2;
const CMP_DATA: u16 = 3;
const CMP_EQUAL: u32 = 0;
const IMMEDIATE_DATA: u16 = 2;
const NF_DROP: u32 = 0;

/// The transaction that makes it.
pub(super) fn make(sequence: u32, protocol: u8, token: &Token, owned: bool) -> Batch {
    let mut batch = Batch::begin(sequence);
    batch.message(message::NEW_TABLE, libc::NLM_F_CREATE, |w| {
        w.put_str(attr::TABLE_NAME, TABLE);
        if owned {
            w.put_be32(attr::TABLE_FLAGS, TABLE_OWNER);
        }
    });
    for (name, hook, priority, end) in [
        ("begin", PREROUTING, EARLY, End::Trace),
        ("own", LOCAL_OUT, EARLY, End::Trace),
        (MARKED_IN, PREROUTING, BEHIND_OURS, End::GoOn),
        (MARKED_OUT, LOCAL_OUT, BEHIND_OURS, End::GoOn),
        (LAST, POSTROUTING, LATE, End::Drop),
        (HERE, LOCAL_IN, LATE, End::Drop),
    ] {
        batch.message(message::NEW_CHAIN, libc::NLM_F_CREATE, |w| {
            w.put_str(attr::TABLE_NAME, TABLE);
            w.put_str(attr::CHAIN_NAME, name);
            w.put_str(attr::CHAIN_TYPE, "filter");
            w.nest(attr::CHAIN_HOOK, |w| {
                w.put_be32(attr::HOOK_NUMBER, hook);
                w.put_be32(attr::HOOK_PRIORITY, priority as u32);
            });
        });
        batch.message(message::NEW_RULE, libc::NLM_F_CREATE | libc::NLM_F_APPEND, |w| {
            w.put_str(attr::TABLE_NAME, TABLE);
            w.put_str(attr::RULE_CHAIN, name);
            w.nest(attr::RULE_EXPRESSIONS, |w| {
                is_ours(w, protocol, token);
                end.write(w);
            });
        });
    }
    batch
}

/// The transaction that removes it.
pub(super) fn remove(sequence: u32) -> Batch {
    let mut batch = Batch::begin(sequence);
    batch.message(message::DELETE_TABLE, 0, |w| w.put_str(attr::TABLE_NAME, TABLE));
    batch
}

/// The transaction that takes an element out of a set of `inet mwan`.
pub(super) fn forget(sequence: u32, set: &str, key: &[std::net::IpAddr]) -> Batch {
    let mut batch = Batch::begin(sequence);
    batch.message(message::DELETE_ELEMENTS, 0, |w| {
        w.put_str(attr::TABLE_NAME, mwan_compile::nft::TABLE);
        w.put_str(attr::LIST_SET, set);
        w.nest(attr::LIST_ELEMENTS, |w| w.nest(attr::LIST_ELEM, |w| crate::nft::write_key(w, key)));
    });
    batch
}

/// What a rule does with the packet.
#[derive(Clone, Copy)]
enum End {
    Trace,
    GoOn,
    Drop,
}

impl End {
    fn write(self, w: &mut Writer) {
        match self {
            End::Trace => {
                expression(w, "immediate", |w| {
                    w.put_be32(DREG, REGISTER);
                    w.nest(IMMEDIATE_DATA, |w| w.put(attr::DATA_VALUE, &[1]));
                });
                expression(w, "meta", |w| {
                    w.put_be32(META_KEY, META_NFTRACE);
                    w.put_be32(META_SREG, REGISTER);
                });
            }
            End::GoOn => {}
            End::Drop => expression(w, "immediate", |w| {
                w.put_be32(DREG, VERDICT_REGISTER);
                w.nest(IMMEDIATE_DATA, |w| {
                    w.nest(attr::DATA_VERDICT, |w| w.put_be32(attr::VERDICT_CODE, NF_DROP));
                });
            }),
        }
    }
}

/// Only the packet of the moment has the token at its place.
fn is_ours(w: &mut Writer, protocol: u8, token: &Token) {
    let equal = |w: &mut Writer, value: &[u8]| {
        expression(w, "cmp", |w| {
            w.put_be32(DREG, REGISTER);
            w.put_be32(CMP_OP, CMP_EQUAL);
            w.nest(CMP_DATA, |w| w.put(attr::DATA_VALUE, value));
        });
    };
    expression(w, "meta", |w| {
        w.put_be32(META_KEY, META_L4PROTO);
        w.put_be32(DREG, REGISTER);
    });
    equal(w, &[protocol]);
    expression(w, "payload", |w| {
        w.put_be32(DREG, REGISTER);
        w.put_be32(PAYLOAD_BASE, PAYLOAD_TRANSPORT);
        w.put_be32(PAYLOAD_OFFSET, token.offset);
        w.put_be32(PAYLOAD_LEN, token.bytes.len() as u32);
    });
    equal(w, &token.bytes);
}

fn expression(w: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    w.nest(attr::LIST_ELEM, |w| {
        w.put_str(attr::EXPR_NAME, name);
        w.nest(attr::EXPR_DATA, data);
    });
}

/// Messages of one transaction.
pub(super) struct Batch {
    writer: Writer,
    sequence: u32,
}

impl Batch {
    fn begin(sequence: u32) -> Self {
        let mut writer = Writer::default();
        writer.begin(message::BATCH_BEGIN, libc::NLM_F_REQUEST, sequence, &header(0, SUBSYSTEM));
        writer.end();
        Batch { writer, sequence }
    }

    fn message(&mut self, kind: u16, flags: i32, attributes: impl FnOnce(&mut Writer)) {
        self.sequence = self.sequence.wrapping_add(1);
        self.writer.begin(kind, flags | libc::NLM_F_REQUEST, self.sequence, &header(INET, 0));
        attributes(&mut self.writer);
        self.writer.end();
    }

    /// The bytes.
    pub(super) fn finish(mut self) -> Result<Vec<u8>, crate::netlink::RequestError> {
        let last = self.sequence.wrapping_add(1);
        self.writer.begin(message::BATCH_END, libc::NLM_F_REQUEST, last, &header(0, SUBSYSTEM));
        self.writer.finish()
    }
}
