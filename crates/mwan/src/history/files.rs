//! The files: where they are, how they are opened, and what becomes of those that cannot be used.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use mwan_config::ipfire::fnv1a;
use mwan_config::sort_short_by;
use mwan_history::{History, OpenError, Storage};
use mwan_linux::process::file_system;
use tracing::{info, warn};

use crate::replace::{Durability, Marks, replace_by};

/// Ending of the files that are being written, in the run directory.
const LIVE: &str = "live";
/// Ending of their copies, in the state directory.
const KEPT: &str = "ring";
/// Ending of those that were set aside.
const BROKEN: &str = "broken";
/// Longest name that is a file's as it is, bytes; with an ending there may be 255 (NAME_MAX, limits.h).
const STEM_MAX: usize = 180;
/// Copies of interfaces that are gone: the youngest so many, and none for longer than anything in them counts.
const GONE_MAX: usize = 32;
const GONE_AGE_MAX: Duration = Duration::from_secs(731 * 86_400);
/// Of those that were set aside in a folder, the youngest so many, and for as long as somebody may ask for them.
const BROKEN_MAX: usize = 4;
const BROKEN_AGE_MAX: Duration = Duration::from_secs(90 * 86_400);
/// What copies leave free of a file system: that part, or so many bytes where that is more than anybody's settings need.
const LEFT_PART: u64 = 10;
const LEFT_MAX: u64 = 4 << 20;
/// Bytes that have a place on a disk, or none.
const PAGE: usize = 4096;
/// Bytes copied at once: less than what malloc would ask the kernel for anew each time, and keep.
const CHUNK: usize = 16 * PAGE;
/// Of all files.
const OURS: Marks = Marks { mode: 0o600, owner: None };

/// A file as storage.
#[derive(Debug)]
pub(crate) struct RingFile(File);

impl Storage for RingFile {
    fn read(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, at)
    }

    fn write(&mut self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

impl RingFile {
    /// A copy of what it is now, in memory as the file itself is, which nobody else knows.
    fn snapshot(&self, folder: &Path) -> io::Result<File> {
        let path = folder.join(".snapshot");
        let copy =
            File::options().read(true).write(true).create(true).truncate(true).mode(0o600).open(&path)?;
        fs::remove_file(&path)?;
        copy_pages(&self.0, &copy)?;
        Ok(copy)
    }
}

/// Copies a file, with holes for pages of zeros: most of a new file has never been written.
fn copy_pages(from: &File, to: &File) -> io::Result<()> {
    let size = from.metadata()?.len();
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).map_or(CHUNK, |rest| rest.min(CHUNK));
        let chunk = &mut buffer[..length];
        from.read_exact_at(chunk, at)?;
        for page in chunk.chunks(PAGE) {
            if page.iter().any(|byte| *byte != 0) {
                to.write_all_at(page, at)?;
            }
            at += page.len() as u64;
        }
    }
    to.set_len(size)
}

/// Where the files of all interfaces are.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    run: PathBuf,
    state: PathBuf,
}

impl Folders {
    pub(crate) fn new(run_dir: &Path, state_dir: &Path) -> Self {
        Folders { run: run_dir.join("history"), state: state_dir.join("history") }
    }

    fn live(&self, name: &str) -> PathBuf {
        self.run.join(format!("{}.{LIVE}", stem(name)))
    }

    fn kept(&self, name: &str) -> PathBuf {
        self.state.join(format!("{}.{KEPT}", stem(name)))
    }

    /// What is remembered of an interface, to be gone on with: of this boot, else what was kept, else nothing.
    ///
    /// # Errors
    /// The run directory cannot be written, or the file in it not read.
    pub(crate) fn open(&self, name: &str) -> io::Result<History<RingFile>> {
        make_folder(&self.run)?;
        let live = self.live(name);
        if let Some(history) = usable(&live, name)? {
            return Ok(history);
        }
        let kept = self.kept(name);
        let before = usable(&kept, name).unwrap_or_else(|error| {
            warn!("cannot read {}: {error}", kept.display());
            None
        });
        replace_by(&live, OURS, Durability::Process, |file| match &before {
            Some(before) => copy_pages(&before.storage().0, file),
            None => {
                file.set_len(mwan_history::file_size())?;
                History::create(RingFile(file.try_clone()?), name).map(drop)
            }
        })?;
        usable(&live, name)?.ok_or_else(|| io::Error::other("it is not what was just written"))
    }

