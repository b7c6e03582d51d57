//! The real daemon in a network namespace of its own: what its clients see, and what they cannot do to it.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{CONFIG, Daemon, MWAN, enter, is_root};

/// A WAN whose device is down.
const NETWORK: &str = "ip link add wan0 type veth peer name isp0 && ip link set isp0 up && \
    ip address add 192.0.2.2/24 dev wan0";

impl Daemon {
    fn start(config: &str) -> Self {
        Daemon::start_with_log(config, "")
    }

    /// `log`: where it writes its log; empty: into its folder.
    fn start_with_log(config: &str, log: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mwan3"), config).unwrap();
        let log = if log.is_empty() { dir.path().join("log") } else { log.into() };
        let log = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        Daemon::spawn(dir, NETWORK, log, |command| {
            command.args(["--platform", "linux", "--log-format", "json", "--log-level", "debug"]);
        })
    }

    /// Sends raw bytes to the socket and returns what comes back.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = UnixStream::connect(self.path("mwan.sock")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        // The daemon may have heard enough before all is sent.
        let _ = socket.write_all(bytes);
        let _ = socket.shutdown(std::net::Shutdown::Write);
        let mut answer = String::new();
        let _ = socket.read_to_string(&mut answer);
        answer
    }
}

#[test]
fn every_json_document_names_its_schema() {
    let daemon = Daemon::start(CONFIG);
    for command in ["status", "interfaces", "policies", "connected", "rules"] {
        let document = daemon.json(&[command, "--json"]);
        assert_eq!(document["schema"], format!("mwan.{command}.v1"), "{command}");
    }
    assert_eq!(daemon.json(&["diff", "--json"])["schema"], "mwan.plan.v1");
    let config = daemon.path("mwan3");
    assert_eq!(daemon.json(&["check", "--json", config.to_str().unwrap()])["schema"], "mwan.check.v1");
}

#[test]
fn the_text_is_in_the_words_of_mwan3() {
    let mut daemon = Daemon::start(CONFIG);
    let down = " interface wan is offline";
    let text = |d: &Daemon| String::from_utf8(d.mwan(&["status"]).stdout).unwrap();
    // Said so, with the reason, and exit code 3.
    assert!(text(&daemon).contains(down), "{}", text(&daemon));
    assert!(
        text(&daemon).contains("Problems:\n wan ipv4 is disabled for 0 s: device wan0 is down\n"),
        "{}",
        text(&daemon)
    );
    assert_eq!(daemon.mwan(&["status"]).status.code(), Some(3));
    assert!(text(&daemon).contains("Current ipv4 policies:\nonly:\n unreachable\n"), "{}", text(&daemon));
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("online", |d| text(d).contains(" interface wan is online 00h:00m:"));
    daemon.wait("no problems", |d| d.mwan(&["status"]).status.code() == Some(0));
    assert!(text(&daemon).contains("only:\n wan (100%)\n"), "{}", text(&daemon));
    assert!(
        text(&daemon).contains("    0     0 - only  tcp  --  *      *       0.0.0.0/0            0.0.0.0/0"),
        "{}",
        text(&daemon)
    );
}

