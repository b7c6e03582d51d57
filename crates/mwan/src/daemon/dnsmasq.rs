//! Tells dnsmasq which domains fill which set: a file, replaced as a whole and only if it changes, and a command that
//! makes dnsmasq read it. The sets are in the kernel before dnsmasq hears of them, and the file goes when they do.

use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_config::{Config, NamedSet};
use mwan_linux::process;
use tracing::{info, warn};

use super::config::{Stamp, stamp};

/// The command is killed after so long; a restart of dnsmasq takes well under a second.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether the command has ended while the daemon ends.
const COMMAND_POLL: Duration = Duration::from_millis(20);
/// What our files begin with. No other is ever removed.
const OURS: &[u8] = b"# Written by mwan";
/// In the run directory: the path of the file that is written for dnsmasq.
const NOTE: &str = "dnsmasq";

/// The file, and the command.
#[derive(Debug)]
pub(super) struct Dnsmasq {
    note: PathBuf,
    /// The file that is there.
    file: Option<PathBuf>,
    /// What it was last found to say: nothing is read or compared while nothing changes.
    told: Option<(Arc<Vec<NamedSet>>, Option<Stamp>)>,
    problem: Option<String>,
    running: Option<Running>,
    /// To be run once the present run is over.
    next: Option<Vec<String>>,
}

#[derive(Debug)]
struct Running {
    program: String,
    child: Child,
    end: Instant,
}

impl Dnsmasq {
    /// Takes over the file that the daemon before us wrote.
    pub(super) fn new(run_dir: &Path) -> Self {
        let note = run_dir.join(NOTE);
        let file = noted(&note);
        Dnsmasq { note, file, told: None, problem: None, running: None, next: None }
    }

    /// Writes the file of `config` if it is to be written and differs, and runs the command then. Asked again, it makes good
    /// what could not be done, and a file that others removed.
    pub(super) fn tell(&mut self, config: &Config) {
        let globals = &config.globals;
        let file = globals.dnsmasq_file.as_ref().filter(|_| globals.enabled).map(PathBuf::from);
        if self.file != file && self.remove() && file.is_none() {
            self.run(&globals.dnsmasq_command);
        }
        let Some(file) = file else { return self.note_problem(None) };
        let same = |(sets, seen): &(Arc<Vec<NamedSet>>, Option<Stamp>)| {
            Arc::ptr_eq(sets, &config.sets) && seen.is_some() && *seen == stamp(&file)
        };
        if self.told.as_ref().is_some_and(same) {
            return;
        }
        match replace(&file, &mwan_compile::dnsmasq(&config.sets)) {
            Ok(true) => {
                info!("{} written for dnsmasq", file.display());
                self.run(&globals.dnsmasq_command);
            }
            Ok(false) => {}
            Err(error) => {
                let text = format!("cannot write {} for dnsmasq: {error}", file.display());
                return self.note_problem(Some(text));
            }
        }
        self.told = Some((config.sets.clone(), stamp(&file)));
        if self.file.as_ref() != Some(&file) {
            // Without it the file is left behind by a `cleanup` at worst.
            let _ = std::fs::write(&self.note, file.as_os_str().as_encoded_bytes());
            self.file = Some(file);
        }
        self.note_problem(None);
    }

