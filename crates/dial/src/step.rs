//! What is to be done, as values.

use std::time::Duration;

use crate::Secret;

/// How one link is brought up and taken down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// One after another; the first that fails ends the attempt, and what was done is undone.
    pub up: Vec<Step>,
    /// All of them, in this order, whatever fails: each must be harmless where there is nothing to undo.
    pub down: Vec<Step>,
    /// When it counts as established.
    pub ready: Ready,
    /// How long that may take from the first step on.
    pub limit: Duration,
}

/// One thing to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// A file that only root may read (mode 0600), written before anything reads it.
    Write {
        /// Absolute.
        path: String,
        /// All of it.
        content: Secret,
    },
    /// Removes a file that may not be there.
    Remove {
        /// Absolute.
        path: String,
    },
    /// A program that ends by itself; `argv[0]` is looked up in a fixed path, no shell is asked.
    Run {
        /// Program and arguments; no secret among them.
        argv: Vec<String>,
        /// How long it may take before its whole group is killed.
        limit: Duration,
        /// Statuses besides 0 that are no failure (an address that is there already).
        accept: Vec<i32>,
    },
    /// A program that stays: it is the connection. Its end is the connection's end.
    Spawn {
        /// Program and arguments; no secret among them.
        argv: Vec<String>,
    },
    /// Ends what `Spawn` started: SIGTERM to its group, SIGKILL after `limit`, and waits for it.
    Stop {
        /// Until it is killed.
        limit: Duration,
    },
}

/// When a link counts as established.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Ready {
    /// The device is up and has an address of its own.
    Address {
        /// The device.
        device: String,
    },
    /// The steps are enough.
    Steps,
}
