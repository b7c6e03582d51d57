//! JSON for people and programs: indented, with a final newline.

use serde::Serialize;

use crate::cli::Failure;

/// A document.
///
/// # Errors
/// It cannot be written as JSON.
pub(crate) fn json<T: Serialize>(document: &T) -> Result<String, Failure> {
    // serde_json's own way would have the code of every document twice in the binary, once for each kind of JSON.
    serde_json::to_string(document)
        .map(|line| indented(&line))
        .map_err(|e| Failure::new("cannot write JSON", &e))
}

/// JSON in one line, two blanks for each level.
pub(crate) fn indented(line: &str) -> String {
    let mut text = String::with_capacity(line.len() * 2);
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    let mut rest = line.chars().peekable();
    let new_line = |text: &mut String, depth| {
        text.push('\n');
        text.extend(std::iter::repeat_n("  ", depth));
    };
    while let Some(c) = rest.next() {
        match c {
            _ if quoted => {
                text.push(c);
                quoted = escaped || c != '"';
                escaped = c == '\\' && !escaped;
            }
            '{' | '[' => {
                text.push(c);
                if let Some(end) = rest.next_if(|next| matches!(next, '}' | ']')) {
                    text.push(end);
                } else {
                    depth += 1;
                    new_line(&mut text, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                new_line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            _ => {
                text.push(c);
                quoted = c == '"';
            }
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_json_is_indented_as_serde_json_does_it() {
        for line in [
            r#"{"a":1,"b":[1,2,{"c":null}],"d":[],"e":{},"f":"x: {\"y\", [z]} \\","g":"ä\n"}"#,
            r#"[]"#,
            r#"{"only":"\\\\"}"#,
            r#""\"""#,
            r#"-1.5e3"#,
        ] {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let expected = serde_json::to_string_pretty(&value).expect("JSON") + "\n";
            assert_eq!(indented(&serde_json::to_string(&value).expect("JSON")), expected, "{line}");
        }
    }
}
