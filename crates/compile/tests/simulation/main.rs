//! Core and compiler in seeded worlds full of faults; a dumb reference model says what should be, and the
//! invariants (DESIGN §3) are asserted after every step.
//!
//! `MWAN_SIM_SEEDS=N` runs N worlds (default 10000), `MWAN_SIM_SEED=S` one of them with a trace.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

mod damage;
mod kernel;
mod reference;
mod rng;
mod setup;
mod sim;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use sim::{Figures, Sim};

/// Worlds in `make test`.
const SEEDS: u64 = 10_000;
const THREADS: usize = 2;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable)
        .ok()
        .map(|v| v.parse().unwrap_or_else(|_| panic!("{variable} is not a number: {v}")))
}

fn sum(a: Figures, b: Figures) -> Figures {
    Figures {
        events: a.events + b.events,
        applies: a.applies + b.applies,
        repairs: a.repairs + b.repairs,
        cuts: a.cuts + b.cuts,
        kills: a.kills + b.kills,
        packets: a.packets + b.packets,
        flushes: a.flushes + b.flushes,
        wishes: a.wishes + b.wishes,
        moves: a.moves + b.moves,
        holds: a.holds + b.holds,
        switches: a.switches + b.switches,
        drills: a.drills + b.drills,
        spoilt: a.spoilt + b.spoilt,
        kept: a.kept + b.kept,
    }
}

fn world(seed: u64, verbose: bool) -> Figures {
    let mut sim = Sim::new(seed, verbose, false);
    let result = catch_unwind(AssertUnwindSafe(|| sim.run()));
    if let Err(panic) = result {
        eprintln!("\nseed {seed} failed at {:?}; see it with:", sim.now);
        eprintln!(
            "  MWAN_SIM_SEED={seed} cargo test -p mwan-compile --test simulation worlds -- --nocapture\n"
        );
        std::panic::resume_unwind(panic);
    }
    sim.figures
}

#[test]
fn worlds() {
    if let Some(seed) = number("MWAN_SIM_SEED") {
        println!("{:?}", world(seed, true));
        return;
    }
    let seeds = number("MWAN_SIM_SEEDS").unwrap_or(SEEDS);
    let started = Instant::now();
    let next = AtomicU64::new(0);
    let figures = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut total = Figures::default();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= seeds {
                            return total;
                        }
                        total = sum(total, world(seed, false));
                    }
                })
            })
            .collect();
        let results: Vec<_> = workers.into_iter().map(|w| w.join()).collect();
        results
            .into_iter()
            .map(|r| r.unwrap_or_else(|p| std::panic::resume_unwind(p)))
            .fold(Figures::default(), sum)
    });
    println!("{seeds} worlds in {:?}: {figures:?}", started.elapsed());
    if seeds >= 100 {
        let Figures { applies, repairs, cuts, kills, packets, flushes, wishes, .. } = figures;
        let Figures { moves, holds, switches, kept, drills, spoilt, .. } = figures;
        // Most of them are refused: something is wrong with these worlds most of the time.
        assert!(drills.min(spoilt) > seeds / 50, "drills are hardly exercised: {figures:?}");
        for count in [applies, repairs, cuts, kills, packets, flushes, wishes, moves, holds, switches, kept] {
            assert!(count > seeds / 10, "something is hardly exercised: {figures:?}");
        }
    }
}

/// I4: the same seed gives the same decisions, to the letter.
#[test]
fn the_same_seed_gives_the_same_trace() {
    for seed in 0..100 {
        let [a, b] = [0, 1].map(|_| Sim::new(seed, false, true).run());
        assert_eq!(a, b, "I4: seed {seed}");
    }
}
