//! `docs/configuration.md` and `docs/diagnostics.md` are what the tables say; `UPDATE_DOCS=1` writes them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
    } else {
        let found = fs::read_to_string(&path).unwrap_or_default();
        assert!(found == text, "{name} is stale: UPDATE_DOCS=1 cargo test -p mwan-config");
    }
}

#[test]
fn configuration_page_is_fresh() {
    check("configuration.md", &mwan_config::docs::configuration_md());
}

#[test]
fn diagnostics_page_is_fresh() {
    check("diagnostics.md", &mwan_config::docs::diagnostics_md());
}

/// The example of the page is read without a finding.
#[test]
fn example_of_the_page_is_right() {
    let page = mwan_config::docs::configuration_md();
    let example = page.split("```toml\n").nth(1).unwrap().split("```").next().unwrap();
    let loaded = mwan_config::parse("mwan.toml", example.as_bytes());
    assert_eq!(loaded.diagnostics, []);
    assert_eq!(loaded.config.interfaces.len(), 2);
    assert_eq!(loaded.config.rules.len(), 2);
}

/// The part of the page between the marks is generated, the rest is written.
#[test]
fn option_table_of_the_compatibility_page_is_fresh() {
    const BEGIN: &str = "<!-- options: generated from crates/config/src/compat.rs; UPDATE_DOCS=1 cargo test -p mwan-config -->\n";
    const END: &str = "<!-- options end -->\n";
    let page = fs::read_to_string(docs().join("compat.md")).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the page has the begin mark");
    let (_, after) = rest.split_once(END).expect("the page has the end mark");
    check("compat.md", &format!("{before}{BEGIN}\n{}\n{END}{after}", mwan_config::docs::compat_options_md()));
}

fn docs() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// Everything that a table of the page says something is "shown by" is there: a test function (no other), a scenario,
/// or a case of the readers or of the compiler.
#[test]
fn every_proof_of_the_compatibility_page_exists() {
    let root = docs().join("..");
    let mut tests = BTreeSet::new();
    collect(&root.join("crates"), &mut tests);
    assert!(tests.contains("every_proof_of_the_compatibility_page_exists") && !tests.contains("collect"));
    let page = fs::read_to_string(docs().join("compat.md")).unwrap();
    let (mut count, mut inside) = (0, false);
    for row in page.lines() {
        inside = row.ends_with("| shown by |") || inside && row.starts_with('|');
        if !inside || row.ends_with("| shown by |") || row.starts_with("|--") {
            continue;
        }
        let column = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for proof in column.split(", ").map(|p| p.trim_matches('`')) {
            let scenario = root.join(format!("lab/scenarios/{proof}.scenario")).exists();
            let case =
                |of: &str, file: &str| root.join(format!("crates/{of}/tests/cases/{proof}/{file}")).is_file();
            let case = case("config", "expected.txt") || case("compile", "expected.nft");
            assert!(scenario || case || tests.contains(proof), "{proof}: no test, scenario or case\n{row}");
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}

/// Names of the functions with the attribute of a test.
fn collect(folder: &Path, tests: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, tests);
        } else if path.extension().is_some_and(|e| e == "rs") {
            let source = fs::read_to_string(path).unwrap();
            let mut attribute = false;
            for line in source.lines().map(str::trim_start) {
                let declared = line.split_once("fn ").filter(|(before, _)| ["", "async "].contains(before));
                match declared {
                    Some((_, name)) if attribute => {
                        tests.insert(name.split(['(', '<']).next().unwrap().to_owned());
                    }
                    _ => {}
                }
                let between = line.starts_with("//") || line.starts_with("#[");
                attribute =
                    line.starts_with("#[test]") || line.starts_with("#[tokio::test") || attribute && between;
            }
        }
    }
}
