//! Connection tracking entries: deleted, listed, counted and marked, in the kernel.
//!
//! Encoded with our own writer: a request is a handful of attributes, and `netlink-bindings` has no delete by mark.

use std::net::IpAddr;

use mwan_config::Family;

use crate::netlink::{Attributes, Message, Protocol, RequestError, Socket, Writer, u16_ne, u32_be, u64_be};
use crate::rt;

/// Why connection entries could not be deleted or read.
#[derive(Debug, thiserror::Error)]
pub enum ConntrackError {
    /// The kernel has no connection tracking, or without marks (CONFIG_NF_CT_NETLINK, CONFIG_NF_CONNTRACK_MARK).
    #[error("this kernel has no connection tracking over netlink")]
    Unavailable,
    /// The request failed.
    #[error("failed to {op} connection entries")]
    Request {
        /// What we tried.
        op: &'static str,
        /// Why.
        source: RequestError,
    },
}

/// A connection entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flow {
    /// Family.
    pub family: Family,
    /// IP protocol.
    pub protocol: u8,
    /// Who opened it.
    pub source: IpAddr,
    /// Where to, as the opener says.
    pub destination: IpAddr,
    /// 0 for protocols without ports.
    pub source_port: u16,
    /// 0 for protocols without ports.
    pub destination_port: u16,
    /// Source of replies: the destination after translation.
    pub reply_source: IpAddr,
    /// Destination of replies: the source after translation.
    pub reply_destination: IpAddr,
    /// Connection mark.
    pub mark: u32,
    /// The kernel's id of the entry.
    pub id: u32,
    /// `IPS_*` bits.
    pub status: u32,
    /// Conntrack zone.
    pub zone: u16,
    /// Packets and bytes of both directions; `None` where the kernel does not count (`net.netfilter.nf_conntrack_acct`).
    pub traffic: Option<(u64, u64)>,
    /// The original direction's tuple as the kernel spelled it, for [`Flow::request`].
    tuple: Vec<u8>,
}

const GET: u16 = 1 << 8 | 1;
const NEW: u16 = 1 << 8;
const DELETE: u16 = 1 << 8 | 2;
const GET_STATS: u16 = 1 << 8 | 5;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_MARK: u16 = 8;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_ZONE: u16 = 18;
const CTA_MARK_MASK: u16 = 21;
const CTA_TUPLE_IP: u16 = 1;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_IP_V4_SOURCE: u16 = 1;
const CTA_IP_V4_DESTINATION: u16 = 2;
const CTA_IP_V6_SOURCE: u16 = 3;
const CTA_IP_V6_DESTINATION: u16 = 4;
const CTA_PROTO_NUMBER: u16 = 1;
const CTA_PROTO_SOURCE_PORT: u16 = 2;
const CTA_PROTO_DESTINATION_PORT: u16 = 3;
const CTA_COUNTERS_PACKETS: u16 = 1;
const CTA_COUNTERS_BYTES: u16 = 2;
const CTA_STATS_ENTRIES: u16 = 1;

/// A socket to connection tracking.
#[derive(Debug)]
pub struct Conntrack {
    socket: Socket,
}

/// `struct nfgenmsg` with version 1: only then ctnetlink honours the family of a delete without a tuple
/// (ctnetlink_del_conntrack: `u3 = nfmsg->version ? family : AF_UNSPEC`). With 0 a delete for IPv4 takes the IPv6
/// entries along.
fn header(family: Option<Family>) -> [u8; 4] {
    [family.map_or(0, rt::family_number), 1, 0, 0]
}

/// Another subsystem number is answered with EINVAL by nfnetlink, a kernel without marks says EOPNOTSUPP.
fn wrap(op: &'static str) -> impl FnOnce(RequestError) -> ConntrackError {
    move |source| match source.errno() {
        Some(libc::EOPNOTSUPP) => ConntrackError::Unavailable,
        _ => ConntrackError::Request { op, source },
    }
}

