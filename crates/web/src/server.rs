//! Sockets, connections and their limits: what is the same for every request, whatever it asks.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Request, Response, StatusCode, Uri, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower_service::Service;
use tracing::{debug, warn};

use crate::Site;
use crate::auth::{Peer, Role};
use crate::error::ApiError;
use crate::places::{Place, Places, Seat};
use crate::stream::Guarded;
use crate::tls::Tls;

/// A request's head has to be there by then, and a connection that says nothing is kept no longer.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head of a request, bytes.
const HEAD_MAX: usize = 16 * 1024;
/// A TLS handshake has to be over by then.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 128;
/// Clients of the Unix socket count as one address of their own.
const LOCAL: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);

/// No script, style, image or connection but our own; nobody may frame us or be sent our forms.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Headers of every response.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Why nobody can be listened to.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// An address cannot be had.
    #[error("cannot listen at {address}")]
    Address {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The Unix socket cannot be made.
    #[error("cannot listen at {}", path.display())]
    Socket {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// An address that others reach is to be used without TLS.
    #[error("{0} can be reached from other machines, and TLS is off")]
    Plain(SocketAddr),
}

/// A TCP socket that listens.
#[derive(Debug)]
pub struct Listener {
    socket: std::net::TcpListener,
    address: SocketAddr,
    tls: bool,
}

impl Listener {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Listens at `address`. One that no device has yet is good, too: it may come with a lease.
    ///
    /// # Errors
    /// Somebody else has it, or it must not be used without TLS.
    pub fn bind(address: SocketAddr, tls: bool) -> Result<Self, ListenError> {
        if !tls && !address.ip().is_loopback() {
            return Err(ListenError::Plain(address));
        }
        let wrap = |source| ListenError::Address { address, source };
        let socket = bind(address).map_err(wrap)?;
        let address = socket.local_addr().map_err(wrap)?;
        Ok(Listener { socket, address, tls })
    }
}

fn bind(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // So that 0.0.0.0 beside it is another socket.
        socket.set_only_v6(true)?;
        socket.set_freebind_v6(true)?;
    } else {
        socket.set_freebind_v4(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Listens at `path`, for its owner and the members of `group`.
///
/// # Errors
/// The socket cannot be made or given to the group.
pub fn bind_local(path: &Path, group: Option<u32>) -> Result<std::os::unix::net::UnixListener, ListenError> {
    let make = || {
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = std::os::unix::net::UnixListener::bind(path)?;
        let set = |mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode));
        set(0o600)?;
        if group.is_some() {
            // The group first: nobody else ever gets in.
            std::os::unix::fs::chown(path, None, group)?;
            set(0o660)?;
        }
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    make().map_err(|source| ListenError::Socket { path: path.to_owned(), source })
}

/// Everything that listens.
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<Listener>,
    pub(crate) local: Option<std::os::unix::net::UnixListener>,
    pub(crate) tls: Option<Tls>,
}

/// Serves clients until the process ends.
///
/// # Errors
/// A socket cannot be used with the runtime.
pub(crate) async fn serve(server: Server, sockets: Sockets) -> io::Result<()> {
    let server = Arc::new(server);
    let places = Arc::new(Places::default());
    let mut tasks = tokio::task::JoinSet::new();
    for listener in sockets.tcp {
        let tls = sockets.tls.clone().filter(|_| listener.tls).map(|tls| TlsAcceptor::from(tls.config));
        let socket = TcpListener::from_std(listener.socket)?;
        tasks.spawn(accept_tcp(server.clone(), places.clone(), socket, tls));
    }
    if let Some(local) = sockets.local {
        tasks.spawn(accept_local(server, Arc::new(Places::default()), UnixListener::from_std(local)?));
    }
    // They do not end.
    while tasks.join_next().await.is_some() {}
    Ok(())
}

pub(crate) struct Server {
    pub(crate) site: Arc<Site>,
    pub(crate) router: Router,
    /// Becomes true when no more requests are to be begun. Who has a connection has this, so that its end can be waited for.
    pub(crate) ending: watch::Receiver<bool>,
}

/// Too many files, or a client that has gone already: neither ends us.
async fn pause_after(error: &io::Error) {
    debug!("cannot accept a client: {error}");
    tokio::time::sleep(Duration::from_millis(50)).await;
}

async fn accept_tcp(server: Arc<Server>, places: Arc<Places>, socket: TcpListener, tls: Option<TlsAcceptor>) {
    loop {
        let (stream, address) = match socket.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let Some(place) = places.take(address.ip()) else { continue };
        let _ = stream.set_nodelay(true);
        let peer = Peer { address: Some(address.ip()), local: None, tls: tls.is_some() };
        let (server, tls) = (server.clone(), tls.clone());
        spawn_seated(place, move |seat| async move {
            let Some(tls) = tls else { return server.connection(stream, peer, seat).await };
            match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => server.connection(stream, peer, seat).await,
                Ok(Err(error)) => debug!("no TLS with {address}: {error}"),
                Err(_) => debug!("{address} does not finish its TLS handshake"),
            }
        });
    }
}

