//! Packets as bytes, and the sockets that send them: from a neighbour (prerouting) or as the router's own (output).

use std::net::IpAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use mwan_core::Packet;

/// Link address of each of the router's devices.
pub(crate) const ROUTER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;

/// The packet from its IP header on, with every checksum right: to conntrack anything else is invalid, not new.
fn datagram(packet: &Packet) -> Vec<u8> {
    let mut payload = payload(packet);
    let addresses = [octets(packet.source), octets(packet.destination)].concat();
    let mut pseudo = addresses.clone();
    pseudo.extend([0, packet.protocol]);
    pseudo.extend((payload.len() as u16).to_be_bytes());
    let (at, covered) = match packet.protocol {
        TCP => (16, [pseudo, payload.clone()].concat()),
        UDP => (6, [pseudo, payload.clone()].concat()),
        ICMPV6 if packet.destination.is_ipv6() => (2, [pseudo, payload.clone()].concat()),
        _ => (2, payload.clone()),
    };
    if matches!(packet.protocol, TCP | UDP | ICMP | ICMPV6) {
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
    out
}

/// What begins a flow: a SYN, a datagram, an echo request; of other protocols any bytes.
fn payload(packet: &Packet) -> Vec<u8> {
    let ports =
        [packet.source_port.unwrap_or(0).to_be_bytes(), packet.destination_port.unwrap_or(0).to_be_bytes()];
    match packet.protocol {
        TCP => [&ports.concat()[..], &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x02, 0x20, 0, 0, 0, 0, 0]].concat(),
        UDP => [&ports.concat()[..], &[0, 12, 0, 0, b'm', b'w', b'a', b'n']].concat(),
        ICMP => vec![8, 0, 0, 0, 0, 1, 0, 1],
        ICMPV6 => vec![128, 0, 0, 0, 0, 1, 0, 1],
        _ => vec![1; 16],
    }
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

/// RFC 1071; the field itself is 0 while it is computed.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let once = (sum & 0xFFFF) + (sum >> 16);
    !((once & 0xFFFF) + (once >> 16)) as u16
}

/// A raw socket of the calling thread's namespace.
pub(crate) struct Raw(OwnedFd);

impl Raw {
    fn open(domain: libc::c_int, protocol: libc::c_int) -> Raw {
        // SAFETY: plain call; the descriptor is ours alone.
        let fd = unsafe { libc::socket(domain, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol) };
        assert!(fd >= 0, "raw socket: {}", std::io::Error::last_os_error());
        // SAFETY: it is a descriptor nobody else has.
        Raw(unsafe { OwnedFd::from_raw_fd(fd) })
    }

    /// Sends whole frames.
    pub(crate) fn link() -> Raw {
        Raw::open(libc::AF_PACKET, 0)
    }

    /// Sends packets with their IP header.
    pub(crate) fn ip(domain: libc::c_int) -> Raw {
        Raw::open(domain, libc::IPPROTO_RAW)
    }

    fn send<T>(&self, bytes: &[u8], to: &T) -> std::io::Result<()> {
        let (address, length) = (std::ptr::from_ref(to).cast(), size_of::<T>() as libc::socklen_t);
        // SAFETY: both point to as many bytes as is said, for the time of the call.
        let sent = unsafe {
            libc::sendto(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, address, length)
        };
        if sent < 0 { Err(std::io::Error::last_os_error()) } else { Ok(()) }
    }

    /// The packet arrives at the other end of the link `index`.
    pub(crate) fn deliver(&self, packet: &Packet, index: u32) {
        let kind: u16 = if packet.destination.is_ipv4() { 0x0800 } else { 0x86dd };
        let mut frame = [ROUTER_MAC, [2, 0, 0, 0, 0, 2]].concat();
        frame.extend(kind.to_be_bytes());
        frame.extend(datagram(packet));
        // SAFETY: plain integers, for which zero is a value.
        let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        to.sll_family = libc::AF_PACKET as u16;
        to.sll_protocol = kind.to_be();
        to.sll_ifindex = index as libc::c_int;
        self.send(&frame, &to).expect("a frame");
    }

    /// The router itself sends the packet. It never gets beyond the last hook of the test, and is told so.
    pub(crate) fn emit(&self, packet: &Packet) {
        let bytes = datagram(packet);
        let outcome = match packet.destination {
            IpAddr::V4(ip) => {
                // SAFETY: plain integers, for which zero is a value.
                let mut to: libc::sockaddr_in = unsafe { std::mem::zeroed() };
                to.sin_family = libc::AF_INET as u16;
                to.sin_addr.s_addr = u32::from_ne_bytes(ip.octets());
                self.send(&bytes, &to)
            }
            IpAddr::V6(ip) => {
                // SAFETY: as above.
                let mut to: libc::sockaddr_in6 = unsafe { std::mem::zeroed() };
                to.sin6_family = libc::AF_INET6 as u16;
                to.sin6_addr.s6_addr = ip.octets();
                self.send(&bytes, &to)
            }
        };
        let refused = outcome.expect_err("the test's last hook drops it");
        assert_eq!(refused.raw_os_error(), Some(libc::EPERM), "{packet:?}: {refused}");
    }
}
