//! The dumb reference: what should be, in plain code that shares nothing with the engine.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mwan_config::*;
use mwan_core::{DrillEnd, DrillStep, Effect, Event, NetView, Packet, ProbeReport, Time};

/// Name of the interface and family: the reference knows no ids.
pub(crate) type Key = (String, Family);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum S {
    Online,
    Disconnecting,
    Offline,
    Connecting,
    Disabled,
}

impl S {
    pub(crate) fn usable(self) -> bool {
        matches!(self, S::Online | S::Disconnecting)
    }
}

#[derive(Clone, Debug)]
struct Round {
    number: u64,
    /// Only some targets are asked. That proves the path as well as asking all, and never speaks against it.
    turn: bool,
    deadline: Time,
    answers: Vec<u32>,
    failures: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct RefPath {
    pub(crate) state: S,
    pub(crate) score: u32,
    pub(crate) device: Option<String>,
    pub(crate) gateway: Option<IpAddr>,
    targets: Vec<IpAddr>,
    round: Option<Round>,
    losses: Vec<(Time, u32)>,
    /// It has been looked at before.
    seen: bool,
    /// Bad rounds that still count for nothing.
    patience: u32,
    pub(crate) held_until: Option<Time>,
    pub(crate) last_round: Time,
    /// In a drill: what it would be without.
    pub(crate) real: Option<Box<RefPath>>,
    /// And answers do not count.
    dark: bool,
}

pub(crate) struct Reference {
    pub(crate) config: Config,
    pub(crate) paths: BTreeMap<Key, RefPath>,
    pub(crate) taken_down: BTreeSet<String>,
    pub(crate) drained: BTreeSet<String>,
    view: Option<std::sync::Arc<NetView>>,
    /// Paths whose route the kernel refused since the network last changed.
    refused: BTreeMap<Key, Time>,
    /// Number of the last round per path, through removal and return.
    numbers: BTreeMap<Key, u64>,
    /// Paths as an earlier process left them.
    memory: BTreeMap<Key, RefPath>,
}

impl Reference {
    pub(crate) fn new(config: Config) -> Self {
        let mut r = Reference {
            config: Config::default(),
            paths: BTreeMap::new(),
            taken_down: BTreeSet::new(),
            drained: BTreeSet::new(),
            view: None,
            refused: BTreeMap::new(),
            numbers: BTreeMap::new(),
            memory: BTreeMap::new(),
        };
        r.configure(config, Time(0));
        r
    }

    /// The process is killed and started again.
    pub(crate) fn restart(&mut self) {
        let mut memory = std::mem::take(&mut self.memory);
        if self.view.is_some() {
            self.end_drill();
            memory.extend(self.paths.iter().map(|(k, p)| (k.clone(), p.clone())));
        }
        let (taken_down, drained) = (std::mem::take(&mut self.taken_down), std::mem::take(&mut self.drained));
        *self = Reference { taken_down, drained, memory, ..Reference::new(self.config.clone()) };
    }

    pub(crate) fn enabled(&self) -> impl Iterator<Item = &Interface> {
        self.config.interfaces.iter().filter(|i| i.enabled && self.config.globals.enabled)
    }

    /// What is true counts again.
    fn end_drill(&mut self) {
        for path in self.paths.values_mut() {
            if let Some(real) = path.real.take() {
                *path = *real;
            }
        }
    }

    /// Does something to what a path would be without a drill, if there is one.
    fn on_the_real_one(&mut self, key: &Key, what: impl FnOnce(&mut Self)) {
        let path = self.paths.get_mut(key).expect("a path");
        let Some(real) = path.real.take() else { return };
        let pretended = std::mem::replace(path, *real);
        what(self);
        let path = self.paths.get_mut(key).expect("a path");
        let real = std::mem::replace(path, pretended);
        path.real = Some(Box::new(real));
    }

