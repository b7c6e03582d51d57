//! A real packet on its way through the kernel, as far as the last hook: what mark it gets, by which device it would leave and with
//! which source. It is written to a TUN device made for it, or sent by a raw socket if it is the router's own; a table of the
//! moment has it traced and drops it before conntrack confirms an entry. Table and device go with their descriptors.

mod datagram;
mod table;

use std::io::{self, Write};
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use mwan_config::Family;
use mwan_core::Packet;

use crate::netlink::{Message, Protocol, RequestError, Socket, Writer, error_of, text, u32_be};
use crate::nft::{attr, header, message};
use crate::{rt, sys};
use datagram::{datagram, source_of};
use table::{Batch, HERE, LAST, MARKED_IN, MARKED_OUT, TABLE};

/// Name of the device.
pub const DEVICE: &str = "mwan-verify";
/// A packet passes all hooks before the call returns, or soon after.
const PATIENCE: Duration = Duration::from_millis(300);
/// `NFNLGRP_NFTRACE`.
const GROUP_TRACE: u32 = 9;
/// `NFT_MSG_TRACE`.
const TRACE: u16 = 10 << 8 | 17;
const TRACE_TABLE: u16 = 1;
const TRACE_CHAIN: u16 = 2;
const TRACE_TYPE: u16 = 4;
const TRACE_VERDICT: u16 = 5;
const TRACE_ID: u16 = 6;
const TRACE_NETWORK_HEADER: u16 = 8;
const TRACE_OIF: u16 = 12;
const TRACE_MARK: u16 = 14;
const TRACE_POLICY: u16 = 16;
/// `NFT_TRACETYPE_POLICY`.
const TYPE_POLICY: u32 = 1;
const NF_DROP: u32 = 0;

/// Why no packet could be sent.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Its protocol's packets cannot be made here.
    #[error("packets of protocol {0} cannot be made")]
    Protocol(u8),
    /// A step failed.
    #[error("cannot {what}")]
    Step {
        /// Which.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// nf_tables refused.
    #[error("cannot have the packet traced")]
    Table(#[source] RequestError),
}

fn step(what: &'static str) -> impl FnOnce(io::Error) -> VerifyError {
    move |source| VerifyError::Step { what, source }
}

/// What the packet did.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    /// Its mark behind our program.
    pub mark: Option<u32>,
    /// Index of the device it would have left by.
    pub device: Option<u32>,
    /// Its source at the last hook.
    pub source: Option<IpAddr>,
    /// It was for this machine.
    pub here: bool,
    /// Table and chain that dropped it before.
    pub dropped: Option<(String, String)>,
}

/// Sends the first packet of a flow. `like`: the device it is said to come in by, whose settings ours gets.
///
/// # Errors
/// It cannot be made, sent or traced.
pub fn send(packet: &Packet, like: Option<&str>) -> Result<Seen, VerifyError> {
    // Whose checksum covers what we do not compute: conntrack would call them invalid.
    if [33, 132, 136].contains(&packet.protocol) {
        return Err(VerifyError::Protocol(packet.protocol));
    }
    let mut random = [0; 8];
    sys::random(&mut random).map_err(step("get random numbers"))?;
    let (bytes, token) = datagram(packet, random);
    let mut ears = Socket::open(Protocol::Netfilter).map_err(step("listen to the trace"))?;
    ears.join(GROUP_TRACE).map_err(step("listen to the trace"))?;
    let mut tables = Socket::open(Protocol::Netfilter).map_err(step("open nf_tables"))?;
    let tun = like.map(|like| device(packet, like)).transpose()?;
    let make = |socket: &mut Socket, owned| {
        commit(socket, |sequence| table::make(sequence, packet.protocol, &token, owned))
    };
    // Kernels before 5.12 do not know owners.
    make(&mut tables, true).or_else(|_| make(&mut tables, false)).map_err(VerifyError::Table)?;
    let sent = match tun {
        Some(mut tun) => tun.write_all(&bytes).map_err(step("write the packet to the device")),
        None => emit(packet, &bytes),
    };
    let seen = sent.map(|()| listen(&mut ears));
    // Owned or not: at once, not only when the socket is closed.
    let _ = commit(&mut tables, table::remove);
    seen
}

/// Takes a source out of a set of ours again.
///
/// # Errors
/// The kernel refuses.
pub fn forget(set: &str, key: &[IpAddr]) -> Result<(), RequestError> {
    let mut socket = Socket::open(Protocol::Netfilter)?;
    commit(&mut socket, |sequence| table::forget(sequence, set, key))
}

/// Removes the table of a process that was killed on a kernel that does not do so itself.
pub fn clean() {
    let Ok(mut socket) = Socket::open(Protocol::Netfilter) else { return };
    let mut request = Writer::message(message::GET_TABLE, 0, &header(crate::nft::INET, 0));
    request.put_str(attr::TABLE_NAME, TABLE);
    if socket.query(request, &mut |_| {}).is_ok() {
        // One that has an owner is in use.
        let _ = commit(&mut socket, table::remove);
    }
}

