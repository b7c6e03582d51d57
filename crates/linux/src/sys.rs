//! Every system call that the standard library and `socket2` have no safe form of. The only module of the
//! project with `unsafe` code; each function is a thin wrapper with a safe signature.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

/// Turns -1 into the errno of the call just made.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

/// `socket(2)`; always close-on-exec and non-blocking unless `kind` says otherwise.
pub(crate) fn socket(domain: i32, kind: i32, protocol: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain values; a successful call returns a descriptor nobody else owns.
    unsafe { Ok(OwnedFd::from_raw_fd(check(libc::socket(domain, kind, protocol))?)) }
}

/// Binds a netlink socket to a port of the kernel's choice and returns it.
pub(crate) fn bind_netlink(fd: BorrowedFd<'_>) -> io::Result<u32> {
    // SAFETY: sockaddr_nl is plain data, the lengths are those of the variable.
    unsafe {
        let mut address: libc::sockaddr_nl = mem::zeroed();
        address.nl_family = libc::AF_NETLINK as libc::sa_family_t;
        let mut length = mem::size_of::<libc::sockaddr_nl>() as libc::socklen_t;
        check(libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length))?;
        check(libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut address).cast(), &mut length))?;
        Ok(address.nl_pid)
    }
}

/// `setsockopt` of an `int`.
pub(crate) fn set_option(fd: BorrowedFd<'_>, level: i32, name: i32, value: i32) -> io::Result<()> {
    set_option_bytes(fd, level, name, &value.to_ne_bytes())
}

/// `setsockopt` of bytes.
pub(crate) fn set_option_bytes(fd: BorrowedFd<'_>, level: i32, name: i32, value: &[u8]) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice.
    let result = unsafe {
        let length = value.len() as libc::socklen_t;
        libc::setsockopt(fd.as_raw_fd(), level, name, value.as_ptr().cast(), length)
    };
    check(result).map(drop)
}

/// Attaches a classic BPF program to a socket.
pub(crate) fn attach_filter(fd: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let header = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program before the call returns and does not write to it.
    let result = unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            ptr::from_ref(&header).cast(),
            mem::size_of::<libc::sock_fprog>() as libc::socklen_t,
        )
    };
    check(result).map(drop)
}

/// `send(2)` to the peer or, for netlink, to the kernel.
pub(crate) fn send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of one slice.
    check_size(unsafe {
        libc::send(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    })
}

/// `recv(2)` without waiting; the length is that of the whole datagram even if it did not fit.
pub(crate) fn receive(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are those of one slice.
    check_size(unsafe {
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), flags)
    })
}

/// A datagram with what the kernel says about it.
pub(crate) struct Datagram {
    /// Length of the datagram; what did not fit was cut off.
    pub(crate) length: usize,
    /// Where it came from.
    pub(crate) source: Option<IpAddr>,
    /// Hop limit of an IPv6 packet, if the socket asks for it (`IPV6_RECVHOPLIMIT`).
    pub(crate) hop_limit: Option<u8>,
    /// When the kernel received it, nanoseconds of `CLOCK_REALTIME`; `None` if it did not say.
    pub(crate) received_ns: Option<u64>,
}

/// `recvmsg(2)` without waiting, with source and `SO_TIMESTAMPNS`.
pub(crate) fn receive_datagram(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<Datagram> {
    // SAFETY: the header points to live, properly sized variables; control messages are walked with the
    // C library's own macros within the length that the kernel reported, and read unaligned.
    unsafe {
        let mut name: libc::sockaddr_storage = mem::zeroed();
        let mut control = MaybeUninit::<[u64; 32]>::uninit();
        let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_name = ptr::from_mut(&mut name).cast();
        header.msg_namelen = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of::<[u64; 32]>() as _;
        let length = check_size(libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_DONTWAIT))?;
        let (mut received_ns, mut hop_limit) = (None, None);
        let mut item = libc::CMSG_FIRSTHDR(&header);
        while !item.is_null() {
            if (*item).cmsg_level == libc::SOL_SOCKET && (*item).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp: libc::timespec = ptr::read_unaligned(libc::CMSG_DATA(item).cast());
                received_ns = Some(nanoseconds(stamp)).filter(|ns| *ns != 0);
            }
            if (*item).cmsg_level == libc::IPPROTO_IPV6 && (*item).cmsg_type == libc::IPV6_HOPLIMIT {
                let hops: libc::c_int = ptr::read_unaligned(libc::CMSG_DATA(item).cast());
                hop_limit = u8::try_from(hops).ok();
            }
            item = libc::CMSG_NXTHDR(&header, item);
        }
        Ok(Datagram { length, source: source_address(&name), hop_limit, received_ns })
    }
}

