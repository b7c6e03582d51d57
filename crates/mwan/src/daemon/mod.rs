//! The daemon: one loop that carries events to the core and the core's wishes to the kernel.

mod config;
mod control;
mod dnsmasq;
mod flows;
mod hooks;
mod lock;
mod notify;
mod reload;
mod state;
mod status;
mod syslog;
mod writer;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mwan_api::{Plan, Request, Response};
use mwan_compile::diff_observed;
use mwan_config::{Config, Diagnostic, Loaded, Severity};
use mwan_core::{Core, Desired, Effect, Event, Marks, Memory, PathKey, ProbeReport, Reason, Remark, Time};
use mwan_linux::clock;
use mwan_linux::monitor::{Change, Monitor, MonitorError};
use mwan_linux::probe::Prober;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

use crate::cli::{BusArgs, DaemonArgs, Failure, LogFormat, LogLevel, LogTo};
use crate::openwrt::Openwrt;
use crate::platform::{self, PlatformName};
use dnsmasq::Dnsmasq;
use flows::{Done, Flows};
use hooks::{Hooks, Places};
use lock::Locks;
use reload::{Outcome, Reload, Reply};
use state::Store;
use status::Achieved;
use writer::{Trouble, Writer, describe};

use config::watch_files;
pub(crate) use config::{Watch, parse_config, read_config, reread_config};
pub(crate) use control::Asked;
pub(crate) use status::diagnostics;

/// Name of the control socket in the run directory.
pub(crate) const SOCKET: &str = "mwan.sock";

/// How often the configuration file is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How often the kernel is compared with what should be there although nothing was heard.
const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// Least time between two comparisons: others may change the ruleset as fast as they like.
const VERIFY_PAUSE: Duration = Duration::from_millis(200);
/// Time before a failed change of the kernel is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Least time between two new views of the network while changes pour in; the first is taken at once.
const NETWORK_PAUSE: Duration = Duration::from_millis(100);
/// A round started later than this after it was due is counted.
const LATE: Duration = Duration::from_millis(100);
/// Other marks wait this long for the connection entries; only a table that keeps growing takes longer.
const PREPARE_MAX: Duration = Duration::from_secs(10);
/// Restored things that are logged one by one; a flushed ruleset is hundreds.
const RESTORED_LOGGED_MAX: usize = 8;
/// Requests waiting to be answered.
const REQUESTS_MAX: usize = 32;

/// Runs the daemon until it is told to end.
pub(crate) fn run(run_dir: &Path, options: &DaemonArgs) -> Result<(), Failure> {
    start_log(options);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    runtime.block_on(async {
        let mut daemon = Daemon::start(run_dir, options).await?;
        daemon.run().await
    })
}

/// Removes everything of ours from the kernel, and what a dead daemon left in its run directory.
pub(crate) fn cleanup(run_dir: &Path) -> Result<(), Failure> {
    // A daemon that is alive would restore it all.
    let _lock = lock::take_namespace()?;
    Writer::open()?.clean()?;
    Store::new(run_dir, run_dir).forget_health();
    let _ = fs::remove_file(run_dir.join(SOCKET));
    Ok(())
}

/// Whether no daemon is left in this network namespace: one that was told to stop answers, and then ends.
pub(crate) fn has_ended() -> bool {
    lock::take_namespace().is_ok()
}

/// What `config` would install, with every interface in its initial state.
pub(crate) fn plan_without_daemon(
    name: &str,
    bytes: &[u8],
    platform: PlatformName,
    bus: &BusArgs,
) -> Result<Plan, Failure> {
    let loaded = parse_config(name, bytes);
    let tables = loaded.config.globals.rt_table_lookup.clone();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new("cannot start the runtime", &e))?;
    let (net, view) = runtime.block_on(async {
        let view = if platform.has_netifd() { Openwrt::start(bus, None).first().await } else { None };
        let net = Monitor::open(tables).map(|mut m| m.view());
        net.map(|net| (net, view)).map_err(|e| Failure::new("cannot read the network", &e))
    })?;
    let mut core = Core::new(platform.core(), Arc::new(loaded.config), Memory::default());
    if let Some(view) = view {
        core.handle(clock::now(), Event::Platform(view));
    }
    core.handle(clock::now(), Event::Network(net));
    plan(&core, &mut Writer::open()?, &loaded.diagnostics)
}

