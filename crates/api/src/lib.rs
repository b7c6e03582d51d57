//! The wire types of mwan's control socket and `--json` output.
//!
//! The socket (`RUN_DIR/mwan.sock`) takes one [`Request`] as a line of JSON and answers with one [`Response`].
//! Documents carry their schema's name and version; fields are added, never renamed or removed within one
//! version. `docs/schema/` holds the JSON schemas.

pub mod calendar;

use serde::{Deserialize, Serialize};

/// Longest request line the daemon reads, bytes: a configuration to plan is sent whole.
pub const REQUEST_MAX: usize = 8 << 20;

macro_rules! wire {
    ($($item:item)*) => { $(
        #[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(rename_all = "snake_case")]
        $item
    )* };
}

mod apply;
mod drill;
mod explain;
mod record;
mod show;
mod why;

pub use apply::*;
pub use drill::*;
pub use explain::*;
pub use record::*;
pub use show::*;
pub use why::*;

wire! {
/// What a client asks.
#[serde(tag = "method")]
pub enum Request {
    /// Everything: answered with [`Status`].
    Status,
    /// Differences between wanted and present state of the kernel.
    Diff,
    /// What a configuration would change.
    Plan {
        /// Name of the file, for diagnostics.
        file: String,
        /// Its content.
        text: String,
    },
    /// `plan`, `put_config`, `put_cloud` or `validate` of somebody who is not root: refused if it names a file or a program that root
    /// would use and that is neither in force nor in the file.
    Guarded {
        /// The request.
        request: Box<Request>,
    },
    /// Another request whose answer is to be shown at a terminal: answered with [`Shown`].
    Show {
        /// The request.
        request: Box<Request>,
        /// How its answer is to be shown.
        view: View,
    },
    /// The configuration file as it is: answered with [`ConfigText`].
    Config,
    /// Another text for the configuration file: judged as at a reload, written whole or not at all, and answered with
    /// [`ConfigPut`] when it is in force; else `conflict` or `refused`.
    PutConfig {
        /// The text.
        text: String,
        /// The revision it was made from.
        revision: String,
        /// Only say what would be.
        #[serde(default)]
        dry_run: bool,
        /// Whose it is: the web server says which of its users; of others the daemon asks the socket.
        #[serde(default)]
        by: Option<String>,
    },
    /// Another configuration with a way back: judged as by `put_config`, and answered with [`Applied`] or `refused`.
    Apply(ApplyOrder),
    /// The configuration that waits for it stays: answered with `done`.
    Confirm,
    /// The configuration that waits to be confirmed goes at once: answered with `done`.
    TakeBack,
    /// The configurations that were in force: answered with [`Revisions`].
    Revisions,
    /// One of them: answered with [`RevisionText`].
    Revision {
        /// Its number.
        number: u64,
    },
    /// What is wrong with a text: answered with `checked`.
    Validate {
        /// Name of the file, which tells the format; empty: that of the daemon's.
        #[serde(default)]
        file: String,
        /// Its content.
        text: String,
    },
    /// The cloud's document that the configuration means: answered with [`CloudDocument`].
    Cloud,
    /// A cloud's document for the configuration; answered like `put_config`.
    PutCloud {
        /// The document, JSON.
        document: String,
        /// Name of its file, for diagnostics.
        #[serde(default)]
        file: String,
        /// The revision of the configuration it is for; absent: whichever there is.
        #[serde(default)]
        revision: Option<String>,
        /// Only say what would be.
        #[serde(default)]
        dry_run: bool,
        /// Apply what is right although something else in it is wrong.
        #[serde(default)]
        partial: bool,
        /// Whose it is, as in `put_config`.
        #[serde(default)]
        by: Option<String>,
    },
    /// Bring an interface up that was taken down.
    IfUp {
        /// Its name.
        interface: String,
    },
    /// Take an interface down until `if_up`.
    IfDown {
        /// Its name.
        interface: String,
    },
    /// An interface gets no new flows while anything else can carry them; those it has stay.
    Drain {
        /// Its name.
        interface: String,
    },
    /// The end of `drain`.
    Undrain {
        /// Its name.
        interface: String,
    },
    /// A WAN is made to look dead to the engine for a while: answered with the beginning of a [`Drill`], or, if it is only to be
    /// said what would be, with a [`DrillPlan`].
    Drill(DrillOrder),
    /// The drill ends, and its WAN carries again at once: answered with `done`.
    StopDrill,
    /// Drills, the present one among them: answered with [`Drills`].
    Drills {
        /// Number of one that was ordered by who asks: it ends when he does not ask any more.
        #[serde(default)]
        attended: Option<u64>,
    },
    /// What has happened: answered with [`Events`].
    Events(EventQuery),
    /// What happens from now on: answered with a [`Watched`] per line, until one side hangs up.
    Watch {
        /// First the events behind this id that are still known; absent: none of them.
        #[serde(default)]
        after: Option<u64>,
    },
    /// What may be a WAN: answered with [`Candidates`].
    Candidates,
    /// Connections by interface: answered with [`Flows`].
    Flows {
        /// Largest ones that are told one by one, at most 1000.
        limit: u32,
    },
    /// Why a packet leaves where it leaves: answered with [`Explanation`] or, if several connections are meant, with [`Flows`].
    Explain(ExplainQuery),
    /// Why an interface, a policy or a rule is as it is: answered with [`Why`].
    Why {
        /// Its name.
        name: String,
    },
    /// Who is told of incidents, and how that goes: answered with [`Alerts`].
    Alerts,
    /// Send a test message: answered with its number, by which [`Alerts`] tells what became of it.
    TestAlert {
        /// Name of the alert.
        name: String,
    },
    /// From the process that sends alerts: how they are.
    ReportAlerts {
        /// In the order of the configuration.
        alerts: Vec<Alert>,
    },
    /// How to bind a command to an interface.
    Use {
        /// Its name.
        interface: String,
    },
    /// What was recorded of a path: answered with [`History`].
    History(HistoryQuery),
    /// How the WANs were in a month: answered with [`Report`].
    Report {
        /// `YYYY-MM`, UTC; absent: the present one.
        #[serde(default)]
        month: Option<String>,
    },
    /// The last events of the decision core: answered with [`RecordingFile`].
    Record,
    /// IPFire: what carries RED, whatever the engine would choose.
    Red {
        /// What is wanted.
        command: RedCommand,
    },
    /// Read the configuration again.
    Reload,
    /// Remove everything from the kernel and exit.
    Stop,
}

/// What an owner of IPFire may want of RED.
#[serde(tag = "command")]
pub enum RedCommand {
    /// This profile carries until `failback`.
    Switch {
        /// Its name.
        profile: String,
    },
    /// The best backup carries until `failback`.
    Failover,
    /// The primary may carry again.
    Failback,
    /// The primary is brought up beside what carries, now.
    TestPrimary,
    /// IPFire's scripts say that RED has come up.
    Up,
    /// IPFire's scripts say that RED has gone down.
    Down,
    /// Switch mwan on in its settings.
    Enable,
    /// Switch mwan off in its settings.
    Disable,
}

/// What the daemon answers.
#[serde(tag = "result")]
pub enum Response {
    /// To `status`.
    Status(Box<Status>),
    /// To `diff` and `plan`.
    Plan(Plan),
    /// To `events`.
    Events(Events),
    /// To `candidates`.
    Candidates(Candidates),
    /// To `flows`, and to `explain` if several connections are meant.
    Flows(Flows),
    /// To `explain`.
    Explanation(Box<Explanation>),
    /// To `why`.
    #[cfg_attr(not(feature = "schema"), serde(skip_deserializing))]
    Why(Box<Why>),
    /// To `history`.
    History(Box<History>),
    /// To `report`.
    Report(Box<Report>),
    /// To `config`.
    Config(ConfigText),
    /// To `put_config` and `put_cloud`, if nothing is against it.
    Put(ConfigPut),
    /// To `put_config` and `put_cloud`: the file has been changed meanwhile. Nothing was written.
    Conflict {
        /// The revision it has now.
        revision: String,
    },
    /// To `put_config` and `put_cloud`: it must not come into force. Nothing was written.
    Refused {
        /// Why.
        message: String,
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
    /// To `apply`, if nothing is against it.
    Applied(Applied),
    /// To `drill`: it begins. The command line takes this and the next ones as text: nothing here reads them.
    #[cfg_attr(not(feature = "schema"), serde(skip_deserializing))]
    Drill(Box<Drill>),
    /// To `drill` that is only to be tried.
    #[cfg_attr(not(feature = "schema"), serde(skip_deserializing))]
    DrillPlan(DrillPlan),
    /// To `drills`.
    #[cfg_attr(not(feature = "schema"), serde(skip_deserializing))]
    Drills(Drills),
    /// To `revisions`.
    Revisions(Revisions),
    /// To `revision`.
    Revision(RevisionText),
    /// To `validate`.
    Checked {
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
        /// Why it would be refused now, if it would.
        refusal: Option<String>,
    },
    /// To `cloud`.
    Cloud(CloudDocument),
    /// To `alerts`.
    Alerts(Alerts),
    /// To `test_alert`.
    TestAlert {
        /// Its number.
        number: u64,
    },
    /// To `record`.
    Recording(RecordingFile),
    /// To `use`.
    Use(Binding),
    /// To `show`.
    Shown(Shown),
    /// Done.
    Done,
    /// Not done.
    Error {
        /// What went wrong.
        message: String,
        /// What to do about it.
        hint: Option<String>,
    },
}

/// A recording of the decision core (docs/record.md).
pub struct RecordingFile {
    /// Events in it.
    pub events: u64,
    /// The file, compressed by gzip, as hexadecimal digits.
    pub gzip_hex: String,
}

/// Which events are wanted; without anything, the newest.
#[derive(Default)]
pub struct EventQuery {
    /// Only those behind this id, oldest first; without it the newest first.
    #[serde(default)]
    pub after: Option<u64>,
    /// Only those before this id.
    #[serde(default)]
    pub before: Option<u64>,
    /// At most so many; absent: 100.
    #[serde(default)]
    pub limit: Option<u32>,
    /// Only of this interface.
    #[serde(default)]
    pub interface: Option<String>,
    /// Only of this kind.
    #[serde(default)]
    pub kind: Option<EventKind>,
    /// Only of this severity or a higher one.
    #[serde(default)]
    pub severity: Option<Severity>,
}

/// What has happened; schema `mwan.events.v1`.
pub struct Events {
    /// `mwan.events.v1`.
    pub schema: String,
    /// As asked for.
    pub events: Vec<Event>,
    /// Id of the oldest event that is still known; 0: none is.
    pub oldest: u64,
    /// Id of the newest.
    pub latest: u64,
}

/// Something that happened.
pub struct Event {
    /// Grows by one with each event, over restarts too.
    pub id: u64,
    /// When, milliseconds since 1970 by this machine's clock.
    pub time_ms: u64,
    /// What it is about.
    pub kind: EventKind,
    /// How much it matters.
    pub severity: Severity,
    /// The interface, if it is one's.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interface: Option<String>,
    /// `ipv4` or `ipv6`, if it is about one of them.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub family: Option<String>,
    /// The policy, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub policy: Option<String>,
    /// What it was before: the state of a path; what carried a policy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from: Option<String>,
    /// What it is now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to: Option<String>,
    /// Stable word for the reason, as in the status.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// The whole for people, one line.
    pub text: String,
}

/// What an event is about.
#[derive(Copy, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    /// A path changed its state.
    Path,
    /// A policy is carried by others.
    Switch,
    /// The kernel could not be made as wanted, or is again.
    Apply,
    /// Others changed what is ours, and it was restored.
    Repair,
    /// Another configuration is in force, or was refused.
    Config,
    /// Somebody told the daemon to do something.
    Command,
    /// The daemon started or ends.
    Daemon,
    /// A drill begins or is over, or could not be held.
    Drill,
}

/// How much an event matters; in ascending order.
#[derive(Copy, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// A step on the way to something.
    Debug,
    /// For the record.
    Info,
    /// Something does not work as it should; traffic has somewhere to go.
    Warning,
    /// Traffic has nowhere to go, or the kernel is not as wanted.
    Error,
}

