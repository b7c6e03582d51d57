//! Which events are one incident, and what is said of it.
#![allow(clippy::unwrap_used)]

mod world;

use mwan_alerts::*;
use mwan_api::{EventKind, Severity as Weight};
use world::*;

#[test]
fn one_message_with_cause_and_what_moved_and_one_when_it_is_over() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan").at(11, switch("balanced", "wan", "wanb")).at(11, switch("https", "wan", "wanb"));
    w.until(100);
    assert_eq!(w.titles(), ["40 mail: wan (IPv4) is down"]);
    assert_eq!(
        w.sent[0].words.text,
        "Since:    2026-11-26 12:00:10 +00:00\nSo far:   30 s\nCause:\n  wan, IPv4: because of probes_lost [probes_lost]\n\
         Moved:\n  balanced and https, IPv4: wan -> wanb\n\nReported by mwan on router.\n"
    );
    w.up(262, "wan").at(263, switch("balanced", "wanb", "wan")).at(263, switch("https", "wanb", "wan"));
    w.until(5000);
    assert_eq!(w.titles()[1..], ["292 mail: wan (IPv4) is up again after 4 min 12 s"]);
    assert!(
        w.sent[1].words.text.contains("balanced and https, IPv4: back on wan"),
        "{}",
        w.sent[1].words.text
    );
    assert!(w.sent[1].words.text.contains("Over:     2026-11-26 12:04:22"));
}

/// A move that is heard of first waits for its incident, whatever is noted or tested meanwhile.
#[test]
fn what_moved_before_the_loss_is_told_with_it() {
    let mut w = World::new(vec![channel("mail")]);
    w.at(9, switch("balanced", "wan", "wanb")).at(9, event(EventKind::Command, Weight::Info, "a command"));
    w.engine.test(w.now(), "mail", 1);
    w.down(10, "wan").until(60);
    let text = &w.sent.last().unwrap().words.text;
    assert!(text.contains("balanced, IPv4: wan -> wanb"), "{text}");
}

#[test]
fn a_short_renewal_alerts_nobody() {
    let mut w = World::new(vec![channel("mail")]);
    w.at(10, path("wan", "ipv4", "offline", "no_address")).up(13, "wan");
    w.until(100_000);
    assert_eq!(w.titles(), Vec::<String>::new());
    assert_eq!(w.engine.incidents(), [], "and it is forgotten");
}

/// Cause first seen, cause next, what is said.
#[test]
fn a_deeper_cause_hides_what_follows_from_it() {
    for (first, next, said) in [
        ("probes_lost", "no_gateway", "no_gateway"),
        ("no_gateway", "probes_lost", "no_gateway"),
        ("no_address", "no_carrier", "no_carrier"),
        ("no_carrier", "no_device", "no_device"),
        ("probes_lost", "recovering", "probes_lost"),
        ("probes_lost", "something_new", "probes_lost"),
        ("something_new", "probes_lost", "probes_lost"),
    ] {
        let mut w = World::new(vec![channel("mail")]);
        w.at(10, path("wan", "ipv4", "offline", first)).at(12, path("wan", "ipv4", "offline", next));
        w.until(60);
        let text = &w.sent[0].words.text;
        assert!(text.contains(&format!("[{said}]")), "{first} {next}: {text}");
        assert_eq!(text.matches('[').count(), 1, "{text}");
    }
    // What is of the device is of both families.
    let mut w = World::new(vec![channel("mail")]);
    w.at(10, path("wan", "ipv6", "offline", "no_address"))
        .at(11, path("wan", "ipv4", "offline", "no_carrier"));
    w.until(60);
    assert_eq!(w.titles(), ["40 mail: wan (IPv4 and IPv6) is down"]);
    assert!(!w.sent[0].words.text.contains("no_address"), "{}", w.sent[0].words.text);
}

#[test]
fn wans_and_policies_that_go_together_are_one_message() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan").at(11, switch("balanced", "wan+wanb", "wanb")).down(15, "wanb");
    w.at(16, switch("balanced", "wanb", "unreachable"))
        .down(17, "lte")
        .at(17, switch("other", "lte", "default"));
    w.until(3000);
    assert_eq!(
        w.titles(),
        ["40 mail: no WAN is left for balanced and other; wan (IPv4), wanb (IPv4) and lte (IPv4) are down"]
    );
    assert_eq!(w.sent[0].words.severity, Severity::Critical);
    w.up(3000, "wan")
        .at(3001, switch("balanced", "unreachable", "wan"))
        .at(3001, switch("other", "default", "lte"));
    w.up(3002, "wanb").up(3003, "lte");
    w.until(9000);
    assert_eq!(w.sent.len(), 2, "{:?}", w.titles());
    assert!(w.titles()[1].contains("there is a WAN again for balanced and other"), "{:?}", w.titles());
}

