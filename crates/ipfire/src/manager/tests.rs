#![allow(clippy::unwrap_used)]
use super::*;
use crate::batch::Step;
use mwan_config::link::{Auth, Login, Secret};
use mwan_dial::{Established, Failure};

const S: fn(u64) -> Duration = Duration::from_secs;

fn link(name: &str, method: Method, on_demand: bool) -> Link {
    let session_device = if method.makes_a_device() { format!("ppp-{name}") } else { format!("dev-{name}") };
    Link {
        name: name.into(),
        device: format!("dev-{name}"),
        lower: None,
        method,
        session_device,
        on_demand,
        mtu: None,
        mac: None,
    }
}

fn pppoe() -> Method {
    let login = Login { user: "u".into(), password: Secret::new("p"), auth: Auth::Any };
    Method::Pppoe { service: None, concentrator: None, login }
}

fn fixed() -> Method {
    Method::Static { addresses: vec!["192.0.2.2/24".parse().unwrap()], gateways: Vec::new(), dns: Vec::new() }
}

fn gsm() -> Method {
    Method::Modem { speed: 1, apn: "i".into(), number: "1".into(), pin: None, login: None }
}

/// A path with an address.
fn at(online: bool, carries: bool, ready_since: Duration) -> PathView {
    let source = "192.0.2.2".parse().ok();
    PathView { online, carries, source, has_address: true, gateway: None, ready_since }
}

/// Several REDs; `red0` is IPFire's own.
fn several() -> Arc<Site> {
    Arc::new(Site {
        dialect: Dialect::Extension,
        enabled: true,
        primary: "red0".into(),
        backups: Vec::new(),
        settle: S(0),
    })
}

/// A site with a primary of `method`, a modem and a lease.
fn links(method: Method) -> Vec<Link> {
    let demand = method.makes_a_device();
    vec![
        link("red", method, demand),
        link("gsm", gsm(), true),
        link("lte", gsm(), true),
        link("cable", Method::Dhcp { hostname: None }, false),
    ]
}

fn site(backups: &[&str]) -> Arc<Site> {
    let backups = backups.iter().map(|b| (*b).to_owned()).collect();
    Arc::new(Site {
        dialect: Dialect::Universal,
        enabled: true,
        primary: "red".into(),
        backups,
        settle: S(0),
    })
}

/// A manager, and a world that does what it wishes.
struct World {
    manager: Manager,
    now: Duration,
    paths: BTreeMap<String, PathView>,
    /// Plans that run.
    runs: BTreeMap<String, Role>,
    /// Batches carried out, as `take-over NAME`, `give-back`, `tidy`.
    done: Vec<String>,
    /// Links that cannot be dialled, and why.
    broken: BTreeMap<String, Failure>,
    fail_batches: bool,
    /// Steps that are carried out then.
    failing_step: usize,
    batches: Vec<Batch>,
    /// As far as they were carried out.
    ended: Vec<Batch>,
    /// What the next process will know.
    kept: BTreeMap<&'static str, String>,
}

impl World {
    fn new(method: Method, backups: &[&str], left: &Left) -> Self {
        let manager = Manager::new(S(0), site(backups), &links(method), left, 1);
        let mut world = World {
            manager,
            now: S(0),
            paths: BTreeMap::new(),
            runs: BTreeMap::new(),
            done: Vec::new(),
            broken: BTreeMap::new(),
            fail_batches: false,
            failing_step: 1,
            batches: Vec::new(),
            ended: Vec::new(),
            kept: BTreeMap::new(),
        };
        if *left == Left::default() {
            world.path("red", true, true);
        }
        world
    }

    fn send(&mut self, event: Event) {
        let wishes = self.manager.handle(self.now, event);
        self.fulfil(wishes);
    }

    fn fulfil(&mut self, wishes: Vec<Wish>) {
        let mut wishes = wishes;
        loop {
            let mut events = Vec::new();
            for wish in wishes {
                match wish {
                    Wish::Link(name, Action::Start(role)) => {
                        assert!(self.runs.insert(name.clone(), role).is_none(), "{name} twice");
                        let told = match self.broken.get(&name) {
                            Some(why) => {
                                self.runs.remove(&name);
                                mwan_dial::Event::Ended(why.clone())
                            }
                            None => mwan_dial::Event::Established(Established {
                                device: format!("up-{name}"),
                                ..Established::default()
                            }),
                        };
                        events.push(Event::Link(name, told));
                    }
                    Wish::Link(name, Action::Stop) => {
                        // What could not be dialled says so by itself, at this moment.
                        let runs = self.runs.remove(&name).is_some();
                        assert!(runs || self.broken.contains_key(&name), "{name} does not run");
                        if runs {
                            events.push(Event::Link(name, mwan_dial::Event::Stopped));
                        }
                    }
                    Wish::Remember { file, content } => drop(self.kept.insert(file, content)),
                    Wish::Do(batch) => {
                        let word = match &batch.kind {
                            Kind::TakeOver(name) => format!("take-over {name}"),
                            Kind::GiveBack => "give-back".to_owned(),
                            Kind::Refresh => "refresh".to_owned(),
                            Kind::Tidy | Kind::Abandon => "tidy".to_owned(),
                            Kind::BringUp => "bring-up".to_owned(),
                            Kind::Announce(name) => format!("announce {name}"),
                        };
                        self.done.push(word);
                        let error = self.fail_batches.then(|| "No space left on device".to_owned());
                        let steps = if error.is_some() { self.failing_step } else { batch.steps.len() };
                        self.batches.push(batch.clone());
                        let carried_out = batch.steps.iter().take(steps).cloned().collect();
                        self.ended.push(Batch { kind: batch.kind.clone(), steps: carried_out });
                        events.push(Event::Done { kind: batch.kind, error, steps });
                    }
                }
            }
            if events.is_empty() {
                return;
            }
            wishes = events.into_iter().flat_map(|event| self.manager.handle(self.now, event)).collect();
        }
    }

