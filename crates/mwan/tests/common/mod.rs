//! The real daemon in a network namespace of its own, for tests of what its clients see.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
// Each test program takes what it needs.
#![allow(dead_code)]

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const MWAN: &str = env!("CARGO_BIN_EXE_mwan");

/// One WAN that is not tracked, one policy, one rule.
pub(crate) const CONFIG: &str = "
config interface 'wan'
	option enabled '1'
	option device 'wan0'
	option gateway '192.0.2.1'

config member 'wan_m1_w1'
	option interface 'wan'

config policy 'only'
	list use_member 'wan_m1_w1'

config rule 'https'
	option proto 'tcp'
	option dest_port '443'
	option use_policy 'only'
";

/// The end of a script that has made its network: the daemon, started again if it is killed.
const FOR_EVER: &str =
    "\nwhile :; do setpriv --pdeathsig KILL \"$0\" \"$@\"; code=$?; [ $code = 137 ] || exit $code; done";

/// Longest wait for something that happens at once on an idle machine.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) dir: tempfile::TempDir,
}

impl Daemon {
    /// Runs the shell words `network` in a new namespace, then the daemon with the file `mwan3` of `dir`, which is its run
    /// and state directory, and waits until it answers. `more` adds to its command line and environment.
    pub(crate) fn spawn(
        dir: tempfile::TempDir,
        network: &str,
        log: impl Into<Stdio>,
        more: impl FnOnce(&mut Command),
    ) -> Self {
        let mut command = unshare();
        command.args([
            "--kill-child",
            "sh",
            "-c",
            &format!("{network}{FOR_EVER}"),
            MWAN,
            "daemon",
            "--config",
        ]);
        command.arg(dir.path().join("mwan3"));
        command.env("MWAN_RUN_DIR", dir.path()).env("MWAN_STATE_DIR", dir.path());
        more(&mut command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut daemon = Daemon { child, dir };
        daemon.wait("it answers", |d| d.mwan(&["interfaces"]).status.success());
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What it wrote into the file `log`.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn mwan(&self, args: &[&str]) -> Output {
        let mut command = Command::new(MWAN);
        command.arg("--run-dir").arg(self.dir.path()).args(args).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> serde_json::Value {
        let output = self.mwan(args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|e| panic!("{args:?}: {e}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// `null` while nobody answers.
    pub(crate) fn status(&self) -> serde_json::Value {
        serde_json::from_slice(&self.mwan(&["status", "--json"]).stdout).unwrap_or_default()
    }

    /// Of the daemon itself, not of `unshare` around it; 0 while nobody answers.
    pub(crate) fn pid(&self) -> u64 {
        self.status()["daemon"]["pid"].as_u64().unwrap_or(0)
    }

    pub(crate) fn wait(&mut self, what: &str, condition: impl Fn(&Daemon) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(self.child.try_wait().unwrap().is_none(), "the daemon ended:\n{}", self.log());
            assert!(Instant::now() < deadline, "not in time: {what}\n{}\n{}", self.log(), self.status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Output of a program in the daemon's network namespace.
    pub(crate) fn inside(&self, command: &[&str]) -> String {
        let output = enter(&self.pid().to_string()).args(command).output().unwrap();
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// `kill -9` and a new start in the same namespace, in which the script around the daemon still is.
    pub(crate) fn restart(&mut self) {
        let pid = self.pid();
        let killed = Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
        assert!(killed.success());
        self.wait("another is there", |d| ![0, pid].contains(&d.pid()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn is_root() -> bool {
    Command::new("id").arg("-u").output().unwrap().stdout == b"0\n"
}

/// `unshare` into a network namespace. Root needs no user namespace; others get one, in which they are root (unshare(1)).
pub(crate) fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.arg(if is_root() { "-n" } else { "-rn" });
    command
}

/// `nsenter` to the network namespace of a process.
pub(crate) fn enter(pid: &str) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", pid, "-n"]);
    if !is_root() {
        command.args(["-U", "--preserve-credentials"]);
    }
    command
}
