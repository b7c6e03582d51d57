//! System calls only the benchmark needs: frames that arrive as from a network card, staying on one
//! core, counting forks. Everything it exports is safe to call.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

/// Frames per poll, as NAPI_POLL_WEIGHT.
pub(crate) const BATCH: u32 = 64;

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

/// One instruction of BPF: code, registers (source in the upper half), offset, constant.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Instruction {
    pub(crate) code: u8,
    pub(crate) registers: u8,
    pub(crate) offset: i16,
    pub(crate) constant: i32,
}

// Commands, types and flags of linux/bpf.h.
const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_TEST_RUN: libc::c_int = 10;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_F_TEST_XDP_LIVE_FRAMES: u32 = 2;

/// # Safety
/// `attr` must be what `command` expects, and every address in it be valid for the call.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: promised by the caller; the size is that of the attribute.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    check(libc::c_int::try_from(rc).unwrap_or(-1))
}

/// An array of one 8-byte counter that a program can share.
pub(crate) struct Counter(OwnedFd);

impl Counter {
    /// At 0.
    pub(crate) fn new() -> io::Result<Counter> {
        let mut attr = [BPF_MAP_TYPE_ARRAY, 4, 8, 1];
        // SAFETY: type, size of key and value, number of elements; no addresses.
        unsafe { Ok(Counter(OwnedFd::from_raw_fd(bpf(BPF_MAP_CREATE, &mut attr)?))) }
    }

    /// Its number for the instruction that loads its address.
    pub(crate) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }

    /// Back to 0.
    pub(crate) fn reset(&self) -> io::Result<()> {
        let (key, value, map) = (0u32, 0u64, u64::try_from(self.number()).map_err(io::Error::other)?);
        let mut attr = [map, &raw const key as u64, &raw const value as u64, 0];
        // SAFETY: map, key, value, flags; both addresses are of locals of the map's sizes.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
    }
}

/// A loaded XDP program.
pub(crate) struct Program(OwnedFd);

#[repr(C)]
#[derive(Default)]
struct Load {
    kind: u32,
    count: u32,
    instructions: u64,
    license: u64,
    log: [u32; 2],
    log_address: u64,
}

#[repr(C)]
#[derive(Default)]
struct TestRun {
    program: u32,
    value: u32,
    data_size: [u32; 2],
    data: [u64; 2],
    repeat: u32,
    duration_ns: u32,
    context_size: [u32; 2],
    context: [u64; 2],
    flags: u32,
    cpu: u32,
    batch: u32,
    padding: u32,
}

impl Program {
    /// Has the kernel verify and translate it.
    pub(crate) fn load(instructions: &[Instruction]) -> io::Result<Program> {
        let count = u32::try_from(instructions.len()).map_err(io::Error::other)?;
        let (address, license) = (instructions.as_ptr() as u64, c"GPL".as_ptr() as u64);
        let mut attr =
            Load { kind: BPF_PROG_TYPE_XDP, count, instructions: address, license, ..Load::default() };
        // SAFETY: the slice and the literal live across the call; the count is the slice's.
        unsafe { Ok(Program(OwnedFd::from_raw_fd(bpf(BPF_PROG_LOAD, &mut attr)?))) }
    }

    /// Runs it `repeat` times on fresh frames that "arrive" on link `index` of the calling thread's
    /// namespace, 64 per poll as a network card's driver would hand them in; says the nanoseconds per frame.
    pub(crate) fn receive(&self, frame: &[u8], index: u32, repeat: u32) -> io::Result<u32> {
        let size = u32::try_from(frame.len()).map_err(io::Error::other)?;
        // xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, size, 0, index, 0, 0];
        let mut attr = TestRun {
            program: u32::try_from(self.0.as_raw_fd()).map_err(io::Error::other)?,
            data_size: [size, 0],
            data: [frame.as_ptr() as u64, 0],
            repeat,
            context_size: [size_of_val(&context) as u32, 0],
            context: [context.as_ptr() as u64, 0],
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            batch: BATCH,
            ..TestRun::default()
        };
        // SAFETY: frame and context live across the call and have the sizes given; nothing is written back
        // but into the attribute.
        unsafe { bpf(BPF_PROG_TEST_RUN, &mut attr) }?;
        Ok(attr.duration_ns)
    }
}

/// Gives a link of the calling thread's namespace another address.
pub(crate) fn set_mac(name: &str, mac: [u8; 6]) -> io::Result<()> {
    // SAFETY: socket() has no pointers; the request is initialised, holds a terminated name, and outlives
    // the call.
    unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let fd = OwnedFd::from_raw_fd(fd);
        let mut req: libc::ifreq = std::mem::zeroed();
        for (to, from) in req.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1).zip(name.bytes()) {
            *to = from as libc::c_char;
        }
        req.ifr_ifru.ifru_hwaddr.sa_family = libc::ARPHRD_ETHER;
        for (to, from) in req.ifr_ifru.ifru_hwaddr.sa_data.iter_mut().zip(mac) {
            *to = from as libc::c_char;
        }
        check(libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFHWADDR, &raw const req)).map(drop)
    }
}

/// Number of a link of the calling thread's namespace.
pub(crate) fn link_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name).map_err(io::Error::other)?;
    // SAFETY: a C string that lives across the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
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
