//! The real daemon on an IPFire-shaped system in namespaces of its own: RED taken over and given back, byte for byte.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;
mod isps;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use isps::{CABLE, ETHERNET, Isps, RED_UP, SETTINGS};

struct Site {
    isps: Isps,
    daemon: Option<Child>,
}

impl Deref for Site {
    type Target = Isps;

    fn deref(&self) -> &Isps {
        &self.isps
    }
}

impl Site {
    fn new() -> Self {
        let site = Site { isps: Isps::new(tempfile::tempdir().unwrap(), RED_UP), daemon: None };
        site.write("mwan/settings", SETTINGS);
        site.write("mwan/profiles/cable", CABLE);
        site.write("ethernet/settings", ETHERNET);
        for (name, text) in [
            ("iface", "red0"),
            ("local-ipaddress", "192.0.2.2"),
            ("remote-ipaddress", "192.0.2.1"),
            ("active", ""),
        ] {
            site.write(&format!("red/{name}"), text);
        }
        for folder in ["red.up", "red.down", "mwan.up", "mwan.down"] {
            // As `ls -v` has them: 9 before 10.
            for name in ["10-late-U", "9-early", "20-not-executable"] {
                let path = site.system("etc/init.d/networking").join(folder).join(name);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                let text = "#!/bin/sh\necho \"${0##*networking/} $*\" >> \"${0%/etc/*}/hooks\"
                    echo \"${0##*networking/} $INTERFACE $DEVICE\" >> \"${0%/etc/*}/hooks.about\"\n";
                fs::write(&path, text).unwrap();
                let mode = if name.starts_with("20") { 0o644 } else { 0o755 };
                fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            }
        }
        site.wait("the network is there", |s| s.is_ready());
        site
    }

    fn started() -> Self {
        let mut site = Site::new();
        site.start();
        site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
        site.wait("the cable works", |s| s.line(" cable:").contains("ipv4 online"));
        site
    }

    fn start(&mut self) {
        self.daemon = Some(self.isps.daemon());
        self.wait("it answers", |s| s.status().contains("carried by"));
    }