    /// What is not as it should be.
    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }

    /// Says it once, and once that it is over.
    fn note_problem(&mut self, problem: Option<String>) {
        match (&self.problem, &problem) {
            (old, Some(new)) if old.as_ref() != Some(new) => warn!("{new}; to be tried again"),
            (Some(_), None) => info!("the file for dnsmasq is as it should be"),
            _ => {}
        }
        self.problem = problem;
    }

    /// Looks after the command.
    pub(super) fn look(&mut self) {
        let Some(Running { program, child, end }) = &mut self.running else { return };
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {}
            Ok(Some(status)) => warn!("dnsmasq_command: {program}: {status}"),
            Ok(None) if Instant::now() < *end => return,
            _ => {
                process::kill_group(child.id());
                let _ = child.wait();
                warn!("dnsmasq_command: {program} did not end in time: killed");
            }
        }
        self.running = None;
        if let Some(command) = self.next.take() {
            self.run(&command);
        }
    }

    /// The sets are gone: so is the file, and dnsmasq hears of it.
    pub(super) fn stop(&mut self, config: &Config) {
        if self.remove() {
            self.run(&config.globals.dnsmasq_command);
        }
    }

    /// Waits for the command until `end`, and then no longer: it must not outlive us.
    pub(super) async fn finish(&mut self, end: Instant) {
        while let Some(running) = &mut self.running {
            running.end = running.end.min(end);
            self.look();
            if self.running.is_some() {
                tokio::time::sleep(COMMAND_POLL).await;
            }
        }
    }

    /// Removes the file that was written. Whether it was there.
    fn remove(&mut self) -> bool {
        self.told = None;
        let Some(file) = self.file.take() else { return false };
        let _ = std::fs::remove_file(&self.note);
        remove_ours(&file)
    }

    /// Runs a program in the background; no shell sees it.
    fn run(&mut self, command: &[String]) {
        let [program, arguments @ ..] = command else { return };
        if self.running.is_some() {
            self.next = Some(command.to_vec());
            return;
        }
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
        let child = Command::new(program)
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        match child {
            Ok(child) => {
                let end = Instant::now() + COMMAND_TIME_MAX;
                self.running = Some(Running { program: program.clone(), child, end });
            }
            Err(error) => warn!("dnsmasq_command: cannot run {program}: {error}"),
        }
    }
}

/// Removes what a daemon that is no more left for dnsmasq.
pub(super) fn clean(run_dir: &Path) {
    let note = run_dir.join(NOTE);
    if noted(&note).is_some_and(|file| remove_ours(&file)) {
        info!("the file for dnsmasq is removed; dnsmasq forgets its sets when it is restarted");
    }
    let _ = std::fs::remove_file(note);
}

fn noted(note: &Path) -> Option<PathBuf> {
    let path = std::fs::read_to_string(note).ok()?;
    Some(PathBuf::from(path)).filter(|path| path.is_absolute())
}

/// Whether it was there and ours.
fn remove_ours(file: &Path) -> bool {
    let regular = std::fs::metadata(file).is_ok_and(|meta| meta.is_file());
    if !regular || !begins_as_ours(file).unwrap_or(false) {
        return false;
    }
    match std::fs::remove_file(file) {
        Ok(()) => info!("{} removed", file.display()),
        Err(error) => warn!("cannot remove {}: {error}", file.display()),
    }
    true
}

fn begins_as_ours(file: &Path) -> io::Result<bool> {
    let mut begin = [0; OURS.len()];
    std::fs::File::open(file)?.read_exact(&mut begin)?;
    Ok(begin == OURS)
}

