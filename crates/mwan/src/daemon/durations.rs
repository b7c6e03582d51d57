//! How long changes of the kernel took, and how often policies were switched: figures since the start.

use std::collections::BTreeMap;
use std::time::Duration;

use mwan_api::DurationBucket;
use mwan_config::{Config, Family};

/// Upper ends of the buckets, microseconds: a switch takes a millisecond, a first start with large sets seconds.
const BUCKETS_US: [u64; 8] = [500, 1_000, 2_500, 10_000, 50_000, 250_000, 1_000_000, 5_000_000];

/// How long something took, each time.
#[derive(Clone, Debug, Default)]
pub(super) struct Durations {
    buckets: [u64; BUCKETS_US.len()],
    count: u64,
    sum: Duration,
}

impl Durations {
    /// It took so long once more.
    pub(super) fn note(&mut self, took: Duration) {
        for (bucket, at_most_us) in self.buckets.iter_mut().zip(BUCKETS_US) {
            *bucket += u64::from(took <= Duration::from_micros(at_most_us));
        }
        self.count += 1;
        self.sum += took;
    }

    /// For the status.
    pub(super) fn document(&self) -> mwan_api::Durations {
        let bucket = |(at_most_us, count)| DurationBucket { at_most_us, count };
        mwan_api::Durations {
            buckets: BUCKETS_US.into_iter().zip(self.buckets).map(bucket).collect(),
            count: self.count,
            sum_us: u64::try_from(self.sum.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// How often others came to carry a policy.
#[derive(Debug, Default)]
pub(super) struct Switches(BTreeMap<(String, Family), u64>);

impl Switches {
    /// Once more. Policies that the configuration does not have any more are forgotten.
    pub(super) fn note(&mut self, policy: &str, family: Family, config: &Config) {
        self.0.retain(|(name, _), _| config.policy(name).is_some());
        *self.0.entry((policy.to_owned(), family)).or_default() += 1;
    }

    /// How often.
    pub(super) fn of(&self, policy: &str, family: Family) -> u64 {
        self.0.get(&(policy.to_owned(), family)).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_cumulative() {
        let mut times = Durations::default();
        for us in [100, 1_000, 1_001, 9_000_000] {
            times.note(Duration::from_micros(us));
        }
        let document = times.document();
        let counts: Vec<u64> = document.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [1, 2, 3, 3, 3, 3, 3, 3]);
        assert_eq!((document.count, document.sum_us), (4, 9_002_101));
    }

    #[test]
    fn switches_are_counted_by_policy_and_family() {
        let text = b"[wan.a]\n[policy.p]\nprefer = ['a']\n";
        let config = mwan_config::parse_toml("f", text).config;
        let mut switches = Switches::default();
        switches.note("p", Family::V4, &config);
        switches.note("p", Family::V4, &config);
        assert_eq!((switches.of("p", Family::V4), switches.of("p", Family::V6)), (2, 0));
        switches.note("p", Family::V6, &Config::default());
        assert_eq!(switches.of("p", Family::V4), 0, "there is no such policy any more");
    }
}
