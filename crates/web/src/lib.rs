//! mwan's control API, event stream, metrics and dashboard over HTTP(S).
//!
//! Runs in a process of its own, without privileges: what browsers say never reaches the daemon but as one of its requests
//! ([`mwan_api::Request`]), and whatever becomes of this process, probing and switching do not notice.
//!
//! | module | what |
//! |---|---|
//! | `server`, `places`, `stream`, `tls` | sockets, connections, their limits, TLS |
//! | `routes` | the table of routes: who may use which, and how much it takes |
//! | `api` | what each of them does |
//! | `auth` | users, passwords, sessions, tokens, guesses |
//! | `files` | the folder of accounts and certificate |
//! | `live` | the event stream |
//! | `metrics` | `/metrics` |
//! | `assets` | the dashboard's files |
//! | `client` | the daemon |

mod api;
mod assets;
mod auth;
mod client;
mod error;
mod files;
mod live;
mod metrics;
#[cfg(test)]
mod openapi;
mod places;
mod routes;
mod server;
mod stream;
#[cfg(test)]
mod tests;
mod tls;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, watch};

pub use auth::Role;
pub use auth::store::{Accounts, AccountsError, Store, Token, User};
pub use client::{Daemon, Later, SocketDaemon};
pub use files::hand_over;
pub use server::{ListenError, Listener, bind_local};
pub use tls::{Tls, TlsError, load as load_tls};

/// Answers that are under way at the end have to be out by then; the daemon kills who needs longer (`companion::END_MAX`).
const END_MAX: Duration = Duration::from_secs(1);

/// Everything that requests share.
pub(crate) struct Site {
    daemon: Arc<dyn Daemon>,
    auth: auth::Auth,
    hub: live::Hub,
    hosts: server::Hosts,
    status: api::StatusCache,
    window: Mutex<metrics::window::Window>,
    /// One configuration at a time is judged or ordered.
    plans: Semaphore,
    /// One packet at a time is explained: whoever asks for many holds no order up.
    questions: Semaphore,
    flows: api::FlowsCache,
}

/// What is served, and where.
pub struct Server {
    /// Where TCP clients are listened to.
    pub tcp: Vec<Listener>,
    /// Where users of this machine are.
    pub local: Option<std::os::unix::net::UnixListener>,
    /// For listeners that are to speak TLS.
    pub tls: Option<Tls>,
    /// Who is asked.
    pub daemon: Arc<dyn Daemon>,
    /// A session nobody uses for so long ends.
    pub session_timeout: Duration,
    /// Names by which this machine may be asked, beside its addresses.
    pub hostnames: Vec<String>,
}

impl Server {
    /// Serves clients until SIGTERM; what has been asked by then is answered. Accounts are in `folder`.
    ///
    /// # Errors
    /// A socket cannot be used.
    pub async fn run(self, folder: &Path) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let site = Arc::new(Site {
            daemon: self.daemon,
            auth: auth::Auth::new(folder, self.session_timeout),
            hub: live::Hub::default(),
            hosts: server::Hosts::new(&self.hostnames),
            status: api::StatusCache::default(),
            window: Mutex::default(),
            plans: Semaphore::new(1),
            questions: Semaphore::new(1),
            flows: api::FlowsCache::default(),
        });
        let (ending, told) = watch::channel(false);
        let server = server::Server { site: site.clone(), router: routes::router(&site), ending: told };
        let sockets = server::Sockets { tcp: self.tcp, local: self.local, tls: self.tls };
        tokio::select! {
            served = server::serve(server, sockets) => return served,
            () = live::listen(site.clone()) => return Ok(()),
            _ = terminate.recv() => {}
        }
        // Nobody is listened to any more: the server after this one may be there already. Maybe it was a request that had us end,
        // by another configuration.
        site.hub.close();
        let _ = ending.send(true);
        let _ = tokio::time::timeout(END_MAX, ending.closed()).await;
        Ok(())
    }
}