/// mwan3's configurations have policies as `wan_only` that no rule leads to.
#[test]
fn a_policy_that_no_rule_leads_to_moves_nothing() {
    let mut w = World::new(vec![channel("mail")]);
    let unused = mwan_api::Event { severity: Weight::Debug, ..switch("wan_only", "wan", "unreachable") };
    w.down(10, "wan").at(11, unused).at(11, switch("balanced", "wan+wanb", "wanb"));
    w.until(60);
    assert_eq!(w.titles(), ["40 mail: wan (IPv4) is down"]);
    assert!(!w.sent[0].words.text.contains("wan_only"), "{}", w.sent[0].words.text);
}

#[test]
fn what_comes_later_is_another_incident_and_worse_is_told() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan").down(500, "wanb").at(501, switch("balanced", "wanb", "unreachable"));
    w.until(600);
    assert_eq!(
        w.titles(),
        ["40 mail: wan (IPv4) is down", "530 mail: no WAN is left for balanced; wanb (IPv4) is down"]
    );
    // The other family of an interface that is known to be lost: nothing new, unless nothing is left.
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan").at(500, path("wan", "ipv6", "offline", "probes_lost"));
    w.until(600);
    assert_eq!(w.sent.len(), 1);
    w.at(700, switch("balanced", "wan", "unreachable"));
    w.until(800);
    assert_eq!(w.sent.len(), 2);
    assert_eq!((w.sent[1].at_s, w.sent[1].words.severity), (700, Severity::Critical));
}

#[test]
fn a_flapping_link_is_one_incident_however_it_flaps() {
    for (down_s, up_s) in [(5, 15), (40, 20), (1, 1), (100, 29)] {
        let mut w = World::new(vec![channel("mail")]);
        let mut at = 10;
        for _ in 0..50 {
            w.down(at, "wan").at(at, switch("p", "wan", "wanb"));
            w.up(at + down_s, "wan").at(at + down_s, switch("p", "wanb", "wan"));
            at += down_s + up_s;
        }
        w.until(at + 5000);
        assert_eq!(w.sent.len(), 2, "{down_s} {up_s}: {:#?}", w.titles());
        assert!(w.titles()[1].contains("up again"), "{:?}", w.titles());
        assert_eq!(w.engine.incidents(), []);
    }
}

/// One that was over and comes again within ten minutes is the same incident, and told of once more.
#[test]
fn slow_flapping_is_told_twice_at_most() {
    let mut w = World::new(vec![channel("mail")]);
    for n in 0..20 {
        w.down(300 * n, "wan").up(300 * n + 60, "wan");
    }
    w.until(20_000);
    let titles = w.titles();
    assert_eq!(titles.len(), 4, "{titles:#?}");
    assert_eq!(
        titles[..2],
        ["30 mail: wan (IPv4) is down", "90 mail: wan (IPv4) is up again after 1 min 0 s"]
    );
    assert_eq!(titles[2], "330 mail: wan is unstable, lost 2 times");
    assert!(titles[3].starts_with("6360 mail: wan (IPv4) is up again after 1 h 36 min"), "{titles:?}");
}

#[test]
fn what_the_owner_wants_is_no_incident() {
    let mut w = World::new(vec![channel("mail")]);
    w.at(10, path("wan", "ipv4", "offline", "taken_down"))
        .at(11, path("wanb", "ipv4", "disabled", "stopped"));
    w.at(12, event(EventKind::Command, Weight::Info, "ifdown wan"));
    w.until(300);
    assert_eq!(w.sent.len(), 0, "{:?}", w.titles());
    // A path without a device is `disabled`, too.
    w.at(400, path("usb", "ipv4", "disabled", "no_device")).until(500);
    assert_eq!(w.titles(), ["430 mail: usb (IPv4) is down"]);
    w.up(500, "usb").until(1000);
    w.sent.clear();
    // Taken down while it is lost: the incident is over.
    w.down(1000, "lte").at(1100, path("lte", "ipv4", "offline", "taken_down"));
    w.until(3000);
    assert_eq!(
        w.titles(),
        ["1030 mail: lte (IPv4) is down", "1130 mail: lte (IPv4) is not watched any more after 1 min 40 s"],
        "nobody is told that it works"
    );
    w.sent.clear();
    // Another one of the same incident comes back.
    w.down(4000, "a").down(4001, "b").at(4100, path("a", "ipv4", "offline", "taken_down")).up(4101, "b");
    w.until(4600);
    assert_eq!(
        w.titles()[1..],
        ["4131 mail: b (IPv4) is up again; a (IPv4) is not watched any more after 1 min 41 s"]
    );
    // It is taken up later, and comes back.
    w.sent.clear();
    w.down(6000, "a").up(6100, "a").until(9000);
    assert_eq!(w.titles()[1..], ["6130 mail: a (IPv4) is up again after 1 min 40 s"]);
}

