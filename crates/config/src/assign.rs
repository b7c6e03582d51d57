//! Other values for single options of a configuration that is read: what `mwan replay --set` asks about.
//!
//! The text stays as it is. An option is known by the option table, and its value is judged by whoever reads the section, as if it
//! stood there.

use std::fmt;

use crate::options::{Dialect, SectionKind, options_of};
use crate::report::show;
use crate::suggest::nearest;
use crate::tables::TableNames;
use crate::uci::{Entry, Section};
use crate::{Diagnostic, Loaded};

/// Longest assignment, characters.
const LENGTH_MAX: usize = 1024;

/// `SECTION.OPTION=VALUE`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// Name of the section; `globals` (or `global`): that.
    pub section: String,
    /// Name of the option, as the format of the file has it.
    pub option: String,
    /// What it is to be.
    pub value: String,
}

/// Why an option cannot be set: one line, and what to do about it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unassignable {
    /// What is wrong.
    pub message: String,
    /// What might be meant.
    pub hint: String,
}

impl fmt::Display for Unassignable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Unassignable {}

impl std::str::FromStr for Assignment {
    type Err = String;

    /// The section may have dots in its name, the option has none.
    fn from_str(text: &str) -> Result<Self, String> {
        let usage = || "write SECTION.OPTION=VALUE, as in wan.down=3".to_owned();
        let (key, value) = text.split_once('=').filter(|_| text.len() <= LENGTH_MAX).ok_or_else(usage)?;
        let (section, option) = key.rsplit_once('.').ok_or_else(usage)?;
        if section.is_empty() || option.is_empty() || value.trim().is_empty() {
            return Err(usage());
        }
        Ok(Assignment { section: section.to_owned(), option: option.to_owned(), value: value.to_owned() })
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}={}", self.section, self.option, self.value)
    }
}

/// What is done with each section before it is read.
pub(crate) type Edit<'e> = &'e mut dyn FnMut(SectionKind, &str, &mut Section);

/// Nothing.
pub(crate) fn unchanged(_: SectionKind, _: &str, _: &mut Section) {}

/// A section that is not in the file.
pub(crate) fn nothing(kind: &str) -> Section {
    Section { kind: kind.to_owned(), name: None, line: 0, entries: Vec::new(), damaged: None }
}

/// Reads a configuration as [`crate::parse_with`] does, with other values for some options; the last one of an option counts.
///
/// # Errors
/// A section that is not there, an option that its kind has not, or a value that it cannot have.
pub fn parse_assigned(
    file_name: &str,
    bytes: &[u8],
    tables: &dyn Fn() -> TableNames,
    assignments: &[Assignment],
) -> Result<Loaded, Unassignable> {
    let dialect = crate::dialect_of(file_name);
    let (mut seen, mut used) = (Vec::new(), vec![None; assignments.len()]);
    let mut edit = |kind: SectionKind, name: &str, section: &mut Section| {
        seen.push(name.to_owned());
        for (assignment, used) in assignments.iter().zip(&mut used) {
            let globals =
                kind == SectionKind::Globals && ["globals", "global"].contains(&assignment.section.as_str());
            if globals || (kind != SectionKind::Globals && assignment.section == name) {
                // A WAN and a policy of mwan.toml may have one name: one of them having the option is enough.
                let assigned = assign(section, kind, dialect, assignment);
                if !matches!(used, Some(Ok(()))) {
                    *used = Some(assigned);
                }
            }
        }
    };
    let loaded = crate::parse_edited(file_name, bytes, tables, &mut edit);
    for (assignment, used) in assignments.iter().zip(used) {
        match used {
            Some(Ok(())) => {}
            Some(Err(hint)) => {
                let message =
                    format!("{} has no option {}", show(&assignment.section), show(&assignment.option));
                return Err(Unassignable { message, hint });
            }
            None => {
                let message = format!("the configuration has no section {}", show(&assignment.section));
                let near = nearest(&assignment.section, seen.iter().map(String::as_str));
                let hint = near.map_or_else(|| named(&seen), |name| format!("did you mean '{name}'?"));
                return Err(Unassignable { message, hint });
            }
        }
    }
    let before = crate::parse_with(file_name, bytes, tables);
    match new_trouble(&before.diagnostics, &loaded.diagnostics, assignments) {
        Some(trouble) => {
            let why = format!("{}: {}", trouble.section, trouble.message);
            let hint = trouble.hint.clone().unwrap_or_else(|| "docs/configuration.md".to_owned());
            Err(Unassignable { message: format!("that cannot be set: {why}"), hint })
        }
        None => Ok(loaded),
    }
}

/// The sections there are, as far as anybody reads on.
fn named(seen: &[String]) -> String {
    const SHOWN_MAX: usize = 12;
    let names: Vec<&str> =
        seen.iter().filter(|name| !name.is_empty()).map(String::as_str).take(SHOWN_MAX).collect();
    format!("it has: {}", names.join(", "))
}

