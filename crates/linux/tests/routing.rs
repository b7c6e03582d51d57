//! Rules and routes in a real kernel.

mod common;

use common::{Peer, eventually, in_namespace, sh};
use mwan_compile::routing::{IpRule, Route, RoutingOp, RuleAction};
use mwan_config::Family;
use mwan_linux::routing::RouteSocket;

fn rule(family: Family, priority: u32, action: RuleAction) -> IpRule {
    IpRule { family, priority, fwmark: None, iif: None, oif: None, action }
}

fn route(family: Family, table: u32, device: &str, gateway: Option<&str>) -> Route {
    Route { family, table, device: device.into(), gateway: gateway.map(|g| g.parse().expect("address")) }
}

fn apply(socket: &mut RouteSocket, ops: Vec<RoutingOp>) {
    for (op, result) in ops.iter().zip(socket.apply_all(&ops)) {
        result.unwrap_or_else(|e| panic!("{op:?}: {e}: {:?}", std::error::Error::source(&e)));
    }
}

#[test]
fn rules_are_written_read_and_removed() {
    in_namespace("rules_are_written_read_and_removed", || {
        let before = sh("ip rule; ip -6 rule");
        let mut socket = RouteSocket::open().expect("socket");
        for family in Family::ALL {
            let rules = vec![
                rule(family, 990, RuleAction::LookupSpecific(254)),
                IpRule { iif: Some("eth9".into()), ..rule(family, 1001, RuleAction::Lookup(1)) },
                IpRule { fwmark: Some((0x100, 0x3f00)), ..rule(family, 2001, RuleAction::Lookup(1)) },
                IpRule { fwmark: Some((0x200, 0x3f00)), ..rule(family, 2002, RuleAction::Lookup(100_000)) },
                IpRule { oif: Some("eth9".into()), ..rule(family, 2501, RuleAction::Lookup(255 + 1)) },
                IpRule { fwmark: Some((0x3d00, 0x3f00)), ..rule(family, 2061, RuleAction::Blackhole) },
                IpRule { fwmark: Some((0x100, 0x3f00)), ..rule(family, 3001, RuleAction::Unreachable) },
            ];
            apply(&mut socket, rules.iter().cloned().map(RoutingOp::AddRule).collect());
            // Added again it is still there once: the kernel would keep two.
            apply(&mut socket, vec![RoutingOp::AddRule(rules[2].clone())]);
            let mut expected = rules.clone();
            expected.sort_by_key(|r| r.priority);
            let mut observed = socket.observe().expect("observe").rules;
            observed.retain(|r| r.family == family);
            assert_eq!(observed, expected);
            let minus = if family == Family::V4 { "-4" } else { "-6" };
            let shown = sh(&format!("ip {minus} rule"));
            for line in [
                "990:\tfrom all lookup main suppress_prefixlength 0 proto 77",
                "2002:\tfrom all fwmark 0x200/0x3f00 lookup 100000 proto 77",
                "2061:\tfrom all fwmark 0x3d00/0x3f00 blackhole proto 77",
                "3001:\tfrom all fwmark 0x100/0x3f00 unreachable proto 77",
                "2501:\tfrom all oif eth9 [detached] lookup 256 proto 77",
            ] {
                assert!(shown.contains(line), "{line}\n{shown}");
            }
            // Others' duplicate of ours and rules of others.
            sh(&format!("ip {minus} rule add pref 2003 fwmark 0x100/0x3f00 lookup 1 proto 77"));
            sh(&format!("ip {minus} rule add pref 40 fwmark 0x100 lookup 1"));
            let observed = socket.observe().expect("observe").rules;
            assert_eq!(observed.iter().filter(|r| r.family == family).count(), rules.len() + 1);
            sh(&format!("ip {minus} rule del pref 40"));
        }
        assert!(socket.delete_ours().expect("clean-up").iter().all(Result::is_ok));
        assert_eq!(sh("ip rule; ip -6 rule"), before);
        // What is gone already is gone.
        apply(&mut socket, vec![RoutingOp::DeleteRule(rule(Family::V4, 990, RuleAction::Unreachable))]);
    });
}

