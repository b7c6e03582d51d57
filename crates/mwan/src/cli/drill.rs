//! `mwan drill`: the failure of a WAN is rehearsed, and this waits for what comes of it.

use std::path::Path;
use std::time::Duration;

use mwan_api::{DrillOrder, Request};

use super::args::DrillArgs;
use super::client::Said;
use super::{Exit, Failure, client, print, talk};

/// How often the daemon is asked how it goes; it takes who does not ask for five seconds for gone.
const PAUSE: Duration = Duration::from_millis(500);
/// So often in a row nobody may answer.
const SILENCE_MAX: u32 = 6;

/// Holds a drill, ends one, or shows those that were.
pub(super) fn run(run_dir: &Path, args: DrillArgs) -> Result<Exit, Failure> {
    let show = |said: Said| print(&if args.json { said.json() } else { said.text });
    let Some(interface) = args.interface else {
        if args.stop {
            super::commands::done(client::ask(run_dir, &Request::StopDrill)?)?;
            talk("ended: the WAN carries again");
        } else {
            show(client::ask_in_words(run_dir, &Request::Drills { attended: None })?)?;
        }
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
    let said = client::ask_in_words(run_dir, &Request::Drill(order))?;
    if args.dry_run {
        show(said)?;
        return Ok(Exit::Ok);
    }
    if args.detach {
        talk(&format!("drill {} begins", said.number));
        return Ok(Exit::Ok);
    }
    let said = wait(run_dir, said.number)?;
    let passed = said.drills.first().is_some_and(|drill| drill.passed == Some(true));
    let text = said.drills.first().map(|drill| drill.text.clone()).unwrap_or_default();
    print(&if args.json { said.json() } else { text })?;
    Ok(if passed { Exit::Ok } else { Exit::Degraded })
}

/// Says each step, until it is over. Asking is what keeps the drill up: Ctrl-C ends both.
fn wait(run_dir: &Path, number: u64) -> Result<Said, Failure> {
    let (mut told, mut silent) = (0, 0);
    loop {
        let said = match client::ask_in_words(run_dir, &Request::Drills { attended: Some(number) }) {
            Ok(said) => said,
            Err(failure) if silent >= SILENCE_MAX => return Err(failure),
            Err(_) => {
                silent += 1;
                std::thread::sleep(PAUSE);
                continue;
            }
        };
        silent = 0;
        let Some(drill) = said.running.as_deref().or(said.drills.first()) else {
            return Err(Failure::says("the drill did not survive the daemon: what it pretended is over")
                .hint("`mwan status` shows how the WANs are"));
        };
        drill.steps.iter().skip(told).for_each(|step| talk(&super::plain(step)));
        told = told.max(drill.steps.len());
        if said.running.is_none() {
            return Ok(said);
        }
        std::thread::sleep(PAUSE);
    }
}
