//! The add-on of IPFire, on an IPFire-shaped system: installed, used as its documents say, removed without a trace.
#![allow(clippy::unwrap_used)]

mod common;
mod firewall;
mod isps;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use firewall::{CABLE, FIBRE, Firewall, SETTINGS, Tree};

fn assert_same(found: &Tree, expected: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    for (name, what) in expected {
        assert!(found[name] == *what, "{name} is another");
    }
}

#[test]
fn installed_and_removed_while_a_backup_carries_everything_is_as_it_was() {
    let firewall = Firewall::new();
    let before = firewall.tree();
    let said = firewall.ok("/root/mwan ipfire install");
    assert!(said.contains("installed /etc/rc.d/init.d/networking/red.up/60-mwan\n"), "{said}");
    assert!(said.contains("it is switched off") && said.contains("mwan-daemon-universal start"), "{said}");
    let installed = firewall.tree();
    for (name, what) in &before {
        assert!(installed.get(name) == Some(what), "{name} was changed");
    }
    assert!(firewall.read("etc/iproute2/rt_tables.d/mwan.conf").contains("\n100 mwan-primary\n"));
    assert!(firewall.ok("/usr/local/bin/mwan ipfire install").contains("everything was installed already"));
    assert_same(&firewall.tree(), &installed);

    firewall.write("var/ipfire/mwan/settings", SETTINGS);
    firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
    firewall.ok("/usr/local/bin/mwan-daemon-universal start");
    assert!(firewall.ok("/usr/local/bin/mwan-daemon-universal start").contains("already running"));
    firewall.wait("both work", |f| f.status().matches("ipv4 online").count() == 2);
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    assert_eq!(firewall.read("var/ipfire/red/iface"), "eth1");

    let said = firewall.ok("/usr/local/bin/mwan ipfire uninstall");
    assert!(said.contains("RED is the primary's again"), "{said}");
    for kept in ["/var/ipfire/mwan/profiles", "/var/ipfire/mwan/settings"] {
        assert!(said.contains(&format!("{kept} is yours and stays")), "{said}");
    }
    let rules = firewall.ok("ip rule");
    assert_eq!(rules.matches("lookup").count(), 3, "local, main, default: {rules}");
    assert_eq!(firewall.ok("nft list tables"), "");
    // Twice, and then with what the owner wrote.
    firewall.ok("/root/mwan ipfire uninstall");
    let mut left = firewall.tree();
    let owners: Vec<String> = left.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    let expected = [
        "var/ipfire/mwan",
        "var/ipfire/mwan/profiles",
        "var/ipfire/mwan/profiles/cable",
        "var/ipfire/mwan/settings",
    ];
    assert_eq!(owners, expected);
    left.retain(|name, _| !owners.contains(name));
    assert_same(&left, &before);
    firewall.ok("/root/mwan ipfire uninstall --purge");
    assert_same(&firewall.tree(), &before);
}

#[test]
fn a_daemon_that_died_with_red_in_its_hands_is_no_obstacle() {
    let firewall = Firewall::running();
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    let pid = pid(&firewall).unwrap();
    firewall.ok(&format!("kill -9 {pid}"));
    firewall.ok("/usr/local/bin/mwan-daemon-universal stop");
    assert_eq!(firewall.read("var/ipfire/red/iface"), "red0");
    assert_eq!(firewall.read("var/ipfire/mwan/state/current-profile"), "primary\n");
    assert!(!firewall.path("var/ipfire/mwan/state/primary-backup").exists());
    assert_eq!(firewall.ok("nft list tables"), "");
    // Nothing to be done any more.
    firewall.ok("/usr/local/bin/mwan-daemon-universal stop");
}

fn pid(firewall: &Firewall) -> Option<u64> {
    let output = firewall.run("/usr/local/bin/mwan status --json");
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    status["daemon"]["pid"].as_u64()
}

#[test]
fn a_daemon_that_hears_nothing_is_ended_and_nobody_else_is() {
    let firewall = Firewall::running();
    let pid = pid(&firewall).unwrap();
    firewall.ok(&format!("kill -STOP {pid}"));
    let said = firewall.ok("/usr/local/bin/mwan-daemon-universal stop");
    assert!(said.contains(&format!("process {pid}")), "{said}");
    assert!(!Path::new(&format!("/proc/{pid}")).exists() || !alive(pid));
    assert_eq!(firewall.ok("nft list tables"), "");
}

