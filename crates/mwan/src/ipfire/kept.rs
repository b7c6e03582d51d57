//! What is kept of the primary while a backup has RED: a folder only root can enter, with a sum and the marks of every file.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use mwan_ipfire::STATE;
use tracing::{info, warn};

use super::execute::Place;
use super::folder::{Folder, Marks, none_is_well, parts, regular, replace};

/// What the last line of a manifest is about: all lines before it.
const MANIFEST_END: &str = "manifest";
/// Largest file that is kept, bytes.
const KEPT_MAX: u64 = 1 << 20;

/// A file as it was.
struct Kept {
    bytes: Vec<u8>,
    marks: Marks,
}

impl Place {
    /// Our own folder of states.
    pub(super) fn state(&self) -> io::Result<Folder> {
        Folder::make(&self.root, Path::new(STATE), 0o755)?.private()
    }

    /// Writes a file of our state.
    pub(super) fn write_state(&self, name: &str, content: &[u8]) -> io::Result<()> {
        replace(&self.state()?.at(name), Marks::ours(0o600), content)
    }

    pub(super) fn remove_state(&self, name: &str) -> io::Result<()> {
        none_is_well(fs::remove_file(self.state()?.at(name)))
    }

    /// A folder of its own first, complete and on the disk; then its name.
    pub(super) fn keep(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        let state = self.state()?;
        let folder = state.at(self::name(folder)?);
        if folder.join("manifest").exists() {
            return Ok(());
        }
        let new = folder.with_extension("new");
        none_is_well(fs::remove_dir_all(&new))?;
        fs::DirBuilder::new().create(&new)?;
        let held = Folder::open(&new, Path::new(""))?.private()?;
        let mut manifest = String::new();
        for name in files {
            manifest.push_str(&self.keep_one(name, &held)?);
        }
        manifest.push_str(&format!("{} {MANIFEST_END}\n", checksum(manifest.as_bytes())));
        replace(&held.at("manifest"), Marks::ours(0o600), manifest.as_bytes())?;
        held.sync()?;
        none_is_well(fs::remove_dir_all(&folder))?;
        fs::rename(&new, &folder)?;
        state.sync()
    }

    /// Its line of the manifest.
    fn keep_one(&self, name: &str, into: &Folder) -> io::Result<String> {
        let (bytes, marks) = match self.read(name) {
            Ok(Some((bytes, marks, true))) => (bytes, marks),
            Ok(Some(_)) => return Err(io::Error::other(format!("{name} is larger than {KEPT_MAX} bytes"))),
            Ok(None) => return Ok(format!("- {name}\n")),
            // Whoever made a link or a pipe of it does not get a copy of what is behind it.
            Err(error) if error.kind() == ErrorKind::Unsupported => {
                warn!("{name} is not kept: {error}");
                return Ok(format!("- {name}\n"));
            }
            Err(error) => return Err(error),
        };
        replace(&into.at(flat(name)), Marks::ours(0o600), &bytes)?;
        let (user, group) = marks.owner.unwrap_or_default();
        Ok(format!("{} {:o} {user} {group} {name}\n", checksum(&bytes), marks.mode))
    }

