//! Processes beside the daemon that speak with the outside: what browsers or mail servers say is never parsed by root, and
//! whatever becomes of such a process, probing and switching do not notice.
//!
//! A companion is this program under another command. It is started as root, does what only root may (binds ports, reads
//! secrets), becomes an unprivileged user ([`mwan_linux::process::become_user`]) and asks the daemon over a socket of its own,
//! which takes what it needs and nothing else. Its settings are one line of JSON on standard input, so that no secret is in
//! an argument or the environment; the end of standard input is the daemon's end, and its own. One that dies is started
//! again, ever more slowly.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use mwan_config::Config;
use mwan_linux::process::{self, User};
use tokio::task::AbortHandle;
use tracing::{debug, info, warn};

use super::control::{self, Access, Hub};
use crate::cli::DaemonArgs;

/// Who companions are, if there is such a user; the second is everywhere.
const USERS: [&str; 2] = ["mwan", "nobody"];
/// Settings that are handed over at once: a pipe holds 64 KiB (pipe(7)), and the daemon never waits.
const SETTINGS_MAX: usize = 60_000;
/// A companion that dies is started again after this long, and after twice as long each time it dies soon.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// One that has lived this long did not die soon.
const LIVED: Duration = Duration::from_secs(60);
/// One that was told to end and has not by then is killed.
const END_MAX: Duration = Duration::from_secs(2);

/// A companion as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Wanted {
    /// Its name: that of its socket, `NAME.sock` in the run directory.
    pub(crate) name: &'static str,
    /// The command of this program and its arguments.
    pub(crate) arguments: Vec<OsString>,
    /// Its settings, JSON.
    pub(crate) settings: String,
    /// What it may ask the daemon.
    pub(crate) access: Access,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Companions {
    run_dir: PathBuf,
    hub: Hub,
    /// What is run: this program, whatever became of its file.
    program: PathBuf,
    all: BTreeMap<&'static str, Companion>,
    /// Told to end, and not dead yet; since when. Their input stays open: it may be by a request to one of them that it is to end,
    /// and the daemon is there to answer.
    ending: Vec<(Running, Instant)>,
}

#[derive(Debug)]
struct Companion {
    wanted: Wanted,
    /// Who answers it.
    listening: Option<AbortHandle>,
    running: Option<Running>,
    /// When it may be started, and how long the next pause is.
    at: Instant,
    pause: Duration,
    /// Why it does not run, as last told.
    problem: Option<String>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    /// Held open: its end is the daemon's, and the companion's at once.
    _input: ChildStdin,
    since: Instant,
}

impl Companions {
    /// None yet.
    pub(super) fn new(run_dir: &Path, hub: Hub) -> Self {
        Companions {
            run_dir: run_dir.to_owned(),
            hub,
            program: "/proc/self/exe".into(),
            all: BTreeMap::new(),
            ending: Vec::new(),
        }
    }

    /// These and no others; one whose settings are others begins anew.
    pub(super) fn set(&mut self, wanted: Vec<Wanted>) {
        let same = |old: &Companion| wanted.contains(&old.wanted);
        let gone: Vec<&'static str> =
            self.all.iter().filter(|(_, old)| !same(old)).map(|(name, _)| *name).collect();
        for name in gone {
            let Some(old) = self.all.remove(name) else { continue };
            old.listening.into_iter().for_each(|task| task.abort());
            old.running.into_iter().for_each(|running| self.part(running));
            let _ = std::fs::remove_file(socket(&self.run_dir, name));
        }
        for wanted in wanted {
            self.all.entry(wanted.name).or_insert(Companion {
                wanted,
                listening: None,
                running: None,
                at: Instant::now(),
                pause: PAUSE_FIRST,
                problem: None,
            });
        }
        self.look();
    }

    /// Once a second: who has died is started again, who does not end is killed.
    pub(super) fn look(&mut self) {
        let now = Instant::now();
        self.ending.retain_mut(|(Running { child, .. }, since)| match child.try_wait() {
            Ok(None) if now.duration_since(*since) > END_MAX => {
                let _ = child.kill();
                true
            }
            Ok(None) => true,
            Ok(Some(_)) | Err(_) => false,
        });
        let (run_dir, hub, program) = (&self.run_dir, &self.hub, &self.program);
        for companion in self.all.values_mut() {
            companion.reap(now);
            if companion.running.is_none() && companion.at <= now {
                let started = companion.listen(run_dir, hub).and_then(|()| start(program, &companion.wanted));
                companion.note_start(started, now);
            }
        }
    }

