//! Links, addresses and routes folded into a [`NetView`].
//!
//! Pure: netlink messages in, a view out. Each message costs O(log n); a view shares its big sets with the one
//! before unless they changed.
//!
//! IPv4 routes vanish **silently** when their device goes down or loses its last address (fib_sync_down_dev,
//! fib_disable_ip and fib_sync_down_addr in net/ipv4/fib_semantics.c and fib_frontend.c flush without
//! RTM_DELROUTE). Dumping again would race with the flush, which follows the notification: so the same rules are
//! applied here.

use mwan_config::{Gather, sort_short};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_compile::routing::PROTOCOL;
use mwan_config::Family;
use mwan_core::{Address, DefaultRoute, Link, NetView};

use crate::netlink::Message;
use crate::rt::{self, AddressMessage, Hop, LinkMessage, RouteMessage};

/// `rtm_protocol` of `struct rtmsg`.
const ROUTE_PROTOCOL: usize = 5;
const TABLE_DEFAULT: u32 = 253;
const TABLE_MAIN: u32 = 254;
const TABLE_LOCAL: u32 = 255;

/// What a message changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Links, addresses or default routes may have changed. The sets of connected networks tell by themselves.
    pub network: bool,
    /// Routes with our protocol number were touched, or may have vanished without a message, or an ip rule was
    /// deleted or changed.
    pub ours: bool,
}

impl Folded {
    const NOTHING: Folded = Folded { network: false, ours: false };
    const NETWORK: Folded = Folded { network: true, ours: false };
    fn of_route(key: &RouteKey) -> Folded {
        if key.destination.prefix_len() == 0 { Folded::NETWORK } else { Folded::NOTHING }
    }

    fn and_ours(self, ours: bool) -> Folded {
        Folded { ours: self.ours || ours, ..self }
    }

    const OURS: Folded = Folded { network: false, ours: true };
    const BOTH: Folded = Folded { network: true, ours: true };
}

#[derive(Clone, Debug)]
struct LinkState {
    name: String,
    up: bool,
    carrier: bool,
    point_to_point: bool,
}

/// Routes with one of these belong together: the order makes all tables of a destination neighbours.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct RouteKey {
    destination: IpNet,
    table: u32,
    metric: u32,
    tos: u8,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct RouteState {
    kind: u8,
    source: Option<IpAddr>,
    nexthop: Option<u32>,
    hops: Box<[Hop]>,
}

#[derive(Clone, Debug, Default)]
struct Nexthop {
    hop: Option<Hop>,
    group: Vec<u32>,
}

/// The kernel's network as far as messages told.
#[derive(Clone, Debug, Default)]
pub struct NetState {
    custom_tables: Vec<u32>,
    pub(crate) ipv6_absent: bool,
    links: BTreeMap<u32, LinkState>,
    addresses: BTreeMap<u32, Vec<AddressMessage>>,
    routes: BTreeMap<RouteKey, Vec<RouteState>>,
    nexthops: BTreeMap<u32, Nexthop>,
    connected: Published,
    custom: Published,
}

/// A set that is handed out now and then.
#[derive(Clone, Debug, Default)]
struct Published {
    working: BTreeSet<IpNet>,
    shared: Arc<BTreeSet<IpNet>>,
    dirty: bool,
}

impl Published {
    fn put(&mut self, net: IpNet, present: bool) -> bool {
        let changed = if present { self.working.insert(net) } else { self.working.remove(&net) };
        self.dirty |= changed;
        changed
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.dirty) {
            self.shared = Arc::new(self.working.clone());
        }
    }
}

impl NetState {
    /// Nothing known yet. `custom_tables` are those whose destinations are the view's `custom`.
    pub fn new(custom_tables: Vec<u32>) -> Self {
        let mut state = NetState { custom_tables, ..NetState::default() };
        // mwan3 counts multicast as connected; no routing table says so for IPv4.
        if let Ok(multicast) = "224.0.0.0/3".parse() {
            state.connected.put(multicast, true);
        }
        state
    }

