//! Processes of ours: scripts with a time limit, and a daemon that outlives the terminal.

use std::io::{self, PipeReader};
use std::os::fd::AsFd;
use std::process::Command;

use crate::sys;

/// Kills the process group that `leader` was started as (`CommandExt::process_group(0)`), all of it. `leader` must not
/// have been waited for yet: its number could be another's by then.
pub fn kill_group(leader: u32) {
    sys::kill_group(leader);
}

/// Makes reads from a pipe return at once.
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(pipe: &PipeReader) -> io::Result<()> {
    sys::set_nonblocking(pipe.as_fd())
}

/// Makes `command` the leader of a session of its own (setsid(2)): no terminal's hang-up or interrupt reaches it. When
/// its parent ends, it belongs to init.
pub fn detach(command: &mut Command) {
    sys::new_session(command);
}
