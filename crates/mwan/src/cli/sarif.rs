//! Findings as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), for code hosts and editors.

use std::collections::BTreeMap;

use mwan_config::{Diagnostic, Severity, codes};
use serde_json::{Value, json};

/// One run with all findings.
pub(super) fn document(diagnostics: &[Diagnostic]) -> Value {
    // Only rules that found something: the others would be most of the document.
    let mut index: BTreeMap<&str, usize> = BTreeMap::new();
    let mut rules = Vec::new();
    for doc in codes() {
        if diagnostics.iter().any(|d| d.code == doc.code) {
            index.insert(doc.code, rules.len());
            let help = if doc.fix.is_empty() { doc.explanation } else { doc.fix };
            rules.push(json!({
                "id": doc.code,
                "shortDescription": { "text": doc.title },
                "fullDescription": { "text": doc.explanation },
                "help": { "text": help },
                "defaultConfiguration": { "level": doc.severity().name() },
            }));
        }
    }
    let results: Vec<Value> = diagnostics.iter().map(|d| result(d, index.get(d.code).copied())).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "mwan", "version": env!("CARGO_PKG_VERSION"), "rules": rules } },
            "results": results,
        }],
    })
}

fn result(d: &Diagnostic, rule: Option<usize>) -> Value {
    let mut text = d.section.clone();
    if let Some(option) = &d.option {
        text.push_str(&format!(", option '{option}'"));
    }
    if !text.is_empty() {
        text.push_str(": ");
    }
    text.push_str(&d.message);
    if let Some(hint) = &d.hint {
        text.push_str(&format!("; hint: {hint}"));
    }
    let mut place = json!({ "artifactLocation": { "uri": uri(&d.location.file) } });
    // Regions begin at line 1; without one the whole file is meant.
    if d.location.line > 0 {
        place["region"] = json!({ "startLine": d.location.line });
    }
    let level = match d.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut result = json!({
        "ruleId": d.code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": place }],
    });
    if let Some(rule) = rule {
        result["ruleIndex"] = json!(rule);
    }
    result
}

/// A path as a URI reference (RFC 3986): relative as it was given, so that it is one of the repository.
fn uri(path: &str) -> String {
    let scheme = if path.starts_with('/') { "file://" } else { "" };
    let mut uri = scheme.to_owned();
    for byte in path.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the schema of SARIF 2.1.0 requires of the parts that are used here.
    #[test]
    fn has_what_the_schema_requires() {
        let text = b"config rule 'a'\n\toption proto 'tpc'\n\toption use_policy 'default'\nconfig rule 'b'\n";
        let loaded = mwan_config::parse("dir with blank/mwan3", text);
        assert!(loaded.diagnostics.len() >= 2, "{:?}", loaded.diagnostics);
        let document = document(&loaded.diagnostics);
        assert_eq!(document["version"], "2.1.0");
        let run = &document["runs"][0];
        assert_eq!(run["tool"]["driver"]["name"], "mwan");
        let rules = run["tool"]["driver"]["rules"].as_array().cloned().unwrap_or_default();
        let results = run["results"].as_array().cloned().unwrap_or_default();
        assert_eq!(results.len(), loaded.diagnostics.len());
        for (result, d) in results.iter().zip(&loaded.diagnostics) {
            assert!(
                ["none", "note", "warning", "error"].contains(&result["level"].as_str().unwrap_or_default())
            );
            assert!(result["message"]["text"].as_str().is_some_and(|text| text.contains(&d.message)));
            let place = &result["locations"][0]["physicalLocation"];
            assert_eq!(place["artifactLocation"]["uri"], "dir%20with%20blank/mwan3");
            assert_eq!(place["region"]["startLine"], d.location.line);
            let index = result["ruleIndex"].as_u64().and_then(|i| usize::try_from(i).ok());
            assert_eq!(index.map(|i| &rules[i]["id"]), Some(&result["ruleId"]), "an index of the rules");
        }
        for rule in &rules {
            for part in ["shortDescription", "fullDescription", "help"] {
                assert!(rule[part]["text"].as_str().is_some_and(|text| !text.is_empty()), "{rule}");
            }
        }
    }

    #[test]
    fn what_has_no_line_has_no_region() {
        let mut found = mwan_config::parse("/etc/config/mwan3", b"config nonsense 'x'\n").diagnostics;
        found.iter_mut().for_each(|d| d.location.line = 0);
        let document = document(&found);
        let place = &document["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "file:///etc/config/mwan3");
        assert!(place.get("region").is_none());
    }
}