    /// A file of IPFire's.
    fn read(&self, path: &str) -> io::Result<Option<(Vec<u8>, Marks, bool)>> {
        let (folder, name) = parts(Path::new(path))?;
        match Folder::open(&self.root, folder) {
            Ok(folder) => regular(&folder.at(name), KEPT_MAX),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What was kept of these files, each as its line of the manifest says; `None`: it was not there. Nothing without the folder.
    fn kept(&self, files: &[&'static str], folder: &str) -> io::Result<Vec<(&'static str, Option<Kept>)>> {
        let state = match Folder::open(&self.root, Path::new(STATE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?.private()?,
        };
        let held = match Folder::open(&state.at(""), name(folder)?) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other?.private()?,
        };
        let manifest =
            regular(&held.at("manifest"), KEPT_MAX)?.unwrap_or((Vec::new(), Marks::ours(0), true)).0;
        let lines = lines(&manifest).ok_or_else(|| damaged("the manifest"))?;
        let one = |name: &&'static str| {
            let line = lines.iter().find_map(|line| line.strip_suffix(*name)?.strip_suffix(' '));
            let line = line.ok_or_else(|| damaged(name))?;
            if line == "-" {
                return Ok((*name, None));
            }
            let (sum, marks) = marks(line).ok_or_else(|| damaged(name))?;
            match regular(&held.at(flat(name)), KEPT_MAX) {
                Ok(Some((bytes, _, true))) if checksum(&bytes) == sum => {
                    Ok((*name, Some(Kept { bytes, marks })))
                }
                _ => Err(damaged(name)),
            }
        };
        files.iter().map(one).collect()
    }

    /// Whether all that was kept is as it was: nothing else is done before.
    pub(super) fn verify(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        match self.kept(files, folder) {
            // It was forgotten meanwhile: RED is given back already.
            Err(_) if !self.root.join(folder).exists() => Ok(()),
            other => other.map(drop),
        }
    }

    /// Of what was kept, only what is gone or empty.
    pub(super) fn mend(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        for (name, kept) in self.kept(files, folder)? {
            let Some(kept) = kept else { continue };
            match self.read(name) {
                Ok(Some((bytes, marks, true))) if bytes == kept.bytes && marks == kept.marks => {}
                Ok(Some((bytes, ..))) if !bytes.is_empty() => {
                    info!("{name} was changed while RED was a backup's; it stays as it is now");
                }
                other => {
                    warn!("{name} was lost while RED was a backup's; it is put back");
                    match self.put_back(name, &kept) {
                        // Whoever made a link or a folder of it has to live with it, and RED must not wait for that.
                        Err(error) if other.is_err() => warn!("{name} cannot be put back: {error}"),
                        result => result?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Everything is compared with its sum before anything is touched.
    pub(super) fn restore(&self, files: &[&'static str], folder: &str) -> io::Result<()> {
        for (name, kept) in self.kept(files, folder)? {
            match (kept, self.read(name)) {
                (None, _) => self.remove(name)?,
                // What has not changed is not touched: others watch these files.
                (Some(kept), Ok(Some((bytes, marks, true))))
                    if bytes == kept.bytes && marks == kept.marks => {}
                (Some(kept), _) => self.put_back(name, &kept)?,
            }
        }
        Ok(())
    }

    /// The very bytes whose sum was right.
    fn put_back(&self, path: &str, kept: &Kept) -> io::Result<()> {
        let (folder, name) = parts(Path::new(path))?;
        let target = Folder::make(&self.root, folder, 0o755)?;
        replace(&target.at(name), kept.marks, &kept.bytes)?;
        target.sync()
    }

    /// Removes a file that may not be there.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let (folder, name) = parts(Path::new(path))?;
        match Folder::open(&self.root, folder) {
            Ok(folder) => none_is_well(fs::remove_file(folder.at(name))),
            Err(error) => none_is_well(Err(error)),
        }
    }

    /// The name first: a copy of which something is gone already is not one that is damaged.
    pub(super) fn forget(&self, folder: &str) -> io::Result<()> {
        let state = self.state()?;
        let folder = state.at(name(folder)?);
        let gone = folder.with_extension("gone");
        none_is_well(fs::remove_dir_all(&gone))?;
        none_is_well(fs::rename(&folder, &gone))?;
        none_is_well(fs::remove_dir_all(&gone))
    }
}

/// Of a folder of our state.
fn name(folder: &str) -> io::Result<&Path> {
    let name = folder.strip_prefix(STATE).and_then(|rest| rest.strip_prefix('/'));
    name.filter(|name| !name.contains('/')).map(Path::new).ok_or(ErrorKind::InvalidInput.into())
}

/// The lines of a manifest that is whole.
fn lines(manifest: &[u8]) -> Option<Vec<&str>> {
    let text = std::str::from_utf8(manifest).ok()?.strip_suffix('\n')?;
    let (lines, end) = text.rsplit_once('\n')?;
    let sum = checksum(&manifest[..=lines.len()]);
    (end == format!("{sum} {MANIFEST_END}")).then(|| lines.lines().collect())
}

fn marks(line: &str) -> Option<(&str, Marks)> {
    let mut words = line.split(' ');
    let sum = words.next()?;
    let mode = u32::from_str_radix(words.next()?, 8).ok()?;
    let owner = Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?));
    words.next().is_none().then_some((sum, Marks { mode, owner }))
}

/// Names of files in one folder.
fn flat(name: &str) -> PathBuf {
    PathBuf::from(name.replace('/', "%"))
}

fn damaged(name: &str) -> io::Error {
    io::Error::other(format!("the copy of {name} is damaged; nothing is put back"))
}

/// Against a torn or tampered copy, not against an enemy, who would be root.
fn checksum(bytes: &[u8]) -> String {
    format!("{:016x}", mwan_config::ipfire::fnv1a(bytes))
}

#[cfg(test)]
mod tests;
