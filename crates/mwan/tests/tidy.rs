//! Rules of the repository that a compiler cannot hold.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// Which of our crates each may depend on (ARCHITECTURE.md); development dependencies included.
const EDGES: [(&str, &[&str]); 14] = [
    ("mwan-alerts", &["mwan-api", "mwan-config"]),
    ("mwan-config", &[]),
    ("mwan-core", &["mwan-config"]),
    ("mwan-compile", &["mwan-config", "mwan-core"]),
    ("mwan-dial", &["mwan-config"]),
    ("mwan-ipfire", &["mwan-config", "mwan-dial"]),
    ("mwan-linux", &["mwan-config", "mwan-core", "mwan-compile"]),
    ("mwan-api", &[]),
    ("mwan-history", &["mwan-api"]),
    ("mwan-record", &["mwan-config", "mwan-core"]),
    ("mwan-ubus", &[]),
    ("mwan-web", &["mwan-api", "mwan-history"]),
    (
        "mwan",
        &[
            "mwan-alerts",
            "mwan-api",
            "mwan-config",
            "mwan-core",
            "mwan-compile",
            "mwan-dial",
            "mwan-history",
            "mwan-ipfire",
            "mwan-linux",
            "mwan-record",
            "mwan-ubus",
            "mwan-web",
        ],
    ),
    ("mwan-lab", &[]),
];

/// Crates that must stay pure: these may not appear anywhere below them.
const PURE: [&str; 9] = [
    "mwan-alerts",
    "mwan-config",
    "mwan-core",
    "mwan-compile",
    "mwan-dial",
    "mwan-history",
    "mwan-ipfire",
    "mwan-record",
    "mwan-ubus",
];
const IMPURE: [&str; 5] = ["libc", "tokio", "socket2", "tracing", "netlink-bindings"];

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

#[test]
fn the_edges_between_crates_are_those_of_the_architecture() {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed: BTreeMap<&str, &[&str]> = EDGES.into_iter().collect();
    let mut seen = 0;
    for package in metadata["packages"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let allowed = allowed.get(name).unwrap_or_else(|| panic!("{name} is not in ARCHITECTURE.md's table"));
        seen += 1;
        for dependency in package["dependencies"].as_array().unwrap() {
            let on = dependency["name"].as_str().unwrap();
            let ours = on == "mwan" || on.starts_with("mwan-");
            assert!(!ours || allowed.contains(&on), "{name} must not depend on {on}");
            let normal = dependency["kind"].is_null();
            assert!(!(normal && PURE.contains(&name) && IMPURE.contains(&on)), "{name} is pure, {on} is not");
        }
    }
    assert_eq!(seen, EDGES.len());
}

#[test]
fn the_pure_crates_are_held_to_it_by_clippy() {
    for name in PURE {
        let folder = name.strip_prefix("mwan-").unwrap_or(name);
        let rules = std::fs::read_to_string(root().join("crates").join(folder).join("clippy.toml"));
        let rules = rules.unwrap_or_else(|e| panic!("{name} has no clippy.toml: {e}"));
        for banned in
            ["Instant::now", "SystemTime::now", "env::var", "fs::File", "HashMap", "process::Command::new"]
        {
            assert!(rules.contains(banned), "{name} may use {banned}");
        }
    }
}

#[test]
fn only_the_linux_and_lab_crates_have_unsafe_code() {
    for crate_name in [
        "alerts", "config", "core", "compile", "api", "dial", "history", "ipfire", "record", "ubus", "web",
        "mwan",
    ] {
        for file in sources(&root().join("crates").join(crate_name).join("src")) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(!text.contains("unsafe {"), "{} has unsafe code", file.display());
            assert!(!text.contains("allow(unsafe_code)"), "{} allows unsafe code", file.display());
        }
    }
}

#[test]
fn every_crate_and_invariant_is_in_the_architecture() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, _) in EDGES {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
    for n in 1..=12 {
        assert!(text.contains(&format!("**I{n}**")), "I{n}");
    }
}

fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}