    /// Takes in a message of a dump or a notification.
    pub(crate) fn fold(&mut self, m: &Message<'_>) -> Folded {
        match m.kind {
            rt::NEW_LINK => rt::parse_link(m).map_or(Folded::NOTHING, |link| self.new_link(link)),
            rt::DELETE_LINK => rt::parse_link(m).map_or(Folded::NOTHING, |link| self.delete_link(link.index)),
            rt::NEW_ADDRESS => rt::parse_address(m).map_or(Folded::NOTHING, |a| self.new_address(a)),
            rt::DELETE_ADDRESS => rt::parse_address(m).map_or(Folded::NOTHING, |a| self.delete_address(&a)),
            // Not even parsed: it may be of a kind that we never make.
            rt::NEW_ROUTE | rt::DELETE_ROUTE if m.byte(ROUTE_PROTOCOL) == PROTOCOL => Folded::OURS,
            rt::NEW_ROUTE => rt::parse_route(m).map_or(Folded::NOTHING, |r| {
                let ours = may_touch_ours(&r);
                self.new_route(r, m.flags).and_ours(ours)
            }),
            rt::DELETE_ROUTE => rt::parse_route(m)
                .map_or(Folded::NOTHING, |r| self.delete_route(&r).and_ours(may_touch_ours(&r))),
            rt::NEW_NEXTHOP => self.new_nexthop(m),
            rt::DELETE_NEXTHOP => self.delete_nexthop(m),
            rt::DELETE_RULE => Folded::OURS,
            rt::NEW_RULE => Folded { network: false, ours: is_our_rule(m) },
            _ => Folded::NOTHING,
        }
    }

    fn new_link(&mut self, link: LinkMessage) -> Folded {
        let LinkMessage { index, name, up, carrier, point_to_point } = link;
        let state = LinkState { name, up, carrier, point_to_point };
        let before = self.links.insert(index, state.clone());
        match before {
            Some(old) if old.up && !up => {
                self.forget_routes_by(index, false);
                Folded::BOTH
            }
            Some(old) => {
                let same = (old.name, old.up, old.carrier, old.point_to_point)
                    == (state.name, up, carrier, point_to_point);
                Folded { network: !same, ours: old.up != up }
            }
            None => Folded::NETWORK,
        }
    }

    fn delete_link(&mut self, index: u32) -> Folded {
        self.links.remove(&index);
        self.addresses.remove(&index);
        self.forget_routes_by(index, true);
        Folded::BOTH
    }

    fn new_address(&mut self, new: AddressMessage) -> Folded {
        if new.tentative {
            return self.delete_address(&new);
        }
        let all = self.addresses.entry(new.index).or_default();
        let same = |a: &AddressMessage| {
            a.address.ip == new.address.ip && a.address.prefix_len == new.address.prefix_len
        };
        match all.iter_mut().find(|a| same(a)) {
            Some(old) if *old == new => return Folded::NOTHING,
            Some(old) => *old = new,
            None => all.push(new),
        }
        sort_addresses(all);
        Folded::NETWORK
    }

    fn delete_address(&mut self, gone: &AddressMessage) -> Folded {
        let index = gone.index;
        let Some(all) = self.addresses.get_mut(&index) else { return Folded::NOTHING };
        let before = all.len();
        all.retain(|a| (a.address.ip, a.address.prefix_len) != (gone.address.ip, gone.address.prefix_len));
        if all.len() == before {
            return Folded::NOTHING;
        }
        if gone.address.ip.is_ipv6() {
            return Folded::NETWORK;
        }
        let ip = gone.address.ip;
        if !all.iter().any(|a| a.address.ip.is_ipv4()) {
            // fib_disable_ip: the device's last IPv4 address is gone, and with it its routes.
            self.forget_v4_routes(|hops, _| hops.iter().any(|h| h.device == index));
        }
        if !self.addresses.values().flatten().any(|a| a.address.ip == ip) {
            // fib_sync_down_addr
            self.forget_v4_routes(|_, source| source == Some(ip));
        }
        Folded::BOTH
    }

    fn forget_v4_routes(&mut self, which: impl Fn(&[Hop], Option<IpAddr>) -> bool) {
        self.forget_where(|key, route| key.destination.addr().is_ipv4() && which(&route.hops, route.source));
    }

    /// Routes by a device that went down: gone if no other hop is alive, else kept (the dead hop comes back with its
    /// device, silently). IPv4 keeps the device's own addresses (fib_sync_down_dev: RT_SCOPE_NOWHERE) unless the
    /// device is no more.
    fn forget_routes_by(&mut self, device: u32, deleted: bool) {
        let up: BTreeSet<u32> = self.links.iter().filter(|(_, l)| l.up).map(|(index, _)| *index).gather();
        self.forget_where(|key, route| {
            let kept = !deleted && route.kind == rt::TYPE_LOCAL && key.destination.addr().is_ipv4();
            let concerned = route.hops.iter().any(|h| h.device == device);
            concerned && !kept && !route.hops.iter().any(|h| up.contains(&h.device))
        });
    }

