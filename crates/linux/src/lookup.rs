//! What the kernel's routing says of one packet.

use std::io;
use std::net::IpAddr;

use mwan_config::Family;

use crate::netlink::{RequestError, Socket, Writer, u32_ne};
use crate::rt::{self, RTA_GATEWAY, RTA_OIF, RTA_PREFSRC, RTA_SRC, RTA_TABLE, RTA_VIA};

const RTA_DST: u16 = 1;
const RTA_IIF: u16 = 3;
const RTA_MARK: u16 = 16;
/// The table that answered is told, not always main (linux/rtnetlink.h).
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;

/// A packet to be routed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Its destination.
    pub destination: IpAddr,
    /// Its source, same family; `None`: the kernel chooses.
    pub source: Option<IpAddr>,
    /// Its mark.
    pub mark: u32,
    /// Index of the device it came in by; `None`: the router's own.
    pub input: Option<u32>,
}

/// Where it goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Route {
    /// `RTN_*`: 1 is onwards, 2 is to this machine.
    pub kind: u8,
    /// The table that had the route.
    pub table: u32,
    /// Index of the device.
    pub device: Option<u32>,
    /// Next hop.
    pub gateway: Option<IpAddr>,
    /// The source the kernel would choose.
    pub source: Option<IpAddr>,
}

impl Route {
    /// Whether the destination is this machine's own, alone or as one of several that have the address.
    pub fn is_local(&self) -> bool {
        [rt::TYPE_LOCAL, rt::TYPE_ANYCAST].contains(&self.kind)
    }

    /// Whether the destination is everybody on a link.
    pub fn is_broadcast(&self) -> bool {
        self.kind == rt::TYPE_BROADCAST
    }
}

/// A socket to ask.
#[derive(Debug)]
pub struct Lookup(Socket);

impl Lookup {
    /// Opens it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> io::Result<Self> {
        Ok(Lookup(rt::open()?))
    }

    /// Asks. Nothing is sent, nothing is changed.
    ///
    /// # Errors
    /// There is no route (the errno is that which a program would get), or the packet is not accepted (reverse path filter).
    pub fn ask(&mut self, question: &Question) -> Result<Route, RequestError> {
        let mut found = None;
        self.0.query(request(question), &mut |m| {
            if m.kind != rt::NEW_ROUTE {
                return;
            }
            let attributes = m.attributes(rt::ROUTE_HEADER);
            let address = |kind: i32| attributes.find(kind as u16).and_then(rt::address);
            let word = |kind: i32| attributes.find(kind as u16).and_then(u32_ne);
            // struct rtvia: a gateway of another family.
            let via = || attributes.find(RTA_VIA as u16)?.get(2..).and_then(rt::address);
            found = Some(Route {
                kind: m.byte(7),
                table: word(RTA_TABLE).unwrap_or(u32::from(m.byte(4))),
                device: word(RTA_OIF),
                gateway: address(RTA_GATEWAY).or_else(via),
                source: address(RTA_PREFSRC),
            });
        })?;
        found.ok_or(RequestError::NoAnswer)
    }
}

fn request(question: &Question) -> Writer {
    let family = Family::of(question.destination);
    let bits = family.bits();
    let mut header = [0; rt::ROUTE_HEADER];
    header[0] = rt::family_number(family);
    header[1] = bits;
    header[2] = question.source.map_or(0, |_| bits);
    // IPv6 tells the table unasked, and refuses the question with this flag (inet6_rtm_valid_getroute_req, net/ipv6/route.c).
    if family == Family::V4 {
        header[8..12].copy_from_slice(&RTM_F_LOOKUP_TABLE.to_ne_bytes());
    }
    let mut request = Writer::message(rt::GET_ROUTE, 0, &header);
    request.put(RTA_DST, &rt::octets(question.destination));
    if let Some(source) = question.source {
        request.put(RTA_SRC as u16, &rt::octets(source));
    }
    request.put_u32(RTA_MARK, question.mark);
    if let Some(input) = question.input {
        request.put_u32(RTA_IIF, input);
    }
    request
}
