//! Programs of others, run to their end.

use std::fs::File;
use std::io::{self, PipeReader, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mwan_linux::process;
use tracing::warn;

use crate::dial::PATH;

/// Most that all programs of a batch may say, bytes: the run directory is memory. What is beyond is thrown away.
const LOG_BYTES_MAX: usize = 1 << 20;
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(5);
/// Reads between two looks at the clock.
const READS_MAX: usize = 256;

/// What programs said.
#[derive(Debug)]
pub(super) struct Log {
    /// `None`: it cannot be made, which is no reason not to run anything.
    file: Option<File>,
    room: usize,
}

impl Log {
    /// A new one, for root only.
    pub(super) fn new(path: &Path) -> Self {
        let mut options = File::options();
        options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(path).map_err(|error| warn!("{}: {error}", path.display())).ok();
        Log { file, room: LOG_BYTES_MAX }
    }

    /// Takes what is in the pipe.
    fn take(&mut self, mut pipe: &PipeReader) {
        let mut bytes = [0; 16 * 1024];
        for _ in 0..READS_MAX {
            let Ok(length @ 1..) = pipe.read(&mut bytes) else { return };
            let length = length.min(self.room);
            self.room -= length;
            if let Some(file) = &mut self.file {
                let _ = file.write_all(&bytes[..length]);
            }
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.room == 0
    }
}

/// Runs a program to its end, or kills it and what it started: in a group of its own, without our environment. `started` is told
/// its number. What it says goes into `log`; of what it leaves in the background nothing is taken any more: the pipe holds what it
/// holds, and writing beyond that fails (EAGAIN).
pub(super) fn run(
    argv: &[String],
    environment: &[(&str, &str)],
    log: &mut Log,
    limit: Duration,
    started: impl FnOnce(u32),
) -> io::Result<ExitStatus> {
    let (program, arguments) = argv.split_first().ok_or(io::ErrorKind::InvalidInput)?;
    let (reader, writer) = io::pipe()?;
    // Whoever holds a pipe for both is never killed for writing into one that nobody reads: neither when we do not any more, nor
    // when we have died.
    let both = format!("/proc/self/fd/{}", writer.as_raw_fd());
    let output = File::options().read(true).write(true).open(both)?;
    drop(writer);
    process::set_nonblocking(&reader)?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", PATH)
        .env("LC_ALL", "C")
        .envs(environment.iter().copied())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output.try_clone()?);
    let mut child = command.spawn()?;
    started(child.id());
    let deadline = Instant::now() + limit;
    let status = loop {
        log.take(&reader);
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if Instant::now() >= deadline {
            process::kill_group(child.id());
            break child.wait()?;
        }
        std::thread::sleep(LOOK);
    };
    // Of the open file, and so for those who have it from us.
    process::set_nonblocking(&output)?;
    log.take(&reader);
    Ok(status)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn sh(text: &str, log: &mut Log, limit: Duration) -> ExitStatus {
        run(&["/bin/sh".into(), "-c".into(), text.into()], &[("DEVICE", "eth1")], log, limit, |_| {}).unwrap()
    }

    #[test]
    fn what_is_said_is_bounded_and_nobody_waits_or_dies_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut log = Log::new(&path);
        let limit = Duration::from_secs(60);
        assert!(sh("echo \"for $DEVICE\"; echo $HOME >&2", &mut log, limit).success());
        assert_eq!(fs::read_to_string(&path).unwrap(), "for eth1\n\n");
        // All of it is read, and the end of it is reached.
        assert!(sh("head -c 8000000 /dev/zero", &mut log, limit).success());
        assert!(log.is_full());
        assert_eq!(fs::metadata(&path).unwrap().len(), LOG_BYTES_MAX as u64);
    }

    #[test]
    fn what_is_left_in_the_background_writes_nothing_and_lives_on() {
        let dir = tempfile::tempdir().unwrap();
        let (path, end) = (dir.path().join("log"), dir.path().join("end"));
        let mut log = Log::new(&path);
        let text = format!(
            "(while [ ! -e {0}.go ]; do sleep 0.05; done; head -c 3000000 /dev/zero; echo $? > {0}.new; mv {0}.new {0}) & echo begun",
            end.display()
        );
        assert!(sh(&text, &mut log, Duration::from_secs(60)).success());
        drop(log);
        fs::write(dir.path().join("end.go"), "").unwrap();
        while !end.exists() {
            std::thread::sleep(LOOK);
        }
        // Not a signal: those are 128 and more.
        assert_eq!(fs::read_to_string(&end).unwrap(), "1\n");
        let said = fs::read(&path).unwrap();
        assert!(said.starts_with(b"begun\n") && said.len() < 1000, "{} bytes", said.len());
    }

    #[test]
    fn what_hangs_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = Log::new(&dir.path().join("log"));
        assert!(!sh("sleep 600", &mut log, Duration::from_millis(100)).success());
    }
}
