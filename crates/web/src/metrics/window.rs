//! Round-trip times of the last minutes, for quantiles: out of the samples of each second.

use std::collections::{BTreeMap, VecDeque};

use mwan_api::{PathSample, Sample};

/// Samples of a path that are kept: five minutes, 1.2 KiB.
const KEPT: usize = 300;
/// Quantiles that are told.
pub(crate) const QUANTILES: [(&str, f64); 3] = [("0.5", 0.5), ("0.9", 0.9), ("0.99", 0.99)];

/// Interface and family.
pub(crate) type Name = (String, String);

/// What is known of a path.
#[derive(Debug)]
pub(crate) struct Seen {
    /// The last sample.
    pub(crate) last: PathSample,
    rtt_us: VecDeque<u32>,
    /// All that were ever kept.
    pub(crate) count: u64,
    /// Their sum, microseconds.
    pub(crate) sum_us: u64,
}

/// What is known of every path.
#[derive(Debug, Default)]
pub(crate) struct Window {
    pub(crate) paths: BTreeMap<Name, Seen>,
}

impl Window {
    /// Takes a sample. Paths that are not in it are forgotten.
    pub(crate) fn take(&mut self, sample: &Sample) {
        let mut before = std::mem::take(&mut self.paths);
        for path in &sample.paths {
            let name = (path.interface.clone(), path.family.clone());
            let mut seen = before.remove(&name).unwrap_or_else(|| Seen {
                last: PathSample { received: 0, ..path.clone() },
                rtt_us: VecDeque::new(),
                count: 0,
                sum_us: 0,
            });
            // A reply since the last sample: else it is the same time once more.
            if let Some(rtt_us) = path.rtt_us.filter(|_| path.received > seen.last.received) {
                seen.push(rtt_us);
            }
            seen.last = path.clone();
            self.paths.insert(name, seen);
        }
    }
}

impl Seen {
    fn push(&mut self, rtt_us: u64) {
        if self.rtt_us.len() == KEPT {
            self.rtt_us.pop_front();
        }
        self.rtt_us.push_back(u32::try_from(rtt_us).unwrap_or(u32::MAX));
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(rtt_us);
    }

    /// The quantiles of [`QUANTILES`] by nearest rank, seconds; `NaN` where nothing was measured, as summaries say it.
    pub(crate) fn quantiles(&self) -> [f64; QUANTILES.len()] {
        let mut sorted: Vec<u32> = self.rtt_us.iter().copied().collect();
        sorted.sort_unstable();
        QUANTILES.map(|(_, quantile)| {
            // At most KEPT values: exact.
            let rank = (quantile * sorted.len() as f64).ceil() as usize;
            sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |us| f64::from(*us) / 1e6)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample(rtt_us: Option<u64>, received: u64) -> Sample {
        let path = PathSample {
            interface: "wan".into(),
            family: "ipv4".into(),
            status: "online".into(),
            usable: true,
            carries: true,
            rtt_us,
            jitter_us: None,
            loss_percent: Some(0),
            sent: received,
            received,
            rx_bytes: None,
            tx_bytes: None,
        };
        Sample { time_ms: 0, paths: vec![path] }
    }

    #[test]
    fn quantiles_are_those_of_the_last_five_minutes() {
        let mut window = Window::default();
        let name = ("wan".to_owned(), "ipv4".to_owned());
        window.take(&sample(None, 0));
        assert!(window.paths[&name].quantiles().iter().all(|q| q.is_nan()));
        for n in 1..=100 {
            window.take(&sample(Some(n * 1000), n));
        }
        assert_eq!(window.paths[&name].quantiles(), [0.05, 0.09, 0.099]);
        assert_eq!((window.paths[&name].count, window.paths[&name].sum_us), (100, 5_050_000));
        // The same reply again is no other one.
        window.take(&sample(Some(999_999), 100));
        assert_eq!(window.paths[&name].count, 100);
        for n in 101..=1000 {
            window.take(&sample(Some(1000), n));
        }
        assert_eq!(window.paths[&name].quantiles(), [0.001; 3]);
        assert_eq!(window.paths[&name].rtt_us.len(), KEPT);
        window.take(&Sample { time_ms: 0, paths: Vec::new() });
        assert!(window.paths.is_empty());
    }
}
