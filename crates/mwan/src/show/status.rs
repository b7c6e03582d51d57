//! The status as text, in the words and shape users know from `mwan3`.

use std::fmt::Write;

use mwan_api::{Carrier, Interface, Networks, Path, Rule, Status};

use super::plain;

/// `mwan status`.
pub(super) fn status(status: &Status) -> String {
    let mut text = [interfaces(status), policies(status), connected(status), rules(status)].join("\n");
    if !status.problems.is_empty() {
        text.push_str("\nProblems:\n");
        for problem in &status.problems {
            let _ = writeln!(text, " {}", plain(problem));
        }
    }
    text
}

/// `mwan interfaces`.
pub(super) fn interfaces(status: &Status) -> String {
    interfaces_with_family(status, false)
}

/// The same; mwan4 names the family of an interface that has only one, too.
pub(super) fn interfaces_with_family(status: &Status, always: bool) -> String {
    let mut text = String::from("Interface status:\n");
    for interface in &status.interfaces {
        for path in &interface.paths {
            let _ = writeln!(text, "{}", interface_line(interface, path, always));
        }
        if interface.paths.is_empty() {
            let _ =
                writeln!(text, " interface {} is disabled and tracking is disabled", plain(&interface.name));
        }
    }
    text
}

fn interface_line(interface: &Interface, path: &Path, family: bool) -> String {
    let name = plain(&interface.name);
    let family =
        if family || interface.paths.len() > 1 { format!(" ({})", path.family) } else { String::new() };
    if path.usable {
        return format!(
            " interface {name}{family} is online {}, uptime {} and tracking is {}{}",
            hms(path.since_s),
            hms(path.uptime_s),
            path.tracking,
            if path.drained { " (drained)" } else { "" }
        );
    }
    let missing = if path.missing > 0 { format!(" ({})", path.missing) } else { String::new() };
    format!(" interface {name}{family} is offline{missing} and tracking is {}", path.tracking)
}

/// `HHh:MMm:SSs`; hours grow as they need.
fn hms(seconds: u64) -> String {
    format!("{:02}h:{:02}m:{:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// `mwan policies`.
pub(super) fn policies(status: &Status) -> String {
    let mut text = String::new();
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(text, "{}Current {family} policies:", if family == "ipv4" { "" } else { "\n" });
        for policy in &status.policies {
            let _ = writeln!(text, "{}:", plain(&policy.name));
            text.push_str(&carrier(if family == "ipv4" { &policy.ipv4 } else { &policy.ipv6 }));
        }
    }
    text
}

fn carrier(carrier: &Carrier) -> String {
    match &carrier.last_resort {
        Some(resort) => format!(" {resort}\n"),
        None if carrier.members.is_empty() => " not in the kernel\n".to_owned(),
        None => {
            carrier.members.iter().map(|m| format!(" {} ({}%)\n", plain(&m.interface), m.percent)).collect()
        }
    }
}

/// `mwan connected`.
pub(super) fn connected(status: &Status) -> String {
    let networks = |n: &Networks, family: &str| {
        let list = if family == "ipv4" { &n.ipv4 } else { &n.ipv6 };
        list.iter().map(|net| format!("{}\n", net.trim_end_matches("/32").trim_end_matches("/128"))).collect()
    };
    let mut text = String::new();
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(
            text,
            "{}Directly connected {family} networks:",
            if family == "ipv4" { "" } else { "\n" }
        );
        let own: String = networks(&status.connected, family);
        let custom: String = networks(&status.custom, family);
        text.push_str(&own);
        text.push_str(&custom);
    }
    text
}

/// `mwan rules`.
pub(super) fn rules(status: &Status) -> String {
    let mut text = String::new();
    for family in ["ipv4", "ipv6"] {
        let _ = writeln!(text, "{}Active {family} user rules:", if family == "ipv4" { "" } else { "\n" });
        let active = |rule: &&Rule| rule.waiting_for.is_none();
        for rule in status.rules.iter().filter(active).filter(|r| r.family == family) {
            text.extend(rule.logged.iter().map(|logged| log_line(rule, logged)));
            let _ = writeln!(text, "{}", rule_line(rule));
        }
    }
    let sticky: String = status
        .rules
        .iter()
        .flat_map(|rule| rule.sticky_entries.iter().map(move |e| (rule, e)))
        .map(|(rule, entry)| sticky_line(rule, entry))
        .collect();
    // Behind everything mwan3 prints, and only if there is something to say.
    if !sticky.is_empty() {
        let _ = write!(text, "\nSticky sources:\n{sticky}");
    }
    let waiting: String = status.rules.iter().filter_map(waiting_line).collect();
    if !waiting.is_empty() {
        let _ = write!(text, "\nWaiting for their interface:\n{waiting}");
    }
    text
}