/// The program of a core's desired state, against the kernel as it is now.
fn plan(core: &Core, writer: &mut Writer, found: &[Diagnostic]) -> Result<Plan, Failure> {
    let desired = core.desired().ok_or_else(|| Failure::says("the network has not been seen yet"))?;
    let program = writer.compile(desired);
    let changes = describe(&diff_observed(&writer.observe()?, &program));
    Ok(Plan {
        schema: mwan_api::SCHEMA_PLAN.to_owned(),
        nft: mwan_compile::text::table(&program.table),
        rules: program.rules.iter().map(ToString::to_string).collect(),
        routes: program.routes.iter().map(ToString::to_string).collect(),
        changes,
        diagnostics: diagnostics(found),
    })
}

fn start_log(options: &DaemonArgs) {
    let level = match options.log_level {
        LogLevel::Error => tracing::Level::ERROR,
        LogLevel::Warn => tracing::Level::WARN,
        LogLevel::Info => tracing::Level::INFO,
        LogLevel::Debug => tracing::Level::DEBUG,
        LogLevel::Trace => tracing::Level::TRACE,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false);
    if let (LogTo::Syslog, Some(syslog)) = (options.log_to, syslog::Syslog::open()) {
        // The system's log has its own times, and the level is in its priority.
        let log = log.with_writer(syslog).log_internal_errors(false).with_ansi(false);
        return log.without_time().with_level(false).init();
    }
    let log = log.with_writer(std::io::stderr);
    // A log nobody takes is lost; it must not end the daemon, which tracing's own complaint to the same stream would.
    let log = log.log_internal_errors(false);
    match options.log_format {
        LogFormat::Text => log.with_ansi(false).init(),
        LogFormat::Json => log.json().init(),
    }
}

