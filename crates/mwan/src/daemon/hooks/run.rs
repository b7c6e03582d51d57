//! One run of one script: started in a process group of its own, read, waited for, killed when its time is over.

use std::ffi::OsString;
use std::io::{self, ErrorKind, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use mwan_linux::process;

/// Longest line that is logged, bytes; the rest of it is cut.
const LINE_MAX: usize = 256;
/// Pause between two looks at a script that is silent.
const LOOK: Duration = Duration::from_millis(10);

/// A script about to be run.
#[derive(Debug)]
pub(super) struct Run {
    command: Command,
    input: Vec<u8>,
}

/// How it went.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) ended: Ended,
    /// Lines it printed that nobody wanted.
    pub(super) unlogged: u64,
}

/// How it ended.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Ended {
    /// With exit code 0.
    Well,
    /// With another, or by a signal; in words.
    Failed(String),
    /// Its time was over.
    Killed,
}

impl Run {
    /// With a clean environment, in `/`.
    pub(super) fn new(program: impl AsRef<std::ffi::OsStr>) -> Self {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").process_group(0);
        Run { command, input: Vec::new() }
    }

    pub(super) fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.command.arg(argument.into());
        self
    }

    pub(super) fn environment(mut self, variables: Vec<(&'static str, String)>) -> Self {
        self.command.envs(variables);
        self
    }

    /// At most as much as a pipe holds (pipe(7): 64 KiB, 4 KiB where users have too many): it is written at once.
    pub(super) fn input(self, input: Vec<u8>) -> Self {
        Run { input, ..self }
    }

    /// Runs it until its time is `over`. `line` is given each line of its output and says whether it wanted it.
    pub(super) fn finish(
        mut self,
        over: impl Fn() -> bool,
        mut line: impl FnMut(&str) -> bool,
    ) -> io::Result<Done> {
        let (mut output, writer) = io::pipe()?;
        process::set_nonblocking(&output)?;
        let stdin = if self.input.is_empty() { Stdio::null() } else { input_file(&self.input)?.into() };
        self.command.stdin(stdin).stdout(writer.try_clone()?).stderr(writer);
        let mut child = spawn(&mut self.command)?;
        // It holds the writing ends of the pipe, which must end with the script.
        drop(self.command);
        let mut lines = Lines::default();
        let ended = loop {
            let more = lines.read(&mut output, &mut line);
            if let Some(status) = child.try_wait()? {
                break how(status);
            }
            if over() {
                kill(&mut child);
                break Ended::Killed;
            }
            if !more {
                std::thread::sleep(LOOK);
            }
        };
        // What it left in the pipe; of what it left running in the background nothing more is read.
        for _ in 0..2 {
            lines.read(&mut output, &mut line);
        }
        lines.finish(&mut line);
        Ok(Done { ended, unlogged: lines.unwanted })
    }
}

/// Starts it. A file that is just being written (by an editor, or by a process forked meanwhile) is tried again.
fn spawn(command: &mut Command) -> io::Result<Child> {
    const TRIES: usize = 20;
    for _ in 1..TRIES {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::sleep(LOOK),
            other => return other,
        }
    }
    command.spawn()
}

/// A pipe that holds all of `input` and ends.
fn input_file(input: &[u8]) -> io::Result<PipeReader> {
    const PIPE_SURE: usize = 4096;
    if input.len() > PIPE_SURE {
        return Err(io::Error::new(ErrorKind::InvalidInput, "the document is too long"));
    }
    let (reader, mut writer) = io::pipe()?;
    writer.write_all(input)?;
    Ok(reader)
}

fn kill(child: &mut Child) {
    process::kill_group(child.id());
    // It may have left its group (setsid).
    let _ = child.kill();
    let _ = child.wait();
}

fn how(status: ExitStatus) -> Ended {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ended::Well,
        (Some(code), _) => Ended::Failed(format!("exit code {code}")),
        (None, signal) => Ended::Failed(format!("killed by signal {}", signal.unwrap_or_default())),
    }
}

/// Output cut into lines.
#[derive(Default)]
struct Lines {
    open: Vec<u8>,
    /// Whether anything of the present line has been seen: an empty line is a line.
    begun: bool,
    unwanted: u64,
}

impl Lines {
    /// Reads what is there, one buffer; whether there was something.
    fn read(&mut self, output: &mut PipeReader, line: &mut impl FnMut(&str) -> bool) -> bool {
        let mut buffer = [0; 65536];
        // An error is the end, or nothing yet.
        let length = output.read(&mut buffer).unwrap_or(0);
        for byte in &buffer[..length] {
            if *byte == b'\n' {
                self.finish(line);
            } else {
                self.begun = true;
                if self.open.len() < LINE_MAX {
                    self.open.push(*byte);
                }
            }
        }
        length > 0
    }

    /// Ends the present line.
    fn finish(&mut self, line: &mut impl FnMut(&str) -> bool) {
        if std::mem::take(&mut self.begun) {
            let text: String = String::from_utf8_lossy(&self.open).chars().map(printable).collect();
            self.unwanted += u64::from(!line(text.trim_end()));
        }
        self.open.clear();
    }
}

/// Nothing that steers a terminal gets into the log.
fn printable(c: char) -> char {
    if c.is_control() { ' ' } else { c }
}
