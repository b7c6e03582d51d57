//! The configuration file: read whole, bounded, with the files it depends on.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mwan_config::ipfire::Files;
use mwan_config::{Config, Loaded, SET_FILE_BYTES_MAX, TABLE_FILE_BYTES_MAX, TableNames};

use crate::cli::Failure;
use crate::regular::{self, Links};

/// Largest configuration read, bytes. Ten thousand rules are about 2 MiB.
const SIZE_MAX: u64 = mwan_config::uci::FILE_BYTES_MAX as u64;

/// Threads that read sets.
const THREADS_MAX: usize = 4;

/// Name for diagnostics and content. `-` is standard input.
pub(crate) fn read_config(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = file.to_string_lossy().into_owned();
    let bytes = if name == "-" {
        bounded(&name, std::io::stdin().lock())?
    } else {
        bounded(&name, File::open(file).map_err(|e| cannot_read(&name, &e))?)?
    };
    Ok((name, bytes))
}

fn cannot_read(name: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot read the configuration {name}"), error)
}

/// All of it, unless that is too much.
fn bounded(name: &str, source: impl Read) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    source.take(SIZE_MAX + 1).read_to_end(&mut bytes).map_err(|e| cannot_read(name, &e))?;
    if bytes.len() as u64 > SIZE_MAX {
        return Err(Failure::says(format!(
            "error[E0107]: the configuration {name} is larger than {SIZE_MAX} bytes"
        )));
    }
    Ok(bytes)
}

/// The same for a daemon that is running: it must not be kept waiting, so only a regular file will do.
pub(crate) fn reread_config(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    let name = file.to_string_lossy().into_owned();
    if name == "-" {
        return Err(Failure::says("the configuration came from standard input and cannot be read again"));
    }
    // What was looked at is what is read: the name may mean another file by now.
    let (opened, _) = regular::open(file, Links::Follow).map_err(|e| cannot_read(&name, &e))?;
    let bytes = bounded(&name, opened)?;
    Ok((name, bytes))
}

/// What a configuration was read from.
#[derive(Debug)]
pub(super) enum Source {
    /// One file.
    File(Vec<u8>),
    /// IPFire's.
    Tree(Files),
}

/// A configuration that was read.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) loaded: Loaded,
    pub(super) source: Source,
    /// Of the files it depends on: begun before they were read, so that nothing written is missed.
    pub(super) watches: Vec<Watch>,
}

/// A configuration, and what the files of its sets hold.
pub(crate) fn parse_config(name: &str, bytes: &[u8]) -> Loaded {
    parse_watched(name, bytes.to_vec()).loaded
}

/// The same, with what it was read from.
pub(super) fn parse_watched(name: &str, bytes: Vec<u8>) -> Parsed {
    if let Some(root) = crate::ipfire::root_of(Path::new(name)) {
        let watches = watches_of(Path::new(name), &Config::default());
        let files = crate::ipfire::read_files(root, &bytes);
        return Parsed { loaded: mwan_config::parse_ipfire(&files), source: Source::Tree(files), watches };
    }
    let mut loaded = mwan_config::parse_with(name, &bytes, &|| table_names(Path::new("/")));
    let watches = watch_files(&loaded.config);
    let read = |file: &str| read_file(Path::new(file), SET_FILE_BYTES_MAX);
    loaded.load_sets(|sets| {
        side_by_side(sets, |set| {
            set.load(&read);
            mwan_compile::lay_out(std::slice::from_mut(set.set()));
        });
    });
    Parsed { loaded, source: Source::File(bytes), watches }
}

/// Does `work` to every item, on as many processors as there are but on no more than [`THREADS_MAX`]. Long lists are most of
/// a start.
fn side_by_side<T: Send>(items: &mut [T], work: impl Fn(&mut T) + Sync) {
    let threads =
        items.len().min(THREADS_MAX).min(std::thread::available_parallelism().map_or(1, usize::from));
    let queue = Mutex::new(items.iter_mut());
    let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).next();
    let worker = || std::iter::from_fn(next).for_each(&work);
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // Without it there is more to do for the others.
            let _ = std::thread::Builder::new().name("sets".to_owned()).spawn_scoped(scope, worker);
        }
        worker();
    });
}

/// Where routing tables get their names, first come first served: the administrator's file before those of the distribution,
/// which are there since iproute2 6.5 (`CONF_USR_DIR`).
const TABLE_NAME_DIRS: [&str; 3] = ["etc/iproute2", "usr/share/iproute2", "usr/lib/iproute2"];
/// Files of a directory `rt_tables.d` that are read.
const TABLE_FILES_MAX: usize = 64;

