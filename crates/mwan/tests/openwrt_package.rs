//! The OpenWrt package: its scripts are run with stubs of what OpenWrt gives them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../package/openwrt").canonicalize().unwrap()
}

/// Paths below `files`, as they are on the router.
fn files() -> BTreeSet<String> {
    fn walk(dir: &Path, root: &Path, all: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, all);
            } else {
                all.insert(path.strip_prefix(root).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    let (root, mut all) = (package().join("files"), BTreeSet::new());
    walk(&root, &root, &mut all);
    all
}

fn scripts() -> Vec<PathBuf> {
    let all = files().into_iter().map(|name| package().join("files").join(name));
    let script = |path: &PathBuf| std::fs::read(path).unwrap().starts_with(b"#!/bin/sh");
    all.filter(script).collect()
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).stdin(Stdio::null()).output().unwrap()
}

/// `sh` is whatever the system has; shellcheck knows what busybox takes.
#[test]
fn scripts_are_good_shell() {
    assert_eq!(scripts().len(), 5);
    for script in scripts() {
        let name = script.to_str().unwrap();
        let output = run("sh", &["-n", name]);
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        // scripts/setup-debian installs it; SC3043: busybox has `local`.
        let output = run("shellcheck", &["--shell=dash", "--exclude=SC3043", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}

/// What procd's shell library does, as far as the script can tell; every call is printed, one word per line.
const STUBS: &str = r#"
say() { printf '%s\n' "$@" --; }
procd_open_instance() { say open; }
procd_close_instance() { say close; }
procd_set_param() { say param "$@"; }
procd_add_reload_trigger() { say trigger "$@"; }
procd_send_signal() { say signal "$@"; }
rc_procd() { "$@"; }
logger() { say log "$@"; }
"#;

/// Runs `call` of the init script, with the configuration files of a router in `root`; what was called.
fn init(root: &Path, action: &str, call: &str) -> (Vec<Vec<String>>, i32) {
    let text = std::fs::read_to_string(package().join("files/etc/init.d/mwan")).unwrap();
    let at = |path: &str| format!("{}{path}", root.display());
    let mut script = STUBS.to_owned() + &text;
    for path in ["/etc/config/", "/etc/mwan", "/usr/sbin/mwan", "/var/run/mwan"] {
        script = script.replace(path, &at(path));
    }
    script.push_str(&format!("\naction={action}\n{call}\n"));
    let output = Command::new("sh").args(["-c", &script]).env_remove("PKG_UPGRADE").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let text = String::from_utf8(output.stdout).unwrap();
    let mut calls = vec![Vec::new()];
    for line in text.lines() {
        match line {
            "--" => calls.push(Vec::new()),
            word => calls.last_mut().unwrap().push(word.replace(root.to_str().unwrap(), "")),
        }
    }
    calls.pop();
    (calls, output.status.code().unwrap())
}

fn router() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for dir in ["etc/config", "etc/mwan", "usr/sbin"] {
        std::fs::create_dir_all(root.path().join(dir)).unwrap();
    }
    root
}

fn find<'a>(calls: &'a [Vec<String>], words: &[&str]) -> Option<&'a [String]> {
    calls
        .iter()
        .find(|call| call.iter().map(String::as_str).zip(words).all(|(a, b)| a == *b))
        .map(|c| &c[words.len()..])
}

