//! Charts: the tier that is fine enough, put together to as few points as are wanted.

use std::io;

use mwan_api::{HistoryQuery, Series};

use crate::layout::{Stream, TIERS};
use crate::record::{Health, Record, Traffic};
use crate::report::{FAMILIES, outage};
use crate::ring::{History, Storage};

/// Points if nothing is said.
const POINTS: u32 = 300;
/// Most points.
const POINTS_MAX: u32 = 4000;
/// Time if nothing is said, seconds.
const SPAN_S: u64 = 3600;

/// What is asked for, in order.
struct Range {
    tier: usize,
    from_s: u32,
    step_s: u32,
    points: u32,
}

impl Range {
    /// The coarsest tier that is fine enough, or one that reaches back far enough.
    fn of(query: &HistoryQuery, newest_s: u32, now_s: u64) -> Range {
        let small = |time: u64| u32::try_from(time).unwrap_or(u32::MAX);
        // Nothing is recorded of later times, and nothing is kept that is older.
        let to_s = small(query.to_s.unwrap_or(now_s).min(now_s.max(newest_s.into())).max(1));
        let from_s = query.from_s.unwrap_or_else(|| u64::from(to_s).saturating_sub(SPAN_S));
        let kept = TIERS.map(|tier| u64::from(newest_s).saturating_sub(tier.keeps_s().into()));
        let from_s = small(from_s.max(kept[3]).min(u64::from(to_s) - 1));
        let points = query.points.unwrap_or(POINTS).clamp(1, POINTS_MAX);
        let wanted = (to_s - from_s).div_ceil(points);
        let fine = TIERS.iter().rposition(|tier| tier.step_s <= wanted).unwrap_or(0);
        let reaches = kept.iter().position(|kept| *kept <= from_s.into()).unwrap_or(TIERS.len() - 1);
        let tier = fine.max(reaches);
        let step_s = wanted.next_multiple_of(TIERS[tier].step_s);
        let from_s = from_s - from_s % step_s;
        // Where the begin was put back to a whole point there may be one more than wanted.
        Range { tier, from_s, step_s, points: (to_s - from_s).div_ceil(step_s) }
    }

    fn index(&self, at_s: u32) -> usize {
        ((at_s - self.from_s) / self.step_s) as usize
    }

    fn end_s(&self) -> u32 {
        self.from_s.saturating_add(self.step_s.saturating_mul(self.points))
    }
}

/// The history of a path as it is asked for. `None`: there is no such family, or nothing is recorded of any.
///
/// # Errors
/// It cannot be read.
pub fn series<S: Storage>(
    history: &History<S>,
    query: &HistoryQuery,
    now_s: u64,
) -> io::Result<Option<mwan_api::History>> {
    let family = match &query.family {
        Some(name) => FAMILIES.iter().position(|family| family == name),
        None => first_family(history)?,
    };
    let Some(family) = family else { return Ok(None) };
    let range = Range::of(query, history.newest_s().unwrap_or(0), now_s);
    let times = (range.from_s, range.end_s());
    let mut health = vec![Health::default(); range.points as usize];
    // Bytes are the device's: they are of all seconds in which anything was known of it.
    let mut seconds = vec![0; range.points as usize];
    let mut traffic = vec![Traffic::default(); range.points as usize];
    history.slots(Stream::Path(family), range.tier, times, |at, record| {
        let point = &mut health[range.index(at)];
        *point = Health::merge([*point, record].into_iter());
        seconds[range.index(at)] += record.known_s;
    })?;
    let mut of_other = vec![0; range.points as usize];
    history.slots(Stream::Path(1 - family), range.tier, times, |at, record: Health| {
        of_other[range.index(at)] += record.known_s;
    })?;
    seconds.iter_mut().zip(of_other).for_each(|(known, other)| *known = other.max(*known));
    history.slots(Stream::Traffic, range.tier, times, |at, record| {
        let point = &mut traffic[range.index(at)];
        *point = Traffic::merge([*point, record].into_iter());
    })?;
    let (from_ms, to_ms) = (u64::from(times.0) * 1000, u64::from(times.1) * 1000);
    let outages = history.outages(family)?.into_iter().filter(|outage| outage.touches(from_ms, to_ms));
    Ok(Some(mwan_api::History {
        schema: mwan_api::SCHEMA_HISTORY.to_owned(),
        interface: history.name().to_owned(),
        family: FAMILIES[family].to_owned(),
        from_s: range.from_s.into(),
        step_s: range.step_s.into(),
        series: points(&health, &traffic, &seconds, range.step_s),
        outages: outages.map(outage).collect(),
    }))
}

/// The first family of which anything is recorded.
fn first_family<S: Storage>(history: &History<S>) -> io::Result<Option<usize>> {
    for family in 0..FAMILIES.len() {
        for tier in [TIERS.len() - 1, 0] {
            let mut any = false;
            history.slots(Stream::Path(family), tier, (0, u32::MAX), |_, _: Health| any = true)?;
            if any {
                return Ok(Some(family));
            }
        }
    }
    Ok(None)
}

/// `known`: seconds of each point to which its traffic belongs.
fn points(health: &[Health], traffic: &[Traffic], known: &[u32], step_s: u32) -> Series {
    let mut series = Series::default();
    for ((health, traffic), counted_s) in health.iter().zip(traffic).zip(known) {
        let known = health.known_s > 0;
        let answered = health.answered_s > 0;
        let ms = |us: u32| answered.then(|| rounded(f64::from(us) / 1e3));
        series.up.push(known.then(|| rounded(f64::from(health.usable_s) / f64::from(health.known_s))));
        series.rtt_ms.push(ms(health.rtt_us));
        series.rtt_max_ms.push(ms(health.rtt_max_us));
        series.loss.push(health.loss_percent().map(rounded));
        series.jitter_ms.push(ms(health.jitter_us));
        let seconds = if *counted_s > 0 { *counted_s } else { step_s };
        #[allow(clippy::cast_precision_loss)]
        let rate = |bytes: Option<u64>| bytes.map(|b| (b as f64 * 8.0 / f64::from(seconds)).round());
        series.rx_bps.push(rate(traffic.rx));
        series.tx_bps.push(rate(traffic.tx));
    }
    series
}

/// As many places as mean anything, so that documents stay small.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
