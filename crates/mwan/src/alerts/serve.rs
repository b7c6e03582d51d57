//! The companion: it begins as root, becomes somebody without rights, hears the daemon, keeps what has to be told, and sends it.

use std::fs;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown, lchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mwan_alerts::{Engine, Fault, Now, Outgoing, Settings, Snapshot};
use mwan_api::{Alert, Severity};
use mwan_linux::clock;
use mwan_linux::process::{self, User};
use tokio::sync::{Notify, mpsc, watch};
use tracing::warn;

use super::listen::{self, Heard};
use super::{FOLDER, NAME, Told, send, settings};
use crate::cli::Failure;
use crate::daemon::{companion_user, start_companion_log};
use crate::replace::{Durability, Marks, replace};

/// Longest settings: more than the daemon hands over.
const SETTINGS_MAX: u64 = 1 << 20;
/// File of what is kept, in our folder.
const FILE: &str = "alerts.jsonl";
/// Largest one that is read.
const FILE_MAX: u64 = 16 << 20;
/// Things heard that wait for us.
const HEARD_MAX: usize = 64;
/// The clock was set if it is this far from where it should be.
const CLOCK_SET: Duration = Duration::from_secs(2);
/// We look at the clock at least this often.
const SLEEP_MAX: Duration = Duration::from_secs(30);
/// The status is asked for that long after something bad, when what belongs to it has happened, and this often anyway.
const STATUS_AFTER: Duration = Duration::from_millis(1500);
const STATUS_EVERY: Duration = Duration::from_secs(600);
/// An answer during which something happened is asked for again, that often at most.
const STATUS_AGAIN_MAX: u32 = 5;
/// What nobody is sent is not kept more often: flash wears, and the daemon tells of its last events again.
const KEEP_PAUSE: Duration = Duration::from_secs(5);
/// Who is being sent something when the daemon ends may take this long; the daemon waits for two seconds.
const END_MAX: Duration = Duration::from_millis(1500);

/// Runs until the daemon ends.
///
/// # Errors
/// No settings, no folder, or the rights of root cannot be given up.
pub(crate) fn serve(run_dir: &Path, state_dir: &Path) -> Result<(), Failure> {
    let Told { log, alerts: mut settings } = read_settings()?;
    start_companion_log(&log);
    settings::read_secrets(&mut settings);
    let user = companion_user().map_err(|e| Failure::new("cannot give up the rights of root", &e))?;
    let folder = own_folder(state_dir, user)
        .map_err(|e| Failure::new(format!("cannot use {}", state_dir.join(FOLDER).display()), &e))?;
    process::become_user(user).map_err(|e| Failure::new("cannot give up the rights of root", &e))?;
    let end = end_with_input().map_err(|e| Failure::new("cannot start a thread", &e))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let socket = run_dir.join(format!("{NAME}.sock"));
    runtime.block_on(async { Loop::new(settings, &folder, socket).run(&end).await });
    // Threads that look a name up, or wait for a program, may take their time.
    runtime.shutdown_background();
    Ok(())
}

fn read_settings() -> Result<Told, Failure> {
    let mut line = String::new();
    let read = io::stdin().lock().take(SETTINGS_MAX).read_line(&mut line);
    read.map_err(|e| Failure::new("cannot read the settings", &e))?;
    // Its text is not repeated.
    serde_json::from_str(&line).map_err(|_| {
        Failure::says("these are not the settings of alerts")
            .hint("the daemon starts it: write a section alert")
    })
}

/// Our folder in the state directory: nobody else's, and nobody else reads it.
fn own_folder(state_dir: &Path, user: User) -> io::Result<PathBuf> {
    let folder = state_dir.join(FOLDER);
    fs::create_dir_all(state_dir)?;
    match fs::DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    // The state directory is root's alone, so nobody puts a link there between this and what follows.
    let found = fs::symlink_metadata(&folder)?;
    if !found.is_dir() {
        return Err(io::Error::new(io::ErrorKind::NotADirectory, "it is no directory"));
    }
    if (found.uid(), found.gid()) != (user.id, user.group) {
        chown(&folder, Some(user.id), Some(user.group))?;
        // What another user left (there was no `mwan` before) can be read on.
        match fs::symlink_metadata(folder.join(FILE)) {
            // The folder is that user's until now, who may put a link there this very moment.
            Ok(file) if file.is_file() => lchown(folder.join(FILE), Some(user.id), Some(user.group))?,
            _ => {}
        }
    }
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
    // Others may have to be let through to it, not to see what else is there.
    let above = fs::metadata(state_dir)?.permissions().mode();
    if !user.is_root() && User::own().is_root() && above & 0o001 == 0 {
        fs::set_permissions(state_dir, fs::Permissions::from_mode(above & 0o7777 | 0o001))?;
    }
    Ok(folder)
}

