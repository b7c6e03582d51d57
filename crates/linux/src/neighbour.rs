//! What the kernel's table of neighbours says of an address on a link.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use mwan_config::Family;
use mwan_core::Neighbour;

use crate::netlink::{RequestError, Socket, Writer, u16_ne, u32_ne};
use crate::rt;

const NEW_NEIGHBOUR: u16 = 28;
const GET_NEIGHBOUR: u16 = 30;
/// `struct ndmsg` (linux/neighbour.h): family, index at 4, state at 8.
const HEADER: usize = 12;
const STATE: usize = 8;
const NDA_DST: u16 = 1;
const NUD_INCOMPLETE: u16 = 0x01;
const NUD_REACHABLE: u16 = 0x02;
const NUD_STALE: u16 = 0x04;
const NUD_DELAY: u16 = 0x08;
const NUD_PROBE: u16 = 0x10;
const NUD_FAILED: u16 = 0x20;
/// `struct nda_cacheinfo`: its first word is how long ago the neighbour was known to answer, in hundredths of a second (`USER_HZ`).
const NDA_CACHEINFO: u16 = 3;
const TICK: Duration = Duration::from_millis(10);

/// A socket to ask.
#[derive(Debug)]
pub struct Neighbours(Socket);

impl Neighbours {
    /// Opens it in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The socket cannot be opened.
    pub fn open() -> io::Result<Self> {
        Ok(Neighbours(rt::open()?))
    }

    /// What is known of `ip` on the device of this index. Nothing is sent. Kernels before 5.0 do not tell of single ones: nothing
    /// is known then.
    pub fn ask(&mut self, device: u32, ip: IpAddr) -> Neighbour {
        self.entry(device, ip).map_or(Neighbour::Unknown, |(state, answered)| meaning(state, answered))
    }

    /// Its state, and how long ago it answered.
    fn entry(&mut self, device: u32, ip: IpAddr) -> Result<(u16, Duration), RequestError> {
        let mut header = [0; HEADER];
        header[0] = rt::family_number(Family::of(ip));
        header[4..8].copy_from_slice(&device.to_ne_bytes());
        let mut request = Writer::message(GET_NEIGHBOUR, 0, &header);
        request.put(NDA_DST, &rt::octets(ip));
        let mut found = None;
        self.0.query(request, &mut |m| {
            let state = m.payload.get(STATE..STATE + 2).filter(|_| m.kind == NEW_NEIGHBOUR).and_then(u16_ne);
            let ticks = m.attributes(HEADER).find(NDA_CACHEINFO).and_then(|info| u32_ne(info.get(..4)?));
            found = state.zip(ticks.map(|ticks| TICK * ticks));
        })?;
        found.ok_or(RequestError::NoAnswer)
    }
}

/// RFC 4861, section 7.3.2, which Linux follows for ARP, too: whoever is `STALE`, or asked again in `DELAY` and `PROBE`, has answered once.
fn meaning(state: u16, answered: Duration) -> Neighbour {
    match state {
        NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE => Neighbour::Answered(answered),
        NUD_FAILED | NUD_INCOMPLETE => Neighbour::Silent,
        _ => Neighbour::Unknown,
    }
}
