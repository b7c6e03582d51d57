//! The command line as a script sees it: words, exit codes, which stream.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const GOOD: &str = "
config interface 'eth1'
	option enabled '1'
	option device 'eth1'
	list track_ip '192.0.2.1'

config member 'eth1_m1_w1'
	option interface 'eth1'

config policy 'only'
	list use_member 'eth1_m1_w1'

config rule 'all'
	option dest_ip '0.0.0.0/0'
	option use_policy 'only'
";

fn mwan(args: &[&str]) -> Output {
    let nowhere = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_mwan"))
        .args(args)
        .env("MWAN_RUN_DIR", nowhere.path())
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("not killed by a signal")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(text: &[u8], name: &str) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    std::fs::write(&file, text).unwrap();
    mwan(&["check", file.to_str().unwrap()])
}

#[test]
fn help_names_every_command_and_exit_code() {
    let help = mwan(&["--help"]);
    assert_eq!(code(&help), 0);
    for word in [
        "daemon",
        "status",
        "interfaces",
        "policies",
        "connected",
        "rules",
        "check",
        "plan",
        "diff",
        "reload",
        "ifup",
        "ifdown",
        "use",
        "stop",
        "cleanup",
        "compat",
        "migrate",
        "--run-dir",
        "MWAN_RUN_DIR",
        "2 wrong usage",
        "3 something",
    ] {
        assert!(out(&help).contains(word), "{word} is missing in\n{}", out(&help));
    }
}

