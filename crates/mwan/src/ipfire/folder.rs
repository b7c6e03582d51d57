//! Folders held by descriptor.
//!
//! Much of `/var/ipfire` belongs to the web server's user (`ethernet/`, `ppp/`, `dns/`, `mac/`): in its folders it may put a link
//! wherever root is about to read or write, and change it at any moment. So no component below the root may be a link, a folder
//! is held while something is done in it, and a new file is one that nobody else has made.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

use crate::replace::{Durability, MODE_BITS};
pub(crate) use crate::replace::{Marks, beside, none_is_well};

fn marks_of(meta: &fs::Metadata) -> Marks {
    Marks { mode: meta.mode() & MODE_BITS, owner: Some((meta.uid(), meta.gid())) }
}

/// A folder that is held: what is done in it is done there, wherever its name leads by then.
#[derive(Debug)]
pub(crate) struct Folder(File);

impl Folder {
    /// `path` below `root`, none of whose components is a link. The root itself may be behind some.
    pub(crate) fn open(root: &Path, path: &Path) -> io::Result<Self> {
        let mut folder = Folder::root(root)?;
        for name in names(path)? {
            folder = folder.enter(name)?;
        }
        Ok(folder)
    }

    /// The same; what is missing is made with `mode`.
    pub(crate) fn make(root: &Path, path: &Path, mode: u32) -> io::Result<Self> {
        let mut folder = Folder::root(root)?;
        for name in names(path)? {
            match fs::DirBuilder::new().mode(mode).create(folder.at(name)) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                _ => folder = folder.enter(name)?,
            }
        }
        Ok(folder)
    }

    /// It is root's, and nobody else can enter it: else nothing in it is what we put there.
    pub(crate) fn private(self) -> io::Result<Self> {
        let (meta, us) = (self.0.metadata()?, fs::metadata("/proc/self")?.uid());
        if meta.uid() != us {
            return Err(io::Error::other(format!(
                "the folder belongs to user {}, who could put anything into it; `chown -R root:root` it",
                meta.uid()
            )));
        }
        if meta.mode() & 0o077 != 0 {
            self.0.set_permissions(fs::Permissions::from_mode(0o700))?;
        }
        Ok(self)
    }

    fn root(path: &Path) -> io::Result<Self> {
        folder(path, 0)
    }

    fn enter(&self, name: &Path) -> io::Result<Self> {
        folder(&self.at(name), libc::O_NOFOLLOW).map_err(|error| match error.raw_os_error() {
            Some(libc::ENOTDIR | libc::ELOOP) => {
                io::Error::other(format!("{} is a link, or no folder; it is not entered", name.display()))
            }
            _ => error,
        })
    }

    /// A path of something in it, for as long as it is held: proc(5), `/proc/pid/fd`.
    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        Path::new("/proc/self/fd").join(self.0.as_raw_fd().to_string()).join(name)
    }

    /// The names in it are on the disk.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn folder(path: &Path, flags: i32) -> io::Result<Folder> {
    File::options().read(true).custom_flags(libc::O_DIRECTORY | flags).open(path).map(Folder)
}

fn names(path: &Path) -> io::Result<Vec<&Path>> {
    let name = |component| match component {
        Component::Normal(name) => Ok(Path::new(name)),
        _ => Err(io::Error::from(ErrorKind::InvalidInput)),
    };
    path.components().map(name).collect()
}

/// The folder of `path` below `root`, and the name in it.
pub(crate) fn parts(path: &Path) -> io::Result<(&Path, &Path)> {
    let name = path.file_name().ok_or(ErrorKind::InvalidInput)?;
    Ok((path.parent().unwrap_or(Path::new("")), Path::new(name)))
}

/// A regular file, at most `limit` bytes of it and whether that is all. `None` if it is not there. The last component is no link, and
/// nothing waits for a pipe's other end.
pub(crate) fn regular(path: &Path, limit: u64) -> io::Result<Option<(Vec<u8>, Marks, bool)>> {
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW).open(path);
    let mut file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ELOOP | libc::ENXIO)) => {
            return Err(irregular());
        }
        Err(error) => return Err(error),
    };
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(irregular());
    }
    let mut bytes = Vec::new();
    Read::by_ref(&mut file).take(limit).read_to_end(&mut bytes)?;
    let whole = file.read(&mut [0])? == 0;
    Ok(Some((bytes, marks_of(&meta), whole)))
}

