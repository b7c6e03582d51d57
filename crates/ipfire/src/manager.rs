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
/// A link that has just been established is given this long to have an address.
const HOPE: Duration = Duration::from_secs(15);
/// How long a trial that was asked for may take.
const TEST_MAX: Duration = Duration::from_secs(120);

/// What the engine knows of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PathView {
    /// It answers: it may carry, or may as soon as it is not on trial any more.
    pub online: bool,
    /// It is what the policy `red` is carried by.
    pub carries: bool,
    /// The address its packets leave by; `None` while there is no way out: no device, no carrier or no address.
    pub source: Option<IpAddr>,
    /// The device has an address, though its cable may be pulled.
    pub has_address: bool,
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
    /// IPFire's: nothing of it is as a backup left it.
    Primary,
    /// It becomes a backup's.
    TakingOver {
        /// Its name.
        by: String,
        /// Whose it was.
        from: Box<State>,
    },
    /// This backup's: something of IPFire's is as its take-over left it, which may not have come to its end.
    Backup(String),
    /// The primary answers, and its own session is dialled; RED is still this backup's.
    Redialling(String),
    /// It becomes IPFire's: what is kept of it is put back now, and again until that succeeds. The primary may carry already.
    GivingBack,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            State::Primary => f.write_str("the primary's"),
            State::TakingOver { by, .. } => write!(f, "is being taken over by {by}"),
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
    /// A take-over was begun that touched nothing of IPFire's: the copy it may have made is to be forgotten.
    broken_off: bool,
    /// Somebody did not come to the end of a take-over that touched something: what RED's files say is not certain.
    unfinished: bool,
    /// Somebody did not come to the end of writing RED's files anew: hooks may not have been told.
    rewrite: bool,
    /// What RED's files say.
    red: Option<RedFiles>,
    /// RED's files are not written before, unless it becomes another's.
    refresh_at: Duration,
    /// When a backup that was hoped for is not any more.
    hope_ends: Option<Duration>,
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
            unfinished: false,
            rewrite: false,
            red: None,
            refresh_at: now,
            hope_ends: None,
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
        self.gone =
            self.links.keys().filter(|name| !links.iter().any(|l| l.name == **name)).cloned().collect();
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
        let before = profile.map_or(State::Primary, |name| State::Backup(name.to_owned()));
        self.own_primary &= before == State::Primary;
        self.state = before.clone();
        let Some(journal) = journal else { return };
        match journal.split_once(' ').unwrap_or((journal, "")) {
            ("take-over", by) => self.break_off(by, before, left.interferes),
            ("refresh", name) => {
                self.rewrite = true;
                self.own_primary |= before == State::Primary && name == self.site.primary;
            }
            // Nothing else is ever written.
            (_, whose) => {
                self.state = State::GivingBack;
                self.own_primary |= whose == batch::OURS || left.sessions.contains(&self.site.primary);
            }
        }
    }

    /// A take-over did not come to its end, whether in this process or the one before: whose RED is then. `touches`:
    /// something of IPFire's is as it left it.
    fn break_off(&mut self, by: &str, before: State, touches: bool) {
        self.unfinished |= touches;
        self.state = match before {
            State::Primary if touches => State::Backup(by.to_owned()),
            before => before,
        };
        self.broken_off = self.state == State::Primary;
        self.own_primary &= self.broken_off;
    }

    /// The backup that has RED, if that is not configured any more.
    fn is_orphaned(&self) -> bool {
        match &self.state {
            State::Backup(name) | State::Redialling(name) => !self.site.backups.contains(name),
            State::Primary | State::TakingOver { .. } | State::GivingBack => false,
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
        let own =
            [self.retry_at, self.test, self.patience, self.hope_ends, settled, announce, self.redialled_at()]
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
        if self.forced.as_ref().is_some_and(|name| !name.is_empty() && !self.site.backups.contains(name)) {
            self.force(None, &mut wishes);
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
        let failed = error.is_some();
        match (kind, self.state.clone()) {
            (Kind::TakeOver(by), State::TakingOver { from, .. }) if failed => {
                self.break_off(by, *from, batch::touched(steps));
            }
            (Kind::TakeOver(by), _) => {
                (self.unfinished, self.rewrite, self.broken_off, self.own_primary) =
                    (false, false, false, false);
                self.state = State::Backup(by.clone());
            }
            (Kind::GiveBack | Kind::Tidy, _) if !failed => {
                (self.unfinished, self.rewrite, self.broken_off) = (false, false, false);
                self.state = State::Primary;
            }
            (Kind::Tidy, _) => self.first = Some(batch::tidy_after_boot()),
            (Kind::Abandon, _) => self.broken_off &= failed,
            (Kind::Refresh, _) => self.rewrite = failed,
            // What is not finished is begun anew: no step minds.
            (Kind::GiveBack | Kind::BringUp | Kind::Announce(_), _) => {}
        }
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
        if self.site.enabled {
            wanted.extend(self.wanted_backups(now).into_iter().map(|name| (name, Role::Carry)));
            wanted.extend(self.wanted_primary().map(|role| (primary, role)));
        }
        let hopes = |name: &String| self.hopes_until(name).filter(|until| now < *until);
        self.hope_ends = self.site.backups.iter().filter_map(hopes).min();
        wanted.retain(|name, _| !self.is_in_use(name));
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

    /// Whether the device of a link that does not run is still that of one which is not configured any more.
    fn is_in_use(&self, name: &str) -> bool {
        let Some(managed) = self.links.get(name).filter(|m| m.dialler.phase().role().is_none()) else {
            return false;
        };
        let device = &managed.link.session_device;
        self.gone.iter().any(|gone| gone != name && self.links[gone].link.session_device == *device)
    }

    /// Whether a backup may have flows that have not ended: it carries, or did until a moment ago.
    fn lingers(&mut self, now: Duration, name: &str) -> bool {
        if self.gone.contains(name) {
            return false;
        }
        let carries = self.path(name).carries && name != self.site.primary;
        let Some(managed) = self.links.get_mut(name) else { return false };
        if carries {
            managed.lingers = Some(now + LINGER);
        }
        managed.lingers = managed.lingers.filter(|until| managed.is_hopeful() && now < *until);
        managed.lingers.is_some()
    }

    /// On demand: the best one, and behind one that does not come up the next, until one does.
    fn wanted_backups(&self, now: Duration) -> Vec<String> {
        let needed = self.forced.is_some()
            || self.state != State::Primary
            || (!self.paths.is_empty() && !self.path(&self.site.primary).online);
        let mut wanted = Vec::new();
        for name in self.backups().into_iter().filter(|_| needed) {
            let Some(managed) = self.links.get(&name) else { continue };
            wanted.push(name.clone());
            let up = matches!(managed.dialler.phase(), Phase::Up { .. });
            let hoped = || self.hopes_until(&name).is_some_and(|until| now < until);
            if managed.is_hopeful() && (!up || self.path(&name).online || hoped()) {
                break;
            }
        }
        wanted
    }

    /// Until when a link that is established, and has no address yet, is waited for: without carrier it never gets one.
    fn hopes_until(&self, name: &str) -> Option<Duration> {
        match self.phase(name)? {
            Phase::Up { since, .. } if self.path(name).source.is_none() => Some(*since + HOPE),
            _ => None,
        }
    }

    /// Whether the primary is to be brought up by us, and what for.
    fn wanted_primary(&self) -> Option<Role> {
        let path = self.path(&self.site.primary);
        let role = self.phase(&self.site.primary)?.role();
        let dials = self.dials_primary();
        let asked = self.test.is_some() && self.site.dialect == Dialect::Universal;
        match &self.state {
            // Of an address or a lease both roles are the same: what is up stays.
            State::Primary | State::GivingBack if self.own_primary && !dials => {
                Some(role.unwrap_or(Role::Carry))
            }
            State::Primary if self.own_primary => Some(Role::Carry),
            State::Primary if asked && (role.is_some() || !path.has_address) => Some(Role::Trial),
            State::Primary => None,
            // The session that RED was ends; one beside it does not matter.
            State::TakingOver { .. } => role.filter(|role| !dials || *role == Role::Trial),
            State::Redialling(_) | State::GivingBack if dials => Some(Role::Carry),
            State::GivingBack => role,
            // IPFire's own address or lease is still there: it is probed as it is.
            State::Backup(_) if !dials && role.is_none() && path.has_address => None,
            State::Backup(_) | State::Redialling(_) => Some(Role::Trial),
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
        self.stop_redialling(now);
        if self.is_orphaned() {
            self.state = State::GivingBack;
        }
        // With several REDs there are no backups: nothing is taken over, but what was is given back.
        let batch = match (self.first.take(), self.state.clone()) {
            (Some(batch), _) => Some(batch),
            (None, State::Primary) if self.primary_is_back() && self.broken_off => Some(batch::abandon()),
            // RED was given back a moment ago, and the engine has not followed yet.
            (None, State::Primary) if self.primary_is_back() => self.refresh(now),
            (None, State::Primary) if self.patience.is_some() && self.forced.is_none() => None,
            (None, State::Primary) => self.carrier().map(|name| self.take_over(&name)),
            (None, State::Backup(has)) if self.primary_is_back() && self.has_settled(now) => {
                self.begin_to_give_back(has)
            }
            (None, State::Backup(has)) => match self.carrier().filter(|name| *name != has || self.unfinished)
            {
                Some(name) => Some(self.take_over(&name)),
                None => self.refresh(now),
            },
            (None, State::Redialling(_)) => self.is_redialled().then(|| self.give_back()),
            (None, State::GivingBack) if self.awaits_own_session() => None,
            // It failed, or its backup is gone, and the primary does not work.
            (None, State::GivingBack) if !self.primary_is_back() && self.carrier().is_some() => {
                self.carrier().map(|name| self.take_over(&name))
            }
            (None, State::GivingBack) => Some(self.give_back()),
            // Its batch is being carried out.
            (None, State::TakingOver { .. }) => None,
        };
        if let Some(batch) = batch {
            self.carry_out(batch, wishes);
        }
    }

    fn carry_out(&mut self, batch: Batch, wishes: &mut Vec<Wish>) {
        self.busy = true;
        self.state = match &batch.kind {
            Kind::TakeOver(by) => State::TakingOver { by: by.clone(), from: Box::new(self.state.clone()) },
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
        let untouched = self.state == State::Primary && !self.own_primary && self.first.is_none();
        (self.own_primary, self.first) = (false, None);
        self.force(None, wishes);
        let batch = if untouched {
            batch::abandon()
        } else {
            let device = self.view(&self.site.primary).map(|view| view.device).unwrap_or_default();
            batch::release(&self.site.primary, &device)
        };
        self.carry_out(batch, wishes);
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
        let right = self.red.as_ref() == Some(&red.clone().written()) && !self.rewrite;
        if !known || right || now < self.refresh_at {
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
        self.test = None;
        let red = self.red_files(name);
        // What the batch writes is what it will say.
        self.red = Some(red.clone().written());
        batch::take_over(name, self.dials_primary(), &red)
    }

    fn primary_is_back(&self) -> bool {
        self.forced.is_none() && self.path(&self.site.primary).online
    }

    /// Whether a primary that answers has done so for long enough; where nothing else works it has.
    fn has_settled(&self, now: Duration) -> bool {
        !self.a_backup_works() || now >= self.settled_at()
    }

    fn a_backup_works(&self) -> bool {
        self.site.backups.iter().any(|name| self.path(name).online)
    }

    /// When that is.
    fn settled_at(&self) -> Duration {
        self.path(&self.site.primary).ready_since + self.site.settle
    }

    /// A session of the primary's own is dialled first; files follow it.
    fn begin_to_give_back(&mut self, has: String) -> Option<Batch> {
        if self.dials_primary() {
            self.state = State::Redialling(has);
            return None;
        }
        Some(self.give_back())
    }

    /// Whether the primary's own session, not one on trial, answers.
    fn is_redialled(&self) -> bool {
        let up = matches!(self.phase(&self.site.primary), Some(Phase::Up { role: Role::Carry, .. }));
        up && self.path(&self.site.primary).online
    }

    /// The process before us was giving RED back to a connection of ours, which is looked for: what hooks were told of it is
    /// then still so.
    fn awaits_own_session(&self) -> bool {
        if self.forced.is_some() {
            return false;
        }
        match self.phase(&self.site.primary) {
            None | Some(Phase::Waiting { .. } | Phase::Refused(_)) => false,
            Some(Phase::Dialling { .. }) => self.own_primary,
            Some(Phase::Idle | Phase::Stopping | Phase::Up { .. }) => {
                self.own_primary && self.patience.is_some() && !self.path(&self.site.primary).online
            }
        }
    }

    /// The primary answered, but its own session does not, or its owner wants a backup: its trial goes on. Which backup
    /// carries meanwhile does not matter: that ends within a minute.
    fn stop_redialling(&mut self, now: Duration) {
        let State::Redialling(has) = &self.state else { return };
        let failed =
            matches!(self.phase(&self.site.primary), Some(Phase::Waiting { .. } | Phase::Refused(_)));
        let silent = self.redialled_at().is_some_and(|at| now >= at);
        if failed || silent || self.forced.is_some() || !self.dials_primary() {
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

    /// RED's files are what its connection is, if that is one of ours; else what they were. A session that is none yet is
    /// dialled behind that.
    fn give_back(&mut self) -> Batch {
        let primary = self.site.primary.clone();
        let up = match self.phase(&primary) {
            Some(Phase::Up { role, .. }) => *role == Role::Carry || !self.dials_primary(),
            _ => false,
        };
        self.own_primary = up || self.dials_primary();
        let files = self.red_files(&primary);
        let files = files.local.filter(|_| up).map(|_| files.clone());
        if let Some(files) = &files {
            self.red = Some(files.clone().written());
        }
        batch::give_back(&primary, files.as_ref())
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
            local: path.source,
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
            on_trial: is_primary && self.is_tried() || self.is_set_aside(name),
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

    /// Whether the primary is probed and does not carry: beside a backup that works, or because its owner asked.
    fn is_tried(&self) -> bool {
        match &self.state {
            State::Backup(_) | State::TakingOver { .. } | State::Redialling(_) => self.a_backup_works(),
            State::Primary | State::GivingBack => {
                self.phase(&self.site.primary).and_then(Phase::role) == Some(Role::Trial) && !self.own_primary
            }
        }
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