/// A line of the answer to `watch`.
#[serde(tag = "watched")]
pub enum Watched {
    /// Something happened.
    Event(Event),
    /// Once a second: how the paths are.
    Sample(Sample),
    /// Events were lost because they were not read in time: ask for them.
    Missed,
    /// Somebody wants a test message; for the process that sends alerts.
    TestAlert {
        /// Name of the alert.
        name: String,
        /// Number of the test.
        number: u64,
    },
}

/// Who is told of incidents, and how that goes; schema `mwan.alerts.v1`.
pub struct Alerts {
    /// `mwan.alerts.v1`.
    pub schema: String,
    /// Why the process that sends them does not run, if it does not.
    pub problem: Option<String>,
    /// In the order of the configuration.
    pub alerts: Vec<Alert>,
}

/// One way somebody is told.
pub struct Alert {
    /// Its name.
    pub name: String,
    /// `email`, `webhook` or `command`.
    pub kind: String,
    /// Messages that are due and not sent.
    pub queued: u64,
    /// Messages sent.
    pub sent: u64,
    /// When the last one was, milliseconds since 1970.
    pub last_sent_ms: Option<u64>,
    /// Attempts in vain since.
    pub failures: u32,
    /// When it is tried again, milliseconds since 1970; null: nothing waits.
    pub next_try_ms: Option<u64>,
    /// What went wrong last, until something goes well.
    pub last_error: Option<String>,
    /// Messages that were given up.
    pub dropped: u64,
    /// What became of the last test.
    pub test: Option<AlertTest>,
}