fn nanoseconds(time: libc::timespec) -> u64 {
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The IP address in a `sockaddr_storage` that the kernel filled in.
fn source_address(name: &libc::sockaddr_storage) -> Option<IpAddr> {
    let start = ptr::from_ref(name);
    // SAFETY: sockaddr_storage is large enough and aligned for either address type.
    unsafe {
        match i32::from(name.ss_family) {
            libc::AF_INET => {
                let address: libc::sockaddr_in = ptr::read(start.cast());
                Some(Ipv4Addr::from(address.sin_addr.s_addr.to_ne_bytes()).into())
            }
            libc::AF_INET6 => {
                let address: libc::sockaddr_in6 = ptr::read(start.cast());
                Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
            }
            _ => None,
        }
    }
}

/// What the kernel says of a datagram that was sent (`IP_RECVERR`). It belongs to this very socket: the kernel has found
/// the socket by the addresses and ports of the quoted packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SocketError {
    /// The error as `errno`.
    pub(crate) errno: i32,
    /// Type and code, if it came by ICMP or ICMPv6.
    pub(crate) icmp: Option<(u8, u8)>,
    /// Who sent it.
    pub(crate) offender: Option<IpAddr>,
    v6: bool,
}

impl SocketError {
    /// The port is closed (RFC 792, RFC 4443).
    pub(crate) fn port_unreachable(&self) -> bool {
        self.icmp == Some(if self.v6 { (1, 4) } else { (3, 3) })
    }

    /// It has travelled as far as its hops allowed.
    pub(crate) fn time_exceeded(&self) -> bool {
        self.icmp == Some(if self.v6 { (3, 0) } else { (11, 0) })
    }
}

/// The next entry of a socket's error queue.
pub(crate) fn receive_error(fd: BorrowedFd<'_>) -> io::Result<SocketError> {
    // SAFETY: the header points to live, properly sized variables; control messages are walked with the C library's own
    // macros within the length that the kernel reported, and read unaligned. The kernel always appends an address to the
    // error (`ip_recv_error`, `ipv6_recv_error`), which is checked by the length of the message.
    unsafe {
        let mut control = MaybeUninit::<[u64; 64]>::uninit();
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = mem::size_of::<[u64; 64]>() as _;
        check_size(libc::recvmsg(fd.as_raw_fd(), &mut header, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT))?;
        let mut item = libc::CMSG_FIRSTHDR(&header);
        while !item.is_null() {
            let kind = ((*item).cmsg_level, (*item).cmsg_type);
            let v6 = kind == (libc::IPPROTO_IPV6, libc::IPV6_RECVERR);
            let size = mem::size_of::<libc::sock_extended_err>();
            let offender_size =
                if v6 { mem::size_of::<libc::sockaddr_in6>() } else { mem::size_of::<libc::sockaddr_in>() };
            let whole = libc::CMSG_LEN((size + offender_size) as u32) as usize;
            if (v6 || kind == (libc::IPPROTO_IP, libc::IP_RECVERR)) && (*item).cmsg_len as usize >= whole {
                let data = libc::CMSG_DATA(item);
                let error: libc::sock_extended_err = ptr::read_unaligned(data.cast());
                let mut name: libc::sockaddr_storage = mem::zeroed();
                ptr::copy_nonoverlapping(data.add(size), ptr::from_mut(&mut name).cast(), offender_size);
                let by_icmp = matches!(error.ee_origin, libc::SO_EE_ORIGIN_ICMP | libc::SO_EE_ORIGIN_ICMP6);
                return Ok(SocketError {
                    errno: error.ee_errno as i32,
                    icmp: by_icmp.then_some((error.ee_type, error.ee_code)),
                    offender: source_address(&name),
                    v6,
                });
            }
            item = libc::CMSG_NXTHDR(&header, item);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn link_address(index: u32, protocol: u16) -> libc::sockaddr_ll {
    // SAFETY: plain data.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = protocol.to_be();
    address.sll_ifindex = index as i32;
    address
}

/// Binds a packet socket to a device and a protocol.
pub(crate) fn bind_link(fd: BorrowedFd<'_>, index: u32, protocol: u16) -> io::Result<()> {
    let address = link_address(index, protocol);
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: pointer and length are those of the variable.
    check(unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length) }).map(drop)
}

/// Makes an opened `/dev/net/tun` a device of packets without a header of their own; it is gone when that is closed.
pub(crate) fn make_tun(tun: BorrowedFd<'_>, device: &str) -> io::Result<()> {
    // SAFETY: the name is NUL-terminated within the zeroed array; the kernel reads the member that is set.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        if device.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *place = byte as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
        check(libc::ioctl(tun.as_raw_fd(), libc::TUNSETIFF as _, &mut request)).map(drop)
    }
}

