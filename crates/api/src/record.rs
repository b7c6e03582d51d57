//! What `mwan replay` found.

use serde::{Deserialize, Serialize};

/// Schema of [`Replay`].
pub const SCHEMA_REPLAY: &str = "mwan.replay.v1";

wire! {
/// A recording that was decided by again; schema `mwan.replay.v1`. Times are Unix time in milliseconds.
pub struct Replay {
    /// `mwan.replay.v1`.
    pub schema: String,
    /// Version of the mwan that made the recording.
    pub mwan: String,
    /// When it was made.
    pub made_ms: u64,
    /// Why: `asked`, or what had happened.
    pub why: String,
    /// When it begins.
    pub from_ms: u64,
    /// When it ends.
    pub to_ms: u64,
    /// Events in it.
    pub events: u64,
    /// Events that lead to other decisions here than recorded.
    pub differences: u64,
    /// The decisions, as replayed.
    pub decisions: Vec<ReplayDecision>,
    /// The same world under other options (`--set`).
    pub trial: Option<ReplayTrial>,
}

/// A decision.
pub struct ReplayDecision {
    /// When.
    pub time_ms: u64,
    /// What, in words.
    pub text: String,
}

/// What other options would have made of it.
pub struct ReplayTrial {
    /// The options, as `SECTION.OPTION=VALUE`.
    pub set: Vec<String>,
    /// Outages of either run, in the order of time.
    pub outages: Vec<ReplayOutage>,
    /// Switches of policies that were recorded.
    pub switches_recorded: u64,
    /// Switches of policies with these options.
    pub switches: u64,
    /// Times are exact to about so much: half of the longest recorded interval.
    pub accuracy_ms: u64,
    /// Probes of the trial.
    pub probes: u64,
    /// Of these counted as lost, though an answer later than was waited for would have counted.
    pub unknown_late: u64,
    /// Of these answered by a recorded probe that is further away than an interval.
    pub unknown_far: u64,
    /// Of these to a target that was never asked.
    pub unknown: u64,
}

/// An outage in two runs.
pub struct ReplayOutage {
    /// Name of the interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// What is different.
    pub seen: ReplaySeen,
    /// By how much it was seen sooner or later.
    pub by_ms: Option<u64>,
    /// When it was seen, as recorded.
    pub recorded_from_ms: Option<u64>,
    /// When it was over, as recorded.
    pub recorded_to_ms: Option<u64>,
    /// When it is seen with these options.
    pub from_ms: Option<u64>,
    /// When it is over with these options.
    pub to_ms: Option<u64>,
    /// Whether a policy is carried by others for it with these options.
    pub switched: bool,
    /// Why, in words.
    pub reason: String,
}

/// How other options see an outage.
#[derive(Copy, Eq)]
pub enum ReplaySeen {
    /// Sooner.
    Sooner,
    /// Later.
    Later,
    /// At the same time.
    Alike,
    /// Not at all.
    Never,
    /// The path was lost before already, when nothing was wrong with it.
    Already,
    /// Only they do: the recorded configuration rode it out.
    Only,
}
}
