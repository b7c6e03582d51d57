//! System calls only the benchmark needs: sending many frames at once, staying on one core, counting
//! forks. Everything it exports is safe to call.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Bytes of a frame without its check sequence: 64 on the wire, the least Ethernet allows.
pub(crate) const FRAME: usize = 60;
/// Frames per system call.
pub(crate) const BATCH: usize = 64;

fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Keeps the calling thread on the machine's last core, and says which that is.
pub(crate) fn pin_to_last_core() -> io::Result<usize> {
    // SAFETY: the set is plain data, zeroed, and its size is given; CPU_SET stays within it as sysconf's
    // number of cores is capped to its bits.
    unsafe {
        let cores = usize::try_from(libc::sysconf(libc::_SC_NPROCESSORS_ONLN)).unwrap_or(1);
        let core = cores.clamp(1, libc::CPU_SETSIZE as usize) - 1;
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut set);
        check(libc::sched_setaffinity(0, size_of_val(&set), &raw const set))?;
        Ok(core)
    }
}

/// Puts whole frames on one link, with as little in front of the link as the kernel offers.
pub(crate) struct FrameSender(OwnedFd);

impl FrameSender {
    /// Opens it on `device` in the calling thread's namespace; it may then be used by any thread.
    pub(crate) fn open(device: &str) -> io::Result<FrameSender> {
        let name = CString::new(device).map_err(io::Error::other)?;
        // SAFETY: pointers are to initialised locals that outlive each call; sizes are theirs.
        unsafe {
            // Protocol 0: it only sends.
            let fd = check(libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0))?;
            let fd = OwnedFd::from_raw_fd(fd);
            let index = libc::if_nametoindex(name.as_ptr());
            if index == 0 {
                return Err(io::Error::last_os_error());
            }
            let (on, len) = (1, size_of::<libc::c_int>() as libc::socklen_t);
            let on: *const libc::c_int = &raw const on;
            let (level, option) = (libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS);
            check(libc::setsockopt(fd.as_raw_fd(), level, option, on.cast(), len))?;
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            check(libc::bind(fd.as_raw_fd(), (&raw const to).cast(), len))?;
            Ok(FrameSender(fd))
        }
    }

    /// Sends all frames in order.
    pub(crate) fn send(&self, frames: &mut [[u8; FRAME]; BATCH]) -> io::Result<()> {
        let mut parts =
            frames.each_mut().map(|f| libc::iovec { iov_base: f.as_mut_ptr().cast(), iov_len: FRAME });
        let mut messages = parts.each_mut().map(|part| {
            // SAFETY: all zero is a valid message header.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            message
        });
        let mut done = 0;
        while done < BATCH {
            let rest = &mut messages[done..];
            // SAFETY: the headers point to parts and frames that live across the call.
            let sent = unsafe { libc::sendmmsg(self.0.as_raw_fd(), rest.as_mut_ptr(), rest.len() as _, 0) };
            done += check(sent)? as usize;
        }
        Ok(())
    }
}

/// Deletes all connection entries of the calling thread's namespace, as `conntrack -F` does.
pub(crate) fn flush_conntrack() -> io::Result<()> {
    // nlmsghdr: length 20, type NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, REQUEST | ACK, seq, port;
    // nfgenmsg: any family, version 0. Delete without attributes is a flush: ctnetlink_del_conntrack().
    let mut message = [0u8; 20];
    message[0..4].copy_from_slice(&20u32.to_ne_bytes());
    message[4..6].copy_from_slice(&0x0102u16.to_ne_bytes());
    message[6..8].copy_from_slice(&5u16.to_ne_bytes());
    let domain = socket2::Domain::from(libc::AF_NETLINK);
    let protocol = socket2::Protocol::from(libc::NETLINK_NETFILTER);
    let socket = socket2::Socket::new(domain, socket2::Type::RAW, Some(protocol))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.send(&message)?;
    let mut answer = [0; 64];
    let n = io::Read::read(&mut &socket, &mut answer)?;
    // nlmsgerr follows the header; 0 is the acknowledgement.
    let code = answer.get(16..20).filter(|_| n >= 20).and_then(|b| b.try_into().ok());
    match code.map(i32::from_ne_bytes) {
        Some(0) => Ok(()),
        Some(error) => Err(io::Error::from_raw_os_error(-error)),
        None => Err(io::Error::other("short answer of ctnetlink")),
    }
}

/// What a process and all it started did.
#[derive(Default, Debug)]
pub(crate) struct Forks {
    /// Processes made.
    pub(crate) processes: u32,
    /// Threads made.
    pub(crate) threads: u32,
    /// Programs executed after its own.
    pub(crate) execs: u32,
}