#[test]
fn the_service_runs_the_daemon_with_options_it_knows() {
    let root = router();
    let (calls, code) = init(root.path(), "start", "start_service");
    assert_eq!(code, 1);
    assert!(
        find(&calls, &["log"]).is_some() && find(&calls, &["open"]).is_none(),
        "nothing to start: {calls:?}"
    );

    for (file, expected) in [
        ("etc/mwan/mwan.toml", "/etc/mwan/mwan.toml"),
        ("etc/config/mwan3", "/etc/config/mwan3"),
        ("etc/config/mwan4", "/etc/config/mwan4"),
        ("etc/config/mwan", "/etc/config/mwan"),
    ] {
        std::fs::write(root.path().join(file), "x").unwrap();
        let (calls, code) = init(root.path(), "start", "start_service");
        assert_eq!(code, 0);
        let command = find(&calls, &["param", "command"]).unwrap();
        let config = command.iter().position(|word| word == "--config").unwrap();
        assert_eq!(command[config + 1], expected);
        assert_eq!(command[0], "/usr/sbin/mwan");
        assert!(find(&calls, &["param", "respawn"]).is_some());
        // The real program takes this command line: 2 would be wrong usage, 1 is a configuration that is not there.
        let args: Vec<String> = command[1..].iter().map(|w| w.replace(expected, "/nowhere/mwan")).collect();
        let output = Command::new(env!("CARGO_BIN_EXE_mwan")).args(args).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("cannot read the configuration /nowhere/mwan"), "{said}");
    }
}

#[test]
fn the_service_reloads_and_says_what_makes_it() {
    let root = router();
    std::fs::write(root.path().join("etc/config/mwan3"), "x").unwrap();
    let (calls, _) = init(root.path(), "boot", "service_triggers");
    assert_eq!(find(&calls, &["trigger"]).unwrap(), ["mwan", "mwan3", "mwan4", "network"]);
    let (calls, code) = init(root.path(), "reload", "reload_service");
    assert_eq!(code, 0);
    assert_eq!(calls.last().unwrap(), &["signal", "mwan"]);
    assert!(find(&calls, &["param", "command"]).is_some());
}

#[test]
fn only_the_owners_stop_removes_the_data_plane() {
    let root = router();
    let program = root.path().join("usr/sbin/mwan");
    let trace = root.path().join("trace");
    std::fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\n", trace.display())).unwrap();
    assert!(run("chmod", &["+x", program.to_str().unwrap()]).status.success());
    for (action, before) in [("restart", ""), ("shutdown", ""), ("reload", ""), ("stop", "PKG_UPGRADE=1; ")] {
        let (_, code) = init(root.path(), action, &format!("{before}stop_service"));
        assert_eq!(code, 0);
        assert!(!trace.exists(), "{action} {before}");
    }
    init(root.path(), "stop", "stop_service");
    let said = std::fs::read_to_string(&trace).unwrap();
    assert_eq!(said.replace(root.path().to_str().unwrap(), ""), "--run-dir /var/run/mwan cleanup\n");
    assert_eq!(
        run(env!("CARGO_BIN_EXE_mwan"), &["--run-dir", "/nowhere", "cleanup", "--help"]).status.code(),
        Some(0)
    );
}

/// Runs a script with `/etc/init.d` replaced by a folder of services that note how they are called.
fn with_services(script: &str, services: &[(&str, &str)], env: &[(&str, &str)]) -> String {
    with_services_left(script, services, env).0
}

