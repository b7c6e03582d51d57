//! `mwan check` beyond reading: a configuration, and what is said of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use mwan_config::lint::lint;
use mwan_config::parse;

/// Every configuration of `cases/doc-*`: those of wiki, readme and guides, which people run. What is said of them is
/// in `lints.txt`; `UPDATE_GOLDEN=1` writes it. Each line there is looked at: it has to be true and worth saying.
#[test]
fn known_configurations_get_no_false_alarm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut cases: Vec<_> = fs::read_dir(root.join("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    let mut got = String::new();
    for case in cases {
        for file in ["input.uci", "input.toml"] {
            let Ok(bytes) = fs::read(case.join(file)) else { continue };
            let mut loaded = parse(file, &bytes);
            loaded.load_set_files(&|file| fs::read(case.join(file)).map_err(|_| "there is none".to_owned()));
            writeln!(got, "{}", case.file_name().unwrap().to_string_lossy()).unwrap();
            for diagnostic in lint(&loaded) {
                writeln!(got, "  {diagnostic}").unwrap();
            }
        }
    }
    let golden = root.join("lints.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == got, "UPDATE_GOLDEN=1 if this is right:\n{got}");
}
