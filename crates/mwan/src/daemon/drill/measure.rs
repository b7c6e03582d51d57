//! What is measured by threads of their own: names and targets, again and again, and connections, which are counted.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use mwan_api::{DrillTest, DrillTries};
use mwan_core::{Marks, PathKey};
use mwan_linux::conntrack::{Conntrack, ConntrackError};
use mwan_linux::reach::resolve;
use tokio::sync::mpsc::UnboundedSender;
use tracing::warn;

use super::super::reach::Target;
use crate::cli::Failure;

/// Of one attempt.
const ATTEMPT: Duration = Duration::from_secs(2);
/// Between two.
const PAUSE: Duration = Duration::from_millis(500);
/// Before the drill, one lost packet says nothing.
const TRIES_BEFORE: u32 = 3;
/// Resolvers that are asked: as many as the C library knows (resolv.conf(5), MAXNS).
const RESOLVERS_MAX: usize = 3;
/// Where they are.
const RESOLV_CONF: &str = "/etc/resolv.conf";
const DNS_PORT: u16 = 53;

/// Something that has to work.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Test {
    /// As it is told.
    pub(super) name: String,
    how: How,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum How {
    /// A name below this one, each time another: what a resolver remembers proves nothing.
    Dns {
        name: String,
        servers: Vec<SocketAddr>,
    },
    Reach(Target),
}

impl Test {
    /// Names, by this machine's resolvers; `None` if it has none.
    pub(super) fn dns(name: &str) -> Option<Test> {
        let servers = resolvers(&std::fs::read_to_string(RESOLV_CONF).unwrap_or_default());
        if servers.is_empty() {
            return None;
        }
        let list: Vec<String> = servers.iter().map(|server| server.ip().to_string()).collect();
        let told = format!("dns {name} by {}", list.join(", "));
        Some(Test { name: told, how: How::Dns { name: name.to_owned(), servers } })
    }

    /// A target.
    pub(super) fn reach(text: &str, target: Target) -> Test {
        Test { name: text.to_owned(), how: How::Reach(target) }
    }

    fn attempt(&self, label: &str) -> Result<(), String> {
        match &self.how {
            How::Reach(target) => target.attempt(ATTEMPT).map(drop).map_err(|e| e.to_string()),
            How::Dns { name, servers } => {
                // All of them together have as long as one target.
                let timeout = ATTEMPT / u32::try_from(servers.len()).unwrap_or(1).max(1);
                let mut error = String::new();
                for server in servers {
                    match resolve(*server, &format!("{label}.{name}"), timeout) {
                        Ok(_) => return Ok(()),
                        Err(failed) => error = format!("{}: {failed}", server.ip()),
                    }
                }
                Err(error)
            }
        }
    }
}

/// The name servers of a resolv.conf(5), as many as anybody asks.
fn resolvers(text: &str) -> Vec<SocketAddr> {
    let address = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let ip: IpAddr = words.next().filter(|word| *word == "nameserver").and(words.next())?.parse().ok()?;
        Some(SocketAddr::new(ip, DNS_PORT))
    };
    text.lines().filter_map(address).take(RESOLVERS_MAX).collect()
}

/// What is heard of the threads.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Everything was tried before the drill.
    Ready {
        /// Of which drill.
        number: u64,
    },
    /// Connections by path.
    Counted {
        /// Of which drill.
        number: u64,
        /// Before it began.
        before: bool,
        /// How many.
        counts: Vec<(PathKey, usize)>,
    },
}

/// Where traffic is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Stage {
    /// The drill has not begun.
    Before,
    /// Nobody has noticed yet.
    Unseen,
    /// Others carry.
    Away,
    /// It is back.
    Back,
}

struct Shared {
    number: u64,
    stage: Mutex<(Stage, Instant)>,
    results: Mutex<Vec<DrillTest>>,
    over: AtomicBool,
    /// Threads that have not done what comes before.
    preparing: AtomicUsize,
}

