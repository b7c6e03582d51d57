//! What is asked, as a packet that can exist.

use std::net::IpAddr;

use mwan_api::ExplainQuery;
use mwan_config::{Family, protocol_number};
use mwan_core::Packet;

use crate::cli::Failure;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const ICMPV6: u8 = 58;
/// Protocols with ports: tcp, udp, dccp, sctp, udplite.
const WITH_PORTS: [u8; 5] = [TCP, 17, 33, 132, 136];
/// Below the ports from which clients are given theirs.
const SOURCE_PORT: u16 = 40_000;

/// A packet of which the source and the input device may still have to be found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Described {
    /// Where to.
    pub(super) destination: IpAddr,
    /// `None`: the router's own, with whatever source the kernel would choose.
    pub(super) source: Option<IpAddr>,
    /// Protocol.
    pub(super) protocol: u8,
    /// Ports of source and destination, where there are ports.
    pub(super) ports: Option<(u16, u16)>,
}

impl Described {
    /// Reads what was asked.
    pub(super) fn read(query: &ExplainQuery) -> Result<Self, Failure> {
        let Some(to) = &query.to else {
            return Err(
                Failure::says("where to is not said").hint("add --to ADDRESS:PORT/PROTOCOL, or --flow WORDS")
            );
        };
        let (destination, port, protocol) = destination(to)?;
        let family = Family::of(destination);
        let wanted = query.family.as_deref();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != family.name()) {
            return Err(no_packet(format!("{destination} is of {family}, not of {}", wanted.escape_debug())));
        }
        let ping = if family == Family::V4 { ICMP } else { ICMPV6 };
        let protocol = protocol.unwrap_or(if port.is_some() { TCP } else { ping });
        if [ICMP, ICMPV6].contains(&protocol) && protocol != ping {
            let (is, other) = if protocol == ICMP { ("icmp", "icmpv6") } else { ("icmpv6", "icmp") };
            return Err(no_packet(format!("{is} does not go to {destination}; {family} has {other}")));
        }
        let has_ports = WITH_PORTS.contains(&protocol);
        if !has_ports && (port.is_some() || query.sport.is_some()) {
            return Err(no_packet("a port belongs to tcp, udp, dccp, sctp or udplite".to_owned()));
        }
        if has_ports && port.is_none() {
            return Err(
                Failure::says("the destination's port is not said").hint("write ADDRESS:PORT/PROTOCOL")
            );
        }
        let source = query.from.as_deref().map(|text| source(text, family)).transpose()?;
        let ports = port.map(|port| (query.sport.unwrap_or(SOURCE_PORT), port));
        Ok(Described { destination, source, protocol, ports })
    }

    /// The whole packet.
    pub(super) fn packet(&self, source: IpAddr, input: Option<String>) -> Packet {
        Packet {
            source,
            destination: self.destination,
            protocol: self.protocol,
            source_port: self.ports.map(|(source, _)| source),
            destination_port: self.ports.map(|(_, destination)| destination),
            input,
        }
    }
}

pub(super) fn no_packet(why: String) -> Failure {
    Failure::says(format!("no such packet can exist: {why}"))
}

/// As it was written, so that nothing is seen, too.
fn shown(text: &str) -> String {
    if text.is_empty() { "''".to_owned() } else { text.escape_debug().to_string() }
}

/// Sockets of IPv6 take addresses of IPv4 so (RFC 4291 section 2.5.5.2); on a wire they are IPv4.
fn not_mapped(address: IpAddr) -> Result<(), Failure> {
    let IpAddr::V6(ip) = address else { return Ok(()) };
    ip.to_ipv4_mapped().map_or(Ok(()), |v4| {
        let why = format!("{ip} is what IPv6 programs call {v4}; on the wire it is IPv4");
        Err(no_packet(why).hint(format!("write {v4}")))
    })
}

/// `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, each with `/PROTOCOL`.
fn destination(text: &str) -> Result<(IpAddr, Option<u16>, Option<u8>), Failure> {
    let wrong = |what: String| {
        Failure::says(what).hint("write --to 1.1.1.1:443/tcp, [2606:4700::1111]:443/udp or 1.1.1.1")
    };
    let whole = shown(text);
    let (end, protocol) = match text.rsplit_once('/') {
        Some((_, word)) if !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit()) => {
            return Err(wrong(format!("{whole} is a network; a packet has one destination")));
        }
        Some((end, word)) => {
            let number = protocol_number(word);
            let number = number.ok_or_else(|| wrong(format!("{} is not a protocol", shown(word))))?;
            (end, Some(number))
        }
        None => (text, None),
    };
    let bare = |address: &str| match address.strip_prefix('[') {
        Some(inside) => inside.strip_suffix(']')?.parse().map(IpAddr::V6).ok(),
        None => address.parse().ok(),
    };
    let (address, port) = match (bare(end), end.rsplit_once(':')) {
        (Some(address), _) => (Some(address), None),
        (None, Some((address, port))) => {
            // A sign before it is a number to Rust.
            let number = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
            let port = number.ok_or_else(|| wrong(format!("{} is not a port", shown(port))))?;
            (bare(address), Some(port))
        }
        (None, None) => (None, None),
    };
    let address = address.ok_or_else(|| wrong(format!("{whole} is not an address to send to")))?;
    if address.is_unspecified() {
        return Err(no_packet(format!("nothing is sent to {address}")));
    }
    not_mapped(address)?;
    Ok((address, port, protocol))
}

