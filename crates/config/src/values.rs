//! Text of a value → typed value. Whatever passes here can no longer carry anything into a ruleset.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::IpNet;

use crate::codes;
use crate::model::{AddressMatch, AddressRange, Failback, Family, PortRange};
use crate::report::{Problem, or_list, show};
use crate::suggest::nearest;

/// Shortest time: below it a probe would compete with its own answer on the slowest links.
pub(crate) const TIME_MIN: Duration = Duration::from_millis(50);
/// Longest time: one day. Anything longer is a mistake of units.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(86_400);

/// As `uci get_bool` and mwan3 take it.
pub(crate) fn boolean(text: &str) -> Result<bool, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "on" | "true" | "yes" | "enabled" => Ok(true),
        "0" | "off" | "false" | "no" | "disabled" => Ok(false),
        _ => Err(Problem::new(codes::BOOLEAN, format!("{} is neither 1 nor 0", show(text)))),
    }
}

/// A decimal number within `min..=max`.
pub(crate) fn number(text: &str, min: u32, max: u32) -> Result<u32, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(n) if digits && (min..=max).contains(&n) => Ok(n),
        _ => Err(Problem::new(codes::NUMBER, format!("{} is not a number from {min} to {max}", show(text)))),
    }
}

/// Seconds, with a fraction or a unit; millisecond resolution.
pub(crate) fn time(text: &str) -> Result<Duration, Problem> {
    let bad = || {
        let message = format!("{} is not a time from 0.05 seconds to one day", show(text));
        Problem::new(codes::TIME, message).hint("write seconds, as in 5 or 0.2, or a unit, as in 200ms")
    };
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (amount, unit) = text.split_at(unit_at);
    let unit_ms: u128 = match unit {
        "" | "s" => 1000,
        "ms" => 1,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(bad()),
    };
    let (whole, fraction) = amount.trim_end().split_once('.').unwrap_or((amount.trim_end(), ""));
    let digits = |s: &str| s.len() <= 9 && s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return Err(bad());
    }
    // Nine digits each: no overflow, and "" counts as 0.
    let billionths = format!("{whole}{fraction:0<9}").parse::<u128>().map_err(|_| bad())?;
    let ms = billionths * unit_ms / 1_000_000_000;
    let time = Duration::from_millis(u64::try_from(ms).map_err(|_| bad())?);
    if (TIME_MIN..=TIME_MAX).contains(&time) { Ok(time) } else { Err(bad()) }
}

/// One of a list of words, in any case.
pub(crate) fn word<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Problem> {
    if let Some((_, value)) = words.iter().find(|(w, _)| w.eq_ignore_ascii_case(text)) {
        return Ok(*value);
    }
    let known = || words.iter().map(|(w, _)| *w);
    let problem = Problem::new(codes::WORD, format!("{} is not {}", show(text), or_list(known())));
    Err(match nearest(text, known()) {
        Some(word) => problem.hint(format!("did you mean '{word}'?")),
        None => problem,
    })
}

/// Comma and space separate alike: mwan3 documents commas, owners write both.
pub(crate) fn pieces(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c.is_ascii_whitespace()).filter(|p| !p.is_empty())
}

/// Longest mail address (RFC 5321, section 4.5.3.1.3, less the brackets).
const MAIL_ADDRESS_MAX: usize = 254;

/// A mail address as people have them: no quoted local part, no comment, nothing that could be another header or command.
pub(crate) fn mail_address(text: &str) -> Result<String, Problem> {
    let local = |c: char| c.is_alphanumeric() || ".!#$%&'*+-/=?^_`{|}~".contains(c);
    let domain = |c: char| c.is_alphanumeric() || ".-[]:".contains(c);
    let good = text.len() <= MAIL_ADDRESS_MAX
        && text.rsplit_once('@').is_some_and(|(user, host)| {
            let filled =
                !user.is_empty() && !host.is_empty() && !user.starts_with('-') && !host.starts_with('-');
            filled && user.chars().all(local) && host.chars().all(domain)
        });
    match good {
        true => Ok(text.to_owned()),
        false => Err(Problem::new(codes::MAIL_ADDRESS, format!("{} is not a mail address", show(text)))
            .hint("as in ops@example.com")),
    }
}

