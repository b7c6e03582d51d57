//! How the daemon starts: what it tells its service manager, and what changes meanwhile.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{MWAN, unshare};

const PATIENCE: Duration = Duration::from_secs(20);

fn config(interface: &str) -> String {
    format!("config interface '{interface}'\n\toption enabled '1'\n\toption device 'wan0'\n")
}

/// A daemon in a network namespace of its own, killed with it.
struct Daemon(Child);

impl Daemon {
    fn start(dir: &Path) -> Self {
        let child = unshare()
            .args(["--kill-child", MWAN, "daemon"])
            .args(["--platform", "linux", "--config"])
            .arg(dir.join("mwan3"))
            .arg("--run-dir")
            .arg(dir)
            .arg("--state-dir")
            .arg(dir)
            .env("NOTIFY_SOCKET", dir.join("notify"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Daemon(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn mwan(dir: &Path, args: &[&str]) -> Output {
    Command::new(MWAN).arg("--run-dir").arg(dir).args(args).output().unwrap()
}

fn heard(socket: &UnixDatagram) -> String {
    let mut text = [0; 256];
    let length = socket.recv(&mut text).expect("the service manager is told in time");
    String::from_utf8_lossy(&text[..length]).into_owned()
}

#[test]
fn the_service_manager_is_told() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), config("wan")).unwrap();
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let _daemon = Daemon::start(dir.path());
    assert_eq!(heard(&manager), "READY=1");
    assert!(mwan(dir.path(), &["interfaces"]).status.success(), "who is ready answers");
    assert!(mwan(dir.path(), &["reload"]).status.success());
    // sd_notify(3): a reload says since when, by the monotonic clock in microseconds.
    let reloading = heard(&manager);
    let since = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect(&reloading);
    assert!(since.parse::<u64>().unwrap() > 0);
    assert_eq!(heard(&manager), "READY=1");
    assert!(mwan(dir.path(), &["stop"]).status.success());
    assert_eq!(heard(&manager), "STOPPING=1");
}

#[test]
fn a_configuration_replaced_while_the_daemon_starts_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let (file, next) = (dir.path().join("mwan3"), dir.path().join("next"));
    std::fs::write(&next, config("second")).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    let _daemon = Daemon::start(dir.path());
    // Opens when the daemon reads; it goes on when it has read all, and by then the name means another file.
    let mut first = std::fs::OpenOptions::new().write(true).open(&file).unwrap();
    std::fs::rename(&next, &file).unwrap();
    first.write_all(config("first").as_bytes()).unwrap();
    drop(first);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let shown = mwan(dir.path(), &["interfaces"]);
        if String::from_utf8_lossy(&shown.stdout).contains("interface second ") {
            return;
        }
        assert!(Instant::now() < deadline, "still the old one: {}", String::from_utf8_lossy(&shown.stdout));
        std::thread::sleep(Duration::from_millis(50));
    }
}
