//! What a plan says of connections is what the core then asks for.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use common::{FAILOVER, config, network};
use mwan_config::{Config, Family};
use mwan_core::*;

const NOW: Time = Time(1_000);

fn core(config: &Arc<Config>) -> Core {
    let mut core = Core::new(Platform { translate: true }, config.clone(), Memory::default());
    core.handle(NOW, Event::Network(Arc::new(network())));
    settle(&mut core);
    core
}

/// The kernel has what is wanted; what is then asked for.
fn settle(core: &mut Core) -> Vec<Effect> {
    let generation = core.desired().unwrap().generation;
    core.handle(NOW, Event::Applied { generation }).effects
}

/// A flow of the LAN's, translated or not.
fn entry(mark: u32, protocol: u8, destination: &str, translated: bool) -> Entry {
    let source = "192.168.1.10".parse().unwrap();
    let first = Packet {
        source,
        destination: destination.parse().unwrap(),
        protocol,
        source_port: Some(50000),
        destination_port: Some(443),
        input: None,
    };
    Entry { first, reply_destination: if translated { [100, 64, 0, 2].into() } else { source }, mark }
}

fn with(text: &str, more: &str) -> String {
    format!("{text}{more}")
}

/// One WAN for everything.
fn only(name: &str) -> String {
    let at = FAILOVER.find("config policy").unwrap();
    let member = format!("config member '{name}1'\n option interface '{name}'\n");
    let policy = FAILOVER[at..].lines().filter(|line| !line.contains("use_member"));
    let policy: String = policy
        .map(|line| match line.starts_with("config policy") {
            true => format!("{line}\n list use_member '{name}1'\n"),
            false => format!("{line}\n"),
        })
        .collect();
    member + &policy
}

fn b_first() -> String {
    FAILOVER
        .replace("option interface 'a'", "option interface 'x'")
        .replace("'b'", "'a'")
        .replace("'x'", "'b'")
}

/// Wherever an entry is deleted by the new configuration, and only there, or where its path is gone, it does not stay.
#[test]
fn for_every_pair_of_configurations_the_plan_is_what_happens() {
    let move_now = |c: Arc<Config>| {
        let mut c = Config::clone(&c);
        c.interfaces.iter_mut().for_each(|i| i.failback = mwan_config::Failback::MoveNow);
        Arc::new(c)
    };
    let off = |c: Arc<Config>| {
        let mut c = Config::clone(&c);
        c.globals.enabled = false;
        Arc::new(c)
    };
    let unplugged = |c: Arc<Config>| {
        let mut c = Config::clone(&c);
        c.interfaces[0].device = Some("eth9".to_owned());
        Arc::new(c)
    };
    let one = "config rule 'one'\n option dest_ip 9.9.9.9\n option use_policy 'unreachable'\n";
    let configs = [
        config(&["a", "b"], FAILOVER),
        move_now(config(&["a", "b"], FAILOVER)),
        config(&["a", "b"], &b_first()),
        move_now(config(&["a", "b"], &b_first())),
        move_now(config(&["a", "b"], &with(one, &b_first()))),
        config(&["b"], &only("b")),
        config(&["a"], &only("a")),
        config(&["b"], ""),
        config(&["b", "a", "c"], FAILOVER),
        unplugged(config(&["a", "b"], FAILOVER)),
        off(config(&["a", "b"], FAILOVER)),
    ];
    let (mut fates, mut worlds) = (BTreeSet::new(), 0);
    for (old, new) in configs.iter().flat_map(|old| configs.iter().map(move |new| (old, new))) {
        let mut before = core(old);
        let impact = before.clone().impact(new.clone(), NOW);
        let marks = Marks::new(old.globals.mask);
        let known: Vec<(String, u32)> =
            old.interfaces.iter().filter_map(|i| Some((i.name.clone(), before.wan(&i.name)?.0))).collect();
        // A dead path has no flows.
        let alive =
            |id| before.path(PathKey { id, family: Family::V4 }).is_some_and(|path| path.state.usable());
        let known: Vec<(String, u32)> = known.into_iter().filter(|(_, id)| alive(*id)).collect();
        let mut effects = before.handle(NOW, Event::Configure(new.clone())).effects;
        effects.extend(settle(&mut before));
        for (name, id) in known {
            let key = PathKey { id, family: Family::V4 };
            for destination in ["8.8.8.8", "9.9.9.9", "100.64.1.9", "100.64.0.2"] {
                let entry = entry(marks.of(id), 17, destination, true);
                let deleted = effects.iter().any(|effect| match effect {
                    Effect::FlushPath(path) => *path == key,
                    Effect::MoveMisplaced(path) => *path == key && before.misplaced(key, &entry.first),
                    _ => false,
                });
                let (from, to, fate) = impact.of(&entry);
                assert_eq!(impact.of(&impact.like(entry.clone())), (from.clone(), to.clone(), fate));
                let stranded = before.path(key).is_none();
                assert_eq!(from, Passage::By(vec![id]));
                assert_eq!(
                    fate != Fate::Stay,
                    to != from || fate == Fate::Reset,
                    "{name} {destination}: {to:?}"
                );
                let wanted = deleted || stranded;
                assert_eq!(fate != Fate::Stay, wanted, "{name} {destination} to {to:?}\n{old:?}\n{new:?}");
                fates.insert(fate);
                worlds += 1;
            }
        }
        for id in [0, marks.default_id(), marks.unreachable_id(), marks.blackhole_id()] {
            let (from, to, fate) = impact.of(&entry(marks.of(id), 6, "8.8.8.8", true));
            assert_eq!((from, fate), (to, Fate::Stay));
        }
    }
    assert!(fates.len() == 3 && worlds > 700, "{fates:?} in {worlds}");
}

