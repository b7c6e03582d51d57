//! Who is logged in: in memory, for as long as they do something, and not for ever.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::secret::{Digest, Secret, digest};

/// Sessions at once. Beyond, the one that was used longest ago ends.
const SESSIONS_MAX: usize = 256;
/// Of one user, likewise: his forgotten ones do not end those of others.
const PER_USER_MAX: usize = 32;
/// However busy, a session ends after this.
const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);

/// What names a session without being the secret that opens it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct SessionKey(Digest);

impl SessionKey {
    /// Of what a cookie holds.
    pub(crate) fn of(cookie: &str) -> Self {
        SessionKey(digest(cookie.as_bytes()))
    }
}

/// Somebody is logged in.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    /// Who.
    pub(crate) user: String,
    /// What requests that change something have to carry.
    pub(crate) csrf: Secret,
    /// Digest of the password's hash when he logged in: another password ends the session.
    pub(crate) password: Digest,
    begun: Instant,
    used: Instant,
}

/// Everybody who is logged in.
#[derive(Debug)]
pub(crate) struct Sessions {
    idle: Duration,
    sessions: HashMap<SessionKey, Session>,
}

impl Sessions {
    /// `idle`: a session nobody uses for so long ends.
    pub(crate) fn new(idle: Duration) -> Self {
        Sessions { idle, sessions: HashMap::new() }
    }

    /// A new session, whatever its user had before: an id that somebody else set beforehand opens nothing. Returns the cookie's
    /// value and the session.
    pub(crate) fn begin(&mut self, user: &str, password: Digest, now: Instant) -> (Secret, Session) {
        self.sessions.retain(|_, session| is_alive(session, self.idle, now));
        if self.sessions.values().filter(|session| session.user == user).count() >= PER_USER_MAX {
            self.end_oldest(|session| session.user == user);
        }
        if self.sessions.len() >= SESSIONS_MAX {
            self.end_oldest(|_| true);
        }
        let id = Secret::random();
        let session =
            Session { user: user.to_owned(), csrf: Secret::random(), password, begun: now, used: now };
        self.sessions.insert(SessionKey::of(id.reveal()), session.clone());
        (id, session)
    }

    fn end_oldest(&mut self, among: impl Fn(&Session) -> bool) {
        let oldest = self.sessions.iter().filter(|(_, s)| among(s)).min_by_key(|(_, s)| s.used);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.sessions.remove(&key);
        }
    }

    /// The session a cookie opens. `touch`: this counts as use.
    pub(crate) fn find(&mut self, key: SessionKey, touch: bool, now: Instant) -> Option<&Session> {
        if self.sessions.get(&key).is_some_and(|session| !is_alive(session, self.idle, now)) {
            self.sessions.remove(&key);
        }
        let session = self.sessions.get_mut(&key)?;
        if touch {
            session.used = now;
        }
        Some(session)
    }

    /// Ends a session.
    pub(crate) fn end(&mut self, key: SessionKey) {
        self.sessions.remove(&key);
    }
}

fn is_alive(session: &Session, idle: Duration, now: Instant) -> bool {
    now.duration_since(session.used) < idle && now.duration_since(session.begun) < ABSOLUTE
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const IDLE: Duration = Duration::from_secs(600);

    fn begin(sessions: &mut Sessions, user: &str, now: Instant) -> SessionKey {
        SessionKey::of(sessions.begin(user, digest(b"hash"), now).0.reveal())
    }

    #[test]
    fn a_session_ends_when_nobody_uses_it_and_in_any_case_after_half_a_day() {
        let start = Instant::now();
        let mut sessions = Sessions::new(IDLE);
        let key = begin(&mut sessions, "ann", start);
        let idle = start + IDLE - Duration::from_secs(1);
        assert!(sessions.find(key, false, idle).is_some());
        assert!(sessions.find(key, false, start + IDLE).is_none(), "a look is no use");
        let key = begin(&mut sessions, "ann", start);
        let mut now = start;
        while now < start + ABSOLUTE {
            assert_eq!(sessions.find(key, true, now).unwrap().user, "ann");
            now += Duration::from_secs(300);
        }
        assert!(sessions.find(key, true, now).is_none());
        assert!(sessions.sessions.is_empty());
    }

    #[test]
    fn ids_are_long_random_and_not_kept() {
        let mut sessions = Sessions::new(IDLE);
        let now = Instant::now();
        let ids: std::collections::BTreeSet<String> =
            (0..20).map(|_| sessions.begin("ann", digest(b""), now).0.reveal().to_owned()).collect();
        assert_eq!(ids.len(), 20);
        assert!(ids.iter().all(|id| id.len() == 64), "256 bits");
        let kept = format!("{sessions:?}");
        assert!(ids.iter().all(|id| !kept.contains(id)), "neither the table nor a log has them");
    }

    #[test]
    fn memory_is_bounded_and_one_user_does_not_push_others_out() {
        let start = Instant::now();
        let mut sessions = Sessions::new(IDLE);
        let ann = begin(&mut sessions, "ann", start);
        for n in 1..1000 {
            begin(&mut sessions, "bob", start + Duration::from_millis(n));
        }
        assert!(sessions.find(ann, false, start).is_some());
        assert_eq!(sessions.sessions.len(), 1 + PER_USER_MAX);
        for n in 0..1000 {
            begin(&mut sessions, &format!("user{n}"), start + Duration::from_secs(2));
        }
        assert_eq!(sessions.sessions.len(), SESSIONS_MAX);
        sessions.end(ann);
        assert!(sessions.find(ann, false, start).is_none());
    }
}
