//! The few system calls the standard library has no words for: namespaces, packet sockets, tun, link
//! flags. The only module of this crate that may say `unsafe`; everything it exports is safe to call.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Turns a `-1` of libc into the error it stands for.
fn check(rc: libc::c_int) -> io::Result<libc::c_int> {
    if rc < 0 { Err(io::Error::last_os_error()) } else { Ok(rc) }
}

/// Whether we are root (in whatever user namespace we are in).
pub fn is_root() -> bool {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Real user and group id.
pub fn ids() -> (u32, u32) {
    // SAFETY: no arguments, cannot fail.
    unsafe { (libc::getuid(), libc::getgid()) }
}

/// Gives the calling thread a network namespace of its own.
pub fn unshare_net() -> io::Result<()> {
    // SAFETY: plain flags.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Gives the process a user namespace of its own; only while it has one thread.
pub fn unshare_user() -> io::Result<()> {
    // SAFETY: plain flags.
    check(unsafe { libc::unshare(libc::CLONE_NEWUSER) }).map(drop)
}

/// Gives the process a mount namespace of its own, from which nothing spreads to the host.
pub fn unshare_mount() -> io::Result<()> {
    // SAFETY: plain flags; the strings are literals with a terminating zero; null data is allowed.
    unsafe {
        check(libc::unshare(libc::CLONE_NEWNS))?;
        let flags = libc::MS_REC | libc::MS_PRIVATE;
        check(libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), flags, std::ptr::null()))?;
    }
    Ok(())
}

/// Mounts an empty tmpfs over `path` (meant for a private mount namespace).
pub fn mount_tmpfs(path: &str) -> io::Result<()> {
    let path = CString::new(path).map_err(io::Error::other)?;
    let (kind, data) = (c"tmpfs".as_ptr(), c"mode=755,size=64m".as_ptr());
    // SAFETY: every pointer is a C string that lives across the call.
    check(unsafe { libc::mount(kind, path.as_ptr(), kind, 0, data.cast()) }).map(drop)
}

/// Moves the calling thread into the network namespace `ns`.
pub fn enter_net(ns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: a valid descriptor for the duration of the call.
    check(unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Makes `command` run in `ns` (if given) and die with the thread that starts it, even if that is killed by -9.
pub fn confine(command: &mut Command, ns: Option<RawFd>) {
    // SAFETY: between fork and exec only async-signal-safe calls: setns, prctl.
    unsafe {
        command.pre_exec(move || {
            if let Some(ns) = ns {
                check(libc::setns(ns, libc::CLONE_NEWNET))?;
            }
            check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
            Ok(())
        });
    }
}

/// Sends a signal to one process that we started.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    // SAFETY: plain numbers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Ask politely to end.
pub const SIGTERM: i32 = libc::SIGTERM;
/// End at once.
pub const SIGKILL: i32 = libc::SIGKILL;
/// Read the configuration again.
pub const SIGHUP: i32 = libc::SIGHUP;

/// Raises the number of open files to what the system allows; thousands of short flows need it.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a valid struct, read and written in place. Failing only means fewer parallel sockets.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(65_536);
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

fn interface_name(name: &str) -> io::Result<[libc::c_char; libc::IFNAMSIZ]> {
    let mut out = [0; libc::IFNAMSIZ];
    if name.is_empty() || name.len() >= libc::IFNAMSIZ {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "bad interface name"));
    }
    for (to, from) in out.iter_mut().zip(name.bytes()) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    Ok(out)
}

/// Sets a link of the calling thread's namespace up or down with one ioctl: the moment is exact, which
/// starting `ip` would blur by milliseconds.
pub fn set_link(name: &str, up: bool) -> io::Result<()> {
    // SAFETY: socket() has no pointers; the ifreq is initialised and outlives the calls.
    unsafe {
        let fd = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let fd = OwnedFd::from_raw_fd(fd);
        let mut req: libc::ifreq = std::mem::zeroed();
        req.ifr_name = interface_name(name)?;
        check(libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut req))?;
        let flag = libc::IFF_UP as libc::c_short;
        if up {
            req.ifr_ifru.ifru_flags |= flag;
        } else {
            req.ifr_ifru.ifru_flags &= !flag;
        }
        check(libc::ioctl(fd.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const req))?;
    }
    Ok(())
}