/// What became of a test.
pub struct AlertTest {
    /// Its number.
    pub number: u64,
    /// What went wrong; null: it was sent.
    pub error: Option<String>,
}

/// How the paths are at one time.
pub struct Sample {
    /// When, milliseconds since 1970 by this machine's clock.
    pub time_ms: u64,
    /// Every path of an enabled interface.
    pub paths: Vec<PathSample>,
}

/// How a path is at one time.
pub struct PathSample {
    /// Name of its interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// As in the status.
    pub status: String,
    /// Whether it may carry traffic.
    pub usable: bool,
    /// Whether rules lead new connections to it.
    pub carries: bool,
    /// Mean of the last round-trip times of the targets that answer, microseconds.
    pub rtt_us: Option<u64>,
    /// Mean of how much the round-trip times vary (RFC 3550, 6.4.1), microseconds.
    pub jitter_us: Option<u64>,
    /// Percent of the last probes that were not answered, all targets together.
    pub loss_percent: Option<u8>,
    /// Probes sent so far.
    pub sent: u64,
    /// Replies received so far.
    pub received: u64,
    /// Bytes its device has received so far, of both families; absent without a device.
    pub rx_bytes: Option<u64>,
    /// Bytes its device has sent so far.
    pub tx_bytes: Option<u64>,
}

