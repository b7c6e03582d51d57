//! What happens, told to browsers as it happens (server-sent events): one stream from the daemon for all of them. A client that
//! does not keep up is let go; when it comes back it says what it has seen last, and gets what it missed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::HttpBody;
use bytes::Bytes;
use hyper::body::Frame;
use mwan_api::{Event, EventQuery, PathSample, Request, Response, Sample, Watched};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, interval, sleep_until};
use tracing::{debug, info, warn};

use crate::Site;
use crate::auth::Principal;
use crate::places::Seat;

/// Clients at once.
const CLIENTS_MAX: usize = 100;
/// Of one user or token: he does not keep others out.
const PER_NAME_MAX: usize = 64;
/// Frames that wait for a client: a minute of samples. Then it is let go.
const QUEUE: usize = 64;
/// Events a client gets that comes back.
const REPLAY_MAX: u32 = 1000;
/// Pause before the daemon is looked for again.
const RETRY: Duration = Duration::from_secs(1);
/// The status is told so long after something happened, once for all that happened meanwhile.
const SETTLE: Duration = Duration::from_millis(250);
/// A comment so often: proxies and browsers see that the stream is alive, and we see who is not there any more, or logged out.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// A frame of a stream, and the event's id if it is one.
#[derive(Clone, Debug)]
struct Told {
    id: Option<u64>,
    bytes: Bytes,
}

#[derive(Debug)]
struct Client {
    name: String,
    queue: mpsc::Sender<Told>,
}

/// Everybody who listens.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    clients: Mutex<Vec<Client>>,
    /// Clients that were let go since they did not keep up.
    dropped: AtomicU64,
}

impl Hub {
    /// Another one; `None`: there are too many.
    fn join(&self, name: &str) -> Option<mpsc::Receiver<Told>> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| !client.queue.is_closed());
        let of_name = clients.iter().filter(|client| client.name == name).count();
        if clients.len() >= CLIENTS_MAX || of_name >= PER_NAME_MAX {
            return None;
        }
        let (queue, receiver) = mpsc::channel(QUEUE);
        clients.push(Client { name: name.to_owned(), queue });
        Some(receiver)
    }

    /// Tells everybody. Who has too much to read already is let go.
    fn tell(&self, told: &Told) {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.retain(|client| match client.queue.try_send(told.clone()) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                debug!("a client of the event stream did not keep up");
                false
            }
        });
    }

    /// The server ends: nobody hears any more.
    pub(crate) fn close(&self) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// How many listen.
    pub(crate) fn count(&self) -> usize {
        let clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        clients.iter().filter(|client| !client.queue.is_closed()).count()
    }

    /// How many were let go.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}

/// A frame. JSON of serde has no line breaks, so it is one `data` line.
fn frame(event: &str, id: Option<u64>, data: &impl Serialize) -> Option<Told> {
    let data = serde_json::to_string(data).ok()?;
    let id_line = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    Some(Told { id, bytes: format!("event: {event}\n{id_line}data: {data}\n\n").into() })
}

/// A sample with rates.
#[derive(Debug, Serialize)]
struct LiveSample<'a> {
    time_ms: u64,
    paths: Vec<LivePath<'a>>,
}

#[derive(Debug, Serialize)]
struct LivePath<'a> {
    #[serde(flatten)]
    path: &'a PathSample,
    /// Bits per second since the sample before.
    rx_bps: Option<u64>,
    tx_bps: Option<u64>,
}

/// Counters of the sample before, for rates.
#[derive(Debug, Default)]
struct Rates {
    time_ms: u64,
    bytes: BTreeMap<(String, String), (u64, u64)>,
}

impl Rates {
    fn next<'a>(&mut self, sample: &'a Sample) -> LiveSample<'a> {
        let passed_ms = sample.time_ms.checked_sub(self.time_ms).filter(|ms| (1..=10_000).contains(ms));
        let rate = |before: u64, now: u64| Some(now.checked_sub(before)?.saturating_mul(8000) / passed_ms?);
        let mut bytes = BTreeMap::new();
        let paths = sample.paths.iter().map(|path| {
            let key = (path.interface.clone(), path.family.clone());
            let now = path.rx_bytes.zip(path.tx_bytes);
            let before = self.bytes.get(&key).copied();
            let rates = now
                .zip(before)
                .map(|((rx, tx), (rx_before, tx_before))| (rate(rx_before, rx), rate(tx_before, tx)));
            bytes.extend(now.map(|now| (key, now)));
            let (rx_bps, tx_bps) = rates.unwrap_or_default();
            LivePath { path, rx_bps, tx_bps }
        });
        let paths = paths.collect();
        *self = Rates { time_ms: sample.time_ms, bytes };
        LiveSample { time_ms: sample.time_ms, paths }
    }
}

