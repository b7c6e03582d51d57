//! `mwan3` and `mwan4` as a user calls them: a whole day of commands in a network namespace of its own.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use common::{CONFIG, MWAN, unshare};

/// Ends the daemon whatever happens; `$1` is the folder. `show` is the state of the kernel without what IPv6 does in its
/// own time: addresses of its own are made and checked, routes to multicast follow the carrier.
const BEGIN: &str = "set -e; cd \"$1\"; trap './mwan3 stop >/dev/null 2>&1' EXIT
show() { nft list ruleset; ip rule; ip -6 rule; ip route show table all | grep -v ^multicast; }
ip link set lo up; ip link add wan0 type veth peer name isp0
for end in isp0 wan0; do ip link set $end addrgenmode none; ip link set $end up; done
ip address add 192.0.2.2/24 dev wan0; show >before
";

/// Runs shell words in a namespace with one WAN, in a folder with `mwan3` and `mwan4`.
fn day(commands: &str) -> (tempfile::TempDir, Output) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config"), CONFIG).unwrap();
    for name in ["mwan3", "mwan4"] {
        symlink(MWAN, dir.path().join(name)).unwrap();
    }
    let output = unshare()
        .args(["sh", "-c", &format!("{BEGIN}{commands}"), "sh"])
        .arg(dir.path())
        .env("MWAN_RUN_DIR", dir.path().join("run"))
        .env("MWAN_STATE_DIR", dir.path().join("state"))
        .env("MWAN_CONFIG", dir.path().join("config"))
        .env("MWAN_PLATFORM", "linux")
        .env("MWAN_USER_SCRIPT", dir.path().join("user"))
        .env("MWAN_HOOKS_DIR", dir.path().join("hooks.d"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    (dir, output)
}

fn ok(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    text
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap()
}

/// If the daemon kept the pipe open, the `$(…)` would wait for it for ever.
#[test]
fn start_returns_when_the_daemon_answers_and_stop_leaves_nothing() {
    let (dir, output) = day("said=$(./mwan3 start 2>&1); test -z \"$said\"
./mwan3 start
./mwan3 interfaces >interfaces
./mwan3 restart
./mwan3 status >status
./mwan3 stop
show >after
./mwan3 stop
./mwan3 start
./mwan4 status >status4
");
    ok(&output);
    let interfaces = read(dir.path(), "interfaces");
    assert!(interfaces.starts_with("Interface status:\n interface wan is online 00h:00m:0"), "{interfaces}");
    assert!(interfaces.ends_with(" and tracking is disabled\n\n"), "{interfaces}");
    let status = read(dir.path(), "status");
    assert!(
        status.contains("\nCurrent ipv4 policies:\nonly:\n wan (100%)\n\nCurrent ipv6 policies:\n"),
        "{status}"
    );
    assert!(!status.contains("Problems"), "{status}");
    assert!(read(dir.path(), "status4").contains(" interface wan (ipv4) is online"));
    assert_eq!(read(dir.path(), "before"), read(dir.path(), "after"));
}

/// As `mwan3_interface_hotplug_shutdown` does; and when `stop` has returned, the script has run.
#[test]
fn scripts_hear_of_a_stop_and_a_hanging_one_does_not_prevent_it() {
    let (dir, output) = day("echo 'echo $ACTION $INTERFACE $DEVICE >>${0%/*}/heard' >user
./mwan3 start
./mwan3 stop
cp heard once
./mwan3 start
./mwan3 ifdown wan
./mwan3 stop
mv heard twice
export MWAN_HOOK_TIMEOUT=5
echo 'echo $ACTION $INTERFACE $DEVICE >>${0%/*}/heard; [ $ACTION = ifup ] || exec sleep 1000' >user
./mwan3 start
./mwan3 stop
show >after
");
    ok(&output);
    let once = "ifup wan wan0\ndisconnected wan wan0\n";
    assert_eq!(read(dir.path(), "once"), once);
    assert_eq!(
        read(dir.path(), "twice"),
        format!("{once}ifup wan wan0\ndisconnected wan wan0\nifdown wan\n"),
        "what is down is not disconnected again"
    );
    assert_eq!(read(dir.path(), "heard"), once);
    assert_eq!(read(dir.path(), "before"), read(dir.path(), "after"));
}

/// The session a process is in is the fourth field behind its name (proc(5)).
#[test]
fn the_daemon_is_in_a_session_of_its_own_and_keeps_its_process_over_a_restart() {
    let (dir, output) = day("./mwan3 start
ln -s \"$(readlink -f mwan3)\" mwan
./mwan status --json >first; ./mwan3 restart; ./mwan status --json >second
pid=$(sed -n 's/^ *\"pid\": \\([0-9]*\\),.*/\\1/p' first)
sed 's/.*) //' /proc/$pid/stat | cut -d' ' -f4 >session; readlink /proc/$pid/cwd >cwd
");
    ok(&output);
    let pid = |name: &str| -> u64 {
        let status: serde_json::Value = serde_json::from_str(&read(dir.path(), name)).unwrap();
        status["daemon"]["pid"].as_u64().unwrap()
    };
    assert_eq!(read(dir.path(), "session").trim(), pid("first").to_string());
    assert_eq!(read(dir.path(), "cwd"), "/\n");
    assert_eq!(pid("first"), pid("second"), "flows are not even looked at");
}

#[test]
fn internal_shows_addresses_routes_rules_tables_and_firewall() {
    let (dir, output) = day("./mwan3 start; ./mwan3 internal >four; ./mwan3 internal ipv6 >six\n");
    ok(&output);
    let four = read(dir.path(), "four");
    for text in [
        "Software-Version\n-------------------------------------------------\nmwan3 - ",
        "\nOutput of \"ip -4 a show\"\n",
        "inet 192.0.2.2/24",
        "\nOutput of \"ip -4 route show\"\n",
        "\nOutput of \"ip -4 rule show\"\n",
        "from all fwmark 0x100/0x3f00 lookup 1",
        "\nOutput of \"ip -4 route list table 1-250\"\n-------------------------------------------------\nRouting table 1:\ndefault via 192.0.2.1 dev wan0",
        "\nOutput of \"nft list ruleset\"\n",
        "table inet mwan {",
    ] {
        assert!(four.contains(text), "{text}\n{four}");
    }
    let six = read(dir.path(), "six");
    assert!(six.contains("\nOutput of \"ip -6 route list table 1-250\"\n-------------------------------------------------\nNo data found\n"), "{six}");
}

#[test]
fn ifdown_ifup_and_use_do_what_they_say() {
    let (dir, output) = day("./mwan3 start
./mwan3 ifdown wan; ./mwan3 interfaces >down; ./mwan3 ifup wan; ./mwan3 interfaces >up
./mwan3 use wan sh -c 'echo $DEVICE; exit 7' >used 2>line || echo $? >>used
./mwan3 ifup nowhere 2>unknown || echo $? >>unknown
./mwan3 ifup 2>none || echo $? >>none
");
    ok(&output);
    let read = |name| read(dir.path(), name);
    assert!(
        read("down").contains(" interface wan is offline") && read("up").contains(" interface wan is online")
    );
    assert_eq!(read("used"), "wan0\n7\n");
    assert_eq!(
        read("line"),
        "Running 'sh -c echo $DEVICE; exit 7' with DEVICE=wan0 SRCIP=192.0.2.2 FWMARK=0x3f00 FAMILY=ipv4\n"
    );
    assert!(
        read("unknown").contains("there is no enabled interface 'nowhere'")
            && read("unknown").ends_with("1\n")
    );
    assert_eq!(read("none"), "mwan: which interface? usage: mwan3 ifup <iface>\n1\n");
}

#[test]
fn a_daemon_that_cannot_start_says_why() {
    let (dir, output) = day("rm config; ./mwan3 start 2>why || echo $? >>why\n");
    ok(&output);
    let why = read(dir.path(), "why");
    assert!(why.contains("cannot read the configuration") && why.ends_with("\n1\n"), "{why}");
}

#[test]
fn anything_else_is_the_help() {
    for words in [&[][..], &["help"], &["no-such-word"], &["use", "wan"], &["internal", "ipv5"]] {
        let output = Command::new(MWAN).args(["compat", "mwan3"]).args(words).output().unwrap();
        let text = ok(&output);
        assert!(
            text.starts_with("Syntax: mwan3 [command]\n\nAvailable commands:\nstart     "),
            "{words:?}: {text}"
        );
    }
}

#[test]
fn migrate_prints_the_file_and_tells_what_differs() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mwan3");
    std::fs::write(&file, CONFIG).unwrap();
    let mwan = |args: &[&str]| Command::new(MWAN).arg("migrate").arg(&file).args(args).output().unwrap();
    let mwan4 = mwan(&[]);
    assert!(ok(&mwan4).contains("config strategy 'only'\n\tlist use_route 'wan_m1_w1'\n"));
    let told = String::from_utf8_lossy(&mwan4.stderr).into_owned();
    assert!(told.contains("mwan3:7: config member is now config route\n"), "{told}");
    let toml = mwan(&["--to", "toml"]);
    assert!(ok(&toml).contains("[policy.only]\nprefer = [\"wan\"]\n"), "{}", ok(&toml));
}
