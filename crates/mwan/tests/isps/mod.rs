//! Providers in one far namespace, whose three addresses the universal daemon asks, and a router of IPFire's kind beside it, in
//! network and mount namespaces of its own.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
// Each test program takes what it needs.
#![allow(dead_code)]

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use crate::common::{MWAN, enter, unshare};

/// Two of them: the primary's behind `red0`, a backup's behind `eth1`.
const NETWORK: &str = r#"
set -e
ip link set lo up
sysctl -qw net.ipv4.ip_forward=1
unshare -n sh -c 'echo $$ > "$DIR/far.new" && mv "$DIR/far.new" "$DIR/far" && exec setpriv --pdeathsig KILL sleep 600' &
while [ ! -s "$DIR/far" ]; do sleep 0.05; done
read -r far < "$DIR/far"
while ! ip link add red0 type veth peer name isp0 netns "$far" 2>/dev/null; do sleep 0.05; done
ip link add eth1 type veth peer name isp1 netns "$far"
nsenter -t "$far" -n sh -ec '
for ip in 8.8.8.8 1.1.1.1 208.67.222.222; do ip address add $ip/32 dev lo; done
ip link set lo up
ip address add 192.0.2.1/24 dev isp0
ip address add 198.51.100.1/24 dev isp1
ip link set isp0 up
ip link set isp1 up
nft add table ip test
nft add chain ip test drops "{ type filter hook prerouting priority -300; }"'
ip link set eth1 up
"#;
/// Says so, and waits for what is to be run.
const READY: &str = "\necho ready > \"$DIR/ready\"\nexec sh\n";

/// What IPFire's scripts do for a fixed address.
pub(crate) const RED_UP: &str =
    "ip address add 192.0.2.2/24 dev red0\nip link set red0 up\nip route add default via 192.0.2.1\n";

/// What stands in IPFire's settings then.
pub(crate) const ETHERNET: &str = "CONFIG_TYPE=1
GREEN_DEV=green0
RED_TYPE=STATIC
RED_DEV=red0
RED_ADDRESS=192.0.2.2
RED_NETMASK=255.255.255.0
DEFAULT_GATEWAY=192.0.2.1
";

/// What the owner writes.
pub(crate) const SETTINGS: &str = "ENABLED=on
PRIMARY_CHECK_INTERVAL=0.3
FAILOVER_THRESHOLD=2
FAILBACK_ATTEMPTS=2
BACKUP_PROFILE=cable
";

pub(crate) const CABLE: &str = "TYPE=STATIC
DEVICE=eth1
ADDRESS=198.51.100.2/24
GATEWAY=198.51.100.1
DNS1=9.9.9.9
";

pub(crate) struct Isps {
    shell: Child,
    pub(crate) dir: tempfile::TempDir,
}

impl Isps {
    /// Begins to make them, and what `more` says in the router's namespaces (`$DIR` is `dir`, `$far` the far namespace).
    pub(crate) fn new(dir: tempfile::TempDir, more: &str) -> Self {
        let shell = unshare()
            .args(["-m", "--kill-child", "sh", "-c", &format!("{NETWORK}{more}{READY}")])
            .env("DIR", dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Isps { shell, dir }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.dir.path().join("ready").exists()
    }

    /// A command in the router's namespaces.
    pub(crate) fn inside(&self, argv: &[&str]) -> Command {
        // unshare's own process stays outside, what it started is inside.
        let shell = self.shell.id();
        let children = fs::read_to_string(format!("/proc/{shell}/task/{shell}/children")).unwrap();
        let mut command = enter(children.split_whitespace().next().unwrap());
        // nsenter becomes the program: its number is the program's.
        command.args(["-m", "--"]).args(argv).stdin(Stdio::null());
        command
    }

    /// A shell's words there, which succeed; what they say.
    pub(crate) fn sh(&self, text: &str) -> String {
        let output = self.inside(&["sh", "-ec", text]).env("DIR", self.dir.path()).output().unwrap();
        assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The process that holds the far namespace.
    pub(crate) fn far(&self) -> String {
        fs::read_to_string(self.dir.path().join("far")).unwrap().trim().to_owned()
    }

    /// The primary's ISP drops everything, or nothing.
    pub(crate) fn silent(&self, silent: bool) {
        let rule =
            if silent { "add rule ip test drops iifname isp0 drop" } else { "flush chain ip test drops" };
        self.sh(&format!("nsenter -t {} -n nft {rule}", self.far()));
    }

    // A system of IPFire's shape beside the machine's own: `/var/ipfire` is below `system`.

    pub(crate) fn system(&self, path: &str) -> PathBuf {
        self.dir.path().join("system").join(path)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.system("var/ipfire")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.root().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The daemon, as a process of ours.
    pub(crate) fn daemon(&self) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.dir.path().join("log")).unwrap();
        let mut daemon = self.inside(&[MWAN, "--run-dir"]);
        daemon
            .arg(self.dir.path().join("run"))
            .args(["daemon", "--platform", "ipfire", "--state-dir"])
            .arg(self.dir.path().join("state"))
            .arg("--config")
            .arg(self.root().join("mwan/settings"));
        daemon.stderr(log).spawn().unwrap()
    }

    pub(crate) fn mwan(&self, args: &[&str]) -> Output {
        let mut command = Command::new(MWAN);
        command.arg("--run-dir").arg(self.dir.path().join("run")).args(args);
        command.env("MWAN_IPFIRE_ROOT", self.root()).stdin(Stdio::null()).output().unwrap()
    }

    pub(crate) fn status(&self) -> String {
        String::from_utf8(self.mwan(&["red", "status"]).stdout).unwrap()
    }

    pub(crate) fn line(&self, word: &str) -> String {
        self.status().lines().find(|l| l.contains(word)).unwrap_or_default().to_owned()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Isps {
    fn drop(&mut self) {
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}