#[test]
fn no_client_can_disturb_the_daemon() {
    let daemon = Daemon::start(CONFIG);
    let mut garbage: Vec<u8> = (0..=255).cycle().take(10_000).collect();
    garbage.push(b'\n');
    let deep = format!("{}\n", "[".repeat(100_000));
    for bytes in [&b""[..], b"\n", b"{}\n", b"null\n", b"{\"method\":\"no\"}\n", &garbage, deep.as_bytes()] {
        let answer = daemon.raw(bytes);
        assert!(answer.contains("\"result\":\"error\""), "{answer}");
    }
    // Longer than any request may be.
    let answer = daemon.raw(&vec![b'x'; mwan_api::REQUEST_MAX + 1000]);
    assert!(answer.is_empty() || answer.contains("not a request"), "{answer}");
    // Clients that say nothing do not keep others from being served: they are let go, sooner if others wait.
    let asked = Instant::now();
    let silent: Vec<UnixStream> =
        (0..400).map(|_| UnixStream::connect(daemon.path("mwan.sock")).unwrap()).collect();
    assert!(daemon.mwan(&["interfaces"]).status.success());
    // In turns of 64 and two seconds it would be ten.
    assert!(asked.elapsed() < Duration::from_secs(9), "{:?} behind 400 silent clients", asked.elapsed());
    drop(silent);
    for name in ["", "no such", "\u{1b}[31m", &"x".repeat(100_000)] {
        let output = daemon.mwan(&["ifdown", name]);
        assert_eq!(output.status.code(), Some(1), "{name:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains("hint: the configuration has: wan") && !text.contains('\u{1b}'), "{text}");
    }
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

/// Whatever a client orders that cannot be: a line that says why, and nothing is changed.
#[test]
fn drills_that_cannot_be_are_refused() {
    let daemon = Daemon::start(CONFIG);
    let nine = format!("[{}]", ["\"192.0.2.1\""; 9].join(","));
    let orders = [
        ("\"length_s\":0", "a drill takes from 2 to 3600 s"),
        ("\"length_s\":1", "a drill takes from 2 to 3600 s"),
        ("\"length_s\":3601", "a drill takes from 2 to 3600 s"),
        ("\"length_s\":4294967295", "a drill takes from 2 to 3600 s"),
        ("\"length_s\":-1", "not a request"),
        ("\"length_s\":\"60\"", "not a request"),
        ("\"length_s\":60,\"dns\":\"a..b\"", "no name that can be asked for"),
        ("\"length_s\":60,\"dns\":\"\",\"reach\":[\"example.org\"]", "example.org"),
        (&format!("\"length_s\":60,\"dns\":\"\",\"reach\":{nine}"), "more than 8 targets"),
        ("\"length_s\":60,\"dns\":\"\"", "it does not carry as it is: ipv4: device wan0 is down"),
    ];
    for (order, words) in orders {
        let answer =
            daemon.raw(format!("{{\"method\":\"drill\",\"interface\":\"wan\",{order}}}\n").as_bytes());
        assert!(answer.contains("\"result\":\"error\"") && answer.contains(words), "{order}: {answer}");
    }
    for name in ["", "no such", "\u{1b}[31m", &"x".repeat(100_000)] {
        for words in [&["drill", name, "--no-dns"][..], &["drill", name, "--dry-run"], &["why", name]] {
            let output = daemon.mwan(words);
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{text}");
            assert!(text.starts_with("mwan: ") && !text.contains('\u{1b}'), "{text}");
        }
    }
    assert!(daemon.raw(b"{\"method\":\"stop_drill\"}\n").contains("there is no drill, nothing is changed"));
    let drills = daemon.json(&["drill", "--list", "--json"]);
    assert_eq!((&drills["running"], &drills["drills"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
}

#[test]
fn a_plan_by_the_daemon_shows_only_what_changes() {
    let daemon = Daemon::start(CONFIG);
    let same = daemon.json(&["plan", "--json", "--config", daemon.path("mwan3").to_str().unwrap()]);
    assert_eq!(same["changes"], serde_json::json!([]), "the running configuration changes nothing");
    let other = CONFIG.replace("'443'", "'443,8443'");
    std::fs::write(daemon.path("other"), other).unwrap();
    let plan = daemon.json(&["plan", "--json", "--config", daemon.path("other").to_str().unwrap()]);
    let changes: Vec<&str> =
        plan["changes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    assert!(!changes.is_empty() && changes.iter().all(|c| c.contains("rules.")), "{changes:?}");
    assert!(plan["nft"].as_str().unwrap().contains("8443"));
    // A plan is only a plan.
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
}

#[test]
fn a_machine_that_does_not_forward_is_told_of() {
    let mut daemon = Daemon::start(CONFIG);
    let told = |d: &Daemon| d.log().matches("net.ipv4.ip_forward is 0").count();
    for value in ["0", "1"] {
        daemon.inside(&["sysctl", "-qw", &format!("net.ipv4.ip_forward={value}")]);
        let before = told(&daemon);
        daemon.restart();
        assert_eq!(told(&daemon) - before, usize::from(value == "0"), "{value}");
    }
}

#[test]
fn signals_that_mean_nothing_do_nothing() {
    let mut daemon = Daemon::start(CONFIG);
    let pid = daemon.child_pid();
    for name in ["USR1", "USR2", "ALRM", "PIPE", "HUP", "CONT", "WINCH", "HUP"] {
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }
    daemon.wait("it reads its configuration again", |d| d.log().contains("configuration read"));
    assert_eq!(daemon.child_pid(), pid);
}

/// Seen, then gone, then something else: what is in force stays so, and each time the reason is told.
#[test]
fn a_configuration_that_vanishes_or_becomes_something_else_is_told() {
    let daemon = Daemon::start(CONFIG);
    let file = daemon.path("mwan3");
    let refused = |why: &str| {
        let output = daemon.mwan(&["reload"]);
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(why) && text.contains(file.to_str().unwrap()), "{text}");
        assert_eq!(daemon.mwan(&["status"]).status.code(), Some(3));
    };
    std::fs::remove_file(&file).unwrap();
    refused("No such file");
    std::fs::create_dir(&file).unwrap();
    refused("not a regular file");
    std::fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink(&file, &file).unwrap();
    refused("symbolic links");
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, CONFIG).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(0));
}

#[test]
fn stop_leaves_nothing_and_ends_the_daemon() {
    let mut daemon = Daemon::start(CONFIG);
    assert!(daemon.mwan(&["stop"]).status.success());
    let deadline = Instant::now() + Duration::from_secs(30);
    while daemon.child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "still there:\n{}", daemon.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(daemon.mwan(&["status"]).status.code(), Some(1));
    assert!(daemon.log().lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()));
}

/// `enabled '0'` in the globals: nothing at all in the kernel, and all of it again afterwards.
#[test]
fn switched_off_nothing_is_in_the_kernel() {
    let mut daemon = Daemon::start(CONFIG);
    let kernel = |d: &Daemon| {
        let listed = "nft list ruleset; ip rule; ip -6 rule; ip route show table all proto 77";
        d.inside(&["sh", "-c", listed])
    };
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("it works", |d| kernel(d).contains("default via 192.0.2.1 dev wan0"));
    let on = daemon.inside(&["sh", "-c", "ip rule; ip -6 rule"]);
    let file = daemon.path("mwan3");
    std::fs::write(&file, format!("config globals 'globals'\n\toption enabled '0'\n{CONFIG}")).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(0));
    let off = kernel(&daemon);
    assert!(!off.contains("table inet mwan") && !off.contains("proto 77"), "{off}");
    for line in off.lines() {
        let priority = line.split(':').next().unwrap();
        assert!(["0", "32766", "32767"].contains(&priority), "{off}");
    }
    assert!(daemon.status()["problems"].to_string().contains("switched off"));
    assert_eq!(daemon.mwan(&["diff"]).stdout, b"# none\n");
    std::fs::write(&file, CONFIG).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(0));
    assert_eq!(daemon.inside(&["sh", "-c", "ip rule; ip -6 rule"]), on);
    assert!(kernel(&daemon).contains("table inet mwan"));
}

#[test]
fn the_file_for_dnsmasq_is_kept_right_and_goes_at_the_end() {
    let config = |file: &std::path::Path| {
        let globals = format!("config globals 'globals'\n\toption dnsmasq_file '{}'\n", file.display());
        format!("{globals}config ipset 'video'\n\tlist domain 'video.example'\n{CONFIG}")
    };
    let mut daemon = Daemon::start(CONFIG);
    let [own, first, second, third] =
        ["mwan3", "first.conf", "second.conf", "absent/third.conf"].map(|name| daemon.path(name));
    let right = |file: &std::path::Path| {
        std::fs::read_to_string(file).is_ok_and(|text| text.contains("nftset=/video.example/"))
    };
    let problem = |d: &Daemon| d.status()["problems"].to_string().contains("cannot write");
    // The file alone changes: nothing of the kernel does.
    for (file, before) in [(&first, &third), (&second, &first)] {
        std::fs::write(&own, config(file)).unwrap();
        assert!(daemon.mwan(&["reload"]).status.success());
        assert!(right(file) && !before.exists());
    }
    std::fs::remove_file(&second).unwrap();
    daemon.wait("it is made again", |_| right(&second));
    std::fs::write(&own, config(&third)).unwrap();
    assert!(daemon.mwan(&["reload"]).status.success());
    assert!(problem(&daemon) && !second.exists());
    for state in ["down", "up"] {
        daemon.inside(&["ip", "link", "set", "wan0", state]);
        daemon.wait("the kernel changes", |d| {
            d.json(&["status", "--json"])["interfaces"][0]["paths"][0]["usable"] == (state == "up")
        });
    }
    assert_eq!(daemon.log().matches("cannot write").count(), 1, "{}", daemon.log());
    std::fs::create_dir(daemon.path("absent")).unwrap();
    daemon.wait("it can be written", |d| right(&third) && !problem(d));
    assert!(daemon.mwan(&["stop"]).status.success());
    daemon.child.wait().unwrap();
    assert!(!third.exists());
}

