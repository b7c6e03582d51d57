//! `mwan apply`, `confirm`, `rollback`: another configuration with a way back, and the ones there were.

use std::io::{BufRead, IsTerminal};
use std::path::Path;
use std::sync::mpsc;
use std::time::Duration;

use mwan_api::{Applied, ApplyOrder, ConfigText, Content, Look, Request, Revisions, Way};

use super::args::{ApplyArgs, RollbackArgs, Terms};
use super::client::Answer;
use super::commands::view;
use super::{Exit, Failure, client, difference, events, print, talk};
use crate::daemon;
use crate::show::{json, plain};

/// Puts a file in force.
pub(super) fn apply(run_dir: &Path, args: ApplyArgs) -> Result<Exit, Failure> {
    let (file, bytes) = daemon::read_config(&args.file)?;
    // Who is asked cannot be the one whose input the text was.
    let (name, asked) = match file.as_str() {
        "-" => ("standard input".to_owned(), false),
        name => (name.to_owned(), std::io::stdin().is_terminal()),
    };
    let text = String::from_utf8(bytes)
        .map_err(|e| Failure::new(format!("{name} is not UTF-8 text"), &e.utf8_error()))?;
    carry_out(run_dir, &name, Content::Text { file, text }, &args.terms, asked)
}

/// Puts one that was in force back, or shows them.
pub(super) fn rollback(run_dir: &Path, args: &RollbackArgs) -> Result<Exit, Failure> {
    if args.list {
        return list(run_dir, args.json);
    }
    if let Some(number) = args.diff {
        return diff(run_dir, number);
    }
    let Terms { confirm, must_reach, dry_run } = &args.terms;
    let plain_word = args.number.is_none() && confirm.is_none() && must_reach.is_empty() && !dry_run;
    if plain_word && revisions(run_dir)?.waiting.is_some() {
        client::ask(run_dir, &Request::TakeBack)?;
        talk("taken back: the configuration before is in force again");
        return Ok(Exit::Ok);
    }
    let name = args.number.map_or_else(|| "the one before".to_owned(), |n| format!("configuration {n}"));
    let content = Content::Revision { number: args.number };
    carry_out(run_dir, &name, content, &args.terms, std::io::stdin().is_terminal())
}

/// Keeps what waits for it.
pub(super) fn confirm(run_dir: &Path) -> Result<Exit, Failure> {
    super::commands::done(client::ask(run_dir, &Request::Confirm)?)?;
    talk("confirmed: the configuration stays");
    Ok(Exit::Ok)
}

fn carry_out(
    run_dir: &Path,
    name: &str,
    content: Content,
    terms: &Terms,
    asked: bool,
) -> Result<Exit, Failure> {
    let order = ApplyOrder {
        revision: None,
        content,
        dry_run: terms.dry_run,
        confirm_s: terms.confirm,
        must_reach: terms.must_reach.clone(),
        by: super::commands::asked_by(),
    };
    if terms.dry_run {
        return show(run_dir, give(run_dir, name, order)?);
    }
    let asked = asked && terms.confirm.is_some();
    // What it means for connections has to be known before it is done to them.
    let impact = if asked { impact(run_dir, name, &order)? } else { String::new() };
    let applied = give(run_dir, name, order)?;
    told(&applied);
    if let Some(why) = applied.taken_back {
        return Err(Failure::says(format!("{name} does not stay: {why}")));
    }
    let file = &applied.file;
    if !applied.put.changed {
        talk(&format!("nothing to be done: {file} says so already"));
        return Ok(Exit::Ok);
    }
    let exit = match &applied.put.waiting {
        Some(why) => {
            talk(&format!("{file} is written; the kernel does not have it yet: {why}"));
            Exit::Degraded
        }
        None => {
            talk(&format!("{file} is written and in force"));
            Exit::Ok
        }
    };
    match applied.confirm_s {
        Some(seconds) if asked => ask(run_dir, seconds, &impact, exit),
        Some(seconds) => {
            talk(&format!(
                "within {seconds} s `mwan confirm` keeps it; else the configuration before comes back"
            ));
            Ok(exit)
        }
        None => Ok(exit),
    }
}

fn give(run_dir: &Path, name: &str, order: ApplyOrder) -> Result<Applied, Failure> {
    match client::ask_patiently(run_dir, &Request::Apply(order))? {
        Answer::Applied(applied) => Ok(applied),
        Answer::Refused { message, diagnostics } => {
            diagnostics.iter().for_each(|d| talk(&d.text));
            let known = diagnostics.iter().any(|d| d.text == message);
            let why = if known { String::new() } else { format!(": {message}") };
            Err(Failure::says(format!("{name} is not applied, nothing is changed{why}")))
        }
        Answer::Conflict => {
            Err(Failure::says("the configuration file was changed meanwhile; nothing is written")
                .hint("try it again"))
        }
        _ => Err(super::commands::unexpected()),
    }
}

fn told(applied: &Applied) {
    applied.put.diagnostics.iter().for_each(|d| talk(&d.text));
    applied.notes.iter().for_each(|note| talk(note));
    for reached in &applied.reached {
        if let Some(us) = reached.rtt_us {
            talk(&format!("{} is reached in {}.{} ms", reached.target, us / 1000, us % 1000 / 100));
        }
    }
}

