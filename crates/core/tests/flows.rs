//! What becomes of established flows, of states over reloads and restarts, and what is told: one scenario each.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{FAILOVER, config, network};
use mwan_config::{Config, Family};
use mwan_core::*;

/// A core, its clock, the rounds on the wire and an obedient writer that can be told to wait.
struct Rig {
    core: Core,
    now: Time,
    rounds: Vec<ProbeRequest>,
    effects: Vec<Effect>,
    writing: bool,
}

impl Rig {
    fn new(config: Arc<Config>) -> Self {
        Rig::resumed(config, Memory::default())
    }

    fn resumed(config: Arc<Config>, memory: Memory) -> Self {
        let core = Core::new(Platform { translate: false }, config, memory);
        let mut rig = Rig { core, now: Time::from_ms(1), rounds: vec![], effects: vec![], writing: true };
        rig.feed(Event::Network(Arc::new(network())));
        rig
    }

    fn feed(&mut self, event: Event) {
        let out = self.core.handle(self.now, event);
        for effect in out.effects {
            if let Effect::Probe(request) = &effect {
                self.rounds.retain(|r| r.path != request.path);
                self.rounds.push(request.clone());
            }
            self.effects.push(effect);
        }
        if out.desired.is_some() && self.writing {
            self.applied();
        }
    }

    fn applied(&mut self) {
        let generation = self.core.desired().unwrap().generation;
        self.feed(Event::Applied { generation });
    }

    fn key(&self, name: &str) -> PathKey {
        PathKey { id: self.core.wan(name).unwrap().0, family: Family::V4 }
    }

    fn round(&mut self, name: &str) -> (PathKey, u64) {
        let key = self.key(name);
        self.pass(Duration::from_millis(1100));
        (key, self.rounds.iter().find(|r| r.path == key).unwrap().round)
    }

    /// Time passes; what is due is done, and what nobody answers is lost. Other paths keep answering.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.core.handle(self.now, Event::Tick).wake_at.filter(|at| *at <= end) {
            self.now = at;
            self.feed(Event::Tick);
        }
        self.now = end;
        self.feed(Event::Tick);
    }

    fn lose(&mut self, name: &str) {
        let key = self.key(name);
        let round = self.rounds.iter().find(|r| r.path == key).unwrap().round;
        self.feed(Event::Probe(ProbeReport::Failed {
            path: key,
            round,
            target: 0,
            sequence: 0,
            error: "lost".into(),
        }));
    }

    fn answer(&mut self, name: &str) {
        let key = self.key(name);
        let round = self.rounds.iter().find(|r| r.path == key).unwrap().round;
        self.feed(Event::Probe(ProbeReport::Reply {
            path: key,
            round,
            target: 0,
            sequence: 0,
            rtt: Duration::ZERO,
        }));
    }

    fn state(&self, name: &str) -> State {
        self.core.path(self.key(name)).unwrap().state
    }

    /// Deletions asked for since the last call.
    fn deletions(&mut self) -> Vec<Effect> {
        let all = std::mem::take(&mut self.effects).into_iter();
        all.filter(|e| matches!(e, Effect::FlushPath(_) | Effect::MoveMisplaced(_))).collect()
    }
}

/// A packet from the LAN to the internet.
fn packet(destination: &str) -> Packet {
    Packet {
        source: "192.168.1.10".parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: 6,
        source_port: Some(50000),
        destination_port: Some(443),
        input: None,
    }
}

#[test]
fn flows_of_a_dead_path_are_deleted_after_the_new_policy_is_applied_and_once_more() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.writing = false;
    rig.deletions();
    rig.lose("a");
    assert_eq!(rig.state("a"), State::Offline);
    assert_eq!(rig.deletions(), [], "I5: nothing before the policy is in the kernel");
    rig.feed(Event::Tick);
    assert_eq!(rig.deletions(), []);
    rig.applied();
    let flush = Effect::FlushPath(rig.key("a"));
    assert_eq!(rig.deletions(), std::slice::from_ref(&flush));
    rig.feed(Event::Tick);
    assert_eq!(rig.deletions(), [], "not at every event");
    rig.now = rig.now + Duration::from_secs(1);
    rig.answer("b");
    assert_eq!(rig.deletions(), [flush], "the second pass takes what crossed the switch");
    rig.now = rig.now + Duration::from_secs(1);
    rig.feed(Event::Tick);
    assert!(rig.deletions().iter().all(|e| *e != Effect::FlushPath(rig.key("a"))), "and no third");
}

