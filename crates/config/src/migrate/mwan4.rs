//! What the uci-defaults scripts of mwan4 do to a file, as edits of its text: what is not edited stays as it is, to the
//! byte.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::small::{sort_short, sort_short_by};
use crate::values;

use super::{Migrated, Note, one_line};
use crate::uci::{Command, commands, quote};

/// One of mwan4's migrations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// `flush_conntrack`: a list of events instead of `always` and `never`.
    FlushConntrack,
    /// `family`: a list; an interface without one is `ipv4`.
    Family,
    /// `member` → `route`, `policy` → `strategy`, and the options that name them.
    Rename,
}

/// All of them, in mwan4's order.
pub const MWAN4: &[Step] = &[Step::FlushConntrack, Step::Family, Step::Rename];

/// Old and new names of section types and options.
const SECTIONS: [(&str, &str); 2] = [("member", "route"), ("policy", "strategy")];
const OPTIONS: [(&str, &str, &str); 2] =
    [("policy", "use_member", "use_route"), ("rule", "use_policy", "use_strategy")];

/// A command and the section it is in.
struct Placed {
    command: Command,
    /// Index among `config` commands; of commands before the first there is none.
    section: usize,
}

/// A `config` command: type in its present words, and what makes it one with others of its name.
struct Section {
    kind: &'static str,
    key: (String, String),
}

struct Rewriter<'a> {
    text: &'a str,
    placed: Vec<Placed>,
    sections: Vec<Section>,
    edits: Vec<(Range<usize>, String)>,
    notes: Vec<Note>,
}

pub(super) fn rewrite(text: &str, steps: &[Step]) -> Migrated {
    let mut rewriter = Rewriter::new(text);
    for step in steps {
        match step {
            Step::FlushConntrack => rewriter.lists(&["interface"], "flush_conntrack", flush_events),
            Step::Family => {
                rewriter.lists(&["interface", "rule"], "family", families);
                rewriter.default_families();
            }
            Step::Rename => rewriter.rename(),
        }
    }
    rewriter.finish()
}

impl<'a> Rewriter<'a> {
    fn new(text: &'a str) -> Self {
        let (mut placed, mut sections) = (Vec::new(), Vec::new());
        for command in commands(text) {
            if command.word(0) == "config" {
                let kinds = ["globals", "interface", "member", "route", "policy", "strategy", "rule"];
                let known = kinds.into_iter().find(|k| *k == command.word(1)).unwrap_or("");
                let kind = SECTIONS.iter().find(|(_, new)| *new == known).map_or(known, |(old, _)| *old);
                // Anonymous sections are never the same.
                let name = match command.word(2) {
                    "" => format!("@{}", sections.len()),
                    name => name.to_owned(),
                };
                sections.push(Section { kind, key: (kind.to_owned(), name) });
            }
            if let Some(section) = sections.len().checked_sub(1) {
                placed.push(Placed { command, section });
            }
        }
        Rewriter { text, placed, sections, edits: Vec::new(), notes: Vec::new() }
    }

