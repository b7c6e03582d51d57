//! Findings as SARIF 2.1.0 (OASIS, Static Analysis Results Interchange Format), for code hosts and editors.
//!
//! Written as text: the document has one shape, and trees of JSON values would be several times as much code.

use std::fmt::Write;

use mwan_config::{Diagnostic, codes};

/// One run with all findings, a rule or a result in each line.
pub(super) fn document(diagnostics: &[Diagnostic]) -> String {
    // Only rules that found something: the others would be most of the document.
    let used: Vec<_> = codes().filter(|doc| diagnostics.iter().any(|d| d.code == doc.code)).collect();
    let mut out = String::from(
        "{\"$schema\":\"https://json.schemastore.org/sarif-2.1.0.json\",\"version\":\"2.1.0\",\"runs\":[{\"tool\":{\"driver\":\
         {\"name\":\"mwan\",\"version\":\"",
    );
    out.push_str(env!("CARGO_PKG_VERSION"));
    out.push_str("\",\"rules\":[");
    for (index, doc) in used.iter().enumerate() {
        let help = if doc.fix.is_empty() { doc.explanation } else { doc.fix };
        // Writing into a String cannot fail.
        let _ = write!(
            out,
            "{}\n{{\"id\":\"{}\",\"shortDescription\":{{\"text\":{}}},\"fullDescription\":{{\"text\":{}}},\"help\":{{\"text\":{}}},\
             \"defaultConfiguration\":{{\"level\":\"{}\"}}}}",
            comma(index),
            doc.code,
            quoted(doc.title),
            quoted(doc.explanation),
            quoted(help),
            doc.severity().name(),
        );
    }
    out.push_str("]}},\"results\":[");
    for (index, d) in diagnostics.iter().enumerate() {
        // Regions begin at line 1; without one the whole file is meant.
        let region = match d.location.line {
            0 => String::new(),
            line => format!(",\"region\":{{\"startLine\":{line}}}"),
        };
        let rule = used.iter().position(|doc| doc.code == d.code).unwrap_or_default();
        let _ = write!(
            out,
            "{}\n{{\"ruleId\":\"{}\",\"ruleIndex\":{rule},\"level\":\"{}\",\"message\":{{\"text\":{}}},\"locations\":[{{\"physicalLocation\":\
             {{\"artifactLocation\":{{\"uri\":\"{}\"}}{region}}}}}]}}",
            comma(index),
            d.code,
            d.severity.name(),
            quoted(&message(d)),
            uri(&d.location.file),
        );
    }
    out + "]}]}\n"
}

fn comma(index: usize) -> &'static str {
    if index == 0 { "" } else { "," }
}

/// A JSON string.
fn quoted(text: &str) -> String {
    // A string can always be one.
    serde_json::to_string(text).unwrap_or_default()
}

/// What `mwan check` prints behind the code.
fn message(d: &Diagnostic) -> String {
    let line = d.to_string();
    let text = line.split_once(&format!("[{}]: ", d.code)).map(|(_, text)| text.to_owned());
    text.unwrap_or(line)
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
    #![allow(clippy::unwrap_used)]
    use serde_json::Value;

    use super::*;

    /// What the schema of SARIF 2.1.0 requires of the parts that are used here.
    #[test]
    fn has_what_the_schema_requires() {
        let text = b"config rule 'a'\n\toption proto 'tpc'\n\toption use_policy 'default'\nconfig rule 'b'\n";
        let loaded = mwan_config::parse("dir with blank/mwan3", text);
        assert!(loaded.diagnostics.len() >= 2, "{:?}", loaded.diagnostics);
        let document: Value = serde_json::from_str(&document(&loaded.diagnostics)).unwrap();
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
        let document: Value = serde_json::from_str(&document(&found)).unwrap();
        let place = &document["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "file:///etc/config/mwan3");
        assert!(place.get("region").is_none());
    }
}