    fn forget_where(&mut self, gone: impl Fn(&RouteKey, &RouteState) -> bool) {
        let mut touched = Vec::new();
        self.routes.retain(|key, routes| {
            let before = routes.len();
            routes.retain(|route| !gone(key, route));
            if routes.len() != before {
                touched.push(*key);
            }
            !routes.is_empty()
        });
        for key in touched {
            self.update_sets(&key);
        }
    }

    /// Whether we keep routes of this kind at all.
    fn wanted(&self, route: &RouteMessage) -> bool {
        let default = route.destination.prefix_len() == 0;
        let listed =
            [TABLE_MAIN, TABLE_LOCAL].contains(&route.table) || self.custom_tables.contains(&route.table);
        // Unreachable, blackhole, throw… lead nowhere; IPv6 lists multicast in the local table.
        let leads = (rt::TYPE_UNICAST..=rt::TYPE_ANYCAST).contains(&route.kind);
        leads && if default { route.kind == rt::TYPE_UNICAST } else { listed }
    }

    fn new_route(&mut self, route: RouteMessage, flags: u16) -> Folded {
        let key = key_of(&route);
        let replace = flags & libc::NLM_F_REPLACE as u16 != 0;
        if !self.wanted(&route) {
            // An unreachable route may have replaced one that we have.
            return if replace { self.drop_replaced(key) } else { Folded::NOTHING };
        }
        let state = RouteState {
            kind: route.kind,
            source: route.source,
            nexthop: route.nexthop,
            hops: route.hops.into_boxed_slice(),
        };
        let all = self.routes.entry(key).or_default();
        if all.contains(&state) && (!replace || all.len() == 1) {
            return Folded::NOTHING;
        }
        match route.family {
            Family::V4 => insert_v4(all, state, flags),
            Family::V6 => insert_v6(all, state, replace),
        }
        self.update_sets(&key);
        Folded::of_route(&key)
    }

    fn drop_replaced(&mut self, key: RouteKey) -> Folded {
        let Some(all) = self.routes.get_mut(&key) else { return Folded::NOTHING };
        if !all.is_empty() {
            all.remove(0);
        }
        if all.is_empty() {
            self.routes.remove(&key);
        }
        self.update_sets(&key);
        Folded::of_route(&key)
    }

    fn delete_route(&mut self, route: &RouteMessage) -> Folded {
        let key = key_of(route);
        let Some(all) = self.routes.get_mut(&key) else { return Folded::NOTHING };
        match route.family {
            Family::V4 => {
                let same = |r: &RouteState| {
                    r.kind == route.kind && r.nexthop == route.nexthop && *r.hops == *route.hops
                };
                if let Some(place) = all.iter().position(same) {
                    all.remove(place);
                }
            }
            // A hop at a time, or all of them.
            Family::V6 => {
                for state in all.iter_mut().filter(|r| r.kind == route.kind) {
                    state.hops = state.hops.iter().filter(|h| !route.hops.contains(h)).copied().collect();
                }
                all.retain(|r| !r.hops.is_empty());
            }
        }
        if all.is_empty() {
            self.routes.remove(&key);
        }
        self.update_sets(&key);
        Folded::of_route(&key)
    }

    /// Brings the two sets up to date for one destination.
    fn update_sets(&mut self, key: &RouteKey) {
        let net = key.destination;
        if net.prefix_len() == 0 {
            return;
        }
        let exists = |table: u32| {
            let bound = |metric, tos| RouteKey { destination: net, table, metric, tos };
            self.routes.range(bound(0, 0)..=bound(u32::MAX, u8::MAX)).next().is_some()
        };
        let connected = exists(TABLE_MAIN) || exists(TABLE_LOCAL);
        let custom = self.custom_tables.iter().any(|table| exists(*table));
        self.connected.put(net.trunc(), connected);
        self.custom.put(net.trunc(), custom);
    }

    fn new_nexthop(&mut self, m: &Message<'_>) -> Folded {
        let Some(new) = rt::parse_nexthop(m) else { return Folded::NOTHING };
        self.nexthops.insert(new.id, Nexthop { hop: new.hop, group: new.group });
        Folded::NETWORK
    }

