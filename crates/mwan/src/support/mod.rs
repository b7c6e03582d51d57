//! `mwan support`: one archive for whoever helps, of all that tells how mwan is, without what is nobody's business.
//!
//! | module | what of it |
//! |---|---|
//! | this one | the command, and the file it writes |
//! | `collect` | what goes into the archive, in which order and how much of it |
//! | `sources` | configurations: which there are, what in them is secret, how they are shown |
//! | `kernel` | what the kernel and the system are asked |
//! | `program`, `daemon` | how programs and the daemon are asked |
//! | `anonymise` | texts without secrets, names and public addresses |
//! | `tar` | the format |
//!
//! What commands print is taken from the commands themselves (this program, run anew), so it cannot differ from them; what the daemon
//! answers is kept as it came, by strings. Nothing of that is understood here, so nothing has to be changed here when it grows.

mod anonymise;
mod collect;
mod daemon;
mod kernel;
mod program;
mod sources;
mod tar;

use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::cli::{Exit, Failure, SupportArgs, talk};
use anonymise::Anonymiser;
use collect::Collection;
use tar::Tar;

/// Permissions of the archive.
const MODE: u32 = 0o600;

/// Writes the archive.
pub(crate) fn run(run_dir: &Path, args: &SupportArgs) -> Result<Exit, Failure> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let name = name_of(now_s);
    let file = args.file.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.tar")));
    let to_stdout = file.as_os_str() == "-";
    if to_stdout && io::stdout().is_terminal() {
        return Err(Failure::says("an archive is no text, and this is a terminal").hint("mwan support FILE"));
    }
    if !to_stdout {
        // It takes seconds to collect: what cannot be written is said before.
        can_be_made(&file)?;
    }
    let collection = collect(run_dir, args, now_s);
    let bytes = packed(&name, now_s, &collection).map_err(|e| Failure::new("cannot make the archive", &e))?;
    if to_stdout {
        let mut out = io::stdout().lock();
        return match out.write_all(&bytes).and_then(|()| out.flush()) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(Failure::new("cannot write to standard output", &error))
            }
            _ => Ok(Exit::Ok),
        };
    }
    write(&file, &bytes).map_err(|error| cannot_write(&file, &error))?;
    talk(&format!(
        "{}: {} bytes; MANIFEST in it says what is there and what was replaced",
        file.display(),
        bytes.len()
    ));
    for missing in &collection.missing {
        talk(&format!("not in it: {missing}"));
    }
    talk("look at it before you send it: tar -xf, then read");
    Ok(Exit::Ok)
}

fn collect(run_dir: &Path, args: &SupportArgs, now_s: u64) -> Collection {
    // The same number for every archive would tell those who have two of them more than one does.
    let random = RandomState::new();
    let anonymiser = Anonymiser::new([random.hash_one(0u8), random.hash_one(1u8)]);
    let mut collection = Collection::new(anonymiser);
    collection.collect(run_dir, args);
    collection.finish(now_s);
    collection
}

/// `mwan-support-20261126-180000`, UTC.
fn name_of(now_s: u64) -> String {
    format!("mwan-support-{}", mwan_api::calendar::stamp(now_s).replace([':', '-'], "").replace(' ', "-"))
}

fn packed(folder: &str, now_s: u64, collection: &Collection) -> io::Result<Vec<u8>> {
    let mut tar = Tar::new(now_s);
    for file in &collection.files {
        tar.add(&format!("{folder}/{}", file.name), &file.bytes)?;
    }
    Ok(tar.finish())
}

fn can_be_made(file: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(file).is_ok() {
        return Err(cannot_write(file, &ErrorKind::AlreadyExists.into()));
    }
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) => Err(cannot_write(file, &ErrorKind::NotADirectory.into())),
        Err(error) => Err(cannot_write(file, &error)),
    }
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::AlreadyExists {
        let failure = Failure::says(format!("{} is there already, and is not overwritten", file.display()));
        return failure.hint("name another file: mwan support FILE");
    }
    let failure = Failure::new(format!("cannot write {}", file.display()), error);
    match error.kind() {
        ErrorKind::PermissionDenied => failure,
        _ => failure.hint("name a file elsewhere: mwan support /tmp/mwan-support.tar"),
    }
}

/// A new file (O_EXCL): whatever has the name, a link too, is left alone. Half an archive is removed.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut new = File::options().write(true).create_new(true).mode(MODE).open(file)?;
    // Whatever the umask.
    let written = new.set_permissions(fs::Permissions::from_mode(MODE)).and_then(|()| new.write_all(bytes));
    written.and_then(|()| new.sync_all()).inspect_err(|_| drop(fs::remove_file(file)))
}
