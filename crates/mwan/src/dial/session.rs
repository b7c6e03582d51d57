//! What is known of a session beyond our own life.

use std::fs;
use std::path::Path;

use mwan_config::ipfire::fnv1a;
use mwan_config::link::Link;
use mwan_dial::Role;
use mwan_linux::process;
use serde::{Deserialize, Serialize};

use crate::replace::{Durability, Marks, replace};

/// Largest file that is read, bytes.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Written before the first step, and whenever it changes.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(super) struct Session {
    /// Name of the link.
    pub(super) link: String,
    /// What tells that link from a later one of its name.
    #[serde(default)]
    pub(super) made_of: Option<MadeOf>,
    /// It is temporary.
    pub(super) trial: bool,
    /// Its processes, in the order they were started; the last is the connection.
    pub(super) processes: Vec<Process>,
    /// Programs that undo what was made, in the order in which they are to be run.
    pub(super) undo: Vec<Vec<String>>,
    /// Programs and files of the plan's end.
    pub(super) down: Vec<Down>,
    /// Not all of its steps have been carried out: there is nothing to carry on with.
    #[serde(default)]
    pub(super) unfinished: bool,
}

/// A link, without its secrets, in the words of one version of ours: another has others, and cannot compare them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct MadeOf {
    version: String,
    sum: u64,
}

/// What this version makes of it.
pub(super) fn made_of(link: &Link) -> MadeOf {
    // Secrets say nothing of themselves there.
    let sum = fnv1a(format!("{link:?}").as_bytes());
    MadeOf { version: env!("CARGO_PKG_VERSION").to_owned(), sum }
}

/// A process, and what tells it from a later one of its number.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) id: u32,
    /// Clock ticks after the boot.
    pub(super) start: u64,
}

/// A step of a plan's end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Down {
    /// Program and arguments.
    Run(Vec<String>),
    /// A file to be removed.
    Remove(String),
}

impl Session {
    pub(super) fn role(&self) -> Role {
        if self.trial { Role::Trial } else { Role::Carry }
    }

    /// Whether it is what would be brought up for `link`, as far as that is known. A password that has changed since disturbs
    /// nothing that is up.
    pub(super) fn is_of(&self, link: &Link) -> bool {
        let own = made_of(link);
        let differs = |left: &MadeOf| left.version == own.version && left.sum != own.sum;
        self.link == link.name && !self.made_of.as_ref().is_some_and(differs)
    }

    /// Whether it was brought up to the end, and everything of it lives. One without any process is as alive as its addresses:
    /// they stay.
    pub(super) fn is_alive(&self) -> bool {
        !self.unfinished && self.runs()
    }

    /// Whether all of its processes live.
    pub(super) fn runs(&self) -> bool {
        self.processes.iter().all(|p| process::is_alive(p.id, p.start))
    }

    /// `None` if it is not one of ours.
    pub(super) fn read(file: &Path) -> Option<Self> {
        if fs::metadata(file).ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        serde_json::from_slice(&fs::read(file).ok()?).ok()
    }

    /// A reader sees all of it or the one before.
    pub(super) fn write(&self, file: &Path) -> std::io::Result<()> {
        let content = serde_json::to_vec(self).map_err(std::io::Error::other)?;
        replace(file, Marks::ours(0o600), Durability::Process, &content)
    }
}
