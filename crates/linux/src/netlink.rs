//! Netlink: sockets, messages, attributes.
//!
//! Written here rather than taken from `netlink-bindings`: nf_tables needs a writer and an iterator of its
//! own anyway (see `CRATES.md`), and with those a route or a rule is ten lines.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sys;

/// Length of `struct nlmsghdr`.
pub const HEADER: usize = 16;
/// Room for one datagram: the kernel builds dump skbs of up to 32 KiB, or as large as the largest buffer it
/// has seen, and a single message (a set element list, a link with many attributes) of up to 64 KiB.
const RECEIVE_BUFFER: usize = 128 * 1024;
/// Socket buffers. A monitor that is busy for a moment must not lose events; the kernel accounts only what
/// is really queued.
const SOCKET_BUFFER: i32 = 4 * 1024 * 1024;
/// A dump whose object changed under it is repeated this often before we give up: somebody changes the table
/// faster than we can read it.
pub const DUMP_ATTEMPTS: usize = 16;

/// Kernel subsystems we talk to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Protocol {
    /// Links, addresses, routes, rules.
    Route = libc::NETLINK_ROUTE as isize,
    /// nf_tables, conntrack.
    Netfilter = libc::NETLINK_NETFILTER as isize,
}

/// An error that the kernel answered with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{}{}", errno_text(*errno), text.as_ref().map(|t| format!(": {t}")).unwrap_or_default())]
pub struct KernelError {
    /// Positive errno.
    pub errno: i32,
    /// What the kernel added in words (extended ACK).
    pub text: Option<String>,
    /// Where in the request the offending attribute is.
    pub offset: Option<u32>,
}

/// Why a request did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The socket itself failed.
    #[error("netlink socket")]
    Io(#[from] io::Error),
    /// What was read changed while it was read, every time.
    #[error("the kernel's table changed during each of {DUMP_ATTEMPTS} attempts to read it")]
    Inconsistent,
    /// No answer: a bug of ours or of the kernel.
    #[error("the kernel did not answer")]
    NoAnswer,
    /// An attribute or message became longer than netlink can express.
    #[error("request too large for netlink")]
    TooLarge,
}

impl RequestError {
    /// The errno of a refusal.
    pub fn errno(&self) -> Option<i32> {
        match self {
            RequestError::Kernel(e) => Some(e.errno),
            RequestError::Io(e) => e.raw_os_error(),
            _ => None,
        }
    }
}

/// The C library's words for an errno, without Rust's "(os error N)".
pub fn errno_text(errno: i32) -> String {
    let text = io::Error::from_raw_os_error(errno).to_string();
    match text.find(" (os error") {
        Some(end) => text[..end].to_owned(),
        None => text,
    }
}

/// Writes messages and attributes.
#[derive(Default, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    message: usize,
    overflow: bool,
}

impl Writer {
    /// One message with room for its fixed header.
    pub fn message(kind: u16, flags: i32, header: &[u8]) -> Self {
        let mut writer = Writer::default();
        writer.begin(kind, flags, 0, header);
        writer
    }

    /// A message that was finished before.
    pub(crate) fn finished(bytes: Vec<u8>) -> Self {
        Writer { bytes, ..Writer::default() }
    }

    /// Starts a message; `header` is the fixed header of its family.
    pub fn begin(&mut self, kind: u16, flags: i32, sequence: u32, header: &[u8]) {
        self.message = self.bytes.len();
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        // All NLM_F_* flags are in the low 16 bits.
        self.bytes.extend_from_slice(&(flags as u16).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&0u32.to_ne_bytes());
        self.bytes.extend_from_slice(header);
        self.pad();
        self.end();
    }

    /// Ends the message: its length is known now.
    pub fn end(&mut self) {
        let length = self.bytes.len() - self.message;
        self.overflow |= u32::try_from(length).is_err();
        let place = self.message..self.message + 4;
        self.bytes[place].copy_from_slice(&(length as u32).to_ne_bytes());
    }

    /// An attribute.
    pub fn put(&mut self, kind: u16, value: &[u8]) {
        let start = self.open_raw(kind);
        self.bytes.extend_from_slice(value);
        self.close(start);
    }

