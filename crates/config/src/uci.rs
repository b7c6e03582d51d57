//! The UCI grammar: text in, sections out. Follows libuci (`file.c`) with three differences: one bad line
//! costs that line and not the file; everything is bounded; and text right behind a quoted value of several
//! lines (`'a⏎b'c`) is an error, because in practice it is a forgotten quote that has met the next one.
//!
//! - A line holds commands separated by `;`: `package NAME`, `config TYPE [NAME]`, `option NAME VALUE`,
//!   `list NAME VALUE`, or their first letters, as libuci takes them.
//! - Words end at white space. `'…'` is literal, `"…"` and bare text take `\` before any character, and
//!   pieces without space between them are one word: `'it'\''s`. Quoted text may run over several lines;
//!   a `\` at the end of a line joins it with the next.
//! - `#` outside of quotes begins a comment.
//! - A command that cannot be read gives one diagnostic at the line it begins on, and reading goes on
//!   with the line after that one. So a forgotten quote does not swallow the rest of the file.

use std::ops::Range;

use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::report::{Place, Problem, Report, show};
use crate::suggest::nearest;

/// Largest file that is read, bytes. The largest configurations seen have a few thousand lines; this is
/// a hundred times that and still parsed in a blink on a router.
pub const FILE_BYTES_MAX: usize = 4 << 20;
/// Longest word or value, bytes: some 4000 addresses in one rule.
pub const WORD_BYTES_MAX: usize = 64 << 10;
/// Most sections: ten times the largest rule set anyone measured with.
pub const SECTIONS_MAX: usize = 20_000;
/// Most unreadable lines before the file is given up: after that it is no configuration. It also bounds
/// the work, since each of them may look ahead over [`WORD_BYTES_MAX`] bytes.
pub const BAD_LINES_MAX: usize = 1000;
/// Longest name of a section or option, bytes.
pub const NAME_BYTES_MAX: usize = 255;

/// A `config` line and what follows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// The type, as in `config interface`.
    pub kind: String,
    /// The name; `None` for an anonymous section.
    pub name: Option<String>,
    /// Line of the `config` word.
    pub line: u32,
    /// Options and list items in the order of the file.
    pub entries: Vec<Entry>,
    /// Line of the first command in this section that could not be read.
    pub damaged: Option<u32>,
}

/// One `option` or `list` line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Its value, quotes removed.
    pub value: String,
    /// Whether it was a `list` line.
    pub list: bool,
    /// The line it begins on.
    pub line: u32,
}

/// Reads UCI text. Never panics; what cannot be read is in the diagnostics.
pub fn parse(file_name: &str, bytes: &[u8]) -> (Vec<Section>, Vec<Diagnostic>) {
    let too_long = bytes.len() > FILE_BYTES_MAX;
    let mut parser = Parser {
        // A part of a file means something else than the whole.
        rest: Cursor { bytes: if too_long { &[] } else { without_mark(bytes) }, at: 0, line: 1 },
        report: Report::new(file_name),
        sections: Vec::new(),
        open: Open::None,
        bad_lines: 0,
    };
    if too_long {
        let message = format!("{} bytes; the limit is {FILE_BYTES_MAX}", bytes.len());
        parser.report.add(Place::default(), Problem::new(codes::FILE_LONG, message));
    }
    parser.run();
    (parser.sections, parser.report.sorted())
}

/// `value` as a UCI word that reads back as the same value.
pub fn quote(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// Without the byte order mark that some editors write.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

/// Where the next option goes.
enum Open {
    /// Before the first section.
    None,
    /// The last section of the list.
    Last,
    /// Nowhere: the header of this section could not be read.
    Skipped,
}

struct Parser<'a> {
    rest: Cursor<'a>,
    report: Report,
    sections: Vec<Section>,
    open: Open,
    bad_lines: usize,
}