/// Opens a tun device of the calling thread's namespace, without packet information.
pub fn open_tun(name: &str) -> io::Result<File> {
    let file =
        OpenOptions::new().read(true).write(true).custom_flags(libc::O_CLOEXEC).open("/dev/net/tun")?;
    // SAFETY: the ifreq is initialised and outlives the ioctl.
    unsafe {
        let mut req: libc::ifreq = std::mem::zeroed();
        req.ifr_name = interface_name(name)?;
        req.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        check(libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut req))?;
    }
    Ok(file)
}

/// A socket that sees every IP packet of one link, both directions, with kernel time stamps.
pub struct PacketSocket(OwnedFd);

/// One packet seen by a [`PacketSocket`].
pub struct Seen {
    /// How much of it is in the buffer.
    pub len: usize,
    /// It was sent by the namespace the socket is in (else: received).
    pub outgoing: bool,
    /// When the kernel saw it.
    pub at: SystemTime,
}

impl PacketSocket {
    /// Opens it on `device` in the calling thread's namespace.
    pub fn open(device: &str) -> io::Result<PacketSocket> {
        let name = CString::new(device).map_err(io::Error::other)?;
        // SAFETY: pointers are to initialised locals that outlive each call; sizes are theirs.
        unsafe {
            // Protocol 0 first: a socket bound later must not queue packets of other links meanwhile.
            let fd = check(libc::socket(libc::AF_PACKET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
            let fd = OwnedFd::from_raw_fd(fd);
            let index = libc::if_nametoindex(name.as_ptr());
            if index == 0 {
                return Err(io::Error::last_os_error());
            }
            for (option, value) in [(libc::SO_RCVBUF, 8 << 20), (libc::SO_RCVBUFFORCE, 64 << 20)] {
                // Forcing needs the first user namespace; without it the plain limit must do.
                let _ = set_option(&fd, option, value);
            }
            set_option(&fd, libc::SO_TIMESTAMPNS, 1)?;
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
            to.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
            let len = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            check(libc::bind(fd.as_raw_fd(), (&raw const to).cast(), len))?;
            Ok(PacketSocket(fd))
        }
    }

    /// The next packet, or `None` if there is none within `patience`.
    pub fn recv(&self, buffer: &mut [u8], patience: Duration) -> io::Result<Option<Seen>> {
        if !readable(self.0.as_fd(), patience)? {
            return Ok(None);
        }
        // SAFETY: every pointer handed over is to a local or to `buffer` and lives across the call.
        unsafe {
            let mut from: libc::sockaddr_ll = std::mem::zeroed();
            let mut control = [0u64; 16];
            let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
            let mut msg: libc::msghdr = std::mem::zeroed();
            msg.msg_name = (&raw mut from).cast();
            msg.msg_namelen = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            msg.msg_iov = &raw mut part;
            msg.msg_iovlen = 1;
            msg.msg_control = control.as_mut_ptr().cast();
            msg.msg_controllen = size_of_val(&control) as _;
            let n = libc::recvmsg(self.0.as_raw_fd(), &raw mut msg, libc::MSG_DONTWAIT);
            if n < 0 {
                let e = io::Error::last_os_error();
                // ENETDOWN is reported once when the link goes down: a fault, not the end of the capture.
                let again = e.kind() == io::ErrorKind::WouldBlock || e.raw_os_error() == Some(libc::ENETDOWN);
                return if again { Ok(None) } else { Err(e) };
            }
            let outgoing = from.sll_pkttype == 4; // PACKET_OUTGOING, linux/if_packet.h
            Ok(Some(Seen { len: n as usize, outgoing, at: stamp(&msg).unwrap_or_else(SystemTime::now) }))
        }
    }
}

/// The kernel's receive time out of a message's control data.
///
/// # Safety
/// `msg` must have been filled by recvmsg and its control buffer still be alive.
unsafe fn stamp(msg: &libc::msghdr) -> Option<SystemTime> {
    // SAFETY: the CMSG macros walk within msg_controllen, as promised by the caller.
    unsafe {
        let mut item = libc::CMSG_FIRSTHDR(msg);
        while !item.is_null() {
            if (*item).cmsg_level == libc::SOL_SOCKET && (*item).cmsg_type == libc::SCM_TIMESTAMPNS {
                let t: libc::timespec = std::ptr::read_unaligned(libc::CMSG_DATA(item).cast());
                let since = Duration::new(u64::try_from(t.tv_sec).ok()?, u32::try_from(t.tv_nsec).ok()?);
                return Some(SystemTime::UNIX_EPOCH + since);
            }
            item = libc::CMSG_NXTHDR(msg, item);
        }
    }
    None
}

fn set_option(fd: &OwnedFd, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: value lives across the call and len is its size.
    let rc =
        unsafe { libc::setsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const value).cast(), len) };
    check(rc).map(drop)
}

