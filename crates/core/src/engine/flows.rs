//! When established flows are to be moved: never before what replaces them is in the kernel (I5), never
//! without somewhere better to go, never because of an event of another path (I11).

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Failback, Family, FlushEvents, Target};

use super::{Core, Effect, Switch};
use crate::classify::{Packet, possible};
use crate::hooks::{Action, actions};
use crate::policy::carries;
use crate::reason::Reason;
use crate::{Carrier, Desired, DesiredRule, Home, Marks, NetView, PathKey, State, Time};

/// Time between the two passes of deleting flows.
const SECOND_PASS: Duration = Duration::from_secs(1);

/// Packets that were under way when a switch came into force have passed all chains by then, and what they entered into
/// the sets of sticky rules goes: well within the second in which a dead WAN's entries are to be gone.
const STRAYS: Duration = Duration::from_millis(500);

/// Deletion of flows still to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
struct Passes {
    at: Time,
    left: u8,
}

impl Passes {
    /// Two, the first at `at`: a flow whose first packet crossed the switch may be entered into conntrack
    /// after the first; the second takes it.
    fn two(at: Time) -> Self {
        Passes { at, left: 2 }
    }

    fn due(&self, now: Time) -> bool {
        self.left > 0 && self.at <= now
    }

    fn next(self, now: Time) -> Self {
        Passes { at: now + SECOND_PASS, left: self.left - 1 }
    }
}

/// Flows that are to be moved.
#[derive(Clone, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Flows {
    /// Dead and removed paths and when to delete their flows' entries. Without passes left: done, until the
    /// path has been up.
    #[cfg_attr(feature = "record", serde(with = "super::checkpoint::pairs"))]
    owed: BTreeMap<PathKey, Passes>,
    /// Healthy paths that a policy left for a better one, and when to move what is misplaced on them.
    #[cfg_attr(feature = "record", serde(with = "super::checkpoint::pairs"))]
    moves: BTreeMap<PathKey, Passes>,
    /// Paths that came up and whose owner wants their entries deleted then. Once only: a second pass would take what
    /// was opened since.
    wished: BTreeSet<PathKey>,
    /// A member has left a policy of sticky rules.
    strays: Option<Strays>,
}

/// Sets to be emptied once more after a switch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
enum Strays {
    /// The switch is not in the kernel yet.
    Switching,
    /// It is; to be done then.
    At(Time),
}

impl Flows {
    /// Whether passes are as many as there can be.
    #[cfg(feature = "record")]
    pub(super) fn is_sound(&self) -> bool {
        self.owed.values().chain(self.moves.values()).all(|passes| passes.left <= 2)
    }

    /// The path is gone or dead: its flows have to leave it.
    pub(super) fn owe(&mut self, key: PathKey, now: Time) {
        self.owed.entry(key).or_insert(Passes::two(now));
        self.moves.remove(&key);
    }

    /// `flush_conntrack`: what a path's change of state asks for. What fell leaves as flows of any dead path do, but
    /// anew at each event that is named; what rose is deleted whether or not there is another path.
    pub(super) fn heed(&mut self, events: FlushEvents, key: PathKey, from: State, to: State, now: Time) {
        for action in actions(Some(from), to) {
            match action {
                Action::IfDown | Action::Disconnected => {
                    self.wished.remove(&key);
                    if named(events, action) {
                        self.owed.insert(key, Passes::two(now));
                    }
                }
                Action::IfUp | Action::Connected if named(events, action) => {
                    self.wished.insert(key);
                }
                Action::IfUp | Action::Connected | Action::Connecting | Action::Disconnecting => {}
            }
        }
    }
}

/// Whether `flush_conntrack` names this action.
fn named(events: FlushEvents, action: Action) -> bool {
    match action {
        Action::IfUp => events.ifup,
        Action::IfDown => events.ifdown,
        Action::Connected => events.connected,
        Action::Disconnected => events.disconnected,
        Action::Connecting | Action::Disconnecting => false,
    }
}

/// Where the flows of a dead path can go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WayOut {
    /// Nowhere.
    None,
    /// It depends on the flow's rule.
    ForSome,
    /// Elsewhere, all of them.
    ForAll,
}

impl Core {
    /// A path that is not usable owes its flows a move; one that is usable again does not. One that is not
    /// proven yet has not lost them either.
    pub(super) fn note_losses(&mut self, now: Time) {
        for (key, path) in &self.paths {
            if path.usable() {
                self.flows.owed.remove(key);
            } else if !path.keeps_flows()
                && !matches!(
                    path.reason,
                    Reason::NotYetProven | Reason::Recovering { .. } | Reason::DrillReturn { .. }
                )
            {
                self.flows.owe(*key, now);
            }
        }
    }

