//! Starting a daemon that outlives the command that does it, and how long its start and its end may take.

use std::ffi::OsStr;
use std::io::{self, PipeReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Exit, Failure, client};

/// A daemon that has been started answers within this time: it reads the network and writes its program first.
const START_MAX: Duration = Duration::from_secs(20);
/// A daemon that was told to stop has ended within this time: what is being done for IPFire's RED has 20 s of it, scripts 30 s.
pub(super) const STOP_MAX: Duration = Duration::from_secs(60);
/// Pause between two looks.
pub(super) const LOOK: Duration = Duration::from_millis(20);

/// Starts it with these options and waits until it answers. Until then it has our ear: why it could not start is said by it,
/// once.
pub(super) fn launch(run_dir: &Path, options: &[&OsStr]) -> Result<Exit, Failure> {
    let cannot = |e: &io::Error| Failure::new("cannot start the daemon", e);
    let (mut complaints, theirs) = io::pipe().map_err(|e| cannot(&e))?;
    let child = spawn(run_dir, options, theirs.into()).map_err(|e| cannot(&e))?;
    wait(run_dir, child, &mut complaints)
}

/// Starts it and does not look back. What it says on standard error goes to `complaints`.
pub(super) fn spawn(run_dir: &Path, options: &[&OsStr], complaints: Stdio) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--run-dir").arg(run_dir).arg("daemon").args(options);
    command.args(["--log-to", "syslog"]).current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(complaints);
    mwan_linux::process::detach(&mut command);
    command.spawn()
}

fn wait(run_dir: &Path, mut child: Child, complaints: &mut PipeReader) -> Result<Exit, Failure> {
    let deadline = Instant::now() + START_MAX;
    loop {
        if client::answers(run_dir).unwrap_or(false) {
            return Ok(Exit::Ok);
        }
        if let Some(status) = child.try_wait().map_err(|e| Failure::new("cannot start the daemon", &e))? {
            let mut text = String::new();
            let _ = io::Read::read_to_string(complaints, &mut text);
            let why = text.trim().trim_start_matches("mwan: ");
            return Err(Failure::says(format!("the daemon ended ({status}): {why}")));
        }
        if Instant::now() > deadline {
            let message = format!("the daemon does not answer within {} s", START_MAX.as_secs());
            return Err(Failure::says(message).hint("look into the system's log"));
        }
        std::thread::sleep(LOOK);
    }
}
