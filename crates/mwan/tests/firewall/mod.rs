//! An IPFire-shaped system for tests: its folders and scripts, written anew from their description, busybox as its shell, real
//! devices and three ISPs, in namespaces of its own. Everything has its real path there (chroot), so the add-on's files run as
//! they are.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
// Each test program takes what it needs.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

pub(crate) use crate::common::is_root;
pub(crate) use crate::isps::{CABLE, SETTINGS};
use crate::isps::{ETHERNET, Isps};

const PATIENCE: Duration = Duration::from_secs(30);

/// A third ISP; then the system's root with what it needs of this machine.
const BOOT: &str = r#"
ip link add eth2 type veth peer name isp2 netns "$far"
nsenter -t "$far" -n sh -ec 'ip address add 203.0.113.1/24 dev isp2; ip link set isp2 up'
ip link set eth2 up
root="$DIR/root"
mount --rbind /usr "$root/usr"
mount --bind "$DIR/local" "$root/usr/local"
for name in proc sys dev; do mount --rbind "/$name" "$root/$name"; done
"#;

/// What IPFire's scripts take for granted.
const RC: &str = "rc_base=/etc/rc.d\nrc_functions=/etc/rc.d/init.d/functions\n";
const FUNCTIONS: &str = r#"
boot_mesg() { echo "$1"; }
evaluate_retval() { code=$?; if [ "$code" = 0 ]; then echo "[  OK  ]"; else echo "[ FAIL ]"; fi; return 0; }
loadproc() {
	nice=10
	while :; do
		case "$1" in
			-f) shift ;;
			-n) nice="$2"; shift 2 ;;
			*) break ;;
		esac
	done
	nice -n "$nice" "$@"
	evaluate_retval
}
run_subdir() {
	for script in $(ls -v "$1"*); do
		[ -x "$script" ] || continue
		"$script"
	done
}
"#;
/// RED with a fixed address.
const RED: &str = r#"#!/bin/sh
. /etc/sysconfig/rc
. ${rc_functions}
case "$1" in
	start)
		ip address add 192.0.2.2/24 dev red0
		ip link set red0 up
		ip route add default via 192.0.2.1
		printf red0 > /var/ipfire/red/iface
		printf 192.0.2.2 > /var/ipfire/red/local-ipaddress
		printf 192.0.2.1 > /var/ipfire/red/remote-ipaddress
		: > /var/ipfire/red/active
		run_subdir /etc/rc.d/init.d/networking/red.up/
		;;
	stop)
		rm -f /var/ipfire/red/active
		ip address flush dev red0
		run_subdir /etc/rc.d/init.d/networking/red.down/
		;;
esac
"#;
const NOTE: &str = "#!/bin/sh\necho \"${0##*networking/}\" >> /var/log/hooks\n";
/// The web server's group; in a user namespace there is but one.
fn groups() -> String {
    format!("root:x:0:\nnobody:x:{}:\n", if is_root() { 99 } else { 0 })
}

pub(crate) const FIBRE: &str = "TYPE=STATIC
DEVICE=eth2
ADDRESS=203.0.113.2/24
GATEWAY=203.0.113.1
PRIORITY=2
";

/// Mode and content, or target, of every path.
pub(crate) type Tree = BTreeMap<String, (u32, Vec<u8>)>;

pub(crate) struct Firewall {
    isps: Isps,
}

