//! Incidents: what is wrong, or was, and belongs together.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::settings::Severity;

/// What may be wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "of")]
pub enum Subject {
    /// A path is not usable.
    Path {
        /// Its interface.
        interface: String,
        /// `ipv4` or `ipv6`.
        family: String,
    },
    /// A policy has no WAN.
    Policy {
        /// Its name.
        policy: String,
        /// `ipv4` or `ipv6`.
        family: String,
    },
    /// The kernel does not take what is wanted.
    Kernel,
    /// The configuration file is not in force.
    Config,
    /// Nothing is wrong: something has happened.
    Note,
    /// Nothing is wrong: somebody wants to see a message.
    Test,
}

impl Subject {
    pub(crate) fn interface(&self) -> Option<&str> {
        match self {
            Subject::Path { interface, .. } => Some(interface),
            _ => None,
        }
    }

    pub(crate) fn severity(&self) -> Severity {
        match self {
            Subject::Path { .. } => Severity::Warning,
            Subject::Policy { .. } => Severity::Critical,
            Subject::Kernel | Subject::Config => Severity::Error,
            Subject::Note | Subject::Test => Severity::Info,
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Trouble {
    /// What.
    pub subject: Subject,
    /// A stable word for the cause.
    pub code: String,
    /// The cause for people.
    pub text: String,
    /// Since when, ms since 1970: the first time in this incident.
    pub since_ms: u64,
    /// Until when; `None`: it is wrong now.
    pub until_ms: Option<u64>,
    /// It is not right again, it just is no trouble any more: its owner has taken it down, or out of the configuration.
    #[serde(default)]
    pub withdrawn: bool,
    /// How often it has begun.
    pub times: u32,
}

/// Traffic of a policy that has gone elsewhere.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Move {
    /// The policy.
    pub policy: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// What carried before the incident.
    pub from: String,
    /// What carries now.
    pub to: String,
}

/// What a message says of an incident.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// It has begun.
    Open,
    /// It is over.
    Over,
    /// It has begun and is over.
    Both,
    /// Something has happened.
    Note,
    /// Nothing.
    Test,
    /// What has happened since the last digest.
    Digest,
}

impl Stage {
    /// As documents write it.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Open => "open",
            Stage::Over => "over",
            Stage::Both => "both",
            Stage::Note => "note",
            Stage::Test => "test",
            Stage::Digest => "digest",
        }
    }
}

/// What a channel has been told of an incident.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// How bad it was said to be.
    pub(crate) severity: Severity,
    /// How often it had come again.
    pub(crate) again: u32,
    /// That it is over.
    pub(crate) over: bool,
}

/// What is past of an incident that has begun anew.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Earlier {
    /// When it began first, ms since 1970.
    pub(crate) begin_ms: u64,
    /// How long it took until now, without the time in which nothing was wrong, ms.
    pub(crate) took_ms: u64,
}

/// Troubles that go together.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Incident {
    /// Its number, never used again.
    pub number: u64,
    /// A name that is unique for ever: when it began, and its number.
    pub id: String,
    /// When it began, ms since 1970.
    pub begin_ms: u64,
    /// What of it is past that began anew before anybody was told; for digests.
    #[serde(default)]
    pub(crate) earlier: Option<Earlier>,
    /// What was wrong, in the order it began.
    pub troubles: Vec<Trouble>,
    /// What moved, in the order of the first move.
    pub moves: Vec<Move>,
    /// Since when something has been wrong without a pause; `None`: nothing is.
    pub(crate) bad_since_ms: Option<u64>,
    /// Since when nothing has been wrong, if it may be over.
    pub(crate) well_since_ms: Option<u64>,
    /// The longest time something was wrong without a pause that is past, ms.
    pub(crate) longest_ms: u64,
    /// When it was over; `None`: it is not.
    pub over_ms: Option<u64>,
    /// How often it came again after it was over.
    pub again: u32,
    /// The worst it has been.
    pub severity: Severity,
    /// Which channel alone it is for.
    pub(crate) only: Option<String>,
    /// What channels know of it.
    pub(crate) told: BTreeMap<String, Told>,
}