/// Whether the file had another content. Readers see the old one or the new one, never a part.
fn replace(file: &Path, text: &str) -> io::Result<bool> {
    if std::fs::read(file).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    // dnsmasq's conf-dir skips names that end like this.
    name.push("~");
    let draft = file.with_file_name(name);
    let written = std::fs::write(&draft, text).and_then(|()| std::fs::rename(&draft, file));
    if written.is_err() {
        let _ = std::fs::remove_file(&draft);
    }
    written.map(|()| true)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct World {
        dir: tempfile::TempDir,
        dnsmasq: Dnsmasq,
    }

    impl World {
        fn new() -> Self {
            let dir = tempfile::tempdir().unwrap();
            let dnsmasq = Dnsmasq::new(dir.path());
            World { dir, dnsmasq }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn config(&self, file: &str, domain: &str) -> Config {
            let file = if file.is_empty() { String::new() } else { self.path(file).display().to_string() };
            let text = format!(
                "config globals\n\toption dnsmasq_file '{file}'\n\tlist dnsmasq_command 'mkdir'\n\tlist dnsmasq_command '{}'\n\
                 config ipset 's'\n\tlist domain '{domain}'\n",
                self.path("told").display()
            );
            mwan_config::parse_uci("f", text.replace("\toption dnsmasq_file ''\n", "").as_bytes()).config
        }

        fn tell(&mut self, file: &str, domain: &str) {
            let config = self.config(file, domain);
            self.dnsmasq.tell(&config);
        }

        /// Whether the command was run since this was last asked.
        fn told(&mut self) -> bool {
            let was_run = self.dnsmasq.running.is_some();
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(self.dnsmasq.finish(Instant::now() + Duration::from_secs(20)));
            assert_eq!(std::fs::remove_dir(self.path("told")).is_ok(), was_run);
            was_run
        }

        fn text(&self, file: &str) -> String {
            std::fs::read_to_string(self.path(file)).unwrap_or_default()
        }
    }

    #[test]
    fn the_file_is_written_and_the_command_run_only_on_change() {
        let mut world = World::new();
        world.tell("mwan.conf", "example.org");
        assert!(world.told());
        let line = "nftset=/example.org/4#inet#mwan#learned.s.4,6#inet#mwan#learned.s.6\n";
        assert!(world.text("mwan.conf").ends_with(line));
        let before = stamp(&world.path("mwan.conf"));
        world.dnsmasq = Dnsmasq::new(world.dir.path());
        world.tell("mwan.conf", "example.org");
        assert!(!world.told() && stamp(&world.path("mwan.conf")) == before);
        world.tell("mwan.conf", "example.net");
        assert!(world.told() && world.text("mwan.conf").contains("/example.net/"));
        // Somebody removed it, or wrote into it.
        for damage in [None, Some("other")] {
            match damage {
                None => std::fs::remove_file(world.path("mwan.conf")).unwrap(),
                Some(text) => std::fs::write(world.path("mwan.conf"), text).unwrap(),
            }
            let config = world.config("mwan.conf", "example.net");
            world.dnsmasq.tell(&config);
            assert!(world.told() && world.text("mwan.conf").contains("/example.net/"));
        }
        assert_eq!(std::fs::read_dir(world.dir.path()).unwrap().count(), 2, "no draft stays");
    }

    #[test]
    fn a_file_that_is_not_wanted_any_more_goes_and_no_other() {
        let mut world = World::new();
        world.tell("a.conf", "example.org");
        assert!(world.told());
        world.tell("b.conf", "example.org");
        assert!(world.told() && !world.path("a.conf").exists() && world.path("b.conf").exists());
        world.tell("", "example.org");
        assert!(world.told() && !world.path("b.conf").exists());
        // A daemon that was away meanwhile, a stop, and a clean-up without daemon.
        world.tell("a.conf", "example.org");
        world.dnsmasq = Dnsmasq::new(world.dir.path());
        world.tell("", "example.org");
        assert!(!world.path("a.conf").exists());
        world.tell("a.conf", "example.org");
        let config = world.config("a.conf", "example.org");
        world.dnsmasq.stop(&config);
        assert!(!world.path("a.conf").exists());
        world.tell("a.conf", "example.org");
        clean(world.dir.path());
        assert!(!world.path("a.conf").exists());
        world.tell("a.conf", "example.org");
        std::fs::write(world.path("a.conf"), "# Mine.\n").unwrap();
        world.dnsmasq.stop(&config);
        assert_eq!(world.text("a.conf"), "# Mine.\n");
    }

    #[test]
    fn what_cannot_be_written_is_a_problem_until_it_can() {
        let mut world = World::new();
        world.tell("absent/mwan.conf", "example.org");
        assert!(world.dnsmasq.problem().unwrap().contains("absent/mwan.conf") && !world.told());
        std::fs::create_dir(world.path("absent")).unwrap();
        world.tell("absent/mwan.conf", "example.org");
        assert!(world.dnsmasq.problem().is_none() && world.told());
    }

    /// Its group, too.
    #[test]
    fn a_command_does_not_outlive_its_time_or_the_daemon() {
        let mut world = World::new();
        let pid = world.path("pid");
        let script = format!("sleep 1000 & echo $! >{}; wait", pid.display());
        world.dnsmasq.run(&["sh".to_owned(), "-c".to_owned(), script]);
        let deadline = Instant::now() + Duration::from_secs(20);
        let child = || std::fs::read_to_string(&pid).ok().filter(|text| text.ends_with('\n'));
        while child().is_none() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let child: u32 = child().unwrap().trim().parse().unwrap();
        assert!(process::start_of(child).is_some());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(world.dnsmasq.finish(Instant::now()));
        while process::start_of(child).is_some() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(process::start_of(child).is_none());
    }
}
