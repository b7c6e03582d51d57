//! Who has an address on the link: ARP (RFC 826) and neighbour solicitation (RFC 4861). One socket per path.
//!
//! Neither protocol carries anything that an answer could prove itself by; what is checked is that it comes from the
//! link (ARP is never forwarded, advertisements must have hop limit 255), to us, and for an address that was asked for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::time::Duration;

use mwan_config::Family;
use mwan_core::{PathKey, ProbeReport, ProbeRequest};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use super::round_trip;
use crate::sys;

const ARP_LENGTH: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const SOLICITED: u8 = 0x40;
/// Answers taken in at once; more only come from a flood, which cannot keep us here.
const RECEIVE_MAX: usize = 256;
const RECEIVE_BUFFER: usize = 64 * 1024;

type Hardware = [u8; 6];

#[derive(PartialEq, Eq)]
struct Binding {
    device: String,
    family: Family,
    mark: u32,
}

pub(super) struct LinkSocket {
    pub(super) fd: AsyncFd<Socket>,
    binding: Binding,
    index: u32,
    hardware: Hardware,
}

struct Pending {
    round: u64,
    target: usize,
    sequence: u32,
    address: IpAddr,
    sent: Instant,
    sent_realtime_ns: u64,
    timeout: Duration,
}

/// The link probes of one path.
#[derive(Default)]
pub(super) struct LinkProber {
    pub(super) socket: Option<LinkSocket>,
    pending: Vec<Pending>,
}

impl LinkProber {
    /// A new round: what is pending is of no interest any more.
    pub(super) fn begin(&mut self, request: &ProbeRequest) {
        self.pending.clear();
        let binding = binding(request);
        if self.socket.as_ref().is_some_and(|s| s.binding != binding) {
            self.socket = None;
        }
    }

    /// Asks for one target.
    pub(super) fn send(&mut self, request: &ProbeRequest, target: usize, sequence: u32) -> io::Result<()> {
        let address = request.targets[target].ip;
        if self.socket.is_none() {
            self.socket = Some(open(request)?);
        }
        let Some(socket) = &self.socket else { return Err(io::ErrorKind::NotConnected.into()) };
        let (sent, sent_realtime_ns) = (Instant::now(), sys::realtime_ns());
        let fd = socket.fd.get_ref().as_fd();
        match address {
            IpAddr::V4(ip) => {
                let source = match request.source {
                    Some(IpAddr::V4(source)) => source,
                    // A probe of RFC 5227: answered, and nobody learns it.
                    _ => Ipv4Addr::UNSPECIFIED,
                };
                let packet = arp_request(socket.hardware, source, ip);
                sys::send_link_broadcast(fd, &packet, socket.index, libc::ETH_P_ARP as u16)?;
            }
            IpAddr::V6(ip) => {
                let packet = solicitation(socket.hardware, ip);
                sys::send_to(fd, &packet, solicited_node(ip).into(), socket.index)?;
            }
        }
        let (round, timeout) = (request.round, request.timeout);
        self.pending.push(Pending { round, target, sequence, address, sent, sent_realtime_ns, timeout });
        Ok(())
    }