fn alive(pid: u64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

#[test]
fn a_restart_goes_on_with_what_is() {
    let firewall = Firewall::running();
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    let before = pid(&firewall).unwrap();
    let rules = firewall.ok("nft list table inet mwan");
    firewall.ok("/etc/init.d/mwan restart");
    assert_ne!(pid(&firewall).unwrap(), before);
    assert!(firewall.carried_by("cable"), "{}", firewall.status());
    assert_eq!(names(&firewall.ok("nft list table inet mwan")), names(&rules));
}

/// Chains only: counters go on.
fn names(table: &str) -> Vec<&str> {
    table.lines().filter(|line| line.trim_start().starts_with("chain ")).collect()
}

#[test]
fn hooks_of_ipfire_start_the_daemon_if_it_is_switched_on_and_tell_it() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    firewall.ok("/etc/init.d/networking/red stop; /etc/init.d/networking/red start");
    assert_eq!(pid(&firewall), None, "switched off");
    assert!(firewall.ok("/usr/local/bin/mwan-config enable").contains("the daemon does not run"));
    firewall.write("var/ipfire/mwan/settings", SETTINGS);
    firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
    // IPFire's scripts and dhcpcd have files open, which are not the daemon's.
    firewall.ok("exec 7> /var/log/open; /etc/init.d/networking/red stop; /etc/init.d/networking/red start");
    firewall.wait("it runs", |f| pid(f).is_some());
    let first = pid(&firewall);
    let open = fs::read_dir(format!("/proc/{}/fd", first.unwrap())).unwrap();
    let open: Vec<PathBuf> = open.filter_map(|e| fs::read_link(e.unwrap().path()).ok()).collect();
    assert!(open.len() > 3 && !open.iter().any(|path| path.ends_with("var/log/open")), "{open:?}");
    firewall.wait("both work", |f| f.status().matches("ipv4 online").count() == 2);
    firewall.wait("RED is the primary's", |f| f.carried_by("primary\n"));
    firewall.ok("cd /etc/rc.d/init.d/networking; red.down/60-mwan && red.up/60-mwan");
    firewall.wait("it was told", |f| {
        f.log().contains("IPFire says that RED is down") && f.log().contains("IPFire says that RED is up")
    });
    assert_eq!(pid(&firewall), first);
    // A daemon that hears nothing does not hold IPFire up.
    firewall.ok(&format!("kill -STOP {}", first.unwrap()));
    let said = firewall.ok("/etc/rc.d/init.d/networking/red.down/60-mwan");
    assert!(said.contains("the daemon does not answer"), "{said}");
    firewall.ok(&format!("kill -CONT {}", first.unwrap()));
    // The hooks of a stop do not start it again.
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    firewall.ok("/usr/local/bin/mwan-daemon-universal stop");
    assert_eq!(pid(&firewall), None);
    assert_eq!(firewall.read("var/ipfire/red/iface"), "red0");
}

#[test]
fn the_init_script_starts_reloads_and_stops_it() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    assert_eq!(firewall.run("/etc/init.d/mwan").status.code(), Some(1));
    let said = firewall.ok("/etc/init.d/mwan start");
    assert!(said.contains("Starting mwan...") && said.contains("[  OK  ]"), "{said}");
    assert!(said.contains("switched off in its settings"), "{said}");
    let status = firewall.run("/etc/init.d/mwan status");
    assert_eq!(String::from_utf8_lossy(&status.stdout), "mwan is switched off: RED is IPFire's own\n");
    firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
    firewall.write("var/ipfire/mwan/settings", SETTINGS);
    let said = firewall.ok("/etc/init.d/mwan reload");
    assert!(said.contains("Reloading mwan...") && said.contains("[  OK  ]"), "{said}");
    firewall.wait("both work", |f| f.status().matches("ipv4 online").count() == 2);
    // As at the end: by the links of the run levels.
    let said = firewall.ok("/etc/rc.d/rc0.d/K77mwan stop");
    assert!(said.contains("Stopping mwan...") && said.contains("[  OK  ]"), "{said}");
    let failed = firewall.run("/etc/init.d/mwan status");
    let said = String::from_utf8_lossy(&failed.stderr);
    assert!(said.contains("hint: start it with `mwan-daemon-universal start`"), "{said}");
    assert!(firewall.ok("/etc/rc.d/rc3.d/S23mwan start").contains("[  OK  ]"));
}

