//! What two runs made of the same world: outages that one saw sooner, and those that only one of them saw.

use std::collections::BTreeMap;
use std::time::Duration;

use mwan_config::Family;
use mwan_core::{Reason, Time};

use crate::decision::{Decided, Decision};

/// Outages this near to each other are the same one.
const SAME_WITHIN: Duration = Duration::from_secs(1);

/// A path that could carry could not for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Outage {
    /// Name of the interface.
    pub interface: String,
    /// Family.
    pub family: Family,
    /// When it was seen.
    pub from: Time,
    /// When what led to it began: the first of the lost rounds.
    pub begun: Time,
    /// When it was over; `None`: not yet.
    pub to: Option<Time>,
    /// Why, in words.
    pub reason: String,
}

impl Outage {
    fn meets(&self, other: &Outage) -> bool {
        let before = |a: &Outage, b: &Outage| b.to.is_none_or(|to| a.from <= to + SAME_WITHIN);
        before(self, other) && before(other, self)
    }
}

/// The outages of a run, in the order in which they were seen. One that was under way at the beginning is not among them.
pub fn outages(run: &[Decided]) -> Vec<Outage> {
    let mut found: Vec<Outage> = Vec::new();
    let mut open: BTreeMap<(String, Family), usize> = BTreeMap::new();
    for Decided { at, decision } in run {
        let Decision::Path { interface, family, from, to, reason } = decision else { continue };
        let key = (interface.clone(), *family);
        match (from.usable(), to.usable()) {
            // What a drill pretended is none.
            (true, false) if matches!(reason, Reason::Drill { .. }) => {}
            (true, false) => {
                open.insert(key, found.len());
                let begun = match reason {
                    Reason::ProbesLost { since, .. } | Reason::PoorQuality { since, .. } => *since,
                    _ => *at,
                };
                let (interface, reason) = (interface.clone(), reason.to_string());
                found.push(Outage { interface, family: *family, from: *at, begun, to: None, reason });
            }
            (false, true) => {
                if let Some(outage) = open.remove(&key).and_then(|index| found.get_mut(index)) {
                    outage.to = Some(*at);
                }
            }
            _ => {}
        }
    }
    found
}

/// Times that policies which rules lead to came to be carried by others.
pub fn switches(run: &[Decided]) -> usize {
    let switch = |d: &&Decided| matches!(d.decision, Decision::Policy { used: true, .. });
    run.iter().filter(switch).count()
}

/// What the other run made of an outage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Seen {
    /// Sooner, by so much.
    Sooner(Duration),
    /// Later, by so much.
    Later(Duration),
    /// At the same time.
    Alike,
    /// Not at all.
    Never,
    /// It had lost the path before, when nothing was wrong with it yet.
    Already,
    /// Only the other run saw it: the recorded one rode it out.
    Only,
}

/// An outage in two runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Verdict {
    /// As recorded, or as the other run saw it where only that did.
    pub outage: Outage,
    /// As the other run saw it.
    pub other: Option<Outage>,
    /// What is different.
    pub seen: Seen,
    /// Policies that went elsewhere for it in the other run, within a second.
    pub switched: bool,
}

/// Compares the outages of a recorded run with those of another one, in the order of time. `interval`: the longest between two
/// recorded rounds, within which nobody knows when something began.
pub fn compare(recorded: &[Decided], other: &[Decided], interval: Duration) -> Vec<Verdict> {
    let mut others: Vec<Option<Outage>> = outages(other).into_iter().map(Some).collect();
    let switched = |outage: &Outage| {
        let at = |d: &&Decided| outage.from <= d.at && d.at <= outage.from + SAME_WITHIN;
        switches(&other.iter().filter(at).cloned().collect::<Vec<_>>()) > 0
    };
    let mut verdicts = Vec::new();
    for outage in outages(recorded) {
        let same = |o: &Option<Outage>| {
            let path = |o: &Outage| (o.interface.clone(), o.family);
            o.as_ref().is_some_and(|o| path(o) == path(&outage) && o.meets(&outage))
        };
        let slot = others.iter_mut().find(|o| same(o));
        // What was lost before anything was wrong is told of by itself.
        let early = |o: &Outage| o.from + interval < outage.begun;
        let found = slot.and_then(|o| if o.as_ref().is_some_and(early) { o.clone() } else { o.take() });
        let seen = match &found {
            None => Seen::Never,
            Some(found) if early(found) => Seen::Already,
            Some(found) if found.from < outage.from => Seen::Sooner(outage.from.since(found.from)),
            Some(found) if found.from > outage.from => Seen::Later(found.from.since(outage.from)),
            Some(_) => Seen::Alike,
        };
        let switched = found.as_ref().is_some_and(switched);
        verdicts.push(Verdict { outage, other: found, seen, switched });
    }
    for outage in others.into_iter().flatten() {
        let switched = switched(&outage);
        verdicts.push(Verdict { other: Some(outage.clone()), outage, seen: Seen::Only, switched });
    }
    verdicts.sort_by_key(|verdict| verdict.outage.from);
    verdicts
}
