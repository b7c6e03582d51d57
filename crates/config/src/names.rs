//! Names that sections give to be referred to, and those that were given but not kept.

use std::collections::BTreeMap;

use crate::report::{Problem, show};
use crate::suggest::nearest;

/// Names of one kind of section.
#[derive(Default)]
pub(crate) struct Names {
    /// Line of the section, and whether it was kept.
    known: BTreeMap<String, (u32, bool)>,
}

impl Names {
    pub(crate) fn keep(&mut self, name: &str, line: u32) {
        self.known.insert(name.to_owned(), (line, true));
    }

    /// Remembers a section that was left out, unless one of that name was kept.
    pub(crate) fn leave_out(&mut self, name: &str, line: u32) {
        self.known.entry(name.to_owned()).or_insert((line, false));
    }

    /// A section that was kept is left out after all.
    pub(crate) fn revoke(&mut self, name: &str, line: u32) {
        self.known.insert(name.to_owned(), (line, false));
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        matches!(self.known.get(name), Some((_, true)))
    }

    /// Why `name` cannot be used, and what may have been meant.
    pub(crate) fn unknown<'a>(
        &'a self,
        code: &'static str,
        noun: &str,
        name: &str,
        consequence: &str,
        also: impl Iterator<Item = &'a str>,
    ) -> Problem {
        if let Some((line, false)) = self.known.get(name) {
            let message = format!("{noun} {} was left out; {consequence}", show(name));
            return Problem::new(code, message).hint(format!("see line {line}"));
        }
        let problem = Problem::new(code, format!("there is no {noun} {}; {consequence}", show(name)));
        let kept = self.known.iter().filter(|(_, (_, kept))| *kept).map(|(n, _)| n.as_str());
        match nearest(name, kept.chain(also)) {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None => problem,
        }
    }
}
