//! What was measured, judged. Pure.

use mwan_api::{Drill, DrillPath, DrillTest};

use crate::show::{drill as text, seconds};

/// A timer of a busy machine may be late by so much; it is no broken promise.
const DETECTION_SLACK_MS: u64 = 250;
/// Longest time from the verdict until the kernel has what follows from it.
const SWITCH_MAX_US: u64 = 1_000_000;
/// Longest time from the switch until a name or target answers: as long as the C library waits for a resolver (resolv.conf(5),
/// `timeout`).
const ANSWER_MAX_MS: u64 = 5_000;

/// [`mwan_config::Failback::MoveNow`] in reports.
pub(super) const MOVE_NOW: &str = "move-now";

/// Says what did not go as it should.
pub(super) fn judge(report: &mut Drill) {
    let mut problems = Vec::new();
    let complete = is_complete(report);
    if let Some(end) = report.end.as_ref().filter(|_| !complete) {
        problems.push(end.text.clone());
    }
    for path in &report.paths {
        problems.extend(late(path, report.length_s, complete));
    }
    let switches = [("away", report.switch_us), ("back", report.switch_back_us)];
    for (which, us) in switches {
        if let Some(us) = us.filter(|us| *us > SWITCH_MAX_US) {
            problems.push(format!("the switch {which} took {}", seconds(us / 1000)));
        }
    }
    if !report.switches.is_empty() && report.switch_us.is_none() {
        problems.push("the kernel did not take the switch".to_owned());
    }
    for test in report.tests.iter().filter(|test| test.before) {
        problems.extend(unanswered(test));
    }
    for test in report.tests.iter().filter(|test| !test.before && complete) {
        report.notes.push(format!("{} did not answer before the drill either: it is not judged", test.what));
    }
    for carrier in report.carriers.iter().filter(|_| complete && !report.switches.is_empty()) {
        match (carrier.failback.as_str(), carrier.moved) {
            (MOVE_NOW, None) => {
                problems.push(format!(
                    "connections on {} did not go back (failback move-now)",
                    carrier.interface
                ));
            }
            ("keep", Some(moved)) if moved > 0 => {
                problems.push(format!("{moved} connections left {} (failback keep)", carrier.interface));
            }
            _ => {}
        }
    }
    report.passed = Some(problems.is_empty());
    report.problems = problems;
    report.summary = line(report);
    report.text = text::report(report);
}

fn is_complete(report: &Drill) -> bool {
    report.end.as_ref().is_some_and(|end| end.code == "complete")
}

/// Whether somebody has to look at it: it did not go as it should, and not because its owner ended it.
pub(super) fn is_bad(report: &Drill) -> bool {
    let wanted =
        report.end.as_ref().is_some_and(|end| ["stopped", "configured"].contains(&end.code.as_str()));
    report.passed != Some(true) && !wanted
}

fn late(path: &DrillPath, length_s: u32, complete: bool) -> Option<String> {
    let promised = seconds(path.promised_ms);
    match path.detected_ms {
        Some(ms) if ms > path.promised_ms + DETECTION_SLACK_MS => Some(format!(
            "{}: its failure was seen after {}, promised are {promised}",
            path.family,
            seconds(ms)
        )),
        None if complete => Some(format!(
            "{}: its failure was not seen in {length_s} s, promised are {promised}",
            path.family
        )),
        _ => None,
    }
}

fn unanswered(test: &DrillTest) -> Option<String> {
    let why = || test.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
    for (when, tries) in [("the switch", test.away), ("the return", test.back)] {
        match tries.first_ms {
            Some(ms) if ms > ANSWER_MAX_MS => {
                return Some(format!("{}: no answer until {} after {when}{}", test.what, seconds(ms), why()));
            }
            None if tries.bad > 0 => return Some(format!("{}: no answer after {when}{}", test.what, why())),
            _ => {}
        }
    }
    None
}

