//! One request to the daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mwan_api::{Request, Response};
use serde::Deserialize;

use super::Failure;

/// The daemon answers from memory or after one look at the kernel; a reload may compile thousands of rules.
const TIMEOUT: Duration = Duration::from_secs(20);
/// As long as the daemon keeps a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// Sends `request` to the daemon of `run_dir` and returns its answer; its `error` answers are failures.
pub(crate) fn ask(run_dir: &Path, request: &Request) -> Result<Response, Failure> {
    answered(run_dir, try_ask(run_dir, request)?)
}

fn answered(run_dir: &Path, response: Option<Response>) -> Result<Response, Failure> {
    match response {
        Some(response) => Ok(response),
        None => Err(nobody(run_dir)),
    }
}

fn nobody(run_dir: &Path) -> Failure {
    Failure::says(format!("no daemon answers at {}", socket(run_dir).display()))
        .hint("start it with `mwan daemon --config FILE`, or name its directory with --run-dir")
}

/// The same for what takes longer: another mask comes into force, and something has to be reached.
pub(super) fn ask_patiently(run_dir: &Path, request: &Request) -> Result<Response, Failure> {
    answered(run_dir, ask_within(run_dir, request, PATIENCE)?)
}

/// The same, but `None` if no daemon is running there.
pub(super) fn try_ask(run_dir: &Path, request: &Request) -> Result<Option<Response>, Failure> {
    ask_within(run_dir, request, TIMEOUT)
}

fn ask_within(run_dir: &Path, request: &Request, timeout: Duration) -> Result<Option<Response>, Failure> {
    let Some(line) = line_within(run_dir, request, timeout)? else { return Ok(None) };
    match serde_json::from_str(&line) {
        Ok(Response::Error { message, hint }) => Err(Failure { message, hint }),
        Ok(response) => Ok(Some(response)),
        Err(error) => Err(silent(run_dir, &error)),
    }
}

/// The answer as it comes; `None` if no daemon is running there.
fn line_within(run_dir: &Path, request: &Request, timeout: Duration) -> Result<Option<String>, Failure> {
    use std::io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    let path = socket(run_dir);
    let stream = match UnixStream::connect(&path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), NotFound | ConnectionRefused) => return Ok(None),
        Err(error) => {
            let failure = Failure::new(format!("cannot reach the daemon at {}", path.display()), &error);
            let denied = error.kind() == PermissionDenied;
            return Err(if denied { failure.hint("run it as root") } else { failure });
        }
    };
    exchange(stream, request, timeout).map(Some).map_err(|error| silent(run_dir, &error))
}

fn silent(run_dir: &Path, error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(format!("the daemon at {} does not answer", socket(run_dir).display()), error)
}

/// An answer of which only the words matter here: the daemon has made them.
#[derive(Deserialize, Debug, Default)]
#[serde(default)]
pub(super) struct Said {
    result: String,
    message: String,
    hint: Option<String>,
    /// All of it for people.
    pub(super) text: String,
    /// Of a drill.
    pub(super) number: u64,
    pub(super) passed: Option<bool>,
    pub(super) steps: Vec<String>,
    /// Of several.
    pub(super) running: Option<Box<Said>>,
    pub(super) drills: Vec<Said>,
    #[serde(skip)]
    line: String,
}

impl Said {
    /// The document for programs, as everywhere: indented, with a final newline.
    pub(super) fn json(&self) -> String {
        let tag = format!("{{\"result\":\"{}\",", self.result);
        let document = self.line.trim_end().strip_prefix(tag.as_str());
        document.map_or_else(|| self.line.clone(), |rest| super::render::indented(&format!("{{{rest}")))
    }
}

/// Asks for something that is only to be shown.
pub(super) fn ask_in_words(run_dir: &Path, request: &Request) -> Result<Said, Failure> {
    let line = line_within(run_dir, request, TIMEOUT)?.ok_or_else(|| nobody(run_dir))?;
    let said: Said = serde_json::from_str(&line).map_err(|error| silent(run_dir, &error))?;
    match said.result.as_str() {
        "error" => Err(Failure { message: said.message, hint: said.hint }),
        _ => Ok(Said { line, ..said }),
    }
}

/// Whether a daemon answers.
pub(super) fn answers(run_dir: &Path) -> bool {
    try_ask(run_dir, &Request::Status).is_ok_and(|answer| answer.is_some())
}

fn exchange(mut stream: UnixStream, request: &Request, timeout: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    // A status of thousands of rules is a few MiB; more than this is not our daemon.
    BufReader::new(stream).take(64 << 20).read_line(&mut answer)?;
    Ok(answer)
}

fn socket(run_dir: &Path) -> std::path::PathBuf {
    run_dir.join(crate::daemon::SOCKET)
}
