//! The same decisions again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::{Config, ProbeTarget};
use mwan_core::{Core, Effect, Event, Output, PathKey, ProbeReport, ProbeRequest, Time, Unfit};

use crate::decision::{Decided, Decision};
use crate::file::Recording;
use crate::happened::Noted;
use crate::source::InForce;

/// Rounds of a path of which reports may still come.
const ROUNDS_OPEN: u64 = 4;

/// What a replay found.
#[derive(Clone, Debug, Default)]
pub struct Replayed {
    /// Every decision, as replayed.
    pub decisions: Vec<Decided>,
    /// Events whose decisions are others than those recorded.
    pub differences: u64,
    /// The first of them.
    pub first: Option<Difference>,
    /// Longest `interval` of the configurations: times of a trial are exact to half of it.
    pub interval: Duration,
    /// What was asked, and answered: the world that a trial asks.
    pub answers: Answers,
}

/// Decisions that are not those recorded.
#[derive(Clone, PartialEq, Debug)]
pub struct Difference {
    /// When.
    pub at: Time,
    /// What was recorded.
    pub recorded: Vec<Decision>,
    /// What was decided now.
    pub replayed: Vec<Decision>,
}

/// Why something cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// The recording names a configuration that it has not.
    NoConfig(u32),
    /// Its configuration cannot be read.
    Config(String),
    /// The core it begins with is none.
    Core(Unfit),
    /// Its events are not in order.
    Order,
    /// An option that cannot be tried: what is wrong, and what to do.
    Option(String, String),
    /// It takes too many steps.
    Endless,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::NoConfig(number) => write!(f, "the recording has no configuration {number}"),
            Trouble::Config(why) => write!(f, "the configuration in the recording cannot be used: {why}"),
            Trouble::Core(unfit) => write!(f, "the recording does not fit its configuration: {unfit}"),
            Trouble::Order => write!(f, "the events of the recording are not in order"),
            Trouble::Option(message, _) => f.write_str(message),
            Trouble::Endless => write!(f, "the recording spans more rounds than can be tried"),
        }
    }
}

impl std::error::Error for Trouble {}

/// What a target said to the probes of one round.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Sample {
    /// When the round began.
    pub(crate) at: Time,
    /// How long answers were waited for.
    pub(crate) timeout: Duration,
    /// Probes asked for.
    pub(crate) count: u32,
    /// By number of the probe: how long after the round began a failure was known, or the round trip.
    pub(crate) answers: BTreeMap<u32, Answer>,
}

/// What became of a probe.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Answer {
    /// It was answered.
    Reply(Duration),
    /// It failed, and this was known so long after the round began.
    Failed(Duration, String),
}

/// Everything that was asked in a recording, and what was answered.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// In the order of time.
    pub(crate) of: BTreeMap<(PathKey, ProbeTarget), Vec<Sample>>,
    open: BTreeMap<(PathKey, u64), Vec<ProbeTarget>>,
}

impl Answers {
    fn asked(&mut self, request: &ProbeRequest, now: Time) {
        for target in &request.targets {
            let sample =
                Sample { at: now, timeout: request.timeout, count: request.count, answers: BTreeMap::new() };
            self.of.entry((request.path, target.clone())).or_default().push(sample);
        }
        self.open.insert((request.path, request.round), request.targets.clone());
        if let Some(old) = request.round.checked_sub(ROUNDS_OPEN) {
            self.open.remove(&(request.path, old));
        }
    }

