//! Packets that arrive at the router as from a network card.
//!
//! A packet socket at the client would cost as much per packet as the router does, and hand them over one by
//! one. Instead the kernel's own XDP test run (`BPF_F_TEST_XDP_LIVE_FRAMES`) receives frames on the router's
//! link, 64 per poll, after a program of some forty instructions has written header, source port and
//! destination. No two packets in a row have the same destination: for those the kernel would take the route
//! of the one before (`ip_extract_route_hint`), which happens to no router with more than one user.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::sys::{Counter, Instruction, Program, link_index};
use super::world::{CLIENT, CLIENT_MAC, CLIENT6, ROUTER_MAC};

/// First source port.
pub(crate) const PORT_FIRST: u16 = 10_000;
/// Bytes of content of a datagram, unless it is to be empty: with IPv4 the smallest frame of Ethernet, 64 bytes on the wire.
const CONTENT: u16 = 18;
const UDP: u8 = 17;
const HOP_LIMIT: u8 = 64;

// Codes of instructions, linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x63;
const STORE_HALF: u8 = 0x6b;
const STORE_CONSTANT: u8 = 0x62;
const LOAD_CONSTANT_64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const ADD: u8 = 0x0f;
const ADD_CONSTANT: u8 = 0x07;
const SHIFT_LEFT: u8 = 0x67;
const AND_CONSTANT: u8 = 0x57;
const XOR_CONSTANT: u8 = 0xa7;
const TO_BIG_ENDIAN: u8 = 0xdc;
const JUMP_IF_GREATER: u8 = 0x2d;
const EXIT: u8 = 0x95;
/// In the source register of LOAD_CONSTANT_64: the address of a map's value.
const PSEUDO_MAP_VALUE: u8 = 2;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
/// Destinations there are.
pub(crate) const DESTINATIONS: u8 = 64;
/// Of IPv6 they differ in the second word of the address, by so many bits: each in a /28 of its own.
pub(crate) const STEP6: u8 = 4;

/// A UDP datagram of the client to the first destination, as the router's link receives it, and what differs from one to
/// the next.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Whole words of four bytes.
    bytes: Vec<u8>,
    /// Where the two bytes are in which destinations differ.
    destination_at: u8,
    /// Destination `n` is the first one plus `n` shifted left by this.
    destination_step: u8,
    source_port_at: u8,
    /// Where two bytes are that lose what the rest gains, so that the checksum over them stays.
    balance_at: u8,
    /// Whether that checksum is over the source port, too.
    port_counts: bool,
}

impl Frame {
    /// With some content.
    pub(crate) fn new(to: IpAddr, port: u16) -> Frame {
        match to {
            IpAddr::V4(to) => Frame::v4(to, port, CONTENT),
            IpAddr::V6(to) => Frame::v6(to, port),
        }
    }

    /// Without content, by IPv4.
    pub(crate) fn empty(to: Ipv4Addr, port: u16) -> Frame {
        Frame::v4(to, port, 0)
    }

    /// The same to somebody else's link: the router drops it as soon as it sees it.
    pub(crate) fn astray(mut self) -> Frame {
        self.bytes[5] ^= 0x80;
        self
    }

    /// UDP has no checksum (RFC 768); the one of the header is balanced by the identification.
    fn v4(to: Ipv4Addr, port: u16, content: u16) -> Frame {
        let mut header = [0; 20];
        header[0] = 0x45;
        header[2..4].copy_from_slice(&(28 + content).to_be_bytes());
        header[4..6].copy_from_slice(&[0xFF; 2]);
        header[8] = HOP_LIMIT;
        header[9] = UDP;
        header[12..16].copy_from_slice(&CLIENT);
        header[16..20].copy_from_slice(&to.octets());
        let checksum = internet_checksum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        let mut bytes = [&ethernet(0x0800), &header[..], &udp(port, content)].concat();
        bytes.resize(14 + 28 + usize::from(CONTENT), 0);
        Frame {
            bytes,
            destination_at: 32,
            destination_step: 0,
            source_port_at: 34,
            balance_at: 18,
            port_counts: false,
        }
    }

    /// UDP must have a checksum (RFC 8200, 8.1), over addresses and ports; the first two bytes of content balance it.
    fn v6(to: Ipv6Addr, port: u16) -> Frame {
        let length = 8 + CONTENT;
        let mut header = [0; 40];
        header[0] = 0x60;
        header[4..6].copy_from_slice(&length.to_be_bytes());
        header[6] = UDP;
        header[7] = HOP_LIMIT;
        header[8..24].copy_from_slice(&CLIENT6.octets());
        header[24..40].copy_from_slice(&to.octets());
        let mut datagram = udp(port, CONTENT);
        datagram[8..10].copy_from_slice(&[0xFF; 2]);
        // 0 would mean that there is none.
        let checksum = match udp_checksum(&header, &datagram) {
            0 => 0xFFFF,
            sum => sum,
        };
        datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
        Frame {
            bytes: [&ethernet(0x86dd), &header[..], &datagram].concat(),
            destination_at: 40,
            destination_step: STEP6,
            source_port_at: 54,
            balance_at: 62,
            port_counts: true,
        }
    }
}

