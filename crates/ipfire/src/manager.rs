//! Which links are wanted, and whose RED is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mwan_config::ipfire::{Dialect, Site};
use mwan_config::link::{Link, Method, OWN_SESSION};
use mwan_dial::{Action, Dialler, Failure, Phase, Role};

use crate::announce::Announcer;
use crate::batch::{self, Batch, Kind, RedFiles};
use crate::pins::{Refusals, Told};

/// Time before a batch that failed is tried again.
const RETRY: Duration = Duration::from_secs(30);
/// Time a backup that is not needed any more stays up for the flows it carries.
const LINGER: Duration = Duration::from_secs(300);
/// A primary that is being brought up while we start is given this long before RED is another's.
const START: Duration = Duration::from_secs(15);
/// RED's files are not written more often because they say something else: whoever writes them, too, must not make hooks
/// run without end.
const REFRESH: Duration = Duration::from_secs(30);
/// How long a trial that was asked for may take.
const TEST_MAX: Duration = Duration::from_secs(120);

/// What the engine knows of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PathView {
    /// It answers: it may carry, or may as soon as it is not on trial any more.
    pub online: bool,
    /// It is what the policy `red` is carried by.
    pub carries: bool,
    /// The device has an address.
    pub address: Option<IpAddr>,
    /// The next hop.
    pub gateway: Option<IpAddr>,
    /// Since when its device has been as it is.
    pub ready_since: Duration,
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The engine's view of all paths, by interface.
    Paths(BTreeMap<String, PathView>),
    /// Of a link.
    Link(String, mwan_dial::Event),
    /// A batch ended.
    Done {
        /// Which.
        kind: Kind,
        /// Why it was not finished.
        error: Option<String>,
        /// Steps that were carried out.
        steps: usize,
    },
    /// What RED's files say; `None` if they say that it is down.
    Red(Option<RedFiles>),
    /// Of the owner.
    Command(Command),
    /// Nothing but the passing of time.
    Tick,
}

/// What an owner may want.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// This profile carries, whatever the primary does, until [`Command::Failback`].
    Switch(String),
    /// The best backup carries, likewise.
    Failover,
    /// The primary may carry again.
    Failback,
    /// The primary is brought up beside what carries, now.
    TestPrimary,
}

/// Whose RED is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum State {
    /// IPFire's.
    Primary,
    /// It becomes this backup's.
    TakingOver(String),
    /// This backup's.
    Backup(String),
    /// The primary answers, and its own session is dialled; RED is still this backup's.
    Redialling(String),
    /// It becomes IPFire's.
    GivingBack,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Primary => f.write_str("the primary's"),
            State::TakingOver(name) => write!(f, "is being taken over by {name}"),
            State::Backup(name) => write!(f, "{name}'s"),
            State::Redialling(_) | State::GivingBack => f.write_str("is being given back to the primary"),
        }
    }
}

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// Of a link.
    Link(String, Action),
    /// Carry out.
    Do(Batch),
    /// Keep for the next process, in this file of the folder of states.
    Remember {
        /// Its name.
        file: &'static str,
        /// For root alone; empty: there is nothing to be kept.
        content: String,
    },
}

/// How a link looks to the engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct View {
    /// The device that serves the interface.
    pub device: String,
    /// It is meant to work.
    pub up: bool,
    /// It is only being tried: probed, but not used.
    pub on_trial: bool,
    /// Next hops the far end told.
    pub gateways: Vec<IpAddr>,
    /// Name servers the far end told.
    pub dns: Vec<IpAddr>,
    /// `pppoe`, `dhcp`…
    pub proto: &'static str,
}

/// What a process before this one left.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Left {
    /// Content of `state/journal`: a batch that was not finished.
    pub journal: Option<String>,
    /// Content of `state/current-profile`.
    pub profile: Option<String>,
    /// The machine has been booted since.
    pub booted: bool,
    /// There is `state/interference`: the primary is kept, and something of IPFire's may be as a take-over left it.
    pub interferes: bool,
    /// Content of [`REFUSED`]: PINs that were refused.
    pub refused: String,
    /// Content of [`CHOSEN`]: what the owner wants to carry.
    pub chosen: String,
    /// Links whose sessions still live.
    pub sessions: BTreeSet<String>,
    /// Content of `state/online`: those of several REDs that hooks know to be up.
    pub online: String,
}

