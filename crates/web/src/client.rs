//! The daemon, as its companion sees it: one connection per request, and one that stays open for what happens.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use mwan_api::{Request, Response, Watched};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, mpsc};

/// Requests at once; others wait. The daemon answers them one after the other anyway.
const REQUESTS_MAX: usize = 8;
/// A little longer than the daemon itself lets a client wait (`control::CLIENT_TIMEOUT`).
const TIMEOUT: Duration = Duration::from_secs(32);
/// A status of thousands of rules is a few MiB; more than this is not our daemon.
const ANSWER_MAX: u64 = 64 << 20;
/// A sample of 250 interfaces has some 100 KiB.
const LINE_MAX: u64 = 4 << 20;
/// Lines that wait to be handed on; the daemon tells if they become too many.
const LINES: usize = 64;

/// Something that will be there.
pub type Later<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What the web server wants of the daemon. A trait, so that it is tested without one.
pub trait Daemon: Send + Sync {
    /// Asks it.
    ///
    /// # Errors
    /// It is not there, or does not answer in time.
    fn ask(&self, request: Request) -> Later<'_, io::Result<Response>>;

    /// What happens from now on, and what happened behind the event `after`.
    ///
    /// # Errors
    /// It is not there.
    fn watch(&self, after: Option<u64>) -> Later<'_, io::Result<mpsc::Receiver<Watched>>>;
}

/// The daemon behind a socket.
#[derive(Debug)]
pub struct SocketDaemon {
    socket: PathBuf,
    turns: Semaphore,
}

impl SocketDaemon {
    /// Behind this one.
    pub fn new(socket: &Path) -> Self {
        SocketDaemon { socket: socket.to_owned(), turns: Semaphore::new(REQUESTS_MAX) }
    }

    async fn send(&self, request: &Request) -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        Ok(stream)
    }

    async fn exchange(&self, request: &Request) -> io::Result<Response> {
        let _turn = self.turns.acquire().await.map_err(io::Error::other)?;
        let stream = self.send(request).await?;
        let mut answer = Vec::new();
        BufReader::new(stream).take(ANSWER_MAX).read_until(b'\n', &mut answer).await?;
        if answer.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(serde_json::from_slice(&answer)?)
    }
}

impl Daemon for SocketDaemon {
    fn ask(&self, request: Request) -> Later<'_, io::Result<Response>> {
        Box::pin(async move {
            let answered = tokio::time::timeout(TIMEOUT, self.exchange(&request)).await;
            answered.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
        })
    }

    fn watch(&self, after: Option<u64>) -> Later<'_, io::Result<mpsc::Receiver<Watched>>> {
        Box::pin(async move {
            let stream = tokio::time::timeout(TIMEOUT, self.send(&Request::Watch { after })).await;
            let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
            let (sender, receiver) = mpsc::channel(LINES);
            tokio::spawn(read_lines(stream, sender));
            Ok(receiver)
        })
    }
}

/// Hands lines on until one side has enough, or something else than a line comes.
async fn read_lines(stream: UnixStream, sender: mpsc::Sender<Watched>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut reader).take(LINE_MAX).read_until(b'\n', &mut line).await {
            Ok(1..) => {}
            _ => return,
        }
        let Ok(watched) = serde_json::from_slice(&line) else { return };
        if sender.send(watched).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::net::UnixListener;

    /// A daemon that says `answer` to whoever asks, and hangs up.
    fn daemon(answer: &'static [u8]) -> (tempfile::TempDir, SocketDaemon) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        let listener = UnixListener::bind(&path).unwrap();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let mut client = BufReader::new(client);
                client.read_until(b'\n', &mut Vec::new()).await.unwrap();
                let _ = client.write_all(answer).await;
            }
        });
        (dir, SocketDaemon::new(&path))
    }

    #[tokio::test]
    async fn a_request_is_a_line_and_so_is_its_answer() {
        let (_dir, daemon) = daemon(b"{\"result\":\"done\"}\n");
        assert_eq!(daemon.ask(Request::Reload).await.unwrap(), Response::Done);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_an_error_and_never_more() {
        for answer in [&b""[..], b"\n", b"{\"result\":\"no\"}\n", b"[[[[", &[0xff; 100]] {
            let (_dir, daemon) = daemon(answer);
            assert!(daemon.ask(Request::Status).await.is_err(), "{answer:?}");
            assert_eq!(daemon.watch(None).await.unwrap().recv().await, None, "{answer:?}");
        }
        assert!(SocketDaemon::new(Path::new("/none")).ask(Request::Status).await.is_err());
    }

    #[tokio::test]
    async fn lines_are_handed_on_until_the_end() {
        let (_dir, daemon) = daemon(b"{\"watched\":\"missed\"}\n{\"watched\":\"missed\"}\n{\"watched\"");
        let mut lines = daemon.watch(Some(3)).await.unwrap();
        assert_eq!(lines.recv().await, Some(Watched::Missed));
        assert_eq!(lines.recv().await, Some(Watched::Missed));
        assert_eq!(lines.recv().await, None);
    }
}