    /// Other links; what the manager wishes is done.
    fn configure(&mut self, links: &[Link]) {
        let wishes = self.manager.configure(self.now, site(&["gsm"]), links);
        self.fulfil(wishes);
    }

    /// The engine's view of a path changes.
    fn path(&mut self, name: &str, online: bool, carries: bool) {
        let view = if online { at(true, carries, S(0)) } else { PathView { carries, ..PathView::default() } };
        self.paths.insert(name.to_owned(), view);
        self.send(Event::Paths(self.paths.clone()));
    }

    /// Ticks until nothing more is due within `time`.
    fn wait(&mut self, time: u64) {
        let end = self.now + S(time);
        while let Some(at) = self.manager.wake_at().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.send(Event::Tick);
            let (state, next) = (self.manager.state(), self.manager.wake_at());
            assert!(next.is_none_or(|next| next > self.now), "{state:?}: {next:?} is past at {:?}", self.now);
        }
        self.now = end;
        self.send(Event::Tick);
    }

    fn runs(&self) -> Vec<(&str, Role)> {
        self.runs.iter().map(|(name, role)| (name.as_str(), *role)).collect()
    }
}

const CABLE: (&str, Role) = ("cable", Role::Carry);

#[test]
fn while_the_primary_works_only_what_stays_up_anyway_is_dialled() {
    let mut w = World::new(pppoe(), &["gsm", "cable"], &Left::default());
    w.wait(600);
    assert_eq!((w.runs(), w.manager.state()), (vec![CABLE], &State::Primary));
    assert_eq!(w.done, Vec::<String>::new());
}

#[test]
fn a_dead_pppoe_primary_is_left_tried_beside_the_backup_and_returned_to() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry)], "dialled at the verdict");
    assert_eq!(w.done, Vec::<String>::new(), "RED is not taken over before the backup carries");
    w.path("gsm", true, true);
    w.path("red", false, false);
    assert_eq!(w.done, ["take-over gsm"]);
    assert_eq!(w.manager.state(), &State::Backup("gsm".into()));
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry), ("red", Role::Trial)]);
    let view = w.manager.view("red").unwrap();
    assert!(view.on_trial && view.device == "up-red", "{view:?}");
    // The session on trial answers: it gives way to the real one, and when that answers RED is given back.
    w.path("red", true, false);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry), ("red", Role::Carry)]);
    assert_eq!(w.done, ["take-over gsm", "give-back"]);
    assert!(!w.manager.view("red").unwrap().on_trial);
    w.path("gsm", true, false);
    w.path("red", true, true);
    w.wait(290);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry), ("red", Role::Carry)], "flows on the modem may end");
    w.wait(20);
    assert_eq!(w.runs(), [CABLE, ("red", Role::Carry)], "the modem hangs up");
}

/// A modem's device may have its address before it is known what next hop and name servers go with it.
#[test]
fn what_is_dialled_is_not_up_before_its_dialler_says_so() {
    let modem = link("dongle", Method::Qmi { control: None, apn: "i".into(), pin: None, login: None }, true);
    let links = [link("red", fixed(), false), modem];
    let mut manager = Manager::new(S(0), site(&["dongle"]), &links, &Left::default(), 1);
    let is_up = |manager: &Manager| manager.view("dongle").unwrap().up;
    manager.handle(S(1), Event::Command(Command::Failover));
    assert!(matches!(manager.phase("dongle"), Some(Phase::Dialling { .. })) && !is_up(&manager));
    let established = mwan_dial::Event::Established(Established::default());
    manager.handle(S(2), Event::Link("dongle".into(), established));
    assert!(is_up(&manager));
}

#[test]
fn a_primary_on_trial_has_to_answer_for_a_while() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    let site = Site { settle: S(60), ..Site::clone(&site(&["gsm"])) };
    w.manager.configure(S(0), Arc::new(site), &links(pppoe()));
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    w.wait(1000);
    w.paths.insert("red".into(), at(true, false, w.now));
    w.send(Event::Paths(w.paths.clone()));
    w.wait(59);
    assert_eq!(w.done, ["take-over gsm"]);
    w.wait(2);
    assert_eq!(w.done, ["take-over gsm", "give-back"]);
}

#[test]
fn a_fixed_primary_with_its_address_is_probed_as_it_is() {
    let mut w = World::new(fixed(), &["cable"], &Left::default());
    w.paths.insert("red".into(), at(false, false, S(0)));
    w.path("cable", true, true);
    assert_eq!(w.done, ["take-over cable"]);
    assert_eq!(w.runs(), [CABLE], "nothing temporary is needed");
    assert!(w.manager.view("red").unwrap().on_trial);
    w.path("red", true, false);
    assert_eq!(w.done, ["take-over cable", "give-back"]);
}

#[test]
fn a_fixed_primary_that_lost_its_address_gets_it_for_the_trial_and_keeps_it() {
    let mut w = World::new(fixed(), &["cable"], &Left::default());
    w.path("red", false, false);
    w.path("cable", true, true);
    assert_eq!(w.runs(), [CABLE, ("red", Role::Trial)]);
    w.path("red", true, false);
    w.path("red", true, true);
    assert_eq!(w.done, ["take-over cable", "give-back"]);
    assert_eq!(w.runs(), [CABLE, ("red", Role::Trial)], "what was temporary is RED's now, without a gap");
}

#[test]
fn a_backup_that_cannot_be_dialled_is_followed_by_the_next() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.broken.insert("gsm".into(), Failure::NoDevice("/dev/ttyUSB0".into()));
    w.path("red", false, true);
    assert_eq!(w.runs(), [CABLE, ("lte", Role::Carry)]);
    w.path("lte", true, true);
    assert_eq!(w.done, ["take-over lte"]);
    // The better one is plugged in.
    w.broken.clear();
    w.wait(10);
    assert!(w.runs().contains(&("gsm", Role::Carry)), "{:?}", w.runs());
    w.path("lte", true, false);
    w.path("gsm", true, true);
    assert_eq!(w.done, ["take-over lte", "take-over gsm"]);
}