/// In the folder of states: PINs that were refused, see [`Refusals`].
pub const REFUSED: &str = "refused-pins";
/// What the owner wants to carry: `failover`, or `switch NAME`.
pub const CHOSEN: &str = "chosen";

/// What the owner wanted, as a text and back.
fn chosen(text: &str) -> Option<String> {
    match text.trim() {
        "failover" => Some(String::new()),
        text => text.strip_prefix("switch ").map(str::to_owned),
    }
}

fn chosen_text(forced: Option<&str>) -> String {
    match forced {
        None => String::new(),
        Some("") => "failover\n".to_owned(),
        Some(name) => format!("switch {name}\n"),
    }
}

struct Managed {
    link: Link,
    dialler: Dialler,
    /// The PIN of the plan that was started last: the link may have been given another since.
    told: Option<Told>,
    /// Until then flows on it may end.
    lingers: Option<Duration>,
}

impl Managed {
    fn new(link: &Link, seed: u64, refusals: &Refusals) -> Self {
        let dialler = Dialler::new(seed, refusals.knows(link));
        Managed { link: link.clone(), dialler, told: None, lingers: None }
    }

    /// It runs, or is begun for the first time.
    fn is_hopeful(&self) -> bool {
        matches!(
            self.dialler.phase(),
            Phase::Idle | Phase::Stopping | Phase::Dialling { attempt: 1, .. } | Phase::Up { .. }
        )
    }
}

/// See the module.
pub struct Manager {
    site: Arc<Site>,
    links: BTreeMap<String, Managed>,
    paths: BTreeMap<String, PathView>,
    state: State,
    /// The owner wants this backup, or the best (`""`).
    forced: Option<String>,
    /// The owner wants a trial, until then at most.
    test: Option<Duration>,
    /// A batch is being carried out.
    busy: bool,
    /// What went wrong last, for the status.
    trouble: Option<String>,
    retry_at: Option<Duration>,
    /// The primary's session is one of ours: we bring it up again.
    own_primary: bool,
    /// RED is not taken over before; `None`: the primary has been seen working.
    patience: Option<Duration>,
    /// A take-over was not finished, and nothing has been done about it.
    broken_off: bool,
    /// Something of IPFire's is as a take-over left it.
    touched: bool,
    /// The process before us did not come to the end of the take-over by the backup that has RED.
    unfinished: bool,
    /// What RED's files say.
    red: Option<RedFiles>,
    /// RED's files are not written before, unless it becomes another's.
    refresh_at: Duration,
    /// A batch to be done first.
    first: Option<Batch>,
    /// Of several REDs, which hooks know to be up.
    announcer: Announcer,
    /// Links that are not configured any more and still end.
    gone: BTreeSet<String>,
    refusals: Refusals,
    seed: u64,
}

impl Manager {
    /// For the links and the site of a configuration, at `now`. `seed` spreads attempts.
    pub fn new(now: Duration, site: Arc<Site>, links: &[Link], left: &Left, seed: u64) -> Self {
        let refusals = Refusals::read(&left.refused);
        let managed = |(index, link): (usize, &Link)| {
            let mut managed = Managed::new(link, seed.wrapping_add(index as u64), &refusals);
            // It may have flows that were promised some more time.
            managed.lingers = left.sessions.contains(&link.name).then_some(now + LINGER);
            (link.name.clone(), managed)
        };
        let mut manager = Manager {
            site,
            links: links.iter().enumerate().map(managed).collect(),
            paths: BTreeMap::new(),
            state: State::Primary,
            forced: chosen(&left.chosen),
            test: None,
            busy: false,
            trouble: None,
            retry_at: None,
            own_primary: false,
            patience: Some(now + START),
            broken_off: false,
            touched: false,
            unfinished: false,
            red: None,
            refresh_at: now,
            first: None,
            announcer: Announcer::new(now, if left.booted { "" } else { &left.online }),
            gone: BTreeSet::new(),
            refusals,
            seed: seed.wrapping_add(links.len() as u64),
        };
        manager.own_primary = left.sessions.contains(&manager.site.primary);
        manager.settle_links();
        manager.recover(left);
        manager
    }

