//! Builds a topology out of namespaces and veth pairs, with the `ip` and `nft` programs: on purpose not
//! with the product's own netlink code, which is what is being tested.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, RwLock};

use crate::faults::IspState;
use crate::netns::{Netns, NetnsError};
use crate::topology::{Cidr, Isp, Topology, Wan};

/// The ISP's link to its customer.
pub const CUSTOMER_LINK: &str = "cust";
/// The ISP's link to the rest of the world.
pub const UPSTREAM_LINK: &str = "upstream";

/// A running network.
pub struct Internet {
    /// What it was built from.
    pub topology: Topology,
    nodes: BTreeMap<String, Arc<Netns>>,
    /// Providers as they are now: addresses and devices change while a scenario runs.
    pub isps: BTreeMap<String, IspState>,
    /// Which source addresses each ISP gives its customer; shared with the captures.
    pub customers: Arc<RwLock<BTreeMap<String, Vec<IpAddr>>>>,
}

impl Internet {
    /// Builds everything; well under a second for the standard network.
    pub fn build(topology: &Topology) -> Result<Internet, NetnsError> {
        let mut nodes = BTreeMap::new();
        for name in topology.nodes() {
            nodes.insert(name.to_owned(), Netns::create(name)?);
        }
        let isps = topology.isps.iter().map(|i| (i.name.clone(), IspState::new(i.clone()))).collect();
        let customers = Arc::default();
        let net = Internet { topology: topology.clone(), nodes, isps, customers };
        for (name, ns) in &net.nodes {
            prepare(ns, topology.isp(name).is_some() || name == "router")?;
        }
        net.parallel(&[("router", net.router_links()), ("inet", net.inet_links())])?;
        net.hurry_address_resolution()?;
        let mut batches = vec![
            ("router", net.router_addresses()),
            ("inet", net.inet_addresses()),
            ("client", host_addresses(&topology.client.addresses, &topology.router.lan)),
        ];
        if let Some(lan2) = &topology.lan2 {
            batches.push(("lan2", host_addresses(&lan2.addresses, &lan2.router)));
        }
        for (index, isp) in topology.isps.iter().enumerate() {
            batches.push((&isp.name, isp_upstream(index) + &isp_customer(isp)));
        }
        net.parallel(&batches)?;
        if let Some(text) = &topology.router.nft {
            net.node("router")?.nft(text)?;
        }
        let names: Vec<String> = net.isps.keys().cloned().collect();
        for name in names {
            net.apply_faults(&name)?;
            net.publish_customer(&name);
        }
        Ok(net)
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<&Arc<Netns>, NetnsError> {
        self.nodes.get(name).ok_or_else(|| NetnsError::Command {
            node: name.into(),
            command: String::new(),
            message: format!("no such node\nhint: there are {}", self.topology.nodes().join(", ")),
        })
    }

    /// All nodes.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Netns>> {
        self.nodes.values()
    }

    /// Runs one `ip` batch per node, all at once.
    fn parallel(&self, batches: &[(&str, String)]) -> Result<(), NetnsError> {
        std::thread::scope(|scope| {
            let mut running = Vec::new();
            for (name, batch) in batches {
                let ns = self.node(name)?;
                running.push(scope.spawn(move || ns.ip(batch)));
            }
            for thread in running {
                thread.join().unwrap_or_else(|_| {
                    let source = std::io::Error::other("thread panicked");
                    Err(NetnsError::Io { node: "lab".into(), what: "build".into(), source })
                })?;
            }
            Ok(())
        })
    }

    fn peer(&self, name: &str) -> String {
        self.nodes.get(name).map(|n| n.path()).unwrap_or_default()
    }

    fn router_links(&self) -> String {
        let mut out = format!("link add lan0 type veth peer name eth0 netns {}\n", self.peer("client"));
        if self.topology.lan2.is_some() {
            let _ = writeln!(out, "link add lan2 type veth peer name eth0 netns {}", self.peer("lan2"));
        }
        for isp in &self.topology.isps {
            let (dev, peer) = (&isp.device, self.peer(&isp.name));
            // A PPP link has no ARP. Without it a veth sends to its own hardware address, see arp_constructor
            // in net/ipv4/arp.c: with the same one at both ends everything arrives.
            let same = if isp.p2p { "address 02:00:00:00:00:01" } else { "" };
            let _ = writeln!(
                out,
                "link add {dev} {same} type veth peer name {CUSTOMER_LINK} {same} netns {peer}"
            );
            if isp.p2p {
                let _ = writeln!(out, "link set {dev} arp off");
            }
        }
        out
    }