struct Daemon {
    core: Core,
    writer: Writer,
    flows: Flows,
    flows_done: mpsc::UnboundedReceiver<Done>,
    hooks: Hooks,
    monitor: Monitor,
    /// OpenWrt's network manager.
    openwrt: Option<Openwrt>,
    prober: Prober,
    reports: mpsc::UnboundedReceiver<ProbeReport>,
    ask: mpsc::Sender<Asked>,
    asked: mpsc::Receiver<Asked>,
    store: Store,
    watch: Watch,
    /// Of the files the configuration depends on.
    file_watches: Vec<Watch>,
    dnsmasq: Dnsmasq,
    options: DaemonArgs,
    run_dir: PathBuf,
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

/// Signals that mean something to us. Caught before anything else is done: SIGHUP would end us by default.
struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn catch() -> std::io::Result<Self> {
        // These mean nothing to us, but would end us: many daemons take them, so people send them. Once asked for, a
        // signal stays caught.
        for kind in [SignalKind::user_defined1(), SignalKind::user_defined2(), SignalKind::alarm()] {
            drop(signal(kind)?);
        }
        Ok(Signals {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }
}

/// Whether the loop goes on.
enum Next {
    Go,
    End,
    Fail(Failure),
}

impl Daemon {
    async fn start(run_dir: &Path, options: &DaemonArgs) -> Result<Self, Failure> {
        let signals = Signals::catch().map_err(|e| Failure::new("cannot watch for signals", &e))?;
        // Before the file is read: what is written from now on is a change.
        let watch = Watch::new(&options.config);
        let (name, bytes) = read_config(&options.config)?;
        for dir in [run_dir, options.state_dir.as_path()] {
            fs::create_dir_all(dir)
                .map_err(|e| Failure::new(format!("cannot make the directory {}", dir.display()), &e))?;
        }
        let locks = Locks::take(run_dir)?;
        let mut writer = Writer::open()?;
        let mut store = Store::new(&options.state_dir, run_dir);
        if let Some(own) = store.load_rules() {
            writer.remember(own);
        }
        let (loaded, config_rejected) = first_config(&name, &bytes, &store, &mut writer);
        log_diagnostics(&loaded.diagnostics);
        let mut monitor = Monitor::open(loaded.config.globals.rt_table_lookup.clone())
            .map_err(|e| Failure::new("cannot watch the network", &e))?;
        for port in writer.ports() {
            monitor.own_port(port);
        }
        if !writer.ipv6 {
            warn!("this kernel runs without IPv6: IPv4 is managed alone");
        }
        if !platform::forwards_ipv4() {
            warn!("net.ipv4.ip_forward is 0: only this machine's own IPv4 connections use the WANs");
        }
        let (done, flows_done) = mpsc::unbounded_channel();
        let flows = Flows::start(done)?;
        let hooks = Hooks::start(Places::new(options, &loaded.config.globals.hooks))
            .map_err(|e| Failure::new("cannot start the thread that runs hooks", &e))?;
        // Not bounded by the channel but by the prober: it reports once for each probe it was asked to send.
        let (report, reports) = mpsc::unbounded_channel();
        let (ask, asked) = mpsc::channel(REQUESTS_MAX);
        control::listen(&run_dir.join(SOCKET), &ask)
            .map_err(|e| Failure::new(format!("cannot listen in {}", run_dir.display()), &e))?;
        let mut openwrt =
            options.platform.has_netifd().then(|| Openwrt::start(&options.bus, Some(ask.clone())));
        let view = match &mut openwrt {
            Some(openwrt) => openwrt.first().await,
            None => None,
        };
        let now = clock::now();
        let memory = store.load();
        let config = Arc::new(loaded.config);
        // Connection entries still have the marks of the daemon before us: its mask first, then as with a reload.
        let marked = store.marked_with(config.globals.mask);
        let mut first = config.clone();
        if marked != config.globals.mask {
            Arc::make_mut(&mut first).globals.mask = marked;
        }
        let core = Core::new(options.platform.core(), first, memory);
        let mut daemon = Daemon {
            core,
            writer,
            flows,
            flows_done,
            hooks,
            monitor,
            openwrt,
            prober: Prober::new(report),
            reports,
            ask,
            asked,
            store,
            watch,
            file_watches: watch_files(&config),
            dnsmasq: Dnsmasq::default(),
            options: options.clone(),
            run_dir: run_dir.to_owned(),
            _locks: locks,
            signals,
            started: now,
            wake_at: None,
            pending: None,
            staged: None,
            remark: None,
            reload: Reload::new(),
            verify_at: now + VERIFY_INTERVAL,
            verified: now,
            network_at: None,
            network_seen: now,
            diagnostics: loaded.diagnostics,
            config_rejected,
            apply_error: None,
            unreadable: false,
            late_rounds: 0,
        };
        if let Some(view) = view {
            daemon.feed(Event::Platform(view));
        }
        let net = daemon.monitor.view();
        daemon.feed(Event::Network(net));
        if marked != config.globals.mask {
            daemon.configure(config);
        }
        notify::notify("READY=1");
        info!(version = env!("CARGO_PKG_VERSION"), config = name, "started");
        Ok(daemon)
    }

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
                Some(report) = self.reports.recv() => self.reported(report),
                Some(done) = self.flows_done.recv() => self.flows_changed(done),
                () = tokio::time::sleep(pause) => self.woken(),
                Some((request, reply)) = self.asked.recv() => self.answer(request, reply),
                read = self.reload.next() => { self.was_read(read); Next::Go }
                _ = watch.tick() => self.look_around(),
                _ = self.signals.hangup.recv() => { self.reload(None); Next::Go }
                _ = self.signals.terminate.recv() => Next::End,
                _ = self.signals.interrupt.recv() => Next::End,
            };
            match next {
                Next::Go => {}
                Next::End => return self.end().await,
                Next::Fail(failure) => return Err(failure),
            }
        }
    }

    /// Once a second: files that others change or remove.
    fn look_around(&mut self) -> Next {
        if self.watch.look() {
            info!("the configuration file changed");
            self.reload(None);
        }
        if let Some(view) = self.openwrt.as_mut().and_then(Openwrt::changed_file) {
            self.feed(Event::Platform(view));
        }
        // Others that changed too are read along, and told of at the next look: then nothing is new.
        if self.file_watches.iter_mut().any(Watch::look) {
            info!("the file of a set changed");
            self.reload(None);
        }
        let socket = self.run_dir.join(SOCKET);
        if !socket.exists() {
            // Somebody tidied the run directory up.
            let listening =
                fs::create_dir_all(&self.run_dir).and_then(|()| control::listen(&socket, &self.ask));
            match listening {
                Ok(()) => warn!("{} was gone and is there again", socket.display()),
                Err(error) => debug!("cannot listen at {}: {error}", socket.display()),
            }
        }
        self.store.save(self.core.memory());
        Next::Go
    }

    /// Leaves the data plane as it is.
    async fn end(&mut self) -> Result<(), Failure> {
        notify::notify("STOPPING=1");
        let _ = fs::remove_file(self.run_dir.join(SOCKET));
        // Let the answer to the request that ended us be written.
        tokio::time::sleep(Duration::from_millis(20)).await;
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
        if let Event::Configure(config) = &event {
            self.hooks.look_in(Places::new(&self.options, &config.globals.hooks));
        }
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            let output = self.core.handle(clock::now(), event);
            self.wake_at = output.wake_at;
            if let Some(desired) = output.desired {
                save = true;
                events.extend(self.apply(desired));
            }
            for effect in output.effects {
                save |= matches!(effect, Effect::Transition(_));
                self.perform(effect);
            }
        }
        if save {
            self.store.save(self.core.memory());
            self.store.save_rules(self.writer.own_rules());
        }
    }

    /// Brings the kernel to `desired` and returns what the core has to hear of it.
    fn apply(&mut self, desired: Arc<Desired>) -> Vec<Event> {
        let generation = desired.generation;
        let (events, failure) = match self.writer.apply(&desired) {
            Ok(applied) => {
                self.flows.placement(self.core.placement());
                self.dnsmasq.tell(self.core.config());
                self.remark.take().into_iter().for_each(|remark| self.flows.remark(remark));
                (vec![Event::Applied { generation }], applied.incomplete)
            }
            Err(Trouble::Refused(paths)) => {
                // Decided anew without them, right away: nothing waits for a route that cannot be.
                let refused = |(path, error)| Event::Refused { path, error };
                return paths.into_iter().map(refused).collect();
            }
            Err(trouble) => (Vec::new(), Some(Failure::says(trouble.to_string()))),
        };
        self.pending = failure.is_some().then(|| (desired, clock::now() + RETRY_PAUSE));
        self.note_apply_error(failure);
        events
    }

    /// Says once that the kernel is not as wanted, and once that it is again.
    fn note_apply_error(&mut self, failure: Option<Failure>) {
        let text = failure.map(|f| f.to_string());
        match (&self.apply_error, &text) {
            (old, Some(new)) if old.as_ref() != Some(new) => error!("the kernel is not as wanted: {new}"),
            (Some(_), None) => info!("the kernel is as wanted again"),
            _ => {}
        }
        self.apply_error = text;
    }

    fn apply_pending(&mut self) {
        let Some((desired, _)) = self.pending.take() else { return };
        for event in self.apply(desired) {
            self.feed(event);
        }
    }

    fn verify(&mut self, now: Time) {
        self.verified = now;
        self.verify_at = now + VERIFY_INTERVAL;
        if self.pending.is_some() {
            return;
        }
        match self.writer.verify() {
            Ok(lines) => {
                for line in lines.iter().take(RESTORED_LOGGED_MAX) {
                    warn!("others changed what is ours; restored: {line}");
                }
                if lines.len() > RESTORED_LOGGED_MAX {
                    warn!("… and {} more restored", lines.len() - RESTORED_LOGGED_MAX);
                }
                self.note_apply_error(None);
                self.store.save_rules(self.writer.own_rules());
            }
            Err(Trouble::Refused(paths)) => {
                for (path, error) in paths {
                    self.feed(Event::Refused { path, error });
                }
            }
            Err(trouble) => {
                self.note_apply_error(Some(Failure::says(trouble.to_string())));
                self.verify_at = now + RETRY_PAUSE;
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Probe(request) => self.prober.start(request),
            Effect::StopProbes(path) => self.prober.forget(path),
            Effect::FlushPath(path) => self.flush(path),
            Effect::MoveMisplaced(path) => self.move_misplaced(path),
            Effect::Transition(t) => {
                let (from, to) = (t.from.name(), t.to.name());
                let family = t.path.family.name();
                let text = format!("{} {family} ({}): {from} -> {to}: {}", t.interface, t.device, t.reason);
                let quiet = matches!(
                    t.reason,
                    Reason::Failing { .. } | Reason::Degrading { .. } | Reason::Recovering { .. }
                );
                if quiet { debug!("{text}") } else { info!("{text}") }
            }
            Effect::Hook(call) => self.hooks.call(call),
            Effect::Switched(s) => {
                let (from, to) = (carrier_text(&s.from), carrier_text(&s.to));
                let yet = if self.apply_error.is_some() { " (not in the kernel yet)" } else { "" };
                info!("policy {} {}: {from} -> {to}{yet}", s.policy, s.family.name());
            }
        }
    }

    fn flush(&mut self, path: PathKey) {
        let marks = Marks::new(self.core.config().globals.mask);
        // An id that a smaller mask has no room for would read as another's mark.
        if path.id <= marks.max_interface_id() {
            self.flows.flush(path, marks);
        }
    }

    fn move_misplaced(&mut self, path: PathKey) {
        let marks = Marks::new(self.core.config().globals.mask);
        if path.id <= marks.max_interface_id() {
            self.flows.move_misplaced(path, marks);
        }
    }

    /// Takes over a configuration. Another mask has to wait: established flows keep their WAN only if their entries have
    /// the new marks when the program that reads them comes into force (I10). Meanwhile all goes on as before.
    fn configure(&mut self, config: Arc<Config>) {
        let (old, new) = (Marks::new(self.core.config().globals.mask), Marks::new(config.globals.mask));
        if old == new {
            return self.feed(Event::Configure(config));
        }
        let now = clock::now();
        let mut next = self.core.clone();
        next.handle(now, Event::Configure(config.clone()));
        let names = config.interfaces.iter().map(|i| i.name.as_str());
        let ids = names.filter_map(|name| Some((self.core.wan(name)?.0, next.wan(name)?.0)));
        let remark = Remark::new(old, new, ids);
        if !remark.lossless() {
            warn!(
                "mmx_mask {:#x} and {:#x} share bits with another meaning: connections being set up just now may lose \
                 their path",
                old.mask(),
                new.mask()
            );
        }
        self.flows.prepare(remark.clone());
        self.staged = Some((config, remark, now + PREPARE_MAX));
    }

    fn flows_changed(&mut self, done: Done) -> Next {
        match done {
            Done::Prepared => self.unstage(),
            Done::Remarked => {
                self.store.set_marked_with(self.core.config().globals.mask);
                self.store.save(self.core.memory());
                info!("connections have the marks of the new mask");
            }
        }
        Next::Go
    }

    fn unstage(&mut self) {
        let Some((config, remark, _)) = self.staged.take() else { return };
        self.remark = Some(remark);
        self.feed(Event::Configure(config));
        self.reload_if_asked();
    }

    /// Begins to read the configuration anew; `reply` hears when it is taken over, or why not.
    fn reload(&mut self, reply: Option<Reply>) {
        if !self.reload.begin(self.staged.is_none(), reply) {
            return;
        }
        notify::notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::now().0));
        self.watch.reset();
        self.reload.read(self.options.config.clone(), self.core.config().sets.clone());
    }

    fn reload_if_asked(&mut self) {
        if self.staged.is_none() && self.reload.take_again() {
            self.reload(None);
        }
    }

    fn was_read(&mut self, outcome: Outcome) {
        match outcome {
            Ok(read) => {
                self.reload.staged = Some(read);
                self.step();
            }
            Err(why) => {
                error!("the configuration is not taken over, the one before stays in force: {why}");
                self.config_rejected = Some(why);
                self.reloaded();
            }
        }
    }

    /// Goes one step towards what was read: sets that change much first, by themselves.
    fn step(&mut self) {
        if let Some(sets) = self.reload.step() {
            let config = Config { sets, ..Config::clone(self.core.config()) };
            return self.feed(Event::Configure(Arc::new(config)));
        }
        let Some(read) = self.reload.staged.take() else { return };
        self.store.keep_config(&read.name, &read.bytes);
        log_diagnostics(&read.diagnostics);
        self.diagnostics = read.diagnostics;
        self.config_rejected = None;
        self.file_watches = read.watches;
        if read.config.globals.rt_table_lookup != self.core.config().globals.rt_table_lookup {
            self.look_at_tables(read.config.globals.rt_table_lookup.clone());
        }
        self.configure(Arc::new(read.config));
        info!("configuration read");
        self.reloaded();
    }

    fn reloaded(&mut self) {
        notify::notify("READY=1");
        let rejected = self.config_rejected.as_ref();
        self.reload.end(|| match rejected {
            None => Response::Done,
            Some(why) => {
                error_response(Failure::says(format!("the configuration before stays in force: {why}")))
            }
        });
        self.reload_if_asked();
    }

    fn look_at_tables(&mut self, tables: Vec<u32>) {
        match self.monitor.set_custom_tables(tables) {
            Ok(()) => self.note_unreadable(None),
            Err(error) => self.note_unreadable(Some(&Failure::new("the tables of rt_table_lookup", &error))),
        }
        let net = self.monitor.view();
        self.feed(Event::Network(net));
    }

    /// Answers at once, except what takes a while: that is done elsewhere.
    fn answer(&mut self, request: Request, reply: Reply) -> Next {
        let response = match request {
            Request::Status => Ok(Response::Status(Box::new(self.status()))),
            Request::Diff => self.difference(),
            Request::IfUp { interface } => self.command(interface, Event::IfUp),
            Request::IfDown { interface } => self.command(interface, Event::IfDown),
            Request::Use { interface } => self.binding(&interface),
            Request::Reload => {
                self.reload(Some(reply));
                return Next::Go;
            }
            Request::Plan { file, text } => {
                self.plan(file, text, reply);
                return Next::Go;
            }
            Request::Stop => match self.writer.clean() {
                Ok(()) => {
                    self.store.forget_health();
                    let _ = reply.send(Response::Done);
                    return Next::End;
                }
                Err(failure) => Err(failure),
            },
        };
        let _ = reply.send(response.unwrap_or_else(error_response));
        Next::Go
    }

    fn command(&mut self, interface: String, event: fn(String) -> Event) -> Result<Response, Failure> {
        if self.core.wan(&interface).is_none() {
            return Err(self.no_interface(&interface));
        }
        self.feed(event(interface));
        Ok(Response::Done)
    }

    fn no_interface(&self, name: &str) -> Failure {
        let known: Vec<&str> =
            self.core.config().interfaces.iter().filter(|i| i.enabled).map(|i| i.name.as_str()).collect();
        Failure::says(format!("there is no enabled interface '{}'", name.escape_debug()))
            .hint(format!("the configuration has: {}", known.join(", ")))
    }

    fn binding(&self, interface: &str) -> Result<Response, Failure> {
        let (id, device) = self.core.wan(interface).ok_or_else(|| self.no_interface(interface))?;
        let marks = Marks::new(self.core.config().globals.mask);
        let sources = mwan_config::Family::ALL
            .into_iter()
            .filter_map(|family| self.core.path(PathKey { id, family })?.source)
            .map(|ip| ip.to_string());
        Ok(Response::Use(mwan_api::Binding {
            device: device.to_owned(),
            sources: sources.collect(),
            mark: marks.of(marks.default_id()),
        }))
    }

    fn difference(&mut self) -> Result<Response, Failure> {
        let ops = self.writer.difference()?;
        let mut plan = plan(&self.core, &mut self.writer, &[])?;
        plan.changes = describe(&ops);
        Ok(Response::Plan(plan))
    }

    /// Plans in a thread, with a copy of the core and a look of its own at the kernel: ten thousand rules take longer than
    /// probes can wait.
    fn plan(&mut self, file: String, text: String, reply: Reply) {
        let (mut core, own) = (self.core.clone(), self.writer.own_rules().cloned());
        let work = move || {
            let planned = Writer::open().and_then(|mut writer| {
                own.into_iter().for_each(|own| writer.remember(own));
                let loaded = parse_config(&file, text.as_bytes());
                core.handle(clock::now(), Event::Configure(Arc::new(loaded.config)));
                plan(&core, &mut writer, &loaded.diagnostics).map(Response::Plan)
            });
            let _ = reply.send(planned.unwrap_or_else(error_response));
        };
        // Without a thread the reply is dropped, and the client told so.
        if let Err(error) = std::thread::Builder::new().name("plan".to_owned()).spawn(work) {
            warn!("cannot start the thread that plans: {error}");
        }
    }

    fn status(&mut self) -> mwan_api::Status {
        let now = clock::now();
        let counters = self.writer.counters();
        let observed = self.writer.observe().ok();
        let achieved = Achieved::new(&self.core, self.writer.committed(), observed.as_ref());
        let none = std::collections::BTreeSet::new();
        let net = self.core.network();
        let daemon = mwan_api::Daemon {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            uptime_s: now.since(self.started).as_secs(),
            config: self.options.config.to_string_lossy().into_owned(),
            config_rejected: self.config_rejected.clone(),
            generation: self.core.desired().map_or(0, |d| d.generation),
            last_apply_us: u64::try_from(self.writer.last_apply.as_micros()).unwrap_or(u64::MAX),
            applies: self.writer.applies,
            repairs: self.writer.repairs,
            apply_error: self.apply_error.clone(),
            late_rounds: self.late_rounds,
        };
        let mut status = mwan_api::Status {
            schema: mwan_api::SCHEMA_STATUS.to_owned(),
            daemon,
            degraded: false,
            problems: Vec::new(),
            interfaces: status::interfaces(&self.core, &achieved, now),
            policies: achieved.policies(&counters),
            connected: status::networks(net.map_or(&none, |n| &n.connected).iter()),
            custom: status::networks(net.map_or(&none, |n| &n.custom).iter()),
            rules: Vec::new(),
            diagnostics: diagnostics(&self.diagnostics),
        };
        let committed = self.writer.committed().cloned();
        let achieved = Achieved::new(&self.core, committed.as_ref(), observed.as_ref());
        status.rules = achieved.rules(&counters, |rule, id, family| self.writer.sticky(rule, id, family));
        status.problems = status::problems(&status, !self.core.config().globals.enabled);
        status.problems.extend(achieved.differences());
        status.problems.extend(status::local_source(&self.core));
        status.degraded = !status.problems.is_empty();
        status
    }
}