    /// Other links, or another site. Those that are the same go on as they are.
    pub fn configure(&mut self, now: Duration, site: Arc<Site>, links: &[Link]) -> Vec<Wish> {
        let mut wishes = Vec::new();
        self.site = site;
        for (name, managed) in &mut self.links {
            let link = links.iter().find(|l| l.name == *name);
            let action = match link {
                Some(link) if *link == managed.link => None,
                Some(link) => {
                    managed.link = link.clone();
                    // Its flows end with the session.
                    managed.lingers = None;
                    managed.dialler.restart(self.refusals.knows(link))
                }
                None => managed.dialler.handle(now, mwan_dial::Event::Drop),
            };
            wishes.extend(action.map(|action| Wish::Link(name.clone(), action)));
        }
        // One that still runs is forgotten when it has ended.
        self.links.retain(|name, managed| {
            *managed.dialler.phase() == Phase::Stopping || links.iter().any(|l| l.name == *name)
        });
        for link in links {
            self.seed = self.seed.wrapping_add(1);
            let managed = || Managed::new(link, self.seed, &self.refusals);
            self.links.entry(link.name.clone()).or_insert_with(managed);
        }
        self.settle_links();
        if self.forced.as_ref().is_some_and(|name| !name.is_empty() && !self.site.backups.contains(name)) {
            self.force(None, &mut wishes);
        }
        self.gone =
            self.links.keys().filter(|name| !links.iter().any(|l| l.name == **name)).cloned().collect();
        if let State::Backup(name) | State::TakingOver(name) | State::Redialling(name) = &self.state
            && !links.iter().any(|l| l.name == *name)
        {
            self.own_primary = self.dials_primary();
            self.first = Some(batch::give_back(&self.site.primary, None));
        }
        wishes.extend(self.handle(now, Event::Tick));
        wishes
    }

    /// Every link that is no backup is one that nothing can replace.
    fn settle_links(&mut self) {
        for (name, managed) in &mut self.links {
            managed.dialler.keep_trying(!self.site.backups.contains(name));
        }
    }

    /// Where the process before this one stopped.
    fn recover(&mut self, left: &Left) {
        let profile = left.profile.as_deref().map(str::trim).filter(|p| !p.is_empty() && *p != "primary");
        let journal = left.journal.as_deref().map(str::trim).filter(|j| !j.is_empty());
        if left.booted {
            if profile.is_some() || journal.is_some() {
                self.first = Some(batch::tidy_after_boot());
            }
            return;
        }
        let taking = journal.and_then(|j| j.strip_prefix("take-over "));
        let known = |name: &&str| self.links.contains_key(*name);
        match (journal, taking.or(profile).filter(known)) {
            (Some("give-back"), _) => {
                self.own_primary = self.dials_primary();
                self.first = Some(batch::give_back(&self.site.primary, None));
            }
            (_, Some(name)) => {
                self.state = State::Backup(name.to_owned());
                self.unfinished = taking.is_some();
                self.touched = left.interferes;
            }
            // The profile is not configured any more.
            (_, None) if profile.is_some() || journal.is_some() => {
                self.first = Some(batch::give_back(&self.site.primary, None));
            }
            (_, None) => {}
        }
    }

    /// Whose RED is.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// What went wrong last.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What a link is doing.
    pub fn phase(&self, name: &str) -> Option<&Phase> {
        Some(self.links.get(name)?.dialler.phase())
    }

