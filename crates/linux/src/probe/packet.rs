//! ICMP and ICMPv6 echo packets: built, parsed, filtered. Pure.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mwan_config::Family;

/// Bytes of an echo header.
pub(super) const ECHO_HEADER: usize = 8;
/// Bytes of a full cookie.
pub(crate) const COOKIE: usize = 16;

const V4_REPLY: u8 = 0;
const V4_UNREACHABLE: u8 = 3;
const V4_REQUEST: u8 = 8;
const V4_TIME_EXCEEDED: u8 = 11;
const V4_PARAMETER: u8 = 12;
const V6_UNREACHABLE: u8 = 1;
const V6_TOO_BIG: u8 = 2;
const V6_TIME_EXCEEDED: u8 = 3;
const V6_PARAMETER: u8 = 4;
const V6_REQUEST: u8 = 128;
const V6_REPLY: u8 = 129;

/// An echo request. The kernel fills in the ICMPv6 checksum, and ours must do for ICMP.
pub(crate) fn build(
    family: Family,
    id: u16,
    sequence: u16,
    cookie: &[u8; COOKIE],
    size: u16,
    into: &mut Vec<u8>,
) {
    into.clear();
    into.push(if family == Family::V4 { V4_REQUEST } else { V6_REQUEST });
    into.extend_from_slice(&[0; 3]);
    into.extend_from_slice(&id.to_be_bytes());
    into.extend_from_slice(&sequence.to_be_bytes());
    let size = usize::from(size);
    into.extend_from_slice(&cookie[..size.min(COOKIE)]);
    into.resize(ECHO_HEADER + size, 0);
    if family == Family::V4 {
        let sum = checksum(into);
        into[2..4].copy_from_slice(&sum.to_be_bytes());
    }
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// What a received packet is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Received<'a> {
    /// An echo reply.
    Reply {
        /// Identifier.
        id: u16,
        /// Sequence number.
        sequence: u16,
        /// What was sent along.
        payload: &'a [u8],
    },
    /// An error that quotes an echo request.
    Error {
        /// Identifier of the quoted request.
        id: u16,
        /// Its sequence number.
        sequence: u16,
        /// Where it was sent.
        destination: IpAddr,
        /// As much of what was sent along as is quoted.
        payload: &'a [u8],
        /// The error in words.
        text: String,
    },
}

/// Parses what a raw socket delivers: IPv4 with its header, IPv6 without.
pub(crate) fn parse(family: Family, packet: &[u8]) -> Option<Received<'_>> {
    let icmp = match family {
        Family::V4 => packet.get(header_length(packet)?..)?,
        Family::V6 => packet,
    };
    let (head, rest) = icmp.split_at_checked(ECHO_HEADER)?;
    let (kind, code) = (head[0], head[1]);
    if kind == if family == Family::V4 { V4_REPLY } else { V6_REPLY } {
        let (id, sequence) = numbers(head);
        return Some(Received::Reply { id, sequence, payload: rest });
    }
    let text = error_text(family, kind, code)?;
    let (destination, quoted) = quoted_request(family, rest)?;
    let (head, payload) = quoted.split_at_checked(ECHO_HEADER)?;
    if head[0] != if family == Family::V4 { V4_REQUEST } else { V6_REQUEST } {
        return None;
    }
    let (id, sequence) = numbers(head);
    Some(Received::Error { id, sequence, destination, payload, text })
}

fn numbers(head: &[u8]) -> (u16, u16) {
    (u16::from_be_bytes([head[4], head[5]]), u16::from_be_bytes([head[6], head[7]]))
}

fn header_length(packet: &[u8]) -> Option<usize> {
    packet.first().map(|byte| usize::from(byte & 15) * 4).filter(|length| *length >= 20)
}

/// The destination and the ICMP part of a quoted packet.
fn quoted_request(family: Family, quoted: &[u8]) -> Option<(IpAddr, &[u8])> {
    match family {
        Family::V4 => {
            let destination = <[u8; 4]>::try_from(quoted.get(16..20)?).ok()?;
            let is_icmp = i32::from(quoted[9]) == libc::IPPROTO_ICMP;
            let icmp = quoted.get(header_length(quoted)?..)?;
            is_icmp.then_some((Ipv4Addr::from(destination).into(), icmp))
        }
        Family::V6 => {
            let destination = <[u8; 16]>::try_from(quoted.get(24..40)?).ok()?;
            // We send without extension headers.
            let is_icmp = i32::from(quoted[6]) == libc::IPPROTO_ICMPV6;
            is_icmp.then_some((Ipv6Addr::from(destination).into(), &quoted[40..]))
        }
    }
}

/// RFC 792 and RFC 4443.
pub(super) fn error_text(family: Family, kind: u8, code: u8) -> Option<String> {
    let text = match (family, kind, code) {
        (Family::V4, V4_UNREACHABLE, 0) => "network unreachable",
        (Family::V4, V4_UNREACHABLE, 1) => "host unreachable",
        (Family::V4, V4_UNREACHABLE, 4) | (Family::V6, V6_TOO_BIG, _) => "packet too big",
        (Family::V4, V4_UNREACHABLE, 9 | 10 | 13) | (Family::V6, V6_UNREACHABLE, 1) => {
            "administratively prohibited"
        }
        (Family::V4, V4_UNREACHABLE, _) => return Some(format!("destination unreachable (code {code})")),
        (Family::V6, V6_UNREACHABLE, 0) => "no route to destination",
        (Family::V6, V6_UNREACHABLE, 3) => "address unreachable",
        (Family::V6, V6_UNREACHABLE, _) => return Some(format!("destination unreachable (code {code})")),
        (Family::V4, V4_TIME_EXCEEDED, _) | (Family::V6, V6_TIME_EXCEEDED, _) => "time to live exceeded",
        (Family::V4, V4_PARAMETER, _) | (Family::V6, V6_PARAMETER, _) => "parameter problem",
        _ => return None,
    };
    Some(text.to_owned())
}

