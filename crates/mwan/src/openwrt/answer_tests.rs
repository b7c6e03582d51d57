//! Field by field what the real mwan3 answered.
#![allow(clippy::unwrap_used)]

use super::*;
use mwan_ubus::Stream;

/// The three answers of the recording: all, policies, interfaces of wan.
fn recorded() -> Vec<Table> {
    let text = include_str!("../../../ubus/tests/wire/object-server.hex");
    let mut stream = Stream::default();
    for hex in text.lines().filter(|l| l.contains("C>S")).map(|l| l.split(' ').nth(2).unwrap()) {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        stream.push(&(0..hex.len()).step_by(2).map(byte).collect::<Vec<u8>>());
    }
    let all = std::iter::from_fn(|| stream.next().unwrap());
    all.filter_map(|m| m.data().cloned()).collect()
}

fn target(ip: &str, status: &str) -> api::Target {
    // Written as on the wire, where fields may be added.
    serde_json::from_value(serde_json::json!({
        "ip": ip, "status": status, "rtt_us": 1200, "sent": 9, "received": 8, "error": null,
        "method": "ping", "target": ip, "latency_ms": null, "loss_percent": 0
    }))
    .unwrap()
}

fn path(family: &str) -> api::Path {
    let targets = ["1.0.0.1", "1.1.1.1"].map(|ip| target(ip, "up")).into();
    api::Path {
        fault: None,
        family: family.into(),
        status: "online".into(),
        usable: true,
        carries: true,
        drained: false,
        reason: api::Reason { code: "answering".into(), text: "targets answer".into() },
        since_s: 6,
        uptime_s: 79,
        tracking: "active".into(),
        score: 10,
        lost: 0,
        rounds: 1,
        judged_round: 1,
        good_round: 1,
        age_s: 6,
        hold: None,
        source: None,
        gateway: None,
        worst_case_detection_ms: None,
        check_quality: false,
        quality: None,
        missing: 0,
        targets,
        network: None,
    }
}

fn carrier(members: &[(&str, u32)]) -> api::Carrier {
    let member = |(name, percent): &(&str, u32)| api::Member {
        interface: (*name).into(),
        percent: *percent,
        weight: 1,
    };
    let counter = |name: &str| api::MemberCounter { interface: name.into(), packets: 0, bytes: 0 };
    api::Carrier {
        members: members.iter().map(member).collect(),
        last_resort: None,
        counters: vec![counter("wan"), counter("wanb")],
        switches: 0,
    }
}

fn example() -> api::Status {
    let interface = |name: &str, paths| api::Interface {
        name: name.into(),
        device: "eth1".into(),
        enabled: true,
        id: 1,
        mark: "0x100".into(),
        paths,
    };
    let policy = |name: &str, members: &[(&str, u32)]| api::Policy {
        name: name.into(),
        ipv4: carrier(members),
        ipv6: carrier(&[]),
    };
    let networks = api::Networks {
        ipv4: vec!["192.168.1.0/24".into(), "10.10.2.2/32".into()],
        ipv6: vec!["fe80::/64".into(), "fe80::1/128".into()],
    };
    api::Status {
        drill: None,
        red: None,
        schema: String::new(),
        daemon: serde_json::from_value(serde_json::json!({
            "version": "", "pid": 1, "uptime_s": 1, "config": "", "config_rejected": null, "generation": 1,
            "last_apply_us": 1, "applies": 1, "repairs": 0, "apply_error": null, "late_rounds": 0
        }))
        .unwrap(),
        degraded: false,
        problems: Vec::new(),
        interfaces: vec![interface("wan", vec![path("ipv4")]), interface("wanb", vec![path("ipv4")])],
        policies: vec![policy("balanced", &[("wan", 60), ("wanb", 40)]), policy("down", &[])],
        connected: networks,
        custom: api::Networks { ipv4: Vec::new(), ipv6: Vec::new() },
        rules: Vec::new(),
        diagnostics: Vec::new(),
    }
}

