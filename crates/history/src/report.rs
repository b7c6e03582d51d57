//! How the WANs were in a month: evidence.

use std::io;

use mwan_api::{Gap, Report, ReportInterface, ReportLatency, ReportPath};

use crate::layout::{HOURS, OUTAGES_MAX, Stream, TIERS};
use crate::outage::Outage;
use crate::record::{Health, Record, Traffic};
use crate::ring::{History, Storage};
use crate::time::Month;

/// Names of the families, by number.
pub(crate) const FAMILIES: [&str; 2] = ["ipv4", "ipv6"];
/// Gaps that are told of.
const GAPS_MAX: usize = 100;
/// An hour may lack so many seconds without being told of as a gap: a restart of the daemon.
const GAP_MIN_S: u32 = 10;

/// The report of a month made at `now_s`.
pub fn report(month: Month, now_s: u64, interfaces: Vec<ReportInterface>, problems: Vec<String>) -> Report {
    let (from_s, to_s) = month.range_s();
    Report {
        schema: mwan_api::SCHEMA_REPORT.to_owned(),
        month: month.to_string(),
        from_s: from_s.into(),
        to_s: u64::from(to_s).min(now_s).max(from_s.into()),
        made_s: now_s,
        interfaces,
        problems,
    }
}

/// How an interface was in a month. `None`: nothing of it is known.
///
/// # Errors
/// It cannot be read.
pub fn interface<S: Storage>(
    history: &History<S>,
    month: Month,
    now_s: u64,
) -> io::Result<Option<ReportInterface>> {
    let (from_s, to_s) = month.range_s();
    let to_s = u32::try_from(now_s).unwrap_or(u32::MAX).clamp(from_s, to_s);
    let mut traffic = Traffic::default();
    history.slots(Stream::Traffic, HOURS, (from_s, to_s), |_, record| {
        traffic = Traffic::merge([traffic, record].into_iter());
    })?;
    let mut paths = Vec::new();
    for family in 0..FAMILIES.len() {
        paths.extend(path(history, family, (from_s, to_s))?);
    }
    if paths.is_empty() {
        return Ok(None);
    }
    let interface = history.name().to_owned();
    Ok(Some(ReportInterface { interface, rx_bytes: traffic.rx, tx_bytes: traffic.tx, paths }))
}

fn path<S: Storage>(
    history: &History<S>,
    family: usize,
    (from_s, to_s): (u32, u32),
) -> io::Result<Option<ReportPath>> {
    let mut hours = Vec::new();
    history.slots(Stream::Path(family), HOURS, (from_s, to_s), |at, hour: Health| hours.push((at, hour)))?;
    let all = Health::merge(hours.iter().map(|(_, hour)| *hour));
    let (from_ms, to_ms) = (u64::from(from_s) * 1000, u64::from(to_s) * 1000);
    let kept = history.outages(family)?;
    let outages_incomplete =
        kept.len() == OUTAGES_MAX && kept.first().is_some_and(|first| first.start_ms >= from_ms);
    let outages: Vec<Outage> = kept.into_iter().filter(|o| o.touches(from_ms, to_ms)).collect();
    if all.known_s == 0 && outages.is_empty() {
        return Ok(None);
    }
    let longest = outages.iter().map(|outage| outage.within_ms(from_ms, to_ms, to_ms)).max();
    let (latencies, sent, received) = history.measured(family, (from_s, to_s))?;
    // A reply may be counted in the day after that of its probe.
    let lost = sent.saturating_sub(received);
    let percentile = |percent| latencies.percentile_us(percent, all.rtt_max_us).map(ms);
    let latency = percentile(50).zip(percentile(95)).zip(percentile(99)).map(|((p50_ms, p95_ms), p99_ms)| {
        let (mean_ms, max_ms) = (ms(all.rtt_us.into()), ms(all.rtt_max_us.into()));
        ReportLatency { p50_ms, p95_ms, p99_ms, mean_ms, max_ms }
    });
    Ok(Some(ReportPath {
        family: FAMILIES[family].to_owned(),
        known_s: all.known_s.into(),
        unknown_s: (to_s - from_s).saturating_sub(all.known_s).into(),
        usable_s: all.usable_s.into(),
        availability_percent: percent(all.usable_s.into(), all.known_s.into()),
        latency,
        jitter_ms: (all.answered_s > 0).then(|| ms(all.jitter_us.into())),
        probes_sent: sent,
        probes_lost: lost,
        loss_percent: percent(lost, sent),
        outages: outages.into_iter().map(outage).collect(),
        outages_incomplete,
        longest_outage_s: longest.map(|ms| ms.div_ceil(1000)),
        gaps: gaps(&hours, (from_s, to_s)),
    }))
}

/// Times of which not everything is known. The hour that goes on is known up to its last minute.
fn gaps(hours: &[(u32, Health)], (from_s, to_s): (u32, u32)) -> Vec<Gap> {
    let step = TIERS[HOURS].step_s;
    let mut gaps: Vec<Gap> = Vec::new();
    let mut hours = hours.iter().peekable();
    let mut at = from_s;
    while at < to_s {
        let known = hours.next_if(|(hour, _)| *hour == at).map_or(0, |(_, hour)| hour.known_s);
        let end = (at + step).min(to_s);
        let unknown = (end - at).saturating_sub(known);
        let slack = if end == to_s { 60 } else { GAP_MIN_S };
        if unknown > slack {
            if let Some(gap) = gaps.last_mut().filter(|gap| gap.to_s == u64::from(at)) {
                gap.to_s = end.into();
                gap.unknown_s += u64::from(unknown);
            } else if gaps.len() == GAPS_MAX {
                break;
            } else {
                gaps.push(Gap { from_s: at.into(), to_s: end.into(), unknown_s: unknown.into() });
            }
        }
        at = end;
    }
    gaps
}

/// Rounded down, as availability is: 99.999 is not 100.
#[allow(clippy::cast_precision_loss)]
fn percent(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| (part * 100_000 / whole) as f64 / 1e3)
}

#[allow(clippy::cast_precision_loss)]
fn ms(us: u64) -> f64 {
    ((us + 5) / 10) as f64 / 100.0
}

/// For the wire.
pub(crate) fn outage(outage: Outage) -> mwan_api::Outage {
    mwan_api::Outage {
        start_ms: outage.start_ms,
        end_ms: outage.end.map(|end| end.at_ms),
        end_seen: outage.end.is_some_and(|end| end.seen),
        code: outage.code,
        text: outage.text,
    }
}
