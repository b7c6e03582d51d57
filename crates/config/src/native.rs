//! `mwan.toml`: two layers instead of mwan3's four. `[wan.NAME]` says what a WAN is, `[policy.NAME]` in
//! which order (`prefer`) or shares (`balance`) they are used, `[[rule]]` what uses which policy.
//!
//! The tables are turned into the same sections as UCI's and read by the same readers, by the names and
//! defaults of the native dialect. So a value means the same in both formats, and so does a mistake.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::alert::{self, read_alert};
use crate::assign::{Edit, nothing, unchanged};
use crate::codes;
use crate::fields::Fields;
use crate::interface::{read_globals, read_interface};
use crate::model::{Config, Member};
use crate::mwan3::{check_mask, interface_label, open};
use crate::names::Names;
use crate::options::{Dialect, SectionKind};
use crate::policy::{WEIGHT_MAX, finish_policy, weight, weight_large};
use crate::report::{Place, Problem, Report, show};
use crate::rule::read_rule;
use crate::sets::{self, read_set};
use crate::small::sort_short;
use crate::suggest::nearest;
use crate::uci::{Entry, NAME_BYTES_MAX, SECTIONS_MAX, Section};
use crate::web::read_web;

/// Largest file that is read: ten thousand rules. Less than in UCI, since the TOML parser remembers every
/// error of a file that is something else.
const TOML_BYTES_MAX: usize = 1 << 20;

type Value<'t, 'i> = &'t Spanned<DeValue<'i>>;

/// Reads a `mwan.toml`.
pub(crate) fn parse(file_name: &str, bytes: &[u8]) -> (Config, Report) {
    parse_edited(file_name, bytes, &mut unchanged)
}

/// The same, after `edit` has had every section.
pub(crate) fn parse_edited(file_name: &str, bytes: &[u8], edit: Edit<'_>) -> (Config, Report) {
    let mut report = Report::new(file_name);
    if bytes.len() > TOML_BYTES_MAX {
        let message = format!("{} bytes; the limit is {TOML_BYTES_MAX}", bytes.len());
        report.add(Place::default(), Problem::new(codes::FILE_LONG, message));
        return (Config::default(), report);
    }
    if let Err(error) = std::str::from_utf8(bytes) {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|b| **b == b'\n').count();
        let place = Place { line: u32::try_from(line).unwrap_or(u32::MAX), ..Place::default() };
        report.add(place, Problem::new(codes::BYTES, "the file is not UTF-8 text from here on"));
    }
    // Replacement characters keep the lines; no value with one passes its reader.
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let mut sections = Sections::default();
    let mut whole = None;
    match DeTable::parse(text) {
        Ok(table) => sections.collect(&Source::new(text, 1), &mut report, table.get_ref()),
        Err(error) => {
            sections.collect_chunks(text, &mut report);
            whole = Some(error);
        }
    }
    sections.check_numbers(&mut report);
    sections.edit(edit);
    // Nothing is wrong inside of any table, nor is one of a name there twice, which was told.
    if let Some(error) = whole.filter(|_| !report.has(codes::TOML)) {
        let line = Source::new(text, 1).line(error.span().unwrap_or(0..0).start);
        syntax_error(&mut report, line, &error);
    }
    (build(&mut report, &sections), report)
}

/// A text that is parsed as one, to find the lines of its parts.
struct Source {
    first_line: u32,
    /// Where each line begins.
    lines: Vec<usize>,
    /// Line of the first syntax error. What stands in such a text may mean something else than written.
    damaged: Option<u32>,
}

impl Source {
    fn new(text: &str, first_line: u32) -> Self {
        let mut at = 0;
        let lines = text.split_inclusive('\n').map(|line| {
            at += line.len();
            at - line.len()
        });
        Source { first_line, lines: lines.collect(), damaged: None }
    }

    fn line(&self, offset: usize) -> u32 {
        let index = self.lines.partition_point(|start| *start <= offset).saturating_sub(1);
        self.first_line.saturating_add(u32::try_from(index).unwrap_or(u32::MAX))
    }
}

