//! The scripts of this repository are good shell: dash and busybox take them.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every script below `scripts`: those that begin as one, and those that are sourced, which name their shell to shellcheck.
fn scripts(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            scripts(&path, all);
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        if text.starts_with("#!/bin/sh") || text.starts_with("# shellcheck shell=") {
            all.push(path);
        }
    }
}

#[test]
fn scripts_are_good_shell() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut all = Vec::new();
    scripts(&root.join("scripts"), &mut all);
    assert!(all.len() >= 10, "{all:?}");
    for script in all {
        // scripts/setup-debian installs it. -x: what is sourced is read, too.
        let output = Command::new("shellcheck")
            .args(["-x", "--shell=dash", "--severity=warning"])
            .arg(&script)
            .current_dir(&root)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    }
}