/// Waits until `fd` has something to read, at most `patience`.
pub fn readable(fd: BorrowedFd<'_>, patience: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let ms = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
    // SAFETY: one entry, and we say so.
    match check(unsafe { libc::poll(&raw mut entry, 1, ms) }) {
        Ok(n) => Ok(n > 0),
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(false),
        Err(e) => Err(e),
    }
}

/// Readiness of many sockets at once; a closed socket leaves by itself.
pub struct Epoll(OwnedFd);

impl Epoll {
    /// An empty one.
    pub fn new() -> io::Result<Epoll> {
        // SAFETY: plain flags; the result is a fresh descriptor.
        unsafe { Ok(Epoll(OwnedFd::from_raw_fd(check(libc::epoll_create1(libc::EPOLL_CLOEXEC))?))) }
    }

    /// Watches `fd` for input under the number `key`.
    pub fn add(&self, fd: BorrowedFd<'_>, key: u64) -> io::Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: key };
        let op = libc::EPOLL_CTL_ADD;
        // SAFETY: both descriptors are open and the event outlives the call.
        check(unsafe { libc::epoll_ctl(self.0.as_raw_fd(), op, fd.as_raw_fd(), &raw mut event) }).map(drop)
    }

    /// The keys of up to 64 sockets that have input, waiting at most `patience`.
    pub fn wait(&self, patience: Duration) -> io::Result<Vec<u64>> {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        let ms = libc::c_int::try_from(patience.as_millis()).unwrap_or(libc::c_int::MAX);
        // SAFETY: the array is as long as we say.
        match check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 64, ms) }) {
            Ok(n) => Ok(events.iter().take(n as usize).map(|e| e.u64).collect()),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }
}

/// How many segments the kernel had to send again on a TCP connection.
pub fn tcp_retransmissions(fd: BorrowedFd<'_>) -> Option<u32> {
    // SAFETY: the struct is plain data, zeroed, and len is its size; the kernel fills at most that.
    unsafe {
        let mut info: libc::tcp_info = std::mem::zeroed();
        let mut len = size_of::<libc::tcp_info>() as libc::socklen_t;
        let (level, option) = (libc::IPPROTO_TCP, libc::TCP_INFO);
        let rc = libc::getsockopt(fd.as_raw_fd(), level, option, (&raw mut info).cast(), &raw mut len);
        (rc == 0).then_some(info.tcpi_total_retrans)
    }
}

/// Width of the terminal on standard output, if it is one.
pub fn terminal_width() -> Option<usize> {
    // SAFETY: winsize is plain data and outlives the ioctl.
    unsafe {
        let mut size: libc::winsize = std::mem::zeroed();
        let rc = libc::ioctl(1, libc::TIOCGWINSZ, &raw mut size);
        (rc == 0 && size.ws_col > 0).then_some(usize::from(size.ws_col))
    }
}
