//! One seeded world: core, compiler and writer in it, and the invariants of ARCHITECTURE after every step.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use mwan_compile::routing::RoutingOp;
use mwan_compile::{Compiler, Ops, Program, check, cleanup, diff, diff_observed};
use mwan_config::{Config, Failback, Family, FlushEvents};
use mwan_core::*;

use crate::kernel::{Kernel, Out, Skb, Step, steps};
use crate::reference::{Key, Reference, S, Verdict};
use crate::rng::Rng;
use crate::setup;
use crate::world::{Line, World};

pub(crate) enum Ev {
    Fault,
    Network,
    Report(ProbeReport),
    Command,
    Reconfigure,
    Drill,
    Kill,
    NewFlow,
    Damage,
    Write,
    Applied(u64),
    Calm,
}

/// An established connection.
#[derive(Clone, Debug)]
struct Flow {
    packet: Packet,
    ct_mark: u32,
    id: Option<u32>,
    /// Where it went when the kernel was last complete.
    normal: Out,
}

/// The writer of the daemon: latest value wins, one apply at a time, look again after a failure.
#[derive(Default)]
struct Writer {
    compiler: Compiler,
    slot: Option<Arc<Desired>>,
    current: Option<(Arc<Desired>, Program)>,
    installed: Option<Program>,
    scheduled: bool,
    /// Generation that the kernel has in full; 0: none, or something was damaged since.
    complete: u64,
    /// Last generation that was complete.
    reported: u64,
}

pub(crate) struct Sim {
    seed: u64,
    verbose: bool,
    rng: Rng,
    pub(crate) now: Time,
    queue: BTreeMap<(Time, u64), (u64, Ev)>,
    sequence: u64,
    /// Number of the process: what one life has scheduled does not reach the next one.
    life: u64,
    /// How many events there have been at this time.
    instant: (Time, u32),
    world: World,
    config: Arc<Config>,
    core: Core,
    wake: Option<Time>,
    reference: Reference,
    kernel: Kernel,
    writer: Writer,
    flows: Vec<Flow>,
    ids: BTreeMap<String, u32>,
    names: BTreeMap<u32, String>,
    /// Paths that came up, and by `flush_conntrack` may lose their flows once for it.
    wished: BTreeSet<PathKey>,
    /// Flows of a drill stay.
    keeps_flows: bool,
    foreign_bits: u32,
    calm: bool,
    jitter: bool,
    trace: Option<DefaultHasher>,
    pub(crate) figures: Figures,
}

/// What was exercised, so that a change cannot quietly make the simulation do nothing.
#[derive(Default, Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) events: u64,
    pub(crate) applies: u64,
    pub(crate) repairs: u64,
    pub(crate) cuts: u64,
    pub(crate) kills: u64,
    pub(crate) packets: u64,
    pub(crate) flushes: u64,
    /// Those of them that only `flush_conntrack` asked for.
    pub(crate) wishes: u64,
    pub(crate) moves: u64,
    pub(crate) holds: u64,
    pub(crate) switches: u64,
    /// Drills that went to their end, and others that had to be broken off.
    pub(crate) drills: u64,
    pub(crate) spoilt: u64,
    /// Packets that went where their source was known.
    pub(crate) kept: u64,
}

/// Every path of six interfaces reporting every probe of a round at once, and some more.
const EVENTS_PER_INSTANT_MAX: u32 = 500;

macro_rules! say {
    ($sim:expr, $($arg:tt)*) => {
        if $sim.verbose {
            println!("{:>12.6} {}", $sim.now.0 as f64 / 1e6, format_args!($($arg)*));
        }
    };
}

impl Sim {
    pub(crate) fn new(seed: u64, verbose: bool, trace: bool) -> Self {
        let mut rng = Rng::new(seed);
        let config = setup::config(&mut rng);
        let world = World::new(&mut rng);
        let foreign_bits = !config.globals.mask & rng.next() as u32;
        let platform = Platform { translate: rng.chance(50) };
        let config = Arc::new(config);
        let core = Core::new(platform, config.clone(), Memory::default());
        let mut sim = Sim {
            seed,
            verbose,
            now: Time::from_ms(1),
            queue: BTreeMap::new(),
            sequence: 0,
            life: 0,
            instant: (Time(0), 0),
            world,
            reference: Reference::new((*config).clone()),
            config,
            core,
            wake: None,
            kernel: Kernel::default(),
            writer: Writer::default(),
            flows: vec![],
            ids: BTreeMap::new(),
            names: BTreeMap::new(),
            wished: BTreeSet::new(),
            keeps_flows: false,
            foreign_bits,
            calm: false,
            jitter: rng.chance(30),
            trace: trace.then(DefaultHasher::new),
            figures: Figures::default(),
            rng,
        };
        sim.learn_ids();
        sim.plan();
        sim
    }

    fn plan(&mut self) {
        let end = self.rng.range(8_000, 40_000);
        self.after(Duration::ZERO, Ev::Network);
        let times = |sim: &mut Sim, from: u64, to: u64, ev: fn() -> Ev| {
            for _ in 0..sim.rng.range(from, to) {
                let at = sim.rng.ms(0, end);
                sim.after(at, ev());
            }
        };
        times(self, 3, 14, || Ev::Fault);
        times(self, 0, 3, || Ev::Command);
        times(self, 0, 3, || Ev::Reconfigure);
        times(self, 0, 6, || Ev::Drill);
        times(self, 0, 2, || Ev::Kill);
        times(self, 4, 12, || Ev::NewFlow);
        times(self, 0, 4, || Ev::Damage);
        self.after(Duration::from_millis(end), Ev::Calm);
    }

