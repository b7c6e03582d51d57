//! `mwan use INTERFACE COMMAND…`: a command whose every IP socket is bound to a device and carries a mark.
//!
//! By seccomp user notification on `socket(2)`, so that it works for static binaries, for Go, and for whatever the
//! command starts. The filter lets everything but `socket(AF_INET…)` and `socket(AF_INET6…)` pass in the kernel; those
//! wait for us, we make the socket, bind it to the device, mark it and hand it over.
//!
//! Not caught: `socketcall(2)` (32-bit x86 programs of before 2016) and io_uring's `IORING_OP_SOCKET`. Sockets in
//! another network namespace (`ip netns exec` inside the command) are left alone.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};

use socket2::{Domain, Protocol, Socket, Type};

use crate::sys::{self, Answer, Notification};

/// Why the command was not run.
#[derive(Debug, thiserror::Error)]
pub enum UseError {
    /// There is nothing to run.
    #[error("no command given")]
    Empty,
    /// The kernel or this processor cannot do it.
    #[error("this kernel cannot hand sockets to a command (it needs Linux 5.9 with CONFIG_SECCOMP_FILTER)")]
    Unsupported(#[source] io::Error),
    /// `mwan use` inside `mwan use`, or inside a container that watches system calls itself.
    #[error("the command's system calls are watched by somebody else already (mwan use inside mwan use?)")]
    Nested,
    /// The command could not be started.
    #[error("cannot run {command}")]
    Start {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// Watching it failed.
    #[error("supervising the command")]
    Supervise(#[from] io::Error),
}

impl UseError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            UseError::Unsupported(_) => {
                Some("curl --interface DEVICE, ping -I DEVICE and the like work without")
            }
            UseError::Nested => Some("run the innermost command alone"),
            _ => None,
        }
    }
}

/// How the command's sockets are bound. Their source address is the routing's choice.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding {
    /// `SO_BINDTODEVICE`.
    pub device: String,
    /// `SO_MARK`.
    pub mark: u32,
}

/// Passed on to the command if a process sends them to us; the terminal sends them to both by itself.
const SIGNALS: [i32; 6] =
    [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2];

/// Runs a command in the foreground and returns its status, once it and whatever it left running in the background
/// ended: without us they could not open sockets. `environment` is added to ours.
pub fn run(
    command: &[OsString],
    binding: &Binding,
    environment: &[(OsString, OsString)],
) -> Result<ExitStatus, UseError> {
    let (program, arguments) = command.split_first().ok_or(UseError::Empty)?;
    let filter = filter().ok_or_else(|| UseError::Unsupported(io::ErrorKind::Unsupported.into()))?;
    // A device that does not exist must not look like a network that does not work.
    sys::device_index(&binding.device)?;
    let (signals, mask) = sys::signals(&SIGNALS)?;
    let (ours, theirs) = UnixStream::pair()?;
    let mut process = Command::new(program);
    process.args(arguments).envs(environment.iter().map(|(name, value)| (name, value)));
    sys::install_listener(&mut process, filter, theirs);
    // The standard library clears the child's signal mask.
    let mut child = process.spawn().map_err(|source| match source.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => UseError::Unsupported(source),
        Some(libc::EBUSY) => UseError::Nested,
        _ => UseError::Start { command: program.to_string_lossy().into_owned(), source },
    })?;
    drop(process);
    let supervisor =
        Supervisor { binding, own_network: own_namespace("net"), own_user: own_namespace("user") };
    let result = sys::receive_descriptor(ours.as_fd())
        .and_then(|listener| supervisor.supervise(&listener, signals.as_fd(), &mut child));
    if result.is_err() {
        // Unsupervised it would only see sockets fail.
        let _ = child.kill();
    }
    let status = child.wait()?;
    drop(mask);
    result?;
    Ok(status)
}

struct Supervisor<'a> {
    binding: &'a Binding,
    own_network: Option<std::path::PathBuf>,
    own_user: Option<std::path::PathBuf>,
}

