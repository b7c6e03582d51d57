//! How the paths are, once a second: for charts, history and metrics.

use mwan_config::Gather;
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use mwan_api::{PathSample, Sample};
use mwan_core::{Core, PathKey, Target, TargetState};

use super::events::now_ms;
use super::status::Achieved;

/// Round-trip times of one target so far.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    received: u64,
    rtt: Duration,
    jitter: Duration,
}

/// What has to be remembered from one sample to the next.
#[derive(Debug, Default)]
pub(super) struct Sampler {
    seen: BTreeMap<(PathKey, IpAddr), Seen>,
    devices: BTreeMap<PathKey, String>,
}

impl Sampler {
    /// How the paths are now.
    pub(super) fn sample(&mut self, core: &Core, achieved: &Achieved<'_>) -> Sample {
        let carrying = achieved.carrying();
        let counters = fs::read_to_string("/proc/net/dev").unwrap_or_default();
        let counters = device_counters(&counters);
        let mut paths = Vec::new();
        let (mut seen, mut devices) = (BTreeMap::new(), BTreeMap::new());
        for interface in &core.config().interfaces {
            let Some((id, device)) = core.wan(&interface.name) else { continue };
            for family in interface.families.iter() {
                let key = PathKey { id, family };
                let Some(path) = core.path(key) else { continue };
                let targets = path.targets;
                for target in targets {
                    let before = self.seen.get(&(key, target.ip)).copied();
                    seen.insert((key, target.ip), before.unwrap_or_default().next(target));
                }
                let answering = || targets.iter().filter(|target| target.state == TargetState::Up);
                let jitter =
                    answering().filter_map(|target| seen.get(&(key, target.ip))).filter(|s| s.received > 1);
                let bytes = counters.get(device).filter(|_| self.counts_on(key, device));
                devices.insert(key, device.to_owned());
                paths.push(PathSample {
                    interface: interface.name.clone(),
                    family: family.name().to_owned(),
                    status: path.state.name().to_owned(),
                    usable: path.state.usable(),
                    carries: carrying.contains(&key),
                    rtt_us: mean(answering().filter_map(|target| target.rtt)),
                    jitter_us: mean(jitter.map(|seen| seen.jitter)),
                    loss_percent: loss(targets),
                    sent: targets.iter().map(|target| target.sent).sum(),
                    received: targets.iter().map(|target| target.received).sum(),
                    rx_bytes: bytes.map(|(rx, _)| *rx),
                    tx_bytes: bytes.map(|(_, tx)| *tx),
                });
            }
        }
        (self.seen, self.devices) = (seen, devices);
        Sample { time_ms: now_ms(), paths }
    }

    /// Whether the bytes of a path go on where they were. Another device has counted since long before: the difference to
    /// the one before went nowhere.
    fn counts_on(&self, key: PathKey, device: &str) -> bool {
        self.devices.get(&key).is_none_or(|before| before == device)
    }
}

impl Seen {
    /// RFC 3550, 6.4.1: a sixteenth of each difference. Replies between two samples count as one.
    fn next(self, target: &Target) -> Seen {
        let Some(rtt) = target.rtt.filter(|_| target.received != self.received) else { return self };
        let jitter = match self.received {
            0 => Duration::ZERO,
            _ => self.jitter - self.jitter / 16 + rtt.abs_diff(self.rtt) / 16,
        };
        Seen { received: target.received, rtt, jitter }
    }
}

fn mean(times: impl Iterator<Item = Duration>) -> Option<u64> {
    let (sum, count) = times.fold((Duration::ZERO, 0u32), |(sum, count), time| (sum + time, count + 1));
    (count > 0).then(|| u64::try_from((sum / count).as_micros()).unwrap_or(u64::MAX))
}

/// Of all targets that have been asked, in percent, rounded up: a little loss is not none.
fn loss(targets: &[Target]) -> Option<u8> {
    let asked: Vec<u32> =
        targets.iter().filter(|t| t.sent > 0).map(|t| u32::from(t.figures().loss_percent)).collect();
    let count = u32::try_from(asked.len()).ok().filter(|count| *count > 0)?;
    u8::try_from(asked.iter().sum::<u32>().div_ceil(count)).ok()
}

/// Bytes received and sent, by device: `/proc/net/dev` (dev_seq_printf_stats in net/core/net-procfs.c), of our network
/// namespace. A name may have a colon in it (an old alias).
fn device_counters(text: &str) -> BTreeMap<&str, (u64, u64)> {
    text.lines()
        .filter_map(|line| {
            let (name, numbers) = line.rsplit_once(':')?;
            let mut numbers = numbers.split_ascii_whitespace();
            let received = numbers.next()?.parse().ok()?;
            Some((name.trim(), (received, numbers.nth(7)?.parse().ok()?)))
        })
        .gather()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_of_another_device_are_no_traffic() {
        let key = PathKey { id: 1, family: mwan_config::Family::V4 };
        let mut sampler = Sampler::default();
        assert!(sampler.counts_on(key, "ppp0"), "there was none before");
        sampler.devices.insert(key, "ppp0".to_owned());
        assert!(sampler.counts_on(key, "ppp0"));
        assert!(!sampler.counts_on(key, "eth1"));
    }

    #[test]
    fn devices_are_counted() {
        let text = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:  864746    6014    0    0    0     0          0         0   864746    6014    0    0    0     0       0          0\n  \
            eth0.1:12 1 0 0 0 0 0 0 34 1 0 0 0 0 0 0\nbroken: x\n";
        let counters = device_counters(text);
        assert_eq!(counters.get("lo"), Some(&(864_746, 864_746)));
        assert_eq!(counters.get("eth0.1"), Some(&(12, 34)));
        assert_eq!(counters.len(), 2);
    }
}
