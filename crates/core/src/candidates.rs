//! What may be a WAN: for who sets the machine up for the first time.

use mwan_config::sort_short;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mwan_config::Family;

use crate::{NetView, PlatformView};

/// The kernel's main table.
const MAIN: u32 = 254;

/// A device by which a default route leaves.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Candidate {
    /// Its name.
    pub device: String,
    /// Families that have a default route by it.
    pub families: BTreeSet<Family>,
    /// Next hops, the best route's first.
    pub gateways: Vec<IpAddr>,
    /// Its global addresses of these families.
    pub addresses: Vec<IpAddr>,
    /// One of the routes is in the main table. The others may be a tunnel's.
    pub main: bool,
    /// The network manager's interface that is this device.
    pub network: Option<String>,
}

/// Every device by which a default route leaves, the best main one first.
pub(crate) fn candidates(net: &NetView, platform: Option<&PlatformView>) -> Vec<Candidate> {
    let mut found: BTreeMap<&str, Candidate> = BTreeMap::new();
    let mut order: Vec<&str> = Vec::new();
    let mut routes: Vec<_> =
        net.defaults.iter().filter(|route| net.links.contains_key(&route.device)).collect();
    sort_short(&mut routes, |route| (route.table != MAIN, route.metric));
    for route in routes {
        let candidate = found.entry(&route.device).or_insert_with(|| {
            order.push(&route.device);
            Candidate { device: route.device.clone(), ..Candidate::default() }
        });
        candidate.families.insert(route.family);
        candidate.main |= route.table == MAIN;
        candidate.gateways.extend(route.gateway.filter(|gateway| !candidate.gateways.contains(gateway)));
    }
    for candidate in found.values_mut() {
        let addresses = net.links.get(&candidate.device).into_iter().flat_map(|link| &link.addresses);
        let of_family = |ip| candidate.families.contains(&Family::of(ip));
        candidate.addresses = addresses.filter(|a| a.global && of_family(a.ip)).map(|a| a.ip).collect();
        candidate.network = platform.and_then(|view| network(view, &candidate.device));
    }
    order.into_iter().filter_map(|device| found.remove(device)).collect()
}

/// The manager's interface on a device; of a parent and the child that serves a family of it (`wan_6`) the parent.
fn network(view: &PlatformView, device: &str) -> Option<String> {
    let on_it = view.interfaces.iter().filter(|(_, i)| i.up && i.device.as_deref() == Some(device));
    on_it.map(|(name, _)| name).min_by_key(|name| name.len()).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Address, DefaultRoute, Link, LogicalInterface};

    fn route(device: &str, family: Family, metric: u32, table: u32, gateway: &str) -> DefaultRoute {
        DefaultRoute { family, metric, table, device: device.into(), gateway: gateway.parse().ok() }
    }

    fn link(ips: &[&str]) -> Link {
        let address = |ip: &&str| {
            let ip: IpAddr = ip.parse().expect("an address");
            let global = !ip.to_string().starts_with("fe80");
            Address { ip, prefix_len: 24, peer: None, global, preferred: true }
        };
        Link { up: true, carrier: true, addresses: ips.iter().map(address).collect(), ..Link::default() }
    }

    #[test]
    fn every_device_with_a_default_route_is_one_and_the_best_main_one_is_first() {
        let net = NetView {
            links: [
                ("eth1", link(&["203.0.113.2", "fe80::2", "2001:db8::2"])),
                ("eth2", link(&["198.51.100.2", "2001:db8:2::2"])),
                ("lan", link(&["192.168.1.1"])),
                ("wg0", link(&["10.0.0.2"])),
            ]
            .map(|(name, link)| (name.to_owned(), link))
            .into(),
            defaults: vec![
                route("wg0", Family::V4, 0, 51820, ""),
                route("eth2", Family::V4, 20, MAIN, "198.51.100.1"),
                route("eth1", Family::V4, 10, MAIN, "203.0.113.1"),
                route("eth1", Family::V6, 1024, MAIN, "fe80::1"),
                route("gone", Family::V4, 1, MAIN, "192.0.2.1"),
            ],
            ..NetView::default()
        };
        let up =
            |device: &str| LogicalInterface { up: true, device: Some(device.into()), ..Default::default() };
        let interfaces = [("wan_6", up("eth1")), ("wan", up("eth1")), ("lan", up("lan"))];
        let view = PlatformView { interfaces: interfaces.map(|(name, i)| (name.to_owned(), i)).into() };
        let found = candidates(&net, Some(&view));
        let words = |c: &Candidate| {
            let families: Vec<_> = c.families.iter().map(|f| f.name()).collect();
            let addresses: Vec<_> = c.addresses.iter().map(ToString::to_string).collect();
            let gateways: Vec<_> = c.gateways.iter().map(ToString::to_string).collect();
            format!("{} {families:?} {gateways:?} {addresses:?} {} {:?}", c.device, c.main, c.network)
        };
        assert_eq!(
            found.iter().map(words).collect::<Vec<_>>(),
            [
                r#"eth1 ["ipv4", "ipv6"] ["203.0.113.1", "fe80::1"] ["203.0.113.2", "2001:db8::2"] true Some("wan")"#,
                r#"eth2 ["ipv4"] ["198.51.100.1"] ["198.51.100.2"] true None"#,
                r#"wg0 ["ipv4"] [] ["10.0.0.2"] false None"#,
            ]
        );
        assert_eq!(candidates(&NetView::default(), None), []);
    }
}