    /// When a veth gets its carrier back, its first packets are lost while the kernel is still activating the
    /// queue, and with them the first address request; the next one would come a second later. A real card
    /// reports its carrier when it can send, so that second must not show in what is measured.
    fn hurry_address_resolution(&self) -> Result<(), NetnsError> {
        for isp in &self.topology.isps {
            for (node, device) in [("router", isp.device.as_str()), (isp.name.as_str(), CUSTOMER_LINK)] {
                let keys = ["ipv4", "ipv6"].map(|f| format!("net/{f}/neigh/{device}/retrans_time_ms=20"));
                self.node(node)?.sysctl(&keys.each_ref().map(String::as_str))?;
            }
        }
        Ok(())
    }

    fn inet_links(&self) -> String {
        self.topology.isps.iter().fold(String::new(), |out, isp| {
            let peer = self.peer(&isp.name);
            out + &format!("link add {} type veth peer name {UPSTREAM_LINK} netns {peer}\n", isp.name)
        })
    }

    fn router_addresses(&self) -> String {
        let mut out = String::from("link set lo up\nlink set lan0 up\n");
        add_addresses(&mut out, &self.topology.router.lan, "lan0");
        if let Some(lan2) = &self.topology.lan2 {
            out.push_str("link set lan2 up\n");
            add_addresses(&mut out, &lan2.router, "lan2");
        }
        for isp in &self.topology.isps {
            let _ = writeln!(out, "link set {} up", isp.device);
            out.push_str(&router_wan(isp));
        }
        out
    }

    fn inet_addresses(&self) -> String {
        let mut out = String::from("link set lo up\n");
        for ip in &self.topology.inet.addresses {
            let _ = writeln!(out, "addr add {ip}/{} dev lo", Cidr::host_prefix(*ip));
        }
        for (index, isp) in self.topology.isps.iter().enumerate() {
            let (name, n) = (&isp.name, index + 1);
            let _ = writeln!(out, "link set {name} up");
            let _ = writeln!(out, "addr add 10.255.{n}.1/30 dev {name}");
            let _ = writeln!(out, "addr add fd00:ffff:{n}::1/64 dev {name} nodad");
            out.push_str(&inet_routes(index, isp));
        }
        out
    }
}

/// Routes of the far end back to one ISP's customer: single addresses, because two ISPs may well hand out
/// of the same private network.
pub(crate) fn inet_routes(index: usize, isp: &Isp) -> String {
    let (name, n) = (&isp.name, index + 1);
    let mut out = String::new();
    if let Some(wan) = &isp.v4 {
        let _ = writeln!(out, "route replace {}/32 via 10.255.{n}.2 dev {name}", wan.address.ip);
    }
    if let Some(wan) = &isp.v6 {
        let _ = writeln!(out, "-6 route replace {}/128 via fd00:ffff:{n}::2 dev {name}", wan.address.ip);
    }
    out
}

/// What the router's own network configuration (ifupdown, netifd, DHCP) sets on a WAN device.
pub(crate) fn router_wan(isp: &Isp) -> String {
    let (dev, mut out) = (&isp.device, String::new());
    for (family, wan) in [("-4", isp.v4), ("-6", isp.v6)] {
        let Some(wan) = wan else { continue };
        if isp.p2p && family == "-4" {
            let _ = writeln!(out, "addr add {} peer {} dev {dev}", wan.address.ip, wan.gateway);
        } else {
            let nodad = if family == "-6" { " nodad" } else { "" };
            let _ = writeln!(out, "addr add {} dev {dev}{nodad}", wan.address);
        }
        out.push_str(&default_route(isp, &wan));
    }
    out
}