    /// What a new desired state means for flows on paths that are healthy but no longer carry.
    pub(super) fn note_switches(
        &mut self,
        last: &Desired,
        next: &Desired,
        now: Time,
        effects: &mut Vec<Effect>,
    ) {
        // Sources are at home on a WAN again that were carried by others.
        let gained = next.homes.iter().flat_map(|homes| homes.iter());
        let gained: Vec<_> = gained
            .filter(|home| last.home(home.range.first, false).map(|was| was.id) != Some(home.id))
            .collect();
        for key in self.paths.keys().copied().collect::<Vec<_>>() {
            let back = |home: &&&Home| home.id != key.id && Family::of(home.range.first) == key.family;
            if last.homes.is_some() && gained.iter().any(|home| back(&home)) {
                self.plan_move(key, now);
            }
        }
        // In the order of the configuration, as `used` is.
        for (at, policy) in next.policies.iter().enumerate() {
            let Some(old) = last.policies.iter().find(|p| p.name == policy.name) else { continue };
            for family in Family::ALL {
                let (from, to) = (old.carrier(family), policy.carrier(family));
                if from == to {
                    continue;
                }
                effects.push(Effect::Switched(Switch {
                    policy: policy.name.clone(),
                    family,
                    from: from.clone(),
                    to: to.clone(),
                    used: self.used.get(at).is_some_and(|used| used.contains(&family)),
                }));
                let sticky = |rule: &DesiredRule| {
                    rule.rule.sticky.is_some() && rule.rule.target == Target::Policy(policy.name.clone())
                };
                if next.rules.iter().any(sticky) {
                    self.flows.strays = Some(Strays::Switching);
                }
                let (Carrier::Members(left), Carrier::Members(_)) = (from, to) else { continue };
                for share in left.iter().filter(|share| !carries(to, share.id)) {
                    self.plan_move(PathKey { id: share.id, family }, now);
                }
            }
        }
    }

    fn plan_move(&mut self, key: PathKey, now: Time) {
        // What is drained loses its flows by their own end.
        let movable = self.paths.get(&key).is_some_and(|path| path.usable() && !path.drained);
        let Some(wan) = self.wans.iter().find(|w| w.id == key.id) else { return };
        if !movable {
            return;
        }
        let at = match self.config.interfaces[wan.index].failback {
            Failback::Keep => return,
            Failback::MoveNow => now,
            Failback::Drain(limit) => now + limit,
        };
        self.flows.moves.insert(key, Passes::two(at));
    }

