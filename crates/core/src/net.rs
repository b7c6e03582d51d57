//! What the kernel's network looks like: one value, replaced as a whole on every change.
//!
//! It is built by the `linux` crate from netlink and, on platforms with a network manager, completed by
//! the platform. Our own routes and rules never appear in it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::Family;

/// Links, addresses and routes as far as decisions depend on them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct NetView {
    /// Links by kernel name.
    pub links: BTreeMap<String, Link>,
    /// Every default route of every table that is not ours, best metric first.
    pub defaults: Vec<DefaultRoute>,
    /// Destinations of the main and local tables, other than default.
    pub connected: Arc<BTreeSet<IpNet>>,
    /// The same of the tables named by `rt_table_lookup`.
    pub custom: Arc<BTreeSet<IpNet>>,
    /// The kernel was started or built without IPv6.
    pub ipv6_absent: bool,
}

/// A network device.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Link {
    /// Kernel index.
    pub index: u32,
    /// Administratively up (`IFF_UP`).
    pub up: bool,
    /// Has carrier (`IFF_LOWER_UP` and operational state not down).
    pub carrier: bool,
    /// `IFF_POINTOPOINT`, or a device without link-layer addresses (tun, PPP): needs no gateway.
    pub point_to_point: bool,
    /// Its addresses, in the kernel's order.
    pub addresses: Vec<Address>,
}

/// An address of a link.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Address {
    /// The address.
    pub ip: IpAddr,
    /// Length of its on-link prefix.
    pub prefix_len: u8,
    /// The other end of a point-to-point link.
    pub peer: Option<IpAddr>,
    /// Scope is global (not link or host).
    pub global: bool,
    /// Usable as a source for new connections: neither tentative, duplicated nor deprecated.
    pub preferred: bool,
}

/// A default route that somebody else (DHCP client, RA, administrator) installed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct DefaultRoute {
    /// Its family.
    pub family: Family,
    /// The kernel's preference; lower is better.
    pub metric: u32,
    /// Routing table.
    pub table: u32,
    /// Device it leaves by.
    pub device: String,
    /// Next hop; `None` on point-to-point links.
    pub gateway: Option<IpAddr>,
}

impl NetView {
    /// The best default route of `family` that leaves by `device`: the main table's if it has one.
    pub fn default_route(&self, family: Family, device: &str) -> Option<&DefaultRoute> {
        /// The kernel's main table.
        const MAIN: u32 = 254;
        self.defaults
            .iter()
            .filter(|d| d.family == family && d.device == device)
            .min_by_key(|d| (d.table != MAIN, d.metric, d.gateway))
    }
}

impl Link {
    /// The address probes and connections of `family` should use as source: global and preferred if possible.
    pub fn source(&self, family: Family) -> Option<IpAddr> {
        let candidates = || self.addresses.iter().filter(|a| Family::of(a.ip) == family && a.global);
        candidates().find(|a| a.preferred).or_else(|| candidates().next()).map(|a| a.ip)
    }
}
