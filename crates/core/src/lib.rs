//! The pure decision core of mwan: events in, desired state and effects out.
//!
//! No socket, no file, no clock, no randomness: the same events give the same decisions on any machine.

mod candidates;
mod classify;
mod desired;
mod engine;
mod explain;
mod fault;
mod hooks;
mod ids;
mod marks;
mod net;
mod path;
mod platform;
mod policy;
mod probe;
mod quality;
mod reason;
mod sources;
mod time;
mod tracker;

pub use candidates::Candidate;
pub use classify::{Criterion, Decision, Entered, Network, Packet, Walk, classify, walk};
pub use desired::*;
#[cfg(feature = "record")]
pub use engine::{Checkpoint, Unfit};
pub use engine::{
    Core, DrillEnd, DrillOrder, DrillPreview, DrillRefusal, DrillStep, Effect, Entry, Event, Fate, Impact,
    Memory, Output, Passage, PathStatus, Placement, Platform, RememberedPath, Switch, Transition,
};
pub use explain::{Choice, Explainer, Explanation, Facts, Lead, MemberPart, Out, Standing, Translated, Way};
pub use fault::{Attribution, Fault, Neighbour};
pub use hooks::{Action, HookCall, Scope, actions};
pub use ids::Ids;
pub use marks::{Marks, Remark};
pub use net::{Address, DefaultRoute, Link, NetView};
pub use platform::{LogicalInterface, PlatformView};
pub use probe::{PathKey, ProbeReport, ProbeRequest};
pub use quality::{Figures, PoorTarget};
pub use reason::{Hold, Reason};
pub use sources::{Home, LocalSource};
pub use time::Time;
pub use tracker::{Outcome, RoundPlan, State, Target, TargetState, Tracker, worst_case_detection};
