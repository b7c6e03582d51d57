//! The daemon: one loop that carries events to the core and the core's wishes to the kernel.
//!
//! | module | what of it |
//! |---|---|
//! | this one | the loop: what wakes it, and the way of an event through the core |
//! | `start` | everything that is opened, and what a daemon before us left |
//! | `configure`, `config`, `watched` | another configuration: its files, how they are read, how changes of them are noticed |
//! | `put`, `held` | the configuration file for clients, and a cloud's document that is watched |
//! | `order`, `confirm`, `reach` | another configuration with a way back: confirmed, or the one before comes back |
//! | `revisions` | the configurations that were in force |
//! | `apply`, `writer` | desired states into the kernel, and what the core wishes beside them |
//! | `flows`, `flow_list` | connection entries: their marks, which of them end, and a list of them |
//! | `drill` | a WAN that is made to look dead, and what was measured then |
//! | `hooks`, `dnsmasq` | others who are told |
//! | `companion`, `alerts` | processes that speak with the outside, and what the one that sends alerts has said |
//! | `events`, `sample` | what has happened and how the paths are, for those who watch |
//! | `history` | what is recorded of the paths |
//! | `record` | the last events of the core, for a replay |
//! | `control`, `answer`, `status`, `plan`, `explain`, `why`, `impact` | the control socket, and what is said there |
//! | `state`, `lock`, `notify`, `log`, `logfile`, `syslog` | files that survive, one daemon at a time, systemd, the log |

mod alerts;
mod answer;
mod apply;
mod companion;
mod config;
mod configure;
mod confirm;
mod control;
mod dnsmasq;
mod drill;
mod durations;
mod events;
mod explain;
mod flow_list;
mod flows;
mod held;
mod history;
mod hooks;
mod impact;
mod lock;
mod log;
#[cfg(feature = "ipfire")]
mod logfile;
mod notify;
mod order;
mod plan;
mod put;
mod reach;
#[cfg(feature = "record")]
mod record;
#[cfg(not(feature = "record"))]
#[path = "record/absent.rs"]
mod record;
mod reload;
mod revisions;
mod sample;
mod start;
mod state;
mod status;
mod syslog;
mod watched;
mod why;
mod writer;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mwan_api::{EventKind, Severity, Watched};
use mwan_config::{Config, Diagnostic};
use mwan_core::{Core, Desired, Effect, Event, PlatformView, ProbeReport, Remark, Time};
use mwan_linux::clock;
use mwan_linux::monitor::{Change, Monitor, MonitorError};
use mwan_linux::probe::Prober;
use tokio::sync::mpsc;
use tracing::{debug, info, warn};

use crate::cli::{DaemonArgs, Failure};
use crate::ipfire::Ipfire;
use crate::openwrt::Openwrt;
use alerts::AlertBoard;
use confirm::Confirm;
use dnsmasq::Dnsmasq;
use drill::Drills;
use durations::Switches;
use events::EventLog;
use flow_list::FlowList;
use flows::{Done, Flows};
use history::Recorder;
use hooks::{END_MAX, Hooks, Places};
use lock::Locks;
use put::CloudFile;
use record::FlightRecorder;
use reload::Reload;
use revisions::Revisions;
use sample::Sampler;
use start::Signals;
use state::Store;
use status::Achieved;
use watched::{Kind, WatchedFiles};
use writer::Writer;

use companion::Companions;
use control::Hub;

pub(crate) use companion::Wanted;
#[cfg(any(feature = "alerts", feature = "web"))]
pub(crate) use companion::user as companion_user;
pub(crate) use config::{parse_config, read_config, reread_config};
#[cfg(any(feature = "alerts", feature = "web"))]
pub(crate) use control::Access;
pub(crate) use control::Asked;
#[cfg(feature = "web")]
pub(crate) use control::group;
pub(crate) use drill::check_name as check_drill_name;
pub(crate) use events::files as event_files;
pub(crate) use explain::explain_without_daemon;
#[cfg(feature = "web")]
pub(crate) use log::{LogSettings, start_companion_log};
pub(crate) use plan::plan_without_daemon;
pub(crate) use reach::Target as ReachTarget;
pub(crate) use revisions::revision;
pub(crate) use status::diagnostics;

/// Name of the control socket in the run directory.
pub(crate) const SOCKET: &str = "mwan.sock";

