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

use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Family, Rule, StickyKey, Target};
use mwan_core::{Carrier, Desired, DesiredPolicy};

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
        let target = |share: &mwan_core::Share| Verdict::Goto(self.remember(share.id));
        if let [only] = shares.as_slice() {
            let rules = vec![rule(&self.rule.name, vec![Statement::Verdict(target(only))])];
            return Chain { hook: None, rules };
        }
        let key = self.kind.key();
        let known = |share: &mwan_core::Share| {
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
