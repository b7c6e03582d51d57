//! A seeded world of faults around a core whose events are recorded as the daemon does.
#![allow(clippy::unwrap_used, dead_code)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::rng::Rng;
use crate::setup;
use crate::world::{Line, World};
use mwan_config::Config;
use mwan_core::*;
use mwan_record::*;

/// A core, the world it is in, and its recorder.
pub(crate) struct Sim {
    pub(crate) rng: Rng,
    pub(crate) now: Time,
    world: World,
    core: Core,
    wake: Option<Time>,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    pub(crate) ring: Ring,
    /// Configurations in the order in which the ring was told of them; a recording has their place as their name.
    pub(crate) configs: Vec<Arc<Config>>,
    /// Everything that was decided.
    pub(crate) decisions: Vec<Decided>,
}

pub(crate) fn named(index: usize) -> RecordedConfig {
    let source = Source::File("#".repeat(100));
    RecordedConfig { name: index.to_string(), source, tables: BTreeMap::new() }
}

impl Sim {
    pub(crate) fn new(seed: u64, bytes_max: usize) -> Self {
        let mut rng = Rng::new(seed);
        let config = Arc::new(setup::config(&mut rng));
        let world = World::new(&mut rng);
        let core = Core::new(Platform { translate: rng.chance(50) }, config.clone(), Memory::default());
        let now = Time::from_ms(1);
        let ring = Ring::new(bytes_max, Arc::new(named(0)), &core, now);
        let mut sim = Sim {
            rng,
            now,
            world,
            core,
            wake: None,
            queue: BTreeMap::new(),
            sequence: 0,
            ring,
            configs: vec![config],
            decisions: Vec::new(),
        };
        sim.feed(Event::Network(Arc::new(sim.world.view())));
        sim
    }

    fn later(&mut self, delay: Duration, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + delay, self.sequence), event);
    }

    pub(crate) fn feed(&mut self, event: Event) {
        self.ring.event(self.now, &event);
        let output = self.core.handle(self.now, event);
        self.ring.decided(&output, &self.core);
        self.wake = output.wake_at;
        if let Some(desired) = &output.desired {
            let (delay, generation) = (self.rng.ms(0, 30), desired.generation);
            self.later(delay, Event::Applied { generation });
        }
        for effect in &output.effects {
            if let Effect::Probe(request) = effect {
                self.probe(request);
            }
        }
    }

    fn probe(&mut self, request: &ProbeRequest) {
        for target in 0..request.targets.len() {
            for sequence in 0..request.count {
                let (path, round) = (request.path, request.round);
                let rtt = self.rng.ms(3, 60);
                let sent = request.spacing * sequence;
                let lost = match self.world.line(&request.device, path.family) {
                    Line::Good => false,
                    Line::Dead => true,
                    Line::Lossy(percent) => self.rng.chance(percent),
                    Line::Refused => {
                        let error = "Network is unreachable".to_owned();
                        self.later(
                            sent,
                            Event::Probe(ProbeReport::Failed { path, round, target, sequence, error }),
                        );
                        continue;
                    }
                };
                if !lost {
                    self.later(
                        sent + rtt,
                        Event::Probe(ProbeReport::Reply { path, round, target, sequence, rtt }),
                    );
                }
            }
        }
    }

    /// One thing that happens out of the blue.
    fn happen(&mut self) {
        let config = self.configs[self.configs.len() - 1].clone();
        let name = self.rng.pick(&config.interfaces).name.clone();
        let event = match self.rng.below(16) {
            0 => Event::IfDown(name),
            1 => Event::IfUp(name),
            2 => Event::Drain(name),
            3 => Event::Undrain(name),
            4 => Event::Hurry(name),
            5 => {
                let config = Arc::new(setup::reconfigured(&mut self.rng, &config));
                self.ring.announce(Arc::new(named(self.configs.len())));
                self.configs.push(config.clone());
                Event::Configure(config)
            }
            6 => {
                let family = *self.rng.pick(&mwan_config::Family::ALL);
                let path = PathKey { id: self.rng.range(1, 4) as u32, family };
                Event::Refused { path, error: "Invalid argument".to_owned() }
            }
            7 => {
                let device = self.rng.pick(&setup::DEVICES).to_string();
                let up = self.rng.chance(70);
                let logical = LogicalInterface { up, device: Some(device), ..Default::default() };
                Event::Platform(Arc::new(PlatformView { interfaces: [(name, logical)].into() }))
            }
            8 => {
                let (length, keeps_flows) = (self.rng.ms(1_000, 8_000), self.rng.chance(30));
                Event::Drill(DrillOrder { interface: name, length, keeps_flows })
            }
            9 if self.rng.chance(30) => Event::EndDrill,
            _ => {
                self.world.fault(&mut self.rng);
                Event::Network(Arc::new(self.world.view()))
            }
        };
        self.feed(event);
    }

    /// Goes on for so long, with something happening now and then.
    pub(crate) fn run(&mut self, length: Duration) {
        let end = self.now + length;
        let mut fault = self.now + self.rng.ms(0, 3_000);
        loop {
            let queued = self.queue.first_key_value().map(|(key, _)| key.0);
            let at = [queued, self.wake, Some(fault)].into_iter().flatten().min().unwrap();
            if at > end {
                self.now = end;
                return;
            }
            self.now = at.max(self.now);
            if at == fault {
                fault = self.now + self.rng.ms(1, 4_000);
                self.happen();
            } else if queued == Some(at) {
                let (_, event) = self.queue.pop_first().unwrap();
                self.feed(event);
            } else {
                self.feed(Event::Tick);
            }
        }
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        written(&self.ring.snapshot().unwrap(), self.now)
    }

    /// The replay of a recording of this world.
    pub(crate) fn replay(&self, recording: &Recording) -> Replayed {
        let mut config = |number: u32, in_force: InForce| {
            let index: usize = recording.configs[&number].name.parse().unwrap();
            let mut config = Config::clone(&self.configs[index]);
            in_force.put(&mut config).unwrap();
            Ok(Arc::new(config))
        };
        replay_with(recording, &mut config).unwrap()
    }
}

pub(crate) fn written(snapshot: &Snapshot, now: Time) -> Vec<u8> {
    let mut file = Vec::new();
    snapshot.write(&Made::new("0.0.0", now, 1_700_000_000_000, "asked"), &mut file).unwrap();
    file
}