    /// When [`Event::Tick`] is due.
    pub fn wake_at(&self) -> Option<Duration> {
        let links = self.links.values();
        let waits = self.site.enabled
            && matches!(self.state, State::Backup(_))
            && !self.busy
            && self.retry_at.is_none();
        let settled = waits && self.primary_is_back();
        let settled = settled.then(|| self.settled_at());
        let announce = self.announcer.wake_at().filter(|_| self.site.dialect == Dialect::Extension);
        let own = [self.retry_at, self.test, self.patience, settled, announce, self.redialled_at()]
            .into_iter()
            .flatten();
        links.flat_map(|m| m.dialler.wake_at().into_iter().chain(m.lingers)).chain(own).min()
    }

    /// Takes an event at `now`.
    pub fn handle(&mut self, now: Duration, event: Event) -> Vec<Wish> {
        let mut wishes = Vec::new();
        self.test = self.test.filter(|until| now < *until);
        self.patience = self.patience.filter(|until| now < *until && !self.path(&self.site.primary).online);
        match event {
            Event::Paths(paths) => {
                self.paths = paths;
                self.test = self.test.filter(|_| !self.path(&self.site.primary).online);
            }
            Event::Link(name, event) => self.tell(now, &name, event, &mut wishes),
            Event::Done { kind, error, steps } => self.done(now, &kind, error, steps),
            Event::Red(red) => self.red = red,
            Event::Command(command) => self.command(now, command, &mut wishes),
            Event::Tick => {
                let names: Vec<String> = self.links.keys().cloned().collect();
                for name in names {
                    self.tell(now, &name, mwan_dial::Event::Tick, &mut wishes);
                }
            }
        }
        // Whose RED is decides what the primary's link is wanted for.
        self.want_red(now, &mut wishes);
        self.want_links(now, &mut wishes);
        self.announce(now, &mut wishes);
        wishes
    }

    /// Several REDs: hooks are run for each that comes or goes. With one RED they follow its take-over.
    fn announce(&mut self, now: Duration, wishes: &mut Vec<Wish>) {
        if self.site.dialect != Dialect::Extension {
            return;
        }
        let works = |name: &&String| self.path(name).online && !self.gone.contains(*name);
        let online: BTreeSet<String> = self.links.keys().filter(works).cloned().collect();
        if let Some(change) = self.announcer.next(now, &online) {
            let device = self.view(&change.name).map(|view| view.device).unwrap_or_default();
            wishes.push(Wish::Do(batch::announce(&change.name, &device, change.up, self.announcer.lines())));
        }
    }

    fn tell(&mut self, now: Duration, name: &str, event: mwan_dial::Event, wishes: &mut Vec<Wish>) {
        if matches!(event, mwan_dial::Event::Ended(_)) && name == self.site.primary {
            // The trial that was asked for has its answer.
            self.test = None;
        }
        if event == mwan_dial::Event::Ended(Failure::PinRefused) {
            self.refuse(name, wishes);
        }
        let Some(managed) = self.links.get_mut(name) else { return };
        if let Some(action) = managed.dialler.handle(now, event) {
            match action {
                Action::Start(_) => managed.told = Told::of(&managed.link),
                Action::Stop => managed.lingers = None,
            }
            wishes.push(Wish::Link(name.to_owned(), action));
        }
        if self.gone.contains(name) && *managed.dialler.phase() == Phase::Idle {
            self.gone.remove(name);
            self.links.remove(name);
        }
    }

    /// The PIN a link told was refused: no link tells it again.
    fn refuse(&mut self, name: &str, wishes: &mut Vec<Wish>) {
        let Some(told) = self.links.get_mut(name).and_then(|managed| managed.told.take()) else { return };
        self.refusals.add(told);
        for managed in self.links.values_mut() {
            managed.dialler.bar(self.refusals.knows(&managed.link));
        }
        wishes.push(Wish::Remember { file: REFUSED, content: self.refusals.lines() });
    }

