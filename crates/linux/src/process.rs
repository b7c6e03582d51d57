//! Processes of ours: scripts with a time limit, and a daemon that outlives the terminal.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::Command;

use socket2::{Domain, SockAddr, Socket, Type};

use crate::sys;

/// Bytes of the file system that has `path`: all of them, and those that anybody may still write.
///
/// # Errors
/// Those of statvfs(3).
pub fn file_system(path: &std::path::Path) -> io::Result<(u64, u64)> {
    use std::os::unix::ffi::OsStrExt;
    sys::file_system(&std::ffi::CString::new(path.as_os_str().as_bytes())?)
}

/// Gives back the memory of code that only a start runs: the kernel maps sixteen pages around each one that is touched, and a
/// start touches nearly all. What runs on is mapped again at once, without the disk; the rest may go if memory is short.
pub fn leave_start_behind() {
    sys::forget_code();
}

/// Kills the process group that `leader` was started as (`CommandExt::process_group(0)`), all of it. `leader` must not
/// have been waited for yet: its number could be another's by then.
pub fn kill_group(leader: u32) {
    sys::kill_group(leader);
}

/// Makes reads from a pipe, and writes into it, return at once: for all who have the same open file (open(2)).
///
/// # Errors
/// Those of fcntl(2).
pub fn set_nonblocking(pipe: &impl AsFd) -> io::Result<()> {
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
    networks_of(device).into_iter().map(|(address, _)| address).collect()
}

/// The same, with the bits of their networks' masks.
pub fn networks_of(device: &str) -> Vec<(std::net::IpAddr, u8)> {
    sys::networks_of(device)
}

/// Whether there is a network device of that name that can be set up: one of Ethernet's kind needs its hardware address.
pub fn is_device(name: &str) -> bool {
    let Ok(socket) = std::os::unix::net::UnixDatagram::unbound() else { return false };
    sys::hardware_address(socket.as_fd(), name).is_ok_and(|address| address != Some([0; 6]))
}

/// Makes `command` the leader of a session of its own (setsid(2)): no terminal's hang-up or interrupt reaches it, and nothing
/// that its starter has open (a lock, a pipe somebody reads to its end) stays open in it. When its parent ends, it belongs to init.
pub fn detach(command: &mut Command) {
    sys::new_session(command);
}

/// Whether who listens at the other end of a connected Unix socket is root, or the user we are.
pub fn is_ours(socket: &std::os::unix::net::UnixStream) -> bool {
    let own = std::fs::metadata("/proc/self").map(|me| std::os::unix::fs::MetadataExt::uid(&me));
    sys::peer_user(socket.as_fd()).is_ok_and(|user| user == 0 || own.is_ok_and(|own| own == user))
}

/// Connects to who listens under an abstract name (unix(7)), without waiting for it: one that takes nobody, and whose queue others
/// fill, would be waited for for ever.
///
/// # Errors
/// Those of connect(2); `WouldBlock` if its queue is full.
pub fn connect_abstract(name: &str) -> io::Result<std::os::unix::net::UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.connect(&SockAddr::unix(format!("\0{name}"))?)?;
    Ok(OwnedFd::from(socket).into())
}

/// A process that is held by a descriptor (pidfd_open(2)): what is told to it cannot reach a later one of its number.
#[derive(Debug)]
pub struct Held {
    id: u32,
    descriptor: OwnedFd,
}

impl Held {
    /// The process that listens at `socket` (SO_PEERCRED, unix(7)).
    ///
    /// # Errors
    /// Nobody listens, or the kernel is older than 5.3.
    pub fn listener(socket: &std::path::Path) -> io::Result<Self> {
        let peer = || sys::peer_process(std::os::unix::net::UnixStream::connect(socket)?.as_fd());
        let id = peer()?;
        let descriptor = sys::pidfd(id)?;
        // It still listens, so it is the process that is held: the number had no chance to be another's in between.
        if peer()? == id { Ok(Held { id, descriptor }) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Asks it to end (SIGTERM). One that is gone already is no error.
    pub fn end(&self) {
        sys::signal_held(self.descriptor.as_fd(), sys::SIGTERM);
    }

    /// Kills it.
    pub fn kill(&self) {
        sys::signal_held(self.descriptor.as_fd(), sys::SIGKILL);
    }
}

/// A line of a terminal without showing it, or of whatever standard input is.
///
/// # Errors
/// Those of read(2).
pub fn read_hidden_line() -> io::Result<String> {
    let input = io::stdin();
    // Whoever is no terminal shows nothing.
    let hidden = sys::set_echo(input.as_fd(), false).is_ok();
    let mut line = String::new();
    let read = input.read_line(&mut line);
    if hidden {
        sys::set_echo(input.as_fd(), true)?;
    }
    read.map(|_| line.trim_end_matches(['\n', '\r']).to_owned())
}

/// A user as /etc/passwd has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct User {
    /// Its number.
    pub id: u32,
    /// Number of its group.
    pub group: u32,
}

impl User {
    /// Who this process is.
    pub fn own() -> Self {
        let (id, group) = sys::own_user();
        User { id, group }
    }

    /// The user of that name (passwd(5)).
    pub fn named(name: &str) -> Option<Self> {
        let text = std::fs::read_to_string("/etc/passwd").ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let own = fields.next()? == name;
            let (id, group) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
            own.then_some(User { id, group })
        })
    }

    /// The name of the user of that number (passwd(5)).
    pub fn name(id: u32) -> Option<String> {
        let text = std::fs::read_to_string("/etc/passwd").ok()?;
        text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)?.parse() == Ok(id)).then(|| name.to_owned())
        })
    }

    /// Whether it may do everything.
    pub fn is_root(self) -> bool {
        self.id == 0
    }
}

/// Becomes `user` for good, with all threads: no other groups, no capabilities, and no program that is started can have more
/// (`PR_SET_NO_NEW_PRIVS`). What was asked of the kernel by [`end_with_parent`] is asked again: another user forgets it
/// (commit_creds in kernel/cred.c). Who is that user already only gives up the privileges.
///
/// # Errors
/// Those of setgroups(2), setresgid(2), setresuid(2), prctl(2); then this process must not go on.
pub fn become_user(user: User) -> io::Result<()> {
    sys::become_user(user.id, user.group)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn code_of_the_start_is_given_back_and_runs_on() {
        let of_files = || -> u64 {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
            line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
        };
        // Other tests' threads are in the middle of it.
        let before = of_files();
        leave_start_behind();
        let after = of_files();
        assert!(after < before, "{after} KiB of {before} are left");
    }

    /// Any user may listen under a name, take nobody, and fill the queue.
    #[test]
    fn who_takes_nobody_is_not_waited_for() {
        let name = format!("mwan-test-{}-full", std::process::id());
        assert!(connect_abstract(&name).is_err(), "nobody listens");
        let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        listener.bind(&SockAddr::unix(format!("\0{name}")).unwrap()).unwrap();
        listener.listen(2).unwrap();
        let waiting: Vec<_> = (0..3).map(|_| connect_abstract(&name).unwrap()).collect();
        assert!(waiting.iter().all(is_ours));
        assert_eq!(connect_abstract(&name).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