/// The configuration file.
pub struct ConfigText {
    /// Its name.
    pub file: String,
    /// `uci` or `toml`.
    pub format: String,
    /// What is in it.
    pub text: String,
    /// Tells this content from any other.
    pub revision: String,
}

/// What became of a text for the configuration file.
pub struct ConfigPut {
    /// The revision of the file now; of a dry run: as it would be.
    pub revision: String,
    /// Whether the text differs from what was there.
    pub changed: bool,
    /// What is worth knowing of it.
    pub diagnostics: Vec<Diagnostic>,
    /// The text; only of a dry run.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub text: Option<String>,
    /// Why the kernel does not have it yet, if it does not; it is tried again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting: Option<String>,
}

/// A cloud's document.
pub struct CloudDocument {
    /// The configuration file it comes from.
    pub file: String,
    /// The revision of that file.
    pub revision: String,
    /// `multiWanV2` as JSON text.
    pub document: String,
}

/// The whole state of the daemon; schema `mwan.status.v1`.
pub struct Status {
    /// `mwan.status.v1`.
    pub schema: String,
    /// The program.
    pub daemon: Daemon,
    /// Whether anything is not as it should be: exit code 3.
    pub degraded: bool,
    /// What is not, in words.
    pub problems: Vec<String>,
    /// Interfaces in the order of the configuration.
    pub interfaces: Vec<Interface>,
    /// Policies in the order of the configuration.
    pub policies: Vec<Policy>,
    /// Destinations that are never policy-routed.
    pub connected: Networks,
    /// The same from `rt_table_lookup`.
    pub custom: Networks,
    /// Rules in order of evaluation.
    pub rules: Vec<Rule>,
    /// The interface that a drill makes look dead.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub drill: Option<String>,
    /// IPFire's RED; only there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub red: Option<Red>,
    /// What is wrong with the configuration.
    pub diagnostics: Vec<Diagnostic>,
}

/// Which part of a path's history is wanted.
pub struct HistoryQuery {
    /// Name of the interface.
    pub interface: String,
    /// `ipv4` or `ipv6`; absent: the first of which anything is recorded.
    #[serde(default)]
    pub family: Option<String>,
    /// From when, seconds since 1970; absent: an hour before the end.
    #[serde(default)]
    pub from_s: Option<u64>,
    /// Until when; absent: now.
    #[serde(default)]
    pub to_s: Option<u64>,
    /// At most so many points, up to 4000; absent: 300.
    #[serde(default)]
    pub points: Option<u32>,
}

/// What was recorded of a path; schema `mwan.history.v1`.
pub struct History {
    /// `mwan.history.v1`.
    pub schema: String,
    /// Name of the interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// When the first point begins, seconds since 1970.
    pub from_s: u64,
    /// Seconds of a point.
    pub step_s: u64,
    /// The points.
    pub series: Series,
    /// Outages of which any part is in this time, oldest first.
    pub outages: Vec<Outage>,
}

/// Points of a path, all lists of one length; absent where nothing is known.
#[derive(Default)]
pub struct Series {
    /// Part of the time that is known in which it was usable, 0 to 1.
    pub up: Vec<Option<f64>>,
    /// Mean round-trip time, milliseconds.
    pub rtt_ms: Vec<Option<f64>>,
    /// Longest round-trip time, milliseconds.
    pub rtt_max_ms: Vec<Option<f64>>,
    /// Mean loss, percent.
    pub loss: Vec<Option<f64>>,
    /// Mean jitter, milliseconds.
    pub jitter_ms: Vec<Option<f64>>,
    /// Received by the device (both families), bit/s.
    pub rx_bps: Vec<Option<f64>>,
    /// Sent by it.
    pub tx_bps: Vec<Option<f64>>,
}

/// A time in which a path was not usable.
pub struct Outage {
    /// When it began, milliseconds since 1970.
    pub start_ms: u64,
    /// When it ended; absent: it goes on.
    pub end_ms: Option<u64>,
    /// Whether its end was seen. If not, it may have been longer: from `end_ms` on nothing was recorded, as the machine or mwan was off.
    pub end_seen: bool,
    /// Stable word for the cause, as in the status.
    pub code: String,
    /// The cause for people.
    pub text: String,
}

/// How the WANs were in a month; schema `mwan.report.v1`.
pub struct Report {
    /// `mwan.report.v1`.
    pub schema: String,
    /// `YYYY-MM`, UTC.
    pub month: String,
    /// Its begin, seconds since 1970.
    pub from_s: u64,
    /// Its end, or when the report was made if it is not over.
    pub to_s: u64,
    /// When the report was made.
    pub made_s: u64,
    /// Every interface of which anything is recorded, by name.
    pub interfaces: Vec<ReportInterface>,
    /// What could not be read.
    pub problems: Vec<String>,
}

/// An interface in a report.
pub struct ReportInterface {
    /// Its name.
    pub interface: String,
    /// Bytes its device received, as far as they are known.
    pub rx_bytes: Option<u64>,
    /// Bytes its device sent.
    pub tx_bytes: Option<u64>,
    /// Its families.
    pub paths: Vec<ReportPath>,
}

