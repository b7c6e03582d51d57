//! What has happened, for people: the last events in memory, and those who watch.
//!
//! They are lines of a file in the run directory, appended one by one, so that neither a restart nor `kill -9` loses any;
//! the state directory gets a copy once an hour and at the end, for the time after a boot.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mwan_api::{Event, EventKind, EventQuery, Events, SCHEMA_EVENTS, Severity, Watched};
use mwan_core::{Carrier, Switch, Transition};
use tokio::sync::broadcast;
use tracing::warn;

use super::status::carrier_text;
use crate::replace::{Durability, Marks, replace};

const FILE: &str = "events.jsonl";
/// Of the copy; another name, for both directories may be one.
const COPY: &str = "events.kept.jsonl";
/// Events in memory and in the files: a bad day of a flapping link, some 300 bytes each.
const KEPT_MAX: usize = 2_000;
/// Events asked for at once if nothing else is said.
const LIMIT: usize = 100;
/// A file that is larger is none of ours, or of another age.
const FILE_MAX: u64 = 8 << 20;
/// Lines that wait for somebody who watches; then some are lost to him, and he is told.
const WATCH_QUEUE: usize = 256;
/// A copy for the time after a boot: flash wears.
const COPY_INTERVAL: Duration = Duration::from_secs(3600);
/// Ids that are left out where events may be lost that somebody has heard of (a browser, the file of alerts): more than happen between
/// two copies. An id that came again would be taken for one that was heard.
const IDS_LEFT_OUT: u64 = 1 << 20;
/// No id of ours is larger: beyond 2^53 JavaScript takes some for others.
const ID_MAX: u64 = 1 << 52;

/// Of both files.
const OURS: Marks = Marks { mode: 0o600, owner: None };

/// A line for those who watch, made once for all of them, and the id if it is an event's.
pub(super) type Line = (Option<u64>, Arc<str>);

/// The last events.
#[derive(Debug)]
pub(super) struct EventLog {
    ring: VecDeque<Event>,
    next: u64,
    live: broadcast::Sender<Line>,
    file: PathBuf,
    copy: PathBuf,
    /// Lines in the file.
    lines: usize,
    /// When the next copy is due, and the first id that the last one has not.
    copy_at: Instant,
    copied: u64,
    /// The file could not be written, which was said. Half of a line may be in it.
    told: bool,
}

impl EventLog {
    /// With what daemons before us left.
    pub(super) fn open(run_dir: &Path, state_dir: &Path) -> Self {
        let [file, copy] = files(run_dir, state_dir);
        let (mut ring, before_boot) = (read(&file), read(&copy));
        let id_after = |ring: &VecDeque<Event>| ring.back().map_or(1, |last| last.id + 1);
        let copied = id_after(&before_boot);
        // After a boot, and where the file was lost or could not be written.
        let some_lost = ring.is_empty() || id_after(&ring) < copied;
        if some_lost {
            ring = before_boot;
        }
        let mut next = id_after(&ring);
        let mut copy_at = Instant::now() + COPY_INTERVAL;
        if some_lost {
            next += if ring.is_empty() { 0 } else { IDS_LEFT_OUT };
            // So that the next boot knows of these ids.
            copy_at = Instant::now();
        }
        let live = broadcast::Sender::new(WATCH_QUEUE);
        let mut log = EventLog { ring, next, live, file, copy, lines: 0, copy_at, copied, told: false };
        // Its last line may be half of one.
        log.rewrite();
        log
    }

    /// For who wants to watch.
    pub(super) fn live(&self) -> &broadcast::Sender<Line> {
        &self.live
    }

    /// Takes note of an event; its id and time are set here.
    pub(super) fn note(&mut self, mut event: Event) {
        event.id = self.next;
        event.time_ms = now_ms();
        self.next += 1;
        let Ok(line) = serde_json::to_string(&event) else { return };
        self.ring.push_back(event.clone());
        if self.ring.len() > KEPT_MAX {
            self.ring.pop_front();
        }
        if self.told || self.lines > 2 * KEPT_MAX {
            self.rewrite();
        } else {
            self.append(&line);
        }
        self.tell(&Watched::Event(event));
    }

