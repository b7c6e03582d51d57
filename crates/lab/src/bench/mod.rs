//! `mwan-lab bench`: every figure the project promises, measured on this machine and printed beside its
//! target. Nothing here is a timed assertion: a missed target is printed, only a row that could not be
//! measured at all makes the run fail. `docs/bench.md` tells how to read the table.

mod config;
mod daemon;
mod explain;
mod failover;
mod forward;
mod inject;
mod methods;
mod plan;
mod resources;
mod scale;
mod start;
mod sys;
mod table;
mod world;

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::{netns, sys as lab_sys};
use table::{Row, Verdict};

/// What to measure, and of which program.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub mwan: PathBuf,
    /// Only the measurement of this name.
    pub only: Option<String>,
}

/// One measurement; it may fill several rows.
struct Measurement {
    name: &'static str,
    about: &'static str,
    run: fn(&Path) -> Result<Vec<Row>, String>,
}

const MEASUREMENTS: &[Measurement] = &[
    Measurement { name: "cold-start", about: "first program in the kernel", run: start::cold_start },
    Measurement { name: "switch", about: "printed by another program", run: switch },
    Measurement { name: "carrier", about: "carrier lost", run: failover::carrier },
    Measurement { name: "silent-fast", about: "silent blackhole, 0.2 s", run: failover::silent_fast },
    Measurement { name: "idle", about: "2 interfaces, 10 s", run: resources::idle },
    Measurement { name: "probes", about: "60 interfaces, 20 s", run: resources::probes },
    Measurement { name: "methods", about: "60 interfaces, each method for 10 s", run: methods::methods },
    Measurement { name: "established", about: "packets of known flows", run: forward::established },
    Measurement { name: "new", about: "first packets of flows", run: forward::new_connections },
    Measurement { name: "rules-apply", about: "1,000 rules, sets of 50,000", run: scale::apply },
    Measurement {
        name: "rules-new",
        about: "first packets through 10 and 1,000 rules",
        run: scale::through_rules,
    },
    Measurement { name: "explain", about: "a packet through 1,000 rules", run: explain::explain },
    Measurement { name: "set-load", about: "100,000 prefixes", run: scale::load },
    Measurement { name: "set-lookup", about: "sets of 10 and 100,000", run: scale::lookup },
    Measurement { name: "plan", about: "100,000 connections", run: plan::plan },
    Measurement {
        name: "silent-shipped",
        about: "defaults of mwan3, a minute",
        run: failover::silent_shipped,
    },
];

/// The names `only` may have.
pub fn names() -> Vec<&'static str> {
    MEASUREMENTS.iter().map(|m| m.name).collect()
}

/// Measures, prints the table, and says whether everything could be measured.
pub fn run(options: &Options) -> Result<bool, String> {
    let wanted = |m: &&Measurement| options.only.as_deref().is_none_or(|only| only == m.name);
    let chosen: Vec<&Measurement> = MEASUREMENTS.iter().filter(wanted).collect();
    if chosen.is_empty() {
        let only = options.only.as_deref().unwrap_or_default();
        return Err(format!("no measurement `{only}`\nhint: there are {}", names().join(", ")));
    }
    let mwan = std::fs::canonicalize(&options.mwan)
        .map_err(|e| format!("{}: {e}\nhint: cargo build --release -p mwan", options.mwan.display()))?;
    // Before any thread: from here on this process has no way to the host's network.
    netns::isolate(&[mwan.clone(), std::env::temp_dir()]).map_err(|e| e.to_string())?;
    lab_sys::raise_file_limit();
    let (begin, mut rows) = (Instant::now(), Vec::new());
    for (index, one) in chosen.iter().enumerate() {
        eprintln!("[{}/{}] {}: {} …", index + 1, chosen.len(), one.name, one.about);
        match (one.run)(&mwan) {
            Ok(found) => rows.extend(found),
            Err(why) => rows.push(Row::failed(one.name, &why)),
        }
    }
    table::print(&rows, begin.elapsed());
    Ok(rows.iter().all(|row| row.verdict != Verdict::NotMeasured))
}

/// The core, compiler and netlink writer in one process, without probes and sockets around them: a matter
/// of the product's own benchmark.
fn switch(_: &Path) -> Result<Vec<Row>, String> {
    Ok(vec![
        Row::new("switch", "verdict → kernel has switched, 30 interfaces, 300 rules")
            .target("≤ 1.5 × bare transaction")
            .peers("250–400 ms", "100–200 ms")
            .measured("cargo bench -p mwan --bench switch"),
    ])
}
