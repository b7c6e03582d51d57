//! The connection to ubusd: a task of its own that reads, writes, and comes back after ubusd did. It never keeps the daemon's
//! loop waiting: views are a slot where the latest wins, questions go the way of every other client's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mwan_api::{Request, Response};
use mwan_core::PlatformView;
use mwan_linux::clock;
use mwan_ubus::{MESSAGE_BYTES_MAX, Message, Status, Stream, Table};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, info, warn};

use super::session::{Action, Call, OBJECTS, Session};
use super::{Netifd, answer};
use crate::daemon::Asked;

/// Before the second attempt to connect; doubled each time.
const RECONNECT_MIN: Duration = Duration::from_millis(100);
/// ubusd restarts within seconds; who waits longer waits for a person.
const RECONNECT_MAX: Duration = Duration::from_secs(10);
/// ubusd greets at once; one that hangs is left and tried again.
const GREETING_MAX: Duration = Duration::from_secs(10);
/// Bytes read at once.
const READ_BYTES: usize = 64 << 10;
/// Written and not taken: a ubusd that takes nothing is as good as none.
const UNSENT_MAX: usize = 4 * MESSAGE_BYTES_MAX;
/// Calls of others that wait for the daemon's loop; more are told to come back later.
const CALLS_MAX: usize = 16;
/// Bad messages in a row: this is no ubusd.
const BAD_MAX: usize = 100;

/// Stays connected until the receiver of `tell` is gone.
pub(super) async fn run(path: PathBuf, tell: watch::Sender<Netifd>, ask: Option<mpsc::Sender<Asked>>) {
    let mut pause = RECONNECT_MIN;
    let mut reported = false;
    while !tell.is_closed() {
        let began = clock::now();
        match converse(&path, &tell, ask.as_ref()).await {
            Ended::Refused(error) => {
                if !std::mem::replace(&mut reported, true) {
                    info!("no ubus at {}: {error}; to be tried again", path.display());
                }
            }
            Ended::Lost(error) => {
                // One that greets and hangs up is as good as none.
                let lasted = clock::now().since(began) > RECONNECT_MAX;
                if !std::mem::replace(&mut reported, true) || lasted {
                    warn!("ubusd is gone: {error}; what netifd said last stays in force");
                }
                if lasted {
                    pause = RECONNECT_MIN;
                }
            }
        }
        tell_absent(&tell);
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RECONNECT_MAX);
    }
}

/// Who waits for a first word need not wait any longer.
fn tell_absent(tell: &watch::Sender<Netifd>) {
    tell.send_if_modified(|netifd| {
        let waiting = matches!(netifd, Netifd::Unknown);
        if waiting {
            *netifd = Netifd::Absent;
        }
        waiting
    });
}

/// How a conversation ended.
enum Ended {
    /// It never was one.
    Refused(io::Error),
    /// After ubusd had greeted.
    Lost(io::Error),
}

/// Answers of the daemon's loop, each with the call it belongs to.
type Answers = mpsc::Sender<(Call, Result<Table, Status>)>;

struct Connection<'a> {
    socket: UnixStream,
    session: Session,
    stream: Stream,
    unsent: Vec<u8>,
    tell: &'a watch::Sender<Netifd>,
    ask: Option<&'a mpsc::Sender<Asked>>,
    answers: Answers,
    calls: usize,
}

async fn converse(path: &Path, tell: &watch::Sender<Netifd>, ask: Option<&mpsc::Sender<Asked>>) -> Ended {
    let socket = match UnixStream::connect(path).await {
        Ok(socket) => socket,
        Err(error) => return Ended::Refused(error),
    };
    let names = if ask.is_some() { &OBJECTS[..] } else { &[] };
    let (answers, mut answered) = mpsc::channel(CALLS_MAX);
    let session = Session::new(names);
    let stream = Stream::default();
    let mut connection =
        Connection { socket, session, stream, unsent: Vec::new(), tell, ask, answers, calls: 0 };
    let greeting = async {
        while !connection.session.greeted() {
            connection.step(&mut answered).await?;
        }
        Ok(())
    };
    match tokio::time::timeout(GREETING_MAX, greeting).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return Ended::Refused(error),
        Err(_) => return Ended::Refused(io::Error::new(io::ErrorKind::TimedOut, "it does not greet")),
    }
    loop {
        if let Err(error) = connection.step(&mut answered).await {
            return Ended::Lost(error);
        }
    }
}