/// On plain Linux the name of an interface is that of a device.
#[test]
fn a_rule_that_waits_for_its_interface_is_shown() {
    let guests = "\nconfig rule 'guests'\n\toption src_iface 'lan'\n\toption use_policy 'only'\n";
    let mut daemon = Daemon::start(&format!("{CONFIG}{guests}"));
    let rules = |d: &Daemon| String::from_utf8(d.mwan(&["rules"]).stdout).unwrap();
    let problem =
        |d: &Daemon| d.status()["problems"].to_string().contains("rule guests waits for interface lan");
    assert!(problem(&daemon), "{}", daemon.status());
    let text = rules(&daemon);
    let waiting =
        "Waiting for their interface:\n guests ipv4: lan has no device\n guests ipv6: lan has no device\n";
    assert!(text.ends_with(waiting) && !text.contains("in lan"), "{text}");
    daemon.inside(&["ip", "link", "add", "lan", "type", "veth", "peer", "name", "lan1"]);
    daemon.wait("it waits no more", |d| !problem(d));
    let text = rules(&daemon);
    assert!(!text.contains("Waiting") && text.contains("in lan"), "{text}");
}

#[test]
fn a_configuration_that_became_unusable_does_not_end_what_works() {
    let mut daemon = Daemon::start(CONFIG);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    let works = |d: &Daemon| String::from_utf8(d.mwan(&["policies"]).stdout).unwrap().contains(" wan (100%)");
    daemon.wait("it works", works);
    let rejected = |d: &Daemon| d.json(&["status", "--json"])["daemon"]["config_rejected"].to_string();
    assert_eq!(rejected(&daemon), "null");
    let file = daemon.path("mwan3");
    std::fs::write(&file, "").unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(1));
    assert!(rejected(&daemon).contains("no interface section") && works(&daemon));
    // A pipe would keep a reader waiting for ever.
    std::fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(1));
    assert!(rejected(&daemon).contains("not a regular file") && works(&daemon));
    std::fs::remove_file(&file).unwrap();
    std::fs::write(&file, CONFIG.replace("'only'\n\tlist", "'other'\n\tlist")).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(1), "a rule's policy is gone");
    assert_eq!(daemon.mwan(&["status"]).status.code(), Some(3));
    // Killed in this state and started again: what worked before works on.
    daemon.restart();
    assert!(works(&daemon) && rejected(&daemon).contains("only"), "{}", rejected(&daemon));
    std::fs::write(&file, CONFIG).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(0));
    assert_eq!(rejected(&daemon), "null");
}

/// A mistake of months ago costs its section, and nothing else: neither a reload nor a restart brings another configuration.
#[test]
fn a_mistake_that_is_in_force_keeps_nothing_else_from_changing() {
    let typo = "config rule 'typo'\n\toption proto 'tpc'\n\toption use_policy 'only'\n";
    let with = |policy: &str| {
        format!(
            "{CONFIG}{typo}{}",
            CONFIG[CONFIG.find("config policy").unwrap()..].replace("only", policy).replace("https", policy)
        )
    };
    let mut daemon = Daemon::start(&with("first"));
    let file = daemon.path("mwan3");
    let in_force = |d: &Daemon, policy: &str| {
        let text = String::from_utf8(d.mwan(&["policies"]).stdout).unwrap();
        (text.contains(policy), d.json(&["status", "--json"])["daemon"]["config_rejected"].clone())
    };
    let accepted = || (true, serde_json::Value::Null);
    assert_eq!(in_force(&daemon, "first"), accepted());
    daemon.restart();
    assert_eq!(in_force(&daemon, "first"), accepted());
    std::fs::write(&file, with("second")).unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(0));
    assert_eq!(in_force(&daemon, "second"), accepted());
    std::fs::write(&file, with("third") + &typo.replace("tpc", "upd").replace("'typo'", "'another'"))
        .unwrap();
    assert_eq!(daemon.mwan(&["reload"]).status.code(), Some(1));
    let (second, why) = in_force(&daemon, "second");
    assert!(second && why.to_string().contains("upd"), "{why}");
    // Its disk may not be there yet.
    std::fs::remove_file(&file).unwrap();
    daemon.restart();
    let (second, why) = in_force(&daemon, "second");
    assert!(second && why.to_string().contains("No such file"), "{why}");
}

/// `check` looks at the machine for the file of the daemon that runs there, and for no other unless told to.
#[test]
fn check_looks_at_the_machine_it_is_for() {
    let mut daemon = Daemon::start(CONFIG);
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code().is_some_and(|code| code != 1));
    let (file, other) = (daemon.path("mwan3"), daemon.path("other"));
    std::fs::copy(&file, &other).unwrap();
    let rule = "add table inet theirs; add chain inet theirs pre { type filter hook prerouting priority -150; }; \
                add rule inet theirs pre meta mark set 0x1";
    daemon.inside(&["nft", rule]);
    daemon.inside(&["ip", "rule", "add", "pref", "77", "fwmark", "0x1", "lookup", "99"]);
    let run = daemon.path("");
    let check = |arguments: &[&str], file: &std::path::Path| {
        let (run, file) = (run.to_str().unwrap(), file.to_str().unwrap());
        daemon.inside(&[&[MWAN, "--run-dir", run, "check"], arguments, &[file]].concat())
    };
    let marks = |text: &str| text.lines().filter(|line| line.contains("[W1201]")).count();
    let seen = check(&[], &file);
    assert!(
        seen.contains("[W1201]: nftables table inet theirs, chain pre: a rule writes the whole mark"),
        "{seen}"
    );
    assert!(
        seen.contains("[W1201]: ip rules with mask 0xffffffff: ipv4 77 (fwmark 0x1): they do not match"),
        "{seen}"
    );
    assert_eq!(marks(&seen), 2, "our own table and rules are not among them: {seen}");
    assert_eq!(marks(&check(&["--no-system"], &file)), 0);
    assert_eq!(marks(&check(&[], &other)), 0);
    assert_eq!(marks(&check(&["--system"], &other)), 2);
}