    /// What its owner asks for is tried at once.
    fn command(&mut self, now: Duration, command: Command, wishes: &mut Vec<Wish>) {
        let wanted = match command {
            Command::Switch(name) => {
                self.force(Some(name.clone()), wishes);
                vec![name]
            }
            Command::Failover => {
                self.force(Some(String::new()), wishes);
                self.site.backups.clone()
            }
            Command::Failback => {
                self.force(None, wishes);
                vec![self.site.primary.clone()]
            }
            Command::TestPrimary => {
                self.test = Some(now + TEST_MAX);
                vec![self.site.primary.clone()]
            }
        };
        for name in wanted {
            self.links.get_mut(&name).into_iter().for_each(|managed| managed.dialler.hasten());
        }
    }

    fn force(&mut self, forced: Option<String>, wishes: &mut Vec<Wish>) {
        if self.forced != forced {
            wishes.push(Wish::Remember { file: CHOSEN, content: chosen_text(forced.as_deref()) });
        }
        self.forced = forced;
    }

    fn done(&mut self, now: Duration, kind: &Kind, error: Option<String>, steps: usize) {
        // Nobody waits for that.
        if let Kind::Announce(_) = kind {
            self.announcer.done(now, error.is_some());
            self.trouble = error;
            return;
        }
        self.busy = false;
        self.retry_at = error.is_some().then_some(now + RETRY);
        self.trouble.clone_from(&error);
        match kind {
            Kind::TakeOver(_) => {
                self.broken_off = error.is_some();
                self.touched |= batch::touched(steps);
            }
            Kind::GiveBack | Kind::Tidy | Kind::Abandon if error.is_none() => {
                (self.broken_off, self.touched) = (false, false);
            }
            _ => {}
        }
        if *kind == Kind::Tidy && error.is_some() {
            self.first = Some(batch::tidy_after_boot());
        }
        self.state = match (kind, error.is_some(), self.state.clone()) {
            (Kind::TakeOver(name), false, _) => State::Backup(name.clone()),
            (Kind::GiveBack | Kind::Tidy, false, _) => State::Primary,
            // What is not finished is begun anew: no step minds.
            (Kind::TakeOver(_), true, State::TakingOver(_)) => State::Primary,
            (Kind::GiveBack, true, State::GivingBack) => State::GivingBack,
            (_, _, state) => state,
        };
    }

    fn path(&self, name: &str) -> PathView {
        self.paths.get(name).copied().unwrap_or_default()
    }

    /// Whether the primary is a session that has to be dialled.
    fn dials_primary(&self) -> bool {
        self.links.get(&self.site.primary).is_some_and(|m| m.link.method.is_dialled())
    }

    /// The backups to be tried, best first.
    fn backups(&self) -> Vec<String> {
        let mut all = self.site.backups.clone();
        if let Some(first) = self.forced.as_deref().and_then(|name| all.iter().position(|b| b == name)) {
            let name = all.remove(first);
            all.insert(0, name);
        }
        all
    }

    fn want_links(&mut self, now: Duration, wishes: &mut Vec<Wish>) {
        let mut wanted: BTreeMap<String, Role> = BTreeMap::new();
        let primary = self.site.primary.clone();
        let stays =
            |m: &&Managed| !m.link.on_demand && m.link.name != primary && !self.gone.contains(&m.link.name);
        for managed in self.links.values().filter(stays).filter(|_| self.site.enabled) {
            wanted.insert(managed.link.name.clone(), Role::Carry);
        }
        if self.site.dialect == Dialect::Universal && self.site.enabled {
            wanted.extend(self.wanted_backups().into_iter().map(|name| (name, Role::Carry)));
            wanted.extend(self.wanted_primary().map(|role| (primary, role)));
        }
        let names: Vec<String> = self.links.keys().cloned().collect();
        for name in names {
            if self.lingers(now, &name) && self.site.enabled {
                wanted.entry(name.clone()).or_insert(Role::Carry);
            }
            let event =
                wanted.get(&name).map_or(mwan_dial::Event::Drop, |role| mwan_dial::Event::Want(*role));
            self.tell(now, &name, event, wishes);
        }
    }