    fn delete_nexthop(&mut self, m: &Message<'_>) -> Folded {
        let Some(gone) = rt::parse_nexthop(m) else { return Folded::NOTHING };
        self.nexthops.remove(&gone.id);
        // Its IPv4 routes go without a message (remove_nexthop, fib_flush).
        self.forget_v4_with_nexthop(gone.id);
        Folded::BOTH
    }

    fn forget_v4_with_nexthop(&mut self, id: u32) {
        self.forget_where(|key, route| key.destination.addr().is_ipv4() && route.nexthop == Some(id));
    }

    /// Where a route leads: its own hops, or those of its next-hop object when the kernel does not spell them out
    /// (sysctl nexthop_compat_mode=0).
    fn hops_of(&self, route: &RouteState) -> Vec<Hop> {
        if let (true, Some(id)) = (route.hops.is_empty(), route.nexthop) {
            let Some(nexthop) = self.nexthops.get(&id) else { return Vec::new() };
            let members = nexthop.group.iter().filter_map(|id| self.nexthops.get(id));
            return members.chain([nexthop]).filter_map(|n| n.hop).collect();
        }
        route.hops.to_vec()
    }

    /// Whether the big sets differ from those handed out last.
    pub(crate) fn sets_pending(&self) -> bool {
        self.connected.dirty || self.custom.dirty
    }

    /// Hands the big sets out with the next view.
    pub(crate) fn publish_sets(&mut self) {
        self.connected.publish();
        self.custom.publish();
    }

    /// The view, with all that is known.
    pub fn view(&mut self) -> NetView {
        self.publish_sets();
        self.view_with_published_sets()
    }

    /// The view with the sets as they were handed out last.
    pub(crate) fn view_with_published_sets(&self) -> NetView {
        let mut links = BTreeMap::new();
        for (index, state) in &self.links {
            let addresses: Vec<Address> =
                self.addresses.get(index).into_iter().flatten().map(|a| a.address).collect();
            let LinkState { name, up, carrier, point_to_point } = state.clone();
            links.insert(name, Link { index: *index, up, carrier, point_to_point, addresses });
        }
        NetView {
            links,
            defaults: self.defaults(),
            connected: Arc::clone(&self.connected.shared),
            custom: Arc::clone(&self.custom.shared),
            ipv6_absent: self.ipv6_absent,
        }
    }

    fn defaults(&self) -> Vec<DefaultRoute> {
        let mut defaults = Vec::new();
        for family in Family::ALL {
            let bound =
                |table, metric, tos| RouteKey { destination: rt::default_net(family), table, metric, tos };
            for (key, routes) in self.routes.range(bound(0, 0, 0)..=bound(u32::MAX, u32::MAX, u8::MAX)) {
                for hop in routes.iter().flat_map(|route| self.hops_of(route)) {
                    // A hop by a device that is down is dead until the device comes back.
                    let Some(link) = self.links.get(&hop.device).filter(|link| link.up) else { continue };
                    let (metric, table) = (key.metric, key.table);
                    defaults.push(DefaultRoute {
                        family,
                        metric,
                        table,
                        device: link.name.clone(),
                        gateway: hop.gateway,
                    });
                }
            }
        }
        defaults.sort();
        defaults.dedup();
        defaults
    }
}

fn key_of(route: &RouteMessage) -> RouteKey {
    RouteKey { destination: route.destination, table: route.table, metric: route.metric, tos: route.tos }
}

/// IPv4: primaries before secondaries, else in the order the kernel told. IPv6: stable addresses before temporary
/// ones and by value, because the kernel's order depends on when each was last refreshed and a probe's source
/// should not.
fn sort_addresses(all: &mut [AddressMessage]) {
    sort_short(all, |a| {
        let ip = a.address.ip;
        (ip.is_ipv6(), a.secondary, Some(ip).filter(IpAddr::is_ipv6))
    });
}

/// fib_table_insert: a replacement takes the first one's place, an appended one is the last, any other the first.
fn insert_v4(all: &mut Vec<RouteState>, state: RouteState, flags: u16) {
    if flags & libc::NLM_F_REPLACE as u16 != 0 {
        all.retain(|r| *r != state);
        if all.is_empty() {
            all.push(state);
        } else {
            all[0] = state;
        }
    } else if flags & libc::NLM_F_APPEND as u16 != 0 {
        all.push(state);
    } else {
        all.insert(0, state);
    }
}