/// `sendto(2)` without waiting.
///
/// # Safety
/// `address` must be valid for reads of `length` bytes.
unsafe fn send_to_address(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    address: *const libc::sockaddr,
    length: libc::socklen_t,
) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: pointer and length are those of the slice, and of the address by contract.
    check_size(unsafe {
        libc::sendto(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), flags, address, length)
    })
}

/// Sends to everybody on an Ethernet link.
pub(crate) fn send_link_broadcast(
    fd: BorrowedFd<'_>,
    bytes: &[u8],
    index: u32,
    protocol: u16,
) -> io::Result<usize> {
    let mut address = link_address(index, protocol);
    address.sll_halen = 6;
    address.sll_addr[..6].fill(0xff);
    let length = mem::size_of_val(&address) as libc::socklen_t;
    // SAFETY: the length is that of the variable.
    unsafe { send_to_address(fd, bytes, ptr::from_ref(&address).cast(), length) }
}

/// The hardware address of an Ethernet device; `None` of any other. Works on every kind of socket.
pub(crate) fn hardware_address(fd: BorrowedFd<'_>, device: &str) -> io::Result<Option<[u8; 6]>> {
    // SAFETY: the name is NUL-terminated within the zeroed array; the kernel fills in the member that is read.
    unsafe {
        let mut request: libc::ifreq = mem::zeroed();
        if device.len() >= request.ifr_name.len() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        for (place, byte) in request.ifr_name.iter_mut().zip(device.bytes()) {
            *place = byte as libc::c_char;
        }
        check(libc::ioctl(fd.as_raw_fd(), libc::SIOCGIFHWADDR as _, &mut request))?;
        let address = request.ifr_ifru.ifru_hwaddr;
        let bytes = std::array::from_fn(|at| address.sa_data[at] as u8);
        Ok((address.sa_family == libc::ARPHRD_ETHER).then_some(bytes))
    }
}

/// `sendto(2)` without waiting.
pub(crate) fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: IpAddr, scope: u32) -> io::Result<usize> {
    let address = match to {
        IpAddr::V4(_) => SocketAddr::new(to, 0),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, scope).into(),
    };
    let address = socket2::SockAddr::from(address);
    // SAFETY: socket2's length is that of its address.
    unsafe { send_to_address(fd, bytes, address.as_ptr().cast(), address.len()) }
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: writes to `now` only; these clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut now) };
    nanoseconds(now)
}

/// `CLOCK_MONOTONIC`, nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// `CLOCK_BOOTTIME`, nanoseconds.
pub(crate) fn boottime_ns() -> u64 {
    clock_ns(libc::CLOCK_BOOTTIME)
}

/// Whether the kernel's clock is steered by somebody who knows the time (`STA_UNSYNC` of adjtimex(2)).
pub(crate) fn is_clock_synchronised() -> bool {
    // SAFETY: timex is plain data; without modes nothing is changed.
    unsafe {
        let mut state: libc::timex = mem::zeroed();
        libc::adjtimex(&mut state) >= 0 && state.status & libc::STA_UNSYNC == 0
    }
}

/// Bytes of the file system that has `path`: all of them, and those that anybody may still write.
pub(crate) fn file_system(path: &std::ffi::CStr) -> io::Result<(u64, u64)> {
    // SAFETY: the path ends with a zero, and statvfs is plain data that outlives the call.
    let state = unsafe {
        let mut state: libc::statvfs = mem::zeroed();
        check(libc::statvfs(path.as_ptr(), &mut state))?;
        state
    };
    // Some are narrower on other machines.
    #[allow(clippy::unnecessary_cast)]
    let (size, all, free) = (state.f_frsize as u64, state.f_blocks as u64, state.f_bavail as u64);
    Ok((all.saturating_mul(size), free.saturating_mul(size)))
}

/// `CLOCK_REALTIME`, nanoseconds; the clock of packet time stamps.
pub(crate) fn realtime_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