#[test]
fn without_anything_better_flows_are_kept_until_something_better_appears() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.lose("b");
    assert_eq!(rig.deletions(), [Effect::FlushPath(rig.key("b"))]);
    rig.lose("a");
    assert_eq!(rig.deletions(), [], "I11: both are dead");
    rig.round("b");
    rig.effects.clear();
    rig.answer("b");
    let wanted = [Effect::FlushPath(rig.key("a"))];
    assert_eq!(rig.deletions(), wanted, "b is back: what hung on a moves");
}

#[test]
fn a_path_that_returns_before_the_apply_keeps_its_flows() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.writing = false;
    rig.lose("a");
    rig.round("a");
    rig.effects.clear();
    rig.answer("a");
    assert_eq!(rig.state("a"), State::Online);
    rig.applied();
    assert!(!rig.deletions().contains(&Effect::FlushPath(rig.key("a"))), "I11: healthy");
}

#[test]
fn a_policy_without_alternative_keeps_its_flows_although_another_one_moves() {
    let only = "
config member 'only_a'
 option interface 'a'
config policy 'only'
 list use_member 'only_a'
config rule 'special'
 option dest_ip 1.1.1.1
 option use_policy 'only'
";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{only}{FAILOVER}")));
    rig.deletions();
    rig.lose("a");
    let key = rig.key("a");
    assert_eq!(rig.deletions(), [Effect::MoveMisplaced(key)], "I11: flow by flow");
    assert!(!rig.core.misplaced(key, &packet("1.1.1.1")));
    assert!(rig.core.misplaced(key, &packet("9.9.9.9")));
}

#[test]
fn a_policy_that_no_rule_uses_does_not_count() {
    let unused = "
config member 'only_a'
 option interface 'a'
config policy 'unused'
 list use_member 'only_a'
";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{unused}{FAILOVER}")));
    rig.deletions();
    rig.lose("a");
    assert_eq!(rig.deletions(), [Effect::FlushPath(rig.key("a"))]);
}

#[test]
fn flows_of_a_removed_interface_are_moved() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let key = rig.key("a");
    rig.deletions();
    let alone = "
config member 'b2'
 option interface 'b'
config policy 'failover'
 list use_member 'b2'
config rule 'all'
 option use_policy 'failover'
";
    rig.feed(Event::Configure(config(&["b"], alone)));
    assert_eq!(rig.deletions(), [Effect::MoveMisplaced(key)]);
    assert!(rig.core.misplaced(key, &packet("9.9.9.9")));
    assert_eq!(rig.core.wan("b").unwrap().0, 2, "I10: b keeps its id");
}

/// How often each event of `a`'s way down and up again deletes `a`'s entries, at once and within the next 1.5 s:
/// lost, taken down by its owner, let up again, proven.
fn flushes(option: &str) -> [(usize, usize); 4] {
    let mut rig = Rig::new(config(&["a", "b"], &format!("{FAILOVER}config interface 'a'\n{option}")));
    assert_eq!(rig.deletions(), [], "what is seen for the first time did not come up");
    let flush = Effect::FlushPath(rig.key("a"));
    let steps: [fn(&mut Rig); 4] = [
        |rig| rig.lose("a"),
        |rig| rig.feed(Event::IfDown("a".into())),
        |rig| rig.feed(Event::IfUp("a".into())),
        |rig| rig.answer("a"),
    ];
    steps.map(|step| {
        step(&mut rig);
        let at_once = rig.deletions();
        for _ in 0..3 {
            rig.pass(Duration::from_millis(500));
            rig.answer("b");
            if rig.state("a") == State::Online {
                rig.answer("a");
            }
        }
        let later = rig.deletions();
        let others = at_once.iter().chain(&later).filter(|e| **e != flush).count();
        assert_eq!(others, 0, "no other path's entries: {at_once:?} {later:?}");
        (at_once.len(), later.len())
    })
}