#[test]
fn a_backup_that_is_up_and_dead_is_followed_by_the_next() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.path("red", false, true);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry)]);
    w.paths.insert("gsm".into(), at(false, false, S(0)));
    w.send(Event::Paths(w.paths.clone()));
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry), ("lte", Role::Carry)]);
}

#[test]
fn a_primary_that_comes_up_with_the_machine_is_waited_for() {
    let late = || Left { profile: Some("primary".into()), ..Left::default() };
    let mut w = World::new(pppoe(), &["cable"], &late());
    w.path("red", false, false);
    w.path("cable", true, true);
    w.wait(10);
    assert_eq!(w.done, Vec::<String>::new(), "the cable carries, and RED is still IPFire's");
    w.path("red", true, true);
    w.wait(60);
    assert_eq!(w.done, Vec::<String>::new());
    let mut w = World::new(pppoe(), &["cable"], &late());
    w.path("red", false, false);
    w.path("cable", true, true);
    w.wait(16);
    assert_eq!(w.done, ["take-over cable"]);
}

#[test]
fn a_batch_that_fails_is_tried_again_later_and_said() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.fail_batches = true;
    w.path("red", false, false);
    w.path("gsm", true, true);
    assert_eq!(w.done, ["take-over gsm"]);
    assert_eq!(w.manager.trouble(), Some("No space left on device"));
    w.wait(29);
    assert_eq!(w.done.len(), 1, "not at once");
    w.fail_batches = false;
    w.wait(2);
    assert_eq!(w.done, ["take-over gsm", "take-over gsm"]);
    assert_eq!((w.manager.state(), w.manager.trouble()), (&State::Backup("gsm".into()), None));
}

#[test]
fn the_owner_may_switch_and_switch_back() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.send(Event::Command(Command::Switch("lte".into())));
    assert_eq!(w.runs(), [CABLE, ("lte", Role::Carry)], "though the primary works");
    w.path("red", true, false);
    w.path("lte", true, true);
    assert_eq!(w.done, ["take-over lte"]);
    w.wait(3600);
    assert_eq!(w.manager.state(), &State::Backup("lte".into()), "until it is said otherwise");
    w.send(Event::Command(Command::Failback));
    assert_eq!(w.done, ["take-over lte", "give-back"]);
    assert_eq!(w.manager.state(), &State::Primary);
}

#[test]
fn a_crash_at_any_step_is_mended_at_the_next_start() {
    let left = |journal: &str, profile: &str, booted| Left {
        journal: Some(journal.into()),
        profile: Some(profile.into()),
        booted,
        ..Left::default()
    };
    let start = |left: &Left| {
        let mut w = World::new(pppoe(), &["gsm"], left);
        let ip = "192.0.2.2".parse().ok();
        let red = RedFiles { device: "up-gsm".into(), local: ip, remote: ip, dns: Vec::new() };
        w.send(Event::Red(Some(red)));
        w.wait(20);
        w.path("red", false, false);
        w.path("gsm", true, true);
        (w.manager.state().clone(), w.done)
    };
    let gsm = || State::Backup("gsm".into());
    let begun = start(&left("take-over gsm\n", "primary\n", false));
    assert_eq!(begun, (gsm(), vec!["take-over gsm".to_owned()]), "begun anew: no step minds");
    assert_eq!(start(&left("", "gsm\n", false)), (gsm(), Vec::new()), "nothing was left undone");
    let (_, done) = start(&left("give-back\n", "gsm\n", false));
    assert_eq!(done[0], "give-back");
    let (_, done) = start(&left("take-over gsm\n", "primary\n", true));
    assert_eq!(done[0], "tidy", "after a boot RED is IPFire's");
    let (_, done) = start(&left("", "old-profile\n", false));
    assert_eq!(done[0], "give-back", "the profile is gone");
}

/// A [`World`] whose paths are what its links are: a path works only where something is up that can carry it.
struct Honest {
    w: World,
    /// Everything, best first.
    names: Vec<&'static str>,
    /// Whose far end answers.
    good: BTreeSet<&'static str>,
    /// Who have no carrier.
    unplugged: BTreeSet<&'static str>,
    /// The primary's own address has gone.
    lost: bool,
    dialled: bool,
}

impl Honest {
    fn new(method: Method, backups: [&'static str; 3]) -> Self {
        let dialled = method.makes_a_device();
        let names = ["red"].into_iter().chain(backups).collect();
        let good = ["red", "gsm", "lte", "cable"].into();
        let w = World::new(method, &backups, &Left::default());
        let mut honest = Honest { w, names, good, unplugged: BTreeSet::new(), lost: false, dialled };
        honest.look();
        honest
    }

    /// IPFire's own address, or a session of its own, which ends with connectd.
    fn is_ipfires(&self) -> bool {
        let stopped = |batch: &Batch| batch.steps.contains(&Step::StopConnectd);
        if self.dialled { !self.w.ended.iter().any(stopped) } else { !self.lost }
    }

    /// The engine looks until nothing changes any more.
    fn look(&mut self) {
        for _ in 0..50 {
            let paths = self.paths();
            if paths == self.w.paths {
                return;
            }
            self.w.paths.clone_from(&paths);
            self.w.send(Event::Paths(paths));
        }
        panic!("no end: {:?} {:?}", self.w.manager.state(), self.w.paths);
    }

    fn paths(&self) -> BTreeMap<String, PathView> {
        let mut carried = false;
        let mut path = |name: &&'static str| {
            let ours = self.w.runs.contains_key(*name);
            let has_address = ours || *name == "red" && self.is_ipfires();
            let ready = has_address && !self.unplugged.contains(name);
            let online = ready && self.good.contains(name);
            let before = self.w.paths.get(*name).filter(|path| path.source.is_some() == ready);
            let carries = online && !carried && !self.w.manager.view(name).unwrap().on_trial;
            carried |= carries;
            let ready_since = before.map_or(self.w.now, |path| path.ready_since);
            let source = ready.then(|| "192.0.2.2".parse().unwrap());
            (
                (*name).to_owned(),
                PathView { online, carries, source, has_address, gateway: None, ready_since },
            )
        };
        self.names.iter().map(&mut path).collect()
    }