    /// A copy of what is remembered, for [`Folders::keep`], while nobody writes.
    ///
    /// # Errors
    /// The run directory cannot be written.
    pub(crate) fn snapshot(&self, history: &History<RingFile>) -> io::Result<File> {
        history.storage().snapshot(&self.run)
    }

    /// Keeps a copy of what is remembered in the state directory, if that leaves room for others: a router's flash may have but a few
    /// MiB, and its settings are there, too.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn keep(&self, name: &str, snapshot: &File) -> io::Result<()> {
        make_folder(&self.state)?;
        let (all, free) = file_system(&self.state)?;
        // In units of 512 bytes whatever the file system (stat(2)); holes do not count.
        let needed = snapshot.metadata()?.blocks() * 512;
        let left = (all / LEFT_PART).min(LEFT_MAX);
        if free < needed + left {
            let text = format!("{} KiB are free, of which {} are left to others", free >> 10, left >> 10);
            return Err(io::Error::new(io::ErrorKind::StorageFull, text));
        }
        replace_by(&self.kept(name), OURS, Durability::Reboot, |file| copy_pages(snapshot, file))
    }

    /// Removes what is in memory.
    pub(crate) fn forget_live(&self, name: &str) {
        let _ = fs::remove_file(self.live(name));
    }

    /// Interfaces that have a file in the run directory.
    pub(crate) fn live_names(&self) -> Vec<String> {
        let names = files(&self.run, LIVE).into_iter().filter_map(|path| open(&path, false).ok());
        names.map(|history| history.name().to_owned()).collect()
    }

    /// What is remembered of one interface, to be read.
    pub(crate) fn read(&self, name: &str) -> Option<History<RingFile>> {
        [self.live(name), self.kept(name)].iter().find_map(|path| open(path, false).ok())
    }

    /// All that is remembered, by name, and what cannot be read.
    pub(crate) fn read_all(&self) -> (Vec<History<RingFile>>, Vec<String>) {
        let (mut all, mut problems): (Vec<History<RingFile>>, Vec<String>) = (Vec::new(), Vec::new());
        for path in files(&self.run, LIVE).into_iter().chain(files(&self.state, KEPT)) {
            match open(&path, false) {
                Ok(history) if all.iter().any(|known| known.name() == history.name()) => {}
                Ok(history) => all.push(history),
                Err(error) => problems.push(format!("{}: {error}", path.display())),
            }
        }
        sort_short_by(&mut all, |a, b| a.name() > b.name());
        (all, problems)
    }

    /// Removes copies of interfaces that are long gone, or of too many of them, and what was set aside long ago; `present` are not
    /// gone.
    pub(crate) fn prune(&self, present: &[String]) {
        let present: Vec<PathBuf> = present.iter().map(|name| self.kept(name)).collect();
        let gone = files(&self.state, KEPT).into_iter().filter(|path| !present.contains(path));
        keep_youngest(gone, GONE_MAX, GONE_AGE_MAX, "its interface is gone");
        for folder in [&self.run, &self.state] {
            keep_youngest(
                files(folder, BROKEN).into_iter(),
                BROKEN_MAX,
                BROKEN_AGE_MAX,
                "it was set aside long ago, or others after it",
            );
        }
    }
}

