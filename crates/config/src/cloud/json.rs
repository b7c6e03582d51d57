//! JSON (RFC 8259) as a document that is given back: order, spelling of numbers and unknown fields stay, every value has
//! its line, and names given twice are seen. Everything is bounded.

use std::fmt::Write;

use crate::report::show;

/// Deepest nesting. The cloud's document has four levels.
const DEPTH_MAX: u32 = 32;
/// Most values in a text: hundreds of interfaces, and bounds the memory.
const VALUES_MAX: u32 = 50_000;

/// A value and where it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Node {
    /// From 1; 0 in what was not read from a text.
    pub(crate) line: u32,
    pub(crate) value: Value,
}

/// A value.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As it is spelled.
    Number(String),
    Text(String),
    Array(Vec<Node>),
    /// In the order of the text, names given twice included.
    Object(Vec<(String, Node)>),
}

/// Why a text is not JSON.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Error {
    pub(crate) line: u32,
    pub(crate) message: String,
}

impl Node {
    pub(crate) fn new(value: Value) -> Self {
        Node { line: 0, value }
    }

    pub(crate) fn text(text: &str) -> Self {
        Node::new(Value::Text(text.to_owned()))
    }

    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        }
    }

    /// The members, if it is an object.
    pub(crate) fn members(&self) -> Option<&[(String, Node)]> {
        match &self.value {
            Value::Object(members) => Some(members),
            _ => None,
        }
    }

    /// A member of an object; of several with this name the last, as other readers take it.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        self.members()?.iter().rev().find(|(n, _)| n == name).map(|(_, node)| node)
    }

    /// Gives a member of an object another value: where it was, else behind all others.
    pub(crate) fn set(&mut self, name: &str, node: Node) {
        let Value::Object(members) = &mut self.value else { return };
        match members.iter_mut().rev().find(|(n, _)| n == name) {
            Some((_, there)) => *there = node,
            None => members.push((name.to_owned(), node)),
        }
    }

    /// In one line without blanks; equal for equal documents, wherever they stood.
    pub(crate) fn compact(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, None);
        out
    }

    /// For people: two blanks a level, as `jq` prints it.
    pub(crate) fn pretty(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, Some(0));
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, level: Option<usize>) {
        match &self.value {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(text) => out.push_str(text),
            Value::Text(text) => write_string(out, text),
            Value::Array(items) => {
                write_list(out, level, ['[', ']'], items, |out, item, level| item.write(out, level));
            }
            Value::Object(members) => {
                write_list(out, level, ['{', '}'], members, |out, (name, node), level| {
                    write_string(out, name);
                    out.push_str(if level.is_some() { ": " } else { ":" });
                    node.write(out, level);
                });
            }
        }
    }
}

