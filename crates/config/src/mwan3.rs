//! UCI sections in mwan3's or mwan4's vocabulary → [`Config`].
//!
//! What a mistake costs:
//!
//! | in | costs |
//! |---|---|
//! | globals, interface | the option: its default is used. A WAN that works must not vanish by a typing error. |
//! | member | the member; its policies keep the others. |
//! | policy | only without any usable member the policy; a bad `last_resort` is the default one. |
//! | rule | the rule, if a part of its match or its policy is concerned: it would match something else. |
//! | alert | the alert, if whom to tell or how is concerned; else the option. |
//! | anything unknown | itself. |

use crate::small::Gather;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::alert::{self, read_alert};
use crate::assign::{Edit, nothing, unchanged};
use crate::codes;
use crate::fields::Fields;
use crate::interface::{read_globals, read_interface};
use crate::model::{Config, Globals, INTERFACES_MAX, Interface, Member, interfaces_max};
use crate::names::Names;
use crate::options::{Dialect, SectionKind};
use crate::policy::{finish_policy, read_member, read_use_member};
use crate::report::{Place, Problem, Report, show};
use crate::rule::read_rule;
use crate::sets::{self, read_set};
use crate::suggest::nearest;
use crate::uci::{self, Section};
use crate::web::read_web;

/// Reads a UCI file.
pub(crate) fn parse(file_name: &str, bytes: &[u8]) -> (Config, Report) {
    parse_edited(file_name, bytes, &mut unchanged)
}

/// The same, after `edit` has had every section.
pub(crate) fn parse_edited(file_name: &str, bytes: &[u8], edit: Edit<'_>) -> (Config, Report) {
    let (sections, diagnostics) = uci::parse(file_name, bytes);
    let mut report = Report::new(file_name);
    report.extend(diagnostics);
    let mut sections = known_sections(&mut report, sections);
    if !sections.iter().any(|known| known.kind == SectionKind::Globals) {
        let mut section = nothing("globals");
        edit(SectionKind::Globals, "globals", &mut section);
        if section != nothing("globals") {
            let name = "globals".to_owned();
            sections.push(Known { kind: SectionKind::Globals, name, anonymous: false, section });
        }
    }
    sections.iter_mut().for_each(|known| edit(known.kind, &known.name, &mut known.section));
    (build(&mut report, &sections), report)
}

/// A section of a known kind with a name: its own, or UCI's notation of an anonymous one.
struct Known {
    kind: SectionKind,
    name: String,
    anonymous: bool,
    section: Section,
}

impl Known {
    fn label(&self) -> String {
        format!("{} {}", self.section.kind, show(&self.name))
    }
}

/// Sorts out unknown kinds and merges sections given twice.
fn known_sections(report: &mut Report, sections: Vec<Section>) -> Vec<Known> {
    let mut known: Vec<Known> = Vec::new();
    let mut at: BTreeMap<(SectionKind, String), usize> = BTreeMap::new();
    let mut kinds_of_name: BTreeMap<String, (SectionKind, u32)> = BTreeMap::new();
    let mut count: BTreeMap<SectionKind, usize> = BTreeMap::new();
    for section in sections {
        let Some(kind) = SectionKind::ALL.into_iter().find(|k| k.uci().contains(&section.kind.as_str()))
        else {
            unknown_kind(report, &section);
            continue;
        };
        let index = count.entry(kind).or_default();
        let (name, anonymous) = match &section.name {
            Some(name) => (name.clone(), false),
            None => (format!("@{}[{index}]", section.kind), true),
        };
        *index += 1;
        let found = Known { kind, name, anonymous, section };
        if !anonymous {
            check_same_name(report, &mut kinds_of_name, &found);
        }
        // Whatever they are called.
        let key = (kind, if kind.is_single() { String::new() } else { found.name.clone() });
        match at.get(&key).and_then(|i| known.get_mut(*i)) {
            Some(first) => merge(report, first, found),
            None => {
                at.insert(key, known.len());
                known.push(found);
            }
        }
    }
    known
}

