//! What `make install` puts into a system works there: completions complete, the example is right, systemd takes the unit.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// A system with mwan installed, as a package would build it.
fn installed() -> TempDir {
    let system = tempfile::tempdir().unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/install");
    let output = Command::new(script)
        .arg(env!("CARGO_BIN_EXE_mwan"))
        .env("DESTDIR", system.path())
        .env("PREFIX", "/usr")
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    system
}

fn run(program: &Path, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn everything_is_in_its_place_and_no_more() {
    let system = installed();
    let mut folders = vec![system.path().to_owned()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            match entry.is_dir() {
                true => folders.push(entry),
                false => files.push(entry.strip_prefix(system.path()).unwrap().display().to_string()),
            }
        }
    }
    files.retain(|file| !file.ends_with(".1"));
    files.sort();
    let expected = [
        "usr/lib/systemd/system/mwan.service",
        "usr/lib/sysusers.d/mwan.conf",
        "usr/sbin/mwan",
        "usr/share/bash-completion/completions/mwan",
        "usr/share/doc/mwan/examples/mwan.toml",
        "usr/share/fish/vendor_completions.d/mwan.fish",
        "usr/share/man/man5/mwan.5",
        "usr/share/zsh/site-functions/_mwan",
    ];
    assert_eq!(files, expected);
    let manual = system.path().join("usr/share/man/man1");
    for page in ["mwan.1", "mwan-plan.1", "mwan-cloud-apply.1"] {
        assert!(fs::read_to_string(manual.join(page)).unwrap().contains(".SH SYNOPSIS"), "{page}");
    }
}

/// Other services may be `nobody`, too.
#[test]
fn what_speaks_with_the_outside_has_a_user_of_its_own() {
    let system = installed();
    let root = format!("--root={}", system.path().display());
    let output = run(Path::new("systemd-sysusers"), &[&root]);
    assert!(output.status.success(), "{output:?}");
    let users = fs::read_to_string(system.path().join("etc/passwd")).unwrap();
    let user = users.lines().find(|line| line.starts_with("mwan:")).expect("the user");
    assert!(user.ends_with("nologin"), "{user}");
}

#[test]
fn bash_completes_commands_and_options() {
    let system = installed();
    let file = system.path().join("usr/share/bash-completion/completions/mwan");
    let complete = |line: &str| {
        let script = format!(
            "source {}; COMP_WORDS=({line}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _mwan mwan \"${{COMP_WORDS[COMP_CWORD]}}\" \"${{COMP_WORDS[COMP_CWORD-1]}}\"; echo \"${{COMPREPLY[@]}}\"",
            file.display()
        );
        let output = run(Path::new("/bin/bash"), &["-c", &script]);
        assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    };
    assert_eq!(complete("mwan stat"), "status");
    assert_eq!(complete("mwan migrate --t"), "--to");
    assert_eq!(complete("mwan cloud ex"), "export");
}

#[test]
fn the_example_is_a_configuration_without_a_fault() {
    let system = installed();
    let file = system.path().join("usr/share/doc/mwan/examples/mwan.toml");
    let output = run(&system.path().join("usr/sbin/mwan"), &["check", file.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(said.contains("2 of 2 interfaces enabled") && said.contains("0 errors, 0 warnings"), "{said}");
}

#[test]
fn systemd_takes_the_unit_and_the_program_its_command() {
    let system = installed();
    let unit = system.path().join("usr/lib/systemd/system/mwan.service");
    let command = fs::read_to_string(&unit).unwrap();
    let command = command.lines().find_map(|l| l.strip_prefix("ExecStart=")).unwrap();
    let mut words = command.split(' ');
    let program = PathBuf::from(words.next().unwrap());
    assert_eq!(program, Path::new("/usr/sbin/mwan"));
    let arguments: Vec<&str> = words.collect();
    // Its configuration is not there: that is what it complains of, and not of an option.
    let here = system.path().join("usr/sbin/mwan");
    let run_dir = system.path().join("run");
    let output = run(&here, &[&["--run-dir", run_dir.to_str().unwrap()], &arguments[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stderr).contains("/etc/mwan/mwan.toml"), "{output:?}");
    // What is not in this system is in that one.
    let there = tempfile::tempdir().unwrap();
    let copy = there.path().join("mwan.service");
    fs::write(&copy, fs::read_to_string(&unit).unwrap().replace("/usr/sbin/mwan", here.to_str().unwrap()))
        .unwrap();
    let output = run(Path::new("/usr/bin/systemd-analyze"), &["verify", "--man=no", copy.to_str().unwrap()]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