fn of(old: &Arc<Config>, new: &Arc<Config>, entry: &Entry) -> (String, String, Fate) {
    let impact = core(old).impact(new.clone(), NOW);
    let name = |way: &Passage| match way {
        Passage::By(ids) => ids.iter().map(|id| impact.name(*id).unwrap()).collect::<Vec<_>>().join("+"),
        other => format!("{other:?}"),
    };
    let (from, to, fate) = impact.of(entry);
    (name(&from), name(&to), fate)
}

#[test]
fn connections_with_an_address_of_ours_end_and_others_go_on() {
    let old = config(&["a", "b"], FAILOVER);
    let new = config(&["b"], &only("b"));
    let on_a = Marks::new(old.globals.mask).of(1);
    let to_b = |fate| ("a".to_owned(), "b".to_owned(), fate);
    assert_eq!(of(&old, &new, &entry(on_a, 6, "8.8.8.8", true)), to_b(Fate::Reset));
    assert_eq!(of(&old, &new, &entry(on_a, 17, "8.8.8.8", true)), to_b(Fate::Move));
    assert_eq!(of(&old, &new, &entry(on_a, 6, "8.8.8.8", false)), to_b(Fate::Move));
    // What is added or changed beside it leaves it alone; two that share are both named.
    assert_eq!(of(&old, &config(&["a", "b"], &b_first()), &entry(on_a, 6, "8.8.8.8", true)).2, Fate::Stay);
    let both = FAILOVER
        .replace("option metric 2", "option metric 1")
        .replace("'a1'\n option interface 'a'", "'a1'\n option interface 'c'");
    let shared = of(&old, &config(&["b", "c"], &both), &entry(on_a, 17, "8.8.8.8", true));
    assert_eq!(shared, ("a".to_owned(), "b+c".to_owned(), Fate::Move));
    // Nowhere to go.
    let gone = of(&old, &config(&["b"], ""), &entry(on_a, 6, "8.8.8.8", true));
    assert_eq!(gone, ("a".to_owned(), "Main".to_owned(), Fate::Reset));
}

/// Ids follow names, whatever the mask.
#[test]
fn another_mask_moves_nothing() {
    let old = config(&["a", "b"], FAILOVER);
    let mut new = Config::clone(&config(&["b", "a"], FAILOVER));
    new.globals.mask = 0xFF_0000;
    let new = Arc::new(new);
    for (name, id) in [("a", 1), ("b", 2)] {
        let entry = entry(Marks::new(old.globals.mask).of(id), 6, "8.8.8.8", true);
        assert_eq!(of(&old, &new, &entry), (name.to_owned(), name.to_owned(), Fate::Stay));
    }
}

/// What moves later is told now.
#[test]
fn what_a_drain_moves_is_told() {
    let old = config(&["a", "b"], FAILOVER);
    let mut new = Config::clone(&config(&["a", "b"], &b_first()));
    new.interfaces
        .iter_mut()
        .for_each(|i| i.failback = mwan_config::Failback::Drain(Duration::from_secs(60)));
    let entry = entry(Marks::new(old.globals.mask).of(1), 17, "8.8.8.8", true);
    assert_eq!(of(&old, &Arc::new(new), &entry), ("a".to_owned(), "b".to_owned(), Fate::Move));
}