/// What is remembered between two lines of the daemon.
#[derive(Debug, Default)]
struct Listening {
    /// The last event that was told.
    last: Option<u64>,
    rates: Rates,
    /// When the status is to be told.
    status_at: Option<Instant>,
}

/// Listens to the daemon for as long as the server runs.
pub(crate) async fn listen(site: Arc<Site>) {
    let mut listening = Listening::default();
    let mut told = false;
    loop {
        match site.daemon.watch(listening.last).await {
            Ok(lines) => {
                tell_connected(&site, true);
                listening.hear(&site, lines).await;
                info!("the daemon is gone");
                tell_connected(&site, false);
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && !told => {
                warn!(
                    "cannot reach the daemon: {error}: the run directory, or one above it, lets only others through"
                );
                told = true;
            }
            Err(error) => debug!("no daemon: {error}"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

fn tell_connected(site: &Site, connected: bool) {
    site.status.forget();
    frame("daemon", None, &serde_json::json!({ "connected": connected }))
        .iter()
        .for_each(|f| site.hub.tell(f));
}

impl Listening {
    async fn hear(&mut self, site: &Site, mut lines: mpsc::Receiver<Watched>) {
        self.status_at = Some(Instant::now());
        loop {
            let due = self.status_at;
            let line = tokio::select! {
                line = lines.recv() => line,
                () = async { match due { Some(at) => sleep_until(at).await, None => std::future::pending().await } } => {
                    self.status_at = None;
                    tell_status(site).await;
                    continue;
                }
            };
            match line {
                Some(Watched::Event(event)) => self.event(site, &event),
                Some(Watched::Sample(sample)) => self.sample(site, &sample),
                Some(Watched::Missed) => self.catch_up(site).await,
                // Of no interest to browsers.
                Some(Watched::TestAlert { .. }) => {}
                None => return,
            }
        }
    }

    fn event(&mut self, site: &Site, event: &Event) {
        // Asked for after some were missed, and then told as well.
        if self.last.is_some_and(|last| event.id <= last) {
            return;
        }
        self.last = Some(event.id);
        self.status_at.get_or_insert_with(|| Instant::now() + SETTLE);
        frame("event", Some(event.id), event).iter().for_each(|frame| site.hub.tell(frame));
    }

    fn sample(&mut self, site: &Site, sample: &Sample) {
        site.window.lock().unwrap_or_else(PoisonError::into_inner).take(sample);
        let live = self.rates.next(sample);
        frame("sample", None, &live).iter().for_each(|frame| site.hub.tell(frame));
    }

    async fn catch_up(&mut self, site: &Site) {
        let query = EventQuery { after: self.last, limit: Some(REPLAY_MAX), ..EventQuery::default() };
        if let Ok(Response::Events(missed)) = site.daemon.ask(Request::Events(query)).await {
            missed.events.iter().for_each(|event| self.event(site, event));
        }
    }
}

async fn tell_status(site: &Site) {
    site.status.forget();
    if site.hub.count() > 0
        && let Ok(status) = site.status.get(&*site.daemon).await
    {
        frame("status", None, &*status).iter().for_each(|frame| site.hub.tell(frame));
    }
}

/// A client's stream, from the event `after` on if it has seen some. `None`: there are too many clients.
pub(crate) async fn stream(
    site: Arc<Site>,
    who: Principal,
    after: Option<u64>,
    seat: Arc<Seat>,
) -> Option<Stream> {
    // First in line, then what was missed: nothing is lost in between, and what comes twice has its id.
    let live = site.hub.join(&who.name)?;
    let mut first: VecDeque<Told> =
        VecDeque::from([Told { id: None, bytes: Bytes::from_static(b"retry: 2000\n\n") }]);
    if let Ok(status) = site.status.get(&*site.daemon).await {
        first.extend(frame("status", None, &*status));
    }
    let mut last = 0;
    if let Some(after) = after {
        let query = EventQuery { after: Some(after), limit: Some(REPLAY_MAX), ..EventQuery::default() };
        if let Ok(Response::Events(missed)) = site.daemon.ask(Request::Events(query)).await {
            // An id that was never given must not keep what comes from him.
            last = after.min(missed.latest);
            first.extend(missed.events.iter().filter_map(|event| frame("event", Some(event.id), event)));
        }
    }
    seat.set_busy(true);
    let mut heartbeat = interval(HEARTBEAT);
    heartbeat.reset();
    Some(Stream { site, who, first, live, last, heartbeat, seat, ended: false })
}

/// What a client reads.
pub(crate) struct Stream {
    site: Arc<Site>,
    who: Principal,
    first: VecDeque<Told>,
    live: mpsc::Receiver<Told>,
    /// The last event that went out.
    last: u64,
    heartbeat: Interval,
    seat: Arc<Seat>,
    ended: bool,
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.seat.set_busy(false);
    }
}

impl Stream {
    fn next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            let told = match self.first.pop_front() {
                Some(told) => told,
                None => match self.live.poll_recv(cx) {
                    Poll::Ready(Some(told)) => told,
                    Poll::Ready(None) => return Poll::Ready(None),
                    Poll::Pending => {
                        ready!(self.heartbeat.poll_tick(cx));
                        return Poll::Ready(Some(Bytes::from_static(b":\n\n")));
                    }
                },
            };
            match told.id {
                Some(id) if id <= self.last => continue,
                Some(id) => self.last = id,
                None => {}
            }
            return Poll::Ready(Some(told.bytes));
        }
    }
}

impl HttpBody for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = ready!(self.next(cx));
        // Logged out, removed, or his time is over: he hears no more.
        if next.is_some() && !self.site.auth.still(&self.who) {
            self.ended = true;
            let last = Bytes::from_static(b"event: logout\ndata: {}\n\n");
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(n: u64) -> Told {
        frame("event", Some(n), &serde_json::json!({ "text": "a\nb" })).unwrap()
    }

    #[test]
    fn a_frame_is_one_line_of_data_whatever_is_in_it() {
        assert_eq!(told(7).bytes, "event: event\nid: 7\ndata: {\"text\":\"a\\nb\"}\n\n");
    }

    #[test]
    fn a_client_that_does_not_read_is_let_go_and_the_others_are_not() {
        let hub = Hub::default();
        let mut slow = hub.join("ann").unwrap();
        let mut quick = hub.join("ann").unwrap();
        for n in 0..1000 {
            hub.tell(&told(n));
            assert_eq!(quick.try_recv().unwrap().id, Some(n));
        }
        assert_eq!((hub.count(), hub.dropped()), (1, 1));
        let read = std::iter::from_fn(|| slow.try_recv().ok()).count();
        assert_eq!(read, QUEUE, "and no more is kept for it");
        assert!(slow.is_closed());
    }

    #[test]
    fn clients_are_bounded_in_all_and_by_name_and_leave_room_when_they_go() {
        let hub = Hub::default();
        let ann: Vec<_> = (0..200).map_while(|_| hub.join("ann")).collect();
        let bob: Vec<_> = (0..200).map_while(|_| hub.join("bob")).collect();
        assert_eq!((ann.len(), bob.len()), (PER_NAME_MAX, CLIENTS_MAX - PER_NAME_MAX));
        drop(ann);
        assert!(hub.join("bob").is_some());
    }

    #[test]
    fn rates_come_from_two_samples_and_from_nothing_else() {
        let sample = |time_ms, rx_bytes| Sample {
            time_ms,
            paths: vec![PathSample {
                interface: "wan".into(),
                family: "ipv4".into(),
                status: "online".into(),
                usable: true,
                carries: true,
                rtt_us: None,
                jitter_us: None,
                loss_percent: None,
                sent: 0,
                received: 0,
                rx_bytes: Some(rx_bytes),
                tx_bytes: Some(0),
            }],
        };
        let mut rates = Rates::default();
        let mut rate = |time_ms, bytes| rates.next(&sample(time_ms, bytes)).paths[0].rx_bps;
        assert_eq!(rate(5000, 1000), None, "the first one");
        assert_eq!(rate(6000, 2000), Some(8000));
        assert_eq!(rate(8000, 2000), Some(0));
        assert_eq!(rate(9000, 1000), None, "the device was made anew");
        assert_eq!(rate(8500, 2000), None, "the clock was set back");
        assert_eq!(rate(99_000, 3000), None, "too long ago");
    }
}