/// The address of a host that can be probed, or of a gateway.
pub(crate) fn host(text: &str) -> Result<IpAddr, Problem> {
    let ip = address(text)?;
    let unusable = match ip {
        IpAddr::V4(v4) => v4.is_unspecified() || v4.is_multicast() || v4.is_broadcast() || v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_unspecified() || v6.is_multicast() || v6.is_loopback(),
    };
    if unusable {
        return Err(Problem::new(
            codes::ADDRESS,
            format!("{} is not the address of a host on a WAN", show(text)),
        ));
    }
    Ok(ip)
}

fn address(text: &str) -> Result<IpAddr, Problem> {
    text.parse().map_err(|_| bad_address(text))
}

fn bad_address(text: &str) -> Problem {
    let looks_like_name = !text.contains(':')
        && text.bytes().any(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b));
    if looks_like_name {
        return Problem::new(codes::HOST_NAME, format!("{} is a name, not an address", show(text)))
            .hint("write the address: DNS may need the very link that is down");
    }
    Problem::new(codes::ADDRESS, format!("{} is not an address", show(text)))
}

/// A list of addresses, prefixes and ranges, perhaps negated.
pub(crate) fn addresses<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Option<AddressMatch>, Problem> {
    let (mut ranges, mut negations, mut negate_next) = (Vec::new(), 0, false);
    for piece in texts.flat_map(pieces) {
        let (negated, piece) = match piece.strip_prefix('!') {
            Some("") => {
                negate_next = true;
                continue;
            }
            Some(rest) => (true, rest),
            None => (std::mem::take(&mut negate_next), piece),
        };
        // A `!` before the list means all of it; a later one must not change its mind.
        if negated && negations != ranges.len() {
            return Err(Problem::new(
                codes::NEGATION,
                format!("{} is negated, but not what is before it", show(piece)),
            )
            .hint("split it into two rules"));
        }
        negations += usize::from(negated);
        ranges.push(address_range(piece)?);
    }
    if negate_next {
        return Err(Problem::new(codes::ADDRESS, "a '!' without an address"));
    }
    if negations > 1 && negations != ranges.len() {
        return Err(Problem::new(codes::NEGATION, "some addresses are negated and some are not")
            .hint("negate the list with one '!' before it"));
    }
    Ok((!ranges.is_empty()).then_some(AddressMatch { ranges, negated: negations > 0 }))
}

/// An address, a prefix or a range.
pub(crate) fn address_range(text: &str) -> Result<AddressRange, Problem> {
    if let Some((first, last)) = text.split_once('-').filter(|(a, _)| a.parse::<IpAddr>().is_ok()) {
        let (first, last) = (address(first)?, address(last)?);
        if Family::of(first) != Family::of(last) {
            return Err(Problem::new(codes::ADDRESS, format!("{} mixes IPv4 and IPv6", show(text))));
        }
        if first > last {
            return Err(Problem::new(codes::ADDRESS, format!("{} is a reversed range", show(text)))
                .hint(format!("write {last}-{first}")));
        }
        return Ok(AddressRange { first, last });
    }
    let Some((base, length)) = text.split_once('/') else {
        let ip = address(text)?;
        return Ok(AddressRange { first: ip, last: ip });
    };
    // mwan4 accepts "/0" for "::/0", and configurations rely on it.
    let base = if base.is_empty() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { address(base)? };
    let length = prefix_length(base, length)
        .ok_or_else(|| Problem::new(codes::ADDRESS, format!("{} has no valid prefix length", show(text))))?;
    let net = IpNet::new(base, length).map_err(|_| bad_address(text))?;
    Ok(AddressRange { first: net.network(), last: net.broadcast() })
}

/// `24` or, for IPv4 as iptables has it, `255.255.255.0`.
fn prefix_length(base: IpAddr, text: &str) -> Option<u8> {
    if !text.is_empty() && text.len() <= 3 && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().filter(|n| *n <= Family::of(base).bits());
    }
    let mask = u32::from(text.parse::<Ipv4Addr>().ok().filter(|_| base.is_ipv4())?);
    let length = mask.leading_ones();
    (mask.checked_shl(length).unwrap_or(0) == 0).then_some(length as u8)
}

