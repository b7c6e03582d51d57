//! A UCI file as `mwan.toml`.
//!
//! By the option table, not option by option: what has a name in both formats is carried over as it was written, and
//! what has none is kept as a comment. Where the two formats' defaults differ, the old one is written out. Members and
//! policies become what they mean: an order of preference, and shares.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::diagnostic::Severity;
use crate::model::{Config, Member, Policy};
use crate::options::{OptionDoc, SectionKind, options_of};
use crate::small::sort_short_by;
use crate::uci::{Command, commands};
use crate::{Loaded, values};

use super::{Migrated, Note, one_line};

/// A section with what belongs to it, in the order of the file.
struct Section {
    kind: Option<SectionKind>,
    name: String,
    header: Line,
    lines: Vec<Line>,
}

/// A command and the comments before it.
struct Line {
    comments: Vec<String>,
    command: Command,
}

struct Writer<'a> {
    loaded: &'a Loaded,
    text: &'a str,
    out: String,
    notes: Vec<Note>,
}

pub(super) fn rewrite(loaded: &Loaded, text: &str) -> Migrated {
    let (before, sections, after) = sections(text);
    let mut writer = Writer { loaded, text, out: String::new(), notes: Vec::new() };
    for line in before {
        writer.comment_out(&line, "stands outside of any section");
    }
    let sections = merged(sections);
    // TOML wants nothing in particular, people do: what is used stands before what uses it, as in UCI.
    for section in &sections {
        writer.section(section);
    }
    if !after.is_empty() {
        writer.out.push('\n');
        after.iter().for_each(|c| writer.comment(c));
    }
    writer.unreadable();
    sort_short_by(&mut writer.notes, |a, b| a > b);
    Migrated { text: writer.out.trim_start_matches('\n').to_owned(), notes: writer.notes }
}

/// What stands before the first section, the sections, and the comments behind everything.
fn sections(text: &str) -> (Vec<Line>, Vec<Section>, Vec<String>) {
    let (mut before, mut sections, mut at) = (Vec::new(), Vec::<Section>::new(), 0);
    for command in commands(text) {
        // Of words beyond the last one that counts there are none: `commands` gives only what is complete.
        let comments = comments(text, at, command.span().start);
        at = command.span().end;
        if command.word(0) == "package" {
            before.push(Line { comments, command });
        } else if command.word(0) == "config" {
            let kind = SectionKind::ALL.into_iter().find(|k| k.uci().contains(&command.word(1)));
            let name = command.word(2).to_owned();
            sections.push(Section { kind, name, header: Line { comments, command }, lines: Vec::new() });
        } else if let Some(section) = sections.last_mut() {
            section.lines.push(Line { comments, command });
        } else {
            before.push(Line { comments, command });
        }
    }
    (before, sections, comments(text, at, text.len()))
}

/// The comments between two commands.
fn comments(text: &str, from: usize, to: usize) -> Vec<String> {
    let gap = text.get(from..to).unwrap_or_default();
    gap.lines().filter_map(|l| l.split_once('#')).map(|(_, comment)| comment.trim().to_owned()).collect()
}

/// Sections given twice are one, in the place of the first; all globals are.
fn merged(sections: Vec<Section>) -> Vec<Section> {
    let mut known: Vec<Section> = Vec::new();
    let mut at: BTreeMap<(SectionKind, String), usize> = BTreeMap::new();
    for section in sections {
        let anonymous = section.name.is_empty() && !section.kind.is_some_and(SectionKind::is_single);
        let Some(kind) = section.kind.filter(|_| !anonymous) else {
            known.push(section);
            continue;
        };
        let name = if kind.is_single() { String::new() } else { section.name.clone() };
        match at.get(&(kind, name.clone())).and_then(|i| known.get_mut(*i)) {
            Some(first) => {
                first.header.comments.extend(section.header.comments);
                first.lines.extend(section.lines);
            }
            None => {
                at.insert((kind, name), known.len());
                known.push(section);
            }
        }
    }
    known
}