/// The threads' handle; they end when it is dropped.
pub(super) struct Testers {
    shared: Arc<Shared>,
    marks: Marks,
}

impl Drop for Testers {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
    }
}

impl Testers {
    /// Starts them. When each has tried its test and connections are counted, [`Heard::Ready`] is told.
    pub(super) fn start(
        number: u64,
        tests: Vec<Test>,
        paths: &[PathKey],
        marks: Marks,
        tell: &UnboundedSender<Heard>,
    ) -> Self {
        let results = tests.iter().map(|test| DrillTest {
            what: test.name.clone(),
            before: false,
            unseen: DrillTries::default(),
            away: DrillTries::default(),
            back: DrillTries::default(),
            error: None,
        });
        let shared = Arc::new(Shared {
            number,
            stage: Mutex::new((Stage::Before, Instant::now())),
            results: Mutex::new(results.collect()),
            over: AtomicBool::new(false),
            preparing: AtomicUsize::new(tests.len() + 1),
        });
        let testers = Testers { shared: shared.clone(), marks };
        for (index, test) in tests.into_iter().enumerate() {
            let (shared, tell) = (shared.clone(), tell.clone());
            let work = {
                let (shared, tell) = (shared.clone(), tell.clone());
                move || shared.run(index, &test, &tell)
            };
            if !spawned(work) {
                shared.prepared(&tell);
            }
        }
        testers.count_in_thread(paths, None, tell);
        testers
    }

    /// Counts connections in a while.
    pub(super) fn count(&self, paths: &[PathKey], after: Duration, tell: &UnboundedSender<Heard>) {
        self.count_in_thread(paths, Some(after), tell);
    }

    fn count_in_thread(&self, paths: &[PathKey], after: Option<Duration>, tell: &UnboundedSender<Heard>) {
        let (shared, tell, paths, marks) = (self.shared.clone(), tell.clone(), paths.to_vec(), self.marks);
        let work = {
            let (shared, tell) = (shared.clone(), tell.clone());
            move || {
                thread::sleep(after.unwrap_or_default());
                match counted(&paths, marks) {
                    Ok(counts) => {
                        // Nobody listens any more: nobody minds.
                        let heard = Heard::Counted { number: shared.number, before: after.is_none(), counts };
                        let _ = tell.send(heard);
                    }
                    Err(error) => warn!("drill: {}", Failure::new("cannot count connections", &error)),
                }
                if after.is_none() {
                    shared.prepared(&tell);
                }
            }
        };
        if !spawned(work) && after.is_none() {
            shared.prepared(&tell);
        }
    }

    /// Traffic is elsewhere from now on.
    pub(super) fn enter(&self, stage: Stage) {
        let mut present = lock(&self.shared.stage);
        if present.0 != stage {
            *present = (stage, Instant::now());
        }
    }

    /// The first of these tests that did not succeed before.
    pub(super) fn missing(&self, required: &[String]) -> Option<String> {
        let results = lock(&self.shared.results);
        let missing = results.iter().find(|test| !test.before && required.contains(&test.what))?;
        let why = missing.error.as_ref().map(|error| format!(" ({error})")).unwrap_or_default();
        Some(format!("{}{why}", missing.what))
    }

    /// As they are now.
    pub(super) fn results(&self) -> Vec<DrillTest> {
        lock(&self.shared.results).clone()
    }
}

impl Shared {
    fn run(&self, index: usize, test: &Test, tell: &UnboundedSender<Heard>) {
        let mut tries = 0;
        for _ in 0..TRIES_BEFORE {
            let tried = test.attempt(&self.label(index, &mut tries));
            let mut results = lock(&self.results);
            results[index].before = tried.is_ok();
            results[index].error = tried.err();
            if results[index].before {
                break;
            }
        }
        self.prepared(tell);
        while !self.over.load(Ordering::Acquire) {
            let (stage, since) = *lock(&self.stage);
            let tried = test.attempt(&self.label(index, &mut tries));
            self.note(index, stage, since, tried);
            thread::sleep(PAUSE);
        }
    }

