//! Lines to steps. Never panics; every error has file, line and a hint.

use std::path::Path;
use std::time::Duration;

use super::steps::{StepDoc, find};
use super::{Line, Scenario, Step, Text};

/// What is wrong with a scenario file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {message}")]
pub struct ScenarioError {
    /// File as the user named it.
    pub file: String,
    /// Line, from 1 (0: the whole file).
    pub line: usize,
    /// What, with a hint.
    pub message: String,
}

/// The words of a line, consumed from the left.
pub struct Words<'a> {
    rest: std::slice::Iter<'a, String>,
    folder: &'a Path,
    heredoc: Option<String>,
}

impl<'a> Words<'a> {
    /// The next word; `what` names it in the error.
    pub fn next(&mut self, what: &str) -> Result<&'a str, String> {
        self.rest.next().map(String::as_str).ok_or_else(|| format!("{what} is missing"))
    }

    /// Takes the next word if it is this one.
    pub fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        if found {
            self.rest.next();
        }
        found
    }

    /// The next word, left in place.
    pub fn peek(&self) -> Option<&'a str> {
        self.rest.as_slice().first().map(String::as_str)
    }

    /// The next word must be this one.
    pub fn keyword(&mut self, word: &str) -> Result<(), String> {
        if self.eat(word) {
            Ok(())
        } else {
            Err(format!("`{word}` expected, not `{}`", self.peek().unwrap_or("end of line")))
        }
    }

    /// The next word as anything that parses.
    pub fn value<T: std::str::FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("`{word}` is not {what}"))
    }

    /// The next word as a time.
    pub fn duration(&mut self) -> Result<Duration, String> {
        parse_duration(self.next("a time")?)
    }

    /// `within D`, or the default if there is no `within`.
    pub fn within(&mut self, default: Option<Duration>) -> Result<Duration, String> {
        match (self.eat("within"), default) {
            (true, _) => self.duration(),
            (false, Some(default)) => Ok(default),
            (false, None) => Err("`within TIME` is missing".into()),
        }
    }

    /// All that is left.
    pub fn all(&mut self) -> Vec<String> {
        let out = self.rest.as_slice().to_vec();
        self.rest = [].iter();
        out
    }

    /// The text after `<<END`, if there is one; the word itself is not among [`Words::all`] then.
    pub fn input(&mut self) -> Option<String> {
        let text = self.heredoc.take()?;
        if let [rest @ .., _] = self.rest.as_slice() {
            self.rest = rest.iter();
        }
        Some(text)
    }

    /// A file name, relative to the scenario's folder.
    pub fn file(&mut self) -> Result<std::path::PathBuf, String> {
        Ok(self.folder.join(self.next("a file name")?))
    }

    /// A file name or, after `<<END`, the text of the following lines.
    pub fn text(&mut self) -> Result<Text, String> {
        match self.heredoc.take() {
            Some(text) => {
                self.rest.next();
                Ok(Text::Inline(text))
            }
            None => Ok(Text::File(self.file()?)),
        }
    }
}

/// `200ms`, `2s`, `1.5s`, `3m`, `10us`, `0`.
pub fn parse_duration(word: &str) -> Result<Duration, String> {
    let bad = || format!("`{word}` is not a time\nhint: like 200ms, 2s, 1.5s, 3m");
    let split = word.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(word.len());
    let number: f64 = word[..split].parse().map_err(|_| bad())?;
    let unit = match &word[split..] {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "" if number == 0.0 => 1.0,
        _ => return Err(bad()),
    };
    // A day is more than any scenario may last; it also keeps the conversion from overflowing.
    if number * unit > 86_400.0 { Err(bad()) } else { Ok(Duration::from_secs_f64(number * unit)) }
}

/// Splits a line at blanks; quotes keep blanks, `#` at the start of a word begins a comment.
fn split(line: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut open) = (Vec::new(), None::<String>, None::<char>);
    for c in line.chars() {
        match open {
            Some(quote) if c == quote => open = None,
            Some(_) => word.get_or_insert_default().push(c),
            None if c == '"' || c == '\'' => {
                open = Some(c);
                word.get_or_insert_default();
            }
            None if c.is_whitespace() => words.extend(word.take()),
            None if c == '#' && word.is_none() => break,
            None => word.get_or_insert_default().push(c),
        }
    }
    if open.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