/// The daemon holds the other end, and so tells its own.
fn end_with_input() -> io::Result<std::sync::Arc<Notify>> {
    let end = std::sync::Arc::new(Notify::new());
    let told = end.clone();
    let wait = move || {
        let mut rest = [0; 64];
        while io::stdin().read(&mut rest).is_ok_and(|read| read > 0) {}
        told.notify_one();
    };
    std::thread::Builder::new().name("input".to_owned()).spawn(wait)?;
    Ok(end)
}

/// What became of a message.
type Done = (String, Result<(), Fault>);

struct Loop {
    engine: Engine,
    settings: Settings,
    file: PathBuf,
    socket: PathBuf,
    /// What of the engine is in the file.
    kept: Option<u64>,
    /// It is not written before this.
    keep_from: Instant,
    /// The file could not be written, which was said.
    told: bool,
    clock: Clock,
    /// When the status is asked for.
    status_at: Instant,
    /// Answers in a row that were overtaken by events.
    overtaken: u32,
    /// Number of the last test; they grow.
    tested: u64,
    flying: usize,
    board: watch::Sender<Vec<Alert>>,
}

impl Loop {
    fn new(settings: Settings, folder: &Path, socket: PathBuf) -> Self {
        let file = folder.join(FILE);
        let clock = Clock::new();
        let (engine, bad) = Engine::new(settings.clone(), &read(&file), clock.now());
        if bad > 0 {
            warn!("alerts: {bad} lines of {} cannot be read and are left out", file.display());
        }
        let status_at = Instant::now() + STATUS_AFTER;
        let board = watch::Sender::new(Vec::new());
        let (kept, keep_from, told, overtaken, flying) = (None, Instant::now(), false, 0, 0);
        Loop {
            engine,
            settings,
            file,
            socket,
            kept,
            keep_from,
            told,
            clock,
            status_at,
            overtaken,
            tested: 0,
            flying,
            board,
        }
    }

    async fn run(&mut self, end: &Notify) {
        let (hear, mut heard) = mpsc::channel(HEARD_MAX);
        let (done, mut landed) = mpsc::channel(HEARD_MAX);
        tokio::spawn(listen::hear(self.socket.clone(), hear.clone()));
        tokio::spawn(listen::report(self.socket.clone(), self.board.subscribe()));
        let Ok(mut terminate) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        else {
            return;
        };
        loop {
            self.step(&done);
            if Instant::now() >= self.status_at {
                self.status_at = Instant::now() + STATUS_EVERY;
                let heard = self.engine.last_event();
                tokio::spawn(listen::status(self.socket.clone(), heard, hear.clone()));
            }
            tokio::select! {
                biased;
                () = end.notified() => break,
                _ = terminate.recv() => break,
                Some((channel, result)) = landed.recv() => self.landed(&channel, result),
                Some(said) = heard.recv() => self.heard(said),
                () = tokio::time::sleep(self.sleep()) => {}
            }
        }
        let last = async {
            while self.flying > 0 {
                let Some((channel, result)) = landed.recv().await else { return };
                self.landed(&channel, result);
            }
        };
        let _ = tokio::time::timeout(END_MAX, last).await;
        self.keep();
    }

    /// When what there is has to be written; `None`: it is in the file.
    fn keep_at(&self) -> Option<Instant> {
        (self.kept != Some(self.engine.revision())).then_some(self.keep_from)
    }

    /// Keeps what there is, then sends what is due: what was kept is sent again if we die, and nothing else.
    fn step(&mut self, done: &mpsc::Sender<Done>) {
        if let Some(by_ms) = self.clock.set_by() {
            self.engine.clock_set(by_ms);
        }
        let due = self.engine.due(self.clock.now());
        if !due.is_empty() || self.keep_at().is_some_and(|at| at <= Instant::now()) {
            self.keep();
        }
        for message in due {
            self.launch(message, done.clone());
        }
        let now = self.clock.now();
        let alerts: Vec<Alert> = self.engine.status(now).into_iter().map(listen::wire).collect();
        self.board.send_if_modified(|board| {
            let changed = *board != alerts;
            *board = alerts;
            changed
        });
    }

    fn launch(&mut self, message: Outgoing, done: mpsc::Sender<Done>) {
        let Some(channel) = self.settings.channel(&message.channel).cloned() else { return };
        let site = self.settings.site.clone();
        self.flying += 1;
        tokio::spawn(async move {
            let result = send::send(&site, &channel, &message).await;
            let _ = done.send((message.channel, result)).await;
        });
    }

