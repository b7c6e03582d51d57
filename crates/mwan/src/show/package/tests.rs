//! The documents' own samples, byte for byte where they show bytes (wire/ are recordings of mwan3 2.12.2; the manual and
//! the cloud guide lost leading or trailing blanks).
#![allow(clippy::unwrap_used)]

use mwan_api::{Carrier, Interface, Member, Networks, Path, Policy, Reason, Rule};

use super::*;

const STATUS: &str = include_str!("golden/mwan3-status.txt");
const INTERFACES: &str = include_str!("golden/mwan3-interfaces.txt");
const RULES: &str = include_str!("golden/mwan3-rules.txt");
const WIKI: &str = include_str!("golden/wiki-status.txt");
const CLOUD: &str = include_str!("golden/cloud-status.txt");

fn path(family: &str, usable: bool, tracking: &str, since_s: u64, uptime_s: u64) -> Path {
    Path {
        fault: None,
        family: family.into(),
        status: if usable { "online" } else { "offline" }.into(),
        usable,
        carries: usable,
        drained: false,
        reason: Reason { code: "answering".into(), text: String::new() },
        since_s,
        uptime_s,
        tracking: tracking.into(),
        score: 10,
        lost: 0,
        rounds: 1,
        judged_round: 1,
        good_round: 1,
        age_s: 0,
        hold: None,
        source: None,
        gateway: None,
        worst_case_detection_ms: None,
        check_quality: false,
        quality: None,
        missing: 0,
        targets: Vec::new(),
        network: None,
    }
}

fn interface(name: &str, paths: Vec<Path>) -> Interface {
    Interface { name: name.into(), device: name.into(), enabled: true, id: 1, mark: "0x100".into(), paths }
}

/// Members by name and weight, in the order of the configuration; none: unreachable.
fn carrier(members: &[(&str, u32)]) -> Carrier {
    let sum: u32 = members.iter().map(|(_, weight)| weight).sum();
    let member = |(name, weight): &(&str, u32)| Member {
        interface: (*name).into(),
        percent: weight * 100 / sum,
        weight: *weight,
    };
    Carrier {
        members: members.iter().map(member).collect(),
        last_resort: members.is_empty().then(|| "unreachable".into()),
        counters: Vec::new(),
        switches: 0,
    }
}

fn policy(name: &str, ipv4: &[(&str, u32)], ipv6: &[(&str, u32)]) -> Policy {
    Policy { name: name.into(), ipv4: carrier(ipv4), ipv6: carrier(ipv6) }
}

fn rule(
    family: &str,
    sticky: Option<&str>,
    target: &str,
    counted: (u64, u64),
    protocol: &str,
    more: &str,
) -> Rule {
    Rule {
        name: sticky.unwrap_or("default_rule").into(),
        family: family.into(),
        target: target.into(),
        sticky: sticky.is_some(),
        packets: counted.0,
        bytes: counted.1,
        protocol: protocol.into(),
        source: String::new(),
        destination: String::new(),
        more: more.into(),
        sticky_entries: Vec::new(),
        logged: None,
        waiting_for: None,
    }
}

fn networks(text: &str, family: &str) -> Vec<String> {
    let title = format!("Directly connected {family} networks:\n");
    let rest = text.split(&title).nth(1).unwrap();
    rest.lines().take_while(|l| !l.is_empty()).map(str::to_owned).collect()
}

fn status_of(interfaces: Vec<Interface>, policies: Vec<Policy>, text: &str, rules: Vec<Rule>) -> Status {
    Status {
        drill: None,
        red: None,
        schema: String::new(),
        daemon: mwan_api::Daemon {
            version: String::new(),
            pid: 1,
            uptime_s: 0,
            config: String::new(),
            config_rejected: None,
            generation: 1,
            last_apply_us: 0,
            applies: 1,
            repairs: 0,
            apply_error: None,
            late_rounds: 0,
            apply_times: mwan_api::Durations::default(),
        },
        degraded: true,
        problems: vec!["not for mwan3's readers".into()],
        interfaces,
        policies,
        connected: Networks { ipv4: networks(text, "ipv4"), ipv6: networks(text, "ipv6") },
        custom: Networks { ipv4: Vec::new(), ipv6: Vec::new() },
        rules,
        diagnostics: Vec::new(),
    }
}

