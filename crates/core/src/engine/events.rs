//! What goes into the core, what comes out of it, and what survives it.

use std::collections::BTreeSet;
use std::sync::Arc;

use mwan_config::{Config, Family};

use super::drill::{DrillOrder, DrillStep};
use crate::hooks::HookCall;
use crate::reason::Reason;
use crate::{Carrier, Desired, NetView, PathKey, PlatformView, ProbeReport, ProbeRequest, State, Time};

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
    /// `mwan drain NAME`: no new flows while anything else can carry them; those it has stay.
    Drain(String),
    /// `mwan undrain NAME`.
    Undrain(String),
    /// `mwan drill NAME`: its paths look dead for a while ([`crate::Core::preview_drill`] says whether they may).
    Drill(DrillOrder),
    /// The end of it, at once.
    EndDrill,
    /// The paths of an interface are probed now, whenever it would be their turn.
    Hurry(String),
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
    /// ([`crate::Core::misplaced`]): of a healthy one after failback, of a dead or removed one if only some of its
    /// flows have somewhere better to go.
    MoveMisplaced(PathKey),
    /// Empty the sets of sticky rules that are to be empty once more: packets that crossed a switch may have entered
    /// their source for a member that does not carry any more.
    FlushStrays,
    /// A path changed its state.
    Transition(Transition),
    /// A policy is carried by others now.
    Switched(Switch),
    /// How the drill goes. What it leads to is told by itself.
    Drill(DrillStep),
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
    /// Whether a rule leads to it in this family: else nothing went anywhere.
    pub used: bool,
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
    /// Interfaces that are drained by command.
    pub drained: BTreeSet<String>,
}

/// A path as the process before this one left it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
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
    /// What scripts were told it is, if that was pretended: a drill.
    pub pretended: Option<State>,
}
