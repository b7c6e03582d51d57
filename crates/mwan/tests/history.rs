//! History and report of the real daemon, on a disk that takes nothing, and what is said to wrong questions.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{CONFIG, Daemon, MWAN, unshare};

const NETWORK: &str = "ip link add wan0 type veth peer name isp0 && ip link set isp0 up && ip link set wan0 up && \
    ip address add 192.0.2.2/24 dev wan0";
const PATIENCE: Duration = Duration::from_secs(30);

fn mwan(dir: &tempfile::TempDir, words: &[&str]) -> Output {
    Command::new(MWAN).arg("--run-dir").arg(dir.path().join("run")).args(words).output().unwrap()
}

fn until(what: &str, child: &mut Child, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(child.try_wait().unwrap().is_none(), "it ended, waiting for: {what}");
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The end of a daemon whose state directory is a file system with these options.
fn on_a_disk(options: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), CONFIG).unwrap();
    std::fs::create_dir(dir.path().join("state")).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let script = format!("{NETWORK} && mount -t tmpfs -o {options} none state && exec \"$0\" \"$@\"");
    let mut child = unshare()
        .args(["-m", "sh", "-c", &script, MWAN, "--run-dir", "run", "daemon", "--platform", "linux"])
        .args(["--config", "mwan3", "--state-dir", "state"])
        .current_dir(dir.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    until("something is recorded", &mut child, || {
        let text = String::from_utf8(mwan(&dir, &["history", "wan", "--json"]).stdout).unwrap();
        let history: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        history["series"]["up"].as_array().is_some_and(|up| up.iter().any(|part| *part == 1.0))
    });
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    (dir, log)
}

#[test]
fn a_disk_that_takes_nothing_is_told_of_once_and_memory_goes_on() {
    for options in ["size=4k", "ro"] {
        let (dir, log) = on_a_disk(options);
        assert_eq!(log.matches("cannot write the copy of the history of wan").count(), 1, "{options}: {log}");
        // Without a daemon, what is in memory can be read.
        let report = mwan(&dir, &["report", "--state-dir", "/nonexistent"]);
        let text = String::from_utf8(report.stdout).unwrap();
        assert!(report.status.success() && text.contains("\nwan\n  ipv4\n"), "{text}");
        assert!(text.contains("availability   100.000 %"), "{text}");
    }
}

#[test]
fn a_disk_has_the_copy_at_the_end_and_room_for_others() {
    let (_dir, log) = on_a_disk("size=8m");
    assert!(!log.contains("cannot write"), "{log}");
    // A new file has some seven pages that are no holes.
    let (_dir, log) = on_a_disk("size=20k");
    assert!(log.contains("of which 2 are left to others"), "{log}");
}

#[test]
fn wrong_questions_get_one_line_and_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), CONFIG).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let daemon = Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "linux"]);
    });
    let says = |words: &[&str], what: &str| {
        let output = daemon.mwan(words);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{words:?}: {text}");
        assert!(text.starts_with(&format!("mwan: {what}\nhint: ")), "{words:?}: {text}");
        assert_eq!(text.lines().count(), 2, "{text}");
    };
    says(&["history", "nope"], "nothing is recorded of interface 'nope'");
    says(&["history", "a\u{1b}\nb"], "nothing is recorded of interface 'a\\u{1b}\\nb'");
    says(&["report", "--month", "2026-13"], "'2026-13' is not a month");
    for month in ["2020-01", "2099-12"] {
        let text = String::from_utf8(daemon.mwan(&["report", "--month", month]).stdout).unwrap();
        assert!(text.contains("Nothing is recorded of this month."), "{text}");
    }
    assert_eq!(daemon.json(&["report", "--json"])["schema"], "mwan.report.v1");
    assert_eq!(daemon.mwan(&["report", "--json", "--html"]).status.code(), Some(2));
}
