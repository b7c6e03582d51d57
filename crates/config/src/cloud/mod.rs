//! The cloud's multi-WAN document (`multiWanV2`) and the UCI file it means.
//!
//! [`read`] understands the document, [`apply`] writes it into a UCI text, [`export`] gives it back from there. Pure: text
//! in, text and [`Diagnostic`]s out.
//!
//! A document owns some sections of the file (the table in docs/cloud.md) and touches nothing else, to the byte. What the
//! sections cannot say (unknown fields, metrics of interfaces that are off, the order) is in a section of its own,
//! `config cloud 'multiWanV2'`: it goes with the file, and `uci commit` keeps it.

mod edit;
mod export;
pub(crate) mod json;
mod merge;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::time::Duration;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::model::Mode;
use crate::report::Problem;
use json::Node;

pub use export::export;
pub use merge::apply;
pub use read::read;

/// Largest document that is read, bytes.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Where the document is in `last_config_response.json`; also the name of the section that keeps it.
const KEY: &str = "multiWanV2";

/// A document that was read.
#[derive(Clone, PartialEq, Debug)]
pub struct Document {
    enable: bool,
    /// `None`: it says none that is known.
    mode: Option<Mode>,
    emails: Vec<String>,
    wans: Vec<Wan>,
    /// As it came.
    kept: Node,
}

/// One interface of a document.
#[derive(Clone, PartialEq, Debug)]
struct Wan {
    name: String,
    /// The name of its field in the document.
    key: String,
    enable: bool,
    targets: Vec<String>,
    interval: Duration,
    timeout: Duration,
    failure_interval: Duration,
    recovery_interval: Duration,
    metric: u32,
    weight: u32,
    /// Metric and weight can be relied on.
    ranked: bool,
}

impl Document {
    /// Whether anything can follow from it: one that switches multi-WAN on and has no interface is cut short (E0906).
    pub fn is_usable(&self) -> bool {
        !self.enable || !self.wans.is_empty()
    }

    /// Whether a configuration has this very document in force already.
    pub fn is_in(&self, text: &str) -> bool {
        kept(&crate::uci::parse("", text.as_bytes()).0)
            .is_some_and(|kept| kept.compact() == self.kept.compact())
    }
}

/// What is known of the machine.
#[derive(Clone, Debug, Default)]
pub struct Site {
    /// The interfaces of its network configuration, where there is one.
    pub interfaces: Option<BTreeSet<String>>,
}

/// A document in its place in a UCI text.
#[derive(Clone, PartialEq, Debug)]
pub struct Applied {
    /// The new text.
    pub text: String,
    /// What is worth a word beside what is wrong with the document or with the text.
    pub diagnostics: Vec<Diagnostic>,
}

/// The options of `config cloud` are read here only to be judged: everything else works on the text.
pub(crate) fn check_section(fields: &mut Fields<'_>) {
    for key in ["document", "wan"] {
        for item in fields.items(key) {
            let problem = match json::parse(item.text.as_bytes()) {
                Ok(node) if node.members().is_some() => continue,
                Ok(node) => format!("an object is expected, not {}", node.kind()),
                Err(error) => error.message,
            };
            let problem = Problem::new(codes::CLOUD_KEPT, format!("{problem}; it is ignored"));
            fields.add(key, item.line, problem.hint("apply the document again"));
        }
    }
}

/// The document that a configuration keeps, without what cannot be read.
fn kept(sections: &[crate::uci::Section]) -> Option<Node> {
    let entries = || sections.iter().filter(|s| s.kind == "cloud").flat_map(|s| &s.entries);
    let object = |text: &str| json::parse(text.as_bytes()).ok().filter(|node| node.members().is_some());
    let mut document = entries().filter(|e| e.name == "document").find_map(|e| object(&e.value))?;
    let wans = entries().filter(|e| e.name == "wan").filter_map(|e| object(&e.value));
    let members: Vec<_> = wans.flat_map(|wan| wan.members().unwrap_or_default().to_vec()).collect();
    if !members.is_empty() || document.get(read::WANS).is_some_and(|wans| wans.members().is_some()) {
        document.set(read::WANS, Node::new(json::Value::Object(members)));
    }
    Some(document)
}
