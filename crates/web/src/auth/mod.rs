//! Who is asking, and what he may do.

pub(crate) mod limits;
pub(crate) mod password;
pub(crate) mod secret;
pub(crate) mod sessions;
pub(crate) mod store;

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use axum::http::{HeaderMap, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use tracing::{info, warn};

use crate::error::ApiError;
use limits::{Limiter, Standing};
use secret::{digest, same};
use sessions::{Session, SessionKey, Sessions};
use store::{Accounts, AccountsError, Store};

/// What somebody may do; each role may do what those before it may.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// See.
    Viewer,
    /// Take interfaces up, down and out of use.
    Operator,
    /// Change the configuration.
    Admin,
}

impl Role {
    /// In ascending order.
    pub const ALL: [Role; 3] = [Role::Viewer, Role::Operator, Role::Admin];

    /// `viewer`, `operator` or `admin`.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Admin => "admin",
        }
    }
}

/// Name of the cookie over TLS: browsers take one of this name only from us, and only over TLS (RFC 6265bis, 4.1.3.2).
const COOKIE_TLS: &str = "__Host-mwan";
/// Name of the cookie without TLS, which is on this machine only.
const COOKIE_PLAIN: &str = "mwan";
/// Passwords from addresses that have logged in, or that have guessed wrong, that are checked or wait for it: each takes a few MiB and
/// 10 ms, one after the other.
const CHECKS_MAX: usize = 8;
/// From those of which nothing is known: the last of them waits less than a second.
const CLEAN_CHECKS_MAX: usize = 64;
/// Longest name that is looked at, bytes.
const NAME_MAX: usize = 256;

/// Who talks, as far as the connection tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer {
    /// Whence; none by the Unix socket.
    pub(crate) address: Option<IpAddr>,
    /// What the Unix socket's peer may do, by the kernel's word.
    pub(crate) local: Option<Role>,
    /// Whether it is TLS.
    pub(crate) tls: bool,
}

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Principal {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) by: By,
}

/// What let him in.
#[derive(Clone, Debug)]
pub(crate) enum By {
    /// The Unix socket.
    Socket,
    /// A token, by its name.
    Token,
    /// A cookie.
    Session(SessionKey),
}

/// A login that worked.
pub(crate) struct LoggedIn {
    pub(crate) session: Session,
    pub(crate) role: Role,
    /// Value of `Set-Cookie`.
    pub(crate) cookie: String,
}

/// Everything about who may come in.
#[derive(Debug)]
pub(crate) struct Auth {
    store: Arc<Store>,
    sessions: Mutex<Sessions>,
    limiter: Mutex<Limiter>,
    known: Lane,
    clean: Lane,
    suspect: Lane,
}

/// Where passwords wait to be checked: a crowd in one is none in the other.
#[derive(Debug)]
struct Lane {
    places: Arc<Semaphore>,
    turn: Arc<Semaphore>,
}

impl Lane {
    fn new(places: usize, turn: &Arc<Semaphore>) -> Self {
        Lane { places: Arc::new(Semaphore::new(places)), turn: turn.clone() }
    }
}

impl Auth {
    /// With the accounts of `folder`; a session nobody uses for `idle` ends.
    pub(crate) fn new(folder: &Path, idle: Duration) -> Self {
        let [ours, others] = [(); 2].map(|()| Arc::new(Semaphore::new(1)));
        Auth {
            store: Arc::new(Store::new(folder)),
            sessions: Mutex::new(Sessions::new(idle)),
            limiter: Mutex::new(Limiter::new(Instant::now())),
            known: Lane::new(CHECKS_MAX, &ours),
            clean: Lane::new(CLEAN_CHECKS_MAX, &others),
            suspect: Lane::new(CHECKS_MAX, &others),
        }
    }

    /// Who sends a request with these headers, if we know him. `touch`: it counts as use of his session.
    pub(crate) fn identify(
        &self,
        peer: Peer,
        headers: &HeaderMap,
        touch: bool,
    ) -> Result<Option<(Principal, Option<Session>)>, ApiError> {
        if let Some(role) = peer.local {
            let name = format!("local {}", role.name());
            return Ok(Some((Principal { name, role, by: By::Socket }, None)));
        }
        if let Some(shown) = headers.get(header::AUTHORIZATION) {
            let shown = shown.to_str().ok().and_then(|text| text.split_once(' '));
            let token = shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
            let Some((_, token)) = token else { return Ok(None) };
            let accounts = self.accounts()?;
            let principal = |token: &store::Token| Principal {
                name: format!("token {}", token.name),
                role: token.role,
                by: By::Token,
            };
            return Ok(accounts.token(token.trim()).map(principal).map(|who| (who, None)));
        }
        let Some(cookie) = cookie(headers, peer) else { return Ok(None) };
        self.of_session(SessionKey::of(cookie), touch)
    }

