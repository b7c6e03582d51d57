//! How an interface was, as text.

use std::fmt::Write;

use mwan_api::History;

use super::plain;

/// A line for each point, then the outages.
pub(super) fn table(history: &History) -> String {
    let mut out = format!(
        "{} {}, each line {} s (UTC)\n{:<19} {:>7} {:>9} {:>9} {:>7} {:>9} {:>10} {:>10}\n",
        plain(&history.interface),
        history.family,
        history.step_s,
        "from",
        "up %",
        "rtt ms",
        "max ms",
        "loss %",
        "jitter ms",
        "rx Mbit/s",
        "tx Mbit/s"
    );
    let s = &history.series;
    for (index, up) in s.up.iter().enumerate() {
        let figure = |list: &[Option<f64>], scale: f64, places: usize| {
            let value = list.get(index).copied().flatten();
            value.map_or("-".to_owned(), |value| format!("{:.places$}", value * scale))
        };
        let from = mwan_api::calendar::stamp(history.from_s + index as u64 * history.step_s);
        let up = up.map_or("-".to_owned(), |up| format!("{:.2}", up * 100.0));
        let _ = writeln!(
            out,
            "{from} {up:>7} {:>9} {:>9} {:>7} {:>9} {:>10} {:>10}",
            figure(&s.rtt_ms, 1.0, 1),
            figure(&s.rtt_max_ms, 1.0, 1),
            figure(&s.loss, 1.0, 2),
            figure(&s.jitter_ms, 1.0, 1),
            figure(&s.rx_bps, 1e-6, 2),
            figure(&s.tx_bps, 1e-6, 2),
        );
    }
    for outage in &history.outages {
        let start = mwan_api::calendar::stamp(outage.start_ms / 1000);
        let end = match outage.end_ms {
            None => "now".to_owned(),
            Some(end) => mwan_api::calendar::stamp(end / 1000),
        };
        let unseen = if outage.end_ms.is_some() && !outage.end_seen { " or later" } else { "" };
        let _ = writeln!(out, "outage from {start} to {end}{unseen}: {}", plain(&outage.text));
    }
    out
}