    /// Whether a backup may have flows that have not ended: it carries, or did until a moment ago.
    fn lingers(&mut self, now: Duration, name: &str) -> bool {
        let carries = self.path(name).carries && name != self.site.primary;
        let Some(managed) = self.links.get_mut(name) else { return false };
        if carries {
            managed.lingers = Some(now + LINGER);
        }
        managed.lingers = managed.lingers.filter(|until| managed.is_hopeful() && now < *until);
        managed.lingers.is_some()
    }

    /// On demand: the best one, and behind one that does not come up the next, until one does.
    fn wanted_backups(&self) -> Vec<String> {
        let needed = self.forced.is_some()
            || self.state != State::Primary
            || (!self.paths.is_empty() && !self.path(&self.site.primary).online);
        let mut wanted = Vec::new();
        for name in self.backups().into_iter().filter(|_| needed) {
            let Some(managed) = self.links.get(&name) else { continue };
            wanted.push(name.clone());
            let up = matches!(managed.dialler.phase(), Phase::Up { .. });
            if managed.is_hopeful() && (!up || self.may_work(&name)) {
                break;
            }
        }
        wanted
    }

    /// An established link whose path has not been found dead.
    fn may_work(&self, name: &str) -> bool {
        let path = self.path(name);
        path.online || path.address.is_none()
    }

    /// Whether the primary is to be brought up by us, and what for.
    fn wanted_primary(&self) -> Option<Role> {
        let path = self.path(&self.site.primary);
        let phase = self.phase(&self.site.primary)?;
        let role = phase.role();
        match &self.state {
            // Of an address or a lease both roles are the same: what is up stays.
            State::Primary | State::TakingOver(_) if self.own_primary && !self.dials_primary() => {
                Some(role.unwrap_or(Role::Carry))
            }
            State::GivingBack if !self.dials_primary() => role,
            State::Primary | State::TakingOver(_) if self.own_primary => Some(Role::Carry),
            State::Redialling(_) | State::GivingBack if self.dials_primary() => Some(Role::Carry),
            State::Backup(_) if self.dials_primary() => Some(Role::Trial),
            // IPFire's own address or lease is still there: it is probed as it is.
            State::Backup(_) if role.is_none() && path.address.is_some() => None,
            State::Backup(_) | State::Redialling(_) => Some(Role::Trial),
            State::Primary if self.test.is_some() && path.address.is_none() => Some(Role::Trial),
            _ => None,
        }
    }

    fn want_red(&mut self, now: Duration, wishes: &mut Vec<Wish>) {
        if self.busy || self.retry_at.is_some_and(|at| now < at) {
            return;
        }
        self.retry_at = None;
        if !self.site.enabled {
            return self.leave_red(wishes);
        }
        // With several REDs there is nothing to take over, but a take-over from before may have to be undone.
        if self.site.dialect != Dialect::Universal && self.first.is_none() {
            return;
        }
        self.stop_redialling(now);
        let batch = match (self.first.take(), self.state.clone()) {
            (Some(batch), _) => Some(batch),
            (None, State::Primary) if self.primary_is_back() && self.broken_off => Some(self.undo()),
            // RED was given back a moment ago, and the engine has not followed yet.
            (None, State::Primary) if self.primary_is_back() => self.refresh(now),
            (None, State::Primary) if self.patience.is_some() && self.forced.is_none() => None,
            (None, State::Primary) => self.carrier().map(|name| self.take_over(&name)),
            (None, State::Backup(has)) if self.primary_is_back() && now >= self.settled_at() => {
                self.begin_to_give_back(has)
            }
            (None, State::Backup(has)) => match self.carrier().filter(|name| *name != has || self.unfinished)
            {
                Some(name) => Some(self.take_over(&name)),
                None => self.refresh(now),
            },
            (None, State::Redialling(_)) => self.give_back(),
            // It was broken off, and the primary does not work any more.
            (None, State::GivingBack) if !self.primary_is_back() && self.carrier().is_some() => {
                self.carrier().map(|name| self.take_over(&name))
            }
            (None, State::GivingBack) => self.give_back(),
            (None, State::TakingOver(name)) => Some(self.take_over(&name)),
        };
        if let Some(batch) = batch {
            self.carry_out(batch, wishes);
        }
    }

