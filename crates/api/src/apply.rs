//! Applying with a way back: orders, what becomes of them, the configurations that were, and what a change does to traffic.

use serde::{Deserialize, Serialize};

use crate::ConfigPut;

/// Schema of [`Revisions`].
pub const SCHEMA_REVISIONS: &str = "mwan.revisions.v1";

/// Longest time for a confirmation, seconds: a day.
pub const CONFIRM_MAX_S: u32 = 86_400;

/// Most targets of one order.
pub const MUST_REACH_MAX: usize = 8;

wire! {
/// Another configuration, and under which conditions it stays.
pub struct ApplyOrder {
    /// What is to be in force.
    pub content: Content,
    /// The revision it was made from: with another one in the file nothing is done, and the answer is `conflict`. Absent: whichever
    /// there is.
    #[serde(default)]
    pub revision: Option<String>,
    /// Only say what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Seconds for `confirm`; then the configuration before comes back. Absent: it stays.
    #[serde(default)]
    pub confirm_s: Option<u32>,
    /// What the router itself has to reach with it (`ADDRESS`, `ADDRESS:PORT/tcp`); else the configuration before comes back at
    /// once.
    #[serde(default)]
    pub must_reach: Vec<String>,
    /// Whose order it is: the daemon asks the socket.
    #[serde(default)]
    pub by: Option<String>,
}

/// A configuration.
#[serde(tag = "from")]
pub enum Content {
    /// This text.
    Text {
        /// Name of its file, which tells the format; empty: that of the daemon's.
        #[serde(default)]
        file: String,
        /// The text.
        text: String,
    },
    /// One that was in force.
    Revision {
        /// Its number; absent: the newest that is another than the present one and was not taken back.
        #[serde(default)]
        number: Option<u64>,
    },
}

/// What became of an [`ApplyOrder`] that nothing was against.
pub struct Applied {
    /// The configuration file.
    pub file: String,
    /// What was written.
    pub put: ConfigPut,
    /// It has to be confirmed within so many seconds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub confirm_s: Option<u32>,
    /// What was tried to be reached.
    #[serde(default)]
    pub reached: Vec<Reached>,
    /// Why the configuration before is in force again, if it is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taken_back: Option<String>,
    /// What else there is to know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// One target of `must_reach`.
pub struct Reached {
    /// As it was given.
    pub target: String,
    /// Microseconds until it answered; absent: it did not.
    pub rtt_us: Option<u64>,
    /// What was in the way of the last attempt.
    pub error: Option<String>,
}

/// The configurations that were in force, newest first; schema `mwan.revisions.v1`.
pub struct Revisions {
    /// `mwan.revisions.v1`.
    pub schema: String,
    /// Those that are kept.
    pub revisions: Vec<Revision>,
    /// Files that should tell of one and cannot be used.
    pub damaged: Vec<String>,
    /// A configuration that has to be confirmed.
    pub waiting: Option<Waiting>,
}

/// A configuration that was in force.
pub struct Revision {
    /// Grows by one with each, over reboots too.
    pub number: u64,
    /// Since when, milliseconds since 1970 by this machine's clock.
    pub time_ms: u64,
    /// In which way it came.
    pub way: Way,
    /// Who it was, where that is known.
    pub by: Option<String>,
    /// The file it was in.
    pub file: String,
    /// Its length and a sum, as of the configuration file.
    pub revision: String,
    /// It was taken back: not confirmed, or something was not reached.
    #[serde(default)]
    pub taken_back: bool,
}

/// In which way a configuration came into force.
#[derive(Copy, Eq)]
pub enum Way {
    /// The daemon found it at a start.
    Start,
    /// The file was edited.
    Edit,
    /// By the control socket or the HTTP API (`put_config`).
    Put,
    /// From a cloud's document.
    Cloud,
    /// `mwan apply`.
    Apply,
    /// `mwan rollback`, or the same by the HTTP API.
    Rollback,
    /// The one before, as another was not confirmed or something could not be reached.
    TakenBack,
}

/// A configuration that was in force, and the one before it.
pub struct RevisionText {
    /// Which.
    pub revision: Revision,
    /// Its text.
    pub text: String,
    /// The one before it, if that is still kept: number and text.
    pub before: Option<(u64, String)>,
}

/// A configuration that is in force until somebody confirms it, or does not.
pub struct Waiting {
    /// Whose order it was.
    pub by: Option<String>,
    /// When it was given, milliseconds since 1970 by this machine's clock.
    pub time_ms: u64,
    /// So many seconds are left.
    pub left_s: u64,
}

/// What another configuration means for present connections.
pub struct Impact {
    /// Connections in the kernel's table.
    pub total: u64,
    /// Those that stay where they are.
    pub stay: u64,
    /// Those that go on by another way.
    #[serde(rename = "move")]
    pub moves: u64,
    /// Those that end: their address changes under them, or there is no way.
    pub reset: u64,
    /// Whether the kernel counts bytes (`net.netfilter.nf_conntrack_acct`).
    pub counted: bool,
    /// How many go from where to where, most first; those that stay are told by where they are.
    pub ways: Vec<ImpactWay>,
    /// The largest that do not stay, if the kernel counts bytes.
    pub top: Vec<ImpactFlow>,
    /// Who has most of those that do not stay, if it does not.
    pub sources: Vec<ImpactSource>,
}

/// What becomes of a connection.
#[derive(Copy, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It stays where it is.
    Stay,
    /// It goes on by another way.
    Move,
    /// It ends.
    Reset,
}

/// Connections that go one way.
pub struct ImpactWay {
    /// Interface, `main` (the main routing table), `unreachable` or `blackhole`.
    pub from: String,
    /// The same, or several interfaces with `+` between them.
    pub to: String,
    /// What becomes of them.
    pub fate: Fate,
    /// How many there are.
    pub flows: u64,
    /// What they have carried so far.
    pub bytes: Option<u64>,
}

/// One connection.
pub struct ImpactFlow {
    /// Protocol.
    pub proto: String,
    /// Who opened it.
    pub src: String,
    /// Where to.
    pub dst: String,
    /// 0 for protocols without ports.
    pub sport: u16,
    /// 0 for protocols without ports.
    pub dport: u16,
    /// As in [`ImpactWay`].
    pub from: String,
    /// As in [`ImpactWay`].
    pub to: String,
    /// What becomes of it.
    pub fate: Fate,
    /// What it has carried so far.
    pub bytes: u64,
}

/// A host whose connections do not stay.
pub struct ImpactSource {
    /// Its address.
    pub src: String,
    /// How many.
    pub flows: u64,
}
}