/// What netifd says next; never, where there is none.
async fn next_view(openwrt: &mut Option<Openwrt>) -> Arc<mwan_core::PlatformView> {
    match openwrt {
        Some(openwrt) => openwrt.next().await,
        None => std::future::pending().await,
    }
}

/// Why a running data plane must not be given up for this configuration. One without a single interface is a file that
/// was cut short or emptied; who wants mwan to do nothing says `option enabled '0'`, or stops it.
pub(crate) fn unusable(loaded: &Loaded) -> Option<String> {
    if let Some(error) = loaded.diagnostics.iter().find(|d| d.severity == Severity::Error) {
        return Some(error.to_string());
    }
    (loaded.config.interfaces.is_empty() && loaded.config.globals.enabled)
        .then(|| "it has no interface section".to_owned())
}

/// The configuration of a start. If the file is unusable and a daemon before us left a working data plane, the
/// configuration that made it stays in force (I8, I10); else bad sections are left out and the rest runs.
fn first_config(name: &str, bytes: &[u8], store: &Store, writer: &mut Writer) -> (Loaded, Option<String>) {
    let loaded = parse_config(name, bytes);
    let Some(why) = unusable(&loaded) else {
        store.keep_config(name, bytes);
        return (loaded, None);
    };
    let running = writer.observe().is_ok_and(|observed| observed.table.is_some());
    match store.kept_config().filter(|_| running) {
        Some((kept, text)) => {
            error!("{why}; the configuration before stays in force, from {kept}");
            (parse_config(&kept, &text), Some(why))
        }
        None => (loaded, None),
    }
}

fn error_response(failure: Failure) -> Response {
    Response::Error { message: failure.to_string(), hint: failure.hint_text() }
}

fn carrier_text(carrier: &mwan_core::Carrier) -> String {
    match carrier {
        mwan_core::Carrier::LastResort(resort) => resort.name().to_owned(),
        mwan_core::Carrier::Members(shares) => {
            let names: Vec<&str> = shares.iter().map(|s| s.interface.as_str()).collect();
            names.join("+")
        }
    }
}

fn log_diagnostics(found: &[Diagnostic]) {
    for diagnostic in found {
        match diagnostic.severity {
            Severity::Error => error!("{diagnostic}"),
            Severity::Warning => warn!("{diagnostic}"),
            Severity::Note => info!("{diagnostic}"),
        }
    }
}
