//! A file of the owner's that is read and replaced (`crate::replace`): with its mode and owner, and through nobody else's links.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use crate::regular::{self, Links};
use crate::replace::{Durability, MODE_BITS, Marks, in_place_is_well, replace_if};

/// Links that are followed on the way to a file (the kernel's own limit, path_resolution(7)).
const LINKS_MAX: usize = 40;

/// A regular file, its content, and the folder it is in: held, so that what its name means cannot change meanwhile.
#[derive(Debug)]
pub(super) struct Held {
    folder: File,
    name: OsString,
    meta: fs::Metadata,
    pub(super) bytes: Vec<u8>,
}

impl Held {
    /// Finds and reads the file. A link on the way is followed if it is root's or ours: anybody else's could lead anywhere.
    ///
    /// # Errors
    /// It is not there, no regular file, longer than `limit` bytes, or behind a link of somebody else.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Self> {
        let (folder, name) = find(path)?;
        let (bytes, meta) = regular::read(&at(&folder, &name), Links::Refuse, limit)?;
        Ok(Held { folder, name, meta, bytes })
    }

    /// What is in the file by now.
    ///
    /// # Errors
    /// As for [`Held::open`].
    pub(super) fn again(&self, limit: u64) -> io::Result<Vec<u8>> {
        regular::read(&at(&self.folder, &self.name), Links::Refuse, limit).map(|(bytes, _)| bytes)
    }

    /// Writes other content, with the mode and owner that are there. `still` is asked at the last moment.
    ///
    /// # Errors
    /// The disk is full or cannot be written, or `still` says so; the file is as before.
    pub(super) fn replace(&self, content: &[u8], still: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let owner = Some((self.meta.uid(), self.meta.gid()));
        let marks = Marks { mode: self.meta.mode() & MODE_BITS, owner };
        let path = at(&self.folder, &self.name);
        in_place_is_well(Path::new(&self.name), replace_if(&path, marks, Durability::Reboot, content, still))
    }
}

/// Of something in a folder that is held: proc(5), `/proc/pid/fd`.
fn at(folder: &File, name: &std::ffi::OsStr) -> PathBuf {
    Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string()).join(name)
}

/// The folder a path leads to, step by step, and the name in it.
fn find(path: &Path) -> io::Result<(File, OsString)> {
    let us = fs::metadata("/proc/self")?.uid();
    let mut left: Vec<OsString> = components(&std::path::absolute(path)?);
    left.reverse();
    let mut walked = vec![enter(Path::new("/"))?];
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            // Above the root is the root.
            walked.truncate(walked.len().saturating_sub(1).max(1));
            continue;
        }
        let Some(folder) = walked.last() else { break };
        let here = at(folder, &name);
        let meta = fs::symlink_metadata(&here)?;
        if meta.is_symlink() {
            links += 1;
            if links > LINKS_MAX {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            if meta.uid() != 0 && meta.uid() != us {
                let message = format!("{} is a link of user {}", name.to_string_lossy(), meta.uid());
                return Err(io::Error::new(ErrorKind::PermissionDenied, message));
            }
            let target = fs::read_link(&here)?;
            if target.is_absolute() {
                walked.truncate(1);
            }
            left.extend(components(&target).into_iter().rev());
        } else if left.is_empty() {
            let folder = walked.pop().ok_or(ErrorKind::InvalidInput)?;
            return Ok((folder, name));
        } else {
            walked.push(enter(&here)?);
        }
    }
    Err(io::Error::new(ErrorKind::InvalidInput, "it is not a file"))
}

fn components(path: &Path) -> Vec<OsString> {
    let name = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().filter_map(name).collect()
}

/// Which is no link: that was looked at before, and somebody may be quick.
fn enter(path: &Path) -> io::Result<File> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    use super::*;

    fn open(path: &Path) -> io::Result<Held> {
        Held::open(path, 100)
    }

    fn ok() -> io::Result<()> {
        Ok(())
    }

    #[test]
    fn mode_and_owner_stay_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mwan3");
        fs::write(&file, "old").unwrap();
        fs::write(dir.path().join(".mwan3.mwan"), "of a crash").unwrap();
        // Whom we may give it to: everybody, or only us.
        let given = chown(&file, Some(65534), Some(65534)).is_ok();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let held = open(&file).unwrap();
        assert_eq!(held.bytes, b"old");
        held.replace(b"new", ok).unwrap();
        let meta = fs::metadata(&file).unwrap();
        assert_eq!((fs::read(&file).unwrap(), meta.mode() & 0o7777), (b"new".to_vec(), 0o640));
        assert!(!given || meta.uid() == 65534);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("mwan3");
        fs::write(&file, "old").unwrap();
        let held = open(&file).unwrap();
        let refused = held.replace(b"new", || Err(io::Error::other("no"))).unwrap_err();
        assert_eq!((refused.to_string(), fs::read(&file).unwrap()), ("no".to_owned(), b"old".to_vec()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(Held::open(&file, 2).unwrap_err().to_string().contains("larger"));
        assert!(open(dir.path()).is_err() && open(&dir.path().join("none")).is_err());
        assert!(open(Path::new("/")).is_err());
    }

    #[test]
    fn links_of_ours_are_followed_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (real, file) = (dir.path().join("real"), dir.path().join("etc/mwan3"));
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        fs::write(&real, "old").unwrap();
        symlink(dir.path().join("a"), dir.path().join("etc")).unwrap();
        symlink("b/../../real", &file).unwrap();
        open(&file).unwrap().replace(b"new", ok).unwrap();
        assert_eq!(fs::read(&real).unwrap(), b"new");
        assert!(fs::symlink_metadata(&file).unwrap().is_symlink());
        let round = dir.path().join("round");
        symlink(&round, &round).unwrap();
        assert!(open(&round).unwrap_err().to_string().contains("symbolic links"));
    }

    #[test]
    fn links_of_others_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (real, file) = (dir.path().join("real"), dir.path().join("mwan3"));
        fs::write(&real, "old").unwrap();
        symlink(&real, &file).unwrap();
        // Only root can make somebody else's.
        if lchown(&file, Some(65534), Some(65534)).is_ok() {
            let refused = open(&file).unwrap_err();
            assert!(refused.to_string().contains("a link of user 65534"), "{refused}");
        }
    }
}