/// What it would mean for connections, in a line; empty if that is not known.
fn impact(run_dir: &Path, name: &str, order: &ApplyOrder) -> Result<String, Failure> {
    let dry = give(run_dir, name, ApplyOrder { dry_run: true, ..order.clone() })?;
    let request = Request::Plan { file: dry.file, text: dry.put.text.unwrap_or_default() };
    client::text(run_dir, request, view(Look::Impact, false))
}

/// Until somebody answers, or the time is over. Who has lost the terminal does not answer.
fn ask(run_dir: &Path, seconds: u32, impact: &str, exit: Exit) -> Result<Exit, Failure> {
    if !impact.is_empty() {
        talk(impact);
    }
    talk(&format!(
        "Type yes within {seconds} s to keep it, no to take it back now. Without an answer the configuration before comes back."
    ));
    let (said, hears) = mpsc::channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { return };
            if said.send(line).is_err() {
                return;
            }
        }
    });
    let end = std::time::Instant::now() + Duration::from_secs(seconds.into());
    loop {
        let left = end.saturating_duration_since(std::time::Instant::now());
        match hears.recv_timeout(left).as_deref().map(str::trim) {
            Ok("yes") => return confirm(run_dir).map(|_| exit),
            Ok("no") => {
                client::ask(run_dir, &Request::TakeBack)?;
                return Err(Failure::says("taken back: the configuration before is in force again"));
            }
            Ok(_) => talk("yes or no?"),
            Err(_) => return elsewhere(run_dir, exit),
        }
    }
}

/// Nobody has answered here; maybe somebody has elsewhere.
fn elsewhere(run_dir: &Path, exit: Exit) -> Result<Exit, Failure> {
    let now = revisions(run_dir)?;
    if now.waiting.is_none()
        && now.revisions.first().is_some_and(|newest| !matches!(newest.way, Way::TakenBack))
    {
        talk("confirmed by somebody else: the configuration stays");
        return Ok(exit);
    }
    Err(Failure::says("not confirmed: the configuration before comes back")
        .hint("`mwan rollback --list` shows both; apply it again when it is right"))
}

/// What would change: in the file, in the kernel, for connections.
fn show(run_dir: &Path, applied: Applied) -> Result<Exit, Failure> {
    told(&applied);
    let Answer::Config(ConfigText { text: before, .. }) = client::ask(run_dir, &Request::Config)? else {
        return Err(super::commands::unexpected());
    };
    let (file, text) = (applied.file, applied.put.text.unwrap_or_default());
    let changes = difference::of_sections(&before, &text);
    let changes = if changes.is_empty() { "# none\n" } else { &changes };
    print_changes(run_dir, &file, changes, text)
}

/// What would change in the file, and what that would change in the kernel and for connections.
pub(super) fn print_changes(
    run_dir: &Path,
    file: &str,
    changes: &str,
    text: String,
) -> Result<Exit, Failure> {
    let request = Request::Plan { file: file.to_owned(), text };
    let kernel = client::text(run_dir, request, view(Look::Changes, false))?;
    print(&format!("# changes to {file}\n{changes}\n# changes to the kernel as it is now\n{kernel}"))?;
    Ok(Exit::Ok)
}

fn revisions(run_dir: &Path) -> Result<Revisions, Failure> {
    match client::ask(run_dir, &Request::Revisions)? {
        Answer::Revisions(revisions) => Ok(revisions),
        _ => Err(super::commands::unexpected()),
    }
}

fn list(run_dir: &Path, json: bool) -> Result<Exit, Failure> {
    let revisions = revisions(run_dir)?;
    revisions.damaged.iter().for_each(|line| talk(line));
    print(&if json { self::json(&revisions)? } else { table(&revisions) })?;
    Ok(Exit::Ok)
}

fn table(revisions: &Revisions) -> String {
    let mut text = String::new();
    for (at, revision) in revisions.revisions.iter().enumerate() {
        let present = if at == 0 { '*' } else { ' ' };
        let who = revision.by.as_ref().map(|by| format!(" by {}", plain(by))).unwrap_or_default();
        let back = if revision.taken_back { ", taken back" } else { "" };
        let waits = if at == 0 && revisions.waiting.is_some() { ", to be confirmed" } else { "" };
        let when = events::utc(revision.time_ms);
        text.push_str(&format!(
            "{present}{:>6}  {when}  {}{who}{back}{waits}\n",
            revision.number,
            word(revision.way)
        ));
    }
    if text.is_empty() { "# none is kept\n".to_owned() } else { text }
}

fn word(way: Way) -> &'static str {
    match way {
        Way::Start => "found at a start",
        Way::Edit => "file edited",
        Way::Put => "control API",
        Way::Cloud => "cloud's document",
        Way::Apply => "mwan apply",
        Way::Rollback => "mwan rollback",
        Way::TakenBack => "the one before, taken back to",
    }
}

/// What a configuration changed against the one before it.
fn diff(run_dir: &Path, number: u64) -> Result<Exit, Failure> {
    let Answer::Revision(revision) = client::ask(run_dir, &Request::Revision { number })? else {
        return Err(super::commands::unexpected());
    };
    let Some((before, text)) = revision.before else {
        talk(&format!("configuration {number} is the oldest that is kept; all of it:"));
        print(&revision.text)?;
        return Ok(Exit::Ok);
    };
    let changes = difference::of_sections(&text, &revision.text);
    print(&format!(
        "# from {before} to {number}\n{}",
        if changes.is_empty() { "# none\n" } else { &changes }
    ))?;
    Ok(Exit::Ok)
}
