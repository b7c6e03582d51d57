//! What scripts are told when real events happen: one story, from the start to a restart.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::sync::Arc;

use common::{FAILOVER, config, network};
use mwan_core::*;

struct Rig {
    core: Core,
    now: Time,
    rounds: Vec<ProbeRequest>,
}

impl Rig {
    fn new(memory: Memory) -> Self {
        let core = Core::new(Platform { translate: false }, config(&["a", "b"], FAILOVER), memory);
        Rig { core, now: Time::from_ms(1), rounds: Vec::new() }
    }

    /// The calls of the user script, as `ACTION INTERFACE DEVICE`.
    fn feed(&mut self, event: Event) -> Vec<String> {
        let out = self.core.handle(self.now, event);
        let mut calls = Vec::new();
        for effect in out.effects {
            match effect {
                Effect::Probe(request) => {
                    self.rounds.retain(|r| r.path != request.path);
                    self.rounds.push(request);
                }
                Effect::Hook(call) if call.scope == Scope::Interface && call.action.reaches_user_script() => {
                    calls.push(format!("{} {} {}", call.action.name(), call.interface, call.device));
                }
                _ => {}
            }
        }
        calls
    }

    /// The round of `name` that is on the wire ends, everybody else's is answered, and the next ones begin.
    fn report(&mut self, name: &str, good: bool) -> Vec<String> {
        let id = self.core.wan(name).unwrap().0;
        let mut calls = Vec::new();
        for request in std::mem::take(&mut self.rounds) {
            let (path, round, target, sequence) = (request.path, request.round, 0, 0);
            calls.extend(self.feed(Event::Probe(if good || path.id != id {
                ProbeReport::Reply { path, round, target, sequence, rtt: std::time::Duration::from_millis(1) }
            } else {
                ProbeReport::Failed { path, round, target, sequence, error: "lost".into() }
            })));
        }
        self.now = self.now + std::time::Duration::from_secs(1);
        calls.extend(self.feed(Event::Tick));
        calls
    }

    fn see(&mut self, change: impl FnOnce(&mut NetView)) -> Vec<String> {
        let mut net = network();
        change(&mut net);
        self.feed(Event::Network(Arc::new(net)))
    }
}

#[test]
fn scripts_hear_of_every_transition_once_and_in_order() {
    let mut rig = Rig::new(Memory::default());
    assert_eq!(rig.feed(Event::Tick), [""; 0], "nothing is known before the network has been seen");
    assert_eq!(rig.see(|_| ()), ["ifup a eth0", "ifup b eth1"], "FIRSTCONNECT: nothing has connected");
    assert_eq!(rig.report("a", true), [""; 0], "online as assumed");
    assert_eq!(rig.report("a", false), ["disconnected a eth0"]);
    assert_eq!(rig.report("a", false), [""; 0], "still down");
    assert_eq!(rig.report("a", true), ["connected a eth0"]);
    let unplugged = |net: &mut NetView| net.links.get_mut("eth0").unwrap().carrier = false;
    assert_eq!(rig.see(unplugged), ["disconnected a eth0", "ifdown a "]);
    assert_eq!(rig.see(unplugged), [""; 0]);
    assert_eq!(rig.see(|_| ()), ["ifup a eth0"]);
    assert_eq!(rig.report("a", true), ["connected a eth0"], "its first answer");
    assert_eq!(rig.feed(Event::IfDown("b".into())), ["disconnected b eth1", "ifdown b "]);
    assert_eq!(rig.feed(Event::IfDown("b".into())), [""; 0]);
    assert_eq!(rig.feed(Event::IfUp("b".into())), ["ifup b eth1"]);
    assert_eq!(
        rig.feed(Event::Configure(config(&["a", "b"], FAILOVER))),
        [""; 0],
        "a reload is no transition"
    );
}

#[test]
fn a_restart_is_no_transition_but_tells_what_happened_meanwhile() {
    let mut before = Rig::new(Memory::default());
    before.see(|_| ());
    before.report("a", true);
    let memory = before.core.memory();
    let mut same = Rig::new(memory.clone());
    assert_eq!(same.see(|_| ()), [""; 0]);
    let mut lost = Rig::new(memory);
    let calls = lost.see(|net| net.links.get_mut("eth1").unwrap().carrier = false);
    assert_eq!(calls, ["disconnected b eth1", "ifdown b "]);
}

#[test]
fn a_disabled_interface_is_told_nothing_of() {
    let text = "config interface 'a'\n option enabled 0\n option device eth0\n list track_ip 8.8.8.8\n";
    let loaded = mwan_config::parse("test", text.as_bytes());
    let mut core = Core::new(Platform { translate: false }, Arc::new(loaded.config), Memory::default());
    let out = core.handle(Time::from_ms(1), Event::Network(Arc::new(network())));
    assert!(!out.effects.iter().any(|e| matches!(e, Effect::Hook(_))), "{:?}", out.effects);
}
