//! What a network manager (OpenWrt's netifd) says of its interfaces: names of the configuration become devices.
//!
//! One value, replaced as a whole on every change, like [`crate::NetView`]. The kernel keeps the last word: a path needs the
//! manager's interface *and* the device to be up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mwan_config::Family;

use crate::{Link, NetView};

/// All interfaces of the network manager.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PlatformView {
    /// By name.
    pub interfaces: BTreeMap<String, LogicalInterface>,
}

/// An interface of the network manager.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct LogicalInterface {
    /// It works, as far as the manager is concerned.
    pub up: bool,
    /// The device its packets leave by (`pppoe-wan`), while there is one.
    pub device: Option<String>,
    /// The device it is built on (`eth1`), if it is built on one.
    pub lower_device: Option<String>,
    /// How it gets its addresses: `static`, `dhcp`, `pppoe`…
    pub proto: String,
    /// Metric of its routes.
    pub metric: u32,
    /// Next hops of its default routes, best first.
    pub gateways: Vec<IpAddr>,
    /// Its addresses.
    pub addresses: Vec<IpAddr>,
    /// Prefixes delegated to us by it.
    pub prefixes: Vec<IpNet>,
    /// It is only being tried: probed like every other, but it must not carry.
    pub on_trial: bool,
    /// Name servers that belong to it.
    pub dns: Vec<IpAddr>,
}

impl PlatformView {
    /// The interface that serves a family of the one the configuration calls `name`. PPP and modems get their addresses
    /// of one family by a child of their own, `NAME_4` or `NAME_6`, which comes and goes; while it is up it is meant.
    pub fn serving(&self, name: &str, family: Family) -> Option<(&str, &LogicalInterface)> {
        let child = match family {
            Family::V4 => format!("{name}_4"),
            Family::V6 => format!("{name}_6"),
        };
        let find = |name: &str| self.interfaces.get_key_value(name).map(|(name, i)| (name.as_str(), i));
        let child = find(&child);
        child.filter(|(_, i)| i.up).or_else(|| find(name)).or(child)
    }
}

impl LogicalInterface {
    /// Next hop of `family`, if the manager knows one.
    pub(crate) fn gateway(&self, family: Family) -> Option<IpAddr> {
        self.gateways.iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// The address that probes of this interface should come from, among those the kernel has: its own on the device, else
    /// one of a prefix that was delegated by it, wherever that is in use (RFC 8415: a WAN may have nothing but the prefix).
    pub(crate) fn source(&self, net: &NetView, link: &Link, family: Family) -> Option<IpAddr> {
        let of = |link: &Link, wanted: &dyn Fn(IpAddr) -> bool| {
            let all = link.addresses.iter().filter(|a| Family::of(a.ip) == family && a.global);
            all.filter(|a| wanted(a.ip)).min_by_key(|a| !a.preferred).map(|a| a.ip)
        };
        let own = of(link, &|ip| self.addresses.contains(&ip)).or_else(|| link.source(family));
        let delegated = |ip| self.prefixes.iter().any(|prefix| prefix.contains(&ip));
        own.or_else(|| net.links.values().find_map(|link| of(link, &delegated)))
    }
}