/// Name of the socket for operators: IPFire's web pages.
#[cfg(feature = "ipfire")]
const OPERATOR_SOCKET: &str = "operator.sock";

/// How often files are looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// Least time between two comparisons: others may change the ruleset as fast as they like.
const VERIFY_PAUSE: Duration = Duration::from_millis(200);
/// Least time between two new views of the network while changes pour in; the first is taken at once.
const NETWORK_PAUSE: Duration = Duration::from_millis(100);
/// A round started later than this after it was due is counted.
const LATE: Duration = Duration::from_millis(100);

/// Runs the daemon until it is told to end.
pub(crate) fn run(run_dir: &Path, options: &DaemonArgs) -> Result<(), Failure> {
    #[cfg(feature = "ipfire")]
    let log = log::start_log(options);
    #[cfg(not(feature = "ipfire"))]
    log::start_log(options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let ended = runtime.block_on(async {
        let mut daemon = Daemon::start(run_dir, options).await?;
        daemon.run().await
    });
    #[cfg(feature = "ipfire")]
    if let Some(log) = log {
        if let Err(failure) = &ended {
            tracing::error!("{failure}");
        }
        log.flush();
    }
    ended
}

/// Removes everything of ours from the kernel, and what a dead daemon left in its run directory.
pub(crate) fn cleanup(run_dir: &Path) -> Result<(), Failure> {
    // A daemon that is alive would restore it all.
    let _lock = lock::take_namespace()?;
    remove_all(run_dir)
}

/// The caller holds the locks.
fn remove_all(run_dir: &Path) -> Result<(), Failure> {
    Writer::open()?.clean()?;
    let mut store = Store::new(run_dir, run_dir);
    store.load();
    // By what mask, only a daemon of this boot can have said; without its word no bit is ours.
    match store.marked_with(0) {
        0 => {}
        mask => flows::clean(mask),
    }
    store.forget_health();
    dnsmasq::clean(run_dir);
    let _ = fs::remove_file(run_dir.join(SOCKET));
    crate::web::forget(run_dir);
    #[cfg(feature = "ipfire")]
    let _ = fs::remove_file(run_dir.join(OPERATOR_SOCKET));
    Ok(())
}

/// Whether nobody holds a run directory: neither a daemon, nor who ends one.
#[cfg(feature = "ipfire")]
pub(crate) fn is_free(run_dir: &Path) -> bool {
    !run_dir.join(lock::LOCK).exists() || lock::Locks::take(run_dir).is_ok()
}

/// Ends what a daemon left, and holds its locks while `work` is done.
#[cfg(feature = "ipfire")]
pub(crate) fn without_daemon<T>(run_dir: &Path, work: impl FnOnce() -> T) -> Result<T, Failure> {
    fs::create_dir_all(run_dir)
        .map_err(|e| Failure::new(format!("cannot make the directory {}", run_dir.display()), &e))?;
    let _locks = lock::Locks::take(run_dir)?;
    remove_all(run_dir)?;
    Ok(work())
}

/// Whether no daemon is left in this network namespace: one that was told to stop answers, and then ends.
pub(crate) fn has_ended() -> bool {
    lock::take_namespace().is_ok()
}

struct Daemon {
    core: Core,
    record: FlightRecorder,
    writer: Writer,
    flows: Flows,
    flows_done: mpsc::UnboundedReceiver<Done>,
    hooks: Hooks,
    monitor: Monitor,
    /// OpenWrt's network manager.
    openwrt: Option<Openwrt>,
    /// IPFire's RED, and the links that are dialled.
    ipfire: Option<Ipfire>,
    prober: Prober,
    reports: mpsc::UnboundedReceiver<ProbeReport>,
    ask: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    store: Store,
    files: WatchedFiles,
    dnsmasq: Dnsmasq,
    companions: Companions,
    alerts: AlertBoard,
    events: EventLog,
    sampler: Sampler,
    flow_list: FlowList,
    drills: Drills,
    /// How often others came to carry a policy, by its name.
    switches: Switches,
    history: Recorder,
    options: DaemonArgs,
    run_dir: PathBuf,
    /// Our bits in connection entries are being cleared, and the end waits for it.
    clearing: bool,
    _locks: Locks,
    signals: Signals,
    started: Time,
    wake_at: Option<Time>,
    /// A desired state that is not in the kernel, and when to try again.
    pending: Option<(Arc<Desired>, Time)>,
    /// When to compare the kernel with what should be there.
    verify_at: Time,
    verified: Time,
    /// A configuration with another mask, which waits for the connection entries, and until when at most.
    staged: Option<(Arc<Config>, Remark, Time)>,
    /// To be finished once the new mask is in the kernel.
    remark: Option<Remark>,
    reload: Reload,
    /// Held by the thread that writes the configuration file.
    writing: Arc<Mutex<()>>,
    /// A configuration that has to be confirmed.
    confirm: Confirm,
    /// Those that were in force.
    revisions: Revisions,
    cloud: CloudFile,
    /// A view of the network that waits for its time.
    network_at: Option<Time>,
    network_seen: Time,
    diagnostics: Vec<Diagnostic>,
    config_rejected: Option<String>,
    apply_error: Option<String>,
    /// The network could not be read when it should have been.
    unreadable: bool,
    late_rounds: u64,
}

/// Whether the loop goes on.
enum Next {
    Go,
    /// It does not, and hooks that wait may take so long at most.
    End(Duration),
    Fail(Failure),
}

impl Daemon {
    async fn run(&mut self) -> Result<(), Failure> {
        let mut watch = tokio::time::interval(WATCH_INTERVAL);
        watch.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wake = self.next_wake();
            let pause = wake.since(clock::now());
            let next = tokio::select! {
                biased;
                change = self.monitor.next() => self.changed(change),
                view = next_view(&mut self.openwrt) => { self.feed(Event::Platform(view)); Next::Go }
                view = next_link(&mut self.ipfire) => { self.links_changed(view); Next::Go }
                Some(report) = self.reports.recv() => self.reported(report),
                Some(done) = self.flows_done.recv() => self.flows_changed(done),
                () = tokio::time::sleep(pause) => self.woken(),
                heard = self.drills.next() => self.drill_heard(heard),
                read = self.reload.next() => { self.was_read(read); Next::Go }
                outcome = self.cloud.next() => { self.cloud_done(outcome); Next::Go }
                _ = watch.tick() => self.look_around(),
                _ = self.signals.hangup.recv() => { self.reload(None); Next::Go }
                _ = self.signals.terminate.recv() => Next::End(END_MAX),
                _ = self.signals.interrupt.recv() => Next::End(END_MAX),
                // Last: whoever asks without end keeps nothing else from being done.
                Some((request, reply)) = self.asked.recv() => self.answer(request, reply),
            };
            match next {
                Next::Go => {}
                Next::End(within) => return self.end(within).await,
                Next::Fail(failure) => return Err(failure),
            }
        }
    }

    /// A link came up, went down, or means something else now.
    fn links_changed(&mut self, view: Option<Arc<PlatformView>>) {
        if let Some(view) = view {
            // What a link tells was done in the kernel before: packets wait for its address, however lately that was looked at.
            if self.network_at.is_some() {
                self.look_at_network(clock::now());
            }
            self.network_seen = Time(0);
            self.feed(Event::Platform(view));
        }
    }

    /// Once a second: files that others change or remove.
    fn look_around(&mut self) -> Next {
        for changed in self.files.look() {
            match changed {
                Kind::Configuration => self.reload(None),
                Kind::Cloud => self.apply_cloud(),
                Kind::Network => {
                    if let Some(view) = self.openwrt.as_mut().and_then(Openwrt::file_changed) {
                        self.feed(Event::Platform(view));
                    }
                }
            }
        }
        self.look_at_confirm();
        self.look_at_drills();
        self.tell_dnsmasq();
        self.dnsmasq.look();
        self.listen_again();
        self.store.save(self.core.memory());
        self.store.try_again(self.writer.own_rules());
        self.events.look();
        self.companions.look();
        self.record.look();
        self.sample();
        Next::Go
    }

    /// Tells who watches, and who records, how the paths are.
    fn sample(&mut self) {
        let watched = self.events.live().receiver_count() > 0;
        if !watched && !self.history.is_running() {
            return;
        }
        let achieved = Achieved::new(&self.core, self.writer.committed(), None);
        let sample = self.sampler.sample(&self.core, &achieved);
        let told = Watched::Sample(sample);
        if watched {
            self.events.tell(&told);
        }
        if let Watched::Sample(sample) = told {
            self.history.sample(&self.core, sample);
        }
    }

    /// Those that the configuration asks for.
    fn set_companions(&mut self) {
        let wanted = companion::wanted(self.core.config(), &self.run_dir, &self.options);
        self.companions.set(wanted);
    }

    /// What clients of a socket get their answers from.
    fn hub(&self) -> Hub {
        Hub { asked: self.ask.clone(), live: self.events.live().clone() }
    }

    /// Only when the sets are in the kernel.
    fn tell_dnsmasq(&mut self) {
        if self.pending.is_none() && self.staged.is_none() {
            self.dnsmasq.tell(self.core.config());
        }
    }

    /// Somebody may have tidied the run directory up.
    fn listen_again(&self) {
        #[cfg(feature = "ipfire")]
        self.listen_for_operators();
        let socket = self.run_dir.join(SOCKET);
        if socket.exists() {
            return;
        }
        let hub = self.hub();
        let listening = fs::create_dir_all(&self.run_dir).and_then(|()| control::listen(&socket, &hub));
        match listening {
            Ok(()) => warn!("{} was gone and is there again", socket.display()),
            Err(error) => debug!("cannot listen at {}: {error}", socket.display()),
        }
    }

    /// IPFire's web server runs as a user of its own; where there is no such group, there is no such socket.
    #[cfg(feature = "ipfire")]
    fn listen_for_operators(&self) {
        let socket = self.run_dir.join(OPERATOR_SOCKET);
        if self.ipfire.is_none() || socket.exists() {
            return;
        }
        let Some(group) = control::group(&self.options.operator_group) else { return };
        if let Err(error) = control::listen_for_operators(&socket, group, &self.hub()) {
            debug!("cannot listen at {}: {error}", socket.display());
        }
    }

    /// Leaves the data plane as it is. Hooks that wait are run, as far as there is time.
    async fn end(&mut self, hooks_max: Duration) -> Result<(), Failure> {
        notify::notify("STOPPING=1");
        // The data plane stays as it is, without what was only pretended. After `stop` there is none.
        if !self.clearing {
            self.feed(Event::EndDrill);
        }
        self.events.note(events::plain(EventKind::Daemon, Severity::Info, "the daemon ends".to_owned()));
        let kept = self.events.keep();
        let recorded = self.history.finish();
        self.companions.finish();
        crate::web::forget(&self.run_dir);
        let _ = fs::remove_file(self.run_dir.join(SOCKET));
        #[cfg(feature = "ipfire")]
        let _ = fs::remove_file(self.run_dir.join(OPERATOR_SOCKET));
        // Let the answer to the request that ended us be written.
        tokio::time::sleep(Duration::from_millis(20)).await;
        #[cfg(feature = "ipfire")]
        if let Some(ipfire) = self.ipfire.take() {
            ipfire.finish().await;
        }
        let end = Instant::now() + hooks_max;
        self.hooks.finish(hooks_max).await;
        self.dnsmasq.finish(end).await;
        // As long as it may take, and a little for what is before it.
        let end = Instant::now() + flows::CLEAR_MAX + WATCH_INTERVAL;
        while self.clearing && Instant::now() < end {
            match self.flows_done.try_recv() {
                Ok(Done::Cleared) => self.clearing = false,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        if let Some(kept) = kept {
            let _ = kept.join();
        }
        recorded.iter().for_each(history::wait);
        self.revisions.finish();
        self.drills.finish();
        info!("ended; the data plane stays as it is");
        Ok(())
    }

    fn next_wake(&self) -> Time {
        let pending = self.pending.as_ref().map(|(_, at)| *at);
        let staged = self.staged.as_ref().map(|(_, _, at)| *at);
        // The next step at once, but behind everything that has happened meanwhile.
        let step = self.reload.staged.is_some().then_some(Time(0));
        let own = [self.wake_at, pending, staged, self.network_at, step];
        own.into_iter().flatten().min().unwrap_or(self.verify_at).min(self.verify_at)
    }

    fn woken(&mut self) -> Next {
        let now = clock::now();
        if let Some(due) = self.wake_at.filter(|at| *at <= now) {
            self.late_rounds += u64::from(now.since(due) > LATE);
            self.feed(Event::Tick);
        }
        if self.network_at.is_some_and(|at| at <= now) {
            self.look_at_network(now);
        }
        if self.pending.as_ref().is_some_and(|(_, at)| *at <= now) {
            self.apply_pending();
        }
        if self.staged.as_ref().is_some_and(|(_, _, at)| *at <= now) {
            self.unstage();
        }
        if self.verify_at <= now {
            self.verify(now);
        }
        if self.reload.staged.is_some() {
            self.step();
        }
        Next::Go
    }

    fn changed(&mut self, change: Result<Change, MonitorError>) -> Next {
        let now = clock::now();
        let change = match change {
            Ok(change) => change,
            Err(error) => return Next::Fail(Failure::new("cannot watch the network any more", &error)),
        };
        if change.network {
            // A device that takes our routes with it is looked at before they are missed.
            let at = self.network_seen + NETWORK_PAUSE;
            let soon = at <= now || change.routing_foreign;
            if soon { self.look_at_network(now) } else { self.network_at = Some(at) }
        }
        if let Some(error) = change.unreadable {
            self.note_unreadable(Some(&error));
        } else if change.overrun {
            self.note_unreadable(None);
        }
        let foreign_nft = change.nft.is_some_and(|nft| !nft.own);
        if change.routing_foreign || foreign_nft || change.overrun {
            self.verify_at = self.verify_at.min((self.verified + VERIFY_PAUSE).max(now));
            if self.verify_at <= now {
                self.verify(now);
            }
        }
        Next::Go
    }

    /// Says once that the view of the network may be old, and once that it is not any more. The monitor tries again
    /// by itself.
    fn note_unreadable(&mut self, error: Option<&dyn std::fmt::Display>) {
        match (std::mem::replace(&mut self.unreadable, error.is_some()), error) {
            (false, Some(error)) => {
                warn!("cannot read the network, what is known of it may be old; to be tried again: {error}");
            }
            (true, None) => info!("the network is read again"),
            _ => {}
        }
    }

    fn look_at_network(&mut self, now: Time) {
        self.network_at = None;
        self.network_seen = now;
        let net = self.monitor.view();
        if self.core.network().is_none_or(|seen| *seen != net) {
            self.feed(Event::Network(net));
        }
    }

    fn reported(&mut self, report: ProbeReport) -> Next {
        self.feed(Event::Probe(report));
        Next::Go
    }

    /// Hands an event to the core and does what it says, until it has nothing more to say.
    fn feed(&mut self, event: Event) {
        // What only a probe or the clock says is worth a look at the files only if it changed a state.
        let mut save = !matches!(event, Event::Probe(_) | Event::Tick | Event::Applied { .. });
        let configured = matches!(event, Event::Configure(_));
        if let Event::Configure(config) = &event {
            self.hooks.look_in(Places::new(&self.options, &config.globals.hooks));
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let links = match (&event, &mut self.ipfire) {
                (Event::Configure(config), Some(ipfire)) => ipfire.configure(config),
                _ => None,
            };
            events.extend(links.map(Event::Platform));
            let now = clock::now();
            self.record.event(now, &event);
            let output = self.core.handle(now, event);
            self.record.decided(&output, &self.core);
            self.drills.decided(now, &output);
            self.wake_at = output.wake_at;
            if let Some(desired) = output.desired {
                save = true;
                events.extend(self.apply(desired));
            }
            for effect in output.effects {
                save |= matches!(effect, Effect::Transition(_));
                self.perform(effect);
            }
            let links = self.ipfire.as_mut().and_then(|ipfire| ipfire.look(&self.core));
            events.extend(links.map(Event::Platform));
        }
        if configured {
            self.tell_dnsmasq();
            self.set_companions();
            self.history.set(self.core.config().globals.history);
            self.follow_cloud();
        }
        if save {
            self.store.save(self.core.memory());
            self.store.save_rules(self.writer.own_rules());
        }
    }
}

/// How the links look next; never, where there are none.
async fn next_link(ipfire: &mut Option<Ipfire>) -> Option<Arc<PlatformView>> {
    match ipfire {
        Some(ipfire) => ipfire.next().await,
        None => std::future::pending().await,
    }
}

/// What netifd says next; never, where there is none.
async fn next_view(openwrt: &mut Option<Openwrt>) -> Arc<PlatformView> {
    match openwrt {
        Some(openwrt) => openwrt.next().await,
        None => std::future::pending().await,
    }
}
