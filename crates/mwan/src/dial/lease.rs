//! busybox's `udhcpc` calls a script for every event of a lease. This program is that script, under a name of its own in the
//! run directory: no shell sees what a server sent.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use mwan_dial::{Lease, Step};

use super::run::{PROGRAM_LIMIT, program};
use crate::cli::{Failure, print};

/// The name it is called by.
const NAME: &str = "mwan-lease";

/// Puts the name into the folder of the sessions' files.
pub(super) fn script(folder: &Path) -> std::io::Result<String> {
    let name = folder.join(NAME);
    let new = folder.join(".mwan-lease");
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(this_program()?, &new)?;
    fs::rename(&new, &name)?;
    Ok(name.to_string_lossy().into_owned())
}

/// Where this program is. After an upgrade the kernel says that its file was deleted: then the new one is meant.
fn this_program() -> std::io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let text = path.to_string_lossy();
    Ok(text.strip_suffix(" (deleted)").map_or_else(|| path.clone(), PathBuf::from))
}

/// The folder of its files, if the program was called by that name.
pub(crate) fn called(name: &OsStr) -> Option<PathBuf> {
    let path = Path::new(name);
    (path.file_name()? == NAME && path.is_absolute()).then(|| path.parent().map(Path::to_owned))?
}

/// Takes an event: `EVENT [DEVICE]`. udhcpc tells the device in its environment.
///
/// # Errors
/// A device that is none, or a lease without an address.
pub(crate) fn run(folder: &Path, words: &[OsString]) -> Result<ExitCode, Failure> {
    let word = |index: usize| words.get(index).and_then(|word| word.to_str()).map(str::to_owned);
    let variable = |name: &str| std::env::var(name).ok();
    let device = word(1).or_else(|| variable("interface")).unwrap_or_default();
    if !is_device(&device) {
        return Err(Failure::says("udhcpc told no device"));
    }
    let file = folder.join(format!("{device}.lease"));
    let before = fs::read_to_string(&file).ok().and_then(|text| Lease::recall(&text));
    match word(0).unwrap_or_default().as_str() {
        "bound" | "renew" => {
            let lease = Lease::read(&variable)
                .ok_or_else(|| Failure::says(format!("{device}: a lease without a usable address")))?;
            // First: who waits for the address wants to know both. And before anything is made: it must be undone one day.
            print(&format!("{}\n", lease.dns_line()))?;
            fs::write(&file, lease.remembered())
                .map_err(|error| Failure::new(file.display().to_string(), &error))?;
            carry_out(folder, &lease.up(&device, before.as_ref()));
        }
        // Also said before the first lease, when there is nothing to take back.
        "deconfig" => {
            carry_out(folder, &before.map(|lease| lease.down(&device)).unwrap_or_default());
            let _ = fs::remove_file(&file);
        }
        // `leasefail` and `nak` change nothing: what has to go is told by `deconfig`.
        _ => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// What can be a device's name (dev_valid_name, net/core/dev.c), and is no option of `ip`.
fn is_device(name: &str) -> bool {
    (1..16).contains(&name.len())
        && !name.starts_with(['-', '.'])
        && !name.contains(|c: char| c == '/' || c.is_whitespace() || c.is_control())
}

fn carry_out(folder: &Path, steps: &[Step]) {
    let log = folder.join("lease.log");
    let _ = fs::remove_file(&log);
    for step in steps {
        if let Step::Run { argv, .. } = step {
            // What it says of what is there already is nobody's concern, but may be asked for.
            let _ = program(argv, &log, PROGRAM_LIMIT);
        }
    }
}
