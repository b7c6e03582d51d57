//! IPFire's RED, by hand: `mwan red`, `mwan test-primary`, and the same as `mwan-config` and `mwan-daemon-universal`.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use mwan_api::{Red, RedCommand as Wire, RedLink, Request, Status};
use mwan_config::ipfire::{Files, shown};

use super::args::{RedCommand, Show};
use super::{Exit, Failure, client, commands, print, render, talk};

/// Pause between two looks at a trial.
const LOOK: Duration = Duration::from_millis(200);
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
    let status = commands::status(run_dir)?;
    let red = red(&status)?;
    print(&if json { render::json(red)? } else { text(&status, red) })?;
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

/// Follows a trial of the primary and prints what changes.
pub(super) fn test(run_dir: &Path, limit: Duration) -> Result<Exit, Failure> {
    commands::done(client::ask(run_dir, &Request::Red { command: Wire::TestPrimary })?)?;
    let deadline = Instant::now() + limit;
    let mut last = String::new();
    loop {
        let status = commands::status(run_dir)?;
        let red = red(&status)?;
        let link =
            red.links.iter().find(|l| l.primary).ok_or_else(|| Failure::says("there is no primary"))?;
        let line = format!(
            "{}: {} on {}, {}, {}\n",
            link.name,
            link.method,
            link.device,
            phase(link),
            health(&status, &link.name)
        );
        // The countdown is no step.
        let steady = line.split("; tried again").next().unwrap_or_default().to_owned();
        if steady != last {
            print(&line)?;
            last = steady;
        }
        let works = status
            .interfaces
            .iter()
            .filter(|i| i.name == link.name)
            .flat_map(|i| &i.paths)
            .any(|p| p.status == "online");
        if works {
            print("the primary works\n")?;
            return Ok(Exit::Ok);
        }
        let hopeless = link.phase == "refused" || link.reason.is_some() && link.phase == "waiting";
        if hopeless || Instant::now() >= deadline {
            print("the primary does not work\n")?;
            return Ok(Exit::Failed);
        }
        std::thread::sleep(LOOK);
    }
}
