//! rtnetlink messages as plain values.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use mwan_config::Family;

use crate::netlink::{Attributes, Message, Protocol, RequestError, Socket, Writer, text, u16_ne, u32_ne};

pub(crate) const NEW_LINK: u16 = 16;
pub(crate) const DELETE_LINK: u16 = 17;
pub(crate) const GET_LINK: u16 = 18;
pub(crate) const NEW_ADDRESS: u16 = 20;
pub(crate) const DELETE_ADDRESS: u16 = 21;
pub(crate) const GET_ADDRESS: u16 = 22;
pub(crate) const NEW_ROUTE: u16 = 24;
pub(crate) const DELETE_ROUTE: u16 = 25;
pub(crate) const GET_ROUTE: u16 = 26;
pub(crate) const NEW_RULE: u16 = 32;
pub(crate) const DELETE_RULE: u16 = 33;
pub(crate) const GET_RULE: u16 = 34;
pub(crate) const NEW_NEXTHOP: u16 = 104;
pub(crate) const DELETE_NEXTHOP: u16 = 105;
pub(crate) const GET_NEXTHOP: u16 = 106;

/// `RTN_UNICAST` to `RTN_ANYCAST`.
pub(crate) const TYPE_UNICAST: u8 = 1;
pub(crate) const TYPE_LOCAL: u8 = 2;
pub(crate) const TYPE_BROADCAST: u8 = 3;
pub(crate) const TYPE_ANYCAST: u8 = 4;

/// Length of `struct rtmsg` and of `struct fib_rule_hdr`.
pub(crate) const ROUTE_HEADER: usize = 12;
const LINK_HEADER: usize = 16;
const ADDRESS_HEADER: usize = 8;
const NEXTHOP_HEADER: usize = 8;

/// The kernel's number of a family.
pub(crate) fn family_number(family: Family) -> u8 {
    match family {
        Family::V4 => libc::AF_INET as u8,
        Family::V6 => libc::AF_INET6 as u8,
    }
}

pub(crate) fn family_of(number: u8) -> Option<Family> {
    Family::ALL.into_iter().find(|f| family_number(*f) == number)
}

/// An address of four or sixteen bytes.
pub(crate) fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(Ipv4Addr::from(v4).into());
    }
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into())
}

pub(crate) fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

fn word(attributes: Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind).and_then(u32_ne)
}

/// `RTM_NEWLINK`, `RTM_DELLINK`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct LinkMessage {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) point_to_point: bool,
}

pub(crate) fn parse_link(m: &Message<'_>) -> Option<LinkMessage> {
    const IFLA_IFNAME: u16 = 3;
    const IFLA_OPERSTATE: u16 = 16;
    /// Devices without link-layer addresses: tun, WireGuard, PPP.
    const ARPHRD_NONE: u16 = 0xfffe;
    const ARPHRD_PPP: u16 = 512;
    const IF_OPER_UNKNOWN: u8 = 0;
    const IF_OPER_UP: u8 = 6;
    // A bridge announces its ports with family AF_BRIDGE; a DELLINK of that kind deletes no device.
    if m.byte(0) != 0 {
        return None;
    }
    let attributes = m.attributes(LINK_HEADER);
    let flags = m.word(8);
    let hardware = m.payload.get(2..4).and_then(u16_ne)?;
    // Drivers that do not maintain the operational state say "unknown".
    let operational =
        attributes.find(IFLA_OPERSTATE).and_then(|v| v.first().copied()).unwrap_or(IF_OPER_UNKNOWN);
    Some(LinkMessage {
        index: m.word(4),
        name: attributes.find(IFLA_IFNAME).map(text)?,
        up: flags & libc::IFF_UP as u32 != 0,
        carrier: flags & IFF_LOWER_UP != 0 && matches!(operational, IF_OPER_UNKNOWN | IF_OPER_UP),
        point_to_point: flags & libc::IFF_POINTOPOINT as u32 != 0
            || matches!(hardware, ARPHRD_NONE | ARPHRD_PPP),
    })
}

const IFF_LOWER_UP: u32 = 1 << 16;

/// `RTM_NEWADDR`, `RTM_DELADDR`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct AddressMessage {
    pub(crate) index: u32,
    pub(crate) address: mwan_core::Address,
    /// Duplicate address detection is under way. The kernel announces the address when it is over, so that until
    /// then there is none (addrconf_dad_completed, addrconf_dad_stop in net/ipv6/addrconf.c).
    pub(crate) tentative: bool,
    /// IPv4: secondary; IPv6: temporary (privacy). The kernel uses one bit for both.
    pub(crate) secondary: bool,
}

