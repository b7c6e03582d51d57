//! Runs the scripts that want to hear of transitions.
//!
//! One thread runs one script at a time, in the order of the transitions: a script sees the world in the order in which
//! it happened. The daemon's loop only puts calls into a bounded queue and never waits. A script has a time limit, after
//! which it is killed with everything it started; what it prints goes to the log, bounded in length and rate.

mod run;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mwan_api::HookDocument;
use mwan_config::HookPlaces;
use mwan_core::{Action, HookCall, Scope};
use tokio::sync::oneshot;
use tracing::{debug, info, warn};

use crate::cli::DaemonArgs;
use crate::platform::PlatformName;
use run::{Ended, Run};

/// Programs that read a document, unless told otherwise.
const DIRECTORY: &str = "/etc/mwan/hooks.d";
/// Enough to send a mail, too long for anything that hangs.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// Calls that wait for the scripts before them. A site with 250 interfaces that all go down at once fits.
const QUEUE_MAX: usize = 512;
/// Files of the directory that are run; a longer list is a mistake.
const FILES_MAX: usize = 64;
/// Lines of one run that are logged.
const LINES_PER_RUN: usize = 20;
/// Lines of all runs that are logged within a minute.
const LINES_PER_MINUTE: usize = 200;
/// After the data plane was removed, all scripts together have this long, if their own limit is not less: who stops us
/// waits for the end.
pub(super) const STOP_MAX: Duration = Duration::from_secs(30);
/// The same when the daemon is told to end and another will follow: nobody watches the WANs meanwhile, and procd kills
/// after 5 s.
pub(super) const END_MAX: Duration = Duration::from_secs(4);
/// The thread ends this soon after its time is over: it looks at its script every few milliseconds.
const THREAD_MAX: Duration = Duration::from_secs(1);
/// What hotplug scripts find their programs by; an empty environment would leave it to the shell's taste.
const PATH_VARIABLE: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Where the scripts are.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Places {
    /// mwan3's user script.
    pub(crate) user_script: Option<PathBuf>,
    /// Directory of executables that read a document.
    pub(crate) directory: PathBuf,
    /// OpenWrt's `hotplug-call`, where there is one.
    pub(crate) hotplug: Option<PathBuf>,
    /// How long a script may take.
    pub(crate) time_limit: Duration,
}

impl Places {
    /// What was asked for on the command line, else by the configuration, else what its name and the system say.
    pub(super) fn new(options: &DaemonArgs, configured: &HookPlaces) -> Self {
        let hotplug = Path::new("/sbin/hotplug-call");
        let has_hotplug = || options.platform.resolve() == PlatformName::Openwrt && hotplug.exists();
        let asked = &options.hooks;
        let script = || configured.user_script.as_ref().map(PathBuf::from);
        let directory = || configured.directory.as_ref().map(PathBuf::from);
        let limit = asked.hook_timeout.map(Duration::from_secs).or(configured.timeout);
        Places {
            user_script: asked
                .user_script
                .clone()
                .or_else(script)
                .or_else(|| user_script_of(&options.config)),
            directory: asked.hooks_dir.clone().or_else(directory).unwrap_or_else(|| DIRECTORY.into()),
            hotplug: has_hotplug().then(|| hotplug.to_owned()),
            time_limit: limit.unwrap_or(TIME_LIMIT),
        }
    }
}

/// The script of the package whose file is read; `mwan.toml` belongs to neither.
fn user_script_of(config: &Path) -> Option<PathBuf> {
    match config.file_name()?.to_str()? {
        "mwan4" => Some("/etc/mwan4.user".into()),
        "mwan3" | "mwan" => Some("/etc/mwan3.user".into()),
        _ => None,
    }
}

/// The queue's entrance.
#[derive(Debug)]
pub(super) struct Hooks {
    /// `None`: the daemon is ending.
    queue: Option<SyncSender<HookCall>>,
    orders: Arc<Mutex<Orders>>,
    dropped: Arc<AtomicU64>,
    /// Ends with the thread.
    thread: oneshot::Receiver<()>,
}

/// What the thread has to heed.
#[derive(Debug)]
struct Orders {
    /// Those of the configuration in force.
    places: Places,
    /// When everything has to be over.
    end: Option<Instant>,
}

