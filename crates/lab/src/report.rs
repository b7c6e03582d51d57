//! What a run prints: one line per step, or one JSON document.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use serde::Serialize;

/// How a run is reported.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Style {
    /// Lines for people.
    Lines,
    /// One JSON document at the end.
    Json,
}

/// One step's result.
#[derive(Serialize, Debug)]
pub struct StepResult {
    /// Line of the scenario.
    pub line: usize,
    /// The step as written.
    pub step: String,
    /// It held.
    pub ok: bool,
    /// What was measured, or why it failed.
    pub figure: String,
    /// Since the beginning, milliseconds.
    pub at_ms: u64,
}

/// A whole run.
#[derive(Serialize, Debug)]
pub struct RunResult {
    /// Format of this document.
    pub schema: &'static str,
    /// Scenario file.
    pub scenario: String,
    /// What it shows.
    pub title: String,
    /// Seed of its randomness.
    pub seed: u64,
    /// Everything held.
    pub ok: bool,
    /// Its steps as far as they were run.
    pub steps: Vec<StepResult>,
    /// State at the failure.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub context: String,
}

/// Prints steps as they happen.
pub struct Report {
    style: Style,
    colour: bool,
    /// The result so far.
    pub result: RunResult,
}

impl Report {
    /// Begins one.
    pub fn new(style: Style, scenario: &str, title: &str, seed: u64) -> Report {
        let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let result = RunResult {
            schema: "mwan-lab.run.v1",
            scenario: scenario.into(),
            title: title.into(),
            seed,
            ok: true,
            steps: Vec::new(),
            context: String::new(),
        };
        let report = Report { style, colour, result };
        report.say(&format!("{scenario}: {title}  (seed {seed})"));
        report
    }

    /// Prints a line for people. A reader that went away is no reason to panic.
    pub fn say(&self, text: &str) {
        if self.style == Style::Lines {
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }

    /// Records and prints a step.
    pub fn step(&mut self, line: usize, step: &str, at: Duration, outcome: &Result<String, String>) {
        let (ok, figure) = match outcome {
            Ok(figure) => (true, figure),
            Err(why) => (false, why),
        };
        let verdict = match (ok, self.colour) {
            (true, true) => "\x1b[32mok  \x1b[0m",
            (true, false) => "ok  ",
            (false, true) => "\x1b[31mFAIL\x1b[0m",
            (false, false) => "FAIL",
        };
        let at_s = at.as_secs_f64();
        self.say(&format!(
            "  {verdict} {at_s:7.2} s {line:4}  {step:68}  {}",
            figure.replace('\n', "\n        ")
        ));
        let at_ms = u64::try_from(at.as_millis()).unwrap_or(u64::MAX);
        self.result.ok &= ok;
        self.result.steps.push(StepResult { line, step: step.into(), ok, figure: figure.clone(), at_ms });
    }

    /// Prints the end.
    pub fn finish(&self, took: Duration) {
        let verdict = if self.result.ok { "ok" } else { "FAILED" };
        self.say(&format!("{}: {verdict} in {:.1} s", self.result.scenario, took.as_secs_f64()));
        if self.style == Style::Json {
            let text = serde_json::to_string_pretty(&self.result).unwrap_or_default();
            let _ = writeln!(std::io::stdout(), "{text}");
        }
    }
}
