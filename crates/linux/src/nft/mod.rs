//! nf_tables: our table written in one transaction, read back, and its counters.

mod dump;
mod element;
mod encode;
mod foreign;
mod socket;

pub use dump::{CounterValue, Known, OwnRules};
pub use element::Found;
pub(crate) use element::write_key;
pub use encode::EncodeError;
pub use foreign::ForeignNetfilter;
pub use socket::{CommitError, NftSocket, ObserveError};

/// `enum nf_tables_msg_types` with the subsystem in the high byte.
pub(crate) mod message {
    const NFTABLES: u16 = 10 << 8;
    pub(crate) const NEW_TABLE: u16 = NFTABLES;
    pub(crate) const DELETE_TABLE: u16 = NFTABLES | 2;
    pub(crate) const NEW_CHAIN: u16 = NFTABLES | 3;
    pub(crate) const GET_CHAIN: u16 = NFTABLES | 4;
    pub(crate) const DELETE_CHAIN: u16 = NFTABLES | 5;
    pub(crate) const NEW_RULE: u16 = NFTABLES | 6;
    pub(crate) const GET_RULE: u16 = NFTABLES | 7;
    pub(crate) const DELETE_RULE: u16 = NFTABLES | 8;
    pub(crate) const NEW_SET: u16 = NFTABLES | 9;
    pub(crate) const GET_SET: u16 = NFTABLES | 10;
    pub(crate) const DELETE_SET: u16 = NFTABLES | 11;
    pub(crate) const NEW_ELEMENTS: u16 = NFTABLES | 12;
    pub(crate) const GET_ELEMENTS: u16 = NFTABLES | 13;
    pub(crate) const DELETE_ELEMENTS: u16 = NFTABLES | 14;
    pub(crate) const NEW_GENERATION: u16 = NFTABLES | 15;
    pub(crate) const GET_GENERATION: u16 = NFTABLES | 16;
    pub(crate) const GET_TABLE: u16 = NFTABLES | 1;
    pub(crate) const NEW_OBJECT: u16 = NFTABLES | 18;
    pub(crate) const GET_OBJECT: u16 = NFTABLES | 19;
    pub(crate) const DELETE_OBJECT: u16 = NFTABLES | 20;
    pub(crate) const NEW_FLOWTABLE: u16 = NFTABLES | 22;
    pub(crate) const GET_FLOWTABLE: u16 = NFTABLES | 23;
    /// `NFNL_MSG_BATCH_BEGIN`, `NFNL_MSG_BATCH_END` of linux/netfilter/nfnetlink.h.
    pub(crate) const BATCH_BEGIN: u16 = 16;
    pub(crate) const BATCH_END: u16 = 17;
}

/// Attribute numbers and flags of linux/netfilter/nf_tables.h, as far as we use them.
pub(crate) mod attr {
    pub(crate) const LIST_ELEM: u16 = 1;
    /// The table: attribute 1 of tables, chains, rules, sets, element lists and objects alike.
    pub(crate) const TABLE_NAME: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const TABLE_HANDLE: u16 = 4;
    pub(crate) const TABLE_DORMANT: u32 = 1;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_USERDATA: u16 = 7;
    pub(crate) const EXPR_NAME: u16 = 1;
    pub(crate) const EXPR_DATA: u16 = 2;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LEN: u16 = 5;
    pub(crate) const SET_DATA_TYPE: u16 = 6;
    pub(crate) const SET_DATA_LEN: u16 = 7;
    pub(crate) const SET_DESC: u16 = 9;
    pub(crate) const SET_ID: u16 = 10;
    /// Default timeout of elements, ms.
    pub(crate) const SET_DEFAULT_TIMEOUT: u16 = 11;
    pub(crate) const SET_USERDATA: u16 = 13;
    pub(crate) const SET_EXPRESSION: u16 = 17;
    pub(crate) const SET_HANDLE: u16 = 16;
    pub(crate) const SET_DESC_SIZE: u16 = 1;
    pub(crate) const SET_DESC_CONCAT: u16 = 2;
    pub(crate) const SET_FIELD_LEN: u16 = 1;
    pub(crate) const SET_ANONYMOUS: u32 = 0x1;
    pub(crate) const SET_CONSTANT: u32 = 0x2;
    pub(crate) const SET_INTERVAL: u32 = 0x4;
    pub(crate) const SET_MAP: u32 = 0x8;
    pub(crate) const SET_TIMEOUT: u32 = 0x10;
    pub(crate) const SET_EVAL: u32 = 0x20;
    pub(crate) const SET_CONCAT: u32 = 0x80;
    pub(crate) const LIST_SET: u16 = 2;
    pub(crate) const LOOKUP_SET: u16 = 1;
    pub(crate) const LIST_ELEMENTS: u16 = 3;
    pub(crate) const LIST_SET_ID: u16 = 4;
    pub(crate) const ELEM_KEY: u16 = 1;
    pub(crate) const ELEM_DATA: u16 = 2;
    pub(crate) const ELEM_FLAGS: u16 = 3;
    pub(crate) const ELEM_TIMEOUT: u16 = 4;
    /// Time left, ms.
    pub(crate) const ELEM_EXPIRATION: u16 = 5;
    pub(crate) const ELEM_KEY_END: u16 = 10;
    pub(crate) const ELEM_INTERVAL_END: u32 = 1;
    pub(crate) const ELEM_CATCHALL: u32 = 2;
    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
    pub(crate) const OBJECT_NAME: u16 = 2;
    pub(crate) const OBJECT_TYPE: u16 = 3;
    pub(crate) const OBJECT_DATA: u16 = 4;
    pub(crate) const OBJECT_COUNTER: u32 = 1;
    pub(crate) const COUNTER_BYTES: u16 = 1;
    pub(crate) const COUNTER_PACKETS: u16 = 2;
    pub(crate) const FLOWTABLE_NAME: u16 = 2;
    pub(crate) const FLOWTABLE_HOOK: u16 = 3;
    pub(crate) const FLOWTABLE_HOOK_DEVICES: u16 = 3;
    pub(crate) const GEN_ID: u16 = 1;
    pub(crate) const BATCH_GENID: u16 = 1;
    /// User data is nft's own: type, length, value (libnftnl, include/libnftnl/udata.h).
    pub(crate) const UDATA_COMMENT: u8 = 0;
    pub(crate) const UDATA_KEY_BYTEORDER: u8 = 0;
    pub(crate) const UDATA_DATA_BYTEORDER: u8 = 1;
    pub(crate) const UDATA_SET_COMMENT: u8 = 7;
}

/// `struct nfgenmsg`: family, version 0, resource id.
pub(crate) fn header(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

/// `NFPROTO_INET`, the family of our table.
pub(crate) const INET: u8 = 1;
/// Subsystem number; the resource id of a batch.
pub(crate) const SUBSYSTEM: u16 = 10;
