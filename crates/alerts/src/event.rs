//! What is heard of the daemon. Words this crate does not know mean nothing to it: a newer daemon may say more.

use serde::{Deserialize, Serialize};

/// Something that has happened.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Event {
    /// Its number; later ones have greater numbers.
    pub id: u64,
    /// When, milliseconds since 1970.
    pub time_ms: u64,
    /// What kind: `path`, `switch`, `apply`, `repair`, `config`, `command`, `daemon`, `alert`.
    pub kind: String,
    /// How bad the daemon holds it to be.
    pub severity: String,
    /// The interface it is about.
    #[serde(default)]
    pub interface: Option<String>,
    /// `ipv4` or `ipv6`.
    #[serde(default)]
    pub family: Option<String>,
    /// The policy it is about.
    #[serde(default)]
    pub policy: Option<String>,
    /// State, or carrier, before.
    #[serde(default)]
    pub from: Option<String>,
    /// State, or carrier, after.
    #[serde(default)]
    pub to: Option<String>,
    /// A stable word for the reason.
    #[serde(default)]
    pub code: Option<String>,
    /// For people.
    pub text: String,
}

/// How one path is, of a [`Snapshot`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathNow {
    /// Its interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `online`, `offline`, `connecting`, `disconnecting` or `disabled`.
    pub status: String,
    /// Code of its reason.
    pub code: String,
    /// Its reason for people.
    pub text: String,
    /// Since when, ms.
    pub age_ms: u64,
}

/// How everything is now, whatever events were missed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The paths of enabled interfaces.
    pub paths: Vec<PathNow>,
    /// Policies without a WAN, as name and family.
    pub without_wan: Vec<(String, String)>,
    /// Why the last change of the kernel failed, if it did.
    pub apply_error: Option<String>,
    /// Why the configuration file is not in force, if it is not.
    pub config_rejected: Option<String>,
}
