//! Programs that tell somebody: without a shell, in a process group of their own, with a limit of time and of output.

use std::io::{self, PipeReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use mwan_alerts::Fault;
use mwan_linux::process;

use super::send::refused;

/// How long the system's mailer may take.
pub(super) const MAILER_MAX: Duration = Duration::from_secs(50);
/// Bytes of its output that are read at all, and characters of the last line that are repeated.
const OUTPUT_MAX: usize = 16 * 1024;
const QUOTE_MAX: usize = 200;
/// Pause between two looks at it.
const LOOK: Duration = Duration::from_millis(20);

/// Runs a program with `input` on standard input.
///
/// # Errors
/// It could not be started, ended with another code than 0, or took too long.
pub(super) async fn run(argv: &[String], input: Vec<u8>, limit: Duration) -> Result<(), Fault> {
    let argv = argv.to_vec();
    // One thread for each program that runs: there are at most as many as channels.
    let waited = tokio::task::spawn_blocking(move || run_now(&argv, &input, limit)).await;
    waited.unwrap_or_else(|e| Err(refused(e.to_string())))
}

fn run_now(argv: &[String], input: &[u8], limit: Duration) -> Result<(), Fault> {
    let Some((program, arguments)) = argv.split_first() else { return Err(refused("there is no program")) };
    let (status, said) = finish(program, arguments, input, Instant::now() + limit)
        .map_err(|e| refused(format!("cannot run {program}: {e}")))?;
    let last = said.lines().rev().find(|line| !line.trim().is_empty());
    let said = last.map_or(String::new(), |line| {
        format!(": {}", line.trim().chars().take(QUOTE_MAX).collect::<String>())
    });
    match status {
        None => {
            Err(refused(format!("{program} took longer than {} s and was killed{said}", limit.as_secs())))
        }
        Some(status) if status.success() => Ok(()),
        Some(status) => {
            let how = match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit code {code}"),
                (None, signal) => format!("signal {}", signal.unwrap_or_default()),
            };
            Err(refused(format!("{program} failed with {how}{said}")))
        }
    }
}

/// Runs it until `end`; how it ended (`None`: it was killed), and the end of what it said.
fn finish(
    program: &str,
    arguments: &[String],
    input: &[u8],
    end: Instant,
) -> io::Result<(Option<ExitStatus>, String)> {
    let (mut output, writer) = io::pipe()?;
    process::set_nonblocking(&output)?;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").current_dir("/");
    command.process_group(0).stdin(Stdio::piped()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn()?;
    // It holds the writing ends of the pipe.
    drop(command);
    let mut stdin = child.stdin.take();
    if let Some(stdin) = &stdin {
        process::set_nonblocking(stdin)?;
    }
    let (mut rest, mut said) = (input, Vec::new());
    let status = loop {
        rest = feed(&mut stdin, rest);
        read(&mut output, &mut said);
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if Instant::now() >= end {
            process::kill_group(child.id());
            // It may have left its group (setsid).
            let _ = child.kill();
            let _ = child.wait();
            break None;
        }
        std::thread::sleep(LOOK);
    };
    // What it left in the pipe; of what it left running nothing more is read.
    read(&mut output, &mut said);
    Ok((status, String::from_utf8_lossy(&said).into_owned()))
}

/// Writes what fits; after the last byte, or when nobody reads, the input ends.
fn feed<'a>(stdin: &mut Option<ChildStdin>, rest: &'a [u8]) -> &'a [u8] {
    let Some(pipe) = stdin else { return rest };
    match pipe.write(rest) {
        Ok(written) if written < rest.len() && written > 0 => &rest[written..],
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => rest,
        Ok(_) | Err(_) => {
            *stdin = None;
            &[]
        }
    }
}

/// Reads what is there, of which the end is kept: what went wrong stands there.
fn read(output: &mut PipeReader, said: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    // More than a pipe holds: one that never stops talking does not keep us here.
    for _ in 0..32 {
        match output.read(&mut buffer) {
            Ok(length) if length > 0 => said.extend_from_slice(&buffer[..length]),
            Ok(_) | Err(_) => break,
        }
        let excess = said.len().saturating_sub(OUTPUT_MAX);
        said.drain(..excess);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, input: &[u8], limit: Duration) -> Result<(), String> {
        let argv = ["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()];
        run_now(&argv, input, limit).map_err(|f| f.text)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn what_goes_wrong_is_told_with_its_last_words() {
        assert_eq!(sh("cat > /dev/null", b"x", LONG), Ok(()));
        let failed = sh("echo first; echo why >&2; exit 7", b"", LONG);
        assert_eq!(failed, Err("/bin/sh failed with exit code 7: why".to_owned()));
        assert!(sh("kill -9 $$", b"", LONG).is_err_and(|e| e.contains("signal 9")));
        assert!(
            run_now(&["/none".to_owned()], b"", LONG).is_err_and(|f| f.text.contains("cannot run /none"))
        );
        assert!(run_now(&[], b"", LONG).is_err());
    }

    #[test]
    fn input_of_any_length_and_output_without_end_are_no_harm() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(sh("test $(wc -c) = 1048576", &input, LONG), Ok(()));
        // It reads nothing of it.
        assert_eq!(sh("exit 0", &input, LONG), Ok(()));
        let loud = sh("yes loud; exit 1", b"", Duration::from_millis(300));
        assert!(loud.as_ref().is_err_and(|e| e.contains("took longer") && e.len() < 400), "{loud:?}");
    }

    #[test]
    fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = dir.path().join("pid");
        let script = format!("sleep 1000 & echo $! > {}; wait", file.display());
        assert!(sh(&script, b"", Duration::from_millis(500)).is_err_and(|e| e.contains("was killed")));
        let pid = std::fs::read_to_string(file).expect("it had begun");
        let alive = || {
            std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).is_ok_and(|s| !s.contains(") Z "))
        };
        let end = Instant::now() + Duration::from_secs(10);
        while alive() && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
        assert!(!alive(), "sleep {pid}");
        // One that leaves somebody behind with its output does not keep us.
        assert_eq!(sh("setsid sleep 30 & exit 0", b"", LONG), Ok(()));
    }
}
