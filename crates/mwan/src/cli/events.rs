//! `mwan events`: what has happened, and with `--follow` what happens.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use mwan_api::{Event, EventQuery, Request, Severity, Watched};

use super::args::EventArgs;
use super::client::Answer;
use super::{Exit, Failure, client, print};
use crate::show::{json, plain};

/// Shows events.
pub(super) fn run(run_dir: &Path, args: EventArgs) -> Result<Exit, Failure> {
    let severity = (!args.all).then_some(Severity::Info);
    let query =
        EventQuery { limit: Some(args.limit), interface: args.interface, severity, ..EventQuery::default() };
    let Answer::Events(mut found) = client::ask(run_dir, &Request::Events(query.clone()))? else {
        return Err(Failure::says("the daemon's answer does not fit the question"));
    };
    if !args.follow {
        // The newest at the bottom, where a terminal shows it.
        found.events.reverse();
        let text = || found.events.iter().map(line).collect::<String>();
        print(&if args.json { json(&found)? } else { text() })?;
        return Ok(Exit::Ok);
    }
    for event in found.events.iter().rev() {
        show(event, args.json)?;
    }
    follow(run_dir, found.latest, |event| {
        let wanted = query.interface.as_ref().is_none_or(|name| event.interface.as_ref() == Some(name))
            && query.severity.is_none_or(|severity| event.severity >= severity);
        if wanted { show(event, args.json) } else { Ok(()) }
    })
}

fn show(event: &Event, json: bool) -> Result<(), Failure> {
    if !json {
        return print(&line(event));
    }
    let text = serde_json::to_string(event).map_err(|e| Failure::new("cannot write JSON", &e))?;
    print(&format!("{text}\n"))
}

/// Until the daemon ends.
fn follow(
    run_dir: &Path,
    after: u64,
    mut show: impl FnMut(&Event) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    let lost = |e: std::io::Error| Failure::new("the daemon cannot be heard any more", &e);
    let mut stream = UnixStream::connect(run_dir.join(crate::daemon::SOCKET)).map_err(lost)?;
    let mut request = serde_json::to_vec(&Request::Watch { after: Some(after) })
        .map_err(|e| Failure::new("cannot write JSON", &e))?;
    request.push(b'\n');
    stream.write_all(&request).map_err(lost)?;
    for line in BufReader::new(stream).lines() {
        let line = line.map_err(lost)?;
        if let Ok(Answer::Error { message, hint }) = serde_json::from_str(&line) {
            return Err(Failure { message, hint });
        }
        match serde_json::from_str(&line) {
            Ok(Watched::Event(event)) => show(&event)?,
            Ok(Watched::Missed) => super::talk("some events were not read in time: see `mwan events`"),
            Ok(Watched::Sample(_) | Watched::TestAlert { .. }) | Err(_) => {}
        }
    }
    Err(Failure::says("the daemon has ended"))
}

fn line(event: &Event) -> String {
    let mark = match event.severity {
        Severity::Error => "error   ",
        Severity::Warning => "warning ",
        Severity::Info | Severity::Debug => "        ",
    };
    format!("{} {mark}{}\n", utc(event.time_ms), plain(&event.text))
}

/// RFC 3339, whole seconds, UTC.
pub(crate) fn utc(time_ms: u64) -> String {
    format!("{}Z", mwan_api::calendar::stamp(time_ms / 1000).replacen(' ', "T", 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_date() {
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(951_782_400_000), "2000-02-29T00:00:00Z");
        assert_eq!(utc(1_795_690_799_999), "2026-11-26T10:59:59Z");
        assert_eq!(utc(4_107_542_399_000), "2100-02-28T23:59:59Z");
        assert_eq!(utc(4_107_542_400_000), "2100-03-01T00:00:00Z");
    }
}