/// Random bytes from the kernel.
pub(crate) fn random(buffer: &mut [u8]) -> io::Result<()> {
    // SAFETY: pointer and length are those of one slice; up to 256 bytes are never returned in part.
    let filled = check_size(unsafe { libc::getrandom(buffer.as_mut_ptr().cast(), buffer.len(), 0) })?;
    if filled == buffer.len() { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

/// Takes code and constants of the program and its libc out of the process (`madvise(2)`, `MADV_DONTNEED`): what is used again
/// comes back by itself, out of the page cache. Only from mappings of which no page was ever written to: relocations, a
/// debugger's breakpoints, and what a packer has unpacked are in no file.
pub(crate) fn forget_code() {
    // Without it (CONFIG_PROC_PAGE_MONITOR) nobody knows.
    let Ok(maps) = std::fs::read_to_string("/proc/self/smaps") else { return };
    let code = [forget_code as fn() as usize, libc::madvise as *const () as usize];
    for Mapping { first, end } in clean_mappings(&maps, &code) {
        // SAFETY: a private mapping of a file, which is the program's or libc's and so is not unmapped while it runs. None of its
        // pages was changed: each is read from the file anew at the next access, and whoever runs in it waits for that.
        // Locked pages are left as they are.
        unsafe { libc::madvise(first as *mut libc::c_void, end - first, libc::MADV_DONTNEED) };
    }
}

/// Addresses of a mapping.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Mapping {
    first: usize,
    end: usize,
}

/// The mappings in `/proc/PID/smaps` of files that have something at one of these addresses, if they are private, may not
/// be written to, and were not.
fn clean_mappings(smaps: &str, code: &[usize]) -> Vec<Mapping> {
    let mut all: Vec<(Mapping, &str, bool)> = Vec::new();
    for line in smaps.lines() {
        // `ADDRESS-ADDRESS PERMISSIONS OFFSET DEVICE INODE FILE`, then `NAME: VALUE` (proc(5)).
        if let Some((mapping, rest)) = mapping(line) {
            let is_constant = rest.get(1..4).is_some_and(|permissions| matches!(permissions, "-xp" | "--p"));
            let file = rest.find('/').map_or("", |at| &rest[at..]);
            all.push((mapping, file, is_constant && !file.is_empty()));
        } else if let (Some(("Anonymous" | "Swap", value)), Some((.., clean))) =
            (line.split_once(':'), all.last_mut())
        {
            *clean &= value.trim() == "0 kB";
        }
    }
    let has_code = |file: &str| {
        let own = all.iter().filter(|(_, of, _)| *of == file).map(|(mapping, ..)| mapping);
        code.iter().any(|at| own.clone().any(|mapping| (mapping.first..mapping.end).contains(at)))
    };
    let clean = all.iter().filter(|(_, file, clean)| *clean && has_code(file));
    clean.map(|(mapping, ..)| *mapping).collect()
}

fn mapping(line: &str) -> Option<(Mapping, &str)> {
    let (addresses, rest) = line.split_once(' ')?;
    let (first, end) = addresses.split_once('-')?;
    let number = |hex| usize::from_str_radix(hex, 16).ok();
    Some((Mapping { first: number(first)?, end: number(end)? }, rest))
}

/// Index of a device in the namespace of the calling thread.
pub(crate) fn device_index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a NUL-terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// A descriptor that becomes readable when the process ends (pidfd_open(2), Linux 5.3). It must be a child that has not
/// been waited for.
pub(crate) fn pidfd(process: u32) -> io::Result<OwnedFd> {
    // SAFETY: plain values; the descriptor is new and nobody else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, process as libc::pid_t, 0);
        check(fd as libc::c_int).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// Watches a descriptor for reading. Only for our own types, which keep their one descriptor until they are dropped.
pub(crate) fn watch<T: AsRawFd>(inner: T) -> io::Result<tokio::io::unix::AsyncFd<T>> {
    // SAFETY: `T` owns its descriptor, never replaces it, and is given away only by dropping (see above).
    let result =
        unsafe { tokio::io::unix::AsyncFd::register_with_interest(inner, tokio::io::Interest::READABLE) };
    result.map_err(Into::into)
}

/// The same, also for errors (`IP_RECVERR`).
pub(crate) fn watch_errors<T: AsRawFd>(inner: T) -> io::Result<tokio::io::unix::AsyncFd<T>> {
    use tokio::io::Interest;
    // SAFETY: as for `watch`.
    let result = unsafe {
        tokio::io::unix::AsyncFd::register_with_interest(inner, Interest::READABLE | Interest::ERROR)
    };
    result.map_err(Into::into)
}

/// Waits until one of the descriptors is readable or hung up; returns the events of each.
pub(crate) fn poll<const N: usize>(fds: [BorrowedFd<'_>; N]) -> io::Result<[i16; N]> {
    let mut entries = fds.map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    // SAFETY: pointer and length are those of one array.
    check(unsafe { libc::poll(entries.as_mut_ptr(), N as libc::nfds_t, -1) })?;
    Ok(entries.map(|entry| entry.revents))
}

/// Blocks signals in the calling thread and makes them readable; returns the descriptor and the mask to restore.
pub(crate) fn signals(numbers: &[i32]) -> io::Result<(OwnedFd, SignalMask)> {
    // SAFETY: the sets are initialised by sigemptyset and live across the calls.
    unsafe {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for number in numbers {
            check(libc::sigaddset(set.as_mut_ptr(), *number))?;
        }
        let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        let fd = OwnedFd::from_raw_fd(fd);
        match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) {
            0 => Ok((fd, SignalMask(before.assume_init()))),
            errno => Err(io::Error::from_raw_os_error(errno)),
        }
    }
}

/// Restores the thread's signal mask when dropped.
pub(crate) struct SignalMask(libc::sigset_t);

impl Drop for SignalMask {
    fn drop(&mut self) {
        // SAFETY: a mask that the kernel gave us.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &self.0, ptr::null_mut()) };
    }
}

/// The next signal of a [`signals`] descriptor: its number, and whether a process sent it (not the terminal).
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<(i32, bool)> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = mem::size_of::<libc::signalfd_siginfo>();
    // SAFETY: the kernel writes whole structures only.
    unsafe {
        let length = libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
        if usize::try_from(length) != Ok(size) {
            return None;
        }
        let info = info.assume_init();
        // SI_USER and other non-positive codes are processes, SI_KERNEL is the terminal.
        Some((info.ssi_signo as i32, info.ssi_code <= 0))
    }
}

/// Sends a signal.
pub(crate) fn kill(process: u32, signal: i32) {
    // SAFETY: plain values.
    unsafe { libc::kill(process as libc::pid_t, signal) };
}

/// Makes files, and so sockets, in the name of another user until dropped: `meta skuid` and `-m owner` look at the
/// credentials a socket was made with (nft_meta_get_eval_skugid), `ip rule uidrange` at its inode's owner. Concerns
/// this thread only, and no network capability depends on it.
pub(crate) struct FileOwner {
    user: libc::c_int,
    group: libc::c_int,
}

impl FileOwner {
    /// Without the right to it nothing happens: then the user is the same anyway.
    pub(crate) fn assume(user: u32, group: u32) -> Self {
        // SAFETY: plain values; both return what was before.
        unsafe { FileOwner { group: libc::setfsgid(group), user: libc::setfsuid(user) } }
    }
}

impl Drop for FileOwner {
    fn drop(&mut self) {
        // SAFETY: plain values.
        unsafe {
            libc::setfsuid(self.user as libc::uid_t);
            libc::setfsgid(self.group as libc::gid_t);
        }
    }
}

/// Makes `command` install a seccomp filter on itself between fork and exec and send its listener through `to`.
pub(crate) fn install_listener(
    command: &mut std::process::Command,
    program: Vec<libc::sock_filter>,
    to: std::os::unix::net::UnixStream,
) {
    use std::os::unix::process::CommandExt;
    let hook = move || {
        let listener = install_filter(&program)?;
        let sent = send_descriptor(to.as_raw_fd(), listener);
        // SAFETY: ours, and never used again.
        unsafe { libc::close(listener) };
        sent
    };
    // SAFETY: the hook makes system calls only: no allocation, no lock.
    unsafe { command.pre_exec(hook) };
}

/// Runs after fork: system calls only.
fn install_filter(program: &[libc::sock_filter]) -> io::Result<RawFd> {
    let header =
        libc::sock_fprog { len: program.len() as libc::c_ushort, filter: program.as_ptr().cast_mut() };
    let install = || {
        // SAFETY: the kernel copies the program before the call returns and does not write to it.
        let fd = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                ptr::from_ref(&header),
            )
        };
        check(fd as libc::c_int)
    };
    match install() {
        // Not root: the kernel wants a promise that no program gains rights by being run.
        Err(e) if e.raw_os_error() == Some(libc::EACCES) => {
            // SAFETY: plain values.
            check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
            install()
        }
        result => result,
    }
}

