//! IPFire: its files read, its RED taken over and given back, links dialled. The decisions are `mwan-ipfire`'s.

mod adopt;
mod execute;
mod files;
mod folder;
pub(crate) mod install;
mod kept;
mod parallel;
mod release;
mod settings;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use mwan_api::{Red, RedLink};
use mwan_config::Config;
use mwan_config::ipfire::{Dialect, Site};
use mwan_config::link::Link;
use mwan_core::{Carrier, Core, LogicalInterface, PathKey, PlatformView, Time};
use mwan_dial::{Action, Phase, Role};
pub(crate) use mwan_ipfire::Command;
use mwan_ipfire::{Batch, CHOSEN, Event, Left, Manager, PathView, REFUSED, Refusals, STATE, State, Wish};
use mwan_linux::clock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use crate::dial::Runner;
use execute::Place;
pub(crate) use files::{keep as keep_files, kept_settings, read as read_files, root_of, watched};
use parallel::Parallel;
pub(crate) use release::{Released, check, release};
pub(crate) use settings::{is_enabled, set_enabled};

/// Pause between two looks at RED's files, while they are ours.
const LOOK: Duration = Duration::from_secs(2);
/// How long an end waits for what is being done for RED: IPFire's scripts wait for it.
const FINISH: Duration = Duration::from_secs(20);
/// Pause between two looks at that.
const FINISH_LOOK: Duration = Duration::from_millis(20);

/// What threads tell.
type Happened = (String, mwan_dial::Event);

/// The site, its links and whose RED is.
pub(crate) struct Ipfire {
    manager: Manager,
    runner: Runner,
    root: PathBuf,
    place: Place,
    /// Carries batches out.
    worker: JoinHandle<()>,
    links: Arc<Vec<Link>>,
    site: Arc<Site>,
    happened: UnboundedReceiver<Happened>,
    batches: Sender<Batch>,
    done: UnboundedReceiver<Event>,
    view: Option<Arc<PlatformView>>,
    paths: BTreeMap<String, PathView>,
    parallel: Parallel,
    /// When RED's files are looked at next.
    look_at: Duration,
}

impl Ipfire {
    /// For a configuration of IPFire's; `None` for any other.
    pub(crate) fn start(config: &Config, file: &Path, run_dir: &Path) -> std::io::Result<Option<Self>> {
        let (Some(site), Some(root)) = (&config.site, root_of(file)) else { return Ok(None) };
        let (tell, happened) = unbounded_channel();
        let runner = Runner::new(run_dir, &root.join(STATE), tell)?;
        let (batches, waiting) = channel();
        let (tell_done, done) = unbounded_channel();
        let place = Place::new(root, run_dir);
        let worker = place.clone();
        let work = move || carry_out(&worker, &waiting, &tell_done);
        let worker = std::thread::Builder::new().name("ipfire".into()).spawn(work)?;
        let left = left(root, &runner);
        let manager = Manager::new(now(), site.clone(), &config.links, &left, seed());
        let mut ipfire = Ipfire {
            manager,
            runner,
            root: root.to_owned(),
            place,
            worker,
            links: config.links.clone(),
            site: site.clone(),
            happened,
            batches,
            done,
            view: None,
            paths: BTreeMap::new(),
            parallel: Parallel::default(),
            look_at: now(),
        };
        if let Err(error) = remember_boot(&ipfire.place) {
            warn!("{error}");
        }
        let _ = ipfire.handle(Event::Red(files::red(root)));
        let _ = ipfire.handle(Event::Tick);
        let manager = &ipfire.manager;
        let is_dialled =
            |name: &str| config.links.iter().any(|link| link.name == name && link.method.is_dialled());
        ipfire.runner.sweep(&|name, was| match manager.phase(name).and_then(Phase::role) {
            Some(role) => !is_dialled(name) || (role, was) == (Role::Carry, Role::Carry),
            None => false,
        });
        ipfire.hear_of(&left.sessions);
        Ok(Some(ipfire))
    }

