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