fn irregular() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "it is not a regular file")
}

/// [`crate::replace::replace`], on the disk. Where others may write into the folder, `path` is one of [`Folder::at`].
pub(crate) fn replace(path: &Path, marks: Marks, content: &[u8]) -> io::Result<()> {
    crate::replace::replace(path, marks, Durability::Reboot, content)
}

/// Writes `path` below `root`; missing folders are made. Mode and owner of a file that is there stay, `mode` is that of another.
pub(crate) fn write(root: &Path, path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    let (folder, name) = parts(path)?;
    let folder = Folder::make(root, folder, 0o755)?;
    // Of what is none, the content is nobody's business.
    let there = regular(&folder.at(name), 0).ok().flatten();
    let marks = there.map_or(Marks::ours(mode), |(_, marks, _)| marks);
    replace(&folder.at(name), marks, content)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_below_the_root_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir_all(&other).unwrap();
        symlink(&other, root.join("a/link")).unwrap();
        // The way to the root is the owner's.
        symlink(&root, dir.path().join("root-link")).unwrap();
        assert!(Folder::open(&dir.path().join("root-link"), Path::new("a/b")).is_ok());
        let refused = Folder::open(&root, Path::new("a/link")).unwrap_err().to_string();
        assert!(refused.contains("link is a link"), "{refused}");
        assert!(write(&root, Path::new("a/link/file"), 0o644, b"x").is_err());
        assert!(Folder::open(&root, Path::new("../other")).is_err());
        assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
    }

    #[test]
    fn a_link_in_the_place_of_the_new_file_or_of_the_old_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "root's").unwrap();
        fs::create_dir(dir.path().join("red")).unwrap();
        for link in [".iface.mwan", "iface"] {
            symlink(&victim, dir.path().join("red").join(link)).unwrap();
            write(dir.path(), Path::new("red/iface"), 0o644, b"eth1").unwrap();
            let written = dir.path().join("red/iface");
            assert!(fs::symlink_metadata(&written).unwrap().is_file());
            assert_eq!(fs::read(&written).unwrap(), b"eth1");
            assert_eq!(fs::read(&victim).unwrap(), b"root's");
            fs::remove_file(written).unwrap();
        }
        fs::create_dir_all(dir.path().join("red/.iface.mwan/in/it")).unwrap();
        write(dir.path(), Path::new("red/iface"), 0o644, b"eth1").unwrap();
    }

    #[test]
    fn only_permissions_are_kept_and_given() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o6751)).unwrap();
        let (bytes, marks, whole) = regular(&file, 1).unwrap().unwrap();
        assert_eq!((bytes.as_slice(), marks.mode, whole), (b"x".as_slice(), 0o751, true));
        replace(&file, Marks { mode: 0o4755, ..marks }, b"yy").unwrap();
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o755);
        assert!(!regular(&file, 1).unwrap().unwrap().2, "there is more of it");
        assert!(regular(&dir.path().join("none"), 1).unwrap().is_none());
        assert!(regular(dir.path(), 1).is_err());
    }

    #[test]
    fn a_folder_that_others_can_write_is_made_private_and_one_of_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        fs::set_permissions(dir.path().join("state"), fs::Permissions::from_mode(0o777)).unwrap();
        Folder::open(dir.path(), Path::new("state")).unwrap().private().unwrap();
        assert_eq!(fs::metadata(dir.path().join("state")).unwrap().mode() & 0o777, 0o700);
        // Of another, where we may give it away.
        if std::os::unix::fs::chown(dir.path().join("state"), Some(65534), Some(65534)).is_ok() {
            let refused = Folder::open(dir.path(), Path::new("state")).unwrap().private().unwrap_err();
            assert!(refused.to_string().contains("65534"), "{refused}");
        }
    }
}
