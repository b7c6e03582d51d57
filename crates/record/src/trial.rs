//! The recorded world under other options.
//!
//! The core decides anew, at its own times. What it asks is answered by what was recorded: a probe gets the answer that its target
//! gave to the recorded probe that is nearest in time. So times are exact to half the interval of that time, and what nobody
//! asked nobody knows: such answers are counted ([`Doubts`]), and options of which no answer is known are refused.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Assignment, Config, Interface};
use mwan_core::{Core, Effect, Event, Output, ProbeReport, ProbeRequest, Time};

use crate::decision::{Decided, Decision};
use crate::file::Recording;
use crate::happened::Happened;
use crate::replay::{Answer, Answers, Replayed, Sample, Trouble, in_order};
use crate::source::InForce;

/// Most calls of the core: sixty interfaces, ten times a second, for a day are fifty million.
const STEPS_MAX: u64 = 50_000_000;
/// Most steps for each recorded event, beyond a start: what is longer is no recording but an invention.
const STEPS_PER_EVENT: u64 = 1_000;

/// What became of it.
#[derive(Clone, Debug, Default)]
pub struct Trial {
    /// Every decision.
    pub decisions: Vec<Decided>,
    /// How far it can be relied on.
    pub doubts: Doubts,
}

/// Probes of a trial whose answers are not known for certain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Doubts {
    /// Probes in all.
    pub probes: u64,
    /// Counted as lost, but a later answer than was waited for would have counted.
    pub late: u64,
    /// The nearest recorded probe of the target is further away than the recorded interval.
    pub far: u64,
    /// The target was never asked: counted as lost.
    pub unknown: u64,
}

struct World<'r> {
    core: Core,
    answers: &'r Answers,
    queue: BTreeMap<(Time, u64), Event>,
    sequence: u64,
    wake: Option<Time>,
    steps: u64,
    steps_max: u64,
    found: Trial,
}

/// Tries other options in the world of a recording; `replayed` is its replay.
///
/// # Errors
/// An option that is not there or cannot be tried, or a recording that does not fit together.
pub fn try_out(
    recording: &Recording,
    replayed: &Replayed,
    assignments: &[Assignment],
) -> Result<Trial, Trouble> {
    in_order(recording)?;
    let mut recorded = crate::replay::configs_of(recording);
    let mut other = |number: u32, in_force: InForce| -> Result<Arc<Config>, Trouble> {
        let old = recorded(number, in_force)?;
        let source = recording.configs.get(&number).ok_or(Trouble::NoConfig(number))?;
        let new = source.config(in_force, assignments).map_err(|e| Trouble::Option(e.message, e.hint))?;
        can_be_known(&old, &new)?;
        Ok(Arc::new(new))
    };
    let begin = &recording.begin;
    let old = crate::replay::configs_of(recording)(begin.config, begin.in_force)?;
    let core = Core::restore(begin.core.clone(), old).map_err(Trouble::Core)?;
    let events = recording.events.len() as u64;
    let steps_max = STEPS_MAX.min(1_000_000 + events.saturating_mul(STEPS_PER_EVENT));
    let mut world = World {
        core,
        answers: &replayed.answers,
        queue: BTreeMap::new(),
        sequence: 0,
        wake: None,
        steps: 0,
        steps_max,
        found: Trial::default(),
    };
    let first = other(begin.config, begin.in_force)?;
    world.feed(begin.at, Event::Configure(first))?;
    if let Some(generation) = world.core.desired().map(|desired| desired.generation) {
        world.feed(begin.at, Event::Applied { generation })?;
    }
    for noted in &recording.events {
        // These follow from what is decided now.
        if matches!(
            noted.happened,
            Happened::Tick | Happened::Reply { .. } | Happened::Failed { .. } | Happened::Applied(_)
        ) {
            continue;
        }
        world.run_until(noted.at)?;
        world.feed(noted.at, noted.happened.event(&mut other)?)?;
    }
    if let Some(last) = recording.events.last() {
        world.run_until(last.at)?;
    }
    Ok(world.found)
}

