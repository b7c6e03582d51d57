//! Interfaces by the names of a network manager.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod common;

use std::net::IpAddr;
use std::sync::Arc;

use common::network;
use mwan_config::{Config, Family};
use mwan_core::*;

fn config(text: &str) -> Arc<Config> {
    let loaded = mwan_config::parse("test", text.as_bytes());
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    Arc::new(loaded.config)
}

const DUAL: &str = "
config interface 'wan'
 option enabled 1
 list family ipv4
 list family ipv6
config rule 'guests'
 option src_iface 'guest'
 option use_policy 'default'
";

fn up(device: &str, gateways: &[&str]) -> LogicalInterface {
    LogicalInterface {
        up: true,
        device: Some(device.to_owned()),
        gateways: gateways.iter().map(|g| g.parse().unwrap()).collect(),
        ..LogicalInterface::default()
    }
}

fn view(interfaces: &[(&str, LogicalInterface)]) -> Event {
    let interfaces = interfaces.iter().map(|(name, i)| ((*name).to_owned(), i.clone())).collect();
    Event::Platform(Arc::new(PlatformView { interfaces }))
}

struct World {
    core: Core,
    now: Time,
}

impl World {
    fn new(text: &str, net: NetView) -> Self {
        let core = Core::new(Platform { translate: false }, config(text), Memory::default());
        let mut world = World { core, now: Time(1) };
        world.feed(view(&[]));
        world.feed(Event::Network(Arc::new(net)));
        world
    }

    fn feed(&mut self, event: Event) -> Output {
        self.now = Time(self.now.0 + 1000);
        self.core.handle(self.now, event)
    }

    fn reason(&self, family: Family) -> &'static str {
        let (id, _) = self.core.wan("wan").unwrap();
        self.core.path(PathKey { id, family }).unwrap().reason.code()
    }

    fn gateway(&self, family: Family) -> Option<IpAddr> {
        let (id, _) = self.core.wan("wan").unwrap();
        self.core.path(PathKey { id, family }).unwrap().next_hop.unwrap().gateway
    }
}

fn with_v6(mut net: NetView) -> NetView {
    let link = net.links.get_mut("eth1").unwrap();
    let ip = "2001:db8::2".parse().unwrap();
    link.addresses.push(Address { ip, prefix_len: 64, peer: None, global: true, preferred: true });
    net
}

#[test]
fn a_name_becomes_a_device_with_what_belongs_to_it() {
    let mut world = World::new(DUAL, with_v6(network()));
    assert_eq!(world.reason(Family::V4), "no_interface");
    assert_eq!(world.core.wan("wan").unwrap().1, "wan");

    world.feed(view(&[("wan", up("eth1", &[]))]));
    assert_eq!(world.core.wan("wan").unwrap().1, "eth1");
    assert_eq!(world.reason(Family::V4), "not_tracked");
    assert_eq!(world.gateway(Family::V4), Some("100.64.1.1".parse().unwrap()), "the kernel's");
    assert_eq!(world.reason(Family::V6), "no_gateway", "nobody knows one");

    // The child that DHCPv6 made.
    world.feed(view(&[("wan", up("eth1", &["100.64.1.9"])), ("wan_6", up("eth1", &["fe80::1"]))]));
    assert_eq!(world.gateway(Family::V4), Some("100.64.1.9".parse().unwrap()), "the manager's");
    assert_eq!(world.gateway(Family::V6), Some("fe80::1".parse().unwrap()));
}

/// PPP: the device comes with the dialling, and needs no next hop.
#[test]
fn a_point_to_point_device_carries_without_a_next_hop() {
    let mut net = network();
    net.defaults.retain(|d| d.device != "eth1");
    let link = net.links.remove("eth1").unwrap();
    let mut world = World::new(DUAL, net.clone());
    let dialling = LogicalInterface { lower_device: Some("eth1".into()), ..LogicalInterface::default() };
    world.feed(view(&[("wan", dialling)]));
    assert_eq!(world.reason(Family::V4), "interface_down");
    // netifd may be faster than the kernel's word of the device, or slower.
    world.feed(view(&[("wan", up("pppoe-wan", &[]))]));
    assert_eq!(world.reason(Family::V4), "no_device");
    net.links.insert("pppoe-wan".into(), Link { point_to_point: true, ..link });
    world.feed(Event::Network(Arc::new(net)));
    assert_eq!(world.reason(Family::V4), "not_tracked");
    assert_eq!(world.gateway(Family::V4), None);
    assert_eq!(world.core.wan("wan").unwrap().1, "pppoe-wan");
}

/// Two interfaces of netifd on one device: each has the routes of its metric.
#[test]
fn the_metric_tells_routes_of_one_device_apart() {
    let mut net = network();
    let other = "100.64.1.77".parse().unwrap();
    let route = net.defaults.iter().find(|d| d.device == "eth1").unwrap().clone();
    net.defaults.push(DefaultRoute { metric: 20, gateway: Some(other), ..route });
    let mut world = World::new(DUAL, net);
    world.feed(view(&[("wan", LogicalInterface { metric: 20, ..up("eth1", &[]) })]));
    assert_eq!(world.gateway(Family::V4), Some(other));
    world.feed(view(&[("wan", LogicalInterface { metric: 99, ..up("eth1", &[]) })]));
    assert_eq!(world.gateway(Family::V4), Some("100.64.1.1".parse().unwrap()), "the best of the device");
}

