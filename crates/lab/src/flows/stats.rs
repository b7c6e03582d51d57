//! What one connection has been through.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// An answer later than this is a loss to anyone watching.
const GRACE: Duration = Duration::from_secs(1);
/// More outages than this are not kept one by one.
const OUTAGES_MAX: usize = 10_000;
/// A noisy machine may hold a thread back this long without anything being wrong with the network.
const SILENCE_MIN: Duration = Duration::from_millis(250);

/// What is counted of a connection, and summed up over those of a flow.
#[derive(Default, Debug, Clone, Copy)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages answered in time.
    pub answered: u64,
    /// Messages never answered, or not with what was sent.
    pub lost: u64,
    /// Connections the far end (or the router) reset.
    pub resets: u64,
    /// Connections begun anew after the first.
    pub reconnects: u64,
    /// Attempts to connect that failed.
    pub failures: u64,
    /// TCP segments sent again.
    pub retransmissions: u64,
    /// Longest time between two answers of one connection.
    pub gap_max: Duration,
}

/// Counts and times of one connection.
#[derive(Debug)]
pub struct ConnStats {
    /// What has been counted.
    pub counts: Counts,
    last_ok: Option<Instant>,
    outages: Vec<(Instant, Instant)>,
    pending: VecDeque<(u64, Instant)>,
    silence: Duration,
}

impl ConnStats {
    /// One that sends every `interval`.
    pub fn new(interval: Duration) -> ConnStats {
        ConnStats {
            counts: Counts::default(),
            last_ok: None,
            outages: Vec::new(),
            pending: VecDeque::new(),
            silence: (interval * 3).max(SILENCE_MIN),
        }
    }

    /// Forgets everything but when it was last well.
    pub fn reset(&mut self) {
        let last_ok = self.last_ok;
        *self = ConnStats { silence: self.silence, last_ok, ..ConnStats::new(Duration::ZERO) };
    }

    /// A message went out.
    pub fn sent(&mut self, number: u64, now: Instant) {
        self.counts.sent += 1;
        self.pending.push_back((number, now));
        self.expire(now);
    }

    /// Its answer came back. Late answers and duplicates count as nothing.
    pub fn answered(&mut self, number: u64, now: Instant) {
        self.expire(now);
        if let Some(at) = self.pending.iter().position(|(n, _)| *n == number) {
            self.pending.remove(at);
            self.counts.answered += 1;
        }
        if let Some(last) = self.last_ok.replace(now) {
            let gap = now.saturating_duration_since(last);
            self.counts.gap_max = self.counts.gap_max.max(gap);
            if gap > self.silence && self.outages.len() < OUTAGES_MAX {
                self.outages.push((last, now));
            }
        }
    }

    /// It can never be answered (its connection is gone).
    pub fn lost(&mut self, number: u64) {
        if let Some(at) = self.pending.iter().position(|(n, _)| *n == number) {
            self.pending.remove(at);
            self.counts.lost += 1;
        }
    }

    fn expire(&mut self, now: Instant) {
        while self.pending.front().is_some_and(|(_, at)| now.saturating_duration_since(*at) > GRACE) {
            self.pending.pop_front();
            self.counts.lost += 1;
        }
    }

    /// Messages sent before `moment` of which nothing is known yet.
    pub fn undecided(&mut self, moment: Instant, now: Instant) -> usize {
        self.expire(now);
        self.pending.iter().filter(|(_, at)| *at < moment).count()
    }

    /// No answer for longer than is normal.
    pub fn silent(&self, now: Instant) -> bool {
        self.last_ok.is_none_or(|last| now.saturating_duration_since(last) > self.silence)
    }

    /// Whether it is well since `reference`, and how long after it that took.
    pub fn recovery(&self, reference: Instant, now: Instant) -> (bool, Duration) {
        let around = self.outages.iter().rev().find(|(from, to)| *from <= reference && *to > reference);
        let well = self.last_ok.is_some_and(|last| last >= reference) && !self.silent(now);
        (well, around.map_or(Duration::ZERO, |(_, to)| to.saturating_duration_since(reference)))
    }
}

impl Counts {
    pub(crate) fn add(&mut self, conn: &mut ConnStats, now: Instant) {
        conn.expire(now);
        let more = conn.counts;
        self.sent += more.sent;
        self.answered += more.answered;
        self.lost += more.lost;
        self.resets += more.resets;
        self.reconnects += more.reconnects;
        self.failures += more.failures;
        self.retransmissions += more.retransmissions;
        self.gap_max = self.gap_max.max(more.gap_max);
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "sent {} answered {} lost {} resets {} reconnects {} failed connects {} gap {} ms",
            self.sent,
            self.answered,
            self.lost,
            self.resets,
            self.reconnects,
            self.failures,
            self.gap_max.as_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_found_and_late_answers_do_not_undo_them() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut conn = ConnStats::new(Duration::from_millis(10));
        for n in 0..10 {
            conn.sent(n, at(n * 10));
            if n != 4 {
                conn.answered(n, at(n * 10 + 1));
            }
        }
        assert_eq!(conn.undecided(at(100), at(100)), 1);
        conn.answered(4, at(5000));
        assert_eq!((conn.counts.sent, conn.counts.answered, conn.counts.lost), (10, 9, 1));
    }

    #[test]
    fn recovery_is_counted_from_the_reference() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut conn = ConnStats::new(Duration::from_millis(10));
        conn.sent(0, at(0));
        conn.answered(0, at(1));
        assert!(!conn.recovery(at(2000), at(2500)).0, "silent through the reference");
        conn.sent(1, at(3000));
        conn.answered(1, at(3001));
        assert_eq!(conn.recovery(at(2000), at(3010)), (true, Duration::from_millis(1001)));
        assert_eq!(conn.recovery(at(3001), at(3010)), (true, Duration::ZERO));
    }
}
