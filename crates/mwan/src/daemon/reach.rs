//! `--must-reach`: whether the router itself reaches what its owner named, with the configuration that is in force now.

use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use mwan_api::Reached;
use mwan_config::sort_short;
use mwan_linux::reach::{connect, ping};

/// So long is tried: a path that is new has to answer before it carries.
pub(super) const REACH_MAX: Duration = Duration::from_secs(10);
/// Of one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Characters of what is no target that are repeated.
const QUOTE_MAX: usize = 100;
/// Between two.
const PAUSE: Duration = Duration::from_millis(200);

/// What is to be reached, and how.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    Ping(IpAddr),
    Tcp(SocketAddr),
}

impl Target {
    /// `ADDRESS`, `ADDRESS/ping` or `ADDRESS:PORT/tcp`.
    ///
    /// # Errors
    /// It is none of them.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let target = match text.strip_suffix("/tcp") {
            Some(socket) => socket.parse().ok().filter(|s: &SocketAddr| s.port() != 0).map(Target::Tcp),
            None => text.strip_suffix("/ping").unwrap_or(text).parse().ok().map(Target::Ping),
        };
        target.ok_or_else(|| {
            format!(
                "'{}' is no target: an address to be pinged (1.1.1.1), or with a port 1.1.1.1:443/tcp, [2001:db8::1]:443/tcp",
                text.chars().take(QUOTE_MAX).collect::<String>().escape_debug()
            )
        })
    }

    pub(super) fn attempt(self, timeout: Duration) -> std::io::Result<Duration> {
        match self {
            Target::Ping(ip) => ping(ip, timeout),
            Target::Tcp(socket) => connect(socket, timeout),
        }
    }

    /// Tries until it answers or the time is over.
    fn reach(self, name: &str, limit: Duration) -> Reached {
        let (begin, mut error) = (Instant::now(), None);
        loop {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Reached { target: name.to_owned(), rtt_us: None, error };
            }
            match self.attempt(ATTEMPT.min(left)) {
                Ok(rtt) => {
                    let rtt_us = Some(u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX));
                    return Reached { target: name.to_owned(), rtt_us, error: None };
                }
                Err(failed) => error = Some(failed.to_string()),
            }
            std::thread::sleep(PAUSE.min(limit.saturating_sub(begin.elapsed())));
        }
    }
}

/// All of them at once, in the order given.
pub(super) fn reach_all(targets: &[(String, Target)], limit: Duration) -> Vec<Reached> {
    let results: Mutex<Vec<(usize, Reached)>> = Mutex::default();
    let one = |at: usize, name: &str, target: Target| {
        let reached = target.reach(name, limit);
        results.lock().unwrap_or_else(PoisonError::into_inner).push((at, reached));
    };
    std::thread::scope(|scope| {
        let one = &one;
        for (at, (name, target)) in targets.iter().enumerate() {
            let work = move || one(at, name, *target);
            if std::thread::Builder::new().name("reach".to_owned()).spawn_scoped(scope, work).is_err() {
                one(at, name, *target);
            }
        }
    });
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    sort_short(&mut results, |(at, _)| *at);
    results.into_iter().map(|(_, reached)| reached).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn targets_are_addresses_with_or_without_a_port() {
        let ip = |text: &str| Ok(Target::Ping(text.parse().unwrap()));
        let tcp = |text: &str| Ok(Target::Tcp(text.parse().unwrap()));
        assert_eq!(Target::parse("1.1.1.1"), ip("1.1.1.1"));
        assert_eq!(Target::parse("2001:db8::1/ping"), ip("2001:db8::1"));
        assert_eq!(Target::parse("1.1.1.1:443/tcp"), tcp("1.1.1.1:443"));
        assert_eq!(Target::parse("[2001:db8::1]:443/tcp"), tcp("[2001:db8::1]:443"));
        for wrong in ["", "one", "1.1.1.1:443", "1.1.1.1/tcp", "1.1.1.1:0/tcp", "1.1.1.1/udp", "1.1.1.1/24"] {
            assert!(Target::parse(wrong).unwrap_err().contains("is no target"), "{wrong}");
        }
        assert!(Target::parse(&"\u{1}".repeat(1 << 20)).unwrap_err().len() < 2000);
    }

    #[test]
    fn a_listener_is_reached_and_a_closed_port_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap();
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let targets = [("closed".to_owned(), Target::Tcp(closed)), ("open".to_owned(), Target::Tcp(open))];
        let reached = reach_all(&targets, Duration::from_millis(300));
        assert_eq!((reached[0].target.as_str(), reached[0].rtt_us), ("closed", None));
        assert!(reached[0].error.as_ref().unwrap().contains("refused"), "{reached:?}");
        assert!(reached[1].rtt_us.is_some() && reached[1].error.is_none());
    }
}