/// What is wrong at most in one incident: every path of the largest site, and its policies.
pub(crate) const TROUBLES_MAX: usize = 300;
/// Moves that are kept at most.
pub(crate) const MOVES_MAX: usize = 300;
/// Losses in one incident from which on it is told of however short each of them was.
pub(crate) const TIMES_UNSTABLE: u32 = 3;

impl Incident {
    pub(crate) fn new(number: u64, begin_ms: u64) -> Self {
        Incident {
            number,
            id: format!("{begin_ms:x}-{number}"),
            begin_ms,
            earlier: None,
            troubles: Vec::new(),
            moves: Vec::new(),
            bad_since_ms: None,
            well_since_ms: None,
            longest_ms: 0,
            over_ms: None,
            again: 0,
            severity: Severity::Info,
            only: None,
            told: BTreeMap::new(),
        }
    }

    /// It begins anew: nobody knows of it yet.
    pub(crate) fn begin_anew(&mut self, at: u64, over_ms: u64) {
        let (begin_ms, before_ms) = self.earlier.map_or((self.begin_ms, 0), |e| (e.begin_ms, e.took_ms));
        let took_ms = before_ms.saturating_add(over_ms.saturating_sub(self.begin_ms));
        self.earlier = Some(Earlier { begin_ms, took_ms });
        self.begin_ms = at;
        self.moves.clear();
        self.troubles.iter_mut().for_each(|t| t.since_ms = at);
    }

    /// How long it took or has taken until `now_ms`.
    pub fn duration_ms(&self, now_ms: u64) -> u64 {
        self.over_ms.unwrap_or(now_ms).saturating_sub(self.begin_ms)
    }

    /// How often what began most often has begun.
    pub fn times(&self) -> u32 {
        self.troubles.iter().map(|t| t.times).max().unwrap_or(0)
    }

    /// Whether it comes and goes.
    pub fn is_unstable(&self) -> bool {
        self.times() >= TIMES_UNSTABLE || self.again > 0
    }

    /// Whether it only says that something has happened.
    pub fn is_note(&self) -> bool {
        self.troubles.iter().all(|t| matches!(t.subject, Subject::Note))
    }

    /// Whether it concerns a path of this interface.
    pub(crate) fn concerns(&self, interface: &str) -> bool {
        self.troubles.iter().any(|t| t.subject.interface() == Some(interface))
    }

    /// Its causes without those that follow from others of the same interface: without a device there is no address.
    pub fn causes(&self) -> impl Iterator<Item = &Trouble> {
        self.troubles.iter().filter(|t| {
            !self.troubles.iter().any(|other| {
                t.subject.interface().is_some()
                    && other.subject.interface() == t.subject.interface()
                    && rank(&other.code) <= RANK_OF_DEVICES
                    && rank(&other.code) < rank(&t.code)
            })
        })
    }
}

/// Causes up to this one are of a device and so of both its families.
const RANK_OF_DEVICES: u8 = 3;

/// How deep a cause lies: one that lies deeper explains the others of its path. The words are those of `mwan_core::Reason`.
pub(crate) fn rank(code: &str) -> u8 {
    match code {
        "no_interface" | "no_device" | "other_device" => 1,
        "interface_down" | "device_down" => 2,
        "no_carrier" => 3,
        "no_ipv6" => 4,
        "no_address" => 5,
        "no_gateway" => 6,
        "route_refused" => 7,
        "probes_lost" | "poor_quality" => 8,
        "failing" | "degrading" => 9,
        // On the way back, or nothing that is known here.
        _ => 10,
    }
}

/// Whether a path that is not usable for this reason is so because somebody wants it.
pub(crate) fn is_wanted(code: &str) -> bool {
    matches!(code, "taken_down" | "stopped" | "on_trial" | "not_seen" | "drill")
}
