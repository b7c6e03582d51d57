//! Rewrites a UCI file: into mwan4's words, or as `mwan.toml`. Pure: text in, text out.
//!
//! Nothing is lost. Comments, order and layout stay; what the new format cannot say is kept as a comment and told of.
//! The text written means what the text read meant: the same [`crate::Config`] comes out of both (tests/migrate.rs).

mod mwan4;
mod toml;

use crate::uci::FILE_BYTES_MAX;

pub use mwan4::{MWAN4, Step};

/// A rewritten file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Migrated {
    /// The new text.
    pub text: String,
    /// What differs, in the order of the old file.
    pub notes: Vec<Note>,
}

/// Something that differs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Note {
    /// Line of the old file.
    pub line: u32,
    /// What.
    pub text: String,
}

impl Note {
    fn new(line: u32, text: impl Into<String>) -> Self {
        Note { line, text: text.into() }
    }
}

/// In mwan4's words: what its uci-defaults do, all of them.
///
/// # Errors
/// Text that is no UCI file as a whole, in words.
pub fn to_mwan4(file_name: &str, bytes: &[u8]) -> Result<Migrated, String> {
    mwan4_steps(file_name, bytes, MWAN4)
}

/// In mwan4's words, some steps only.
///
/// # Errors
/// Text that is no UCI file as a whole, in words.
pub fn mwan4_steps(file_name: &str, bytes: &[u8], steps: &[Step]) -> Result<Migrated, String> {
    Ok(mwan4::rewrite(readable(file_name, bytes)?, steps))
}

/// As `mwan.toml`.
///
/// # Errors
/// Text that is no UCI file as a whole, in words.
pub fn to_toml(file_name: &str, bytes: &[u8]) -> Result<Migrated, String> {
    let text = readable(file_name, bytes)?;
    Ok(toml::rewrite(&crate::parse_uci(file_name, bytes), text))
}

fn readable<'a>(file_name: &str, bytes: &'a [u8]) -> Result<&'a str, String> {
    if file_name.to_ascii_lowercase().ends_with(".toml") {
        return Err(format!("{file_name} is mwan.toml already; a UCI file is expected"));
    }
    if bytes.len() > FILE_BYTES_MAX {
        return Err(format!("{file_name} is larger than {FILE_BYTES_MAX} bytes"));
    }
    std::str::from_utf8(bytes).map_err(|e| format!("{file_name} is not UTF-8 text: {e}"))
}

/// Text of the file in a note: nothing that breaks the line or steers a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