    /// Takes in what is there.
    pub(super) fn receive(&mut self, path: PathKey, report: impl Fn(ProbeReport)) {
        let mut buffer = [0; 256];
        for _ in 0..RECEIVE_MAX {
            let Some(socket) = &self.socket else { return };
            match sys::receive_datagram(socket.fd.get_ref().as_fd(), &mut buffer) {
                Ok(datagram) => {
                    let packet = &buffer[..datagram.length.min(buffer.len())];
                    let found = match path.family {
                        Family::V4 => arp_reply(packet, socket.hardware).map(IpAddr::V4),
                        Family::V6 if datagram.hop_limit == Some(255) => {
                            advertisement(packet).map(IpAddr::V6)
                        }
                        Family::V6 => None,
                    };
                    if let Some(found) = found.and_then(|address| self.take(path, address, &datagram)) {
                        report(found);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // ENETDOWN and the like: the next round makes a new socket.
                Err(_) => self.socket = None,
            }
        }
    }

    /// The oldest question after this address is answered.
    fn take(&mut self, path: PathKey, address: IpAddr, datagram: &sys::Datagram) -> Option<ProbeReport> {
        let at = self.pending.iter().position(|p| p.address == address)?;
        let p = self.pending.remove(at);
        let rtt = round_trip(p.sent, p.sent_realtime_ns, datagram.received_ns);
        (rtt <= p.timeout).then_some(ProbeReport::Reply {
            path,
            round: p.round,
            target: p.target,
            sequence: p.sequence,
            rtt,
        })
    }
}

fn binding(request: &ProbeRequest) -> Binding {
    Binding { device: request.device.clone(), family: request.path.family, mark: request.mark }
}

fn open(request: &ProbeRequest) -> io::Result<LinkSocket> {
    let device = &request.device;
    let index = sys::device_index(device)?;
    let socket = match request.path.family {
        Family::V4 => {
            // Protocol 0 receives nothing: the filter first, then the device and the protocol.
            let socket = Socket::new(Domain::PACKET, Type::DGRAM.nonblocking().cloexec(), None)?;
            sys::attach_filter(socket.as_fd(), &replies_only())?;
            sys::bind_link(socket.as_fd(), index, libc::ETH_P_ARP as u16)?;
            socket
        }
        Family::V6 => {
            let protocol = Some(Protocol::ICMPV6);
            let socket = Socket::new(Domain::IPV6, Type::RAW.nonblocking().cloexec(), protocol)?;
            const ICMP6_FILTER: i32 = 1;
            let types = super::packet::v6_only(&[ADVERTISEMENT]);
            sys::set_option_bytes(socket.as_fd(), libc::IPPROTO_ICMPV6, ICMP6_FILTER, &types)?;
            socket.bind_device(Some(device.as_bytes()))?;
            socket.set_mark(request.mark)?;
            // RFC 4861 section 7.1: anything less was forwarded.
            socket.set_multicast_hops_v6(255)?;
            sys::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVHOPLIMIT, 1)?;
            socket
        }
    };
    let hardware = sys::hardware_address(socket.as_fd(), device)?
        .ok_or_else(|| io::Error::other("not an Ethernet device: nothing to resolve on this link"))?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    let _ = sys::set_option(socket.as_fd(), libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
    Ok(LinkSocket { fd: sys::watch(socket)?, binding: binding(request), index, hardware })
}

/// Classic BPF: only ARP replies. A datagram socket filters from the ARP header on.
fn replies_only() -> Vec<libc::sock_filter> {
    let step = |code: u32, k: u32, jt, jf| libc::sock_filter { code: code as u16, jt, jf, k };
    vec![
        step(libc::BPF_LD | libc::BPF_H | libc::BPF_ABS, 6, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, u32::from(ARP_REPLY), 0, 1),
        step(libc::BPF_RET, u32::MAX, 0, 0),
        step(libc::BPF_RET, 0, 0, 0),
    ]
}

/// Ethernet, IPv4, six and four bytes.
const ARP_HEAD: [u8; 6] = [0, 1, 8, 0, 6, 4];

fn arp_request(hardware: Hardware, source: Ipv4Addr, target: Ipv4Addr) -> [u8; ARP_LENGTH] {
    let mut packet = [0; ARP_LENGTH];
    packet[..6].copy_from_slice(&ARP_HEAD);
    packet[6..8].copy_from_slice(&ARP_REQUEST.to_be_bytes());
    packet[8..14].copy_from_slice(&hardware);
    packet[14..18].copy_from_slice(&source.octets());
    packet[24..28].copy_from_slice(&target.octets());
    packet
}

/// Whose reply to us this is.
fn arp_reply(packet: &[u8], hardware: Hardware) -> Option<Ipv4Addr> {
    let packet = packet.get(..ARP_LENGTH)?;
    let ours =
        packet[..6] == ARP_HEAD && packet[6..8] == ARP_REPLY.to_be_bytes() && packet[18..24] == hardware;
    ours.then(|| Ipv4Addr::new(packet[14], packet[15], packet[16], packet[17]))
}

/// The kernel fills in the checksum.
fn solicitation(hardware: Hardware, target: Ipv6Addr) -> [u8; 32] {
    let mut packet = [0; 32];
    packet[0] = SOLICITATION;
    packet[8..24].copy_from_slice(&target.octets());
    // Option 1, source link-layer address, of eight bytes.
    (packet[24], packet[25]) = (1, 1);
    packet[26..32].copy_from_slice(&hardware);
    packet
}

/// RFC 4291 section 2.7.1.
fn solicited_node(ip: Ipv6Addr) -> Ipv6Addr {
    let [.., high, low] = ip.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (high & 0xff), low)
}

/// Whose solicited advertisement this is.
fn advertisement(packet: &[u8]) -> Option<Ipv6Addr> {
    let target = <[u8; 16]>::try_from(packet.get(8..24)?).ok()?;
    let solicited = packet[0] == ADVERTISEMENT && packet[1] == 0 && packet[4] & SOLICITED != 0;
    solicited.then_some(target.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OURS: Hardware = [2, 0, 0, 0, 0, 1];

    #[test]
    fn only_replies_to_us_count() {
        let request = arp_request(OURS, Ipv4Addr::new(192, 0, 2, 2), Ipv4Addr::new(192, 0, 2, 1));
        assert_eq!(arp_reply(&request, OURS), None, "a request is no reply");
        let mut reply = request;
        reply[7] = 2;
        reply[8..18].copy_from_slice(&[2, 0, 0, 0, 0, 9, 192, 0, 2, 1]);
        reply[18..24].copy_from_slice(&OURS);
        assert_eq!(arp_reply(&reply, OURS), Some(Ipv4Addr::new(192, 0, 2, 1)));
        assert_eq!(arp_reply(&reply[..27], OURS), None);
        assert_eq!(arp_reply(&reply, [2, 0, 0, 0, 0, 2]), None, "for somebody else");
    }

    #[test]
    fn advertisements_must_be_solicited() {
        let ip: Ipv6Addr = "fe80::1:2:3".parse().expect("an address");
        assert_eq!(solicited_node(ip).to_string(), "ff02::1:ff02:3");
        let mut packet = solicitation(OURS, ip);
        assert_eq!(advertisement(&packet), None);
        (packet[0], packet[4]) = (ADVERTISEMENT, SOLICITED);
        assert_eq!(advertisement(&packet), Some(ip));
        packet[4] = 0x20;
        assert_eq!(advertisement(&packet), None, "said unasked");
    }

    proptest! {
        #[test]
        fn no_packet_makes_the_parsers_panic(packet in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = (arp_reply(&packet, OURS), advertisement(&packet));
        }
    }
}
