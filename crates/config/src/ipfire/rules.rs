//! `mwan/rules/NAME`: mwan3's options in capitals, in the order of `ls -v`, and one rule for all the rest behind them.

use super::hash::Hash;
use super::{Files, order};
use crate::diagnostic::Diagnostic;
use crate::fields::Fields;
use crate::model::{Config, Families, Location, Rule, Target};
use crate::names::Names;
use crate::options::{Dialect, SectionKind};
use crate::rule::read_rule;
use crate::uci::{Entry, Section};

/// Name of the rule for the rest, and of the policy it goes by.
pub(super) const REST: &str = "red";

pub(super) fn read(files: &Files, policies: &Names, config: &mut Config, found: &mut Vec<Diagnostic>) {
    let globals = config.globals.clone();
    let mut names = files.of_folder("mwan/rules");
    names.sort_by(|a, b| order::versions(a, b));
    for name in names {
        let (mut hash, values) = Hash::raw(files, &format!("mwan/rules/{name}"));
        let entries = values.into_iter().map(|(key, value)| Entry {
            name: key.to_ascii_lowercase(),
            value: value.text,
            list: false,
            line: value.line,
        });
        let section = Section {
            kind: "rule".into(),
            name: Some(name.into()),
            line: 1,
            entries: entries.collect(),
            damaged: None,
        };
        let location = hash.location();
        let label = format!("mwan/rules/{name}");
        let mut fields = Fields::new(hash.report(), Dialect::Uci, SectionKind::Rule, label, &section);
        config.rules.extend(read_rule(&mut fields, name, policies, &globals, location));
        found.extend(hash.finish());
    }
    if policies.contains(REST) && !config.rules.iter().any(|r| r.name == REST) {
        config.rules.extend(config.policies.first().map(|policy| rest(policy.location.clone())));
    }
}

/// Everything, by the policy of that name.
pub(super) fn rest(location: Location) -> Rule {
    Rule {
        name: REST.to_owned(),
        families: Families::ALL,
        protocols: Vec::new(),
        source: None,
        destination: None,
        source_ports: Vec::new(),
        destination_ports: Vec::new(),
        source_interface: None,
        destination_set: None,
        source_set: None,
        sticky: None,
        logging: false,
        target: Target::Policy(REST.to_owned()),
        location,
    }
}
