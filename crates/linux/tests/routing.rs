//! Rules and routes in a real kernel.

mod common;

use common::{Peer, in_namespace, sh};
use mwan_compile::nft::ObservedTable;
use mwan_compile::routing::{IpRule, Route, RoutingOp, RuleAction};
use mwan_compile::{Observed, Program, diff_observed};
use mwan_config::Family;
use mwan_linux::lookup::{Lookup, Question};
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

/// All routes but the kernel's own, which come when duplicate address detection pleases.
fn routes_shown() -> String {
    sh("{ ip -d route show table all; ip -6 -d route show table all; } | grep -v 'proto kernel' || true")
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
        let before = routes_shown();
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
        let observed = socket.observe().expect("observe");
        assert_eq!((observed.routes.len(), observed.foreign_routes.len()), (routes.len(), 1));
        sh("ip route flush table 9");
        let missing = RoutingOp::SetRoute(route(Family::V6, 1, "nope", Some("fe80::1")));
        let error = socket.apply(&missing).expect_err("no device");
        assert_eq!(
            error.to_string(),
            "failed to set route default via fe80::1 dev nope table 1 (ipv6): no device nope"
        );
        assert!(socket.delete_ours().expect("clean-up").iter().all(Result::is_ok));
        assert_eq!(routes_shown(), before);
    });
}

/// What the daemon would do.
fn difference(socket: &mut RouteSocket, program: &Program) -> Vec<RoutingOp> {
    let routing = socket.observe().expect("observe");
    let ops = diff_observed(&Observed { table: Some(ObservedTable::default()), routing }, program);
    ops.add.into_iter().chain(ops.remove).collect()
}

/// Looks and repairs as the daemon does, until there is nothing left to do.
fn repair(socket: &mut RouteSocket, program: &Program, damage: &str) {
    for _ in 0..4 {
        match difference(socket, program) {
            ops if ops.is_empty() => return,
            ops => apply(socket, ops),
        }
    }
    let all = "ip rule; ip route show table all; ip -6 rule; ip -6 route show table all";
    panic!("not repaired: {damage}\n{}", sh(all));
}

#[test]
fn rules_that_pass_for_ours_are_removed_and_ours_stay() {
    in_namespace("rules_that_pass_for_ours_are_removed_and_ours_stay", || {
        let mut socket = RouteSocket::open().expect("socket");
        let ours = |family| {
            [
                rule(family, 990, RuleAction::LookupSpecific(254)),
                IpRule { fwmark: Some((0x100, 0x3f00)), ..rule(family, 2001, RuleAction::Lookup(1)) },
            ]
        };
        let rules = Family::ALL.into_iter().flat_map(ours).collect();
        let program = Program { rules: std::sync::Arc::new(rules), ..Program::default() };
        repair(&mut socket, &program, "nothing there");
        let shown = || sh("ip rule; ip -6 rule");
        let before = shown();
        for version in ["-4", "-6"] {
            let net = if version == "-4" { "10.0.0.0/8" } else { "2001:db8::/32" };
            let mark = "pref 2001 fwmark 0x100/0x3f00";
            for twin in [
                format!("{mark} from {net} lookup 1"),
                format!("{mark} to {net} lookup 1"),
                format!("not {mark} lookup 1"),
                format!("{mark} tos 0x10 lookup 1"),
                format!("{mark} ipproto tcp lookup 1"),
                format!("{mark} ipproto tcp sport 80 lookup 1"),
                format!("{mark} ipproto udp dport 1-9 lookup 1"),
                format!("{mark} uidrange 0-0 lookup 1"),
                format!("{mark} tun_id 7 lookup 1"),
                format!("{mark} lookup 1 suppress_prefixlength 8"),
                format!("{mark} lookup 1 suppress_ifgroup 3"),
                format!("{mark} goto 3000"),
                format!("{mark} nop"),
                format!("{mark} prohibit"),
                format!("{mark} l3mdev"),
                "pref 990 from all lookup main suppress_prefixlength 1".to_owned(),
                format!("pref 990 from {net} lookup main suppress_prefixlength 0"),
            ] {
                let add = format!("ip {version} rule add {twin} proto 77");
                // Behind ours (where the kernel takes some for ours: rule_exists compares neither `not` nor selectors
                // that ours lacks), then in the place of ours.
                sh(&format!("{add} 2>/dev/null || true"));
                let observed = socket.observe().expect("observe");
                let added = shown() != before;
                let found = (observed.rules.len(), observed.foreign_rules.len());
                assert_eq!(found, (4, usize::from(added)), "{add}");
                repair(&mut socket, &program, &add);
                assert_eq!(shown(), before, "{add}");
                let ours = if twin.contains("990") { "pref 990" } else { "pref 2001" };
                sh(&format!("ip {version} rule del {ours}; {add}"));
                assert_eq!(socket.observe().expect("observe").foreign_rules.len(), 1, "{add}");
                repair(&mut socket, &program, &add);
                assert_eq!(shown(), before, "{add}, ours gone");
            }
        }
        sh("ip rule add pref 2001 realms 3 lookup 1 proto 77; ip -6 rule add not pref 7 lookup 9 proto 77");
        assert!(socket.delete_ours().expect("clean-up").iter().all(Result::is_ok));
        assert!(!shown().contains("proto 77"), "{}", shown());
    });
}