#[test]
fn wrong_usage_is_2_and_goes_to_standard_error() {
    for args in [&["no-such-command"][..], &["ifup"], &["status", "--no-such-flag"], &["plan"], &[]] {
        let output = mwan(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(out(&output).is_empty() && !err(&output).is_empty(), "{args:?}");
    }
}

#[test]
fn a_drill_takes_a_time_it_can_have() {
    let words = "expected is a time from 2 s to 3600 s, as in 60s or 2m";
    for wrong in
        ["", "0", "1", "1s", "3601", "61m", "1h", "-5", "+5", "1.5", "s", "m", "60 s", "sixty", "4294967356s"]
    {
        let output = mwan(&["drill", "wan", &format!("--for={wrong}")]);
        assert_eq!(code(&output), 2, "{wrong}");
        assert!(err(&output).contains(words) || wrong.is_empty(), "{wrong}: {}", err(&output));
    }
    for good in ["2", "60", "60s", "1m", "60m", "3600"] {
        let output = mwan(&["drill", "wan", "--for", good]);
        assert_eq!((code(&output), err(&output).contains("no daemon answers")), (1, true), "{good}");
    }
    for wrong in [&["drill"][..], &["drill", "wan", "--stop"], &["drill", "wan", "--dns", "a..b"], &["why"]] {
        assert_eq!(code(&mwan(wrong)), 2, "{wrong:?}");
    }
}

#[test]
fn without_a_daemon_clients_fail_with_a_hint() {
    for command in ["status", "interfaces", "policies", "connected", "rules", "diff", "stop", "reload"] {
        let output = mwan(&[command]);
        assert_eq!(code(&output), 1, "{command}");
        assert!(err(&output).contains("no daemon answers"), "{}", err(&output));
        assert!(err(&output).contains("hint: start it with"), "{}", err(&output));
    }
}

#[test]
fn check_is_0_for_a_good_file_and_says_what_is_in_it() {
    let output = check(GOOD.as_bytes(), "mwan3");
    assert_eq!(code(&output), 0, "{}", out(&output));
    assert!(
        err(&output).contains("1 of 1 interfaces enabled, 1 policies, 1 rules; 0 errors"),
        "{}",
        err(&output)
    );
}

#[test]
fn check_is_1_for_an_error_and_names_file_line_and_section() {
    let text =
        GOOD.replace("'eth1_m1_w1'\n\toption interface 'eth1'", "'eth1_m1_w1'\n\toption interface 'eht1'");
    let output = check(text.as_bytes(), "mwan3");
    assert_eq!(code(&output), 1);
    let line = out(&output).lines().find(|l| l.contains("error[")).unwrap().to_owned();
    assert!(line.contains("mwan3:8:") && line.contains("eht1") && line.contains("eth1"), "{line}");
}

#[test]
fn no_input_makes_check_panic() {
    let long = [b"config rule 'x'\n\toption src_ip '".as_slice(), &vec![b'1'; 1 << 20], b"'\n"].concat();
    let garbage: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    for text in [&b""[..], b"\0\0\0", b"config", b"option x y", &long, &garbage, b"'", b"\xff\xfe"] {
        for name in ["mwan3", "mwan.toml"] {
            let output = check(text, name);
            assert!(matches!(code(&output), 0 | 1), "{name}: {}", err(&output));
            assert!(!err(&output).contains("panicked"), "{}", err(&output));
        }
    }
}

/// What a person gets for a file that is something else, or has a line that cannot be a configuration's.
#[test]
fn garbage_and_an_endless_line_are_one_diagnostic_each() {
    let errors = |output: &Output| -> Vec<String> {
        out(output).lines().filter(|line| line.contains("error[")).map(str::to_owned).collect()
    };
    // Not a cycle of one short line: every line is different, and some are printable.
    let garbage: Vec<u8> = (0..200_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for name in ["mwan3", "mwan.toml"] {
        let output = check(&garbage, name);
        assert_eq!(code(&output), 1);
        let found = errors(&output);
        assert!(found.len() == 1 && found[0].contains(&format!("{name}:1: error[E0109]")), "{found:?}");
    }
    let long = format!("{GOOD}config interface 'x'\n\toption device '{}'\n", "x".repeat(1 << 20));
    let output = check(long.as_bytes(), "mwan3");
    let found = errors(&output);
    assert!(
        found.len() == 1 && found[0].contains("mwan3:17: error[E0106]: interface 'x', option 'device': "),
        "{found:?}"
    );
}

/// What a reload refuses, check refuses.
#[test]
fn a_file_without_an_interface_does_not_pass() {
    for text in ["", "# nothing yet\n", "config globals 'globals'\n"] {
        let output = check(text.as_bytes(), "mwan3");
        assert_eq!(code(&output), 1, "{text:?}");
        assert!(
            err(&output).contains("would not take it over: it has no interface section"),
            "{}",
            err(&output)
        );
    }
    let off = "config globals 'globals'\n\toption enabled '0'\n";
    assert_eq!(code(&check(off.as_bytes(), "mwan3")), 0);
}

#[test]
fn a_missing_file_is_one_clear_line() {
    let output = mwan(&["check", "/no/such/file"]);
    assert_eq!(code(&output), 1);
    assert_eq!(
        err(&output),
        "mwan: cannot read the configuration /no/such/file: No such file or directory (os error 2)\n"
    );
}

#[test]
fn check_reads_standard_input() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_mwan"))
        .args(["check", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(GOOD.as_bytes()).unwrap();
    assert_eq!(code(&child.wait_with_output().unwrap()), 0);
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mwan3");
    // Many diagnostics: more than a pipe holds.
    std::fs::write(&file, "config nonsense 'x'\n".repeat(5000)).unwrap();
    let status = Command::new("sh")
        .args(["-c", "\"$0\" check \"$1\" 2>/dev/null | head -n 1 >/dev/null; echo done"])
        .arg(env!("CARGO_BIN_EXE_mwan"))
        .arg(&file)
        .output()
        .unwrap();
    assert!(status.stderr.is_empty(), "{}", err(&status));
    let mut child = Command::new(env!("CARGO_BIN_EXE_mwan"))
        .args(["check", file.to_str().unwrap()])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let status = child.wait().unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "{status}");
}

#[test]
fn a_second_daemon_in_the_same_run_directory_is_refused_before_it_touches_anything() {
    use std::fs::OpenOptions;
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mwan3");
    std::fs::write(&config, GOOD).unwrap();
    let lock = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.path().join("mwan.lock"))
        .unwrap();
    lock.try_lock().unwrap();
    let output = daemon(dir.path(), &config);
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("another daemon runs with"), "{}", err(&output));
}