#[test]
fn an_image_is_served_without_touching_this_machine() {
    let firewall = Firewall::running();
    let image = firewall.path("image");
    for folder in ["etc/rc.d/init.d/networking/red.up", "etc/rc.d/init.d/networking/red.down", "var/ipfire"] {
        fs::create_dir_all(image.join(folder)).unwrap();
    }
    firewall.ok("/usr/local/bin/mwan ipfire --root /image install");
    assert!(image.join("usr/local/bin/mwan-config").is_symlink());
    firewall.ok("/usr/local/bin/mwan ipfire uninstall --root /image");
    assert!(!image.join("usr").exists() && !image.join("run").exists());
    assert!(pid(&firewall).is_some(), "the daemon of the machine is another");
}

#[test]
fn a_shutdown_leaves_red_to_the_next_boot() {
    let firewall = Firewall::running();
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    let hooks = firewall.read("var/log/hooks");
    assert!(firewall.ok("RUNLEVEL=6 /etc/rc.d/rc6.d/K77mwan stop").contains("[  OK  ]"));
    assert_eq!(firewall.ok("nft list tables"), "");
    assert_eq!(firewall.read("var/log/hooks"), hooks, "nothing is brought up for a moment");
    firewall.wait("it has ended", |f| f.run("/usr/local/bin/mwan ipfire status").status.code() == Some(1));
    // IPFire's scripts have brought RED up.
    firewall.write("var/ipfire/mwan/state/boot", "another\n");
    firewall.write("var/ipfire/red/iface", "red0");
    firewall.silent(false);
    firewall.ok("/etc/rc.d/rc3.d/S23mwan start");
    firewall.wait("RED is the primary's", |f| f.carried_by("primary\n"));
    firewall.wait("nothing is left of it", |f| !f.path("var/ipfire/mwan/state/primary-backup").exists());
    assert_eq!(firewall.read("var/ipfire/mwan/state/current-profile"), "primary\n");
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../package/ipfire").canonicalize().unwrap()
}