fn unknown_kind(report: &mut Report, section: &Section) {
    let label = match &section.name {
        Some(name) => format!("{} {}", show(&section.kind).trim_matches('\''), show(name)),
        None => show(&section.kind).trim_matches('\'').to_owned(),
    };
    let place = Place { line: section.line, section: &label, option: None };
    let problem = Problem::new(codes::SECTION_TYPE, "unknown kind of section; it is ignored");
    let kinds = SectionKind::ALL.into_iter().flat_map(|k| k.uci().iter().copied());
    report.add(
        place,
        match nearest(&section.kind, kinds) {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None => problem,
        },
    );
}

fn check_same_name(report: &mut Report, kinds: &mut BTreeMap<String, (SectionKind, u32)>, found: &Known) {
    let line = found.section.line;
    let (kind, first_line) = *kinds.entry(found.name.clone()).or_insert((found.kind, line));
    if kind != found.kind {
        let message = format!("line {first_line} has a section of kind '{}' of this name", kind.noun());
        let place = Place { line, section: &found.label(), option: None };
        let problem = Problem::new(codes::SAME_NAME, message);
        report.add(place, problem.hint("rename one: uci and mwan3 would mix them up"));
    }
}

fn merge(report: &mut Report, first: &mut Known, again: Known) {
    let message = format!("given before, in line {}; the two are merged", first.section.line);
    let place = Place { line: again.section.line, section: &again.label(), option: None };
    report.add(place, Problem::new(codes::DUPLICATE, message).hint("rename one of them"));
    first.section.entries.extend(again.section.entries);
    first.section.damaged = first.section.damaged.or(again.section.damaged);
}

fn build(report: &mut Report, sections: &[Known]) -> Config {
    let mut config = Config::default();
    for known in of_kind(sections, SectionKind::Globals) {
        config.globals = read_globals(&mut fields(report, known));
    }
    for known in of_kind(sections, SectionKind::Web) {
        config.web = Some(read_web(&mut fields(report, known)));
    }
    for known in of_kind(sections, SectionKind::Cloud) {
        crate::cloud::check_section(&mut fields(report, known));
    }
    let mut sets = Names::default();
    for known in of_kind(sections, SectionKind::Ipset) {
        let location = report.location(known.section.line);
        let set = read_set(&mut fields(report, known), &known.name, location);
        set.into_iter().for_each(|set| sets::keep(report, &mut config, &mut sets, &known.label(), set));
    }
    let mut interfaces = Names::default();
    config.interfaces = read_interfaces(report, sections, &mut interfaces);
    check_mask(report, &config.globals, &mut config.interfaces, Dialect::Uci, &mut interfaces);
    let mut names = Names::default();
    let members = read_members(report, sections, &interfaces, &mut names);
    let mut policies = Names::default();
    let mut unused: BTreeSet<String> = members.keys().cloned().gather();
    for known in named(report, sections, SectionKind::Policy) {
        let location = report.location(known.section.line);
        let mut fields = fields(report, known);
        let used = read_use_member(&mut fields, &members, &names);
        unused.retain(|name| !used.iter().any(|member| member.name == *name));
        match finish_policy(&mut fields, &known.name, used, location) {
            Some(policy) => {
                policies.keep(&known.name, known.section.line);
                config.policies.push(policy);
            }
            None => policies.leave_out(&known.name, known.section.line),
        }
    }
    for known in of_kind(sections, SectionKind::Member).filter(|known| unused.contains(&known.name)) {
        let location = report.location(known.section.line);
        report.unused_members.push((known.name.clone(), location));
    }
    for known in of_kind(sections, SectionKind::Rule) {
        let location = report.location(known.section.line);
        let mut fields = fields(report, known);
        config.rules.extend(read_rule(&mut fields, &known.name, &policies, &config.globals, location));
    }
    read_alerts(report, sections, &mut config);
    config
}

fn read_alerts(report: &mut Report, sections: &[Known], config: &mut Config) {
    let mut alerts = Vec::new();
    for known in named(report, sections, SectionKind::Alert) {
        let location = report.location(known.section.line);
        let emails = &config.globals.notification_emails;
        alerts.extend(read_alert(&mut fields(report, known), &known.name, emails, location));
    }
    config.alerts = Arc::new(alert::limit(report, alerts, |name| format!("alert {}", show(name))));
}