impl Parser<'_> {
    fn run(&mut self) {
        loop {
            self.rest.skip_blank();
            if self.rest.peek().is_none() {
                return;
            }
            let begin = self.rest;
            match self.rest.command() {
                Ok(words) => {
                    let words = words.into_iter().map(|w| w.text).collect();
                    if let Err(problem) = self.command(begin.line, words) {
                        // A command over several lines that is wrong is most often a missing quote.
                        self.resume_after(begin, self.rest.line > begin.line + 1);
                        self.bad(begin, problem);
                    }
                }
                Err(problem) => {
                    self.resume_after(begin, true);
                    self.bad(begin, problem);
                }
            }
            if self.bad_lines > BAD_LINES_MAX {
                let message = format!("more than {BAD_LINES_MAX} lines cannot be read");
                let place = Place { line: begin.line, ..Place::default() };
                self.report.add(place, Problem::new(codes::GIVE_UP, message));
                return;
            }
            if self.sections.len() > SECTIONS_MAX {
                let line = self.sections.pop().map_or(0, |s| s.line);
                let message = format!("more than {SECTIONS_MAX} sections");
                self.report.add(Place { line, ..Place::default() }, Problem::new(codes::SECTIONS, message));
                return;
            }
        }
    }

    /// Goes on with the line after the one at `begin`.
    fn resume_after(&mut self, begin: Cursor<'_>, needed: bool) {
        if needed {
            (self.rest.at, self.rest.line) = (begin.at, begin.line);
            self.rest.skip_line();
        }
    }

    /// Reports a command that cannot be read and marks the section it stands in.
    fn bad(&mut self, mut begin: Cursor<'_>, problem: Problem) {
        self.bad_lines += 1;
        let line = begin.line;
        let section = match self.open {
            Open::Last => self.sections.last_mut(),
            Open::None | Open::Skipped => None,
        };
        let Some(section) = section else {
            return self.report.add(Place { line, ..Place::default() }, problem);
        };
        section.damaged.get_or_insert(line);
        let name = section.name.as_deref().map(show).unwrap_or_default();
        let label = format!("{} {name}", section.kind);
        // Which option it was to be, if that much of the line can be read.
        let keyword = begin.word().is_ok_and(|word| matches!(word.as_str(), "option" | "o" | "list" | "l"));
        while begin.peek().is_some_and(|b| is_space(b) && b != b'\n') {
            begin.next();
        }
        let option = begin.word().ok().filter(|word| keyword && is_name(word));
        self.report.add(Place { line, section: label.trim_end(), option: option.as_deref() }, problem);
    }

    fn command(&mut self, line: u32, words: Vec<String>) -> Result<(), Problem> {
        let mut words = words.into_iter();
        let Some(keyword) = words.next() else { return Ok(()) };
        let arguments: Vec<String> = words.collect();
        match keyword.as_str() {
            "package" | "p" => expect_words("package", &arguments, 1, 1),
            "config" | "c" => self.config(line, arguments),
            "option" | "o" => self.entry(line, arguments, false),
            "list" | "l" => self.entry(line, arguments, true),
            _ => Err(unknown_keyword(&keyword)),
        }
    }

    fn config(&mut self, line: u32, arguments: Vec<String>) -> Result<(), Problem> {
        // Until the header turns out good: what follows a bad one must not land in the section before.
        self.open = Open::Skipped;
        expect_words("config", &arguments, 1, 2)?;
        let mut arguments = arguments.into_iter();
        let kind = arguments.next().unwrap_or_default();
        let name = arguments.next().filter(|n| !n.is_empty());
        let kind_ok =
            kind.bytes().all(|b| b.is_ascii_graphic()) && (1..=NAME_BYTES_MAX).contains(&kind.len());
        if !kind_ok {
            return Err(Problem::new(codes::NAME, format!("{} is not a section type", show(&kind))));
        }
        if let Some(name) = name.as_deref().filter(|n| !is_name(n)) {
            let message = format!("{} is not a section name; the section is left out", show(name));
            return Err(Problem::new(codes::NAME, message).hint("use A-Z, a-z, 0-9 and _"));
        }
        self.sections.push(Section { kind, name, line, entries: Vec::new(), damaged: None });
        self.open = Open::Last;
        Ok(())
    }

    fn entry(&mut self, line: u32, arguments: Vec<String>, list: bool) -> Result<(), Problem> {
        if let Open::Skipped = self.open {
            return Ok(()); // its header has been reported
        }
        expect_words(if list { "list" } else { "option" }, &arguments, 2, 2)?;
        let mut arguments = arguments.into_iter();
        let (name, value) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
        if !is_name(&name) {
            return Err(Problem::new(codes::NAME, format!("{} is not an option name", show(&name))));
        }
        let Some(section) = self.sections.last_mut() else {
            return Err(Problem::new(
                codes::OUTSIDE,
                format!("{} stands before the first section", show(&name)),
            ));
        };
        section.entries.push(Entry { name, value, list, line });
        Ok(())
    }
}

