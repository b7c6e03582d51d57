//! What becomes of the paths is recorded, once a second, by a thread of its own: the loop never waits for a file.
//!
//! Files in the run directory are written a block at a time, so that `kill -9` loses nothing; the state directory gets a copy
//! once an hour and at the end, by another thread, since flash wears and disks are slow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use mwan_api::{HistoryQuery, PathSample, Response, Sample};
use mwan_core::{Core, PathKey, Reason, Transition};
use mwan_history::{History, PathSecond, Recorded, Second, Traffic};
use mwan_linux::clock;
use tracing::{debug, info, warn};

use super::answer::in_thread;
use super::events::now_ms;
use super::reload::Reply;
use crate::cli::Failure;
use crate::history::{self, Folders, RingFile};

/// Seconds that wait for the thread that records.
const QUEUE_MAX: usize = 120;
/// How often a copy is kept.
const KEEP_INTERVAL: Duration = Duration::from_secs(3600);
/// What the end of the daemon waits for a slow disk.
const END_MAX: Duration = Duration::from_secs(10);
/// A difference of counters over a longer time is nobody's second.
const COUNTED_MAX: Duration = Duration::from_secs(10);

/// Why a path is not usable, for who asks about its provider.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Down {
    /// It is usable.
    No,
    /// That says nothing of it: its owner wants it so, or nobody has looked.
    NotKnown,
    /// A stable word, and a text.
    Because(String, String),
}

impl Down {
    fn of(reason: &Reason) -> Self {
        match reason {
            Reason::TakenDown
            | Reason::OnTrial
            | Reason::NotSeen
            | Reason::NotYetProven
            | Reason::Drill { .. }
            | Reason::DrillReturn { .. }
            | Reason::Stopped => Down::NotKnown,
            reason => Down::Because(reason.code().to_owned(), reason.to_string()),
        }
    }

    fn cause(self) -> Option<(String, String)> {
        match self {
            Down::Because(code, text) => Some((code, text)),
            Down::No | Down::NotKnown => None,
        }
    }
}

enum Message {
    Sample(u64, Vec<(PathSample, Down)>),
    Transition { interface: String, family: usize, at_ms: u64, down: Option<(String, String)> },
}

/// Has everything recorded, if that is wanted.
#[derive(Debug)]
pub(super) struct Recorder {
    folders: Folders,
    running: Option<Running>,
    /// One copy at a time.
    keeping: Arc<Mutex<()>>,
    /// Seconds that were lost while the thread did not keep up.
    lost: u64,
}

#[derive(Debug)]
struct Running {
    queue: SyncSender<Message>,
    files: Arc<Mutex<Files>>,
    /// Never says anything; closed when everything is kept.
    done: Receiver<()>,
}

impl Recorder {
    pub(super) fn new(folders: Folders) -> Self {
        Recorder { folders, running: None, keeping: Arc::default(), lost: 0 }
    }

