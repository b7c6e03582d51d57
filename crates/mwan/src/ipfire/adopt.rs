//! Sessions that a process before this one left.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use mwan_dial::Phase;

use super::Ipfire;

/// How long what they are is waited for: a modem has to be asked. The kernel works on by itself meanwhile.
const LIMIT: Duration = Duration::from_secs(2);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);

impl Ipfire {
    /// Before the engine has its first look at the links: one that is up, and not said to be yet, would lose its route for a
    /// moment (I10).
    pub(super) fn hear_of(&mut self, sessions: &BTreeSet<String>) {
        let deadline = Instant::now() + LIMIT;
        let open = |ipfire: &Ipfire| {
            let is_open = |name: &String| matches!(ipfire.manager.phase(name), Some(Phase::Dialling { .. }));
            sessions.iter().any(is_open)
        };
        while open(self) && Instant::now() < deadline {
            match self.happened.try_recv() {
                Ok((name, event)) => {
                    let event = self.told(name, event);
                    let _ = self.handle(event);
                }
                Err(_) => std::thread::sleep(LOOK),
            }
        }
    }
}