    fn wait(&mut self, time: u64) {
        let end = self.w.now + S(time);
        while self.w.now < end {
            let next = self.w.manager.wake_at().unwrap_or(end).clamp(self.w.now, end);
            self.w.wait((next - self.w.now).as_secs().clamp(1, 60));
            self.look();
        }
    }

    fn carrier(&self) -> Option<&str> {
        self.w.paths.iter().find(|(_, path)| path.carries).map(|(name, _)| name.as_str())
    }
}

/// Places of the three backups.
const ORDERS: [[&str; 3]; 3] = [["gsm", "lte", "cable"], ["cable", "gsm", "lte"], ["lte", "cable", "gsm"]];

proptest::proptest! {
    /// Whatever links and paths do: no plan twice, no batch while another runs (the world asserts both), where something
    /// works something carries, it or another has RED, and once the primary works for good it has RED again.
    #[test]
    fn red_follows_what_carries(
        steps in proptest::collection::vec((0usize..20, proptest::bool::ANY, 0u64..90), 1..60),
        kind in 0usize..3, order in 0usize..3, settle in 0u64..2,
    ) {
        let method = [pppoe(), fixed(), Method::Dhcp { hostname: None }][kind].clone();
        let mut h = Honest::new(method.clone(), ORDERS[order]);
        let site = Site { settle: S(60 * settle), ..Site::clone(&site(&ORDERS[order])) };
        h.w.manager.configure(S(0), Arc::new(site), &links(method));
        for (what, good, seconds) in steps {
            h.wait(seconds);
            let name = ["gsm", "lte", "cable", "red"][what % 4];
            match what {
                0..=3 => drop(if good { h.good.insert(name) } else { h.good.remove(name) }),
                4..=7 => drop(if good { h.unplugged.remove(name) } else { h.unplugged.insert(name) }),
                8..=11 if good => drop(h.w.broken.remove(name)),
                8..=11 => drop(h.w.broken.insert(name.to_owned(), Failure::NoAnswer)),
                12..=15 if h.w.runs.remove(name).is_some() => {
                    h.w.send(Event::Link(name.into(), mwan_dial::Event::Ended(Failure::Lost)));
                }
                16 => (h.w.fail_batches, h.w.failing_step) = (good, seconds as usize % 12),
                17 => h.lost |= good,
                _ => {}
            }
            h.look();
            if let State::TakingOver { by: name, .. } | State::Backup(name) = h.w.manager.state() {
                proptest::prop_assert!(ORDERS[0].contains(&name.as_str()));
            }
        }
        h.w.broken.clear();
        h.w.fail_batches = false;
        h.wait(4000);
        let works = |h: &Honest, name: &&str| h.good.contains(*name) && !h.unplugged.contains(*name);
        // What IPFire lost while RED is its own is its own to bring back, unless something is taken over.
        let ipfires = *h.w.manager.state() == State::Primary && !h.w.runs.contains_key("red") && !h.is_ipfires();
        let any = h.names.iter().any(|name| works(&h, name) && (*name != "red" || !ipfires));
        proptest::prop_assert!(h.carrier().is_some() || !any, "{:?} {:?}", h.w.manager.state(), h.w.runs());
        h.good = ["red", "gsm", "lte", "cable"].into();
        h.unplugged.clear();
        h.wait(4000);
        proptest::prop_assert_eq!((h.w.manager.state(), h.carrier()), (&State::Primary, Some("red")));
        let paid: Vec<_> = h.w.runs.keys().filter(|n| *n == "gsm" || *n == "lte").collect();
        proptest::prop_assert_eq!(paid, Vec::<&String>::new(), "paid links hang up");
    }
}

#[test]
fn with_several_reds_nothing_is_taken_over_and_each_is_told_of() {
    let extension = Arc::new(Site {
        dialect: Dialect::Extension,
        enabled: true,
        primary: "red".into(),
        backups: Vec::new(),
        settle: S(0),
    });
    let left = Left { online: "cable\n".into(), ..Left::default() };
    let mut w = World::new(fixed(), &[], &left);
    let both = [link("red", fixed(), false), link("cable", Method::Dhcp { hostname: None }, false)];
    w.manager = Manager::new(S(0), extension.clone(), &both, &left, 1);
    w.path("cable", true, true);
    w.path("red", true, true);
    assert_eq!(w.done, ["announce red"], "the other one was told of before");
    w.path("red", false, false);
    w.path("red", true, true);
    w.manager.configure(w.now, extension, &both[..1]).into_iter().for_each(|wish| {
        assert!(!matches!(&wish, Wish::Do(b) if b.kind != Kind::Announce("cable".into())), "{wish:?}");
    });
    assert_eq!((w.done.len(), w.manager.state()), (3, &State::Primary));
}

/// Somebody changes from backups to several REDs while a backup has RED.
#[test]
fn a_take_over_is_undone_when_there_are_several_reds() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    assert_eq!(w.done, ["take-over gsm"]);
    let wishes = w.manager.configure(w.now, several(), &[link("red0", fixed(), false)]);
    let is_back = |wish: &Wish| matches!(wish, Wish::Do(batch) if batch.kind == Kind::GiveBack);
    assert!(wishes.iter().any(is_back), "{wishes:?}");
}

