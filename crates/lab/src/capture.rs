//! Watches each provider's customer link and records which flow went where, by whom it claims to be from.
//!
//! Address translation changes a flow's client side, so a flow is known by its service: every flow of a
//! scenario has a (protocol, port) of its own at the serving end, pings a number in their payload.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant, SystemTime};

use crate::build::{CUSTOMER_LINK, Internet};
use crate::netns::NetnsError;
use crate::sys::{PacketSocket, Seen};

/// Number of a flow in its scenario.
pub type FlowId = u16;
/// First bytes of the payload of the lab's own pings, followed by the flow's number.
pub const PING_MAGIC: &[u8; 6] = b"mwlab\0";
/// TCP, as IP numbers it.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// Enough for minutes of a heavy scenario; beyond it only counters move (and `overflow` says so).
const EVENTS_MAX: usize = 4_000_000;

/// Which service belongs to which flow.
#[derive(Clone, Default)]
pub struct Registry(Arc<RwLock<HashMap<(u8, u16), FlowId>>>);

impl Registry {
    /// Declares that (protocol, port) is flow `id`; `false` if another flow has it.
    pub fn claim(&self, protocol: u8, port: u16, id: FlowId) -> bool {
        let mut map = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match map.get(&(protocol, port)) {
            Some(other) => *other == id,
            None => map.insert((protocol, port), id).is_none(),
        }
    }

    fn find(&self, protocol: u8, port: u16) -> Option<FlowId> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&(protocol, port)).copied()
    }
}

/// One packet of a known flow leaving by a provider.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// The customer's port (or ICMP identifier) on the wire.
    pub port: u16,
    /// The first of its connection on this link.
    pub first: bool,
}

/// Everything one flow did on one link.
#[derive(Default, Debug)]
pub struct Service {
    /// Packets from the customer, in order.
    pub events: Vec<Event>,
    /// Packets per customer address and port since the last reset.
    pub connections: HashMap<(IpAddr, u16), u64>,
    /// Packets towards the customer.
    pub packets_in: u64,
}

/// What one link has seen.
#[derive(Default, Debug)]
pub struct Link {
    services: BTreeMap<FlowId, Service>,
    /// Packets whose source address this provider did not give out, with the last one's address.
    pub foreign: u64,
    /// The last such source.
    pub foreign_last: Option<IpAddr>,
    /// Packets of known flows not recorded one by one.
    pub overflow: u64,
    events: usize,
    /// All packets, from and to the customer.
    pub packets: (u64, u64),
    /// All bytes, from and to the customer.
    pub bytes: (u64, u64),
}

impl Link {
    /// What flow `id` did here, if anything.
    pub fn service(&self, id: FlowId) -> Option<&Service> {
        self.services.get(&id)
    }

    /// Time of the first packet of `id` at or after `since`.
    pub fn first_since(&self, id: FlowId, since: Instant) -> Option<Instant> {
        let events = &self.services.get(&id)?.events;
        events.get(events.partition_point(|e| e.at < since)).map(|e| e.at)
    }

    /// Time of the first packet of a new connection of `id` at or after `since`.
    pub fn first_new_since(&self, id: FlowId, since: Instant) -> Option<Instant> {
        let events = &self.services.get(&id)?.events;
        events[events.partition_point(|e| e.at < since)..].iter().find(|e| e.first).map(|e| e.at)
    }

    /// How many packets of `id` there were from `since` on, and the last one's time.
    pub fn count_since(&self, id: FlowId, since: Instant) -> (usize, Option<Instant>) {
        let Some(service) = self.services.get(&id) else { return (0, None) };
        let rest = &service.events[service.events.partition_point(|e| e.at < since)..];
        (rest.len(), rest.last().map(|e| e.at))
    }

    /// Connections of `id` seen from the customer.
    pub fn connections(&self, id: FlowId) -> u64 {
        self.services.get(&id).map_or(0, |s| s.connections.len() as u64)
    }

    /// Source addresses `id` used.
    pub fn sources(&self, id: FlowId) -> Vec<IpAddr> {
        let Some(service) = self.services.get(&id) else { return Vec::new() };
        let mut out: Vec<IpAddr> = service.connections.keys().map(|(ip, _)| *ip).collect();
        out.sort_unstable();
        out.dedup();
        out
    }