    /// An attribute in host byte order.
    pub fn put_u32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_ne_bytes());
    }

    /// An attribute in network byte order.
    pub fn put_be32(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// A NUL-terminated string.
    pub fn put_str(&mut self, kind: u16, value: &str) {
        let start = self.open_raw(kind);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
        self.close(start);
    }

    /// Attributes that were written before.
    pub(crate) fn append(&mut self, attributes: &[u8]) {
        self.bytes.extend_from_slice(attributes);
    }

    /// A nested attribute.
    pub fn nest(&mut self, kind: u16, inside: impl FnOnce(&mut Self)) {
        let start = self.open(kind);
        inside(self);
        self.close(start);
    }

    /// Opens a nested attribute; hand what it returns to [`Writer::close`].
    pub fn open(&mut self, kind: u16) -> usize {
        self.open_raw(kind | NESTED)
    }

    fn open_raw(&mut self, kind: u16) -> usize {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0u16.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        start
    }

    /// Closes an attribute.
    pub fn close(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        // nlattr.nla_len is 16 bits; a longer one would be silently misread.
        self.overflow |= length > usize::from(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        self.pad();
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What was written, if netlink could express it.
    pub fn finish(mut self) -> Result<Vec<u8>, RequestError> {
        self.end();
        if self.overflow { Err(RequestError::TooLarge) } else { Ok(self.bytes) }
    }

    /// What was written without a message around it.
    pub(crate) fn attributes(self) -> Vec<u8> {
        self.bytes
    }

    fn pad(&mut self) {
        let missing = self.bytes.len().next_multiple_of(4) - self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4][..missing]);
    }
}

/// `NLA_F_NESTED`.
const NESTED: u16 = 1 << 15;

/// A message in a received datagram.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// `nlmsg_type`.
    pub kind: u16,
    /// `nlmsg_flags`.
    pub flags: u16,
    /// `nlmsg_seq`.
    pub sequence: u32,
    /// `nlmsg_pid`: who asked, or for notifications who caused it.
    pub port: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

impl<'a> Message<'a> {
    /// The attributes behind a fixed header of `skip` bytes.
    pub fn attributes(&self, skip: usize) -> Attributes<'a> {
        Attributes(self.payload.get(skip.next_multiple_of(4)..).unwrap_or_default())
    }

    /// A byte of the fixed header, 0 if it is too short.
    pub fn byte(&self, offset: usize) -> u8 {
        self.payload.get(offset).copied().unwrap_or(0)
    }

    /// A host-endian word of the fixed header, 0 if it is too short.
    pub fn word(&self, offset: usize) -> u32 {
        self.payload.get(offset..offset + 4).and_then(u32_ne).unwrap_or(0)
    }
}

/// The messages of a datagram; stops at the first malformed one.
pub struct Messages<'a>(pub &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let head = self.0.get(..HEADER)?;
        let length = u32_ne(&head[..4])? as usize;
        let payload = self.0.get(HEADER..length)?;
        let message = Message {
            kind: u16_ne(&head[4..6])?,
            flags: u16_ne(&head[6..8])?,
            sequence: u32_ne(&head[8..12])?,
            port: u32_ne(&head[12..16])?,
            payload,
        };
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    }
}

/// Attributes as (type without flags, value); stops at the first malformed one.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a>(pub &'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16_ne(self.0.get(..2)?)?);
        let kind = u16_ne(self.0.get(2..4)?)? & 0x3fff;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

impl<'a> Attributes<'a> {
    /// The value of the first attribute of a type.
    pub fn find(self, kind: u16) -> Option<&'a [u8]> {
        let mut all = self;
        all.find_map(|(k, value)| (k == kind).then_some(value))
    }

    /// The attributes nested in the first one of a type; none if it is missing.
    pub fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.find(kind).unwrap_or_default())
    }
}

/// Two bytes in host order.
pub fn u16_ne(bytes: &[u8]) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.try_into().ok()?))
}

/// Four bytes in host order.
pub fn u32_ne(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.try_into().ok()?))
}

