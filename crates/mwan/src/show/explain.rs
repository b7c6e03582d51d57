//! Why a packet leaves where it leaves, as text.

use std::fmt::Write;

use mwan_api::{AskedRule, ExplainedMember, ExplainedWay, Explanation, Flows, Verification};

use super::plain;

/// Rules that did not match which are shown, the last of them; JSON has all.
const MISSED_SHOWN_MAX: usize = 20;

/// Which connections there are to choose from.
pub(super) fn several(flows: &Flows) -> String {
    let line = |flow: &mwan_api::Flow| {
        let on = flow.interface.as_deref().unwrap_or("-");
        let (src, dst) = (end(&flow.src, Some(flow.sport)), end(&flow.dst, Some(flow.dport)));
        format!("{:>10} {:<5} {src} -> {dst} on {}\n", flow.id, flow.proto, plain(on))
    };
    flows.top.iter().map(line).collect()
}

fn end(address: &str, port: Option<u16>) -> String {
    match port.filter(|port| *port != 0) {
        Some(port) if address.contains(':') => format!("[{address}]:{port}"),
        Some(port) => format!("{address}:{port}"),
        None => address.to_owned(),
    }
}

/// An explanation for people.
pub(crate) fn text(explanation: &Explanation) -> String {
    let packet = &explanation.packet;
    let mut out = format!(
        "packet    {} {} -> {}",
        packet.protocol,
        end(&packet.source, packet.source_port),
        end(&packet.destination, packet.destination_port)
    );
    match &packet.input {
        Some(device) => line(&mut out, "", &format!(", in by {}", plain(device))),
        None => line(&mut out, "", ", this machine's own"),
    }
    for note in &explanation.notes {
        line(&mut out, "note", &plain(note));
    }
    if let Some(flow) = &explanation.flow {
        line(&mut out, "flow", &format!("{}: mark {}, leaves as {}", flow.id, flow.mark, flow.leaves_as));
        line(&mut out, "", &format!("          {}", plain(&flow.text)));
    }
    for step in &explanation.steps {
        line(&mut out, &step.step, &plain(&step.text));
    }
    rules(&mut out, &explanation.rules);
    if explanation.decided_by == "unmatched" {
        line(&mut out, "rule", "none matches: the main table decides");
    }
    if let (Some(target), "rule") = (&explanation.target, explanation.decided_by.as_str()) {
        let what = if explanation.members.is_empty() { "target" } else { "policy" };
        line(&mut out, what, &plain(target));
    }
    explanation.members.iter().for_each(|member| line(&mut out, "", &member_text(member)));
    if !explanation.choice_text.is_empty() {
        line(&mut out, "choice", &plain(&explanation.choice_text));
    }
    explanation.ways.iter().for_each(|way| way_text(&mut out, way, explanation.ways.len() > 1));
    if let Some(next) = &explanation.next {
        let text =
            format!("without that the rule {} would decide: {}", plain(&next.rule), plain(&next.carried_by));
        line(&mut out, "else", &text);
    }
    explanation.verified.iter().for_each(|verified| verified_text(&mut out, verified));
    out
}

/// A word in front, and what is to be said.
fn line(out: &mut String, word: &str, text: &str) {
    let _ = match word {
        "" => writeln!(out, "{text}"),
        word => writeln!(out, "{word:<9} {text}"),
    };
}

fn rules(out: &mut String, rules: &[AskedRule]) {
    let missed = rules.iter().filter(|rule| !rule.matched).count();
    let hidden = missed.saturating_sub(MISSED_SHOWN_MAX);
    if hidden > 0 {
        line(out, "rule", &format!("… {hidden} rules before do not match either (--json has them)"));
    }
    for rule in rules.iter().skip(hidden) {
        let name = plain(&rule.rule);
        let text = match (&rule.criterion, &rule.wanted, &rule.value) {
            (Some(criterion), Some(set), Some(value)) if criterion.starts_with("ipset") => {
                format!("{name}: no, {} is not in the set {}", plain(value), plain(set))
            }
            (Some(criterion), Some(wanted), Some(value)) => {
                format!("{name}: no, {criterion} is {}, and it wants {}", plain(value), plain(wanted))
            }
            _ => format!("{name}: matches"),
        };
        line(out, "rule", &text);
    }
}

fn member_text(member: &ExplainedMember) -> String {
    let (name, metric, weight) = (plain(&member.interface), member.metric, member.weight);
    let what = match (member.percent, &member.out) {
        (Some(percent), _) => format!("carries {percent} %"),
        (None, Some(out)) => plain(out),
        (None, None) => "does not carry".to_owned(),
    };
    format!("          {name} (metric {metric}, weight {weight}): {what}")
}

fn way_text(out: &mut String, way: &ExplainedWay, several: bool) {
    let chance = if several { format!("{} %: ", way.percent) } else { String::new() };
    let name = way.interface.as_deref().map(|name| format!("{}, ", plain(name))).unwrap_or_default();
    let mark = &way.mark;
    let by = |device: &str| match &way.gateway {
        Some(gateway) => format!("via {gateway} dev {}", plain(device)),
        None => format!("dev {}", plain(device)),
    };
    let table = way.table.map(|table| format!("table {table}, ")).unwrap_or_default();
    let text = match (way.leads.as_str(), &way.device) {
        ("unreachable", _) => "answered with ICMP unreachable".to_owned(),
        ("blackhole", _) => "dropped".to_owned(),
        (_, Some(device)) => format!("{table}{}", by(device)),
        ("main", None) => "left to the main table".to_owned(),
        (_, None) => table,
    };
    line(out, "way", &format!("{chance}{name}mark {mark}: {text}"));
    match (&way.source, way.translated) {
        (Some(source), true) => line(out, "", &format!("          leaves as {source} (translated)")),
        (Some(source), false) => line(out, "", &format!("          leaves as {source}")),
        (None, true) => line(out, "", "          leaves with an address of that device (translated)"),
        (None, false) => {}
    }
    if let Some(instead) = &way.instead {
        line(out, "", &format!("          if that fell: {}", plain(instead)));
    }
}

fn verified_text(out: &mut String, verified: &Verification) {
    line(
        out,
        "verified",
        match verified.outcome.as_str() {
            "agreed" => "a real packet went the same way",
            "differs" => "a real packet went another way",
            _ => "not found out",
        },
    );
    for compared in &verified.compared {
        let (what, seen, explained) = (&compared.what, plain(&compared.seen), plain(&compared.explained));
        let text = match compared.agree {
            true => format!("          {what} {seen}: as explained"),
            false => format!("          {what} {seen}: explained was {explained}"),
        };
        line(out, "", &text);
    }
    verified.notes.iter().for_each(|note| line(out, "", &format!("          {}", plain(note))));
}