fn waiting_line(rule: &Rule) -> Option<String> {
    let interface = plain(rule.waiting_for.as_ref()?);
    Some(format!(" {} {}: {interface} has no device\n", plain(&rule.name), rule.family))
}

fn sticky_line(rule: &Rule, entry: &mwan_api::StickyEntry) -> String {
    let to = entry.destination.as_ref().map(|ip| format!(" to {ip}")).unwrap_or_default();
    let (rule, interface) = (plain(&rule.name), plain(&entry.interface));
    format!(" {rule}: {}{to} on {interface} for {} s more\n", entry.source, entry.left_s)
}

/// What has gone to the kernel log has a line of its own before the rule's, as in mwan3.
fn log_line(rule: &Rule, logged: &mwan_api::Logged) -> String {
    format!("{}\n", columns(rule, logged.packets, logged.bytes, "LOG      "))
}

fn rule_line(rule: &Rule) -> String {
    let name = plain(if rule.sticky { &rule.name } else { &rule.target });
    columns(rule, rule.packets, rule.bytes, &format!("{} {name}", if rule.sticky { "S" } else { "-" }))
}

/// The columns of `iptables -L -n -v`, which mwan3 shows: packets, bytes, target, protocol, addresses.
fn columns(rule: &Rule, packets: u64, bytes: u64, target: &str) -> String {
    let v4 = rule.family == "ipv4";
    let any = if v4 { "0.0.0.0/0" } else { "::/0" };
    let or_any = |text: &str| if text.is_empty() { any.to_owned() } else { text.to_owned() };
    format!(
        "{:>5} {:>5} {target}  {}  {}  *      *       {:<20} {:<20} {}",
        amount(packets),
        amount(bytes),
        rule.protocol,
        if v4 { "--" } else { "  " },
        or_any(&rule.source),
        or_any(&rule.destination),
        rule.more,
    )
}

/// As iptables abbreviates counters: 99999 in full, then K, M, G.
pub(super) fn amount(n: u64) -> String {
    match n {
        0..=99_999 => n.to_string(),
        100_000..=9_999_999 => format!("{}K", (n + 500) / 1000),
        10_000_000..=9_999_999_999 => format!("{}M", (n + 500_000) / 1_000_000),
        _ => format!("{}G", (n + 500_000_000) / 1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_amounts_look_as_in_mwan3() {
        assert_eq!(hms(54), "00h:00m:54s");
        assert_eq!(hms(50 * 3600 + 39 * 60 + 26), "50h:39m:26s");
        assert_eq!(hms(345 * 3600 + 27 * 60 + 3), "345h:27m:03s");
        assert_eq!([amount(12_381), amount(99_999), amount(100_000)], ["12381", "99999", "100K"]);
    }

    #[test]
    fn rule_lines_are_those_of_the_wiki() {
        let mut rule = Rule {
            name: "https".into(),
            family: "ipv4".into(),
            target: "balanced".into(),
            sticky: true,
            packets: 11,
            bytes: 851,
            protocol: "tcp".into(),
            source: String::new(),
            destination: String::new(),
            more: "multiport dports 443 ".into(),
            sticky_entries: Vec::new(),
            logged: None,
            waiting_for: None,
        };
        assert_eq!(
            rule_line(&rule),
            "   11   851 S https  tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            multiport dports 443 "
        );
        rule.family = "ipv6".into();
        rule.packets = 14;
        rule.bytes = 1120;
        assert_eq!(
            rule_line(&rule),
            "   14  1120 S https  tcp      *      *       ::/0                 ::/0                 multiport dports 443 "
        );
        rule.family = "ipv4".into();
        let logged = mwan_api::Logged { packets: 3, bytes: 180, level: "notice".into() };
        assert_eq!(
            log_line(&rule, &logged),
            "    3   180 LOG        tcp  --  *      *       0.0.0.0/0            0.0.0.0/0            multiport dports 443 \n"
        );
        let mut entry = mwan_api::StickyEntry {
            source: "fd00::2".into(),
            destination: None,
            interface: "wanb".into(),
            left_s: 598,
        };
        assert_eq!(sticky_line(&rule, &entry), " https: fd00::2 on wanb for 598 s more\n");
        entry.destination = Some("2001:db8::1".into());
        assert_eq!(sticky_line(&rule, &entry), " https: fd00::2 to 2001:db8::1 on wanb for 598 s more\n");
    }
}
