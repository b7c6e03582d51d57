//! Every system call that the standard library and `socket2` have no safe form of. The only module of the
//! project with `unsafe` code; each function is a thin wrapper with a safe signature.

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
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
        libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
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
        let mut received_ns = None;
        let mut item = libc::CMSG_FIRSTHDR(&header);
        while !item.is_null() {
            if (*item).cmsg_level == libc::SOL_SOCKET && (*item).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp: libc::timespec = ptr::read_unaligned(libc::CMSG_DATA(item).cast());
                received_ns = Some(nanoseconds(stamp)).filter(|ns| *ns != 0);
            }
            item = libc::CMSG_NXTHDR(&header, item);
        }
        Ok(Datagram { length, source: source_address(&name), received_ns })
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

/// `sendto(2)` without waiting.
pub(crate) fn send_to(fd: BorrowedFd<'_>, bytes: &[u8], to: IpAddr, scope: u32) -> io::Result<usize> {
    let address = match to {
        IpAddr::V4(_) => SocketAddr::new(to, 0),
        IpAddr::V6(ip) => SocketAddrV6::new(ip, 0, 0, scope).into(),
    };
    let address = socket2::SockAddr::from(address);
    // SAFETY: pointers and lengths are those of the slice and of the address.
    check_size(unsafe {
        libc::sendto(
            fd.as_raw_fd(),
            bytes.as_ptr().cast(),
            bytes.len(),
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            address.as_ptr().cast(),
            address.len(),
        )
    })
}

/// Takes and clears a pending socket error.
pub(crate) fn take_error(fd: BorrowedFd<'_>) -> io::Result<i32> {
    let mut value: libc::c_int = 0;
    let mut length = mem::size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: pointer and length are those of `value`.
    let result = unsafe {
        let target = ptr::from_mut(&mut value).cast();
        libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, libc::SO_ERROR, target, &mut length)
    };
    check(result).map(|_| value)
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

/// Index of a device in the namespace of the calling thread.
pub(crate) fn device_index(name: &str) -> io::Result<u32> {
    let name = std::ffi::CString::new(name)?;
    // SAFETY: a NUL-terminated string.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

