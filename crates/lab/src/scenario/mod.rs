//! The scenario language: one step per line. [`STEPS`] is the one table of what there is; the parser, the
//! usage hints and `docs/lab.md` all come from it.

mod parse;
mod steps;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

pub use parse::{ScenarioError, Words, parse_duration};
pub use steps::{STEPS, StepDoc, documentation};

use crate::catchers::Catcher;
use crate::faults::Direction;
use crate::flows::FlowSpec;
use crate::topology::Cidr;

/// A parsed scenario file.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// File as the user named it.
    pub file: String,
    /// First comment line: what it shows.
    pub title: String,
    /// Topology file, already relative to the working folder.
    pub topology: PathBuf,
    /// The steps after it.
    pub steps: Vec<Line>,
}

/// One step and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// Line number, from 1.
    pub number: usize,
    /// The line as written.
    pub text: String,
    /// What it says.
    pub step: Step,
}

/// Since when a time is counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reference {
    /// The last injected fault (or repair, or command).
    Fault,
    /// The last successful `wait`: when `mwan status` showed the change.
    Verdict,
}

/// Where configuration text comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Text {
    /// A file, used unchanged.
    File(PathBuf),
    /// Lines of the scenario itself.
    Inline(String),
}

/// What to do with the daemon.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DaemonOp {
    /// Start it and wait until it answers.
    Start,
    /// Start it and go on at once.
    Launch,
    /// SIGTERM, and wait for its end.
    Stop,
    /// SIGKILL.
    Kill,
    /// SIGKILL, then start.
    Restart,
    /// SIGHUP.
    Reload,
}

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Bound of the whole run.
    Limit(Duration),
    /// Writes the daemon's configuration.
    Config(Text),
    /// Daemon control.
    Daemon(DaemonOp, Vec<String>),
    /// Polls `mwan status --json`.
    Wait(StatusIs, Duration),
    /// Lets traffic run, for a time drawn between the two.
    Hold(Duration, Duration),
    /// Repeats its lines.
    Repeat(u32, Vec<Line>),
    /// Link of an ISP down (false) or up.
    Carrier(String, bool),
    /// Silent drop, IPv4 and IPv6.
    Blackhole(String, bool, bool),
    /// Everything of one direction vanishes.
    Oneway(String, Direction),
    /// Loss per ten thousand.
    Loss(String, u32, Direction),
    /// Added round trip, milliseconds.
    Delay(String, u64),
    /// End of all faults of an ISP.
    Heal(String),
    /// New address.
    Renumber(String, Cidr, IpAddr),
    /// New gateway.
    Gateway(String, IpAddr),
    /// Device renamed.
    Rename(String, String),
    /// A program in a node, its expected exit code, its standard input.
    Exec(String, Vec<String>, i32, String),
    /// An mwan command in the router, and its expected exit code.
    Mwan(Vec<String>, i32),
    /// The same, and its output is what a document shows under a name.
    Answer(PathBuf, String, Vec<String>, i32),
    /// An explicit server.
    Serve(String, u8, String, SocketAddr),
    /// A server of an application.
    Respond(crate::responders::Responder, String, SocketAddr),
    /// A server that keeps what it is sent: its node, and in which file.
    Catch(Catcher, String, String),
    /// Traffic.
    Flow(Box<FlowSpec>),
    /// End of traffic.
    Stop(String),
    /// Counts from zero (all flows without a name).
    Reset(Option<String>),
    /// Inbound probing of the router's addresses at these ISPs.
    Scan(Vec<String>, Duration),
    /// Remembers rules, routes and ruleset of the router.
    Snapshot(String),
    /// Must hold.
    Expect(Expect),
    /// Must not hold.
    Fails(Box<Line>),
}

/// A path's status as `mwan status --json` tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusIs {
    /// `online`, `offline`, …, or `carries`, `idle`.
    pub state: String,
    /// Interface.
    pub interface: String,
    /// Family; both if none.
    pub family: Option<String>,
}

/// What can be expected.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// Connections of a flow split by weight over ISPs, with this confidence in percent.
    Share {
        /// ISPs.
        isps: Vec<String>,
        /// Their weights.
        weights: Vec<u64>,
        /// Flow.
        flow: String,
        /// Percent.
        confidence: f64,
    },
    /// At most that many messages lost.
    Lost(String, u64),
    /// At most that many connections reset.
    Resets(String, u64),
    /// Nothing lost, reset or reconnected.
    Undisturbed(String),
    /// A packet of the flow leaves by the ISP soon enough.
    On(String, String, Duration, Reference),
    /// For this long the flow leaves by the ISP and no other.
    OnlyOn(String, String, Duration),
    /// Every connection answers again soon enough.
    Reconnected(String, Duration, Reference),
    /// From a time after the reference on, and for some time, the flow is not on the ISP.
    NotOn(String, String, Duration, Reference, Duration),
    /// The flow's source address on that ISP's wire is the one that ISP gave out.
    Source(String, String),
    /// No ISP saw a source address it did not give out.
    NoForeign,
    /// A command's output comes to contain a text (or not).
    Output(bool, String, Duration, String, Vec<String>),
    /// Rules, routes, ruleset equal a snapshot.
    Kernel(String, Duration),
    /// `mwan diff` says nothing is missing.
    Diff(Duration),
    /// A status stays as it is.
    Steady(StatusIs, Duration),
    /// The daemon's log contains a text since it was last started or reset.
    Log(String, Duration),
}