pub(crate) fn parse_address(m: &Message<'_>) -> Option<AddressMessage> {
    const IFA_ADDRESS: u16 = 1;
    const IFA_LOCAL: u16 = 2;
    const IFA_FLAGS: u16 = 8;
    let attributes = m.attributes(ADDRESS_HEADER);
    let family = family_of(m.byte(0))?;
    // On a point-to-point link IFA_ADDRESS is the other end.
    let far = attributes.find(IFA_ADDRESS).and_then(address);
    let near = attributes.find(IFA_LOCAL).and_then(address).or(far)?;
    let prefix_len = m.byte(1);
    if Family::of(near) != family || prefix_len > family.bits() {
        return None;
    }
    let flags = word(attributes, IFA_FLAGS).unwrap_or(u32::from(m.byte(2)));
    let unusable = libc::IFA_F_DADFAILED | libc::IFA_F_DEPRECATED;
    let tentative = flags & libc::IFA_F_TENTATIVE != 0 && flags & libc::IFA_F_OPTIMISTIC == 0;
    Some(AddressMessage {
        index: m.word(4),
        address: mwan_core::Address {
            ip: near,
            prefix_len,
            peer: far.filter(|far| *far != near),
            global: m.byte(3) == libc::RT_SCOPE_UNIVERSE,
            preferred: !tentative && flags & unusable == 0,
        },
        tentative: tentative && flags & libc::IFA_F_DADFAILED == 0,
        secondary: flags & libc::IFA_F_SECONDARY != 0,
    })
}

/// Where a route leads.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Hop {
    /// Index of the device.
    pub(crate) device: u32,
    pub(crate) gateway: Option<IpAddr>,
}

/// `RTM_NEWROUTE`, `RTM_DELROUTE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RouteMessage {
    pub(crate) family: Family,
    pub(crate) table: u32,
    pub(crate) kind: u8,
    pub(crate) tos: u8,
    pub(crate) destination: IpNet,
    pub(crate) metric: u32,
    pub(crate) source: Option<IpAddr>,
    pub(crate) nexthop: Option<u32>,
    pub(crate) hops: Vec<Hop>,
}

pub(crate) fn parse_route(m: &Message<'_>) -> Option<RouteMessage> {
    let family = family_of(m.byte(0))?;
    let attributes = m.attributes(ROUTE_HEADER);
    // Cached exceptions are no routes; a source prefix (RTA_SRC) makes it a route for some packets only.
    if m.word(8) & RTM_F_CLONED != 0 || m.byte(2) != 0 {
        return None;
    }
    let mut route = RouteMessage {
        family,
        table: u32::from(m.byte(4)),
        kind: m.byte(7),
        tos: m.byte(3),
        destination: default_net(family),
        metric: 0,
        source: None,
        nexthop: None,
        hops: Vec::new(),
    };
    let mut single = HopAttributes::default();
    for (kind, value) in attributes {
        match i32::from(kind) {
            RTA_DST => route.destination = IpNet::new(address(value)?, m.byte(1)).ok()?,
            RTA_PRIORITY => route.metric = u32_ne(value)?,
            RTA_PREFSRC => route.source = address(value),
            RTA_TABLE => route.table = u32_ne(value)?,
            RTA_NH_ID => route.nexthop = u32_ne(value),
            RTA_MULTIPATH => route.hops = parse_hops(value),
            _ => single.take(kind, value),
        }
    }
    if route.hops.is_empty() {
        route.hops.extend(single.hop());
    }
    let consistent =
        Family::of(route.destination.addr()) == family && route.destination.prefix_len() == m.byte(1);
    consistent.then_some(route)
}

pub(crate) const RTM_F_CLONED: u32 = 0x200;

pub(crate) const RTA_DST: i32 = 1;
pub(crate) const RTA_SRC: i32 = 2;
pub(crate) const RTA_OIF: i32 = 4;
pub(crate) const RTA_GATEWAY: i32 = 5;
pub(crate) const RTA_PRIORITY: i32 = 6;
pub(crate) const RTA_PREFSRC: i32 = 7;
pub(crate) const RTA_MULTIPATH: i32 = 9;
pub(crate) const RTA_TABLE: i32 = 15;
pub(crate) const RTA_VIA: i32 = 18;
pub(crate) const RTA_NH_ID: i32 = 30;
pub(crate) const RTA_CACHEINFO: i32 = 12;
pub(crate) const RTA_PREF: i32 = 20;

/// 0.0.0.0/0 or ::/0.
pub(crate) fn default_net(family: Family) -> IpNet {
    match family {
        Family::V4 => IpNet::V4(ipnet::Ipv4Net::default()),
        Family::V6 => IpNet::V6(ipnet::Ipv6Net::default()),
    }
}