#[test]
fn a_log_nobody_takes_does_not_end_the_daemon() {
    let mut daemon = Daemon::start_with_log(CONFIG, "/dev/full");
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code() == Some(0));
    let output = Command::new(MWAN)
        .args(["check", daemon.path("mwan3").to_str().unwrap()])
        .stderr(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap())
        .status()
        .unwrap();
    assert_eq!(output.code(), Some(0));
}

#[test]
fn a_route_the_kernel_refuses_is_named_and_keeps_nothing_else_from_working() {
    let config = CONFIG.to_owned()
        + "config interface 'typo'\n option enabled 1\n option device 'wan0'\n option gateway '192.0.2.2'\n";
    let mut daemon = Daemon::start(&config);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("the good one works", |d| {
        String::from_utf8(d.mwan(&["policies"]).stdout).unwrap().contains(" wan (100%)")
    });
    daemon.wait("the bad one says why", |d| {
        let path = &d.json(&["status", "--json"])["interfaces"][1]["paths"][0];
        path["reason"]["code"] == "route_refused" && path["usable"] == false
    });
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
    assert_eq!(daemon.json(&["status", "--json"])["daemon"]["apply_error"], serde_json::Value::Null);
}

#[test]
fn a_command_survives_kill_9_and_a_second_daemon_is_refused() {
    let mut daemon = Daemon::start(CONFIG);
    assert!(daemon.mwan(&["ifdown", "wan"]).status.success());
    daemon.restart();
    let reason =
        |d: &Daemon| d.json(&["status", "--json"])["interfaces"][0]["paths"][0]["reason"]["code"].clone();
    assert_eq!(reason(&daemon), "taken_down");
    assert!(daemon.mwan(&["ifup", "wan"]).status.success());
    assert_eq!(reason(&daemon), "device_down");

    if is_root() {
        // Another run directory, the same network.
        let other = tempfile::tempdir().unwrap();
        let pid = daemon.child_pid();
        let second = Command::new("nsenter")
            .args(["-t", &pid, "-n", MWAN, "daemon", "--config"])
            .arg(daemon.path("mwan3"))
            .arg("--run-dir")
            .arg(other.path())
            .arg("--state-dir")
            .arg(other.path())
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(1));
        let text = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(text.contains("another daemon runs in this network namespace"), "{text}");
    }
    // Its socket taken away, it makes another.
    std::fs::remove_file(daemon.path("mwan.sock")).unwrap();
    daemon.wait("it answers again", |d| d.mwan(&["interfaces"]).status.success());
}

/// Everything of ours in the kernel, in no order, without counts.
const SHOW: &str = "{ nft -s list ruleset; ip rule; ip -6 rule; ip -d route show table all proto 77; \
    ip -6 -d route show table all proto 77; } | sort";

/// Damages as others do them, each with what it takes from us. `$(H WORD)` is the handle of the rule with that word in
/// its comment, `$(C WORD)` the comment. The daemon may be faster than two commands: what it has restored already, the
/// second may refuse.
const DAMAGES: &[&str] = &[
    "nft 'add table inet mwan { flags dormant; }'",
    "nft 'add chain inet mwan prerouting { policy drop; }'",
    "nft 'flush chain inet mwan output; delete chain inet mwan output; \
        add chain inet mwan output { type route hook output priority 7; }'",
    "nft 'flush chain inet mwan output; delete chain inet mwan output; \
        add chain inet mwan output { type filter hook input priority 7; }'",
    "nft replace rule inet mwan set.1 handle $(H set.1) accept comment \\\"$(C set.1)\\\"",
    "nft insert rule inet mwan set.default accept comment \\\"$(C set.default)\\\"",
    "nft delete rule inet mwan set.1 handle $(H set.1)",
    "nft 'delete element inet mwan connected.4 { 192.0.2.0/24 }'",
    "nft 'add element inet mwan connected.4 { 198.51.100.0/24 }; add element inet mwan custom.4 { 10.0.0.0/8 }'",
    "nft flush set inet mwan connected.6",
    "nft 'add set inet mwan other { type ipv4_addr; }; add counter inet mwan other; add chain inet mwan other'",
    "{ echo flush ruleset; nft list ruleset; } > $DIR/saved; nft -f $DIR/saved",
    "ip rule add pref 2000 not fwmark 0x100/0x3f00 lookup 1 proto 77",
    "ip rule add pref 2001 fwmark 0x100/0x3f00 sport 80 ipproto tcp lookup 1 proto 77",
    "ip rule del pref 2001 fwmark 0x100/0x3f00; \
        ip rule add pref 2001 from 10.0.0.0/8 fwmark 0x100/0x3f00 lookup 1 proto 77 || true",
    "ip rule del pref 3001; ip rule add pref 3001 goto 32766 fwmark 0x100/0x3f00 proto 77",
    "ip -6 rule add pref 2001 uidrange 0-0 lookup main proto 77",
    "ip route replace unreachable default table 1 proto 77",
    "ip route replace default via 192.0.2.1 dev wan0 table 1 proto 77",
    "ip route add default via 192.0.2.1 dev wan0 onlink table 1 metric 9 proto 77",
    "ip route add default via 192.0.2.1 dev wan0 tos 0x10 table 1 proto 77",
    "ip route replace default table 1 proto 77 nexthop via 192.0.2.1 dev wan0 nexthop via 192.0.2.9 dev wan0",
    "ip route replace default via 192.0.2.9 dev wan0 table 1 proto static",
    "ip route add 8.8.8.8 dev wan0 table 1 proto 77",
    "ip -6 route add unreachable default table 1 proto 77",
];

#[test]
fn whatever_others_change_is_made_good() {
    let mut daemon = Daemon::start(CONFIG);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code() == Some(0));
    // Not ours: these stay.
    daemon.inside(&["nft", "add element inet mwan dynamic.4 { 203.0.113.0/24 }"]);
    daemon.inside(&["ip", "rule", "add", "pref", "2001", "from", "10.9.9.9", "lookup", "main"]);
    daemon.wait("it has looked", |d| d.mwan(&["diff"]).status.code() == Some(0));
    let before = daemon.shell(SHOW);
    let status = |d: &Daemon| d.json(&["status", "--json"])["daemon"].clone();
    // What the core sees too (a default route of its device) is made good by an apply.
    let mended = |d: &Daemon| status(d)["repairs"].as_u64().unwrap() + status(d)["applies"].as_u64().unwrap();
    for damage in DAMAGES {
        let count = mended(&daemon);
        daemon.shell(damage);
        daemon.wait(damage, |d| mended(d) > count && d.shell(SHOW) == before);
    }
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
    assert_eq!(status(&daemon)["apply_error"], serde_json::Value::Null);
}

