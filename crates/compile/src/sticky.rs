//! Sticky rules: a source keeps its WAN until `timeout` has passed since its last new connection.
//!
//! ```text
//! rule.NAME.4         counter, goto sticky.NAME.4
//! sticky.NAME.4       source in @sticky.NAME.ID.4 → remember.NAME.ID.4, for each member that carries;
//!                     else jhash of the source → remember.NAME.ID.4           replaced in a failover
//! remember.NAME.ID.4  update @sticky.NAME.ID.4, goto member.POLICY.INTERFACE.4
//! ```
//!
//! One set per member, because packets can enter something into a set but not into a verdict map. Only members that carry
//! have entries: whatever else is in a set is flushed by the transaction that takes the member out of the chain, so an
//! entry of a dead WAN is neither found nor refreshed, and a source is never in two sets.
//!
//! A new source is placed by a hash, not by a random number: the first packets of two connections may be on two CPUs at
//! once, each before the other is entered, and still have to arrive at the same member.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Family, Rule, StickyKey, Target};
use mwan_core::{Carrier, Desired, DesiredPolicy, Packet, Share};

use crate::build::{bounded, digit, family_is, goto, identifier, member_chain, resort_chain, rule, spread};
use crate::nft::*;

/// A sticky rule in one family it applies to.
struct Sticky<'a> {
    rule: &'a Rule,
    policy: &'a DesiredPolicy,
    family: Family,
    timeout: Duration,
    kind: SetKind,
}

fn all(desired: &Desired) -> impl Iterator<Item = Sticky<'_>> {
    desired.rules.iter().flat_map(move |found| {
        let rule = &found.rule;
        let of = |sticky| match &rule.target {
            Target::Policy(name) => Some((desired.policies.iter().find(|p| p.name == *name)?, sticky)),
            Target::Direct(_) => None,
        };
        rule.sticky.and_then(of).into_iter().flat_map(move |(policy, sticky)| {
            rule.families.iter().map(move |family| {
                let kind = kind_of(sticky.key, family);
                Sticky { rule, policy, family, timeout: sticky.timeout, kind }
            })
        })
    })
}

impl Sticky<'_> {
    /// Id and name of each member's interface that has the family.
    fn members<'d>(&'d self, desired: &'d Desired) -> impl Iterator<Item = &'d (u32, String)> {
        self.policy.members.iter().filter(|(id, _)| {
            let has = |i: &mwan_core::DesiredInterface| i.paths.iter().any(|p| p.family == self.family);
            desired.interfaces.iter().any(|i| i.id == *id && has(i))
        })
    }

    fn carries(&self, id: u32) -> bool {
        matches!(self.policy.carrier(self.family), Carrier::Members(shares) if shares.iter().any(|s| s.id == id))
    }

    fn set(&self, id: u32) -> String {
        set(&self.rule.name, id, self.family)
    }

    fn remember(&self, id: u32) -> String {
        bounded(format!("remember.{}.{id}.{}", identifier(&self.rule.name), digit(self.family)))
    }

    /// Where the rule's packets are placed.
    fn chain(&self) -> Chain {
        let shares = match self.policy.carrier(self.family) {
            Carrier::LastResort(resort) => {
                let rules = vec![rule(&self.rule.name, vec![goto(resort_chain(*resort))])];
                return Chain { hook: None, rules };
            }
            Carrier::Members(shares) => shares,
        };
        let target = |share: &Share| Verdict::Goto(self.remember(share.id));
        if let [only] = shares.as_slice() {
            let rules = vec![rule(&self.rule.name, vec![Statement::Verdict(target(only))])];
            return Chain { hook: None, rules };
        }
        let key = self.kind.key();
        let known = |share: &Share| {
            let known = Statement::Known { key: key.clone(), set: self.set(share.id) };
            rule(&share.interface, vec![family_is(self.family), known, Statement::Verdict(target(share))])
        };
        let mut rules: Vec<_> = shares.iter().map(known).collect();
        let (modulus, elements) = spread(shares, target);
        let place = Statement::HashVmap { key: key.clone(), modulus, elements };
        rules.push(rule("new here", vec![family_is(self.family), place]));
        Chain { hook: None, rules }
    }

    /// Enters the source, then goes on as without sticky. Two rules, since a full set ends the first one.
    fn remember_chain(&self, id: u32, interface: &str) -> Chain {
        let (key, set, timeout) = (self.kind.key(), self.set(id), self.timeout);
        let remember = Statement::Remember { key, set, timeout };
        let member = member_chain(&self.policy.name, interface, self.family);
        let rules = vec![
            rule("remember", vec![family_is(self.family), remember]),
            rule(interface, vec![goto(&member)]),
        ];
        Chain { hook: None, rules }
    }
}