#[test]
fn flush_conntrack_deletes_at_the_events_it_names_and_at_no_other() {
    const DIED: (usize, usize) = (1, 1);
    const NEVER: [(usize, usize); 4] = [DIED, (0, 0), (0, 0), (0, 0)];
    const ALWAYS: [(usize, usize); 4] = [DIED, (1, 1), (1, 0), (0, 0)];
    for (option, wanted) in [
        ("", NEVER),
        (" option flush_conntrack 'never'", NEVER),
        (" option flush_conntrack '0'", NEVER),
        (" option flush_conntrack 'always'", ALWAYS),
        (" option flush_conntrack '1'", ALWAYS),
        (" list flush_conntrack 'ifup'\n list flush_conntrack 'ifdown'", ALWAYS),
        (" option flush_conntrack 'ifdown'", [DIED, (1, 1), (0, 0), (0, 0)]),
        (" list flush_conntrack 'ifup'", [DIED, (0, 0), (1, 0), (0, 0)]),
        (" list flush_conntrack 'connected'", [DIED, (0, 0), (0, 0), (1, 0)]),
        // A path that is lost is left by its flows anyway.
        (" list flush_conntrack 'disconnected'", NEVER),
        (" option flush_conntrack 'connected disconnected'", [DIED, (0, 0), (0, 0), (1, 0)]),
    ] {
        assert_eq!(flushes(option), wanted, "{option}");
    }
}

#[test]
fn flush_conntrack_waits_for_the_policy_and_for_somewhere_better_to_go() {
    let all = "config interface 'a'\n list flush_conntrack 'always'\n list flush_conntrack 'connected'\n";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{FAILOVER}{all}")));
    rig.lose("b");
    rig.lose("a");
    rig.deletions();
    let key = rig.key("a");
    rig.feed(Event::IfDown("a".into()));
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.deletions(), [], "I11: nothing carries");
    rig.feed(Event::IfUp("a".into()));
    rig.deletions();
    rig.writing = false;
    rig.round("a");
    rig.answer("a");
    assert_eq!(rig.state("a"), State::Online);
    assert_eq!(rig.deletions(), [], "I5: the kernel does not have it yet");
    rig.applied();
    assert!(rig.deletions().contains(&Effect::FlushPath(key)));
    rig.applied();
    assert_eq!(rig.deletions(), [], "once");
}

#[test]
fn a_restart_and_a_reload_are_no_event_of_flush_conntrack() {
    let all = "config interface 'a'\n option flush_conntrack 'ifup ifdown connected disconnected'\n";
    let config = || config(&["a", "b"], &format!("{FAILOVER}{all}"));
    let mut rig = Rig::new(config());
    rig.answer("a");
    let memory = rig.core.memory();
    let mut rig = Rig::resumed(config(), memory);
    rig.answer("a");
    rig.feed(Event::Configure(common::config(&["a", "b"], FAILOVER)));
    rig.feed(Event::Configure(config()));
    assert_eq!(rig.deletions(), [], "I10");
}

/// Failback of `a` while `b` carries, with `option failback` of `b`.
fn failback(option: &str) -> (Rig, Vec<Effect>) {
    let text =
        format!("{FAILOVER}config interface 'b'\n option failback '{option}'\n option failback_drain 30\n");
    let mut rig = Rig::new(config(&["a", "b"], &text));
    rig.lose("a");
    rig.round("a");
    rig.answer("b");
    rig.deletions();
    rig.answer("a");
    assert_eq!(rig.state("a"), State::Online);
    let at_once = rig.deletions();
    (rig, at_once)
}

#[test]
fn failback_keep_leaves_flows_where_they_are() {
    let (mut rig, at_once) = failback("keep");
    assert_eq!(at_once, []);
    rig.now = rig.now + Duration::from_secs(3600);
    rig.feed(Event::Tick);
    assert!(!rig.deletions().iter().any(|e| matches!(e, Effect::MoveMisplaced(_))));
}