/// What pakfire puts into the package and removes with it is what the program installs, but for what may be the owner's.
#[test]
fn the_list_of_files_is_what_is_installed() {
    let firewall = Firewall::new();
    let before = firewall.tree();
    firewall.ok("/root/mwan ipfire install");
    let installed: BTreeSet<String> = firewall
        .tree()
        .into_iter()
        .filter(|(name, (mode, _))| !before.contains_key(name) && mode & 0o170_000 != 0o040_000)
        .map(|(name, _)| name)
        .filter(|name| !name.starts_with("var/ipfire/mwan/") && !name.starts_with("etc/iproute2"))
        .collect();
    let list = fs::read_to_string(package().join("rootfile")).unwrap();
    let listed: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(listed.is_sorted());
    assert_eq!(listed, installed.iter().map(String::as_str).collect::<Vec<_>>());
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

#[test]
fn scripts_are_good_shell() {
    let files = package().join("files/etc/rc.d/init.d");
    let scripts =
        ["mwan", "networking/red.up/60-mwan", "networking/red.down/60-mwan"].map(|name| files.join(name));
    let paks = ["install.sh", "uninstall.sh", "update.sh"].map(|name| package().join("paks").join(name));
    for (shell, script) in scripts.iter().map(|s| ("dash", s)).chain(paks.iter().map(|s| ("bash", s))) {
        // SC1090, SC1091: IPFire's own functions; SC2154: what they set.
        let shell = format!("--shell={shell}");
        let output = run("shellcheck", &[&shell, "--exclude=SC1090,SC1091,SC2154", script.to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// What pakfire gives its scripts, as far as ours need it; every call is noted.
const PAKFIRE: &str = r#"
NAME=mwan
note() { echo "$@" >> /var/log/pakfire; }
extract_files() { note extract; }
remove_files() { note remove; }
make_backup() { note backup "$1"; }
restore_backup() { note restore "$1"; }
start_service() { note start "$@"; /etc/init.d/mwan start; }
"#;

#[test]
fn pakfire_installs_updates_and_removes_it() {
    let firewall = Firewall::new();
    let before = firewall.tree();
    fs::create_dir_all(firewall.path("opt/pakfire/lib")).unwrap();
    firewall.write("opt/pakfire/lib/functions.sh", PAKFIRE);
    // As extracted from the package.
    fs::copy(env!("CARGO_BIN_EXE_mwan"), firewall.path("usr/local/bin/mwan")).unwrap();
    let pak = |name: &str| {
        let text = fs::read_to_string(package().join("paks").join(name)).unwrap();
        firewall.write("root/pak.sh", &text);
        firewall.ok("sh /root/pak.sh")
    };
    pak("install.sh");
    firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
    firewall.write("var/ipfire/mwan/settings", SETTINGS);
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    let first = pid(&firewall);
    pak("update.sh");
    assert_ne!(pid(&firewall), first);
    assert!(firewall.carried_by("cable"), "{}", firewall.status());
    pak("uninstall.sh");
    assert_eq!(
        firewall.read("var/log/pakfire"),
        "extract\nrestore mwan\nstart --background mwan\nbackup mwan\nextract\nbackup mwan\nremove\n"
    );
    // The program was extracted by pakfire and is removed by it.
    assert!(firewall.path("usr/local/bin/mwan").exists());
    fs::remove_file(firewall.path("usr/local/bin/mwan")).unwrap();
    let mut left = firewall.tree();
    left.retain(|name, _| !name.starts_with("var/ipfire/mwan") && name != "var/log/pakfire");
    assert_same(&left, &before);
}

/// The first column of the table behind a heading of docs/ipfire.md.
fn commands(heading: &str) -> Vec<String> {
    let page = fs::read_to_string(package().join("../../docs/ipfire.md")).unwrap();
    let section = page.split(heading).nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split("` |").next());
    rows.map(|command| command.replace("\\|", "|")).collect()
}

/// While a backup carries and the primary works: that is when every one of them has something to show.
#[test]
fn every_command_of_the_documents_shows_something() {
    let firewall = Firewall::running();
    firewall.write("var/ipfire/mwan/profiles/fibre", FIBRE);
    firewall.wait("all three work", |f| f.status().matches("ipv4 online").count() == 3);
    firewall.ok("/usr/local/bin/mwan-config failover");
    firewall.wait("the backup carries", |f| f.carried_by("cable, by hand"));
    firewall.wait("the primary answers", |f| {
        f.log().contains("parallel test of the primary (red): answers on red0")
    });
    let mut all = commands("## Troubleshooting");
    assert_eq!(all.len(), 12, "{all:?}");
    let last = all.pop().unwrap();
    for command in &all {
        // One that follows never ends.
        let output = firewall.run(&command.replace("tail -f", "tail -n 1000"));
        let said = String::from_utf8_lossy(&output.stdout);
        // 3: something is not as it should be, which is so while RED is a backup's by hand.
        assert!(matches!(output.status.code(), Some(0 | 3)), "{command}: {output:?}");
        assert!(!said.trim().is_empty(), "{command}");
    }
    assert!(firewall.ok("ip route show table 100").contains("192.0.2.1"));
    assert!(firewall.ok("ip route show table 101").contains("198.51.100.1"));
    assert!(firewall.ok("ip route show table 102").contains("203.0.113.1"));
    // iproute2 knows them by name; busybox has an `ip` of its own.
    assert!(firewall.ok("/usr/bin/env ip route show table mwan-primary").contains("192.0.2.1"));
    assert!(firewall.ok("/usr/bin/env ip route show table mwan-backup2").contains("203.0.113.1"));
    let test = firewall.ok("/usr/local/bin/mwan-daemon-universal test-primary");
    assert!(test.contains("red: STATIC on red0") && test.ends_with("the primary works\n"), "{test}");
    firewall.ok(&last);
    firewall.wait("the primary carries", |f| f.carried_by("primary\n"));
    firewall.wait("it is said", |f| f.log().contains("parallel test of the primary (red): over"));
}

#[test]
fn a_full_disk_costs_lines_of_the_log_and_nothing_else() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    firewall.write("var/ipfire/mwan/settings", SETTINGS);
    firewall.write("var/ipfire/mwan/profiles/cable", CABLE);
    // Room for a page of a file that is there, and for no other.
    firewall.ok("/usr/bin/mount -t tmpfs -o size=4k none /var/log && dd if=/dev/zero of=/var/log/filler bs=4096 count=1");
    firewall.ok("/usr/local/bin/mwan-daemon-universal start");
    firewall.wait("both work", |f| f.status().matches("ipv4 online").count() == 2);
    firewall.silent(true);
    firewall.wait("the backup carries", |f| f.carried_by("cable\n"));
    assert_eq!(firewall.ok("cat /var/log/mwan.log"), "");
    firewall.ok("rm /var/log/filler");
    firewall.silent(false);
    firewall.wait("the primary carries", |f| f.carried_by("primary\n"));
    firewall.wait("it is said", |f| f.ok("cat /var/log/mwan.log").contains(" lines were lost\n"));
}

/// IPFire's own session was ended when a backup took over: IPFire dials it again when we are gone.
#[test]
fn a_primary_that_is_dialled_is_dialled_by_ipfire_after_a_stop() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    firewall.write("var/ipfire/ethernet/settings", "RED_TYPE=PPPOE\nRED_DEV=red0\nGREEN_DEV=green0\n");
    firewall.write("var/ipfire/ppp/settings", "TYPE=pppoe\nUSERNAME='somebody'\nPASSWORD='x'\n");
    // The backup's session outlived its daemon. IPFire's script dials nothing while there is such a process.
    let session = firewall.ok("/usr/bin/setsid sleep 600 > /dev/null 2>&1 & echo $!");
    let session: u64 = session.trim().parse().unwrap();
    let stat = fs::read_to_string(format!("/proc/{session}/stat")).unwrap();
    let start: u64 = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().parse().unwrap();
    let left = serde_json::json!({
        "link": "gsm", "trial": false, "processes": [{"id": session, "start": start}], "undo": [],
        "down": [{"remove": "/run/mwan/dial/gsm.secret"}]
    });
    fs::create_dir_all(firewall.path("run/mwan/dial")).unwrap();
    firewall.write("run/mwan/dial/gsm.session", &left.to_string());
    firewall.write("run/mwan/dial/gsm.secret", "");
    let note = format!(
        "#!/bin/sh\ngrep -q ') [^Z]' /proc/{session}/stat && exit 1\necho \"red $*\" >> /var/log/hooks\n"
    );
    fs::write(firewall.path("etc/rc.d/init.d/networking/red"), note).unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    // As a daemon leaves it that is killed while a backup has RED.
    firewall.write("var/ipfire/mwan/state/boot", &boot);
    firewall.write("var/ipfire/mwan/state/current-profile", "gsm\n");
    fs::write(firewall.path("var/log/hooks"), "").unwrap();
    assert!(alive(session));
    firewall.ok("/etc/init.d/mwan stop");
    assert!(!alive(session));
    assert!(fs::read_dir(firewall.path("run/mwan/dial")).unwrap().all(|e| {
        let name = e.unwrap().file_name();
        !name.to_str().unwrap().starts_with("gsm")
    }));
    let hooks = firewall.read("var/log/hooks");
    assert_eq!(hooks, "red.down/20-firewall\nred.up/20-firewall\nred start\n");
    assert_eq!(firewall.read("var/ipfire/mwan/state/current-profile"), "primary\n");
    // And only then.
    firewall.ok("/etc/init.d/mwan stop");
    assert_eq!(firewall.read("var/log/hooks"), hooks);
    // After a boot RED is IPFire's already.
    firewall.write("var/ipfire/mwan/state/boot", "another\n");
    firewall.write("var/ipfire/mwan/state/current-profile", "gsm\n");
    firewall.ok("/etc/init.d/mwan stop");
    assert_eq!(firewall.read("var/log/hooks"), hooks);
    assert_eq!(firewall.read("var/ipfire/mwan/state/current-profile"), "primary\n");
}

/// IPFire's build system, as far as the recipe needs it.
const CONFIG: &str = "
DIR_SRC := src
DIR_DL := dl
DIR_CHK := chk
DIR_INFO := info
URL_IPFIRE := https://source.ipfire.org
PREBUILD := echo prebuild
POSTBUILD := echo postbuild
LOAD := echo load
CHECK := echo check
B2SUM := echo b2sum
PAK := echo pak
";

#[test]
fn the_recipe_builds_with_the_feature_and_has_the_program_install_the_rest() {
    let top = tempfile::tempdir().unwrap();
    fs::write(top.path().join("Config"), CONFIG).unwrap();
    let recipe = package().join("lfs");
    let make = |target: &str| {
        let output =
            run("make", &["-n", "-C", top.path().to_str().unwrap(), "-f", recipe.to_str().unwrap(), target]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let text = make("install");
    let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
    assert!(
        at("cargo build --release --locked --offline -p mwan --features ipfire")
            < at("/usr/local/bin/mwan ipfire install")
    );
    assert!(text.contains(&format!("mwan-{}", env!("CARGO_PKG_VERSION"))));
    assert!(make("dist").contains("echo pak"));
}

/// The backup holds what an owner has written, and nothing of the moment.
#[test]
fn the_backup_takes_the_settings_along() {
    let text = fs::read_to_string(package().join("files/var/ipfire/backup/addons/includes/mwan")).unwrap();
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    for path in text.lines() {
        assert!(firewall.path(path.trim_start_matches('/')).exists(), "{path}");
        assert!(!path.contains("state"));
    }
    assert_eq!(text.lines().count(), 5);
    // A restored backup of a system that had it, in one without our list, is no obstacle.
    firewall.ok("/usr/local/bin/mwan ipfire uninstall");
}