/// Four bytes in network order.
pub fn u32_be(bytes: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

/// Eight bytes in network order.
pub fn u64_be(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// A string without its NUL.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// The error in an `NLMSG_ERROR` message; `None`: it is an acknowledgement.
pub fn error_of(message: &Message<'_>) -> Option<KernelError> {
    let errno =
        message.payload.get(..4).and_then(u32_ne).map_or(libc::EPROTO, |code| (code as i32).wrapping_neg());
    if errno == 0 {
        return None;
    }
    // Behind the errno: the request's header, its payload unless capped, then the TLVs (net/netlink/af_netlink.c,
    // netlink_ack).
    let capped = message.flags & NLM_F_CAPPED != 0;
    let request = if capped { HEADER } else { (message.word(4) as usize).max(HEADER) };
    let has_text = message.flags & NLM_F_ACK_TLVS != 0;
    let attributes = if has_text { message.attributes(4 + request) } else { Attributes(&[]) };
    Some(KernelError {
        errno,
        text: attributes.find(NLMSGERR_ATTR_MSG).map(text),
        offset: attributes.find(NLMSGERR_ATTR_OFFS).and_then(u32_ne),
    })
}

const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLMSGERR_ATTR_MSG: u16 = 1;
const NLMSGERR_ATTR_OFFS: u16 = 2;
const NETLINK_GET_STRICT_CHK: i32 = 12;

/// Whether a dump saw one state of the kernel or a mix.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dump {
    Consistent,
    Interrupted,
}

/// A netlink socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the network namespace of the calling thread.
    pub fn open(protocol: Protocol) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        let fd = sys::socket(libc::AF_NETLINK, kind, protocol as i32)?;
        let port = sys::bind_netlink(fd.as_fd())?;
        for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, NETLINK_GET_STRICT_CHK] {
            // Kernels before 4.12 / 4.20 lack them; we lose words and in-kernel filters, nothing else.
            let _ = sys::set_option(fd.as_fd(), libc::SOL_NETLINK, option, 1);
        }
        let socket = Socket { fd, port, sequence: 0, buffer: vec![0; RECEIVE_BUFFER] };
        socket.reserve_receive(SOCKET_BUFFER);
        socket.reserve_send(SOCKET_BUFFER);
        Ok(socket)
    }

    /// Our port id: how our own changes are recognised in notifications.
    pub fn port(&self) -> u32 {
        self.port
    }

    /// Joins a multicast group.
    pub fn join(&self, group: u32) -> io::Result<()> {
        sys::set_option(self.fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_ADD_MEMBERSHIP, group as i32)
    }

    /// Leaves a multicast group.
    pub fn leave(&self, group: u32) -> io::Result<()> {
        sys::set_option(self.fd.as_fd(), libc::SOL_NETLINK, libc::NETLINK_DROP_MEMBERSHIP, group as i32)
    }

    /// Another handle of the same socket, whose group memberships are shared.
    pub(crate) fn handle(&self) -> io::Result<Self> {
        Ok(Socket { fd: self.fd.try_clone()?, port: self.port, sequence: 0, buffer: Vec::new() })
    }

    /// Attaches a classic BPF program.
    pub(crate) fn filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        sys::attach_filter(self.fd.as_fd(), program)
    }

    /// Makes room for `bytes` in one send. FORCE passes the system's limit but needs CAP_NET_ADMIN in the
    /// initial user namespace; without it the limit applies.
    pub fn reserve_send(&self, bytes: i32) {
        if sys::set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, bytes).is_err() {
            let _ = sys::set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_SNDBUF, bytes);
        }
    }

    fn reserve_receive(&self, bytes: i32) {
        if sys::set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes).is_err() {
            let _ = sys::set_option(self.fd.as_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, bytes);
        }
    }

    /// The next sequence numbers, `count` of them; returns the first.
    pub fn sequences(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Sends bytes as they are.
    pub fn send(&self, bytes: &[u8]) -> io::Result<()> {
        sys::send(self.fd.as_fd(), bytes).map(drop)
    }

    /// Receives one datagram that is already there. `WouldBlock`: there is none; `ENOBUFS`: some were lost.
    pub fn receive(&mut self) -> io::Result<Messages<'_>> {
        loop {
            match sys::receive(self.fd.as_fd(), &mut self.buffer) {
                Ok(length) if length > self.buffer.len() => {
                    // Cut off: make room and treat it as lost.
                    self.buffer.resize(length.next_power_of_two(), 0);
                    return Err(io::Error::from_raw_os_error(libc::ENOBUFS));
                }
                Ok(length) => return Ok(Messages(&self.buffer[..length])),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    }

    /// Sends one request and waits for its acknowledgement.
    pub fn request(&mut self, request: Writer) -> Result<(), RequestError> {
        self.exchange(request, libc::NLM_F_ACK, &mut |_| {}).map(drop)
    }

    /// Sends one request and hands its answers to `each`.
    pub fn query(&mut self, request: Writer, each: &mut dyn FnMut(&Message<'_>)) -> Result<(), RequestError> {
        self.exchange(request, libc::NLM_F_ACK, each).map(drop)
    }

    /// Dumps into a `T` of its own per attempt, until one attempt saw a single state of the kernel.
    pub fn dump<T>(
        &mut self,
        request: impl Fn() -> Writer,
        start: impl Fn() -> T,
        mut each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, RequestError> {
        for _ in 0..DUMP_ATTEMPTS {
            let mut result = start();
            let seen = self.exchange(request(), libc::NLM_F_DUMP, &mut |m| each(&mut result, m))?;
            if seen == Dump::Consistent {
                return Ok(result);
            }
        }
        Err(RequestError::Inconsistent)
    }

    /// Sends many requests in one system call and waits until the last is done. Returns what was refused, with its
    /// place among the requests; the others are done (netlink_rcv_skb goes on behind an error, and tells of it unasked).
    pub fn batch(&mut self, requests: Vec<Writer>) -> Result<Vec<(usize, KernelError)>, RequestError> {
        let count = u32::try_from(requests.len()).map_err(|_| RequestError::TooLarge)?;
        let Some(last) = count.checked_sub(1) else { return Ok(Vec::new()) };
        let (first, mut all) = (self.sequences(count), Vec::new());
        for (place, request) in (0..).zip(requests) {
            let mut bytes = request.finish()?;
            let flags = if place == last { libc::NLM_F_ACK } else { 0 };
            stamp(&mut bytes, flags, first.wrapping_add(place));
            all.append(&mut bytes);
        }
        self.send(&all)?;
        let mut refused = Vec::new();
        loop {
            let messages = match self.receive() {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(RequestError::NoAnswer),
                result => result?,
            };
            for message in messages.filter(|m| i32::from(m.kind) == libc::NLMSG_ERROR) {
                let place = message.sequence.wrapping_sub(first);
                if place <= last {
                    refused.extend(error_of(&message).map(|error| (place as usize, error)));
                }
                if place == last {
                    return Ok(refused);
                }
            }
        }
    }

    fn exchange(
        &mut self,
        request: Writer,
        flags: i32,
        each: &mut dyn FnMut(&Message<'_>),
    ) -> Result<Dump, RequestError> {
        let sequence = self.sequences(1);
        let mut bytes = request.finish()?;
        stamp(&mut bytes, flags, sequence);
        self.send(&bytes)?;
        let mut seen = Dump::Consistent;
        loop {
            let messages = match self.receive() {
                Ok(messages) => messages,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Err(RequestError::NoAnswer),
                // Something did not fit: the rest is read all the same, or the next dump would be EBUSY.
                Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) && flags == libc::NLM_F_DUMP => {
                    seen = Dump::Interrupted;
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            // Left-overs of an exchange that failed half-way carry another number.
            for message in messages.filter(|m| m.sequence == sequence) {
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    seen = Dump::Interrupted;
                }
                match i32::from(message.kind) {
                    libc::NLMSG_NOOP => {}
                    libc::NLMSG_ERROR => {
                        return error_of(&message).map_or(Ok(seen), |error| Err(error.into()));
                    }
                    libc::NLMSG_DONE => return done(&message).map_or(Ok(seen), |error| Err(error.into())),
                    _ => each(&message),
                }
            }
        }
    }
}

/// Completes the header of a request.
fn stamp(request: &mut [u8], flags: i32, sequence: u32) {
    let asked = u16_ne(&request[6..8]).unwrap_or(0) | (flags | libc::NLM_F_REQUEST) as u16;
    request[6..8].copy_from_slice(&asked.to_ne_bytes());
    request[8..12].copy_from_slice(&sequence.to_ne_bytes());
}

/// A dump that fails half-way says so in `NLMSG_DONE`: the errno, then the TLVs (netlink_dump_done).
fn done(message: &Message<'_>) -> Option<KernelError> {
    let errno = message.payload.get(..4).and_then(u32_ne).map_or(0, |code| (code as i32).wrapping_neg());
    if errno <= 0 {
        return None;
    }
    let attributes = message.attributes(4);
    Some(KernelError { errno, text: attributes.find(NLMSGERR_ATTR_MSG).map(text), offset: None })
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl std::os::fd::AsRawFd for Socket {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        std::os::fd::AsRawFd::as_raw_fd(&self.fd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_back() {
        let mut writer = Writer::message(7, 3, &[1, 2, 3, 4]);
        writer.put_str(1, "abc");
        writer.nest(2, |w| w.put_be32(5, 9));
        let bytes = writer.finish().expect("small");
        let message = Messages(&bytes).next().expect("one message");
        assert_eq!((message.kind, message.flags, message.payload.len()), (7, 3, 4 + 8 + 12));
        let attributes = message.attributes(4);
        assert_eq!(attributes.find(1).map(text), Some("abc".to_owned()));
        assert_eq!(attributes.nested(2).find(5).and_then(u32_be), Some(9));
    }

    #[test]
    fn an_attribute_over_64_kib_is_refused() {
        let mut writer = Writer::message(7, 0, &[]);
        writer.put(1, &vec![0; 65532]);
        assert!(matches!(writer.finish(), Err(RequestError::TooLarge)));
    }

    #[test]
    fn errors_read_well() {
        let error = KernelError { errno: libc::EOPNOTSUPP, text: None, offset: None };
        assert_eq!(error.to_string(), "Operation not supported");
        let error = KernelError { errno: libc::ENOENT, text: Some("no such table".into()), offset: None };
        assert_eq!(error.to_string(), "No such file or directory: no such table");
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in Messages(&bytes) {
                let _ = error_of(&message);
                let _ = done(&message);
                for (_, value) in message.attributes(4) {
                    let _ = (text(value), u32_be(value), Attributes(value).count());
                }
            }
        }
    }
}
