//! What a plan costs while a hundred thousand connections are there, and whether the daemon's loop notices.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::config::Shape;
use super::daemon::{Running, Setup};
use super::table::{Row, Series};
use super::world::{CROWD, World};

/// Sockets of the client, and destinations of each.
const PORTS: usize = 2_000;
const DESTINATIONS: usize = 50;
const FLOWS: u64 = (PORTS * DESTINATIONS) as u64;
/// An entry without an answer lasts 30 s (nf_conntrack_udp_timeout): all plans are made within them.
const RUNS: usize = 7;
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
    for _ in 0..RUNS {
        let (wait, time) = longest_wait(&running, || timed(&running, &next, FLOWS))?;
        times.push(time);
        waits.push(wait);
    }
    world.flush_conntrack()?;
    for _ in 0..RUNS {
        bare.push(timed(&running, &next, 0)?);
    }
    running.stop()?;
    let (times, waits, bare) = (Series::of_ms(&times)?, Series::of_ms(&waits)?, Series::of_ms(&bare)?);
    Ok(vec![
        Row::new("plan", "100,000 connections, all of which move; the loop meanwhile")
            .target("≤ 300 ms; ≤ 10 ms")
            .measured(format!("{:.0} ms; {:.1} ms", times.median(), waits.median()))
            .verdict(times.median() <= PLAN_MAX_MS && waits.median() <= LOOP_MAX_MS)
            .note(format!(
                "The whole command `mwan plan --json` with {RULES} rules, {} runs: {:.0} to {:.0} ms; without connections {:.0} ms. The \
                 loop: the longest of all answers to `candidates`, asked one after another meanwhile, per run {:.1} to {:.1} ms; over \
                 half a second without a plan {:.1} ms.",
                times.len(),
                times.min(),
                times.max(),
                bare.median(),
                waits.min(),
                waits.max(),
                idle.as_secs_f64() * 1000.0,
            )),
    ])
}

/// Every datagram is a connection to the router; the far end drops it unseen.
fn open(world: &World) -> Result<(), String> {
    let first = u32::from(CROWD);
    let send = || -> std::io::Result<()> {
        for _ in 0..PORTS {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
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
    // Ephemeral ports may come round: a port is a flow again.
    match gone * 100 >= flows * 99 {
        true => Ok(took),
        false => Err(format!("only {gone} of {flows} connections: {}", plan["impact"])),
    }
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