/// fib6_add_rt2node: routes of one metric are siblings, told one at a time or all together; a replacement replaces
/// them all.
fn insert_v6(all: &mut Vec<RouteState>, state: RouteState, replace: bool) {
    if replace {
        all.clear();
    }
    for other in all.iter_mut().filter(|r| r.kind == state.kind) {
        other.hops = other.hops.iter().filter(|h| !state.hops.contains(h)).copied().collect();
    }
    all.retain(|r| !r.hops.is_empty() || r.nexthop != state.nexthop);
    all.push(state);
}

/// A default route in a table that may be one of ours: it may have replaced our route, whatever its protocol.
fn may_touch_ours(route: &RouteMessage) -> bool {
    let system = [TABLE_DEFAULT, TABLE_MAIN, TABLE_LOCAL].contains(&route.table);
    route.destination.prefix_len() == 0 && !system
}

/// A rule that carries our protocol number: somebody added or changed one that passes for ours.
fn is_our_rule(m: &Message<'_>) -> bool {
    const FRA_PROTOCOL: u16 = 21;
    m.attributes(rt::ROUTE_HEADER).find(FRA_PROTOCOL) == Some(&[PROTOCOL])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Messages, Writer};
    use proptest::prelude::*;

    fn link(index: u32, name: &str, up: bool) -> LinkMessage {
        LinkMessage { index, name: name.into(), up, carrier: up, point_to_point: false }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("address")
    }

    fn net(text: &str) -> IpNet {
        text.parse().expect("network")
    }

    fn route(destination: &str, table: u32, hops: &[(u32, Option<&str>)]) -> RouteMessage {
        let destination = net(destination);
        RouteMessage {
            family: Family::of(destination.addr()),
            table,
            kind: 1,
            tos: 0,
            destination,
            metric: 0,
            source: None,
            nexthop: None,
            hops: hops.iter().map(|(device, g)| Hop { device: *device, gateway: g.map(ip) }).collect(),
        }
    }

    fn address(index: u32, text: &str, prefix_len: u8) -> AddressMessage {
        let address = Address { ip: ip(text), prefix_len, peer: None, global: true, preferred: true };
        AddressMessage { index, address, tentative: false, secondary: false }
    }

    fn state() -> NetState {
        let mut state = NetState::new(vec![7]);
        state.new_link(link(2, "wan", true));
        state.new_link(link(3, "wanb", true));
        state
    }

    fn devices(state: &mut NetState) -> Vec<String> {
        state.view().defaults.into_iter().map(|d| d.device).collect()
    }

    #[test]
    fn a_device_going_down_takes_its_routes_along() {
        let mut state = state();
        state.new_route(route("0.0.0.0/0", 254, &[(2, Some("10.0.0.1"))]), 0);
        state.new_route(route("0.0.0.0/0", 99, &[(2, Some("10.0.0.1")), (3, Some("10.0.1.1"))]), 0);
        state.new_route(route("10.0.0.0/24", 254, &[(2, None)]), 0);
        assert_eq!(devices(&mut state), ["wan", "wanb", "wan"]);
        assert_eq!(state.new_link(link(2, "wan", false)), Folded::BOTH);
        assert_eq!(devices(&mut state), ["wanb"]);
        assert!(!state.view().connected.contains(&net("10.0.0.0/24")));
        // The multipath route's dead hop comes back without a message.
        state.new_link(link(2, "wan", true));
        assert_eq!(devices(&mut state), ["wan", "wanb"]);
        state.delete_link(3);
        assert_eq!(devices(&mut state), ["wan"]);
    }

    #[test]
    fn the_last_address_takes_the_routes_along() {
        let mut state = state();
        for a in [address(2, "10.0.0.2", 24), address(2, "10.0.0.3", 24)] {
            state.new_address(a);
        }
        state.new_route(route("0.0.0.0/0", 254, &[(2, Some("10.0.0.1"))]), 0);
        let mut bound = route("0.0.0.0/0", 99, &[(3, Some("10.0.1.1"))]);
        bound.source = Some(ip("10.0.0.2"));
        state.new_route(bound, 0);
        assert_eq!(state.delete_address(&address(2, "10.0.0.2", 24)), Folded::BOTH);
        assert_eq!(devices(&mut state), ["wan"]);
        state.delete_address(&address(2, "10.0.0.3", 24));
        assert_eq!(devices(&mut state), [""; 0]);
    }

    #[test]
    fn ours_are_never_seen_and_custom_tables_are() {
        let mut state = state();
        for kind in [rt::NEW_ROUTE, rt::DELETE_ROUTE] {
            // Even from a source prefix, which no route of ours has.
            let header = [libc::AF_INET6 as u8, 0, 64, 0, 1, PROTOCOL, 0, rt::TYPE_UNICAST, 0, 0, 0, 0];
            let bytes = Writer::message(kind, 0, &header).finish().expect("small");
            let message = Messages(&bytes).next().expect("one");
            assert_eq!(state.fold(&message), Folded::OURS);
        }
        state.new_route(route("10.7.0.0/16", 7, &[(2, None)]), 0);
        state.new_route(route("10.8.0.0/16", 8, &[(2, None)]), 0);
        let view = state.view();
        assert_eq!(view.defaults, []);
        assert_eq!(view.custom.iter().copied().collect::<Vec<_>>(), [net("10.7.0.0/16")]);
        assert_eq!(view.connected.iter().copied().collect::<Vec<_>>(), [net("224.0.0.0/3")]);
    }

    #[test]
    fn replace_append_and_delete() {
        let mut state = state();
        let one = || route("0.0.0.0/0", 254, &[(2, Some("10.0.0.1"))]);
        let two = || route("0.0.0.0/0", 254, &[(3, Some("10.0.1.1"))]);
        assert_eq!(state.new_route(one(), 0), Folded::NETWORK);
        assert_eq!(state.new_route(one(), 0), Folded::NOTHING);
        state.new_route(two(), libc::NLM_F_REPLACE as u16);
        assert_eq!(devices(&mut state), ["wanb"]);
        state.new_route(one(), libc::NLM_F_APPEND as u16);
        assert_eq!(devices(&mut state).len(), 2);
        state.delete_route(&two());
        assert_eq!(devices(&mut state), ["wan"]);
        let mut unreachable = one();
        (unreachable.kind, unreachable.hops) = (7, Vec::new());
        state.new_route(unreachable, libc::NLM_F_REPLACE as u16);
        assert_eq!(devices(&mut state), [""; 0]);
        // IPv6 siblings: told together, removed one by one.
        let six = |hops: &[(u32, Option<&str>)]| route("::/0", 254, hops);
        state.new_route(six(&[(2, Some("fe80::1"))]), 0);
        state.new_route(six(&[(2, Some("fe80::1")), (3, Some("fe80::2"))]), 0);
        assert_eq!(devices(&mut state), ["wan", "wanb"]);
        state.delete_route(&six(&[(2, Some("fe80::1"))]));
        assert_eq!(devices(&mut state), ["wanb"]);
        state.new_route(six(&[(2, None)]), libc::NLM_F_REPLACE as u16);
        assert_eq!(devices(&mut state), ["wan"]);
    }

    #[test]
    fn unchanged_sets_are_shared_between_views() {
        let mut state = state();
        state.new_route(route("10.0.0.0/24", 254, &[(2, None)]), 0);
        let before = state.view();
        state.new_route(route("0.0.0.0/0", 254, &[(2, Some("10.0.0.1"))]), 0);
        let after = state.view();
        assert!(Arc::ptr_eq(&before.connected, &after.connected));
        // The same destination in two tables: gone only when both are.
        state.new_route(route("10.0.0.0/24", 255, &[(2, None)]), 0);
        state.delete_route(&route("10.0.0.0/24", 254, &[(2, None)]));
        assert!(state.view().connected.contains(&net("10.0.0.0/24")));
        state.delete_route(&route("10.0.0.0/24", 255, &[(2, None)]));
        assert!(!state.view().connected.contains(&net("10.0.0.0/24")));
        assert_eq!(before.connected.len(), 2);
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(messages in proptest::collection::vec((16u16..40, proptest::collection::vec(any::<u8>(), 0..80)), 0..20)) {
            let mut state = NetState::new(vec![1]);
            for (kind, body) in messages {
                let mut bytes = Writer::message(kind, 0, &[]).finish().expect("small");
                bytes.extend_from_slice(&body);
                let length = bytes.len() as u32;
                bytes[..4].copy_from_slice(&length.to_ne_bytes());
                for m in Messages(&bytes) {
                    state.fold(&m);
                }
            }
            let _ = state.view();
        }
    }
}
