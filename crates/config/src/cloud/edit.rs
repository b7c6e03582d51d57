//! Edits of a UCI text: an option gets other values, a section goes, a new one comes. Whatever is not edited stays as it
//! is, to the byte.

use crate::small::sort_short;
use std::collections::BTreeSet;
use std::ops::Range;

use crate::uci::{Command, commands, quote};

/// A section: its header and the commands in it.
struct Block {
    kind: String,
    name: String,
    head: Command,
    entries: Vec<Command>,
    removed: bool,
}

/// A section that is to be there.
pub(super) struct Wanted {
    /// Types that mean it, the one to be written first.
    pub(super) kinds: &'static [&'static str],
    pub(super) name: String,
    pub(super) options: Vec<Setting>,
}

/// An option of a section that is to be there.
pub(super) struct Setting {
    /// Names that mean it, the one to be written first.
    pub(super) names: Vec<&'static str>,
    /// None: the option is not to be there.
    pub(super) values: Vec<String>,
    pub(super) list: bool,
    /// Only where the section is new: afterwards it is the owner's.
    pub(super) once: bool,
}

/// A text and what is to become of it.
pub(super) struct Editor<'a> {
    text: &'a str,
    blocks: Vec<Block>,
    edits: Vec<(Range<usize>, String)>,
    fresh: String,
}