    /// Begins or ends to record.
    pub(super) fn set(&mut self, wanted: bool) {
        match (wanted, self.running.is_some()) {
            (true, false) => self.start(),
            (false, true) => self.running = None,
            _ => {}
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn start(&mut self) {
        let (queue, messages) = sync_channel(QUEUE_MAX);
        let (ended, done) = channel();
        let files = Arc::new(Mutex::new(Files::new(self.folders.clone())));
        let (held, keeping) = (files.clone(), self.keeping.clone());
        let work = move || {
            record_all(&messages, &held, &keeping);
            drop(ended);
        };
        match std::thread::Builder::new().name("history".to_owned()).spawn(work) {
            Ok(_) => self.running = Some(Running { queue, files, done }),
            Err(error) => warn!("cannot start the thread that records: {error}"),
        }
    }

    /// How the paths are at one time.
    pub(super) fn sample(&mut self, core: &Core, sample: Sample) {
        let down = |path: &PathSample| {
            let (id, _) = core.wan(&path.interface)?;
            let family = mwan_config::Family::ALL.into_iter().find(|f| f.name() == path.family)?;
            Some(Down::of(core.path(PathKey { id, family })?.reason))
        };
        let with_cause = |path: PathSample| {
            let down = if path.usable { Down::No } else { down(&path).unwrap_or(Down::NotKnown) };
            (path, down)
        };
        self.send(Message::Sample(sample.time_ms, sample.paths.into_iter().map(with_cause).collect()));
    }

    /// A path changed its state.
    pub(super) fn transition(&mut self, transition: &Transition) {
        if transition.from.usable() == transition.to.usable() {
            return;
        }
        let down = if transition.to.usable() { Down::No } else { Down::of(&transition.reason) };
        if down == Down::NotKnown {
            return;
        }
        let interface = transition.interface.clone();
        let family = family_of(transition.path.family.name());
        self.send(Message::Transition { interface, family, at_ms: now_ms(), down: down.cause() });
    }

    fn send(&mut self, message: Message) {
        let Some(running) = &self.running else { return };
        match running.queue.try_send(message) {
            Ok(()) if self.lost > 0 => {
                warn!("history: {} messages were not recorded: the run directory is slow", self.lost);
                self.lost = 0;
            }
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => self.lost += 1,
        }
    }

    /// Answers in a thread: years are read from files.
    pub(super) fn answer(&self, query: HistoryQuery, reply: Reply) {
        let (folders, files) = (self.folders.clone(), self.running.as_ref().map(|r| r.files.clone()));
        in_thread("history-read", "reads the history", reply, move |_| {
            let now_s = now_ms() / 1000;
            let mut files = files.as_deref().map(locked);
            let live = files.as_mut().and_then(|files| files.live.get_mut(&query.interface));
            let answer = match live {
                Some(live) => {
                    let settled = live.history.settle();
                    settled.map_err(|e| Failure::new("cannot bring the history up to date", &e))?;
                    history::series(Some(&live.history), &query, now_s)
                }
                None => history::series(folders.read(&query.interface).as_ref(), &query, now_s),
            };
            Ok(Response::History(Box::new(answer?)))
        });
    }

    /// The same with the report of a month.
    pub(super) fn report(&self, month: Option<String>, reply: Reply) {
        let (folders, files) = (self.folders.clone(), self.running.as_ref().map(|r| r.files.clone()));
        in_thread("history-read", "reads the history", reply, move |_| {
            let now_s = now_ms() / 1000;
            let month = history::month(month.as_deref(), now_s)?;
            let files = files.as_deref();
            if let Some(files) = files {
                locked(files).settle();
            }
            let report = history::report(&folders, month, now_s, || files.map(locked));
            Ok(Response::Report(Box::new(report)))
        });
    }

    /// The end: everything is kept. Wait for it with [`wait`].
    pub(super) fn finish(&mut self) -> Option<Receiver<()>> {
        self.running.take().map(|running| running.done)
    }
}

/// Waits until everything is kept, but not for ever.
pub(super) fn wait(done: &Receiver<()>) {
    if done.recv_timeout(END_MAX) == Err(RecvTimeoutError::Timeout) {
        warn!("history: the disk is slow, and the daemon ends without its last copy");
    }
}

fn locked(files: &Mutex<Files>) -> MutexGuard<'_, Files> {
    files.lock().unwrap_or_else(PoisonError::into_inner)
}

fn family_of(name: &str) -> usize {
    usize::from(name == mwan_config::Family::V6.name())
}

/// The thread that records, until nobody sends any more; then everything is kept.
fn record_all(messages: &Receiver<Message>, files: &Arc<Mutex<Files>>, keeping: &Arc<Mutex<()>>) {
    let mut kept = Instant::now();
    for message in messages {
        match message {
            Message::Sample(time_ms, paths) => locked(files).sample(time_ms, paths),
            Message::Transition { interface, family, at_ms, down } => {
                locked(files).transition(&interface, family, at_ms, down.as_ref());
            }
        }
        if kept.elapsed() >= KEEP_INTERVAL {
            kept = Instant::now();
            let (files, keeping) = (files.clone(), keeping.clone());
            let work = move || {
                // A disk that is still busy with the last copy gets no second one.
                if let Ok(_one) = keeping.try_lock() {
                    keep_all(&files);
                }
            };
            if let Err(error) = std::thread::Builder::new().name("history-keep".to_owned()).spawn(work) {
                debug!("cannot start the thread that keeps the history: {error}");
            }
        }
    }
    let _one = keeping.lock().unwrap_or_else(PoisonError::into_inner);
    keep_all(files);
}

/// Keeps a copy of every file; those of interfaces that are gone are not needed in memory any more.
fn keep_all(files: &Mutex<Files>) {
    let (folders, names) = {
        let mut files = locked(files);
        files.take_in_orphans();
        (files.folders.clone(), files.live.keys().cloned().collect::<Vec<String>>())
    };
    for name in &names {
        // Nobody waits for the disk.
        let Some(snapshot) = locked(files).snapshot(name) else { continue };
        let kept = snapshot.and_then(|snapshot| folders.keep(name, &snapshot));
        let mut files = locked(files);
        let kept_well = files.told(&format!("the copy of the history of {name}"), &kept);
        if kept_well {
            files.let_go_if_gone(name);
        }
    }
    folders.prune(&names);
}

/// Counters at the last second that was recorded.
#[derive(Clone, Copy, Debug)]
struct Counters {
    at: Instant,
    rx: Option<u64>,
    tx: Option<u64>,
    /// Probes and replies, by family.
    probes: [(u64, u64); 2],
}

#[derive(Debug)]
struct Live {
    history: History<RingFile>,
    counters: Option<Counters>,
    /// When there was such an interface last.
    seen: Instant,
}

/// All files that are being written.
#[derive(Debug)]
struct Files {
    folders: Folders,
    live: BTreeMap<String, Live>,
    /// What does not work, of which the owner was told.
    troubles: BTreeSet<String>,
    /// The clock is not right, which was told.
    clock_told: bool,
}

impl Files {
    fn new(folders: Folders) -> Self {
        Files { folders, live: BTreeMap::new(), troubles: BTreeSet::new(), clock_told: false }
    }