impl Firewall {
    /// As it is before anything of ours is there, RED up.
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        layout(dir.path());
        let firewall = Firewall { isps: Isps::new(dir, BOOT) };
        firewall.wait("the network is there", |f| f.isps.is_ready());
        firewall.ok("/etc/init.d/networking/red start");
        firewall
    }

    /// With the add-on installed from a folder it was copied to, a backup configured, the daemon running.
    pub(crate) fn running() -> Self {
        let firewall = Firewall::new();
        firewall.ok("/root/mwan ipfire install");
        firewall.write("var/ipfire/mwan/settings", SETTINGS);
        firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
        firewall.ok("/usr/local/bin/mwan-daemon-universal start");
        firewall.wait("both work", |f| f.status().matches("ipv4 online").count() == 2);
        firewall
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.isps.dir.path().join("root")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        match name.strip_prefix("usr/local") {
            Some(name) => self.isps.dir.path().join("local").join(name.trim_start_matches('/')),
            None => self.root().join(name),
        }
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        write(&self.path(name), text, 0o644);
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A command line of busybox's shell in the system.
    pub(crate) fn command(&self, text: &str) -> Command {
        let root = self.root();
        let mut command = self.isps.inside(&["chroot", root.to_str().unwrap(), "/bin/sh", "-c", text]);
        command.env_clear().env("PATH", "/bin:/usr/sbin:/usr/bin:/usr/local/bin");
        command
    }

    pub(crate) fn run(&self, text: &str) -> Output {
        self.command(text).output().unwrap()
    }

    /// The same as the user the web server runs as, if there is another user.
    pub(crate) fn as_nobody(&self, text: &str) -> Command {
        let user = if is_root() { "/usr/bin/setpriv --reuid 99 --regid 99 --clear-groups " } else { "" };
        self.command(&format!("exec {user}{text}"))
    }

    /// One that succeeds; what it says.
    pub(crate) fn ok(&self, text: &str) -> String {
        let output = self.run(text);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{text}: {}: {said}{complaint}{}", output.status, self.log());
        said + &complaint
    }

    /// The primary's ISP drops everything, or nothing.
    pub(crate) fn silent(&self, silent: bool) {
        self.isps.silent(silent);
    }

    pub(crate) fn status(&self) -> String {
        String::from_utf8(self.run("/usr/local/bin/mwan-config status").stdout).unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.read("var/log/mwan.log")
    }

    pub(crate) fn carried_by(&self, name: &str) -> bool {
        self.status().starts_with(&format!("RED is carried by {name}"))
    }

    pub(crate) fn wait(&self, what: &str, condition: impl Fn(&Firewall) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition(self) {
            assert!(Instant::now() < deadline, "not in time: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Everything below the root that is of the system, and not of the moment.
    pub(crate) fn tree(&self) -> Tree {
        let mut all = Tree::new();
        for (folder, below) in [("etc", "etc"), ("srv", "srv"), ("var", "var"), ("usr/local", "usr/local")] {
            collect(&self.path(folder), below, &mut all);
        }
        collect(&self.path("run"), "run", &mut all);
        // The lock of a network namespace is for whoever comes next; hooks have written what they were told.
        all.retain(|name, _| !name.starts_with("run/lock") && name != "var/log/hooks");
        all
    }
}

impl Drop for Firewall {
    fn drop(&mut self) {
        // A daemon that was started in the background is in no group of ours.
        let _ = self.run("/root/mwan stop");
    }
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn layout(dir: &Path) {
    let root = dir.join("root");
    for folder in ["usr", "proc", "sys", "dev", "tmp", "root", "run/lock", "bin", "var/ipfire/red", "var/log"]
    {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    for folder in ["local/bin", "local/sbin", "local/lib"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    for (name, target) in [("lib", "usr/lib"), ("lib64", "usr/lib64"), ("sbin", "usr/sbin")] {
        symlink(target, root.join(name)).unwrap();
    }
    let busybox = ["/usr/bin/busybox", "/bin/busybox"].into_iter().find(|p| Path::new(p).exists()).unwrap();
    fs::copy(busybox, root.join("bin/busybox")).unwrap();
    for name in ["sh", "ls", "cat", "echo", "grep", "rm", "tail", "sed", "awk", "basename"] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::copy(env!("CARGO_BIN_EXE_mwan"), root.join("root/mwan")).unwrap();
    symlink("rc.d/init.d", {
        fs::create_dir_all(root.join("etc/rc.d/init.d/networking")).unwrap();
        root.join("etc/init.d")
    })
    .unwrap();
    symlink("../run", root.join("var/run")).unwrap();
    let init = root.join("etc/rc.d/init.d");
    write(&root.join("etc/sysconfig/rc"), RC, 0o644);
    write(&root.join("etc/group"), &groups(), 0o644);
    write(&init.join("functions"), FUNCTIONS, 0o644);
    write(&init.join("networking/red"), RED, 0o754);
    for folder in ["red.up", "red.down"] {
        write(&init.join("networking").join(folder).join("20-firewall"), NOTE, 0o754);
    }
    for name in ["rc0.d/K80network", "rc3.d/S20network", "rc6.d/K80network"] {
        write(&root.join("etc/rc.d").join(name), "", 0o644);
    }
    write(&root.join("etc/iproute2/rt_tables"), "255\tlocal\n254\tmain\n", 0o644);
    fs::create_dir_all(root.join("etc/iproute2/rt_tables.d")).unwrap();
    write(&root.join("var/ipfire/ethernet/settings"), ETHERNET, 0o644);
    write(&root.join("var/ipfire/backup/addons/includes/tor"), "/var/ipfire/tor\n", 0o644);
    write(&root.join("var/ipfire/menu.d/EX-tor.menu"), "", 0o644);
    write(&root.join("srv/web/ipfire/cgi-bin/index.cgi"), "", 0o755);
}

fn collect(folder: &Path, name: &str, all: &mut Tree) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{name}/{}", path.file_name().unwrap().to_str().unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = if meta.is_dir() {
            collect(&path, &name, all);
            Vec::new()
        } else if meta.is_symlink() {
            fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
        } else if meta.is_file() {
            fs::read(&path).unwrap()
        } else {
            b"special".to_vec()
        };
        all.insert(name, (meta.mode(), content));
    }
}
