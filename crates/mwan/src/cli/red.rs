//! IPFire's RED, by hand: `mwan red`, `mwan test-primary`, and the same as `mwan-config` and `mwan-daemon-universal`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mwan_api::{Red, RedCommand as Wire, RedLink, Request, Status};
use mwan_config::ipfire::{Files, shown};

use super::args::{RedCommand, Show};
use super::{Exit, Failure, client, commands, print, talk};
use crate::show;

/// Pause between two looks at a trial.
const LOOK: Duration = Duration::from_millis(200);
/// Rounds without an answer that are a verdict: the daemon begins so many at once.
const BAD_ROUNDS: u64 = 3;
/// Nothing more is to be expected of what has not changed for so long.
const STILL: Duration = Duration::from_secs(10);
/// How long a trial may take.
pub(super) const TEST_LIMIT: Duration = Duration::from_secs(120);

/// The words that stand for a name the documents call us by.
pub(super) fn called(name: &OsStr) -> Option<&'static [&'static str]> {
    match Path::new(name).file_name()?.to_str()? {
        "mwan-config" => Some(&["mwan", "red"]),
        "mwan-daemon-universal" => Some(&["mwan", "ipfire"]),
        _ => None,
    }
}

/// Runs a command.
pub(super) fn run(run_dir: &Path, root: &Path, command: Option<RedCommand>) -> Result<Exit, Failure> {
    let tell = |command| commands::done(client::ask(run_dir, &Request::Red { command })?);
    match command.unwrap_or(RedCommand::Status(Show { json: false })) {
        RedCommand::Status(show) => status(run_dir, show.json),
        RedCommand::List => print(&list(root)?).map(|()| Exit::Ok),
        RedCommand::Show { profile } => print(&show(root, &profile)?).map(|()| Exit::Ok),
        RedCommand::Test => test(run_dir, TEST_LIMIT),
        RedCommand::Switch { profile } => tell(Wire::Switch { profile }),
        RedCommand::Failover => tell(Wire::Failover),
        RedCommand::Failback => tell(Wire::Failback),
        RedCommand::Enable => enable(run_dir, root),
        RedCommand::Disable => switch(root, false),
    }
}

fn red(status: &Status) -> Result<&Red, Failure> {
    status.red.as_ref().ok_or_else(|| {
        Failure::says("the daemon has no RED")
            .hint("it was not started with IPFire's settings: --config /var/ipfire/mwan/settings")
    })
}

pub(super) fn status(run_dir: &Path, json: bool) -> Result<Exit, Failure> {
    let status = client::status(run_dir)?;
    let red = red(&status)?;
    print(&if json { show::json(red)? } else { text(&status, red) })?;
    Ok(if status.degraded { Exit::Degraded } else { Exit::Ok })
}

fn text(status: &Status, red: &Red) -> String {
    if !red.enabled {
        let settled = red.profile == "primary" && red.state == "settled";
        let red = if settled { "is IPFire's own" } else { "is being given back" };
        return format!("mwan is switched off: RED {red}\n");
    }
    let carrier = if red.several { carriers(status) } else { red.profile.clone() };
    let mut out = format!("RED is carried by {carrier}");
    let more = match (red.state.as_str(), &red.forced) {
        ("taking_over", _) => ", taking over".to_owned(),
        ("giving_back", _) => ", giving back".to_owned(),
        (_, Some(name)) if name.is_empty() => ", by hand until failback".to_owned(),
        (_, Some(name)) => format!(", {name} chosen by hand until failback"),
        _ => String::new(),
    };
    let _ = writeln!(out, "{more}");
    if let Some(problem) = &red.problem {
        let _ = writeln!(out, "problem: {problem}");
    }
    for link in &red.links {
        let role = if link.primary { " (primary)" } else { "" };
        let _ = write!(out, " {}{role}: {} on {}, {}", link.name, link.method, link.device, phase(link));
        let _ = writeln!(out, ", {}", health(status, &link.name));
    }
    out
}