/// What libuci takes as the name of a section or option.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn unknown_keyword(keyword: &str) -> Problem {
    let problem = Problem::new(codes::BAD_LINE, format!("{} is not a UCI command", show(keyword)));
    match nearest(keyword, ["config", "option", "list", "package"]) {
        Some(word) => problem.hint(format!("did you mean '{word}'?")),
        None => problem,
    }
}

fn expect_words(keyword: &str, arguments: &[String], min: usize, max: usize) -> Result<(), Problem> {
    if arguments.len() < min {
        let what = if arguments.is_empty() { "a name" } else { "a value" };
        return Err(Problem::new(codes::WORDS, format!("'{keyword}' without {what}")));
    }
    match arguments.get(max) {
        None => Ok(()),
        Some(surplus) => Err(Problem::new(codes::WORDS, format!("surplus word {}", show(surplus)))
            .hint("a value with spaces needs quotes")),
    }
}

/// A word of a command, unquoted, and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) span: Range<usize>,
}

/// A command that can be read, for those who rewrite a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Command {
    /// Keyword (its whole form) and arguments.
    pub(crate) words: Vec<Word>,
    /// The line it begins on.
    pub(crate) line: u32,
}

impl Command {
    /// From the first to the last word.
    pub(crate) fn span(&self) -> Range<usize> {
        let first = self.words.first().map_or(0, |w| w.span.start);
        first..self.words.last().map_or(first, |w| w.span.end)
    }

    /// Word `n`; 0 is the keyword.
    pub(crate) fn word(&self, n: usize) -> &str {
        self.words.get(n).map_or("", |w| w.text.as_str())
    }
}

/// The commands of a text in its order, as [`parse`] understands them; what it cannot read is not among them. Positions
/// are those in `text`.
pub(crate) fn commands(text: &str) -> Vec<Command> {
    let mut at = Cursor { bytes: text.as_bytes(), at: 0, line: 1 };
    if text.starts_with('\u{feff}') {
        at.at = '\u{feff}'.len_utf8();
    }
    let mut found = Vec::new();
    loop {
        at.skip_blank();
        if at.peek().is_none() {
            return found;
        }
        let begin = at;
        let command = at.command().ok().and_then(|words| readable(words, begin.line));
        match command {
            Some(command) => found.push(command),
            None => {
                // As `Parser::resume_after`: with the line after the one it begins on.
                at = begin;
                at.skip_line();
            }
        }
    }
}

/// A command with the right number of good words.
fn readable(mut words: Vec<Word>, line: u32) -> Option<Command> {
    let keyword = match words.first()?.text.as_str() {
        "package" | "p" => "package",
        "config" | "c" => "config",
        "option" | "o" => "option",
        "list" | "l" => "list",
        _ => return None,
    };
    let good = match (keyword, words.len()) {
        ("package", 2) => true,
        ("config", 2) => true,
        ("config", 3) => words[2].text.is_empty() || is_name(&words[2].text),
        ("option" | "list", 3) => is_name(&words[1].text),
        _ => false,
    };
    words[0].text = keyword.to_owned();
    good.then_some(Command { words, line })
}