/// Room for one descriptor in a control message, aligned as `cmsghdr` must be.
type DescriptorRoom = [u64; 4];

/// Calls `with` with a message of one byte and the first control message in room for one descriptor. Runs after fork:
/// system calls only.
fn descriptor_message<T>(
    room: usize,
    with: impl FnOnce(&mut libc::msghdr) -> io::Result<T>,
) -> io::Result<T> {
    let mut byte = [0u8];
    let mut control: DescriptorRoom = [0; 4];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // SAFETY: all zeroes is a valid header: no name, no parts, no control message.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = room.min(mem::size_of::<DescriptorRoom>()) as _;
    with(&mut header)
}

/// Runs after fork: system calls only.
fn send_descriptor(to: RawFd, descriptor: RawFd) -> io::Result<()> {
    let size = mem::size_of::<RawFd>() as u32;
    // SAFETY: plain arithmetic; the room for a descriptor is larger than this.
    let room = unsafe { libc::CMSG_SPACE(size) } as usize;
    // SAFETY: the header points to live variables and its control buffer holds one descriptor.
    descriptor_message(room, |header| unsafe {
        let item = libc::CMSG_FIRSTHDR(header);
        if item.is_null() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        (*item).cmsg_level = libc::SOL_SOCKET;
        (*item).cmsg_type = libc::SCM_RIGHTS;
        (*item).cmsg_len = libc::CMSG_LEN(size) as _;
        ptr::write_unaligned(libc::CMSG_DATA(item).cast(), descriptor);
        check_size(libc::sendmsg(to, header, 0)).map(drop)
    })
}

