//! The part of the nftables language that the program is made of.
//!
//! Typed, so that one value has exactly two renderings that mean the same: text for people
//! ([`crate::text`]) and netlink for the kernel (`mwan-linux`). A test loads both ways and compares
//! what `nft list ruleset` says.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{AddressRange, BlockLevel, Family, PortRange};

/// Our table, family `inet`.
pub const TABLE: &str = "mwan";

/// Ends the names of maps ([`ElementKind::Near`]), and of no set.
pub const LENGTHS_SUFFIX: &str = ".lengths";

/// Seed of every `jhash`: the same source is to meet the same member after a rule was written anew.
pub const HASH_SEED: u32 = 0x6d77_616e;

/// A whole table. Sections exist so that an unchanged one is recognised by pointer and costs nothing.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Table {
    /// Named sets.
    pub sets: BTreeMap<String, Arc<Set>>,
    /// Named counters and chains, in groups that change together; no name is in two sections.
    pub sections: Vec<Arc<Section>>,
}

impl Table {
    /// Whether nothing is in it: then there is to be no table.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.sections.iter().all(|s| s.counters.is_empty() && s.chains.is_empty())
    }
}

/// Counters and chains that change together.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Section {
    /// Named counters.
    pub counters: BTreeSet<String>,
    /// Chains by name.
    pub chains: BTreeMap<String, Arc<Chain>>,
}

/// A named set.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Set {
    /// What it is made of; cannot be changed in place.
    pub kind: SetKind,
    /// `Some`: exactly these, disjoint, sorted and merged. `None`: others fill it, or packets do; we only create it.
    pub elements: Option<BTreeSet<AddressRange>>,
}

/// Type and flags of a named set.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SetKind {
    /// Family of its addresses.
    pub family: Family,
    /// What its elements are.
    pub elements: ElementKind,
    /// Count packets per element.
    pub counter: bool,
}

/// What the elements of a named set are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ElementKind {
    /// Addresses and prefixes (`flags interval`).
    Ranges,
    /// The first addresses of blocks of one length, with room for so many: a hash table of that size. [`Set::elements`] are
    /// runs of blocks ([`crate::blocks::fold`]).
    Blocks(BlockLevel),
    /// A map (`flags` none) from blocks of one length, with room for so many, to marks with bits of this mask alone.
    /// [`Set::elements`] are runs of blocks with a number in the first address ([`crate::near`]).
    Near(BlockLevel, u32),
    /// Single addresses that others enter, for so many seconds if not said otherwise; 0: for ever.
    Learned(u32),
    /// Source addresses that rules add and refresh (`flags dynamic,timeout`).
    Sources,
    /// The same, source and destination together.
    Pairs,
}

impl SetKind {
    /// Addresses and prefixes.
    pub fn ranges(family: Family) -> Self {
        SetKind { family, elements: ElementKind::Ranges, counter: false }
    }

    /// Whether packets fill it.
    pub fn is_dynamic(self) -> bool {
        matches!(self.elements, ElementKind::Sources | ElementKind::Pairs)
    }

    /// What of a packet is looked up in it, for sets that packets fill.
    pub fn key(self) -> Vec<Selector> {
        match self.elements {
            ElementKind::Pairs => vec![Selector::Source(self.family), Selector::Destination(self.family)],
            _ => vec![Selector::Source(self.family)],
        }
    }
}

/// A chain; a base chain if it has a hook.
#[derive(Clone, PartialEq, Debug)]
pub struct Chain {
    /// Where it is called from the network stack.
    pub hook: Option<Hook>,
    /// Its rules.
    pub rules: Vec<Rule>,
}

/// Type, hook and priority of a base chain; policy is always accept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Hook {
    /// `type`.
    pub kind: HookKind,
    /// `hook`.
    pub point: HookPoint,
    /// `priority`, as a number.
    pub priority: i32,
}

/// Type of a base chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum HookKind {
    Filter,
    Route,
    Nat,
}

/// Hook of a base chain; `number` is the kernel's NF_INET_* value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum HookPoint {
    Prerouting = 0,
    Output = 3,
    Postrouting = 4,
}

/// A rule: statements and the comment it is recognised by.
#[derive(Clone, PartialEq, Debug)]
pub struct Rule {
    /// Evaluated in order.
    pub statements: Vec<Statement>,
    /// `WHAT #HASH`: a word for people and a hash of the whole rule, at most 128 bytes. Stored as the
    /// rule's comment (`NFTNL_UDATA_RULE_COMMENT`); how an observed rule is known to be ours and unchanged.
    pub tag: String,
}