    /// Asks for connection entries to be deleted, once what replaces them is in the kernel and, except by the owner's
    /// wish, only if there is somewhere better to go.
    pub(super) fn settle_flows(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if !self.settled() {
            return;
        }
        self.flows.strays = match self.flows.strays {
            Some(Strays::Switching) => Some(Strays::At(now + STRAYS)),
            Some(Strays::At(at)) if at <= now => {
                effects.push(Effect::FlushStrays);
                None
            }
            other => other,
        };
        let wished = std::mem::take(&mut self.flows.wished);
        let present = wished.into_iter().filter(|key| self.paths.contains_key(key));
        effects.extend(present.map(Effect::FlushPath));
        let due = |passes: &BTreeMap<PathKey, Passes>| -> Vec<PathKey> {
            passes.iter().filter(|(_, p)| p.due(now)).map(|(key, _)| *key).collect()
        };
        for key in due(&self.flows.owed) {
            effects.push(match self.way_out(key) {
                WayOut::None => continue,
                WayOut::ForSome => Effect::MoveMisplaced(key),
                WayOut::ForAll => Effect::FlushPath(key),
            });
            self.flows.owed.entry(key).and_modify(|p| *p = p.next(now));
        }
        // A reload or a failure may have settled the question.
        let moves = &self.flows.moves;
        let over = moves.iter().filter(|(key, p)| p.left == 0 || !self.moves_flows(**key));
        for key in over.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.flows.moves.remove(&key);
        }
        for key in due(&self.flows.moves) {
            effects.push(Effect::MoveMisplaced(key));
            self.flows.moves.entry(key).and_modify(|p| *p = p.next(now));
        }
        self.flows.owed.retain(|key, p| p.left > 0 || self.paths.contains_key(key));
    }

    /// Whether flows may be taken from this path: it is healthy, and its owner wants that.
    fn moves_flows(&self, key: PathKey) -> bool {
        let wan = self.wans.iter().find(|w| w.id == key.id);
        let failback = wan.map(|w| self.config.interfaces[w.index].failback);
        self.paths.get(&key).is_some_and(|path| path.usable() && !path.drained)
            && failback.is_some_and(|f| f != Failback::Keep)
    }

    /// What a path's flows still have to expect: their deletion as those of a dead path, by the owner's wish, or of those
    /// that belong elsewhere.
    pub(super) fn owed(&self, key: PathKey) -> (bool, bool, bool) {
        let pending = |passes: Option<&Passes>| passes.is_some_and(|p| p.left > 0);
        let moves = pending(self.flows.moves.get(&key)) && self.moves_flows(key);
        (pending(self.flows.owed.get(&key)), self.flows.wished.contains(&key), moves)
    }

    /// Whether the kernel has what is wanted.
    fn settled(&self) -> bool {
        self.desired.as_ref().is_some_and(|d| self.applied >= d.generation)
    }

    /// When [`Core::settle_flows`] has something to do next.
    pub(super) fn flows_due_at(&self) -> Option<Time> {
        if !self.settled() {
            return None;
        }
        let pending = |p: &Passes| p.left > 0;
        let owed = self.flows.owed.iter().filter(|(_, p)| pending(p));
        let owed = owed.filter(|(key, _)| self.way_out(**key) != WayOut::None).map(|(_, p)| p.at);
        let strays = match self.flows.strays {
            Some(Strays::At(at)) => Some(at),
            Some(Strays::Switching) | None => None,
        };
        owed.chain(self.flows.moves.values().filter(|p| pending(p)).map(|p| p.at)).chain(strays).min()
    }

    /// Where the flows of a dead or removed path can go: what carries the policies that rules use and that
    /// have it among their members. Of a removed path it is not known which those were.
    pub(super) fn way_out(&self, key: PathKey) -> WayOut {
        let Some(desired) = &self.desired else { return WayOut::None };
        let removed = !self.paths.contains_key(&key);
        let (mut some, mut all) = (false, !removed);
        for (policy, used) in desired.policies.iter().zip(&self.used) {
            // With source routing any flow may be on it.
            let by_source = desired.homes.is_some();
            let concerned = removed || by_source || policy.members.iter().any(|(id, _)| *id == key.id);
            if !concerned || !used.contains(&key.family) {
                continue;
            }
            let carried = matches!(policy.carrier(key.family), Carrier::Members(_));
            some |= carried;
            all &= carried;
        }
        match (some, all) {
            (false, _) => WayOut::None,
            (true, false) => WayOut::ForSome,
            (true, true) => WayOut::ForAll,
        }
    }

    /// What decides where flows belong now. It is a value of its own, so that a long list of them can be gone through
    /// while the core goes on.
    pub fn placement(&self) -> Option<Placement> {
        Some(Placement { desired: self.desired.clone()?, net: self.net.clone() })
    }

    /// [`Placement::misplaced`], as of now.
    pub fn misplaced(&self, path: PathKey, packet: &Packet) -> bool {
        self.placement().is_some_and(|placement| placement.misplaced(path, packet))
    }
}

/// Where flows belong by one desired state.
#[derive(Clone, Debug)]
pub struct Placement {
    desired: Arc<Desired>,
    net: Option<Arc<NetView>>,
}

impl Placement {
    /// The marks that flows are known by.
    pub fn marks(&self) -> Marks {
        self.desired.marks
    }

    /// Whether a flow that is on `path` would take another way if it were new and that way is open: such a
    /// flow is moved on failback. `packet` is its first packet as conntrack remembers it; conntrack does not
    /// know the device it came in by nor what is in named sets, so a flow for which one of these might
    /// decide otherwise stays.
    pub fn misplaced(&self, path: PathKey, packet: &Packet) -> bool {
        if self.own().any(|ip| ip == packet.destination) {
            // It came in from outside.
            return false;
        }
        self.possible(packet).is_some_and(|carriers| {
            carriers.iter().all(|c| matches!(c, Carrier::Members(to) if to.iter().all(|s| s.id != path.id)))
        })
    }

    /// The router's own addresses.
    pub(super) fn own(&self) -> impl Iterator<Item = IpAddr> + '_ {
        let links = self.net.iter().flat_map(|net| net.links.values());
        links.flat_map(|link| &link.addresses).map(|address| address.ip)
    }

    /// What may carry a flow if it were new: [`possible`].
    pub(super) fn possible(&self, packet: &Packet) -> Option<Vec<Carrier>> {
        possible(&self.desired, packet)
    }
}
