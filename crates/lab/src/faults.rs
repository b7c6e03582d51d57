//! Everything that can go wrong with a provider, injected in the provider's namespace (the router must not
//! be able to tell it from the real thing), and the few faults of the router's own configuration.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Instant;

use crate::build::{
    CUSTOMER_LINK, Internet, UPSTREAM_LINK, default_route, inet_routes, isp_customer, router_wan,
};
use crate::delay::Delay;
use crate::netns::NetnsError;
use crate::sys;
use crate::topology::{Cidr, Isp, Wan};

/// Direction as seen by the customer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Direction {
    /// Towards the customer.
    In,
    /// From the customer.
    Out,
    /// Both.
    Both,
}

/// What is wrong with a provider right now.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub struct Faults {
    /// IPv4 vanishes.
    pub blackhole4: bool,
    /// IPv6 vanishes.
    pub blackhole6: bool,
    /// What the customer sends vanishes.
    pub oneway_out: bool,
    /// What is sent to the customer vanishes.
    pub oneway_in: bool,
    /// Per ten thousand packets from the customer, how many vanish.
    pub loss_out: u32,
    /// The same towards the customer.
    pub loss_in: u32,
}

/// A provider as it is now.
pub struct IspState {
    /// Names and addresses now in force.
    pub isp: Isp,
    /// Faults now in force.
    pub faults: Faults,
    delay: Option<Delay>,
}

impl IspState {
    /// A healthy provider.
    pub fn new(isp: Isp) -> IspState {
        IspState { isp, faults: Faults::default(), delay: None }
    }
}

/// The provider's firewall: source validation (BCP 38) and the faults, as one transaction. Everything is
/// dropped before routing, so the provider's own gateway falls silent too; neighbour discovery (and ARP,
/// which `inet` never sees) goes on, so the link looks healthy.
fn firewall(state: &IspState) -> String {
    let mut out = String::from("table inet isp\ndelete table inet isp\ntable inet isp {\n");
    let address = |v6: bool| state.isp.wan(v6).map(|w| format!("elements = {{ {} }};", w.address.ip));
    let _ = writeln!(out, "set customer4 {{ type ipv4_addr; {} }}", address(false).unwrap_or_default());
    let _ = writeln!(out, "set customer6 {{ type ipv6_addr; {} }}", address(true).unwrap_or_default());
    let faults = state.faults;
    let _ = writeln!(out, "chain from_customer {{\n{}}}", drops(faults, faults.oneway_out, faults.loss_out));
    let _ = writeln!(out, "chain to_customer {{\n{}}}", drops(faults, faults.oneway_in, faults.loss_in));
    let _ = write!(
        out,
        "chain source_validation {{\n\
         ip saddr != @customer4 counter drop\n\
         ip6 saddr fe80::/10 return\n\
         ip6 saddr :: return\n\
         ip6 saddr != @customer6 counter drop\n}}\n\
         chain prerouting {{\ntype filter hook prerouting priority raw;\n\
         iifname {CUSTOMER_LINK} jump from_customer\n\
         iifname {CUSTOMER_LINK} jump source_validation\n\
         iifname {UPSTREAM_LINK} jump to_customer\n}}\n\
         chain output {{\ntype filter hook output priority raw;\n\
         oifname {CUSTOMER_LINK} jump to_customer\n}}\n}}\n"
    );
    out
}

fn drops(faults: Faults, oneway: bool, loss: u32) -> String {
    let mut out = String::from("icmpv6 type { 133-137 } return\n");
    if faults.blackhole4 {
        out.push_str("meta nfproto ipv4 drop\n");
    }
    if faults.blackhole6 {
        out.push_str("meta nfproto ipv6 drop\n");
    }
    if oneway {
        out.push_str("drop\n");
    }
    if loss > 0 {
        let _ = writeln!(out, "numgen random mod 10000 < {loss} drop");
    }
    out
}

impl Internet {
    /// The provider's present state.
    pub fn state(&self, isp: &str) -> Result<&IspState, NetnsError> {
        self.isps.get(isp).ok_or_else(|| no_isp(isp))
    }

    fn state_mut(&mut self, isp: &str) -> Result<&mut IspState, NetnsError> {
        self.isps.get_mut(isp).ok_or_else(|| no_isp(isp))
    }

    /// Puts the provider's firewall in force.
    pub fn apply_faults(&self, isp: &str) -> Result<(), NetnsError> {
        self.node(isp)?.nft(&firewall(self.state(isp)?))
    }

    /// Changes the faults of a provider; returns the moment just before it can have taken effect.
    pub fn change_faults(
        &mut self,
        isp: &str,
        change: impl FnOnce(&mut Faults),
    ) -> Result<Instant, NetnsError> {
        change(&mut self.state_mut(isp)?.faults);
        let at = Instant::now();
        self.apply_faults(isp)?;
        Ok(at)
    }

    /// Takes the provider's end of the link down or up: the router sees its carrier go or return.
    pub fn carrier(&mut self, isp: &str, up: bool) -> Result<Instant, NetnsError> {
        let ns = self.node(isp)?;
        let batch = isp_customer(&self.state(isp)?.isp);
        let what = || format!("link {CUSTOMER_LINK} {}", if up { "up" } else { "down" });
        let done = ns.run(|| {
            let at = Instant::now();
            sys::set_link(CUSTOMER_LINK, up).map(|()| at)
        })?;
        let at = done.map_err(|source| NetnsError::Io { node: isp.into(), what: what(), source })?;
        if up {
            ns.ip(&batch)?;
        }
        Ok(at)
    }

