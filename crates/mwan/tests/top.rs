//! `mwan top` in a real terminal (tmux) with the real daemon.
#![allow(clippy::unwrap_used)]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::{Daemon, MWAN};

/// Two WANs that are not tracked, and somebody's connection by the first.
const NETWORK: &str = "ip link set lo up; for n in 0 1; do ip link add wan$n type veth peer name isp$n && ip link set isp$n up && \
     ip addr add 192.0.2.$((n * 16 + 2))/28 dev wan$n && ip link set wan$n up || exit 1; done";
const CONFIG: &str = "
config interface 'fiber'
	option enabled '1'
	option device 'wan0'
	option gateway '192.0.2.1'

config interface 'lte'
	option enabled '1'
	option device 'wan1'
	option gateway '192.0.2.17'

config member 'fiber_m1'
	option interface 'fiber'

config member 'lte_m1'
	option interface 'lte'

config policy 'balanced'
	list use_member 'fiber_m1'
	list use_member 'lte_m1'

config rule 'all'
	option use_policy 'balanced'
";

fn daemon() -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), CONFIG).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "linux"]);
    })
}

/// A terminal of a tmux server of its own.
struct Tmux(String);

impl Tmux {
    /// With `top` of `daemon` in it, and what it says at its end.
    fn with_top(daemon: &Daemon, width: u16, height: u16) -> Self {
        let tmux = Tmux(format!("mwan-test-{}-{width}", std::process::id()));
        let (width, height) = (width.to_string(), height.to_string());
        let command =
            format!("{MWAN} --run-dir {} top; echo ended with $?; read -r _", daemon.dir.path().display());
        tmux.run(&[
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-x",
            &width,
            "-y",
            &height,
            "sh",
            "-c",
            &command,
        ]);
        tmux
    }

    fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("tmux")
            .args(["-L", &self.0])
            .args(arguments)
            .env("LC_ALL", "C.UTF-8")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn press(&self, key: &str) {
        self.run(&["send-keys", key]);
    }

    fn picture(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    fn wait(&self, text: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let picture = self.picture();
            if picture.contains(text) {
                return picture;
            }
            assert!(Instant::now() < deadline, "there is no `{text}` in\n{picture}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Command::new("tmux").args(["-L", &self.0, "kill-server"]).output();
    }
}

#[test]
fn a_small_terminal_shows_and_drains_and_is_given_back() {
    let daemon = daemon();
    let tmux = Tmux::with_top(&daemon, 80, 24);
    let picture = tmux.wait("all well");
    assert_eq!(picture.lines().count(), 24, "{picture}");
    assert!(picture.lines().all(|line| line.chars().count() <= 80), "{picture}");
    for text in ["Interfaces", "fiber", "lte", "online", "Events, newest first", "q quit"] {
        assert!(picture.contains(text), "no `{text}` in\n{picture}");
    }
    tmux.press("Down");
    tmux.press("d");
    tmux.wait("drained");
    assert_eq!(daemon.status()["interfaces"][1]["paths"][0]["drained"], true);
    tmux.wait("drain lte: done");
    tmux.press("Tab");
    tmux.wait("balanced             fiber ");
    // Not without a yes.
    tmux.press("e");
    tmux.wait("take lte down");
    tmux.press("n");
    tmux.wait("nothing done");
    assert_ne!(daemon.status()["interfaces"][1]["paths"][0]["reason"]["code"], "taken_down");
    tmux.press("q");
    let picture = tmux.wait("ended with 0");
    assert!(!picture.contains("Interfaces"), "the terminal is as before:\n{picture}");
}

#[test]
fn a_large_terminal_shows_all_and_outlives_a_restart_of_the_daemon() {
    let mut daemon = daemon();
    let tmux = Tmux::with_top(&daemon, 200, 60);
    let picture = tmux.wait("all well");
    for text in
        ["Interfaces", "Policies", "Connections", "Events, newest first", "fiber 50%  lte 50%", "wan1", "why"]
    {
        assert!(picture.contains(text), "no `{text}` in\n{picture}");
    }
    daemon.restart();
    let again = |picture: &str| picture.matches("started").count();
    let deadline = Instant::now() + Duration::from_secs(30);
    while again(&tmux.picture()) < 2 || !tmux.picture().contains("all well") {
        assert!(Instant::now() < deadline, "{}", tmux.picture());
        std::thread::sleep(Duration::from_millis(100));
    }
    tmux.press("C-c");
    tmux.wait("ended with 0");
}

/// Whoever ends it from elsewhere has his terminal back, too.
#[test]
fn a_signal_gives_the_terminal_back() {
    let daemon = daemon();
    let tmux = Tmux::with_top(&daemon, 90, 24);
    tmux.wait("all well");
    let shell = tmux.run(&["list-panes", "-F", "#{pane_pid}"]);
    let shell = shell.trim();
    let children = std::fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
    let top: Vec<&str> = children.split_whitespace().collect();
    assert_eq!(top.len(), 1, "{children}");
    assert!(Command::new("kill").args(["-TERM", top[0]]).status().unwrap().success());
    let picture = tmux.wait("ended with 0");
    assert!(!picture.contains("Interfaces"), "the terminal is as before:\n{picture}");
}

#[test]
fn without_a_terminal_or_a_daemon_it_says_so() {
    let daemon = daemon();
    let output = daemon.mwan(&["top"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "mwan: top needs a terminal\nhint: use `mwan status` or `mwan events --follow`\n"
    );
    let nobody = tempfile::tempdir().unwrap();
    let tmux = Tmux(format!("mwan-test-{}-nobody", std::process::id()));
    let command = format!("{MWAN} --run-dir {} top; echo ended with $?; read -r _", nobody.path().display());
    tmux.run(&["-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "sh", "-c", &command]);
    let picture = tmux.wait("ended with 1");
    assert!(picture.contains("no daemon answers"), "{picture}");
}
