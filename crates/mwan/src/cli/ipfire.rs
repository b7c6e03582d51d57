//! The add-on of IPFire: `mwan ipfire`, and the same as `mwan-daemon-universal`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use mwan_api::{RedCommand as Wire, Request};
use mwan_ipfire::package::{LOGS, PROGRAM};
use mwan_linux::process::Held;

use super::args::{HookWord, IpfireCommand};
use super::launch::{LOOK, STOP_MAX};
use super::{Exit, Failure, client, commands, launch, print, red, talk};
use crate::daemon;
use crate::ipfire::install::{InstallError, install, remove_hooks, uninstall};
use crate::ipfire::{Released, check, is_enabled, release};

/// Where a daemon is found, unless told otherwise.
const RUN_DIR: &str = "/run/mwan";
/// IPFire's own scripts wait for a hook no longer than that.
const HOOK_MAX: Duration = Duration::from_secs(2);
/// One that was told to end by a signal: what is being done for RED has 20 s of it, scripts 4 s.
const END_MAX: Duration = Duration::from_secs(30);

/// Where everything is.
struct Places {
    /// The root of the system.
    system: PathBuf,
    run_dir: PathBuf,
    /// It is not the system that runs.
    image: bool,
}

impl Places {
    fn at(&self, path: &str) -> PathBuf {
        self.system.join(path)
    }

    /// `/var/ipfire`.
    fn root(&self) -> PathBuf {
        self.at("var/ipfire")
    }
}

/// Runs a command.
pub(super) fn run(run_dir: &Path, system: &Path, command: &IpfireCommand) -> Result<Exit, Failure> {
    // Programs are started in `/`.
    let system = system
        .canonicalize()
        .map_err(|e| Failure::new(format!("there is no folder {}", system.display()), &e))?;
    let image = system != Path::new("/");
    // The daemon of another root is not that of this machine.
    let own = !image || run_dir != Path::new(RUN_DIR);
    let run_dir = if own { run_dir.to_owned() } else { system.join(&RUN_DIR[1..]) };
    let places = Places { system, run_dir, image };
    match command {
        IpfireCommand::Install => run_install(&places),
        IpfireCommand::Uninstall { purge } => run_uninstall(&places, *purge),
        IpfireCommand::Start => start(&places),
        IpfireCommand::Stop => end(&places).map(|()| Exit::Ok),
        IpfireCommand::Restart => restart(&places),
        IpfireCommand::Status(show) => with_hint(red::status(&places.run_dir, show.json)),
        IpfireCommand::TestPrimary => with_hint(red::test(&places.run_dir, red::TEST_LIMIT)),
        IpfireCommand::Hook { word } => {
            hook(places.run_dir.clone(), places.root(), log_file(&places), *word);
            Ok(Exit::Ok)
        }
    }
}

/// Here a daemon is started by a command of ours.
fn with_hint(result: Result<Exit, Failure>) -> Result<Exit, Failure> {
    result.map_err(|failure| {
        let silent = failure.message.starts_with("no daemon answers");
        if silent { failure.hint("start it with `mwan-daemon-universal start`") } else { failure }
    })
}

fn own_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|e| Failure::new("cannot find the own program", &e))
}

fn install_failure(error: &InstallError) -> Failure {
    let failure = Failure::new("", error);
    match error {
        InstallError::NoIpfire(_) => failure.hint("--root names the root of another system"),
        InstallError::Foreign(_) => failure.hint("nothing was changed; move them away, or remove them"),
        InstallError::File { .. } => failure,
    }
}

fn run_install(places: &Places) -> Result<Exit, Failure> {
    let made = install(&places.system, &own_program()?).map_err(|e| install_failure(&e))?;
    let lines: String = made.iter().map(|path| format!("installed {path}\n")).collect();
    print(&lines)?;
    if made.is_empty() {
        talk("mwan: everything was installed already");
    }
    if !is_enabled(&places.root()) {
        talk("mwan: it is switched off; profiles first, then `mwan-config enable`");
    }
    if places.image {
        return Ok(Exit::Ok);
    }
    let program = format!("/{PROGRAM}");
    match (client::answers(&places.run_dir).unwrap_or(false), made.contains(&program)) {
        (true, true) => talk("mwan: the daemon is still the one before: `mwan-daemon-universal restart`"),
        (true, false) => {}
        (false, _) => talk("mwan: the daemon does not run: `mwan-daemon-universal start`"),
    }
    Ok(Exit::Ok)
}

/// The hooks first: what IPFire's scripts do when RED is given back must not start us again.
fn run_uninstall(places: &Places, purge: bool) -> Result<Exit, Failure> {
    let program = own_program()?;
    can_be_given_back(places)?;
    remove_hooks(&places.system).map_err(|e| install_failure(&e))?;
    // An image in which nothing runs has no part in this machine's kernel.
    if !places.image || places.run_dir.exists() {
        end(places)?;
        // A folder somebody else has named may hold more than what is ours.
        if places.run_dir.ends_with(&RUN_DIR[1..]) {
            let _ = fs::remove_dir_all(&places.run_dir);
        }
    }
    let removed = uninstall(&places.system, &program, purge).map_err(|e| install_failure(&e))?;
    print(&removed.gone.iter().map(|path| format!("removed {path}\n")).collect::<String>())?;
    for path in &removed.kept {
        talk(&format!("mwan: {path} is yours and stays"));
    }
    Ok(Exit::Ok)
}

fn log_file(places: &Places) -> PathBuf {
    places.at(LOGS[0])
}