async fn accept_local(server: Arc<Server>, places: Arc<Places>, socket: UnixListener) {
    loop {
        let stream = match socket.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                pause_after(&error).await;
                continue;
            }
        };
        let Some(place) = places.take(LOCAL) else { continue };
        // Who could open the socket is root or in the group: its mode says so, and the kernel keeps to it.
        let Ok(credentials) = stream.peer_cred() else { continue };
        let role = if credentials.uid() == 0 { Role::Admin } else { Role::Operator };
        let peer = Peer { address: None, local: Some(role), tls: false };
        let server = server.clone();
        spawn_seated(place, move |seat| async move { server.connection(stream, peer, seat).await });
    }
}

/// Does `work` for who has this place, until it is done or the place is taken away.
fn spawn_seated<F: Future<Output = ()> + Send>(
    place: Place,
    work: impl FnOnce(Arc<Seat>) -> F + Send + 'static,
) {
    tokio::spawn(async move {
        let seat = place.seat.clone();
        tokio::select! {
            () = work(seat.clone()) => {}
            () = seat.asked_to_leave() => debug!("a connection made room for another"),
        }
        drop(place);
    });
}

impl Server {
    pub(crate) async fn connection<S>(&self, stream: S, peer: Peer, seat: Arc<Seat>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = service_fn(|request: Request<Incoming>| {
            let seat = seat.clone();
            async move { Ok::<_, Infallible>(self.answer(request.map(Body::new), peer, seat).await) }
        });
        let mut connection = pin!(
            http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIMEOUT)
                .max_buf_size(HEAD_MAX)
                .serve_connection(TokioIo::new(Guarded::new(stream)), service)
        );
        let mut ending = self.ending.clone();
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = async { drop(ending.wait_for(|ending| *ending).await) } => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!("connection: {error}");
        }
    }

    async fn answer(&self, mut request: Request<Body>, peer: Peer, seat: Arc<Seat>) -> Response<Body> {
        let api = request.uri().path().starts_with("/api/") || request.uri().path() == "/metrics";
        let allowed = self.site.hosts.check(peer, request.uri(), request.headers());
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(seat);
        let mut response = match allowed {
            Ok(()) => {
                let mut router = self.router.clone();
                match router.call(request).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
            Err(error) => error.into_response(),
        };
        let headers = response.headers_mut();
        for (name, value) in HEADERS {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        }
        if api && !headers.contains_key(header::CACHE_CONTROL) {
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        }
        response
    }
}

/// Something that anybody can bring about is told of so often at most, or the log is his.
const TOLD_EVERY: Duration = Duration::from_secs(60);
/// Of what somebody said, so much is in the log, characters.
const TOLD_MAX: usize = 80;