#[test]
fn reds_files_follow_what_its_connection_is() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    assert_eq!(w.done, ["take-over gsm"]);
    let says = |device: &str, ip: &str| {
        let ip = ip.parse().ok();
        Event::Red(Some(RedFiles { device: device.into(), local: ip, remote: ip, dns: Vec::new() }))
    };
    w.send(says("up-gsm", "192.0.2.2"));
    assert_eq!(w.done.len(), 1, "as they are to be");
    // A lease of the primary's is renewed, and IPFire's own script writes what it always does.
    w.send(says("red0", "198.51.100.9"));
    assert_eq!(w.done[1..], ["refresh"]);
    w.send(says("red0", "198.51.100.9"));
    w.send(Event::Red(None));
    assert_eq!(w.done.len(), 2, "hooks do not run without end");
    w.now += REFRESH;
    w.send(Event::Red(None));
    assert_eq!(w.done[2..], ["refresh"]);
    // The modem dials anew and has another address.
    w.send(says("up-gsm", "192.0.2.2"));
    w.now += REFRESH;
    let path = w.paths.get_mut("gsm").unwrap();
    path.source = "192.0.2.3".parse().ok();
    w.send(Event::Paths(w.paths.clone()));
    assert_eq!(w.done[3..], ["refresh"]);
    w.send(says("up-gsm", "192.0.2.3"));
    w.now += REFRESH;
    w.send(Event::Tick);
    assert_eq!(w.done.len(), 4);
}

/// The disk is full, and the primary recovers before there is room.
#[test]
fn a_take_over_that_was_broken_off_is_undone_as_far_as_it_came() {
    for (failing_step, undone) in [(1, "tidy"), (2, "tidy"), (3, "tidy"), (4, "give-back"), (9, "give-back")]
    {
        let mut w = World::new(pppoe(), &["gsm"], &Left::default());
        (w.fail_batches, w.failing_step) = (true, failing_step);
        w.path("red", false, true);
        w.path("gsm", true, true);
        w.fail_batches = false;
        w.path("red", true, true);
        w.wait(60);
        assert_eq!(w.done, ["take-over gsm", undone], "{failing_step} steps");
        assert!(!w.batches[1].steps.iter().any(|s| matches!(s, Step::Hooks { .. })) || undone != "tidy");
        w.wait(600);
        assert_eq!((w.done.len(), w.manager.state()), (2, &State::Primary));
    }
}

#[test]
fn switched_off_everything_ends_and_red_is_ipfires() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    assert_eq!((w.done.len(), w.runs().len()), (1, 3));
    let off = Arc::new(Site { enabled: false, ..Site::clone(&site(&["gsm"])) });
    for wish in w.manager.configure(w.now, off.clone(), &links(pppoe())) {
        let Wish::Link(name, Action::Stop) = wish else { panic!("{wish:?} while links run") };
        w.runs.remove(&name);
        w.send(Event::Link(name, mwan_dial::Event::Stopped));
    }
    assert_eq!((w.done[1..].to_vec(), w.runs()), (vec!["give-back".to_owned()], Vec::new()));
    assert!(matches!(w.batches[1].steps.last(), Some(Step::BringUp { device }) if device == "ppp0"));
    w.path("red", false, false);
    w.wait(600);
    assert_eq!((w.done.len(), w.runs().len(), w.manager.state()), (2, 0, &State::Primary));
    // Nothing is touched where RED was IPFire's.
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.manager.configure(w.now, off, &links(pppoe()));
    w.wait(600);
    assert_eq!(w.done, [""; 0]);
}

/// Links whose modem has this PIN, and calls this number.
fn with_pin(pin: &str, number: &str) -> Vec<Link> {
    let mut links = links(pppoe());
    links[1].method = Method::Modem {
        speed: 1,
        apn: "i".into(),
        number: number.into(),
        pin: Some(Secret::new(pin)),
        login: None,
    };
    links
}

#[test]
fn a_refused_pin_is_not_told_again_whatever_else_changes() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.broken.insert("gsm".into(), Failure::PinRefused);
    w.configure(&with_pin("4711", "1"));
    w.path("red", false, true);
    assert!(matches!(w.manager.phase("gsm"), Some(Phase::Refused(Failure::PinRefused))));
    w.broken.clear();
    let refused =
        |w: &World| matches!(w.manager.phase("gsm"), Some(Phase::Refused(_))) && !w.runs.contains_key("gsm");
    // Another number to call; the profile goes, and comes back; another process.
    w.configure(&with_pin("4711", "2"));
    w.wait(3600);
    assert!(refused(&w));
    w.configure(&links(pppoe())[..1]);
    w.wait(60);
    w.configure(&with_pin("4711", "1"));
    w.wait(3600);
    assert!(refused(&w));
    let left = Left { refused: w.kept[REFUSED].clone(), ..Left::default() };
    let mut next = World::new(pppoe(), &["gsm"], &left);
    next.configure(&with_pin("4711", "3"));
    next.path("red", false, true);
    assert!(refused(&next));
    // Another PIN.
    w.configure(&with_pin("0815", "1"));
    w.wait(60);
    assert!(!refused(&w));
}

/// The PIN that is refused is the one that was told, not the one that was configured meanwhile.
#[test]
fn a_pin_that_was_changed_while_the_old_one_was_told_is_tried() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    let told = |manager: &mut Manager, event| manager.handle(S(1), event);
    let paths = BTreeMap::from([("red".to_owned(), PathView { carries: true, ..PathView::default() })]);
    w.manager.configure(S(0), site(&["gsm"]), &with_pin("4711", "1"));
    let wishes = told(&mut w.manager, Event::Paths(paths));
    assert!(wishes.contains(&Wish::Link("gsm".into(), Action::Start(Role::Carry))), "{wishes:?}");
    let wishes = w.manager.configure(S(1), site(&["gsm"]), &with_pin("0815", "1"));
    assert!(wishes.contains(&Wish::Link("gsm".into(), Action::Stop)), "{wishes:?}");
    let ended = Event::Link("gsm".into(), mwan_dial::Event::Ended(Failure::PinRefused));
    let wishes = told(&mut w.manager, ended);
    assert!(wishes.contains(&Wish::Link("gsm".into(), Action::Start(Role::Carry))), "{wishes:?}");
}