#[test]
fn a_restart_does_nothing_but_mend_what_was_changed_meanwhile() {
    let mut daemon = Daemon::start(CONFIG);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code() == Some(0));
    let before = daemon.shell(SHOW);
    let handles = daemon.shell("nft -s -a list ruleset");
    let applies = |d: &Daemon| d.json(&["status", "--json"])["daemon"]["applies"].as_u64().unwrap();
    daemon.restart();
    assert_eq!((applies(&daemon), daemon.shell("nft -s -a list ruleset")), (0, handles.clone()));
    // Without a word of the daemon before it, comments are believed.
    std::fs::remove_file(daemon.path("rules.json")).unwrap();
    daemon.restart();
    assert_eq!((applies(&daemon), daemon.shell("nft -s -a list ruleset")), (0, handles));
    daemon.wait("it has written it down", |d| d.path("rules.json").exists());
    let pid = daemon.child_pid();
    assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    daemon.shell_of(
        &pid,
        "nft replace rule inet mwan set.1 handle $(H set.1) accept comment \\\"$(C set.1)\\\"",
    );
    assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
    daemon.wait("it is mended", |d| d.mwan(&["diff"]).status.code() == Some(0) && d.shell(SHOW) == before);
    assert_eq!(applies(&daemon), 1);
}

/// Changes the addresses faster than five thousand of them can be read: every dump is interrupted (NLM_F_DUMP_INTR).
const FLOOD: &str = "seq 0 4999 | awk '{ printf \"address add 10.66.%d.%d/32 dev lo\\n\", $1 / 250, $1 % 250 }' | \
    ip -batch - && yes 'address add 10.99.0.1/32 dev lo\naddress del 10.99.0.1/32 dev lo' | \
    sed 's/\\\\n/\\n/' | ip -force -batch -";

/// A shell command and all it started, ended with it.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", self.0.id())]).status();
        let _ = self.0.wait();
    }
}

#[test]
fn tables_that_cannot_be_read_are_read_later() {
    let mut daemon = Daemon::start(CONFIG);
    daemon.shell("ip link set wan0 up; ip link set lo up; ip route add 10.7.0.0/16 dev lo table 7");
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code() == Some(0));
    let pid = daemon.child_pid();
    let flood = Group(enter(&pid).args(["sh", "-c", FLOOD]).process_group(0).spawn().unwrap());
    let tables = |d: &Daemon, numbers: &str| {
        let globals = format!("{CONFIG}\nconfig globals 'globals'\n option rt_table_lookup '{numbers}'\n");
        std::fs::write(d.path("mwan3"), globals).unwrap();
        assert!(d.mwan(&["reload"]).status.success());
    };
    let failed = |d: &Daemon| d.log().contains("cannot read the network");
    daemon.wait("it could not read them", |d| {
        tables(d, "8");
        tables(d, "7");
        failed(d)
    });
    drop(flood);
    daemon.wait("it read them later", |d| d.log().contains("the network is read again"));
    let custom =
        |d: &Daemon| String::from_utf8(d.mwan(&["connected"]).stdout).unwrap().contains("10.7.0.0/16");
    daemon.wait("it knows them", custom);
    assert_eq!(daemon.mwan(&["status"]).status.code(), Some(0), "it works on");
}

/// Takes the table over as it is and keeps it until standard input ends: the kernel lets nobody but its owner change or
/// delete it.
const SEIZE: &str = r#"{ printf 'delete table inet mwan; '; nft list table inet mwan |
    awk 'NR==1 { print $0 " flags owner;"; next } 1' |
    awk '{ printf "%s%s", $0, (/,$/ ? " " : " ; ") }'; echo; cat; } | nft -i >/dev/null 2>&1"#;

/// What the kernel has is shown, not what is wanted, and what is wrong is named.
#[test]
fn status_shows_what_was_achieved_while_a_change_fails() {
    // No rule leads to the other policy.
    let mut daemon = Daemon::start(&two_wans("config policy 'spare'\n list use_member 'wanb_m2_w1'\n"));
    let text = |d: &Daemon| String::from_utf8(d.mwan(&["status"]).stdout).unwrap();
    daemon.inside(&["sh", "-c", SECOND]);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    daemon.wait("it works", |d| d.mwan(&["status"]).status.code() == Some(0));
    let carries = |d: &Daemon, at: usize| {
        d.json(&["status", "--json"])["interfaces"][at]["paths"][0]["carries"].clone()
    };
    assert!(text(&daemon).contains("spare:\n wanb (100%)\n"), "{}", text(&daemon));
    assert_eq!((carries(&daemon, 0), carries(&daemon, 1)), (true.into(), false.into()));
    assert!(text(&daemon).contains("only:\n wan (100%)\n"), "{}", text(&daemon));
    let mut thief = daemon.enter(SEIZE).stdin(Stdio::piped()).spawn().unwrap();
    daemon.wait("the table is seized", |d| {
        d.inside_output("nft list tables inet mwan; nft list table inet mwan").contains("flags owner")
    });
    daemon.inside(&["ip", "link", "set", "wan0", "down"]);
    let failing = |d: &Daemon| !d.json(&["status", "--json"])["daemon"]["apply_error"].is_null();
    daemon.wait("the change fails", failing);
    let shown = text(&daemon);
    // What somebody else made in our name is not vouched for.
    assert!(shown.contains("only:\n not in the kernel\n"), "{shown}");
    assert!(shown.contains(" kernel not as wanted: cannot change the nftables ruleset: "), "{shown}");
    assert!(shown.contains(" policy only ipv4 is not in the kernel, and should be wanb\n"), "{shown}");
    assert_eq!(daemon.mwan(&["status"]).status.code(), Some(3));
    assert_eq!((carries(&daemon, 0), carries(&daemon, 1)), (false.into(), false.into()));
    // Its socket closed, its table is gone.
    drop(thief.stdin.take());
    thief.wait().unwrap();
    daemon.wait("it is as wanted", |d| text(d).contains("only:\n wanb (100%)\n") && !failing(d));
}

/// A second WAN behind the first.
fn two_wans(globals: &str) -> String {
    let member = "\tlist use_member 'wan_m1_w1'\n";
    CONFIG.replace(member, &format!("{member}\tlist use_member 'wanb_m2_w1'\n"))
        + "config interface 'wanb'\n option enabled 1\n option device wan1\n option gateway 198.18.0.1\n \
           option failback move-now\nconfig member 'wanb_m2_w1'\n option interface wanb\n option metric 2\n"
        + globals
}