    fn after(&mut self, delay: Duration, ev: Ev) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), (self.life, ev));
    }

    /// Runs the world to its end. Returns the hash of everything the core said.
    pub(crate) fn run(&mut self) -> u64 {
        let mut end = None;
        loop {
            let next = self.queue.first_key_value().map(|(k, _)| k.0);
            let wake = self.wake.map(|at| match self.jitter && !self.calm {
                true => at + Duration::from_micros(self.seed % 7 * 900),
                false => at,
            });
            let (at, queued) = match (next, wake) {
                (Some(a), Some(b)) => (a.min(b), a <= b),
                (Some(a), None) => (a, true),
                (None, Some(b)) => (b, false),
                (None, None) => break,
            };
            // What was decided in the last moment still has to be written.
            let over = |end: Time| at > end && (self.settled() || at > end + Duration::from_secs(5));
            if end.is_some_and(over) {
                break;
            }
            self.now = at.max(self.now);
            if !queued {
                self.feed(Event::Tick);
                continue;
            }
            let (_, (life, ev)) = self.queue.pop_first().expect("there is one");
            if matches!(ev, Ev::Calm) {
                end = Some(self.now + self.calm_down());
            } else {
                self.happen(life, ev);
            }
        }
        self.check_end();
        self.trace.as_ref().map_or(0, Hasher::finish)
    }

    fn happen(&mut self, life: u64, ev: Ev) {
        match ev {
            Ev::Fault if !self.calm => {
                let what = self.world.fault(&mut self.rng);
                say!(self, "fault: {what}");
                self.links_changed();
            }
            Ev::Network => {
                self.kernel.main = self.world.view().connected;
                self.feed(Event::Network(Arc::new(self.world.view())));
            }
            Ev::Report(report) if life == self.life => self.feed(Event::Probe(report)),
            Ev::Applied(generation) if life == self.life => self.feed(Event::Applied { generation }),
            Ev::Write if life == self.life => self.write(),
            Ev::Command => self.command(),
            Ev::Drill => self.drill(),
            Ev::Reconfigure => {
                let config = setup::reconfigured(&mut self.rng, &self.config);
                self.configure(config);
            }
            Ev::Kill => self.kill(),
            Ev::NewFlow => self.new_flow(),
            Ev::Damage => self.damage(),
            _ => {}
        }
    }

    fn links_changed(&mut self) {
        self.kernel.up = self.world.up();
        let up = self.kernel.up.clone();
        let before = self.kernel.routes.len();
        self.kernel.routes.retain(|r| up.contains(&r.device));
        if self.kernel.routes.len() < before {
            self.damaged();
        }
        let delay = self.rng.ms(0, 150);
        self.after(delay, Ev::Network);
    }

    fn command(&mut self) {
        let name = self.rng.pick(&self.config.interfaces).name.clone();
        let name = if self.rng.chance(5) { "nobody".to_owned() } else { name };
        let event = match self.rng.below(6) {
            0 | 1 => Event::IfDown(name),
            2 | 3 => Event::IfUp(name),
            4 => Event::Drain(name),
            _ => Event::Undrain(name),
        };
        say!(self, "command: {event:?}");
        self.feed(event);
    }

    fn drill(&mut self) {
        let interface = self.rng.pick(&self.config.interfaces).name.clone();
        let (length, keeps_flows) = (self.rng.ms(1_000, 20_000), self.rng.chance(30));
        let order = DrillOrder { interface, length, keeps_flows };
        let there_is_one = self.core.drill().is_some();
        let refusal = self.core.preview_drill(&order).err();
        assert!(!there_is_one || refusal.is_some(), "two drills");
        say!(self, "drill: {order:?}: {refusal:?}");
        if there_is_one && self.rng.chance(30) {
            return self.feed(Event::EndDrill);
        }
        self.feed(Event::Drill(order));
        if refusal.is_some() {
            assert_eq!(self.core.drill().is_some(), there_is_one);
        } else {
            self.keeps_flows = keeps_flows;
        }
    }

    /// I8: what happens to one section does not touch the state of others.
    fn configure(&mut self, config: Config) {
        say!(self, "configuration: {config:?}");
        // What is due at this moment is no consequence of the reload.
        self.feed(Event::Tick);
        let untouched: Vec<(Key, State)> = self
            .core_paths()
            .into_iter()
            .filter(|(key, _)| {
                // A drill ends by any configuration.
                self.reference.paths[key].real.is_none()
                    && self.config.globals.enabled
                    && config.globals.enabled
                    && config.interface(&key.0).is_some_and(|new| {
                        let old = self.config.interface(&key.0).expect("has a path");
                        (&new.tracking, &new.device, new.families, new.enabled, new.gateway4, new.gateway6)
                            == (
                                &old.tracking,
                                &old.device,
                                old.families,
                                old.enabled,
                                old.gateway4,
                                old.gateway6,
                            )
                    })
            })
            .map(|(key, state)| (key, state.0))
            .collect();
        self.config = Arc::new(config);
        self.feed(Event::Configure(self.config.clone()));
        let now = self.core_paths();
        for (key, state) in untouched {
            let is = now.iter().find(|(k, _)| *k == key).map(|(_, s)| s.0);
            assert_eq!(is, Some(state), "I8: a reload changed the state of {key:?}, which did not change");
        }
    }

    fn core_paths(&self) -> Vec<(Key, (State, u32))> {
        let all = self.reference.paths.keys().filter_map(|key| {
            let status = self.core.path(PathKey { id: *self.ids.get(&key.0)?, family: key.1 })?;
            // A reload is a reason to try a route again that the kernel refused.
            let judged = !matches!(status.reason, Reason::RouteRefused(_));
            judged.then(|| (key.clone(), (status.state, status.tracker.score())))
        });
        all.collect()
    }

    /// `kill -9` and a new process: everything but the kernel and the state file is gone.
    fn kill(&mut self) {
        say!(self, "killed");
        self.figures.kills += 1;
        self.life += 1;
        let platform = Platform { translate: self.rng.chance(50) };
        self.core = Core::new(platform, self.config.clone(), self.core.memory());
        self.reference.restart();
        self.writer = Writer::default();
        self.wake = None;
        self.wished.clear();
        self.learn_ids();
        let delay = self.rng.ms(0, 100);
        self.after(delay, Ev::Network);
        // Somebody may be faster than the network is read.
        if self.rng.chance(20) {
            self.feed(Event::Tick);
        }
    }

    /// I10: an interface keeps its id for ever.
    fn learn_ids(&mut self) {
        for (name, id) in self.core.memory().ids {
            let known = self.ids.insert(name.clone(), id);
            assert!(known.is_none_or(|k| k == id), "I10: {name} had id {known:?}, now {id}");
            let other = self.names.insert(id, name.clone());
            assert!(other.as_ref().is_none_or(|o| *o == name), "I10: id {id} of {other:?} given to {name}");
        }
    }

    pub(crate) fn feed(&mut self, event: Event) {
        self.figures.events += 1;
        self.instant =
            if self.instant.0 == self.now { (self.now, self.instant.1 + 1) } else { (self.now, 0) };
        assert!(self.instant.1 < EVENTS_PER_INSTANT_MAX, "busy loop: time stands still at {:?}", self.now);
        if !matches!(event, Event::Probe(_) | Event::Tick | Event::Network(_)) {
            say!(self, "event: {event:?}");
        }
        self.reference.before(self.now, &event, &self.ids);
        let configured = matches!(event, Event::Configure(_));
        let out = self.core.handle(self.now, event);
        if configured {
            self.learn_ids();
        }
        if let Some(trace) = &mut self.trace {
            format!("{:?} {out:?}", self.now).hash(trace);
        }
        self.reference.after(self.now, &out.effects, &self.names);
        self.check_paths();
        let cut_off = self.reference.cut_off_by_drill();
        assert!(cut_off.is_empty(), "a drill cuts the site off: {cut_off:?}");
        assert!(
            out.wake_at.is_none_or(|at| at > self.now),
            "busy loop: wake_at {:?} at {:?}",
            out.wake_at,
            self.now
        );
        self.wake = out.wake_at;
        if let Some(desired) = out.desired {
            self.check_desired(&desired);
            self.writer.slot = Some(desired);
            self.schedule_write(30);
        }
        for effect in out.effects {
            self.effect(effect);
        }
    }

    fn schedule_write(&mut self, ms_max: u64) {
        if !self.writer.scheduled {
            self.writer.scheduled = true;
            let slow = if self.rng.chance(10) { 2000 } else { ms_max };
            let delay = self.rng.ms(0, slow);
            self.after(delay, Ev::Write);
        }
    }

    fn effect(&mut self, effect: Effect) {
        match effect {
            Effect::Probe(request) => self.probe(&request),
            Effect::FlushPath(key) => self.flush(key),
            Effect::MoveMisplaced(key) => self.move_misplaced(key),
            Effect::StopProbes(_) | Effect::FlushStrays => {}
            Effect::Hook(call) => {
                say!(self, "hook {} {} {:?}", call.action.name(), call.interface, call.scope);
                assert_ne!(call.from, Some(call.to));
                let connected = call.action == mwan_core::Action::Connected;
                assert!(!connected || call.to.usable(), "nothing is called connected that is not");
                if let (true, mwan_core::Scope::Path(family)) = (connected, call.scope) {
                    self.wish(&call.interface, family, |events| events.connected);
                }
            }
            Effect::Transition(t) => {
                say!(self, "{} {}: {:?} -> {:?}: {}", t.interface, t.path.family, t.from, t.to, t.reason);
                assert_ne!(t.from, t.to);
                if t.to == State::Disabled || t.from.usable() && !t.to.usable() {
                    self.wished.remove(&t.path);
                }
                if t.from == State::Disabled {
                    self.wish(&t.interface, t.path.family, |events| events.ifup);
                }
            }
            Effect::Drill(step) => {
                say!(self, "{step:?}");
                match step {
                    DrillStep::Ended(DrillEnd::Complete) => self.figures.drills += 1,
                    DrillStep::Ended(_) => self.figures.spoilt += 1,
                    DrillStep::Begun(_) | DrillStep::Lifted => {}
                }
            }
            Effect::Switched(s) => {
                say!(self, "policy {} {}: {:?} -> {:?}", s.policy, s.family, s.from, s.to);
                self.figures.switches += 1;
            }
        }
    }

    fn probe(&mut self, request: &ProbeRequest) {
        let marks = Marks::new(self.config.globals.mask);
        assert_eq!(request.mark, marks.of(marks.default_id()), "I3: probes carry the default mark");
        for target in 0..request.targets.len() {
            assert_eq!(Family::of(request.targets[target].ip), request.path.family);
            for sequence in 0..request.count {
                let (path, round) = (request.path, request.round);
                let line = self.world.line(&request.device, path.family);
                let rtt = self.rng.ms(3, 60);
                let sent = request.spacing * sequence;
                let lost = match line {
                    Line::Good => false,
                    Line::Dead => true,
                    Line::Lossy(percent) => self.rng.chance(percent),
                    Line::Refused => {
                        let error = "Network is unreachable".to_owned();
                        let report = ProbeReport::Failed { path, round, target, sequence, error };
                        self.after(sent, Ev::Report(report));
                        continue;
                    }
                };
                if !lost && rtt <= request.timeout {
                    let report = ProbeReport::Reply { path, round, target, sequence, rtt };
                    self.after(sent + rtt, Ev::Report(report));
                }
            }
        }
    }

    /// I5: no connection entry is deleted before what replaces it is in the kernel.
    fn check_order(&self, key: PathKey) {
        let wanted = self.core.desired().map_or(0, |d| d.generation);
        // A foreign deletion between the apply and now is repaired by the writer on its own.
        let applied = self.writer.complete == wanted || self.writer.complete == u64::MAX;
        assert!(applied, "I5: flows of {key:?} deleted before generation {wanted} is applied");
    }

    /// What `flush_conntrack` allows for a path that came up.
    fn wish(&mut self, interface: &str, family: Family, named: fn(&FlushEvents) -> bool) {
        let wanted = self.config.interface(interface).is_some_and(|i| named(&i.flush_conntrack));
        self.wished.extend(wanted.then(|| PathKey { id: self.ids[interface], family }));
    }

    /// I11: all flows of a dead path are deleted only if they have somewhere better to go.
    fn flush(&mut self, key: PathKey) {
        self.figures.flushes += 1;
        say!(self, "flush {key:?}");
        self.check_order(key);
        if self.wished.remove(&key) {
            // The owner's word is an exception from I11: whatever is on the path that came up, healthy or not.
            self.figures.wishes += 1;
            self.flows.retain(|f| !on(f, key));
            return;
        }
        let name = self.names[&key.id].clone();
        let path = self.reference.paths.get(&(name.clone(), key.family));
        let kept = self.keeps_flows && path.is_some_and(|p| p.real.is_some());
        assert!(!kept, "flows of {name} {} are deleted, which a drill was to keep", key.family);
        assert!(
            path.is_some_and(|p| !p.state.usable()),
            "I11: flush of {name} {}, which is healthy",
            key.family
        );
        let (gone, kept) = self.flows.drain(..).partition(|f| on(f, key));
        self.flows = kept;
        for flow in &gone {
            if let Verdict::Resort(_, Some(policy)) = self.reference.verdict(&flow.packet, &self.ids) {
                let policy = self.config.policy(&policy).expect("valid");
                let member = policy.members.iter().any(|m| m.interface == name);
                assert!(!member, "I11: {flow:?} deleted although {} has nothing better", policy.name);
            }
        }
    }

    /// I10, I11: a flow is taken from a path only if it would go elsewhere; from a healthy one only if its
    /// owner wants that.
    fn move_misplaced(&mut self, key: PathKey) {
        self.figures.moves += 1;
        say!(self, "move misplaced {key:?}");
        self.check_order(key);
        let name = self.names[&key.id].clone();
        let healthy = self.reference.paths.get(&(name.clone(), key.family)).is_some_and(|p| p.state.usable());
        if healthy {
            let failback = self.config.interface(&name).expect("has a path").failback;
            assert_ne!(failback, Failback::Keep, "I11: flows of healthy {name} are moved");
        }
        let (on_path, mut kept): (Vec<Flow>, Vec<Flow>) = self.flows.drain(..).partition(|f| on(f, key));
        for flow in on_path {
            let seen = Packet { input: None, ..flow.packet.clone() };
            let verdict = self.reference.verdict(&flow.packet, &self.ids);
            if !self.core.misplaced(key, &seen) {
                let links = &self.core.network().expect("seen").links;
                let own = links.values().flat_map(|l| &l.addresses).any(|a| a.ip == flow.packet.destination);
                let certain = !own && self.config.rules.iter().all(|r| r.source_interface.is_none());
                let elsewhere =
                    matches!(&verdict, Verdict::Members(to) if to.iter().all(|(n, _)| *n != name));
                assert!(
                    !(certain && elsewhere),
                    "{flow:?} stays on {name} although it should be on {verdict:?}"
                );
                kept.push(flow);
                continue;
            }
            match verdict {
                Verdict::Members(to) => {
                    assert!(
                        to.iter().all(|(n, _)| *n != name),
                        "I10: {flow:?} taken from {name}, where it belongs"
                    );
                }
                Verdict::Home(to) => {
                    assert_ne!(to, name, "I10: {flow:?} taken from {name}, where it is at home");
                }
                Verdict::Pinned(_) => {}
                other => panic!("I11: {flow:?} taken from {name}, but it can only go to {other:?}"),
            }
        }
        self.flows = kept;
    }

    fn calm_down(&mut self) -> Duration {
        say!(self, "calm");
        self.calm = true;
        self.world.heal();
        self.links_changed();
        let names: Vec<String> = self.config.interfaces.iter().map(|i| i.name.clone()).collect();
        for name in names {
            self.feed(Event::IfUp(name));
        }
        let proof = self.config.interfaces.iter().map(|i| setup::proof_time(&i.tracking));
        // A refused route is tried again after 10 s.
        let proof = proof.max().unwrap_or_default() + Duration::from_secs(18);
        // A drill may have just begun, and its way back has twice the time it takes.
        if self.core.drill().is_some() { proof * 3 + Duration::from_secs(20) } else { proof }
    }
}

