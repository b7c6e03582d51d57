//! The core: events in, desired state and effects out.

#[cfg(feature = "record")]
mod checkpoint;
mod desired;
mod drill;
mod events;
mod flows;
mod impact;
mod view;

use mwan_config::{Gather, sort_short};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Config, Family, Interface, Policy, Target, interfaces_max};

use crate::hooks::{HookCall, Told};
use crate::ids::Ids;
use crate::path::{Path, managed_readiness, readiness};
use crate::reason::Reason;
use crate::{Desired, Marks, NetView, Outcome, PathKey, PlatformView, ProbeReport, ProbeRequest, Time};

use drill::Drill;
use flows::Flows;

#[cfg(feature = "record")]
pub use checkpoint::{Checkpoint, Unfit};
pub use drill::{DrillEnd, DrillOrder, DrillPreview, DrillRefusal, DrillStep};
pub use events::{Effect, Event, Memory, Output, RememberedPath, Switch, Transition};
pub use flows::Placement;
pub use impact::{Entry, Fate, Impact, Passage};
pub use view::PathStatus;

/// A refused route is tried again after this long: what made the kernel refuse it (a link that was down for a
/// moment) may be over without leaving a trace in what is seen of the network.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// An enabled interface at run time.
#[derive(Clone, PartialEq, Debug)]
struct Wan {
    name: String,
    id: u32,
    /// Position in `config.interfaces`.
    index: usize,
    device: String,
}

/// What the platform adds to the configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Platform {
    /// What `masquerade auto` means here: false where a firewall translates already.
    pub translate: bool,
}

/// The decision core.
#[derive(Clone, Debug)]
pub struct Core {
    platform: Platform,
    config: Arc<Config>,
    ids: Ids,
    net: Option<Arc<NetView>>,
    /// What the network manager says, where there is one.
    view: Option<Arc<PlatformView>>,
    wans: Vec<Wan>,
    paths: BTreeMap<PathKey, Path>,
    taken_down: BTreeSet<String>,
    drained: BTreeSet<String>,
    /// A WAN is made to look dead.
    drill: Option<Drill>,
    /// Paths whose route the kernel refused, why, and when it is tried again.
    refused: BTreeMap<PathKey, (String, Time)>,
    resume: Vec<RememberedPath>,
    desired: Option<Arc<Desired>>,
    applied: u64,
    /// Flows that are to be moved.
    flows: Flows,
    /// Highest number of a round of a path that was removed.
    rounds: u64,
    /// Per policy of the configuration: the families in which a rule leads to it.
    used: Vec<Vec<Family>>,
    /// Per policy of the configuration.
    members: Vec<PolicyMembers>,
    /// What has changed since the desired state was last built.
    dirty: Dirty,
    /// What scripts have been told, and whether there may be more to tell.
    told: Told,
    untold: bool,
}

/// The members of a policy, resolved once: a failover only asks how they are.
#[derive(Clone, Debug, Default)]
struct PolicyMembers {
    /// Id of every member's interface, if it is enabled.
    ids: Vec<Option<u32>>,
    /// Id and name of every enabled interface, once.
    interfaces: Arc<Vec<(u32, String)>>,
}

/// Inputs of the desired state that changed. An event that changes nothing costs nothing more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
struct Dirty {
    /// Network, configuration or commands: look at every device again.
    devices: bool,
    /// Interfaces, their addresses or next hops.
    interfaces: bool,
    /// Which rules apply, or their devices.
    rules: bool,
    /// Anything.
    any: bool,
}

impl Core {
    /// A core that has not seen the network yet: it wants nothing until it has ([`Event::Network`]).
    pub fn new(platform: Platform, config: Arc<Config>, memory: Memory) -> Self {
        let states =
            memory.paths.iter().map(|p| (p.interface.clone(), p.family, p.pretended.unwrap_or(p.state)));
        let told = Told::remembered(states);
        let mut core = Core {
            platform,
            config: Arc::new(Config::default()),
            ids: Ids::remembered(memory.ids),
            net: None,
            view: None,
            wans: Vec::new(),
            paths: BTreeMap::new(),
            taken_down: memory.taken_down,
            drained: memory.drained,
            drill: None,
            refused: BTreeMap::new(),
            resume: memory.paths,
            desired: None,
            applied: 0,
            flows: Flows::default(),
            rounds: 0,
            used: Vec::new(),
            members: Vec::new(),
            dirty: Dirty::default(),
            told,
            untold: true,
        };
        core.configure(config, Time(0), &mut Vec::new());
        core
    }