fn write_list<T>(
    out: &mut String,
    level: Option<usize>,
    [open, close]: [char; 2],
    items: &[T],
    one: impl Fn(&mut String, &T, Option<usize>),
) {
    let line = |out: &mut String, level: Option<usize>| {
        if let Some(level) = level {
            out.push('\n');
            out.extend(std::iter::repeat_n("  ", level));
        }
    };
    let inner = level.map(|level| level + 1);
    out.push(open);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        line(out, inner);
        one(out, item, inner);
    }
    if !items.is_empty() {
        line(out, level);
    }
    out.push(close);
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // DEL and C1 are legal, but steer terminals.
            c if c.is_control() => drop(write!(out, "\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads a text.
pub(crate) fn parse(bytes: &[u8]) -> Result<Node, Error> {
    let text = std::str::from_utf8(bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)).map_err(|e| {
        let before = bytes.iter().take(e.valid_up_to()).filter(|b| **b == b'\n').count();
        Error { line: line(before), message: "the text is not UTF-8".to_owned() }
    })?;
    let mut reader = Reader { text, at: 0, line: 1, values: 0 };
    let node = reader.value(0)?;
    reader.skip_space();
    match reader.peek() {
        None => Ok(node),
        Some(_) => Err(reader.error("something follows the document")),
    }
}

fn line(newlines_before: usize) -> u32 {
    u32::try_from(newlines_before).unwrap_or(u32::MAX).saturating_add(1)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: u32,
    values: u32,
}

impl Reader<'_> {
    fn error(&self, message: impl Into<String>) -> Error {
        Error { line: self.line, message: message.into() }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while let Some(byte @ (b' ' | b'\t' | b'\r' | b'\n')) = self.peek() {
            self.at += 1;
            self.line += u32::from(byte == b'\n');
        }
    }

    /// Over `byte`, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn value(&mut self, depth: u32) -> Result<Node, Error> {
        self.skip_space();
        self.values += 1;
        if depth > DEPTH_MAX {
            return Err(self.error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        if self.values > VALUES_MAX {
            return Err(self.error(format!("more than {VALUES_MAX} values")));
        }
        let line = self.line;
        let value = match self.peek() {
            None => return Err(self.error("the text ends where a value is expected")),
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => Value::Text(self.string()?),
            Some(b'-' | b'0'..=b'9') => Value::Number(self.number()?),
            Some(_) => self.word()?,
        };
        Ok(Node { line, value })
    }

    fn word(&mut self) -> Result<Value, Error> {
        let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        for (word, value) in words {
            if self.text[self.at..].starts_with(word) {
                self.at += word.len();
                return Ok(value);
            }
        }
        let found = self.text[self.at..].chars().next().unwrap_or(' ');
        Err(self.error(format!("a value is expected, not {}", show(&found.to_string()))))
    }

    fn array(&mut self, depth: u32) -> Result<Value, Error> {
        let mut items = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b']') {
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.skip_space();
            if self.take(b']') {
                return Ok(Value::Array(items));
            }
            if !self.take(b',') {
                return Err(self.error("',' or ']' is expected"));
            }
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, Error> {
        let mut members = Vec::new();
        self.at += 1;
        self.skip_space();
        if self.take(b'}') {
            return Ok(Value::Object(members));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.error("a name in double quotes is expected"));
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.error("':' is expected"));
            }
            members.push((name, self.value(depth + 1)?));
            self.skip_space();
            if self.take(b'}') {
                return Ok(Value::Object(members));
            }
            if !self.take(b',') {
                return Err(self.error("',' or '}' is expected"));
            }
        }
    }

    fn digits(&mut self) -> Result<(), Error> {
        let begin = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == begin { Err(self.error("a digit is expected")) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<String, Error> {
        let begin = self.at;
        self.take(b'-');
        // No zero before other digits: RFC 8259 section 6.
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Ok(self.text[begin..self.at].to_owned())
    }

    fn string(&mut self) -> Result<String, Error> {
        let mut out = String::new();
        self.at += 1;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().take_while(|b| *b >= b' ' && *b != b'"' && *b != b'\\').count();
            out.push_str(&rest[..plain]);
            self.at += plain;
            if self.take(b'"') {
                return Ok(out);
            }
            if !self.take(b'\\') {
                return Err(self.error("a string is not closed, or holds a control character"));
            }
            out.push(self.escaped()?);
        }
    }

    fn escaped(&mut self) -> Result<char, Error> {
        let Some(byte) = self.peek() else { return Err(self.error("the text ends within a string")) };
        let c = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.error("unknown escape in a string")),
        };
        self.at += 1;
        Ok(c)
    }

    /// Behind `\u`. A character beyond U+FFFF is two of them (RFC 8259 section 7); half of one is none.
    fn unicode(&mut self) -> Result<char, Error> {
        let unit = self.hex()?;
        let code = match unit {
            0xD800..=0xDBFF if self.text[self.at..].starts_with("\\u") => {
                self.at += 2;
                let low = self.hex()?.wrapping_sub(0xDC00);
                if low > 0x3FF { 0xD800 } else { 0x1_0000 + ((unit - 0xD800) << 10) + low }
            }
            other => other,
        };
        char::from_u32(code).ok_or_else(|| self.error("half of a surrogate pair in a string"))
    }

    fn hex(&mut self) -> Result<u32, Error> {
        let digits = self.text.get(self.at..self.at + 4);
        let digits = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        unit.ok_or_else(|| self.error("four hexadecimal digits are expected behind '\\u'"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_read_is_given_back() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"b":1,"a":[true,false,null,-0.5e+10],"a":"twice"}"#,
            r#""\"\\\u0000\u007f\n\r\täöü𝄞""#,
            "123456789012345678901234567890.10",
        ] {
            let node = parse(text.as_bytes()).unwrap();
            assert_eq!(node.compact(), text);
            assert_eq!(parse(node.pretty().as_bytes()).unwrap().compact(), text);
        }
        assert_eq!(parse(br#""\ud834\udd1e\/\b\f""#).unwrap().value, Value::Text("𝄞/\u{8}\u{c}".into()));
        assert_eq!(parse(b"\xEF\xBB\xBF 1").unwrap().value, Value::Number("1".into()));
        let pretty = parse(br#"{"a":[1,{}],"b":[]}"#).unwrap().pretty();
        assert_eq!(pretty, "{\n  \"a\": [\n    1,\n    {}\n  ],\n  \"b\": []\n}\n");
    }

    #[test]
    fn what_is_wrong_has_a_line() {
        for (text, line, word) in [
            ("", 1, "ends where a value"),
            ("{\n\"a\": 1,\n}", 3, "a name"),
            ("[1 2]", 1, "',' or ']'"),
            ("{\"a\" 1}", 1, "':'"),
            ("[\n\"x", 2, "not closed"),
            ("\"a\nb\"", 1, "control character"),
            ("01", 1, "something follows"),
            ("1.", 1, "a digit"),
            ("-", 1, "a digit"),
            ("nul", 1, "not 'n'"),
            (r#""\ud800""#, 1, "surrogate"),
            (r#""\ud800A""#, 1, "surrogate"),
            (r#""\u12ä""#, 1, "hexadecimal"),
            (r#""\x""#, 1, "escape"),
            ("'a'", 1, "not '''"),
        ] {
            let error = parse(text.as_bytes()).unwrap_err();
            assert!(error.line == line && error.message.contains(word), "{text}: {error:?}");
        }
        assert_eq!(parse(b"[\n\xff]").unwrap_err().line, 2);
        assert!(parse("[".repeat(100_000).as_bytes()).unwrap_err().message.contains("nested"));
        let long = format!("[{}1]", "1,".repeat(60_000));
        assert!(parse(long.as_bytes()).unwrap_err().message.contains("more than"));
    }

    proptest! {
        /// Taken is what another reader takes, and it means the same.
        #[test]
        fn agrees_with_serde(text in r#"[\[\]{},:"\\ntruefalsu0-9eE+. \n-]{0,40}|\PC{0,20}"#) {
            let theirs = serde_json::from_str::<serde_json::Value>(&text);
            match parse(text.as_bytes()) {
                Ok(node) => {
                    // They refuse numbers beyond a double.
                    if let Ok(theirs) = theirs {
                        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&node.compact()).unwrap(), theirs);
                    }
                }
                Err(error) => prop_assert!(theirs.is_err(), "{text:?}: {error:?}"),
            }
        }
    }
}
