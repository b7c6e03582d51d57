//! Carries batches out: IPFire's files and services. One thread, one batch at a time.

mod program;
mod progress;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mwan_ipfire::{About, Batch, STATE, Step, order};
use mwan_linux::process;
use tracing::{info, warn};

use super::{files, folder};
use program::Log;
use progress::Progress;

/// How long a hook may take.
const HOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long IPFire's own script may take to bring RED up: it waits for a dial of its own.
const RED_LIMIT: Duration = Duration::from_secs(90);
/// Files of a folder of hooks that are run.
const HOOKS_MAX: usize = 128;
/// How long a process that should end may take: pppd takes six seconds where the far end is gone.
const END_LIMIT: Duration = Duration::from_secs(9);

/// Where IPFire is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// `/var/ipfire`.
    pub(super) root: PathBuf,
    /// What stands before `/etc` and `/var`: nothing but in tests.
    pub(super) system: PathBuf,
    /// For what hooks say.
    log: PathBuf,
    /// For which of them have been run.
    progress: PathBuf,
    /// Nothing new is begun.
    stop: Arc<AtomicBool>,
}

/// What one batch needs.
struct Work {
    log: Log,
    progress: Progress,
}

impl Place {
    pub(super) fn new(root: &Path, run_dir: &Path) -> Self {
        let system =
            root.to_string_lossy().strip_suffix("/var/ipfire").map_or_else(PathBuf::new, PathBuf::from);
        Place {
            root: root.to_owned(),
            system,
            log: run_dir.join("ipfire.log"),
            progress: run_dir.join("ipfire.batch"),
            stop: Arc::default(),
        }
    }

    /// Ends batches behind the step, or the hook, that is being done: the next process goes on there.
    pub(super) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(super) fn system(&self, path: &str) -> PathBuf {
        if self.system.as_os_str().is_empty() {
            PathBuf::from(path)
        } else {
            self.system.join(path.trim_start_matches('/'))
        }
    }

    /// All steps, up to the first that fails; how many were done then.
    pub(super) fn carry_out(&self, batch: &Batch) -> Result<(), (usize, String)> {
        let stopped = |at| (at, "it is gone on with by the next process".to_owned());
        let begun = Progress::begin(self.progress.clone(), batch, RED_LIMIT, &|| self.is_stopped());
        let progress = begun.ok_or_else(|| stopped(0))?;
        let mut work = Work { log: Log::new(&self.log), progress };
        for (at, step) in batch.steps.iter().enumerate() {
            if self.is_stopped() {
                return Err(stopped(at));
            }
            let done = self.step(step, &mut work).map_err(|e| (at, format!("{}: {e}", name_of(step))))?;
            if !done {
                return Err(stopped(at));
            }
        }
        work.progress.forget();
        info!("RED: {} done", batch.kind);
        Ok(())
    }

