//! Probes, in this process: one task per path, which asks all targets of a round at once. Pings of a path share a raw
//! socket, and so do its link probes; every other probe has a socket of its own for as long as it takes.

pub(crate) mod dns;
mod http;
mod link;
mod methods;
pub(crate) mod packet;
#[cfg(feature = "tls")]
mod tls;

use std::collections::{BTreeMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;
use std::time::Duration;

use mwan_config::{Family, ProbeMethod};
use mwan_core::{PathKey, ProbeReport, ProbeRequest};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use self::link::{LinkProber, LinkSocket};
use self::methods::Way;
use self::packet::{COOKIE, Received};
use crate::netlink::errno_text;
use crate::sys;

/// Requests that may wait for a path's task; it takes each at once, so more means that it hangs.
const REQUESTS_MAX: usize = 16;
/// Probes of a path that may be on their way; the oldest is given up for a new one. Sequence numbers have 16 bits.
const PENDING_MAX: usize = 4096;
/// Probes of a path with a socket of their own at the same time: as many as there may be targets.
const SOCKETS_MAX: usize = 64;
/// Characters of an error that are told: some of its words come from outside.
const ERROR_MAX: usize = 200;
/// How long after its timeout a probe is remembered: a reply that the kernel stamped in time counts even if we are
/// late to look.
const GRACE: Duration = Duration::from_secs(1);
/// Room for some thousand replies; more only costs memory.
const RECEIVE_BUFFER: usize = 64 * 1024;
/// If the wall clock and the monotonic clock disagree by more about how long a reply took, the wall clock (which
/// stamps packets) was set.
const CLOCK_STEP: Duration = Duration::from_millis(5);

/// Sends probes and reports what became of them. Must live inside a tokio runtime.
pub struct Prober {
    reports: mpsc::UnboundedSender<ProbeReport>,
    key: RandomState,
    paths: BTreeMap<PathKey, PathTask>,
}

struct PathTask {
    requests: mpsc::Sender<ProbeRequest>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PathTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Prober {
    /// Reports go to `reports`.
    pub fn new(reports: mpsc::UnboundedSender<ProbeReport>) -> Self {
        Prober { reports, key: RandomState::new(), paths: BTreeMap::new() }
    }

    /// Starts a round. Probes of the path's last round that were not sent yet never will be; replies to those that
    /// were are still reported.
    pub fn start(&mut self, request: ProbeRequest) {
        let path = request.path;
        let running = self.paths.get(&path).is_some_and(|p| !p.task.is_finished());
        if !running {
            let (requests, incoming) = mpsc::channel(REQUESTS_MAX);
            let state = PathProber::new(self.reports.clone(), self.key.clone());
            self.paths.insert(path, PathTask { requests, task: tokio::spawn(state.run(incoming)) });
        }
        let Some(task) = self.paths.get(&path) else { return };
        if let Err(e) = task.requests.try_send(request) {
            let (mpsc::error::TrySendError::Full(request) | mpsc::error::TrySendError::Closed(request)) = e;
            for target in 0..request.targets.len() {
                let error = "the prober is overloaded".to_owned();
                let failed = ProbeReport::Failed { path, round: request.round, target, sequence: 0, error };
                // Nobody listens any more: nobody minds.
                let _ = self.reports.send(failed);
            }
        }
    }

    /// Stops probing a path and closes its socket.
    pub fn forget(&mut self, path: PathKey) {
        self.paths.remove(&path);
    }
}

/// What a socket is made for; another of these needs another socket.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Binding {
    device: String,
    source: Option<IpAddr>,
    mark: u32,
    ttl: u8,
}

struct PathSocket {
    fd: AsyncFd<Socket>,
    binding: Binding,
    scope: u32,
}

/// A probe on its way.
struct Pending {
    round: u64,
    target: usize,
    sequence: u32,
    address: IpAddr,
    cookie: [u8; COOKIE],
    size: u16,
    sent: Instant,
    sent_realtime_ns: u64,
    timeout: Duration,
    answered: bool,
}

/// The rest of a round.
struct Round {
    request: ProbeRequest,
    sequence: u32,
    next: Instant,
}

struct PathProber {
    reports: mpsc::UnboundedSender<ProbeReport>,
    key: RandomState,
    id: u16,
    socket: Option<PathSocket>,
    link: LinkProber,
    /// Probes with a socket of their own.
    others: JoinSet<()>,
    /// Consecutive sequence numbers, the first is `oldest`.
    pending: VecDeque<Pending>,
    oldest: u16,
    round: Option<Round>,
    path: Option<PathKey>,
    buffer: Vec<u8>,
    packet: Vec<u8>,
}

/// Waits until the socket is readable; for ever if there is none.
async fn readable(socket: Option<&PathSocket>) {
    match socket {
        Some(socket) => {
            if let Ok(mut ready) = socket.fd.readable().await {
                // Cleared before reading: what arrives from now on makes it ready again.
                ready.clear_ready();
            }
        }
        None => std::future::pending().await,
    }
}

async fn link_readable(socket: Option<&LinkSocket>) {
    match socket {
        Some(socket) => {
            if let Ok(mut ready) = socket.fd.readable().await {
                ready.clear_ready();
            }
        }
        None => std::future::pending().await,
    }
}

async fn due(round: Option<&Round>) {
    match round {
        Some(round) => tokio::time::sleep_until(round.next).await,
        None => std::future::pending().await,
    }
}

impl PathProber {
    fn new(reports: mpsc::UnboundedSender<ProbeReport>, key: RandomState) -> Self {
        let mut id = [0; 2];
        // Without randomness a foreign ping with the same identifier would wake us; nothing else.
        let _ = sys::random(&mut id);
        PathProber {
            reports,
            key,
            id: u16::from_ne_bytes(id),
            socket: None,
            link: LinkProber::default(),
            others: JoinSet::new(),
            pending: VecDeque::new(),
            oldest: 0,
            round: None,
            path: None,
            buffer: vec![0; 2048],
            packet: Vec::new(),
        }
    }

    async fn run(mut self, mut requests: mpsc::Receiver<ProbeRequest>) {
        loop {
            tokio::select! {
                request = requests.recv() => match request {
                    Some(request) => self.begin(request),
                    None => return,
                },
                () = readable(self.socket.as_ref()) => self.receive(),
                () = link_readable(self.link.socket.as_ref()) => self.receive_link(),
                Some(_) = self.others.join_next(), if !self.others.is_empty() => {}
                () = due(self.round.as_ref()) => self.send_due(),
            }
        }
    }

    fn begin(&mut self, request: ProbeRequest) {
        self.path = Some(request.path);
        self.forget_old();
        // Their round is over, and nobody listens to them any more.
        self.others = JoinSet::new();
        self.link.begin(&request);
        let binding = Binding {
            device: request.device.clone(),
            source: request.source,
            mark: request.mark,
            ttl: request.ttl,
        };
        if self.socket.as_ref().is_some_and(|s| s.binding != binding) {
            // Replies still in the old socket were for another binding, but real.
            self.receive();
            self.socket = None;
        }
        self.round = Some(Round { request, sequence: 0, next: Instant::now() });
        self.send_due();
    }

    /// Sends the round's next probe to every target.
    fn send_due(&mut self) {
        let Some(mut round) = self.round.take() else { return };
        let mut retried = false;
        for target in 0..round.request.targets.len() {
            let mut result = self.ask(&round.request, target, round.sequence);
            if result.is_err() && !retried {
                // A device that was made anew has another index, and the sockets are bound to the old one: once per
                // round it is worth new ones.
                retried = true;
                (self.socket, self.link.socket) = (None, None);
                result = self.ask(&round.request, target, round.sequence);
            }
            if let Err(error) = result {
                let ProbeRequest { path, round: number, .. } = round.request;
                let error = error_text(&error);
                let sequence = round.sequence;
                self.report(ProbeReport::Failed { path, round: number, target, sequence, error });
            }
        }
        round.sequence += 1;
        if round.sequence < round.request.count {
            round.next += round.request.spacing;
            self.round = Some(round);
        }
    }

    fn report(&self, report: ProbeReport) {
        // Nobody listens any more: nobody minds.
        let _ = self.reports.send(report);
    }

    fn ask(&mut self, request: &ProbeRequest, target: usize, sequence: u32) -> io::Result<()> {
        match request.targets[target].method {
            ProbeMethod::Ping => self.send(request, target, sequence),
            ProbeMethod::Neighbour => self.link.send(request, target, sequence),
            _ => self.spawn(request, target, sequence),
        }
    }

    /// Starts a probe with a socket of its own.
    fn spawn(&mut self, request: &ProbeRequest, target: usize, sequence: u32) -> io::Result<()> {
        // Those that are over take no place.
        while self.others.try_join_next().is_some() {}
        if self.others.len() >= SOCKETS_MAX {
            return Err(io::Error::other(format!("{SOCKETS_MAX} probes are under way already")));
        }
        let (path, round, timeout) = (request.path, request.round, request.timeout);
        let (way, asked) = (Way::of(request), request.targets[target].clone());
        let reports = self.reports.clone();
        self.others.spawn(async move {
            let sent = Instant::now();
            let report = match tokio::time::timeout(timeout, methods::ask(&way, &asked)).await {
                Ok(Ok(())) => ProbeReport::Reply { path, round, target, sequence, rtt: sent.elapsed() },
                Ok(Err(error)) => {
                    let error = error.chars().take(ERROR_MAX).collect();
                    ProbeReport::Failed { path, round, target, sequence, error }
                }
                // Silence: the core has the clock.
                Err(_) => return,
            };
            // Nobody listens any more: nobody minds.
            let _ = reports.send(report);
        });
        Ok(())
    }

    fn receive_link(&mut self) {
        let Some(path) = self.path else { return };
        let reports = self.reports.clone();
        self.link.receive(path, |report| {
            // Nobody listens any more: nobody minds.
            let _ = reports.send(report);
        });
    }

    fn send(&mut self, request: &ProbeRequest, target: usize, sequence: u32) -> io::Result<()> {
        let address = request.targets[target].ip;
        let family = request.path.family;
        if self.socket.is_none() {
            self.socket = Some(open(request, self.id)?);
        }
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let cookie = self.cookie(request, target, sequence, address);
        let number = self.oldest.wrapping_add(self.pending.len() as u16);
        packet::build(family, self.id, number, &cookie, request.size, &mut self.packet);
        let (sent, sent_realtime_ns) = (Instant::now(), sys::realtime_ns());
        sys::send_to(socket.fd.get_ref().as_fd(), &self.packet, address, socket.scope)?;
        self.pending.push_back(Pending {
            round: request.round,
            target,
            sequence,
            address,
            cookie,
            size: request.size,
            sent,
            sent_realtime_ns,
            timeout: request.timeout,
            answered: false,
        });
        if self.pending.len() > PENDING_MAX {
            self.drop_oldest();
        }
        Ok(())
    }

    /// Sixteen bytes that only we can know (SipHash with a random key of this run).
    fn cookie(&self, request: &ProbeRequest, target: usize, sequence: u32, address: IpAddr) -> [u8; COOKIE] {
        let mut cookie = [0; COOKIE];
        for (half, place) in cookie.chunks_exact_mut(8).enumerate() {
            let hash = self.key.hash_one((half, request.path, request.round, target, sequence, address));
            place.copy_from_slice(&hash.to_ne_bytes());
        }
        cookie
    }

    fn drop_oldest(&mut self) {
        if self.pending.pop_front().is_some() {
            self.oldest = self.oldest.wrapping_add(1);
        }
    }

    fn forget_old(&mut self) {
        while self.pending.front().is_some_and(|p| p.answered || p.sent.elapsed() > p.timeout + GRACE) {
            self.drop_oldest();
        }
    }

    /// Takes in what is there.
    fn receive(&mut self) {
        // As many as fit into the socket's buffer: a flood cannot keep us here.
        for _ in 0..PENDING_MAX {
            let Some(socket) = &self.socket else { return };
            match sys::receive_datagram(socket.fd.get_ref().as_fd(), &mut self.buffer) {
                Ok(datagram) => {
                    let buffer = std::mem::take(&mut self.buffer);
                    let length = datagram.length.min(buffer.len());
                    self.take(&buffer[..length], &datagram);
                    self.buffer = buffer;
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // ENETDOWN and the like: the next round makes a new socket.
                Err(_) => self.socket = None,
            }
        }
    }

    fn take(&mut self, packet: &[u8], datagram: &sys::Datagram) {
        let Some(path) = self.path else { return };
        let Some(received) = packet::parse(path.family, packet) else { return };
        let (id, number) = match &received {
            Received::Reply { id, sequence, .. } | Received::Error { id, sequence, .. } => (*id, *sequence),
        };
        let place = usize::from(number.wrapping_sub(self.oldest));
        let Some(pending) = self.pending.get_mut(place).filter(|_| id == self.id) else { return };
        if pending.answered {
            return;
        }
        let Pending { round, target, sequence, .. } = *pending;
        let report = match received {
            Received::Reply { payload, .. } => {
                let rtt = round_trip(pending.sent, pending.sent_realtime_ns, datagram.received_ns);
                let authentic = datagram.source == Some(pending.address) && authentic(pending, payload, true);
                if !authentic || rtt > pending.timeout {
                    return;
                }
                ProbeReport::Reply { path, round, target, sequence, rtt }
            }
            Received::Error { destination, payload, text, .. } => {
                if destination != pending.address || !authentic(pending, payload, false) {
                    return;
                }
                let from = datagram.source.map(|s| format!(" (says {s})")).unwrap_or_default();
                ProbeReport::Failed { path, round, target, sequence, error: format!("{text}{from}") }
            }
        };
        pending.answered = true;
        self.report(report);
    }
}

/// Whether a payload begins with the cookie that was sent. Some hosts shorten what they send back and routers quote
/// as little as the echo header: a reply needs the whole cookie, for an error what is quoted must fit.
fn authentic(pending: &Pending, payload: &[u8], whole: bool) -> bool {
    let expected = &pending.cookie[..usize::from(pending.size).min(COOKIE)];
    let given = payload.len().min(expected.len());
    (!whole || given == expected.len()) && payload[..given] == expected[..given]
}

/// From our send to the kernel's receive, if it stamped the packet and nobody set the clock meanwhile.
fn round_trip(sent: Instant, sent_realtime_ns: u64, received_ns: Option<u64>) -> Duration {
    let elapsed = sent.elapsed();
    let since = |ns: u64| ns.checked_sub(sent_realtime_ns).map(Duration::from_nanos);
    let Some((kernel, wall)) = received_ns.and_then(since).zip(since(sys::realtime_ns())) else {
        return elapsed;
    };
    if wall.abs_diff(elapsed) > CLOCK_STEP || kernel > wall { elapsed } else { kernel }
}

fn error_text(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), errno_text)
}