fn locked(orders: &Mutex<Orders>) -> MutexGuard<'_, Orders> {
    orders.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hooks {
    /// Starts the thread.
    pub(super) fn start(places: Places) -> std::io::Result<Self> {
        let (queue, calls) = sync_channel(QUEUE_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let orders = Arc::new(Mutex::new(Orders { places, end: None }));
        let mut runner = Runner::new(dropped.clone(), orders.clone());
        let (alive, thread) = oneshot::channel();
        std::thread::Builder::new().name("hooks".into()).spawn(move || {
            runner.work(&calls);
            drop(alive);
        })?;
        Ok(Hooks { queue: Some(queue), orders, dropped, thread })
    }

    /// Other scripts, from the next call on.
    pub(super) fn look_in(&self, places: Places) {
        locked(&self.orders).places = places;
    }

    /// Takes no more calls and waits for those in the queue, for `within` at most or for the time limit of a script, if
    /// that is less. What runs then is killed, the rest is counted and logged.
    pub(super) async fn finish(&mut self, within: Duration) {
        let within = {
            let mut orders = locked(&self.orders);
            let within = within.min(orders.places.time_limit);
            orders.end = Some(Instant::now() + within);
            within
        };
        // The thread ends when the queue has no entrance and is empty.
        self.queue = None;
        let _ = tokio::time::timeout(within + THREAD_MAX, &mut self.thread).await;
    }

    /// Puts a call into the queue. Never waits: a call that finds it full is dropped and counted.
    pub(super) fn call(&self, call: HookCall) {
        let Some(queue) = &self.queue else { return };
        match queue.try_send(call) {
            Ok(()) => {}
            Err(TrySendError::Full(call)) => {
                // Once per congestion; the runner tells the number when it is over.
                if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
                    let (action, interface) = (call.action.name(), &call.interface);
                    warn!("hooks are too slow: {QUEUE_MAX} calls wait, dropped from {action} {interface} on");
                }
            }
            // The thread ends only with the process.
            Err(TrySendError::Disconnected(_)) => debug!("no thread runs hooks"),
        }
    }
}

/// What was last wrong with a script; told once, until it ends well again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    Failed,
    Hung,
    NotStarted,
    Flooded,
}

/// The thread's own.
struct Runner {
    dropped: Arc<AtomicU64>,
    orders: Arc<Mutex<Orders>>,
    troubles: BTreeMap<PathBuf, Trouble>,
    /// Begin of the present minute, and lines logged in it.
    minute: (Instant, usize),
}

impl Runner {
    fn new(dropped: Arc<AtomicU64>, orders: Arc<Mutex<Orders>>) -> Self {
        Runner { dropped, orders, troubles: BTreeMap::new(), minute: (Instant::now(), 0) }
    }

    fn work(&mut self, calls: &Receiver<HookCall>) {
        let mut lost = 0;
        while let Ok(call) = calls.recv() {
            if self.is_over() {
                lost += 1;
                continue;
            }
            // Held for the copy only: nobody waits for a script.
            let places = locked(&self.orders).places.clone();
            self.one(&call, &places);
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                warn!("{dropped} calls of hooks were dropped");
            }
        }
        if lost > 0 {
            warn!("{lost} calls of hooks are lost: the daemon ends, and their time is over");
        }
    }

    fn is_over(&self) -> bool {
        locked(&self.orders).end.is_some_and(|end| Instant::now() >= end)
    }

    /// Runs everything that wants to hear of one call.
    fn one(&mut self, call: &HookCall, places: &Places) {
        let script = places.user_script.as_deref();
        if let Some(script) = script.filter(|s| wants_script(call) && s.exists()) {
            // By the shell whatever its mode, as mwan3 does; values are in the environment, never in shell text.
            let run = Run::new("/bin/sh").argument(script).environment(environment(call));
            self.run(script, run, call, places.time_limit);
        }
        let hotplug = places.hotplug.as_deref();
        if let Some(program) = hotplug.filter(|_| wants_hotplug(call)) {
            let run = Run::new(program).argument("iface").environment(environment(call));
            self.run(program, run, call, places.time_limit);
        }
        if wants_document(call) {
            let files = executables(&places.directory);
            let document = if files.is_empty() { Vec::new() } else { document(call) };
            for file in files {
                if self.is_over() {
                    return;
                }
                let run = Run::new(&file).environment(environment(call)).input(document.clone());
                self.run(&file, run, call, places.time_limit);
            }
        }
    }

    fn run(&mut self, file: &Path, run: Run, call: &HookCall, time_limit: Duration) {
        let name = file.to_string_lossy().into_owned();
        let what = format!("{name} ({} {})", call.action.name(), call.interface);
        let mut lines = 0;
        let minute = &mut self.minute;
        let deadline = Instant::now() + time_limit;
        // Asked again and again: the end may come while a script runs.
        let over = || {
            let end = locked(&self.orders).end;
            Instant::now() >= end.map_or(deadline, |end| end.min(deadline))
        };
        let outcome = run.finish(over, |line| {
            if minute.0.elapsed() >= Duration::from_secs(60) {
                *minute = (Instant::now(), 0);
            }
            lines += 1;
            let within = lines <= LINES_PER_RUN && minute.1 < LINES_PER_MINUTE;
            if within {
                minute.1 += 1;
                info!("hook {what}: {line}");
            }
            within
        });
        let why = if self.is_over() {
            "the daemon ends, and its time is over".to_owned()
        } else {
            format!("not done after {} s", time_limit.as_secs_f64())
        };
        let (trouble, text) = match outcome {
            Err(error) => (Trouble::NotStarted, format!("hook {what} cannot be run: {error}")),
            Ok(done) => match done.ended {
                Ended::Killed => (Trouble::Hung, format!("hook {what} was killed: {why}")),
                Ended::Failed(how) => (Trouble::Failed, format!("hook {what} failed: {how}")),
                Ended::Well if done.unlogged > 0 => {
                    let text =
                        format!("hook {what} printed too much: {} lines are not logged", done.unlogged);
                    (Trouble::Flooded, text)
                }
                Ended::Well => {
                    if self.troubles.remove(file).is_some() {
                        info!("hook {what} works again");
                    }
                    return;
                }
            },
        };
        let known = self.troubles.insert(file.to_owned(), trouble) == Some(trouble);
        if known { debug!("{text}") } else { warn!("{text}") }
    }
}