impl Writer<'_> {
    fn config(&self) -> &Config {
        &self.loaded.config
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            // TOML allows no control characters in comments but the tab.
            let line: String =
                line.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }).collect();
            let _ = writeln!(self.out, "# {}", line.trim());
        }
        if text.is_empty() {
            self.out.push_str("#\n");
        }
    }

    fn note(&mut self, line: u32, text: impl Into<String>) {
        self.notes.push(Note::new(line, text));
    }

    /// Keeps a command that `mwan.toml` has no words for.
    fn comment_out(&mut self, line: &Line, why: &str) {
        line.comments.iter().for_each(|c| self.comment(c));
        let raw = self.text.get(line.command.span()).unwrap_or_default().to_owned();
        self.comment(&raw);
        self.note(line.command.line, format!("`{}` is kept as a comment: {why}", one_line(&raw)));
    }

    /// Keeps a whole section as a comment.
    fn comment_out_section(&mut self, section: &Section, why: &str) {
        self.comment_out(&section.header, why);
        for line in &section.lines {
            line.comments.iter().for_each(|c| self.comment(c));
            let raw = self.text.get(line.command.span()).unwrap_or_default().to_owned();
            self.comment(&raw);
        }
    }

    fn section(&mut self, section: &Section) {
        if !self.out.is_empty() && !self.out.ends_with("\n\n") {
            self.out.push('\n');
        }
        let (config, line) = (self.config(), section.header.command.line);
        let damaged = || section.lines.is_empty() && self.damaged(line);
        match section.kind {
            None => self.comment_out_section(section, "unknown kind of section"),
            Some(SectionKind::Alert) if damaged() => {
                self.comment_out_section(section, "the alert is left out anyway");
            }
            Some(SectionKind::Alert) => self.table(section, &format!("[alert.{}]", section.name), &[]),
            Some(SectionKind::Cloud) => {
                self.comment_out_section(section, "a cloud's document is not applied to mwan.toml");
            }
            Some(SectionKind::Ipset) => match config.sets.iter().find(|s| s.location.line == line).cloned() {
                None => self.comment_out_section(section, "the set is left out anyway"),
                Some(set) => self.table(section, &format!("[set.{}]", string(&set.name)), &[]),
            },
            Some(SectionKind::Globals) => self.table(section, "[global]", &[]),
            Some(SectionKind::Web) => self.table(section, "[web]", &[]),
            Some(SectionKind::Interface) if config.interface(&section.name).is_none() || damaged() => {
                self.comment_out_section(section, "the interface is left out anyway");
            }
            Some(SectionKind::Interface) => self.table(section, &format!("[wan.{}]", section.name), &[]),
            Some(SectionKind::Member) => self.member(section),
            Some(SectionKind::Policy) => match config.policy(&section.name).cloned() {
                None => self.comment_out_section(section, "the policy is left out anyway"),
                Some(policy) => {
                    let members = self.members(&policy, line);
                    self.table(section, &format!("[policy.{}]", section.name), &[members]);
                }
            },
            Some(SectionKind::Rule) if !self.has_rule(section) => {
                self.comment_out_section(section, "the rule is left out anyway");
            }
            Some(SectionKind::Rule) => {
                let name = (!section.name.is_empty()).then(|| format!("name = {}", string(&section.name)));
                self.table(section, "[[rule]]", &name.into_iter().collect::<Vec<_>>());
            }
        }
    }

    fn damaged(&self, line: u32) -> bool {
        let errors = self.loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        errors.into_iter().any(|d| d.location.line == line && d.option.is_none())
    }

    /// Whether the rule is in force: one that is not must not come into force by losing what kept it out.
    fn has_rule(&self, section: &Section) -> bool {
        let line = section.header.command.line;
        self.config().rules.iter().any(|r| r.location.line == line)
    }

    /// A member that a policy uses is in the policy; another would be lost.
    fn member(&mut self, section: &Section) {
        let policies = &self.loaded.config.policies;
        if !policies.iter().any(|p| p.members.iter().any(|m| m.name == section.name)) {
            return self.comment_out_section(section, "no policy uses the member");
        }
        section.header.comments.iter().for_each(|c| self.comment(c));
        for line in &section.lines {
            line.comments.iter().for_each(|c| self.comment(c));
            if line.command.word(1) == "comment" {
                self.comment(line.command.word(2));
            }
        }
        let text = format!("member {} is part of the policies that use it", section.name);
        self.note(section.header.command.line, text);
    }

    /// `prefer` or `balance`.
    fn members(&mut self, policy: &Policy, line: u32) -> String {
        let mut tiers: BTreeMap<u32, Vec<Member>> = BTreeMap::new();
        for member in &policy.members {
            tiers.entry(member.metric).or_default().push(member.clone());
        }
        let mut seen: Vec<String> = Vec::new();
        let mut elements: Vec<Vec<(String, u32)>> = Vec::new();
        for tier in tiers.values() {
            let mut shares: Vec<(String, u32)> = Vec::new();
            for member in tier {
                if seen.contains(&member.interface) {
                    let name = &member.name;
                    self.note(
                        line,
                        format!("member {name} never carries and is left out: its interface comes first"),
                    );
                } else if let Some(share) = shares.iter_mut().find(|(i, _)| *i == member.interface) {
                    share.1 += member.weight;
                } else {
                    shares.push((member.interface.clone(), member.weight));
                }
            }
            seen.extend(shares.iter().map(|(interface, _)| interface.clone()));
            if !shares.is_empty() {
                elements.push(shares);
            }
        }
        match elements.as_slice() {
            [only] if only.len() > 1 => format!("balance = {}", shares_text(only)),
            _ => format!(
                "prefer = [{}]",
                elements.iter().map(|e| shares_text(e)).collect::<Vec<_>>().join(", ")
            ),
        }
    }

    /// A table: its header, `first`, and its options as they were written.
    fn table(&mut self, section: &Section, header: &str, first: &[String]) {
        section.header.comments.iter().for_each(|c| self.comment(c));
        let _ = writeln!(self.out, "{header}");
        for line in first {
            let _ = writeln!(self.out, "{line}");
        }
        let Some(kind) = section.kind else { return };
        let mut values = effective(kind, &section.lines);
        for line in &section.lines {
            self.option(section, kind, line, &mut values);
        }
        self.defaults(section, kind);
    }

    fn option(
        &mut self,
        section: &Section,
        kind: SectionKind,
        line: &Line,
        values: &mut BTreeMap<&'static str, Vec<String>>,
    ) {
        let name = line.command.word(1);
        let doc = options_of(kind).find(|o| o.uci.contains(&name));
        let Some(doc) = doc else {
            return self.comment_out(line, "unknown option");
        };
        // What these say is in the table's header, or its first line.
        let said = [(SectionKind::Policy, "use_member"), (SectionKind::Ipset, "name")];
        if said.contains(&(kind, doc.key())) {
            return line.comments.iter().for_each(|c| self.comment(c));
        }
        let Some(native) = doc.native else {
            return self.comment_out(line, "mwan.toml has no such option");
        };
        if self.replaced(section, kind, doc) {
            return self.comment_out(line, "its value is not usable; the default is written out");
        }
        line.comments.iter().for_each(|c| self.comment(c));
        // Where the first of several lines stood; the others are in it.
        let Some(values) = values.remove(doc.key()) else { return };
        match values.as_slice() {
            [] => {}
            [one] => {
                let _ = writeln!(self.out, "{native} = {}", value(doc, one));
            }
            several => {
                let list: Vec<String> = several.iter().map(|v| value(doc, v)).collect();
                let _ = writeln!(self.out, "{native} = [{}]", list.join(", "));
            }
        }
    }

    /// Whether an option's value was not usable where the default of `mwan.toml` would be another one.
    fn replaced(&self, section: &Section, kind: SectionKind, doc: &OptionDoc) -> bool {
        if doc.native_default.is_none() || kind != SectionKind::Interface {
            return false;
        }
        let lines: Vec<u32> = own_lines(section, doc).map(|l| l.command.line).collect();
        let wrong = self.loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error);
        wrong.into_iter().any(|d| {
            d.option.as_deref().is_some_and(|o| doc.uci.contains(&o)) && lines.contains(&d.location.line)
        })
    }

    /// The defaults that differ, written out.
    fn defaults(&mut self, section: &Section, kind: SectionKind) {
        let values = effective(kind, &section.lines);
        let mut written: Vec<&str> = Vec::new();
        for doc in options_of(kind) {
            let (Some(native), Some(_)) = (doc.native, doc.native_default) else { continue };
            let given = values.get(doc.key()).is_some_and(|v| !v.is_empty());
            if given && !self.replaced(section, kind, doc) {
                continue;
            }
            let text = match self.config().interface(&section.name).filter(|_| doc.key() == "family") {
                Some(interface) => {
                    let families: Vec<String> = interface.families.iter().map(|f| string(f.name())).collect();
                    format!("[{}]", families.join(", "))
                }
                None if doc.default.is_empty() => continue,
                None => value(doc, doc.default),
            };
            let _ = writeln!(self.out, "{native} = {text}");
            written.push(native);
        }
        if !written.is_empty() {
            let text = format!("written out, since the defaults differ: {}", written.join(", "));
            self.note(section.header.command.line, text);
        }
    }

    /// Lines that could not be read at all.
    fn unreadable(&mut self) {
        let readable: Vec<(u32, u32)> = commands(self.text)
            .iter()
            .map(|c| (c.line, c.line + u32::try_from(self.text[c.span()].matches('\n').count()).unwrap_or(0)))
            .collect();
        let mut first = true;
        for (number, line) in (1u32..).zip(self.text.lines()) {
            let content = line.trim().trim_start_matches('\u{feff}');
            let known = content.is_empty()
                || content.starts_with('#')
                || readable.iter().any(|(from, to)| (*from..=*to).contains(&number));
            if known {
                continue;
            }
            if std::mem::take(&mut first) {
                self.out.push('\n');
            }
            self.comment(content);
            self.note(number, format!("`{}` is kept as a comment: it cannot be read", one_line(content)));
        }
    }
}

