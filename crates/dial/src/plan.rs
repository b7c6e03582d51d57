//! What is to be done, as values.

use std::time::Duration;

use mwan_config::link::Secret;

use crate::qmi::Setup;

/// How one link is brought up and taken down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One after another; the first that fails ends the attempt, and `down` follows.
    pub up: Vec<Step>,
    /// All of them, in this order, whatever fails: each is harmless where there is nothing to undo.
    pub down: Vec<Step>,
    /// When it counts as established.
    pub ready: Ready,
    /// How long that may take from the first step on.
    pub limit: Duration,
    /// A file that tells more of a failure than a status can; absolute.
    pub report: Option<String>,
    /// What is done instead when the report says that the SIM asks for its PIN ([`crate::sim_asks`]): it is told, once. Empty if
    /// there is none to tell.
    pub unlock: Vec<Step>,
    /// As soon as it is ready; what they say is for [`crate::established`].
    pub then: Vec<Step>,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A file that only root may read (mode 0600), complete before anything reads it.
    Write {
        /// Absolute.
        path: String,
        /// All of it.
        content: Secret,
    },
    /// A file of sysfs gets a value.
    Set {
        /// Absolute.
        path: String,
        /// What is written.
        value: &'static str,
    },
    /// Removes a file that may not be there.
    Remove {
        /// Absolute.
        path: String,
    },
    /// A program that ends by itself. `argv[0]` is looked up in a fixed path; no shell is asked.
    Run {
        /// Program and arguments; no secret among them.
        argv: Vec<String>,
        /// Its failure is none.
        may_fail: bool,
    },
    /// Makes something that may be there already, of others' making: then the program fails, and nothing is undone.
    Make {
        /// Program and arguments.
        argv: Vec<String>,
        /// What undoes it; run at the end, in reverse order, for what was made by us.
        undo: Vec<String>,
    },
    /// Waits for a network device that a program before this step makes, and for its hardware address; ends the attempt if none
    /// comes.
    Await {
        /// Its name.
        device: String,
    },
    /// Tells a modem what must not be in an argument.
    Qmi {
        /// Its control device, absolute.
        control: String,
        /// What it is told.
        setup: Setup,
    },
    /// A program that stays. If it is the connection, its end is the connection's.
    Spawn {
        /// Program and arguments; no secret among them.
        argv: Vec<String>,
    },
}

impl Step {
    /// A program that has to succeed.
    pub(crate) fn run(argv: &[&str]) -> Step {
        Step::Run { argv: argv.iter().map(|a| (*a).to_owned()).collect(), may_fail: false }
    }

    pub(crate) fn make(argv: &[&str], undo: &[&str]) -> Step {
        let words = |argv: &[&str]| argv.iter().map(|a| (*a).to_owned()).collect();
        Step::Make { argv: words(argv), undo: words(undo) }
    }

    /// A program whose failure means that there was nothing to do.
    pub(crate) fn attempt(argv: &[&str]) -> Step {
        Step::Run { argv: argv.iter().map(|a| (*a).to_owned()).collect(), may_fail: true }
    }

    pub(crate) fn spawn(argv: &[&str]) -> Step {
        Step::Spawn { argv: argv.iter().map(|a| (*a).to_owned()).collect() }
    }

    pub(crate) fn remove(path: &str) -> Step {
        Step::Remove { path: path.to_owned() }
    }
}

/// When a link counts as established.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ready {
    /// The device is up and has an address that lasts.
    Address {
        /// The device.
        device: String,
    },
    /// As before, and the addresses come from what a program says once the call is established: see [`crate::qmi_settings`].
    Qmi {
        /// The device.
        device: String,
        /// Program and arguments; it fails until then.
        ask: Vec<String>,
    },
}