/// A path in a report. Shares and means are of the time of which something is known.
pub struct ReportPath {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Seconds of which something is known.
    pub known_s: u64,
    /// The others up to `to_s`: mwan did not run, the machine was off, or the interface was taken down by its owner.
    pub unknown_s: u64,
    /// Seconds in which it was usable.
    pub usable_s: u64,
    /// `usable_s` / `known_s`, percent; absent if nothing is known.
    pub availability_percent: Option<f64>,
    /// Round-trip times; absent if there were none.
    pub latency: Option<ReportLatency>,
    /// Mean jitter, milliseconds.
    pub jitter_ms: Option<f64>,
    /// Probes sent while it was usable.
    pub probes_sent: u64,
    /// Of these, without an answer.
    pub probes_lost: u64,
    /// The same in percent; absent if none was sent.
    pub loss_percent: Option<f64>,
    /// Outages that touch the month and are kept, oldest first.
    pub outages: Vec<Outage>,
    /// There were more, before those that are kept.
    pub outages_incomplete: bool,
    /// Seconds of the longest outage within the month.
    pub longest_outage_s: Option<u64>,
    /// Times of which not everything is known, by the hour, oldest first; at most 100.
    pub gaps: Vec<Gap>,
}

/// Round-trip times of a month, milliseconds. Percentiles are of samples two seconds apart, within 6 % between 1 ms and half a second.
pub struct ReportLatency {
    /// Half of the samples were not longer.
    pub p50_ms: f64,
    /// 95 of 100 were not.
    pub p95_ms: f64,
    /// 99 of 100 were not.
    pub p99_ms: f64,
    /// Mean.
    pub mean_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

/// A time of which not everything is known.
pub struct Gap {
    /// Begin of the first hour, seconds since 1970.
    pub from_s: u64,
    /// End of the last.
    pub to_s: u64,
    /// Seconds of it of which nothing is known.
    pub unknown_s: u64,
}

/// IPFire's RED.
pub struct Red {
    /// Whether mwan is switched on in its settings.
    #[serde(default)]
    pub enabled: bool,
    /// There are several REDs at once, and no backups.
    #[serde(default)]
    pub several: bool,
    /// Whose it is: `primary`, or the name of a profile.
    pub profile: String,
    /// `settled`, `taking_over` or `giving_back`.
    pub state: String,
    /// What was chosen by hand, until `failback`: a profile, or empty for the best one.
    pub forced: Option<String>,
    /// Why files and services of IPFire do not follow, if they do not.
    pub problem: Option<String>,
    /// The links, by name.
    pub links: Vec<RedLink>,
}

/// A connection that is brought up and taken down.
pub struct RedLink {
    /// Name of its interface.
    pub name: String,
    /// `STATIC`, `DHCP`, `PPPOE`, `PPTP`, `GSM` or `QMI`.
    pub method: String,
    /// Whether it is IPFire's own.
    pub primary: bool,
    /// `idle`, `dialling`, `up`, `stopping`, `waiting` or `refused`; `kept` for what stays up by itself.
    pub phase: String,
    /// It is only being tried, beside what carries.
    pub on_trial: bool,
    /// The device packets leave by, or would.
    pub device: String,
    /// Attempts since the last success.
    pub attempt: u32,
    /// Attempts since the daemon started.
    #[serde(default)]
    pub attempts: u64,
    /// Why there is no connection.
    pub reason: Option<String>,
    /// Seconds until the next attempt.
    pub retry_s: Option<u64>,
}

/// The program and what it is doing.
pub struct Daemon {
    /// Version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Seconds since it started.
    pub uptime_s: u64,
    /// The configuration file.
    pub config: String,
    /// Why the file as it is now is not in force, if it is not: the one read before stays.
    pub config_rejected: Option<String>,
    /// Number of the desired state in the kernel.
    pub generation: u64,
    /// How long the last change of the kernel took, microseconds.
    pub last_apply_us: u64,
    /// Changes of the kernel since start.
    pub applies: u64,
    /// Times something of ours had been removed by others and was restored.
    pub repairs: u64,
    /// Why the last change failed, if it did.
    pub apply_error: Option<String>,
    /// Probe rounds started more than a tenth of a second after they were due.
    pub late_rounds: u64,
    /// How long changes of the kernel took since start, those that changed nothing left out.
    #[serde(default)]
    pub apply_times: Durations,
}

/// How long something took, each time.
#[derive(Default, Eq)]
pub struct Durations {
    /// How often it took at most so long; ascending.
    pub buckets: Vec<DurationBucket>,
    /// How often it was done.
    pub count: u64,
    /// How long all took together, microseconds.
    pub sum_us: u64,
}

/// How often something took at most so long.
#[derive(Eq)]
pub struct DurationBucket {
    /// Microseconds.
    pub at_most_us: u64,
    /// How often.
    pub count: u64,
}

/// Connections of the whole machine by interface; schema `mwan.flows.v1`.
pub struct Flows {
    /// `mwan.flows.v1`.
    pub schema: String,
    /// All connections the kernel tracks, those without a mark of ours among them.
    pub total: u64,
    /// Whether the kernel counts packets and bytes (`net.netfilter.nf_conntrack_acct`); if not, there are none.
    pub counted: bool,
    /// Interfaces in the order of the configuration; then `default`, `unreachable` and `blackhole` where there is anything.
    pub by_interface: Vec<InterfaceFlows>,
    /// The largest by bytes; without accounting, any.
    pub top: Vec<Flow>,
}

/// Connections of an interface.
pub struct InterfaceFlows {
    /// Its name.
    pub interface: String,
    /// How many.
    pub flows: u64,
    /// Bytes of both directions of those that are there now; null if the kernel does not count.
    pub bytes: Option<u64>,
}

/// A connection.
pub struct Flow {
    /// In words or as a number.
    pub proto: String,
    /// Who opened it.
    pub src: String,
    /// Where to.
    pub dst: String,
    /// 0 for protocols without ports.
    pub sport: u16,
    /// 0 for protocols without ports.
    pub dport: u16,
    /// The interface it keeps; null: none of ours.
    pub interface: Option<String>,
    /// Of both directions; null if the kernel does not count.
    pub bytes: Option<u64>,
    /// Of both directions; null if the kernel does not count.
    pub packets: Option<u64>,
    /// The kernel's number of it.
    #[serde(default)]
    pub id: u32,
}

/// An interface.
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its device.
    pub device: String,
    /// Whether the configuration enables it.
    pub enabled: bool,
    /// Its number: routing table, and mark before spreading; 0 if disabled.
    pub id: u32,
    /// Packet and connection mark as `0x100`.
    pub mark: String,
    /// One per family.
    pub paths: Vec<Path>,
}

