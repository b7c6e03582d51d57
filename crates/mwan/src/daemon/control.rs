//! The control socket: one request line, one response line; who watches gets a line for everything that happens.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mwan_api::{REQUEST_MAX, Request, Response, Watched};
use mwan_linux::process::User;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixListener;
use tokio::net::UnixStream;
use tokio::net::unix::WriteHalf;
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::AbortHandle;
use tracing::debug;

use super::answer::error_response;
use super::events::Line;
use crate::show::show;

/// Clients served at once; more wait in the kernel's queue, or for those that say nothing to be let go.
const CLIENTS_MAX: usize = 64;
/// A client that has not finished its request by then is let go: it keeps a place from others.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a client waits for a place before those that have one and say nothing have to leave it.
const CROWDED_TIMEOUT: Duration = Duration::from_millis(50);
/// A client that has not taken its answer by then is let go.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(30);

/// Characters of a name that is remembered.
const NAME_MAX: usize = 64;

/// Clients that watch at once: each keeps a place from others for as long as it likes.
const WATCHERS_MAX: usize = 16;

/// A request and where its answer goes.
pub(crate) type Asked = (Request, oneshot::Sender<Response>);

/// What clients get their answers from.
#[derive(Clone, Debug)]
pub(super) struct Hub {
    /// The daemon's loop.
    pub(super) asked: mpsc::Sender<Asked>,
    /// What happens.
    pub(super) live: broadcast::Sender<Line>,
}

/// Listens at `path`, for the owner only, and serves clients until the daemon ends. What is there from a dead daemon is
/// replaced; the caller holds the lock.
pub(super) fn listen(path: &Path, hub: &Hub) -> io::Result<()> {
    tokio::spawn(serve(bind(path)?, hub.clone(), Access::Owner));
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Everything: root.
    Owner,
    /// Whoever looks after RED, without being root: see the status, switch RED, switch mwan on and off. No configuration, no
    /// routing of commands, no end of the daemon.
    #[cfg(feature = "ipfire")]
    Operator,
    /// The web server, which decides for each of its users: everything that the HTTP API has, and neither the end of the daemon nor
    /// the routing of commands.
    #[cfg(feature = "web")]
    Web,
    /// Who sends alerts: hear what happens, and say how it goes.
    #[cfg(feature = "alerts")]
    Alerts,
}

impl Access {
    /// Longest request, bytes.
    fn request_max(self) -> usize {
        match self {
            Access::Owner => REQUEST_MAX,
            #[cfg(feature = "ipfire")]
            Access::Operator => 4096,
            #[cfg(feature = "web")]
            Access::Web => REQUEST_MAX,
            #[cfg(feature = "alerts")]
            Access::Alerts => 64 * 1024,
        }
    }

    /// What its socket is for, in words.
    fn purpose(self) -> &'static str {
        match self {
            Access::Owner => "everything",
            #[cfg(feature = "web")]
            Access::Web => "what the control API over HTTP has",
            #[cfg(feature = "ipfire")]
            Access::Operator => "the status and for RED",
            #[cfg(feature = "alerts")]
            Access::Alerts => "what happens, and for reports of alerts",
        }
    }

    /// Who is not root must not get root's powers by way of a configuration.
    fn guarded(self, request: Request) -> Request {
        match (self, request) {
            #[cfg(feature = "web")]
            (
                Access::Web,
                request @ (Request::Plan { .. }
                | Request::PutConfig { .. }
                | Request::PutCloud { .. }
                | Request::Validate { .. }
                | Request::Apply(_)),
            ) => Request::Guarded { request: Box::new(request) },
            (_, request) => request,
        }
    }

    /// With the name of who asks, where that is remembered: the socket knows the user. The web server answers for its own.
    fn signed(self, mut request: Request, user: Option<u32>) -> Request {
        let by = match &mut request {
            Request::PutConfig { by, .. } | Request::PutCloud { by, .. } => by,
            Request::Apply(order) => &mut order.by,
            Request::Drill(order) => &mut order.by,
            _ => return request,
        };
        let named = by.take().map(|name| name.escape_debug().take(NAME_MAX).collect::<String>());
        *by = match self {
            #[cfg(feature = "web")]
            Access::Web => Some(named.map_or_else(|| "the web".to_owned(), |name| format!("{name} (web)"))),
            _ => {
                let name = |id| User::name(id).unwrap_or_else(|| format!("user {id}"));
                let user = user.map_or_else(|| "somebody".to_owned(), name);
                Some(named.map_or_else(|| user.clone(), |name| format!("{user} ({name})")))
            }
        };
        request
    }

    fn allows(self, request: &Request) -> bool {
        match (self, request) {
            (Access::Owner, _) => true,
            #[cfg(feature = "ipfire")]
            (Access::Operator, request) => matches!(request, Request::Status | Request::Red { .. }),
            #[cfg(feature = "web")]
            (Access::Web, request) => matches!(
                request,
                Request::Status
                    | Request::Events(_)
                    | Request::Watch { .. }
                    | Request::Candidates
                    | Request::Flows { .. }
                    // Nobody sends packets by HTTP.
                    | Request::Explain(mwan_api::ExplainQuery { verify: false, .. })
                    | Request::Why { .. }
                    | Request::IfUp { .. }
                    | Request::IfDown { .. }
                    | Request::Drain { .. }
                    | Request::Undrain { .. }
                    | Request::Diff
                    | Request::Plan { .. }
                    | Request::History(_)
                    | Request::Report { .. }
                    | Request::Config
                    | Request::PutConfig { .. }
                    | Request::Validate { .. }
                    | Request::Cloud
                    | Request::PutCloud { .. }
                    | Request::Apply(_)
                    | Request::Confirm
                    | Request::TakeBack
                    | Request::Revisions
                    | Request::Revision { .. }
                    | Request::Alerts
                    | Request::TestAlert { .. }
            ),
            #[cfg(feature = "alerts")]
            (Access::Alerts, request) => matches!(
                request,
                Request::Status | Request::Events(_) | Request::Watch { .. } | Request::ReportAlerts { .. }
            ),
        }
    }
}

