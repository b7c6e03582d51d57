//! `mwan record`: the last events of the core into a file. `mwan replay`: the same decisions again, and what other options would have
//! made of them.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::path::Path;
use std::time::Duration;

use flate2::bufread::MultiGzDecoder;
use mwan_api::{Replay, ReplayDecision, ReplayOutage, ReplaySeen, ReplayTrial, Request, Response};
use mwan_config::Assignment;
use mwan_core::Time;
use mwan_record::{
    Recording, Replayed, Seen, Trouble, Unreadable, Verdict, compare, replay, switches, try_out,
};

use super::args::ReplayArgs;
use super::{Exit, Failure, client, print, talk};
use crate::replace::{Durability, Marks, replace};
use crate::show::{json, plain, seconds};

/// Differences below this are none.
const SAME: Duration = Duration::from_millis(50);

/// Writes a recording of the running daemon.
pub(super) fn record(run_dir: &Path, file: &Path) -> Result<Exit, Failure> {
    let to_stdout = file.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(
            Failure::says("a recording is compressed, and this is a terminal").hint("mwan record FILE")
        );
    }
    let Response::Recording(recording) = client::ask_at_length(run_dir, &Request::Record)? else {
        return Err(super::commands::unexpected());
    };
    let bytes = from_hex(&recording.gzip_hex).ok_or_else(super::commands::unexpected)?;
    if to_stdout {
        let mut out = io::stdout().lock();
        return match out.write_all(&bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::new("cannot write to standard output", &error))
            }
            _ => Ok(Exit::Ok),
        };
    }
    // A device or a pipe is written to, as a program that opens it would: a file in its place were the end of /dev/null.
    let special = std::fs::metadata(file).is_ok_and(|meta| !meta.is_file() && !meta.is_dir());
    let written = match special {
        true => File::options().write(true).open(file).and_then(|mut file| file.write_all(&bytes)),
        false => replace(file, Marks::ours(0o600), Durability::Process, &bytes),
    };
    written.map_err(|e| Failure::new(format!("cannot write {}", file.display()), &e))?;
    talk(&format!("{}: {} events, {} bytes", file.display(), recording.events, bytes.len()));
    Ok(Exit::Ok)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.get(1)?)?)).collect()
}

/// Decides by a recording again.
pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let assignments = assignments(&args.set)?;
    let name = args.file.display();
    let recording = read(&args.file).map_err(|unreadable| {
        let hint = unreadable.hint();
        let failure = match unreadable {
            Unreadable::Io(error) => Failure::new(format!("cannot read {name}"), &error),
            other => Failure::says(format!("{name}: {other}")),
        };
        failure.hint(hint)
    })?;
    let failed = |trouble: Trouble| match trouble {
        Trouble::Option(message, hint) => Failure::says(message).hint(hint),
        other => Failure::says(format!("{name}: {other}")).hint("replay it with the mwan that made it"),
    };
    let replayed = replay(&recording).map_err(failed)?;
    let mut document = document(&recording, &replayed, args.all);
    if !assignments.is_empty() {
        document.trial = Some(trial(&recording, &replayed, &assignments).map_err(failed)?);
    }
    print(&if args.json { json(&document)? } else { text(&document) })?;
    if let Some(first) = &replayed.first {
        let at = utc(recording.made.unix_ms(first.at));
        let of = |decisions: &[mwan_record::Decision]| match decisions.first() {
            Some(decision) => plain(&decision.to_string()),
            None => "nothing".to_owned(),
        };
        let (recorded, now) = (of(&first.recorded), of(&first.replayed));
        talk(&format!(
            "mwan: {} events lead to other decisions here, the first at {at}",
            replayed.differences
        ));
        talk(&format!("recorded: {recorded}; here: {now}"));
        if recording.made.mwan != env!("CARGO_PKG_VERSION") {
            talk(&format!("hint: it was made by mwan {}; replay it with that", plain(&recording.made.mwan)));
        }
        return Ok(Exit::Degraded);
    }
    Ok(Exit::Ok)
}

fn assignments(words: &[String]) -> Result<Vec<Assignment>, Failure> {
    let parse = |word: &String| {
        let hint =
            |hint: String| Failure::says(format!("--set {}: what is it to be?", plain(word))).hint(hint);
        word.parse::<Assignment>().map_err(hint)
    };
    words.iter().map(parse).collect()
}

/// Compressed or not.
fn read(file: &Path) -> Result<Recording, Unreadable> {
    const GZIP: [u8; 2] = [0x1f, 0x8b];
    let source: Box<dyn Read> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(file).map_err(Unreadable::Io)?)
    };
    let mut source = BufReader::with_capacity(64 << 10, source);
    let begin = source.fill_buf().map_err(Unreadable::Io)?;
    if !begin.starts_with(&GZIP) {
        return Recording::read(source);
    }
    Recording::read(BufReader::with_capacity(64 << 10, MultiGzDecoder::new(source)))
}

fn document(recording: &Recording, replayed: &Replayed, all: bool) -> Replay {
    let at = |time: Time| recording.made.unix_ms(time);
    let last = recording.events.last().map_or(recording.begin.at, |noted| noted.at);
    let told = replayed.decisions.iter().filter(|d| all || d.decision.is_told());
    Replay {
        schema: mwan_api::SCHEMA_REPLAY.to_owned(),
        mwan: recording.made.mwan.clone(),
        made_ms: recording.made.clock.1,
        why: recording.made.why.clone(),
        from_ms: at(recording.begin.at),
        to_ms: at(last),
        events: recording.events.len() as u64,
        differences: replayed.differences,
        decisions: told.map(|d| ReplayDecision { time_ms: at(d.at), text: d.decision.to_string() }).collect(),
        trial: None,
    }
}

