//! A program whose output goes into the archive: fixed arguments, no shell, a limit on time and on length.

use std::ffi::OsStr;
use std::io::{self, ErrorKind, PipeReader, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mwan_linux::process;

/// Where programs of the system are.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";
/// Longest run. A plan goes through the kernel's connections; a daemon that hangs is waited for 20 s.
const TIME_MAX: Duration = Duration::from_secs(30);
/// Pause between two looks at a program that is silent.
const LOOK: Duration = Duration::from_millis(5);

/// What a program said.
#[derive(Debug)]
pub(super) struct Said {
    /// Both outputs, as they came.
    pub(super) bytes: Vec<u8>,
    /// There was more.
    pub(super) is_cut: bool,
    /// `None`: it was killed, for its time was over or there was more than anybody wants.
    pub(super) status: Option<ExitStatus>,
}

impl Said {
    /// In words, if it did not end well.
    pub(super) fn trouble(&self) -> Option<String> {
        let status = self.status.map(|status| (status.code(), status.signal()));
        match status {
            None if self.is_cut => None,
            None => Some(format!("it was ended after {} s", TIME_MAX.as_secs())),
            Some((Some(0), _)) => None,
            Some((Some(code), _)) => Some(format!("exit code {code}")),
            Some((None, signal)) => Some(format!("killed by signal {}", signal.unwrap_or_default())),
        }
    }
}

/// A program of this system, in a clean environment.
pub(super) fn of_system(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}

/// This program, whichever file it was by now.
pub(super) fn ourselves(arguments: &[&OsStr]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(arguments);
    command
}

/// Runs it, and hears at most `limit` bytes.
///
/// # Errors
/// It cannot be started.
pub(super) fn run(mut command: Command, limit: usize) -> io::Result<Said> {
    let (mut output, writer) = io::pipe()?;
    process::set_nonblocking(&output)?;
    command.process_group(0).stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the writing ends of the pipe, which must end with the program.
    drop(command);
    let began = Instant::now();
    let mut said = Said { bytes: Vec::new(), is_cut: false, status: None };
    while !said.is_cut && began.elapsed() < TIME_MAX {
        let more = hear(&mut output, &mut said, limit)?;
        if let Some(status) = child.try_wait()? {
            said.status = Some(status);
            break;
        }
        if !more {
            std::thread::sleep(LOOK);
        }
    }
    if said.status.is_none() {
        process::kill_group(child.id());
        let _ = child.kill();
        let _ = child.wait();
    }
    // What is left in the pipe; of what it left running nothing more is heard.
    while hear(&mut output, &mut said, limit)? && !said.is_cut {}
    Ok(said)
}

/// Reads what is there; whether there was something.
fn hear(output: &mut PipeReader, said: &mut Said, limit: usize) -> io::Result<bool> {
    let mut buffer = [0; 16 << 10];
    let read = match output.read(&mut buffer) {
        Ok(read) => read,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
        Err(error) => return Err(error),
    };
    let room = limit.saturating_sub(said.bytes.len());
    said.bytes.extend_from_slice(&buffer[..read.min(room)]);
    said.is_cut |= read > room;
    Ok(read > 0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_program_is_heard_within_its_limits() {
        let said = run(of_system("sh", &["-c", "echo out; echo err >&2; exit 3"]), 100).unwrap();
        assert_eq!(
            (said.bytes.as_slice(), said.trouble()),
            (&b"out\nerr\n"[..], Some("exit code 3".to_owned()))
        );
        let endless = run(of_system("yes", &[]), 1000).unwrap();
        assert_eq!((endless.bytes.len(), endless.is_cut, endless.trouble()), (1000, true, None));
        assert_eq!(run(of_system("mwan-no-such-program", &[]), 10).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