/// The whole in a line.
fn line(report: &Drill) -> String {
    let name = &report.interface;
    if !is_complete(report) {
        return format!("drill of {name} broken off: {}", report.problems.join("; "));
    }
    if report.passed != Some(true) {
        return format!("drill of {name} failed: {}", report.problems.join("; "));
    }
    let worst = |of: fn(&DrillPath) -> Option<u64>| report.paths.iter().filter_map(of).max();
    let mut parts = Vec::new();
    if let Some(ms) = worst(|path| path.detected_ms) {
        let promised = report.paths.iter().map(|path| path.promised_ms).max().unwrap_or(0);
        parts.push(format!("seen after {} (promised {})", seconds(ms), seconds(promised)));
    }
    parts.extend(report.switch_us.map(|us| format!("in the kernel {us} us later")));
    parts.extend(worst(|path| path.back_ms).map(|ms| format!("back after {}", seconds(ms))));
    format!("drill of {name} passed: {}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mwan_api::{DrillCarrier, DrillPhase, DrillSwitch, DrillTries, Reason};

    use super::*;

    fn good() -> Drill {
        Drill {
            number: 1,
            interface: "wan".into(),
            begin_ms: 0,
            by: "root".into(),
            length_s: 60,
            keep_flows: false,
            phase: DrillPhase::Over,
            end: Some(Reason { code: "complete".into(), text: "over".into() }),
            passed: None,
            summary: String::new(),
            problems: vec![],
            notes: vec![],
            paths: vec![DrillPath {
                family: "ipv4".into(),
                promised_ms: 3000,
                detected_ms: Some(2100),
                back_ms: Some(10_000),
                flows: Some(3),
                flows_left: Some(0),
            }],
            switches: vec![DrillSwitch {
                policy: "p".into(),
                family: "ipv4".into(),
                from: "wan".into(),
                to: "wanb".into(),
            }],
            switch_us: Some(1500),
            switch_back_us: Some(1500),
            carriers: vec![DrillCarrier { interface: "wanb".into(), failback: "keep".into(), moved: None }],
            steps: vec![],
            text: String::new(),
            tests: vec![test(DrillTries { good: 9, bad: 1, first_ms: Some(700) })],
        }
    }

    fn test(away: DrillTries) -> DrillTest {
        let back = DrillTries { good: 3, bad: 0, first_ms: Some(10) };
        DrillTest { what: "dns".into(), before: true, unseen: DrillTries::default(), away, back, error: None }
    }

    fn judged(change: impl FnOnce(&mut Drill)) -> (bool, String) {
        let mut drill = good();
        change(&mut drill);
        judge(&mut drill);
        (drill.passed.unwrap(), drill.problems.join("; "))
    }

    #[test]
    fn what_is_promised_is_judged() {
        assert_eq!(judged(|_| {}), (true, String::new()));
        let moved = |failback: &str, moved| {
            vec![DrillCarrier { interface: "wanb".into(), failback: failback.into(), moved }]
        };
        let no_answer = DrillTries { good: 0, bad: 4, first_ms: None };
        let late = DrillTries { good: 1, bad: 4, first_ms: Some(5001) };
        type Change = Box<dyn FnOnce(&mut Drill)>;
        let cases: [(&str, Change); 12] = [
            ("seen after 3.4 s, promised are 3.0 s", Box::new(|d| d.paths[0].detected_ms = Some(3400))),
            ("not seen in 60 s", Box::new(|d| d.paths[0].detected_ms = None)),
            ("switch away took 1.2 s", Box::new(|d| d.switch_us = Some(1_200_000))),
            ("switch back took 1.2 s", Box::new(|d| d.switch_back_us = Some(1_200_000))),
            ("did not take the switch", Box::new(|d| d.switch_us = None)),
            ("dns: no answer after the switch", Box::new(move |d| d.tests = vec![test(no_answer)])),
            ("dns: no answer until 5.0 s after the switch", Box::new(move |d| d.tests = vec![test(late)])),
            ("dns: no answer after the return", Box::new(move |d| d.tests[0].back = no_answer)),
            ("did not go back", Box::new(move |d| d.carriers = moved(MOVE_NOW, None))),
            ("2 connections left wanb", Box::new(move |d| d.carriers = moved("keep", Some(2)))),
            ("lost meanwhile", {
                let end = Reason { code: "other_lost".into(), text: "wanb was lost meanwhile".into() };
                Box::new(|d| d.end = Some(end))
            }),
            (
                "ended by hand",
                Box::new(|d| {
                    d.end = Some(Reason { code: "stopped".into(), text: "it was ended by hand".into() });
                    d.paths[0].detected_ms = None;
                }),
            ),
        ];
        for (expected, change) in cases {
            let (passed, problems) = judged(change);
            assert!(!passed && problems.contains(expected), "{expected}: {problems}");
            assert!(!problems.contains(';'), "one thing is wrong: {problems}");
        }
        assert!(judged(|d| d.paths[0].detected_ms = Some(3250)).0, "a timer may be late");
        assert!(judged(move |d| d.carriers = moved(MOVE_NOW, Some(0))).0);
        let (passed, _) = judged(|d| {
            d.tests = vec![DrillTest { before: false, ..test(no_answer) }];
        });
        assert!(passed, "what did not work before says nothing");
    }

    #[test]
    fn the_line_has_the_figures_or_what_is_wrong() {
        let mut drill = good();
        judge(&mut drill);
        assert_eq!(
            drill.summary,
            "drill of wan passed: seen after 2.1 s (promised 3.0 s), in the kernel 1500 us later, back after 10.0 s"
        );
        assert!(!is_bad(&drill));
        drill.switch_us = Some(2_000_000);
        judge(&mut drill);
        assert!(is_bad(&drill));
        assert_eq!(drill.summary, "drill of wan failed: the switch away took 2.0 s");
        for (code, bad) in
            [("stopped", false), ("configured", false), ("other_lost", true), ("not_begun", true)]
        {
            drill.end = Some(Reason { code: code.into(), text: "why".into() });
            judge(&mut drill);
            assert!(drill.summary.starts_with("drill of wan broken off: why"), "{}", drill.summary);
            assert_eq!(is_bad(&drill), bad, "{code}");
        }
    }
}
