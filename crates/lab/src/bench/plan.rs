//! What a plan costs while a hundred thousand connections are there, and whether the daemon's loop notices.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::config::Shape;
use super::daemon::{Running, Setup};
use super::resources::cpu_time;
use super::table::{Row, Series};
use super::world::{CROWD, World};

/// Sockets of the client, and destinations of each.
const PORTS: usize = 2_000;
const DESTINATIONS: usize = 50;
const FLOWS: u64 = (PORTS * DESTINATIONS) as u64;
const RUNS: usize = 7;
/// An entry without an answer lasts 30 s (nf_conntrack_udp_timeout): all plans are made within them.
const LIFETIME: Duration = Duration::from_secs(20);
/// How often a thread's time is looked at.
const LOOK: Duration = Duration::from_millis(2);
const RULES: usize = 100;
const PLAN_MAX_MS: f64 = 300.0;
const LOOP_MAX_MS: f64 = 10.0;

/// The WAN that carries all of them leaves the configuration: the dearest question there is.
pub(crate) fn plan(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("plan", 3)?;
    let shape = Shape { wans: 3, rules: RULES, targets: 1, tracking: &[], last: "failover" };
    let uci = shape.uci();
    let running = Setup::new(mwan, &world.router, &uci)?.start()?;
    running.wait_online(Duration::from_secs(20))?;
    let next = uci.replacen("option enabled '1'", "option enabled '0'", 1);
    open(&world)?;
    let idle = longest_wait(&running, || {
        std::thread::sleep(Duration::from_millis(500));
        Ok(())
    })?
    .0;
    let (mut times, mut waits, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    let (mut work, mut own) = (Vec::new(), Vec::new());
    let root = format!("/proc/{}", running.pid());
    let begin = Instant::now();
    while begin.elapsed() < LIFETIME && times.len() < RUNS {
        let (wait, time) = longest_wait(&running, || timed(&running, &next, FLOWS))?;
        times.push(time);
        waits.push(wait);
        // The thread of a plan ends with its answer, and its time with it: asked for while one runs, by itself.
        let before = loop_time(&root)?;
        work.push(worked(&root, &running, &next)?);
        own.push(loop_time(&root)?.saturating_sub(before));
    }
    world.flush_conntrack()?;
    for _ in 0..RUNS {
        bare.push(timed(&running, &next, 0)?);
    }
    running.stop()?;
    let (times, waits) = (Series::of_ms(&times)?, Series::of_ms(&waits)?);
    let (bare, work, own) = (Series::of_ms(&bare)?, Series::of_ms(&work)?, Series::of_ms(&own)?);
    Ok(vec![
        Row::new("plan", "100,000 connections, all of which move; the loop meanwhile")
            .target("≤ 300 ms; ≤ 10 ms")
            .measured(format!("{:.0} ms; {:.1} ms", times.median(), waits.median()))
            .verdict(times.median() <= PLAN_MAX_MS && waits.median() <= LOOP_MAX_MS)
            .note(format!(
                "The whole command `mwan plan --json` with {RULES} rules, {} runs: {:.0} to {:.0} ms, of which the daemon works {:.0} to {:.0}; without connections {:.0} ms. The \
                 loop: the longest of all answers to `candidates`, asked one after another meanwhile, per run {:.1} to {:.1} ms; over \
                 half a second without a plan {:.1} ms. What the loop itself works during a plan, all of it: {:.1} to {:.1} ms.",
                times.len(),
                times.min(),
                times.max(),
                work.min(),
                work.max(),
                bare.median(),
                waits.min(),
                waits.max(),
                idle.as_secs_f64() * 1000.0,
                own.min(),
                own.max(),
            )),
    ])
}

/// Every datagram is a connection to the router; the far end drops it unseen.
fn open(world: &World) -> Result<(), String> {
    let first = u32::from(CROWD);
    let send = || -> std::io::Result<()> {
        // All at once: a port that is free again would be given again.
        let sockets =
            (0..PORTS).map(|_| UdpSocket::bind("0.0.0.0:0")).collect::<std::io::Result<Vec<_>>>()?;
        for socket in &sockets {
            for n in (first..).take(DESTINATIONS) {
                socket.send_to(&[0], SocketAddr::from((Ipv4Addr::from(n), 443)))?;
            }
        }
        Ok(())
    };
    world.client.run(send).map_err(|e| e.to_string())?.map_err(|e| format!("flows: {e}"))
}

/// How long one plan took that has seen at least so many connections go.
fn timed(running: &Running, next: &str, flows: u64) -> Result<Duration, String> {
    let begin = Instant::now();
    let plan = running.plan(next)?;
    let took = begin.elapsed();
    let gone = ["move", "reset"].iter().filter_map(|fate| plan["impact"][fate].as_u64()).sum::<u64>();
    match gone >= flows {
        true => Ok(took),
        false => Err(format!("only {gone} of {flows} connections: {}", plan["impact"])),
    }
}

/// Processor time of the daemon's first thread, which is its loop.
fn loop_time(root: &str) -> Result<Duration, String> {
    let path = format!("{root}/schedstat");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    let first = text.split_whitespace().next().and_then(|time| time.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| format!("{path}: not understood"))
}

/// Processor time of a plan's thread, as seen last before it ended.
fn worked(root: &str, running: &Running, next: &str) -> Result<Duration, String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            let before = cpu_time(root).unwrap_or_default();
            let mut most = Duration::ZERO;
            while !done.load(Ordering::Acquire) {
                most = most.max(cpu_time(root).unwrap_or_default().saturating_sub(before));
                std::thread::sleep(LOOK);
            }
            most
        });
        let result = timed(running, next, FLOWS);
        done.store(true, Ordering::Release);
        let most = looking.join().map_err(|_| "the looking thread ended".to_owned())?;
        result.map(|_| most)
    })
}

/// The longest time the daemon's loop took for an answer while `work` was done, and what that gave.
fn longest_wait<T>(
    running: &Running,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<(Duration, T), String> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut longest = Duration::ZERO;
            while !done.load(Ordering::Acquire) {
                longest = longest.max(running.answer_time()?);
            }
            Ok::<_, String>(longest)
        });
        let result = work();
        done.store(true, Ordering::Release);
        let longest = asking.join().map_err(|_| "the asking thread ended".to_owned())??;
        Ok((longest, result?))
    })
}