/// A place in the text. Copied to be able to return to it.
#[derive(Clone, Copy)]
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        if byte == b'\n' {
            self.line = self.line.saturating_add(1);
        }
        Some(byte)
    }

    /// To the first byte of the next line.
    fn skip_line(&mut self) {
        while let Some(byte) = self.next() {
            if byte == b'\n' {
                return;
            }
        }
    }

    /// Over space, empty lines, stray `;` and comments.
    fn skip_blank(&mut self) {
        while let Some(byte) = self.peek() {
            match byte {
                b'#' => self.skip_line(),
                b';' => self.at += 1,
                b if is_space(b) => drop(self.next()),
                _ => return,
            }
        }
    }

    /// The words up to the end of the line or a `;`.
    fn command(&mut self) -> Result<Vec<Word>, Problem> {
        let mut words = Vec::new();
        loop {
            while let Some(byte) = self.peek().filter(|b| is_space(*b)) {
                self.next();
                if byte == b'\n' {
                    return Ok(words);
                }
            }
            match self.peek() {
                None => return Ok(words),
                Some(b';') => {
                    self.at += 1;
                    return Ok(words);
                }
                Some(b'#') => self.skip_comment(),
                Some(b'\\') if self.skip_continuation() => {}
                // libuci ends after four words, too; collecting more would only cost memory.
                Some(_) => {
                    let start = self.at;
                    let text = self.word()?;
                    if words.len() < 4 {
                        words.push(Word { text, span: start..self.at });
                    }
                }
            }
        }
    }

    /// Up to, not over, the end of the line.
    fn skip_comment(&mut self) {
        while self.peek().is_some_and(|b| b != b'\n') {
            self.at += 1;
        }
    }

    /// `\` before a line end joins the lines.
    fn skip_continuation(&mut self) -> bool {
        let after = &self.bytes[(self.at + 1).min(self.bytes.len())..];
        let width = match after {
            [b'\n', ..] => 2,
            [b'\r', b'\n', ..] => 3,
            _ => return false,
        };
        for _ in 0..width {
            self.next();
        }
        true
    }

    fn word(&mut self) -> Result<String, Problem> {
        let mut word = Vec::new();
        while let Some(byte) = self.peek() {
            match byte {
                b'\'' | b'"' => self.quoted(byte, &mut word)?,
                b'#' | b';' => break,
                b if is_space(b) => break,
                b'\\' => self.escaped(&mut word),
                other => {
                    word.push(other);
                    self.at += 1;
                }
            }
            check_length(&word)?;
        }
        if word.contains(&0) {
            return Err(Problem::new(codes::BYTES, "the line holds a NUL byte"));
        }
        String::from_utf8(word).map_err(|_| Problem::new(codes::BYTES, "the line is not UTF-8 text"))
    }

    fn quoted(&mut self, mark: u8, word: &mut Vec<u8>) -> Result<(), Problem> {
        let line = self.line;
        self.at += 1;
        loop {
            match self.peek() {
                None => return Err(Problem::new(codes::OPEN_QUOTE, "the quoted value is never closed")),
                Some(b) if b == mark => {
                    self.at += 1;
                    // Only `'\''` may follow a quoted text of several lines.
                    let ends = self.peek().is_none_or(|b| is_space(b) || b"\\;#".contains(&b));
                    if self.line > line && !ends {
                        return Err(Problem::new(codes::OPEN_QUOTE, "the quoted value is not closed")
                            .hint("a quote is missing in this line"));
                    }
                    return Ok(());
                }
                Some(b'\\') if mark == b'"' => self.escaped(word),
                Some(b) => {
                    word.push(b);
                    self.next();
                }
            }
            check_length(word)?;
        }
    }

    /// At a `\`: the next character as it is.
    fn escaped(&mut self, word: &mut Vec<u8>) {
        if self.skip_continuation() {
            return;
        }
        self.at += 1;
        word.extend(self.next());
    }
}

fn check_length(word: &[u8]) -> Result<(), Problem> {
    if word.len() <= WORD_BYTES_MAX {
        return Ok(());
    }
    Err(Problem::new(codes::WORD_LONG, format!("a value is longer than {WORD_BYTES_MAX} bytes"))
        .hint("is a quote missing?"))
}

/// C's `isspace`.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c)
}

#[cfg(test)]
#[path = "uci_tests.rs"]
mod tests;