/// The text in pieces that each begin with the header of a table we know. A syntax error can then spoil
/// only its own table: an array without its end would swallow all that follow.
fn chunks(text: &str) -> Vec<(u32, &str)> {
    let (mut found, mut at, mut begin, mut begin_line) = (Vec::new(), 0, 0, 1);
    for (line, content) in (1u32..).zip(text.split_inclusive('\n')) {
        if is_header(content) && at > begin {
            found.push((begin_line, &text[begin..at]));
            (begin, begin_line) = (at, line);
        }
        at += content.len();
    }
    found.push((begin_line, &text[begin..]));
    found
}

fn is_header(line: &str) -> bool {
    let Some(inside) = line.trim_start().strip_prefix('[') else { return false };
    let inside = inside.trim_start_matches('[').trim_start();
    SectionKind::ALL
        .into_iter()
        .filter_map(SectionKind::native)
        .any(|group| inside.strip_prefix(group).is_some_and(|rest| rest.trim_start().starts_with(['.', ']'])))
}

/// One element of `prefer` or `balance`: an interface and its weight.
struct Share {
    interface: String,
    weight: Result<u32, Problem>,
    line: u32,
}

/// A policy before its interfaces are known.
struct PolicyText {
    section: Section,
    /// `prefer` or `balance`, its line, and its tiers in the order of preference.
    lists: Vec<(&'static str, u32, Vec<Vec<Share>>)>,
}

/// The tables as sections, each kind in the order of the file.
#[derive(Default)]
struct Sections {
    globals: Option<Section>,
    web: Option<Section>,
    wans: Vec<Section>,
    policies: Vec<PolicyText>,
    rules: Vec<Section>,
    sets: Vec<Section>,
    alerts: Vec<Section>,
}

impl Sections {
    /// Reads a text that is not TOML as a whole, table by table.
    fn collect_chunks(&mut self, text: &str, report: &mut Report) {
        for (first_line, chunk) in chunks(text) {
            let mut source = Source::new(chunk, first_line);
            let (table, errors) = DeTable::parse_recoverable(chunk);
            for error in &errors {
                let line = source.line(error.span().unwrap_or(0..0).start);
                // One per line, and none after an array or table that lost its end: those are echoes.
                if source.damaged != Some(line) {
                    syntax_error(report, line, error);
                }
                source.damaged = Some(line);
                if ["array", "inline table"].iter().any(|word| error.message().contains(word)) {
                    break;
                }
            }
            self.collect(&source, report, table.get_ref());
        }
    }

    fn collect(&mut self, source: &Source, report: &mut Report, table: &DeTable<'_>) {
        let sections = self;
        for (key, key_span, value) in in_order(table) {
            let line = source.line(key_span.start);
            match (key, value.get_ref()) {
                ("global", DeValue::Table(_)) if sections.globals.is_some() => {
                    let problem = Problem::new(codes::TOML, "given before; this one is left out");
                    report.add(Place { line, section: key, option: None }, problem);
                }
                ("global", DeValue::Table(t)) => {
                    sections.globals = Some(section(source, report, "global", None, (key_span, t), &[]));
                }
                ("web", DeValue::Table(_)) if sections.web.is_some() => {
                    let problem = Problem::new(codes::TOML, "given before; this one is left out");
                    report.add(Place { line, section: key, option: None }, problem);
                }
                ("web", DeValue::Table(t)) => {
                    sections.web = Some(section(source, report, "web", None, (key_span, t), &[]));
                }
                ("wan", DeValue::Table(t)) => {
                    for (name, span, t) in named_tables(source, report, "wan", t) {
                        sections.wans.push(section(source, report, "wan", Some(name), (span, t), &[]));
                    }
                }
                ("set", DeValue::Table(t)) => {
                    for (name, span, t) in named_tables(source, report, "set", t) {
                        sections.sets.push(section(source, report, "set", Some(name), (span, t), &[]));
                    }
                }
                ("alert", DeValue::Table(t)) => {
                    for (name, span, t) in named_tables(source, report, "alert", t) {
                        sections.alerts.push(section(source, report, "alert", Some(name), (span, t), &[]));
                    }
                }
                ("policy", DeValue::Table(t)) => {
                    for (name, span, t) in named_tables(source, report, "policy", t) {
                        sections.policies.push(policy(source, report, name, span, t));
                    }
                }
                ("rule", DeValue::Array(rules)) => {
                    for value in rules.iter() {
                        sections.rules.extend(rule(source, report, value));
                    }
                }
                ("global" | "wan" | "policy" | "rule" | "set" | "alert" | "web", _) => {
                    let how = if key == "rule" { "[[rule]]" } else { "a table" };
                    let place = Place { line, section: key, option: None };
                    report.add(
                        place,
                        Problem::new(codes::TOML_TYPE, format!("expected {how}; it is not read")),
                    );
                }
                _ => {
                    let place = Place { line, section: &escape(key), option: None };
                    let problem = Problem::new(codes::SECTION_TYPE, "unknown table or key; it is ignored");
                    let known = SectionKind::ALL.into_iter().filter_map(SectionKind::native);
                    report.add(
                        place,
                        match nearest(key, known) {
                            Some(word) => problem.hint(format!("did you mean '{word}'?")),
                            None => problem,
                        },
                    );
                }
            }
        }
    }

