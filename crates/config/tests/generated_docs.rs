//! `docs/configuration.md` and `docs/diagnostics.md` are what the tables say; `UPDATE_DOCS=1` writes them.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

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

/// Everything that a table of the page says something is "shown by" is there: a test function, a scenario,
/// or a case of this crate.
#[test]
fn every_proof_of_the_compatibility_page_exists() {
    let root = docs().join("..");
    let mut sources = String::new();
    collect(&root.join("crates"), &mut sources);
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
            let case = root.join(format!("crates/config/tests/cases/{proof}")).exists();
            let test = sources.contains(&format!("fn {proof}("));
            assert!(scenario || case || test, "{proof}: no test, scenario or case\n{row}");
            count += 1;
        }
    }
    assert!(count > 80, "{count}");
}

fn collect(folder: &Path, out: &mut String) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push_str(&fs::read_to_string(path).unwrap());
        }
    }
}
