//! The start: what a daemon before us left is taken over, and every part is opened in the order in which it is needed.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mwan_api::{EventKind, Severity, Way};
use mwan_config::{Config, Loaded};
use mwan_core::{Core, Event, PlatformView};
use mwan_linux::clock;
use mwan_linux::monitor::Monitor;
use mwan_linux::probe::Prober;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{error, info, warn};

use super::alerts::AlertBoard;
use super::apply::VERIFY_INTERVAL;
use super::companion::Companions;
use super::config::{Parsed, Source, parse_watched, read_config, watches_of};
use super::confirm::Confirm;
use super::control::Hub;
use super::dnsmasq::Dnsmasq;
use super::drill::Drills;
use super::durations::Switches;
use super::events::{EventLog, plain};
use super::flow_list::FlowList;
use super::flows::Flows;
use super::history::Recorder;
use super::hooks::{Hooks, Places};
use super::lock::Locks;
use super::log::log_diagnostics;
use super::put::CloudFile;
use super::record::{FlightRecorder, Text};
use super::reload::Reload;
use super::revisions::{Author, Revisions};
use super::sample::Sampler;
use super::state::Store;
use super::watched::WatchedFiles;
use super::writer::Writer;
use super::{Daemon, SOCKET, control, notify};
use crate::cli::{DaemonArgs, Failure};
use crate::history::Folders;
use crate::ipfire::Ipfire;
use crate::openwrt::Openwrt;
use crate::platform;

/// Requests waiting to be answered.
const REQUESTS_MAX: usize = 32;
/// From a start to where it is over: what is going to run all the time does.
const SETTLED: Duration = Duration::from_secs(5);

/// Signals that mean something to us. Caught before anything else is done: SIGHUP would end us by default.
pub(super) struct Signals {
    pub(super) hangup: Signal,
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
}