/// Runs `command` under the kernel's tracer for `time`, then kills it, and counts.
pub(crate) fn count_forks(mut command: Command, time: Duration) -> io::Result<Forks> {
    // SAFETY: between fork and exec only one system call without pointers.
    unsafe {
        command.pre_exec(|| {
            let none = std::ptr::null_mut::<libc::c_void>();
            if libc::ptrace(libc::PTRACE_TRACEME, 0, none, none) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    let child = command.spawn()?;
    let pid = libc::pid_t::try_from(child.id()).map_err(io::Error::other)?;
    let mut tracer = Tracer { pid, tasks: vec![pid], forks: Forks::default() };
    let outcome = tracer.watch(time);
    tracer.end();
    outcome.map(|()| tracer.forks)
}

struct Tracer {
    pid: libc::pid_t,
    tasks: Vec<libc::pid_t>,
    forks: Forks,
}

impl Tracer {
    fn watch(&mut self, time: Duration) -> io::Result<()> {
        wait(self.pid, 0)?; // stopped by its exec
        let options = libc::PTRACE_O_TRACEFORK
            | libc::PTRACE_O_TRACEVFORK
            | libc::PTRACE_O_TRACECLONE
            | libc::PTRACE_O_TRACEEXEC
            | libc::PTRACE_O_EXITKILL;
        request(libc::PTRACE_SETOPTIONS, self.pid, options as usize)?;
        request(libc::PTRACE_CONT, self.pid, 0)?;
        let begin = Instant::now();
        while begin.elapsed() < time {
            for task in self.tasks.clone() {
                if let Some(status) = wait(task, libc::WNOHANG)? {
                    self.stopped(task, status)?;
                }
            }
            if !self.tasks.contains(&self.pid) {
                return Err(io::Error::other("the traced program ended"));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        Ok(())
    }

    fn stopped(&mut self, task: libc::pid_t, status: libc::c_int) -> io::Result<()> {
        if !libc::WIFSTOPPED(status) {
            self.tasks.retain(|t| *t != task);
            return Ok(());
        }
        let signal = libc::WSTOPSIG(status);
        let forward = match status >> 16 {
            libc::PTRACE_EVENT_EXEC => {
                self.forks.execs += 1;
                0
            }
            0 if signal == libc::SIGSTOP => 0, // how every new task begins
            0 => signal,
            _ => {
                self.made(task)?;
                0
            }
        };
        request(libc::PTRACE_CONT, task, usize::try_from(forward).unwrap_or(0))
    }

    /// `parent` made a task: a thread if it belongs to the same group.
    fn made(&mut self, parent: libc::pid_t) -> io::Result<()> {
        let mut new: libc::c_ulong = 0;
        request(libc::PTRACE_GETEVENTMSG, parent, &raw mut new as usize)?;
        let new = libc::pid_t::try_from(new).map_err(io::Error::other)?;
        let is_thread = std::path::Path::new(&format!("/proc/{}/task/{new}", self.pid)).exists();
        *(if is_thread { &mut self.forks.threads } else { &mut self.forks.processes }) += 1;
        self.tasks.push(new);
        Ok(())
    }

    /// Kills and reaps all; traced threads must be reaped before the leader can be.
    fn end(&mut self) {
        for task in &self.tasks {
            // SAFETY: plain numbers; tasks we started and have not reaped.
            unsafe { libc::kill(*task, libc::SIGKILL) };
        }
        let begin = Instant::now();
        while !self.tasks.is_empty() && begin.elapsed() < Duration::from_secs(5) {
            let gone = |status| matches!(status, Ok(Some(s)) if libc::WIFEXITED(s) || libc::WIFSIGNALED(s));
            self.tasks.retain(|task| {
                let status = wait(*task, libc::WNOHANG);
                !gone(status.as_ref().map(|s| *s).map_err(drop)) && status.is_ok()
            });
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A change of state of one task, if there is one.
fn wait(task: libc::pid_t, flags: libc::c_int) -> io::Result<Option<libc::c_int>> {
    let mut status = 0;
    // SAFETY: the status lives across the call.
    let rc = check(unsafe { libc::waitpid(task, &raw mut status, libc::__WALL | flags) })?;
    Ok((rc > 0).then_some(status))
}

/// A request of the tracer about a stopped task; `data` is a number or the address of a valid object.
fn request(what: libc::c_uint, task: libc::pid_t, data: usize) -> io::Result<()> {
    let none = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: of the requests used here only GETEVENTMSG takes an address, of a c_ulong of its caller.
    let rc = unsafe { libc::ptrace(what, task, none, data as *mut libc::c_void) };
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
