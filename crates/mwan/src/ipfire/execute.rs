//! Carries batches out: IPFire's files and services. One thread, one batch at a time.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mwan_ipfire::{About, Batch, Step, order};
use mwan_linux::process;
use tracing::{info, warn};

use super::files::{self, beside, none_is_well};
use crate::dial::program_with;

/// How long a hook may take.
const HOOK_LIMIT: Duration = Duration::from_secs(60);
/// How long IPFire's own script may take to bring RED up: it waits for a dial of its own.
const RED_LIMIT: Duration = Duration::from_secs(90);
/// What the last line of a manifest is about: all lines before it.
const MANIFEST_END: &str = "manifest";
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
    pub(super) log: PathBuf,
}

impl Place {
    pub(super) fn new(root: &Path, run_dir: &Path) -> Self {
        let system =
            root.to_string_lossy().strip_suffix("/var/ipfire").map_or_else(PathBuf::new, PathBuf::from);
        Place { root: root.to_owned(), system, log: run_dir.join("ipfire.log") }
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
        let _ = fs::remove_file(&self.log);
        for (at, step) in batch.steps.iter().enumerate() {
            self.step(step).map_err(|e| (at, format!("{}: {e}", name_of(step))))?;
        }
        info!("RED: {} done", batch.kind);
        Ok(())
    }

    fn step(&self, step: &Step) -> io::Result<()> {
        match step {
            Step::Keep { files, folder } => self.keep(files, folder),
            Step::Restore { files, folder } => self.restore(files, folder),
            Step::Mend { files, folder } => self.mend(files, folder),
            Step::Forget { folder } => none_is_well(fs::remove_dir_all(self.root.join(folder))),
            Step::Write { path, content } => write(&self.root.join(path), content.as_bytes()),
            Step::Stamp { path } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
                write(&self.root.join(path), format!("{now}\n").as_bytes())
            }
            Step::Remove { path } => none_is_well(fs::remove_file(self.root.join(path))),
            Step::StopConnectd => {
                self.connectd().into_iter().for_each(|id| end(id, "connectd"));
                Ok(())
            }
            Step::StopSession { device } => {
                if let Some(id) = self.session(device) {
                    end(id, device);
                }
                Ok(())
            }
            Step::BringUp { device } => {
                self.bring_up(device);
                Ok(())
            }
            Step::Hooks { folder, about } => {
                self.hooks(folder, about);
                Ok(())
            }
        }
    }

    /// A folder of its own first, complete and on the disk; then its name.
    fn keep(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        let folder = self.root.join(folder);
        if folder.join("manifest").exists() {
            return Ok(());
        }
        let new = folder.with_extension("new");
        none_is_well(fs::remove_dir_all(&new))?;
        fs::create_dir_all(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o700))?;
        let mut manifest = String::new();
        for name in files {
            let sum = match copy(&self.root.join(name), &new.join(flat(name))) {
                Ok(sum) => sum,
                Err(error) if error.kind() == ErrorKind::NotFound => "-".to_owned(),
                Err(error) => return Err(error),
            };
            manifest.push_str(&format!("{sum} {name}\n"));
        }
        manifest.push_str(&format!("{} {MANIFEST_END}\n", checksum(manifest.as_bytes())));
        write(&new.join("manifest"), manifest.as_bytes())?;
        none_is_well(fs::remove_dir_all(&folder))?;
        fs::rename(&new, &folder)?;
        sync(&folder)
    }

    /// What was kept of these files, each with its sum, which it has; `None`: it was not there. Nothing without the folder.
    fn kept(&self, files: &[&'static str], folder: &Path) -> io::Result<Vec<(&'static str, Option<String>)>> {
        if !folder.exists() {
            return Ok(Vec::new());
        }
        let damaged =
            |name: &str| io::Error::other(format!("the copy of {name} is damaged; nothing is put back"));
        let text = fs::read_to_string(folder.join("manifest")).unwrap_or_default();
        let (lines, end) =
            text.trim_end_matches('\n').rsplit_once('\n').ok_or_else(|| damaged("the manifest"))?;
        let lines = format!("{lines}\n");
        if end != format!("{} {MANIFEST_END}", checksum(lines.as_bytes())) {
            return Err(damaged("the manifest"));
        }
        let sums: BTreeMap<&str, &str> =
            lines.lines().filter_map(|l| l.split_once(' ')).map(|(sum, name)| (name, sum)).collect();
        let one = |name: &&'static str| {
            let sum = *sums.get(name).ok_or_else(|| damaged(name))?;
            let found = || fs::read(folder.join(flat(name))).map(|bytes| checksum(&bytes)).ok();
            match sum {
                "-" => Ok((*name, None)),
                sum if found().as_deref() == Some(sum) => Ok((*name, Some(sum.to_owned()))),
                _ => Err(damaged(name)),
            }
        };
        files.iter().map(one).collect()
    }

    /// Of what was kept, only what is gone or empty.
    fn mend(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        let folder = self.root.join(folder);
        for (name, sum) in self.kept(files, &folder)? {
            let (target, copy_of) = (self.root.join(name), folder.join(flat(name)));
            if sum.is_none_or(|sum| same(&target, &sum, &copy_of)) {
                continue;
            }
            if fs::metadata(&target).is_ok_and(|m| m.len() > 0) {
                info!("{name} was changed while RED was a backup's; it stays as it is now");
                continue;
            }
            warn!("{name} was lost while RED was a backup's; it is put back");
            put_back(&copy_of, &target)?;
        }
        Ok(())
    }

    /// Everything is compared with its sum before anything is touched.
    fn restore(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        let folder = self.root.join(folder);
        for (name, sum) in self.kept(files, &folder)? {
            let (target, copy_of) = (self.root.join(name), folder.join(flat(name)));
            match sum {
                None => none_is_well(fs::remove_file(&target))?,
                // What has not changed is not touched: others watch these files.
                Some(sum) if same(&target, &sum, &copy_of) => {}
                Some(_) => put_back(&copy_of, &target)?,
            }
        }
        Ok(())
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
    fn bring_up(&self, device: &str) {
        if !process::addresses_of(device).is_empty() {
            return;
        }
        let script = self.system("/etc/rc.d/init.d/networking/red").to_string_lossy().into_owned();
        match program_with(&[script.clone(), "start".to_owned()], &[], &self.log, RED_LIMIT) {
            Ok(status) if status.success() => {}
            Ok(status) => warn!("{script} start: {status}"),
            Err(error) => warn!("{script} start: {error}"),
        }
    }

    fn hooks(&self, folder: &str, about: &About) {
        let folder = self.system("/etc/init.d/networking").join(folder);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let executable =
            |e: &fs::DirEntry| fs::metadata(e.path()).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0);
        let names: Vec<String> =
            entries.filter(executable).filter_map(|e| e.file_name().into_string().ok()).collect();
        for call in order(names.iter().map(String::as_str)).into_iter().take(HOOKS_MAX) {
            let path = folder.join(&call.file).to_string_lossy().into_owned();
            let argv: Vec<String> =
                std::iter::once(path.clone()).chain(call.argument.map(str::to_owned)).collect();
            let environment = [("INTERFACE", about.interface.as_str()), ("DEVICE", about.device.as_str())];
            match program_with(&argv, &environment, &self.log, HOOK_LIMIT) {
                Ok(status) if status.success() => {}
                Ok(status) => warn!("{path}: {status}"),
                Err(error) => warn!("{path}: {error}"),
            }
        }
    }
}

