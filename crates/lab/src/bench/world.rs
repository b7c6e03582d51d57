//! The network to measure in: a client, a router with N WANs, and one far end that is the provider on all
//! of them. Three namespaces per router, so that two routers never share anything but the machine.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use super::config::{TARGET6, TARGETS};
use super::inject::DESTINATIONS;
use super::sys::{flush_conntrack, set_mac};
use crate::netns::{Netns, NetnsError};

/// Address of the service at the far end that nobody tracks.
pub(crate) const SERVICE: [u8; 4] = [198, 51, 100, 10];
/// Addresses of the far end for packets by the million, as a network of 64.
pub(crate) const CROWD: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
/// The first of 64 of IPv6, which are far from each other, and the network of all.
pub(crate) const CROWD6: Ipv6Addr = Ipv6Addr::new(0x2a80, 0, 0, 0, 0, 0, 0, 0);
pub(crate) const CROWD6_NETWORK: &str = "2a80::/22";
/// The client's address.
pub(crate) const CLIENT: [u8; 4] = [10, 99, 0, 2];
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x99, 0, 0, 0, 0, 0, 2);
/// The client's link address.
pub(crate) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The router's link address towards the client.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
/// UDP port of the service; the far end answers datagrams without content and drops all others unseen.
pub(crate) const SERVICE_PORT: u16 = 9;

/// The far end's filter: what arrives has been counted by its link; it must cost as little as possible from there on.
/// The smallest UDP datagram (8 bytes, no content) passes: an answer to it establishes a flow.
const SINK: &str = "table inet sink { chain pre { type filter hook prerouting priority -300; \
                    meta l4proto udp udp length > 8 drop; }; }\n";

/// One router and its surroundings. The namespaces vanish with it.
pub(crate) struct World {
    pub(crate) client: Arc<Netns>,
    pub(crate) router: Arc<Netns>,
    pub(crate) peer: Arc<Netns>,
    wans: usize,
}

impl World {
    /// Builds it: `client eth0 — lan0 router w1…wN — w1…wN peer`.
    pub(crate) fn build(name: &str, wans: usize) -> Result<World, String> {
        World::try_build(name, wans).map_err(|e| e.to_string())
    }

    fn try_build(name: &str, wans: usize) -> Result<World, NetnsError> {
        let node = |role: &str| Netns::create(&format!("{name} {role}"));
        let world = World { client: node("client")?, router: node("router")?, peer: node("peer")?, wans };
        for ns in [&world.client, &world.router, &world.peer] {
            ns.sysctl(&[
                "net/ipv4/conf/all/rp_filter=0",
                "net/ipv4/conf/default/rp_filter=0",
                "net/ipv6/conf/all/disable_ipv6=1",
                "net/ipv6/conf/default/disable_ipv6=1",
                "-net/ipv4/icmp_ratelimit=0",
                "-net/ipv4/icmp_msgs_per_sec=100000",
                "net/ipv4/ip_local_port_range=10000 60999",
            ])?;
        }
        world.router.sysctl(&["net/ipv4/ip_forward=1"])?;
        world.router.ip(&world.router_batch())?;
        world.peer.ip(&world.peer_batch())?;
        world.client.ip("link set lo up\nlink set eth0 up\naddr add 10.99.0.2/24 dev eth0\n\
             route add default via 10.99.0.1\n")?;
        world.peer.nft(SINK)?;
        Ok(world)
    }

    /// The same with addresses and routes of IPv6 beside those of IPv4, on all links.
    pub(crate) fn dual(name: &str, wans: usize) -> Result<World, String> {
        let world = World::build(name, wans)?;
        world.add_ipv6().map_err(|e| e.to_string())?;
        Ok(world)
    }

    fn add_ipv6(&self) -> Result<(), NetnsError> {
        for ns in [&self.client, &self.router, &self.peer] {
            ns.sysctl(&[
                "-net/ipv6/icmp/ratelimit=0",
                "net/ipv6/conf/default/disable_ipv6=0",
                "net/ipv6/conf/all/disable_ipv6=0",
            ])?;
        }
        self.router.sysctl(&["net/ipv6/conf/all/forwarding=1"])?;
        let mut router = format!(
            "addr add fd00:99::1/64 dev lan0 nodad\n\
             neigh replace {CLIENT6} lladdr {} dev lan0 nud permanent\n",
            mac(CLIENT_MAC)
        );
        let mut peer =
            format!("-6 route add local {CROWD6_NETWORK} dev lo\naddr add {TARGET6}/128 dev lo nodad\n");
        for n in 1..=self.wans {
            let far = mac(far_mac(n));
            let _ = writeln!(
                router,
                "addr add fd00:100:{n}::2/64 dev w{n} nodad\n\
                 neigh replace fd00:100:{n}::1 lladdr {far} dev w{n} nud permanent\n\
                 -6 route add default via fd00:100:{n}::1 dev w{n} metric {n}"
            );
            let _ = writeln!(peer, "addr add fd00:100:{n}::1/64 dev w{n} nodad");
        }
        self.router.ip(&router)?;
        self.peer.ip(&peer)?;
        self.client
            .ip(&format!("addr add {CLIENT6}/64 dev eth0 nodad\n-6 route add default via fd00:99::1\n"))
    }