#[test]
fn failback_move_now_moves_twice_within_a_second() {
    let (mut rig, at_once) = failback("move-now");
    let moved = Effect::MoveMisplaced(rig.key("b"));
    assert_eq!(at_once, std::slice::from_ref(&moved));
    rig.now = rig.now + Duration::from_secs(1);
    rig.answer("b");
    assert_eq!(rig.deletions(), [moved]);
    assert!(rig.core.misplaced(rig.key("b"), &packet("9.9.9.9")));
    assert!(!rig.core.misplaced(rig.key("a"), &packet("9.9.9.9")), "it is where it belongs");
}

#[test]
fn failback_drain_moves_after_its_limit() {
    let (mut rig, at_once) = failback("drain");
    assert_eq!(at_once, []);
    let moved = Effect::MoveMisplaced(rig.key("b"));
    for second in 0..32 {
        // Both answer all the time.
        rig.pass(Duration::from_millis(1000));
        rig.answer("a");
        rig.answer("b");
        assert_eq!((rig.state("a"), rig.state("b")), (State::Online, State::Online));
        let wanted = usize::from((29..=30).contains(&second));
        let count = rig.deletions().iter().filter(|e| **e == moved).count();
        assert_eq!(count, wanted, "after {second} s");
    }
}

#[test]
fn a_reload_to_keep_calls_a_drain_off() {
    let (mut rig, _) = failback("drain");
    rig.feed(Event::Configure(config(&["a", "b"], FAILOVER)));
    rig.now = rig.now + Duration::from_secs(60);
    rig.feed(Event::Tick);
    assert!(!rig.deletions().contains(&Effect::MoveMisplaced(rig.key("b"))));
}

#[test]
fn a_flow_is_not_misplaced_if_what_conntrack_does_not_know_may_decide() {
    let guests = "
config member 'b1'
 option interface 'b'
config policy 'only_b'
 list use_member 'b1'
config rule 'guests'
 option src_iface 'br-guest'
 option use_policy 'only_b'
";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{guests}{FAILOVER}")));
    let mut net = network();
    let bridge = Link { index: 9, up: true, carrier: true, ..Link::default() };
    net.links.insert("br-guest".into(), bridge);
    rig.feed(Event::Network(Arc::new(net)));
    assert!(!rig.core.misplaced(rig.key("b"), &packet("9.9.9.9")), "a guest's flow belongs on b");
    assert!(!rig.core.misplaced(rig.key("a"), &packet("9.9.9.9")), "anybody else's on a");
    let third = PathKey { id: 7, family: Family::V4 };
    assert!(rig.core.misplaced(third, &packet("9.9.9.9")), "nobody's on a third");
}

#[test]
fn flows_from_outside_and_to_local_networks_are_never_misplaced() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let mut net = network();
    net.connected = Arc::new(["192.168.1.0/24".parse().unwrap()].into());
    rig.feed(Event::Network(Arc::new(net)));
    let b = rig.key("b");
    assert!(rig.core.misplaced(b, &packet("9.9.9.9")));
    assert!(!rig.core.misplaced(b, &packet("100.64.1.2")), "to our own address on b");
    assert!(!rig.core.misplaced(b, &packet("192.168.1.77")), "forwarded to the LAN");
}

#[test]
fn a_restart_takes_states_over_and_deletes_nothing_of_a_healthy_path() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.lose("b");
    rig.answer("a");
    let memory = rig.core.memory();
    let mut rig = Rig::resumed(config(&["a", "b"], FAILOVER), memory);
    assert_eq!((rig.state("a"), rig.state("b")), (State::Online, State::Offline));
    assert_eq!(rig.core.path(rig.key("b")).unwrap().reason.code(), "resumed");
    assert!(!rig.deletions().contains(&Effect::FlushPath(rig.key("a"))));
    rig.answer("a");
    assert!(!rig.deletions().contains(&Effect::FlushPath(rig.key("a"))));
}

#[test]
fn a_process_that_ends_before_it_has_seen_the_network_passes_its_memory_on() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.lose("a");
    let memory = rig.core.memory();
    let blind = Core::new(Platform { translate: false }, config(&["a", "b"], FAILOVER), memory);
    let rig = Rig::resumed(config(&["a", "b"], FAILOVER), blind.memory());
    assert_eq!(rig.state("a"), State::Offline);
}

