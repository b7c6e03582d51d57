//! The monitor in a real kernel: its view after every change equals what a fresh look shows.

mod common;

use std::time::Duration;

use common::{Peer, in_namespace, sh};
use mwan_compile::nft::NftOp;
use mwan_compile::routing::{IpRule, Route, RoutingOp, RuleAction};
use mwan_config::Family;
use mwan_core::NetView;
use mwan_linux::monitor::{Change, Monitor};
use mwan_linux::nft::NftSocket;
use mwan_linux::routing::RouteSocket;

fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(body);
}

/// Changes until `wanted`, for at most five seconds; returns their union.
async fn until(monitor: &mut Monitor, what: &str, wanted: impl Fn(&Change, &NetView) -> bool) -> Change {
    let mut all = Change::default();
    let wait = async {
        loop {
            let change = monitor.next().await.expect("monitor");
            all.network |= change.network;
            all.routing_foreign |= change.routing_foreign;
            all.overrun |= change.overrun;
            all.nft = change.nft.or(all.nft);
            if wanted(&all, &monitor.view()) {
                break;
            }
        }
    };
    if tokio::time::timeout(Duration::from_secs(30), wait).await.is_err() {
        panic!("did not happen: {what}; last {all:?} {:#?}", monitor.view());
    }
    assert_fresh(monitor, what).await;
    all
}

/// The folded view is the one a new monitor reads. The kernel may still be in the middle of what it announced, so
/// both sides get time to agree.
async fn assert_fresh(monitor: &mut Monitor, what: &str) {
    let mut views = (monitor.view(), Monitor::open(vec![77]).expect("monitor").view());
    for _ in 0..100 {
        if views.0 == views.1 {
            return;
        }
        let _ = tokio::time::timeout(Duration::from_millis(5), monitor.next()).await;
        views = (monitor.view(), Monitor::open(vec![77]).expect("monitor").view());
    }
    pretty_assert(&views.0, &views.1, what);
}

fn pretty_assert(folded: &NetView, fresh: &NetView, what: &str) {
    assert_eq!(folded.links, fresh.links, "{what}");
    assert_eq!(folded.defaults, fresh.defaults, "{what}");
    assert_eq!(folded.connected, fresh.connected, "{what}");
    assert_eq!(folded.custom, fresh.custom, "{what}");
}

fn devices(view: &NetView) -> Vec<&str> {
    view.defaults.iter().map(|d| d.device.as_str()).collect()
}

#[test]
fn links_addresses_and_routes_are_followed() {
    in_namespace("links_addresses_and_routes_are_followed", || {
        run(async {
            let peer = Peer::new();
            let mut monitor = Monitor::open(vec![77]).expect("monitor");
            let m = &mut monitor;
            peer.link("wan", "far");
            until(m, "carrier", |_, v| v.links.get("wan").is_some_and(|l| l.carrier && l.up)).await;
            sh(
                "ip addr add 192.0.2.2/24 dev wan; ip addr add 192.0.2.3/24 dev wan; ip addr add 2001:db8::2/64 dev wan",
            );
            let preferred = |v: &NetView, text: &str| {
                let ip = text.parse().ok();
                v.links["wan"].addresses.iter().any(|a| Some(a.ip) == ip && a.preferred && a.global)
            };
            until(m, "addresses", |_, v| preferred(v, "192.0.2.3") && preferred(v, "2001:db8::2")).await;
            sh("ip route add default via 192.0.2.1 metric 5; ip route add default via 192.0.2.254 table 99");
            sh("ip -6 route add default via 2001:db8::1; ip route add 10.9.0.0/16 via 192.0.2.1 table 77");
            sh(
                "ip route add default via 192.0.2.1 table 50 proto 77; ip route add unreachable default table 51",
            );
            until(m, "defaults", |_, v| devices(v).len() == 3 && v.custom.len() == 1).await;
            let view = m.view();
            assert!(view.connected.contains(&"192.0.2.0/24".parse().expect("net")));
            assert_eq!(view.default_route(Family::V4, "wan").map(|d| (d.metric, d.table)), Some((5, 254)));
            // Rename: same routes under the new name.
            sh("ip link set wan down; ip link set wan name wan0");
            until(m, "down", |c, v| {
                c.routing_foreign && v.links.contains_key("wan0") && devices(v).is_empty()
            })
            .await;
            sh("ip link set wan0 up; ip route add default via 192.0.2.1");
            until(m, "up again", |_, v| devices(v) == ["wan0"] && v.links["wan0"].carrier).await;
            // The other end loses its link: no carrier, the route stays.
            peer.sh("ip link set far down");
            until(m, "no carrier", |_, v| !v.links["wan0"].carrier && v.links["wan0"].up).await;
            assert_eq!(devices(&m.view()), ["wan0"]);
            peer.sh("ip link set far up");
            until(m, "carrier again", |_, v| v.links["wan0"].carrier).await;
            // The last address goes, and with it silently the route.
            sh("ip -4 addr flush dev wan0");
            until(m, "no address", |c, v| c.routing_foreign && devices(v).is_empty()).await;
            sh("ip link del wan0");
            until(m, "no device", |_, v| !v.links.contains_key("wan0")).await;
        })
    });
}

