//! Why something is as it is now, and what it was lately.

use serde::{Deserialize, Serialize};

use crate::{Event, Hold, Reason};

/// Name of the schema of [`Why`].
pub const SCHEMA_WHY: &str = "mwan.why.v1";

wire! {
/// All that is called by a name: why it is as it is; schema `mwan.why.v1`.
pub struct Why {
    /// `mwan.why.v1`.
    pub schema: String,
    /// The name.
    pub name: String,
    /// The interface of that name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<WhyInterface>,
    /// The policy of that name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<WhyPolicy>,
    /// The rule of that name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rule: Option<WhyRule>,
}

/// Why an interface is as it is.
pub struct WhyInterface {
    /// Its device.
    pub device: String,
    /// Whether it takes part.
    pub enabled: bool,
    /// Its families.
    pub paths: Vec<WhyPath>,
    /// Its last changes, newest first, at most ten.
    pub changes: Vec<Event>,
}

/// Why one family of an interface is as it is.
pub struct WhyPath {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// As in the status.
    pub status: String,
    /// Whether it may carry.
    pub usable: bool,
    /// Whether rules lead new connections to it.
    pub carries: bool,
    /// What decides, with its numbers.
    pub reason: Reason,
    /// Seconds since it became usable, or stopped being so.
    pub since_s: u64,
    /// What keeps it aside although it is usable: held back, drained.
    pub aside: Option<Reason>,
    /// It is held back as flapping.
    pub hold: Option<Hold>,
    /// How many targets have to answer in a round.
    pub reliability: u32,
    /// Good rounds that bring it online, bad ones that take it offline.
    pub up: u32,
    /// See `up`.
    pub down: u32,
    /// Longest time until a silent failure is seen, milliseconds; null where nothing is probed.
    pub worst_case_detection_ms: Option<u64>,
    /// Its targets in a line each: address, state, latency, loss.
    pub targets: Vec<String>,
    /// Where its fault lies, if it has one: `link`, `gateway`, `beyond`, `target`, `dns` or `unknown`, and the evidence.
    pub fault: Option<Reason>,
}

/// Why a policy is carried as it is.
pub struct WhyPolicy {
    /// Its families.
    pub families: Vec<WhyCarrier>,
    /// Rules that lead to it.
    pub rules: Vec<String>,
    /// Its last changes, newest first, at most ten.
    pub changes: Vec<Event>,
}

/// Why one family of a policy is carried as it is.
pub struct WhyCarrier {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Whether a rule leads to it.
    pub used: bool,
    /// What carries it.
    pub carrier: String,
    /// What decides.
    pub reason: Reason,
    /// Since when, milliseconds since 1970; absent: for longer than is remembered.
    pub since_ms: Option<u64>,
    /// Its members in a line each: metric, weight, and what becomes of them.
    pub members: Vec<String>,
}

/// Why a rule does what it does.
pub struct WhyRule {
    /// Its place among the rules, from 1.
    pub position: u64,
    /// Its families.
    pub families: Vec<WhyTarget>,
    /// What it asks of a packet.
    pub wants: Vec<String>,
    /// The last changes of its policy, newest first, at most ten.
    pub changes: Vec<Event>,
}

/// Where one family of a rule leads.
pub struct WhyTarget {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its policy, or `default`, `unreachable`, `blackhole`.
    pub target: String,
    /// What carries that.
    pub carrier: String,
    /// What decides.
    pub reason: Reason,
    /// Since when, milliseconds since 1970; absent: for longer than is remembered.
    pub since_ms: Option<u64>,
    /// Connections it has taken since its counter was made.
    pub packets: u64,
}
}