/// The descriptor that [`send_descriptor`] sent.
pub(crate) fn receive_descriptor(from: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    // SAFETY: as above; a received descriptor is ours.
    descriptor_message(mem::size_of::<DescriptorRoom>(), |header| unsafe {
        check_size(libc::recvmsg(from.as_raw_fd(), header, libc::MSG_CMSG_CLOEXEC))?;
        let item = libc::CMSG_FIRSTHDR(header);
        if item.is_null() || (*item).cmsg_type != libc::SCM_RIGHTS {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(OwnedFd::from_raw_fd(ptr::read_unaligned(libc::CMSG_DATA(item).cast())))
    })
}

/// A system call that waits for our answer.
pub(crate) struct Notification {
    pub(crate) id: u64,
    /// Thread that made it; 0 if it is not in our pid namespace.
    pub(crate) thread: u32,
    pub(crate) arguments: [u64; 6],
}

/// The next system call of a listener.
pub(crate) fn next_notification(listener: BorrowedFd<'_>) -> io::Result<Notification> {
    // SAFETY: the kernel wants the structure zeroed and fills it in whole.
    unsafe {
        let mut request: libc::seccomp_notif = mem::zeroed();
        let pointer = ptr::from_mut(&mut request);
        check(libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, pointer))?;
        Ok(Notification { id: request.id, thread: request.pid, arguments: request.data.args })
    }
}

/// How a waiting system call goes on.
pub(crate) enum Answer {
    /// It is made as if we had not been asked.
    Continue,
    /// It returns this descriptor number, already installed.
    Descriptor(i32),
    /// It fails with this errno.
    Fail(i32),
}

/// Answers a waiting system call.
pub(crate) fn answer(listener: BorrowedFd<'_>, id: u64, answer: Answer) -> io::Result<()> {
    let (val, error, flags) = match answer {
        Answer::Continue => (0, 0, libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32),
        Answer::Descriptor(number) => (i64::from(number), 0, 0),
        Answer::Fail(errno) => (0, -errno, 0),
    };
    let mut response = libc::seccomp_notif_resp { id, val, error, flags };
    // SAFETY: the structure lives across the call.
    check(unsafe {
        libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, ptr::from_mut(&mut response))
    })
    .map(drop)
}

/// Installs a descriptor in the waiting process and lets the call return it.
pub(crate) fn hand_over(
    listener: BorrowedFd<'_>,
    id: u64,
    fd: BorrowedFd<'_>,
    cloexec: bool,
) -> io::Result<()> {
    let mut request = libc::seccomp_notif_addfd {
        id,
        flags: libc::SECCOMP_ADDFD_FLAG_SEND as u32,
        srcfd: fd.as_raw_fd() as u32,
        newfd: 0,
        newfd_flags: if cloexec { libc::O_CLOEXEC as u32 } else { 0 },
    };
    let mut call = |flags: u32| {
        request.flags = flags;
        // SAFETY: the structure lives across the call.
        check(unsafe {
            libc::ioctl(listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, ptr::from_mut(&mut request))
        })
    };
    match call(libc::SECCOMP_ADDFD_FLAG_SEND as u32) {
        // Kernels 5.9 to 5.13 do it in two steps; a signal in between leaves the process with a socket too many.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            let number = call(0)?;
            answer(listener, id, Answer::Descriptor(number))
        }
        result => result.map(drop),
    }
}

/// Kills a process group.
pub(crate) fn kill_group(leader: u32) {
    signal_group(leader, libc::SIGKILL);
}

/// Asks a process group to end.
pub(crate) fn end_group(leader: u32) {
    signal_group(leader, libc::SIGTERM);
}