/// One transaction: everything of it or nothing. Errors are there before `send` returns.
fn commit(socket: &mut Socket, batch: impl FnOnce(u32) -> Batch) -> Result<(), RequestError> {
    /// More than any of ours has.
    const MESSAGES_MAX: u32 = 32;
    let first = socket.sequences(MESSAGES_MAX);
    socket.send(&batch(first).finish()?)?;
    loop {
        match socket.receive() {
            Ok(mut messages) => {
                if let Some(error) = messages.find_map(|m| error_of(&m)) {
                    return Err(error.into());
                }
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(e) => return Err(e.into()),
        }
    }
}

/// A TUN device that is up and forwards as `like` does. It sends nothing by itself.
fn device(packet: &Packet, like: &str) -> Result<std::fs::File, VerifyError> {
    let tun = std::fs::File::options().read(true).write(true).open("/dev/net/tun");
    let tun = tun.map_err(step("open /dev/net/tun"))?;
    sys::make_tun(tun.as_fd(), DEVICE).map_err(step("make the test's device"))?;
    let family = match Family::of(packet.destination) {
        Family::V4 => "ipv4",
        Family::V6 => "ipv6",
    };
    let setting = |device: &str, name: &str| format!("/proc/sys/net/{family}/conf/{device}/{name}");
    // What cannot be set shows in what becomes of the packet.
    let set = |name: &str, value: &str| drop(std::fs::write(setting(DEVICE, name), value));
    let _ = std::fs::write(format!("/proc/sys/net/ipv6/conf/{DEVICE}/addr_gen_mode"), "1");
    set("rp_filter", "0");
    if let Ok(value) = std::fs::read_to_string(setting(like, "forwarding")) {
        set("forwarding", value.trim());
    }
    let mut socket = rt::open().map_err(step("open rtnetlink"))?;
    let index = sys::device_index(DEVICE).map_err(step("find the test's device"))?;
    rt::set_up(&mut socket, index).map_err(|e| match e {
        RequestError::Io(e) => step("bring the test's device up")(e),
        other => step("bring the test's device up")(io::Error::other(other)),
    })?;
    Ok(tun)
}

/// The router itself sends it. That the last hook drops it is told as EPERM; that there is no way, as what a program gets.
fn emit(packet: &Packet, bytes: &[u8]) -> Result<(), VerifyError> {
    let domain = i32::from(rt::family_number(Family::of(packet.destination)));
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let socket = sys::socket(domain, kind, libc::IPPROTO_RAW).map_err(step("open a raw socket"))?;
    match sys::send_to(socket.as_fd(), bytes, packet.destination, 0) {
        Ok(_) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Err(e)
            if [libc::EHOSTUNREACH, libc::ENETUNREACH, libc::EINVAL, libc::EACCES]
                .map(Some)
                .contains(&e.raw_os_error()) =>
        {
            Ok(())
        }
        Err(e) => Err(step("send the packet")(e)),
    }
}

/// Until the packet is at its end, or the time is.
fn listen(ears: &mut Socket) -> Seen {
    let mut seen = Seen::default();
    let (mut id, mut over) = (None, false);
    let end = Instant::now() + PATIENCE;
    while !over && Instant::now() < end {
        match ears.receive() {
            Ok(messages) => messages.for_each(|m| over |= hear(&m, &mut seen, &mut id)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(2)),
            // Others have so much traced that some was lost.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => break,
        }
    }
    seen
}

/// Takes in one step of the packet; whether it was the last one. `id`: what the kernel calls the packet by.
fn hear(m: &Message<'_>, seen: &mut Seen, id: &mut Option<u32>) -> bool {
    let attributes = m.attributes(4);
    let word = |kind| attributes.find(kind).and_then(u32_be);
    let name = |kind| attributes.find(kind).map(text).unwrap_or_default();
    if m.kind != TRACE {
        return false;
    }
    let (table, chain) = (name(TRACE_TABLE), name(TRACE_CHAIN));
    if table == TABLE {
        // Nothing but the packet of the moment meets these rules.
        *id = word(TRACE_ID);
        let mark = word(TRACE_MARK).unwrap_or(0);
        match chain.as_str() {
            MARKED_IN | MARKED_OUT => seen.mark = Some(mark),
            LAST => {
                seen.device = seen.device.or(word(TRACE_OIF));
                seen.source = seen.source.or(attributes.find(TRACE_NETWORK_HEADER).and_then(source_of));
                return true;
            }
            HERE => {
                seen.here = true;
                return true;
            }
            _ => {}
        }
        return false;
    }
    if id.is_none() || word(TRACE_ID) != *id {
        return false;
    }
    let verdict = attributes.nested(TRACE_VERDICT).find(attr::VERDICT_CODE).and_then(u32_be);
    let policy = word(TRACE_POLICY).filter(|_| word(TRACE_TYPE) == Some(TYPE_POLICY));
    let dropped = verdict == Some(NF_DROP) || policy == Some(NF_DROP);
    if dropped {
        seen.dropped = Some((table, chain));
    }
    dropped
}