/// The same for the members of a group, as operators.
#[cfg(feature = "ipfire")]
pub(super) fn listen_for_operators(path: &Path, group: u32, hub: &Hub) -> io::Result<()> {
    let listener = bind(path)?;
    // The group first: nobody else ever gets in.
    std::os::unix::fs::chown(path, None, Some(group))
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o660)))
        .inspect_err(|_| drop(fs::remove_file(path)))?;
    tokio::spawn(serve(listener, hub.clone(), Access::Operator));
    Ok(())
}

/// The same for a companion, which is `user`.
///
/// # Errors
/// The socket cannot be made.
pub(super) fn listen_for_companion(
    path: &Path,
    user: User,
    hub: &Hub,
    access: Access,
) -> io::Result<AbortHandle> {
    let listener = bind(path)?;
    std::os::unix::fs::chown(path, Some(user.id), Some(user.group))
        .inspect_err(|_| drop(fs::remove_file(path)))?;
    Ok(tokio::spawn(serve(listener, hub.clone(), access)).abort_handle())
}

/// The number of a group of `/etc/group` (group(5)).
#[cfg(any(feature = "ipfire", feature = "web"))]
pub(crate) fn group(name: &str) -> Option<u32> {
    let text = fs::read_to_string("/etc/group").ok()?;
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

/// Requests are answered by the daemon's loop, one at a time.
async fn serve(listener: UnixListener, hub: Hub, access: Access) {
    let (places, watchers) = (Arc::new(Semaphore::new(CLIENTS_MAX)), Arc::new(Semaphore::new(WATCHERS_MAX)));
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
        let (hub, crowded, watchers) = (hub.clone(), crowded.clone(), watchers.clone());
        tokio::spawn(async move {
            let mut client = client;
            let served =
                tokio::time::timeout(CLIENT_TIMEOUT, answer(&mut client, &hub, &crowded, access)).await;
            drop(place);
            let ended = match served {
                Ok(Ok(Some(watch))) => match watchers.try_acquire() {
                    Ok(_place) => follow(client, watch).await,
                    Err(_) => Err(io::Error::other("too many watch already")),
                },
                Ok(answered) => answered.map(drop),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            };
            if let Err(error) = ended {
                debug!("client: {error}");
            }
        });
    }
}

/// Somebody who watches: what comes next, and what has been until then.
struct Watch {
    live: broadcast::Receiver<Line>,
    before: mwan_api::Events,
}

/// Answers a request. `Some`: it is to watch, and its answer has only begun.
async fn answer(
    client: &mut UnixStream,
    hub: &Hub,
    crowded: &Notify,
    access: Access,
) -> io::Result<Option<Watch>> {
    // Before the daemon is asked: nothing is missed between its answer and what follows.
    let live = hub.live.subscribe();
    let client_user = client.peer_cred().ok().map(|peer| peer.uid());
    let (read, mut write) = client.split();
    let mut line = Vec::new();
    let mut read = BufReader::new(read).take(access.request_max() as u64);
    tokio::select! {
        biased;
        read = read.read_until(b'\n', &mut line) => read?,
        () = crowded.notified() => return Err(io::Error::other("silent while others wait")),
        () = tokio::time::sleep(REQUEST_TIMEOUT) => return Err(io::ErrorKind::TimedOut.into()),
    };
    let response = match serde_json::from_slice::<Request>(&line) {
        Ok(request) if !access.allows(&request) => Response::Error {
            message: format!("this socket is for {}", access.purpose()),
            hint: Some("ask as root".to_owned()),
        },
        Ok(request) => {
            let (request, view) = match request {
                Request::Show { request, view } => (*request, Some(view)),
                request => (request, None),
            };
            let request = access.guarded(access.signed(request, client_user));
            let watches = matches!(request, Request::Watch { .. });
            let (reply, replied) = oneshot::channel();
            let response = match hub.asked.send((request, reply)).await {
                Ok(()) => replied.await.unwrap_or_else(|_| ending()),
                Err(_) => ending(),
            };
            match (response, view) {
                (response, Some(view)) => show(response, view).map_or_else(error_response, Response::Shown),
                (Response::Events(before), None) if watches => return Ok(Some(Watch { live, before })),
                (response, None) => response,
            }
        }
        Err(error) => Response::Error {
            message: format!("not a request: {error}"),
            hint: Some("docs/schema/mwan.request.v1.json".to_owned()),
        },
    };
    let mut bytes = serde_json::to_vec(&response)?;
    bytes.push(b'\n');
    write.write_all(&bytes).await?;
    Ok(None)
}