fn read_interfaces(report: &mut Report, sections: &[Known], names: &mut Names) -> Vec<Interface> {
    let mut interfaces = Vec::new();
    named(report, sections, SectionKind::Interface); // says which have no name
    // mwan3 counts those, too.
    for (index, known) in of_kind(sections, SectionKind::Interface).enumerate().filter(|(_, k)| !k.anonymous)
    {
        let line = known.section.line;
        let location = report.location(line);
        // At most SECTIONS_MAX sections: fits.
        let position = u16::try_from(index + 1).unwrap_or(u16::MAX);
        let mut fields = fields(report, known);
        names.keep(&known.name, line);
        interfaces.push(read_interface(&mut fields, &known.name, position, location));
    }
    interfaces
}

fn read_members(
    report: &mut Report,
    sections: &[Known],
    interfaces: &Names,
    names: &mut Names,
) -> BTreeMap<String, Member> {
    let mut members = BTreeMap::new();
    for known in named(report, sections, SectionKind::Member) {
        let mut fields = fields(report, known);
        match read_member(&mut fields, &known.name, interfaces) {
            Some(member) => {
                names.keep(&known.name, known.section.line);
                members.insert(known.name.clone(), member);
            }
            None => names.leave_out(&known.name, known.section.line),
        }
    }
    members
}

fn of_kind(sections: &[Known], kind: SectionKind) -> impl Iterator<Item = &Known> {
    sections.iter().filter(move |k| k.kind == kind)
}

/// The sections of a kind that others refer to by name.
fn named<'a>(report: &mut Report, sections: &'a [Known], kind: SectionKind) -> Vec<&'a Known> {
    let (anonymous, named): (Vec<_>, Vec<_>) = of_kind(sections, kind).partition(|k| k.anonymous);
    for known in anonymous {
        let place = Place { line: known.section.line, section: &known.label(), option: None };
        let message = format!("a section of kind '{}' needs a name; it is left out", known.section.kind);
        report.add(place, Problem::new(codes::UNNAMED, message));
    }
    named
}

fn fields<'a>(report: &'a mut Report, known: &Known) -> Fields<'a> {
    open(report, Dialect::Uci, known.kind, known.label(), &known.section)
}

/// The fields of a section, which is refused already if a line of it could not be read and it would mean
/// something else without that line.
pub(crate) fn open<'a>(
    report: &'a mut Report,
    dialect: Dialect,
    kind: SectionKind,
    label: String,
    section: &Section,
) -> Fields<'a> {
    let mut fields = Fields::new(report, dialect, kind, label, section);
    let strict = matches!(
        kind,
        SectionKind::Member
            | SectionKind::Policy
            | SectionKind::Rule
            | SectionKind::Ipset
            | SectionKind::Alert
    );
    if let Some(line) = section.damaged.filter(|_| strict) {
        let message = format!("line {line} cannot be read; the {} is left out", kind.noun());
        fields.refuse(Problem::new(codes::DAMAGED, message));
        fields.damaged = true;
    }
    fields
}

/// Leaves out the interfaces that can have no number.
pub(crate) fn check_mask(
    report: &mut Report,
    globals: &Globals,
    interfaces: &mut Vec<Interface>,
    dialect: Dialect,
    names: &mut Names,
) {
    let bits = globals.mask.count_ones();
    let highest = interfaces_max(globals.mask);
    let first_surplus = interfaces.partition_point(|i| u32::from(i.position) <= highest);
    for interface in interfaces.split_off(first_surplus) {
        let label = interface_label(dialect, &interface.name);
        let line = interface.location.line;
        let number = format!("this is number {} and is left out", interface.position);
        let problem = |message| Problem::new(codes::TOO_MANY_INTERFACES, message);
        let problem = if highest == INTERFACES_MAX {
            problem(format!("there can be {INTERFACES_MAX} interfaces; {number}"))
        } else {
            let room = format!("mask {:#X} has {bits} bits, room for {highest} interfaces", globals.mask);
            problem(format!("{room}; {number}")).hint("set more bits in the mask")
        };
        report.add(Place { line, section: &label, option: None }, problem);
        names.revoke(&interface.name, line);
    }
}

/// How messages call an interface.
pub(crate) fn interface_label(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Uci => format!("interface {}", show(name)),
        Dialect::Native => format!("wan.{name}"),
    }
}