const SECOND: &str = "ip link add wan1 type veth peer name isp1 && ip link set isp1 up && \
    ip address add 198.18.0.2/24 dev wan1 && ip link set wan1 up";

/// `count` connections to port 443 that are marked so.
fn connections(mark: u32, count: u32) -> String {
    let line = |n: u32| {
        let (high, low) = (n / 250, n % 250 + 1);
        let from = format!("10.{}.{high}.{low}", mark >> 8 & 15);
        format!(
            "-I -p tcp -s {from} -d 203.0.113.9 --sport 9 --dport 443 -t 600 --state ESTABLISHED -m {mark}\n"
        )
    };
    (0..count).map(line).collect()
}

#[test]
fn moving_many_flows_keeps_nobody_waiting() {
    const FLOWS: u32 = 30_000;
    let mut daemon = Daemon::start(&two_wans(""));
    let carries = |d: &Daemon, name: &str| {
        let policies = String::from_utf8(d.mwan(&["policies"]).stdout).unwrap();
        policies.contains(&format!(" {name} (100%)"))
    };
    daemon.inside(&["sh", "-c", SECOND]);
    daemon.wait("the second carries", |d| carries(d, "wanb"));
    // The second pass over the dead WAN's flows, one second after the switch, would take those that are made here.
    daemon.wait("both passes are over", |d| d.passes() == 2);
    let count = |d: &Daemon, text: &str| d.log().matches(text).count();
    const ANEW: &str = "conntrack -F >/dev/null 2>&1; conntrack -R - >/dev/null 2>&1";
    // A machine that stalls may look away while they are moved: then once more.
    let often_answered = (0..5).any(|_| {
        daemon.feed(ANEW, &(connections(0x200, FLOWS) + &connections(0x100, 3)));
        assert_eq!(daemon.marks().get("0x200"), Some(&(FLOWS as usize)));
        let before = [count(&daemon, "wanb -> wan\""), count(&daemon, "flows moved back")];
        daemon.inside(&["ip", "link", "set", "wan0", "up"]);
        let mut answered = 0;
        while count(&daemon, "flows moved back") == before[1] {
            let ok = daemon.raw(b"{\"method\":\"use\",\"interface\":\"wanb\"}\n").contains("wan1");
            let moves = count(&daemon, "wanb -> wan\"") > before[0]
                && count(&daemon, "flows moved back") == before[1];
            answered += u32::from(ok && moves);
        }
        daemon.wait("all are moved", |d| d.marks() == [("0x100".to_owned(), 3)].into());
        assert!(daemon.log().contains(&format!("\"moved\":{FLOWS}")), "{}", daemon.log());
        println!("{answered} answers while {FLOWS} flows were moved");
        let passes = daemon.passes() + 2;
        daemon.inside(&["ip", "link", "set", "wan0", "down"]);
        daemon.wait("the second carries again, for long", |d| carries(d, "wanb") && d.passes() == passes);
        answered >= 2
    });
    assert!(often_answered, "{}", daemon.log());

    // The better one goes again in the middle: what is left of the pass stays where it is wanted now.
    let some_left = (0..5).any(|_| {
        daemon.feed(ANEW, &connections(0x200, FLOWS));
        let switches = "grep -c 'wanb -> wan\\b' $DIR/log";
        let passes = daemon.passes() + 2;
        daemon.shell(&format!(
            "before=$({switches}); ip link set wan0 up; until [ $({switches}) != $before ]; do :; done; \
             ip link set wan0 down"
        ));
        daemon.wait("and once more, for long", |d| carries(d, "wanb") && d.passes() == passes);
        let left = daemon.marks().get("0x200").copied().unwrap_or(0);
        println!("{left} of {FLOWS} were left");
        left > 0
    });
    assert!(some_left, "{}", daemon.log());
}

/// I3, I10: another mask takes the connections along, with a reload and with a restart, and leaves no bit behind.
#[test]
fn connections_keep_their_wan_when_the_mask_changes() {
    let globals = |mask: &str| format!("config globals 'globals'\n option mmx_mask '{mask}'\n");
    let mut daemon = Daemon::start(&two_wans(&globals("0x3F00")));
    let all: String = [0x101, 0x201, 0x3f01, 1].iter().map(|mark| connections(*mark, 100)).collect();
    daemon.feed("conntrack -R - >/dev/null 2>&1", &all.replace("-s 10.0", "-s 10.7"));
    let marked = |d: &Daemon, wanted: [&str; 4]| {
        d.marks() == wanted.iter().map(|mark| ((*mark).to_owned(), 100)).collect()
    };
    assert!(marked(&daemon, ["0x101", "0x201", "0x3f01", "0x1"]), "{:?}", daemon.marks());
    let file = daemon.path("mwan3");
    for (mask, wanted) in [
        ("0x3F0000", ["0x10001", "0x20001", "0x3f0001", "0x1"]),
        // Bits in common with another meaning: the value 1 was where the value 16 is.
        ("0x3F000", ["0x1001", "0x2001", "0x3f001", "0x1"]),
        ("0xFF000", ["0x1001", "0x2001", "0xff001", "0x1"]),
    ] {
        std::fs::write(&file, two_wans(&globals(mask))).unwrap();
        assert!(daemon.mwan(&["reload"]).status.success());
        daemon.wait(mask, |d| marked(d, wanted) && d.mark("wanb") == format!("{:#x}", mask_value(mask, 2)));
        daemon.wait("it is over", |d| d.saved_mask() == mask_value(mask, u32::MAX));
    }
    std::fs::write(&file, two_wans(&globals("0x3F00"))).unwrap();
    daemon.restart();
    daemon.wait("restarted", |d| marked(d, ["0x101", "0x201", "0x3f01", "0x1"]) && d.mark("wanb") == "0x200");
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
}

