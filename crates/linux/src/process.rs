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

/// Makes `command` get SIGTERM when the thread that starts it ends, by whatever death (`PR_SET_PDEATHSIG`, prctl(2)).
pub fn end_with_parent(command: &mut Command) {
    sys::end_with_parent(command);
}

/// Asks a process to end (SIGTERM).
pub fn end(id: u32) {
    sys::end_process(id);
}

/// Asks a process group started as in [`kill_group`] to end (SIGTERM).
pub fn end_group(leader: u32) {
    sys::end_group(leader);
}

/// Whether the process `id` is the one that was started at `start` (clock ticks after the boot, field 22 of
/// `/proc/ID/stat`): a number alone may be another's by now.
pub fn is_alive(id: u32, start: u64) -> bool {
    start_of(id) == Some(start)
}

/// When a process was started, in clock ticks after the boot; `None` if there is none, or only its remains (a zombie).
pub fn start_of(id: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // The name stands in parentheses and may hold anything, parentheses too.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    // state is field 3, starttime field 22.
    fields.nth(18)?.parse().ok().filter(|_| !matches!(state, "Z" | "X"))
}

/// Addresses of a device that are valid beyond its link, IPv4 first; none if there is no such device.
pub fn addresses_of(device: &str) -> Vec<std::net::IpAddr> {
    sys::addresses_of(device)
}

/// Whether there is a network device of that name that can be set up: one of Ethernet's kind needs its hardware address.
pub fn is_device(name: &str) -> bool {
    let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() else { return false };
    sys::hardware_address(socket.as_fd(), name).is_ok_and(|address| address != Some([0; 6]))
}

/// Makes `command` the leader of a session of its own (setsid(2)): no terminal's hang-up or interrupt reaches it. When
/// its parent ends, it belongs to init.
pub fn detach(command: &mut Command) {
    sys::new_session(command);
}