/// mwan3's user script knows interfaces, and four actions.
fn wants_script(call: &HookCall) -> bool {
    call.scope == Scope::Interface && call.action.reaches_user_script()
}

/// On OpenWrt `ifup` and `ifdown` come from netifd itself.
fn wants_hotplug(call: &HookCall) -> bool {
    call.scope == Scope::Interface && !matches!(call.action, Action::IfUp | Action::IfDown)
}

/// Programs of the directory hear of the device of an interface, and of the tracker of each of its families.
fn wants_document(call: &HookCall) -> bool {
    let device = matches!(call.action, Action::IfUp | Action::IfDown);
    device == (call.scope == Scope::Interface)
}

fn environment(call: &HookCall) -> Vec<(&'static str, String)> {
    vec![
        ("PATH", PATH_VARIABLE.to_owned()),
        ("ACTION", call.action.name().to_owned()),
        ("INTERFACE", call.interface.clone()),
        ("DEVICE", call.device.clone()),
    ]
}

/// The executable files of a directory in lexical order; hidden ones are somebody's unfinished business.
fn executables(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let executable = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    let hidden = |path: &PathBuf| path.file_name().is_none_or(|n| n.as_encoded_bytes().starts_with(b"."));
    let mut files: Vec<PathBuf> =
        entries.filter_map(|e| Some(e.ok()?.path())).filter(|p| !hidden(p) && executable(p)).collect();
    files.sort();
    if files.len() > FILES_MAX {
        warn!("{} has {} executable files; {FILES_MAX} are run", directory.display(), files.len());
        files.truncate(FILES_MAX);
    }
    files
}

/// What is on standard input: one line of JSON, `mwan.hook.v1`.
fn document(call: &HookCall) -> Vec<u8> {
    let family = match call.scope {
        Scope::Interface => None,
        Scope::Path(family) => Some(family),
    };
    let paths = call.paths.iter().map(|(family, state, reason)| mwan_api::HookPath {
        family: family.name().to_owned(),
        status: state.name().to_owned(),
        reason: mwan_api::Reason { code: reason.code().to_owned(), text: reason.to_string() },
    });
    let document = HookDocument {
        schema: mwan_api::SCHEMA_HOOK.to_owned(),
        action: call.action.name().to_owned(),
        interface: call.interface.clone(),
        device: call.device.clone(),
        family: family.map(|f| f.name().to_owned()),
        previous: call.from.map(|s| s.name().to_owned()),
        status: call.to.name().to_owned(),
        paths: paths.collect(),
        time_s: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
    };
    // A document of strings and numbers can always be written.
    let mut line = serde_json::to_vec(&document).unwrap_or_default();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests;