#[test]
fn notes_go_to_who_wants_them_and_together() {
    let everything = Channel { severity: Threshold::From(Severity::Info), ..channel("log") };
    let mut w = World::new(vec![channel("mail"), everything]);
    w.at(10, event(EventKind::Daemon, Weight::Info, "the daemon has started"));
    for n in 0..5 {
        w.at(11 + n, event(EventKind::Repair, Weight::Warning, &format!("restored {n}")));
    }
    w.until(100);
    assert_eq!(w.titles(), ["40 log: the daemon has started, and 5 more"]);
    w.at(200, event(EventKind::Daemon, Weight::Warning, "stopped"));
    w.until(300);
    assert_eq!(w.titles()[1..], ["230 mail: stopped", "230 log: stopped"]);
}

#[test]
fn kernel_and_configuration_have_incidents() {
    let mut w = World::new(vec![channel("mail")]);
    w.at(10, event(EventKind::Apply, Weight::Error, "the kernel is not as wanted: ENOMEM"));
    w.at(10, event(EventKind::Config, Weight::Warning, "not taken over: x:1"));
    w.until(60);
    assert_eq!(w.titles(), ["40 mail: the kernel is not as wanted; the configuration is refused"]);
    w.at(100, event(EventKind::Apply, Weight::Info, "the kernel is as wanted again"));
    w.at(101, event(EventKind::Config, Weight::Info, "configuration read"));
    w.until(200);
    assert_eq!(w.sent.len(), 2);
    // Somebody is writing at it.
    w.at(210, event(EventKind::Config, Weight::Warning, "not taken over: x:2")).until(300);
    assert_eq!(w.titles()[2..], ["240 mail: the configuration is refused (2 times)"]);
}

#[test]
fn events_that_were_missed_are_made_up_for_by_a_snapshot() {
    let now = |status: &str, code: &str| PathNow {
        interface: "wan".into(),
        family: "ipv4".into(),
        status: status.into(),
        code: code.into(),
        text: "5 of 5 lost".into(),
        age_ms: 20_000,
    };
    let mut w = World::new(vec![channel("mail")]);
    w.until(100);
    let lost = Snapshot { paths: vec![now("offline", "probes_lost")], ..Snapshot::default() };
    w.engine.snapshot(w.now(), &lost);
    w.until(105);
    w.engine.snapshot(w.now(), &lost);
    w.until(200);
    assert_eq!(w.titles(), ["110 mail: wan (IPv4) is down"]);
    assert!(w.sent[0].words.text.contains("12:01:20"), "since it was lost, not since we know");
    // It is gone from the configuration: nothing is wrong with it any more.
    w.engine.snapshot(w.now(), &Snapshot::default());
    w.until(300);
    assert_eq!(w.titles()[1..], ["230 mail: wan (IPv4) is not watched any more after 2 min 0 s"]);
    w.engine.snapshot(w.now(), &Snapshot { apply_error: Some("ENOMEM".into()), ..Snapshot::default() });
    w.until(400);
    w.engine.snapshot(
        w.now(),
        &Snapshot { without_wan: vec![("p".into(), "ipv6".into())], ..Snapshot::default() },
    );
    w.until(500);
    assert_eq!(
        w.titles()[2..],
        [
            "330 mail: the kernel is not as wanted",
            "430 mail: the kernel is as wanted again after 1 min 40 s",
            "430 mail: no WAN is left for p"
        ]
    );
    let p = || vec![("p".into(), "ipv6".into())];
    w.engine.snapshot(w.now(), &Snapshot { with_wan: p(), ..Snapshot::default() });
    w.until(600);
    w.engine.snapshot(w.now(), &Snapshot { without_wan: p(), ..Snapshot::default() });
    w.until(700);
    w.engine.snapshot(w.now(), &Snapshot::default());
    w.until(5000);
    assert_eq!(
        w.titles()[5..],
        [
            "530 mail: there is a WAN again for p after 1 min 40 s",
            "630 mail: no WAN is left for p (2 times)",
            "1300 mail: no WAN is wanted any more for p after 5 min 0 s"
        ]
    );
}

