//! One file, looked up by the keys of the table.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::Files;
use super::keys::{self, FileKind};
use super::readhash::{self, Value};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::model::Location;
use crate::report::{Place, Problem, Report, show};
use crate::suggest::nearest;

/// A file and what is said about it.
pub(super) struct Hash {
    report: Report,
    /// As messages call it: its name below the root.
    name: String,
    values: BTreeMap<&'static str, Value>,
    /// The names its owner wrote.
    written: BTreeMap<&'static str, String>,
    /// One of our own: what nobody looks at is said.
    ours: bool,
    /// What was looked at.
    asked: RefCell<BTreeSet<&'static str>>,
    /// What is needed is missing, or means something else than was meant.
    pub(super) left_out: bool,
}

impl Hash {
    /// One of our own files; what is not in the table is said.
    pub(super) fn ours(files: &Files, kind: FileKind, name: &str) -> Self {
        let (mut hash, values) = Self::open(files, name);
        hash.ours = true;
        for (written, value) in values {
            match keys::find(kind, &written) {
                Some(doc) => hash.keep(doc.key, written, value),
                None => hash.unknown(kind, &written, value.line),
            }
        }
        hash
    }

    /// One of IPFire's, which holds much that is none of our business.
    pub(super) fn theirs(files: &Files, name: &str, kind: FileKind) -> Self {
        let (mut hash, values) = Self::open(files, name);
        for (written, value) in values {
            if let Some(doc) = keys::named(kind, &written) {
                hash.keep(doc.key, written, value);
            }
        }
        hash
    }

    /// All of a file, by the names in it.
    pub(super) fn raw(files: &Files, name: &str) -> (Self, BTreeMap<String, Value>) {
        Self::open(files, name)
    }

    fn open(files: &Files, name: &str) -> (Self, BTreeMap<String, Value>) {
        let mut report = Report::new(&format!("{}/{name}", files.root.trim_end_matches('/')));
        let values = match (files.contents.get(name), files.unreadable.get(name)) {
            (Some(bytes), _) => readhash::parse(&mut report, name, bytes),
            (None, Some(why)) => {
                let problem = Problem::new(codes::HASH_FILE, format!("cannot be read: {why}"));
                report.add(Place { section: name, ..Place::default() }, problem);
                BTreeMap::new()
            }
            (None, None) => BTreeMap::new(),
        };
        let hash = Hash {
            report,
            name: name.to_owned(),
            values: BTreeMap::new(),
            written: BTreeMap::new(),
            ours: false,
            asked: RefCell::default(),
            left_out: false,
        };
        (hash, values)
    }

    fn keep(&mut self, key: &'static str, written: String, value: Value) {
        // An empty value is no value: IPFire's pages write one for every field left blank.
        if !value.text.is_empty() {
            self.values.insert(key, value);
            self.written.insert(key, written);
        }
    }

    fn unknown(&mut self, kind: FileKind, written: &str, line: u32) {
        let problem = Problem::new(codes::HASH_KEY, "unknown key; it is ignored");
        let near = nearest(written, keys::of(kind).map(|k| k.key));
        let problem = match near {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None => problem,
        };
        self.report.add(Place { line, section: &self.name, option: Some(written) }, problem);
    }

    /// Whether the file is one of our own, which is root's.
    pub(super) fn is_ours(&self) -> bool {
        self.ours
    }

    /// Whether a key is given.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// The text of a value.
    pub(super) fn text(&self, key: &'static str) -> Option<&str> {
        self.value(key).map(|v| v.text.as_str())
    }

    fn value(&self, key: &'static str) -> Option<&Value> {
        self.asked.borrow_mut().insert(key);
        self.values.get(key)
    }

    /// The value as `parse` reads it; after an error, which is said, the default is used.
    pub(super) fn get<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err(mut problem) => {
                problem.message.push_str("; the default is used");
                self.say(key, problem);
                None
            }
        }
    }

    /// The value as `parse` reads it; an error costs the file.
    pub(super) fn must<T>(
        &mut self,
        key: &'static str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        match parse(self.text(key)?) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.refuse(key, problem);
                None
            }
        }
    }

    /// As [`Hash::must`], and it has to be there; `of_what` needs it.
    pub(super) fn need<T>(
        &mut self,
        key: &'static str,
        of_what: &str,
        parse: impl FnOnce(&str) -> Result<T, Problem>,
    ) -> Option<T> {
        if !self.has(key) {
            let message = format!("{key} is missing, which {of_what} needs; {} is left out", self.name);
            self.refuse_whole(Problem::new(codes::HASH_MISSING, message));
        }
        self.must(key, parse)
    }

    /// Says something about a key.
    pub(super) fn say(&mut self, key: &'static str, problem: Problem) {
        let line = self.values.get(key).map_or(0, |v| v.line);
        let written = self.written.get(key).map_or(key, String::as_str);
        self.report.add(Place { line, section: &self.name, option: Some(written) }, problem);
    }

    /// Says what is wrong with a key without which the file means something else.
    pub(super) fn refuse(&mut self, key: &'static str, mut problem: Problem) {
        problem.message.push_str(&format!("; {} is left out", self.name));
        self.say(key, problem);
        self.left_out = true;
    }

    /// Says something about the file.
    pub(super) fn say_whole(&mut self, problem: Problem) {
        self.report.add(Place { section: &self.name, ..Place::default() }, problem);
    }

    /// Says what is wrong with the whole file.
    pub(super) fn refuse_whole(&mut self, problem: Problem) {
        self.say_whole(problem);
        self.left_out = true;
    }

    /// The report, for readers that are not about keys.
    pub(super) fn report(&mut self) -> &mut Report {
        &mut self.report
    }

    /// The place of the file.
    pub(super) fn location(&self) -> Location {
        self.report.location(0)
    }

    /// What was found.
    pub(super) fn finish(mut self) -> Vec<Diagnostic> {
        // Of a file that was given up half-way nobody knows what it would have needed.
        if self.ours && !self.left_out {
            self.say_unused();
        }
        self.report.finish()
    }

    /// Nothing is ignored silently.
    fn say_unused(&mut self) {
        let with = match self.text("TYPE") {
            Some(kind) => format!("with {}", show(kind)),
            None if self.has("MWAN_ENABLED") => "with MWAN_ENABLED".to_owned(),
            None => "here".to_owned(),
        };
        let asked = self.asked.take();
        let unused: Vec<&str> = self.values.keys().copied().filter(|key| !asked.contains(key)).collect();
        for key in unused {
            let message = format!("has no meaning {with}; it is ignored");
            self.say(key, Problem::new(codes::HASH_UNUSED, message));
        }
    }
}

/// `on` or `off`, in IPFire's words and others'.
pub(super) fn switch(text: &str) -> Result<bool, Problem> {
    crate::values::boolean(text)
        .map_err(|_| Problem::new(codes::BOOLEAN, format!("{} is neither on nor off", show(text))))
}