impl Signals {
    pub(super) fn catch() -> std::io::Result<Self> {
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

/// What is there when a daemon starts.
struct Found {
    /// Name of the configuration.
    name: String,
    loaded: Loaded,
    /// What is loaded, for a recording.
    text: Text,
    /// Why the file is not what is loaded.
    config_rejected: Option<String>,
    locks: Locks,
    writer: Writer,
    store: Store,
    confirm: Confirm,
    revisions: Revisions,
}

impl Found {
    /// Takes the locks, and reads the configuration and what the daemon before us knew of the kernel.
    fn take(run_dir: &Path, options: &DaemonArgs) -> Result<Self, Failure> {
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
        let confirm = Confirm::new(&options.state_dir, run_dir);
        let revisions = Revisions::start(&options.state_dir);
        let first = match confirm.resume(&options.config) {
            Some(back) => {
                let author = Author { undoes: Some(back.header.base), ..Author::new(Way::TakenBack, None) };
                revisions.expect(&back.text, Some(author));
                let name = options.config.to_string_lossy().into_owned();
                // It was in force: a mistake in it is none that the other one had not.
                taken(name.clone(), parse_watched(&name, back.text), &mut store)
            }
            None => match read_config(&options.config) {
                Ok((name, bytes)) => first_config(name, bytes, &mut store, &mut writer),
                Err(failure) => without_a_file(failure, &options.config, &store, &mut writer)?,
            },
        };
        let First { name, loaded, source, text, rejected: config_rejected } = first;
        if let Some(text) = source {
            let sets = &loaded.config.sets;
            match &config_rejected {
                None => revisions.add(&name, &Source::File(text), sets, Way::Start),
                Some(_) => revisions.stays(&text),
            }
        }
        log_diagnostics(&loaded.diagnostics);
        Ok(Found { name, loaded, text, config_rejected, locks, writer, store, confirm, revisions })
    }

    fn monitor(&mut self) -> Result<Monitor, Failure> {
        let cannot = |e: &(dyn std::error::Error + 'static)| Failure::new("cannot watch the network", e);
        let mut monitor =
            Monitor::open(self.loaded.config.globals.rt_table_lookup.clone()).map_err(|e| cannot(&e))?;
        self.writer.shut_while_large(monitor.ears().map_err(|e| cannot(&e))?);
        for port in self.writer.ports() {
            monitor.own_port(port);
        }
        Ok(monitor)
    }

    /// What the owner may not expect of this machine.
    fn warn_of_limits(&self) {
        if !self.writer.ipv6 {
            warn!("this kernel runs without IPv6: IPv4 is managed alone");
        }
        if !platform::forwards_ipv4() {
            warn!("net.ipv4.ip_forward is 0: only this machine's own IPv4 connections use the WANs");
        }
    }
}

/// What only a start needs is given back when it is over.
async fn settle() {
    tokio::time::sleep(SETTLED).await;
    mwan_linux::process::leave_start_behind();
}

impl Daemon {
    /// Opens everything and brings the kernel to a first desired state.
    pub(super) async fn start(run_dir: &Path, options: &DaemonArgs) -> Result<Self, Failure> {
        let signals = Signals::catch().map_err(|e| Failure::new("cannot watch for signals", &e))?;
        let mut files = WatchedFiles::new(options);
        let mut found = Found::take(run_dir, options)?;
        files.follow(watches_of(&options.config, &found.loaded.config));
        let monitor = found.monitor()?;
        found.warn_of_limits();
        let (done, flows_done) = mpsc::unbounded_channel();
        let flows = Flows::start(done)?;
        let hooks = Hooks::start(Places::new(options, &found.loaded.config.globals.hooks))
            .map_err(|e| Failure::new("cannot start the thread that runs hooks", &e))?;
        // Not bounded by the channel but by the prober: it reports once for each probe it was asked to send.
        let (report, reports) = mpsc::unbounded_channel();
        let (ask, asked) = mpsc::channel(REQUESTS_MAX);
        let events = EventLog::open(run_dir, &options.state_dir);
        let hub = Hub { asked: ask.clone(), live: events.live().clone() };
        control::listen(&run_dir.join(SOCKET), &hub)
            .map_err(|e| Failure::new(format!("cannot listen in {}", run_dir.display()), &e))?;
        let mut openwrt =
            options.platform.has_netifd().then(|| Openwrt::start(&options.bus, Some(ask.clone())));
        let view = match &mut openwrt {
            Some(openwrt) => openwrt.first().await,
            None => None,
        };
        let mut ipfire = Ipfire::start(&found.loaded.config, &options.config, run_dir)
            .map_err(|e| Failure::new("cannot start what dials links", &e))?;
        let view = view.or_else(|| ipfire.as_mut().map(Ipfire::first));
        let now = clock::now();
        let Found { name, loaded, text, config_rejected, locks, writer, mut store, confirm, revisions } =
            found;
        let config = Arc::new(loaded.config);
        let core = first_core(options, &config, &mut store);
        let record = FlightRecorder::start(text, &core, now, &options.state_dir);
        let mut daemon = Daemon {
            core,
            record,
            writer,
            flows,
            flows_done,
            hooks,
            monitor,
            openwrt,
            ipfire,
            prober: Prober::new(report),
            reports,
            ask,
            asked,
            store,
            files,
            dnsmasq: Dnsmasq::new(run_dir),
            companions: Companions::new(run_dir, hub),
            alerts: AlertBoard::default(),
            events,
            sampler: Sampler::default(),
            flow_list: FlowList::default(),
            drills: Drills::open(&options.state_dir),
            switches: Switches::default(),
            history: Recorder::new(Folders::new(run_dir, &options.state_dir)),
            options: options.clone(),
            run_dir: run_dir.to_owned(),
            clearing: false,
            _locks: locks,
            signals,
            started: now,
            wake_at: None,
            pending: None,
            staged: None,
            remark: None,
            reload: Reload::new(),
            writing: Arc::default(),
            confirm,
            revisions,
            cloud: CloudFile::new(),
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
        #[cfg(feature = "ipfire")]
        {
            // What is there is a dead daemon's.
            let _ = fs::remove_file(run_dir.join(super::OPERATOR_SOCKET));
            daemon.listen_for_operators();
            if daemon.ipfire.is_some() && control::group(&options.operator_group).is_none() {
                info!("there is no group {}: no socket for a web page", options.operator_group);
            }
        }
        let text = format!("the daemon has started, version {}", env!("CARGO_PKG_VERSION"));
        daemon.events.note(plain(EventKind::Daemon, Severity::Info, text));
        daemon.tell_news();
        daemon.begin(view, config);
        daemon.follow_cloud();
        notify::notify("READY=1");
        tokio::spawn(settle());
        info!(version = env!("CARGO_PKG_VERSION"), config = name, "started");
        Ok(daemon)
    }

    /// The first events.
    fn begin(&mut self, view: Option<Arc<PlatformView>>, config: Arc<Config>) {
        // Of one that was killed while it sent a packet.
        mwan_linux::verify::clean();
        self.history.set(config.globals.history);
        if let Some(view) = view {
            self.feed(Event::Platform(view));
        }
        let net = self.monitor.view();
        self.feed(Event::Network(net));
        if self.core.config().globals.mask != config.globals.mask {
            self.configure(config);
        }
        self.set_companions();
    }
}

/// The core as it starts. Connection entries still have the marks of the daemon before us: its mask first, then as with
/// a reload.
fn first_core(options: &DaemonArgs, config: &Arc<Config>, store: &mut Store) -> Core {
    let memory = store.load();
    let marked = store.marked_with(config.globals.mask);
    let mut first = config.clone();
    if marked != config.globals.mask {
        Arc::make_mut(&mut first).globals.mask = marked;
    }
    Core::new(options.platform.core(), first, memory)
}

/// The configuration of a start.
struct First {
    name: String,
    loaded: Loaded,
    /// What it says, for a recording.
    text: Text,
    /// What is loaded, if one file is all of it.
    source: Option<Vec<u8>>,
    /// Why the file is not what is loaded.
    rejected: Option<String>,
}

/// If a daemon before us left a working data plane, the configuration that made it stays in force where the file must not
/// take its place (I8, I10); else bad sections are left out and the rest runs. IPFire's last good one is used after a
/// boot, too: its web pages and scripts write files in place, and a router that lost its power meanwhile has half of one.
fn first_config(name: String, bytes: Vec<u8>, store: &mut Store, writer: &mut Writer) -> First {
    let parsed = parse_watched(&name, bytes);
    if parsed.loaded.refusal(&[]).is_some()
        && let Some((kept, text)) = kept_config(&name, store, writer)
    {
        let before = parse_watched(&kept, text);
        if let Some(why) = parsed.loaded.refusal(&before.loaded.diagnostics) {
            return stays(name, why, &kept, before);
        }
    }
    taken(name, parsed, store)
}

/// This is in force.
fn taken(name: String, parsed: Parsed, store: &mut Store) -> First {
    let Parsed { loaded, source, .. } = parsed;
    let text = Text::of(&name, &source, &loaded.config);
    let one_file = one_file(&source);
    store.keep_config(&name, source);
    First { name, loaded, text, source: one_file, rejected: None }
}

fn one_file(source: &Source) -> Option<Vec<u8>> {
    match source {
        Source::File(bytes) => Some(bytes.clone()),
        Source::Tree(_) => None,
    }
}

/// The same where there is no file to be read: it may just be written, or its disk is not there yet.
fn without_a_file(
    failure: Failure,
    file: &Path,
    store: &Store,
    writer: &mut Writer,
) -> Result<First, Failure> {
    let name = file.to_string_lossy().into_owned();
    match kept_config(&name, store, writer) {
        Some((kept, text)) => Ok(stays(name, failure.to_string(), &kept, parse_watched(&kept, text))),
        None => Err(failure),
    }
}

/// The configuration that was in force last, if it may be used instead of the file of that name.
fn kept_config(name: &str, store: &Store, writer: &mut Writer) -> Option<(String, Vec<u8>)> {
    let ipfire = crate::ipfire::root_of(Path::new(name)).is_some();
    let wanted = ipfire || writer.observe().is_ok_and(|observed| observed.table.is_some());
    store.kept_config().filter(|_| wanted)
}

fn stays(name: String, why: String, kept: &str, before: Parsed) -> First {
    error!("{why}; the configuration before stays in force, from {kept}");
    let Parsed { loaded, source, .. } = before;
    let text = Text::of(kept, &source, &loaded.config);
    First { name, loaded, text, source: one_file(&source), rejected: Some(why) }
}