#[test]
fn a_reload_keeps_states_and_a_shorter_interval_counts_at_once() {
    let slow = config(&["a", "b"], &format!("{FAILOVER}config interface 'a'\n option interval 3600\n"));
    let mut rig = Rig::new(slow);
    rig.answer("a");
    rig.lose("b");
    rig.feed(Event::Configure(config(&["a", "b"], FAILOVER)));
    assert_eq!((rig.state("a"), rig.state("b")), (State::Online, State::Offline));
    let before = rig.rounds.iter().find(|r| r.path == rig.key("a")).unwrap().round;
    rig.pass(Duration::from_secs(2));
    assert!(rig.rounds.iter().find(|r| r.path == rig.key("a")).unwrap().round > before);
}

#[test]
fn an_untracked_path_is_up_only_while_its_device_is() {
    let untracked = "
config interface 'c'
 option enabled 1
 option device eth2
 option family ipv4
";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{untracked}{FAILOVER}")));
    let of = |rig: &Rig| (rig.state("c"), rig.core.path(rig.key("c")).unwrap().reason.code());
    assert_eq!(of(&rig), (State::Online, "not_tracked"));
    let mut net = network();
    net.links.remove("eth2");
    rig.feed(Event::Network(Arc::new(net)));
    assert_eq!(of(&rig), (State::Disabled, "no_device"));
    rig.feed(Event::Network(Arc::new(network())));
    assert_eq!(of(&rig), (State::Online, "not_tracked"));
}

#[test]
fn tracking_that_begins_or_ends_by_a_reload_changes_reason_and_prober() {
    let without = config(&["a", "b"], FAILOVER);
    let mut without = (*without).clone();
    without.interfaces[0].tracking.targets.clear();
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.lose("a");
    rig.effects.clear();
    rig.feed(Event::Configure(Arc::new(without)));
    let status = rig.core.path(rig.key("a")).unwrap();
    assert_eq!((status.state, status.reason.code()), (State::Online, "not_tracked"));
    assert!(rig.effects.contains(&Effect::StopProbes(rig.key("a"))));
    rig.feed(Event::Configure(config(&["a", "b"], FAILOVER)));
    let status = rig.core.path(rig.key("a")).unwrap();
    assert_eq!((status.state, status.reason.code()), (State::Online, "assumed_online"));
}

#[test]
fn reports_to_an_earlier_life_of_a_path_do_not_count() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let key = rig.key("a");
    let old = rig.rounds.iter().find(|r| r.path == key).unwrap().round;
    for event in [Event::IfDown("a".into()), Event::IfUp("a".into())] {
        rig.feed(event);
    }
    let stale = |path| ProbeReport::Failed { path, round: old, target: 0, sequence: 0, error: "old".into() };
    let bad_rounds = |rig: &Rig| rig.core.path(key).unwrap().tracker.bad_rounds();
    rig.feed(Event::Probe(stale(key)));
    assert_eq!((rig.state("a"), bad_rounds(&rig)), (State::Connecting, 0));
    rig.feed(Event::Configure(config(&["b"], "")));
    rig.feed(Event::Configure(config(&["a", "b"], FAILOVER)));
    rig.feed(Event::Probe(stale(key)));
    assert_eq!((rig.state("a"), bad_rounds(&rig)), (State::Online, 0));
    assert!(rig.effects.contains(&Effect::StopProbes(key)));
}

#[test]
fn another_device_for_the_same_interface_starts_its_tracking_over() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.lose("a");
    let mut moved = (*config(&["a", "b"], FAILOVER)).clone();
    moved.interfaces[0].device = Some("eth2".into());
    rig.feed(Event::Configure(Arc::new(moved)));
    let status = rig.core.path(rig.key("a")).unwrap();
    assert_eq!((status.state, status.reason.code()), (State::Connecting, "returning"), "eth2 has not failed");
    assert!(rig.rounds.iter().any(|r| r.path == rig.key("a") && r.device == "eth2"));
}

#[test]
fn globally_disabled_wants_nothing() {
    let off = format!("config globals 'globals'\n option enabled 0\n{FAILOVER}");
    let rig = Rig::new(config(&["a", "b"], &off));
    let desired = rig.core.desired().unwrap();
    assert!(desired.off, "then there is no table and no rule, whatever else is here");
    assert!(desired.interfaces.is_empty() && desired.policies.is_empty() && desired.rules.is_empty());
}

