//! Drills: a WAN looks dead to the core alone, and whatever is really true ends that at once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{FAILOVER, config, network};
use mwan_config::{Config, Family};
use mwan_core::*;

const LENGTH: Duration = Duration::from_secs(30);

/// A core in a world in which a WAN answers, or is silent.
struct Rig {
    core: Core,
    now: Time,
    wake: Option<Time>,
    /// Ids of those that do not answer.
    silent: BTreeSet<u32>,
    steps: Vec<(Time, DrillStep)>,
    transitions: Vec<(Time, Transition)>,
    switches: Vec<Time>,
    flushed: Vec<PathKey>,
    moved: Vec<PathKey>,
    hooks: Vec<String>,
}

impl Rig {
    fn new(config: Arc<Config>, memory: Memory) -> Self {
        let core = Core::new(Platform { translate: false }, config, memory);
        let mut rig = Rig {
            core,
            now: Time::from_ms(1),
            wake: None,
            silent: BTreeSet::new(),
            steps: vec![],
            transitions: vec![],
            switches: vec![],
            flushed: vec![],
            moved: vec![],
            hooks: vec![],
        };
        rig.feed(Event::Network(Arc::new(network())));
        rig.run(Duration::from_secs(20));
        rig
    }

    /// Two WANs, `a` before `b`; a lost round of two and two good ones count.
    fn failover() -> Self {
        Rig::new(two(""), Memory::default())
    }

    fn feed(&mut self, event: Event) {
        let mut events = vec![event];
        while let Some(event) = events.pop() {
            let out = self.core.handle(self.now, event);
            assert!(out.wake_at.is_none_or(|at| at > self.now), "busy loop");
            self.wake = out.wake_at;
            if let Some(desired) = out.desired {
                events.push(Event::Applied { generation: desired.generation });
            }
            for effect in out.effects {
                match effect {
                    Effect::Probe(p) if !self.silent.contains(&p.path.id) => {
                        for target in 0..p.targets.len() {
                            let (path, round, rtt) = (p.path, p.round, Duration::from_millis(5));
                            let reply = ProbeReport::Reply { path, round, target, sequence: 0, rtt };
                            events.push(Event::Probe(reply));
                        }
                    }
                    Effect::Switched(_) => self.switches.push(self.now),
                    Effect::Drill(step) => self.steps.push((self.now, step)),
                    Effect::Transition(t) => self.transitions.push((self.now, t)),
                    Effect::FlushPath(key) => self.flushed.push(key),
                    Effect::MoveMisplaced(key) => self.moved.push(key),
                    Effect::Hook(call) => {
                        self.hooks.push(format!("{} {}", call.interface, call.action.name()));
                    }
                    _ => {}
                }
            }
        }
    }

    fn run(&mut self, length: Duration) {
        let end = self.now + length;
        while let Some(at) = self.wake.filter(|at| *at <= end) {
            self.now = at;
            self.feed(Event::Tick);
        }
        self.now = end;
    }

    fn drill(&mut self, interface: &str) {
        self.feed(Event::Drill(order(interface)));
    }

    /// What carries the first policy.
    fn carrier(&self) -> String {
        match self.core.desired().unwrap().policies[0].carrier(Family::V4) {
            Carrier::Members(shares) => {
                shares.iter().map(|s| s.interface.as_str()).collect::<Vec<_>>().join("+")
            }
            Carrier::LastResort(resort) => resort.name().to_owned(),
        }
    }

    fn path(&self, id: u32) -> PathStatus<'_> {
        self.core.path(PathKey { id, family: Family::V4 }).unwrap()
    }

    fn end(&self) -> DrillEnd {
        match self.steps.last() {
            Some((_, DrillStep::Ended(end))) => end.clone(),
            other => panic!("not over: {other:?}"),
        }
    }

    fn refusal(&self, interface: &str) -> DrillRefusal {
        self.core.preview_drill(&order(interface)).unwrap_err()
    }
}