fn name_of(step: &Step) -> String {
    match step {
        Step::Keep { folder, .. } => format!("the primary's settings cannot be kept in {folder}"),
        Step::BringUp { device } => device.clone(),
        Step::Restore { folder, .. } | Step::Mend { folder, .. } => {
            format!("the primary's settings cannot be put back from {folder}")
        }
        Step::Forget { folder } => folder.clone(),
        Step::Write { path, .. } | Step::Stamp { path } | Step::Remove { path } => path.clone(),
        Step::StopConnectd => "connectd".to_owned(),
        Step::StopSession { device } => (*device).to_owned(),
        Step::Hooks { folder, .. } => (*folder).to_owned(),
    }
}

/// Names of files in one folder.
fn flat(name: &str) -> String {
    name.replace('/', "%")
}

fn put_back(copy_of: &Path, target: &Path) -> io::Result<()> {
    let new = beside(target);
    copy(copy_of, &new)?;
    fs::rename(&new, target)
}

/// Whether a file has the content, mode and owner of its copy.
fn same(file: &Path, sum: &str, copy: &Path) -> bool {
    let marks = |path: &Path| fs::metadata(path).map(|m| (m.mode(), m.uid(), m.gid())).ok();
    fs::read(file).is_ok_and(|bytes| checksum(&bytes) == sum) && marks(file) == marks(copy)
}

/// Content, mode and owner; on the disk when it returns. The sum of what was copied.
fn copy(from: &Path, to: &Path) -> io::Result<String> {
    let bytes = fs::read(from)?;
    let meta = fs::metadata(from)?;
    let mut file = fs::File::create(to)?;
    file.write_all(&bytes)?;
    file.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
    chown(to, Some(meta.uid()), Some(meta.gid()))?;
    file.sync_all()?;
    Ok(checksum(&bytes))
}

/// A new file, then a rename: whoever reads sees all of it or the one before. Mode and owner of one that is there stay.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let new = beside(path);
    let mut file = fs::File::create(&new)?;
    file.write_all(content)?;
    if let Ok(meta) = fs::metadata(path) {
        file.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))?;
        chown(&new, Some(meta.uid()), Some(meta.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&new, path)
}

fn sync(folder: &Path) -> io::Result<()> {
    folder.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
}

/// Against a torn or tampered copy, not against an enemy, who would be root.
fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", mwan_config::ipfire::fnv1a(bytes))
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

#[cfg(test)]
mod tests;