/// I3, I7: what ends for good leaves no bit of ours behind, which a next start, perhaps with other ids, would read.
#[test]
fn stop_and_cleanup_and_off_take_our_bits_out_of_connections() {
    for how in ["stop", "cleanup"] {
        let mut daemon = Daemon::start(&two_wans(""));
        let all: String = [0x101, 0x201, 0x3f01, 1].map(|mark| connections(mark, 100)).concat();
        let all = all.replace("-s 10.0", "-s 10.7");
        let none = |marks: Marks| marks.keys().all(|mark| ["0x0", "0x1"].contains(&mark.as_str()));
        daemon.feed("conntrack -R - >/dev/null 2>&1", &all);
        assert!(!none(daemon.marks()));
        let file = daemon.path("mwan3");
        std::fs::write(&file, two_wans("config globals\n option enabled 0\n")).unwrap();
        assert!(daemon.mwan(&["reload"]).status.success());
        daemon.wait("switched off", |d| none(d.marks()));
        assert!(daemon.marks()["0x1"] >= 300, "bits of others stay: {:?}", daemon.marks());
        std::fs::write(&file, two_wans("")).unwrap();
        assert!(daemon.mwan(&["reload"]).status.success());
        // Somebody who stays in the namespace.
        let stayer = Stayer(daemon.enter("exec sleep 1000").stdin(Stdio::null()).spawn().unwrap());
        let inside = stayer.0.id().to_string();
        daemon.feed("conntrack -F >/dev/null 2>&1; conntrack -R - >/dev/null 2>&1", &all);
        assert!(!none(daemon.marks()));
        if how == "stop" {
            assert!(daemon.mwan(&["stop"]).status.success());
        } else {
            let ended = Command::new("kill").args(["-TERM", &daemon.child_pid()]).status().unwrap();
            assert!(ended.success());
        }
        daemon.child.wait().unwrap();
        if how == "cleanup" {
            let mut clean = enter(&inside);
            clean.args([MWAN, "--run-dir"]).arg(daemon.dir.path()).arg("cleanup");
            assert!(clean.status().unwrap().success());
        }
        let marks = marks_of(&inside);
        assert!(none(marks.clone()), "{how}: {marks:?}");
        assert!(marks["0x1"] >= 300, "{how}: {marks:?}");
    }
}

type Marks = std::collections::BTreeMap<String, usize>;

struct Stayer(Child);

impl Drop for Stayer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Connections by mark, in the network namespace of a process.
fn marks_of(pid: &str) -> Marks {
    let list = "conntrack -L -o xml 2>/dev/null | grep -o '<mark>[0-9]*'";
    let output = enter(pid).args(["sh", "-c", list]).output().unwrap();
    let mut marks = Marks::new();
    let output = String::from_utf8(output.stdout).unwrap();
    for mark in output.lines().filter_map(|line| line.strip_prefix("<mark>")?.parse::<u32>().ok()) {
        *marks.entry(format!("{mark:#x}")).or_default() += 1;
    }
    marks
}

/// A value in a mask of consecutive bits.
fn mask_value(mask: &str, value: u32) -> u32 {
    let mask = u32::from_str_radix(mask.trim_start_matches("0x"), 16).unwrap();
    mask & (value << mask.trailing_zeros())
}

impl Daemon {
    /// Output of a shell command in the daemon's network namespace.
    fn shell(&self, command: &str) -> String {
        self.shell_of(&self.child_pid(), command)
    }