/// One family of an interface.
pub struct Path {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `online`, `offline`, `connecting`, `disconnecting` or `disabled`.
    pub status: String,
    /// Whether it may carry traffic.
    pub usable: bool,
    /// Whether rules lead new connections to it now; a policy that no rule leads to does not count.
    pub carries: bool,
    /// Its owner wants no new flows on it.
    #[serde(default)]
    pub drained: bool,
    /// Why it is in its state.
    pub reason: Reason,
    /// Seconds since it became usable, or stopped being so.
    pub since_s: u64,
    /// Seconds since its device became able to carry traffic; 0 if it is not.
    pub uptime_s: u64,
    /// `active`, `down` (device) or `disabled` (no targets).
    pub tracking: String,
    /// mwan3's score.
    pub score: u32,
    /// Answers missed since the last good round.
    pub lost: u32,
    /// Rounds started.
    pub rounds: u64,
    /// Number of the last round that came to an outcome; 0: none has.
    #[serde(default)]
    pub judged_round: u64,
    /// Number of the last good round; 0: none was.
    #[serde(default)]
    pub good_round: u64,
    /// Seconds since the last round began; 0 without one.
    pub age_s: u64,
    /// It is held back as flapping.
    pub hold: Option<Hold>,
    /// Source address of its probes.
    pub source: Option<String>,
    /// Next hop of its routing table.
    pub gateway: Option<String>,
    /// Longest time between the first lost packet and the verdict, milliseconds; null where nothing is probed.
    pub worst_case_detection_ms: Option<u64>,
    /// Whether loss and latency of its targets decide (`check_quality`).
    #[serde(default)]
    pub check_quality: bool,
    /// By which figures they decide, if they do.
    #[serde(default)]
    pub quality: Option<Quality>,
    /// mwan3's sum of what is missing in the kernel: 1 iif rule, 2 fwmark rule, 4 unreachable rule, 8 inbound
    /// chain, 16 default route.
    pub missing: u32,
    /// Its targets.
    pub targets: Vec<Target>,
    /// The network manager's interface behind it, where there is a manager (OpenWrt's netifd) and the configuration does
    /// not name the device.
    pub network: Option<NetworkInterface>,
    /// Where its fault lies, if a target does not answer or its device lacks something: `link`, `gateway`, `beyond`, `target`, `dns` or
    /// `unknown`, and the evidence.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub fault: Option<Reason>,
}

/// Thresholds of `check_quality`.
#[derive(Copy, Eq)]
pub struct Quality {
    /// A target with at least this latency is down.
    pub failure_latency_ms: u32,
    /// One with at most this latency is up again.
    pub recovery_latency_ms: u32,
    /// A target with at least this loss is down.
    pub failure_loss_percent: u8,
    /// One with at most this loss is up again.
    pub recovery_loss_percent: u8,
}

/// Devices by which default routes leave; schema `mwan.candidates.v1`.
pub struct Candidates {
    /// `mwan.candidates.v1`.
    pub schema: String,
    /// The best one of the main routing table first.
    pub candidates: Vec<Candidate>,
}

