//! One daemon per run directory, and one per network namespace: two would undo each other's work for ever.

use std::fs::{self, File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::cli::Failure;

/// Name of the lock file in the run directory.
pub(super) const LOCK: &str = "mwan.lock";

/// Held for as long as the daemon lives; the kernel lets go of them when it dies.
#[derive(Debug)]
pub(super) struct Locks {
    _run_dir: File,
    _namespace: Option<File>,
}

impl Locks {
    /// Takes both, or says who has them.
    pub(super) fn take(run_dir: &Path) -> Result<Self, Failure> {
        let own = take(&run_dir.join(LOCK), || format!("another daemon runs with {}", run_dir.display()))?;
        Ok(Locks { _run_dir: own, _namespace: take_namespace()? })
    }
}

/// Takes the lock of the network namespace alone: whoever has it may change the kernel.
pub(super) fn take_namespace() -> Result<Option<File>, Failure> {
    let Some(path) = namespace_lock() else { return Ok(None) };
    take(&path, || "another daemon runs in this network namespace".to_owned()).map(Some)
}

/// The lock's place: the same for every daemon of the namespace, whatever its run directory. `None` where /run cannot
/// be written, as without root.
fn namespace_lock() -> Option<PathBuf> {
    let inode = fs::metadata("/proc/self/ns/net").ok()?.ino();
    let folder = Path::new("/run/lock");
    let folder = if folder.is_dir() { folder } else { Path::new("/run") };
    let path = folder.join(format!("mwan-netns-{inode}.lock"));
    File::options().create(true).append(true).open(&path).ok()?;
    Some(path)
}

fn take(path: &Path, taken: impl Fn() -> String) -> Result<File, Failure> {
    let cannot = |e: &std::io::Error| Failure::new(format!("cannot lock {}", path.display()), e);
    let file = File::options().create(true).append(true).open(path).map_err(|e| cannot(&e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            Err(Failure::says(taken()).hint("end it first: `mwan stop` with its --run-dir"))
        }
        Err(TryLockError::Error(e)) => Err(cannot(&e)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lock_is_taken_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let held = take(&path, || "taken".into()).unwrap();
        assert_eq!(take(&path, || "taken".into()).unwrap_err().to_string(), "taken");
        drop(held);
        take(&path, || "taken".into()).unwrap();
    }
}
