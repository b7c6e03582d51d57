//! Whole files: `cases/NAME/input.{uci,toml}` read and compared with `cases/NAME/expected.txt`.
//! `UPDATE_GOLDEN=1 cargo test -p mwan-config` writes what is read now; look at the difference.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod dump;

use std::fs;
use std::path::{Path, PathBuf};

use mwan_config::ipfire::Files;
use mwan_config::{Loaded, parse};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
    found.sort();
    found
}

fn load(case: &Path) -> (String, Loaded) {
    for name in ["input.uci", "input.toml"] {
        if let Ok(bytes) = fs::read(case.join(name)) {
            let mut loaded = parse(name, &bytes);
            loaded.load_set_files(&|file| fs::read(case.join(file)).map_err(|_| "there is none".to_owned()));
            return (name.to_owned(), loaded);
        }
    }
    ("mwan/settings".to_owned(), mwan_config::parse_ipfire(&tree(case)))
}

/// IPFire's files, which are a case's other form.
fn tree(case: &Path) -> Files {
    let root = case.join("ipfire");
    assert!(root.is_dir(), "{}: no input", case.display());
    let mut files = Files { root: "/var/ipfire".into(), ..Files::default() };
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            files.contents.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn every_case_reads_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = Vec::new();
    let all = cases();
    assert!(all.len() > 20, "only {} cases found", all.len());
    for case in all {
        let (_, loaded) = load(&case);
        let got = dump::dump(&loaded);
        let golden = case.join("expected.txt");
        if update {
            fs::write(&golden, &got).unwrap();
        } else if fs::read_to_string(&golden).unwrap_or_default() != got {
            wrong.push(format!("--- {}\n{got}", case.display()));
        }
    }
    assert!(wrong.is_empty(), "UPDATE_GOLDEN=1 if this is right:\n{}", wrong.join("\n"));
}

/// The examples of the documents are configurations people run: they must read without an error, except
/// where the document shows a fragment that refers to sections elsewhere.
#[test]
fn documented_examples_have_no_errors() {
    for case in cases() {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("doc-") && !name.ends_with("-fragment") {
            let (_, loaded) = load(&case);
            assert!(!loaded.has_errors(), "{name}: {:#?}", loaded.diagnostics);
        }
    }
}

#[test]
fn reading_is_deterministic() {
    for case in cases() {
        assert_eq!(load(&case), load(&case));
    }
}
