//! The configuration file: read whole, bounded, noticed when it changes.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mwan_config::{Config, Loaded, SET_FILE_BYTES_MAX};

use crate::cli::Failure;

/// Largest configuration read, bytes. Ten thousand rules are about 2 MiB.
const SIZE_MAX: u64 = 4 << 20;

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
        return Err(Failure::says(format!("the configuration {name} is larger than {SIZE_MAX} bytes")));
    }
    Ok(bytes)
}

/// The same for a daemon that is running: it must not be kept waiting, so only a regular file will do.
pub(crate) fn reread_config(file: &Path) -> Result<(String, Vec<u8>), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    let name = file.to_string_lossy().into_owned();
    if name == "-" {
        return Err(Failure::says("the configuration came from standard input and cannot be read again"));
    }
    let cannot = |e| cannot_read(&name, &e);
    // O_NONBLOCK: opening a pipe without a writer would wait for one.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file).map_err(cannot)?;
    if !opened.metadata().map_err(cannot)?.is_file() {
        return Err(Failure::says(format!("the configuration {name} is not a regular file")));
    }
    // What was looked at is what is read: the name may mean another file by now.
    let bytes = bounded(&name, opened)?;
    Ok((name, bytes))
}

/// A configuration, and what the files of its sets hold.
pub(crate) fn parse_config(name: &str, bytes: &[u8]) -> Loaded {
    let mut loaded = mwan_config::parse(name, bytes);
    loaded.load_set_files(&|file| read_set_file(Path::new(file)));
    loaded
}

/// Only a regular file will do: nothing waits for a pipe's other end.
fn read_set_file(file: &Path) -> Result<Vec<u8>, String> {
    use std::os::unix::fs::OpenOptionsExt;
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK).open(file);
    let opened = opened.map_err(|e| e.to_string())?;
    if !opened.metadata().map_err(|e| e.to_string())?.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    opened.take(SET_FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 > SET_FILE_BYTES_MAX {
        return Err(format!("it is larger than {SET_FILE_BYTES_MAX} bytes"));
    }
    Ok(bytes)
}

/// Watches the files of a configuration's sets.
pub(super) fn watch_sets(config: &Config) -> Vec<Watch> {
    config.sets.iter().filter_map(|set| set.file.as_ref()).map(|file| Watch::new(Path::new(file))).collect()
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
type Stamp = (u64, u64, i64, i64);

impl Watch {
    pub(crate) fn new(path: &Path) -> Self {
        let stamp = stamp(path);
        Watch { path: path.to_owned(), read: stamp, seen: stamp }
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

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&file);
        assert!(!watch.look());
        std::fs::write(&file, "bb").unwrap();
        assert!(!watch.look(), "just changed");
        assert!(watch.look());
        assert!(!watch.look());
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.look());
        assert!(!watch.look(), "a vanished file is no configuration");
        std::fs::write(&file, "bb").unwrap();
        assert!(!watch.look());
        assert!(watch.look());
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