    fn shell_of(&self, pid: &str, command: &str) -> String {
        let dir = self.dir.path().display();
        let rule = "nft -a list chain inet mwan $1 | grep comment | head -n 1";
        let script = format!(
            "DIR={dir}; H() {{ {rule} | sed 's/.* //'; }}; \
             C() {{ {rule} | sed 's/.*comment \"//; s/\" .*//'; }}; {command}"
        );
        let output = enter(pid).args(["sh", "-c", &script]).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// How often the flows of a dead first WAN were deleted: two passes each time, the second a second later.
    fn passes(&self) -> usize {
        let ours = r#""message":"flows of a path deleted","id":1,"family":"ipv4""#;
        self.log().matches(ours).count()
    }

    /// Connections by mark.
    fn marks(&self) -> Marks {
        marks_of(&self.child_pid())
    }

    fn mark(&self, interface: &str) -> String {
        let status = self.json(&["status", "--json"]);
        let mut all = status["interfaces"].as_array().unwrap().iter();
        let found = all.find(|i| i["name"] == interface).unwrap();
        found["mark"].as_str().unwrap().to_owned()
    }

    /// The mask that the next daemon will take connections to be marked with.
    fn saved_mask(&self) -> u32 {
        let health = std::fs::read(self.path("health.json")).unwrap_or_default();
        let health: serde_json::Value = serde_json::from_slice(&health).unwrap_or_default();
        health["mask"].as_u64().unwrap_or(0) as u32
    }

    fn enter(&self, script: &str) -> Command {
        let mut command = enter(&self.child_pid());
        command.args(["sh", "-c", script]);
        command
    }

    /// Output of a script in the daemon's network namespace.
    fn inside_output(&self, script: &str) -> String {
        String::from_utf8(self.enter(script).output().unwrap().stdout).unwrap()
    }

    /// Feeds `input` to a script there.
    fn feed(&self, script: &str, input: &str) {
        let mut child = self.enter(script).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
    }

    fn child_pid(&self) -> String {
        self.pid().to_string()
    }
}
const LISTED: usize = 100_000;

/// So many prefixes, none beside another.
fn prefixes(first: u8) -> String {
    let line = |n: usize| {
        let ip = std::net::Ipv4Addr::from((u32::from(first) << 24) + n as u32 * 32);
        format!("{ip}/28\n")
    };
    (0..LISTED).map(line).collect()
}

/// A carrier that is lost while a large set is loaded, or exchanged for another, is acted on in the middle of it.
#[test]
fn a_failover_does_not_wait_for_a_large_set() {
    let mut daemon = Daemon::start(&two_wans(""));
    daemon.inside(&["sh", "-c", &format!("{SECOND}; ip link set wan0 up")]);
    let list = daemon.path("list");
    let file = list.display();
    let sets = format!(
        "config ipset big\n list family ipv4\n option loadfile {file}\n\
         config rule listed\n option ipset big\n option use_policy only\n"
    );
    std::fs::write(daemon.path("mwan3"), two_wans(&sets)).unwrap();
    // Loaded, then exchanged; once more where the machine looked away until it was over.
    let mut seen = 0;
    for first in [10, 20, 30, 40, 50, 60, 70, 80] {
        std::fs::write(&list, prefixes(first)).unwrap();
        daemon.wait("the first carries", |d| {
            String::from_utf8(d.mwan(&["policies"]).stdout).unwrap().contains(" wan (100%)")
        });
        let pid = daemon.child_pid();
        let before = daemon.log().len();
        let news = |d: &Daemon| d.log()[before..].to_owned();
        let mut reload = Command::new(env!("CARGO_BIN_EXE_mwan"));
        reload.arg("--run-dir").arg(daemon.dir.path()).arg("reload");
        let mut reload = reload.stdin(Stdio::null()).spawn().unwrap();
        daemon.wait("the set begins to fill", |d| news(d).matches("\"applied\"").count() >= 2);
        assert!(enter(&pid).args(["ip", "link", "set", "wan0", "down"]).status().unwrap().success());
        let in_time = !news(&daemon).contains("configuration read");
        let mut slowest = Duration::ZERO;
        while reload.try_wait().unwrap().is_none() {
            let asked = Instant::now();
            assert!(daemon.raw(b"{\"method\":\"use\",\"interface\":\"wanb\"}\n").contains("wan1"));
            slowest = slowest.max(asked.elapsed());
        }
        assert!(reload.wait().unwrap().success());
        println!("slowest answer while {LISTED} prefixes were loaded: {slowest:?}");
        daemon.wait("the second carries", |d| news(d).contains("policy only ipv4: wan -> wanb"));
        let log = news(&daemon);
        let place = |text: &str| log.find(text).unwrap_or_else(|| panic!("no {text}: {log}"));
        if in_time {
            assert!(place("policy only ipv4: wan -> wanb") < place("configuration read"), "{log}");
            seen += 1;
        }
        // One length, so one set: of the first addresses.
        let count = "nft -j list set inet mwan set.big.4.28 | grep -oE '\"([0-9]+[.]){3}[0-9]+\"' | wc -l";
        assert_eq!(daemon.inside(&["sh", "-c", count]).trim(), LISTED.to_string());
        daemon.inside(&["ip", "link", "set", "wan0", "up"]);
        if seen == 2 {
            return;
        }
    }
    panic!("the link never went while a set was loaded");
}

/// Another option of a set makes that set and its rules anew, and nothing else.
#[test]
fn another_option_of_a_set_costs_the_others_nothing() {
    let sets = |options: &str| {
        let sets = format!(
            "config ipset a\n list entry 203.0.113.0/24\n {options}\nconfig ipset b\n option family ipv4\n \
             list domain example.org\nconfig rule one\n option ipset a\n option use_policy only\n\
             config rule two\n option ipset b\n option use_policy only\n"
        );
        two_wans(&sets)
    };
    let mut daemon = Daemon::start(&sets(""));
    daemon.inside(&["sh", "-c", "ip link set wan0 up"]);
    daemon.wait("the rules are there", |d| {
        d.inside(&["sh", "-c", "nft list table inet mwan"]).contains("@set.a.4")
    });
    daemon.inside(&["nft", "add", "element", "inet", "mwan", "learned.b.4", "{ 198.51.100.7 }"]);
    let handle = |d: &Daemon| d.inside(&["sh", "-c", "nft -a list table inet mwan | grep '^table'"]);
    let before = handle(&daemon);
    for options in ["option counters 1", "option counters 0", ""] {
        std::fs::write(daemon.path("mwan3"), sets(options)).unwrap();
        assert!(daemon.mwan(&["reload"]).status.success());
        let set = daemon.inside(&["sh", "-c", "nft list set inet mwan set.a.4"]);
        assert_eq!(set.contains("counter"), options.ends_with('1'), "{set}");
        assert!(set.contains("203.0.113.0/24"), "{set}");
        assert!(daemon.inside(&["sh", "-c", "nft list set inet mwan learned.b.4"]).contains("198.51.100.7"));
        assert!(daemon.inside(&["sh", "-c", "nft list table inet mwan"]).contains("ip daddr @set.a.4"));
        assert_eq!(handle(&daemon), before);
        assert!(!daemon.log().contains("the kernel is not as wanted"), "{}", daemon.log());
    }
}

#[test]
fn events_are_told_survive_kill_9_and_can_be_watched() {
    let mut daemon = Daemon::start(CONFIG);
    let texts = |d: &Daemon| -> Vec<String> {
        let events = d.json(&["events", "--json", "--limit", "1000"])["events"].clone();
        events.as_array().unwrap().iter().map(|e| e["text"].as_str().unwrap().to_owned()).collect()
    };
    assert!(daemon.mwan(&["drain", "wan"]).status.success());
    let last = |d: &Daemon| texts(d).last().unwrap().clone();
    assert_eq!(last(&daemon), "drain wan");
    let before = texts(&daemon);
    assert!(before[0].starts_with("the daemon has started"), "{before:?}");
    daemon.restart();
    let after = texts(&daemon);
    assert_eq!(after[..before.len()], before, "none is lost, none is there twice");
    assert!(daemon.json(&["status", "--json"])["interfaces"][0]["paths"][0]["drained"] == true);

    // Who watches is told at once, and once a second how the paths are.
    let mut stream = UnixStream::connect(daemon.path("mwan.sock")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let latest = daemon.json(&["events", "--json"])["latest"].as_u64().unwrap();
    writeln!(stream, r#"{{"method":"watch","after":{}}}"#, latest - 1).unwrap();
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map(|line| line.unwrap());
    let mut next = |kind: &str| -> serde_json::Value {
        lines
            .by_ref()
            .map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap())
            .find(|line| line["watched"] == kind)
            .unwrap()
    };
    assert_eq!(next("event")["id"], latest, "what it has not seen yet");
    assert!(daemon.mwan(&["undrain", "wan"]).status.success());
    let told = next("event");
    assert_eq!((told["id"].clone(), told["text"].clone()), ((latest + 1).into(), "undrain wan".into()));
    let sample = next("sample");
    assert_eq!(
        (&sample["paths"][0]["interface"], &sample["paths"][0]["usable"]),
        (&"wan".into(), &false.into())
    );
    let unknown = daemon.mwan(&["drain", "nobody"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("there is no enabled interface 'nobody'"));
}

#[test]
fn many_who_watch_and_do_not_read_keep_nobody_waiting() {
    let daemon = Daemon::start(CONFIG);
    let watchers: Vec<UnixStream> = (0..100)
        .map(|_| {
            let mut stream = UnixStream::connect(daemon.path("mwan.sock")).unwrap();
            writeln!(stream, r#"{{"method":"watch"}}"#).unwrap();
            stream
        })
        .collect();
    for _ in 0..50 {
        assert!(daemon.mwan(&["drain", "wan"]).status.success());
        assert!(daemon.mwan(&["undrain", "wan"]).status.success());
    }
    drop(watchers);
    assert!(daemon.mwan(&["interfaces"]).status.success());
}