    fn landed(&mut self, channel: &str, result: Result<(), Fault>) {
        self.flying = self.flying.saturating_sub(1);
        // It must not go again.
        self.keep_from = Instant::now();
        self.engine.sent(self.clock.now(), channel, result);
    }

    fn heard(&mut self, heard: Heard) {
        let now = self.clock.now();
        match heard {
            Heard::Begins { latest, from } => {
                self.engine.newest_event(latest);
                // Whoever comes after us has to know where we began.
                self.keep_from = Instant::now();
                let _ = from.send(self.engine.last_event());
                self.look_soon();
            }
            Heard::Event(event) => {
                if event.severity >= Severity::Warning {
                    self.look_soon();
                }
                self.engine.event(now, &event);
            }
            // A daemon tells of one again that it has heard nothing of.
            Heard::Test { number, .. } if number <= self.tested => {}
            Heard::Test { name, number } => {
                self.tested = number;
                self.engine.test(now, &name, number);
            }
            // What has happened meanwhile is newer than what it says, and nothing would put that right again.
            Heard::Status { heard, .. }
                if heard != self.engine.last_event() && self.overtaken < STATUS_AGAIN_MAX =>
            {
                self.overtaken += 1;
                self.look_soon();
            }
            Heard::Status { status, .. } => {
                self.overtaken = 0;
                self.engine.snapshot(now, &Snapshot::from(&*status));
            }
        }
    }

    fn look_soon(&mut self) {
        self.status_at = self.status_at.min(Instant::now() + STATUS_AFTER);
    }

    /// How long nothing is due.
    fn sleep(&self) -> Duration {
        let now = self.clock.now();
        let due =
            self.engine.wake_at(now).map_or(SLEEP_MAX, |at| Duration::from_millis(at.saturating_sub(now.ms)));
        let at = self.keep_at().map_or(self.status_at, |at| at.min(self.status_at));
        due.min(SLEEP_MAX).min(at.saturating_duration_since(Instant::now()))
    }

    fn keep(&mut self) {
        let revision = self.engine.revision();
        if self.kept == Some(revision) {
            return;
        }
        self.keep_from = Instant::now() + KEEP_PAUSE;
        let text = self.engine.save();
        match replace(&self.file, Marks::ours(0o600), Durability::Reboot, text.as_bytes()) {
            Ok(()) => (self.kept, self.told) = (Some(revision), false),
            Err(error) if !self.told => {
                warn!(
                    "alerts: cannot write {}: {error}; after a restart some may be sent again",
                    self.file.display()
                );
                self.told = true;
            }
            Err(_) => {}
        }
    }
}

/// The file as text, or nothing.
fn read(file: &Path) -> String {
    let mut text = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(FILE_MAX).read_to_end(&mut text));
    match read {
        Ok(_) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) => {
            if error.kind() != io::ErrorKind::NotFound {
                warn!("alerts: cannot read {}: {error}", file.display());
            }
            String::new()
        }
    }
}

/// The wall clock beside one that nobody sets.
struct Clock {
    began: Instant,
    wall_at_begin: u64,
}

impl Clock {
    fn new() -> Self {
        Clock { began: Instant::now(), wall_at_begin: wall_ms() }
    }

    /// By how much the clock was set since the last time, ms; `None`: it was not.
    fn set_by(&mut self) -> Option<i64> {
        let expected = self.wall_at_begin + ms(self.began.elapsed());
        let by = i64::try_from(wall_ms()).ok()? - i64::try_from(expected).ok()?;
        // Small differences are a clock being adjusted slowly (adjtime); they do not add up.
        *self = Clock::new();
        (by.unsigned_abs() > ms(CLOCK_SET)).then_some(by)
    }

    fn now(&self) -> Now {
        let ms = wall_ms();
        let utc_offset_s = clock::utc_offset_s(i64::try_from(ms / 1000).unwrap_or(0));
        Now { ms, utc_offset_s }
    }
}

