//! Rules with named sets that are laid out in many levels: one look tells which of them to ask ([`crate::near`]).

use std::collections::BTreeMap;
use std::sync::Arc;

use mwan_config::Family;
use mwan_core::Marks;

use super::names::{look_chain, rule_chain};
use super::{Chain, family_is, is_address, linear, rule};
use crate::near;
use crate::nft::{MarkKind, Rule, Statement, Verdict};
use crate::shape::{Near, Shape, Within};

/// Where chains for the sets of a rule go.
pub(crate) struct Looks<'a> {
    pub(super) chains: &'a mut BTreeMap<String, Arc<Chain>>,
    pub(super) marks: Marks,
}

impl Looks<'_> {
    /// What finds a rule by its sets, one of which has many levels at least.
    pub(super) fn rules(&mut self, name: &str, shape: &Shape, family: Family) -> Vec<Rule> {
        let rest =
            linear(&Shape { sets: Vec::new(), ..shape.clone() }).into_iter().next().unwrap_or_default();
        let mut found = Verdict::Goto(rule_chain(name, family));
        let with_map = |wanted: bool| shape.sets.iter().filter(move |set| set.near.is_some() == wanted);
        let sets: Vec<&Within> = with_map(true).chain(with_map(false)).collect();
        let Some((first, more)) = sets.split_first() else { return Vec::new() };
        let asks = |within, at| Ask { name, family, within, at };
        // From the last to the second: each has a chain that the one before leads to.
        for (at, within) in more.iter().enumerate().rev() {
            // Nobody is to take the number of the set before for one of this.
            let mut rules = vec![rule(name, vec![self.unmarked()])];
            rules.extend(self.ask(&asks(within, at + 1), &[], found));
            found = Verdict::Goto(self.chain(look_chain(name, family, at + 1, 0), rules));
        }
        self.ask(&asks(first, 0), &rest, found)
    }

    /// What asks for one set: for `rest`, too, and leads to `found`. It comes back with a mark if that was so.
    fn ask(&mut self, ask: &Ask<'_>, rest: &[Statement], found: Verdict) -> Vec<Rule> {
        let selector = ask.within.selector;
        let Some(Near { first, map: (map, bits), numbers, others }) = &ask.within.near else {
            return self.outside(ask, rest, &ask.within.parts, found);
        };
        let mut elements = Vec::new();
        for (number, parts) in (near::ALL..).zip(numbers) {
            let asked =
                parts.iter().map(|part| ask.rule(&[ask.lookup(part), Statement::Verdict(found.clone())]));
            let rules = asked.chain([rule(ask.name, vec![self.unmarked()])]).collect();
            let chain = self.chain(look_chain(ask.name, ask.family, ask.at, number), rules);
            elements.push((self.marks.of(number), Verdict::Jump(chain)));
        }
        let all = look_chain(ask.name, ask.family, ask.at, near::ALL);
        let near = Statement::Near { selector, bits: *bits, map: map.clone() };
        let mask = self.marks.mask();
        let mut rules = self.outside(ask, rest, first, found.clone());
        rules.extend([
            ask.rule(&[rest, &[near]].concat()),
            // Whoever has no number has none of our bits, so the mark as a whole is compared: that costs less.
            rule(ask.name, vec![Statement::MarkVmap { mark: MarkKind::Packet, mask: u32::MAX, elements }]),
            self.decided(ask),
        ]);
        // What others have marked has no room for a number.
        if mask != u32::MAX {
            let marked = Statement::MarkMatch { mark: MarkKind::Packet, mask: !mask, equal: false, value: 0 };
            rules.extend([
                ask.rule(&[&[marked], rest, &[Statement::Verdict(Verdict::Jump(all))]].concat()),
                self.decided(ask),
            ]);
        }
        rules.extend(self.outside(ask, rest, others, found));
        rules
    }

    /// The same without a map.
    fn outside(
        &self,
        ask: &Ask<'_>,
        rest: &[Statement],
        parts: &[(String, u8)],
        found: Verdict,
    ) -> Vec<Rule> {
        // Not for good: what is not in the next set is a matter of the rules behind this one.
        let found = match found {
            Verdict::Goto(chain) if ask.at == 0 && chain != rule_chain(ask.name, ask.family) => {
                Verdict::Jump(chain)
            }
            found => found,
        };
        let mut rules: Vec<Rule> = parts
            .iter()
            .map(|part| ask.rule(&[rest, &[ask.lookup(part), Statement::Verdict(found.clone())]].concat()))
            .collect();
        if matches!(found, Verdict::Jump(_)) && !rules.is_empty() {
            rules.push(self.decided(ask));
        }
        rules
    }

    /// What the rule has decided comes back as what is in none of its sets does: the chains that mark end by themselves.
    /// Nothing was marked when the rules were asked.
    fn decided(&self, ask: &Ask<'_>) -> Rule {
        let mask = self.marks.mask();
        let marked = Statement::MarkMatch { mark: MarkKind::Packet, mask, equal: false, value: 0 };
        rule(ask.name, vec![marked, Statement::Verdict(Verdict::Return)])
    }

    /// Takes a number out of the mark.
    fn unmarked(&self) -> Statement {
        Statement::SetMark { mark: MarkKind::Packet, mask: self.marks.mask(), value: 0 }
    }

    fn chain(&mut self, name: String, rules: Vec<Rule>) -> String {
        self.chains.insert(name.clone(), Arc::new(Chain { hook: None, rules }));
        name
    }
}

/// A rule that asks for a set.
struct Ask<'a> {
    name: &'a str,
    family: Family,
    within: &'a Within,
    /// Which of the rule's sets it is.
    at: usize,
}

impl Ask<'_> {
    fn lookup(&self, (set, bits): &(String, u8)) -> Statement {
        Statement::InSet { selector: self.within.selector, bits: *bits, equal: true, set: set.clone() }
    }

    /// In a table of both families addresses can be looked at where the family is known.
    fn rule(&self, statements: &[Statement]) -> Rule {
        let family = statements.iter().any(is_address).then(|| family_is(self.family));
        rule(self.name, family.into_iter().chain(statements.iter().cloned()).collect())
    }
}