#[test]
fn unknown_names_are_not_remembered() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    rig.feed(Event::IfDown("nobody".into()));
    assert!(rig.core.memory().taken_down.is_empty());
    rig.feed(Event::IfDown("a".into()));
    assert_eq!(rig.core.memory().taken_down.len(), 1);
    rig.feed(Event::Configure(config(&["b"], "")));
    assert!(rig.core.memory().taken_down.is_empty(), "what is gone cannot be down");
}

#[test]
fn a_loss_says_since_when() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let started = rig.now;
    rig.pass(Duration::from_millis(1500));
    let key = rig.key("a");
    let Reason::ProbesLost { since, bad_rounds } = rig.core.path(key).unwrap().reason.clone() else {
        panic!("{:?}", rig.core.path(key))
    };
    assert_eq!((since, bad_rounds), (started, 1), "the start of the first bad round");
}

#[test]
fn what_did_not_change_is_shared() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let before = rig.core.desired().unwrap().clone();
    rig.feed(Event::Network(Arc::new(network())));
    assert_eq!(rig.core.desired().unwrap().generation, before.generation, "the same network is no news");
    rig.lose("a");
    let after = rig.core.desired().unwrap();
    assert!(Arc::ptr_eq(&before.rules, &after.rules));
    assert!(Arc::ptr_eq(&before.interfaces, &after.interfaces));
    assert!(Arc::ptr_eq(&before.connected, &after.connected));
    assert!(!Arc::ptr_eq(&before.policies, &after.policies));
}

#[test]
fn a_refused_route_disables_its_path_only_and_is_tried_again() {
    let mut rig = Rig::new(config(&["a", "b"], FAILOVER));
    let path = rig.key("a");
    rig.feed(Event::Refused { path, error: "Network is unreachable".into() });
    let code = |rig: &Rig| rig.core.path(path).unwrap().reason.code();
    assert_eq!((rig.state("a"), code(&rig)), (State::Disabled, "route_refused"));
    assert_eq!(rig.state("b"), State::Online);
    assert!(
        rig.core.desired().unwrap().interfaces[0].paths[0].route.is_none(),
        "what is refused is not wanted"
    );
    rig.feed(Event::Network(Arc::new(network())));
    assert_eq!(code(&rig), "route_refused", "the same network is no reason to try again");
    rig.pass(Duration::from_secs(11));
    assert_ne!(code(&rig), "route_refused", "time is");
}

/// `c` is in no policy: only sources that are at home there use it.
const SOURCE_ROUTING: &str = "
config globals 'globals'
 option source_routing 1
config interface 'c'
 option enabled 1
 option device eth2
 list track_ip 8.8.8.8
 option interval 1
 option timeout 1
 option up 1
 option down 1
";

#[test]
fn flows_follow_the_home_of_their_source() {
    let both = format!("{SOURCE_ROUTING}{FAILOVER}");
    let mut rig = Rig::new(config(&["a", "b"], &both));
    let [a, c] = ["a", "c"].map(|name| rig.key(name));
    let from_c = Packet { source: "100.64.2.2".parse().unwrap(), ..packet("1.1.1.1") };
    assert!(rig.core.misplaced(a, &from_c), "it is at home on c");
    assert!(!rig.core.misplaced(c, &from_c));
    assert!(!rig.core.misplaced(a, &packet("1.1.1.1")), "the rules lead to a");
    rig.deletions();
    rig.lose("c");
    assert_eq!(rig.state("c"), State::Offline);
    assert_eq!(rig.deletions(), [Effect::FlushPath(c)], "no policy has c, but sources did");
    assert!(!rig.core.misplaced(a, &from_c), "where the rules lead");
    // Without the option nothing has a reason to be on c.
    let plain = SOURCE_ROUTING.replace("source_routing 1", "source_routing 0");
    let mut rig = Rig::new(config(&["a", "b"], &format!("{plain}{FAILOVER}")));
    let a = rig.key("a");
    assert!(!rig.core.misplaced(a, &from_c));
    rig.deletions();
    rig.lose("c");
    assert_eq!(rig.deletions(), []);
}