/// A list of ports and ranges; negated: all others.
pub(crate) fn ports<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<PortRange>, Problem> {
    let (mut ranges, mut seen) = (Vec::new(), BTreeSet::new());
    let mut negated: Option<bool> = None;
    for piece in texts.flat_map(pieces) {
        let (minus, piece) = piece.strip_prefix('!').map_or((false, piece), |rest| (true, rest));
        if minus && negated.is_some_and(|n| !n) {
            return Err(Problem::new(
                codes::PORT,
                format!("{} is negated, but not what is before it", show(piece)),
            ));
        }
        negated = Some(negated.unwrap_or(false) || minus);
        if !piece.is_empty() {
            let range = port_range(piece)?;
            if seen.insert(range) {
                ranges.push(range);
            }
        }
    }
    if negated != Some(true) {
        return Ok(ranges);
    }
    let others = other_ports(ranges);
    if others.is_empty() { Err(Problem::new(codes::PORT, "no port is left")) } else { Ok(others) }
}

fn port_range(text: &str) -> Result<PortRange, Problem> {
    let bad = || {
        let problem = Problem::new(codes::PORT, format!("{} is not a port or range of ports", show(text)));
        problem.hint("ports are numbers from 1 to 65535")
    };
    let port = |s: &str, open: u16| {
        if s.is_empty() { Ok(open) } else { number(s, 1, 65_535).map(|n| n as u16).map_err(|_| bad()) }
    };
    // An open end (`1024:`) is iptables' notation; with `-` it would look like a negative number.
    let range = match (text.split_once(':'), text.split_once('-')) {
        (None, None) | (_, Some(("", _) | (_, ""))) | (Some(("", "")), _) => {
            let single = number(text, 1, 65_535).map_err(|_| bad())? as u16;
            PortRange { first: single, last: single }
        }
        (Some((first, last)), _) | (None, Some((first, last))) => {
            PortRange { first: port(first, 1)?, last: port(last, u16::MAX)? }
        }
    };
    if range.first > range.last {
        return Err(Problem::new(codes::PORT, format!("{} is a reversed range", show(text)))
            .hint(format!("write {}:{}", range.last, range.first)));
    }
    Ok(range)
}

/// The ports in none of `ranges`.
fn other_ports(mut ranges: Vec<PortRange>) -> Vec<PortRange> {
    ranges.sort_unstable();
    let (mut others, mut next) = (Vec::new(), 1u32);
    for range in ranges {
        if next < u32::from(range.first) {
            others.push(PortRange { first: next as u16, last: range.first - 1 });
        }
        next = next.max(u32::from(range.last) + 1);
    }
    if next <= 65_535 {
        others.push(PortRange { first: next as u16, last: u16::MAX });
    }
    others
}

/// Number of a protocol that is called by its name.
pub fn protocol_number(name: &str) -> Option<u8> {
    let lower = name.to_ascii_lowercase();
    PROTOCOLS.iter().find(|(known, _)| *known == lower).map(|(_, number)| *number)
}

/// Names as iptables, nft and `/etc/protocols` spell them.
const PROTOCOLS: &[(&str, u8)] = &[
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("ipencap", 4),
    ("tcp", 6),
    ("egp", 8),
    ("igp", 9),
    ("udp", 17),
    ("dccp", 33),
    ("ipv6", 41),
    ("rsvp", 46),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("icmpv6", 58),
    ("ipv6-icmp", 58),
    ("icmp6", 58),
    ("eigrp", 88),
    ("ospf", 89),
    ("pim", 103),
    ("ipcomp", 108),
    ("vrrp", 112),
    ("l2tp", 115),
    ("sctp", 132),
    ("mh", 135),
    ("udplite", 136),
];