    fn sample(&mut self, time_ms: u64, paths: Vec<(PathSample, Down)>) {
        for of_one in paths.chunk_by(|(a, _), (b, _)| a.interface == b.interface) {
            let Some((first, _)) = of_one.first() else { continue };
            let name = &first.interface;
            let recorded = self.second(name, time_ms, of_one);
            let at_s = time_ms / 1000;
            match &recorded {
                Ok(Recorded::Done) if self.clock_told => {
                    info!("history: recorded again");
                    self.clock_told = false;
                }
                Ok(Recorded::Behind | Recorded::Implausible) if !self.clock_told => {
                    let now = mwan_api::calendar::stamp(at_s);
                    warn!(
                        "history: nothing is recorded while the clock says {now}: it is before what is recorded \
                         or cannot be right; if it is, remove history/ in run and state directory"
                    );
                    self.clock_told = true;
                }
                _ => {}
            }
            self.told(&format!("the history of {name}"), &recorded.map(drop));
        }
    }

    fn second(
        &mut self,
        name: &str,
        time_ms: u64,
        paths: &[(PathSample, Down)],
    ) -> std::io::Result<Recorded> {
        let live = self.live(name)?;
        live.seen = Instant::now();
        let (second, counters) = second_of(paths, live.counters.as_ref());
        let at_s = u32::try_from(time_ms / 1000).unwrap_or(u32::MAX);
        let recorded = live.history.record(at_s, &second, clock::is_synchronised)?;
        if recorded == Recorded::Done {
            live.counters = Some(counters);
        }
        Ok(recorded)
    }