impl Connection<'_> {
    async fn step(&mut self, answered: &mut mpsc::Receiver<(Call, Result<Table, Status>)>) -> io::Result<()> {
        let wake = self.session.wake_at();
        let sleep = async {
            match wake {
                Some(at) => tokio::time::sleep(at.since(clock::now())).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            ready = self.socket.readable() => {
                ready?;
                self.read()
            }
            ready = self.socket.writable(), if !self.unsent.is_empty() => {
                ready?;
                self.write()
            }
            Some((call, result)) = answered.recv() => {
                self.calls -= 1;
                self.answer(&call, result)
            }
            () = sleep => {
                let actions = self.session.tick(clock::now());
                self.perform(actions)
            }
        }
    }

    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; READ_BYTES];
        match self.socket.try_read(&mut buffer) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it closed the connection")),
            Ok(n) => self.stream.push(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
        let mut bad = 0;
        loop {
            match self.stream.next() {
                Ok(Some(message)) => {
                    let actions = self.session.handle(clock::now(), &message);
                    self.perform(actions)?;
                }
                Ok(None) => return Ok(()),
                Err(error) => {
                    bad += 1;
                    debug!("from ubusd: {error}");
                    if !self.stream.usable() || bad > BAD_MAX {
                        return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                    }
                }
            }
        }
    }

    fn write(&mut self) -> io::Result<()> {
        match self.socket.try_write(&self.unsent) {
            Ok(n) => {
                self.unsent.drain(..n);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn perform(&mut self, actions: Vec<Action>) -> io::Result<()> {
        for action in actions {
            match action {
                Action::Send(message) => self.send(&message)?,
                Action::View(view) => self.view(view),
                Action::Absent => tell_absent(self.tell),
                Action::Answer(call) => self.ask(call)?,
                Action::Taken(name) => {
                    warn!(
                        "cannot publish the ubus object {name}: somebody else has it; is {name} still installed?"
                    );
                }
            }
        }
        Ok(())
    }

    fn send(&mut self, message: &Message) -> io::Result<()> {
        let bytes = message.encode().map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        if self.unsent.len() + bytes.len() > UNSENT_MAX {
            return Err(io::Error::new(io::ErrorKind::WriteZero, "it takes no data"));
        }
        self.unsent.extend(bytes);
        Ok(())
    }

    fn view(&self, view: PlatformView) {
        self.tell.send_if_modified(|netifd| {
            let same = matches!(netifd, Netifd::View(old) if **old == view);
            if !same {
                if !matches!(netifd, Netifd::View(_)) {
                    info!("netifd has {} interfaces", view.interfaces.len());
                }
                *netifd = Netifd::View(Arc::new(view));
            }
            !same
        });
    }

    /// Passes a call on to the daemon's loop.
    fn ask(&mut self, call: Call) -> io::Result<()> {
        let Some(ask) = self.ask.filter(|_| self.calls < CALLS_MAX) else {
            return self.answer(&call, Err(Status::Timeout));
        };
        self.calls += 1;
        let (ask, answers) = (ask.clone(), self.answers.clone());
        tokio::spawn(async move {
            let result = status(&ask, &call).await;
            let _ = answers.send((call, result)).await;
        });
        Ok(())
    }

    fn answer(&mut self, call: &Call, result: Result<Table, Status>) -> io::Result<()> {
        let messages = call.answer(result);
        // A full Internet routing table among the connected networks does not fit into a message of ubus.
        if messages.iter().any(|m| m.encode().is_err()) {
            debug!("the status is too long for ubus; its sections can be asked for one by one");
            return call.answer(Err(Status::NotSupported)).iter().try_for_each(|m| self.send(m));
        }
        messages.iter().try_for_each(|message| self.send(message))
    }
}

async fn status(ask: &mpsc::Sender<Asked>, call: &Call) -> Result<Table, Status> {
    let (reply, replied) = oneshot::channel();
    ask.send((Request::Status, reply)).await.map_err(|_| Status::NotFound)?;
    match replied.await {
        Ok(Response::Status(status)) => answer::status(call.object, &call.arguments, &status),
        _ => Err(Status::UnknownError),
    }
}
