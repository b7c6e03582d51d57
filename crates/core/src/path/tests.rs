//! What a device offers, and how losses become holds.

#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Address, DefaultRoute, Link};

fn interface(options: &str) -> Interface {
    let text =
        format!("config interface 'wan'\n option enabled 1\n list family ipv4\n list family ipv6\n{options}");
    mwan_config::parse("test", text.as_bytes()).config.interfaces.remove(0)
}

fn address(ip: &str) -> Address {
    Address { ip: ip.parse().unwrap(), prefix_len: 24, peer: None, global: true, preferred: true }
}

fn net() -> NetView {
    let mut net = NetView::default();
    let addresses = vec![address("100.64.0.2"), address("2001:db8::2")];
    let link = Link { index: 1, up: true, carrier: true, point_to_point: false, addresses };
    net.links.insert("wan".into(), link);
    for gateway in ["100.64.0.1", "fe80::1"] {
        let gateway: IpAddr = gateway.parse().unwrap();
        let family = Family::of(gateway);
        let device = "wan".to_owned();
        net.defaults.push(DefaultRoute { family, metric: 0, table: 254, device, gateway: Some(gateway) });
    }
    net
}

fn code(net: &NetView, interface: &Interface, family: Family) -> String {
    match readiness(net, interface, "wan", family) {
        Ok(ready) => ready.next_hop.gateway.map_or("direct".to_owned(), |g| g.to_string()),
        Err(reason) => reason.code().to_owned(),
    }
}

#[test]
fn readiness_says_what_is_missing() {
    type Change = fn(&mut NetView);
    let table: [(&str, Change, &str, &str); 10] = [
        ("all is well", |_| {}, "100.64.0.1", "fe80::1"),
        ("a kernel without IPv6", |n| n.ipv6_absent = true, "100.64.0.1", "no_ipv6"),
        ("no device", |n| n.links.clear(), "no_device", "no_device"),
        ("down", |n| n.links.get_mut("wan").unwrap().up = false, "device_down", "device_down"),
        ("no carrier", |n| n.links.get_mut("wan").unwrap().carrier = false, "no_carrier", "no_carrier"),
        ("no address", |n| n.links.get_mut("wan").unwrap().addresses.clear(), "no_address", "no_address"),
        (
            "a delegated prefix on the LAN is a source too",
            |n| {
                n.links.get_mut("wan").unwrap().addresses.clear();
                let lan = Link { up: true, addresses: vec![address("2001:db8:1::1")], ..Link::default() };
                n.links.insert("lan".into(), lan);
            },
            "no_address",
            "fe80::1",
        ),
        ("no route", |n| n.defaults.clear(), "no_gateway", "no_gateway"),
        (
            "point to point",
            |n| {
                n.defaults.clear();
                n.links.get_mut("wan").unwrap().point_to_point = true;
            },
            "direct",
            "direct",
        ),
        (
            "main's default before those of other tables, then the metric",
            |n| {
                let other =
                    DefaultRoute { table: 7, gateway: Some([10, 0, 0, 1].into()), ..n.defaults[0].clone() };
                let worse =
                    DefaultRoute { metric: 9, gateway: Some([10, 0, 0, 2].into()), ..n.defaults[0].clone() };
                n.defaults.insert(0, other);
                n.defaults.insert(0, worse);
            },
            "100.64.0.1",
            "fe80::1",
        ),
    ];
    for (what, change, v4, v6) in table {
        let mut net = net();
        change(&mut net);
        let plain = interface("");
        assert_eq!(code(&net, &plain, Family::V4), v4, "{what}");
        assert_eq!(code(&net, &plain, Family::V6), v6, "{what}");
    }
}

#[test]
fn a_configured_gateway_needs_no_route() {
    let mut net = net();
    net.defaults.clear();
    let fixed = interface(" option gateway 100.64.0.99\n");
    assert_eq!(code(&net, &fixed, Family::V4), "100.64.0.99");
    assert_eq!(code(&net, &fixed, Family::V6), "no_gateway");
}

/// Makes a path lose its carrier and get it back at the given seconds; its holds afterwards.
fn holds(seconds: &[u64]) -> Vec<Option<u64>> {
    let wan = interface("");
    let key = PathKey { id: 1, family: Family::V4 };
    let mut path = Path::new(key, 0, Time(0));
    let offer = || readiness(&net(), &wan, "wan", Family::V4);
    path.set_ready(&wan, offer(), None, false, Time(0));
    assert_eq!(path.hold, None, "the first time up is no recovery");
    seconds
        .iter()
        .map(|s| {
            let now = Time::from_ms(s * 1000);
            path.release(now);
            path.set_ready(&wan, Err(Reason::NoCarrier("wan".into())), None, false, now);
            assert!(!path.preferred());
            path.set_ready(&wan, offer(), None, false, now);
            path.hold.map(|h| h.length.as_secs())
        })
        .collect()
}

#[test]
fn each_loss_within_ten_minutes_holds_twice_as_long() {
    assert_eq!(holds(&[10]), [None]);
    assert_eq!(
        holds(&[10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]),
        [
            None,
            Some(60),
            Some(120),
            Some(240),
            Some(480),
            Some(600),
            Some(600),
            Some(600),
            Some(600),
            Some(600),
            Some(600)
        ]
    );
    assert_eq!(holds(&[0, 601, 1202, 1803]), [None, None, None, None], "rare losses are no flapping");
    assert_eq!(holds(&[0, 599]), [None, Some(60)]);
}

#[test]
fn a_hold_ends_by_time_alone() {
    let wan = interface("");
    let mut path = Path::new(PathKey { id: 1, family: Family::V4 }, 0, Time(0));
    let offer = || readiness(&net(), &wan, "wan", Family::V4);
    path.set_ready(&wan, offer(), None, false, Time(0));
    for second in [1, 2] {
        let now = Time::from_ms(second * 1000);
        path.set_ready(&wan, Err(Reason::NoCarrier("wan".into())), None, false, now);
        path.set_ready(&wan, offer(), None, false, now);
    }
    let until = path.hold.unwrap().until;
    assert_eq!(until, Time::from_ms(62_000));
    path.take_change();
    assert!(path.usable() && !path.preferred() && !path.due(Time(until.0 - 1)) && path.due(until));
    path.release(until);
    assert!(path.preferred());
    assert!(path.take_change().is_some(), "the policies must hear of it");
}
