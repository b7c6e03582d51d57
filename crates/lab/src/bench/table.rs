//! Rows, medians, and the table.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Duration;

/// How a row ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Reached,
    Missed,
    /// Printed by another program.
    Elsewhere,
    NotMeasured,
}

impl Verdict {
    pub(crate) fn of(reached: bool) -> Verdict {
        if reached { Verdict::Reached } else { Verdict::Missed }
    }

    fn word(self) -> &'static str {
        match self {
            Verdict::Reached => "reached",
            Verdict::Missed => "missed",
            Verdict::Elsewhere => "see there",
            Verdict::NotMeasured => "NOT MEASURED",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    name: &'static str,
    what: String,
    target: String,
    measured: String,
    peers: [String; 2],
    notes: Vec<String>,
    pub(crate) verdict: Verdict,
}

impl Row {
    pub(crate) fn new(name: &'static str, what: impl Into<String>) -> Row {
        Row {
            name,
            what: what.into(),
            target: "—".into(),
            measured: String::new(),
            peers: ["—".into(), "—".into()],
            notes: Vec::new(),
            verdict: Verdict::Elsewhere,
        }
    }

    pub(crate) fn failed(name: &'static str, why: &str) -> Row {
        let mut row = Row::new(name, name).note(why.replace('\n', " "));
        row.verdict = Verdict::NotMeasured;
        row
    }

    pub(crate) fn target(mut self, target: impl Into<String>) -> Row {
        self.target = target.into();
        self
    }

    pub(crate) fn measured(mut self, measured: impl Into<String>) -> Row {
        self.measured = measured.into();
        self
    }

    /// Figures of mwan3 and mwan4, measured once with the real programs (issue 2).
    pub(crate) fn peers(mut self, mwan3: &str, mwan4: &str) -> Row {
        self.peers = [mwan3.into(), mwan4.into()];
        self
    }

    /// Something to know about the figure, printed below the table.
    pub(crate) fn note(mut self, note: impl Into<String>) -> Row {
        self.notes.push(note.into());
        self
    }

    pub(crate) fn verdict(mut self, reached: bool) -> Row {
        self.verdict = Verdict::of(reached);
        self
    }

    fn cells(&self) -> [&str; 6] {
        [&self.what, &self.target, &self.measured, &self.peers[0], &self.peers[1], self.verdict.word()]
    }
}

/// Repeated measurements of one thing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series(Vec<f64>);

impl Series {
    /// Sorts the values; there must be one.
    pub(crate) fn new(mut values: Vec<f64>) -> Result<Series, String> {
        values.sort_by(f64::total_cmp);
        if values.is_empty() { Err("nothing was measured".into()) } else { Ok(Series(values)) }
    }

    /// In milliseconds.
    pub(crate) fn of_ms(times: &[Duration]) -> Result<Series, String> {
        Series::new(times.iter().map(|t| t.as_secs_f64() * 1e3).collect())
    }

    /// The value below which this share of the values lies.
    fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    pub(crate) fn min(&self) -> f64 {
        self.quantile(0.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.quantile(1.0)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The middle half, as `0.98–1.03`: what a second run would probably print.
    pub(crate) fn quartiles(&self) -> String {
        format!("{:.3}–{:.3}", self.quantile(0.25), self.quantile(0.75))
    }
}

/// Prints the table and its notes. A reader that went away is no reason to panic.
pub(crate) fn print(rows: &[Row], took: Duration) {
    let head = ["what", "target", "measured", "mwan3", "mwan4", "verdict"];
    let mut widths = head.map(width);
    for row in rows {
        for (to, cell) in widths.iter_mut().zip(row.cells()) {
            *to = (*to).max(width(cell));
        }
    }
    let mut out = String::from("\n");
    line(&mut out, head, widths);
    let rules = widths.map(|w| "─".repeat(w));
    line(&mut out, std::array::from_fn(|i| rules[i].as_str()), widths);
    for row in rows {
        line(&mut out, row.cells(), widths);
    }
    out.push('\n');
    for row in rows {
        for note in &row.notes {
            let _ = writeln!(out, "{:14} {note}", row.name);
        }
    }
    let _ = writeln!(
        out,
        "mwan3 and mwan4: measured once with the real programs on a machine like this (issue 2)."
    );
    let _ = writeln!(out, "Took {:.0} s. How to read this: docs/bench.md", took.as_secs_f64());
    let _ = std::io::stdout().write_all(out.as_bytes());
}

fn width(cell: &str) -> usize {
    cell.chars().count()
}

fn line(out: &mut String, cells: [&str; 6], widths: [usize; 6]) {
    for (cell, wide) in cells.into_iter().zip(widths) {
        let _ = write!(out, "{cell}{}", " ".repeat(wide - width(cell) + 2));
    }
    while out.ends_with(' ') {
        out.pop();
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_do_not_depend_on_order() {
        let series = Series::new(vec![9.0, 1.0, 5.0]).unwrap();
        assert_eq!((series.min(), series.median(), series.max(), series.len()), (1.0, 5.0, 9.0, 3));
        assert!(Series::new(Vec::new()).is_err());
    }

    #[test]
    fn columns_line_up() {
        let mut out = String::new();
        line(&mut out, ["≤ 1", "b", "c", "d", "e", "f"], [4, 1, 1, 1, 1, 1]);
        assert_eq!(out, "≤ 1   b  c  d  e  f\n");
    }
}
