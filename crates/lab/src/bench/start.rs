//! From nothing to the first program in the kernel.

use std::path::Path;
use std::time::Duration;

use super::config::Shape;
use super::daemon::Setup;
use super::sys::count_forks;
use super::table::{Row, Series};
use super::world::World;

/// Starts measured.
const RUNS: usize = 15;
/// Runs under ptrace, from start to well past the first probes.
const TRACED: Duration = Duration::from_secs(2);
const TARGET_MS: f64 = 30.0;

/// 8 interfaces, 300 rules.
pub(crate) fn cold_start(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("start", 8)?;
    let tracking = &["interval 1", "timeout 1"];
    let uci = Shape { wans: 8, rules: 300, targets: 4, tracking, last: "balanced" }.uci();
    let (mut times, mut applies) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let running = Setup::new(mwan, &world.router, &uci)?.start()?;
        times.push(running.ready);
        let apply_us = running.status()?["daemon"]["last_apply_us"].as_u64().unwrap_or(0);
        applies.push(Duration::from_micros(apply_us));
        running.stop()?;
    }
    let setup = Setup::new(mwan, &world.router, &uci)?;
    let forks = count_forks(setup.command()?, TRACED).map_err(|e| format!("ptrace: {e}"))?;
    if !setup.is_ready() {
        return Err(format!("under ptrace it never became ready: {}", setup.log_end()));
    }
    let (series, applies) = (Series::of_ms(&times)?, Series::of_ms(&applies)?);
    let reached = series.median() <= TARGET_MS && forks.processes == 0;
    Ok(vec![
        Row::new("cold-start", "cold start, 8 interfaces, 300 rules")
            .target("≤ 30 ms, 0 forks")
            .measured(format!("{:.1} ms, {} forks", series.median(), forks.processes))
            .peers("2.2 s, 3,216 forks", "0.9 s, 789 forks")
            .verdict(reached)
            .note(format!(
                "from before fork to READY=1; median of {}, {:.1}–{:.1} ms, of which {:.1} ms are the change of the \
                 kernel. Each begins with an empty kernel and empty folders; --run-dir is in memory.",
                series.len(),
                series.min(),
                series.max(),
                applies.median()
            ))
            .note(format!(
                "forks: events of the kernel's tracer (PTRACE_O_TRACEFORK, VFORK, CLONE, EXEC), {} s from exec \
                 with all probes running: {} processes, {} exec, {} threads.",
                TRACED.as_secs(),
                forks.processes,
                forks.execs,
                forks.threads
            )),
    ])
}
