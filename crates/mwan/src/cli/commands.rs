//! What each command does.

use std::ffi::OsString;
use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use mwan_api::{Look, Request, Response, View};

use super::args::{Args, Command, Format};
use super::client::Answer;
use super::{Exit, Failure, client, print, talk};
use crate::daemon;
use crate::show::show;

/// Runs a command.
pub(super) fn run(args: Args) -> Result<ExitCode, Failure> {
    let run_dir = args.run_dir;
    let exit = match args.command {
        Command::Daemon(options) => return daemon::run(&run_dir, &options).map(|()| Exit::Ok.into()),
        Command::Status(show) => status(&run_dir, Look::Whole, show.json)?,
        Command::Interfaces(show) => status(&run_dir, Look::Interfaces, show.json)?,
        Command::Policies(show) => status(&run_dir, Look::Policies, show.json)?,
        Command::Connected(show) => status(&run_dir, Look::Connected, show.json)?,
        Command::Rules(show) => status(&run_dir, Look::Rules, show.json)?,
        Command::Check(args) => super::check::run(&run_dir, &args)?,
        Command::Plan { config, json, platform, bus } => plan(&run_dir, &config, json, platform, &bus)?,
        Command::Apply(args) => super::apply::apply(&run_dir, args)?,
        Command::Confirm => super::apply::confirm(&run_dir)?,
        Command::Rollback(args) => super::apply::rollback(&run_dir, &args)?,
        Command::Explain(args) => super::explain::run(&run_dir, args)?,
        Command::Why { name, json } => {
            client::show(&run_dir, Request::Why { name }, view(Look::Whole, json))?
        }
        Command::Diff(show) => client::show(&run_dir, Request::Diff, view(Look::Difference, show.json))?,
        Command::Reload => done(client::ask(&run_dir, &Request::Reload)?)?,
        Command::Ifup { interface } => done(client::ask(&run_dir, &Request::IfUp { interface })?)?,
        Command::Ifdown { interface } => done(client::ask(&run_dir, &Request::IfDown { interface })?)?,
        Command::Drain { interface } => done(client::ask(&run_dir, &Request::Drain { interface })?)?,
        Command::Undrain { interface } => done(client::ask(&run_dir, &Request::Undrain { interface })?)?,
        Command::Drill(args) => super::drill::run(&run_dir, args)?,
        #[cfg(feature = "tui")]
        Command::Top => crate::top::run(&run_dir)?,
        #[cfg(feature = "alerts")]
        Command::Alerts { command, show } => super::alerts::run(&run_dir, command, show.json)?,
        Command::Events(args) => super::events::run(&run_dir, args)?,
        Command::Report(args) => super::history::report(&run_dir, args)?,
        Command::History(args) => super::history::series(&run_dir, args)?,
        #[cfg(feature = "record")]
        Command::Record { file } => super::record::record(&run_dir, &file)?,
        #[cfg(feature = "record")]
        Command::Replay(args) => super::record::run(&args)?,
        #[cfg(not(feature = "record"))]
        Command::Record { .. } | Command::Replay { .. } => {
            return Err(
                Failure::says("this mwan was built without record").hint("build it with --features record")
            );
        }
        Command::Use { interface, command } => return use_interface(&run_dir, interface, &command),
        Command::Compat { program, words } => return super::compat::run(program, &run_dir, &words),
        Command::Migrate { file, to } => migrate(&file, to)?,
        Command::Cloud { command } => super::cloud::run(&run_dir, command)?,
        #[cfg(feature = "ipfire")]
        Command::Red { command, root } => super::red::run(&run_dir, &root, command)?,
        #[cfg(feature = "ipfire")]
        Command::Ipfire { command, root } => super::ipfire::run(&run_dir, &root, &command)?,
        #[cfg(feature = "web")]
        Command::Web { command, state_dir } => crate::web::run(&run_dir, &state_dir, command)?,
        #[cfg(feature = "ipfire")]
        Command::TestPrimary { limit } => super::red::test(&run_dir, std::time::Duration::from_secs(limit))?,
        #[cfg(feature = "ipfire")]
        Command::Stop { root } if has_red(&run_dir) => {
            super::ipfire::run(&run_dir, &root, &super::args::IpfireCommand::Stop)?
        }
        Command::Stop { .. } => done(client::ask(&run_dir, &Request::Stop)?)?,
        Command::Cleanup => cleanup(&run_dir)?,
        Command::Support(args) => crate::support::run(&run_dir, &args)?,
    };
    Ok(exit.into())
}