fn on(flow: &Flow, key: PathKey) -> bool {
    flow.id == Some(key.id) && Family::of(flow.packet.destination) == key.family
}

/// The writer.
impl Sim {
    fn damaged(&mut self) {
        self.writer.installed = None;
        if self.writer.current.is_some() {
            // What was complete needs a repair, which the core does not hear of.
            self.writer.complete = if self.writer.complete > 0 { u64::MAX } else { 0 };
            self.schedule_write(900);
        }
    }

    fn write(&mut self) {
        self.writer.scheduled = false;
        if let Some(desired) = self.writer.slot.take() {
            let program = self.writer.compiler.compile(&desired);
            let faults = check(&program, desired.marks);
            assert!(faults.is_empty(), "the program has faults: {faults:?}");
            self.writer.current = Some((desired, program));
        }
        let Some((desired, program)) = self.writer.current.clone() else { return };
        let repair = self.writer.installed.is_none();
        let ops = match self.writer.installed.take() {
            Some(installed) => diff(&installed, &program),
            None => {
                self.figures.repairs += 1;
                diff_observed(&self.kernel.observe(), &program)
            }
        };
        let result = self.apply(&ops, repair);
        say!(
            self,
            "apply of generation {} ({} + {} + {}): {result:?}",
            desired.generation,
            ops.add.len(),
            ops.nft.len(),
            ops.remove.len()
        );
        if let Err(refused) = result {
            // The core hears nothing of a repair, complete or not.
            self.writer.complete = if self.writer.reported == desired.generation { u64::MAX } else { 0 };
            self.schedule_write(1000);
            for path in refused {
                self.feed(Event::Refused { path, error: "Network is down".to_owned() });
            }
            return;
        }
        self.figures.applies += 1;
        self.writer.complete = desired.generation;
        self.writer.reported = desired.generation;
        let normal = self.outcomes(&self.kernel);
        self.flows.iter_mut().zip(normal).for_each(|(flow, normal)| flow.normal = normal);
        self.check_applied(&program);
        self.writer.installed = Some(program);
        let late = if self.rng.chance(20) { 1500 } else { 5 };
        let delay = self.rng.ms(0, late);
        self.after(delay, Ev::Applied(desired.generation));
        self.check_traffic(&desired);
    }