#[test]
fn multipath_and_nexthop_objects_are_followed() {
    in_namespace("multipath_and_nexthop_objects_are_followed", || {
        run(async {
            let peer = Peer::new();
            for name in ["wa", "wb"] {
                peer.link(name, &format!("far-{name}"));
            }
            sh("ip addr add 192.0.2.2/24 dev wa; ip addr add 198.51.100.2/24 dev wb");
            sh("ip addr add 2001:db8:a::2/64 dev wa nodad; ip addr add 2001:db8:b::2/64 dev wb nodad");
            let mut monitor = Monitor::open(vec![77]).expect("monitor");
            let m = &mut monitor;
            sh("ip route add default nexthop via 192.0.2.1 nexthop via 198.51.100.1");
            until(m, "two hops", |_, v| devices(v) == ["wa", "wb"]).await;
            sh("ip link set wa down");
            until(m, "one hop", |_, v| devices(v) == ["wb"]).await;
            sh("ip link set wa up; ip addr add 2001:db8:a::2/64 dev wa nodad");
            until(m, "both again", |_, v| devices(v) == ["wa", "wb"]).await;
            sh("ip route replace default via 198.51.100.1");
            until(m, "replaced", |_, v| devices(v) == ["wb"]).await;
            sh("ip route append default via 192.0.2.1; ip route prepend default via 192.0.2.9");
            until(m, "three", |_, v| v.defaults.len() == 3).await;
            sh("ip route del default via 192.0.2.1; ip route del default; ip route del default");
            until(m, "none", |_, v| v.defaults.is_empty()).await;
            sh("ip -6 route add default nexthop via 2001:db8:a::1 nexthop via 2001:db8:b::1");
            until(m, "two hops of IPv6", |_, v| devices(v) == ["wa", "wb"]).await;
            sh("ip -6 route del default via 2001:db8:a::1");
            until(m, "one of IPv6", |_, v| devices(v) == ["wb"]).await;
            sh("ip -6 route append default via 2001:db8:a::9");
            until(m, "two of IPv6", |_, v| v.defaults.len() == 2).await;
            sh("ip -6 route replace default via 2001:db8:a::7");
            until(m, "replaced in IPv6", |_, v| devices(v) == ["wa"]).await;
            sh("ip -6 route del default");
            until(m, "none of IPv6", |_, v| v.defaults.is_empty()).await;
            sh(
                "ip nexthop add id 1 via 192.0.2.1 dev wa; ip nexthop add id 2 via 198.51.100.1 dev wb; ip nexthop add id 3 group 1/2",
            );
            sh("ip route add default nhid 3");
            until(m, "by group", |_, v| devices(v) == ["wa", "wb"]).await;
            sh("ip nexthop del id 3");
            until(m, "group gone", |_, v| v.defaults.is_empty()).await;
            sh(
                "sysctl -qw net.ipv4.nexthop_compat_mode=0; ip nexthop add id 3 group 1/2; ip route add default nhid 3",
            );
            until(m, "by group, not spelled out", |_, v| devices(v) == ["wa", "wb"]).await;
            sh("ip nexthop replace id 1 via 192.0.2.7 dev wa");
            until(m, "member replaced", |_, v| {
                v.defaults.iter().any(|d| d.gateway == "192.0.2.7".parse().ok())
            })
            .await;
        })
    });
}