#[test]
fn a_daemon_without_its_configuration_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let output = daemon(dir.path(), &dir.path().join("none"));
    assert_eq!(code(&output), 1);
    assert!(err(&output).contains("cannot read the configuration"), "{}", err(&output));
}

/// Whoever runs the tests: in a user namespace of its own it has no rights in the network namespace it stays in.
#[test]
fn without_the_rights_it_takes_every_command_fails_with_a_hint() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("mwan3");
    std::fs::write(&config, GOOD).unwrap();
    let (dir, config) = (dir.path().to_str().unwrap(), config.to_str().unwrap());
    for args in [
        &["daemon", "--platform", "linux", "--state-dir", dir, "--config", config][..],
        &["plan", "--platform", "linux", "--config", config],
        &["cleanup"],
    ] {
        let output = Command::new("unshare")
            .args(["-U", env!("CARGO_BIN_EXE_mwan"), "--run-dir", dir])
            .args(args)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(code(&output), 1, "{args:?}: {}", err(&output));
        assert!(err(&output).contains("hint: run it as root"), "{args:?}: {}", err(&output));
    }
}

fn daemon(run_dir: &Path, config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mwan"))
        .arg("daemon")
        .args(["--platform", "linux", "--run-dir"])
        .arg(run_dir)
        .arg("--state-dir")
        .arg(run_dir)
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Two rules of which the second never matches.
const SHADOWED: &str = "config rule 'all'\n\toption family 'ipv4'\n\toption use_policy 'default'\n\
    config rule 'late'\n\toption dest_ip '10.0.0.0/8'\n\toption use_policy 'unreachable'\n";

/// Lints are told and cost nothing: the exit code is that of the mistakes.
#[test]
fn check_tells_of_what_cannot_work_and_passes() {
    let output = check(format!("{GOOD}{SHADOWED}").as_bytes(), "mwan3");
    assert_eq!(code(&output), 0, "{}", out(&output));
    let line = out(&output).lines().find(|line| line.contains("[W0720]")).unwrap().to_owned();
    assert!(line.contains("warning[W0720]: rule 'late': never matches: rule"), "{line}");
    assert!(err(&output).contains("0 errors, "), "{}", err(&output));
}

#[test]
fn check_takes_several_files_and_fails_if_one_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        std::fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).to_str().unwrap().to_owned()
    };
    let good = file("good", GOOD);
    let bad = file("bad", &format!("{GOOD}config rule 'r'\n\toption use_policy 'none'\n"));
    assert_eq!(code(&mwan(&["check", &good, &good])), 0);
    let output = mwan(&["check", &bad, &good]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).lines().count() == 2 && out(&output).contains("bad:"), "{}", err(&output));

    // As SARIF: one document of both.
    let output = mwan(&["check", "--format", "sarif", &bad, &good]);
    assert_eq!(code(&output), 1);
    let document: serde_json::Value = serde_json::from_str(&out(&output)).unwrap();
    assert_eq!(document["version"], "2.1.0");
    let results = document["runs"][0]["results"].as_array().unwrap();
    let error = results.iter().find(|r| r["level"] == "error").unwrap();
    assert_eq!(error["ruleId"], "E0702");
    let place = &error["locations"][0]["physicalLocation"];
    assert_eq!(place["artifactLocation"]["uri"], format!("file://{bad}"));
    assert!(place["region"]["startLine"].as_u64().unwrap() > 1);
}

#[test]
fn a_code_is_explained() {
    for asked in ["W0720", "w0720"] {
        let output = mwan(&["check", "--explain", asked]);
        assert_eq!(code(&output), 0);
        let text = out(&output);
        assert!(text.starts_with("W0720 (warning): rule that never matches\n\nThe first rule"), "{text}");
        assert!(text.contains("\nFix: Move it"), "{text}");
    }
    let output = mwan(&["check", "--explain", "E9999"]);
    assert_eq!(code(&output), 1);
    assert!(err(&output).starts_with("mwan: there is no code 'E9999'\nhint: "), "{}", err(&output));
    for wrong in
        [&["check"][..], &["check", "--explain", "W0720", "f"], &["check", "--system", "--no-system", "f"]]
    {
        assert_eq!(code(&mwan(wrong)), 2, "{wrong:?}");
    }
}