    fn carry_out(&mut self, batch: Batch, wishes: &mut Vec<Wish>) {
        self.busy = true;
        self.state = match &batch.kind {
            Kind::TakeOver(name) => State::TakingOver(name.clone()),
            Kind::GiveBack => State::GivingBack,
            Kind::Refresh | Kind::Tidy | Kind::Abandon | Kind::BringUp | Kind::Announce(_) => {
                self.state.clone()
            }
        };
        wishes.push(Wish::Do(batch));
    }

    /// mwan is switched off: what is IPFire's is given back once nothing of ours runs, for its own script dials beside no
    /// other `pppd`.
    fn leave_red(&mut self, wishes: &mut Vec<Wish>) {
        let ours = self.state != State::Primary || self.own_primary || self.broken_off;
        let runs = |m: &Managed| {
            matches!(m.dialler.phase(), Phase::Dialling { .. } | Phase::Up { .. } | Phase::Stopping)
        };
        if self.first.is_none() && !ours || self.links.values().any(runs) {
            return;
        }
        (self.own_primary, self.first) = (false, None);
        self.force(None, wishes);
        let batch = if self.broken_off && !self.touched {
            batch::abandon()
        } else {
            let device = self.view(&self.site.primary).map(|view| view.device).unwrap_or_default();
            batch::release(&self.site.primary, &device)
        };
        self.carry_out(batch, wishes);
    }

    /// A take-over was broken off, and the primary works again.
    fn undo(&self) -> Batch {
        if self.touched { batch::give_back(&self.site.primary, None) } else { batch::abandon() }
    }

    /// Whether [`Event::Red`] is wanted: the link that has RED is one of ours.
    pub fn watches_red(&self) -> Option<&str> {
        match &self.state {
            State::Backup(name) | State::Redialling(name) => Some(name),
            State::Primary if self.own_primary => Some(&self.site.primary),
            _ => None,
        }
    }

    /// Whether RED's files say something else than its connection is: it got another address, or somebody wrote them.
    fn refresh(&mut self, now: Duration) -> Option<Batch> {
        let name = self.watches_red()?.to_owned();
        let red = self.red_files(&name);
        let known = red.local.is_some() && self.path(&name).online;
        if !known || now < self.refresh_at || self.red.as_ref() == Some(&red.clone().written()) {
            return None;
        }
        self.refresh_at = now + REFRESH;
        Some(batch::refresh(&name, &red))
    }

    /// The backup the engine has traffic carried by.
    fn carrier(&self) -> Option<String> {
        self.site.backups.iter().find(|name| self.path(name).carries).cloned()
    }

    fn take_over(&mut self, name: &str) -> Batch {
        self.own_primary = false;
        self.unfinished = false;
        self.test = None;
        let red = self.red_files(name);
        // What the batch writes is what it will say.
        self.red = Some(red.clone().written());
        batch::take_over(name, self.dials_primary(), &red)
    }

    fn primary_is_back(&self) -> bool {
        self.forced.is_none() && self.path(&self.site.primary).online
    }

    /// When a primary that answers has done so for long enough.
    fn settled_at(&self) -> Duration {
        self.path(&self.site.primary).ready_since + self.site.settle
    }

    /// A session of the primary's own is dialled first; files follow it.
    fn begin_to_give_back(&mut self, has: String) -> Option<Batch> {
        if self.dials_primary() {
            self.state = State::Redialling(has);
            return None;
        }
        self.give_back()
    }

    /// The primary answered, but its own session does not, or the backup is needed for another reason: its trial goes on.
    fn stop_redialling(&mut self, now: Duration) {
        let State::Redialling(has) = &self.state else { return };
        let failed =
            matches!(self.phase(&self.site.primary), Some(Phase::Waiting { .. } | Phase::Refused(_)));
        let silent = self.redialled_at().is_some_and(|at| now >= at);
        let other = self.carrier().is_some_and(|name| name != *has);
        if failed || silent || other || self.forced.is_some() || !self.dials_primary() {
            self.state = State::Backup(has.clone());
        }
    }

