//! Whether a configuration may take the place of the one in force.

use crate::Loaded;
use crate::diagnostic::{Diagnostic, Severity};

/// The file of a set is missing, too large, or none: others write it, and it costs its set alone.
const SET_FILE: &str = "E0712";

impl Loaded {
    /// Why this must not take the place of a configuration that works, of which `in_force` are the diagnostics: it has an
    /// error which that one had not, or no interface at all, which is a file that was cut short or emptied (who wants mwan to
    /// do nothing says `option enabled '0'`, or stops it). An error that is in force already costs what it has cost
    /// before; it must not keep the owner from changing anything else.
    pub fn refusal(&self, in_force: &[Diagnostic]) -> Option<String> {
        let is_new = |error: &&Diagnostic| !in_force.iter().any(|other| is_same(error, other));
        let of_file = |d: &&Diagnostic| d.severity == Severity::Error && d.code != SET_FILE;
        if let Some(error) = self.diagnostics.iter().filter(of_file).find(is_new) {
            return Some(error.to_string());
        }
        (self.config.interfaces.is_empty() && self.config.globals.enabled)
            .then(|| "it has no interface section".to_owned())
    }
}

/// The same mistake, whatever file and line it has by now.
fn is_same(a: &Diagnostic, b: &Diagnostic) -> bool {
    (a.code, &a.section, &a.option, &a.message) == (b.code, &b.section, &b.option, &b.message)
}

#[cfg(test)]
mod tests {
    use crate::parse;

    const GOOD: &str = "config interface 'wan'\n\toption enabled '1'\n";
    const TYPO: &str = "config rule 'r'\n\toption proto 'tpc'\n\toption use_policy 'default'\n";
    const OTHER: &str = "config rule 's'\n\toption proto 'upd'\n\toption use_policy 'default'\n";

    /// Configuration in force, the next one, what the refusal says.
    #[test]
    fn only_what_is_new_is_refused() {
        let both = |a: &str, b: &str| format!("{a}{b}");
        for (in_force, next, refusal) in [
            (GOOD.to_owned(), GOOD.to_owned(), None),
            (GOOD.to_owned(), both(GOOD, TYPO), Some("tpc")),
            (both(GOOD, TYPO), both(GOOD, TYPO), None),
            // Lines before it do not make it another.
            (both(GOOD, TYPO), format!("\n\n{GOOD}\toption down '5'\n{TYPO}"), None),
            (both(GOOD, TYPO), format!("{GOOD}{TYPO}{OTHER}"), Some("upd")),
            (both(GOOD, TYPO), both(GOOD, OTHER), Some("upd")),
            (both(GOOD, TYPO), GOOD.to_owned(), None),
            (GOOD.to_owned(), String::new(), Some("no interface section")),
            (String::new(), String::new(), Some("no interface section")),
            (GOOD.to_owned(), "config globals 'globals'\n\toption enabled '0'\n".to_owned(), None),
        ] {
            let in_force = parse("mwan3", in_force.as_bytes());
            let why = parse("mwan3", next.as_bytes()).refusal(&in_force.diagnostics);
            let fits = match (&why, refusal) {
                (Some(why), Some(word)) => why.contains(word),
                (why, refusal) => why.is_none() && refusal.is_none(),
            };
            assert!(fits, "{next}: {why:?}");
        }
    }
}