    /// Whether it was done to its end.
    fn step(&self, step: &Step, work: &mut Work) -> io::Result<bool> {
        match step {
            Step::Verify { files, folder } => self.verify(files, folder)?,
            Step::Keep { files, folder } => self.keep(files, folder)?,
            Step::Restore { files, folder } => self.restore(files, folder)?,
            Step::Mend { files, folder } => self.mend(files, folder)?,
            Step::Forget { folder } => self.forget(folder)?,
            Step::Write { path, content } => self.write(path, content)?,
            Step::Stamp { path } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                self.write(path, &format!("{now}\n"))?;
            }
            Step::Remove { path } => self.remove(path)?,
            Step::StopConnectd => self.connectd().into_iter().for_each(|id| end(id, "connectd")),
            Step::StopSession { device } => {
                if let Some(id) = self.session(device) {
                    end(id, device);
                }
            }
            Step::BringUp { device } => self.bring_up(device, work),
            Step::Hooks { folder, about } => return Ok(self.hooks(folder, about, work)),
        }
        Ok(true)
    }

    fn write(&self, path: &str, content: &str) -> io::Result<()> {
        match path.strip_prefix(STATE).and_then(|rest| rest.strip_prefix('/')) {
            Some(name) => self.write_state(name, content.as_bytes()),
            None => folder::write(&self.root, Path::new(path), 0o644, content.as_bytes()),
        }
    }

    /// Scripts are told apart by the path they were started by, which is one of two names of one folder.
    fn connectd(&self) -> Vec<u32> {
        let paths = ["/etc/init.d/connectd", "/etc/rc.d/init.d/connectd"].map(|p| self.system(p));
        let is_ours = |id: &u32| {
            let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            let mut words = command.split(|b| *b == 0).take(2);
            words.any(|word| paths.iter().any(|p| p.as_os_str().as_encoded_bytes() == word))
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_ours).collect()
    }

    /// The process that the pid file of a session names, if it is a `pppd`.
    fn session(&self, device: &str) -> Option<u32> {
        let text = files::line(&self.system("/var/run").join(format!("{device}.pid")))?;
        let id: u32 = text.lines().next()?.trim().parse().ok()?;
        let name = fs::read_to_string(format!("/proc/{id}/comm")).ok()?;
        (name.trim() == "pppd").then_some(id)
    }

    /// IPFire's own script: our session of its primary ended with us, or its own did when a backup took over.
    fn bring_up(&self, device: &str, work: &mut Work) {
        if !process::addresses_of(device).is_empty() {
            return;
        }
        let script = self.system("/etc/rc.d/init.d/networking/red").to_string_lossy().into_owned();
        work.run("red start", &[script, "start".to_owned()], &[], RED_LIMIT);
    }

    /// Whether all have been run: not if we are to end before.
    fn hooks(&self, name: &str, about: &About, work: &mut Work) -> bool {
        let folder = self.system("/etc/init.d/networking").join(name);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let executable =
            |e: &fs::DirEntry| fs::metadata(e.path()).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
        let names: Vec<String> =
            entries.filter(executable).filter_map(|e| e.file_name().into_string().ok()).collect();
        for call in order(names.iter().map(String::as_str)).into_iter().take(HOOKS_MAX) {
            let what = format!("{name}/{}", call.file);
            if work.progress.has_run(&what) {
                continue;
            }
            if self.is_stopped() {
                return false;
            }
            let path = folder.join(&call.file).to_string_lossy().into_owned();
            let argv: Vec<String> = std::iter::once(path).chain(call.argument.map(str::to_owned)).collect();
            let environment = [("INTERFACE", about.interface.as_str()), ("DEVICE", about.device.as_str())];
            work.run(&what, &argv, &environment, HOOK_LIMIT);
        }
        true
    }
}

impl Work {
    /// What goes wrong is said, and is no reason to stop.
    fn run(&mut self, what: &str, argv: &[String], environment: &[(&str, &str)], limit: Duration) {
        let full = self.log.is_full();
        let started = |id| self.progress.runs(id, what);
        match program::run(argv, environment, &mut self.log, limit, started) {
            Ok(status) if status.success() => {}
            Ok(status) => warn!("{}: {status}", argv.join(" ")),
            Err(error) => warn!("{}: {error}", argv.join(" ")),
        }
        if self.log.is_full() && !full {
            warn!("{}: says too much; the rest is thrown away", argv.join(" "));
        }
        self.progress.ran(what);
    }
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Keep { folder, .. } => format!("the primary's settings cannot be kept in {folder}"),
        Step::BringUp { device } => device.clone(),
        Step::Verify { folder, .. } | Step::Restore { folder, .. } | Step::Mend { folder, .. } => {
            format!("the primary's settings cannot be put back from {folder}")
        }
        Step::Forget { folder } => folder.clone(),
        Step::Write { path, .. } | Step::Stamp { path } | Step::Remove { path } => path.clone(),
        Step::StopConnectd => "connectd".to_owned(),
        Step::StopSession { device } => (*device).to_owned(),
        Step::Hooks { folder, .. } => (*folder).to_owned(),
    }
}

fn end(id: u32, what: &str) {
    let Some(start) = process::start_of(id) else { return };
    info!("{what} (process {id}) is ended");
    process::end(id);
    let deadline = std::time::Instant::now() + END_LIMIT;
    while process::is_alive(id, start) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(50));
    }
    if process::is_alive(id, start) {
        warn!("{what} (process {id}) does not end");
    }
}
