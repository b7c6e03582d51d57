//! The one writer of files that others read, or that a process after this one does: a new file beside the old one, then a rename.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tracing::warn;

/// What a file has to survive.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Durability {
    /// The end of the process: the kernel has it.
    Process,
    /// A crash of the machine: the disk has it.
    Reboot,
}

/// A file as it is to be, besides its content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Marks {
    /// Permissions alone.
    pub(crate) mode: u32,
    /// User and group; `None`: whose we are.
    pub(crate) owner: Option<(u32, u32)>,
}

/// Bits of a mode that are given: neither set-id nor sticky.
pub(crate) const MODE_BITS: u32 = 0o777;

impl Marks {
    /// Of a file of ours.
    pub(crate) fn ours(mode: u32) -> Self {
        Marks { mode, owner: None }
    }
}

/// Either the old content or the new one is there, whatever happens in between: the new file is root's alone until it is whole.
/// Where others may write into the folder, `path` leads there by a descriptor (`ipfire::folder`).
///
/// # Errors
/// Those of the file system; then the old content is there, unless it is [`in_place`].
pub(crate) fn replace(path: &Path, marks: Marks, durability: Durability, content: &[u8]) -> io::Result<()> {
    put(path, marks, durability, |mut file| file.write_all(content), || Ok(()), sync_folder)
}

/// The same, with what `fill` writes into a new file.
///
/// # Errors
/// Also those of `fill`.
pub(crate) fn replace_by(
    path: &Path,
    marks: Marks,
    durability: Durability,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    put(path, marks, durability, fill, || Ok(()), sync_folder)
}

/// The same; `still` is asked whether it is to be done when the new file waits for its name.
///
/// # Errors
/// Also those of `still`.
pub(crate) fn replace_if(
    path: &Path,
    marks: Marks,
    durability: Durability,
    content: &[u8],
    still: impl FnOnce() -> io::Result<()>,
) -> io::Result<()> {
    put(path, marks, durability, |mut file| file.write_all(content), still, sync_folder)
}

/// The new content is there, but its folder could not be synced.
#[derive(Debug)]
struct Unsynced(io::Error);

impl std::fmt::Display for Unsynced {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "it is written, but may be as before after a crash of the machine: {}", self.0)
    }
}

impl std::error::Error for Unsynced {}

/// Whether the new content is there although this was in the way: only a crash of the machine may bring the old one back.
pub(crate) fn in_place(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Unsynced>())
}

/// For those to whom it matters what is in the file now: that a crash may bring the old content back is but told.
pub(crate) fn in_place_is_well(path: &Path, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if in_place(&error) => {
            warn!("{}: {error}", path.display());
            Ok(())
        }
        other => other,
    }
}

/// Has the disk know the names in a folder. A file system that knows no such request has nothing to be asked for (EINVAL, fsync(2)).
///
/// # Errors
/// Those of the file system.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

fn put(
    path: &Path,
    marks: Marks,
    durability: Durability,
    fill: impl FnOnce(&File) -> io::Result<()>,
    still: impl FnOnce() -> io::Result<()>,
    sync: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let new = beside(path);
    match none_is_well(fs::remove_file(&new)) {
        // Somebody made a folder of it.
        Err(error) if error.kind() == ErrorKind::IsADirectory => fs::remove_dir_all(&new)?,
        removed => removed?,
    }
    let written = write(&new, marks, durability, fill).and_then(|()| still());
    let written = written.and_then(|()| fs::rename(&new, path));
    // On a full disk, what has been written of it is room for others.
    written.inspect_err(|_| drop(fs::remove_file(&new)))?;
    match path.parent() {
        Some(folder) if durability == Durability::Reboot => {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            sync(folder).map_err(|error| io::Error::new(error.kind(), Unsynced(error)))
        }
        _ => Ok(()),
    }
}

fn write(
    new: &Path,
    marks: Marks,
    durability: Durability,
    fill: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    // Nobody's link is followed, and nobody else has it open: it is new (O_EXCL).
    let file = File::options().write(true).create_new(true).mode(0o600).open(new)?;
    fill(&file)?;
    if let Some((user, group)) = marks.owner {
        fchown(&file, Some(user), Some(group))?;
    }
    // Whatever the umask.
    file.set_permissions(fs::Permissions::from_mode(marks.mode & MODE_BITS))?;
    match durability {
        Durability::Reboot => file.sync_all(),
        Durability::Process => Ok(()),
    }
}

/// Where a new file is written before it gets its name.
pub(crate) fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.mwan"))
}

pub(crate) fn none_is_well(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        for durability in [Durability::Process, Durability::Reboot] {
            replace(&file, Marks::ours(0o640), durability, b"one").unwrap();
            assert_eq!(
                (fs::read(&file).unwrap().as_slice(), fs::metadata(&file).unwrap().mode() & 0o7777),
                (b"one".as_slice(), 0o640)
            );
            replace(&file, Marks::ours(0o4755), durability, b"two").unwrap();
            assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o755, "no set-id bit is given");
        }
        // What is in the way is told as what it is: where no file can be removed, none is looked for.
        let nowhere = replace(Path::new("/proc/sys/file"), Marks::ours(0o600), Durability::Reboot, b"x");
        assert_ne!(nowhere.unwrap_err().kind(), ErrorKind::IsADirectory);
        // What cannot take its place leaves nothing behind.
        fs::create_dir_all(dir.path().join("folder/in it")).unwrap();
        assert!(replace(&dir.path().join("folder"), Marks::ours(0o600), Durability::Reboot, b"x").is_err());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(
            replace(&dir.path().join("none/file"), Marks::ours(0o600), Durability::Process, b"x").is_err()
        );
    }

    #[test]
    fn a_folder_that_cannot_be_synced_is_told_of_and_the_file_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        let broken = |_: &Path| Err(io::Error::other("disk on fire"));
        let fill = |mut file: &File| file.write_all(b"new");
        let error = put(&file, Marks::ours(0o600), Durability::Reboot, fill, || Ok(()), broken).unwrap_err();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(
            in_place(&error) && error.to_string().ends_with("crash of the machine: disk on fire"),
            "{error}"
        );
        assert!(in_place_is_well(&file, Err(error)).is_ok());
        let refused =
            put(&file, Marks::ours(0o600), Durability::Reboot, fill, || broken(&file), broken).unwrap_err();
        assert!(!in_place(&refused) && in_place_is_well(&file, Err(refused)).is_err());
        // Who needs no more than the process has nothing synced; /proc takes no such request.
        put(&file, Marks::ours(0o600), Durability::Process, fill, || Ok(()), broken).unwrap();
        sync_folder(Path::new("/proc/self")).unwrap();
        assert!(sync_folder(&file.join("none")).is_err());
    }

    #[test]
    fn what_is_in_the_place_of_the_new_file_is_removed_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (file, victim) = (dir.path().join("file"), dir.path().join("victim"));
        fs::write(&victim, "root's").unwrap();
        symlink(&victim, beside(&file)).unwrap();
        replace(&file, Marks::ours(0o600), Durability::Reboot, b"x").unwrap();
        fs::create_dir_all(beside(&file).join("in/it")).unwrap();
        replace(&file, Marks::ours(0o600), Durability::Reboot, b"y").unwrap();
        assert_eq!(
            (fs::read(&victim).unwrap(), fs::read(&file).unwrap()),
            (b"root's".to_vec(), b"y".to_vec())
        );
    }
}