#[test]
fn rules_and_ours_are_watched() {
    in_namespace("rules_and_ours_are_watched", || {
        run(async {
            let peer = Peer::new();
            peer.link("wan", "far");
            sh("ip addr add 192.0.2.2/24 dev wan; ip addr add 2001:db8::2/64 dev wan nodad");
            let mut socket = RouteSocket::open().expect("socket");
            let mut monitor = Monitor::open(vec![77]).expect("monitor");
            monitor.own_port(socket.port());
            let m = &mut monitor;
            let action = RuleAction::Lookup(1);
            let rule =
                IpRule { family: Family::V4, priority: 2001, fwmark: None, iif: None, oif: None, action };
            let gateway = "192.0.2.1".parse().ok();
            let route = Route { family: Family::V4, table: 1, device: "wan".into(), gateway };
            for op in [
                RoutingOp::AddRule(rule.clone()),
                RoutingOp::SetRoute(route.clone()),
                RoutingOp::DeleteRoute(route.clone()),
                RoutingOp::DeleteRule(rule.clone()),
                RoutingOp::AddRule(rule),
                RoutingOp::SetRoute(route),
            ] {
                socket.apply(&op).expect("apply");
            }
            sh("ip route add 203.0.113.0/24 via 192.0.2.1");
            let change = until(m, "marker", |_, v| {
                v.connected.len() > 3 && v.connected.contains(&"203.0.113.0/24".parse().expect("net"))
            })
            .await;
            assert!(!change.routing_foreign, "our own changes are not foreign");
            sh("ip route del default table 1");
            until(m, "our route deleted", |c, _| c.routing_foreign).await;
            for minus in ["-4", "-6"] {
                let (via, other) =
                    if minus == "-4" { ("192.0.2.1", "192.0.2.9") } else { ("2001:db8::1", "2001:db8::9") };
                sh(&format!("ip {minus} route add default via {via} dev wan table 1 proto 77"));
                until(m, "added", |c, _| c.routing_foreign).await;
                sh(&format!("ip {minus} route replace default via {other} dev wan table 1"));
                until(m, "our route replaced", |c, _| c.routing_foreign).await;
                sh(&format!("ip {minus} route del default table 1"));
                until(m, "the other deleted", |c, _| c.routing_foreign).await;
            }
            sh("ip rule add pref 7 lookup 9 && ip rule del pref 7");
            until(m, "some rule deleted", |c, _| c.routing_foreign).await;
            sh("ip rule flush");
            until(m, "rules flushed", |c, _| c.routing_foreign).await;
        })
    });
}

#[test]
fn commits_are_seen_once_and_known_as_ours() {
    in_namespace("commits_are_seen_once_and_known_as_ours", || {
        run(async {
            let mut nft = NftSocket::open().expect("socket");
            let mut monitor = Monitor::open(vec![]).expect("monitor");
            monitor.own_port(nft.port());
            let mut ops = vec![NftOp::AddTable];
            for n in 0..2000 {
                ops.push(NftOp::AddChain { name: format!("c{n}"), hook: None });
            }
            let generation = nft.commit(&ops, None).expect("commit");
            let change = monitor.next().await.expect("change").nft.expect("nft");
            assert_eq!((change.generation, change.own), (generation, true));
            assert!(monitor.stats().messages <= 2, "{:?}", monitor.stats());
            sh("nft flush ruleset");
            let change = monitor.next().await.expect("change").nft.expect("nft");
            assert_eq!((change.generation, change.own), (generation + 1, false));
        })
    });
}

#[test]
fn floods_of_routes_are_survived() {
    in_namespace("floods_of_routes_are_survived", || {
        run(async {
            let peer = Peer::new();
            peer.link("wan", "far");
            sh("ip addr add 192.0.2.2/24 dev wan");
            let mut monitor = Monitor::open(vec![]).expect("monitor");
            let m = &mut monitor;
            let batch = |verb: &str| {
                let lines: String = (0..20_000)
                    .map(|n| format!("route {verb} 10.{}.{}.0/24 via 192.0.2.1\n", n / 250, n % 250))
                    .collect();
                common::feed("ip -batch -", &lines);
            };
            let last = "10.79.249.0/24".parse().expect("net");
            let start = std::time::Instant::now();
            batch("add");
            let sent = start.elapsed();
            let used = cpu_time();
            let change = until_quiet(m, |v| v.connected.contains(&last)).await;
            let used = cpu_time() - used;
            println!(
                "20,000 routes added in {sent:?}; taken in with {used:?} of CPU, {:?}, {change:?}",
                m.stats()
            );
            // The same while we listen.
            let before = m.stats();
            let used = cpu_time();
            let flood = std::thread::spawn(move || batch("del"));
            until_quiet(m, |v| !v.connected.contains(&last)).await;
            let (used, after) = (cpu_time() - used, m.stats());
            flood.join().expect("flood");
            println!(
                "20,000 routes deleted meanwhile: {used:?} of CPU, {} wake-ups, {} messages, {} overruns",
                after.wakeups - before.wakeups,
                after.messages - before.messages,
                after.overruns - before.overruns
            );
            assert_eq!(m.view().connected, Monitor::open(vec![]).expect("monitor").view().connected);
        })
    });
}

async fn until_quiet(m: &mut Monitor, wanted: impl Fn(&NetView) -> bool) -> Change {
    let mut change = Change::default();
    for _ in 0..10_000 {
        if wanted(&m.view()) {
            return change;
        }
        let wait = tokio::time::timeout(Duration::from_secs(30), m.next());
        change = wait.await.expect("a change").expect("monitor");
    }
    panic!("too many changes");
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|t| t.parse().ok()).expect("number"))
}
