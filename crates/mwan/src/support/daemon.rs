//! What the daemon answers, as it came; and what is seen of its process.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::regular::{self, Links};

/// A daemon answers from memory, or after a look at the kernel.
const TIMEOUT: Duration = Duration::from_secs(20);
/// Arguments and environment of a process, bytes.
const WORDS_MAX: u64 = 256 << 10;

/// Where it is asked.
#[derive(Debug)]
pub(super) struct Daemon {
    socket: PathBuf,
    /// Its process.
    pub(super) pid: u64,
    /// Its configuration file.
    pub(super) config: PathBuf,
    /// Its version, and seconds since it started.
    pub(super) version: String,
    pub(super) uptime_s: u64,
}

impl Daemon {
    /// The one of a run directory, and its status.
    ///
    /// # Errors
    /// Why there is none, in words.
    pub(super) fn find(run_dir: &Path, limit: usize) -> Result<(Self, String), String> {
        let socket = run_dir.join(crate::daemon::SOCKET);
        let answer = ask(&socket, r#"{"method":"status"}"#, limit).map_err(|error| match error.kind() {
            ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
                format!("no daemon answers at {}", socket.display())
            }
            _ => format!("the daemon at {} cannot be asked: {error}", socket.display()),
        })?;
        let status: Value = serde_json::from_str(&answer)
            .map_err(|error| format!("the daemon at {} answers with no status: {error}", socket.display()))?;
        let of = &status["daemon"];
        let text = |key: &str| of[key].as_str().unwrap_or_default().to_owned();
        let number = |key: &str| of[key].as_u64().unwrap_or_default();
        let daemon = Daemon {
            socket,
            pid: number("pid"),
            config: text("config").into(),
            version: text("version"),
            uptime_s: number("uptime_s"),
        };
        Ok((daemon, answer))
    }

    /// Its answer to a request.
    pub(super) fn ask(&self, request: &str, limit: usize) -> io::Result<String> {
        ask(&self.socket, request, limit)
    }

    /// A file in /proc about it.
    pub(super) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.pid))
    }

    /// What it was told by an option or, second, by a variable.
    pub(super) fn told(&self, option: &str, variable: &str) -> Option<PathBuf> {
        let words = |name: &str| -> Vec<Vec<u8>> {
            let file = fs::File::open(self.proc(name));
            let mut bytes = Vec::new();
            let _ = file.and_then(|file| file.take(WORDS_MAX).read_to_end(&mut bytes));
            bytes.split(|b| *b == 0).map(<[u8]>::to_vec).collect()
        };
        let arguments = words("cmdline");
        let joined = format!("{option}=");
        let by_option =
            arguments.iter().enumerate().find_map(|(at, word)| match word.strip_prefix(joined.as_bytes()) {
                Some(value) => Some(value.to_vec()),
                None if word == option.as_bytes() => arguments.get(at + 1).cloned(),
                None => None,
            });
        let by_variable = || {
            words("environ")
                .iter()
                .find_map(|word| Some(word.strip_prefix(format!("{variable}=").as_bytes())?.to_vec()))
        };
        by_option.or_else(by_variable).map(|bytes| std::ffi::OsString::from_vec(bytes).into())
    }

    /// Its standard error, if that is a file: whatever that is called, and where.
    pub(super) fn log(&self) -> Option<PathBuf> {
        let file = self.proc("fd/2");
        regular::open(&file, Links::Follow).is_ok().then_some(file)
    }
}

/// One line there, one line back.
fn ask(socket: &Path, request: &str, limit: usize) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.write_all(format!("{request}\n").as_bytes())?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.take(limit as u64 + 1).read_to_end(&mut answer)?;
    if answer.len() > limit {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("its answer is longer than {limit} bytes"),
        ));
    }
    String::from_utf8(answer).map_err(|e| io::Error::new(ErrorKind::InvalidData, e))
}