#[derive(Default)]
struct HopAttributes {
    device: Option<u32>,
    gateway: Option<IpAddr>,
}

impl HopAttributes {
    fn take(&mut self, kind: u16, value: &[u8]) {
        match i32::from(kind) {
            RTA_OIF => self.device = u32_ne(value),
            RTA_GATEWAY => self.gateway = address(value),
            // struct rtvia: a gateway of another family.
            RTA_VIA => self.gateway = value.get(2..).and_then(address),
            _ => {}
        }
    }

    fn hop(&self) -> Option<Hop> {
        self.device.map(|device| Hop { device, gateway: self.gateway })
    }
}

/// `struct rtnexthop`, each with its attributes.
fn parse_hops(mut bytes: &[u8]) -> Vec<Hop> {
    let mut hops = Vec::new();
    while let Some(length) = bytes.get(..2).and_then(u16_ne).map(usize::from) {
        let Some(one) = bytes.get(..length).filter(|one| one.len() >= 8) else { break };
        let mut attributes = HopAttributes { device: u32_ne(&one[4..8]), gateway: None };
        for (kind, value) in Attributes(&one[8..]).filter(|(kind, _)| i32::from(*kind) != RTA_OIF) {
            attributes.take(kind, value);
        }
        hops.extend(attributes.hop());
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    hops
}

/// `RTM_NEWNEXTHOP`, `RTM_DELNEXTHOP`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct NexthopMessage {
    pub(crate) id: u32,
    pub(crate) hop: Option<Hop>,
    pub(crate) group: Vec<u32>,
}

pub(crate) fn parse_nexthop(m: &Message<'_>) -> Option<NexthopMessage> {
    const NHA_ID: u16 = 1;
    const NHA_GROUP: u16 = 2;
    const NHA_OIF: u16 = 5;
    const NHA_GATEWAY: u16 = 6;
    let attributes = m.attributes(NEXTHOP_HEADER);
    let gateway = attributes.find(NHA_GATEWAY).and_then(address);
    // struct nexthop_grp: u32 id and four more bytes.
    let group = attributes.find(NHA_GROUP).unwrap_or_default().chunks_exact(8);
    Some(NexthopMessage {
        id: word(attributes, NHA_ID)?,
        hop: word(attributes, NHA_OIF).map(|device| Hop { device, gateway }),
        group: group.filter_map(|member| u32_ne(&member[..4])).collect(),
    })
}

/// A dump request for all families or one.
pub(crate) fn dump_request(kind: u16, family: u8) -> Writer {
    let length = match kind {
        GET_LINK => LINK_HEADER,
        GET_ADDRESS => ADDRESS_HEADER,
        GET_NEXTHOP => NEXTHOP_HEADER,
        _ => ROUTE_HEADER,
    };
    let mut header = vec![0; length];
    header[0] = family;
    let mut writer = Writer::message(kind, 0, &header);
    if kind == GET_LINK {
        writer.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    }
    writer
}

const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;
const IFLA_IFNAME: u16 = 3;

/// One device, by name or (without) by index, in the socket's namespace.
pub(crate) fn find_link(
    socket: &mut Socket,
    name: Option<&str>,
    index: u32,
) -> Result<LinkMessage, RequestError> {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut request = Writer::message(GET_LINK, 0, &header);
    if let Some(name) = name {
        request.put_str(IFLA_IFNAME, name);
    }
    request.put_u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    let mut found = None;
    socket.query(request, &mut |m| found = found.take().or(parse_link(m)))?;
    found.ok_or(RequestError::NoAnswer)
}

/// Brings a device up.
pub(crate) fn set_up(socket: &mut Socket, index: u32) -> Result<(), RequestError> {
    let mut header = [0; LINK_HEADER];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let up = (libc::IFF_UP as u32).to_ne_bytes();
    header[8..12].copy_from_slice(&up);
    header[12..16].copy_from_slice(&up);
    socket.request(Writer::message(NEW_LINK, 0, &header))
}

/// Opens an rtnetlink socket in the namespace of the calling thread.
pub(crate) fn open() -> std::io::Result<Socket> {
    Socket::open(Protocol::Route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::Messages;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic(kind in 16u16..107, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = Writer::message(kind, 0, &[]).finish().expect("small");
            bytes.extend_from_slice(&body);
            let length = bytes.len() as u32;
            bytes[..4].copy_from_slice(&length.to_ne_bytes());
            for m in Messages(&bytes) {
                let _ = (parse_link(&m), parse_address(&m), parse_route(&m), parse_nexthop(&m));
            }
            let _ = parse_hops(&body);
        }
    }
}