    /// Tells those who watch.
    pub(super) fn tell(&self, watched: &Watched) {
        if self.live.receiver_count() == 0 {
            return;
        }
        let id = match watched {
            Watched::Event(event) => Some(event.id),
            Watched::Sample(_) | Watched::Missed | Watched::TestAlert { .. } => None,
        };
        let Ok(line) = serde_json::to_string(watched) else { return };
        // Nobody is there any more: no matter.
        let _ = self.live.send((id, line.into()));
    }

    /// What was asked for.
    pub(super) fn answer(&self, query: &EventQuery) -> Events {
        let wanted = |event: &&Event| {
            query.after.is_none_or(|after| event.id > after)
                && query.before.is_none_or(|before| event.id < before)
                && query.interface.as_ref().is_none_or(|name| event.interface.as_ref() == Some(name))
                && query.kind.is_none_or(|kind| event.kind == kind)
                && query.severity.is_none_or(|severity| event.severity >= severity)
        };
        let limit = query.limit.map_or(LIMIT, |limit| limit as usize).min(KEPT_MAX);
        let events = match query.after {
            Some(_) => self.ring.iter().filter(wanted).take(limit).cloned().collect(),
            None => self.ring.iter().rev().filter(wanted).take(limit).cloned().collect(),
        };
        Events {
            schema: SCHEMA_EVENTS.to_owned(),
            events,
            oldest: self.ring.front().map_or(0, |event| event.id),
            latest: self.next - 1,
        }
    }

    /// The newest that are wanted, newest first.
    pub(super) fn newest(&self, limit: usize, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.ring.iter().rev().filter(|event| wanted(event)).take(limit).cloned().collect()
    }

    /// Once a second: whether it is time for a copy.
    pub(super) fn look(&mut self) {
        if Instant::now() >= self.copy_at {
            self.keep();
        }
    }

    /// Copies what is there to the state directory, if there is anything new. In a thread: that disk may be slow.
    pub(super) fn keep(&mut self) -> Option<std::thread::JoinHandle<()>> {
        self.copy_at = Instant::now() + COPY_INTERVAL;
        if std::mem::replace(&mut self.copied, self.next) == self.next {
            return None;
        }
        let (text, copy) = (self.text(), self.copy.clone());
        let work = move || {
            if let Err(error) = replace(&copy, OURS, Durability::Reboot, text.as_bytes()) {
                warn!("cannot write {}: {error}", copy.display());
            }
        };
        std::thread::Builder::new().name("events".to_owned()).spawn(work).ok()
    }

    fn text(&self) -> String {
        let lines = self.ring.iter().filter_map(|event| serde_json::to_string(event).ok());
        lines.flat_map(|line| [line, "\n".to_owned()]).collect()
    }

    fn append(&mut self, line: &str) {
        let open = || OpenOptions::new().append(true).create(true).mode(0o600).open(&self.file);
        let written = open().and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        self.lines += 1;
        self.say(&written);
    }

    fn rewrite(&mut self) {
        let written = replace(&self.file, OURS, Durability::Process, self.text().as_bytes());
        self.lines = self.ring.len();
        self.say(&written);
    }

    /// Once until it works again.
    fn say(&mut self, written: &io::Result<()>) {
        match written {
            Err(error) if !self.told => warn!("cannot write {}: {error}", self.file.display()),
            _ => {}
        }
        self.told = written.is_err();
    }
}

/// The file of the events, and its copy.
pub(crate) fn files(run_dir: &Path, state_dir: &Path) -> [PathBuf; 2] {
    [run_dir.join(FILE), state_dir.join(COPY)]
}

/// The events of a file, ids ascending; lines that are none (one torn by a crash, say) are left out.
fn read(path: &Path) -> VecDeque<Event> {
    let mut text = Vec::new();
    let Ok(file) = File::open(path) else { return VecDeque::new() };
    if file.take(FILE_MAX).read_to_end(&mut text).is_err() {
        return VecDeque::new();
    }
    let mut events: VecDeque<Event> = VecDeque::new();
    for event in
        text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Event>(line).ok())
    {
        if event.id < ID_MAX && events.back().is_none_or(|last| last.id < event.id) {
            events.push_back(event);
        }
        if events.len() > KEPT_MAX {
            events.pop_front();
        }
    }
    events
}

