//! Loss and latency of a target, and what `check_quality` makes of them.

use std::collections::VecDeque;
use std::time::Duration;

use mwan_config::{ProbeTarget, Quality, Tracking};

/// Probes remembered of a target if the configuration names no window: enough for a percentage in status.
const RECENT_DEFAULT: u32 = 20;
/// Longest round trip that is believed of a file: more than the longest timeout.
#[cfg(feature = "record")]
pub(crate) const RTT_MAX: Duration = Duration::from_secs(24 * 3600);
/// Most probes that a file may remember of a target: more than the longest window.
#[cfg(feature = "record")]
const PROBES_MAX: usize = 4096;
/// The first verdict needs this share of the window: one lost probe of two is no half.
const FIRST_VERDICT_SHARE: usize = 2;

/// Loss and latency of some probes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Figures {
    /// Percent of the probes that were not answered, rounded down.
    pub loss_percent: u8,
    /// Mean round-trip time of those that were, milliseconds rounded down; `None` if none was.
    pub latency_ms: Option<u32>,
}

impl Figures {
    /// Of `answered` out of `sent` probes, which took `total` together.
    pub(crate) fn new(sent: u32, answered: u32, total: Duration) -> Self {
        let lost = u64::from(sent.saturating_sub(answered));
        let loss = lost * 100 / u64::from(sent.max(1));
        let latency =
            total.checked_div(answered).map(|mean| u32::try_from(mean.as_millis()).unwrap_or(u32::MAX));
        Figures { loss_percent: loss.min(100) as u8, latency_ms: latency }
    }
}

/// What thresholds say of figures.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Good,
    /// Neither good nor bad.
    Between,
    Bad,
}

/// mwan3's comparison. Nothing answered is bad whatever the thresholds.
pub(crate) fn judge(quality: &Quality, figures: Figures) -> Verdict {
    let Quality {
        failure_latency_ms, recovery_latency_ms, failure_loss_percent, recovery_loss_percent, ..
    } = *quality;
    match figures.latency_ms {
        None => Verdict::Bad,
        Some(latency) if figures.loss_percent >= failure_loss_percent || latency >= failure_latency_ms => {
            Verdict::Bad
        }
        Some(latency) if figures.loss_percent <= recovery_loss_percent && latency <= recovery_latency_ms => {
            Verdict::Good
        }
        Some(_) => Verdict::Between,
    }
}

/// The last probes of a target.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Recent {
    /// Round-trip times, oldest first; `None` is a lost probe.
    probes: VecDeque<Option<Duration>>,
    /// It was bad, and has not been good since.
    poor: bool,
}

impl Recent {
    /// Whether these can have been the last probes; they may have been read from a file.
    #[cfg(feature = "record")]
    pub(crate) fn is_sound(&self) -> bool {
        self.probes.len() <= PROBES_MAX && self.probes.iter().flatten().all(|rtt| *rtt <= RTT_MAX)
    }

    /// Takes note of one more probe, and judges anew where a window is configured.
    pub(crate) fn push(&mut self, settings: &Tracking, probe: Option<Duration>) {
        let window = settings.quality.map(|q| q.window).filter(|w| *w > 0);
        let kept = window.unwrap_or(RECENT_DEFAULT) as usize;
        self.probes.push_back(probe);
        while self.probes.len() > kept {
            self.probes.pop_front();
        }
        let Some(quality) = settings.quality.filter(|_| window.is_some()) else {
            self.poor = false;
            return;
        };
        if self.probes.len() * FIRST_VERDICT_SHARE < kept {
            return;
        }
        match judge(&quality, self.figures()) {
            Verdict::Bad => self.poor = true,
            Verdict::Good => self.poor = false,
            // The band between the thresholds: what it was.
            Verdict::Between => {}
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let answered = self.probes.iter().flatten();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Figures::new(count(self.probes.len()), count(answered.clone().count()), answered.sum())
    }

    /// Whether the last probes, so many of them, were all lost.
    pub(crate) fn ends_with_losses(&self, count: usize) -> bool {
        self.probes.len() >= count && self.probes.iter().rev().take(count).all(Option::is_none)
    }

    pub(crate) fn poor(&self) -> bool {
        self.poor
    }
}

/// A target that answers, but not well enough.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct PoorTarget {
    /// Which.
    pub target: ProbeTarget,
    /// How it is.
    pub figures: Figures,
    /// Loss up to which it would be good again.
    pub loss_percent_max: u8,
    /// Latency up to which it would be good again.
    pub latency_ms_max: u32,
}

impl std::fmt::Display for PoorTarget {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} loses {} % (good: {} %)",
            self.target, self.figures.loss_percent, self.loss_percent_max
        )?;
        if let Some(latency) = self.figures.latency_ms {
            write!(f, " and takes {latency} ms (good: {} ms)", self.latency_ms_max)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