    /// Why the one of this name does not run, if it does not.
    pub(super) fn problem_of(&self, name: &str) -> Option<&str> {
        self.all.get(name)?.problem.as_deref()
    }

    /// Why some do not run.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.all
            .values()
            .filter_map(|c| Some(format!("{} does not run: {}", c.wanted.name, c.problem.as_ref()?)))
    }

    /// All end with the daemon: their input ends.
    pub(super) fn finish(&mut self) {
        self.set(Vec::new());
        let mut children: Vec<Child> = self.ending.drain(..).map(|(running, _)| running.child).collect();
        let until = Instant::now() + END_MAX;
        while !children.is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(10));
            children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
        }
        for child in &mut children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    fn part(&mut self, running: Running) {
        process::end(running.child.id());
        self.ending.push((running, Instant::now()));
    }
}

impl Companion {
    /// Once, and again if somebody has tidied the run directory up.
    fn listen(&mut self, run_dir: &Path, hub: &Hub) -> io::Result<()> {
        let path = socket(run_dir, self.wanted.name);
        if self.listening.is_some() && path.exists() {
            return Ok(());
        }
        self.listening.take().into_iter().for_each(|task| task.abort());
        self.listening = Some(control::listen_for_companion(&path, user()?, hub, self.wanted.access)?);
        Ok(())
    }

    fn reap(&mut self, now: Instant) {
        let Some(running) = &mut self.running else { return };
        let ended = match running.child.try_wait() {
            Ok(None) => return,
            Ok(Some(status)) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if now.duration_since(running.since) > LIVED {
            self.pause = PAUSE_FIRST;
        }
        self.running = None;
        self.put_off(ended, now);
    }

    fn note_start(&mut self, started: io::Result<Running>, now: Instant) {
        match started {
            Ok(running) => {
                debug!("{} runs as process {}", self.wanted.name, running.child.id());
                self.running = Some(running);
                if self.problem.take().is_some() {
                    info!("{} is started again", self.wanted.name);
                }
            }
            Err(error) => self.put_off(error.to_string(), now),
        }
    }

    fn put_off(&mut self, why: String, now: Instant) {
        warn!("{} does not run: {why}; to be started in {} s", self.wanted.name, self.pause.as_secs());
        self.problem = Some(why);
        self.at = now + self.pause;
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

/// Name of a companion's socket.
fn socket(run_dir: &Path, name: &str) -> PathBuf {
    run_dir.join(format!("{name}.sock"))
}

fn start(program: &Path, wanted: &Wanted) -> io::Result<Running> {
    if wanted.settings.len() > SETTINGS_MAX {
        return Err(io::Error::other(format!("its settings are larger than {SETTINGS_MAX} bytes")));
    }
    let mut command = Command::new(program);
    // Under the name by which people know it, not `exe`.
    command.arg0("mwan").args(&wanted.arguments).stdin(Stdio::piped()).stdout(Stdio::null());
    process::end_with_parent(&mut command);
    let mut child = command.spawn()?;
    let Some(mut input) = child.stdin.take() else { return Err(io::Error::other("it has no input")) };
    let told = input.write_all(wanted.settings.as_bytes()).and_then(|()| input.write_all(b"\n"));
    match told {
        // It has died already, and is found dead: how says more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        told => told.inspect_err(|_| {
            let _ = child.kill();
            let _ = child.wait();
        })?,
    }
    Ok(Running { child, _input: input, since: Instant::now() })
}

/// The companions that a configuration asks for.
pub(super) fn wanted(config: &Config, run_dir: &Path, options: &DaemonArgs) -> Vec<Wanted> {
    let mut wanted = Vec::new();
    wanted.extend(crate::web::companion(config, run_dir, options));
    wanted.extend(crate::alerts::companion(config, run_dir, options));
    wanted
}

/// Who companions are; where we are not root, who we are.
///
/// # Errors
/// There is no such user.
pub(crate) fn user() -> io::Result<User> {
    let own = User::own();
    if !own.is_root() {
        return Ok(own);
    }
    let found = USERS.iter().find_map(|name| User::named(name));
    found.ok_or_else(|| io::Error::other(format!("there is no user {}", USERS.join(" or "))))
}

#[cfg(test)]
mod tests;