/// Milliseconds since 1970.
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// An event without more than its text.
pub(super) fn plain(kind: EventKind, severity: Severity, text: String) -> Event {
    Event {
        id: 0,
        time_ms: 0,
        kind,
        severity,
        interface: None,
        family: None,
        policy: None,
        from: None,
        to: None,
        code: None,
        text,
    }
}

/// The event of a path that changed its state. Steps on the way up or down are for who looks closely.
pub(super) fn transition(t: &Transition) -> Event {
    let (was, is) = (t.from.usable(), t.to.usable());
    let severity = match (was, is) {
        (true, false) => Severity::Warning,
        (false, true) => Severity::Info,
        _ => Severity::Debug,
    };
    let (from, to, family) = (t.from.name(), t.to.name(), t.path.family.name());
    Event {
        interface: Some(t.interface.clone()),
        family: Some(family.to_owned()),
        from: Some(from.to_owned()),
        to: Some(to.to_owned()),
        code: Some(t.reason.code().to_owned()),
        ..plain(
            EventKind::Path,
            severity,
            format!("{} {family} ({}): {from} -> {to}: {}", t.interface, t.device, t.reason),
        )
    }
}

/// The event of a policy that is carried by others. `yet`: what is to be added to its text.
pub(super) fn switch(s: &Switch, yet: &str) -> Event {
    let severity = match &s.to {
        // No rule leads to it, so nothing went anywhere.
        _ if !s.used => Severity::Debug,
        Carrier::Members(_) => Severity::Info,
        Carrier::LastResort(_) => Severity::Error,
    };
    let (from, to, family) = (carrier_text(&s.from), carrier_text(&s.to), s.family.name());
    let text = format!("policy {} {family}: {from} -> {to}{yet}", s.policy);
    Event {
        policy: Some(s.policy.clone()),
        family: Some(family.to_owned()),
        from: Some(from),
        to: Some(to),
        ..plain(EventKind::Switch, severity, text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;

    fn noted(log: &mut EventLog, text: &str) {
        log.note(plain(EventKind::Command, Severity::Info, text.to_owned()));
    }

    fn texts(events: &Events) -> Vec<&str> {
        events.events.iter().map(|event| event.text.as_str()).collect()
    }

    #[test]
    fn events_survive_the_process_and_with_a_copy_a_boot() {
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let [run, state, both] = dirs.each_ref().map(|dir| dir.path());
        // One directory for both does, too: a copy does not take the place of what came meanwhile.
        for (run, state) in [(run, state), (both, both)] {
            let mut log = EventLog::open(run, state);
            noted(&mut log, "first");
            noted(&mut log, "second");
            // A kill in the middle of a line.
            let mut file = OpenOptions::new().append(true).open(run.join(FILE)).unwrap();
            file.write_all(b"{\"id\":3,\"time").unwrap();
            let mut log = EventLog::open(run, state);
            let all = log.answer(&EventQuery::default());
            assert_eq!((texts(&all), all.oldest, all.latest), (vec!["second", "first"], 1, 2));
            log.keep().unwrap().join().unwrap();
            assert!(log.keep().is_none(), "nothing new");
            fs::remove_file(run.join(FILE)).unwrap();
            let mut log = EventLog::open(run, state);
            noted(&mut log, "third");
            let log = EventLog::open(run, state);
            let behind = EventQuery { after: Some(1), ..EventQuery::default() };
            assert_eq!(
                texts(&log.answer(&behind)),
                ["second", "third"],
                "what was before the boot is in the file, too"
            );
        }
    }

    fn latest(run: &Path, state: &Path) -> u64 {
        EventLog::open(run, state).answer(&EventQuery::default()).latest
    }

    /// Alerts and browsers take an id they know for an event they have heard of.
    #[test]
    fn no_id_comes_again_whatever_is_lost() {
        let (run, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut log = EventLog::open(run.path(), state.path());
        noted(&mut log, "copied");
        log.look();
        while !state.path().join(COPY).exists() {
            std::thread::yield_now();
        }
        let early = fs::read(run.path().join(FILE)).unwrap();
        (0..50).for_each(|n| noted(&mut log, &n.to_string()));
        assert_eq!(latest(run.path(), state.path()), 51, "the daemon was killed: nothing is lost");
        // The power went: what was not copied is gone.
        fs::remove_file(run.path().join(FILE)).unwrap();
        let mut log = EventLog::open(run.path(), state.path());
        noted(&mut log, "after the boot");
        let after_boot = log.answer(&EventQuery::default());
        assert!(after_boot.latest > 51, "{}", after_boot.latest);
        assert_eq!(texts(&after_boot), ["after the boot", "copied"]);
        log.keep().unwrap().join().unwrap();
        // The file could not be written for a while, and the daemon was killed.
        fs::write(run.path().join(FILE), early).unwrap();
        let log = EventLog::open(run.path(), state.path());
        let again = log.answer(&EventQuery::default());
        assert!(again.latest > after_boot.latest);
        assert_eq!(texts(&again), ["after the boot", "copied"]);
    }

    #[test]
    fn what_could_not_be_written_is_written_as_soon_as_it_can() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let mut log = EventLog::open(dir.path(), &dir.path().join("none"));
        noted(&mut log, "first");
        fs::remove_file(&file).unwrap();
        fs::create_dir_all(file.join("in it")).unwrap();
        noted(&mut log, "second");
        fs::remove_dir_all(&file).unwrap();
        noted(&mut log, "third");
        let log = EventLog::open(dir.path(), &dir.path().join("none"));
        assert_eq!(texts(&log.answer(&EventQuery::default())), ["third", "second", "first"]);
    }

    #[test]
    fn memory_and_file_are_bounded() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = EventLog::open(dir.path(), &dir.path().join("none"));
        let events = u64::try_from(KEPT_MAX).unwrap() * 3;
        (0..events).for_each(|n| noted(&mut log, &n.to_string()));
        let answer = log.answer(&EventQuery { limit: Some(u32::MAX), ..EventQuery::default() });
        assert_eq!((answer.events.len(), answer.oldest, answer.latest), (KEPT_MAX, events - 1999, events));
        let lines = fs::read_to_string(dir.path().join(FILE)).unwrap().lines().count();
        assert!(lines <= 2 * KEPT_MAX + 1, "{lines}");
        assert_eq!(EventLog::open(dir.path(), dir.path()).answer(&EventQuery::default()).latest, events);
    }

    #[test]
    fn a_query_names_what_it_wants() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = EventLog::open(dir.path(), dir.path());
        let of = |name: &str, severity| Event {
            interface: Some(name.to_owned()),
            ..plain(EventKind::Path, severity, format!("{name} {severity:?}"))
        };
        log.note(of("wan", Severity::Warning));
        log.note(of("wanb", Severity::Debug));
        noted(&mut log, "other");
        let interface = EventQuery { interface: Some("wan".to_owned()), ..EventQuery::default() };
        assert_eq!(texts(&log.answer(&interface)), ["wan Warning"]);
        let severity = EventQuery { severity: Some(Severity::Info), ..EventQuery::default() };
        assert_eq!(texts(&log.answer(&severity)), ["other", "wan Warning"]);
        let kind = EventQuery { kind: Some(EventKind::Path), limit: Some(1), ..EventQuery::default() };
        assert_eq!(texts(&log.answer(&kind)), ["wanb Debug"]);
        let page = EventQuery { before: Some(3), after: Some(0), ..EventQuery::default() };
        assert_eq!(texts(&log.answer(&page)), ["wan Warning", "wanb Debug"]);
    }

    #[test]
    fn a_directory_that_cannot_be_written_loses_no_event_in_memory() {
        let mut log = EventLog::open(Path::new("/proc/none"), Path::new("/proc/none"));
        noted(&mut log, "kept");
        assert_eq!(texts(&log.answer(&EventQuery::default())), ["kept"]);
        assert!(log.told);
    }
}