/// The names of routing tables under `root`. A file that cannot be read has none.
pub(super) fn table_names(root: &Path) -> TableNames {
    let mut names = TableNames::default();
    for file in table_name_files(root) {
        if let Ok(bytes) = read_file(&file, TABLE_FILE_BYTES_MAX) {
            names.add_file(&bytes);
        }
    }
    names
}

/// The files that may have names of routing tables, whether or not they are there, in the order in which they count.
fn table_name_files(root: &Path) -> Vec<PathBuf> {
    let dirs = TABLE_NAME_DIRS.map(|dir| root.join(dir));
    let mut files: Vec<PathBuf> = dirs.iter().map(|dir| dir.join("rt_tables")).collect();
    for dir in dirs {
        let entries = std::fs::read_dir(dir.join("rt_tables.d")).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "conf"))
            .take(TABLE_FILES_MAX)
            .collect();
        found.sort();
        files.extend(found);
    }
    files
}

fn read_file(file: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    regular::read(file, Links::Follow, bytes_max).map(|(bytes, _)| bytes).map_err(|e| e.to_string())
}

/// Watches the files that the configuration `config`, read from `file`, depends on.
pub(super) fn watches_of(file: &Path, config: &Config) -> Vec<Watch> {
    match crate::ipfire::root_of(file) {
        Some(root) => crate::ipfire::watched(root).iter().map(|file| Watch::new(file)).collect(),
        None => watch_files(config),
    }
}

/// Watches the files a configuration depends on: those of its sets and, where it uses names of routing tables, those that
/// define them (and their directories: a new file is a change, too).
fn watch_files(config: &Config) -> Vec<Watch> {
    let mut files: Vec<PathBuf> =
        config.sets.iter().filter_map(|set| set.file.as_ref()).map(PathBuf::from).collect();
    if !config.globals.rt_table_names.is_empty() {
        let root = Path::new("/");
        files.extend(table_name_files(root));
        files.extend(TABLE_NAME_DIRS.map(|dir| root.join(dir).join("rt_tables.d")));
    }
    files.iter().map(|file| Watch::new(file)).collect()
}

/// Notices that a file changed. A look is one `stat`; a change counts when it has been the same for two looks,
/// so that a file is not read while it is written.
#[derive(Debug)]
pub(crate) struct Watch {
    path: PathBuf,
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

/// What changes when a file does: inode, size, modification time.
pub(super) type Stamp = (u64, u64, i64, i64);

impl Watch {
    pub(crate) fn new(path: &Path) -> Self {
        let stamp = stamp(path);
        Watch { path: path.to_owned(), read: stamp, seen: stamp }
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the file is to be read again. A file that is not there is not a change: it is about to be written.
    pub(crate) fn look(&mut self) -> bool {
        let now = stamp(&self.path);
        let settled = now == self.seen;
        self.seen = now;
        if settled && now.is_some() && now != self.read {
            self.read = now;
            return true;
        }
        false
    }

    /// The file has been read for another reason.
    pub(super) fn reset(&mut self) {
        *self = Watch::new(&self.path);
    }
}

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_tables_come_from_all_files_and_the_administrators_count_first() {
        let dir = tempfile::tempdir().unwrap();
        let write = |file: &str, text: &str| {
            let file = dir.path().join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, text).unwrap();
        };
        assert_eq!(table_names(dir.path()), TableNames::default());
        write("usr/share/iproute2/rt_tables", "254 main\n100 theirs\n101 both\n");
        write("etc/iproute2/rt_tables", "102 both\n");
        write("etc/iproute2/rt_tables.d/b.conf", "103 b\n104 a\n");
        write("etc/iproute2/rt_tables.d/a.conf", "105 a\n");
        write("etc/iproute2/rt_tables.d/README", "106 readme\n");
        write("usr/lib/iproute2/rt_tables", &"107 huge\n".repeat(200_000));
        write("usr/lib/iproute2/rt_tables.d/x.conf", "108 x\n");
        let names = table_names(dir.path());
        let found = ["theirs", "both", "a", "b", "x", "readme", "huge"].map(|name| names.get(name));
        assert_eq!(found, [Some(100), Some(102), Some(105), Some(103), Some(108), None, None]);
    }

    #[test]
    fn everything_is_worked_on_once() {
        for count in [0, 1, 3, 100] {
            let mut items = vec![0; count];
            side_by_side(&mut items, |item| *item += 1);
            assert_eq!(items, vec![1; count]);
        }
    }

    #[test]
    fn what_is_too_large_or_absent_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("big");
        std::fs::write(&file, vec![b'#'; (SIZE_MAX + 1) as usize]).unwrap();
        assert!(read_config(&file).unwrap_err().to_string().contains("larger than"));
        assert!(read_config(&dir.path().join("none")).is_err());
    }
}
