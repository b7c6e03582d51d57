//! Probes with a socket of their own: TCP, UDP, expiring datagrams, DNS. Each is one future; who asks takes the time and
//! ends it.

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd;

use mwan_config::{DnsProbe, Family, ProbeMethod, ProbeTarget};
use mwan_core::ProbeRequest;
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpSocket, TcpStream};

use super::{dns, error_text, http, packet, socket_address};
use crate::sys;

/// Longest datagram that is read; what is longer is cut off.
const DATAGRAM_MAX: usize = 4096;
/// Datagrams and errors read before others have their turn.
const BURST_MAX: usize = 64;
/// What a UDP probe carries: whoever sees it on a wire should know what it is.
const UDP_PAYLOAD: &[u8] = b"mwan probe";

/// Which way a probe goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Way {
    device: String,
    source: Option<IpAddr>,
    mark: u32,
}

impl Way {
    pub(super) fn of(request: &ProbeRequest) -> Self {
        Way { device: request.device.clone(), source: request.source, mark: request.mark }
    }

    /// The device it leaves by.
    #[cfg(feature = "tls")]
    pub(super) fn device(&self) -> &str {
        &self.device
    }

    fn open(&self, ip: IpAddr, kind: Type) -> io::Result<Socket> {
        let socket =
            Socket::new(Domain::for_address(SocketAddr::new(ip, 0)), kind.nonblocking().cloexec(), None)?;
        socket.bind_device(Some(self.device.as_bytes()))?;
        socket.set_mark(self.mark)?;
        if let Some(source) = self.source {
            // The port is chosen when it is connected, so that one port serves many peers (ip(7)).
            const IP_BIND_ADDRESS_NO_PORT: i32 = 24;
            let _ = sys::set_option(socket.as_fd(), libc::IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1);
            let scope = if source.is_ipv6() { sys::device_index(&self.device)? } else { 0 };
            socket.bind(&socket_address(source, scope))?;
        }
        Ok(socket)
    }

    fn peer(&self, ip: IpAddr, port: u16) -> io::Result<SocketAddr> {
        Ok(match ip {
            IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                SocketAddrV6::new(v6, port, 0, sys::device_index(&self.device)?).into()
            }
            ip => SocketAddr::new(ip, port),
        })
    }

    /// A connected TCP stream, which is reset when it is dropped: probes leave no TIME_WAIT behind.
    pub(super) async fn connect(&self, ip: IpAddr, port: u16) -> io::Result<TcpStream> {
        let socket = self.open(ip, Type::STREAM)?;
        socket.set_linger(Some(std::time::Duration::ZERO))?;
        let peer = self.peer(ip, port)?;
        TcpSocket::from_std_stream(socket.into()).connect(peer).await
    }

    /// A UDP socket that hears its peer and what routers say of its datagrams.
    fn datagrams(&self, ip: IpAddr, port: u16, hops: Option<u8>) -> io::Result<AsyncFd<Socket>> {
        let socket = self.open(ip, Type::DGRAM)?;
        let (level, name) = match ip {
            IpAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_RECVERR),
            IpAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVERR),
        };
        sys::set_option(socket.as_fd(), level, name, 1)?;
        match (ip, hops) {
            (_, None) => {}
            (IpAddr::V4(_), Some(hops)) => socket.set_ttl_v4(u32::from(hops))?,
            (IpAddr::V6(_), Some(hops)) => socket.set_unicast_hops_v6(u32::from(hops))?,
        }
        socket.connect(&SockAddr::from(self.peer(ip, port)?))?;
        sys::watch_errors(socket)
    }
}

/// Asks one target once. `Err` is why there is no answer; silence never ends.
pub(super) async fn ask(way: &Way, target: &ProbeTarget) -> Result<(), String> {
    let ip = target.ip;
    match &target.method {
        ProbeMethod::Tcp { port, refused } => match way.connect(ip, *port).await {
            Ok(_) => Ok(()),
            Err(e) if *refused && e.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
            Err(e) => Err(error_text(&e)),
        },
        ProbeMethod::Udp { port } => udp(way, ip, *port).await,
        ProbeMethod::Ttl { hops, port } => expire(way, ip, *port, *hops).await,
        ProbeMethod::Dns(probe) => resolve(way, ip, probe).await,
        ProbeMethod::Http(probe) => http::ask(way, ip, probe).await,
        // These have sockets that live as long as the path.
        ProbeMethod::Ping | ProbeMethod::Neighbour => Err("not asked this way".to_owned()),
    }
}

