//! `mwan drill`: the failure of a WAN is rehearsed, and this waits for what comes of it.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use mwan_api::{
    Drill, DrillOrder, DrillPath, DrillPhase, DrillPlan, DrillSwitch, DrillTest, Drills, Request, Response,
};

use super::args::DrillArgs;
use super::render::plain;
use super::{Exit, Failure, client, events, print, render, talk};

/// How often the daemon is asked how it goes; it takes who does not ask for five seconds for gone.
const PAUSE: Duration = Duration::from_millis(500);
/// So often in a row nobody may answer.
const SILENCE_MAX: u32 = 6;

/// Holds a drill, ends one, or shows those that were.
pub(super) fn run(run_dir: &Path, args: DrillArgs) -> Result<Exit, Failure> {
    let Some(interface) = args.interface else {
        if args.stop {
            super::commands::done(client::ask(run_dir, &Request::StopDrill)?)?;
            talk("ended: the WAN carries again");
            return Ok(Exit::Ok);
        }
        let drills = drills(run_dir, None)?;
        print(&if args.json { render::json(&drills)? } else { list(&drills) })?;
        return Ok(Exit::Ok);
    };
    let order = DrillOrder {
        interface,
        length_s: args.length_s,
        keep_flows: args.keep_flows,
        dry_run: args.dry_run,
        dns: if args.no_dns { Some(String::new()) } else { args.dns },
        reach: args.reach,
        attended: !args.detach,
        by: ["SUDO_USER", "DOAS_USER"].iter().find_map(|name| std::env::var(name).ok()),
    };
    match client::ask(run_dir, &Request::Drill(order))? {
        Response::DrillPlan(plan) => {
            print(&if args.json { render::json(&plan)? } else { what_would_be(&plan) })?;
            Ok(Exit::Ok)
        }
        Response::Drill(drill) if args.detach => {
            talk(&format!("drill {} of {} begins", drill.number, plain(&drill.interface)));
            Ok(Exit::Ok)
        }
        Response::Drill(drill) => {
            let drill = wait(run_dir, *drill)?;
            print(&if args.json { render::json(&drill)? } else { report(&drill) })?;
            Ok(if drill.passed == Some(true) { Exit::Ok } else { Exit::Degraded })
        }
        _ => Err(super::commands::unexpected()),
    }
}

fn drills(run_dir: &Path, attended: Option<u64>) -> Result<Drills, Failure> {
    match client::ask(run_dir, &Request::Drills { attended })? {
        Response::Drills(drills) => Ok(drills),
        _ => Err(super::commands::unexpected()),
    }
}

/// Says each step, until it is over. Asking is what keeps the drill up: Ctrl-C ends both.
fn wait(run_dir: &Path, drill: Drill) -> Result<Drill, Failure> {
    let number = drill.number;
    let (mut told, mut silent) = (Vec::new(), 0);
    loop {
        let drills = match drills(run_dir, Some(number)) {
            Ok(drills) => drills,
            Err(failure) if silent >= SILENCE_MAX => return Err(failure),
            Err(_) => {
                silent += 1;
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        silent = 0;
        let running = drills.running.filter(|drill| drill.number == number);
        let over = || drills.drills.into_iter().find(|drill| drill.number == number);
        let Some(drill) = running.or_else(over) else {
            return Err(Failure::says("the drill did not survive the daemon: what it pretended is over")
                .hint("`mwan status` shows how the WANs are"));
        };
        for step in steps(&drill) {
            if !told.contains(&step) {
                talk(&step);
                told.push(step);
            }
        }
        if drill.phase == DrillPhase::Over {
            return Ok(drill);
        }
        std::thread::sleep(PAUSE);
    }
}

/// What has happened so far, each worth a line.
fn steps(drill: &Drill) -> Vec<String> {
    let name = plain(&drill.interface);
    let mut steps = Vec::new();
    if !matches!(drill.phase, DrillPhase::Before | DrillPhase::Over) {
        steps.push(format!("{name} looks dead to mwan for {} s; Ctrl-C ends it", drill.length_s));
    }
    for path in &drill.paths {
        if let Some(ms) = path.detected_ms {
            steps.push(format!("{} seen as lost after {}", path.family, seconds(ms)));
        }
    }
    steps.extend(drill.switches.iter().map(|s| format!("policy {}", switch(s))));
    if drill.phase == DrillPhase::Return {
        steps.push(format!("time is over, {name} is on its way back"));
    }
    steps
}

fn what_would_be(plan: &DrillPlan) -> String {
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

fn switch(switch: &DrillSwitch) -> String {
    let DrillSwitch { policy, family, from, to } = switch;
    format!("{} {family}: {} -> {}", plain(policy), plain(from), plain(to))
}

fn report(drill: &Drill) -> String {
    let verdict = if drill.passed == Some(true) { "passed" } else { "FAILED" };
    let mut text = format!(
        "drill {} of {}: {verdict}\n{:9} {}, {} s, by {}\n",
        drill.number,
        plain(&drill.interface),
        "begun",
        events::utc(drill.begin_ms),
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

fn list(drills: &Drills) -> String {
    let mut text = String::new();
    if let Some(drill) = &drills.running {
        let _ = writeln!(
            text,
            "{:>6}  {}  {}: under way",
            drill.number,
            events::utc(drill.begin_ms),
            plain(&drill.interface)
        );
    }
    for drill in &drills.drills {
        let _ = writeln!(
            text,
            "{:>6}  {}  {} s, by {}: {}",
            drill.number,
            events::utc(drill.begin_ms),
            drill.length_s,
            plain(&drill.by),
            plain(&drill.summary)
        );
    }
    for scheduled in &drills.scheduled {
        let _ = writeln!(
            text,
            "  next  {} for {} s: {}",
            scheduled.when,
            scheduled.length_s,
            plain(&scheduled.interface)
        );
    }
    if text.is_empty() { "# none\n".to_owned() } else { text }
}

fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

fn millis(us: u64) -> String {
    format!("{}.{} ms", us / 1000, us % 1000 / 100)
}
