//! A first packet as bytes, with a token in it that no translation touches.

use std::net::IpAddr;

use mwan_core::Packet;

use crate::rt::octets;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Where in the transport header the token is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) offset: u32,
    pub(super) bytes: Vec<u8>,
}

/// What begins a flow, from the IP header on, with every checksum right: to conntrack anything else is invalid, not new.
/// `random`: 8 bytes for the token.
pub(super) fn datagram(packet: &Packet, random: [u8; 8]) -> (Vec<u8>, Token) {
    let (mut payload, token) = payload(packet, random);
    let addresses = [octets(packet.source), octets(packet.destination)].concat();
    let mut covered = Vec::new();
    if packet.protocol != ICMP {
        covered.extend_from_slice(&addresses);
        covered.extend([0, packet.protocol]);
        covered.extend((payload.len() as u16).to_be_bytes());
    }
    covered.extend_from_slice(&payload);
    let place = match packet.protocol {
        TCP => Some(16),
        UDP => Some(6),
        ICMP | ICMPV6 => Some(2),
        _ => None,
    };
    if let Some(at) = place {
        payload[at..at + 2].copy_from_slice(&checksum(&covered).to_be_bytes());
    }
    let length = payload.len() as u16;
    let mut out = if packet.destination.is_ipv4() {
        let mut header = vec![0x45, 0, 0, 0, 0, 1, 0, 0, 64, packet.protocol, 0, 0];
        header[2..4].copy_from_slice(&(20 + length).to_be_bytes());
        header.extend(addresses);
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    } else {
        let [high, low] = length.to_be_bytes();
        [vec![0x60, 0, 0, 0, high, low, packet.protocol, 64], addresses].concat()
    };
    out.extend(payload);
    (out, token)
}

/// A SYN, a datagram, an echo request; of other protocols any bytes.
fn payload(packet: &Packet, random: [u8; 8]) -> (Vec<u8>, Token) {
    let port = |port: Option<u16>| port.unwrap_or(0).to_be_bytes();
    let ports = [port(packet.source_port), port(packet.destination_port)].concat();
    let behind = Token { offset: 8, bytes: random.to_vec() };
    let rest = |head: &[u8]| [head, &random].concat();
    match packet.protocol {
        // The sequence number is the token.
        TCP => {
            let syn = [0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0];
            ([&ports[..], &random[..4], &syn].concat(), Token { offset: 4, bytes: random[..4].to_vec() })
        }
        UDP => ([&ports[..], &[0, 16, 0, 0], &random].concat(), behind),
        ICMP => (rest(&[8, 0, 0, 0, random[0], random[1], 0, 1]), behind),
        ICMPV6 => (rest(&[128, 0, 0, 0, random[0], random[1], 0, 1]), behind),
        _ => (rest(&[0; 8]), behind),
    }
}

/// The source in a network header.
pub(super) fn source_of(header: &[u8]) -> Option<IpAddr> {
    let at = match header.first()? >> 4 {
        4 => 12..16,
        6 => 8..24,
        _ => return None,
    };
    crate::rt::address(header.get(at)?)
}

/// RFC 1071; the field itself is 0 while it is computed.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w.get(1).copied().unwrap_or(0)));
    let sum: u32 = words.sum();
    let once = (sum & 0xFFFF) + (sum >> 16);
    !((once & 0xFFFF) + (once >> 16)) as u16
}
