//! Which hooks of a batch have been run, and which runs: for the process after this one.
//!
//! In the run directory, which no boot survives. A batch is begun anew by the next process, or after an error; a hook that was
//! run to its end is not run again then, and one that still runs is waited for. One that has ended since its process died is taken
//! to have come to its end.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use mwan_ipfire::{Batch, Step};
use mwan_linux::process;
use tracing::{info, warn};

use crate::replace::{Durability, Marks, replace};

/// Most that is read of the file.
const BYTES_MAX: u64 = 256 * 1024;
/// Pause between two looks at a process that was left.
const LOOK: Duration = Duration::from_millis(20);

/// A process and what it runs.
struct Running {
    id: u32,
    start: u64,
    what: String,
}

/// See the module.
pub(super) struct Progress {
    file: PathBuf,
    /// What for, and which hooks.
    batch: String,
    /// A sum of what hooks are told of the connection.
    told: String,
    ran: BTreeSet<String>,
    running: Option<Running>,
}

impl Progress {
    /// Of `batch`: of the one before only if it is the same. What still runs is waited for, `limit` at most, and killed then;
    /// `None` if `stop` says so first.
    pub(super) fn begin(
        file: PathBuf,
        batch: &Batch,
        limit: Duration,
        stop: &dyn Fn() -> bool,
    ) -> Option<Self> {
        let mut progress = Progress::read(file);
        if let Some(left) = progress.running.take() {
            if !wait(&left, limit, stop) {
                return None;
            }
            progress.ran.insert(left.what);
        }
        let (label, told) = (label(batch), told(batch));
        // RED is down for whom a hook has told so, whatever it becomes; what it has become is another matter.
        let up = progress.ran.iter().any(|what| what.contains(".up/"));
        if progress.batch != label || up && progress.told != told {
            progress.ran = BTreeSet::new();
        }
        (progress.batch, progress.told) = (label, told);
        progress.save();
        Some(progress)
    }

    /// A file somebody else has written says nothing: then everything is done again.
    fn read(file: PathBuf) -> Self {
        let bytes = super::super::folder::regular(&file, BYTES_MAX).ok().flatten().map(|(bytes, ..)| bytes);
        let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
        let (mut ran, mut running) = (BTreeSet::new(), None);
        let mut lines = text.lines();
        let mut first = || lines.next().unwrap_or_default().to_owned();
        let (batch, told) = (first(), first());
        for line in lines {
            match line.split_once(' ') {
                Some(("ran", what)) => drop(ran.insert(what.to_owned())),
                Some(("runs", rest)) => running = running_of(rest),
                _ => {}
            }
        }
        Progress { file, batch, told, ran, running }
    }

    pub(super) fn has_run(&self, what: &str) -> bool {
        self.ran.contains(what)
    }

    /// The process `id`, of which nobody has been told yet, runs `what`.
    pub(super) fn runs(&mut self, id: u32, what: &str) {
        let start = process::start_of(id).unwrap_or_default();
        self.running = Some(Running { id, start, what: what.to_owned() });
        self.save();
    }

    pub(super) fn ran(&mut self, what: &str) {
        self.running = None;
        self.ran.insert(what.to_owned());
        self.save();
    }

    /// The batch is done.
    pub(super) fn forget(self) {
        let _ = fs::remove_file(self.file);
    }

    /// Not on the disk: it is needed by a process after this one, not after a boot.
    fn save(&self) {
        let mut text = format!("{}\n{}\n", self.batch, self.told);
        for what in &self.ran {
            let _ = writeln!(text, "ran {what}");
        }
        if let Some(running) = &self.running {
            let _ = writeln!(text, "runs {} {} {}", running.id, running.start, running.what);
        }
        let saved = replace(&self.file, Marks::ours(0o600), Durability::Process, text.as_bytes());
        if let Err(error) = saved {
            warn!("{}: {error}; hooks may be run twice if this process dies", self.file.display());
        }
    }
}

fn running_of(text: &str) -> Option<Running> {
    let mut words = text.splitn(3, ' ');
    let (id, start) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(Running { id, start, what: words.next()?.to_owned() })
}

/// What a batch is for, and its folders of hooks.
fn label(batch: &Batch) -> String {
    let mut label = batch.kind.to_string();
    for step in &batch.steps {
        if let Step::Hooks { folder, .. } = step {
            let _ = write!(label, " {folder}");
        }
    }
    label
}

