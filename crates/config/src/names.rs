//! Names that sections give to be referred to, and those that were given but not kept.

use std::cell::Cell;
use std::collections::BTreeMap;

use crate::report::{Problem, show};
use crate::suggest::nearest;

/// Names of one kind of section.
pub(crate) struct Names {
    /// How often a near name may still be looked for; that is the one step whose cost is a product.
    suggestions_left: Cell<u32>,
    /// Line of the section, and whether it was kept.
    known: BTreeMap<String, (u32, bool)>,
}

/// Suggestions per kind of name: more than anyone reads.
const SUGGESTIONS_MAX: u32 = 100;
/// Names compared for a suggestion.
const COMPARED_NAMES_MAX: usize = 1000;
/// Most names that a hint lists.
const LISTED_NAMES_MAX: usize = 6;

impl Default for Names {
    fn default() -> Self {
        Names { suggestions_left: Cell::new(SUGGESTIONS_MAX), known: BTreeMap::new() }
    }
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
            let problem = Problem::new(code, message);
            return if *line > 0 { problem.hint(format!("see line {line}")) } else { problem };
        }
        let problem = Problem::new(code, format!("there is no {noun} {}; {consequence}", show(name)));
        let left = self.suggestions_left.get();
        if left == 0 {
            return problem;
        }
        self.suggestions_left.set(left - 1);
        let kept = self.known.iter().filter(|(_, (_, kept))| *kept).map(|(n, _)| n.as_str());
        match nearest(name, also.chain(kept.take(COMPARED_NAMES_MAX))) {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None => match self.listed() {
                Some(list) => problem.hint(format!("there is {list}")),
                None => problem,
            },
        }
    }

    /// The names that can be used, if there are any and few enough to be read.
    fn listed(&self) -> Option<String> {
        let kept = self.known.iter().filter(|(_, (_, kept))| *kept);
        let names: Vec<String> = kept.take(LISTED_NAMES_MAX + 1).map(|(name, _)| show(name)).collect();
        (1..=LISTED_NAMES_MAX).contains(&names.len()).then(|| names.join(", "))
    }
}