    fn configure(&mut self, config: Config, now: Time) {
        self.end_drill();
        self.config = config;
        self.refused.clear();
        let interfaces: Vec<Interface> = self.enabled().cloned().collect();
        let mut keep = BTreeSet::new();
        for i in &interfaces {
            for family in i.families.iter() {
                let key = (i.name.clone(), family);
                keep.insert(key.clone());
                let fresh = RefPath {
                    state: S::Disabled,
                    score: 0,
                    device: None,
                    gateway: None,
                    targets: vec![],
                    round: None,
                    losses: vec![],
                    seen: false,
                    patience: 0,
                    held_until: None,
                    last_round: now,
                    real: None,
                    dark: false,
                };
                let p = self.paths.entry(key).or_insert(fresh);
                p.last_round = now;
                if p.device.is_some() && !p.targets.is_empty() {
                    if let Some(round) = &mut p.round {
                        round.deadline = round.deadline.min(now + i.tracking.timeout);
                    }
                    p.score = rescaled(p.state, p.score, &i.tracking);
                }
            }
        }
        self.paths.retain(|k, _| keep.contains(k));
        let known = |name: &String| self.config.interfaces.iter().any(|i| i.name == *name);
        self.taken_down.retain(known);
        self.drained.retain(known);
    }

    /// The event as far as it concerns paths, in the order the engine has promised: the event itself, then
    /// devices, then what is due.
    pub(crate) fn before(&mut self, now: Time, event: &Event, ids: &BTreeMap<String, u32>) {
        let mut look = false;
        match event {
            Event::Network(view) => {
                if self.view.as_ref().is_none_or(|v| v.links != view.links || v.defaults != view.defaults) {
                    self.refused.clear();
                }
                self.view = Some(view.clone());
                look = true;
            }
            Event::Configure(config) => {
                self.configure((**config).clone(), now);
                look = true;
            }
            Event::IfUp(name) => look = self.taken_down.remove(name),
            Event::IfDown(name) => {
                if self.config.interfaces.iter().any(|i| i.name == *name) {
                    look = self.taken_down.insert(name.clone());
                }
            }
            Event::Drain(name) => {
                if self.config.interfaces.iter().any(|i| i.name == *name) {
                    self.drained.insert(name.clone());
                }
            }
            Event::Undrain(name) => drop(self.drained.remove(name)),
            Event::Refused { path, .. } => {
                let name = |k: &&Key| ids[&k.0] == path.id && k.1 == path.family;
                let key = self.paths.keys().find(name).cloned();
                self.refused.extend(key.map(|k| (k, Time(now.0 + 10_000_000))));
                look = true;
            }
            Event::Probe(report) => self.report(report, now, ids),
            Event::Platform(_) => unreachable!("these worlds have no network manager"),
            Event::EndDrill => self.end_drill(),
            // It begins when the engine says so: `after`.
            Event::Applied { .. } | Event::Hurry(_) | Event::Drill(_) | Event::Tick => {}
        }
        let refused = self.refused.len();
        self.refused.retain(|_, retry| *retry > now);
        look |= self.refused.len() < refused;
        if look && self.view.is_some() {
            self.look(now);
        }
        let keys: Vec<Key> = self.paths.keys().cloned().collect();
        for key in keys {
            self.on_the_real_one(&key, |r| r.timeout(&key, now));
            let p = self.paths.get_mut(&key).expect("listed");
            if p.held_until.is_some_and(|at| at <= now) {
                p.held_until = None;
            }
            self.timeout(&key, now);
        }
    }

    fn timeout(&mut self, key: &Key, now: Time) {
        if self.paths[key].round.as_ref().is_some_and(|r| r.deadline <= now) {
            self.bad(key, now);
        }
    }

    fn drill(&mut self, step: &DrillStep, names: &BTreeMap<u32, String>) {
        match step {
            DrillStep::Begun(keys) => {
                for key in keys {
                    let path = self.paths.get_mut(&(names[&key.id].clone(), key.family)).expect("a path");
                    (path.real, path.dark) = (Some(Box::new(path.clone())), true);
                }
            }
            DrillStep::Lifted => {
                for path in self.paths.values_mut() {
                    path.dark = false;
                    // It was not even lost.
                    if let Some(real) = path.real.take_if(|_| path.state.usable()) {
                        *path = *real;
                    }
                }
            }
            DrillStep::Ended(DrillEnd::Complete) => {
                for path in self.paths.values_mut() {
                    assert!(path.real.is_none() || path.state.usable(), "a drill is over and it is not back");
                    path.real = None;
                }
            }
            DrillStep::Ended(_) => self.end_drill(),
        }
    }