/// A list of protocols; empty = all.
pub(crate) fn protocols<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Vec<u8>, Problem> {
    let (mut found, mut all) = (Vec::new(), false);
    for piece in texts.flat_map(pieces) {
        let lower = piece.to_ascii_lowercase();
        match lower.as_str() {
            "all" | "any" => all = true,
            "tcpudp" | "tcp/udp" | "udp/tcp" => found.extend([6, 17]),
            name => match PROTOCOLS.iter().find(|(n, _)| *n == name) {
                Some((_, number)) => found.push(*number),
                // 0 is "all" to iptables; as IPv6 hop-by-hop no rule can want it.
                None => match number(name, 0, 255) {
                    Ok(0) => all = true,
                    Ok(n) => found.push(n as u8),
                    Err(_) => return Err(unknown_protocol(piece)),
                },
            },
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(if all { Vec::new() } else { found })
}

fn unknown_protocol(text: &str) -> Problem {
    let problem = Problem::new(codes::PROTOCOL, format!("{} is not a protocol", show(text)));
    let known = ["all", "any", "tcpudp"].into_iter().chain(PROTOCOLS.iter().map(|(n, _)| *n));
    match nearest(text, known) {
        Some(word) => problem.hint(format!("did you mean '{word}'?")),
        None => problem.hint("use a name such as tcp, or a number from 0 to 255"),
    }
}

/// Hexadecimal (`0x…`) or decimal, at least 3 bits set.
pub(crate) fn mask(text: &str) -> Result<u32, Problem> {
    let parsed = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with('+') => u32::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None => number(text, 0, u32::MAX).ok(),
    };
    let mask = parsed.ok_or_else(|| {
        Problem::new(codes::MASK, format!("{} is not a 32-bit mask", show(text)))
            .hint("write it as in 0x3F00")
    })?;
    if mask.count_ones() < 3 {
        return Err(Problem::new(codes::MASK, format!("{} has fewer than 3 bits set", show(text)))
            .hint("default, unreachable and blackhole need a value each, and every interface one more"));
    }
    Ok(mask)
}

/// A routing table by number, or one of the three names every kernel has.
pub(crate) fn table(text: &str) -> Result<u32, Problem> {
    match text.to_ascii_lowercase().as_str() {
        "default" => Ok(253),
        "main" => Ok(254),
        "local" => Ok(255),
        other => number(other, 1, u32::MAX).map_err(|_| {
            Problem::new(codes::TABLE, format!("{} is not a routing table", show(text)))
                .hint("use its number, or a name of /etc/iproute2/rt_tables")
        }),
    }
}

/// `keep`, `drain`, `drain TIME`, `move-now`; `drain` alone takes `drain_default`.
pub(crate) fn failback(text: &str, drain_default: Duration) -> Result<Failback, Problem> {
    let text = text.replace('_', "-");
    let (first, rest) = text.split_once([' ', '\t', ':']).map_or((text.as_str(), ""), |(a, b)| (a, b.trim()));
    let words = [
        ("keep", Failback::Keep),
        ("drain", Failback::Drain(drain_default)),
        ("move-now", Failback::MoveNow),
    ];
    match word(first, &words)? {
        Failback::Drain(_) if !rest.is_empty() => time(rest).map(Failback::Drain),
        _ if rest.is_empty() => word(first, &words),
        _ => Err(Problem::new(codes::WORD, format!("{} is not keep, drain TIME or move-now", show(&text)))),
    }
}

/// A file or directory, wherever the program was started.
pub(crate) fn absolute_path(text: &str) -> Result<String, Problem> {
    const PATH_BYTES_MAX: usize = 4095; // PATH_MAX with its NUL is 4096
    let good = text.starts_with('/') && text.len() <= PATH_BYTES_MAX && !text.chars().any(char::is_control);
    if good {
        Ok(text.to_owned())
    } else {
        let problem = Problem::new(codes::PATH, format!("{} is not an absolute path", show(text)));
        Err(problem.hint("it begins with /"))
    }
}

/// A name of a kernel device.
pub(crate) fn device(text: &str) -> Result<String, Problem> {
    const DEVICE_BYTES_MAX: usize = 15; // IFNAMSIZ with its NUL is 16
    let good = (1..=DEVICE_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-+@~".contains(&b))
        && !matches!(text, "." | "..");
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(codes::DEVICE, format!("{} is not a device name", show(text))))
    }
}

/// A name others (the platform, a set) give something.
pub(crate) fn foreign_name(text: &str, bytes_max: usize) -> Result<String, Problem> {
    let good = (1..=bytes_max).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(codes::SET_NAME, format!("{} is not a valid name", show(text))))
    }
}

#[cfg(test)]
#[path = "values_tests.rs"]
mod tests;