/// A device by which a default route leaves.
pub struct Candidate {
    /// Its name.
    pub device: String,
    /// The interface of the configuration that has it.
    pub interface: Option<String>,
    /// The network manager's interface that is this device (OpenWrt's netifd).
    pub network: Option<String>,
    /// `ipv4`, `ipv6` or both: those that have a default route by it.
    pub families: Vec<String>,
    /// Next hops, that of the best route first; none on point-to-point links.
    pub gateways: Vec<String>,
    /// Its global addresses.
    pub addresses: Vec<String>,
    /// Whether one of the routes is in the main routing table; if not, it may be a tunnel's.
    pub main: bool,
}

/// An interface of the network manager.
pub struct NetworkInterface {
    /// Its name: the path's interface, or a child of it as `wan_6`.
    pub name: String,
    /// How it gets its addresses: `static`, `dhcp`, `pppoe`…
    pub proto: String,
    /// Metric of its routes.
    pub metric: u32,
    /// Prefixes delegated to us by it.
    pub prefixes: Vec<String>,
    /// Its name servers.
    pub dns: Vec<String>,
}

/// Why something is as it is.
pub struct Reason {
    /// Stable word.
    pub code: String,
    /// For people.
    pub text: String,
}

/// A path held back as flapping.
pub struct Hold {
    /// Seconds until it may carry again.
    pub remaining_s: u64,
    /// Losses that led to it.
    pub losses: u32,
}

/// A target of probes.
pub struct Target {
    /// Its address.
    pub ip: String,
    /// How it is asked: `ping`, `arp`, `tcp`, `udp`, `ttl`, `dns`, `http` or `https`.
    pub method: String,
    /// The target as it can be written in a configuration.
    pub target: String,
    /// `up`, `down` or `unknown`.
    pub status: String,
    /// Last round-trip time, microseconds.
    pub rtt_us: Option<u64>,
    /// Mean round-trip time of the last probes that were answered, milliseconds.
    pub latency_ms: Option<u32>,
    /// Percent of the last probes that were not answered.
    pub loss_percent: u8,
    /// Probes sent.
    pub sent: u64,
    /// Replies received.
    pub received: u64,
    /// Why the last probe failed, if known.
    pub error: Option<String>,
}

/// A policy.
pub struct Policy {
    /// Its name.
    pub name: String,
    /// What carries IPv4.
    pub ipv4: Carrier,
    /// What carries IPv6.
    pub ipv6: Carrier,
}

/// What carries a policy in one family: what the kernel has, which is not what is wanted while a change fails.
pub struct Carrier {
    /// The members that carry, in the order of the policy.
    pub members: Vec<Member>,
    /// `unreachable`, `blackhole` or `default` if none does. Absent without members too: the kernel does not have the
    /// policy as mwan made it.
    pub last_resort: Option<String>,
    /// New flows and their bytes so far, by interface.
    pub counters: Vec<MemberCounter>,
    /// How often others came to carry it since the daemon started.
    #[serde(default)]
    pub switches: u64,
}

/// A carrying member.
pub struct Member {
    /// Name of its interface.
    pub interface: String,
    /// weight × 100 / sum of weights, rounded down.
    pub percent: u32,
    /// Its weight.
    pub weight: u32,
}