/// The chains of all sticky rules.
pub(crate) fn section(desired: &Desired) -> Section {
    let mut section = Section::default();
    for sticky in all(desired) {
        section.chains.insert(chain(&sticky.rule.name, sticky.family), Arc::new(sticky.chain()));
        for (id, interface) in sticky.members(desired) {
            section.chains.insert(sticky.remember(*id), Arc::new(sticky.remember_chain(*id, interface)));
        }
    }
    section
}

/// Their sets. One of a member that does not carry is to be empty.
pub(crate) fn sets(desired: &Desired) -> Vec<(String, Set)> {
    let mut sets = Vec::new();
    for sticky in all(desired) {
        for (id, _) in sticky.members(desired) {
            let elements = (!sticky.carries(*id)).then(Default::default);
            sets.push((sticky.set(*id), Set { kind: sticky.kind, elements }));
        }
    }
    sets
}

/// Name of the chain that places the packets of a sticky rule.
pub(crate) fn chain(rule: &str, family: Family) -> String {
    bounded(format!("sticky.{}.{}", identifier(rule), digit(family)))
}

fn kind_of(key: StickyKey, family: Family) -> SetKind {
    let elements = match key {
        StickyKey::Source => ElementKind::Sources,
        StickyKey::SourceAndDestination => ElementKind::Pairs,
    };
    SetKind { family, elements, counter: false }
}

/// What the sets of a sticky rule are made of; `None`: it is not sticky.
pub fn kind(rule: &Rule, family: Family) -> Option<SetKind> {
    rule.sticky.map(|sticky| kind_of(sticky.key, family))
}

/// Name of the set that holds the sources of a sticky rule on interface `id`.
pub fn set(rule: &str, id: u32, family: Family) -> String {
    bounded(format!("sticky.{}.{id}.{}", identifier(rule), digit(family)))
}

/// The member at which the kernel places a new source: the same hash of the same bytes as in the program.
pub fn placed(key: StickyKey, shares: &[Share], packet: &Packet) -> Option<u32> {
    let (modulus, elements) = spread(shares, |share| share.id);
    let octets = |ip| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut bytes = octets(packet.source);
    if key == StickyKey::SourceAndDestination {
        bytes.extend(octets(packet.destination));
    }
    // nft_jhash_eval: reciprocal_scale of the hash.
    let at = (u64::from(jhash(&bytes, HASH_SEED)) * u64::from(modulus)) >> 32;
    elements
        .iter()
        .find(|(first, last, _)| u64::from(*first) <= at && at <= u64::from(*last))
        .map(|(.., id)| *id)
}

/// include/linux/jhash.h, `jhash`: Bob Jenkins' lookup3, which reads words in the machine's order.
fn jhash(bytes: &[u8], seed: u32) -> u32 {
    const INITIAL: u32 = 0xdead_beef;
    let start = INITIAL.wrapping_add(bytes.len() as u32).wrapping_add(seed);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut rest = bytes;
    while let Some((words, behind)) = rest.split_at_checked(12).filter(|(_, behind)| !behind.is_empty()) {
        let word =
            |at: usize| words[at..at + 4].iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte));
        let word = |at| if cfg!(target_endian = "big") { u32::swap_bytes(word(at)) } else { word(at) };
        a = a.wrapping_add(word(0));
        b = b.wrapping_add(word(4));
        c = c.wrapping_add(word(8));
        for (subtrahend, turn) in [(0, 4), (1, 6), (2, 8), (0, 16), (1, 19), (2, 4)] {
            match subtrahend {
                0 => (a, c) = (a.wrapping_sub(c) ^ c.rotate_left(turn), c.wrapping_add(b)),
                1 => (b, a) = (b.wrapping_sub(a) ^ a.rotate_left(turn), a.wrapping_add(c)),
                _ => (c, b) = (c.wrapping_sub(b) ^ b.rotate_left(turn), b.wrapping_add(a)),
            }
        }
        rest = behind;
    }
    if rest.is_empty() {
        return c;
    }
    // The last bytes are put together lowest first on every machine.
    let tail = |from: usize| {
        let bytes = rest.iter().skip(from).take(4).enumerate();
        bytes.fold(0, |sum, (at, byte)| sum | u32::from(*byte) << (8 * at))
    };
    a = a.wrapping_add(tail(0));
    b = b.wrapping_add(tail(4));
    c = c.wrapping_add(tail(8));
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    (c ^ b).wrapping_sub(b.rotate_left(24))
}