    /// A label that nobody has asked for before.
    fn label(&self, index: usize, tries: &mut u32) -> String {
        *tries += 1;
        format!("mwan-drill-{}-{index}-{tries}-{}", self.number, super::now_ms())
    }

    fn note(&self, index: usize, stage: Stage, since: Instant, tried: Result<(), String>) {
        let mut results = lock(&self.results);
        let test = &mut results[index];
        let tries = match stage {
            Stage::Before => return,
            Stage::Unseen => &mut test.unseen,
            Stage::Away => &mut test.away,
            Stage::Back => &mut test.back,
        };
        match tried {
            Ok(()) => {
                tries.good += 1;
                let took = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tries.first_ms.get_or_insert(took);
            }
            Err(error) => {
                tries.bad += 1;
                test.error = Some(error);
            }
        }
    }

    /// The last one tells.
    fn prepared(&self, tell: &UnboundedSender<Heard>) {
        if self.preparing.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = tell.send(Heard::Ready { number: self.number });
        }
    }
}

fn spawned(work: impl FnOnce() + Send + 'static) -> bool {
    let spawned = thread::Builder::new().name("drill".to_owned()).spawn(work);
    spawned.inspect_err(|error| warn!("cannot start a thread of the drill: {error}")).is_ok()
}

fn counted(paths: &[PathKey], marks: Marks) -> Result<Vec<(PathKey, usize)>, ConntrackError> {
    let mut conntrack = Conntrack::open()?;
    let mut count =
        |key: &PathKey| Ok((*key, conntrack.count_by_mark(key.family, marks.of(key.id), marks.mask())?));
    paths.iter().map(&mut count).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn resolvers_are_those_of_the_file() {
        let text = "# nameserver 192.0.2.9\nsearch lan\nnameserver 127.0.0.1\nnameserver\tfe80::1%eth0\n \
                    nameserver 2001:db8::1 # comment\nnameserver 192.0.2.1\nnameserver 192.0.2.2\n";
        let found: Vec<String> = resolvers(text).iter().map(ToString::to_string).collect();
        assert_eq!(found, ["127.0.0.1:53", "[2001:db8::1]:53", "192.0.2.1:53"]);
        assert_eq!(resolvers("options edns0"), []);
    }

    #[test]
    fn attempts_count_for_where_traffic_was_when_they_began() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let text = format!("{}/tcp", listener.local_addr().unwrap());
        let test = Test::reach(&text, Target::parse(&text).unwrap());
        let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let testers = Testers::start(7, vec![test], &[], Marks::new(0x3F00), &tell);
        loop {
            match heard.blocking_recv() {
                Some(Heard::Ready { number: 7 }) => break,
                Some(Heard::Counted { before: true, .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(testers.missing(std::slice::from_ref(&text)), None);
        testers.enter(Stage::Away);
        while testers.results()[0].away.good < 2 {
            thread::yield_now();
        }
        drop(listener);
        testers.enter(Stage::Back);
        while testers.results()[0].back.bad == 0 {
            thread::yield_now();
        }
        let test = testers.results().remove(0);
        assert!(test.before && test.away.first_ms.is_some() && test.unseen == DrillTries::default());
        assert_eq!(test.back.first_ms, None);
        assert!(test.error.unwrap().contains("refused"));
    }

    #[test]
    fn what_did_not_answer_before_is_missing() {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = format!("{closed}/tcp");
        let test = Test::reach(&text, Target::parse(&text).unwrap());
        let (tell, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let testers = Testers::start(1, vec![test], &[], Marks::new(0x3F00), &tell);
        while !matches!(heard.blocking_recv().unwrap(), Heard::Ready { .. }) {}
        assert!(testers.missing(std::slice::from_ref(&text)).unwrap().starts_with(&format!("{text} (")));
        assert_eq!(testers.missing(&[]), None);
    }
}