    fn answered(&mut self, report: &ProbeReport, now: Time) {
        let (ProbeReport::Reply { path, round, target, sequence, .. }
        | ProbeReport::Failed { path, round, target, sequence, .. }) = report;
        let Some(asked) = self.open.get(&(*path, *round)).and_then(|targets| targets.get(*target)) else {
            return;
        };
        let Some(samples) = self.of.get_mut(&(*path, asked.clone())) else { return };
        // Its round is the last one or, rarely, the one before.
        let newer = self.open.range((*path, *round + 1)..=(*path, u64::MAX));
        let newer = newer.filter(|(_, targets)| targets.contains(asked)).count();
        let Some(sample) = samples.len().checked_sub(newer + 1).and_then(|at| samples.get_mut(at)) else {
            return;
        };
        let answer = match report {
            ProbeReport::Reply { rtt, .. } => Answer::Reply(*rtt),
            ProbeReport::Failed { error, .. } => Answer::Failed(now.since(sample.at), error.clone()),
        };
        sample.answers.insert(*sequence, answer);
    }
}

/// The configurations of a recording; each is read once.
pub(crate) fn configs_of(
    recording: &Recording,
) -> impl FnMut(u32, InForce) -> Result<Arc<Config>, Trouble> + use<'_> {
    let mut read: BTreeMap<u32, Config> = BTreeMap::new();
    move |number, in_force| {
        let config = match read.get(&number) {
            Some(config) => config,
            None => {
                let config = recording.configs.get(&number).ok_or(Trouble::NoConfig(number))?;
                let config = config.config(in_force, &[]).map_err(|e| Trouble::Config(e.message))?;
                read.entry(number).or_insert(config)
            }
        };
        let mut config = config.clone();
        in_force.put(&mut config).map_err(|why| Trouble::Config(why.to_owned()))?;
        Ok(Arc::new(config))
    }
}

/// Decides again, by the configurations in the recording.
///
/// # Errors
/// The recording does not fit together.
pub fn replay(recording: &Recording) -> Result<Replayed, Trouble> {
    replay_with(recording, &mut configs_of(recording))
}

/// The same, where `config` knows the configurations by their numbers.
///
/// # Errors
/// Those of `config`, or the recording does not fit together.
pub fn replay_with(
    recording: &Recording,
    config: &mut dyn FnMut(u32, InForce) -> Result<Arc<Config>, Trouble>,
) -> Result<Replayed, Trouble> {
    in_order(recording)?;
    let begin = &recording.begin;
    let first = config(begin.config, begin.in_force)?;
    let mut core = Core::restore(begin.core.clone(), first).map_err(Trouble::Core)?;
    let mut found = Replayed::default();
    found.know(core.config());
    for Noted { at, happened, decisions } in &recording.events {
        let event = happened.event(&mut *config)?;
        if let Event::Probe(report) = &event {
            found.answers.answered(report, *at);
        }
        let configured = matches!(event, Event::Configure(_));
        let output = core.handle(*at, event);
        if configured {
            found.know(core.config());
        }
        found.take(*at, &output, decisions);
    }
    Ok(found)
}

impl Replayed {
    fn know(&mut self, config: &Config) {
        let longest = config.interfaces.iter().map(|i| i.tracking.interval).max();
        self.interval = self.interval.max(longest.unwrap_or_default());
    }

    fn take(&mut self, at: Time, output: &Output, recorded: &[Decision]) {
        for effect in &output.effects {
            if let Effect::Probe(request) = effect {
                self.answers.asked(request, at);
            }
        }
        let replayed = Decision::of(output);
        if replayed != recorded {
            self.differences += 1;
            let recorded = recorded.to_vec();
            self.first.get_or_insert_with(|| Difference { at, recorded, replayed: replayed.clone() });
        }
        self.decisions.extend(replayed.into_iter().map(|decision| Decided { at, decision }));
    }
}

/// Time never runs backwards in a recording that mwan made.
pub(crate) fn in_order(recording: &Recording) -> Result<(), Trouble> {
    let times = recording.events.iter().map(|noted| noted.at);
    let ordered = times.clone().zip(times.skip(1)).all(|(a, b)| a <= b);
    let first = recording.events.first().is_none_or(|noted| recording.begin.at <= noted.at);
    (ordered && first).then_some(()).ok_or(Trouble::Order)
}