    fn transition(&mut self, name: &str, family: usize, at_ms: u64, down: Option<&(String, String)>) {
        let noted = self.live(name).and_then(|live| live.history.transition(family, at_ms, down));
        self.told(&format!("the history of {name}"), &noted);
    }

    fn live(&mut self, name: &str) -> std::io::Result<&mut Live> {
        if !self.live.contains_key(name) {
            let history = self.folders.open(name)?;
            self.live.insert(name.to_owned(), Live { history, counters: None, seen: Instant::now() });
        }
        self.live.get_mut(name).ok_or_else(|| std::io::ErrorKind::NotFound.into())
    }

    fn settle(&mut self) {
        for live in self.live.values_mut() {
            if let Err(error) = live.history.settle() {
                debug!("history of {}: {error}", live.history.name());
            }
        }
    }

    /// Files in the run directory of interfaces that are gone since before we started.
    fn take_in_orphans(&mut self) {
        for name in self.folders.live_names() {
            if let Err(error) = self.live(&name) {
                debug!("history of {name}: {error}");
            }
        }
    }

    /// What is in the file, with every tier up to date.
    fn snapshot(&mut self, name: &str) -> Option<std::io::Result<std::fs::File>> {
        let live = self.live.get_mut(name)?;
        Some(live.history.settle().and_then(|()| self.folders.snapshot(&live.history)))
    }

    fn let_go_if_gone(&mut self, name: &str) {
        if self.live.get(name).is_some_and(|live| live.seen.elapsed() >= KEEP_INTERVAL) {
            self.live.remove(name);
            self.folders.forget_live(name);
        }
    }

    /// Whether it went well. That something does not work is told once, and that it works again.
    fn told(&mut self, what: &str, result: &std::io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                if self.troubles.remove(what) {
                    info!("{what} is written again");
                }
                true
            }
            Err(error) => {
                if self.troubles.insert(what.to_owned()) {
                    warn!("cannot write {what}: {error}; it is tried again");
                }
                false
            }
        }
    }
}

/// A second of an interface, and its counters for the next one.
fn second_of(paths: &[(PathSample, Down)], before: Option<&Counters>) -> (Second, Counters) {
    let now = Instant::now();
    let before = before.filter(|before| now - before.at <= COUNTED_MAX);
    let bytes = |of: fn(&PathSample) -> Option<u64>| paths.iter().find_map(|(path, _)| of(path));
    let mut counters = Counters {
        at: now,
        rx: bytes(|path| path.rx_bytes),
        tx: bytes(|path| path.tx_bytes),
        probes: before.map_or([(0, 0); 2], |before| before.probes),
    };
    let mut second = Second::default();
    for (path, down) in paths {
        let family = family_of(&path.family);
        counters.probes[family] = (path.sent, path.received);
        if *down == Down::NotKnown {
            continue;
        }
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        let (sent, received) = before.map_or((0, 0), |before| before.probes[family]);
        second.paths[family] = Some(PathSecond {
            down: down.clone().cause(),
            rtt_us: path.rtt_us.map(small),
            jitter_us: small(path.jitter_us.unwrap_or(0)),
            loss_ppm: u32::from(path.loss_percent.unwrap_or(0)) * 10_000,
            sent: before.map_or(0, |_| small(grown(path.sent, sent))),
            received: before.map_or(0, |_| small(grown(path.received, received))),
        });
    }
    let more = |now: Option<u64>, before: Option<u64>| Some(grown(now?, before?));
    second.traffic = Traffic {
        rx: more(counters.rx, before.and_then(|before| before.rx)),
        tx: more(counters.tx, before.and_then(|before| before.tx)),
    };
    (second, counters)
}

/// What a counter counted since; one that is smaller than it was began anew.
fn grown(now: u64, before: u64) -> u64 {
    now.checked_sub(before).unwrap_or(now)
}

#[cfg(test)]
mod tests;
