//! What others may know of the core.

use mwan_config::Gather;
use std::sync::Arc;

use mwan_config::{Config, Family};

use super::{Core, Memory, RememberedPath};
use crate::candidates::{Candidate, candidates};
use crate::explain::{Explainer, Standing};
use crate::path::Path;
use crate::reason::Reason;
use crate::{Desired, LogicalInterface, NetView, PathKey, State, Time};

impl Core {
    /// What must survive a restart.
    pub fn memory(&self) -> Memory {
        Memory {
            ids: self.ids.iter().map(|(name, id)| (name.to_owned(), id)).gather(),
            paths: self
                .wans
                .iter()
                .flat_map(|wan| self.paths.values().filter(|p| p.key.id == wan.id).map(move |p| (wan, p)))
                .map(|(wan, p)| RememberedPath {
                    interface: wan.name.clone(),
                    family: p.key.family,
                    state: p.real_state().0,
                    score: p.real_state().1,
                    losses: p.losses().to_vec(),
                    hold: p.hold,
                    pretended: p.drilled().then(|| p.tracker.state()),
                })
                // A process that ends before it has seen the network passes on what it was given.
                .filter(|_| self.net.is_some())
                .chain(self.resume.iter().cloned())
                .collect(),
            taken_down: self.taken_down.clone(),
            drained: self.drained.clone(),
        }
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// The last desired state.
    pub fn desired(&self) -> Option<&Arc<Desired>> {
        self.desired.as_ref()
    }

    /// The network as last seen.
    pub fn network(&self) -> Option<&Arc<NetView>> {
        self.net.as_ref()
    }

    /// What explanations are made of; `None` before the network has been seen.
    pub fn explainer(&self) -> Option<Explainer> {
        let standing = |path: &Path| Standing {
            usable: path.usable(),
            hold: path.hold,
            drained: path.drained,
            reason: self.path(path.key).map_or(Reason::NotSeen, |status| status.reason.clone()),
        };
        Some(Explainer {
            config: self.config.clone(),
            desired: self.desired.clone()?,
            net: self.net.clone()?,
            standings: self.paths.iter().map(|(key, path)| (*key, standing(path))).gather(),
        })
    }

    /// The kernel device of a logical interface, also of one that is no WAN, or of that name.
    pub fn device(&self, name: &str) -> Option<String> {
        self.device_of(self.net.as_deref()?, name)
    }

    /// What may be a WAN; nothing before the network has been seen.
    pub fn candidates(&self) -> Vec<Candidate> {
        self.net.as_ref().map(|net| candidates(net, self.view.as_deref())).unwrap_or_default()
    }

    /// The network manager's interface that serves a family of the one called `name`, unless the configuration names the
    /// device itself.
    pub fn logical(&self, name: &str, family: Family) -> Option<(&str, &LogicalInterface)> {
        self.config.interface(name).filter(|i| i.device.is_none())?;
        self.view.as_ref()?.serving(name, family)
    }

    /// Id and device of an enabled interface.
    pub fn wan(&self, name: &str) -> Option<(u32, &str)> {
        self.wans.iter().find(|w| w.name == name).map(|w| (w.id, w.device.as_str()))
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.paths.values()
    }

    /// Everything there is to say about a path.
    pub fn path(&self, key: PathKey) -> Option<PathStatus<'_>> {
        let path = self.paths.get(&key)?;
        Some(PathStatus {
            state: path.tracker.state(),
            reason: if path.on_trial && path.tracker.state().usable() {
                &Reason::OnTrial
            } else {
                &path.reason
            },
            since: path.since,
            ready: path.ready.is_some(),
            ready_since: path.ready_since,
            bad_since: path.bad_since(),
            hold: path.hold,
            drained: path.drained,
            tracker: &path.tracker,
            targets: path.real_targets(),
            source: path.ready.as_ref().and_then(|r| r.source),
            next_hop: path.ready.as_ref().map(|r| r.next_hop),
        })
    }
}

/// Everything there is to say about a path.
#[derive(Clone, Debug)]
pub struct PathStatus<'a> {
    /// State.
    pub state: State,
    /// Why.
    pub reason: &'a Reason,
    /// Since when it has been usable, or not.
    pub since: Time,
    /// The device can carry traffic.
    pub ready: bool,
    /// Since when it can, or cannot.
    pub ready_since: Time,
    /// Since when its rounds have really been bad, if they are.
    pub bad_since: Option<Time>,
    /// It is held back as flapping.
    pub hold: Option<crate::Hold>,
    /// Its interface is drained.
    pub drained: bool,
    /// Score, rounds and targets.
    pub tracker: &'a crate::Tracker,
    /// Its targets as they are, in a drill too.
    pub targets: &'a [crate::Target],
    /// Source address of probes.
    pub source: Option<std::net::IpAddr>,
    /// Where its routing table points.
    pub next_hop: Option<crate::NextHop>,
}