/// Removes all but the youngest `most`, and those older than `age_max`.
fn keep_youngest(paths: impl Iterator<Item = PathBuf>, most: usize, age_max: Duration, why: &str) {
    let age = |path: &PathBuf| {
        let changed = fs::symlink_metadata(path).and_then(|meta| meta.modified()).ok();
        changed.and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
    };
    let mut all: Vec<(Duration, PathBuf)> = paths.map(|path| (age(&path), path)).collect();
    sort_short_by(&mut all, |a, b| a > b);
    for (index, (age, path)) in all.into_iter().enumerate() {
        if (index >= most || age > age_max) && fs::remove_file(&path).is_ok() {
            info!("{} is removed: {why}", path.display());
        }
    }
}

/// A file that can be gone on with. One that cannot is set aside, and told of.
fn usable(path: &Path, name: &str) -> io::Result<Option<History<RingFile>>> {
    let why = match open(path, true) {
        Ok(mut history) if history.name() == name => {
            if history.damaged() > 0 {
                warn!("{}: {} blocks are damaged and left out", path.display(), history.damaged());
                history.mend()?;
            }
            return Ok(Some(history));
        }
        Ok(history) => format!("it is of '{}'", history.name().escape_debug()),
        Err(OpenError::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(OpenError::Io(error)) => return Err(error),
        Err(OpenError::Broken(why)) => why,
    };
    let aside = path.with_extension(BROKEN);
    warn!("{} cannot be used ({why}); set aside as {}", path.display(), aside.display());
    fs::rename(path, aside)?;
    Ok(None)
}

fn open(path: &Path, write: bool) -> Result<History<RingFile>, OpenError> {
    // Only a regular file: a pipe of that name would keep us waiting for ever.
    if !fs::metadata(path)?.is_file() {
        return Err(OpenError::Broken("it is no regular file".to_owned()));
    }
    History::open(RingFile(File::options().read(true).write(write).open(path)?))
}

/// Which WAN is how reliable is nobody else's business.
fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.retain(|path| path.extension().is_some_and(|e| e == ending));
    files.sort();
    files
}

