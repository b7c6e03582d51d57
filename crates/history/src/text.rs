//! The report as text for a terminal.

use std::fmt::Write;

use mwan_api::calendar::stamp;
use mwan_api::{Outage, Report, ReportInterface, ReportPath};

/// The report as text.
pub fn text(report: &Report) -> String {
    let mut out = format!("{}\n", title(report));
    for interface in &report.interfaces {
        add_interface(&mut out, interface, report);
    }
    if report.interfaces.is_empty() {
        out.push_str("\nNothing is recorded of this month.\n");
    }
    for problem in &report.problems {
        let _ = writeln!(out, "\nNot read: {}", plain(problem));
    }
    let _ = writeln!(out, "\n{HOW}");
    out
}

/// How the figures come about.
pub(crate) const HOW: &str = "Availability and means are of the time that is recorded. An outage begins when mwan stops using the link, \
and ends when it may use it again. Percentiles are of samples two seconds apart; loss is of probes sent while the link was usable.";

fn add_interface(out: &mut String, interface: &ReportInterface, report: &Report) {
    let _ = writeln!(out, "\n{}", plain(&interface.interface));
    for path in &interface.paths {
        let _ = writeln!(out, "  {}", plain(&path.family));
        for (name, value) in rows(path) {
            let _ = writeln!(out, "    {name:<14} {value}");
        }
        for outage in &path.outages {
            let _ = writeln!(out, "      {}", outage_line(outage, report));
        }
        for line in gap_lines(path) {
            let _ = writeln!(out, "      {line}");
        }
    }
    let _ = writeln!(out, "  {:<16} {}", "bytes", bytes_line(interface));
}

pub(crate) fn title(report: &Report) -> String {
    let open = if report.made_s <= report.to_s { ", which is not over" } else { "" };
    format!("WAN report of {}{open} (times are UTC), made {}", plain(&report.month), stamp(report.made_s))
}

/// Names and values of a path, what is not known included.
pub(crate) fn rows(path: &ReportPath) -> Vec<(&'static str, String)> {
    let down = path.known_s.saturating_sub(path.usable_s);
    let availability = match path.availability_percent {
        Some(percent) => format!(
            "{percent:.3} % (unusable {} of {} that are known)",
            duration(down),
            duration(path.known_s)
        ),
        None => "not known".to_owned(),
    };
    let latency = match &path.latency {
        Some(l) => format!(
            "p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms; mean {:.1} ms, longest {:.1} ms",
            l.p50_ms, l.p95_ms, l.p99_ms, l.mean_ms, l.max_ms
        ),
        None => "not known: no answers to probes".to_owned(),
    };
    let loss = match path.loss_percent {
        Some(percent) => {
            format!("{percent:.3} % ({} of {} probes while usable)", path.probes_lost, path.probes_sent)
        }
        None => "not known: no probes".to_owned(),
    };
    let mut outages = path.outages.len().to_string();
    if path.outages_incomplete {
        outages = format!("at least {outages}, older ones are not kept");
    }
    if let Some(longest) = path.longest_outage_s {
        let _ = write!(outages, "; longest {}", duration(longest));
    }
    let mut rows = vec![("availability", availability)];
    if path.unknown_s > 0 {
        rows.push(("not recorded", duration(path.unknown_s)));
    }
    rows.push(("latency", latency));
    rows.extend(path.jitter_ms.map(|ms| ("jitter", format!("{ms:.1} ms"))));
    rows.push(("loss", loss));
    rows.push(("outages", outages));
    rows
}

/// Begin, end, length and cause.
pub(crate) fn outage_cells(outage: &Outage, report: &Report) -> [String; 4] {
    let start = stamp(outage.start_ms / 1000);
    let end = match outage.end_ms {
        None => "goes on".to_owned(),
        Some(end) if outage.end_seen => stamp(end / 1000),
        Some(end) => format!("not seen, after {}", stamp(end / 1000)),
    };
    let until = outage.end_ms.unwrap_or(report.to_s * 1000);
    let least = if outage.end_seen { "" } else { "at least " };
    let length = format!("{least}{}", duration(until.saturating_sub(outage.start_ms).div_ceil(1000)));
    [start, end, length, format!("{} ({})", plain(&outage.text), plain(&outage.code))]
}

fn outage_line(outage: &Outage, report: &Report) -> String {
    let [start, end, length, cause] = outage_cells(outage, report);
    let to = if outage.end_ms.is_some() { " to" } else { "," };
    format!("{start}{to} {end}: {length}, {cause}")
}

/// Times of which something is missing.
pub(crate) fn gap_lines(path: &ReportPath) -> impl Iterator<Item = String> {
    path.gaps.iter().map(|gap| {
        let (from, to) = (stamp(gap.from_s), stamp(gap.to_s));
        format!("{from} to {to}: not recorded for {}", duration(gap.unknown_s))
    })
}

pub(crate) fn bytes_line(interface: &ReportInterface) -> String {
    let amount = |bytes: Option<u64>| bytes.map_or("not known".to_owned(), size);
    format!("received {}, sent {}", amount(interface.rx_bytes), amount(interface.tx_bytes))
}

/// `3 d 4 h`, `5 min 6 s`: the two largest units.
fn duration(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(unit, _)| seconds >= *unit).unwrap_or(units.len() - 1);
    let mut rest = seconds;
    let mut out = Vec::new();
    for (unit, name) in &units[first..units.len().min(first + 2)] {
        if rest >= *unit || out.is_empty() {
            out.push(format!("{} {name}", rest / unit));
        }
        rest %= unit;
    }
    out.join(" ")
}

/// In units of a thousand, as providers count.
#[allow(clippy::cast_precision_loss)]
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Without anything a terminal would take for a command.
fn plain(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_debug().collect::<Vec<_>>() } else { vec![c] })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_sizes_are_for_people() {
        let lengths = [0, 59, 60, 61, 3600, 3660, 90_061, 86_400].map(duration);
        assert_eq!(lengths, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h", "1 d"]);
        let sizes = [0, 999, 1000, 999_949, 999_950, 12_345_678_901, u64::MAX].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "12.3 GB", "18.4 EB"]);
    }
}