    /// Forgets what `id` did (all flows without one).
    pub fn reset(&mut self, id: Option<FlowId>) {
        match id {
            Some(id) => drop(self.services.remove(&id)),
            None => {
                self.services.clear();
                (self.foreign, self.foreign_last) = (0, None);
            }
        }
    }

    fn record(&mut self, id: FlowId, packet: &Packet, outgoing: bool, at: Instant) {
        let service = self.services.entry(id).or_default();
        if outgoing {
            service.packets_in += 1;
            return;
        }
        let count = service.connections.entry((packet.source, packet.customer_port)).or_default();
        *count += 1;
        let event = Event { at, port: packet.customer_port, first: *count == 1 };
        if self.events >= EVENTS_MAX {
            self.overflow += 1;
            return;
        }
        self.events += 1;
        service.events.push(event);
    }
}

/// A capture running in a provider's namespace.
#[derive(Clone)]
pub struct Capture(Arc<Mutex<Link>>);

impl Capture {
    /// Starts one per provider.
    pub fn start_all(net: &Internet, registry: &Registry) -> Result<BTreeMap<String, Capture>, NetnsError> {
        let mut out = BTreeMap::new();
        for name in net.isps.keys() {
            let ns = net.node(name)?;
            let fail = |source| NetnsError::Io { node: name.clone(), what: "capture".into(), source };
            let socket = ns.run(|| PacketSocket::open(CUSTOMER_LINK))?.map_err(fail)?;
            let capture = Capture(Arc::default());
            let watch = Watch {
                isp: name.clone(),
                link: Arc::clone(&capture.0),
                registry: registry.clone(),
                customers: Arc::clone(&net.customers),
            };
            ns.spawn(move || watch.run(&socket))?;
            out.insert(name.clone(), capture);
        }
        Ok(out)
    }

    /// Looks at what was seen.
    pub fn link(&self) -> MutexGuard<'_, Link> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Watch {
    isp: String,
    link: Arc<Mutex<Link>>,
    registry: Registry,
    customers: Arc<RwLock<BTreeMap<String, Vec<IpAddr>>>>,
}

impl Watch {
    fn run(&self, socket: &PacketSocket) {
        let mut buffer = [0; 256];
        loop {
            match socket.recv(&mut buffer, Duration::from_secs(1)) {
                Ok(Some(seen)) => self.take(&buffer[..seen.len.min(buffer.len())], &seen),
                Ok(None) => {}
                Err(e) => return eprintln!("mwan-lab: capture on {}: {e}", self.isp),
            }
        }
    }

    fn take(&self, bytes: &[u8], seen: &Seen) {
        let Some(packet) = Packet::parse(bytes, seen.outgoing) else { return };
        let age = SystemTime::now().duration_since(seen.at).unwrap_or_default();
        let at = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let id =
            packet.ping.or_else(|| self.registry.find(packet.protocol, packet.service_port)).or_else(|| {
                // A port forward: here the customer is the serving end.
                self.registry.find(packet.protocol, packet.customer_port)
            });
        let foreign = !seen.outgoing && !self.is_customer(packet.source);
        let mut link = self.link.lock().unwrap_or_else(PoisonError::into_inner);
        let (packets, bytes) = if seen.outgoing { (0, packet.length) } else { (1, packet.length) };
        link.packets.0 += packets;
        link.packets.1 += 1 - packets;
        if seen.outgoing {
            link.bytes.1 += bytes
        } else {
            link.bytes.0 += bytes
        }
        if foreign {
            link.foreign += 1;
            link.foreign_last = Some(packet.source);
        }
        if let Some(id) = id {
            let served_here =
                packet.ping.is_none() && self.registry.find(packet.protocol, packet.service_port) != Some(id);
            let packet = if served_here { packet.swapped() } else { packet };
            link.record(id, &packet, seen.outgoing, at);
        }
    }