    fn kind(&self, placed: &Placed) -> &'static str {
        self.sections[placed.section].kind
    }

    fn rename(&mut self) {
        for placed in &self.placed {
            let command = &placed.command;
            let (at, new) = if command.word(0) == "config" {
                (1, SECTIONS.iter().find(|(old, _)| *old == command.word(1)).map(|(_, new)| *new))
            } else {
                let kind = self.kind(placed);
                let option = OPTIONS.iter().find(|(k, old, _)| *k == kind && *old == command.word(1));
                (1, option.map(|(_, _, new)| *new))
            };
            let (Some(new), Some(word)) = (new, command.words.get(at)) else { continue };
            self.edits.push((word.span.clone(), new.to_owned()));
            let keyword = command.word(0);
            self.notes
                .push(Note::new(command.line, format!("{keyword} {} is now {keyword} {new}", word.text)));
        }
    }

    /// Turns an option of some sections into a list of what `read` makes of its value.
    fn lists(&mut self, kinds: &[&str], name: &str, read: fn(&str) -> Option<Vec<&'static str>>) {
        // In a list all values count, of options the last one, which also ends a list before it.
        let mut given: BTreeMap<&(String, String), Vec<usize>> = BTreeMap::new();
        for (index, placed) in self.placed.iter().enumerate() {
            let own = kinds.contains(&self.kind(placed)) && placed.command.word(0) != "config";
            if own && placed.command.word(1) == name {
                given.entry(&self.sections[placed.section].key).or_default().push(index);
            }
        }
        let given: Vec<Vec<usize>> = given.into_values().collect();
        for indices in given {
            let last = indices.iter().rposition(|i| self.placed[*i].command.word(0) == "option").unwrap_or(0);
            for dead in &indices[..last] {
                self.drop(*dead, "does not count: it is given again");
            }
            for index in &indices[last..] {
                self.list(*index, name, read);
            }
        }
    }

    fn list(&mut self, index: usize, name: &str, read: fn(&str) -> Option<Vec<&'static str>>) {
        let command = self.placed[index].command.clone();
        let (keyword, value) = (command.word(0), command.word(2));
        let Some(values) = read(value) else {
            let text = format!("{name} {} cannot be read and stays as it is", quote(value));
            return self.notes.push(Note::new(command.line, text));
        };
        if keyword == "list" && values == [value] {
            return;
        }
        if values.is_empty() {
            return self.drop(index, "is not needed: it is the default");
        }
        let lines: Vec<String> = values.iter().map(|v| format!("list {name} {}", quote(v))).collect();
        let text = format!("{keyword} {name} {} is now {}", quote(value), lines.join(", "));
        self.notes.push(Note::new(command.line, text));
        let between = format!("\n{}", self.indentation(&command));
        self.edits.push((command.span(), lines.join(&between)));
    }

    /// mwan3's default, which mwan4 wants written.
    fn default_families(&mut self) {
        let mut interfaces: BTreeMap<&(String, String), (&Command, bool)> = BTreeMap::new();
        for placed in self.placed.iter().filter(|p| self.kind(p) == "interface") {
            let command = &placed.command;
            let of = interfaces.entry(&self.sections[placed.section].key).or_insert((command, false));
            match command.word(1) {
                // An empty value is no value; an option ends the list before it.
                "family" if command.word(0) == "option" => of.1 = !command.word(2).trim().is_empty(),
                "family" if command.word(0) == "list" => of.1 |= !command.word(2).trim().is_empty(),
                "enabled" if command.word(0) == "option" => of.0 = command,
                _ => {}
            }
        }
        for (command, has) in interfaces.into_values() {
            if has {
                continue;
            }
            let indentation = match self.indentation(command) {
                space if command.word(0) == "option" && !space.is_empty() => space,
                _ => "\t",
            };
            let end = command.span().end;
            self.edits.push((end..end, format!("\n{indentation}list family 'ipv4'")));
            self.notes.push(Note::new(command.line, "list family 'ipv4' is written out: mwan3's default"));
        }
    }

    /// Takes a command out. Alone on its line it stays there as a comment, so that nothing is lost.
    fn drop(&mut self, index: usize, why: &str) {
        let command = &self.placed[index].command;
        let span = command.span();
        let raw = self.text[span.clone()].to_owned();
        self.notes.push(Note::new(command.line, format!("{} {why}", one_line(&raw))));
        let rest = self.text[span.end..].lines().next().unwrap_or_default().trim();
        let alone = rest.is_empty() && !raw.contains('\n');
        self.edits.push((span, if alone { format!("# {raw}") } else { String::new() }));
    }

    /// The white space before a command that begins its line; else none.
    fn indentation(&self, command: &Command) -> &'a str {
        let begin = command.span().start;
        let line = self.text[..begin].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.text[line..begin];
        if before.trim().is_empty() { before } else { "" }
    }

    fn finish(mut self) -> Migrated {
        sort_short(&mut self.edits, |(span, _)| (span.start, span.end));
        sort_short_by(&mut self.notes, |a, b| a > b);
        let (mut out, mut at) = (String::new(), 0);
        for (span, new) in &self.edits {
            out.push_str(self.text.get(at..span.start).unwrap_or_default());
            out.push_str(new);
            at = span.end;
        }
        out.push_str(&self.text[at..]);
        Migrated { text: out, notes: self.notes }
    }
}

/// Events of `flush_conntrack` in every historic form; `None` if there is a word that is none.
fn flush_events(value: &str) -> Option<Vec<&'static str>> {
    const EVENTS: [&str; 4] = ["ifup", "ifdown", "connected", "disconnected"];
    let mut found = Vec::new();
    for piece in values::pieces(value) {
        match (piece.to_ascii_lowercase().as_str(), values::boolean(piece)) {
            ("always", _) | (_, Ok(true)) => found.extend(["ifup", "ifdown"]),
            ("never", _) | (_, Ok(false)) => {}
            (word, _) => found.push(EVENTS.into_iter().find(|e| *e == word)?),
        }
    }
    Some(unique(found))
}

fn families(value: &str) -> Option<Vec<&'static str>> {
    let mut found = Vec::new();
    for piece in values::pieces(value) {
        match piece.to_ascii_lowercase().as_str() {
            "any" | "all" | "both" => found.extend(["ipv4", "ipv6"]),
            "ipv4" => found.push("ipv4"),
            "ipv6" => found.push("ipv6"),
            _ => return None,
        }
    }
    Some(unique(found))
}

fn unique(mut words: Vec<&'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    words.retain(|w| {
        !seen.contains(w) && {
            seen.push(*w);
            true
        }
    });
    words
}
