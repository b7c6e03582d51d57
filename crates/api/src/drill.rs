//! Drills: a WAN is made to look dead to the engine, and what comes of it is measured.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Reason;

/// Schema of [`Drills`].
pub const SCHEMA_DRILLS: &str = "mwan.drills.v1";

/// Shortest and longest drill, seconds.
pub const DRILL_MIN_S: u32 = 2;
/// An hour without a WAN is no rehearsal any more.
pub const DRILL_MAX_S: u32 = 3600;

/// Most targets of one drill.
pub const DRILL_REACH_MAX: usize = 8;

/// Longest name that may be asked for, bytes: with what is put before it (RFC 1035, 2.3.4).
pub const DRILL_NAME_MAX: usize = 200;

wire! {
/// What is wanted of a drill.
pub struct DrillOrder {
    /// Name of the interface.
    pub interface: String,
    /// Seconds for which its probes count as lost.
    pub length_s: u32,
    /// Its connections stay on it.
    #[serde(default)]
    pub keep_flows: bool,
    /// Only say what would be.
    #[serde(default)]
    pub dry_run: bool,
    /// Below which name the machine's resolvers are asked; empty: they are not. Absent: `example.org`, and it counts only if they
    /// answer before the drill.
    #[serde(default)]
    pub dns: Option<String>,
    /// What the router has to reach all the time, by the rules (`ADDRESS`, `ADDRESS:PORT/tcp`).
    #[serde(default)]
    pub reach: Vec<String>,
    /// It ends if who ordered it does not ask for it any more (`attended` of `drills`).
    #[serde(default)]
    pub attended: bool,
    /// Whose order it is: the daemon asks the socket.
    #[serde(default)]
    pub by: Option<String>,
}

/// What a drill would do now.
pub struct DrillPlan {
    /// The interface.
    pub interface: String,
    /// Its paths that would look dead.
    pub paths: Vec<DrillPath>,
    /// Policies that others would carry.
    pub switches: Vec<DrillSwitch>,
    /// What else there is to know.
    pub notes: Vec<String>,
}

/// Drills; schema `mwan.drills.v1`.
pub struct Drills {
    /// `mwan.drills.v1`.
    pub schema: String,
    /// The one that is under way.
    pub running: Option<Drill>,
    /// Those that are over, newest first; at most 50 are kept.
    #[cfg_attr(feature = "schema", schemars(with = "Vec<Drill>"))]
    pub drills: Vec<Json>,
    /// Those the configuration asks for.
    pub scheduled: Vec<ScheduledDrill>,
}

/// A drill the configuration asks for.
pub struct ScheduledDrill {
    /// The interface.
    pub interface: String,
    /// Days and time, local.
    pub when: String,
    /// Seconds.
    pub length_s: u32,
}

/// How far a drill is.
#[derive(Copy, Eq)]
pub enum DrillPhase {
    /// What it tests is tested before it begins.
    Before,
    /// Probes of the WAN count as lost.
    Dark,
    /// They count again, and it is on its way back.
    Return,
    /// It is back, and its connections are watched.
    After,
    /// It is over.
    Over,
}

/// A drill, and what was measured.
pub struct Drill {
    /// Grows by one with each.
    pub number: u64,
    /// The interface.
    pub interface: String,
    /// When it began, milliseconds since 1970 by this machine's clock.
    pub begin_ms: u64,
    /// Who wanted it.
    pub by: String,
    /// Seconds it was to take.
    pub length_s: u32,
    /// Connections stayed where they were.
    pub keep_flows: bool,
    /// How far it is.
    pub phase: DrillPhase,
    /// Why it is over.
    pub end: Option<Reason>,
    /// Whether everything went as it should; absent: it is not over.
    pub passed: Option<bool>,
    /// The whole in a line, when it is over.
    pub summary: String,
    /// What did not.
    pub problems: Vec<String>,
    /// What else there is to know.
    pub notes: Vec<String>,
    /// Its paths.
    pub paths: Vec<DrillPath>,
    /// Policies that others carried meanwhile.
    pub switches: Vec<DrillSwitch>,
    /// From the first verdict until what follows from it was in the kernel, microseconds.
    pub switch_us: Option<u64>,
    /// The same on the way back.
    pub switch_back_us: Option<u64>,
    /// What became, after the return, of connections on those that carried meanwhile.
    pub carriers: Vec<DrillCarrier>,
    /// What was tested all the time.
    pub tests: Vec<DrillTest>,
    /// What has happened so far, a line each.
    pub steps: Vec<String>,
    /// All of it for people, when it is over.
    pub text: String,
}

/// A path in a drill.
pub struct DrillPath {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Longest time until its failure is seen, as the status promises, milliseconds.
    pub promised_ms: u64,
    /// Time until it was seen, milliseconds.
    pub detected_ms: Option<u64>,
    /// From the end of the pretence until it could carry again, milliseconds.
    pub back_ms: Option<u64>,
    /// Connections on it before.
    pub flows: Option<u64>,
    /// Those two seconds after the switch.
    pub flows_left: Option<u64>,
}

/// A policy in a drill.
pub struct DrillSwitch {
    /// Its name.
    pub policy: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// What carries it.
    pub from: String,
    /// What carried it, or would.
    pub to: String,
}

/// An interface that carried in place of the one that looked dead.
pub struct DrillCarrier {
    /// Its name.
    pub interface: String,
    /// Its `failback`: `keep`, `move-now`, or `drain` and a time.
    pub failback: String,
    /// Connections that went back to the better WAN; absent: they were not asked to.
    pub moved: Option<u64>,
}

/// Something that has to work all the time.
pub struct DrillTest {
    /// What: `dns` and the resolvers, or a target.
    pub what: String,
    /// Whether it worked before; if not, it says nothing of the drill.
    pub before: bool,
    /// While the WAN looked dead and had not been left yet: its traffic was not touched.
    pub unseen: DrillTries,
    /// While others carried.
    pub away: DrillTries,
    /// After the return.
    pub back: DrillTries,
    /// What was in the way of the last attempt that failed.
    pub error: Option<String>,
}

/// Attempts at something.
#[derive(Copy, Eq, Default)]
pub struct DrillTries {
    /// Those that succeeded.
    pub good: u32,
    /// Those that did not.
    pub bad: u32,
    /// From the beginning of this time until the first success, milliseconds.
    pub first_ms: Option<u64>,
}
}

/// A document that is handed on as it was written.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Json(pub Box<RawValue>);

impl PartialEq for Json {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}