/// Tells a client what happens until it hangs up or does not read.
async fn follow(mut client: UnixStream, watch: Watch) -> io::Result<()> {
    let (mut read, mut write) = client.split();
    let Watch { mut live, before } = watch;
    let known = before.latest;
    for event in before.events {
        say(&mut write, &serde_json::to_string(&Watched::Event(event))?).await?;
    }
    let mut byte = [0];
    loop {
        let line = tokio::select! {
            line = live.recv() => line,
            // Nothing more is to be said to us: the end, or somebody who does not know it.
            _ = read.read(&mut byte) => return Ok(()),
        };
        match line {
            Ok((Some(id), _)) if id <= known => {}
            Ok((_, line)) => say(&mut write, &line).await?,
            Err(RecvError::Lagged(_)) => say(&mut write, &serde_json::to_string(&Watched::Missed)?).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}

async fn say(write: &mut WriteHalf<'_>, line: &str) -> io::Result<()> {
    let all = async {
        write.write_all(line.as_bytes()).await?;
        write.write_all(b"\n").await
    };
    tokio::time::timeout(CLIENT_TIMEOUT, all).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn ending() -> Response {
    Response::Error { message: "the daemon is ending".to_owned(), hint: None }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn by(access: Access, named: Option<&str>, user: Option<u32>) -> String {
        let request = Request::PutConfig {
            text: String::new(),
            revision: String::new(),
            dry_run: false,
            by: named.map(str::to_owned),
        };
        match access.signed(request, user) {
            Request::PutConfig { by, .. } => by.unwrap(),
            other => unreachable!("{other:?}"),
        }
    }

    /// Nobody but the web server can say that he is somebody else.
    #[test]
    fn who_asks_is_whom_the_socket_knows() {
        assert_eq!(by(Access::Owner, None, Some(0)), "root");
        assert_eq!(by(Access::Owner, Some("alice"), Some(0)), "root (alice)");
        assert_eq!(by(Access::Owner, Some("a\n\u{1b}"), Some(4_000_000)), "user 4000000 (a\\n\\u{1b})");
        assert_eq!(by(Access::Owner, None, None), "somebody");
        assert_eq!(by(Access::Owner, Some(&"x".repeat(500)), Some(0)).len(), "root ()".len() + NAME_MAX);
        #[cfg(feature = "web")]
        {
            assert_eq!(by(Access::Web, Some("alice"), Some(33)), "alice (web)");
            assert_eq!(by(Access::Web, None, Some(33)), "the web");
        }
    }

    /// What ends the daemon, gets around rules or is for other companions is not for the web; what may name files and programs goes
    /// there with its guard.
    #[cfg(feature = "web")]
    #[test]
    fn the_web_server_is_not_root() {
        let interface = "wan".to_owned();
        let view = mwan_api::View { look: mwan_api::Look::Whole, json: false, package: None };
        let show = Request::Show { request: Box::new(Request::Stop), view };
        let explain = |verify| Request::Explain(mwan_api::ExplainQuery { verify, ..Default::default() });
        for request in [
            Request::Stop,
            Request::Reload,
            Request::Use { interface },
            Request::Record,
            Request::StopDrill,
            Request::Guarded { request: Box::new(Request::Confirm) },
            explain(true),
            show,
        ] {
            assert!(!Access::Web.allows(&request) && Access::Owner.allows(&request), "{request:?}");
        }
        let order = mwan_api::ApplyOrder {
            content: mwan_api::Content::Revision { number: Some(1) },
            revision: None,
            dry_run: false,
            confirm_s: None,
            must_reach: Vec::new(),
            by: None,
        };
        assert!(Access::Web.allows(&explain(false)));
        assert!(Access::Web.allows(&Request::Apply(order.clone())));
        assert!(matches!(Access::Web.guarded(Request::Apply(order.clone())), Request::Guarded { .. }));
        assert!(matches!(Access::Owner.guarded(Request::Apply(order)), Request::Apply(_)));
    }
}