/// The header of a frame to the router's link.
fn ethernet(kind: u16) -> Vec<u8> {
    [&ROUTER_MAC[..], &CLIENT_MAC, &kind.to_be_bytes()].concat()
}

/// A datagram from the first source port, without checksum.
fn udp(port: u16, content: u16) -> Vec<u8> {
    let mut out: Vec<u8> =
        [PORT_FIRST, port, 8 + content, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    out.resize(usize::from(8 + content), 0);
    out
}

/// A stream of UDP datagrams of the client, to [`DESTINATIONS`] addresses in turn.
pub(crate) struct Injector {
    frame: Frame,
    counter: Counter,
    program: Program,
}

impl Injector {
    /// `flows` source ports in turn (a power of two, at most 32,768).
    pub(crate) fn new(frame: Frame, flows: u32) -> io::Result<Injector> {
        let counter = Counter::new()?;
        let program = Program::load(&program(&frame, flows, counter.number()))?;
        Ok(Injector { frame, counter, program })
    }

    /// Begins with the first source port again.
    pub(crate) fn rewind(&self) -> io::Result<()> {
        self.counter.reset()
    }

    /// Has `count` of them arrive on `device` of the calling thread's namespace and be forwarded; nanoseconds
    /// per packet.
    pub(crate) fn receive(&self, device: &str, count: u32) -> io::Result<f64> {
        self.program.receive(&self.frame.bytes, link_index(device)?, count).map(f64::from)
    }
}

/// Writes the whole frame (the kernel recycles pages as the last packet left them), the next source port and
/// destination, and passes it on.
fn program(frame: &Frame, flows: u32, counter: i32) -> Vec<Instruction> {
    let op = |code, to: u8, from: u8, offset, constant| Instruction {
        code,
        registers: from << 4 | to,
        offset,
        constant,
    };
    let size = i32::try_from(frame.bytes.len()).unwrap_or(i32::MAX);
    let mut out = vec![
        op(LOAD_WORD, 2, 1, 0, 0), // r2 = data
        op(LOAD_WORD, 3, 1, 4, 0), // r3 = data_end
        op(MOVE, 4, 2, 0, 0),
        op(ADD_CONSTANT, 4, 0, 0, size),
    ];
    let mut body = Vec::new();
    for (word, offset) in frame.bytes.chunks_exact(4).zip((0..).step_by(4)) {
        let constant = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        body.push(op(STORE_CONSTANT, 2, 0, offset, constant));
    }
    let at = usize::from(frame.destination_at);
    let first = u16::from_be_bytes([frame.bytes[at], frame.bytes[at + 1]]);
    let mask = i32::try_from(flows - 1).unwrap_or(i32::MAX);
    body.extend([
        op(LOAD_CONSTANT_64, 5, PSEUDO_MAP_VALUE, 0, counter),
        op(0, 0, 0, 0, 0), // upper half: offset in the value
        op(LOAD_WORD, 6, 5, 0, 0),
        op(MOVE, 7, 6, 0, 0),
        op(ADD_CONSTANT, 7, 0, 0, 1),
        op(STORE_WORD, 5, 7, 0, 0),
        op(MOVE, 8, 6, 0, 0),
        op(AND_CONSTANT, 8, 0, 0, i32::from(DESTINATIONS - 1)),
        op(SHIFT_LEFT, 8, 0, 0, i32::from(frame.destination_step)),
        op(MOVE, 9, 8, 0, 0),
        op(ADD_CONSTANT, 9, 0, 0, i32::from(first)),
        op(TO_BIG_ENDIAN, 9, 0, 0, 16),
        op(STORE_HALF, 2, 9, frame.destination_at.into(), 0),
        op(AND_CONSTANT, 6, 0, 0, mask),
    ]);
    // The checksum stays: what destination and source port gain the balance loses.
    body.extend(frame.port_counts.then_some(op(ADD, 8, 6, 0, 0)));
    body.extend([
        op(XOR_CONSTANT, 8, 0, 0, 0xFFFF),
        op(TO_BIG_ENDIAN, 8, 0, 0, 16),
        op(STORE_HALF, 2, 8, frame.balance_at.into(), 0),
        op(ADD_CONSTANT, 6, 0, 0, i32::from(PORT_FIRST)),
        op(TO_BIG_ENDIAN, 6, 0, 0, 16),
        op(STORE_HALF, 2, 6, frame.source_port_at.into(), 0),
        op(MOVE_CONSTANT, 0, 0, 0, XDP_PASS),
        op(EXIT, 0, 0, 0, 0),
    ]);
    let over = i16::try_from(body.len()).unwrap_or(i16::MAX);
    out.push(op(JUMP_IF_GREATER, 4, 3, over, 0));
    out.extend(body);
    out.extend([op(MOVE_CONSTANT, 0, 0, 0, XDP_DROP), op(EXIT, 0, 0, 0, 0)]);
    out
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !((folded & 0xFFFF) as u16).wrapping_add((folded >> 16) as u16)
}

/// Of a datagram and the pseudo-header from that of IPv6 (RFC 8200, 8.1).
fn udp_checksum(header: &[u8], datagram: &[u8]) -> u16 {
    internet_checksum(&[&header[4..6], &[0, UDP], &header[8..40], datagram].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sixteen bits of a frame.
    fn word(bytes: &[u8], at: u8) -> u16 {
        u16::from_be_bytes([bytes[usize::from(at)], bytes[usize::from(at) + 1]])
    }

    /// What the program makes of an empty page when its counter stands at `count`. The counter is all that is behind r5;
    /// everything else is stored behind r2, the frame.
    fn packet(frame: &Frame, flows: u32, count: u64) -> Vec<u8> {
        let (mut page, mut r, mut out) = (vec![0; frame.bytes.len()], [0u64; 10], None);
        let program = program(frame, flows, 7);
        let start = program.iter().position(|i| i.code == JUMP_IF_GREATER).unwrap() + 1;
        for i in &program[start..] {
            let (to, from) = (usize::from(i.registers & 15), usize::from(i.registers >> 4));
            let (constant, at) = (i.constant as u64, usize::try_from(i.offset).unwrap());
            match i.code {
                STORE_CONSTANT => page[at..at + 4].copy_from_slice(&i.constant.to_ne_bytes()),
                STORE_HALF => page[at..at + 2].copy_from_slice(&(r[from] as u16).to_ne_bytes()),
                LOAD_CONSTANT_64 => assert_eq!((to, from, i.constant), (5, PSEUDO_MAP_VALUE.into(), 7)),
                0 => {}
                LOAD_WORD => r[to] = count,
                STORE_WORD => assert_eq!((to, r[from]), (5, count + 1)),
                MOVE => r[to] = r[from],
                MOVE_CONSTANT => r[to] = constant,
                ADD => r[to] += r[from],
                ADD_CONSTANT => r[to] += constant,
                AND_CONSTANT => r[to] &= constant,
                XOR_CONSTANT => r[to] ^= constant,
                SHIFT_LEFT => r[to] <<= constant,
                TO_BIG_ENDIAN => r[to] = u64::from((r[to] as u16).to_be()),
                EXIT => {
                    out = Some(r[0]);
                    break;
                }
                other => panic!("an instruction {other:#x}"),
            }
        }
        assert_eq!(out, Some(XDP_PASS as u64));
        page
    }

    const COUNTS: [u64; 6] = [0, 1, 63, 64, 32_767, 32_768 + 40_000];

    #[test]
    fn every_packet_of_ipv4_has_a_valid_header() {
        for to in ["198.18.0.0", "203.1.2.0"] {
            let frame = Frame::new(to.parse().unwrap(), 9);
            assert_eq!(frame.bytes.len(), 60);
            for count in COUNTS {
                let bytes = packet(&frame, 32_768, count);
                assert_eq!(internet_checksum(&bytes[14..34]), 0, "{to} {count}");
                assert_eq!(u64::from(bytes[33]), count % 64);
                assert_eq!(u64::from(word(&bytes, 34)), 10_000 + count % 32_768);
                assert_eq!((word(&bytes, 36), word(&bytes, 38), word(&bytes, 40)), (9, 26, 0));
            }
        }
        let empty = Frame::empty(Ipv4Addr::new(198, 18, 0, 0), 9);
        assert_eq!((empty.bytes.len(), word(&empty.bytes, 16), word(&empty.bytes, 38)), (60, 28, 8));
    }

    #[test]
    fn every_packet_of_ipv6_has_a_valid_checksum() {
        for (to, port) in [("2a80::", 9), ("2a80:10:ffff:1::7", 65_535)] {
            let frame = Frame::new(to.parse().unwrap(), port);
            let first = word(&frame.bytes, 40);
            for count in COUNTS {
                let bytes = packet(&frame, 32_768, count);
                assert_eq!(bytes.len(), 14 + 40 + usize::from(word(&bytes, 18)));
                assert_eq!(udp_checksum(&bytes[14..54], &bytes[54..]), 0, "{to} {count}");
                assert_ne!(word(&bytes, 60), 0);
                assert_eq!(u64::from(word(&bytes, 40) - first), (count % 64) << STEP6);
                assert_eq!(u64::from(word(&bytes, 54)), 10_000 + count % 32_768);
                assert_eq!((word(&bytes, 56), word(&bytes, 58)), (port, 26));
            }
        }
    }

    #[test]
    fn the_first_packet_is_the_frame_itself() {
        for to in ["198.18.0.0", "2a80::"] {
            let frame = Frame::new(to.parse().unwrap(), 9);
            assert_eq!(packet(&frame, 64, 0), frame.bytes);
            assert_ne!(frame.clone().astray().bytes[..6], ROUTER_MAC);
        }
    }
}
