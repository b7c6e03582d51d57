//! Real traffic: threads inside the nodes that send, answer and keep count of every single message.

mod clients;
mod servers;
mod stats;

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use servers::serve;
pub use stats::{ConnStats, Counts};

use crate::capture::{FlowId, TCP, UDP};
use crate::netns::{Netns, NetnsError};
use crate::stats::Rng;

/// What a flow does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// Persistent TCP connections that exchange a message every interval and reconnect by themselves.
    TcpLong,
    /// UDP with one source port each, a message every interval.
    UdpStream,
    /// A UDP message every interval, each from a source port of its own.
    UdpNew,
    /// Many TCP connections of one message.
    TcpShort,
    /// Many UDP exchanges of one message.
    UdpShort,
    /// ICMP echo.
    Ping,
}

impl Kind {
    /// IP protocol of the flow; none for pings, which are known by their payload.
    pub fn protocol(self) -> Option<u8> {
        match self {
            Kind::TcpLong | Kind::TcpShort => Some(TCP),
            Kind::UdpStream | Kind::UdpNew | Kind::UdpShort => Some(UDP),
            Kind::Ping => None,
        }
    }

    /// It ends by itself after `count`.
    pub fn is_finite(self) -> bool {
        matches!(self, Kind::TcpShort | Kind::UdpShort)
    }
}

/// What a scenario asks for.
#[derive(Clone, PartialEq, Debug)]
pub struct FlowSpec {
    /// Name in the scenario.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Connections (short: in total; others: in parallel).
    pub count: u32,
    /// Time between messages of one connection (short: between starts, 0 as fast as possible).
    pub interval: Duration,
    /// How long an application waits for an answer before it gives up.
    pub timeout: Duration,
    /// Sending node.
    pub from: String,
    /// Destination.
    pub to: IpAddr,
    /// Destination port; none: one of its own.
    pub port: Option<u16>,
    /// Device the sockets are bound to.
    pub device: Option<String>,
    /// Source address the sockets are bound to.
    pub source: Option<IpAddr>,
    /// Serving node and address where they differ from the destination (a port forward).
    pub server: Option<(String, SocketAddr)>,
    /// The scenario goes on at once; else it waits until a short flow is through.
    pub background: bool,
}

impl FlowSpec {
    /// The usual flow of a kind, from the client; its destination is still to be said.
    pub fn new(name: &str, kind: Kind) -> FlowSpec {
        let interval_ms = match kind {
            Kind::TcpLong | Kind::Ping => 100,
            Kind::UdpStream | Kind::UdpNew => 10,
            Kind::TcpShort | Kind::UdpShort => 0,
        };
        FlowSpec {
            name: name.to_owned(),
            kind,
            count: if kind.is_finite() { 100 } else { 1 },
            interval: Duration::from_millis(interval_ms),
            timeout: Duration::from_secs(1),
            from: "client".into(),
            to: IpAddr::from([0, 0, 0, 0]),
            port: None,
            device: None,
            source: None,
            server: None,
            background: false,
        }
    }
}

/// A flow at work.
pub struct Flow {
    /// Its number in captures.
    pub id: FlowId,
    /// What was asked for.
    pub spec: FlowSpec,
    /// When it began.
    pub started: Instant,
    shared: Arc<Shared>,
}

/// What the threads of one flow share.
pub(crate) struct Shared {
    pub(crate) id: FlowId,
    pub(crate) spec: FlowSpec,
    pub(crate) to: SocketAddr,
    pub(crate) stop: AtomicBool,
    pub(crate) running: AtomicUsize,
    pub(crate) next: AtomicUsize,
    pub(crate) conns: Vec<Mutex<ConnStats>>,
}

impl Shared {
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    pub(crate) fn conn(&self, index: usize) -> MutexGuard<'_, ConnStats> {
        self.conns[index].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Workers of a short flow: enough to be quick, few enough for two cores.
const SHORT_WORKERS: usize = 8;

impl Flow {
    /// Starts its threads in `ns`.
    pub fn start(id: FlowId, spec: FlowSpec, port: u16, ns: &Arc<Netns>) -> Result<Flow, NetnsError> {
        let threads = match spec.kind {
            Kind::TcpShort | Kind::UdpShort => SHORT_WORKERS,
            Kind::UdpNew => 1,
            _ => spec.count.max(1) as usize,
        };
        let shared = Arc::new(Shared {
            id,
            to: SocketAddr::new(spec.to, port),
            spec: spec.clone(),
            stop: AtomicBool::new(false),
            running: AtomicUsize::new(threads),
            next: AtomicUsize::new(0),
            conns: (0..threads).map(|_| Mutex::new(ConnStats::new(spec.interval))).collect(),
        });
        for index in 0..threads {
            let shared = Arc::clone(&shared);
            ns.spawn(move || {
                clients::run(&shared, index);
                shared.running.fetch_sub(1, Ordering::Relaxed);
            })?;
        }
        Ok(Flow { id, spec, started: Instant::now(), shared })
    }

    /// Ends it; what it counted stays.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }

    /// A finite flow is through.
    pub fn done(&self) -> bool {
        self.shared.running.load(Ordering::Relaxed) == 0
    }

    /// Forgets all counts and outages so far; connections stay.
    pub fn reset(&self) {
        for index in 0..self.shared.conns.len() {
            self.shared.conn(index).reset();
        }
    }

    /// Sums over all its connections.
    pub fn totals(&self) -> Counts {
        let mut totals = Counts::default();
        for index in 0..self.shared.conns.len() {
            totals.add(&mut self.shared.conn(index), Instant::now());
        }
        totals
    }

    /// Messages neither answered nor given up yet that were sent before `moment`.
    pub fn undecided(&self, moment: Instant) -> usize {
        let now = Instant::now();
        (0..self.shared.conns.len()).map(|i| self.shared.conn(i).undecided(moment, now)).sum()
    }

    /// Whether every connection has been answered since `reference`, and the longest time after it that one
    /// of them needed; connections that never fell silent need none.
    pub fn recovery(&self, reference: Instant) -> (bool, Duration) {
        let now = Instant::now();
        let mut all = (true, Duration::ZERO);
        for index in 0..self.shared.conns.len() {
            let (well, took) = self.shared.conn(index).recovery(reference, now);
            all = (all.0 && well, all.1.max(took));
        }
        all
    }

    /// Connections that answer right now.
    pub fn alive(&self) -> (usize, usize) {
        let now = Instant::now();
        let alive = (0..self.shared.conns.len()).filter(|i| !self.shared.conn(*i).silent(now)).count();
        (alive, self.shared.conns.len())
    }
}

/// Inbound probing from the far end, as every public address sees it all day: UDP and TCP to random ports.
pub fn scan(
    inet: &Arc<Netns>,
    targets: Vec<IpAddr>,
    every: Duration,
    seed: u64,
) -> Result<Arc<AtomicBool>, NetnsError> {
    let stop = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&stop);
    inet.spawn(move || clients::scan(&targets, every, &mut Rng::new(seed), &flag))?;
    Ok(stop)
}