impl<'a> Editor<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut blocks: Vec<Block> = Vec::new();
        for command in commands(text) {
            match (command.word(0), blocks.last_mut()) {
                ("config", _) => blocks.push(Block {
                    kind: command.word(1).to_owned(),
                    name: command.word(2).to_owned(),
                    head: command,
                    entries: Vec::new(),
                    removed: false,
                }),
                ("option" | "list", Some(block)) => block.entries.push(command),
                _ => {}
            }
        }
        Editor { text, blocks, edits: Vec::new(), fresh: String::new() }
    }

    /// Whether there are sections of one of these types.
    pub(super) fn has_kind(&self, kinds: &[&str]) -> bool {
        self.blocks.iter().any(|b| !b.removed && kinds.contains(&b.kind.as_str()))
    }

    /// Names of the sections of these types.
    pub(super) fn names(&self, kinds: &[&str]) -> Vec<String> {
        let of_kind = self.blocks.iter().filter(|b| !b.removed && kinds.contains(&b.kind.as_str()));
        of_kind.map(|b| b.name.clone()).collect()
    }

    /// The sections of a name, of which UCI makes one. All globals are one whatever they are called.
    fn indices(&self, kinds: &[&str], name: &str) -> Vec<usize> {
        let any_name = kinds.contains(&"globals");
        let fits = |b: &Block| !b.removed && kinds.contains(&b.kind.as_str()) && (any_name || b.name == name);
        self.blocks.iter().enumerate().filter(|(_, b)| fits(b)).map(|(i, _)| i).collect()
    }

    /// The type of another kind of section that has this name.
    pub(super) fn other_kind(&self, kind: &str, name: &str) -> Option<&str> {
        let other = |b: &&Block| !b.removed && b.name == name && b.kind != kind;
        self.blocks.iter().find(other).map(|b| b.kind.as_str())
    }

    pub(super) fn has(&self, kinds: &[&str], name: &str) -> bool {
        !self.indices(kinds, name).is_empty()
    }

    /// What an option says, as UCI understands it.
    pub(super) fn values(&self, kinds: &[&str], name: &str, option: &[&str]) -> Vec<String> {
        let mut values = Vec::new();
        for index in self.indices(kinds, name) {
            for entry in self.blocks[index].entries.iter().filter(|e| option.contains(&e.word(1))) {
                if entry.word(0) == "option" {
                    values.clear();
                }
                values.push(entry.word(2).to_owned());
            }
        }
        values.retain(|value| !value.is_empty());
        values
    }

    /// Makes a section what it is to be. `adopt`: one that is there counts as new.
    pub(super) fn want(&mut self, wanted: &Wanted, adopt: bool) {
        let indices = self.indices(wanted.kinds, &wanted.name);
        if indices.is_empty() {
            return self.add(wanted);
        }
        let mut new = Vec::new();
        for setting in wanted.options.iter().filter(|s| adopt || !s.once) {
            new.extend(self.set(wanted, &indices, setting));
        }
        if !new.is_empty() {
            self.insert(indices[0], &new);
        }
    }

    fn add(&mut self, wanted: &Wanted) {
        let line = |words: [&str; 2], value: &str| format!("{} {} {}\n", words[0], words[1], quote(value));
        if !self.fresh.is_empty() || !self.text.trim().is_empty() {
            self.fresh.push('\n');
        }
        self.fresh.push_str(&line(["config", wanted.kinds[0]], &wanted.name));
        for setting in &wanted.options {
            let keyword = if setting.list { "list" } else { "option" };
            for value in &setting.values {
                self.fresh.push('\t');
                self.fresh.push_str(&line([keyword, setting.names[0]], value));
            }
        }
    }

    /// Changes an option that is there; of another the lines that are to be put in.
    fn set(&mut self, wanted: &Wanted, indices: &[usize], setting: &Setting) -> Vec<String> {
        let there = self.values(wanted.kinds, &wanted.name, &setting.names);
        if there == setting.values {
            return Vec::new();
        }
        let keyword = if setting.list { "list" } else { "option" };
        let line = |value: &String| format!("{keyword} {} {}", setting.names[0], quote(value));
        let lines: Vec<String> = setting.values.iter().map(line).collect();
        let entries = indices.iter().flat_map(|i| &self.blocks[*i].entries);
        let old: Vec<Command> = entries.filter(|e| setting.names.contains(&e.word(1))).cloned().collect();
        match old.split_first() {
            None => return lines,
            Some((first, others)) if !lines.is_empty() => {
                let joint = format!("\n{}", self.indentation(first));
                self.edits.push((first.span(), lines.join(&joint)));
                others.iter().for_each(|other| self.remove_command(other));
            }
            Some(_) => old.iter().for_each(|command| self.remove_command(command)),
        }
        Vec::new()
    }

    /// Puts lines behind the last one of a section that stays.
    fn insert(&mut self, index: usize, lines: &[String]) {
        let block = &self.blocks[index];
        let gone = |entry: &&Command| {
            self.edits.iter().any(|(range, new)| new.is_empty() && range.contains(&entry.span().start))
        };
        let last = block.entries.iter().rev().find(|entry| !gone(entry));
        let indentation = last.map_or("", |entry| self.indentation(entry));
        let indentation = if indentation.is_empty() { "\t" } else { indentation };
        let text: String = lines.iter().map(|line| format!("\n{indentation}{line}")).collect();
        let at = self.end_of_line(last.unwrap_or(&block.head).span().end);
        self.edits.push((at..at, text));
    }

    /// Takes sections out, with the empty line before them.
    pub(super) fn remove(&mut self, kinds: &[&str], name: &str) {
        for index in self.indices(kinds, name) {
            let block = &mut self.blocks[index];
            block.removed = true;
            let (head, entries) = (block.head.clone(), std::mem::take(&mut block.entries));
            entries.iter().for_each(|entry| self.remove_command(entry));
            let whole = self.line_of(&head);
            let before = &self.text[..whole.start];
            // A blank line is what separates it from the section before; behind a `\` it is part of the line before.
            let trimmed = before.trim_end_matches([' ', '\t', '\r', '\n']);
            let blanks = &before[trimmed.len()..];
            let separated = blanks.matches('\n').count() > 1 && !trimmed.ends_with('\\');
            let first = if separated { blanks.find('\n') } else { None };
            let begin = first.map_or(whole.start, |newline| trimmed.len() + newline + 1);
            self.edits.push((begin..whole.end, String::new()));
        }
    }

    fn remove_command(&mut self, command: &Command) {
        let range = self.line_of(command);
        self.edits.push((range, String::new()));
    }

    /// The whole line of a command that has one for itself, else the command.
    fn line_of(&self, command: &Command) -> Range<usize> {
        let span = command.span();
        let begin = self.text[..span.start].rfind('\n').map_or(0, |at| at + 1);
        let end = self.text[span.end..].find('\n').map_or(self.text.len(), |at| span.end + at + 1);
        let alone =
            self.text[begin..span.start].trim().is_empty() && self.text[span.end..end].trim().is_empty();
        if alone { begin..end } else { span }
    }

    /// Behind what else stands on the line, unless that is another command.
    fn end_of_line(&self, at: usize) -> usize {
        let rest = &self.text[at..];
        let line = rest.split('\n').next().unwrap_or_default();
        // A `\` at its end would join the next one.
        if line.contains([';', '\\']) { at } else { at + line.trim_end().len() }
    }

    fn indentation(&self, command: &Command) -> &'a str {
        let begin = command.span().start;
        let line = self.text[..begin].rfind('\n').map_or(0, |at| at + 1);
        let before = &self.text[line..begin];
        if before.trim().is_empty() { before } else { "" }
    }

    pub(super) fn finish(mut self) -> String {
        sort_short(&mut self.edits, |(span, _)| (span.start, span.end));
        let (mut out, mut at) = (String::new(), 0);
        for (span, new) in &self.edits {
            out.push_str(self.text.get(at..span.start).unwrap_or_default());
            out.push_str(new);
            at = at.max(span.end);
        }
        out.push_str(&self.text[at..]);
        if !self.fresh.is_empty() {
            if out.trim().is_empty() {
                out.clear();
            } else if !out.ends_with('\n') {
                out.push('\n');
            }
            out.push_str(if out.is_empty() { self.fresh.trim_start_matches('\n') } else { &self.fresh });
        }
        out
    }
}

/// Members of a text: name of the section, and of its interface.
pub(super) fn members(editor: &Editor<'_>, kinds: &[&str]) -> BTreeSet<(String, String)> {
    let with_interface = |name: String| {
        let interface = editor.values(kinds, &name, &["interface"]).pop().unwrap_or_default();
        (name, interface)
    };
    editor.names(kinds).into_iter().map(with_interface).collect()
}
