//! The core: events in, desired state and effects out.

mod flows;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mwan_config::{AddressRange, Config, Family, Masquerade, Policy, Target};

use crate::hooks::{HookCall, Told};
use crate::ids::Ids;
use crate::path::{Path, managed_readiness, readiness};
use crate::policy::{Candidate, carrier};
use crate::reason::Reason;
use crate::sources;
use crate::{
    Carrier, Desired, DesiredInterface, DesiredPath, DesiredPolicy, DesiredRule, Home, LocalSource,
    LogicalInterface, Marks, MasqueradePlan, NetView, Outcome, PathKey, PlatformView, ProbeReport,
    ProbeRequest, State, Time,
};

use flows::Flows;
pub use flows::Placement;

/// Highest id of an interface whatever the mask: ids are routing table numbers too, and 253 to 255 are the
/// kernel's own. mwan3's limit.
const MAX_ID: u32 = 250;

/// The kernel's main table.
const TABLE_MAIN: u32 = 254;

/// A refused route is tried again after this long: what made the kernel refuse it (a link that was down for a
/// moment) may be over without leaving a trace in what is seen of the network.
const REFUSED_RETRY: Duration = Duration::from_secs(10);

/// Something that happened.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// The kernel's network looks like this now.
    Network(Arc<NetView>),
    /// The network manager's interfaces look like this now.
    Platform(Arc<PlatformView>),
    /// From the prober.
    Probe(ProbeReport),
    /// A new valid configuration.
    Configure(Arc<Config>),
    /// The writer has brought the kernel to this generation (or a later one that contains it).
    Applied {
        /// `Desired::generation`.
        generation: u64,
    },
    /// The kernel refused the route of a path: it cannot carry, whatever its link says, until the network
    /// changes or some time has passed.
    Refused {
        /// The path.
        path: PathKey,
        /// What the kernel said.
        error: String,
    },
    /// `mwan ifup NAME`.
    IfUp(String),
    /// `mwan ifdown NAME`.
    IfDown(String),
    /// Nothing but the passing of time.
    Tick,
}

/// Something to be done, besides the desired state.
#[derive(Clone, PartialEq, Debug)]
pub enum Effect {
    /// Send probes.
    Probe(ProbeRequest),
    /// This path is not probed any more: close its socket.
    StopProbes(PathKey),
    /// Delete the connection entries of a path, all of them. Only ever asked for after the policy that goes with its
    /// state is in the kernel: of a dead path if every policy that used it has somewhere better to go, of one that
    /// came up if `flush_conntrack` names that.
    FlushPath(PathKey),
    /// Delete those connection entries of a path that would go elsewhere if they were new
    /// ([`Core::misplaced`]): of a healthy one after failback, of a dead or removed one if only some of its
    /// flows have somewhere better to go.
    MoveMisplaced(PathKey),
    /// A path changed its state.
    Transition(Transition),
    /// A policy is carried by others now.
    Switched(Switch),
    /// Scripts are to be told.
    Hook(HookCall),
}

/// A path changed its state.
#[derive(Clone, PartialEq, Debug)]
pub struct Transition {
    /// Name of the interface.
    pub interface: String,
    /// Its device.
    pub device: String,
    /// The path.
    pub path: PathKey,
    /// Before.
    pub from: State,
    /// After.
    pub to: State,
    /// Why.
    pub reason: Reason,
}

/// A policy is carried by others now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Switch {
    /// Name of the policy.
    pub policy: String,
    /// Family.
    pub family: Family,
    /// Before.
    pub from: Carrier,
    /// After.
    pub to: Carrier,
}

/// What an event leads to.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Output {
    /// The new desired state, if it differs from the last one.
    pub desired: Option<Arc<Desired>>,
    /// In this order.
    pub effects: Vec<Effect>,
    /// When the core must be called again at the latest.
    pub wake_at: Option<Time>,
}

/// What survives a restart.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Memory {
    /// Ids ever given.
    pub ids: Vec<(String, u32)>,
    /// State and score of each path, by interface name.
    pub paths: Vec<RememberedPath>,
    /// Interfaces that were taken down by command.
    pub taken_down: BTreeSet<String>,
}

