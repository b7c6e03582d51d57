#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use super::*;
use mwan_config::link::{Auth, Login};

fn places() -> Places {
    Places {
        run_dir: "/run/mwan/dial".into(),
        chat: "/usr/sbin/chat".into(),
        pptp: "/usr/sbin/pptp".into(),
        dhcp: Dhcp::Dhcpcd,
    }
}

const SECRETS: [&str; 3] = ["xyzzy \"plugh\\", "0815", "hunter2"];

fn login() -> Login {
    Login { user: "me@isp".into(), password: Secret::new(SECRETS[0]), auth: Auth::Chap }
}

fn link(method: Method, device: &str, lower: Option<Lower>) -> Link {
    let base = match &lower {
        Some(Lower::AtmBridge(_)) => "nas0",
        _ => device,
    };
    let session_device = if method.makes_a_device() { "ppp10" } else { base }.to_owned();
    Link {
        name: "backup".into(),
        device: device.into(),
        lower,
        method,
        session_device,
        on_demand: true,
        mtu: Some(1400),
        mac: Some("02:00:00:00:00:01".into()),
    }
}

fn every() -> Vec<Link> {
    let bridge = AtmBridge { interface: 0, vpi: 1, vci: 32, encapsulation: Encapsulation::VcMux };
    let pppoe =
        || Method::Pppoe { service: Some("a b".into()), concentrator: Some("ac".into()), login: login() };
    let dhcp = || Method::Dhcp { hostname: Some("fire".into()) };
    vec![
        link(
            Method::Static {
                addresses: vec!["192.0.2.2/24".parse().unwrap()],
                gateways: vec!["192.0.2.1".parse().unwrap()],
                dns: Vec::new(),
            },
            "eth1",
            None,
        ),
        link(dhcp(), "eth1", None),
        link(dhcp(), "", Some(Lower::AtmBridge(bridge))),
        link(pppoe(), "eth1", None),
        link(pppoe(), "eth1", Some(Lower::Vlan(7))),
        link(
            Method::Pptp {
                server: "10.0.0.138".parse().unwrap(),
                address: Some("10.0.0.140/24".parse().unwrap()),
                via: Some("10.0.0.1".parse().unwrap()),
                login: login(),
            },
            "eth1",
            None,
        ),
        Link {
            mac: None,
            ..link(
                Method::Modem {
                    speed: 115_200,
                    apn: "internet".into(),
                    number: "*99#".into(),
                    pin: Some(Secret::new(SECRETS[1])),
                    login: Some(Login { password: Secret::new(SECRETS[2]), ..login() }),
                },
                "/dev/ttyUSB0",
                None,
            )
        },
        link(Method::Qmi { control: None, apn: "internet".into(), pin: None, login: None }, "wwan0", None),
        link(
            Method::Qmi {
                control: Some("/dev/cdc-wdm1".into()),
                apn: "internet".into(),
                pin: Some(Secret::new(SECRETS[1])),
                login: Some(Login { password: Secret::new(SECRETS[2]), ..login() }),
            },
            "wwan0",
            None,
        ),
    ]
}

/// The plans as a person reads them; what is secret is shown, this is a test.
fn text(plan: &Plan) -> String {
    let step = |step: &Step| match step {
        Step::Write { path, content } => {
            let lines: String = content.reveal().lines().map(|l| format!("      {l}\n")).collect();
            format!("  write {path}\n{lines}")
        }
        Step::Set { path, value } => format!("  set {path} {value}\n"),
        Step::Remove { path } => format!("  remove {path}\n"),
        Step::Run { argv, may_fail } => format!("  {}{argv:?}\n", if *may_fail { "try " } else { "run " }),
        Step::Make { argv, undo } => format!("  make {argv:?}\n    undone by {undo:?}\n"),
        Step::Await { device } => format!("  await {device}\n"),
        Step::Qmi { control, setup } => format!("  tell {control} {setup:?}\n"),
        Step::Spawn { argv } => format!("  spawn {argv:?}\n"),
    };
    let list = |steps: &[Step]| steps.iter().map(step).collect::<String>();
    format!(
        "up, within {} s, until {:?}\n{}{}{}then\n{}down\n{}",
        plan.limit.as_secs(),
        plan.ready,
        list(&plan.up),
        if plan.unlock.is_empty() { "" } else { "if the SIM asks\n" },
        list(&plan.unlock),
        list(&plan.then),
        list(&plan.down)
    )
}