/// One statement of a rule.
#[derive(Clone, PartialEq, Debug)]
pub enum Statement {
    /// `SELECTOR & MASK (==|!=) VALUE` of a mark.
    MarkMatch {
        /// Which mark.
        mark: MarkKind,
        /// Bits compared.
        mask: u32,
        /// `==` or `!=`.
        equal: bool,
        /// Compared with.
        value: u32,
    },
    /// `ct mark & MASK vmap { VALUE : VERDICT, … }`.
    MarkVmap {
        /// Which mark.
        mark: MarkKind,
        /// Bits looked up.
        mask: u32,
        /// Values and where they lead.
        elements: Vec<(u32, Verdict)>,
    },
    /// `meta mark 0 meta mark set ct mark & MASK`: a packet without any mark takes our bits of its connection's. The
    /// guard is part of the statement because without it foreign bits would be lost: kernels before 6.13 cannot
    /// combine two registers.
    Restore {
        /// Our bits.
        mask: u32,
    },
    /// `ct state != new`.
    NotNew,
    /// `ct state == invalid`: conntrack could not make anything of the packet, so nothing of it is translated either.
    Invalid,
    /// `SELECTOR (==|!=) { … }`: one selector against values; a single value is rendered without braces.
    Match {
        /// What is compared.
        selector: Selector,
        /// `==` or `!=`.
        equal: bool,
        /// At least one; disjoint.
        values: Vec<Value>,
    },
    /// `ip daddr (==|!=) @NAME`, or `ip daddr & MASK (==|!=) @NAME`.
    InSet {
        /// An address selector.
        selector: Selector,
        /// So many bits of the address are looked up, the others as 0; all where the set has no blocks.
        bits: u8,
        /// `==` or `!=`.
        equal: bool,
        /// Name of the set.
        set: String,
    },
    /// `meta mark 0 meta mark set ip daddr & MASK map @NAME`: a packet without any mark takes the one of the block it is in; for
    /// others, and where there is none, evaluation of the rule ends here.
    Near {
        /// An address selector.
        selector: Selector,
        /// So many bits of the address are looked up, the others as 0.
        bits: u8,
        /// Name of the map.
        map: String,
    },
    /// `SELECTOR . SELECTOR @NAME`, of a set that packets fill.
    Known {
        /// As [`SetKind::key`] says.
        key: Vec<Selector>,
        /// Name of the set.
        set: String,
    },
    /// `update @NAME { SELECTOR . SELECTOR timeout TIME }`: enters it, or lets its time begin anew. Evaluation of the rule
    /// ends here if the set is full.
    Remember {
        /// As [`SetKind::key`] says.
        key: Vec<Selector>,
        /// Name of the set.
        set: String,
        /// How long; whole milliseconds.
        timeout: Duration,
    },
    /// `jhash SELECTOR . SELECTOR mod MODULUS seed N vmap { FIRST-LAST : VERDICT, … }`.
    HashVmap {
        /// Address selectors.
        key: Vec<Selector>,
        /// Sum of all weights, ≥ 2.
        modulus: u32,
        /// Consecutive closed ranges that cover `0..modulus`.
        elements: Vec<(u32, u32, Verdict)>,
    },
    /// `SELECTOR . SELECTOR vmap { KEY . KEY : VERDICT, … }`, anonymous and constant.
    Vmap {
        /// One to five selectors.
        key: Vec<Selector>,
        /// Disjoint keys, each with as many values as there are selectors.
        elements: Vec<(Vec<Value>, Verdict)>,
    },
    /// `numgen random mod MODULUS vmap { FIRST-LAST : VERDICT, … }`.
    RandomVmap {
        /// Sum of all weights.
        modulus: u32,
        /// Consecutive closed ranges that cover `0..modulus`.
        elements: Vec<(u32, u32, Verdict)>,
    },
    /// `MARK set MARK & ~MASK | VALUE`, value inside the mask.
    SetMark {
        /// Which mark.
        mark: MarkKind,
        /// Our bits: the others are kept.
        mask: u32,
        /// The new value of our bits.
        value: u32,
    },
    /// `counter name "NAME"`.
    Counter(String),
    /// `limit rate PER_MINUTE/minute burst BURST packets`: evaluation of the rule ends here for what is beyond it.
    Limit {
        /// Packets per minute, ≥ 1.
        per_minute: u32,
        /// Packets at once before the rate counts.
        burst: u32,
    },
    /// `log prefix "PREFIX" level LEVEL`: a line in the kernel log.
    Log {
        /// At most 127 bytes.
        prefix: String,
        /// syslog level, 0 (emerg) to 7 (debug).
        level: u8,
    },
    /// `masquerade`.
    Masquerade,
    /// A verdict.
    Verdict(Verdict),
}

/// Packet mark or connection mark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MarkKind {
    /// `meta mark`.
    Packet,
    /// `ct mark`.
    Connection,
}

/// A field of a packet.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Selector {
    /// `iifname`.
    InputDevice,
    /// `oifname`.
    OutputDevice,
    /// `meta nfproto`.
    NetworkProtocol,
    /// `meta l4proto`.
    TransportProtocol,
    /// `ip saddr`, `ip6 saddr`. In this `inet` table the rule must already be limited to the family:
    /// statements do not add a dependency by themselves.
    Source(Family),
    /// `ip daddr`, `ip6 daddr`.
    Destination(Family),
    /// `th sport`.
    SourcePort,
    /// `th dport`.
    DestinationPort,
    /// `icmpv6 type`.
    Icmpv6Type,
}

