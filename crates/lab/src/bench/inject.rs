//! Packets that arrive at the router as from a network card.
//!
//! A packet socket at the client would cost as much per packet as the router does, and hand them over one by
//! one. Instead the kernel's own XDP test run (`BPF_F_TEST_XDP_LIVE_FRAMES`) receives frames on the router's
//! link, 64 per poll, after a program of some forty instructions has written header, source port and
//! destination. No two packets in a row have the same destination: for those the kernel would take the route
//! of the one before (`ip_extract_route_hint`), which happens to no router with more than one user.

use std::io;

use super::sys::{Counter, FRAME, Instruction, Program, link_index};
use super::world::{CLIENT, CLIENT_MAC, ROUTER_MAC};

/// First source port.
pub(crate) const PORT_FIRST: u16 = 10_000;

// Codes of instructions, linux/bpf_common.h and linux/bpf.h.
const LOAD_WORD: u8 = 0x61;
const STORE_WORD: u8 = 0x63;
const STORE_HALF: u8 = 0x6b;
const STORE_CONSTANT: u8 = 0x62;
const LOAD_CONSTANT_64: u8 = 0x18;
const MOVE: u8 = 0xbf;
const MOVE_CONSTANT: u8 = 0xb7;
const ADD_CONSTANT: u8 = 0x07;
const AND_CONSTANT: u8 = 0x57;
const XOR_CONSTANT: u8 = 0xa7;
const TO_BIG_ENDIAN: u8 = 0xdc;
const JUMP_IF_GREATER: u8 = 0x2d;
const EXIT: u8 = 0x95;
/// In the source register of LOAD_CONSTANT_64: the address of a map's value.
const PSEUDO_MAP_VALUE: u8 = 2;
const XDP_DROP: i32 = 1;
const XDP_PASS: i32 = 2;
// Where things are in a frame.
const IP_ID_AT: i16 = 18;
const DESTINATION_END_AT: i16 = 32;
const SOURCE_PORT_AT: i16 = 34;
/// Destinations differ in the last bits of their last byte.
pub(crate) const DESTINATIONS: u8 = 64;

/// A stream of UDP datagrams of the client, to [`DESTINATIONS`] addresses in turn.
pub(crate) struct Injector {
    frame: [u8; FRAME],
    counter: Counter,
    program: Program,
}

impl Injector {
    /// `flows` source ports in turn (a power of two).
    pub(crate) fn new(frame: [u8; FRAME], flows: u32) -> io::Result<Injector> {
        let counter = Counter::new()?;
        let program = Program::load(&program(&frame, flows, &counter))?;
        Ok(Injector { frame, counter, program })
    }

    /// Begins with the first source port again.
    pub(crate) fn rewind(&self) -> io::Result<()> {
        self.counter.reset()
    }

    /// Has `count` of them arrive on `device` of the calling thread's namespace and be forwarded; nanoseconds
    /// per packet.
    pub(crate) fn receive(&self, device: &str, count: u32) -> io::Result<f64> {
        self.program.receive(&self.frame, link_index(device)?, count).map(f64::from)
    }
}

/// Writes the whole frame (the kernel recycles pages as the last packet left them), the next source port and
/// destination, and passes it on.
fn program(frame: &[u8; FRAME], flows: u32, counter: &Counter) -> Vec<Instruction> {
    let op = |code, to: u8, from: u8, offset, constant| Instruction {
        code,
        registers: from << 4 | to,
        offset,
        constant,
    };
    let size = FRAME as i32;
    let mut out = vec![
        op(LOAD_WORD, 2, 1, 0, 0), // r2 = data
        op(LOAD_WORD, 3, 1, 4, 0), // r3 = data_end
        op(MOVE, 4, 2, 0, 0),
        op(ADD_CONSTANT, 4, 0, 0, size),
    ];
    let mut body = Vec::new();
    for (word, offset) in frame.chunks_exact(4).zip((0..).step_by(4)) {
        let constant = i32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        body.push(op(STORE_CONSTANT, 2, 0, offset, constant));
    }
    let mask = i32::try_from(flows - 1).unwrap_or(i32::MAX);
    body.extend([
        op(LOAD_CONSTANT_64, 5, PSEUDO_MAP_VALUE, 0, counter.number()),
        op(0, 0, 0, 0, 0), // upper half: offset in the value
        op(LOAD_WORD, 6, 5, 0, 0),
        op(MOVE, 7, 6, 0, 0),
        op(ADD_CONSTANT, 7, 0, 0, 1),
        op(STORE_WORD, 5, 7, 0, 0),
        op(MOVE, 8, 6, 0, 0),
        op(AND_CONSTANT, 8, 0, 0, i32::from(DESTINATIONS - 1)),
        op(MOVE, 9, 8, 0, 0),
        op(ADD_CONSTANT, 9, 0, 0, i32::from(u16::from_be_bytes([frame[32], frame[33]]))),
        op(TO_BIG_ENDIAN, 9, 0, 0, 16),
        op(STORE_HALF, 2, 9, DESTINATION_END_AT, 0),
        // The checksum of the header stays: what the destination gains the identification loses.
        op(XOR_CONSTANT, 8, 0, 0, 0xFFFF),
        op(TO_BIG_ENDIAN, 8, 0, 0, 16),
        op(STORE_HALF, 2, 8, IP_ID_AT, 0),
        op(AND_CONSTANT, 6, 0, 0, mask),
        op(ADD_CONSTANT, 6, 0, 0, i32::from(PORT_FIRST)),
        op(TO_BIG_ENDIAN, 6, 0, 0, 16),
        op(STORE_HALF, 2, 6, SOURCE_PORT_AT, 0),
        op(MOVE_CONSTANT, 0, 0, 0, XDP_PASS),
        op(EXIT, 0, 0, 0, 0),
    ]);
    let over = i16::try_from(body.len()).unwrap_or(i16::MAX);
    out.push(op(JUMP_IF_GREATER, 4, 3, over, 0));
    out.extend(body);
    out.extend([op(MOVE_CONSTANT, 0, 0, 0, XDP_DROP), op(EXIT, 0, 0, 0, 0)]);
    out
}

/// A UDP datagram of the client with `content` bytes in it (at most 18), addressed to the router's link and
/// the first destination.
pub(crate) fn frame(to: [u8; 4], port: u16, content: u16) -> [u8; FRAME] {
    let mut out = [0; FRAME];
    out[0..6].copy_from_slice(&ROUTER_MAC);
    out[6..12].copy_from_slice(&CLIENT_MAC);
    out[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    out[14] = 0x45;
    out[16..18].copy_from_slice(&(28 + content).to_be_bytes());
    out[18..20].copy_from_slice(&[0xFF, 0xFF]); // the identification of the first destination
    out[22] = 64;
    out[23] = 17;
    out[26..30].copy_from_slice(&CLIENT);
    out[30..34].copy_from_slice(&to);
    let checksum = internet_checksum(&out[14..34]);
    out[24..26].copy_from_slice(&checksum.to_be_bytes());
    out[36..38].copy_from_slice(&port.to_be_bytes());
    // UDP's checksum stays 0: none (RFC 768).
    out[38..40].copy_from_slice(&(8 + content).to_be_bytes());
    out
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !((folded & 0xFFFF) as u16).wrapping_add((folded >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_valid_header() {
        let frame = frame([198, 51, 100, 10], 9, 18);
        assert_eq!(internet_checksum(&frame[14..34]), 0);
        assert_eq!(frame[38..40], [0, 26]);
    }
}