    fn of_session(
        &self,
        key: SessionKey,
        touch: bool,
    ) -> Result<Option<(Principal, Option<Session>)>, ApiError> {
        let accounts = self.accounts()?;
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(session) = sessions.find(key, touch, Instant::now()).cloned() else { return Ok(None) };
        // Removed meanwhile, or with another password.
        let user =
            accounts.user(&session.user).filter(|user| digest(user.hash().as_bytes()) == session.password);
        let Some(user) = user else {
            sessions.end(key);
            return Ok(None);
        };
        let principal = Principal { name: user.name.clone(), role: user.role, by: By::Session(key) };
        Ok(Some((principal, Some(session))))
    }

    /// Whether he would still be let in: long answers ask again. His use of it does not count.
    pub(crate) fn still(&self, who: &Principal) -> bool {
        match who.by {
            By::Socket => true,
            By::Session(key) => self.of_session(key, false).is_ok_and(|found| found.is_some()),
            By::Token => self.accounts().is_ok_and(|accounts| {
                accounts.tokens().iter().any(|token| who.name.strip_prefix("token ") == Some(&token.name))
            }),
        }
    }

    fn accounts(&self) -> Result<Arc<Accounts>, ApiError> {
        self.store.accounts().map_err(|error| broken(&error))
    }

    /// Whether nobody can log in yet, and whether a link for it waits.
    pub(crate) fn needs_setup(&self) -> bool {
        self.accounts().is_ok_and(|accounts| accounts.users().is_empty() || accounts.has_setup(now_s()))
    }

    /// Lets a user in by his password.
    pub(crate) async fn log_in(
        &self,
        peer: Peer,
        name: &str,
        password: String,
    ) -> Result<LoggedIn, ApiError> {
        let standing = self.limit(peer)?;
        let accounts = self.accounts().inspect_err(|_| self.give_back(peer, standing))?;
        let user = accounts.user(name).cloned();
        let hash = user.as_ref().map(|user| user.hash().to_owned());
        let sane = name.len() <= NAME_MAX && password.len() <= password::BYTES_MAX;
        let equal = sane
            && self.hashing(peer, standing, move || password::verify(hash.as_deref(), &password)).await?;
        let Some(user) = user.filter(|_| equal) else {
            self.limiter().wrong(source_of(peer), Instant::now());
            if sane {
                warn!("login refused: '{}' from {}", name.escape_debug(), shown(peer));
            }
            return Err(ApiError::new(StatusCode::UNAUTHORIZED, "wrong_login", "user or password is wrong")
                .hint("forgotten? `mwan web user add NAME` as root sets a new password"));
        };
        self.right(peer, standing);
        info!("login: {} ({}) from {}", user.name, user.role.name(), shown(peer));
        Ok(self.begin_session(peer, &user))
    }

    fn begin_session(&self, peer: Peer, user: &store::User) -> LoggedIn {
        let password = digest(user.hash().as_bytes());
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        let (id, session) = sessions.begin(&user.name, password, Instant::now());
        LoggedIn { session, role: user.role, cookie: set_cookie(peer, id.reveal()) }
    }