/// Asks one process to end.
pub(crate) fn end_process(id: u32) {
    if let Some(id) = libc::pid_t::try_from(id).ok().filter(|pid| *pid > 1) {
        // SAFETY: plain values.
        unsafe { libc::kill(id, libc::SIGTERM) };
    }
}

pub(crate) use libc::{SIGKILL, SIGTERM};

/// Sends a signal to a process that is held (pidfd_send_signal(2)).
pub(crate) fn signal_held(process: BorrowedFd<'_>, signal: libc::c_int) {
    // SAFETY: plain values; no information is passed along.
    unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            process.as_raw_fd(),
            signal,
            ptr::null::<libc::siginfo_t>(),
            0,
        );
    }
}

/// Who has been listening at the other end of a connected Unix socket.
fn peer(socket: BorrowedFd<'_>) -> io::Result<libc::ucred> {
    // SAFETY: ucred is plain data, the length is that of the variable.
    unsafe {
        let mut peer: libc::ucred = mem::zeroed();
        let mut length = mem::size_of::<libc::ucred>() as libc::socklen_t;
        check(libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            ptr::from_mut(&mut peer).cast(),
            &mut length,
        ))?;
        Ok(peer)
    }
}

/// The user it is.
pub(crate) fn peer_user(socket: BorrowedFd<'_>) -> io::Result<u32> {
    Ok(peer(socket)?.uid)
}

/// The process it is.
pub(crate) fn peer_process(socket: BorrowedFd<'_>) -> io::Result<u32> {
    let peer = peer(socket)?;
    // 0: it is in another pid namespace.
    u32::try_from(peer.pid).ok().filter(|id| *id > 1).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn signal_group(leader: u32, signal: libc::c_int) {
    // 0 and 1 would mean our own group and every process there is.
    if let Some(group) = libc::pid_t::try_from(leader).ok().filter(|pid| *pid > 1) {
        // SAFETY: plain values.
        unsafe { libc::kill(-group, signal) };
    }
}

/// Whether a terminal shows what is typed (termios(3)).
pub(crate) fn set_echo(terminal: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    // SAFETY: termios is plain data, which the first call fills in whole.
    unsafe {
        let mut settings: libc::termios = mem::zeroed();
        check(libc::tcgetattr(terminal.as_raw_fd(), &mut settings))?;
        if on {
            settings.c_lflag |= libc::ECHO
        } else {
            settings.c_lflag &= !libc::ECHO
        }
        check(libc::tcsetattr(terminal.as_raw_fd(), libc::TCSAFLUSH, &settings)).map(drop)
    }
}

/// Seconds the local time zone is ahead of UTC.
pub(crate) fn utc_offset_s(unix_s: i64) -> i32 {
    // time_t is narrower on old 32-bit systems; then this is 1970 and the zone's first offset.
    let time = libc::time_t::try_from(unix_s).unwrap_or_default();
    // SAFETY: all zero is a valid tm; both pointers are to locals. The zone is read by tzset first, which localtime_r need not do.
    unsafe {
        let mut local: libc::tm = std::mem::zeroed();
        tzset();
        if libc::localtime_r(&time, &mut local).is_null() {
            0
        } else {
            i32::try_from(local.tm_gmtoff).unwrap_or(0)
        }
    }
}

unsafe extern "C" {
    /// tzset(3); the libc crate has it for some systems only.
    fn tzset();
}

/// Effective user and group of this process.
pub(crate) fn own_user() -> (u32, u32) {
    // SAFETY: no arguments, and they always succeed.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Gives up every privilege, for good.
pub(crate) fn become_user(user: u32, group: u32) -> io::Result<()> {
    // SAFETY: plain values; the C library tells all threads.
    unsafe {
        if libc::geteuid() == 0 {
            check(libc::setgroups(0, ptr::null()))?;
            check(libc::setresgid(group, group, group))?;
            check(libc::setresuid(user, user, user))?;
        }
        check(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))?;
        check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM)).map(drop)
    }
}