    /// I5: at every prefix each flow is where it was before or where it will be. If something was damaged
    /// before, it may also be back on its own path.
    fn apply(&mut self, ops: &Ops, repair: bool) -> Result<(), Vec<PathKey>> {
        let list = steps(ops);
        let cut = (!self.calm && self.rng.chance(12)).then(|| self.rng.below(list.len() as u64 + 1) as usize);
        let mut kernel = self.kernel.clone();
        let mut saved = None;
        let mut complete = cut.is_none();
        let mut refused = vec![];
        let mut outcomes = vec![self.outcomes(&kernel)];
        for (at, step) in list.iter().enumerate() {
            if cut == Some(at) {
                saved = Some(kernel.clone());
            }
            if let Err(error) = kernel.step(step) {
                assert_eq!(error, "ENETDOWN", "the kernel refused an operation of {ops:#?}");
                complete = false;
                if let Step::Routing(RoutingOp::SetRoute(route)) = step {
                    refused.push(PathKey { id: route.table, family: route.family });
                }
            }
            outcomes.push(self.outcomes(&kernel));
        }
        let (before, after) = (outcomes[0].clone(), outcomes[outcomes.len() - 1].clone());
        for (at, now) in outcomes.iter().enumerate() {
            for (flow, out) in now.iter().enumerate() {
                let own = &self.flows[flow];
                let back = matches!(out, Out::Via(route) if repair && own.id == Some(route.table));
                assert!(
                    *out == before[flow] || *out == after[flow] || *out == own.normal || back,
                    "I5: after {at} operations flow {flow} goes by {out:?}, before {:?}, finally {:?}\n{:?}\n{ops:#?}",
                    before[flow],
                    after[flow],
                    self.flows.get(flow),
                );
            }
        }
        if cut.is_some() {
            self.figures.cuts += 1;
        }
        self.kernel = saved.unwrap_or(kernel);
        if cut.is_some() {
            Err(vec![])
        } else if complete {
            Ok(())
        } else {
            Err(refused)
        }
    }