/// Calls `work` with the options of the daemon on IPFire.
fn with_options<T>(root: &Path, log: &Path, work: impl FnOnce(&[&OsStr]) -> T) -> T {
    let folder = root.join("mwan");
    let (settings, state) = (folder.join("settings"), folder.join("state"));
    let word = OsStr::new;
    work(&[
        word("--platform"),
        word("ipfire"),
        word("--config"),
        settings.as_os_str(),
        word("--state-dir"),
        state.as_os_str(),
        word("--log-file"),
        log.as_os_str(),
    ])
}

fn start(places: &Places) -> Result<Exit, Failure> {
    if answers(&places.run_dir, END_MAX) {
        talk("mwan: already running");
        return Ok(Exit::Ok);
    }
    if !places.root().join("mwan/settings").exists() {
        let settings = places.root().join("mwan/settings");
        return Err(Failure::says(format!("there is no {}", settings.display()))
            .hint("`mwan ipfire install` makes one"));
    }
    let launch = |options: &[&OsStr]| launch::launch(&places.run_dir, options);
    let exit = match with_options(&places.root(), &log_file(places), launch) {
        // A hook of IPFire's was a moment faster.
        Err(_) if answers(&places.run_dir, END_MAX) => Exit::Ok,
        other => other?,
    };
    if !is_enabled(&places.root()) {
        talk("mwan: running, and switched off in its settings: `mwan-config enable`");
    }
    Ok(exit)
}

/// Whether there is a daemon that answers, or will: one that starts holds its locks already.
fn answers(run_dir: &Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if client::answers(run_dir).unwrap_or(false) {
            return true;
        }
        if daemon::is_free(run_dir) || Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
}

/// The daemon has ended, nothing of ours is in the kernel, RED is IPFire's.
fn end(places: &Places) -> Result<(), Failure> {
    can_be_given_back(places)?;
    end_daemon(&places.run_dir)?;
    let root = places.root();
    // The locks are held meanwhile: a hook does not start a daemon then.
    let released = daemon::without_daemon(&places.run_dir, || release(&root, &places.run_dir))?;
    match released.map_err(|e| not_given_back(&e))? {
        Released::GivenBack => talk("mwan: RED is the primary's again"),
        Released::Tidied | Released::Nothing => {}
    }
    Ok(())
}

/// Else everything stays as it is: the daemon, the backup that carries, the hooks.
fn can_be_given_back(places: &Places) -> Result<(), Failure> {
    let hint = "put RED's settings right by hand, then remove state/primary-backup in /var/ipfire/mwan and try again";
    check(&places.root()).map_err(|e| not_given_back(&e).hint(hint))
}

fn not_given_back(error: &std::io::Error) -> Failure {
    Failure::new("RED cannot be given back", error)
}

/// By its own word, if it hears it; else by a signal to the very process that listens.
fn end_daemon(run_dir: &Path) -> Result<(), Failure> {
    let held = Held::listener(&run_dir.join(daemon::SOCKET)).ok();
    let asked = client::try_ask(run_dir, &Request::Stop);
    if let Ok(None) = asked {
        return Ok(());
    }
    if asked.is_ok() && wait_free(run_dir, STOP_MAX) {
        return Ok(());
    }
    let Some(held) = held else { return asked.map(drop) };
    talk(&format!("mwan: the daemon (process {}) does not answer, and is killed", held.id()));
    held.kill();
    if wait_free(run_dir, END_MAX) { Ok(()) } else { Err(Failure::says("the daemon does not end")) }
}

fn wait_free(run_dir: &Path, limit: Duration) -> bool {
    let deadline = Instant::now() + limit;
    while !daemon::is_free(run_dir) {
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(LOOK);
    }
    true
}

/// The data plane, the sessions and RED stay: the next daemon goes on with them (I10).
fn restart(places: &Places) -> Result<Exit, Failure> {
    if let Ok(held) = Held::listener(&places.run_dir.join(daemon::SOCKET)) {
        held.end();
        if !wait_free(&places.run_dir, END_MAX) {
            held.kill();
            wait_free(&places.run_dir, END_MAX);
        }
    }
    start(places)
}

/// Tells the daemon, or starts it if it is switched on. IPFire's scripts are waiting: never longer than two seconds, and
/// nothing that goes wrong is their business.
fn hook(run_dir: PathBuf, root: PathBuf, log: PathBuf, word: HookWord) {
    let (done, wait) = channel();
    let work = move || {
        let said = answer_hook(&run_dir, &root, &log, word);
        let _ = done.send(said);
    };
    let started = std::thread::Builder::new().spawn(work);
    match started.map(|_| wait.recv_timeout(HOOK_MAX)) {
        Ok(Ok(Ok(()))) => {}
        Ok(Ok(Err(failure))) => talk(&format!("mwan: {failure}")),
        Ok(Err(_)) => talk("mwan: the daemon does not answer"),
        Err(error) => talk(&format!("mwan: {error}")),
    }
}

fn answer_hook(run_dir: &Path, root: &Path, log: &Path, word: HookWord) -> Result<(), Failure> {
    let command = match word {
        HookWord::Up => Wire::Up,
        HookWord::Down => Wire::Down,
    };
    if let Some(response) = client::try_ask(run_dir, &Request::Red { command })? {
        return commands::done(response).map(drop);
    }
    // Nobody answers, but somebody holds the locks: a daemon that starts, or a command that ends one.
    if word == HookWord::Down || !is_enabled(root) || !daemon::is_free(run_dir) {
        return Ok(());
    }
    let spawn = |options: &[&OsStr]| launch::spawn(run_dir, options, Stdio::null());
    let child = with_options(root, log, spawn);
    child.map(drop).map_err(|e| Failure::new("cannot start the daemon", &e))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn who_listens_is_held_and_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("socket");
        assert!(Held::listener(&path).is_err());
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        assert_eq!(Held::listener(&path).unwrap().id(), std::process::id());
        drop(listener);
        assert!(Held::listener(&path).is_err());
    }
}
