//! What is heard of the daemon, and what is told to it: one connection that watches, others for single requests.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mwan_api::{Alert, AlertTest, Event, EventQuery, Request, Response, Status, Watched};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};

/// Longest line of an answer, bytes: a status of thousands of rules.
const LINE_MAX: u64 = 64 << 20;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Pause before the daemon is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// Reports are not sent more often: somebody looks at them at most.
const REPORT_PAUSE: Duration = Duration::from_millis(300);

/// Something heard.
#[derive(Debug)]
pub(super) enum Heard {
    /// The daemon is there; its newest event. Nothing behind it was heard before [`Heard::Event`].
    Begins { latest: u64, from: tokio::sync::oneshot::Sender<u64> },
    /// Something has happened.
    Event(Event),
    /// Somebody wants a test message.
    Test { name: String, number: u64 },
    /// How everything is, or was when the last event we had heard was `heard`.
    Status { status: Box<Status>, heard: u64 },
}

/// Hears the daemon for ever.
pub(super) async fn hear(socket: PathBuf, heard: mpsc::Sender<Heard>) {
    loop {
        // Whatever ends it: the daemon ends us, or is there again.
        let _ = follow(&socket, &heard).await;
        if heard.is_closed() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(socket: &Path, heard: &mpsc::Sender<Heard>) -> io::Result<()> {
    let query = EventQuery { limit: Some(1), ..EventQuery::default() };
    let Response::Events(events) = ask(socket, &Request::Events(query)).await? else {
        return Err(unexpected());
    };
    let (from, after) = tokio::sync::oneshot::channel();
    let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
    heard.send(Heard::Begins { latest: events.latest, from }).await.map_err(|_| unexpected())?;
    let after = after.await.map_err(gone)?;
    let mut stream = connect(socket, &Request::Watch { after: Some(after) }).await?;
    while let Some(line) = read_line(&mut stream).await? {
        let said = match serde_json::from_slice::<Watched>(&line) {
            Ok(Watched::Event(event)) => Heard::Event(event),
            Ok(Watched::TestAlert { name, number }) => Heard::Test { name, number },
            // The events are asked for anew.
            Ok(Watched::Missed) => return Ok(()),
            Ok(Watched::Sample(_)) => continue,
            // A newer daemon says more; an error is the end.
            Err(_) if serde_json::from_slice::<Response>(&line).is_ok() => return Err(unexpected()),
            Err(_) => continue,
        };
        heard.send(said).await.map_err(|_| unexpected())?;
    }
    Ok(())
}

/// Asks how everything is; the last event that was heard by now is `last`.
pub(super) async fn status(socket: PathBuf, last: u64, heard: mpsc::Sender<Heard>) {
    if let Ok(Response::Status(status)) = ask(&socket, &Request::Status).await {
        let _ = heard.send(Heard::Status { status, heard: last }).await;
    }
}

/// Tells the daemon how the alerts are whenever that changes, for ever.
pub(super) async fn report(socket: PathBuf, mut board: watch::Receiver<Vec<Alert>>) {
    loop {
        let alerts = board.borrow_and_update().clone();
        let told = ask(&socket, &Request::ReportAlerts { alerts }).await;
        tokio::time::sleep(if told.is_ok() { REPORT_PAUSE } else { PAUSE }).await;
        // A daemon that was not there, or is another one by now, is told again after a while.
        let wait = tokio::time::timeout(Duration::from_secs(30), board.changed());
        if told.is_ok() && matches!(wait.await, Ok(Err(_))) {
            return;
        }
    }
}

/// How a channel is, for the wire.
pub(super) fn wire(status: mwan_alerts::ChannelStatus) -> Alert {
    Alert {
        name: status.name,
        kind: status.kind.to_owned(),
        queued: status.queued as u64,
        sent: status.sent,
        last_sent_ms: status.last_sent_ms,
        failures: status.failures,
        next_try_ms: status.next_try_ms,
        last_error: status.last_error,
        dropped: status.dropped,
        test: status.test.map(|(number, error)| AlertTest { number, error }),
    }
}

async fn ask(socket: &Path, request: &Request) -> io::Result<Response> {
    let asked = async {
        let mut stream = connect(socket, request).await?;
        let line = read_line(&mut stream).await?.ok_or_else(unexpected)?;
        Ok(serde_json::from_slice(&line)?)
    };
    tokio::time::timeout(ANSWER_MAX, asked).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn connect(socket: &Path, request: &Request) -> io::Result<BufReader<UnixStream>> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    Ok(BufReader::new(stream))
}

async fn read_line(stream: &mut BufReader<UnixStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let length = stream.take(LINE_MAX).read_until(b'\n', &mut line).await?;
    Ok((length > 0).then_some(line))
}

fn unexpected() -> io::Error {
    io::Error::other("the daemon's answer does not fit the question")
}