/// SIGTERM for the child when the thread that starts it ends.
pub(crate) fn end_with_parent(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let parent = std::process::id();
    let hook = move || {
        // SAFETY: plain values.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) })?;
        // SAFETY: no argument. It may have died before it was asked for.
        let now = unsafe { libc::getppid() };
        if u32::try_from(now) == Ok(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
    };
    // SAFETY: the hook makes two system calls: no allocation, no lock.
    unsafe { command.pre_exec(hook) };
}

/// Addresses of a device that are valid beyond its link, with the bits of their networks' masks, IPv4 first.
pub(crate) fn networks_of(device: &str) -> Vec<(std::net::IpAddr, u8)> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: writes one pointer, which is freed below.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = list;
    while !next.is_null() {
        // SAFETY: a node of the list, which lives until it is freed; its name is a C string.
        let (node, name) = unsafe { (&*next, std::ffi::CStr::from_ptr((*next).ifa_name)) };
        if name.to_bytes() == device.as_bytes() && !node.ifa_addr.is_null() {
            // SAFETY: its family says which kind of address it is.
            let address = unsafe { address(node.ifa_addr) };
            let mask = (!node.ifa_netmask.is_null()).then(|| {
                // SAFETY: as above.
                unsafe { self::address(node.ifa_netmask) }
            });
            let ones = mask.flatten().map_or(0, |mask| match mask {
                std::net::IpAddr::V4(mask) => mask.to_bits().leading_ones(),
                std::net::IpAddr::V6(mask) => mask.to_bits().leading_ones(),
            });
            found.extend(address.map(|address| (address, u8::try_from(ones).unwrap_or(0))));
        }
        next = node.ifa_next;
    }
    // SAFETY: what getifaddrs made, once.
    unsafe { libc::freeifaddrs(list) };
    found.sort();
    found
}

/// # Safety
/// `address` points to a socket address of the size its family says.
unsafe fn address(address: *const libc::sockaddr) -> Option<std::net::IpAddr> {
    // SAFETY: the caller's; the structures may be less aligned than ours.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let v4 = address.cast::<libc::sockaddr_in>().read_unaligned();
                Some(std::net::Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr)).into())
            }
            libc::AF_INET6 => {
                let v6 = address.cast::<libc::sockaddr_in6>().read_unaligned();
                let ip = std::net::Ipv6Addr::from(v6.sin6_addr.s6_addr);
                (!ip.is_unicast_link_local()).then_some(ip.into())
            }
            _ => None,
        }
    }
}

/// `O_NONBLOCK` of an open file.
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain values.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK)).map(drop)
    }
}

/// Makes `command` call setsid(2) between fork and exec, and keep no descriptor beyond the standard three.
pub(crate) fn new_session(command: &mut std::process::Command) {
    use std::os::unix::process::CommandExt;
    let alone = || {
        // Closed by exec, not here: the standard library still needs its own. Before Linux 5.11 they stay open.
        // SAFETY: plain values, and two system calls: no allocation, no lock.
        unsafe {
            libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            check(libc::setsid()).map(drop)
        }
    };
    // SAFETY: see above.
    unsafe { command.pre_exec(alone) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_that_nobody_wrote_to_is_forgotten() {
        let smaps = "\
1000-3000 r--p 00000000 fe:00 7                     /usr/sbin/mwan (deleted)
Rss:                   8 kB
Anonymous:             0 kB
Swap:                  0 kB
3000-5000 r-xp 00002000 fe:00 7                     /usr/sbin/mwan (deleted)
Anonymous:             0 kB
Swap:                  0 kB
5000-6000 r--p 00004000 fe:00 7                     /usr/sbin/mwan (deleted)
Anonymous:             4 kB
Swap:                  0 kB
6000-7000 r--p 00005000 fe:00 7                     /usr/sbin/mwan (deleted)
Anonymous:             0 kB
Swap:                  4 kB
7000-8000 rw-p 00006000 fe:00 7                     /usr/sbin/mwan (deleted)
Anonymous:             0 kB
8000-9000 r-xs 00006000 fe:00 7                     /usr/sbin/mwan (deleted)
Anonymous:             0 kB
9000-a000 r-xp 00000000 fe:00 8                     /usr/lib/other.so
Anonymous:             0 kB
a000-b000 r-xp 00000000 00:00 0
Anonymous:             0 kB
b000-c000 r-xp 00000000 00:00 0                     [vdso]
Anonymous:             0 kB
";
        let clean = |code: &[usize]| -> Vec<usize> {
            clean_mappings(smaps, code).iter().map(|mapping| mapping.first).collect()
        };
        assert_eq!(clean(&[0x3010]), [0x1000, 0x3000]);
        assert_eq!(clean(&[0x3010, 0x9fff]), [0x1000, 0x3000, 0x9000]);
        assert_eq!(clean(&[0xa000, 0xb000, 0xc000]), []);
        assert_eq!(clean_mappings("nothing\n-\nffffffffffffffffff-0 r\n: 0 kB", &[0]), []);
        let own = std::fs::read_to_string("/proc/self/smaps").expect("CONFIG_PROC_PAGE_MONITOR");
        assert!(clean_mappings(&own, &[clean_mappings as *const () as usize]).len() > 1);
    }
}