impl Conntrack {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> Result<Self, ConntrackError> {
        let socket = Socket::open(Protocol::Netfilter).map_err(|e| match e.raw_os_error() {
            Some(libc::EPROTONOSUPPORT) => ConntrackError::Unavailable,
            _ => ConntrackError::Request { op: "open a socket for", source: e.into() },
        })?;
        let mut conntrack = Conntrack { socket };
        match conntrack.total() {
            Err(ConntrackError::Request { source, .. }) if source.errno() == Some(libc::EINVAL) => {
                Err(ConntrackError::Unavailable)
            }
            result => result.map(|_| conntrack),
        }
    }

    /// Number of entries of the whole namespace.
    pub fn total(&mut self) -> Result<u32, ConntrackError> {
        let mut total = 0;
        let request = Writer::message(GET_STATS, 0, &header(None));
        let each = &mut |m: &Message<'_>| {
            total = m.attributes(4).find(CTA_STATS_ENTRIES).and_then(u32_be).unwrap_or(total);
        };
        self.socket.query(request, each).map_err(wrap("count"))?;
        Ok(total)
    }

    /// Deletes the entries of a family whose mark is `mark` under `mask`: one request, whatever their number.
    pub fn delete_by_mark(&mut self, family: Family, mark: u32, mask: u32) -> Result<(), ConntrackError> {
        let request = by_mark(DELETE, family, mark, mask);
        self.socket.request(request).map_err(wrap("delete"))
    }

    /// Hands the entries of a family whose mark is `mark` under `mask` to `each` while they are listed; the kernel
    /// filters. The list is not of one moment: entries come and go while it is made, and one may be seen twice.
    pub fn walk(
        &mut self,
        family: Family,
        mark: u32,
        mask: u32,
        each: &mut dyn FnMut(Flow),
    ) -> Result<(), ConntrackError> {
        let request = || by_mark(GET, family, mark, mask);
        self.dump(
            request,
            || (),
            |(), m| match parse_flow(m) {
                Some(flow) if (flow.mark ^ mark) & mask == 0 => each(flow),
                _ => {}
            },
        )
    }

    /// Number of entries of a family whose mark is `mark` under `mask`.
    pub fn count_by_mark(&mut self, family: Family, mark: u32, mask: u32) -> Result<usize, ConntrackError> {
        let request = || by_mark(GET, family, mark, mask);
        self.dump(request, || 0, |count, m| *count += usize::from(m.kind == NEW))
    }

    fn dump<T>(
        &mut self,
        request: impl Fn() -> Writer,
        start: impl Fn() -> T,
        each: impl FnMut(&mut T, &Message<'_>),
    ) -> Result<T, ConntrackError> {
        self.socket.dump(request, start, each).map_err(wrap("list"))
    }

    /// Deletes entries that are still the same ones, all by one system call. Returns how many were there.
    pub fn delete_flows(&mut self, flows: &[Flow]) -> Result<usize, ConntrackError> {
        let request = |flow: &Flow| {
            let mut request = flow.request(DELETE);
            request.put_be32(CTA_ID, flow.id);
            request
        };
        self.change("delete", flows.iter().map(request).collect())
    }

    /// Gives entries other marks, in the bits of `mask` only, all by one system call. Returns how many were there.
    pub fn mark_flows(&mut self, flows: &[(Flow, u32)], mask: u32) -> Result<usize, ConntrackError> {
        let request = |(flow, mark): &(Flow, u32)| {
            let mut request = flow.request(NEW);
            // ctnetlink_change_mark: `(ct->mark & ~mask) ^ mark`.
            request.put_be32(CTA_MARK, mark & mask);
            request.put_be32(CTA_MARK_MASK, mask);
            request
        };
        self.change("mark", flows.iter().map(request).collect())
    }

    fn change(&mut self, op: &'static str, requests: Vec<Writer>) -> Result<usize, ConntrackError> {
        let count = requests.len();
        let refused = self.socket.batch(requests).map_err(wrap(op))?;
        match refused.iter().find(|(_, error)| error.errno != libc::ENOENT) {
            Some((_, error)) => Err(wrap(op)(error.clone().into())),
            None => Ok(count - refused.len()),
        }
    }
}