impl Supervisor<'_> {
    fn supervise(&self, listener: &OwnedFd, signals: BorrowedFd<'_>, child: &mut Child) -> io::Result<()> {
        let mut end = Some(sys::pidfd(child.id())?);
        loop {
            let events = match &end {
                Some(end) => sys::poll([listener.as_fd(), signals, end.as_fd()]),
                None => sys::poll([listener.as_fd(), signals]).map(|[calls, signal]| [calls, signal, 0]),
            };
            let [calls, signal, ended] = match events {
                Ok(events) => events,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            if signal != 0 {
                while let Some((number, from_process)) = sys::next_signal(signals) {
                    // Who has been waited for has no process number any more.
                    if from_process && end.is_some() {
                        sys::kill(child.id(), number);
                    }
                }
            }
            // Waited for at once: on old kernels, 6.1 among them, a zombie still has the filter, and the hang-up that we
            // wait for would never come.
            if ended != 0 && child.try_wait()?.is_some() {
                end = None;
            }
            if calls & libc::POLLIN != 0 {
                self.next_call(listener.as_fd())?;
            } else if calls != 0 {
                // POLLHUP: nobody is left who has the filter.
                return Ok(());
            }
        }
    }

    fn next_call(&self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let call = match sys::next_notification(listener) {
            Ok(call) => call,
            // The caller was killed meanwhile.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINTR)) => return Ok(()),
            Err(e) => return Err(e),
        };
        let result = match self.socket(&call) {
            Ok(Some(socket)) => {
                let cloexec = call.arguments[1] as i32 & libc::SOCK_CLOEXEC != 0;
                let handed = sys::hand_over(listener, call.id, socket.as_fd(), cloexec);
                match handed.as_ref().err().and_then(io::Error::raw_os_error) {
                    // The caller's limit of descriptors: its own error.
                    Some(errno @ (libc::EMFILE | libc::ENFILE)) => {
                        sys::answer(listener, call.id, Answer::Fail(errno))
                    }
                    _ => handed,
                }
            }
            Ok(None) => sys::answer(listener, call.id, Answer::Continue),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EACCES);
                sys::answer(listener, call.id, Answer::Fail(errno))
            }
        };
        match result {
            // A signal ended the call, or its caller.
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::EINPROGRESS)) => Ok(()),
            result => result,
        }
    }

    /// The socket a call asks for; `None`: the kernel shall make it, unbound.
    fn socket(&self, call: &Notification) -> io::Result<Option<Socket>> {
        // `socket(int, int, int)`: the upper halves of the registers mean nothing.
        let [domain, kind, protocol] = [0, 1, 2].map(|n| call.arguments[n] as i32);
        let is_raw = !matches!(kind & 0xf, libc::SOCK_STREAM | libc::SOCK_DGRAM);
        let thread = call.thread;
        let elsewhere = |name, own: &Option<_>| namespace(&thread.to_string(), name) != *own;
        if thread != 0 && elsewhere("net", &self.own_network) {
            return Ok(None);
        }
        let caller = Caller::read(thread);
        // We may make raw sockets; whether the caller may is for the kernel to say, and it says no.
        if is_raw && (!caller.is_some_and(|c| c.may_make_raw) || elsewhere("user", &self.own_user)) {
            return Ok(None);
        }
        let flags = kind & libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        let kind = Type::from(kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC) | flags);
        let owner = caller.map(|c| sys::FileOwner::assume(c.user, c.group));
        let socket = Socket::new_raw(Domain::from(domain), kind, Some(Protocol::from(protocol)))?;
        drop(owner);
        socket.bind_device(Some(self.binding.device.as_bytes()))?;
        socket.set_mark(self.binding.mark)?;
        Ok(Some(socket))
    }
}

/// What matters of who makes a call.
#[derive(Clone, Copy)]
struct Caller {
    user: u32,
    group: u32,
    may_make_raw: bool,
}

impl Caller {
    fn read(thread: u32) -> Option<Self> {
        const CAP_NET_RAW: u64 = 13;
        let status = std::fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
        // Real, effective, saved, file system: the last is what a new socket gets.
        let id = |name| field(name)?.split_whitespace().nth(3)?.parse().ok();
        let effective = u64::from_str_radix(field("CapEff:")?.trim(), 16).ok()?;
        let may_make_raw = effective >> CAP_NET_RAW & 1 == 1;
        Some(Caller { user: id("Uid:")?, group: id("Gid:")?, may_make_raw })
    }
}

fn own_namespace(name: &str) -> Option<std::path::PathBuf> {
    namespace("thread-self", name)
}

fn namespace(thread: &str, name: &str) -> Option<std::path::PathBuf> {
    std::fs::read_link(format!("/proc/{thread}/ns/{name}")).ok()
}

/// `AUDIT_ARCH_*` and number of `socket(2)`: of this processor and of its 32-bit programs.
fn architectures() -> &'static [(u32, u32)] {
    const NATIVE: u32 = libc::SYS_socket as u32;
    const BIG: bool = cfg!(target_endian = "big");
    match std::env::consts::ARCH {
        "x86_64" => &[(0xc000_003e, NATIVE), (0x4000_0003, 359)],
        "x86" => &[(0x4000_0003, NATIVE)],
        "aarch64" if !BIG => &[(0xc000_00b7, NATIVE), (0x4000_0028, 281)],
        "arm" if !BIG => &[(0x4000_0028, NATIVE)],
        "riscv64" => &[(0xc000_00f3, NATIVE)],
        "mips" if BIG => &[(0x0000_0008, NATIVE)],
        "mips" => &[(0x4000_0008, NATIVE)],
        "powerpc64" if !BIG => &[(0xc000_0015, NATIVE)],
        _ => &[],
    }
}

/// The seccomp program; `None` on a processor whose numbers we do not know.
fn filter() -> Option<Vec<libc::sock_filter>> {
    // struct seccomp_data: nr, arch, instruction pointer, arguments of 64 bits each.
    const NUMBER: u32 = 0;
    const ARCHITECTURE: u32 = 4;
    const DOMAIN: u32 = if cfg!(target_endian = "big") { 16 + 4 } else { 16 };
    let step = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |place| step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, place, 0, 0);
    let equals = |value, jt, jf| step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value, jt, jf);
    let allow = step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0);
    let ask = step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_USER_NOTIF, 0, 0);
    let known = architectures();
    let mut program = Vec::new();
    for (architecture, socket) in known {
        program.extend([
            load(ARCHITECTURE),
            equals(*architecture, 0, 7),
            load(NUMBER),
            equals(*socket, 0, 4),
            load(DOMAIN),
            equals(libc::AF_INET as u32, 1, 0),
            equals(libc::AF_INET6 as u32, 0, 1),
            ask,
            allow,
        ]);
    }
    program.push(allow);
    (!known.is_empty()).then_some(program)
}
