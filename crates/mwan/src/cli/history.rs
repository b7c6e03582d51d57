//! `mwan report` and `mwan history`: what was recorded, from the daemon, or from its files while none runs.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use mwan_api::{HistoryQuery, Look, Request, Response};

use super::args::{HistoryArgs, ReportArgs};
use super::commands::view;
use super::{Exit, Failure, client};
use crate::history::{self, Folders};
use crate::show::show;

/// Prints the report of a month.
pub(super) fn report(run_dir: &Path, args: ReportArgs) -> Result<Exit, Failure> {
    let now_s = now_s();
    let month = history::month(args.month.as_deref(), now_s)?;
    let view = view(if args.html { Look::Page } else { Look::Whole }, args.json);
    if let Some(exit) = client::try_show(run_dir, Request::Report { month: args.month }, view)? {
        return Ok(exit);
    }
    let report = history::report(&Folders::new(run_dir, &args.files.state_dir), month, now_s, || ());
    client::say(show(Response::Report(Box::new(report)), view)?)
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
    let view = view(Look::Whole, args.json);
    if let Some(exit) = client::try_show(run_dir, Request::History(query.clone()), view)? {
        return Ok(exit);
    }
    let read = Folders::new(run_dir, &args.files.state_dir).read(&query.interface);
    let found = history::series(read.as_ref(), &query, now_s)?;
    client::say(show(Response::History(Box::new(found)), view)?)
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