/// The name of an interface as that of a file: what is no letter, digit, `_`, `-` or `.` by its number, and a hash (FNV-1a) for the end
/// of a long one. Whose a file is, it says itself.
fn stem(name: &str) -> String {
    let mut out = String::new();
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte) || (byte == b'.' && index > 0);
        if plain { out.push(byte.into()) } else { out.push_str(&format!("%{byte:02X}")) }
    }
    if out.len() > STEM_MAX {
        let hash = fnv1a(name.as_bytes());
        out.truncate(STEM_MAX - 17);
        out.push_str(&format!("%{hash:016x}"));
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use mwan_history::{PathSecond, Second};

    use super::*;

    const START: u32 = 1_793_491_200;

    fn folders(dir: &Path) -> Folders {
        Folders::new(&dir.join("run"), &dir.join("state"))
    }

    fn record(history: &mut History<RingFile>, at: u32) {
        let second = Second { paths: [Some(PathSecond::default()), None], ..Second::default() };
        history.record(at, &second, || false).unwrap();
    }

    #[test]
    fn a_boot_carries_on_with_what_was_kept_and_a_restart_with_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        let mut history = folders.open("wan").unwrap();
        assert_eq!((history.name(), history.newest_s()), ("wan", None));
        record(&mut history, START);
        folders.keep("wan", &folders.snapshot(&history).unwrap()).unwrap();
        record(&mut history, START + 1);
        drop(history);
        assert_eq!(folders.open("wan").unwrap().newest_s(), Some(START + 1), "kill -9");
        fs::remove_dir_all(dir.path().join("run")).unwrap();
        assert_eq!(folders.open("wan").unwrap().newest_s(), Some(START), "a boot");
        let size = |path: &Path| fs::metadata(path).unwrap().len();
        assert!(size(&folders.live("wan")) <= mwan_history::INTERFACE_SIZE_MAX);
        assert_eq!(size(&folders.live("wan")), size(&folders.kept("wan")));
        assert!(fs::metadata(folders.kept("wan")).unwrap().blocks() * 512 < 100_000, "holes stay holes");
        assert_eq!(fs::read_dir(&folders.run).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn what_cannot_be_used_is_set_aside() {
        for broken in [&b""[..], b"MWANHIST", &vec![0; 3 << 20]] {
            let dir = tempfile::tempdir().unwrap();
            let folders = folders(dir.path());
            let mut history = folders.open("wan").unwrap();
            record(&mut history, START);
            folders.keep("wan", &folders.snapshot(&history).unwrap()).unwrap();
            // The copy stands in for the file in memory, and nothing for the copy.
            fs::write(folders.live("wan"), broken).unwrap();
            assert_eq!(folders.open("wan").unwrap().newest_s(), Some(START));
            assert_eq!(fs::read(dir.path().join("run/history/wan.broken")).unwrap(), broken);
            fs::write(folders.live("wan"), broken).unwrap();
            fs::write(folders.kept("wan"), broken).unwrap();
            let (read, problems) = folders.read_all();
            assert!(read.is_empty() && problems.len() == 2, "{problems:?}");
            assert_eq!(folders.open("wan").unwrap().newest_s(), None);
            assert_eq!(fs::read(dir.path().join("state/history/wan.broken")).unwrap(), broken);
        }
    }

    #[test]
    fn of_what_was_set_aside_the_youngest_are_kept_for_a_while() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        for folder in [&folders.run, &folders.state] {
            make_folder(folder).unwrap();
            for n in 0..10 {
                let file = File::create(folder.join(format!("wan{n}.broken"))).unwrap();
                file.set_modified(SystemTime::now() - Duration::from_secs(n * 40 * 86_400)).unwrap();
            }
        }
        fs::write(folders.kept("wan0"), "").unwrap();
        folders.prune(&["wan0".to_owned()]);
        let there = |folder: &Path| files(folder, BROKEN).len();
        // None is younger than the fourth of 120 days, and that is too old.
        assert_eq!((there(&folders.run), there(&folders.state)), (3, 3));
        for n in 0..10 {
            fs::write(folders.run.join(format!("wanb{n}.broken")), "").unwrap();
        }
        folders.prune(&["wan0".to_owned()]);
        assert_eq!((there(&folders.run), there(&folders.state)), (BROKEN_MAX, 3));
        assert!(folders.kept("wan0").exists());
    }

    #[test]
    fn the_file_of_another_is_not_gone_on_with_and_a_folder_is_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        drop(folders.open("wan").unwrap());
        fs::rename(folders.live("wan"), folders.live("wanb")).unwrap();
        assert_eq!(folders.open("wanb").unwrap().name(), "wanb");
        assert!(dir.path().join("run/history/wanb.broken").exists());
        fs::create_dir_all(folders.kept("wanc")).unwrap();
        assert_eq!(folders.open("wanc").unwrap().name(), "wanc");
    }

    #[test]
    fn of_interfaces_that_are_gone_the_youngest_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let folders = folders(dir.path());
        make_folder(&folders.state).unwrap();
        let set_age = |name: &str, days: u64| {
            let file = File::create(folders.kept(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        };
        for n in 0..40 {
            set_age(&format!("old{n}"), n + 1);
        }
        set_age("ancient", 800);
        set_age("wan", 900);
        folders.prune(&["wan".to_owned()]);
        let left: BTreeSet<PathBuf> = files(&folders.state, KEPT).into_iter().collect();
        let wanted: BTreeSet<PathBuf> =
            (0..32).map(|n| format!("old{n}")).chain(["wan".to_owned()]).map(|n| folders.kept(&n)).collect();
        assert_eq!(left, wanted);
    }

    #[test]
    fn any_name_is_that_of_a_file_in_the_folder() {
        let long = "a".repeat(255);
        let names =
            ["wan", "..", ".", "", "a/b", "%41", "A", "a.b", "..%2F", &long, &format!("{}b", &long[..254])];
        let stems: BTreeSet<String> = names.iter().map(|name| stem(name)).collect();
        assert_eq!(stems.len(), names.len());
        for stem in stems {
            assert!(stem.len() <= STEM_MAX && !stem.contains('/') && !stem.starts_with('.'), "{stem}");
        }
    }
}