impl Scenario {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Scenario, ScenarioError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Scenario::parse(&file, &text),
            Err(e) => Err(ScenarioError { file, line: 0, message: e.to_string() }),
        }
    }

    /// Parses text; `file` is for messages and for the folder other files are relative to.
    pub fn parse(file: &str, text: &str) -> Result<Scenario, ScenarioError> {
        let folder = Path::new(file).parent().unwrap_or(Path::new(""));
        let mut lines = text.lines().enumerate();
        let mut topology = None;
        // Open blocks: the line that began each, and what it holds so far.
        let mut blocks: Vec<(usize, String, u32, Vec<Line>)> = vec![(0, String::new(), 1, Vec::new())];
        while let Some((index, raw)) = lines.next() {
            let number = index + 1;
            let error = |message: String| ScenarioError { file: file.into(), line: number, message };
            let words = split(raw).map_err(error)?;
            let Some(first) = words.first() else { continue };
            match first.as_str() {
                "topology" => topology = Some(folder.join(words.get(1).map_or("", String::as_str))),
                "repeat" => {
                    let times = words.get(1).and_then(|w| w.parse().ok());
                    let times = times.ok_or_else(|| error("repeat how often?\nhint: repeat 50".into()))?;
                    blocks.push((number, raw.trim().into(), times, Vec::new()));
                }
                "end" => {
                    let (number, text, times, body) = blocks.pop().unwrap_or_default();
                    let Some((.., outer)) = blocks.last_mut() else {
                        return Err(error("`end` without `repeat`".into()));
                    };
                    outer.push(Line { number, text, step: Step::Repeat(times, body) });
                }
                _ => {
                    let heredoc = heredoc(&words, &mut lines).map_err(error)?;
                    let step = parse_step(&words, folder, heredoc).map_err(error)?;
                    let line = Line { number, text: raw.trim().into(), step };
                    if let Some((.., body)) = blocks.last_mut() {
                        body.push(line);
                    }
                }
            }
        }
        let error = |line, message: &str| ScenarioError { file: file.into(), line, message: message.into() };
        let (line, _, _, steps) = blocks.pop().unwrap_or_default();
        if !blocks.is_empty() {
            return Err(error(line, "`repeat` without `end`"));
        }
        let title = text.lines().find_map(|l| l.strip_prefix('#')).unwrap_or("").trim().to_owned();
        let missing = "no topology\nhint: begin with `topology FILE`";
        let topology = topology.ok_or_else(|| error(0, missing))?;
        Ok(Scenario { file: file.into(), title, topology, steps })
    }
}

/// If the last word is `<<END`, the lines up to `END`.
fn heredoc<'a>(
    words: &[String],
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
) -> Result<Option<String>, String> {
    let Some(end) = words.last().and_then(|w| w.strip_prefix("<<")).filter(|e| !e.is_empty()) else {
        return Ok(None);
    };
    let mut text = String::new();
    for (_, line) in lines {
        if line.trim() == end {
            return Ok(Some(text));
        }
        text.push_str(line);
        text.push('\n');
    }
    Err(format!("the text is not ended\nhint: a line saying {end}"))
}

fn parse_step(words: &[String], folder: &Path, heredoc: Option<String>) -> Result<Step, String> {
    if words.first().is_some_and(|w| w == "fails") {
        let step = parse_step(&words[1..], folder, heredoc)?;
        let text = words[1..].join(" ");
        return Ok(Step::Fails(Box::new(Line { number: 0, text, step })));
    }
    let (doc, names) = find(words)?;
    let rest = words.get(doc.pattern().count()..).unwrap_or_default().iter();
    let mut words = Words { rest, folder, heredoc };
    let with_usage = |message: String, doc: &StepDoc| {
        if message.contains("hint:") { message } else { format!("{message}\nhint: usage: {}", doc.usage) }
    };
    let step = (doc.parse)(&mut words, &names).map_err(|m| with_usage(m, doc))?;
    match words.peek() {
        None => Ok(step),
        Some(word) => Err(with_usage(format!("`{word}` does not belong here"), doc)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folder() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/scenarios")
    }

    #[test]
    fn the_shipped_scenarios_parse_and_say_what_they_show() {
        for entry in std::fs::read_dir(folder()).unwrap() {
            let path = entry.unwrap().path();
            let scenario = Scenario::load(&path).unwrap_or_else(|e| panic!("{e}"));
            assert!(!scenario.title.is_empty(), "{}", path.display());
            assert!(scenario.topology.exists(), "{}: {}", path.display(), scenario.topology.display());
        }
    }

    fn message(step: &str) -> String {
        let text = format!("topology t.toml\n\n{step}\n");
        let error = Scenario::parse("x.scenario", &text).expect_err(step);
        assert_eq!(error.line, 3, "{error}");
        error.to_string()
    }

    #[test]
    fn mistakes_are_told_with_line_and_hint() {
        for (step, part) in [
            ("blakhole ispa", "`blackhole`"),
            ("wait online wan", "within"),
            ("wait online wan within soon", "`soon` is not a time"),
            ("expect share ispa:ispb 3 of x", "weights"),
            ("expect flow x misplaced", "usage"),
            ("flow x tcp lang to 1.2.3.4", "usage"),
            ("flow x tcp long count=many to 1.2.3.4", "many"),
            ("heal ispa now", "`now` does not belong"),
            ("repeat x", "hint: repeat 50"),
            ("end", "without `repeat`"),
            ("config <<END", "not ended"),
            ("exec router \"ip", "quote"),
        ] {
            let said = message(step);
            assert!(said.contains(part), "{step}: {said}");
        }
    }

    #[test]
    fn times_are_read_with_units() {
        assert_eq!(parse_duration("200ms"), Ok(Duration::from_millis(200)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "-1s", "1e9m", "99999999999s", "ms", "1..2s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn blocks_nest() {
        let text = "topology t\nrepeat 2\nrepeat 3\nhold 1s\nend\nend\n";
        let scenario = Scenario::parse("x", text).unwrap();
        let Step::Repeat(2, outer) = &scenario.steps[0].step else { panic!() };
        let Step::Repeat(3, inner) = &outer[0].step else { panic!() };
        assert_eq!(inner.len(), 1);
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            let _ = Scenario::parse("x", &format!("topology t\n{text}\n"));
        }

        #[test]
        fn no_words_panic(words in prop::collection::vec("(expect|flow|share|NAME|of|tcp|long|on|within|\
                          not|to|1s|3:2|ispa:ispb|0|:|=|count=|<<X|\"|end|repeat|fails|[a-z0-9.:%/]{0,6})", 0..9)) {
            let _ = Scenario::parse("x", &words.join(" "));
        }
    }
}