fn open(request: &ProbeRequest, id: u16) -> io::Result<PathSocket> {
    let ProbeRequest { device, source, mark, ttl, .. } = request;
    let family = request.path.family;
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW.nonblocking().cloexec(), Some(protocol))?;
    // Filters first: nothing foreign gets in before the device is set.
    sys::attach_filter(socket.as_fd(), &packet::id_filter(family, id))?;
    const SOL_RAW: i32 = 255;
    const ICMP_FILTER: i32 = 1;
    match family {
        Family::V4 => sys::set_option_bytes(socket.as_fd(), SOL_RAW, ICMP_FILTER, &packet::v4_types())?,
        Family::V6 => {
            sys::set_option_bytes(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP_FILTER, &packet::v6_types())?;
        }
    }
    socket.bind_device(Some(device.as_bytes()))?;
    socket.set_mark(*mark)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    match family {
        Family::V4 => socket.set_ttl_v4(u32::from(*ttl))?,
        Family::V6 => socket.set_unicast_hops_v6(u32::from(*ttl))?,
    }
    // Without time stamps we use our own clock.
    let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    let scope = if family == Family::V6 { sys::device_index(device)? } else { 0 };
    if let Some(source) = source {
        socket.bind(&socket_address(*source, scope))?;
    }
    let binding = Binding { device: device.clone(), source: *source, mark: *mark, ttl: *ttl };
    Ok(PathSocket { fd: sys::watch(socket)?, binding, scope })
}

/// A scope is only for link-local addresses.
fn socket_address(ip: IpAddr, scope: u32) -> SockAddr {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => SocketAddrV6::new(ip, 0, 0, scope).into(),
        ip => SocketAddr::new(ip, 0).into(),
    }
}