    /// Rounds the engine started.
    pub(crate) fn after(&mut self, now: Time, effects: &[Effect], names: &BTreeMap<u32, String>) {
        for effect in effects {
            if let Effect::Drill(step) = effect {
                self.drill(step, names);
            }
            let Effect::Probe(request) = effect else { continue };
            let key = (names[&request.path.id].clone(), request.path.family);
            let tracking = self.tracking(&key);
            let last = self.numbers.insert(key.clone(), request.round);
            assert!(last < Some(request.round), "round {} of {key:?} comes again", request.round);
            let p = self.paths.get_mut(&key).expect("probes of a path that is not there");
            let missed = p.round.take();
            assert!(
                missed.as_ref().is_none_or(|r| r.turn),
                "a round begins while another one is not over: {key:?}"
            );
            let asked: Vec<IpAddr> = request.targets.iter().map(|t| t.ip).collect();
            let turn = asked != p.targets;
            if turn {
                assert!(missed.is_none(), "a missed turn is made up for by asking everybody: {key:?}");
                let top = self.config.interface(&key.0).map(|i| i.tracking.down + i.tracking.up);
                assert!(p.state == S::Online && Some(p.score) == top, "{key:?} has some targets asked only");
                assert!(asked.iter().all(|ip| p.targets.contains(ip)), "targets of {key:?}");
                assert!(request.targets.len() >= tracking.reliability as usize, "enough targets of {key:?}");
            }
            assert_eq!(Some(&request.device), p.device.as_ref(), "device of {key:?}");
            p.round = Some(Round {
                number: request.round,
                turn,
                deadline: if turn { Time(u64::MAX) } else { now + tracking.timeout },
                answers: vec![0; request.targets.len()],
                failures: vec![0; request.targets.len()],
            });
            p.last_round = now;
            let round = p.round.clone();
            self.on_the_real_one(&key, |r| {
                let real = r.paths.get_mut(&key).expect("a path");
                (real.round, real.last_round) = (round, now);
            });
        }
    }

    pub(crate) fn tracking(&self, key: &Key) -> Tracking {
        self.config.interface(&key.0).expect("configured").tracking.clone()
    }

    fn report(&mut self, report: &ProbeReport, now: Time, ids: &BTreeMap<String, u32>) {
        let (ProbeReport::Reply { path, .. } | ProbeReport::Failed { path, .. }) = report;
        let Some(key) = self.paths.keys().find(|k| ids[&k.0] == path.id && k.1 == path.family).cloned()
        else {
            return;
        };
        self.on_the_real_one(&key, |r| r.heard(report, &key, now));
        self.heard(report, &key, now);
    }

    fn heard(&mut self, report: &ProbeReport, key: &Key, now: Time) {
        let (ProbeReport::Reply { round, target, .. } | ProbeReport::Failed { round, target, .. }) = report;
        let t = self.tracking(key);
        let p = self.paths.get_mut(key).expect("found");
        if p.real.is_some() && p.dark {
            return;
        }
        let Some(r) = p.round.as_mut().filter(|r| r.number == *round) else { return };
        let failed = matches!(report, ProbeReport::Failed { .. });
        if failed {
            r.failures[*target] += 1;
        } else {
            r.answers[*target] += 1;
        }
        let answered = r.answers.iter().filter(|n| **n > 0).count();
        let hopeless =
            (0..r.answers.len()).filter(|i| r.answers[*i] == 0 && r.failures[*i] >= t.count).count();
        if answered >= t.reliability as usize && !failed {
            p.round = None;
            self.good(key, now);
        } else if failed && !r.turn && r.answers.len() - hopeless < t.reliability as usize {
            self.bad(key, now);
        }
    }

    fn good(&mut self, key: &Key, now: Time) {
        let t = self.tracking(key);
        let p = self.paths.get_mut(key).expect("a path");
        let was = p.state.usable();
        p.round = None;
        p.score += 1;
        p.patience = 0;
        if p.score < t.up {
            p.state = S::Connecting;
        } else {
            p.score = t.down + t.up;
            p.state = S::Online;
        }
        changed(p, was, 2, now);
    }

