//! `mwan drill`: the failure of a WAN is rehearsed, and this waits for what comes of it.

use std::path::Path;
use std::time::Duration;

use mwan_api::{DrillOrder, Look, Request};

use super::args::DrillArgs;
use super::client::{Answer, Drills};
use super::commands::{done, unexpected, view};
use super::{Exit, Failure, client, print, talk};

/// How often the daemon is asked how it goes; it takes who does not ask for five seconds for gone.
const PAUSE: Duration = Duration::from_millis(500);
/// So often in a row nobody may answer.
const SILENCE_MAX: u32 = 6;

/// Holds a drill, ends one, or shows those that were.
pub(super) fn run(run_dir: &Path, args: DrillArgs) -> Result<Exit, Failure> {
    let Some(interface) = args.interface else {
        if !args.stop {
            return client::show(run_dir, Request::Drills { attended: None }, view(Look::Whole, args.json));
        }
        done(client::ask(run_dir, &Request::StopDrill)?)?;
        talk("ended: the WAN carries again");
        return Ok(Exit::Ok);
    };
    let order = Request::Drill(DrillOrder {
        interface,
        length_s: args.length_s,
        keep_flows: args.keep_flows,
        dry_run: args.dry_run,
        dns: if args.no_dns { Some(String::new()) } else { args.dns },
        reach: args.reach,
        attended: !args.detach,
        by: super::commands::asked_by(),
    });
    if args.dry_run {
        return client::show(run_dir, order, view(Look::Whole, args.json));
    }
    let Answer::Drill(begun) = client::ask(run_dir, &order)? else { return Err(unexpected()) };
    if args.detach {
        talk(&format!("drill {} begins", begun.number));
        return Ok(Exit::Ok);
    }
    let drills = wait(run_dir, begun.number)?;
    let Some(drill) = drills.drills.first() else { return Err(unexpected()) };
    if args.json {
        let request = Request::Drills { attended: Some(begun.number) };
        client::show(run_dir, request, view(Look::Whole, true))?;
    } else {
        print(&drill.text)?;
    }
    Ok(if drill.passed == Some(true) { Exit::Ok } else { Exit::Degraded })
}

/// Says each step, until it is over. Asking is what keeps the drill up: Ctrl-C ends both.
fn wait(run_dir: &Path, number: u64) -> Result<Drills, Failure> {
    let (mut told, mut silent) = (0, 0);
    loop {
        let drills = match client::ask(run_dir, &Request::Drills { attended: Some(number) }) {
            Ok(Answer::Drills(drills)) => drills,
            Ok(_) => return Err(unexpected()),
            Err(failure) if silent >= SILENCE_MAX => return Err(failure),
            Err(_) => {
                silent += 1;
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        silent = 0;
        let running = drills.running.as_ref().filter(|drill| drill.number == number);
        let Some(drill) = running.or(drills.drills.first()) else {
            return Err(Failure::says("the drill did not survive the daemon: what it pretended is over")
                .hint("`mwan status` shows how the WANs are"));
        };
        drill.steps.iter().skip(told).for_each(|step| talk(&crate::show::plain(step)));
        told = told.max(drill.steps.len());
        if running.is_none() {
            return Ok(drills);
        }
        std::thread::sleep(PAUSE);
    }
}