    fn kill(&mut self) {
        let mut daemon = self.daemon.take().unwrap();
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.root().join(name)).unwrap_or_default()
    }

    /// Everything of IPFire's below its root: not what is ours.
    fn theirs(&self) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        collect(&self.root(), &self.root(), &mut found);
        found.retain(|name, _| !name.starts_with("mwan/state"));
        found
    }

    fn carried_by(&self, name: &str) -> bool {
        self.status().starts_with(&format!("RED is carried by {name}\n"))
    }

    fn wait(&self, what: &str, condition: impl Fn(&Site) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while !condition(self) {
            assert!(Instant::now() < deadline, "not within 30 s: {what}\n{}\n{}", self.status(), self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// `mwan.up INTERFACE DEVICE` for each time hooks of a folder of ours were run.
    fn announced(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("system/hooks.about")).unwrap_or_default();
        let ours = text.lines().filter(|l| l.starts_with("mwan.") && l.contains("/9-early"));
        ours.map(|l| l.replace("/9-early", "")).collect()
    }

    fn hooks(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.path().join("system/hooks")).unwrap_or_default();
        text.lines().map(|l| l.trim().to_owned()).collect()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}

fn collect(root: &Path, folder: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
}

#[test]
fn a_silent_primary_is_left_for_the_backup_and_everything_is_as_before_afterwards() {
    let site = Site::started();
    let before = site.theirs();
    site.silent(true);
    site.wait("the backup carries", |s| s.carried_by("cable"));
    assert_eq!(site.read("red/iface"), "eth1");
    assert_eq!(site.read("red/local-ipaddress"), "198.51.100.2");
    assert_eq!(site.read("red/remote-ipaddress"), "198.51.100.1");
    assert_eq!(site.read("red/dns1"), "9.9.9.9");
    assert_eq!(site.read("mwan/state/current-profile"), "cable\n");
    let stamp: u64 = site.read("mwan/state/failover-timestamp").trim().parse().unwrap();
    assert!(stamp > 1_700_000_000);
    assert!(site.line("red (primary)").contains("on trial"), "{}", site.status());
    // The tables of the document, and the traffic.
    let routes = site.sh("ip route show table 100; ip route show table 101");
    assert!(routes.contains("192.0.2.1") && routes.contains("198.51.100.1"), "{routes}");
    site.sh("ping -c 1 -W 5 8.8.8.8");
    site.silent(false);
    site.wait("the primary carries again", |s| s.carried_by("primary"));
    assert_eq!(site.theirs(), before, "byte for byte");
    assert_eq!(site.read("mwan/state/current-profile"), "primary\n");
    assert!(!site.root().join("mwan/state/primary-backup").exists());
    assert!(!site.root().join("mwan/state/interference").exists());
    let expected: Vec<String> = ["red.down", "red.up", "mwan.up", "mwan.down", "red.down", "red.up"]
        .iter()
        .flat_map(|folder| [format!("{folder}/9-early"), format!("{folder}/10-late-U up")])
        .collect();
    assert_eq!(site.hooks(), expected);
}

#[test]
fn a_daemon_killed_at_any_time_goes_on_where_it_was() {
    let mut site = Site::started();
    let before = site.theirs();
    site.silent(true);
    site.wait("the backup carries", |s| s.carried_by("cable"));
    site.kill();
    site.start();
    site.wait("the backup still carries", |s| s.carried_by("cable"));
    let hooks = site.hooks();
    assert_eq!(
        hooks.iter().filter(|h| h.starts_with("mwan.up/9")).count(),
        1,
        "nothing is done twice: {hooks:?}"
    );
    // As if it had died between two steps: the journal says what to finish.
    site.kill();
    site.write("mwan/state/journal", "give-back\n");
    site.silent(false);
    site.start();
    site.wait("RED is the primary's", |s| s.carried_by("primary") && s.read("mwan/state/journal").is_empty());
    assert_eq!(site.theirs(), before);
}

#[test]
fn the_owner_switches_and_switches_back() {
    let site = Site::started();
    let failed = site.mwan(&["red", "switch", "nobody"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&failed.stderr).contains("hint: the configuration has: cable"));
    assert!(site.mwan(&["red", "switch", "cable"]).status.success());
    site.wait("the backup carries", |s| {
        s.status().starts_with("RED is carried by cable, cable chosen by hand")
    });
    assert!(site.mwan(&["red", "failback"]).status.success());
    site.wait("the primary carries again", |s| s.carried_by("primary"));
    let test = site.mwan(&["test-primary"]);
    assert!(test.status.success(), "{}", String::from_utf8_lossy(&test.stdout));
    assert!(String::from_utf8_lossy(&test.stdout).ends_with("the primary works\n"));
}

/// Words of libqmi's qmicli, whose call is up as long as it runs.
const QMICLI: &str = "#!/bin/sh
case \"$*\" in
*start-network*) echo '[/dev/cdc-wdm0] Network started'; exec sleep 1000 ;;
*current-settings*) echo 'IPv4 address: 198.51.100.2
IPv4 subnet mask: 255.255.255.0
IPv4 gateway address: 198.51.100.1
MTU: 1500' ;;
esac
";