impl Selector {
    /// The family of an address.
    pub fn family(self) -> Option<Family> {
        match self {
            Selector::Source(family) | Selector::Destination(family) => Some(family),
            _ => None,
        }
    }
}

/// A value or range a selector can have. The kind must fit the selector.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Value {
    /// Devices.
    Device(String),
    /// Network protocol.
    Family(Family),
    /// Transport protocol or ICMPv6 type; closed range.
    Byte(u8, u8),
    /// Addresses.
    Address(AddressRange),
    /// Ports.
    Port(PortRange),
}

impl Value {
    /// Whether it is one value rather than a range.
    pub fn is_single(&self) -> bool {
        match self {
            Value::Device(_) | Value::Family(_) => true,
            Value::Byte(first, last) => first == last,
            Value::Address(r) => r.first == r.last,
            Value::Port(r) => r.first == r.last,
        }
    }
}

/// Where evaluation goes on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Verdict {
    /// `accept`.
    Accept,
    /// `return`.
    Return,
    /// `goto CHAIN`.
    Goto(String),
    /// `jump CHAIN`.
    Jump(String),
}

/// A change to the table. A list of them is one transaction, executed in order.
#[derive(Clone, PartialEq, Debug)]
pub enum NftOp {
    /// Create the table; one that exists and was put to sleep (`flags dormant`) works again.
    AddTable,
    /// Remove the table and all in it; an error if it does not exist.
    DeleteTable,
    /// Create an empty set.
    AddSet {
        /// Its name.
        name: String,
        /// What it is made of.
        kind: SetKind,
    },
    /// Remove a set.
    DeleteSet(String),
    /// Add elements that are not there.
    AddElements {
        /// Name of the set.
        set: String,
        /// What the set is made of.
        kind: SetKind,
        /// Disjoint from each other and from what is there.
        elements: Vec<AddressRange>,
    },
    /// Remove elements that are there.
    DeleteElements {
        /// Name of the set.
        set: String,
        /// What the set is made of.
        kind: SetKind,
        /// Exactly as they are in the kernel.
        elements: Vec<AddressRange>,
    },
    /// Remove all elements of a set, of whatever kind.
    FlushSet(String),
    /// Create a named counter.
    AddCounter(String),
    /// Remove a named counter.
    DeleteCounter(String),
    /// Create a chain without rules, or give a base chain that exists its policy back.
    AddChain {
        /// Its name.
        name: String,
        /// For a base chain.
        hook: Option<Hook>,
    },
    /// Remove all rules of a chain.
    FlushChain(String),
    /// Remove an empty chain that nothing refers to.
    DeleteChain(String),
    /// Append a rule.
    AddRule {
        /// Name of the chain.
        chain: String,
        /// The rule.
        rule: Rule,
    },
}

/// Our table as the kernel has it. `None` for the whole: there is no such table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObservedTable {
    /// Somebody put it to sleep (`flags dormant`): all is there and nothing is done.
    pub dormant: bool,
    /// Sets by name.
    pub sets: BTreeMap<String, ObservedSet>,
    /// Names of counters.
    pub counters: BTreeSet<String>,
    /// Chains by name.
    pub chains: BTreeMap<String, ObservedChain>,
}

/// A set as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObservedSet {
    /// `None`: its type is none of ours (somebody replaced it).
    pub kind: Option<SetKind>,
    /// Its elements, as far as they are ranges or blocks.
    pub elements: BTreeSet<AddressRange>,
    /// It has elements that are none: `*`, which matches everything, an address inside of a block, or what packets entered.
    pub others: bool,
}

/// A chain as the kernel has it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObservedChain {
    /// Whether it is a base chain, and which.
    pub base: Base,
    /// Comments of its rules in order; empty text for a rule that has none, or that is known not to be ours though
    /// it carries one.
    pub tags: Vec<String>,
}

/// Where a chain the kernel has is called from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Base {
    /// A regular chain.
    #[default]
    No,
    /// A base chain; what comes to its end is accepted.
    Accepting(Hook),
    /// A base chain like one of ours, but what comes to its end is dropped.
    Dropping(Hook),
    /// A base chain of a type or at a hook that we do not use.
    Other,
}

impl Base {
    /// What a chain of ours is.
    pub fn ours(hook: Option<Hook>) -> Self {
        hook.map_or(Base::No, Base::Accepting)
    }
}

impl From<Family> for Value {
    fn from(family: Family) -> Self {
        Value::Family(family)
    }
}

/// A single address as a range.
pub fn single(ip: IpAddr) -> AddressRange {
    AddressRange { first: ip, last: ip }
}
