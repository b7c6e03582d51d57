//! One request to the daemon.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use mwan_api::{
    Applied, Binding, CloudDocument, ConfigPut, ConfigText, Diagnostic, Events, Request, RevisionText,
    Revisions, Shown, View,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Exit, Failure, print, talk};

/// The daemon answers from memory or after one look at the kernel; a reload may compile thousands of rules.
const TIMEOUT: Duration = Duration::from_secs(20);
/// As long as the daemon keeps a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answers that a command reads; all others come as text ([`show`]).
#[derive(Deserialize, Debug)]
#[serde(tag = "result", rename_all = "snake_case")]
pub(super) enum Answer {
    Applied(Applied),
    Cloud(CloudDocument),
    Config(ConfigText),
    Conflict,
    Done,
    Drill(Begun),
    Drills(Drills),
    Error { message: String, hint: Option<String> },
    Events(Events),
    Put(ConfigPut),
    Refused { message: String, diagnostics: Vec<Diagnostic> },
    Revision(RevisionText),
    Revisions(Revisions),
    Shown(Shown),
    Use(Binding),
}

/// What is read of a drill that begins.
#[derive(Deserialize, Debug)]
pub(super) struct Begun {
    pub(super) number: u64,
}

/// What is read of the drills.
#[derive(Deserialize, Debug)]
pub(super) struct Drills {
    pub(super) running: Option<Drill>,
    pub(super) drills: Vec<Drill>,
}

#[derive(Deserialize, Debug)]
pub(super) struct Drill {
    pub(super) number: u64,
    pub(super) passed: Option<bool>,
    pub(super) steps: Vec<String>,
    /// All of it for people, when it is over.
    pub(super) text: String,
}

/// Whatever the daemon says may be that it cannot.
trait MayFail: DeserializeOwned {
    fn failure(self) -> Result<Self, Failure>;
}

impl MayFail for Answer {
    fn failure(self) -> Result<Self, Failure> {
        match self {
            Answer::Error { message, hint } => Err(Failure::with(message, hint)),
            answer => Ok(answer),
        }
    }
}

#[cfg(any(feature = "alerts", feature = "ipfire", feature = "record", feature = "tui"))]
impl MayFail for mwan_api::Response {
    fn failure(self) -> Result<Self, Failure> {
        match self {
            mwan_api::Response::Error { message, hint } => Err(Failure::with(message, hint)),
            answer => Ok(answer),
        }
    }
}

/// Sends `request` to the daemon of `run_dir` and returns its answer; its `error` answers are failures.
pub(super) fn ask(run_dir: &Path, request: &Request) -> Result<Answer, Failure> {
    answered(run_dir, try_ask(run_dir, request)?)
}

/// The same, of all there is to answer.
#[cfg(any(feature = "alerts", feature = "ipfire", feature = "record", feature = "tui"))]
pub(crate) fn ask_at_length(run_dir: &Path, request: &Request) -> Result<mwan_api::Response, Failure> {
    answered(run_dir, ask_within(run_dir, request, TIMEOUT)?)
}

/// The whole status.
#[cfg(feature = "ipfire")]
pub(super) fn status(run_dir: &Path) -> Result<mwan_api::Status, Failure> {
    match ask_at_length(run_dir, &Request::Status)? {
        mwan_api::Response::Status(status) => Ok(*status),
        _ => Err(super::commands::unexpected()),
    }
}

/// The same for what takes longer: another mask comes into force, and something has to be reached.
pub(super) fn ask_patiently(run_dir: &Path, request: &Request) -> Result<Answer, Failure> {
    answered(run_dir, ask_within(run_dir, request, PATIENCE)?)
}

/// The same, but `None` if no daemon is running there.
pub(super) fn try_ask(run_dir: &Path, request: &Request) -> Result<Option<Answer>, Failure> {
    ask_within(run_dir, request, TIMEOUT)
}

/// Prints what the daemon answers, as `view` wants it.
pub(super) fn show(run_dir: &Path, request: Request, view: View) -> Result<Exit, Failure> {
    answered(run_dir, try_show(run_dir, request, view)?)
}

/// The same, but `None` if no daemon is running there.
pub(super) fn try_show(run_dir: &Path, request: Request, view: View) -> Result<Option<Exit>, Failure> {
    let request = Request::Show { request: Box::new(request), view };
    try_ask(run_dir, &request)?.map(|answer| say(shown(answer)?)).transpose()
}

/// The answer as text, for who makes more of it.
pub(super) fn text(run_dir: &Path, request: Request, view: View) -> Result<String, Failure> {
    shown(ask(run_dir, &Request::Show { request: Box::new(request), view })?).map(|shown| shown.text)
}

fn shown(answer: Answer) -> Result<Shown, Failure> {
    match answer {
        Answer::Shown(shown) => Ok(shown),
        _ => Err(super::commands::unexpected()),
    }
}

/// Data to standard output, talk to standard error, and what to make of it.
pub(super) fn say(shown: Shown) -> Result<Exit, Failure> {
    shown.notes.iter().for_each(|note| talk(note));
    print(&shown.text)?;
    match (shown.error, shown.exit) {
        (Some(message), _) => Err(Failure::with(message, shown.hint)),
        (None, exit) => Ok(Exit::of(exit)),
    }
}

/// What is asked of a status without reading all of it.
#[derive(Deserialize)]
pub(super) struct Glimpse {
    pub(super) daemon: Daemon,
    pub(super) interfaces: Vec<Interface>,
}

#[derive(Deserialize)]
pub(super) struct Daemon {
    pub(super) pid: u32,
    pub(super) config: std::path::PathBuf,
}

#[derive(Deserialize)]
pub(super) struct Interface {
    pub(super) name: String,
    pub(super) device: String,
}

/// A look at the daemon, if one runs and answers.
pub(super) fn glimpse(run_dir: &Path) -> Option<Glimpse> {
    let line = line_within(run_dir, &Request::Status, TIMEOUT).ok()??;
    serde_json::from_str(&line).ok()
}

/// Whether a daemon runs there.
pub(super) fn answers(run_dir: &Path) -> Result<bool, Failure> {
    line_within(run_dir, &Request::Status, TIMEOUT).map(|line| line.is_some())
}

fn answered<T>(run_dir: &Path, answer: Option<T>) -> Result<T, Failure> {
    answer.ok_or_else(|| {
        Failure::says(format!("no daemon answers at {}", socket(run_dir).display()))
            .hint("start it with `mwan daemon --config FILE`, or name its directory with --run-dir")
    })
}

fn ask_within<T: MayFail>(
    run_dir: &Path,
    request: &Request,
    timeout: Duration,
) -> Result<Option<T>, Failure> {
    let Some(line) = line_within(run_dir, request, timeout)? else { return Ok(None) };
    let answer: T = serde_json::from_str(&line).map_err(|error| silent(run_dir, &error))?;
    answer.failure().map(Some)
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

fn exchange(mut stream: UnixStream, request: &Request, timeout: Duration) -> std::io::Result<String> {
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    // A status of thousands of rules is a few MiB; more than this is not our daemon.
    BufReader::new(stream).take(64 << 20).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

fn socket(run_dir: &Path) -> std::path::PathBuf {
    run_dir.join(crate::daemon::SOCKET)
}
