//! Namespaces for tests. Nothing here ever touches the namespace the tests were started in.

#![allow(dead_code, missing_docs, unreachable_pub, unsafe_code)]

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs `body` in a thread with a network namespace of its own. Without root the whole test is run again under
/// `unshare -Urn`; where that is forbidden too, the test fails and says so.
pub fn in_namespace(test: &str, body: impl FnOnce() + Send + 'static) {
    // SAFETY: plain call.
    if unsafe { libc::geteuid() } != 0 {
        return delegate(test);
    }
    let outcome = std::thread::spawn(move || {
        enter();
        body();
    })
    .join();
    if let Err(panic) = outcome {
        std::panic::resume_unwind(panic);
    }
}

/// The same for tests that need other users, of which `unshare -Urn` has none.
pub fn in_namespace_as_root(test: &str, body: impl FnOnce() + Send + 'static) {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    let users: u64 = map.split_whitespace().nth(2).and_then(|n| n.parse().ok()).unwrap_or(0);
    // SAFETY: plain call.
    let root = unsafe { libc::geteuid() } == 0;
    assert!(root && users > 65534, "{test} needs root: it runs commands as another user");
    in_namespace(test, body);
}

/// Gives the calling thread a network namespace of its own, with `lo` up.
pub fn enter() {
    // SAFETY: plain call that concerns this thread only.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNET) };
    assert_eq!(result, 0, "unshare(CLONE_NEWNET): {}", std::io::Error::last_os_error());
    sh("ip link set lo up");
}

fn delegate(test: &str) {
    let program = std::env::current_exe().expect("own path");
    let status = Command::new("unshare")
        .arg("-Urn")
        .arg(program)
        .args(["--exact", test, "--nocapture"])
        .status()
        .expect("not root, and `unshare` (util-linux) is missing: this test cannot run");
    assert!(
        status.success(),
        "not root; under `unshare -Urn` the test failed (or user namespaces are forbidden)"
    );
}

/// Output of a shell command in the thread's namespace; panics if it fails.
pub fn sh(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("sh");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{command}` failed: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Feeds `input` to a command.
pub fn feed(command: &str, input: &str) {
    use std::io::Write;
    let mut child = Command::new("sh").args(["-c", command]).stdin(Stdio::piped()).spawn().expect("sh");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("write");
    assert!(child.wait().expect("wait").success(), "`{command}` refused:\n{input}");
}

/// Polls a condition for up to half a minute.
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < end, "did not happen: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A second namespace, held by a process.
pub struct Peer(Child);

impl Peer {
    pub fn new() -> Self {
        // `cat` ends by itself when we do: its input closes.
        let child = Command::new("unshare")
            .args(["-n", "cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("unshare");
        let peer = Peer(child);
        let own = std::fs::read_link("/proc/thread-self/ns/net").expect("own namespace");
        eventually("the peer's namespace", || {
            std::fs::read_link(format!("/proc/{}/ns/net", peer.0.id())).is_ok_and(|ns| ns != own)
        });
        peer.sh("ip link set lo up");
        peer
    }

    pub fn pid(&self) -> u32 {
        self.0.id()
    }

    pub fn sh(&self, command: &str) -> String {
        sh(&format!("nsenter -t {} -n sh -c '{command}'", self.pid()))
    }

    /// Runs `body` in a thread inside the peer's namespace.
    pub fn spawn<T: Send + 'static>(
        &self,
        body: impl FnOnce() -> T + Send + 'static,
    ) -> std::thread::JoinHandle<T> {
        use std::os::fd::AsRawFd;
        let namespace = std::fs::File::open(format!("/proc/{}/ns/net", self.pid())).expect("namespace");
        std::thread::spawn(move || {
            // SAFETY: plain call that concerns this thread only.
            let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
            assert_eq!(result, 0, "setns: {}", std::io::Error::last_os_error());
            body()
        })
    }

    /// A veth pair: `ours` here, `theirs` there, both up.
    pub fn link(&self, ours: &str, theirs: &str) {
        sh(&format!("ip link add name {ours} type veth peer name {theirs}"));
        sh(&format!("ip link set {theirs} netns {}", self.pid()));
        sh(&format!("ip link set {ours} up"));
        self.sh(&format!("ip link set {theirs} up"));
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