/// Something that reached a UDP socket.
enum Heard<'a> {
    Datagram(&'a [u8]),
    Error(sys::SocketError),
}

async fn udp(way: &Way, ip: IpAddr, port: u16) -> Result<(), String> {
    exchange(way, ip, port, None, UDP_PAYLOAD, |heard| match heard {
        Heard::Datagram(_) => Some(Ok(())),
        Heard::Error(error) if error.port_unreachable() && error.offender == Some(ip) => Some(Ok(())),
        Heard::Error(error) => Some(Err(router_says(ip, &error))),
    })
    .await
}

async fn expire(way: &Way, ip: IpAddr, port: u16, hops: u8) -> Result<(), String> {
    exchange(way, ip, port, Some(hops), UDP_PAYLOAD, |heard| match heard {
        // The target is nearer than that.
        Heard::Datagram(_) => Some(Ok(())),
        Heard::Error(error) if error.time_exceeded() => Some(Ok(())),
        Heard::Error(error) if error.port_unreachable() && error.offender == Some(ip) => Some(Ok(())),
        Heard::Error(error) => Some(Err(router_says(ip, &error))),
    })
    .await
}

async fn resolve(way: &Way, ip: IpAddr, probe: &DnsProbe) -> Result<(), String> {
    let mut id = [0; 2];
    sys::random(&mut id).map_err(|e| error_text(&e))?;
    let question = dns::build(probe, u16::from_ne_bytes(id));
    exchange(way, ip, probe.port, None, &question, |heard| match heard {
        Heard::Datagram(packet) => match dns::judge(&question, packet) {
            dns::Answer::NotOurs => None,
            dns::Answer::Good => Some(Ok(())),
            dns::Answer::Bad(why) => Some(Err(why)),
        },
        Heard::Error(error) => Some(Err(router_says(ip, &error))),
    })
    .await
}

fn router_says(ip: IpAddr, error: &sys::SocketError) -> String {
    let by_icmp = error.icmp.and_then(|(kind, code)| packet::error_text(Family::of(ip), kind, code));
    let text = match by_icmp {
        Some(_) if error.port_unreachable() => "port closed".to_owned(),
        Some(text) => text,
        None => error_text(&io::Error::from_raw_os_error(error.errno)),
    };
    error.offender.map_or_else(|| text.clone(), |from| format!("{text} (says {from})"))
}

/// Sends a datagram and listens until something decides.
async fn exchange(
    way: &Way,
    ip: IpAddr,
    port: u16,
    hops: Option<u8>,
    payload: &[u8],
    mut judge: impl FnMut(Heard<'_>) -> Option<Result<(), String>>,
) -> Result<(), String> {
    let text = |e: io::Error| error_text(&e);
    let socket = way.datagrams(ip, port, hops).map_err(text)?;
    sys::send(socket.get_ref().as_fd(), payload).map_err(text)?;
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        // Cleared before reading: what arrives from now on makes it ready again.
        socket.ready(Interest::READABLE | Interest::ERROR).await.map_err(text)?.clear_ready();
        let mut burst = 0;
        while let Some(heard) = next(&socket, &mut buffer) {
            if let Some(decided) = judge(heard) {
                return decided;
            }
            burst += 1;
            if burst == BURST_MAX {
                burst = 0;
                tokio::task::yield_now().await;
            }
        }
    }
}

/// The next error or datagram, if there is one.
fn next<'b>(socket: &AsyncFd<Socket>, buffer: &'b mut [u8]) -> Option<Heard<'b>> {
    let fd = socket.get_ref().as_fd();
    // A pending error is told once by the next call, whatever it is, and waits in the queue with all its details.
    for _ in 0..BURST_MAX {
        match sys::receive_error(fd) {
            Ok(error) => return Some(Heard::Error(error)),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => continue,
        }
        match sys::receive(fd, buffer) {
            Ok(length) => {
                let length = length.min(buffer.len());
                return Some(Heard::Datagram(&buffer[..length]));
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return None,
            Err(_) => {}
        }
    }
    None
}