    fn bad(&mut self, key: &Key, now: Time) {
        let t = self.tracking(key);
        let p = self.paths.get_mut(key).expect("a path");
        let was = p.state.usable();
        p.round = None;
        if p.patience > 1 {
            p.patience -= 1;
            return;
        }
        p.patience = 0;
        p.score = p.score.saturating_sub(1);
        if p.score > t.up {
            p.state = S::Disconnecting;
        } else {
            p.score = 0;
            p.state = S::Offline;
        }
        changed(p, was, 2, now);
    }

    /// Looks at every device.
    fn look(&mut self, now: Time) {
        let view = self.view.clone().expect("seen");
        let interfaces: Vec<Interface> = self.enabled().cloned().collect();
        for i in interfaces {
            for family in i.families.iter() {
                let key = (i.name.clone(), family);
                let device = i.device.clone().unwrap_or_else(|| i.name.clone());
                let down = self.taken_down.contains(&i.name);
                let refused = self.refused.contains_key(&key);
                let offer = if down || refused { None } else { offer(&view, &i, &device, family) };
                let remembered = self.memory.remove(&key);
                let p = self.paths.get_mut(&key).expect("configured");
                let offered = offer.map(|gateway| (device.as_str(), gateway));
                if offered != p.device.as_deref().map(|device| (device, p.gateway))
                    && let Some(real) = p.real.take()
                {
                    *p = *real;
                }
                // What an earlier process left goes on, losses included.
                let was = remembered.as_ref().map_or(p.state, |left| left.state).usable();
                if let Some(left) = &remembered {
                    p.losses.clone_from(&left.losses);
                }
                let same = p.device.as_ref() == Some(&device);
                match offer {
                    None => {
                        p.device = None;
                        p.gateway = None;
                        p.state = S::Disabled;
                        p.score = 0;
                        p.patience = 0;
                        p.round = None;
                    }
                    Some(gateway) => {
                        let own =
                            i.tracking.targets.iter().filter(|t| Family::of(t.ip) == family).map(|t| t.ip);
                        let first = gateway.filter(|_| i.tracking.track_gateway);
                        let targets: Vec<IpAddr> = first.into_iter().chain(own).collect();
                        if !same {
                            p.round = None;
                            p.last_round = now;
                            start(p, &i, &targets, remembered.as_ref().map(|left| (left.state, left.score)));
                        } else if targets != p.targets {
                            p.round = None;
                            p.last_round = now;
                            if targets.is_empty() {
                                p.patience = 0;
                                p.state = S::Online;
                            } else {
                                p.score = rescaled(p.state, p.score, &i.tracking);
                            }
                        }
                        p.targets = targets;
                        p.device = Some(device.clone());
                        p.gateway = gateway;
                    }
                }
                p.seen = true;
                // Losing the link counts twice as much as losing the address; what the owner does not at all.
                let link_is_fine = view.links.get(&device).is_none_or(|l| l.up && l.carrier);
                let weight = match (down, link_is_fine && !refused) {
                    (true, _) => 0,
                    (false, true) => 1,
                    (false, false) => 2,
                };
                changed(p, was, weight, now);
                if let Some(left) = remembered.filter(|_| was && p.state.usable()) {
                    p.held_until = left.held_until.filter(|until| *until > now);
                }
            }
        }
        self.memory.clear();
    }

    /// Who carries a policy: by brute force over metrics. Empty: its last resort.
    pub(crate) fn carriers(&self, policy: &Policy, family: Family) -> Vec<(String, u32)> {
        self.carriers_of(policy, family, &|path| path)
    }

    /// Policies in use that have nothing left, and would have something if no WAN were only made to look dead.
    pub(crate) fn cut_off_by_drill(&self) -> Vec<(&str, Family)> {
        let rules = self.config.rules.iter().filter(|_| self.config.globals.enabled);
        let used = rules.filter_map(|rule| match &rule.target {
            Target::Policy(name) => Some((self.config.policy(name).expect("valid"), rule.families)),
            Target::Direct(_) => None,
        });
        let each = used.flat_map(|(policy, families)| families.iter().map(move |family| (policy, family)));
        let cut = each.filter(|(policy, family)| {
            let truly = self.carriers_of(policy, *family, &|path| path.real.as_deref().unwrap_or(path));
            self.carriers(policy, *family).is_empty() && !truly.is_empty()
        });
        cut.map(|(policy, family)| (policy.name.as_str(), family)).collect()
    }