/// The default route of one family in the router's main table, if the topology wants one.
pub(crate) fn default_route(isp: &Isp, wan: &Wan) -> String {
    let Some(metric) = isp.metric else { return String::new() };
    let (dev, v6) = (&isp.device, wan.gateway.is_ipv6());
    if isp.p2p && !v6 {
        return format!("route add default dev {dev} metric {metric}\n");
    }
    let link_local = matches!(wan.gateway, IpAddr::V6(g) if g.is_unicast_link_local());
    let onlink = if wan.address.contains(wan.gateway) || link_local { "" } else { " onlink" };
    let family = if v6 { "-6 " } else { "" };
    format!("{family}route add default via {} dev {dev} metric {metric}{onlink}\n", wan.gateway)
}

/// The ISP's side towards the world.
fn isp_upstream(index: usize) -> String {
    let n = index + 1;
    format!(
        "link set lo up\nlink set {UPSTREAM_LINK} up\n\
         addr add 10.255.{n}.2/30 dev {UPSTREAM_LINK}\n\
         addr add fd00:ffff:{n}::2/64 dev {UPSTREAM_LINK} nodad\n\
         route add default via 10.255.{n}.1 dev {UPSTREAM_LINK}\n\
         -6 route add default via fd00:ffff:{n}::1 dev {UPSTREAM_LINK}\n"
    )
}

/// The ISP's side towards its customer; also what is repeated when the link comes back, because the kernel
/// forgets IPv6 addresses of a link that went down.
pub(crate) fn isp_customer(isp: &Isp) -> String {
    let mut out = format!("link set {CUSTOMER_LINK} up\n");
    if isp.p2p {
        let _ = writeln!(out, "link set {CUSTOMER_LINK} arp off addrgenmode none");
    }
    if let Some(wan) = &isp.v4 {
        if isp.p2p {
            let _ = writeln!(out, "addr replace {} peer {} dev {CUSTOMER_LINK}", wan.gateway, wan.address.ip);
        } else {
            let _ = writeln!(out, "addr replace {}/{} dev {CUSTOMER_LINK}", wan.gateway, wan.address.prefix);
        }
    }
    if let Some(wan) = &isp.v6 {
        let prefix = if wan.address.contains(wan.gateway) { wan.address.prefix } else { 64 };
        let _ = writeln!(out, "addr replace {}/{prefix} dev {CUSTOMER_LINK} nodad", wan.gateway);
        let _ = writeln!(out, "-6 route replace {}/128 dev {CUSTOMER_LINK}", wan.address.ip);
    }
    out
}

fn add_addresses(out: &mut String, addresses: &[Cidr], device: &str) {
    for address in addresses {
        let nodad = if address.ip.is_ipv6() { " nodad" } else { "" };
        let _ = writeln!(out, "addr add {address} dev {device}{nodad}");
    }
}

fn host_addresses(addresses: &[Cidr], routers: &[Cidr]) -> String {
    let mut out = String::from("link set lo up\nlink set eth0 up\n");
    add_addresses(&mut out, addresses, "eth0");
    for router in routers {
        if addresses.iter().any(|a| a.contains(router.ip)) {
            let family = if router.ip.is_ipv6() { "-6 " } else { "" };
            let _ = writeln!(out, "{family}route add default via {} dev eth0", router.ip);
        }
    }
    out
}

/// Kernel settings of a fresh node: no waiting for duplicate address detection, no rate limits that would
/// look like loss.
fn prepare(ns: &Netns, forwards: bool) -> Result<(), NetnsError> {
    ns.sysctl(&[
        "net/ipv6/conf/all/accept_dad=0",
        "net/ipv6/conf/default/accept_dad=0",
        "net/ipv6/conf/default/accept_ra=0",
        "net/ipv6/conf/default/router_solicitations=0",
        "net/ipv4/conf/all/rp_filter=0",
        "net/ipv4/conf/default/rp_filter=0",
        "-net/ipv4/icmp_ratelimit=0",
        "-net/ipv6/icmp/ratelimit=0",
        "-net/ipv4/icmp_msgs_per_sec=100000",
        "net/ipv4/ip_local_port_range=10000 60999",
    ])?;
    if forwards {
        ns.sysctl(&["net/ipv4/ip_forward=1", "net/ipv6/conf/all/forwarding=1"])?;
    }
    Ok(())
}