#[test]
fn routes_that_pass_for_ours_are_removed_and_ours_stay() {
    in_namespace("routes_that_pass_for_ours_are_removed_and_ours_stay", || {
        let peer = Peer::new();
        for name in ["wa", "wb"] {
            peer.link(name, &format!("far-{name}"));
        }
        sh("ip addr add 192.0.2.1/24 dev wa; ip addr add 192.0.3.1/24 dev wb; \
            ip nexthop add id 5 via 192.0.2.9 dev wa; ip addr add 2001:db8::1/64 dev wa nodad; ip addr add 2001:db8:1::1/64 dev wb nodad");
        let mut socket = RouteSocket::open().expect("socket");
        let shown = routes_shown;
        let nothing = shown();
        let routes = [
            route(Family::V4, 1, "wa", Some("192.0.2.254")),
            route(Family::V4, 2, "wb", None),
            route(Family::V6, 1, "wa", Some("2001:db8::fe")),
            route(Family::V6, 2, "wb", None),
        ];
        let program =
            Program { routes: std::sync::Arc::new(routes.into_iter().collect()), ..Program::default() };
        repair(&mut socket, &program, "nothing there");
        let before = shown();
        let four = "via 192.0.2.254 dev wa";
        let six = "via 2001:db8::fe dev wa";
        for (version, route) in [
            ("-4", "unreachable default table 1".to_owned()),
            ("-4", "blackhole default table 2".to_owned()),
            ("-4", "prohibit default table 2".to_owned()),
            ("-4", "throw default table 1".to_owned()),
            ("-4", format!("default {four} table 1")),
            ("-4", format!("default {four} onlink table 1 metric 5")),
            ("-4", format!("default {four} onlink table 1 tos 0x10")),
            ("-4", format!("default {four} onlink table 1 src 192.0.2.1")),
            ("-4", format!("default {four} onlink table 1 mtu 900")),
            ("-4", format!("default {four} onlink table 1 realm 4")),
            (
                "-4",
                "default table 1 proto 77 nexthop via 192.0.2.254 dev wa nexthop via 192.0.3.9 dev wb"
                    .to_owned(),
            ),
            ("-4", "default nhid 5 table 1".to_owned()),
            ("-4", "default dev wb scope global table 2".to_owned()),
            ("-4", format!("8.8.8.8 {four} onlink table 1")),
            ("-4", "local default dev lo table 1".to_owned()),
            ("-4", format!("default {four} onlink table 9 metric 3")),
            ("-6", "unreachable default table 1".to_owned()),
            ("-6", "blackhole default table 2 metric 7".to_owned()),
            ("-6", format!("default {six} table 1 metric 5")),
            ("-6", format!("default {six} table 1 metric 1024 mtu 1300")),
            ("-6", format!("default from 2001:db8::/64 {six} table 1 metric 1024")),
            ("-6", "default via 2001:db8:1::fe dev wb table 1 metric 1024".to_owned()),
            ("-6", format!("default {six} table 1 metric 1024 src 2001:db8::1")),
            ("-6", format!("2001:db8:5::/48 {six} table 1")),
        ] {
            for how in ["add", "append", "prepend", "replace"] {
                let number = if route.contains("proto") { "" } else { "proto 77" };
                let command = format!("ip {version} route {how} {route} {number}");
                // Some are so alike that the kernel says there is one.
                sh(&format!("{command} 2>/dev/null || true"));
                if how == "replace" {
                    assert!(!difference(&mut socket, &program).is_empty(), "not noticed: {command}");
                }
                repair(&mut socket, &program, &command);
                assert_eq!(shown(), before, "{command}");
            }
        }
        // Whatever carries our number is removed, whether we would have made it or not.
        sh(
            "ip route add unreachable 10.0.0.0/8 proto 77; ip -6 route add blackhole 2001:db8:7::/48 proto 77",
        );
        assert!(socket.delete_ours().expect("clean-up").iter().all(Result::is_ok));
        assert_eq!(shown(), nothing);
    });
}

/// The question of IPv6 has no flags: with that of IPv4 the kernel refuses it.
#[test]
fn the_kernel_is_asked_for_the_way_of_a_packet() {
    in_namespace("the_kernel_is_asked_for_the_way_of_a_packet", || {
        sh("ip link add va type veth peer name vb; ip link set va up; ip link set vb up; ip link set lo up
            ip addr add 192.0.2.1/24 dev va; ip -6 addr add 2001:db8::1/64 dev va nodad
            ip route add default via 192.0.2.9; ip -6 route add default via 2001:db8::9
            ip rule add fwmark 0x100/0x3f00 lookup 7; ip -6 rule add fwmark 0x100/0x3f00 lookup 7
            ip route add default via 192.0.2.8 table 7; ip -6 route add default via 2001:db8::8 table 7");
        let mut lookup = Lookup::open().expect("socket");
        let mut ask = |destination: &str, mark| {
            let destination = destination.parse().expect("address");
            lookup.ask(&Question { destination, source: None, mark, input: None }).expect("route")
        };
        for (far, near, own) in
            [("198.51.100.1", "192.0.2.", "192.0.2.1"), ("2001:db8:ff::1", "2001:db8::", "2001:db8::1")]
        {
            let by = |n: u8| Some(format!("{near}{n}").parse::<std::net::IpAddr>().expect("address"));
            for (mark, table, gateway) in [(0, 254, 9), (0x100, 7, 8)] {
                let route = ask(far, mark);
                assert_eq!(
                    (route.table, route.gateway, route.source),
                    (table, by(gateway), by(1)),
                    "{far} {mark:#x}"
                );
                assert!(!route.is_local());
            }
            assert!(ask(own, 0x100).is_local(), "{own}");
        }
        assert!(ask("192.0.2.255", 0).is_broadcast());
    });
}