    fn carriers_of(
        &self,
        policy: &Policy,
        family: Family,
        seen: &dyn Fn(&RefPath) -> &RefPath,
    ) -> Vec<(String, u32)> {
        let up = |name: &String, held_too: bool| {
            let p = self.paths.get(&(name.clone(), family)).map(seen);
            let aside = |p: &RefPath| p.held_until.is_some() || self.drained.contains(name);
            p.is_some_and(|p| p.state.usable() && (held_too || !aside(p)))
        };
        for held_too in [false, true] {
            for metric in 0..=300 {
                let mut tier: Vec<(String, u32)> = vec![];
                for m in policy.members.iter().filter(|m| m.metric == metric && up(&m.interface, held_too)) {
                    match tier.iter_mut().find(|(n, _)| *n == m.interface) {
                        Some((_, weight)) => *weight += m.weight,
                        None => tier.push((m.interface.clone(), m.weight)),
                    }
                }
                if !tier.is_empty() {
                    return tier;
                }
            }
        }
        vec![]
    }

    /// What the first packet of a flow should meet.
    pub(crate) fn verdict(&self, packet: &Packet, ids: &BTreeMap<String, u32>) -> Verdict {
        let view = self.view.as_ref().expect("seen");
        let family = Family::of(packet.destination);
        if let Some(input) = &packet.input {
            let mut wans: Vec<&Interface> = self.enabled().collect();
            wans.sort_by_key(|i| ids[&i.name]);
            let pinned = |i: &&&Interface| i.device.as_ref() == Some(input) && i.families.contains(family);
            if let Some(i) = wans.iter().find(pinned) {
                return Verdict::Pinned(i.name.clone());
            }
        }
        if view.connected.iter().chain(view.custom.iter()).any(|n| n.contains(&packet.destination)) {
            return Verdict::Main;
        }
        if let Some(name) = self.home(packet.source, view) {
            return Verdict::Home(name);
        }
        let rules = self.config.rules.iter().filter(|_| self.config.globals.enabled);
        for rule in rules {
            if !self.rule_matches(rule, packet, family, view) {
                continue;
            }
            return match &rule.target {
                Target::Direct(resort) => Verdict::Resort(*resort, None),
                Target::Policy(name) => {
                    let policy = self.config.policy(name).expect("valid");
                    match self.carriers(policy, family) {
                        list if list.is_empty() => Verdict::Resort(policy.last_resort, Some(name.clone())),
                        list => Verdict::Members(list),
                    }
                }
            };
        }
        Verdict::Main
    }

    /// The usable interface that has this source, with source routing; none if several have it.
    fn home(&self, source: IpAddr, view: &NetView) -> Option<String> {
        if !self.config.globals.source_routing || !self.config.globals.enabled {
            return None;
        }
        let family = Family::of(source);
        let usable = |i: &&Interface| {
            self.paths.get(&(i.name.clone(), family)).is_some_and(|path| path.state.usable())
        };
        let usable: Vec<&Interface> = self.enabled().filter(usable).collect();
        let having = |here: &dyn Fn(&mwan_core::Address) -> bool| -> Vec<String> {
            let has = |i: &&&Interface| {
                let link = i.device.as_ref().and_then(|device| view.links.get(device));
                link.is_some_and(|link| link.addresses.iter().any(here))
            };
            usable.iter().filter(has).map(|i| i.name.clone()).collect()
        };
        let exact = having(&|a| a.ip == source);
        let near = having(&|a| {
            let net = ipnet::IpNet::new(a.ip, a.prefix_len).expect("a network");
            family == Family::V6 && net.contains(&source)
        });
        let found = if exact.is_empty() { near } else { exact };
        if let [only] = found.as_slice() { Some(only.clone()) } else { None }
    }