    fn outcomes(&self, kernel: &Kernel) -> Vec<Out> {
        // The compatibility band takes what comes in by a WAN before its mark does: no statement about that.
        let iif = self.config.globals.rule_base.iif_rules;
        let judged = |f: &Flow| !iif || f.packet.input.as_ref().is_none_or(|i| i == setup::LAN);
        let out = |f: &Flow| if judged(f) { kernel.forward(&mut self.established(f)) } else { Out::Main };
        self.flows.iter().map(out).collect()
    }

    fn established(&self, flow: &Flow) -> Skb {
        Skb {
            packet: flow.packet.clone(),
            mark: self.foreign_bits,
            ct_mark: flow.ct_mark,
            new: false,
            bound: None,
            random: 0,
            learned: vec![],
        }
    }

    /// Somebody deletes or adds something.
    fn damage(&mut self) {
        if self.calm {
            return;
        }
        let kind = self.rng.below(10);
        say!(self, "damage {kind}");
        let mut some = |n: usize| self.rng.below(n as u64) as usize;
        let kernel = &mut self.kernel;
        match kind {
            0 => kernel.rules.clear(),
            1 if !kernel.rules.is_empty() => drop(kernel.rules.remove(some(kernel.rules.len()))),
            2 if !kernel.rules.is_empty() => {
                let copy = kernel.rules[some(kernel.rules.len())].clone();
                kernel.rules.push(copy);
                kernel.rules.sort_by_key(|r| r.priority);
            }
            3 if !kernel.routes.is_empty() => drop(kernel.routes.remove(some(kernel.routes.len()))),
            4 if !kernel.routes.is_empty() => {
                let mut copy = kernel.routes[some(kernel.routes.len())].clone();
                copy.gateway = Some(setup::ip("192.0.2.77"));
                kernel.routes.insert(0, copy);
            }
            _ => {
                if let Some(table) = &mut kernel.table {
                    crate::damage::table(&mut self.rng, table);
                    if kind == 5 {
                        kernel.table = None;
                    }
                }
            }
        }
        self.damaged();
    }
}

