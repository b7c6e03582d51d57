//! Reading files that others write: nothing waits for a pipe's other end, and nothing endless is read.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Whether a link as the last part of a path is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Links {
    /// It is.
    Follow,
    /// It is an error.
    Refuse,
}

/// Opens a regular file, and nothing else.
///
/// # Errors
/// It is not there or is none.
pub(crate) fn open(path: &Path, links: Links) -> io::Result<(File, Metadata)> {
    let flags = match links {
        Links::Follow => libc::O_NONBLOCK,
        Links::Refuse => libc::O_NONBLOCK | libc::O_NOFOLLOW,
    };
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
    }
    Ok((file, meta))
}

/// All of a regular file.
///
/// # Errors
/// As for [`open`], or it is longer than `limit` bytes.
pub(crate) fn read(path: &Path, links: Links, limit: u64) -> io::Result<(Vec<u8>, Metadata)> {
    let (file, meta) = open(path, links)?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(ErrorKind::InvalidInput, format!("it is larger than {limit} bytes")));
    }
    Ok((bytes, meta))
}
