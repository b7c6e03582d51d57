//! PINs that are being told. A SIM counts a wrong one whether or not anybody hears its answer, so before a PIN goes out it is
//! written down, and the note goes when the SIM is known to be ready or not to have counted. A process that finds one tells
//! that PIN no more: a SIM that took it asks for none.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use mwan_config::link::Link;
use mwan_dial::{Failure, Role};
use mwan_ipfire::Refusals;

use super::run::trouble;
use crate::replace::{Durability, Marks, replace};

/// Largest note that is read, bytes; there are few lines in one.
const FILE_BYTES_MAX: u64 = 16 * 1024;

/// The notes, from the point of view of one link.
#[derive(Debug)]
pub(super) struct Pins<'a> {
    folder: &'a Path,
    link: &'a Link,
    /// Of this link and role.
    file: PathBuf,
}

impl<'a> Pins<'a> {
    pub(super) fn new(folder: &'a Path, link: &'a Link, role: Role) -> Self {
        let word = if role == Role::Trial { ".trial" } else { "" };
        Pins { folder, link, file: folder.join(format!("{}{word}", link.name)) }
    }

    /// Whether the PIN was told by anybody who does not know what became of it.
    pub(super) fn is_open(&self) -> bool {
        notes(self.folder).iter().any(|(_, note)| note.knows(self.link))
    }

    /// Whether this link itself told it.
    pub(super) fn is_own(&self) -> bool {
        read(&self.file).is_some_and(|note| note.knows(self.link))
    }

    /// The PIN is about to be told. On the disk when this returns.
    ///
    /// # Errors
    /// It was told before, or there is no place for a note: then it is not to be told.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        if self.is_open() {
            return Err(Failure::PinRefused);
        }
        let Some(own) = Refusals::of(self.link) else { return Ok(()) };
        let note = read(&self.file).unwrap_or_default().with(own);
        write(self.folder, &self.file, &note).map_err(|e| trouble(&self.file.to_string_lossy(), &e))
    }

    /// The SIM is ready, or has not counted: whoever told this PIN, under whatever name, needs no note.
    pub(super) fn end(&self) {
        for (file, note) in notes(self.folder) {
            if note.knows(self.link) {
                let _ = fs::remove_file(file);
            }
        }
    }

    /// This link has not told it after all. What it told before stays open.
    pub(super) fn take_back(&self) {
        let Some(note) = read(&self.file).filter(|note| note.knows(self.link)) else { return };
        let rest = note.without(self.link);
        let _ = match rest.is_empty() {
            true => fs::remove_file(&self.file),
            false => write(self.folder, &self.file, &rest),
        };
    }
}

/// What is among `refusals` needs no note: it is remembered elsewhere.
pub(super) fn settle(folder: &Path, refusals: &Refusals) {
    for (file, note) in notes(folder) {
        if note.are_in(refusals) {
            let _ = fs::remove_file(file);
        }
    }
}

fn notes(folder: &Path) -> Vec<(PathBuf, Refusals)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    // One that was not finished is none: nothing was told.
    let finished = entries.filter(|e| !e.file_name().as_encoded_bytes().starts_with(b"."));
    finished.filter_map(|e| Some((e.path(), read(&e.path())?))).collect()
}

fn read(file: &Path) -> Option<Refusals> {
    let meta = fs::symlink_metadata(file).ok()?;
    if !meta.is_file() || meta.len() > FILE_BYTES_MAX {
        return None;
    }
    // A byte that is damaged costs the line it is in.
    Some(Refusals::read(&String::from_utf8_lossy(&fs::read(file).ok()?)))
}

/// For root only: a PIN of four digits is found from what tells it apart.
fn write(folder: &Path, file: &Path, note: &Refusals) -> std::io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    replace(file, Marks::ours(0o600), Durability::Reboot, note.lines().as_bytes())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use mwan_config::link::{Method, Secret};

    use super::*;

    fn link(name: &str, pin: &str) -> Link {
        Link {
            name: name.into(),
            device: "/dev/ttyUSB0".into(),
            lower: None,
            method: Method::Modem {
                speed: 115_200,
                apn: "i".into(),
                number: "*99#".into(),
                pin: Some(Secret::new(pin)),
                login: None,
            },
            session_device: "ppp10".into(),
            on_demand: true,
            mtu: None,
            mac: None,
        }
    }

    #[test]
    fn a_pin_is_told_once_until_its_fate_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("state/told-pins");
        let (wrong, other, renamed) = (link("lte", "4711"), link("lte", "0815"), link("gsm", "4711"));
        let pins = |link| Pins::new(&folder, link, Role::Carry);
        assert!(!pins(&wrong).is_open());
        assert_eq!(pins(&wrong).begin(), Ok(()));
        // Another process, another role, another name.
        assert_eq!(pins(&wrong).begin(), Err(Failure::PinRefused));
        assert_eq!(Pins::new(&folder, &wrong, Role::Trial).begin(), Err(Failure::PinRefused));
        assert_eq!(pins(&renamed).begin(), Err(Failure::PinRefused));
        let file = folder.join("lte");
        assert!(!fs::read_to_string(&file).unwrap().contains("4711"));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        // Another PIN may be told, and the first is not forgotten for it.
        assert_eq!(pins(&other).begin(), Ok(()));
        assert_eq!(pins(&wrong).begin(), Err(Failure::PinRefused));
        // The manager knows one of them, then both.
        let first = Refusals::of(&wrong).unwrap();
        settle(&folder, &first);
        assert!(pins(&other).is_open());
        settle(&folder, &first.with(Refusals::of(&other).unwrap()));
        assert!(!pins(&other).is_open());
        // A SIM that is ready settles it for every name.
        assert_eq!(pins(&wrong).begin(), Ok(()));
        pins(&renamed).end();
        assert_eq!(pins(&wrong).begin(), Ok(()));
    }

    #[test]
    fn what_was_not_told_is_taken_back_and_what_was_stays() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("told-pins");
        let (first, second) = (link("lte", "4711"), link("lte", "0815"));
        let pins = |link| Pins::new(&folder, link, Role::Carry);
        pins(&first).begin().unwrap();
        // Its owner writes another, which does not go out.
        pins(&second).begin().unwrap();
        pins(&second).take_back();
        assert!(pins(&first).is_open() && !pins(&second).is_open());
        pins(&first).take_back();
        assert!(!pins(&first).is_open() && !folder.join("lte").exists());
    }

    #[test]
    fn a_damaged_byte_costs_no_other_line() {
        let dir = tempfile::tempdir().unwrap();
        let (folder, link) = (dir.path().join("told-pins"), link("lte", "4711"));
        let pins = Pins::new(&folder, &link, Role::Carry);
        pins.begin().unwrap();
        let file = folder.join("lte");
        let note = [&b"lte \xFF 0\n"[..], &fs::read(&file).unwrap()].concat();
        fs::write(&file, note).unwrap();
        assert!(pins.is_open());
    }

    #[test]
    fn without_a_place_for_a_note_no_pin_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let link = link("lte", "4711");
        assert!(matches!(Pins::new(&file, &link, Role::Carry).begin(), Err(Failure::Program { .. })));
    }
}