fn carriers(status: &Status) -> String {
    let carry = |i: &&mwan_api::Interface| i.paths.iter().any(|path| path.carries);
    let names: Vec<&str> = status.interfaces.iter().filter(carry).map(|i| i.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn phase(link: &RedLink) -> String {
    let trial = if link.on_trial { " on trial" } else { "" };
    let why = link.reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    let retry = link.retry_s.map(|s| format!("; tried again in {s} s")).unwrap_or_default();
    let attempt = if link.attempt > 1 { format!(" (attempt {})", link.attempt) } else { String::new() };
    format!("{}{trial}{attempt}{why}{retry}", link.phase)
}

fn health(status: &Status, name: &str) -> String {
    let paths = status.interfaces.iter().filter(|i| i.name == name).flat_map(|i| &i.paths);
    let words: Vec<String> =
        paths.map(|p| format!("{} {} ({})", p.family, p.status, p.reason.text)).collect();
    words.join(", ")
}

fn files(root: &Path) -> Files {
    let settings = fs::read(root.join("mwan/settings")).unwrap_or_default();
    crate::ipfire::read_files(root, &settings)
}

fn list(root: &Path) -> Result<String, Failure> {
    let loaded = mwan_config::parse_ipfire(&files(root));
    let site = loaded.config.site.ok_or_else(|| {
        let settings = root.join("mwan/settings");
        Failure::says(format!("nothing is configured in {}", settings.display())).hint("write ENABLED=on")
    })?;
    let lines = site.backups.iter().filter_map(|name| {
        let link = loaded.config.links.iter().find(|l| l.name == *name)?;
        Some(format!("{name}: {} on {}\n", link.method.word(), link.session_device))
    });
    Ok(lines.collect())
}

fn show(root: &Path, profile: &str) -> Result<String, Failure> {
    let name = format!("mwan/profiles/{profile}");
    let files = files(root);
    let bytes = files.contents.get(&name).ok_or_else(|| {
        let missing = Failure::says(format!("there is no profile '{}'", profile.escape_debug()));
        missing.hint("mwan red list shows those there are")
    })?;
    Ok(shown(bytes))
}

fn enable(run_dir: &Path, root: &Path) -> Result<Exit, Failure> {
    let exit = switch(root, true)?;
    if client::try_ask(run_dir, &Request::Status).is_ok_and(|answer| answer.is_none()) {
        talk("mwan: the daemon does not run: `mwan-daemon-universal start`");
    }
    Ok(exit)
}

fn switch(root: &Path, value: bool) -> Result<Exit, Failure> {
    crate::ipfire::set_enabled(root, value).map_err(|e| {
        let file = root.join("mwan/settings");
        Failure::new(format!("cannot write {}", file.display()), &e)
    })?;
    Ok(Exit::Ok)
}

/// Follows a trial of the primary and prints what changes. Only what happens after it was asked for counts.
pub(super) fn test(run_dir: &Path, limit: Duration) -> Result<Exit, Failure> {
    let before = Seen::of(&client::status(run_dir)?)?;
    commands::done(client::ask(run_dir, &Request::Red { command: Wire::TestPrimary })?)?;
    let deadline = Instant::now() + limit;
    let (mut last, mut changed) = (String::new(), Instant::now());
    loop {
        let status = client::status(run_dir)?;
        let now = Seen::of(&status)?;
        let line = step(&status, &now.link);
        // The countdown is no step.
        let steady = line.split("; tried again").next().unwrap_or_default().to_owned();
        if steady != last {
            print(&line)?;
            (last, changed) = (steady, Instant::now());
        }
        let over = Instant::now() >= deadline;
        let verdict = verdict(&before, &now, changed.elapsed() >= STILL);
        if let Some(works) = verdict.or(over.then_some(false)) {
            print(if works { "the primary works\n" } else { "the primary does not work\n" })?;
            return Ok(if works { Exit::Ok } else { Exit::Failed });
        }
        std::thread::sleep(LOOK);
    }
}

/// The primary, at one moment.
struct Seen {
    link: RedLink,
    paths: Vec<mwan_api::Path>,
}

impl Seen {
    fn of(status: &Status) -> Result<Self, Failure> {
        let primary = red(status)?.links.iter().find(|l| l.primary);
        let link = primary.ok_or_else(|| Failure::says("there is no primary"))?.clone();
        let own = status.interfaces.iter().filter(|i| i.name == link.name);
        Ok(Seen { paths: own.flat_map(|i| i.paths.clone()).collect(), link })
    }

    /// The last round of a path that had begun.
    fn begun(&self, path: &mwan_api::Path) -> u64 {
        self.paths.iter().find(|own| own.family == path.family).map_or(0, |own| own.rounds)
    }
}

fn step(status: &Status, link: &RedLink) -> String {
    let health = health(status, &link.name);
    format!("{}: {} on {}, {}, {health}\n", link.name, link.method, link.device, phase(link))
}

/// What has come of a trial since `before`; `None` as long as nothing has. `still`: nothing has changed for a while.
fn verdict(before: &Seen, now: &Seen, still: bool) -> Option<bool> {
    let good = |path: &mwan_api::Path| match path.tracking.as_str() {
        // Nothing is asked there: that it is up is all that can be known.
        "disabled" => path.usable,
        _ => path.good_round > before.begun(path),
    };
    if now.paths.iter().any(good) {
        return Some(true);
    }
    let asked: Vec<&mwan_api::Path> = now.paths.iter().filter(|path| path.tracking == "active").collect();
    let bad = |path: &&mwan_api::Path| path.judged_round >= before.begun(path) + BAD_ROUNDS;
    let dead = !asked.is_empty() && asked.iter().all(bad);
    let phase = now.link.phase.as_str();
    let failed = phase == "refused" || phase == "waiting" && now.link.attempts > before.link.attempts;
    // Neither is it dialled, nor is there anything that could be asked.
    let nothing = still && asked.is_empty() && !["dialling", "stopping", "waiting"].contains(&phase);
    (failed || dead || nothing).then_some(false)
}

#[cfg(test)]
mod tests;
