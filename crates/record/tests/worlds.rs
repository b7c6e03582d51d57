//! Random worlds: whatever happened, and wherever a recording begins and ends, its replay decides alike.

#![allow(clippy::unwrap_used)]

mod common;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/rng.rs"]
mod rng;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/setup.rs"]
mod setup;
#[allow(dead_code)]
#[path = "../../compile/tests/simulation/world.rs"]
mod world;

use std::time::Duration;

use common::Sim;
use mwan_record::Recording;

/// Worlds in `make test`.
const SEEDS: u64 = 400;

#[test]
fn a_replay_takes_the_decisions_that_were_recorded() {
    let (mut paths, mut policies, mut flushes, mut cut, mut configs, mut drilled) = (0, 0, 0, 0, 0, 0);
    for seed in 0..SEEDS {
        // Small rings lose their beginning, so that replays begin in the middle of anything.
        let mut sim = Sim::new(seed, if seed % 4 == 0 { 1 << 20 } else { 10_000 });
        for _ in 0..3 {
            let length = sim.rng.ms(500, 90_000);
            sim.run(length);
            let recording = Recording::read(sim.file().as_slice()).unwrap();
            let replayed = sim.replay(&recording);
            assert_eq!((replayed.differences, replayed.first), (0, None), "seed {seed}");
            let recorded = recording.events.iter().flat_map(|noted| &noted.decisions);
            assert!(recorded.eq(replayed.decisions.iter().map(|d| &d.decision)), "seed {seed}");
            assert!(sim.ring.bytes() <= 1 << 20, "seed {seed}");
            for decided in &replayed.decisions {
                match &decided.decision {
                    mwan_record::Decision::Path { reason, .. } => {
                        paths += 1;
                        drilled += u64::from(reason.code() == "drill");
                    }
                    mwan_record::Decision::Policy { .. } => policies += 1,
                    mwan_record::Decision::Flush(_) | mwan_record::Decision::Move(_) => flushes += 1,
                    _ => {}
                }
            }
            cut += u32::from(recording.begin.at.0 > 1000);
            configs += recording.configs.len() - 1;
        }
    }
    assert!(drilled > SEEDS / 20, "drills are hardly exercised: {drilled}");
    for count in [paths, policies, flushes, cut, u32::try_from(configs).unwrap()] {
        assert!(u64::from(count) > SEEDS, "hardly exercised: {paths} {policies} {flushes} {cut} {configs}");
    }
}

/// A replay that decides otherwise says so: else the test above could not fail.
#[test]
fn another_decision_is_noticed() {
    let mut sim = Sim::new(7, 1 << 20);
    sim.run(Duration::from_secs(60));
    let mut recording = Recording::read(sim.file().as_slice()).unwrap();
    let at = recording.events.iter().position(|noted| !noted.decisions.is_empty()).unwrap();
    recording.events[at].decisions.clear();
    let replayed = sim.replay(&recording);
    assert_eq!(replayed.differences, 1);
    assert_eq!(replayed.first.unwrap().at, recording.events[at].at);
}

/// The limit holds whatever comes, and what is left of the ring is of use.
#[test]
fn a_ring_is_bounded_in_bytes() {
    for bytes_max in [8_000, 20_000, 40_000] {
        let mut sim = Sim::new(3, bytes_max);
        let mut most = 0;
        for _ in 0..200 {
            sim.run(Duration::from_secs(2));
            most = most.max(sim.ring.bytes());
        }
        assert!(most <= bytes_max, "{most} of {bytes_max}");
        assert!(sim.ring.is_too_small() || most > bytes_max / 2, "{most} of {bytes_max}");
        let recording = sim.ring.snapshot().map(|snapshot| common::written(&snapshot, sim.now));
        assert!(recording.is_none_or(|file| Recording::read(file.as_slice()).is_ok()));
    }
    let mut sim = Sim::new(3, 100);
    sim.run(Duration::from_secs(10));
    assert!(sim.ring.is_too_small() && sim.ring.snapshot().is_none());
}
