//! The options of one section, looked up by the names of the option table.
//!
//! Handles what is the same for every option: unknown and repeated names, lists and single values,
//! defaults after an error.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::codes;
use crate::model::Families;
use crate::options::{Dialect, OptionDoc, SectionKind, options, options_of};
use crate::report::{Place, Problem, Report, show};
use crate::suggest::nearest;
use crate::uci::Section;
use crate::values;

/// Unknown options of one section for which the nearest name is looked for: more than anyone reads.
const SUGGESTIONS_MAX: u32 = 100;

/// One value with its line.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) text: String,
    pub(crate) line: u32,
}

struct Value {
    /// The name the owner wrote (`use_strategy` for `use_policy`).
    written: String,
    items: Vec<Item>,
}

/// The options of one section.
pub(crate) struct Fields<'a> {
    pub(crate) report: &'a mut Report,
    pub(crate) dialect: Dialect,
    kind: SectionKind,
    label: String,
    line: u32,
    values: BTreeMap<&'static str, Value>,
    /// Set by [`Fields::refuse`]: the section cannot be kept.
    pub(crate) left_out: bool,
    /// A line of the section could not be read: nothing in it can be relied on.
    pub(crate) damaged: bool,
    suggestions_left: u32,
    #[cfg(test)]
    asked: std::collections::BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    /// `label` is the section in messages, as in `rule 'https'`.
    pub(crate) fn new(
        report: &'a mut Report,
        dialect: Dialect,
        kind: SectionKind,
        label: String,
        section: &Section,
    ) -> Self {
        let mut fields = Fields {
            report,
            dialect,
            kind,
            label,
            line: section.line,
            values: BTreeMap::new(),
            left_out: false,
            damaged: false,
            suggestions_left: SUGGESTIONS_MAX,
            #[cfg(test)]
            asked: Default::default(),
        };
        fields.collect(section);
        fields
    }

    fn collect(&mut self, section: &Section) {
        for entry in &section.entries {
            let dialect = self.dialect;
            let Some(doc) = options_of(self.kind).find(|o| o.names(dialect).any(|n| n == entry.name)) else {
                self.unknown(&entry.name, entry.line);
                continue;
            };
            let item = Item { text: entry.value.trim().to_owned(), line: entry.line };
            let value = self
                .values
                .entry(doc.key())
                .or_insert_with(|| Value { written: entry.name.clone(), items: Vec::new() });
            let again = !value.items.is_empty();
            if !entry.list {
                value.items.clear();
            }
            value.written.clone_from(&entry.name);
            if !item.text.is_empty() {
                value.items.push(item);
            }
            if again && !entry.list {
                self.add(doc.key(), entry.line, Problem::new(codes::TWICE, "given before; this one counts"));
            }
        }
        // An empty value is no value, as in UCI.
        self.values.retain(|_, v| !v.items.is_empty());
    }

    fn unknown(&mut self, name: &str, line: u32) {
        let dialect = self.dialect;
        let problem = if dialect == Dialect::Native && self.kind == SectionKind::Rule {
            self.left_out = true;
            Problem::new(codes::RULE_KEY, "unknown key; the rule is left out")
        } else {
            Problem::new(codes::OPTION, "unknown option; it is ignored")
        };
        let other = if dialect == Dialect::Uci { Dialect::Native } else { Dialect::Uci };
        let translated = options_of(self.kind)
            .find(|o| o.names(other).any(|n| n == name))
            .and_then(|o| o.names(dialect).next());
        let known = || options_of(self.kind).flat_map(|o| o.names(dialect));
        self.suggestions_left = self.suggestions_left.saturating_sub(1);
        let near = || if self.suggestions_left > 0 { nearest(name, known()) } else { None };
        let elsewhere = || options().iter().find(|o| o.names(dialect).any(|n| n == name));
        let problem = match (translated.or_else(near), elsewhere()) {
            (Some(word), _) => problem.hint(format!("did you mean '{word}'?")),
            (None, Some(doc)) => {
                problem.hint(format!("it belongs to a section of kind '{}'", kind_name(doc, dialect)))
            }
            (None, None) => problem,
        };
        self.report.add(Place { line, section: &self.label, option: Some(name) }, problem);
    }

    /// Reports something about the section as a whole.
    pub(crate) fn say(&mut self, problem: Problem) {
        self.report.add(Place { line: self.line, section: &self.label, option: None }, problem);
    }

    /// Reports something about the section as a whole, which cannot be kept therefore.
    pub(crate) fn refuse(&mut self, problem: Problem) {
        self.say(problem);
        self.left_out = true;
    }

    /// Reports something about options that contradict each other, where the first of them that is given stands.
    pub(crate) fn say_at(&mut self, keys: &[&'static str], problem: Problem) {
        match keys.iter().find_map(|key| Some((*key, self.items(key).last()?.line))) {
            Some((key, line)) => self.add(key, line, problem),
            None => self.say(problem),
        }
    }

    /// Reports something about an option.
    pub(crate) fn add(&mut self, key: &'static str, line: u32, problem: Problem) {
        let written = self.values.get(key).map_or(key, |v| v.written.as_str());
        self.report.add(Place { line, section: &self.label, option: Some(written) }, problem);
    }

    /// All values of an option.
    pub(crate) fn items(&mut self, key: &'static str) -> Vec<Item> {
        debug_assert!(options_of(self.kind).any(|o| o.key() == key), "{key} is not in the option table");
        #[cfg(test)]
        self.asked.insert(key);
        self.values.get(key).map_or_else(Vec::new, |v| v.items.clone())
    }

    /// All values of a list option, each split at commas and spaces.
    pub(crate) fn pieces(&mut self, key: &'static str) -> Vec<Item> {
        let items = self.items(key);
        items
            .iter()
            .flat_map(|i| values::pieces(&i.text).map(|p| Item { text: p.to_owned(), line: i.line }))
            .collect()
    }

    /// The one value of an option; of several the last.
    pub(crate) fn one(&mut self, key: &'static str) -> Option<Item> {
        let mut items = self.items(key);
        let last = items.pop()?;
        if !items.is_empty() {
            let message = format!("one value is expected; {} counts", show(&last.text));
            self.add(key, last.line, Problem::new(codes::SEVERAL, message));
        }
        Some(last)
    }

    /// The value as `parse` reads it; after an error it is reported and the default is used.
    pub(crate) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let item = self.one(key)?;
        match parse(&item.text) {
            Ok(value) => Some(value),
            Err(mut problem) => {
                problem.message.push_str("; the default is used");
                self.add(key, item.line, problem);
                None
            }
        }
    }

    /// The value as `parse` reads it; an error costs the section.
    pub(crate) fn must<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        let item = self.one(key)?;
        self.keep_or_refuse(key, item.line, parse(&item.text))
    }

    /// The list as `parse` reads it; an error costs the section.
    pub(crate) fn must_list<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&[Item]) -> Result<T, Problem>,
    ) -> Option<T> {
        let items = self.items(key);
        let line = items.first()?.line;
        self.keep_or_refuse(key, line, parse(&items))
    }

    fn keep_or_refuse<T>(&mut self, key: &'static str, line: u32, result: Result<T, Problem>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(mut problem) => {
                problem.message.push_str(&format!("; the {} is left out", self.kind.noun()));
                self.add(key, line, problem);
                self.left_out = true;
                None
            }
        }
    }

    pub(crate) fn bool(&mut self, key: &'static str, default: bool) -> bool {
        self.get(key, values::boolean).unwrap_or(default)
    }

    pub(crate) fn number(&mut self, key: &'static str, min: u32, max: u32, default: u32) -> u32 {
        self.get(key, |t| values::number(t, min, max)).unwrap_or(default)
    }

    pub(crate) fn time(&mut self, key: &'static str, default: Duration) -> Duration {
        self.get(key, values::time).unwrap_or(default)
    }

    /// `family`: words of a list; `None` if not given or nothing good is left.
    pub(crate) fn families(&mut self, key: &'static str, strict: bool) -> Option<Families> {
        let mut families = Families { v4: false, v6: false };
        for item in self.pieces(key) {
            match values::word(&item.text, FAMILY_WORDS) {
                Ok(f) => families = Families { v4: families.v4 || f.v4, v6: families.v6 || f.v6 },
                Err(problem) if strict => drop(self.keep_or_refuse::<()>(key, item.line, Err(problem))),
                Err(mut problem) => {
                    problem.message.push_str("; it is ignored");
                    self.add(key, item.line, problem);
                }
            }
        }
        (families.v4 || families.v6).then_some(families)
    }

    /// Names of the table the reader did not ask for although it should have.
    #[cfg(test)]
    pub(crate) fn never_asked(&self) -> Vec<&'static str> {
        options_of(self.kind).map(OptionDoc::key).filter(|k| !self.asked.contains(k)).collect()
    }
}