    fn router_batch(&self) -> String {
        let (client, peer) = (self.client.path(), self.peer.path());
        let mut out = format!(
            "link set lo up\n\
             link add lan0 address {} type veth peer name eth0 address {} netns {client}\n\
             link set lan0 up\naddr add 10.99.0.1/24 dev lan0\n\
             neigh replace 10.99.0.2 lladdr {} dev lan0 nud permanent\n",
            mac(ROUTER_MAC),
            mac(CLIENT_MAC),
            mac(CLIENT_MAC)
        );
        for n in 1..=self.wans {
            let far = mac(far_mac(n));
            let _ = writeln!(
                out,
                "link add w{n} type veth peer name w{n} address {far} netns {peer}\n\
                 link set w{n} up\naddr add 10.100.{n}.2/30 dev w{n}\n\
                 neigh replace 10.100.{n}.1 lladdr {far} dev w{n} nud permanent\n\
                 route add default via 10.100.{n}.1 dev w{n} metric {n} onlink"
            );
        }
        out
    }

    fn peer_batch(&self) -> String {
        let mut out = format!("link set lo up\nroute add local {CROWD}/26 dev lo\n");
        let service = Ipv4Addr::from(SERVICE).to_string();
        for address in TARGETS.iter().copied().chain([service.as_str()]) {
            let _ = writeln!(out, "addr add {address}/32 dev lo");
        }
        for n in 1..=self.wans {
            let _ = writeln!(out, "link set w{n} up\naddr add 10.100.{n}.1/30 dev w{n}");
        }
        out
    }

    /// The far end reads everything it is sent, as servers do.
    pub(crate) fn listen(&self) -> Result<(), String> {
        self.peer.nft("delete table inet sink\n").map_err(|e| e.to_string())
    }

    /// What a plain router does and no more: connection tracking and masquerade.
    pub(crate) fn masquerade(&self) -> Result<(), String> {
        let table = "table inet plain { chain post { type nat hook postrouting priority srcnat; \
                     oifname \"w*\" masquerade; }; }\n";
        self.router.nft(table).map_err(|e| e.to_string())
    }

    /// What a plain router needs to use all its links: destinations spread over them by lot, as mwan spreads flows.
    /// Packets of one next hop are handled faster in a row than those of many in turns (`ip_list_rcv_finish` hands on
    /// runs of one route), which is a matter of having many links and not of multi-WAN.
    pub(crate) fn spread(&self, to: Ipv4Addr) -> Result<(), String> {
        let mut batch = String::new();
        for (last, link) in (0..DESTINATIONS).zip(lots(self.wans)) {
            let [a, b, c, _] = to.octets();
            let _ = writeln!(batch, "route add {a}.{b}.{c}.{last}/32 via 10.100.{link}.1 dev w{link} onlink");
        }
        self.router.ip(&batch).map_err(|e| e.to_string())
    }

    /// The far end's `w1` takes another link address, or its own again: what the router sends there is for
    /// somebody else from one moment to the next, and the carrier stays.
    pub(crate) fn silence(&self, silent: bool) -> Result<SystemTime, String> {
        let mut address = far_mac(1);
        address[2] ^= u8::from(silent);
        let change = || {
            let begin = SystemTime::now();
            set_mac("w1", address).map(|()| begin)
        };
        self.peer.run(change).map_err(|e| e.to_string())?.map_err(|e| format!("address of w1: {e}"))
    }

    /// The router forgets all connections.
    pub(crate) fn flush_conntrack(&self) -> Result<(), String> {
        let flushed = self.router.run(flush_conntrack).map_err(|e| e.to_string())?;
        flushed.map_err(|e| format!("conntrack: {e}"))
    }

    /// Connections the router knows.
    pub(crate) fn known(&self) -> Result<u64, String> {
        let read = || std::fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
        let text =
            self.router.run(read).map_err(|e| e.to_string())?.map_err(|e| format!("conntrack: {e}"))?;
        text.trim().parse().map_err(|e| format!("nf_conntrack_count: {e}"))
    }

    /// Packets the far end has received on all its links.
    pub(crate) fn arrived(&self) -> Result<u64, String> {
        let text = self.peer.run(|| std::fs::read_to_string("/proc/thread-self/net/dev"));
        let text = text.map_err(|e| e.to_string())?.map_err(|e| format!("net/dev: {e}"))?;
        let links = text.lines().filter_map(|line| line.trim_start().split_once(':'));
        let counts = links.filter(|(name, _)| name.starts_with('w'));
        // Columns of net/dev: bytes, packets, … received.
        Ok(counts.filter_map(|(_, rest)| rest.split_whitespace().nth(1)?.parse::<u64>().ok()).sum())
    }
}

/// Links 1 to `wans`, drawn by a linear congruential generator (Knuth's MMIX): the same in every run.
fn lots(wans: usize) -> impl Iterator<Item = usize> {
    let next =
        |x: &u64| Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
    std::iter::successors(Some(wans as u64), next).map(move |x| (x >> 33) as usize % wans + 1)
}

/// Link address of the far end's `wN`.
fn far_mac(n: usize) -> [u8; 6] {
    [2, 0, 0, 1, 0, u8::try_from(n).unwrap_or(0)]
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|b| format!("{b:02x}")).join(":")
}