    fn edit(&mut self, edit: Edit<'_>) {
        use SectionKind::{Alert, Globals, Interface, Ipset, Policy, Rule, Web};
        let mut globals = self.globals.take().unwrap_or_else(|| nothing("global"));
        edit(Globals, "global", &mut globals);
        self.globals = Some(globals).filter(|globals| *globals != nothing("global"));
        let policies = self.policies.iter_mut().map(|policy| &mut policy.section);
        let all = (self.web.iter_mut().map(|s| (Web, s)))
            .chain(self.wans.iter_mut().map(|s| (Interface, s)))
            .chain(policies.map(|s| (Policy, s)))
            .chain(self.rules.iter_mut().map(|s| (Rule, s)))
            .chain(self.sets.iter_mut().map(|s| (Ipset, s)))
            .chain(self.alerts.iter_mut().map(|s| (Alert, s)));
        for (kind, section) in all {
            let name = section.name.clone().unwrap_or_else(|| section.kind.clone());
            edit(kind, &name, section);
        }
    }

    /// Leaves out tables given twice (only seen where the text is not TOML) and those beyond the limit.
    fn check_numbers(&mut self, report: &mut Report) {
        unique(report, &mut self.wans, |s| s);
        unique(report, &mut self.sets, |s| s);
        unique(report, &mut self.alerts, |s| s);
        unique(report, &mut self.policies, |p| &p.section);
        let surplus = self.rules.get(SECTIONS_MAX).map(|s| s.line);
        self.rules.truncate(SECTIONS_MAX);
        let surplus = surplus.or(self.wans.get(SECTIONS_MAX).map(|s| s.line));
        self.wans.truncate(SECTIONS_MAX);
        if let Some(line) = surplus {
            let message = format!("more than {SECTIONS_MAX} sections");
            report.add(Place { line, ..Place::default() }, Problem::new(codes::SECTIONS, message));
        }
    }
}

fn syntax_error(report: &mut Report, line: u32, error: &toml::de::Error) {
    let message = error.message().lines().next().unwrap_or_default().to_owned();
    report.add(Place { line, ..Place::default() }, Problem::new(codes::TOML, message));
}

fn unique<T>(report: &mut Report, list: &mut Vec<T>, section: impl Fn(&T) -> &Section) {
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    list.retain(|item| {
        let section = section(item);
        let label = format!("{}.{}", section.kind, section.name.as_deref().unwrap_or_default());
        let Some(line) = lines.get(&label) else {
            lines.insert(label, section.line);
            return true;
        };
        let message = format!("given before, in line {line}; this one is left out");
        let place = Place { line: section.line, section: &label, option: None };
        report.add(place, Problem::new(codes::TOML, message).hint("rename one of them"));
        false
    });
}

/// The entries of a table in the order of the file (the parser sorts them by name).
pub(crate) fn in_order<'t, 'i>(table: &'t DeTable<'i>) -> Vec<(&'t str, Range<usize>, Value<'t, 'i>)> {
    let mut entries: Vec<_> = table.iter().map(|(k, v)| (k.get_ref().as_ref(), k.span(), v)).collect();
    sort_short(&mut entries, |(_, span, _)| span.start);
    entries
}

/// The tables `[group.NAME]` with a valid name.
fn named_tables<'t, 'i>(
    source: &Source,
    report: &mut Report,
    group: &str,
    table: &'t DeTable<'i>,
) -> Vec<(&'t str, Range<usize>, &'t DeTable<'i>)> {
    let mut found = Vec::new();
    for (name, span, value) in in_order(table) {
        let label = format!("{group}.{}", escape(name));
        let place = Place { line: source.line(span.start), section: &label, option: None };
        let name_ok = (1..=NAME_BYTES_MAX).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
        match value.get_ref() {
            _ if !name_ok => {
                let message = format!("{} is not a name; the section is left out", show(name));
                report.add(place, Problem::new(codes::NAME, message).hint("use A-Z, a-z, 0-9, _, - and ."));
            }
            DeValue::Table(t) => found.push((name, span, t)),
            _ => {
                let problem = Problem::new(codes::TOML_TYPE, "expected a table; it is not read");
                report.add(place, problem.hint(format!("write [{group}.NAME] and the options below it")));
            }
        }
    }
    found
}

/// A table as a section; the keys in `special` are left to the caller.
fn section(
    source: &Source,
    report: &mut Report,
    kind: &str,
    name: Option<&str>,
    (span, table): (Range<usize>, &DeTable<'_>),
    special: &[&str],
) -> Section {
    let label = name.map_or(kind.to_owned(), |n| format!("{kind}.{n}"));
    let mut section = Section {
        kind: kind.to_owned(),
        name: name.map(str::to_owned),
        line: source.line(span.start),
        entries: Vec::new(),
        damaged: source.damaged,
    };
    for (key, key_span, value) in in_order(table) {
        if special.contains(&key) {
            continue;
        }
        let line = source.line(key_span.start);
        let (list, values) = match value.get_ref() {
            DeValue::Array(items) => (true, items.iter().collect()),
            _ => (false, vec![value]),
        };
        for value in values {
            let line = source.line(value.span().start).max(line);
            match scalar(value.get_ref()) {
                Some(text) => section.entries.push(Entry { name: key.to_owned(), value: text, list, line }),
                None => {
                    let what = format!("{} is not a value; it is not read", value.get_ref().type_str());
                    let option = Some(key);
                    report.add(Place { line, section: &label, option }, Problem::new(codes::TOML_TYPE, what));
                    section.damaged.get_or_insert(line);
                }
            }
        }
    }
    section
}

/// A value as the text UCI would have; `None` for tables, arrays and dates.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(s) => Some(s.to_string()),
        DeValue::Integer(i) => i64::from_str_radix(i.as_str(), i.radix()).ok().map(|n| n.to_string()),
        DeValue::Float(f) => Some(f.as_str().to_owned()),
        DeValue::Boolean(b) => Some(b.to_string()),
        _ => None,
    }
}