fn order(interface: &str) -> DrillOrder {
    DrillOrder { interface: interface.into(), length: LENGTH, keeps_flows: false }
}

fn two(rest: &str) -> Arc<Config> {
    let mut config = Config::clone(&config(&["a", "b"], &format!("{FAILOVER}{rest}")));
    for interface in &mut config.interfaces {
        (interface.tracking.down, interface.tracking.up) = (2, 2);
    }
    Arc::new(config)
}

fn seconds(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn a_drill_is_what_a_silent_wan_would_be_and_then_comes_back() {
    let mut rig = Rig::failover();
    let preview = rig.core.preview_drill(&order("a")).unwrap();
    let worst_case = preview.paths[0].1;
    assert_eq!((preview.switches.len(), preview.switches[0].used), (1, true));
    let begun = rig.now;
    rig.drill("a");
    assert_eq!(rig.core.drill(), Some("a"));
    rig.run(seconds(29));
    assert_eq!((rig.carrier().as_str(), rig.path(1).state), ("b", State::Offline));
    let Reason::Drill { bad_rounds, down: 2, .. } = rig.path(1).reason else {
        panic!("{:?}", rig.path(1).reason)
    };
    assert!(*bad_rounds > 2);
    assert_eq!(
        rig.path(1).reason.to_string(),
        format!("drill: {bad_rounds} rounds in a row counted as lost")
    );
    assert!(rig.path(1).targets.iter().all(|t| t.state == TargetState::Up), "what is true is told");
    let lost = rig.transitions.iter().find(|(_, t)| t.to == State::Offline).unwrap();
    assert!(lost.0.since(begun) <= worst_case, "{:?} > {worst_case:?}", lost.0.since(begun));
    assert_eq!(rig.flushed, [rig_key(1), rig_key(1)], "its flows are moved, as by a failure");
    rig.run(seconds(20));
    assert_eq!((rig.end(), rig.carrier().as_str()), (DrillEnd::Complete, "a"));
    let times: Vec<Time> = rig.steps.iter().map(|(at, _)| *at).collect();
    assert_eq!(times[1].since(times[0]), LENGTH);
    assert_eq!(rig.switches.len(), 2);
    assert_eq!(rig.hooks[rig.hooks.len() - 1], "a connected");
    assert_eq!(rig.core.drill(), None);
    let path = rig.path(1);
    assert_eq!((path.hold, path.reason), (None, &Reason::Answering));
    let target = &path.targets[0];
    assert!(target.sent - target.received <= 1, "{target:?}");
}

/// I6: what was pretended holds nothing back, however often.
#[test]
fn drills_are_no_flapping() {
    let mut rig = Rig::failover();
    for _ in 0..4 {
        rig.drill("a");
        rig.run(seconds(60));
        assert_eq!((rig.end(), rig.carrier().as_str()), (DrillEnd::Complete, "a"));
    }
    // Real losses before count on, and a drill is no reason to hold it back for them.
    for _ in 0..2 {
        rig.silent.insert(1);
        rig.run(seconds(10));
        rig.silent.clear();
        rig.run(seconds(100));
    }
    assert_eq!(rig.path(1).hold, None);
    rig.drill("a");
    rig.run(seconds(60));
    assert_eq!((rig.path(1).hold, rig.carrier().as_str()), (None, "a"));
    rig.silent.insert(1);
    rig.run(seconds(10));
    rig.silent.clear();
    rig.run(seconds(10));
    assert_eq!(rig.path(1).hold.unwrap().losses, 3);
}

/// The site stays online: when the other one is lost, the drilled one carries in the same moment.
#[test]
fn losing_another_wan_ends_it_at_once() {
    let mut rig = Rig::failover();
    rig.drill("a");
    rig.run(seconds(10));
    assert_eq!(rig.carrier(), "b");
    rig.silent.insert(2);
    let mut at_last_resort = false;
    for _ in 0..100 {
        rig.run(Duration::from_millis(100));
        at_last_resort |= rig.carrier() == "unreachable";
    }
    assert_eq!(rig.end(), DrillEnd::OtherLost("b".into(), Family::V4));
    assert_eq!((rig.carrier().as_str(), rig.path(1).state), ("a", State::Online));
    assert!(!at_last_resort);
    let lost = rig.transitions.iter().find(|(_, t)| t.interface == "b" && !t.to.usable()).unwrap().0;
    assert_eq!(rig.switches.last(), Some(&lost), "no moment without a carrier");
    assert_eq!(rig.path(1).hold, None);
}

#[test]
fn a_real_failure_ends_it_and_counts() {
    let mut rig = Rig::failover();
    rig.drill("a");
    rig.run(seconds(10));
    rig.silent.insert(1);
    rig.run(seconds(10));
    assert_eq!(rig.end(), DrillEnd::Failed(Family::V4));
    assert!(matches!(rig.path(1).reason, Reason::ProbesLost { .. }), "{:?}", rig.path(1).reason);
    rig.silent.clear();
    rig.run(seconds(20));
    assert_eq!(rig.carrier(), "a");
    // Its second loss: the first one was real, too.
    rig.silent.insert(1);
    rig.run(seconds(10));
    rig.silent.clear();
    rig.run(seconds(10));
    assert_eq!(rig.path(1).hold.unwrap().losses, 2);
}

/// Also while it is on its way back.
#[test]
fn a_failure_on_the_way_back_is_a_failure() {
    let mut rig = Rig::failover();
    rig.drill("a");
    rig.run(LENGTH);
    assert!(matches!(rig.steps.last(), Some((_, DrillStep::Lifted))));
    rig.silent.insert(1);
    rig.run(seconds(10));
    assert_eq!((rig.end(), rig.carrier().as_str()), (DrillEnd::Failed(Family::V4), "b"));
}

#[test]
fn it_ends_by_hand_by_another_configuration_and_by_another_address() {
    type How = fn(&mut Rig);
    let ends: [(How, DrillEnd); 4] = [
        (|rig| rig.feed(Event::EndDrill), DrillEnd::Stopped),
        (|rig| rig.feed(Event::Configure(two("\nconfig set 's'\n list ip 1.1.1.1"))), DrillEnd::Configured),
        (
            |rig| {
                let mut net = network();
                net.defaults[0].gateway = Some([100, 64, 0, 9].into());
                rig.feed(Event::Network(Arc::new(net)));
            },
            DrillEnd::Changed(Family::V4),
        ),
        (|rig| rig.feed(Event::IfDown("b".into())), DrillEnd::OtherLost("b".into(), Family::V4)),
    ];
    for (how, end) in ends {
        let mut rig = Rig::failover();
        rig.drill("a");
        rig.run(seconds(10));
        assert_eq!(rig.carrier(), "b");
        how(&mut rig);
        assert_eq!((rig.end(), rig.carrier().as_str()), (end, "a"), "back in the same moment");
        rig.run(seconds(40));
        assert_eq!(rig.steps.iter().filter(|(_, s)| matches!(s, DrillStep::Ended(_))).count(), 1);
        assert_eq!((rig.path(1).state, rig.path(1).hold), (State::Online, None));
    }
    let mut rig = Rig::failover();
    rig.drill("a");
    rig.run(seconds(10));
    rig.feed(Event::IfDown("a".into()));
    assert_eq!(rig.end(), DrillEnd::Changed(Family::V4));
    assert_eq!((rig.path(1).state, rig.path(1).reason), (State::Disabled, &Reason::TakenDown));
}

#[test]
fn what_would_cut_the_site_off_is_refused_and_nothing_changes() {
    let mut rig = Rig::failover();
    assert_eq!(rig.refusal("nobody"), DrillRefusal::NoInterface);
    rig.feed(Event::Drain("a".into()));
    assert_eq!(rig.refusal("a"), DrillRefusal::Drained);
    rig.feed(Event::Undrain("a".into()));
    let short = DrillOrder { length: seconds(2), ..order("a") };
    assert!(matches!(rig.core.preview_drill(&short), Err(DrillRefusal::TooShort { .. })));
    rig.silent.insert(2);
    while rig.path(2).state == State::Online {
        rig.run(Duration::from_millis(100));
    }
    assert!(matches!(rig.refusal("b"), DrillRefusal::NotAnswering(..)), "{:?}", rig.refusal("b"));
    // It still carries, and is about to be lost.
    assert!(matches!(rig.refusal("a"), DrillRefusal::OthersNotWell(name, ..) if name == "b"));
    rig.run(seconds(10));
    let DrillRefusal::CutsOff { policy, family: Family::V4, .. } = rig.refusal("a") else {
        panic!("{:?}", rig.refusal("a"))
    };
    assert_eq!(policy, "failover");
    assert!(matches!(rig.refusal("b"), DrillRefusal::NotUp(Family::V4, Reason::ProbesLost { .. })));
    rig.drill("a");
    assert_eq!((rig.core.drill(), rig.steps.len(), rig.carrier().as_str()), (None, 0, "a"));
    // One that carries nothing may be drilled.
    rig.silent.clear();
    rig.run(seconds(20));
    assert_eq!(rig.core.preview_drill(&order("b")).unwrap().switches, []);
    rig.drill("a");
    assert_eq!(rig.refusal("b"), DrillRefusal::Running("a".into()));
}

#[test]
fn a_policy_that_no_rule_leads_to_is_nobodys_loss() {
    let only = "
config policy 'only'
 list use_member 'a1'
";
    let mut rig = Rig::new(two(only), Memory::default());
    let preview = rig.core.preview_drill(&order("a")).unwrap();
    let unused = preview.switches.iter().find(|s| s.policy == "only").unwrap();
    assert!(!unused.used && matches!(unused.to, Carrier::LastResort(_)));
    let rule = "\nconfig rule 'pinned'\n option dest_ip 1.1.1.1\n option use_policy only\n";
    rig.feed(Event::Configure(two(&format!("{only}{rule}"))));
    assert!(matches!(rig.refusal("a"), DrillRefusal::CutsOff { policy, .. } if policy == "only"));
}

/// I10: a new process knows nothing of it, and scripts hear that the WAN is back.
#[test]
fn it_does_not_outlive_the_process() {
    let mut rig = Rig::failover();
    rig.drill("a");
    rig.run(seconds(10));
    let memory = rig.core.memory();
    assert_eq!(memory.paths[0].state, State::Online);
    assert_eq!(memory.paths[0].pretended, Some(State::Offline));
    let rig = Rig::new(two(""), memory);
    assert_eq!((rig.core.drill(), rig.carrier().as_str(), rig.path(1).hold), (None, "a", None));
    assert_eq!(rig.hooks, ["a connecting", "a connected", "a connecting", "a connected"]);
}

#[test]
fn flows_stay_if_that_is_wanted() {
    let flush = two("").as_ref().clone();
    let mut flush = flush;
    flush.interfaces[0].flush_conntrack.disconnected = true;
    flush.interfaces[0].flush_conntrack.connected = true;
    let mut rig = Rig::new(Arc::new(flush), Memory::default());
    rig.feed(Event::Drill(DrillOrder { keeps_flows: true, ..order("a") }));
    rig.run(seconds(60));
    assert_eq!((rig.end(), rig.switches.len()), (DrillEnd::Complete, 2));
    assert_eq!((rig.flushed, rig.moved), (vec![], vec![]));
}

#[test]
fn an_untracked_wan_cannot_be_drilled() {
    let mut config = Config::clone(&two(""));
    config.interfaces[0].tracking.targets.clear();
    let rig = Rig::new(Arc::new(config), Memory::default());
    assert_eq!(rig.refusal("a"), DrillRefusal::NotTracked);
}

fn rig_key(id: u32) -> PathKey {
    PathKey { id, family: Family::V4 }
}
