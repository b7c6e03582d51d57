//! `mwan top`: what goes on, in a terminal. The model folds what the daemon tells and what keys say, the view draws it, this file has the
//! threads that listen. Nothing of it runs in the daemon, which sees one more client that watches.

mod model;
#[cfg(test)]
mod tests;
mod view;

use std::io::{self, BufRead, BufReader, IsTerminal, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use mwan_api::{Request, Response, Watched};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Terminal};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{Exit, Failure, ask_at_length};
use model::{Action, Model};

/// How often status and connections are asked for.
const POLL: Duration = Duration::from_secs(2);
/// Connections that are listed; enough for the tallest terminals.
const FLOWS_MAX: u32 = 100;
/// How long after a loss the daemon is looked for again.
const RECONNECT: Duration = Duration::from_secs(1);
/// Least time between two pictures.
const FRAME: Duration = Duration::from_millis(50);
/// Longest line of the daemon's that is read, bytes.
const LINE_MAX: u64 = 1 << 20;

/// What waits to be shown, while the terminal takes nothing (Ctrl-S, a slow line): then nobody listens to the daemon, which leaves
/// out what is not taken.
const HEARD_MAX: usize = 256;
/// Questions of keys that are not answered yet.
const ASKED_MAX: usize = 4;

/// Something to show.
enum Heard {
    /// Somebody wants the end (SIGTERM).
    End,
    /// From the terminal.
    Terminal(Terminal),
    /// A line of `watch`.
    Watched(Watched),
    /// The answer to what the clock asks.
    Answer(Box<Result<Response, String>>),
    /// The answer to what a key asked.
    Told(Box<Result<Response, String>>),
}

/// Shows what goes on until the user has seen enough.
pub(crate) fn run(run_dir: &Path) -> Result<Exit, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::says("top needs a terminal").hint("use `mwan status` or `mwan events --follow`"));
    }
    // Whoever has no daemon, or no right to ask it, reads that in a line and not in a picture.
    let status = ask_at_length(run_dir, &Request::Status)?;
    let (heard, hear) = mpsc::sync_channel(HEARD_MAX);
    start(&heard, run_dir);
    let mut model = Model::default();
    model.answer(Ok(status));
    let mut terminal = ratatui::try_init().map_err(|e| Failure::new("cannot use the terminal", &e))?;
    let ended = show(&mut terminal, &mut model, run_dir, &heard, &hear);
    ratatui::restore();
    ended.map_err(|e| Failure::new("cannot use the terminal", &e))?;
    Ok(Exit::Ok)
}

fn show(
    terminal: &mut DefaultTerminal,
    model: &mut Model,
    run_dir: &Path,
    heard: &SyncSender<Heard>,
    hear: &Receiver<Heard>,
) -> io::Result<()> {
    let mut asked = 0;
    let mut drawn: Option<Instant> = None;
    let mut changed = true;
    loop {
        let rest = drawn.map_or(Duration::ZERO, |at| FRAME.saturating_sub(at.elapsed()));
        if changed && rest.is_zero() {
            terminal.draw(|frame| view::draw(model, frame))?;
            (drawn, changed) = (Some(Instant::now()), false);
        }
        let heard_now = hear.recv_timeout(if changed { rest } else { Duration::from_secs(1) });
        changed = true;
        match heard_now {
            Ok(Heard::Watched(watched)) => model.watched(watched),
            Ok(Heard::Answer(answer)) => model.answer(*answer),
            Ok(Heard::Told(answer)) => {
                asked -= 1;
                model.told(*answer);
            }
            Ok(Heard::Terminal(Terminal::Key(key))) => match model.key(key) {
                Some(Action::Quit) => return Ok(()),
                // A key that is held down does not ask for more than the daemon answers.
                Some(Action::Ask(_)) if asked == ASKED_MAX => {}
                Some(Action::Ask(request)) => {
                    asked += 1;
                    once(run_dir, request, heard);
                }
                None => {}
            },
            Ok(Heard::End) => return Ok(()),
            // Another size, which the next picture has.
            Ok(Heard::Terminal(_)) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
    }
}

/// The threads that listen; they end with the process.
fn start(heard: &SyncSender<Heard>, run_dir: &Path) {
    let to = heard.clone();
    thread::spawn(move || {
        // Without it the terminal would be left as it is now.
        if terminated().is_ok() {
            let _ = to.send(Heard::End);
        }
    });
    let to = heard.clone();
    thread::spawn(move || {
        while let Ok(event) = event::read() {
            if to.send(Heard::Terminal(event)).is_err() {
                return;
            }
        }
    });
    let (to, from) = (heard.clone(), run_dir.to_owned());
    thread::spawn(move || {
        loop {
            let _ = watch(&from, &to);
            thread::sleep(RECONNECT);
        }
    });
    let (to, from) = (heard.clone(), run_dir.to_owned());
    thread::spawn(move || {
        while put(&from, &Request::Status, &to) && put(&from, &Request::Flows { limit: FLOWS_MAX }, &to) {
            thread::sleep(POLL);
        }
    });
}

/// Waits for SIGTERM.
fn terminated() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        signal(SignalKind::terminate())?.recv().await.ok_or_else(|| io::ErrorKind::Other.into())
    })
}

/// One question of a key's, in a thread: an answer may take its time.
fn once(run_dir: &Path, request: Request, heard: &SyncSender<Heard>) {
    let (from, to): (PathBuf, _) = (run_dir.to_owned(), heard.clone());
    thread::spawn(move || {
        let answer = ask_at_length(&from, &request).map_err(|failure| failure.to_string());
        let _ = to.send(Heard::Told(Box::new(answer)));
        put(&from, &Request::Status, &to);
    });
}

/// Whether anybody is left to hear the answer.
fn put(run_dir: &Path, request: &Request, heard: &SyncSender<Heard>) -> bool {
    let answer = ask_at_length(run_dir, request).map_err(|failure| failure.to_string());
    heard.send(Heard::Answer(Box::new(answer))).is_ok()
}

/// Listens to the daemon until it ends; first it tells what is known of the past.
fn watch(run_dir: &Path, heard: &SyncSender<Heard>) -> io::Result<()> {
    let mut stream = UnixStream::connect(run_dir.join(crate::daemon::SOCKET))?;
    let mut request = serde_json::to_vec(&Request::Watch { after: Some(0) })?;
    request.push(b'\n');
    stream.write_all(&request)?;
    let mut lines = BufReader::new(stream);
    let mut line = String::new();
    while io::Read::take(&mut lines, LINE_MAX).read_line(&mut line)? > 0 {
        if let Ok(watched) = serde_json::from_str(&line) {
            heard.send(Heard::Watched(watched)).map_err(io::Error::other)?;
        }
        line.clear();
    }
    Ok(())
}