/// The same, and which files of the folder are left.
fn with_services_left(
    script: &str,
    services: &[(&str, &str)],
    env: &[(&str, &str)],
) -> (String, Vec<String>) {
    let root = tempfile::tempdir().unwrap();
    let trace = root.path().join("trace");
    for (name, body) in services {
        let path = root.path().join(name);
        let text = format!("#!/bin/sh\necho {name} \"$@\" >> {}\n{body}\n", trace.display());
        std::fs::write(&path, text).unwrap();
        assert!(run("chmod", &["+x", path.to_str().unwrap()]).status.success());
    }
    let text = std::fs::read_to_string(package().join("files").join(script)).unwrap();
    let text = text.replace("/etc/init.d", root.path().to_str().unwrap());
    let text = text.replace("/etc/rc.d", root.path().to_str().unwrap());
    let output = Command::new("sh")
        .args(["-c", &text, script, "restart", "now"])
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    let calls = std::fs::read_to_string(&trace).unwrap_or_default();
    let names =
        std::fs::read_dir(root.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut left: Vec<String> = names.filter(|name| name != "trace").collect();
    left.sort();
    (calls, left)
}

#[test]
fn hotplug_starts_what_does_not_run_and_nothing_else() {
    let script = "etc/hotplug.d/iface/15-mwan";
    let idle = [("mwan", "[ \"$1\" != running ]")];
    assert_eq!(with_services(script, &idle, &[("ACTION", "ifdown")]), "");
    assert_eq!(
        with_services(script, &idle, &[("ACTION", "ifup")]),
        "mwan enabled\nmwan running\nmwan start\n"
    );
    assert_eq!(with_services(script, &[("mwan", "")], &[("ACTION", "ifup")]), "mwan enabled\nmwan running\n");
    let disabled = [("mwan", "[ \"$1\" != enabled ]")];
    assert_eq!(with_services(script, &disabled, &[("ACTION", "ifup")]), "mwan enabled\n");
}

#[test]
fn the_first_boot_removes_what_would_start_the_packages_we_replace() {
    // Whatever else is there stays: they are services that note how they are called.
    let services = [("S19mwan3", ""), ("K89mwan4", ""), ("S21mwan", ""), ("S19other", ""), ("rpcd", "")];
    let script = "etc/uci-defaults/90-mwan";
    let (calls, left) = with_services_left(script, &services, &[]);
    assert_eq!(calls, "rpcd reload\n");
    assert_eq!(left, ["S19other", "S21mwan", "rpcd"]);
    assert_eq!(with_services(script, &[], &[]), "");
}

#[test]
fn services_of_the_old_names_are_the_new_one() {
    for name in ["mwan3", "mwan4"] {
        let script = format!("etc/init.d/{name}");
        assert_eq!(with_services(&script, &[("mwan", "")], &[]), "mwan restart now\n");
    }
}

/// OpenWrt's makefiles, as far as ours needs them: installing prints what goes where.
const RULES: &str = "
INCLUDE_DIR := $(TOPDIR)
PKG_BUILD_DIR := build
PKG_INSTALL_DIR := built
INSTALL_DIR := @echo dir
INSTALL_BIN := @echo bin
INSTALL_DATA := @echo data
LN := @echo link
define BuildPackage
show:
$(call Package/$(1)/install,)
vars:
\t@echo $(Build/Compile)
endef
";

#[test]
fn the_makefile_installs_every_file_and_only_those() {
    let top = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(top.path().join("feeds/packages/lang/rust")).unwrap();
    std::fs::write(top.path().join("rules.mk"), RULES).unwrap();
    std::fs::write(top.path().join("package.mk"), "").unwrap();
    let rust = "define Build/Compile/Cargo\ncargo --path $(1)\nendef\n";
    std::fs::write(top.path().join("feeds/packages/lang/rust/rust-package.mk"), rust).unwrap();
    let make = |target: &str| {
        let output = Command::new("make")
            .args([
                "-s",
                "-C",
                package().to_str().unwrap(),
                target,
                &format!("TOPDIR={}", top.path().display()),
            ])
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(make("vars").trim(), "cargo --path crates/mwan");
    assert!(package().join("../../crates/mwan/Cargo.toml").exists());
    let text = make("show");
    let from = text.lines().filter_map(|line| line.split(' ').nth(1)?.strip_prefix("./files/"));
    let installed: BTreeSet<String> = from.map(str::to_owned).collect();
    assert_eq!(installed, files());
    for line in text.lines().filter(|l| l.contains("./files/")) {
        let words: Vec<&str> = line.split(' ').collect();
        assert_eq!(words[1].trim_start_matches("./files"), words[2], "{line}");
    }
    assert!(text.contains("bin built/bin/mwan /usr/sbin/mwan\n"), "{text}");
}

#[test]
fn users_of_the_web_interface_may_see_what_is_published() {
    let text = std::fs::read_to_string(package().join("files/usr/share/rpcd/acl.d/mwan.json")).unwrap();
    let acl: serde_json::Value = serde_json::from_str(&text).unwrap();
    // crates/mwan/src/openwrt/session.rs, OBJECTS
    for object in ["mwan", "mwan3", "mwan4"] {
        assert_eq!(acl["mwan"]["read"]["ubus"][object], serde_json::json!(["status"]));
    }
}