/// The disk is full while RED's files are written, and then before anything is.
#[test]
fn what_a_first_attempt_touched_is_undone_whatever_the_second_came_to() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    (w.fail_batches, w.failing_step) = (true, 8);
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.failing_step = 0;
    w.wait(31);
    w.fail_batches = false;
    w.path("gsm", true, false);
    w.path("red", true, true);
    w.wait(60);
    assert_eq!(w.done, ["take-over gsm", "take-over gsm", "give-back"]);
}

/// A take-over by another backup that touched nothing by itself: RED is still the first one's.
#[test]
fn a_second_backup_that_cannot_take_over_costs_the_primary_nothing() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    (w.fail_batches, w.failing_step) = (true, 1);
    w.path("gsm", false, false);
    w.path("lte", true, true);
    w.fail_batches = false;
    w.path("red", true, true);
    w.wait(60);
    assert_eq!(w.done, ["take-over gsm", "take-over lte", "give-back"]);
}

#[test]
fn a_primary_whose_own_session_does_not_come_up_is_tried_as_before() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    // The trial answers; then the session is refused.
    w.broken.insert("red".into(), Failure::NoAnswer);
    w.path("red", true, false);
    w.path("red", false, false);
    assert_eq!(w.manager.state(), &State::Backup("gsm".into()));
    let next = w.manager.wake_at().unwrap() - w.now;
    assert!(next <= S(38), "{next:?}");
    // The backup fails, too: the next one gets RED.
    w.path("gsm", false, false);
    w.path("lte", true, true);
    w.wait(40);
    let taken = |w: &World| w.done.iter().filter(|batch| *batch != "refresh").cloned().collect::<Vec<_>>();
    assert_eq!(taken(&w), ["take-over gsm", "take-over lte"]);
    w.broken.clear();
    w.wait(40);
    w.path("red", true, false);
    w.wait(1);
    assert_eq!(taken(&w)[2..], ["give-back"]);
}

/// The session comes up, and nothing answers behind it.
#[test]
fn a_session_without_an_answer_is_a_trial_again() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    let wishes = w.manager.handle(
        w.now,
        Event::Paths({
            w.paths.insert("red".into(), PathView { online: true, ..PathView::default() });
            w.paths.clone()
        }),
    );
    assert_eq!(w.manager.state(), &State::Redialling("gsm".into()));
    w.paths.insert("red".into(), PathView::default());
    w.send(Event::Paths(w.paths.clone()));
    w.fulfil(wishes);
    assert!(matches!(w.manager.phase("red"), Some(Phase::Up { role: Role::Carry, .. })));
    w.wait(40);
    assert_eq!(w.manager.state(), &State::Backup("gsm".into()));
    assert!(matches!(w.manager.phase("red"), Some(Phase::Up { role: Role::Trial, .. })));
}

#[test]
fn an_owner_who_wants_the_backup_ends_giving_back() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    w.manager.state = State::Redialling("gsm".into());
    w.send(Event::Command(Command::Failover));
    w.path("red", true, false);
    w.wait(600);
    assert_eq!((w.done.len(), w.manager.state()), (1, &State::Backup("gsm".into())));
}

#[test]
fn what_the_owner_chose_is_known_to_the_next_process() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.send(Event::Command(Command::Switch("lte".into())));
    let left = Left { chosen: w.kept[CHOSEN].clone(), ..Left::default() };
    assert_eq!(World::new(pppoe(), &["gsm", "lte"], &left).manager.forced(), Some("lte"));
    w.send(Event::Command(Command::Failover));
    let left = Left { chosen: w.kept[CHOSEN].clone(), booted: true, ..Left::default() };
    assert_eq!(World::new(pppoe(), &["gsm", "lte"], &left).manager.forced(), Some(""));
    w.send(Event::Command(Command::Failback));
    assert_eq!((w.kept[CHOSEN].as_str(), w.manager.forced()), ("", None));
}

#[test]
fn a_choice_that_is_not_configured_any_more_is_none() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.send(Event::Command(Command::Switch("lte".into())));
    w.path("lte", true, true);
    let links: Vec<Link> = links(pppoe()).into_iter().filter(|link| link.name != "lte").collect();
    w.paths.remove("lte");
    w.configure(&links);
    assert_eq!((w.manager.forced(), w.kept[CHOSEN].as_str()), (None, ""));
    w.path("red", true, true);
    w.wait(3600);
    assert!(!w.runs.contains_key("gsm"), "{:?}", w.runs());
}

