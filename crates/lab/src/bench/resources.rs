//! Memory and processor time of the daemon.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::config::Shape;
use super::daemon::{Running, Setup, sum_targets};
use super::table::Row;
use super::world::World;

const MIB: f64 = 1024.0 * 1024.0;
const IDLE: Duration = Duration::from_secs(10);
const WINDOW: Duration = Duration::from_secs(20);

/// 2 interfaces with mwan3's defaults, and the size of the binary.
pub(crate) fn idle(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("idle", 2)?;
    let shape = Shape { wans: 2, rules: 0, targets: 4, tracking: &[], last: "failover" };
    let running = Setup::new(mwan, &world.router, &shape.uci())?.start()?;
    let begin = Usage::of(&running)?;
    std::thread::sleep(IDLE);
    let end = Usage::of(&running)?;
    running.stop()?;
    let size = std::fs::metadata(mwan).map_err(|e| format!("{}: {e}", mwan.display()))?.len();
    let (rss, size) = (end.rss_bytes as f64 / MIB, size as f64 / MIB);
    Ok(vec![
        Row::new("idle", "2 interfaces, idle: memory; size of the binary")
            .target("≤ 6 MiB RSS; ≤ 4 MiB")
            .measured(format!("{rss:.1} MiB; {size:.2} MiB"))
            .verdict(rss <= 6.0 && size <= 4.0)
            .note(format!(
                "VmRSS after {} s, of which {:.1} MiB are anonymous, the rest pages of files; processor {:.3} % of a core; \
                 the file given by --mwan.",
                IDLE.as_secs(),
                end.anonymous_bytes as f64 / MIB,
                end.share_since(&begin) * 100.0
            )),
    ])
}

/// 60 interfaces, 4 targets each, every second.
pub(crate) fn probes(mwan: &Path) -> Result<Vec<Row>, String> {
    let world = World::build("probes", 60)?;
    let tracking = &["interval 1", "timeout 1"];
    let shape = Shape { wans: 60, rules: 0, targets: 4, tracking, last: "balanced" };
    let running = Setup::new(mwan, &world.router, &shape.uci())?.start()?;
    running.wait_online(Duration::from_secs(20))?;
    std::thread::sleep(Duration::from_secs(1));
    let probing = Probing::over(&running, WINDOW)?;
    running.stop()?;
    let wanted = 60 * 4 * WINDOW.as_secs();
    let Probing { sent, received, late, share, rss, .. } = probing;
    let kept = sent + 240 >= wanted && probing.lost_nothing();
    Ok(vec![
        Row::new("probes", "60 interfaces × 4 targets × 1 s")
            .target("≤ 2 % of a core, ≤ 12 MiB RSS")
            .measured(format!("{share:.2} %, {rss:.1} MiB"))
            .peers("a shell each", "a fork per probe")
            .verdict(share <= 2.0 && rss <= 12.0 && kept)
            .note(format!(
                "{sent} probes sent and {received} answered in {} s ({wanted} wanted), {late} late rounds. \
                 Processor time by the scheduler's clock; on this veth network the kernel's work of sending, \
                 answering and receiving a ping is done in the daemon's system call and so counted, too \
                 (user part by ticks: {:.2} %).",
                WINDOW.as_secs(),
                probing.user_share
            )),
    ])
}

/// What a daemon's probes came to in a while, and what they cost.
pub(super) struct Probing {
    pub(super) sent: u64,
    pub(super) received: u64,
    /// Rounds that began late.
    pub(super) late: u64,
    /// Of a core, percent.
    pub(super) share: f64,
    user_share: f64,
    /// Memory at the end, MiB.
    pub(super) rss: f64,
}

impl Probing {
    pub(super) fn over(running: &Running, window: Duration) -> Result<Self, String> {
        let before = (running.status()?, Usage::of(running)?);
        std::thread::sleep(window);
        let usage = Usage::of(running)?;
        let status = running.status()?;
        let since = |counter: &str| sum_targets(&status, counter) - sum_targets(&before.0, counter);
        Ok(Probing {
            sent: since("sent"),
            received: since("received"),
            late: late_rounds(&status) - late_rounds(&before.0),
            share: usage.share_since(&before.1) * 100.0,
            user_share: usage.user_share_since(&before.1) * 100.0,
            rss: usage.rss_bytes as f64 / MIB,
        })
    }

    /// A round of 60 interfaces more or less at either end is not a loss; neither is one probe in flight.
    pub(super) fn lost_nothing(&self) -> bool {
        self.received + 240 >= self.sent && self.late == 0
    }
}

fn late_rounds(status: &Value) -> u64 {
    status["daemon"]["late_rounds"].as_u64().unwrap_or(0)
}

/// What the kernel has on record about a process.
struct Usage {
    at: Instant,
    cpu: Duration,
    user: Duration,
    rss_bytes: u64,
    anonymous_bytes: u64,
}

impl Usage {
    fn of(running: &Running) -> Result<Usage, String> {
        let root = format!("/proc/{}", running.pid());
        let read = |name: &str| {
            let path = format!("{root}/{name}");
            std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))
        };
        let memory = read("status")?;
        let field = |name: &str| {
            let line = memory.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(':'));
            line.and_then(|l| l.split_whitespace().next()?.parse::<u64>().ok()).map(|kib| kib * 1024)
        };
        Ok(Usage {
            at: Instant::now(),
            cpu: cpu_time(&root).ok_or_else(|| format!("{root}: no schedstat"))?,
            user: user_time(&read("stat")?).ok_or_else(|| format!("{root}/stat: not understood"))?,
            rss_bytes: field("VmRSS").ok_or("no VmRSS")?,
            anonymous_bytes: field("RssAnon").unwrap_or(0),
        })
    }

    fn share_since(&self, before: &Usage) -> f64 {
        let time = (self.at - before.at).as_secs_f64();
        self.cpu.saturating_sub(before.cpu).as_secs_f64() / time
    }

    fn user_share_since(&self, before: &Usage) -> f64 {
        let time = (self.at - before.at).as_secs_f64();
        self.user.saturating_sub(before.user).as_secs_f64() / time
    }
}

/// Time on a processor of all threads, in nanoseconds by the scheduler: utime and stime of `stat` are
/// samples of a 4 ms tick, useless for a program that wakes up for microseconds.
pub(super) fn cpu_time(root: &str) -> Option<Duration> {
    let tasks = std::fs::read_dir(format!("{root}/task")).ok()?;
    let times = tasks.flatten().filter_map(|task| {
        let text = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Some(Duration::from_nanos(times.sum())).filter(|sum| !sum.is_zero())
}

/// Field 14 of proc_pid_stat(5), in USER_HZ = 100 per second; the name before it may contain blanks.
fn user_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let ticks: u64 = rest.split_whitespace().nth(11)?.parse().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_time_is_read_behind_any_name() {
        let stat = "12 (a ) b) S 1 2 3 4 5 6 7 8 9 10 250 30 0 0";
        assert_eq!(user_time(stat), Some(Duration::from_millis(2500)));
    }
}