/// A path as the process before this one left it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RememberedPath {
    /// Name of the interface.
    pub interface: String,
    /// Family.
    pub family: Family,
    /// State.
    pub state: State,
    /// Score.
    pub score: u32,
    /// When it was lost lately, and the weight of each loss (I6).
    pub losses: Vec<(Time, u32)>,
    /// It is held back as flapping.
    pub hold: Option<crate::Hold>,
}

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
        let states = memory.paths.iter().map(|p| (p.interface.clone(), p.family, p.state));
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
            Event::Tick => {}
        }
        let refused = self.refused.len();
        self.refused.retain(|_, (_, retry)| *retry > now);
        self.dirty.devices |= self.refused.len() < refused;
        self.look_at_devices(now, &mut effects);
        self.run_trackers(now, &mut effects);
        self.report_changes(&mut effects);
        self.tell_scripts(now, &mut effects);
        let desired = self.decide(now, &mut effects);
        self.settle_flows(now, &mut effects);
        Output { desired, effects, wake_at: self.wake_at() }
    }

    fn configure(&mut self, config: Arc<Config>, now: Time, effects: &mut Vec<Effect>) {
        self.config = config;
        self.refused.clear();
        self.dirty = Dirty { devices: true, interfaces: true, rules: true, any: true };
        let marks = Marks::new(self.config.globals.mask);
        self.ids.assign(&self.config.interfaces, marks.max_interface_id().min(MAX_ID));
        self.taken_down.retain(|name| self.config.interface(name).is_some());
        let devices: BTreeMap<String, String> = self.wans.drain(..).map(|w| (w.name, w.device)).collect();
        self.wans = self
            .config
            .interfaces
            .iter()
            .enumerate()
            .filter(|(_, i)| i.enabled && self.config.globals.enabled)
            .filter_map(|(index, i)| {
                let id = self.ids.get(&i.name)?;
                let device = i.device.clone().unwrap_or_else(|| i.name.clone());
                Some(Wan { name: i.name.clone(), id, index, device })
            })
            .collect();
        self.wans.sort_by_key(|w| w.id);
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
        let devices = self.wans.iter().map(|w| (w.name.clone(), w.device.clone())).collect();
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
                path.tracker.reply(&interface.tracking, round, target, rtt, now)
            }
            ProbeReport::Failed { round, target, error, .. } => {
                path.tracker.failure(&interface.tracking, round, target, error, now)
            }
        };
        if outcome.is_some() {
            path.note_round(interface, was_usable, now);
        }
    }

    fn look_at_devices(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let Some(net) = self.net.clone().filter(|_| self.dirty.devices) else { return };
        self.dirty.devices = false;
        for wan in &self.wans {
            let interface = &self.config.interfaces[wan.index];
            for family in interface.families.iter() {
                let key = PathKey { id: wan.id, family };
                let Some(path) = self.paths.get_mut(&key) else { continue };
                let ready = if self.taken_down.contains(&wan.name) {
                    Err(Reason::TakenDown)
                } else {
                    match self.refused.get(&key) {
                        Some((error, _)) => Err(Reason::RouteRefused(error.clone())),
                        None => match self.view.as_deref().filter(|_| interface.device.is_none()) {
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
                path.set_ready(interface, ready, resume.as_ref(), now);
                if was_probing && (!path.probing() || device(path) != had) {
                    effects.push(Effect::StopProbes(key));
                }
            }
        }
        // What no path took over now is of no use later.
        self.resume.clear();
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
                if path.tracker.timeout(&interface.tracking, now) == Some(Outcome::Bad) {
                    path.note_round(interface, was_usable, now);
                }
                let Some(ready) = &path.ready else { continue };
                let Some(plan) = path.tracker.start_round(&interface.tracking, now) else { continue };
                effects.push(Effect::Probe(ProbeRequest {
                    path: key,
                    round: plan.round,
                    targets: plan.targets,
                    count: interface.tracking.count,
                    spacing: plan.spacing,
                    timeout: interface.tracking.timeout,
                    device: wan.device.clone(),
                    source: ready.source,
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
                self.flows.heed(events, PathKey { id: wan.id, family: *family }, from, *to, now);
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

    /// Everything that should be in the kernel now, sharing with `last` what did not change.
    fn wanted(&self, net: &NetView, last: Option<&Desired>) -> Desired {
        let globals = &self.config.globals;
        let masquerade = match globals.masquerade {
            _ if !globals.enabled => MasqueradePlan::Off,
            Masquerade::On => MasqueradePlan::Everything,
            Masquerade::Auto if self.platform.translate => MasqueradePlan::Auto,
            Masquerade::Auto | Masquerade::Off => MasqueradePlan::Off,
        };
        let interfaces = match last.filter(|_| !self.dirty.interfaces) {
            Some(last) => last.interfaces.clone(),
            None => {
                let interfaces = self.wans.iter().map(|wan| self.desired_interface(net, wan)).collect();
                shared(interfaces, last.map(|l| &l.interfaces))
            }
        };
        let homes = globals
            .source_routing
            .then(|| shared(self.homes(&interfaces), last.and_then(|l| l.homes.as_ref())));
        Desired {
            generation: last.map_or(0, |l| l.generation),
            marks: Marks::new(globals.mask),
            rule_base: globals.rule_base,
            interfaces,
            policies: shared(self.desired_policies(), last.map(|l| &l.policies)),
            rules: match last.filter(|_| !self.dirty.rules) {
                Some(last) => last.rules.clone(),
                None => shared(self.desired_rules(net), last.map(|l| &l.rules)),
            },
            sets: kept(&self.config.sets, last.map(|l| &l.sets)),
            connected: kept(&net.connected, last.map(|l| &l.connected)),
            custom: kept(&net.custom, last.map(|l| &l.custom)),
            homes: homes.filter(|_| globals.enabled),
            local_source: self.local_sources(net),
            masquerade,
        }
    }

    /// The policies and what carries them. `enabled 0` in the globals: none, or they would lead all
    /// traffic to their last resort.
    fn desired_policies(&self) -> Vec<DesiredPolicy> {
        let candidate = |id, family| {
            let path = self.paths.get(&PathKey { id, family })?;
            Some(Candidate { id, usable: path.usable(), preferred: path.preferred() })
        };
        let policies = self.config.policies.iter().filter(|_| self.config.globals.enabled);
        policies
            .zip(&self.members)
            .map(|(policy, members)| {
                let of = |family| carrier(policy, |at| candidate((*members.ids.get(at)?)?, family));
                DesiredPolicy {
                    name: policy.name.clone(),
                    members: members.interfaces.clone(),
                    v4: of(Family::V4),
                    v6: of(Family::V6),
                }
            })
            .collect()
    }

    fn desired_interface(&self, net: &NetView, wan: &Wan) -> DesiredInterface {
        let interface = &self.config.interfaces[wan.index];
        let addresses = |family| {
            let link = net.links.get(&wan.device);
            let all = link.map(|l| l.addresses.as_slice()).unwrap_or_default();
            let own = all.iter().filter(|a| Family::of(a.ip) == family && a.global);
            own.filter_map(|a| ipnet::IpNet::new(a.ip, a.prefix_len).ok()).collect()
        };
        let paths = interface
            .families
            .iter()
            .map(|family| DesiredPath {
                family,
                route: self.next_hop(PathKey { id: wan.id, family }),
                addresses: addresses(family),
                routed: self.routed(wan, family),
            })
            .collect();
        DesiredInterface { id: wan.id, name: wan.name.clone(), device: wan.device.clone(), paths }
    }

    /// What is routed to us by an interface: as the configuration says, and prefixes that were delegated by it.
    fn routed(&self, wan: &Wan, family: Family) -> Vec<AddressRange> {
        let configured = self.config.interfaces[wan.index].routed_networks.iter().copied();
        let manager = self.view.as_ref().and_then(|view| view.serving(&wan.name, family));
        let delegated = manager.iter().flat_map(|(_, logical)| &logical.prefixes);
        let delegated = delegated.map(|net| AddressRange { first: net.network(), last: net.broadcast() });
        let mut all: Vec<_> =
            configured.chain(delegated).filter(|range| Family::of(range.first) == family).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// Sources at home on a usable WAN: its addresses, what is routed by it, and IPv6 networks on its link (a LAN may share
    /// them by a neighbour discovery proxy, RFC 4389). Those of one that is not usable go where the rules say.
    fn homes(&self, interfaces: &[DesiredInterface]) -> Vec<Home> {
        let of = |family: Family| {
            let mut homes = Vec::new();
            for interface in interfaces {
                let id = interface.id;
                let usable = self.paths.get(&PathKey { id, family }).is_some_and(Path::usable);
                for path in interface.paths.iter().filter(|path| usable && path.family == family) {
                    let hosts = path.addresses.iter().map(|net| IpNet::from(net.addr()));
                    let links = path.addresses.iter().filter(|_| family == Family::V6).copied();
                    let nets = hosts.chain(links);
                    let ranges = nets.map(|net| AddressRange { first: net.network(), last: net.broadcast() });
                    homes.extend(ranges.chain(path.routed.iter().copied()).map(|range| Home { range, id }));
                }
            }
            sources::disjoint(&homes)
        };
        Family::ALL.into_iter().flat_map(of).collect()
    }

    /// The addresses that stand for the router's own. An interface without one of a family (or that is not there) leaves
    /// that family as it is.
    fn local_sources(&self, net: &NetView) -> Vec<LocalSource> {
        let globals = &self.config.globals;
        let name = globals.local_source.as_ref().filter(|_| globals.enabled);
        let device = name.and_then(|name| self.device_of(net, name));
        let link = device.and_then(|device| net.links.get(&device));
        let of = |family| {
            let address = link?.source(family)?;
            let main = net.defaults.iter().filter(|d| d.family == family && d.table == TABLE_MAIN);
            let first = main.min_by_key(|d| d.metric).map(|d| d.device.as_str());
            let unbound = self.wans.iter().find(|wan| Some(wan.device.as_str()) == first).map(|wan| wan.id);
            Some(LocalSource { address, unbound })
        };
        Family::ALL.into_iter().filter_map(of).collect()
    }

    /// The kernel device of a logical interface, also of one that is no WAN.
    fn device_of(&self, net: &NetView, name: &str) -> Option<String> {
        let wan = self.wans.iter().find(|w| w.name == name).map(|w| w.device.clone());
        let managed = || self.view.as_ref()?.interfaces.get(name)?.device.clone();
        wan.or_else(managed).or_else(|| net.links.contains_key(name).then(|| name.to_owned()))
    }

    fn next_hop(&self, key: PathKey) -> Option<crate::NextHop> {
        self.paths.get(&key)?.ready.as_ref().map(|r| r.next_hop)
    }

    /// Rules whose names can be resolved now; the others wait (mwan3 does the same).
    fn desired_rules(&self, net: &NetView) -> Vec<DesiredRule> {
        let globals = &self.config.globals;
        self.config
            .rules
            .iter()
            .filter(|_| globals.enabled)
            .filter_map(|rule| {
                let source_device = match &rule.source_interface {
                    None => None,
                    Some(name) => Some(self.device_of(net, name)?),
                };
                let log = (rule.logging && globals.logging).then_some(globals.loglevel);
                Some(DesiredRule { rule: rule.clone(), source_device, log })
            })
            .collect()
    }

    fn wake_at(&self) -> Option<Time> {
        let trackers = self.paths.values().filter_map(|p| p.tracker.wake_at());
        let holds = self.paths.values().filter_map(|p| p.hold.map(|h| h.until));
        let retries = self.refused.values().map(|(_, retry)| *retry);
        trackers.chain(holds).chain(retries).chain(self.flows_due_at()).min()
    }

    /// What must survive a restart.
    pub fn memory(&self) -> Memory {
        Memory {
            ids: self.ids.iter().map(|(name, id)| (name.to_owned(), id)).collect(),
            paths: self
                .wans
                .iter()
                .flat_map(|wan| self.paths.values().filter(|p| p.key.id == wan.id).map(move |p| (wan, p)))
                .map(|(wan, p)| RememberedPath {
                    interface: wan.name.clone(),
                    family: p.key.family,
                    state: p.tracker.state(),
                    score: p.tracker.score(),
                    losses: p.losses().to_vec(),
                    hold: p.hold,
                })
                // A process that ends before it has seen the network passes on what it was given.
                .filter(|_| self.net.is_some())
                .chain(self.resume.iter().cloned())
                .collect(),
            taken_down: self.taken_down.clone(),
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

    /// Everything there is to say about a path.
    pub fn path(&self, key: PathKey) -> Option<PathStatus<'_>> {
        let path = self.paths.get(&key)?;
        Some(PathStatus {
            state: path.tracker.state(),
            reason: &path.reason,
            since: path.since,
            ready: path.ready.is_some(),
            ready_since: path.ready_since,
            hold: path.hold,
            tracker: &path.tracker,
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
    /// It is held back as flapping.
    pub hold: Option<crate::Hold>,
    /// Score, rounds and targets.
    pub tracker: &'a crate::Tracker,
    /// Source address of probes.
    pub source: Option<std::net::IpAddr>,
    /// Where its routing table points.
    pub next_hop: Option<crate::NextHop>,
}

/// `new`, or the old value's pointer if it is equal.
fn shared<T: PartialEq>(new: T, old: Option<&Arc<T>>) -> Arc<T> {
    kept(&Arc::new(new), old)
}

/// `new`, or the old value's pointer if it is equal.
fn kept<T: PartialEq>(new: &Arc<T>, old: Option<&Arc<T>>) -> Arc<T> {
    match old {
        Some(old) if Arc::ptr_eq(old, new) || old == new => old.clone(),
        _ => new.clone(),
    }
}

/// Per policy, which interfaces its members are.
fn policy_members(config: &Config, wans: &[Wan]) -> Vec<PolicyMembers> {
    let ids: BTreeMap<&str, u32> = wans.iter().map(|w| (w.name.as_str(), w.id)).collect();
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
