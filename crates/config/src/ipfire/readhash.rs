//! The `KEY=VALUE` files of IPFire, as its `readhash` takes them: as data. Nothing in a value is ever evaluated.

use std::collections::BTreeMap;

use super::keys::{self, FileKind};
use crate::codes;
use crate::report::{Place, Problem, Report, show};

/// Largest file, bytes. IPFire's own have a few hundred.
const FILE_BYTES_MAX: usize = 64 * 1024;
/// Longest line, bytes.
const LINE_BYTES_MAX: usize = 4096;

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Value {
    pub(super) text: String,
    pub(super) line: u32,
}

/// Reads a file; of a key given twice the last counts, as it does for a shell.
pub(super) fn parse(report: &mut Report, section: &str, bytes: &[u8]) -> BTreeMap<String, Value> {
    let mut values = BTreeMap::new();
    if bytes.len() > FILE_BYTES_MAX {
        let message = format!("{} bytes; the limit is {FILE_BYTES_MAX}", bytes.len());
        report.add(Place { section, ..Place::default() }, Problem::new(codes::FILE_LONG, message));
        return values;
    }
    for (index, bytes) in bytes.split(|b| *b == b'\n').enumerate() {
        // At most FILE_BYTES_MAX lines.
        let line = u32::try_from(index + 1).unwrap_or(u32::MAX);
        let place = Place { line, section, option: None };
        match read_line(bytes) {
            Ok(None) => {}
            Ok(Some((key, text))) => {
                let place = Place { option: Some(&key), ..place };
                if text.contains("$(") || text.contains('`') {
                    let message = "a command in a value is text, and is not run";
                    report.add(place, Problem::new(codes::HASH_COMMAND, message));
                }
                if values.contains_key(&key) {
                    report.add(place, Problem::new(codes::HASH_TWICE, "given before; this one counts"));
                }
                values.insert(key, Value { text, line });
            }
            Err(problem) => report.add(place, problem),
        }
    }
    values
}

/// One line; `None` if it says nothing.
pub(crate) fn read_line(bytes: &[u8]) -> Result<Option<(String, String)>, Problem> {
    let bad = |what: &str| Err(Problem::new(codes::HASH_LINE, what));
    if bytes.len() > LINE_BYTES_MAX {
        return bad(&format!("longer than {LINE_BYTES_MAX} bytes; it is skipped"));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => text.trim(),
        _ => return bad("not text; it is skipped"),
    };
    if text.is_empty() || text.starts_with('#') {
        return Ok(None);
    }
    let Some((key, rest)) = text.split_once('=') else {
        // The line may hold a password: what it says is not repeated.
        return bad("no KEY=VALUE; it is skipped");
    };
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    if key.is_empty()
        || key.len() > 64
        || !key.bytes().all(word)
        || key.starts_with(|c: char| c.is_ascii_digit())
    {
        return bad(&format!("{} is not a key; the line is skipped", show(key)));
    }
    Ok(Some((key.to_owned(), value(rest)?)))
}

/// What stands behind the `=`: quoted, or up to a comment.
fn value(text: &str) -> Result<String, Problem> {
    let Some(quote) = text.chars().next().filter(|c| matches!(c, '\'' | '"')) else {
        let end = text.find(" #").or_else(|| text.find("\t#")).unwrap_or(text.len());
        return Ok(text[..end].trim_end().to_owned());
    };
    let mut value = String::new();
    let mut rest = text[1..].chars();
    loop {
        match rest.next() {
            None => return Err(Problem::new(codes::HASH_LINE, "a quote is not closed; the line is skipped")),
            // 'it'\''s', the one way to have a quote in such a value.
            Some('\'') if quote == '\'' && rest.as_str().starts_with("\\''") => {
                value.push('\'');
                rest = rest.as_str()[3..].chars();
            }
            Some(c) if c == quote => break,
            Some('\\') if quote == '"' && rest.as_str().starts_with(['"', '\\', '$', '`']) => {
                value.extend(rest.next());
            }
            Some(c) => value.push(c),
        }
    }
    let rest = rest.as_str().trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err(Problem::new(codes::HASH_LINE, "something follows the closing quote; the line is skipped"))
    }
}

/// `text` with `key` set to `value`, which needs no quotes; everything else stays as it is, to the byte.
pub fn set_value(text: &[u8], key: &str, value: &str) -> Vec<u8> {
    let new = format!("{key}={value}");
    let is_it = |line: &&[u8]| {
        line.trim_ascii_start().strip_prefix(key.as_bytes()).is_some_and(|l| l.starts_with(b"="))
    };
    let lines: Vec<&[u8]> = text.split_inclusive(|b| *b == b'\n').collect();
    // The last one counts.
    let Some(at) = lines.iter().rposition(is_it) else {
        let gap: &[u8] = if text.is_empty() || text.ends_with(b"\n") { b"" } else { b"\n" };
        return [text, gap, new.as_bytes(), b"\n"].concat();
    };
    let line = lines[at];
    let comment = line.windows(2).position(|w| matches!(w[0], b' ' | b'\t') && w[1] == b'#');
    // Behind the value: blanks, a comment, and how the line ends.
    let rest = line[..comment.unwrap_or(line.len())].trim_ascii_end().len();
    [&lines[..at].concat(), new.as_bytes(), &line[rest..], &lines[at + 1..].concat()].concat()
}