/// The data plane outlives the daemon, and its next life takes nothing away (I10).
#[test]
fn a_restart_touches_no_address_or_route_of_a_modem_that_carries() {
    let mut site = Site::new();
    fs::remove_file(site.root().join("mwan/profiles/cable")).unwrap();
    site.write("mwan/profiles/lte", "TYPE=QMI\nDEVICE=eth1\nAPN=internet\n");
    site.write("mwan/settings", &SETTINGS.replace("cable", "lte"));
    let program = site.system("qmicli");
    fs::write(&program, QMICLI).unwrap();
    site.sh("mount -t tmpfs none /usr/local/bin; install -m 755 \"$DIR/system/qmicli\" /usr/local/bin/
        mount -t tmpfs none /sys/class/net; mkdir -p /sys/class/net/eth1/qmi; touch /sys/class/net/eth1/qmi/raw_ip");
    site.start();
    site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
    site.silent(true);
    site.wait("RED is the modem's", |s| s.carried_by("lte") && s.read("red/iface") == "eth1");
    let told = site.dir.path().join("told");
    let mut monitor = site
        .inside(&["ip", "-4", "monitor", "address", "route"])
        .stdout(fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    site.kill();
    site.start();
    site.wait("the next one carries on", |s| {
        s.line(" lte:").contains("up, ipv4 online") && s.log().matches("lte: up on eth1").count() == 2
    });
    // What is told is told in order: this comes after everything else.
    site.sh("ip address add 198.51.100.99/32 dev eth1");
    site.wait("all was told", |_| fs::read_to_string(&told).unwrap().contains("198.51.100.99"));
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let told = fs::read_to_string(told).unwrap();
    let touched =
        |line: &&str| line.contains("eth1") && line.contains("Deleted") || line.contains("198.51.100.2/");
    assert_eq!(told.lines().find(touched), None, "{told}");
}

/// Nobody would find that out by itself for half a minute.
#[test]
fn a_test_of_a_primary_that_has_just_died_says_so_and_of_one_that_is_repaired_too() {
    let mut site = Site::new();
    let every = |s| SETTINGS.replace("PRIMARY_CHECK_INTERVAL=0.3", &format!("PRIMARY_CHECK_INTERVAL={s}"));
    site.write("mwan/settings", &every(30));
    site.start();
    site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
    let test = |words: &[&str]| {
        let test = site.mwan(words);
        (test.status.code(), String::from_utf8_lossy(&test.stdout).into_owned())
    };
    site.silent(true);
    let (code, said) = test(&["test-primary"]);
    assert!(
        said.starts_with("red: STATIC on red0, kept") && said.ends_with("the primary does not work\n"),
        "{said}"
    );
    assert_eq!(code, Some(1));
    site.silent(false);
    let (code, said) = test(&["red", "test"]);
    assert!(said.ends_with("the primary works\n"), "{said}");
    assert_eq!(code, Some(0));
}

#[test]
fn a_test_of_a_primary_that_waits_is_an_attempt() {
    let site = Site::started();
    site.sh("ip link set red0 name redx");
    site.wait("the primary waits", |s| s.line("red (primary)").contains("waiting"));
    site.sh("ip link set redx down; ip link set redx name red0; ip link set red0 up");
    let test = site.mwan(&["test-primary"]);
    let said = String::from_utf8_lossy(&test.stdout);
    assert!(test.status.success() && said.ends_with("the primary works\n"), "{said}");
}

/// As of a USB card: what is plugged in again has no address.
#[test]
fn a_backup_that_was_pulled_out_gets_its_fixed_address_again() {
    let site = Site::started();
    site.sh("ip address flush dev eth1; ip link set eth1 down; sleep 0.5; ip link set eth1 up");
    site.wait("it has its address", |s| s.sh("ip address show eth1").contains("198.51.100.2"));
    site.wait("the cable works", |s| s.line(" cable:").contains("up, ipv4 online"));
    site.silent(true);
    site.wait("the backup carries", |s| s.carried_by("cable"));
}

/// What was taken for the trial is RED's own afterwards, and outlives the daemon as that does (I10).
#[test]
fn a_restart_takes_no_address_away_that_the_primary_got_for_its_trial() {
    let mut site = Site::started();
    site.sh("ip address del 192.0.2.2/24 dev red0");
    site.wait("the backup carries", |s| s.carried_by("cable") && s.read("red/iface") == "eth1");
    site.wait("the primary has it", |s| s.carried_by("primary") && s.is_ipfires());
    let told = site.dir.path().join("told");
    let mut monitor = site
        .inside(&["ip", "-4", "monitor", "address", "route"])
        .stdout(fs::File::create(&told).unwrap())
        .spawn()
        .unwrap();
    site.kill();
    site.start();
    site.wait("the next one carries on", |s| {
        s.line("red (primary)").contains("up, ipv4 online") && s.log().matches("red: up on red0").count() == 2
    });
    // What is told is told in order: this comes after everything else.
    site.sh("ip address add 192.0.2.99/32 dev red0");
    site.wait("all was told", |_| fs::read_to_string(&told).unwrap().contains("192.0.2.99"));
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    let told = fs::read_to_string(told).unwrap();
    let touched = |line: &&str| line.contains("red0") && line.contains("Deleted");
    assert_eq!(told.lines().find(touched), None, "{told}");
    assert!(site.carried_by("primary"));
}

#[test]
fn a_full_disk_ends_the_take_over_before_anything_of_ipfires_is_touched() {
    let site = Site::started();
    let before = site.theirs();
    fs::create_dir_all(site.root().join("mwan/state")).unwrap();
    // Room for the journal, and not for the copy of the primary's settings.
    site.sh("mount -t tmpfs -o size=4k none \"$DIR/system/var/ipfire/mwan/state\" && true");
    site.silent(true);
    site.wait("it is said", |s| s.status().contains("problem:"));
    assert!(site.status().contains("No space left on device"), "{}", site.status());
    assert_eq!(site.theirs(), before);
    assert!(site.hooks().is_empty(), "{:?}", site.hooks());
    // Packets do not wait for files.
    site.sh("ping -c 1 -W 5 8.8.8.8");
}

#[test]
fn a_half_written_settings_file_keeps_the_last_good_one() {
    let site = Site::started();
    site.write("mwan/settings", "ENABLED=on\nPRIMARY_CHECK_INTER");
    site.wait("it is refused", |s| s.log().contains("stays in force"));
    site.silent(true);
    site.wait("the backup carries", |s| s.carried_by("cable"));
}

/// RED is the cable's, and everything about it is done.
fn taken_over() -> Site {
    let site = Site::started();
    site.silent(true);
    site.wait("RED is the cable's", |s| s.carried_by("cable") && s.read("red/iface") == "eth1");
    site.wait("the take-over has ended", |s| !s.root().join("mwan/state/journal").exists());
    site
}

impl Site {
    /// An executable one.
    fn hook(&self, name: &str, text: &str) {
        let path = self.system("etc/init.d/networking").join(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// RED's files.
    fn red(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = self.theirs();
        files.retain(|name, _| name.starts_with("red/"));
        files
    }

    fn is_ipfires(&self) -> bool {
        let state = |name: &str| self.root().join("mwan/state").join(name).exists();
        self.read("red/iface") == "red0"
            && self.root().join("red/active").exists()
            && !state("primary-backup")
            && !state("interference")
            && !state("journal")
    }
}

/// The password was wrong: that is why the backup carries.
#[test]
fn what_the_owner_changes_while_a_backup_has_red_stays() {
    let site = taken_over();
    site.write("ppp/settings", "PASSWORD=right\n");
    site.write("ethernet/settings", "");
    site.silent(false);
    site.wait("the primary has it", Site::is_ipfires);
    assert_eq!(
        (site.read("ppp/settings").as_str(), site.read("ethernet/settings").as_str()),
        ("PASSWORD=right\n", ETHERNET)
    );
}

/// Nothing is begun that cannot be finished: neither by the primary's return, nor by hand.
#[test]
fn a_damaged_copy_is_never_put_back_and_nothing_else_is_done() {
    let site = taken_over();
    site.write("mwan/state/primary-backup/manifest", "");
    let (hooks, red) = (site.hooks(), site.red());
    let refused = [
        site.mwan(&["red", "disable"]),
        site.mwan(&["ipfire", "--root", site.system("").to_str().unwrap(), "stop"]),
        site.mwan(&["ipfire", "--root", site.system("").to_str().unwrap(), "uninstall"]),
    ];
    for output in refused {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains("the copy of the manifest is damaged"), "{said}");
    }
    assert!(site.carried_by("cable") && site.read("mwan/settings") == SETTINGS);
    site.sh("ping -c 1 -W 5 8.8.8.8");
    site.silent(false);
    site.wait("it is said", |s| s.status().contains("the copy of the manifest is damaged"));
    assert_eq!((site.hooks(), site.red()), (hooks, red));
    assert!(site.root().join("mwan/state/primary-backup").exists());
}

#[test]
fn switched_off_or_stopped_while_a_backup_has_red_it_is_ipfires_again() {
    let site = taken_over();
    assert!(site.mwan(&["red", "disable"]).status.success());
    site.wait("RED is IPFire's", Site::is_ipfires);
    let site = taken_over();
    // What is undone is undone in the router's own network.
    let output = site
        .inside(&[env!("CARGO_BIN_EXE_mwan"), "stop", "--run-dir"])
        .arg(site.dir.path().join("run"))
        .env("MWAN_IPFIRE_SYSTEM", site.system(""))
        .output()
        .unwrap();
    assert!(output.status.success() && site.is_ipfires(), "{output:?}");
    assert!(!site.sh("ip address").contains("198.51.100.2"));
}

/// `/run` is memory: neither a hook nor what it leaves in the background fills it.
impl Site {
    /// No room for anything more in the folder of states.
    fn fill(&self) {
        self.sh("S=$DIR/system/var/ipfire/mwan/state; mkdir -p -m 700 $S; cp -a $S $DIR/kept
            mount -t tmpfs -o size=256k,mode=700 none $S; cp -a $DIR/kept/. $S/
            dd if=/dev/zero of=$S/fill bs=4k 2>/dev/null || true");
    }
}

/// Which boot this is was not written at the start, and a backup has RED later.
#[test]
fn a_restart_after_a_full_disk_is_no_boot() {
    let mut site = Site::new();
    site.fill();
    site.start();
    site.wait("the cable works", |s| s.line(" cable:").contains("ipv4 online"));
    site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
    site.silent(true);
    site.wait("it is said", |s| s.status().contains("mwan/state/boot: No space left on device"));
    site.sh("umount $DIR/system/var/ipfire/mwan/state");
    // A batch that failed is tried again after half a minute.
    std::thread::sleep(Duration::from_secs(20));
    site.wait("RED is the cable's", |s| {
        s.read("red/iface") == "eth1" && !s.root().join("mwan/state/journal").exists()
    });
    site.kill();
    site.start();
    assert!(site.carried_by("cable") && site.root().join("mwan/state/primary-backup").exists());
    assert_eq!(site.read("red/iface"), "eth1");
}

#[test]
fn a_stop_with_a_full_disk_leaves_everything_as_it_is() {
    let site = taken_over();
    site.fill();
    let (red, hooks) = (site.red(), site.hooks());
    let output = site
        .inside(&[env!("CARGO_BIN_EXE_mwan"), "stop", "--run-dir"])
        .arg(site.dir.path().join("run"))
        .env("MWAN_IPFIRE_SYSTEM", site.system(""))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("No space left on device"), "{said}");
    assert!(!said.contains("primary-backup"), "nothing is damaged: {said}");
    assert_eq!((site.red(), site.hooks()), (red, hooks));
    assert!(site.sh("ip address show eth1").contains("198.51.100.2"), "the backup is not hung up");
}

#[test]
fn hooks_that_flood_fill_nothing() {
    let site = Site::started();
    site.hook("red.up/14-service", "(yes | head -c 20000000; echo over > \"${0%/etc/*}/flooded\") &\nexit 0");
    site.hook("red.up/15-flood", "yes | head -c 20000000");
    site.silent(true);
    site.wait("the take-over has ended", |s| s.hooks().iter().any(|h| h.starts_with("mwan.up/10")));
    site.wait("the service has, too", |s| s.system("flooded").exists());
    let said = fs::metadata(site.dir.path().join("run/ipfire.log")).unwrap().len();
    assert_eq!(said, 1 << 20);
    assert!(site.log().contains("says too much"), "{}", site.log());
}

/// An orderly end waits for the hook that runs, and the next daemon goes on behind it; one that was killed leaves its hook
/// running, which the next waits for.
#[test]
fn a_restart_during_a_take_over_runs_no_hook_twice() {
    for killed in [false, true] {
        let mut site = Site::started();
        let slow = site.dir.path().join("slow");
        site.hook("red.up/50-slow", &format!("echo begin >> {0}\nsleep 2\necho end >> {0}", slow.display()));
        site.silent(true);
        site.wait("the slow hook runs", |_| slow.exists());
        if killed {
            site.kill();
        } else {
            let mut daemon = site.daemon.take().unwrap();
            assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
            assert!(daemon.wait().unwrap().success());
            assert_eq!(fs::read_to_string(&slow).unwrap(), "begin\nend\n", "it was waited for");
            assert!(!site.hooks().iter().any(|h| h.starts_with("mwan.up")), "nothing new was begun");
        }
        site.start();
        site.wait("the take-over has ended", |s| {
            s.carried_by("cable") && s.read("mwan/state/current-profile") == "cable\n"
        });
        assert_eq!(fs::read_to_string(&slow).unwrap(), "begin\nend\n");
        let expected: Vec<String> = ["red.down", "red.up", "mwan.up"]
            .iter()
            .flat_map(|folder| [format!("{folder}/9-early"), format!("{folder}/10-late-U up")])
            .collect();
        assert_eq!(site.hooks(), expected, "killed: {killed}");
    }
}

/// The take-over's hook ends before RED is given back.
#[test]
fn a_stop_during_a_take_over_waits_for_its_hook() {
    let site = Site::started();
    let slow = site.dir.path().join("slow");
    site.hook("red.up/50-slow", &format!("echo begin >> {0}\nsleep 2\necho end >> {0}", slow.display()));
    site.silent(true);
    site.wait("the slow hook runs", |_| slow.exists());
    // What is undone is undone in the router's own network.
    let stopped = site
        .inside(&[env!("CARGO_BIN_EXE_mwan"), "stop", "--run-dir"])
        .arg(site.dir.path().join("run"))
        .env("MWAN_IPFIRE_SYSTEM", site.system(""))
        .output()
        .unwrap();
    assert!(stopped.status.success() && site.is_ipfires(), "{stopped:?}");
    assert_eq!(fs::read_to_string(&slow).unwrap(), "begin\nend\n".repeat(2), "there, and back");
    assert!(!site.hooks().iter().any(|h| h.starts_with("mwan.up")), "{:?}", site.hooks());
}

/// `/var/ipfire` but for its root, `red/` and `mwan/` belongs to the web server's user.
#[test]
fn the_web_servers_user_does_not_become_root() {
    let site = Site::started();
    let nobody = "setpriv --reuid 65534 --regid 65534 --clear-groups";
    // In a user namespace of one user there is no other.
    if !site.inside(&["sh", "-c", &format!("{nobody} true")]).status().unwrap().success() {
        return;
    }
    site.sh(&format!(
        "chmod 755 $DIR $DIR/system; cd $DIR/system/var/ipfire; mkdir mac; chown -R 65534:65534 ethernet mac
        cd mac; {nobody} sh -c 'echo \"#!/bin/sh\" > settings; chmod 6755 settings'"
    ));
    site.silent(true);
    site.wait("RED is the cable's", |s| s.root().join("mwan/state/failover-timestamp").exists());
    site.wait("the take-over has ended", |s| !s.root().join("mwan/state/journal").exists());
    let private = "stat -c '%a %u' $DIR/system/var/ipfire/mwan/state/primary-backup/*";
    assert!(site.sh(private).lines().all(|line| line == "600 0"), "{}", site.sh(private));
    site.sh(&format!(
        "cd $DIR/system/var/ipfire/mac; {nobody} sh -c 'rm settings
        ln -s $DIR/system/etc/init.d/networking/red.up/99-evil .settings.mwan'"
    ));
    site.silent(false);
    site.wait("the primary has it", Site::is_ipfires);
    assert!(!site.system("etc/init.d/networking/red.up/99-evil").exists());
    assert_eq!(site.sh("stat -c '%a %u' $DIR/system/var/ipfire/mac/settings"), "755 65534\n");
}

/// dhcpcd renews the dead primary's lease, and its script does what it always does.
#[test]
fn what_ipfires_scripts_write_while_a_backup_has_red_is_put_right() {
    let site = taken_over();
    let is_the_cables = |s: &Site| {
        (s.read("red/iface"), s.read("red/local-ipaddress")) == ("eth1".into(), "198.51.100.2".into())
            && s.root().join("red/active").exists()
    };
    site.write("red/iface", "red0");
    site.write("red/local-ipaddress", "192.0.2.77");
    site.wait("it is the cable's again", is_the_cables);
    site.wait("hooks have been told", |s| {
        s.hooks().iter().filter(|h| h.starts_with("red.up/9")).count() == 2
    });
    site.silent(false);
    site.wait("the primary has it", |s| s.read("red/local-ipaddress") == "192.0.2.2");
}

/// As after a loss of power while a page wrote it: nothing of a daemon before is left but files.
#[test]
fn a_start_with_half_a_settings_file_or_none_uses_the_last_good_one() {
    let mut site = Site::started();
    for broken in [Some("ENABLED=on\nPRIMARY_CHECK_INTER"), Some(""), None] {
        site.kill();
        site.sh("nft delete table inet mwan");
        match broken {
            Some(text) => site.write("mwan/settings", text),
            None => fs::remove_file(site.root().join("mwan/settings")).unwrap(),
        }
        site.start();
        assert!(site.log().contains("stays in force"), "{}", site.log());
        site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
    }
    site.silent(true);
    site.wait("the backup carries", |s| s.carried_by("cable"));
}

#[test]
fn enable_and_disable_change_one_word_of_the_settings() {
    let site = Site::started();
    assert!(site.mwan(&["red", "disable"]).status.success());
    assert_eq!(site.read("mwan/settings"), SETTINGS.replace("ENABLED=on", "ENABLED=off"));
    site.wait("nothing is routed by mwan", |s| !s.sh("ip rule").contains("lookup 100"));
    assert!(site.mwan(&["red", "enable"]).status.success());
    assert_eq!(site.read("mwan/settings"), SETTINGS);
}

/// The extension's document: `mwan.up` and `mwan.down` for each RED that comes or goes, and once, whatever daemons do.
#[test]
fn hooks_are_run_for_each_of_several_reds() {
    let mut site = Site::new();
    fs::remove_dir_all(site.root().join("mwan/profiles")).unwrap();
    site.write("mwan/settings", "MWAN_ENABLED=on\nMWAN_INTERFACE_COUNT=2\nMWAN_MONITOR_INTERVAL=0.3\n");
    let cable: String = CABLE.lines().map(|line| format!("INTERFACE_{line}\n")).collect();
    site.write("mwan/interfaces/red1", &cable);
    site.start();
    site.wait("both are told of", |s| s.announced().len() == 2);
    let mut first = site.announced();
    first.sort();
    assert_eq!(first, ["mwan.up red0 red0", "mwan.up red1 eth1"]);
    site.wait("it is written down", |s| s.read("mwan/state/online") == "red0\nred1\n");
    site.silent(true);
    site.wait("the dead one is", |s| s.announced().last().unwrap() == "mwan.down red0 red0");
    site.kill();
    site.start();
    site.silent(false);
    site.wait("it comes back", |s| s.announced().last().unwrap() == "mwan.up red0 red0");
    assert_eq!(site.announced().len(), 4, "{:?}", site.announced());
    // IPFire's own hooks are its own scripts' business.
    assert!(site.hooks().iter().all(|h| h.starts_with("mwan.")), "{:?}", site.hooks());
}

/// It is up as far as its dialler knows; nothing is lost as long as the primary works, and then the next has to be dialled.
#[test]
fn the_next_backup_is_dialled_where_the_first_is_unplugged() {
    let mut site = Site::new();
    site.write("mwan/profiles/spare", "TYPE=PPPOE\nDEVICE=eth1\nUSERNAME=u\nPASSWORD=p\n");
    site.start();
    site.wait("the primary works", |s| s.line("red (primary)").contains("ipv4 online"));
    site.wait("the cable works", |s| s.line(" cable:").contains("ipv4 online"));
    site.sh("nsenter -t $(cat $DIR/far) -n ip link set isp1 down");
    site.silent(true);
    site.wait("the next is tried", |s| !s.line(" spare:").contains("idle"));
}

/// Packets do not wait for files that cannot be written.
#[test]
fn a_primary_that_is_back_carries_though_the_disk_is_full() {
    let site = taken_over();
    site.sh("S=$DIR/system/var/ipfire/mwan/state; cp -a $S $DIR/kept; mount -t tmpfs -o size=256k,mode=700 none $S
        cp -a $DIR/kept/. $S/; dd if=/dev/zero of=$S/fill bs=4k 2>/dev/null || true");
    site.silent(false);
    site.wait("it is said", |s| s.status().contains("problem:"));
    site.sh("nsenter -t $(cat $DIR/far) -n ip link set isp1 down");
    site.wait("packets get through", |s| {
        s.inside(&["ping", "-c", "1", "-W", "1", "8.8.8.8"]).output().unwrap().status.success()
    });
    site.sh("rm $DIR/system/var/ipfire/mwan/state/fill");
}

/// RED's files are right by then; those that have to be told are not.
#[test]
fn a_restart_while_reds_files_are_put_right_runs_the_other_hooks() {
    for killed in [false, true] {
        let mut site = taken_over();
        let (slow, after) = (site.dir.path().join("slow"), site.dir.path().join("after"));
        site.hook("red.up/50-slow", &format!("echo begin >> {0}\nsleep 2\necho end >> {0}", slow.display()));
        site.hook("red.up/60-after", &format!("echo after >> {}", after.display()));
        site.write("red/iface", "red0");
        site.wait("the slow hook runs", |_| slow.exists());
        if killed {
            site.kill();
        } else {
            let mut daemon = site.daemon.take().unwrap();
            assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
            daemon.wait().unwrap();
        }
        site.start();
        site.wait("the next hook is run", |_| after.exists());
        site.wait("it is done", |s| s.read("mwan/state/journal").is_empty());
        assert_eq!(fs::read_to_string(&slow).unwrap(), "begin\nend\n", "killed: {killed}");
        assert_eq!(site.hooks().iter().filter(|h| h.starts_with("red.down/9")).count(), 2);
    }
}

/// It has its address all the time.
#[test]
fn an_unplugged_primary_gets_its_files_back_byte_for_byte() {
    let site = Site::started();
    let before = site.theirs();
    site.sh("nsenter -t $(cat $DIR/far) -n ip link set isp0 down");
    site.wait("the backup carries", |s| s.carried_by("cable") && s.read("red/iface") == "eth1");
    assert!(!site.line("red (primary)").contains("STATIC on red0, up"), "{}", site.status());
    site.sh("nsenter -t $(cat $DIR/far) -n ip link set isp0 up");
    site.wait("the primary has it", |s| s.carried_by("primary") && s.is_ipfires());
    assert_eq!(site.theirs(), before);
}
/// The address is ours: RED's files are written, and the next daemon has to know what.
#[test]
fn a_restart_during_a_give_back_to_our_own_address_runs_no_hook_twice() {
    let mut site = Site::started();
    site.sh("ip address del 192.0.2.2/24 dev red0");
    site.wait("the backup carries", |s| s.carried_by("cable") && s.read("red/iface") == "eth1");
    let slow = site.dir.path().join("slow");
    let text =
        format!("[ $DEVICE = red0 ] || exit 0\necho begin >> {0}\nsleep 2\necho end >> {0}", slow.display());
    site.hook("red.up/50-slow", &text);
    site.wait("the slow hook runs", |_| slow.exists());
    let before = site.hooks();
    let mut daemon = site.daemon.take().unwrap();
    assert!(Command::new("kill").arg(daemon.id().to_string()).status().unwrap().success());
    daemon.wait().unwrap();
    site.start();
    site.wait("the primary has it", Site::is_ipfires);
    assert_eq!(site.hooks(), before);
    assert_eq!(fs::read_to_string(&slow).unwrap(), "begin\nend\n");
}
