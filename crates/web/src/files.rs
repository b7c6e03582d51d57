//! The folder of accounts and certificate. It belongs to the user without rights that the server becomes, and root reads and writes
//! there, too (`mwan web`, and the server before it gives up root): whatever has become of the server, it must not be able to lead
//! root to a file of somebody else's.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

/// Opens a file in the folder: neither a link, nor another name of a file elsewhere (link(2)), nor a pipe that waits for its other end.
///
/// # Errors
/// Those of open(2), or it is one of these.
pub(crate) fn open(path: &Path, options: &mut OpenOptions) -> io::Result<(File, Metadata)> {
    let file = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() || meta.nlink() > 1 {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is no file of its own"));
    }
    Ok((file, meta))
}

/// What is in a file of the folder, up to one byte more than `max`.
///
/// # Errors
/// As for [`open`], and those of read(2).
pub(crate) fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let (file, _) = open(path, OpenOptions::new().read(true))?;
    let mut bytes = Vec::new();
    file.take(max + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Replaces a file of the folder, whose owner gets it, as a whole and for good.
///
/// # Errors
/// Those of the file system; then the old content is there.
pub(crate) fn replace(path: &Path, bytes: &[u8], folder: &Path) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let _ = fs::remove_file(&temporary);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let owner = fs::metadata(folder)?;
    let whole = file.write_all(bytes).and_then(|()| give(&file, owner.uid(), owner.gid()));
    let named = whole.and_then(|()| file.sync_all()).and_then(|()| fs::rename(&temporary, path));
    // On a full disk, what has been written of it is room for others.
    named.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    // What is used once must not come back with a power cut.
    File::open(folder)?.sync_all()
}

/// To whom an open file belongs; who is not root gives nothing away.
///
/// # Errors
/// Those of fchown(2).
pub(crate) fn give(file: &File, user: u32, group: u32) -> io::Result<()> {
    let is = file.metadata()?;
    if (is.uid(), is.gid()) == (user, group) {
        return Ok(());
    }
    fchown(file, Some(user), Some(group))
}

/// Gives the folder, and what is ours in it, to `user`: there may be another one than there was (a package made the user `mwan`).
///
/// # Errors
/// It is no folder, or those of chown(2).
pub fn hand_over(folder: &Path, user: u32, group: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(folder)?;
    if !found.is_dir() {
        return Err(io::Error::new(ErrorKind::NotADirectory, "it is no directory"));
    }
    if (found.uid(), found.gid()) == (user, group) {
        return Ok(());
    }
    for name in crate::auth::store::FILES.into_iter().chain(crate::tls::FILES) {
        // Of what is not there or none of ours, whoever wants to read it is told.
        if let Ok((file, _)) = open(&folder.join(name), OpenOptions::new().read(true)) {
            give(&file, user, group)?;
        }
    }
    std::os::unix::fs::lchown(folder, Some(user), Some(group))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;
    use crate::{Role, Store, load_tls};

    /// What a server that somebody has taken over may leave for root in its folder.
    #[test]
    fn root_is_led_nowhere_by_what_is_in_the_folder() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let other = elsewhere.path().join("other");
        let add = || Store::new(dir.path()).change(|accounts| accounts.add_token("t", Role::Viewer));
        symlink(&other, dir.path().join("accounts.lock")).unwrap();
        assert!(add().is_err());
        assert!(!other.exists(), "no file is made where a link leads");
        fs::remove_file(dir.path().join("accounts.lock")).unwrap();

        fs::write(&other, r#"{"version":1}"#).unwrap();
        let accounts = dir.path().join("accounts.json");
        symlink(&other, &accounts).unwrap();
        assert!(add().is_err() && Store::new(dir.path()).accounts().is_err());
        fs::remove_file(&accounts).unwrap();
        fs::hard_link(&other, &accounts).unwrap();
        assert!(add().is_err() && Store::new(dir.path()).accounts().is_err());
    }

    /// The key of another service must not be served with, nor come into the server's memory.
    #[test]
    fn a_key_elsewhere_is_not_taken_for_the_one_that_was_made() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let theirs = load_tls(None, elsewhere.path(), &[]).unwrap();
        for name in crate::tls::FILES {
            symlink(elsewhere.path().join(name), dir.path().join(name)).unwrap();
        }
        let ours = load_tls(None, dir.path(), &[]).unwrap();
        assert_ne!(ours.fingerprint, theirs.fingerprint);
        assert_eq!(load_tls(None, elsewhere.path(), &[]).unwrap().fingerprint, theirs.fingerprint);
        for name in crate::tls::FILES {
            assert!(fs::symlink_metadata(dir.path().join(name)).unwrap().is_file());
        }
    }

    #[test]
    fn a_new_user_can_read_what_the_one_before_left() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        if chown(dir.path(), Some(65534), Some(65534)).is_err() {
            return; // only root can give something away
        }
        Store::new(dir.path()).change(|accounts| accounts.add_token("t", Role::Viewer)).unwrap();
        load_tls(None, dir.path(), &[]).unwrap();
        let victim = elsewhere.path().join("victim");
        fs::write(&victim, "").unwrap();
        fs::remove_file(dir.path().join("tls-key.pem")).unwrap();
        symlink(&victim, dir.path().join("tls-key.pem")).unwrap();
        hand_over(dir.path(), 4321, 4322).unwrap();
        for name in ["", "accounts.json", "accounts.lock", "tls-certificate.pem"] {
            let meta = fs::metadata(dir.path().join(name)).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (4321, 4322), "{name}");
        }
        let meta = fs::metadata(&victim).unwrap();
        assert_eq!(meta.uid(), 0, "what a link leads to is not given away");
        assert_eq!(
            fs::metadata(dir.path().join("accounts.json")).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(hand_over(&victim, 1, 1).is_err());
    }
}