#[test]
fn a_home_that_is_back_takes_its_flows_from_those_that_move_now() {
    let text = format!("{SOURCE_ROUTING}{FAILOVER}");
    let mut moving = (*config(&["a", "b"], &text)).clone();
    moving.interfaces[0].failback = mwan_config::Failback::MoveNow;
    let mut rig = Rig::new(Arc::new(moving));
    let a = rig.key("a");
    rig.lose("c");
    rig.answer("a");
    rig.answer("b");
    rig.now = rig.now + Duration::from_secs(1);
    rig.feed(Event::Tick);
    rig.answer("a");
    rig.answer("b");
    rig.deletions();
    rig.answer("c");
    assert_eq!(rig.state("c"), State::Online);
    assert!(rig.deletions().contains(&Effect::MoveMisplaced(a)), "b keeps its flows, a moves them");
}

#[test]
fn what_crossed_a_switch_is_taken_out_of_sticky_sets_within_a_second() {
    let strays = |rig: &Rig| rig.effects.iter().filter(|e| matches!(e, Effect::FlushStrays)).count();
    let failover = |rest: &str| {
        let mut rig = Rig::new(config(&["a", "b"], rest));
        rig.effects.clear();
        rig.writing = false;
        rig.lose("a");
        rig.pass(Duration::from_secs(5));
        assert_eq!(strays(&rig), 0, "not before the switch is in the kernel");
        rig.writing = true;
        rig.applied();
        assert_eq!(strays(&rig), 0, "packets are still under way");
        let at = rig.core.handle(rig.now, Event::Tick).wake_at.unwrap();
        rig.pass(Duration::from_millis(999));
        (strays(&rig), at.since(rig.now) < Duration::from_secs(1))
    };
    let sticky = FAILOVER.replace("option use_policy", "option sticky 1\n option use_policy");
    assert_eq!(failover(&sticky), (1, true));
    assert_eq!(failover(FAILOVER).0, 0, "nobody remembers anything");
}

#[test]
fn a_drained_interface_gets_no_new_flows_and_keeps_those_it_has() {
    let carriers = |rig: &Rig| {
        let desired = rig.core.desired().unwrap().clone();
        match desired.policies[0].carrier(Family::V4) {
            Carrier::Members(shares) => shares.iter().map(|share| share.interface.clone()).collect(),
            Carrier::LastResort(resort) => vec![resort.name().to_owned()],
        }
    };
    let move_now = "config interface 'a'\n option failback 'move-now'\n";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{FAILOVER}{move_now}")));
    rig.feed(Event::Drain("a".into()));
    assert_eq!(carriers(&rig), ["b"]);
    for _ in 0..8 {
        rig.pass(Duration::from_millis(500));
        rig.answer("a");
        rig.answer("b");
    }
    assert_eq!(rig.deletions(), [], "they end by themselves, whatever failback says");
    assert_eq!(rig.state("a"), State::Online, "it is probed all the same");
    // Nothing else is left: better than nothing.
    rig.feed(Event::IfDown("b".into()));
    assert_eq!(carriers(&rig), ["a"]);
    let memory = rig.core.memory();
    assert_eq!(memory.drained.len(), 1);
    assert!(Rig::resumed(config(&["a", "b"], FAILOVER), memory).core.path(rig.key("a")).unwrap().drained);
    rig.feed(Event::IfUp("b".into()));
    rig.answer("b");
    assert_eq!(carriers(&rig), ["b"]);
    rig.feed(Event::Undrain("a".into()));
    assert_eq!(carriers(&rig), ["a"]);
    rig.feed(Event::Drain("nobody".into()));
    assert!(rig.core.memory().drained.is_empty(), "unknown names are not remembered");
}

#[test]
fn a_switch_says_whether_any_rule_leads_to_the_policy() {
    let unused = "config policy 'a_only'\n list use_member 'a1'\n";
    let mut rig = Rig::new(config(&["a", "b"], &format!("{FAILOVER}{unused}")));
    rig.effects.clear();
    rig.lose("a");
    let switches = rig.effects.iter().filter_map(|effect| match effect {
        Effect::Switched(switch) => Some((switch.policy.as_str(), switch.used)),
        _ => None,
    });
    assert_eq!(switches.collect::<Vec<_>>(), [("failover", true), ("a_only", false)]);
}