/// Puts one value in the place of all that the section says of the option. On failure: what might be meant.
fn assign(section: &mut Section, kind: SectionKind, dialect: Dialect, to: &Assignment) -> Result<(), String> {
    let Some(doc) = options_of(kind).find(|o| o.names(dialect).any(|n| n == to.option)) else {
        let known: Vec<&str> = options_of(kind).flat_map(|o| o.names(dialect)).collect();
        let near = nearest(&to.option, known);
        return Err(near.map_or_else(
            || "docs/configuration.md lists them".to_owned(),
            |n| format!("did you mean '{n}'?"),
        ));
    };
    section.entries.retain(|entry| !doc.names(dialect).any(|name| name == entry.name));
    let (name, value) = (to.option.clone(), to.value.clone());
    section.entries.push(Entry { name, value, list: false, line: section.line });
    Ok(())
}

/// The first thing that is wrong with what was set, and was not before.
fn new_trouble<'d>(
    before: &[Diagnostic],
    after: &'d [Diagnostic],
    to: &[Assignment],
) -> Option<&'d Diagnostic> {
    let known = |d: &Diagnostic| {
        before.iter().any(|b| (b.code, &b.section, &b.message) == (d.code, &d.section, &d.message))
    };
    // What names no option is of the section as a whole: `reliability` above the number of targets.
    let concerned =
        |d: &Diagnostic| d.option.as_deref().is_none_or(|option| to.iter().any(|t| option == t.option));
    after.iter().find(|d| concerned(d) && !known(d))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    const UCI: &str = "config globals 'globals'\nconfig interface 'wan'\n\toption enabled '1'\n\toption down '5'\n\toption down '4'\n\
        config interface 'wanb'\n\toption enabled '1'\nconfig rule 'wan_only'\n\toption use_policy 'default'\n";
    const TOML: &str = "[wan.fiber]\ndevice = \"eth0\"\n[wan.\"lte.2\"]\ndevice = \"eth1\"\n";

    fn set(file: &str, text: &str, words: &[&str]) -> Result<Loaded, (String, String)> {
        let words: Vec<Assignment> = words.iter().map(|w| w.parse().unwrap()).collect();
        parse_assigned(file, text.as_bytes(), &TableNames::default, &words).map_err(|e| (e.message, e.hint))
    }

    #[test]
    fn what_is_set_is_read_as_if_it_stood_there() {
        let config = set("f", UCI, &["wan.down=3", "wan.timeout=1", "wanb.interval=500ms"]).unwrap().config;
        assert_eq!(
            (config.interfaces[0].tracking.down, config.interfaces[0].tracking.timeout.as_secs()),
            (3, 1)
        );
        assert_eq!(config.interfaces[1].tracking.interval, Duration::from_millis(500));
        let config = set("x.toml", TOML, &["lte.2.down=7", "global.logging=true"]).unwrap().config;
        assert_eq!((config.interfaces[1].tracking.down, config.globals.logging), (7, true));
        let uci = UCI.replacen("config globals 'globals'\n", "", 1);
        assert!(set("f", &uci, &["globals.logging=1"]).unwrap().config.globals.logging);
        assert_eq!(set("f", UCI, &[]).unwrap(), crate::parse("f", UCI.as_bytes()));
    }

    #[test]
    fn an_option_is_looked_for_in_every_section_of_the_name() {
        let text = "[wan.fiber]\ndevice = \"eth0\"\n[policy.fiber]\nprefer = [\"fiber\"]\n";
        let config = set("x.toml", text, &["fiber.down=7", "fiber.last_resort=blackhole"]).unwrap().config;
        assert_eq!(config.interfaces[0].tracking.down, 7);
        assert_eq!(config.policies[0].last_resort, crate::LastResort::Blackhole);
        assert!(set("x.toml", text, &["fiber.dwon=7"]).is_err());
    }

    #[test]
    fn what_makes_no_sense_with_the_rest_cannot_be_set() {
        let text = format!("{UCI}config interface 'lte'\n\toption enabled '1'\n\tlist track_ip '1.1.1.1'\n");
        let (message, _) = set("f", &text, &["lte.reliability=5"]).unwrap_err();
        assert!(message.contains("reliability 5 with 1 target of ipv4: always down"), "{message}");
    }

    #[test]
    fn a_mistake_is_one_line_with_a_hint() {
        let of = |file, text, word| set(file, text, &[word]).unwrap_err();
        let said = of("f", UCI, "wann.down=3");
        assert_eq!(said, ("the configuration has no section 'wann'".into(), "did you mean 'wan'?".into()));
        assert_eq!(of("f", UCI, "nothing_like.down=3").1, "it has: globals, wan, wanb, wan_only");
        assert_eq!(
            of("f", UCI, "wan.dwon=3"),
            ("'wan' has no option 'dwon'".into(), "did you mean 'down'?".into())
        );
        assert_eq!(of("x.toml", TOML, "fiber.track_ip=1").0, "'fiber' has no option 'track_ip'");
        let (message, hint) = of("f", UCI, "wan.down=many");
        assert!(
            message.starts_with("that cannot be set: interface 'wan'") && !hint.is_empty(),
            "{message} / {hint}"
        );
        for word in ["wan", "wan.down", "=3", ".down=3", "wan.=3", "wan.down="] {
            assert!(word.parse::<Assignment>().is_err(), "{word}");
        }
    }
}