    /// How the links look at the start.
    pub(crate) fn first(&mut self) -> Arc<PlatformView> {
        let view = Arc::new(view(&self.manager));
        self.view = Some(view.clone());
        view
    }

    /// Another configuration.
    pub(crate) fn configure(&mut self, config: &Config) -> Option<Arc<PlatformView>> {
        let site = config.site.as_ref()?;
        if *site == self.site && config.links == self.links {
            return None;
        }
        (self.site, self.links) = (site.clone(), config.links.clone());
        let wishes = self.manager.configure(now(), site.clone(), &config.links);
        self.fulfil(wishes);
        self.changed()
    }

    /// What threads told, or time has brought; the links as they look then, if that is news.
    pub(crate) async fn next(&mut self) -> Option<Arc<PlatformView>> {
        let wake = self.manager.wake_at();
        let pause = wake.map(|at| at.saturating_sub(now()));
        let look = self.look_at.saturating_sub(now());
        let event = tokio::select! {
            biased;
            Some((name, event)) = self.happened.recv() => self.told(name, event),
            Some(done) = self.done.recv() => {
                if let Event::Done { kind, error: Some(error), .. } = &done {
                    warn!("RED: {kind} failed: {error}");
                }
                let _ = self.handle(Event::Red(files::red(&self.root)));
                done
            }
            () = tokio::time::sleep(look), if self.manager.watches_red().is_some() => {
                self.look_at = now() + LOOK;
                Event::Red(files::red(&self.root))
            }
            () = tokio::time::sleep(pause.unwrap_or(Duration::MAX / 4)), if pause.is_some() => Event::Tick,
        };
        self.handle(event)
    }

    fn told(&self, name: String, event: mwan_dial::Event) -> Event {
        match &event {
            mwan_dial::Event::Established(connection) => info!("{name}: up on {}", connection.device),
            mwan_dial::Event::Ended(failure) => {
                warn!("{name}: {failure}");
            }
            _ => {}
        }
        Event::Link(name, event)
    }

    /// What the engine makes of the paths now.
    pub(crate) fn look(&mut self, core: &Core) -> Option<Arc<PlatformView>> {
        let paths: BTreeMap<String, PathView> =
            self.links.iter().filter_map(|link| Some((link.name.clone(), path(core, link)?))).collect();
        if paths == self.paths {
            return None;
        }
        self.paths.clone_from(&paths);
        self.handle(Event::Paths(paths))
    }

    /// The owner's word.
    pub(crate) fn command(&mut self, command: Command) -> Option<Arc<PlatformView>> {
        self.handle(Event::Command(command))
    }

    /// Whether RED is being taken over or given back at this moment: what IPFire's hooks tell then is our own doing.
    pub(crate) fn is_switching(&self) -> bool {
        matches!(self.manager.state(), State::TakingOver { .. } | State::Redialling(_) | State::GivingBack)
    }

    /// Ends with the step, or the hook, that is being done, if that does not take longer than [`FINISH`]: the next process
    /// goes on behind it. What takes longer is waited for by that one.
    pub(crate) async fn finish(self) {
        let Ipfire { place, worker, batches, .. } = self;
        place.stop();
        drop(batches);
        let end = now() + FINISH;
        while !worker.is_finished() && now() < end {
            tokio::time::sleep(FINISH_LOOK).await;
        }
        if !worker.is_finished() {
            warn!("a hook, or another step for RED, goes on alone");
        }
    }

    /// Name of the link RED is by itself; empty where there are several.
    pub(crate) fn primary(&self) -> &str {
        &self.site.primary
    }

    /// Whether there is such a backup.
    pub(crate) fn backups(&self) -> &[String] {
        &self.site.backups
    }