impl World<'_> {
    /// What happens by itself until then.
    fn run_until(&mut self, end: Time) -> Result<(), Trouble> {
        loop {
            let queued = self.queue.first_key_value().map(|((at, _), _)| *at);
            let next = [queued, self.wake].into_iter().flatten().min();
            let Some(at) = next.filter(|at| *at <= end) else { return Ok(()) };
            let event = match queued.filter(|queued| *queued <= at) {
                Some(_) => self.queue.pop_first().map(|(_, event)| event),
                None => None,
            };
            self.feed(at, event.unwrap_or(Event::Tick))?;
        }
    }

    fn feed(&mut self, at: Time, event: Event) -> Result<(), Trouble> {
        let mut next = Some(event);
        while let Some(event) = next.take() {
            self.steps += 1;
            if self.steps > self.steps_max {
                return Err(Trouble::Endless);
            }
            let output = self.core.handle(at, event);
            self.wake = output.wake_at;
            // The kernel does as it is told, at once.
            next = output.desired.as_ref().map(|desired| Event::Applied { generation: desired.generation });
            self.take(at, &output);
        }
        Ok(())
    }

    fn take(&mut self, at: Time, output: &Output) {
        for effect in &output.effects {
            if let Effect::Probe(request) = effect {
                self.answer(at, request);
            }
        }
        let decisions = Decision::of(output);
        self.found.decisions.extend(decisions.into_iter().map(|decision| Decided { at, decision }));
    }

    fn answer(&mut self, at: Time, request: &ProbeRequest) {
        let nothing = Vec::new();
        for (index, target) in request.targets.iter().enumerate() {
            let samples = self.answers.of.get(&(request.path, target.clone())).unwrap_or(&nothing);
            for sequence in 0..request.count {
                self.found.doubts.probes += 1;
                let sent = at + request.spacing * sequence;
                let Some((sample, far)) = nearest(samples, sent) else {
                    self.found.doubts.unknown += 1;
                    continue;
                };
                self.found.doubts.far += u64::from(far);
                let asked = sample.answers.get(&(sequence % sample.count.max(1)));
                let (path, round, target) = (request.path, request.round, index);
                match asked {
                    Some(Answer::Reply(rtt)) if *rtt <= request.timeout => {
                        let rtt = *rtt;
                        self.later(sent + rtt, ProbeReport::Reply { path, round, target, sequence, rtt });
                    }
                    Some(Answer::Reply(_)) => {}
                    Some(Answer::Failed(after, error)) => {
                        let at = sent + (*after).min(request.timeout);
                        let error = error.clone();
                        self.later(at, ProbeReport::Failed { path, round, target, sequence, error });
                    }
                    None => self.found.doubts.late += u64::from(request.timeout > sample.timeout),
                }
            }
        }
    }

    fn later(&mut self, at: Time, report: ProbeReport) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), Event::Probe(report));
    }
}

/// The sample nearest in time, and whether it is further away than samples are from each other there.
fn nearest(samples: &[Sample], at: Time) -> Option<(&Sample, bool)> {
    let behind = samples.partition_point(|sample| sample.at <= at);
    let before = behind.checked_sub(1).and_then(|i| samples.get(i));
    let after = samples.get(behind);
    let distance = |sample: &Sample| at.since(sample.at).max(sample.at.since(at));
    let near = [before, after].into_iter().flatten().min_by_key(|sample| distance(sample))?;
    let step = match (before, after) {
        // Between two: none is further away than half of it; if there was a gap it was no interval.
        (Some(a), Some(b)) => b.at.since(a.at).min(usual_step(samples, behind)),
        _ => usual_step(samples, behind),
    };
    Some((near, distance(near) > step))
}

/// How far samples are from each other around there.
fn usual_step(samples: &[Sample], around: usize) -> Duration {
    const LOOKED_AT: usize = 4;
    let from = around.saturating_sub(LOOKED_AT);
    let some = samples.get(from..samples.len().min(around + LOOKED_AT)).unwrap_or_default();
    let steps = some.iter().zip(some.iter().skip(1)).map(|(a, b)| b.at.since(a.at));
    let mut steps: Vec<Duration> = steps.collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).copied().unwrap_or(Duration::MAX)
}

/// Refuses what would ask something that was not asked.
fn can_be_known(old: &Config, new: &Config) -> Result<(), Trouble> {
    let refuse = |section: &str, what: &str| {
        let message =
            format!("{section}: another {what} cannot be tried: nobody knows what would have been answered");
        let hint = "times, counts of rounds and thresholds can be tried (docs/record.md)".to_owned();
        Err(Trouble::Option(message, hint))
    };
    for interface in &new.interfaces {
        let Some(before) = old.interface(&interface.name) else { continue };
        let asked = |i: &Interface| {
            let t = &i.tracking;
            (t.method.clone(), t.targets.clone(), t.track_gateway, t.size, t.max_ttl)
        };
        let place = |i: &Interface| (i.enabled, i.device.clone(), i.families, i.gateway4, i.gateway6);
        if asked(before) != asked(interface) {
            return refuse(&interface.name, "target, method, size or max_ttl");
        }
        if place(before) != place(interface) {
            return refuse(&interface.name, "device, family or gateway");
        }
        if interface.tracking.count > before.tracking.count {
            return refuse(&interface.name, "count than the recorded one, or less,");
        }
    }
    Ok(())
}