#[test]
fn each_table_has_one_default_of_ours() {
    in_namespace("each_table_has_one_default_of_ours", || {
        let peer = Peer::new();
        for name in ["wa", "wb"] {
            peer.link(name, &format!("far-{name}"));
        }
        sh(
            "ip addr add 192.0.2.1/24 dev wa; ip addr add 2001:db8::1/64 dev wa nodad; ip addr add fe80::1/64 dev wb nodad",
        );
        let mut socket = RouteSocket::open().expect("socket");
        let forms = [
            route(Family::V4, 1, "wa", Some("192.0.2.254")),
            route(Family::V4, 1, "wb", Some("192.0.2.254")),
            route(Family::V4, 1, "wb", Some("198.51.100.1")),
            route(Family::V4, 1, "wb", None),
            route(Family::V4, 1, "wa", None),
            route(Family::V6, 1, "wa", Some("2001:db8::fe")),
            route(Family::V6, 1, "wa", Some("fe80::fe")),
            route(Family::V6, 1, "wb", Some("fe80::fe")),
            route(Family::V6, 1, "wb", Some("2001:db8:9::fe")),
            route(Family::V6, 1, "wb", None),
            route(Family::V6, 1, "wa", None),
            route(Family::V6, 1, "wb", Some("fe80::fe")),
        ];
        // Every form may follow every other, and itself.
        for from in &forms {
            for to in forms.iter().filter(|to| to.family == from.family) {
                for route in [from, to, to] {
                    apply(&mut socket, vec![RoutingOp::SetRoute(route.clone())]);
                }
                assert_eq!(
                    socket.observe().expect("observe").routes,
                    std::slice::from_ref(to),
                    "after {from:?}"
                );
                apply(&mut socket, vec![RoutingOp::DeleteRoute(to.clone())]);
                assert_eq!(socket.observe().expect("observe").routes, []);
            }
        }
    });
}

#[test]
fn big_table_ids_other_protocols_and_errors() {
    in_namespace("big_table_ids_other_protocols_and_errors", || {
        let peer = Peer::new();
        peer.link("wa", "far");
        sh("ip addr add 192.0.2.1/24 dev wa");
        // Duplicate address detection adds routes when it ends.
        eventually("the link-local addresses are settled", || {
            !sh("ip -6 address show tentative").contains("inet6")
        });
        let before = sh("ip route show table all; ip -6 route show table all");
        let mut socket = RouteSocket::open().expect("socket");
        let routes: Vec<_> = (250..600)
            .chain([4_000_000_000])
            .filter(|t| !(253..=255).contains(t))
            .map(|table| route(Family::V4, table, "wa", Some("192.0.2.254")))
            .collect();
        apply(&mut socket, routes.iter().cloned().map(RoutingOp::SetRoute).collect());
        let mut observed = socket.observe().expect("observe").routes;
        observed.sort();
        assert_eq!(observed, routes);
        let shown = sh("ip route show table all proto 77");
        assert!(shown.contains("default via 192.0.2.254 dev wa table 4000000000 onlink"), "{shown}");
        sh(
            "ip route add default via 192.0.2.3 table 9 proto static; ip route add 10.0.0.0/8 dev wa table 9 proto 77",
        );
        assert_eq!(socket.observe().expect("observe").routes.len(), routes.len());
        sh("ip route flush table 9");
        let missing = RoutingOp::SetRoute(route(Family::V6, 1, "nope", Some("fe80::1")));
        let error = socket.apply(&missing).expect_err("no device");
        assert_eq!(
            error.to_string(),
            "failed to set route default via fe80::1 dev nope table 1 (ipv6): no device nope"
        );
        assert!(socket.delete_ours().expect("clean-up").iter().all(Result::is_ok));
        assert_eq!(sh("ip route show table all; ip -6 route show table all"), before);
    });
}