    /// Sets the first password by the link of `mwan web init`, and logs him in.
    pub(crate) async fn set_up(
        &self,
        peer: Peer,
        secret: String,
        password: String,
    ) -> Result<LoggedIn, ApiError> {
        let standing = self.limit(peer)?;
        if let Some(why) = password::refusal(&password) {
            self.give_back(peer, standing);
            return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "password", why));
        }
        let store = self.store.clone();
        let changed = self.hashing(peer, standing, move || {
            store.change(|accounts| {
                let Some(user) = accounts.take_setup(&secret, now_s()) else { return Ok(None) };
                accounts.set_user(&user, Role::Admin, &password)?;
                Ok(Some(user))
            })
        });
        let Some(name) = changed.await?.map_err(|error| broken(&error))? else {
            self.limiter().wrong(source_of(peer), Instant::now());
            warn!("set-up refused from {}", shown(peer));
            return Err(ApiError::new(
                StatusCode::FORBIDDEN,
                "link_invalid",
                "the link is used, too old or wrong",
            )
            .hint("`mwan web init` as root makes another"));
        };
        self.right(peer, standing);
        info!("password of {name} set by the one-time link from {}", shown(peer));
        let accounts = self.accounts()?;
        let user = accounts.user(&name);
        let user = user.ok_or_else(|| ApiError::unavailable("the new user cannot be found"))?;
        Ok(self.begin_session(peer, user))
    }

    /// Ends the session of who asks, and returns the cookie that takes the present one away.
    pub(crate) fn log_out(&self, peer: Peer, who: &Principal) -> String {
        if let By::Session(key) = who.by {
            self.sessions.lock().unwrap_or_else(PoisonError::into_inner).end(key);
        }
        format!("{}; Max-Age=0", set_cookie(peer, ""))
    }

    fn limiter(&self) -> MutexGuard<'_, Limiter> {
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limit(&self, peer: Peer) -> Result<Standing, ApiError> {
        let taken = self.limiter().take(source_of(peer), Instant::now());
        taken.map_err(|wait| {
            let wait_s = wait.as_secs() + 1;
            ApiError::too_many("too many attempts to log in", wait_s)
        })
    }

    fn give_back(&self, peer: Peer, standing: Standing) {
        self.limiter().give_back(source_of(peer), standing);
    }

    fn right(&self, peer: Peer, standing: Standing) {
        self.limiter().right(source_of(peer), standing, Instant::now());
    }

    /// Hashes in a thread, one at a time of a lane: the requests of others go on meanwhile. What finds no place there was no guess.
    async fn hashing<T: Send + 'static>(
        &self,
        peer: Peer,
        standing: Standing,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let busy = || {
            self.give_back(peer, standing);
            ApiError::too_many("too many attempts to log in at once", 1)
        };
        let lane = match standing {
            Standing::Known => &self.known,
            Standing::Clean => &self.clean,
            Standing::Suspect => &self.suspect,
        };
        let _waiting = lane.places.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = lane.turn.clone().acquire_owned().await.map_err(|_| busy())?;
        let work = move || {
            // Held by the thread: a client that goes away does not make room for a second one.
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| busy())
    }
}

/// As whom somebody guesses. Who is at the Unix socket is an operator, and not to find out an administrator's password.
fn source_of(peer: Peer) -> IpAddr {
    peer.address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}

/// Whether a request may change something: a session's cookie alone does not say that its user wants it.
pub(crate) fn check_csrf(session: Option<&Session>, headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(session) = session else { return Ok(()) };
    let shown = headers.get("x-csrf-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if same(shown, session.csrf.reveal()) {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "csrf", "the request does not carry the session's X-CSRF-Token")
        .hint("it is in the answer to login and to GET /api/v1/session"))
}

fn cookie(headers: &HeaderMap, peer: Peer) -> Option<&str> {
    let wanted = if peer.tls { COOKIE_TLS } else { COOKIE_PLAIN };
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.into_iter().find(|(name, _)| *name == wanted).map(|(_, value)| value)
}

fn set_cookie(peer: Peer, value: &str) -> String {
    let (name, secure) = if peer.tls { (COOKIE_TLS, "; Secure") } else { (COOKIE_PLAIN, "") };
    format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}")
}

fn shown(peer: Peer) -> String {
    peer.address.map_or_else(|| "this machine".to_owned(), |address| address.to_string())
}

/// Accounts cannot be read or changed. What exactly is for the log, not for whoever asks.
fn broken(error: &AccountsError) -> ApiError {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}")).unwrap_or_default();
    warn!("accounts: {error}{cause}");
    match error {
        AccountsError::Refused(why) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "refused", why.clone())
        }
        _ => ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "accounts", "the accounts cannot be read")
            .hint("the log says why"),
    }
}

/// Seconds since 1970.
pub(crate) fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn a_crowd_that_logs_in_keeps_nobody_waiting_who_has_before() {
        let folder = tempfile::tempdir().unwrap();
        Store::new(folder.path())
            .change(|accounts| accounts.set_user("ann", Role::Admin, "correct horse"))
            .unwrap();
        let auth = Auth::new(folder.path(), Duration::from_secs(60));
        let log_in = async |last: u8| {
            let peer = Peer { address: Some(IpAddr::from([192, 0, 2, last])), local: None, tls: true };
            auth.log_in(peer, "ann", "correct horse".to_owned()).await.map(|done| done.session.user)
        };
        assert_eq!(log_in(1).await.unwrap(), "ann");
        let places = u32::try_from(CLEAN_CHECKS_MAX).unwrap();
        let crowd = auth.clean.places.clone().acquire_many_owned(places).await.unwrap();
        let turn = auth.clean.turn.clone().acquire_owned().await.unwrap();
        assert_eq!(log_in(1).await.unwrap(), "ann");
        for _ in 0..20 {
            assert!(log_in(2).await.unwrap_err().json().to_string().contains("at once"), "it was no guess");
        }
        drop((crowd, turn));
        assert_eq!(log_in(2).await.unwrap(), "ann");
    }
}
