//! `mwan alerts`: who is told of incidents and how that goes; and a test.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use mwan_alerts::duration_text;
use mwan_api::{Alert, AlertTest, Alerts, Request, Response};

use super::args::AlertCommand;
use super::commands::unexpected;
use super::{Exit, Failure, client, print, talk};
use crate::show::{json, plain};

/// How long somebody who tests waits: a program may take its time, a message a minute.
const TEST_MAX: Duration = Duration::from_secs(120);
/// Pause between two looks at what became of it.
const LOOK: Duration = Duration::from_millis(250);

/// Runs `mwan alerts`.
pub(super) fn run(run_dir: &Path, command: Option<AlertCommand>, as_json: bool) -> Result<Exit, Failure> {
    match command {
        None => {
            let alerts = ask(run_dir)?;
            print(&if as_json { json(&alerts)? } else { text(&alerts, now_ms()) })?;
            let failing = |a: &Alert| a.last_error.is_some();
            let bad = alerts.problem.is_some() || alerts.alerts.iter().any(failing);
            Ok(if bad { Exit::Degraded } else { Exit::Ok })
        }
        Some(AlertCommand::Test { name }) => test(run_dir, name),
        Some(AlertCommand::Serve { state_dir }) => {
            crate::alerts::serve(run_dir, &state_dir).map(|()| Exit::Ok)
        }
    }
}

fn ask(run_dir: &Path) -> Result<Alerts, Failure> {
    match client::ask_at_length(run_dir, &Request::Alerts)? {
        Response::Alerts(alerts) => Ok(alerts),
        _ => Err(unexpected()),
    }
}

fn test(run_dir: &Path, name: String) -> Result<Exit, Failure> {
    let request = Request::TestAlert { name: name.clone() };
    let Response::TestAlert { number } = client::ask_at_length(run_dir, &request)? else {
        return Err(unexpected());
    };
    let end = Instant::now() + TEST_MAX;
    while Instant::now() < end {
        let alerts = ask(run_dir)?.alerts;
        let tested = alerts.into_iter().find(|a| a.name == name).and_then(|a| a.test);
        match tested {
            Some(AlertTest { number: of, error }) if of == number => {
                return match error {
                    None => {
                        talk(&format!("{}: the test was sent", plain(&name)));
                        Ok(Exit::Ok)
                    }
                    Some(error) => Err(Failure::says(format!("{name}: the test was not sent: {error}"))),
                };
            }
            _ => std::thread::sleep(LOOK),
        }
    }
    let waited = TEST_MAX.as_secs();
    Err(Failure::says(format!("{name}: nothing came of the test within {waited} s"))
        .hint("see `mwan alerts` and the log"))
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// One paragraph for each.
fn text(alerts: &Alerts, now_ms: u64) -> String {
    let mut out = String::new();
    // Writing into a String cannot fail.
    if let Some(problem) = &alerts.problem {
        let _ = writeln!(out, "nobody sends alerts: {}", plain(problem));
    }
    if alerts.alerts.is_empty() {
        out.push_str("no alert is configured\n");
    }
    for alert in &alerts.alerts {
        let last = match alert.last_sent_ms {
            Some(ms) => format!("last sent {} ago", duration_text(now_ms.saturating_sub(ms))),
            None => "nothing sent yet".to_owned(),
        };
        let _ = writeln!(
            out,
            "{} ({}): {last}, {} in all, {} waiting",
            plain(&alert.name),
            alert.kind,
            alert.sent,
            alert.queued
        );
        if let Some(error) = &alert.last_error {
            let tries = match alert.failures {
                0 => String::new(),
                n => format!(", {n} attempts in vain"),
            };
            let next = alert.next_try_ms.map_or(String::new(), |ms| {
                format!(", next in {}", duration_text(ms.saturating_sub(now_ms)))
            });
            let _ = writeln!(out, "  failed: {}{tries}{next}", plain(error));
        }
        if alert.dropped > 0 {
            let _ = writeln!(out, "  {} given up", alert.dropped);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown() {
        let good = Alert {
            name: "pager".into(),
            kind: "webhook".into(),
            queued: 0,
            sent: 3,
            last_sent_ms: Some(940_000),
            failures: 0,
            next_try_ms: None,
            last_error: None,
            dropped: 0,
            test: None,
        };
        let bad = Alert {
            name: "mail\u{1b}".into(),
            kind: "email".into(),
            queued: 2,
            sent: 0,
            last_sent_ms: None,
            failures: 4,
            next_try_ms: Some(1_080_000),
            last_error: Some("535 wrong password".into()),
            dropped: 1,
            test: None,
        };
        let alerts =
            Alerts { schema: String::new(), problem: Some("it died".into()), alerts: vec![good, bad] };
        let shown = text(&alerts, 1_000_000);
        assert!(!shown.contains('\u{1b}'), "{shown:?}");
        for line in [
            "nobody sends alerts: it died",
            "pager (webhook): last sent 1 min 0 s ago, 3 in all, 0 waiting",
            "  failed: 535 wrong password, 4 attempts in vain, next in 1 min 20 s",
            "  1 given up",
        ] {
            assert!(shown.lines().any(|l| l == line), "{line}: {shown}");
        }
        assert!(
            text(&Alerts { schema: String::new(), problem: None, alerts: Vec::new() }, 0)
                .contains("no alert")
        );
    }
}