    /// When a session of the primary's own has had enough time to answer.
    fn redialled_at(&self) -> Option<Duration> {
        match (&self.state, self.phase(&self.site.primary)?) {
            (State::Redialling(_), Phase::Up { role: Role::Carry, since, .. }) => Some(*since + RETRY),
            _ => None,
        }
    }

    fn give_back(&mut self) -> Option<Batch> {
        let primary = self.site.primary.clone();
        if !self.dials_primary() {
            let ours = matches!(self.phase(&primary), Some(Phase::Up { .. }));
            // A lease or address that was taken for the trial stays: it is RED's now.
            self.own_primary = ours;
            let files = self.red_files(&primary);
            self.red = Some(files.clone().written());
            return Some(batch::give_back(&primary, ours.then_some(&files)));
        }
        let up = matches!(self.phase(&primary), Some(Phase::Up { role: Role::Carry, .. }));
        if up && self.path(&primary).online {
            self.own_primary = true;
            let files = self.red_files(&primary);
            self.red = Some(files.clone().written());
            return Some(batch::give_back(&primary, Some(&files)));
        }
        None
    }

    fn red_files(&self, name: &str) -> RedFiles {
        let path = self.path(name);
        let view = self.view(name);
        let peer = match self.phase(name) {
            Some(Phase::Up { connection, .. }) => connection.peer,
            _ => None,
        };
        RedFiles {
            device: view.as_ref().map(|v| v.device.clone()).unwrap_or_default(),
            local: path.address,
            remote: path.gateway.or(peer),
            dns: view.map(|v| v.dns).unwrap_or_default(),
        }
    }

    /// How a link looks to the engine; `None` if there is no such link.
    pub fn view(&self, name: &str) -> Option<View> {
        let managed = self.links.get(name)?;
        let link = &managed.link;
        let connection = match managed.dialler.phase() {
            Phase::Up { connection, .. } => Some(connection),
            _ => None,
        };
        let is_primary = name == self.site.primary;
        let configured: &[IpAddr] = match &link.method {
            Method::Static { dns, .. } => dns,
            _ => &[],
        };
        let device = match connection {
            Some(connection) => connection.device.clone(),
            None if is_primary && link.method.makes_a_device() => OWN_SESSION.to_owned(),
            None => link.session_device.clone(),
        };
        // IPFire's RED and what stays up are up as far as we are concerned: the kernel knows better. What is dialled is not
        // before its dialler says so, though its device may have its address a moment earlier: what RED's files need comes with it.
        let ours = link.on_demand && !(is_primary && self.state == State::Primary);
        Some(View {
            device,
            up: connection.is_some() || !ours,
            on_trial: is_primary && (self.state != State::Primary || self.is_tried())
                || self.is_set_aside(name),
            gateways: connection.map(|c| c.gateways.clone()).unwrap_or_default(),
            dns: connection
                .map(|c| c.dns.clone())
                .filter(|d| !d.is_empty())
                .unwrap_or_else(|| configured.to_vec()),
            proto: link.method.word(),
        })
    }

    /// Whether the owner's choice keeps it from carrying: only once what was chosen works.
    fn is_set_aside(&self, name: &str) -> bool {
        let Some(forced) = &self.forced else { return false };
        let chosen = |backup: &String| forced.is_empty() || backup == forced;
        let works = self.site.backups.iter().any(|b| chosen(b) && self.path(b).online);
        works && !self.site.backups.iter().any(|b| b == name && chosen(b))
    }

    /// Whether the primary's link is up for a trial, and not for RED.
    fn is_tried(&self) -> bool {
        self.phase(&self.site.primary).and_then(Phase::role) == Some(Role::Trial) && !self.own_primary
    }

    /// What the owner chose: a profile, or `""` for the best.
    pub fn forced(&self) -> Option<&str> {
        self.forced.as_deref()
    }

    /// Names of all links.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.links.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