/// A sum of what hooks are told, and of what stands in RED's files then.
fn told(batch: &Batch) -> String {
    let told = |step: &&Step| match step {
        Step::Hooks { .. } => true,
        Step::Write { path, .. } => path.starts_with("red/"),
        _ => false,
    };
    let steps: Vec<&Step> = batch.steps.iter().filter(told).collect();
    format!("{:016x}", mwan_config::ipfire::fnv1a(format!("{steps:?}").as_bytes()))
}

/// Whether it has ended.
fn wait(left: &Running, limit: Duration, stop: &dyn Fn() -> bool) -> bool {
    if !process::is_alive(left.id, left.start) {
        return true;
    }
    info!("{} of a process before this one still runs (process {}) and is waited for", left.what, left.id);
    let deadline = Instant::now() + limit;
    while process::is_alive(left.id, left.start) {
        if stop() {
            return false;
        }
        if Instant::now() >= deadline {
            warn!("{} does not end and is killed", left.what);
            // A group of its own, as every hook.
            process::kill_group(left.id);
            return true;
        }
        std::thread::sleep(LOOK);
    }
    true
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use mwan_ipfire::{RedFiles, give_back, take_over};

    use super::*;

    fn batch(device: &str) -> Batch {
        take_over("cable", false, &red(device))
    }

    fn red(device: &str) -> RedFiles {
        RedFiles { device: device.into(), ..RedFiles::default() }
    }

    fn begin(dir: &tempfile::TempDir, batch: &Batch, limit: Duration) -> Progress {
        Progress::begin(dir.path().join("ipfire.batch"), batch, limit, &|| false).unwrap()
    }

    #[test]
    fn what_was_run_is_known_for_the_same_batch_and_for_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let knows = |batch: &Batch, what: &str| begin(&dir, batch, Duration::ZERO).has_run(what);
        let ran = |batch: &Batch, what: &str| begin(&dir, batch, Duration::ZERO).ran(what);
        let (down, up) = ("red.down/10 with a space", "red.up/10");
        ran(&batch("eth1"), down);
        assert!(knows(&batch("eth1"), down));
        // Down is down, whatever comes up.
        assert!(knows(&batch("eth2"), down));
        ran(&batch("eth2"), up);
        assert!(knows(&batch("eth2"), up) && knows(&batch("eth2"), down));
        // Up with another address is not, and needs a new down.
        assert!(!knows(&batch("eth1"), down) && !knows(&batch("eth1"), up));
        // A give-back that is finished by another process knows less of the connection.
        ran(&give_back("red", Some(&red("ppp0"))), down);
        assert!(knows(&give_back("red", None), down) && !knows(&batch("eth1"), down));
        ran(&batch("eth1"), down);
        begin(&dir, &batch("eth1"), Duration::ZERO).forget();
        assert!(!knows(&batch("eth1"), down));
    }

    #[test]
    fn what_ended_while_there_was_no_process_is_not_run_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut child = Command::new("/bin/true").spawn().unwrap();
        begin(&dir, &batch("eth1"), Duration::ZERO).runs(child.id(), "red.up/50-slow");
        child.wait().unwrap();
        assert!(begin(&dir, &batch("eth1"), Duration::ZERO).has_run("red.up/50-slow"));
    }

    /// The process before us was killed, and its hook lives.
    #[test]
    fn what_still_runs_is_waited_for_and_killed_in_the_end() {
        let dir = tempfile::tempdir().unwrap();
        for (limit, killed) in [(Duration::from_secs(60), false), (Duration::ZERO, true)] {
            let mut shell = Command::new("/bin/sh");
            shell.args(["-c", if killed { "exec sleep 600" } else { "read end" }]).process_group(0);
            let mut child = shell.stdin(Stdio::piped()).spawn().unwrap();
            begin(&dir, &batch("eth1"), limit).runs(child.id(), "red.up/50-slow");
            let asked = Progress::begin(dir.path().join("ipfire.batch"), &batch("eth1"), limit, &|| true);
            assert!(asked.is_none() || killed, "who is to end does not wait");
            if !killed {
                drop(child.stdin.take());
            }
            // It is nobody's zombie by then, as one whose parent is init.
            let (told, status) = std::sync::mpsc::channel();
            std::thread::spawn(move || told.send(child.wait().unwrap()));
            assert!(begin(&dir, &batch("eth1"), limit).has_run("red.up/50-slow"));
            assert_eq!(
                std::os::unix::process::ExitStatusExt::signal(&status.recv().unwrap()).is_some(),
                killed
            );
        }
    }
}