    /// For the status.
    pub(crate) fn red(&self) -> Red {
        let (profile, state) = match self.manager.state() {
            State::Primary => ("primary", "settled"),
            State::Backup(name) => (name.as_str(), "settled"),
            State::TakingOver { by, .. } => (by.as_str(), "taking_over"),
            State::Redialling(name) => (name.as_str(), "giving_back"),
            State::GivingBack => ("primary", "giving_back"),
        };
        Red {
            enabled: self.site.enabled,
            several: self.site.dialect == Dialect::Extension,
            profile: profile.to_owned(),
            state: state.to_owned(),
            forced: self.manager.forced().map(str::to_owned),
            problem: self.manager.trouble().map(str::to_owned),
            links: self.links.iter().filter_map(|link| self.red_link(link)).collect(),
        }
    }

    fn red_link(&self, link: &Link) -> Option<RedLink> {
        let view = self.manager.view(&link.name)?;
        let phase = self.manager.phase(&link.name)?;
        let primary = link.name == self.site.primary;
        let (word, attempt) = match phase {
            // IPFire's own scripts keep it.
            Phase::Idle if primary && *self.manager.state() == State::Primary => ("kept", 0),
            Phase::Idle => ("idle", 0),
            Phase::Dialling { attempt, .. } => ("dialling", *attempt),
            Phase::Up { .. } => ("up", 0),
            Phase::Stopping => ("stopping", 0),
            Phase::Waiting { .. } => ("waiting", 0),
            Phase::Refused(_) => ("refused", 0),
        };
        let (reason, retry_s) = match phase {
            Phase::Waiting { until, why, .. } => {
                (Some(why.to_string()), Some(until.saturating_sub(now()).as_secs()))
            }
            Phase::Refused(why) => (Some(why.to_string()), None),
            _ => (None, None),
        };
        Some(RedLink {
            name: link.name.clone(),
            method: link.method.word().to_owned(),
            primary,
            phase: word.to_owned(),
            on_trial: view.on_trial,
            device: view.device,
            attempt,
            attempts: self.runner.attempts(&link.name),
            reason,
            retry_s,
        })
    }

    fn handle(&mut self, event: Event) -> Option<Arc<PlatformView>> {
        let before = self.manager.state().clone();
        let wishes = self.manager.handle(now(), event);
        if *self.manager.state() != before {
            info!("RED: {}", self.manager.state());
        }
        if *self.manager.state() == State::GivingBack {
            // A lease or an address that was taken for the trial is RED's, before its files say so.
            self.runner.keep(&self.site.primary);
        }
        self.fulfil(wishes);
        self.parallel.look(&self.manager, &self.site.primary, &self.paths);
        self.changed()
    }

    fn fulfil(&mut self, wishes: Vec<Wish>) {
        for wish in wishes {
            match wish {
                Wish::Link(name, Action::Start(role)) => {
                    if let Some(link) = self.links.iter().find(|l| l.name == name) {
                        self.runner.start(link, role);
                    }
                }
                Wish::Link(name, Action::Stop) => self.runner.stop(&name),
                // The thread lives as long as we do.
                Wish::Do(batch) => drop(self.batches.send(batch)),
                Wish::Remember { file, content } => self.remember(file, &content),
            }
        }
    }

    fn changed(&mut self) -> Option<Arc<PlatformView>> {
        let view = view(&self.manager);
        if self.view.as_deref() == Some(&view) {
            return None;
        }
        let view = Arc::new(view);
        self.view = Some(view.clone());
        Some(view)
    }

    /// Keeps something for the next process.
    fn remember(&self, file: &str, content: &str) {
        let kept = match content {
            "" => self.place.remove_state(file),
            _ => self.place.write_state(file, content.as_bytes()),
        };
        match kept {
            Ok(()) if file == REFUSED => self.runner.settle_pins(&Refusals::read(content)),
            Ok(()) => {}
            Err(error) => warn!("{STATE}/{file}: {error}"),
        }
    }
}

/// How the links of a configuration look before anything was dialled, for a plan.
pub(crate) fn plan_view(config: &Config) -> Option<Arc<PlatformView>> {
    let manager = Manager::new(now(), config.site.clone()?, &config.links, &Left::default(), 1);
    Some(Arc::new(view(&manager)))
}