    fn is_customer(&self, source: IpAddr) -> bool {
        if matches!(source, IpAddr::V6(a) if a.is_unicast_link_local() || a.is_unspecified()) {
            return true;
        }
        let customers = self.customers.read().unwrap_or_else(PoisonError::into_inner);
        customers.get(&self.isp).is_some_and(|list| list.contains(&source))
    }
}

/// The fields of a packet the lab cares for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Packet {
    protocol: u8,
    source: IpAddr,
    /// Port at the customer's end.
    customer_port: u16,
    /// Port at the far end.
    service_port: u16,
    ping: Option<FlowId>,
    length: u64,
}

impl Packet {
    /// Reads one; `to_customer` tells which end is which.
    fn parse(bytes: &[u8], to_customer: bool) -> Option<Packet> {
        let (protocol, source, length, payload) = match bytes.first()? >> 4 {
            4 => {
                let header = usize::from(bytes[0] & 15) * 4;
                let source = <[u8; 4]>::try_from(bytes.get(12..16)?).ok()?;
                let length = u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?);
                (*bytes.get(9)?, IpAddr::from(Ipv4Addr::from(source)), length, bytes.get(header..)?)
            }
            6 => {
                let source = <[u8; 16]>::try_from(bytes.get(8..24)?).ok()?;
                let length = u16::from_be_bytes(bytes.get(4..6)?.try_into().ok()?).saturating_add(40);
                (*bytes.get(6)?, IpAddr::from(Ipv6Addr::from(source)), length, bytes.get(40..)?)
            }
            _ => return None,
        };
        let word = |at: usize| Some(u16::from_be_bytes(payload.get(at..at + 2)?.try_into().ok()?));
        let (mut from, mut to, mut ping) = (0, 0, None);
        if protocol == TCP || protocol == UDP {
            (from, to) = (word(0)?, word(2)?);
        } else if payload.get(8..14) == Some(PING_MAGIC.as_slice()) {
            ping = word(14);
            (from, to) = (word(4)?, word(4)?);
        }
        let (customer_port, service_port) = if to_customer { (to, from) } else { (from, to) };
        Some(Packet { protocol, source, customer_port, service_port, ping, length: u64::from(length) })
    }

    fn swapped(self) -> Packet {
        Packet { customer_port: self.service_port, service_port: self.customer_port, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn udp4(from: u16, to: u16) -> Vec<u8> {
        let mut p = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, UDP, 0, 0, 100, 64, 1, 2, 198, 51, 100, 10];
        p.extend(from.to_be_bytes());
        p.extend(to.to_be_bytes());
        p.extend([0, 8, 0, 0]);
        p
    }

    #[test]
    fn ends_are_told_by_direction() {
        let out = Packet::parse(&udp4(40000, 20001), false).unwrap();
        assert_eq!((out.customer_port, out.service_port), (40000, 20001));
        let back = Packet::parse(&udp4(20001, 40000), true).unwrap();
        assert_eq!((back.customer_port, back.service_port), (40000, 20001));
        assert_eq!(out.source, IpAddr::from([100, 64, 1, 2]));
    }

    #[test]
    fn a_service_has_one_owner() {
        let registry = Registry::default();
        assert!(registry.claim(TCP, 80, 1));
        assert!(registry.claim(TCP, 80, 1));
        assert!(!registry.claim(TCP, 80, 2));
        assert!(registry.claim(UDP, 80, 2));
    }

    #[test]
    fn times_are_found_in_the_timeline() {
        let (mut link, start) = (Link::default(), Instant::now());
        let packet = Packet::parse(&udp4(40000, 20001), false).unwrap();
        for ms in [0, 10, 20] {
            link.record(1, &packet, false, start + Duration::from_millis(ms));
        }
        assert_eq!(
            link.first_since(1, start + Duration::from_millis(5)),
            Some(start + Duration::from_millis(10))
        );
        assert_eq!(link.first_new_since(1, start + Duration::from_millis(5)), None);
        assert_eq!(link.count_since(1, start + Duration::from_millis(10)).0, 2);
        assert_eq!(link.connections(1), 1);
        link.reset(Some(1));
        assert_eq!(link.connections(1), 0);
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), to in any::<bool>()) {
            let _ = Packet::parse(&bytes, to);
        }
    }
}
