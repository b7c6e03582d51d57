#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

/// Lines and codes of diagnostics.
type Codes = Vec<(u32, &'static str)>;

/// Names and values of all options, and what is wrong.
fn read(text: &str) -> (Vec<(String, String)>, Codes) {
    let (sections, diagnostics) = parse("f", text.as_bytes());
    let entries = sections.into_iter().flat_map(|s| s.entries).map(|e| (e.name, e.value)).collect();
    (entries, codes(&diagnostics))
}

fn codes(diagnostics: &[Diagnostic]) -> Codes {
    diagnostics.iter().map(|d| (d.location.line, d.code)).collect()
}

/// The value of `option v …` as written.
fn value(written: &str) -> String {
    let (entries, codes) = read(&format!("config t\n\toption v {written}\n"));
    assert_eq!(codes, [], "{written}");
    assert_eq!(entries.len(), 1, "{written}");
    entries[0].1.clone()
}

#[test]
fn quoting() {
    for (written, meant) in [
        ("bare", "bare"),
        ("'single'", "single"),
        (r#""double""#, "double"),
        ("'with space'", "with space"),
        (r"with\ space", "with space"),
        (r"'it'\''s'", "it's"),
        (r#""it's""#, "it's"),
        (r#"'say "hi"'"#, r#"say "hi""#),
        (r#""say \"hi\"""#, r#"say "hi""#),
        (r"'back\slash'", r"back\slash"),
        (r#""back\\slash""#, r"back\slash"),
        (r"\\", r"\"),
        ("''", ""),
        (r#""""#, ""),
        (r#"a'b'"c"d"#, "abcd"),
        ("'two\nlines'", "two\nlines"),
        ("\"two\nlines\"", "two\nlines"),
        ("\"joined \\\nlines\"", "joined lines"),
        ("joined\\\nword", "joinedword"),
        ("\\\n\t'on the next line'", "on the next line"),
        ("'semi;colon # hash'", "semi;colon # hash"),
        ("x # comment", "x"),
        ("x#comment", "x"), // as libuci has it
        ("x;", "x"),
        ("ünïcode", "ünïcode"),
        ("'tab\there'", "tab\there"),
    ] {
        assert_eq!(value(written), meant, "{written}");
    }
}

#[test]
fn commands() {
    let text = "package mwan3\nconfig t n; option a 1; list b 2;list b 3;;\nc t2\no a 1\nl b 2\n";
    let (sections, diagnostics) = parse("f", text.as_bytes());
    assert_eq!(diagnostics, []);
    assert_eq!(sections.len(), 2);
    assert_eq!(
        (sections[0].kind.as_str(), sections[0].name.as_deref(), sections[0].line),
        ("t", Some("n"), 2)
    );
    assert_eq!(sections[0].entries.iter().map(|e| e.list).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!((sections[1].name.as_deref(), sections[1].line), (None, 3));
    assert_eq!(sections[1].entries.len(), 2);
}

#[test]
fn layout_does_not_matter() {
    let plain = "config t 'n'\n\toption a 'x y'\n\tlist b 'z'\n";
    let (expected, _) = parse("f", plain.as_bytes());
    for other in [
        plain.trim_end().to_owned(),
        plain.replace('\n', "\r\n"),
        plain.replace('\t', "    "),
        plain.replace(' ', "\t").replace("x\ty", "x y"),
        format!("\u{feff}{plain}"),
        plain.replace('\'', "\""),
    ] {
        let (sections, diagnostics) = parse("f", other.as_bytes());
        assert_eq!((&sections, diagnostics.len()), (&expected, 0), "{other:?}");
    }
}

#[test]
fn lines_are_those_of_the_file() {
    let text = "# 1\n\nconfig t 'n' # 3\n\toption a 'x\ny'\n\toption b \\\n 1\n\toption c 1\n";
    let (sections, _) = parse("f", text.as_bytes());
    let lines: Vec<u32> = sections[0].entries.iter().map(|e| e.line).collect();
    assert_eq!((sections[0].line, lines), (3, vec![4, 6, 8]));
}

#[test]
fn a_bad_line_costs_itself() {
    for (bad, code) in [
        ("optoin x 1", "E0101"),
        ("{", "E0101"),
        ("option x 'open", "E0102"),
        ("option x \"open", "E0102"),
        ("option", "E0103"),
        ("option x", "E0103"),
        ("option x 1 2", "E0103"),
        ("package", "E0103"),
        ("option x '\0'", "E0105"),
        ("option x-y 1", "E0111"),
    ] {
        let text = format!("config t n\n\toption a 1\n\t{bad}\n\toption b 2\nconfig t m\n\toption c 3\n");
        let (entries, codes) = read(&text);
        assert_eq!(codes, [(3, code)], "{bad}");
        assert_eq!(entries.iter().map(|e| e.0.as_str()).collect::<Vec<_>>(), ["a", "b", "c"], "{bad}");
    }
}

#[test]
fn a_forgotten_quote_costs_its_line() {
    // Twice, so that the quotes pair up again: neither may swallow what is between them.
    let text = "config t n\n\toption a 'x\n\toption b 'y'\nconfig t m\n\toption c z'\n\toption d 'w'\n";
    let (entries, codes) = read(text);
    assert_eq!(codes, [(2, "E0102"), (5, "E0102")]);
    assert_eq!(entries, [("b".into(), "y".into()), ("d".into(), "w".into())]);
}

#[test]
fn options_of_a_bad_section_do_not_land_in_the_one_before() {
    let (sections, diagnostics) = parse("f", b"config t a\nconfig t 'b c'\n\toption x 1\nconfig t d\n");
    assert_eq!(codes(&diagnostics), [(2, "E0111")]);
    assert!(sections.iter().all(|s| s.entries.is_empty()));
    assert_eq!(sections.len(), 2);
}

#[test]
fn bytes_that_are_not_text() {
    let (sections, diagnostics) =
        parse("f", b"# caf\xE9 is harmless here\nconfig t n\n\toption a 'caf\xE9'\n\toption b 1\n");
    assert_eq!(codes(&diagnostics), [(3, "E0105")]);
    assert_eq!(sections[0].entries.len(), 1);
    let garbage: Vec<u8> = (0..=255u8).cycle().take(100_000).collect();
    let (_, diagnostics) = parse("f", &garbage);
    assert!(!diagnostics.is_empty());
}

#[test]
fn limits() {
    let long = "x".repeat(1 << 20);
    let (entries, codes) =
        read(&format!("config t n\n\toption a '{long}'\n\toption b 1\n# {long}\n\toption c 1\n"));
    assert_eq!(codes, [(2, "E0106")]);
    assert_eq!(entries.len(), 2, "a long comment is harmless");

    let name = "n".repeat(NAME_BYTES_MAX);
    assert_eq!(read(&format!("config t {name}\n\toption {name} 1\n")).1, []);
    assert_eq!(read(&format!("config t {name}n\n")).1, [(1, "E0111")]);

    let (sections, diagnostics) = parse("f", "config t\n".repeat(SECTIONS_MAX + 5).as_bytes());
    assert_eq!(sections.len(), SECTIONS_MAX);
    assert_eq!(codes_of(&diagnostics), ["E0108"]);

    let (_, diagnostics) = parse("f", "zebra\n".repeat(BAD_LINES_MAX * 3).as_bytes());
    assert_eq!(diagnostics.len(), BAD_LINES_MAX + 2);
    assert_eq!(diagnostics.last().unwrap().code, "E0109");

    let line = "\toption a 1\n";
    let text = format!("config t n\n{}", line.repeat(FILE_BYTES_MAX / line.len() + 10));
    let (sections, diagnostics) = parse("f", text.as_bytes());
    assert_eq!(codes_of(&diagnostics), ["E0107"]);
    assert!(sections.is_empty(), "a part would mean something else");
}

fn codes_of(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    diagnostics.iter().map(|d| d.code).collect()
}

/// Every line could look ahead over a whole word: the work must stay bounded.
#[test]
fn quotes_that_never_close_are_no_quadratic_work() {
    let text = format!("config t n\n{}", "\toption a 'b\n'x".repeat(200_000));
    let (_, diagnostics) = parse("f", text.as_bytes());
    assert!(diagnostics.iter().any(|d| d.code == "E0109"));
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let _ = parse("f", &bytes);
    }

    #[test]
    fn never_panics_on_what_looks_like_uci(text in r#"((config|option|list|package)?[ \t'"\\#;\nab_]{0,8}){0,60}"#) {
        let (sections, diagnostics) = parse("f", text.as_bytes());
        let last = text.matches('\n').count() as u32 + 1;
        for line in sections.iter().map(|s| s.line).chain(diagnostics.iter().map(|d| d.location.line)) {
            prop_assert!((1..=last).contains(&line));
        }
    }

    #[test]
    fn quoting_round_trip(before in "[^\0]{0,40}", after in "[^\0]{0,40}") {
        let text = format!("config t n\n\toption a {}\n\tlist b {}\n", quote(&before), quote(&after));
        let (sections, diagnostics) = parse("f", text.as_bytes());
        prop_assert_eq!(diagnostics, []);
        let values: Vec<&str> = sections[0].entries.iter().map(|e| e.value.as_str()).collect();
        prop_assert_eq!(values, [before, after]);
    }
}
