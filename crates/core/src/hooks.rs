//! Which transitions scripts hear of. Pure: what happened becomes a list of calls, in order; running them is the
//! daemon's business.
//!
//! Two audiences. mwan3's user script knows one state per interface, and so it is told: an interface is as good as the
//! best of its families, and it hears of `ifup`, `ifdown`, `connected` and `disconnected` only. Hooks with a document on
//! standard input hear of everything, and of the tracker of each family on its own.

use mwan_config::Gather;
use std::collections::BTreeMap;

use mwan_config::Family;

use crate::{Reason, State};

/// mwan3's `ACTION`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Action {
    /// The device can carry traffic.
    IfUp,
    /// It cannot any more.
    IfDown,
    /// Rounds succeed again, but not yet enough of them.
    Connecting,
    /// It may carry traffic again.
    Connected,
    /// Rounds fail, but not yet enough of them.
    Disconnecting,
    /// It must not carry traffic any more.
    Disconnected,
}

impl Action {
    /// The word in `ACTION`.
    pub fn name(self) -> &'static str {
        match self {
            Action::IfUp => "ifup",
            Action::IfDown => "ifdown",
            Action::Connecting => "connecting",
            Action::Connected => "connected",
            Action::Disconnecting => "disconnecting",
            Action::Disconnected => "disconnected",
        }
    }

    /// Whether mwan3's user script is called with it; `connecting` and `disconnecting` reach hotplug scripts only.
    pub fn reaches_user_script(self) -> bool {
        !matches!(self, Action::Connecting | Action::Disconnecting)
    }
}

/// What a call is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// An interface as a whole: as good as the best of its families.
    Interface,
    /// One family of an interface.
    Path(Family),
}

/// Something scripts are told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HookCall {
    /// What happened.
    pub action: Action,
    /// To what.
    pub scope: Scope,
    /// Name of the interface.
    pub interface: String,
    /// Its device; empty on `ifdown`, as in mwan3.
    pub device: String,
    /// State of the interface or path before; `None` if it is seen for the first time.
    pub from: Option<State>,
    /// State after.
    pub to: State,
    /// Every family's state and the reason for it.
    pub paths: Vec<(Family, State, Reason)>,
}

/// The actions between two states, in order; `None`: nothing was known before.
///
/// mwan3's tracker goes by way of `disconnecting` to `disconnected` and of `connecting` to `connected` even if one
/// round is enough. The first state is no transition: an interface that is assumed online at the start has not
/// connected (mwan3's FIRSTCONNECT).
pub fn actions(from: Option<State>, to: State) -> Vec<Action> {
    use Action::*;
    let Some(from) = from else {
        return if to == State::Disabled { Vec::new() } else { vec![IfUp] };
    };
    match (from, to) {
        (from, to) if from == to => Vec::new(),
        (State::Disabled, State::Online | State::Disconnecting) => vec![IfUp, Connected],
        (State::Disabled, State::Connecting) => vec![IfUp, Connecting],
        (State::Disabled, _) => vec![IfUp],
        (State::Online | State::Disconnecting, State::Disabled) => vec![Disconnected, IfDown],
        (_, State::Disabled) => vec![IfDown],
        (State::Online, State::Disconnecting) => vec![Disconnecting],
        (State::Online, State::Offline) => vec![Disconnecting, Disconnected],
        (State::Disconnecting, State::Offline) => vec![Disconnected],
        // Another device took the place of the first.
        (State::Online | State::Disconnecting, State::Connecting) => vec![Disconnected, Connecting],
        (State::Offline, State::Connecting) => vec![Connecting],
        (State::Offline, State::Online | State::Disconnecting) => vec![Connecting, Connected],
        (State::Connecting, State::Online | State::Disconnecting) => vec![Connected],
        // Nothing was lost: it had not connected yet, or it did not disconnect.
        (State::Connecting, _) | (State::Disconnecting, _) | (State::Online, _) | (State::Offline, _) => {
            Vec::new()
        }
    }
}