#[test]
fn plans_are_what_a_person_has_read() {
    let all: String = every()
        .iter()
        .flat_map(|link| {
            [Role::Carry, Role::Trial].map(|role| {
                format!(
                    "=== {} {:?} {role:?}\n{}",
                    link.method.word(),
                    link.lower,
                    text(&plan(link, role, &places()))
                )
            })
        })
        .collect();
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/drivers/plans.txt");
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    if update {
        std::fs::write(&path, &all).unwrap();
    }
    let golden = std::fs::read_to_string(&path).unwrap();
    assert!(golden == all, "UPDATE_GOLDEN=1 cargo test -p mwan-dial if this is right:\n{all}");
}

#[test]
fn no_two_leases_have_one_metric() {
    let metrics: std::collections::BTreeSet<u32> =
        (0..60).map(|n| lease_metric(&format!("red{n}"))).collect();
    assert_eq!(metrics.len(), 60, "as many REDs as there may be");
    assert!(metrics.iter().all(|metric| *metric > 20_000));
}

#[test]
fn udhcpc_is_called_with_our_program_for_its_script_and_undone_by_it() {
    let places = Places { dhcp: Dhcp::Udhcpc { script: "/run/mwan/dial/mwan-lease".into() }, ..places() };
    let plan = text(&plan(&every()[1], Role::Carry, &places));
    let call = r#"spawn ["udhcpc", "-f", "-R", "-S", "-t", "5", "-A", "5", "-s", "/run/mwan/dial/mwan-lease", "-i", "eth1", "-x", "hostname:fire"]"#;
    assert!(plan.contains(call), "{plan}");
    assert!(
        plan.ends_with("down\n  try [\"/run/mwan/dial/mwan-lease\", \"deconfig\", \"eth1\"]\n"),
        "{plan}"
    );
}

#[test]
fn no_secret_is_an_argument_and_none_is_printed() {
    for link in every() {
        for role in [Role::Carry, Role::Trial] {
            let plan = plan(&link, role, &places());
            let printed = format!("{plan:?}{link:?}");
            for secret in SECRETS {
                assert!(!printed.contains(secret) && !printed.contains("xyzzy"), "{printed}");
            }
        }
    }
}

#[test]
fn what_is_written_is_removed_and_what_is_on_trial_touches_nothing_of_the_other() {
    for link in every() {
        let written = |role| {
            let plan = plan(&link, role, &places());
            let paths = |steps: &[Step]| -> Vec<String> {
                let path = |s: &Step| match s {
                    Step::Write { path, .. } | Step::Remove { path } => Some(path.clone()),
                    _ => None,
                };
                steps.iter().filter_map(path).collect()
            };
            let written: Vec<String> = paths(&plan.up);
            for path in &written {
                assert!(
                    paths(&plan.down).contains(path) || plan.report.as_ref() == Some(path),
                    "{path} stays"
                );
            }
            written
        };
        let (carry, trial) = (written(Role::Carry), written(Role::Trial));
        assert!(carry.iter().all(|path| !trial.contains(path)), "{carry:?} {trial:?}");
    }
}

#[test]
fn text_of_the_owner_cannot_end_its_quotes() {
    let plan = plan(&every()[3], Role::Carry, &places());
    let content = plan.up.iter().find_map(|s| match s {
        Step::Write { content, .. } => Some(content.reveal()),
        _ => None,
    });
    assert!(content.unwrap().contains("password \"xyzzy \\\"plugh\\\\\"\n"), "{content:?}");
}

#[test]
fn a_modem_tells_its_address() {
    let said = "[/dev/cdc-wdm0] Current settings retrieved:\n           IP Family: IPv4\n        IPv4 address: 10.64.3.7\n    IPv4 subnet mask: 255.255.255.240\nIPv4 gateway address: 10.64.3.8\n    IPv4 primary DNS: 9.9.9.9\n  IPv4 secondary DNS: 149.112.112.112\n                 MTU: 1430\n             Domains: none\n";
    let (steps, connection) = qmi_settings("wwan0", said, &[]).unwrap();
    assert_eq!(connection.gateways, ["10.64.3.8".parse::<IpAddr>().unwrap()]);
    assert_eq!(connection.dns.len(), 2);
    let all = format!("{steps:?}");
    assert!(all.contains("10.64.3.7/28") && all.contains("1430"), "{all}");
    let of_addresses = |has: &[&str]| -> Vec<String> {
        let has: Vec<IpNet> = has.iter().map(|net| net.parse().unwrap()).collect();
        let (steps, _) = qmi_settings("wwan0", said, &has).unwrap();
        let words = |step: &Step| match step {
            Step::Run { argv, .. } if argv[1] == "address" => Some(argv[2..4].join(" ")),
            _ => None,
        };
        steps.iter().filter_map(words).collect()
    };
    // A session that a process before us left: what is right is not touched.
    assert_eq!(of_addresses(&["10.64.3.7/28"]), [""; 0]);
    assert_eq!(of_addresses(&[]), ["replace 10.64.3.7/28"]);
    let changed = ["replace 10.64.3.7/28", "del 10.64.3.6/28", "replace 10.64.3.7/28"];
    assert_eq!(of_addresses(&["10.64.3.6/28", "fd00::1/64"]), changed);
    assert_eq!(of_addresses(&["10.64.3.7/28", "10.64.3.6/28"]), changed[1..]);
    assert_eq!(qmi_settings("wwan0", "error: couldn't get current settings: OutOfCall", &[]), None);
}