#[test]
fn a_backup_with_flows_stays_up_over_a_restart() {
    let left =
        Left { profile: Some("primary".into()), sessions: ["gsm".to_owned()].into(), ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.path("red", true, true);
    assert!(w.runs.contains_key("gsm"), "{:?}", w.runs());
    w.wait(310);
    assert!(!w.runs.contains_key("gsm"), "{:?}", w.runs());
}

#[test]
fn the_owners_wish_ends_a_wait() {
    let mut w = World::new(pppoe(), &["gsm", "cable"], &Left::default());
    for name in ["red", "gsm"] {
        w.broken.insert(name.into(), Failure::NoAnswer);
    }
    w.path("red", false, true);
    w.path("cable", true, true);
    w.wait(1400);
    w.broken.clear();
    w.send(Event::Command(Command::Switch("gsm".into())));
    assert!(matches!(w.manager.phase("gsm"), Some(Phase::Up { .. })), "{:?}", w.manager.phase("gsm"));
    w.send(Event::Command(Command::TestPrimary));
    assert!(matches!(w.manager.phase("red"), Some(Phase::Up { .. })), "{:?}", w.manager.phase("red"));
}

#[test]
fn the_primary_is_never_left_alone_for_half_an_hour() {
    let left =
        Left { profile: Some("primary".into()), sessions: ["red".to_owned()].into(), ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.path("red", true, true);
    w.broken.insert("red".into(), Failure::NoAnswer);
    w.broken.insert("gsm".into(), Failure::NoDevice("ttyUSB0".into()));
    w.runs.remove("red");
    w.send(Event::Link("red".into(), mwan_dial::Event::Ended(Failure::Lost)));
    w.path("red", false, false);
    w.wait(3 * 3600);
    w.broken.remove("red");
    w.wait(40);
    assert!(matches!(w.manager.phase("red"), Some(Phase::Up { .. })), "{:?}", w.manager.phase("red"));
}

#[test]
fn nothing_is_due_at_a_time_that_is_past() {
    let mut site = Site::clone(&site(&["gsm"]));
    site.settle = S(10);
    let left = Left { profile: Some("gsm".into()), sessions: ["gsm".to_owned()].into(), ..Left::default() };
    let mut manager = Manager::new(S(0), Arc::new(site.clone()), &links(fixed()), &left, 1);
    manager.handle(S(1), Event::Tick);
    let established = mwan_dial::Event::Established(Established::default());
    manager.handle(S(1), Event::Link("gsm".into(), established));
    let red =
        PathView { online: true, source: "192.0.2.2".parse().ok(), ready_since: S(2), ..PathView::default() };
    manager.handle(S(2), Event::Paths(BTreeMap::from([("red".to_owned(), red)])));
    site.enabled = false;
    manager.configure(S(11), Arc::new(site), &links(fixed()));
    manager.handle(S(20), Event::Tick);
    assert!(manager.wake_at().is_none_or(|at| at > S(20)), "{:?}", manager.wake_at());
}

/// The process before us died while it gave RED back: its session is not a trial's.
#[test]
fn a_session_of_another_role_is_not_carried_on_with() {
    let sessions = ["gsm".to_owned(), "red".to_owned()].into();
    let left = Left { profile: Some("gsm".into()), sessions, ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.send(Event::Tick);
    assert_eq!(w.manager.phase("red").and_then(Phase::role), Some(Role::Trial));
}

/// Flows were promised some time on the session they are on; another one has none of them.
#[test]
fn a_backup_that_is_another_now_has_no_flows_to_wait_for() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("gsm", true, false);
    w.path("red", true, true);
    w.wait(1);
    assert!(w.runs.contains_key("gsm"), "{:?}", w.runs());
    w.configure(&with_pin("4711", "2"));
    w.wait(1);
    assert!(!w.runs.contains_key("gsm"), "{:?}", w.runs());
}

/// Its device has no address without carrier, and its dialler does not know.
#[test]
fn a_backup_without_carrier_is_followed_by_the_next() {
    let mut w = World::new(pppoe(), &["cable", "gsm"], &Left::default());
    w.path("cable", false, false);
    w.wait(60);
    w.path("red", false, false);
    assert!(w.runs.contains_key("gsm"), "{:?}", w.runs());
    // Likewise where it carried.
    let mut w = World::new(pppoe(), &["cable", "gsm"], &Left::default());
    w.path("red", false, false);
    w.path("cable", true, true);
    w.wait(600);
    assert!(w.manager.state() == &State::Backup("cable".into()) && !w.runs.contains_key("gsm"));
    w.path("cable", false, false);
    assert!(w.runs.contains_key("gsm"), "{:?}", w.runs());
}

#[test]
fn a_backup_that_was_just_established_has_a_moment_to_be_looked_at() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.path("red", false, false);
    w.wait(14);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry)]);
    w.wait(1);
    assert_eq!(w.runs(), [CABLE, ("gsm", Role::Carry), ("lte", Role::Carry)]);
}