#[test]
fn an_interface_that_goes_down_takes_its_paths_with_it_and_keeps_its_device() {
    let mut world = World::new(DUAL, network());
    world.feed(view(&[("wan", up("eth1", &[]))]));
    assert_eq!(world.reason(Family::V4), "not_tracked");
    let down = LogicalInterface { lower_device: Some("eth2".into()), ..LogicalInterface::default() };
    world.feed(view(&[("wan", down.clone())]));
    assert_eq!(world.reason(Family::V4), "interface_down");
    assert_eq!(world.core.wan("wan").unwrap().1, "eth1", "its chains stay where they are");
    world.feed(Event::Configure(config(DUAL)));
    assert_eq!(world.core.wan("wan").unwrap().1, "eth1", "by a reload too");
    world.feed(view(&[("wan", up("eth1", &[]))]));
    assert_eq!(world.reason(Family::V4), "not_tracked");

    let mut fresh = World::new(DUAL, network());
    fresh.feed(view(&[("wan", down)]));
    assert_eq!(fresh.core.wan("wan").unwrap().1, "eth2", "never seen up: what it will be built on");
}

#[test]
fn the_same_view_twice_changes_nothing() {
    let mut world = World::new(DUAL, network());
    let event = view(&[("wan", up("eth1", &[]))]);
    assert!(world.feed(event.clone()).desired.is_some());
    assert!(world.feed(event).desired.is_none());
}

#[test]
fn families_on_two_devices_are_told_of() {
    let mut world = World::new(DUAL, with_v6(network()));
    world.feed(view(&[("wan", up("eth1", &[])), ("wan_6", up("eth2", &["fe80::1"]))]));
    assert_eq!(world.reason(Family::V4), "not_tracked");
    assert_eq!(world.reason(Family::V6), "other_device");
}

#[test]
fn a_delegated_prefix_alone_gives_a_source_of_this_wan_and_no_other() {
    let mut net = network();
    let lan = |ip: &str| Address {
        ip: ip.parse().unwrap(),
        prefix_len: 64,
        peer: None,
        global: true,
        preferred: true,
    };
    let addresses = vec![lan("2001:db8:a::1"), lan("2001:db8:b::1")];
    net.links.insert("br-lan".into(), Link { up: true, carrier: true, addresses, ..Link::default() });
    let mut world = World::new(DUAL, net);
    let mut wan = up("eth1", &["fe80::1"]);
    wan.prefixes = vec!["2001:db8:b::/48".parse().unwrap()];
    world.feed(view(&[("wan", wan)]));
    let (id, _) = world.core.wan("wan").unwrap();
    let path = world.core.path(PathKey { id, family: Family::V6 }).unwrap();
    assert_eq!(path.source, Some("2001:db8:b::1".parse().unwrap()));
}

#[test]
fn rules_find_devices_of_interfaces_that_are_no_wan() {
    let mut world = World::new(DUAL, network());
    assert!(world.core.desired().unwrap().rules.is_empty(), "waits");
    world.feed(view(&[("guest", up("br-guest", &[]))]));
    let desired = world.core.desired().unwrap();
    assert_eq!(desired.rules[0].source_device.as_deref(), Some("br-guest"));
}

#[test]
fn a_configured_device_is_the_owners_word() {
    let text = "config interface 'wan'\n option enabled 1\n option device eth0\n option family ipv4\n";
    let mut world = World::new(text, network());
    assert_eq!(world.reason(Family::V4), "not_tracked");
    world.feed(view(&[("wan", LogicalInterface::default())]));
    assert_eq!(world.reason(Family::V4), "not_tracked");
    assert_eq!(world.core.wan("wan").unwrap().1, "eth0");
}

/// What carries a policy, by name.
fn carrier(core: &Core) -> Vec<String> {
    match &core.desired().unwrap().policies[0].v4 {
        Carrier::Members(shares) => shares.iter().map(|s| s.interface.clone()).collect(),
        Carrier::LastResort(resort) => vec![resort.name().to_owned()],
    }
}

/// It is probed and online like every other, but carries only when its manager is done with it (I9: and says so).
#[test]
fn an_interface_on_trial_answers_and_does_not_carry() {
    let text = format!(
        "config interface 'a'\n option enabled 1\nconfig interface 'b'\n option enabled 1\n{}",
        common::FAILOVER
    );
    let mut world = World::new(&text, network());
    let trial = |on_trial| LogicalInterface { on_trial, ..up("eth0", &[]) };
    world.feed(view(&[("a", trial(false)), ("b", up("eth1", &[]))]));
    assert_eq!(carrier(&world.core), ["a"]);
    world.feed(view(&[("a", trial(true)), ("b", up("eth1", &[]))]));
    assert_eq!(carrier(&world.core), ["b"]);
    let (id, _) = world.core.wan("a").unwrap();
    let status = world.core.path(PathKey { id, family: Family::V4 }).unwrap();
    assert_eq!((status.state, status.reason.code()), (State::Online, "on_trial"));
    world.feed(view(&[("a", trial(true))]));
    assert_eq!(carrier(&world.core), ["unreachable"], "not even if nothing else can");
    world.feed(view(&[("a", trial(false)), ("b", up("eth1", &[]))]));
    assert_eq!(carrier(&world.core), ["a"]);
    let status = world.core.path(PathKey { id, family: Family::V4 }).unwrap();
    assert!(status.hold.is_none(), "a trial is no flapping");
}