    /// Delays everything the provider forwards, both directions, by half of `rtt_ms` each; 0 ends it.
    pub fn delay(&mut self, isp: &str, rtt_ms: u64) -> Result<Instant, NetnsError> {
        let ns = self.node(isp)?.clone();
        let state = self.state_mut(isp)?;
        let half = std::time::Duration::from_micros(rtt_ms * 500);
        match &state.delay {
            Some(delay) => delay.set(half),
            None => state.delay = Some(Delay::start(&ns, half)?),
        }
        Ok(Instant::now())
    }

    /// Removes every fault of a provider (carrier excepted).
    pub fn heal(&mut self, isp: &str) -> Result<Instant, NetnsError> {
        if let Some(delay) = &self.state_mut(isp)?.delay {
            delay.set(std::time::Duration::ZERO);
        }
        self.change_faults(isp, |f| *f = Faults::default())
    }

    /// The provider gives the router another address (and gateway): what a DHCP client or pppd would do on
    /// the router, and the provider's and far end's side of it.
    pub fn renumber(&mut self, isp: &str, address: Cidr, gateway: IpAddr) -> Result<Instant, NetnsError> {
        let v6 = address.ip.is_ipv6();
        let state = self.state_mut(isp)?;
        let old = state.isp.clone();
        let wan = Some(Wan { address, gateway });
        if v6 {
            state.isp.v6 = wan
        } else {
            state.isp.v4 = wan
        }
        let new = state.isp.clone();
        let family = if v6 { "-6" } else { "-4" };
        let node = self.node(isp)?;
        node.must(&["ip", family, "addr", "flush", "dev", CUSTOMER_LINK, "scope", "global"], "")?;
        node.ip(&isp_customer(&new))?;
        let index = self.topology.isps.iter().position(|i| i.name == isp).unwrap_or(0);
        self.node("inet")?.ip(&inet_routes(index, &new))?;
        self.apply_faults(isp)?;
        self.publish_customer(isp);
        let only = Isp { v4: new.v4.filter(|_| !v6), v6: new.v6.filter(|_| v6), ..new };
        let mut batch = String::new();
        if let Some(old) = old.wan(v6) {
            let _ = writeln!(batch, "addr del {} dev {}", old.address, only.device);
        }
        // IPv6 keeps the default by a link-local gateway when an address goes; a client replaces it.
        if v6 && only.metric.is_some() {
            let _ = self.node("router")?.ip(&format!("-6 route del default dev {}\n", only.device));
        }
        batch.push_str(&router_wan(&only));
        let at = Instant::now();
        self.node("router")?.ip(&batch)?;
        Ok(at)
    }

    /// The provider's gateway changes its address; the router's address stays.
    pub fn gateway(&mut self, isp: &str, gateway: IpAddr) -> Result<Instant, NetnsError> {
        let v6 = gateway.is_ipv6();
        let state = self.state_mut(isp)?;
        let slot = if v6 { &mut state.isp.v6 } else { &mut state.isp.v4 };
        let Some(wan) = slot else { return Err(no_isp(isp)) };
        let old = wan.gateway;
        wan.gateway = gateway;
        let (wan, new) = (*wan, state.isp.clone());
        let host = Cidr::host_prefix(old);
        let prefix = if wan.address.contains(old) { wan.address.prefix } else { 64 };
        let prefix = if new.p2p && !v6 { host } else { prefix };
        self.node(isp)?
            .ip(&format!("addr del {old}/{prefix} dev {CUSTOMER_LINK}\n{}", isp_customer(&new)))?;
        let at = Instant::now();
        if let Some(metric) = new.metric {
            let family = if v6 { "-6 " } else { "" };
            let gone = format!("{family}route del default dev {} metric {metric}\n", new.device);
            self.node("router")?.ip(&(gone + &default_route(&new, &wan)))?;
        }
        Ok(at)
    }

    /// Renames a WAN device of the router, as udev or an administrator would: down, rename, up, addresses.
    pub fn rename(&mut self, from: &str, to: &str) -> Result<Instant, NetnsError> {
        let found = self.isps.values_mut().find(|s| s.isp.device == from);
        let state = found.ok_or_else(|| NetnsError::Command {
            node: "router".into(),
            command: format!("rename {from} {to}"),
            message: "no WAN device of that name".into(),
        })?;
        state.isp.device = to.to_owned();
        let isp = state.isp.clone();
        let at = Instant::now();
        let router = self.node("router")?;
        router.ip(&format!("link set {from} down\nlink set {from} name {to}\nlink set {to} up\n"))?;
        // What survives a link that goes down differs by family and kernel: start from nothing.
        let _ = router.ip(&format!("addr flush dev {to} scope global\n"));
        router.ip(&router_wan(&isp))?;
        Ok(at)
    }

    /// Tells the captures which source addresses are right on this provider's link.
    pub(crate) fn publish_customer(&self, isp: &str) {
        let Ok(state) = self.state(isp) else { return };
        let addresses = [false, true].iter().filter_map(|v6| state.isp.wan(*v6)).map(|w| w.address.ip);
        if let Ok(mut customers) = self.customers.write() {
            customers.insert(isp.to_owned(), addresses.collect());
        }
    }
}

fn no_isp(isp: &str) -> NetnsError {
    NetnsError::Command { node: isp.into(), command: "fault".into(), message: "no such ISP or family".into() }
}
