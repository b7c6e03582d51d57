//! Why something is as it is, for people.

use std::fmt::Write;

use mwan_api::{Event, Why, WhyInterface, WhyPath, WhyPolicy, WhyRule};

use super::plain;
use crate::cli::utc;

/// Everything that has the name.
pub(super) fn text(why: &Why) -> String {
    let name = plain(&why.name);
    let parts = [
        why.interface.as_ref().map(|found| interface(&name, found)),
        why.policy.as_ref().map(|found| policy(&name, found)),
        why.rule.as_ref().map(|found| rule(&name, found)),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join("\n")
}

fn interface(name: &str, found: &WhyInterface) -> String {
    let disabled = if found.enabled { "" } else { ", disabled in the configuration" };
    let mut text = format!("interface {name} ({}{disabled})\n", plain(&found.device));
    text.extend(found.paths.iter().map(path));
    text + &changes(&found.changes)
}

fn path(path: &WhyPath) -> String {
    let carries = match (path.carries, path.usable) {
        (true, _) => ", carries new connections",
        (false, true) => ", carries none",
        (false, false) => "",
    };
    let mut text = format!("{:9} {} for {}{carries}\n", path.family, path.status, length(path.since_s));
    let mut line = |word: &str, what: &str| {
        let _ = writeln!(text, "  {word:7} {}", plain(what));
    };
    line("because", &path.reason.text);
    path.aside.iter().for_each(|aside| line("but", &aside.text));
    path.fault.iter().for_each(|fault| line("fault", &fault.text));
    if let Some(ms) = path.worst_case_detection_ms {
        line(
            "decides",
            &format!(
                "{} of {} targets a round; offline after {} bad rounds (at most {}.{} s), online after {} good ones",
                path.reliability,
                path.targets.len(),
                path.down,
                ms / 1000,
                ms % 1000 / 100,
                path.up
            ),
        );
    }
    path.targets.iter().for_each(|target| line("target", target));
    text
}

fn policy(name: &str, found: &WhyPolicy) -> String {
    let mut text = format!("policy {name}\n");
    for carrier in &found.families {
        let unused = if carrier.used { "" } else { " (no rule leads to it)" };
        let since = since(carrier.since_ms);
        let _ = writeln!(text, "{:9} {}{unused}{since}", carrier.family, plain(&carrier.carrier));
        let _ = writeln!(text, "  {:7} {}", "because", plain(&carrier.reason.text));
        text.extend(carrier.members.iter().map(|member| format!("  {:7} {}\n", "member", plain(member))));
    }
    let rules = if found.rules.is_empty() { "none".to_owned() } else { found.rules.join(", ") };
    let _ = writeln!(text, "{:9} {}", "rules", plain(&rules));
    text + &changes(&found.changes)
}

fn rule(name: &str, found: &WhyRule) -> String {
    let mut text = format!("rule {name} (number {})\n", found.position);
    let wants = if found.wants.is_empty() { "any packet".to_owned() } else { found.wants.join(", ") };
    let _ = writeln!(text, "{:9} {}", "wants", plain(&wants));
    for target in &found.families {
        let via = if target.target == target.carrier {
            String::new()
        } else {
            format!(", carried by {}", plain(&target.carrier))
        };
        let since = since(target.since_ms);
        let _ = writeln!(
            text,
            "{:9} {}{via}{since}; {} connections so far",
            target.family,
            plain(&target.target),
            target.packets
        );
        let _ = writeln!(text, "  {:7} {}", "because", plain(&target.reason.text));
    }
    text + &changes(&found.changes)
}

fn since(since_ms: Option<u64>) -> String {
    since_ms.map(|ms| format!(" since {}", utc(ms))).unwrap_or_default()
}

fn changes(list: &[Event]) -> String {
    if list.is_empty() {
        return format!("{:9} none that is remembered\n", "changes");
    }
    let line = |event: &Event| format!("{:9} {} {}\n", "change", utc(event.time_ms), plain(&event.text));
    list.iter().map(line).collect()
}

/// As people say it.
fn length(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds / 60),
        7200..=172_799 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_people_say_them() {
        assert_eq!(
            [0, 119, 120, 7199, 7200, 172_800].map(length),
            ["0 s", "119 s", "2 min", "119 min", "2 h", "2 days"]
        );
    }
}
