//! Drills for people.

use std::fmt::Write;

use mwan_api::{Drill, DrillPath, DrillPlan, DrillSwitch, DrillTest, Drills, ScheduledDrill};
use serde::Deserialize;

use super::{plain, seconds};
use crate::cli::utc;

/// What a drill would do.
pub(super) fn what_would_be(plan: &DrillPlan) -> String {
    let mut text = format!("drill of {}: nothing is against it\n", plain(&plan.interface));
    for path in &plan.paths {
        let _ = writeln!(
            text,
            "{:9} {} would be seen as lost within {}",
            "path",
            path.family,
            seconds(path.promised_ms)
        );
    }
    text.extend(plan.switches.iter().map(|s| format!("{:9} {}\n", "policy", switch(s))));
    text.extend(plan.notes.iter().map(|note| format!("{:9} {}\n", "note", plain(note))));
    text
}

pub(crate) fn switch(switch: &DrillSwitch) -> String {
    let DrillSwitch { policy, family, from, to } = switch;
    format!("{} {family}: {} -> {}", plain(policy), plain(from), plain(to))
}

/// One that is over.
pub(crate) fn report(drill: &Drill) -> String {
    let verdict = if drill.passed == Some(true) { "passed" } else { "FAILED" };
    let mut text = format!(
        "drill {} of {}: {verdict}\n{:9} {}, {} s, by {}\n",
        drill.number,
        plain(&drill.interface),
        "begun",
        utc(drill.begin_ms),
        drill.length_s,
        plain(&drill.by)
    );
    text.extend(drill.paths.iter().map(path));
    if let Some(us) = drill.switch_us {
        let back = drill.switch_back_us.map(|us| format!(", back {}", millis(us))).unwrap_or_default();
        let _ = writeln!(text, "{:9} verdict to kernel {}{back}", "switch", millis(us));
    }
    text.extend(drill.switches.iter().map(|s| format!("{:9} {}\n", "policy", switch(s))));
    for carrier in &drill.carriers {
        let moved = match carrier.moved {
            Some(moved) => format!("{moved} connections went back"),
            None => "connections stay".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:9} {}: {moved} (failback {})",
            "after",
            plain(&carrier.interface),
            carrier.failback
        );
    }
    text.extend(drill.tests.iter().filter(|test| test.before).map(test));
    text.extend(drill.problems.iter().map(|problem| format!("{:9} {}\n", "problem", plain(problem))));
    text.extend(drill.notes.iter().map(|note| format!("{:9} {}\n", "note", plain(note))));
    text
}

fn path(path: &DrillPath) -> String {
    let seen = path
        .detected_ms
        .map_or_else(|| "not seen as lost".to_owned(), |ms| format!("seen as lost after {}", seconds(ms)));
    let back = path.back_ms.map(|ms| format!(", back after {}", seconds(ms))).unwrap_or_default();
    let flows = match (path.flows, path.flows_left) {
        (Some(flows), Some(left)) => format!(", {flows} connections, {left} left after the switch"),
        _ => String::new(),
    };
    format!("{:9} {}: {seen} (promised {}){flows}{back}\n", "path", path.family, seconds(path.promised_ms))
}

fn test(test: &DrillTest) -> String {
    let mut text = format!("{:9} {}", "test", plain(&test.what));
    for (when, tries) in [("before it", test.unseen), ("meanwhile", test.away), ("afterwards", test.back)] {
        if tries.good + tries.bad > 0 {
            let _ = write!(text, ", {when} {} answers", tries.good);
        }
        if tries.bad > 0 {
            let _ = write!(text, " and {} missed", tries.bad);
        }
    }
    if let Some(ms) = test.away.first_ms {
        let _ = write!(text, ", the first {} after the switch", seconds(ms));
    }
    text.push('\n');
    text
}

/// What a list tells of one that is over.
#[derive(Deserialize)]
struct Head {
    number: u64,
    begin_ms: u64,
    length_s: u32,
    by: String,
    summary: String,
}

/// All of them: the one that is under way, those that are over, newest first, and those that are asked for.
pub(super) fn list(drills: &Drills) -> String {
    let mut text = String::new();
    if let Some(drill) = &drills.running {
        let (number, begun) = (drill.number, utc(drill.begin_ms));
        let _ = writeln!(text, "{number:>6}  {begun}  {}: under way", plain(&drill.interface));
    }
    for document in &drills.drills {
        let Ok(Head { number, begin_ms, length_s, by, summary }) = serde_json::from_str(document.0.get())
        else {
            continue;
        };
        let (begun, by) = (utc(begin_ms), plain(&by));
        let _ = writeln!(text, "{number:>6}  {begun}  {length_s} s, by {by}: {}", plain(&summary));
    }
    for ScheduledDrill { interface, when, length_s } in &drills.scheduled {
        let _ = writeln!(text, "  next  {when} for {length_s} s: {}", plain(interface));
    }
    if text.is_empty() { "# none\n".to_owned() } else { text }
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}