/// A file as it may be shown: what must not be seen is replaced, and a line that cannot be read is left out.
pub fn shown(bytes: &[u8]) -> String {
    // Of a key that is not known nobody knows what is in it: it may be a misspelt password.
    let secret = |key: &str| {
        let known = FileKind::ALL.into_iter().find_map(|kind| keys::find(kind, key));
        known.is_none_or(|doc| matches!(doc.key, "PASSWORD" | "PIN"))
    };
    let lines = bytes.split(|b| *b == b'\n').filter_map(|line| read_line(line).ok()?);
    lines
        .map(|(key, value)| {
            if secret(&key) && !value.is_empty() {
                format!("{key}=…\n")
            } else {
                format!("{key}={value}\n")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> (Vec<(String, String)>, Vec<String>) {
        let mut report = Report::new("f");
        let values = parse(&mut report, "settings", text.as_bytes());
        let values = values.into_iter().map(|(k, v)| (k, v.text)).collect();
        (
            values,
            report
                .sorted()
                .into_iter()
                .map(|d| format!("{}:{} {}", d.location.line, d.code, d.message))
                .collect(),
        )
    }

    fn one(text: &str) -> String {
        let (values, found) = read(text);
        assert_eq!(found, Vec::<String>::new());
        let [(key, value)] = &values[..] else { panic!("{values:?}") };
        assert_eq!(key, "K");
        value.clone()
    }

    #[test]
    fn values_are_read_as_the_documents_and_ipfire_write_them() {
        assert_eq!(one("K=on                    # Enable MWAN system"), "on");
        assert_eq!(one("K=\"GSM\""), "GSM");
        assert_eq!(one("K='a b'  # c"), "a b");
        assert_eq!(one("# c\n\n  K=a#b\r\n"), "a#b");
        assert_eq!(one("K="), "");
        assert_eq!(one("K=\"\""), "");
        assert_eq!(one(r#"K='it'\''s'"#), "it's");
        assert_eq!(one(r#"K="a\"b\\c\$d""#), r#"a"b\c$d"#);
        assert_eq!(one("K=a=b"), "a=b");
        assert_eq!(one("K='*99#'"), "*99#");
    }

    #[test]
    fn a_command_is_text_and_is_said() {
        let (values, found) = read("K=$(reboot)\nL=`id`\nM=pa$$word");
        assert_eq!(values[0].1, "$(reboot)");
        assert_eq!(values[1].1, "`id`");
        assert_eq!(values[2].1, "pa$$word");
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].starts_with("1:W0802"), "{found:?}");
    }

    #[test]
    fn a_bad_line_costs_itself_and_nothing_of_it_is_repeated() {
        let (values, found) = read("secret words\nK='open\nL='a' b\n1K=1\nM=1\nM=2\n=1");
        assert_eq!(values, [("M".to_owned(), "2".to_owned())]);
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(!found.iter().any(|f| f.contains("secret")), "{found:?}");
        assert!(found.iter().filter(|f| f.contains("E0801")).count() == 5, "{found:?}");
    }

    #[test]
    fn a_value_is_set_and_nothing_else_is_touched() {
        let set = |text: &str, key, value| String::from_utf8(set_value(text.as_bytes(), key, value)).unwrap();
        assert_eq!(set("# c\nENABLED=off   # why\nX=1\n", "ENABLED", "on"), "# c\nENABLED=on   # why\nX=1\n");
        assert_eq!(
            set("A=1\r\nENABLED=\"off\"\t# x\r\nB=2", "ENABLED", "on"),
            "A=1\r\nENABLED=on\t# x\r\nB=2"
        );
        assert_eq!(set("", "ENABLED", "on"), "ENABLED=on\n");
        assert_eq!(set("MWAN_ENABLED=on\n", "ENABLED", "off"), "MWAN_ENABLED=on\nENABLED=off\n");
        assert_eq!(set("A=1\nA=2", "A", "3"), "A=1\nA=3");
        assert_eq!(set("B=\u{e4}", "A", "3"), "B=\u{e4}\nA=3\n");
        assert_eq!(set_value(b"B=\xff\nA=1\r\n", "A", "3"), b"B=\xff\nA=3\r\n");
    }

    #[test]
    fn a_file_is_shown_without_its_secrets() {
        let text = shown(b"TYPE=GSM\nBACKUP_PIN=\"4711\"\nPASSWORD='x y'\nbroken secret\nUSERNAME=u\n");
        assert_eq!(text, "TYPE=GSM\nBACKUP_PIN=…\nPASSWORD=…\nUSERNAME=u\n");
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            parse(&mut Report::new("f"), "s", &bytes);
        }
    }
}