fn source(text: &str, family: Family) -> Result<IpAddr, Failure> {
    let address: IpAddr = text.parse().map_err(|_| {
        Failure::says(format!("{} is not an address to come from", shown(text)))
            .hint("write --from 192.168.1.50; without it the packet is this machine's own")
    })?;
    not_mapped(address)?;
    if Family::of(address) != family {
        return Err(no_packet(format!(
            "{address} is of {}, its destination of {family}",
            Family::of(address)
        )));
    }
    let broadcast = address == IpAddr::V4(std::net::Ipv4Addr::BROADCAST);
    if address.is_unspecified() || address.is_multicast() || broadcast {
        return Err(no_packet(format!("nobody's packets come from {address}")));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(
        from: Option<&str>,
        to: &str,
        family: Option<&str>,
        sport: Option<u16>,
    ) -> Result<Described, String> {
        let query = ExplainQuery {
            from: from.map(str::to_owned),
            to: Some(to.to_owned()),
            family: family.map(str::to_owned),
            sport,
            ..ExplainQuery::default()
        };
        Described::read(&query).map_err(|failure| failure.to_string())
    }

    #[test]
    fn destinations_are_read_as_they_are_written() {
        for (text, protocol, port) in [
            ("1.1.1.1:443/tcp", 6, Some(443)),
            ("1.1.1.1:53/udp", 17, Some(53)),
            ("1.1.1.1:443", 6, Some(443)),
            ("1.1.1.1", 1, None),
            ("1.1.1.1/gre", 47, None),
            ("2606:4700::1111", 58, None),
            ("[2606:4700::1111]:443/UDP", 17, Some(443)),
            ("[2606:4700::1111]", 58, None),
        ] {
            let found = read(None, text, None, None).unwrap();
            assert_eq!((found.protocol, found.ports.map(|(_, to)| to)), (protocol, port), "{text}");
        }
    }

    #[test]
    fn a_packet_that_cannot_exist_is_refused_in_one_line() {
        for (from, to, family, sport, said) in [
            (None, "1.1.1.1", Some("ipv6"), None, "is of ipv4, not of ipv6"),
            (Some("fd00::2"), "1.1.1.1", None, None, "fd00::2 is of ipv6, its destination of ipv4"),
            (None, "1.1.1.1:443/icmp", None, None, "a port belongs to tcp"),
            (None, "1.1.1.1", None, Some(1), "a port belongs to tcp"),
            (None, "1.1.1.1/icmpv6", None, None, "ipv4 has icmp"),
            (None, "2606:4700::1111/icmp", None, None, "ipv6 has icmpv6"),
            (None, "1.1.1.1/tcp", None, None, "port is not said"),
            (None, "1.1.1.0/24", None, None, "is a network"),
            (None, "1.1.1.1/tpc", None, None, "tpc is not a protocol"),
            (None, "1.1.1.1:x/tcp", None, None, "x is not a port"),
            (None, "1.1.1.1:70000/tcp", None, None, "70000 is not a port"),
            (None, "1.1.1.1:+25/tcp", None, None, "+25 is not a port"),
            (None, "1.1.1.1:/tcp", None, None, "'' is not a port"),
            (None, "1.1.1.1/", None, None, "'' is not a protocol"),
            (None, "[[1.1.1.1]:25/tcp", None, None, "is not an address"),
            (None, "[1.1.1.1]:25/tcp", None, None, "is not an address"),
            (None, "", None, None, "'' is not an address"),
            (None, "::ffff:1.1.1.1", None, None, "on the wire it is IPv4"),
            (Some("::ffff:192.168.1.2"), "1.1.1.1", None, None, "on the wire it is IPv4"),
            (None, "example.org:1", None, None, "is not an address"),
            (None, "0.0.0.0:1", None, None, "nothing is sent to"),
            (Some("224.0.0.1"), "1.1.1.1", None, None, "nobody's packets"),
            (Some("0.0.0.0"), "1.1.1.1", None, None, "nobody's packets"),
            (Some("host"), "1.1.1.1", None, None, "is not an address to come from"),
        ] {
            let failure = read(from, to, family, sport).unwrap_err();
            assert!(failure.contains(said) && !failure.contains('\n'), "{to}: {failure}");
        }
    }
}
