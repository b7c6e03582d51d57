//! `mwan report` and `mwan history`: what was recorded, from the daemon, or from its files while none runs.

use std::fmt::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mwan_api::{History, HistoryQuery, Report, Request, Response};

use super::args::{HistoryArgs, ReportArgs};
use super::render::plain;
use super::{Exit, Failure, client, print, render};
use crate::history::{self, Folders};

/// Prints the report of a month.
pub(super) fn report(run_dir: &Path, args: ReportArgs) -> Result<Exit, Failure> {
    let now_s = now_s();
    let month = history::month(args.month.as_deref(), now_s)?;
    let report: Report = match client::try_ask(run_dir, &Request::Report { month: args.month })? {
        Some(Response::Report(report)) => *report,
        Some(_) => return Err(unexpected()),
        None => history::report(&Folders::new(run_dir, &args.files.state_dir), month, now_s, || ()),
    };
    print(&if args.json {
        render::json(&report)?
    } else if args.html {
        mwan_history::html(&report)
    } else {
        mwan_history::text(&report)
    })?;
    Ok(Exit::Ok)
}

/// Prints how an interface was.
pub(super) fn series(run_dir: &Path, args: HistoryArgs) -> Result<Exit, Failure> {
    let now_s = now_s();
    let query = HistoryQuery {
        interface: args.interface,
        family: args.family,
        from_s: Some(now_s.saturating_sub(args.hours * 3600)),
        to_s: Some(now_s),
        points: Some(args.points),
    };
    let history = match client::try_ask(run_dir, &Request::History(query.clone()))? {
        Some(Response::History(history)) => *history,
        Some(_) => return Err(unexpected()),
        None => {
            let read = Folders::new(run_dir, &args.files.state_dir).read(&query.interface);
            history::series(read.as_ref(), &query, now_s)?
        }
    };
    print(&if args.json { render::json(&history)? } else { table(&history) })?;
    Ok(Exit::Ok)
}

fn unexpected() -> Failure {
    Failure::says("the daemon's answer does not fit the question").hint("are both of the same version?")
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A line for each point, then the outages.
fn table(history: &History) -> String {
    let mut out = format!(
        "{} {}, each line {} s (UTC)\n{:<19} {:>7} {:>9} {:>9} {:>7} {:>9} {:>10} {:>10}\n",
        plain(&history.interface),
        history.family,
        history.step_s,
        "from",
        "up %",
        "rtt ms",
        "max ms",
        "loss %",
        "jitter ms",
        "rx Mbit/s",
        "tx Mbit/s"
    );
    let s = &history.series;
    for (index, up) in s.up.iter().enumerate() {
        let figure = |list: &[Option<f64>], scale: f64, places: usize| {
            let value = list.get(index).copied().flatten();
            value.map_or("-".to_owned(), |value| format!("{:.places$}", value * scale))
        };
        let from = mwan_api::calendar::stamp(history.from_s + index as u64 * history.step_s);
        let up = up.map_or("-".to_owned(), |up| format!("{:.2}", up * 100.0));
        let _ = writeln!(
            out,
            "{from} {up:>7} {:>9} {:>9} {:>7} {:>9} {:>10} {:>10}",
            figure(&s.rtt_ms, 1.0, 1),
            figure(&s.rtt_max_ms, 1.0, 1),
            figure(&s.loss, 1.0, 2),
            figure(&s.jitter_ms, 1.0, 1),
            figure(&s.rx_bps, 1e-6, 2),
            figure(&s.tx_bps, 1e-6, 2),
        );
    }
    for outage in &history.outages {
        let start = mwan_api::calendar::stamp(outage.start_ms / 1000);
        let end = match outage.end_ms {
            None => "now".to_owned(),
            Some(end) => mwan_api::calendar::stamp(end / 1000),
        };
        let unseen = if outage.end_ms.is_some() && !outage.end_seen { " or later" } else { "" };
        let _ = writeln!(out, "outage from {start} to {end}{unseen}: {}", plain(&outage.text));
    }
    out
}
