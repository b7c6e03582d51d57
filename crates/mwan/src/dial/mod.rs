//! Runs the plans of links: each in a thread of its own, which owns the processes of one session and undoes what it did.
//!
//! A session that carries outlives this process, as the data plane does (I10): its processes are in groups of their own, what
//! they say goes to a file, and what has to be undone one day is in `NAME.session` in the run directory, from where the next
//! process takes it over. A call on trial gets SIGTERM when we die, by whatever death, and is undone at the next start. An address or a
//! lease on trial stays, and is undone then only if it is not wanted any more: once RED has it, it carries.

mod lease;
mod modem;
mod pins;
mod run;
mod session;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mwan_config::link::Link;
use mwan_dial::{Dhcp, Event, Places, Role};
use mwan_ipfire::Refusals;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{info, warn};

pub(crate) use lease::{called as called_for_a_lease, run as take_lease};
use pins::Pins;
use run::Orders;
use session::Session;

/// Where programs are looked for, whatever the environment says.
pub(crate) const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";

/// PINs that are being told, in the folder of states.
const TOLD: &str = "told-pins";

/// Where events of links go.
pub(crate) type Tell = UnboundedSender<(String, Event)>;

/// All sessions of this process.
#[derive(Debug)]
pub(crate) struct Runner {
    places: Places,
    /// Folder of the PINs that are being told; it outlives a boot.
    pins: PathBuf,
    tell: Tell,
    /// What those that were not asked to end are told.
    running: BTreeMap<String, Arc<Orders>>,
    /// Attempts, by link.
    attempts: BTreeMap<String, u64>,
}

impl Runner {
    /// With its files in `run_dir/dial`, a folder only root can enter, and what a boot must not forget in `state`.
    pub(crate) fn new(run_dir: &Path, state: &Path, tell: Tell) -> std::io::Result<Self> {
        let folder = run_dir.join("dial");
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o700))?;
        // Programs are started in `/`.
        let folder = fs::canonicalize(folder)?;
        Ok(Runner {
            places: places(&folder)?,
            pins: state.join(TOLD),
            tell,
            running: BTreeMap::new(),
            attempts: BTreeMap::new(),
        })
    }

    /// PINs that are known to be refused, and kept elsewhere.
    pub(crate) fn settle_pins(&self, refusals: &Refusals) {
        pins::settle(&self.pins, refusals);
    }

    /// Runs the plan of a link.
    pub(crate) fn start(&mut self, link: &Link, role: Role) {
        *self.attempts.entry(link.name.clone()).or_default() += 1;
        let orders = Arc::new(Orders::default());
        self.running.insert(link.name.clone(), orders.clone());
        let (link, places, tell) = (link.clone(), self.places.clone(), self.tell.clone());
        info!("{}: {} is brought up{}", link.name, link.method.word(), for_what(role));
        let (name, pins) = (link.name.clone(), self.pins.clone());
        let work = move || {
            let pins = Pins::new(&pins, &link, role);
            let happened = |event| drop(tell.send((link.name.clone(), event)));
            let end = run::run(&link, role, &places, &pins, &orders, &happened);
            let _ = tell.send((link.name.clone(), end));
        };
        if let Err(error) = std::thread::Builder::new().name(format!("dial {name}")).spawn(work) {
            warn!("{name}: no thread to bring it up: {error}");
            let failure =
                mwan_dial::Failure::Program { name: "thread".into(), status: 0, said: error.to_string() };
            let _ = self.tell.send((name, Event::Ended(failure)));
        }
    }

    /// How often a link was begun.
    pub(crate) fn attempts(&self, name: &str) -> u64 {
        self.attempts.get(name).copied().unwrap_or_default()
    }

    /// Ends a session; the thread says when it is over.
    pub(crate) fn stop(&mut self, name: &str) {
        if let Some(orders) = self.running.remove(name) {
            info!("{name}: is taken down");
            orders.stop.store(true, Ordering::Relaxed);
        }
    }

    /// What a link has on trial is to carry: it outlives this process from now on. A call is another one then.
    pub(crate) fn keep(&self, name: &str) {
        let Some(orders) = self.running.get(name) else { return };
        if let Err(error) = orders.keep(name, &self.places) {
            warn!("{name}: what carries cannot be written down: {error}");
        }
    }

    /// Names of the links whose sessions a process before this one left, and which still live.
    pub(crate) fn left(&self) -> Vec<String> {
        let alive =
            sessions(&self.places).into_iter().filter(|(_, s)| s.role() == Role::Carry && s.is_alive());
        alive.map(|(_, session)| session.link).collect()
    }

    /// Undoes what a process before this one left, but for the sessions that are carried on with (`kept`, of a link and what it
    /// was up for): a call on trial that died with that process, a link that is not configured or not wanted any more.
    pub(crate) fn sweep(&self, kept: &dyn Fn(&str, Role) -> bool) {
        for (file, session) in sessions(&self.places) {
            if session.is_alive() && kept(&session.link, session.role()) {
                continue;
            }
            info!("{}: what is left of it is undone", session.link);
            run::undo_left(&session, &self.places);
            let _ = fs::remove_file(file);
        }
    }
}

fn for_what(role: Role) -> &'static str {
    match role {
        Role::Carry => "",
        Role::Trial => " on trial",
    }
}

/// Readable files of sessions.
fn sessions(places: &Places) -> Vec<(PathBuf, Session)> {
    let entries = fs::read_dir(&places.run_dir).into_iter().flatten().flatten();
    let files = entries.map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "session"));
    files.filter_map(|file| Some((file.clone(), Session::read(&file)?))).collect()
}

/// What there is on this system.
fn places(folder: &Path) -> std::io::Result<Places> {
    let has = |name: &str| PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|p| p.exists());
    let place = |name: &str| {
        has(name).unwrap_or_else(|| Path::new("/usr/sbin").join(name)).to_string_lossy().into_owned()
    };
    let udhcpc = has("dhcpcd").is_none() && has("udhcpc").is_some();
    Ok(Places {
        run_dir: folder.to_string_lossy().into_owned(),
        chat: place("chat"),
        pptp: place("pptp"),
        dhcp: if udhcpc { Dhcp::Udhcpc { script: lease::script(folder)? } } else { Dhcp::Dhcpcd },
    })
}