fn own_lines<'s>(section: &'s Section, doc: &'s OptionDoc) -> impl Iterator<Item = &'s Line> {
    section.lines.iter().filter(|l| doc.uci.contains(&l.command.word(1)))
}

/// The values that count, by key: of options the last one, of lists all since then.
fn effective(kind: SectionKind, lines: &[Line]) -> BTreeMap<&'static str, Vec<String>> {
    let mut found: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for line in lines {
        let Some(doc) = options_of(kind).find(|o| o.uci.contains(&line.command.word(1))) else { continue };
        let values = found.entry(doc.key()).or_default();
        if line.command.word(0) == "option" {
            values.clear();
        }
        let text = line.command.word(2).trim();
        if !text.is_empty() {
            values.push(text.to_owned());
        }
    }
    found
}

/// A value as TOML has it, which reads back as the same text; booleans as such.
fn value(doc: &OptionDoc, text: &str) -> String {
    if let Some(boolean) = values::boolean(text).ok().filter(|_| doc.kind == "boolean") {
        return boolean.to_string();
    }
    let digits = (1..=9).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let leading = text.len() > 1 && text.starts_with('0');
    let name = doc.kind.contains("name") || doc.kind.contains("text") || doc.kind.contains("string");
    if digits && !leading && !name { text.to_owned() } else { string(text) }
}

/// A basic string (TOML 1.0).
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// One element of `prefer`: a name, names, or shares.
fn shares_text(shares: &[(String, u32)]) -> String {
    let plain = shares.iter().all(|(_, weight)| *weight == 1);
    match shares {
        [(name, 1)] => string(name),
        _ if plain => {
            let names: Vec<String> = shares.iter().map(|(name, _)| string(name)).collect();
            format!("[{}]", names.join(", "))
        }
        _ => {
            let list: Vec<String> =
                shares.iter().map(|(name, weight)| format!("{name} = {weight}")).collect();
            format!("{{ {} }}", list.join(", "))
        }
    }
}