    /// The one entry point.
    pub fn handle(&mut self, now: Time, event: Event) -> Output {
        let mut effects = Vec::new();
        match event {
            Event::Network(net) => {
                if self.net.is_none() {
                    // Time began with the first look, not with the clock.
                    self.paths.values_mut().for_each(|path| path.begin(now));
                }
                let names_devices = self.config.rules.iter().any(|r| r.source_interface.is_some());
                self.dirty = Dirty {
                    devices: true,
                    interfaces: true,
                    rules: self.dirty.rules || names_devices,
                    any: true,
                };
                let other = |old: &Arc<NetView>| old.links != net.links || old.defaults != net.defaults;
                if self.net.as_ref().is_none_or(other) {
                    self.refused.clear();
                }
                self.net = Some(net);
            }
            Event::Platform(view) => self.look_at_platform(view),
            Event::Refused { path, error } => {
                self.refused.insert(path, (error, now + REFUSED_RETRY));
                self.dirty.devices = true;
            }
            Event::Configure(config) => self.configure(config, now, &mut effects),
            Event::Probe(report) => self.report(report, now),
            Event::Applied { generation } => self.applied = self.applied.max(generation),
            Event::IfUp(name) => self.dirty.devices |= self.taken_down.remove(&name),
            Event::IfDown(name) => {
                let known = self.config.interface(&name).is_some();
                self.dirty.devices |= known && self.taken_down.insert(name);
            }
            Event::Drain(name) => {
                let known = self.config.interface(&name).is_some();
                self.dirty.devices |= known && self.drained.insert(name);
            }
            Event::Undrain(name) => self.dirty.devices |= self.drained.remove(&name),
            Event::Drill(order) => self.begin_drill(order, now, &mut effects),
            Event::EndDrill => self.end_drill(DrillEnd::Stopped, now, &mut effects),
            Event::Hurry(name) => {
                let id = self.wan(&name).map(|(id, _)| id);
                let paths = self.paths.iter_mut().filter(|(key, _)| Some(key.id) == id);
                paths.for_each(|(_, path)| path.tracker.hurry(now));
            }
            Event::Tick => {}
        }
        let refused = self.refused.len();
        self.refused.retain(|_, (_, retry)| *retry > now);
        self.dirty.devices |= self.refused.len() < refused;
        self.look_at_devices(now, &mut effects);
        self.run_trackers(now, &mut effects);
        if self.look_at_drill(now, &mut effects) {
            // What is true may have been due for a while.
            self.run_trackers(now, &mut effects);
        }
        self.report_changes(&mut effects);
        self.tell_scripts(now, &mut effects);
        let desired = self.decide(now, &mut effects);
        self.settle_flows(now, &mut effects);
        self.complete_drill(&mut effects);
        Output { desired, effects, wake_at: self.wake_at() }
    }

    fn configure(&mut self, config: Arc<Config>, now: Time, effects: &mut Vec<Effect>) {
        self.end_drill(DrillEnd::Configured, now, effects);
        self.config = config;
        self.refused.clear();
        self.dirty = Dirty { devices: true, interfaces: true, rules: true, any: true };
        self.ids.assign(&self.config.interfaces, interfaces_max(self.config.globals.mask));
        self.taken_down.retain(|name| self.config.interface(name).is_some());
        self.drained.retain(|name| self.config.interface(name).is_some());
        let devices: BTreeMap<String, String> = self.wans.drain(..).map(|w| (w.name, w.device)).gather();
        self.wans = enabled_wans(&self.config, &self.ids);
        self.untold = true;
        self.place_wans(&devices);
        self.used = used_policies(&self.config);
        self.members = policy_members(&self.config, &self.wans);
        self.configure_paths(now, effects);
    }