fn rule(source: &Source, report: &mut Report, value: Value<'_, '_>) -> Option<Section> {
    let line = source.line(value.span().start);
    let DeValue::Table(table) = value.get_ref() else {
        let place = Place { line, section: "rule", option: None };
        report.add(place, Problem::new(codes::TOML_TYPE, "expected [[rule]]; it is not read"));
        return None;
    };
    let mut section = section(source, report, "rule", None, (value.span(), table), &[]);
    section.name = section.entries.iter().find(|e| e.name == "name").map(|e| e.value.clone());
    Some(section)
}

fn policy(
    source: &Source,
    report: &mut Report,
    name: &str,
    span: Range<usize>,
    table: &DeTable<'_>,
) -> PolicyText {
    let mut text = PolicyText {
        section: section(source, report, "policy", Some(name), (span, table), &["prefer", "balance"]),
        lists: Vec::new(),
    };
    for (key, span, value) in in_order(table) {
        let (list, tiers) = match (key, value.get_ref()) {
            ("prefer", DeValue::Array(elements)) => {
                ("prefer", elements.iter().map(|e| shares(source, e)).collect())
            }
            ("prefer", _) => ("prefer", None),
            ("balance", DeValue::String(_)) => ("balance", None),
            ("balance", _) => ("balance", shares(source, value).map(|tier| vec![tier])),
            _ => continue,
        };
        let line = source.line(span.start);
        match tiers {
            Some(tiers) => text.lists.push((list, line, tiers)),
            None => {
                let label = format!("policy.{name}");
                let hint = match list {
                    "prefer" => r#"write prefer = ["fiber", "lte"]"#,
                    _ => "write balance = { fiber = 3, dsl = 2 }",
                };
                let problem = Problem::new(codes::TOML_TYPE, "not a list of interfaces").hint(hint);
                report.add(Place { line, section: &label, option: Some(list) }, problem);
                text.section.damaged.get_or_insert(line);
            }
        }
    }
    text
}