/// By which names we may be asked. A name that somebody else's DNS lets point to us is none of ours: his page would else be allowed to
/// talk to us as if it came from us (DNS rebinding). Addresses cannot be made to point elsewhere.
#[derive(Debug)]
pub(crate) struct Hosts {
    names: Vec<String>,
    /// When one that is none of ours was told of.
    told: Mutex<Option<Instant>>,
}

impl Hosts {
    /// `localhost`, and these.
    pub(crate) fn new(names: &[String]) -> Self {
        let names = names.iter().map(String::as_str).chain(["localhost"]);
        let names = names.map(|name| name.trim_end_matches('.').to_ascii_lowercase()).collect();
        Hosts { names, told: Mutex::default() }
    }

    fn tell_of(&self, host: &str) {
        if self.is_to_be_told(Instant::now()) {
            let shown: String = host.chars().take(TOLD_MAX).collect();
            warn!("asked for as '{}', which is none of our names", shown.escape_debug());
        }
    }

    fn is_to_be_told(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let due = told.is_none_or(|last| now.duration_since(last) >= TOLD_EVERY);
        if due {
            *told = Some(now);
        }
        due
    }

    fn check(&self, peer: Peer, uri: &Uri, headers: &HeaderMap) -> Result<(), ApiError> {
        if peer.local.is_some() {
            return Ok(());
        }
        let mut given = headers.get_all(header::HOST).iter();
        let (first, second) = (given.next(), given.next());
        let host = first.and_then(|host| host.to_str().ok()).filter(|_| second.is_none());
        let Some(host) = host else {
            return Err(ApiError::bad_request("the request has not exactly one Host header"));
        };
        // RFC 9112, 3.2.2: an absolute address counts, whatever the header says.
        let host = uri.authority().map_or(host, |authority| authority.as_str());
        if self.is_ours(host) {
            return Ok(());
        }
        self.tell_of(host);
        Err(ApiError::new(
            StatusCode::MISDIRECTED_REQUEST,
            "unknown_host",
            "this machine is not known by that name",
        )
        .hint("use its address, or add the name to `hostname` of the section `web`"))
    }

    fn is_ours(&self, host: &str) -> bool {
        let address: Option<Uri> = host.parse().ok();
        let Some(name) = address.as_ref().and_then(|uri| uri.authority()).map(|authority| authority.host())
        else {
            return false;
        };
        // A user before it would be part of what a page of another site chose.
        if host.contains('@') {
            return false;
        }
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        bare.parse::<IpAddr>().is_ok() || self.names.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn addresses_and_our_names_are_ours_and_nothing_else_is() {
        let hosts = Hosts::new(&["Router.lan".to_owned()]);
        for ours in [
            "127.0.0.1",
            "192.0.2.1:8480",
            "[::1]",
            "[2001:db8::1]:8480",
            "localhost:8480",
            "router.LAN",
            "router.lan.:1",
        ] {
            assert!(hosts.is_ours(ours), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "router.lan@evil",
            "a@127.0.0.1",
            "[::1",
            "router.lan/x",
            "x y",
            "1.2.3",
        ] {
            assert!(!hosts.is_ours(other), "{other}");
        }
    }

    #[test]
    fn who_asks_by_wrong_names_does_not_fill_the_log() {
        let (hosts, start) = (Hosts::new(&[]), Instant::now());
        let told = (0..6000).filter(|n| hosts.is_to_be_told(start + Duration::from_millis(20 * n))).count();
        assert_eq!(told, 2, "in two minutes");
    }

    #[test]
    fn without_tls_only_this_machine_is_listened_to() {
        for address in ["0.0.0.0:0", "192.0.2.1:0", "[::]:0"] {
            let refused = Listener::bind(address.parse().unwrap(), false).unwrap_err();
            assert!(matches!(refused, ListenError::Plain(_)), "{refused}");
        }
    }
}