    fn look_at_platform(&mut self, view: Arc<PlatformView>) {
        if self.view.as_ref() == Some(&view) {
            return;
        }
        self.view = Some(view);
        self.refused.clear();
        self.dirty = Dirty { devices: true, interfaces: true, rules: true, any: true };
        let devices = self.wans.iter().map(|w| (w.name.clone(), w.device.clone())).gather();
        self.place_wans(&devices);
    }

    /// Gives every interface whose device the configuration leaves open the one the network manager has for it. One that
    /// is down keeps the `known` device, so that nothing moves while it is dialled again.
    fn place_wans(&mut self, known: &BTreeMap<String, String>) {
        let Some(view) = &self.view else { return };
        for wan in &mut self.wans {
            let interface = &self.config.interfaces[wan.index];
            if interface.device.is_some() {
                continue;
            }
            let serving = || interface.families.iter().filter_map(|f| view.serving(&wan.name, f));
            let upper = serving().filter(|(_, l)| l.up).find_map(|(_, l)| l.device.clone());
            let lower = || serving().find_map(|(_, l)| l.lower_device.clone());
            let before = || known.get(&wan.name).filter(|device| **device != wan.name).cloned();
            wan.device = upper.or_else(before).or_else(lower).unwrap_or_else(|| wan.name.clone());
        }
    }

    /// Creates, adapts and removes paths so that they are those of `wans`.
    fn configure_paths(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let mut wanted = BTreeSet::new();
        for wan in &self.wans {
            let interface = &self.config.interfaces[wan.index];
            for family in interface.families.iter() {
                let key = PathKey { id: wan.id, family };
                wanted.insert(key);
                let path = self.paths.entry(key).or_insert_with(|| Path::new(key, self.rounds, now));
                if path.ready.is_some() {
                    let targets = path.tracker.targets().iter().map(crate::Target::probe).collect();
                    path.tracker.reconfigure(&interface.tracking, targets, now);
                }
            }
        }
        for (key, path) in self.paths.iter().filter(|(key, _)| !wanted.contains(key)) {
            if path.probing() {
                effects.push(Effect::StopProbes(*key));
            }
            self.rounds = self.rounds.max(path.tracker.rounds());
            self.flows.owe(*key, now);
        }
        self.paths.retain(|key, _| wanted.contains(key));
    }

    fn report(&mut self, report: ProbeReport, now: Time) {
        let (ProbeReport::Reply { path: key, .. } | ProbeReport::Failed { path: key, .. }) = &report;
        let Some(index) = self.wans.iter().find(|w| w.id == key.id).map(|w| w.index) else { return };
        let Some(path) = self.paths.get_mut(key) else { return };
        let interface = &self.config.interfaces[index];
        let was_usable = path.usable();
        let outcome = match report {
            ProbeReport::Reply { round, target, rtt, .. } => {
                path.reply(&interface.tracking, (round, target), rtt, now)
            }
            ProbeReport::Failed { round, target, error, .. } => {
                path.failure(&interface.tracking, (round, target), error, now)
            }
        };
        if outcome.is_some() {
            path.note_round(interface, was_usable, now);
        }
    }