#[test]
fn an_event_counts_once() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan");
    let before = w.engine.save();
    let again = mwan_api::Event { id: 1, ..path("other", "ipv4", "offline", "probes_lost") };
    w.engine.event(w.now(), &again);
    assert_eq!(w.engine.save(), before);
    w.engine.newest_event(0);
    w.engine.event(w.now(), &again);
    assert_ne!(w.engine.save(), before, "a daemon that counts anew is heard");
}

#[test]
fn a_clock_that_is_set_changes_no_duration() {
    let mut w = World::new(vec![channel("mail")]);
    w.down(10, "wan");
    w.until(20);
    // A router without a battery learns the time.
    let years = 86_400 * 365 * 30;
    w.now_ms += years * 1000;
    w.engine.clock_set(i64::try_from(years * 1000).unwrap());
    w.until(years + 39);
    assert_eq!(w.sent.len(), 0, "only 29 seconds have passed");
    w.until(years + 40);
    assert!(w.sent[0].words.text.contains("So far:   30 s"), "{}", w.sent[0].words.text);
}

#[test]
fn texts_from_outside_are_bounded_and_on_one_line() {
    let mut w = World::new(vec![channel("mail")]);
    let long = format!("{}\u{1b}[2J\r\nBcc: x@y\n{}", "ü".repeat(300), "z".repeat(5000));
    let evil = mwan_api::Event { text: long, ..path("w\r\nan", "ipv4", "offline", "probes_lost") };
    w.at(10, evil);
    w.until(60);
    let words = &w.sent[0].words;
    assert!(!words.title.contains(['\r', '\n', '\u{1b}']), "{}", words.title);
    assert!(!words.text.contains(['\r', '\u{1b}']) && words.text.len() < 2000, "{}", words.text);
}

/// A policy has lost its WANs only where it had one: IPv6 of a site without IPv6 is no incident.
#[test]
fn a_policy_without_a_path_of_the_family_has_nothing_to_lose() {
    let carrier = serde_json::json!({
        "members": [], "last_resort": "unreachable", "counters": [{"interface": "wan", "packets": 0, "bytes": 0}],
    });
    let path = |code: &str| {
        serde_json::json!({
            "family": "ipv4", "status": "offline", "usable": false, "carries": false, "reason": {"code": code, "text": "why"},
            "since_s": 7, "uptime_s": 0, "tracking": "active", "score": 0, "lost": 3, "rounds": 1, "age_s": 1, "hold": null, "source": null,
            "gateway": null, "worst_case_detection_ms": null, "missing": 0, "targets": [], "network": null,
        })
    };
    let rule = |family: &str| {
        serde_json::json!({
            "name": "all", "family": family, "target": "p", "sticky": false, "packets": 0, "bytes": 0, "protocol": "all", "source": "",
            "destination": "", "more": "",
        })
    };
    let with_rules = |code: &str, rules: &[serde_json::Value]| -> mwan_api::Status {
        serde_json::from_value(serde_json::json!({
            "schema": "mwan.status.v1", "degraded": false, "problems": [], "rules": rules, "diagnostics": [],
            "daemon": {"version": "", "pid": 1, "uptime_s": 0, "config": "", "config_rejected": null, "generation": 1, "last_apply_us": 1,
                       "applies": 1, "repairs": 0, "apply_error": null, "late_rounds": 0},
            "interfaces": [{"name": "wan", "device": "eth1", "enabled": true, "id": 1, "mark": "0x100", "paths": [path(code)]}],
            "policies": [{"name": "p", "ipv4": carrier, "ipv6": carrier}],
            "connected": {"ipv4": [], "ipv6": []}, "custom": {"ipv4": [], "ipv6": []},
        }))
        .unwrap()
    };
    let status = |code: &str| with_rules(code, &[rule("ipv4"), rule("ipv6")]);
    let lost = Snapshot::from(&status("probes_lost"));
    assert_eq!(lost.without_wan, [("p".to_owned(), "ipv4".to_owned())]);
    assert_eq!((lost.paths[0].code.as_str(), lost.paths[0].age_ms), ("probes_lost", 7000));
    assert_eq!(Snapshot::from(&status("taken_down")).without_wan, [], "the owner wants it so");
    let unused = Snapshot::from(&with_rules("probes_lost", &[rule("ipv6")]));
    assert_eq!(unused.without_wan, [], "no rule of IPv4 leads to it");
    let mut carried = status("answering");
    carried.policies[0].ipv4.last_resort = None;
    assert_eq!(Snapshot::from(&carried).with_wan, [("p".to_owned(), "ipv4".to_owned())]);
}