fn wall_ms() -> u64 {
    ms(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mwan_api::{Event, Status};
    use serde_json::json;

    use super::*;

    fn event(id: u64, to: &str) -> Event {
        serde_json::from_value(json!({
            "id": id, "time_ms": 0, "kind": "path", "severity": "info", "interface": "wan", "family": "ipv4", "policy": null,
            "from": null, "to": to, "code": "x", "text": "",
        }))
        .unwrap()
    }

    fn status_with(path: &str) -> Box<Status> {
        let empty = json!({"ipv4": [], "ipv6": []});
        let path = json!({
            "family": "ipv4", "status": path, "usable": false, "carries": false, "reason": {"code": "x", "text": "why"}, "since_s": 7,
            "uptime_s": 0, "tracking": "active", "score": 0, "lost": 3, "rounds": 1, "age_s": 1, "hold": null, "source": null,
            "gateway": null, "worst_case_detection_ms": null, "missing": 0, "targets": [], "network": null,
        });
        let status = json!({
            "schema": "mwan.status.v1", "degraded": false, "problems": [], "rules": [], "diagnostics": [], "policies": [],
            "daemon": {"version": "", "pid": 1, "uptime_s": 0, "config": "", "config_rejected": null, "generation": 1, "last_apply_us": 1,
                       "applies": 1, "repairs": 0, "apply_error": null, "late_rounds": 0},
            "interfaces": [{"name": "wan", "device": "eth1", "enabled": true, "id": 1, "mark": "0x100", "paths": [path]}],
            "connected": empty, "custom": empty,
        });
        Box::new(serde_json::from_value(status).unwrap())
    }

    #[test]
    fn where_it_began_is_kept_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { site: "router".into(), channels: Vec::new() };
        let mut alerts = Loop::new(settings, dir.path(), dir.path().join("none.sock"));
        let (done, _landed) = mpsc::channel(1);
        alerts.step(&done);
        let (from, _after) = tokio::sync::oneshot::channel();
        alerts.heard(Heard::Begins { latest: 4711, from });
        alerts.step(&done);
        assert!(fs::read_to_string(dir.path().join(FILE)).unwrap().contains("4711"));
    }

    #[test]
    fn a_storm_of_events_does_not_wear_the_flash() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { site: "router".into(), channels: Vec::new() };
        let mut alerts = Loop::new(settings, dir.path(), dir.path().join("none.sock"));
        let (done, _landed) = mpsc::channel(1);
        let (begin, mut kept) = (Instant::now(), std::collections::BTreeSet::new());
        for id in 1..100 {
            let note =
                Event { kind: mwan_api::EventKind::Repair, text: format!("restored {id}"), ..event(id, "") };
            alerts.heard(Heard::Event(note));
            alerts.step(&done);
            kept.insert(fs::read_to_string(dir.path().join(FILE)).unwrap());
        }
        assert!(alerts.sleep() <= KEEP_PAUSE);
        let most = 2 + begin.elapsed().as_secs() / KEEP_PAUSE.as_secs();
        assert!(kept.len() as u64 <= most, "{} times in {:?}", kept.len(), begin.elapsed());
        // What was sent is kept at once.
        alerts.landed("nobody", Ok(()));
        alerts.step(&done);
        assert!(fs::read_to_string(dir.path().join(FILE)).unwrap().contains("restored 99"));
        // A disk that takes nothing is not asked without a pause.
        alerts.file = dir.path().join("none").join(FILE);
        alerts.heard(Heard::Event(Event { kind: mwan_api::EventKind::Repair, ..event(100, "") }));
        alerts.landed("nobody", Ok(()));
        alerts.step(&done);
        assert!(alerts.told && alerts.sleep() > Duration::ZERO);
    }

    #[test]
    fn an_answer_that_events_have_overtaken_is_asked_for_again() {
        let dir = tempfile::tempdir().unwrap();
        let settings = Settings { site: "router".into(), channels: Vec::new() };
        let mut alerts = Loop::new(settings, dir.path(), dir.path().join("none.sock"));
        let is_down = |alerts: &Loop| {
            let troubles = alerts.engine.incidents().iter().flat_map(|i| &i.troubles);
            troubles.into_iter().any(|trouble| trouble.until_ms.is_none())
        };
        alerts.heard(Heard::Event(event(1, "offline")));
        // It was asked now, and on its way the path came back.
        alerts.heard(Heard::Event(event(2, "online")));
        alerts.status_at = Instant::now() + STATUS_EVERY;
        alerts.heard(Heard::Status { status: status_with("offline"), heard: 1 });
        assert!(!is_down(&alerts));
        assert!(alerts.status_at <= Instant::now() + STATUS_AFTER);
        alerts.heard(Heard::Status { status: status_with("offline"), heard: 2 });
        assert!(is_down(&alerts), "this one nothing has overtaken");
        alerts.heard(Heard::Event(event(3, "online")));
        for _ in 0..STATUS_AGAIN_MAX {
            alerts.heard(Heard::Status { status: status_with("offline"), heard: 2 });
            assert!(!is_down(&alerts));
        }
        alerts.heard(Heard::Status { status: status_with("offline"), heard: 2 });
        assert!(is_down(&alerts), "where something happens all the time an old one is better than none");
    }
}