    fn rule_matches(&self, rule: &Rule, p: &Packet, family: Family, view: &NetView) -> bool {
        if let Some(name) = &rule.source_interface {
            let wan = self.enabled().find(|i| i.name == *name).and_then(|i| i.device.clone());
            let plain = view.links.contains_key(name).then(|| name.clone());
            match wan.or(plain) {
                Some(device) if p.input.as_ref() == Some(&device) => {}
                _ => return false,
            }
        }
        let family_ok = match family {
            Family::V4 => rule.families.v4,
            Family::V6 => rule.families.v6,
        };
        let within = |m: &Option<AddressMatch>, ip: IpAddr| match m {
            None => true,
            Some(m) => {
                let hit =
                    m.ranges.iter().any(|r| number(r.first) <= number(ip) && number(ip) <= number(r.last));
                hit != m.negated
            }
        };
        let port = |ports: &[PortRange], port: Option<u16>| {
            ports.is_empty() || ports.iter().any(|r| port.is_some_and(|x| (r.first..=r.last).contains(&x)))
        };
        family_ok
            && (rule.protocols.is_empty() || rule.protocols.contains(&p.protocol))
            && within(&rule.source, p.source)
            && within(&rule.destination, p.destination)
            && port(&rule.source_ports, p.source_port)
            && port(&rule.destination_ports, p.destination_port)
    }
}

/// What becomes of a new flow.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Verdict {
    /// Its source is at home on this interface.
    Home(String),
    Pinned(String),
    Main,
    /// And the policy that has nothing better, if one is responsible.
    Resort(LastResort, Option<String>),
    Members(Vec<(String, u32)>),
}

/// Family and address as one comparable number.
fn number(ip: IpAddr) -> (u8, u128) {
    match ip {
        IpAddr::V4(ip) => (4, u128::from(u32::from(ip))),
        IpAddr::V6(ip) => (6, u128::from(ip)),
    }
}

fn rescaled(state: S, score: u32, t: &Tracking) -> u32 {
    match state {
        S::Online => t.up + t.down,
        S::Disconnecting => score.max(t.up + 1).min(t.up + t.down),
        S::Connecting => score.min(t.up - 1),
        S::Offline | S::Disabled => 0,
    }
}

fn start(p: &mut RefPath, i: &Interface, targets: &[IpAddr], remembered: Option<(S, u32)>) {
    let t = &i.tracking;
    (p.state, p.score) = match remembered {
        _ if targets.is_empty() => (S::Online, 0),
        Some((state, score)) if state != S::Disabled => (state, rescaled(state, score, t)),
        _ if i.initial_state == InitialState::Online && p.seen => (S::Connecting, t.up - 1),
        _ if i.initial_state == InitialState::Online => (S::Online, t.up + t.down),
        _ => (S::Offline, 0),
    };
    p.patience = if p.state == S::Connecting && p.seen && remembered.is_none_or(|r| r.0 == S::Disabled) {
        t.down
    } else {
        0
    };
}

/// The history of losses and what follows from it.
fn changed(p: &mut RefPath, was: bool, weight: u32, now: Time) {
    if was == p.state.usable() {
        return;
    }
    if p.real.is_some() {
        // It only looks so.
        p.held_until = None;
        return;
    }
    if was {
        p.held_until = None;
        if weight > 0 {
            p.losses.push((now, weight));
        }
        return;
    }
    let recent: u32 = p.losses.iter().filter(|l| now.0 - l.0.0 < 600_000_000).map(|l| l.1).sum::<u32>() / 2;
    if recent >= 2 {
        let seconds = (60 * 2u64.pow((recent - 2).min(10))).min(600);
        p.held_until = Some(Time(now.0 + seconds * 1_000_000));
    }
}

/// What a device offers a family: `None` nothing, else the gateway (none on point-to-point links).
fn offer(view: &NetView, i: &Interface, device: &str, family: Family) -> Option<Option<IpAddr>> {
    let link = view.links.get(device)?;
    let has = |l: &mwan_core::Link| l.addresses.iter().any(|a| a.global && Family::of(a.ip) == family);
    let somewhere = view.links.values().any(has);
    if !link.up || !link.carrier || !(has(link) || family == Family::V6 && somewhere) {
        return None;
    }
    let configured = match family {
        Family::V4 => i.gateway4.map(IpAddr::from),
        Family::V6 => i.gateway6.map(IpAddr::from),
    };
    if configured.is_some() {
        return Some(configured);
    }
    let mut routes: Vec<_> =
        view.defaults.iter().filter(|d| d.family == family && d.device == device).collect();
    routes.sort_by_key(|d| (d.table != 254, d.metric, d.gateway));
    match routes.first() {
        Some(route) => Some(route.gateway),
        None if link.point_to_point => Some(None),
        None => None,
    }
}