/// Whether the daemon manages IPFire's RED, which is not only in the kernel.
#[cfg(feature = "ipfire")]
fn has_red(run_dir: &Path) -> bool {
    client::status(run_dir).is_ok_and(|status| status.red.is_some())
}

/// Removes everything, with the daemon if one runs: it would restore what is removed under it.
fn cleanup(run_dir: &Path) -> Result<Exit, Failure> {
    match client::try_ask(run_dir, &Request::Stop)? {
        Some(answer) => done(answer),
        None => daemon::cleanup(run_dir).map(|()| Exit::Ok),
    }
}

fn migrate(file: &Path, to: Format) -> Result<Exit, Failure> {
    let (name, bytes) = daemon::read_config(file)?;
    let migrated = match to {
        Format::Mwan4 => mwan_config::migrate::to_mwan4(&name, &bytes),
        Format::Toml => mwan_config::migrate::to_toml(&name, &bytes),
    };
    let migrated = migrated.map_err(Failure::says)?;
    print(&migrated.text)?;
    for note in &migrated.notes {
        talk(&format!("{name}:{}: {}", note.line, note.text));
    }
    Ok(Exit::Ok)
}

/// Who became root to ask this.
pub(super) fn asked_by() -> Option<String> {
    ["SUDO_USER", "DOAS_USER"].iter().find_map(|name| std::env::var(name).ok().filter(|by| !by.is_empty()))
}

pub(super) fn unexpected() -> Failure {
    Failure::says("the daemon's answer does not fit the question").hint("are both of the same version?")
}

pub(super) fn done(answer: Answer) -> Result<Exit, Failure> {
    match answer {
        Answer::Done => Ok(Exit::Ok),
        _ => Err(unexpected()),
    }
}

/// The status or a section of it.
fn status(run_dir: &Path, look: Look, json: bool) -> Result<Exit, Failure> {
    client::show(run_dir, Request::Status, view(look, json))
}

/// How an answer is to be shown.
pub(super) fn view(look: Look, json: bool) -> View {
    View { look, json, package: None }
}

fn plan(
    run_dir: &Path,
    config: &Path,
    json: bool,
    platform: crate::platform::PlatformName,
    bus: &super::BusArgs,
) -> Result<Exit, Failure> {
    let (name, bytes) = daemon::read_config(config)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let view = view(Look::Whole, json);
    match client::try_show(run_dir, Request::Plan { file: name.clone(), text }, view)? {
        Some(exit) => Ok(exit),
        None => {
            let plan = daemon::plan_without_daemon(&name, &bytes, platform, bus)?;
            client::say(show(Response::Plan(plan), view)?)
        }
    }
}

pub(super) fn use_interface(
    run_dir: &Path,
    interface: String,
    command: &[OsString],
) -> Result<ExitCode, Failure> {
    let Answer::Use(binding) = client::ask(run_dir, &Request::Use { interface })? else {
        return Err(unexpected());
    };
    let sources: Vec<IpAddr> = binding.sources.iter().filter_map(|s| s.parse().ok()).collect();
    let source = sources.first().copied();
    let shown = command.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ");
    talk(&use_line(&shown, &binding.device, source, binding.mark));
    let family = source.map_or("ipv4", |s| mwan_config::Family::of(s).name());
    let environment = [
        ("DEVICE", binding.device.clone()),
        ("SRCIP", source.map(|s| s.to_string()).unwrap_or_default()),
        ("FWMARK", format!("{:#x}", binding.mark)),
        ("FAMILY", family.to_owned()),
    ]
    .map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let binding = mwan_linux::usecmd::Binding { device: binding.device, mark: binding.mark };
    let status = mwan_linux::usecmd::run(command, &binding, &environment).map_err(|e| {
        let failure = Failure::new("", &e);
        match e.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    Ok(ExitCode::from(exit_code(status)))
}

/// What `use` says before it runs a command; mwan3's words.
pub(super) fn use_line(command: &str, device: &str, source: Option<IpAddr>, mark: u32) -> String {
    format!(
        "Running '{command}' with DEVICE={device} SRCIP={} FWMARK={mark:#x} FAMILY={}",
        source.map(|s| s.to_string()).unwrap_or_default(),
        source.map_or("ipv4", |s| mwan_config::Family::of(s).name()),
    )
}

/// The command's own exit code; 128 + signal if it was killed, as a shell reports it.
fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status.code().or_else(|| status.signal().map(|s| 128 + s)).unwrap_or(1);
    u8::try_from(code).unwrap_or(1)
}