/// Names in order and types of a table, of a list by its first item.
fn shape(value: &Value) -> String {
    match value {
        Value::Table(t) => {
            let each: Vec<String> =
                t.0.iter().map(|(name, value)| format!("{name}: {}", shape(value))).collect();
            format!("{{{}}}", each.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.first().map(shape).unwrap_or_default()),
        Value::Text(_) => "text".into(),
        Value::Int8(_) => "bool".into(),
        Value::Int32(_) => "int".into(),
        other => panic!("{other:?}"),
    }
}

fn shape_of(table: &Table, path: &[&str]) -> String {
    let value = path.iter().fold(Value::Table(table.clone()), |value, name| {
        value.as_table().unwrap().get(name).unwrap_or_else(|| panic!("no {name}")).clone()
    });
    shape(&value)
}

fn ask(arguments: Table) -> Table {
    status("mwan3", &arguments, &example()).unwrap()
}

fn sections(table: &Table) -> Vec<&str> {
    table.0.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn every_field_has_name_place_and_type_of_the_real_one() {
    let [all, policies, wan] = <[Table; 3]>::try_from(recorded()).unwrap();
    let ours = ask(Table::new());
    assert_eq!(sections(&ours), sections(&all));
    for path in [
        &["interfaces", "wan"][..],
        &["interfaces", "wanb"],
        &["connected"],
        &["policies", "ipv4", "balanced"],
        &["policies", "ipv6"],
    ] {
        assert_eq!(shape_of(&ours, path), shape_of(&all, path), "{path:?}");
    }
    let ours = ask(Table::new().with("section", "policies"));
    assert_eq!(sections(&ours), sections(&policies));
    let ours = ask(Table::new().with("section", "interfaces").with("interface", "wan"));
    assert_eq!(sections(&ours), sections(&wan));
    assert_eq!(sections(ours.get("interfaces").unwrap().as_table().unwrap()), ["wan"]);
    // And where both were online for as long, the same values: all but the targets.
    let values = |t: &Table| {
        let wan = t.get("interfaces").unwrap().as_table().unwrap().get("wan").unwrap().clone();
        let mut fields = wan.as_table().unwrap().clone();
        fields.0.retain(|(name, _)| name != "track_ip");
        fields
    };
    assert_eq!(values(&ours), values(&wan));
}

#[test]
fn sections_and_interfaces_are_those_asked_for() {
    let sections_of = |arguments| sections(&ask(arguments)).join(" ");
    let all = "interfaces connected policies";
    for (arguments, expected) in [
        (Table::new().with("section", "connected"), "connected"),
        (Table::new().with("section", "interfaces"), "interfaces"),
        (Table::new().with("section", ""), all),
        // mwan3 answers everything to what it does not know.
        (Table::new().with("section", "nonsense"), all),
        (Table::new().with("section", "strategies"), all),
    ] {
        assert_eq!(sections_of(arguments), expected);
    }
    let none = ask(Table::new().with("section", "interfaces").with("interface", "none"));
    assert_eq!(none, Table::new().with("interfaces", Table::new()));
    for name in ["section", "interface"] {
        for wrong in [Value::Int32(1), Value::Array(Vec::new()), Value::Text(vec![0xff])] {
            let arguments = Table::new().with(name, wrong);
            assert_eq!(status("mwan3", &arguments, &example()), Err(Status::InvalidArgument));
        }
    }
    let arguments = Table::new().with("section", "strategies");
    let ours = status("mwan4", &arguments, &example()).unwrap();
    assert_eq!(sections(&ours), ["strategies"]);
}

#[test]
fn connected_networks_and_policies_read_as_mwan3_writes_them() {
    let ours = ask(Table::new());
    let connected = ours.get("connected").unwrap().as_table().unwrap();
    let texts =
        |name: &str| connected.array(name).iter().map(|v| v.as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(texts("ipv4"), ["192.168.1.0/24", "10.10.2.2"]);
    assert_eq!(texts("ipv6"), ["fe80::/64", "fe80::1"]);
    let v4 =
        ours.get("policies").unwrap().as_table().unwrap().get("ipv4").unwrap().as_table().unwrap().clone();
    assert_eq!(v4.array("down"), [], "a policy nobody carries is there, and empty");
    assert_eq!(v4.array("balanced").len(), 2);
}

#[test]
fn a_path_that_is_down_counts_the_other_clock_and_the_better_family_speaks() {
    let mut status_now = example();
    let wan = &mut status_now.interfaces[0];
    wan.paths[0] = api::Path { usable: false, status: "offline".into(), score: 0, ..path("ipv4") };
    wan.paths[0].targets = vec![target("1.1.1.1", "down")];
    let one = |status_now: &api::Status| {
        let t = status("mwan", &Table::new(), status_now).unwrap();
        t.get("interfaces").unwrap().as_table().unwrap().get("wan").unwrap().as_table().unwrap().clone()
    };
    let down = one(&status_now);
    assert_eq!((down.get("online"), down.get("offline")), (Some(&Value::Int32(0)), Some(&Value::Int32(6))));
    assert_eq!(down.str("status"), Some("offline"));

    status_now.interfaces[0].paths.push(path("ipv6"));
    let dual = one(&status_now);
    assert_eq!(dual.str("status"), Some("online"));
    assert_eq!(dual.array("track_ip").len(), 3);

    status_now.interfaces[0].paths.clear();
    status_now.interfaces[0].enabled = false;
    let off = one(&status_now);
    assert_eq!((off.str("status"), off.str("tracking")), (Some("unknown"), Some("disabled")));
    assert_eq!((off.get("enabled"), off.get("running")), (Some(&Value::Int8(0)), Some(&Value::Int8(0))));
}

#[test]
fn latency_and_loss_are_what_quality_is_judged_by_and_0_without_it() {
    let figures = |check_quality, latency_ms, loss_percent| {
        let target = api::Target { latency_ms, loss_percent, ..target("1.1.1.1", "up") };
        let answer = super::target(&target, check_quality);
        let number = |name| match answer.get(name) {
            Some(Value::Int32(number)) => *number,
            other => panic!("{name}: {other:?}"),
        };
        (number("latency"), number("packetloss"))
    };
    assert_eq!(figures(true, Some(23), 15), (23, 15));
    assert_eq!(figures(true, None, 100), (999_999, 100), "mwan3's figures of a target that does not answer");
    assert_eq!(figures(true, None, 0), (0, 0), "not asked yet");
    assert_eq!(figures(false, Some(23), 15), (0, 0));
    assert_eq!(figures(false, None, 100), (0, 0));
}