/// The manual's status; of its last line the editor took trailing blanks.
#[test]
fn status_is_the_manuals() {
    let online = |name, since, uptime| interface(name, vec![path("ipv4", true, "active", since, uptime)]);
    let s = |h: u64, m: u64, s: u64| h * 3600 + m * 60 + s;
    let interfaces = vec![
        online("wan", 54, s(71, 53, 14)),
        online("wan6", 54, s(71, 51, 35)),
        online("wanb", 54, s(71, 53, 15)),
        online("wanb6", 54, s(71, 53, 11)),
    ];
    let one = |name, v4: &'static str, v6: &'static str| policy(name, &[(v4, 1)], &[(v6, 1)]);
    let policies = vec![
        one("wan_only", "wan", "wan6"),
        one("wanb_only", "wanb", "wanb6"),
        one("wan_wanb", "wan", "wan6"),
        one("wanb_wan", "wanb", "wanb6"),
    ];
    let https = "multiport dports 443 ";
    let rules = vec![
        rule("ipv4", Some("https"), "wan_wanb", (11, 851), "tcp", https),
        rule("ipv4", None, "wan_wanb", (72, 12381), "all", ""),
        rule("ipv6", Some("https"), "wan_wanb", (14, 1120), "tcp", https),
        rule("ipv6", None, "wan_wanb", (2, 184), "all", ""),
    ];
    let status = status_of(interfaces, policies, WIKI, rules);
    let text = super::text(Package::Mwan3, &status, Look::Whole);
    assert_eq!(text.trim_end(), WIKI.trim_end());
    assert!(text.ends_with("::/0                 \n\n"), "columns and an empty line");
}

/// A recording of mwan3: everything but the interface lines, which are the manuals' older ones.
#[test]
fn status_is_the_recordings() {
    let up = |name| interface(name, vec![path("ipv4", true, "active", 11, 84)]);
    let policies = vec![
        policy("wan_only", &[("wan", 3)], &[]),
        policy("wanb_only", &[("wanb", 2)], &[]),
        policy("balanced", &[("wan", 3), ("wanb", 2)], &[]),
        policy("wan_wanb", &[("wan", 3)], &[]),
        policy("wanb_wan", &[("wanb", 2)], &[]),
    ];
    let status = status_of(vec![up("wan"), up("wanb")], policies, STATUS, Vec::new());
    let text = super::text(Package::Mwan3, &status, Look::Whole);
    let without = |text: &str| -> String {
        text.lines().filter(|l| !l.starts_with(" interface")).map(|l| format!("{l}\n")).collect()
    };
    assert_eq!(without(&text), without(STATUS));
    assert_eq!(without(&super::text(Package::Mwan3, &status, Look::Interfaces)), without(INTERFACES));
    assert_eq!(super::text(Package::Mwan3, &status, Look::Rules), RULES);
    let line = " interface wan is online 00h:00m:11s, uptime 00h:01m:24s and tracking is active\n";
    assert!(text.contains(line), "{text}");
}

/// The cloud guide shows the words only: its editor took the blanks at the line ends and made every line a paragraph.
#[test]
fn status_is_the_cloud_guides() {
    let s = |m: u64, s: u64| m * 60 + s;
    let mut down = path("ipv4", false, "down", 0, 0);
    down.missing = 0;
    let interfaces = vec![
        interface("eth1", vec![path("ipv4", true, "active", s(25, 17), s(25, 24))]),
        interface("eth0", vec![path("ipv4", true, "active", s(25, 25), s(25, 37))]),
        interface("wlm0", vec![down]),
    ];
    let policies = vec![
        policy("LOAD_BALANCE", &[("eth1", 2), ("eth0", 2)], &[]),
        policy("FAIL_OVER", &[("eth1", 2)], &[]),
    ];
    let plain: Vec<String> = CLOUD
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect();
    let nets = |from: &str, to: &str| -> Vec<String> {
        let rest = plain.iter().skip_while(|l| !l.starts_with(from)).skip(1);
        rest.take_while(|l| !l.starts_with(to)).cloned().collect()
    };
    let https = "multiport dports 443 ";
    let rules = vec![
        rule("ipv4", Some("DEFAULT_HTTPS"), "LOAD_BALANCE", (185, 11100), "tcp", https),
        rule("ipv4", None, "LOAD_BALANCE", (163, 12612), "all", ""),
    ];
    let mut status = status_of(interfaces, policies, STATUS, rules);
    status.connected = Networks {
        ipv4: nets("Directly connected ipv4", "Directly connected ipv6"),
        ipv6: nets("Directly connected ipv6", "Active ipv4"),
    };
    let ours: Vec<String> = super::text(Package::Mwan3, &status, Look::Whole)
        .lines()
        .map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|l| !l.is_empty())
        .collect();
    assert_eq!(ours, plain);
}

#[test]
fn mwan4_names_families_and_strategies() {
    let paths = vec![path("ipv4", true, "active", 1, 2)];
    let status = status_of(vec![interface("wan", paths)], vec![policy("a", &[], &[])], STATUS, Vec::new());
    let text = super::text(Package::Mwan4, &status, Look::Whole);
    assert!(text.contains(" interface wan (ipv4) is online 00h:00m:01s, uptime 00h:00m:02s"), "{text}");
    assert!(
        text.contains("\nCurrent ipv4 strategies:\na:\n unreachable\n\nCurrent ipv6 strategies:\n"),
        "{text}"
    );
}