/// The invariants.
impl Sim {
    /// States, scores, holds and reasons are what the reference says (I9).
    fn check_paths(&mut self) {
        for (key, wanted) in &self.reference.paths {
            let id = self.ids[&key.0];
            let path = self.core.path(PathKey { id, family: key.1 });
            let path = path.unwrap_or_else(|| panic!("no path {key:?}"));
            let state = match path.state {
                State::Online => S::Online,
                State::Disconnecting => S::Disconnecting,
                State::Offline => S::Offline,
                State::Connecting => S::Connecting,
                State::Disabled => S::Disabled,
            };
            assert_eq!(state, wanted.state, "state of {key:?}: {}", path.reason);
            let drilled = wanted.real.is_some();
            assert!(drilled || path.reason.code() != "drill", "I9: {key:?} is in no drill: {}", path.reason);
            if !path.tracker.targets().is_empty() {
                assert_eq!(path.tracker.score(), wanted.score, "score of {key:?}");
            }
            assert_eq!(path.hold.map(|h| h.until), wanted.held_until, "hold of {key:?}");
            self.figures.holds += u64::from(path.hold.is_some());
            check_reason(&path, self.core.network().is_some(), key);
            let tracked = path.ready && !path.tracker.targets().is_empty();
            if tracked {
                let t = self.reference.tracking(key);
                let longest = t.interval.max(t.failure_interval).max(t.recovery_interval).max(t.timeout);
                let silent = self.now.since(wanted.last_round);
                assert!(
                    silent <= longest + Duration::from_millis(20),
                    "{key:?} is not probed for {silent:?}"
                );
            }
        }
    }

    /// I2: every policy is carried by what the reference chose by brute force, and that has a route.
    fn check_desired(&self, desired: &Desired) {
        let names = |c: &Carrier| match c {
            Carrier::Members(shares) => {
                shares.iter().map(|s| (s.interface.clone(), s.weight)).collect::<Vec<_>>()
            }
            Carrier::LastResort(_) => vec![],
        };
        if !self.config.globals.enabled {
            assert!(desired.policies.is_empty() && desired.rules.is_empty() && desired.interfaces.is_empty());
            return;
        }
        for (policy, configured) in desired.policies.iter().zip(&self.config.policies) {
            for family in Family::ALL {
                let carrier = policy.carrier(family);
                let wanted = self.reference.carriers(configured, family);
                assert_eq!(names(carrier), wanted, "I2: carriers of {} {family}", policy.name);
                if wanted.is_empty() {
                    assert_eq!(*carrier, Carrier::LastResort(configured.last_resort), "I2: last resort");
                }
                for (name, _) in wanted {
                    let wan = desired.interfaces.iter().find(|i| i.name == name).expect("I2: enabled");
                    let path = wan.paths.iter().find(|p| p.family == family).expect("I2: has the family");
                    assert!(
                        path.route.is_some(),
                        "I2: {} is carried by {name}, which has no route",
                        policy.name
                    );
                }
            }
        }
    }

    /// I1, I7: what was applied is there, entirely and nothing else, and could be removed without a trace.
    fn check_applied(&mut self, program: &Program) {
        let observed = self.kernel.observe();
        let again = diff_observed(&observed, program);
        assert!(again.is_empty(), "I1: after an apply there is something left to do: {again:#?}");
        assert!(diff(program, program).is_empty(), "I1: a program differs from itself");
        if self.rng.chance(20) {
            let mut fresh = Kernel { up: self.kernel.up.clone(), ..Kernel::default() };
            for step in steps(&diff_observed(&Default::default(), program)) {
                fresh.step(&step).expect("a fresh kernel takes the program");
            }
            let mut table = self.kernel.table.clone();
            table.iter_mut().flat_map(|t| t.sets.values_mut()).for_each(|set| set.known.clear());
            assert_eq!(fresh.table, table, "I1: another way to the same program");
            let mut kernel = self.kernel.clone();
            for step in steps(&cleanup(&observed)) {
                kernel.step(&step).expect("I7: clean-up");
            }
            let nothing = kernel.table.is_none() && kernel.rules.is_empty() && kernel.routes.is_empty();
            assert!(nothing, "I7: clean-up left something");
        }
    }

    fn settled(&self) -> bool {
        self.writer.installed.is_some()
            && self.writer.slot.is_none()
            && self.core.desired().is_some_and(|d| d.generation == self.writer.complete)
    }

    /// The compiled program, `classify` and the reference agree on random packets; foreign mark bits survive.
    fn check_traffic(&mut self, desired: &Arc<Desired>) {
        if !self.settled() {
            return;
        }
        for _ in 0..8 {
            let packet = self.packet();
            self.check_packet(desired, packet);
        }
        let checked: Vec<Flow> = self.flows.clone();
        for flow in checked {
            self.check_flow(desired, &flow);
        }
    }