/// The main table's routes decide nothing, but without any the machine's own packets get nowhere near our marks.
#[test]
fn what_carries_has_a_route_in_the_main_table_behind_all_others() {
    let routes = |session: &str, role| {
        let link = Link { session_device: session.into(), ..every().remove(3) };
        text(&plan(&link, role, &places())).split_once("then").unwrap().1.to_owned()
    };
    let own = routes("ppp0", Role::Carry);
    assert!(
        own.contains(r#"["ip", "route", "replace", "default", "dev", "ppp0"]"#),
        "as IPFire's own: {own}"
    );
    let backup = routes("ppp10", Role::Carry);
    assert!(backup.contains(r#""append", "default", "dev", "ppp10", "metric", "20000"]"#), "{backup}");
    assert!(!routes("ppp0", Role::Trial).contains("route"));
    let fixed = text(&plan(&every()[0], Role::Carry, &places()));
    assert!(
        fixed.contains(
            r#""append", "default", "via", "192.0.2.1", "onlink", "dev", "eth1", "metric", "20000"]"#
        )
    );
    let (modem, _) =
        qmi_settings("wwan0", "IPv4 address: 10.1.1.2\nIPv4 subnet mask: 255.255.255.252\n", &[]).unwrap();
    assert!(format!("{modem:?}").contains(r#""append", "default", "dev", "wwan0", "metric", "20000"]"#));
}

#[test]
fn each_answer_of_a_modem_belongs_to_one_command() {
    for pin in [None, Some(Secret::new("1234"))] {
        let script = ppp::chat("internet", "*99#", pin.as_ref());
        assert!(!script.lines().any(|line| line.ends_with(" ''")), "says a carriage return: {script}");
        // The first OK waited for behind READY is behind the answer of a command asked since.
        let behind = script.split_once(if pin.is_some() { "AT+CPIN=" } else { "READY" }).unwrap().1;
        let (asked, answered) = (behind.find("AT+CSQ").unwrap(), behind.find("\nCSQ:").unwrap());
        let ok = answered + behind[answered..].find("\nOK").unwrap();
        assert!(asked < answered && answered < ok, "{script}");
        let first = behind.find("\nOK").unwrap();
        assert!(if pin.is_some() { first < asked } else { first == ok }, "{script}");
    }
}

/// Between the two words any end leaves it open whether the PIN was right.
#[test]
fn the_log_knows_when_a_pin_goes_out_and_that_it_was_right() {
    let pin = Secret::new("4711");
    let script = ppp::chat("internet", "*99#", Some(&pin));
    let at = |word: &str| script.find(word).unwrap_or_else(|| panic!("no {word} in {script}"));
    let order = [
        at("'SIM PIN' '\\c'\nOK"),
        at(crate::sim::TOLD),
        at("4711"),
        at("\nOK '\\c'\nSAY"),
        at(crate::sim::READY),
    ];
    assert!(order.is_sorted(), "{script}");
    assert!(at("TIMEOUT 45") < at("4711") && at("ABORT ERROR") < at("4711"), "{script}");
    // To find out whether it is asked for, none is at hand.
    let plan = plan(&every()[6], Role::Carry, &places());
    let with_pin = |steps: &[Step]| {
        let pin =
            |s: &Step| matches!(s, Step::Write { content, .. } if content.reveal().contains("AT+CPIN=\""));
        steps.iter().filter(|s| pin(s)).count()
    };
    assert_eq!((with_pin(&plan.up), with_pin(&plan.unlock)), (0, 1));
}