    fn look_at_devices(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(net) = self.net.clone().filter(|_| self.dirty.devices) else { return };
        self.dirty.devices = false;
        let mut changed = None;
        for wan in &self.wans {
            let interface = &self.config.interfaces[wan.index];
            for family in interface.families.iter() {
                let key = PathKey { id: wan.id, family };
                let Some(path) = self.paths.get_mut(&key) else { continue };
                let view = self.view.as_deref().filter(|_| interface.device.is_none());
                let ready = if self.taken_down.contains(&wan.name) {
                    Err(Reason::TakenDown)
                } else {
                    match self.refused.get(&key) {
                        Some((error, _)) => Err(Reason::RouteRefused(error.clone())),
                        None => match view {
                            Some(view) => managed_readiness(view, &net, interface, &wan.device, family),
                            None => readiness(&net, interface, &wan.device, family),
                        },
                    }
                };
                let resume = take_resume(&mut self.resume, &wan.name, family);
                if let Some(left) = &resume {
                    path.remember(&left.losses, now);
                }
                let device = |path: &Path| path.ready.as_ref().map(|r| r.device.clone());
                let (was_probing, had) = (path.probing(), device(path));
                let logical = view.and_then(|view| view.serving(&wan.name, family));
                let on_trial = logical.is_some_and(|(_, logical)| logical.on_trial);
                if path.drilled() && (ready.as_ref().ok() != path.ready.as_ref() || on_trial) {
                    path.break_drill(interface, now);
                    changed = Some(family);
                }
                path.set_ready(interface, ready, resume.as_ref(), on_trial, now);
                path.drained = self.drained.contains(&wan.name);
                if was_probing && (!path.probing() || device(path) != had) {
                    effects.push(Effect::StopProbes(key));
                }
            }
        }
        // What no path took over now is of no use later.
        self.resume.clear();
        if let Some(family) = changed {
            self.end_drill(DrillEnd::Changed(family), now, effects);
        }
    }

    fn run_trackers(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let marks = Marks::new(self.config.globals.mask);
        for wan in &self.wans {
            let interface = &self.config.interfaces[wan.index];
            for family in interface.families.iter() {
                let key = PathKey { id: wan.id, family };
                let Some(path) = self.paths.get_mut(&key) else { continue };
                if !path.due(now) {
                    continue;
                }
                path.release(now);
                let was_usable = path.usable();
                if path.timeout(&interface.tracking, now) == Some(Outcome::Bad) {
                    path.note_round(interface, was_usable, now);
                }
                if path.ready.is_none() {
                    continue;
                }
                let Some(plan) = path.tracker.start_round(&interface.tracking, now) else { continue };
                path.follow_round(&interface.tracking);
                effects.push(Effect::Probe(ProbeRequest {
                    path: key,
                    round: plan.round,
                    targets: plan.targets,
                    count: interface.tracking.count,
                    spacing: plan.spacing,
                    timeout: interface.tracking.timeout,
                    device: wan.device.clone(),
                    source: path.ready.as_ref().and_then(|ready| ready.source),
                    mark: marks.of(marks.default_id()),
                    size: interface.tracking.size,
                    ttl: interface.tracking.max_ttl,
                }));
            }
        }
    }

    /// Tells of every path whose state changed, and notes whether the desired state depends on it.
    fn report_changes(&mut self, effects: &mut Vec<Effect>) {
        for (key, path) in &mut self.paths {
            let Some(change) = path.take_change() else { continue };
            self.dirty.any = true;
            self.untold = true;
            self.dirty.interfaces |= change.2;
            let Some(wan) = self.wans.iter().find(|w| w.id == key.id) else { continue };
            if change.0 != change.1 {
                effects.push(Effect::Transition(Transition {
                    interface: wan.name.clone(),
                    device: wan.device.clone(),
                    path: *key,
                    from: change.0,
                    to: change.1,
                    reason: path.reason.clone(),
                }));
            }
        }
    }

    /// What scripts are to be told when the data plane has been removed for good.
    pub fn stopped(&self) -> Vec<HookCall> {
        self.wans.iter().flat_map(|wan| self.told.stopped(&wan.name, &wan.device)).collect()
    }

    /// Tells scripts what became of every interface, and heeds its `flush_conntrack`. Before the network has been seen
    /// nothing became of any.
    fn tell_scripts(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.net.is_none() || !std::mem::take(&mut self.untold) {
            return;
        }
        let (wans, paths) = (&self.wans, &self.paths);
        self.told.retain(|name| wans.iter().any(|w| w.name == name));
        for wan in wans {
            let state = |family| {
                let path = paths.get(&PathKey { id: wan.id, family })?;
                Some((family, path.tracker.state(), path.reason.clone()))
            };
            let states: Vec<_> = Family::ALL.into_iter().filter_map(state).collect();
            let events = self.config.interfaces[wan.index].flush_conntrack;
            for (family, to, _) in &states {
                // What is seen for the first time did not come up: an earlier process may have left it its flows.
                let Some(from) = self.told.state(&wan.name, *family) else { continue };
                let key = PathKey { id: wan.id, family: *family };
                if paths.get(&key).is_some_and(Path::keeps_flows) {
                    continue;
                }
                self.flows.heed(events, key, from, *to, now);
            }
            effects.extend(self.told.tell(&wan.name, &wan.device, &states).into_iter().map(Effect::Hook));
        }
    }

