//! What is remembered of the paths, as files: read here by daemon and command line alike.

mod files;

use mwan_api::{HistoryQuery, Report};
use mwan_history::{History, Month};

pub(crate) use files::{Folders, RingFile};

use crate::cli::Failure;

/// The month of a report; without a word, that of `now_s`.
pub(crate) fn month(text: Option<&str>, now_s: u64) -> Result<Month, Failure> {
    let Some(text) = text else { return Ok(Month::of(now_s)) };
    Month::parse(text).ok_or_else(|| {
        Failure::says(format!("'{}' is not a month", text.escape_debug())).hint("write it as 2026-11")
    })
}

/// The report of a month from all that is there; `held` keeps whoever writes it from doing so meanwhile.
pub(crate) fn report<G>(folders: &Folders, month: Month, now_s: u64, held: impl Fn() -> G) -> Report {
    let (mut interfaces, mut problems) = {
        let _held = held();
        let (all, problems) = folders.read_all();
        (all, problems)
    };
    let mut reports = Vec::new();
    for history in interfaces.drain(..) {
        let _held = held();
        match mwan_history::interface(&history, month, now_s) {
            Ok(interface) => reports.extend(interface),
            Err(error) => problems.push(format!("{}: {error}", history.name())),
        }
    }
    mwan_history::report(month, now_s, reports, problems)
}

/// The series of a path.
pub(crate) fn series(
    history: Option<&History<RingFile>>,
    query: &HistoryQuery,
    now_s: u64,
) -> Result<mwan_api::History, Failure> {
    let name = query.interface.escape_debug();
    let nothing = || {
        Failure::says(format!("nothing is recorded of interface '{name}'"))
            .hint("`mwan report` lists what is recorded")
    };
    let history = history.ok_or_else(nothing)?;
    if let Some(family) = query.family.as_deref().filter(|family| !["ipv4", "ipv6"].contains(family)) {
        return Err(
            Failure::says(format!("'{}' is not a family", family.escape_debug())).hint("it is ipv4 or ipv6")
        );
    }
    mwan_history::series(history, query, now_s)
        .map_err(|error| Failure::new(format!("cannot read the history of {name}"), &error))?
        .ok_or_else(nothing)
}