    fn check_packet(&mut self, desired: &Arc<Desired>, packet: Packet) {
        self.figures.packets += 1;
        let mask = desired.marks.mask();
        let family = Family::of(packet.destination);
        let foreign = self.rng.next() as u32 & !mask;
        let mut skb = Skb {
            packet: packet.clone(),
            mark: self.foreign_bits,
            ct_mark: foreign,
            new: true,
            bound: None,
            random: self.rng.next() as u32,
            learned: vec![],
        };
        let out = self.kernel.forward(&mut skb);
        assert_eq!(skb.mark & !mask, self.foreign_bits, "I3: foreign bits of the packet mark");
        assert_eq!(skb.ct_mark & !mask, foreign, "I3: foreign bits of the connection mark");
        assert_eq!(skb.mark & mask, skb.ct_mark & mask, "packet and connection are marked alike");
        let wanted = self.reference.verdict(&packet, &self.ids);
        let said = classify(desired, &packet, &|_, _| false);
        let id = |name: &String| self.ids[name];
        let context =
            || format!("{packet:?}\nreference {wanted:?}\nclassify {said:?}\nkernel {out:?} {skb:x?}");
        let local = self.kernel.main.iter().any(|n| n.contains(&packet.destination));
        let mark = |i: u32| desired.marks.of(i) == skb.mark & mask;
        match &wanted {
            Verdict::Pinned(name) => {
                assert_eq!(said, Decision::Inbound(id(name)), "{}", context());
                assert!(mark(id(name)), "{}", context());
            }
            Verdict::Home(name) => {
                assert_eq!(said, Decision::Home(id(name)), "{}", context());
                assert!(mark(id(name)), "{}", context());
            }
            Verdict::Main => {
                assert!(matches!(said, Decision::Local | Decision::Unmatched), "{}", context());
                assert_eq!(out, Out::Main, "{}", context());
            }
            Verdict::Resort(resort, _) => {
                let resort_said =
                    matches!(&said, Decision::Rule { carrier: Carrier::LastResort(r), .. } if r == resort);
                assert!(resort_said, "{}", context());
                let expected = match resort {
                    mwan_config::LastResort::Unreachable => Out::Unreachable,
                    mwan_config::LastResort::Blackhole => Out::Blackhole,
                    mwan_config::LastResort::Default => Out::Main,
                };
                assert!(out == expected || local, "{}", context());
            }
            Verdict::Members(list) => {
                let Decision::Rule { carrier: Carrier::Members(shares), .. } = &said else {
                    panic!("{}", context())
                };
                assert!(
                    shares.iter().map(|s| (&s.interface, s.weight)).eq(list.iter().map(|(n, w)| (n, *w)))
                );
                let name = list.iter().map(|(n, _)| n).find(|n| mark(id(n)));
                let name = name.unwrap_or_else(|| panic!("{}", context()));
                let path = &self.reference.paths[&(name.clone(), family)];
                let via = matches!(&out, Out::Via(r) if r.table == id(name)
                    && Some(&r.device) == path.device.as_ref() && r.gateway == path.gateway);
                assert!(via || local, "{}", context());
                let Decision::Rule { rule, .. } = &said else { panic!("{}", context()) };
                match self.config.rules.iter().find(|r| r.name == *rule).is_some_and(|r| r.sticky.is_some()) {
                    true => self.check_sticky(desired, &packet, &skb, list),
                    false => self.check_weights(desired, &packet, list),
                }
            }
        }
    }

    /// A source that is known goes where it is known; whatever the random numbers, all its first packets go alike, even if
    /// none of them is entered before the next one is placed.
    fn check_sticky(&mut self, desired: &Desired, packet: &Packet, first: &Skb, list: &[(String, u32)]) {
        let [(set, key)] = first.learned.as_slice() else { panic!("remembered once: {:?}", first.learned) };
        let table = self.kernel.table.as_ref().expect("settled");
        let (rest, family) = set.rsplit_once('.').expect("sticky.RULE.ID.FAMILY");
        let (rule, _) = rest.rsplit_once('.').expect("sticky.RULE.ID.FAMILY");
        let known: Vec<&(String, u32)> = list
            .iter()
            .filter(|(name, _)| {
                let set = table.sets.get(&format!("{rule}.{}.{family}", self.ids[name]));
                set.is_some_and(|set| set.known.contains(key))
            })
            .collect();
        assert!(known.len() <= 1, "{key:?} is known on {known:?}");
        if let [(name, _)] = known.as_slice() {
            let mask = desired.marks.mask();
            assert_eq!(first.ct_mark & mask, desired.marks.of(self.ids[name]), "{packet:?} keeps {name}");
            self.figures.kept += 1;
        }
        for random in 0..4 {
            let mut skb = Skb { random, learned: vec![], mark: 0, ct_mark: 0, ..first.clone() };
            self.kernel.forward(&mut skb);
            assert_eq!(skb.learned, first.learned, "{packet:?}");
        }
    }

    /// Shares are exact: of all values of the random number each member gets its weight's part.
    fn check_weights(&self, desired: &Desired, packet: &Packet, list: &[(String, u32)]) {
        let sum: u32 = list.iter().map(|(_, w)| w).sum();
        if list.len() < 2 || sum > 40 {
            return;
        }
        let mut counts: BTreeMap<u32, u32> = BTreeMap::new();
        for random in 0..sum {
            let mut skb = Skb { random, ..Skb::first(packet) };
            self.kernel.forward(&mut skb);
            *counts.entry(skb.ct_mark).or_default() += 1;
        }
        for (name, weight) in list {
            let got = counts.get(&desired.marks.of(self.ids[name])).copied().unwrap_or(0);
            assert_eq!(got, *weight, "share of {name} among {list:?}");
        }
    }

