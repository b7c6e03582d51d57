//! Plans: what would be in the kernel, what differs, and what that means for connections.

use std::fmt::Write;

use mwan_api::{Fate, Impact, Plan};

use super::plain;
use super::status::amount;

/// `mwan plan`.
pub(super) fn plan(plan: &Plan) -> String {
    let mut text = format!("# nftables\n{}\n# ip rules\n", plan.nft);
    for rule in &plan.rules {
        let _ = writeln!(text, "{rule}");
    }
    text.push_str("\n# routes\n");
    for route in &plan.routes {
        let _ = writeln!(text, "{route}");
    }
    text.push_str("\n# changes to the kernel as it is now\n");
    text.push_str(&changes(plan));
    text.push_str(&plan.impact.as_ref().map(impact).unwrap_or_default());
    text
}

/// What another configuration means for present connections, in a line.
pub(super) fn impact_line(impact: &Impact) -> String {
    format!(
        "of {} connections {} stay, {} move, {} are reset",
        impact.total, impact.stay, impact.moves, impact.reset
    )
}

/// The same, with where they go and which they are.
pub(super) fn impact(impact: &Impact) -> String {
    let mut text = format!("\n# {}\n", impact_line(impact));
    let bytes = |bytes: Option<u64>| bytes.map(|b| format!(" ({}B)", amount(b))).unwrap_or_default();
    for way in &impact.ways {
        let (word, to) = fate(way.fate, &way.to);
        let _ = writeln!(text, "{:>8} {word:8} {}{to}{}", way.flows, plain(&way.from), bytes(way.bytes));
    }
    for flow in &impact.top {
        let (word, to) = fate(flow.fate, &flow.to);
        let end = |ip: &str, port: u16| {
            if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") }
        };
        let (src, dst) = (end(&flow.src, flow.sport), end(&flow.dst, flow.dport));
        let (proto, from) = (&flow.proto, plain(&flow.from));
        let _ = writeln!(text, "{word:8} {proto} {src} -> {dst} {from}{to}{}", bytes(Some(flow.bytes)));
    }
    for source in &impact.sources {
        let _ = writeln!(text, "{:>8} of {}", source.flows, source.src);
    }
    text
}

fn fate(fate: Fate, to: &str) -> (&'static str, String) {
    match fate {
        Fate::Stay => ("stay", String::new()),
        Fate::Move => ("move", format!(" -> {}", plain(to))),
        Fate::Reset => ("reset", format!(" -> {}", plain(to))),
    }
}

/// `mwan diff`.
pub(super) fn changes(plan: &Plan) -> String {
    if plan.changes.is_empty() {
        return String::from("# none\n");
    }
    plan.changes.iter().map(|line| format!("{line}\n")).collect()
}
