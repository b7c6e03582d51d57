//! Collects diagnostics while a file is read.

use std::sync::Arc;

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::model::Location;

/// Most diagnostics that are handed on: a person reads a few dozen; more only fills logs and memory.
pub(crate) const DIAGNOSTICS_MAX: usize = 1000;

/// More findings than this in a file without a readable section are told as one.
const GARBAGE_MIN: usize = 20;

/// Longest excerpt of a value in a message.
const EXCERPT_CHARS_MAX: usize = 60;

/// Something wrong with one value, not yet tied to a place.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Problem {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Problem { code, message: message.into(), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// Where a diagnostic belongs.
#[derive(Clone, Copy, Default)]
pub(crate) struct Place<'a> {
    pub(crate) line: u32,
    pub(crate) section: &'a str,
    pub(crate) option: Option<&'a str>,
}

/// The diagnostics of one file.
pub(crate) struct Report {
    file: Arc<str>,
    diagnostics: Vec<Diagnostic>,
    /// Members that no policy names: nothing else tells of them.
    pub(crate) unused_members: Vec<(String, Location)>,
}

impl Report {
    pub(crate) fn new(file: &str) -> Self {
        Report { file: Arc::from(file), diagnostics: Vec::new(), unused_members: Vec::new() }
    }

    pub(crate) fn location(&self, line: u32) -> Location {
        Location { file: self.file.clone(), line }
    }

    pub(crate) fn add(&mut self, place: Place<'_>, problem: Problem) {
        self.diagnostics.push(Diagnostic {
            severity: codes::severity(problem.code),
            code: problem.code,
            location: self.location(place.line),
            section: place.section.to_owned(),
            option: place.option.map(str::to_owned),
            message: problem.message,
            hint: problem.hint,
        });
    }

    /// Whether something of this code was found.
    pub(crate) fn has(&self, code: &str) -> bool {
        self.diagnostics.iter().any(|d| d.code == code)
    }

    pub(crate) fn extend(&mut self, diagnostics: Vec<Diagnostic>) {
        self.diagnostics.extend(diagnostics);
    }

    /// One diagnostic in place of many, if all of them are about the text itself.
    pub(crate) fn give_up(&mut self) {
        let count = self.diagnostics.len();
        if count <= GARBAGE_MIN || !self.diagnostics.iter().all(|d| d.code.starts_with("E01")) {
            return;
        }
        let Some(first) = self.diagnostics.drain(..).min_by_key(|d| d.location.line) else { return };
        let message =
            format!("nothing in this file can be read; {}, and so on {} times", first.message, count - 1);
        let place = Place { line: first.location.line, ..Place::default() };
        self.add(place, Problem::new(codes::GIVE_UP, message).hint("is this the right file?"));
    }

    /// All of them, sorted by line.
    pub(crate) fn sorted(mut self) -> Vec<Diagnostic> {
        sort(&mut self.diagnostics);
        self.diagnostics
    }

    /// Sorted by line, at most [`DIAGNOSTICS_MAX`] and one that says how many more there are.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        sort(&mut self.diagnostics);
        if self.diagnostics.len() > DIAGNOSTICS_MAX {
            let rest = self.diagnostics.split_off(DIAGNOSTICS_MAX);
            let errors = rest.iter().filter(|d| d.severity == Severity::Error).count();
            let message = format!("{} more findings are not shown, {errors} of them errors", rest.len());
            self.add(Place::default(), Problem::new(codes::MANY, message));
        }
        self.diagnostics
    }
}

/// Sorts by line, what is about a whole file first. In one place: every other closure would be a sort of its own in the binary.
pub(crate) fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|d| d.location.line);
}

/// A value as it may stand in a one-line message: quoted, escaped, cut.
pub(crate) fn show(value: &str) -> String {
    let mut cut: String = value.chars().take(EXCERPT_CHARS_MAX).collect();
    let dots = if cut.len() < value.len() { "…" } else { "" };
    cut = cut.escape_debug().to_string().replace("\\'", "'").replace("\\\"", "\"");
    format!("'{cut}{dots}'")
}

/// `a, b or c`.
pub(crate) fn or_list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let words: Vec<&str> = words.into_iter().collect();
    match words.split_last() {
        None => String::new(),
        Some((last, [])) => (*last).to_owned(),
        Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
    }
}