fn trial(recording: &Recording, replayed: &Replayed, set: &[Assignment]) -> Result<ReplayTrial, Trouble> {
    let trial = try_out(recording, replayed, set)?;
    let verdicts = compare(&replayed.decisions, &trial.decisions, replayed.interval);
    let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
    Ok(ReplayTrial {
        set: set.iter().map(ToString::to_string).collect(),
        outages: verdicts.iter().map(|verdict| outage(recording, verdict)).collect(),
        switches_recorded: count(switches(&replayed.decisions)),
        switches: count(switches(&trial.decisions)),
        accuracy_ms: ms(replayed.interval / 2),
        probes: trial.doubts.probes,
        unknown_late: trial.doubts.late,
        unknown_far: trial.doubts.far,
        unknown: trial.doubts.unknown,
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn outage(recording: &Recording, verdict: &Verdict) -> ReplayOutage {
    let at = |time: Time| recording.made.unix_ms(time);
    let (seen, by) = match &verdict.seen {
        Seen::Sooner(by) | Seen::Later(by) if *by < SAME => (ReplaySeen::Alike, None),
        Seen::Sooner(by) => (ReplaySeen::Sooner, Some(*by)),
        Seen::Later(by) => (ReplaySeen::Later, Some(*by)),
        Seen::Alike => (ReplaySeen::Alike, None),
        Seen::Never => (ReplaySeen::Never, None),
        Seen::Already => (ReplaySeen::Already, None),
        Seen::Only => (ReplaySeen::Only, None),
    };
    let recorded = Some(&verdict.outage).filter(|_| seen != ReplaySeen::Only);
    ReplayOutage {
        interface: verdict.outage.interface.clone(),
        family: verdict.outage.family.name().to_owned(),
        seen,
        by_ms: by.map(ms),
        recorded_from_ms: recorded.map(|o| at(o.from)),
        recorded_to_ms: recorded.and_then(|o| o.to).map(at),
        from_ms: verdict.other.as_ref().map(|o| at(o.from)),
        to_ms: verdict.other.as_ref().and_then(|o| o.to).map(at),
        switched: verdict.switched,
        reason: verdict.outage.reason.clone(),
    }
}

/// RFC 3339 with tenths of a second.
fn utc(time_ms: u64) -> String {
    format!("{}.{}Z", mwan_api::calendar::stamp(time_ms / 1000).replacen(' ', "T", 1), time_ms % 1000 / 100)
}

fn text(replay: &Replay) -> String {
    let mut out = String::new();
    for decision in &replay.decisions {
        let _ = writeln!(out, "{} {}", utc(decision.time_ms), plain(&decision.text));
    }
    let why = if replay.why == "asked" { String::new() } else { format!(", because {}", plain(&replay.why)) };
    let _ = writeln!(
        out,
        "{} events from {} to {}, recorded by mwan {}{why}",
        replay.events,
        utc(replay.from_ms),
        utc(replay.to_ms),
        plain(&replay.mwan)
    );
    if replay.differences == 0 {
        out.push_str("every decision is the recorded one\n");
    }
    if let Some(trial) = &replay.trial {
        trial_text(&mut out, trial);
    }
    out
}

fn trial_text(out: &mut String, trial: &ReplayTrial) {
    let set: Vec<String> = trial.set.iter().map(|word| plain(word)).collect();
    let _ = writeln!(out, "\nwith {}:", set.join(" "));
    for outage in &trial.outages {
        let when = outage.recorded_from_ms.or(outage.from_ms).map(utc).unwrap_or_default();
        let by = seconds(outage.by_ms.unwrap_or_default());
        let length = match (outage.from_ms, outage.to_ms) {
            (Some(from), Some(to)) => format!("for {}", seconds(to.saturating_sub(from))),
            _ => "until the end".to_owned(),
        };
        let verdict = match outage.seen {
            ReplaySeen::Sooner => format!("seen {by} sooner"),
            ReplaySeen::Later => format!("seen {by} later"),
            ReplaySeen::Alike => "seen at the same time".to_owned(),
            ReplaySeen::Never => "not seen".to_owned(),
            ReplaySeen::Already => "lost before already".to_owned(),
            ReplaySeen::Only if outage.switched => {
                format!("false failover {length}: what was recorded rode it out")
            }
            ReplaySeen::Only => format!("lost {length}, no policy moved: what was recorded rode it out"),
        };
        let (interface, family) = (plain(&outage.interface), &outage.family);
        let _ = writeln!(out, "{when} {interface} {family} ({}): {verdict}", plain(&outage.reason));
    }
    if trial.outages.is_empty() {
        out.push_str("no outage, as recorded\n");
    }
    let (before, now) = (trial.switches_recorded, trial.switches);
    let _ = writeln!(out, "switches of policies: {now}, recorded {before}");
    let accuracy = seconds(trial.accuracy_ms);
    let _ = writeln!(out, "times are exact to {accuracy}: between two recorded probes the nearer one counts");
    for (count, what) in [
        (
            trial.unknown_late,
            "were lost when they were recorded, and with a longer timeout might have been answered",
        ),
        (trial.unknown_far, "are answered by a recorded probe that is more than an interval away"),
        (trial.unknown, "went to a target that was not asked then, and count as lost"),
    ] {
        if count > 0 {
            let _ = writeln!(out, "not known: {count} of {} probes {what}", trial.probes);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn digits_are_read_back() {
        assert_eq!(from_hex("00ff7a"), Some(vec![0, 255, 0x7a]));
        assert_eq!((from_hex("0"), from_hex("0g"), from_hex("")), (None, None, Some(vec![])));
    }
}