/// Both backups die, and the disk has room again: the primary must not be forgotten.
#[test]
fn a_second_take_over_that_fails_leaves_red_the_first_ones() {
    let mut w = World::new(pppoe(), &["gsm", "lte"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    (w.fail_batches, w.failing_step) = (true, 0);
    w.path("gsm", false, false);
    w.path("lte", true, true);
    w.wait(600);
    assert_eq!(w.manager.state(), &State::Backup("gsm".into()));
    w.fail_batches = false;
    w.path("lte", false, false);
    w.wait(3600);
    assert_eq!((w.manager.state(), w.runs["red"]), (&State::Backup("gsm".into()), Role::Trial));
}

#[test]
fn a_take_over_that_fails_before_it_touches_anything_leaves_our_session_of_the_primary_to_us() {
    let left = Left { sessions: ["red".to_owned()].into(), ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.path("red", true, true);
    assert_eq!(w.runs.get("red"), Some(&Role::Carry));
    (w.fail_batches, w.failing_step) = (true, 1);
    w.path("red", false, false);
    w.path("gsm", true, true);
    assert_eq!((w.done.last().unwrap().as_str(), w.runs.get("red")), ("take-over gsm", Some(&Role::Carry)));
}

/// The disk is full, and the backup dies: the primary answers.
#[test]
fn a_primary_that_is_given_back_may_carry_before_that_is_done() {
    let mut w = World::new(fixed(), &["cable"], &Left::default());
    w.paths.insert("red".into(), at(false, false, S(0)));
    w.path("cable", true, true);
    assert_eq!(w.done, ["take-over cable"]);
    (w.fail_batches, w.failing_step) = (true, 1);
    w.path("red", true, false);
    w.path("cable", false, false);
    assert!(w.manager.state() == &State::GivingBack && !w.manager.view("red").unwrap().on_trial);
}

#[test]
fn a_primary_does_not_have_to_settle_where_nothing_else_carries() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    let site = Site { settle: S(60), ..Site::clone(&site(&["gsm"])) };
    w.manager.configure(S(0), Arc::new(site), &links(pppoe()));
    w.path("red", false, true);
    w.path("gsm", true, true);
    w.path("red", false, false);
    w.wait(1000);
    w.path("gsm", false, false);
    assert!(!w.manager.view("red").unwrap().on_trial, "it carries as soon as it answers");
    w.paths.insert("red".into(), at(true, false, w.now));
    w.send(Event::Paths(w.paths.clone()));
    assert_eq!(w.done, ["take-over gsm", "give-back"]);
}

#[test]
fn a_profile_that_is_gone_leaves_a_dialled_primary_to_us_now_and_at_a_start() {
    let left = Left { profile: Some("old".into()), interferes: true, ..Left::default() };
    let mut started = World::new(pppoe(), &[], &left);
    started.send(Event::Tick);
    let mut w = World::new(pppoe(), &["lte"], &Left::default());
    w.path("red", false, true);
    w.path("lte", true, true);
    assert_eq!(w.done, ["take-over lte"]);
    w.paths.clear();
    let links: Vec<Link> = links(pppoe()).into_iter().filter(|link| link.name != "lte").collect();
    w.configure(&links);
    w.done.remove(0);
    for mut w in [started, w] {
        w.path("red", false, false);
        assert_eq!(w.done, ["give-back"]);
        assert_eq!((w.manager.state(), w.runs.get("red")), (&State::Primary, Some(&Role::Carry)));
    }
}

#[test]
fn our_session_of_the_primary_stays_ours_among_several_reds() {
    let left = Left { sessions: ["red".to_owned()].into(), ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.path("red", true, true);
    assert_eq!((w.manager.state(), w.runs.get("red")), (&State::Primary, Some(&Role::Carry)));
    let red0 = Link { session_device: "ppp-red".into(), on_demand: false, ..link("red0", pppoe(), false) };
    let wishes = w.manager.configure(w.now, several(), &[red0]);
    let starts = |wish: &Wish| matches!(wish, Wish::Link(_, Action::Start(_)));
    assert!(!wishes.iter().any(starts), "its device is still in use: {wishes:?}");
    w.fulfil(wishes);
    assert_eq!(w.runs.get("red0"), Some(&Role::Carry));
}

#[test]
fn giving_back_to_several_reds_is_tried_again() {
    let mut w = World::new(pppoe(), &["gsm"], &Left::default());
    w.path("red", false, true);
    w.path("gsm", true, true);
    (w.fail_batches, w.failing_step) = (true, 0);
    let wishes = w.manager.configure(w.now, several(), &[link("red0", fixed(), false)]);
    w.fulfil(wishes);
    w.fail_batches = false;
    w.wait(3600);
    assert_eq!(w.done, ["take-over gsm", "give-back", "give-back"]);
    assert_eq!(w.manager.state(), &State::Primary);
}

#[test]
fn a_test_without_a_backup_is_not_ended_by_its_own_address() {
    for method in [pppoe(), fixed()] {
        let mut w = World::new(method, &[], &Left::default());
        w.path("red", false, false);
        w.send(Event::Command(Command::TestPrimary));
        assert_eq!(w.runs.get("red"), Some(&Role::Trial));
        w.paths.insert("red".into(), at(false, false, S(0)));
        w.send(Event::Paths(w.paths.clone()));
        assert_eq!(w.runs.get("red"), Some(&Role::Trial), "it is asked now");
        w.wait(130);
        assert_eq!(w.runs.get("red"), None, "but not for ever");
    }
}

#[test]
fn a_refresh_that_was_not_finished_is_done_again_whatever_the_files_say() {
    let sessions = ["gsm".to_owned()].into();
    let left = Left {
        profile: Some("gsm".into()),
        journal: Some("refresh gsm\n".into()),
        interferes: true,
        sessions,
        ..Left::default()
    };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.send(Event::Tick);
    let ip = "192.0.2.2".parse().ok();
    w.send(Event::Red(Some(RedFiles { device: "up-gsm".into(), local: ip, remote: ip, dns: Vec::new() })));
    w.path("gsm", true, true);
    assert_eq!(w.done, ["refresh"]);
    w.wait(600);
    assert_eq!(w.done, ["refresh"], "once");
}

#[test]
fn a_give_back_to_a_connection_of_ours_waits_for_it_at_the_next_start() {
    for method in [pppoe(), fixed()] {
        let journal = Some("give-back ours\n".to_owned());
        let left = Left { profile: Some("cable".into()), journal, interferes: true, ..Left::default() };
        let mut w = World::new(method, &["cable"], &left);
        w.send(Event::Tick);
        w.path("cable", true, true);
        assert_eq!((w.done.clone(), w.runs.get("red")), (Vec::new(), Some(&Role::Carry)));
        w.path("red", true, true);
        assert_eq!(w.done, ["give-back"]);
        let writes = |step: &Step| matches!(step, Step::Write { path, .. } if path == "red/local-ipaddress");
        assert!(w.batches[0].steps.iter().any(writes), "as before: hooks are not told of another");
        w.wait(600);
        assert_eq!(w.done, ["give-back"]);
    }
}

#[test]
fn a_choice_that_is_not_configured_at_the_start_is_none() {
    let left = Left { chosen: "switch old\n".into(), ..Left::default() };
    let mut w = World::new(pppoe(), &["gsm"], &left);
    w.send(Event::Tick);
    assert_eq!((w.manager.forced(), w.kept[CHOSEN].as_str()), (None, ""));
}

/// Without carrier it cannot be used, and it has its address all the same: RED's files are put back as they were.
#[test]
fn an_unplugged_primary_has_not_lost_its_address() {
    let mut w = World::new(fixed(), &["cable"], &Left::default());
    w.paths.insert("red".into(), PathView { has_address: true, ..PathView::default() });
    w.path("cable", true, true);
    w.wait(60);
    assert_eq!((w.done.clone(), w.runs()), (vec!["take-over cable".to_owned()], vec![CABLE]));
    w.path("red", true, false);
    let restores = |step: &Step| matches!(step, Step::Restore { .. });
    assert!(w.batches[1].kind == Kind::GiveBack && w.batches[1].steps.iter().any(restores));
}