/// Flows a member has been given.
pub struct MemberCounter {
    /// Name of its interface.
    pub interface: String,
    /// First packets of flows.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Networks by family.
pub struct Networks {
    /// IPv4 prefixes.
    pub ipv4: Vec<String>,
    /// IPv6 prefixes.
    pub ipv6: Vec<String>,
}

/// A rule in one family.
pub struct Rule {
    /// Its name.
    pub name: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its policy, or `default`, `unreachable`, `blackhole`.
    pub target: String,
    /// Whether it is sticky.
    pub sticky: bool,
    /// First packets of flows that matched.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Protocol in words or as a number; `all`.
    pub protocol: String,
    /// Source; empty = any.
    pub source: String,
    /// Destination; empty = any.
    pub destination: String,
    /// Everything else that has to match.
    pub more: String,
    /// Who keeps which interface, soonest to expire first; at most 1000 per interface.
    #[serde(default)]
    pub sticky_entries: Vec<StickyEntry>,
    /// What has gone to the kernel log; `None`: it does not log.
    #[serde(default)]
    pub logged: Option<Logged>,
    /// The interface it waits for, which has no device yet: the rule is not in the kernel. Such rules are behind all others.
    #[serde(default)]
    pub waiting_for: Option<String>,
}

/// How much of a rule is in the kernel log. There is a limit, so it may be less than has matched.
pub struct Logged {
    /// Lines: first packets of flows.
    pub packets: u64,
    /// Bytes of these packets.
    pub bytes: u64,
    /// Level of the lines: `emerg`, `alert`, `crit`, `error`, `warning`, `notice`, `info` or `debug`.
    pub level: String,
}

/// A source that keeps its interface for connections of a sticky rule.
pub struct StickyEntry {
    /// Source address.
    pub source: String,
    /// Destination address, with `sticky_key 'source+destination'`.
    pub destination: Option<String>,
    /// The interface it keeps.
    pub interface: String,
    /// How long if it opens no further connection, s.
    pub left_s: u64,
}

/// One finding in the configuration.
pub struct Diagnostic {
    /// `error`, `warning` or `note`.
    pub severity: String,
    /// Stable code.
    pub code: String,
    /// The whole line as `mwan check` prints it.
    pub text: String,
}

/// `mwan interfaces --json`; schema `mwan.interfaces.v1`.
pub struct InterfacesDocument {
    /// `mwan.interfaces.v1`.
    pub schema: String,
    /// As in the status.
    pub interfaces: Vec<Interface>,
}

/// `mwan policies --json`; schema `mwan.policies.v1`.
pub struct PoliciesDocument {
    /// `mwan.policies.v1`.
    pub schema: String,
    /// As in the status.
    pub policies: Vec<Policy>,
}

/// `mwan connected --json`; schema `mwan.connected.v1`.
pub struct ConnectedDocument {
    /// `mwan.connected.v1`.
    pub schema: String,
    /// As in the status.
    pub connected: Networks,
    /// As in the status.
    pub custom: Networks,
}

/// `mwan rules --json`; schema `mwan.rules.v1`.
pub struct RulesDocument {
    /// `mwan.rules.v1`.
    pub schema: String,
    /// As in the status.
    pub rules: Vec<Rule>,
}

/// `mwan check --json`; schema `mwan.check.v1`.
pub struct CheckDocument {
    /// `mwan.check.v1`.
    pub schema: String,
    /// In the order of the file.
    pub diagnostics: Vec<Diagnostic>,
}

/// What programs of the hook directory read on standard input; schema `mwan.hook.v1`.
pub struct HookDocument {
    /// `mwan.hook.v1`.
    pub schema: String,
    /// `ifup` or `ifdown` of an interface; `connecting`, `connected`, `disconnecting` or `disconnected` of one of its
    /// families.
    pub action: String,
    /// Name of the interface.
    pub interface: String,
    /// Its device; empty on `ifdown`.
    pub device: String,
    /// `ipv4` or `ipv6`; absent if the interface as a whole is meant.
    pub family: Option<String>,
    /// State before; absent if it is seen for the first time.
    pub previous: Option<String>,
    /// State now: `online`, `offline`, `connecting`, `disconnecting` or `disabled`.
    pub status: String,
    /// Every family of the interface.
    pub paths: Vec<HookPath>,
    /// Seconds since 1970.
    pub time_s: u64,
}

/// One family of an interface, for hooks.
pub struct HookPath {
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// Its state.
    pub status: String,
    /// Why.
    pub reason: Reason,
}

/// What would change, or differs; schema `mwan.plan.v1`.
pub struct Plan {
    /// `mwan.plan.v1`.
    pub schema: String,
    /// The whole table as nft text.
    pub nft: String,
    /// All ip rules, as `ip rule add` takes them.
    pub rules: Vec<String>,
    /// All routes, as `ip route add` takes them.
    pub routes: Vec<String>,
    /// What changes in the kernel, in order; empty = nothing.
    pub changes: Vec<String>,
    /// What is wrong with the configuration.
    pub diagnostics: Vec<Diagnostic>,
    /// What it means for present connections; absent: no daemon runs, or they cannot be read now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub impact: Option<Impact>,
}

/// How to bind a command to an interface.
pub struct Binding {
    /// Device.
    pub device: String,
    /// Source address per family, IPv4 first, as far as there is one.
    pub sources: Vec<String>,
    /// The default mark.
    pub mark: u32,
}
}

/// Schema of [`Status`].
pub const SCHEMA_STATUS: &str = "mwan.status.v1";
/// Schema of [`InterfacesDocument`].
pub const SCHEMA_INTERFACES: &str = "mwan.interfaces.v1";
/// Schema of [`PoliciesDocument`].
pub const SCHEMA_POLICIES: &str = "mwan.policies.v1";
/// Schema of [`ConnectedDocument`].
pub const SCHEMA_CONNECTED: &str = "mwan.connected.v1";
/// Schema of [`RulesDocument`].
pub const SCHEMA_RULES: &str = "mwan.rules.v1";
/// Schema of [`CheckDocument`].
pub const SCHEMA_CHECK: &str = "mwan.check.v1";
/// Schema of [`Events`].
pub const SCHEMA_EVENTS: &str = "mwan.events.v1";
/// Schema of [`Candidates`].
pub const SCHEMA_CANDIDATES: &str = "mwan.candidates.v1";
/// Schema of [`Flows`].
pub const SCHEMA_FLOWS: &str = "mwan.flows.v1";
/// Schema of [`Alerts`].
pub const SCHEMA_ALERTS: &str = "mwan.alerts.v1";
/// Schema of [`HookDocument`].
pub const SCHEMA_HOOK: &str = "mwan.hook.v1";
/// Schema of [`History`].
pub const SCHEMA_HISTORY: &str = "mwan.history.v1";
/// Schema of [`Report`].
pub const SCHEMA_REPORT: &str = "mwan.report.v1";
/// Schema of [`Plan`].
pub const SCHEMA_PLAN: &str = "mwan.plan.v1";
