//! How a daemon comes to be: what it opens, in which order, and its first events.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mwan_config::{Config, Loaded};
use mwan_core::{Core, Event};
use mwan_linux::clock;
use mwan_linux::monitor::Monitor;
use mwan_linux::probe::Prober;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::config::{files_of, parse_config, read_config};
use super::control::{self, Asked};
use super::dnsmasq::Dnsmasq;
use super::flows::Flows;
use super::hooks::{Hooks, Places};
use super::lock::Locks;
use super::state::Store;
use super::watch::Watches;
use super::writer::Writer;
use super::{Daemon, REQUESTS_MAX, SOCKET, VERIFY_INTERVAL, log_diagnostics, notify, syslog, unusable};
use crate::cli::{DaemonArgs, Failure, LogFormat, LogLevel, LogTo};
use crate::ipfire::Ipfire;
use crate::openwrt::Openwrt;
use crate::platform;

pub(super) fn start_log(options: &DaemonArgs) {
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

/// Signals that mean something to us. Caught before anything else is done: SIGHUP would end us by default.
pub(super) struct Signals {
    pub(super) hangup: Signal,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
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

impl Daemon {
    pub(super) async fn start(run_dir: &Path, options: &DaemonArgs) -> Result<Self, Failure> {
        let base = Base::open(run_dir, options)?;
        let (ask, asked) = mpsc::channel(REQUESTS_MAX);
        control::listen(&run_dir.join(SOCKET), &ask)
            .map_err(|e| Failure::new(format!("cannot listen in {}", run_dir.display()), &e))?;
        let mut openwrt =
            options.platform.has_netifd().then(|| Openwrt::start(&options.bus, Some(ask.clone())));
        let view = match &mut openwrt {
            Some(openwrt) => openwrt.first().await,
            None => None,
        };
        let mut ipfire = Ipfire::start(&base.loaded.config, &options.config, run_dir)
            .map_err(|e| Failure::new("cannot start what dials links", &e))?;
        let view = view.or_else(|| ipfire.as_mut().map(Ipfire::first));
        let name = base.name.clone();
        let config = Arc::new(base.loaded.config.clone());
        let mut daemon = Daemon::assemble(base, run_dir, options, (openwrt, ipfire), (ask, asked))?;
        if let Some(view) = view {
            daemon.feed(Event::Platform(view));
        }
        let net = daemon.monitor.view();
        daemon.feed(Event::Network(net));
        if daemon.core.config().globals.mask != config.globals.mask {
            daemon.configure(config);
        }
        notify::notify("READY=1");
        info!(version = env!("CARGO_PKG_VERSION"), config = name, "started");
        Ok(daemon)
    }

    /// The daemon before its first event, with the threads that work for it.
    fn assemble(
        mut base: Base,
        run_dir: &Path,
        options: &DaemonArgs,
        (openwrt, ipfire): (Option<Openwrt>, Option<Ipfire>),
        (ask, asked): (mpsc::Sender<Asked>, mpsc::Receiver<Asked>),
    ) -> Result<Self, Failure> {
        let (done, flows_done) = mpsc::unbounded_channel();
        let flows = Flows::start(done)?;
        let hooks = Hooks::start(Places::new(options, &base.loaded.config.globals.hooks))
            .map_err(|e| Failure::new("cannot start the thread that runs hooks", &e))?;
        // Not bounded by the channel but by the prober: it reports once for each probe it was asked to send.
        let (report, reports) = mpsc::unbounded_channel();
        let now = clock::now();
        let memory = base.store.load();
        // Connection entries still have the marks of the daemon before us: its mask first, then as with a reload.
        let mut first = base.loaded.config;
        first.globals.mask = base.store.marked_with(first.globals.mask);
        Ok(Daemon {
            core: Core::new(options.platform.core(), Arc::new(first), memory),
            writer: base.writer,
            flows,
            flows_done,
            hooks,
            monitor: base.monitor,
            openwrt,
            ipfire,
            prober: Prober::new(report),
            reports,
            ask,
            asked,
            store: base.store,
            watches: base.watches,
            dnsmasq: Dnsmasq::default(),
            options: options.clone(),
            run_dir: run_dir.to_owned(),
            _locks: base.locks,
            signals: base.signals,
            started: now,
            wake_at: None,
            pending: None,
            staged: None,
            remark: None,
            reload_again: false,
            verify_at: now + VERIFY_INTERVAL,
            verified: now,
            network_at: None,
            network_seen: now,
            diagnostics: base.loaded.diagnostics,
            config_rejected: base.config_rejected,
            apply_error: None,
            unreadable: false,
            late_rounds: 0,
        })
    }
}

/// What a daemon stands on: its files, and its hold of the kernel.
struct Base {
    signals: Signals,
    watches: Watches,
    locks: Locks,
    writer: Writer,
    store: Store,
    monitor: Monitor,
    /// Of the configuration, for people.
    name: String,
    loaded: Loaded,
    config_rejected: Option<String>,
}

impl Base {
    fn open(run_dir: &Path, options: &DaemonArgs) -> Result<Self, Failure> {
        let signals = Signals::catch().map_err(|e| Failure::new("cannot watch for signals", &e))?;
        let platform = options.platform.has_netifd().then_some(options.bus.network_config.as_path());
        // Before the file is read: what is written from now on is a change.
        let mut watches = Watches::new(&options.config, platform);
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
        watches.depend_on(&files_of(&loaded.config, &options.config));
        let monitor = watch_network(&loaded.config, &writer)?;
        warn_of_the_system(&writer);
        Ok(Base { signals, watches, locks, writer, store, monitor, name, loaded, config_rejected })
    }
}

fn watch_network(config: &Config, writer: &Writer) -> Result<Monitor, Failure> {
    let mut monitor = Monitor::open(config.globals.rt_table_lookup.clone())
        .map_err(|e| Failure::new("cannot watch the network", &e))?;
    for port in writer.ports() {
        monitor.own_port(port);
    }
    Ok(monitor)
}

/// What of the system keeps connections from the WANs.
fn warn_of_the_system(writer: &Writer) {
    if !writer.ipv6 {
        warn!("this kernel runs without IPv6: IPv4 is managed alone");
    }
    if !platform::forwards_ipv4() {
        warn!("net.ipv4.ip_forward is 0: only this machine's own IPv4 connections use the WANs");
    }
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
