//! Events as they are kept: a reply to a probe is some twenty bytes.

use std::sync::Arc;
use std::time::Duration;

use mwan_config::Config;
use mwan_core::{DrillOrder, Event, NetView, PathKey, PlatformView, ProbeReport, Time};
use serde::{Deserialize, Serialize};

use crate::decision::Decision;
use crate::source::InForce;

/// Longest round trip that is taken from a file: more than any timeout.
const RTT_NS_MAX: u64 = 3600 * 1_000_000_000;

/// An event, and what was decided by it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Noted {
    /// When.
    pub at: Time,
    /// What.
    pub happened: Happened,
    /// What the core decided then.
    pub decisions: Vec<Decision>,
}

/// An event ([`Event`]).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Happened {
    /// Nothing but the passing of time.
    Tick,
    /// A probe was answered.
    Reply {
        /// Which path's.
        path: PathKey,
        /// Round.
        round: u64,
        /// Index among the round's targets.
        target: u32,
        /// Which of the target's probes.
        sequence: u32,
        /// Round-trip time, nanoseconds.
        rtt_ns: u64,
    },
    /// A probe is known to have failed.
    Failed {
        /// Which path's.
        path: PathKey,
        /// Round.
        round: u64,
        /// Index among the round's targets.
        target: u32,
        /// Which of the target's probes.
        sequence: u32,
        /// Why.
        error: String,
    },
    /// The kernel's network.
    Network(NetView),
    /// The network manager's interfaces.
    Platform(PlatformView),
    /// Another configuration.
    Configure {
        /// Which.
        config: u32,
        /// What its text does not say.
        in_force: InForce,
    },
    /// The kernel has this generation.
    Applied(u64),
    /// The kernel refused the route of a path.
    Refused(PathKey, String),
    /// `mwan ifup`.
    IfUp(String),
    /// `mwan ifdown`.
    IfDown(String),
    /// `mwan drain`.
    Drain(String),
    /// `mwan undrain`.
    Undrain(String),
    /// The paths of an interface are probed now.
    Hurry(String),
    /// `mwan drill`.
    Drill(DrillOrder),
    /// Its end.
    EndDrill,
}

impl Happened {
    /// An event as it is kept; `config` is the number of the configuration that it names.
    pub(crate) fn of(event: &Event, config: impl FnOnce(&Config) -> (u32, InForce)) -> Self {
        let index = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        match event {
            Event::Tick => Happened::Tick,
            Event::Probe(ProbeReport::Reply { path, round, target, sequence, rtt }) => Happened::Reply {
                path: *path,
                round: *round,
                target: index(*target),
                sequence: *sequence,
                rtt_ns: u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX),
            },
            Event::Probe(ProbeReport::Failed { path, round, target, sequence, error }) => Happened::Failed {
                path: *path,
                round: *round,
                target: index(*target),
                sequence: *sequence,
                error: error.clone(),
            },
            Event::Network(net) => Happened::Network(NetView::clone(net)),
            Event::Platform(view) => Happened::Platform(PlatformView::clone(view)),
            Event::Configure(new) => {
                let (config, in_force) = config(new);
                Happened::Configure { config, in_force }
            }
            Event::Applied { generation } => Happened::Applied(*generation),
            Event::Refused { path, error } => Happened::Refused(*path, error.clone()),
            Event::IfUp(name) => Happened::IfUp(name.clone()),
            Event::IfDown(name) => Happened::IfDown(name.clone()),
            Event::Drain(name) => Happened::Drain(name.clone()),
            Event::Undrain(name) => Happened::Undrain(name.clone()),
            Event::Hurry(name) => Happened::Hurry(name.clone()),
            Event::Drill(order) => Happened::Drill(order.clone()),
            Event::EndDrill => Happened::EndDrill,
        }
    }

    /// The event again; a configuration is found by `config`.
    pub(crate) fn event<E>(
        &self,
        config: impl FnOnce(u32, InForce) -> Result<Arc<Config>, E>,
    ) -> Result<Event, E> {
        Ok(match self.clone() {
            Happened::Tick => Event::Tick,
            Happened::Reply { path, round, target, sequence, rtt_ns } => Event::Probe(ProbeReport::Reply {
                path,
                round,
                target: target as usize,
                sequence,
                rtt: Duration::from_nanos(rtt_ns.min(RTT_NS_MAX)),
            }),
            Happened::Failed { path, round, target, sequence, error } => {
                Event::Probe(ProbeReport::Failed { path, round, target: target as usize, sequence, error })
            }
            Happened::Network(net) => Event::Network(Arc::new(net)),
            Happened::Platform(view) => Event::Platform(Arc::new(view)),
            Happened::Configure { config: number, in_force } => Event::Configure(config(number, in_force)?),
            Happened::Applied(generation) => Event::Applied { generation },
            Happened::Refused(path, error) => Event::Refused { path, error },
            Happened::IfUp(name) => Event::IfUp(name),
            Happened::IfDown(name) => Event::IfDown(name),
            Happened::Drain(name) => Event::Drain(name),
            Happened::Undrain(name) => Event::Undrain(name),
            Happened::Hurry(name) => Event::Hurry(name),
            Happened::Drill(order) => Event::Drill(order),
            Happened::EndDrill => Event::EndDrill,
        })
    }
}