impl Flow {
    /// A request about this entry: its tuple as the kernel spelled it, and its zone.
    fn request(&self, kind: u16) -> Writer {
        let mut request = Writer::message(kind, 0, &header(Some(self.family)));
        let start = request.open(CTA_TUPLE_ORIG);
        for (kind, value) in Attributes(&self.tuple) {
            // CTA_TUPLE_IP, CTA_TUPLE_PROTO and what else is in it are nested, except the zone.
            let nested = if kind <= CTA_TUPLE_PROTO { 1 << 15 } else { 0 };
            request.put(kind | nested, value);
        }
        request.close(start);
        if self.zone != 0 {
            request.put(CTA_ZONE, &self.zone.to_be_bytes());
        }
        request
    }
}

fn by_mark(kind: u16, family: Family, mark: u32, mask: u32) -> Writer {
    let mut request = Writer::message(kind, 0, &header(Some(family)));
    request.put_be32(CTA_MARK, mark);
    request.put_be32(CTA_MARK_MASK, mask);
    request
}

fn u16_be(bytes: &[u8]) -> Option<u16> {
    u16_ne(bytes).map(u16::from_be)
}

/// Packets and bytes of both directions.
fn traffic(entry: Attributes<'_>) -> Option<(u64, u64)> {
    let direction = |kind| {
        let counters = entry.find(kind).map(Attributes)?;
        let word = |kind| counters.find(kind).and_then(u64_be);
        Some((word(CTA_COUNTERS_PACKETS)?, word(CTA_COUNTERS_BYTES)?))
    };
    let (original, reply) = (direction(CTA_COUNTERS_ORIG)?, direction(CTA_COUNTERS_REPLY)?);
    Some((original.0.saturating_add(reply.0), original.1.saturating_add(reply.1)))
}

fn parse_flow(m: &Message<'_>) -> Option<Flow> {
    let attributes = m.attributes(4);
    let word = |kind| attributes.find(kind).and_then(u32_be);
    let addresses = |tuple: Attributes<'_>| {
        let ip = tuple.nested(CTA_TUPLE_IP);
        let either = |v4, v6| ip.find(v4).or(ip.find(v6)).and_then(rt::address);
        Some((
            either(CTA_IP_V4_SOURCE, CTA_IP_V6_SOURCE)?,
            either(CTA_IP_V4_DESTINATION, CTA_IP_V6_DESTINATION)?,
        ))
    };
    let tuple = attributes.find(CTA_TUPLE_ORIG)?;
    let original = Attributes(tuple);
    let (source, destination) = addresses(original)?;
    let (reply_source, reply_destination) = addresses(attributes.nested(CTA_TUPLE_REPLY))?;
    let protocol = original.nested(CTA_TUPLE_PROTO);
    let port = |kind| protocol.find(kind).and_then(u16_be).unwrap_or(0);
    Some(Flow {
        family: rt::family_of(m.byte(0))?,
        protocol: protocol.find(CTA_PROTO_NUMBER)?.first().copied()?,
        source,
        destination,
        source_port: port(CTA_PROTO_SOURCE_PORT),
        destination_port: port(CTA_PROTO_DESTINATION_PORT),
        reply_source,
        reply_destination,
        mark: word(CTA_MARK).unwrap_or(0),
        id: word(CTA_ID)?,
        status: word(CTA_STATUS).unwrap_or(0),
        zone: attributes.find(CTA_ZONE).and_then(u16_be).unwrap_or(0),
        traffic: traffic(attributes),
        tuple: tuple.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Writer::message(NEW, 0, &[2, 0, 0, 0]).finish().expect("small");
            bytes.extend_from_slice(&body);
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            for m in Messages(&bytes) {
                let _ = parse_flow(&m);
            }
        }
    }
}