/// Interfaces of one tier: a name, an array of names, or a table of weights.
fn shares(source: &Source, value: Value<'_, '_>) -> Option<Vec<Share>> {
    let line = source.line(value.span().start);
    let share = |name: &str, line| Share { interface: name.to_owned(), weight: Ok(1), line };
    match value.get_ref() {
        DeValue::String(name) => Some(vec![share(name, line)]),
        DeValue::Array(names) => {
            names.iter().map(|n| Some(share(n.get_ref().as_str()?, source.line(n.span().start)))).collect()
        }
        DeValue::Table(weights) => in_order(weights)
            .into_iter()
            .map(|(name, span, value)| {
                let text = scalar(value.get_ref())?;
                let line = source.line(span.start);
                Some(Share { interface: name.to_owned(), weight: weight(&text), line })
            })
            .collect(),
        _ => None,
    }
}

fn build(report: &mut Report, sections: &Sections) -> Config {
    let mut config = Config::default();
    if let Some(section) = &sections.globals {
        let mut fields = open(report, Dialect::Native, SectionKind::Globals, "global".into(), section);
        config.globals = read_globals(&mut fields);
    }
    if let Some(section) = &sections.web {
        config.web =
            Some(read_web(&mut open(report, Dialect::Native, SectionKind::Web, "web".into(), section)));
    }
    let mut interfaces = Names::default();
    for section in &sections.wans {
        let name = section.name.as_deref().unwrap_or_default();
        let location = report.location(section.line);
        let label = interface_label(Dialect::Native, name);
        let position = u16::try_from(config.interfaces.len() + 1).unwrap_or(u16::MAX);
        let mut fields = open(report, Dialect::Native, SectionKind::Interface, label, section);
        config.interfaces.push(read_interface(&mut fields, name, position, location));
        interfaces.keep(name, section.line);
    }
    check_mask(report, &config.globals, &mut config.interfaces, Dialect::Native, &mut interfaces);
    let mut sets = Names::default();
    for section in &sections.sets {
        let name = section.name.as_deref().unwrap_or_default();
        let (location, label) = (report.location(section.line), format!("set.{name}"));
        let mut fields = open(report, Dialect::Native, SectionKind::Ipset, label.clone(), section);
        let set = read_set(&mut fields, name, location);
        set.into_iter().for_each(|set| sets::keep(report, &mut config, &mut sets, &label, set));
    }
    let mut policies = Names::default();
    for text in &sections.policies {
        let name = text.section.name.as_deref().unwrap_or_default();
        let location = report.location(text.section.line);
        let label = format!("policy.{name}");
        let mut fields = open(report, Dialect::Native, SectionKind::Policy, label, &text.section);
        let members = read_members(&mut fields, text, &interfaces);
        match finish_policy(&mut fields, name, members, location) {
            Some(policy) => {
                policies.keep(name, text.section.line);
                config.policies.push(policy);
            }
            None => policies.leave_out(name, text.section.line),
        }
    }
    read_rules(report, &sections.rules, &policies, &mut config);
    read_alerts(report, &sections.alerts, &mut config);
    config
}