    /// Builds the desired state and, if it is new, works out what it means for existing flows.
    fn decide(&mut self, now: Time, effects: &mut Vec<Effect>) -> Option<Arc<Desired>> {
        let net = self.net.clone().filter(|_| self.dirty.any)?;
        let last = self.desired.clone();
        let mut next = self.wanted(&net, last.as_deref());
        self.dirty = Dirty::default();
        self.note_losses(now);
        if last.as_deref().is_some_and(|last| *last == next) {
            return None;
        }
        next.generation += 1;
        let next = Arc::new(next);
        if let Some(last) = &last {
            self.note_switches(last, &next, now, effects);
        }
        self.desired = Some(next.clone());
        Some(next)
    }

    fn wake_at(&self) -> Option<Time> {
        let trackers = self.paths.values().filter_map(|p| p.tracker.wake_at());
        let holds = self.paths.values().filter_map(|p| p.hold.map(|h| h.until));
        let retries = self.refused.values().map(|(_, retry)| *retry);
        trackers.chain(holds).chain(retries).chain(self.flows_due_at()).chain(self.drill_due_at()).min()
    }
}

/// The interfaces that take part, in the order of their ids, on the devices that the configuration names.
fn enabled_wans(config: &Config, ids: &Ids) -> Vec<Wan> {
    let enabled = config.interfaces.iter().enumerate().filter(|(_, i)| i.enabled && config.globals.enabled);
    let wan = |(index, i): (usize, &Interface)| {
        let id = ids.get(&i.name)?;
        let device = i.device.clone().unwrap_or_else(|| i.name.clone());
        Some(Wan { name: i.name.clone(), id, index, device })
    };
    let mut wans: Vec<Wan> = enabled.filter_map(wan).collect();
    sort_short(&mut wans, |w| w.id);
    wans
}

/// Per policy, which interfaces its members are.
fn policy_members(config: &Config, wans: &[Wan]) -> Vec<PolicyMembers> {
    let ids: BTreeMap<&str, u32> = wans.iter().map(|w| (w.name.as_str(), w.id)).gather();
    let of = |policy: &Policy| {
        let mut members = PolicyMembers::default();
        let mut interfaces: Vec<(u32, String)> = Vec::new();
        for member in &policy.members {
            let id = ids.get(member.interface.as_str()).copied();
            members.ids.push(id);
            let new = id.filter(|id| interfaces.iter().all(|(known, _)| known != id));
            interfaces.extend(new.map(|id| (id, member.interface.clone())));
        }
        PolicyMembers { interfaces: Arc::new(interfaces), ..members }
    };
    config.policies.iter().map(of).collect()
}

/// Per policy, the families in which a rule leads to it.
fn used_policies(config: &Config) -> Vec<Vec<Family>> {
    let mut used: BTreeMap<&str, BTreeSet<Family>> = BTreeMap::new();
    for rule in &config.rules {
        if let Target::Policy(name) = &rule.target {
            used.entry(name).or_default().extend(rule.families.iter());
        }
    }
    let of = |name: &str| used.get(name).into_iter().flatten().copied().collect();
    config.policies.iter().map(|p| of(&p.name)).collect()
}

/// What an earlier process left for this path; used once.
fn take_resume(left: &mut Vec<RememberedPath>, name: &str, family: Family) -> Option<RememberedPath> {
    let at = left.iter().position(|r| r.interface == name && r.family == family)?;
    Some(left.swap_remove(at))
}