/// State of an interface as a whole: the best of its families, since it carries as long as one of them does.
fn best(states: impl Iterator<Item = State>) -> Option<State> {
    let rank = |state: &State| match state {
        State::Disabled => 0,
        State::Offline => 1,
        State::Connecting => 2,
        State::Disconnecting => 3,
        State::Online => 4,
    };
    states.max_by_key(rank)
}

/// What scripts have been told.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Told(BTreeMap<String, BTreeMap<Family, State>>);

impl Told {
    /// What a process before this one has told: its last states.
    pub(crate) fn remembered(paths: impl Iterator<Item = (String, Family, State)>) -> Self {
        let mut told = Told::default();
        for (interface, family, state) in paths {
            told.0.entry(interface).or_default().insert(family, state);
        }
        told
    }

    /// What was told last of one family of an interface.
    pub(crate) fn state(&self, interface: &str, family: Family) -> Option<State> {
        self.0.get(interface)?.get(&family).copied()
    }

    /// Forgets interfaces that do not take part (any more): what comes back is new.
    pub(crate) fn retain(&mut self, present: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| present(name));
    }

    /// The calls that lead from what was told of an interface to `paths`. That of the interface comes before those of
    /// its paths when it rises, and behind them when it falls.
    pub(crate) fn tell(
        &mut self,
        interface: &str,
        device: &str,
        paths: &[(Family, State, Reason)],
    ) -> Vec<HookCall> {
        let Some(to) = best(paths.iter().map(|(_, state, _)| *state)) else { return Vec::new() };
        let now: BTreeMap<Family, State> = paths.iter().map(|(family, state, _)| (*family, *state)).gather();
        let before = self.0.get(interface);
        if before == Some(&now) {
            return Vec::new();
        }
        // A family that was added or taken away by the configuration has no transition of its own.
        let was = |family: &Family| before.and_then(|states| states.get(family)).copied();
        let from = best(now.keys().filter_map(was));
        let call = |scope, action, from, to| HookCall {
            action,
            scope,
            interface: interface.to_owned(),
            device: if action == Action::IfDown { String::new() } else { device.to_owned() },
            from,
            to,
            paths: paths.to_vec(),
        };
        let whole: Vec<HookCall> =
            actions(from, to).into_iter().map(|a| call(Scope::Interface, a, from, to)).collect();
        let each = paths.iter().flat_map(|(family, state, _)| {
            let tracker = |a: &Action| !matches!(a, Action::IfUp | Action::IfDown);
            let own = actions(was(family), *state).into_iter().filter(tracker);
            own.map(|a| call(Scope::Path(*family), a, was(family), *state)).collect::<Vec<_>>()
        });
        let each: Vec<HookCall> = each.collect();
        let (first, last): (Vec<_>, Vec<_>) = whole.into_iter().partition(|c| c.action == Action::IfUp);
        let calls = first.into_iter().chain(each).chain(last).collect();
        self.0.insert(interface.to_owned(), now);
        calls
    }

    /// The calls when all of ours is taken out of the kernel. As with mwan3 (`mwan3_interface_hotplug_shutdown`), what
    /// is online is `disconnected`; of devices nothing is said, nothing became of them.
    pub(crate) fn stopped(&self, interface: &str, device: &str) -> Vec<HookCall> {
        let Some(states) = self.0.get(interface) else { return Vec::new() };
        let call = |scope, from: State| {
            matches!(from, State::Online | State::Disconnecting).then(|| HookCall {
                action: Action::Disconnected,
                scope,
                interface: interface.to_owned(),
                device: device.to_owned(),
                from: Some(from),
                to: State::Disabled,
                paths: states.keys().map(|family| (*family, State::Disabled, Reason::Stopped)).collect(),
            })
        };
        let each = states.iter().filter_map(|(family, state)| call(Scope::Path(*family), *state));
        let whole = best(states.values().copied()).and_then(|state| call(Scope::Interface, state));
        each.chain(whole).collect()
    }
}

#[cfg(test)]
mod tests;