fn read_alerts(report: &mut Report, sections: &[Section], config: &mut Config) {
    let mut alerts = Vec::new();
    for section in sections {
        let name = section.name.as_deref().unwrap_or_default();
        let (location, label) = (report.location(section.line), format!("alert.{name}"));
        let mut fields = open(report, Dialect::Native, SectionKind::Alert, label, section);
        alerts.extend(read_alert(&mut fields, name, &config.globals.notification_emails, location));
    }
    config.alerts = Arc::new(alert::limit(report, alerts, |name| format!("alert.{name}")));
}

fn read_rules(report: &mut Report, sections: &[Section], policies: &Names, config: &mut Config) {
    let mut lines: BTreeMap<String, u32> = BTreeMap::new();
    for (index, section) in sections.iter().enumerate() {
        let location = report.location(section.line);
        let name = match &section.name {
            Some(name) if !name.is_empty() => name.clone(),
            _ => format!("@rule[{index}]"),
        };
        let mut fields =
            open(report, Dialect::Native, SectionKind::Rule, format!("rule {}", show(&name)), section);
        if name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
            let problem =
                Problem::new(codes::NAME, format!("{} is not a name; the rule is left out", show(&name)));
            fields.refuse(problem);
        }
        if let Some(line) = lines.get(&name) {
            let message = format!("given before, in line {line}; the second is called @rule[{index}]");
            fields.say(Problem::new(codes::DUPLICATE, message).hint("rename one of them"));
        }
        let unique = if lines.contains_key(&name) { format!("@rule[{index}]") } else { name };
        if let Some(rule) = read_rule(&mut fields, &unique, policies, &config.globals, location) {
            lines.insert(unique, section.line);
            config.rules.push(rule);
        }
    }
}

/// The members `prefer` or `balance` asks for, called as mwan3 users call theirs: `fiber_m1_w3`.
fn read_members(fields: &mut Fields<'_>, text: &PolicyText, interfaces: &Names) -> Vec<Member> {
    if text.lists.len() > 1 {
        let message = "both prefer and balance are given; the policy is left out";
        let problem = Problem::new(codes::PREFER_OR_BALANCE, message);
        fields.refuse(problem.hint("an element of prefer may be a table of weights"));
    } else if text.lists.is_empty() && !fields.left_out {
        let message = "neither prefer nor balance is given; the policy is left out";
        fields.refuse(Problem::new(codes::PREFER_OR_BALANCE, message));
    }
    let (mut members, mut seen) = (Vec::new(), BTreeSet::new());
    for (key, _, tiers) in &text.lists {
        for (tier, share) in tiers.iter().enumerate().flat_map(|(t, s)| s.iter().map(move |s| (t, s))) {
            // At most TOML_BYTES_MAX / 3 elements: fits.
            let metric = u32::try_from(tier + 1).unwrap_or(u32::MAX);
            members.extend(read_share(fields, key, share, metric, &mut seen, interfaces));
        }
    }
    members
}

fn read_share<'s>(
    fields: &mut Fields<'_>,
    key: &'static str,
    share: &'s Share,
    metric: u32,
    seen: &mut BTreeSet<&'s str>,
    interfaces: &Names,
) -> Option<Member> {
    let name = &share.interface;
    let problem = if !interfaces.contains(name) {
        let none = std::iter::empty();
        interfaces.unknown(codes::UNKNOWN_INTERFACE, "wan", name, "it is not used", none)
    } else if !seen.insert(name) {
        Problem::new(codes::MEMBER_TWICE, format!("wan {} is given twice; it is used once", show(name)))
    } else {
        match &share.weight {
            Ok(weight) => {
                if *weight > WEIGHT_MAX {
                    fields.add(key, share.line, weight_large(*weight));
                }
                let weight = (*weight).min(WEIGHT_MAX);
                let member = format!("{name}_m{metric}_w{weight}");
                return Some(Member { name: member, interface: name.clone(), metric, weight });
            }
            Err(problem) => Problem {
                message: format!("wan {}: {}; it is not used", show(name), problem.message),
                ..problem.clone()
            },
        }
    };
    fields.add(key, share.line, problem);
    None
}

fn escape(text: &str) -> String {
    show(text).trim_matches('\'').to_owned()
}