fn view(manager: &Manager) -> PlatformView {
    let one = |name: &str| {
        let view = manager.view(name)?;
        let interface = LogicalInterface {
            up: view.up,
            device: Some(view.device.clone()),
            lower_device: Some(view.device),
            proto: view.proto.to_ascii_lowercase(),
            gateways: view.gateways,
            on_trial: view.on_trial,
            dns: view.dns,
            ..LogicalInterface::default()
        };
        Some((name.to_owned(), interface))
    };
    PlatformView { interfaces: manager.names().filter_map(one).collect() }
}

fn path(core: &Core, link: &Link) -> Option<PathView> {
    let (id, device) = core.wan(&link.name)?;
    // IPFire's RED is IPv4; a fixed address of the other family has a path of that.
    let families = &core.config().interface(&link.name)?.families;
    let status = families.iter().find_map(|family| Some((family, core.path(PathKey { id, family })?)));
    let (family, status) = status?;
    let policy = core.desired()?.policies.iter().find(|p| p.name == "red");
    let carries =
        |carrier: &Carrier| matches!(carrier, Carrier::Members(shares) if shares.iter().any(|s| s.id == id));
    let carrier = policy.map(|p| if family == mwan_config::Family::V4 { &p.v4 } else { &p.v6 });
    let address = core.network().and_then(|net| net.links.get(device)?.source(family));
    Some(PathView {
        online: status.ready && status.state.usable(),
        carries: carrier.is_some_and(carries),
        source: status.source,
        has_address: address.is_some(),
        gateway: status.next_hop.and_then(|hop| hop.gateway),
        ready_since: Duration::from_micros(status.ready_since.0),
    })
}

fn carry_out(place: &Place, waiting: &Receiver<Batch>, tell: &UnboundedSender<Event>) {
    for batch in waiting {
        if place.is_stopped() {
            return;
        }
        // Without it the next process would take itself for the first after a boot, and forget that RED is not IPFire's.
        let done = remember_boot(place).map_err(|error| (0, error)).and_then(|()| place.carry_out(&batch));
        let (steps, error) = match done {
            Ok(()) => (batch.steps.len(), None),
            Err((steps, error)) => (steps, Some(error)),
        };
        let _ = tell.send(Event::Done { kind: batch.kind, error, steps });
    }
}

/// Since the boot: what a suspended machine missed does not count.
fn now() -> Duration {
    let Time(us) = clock::now();
    Duration::from_micros(us)
}

fn seed() -> u64 {
    let Time(us) = clock::now();
    us.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(std::process::id())
}

/// What a process before this one left.
fn left(root: &Path, runner: &Runner) -> Left {
    let state = root.join(STATE);
    Left {
        journal: files::line(&state.join("journal")),
        profile: files::line(&state.join("current-profile")),
        booted: files::line(&state.join("boot")) != boot(),
        interferes: state.join("interference").exists(),
        // One damaged byte does not make a SIM be told all of them again.
        refused: String::from_utf8_lossy(&fs::read(state.join(REFUSED)).unwrap_or_default()).into_owned(),
        chosen: fs::read_to_string(state.join(CHOSEN)).unwrap_or_default(),
        sessions: runner.left().into_iter().collect(),
        online: fs::read_to_string(state.join("online")).unwrap_or_default(),
    }
}

fn boot() -> Option<String> {
    files::line(Path::new("/proc/sys/kernel/random/boot_id"))
}

/// Which boot this is, for the next process.
fn remember_boot(place: &Place) -> Result<(), String> {
    let boot = boot();
    if files::line(&place.root.join(STATE).join("boot")) == boot {
        return Ok(());
    }
    let written = boot.map_or(Ok(()), |boot| place.write_state("boot", boot.as_bytes()));
    written.map_err(|error| format!("{STATE}/boot: {error}"))
}