/// `ICMP_FILTER`: a bit per type that is *not* wanted.
pub(super) fn v4_types() -> [u8; 4] {
    let wanted = [V4_REPLY, V4_UNREACHABLE, V4_TIME_EXCEEDED, V4_PARAMETER];
    (!wanted.iter().fold(0u32, |bits, kind| bits | 1 << kind)).to_ne_bytes()
}

/// `ICMPV6_FILTER`: eight words of the same.
pub(super) fn v6_types() -> [u8; 32] {
    v6_only(&[V6_REPLY, V6_UNREACHABLE, V6_TOO_BIG, V6_TIME_EXCEEDED, V6_PARAMETER])
}

/// `ICMPV6_FILTER` that lets these types through.
pub(super) fn v6_only(kinds: &[u8]) -> [u8; 32] {
    let mut words = [u32::MAX; 8];
    for kind in kinds {
        words[usize::from(*kind) / 32] &= !(1 << (kind % 32));
    }
    let mut bytes = [0; 32];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

/// Classic BPF: only replies and errors with our identifier, so that other people's pings do not wake us.
/// A raw IPv4 socket filters from the IP header on, an IPv6 one from the ICMPv6 header on.
pub(super) fn id_filter(family: Family, id: u16) -> Vec<libc::sock_filter> {
    let step = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    let load_byte_at_x = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
    let load_half_at_x = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
    let equals = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let alu = |operation| libc::BPF_ALU | operation | libc::BPF_K;
    let (accept, drop) = (step(libc::BPF_RET, u32::MAX, 0, 0), step(libc::BPF_RET, 0, 0, 0));
    let id = u32::from(id);
    match family {
        Family::V4 => vec![
            // X = length of the IP header
            step(libc::BPF_LDX | libc::BPF_B | libc::BPF_MSH, 0, 0, 0),
            step(load_byte_at_x, 0, 0, 0),
            step(equals, u32::from(V4_REPLY), 0, 2),
            step(load_half_at_x, 4, 0, 0),
            step(equals, id, 6, 7),
            // X += length of the quoted IP header
            step(load_byte_at_x, 8, 0, 0),
            step(alu(libc::BPF_AND), 15, 0, 0),
            step(alu(libc::BPF_LSH), 2, 0, 0),
            step(libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X, 0, 0, 0),
            step(libc::BPF_MISC | libc::BPF_TAX, 0, 0, 0),
            step(load_half_at_x, 8 + 4, 0, 0),
            step(equals, id, 0, 1),
            accept,
            drop,
        ],
        Family::V6 => vec![
            step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 0),
            step(equals, u32::from(V6_REPLY), 0, 2),
            step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 4, 0, 0),
            step(equals, id, 2, 3),
            step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 8 + 40 + 4, 0, 0),
            step(equals, id, 0, 1),
            accept,
            drop,
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn echo(family: Family, id: u16, sequence: u16, size: u16) -> Vec<u8> {
        let mut packet = Vec::new();
        build(family, id, sequence, &[7; COOKIE], size, &mut packet);
        packet
    }

    #[test]
    fn a_checksum_is_right_when_summing_up_to_zero() {
        for size in [0, 1, 16, 17, 56, 1400] {
            assert_eq!(checksum(&echo(Family::V4, 0xfffe, 0xabcd, size)), 0);
        }
    }

    #[test]
    fn replies_and_quoting_errors_are_parsed() {
        let mut reply = vec![0x45; 20];
        reply.extend(echo(Family::V4, 1, 2, 20));
        reply[20] = V4_REPLY;
        let parsed = parse(Family::V4, &reply);
        assert!(
            matches!(parsed, Some(Received::Reply { id: 1, sequence: 2, payload }) if payload.len() == 20)
        );
        let mut error = vec![0x46; 24];
        error.extend([V4_UNREACHABLE, 1, 0, 0, 0, 0, 0, 0]);
        let mut quoted = [0u8; 20];
        (quoted[0], quoted[9]) = (0x45, 1);
        quoted[16..].copy_from_slice(&[192, 0, 2, 1]);
        error.extend(quoted);
        error.extend(&echo(Family::V4, 3, 4, 20)[..8]);
        let Some(Received::Error { id: 3, sequence: 4, destination, payload: [], text }) =
            parse(Family::V4, &error)
        else {
            panic!("{:?}", parse(Family::V4, &error))
        };
        assert_eq!((destination.to_string(), text.as_str()), ("192.0.2.1".into(), "host unreachable"));
    }

    #[test]
    fn the_wanted_types_pass() {
        assert_eq!(u32::from_ne_bytes(v4_types()), !(1 | 1 << 3 | 1 << 11 | 1 << 12));
        let word = |n: usize| u32::from_ne_bytes(v6_types()[n * 4..n * 4 + 4].try_into().expect("four"));
        assert_eq!((word(0), word(4), word(5)), (!(1 << 1 | 1 << 2 | 1 << 3 | 1 << 4), !(1 << 1), u32::MAX));
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_parser_panic(packet in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = (parse(Family::V4, &packet), parse(Family::V6, &packet));
        }
    }
}
