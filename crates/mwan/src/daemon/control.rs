//! The control socket: one request line, one response line.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mwan_api::{REQUEST_MAX, Request, Response};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tracing::debug;

/// Clients served at once; more wait in the kernel's queue, or for those that say nothing to be let go.
const CLIENTS_MAX: usize = 64;
/// A client that has not finished its request by then is let go: it keeps a place from others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client waits for a place before those that have one and say nothing have to leave it.
const CROWDED_TIMEOUT: Duration = Duration::from_millis(50);
/// A client that has not taken its answer by then is let go.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// A request and where its answer goes.
pub(crate) type Asked = (Request, oneshot::Sender<Response>);

/// Listens at `path`, for the owner only, and serves clients until the daemon ends. What is there from a dead daemon is
/// replaced; the caller holds the lock.
pub(super) fn listen(path: &Path, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    tokio::spawn(serve(bind(path)?, asked.clone(), OWNER));
    Ok(())
}

/// For the owner only.
fn bind(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// What the clients of a socket may do.
#[derive(Clone, Copy)]
struct Access {
    /// Longest request, bytes.
    request_max: usize,
    allows: fn(&Request) -> bool,
}

/// Everything: root.
const OWNER: Access = Access { request_max: REQUEST_MAX, allows: |_| true };

/// Whoever looks after RED, without being root: see the status, switch RED, switch mwan on and off. No configuration, no
/// routing of commands, no end of the daemon.
#[cfg(feature = "ipfire")]
const OPERATOR: Access =
    Access { request_max: 4096, allows: |request| matches!(request, Request::Status | Request::Red { .. }) };

/// The same for the members of a group, as operators.
#[cfg(feature = "ipfire")]
pub(super) fn listen_for_operators(path: &Path, group: u32, asked: &mpsc::Sender<Asked>) -> io::Result<()> {
    let listener = bind(path)?;
    // The group first: nobody else ever gets in.
    std::os::unix::fs::chown(path, None, Some(group))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)))
        .inspect_err(|_| drop(fs::remove_file(path)))?;
    tokio::spawn(serve(listener, asked.clone(), OPERATOR));
    Ok(())
}

/// The number of a group of `/etc/group` (group(5)).
#[cfg(feature = "ipfire")]
pub(super) fn group(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Requests are answered by the daemon's loop, one at a time.
async fn serve(listener: UnixListener, asked: mpsc::Sender<Asked>, access: Access) {
    let places = Arc::new(Semaphore::new(CLIENTS_MAX));
    let crowded = Arc::new(Notify::new());
    loop {
        let client = match listener.accept().await {
            Ok((client, _)) => client,
            Err(error) => {
                debug!("cannot accept a client: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let place = loop {
            match tokio::time::timeout(CROWDED_TIMEOUT, places.clone().acquire_owned()).await {
                Ok(Ok(place)) => break place,
                Ok(Err(_)) => return,
                Err(_) => crowded.notify_waiters(),
            }
        };
        let (asked, crowded) = (asked.clone(), crowded.clone());
        tokio::spawn(async move {
            let answered =
                tokio::time::timeout(CLIENT_TIMEOUT, answer(client, asked, &crowded, access)).await;
            if let Ok(Err(error)) = answered {
                debug!("client: {error}");
            }
            drop(place);
        });
    }
}

async fn answer(
    mut client: UnixStream,
    asked: mpsc::Sender<Asked>,
    crowded: &Notify,
    access: Access,
) -> io::Result<()> {
    let (read, mut write) = client.split();
    let mut line = Vec::new();
    let mut read = BufReader::new(read).take(access.request_max as u64);
    tokio::select! {
        biased;
        read = read.read_until(b'\n', &mut line) => read?,
        () = crowded.notified() => return Err(io::Error::other("silent while others wait")),
        () = tokio::time::sleep(REQUEST_TIMEOUT) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let response = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if !(access.allows)(&request) => Response::Error {
            message: "this socket is for the status and for RED".to_owned(),
            hint: Some("ask as root".to_owned()),
        },
        Ok(request) => {
            let (reply, replied) = oneshot::channel();
            match asked.send((request, reply)).await {
                Ok(()) => replied.await.unwrap_or_else(|_| ending()),
                Err(_) => ending(),
            }
        }
        Err(error) => Response::Error {
            message: format!("not a request: {error}"),
            hint: Some("docs/schema/mwan.request.v1.json".to_owned()),
        },
    };
    let mut bytes = serde_json::to_vec(&response)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await
}

fn ending() -> Response {
    Response::Error { message: "the daemon is ending".to_owned(), hint: None }
}
