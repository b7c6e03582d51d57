//! `mwan apply`, `confirm` and `rollback`: the real daemon in a network namespace of its own, its command line, and its file.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Output, Stdio};

use common::{CONFIG, Daemon, MWAN, enter};
use serde_json::Value;

const NETWORK: &str = "ip link set lo up; for n in 0 1; do ip link add wan$n type veth peer name isp$n && ip link set isp$n up && \
    ip address add 192.0.$((n + 2)).2/24 dev wan$n && ip link set wan$n up; done";

fn start(config: &str) -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), config).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "linux"]);
    })
}

/// The configuration with rules for another port.
fn port(port: u16) -> String {
    CONFIG.replace("'443'", &format!("'{port}'"))
}

impl Daemon {
    fn file(&self) -> String {
        std::fs::read_to_string(self.path("mwan3")).unwrap()
    }

    /// `mwan ARGS` with something on standard input.
    fn with(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(MWAN);
        command.arg("--run-dir").arg(self.dir.path()).args(args).env_remove("SUDO_USER");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // One that is refused may not read it.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Succeeds; what it says.
    fn good(&self, args: &[&str], input: &str) -> String {
        let output = self.with(args, input);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", said(&output));
        format!("{}{}", said(&output), String::from_utf8_lossy(&output.stdout))
    }

    /// Ends with `code` and changes no byte; what it says.
    fn bad(&self, code: i32, args: &[&str], input: &str) -> String {
        let (file, list) = (self.file(), self.list());
        let output = self.with(args, input);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", said(&output));
        assert_eq!((self.file(), self.list()), (file, list), "{args:?}");
        said(&output)
    }

    fn rules(&self) -> String {
        String::from_utf8(self.mwan(&["rules"]).stdout).unwrap()
    }

    /// What the kernel has, and the file.
    fn is_port(&self, wanted: u16) -> bool {
        self.rules().contains(&wanted.to_string()) && self.file() == port(wanted)
    }

    fn list(&self) -> Vec<(u64, String, bool)> {
        let document = self.json(&["rollback", "--list", "--json"]);
        let of = |r: &Value| {
            let word = |name: &str| r[name].as_str().unwrap_or("-").to_owned();
            (
                r["number"].as_u64().unwrap(),
                format!("{} {}", word("way"), word("by")),
                r["taken_back"] == true,
            )
        };
        document["revisions"].as_array().unwrap().iter().map(of).collect()
    }

    fn waits(&self) -> bool {
        !self.json(&["rollback", "--list", "--json"])["waiting"].is_null()
    }

    fn events(&self) -> String {
        String::from_utf8(self.mwan(&["events"]).stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn one(number: u64, how: &str, taken_back: bool) -> (u64, String, bool) {
    (number, how.to_owned(), taken_back)
}

#[test]
fn what_was_in_force_is_kept_with_who_and_how_and_comes_back() {
    let mut daemon = start(CONFIG);
    assert_eq!(daemon.list(), [one(1, "start -", false)]);
    let text = daemon.good(&["apply", "-"], &port(8443));
    assert!(text.contains("is written and in force") && daemon.is_port(8443), "{text}");
    assert!(daemon.good(&["apply", "-"], &port(8443)).contains("nothing to be done"));
    std::fs::write(daemon.path("mwan3"), port(9443)).unwrap();
    daemon.wait("the edit is in force", |d| d.rules().contains("9443"));
    assert_eq!(
        daemon.list(),
        [one(3, "edit -", false), one(2, "apply root", false), one(1, "start -", false)]
    );
    let diff = daemon.good(&["rollback", "--diff", "2"], "");
    assert_eq!(
        diff,
        "# from 1 to 2\n config rule 'https'\n-\toption dest_port '443'\n+\toption dest_port '8443'\n"
    );
    assert!(daemon.good(&["rollback", "--diff", "1"], "").ends_with(CONFIG));
    let shown = daemon.good(&["rollback", "1", "--dry-run"], "");
    assert!(shown.contains("+\toption dest_port '443'") && shown.contains("connections"), "{shown}");
    assert!(daemon.is_port(9443));

    daemon.good(&["rollback"], "");
    assert!(daemon.is_port(8443));
    daemon.good(&["rollback", "1"], "");
    assert!(daemon.file() == CONFIG && !daemon.rules().contains("8443"), "{}", daemon.rules());
    assert_eq!(daemon.list()[0], one(5, "rollback root", false));
    let table = daemon.good(&["rollback", "--list"], "");
    assert!(table.starts_with("*     5  20") && table.contains("Z  mwan rollback by root\n"), "{table}");
    assert!(daemon.bad(1, &["rollback", "77"], "").contains("no configuration 77; those from 1 to 5"));

    // Another process, another number; the same text, none. A damaged one is told of, and the others are there.
    let file = daemon.path("revisions/0000000002");
    assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    std::fs::write(&file, "{\"version\":1,").unwrap();
    daemon.restart();
    daemon.good(&["apply", "-"], &port(80));
    let numbers: Vec<u64> = daemon.list().into_iter().map(|(number, ..)| number).collect();
    assert_eq!(numbers, [6, 5, 4, 3, 1]);
    let listed = daemon.with(&["rollback", "--list"], "");
    assert_eq!(said(&listed).lines().count(), 1, "{}", said(&listed));
    assert!(said(&listed).contains("0000000002 cannot be used"), "{}", said(&listed));
    assert!(daemon.bad(1, &["rollback", "2"], "").contains("there is no configuration 2"));
}

#[test]
fn what_is_confirmed_stays_and_until_then_nothing_else_is_written() {
    let mut daemon = start(CONFIG);
    assert!(daemon.bad(1, &["confirm"], "").contains("nothing waits to be confirmed\nhint: `mwan apply"));
    let text = daemon.good(&["apply", "--confirm", "600", "-"], &port(8443));
    assert!(text.contains("within 600 s `mwan confirm` keeps it") && daemon.is_port(8443), "{text}");
    assert_eq!(std::fs::metadata(daemon.path("unconfirmed")).unwrap().mode() & 0o777, 0o600);
    let refused = daemon.bad(1, &["apply", "-"], &port(80));
    assert!(refused.contains("a configuration of root waits to be confirmed"), "{refused}");
    assert!(daemon.bad(1, &["rollback", "1"], "").contains("waits to be confirmed"));
    // To look is no harm.
    assert!(daemon.good(&["apply", "--dry-run", "-"], &port(80)).contains("+\toption dest_port '80'"));
    let problems = daemon.status()["problems"].to_string();
    assert!(problems.contains("has to be confirmed (mwan confirm)"), "{problems}");
    // Neither does a daemon that is killed forget it, nor does it start anew to count.
    daemon.restart();
    assert!(daemon.is_port(8443) && daemon.waits());
    daemon.good(&["confirm"], "");
    assert!(daemon.is_port(8443) && !daemon.waits() && !daemon.path("unconfirmed").exists());
    let again = daemon.bad(1, &["confirm"], "");
    assert!(again.contains("the configuration of root is confirmed"), "{again}");
    assert!(daemon.events().contains("the configuration of root is confirmed"), "{}", daemon.events());
    daemon.restart();
    assert!(daemon.is_port(8443));
    daemon.good(&["apply", "-"], &port(80));
    assert!(daemon.is_port(80));
}

#[test]
fn what_nobody_confirms_is_taken_back_and_a_late_confirmation_changes_nothing() {
    let mut daemon = start(CONFIG);
    daemon.good(&["apply", "--confirm", "1", "-"], &port(8443));
    daemon.wait("it is taken back", |d| !d.waits());
    assert!(daemon.file() == CONFIG && !daemon.rules().contains("8443"), "{}", daemon.rules());
    let late = daemon.bad(1, &["confirm"], "");
    assert_eq!(late.lines().count(), 2, "{late}");
    assert!(late.contains("is taken back, the one before is in force again: nobody confirmed it within 1 s"));
    assert!(daemon.events().contains("nobody confirmed it within 1 s"), "{}", daemon.events());
    let taken_back = [one(3, "taken_back -", false), one(2, "apply root", true), one(1, "start -", false)];
    assert_eq!(daemon.list(), taken_back);
    // What was taken back is none to go back to, unless it is named.
    assert!(daemon.bad(1, &["rollback"], "").contains("no other configuration is kept"));
    daemon.good(&["rollback", "2"], "");
    assert!(daemon.is_port(8443));

    // At once, by its owner.
    daemon.good(&["apply", "--confirm", "600", "-"], &port(80));
    daemon.good(&["rollback"], "");
    assert!(daemon.is_port(8443) && !daemon.waits());
}

/// The daemon dies and comes back when the time is over; what somebody edited meanwhile is not lost.
#[test]
fn a_daemon_that_was_away_takes_it_back_when_it_starts() {
    let mut daemon = start(CONFIG);
    daemon.good(&["apply", "--confirm", "600", "-"], &port(8443));
    std::fs::write(daemon.path("mwan3"), port(9443)).unwrap();
    // As after a boot: what lives in memory is gone.
    std::fs::remove_file(daemon.path("unconfirmed.token")).unwrap();
    daemon.restart();
    assert!(daemon.file() == CONFIG && !daemon.rules().contains("9443"), "{}", daemon.rules());
    assert_eq!(std::fs::read_to_string(daemon.path("unconfirmed.edited")).unwrap(), port(9443));
    let events = daemon.events();
    assert!(events.contains("started anew before anybody confirmed it; what was edited"), "{events}");
    assert!(daemon.list()[0].1 == "taken_back -" && daemon.list()[1].2, "{:?}", daemon.list());
    assert!(daemon.bad(1, &["confirm"], "").contains("started anew"));
    daemon.wait("nothing is left of it", |d| d.file() == CONFIG && !d.path("unconfirmed").exists());
}

#[test]
fn what_cannot_be_reached_is_no_configuration_that_stays() {
    let daemon = start(CONFIG);
    // Its own address, which needs nobody; a port at which nobody listens.
    let text = daemon.good(&["apply", "--must-reach", "192.0.2.2", "-"], &port(8443));
    assert!(text.contains("192.0.2.2 is reached in 0.") && daemon.is_port(8443), "{text}");
    assert!(!daemon.waits() && !daemon.path("unconfirmed").exists());
    let args = ["apply", "--must-reach", "192.0.2.2", "--must-reach", "192.0.2.2:9/tcp", "-"];
    let output = daemon.with(&args, &port(80));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("does not stay: ") && said(&output).contains("192.0.2.2:9/tcp is not reached")
    );
    assert!(daemon.is_port(8443) && !daemon.waits(), "{}", daemon.rules());
    assert!(daemon.list()[0].1 == "taken_back -" && daemon.list()[1] == one(3, "apply root", true));
    // With both, it is asked for a confirmation as well.
    daemon.good(&["apply", "--must-reach", "192.0.2.2/ping", "--confirm", "600", "-"], &port(80));
    assert!(daemon.waits() && daemon.is_port(80));
    daemon.good(&["confirm"], "");
}

#[test]
fn bad_orders_are_told_and_change_nothing() {
    let daemon = start(CONFIG);
    for args in [
        &["apply", "--must-reach", "one", "-"][..],
        &["apply", "--confirm", "0", "-"],
        &["rollback", "--list", "1"],
        &["rollback", "--json"],
    ] {
        let usage = daemon.bad(2, args, &port(80));
        assert!(usage.starts_with("error: "), "{usage}");
    }
    let refused = daemon.bad(1, &["apply", "--confirm", "600", "-"], &CONFIG.replace("'tcp'", "'tpc'"));
    assert!(
        refused.contains("error[") && refused.contains("is not applied, nothing is changed"),
        "{refused}"
    );
    assert!(!daemon.waits() && !daemon.path("unconfirmed").exists());
    let toml = daemon.path("other.toml");
    std::fs::write(&toml, "").unwrap();
    let other = daemon.bad(1, &["apply", toml.to_str().unwrap()], "");
    assert!(other.contains("other.toml is mwan.toml, and the daemon's file"), "{other}");
    assert!(daemon.bad(1, &["apply", "/nowhere"], "").contains("cannot read the configuration /nowhere"));
    // The record comes first: where it cannot be written, nothing is.
    std::fs::create_dir_all(daemon.path(".unconfirmed.mwan/in/it")).unwrap();
    std::fs::create_dir_all(daemon.path("unconfirmed/in it")).unwrap();
    let refused = daemon.bad(1, &["apply", "--confirm", "600", "-"], &port(80));
    assert!(refused.contains("cannot keep the configuration before"), "{refused}");
}

/// A configuration that was in force with a mistake comes back with it.
#[test]
fn the_one_before_comes_back_whatever_was_wrong_with_it() {
    for before in
        ["", &format!("{CONFIG}\nconfig rule 'bad'\n\toption proto 'tpc'\n\toption use_policy 'only'\n")]
    {
        let mut daemon = start(before);
        daemon.good(&["apply", "--confirm", "1", "-"], &port(8443));
        daemon.wait("it is taken back", |d| !d.waits());
        assert_eq!(daemon.file(), before);
        assert!(!daemon.rules().contains("8443"), "{}", daemon.rules());
        assert!(daemon.status()["daemon"]["config_rejected"].is_null(), "{}", daemon.status());
        // By a start, too.
        daemon.good(&["apply", "--confirm", "600", "-"], &port(8443));
        std::fs::remove_file(daemon.path("unconfirmed.token")).unwrap();
        daemon.restart();
        assert_eq!(daemon.file(), before);
        assert!(!daemon.rules().contains("8443"), "{}", daemon.rules());
    }
}

/// At a terminal it is asked for.
#[test]
fn who_sits_at_a_terminal_is_asked() {
    let daemon = start(CONFIG);
    let (next, other) = (daemon.path("next"), daemon.path("other"));
    std::fs::write(&next, port(8443)).unwrap();
    std::fs::write(&other, port(80)).unwrap();
    let at_terminal = |file: &std::path::Path, answer: &str| {
        let words = format!(
            "{MWAN} --run-dir {} apply --confirm 600 {}",
            daemon.dir.path().display(),
            file.display()
        );
        let mut child = Command::new("script")
            .args(["-qec", &words, "/dev/null"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.as_mut().unwrap().write_all(answer.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, text) = at_terminal(&next, "perhaps\nyes\n");
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("of 0 connections 0 stay") && text.contains("yes or no?"), "{text}");
    assert!(daemon.is_port(8443) && !daemon.waits());
    let (code, text) = at_terminal(&other, "no\n");
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("taken back: the configuration before") && daemon.is_port(8443), "{text}");
}

/// What a plan says of connections is what becomes of them.
#[test]
fn a_plan_tells_of_connections() {
    let daemon = start(CONFIG);
    let pid = daemon.pid().to_string();
    // Marked as by the data plane: 1 is wan's.
    for (at, mark) in [(1, 0x100), (2, 0x100), (3, 0x3f00)] {
        let tuple = format!(
            "-I -p tcp --state ESTABLISHED --timeout 600 -s 192.0.2.2 -d 198.51.100.{at} --sport 1000 --dport 443 -r 198.51.100.{at} -q \
             192.0.2.2 --reply-port-src 443 --reply-port-dst 1000 -m {mark}"
        );
        let made = enter(&pid).arg("conntrack").args(tuple.split_whitespace()).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let other =
        CONFIG.replace("'wan'", "'wanb'").replace("'wan_m1_w1'", "'wanb_m1_w1'").replace("wan0", "wan1");
    let file = daemon.path("other");
    std::fs::write(&file, other.replace("192.0.2.1", "192.0.3.1")).unwrap();
    let plan = daemon.json(&["plan", "--json", "--config", file.to_str().unwrap()]);
    let impact = &plan["impact"];
    assert_eq!(
        (&impact["total"], &impact["stay"], &impact["move"], &impact["reset"]),
        (&3.into(), &1.into(), &0.into(), &2.into()),
        "{impact}"
    );
    let text = daemon.good(&["apply", "--dry-run", file.to_str().unwrap()], "");
    assert!(
        text.contains("# of 3 connections 1 stay, 0 move, 2 are reset\n       2 reset    wan -> wanb\n"),
        "{text}"
    );
    assert!(
        text.contains("2 of 192.0.2.2\n") || text.contains("reset    tcp 192.0.2.2:1000 -> 198.51.100.1:443"),
        "{text}"
    );
}

/// What is in the file was refused, so it was not in force, and is nothing to come back to.
#[test]
fn a_text_that_was_refused_does_not_come_back() {
    let mut daemon = start(CONFIG);
    let mistake = "config rule 'x'\n";
    std::fs::write(daemon.path("mwan3"), mistake).unwrap();
    daemon.wait("it is refused", |d| !d.status()["daemon"]["config_rejected"].is_null());
    let again = daemon.bad(1, &["apply", "-"], mistake);
    assert!(again.contains("no interface"), "{again}");
    daemon.good(&["apply", "--confirm", "1", "-"], &port(8443));
    daemon.wait("it is taken back", |d| !d.waits());
    assert!(daemon.file() == CONFIG && daemon.rules().contains("443") && !daemon.rules().contains("8443"));
    // A daemon that carries on with what was in force knows so, too.
    std::fs::write(daemon.path("mwan3"), mistake).unwrap();
    daemon.restart();
    daemon.good(&["apply", "--confirm", "1", "-"], &port(8443));
    daemon.wait("it is taken back", |d| !d.waits());
    assert_eq!(daemon.file(), CONFIG);
}

/// Whatever is the matter with the file, the configuration before is in force when the time is over, and in the file when it can be.
#[test]
fn a_file_that_cannot_be_written_keeps_nobody_waiting_for_the_one_before() {
    let mut daemon = start(CONFIG);
    daemon.good(&["apply", "--confirm", "6", "-"], &port(8443));
    std::fs::remove_file(daemon.path("mwan3")).unwrap();
    std::fs::create_dir(daemon.path("mwan3")).unwrap();
    daemon.wait("the one before is in force", |d| !d.rules().contains("8443"));
    daemon.wait("that is told", |d| {
        d.status()["problems"].to_string().contains("could not be put back as it was")
    });
    let late = daemon.with(&["confirm"], "");
    assert!(late.status.code() == Some(1) && said(&late).contains("taken back already"), "{}", said(&late));
    daemon.restart();
    assert!(!daemon.rules().contains("8443"), "{}", daemon.rules());
    std::fs::remove_dir(daemon.path("mwan3")).unwrap();
    daemon.wait("it is in the file", |d| d.path("mwan3").exists());
    daemon.wait("nothing waits", |d| !d.waits());
    assert!(daemon.file() == CONFIG && !daemon.path("unconfirmed").exists());
    assert!(daemon.list()[1].2, "{:?}", daemon.list());
}

/// The power fails when the text before is in the file again, and the record is still there.
#[test]
fn a_taking_back_that_was_cut_short_is_one() {
    let mut daemon = start(CONFIG);
    daemon.good(&["apply", "--confirm", "600", "-"], &port(8443));
    std::fs::write(daemon.path("mwan3"), CONFIG).unwrap();
    daemon.restart();
    assert!(daemon.file() == CONFIG && !daemon.waits());
    let taken_back = [one(3, "taken_back -", false), one(2, "apply root", true), one(1, "start -", false)];
    daemon.wait("it is kept", |d| d.list() == taken_back);
    assert!(daemon.bad(1, &["rollback"], "").contains("no other configuration is kept"));
}

#[test]
fn of_two_orders_at_once_one_waits_and_terms_are_not_left_out() {
    let daemon = start(CONFIG);
    let texts = [port(8443), port(9443)];
    let outputs = std::thread::scope(|scope| {
        let daemon = &daemon;
        let order = |text| scope.spawn(move || daemon.with(&["apply", "--confirm", "600", "-"], text));
        texts.each_ref().map(|text| order(text.as_str())).map(|thread| thread.join().unwrap())
    });
    let won = outputs.iter().position(|output| output.status.success()).unwrap();
    let lost = &outputs[1 - won];
    assert!(lost.status.code() == Some(1) && said(lost).contains("waits to be confirmed"), "{}", said(lost));
    assert_eq!(daemon.file(), texts[won]);
    // To take it back is one thing, to go back under conditions another.
    let refused = daemon.bad(1, &["rollback", "--confirm", "5"], "");
    assert!(refused.contains("waits to be confirmed"), "{refused}");
    assert!(daemon.waits());
}