fn kind_name(doc: &OptionDoc, dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Native => doc.section.native().unwrap_or_default(),
        Dialect::Uci => doc.section.noun(),
    }
}

const FAMILY_WORDS: &[(&str, Families)] = &[
    ("ipv4", Families { v4: true, v6: false }),
    ("ipv6", Families { v4: false, v6: true }),
    ("any", Families::ALL),
    ("both", Families::ALL),
    ("all", Families::ALL),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interface::{read_globals, read_interface};
    use crate::model::Globals;
    use crate::names::Names;
    use crate::policy::{finish_policy, read_member, read_use_member};
    use crate::rule::read_rule;

    /// An option that is in the table but in no reader would be silently dropped.
    #[test]
    fn every_option_of_the_table_is_read() {
        for kind in SectionKind::ALL {
            let mut report = Report::new("f");
            let location = report.location(1);
            let section =
                Section { kind: kind.noun().into(), name: None, line: 1, entries: Vec::new(), damaged: None };
            let mut f = Fields::new(&mut report, Dialect::Uci, kind, String::new(), &section);
            match kind {
                SectionKind::Globals => drop(read_globals(&mut f)),
                SectionKind::Interface => drop(read_interface(&mut f, "x", 1, location)),
                SectionKind::Member => drop(read_member(&mut f, "x", &Names::default())),
                SectionKind::Policy => {
                    let members = read_use_member(&mut f, &BTreeMap::new(), &Names::default());
                    finish_policy(&mut f, "x", members, location);
                    for read_by_native in ["prefer", "balance"] {
                        f.asked.insert(read_by_native);
                    }
                }
                SectionKind::Rule => {
                    drop(read_rule(&mut f, "x", &Names::default(), &Globals::default(), location));
                }
                SectionKind::Ipset => drop(crate::sets::read_set(&mut f, "x", location)),
                SectionKind::Web => drop(crate::web::read_web(&mut f)),
                SectionKind::Alert => drop(crate::alert::read_alert(&mut f, "x", &[], location)),
                SectionKind::Cloud => crate::cloud::check_section(&mut f),
            }
            assert_eq!(f.never_asked(), Vec::<&str>::new(), "{kind:?}");
        }
    }
}