    /// I10: an established flow stays on its path as long as that is there.
    fn check_flow(&self, desired: &Desired, flow: &Flow) {
        let mut skb = self.established(flow);
        let out = self.kernel.forward(&mut skb);
        assert_eq!(skb.ct_mark, flow.ct_mark, "an established flow keeps its mark");
        let Some(id) = flow.id else { return };
        if self.config.globals.rule_base.iif_rules && flow.packet.input.as_deref() != Some(setup::LAN) {
            // The compatibility band comes before the marks.
            return;
        }
        let family = Family::of(flow.packet.destination);
        let Some(path) = self.reference.paths.get(&(self.names[&id].clone(), family)) else { return };
        if self.kernel.main.iter().any(|n| n.contains(&flow.packet.destination)) {
            return;
        }
        assert_eq!(skb.mark & desired.marks.mask(), desired.marks.of(id), "I10: {flow:?} lost its mark");
        match &path.device {
            Some(device) => {
                let via = matches!(&out, Out::Via(r) if r.table == id && r.device == *device && r.gateway == path.gateway);
                assert!(via, "I10: {flow:?} leaves by {out:?}");
            }
            None => assert_eq!(out, Out::Unreachable, "{flow:?} leaks"),
        }
    }

    /// A random packet, from small pools so that rules are met.
    fn packet(&mut self) -> Packet {
        let v4 = self.rng.chance(60);
        let pools: [&[&str]; 2] = if v4 {
            [
                &["192.168.1.10", "192.168.1.200", "100.64.0.2"],
                &[
                    "1.1.1.1",
                    "1.1.1.3",
                    "1.1.1.4",
                    "1.2.3.4",
                    "9.9.9.9",
                    "192.168.1.77",
                    "100.64.1.9",
                    "100.64.0.2",
                ],
            ]
        } else {
            [
                &["fd00::10", "fd00::99", "2001:db8::2"],
                &["2606::1", "2606::2", "2a00::1", "fd00::5", "2001:db8:1::7"],
            ]
        };
        let [source, destination] = pools.map(|pool| setup::ip(self.rng.pick::<&str>(pool)));
        let protocol = *self.rng.pick(&[6, 6, 17, 1, 58, 47]);
        let mut port = || [53, 80, 443, 450, 1000, 50000][self.rng.below(6) as usize];
        let has_ports = protocol == 6 || protocol == 17;
        let (source_port, destination_port) = (has_ports.then(&mut port), has_ports.then(&mut port));
        let input = match self.rng.below(10) {
            0..=5 => Some(setup::LAN.to_owned()),
            6 | 7 => None,
            _ => Some((*self.rng.pick(&setup::DEVICES)).to_owned()),
        };
        Packet { source, destination, protocol, source_port, destination_port, input }
    }

    fn new_flow(&mut self) {
        if let Some(table) = self.kernel.table.as_mut().filter(|_| self.rng.chance(5)) {
            // Time has passed.
            table.sets.values_mut().for_each(|set| drop(set.known.pop_first()));
        }
        let packet = self.packet();
        let random = self.rng.next() as u32;
        let mut skb = Skb {
            packet: packet.clone(),
            mark: self.foreign_bits,
            ct_mark: 0,
            new: true,
            bound: None,
            random,
            learned: vec![],
        };
        let out = self.kernel.forward(&mut skb);
        if matches!(out, Out::Unreachable | Out::Blackhole) || self.writer.installed.is_none() {
            return;
        }
        self.kernel.learn(&skb);
        let marks = Marks::new(self.config.globals.mask);
        let id = self.names.keys().copied().find(|id| marks.of(*id) == skb.ct_mark & marks.mask());
        say!(self, "new flow on {id:?}: {packet:?}");
        self.flows.push(Flow { packet, ct_mark: skb.ct_mark, id, normal: out });
    }

    /// S25: when every fault is over everything is online and in the kernel, without any command.
    fn check_end(&mut self) {
        for (key, path) in &self.reference.paths {
            assert!(path.state.usable(), "S25: {key:?} does not recover: {:?}", path.state);
        }
        assert!(self.settled(), "everything is quiet, but the kernel does not have what is wanted");
        let desired = self.core.desired().expect("wanted").clone();
        self.check_traffic(&desired);
    }
}

/// I9: a reason that goes with the state and can be read.
fn check_reason(path: &PathStatus<'_>, seen: bool, key: &Key) {
    use Reason as R;
    let fits = match path.state {
        State::Online => matches!(path.reason, R::NotTracked | R::AssumedOnline | R::Resumed | R::Answering),
        State::Disconnecting => matches!(path.reason, R::Failing { .. } | R::Resumed | R::Drill { .. }),
        State::Offline => {
            let drill = matches!(path.reason, R::Drill { .. });
            drill || matches!(path.reason, R::ProbesLost { .. } | R::NotYetProven | R::Resumed)
        }
        State::Connecting => {
            matches!(path.reason, R::Recovering { .. } | R::Returning | R::Resumed | R::DrillReturn { .. })
        }
        State::Disabled if !seen => matches!(path.reason, R::NotSeen),
        State::Disabled => matches!(
            path.reason,
            R::NoDevice(_)
                | R::DeviceDown(_)
                | R::NoCarrier(_)
                | R::NoAddress(_)
                | R::NoGateway(_)
                | R::NoIpv6
                | R::RouteRefused(_)
                | R::TakenDown
                | R::Stopped
        ),
    };
    assert!(fits, "I9: {key:?} is {:?} because {:?}", path.state, path.reason);
    if let Reason::ProbesLost { bad_rounds, .. } | Reason::Failing { bad_rounds, .. } = path.reason {
        assert!(*bad_rounds > 0, "I9: {key:?} has no number");
    }
}
