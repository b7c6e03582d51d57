//! Answers in a document: a command whose output is shown there, and is compared with what it says now. With `UPDATE_GOLDEN=1` the
//! document gets what it says.
//!
//! ````text
//! <!-- answer: NAME -->
//! ```text
//! $ mwan ARGUMENT…
//! OUTPUT
//! ```
//! <!-- end -->
//! ````

use std::fs;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::process::Output;

use crate::lab::Outcome;

/// What follows a number that another run has otherwise: times and amounts.
const UNITS: [&str; 18] = [
    "s",
    "ms",
    "min",
    "h",
    "d",
    "bytes",
    "packets",
    "rounds",
    "connections",
    "stay",
    "move",
    "are",
    "reset",
    "us",
    "answers",
    "missed",
    "left",
    "events",
];
/// A number of so many digits that stands alone is one the kernel gave: of a connection, of a process.
const GIVEN_DIGITS_MIN: usize = 5;

/// Compares what a command says with what the document shows under `name`.
pub(crate) fn compare(document: &Path, name: &str, arguments: &[String], out: &Output) -> Outcome {
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    let block = format!("\n```text\n$ mwan {}\n{}\n```\n", arguments.join(" "), said.trim_end());
    let shown = |e| format!("{}: {e}", document.display());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        update(document, name, &block).map_err(shown)?;
        return Ok("written".to_owned());
    }
    let text = fs::read_to_string(document).map_err(shown)?;
    let (from, to) = place(&text, name).ok_or_else(|| missing(document, name))?;
    if comparable(&text[from..to]) == comparable(&block) {
        return Ok(String::new());
    }
    let (old, new) = (&text[from..to], &block);
    Err(format!("{} shows for {name}:{old}but it is:{new}UPDATE_GOLDEN=1 writes it anew", document.display()))
}

/// Several scenarios may do so at once.
fn update(document: &Path, name: &str, block: &str) -> std::io::Result<()> {
    let mut file = fs::File::options().read(true).write(true).open(document)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let (from, to) = place(&text, name).ok_or_else(|| std::io::Error::other(missing(document, name)))?;
    text.replace_range(from..to, block);
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(text.as_bytes())
}

fn missing(document: &Path, name: &str) -> String {
    format!("{} has no <!-- answer: {name} --> with an <!-- end --> behind it", document.display())
}

/// Where the answer is: behind its first line, up to its last one.
fn place(text: &str, name: &str) -> Option<(usize, usize)> {
    let begin = format!("<!-- answer: {name} -->");
    let from = text.find(&begin)? + begin.len();
    let to = from + text[from..].find("<!-- end -->")?;
    Some((from, to))
}

/// RFC 3339, whole seconds or tenths, UTC.
fn is_stamp(word: &str) -> bool {
    (word.len() == 20 || word.len() == 22 && word.as_bytes()[19] == b'.')
        && word.ends_with('Z')
        && word.as_bytes()[10] == b'T'
}

/// The same for two runs that differ in nothing that matters.
fn comparable(text: &str) -> String {
    let line = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
        let trimmed = |word: &str| word.trim_end_matches([',', ':', '.', ';', ')']).to_owned();
        let one = |(at, word): (usize, &&str)| {
            let next = |by: usize| words.get(at + by).map(|next| trimmed(next)).unwrap_or_default();
            let unit = UNITS.contains(&next(1).as_str()) || next(1) == "%" && next(2) == "lost";
            let bare = trimmed(word);
            let decimal = bare.split_once('.').is_some_and(|(whole, rest)| number(whole) && number(rest));
            if is_stamp(&bare) {
                return word.replacen(&bare, "T", 1);
            }
            // A port that a client was given.
            let port = bare.rsplit_once(':').map(|(_, port)| port.to_owned());
            if let Some(port) = port.filter(|port| number(port) && port.len() >= GIVEN_DIGITS_MIN) {
                return word.replacen(&format!(":{port}"), ":N", 1);
            }
            match decimal && unit || number(&bare) && (unit || bare.len() >= GIVEN_DIGITS_MIN) {
                true => word.replacen(&bare, "N", 1),
                false => (*word).to_owned(),
            }
        };
        words.iter().enumerate().map(one).collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_given_numbers_vary_and_nothing_else_does() {
        let same = |a: &str, b: &str| comparable(a) == comparable(b);
        assert!(same("kept on wan for 598 s more", "kept on wan for 7 s more"));
        assert!(same("flow 3012345678: mark 0x100", "flow 12345: mark 0x100"));
        assert!(same("tcp 192.168.1.2:15220 ->", "tcp 192.168.1.2:48001 ->"));
        assert!(same("a    b", "a b"));
        assert!(same("3  2026-11-26T14:03:21Z  edited", "3  2027-01-01T00:00:00Z  edited"));
        assert!(same(
            "# of 12 connections 8 stay, 0 move, 4 are reset",
            "# of 9 connections 7 stay, 0 move, 2 are reset"
        ));
        assert!(same("2026-11-26T14:03:21.7Z wan", "2027-01-01T00:00:00.0Z wan"));
        assert!(same("seen after 0.6 s, 3 % lost", "seen after 0.7 s, 12 % lost"));
        assert!(!same("via 100.64", "via 100.65"));
        assert!(!same("mark 0x100", "mark 0x200"));
        assert!(!same("wan 60 %", "wan 40 %"));
        assert!(!same("table 1, via 100.64.1.1", "table 2, via 100.64.1.1"));
        assert!(!same("to 1.1.1.1:443", "to 1.1.1.1:444"));
    }

    #[test]
    fn an_answer_is_found_by_its_name() {
        let text = "x\n<!-- answer: a -->\nA\n<!-- end -->\n<!-- answer: ab -->\nB\n<!-- end -->\n";
        assert_eq!(place(text, "a").map(|(from, to)| &text[from..to]), Some("\nA\n"));
        assert_eq!(place(text, "ab").map(|(from, to)| &text[from..to]), Some("\nB\n"));
        assert_eq!(place(text, "c"), None);
    }
}
