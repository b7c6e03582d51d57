//! What is wrong with a configuration, and where.

use crate::model::Location;

/// How bad a diagnostic is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Something does not do what it seems to.
    Warning,
    /// Something was left out or replaced by its default; `mwan check` fails.
    Error,
}

impl Severity {
    /// `note`, `warning` or `error`.
    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }
}

/// One finding in a configuration.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// Stable code such as `E0102`; documented in `docs/diagnostics.md`.
    pub code: &'static str,
    /// File and line.
    pub location: Location,
    /// Kind and name of the section, as in `rule 'https'`; empty if none is meant.
    pub section: String,
    /// The option, if one is meant.
    pub option: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it, or the nearest valid word.
    pub hint: Option<String>,
}

impl std::fmt::Display for Diagnostic {
    /// `FILE:LINE: SEVERITY[CODE]: SECTION, option 'NAME': MESSAGE; hint: HINT`, always one line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", OneLine(&self.location.file))?;
        if self.location.line > 0 {
            write!(f, ":{}", self.location.line)?;
        }
        write!(f, ": {}[{}]: ", self.severity.name(), self.code)?;
        if !self.section.is_empty() {
            write!(f, "{}", OneLine(&self.section))?;
            f.write_str(if self.option.is_some() { ", " } else { ": " })?;
        }
        if let Some(option) = &self.option {
            write!(f, "option '{}': ", OneLine(option))?;
        }
        write!(f, "{}", OneLine(&self.message))?;
        if let Some(hint) = &self.hint {
            write!(f, "; hint: {}", OneLine(hint))?;
        }
        Ok(())
    }
}

/// Text with everything escaped that could break the line or steer a terminal.
struct OneLine<'a>(&'a str);

impl std::fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write;
        for c in self.0.chars() {
            match c {
                '\'' | '"' | '\\' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_debug())?,
            }
        }
        Ok(())
    }
}
