//! Whether something outside can be reached by the router's own traffic as it is routed now: no device, no mark, no source is
//! chosen, so the rules decide as for every other program. For a thread: each attempt waits.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use mwan_config::{DnsKind, DnsProbe, Family};
use socket2::{Domain, Protocol, Socket, Type};

use crate::probe::dns;
use crate::probe::packet::{COOKIE, Received, build, parse};
use crate::sys;

/// Bytes sent along with a ping.
const SIZE: u16 = 56;
/// Longest reply that is looked at, bytes.
const REPLY_MAX: usize = 1500;

/// Opens a TCP connection and closes it. How long that took.
///
/// # Errors
/// It was refused, nobody answered within `timeout`, or there is no way there.
pub fn connect(to: SocketAddr, timeout: Duration) -> io::Result<Duration> {
    let begin = Instant::now();
    TcpStream::connect_timeout(&to, timeout)?;
    Ok(begin.elapsed())
}

/// Asks a resolver for the addresses of a name. That there is no such name is an answer, too.
///
/// # Errors
/// It says that it cannot find out, nobody answered within `timeout`, or there is no way there.
pub fn resolve(server: SocketAddr, name: &str, timeout: Duration) -> io::Result<Duration> {
    const NO_ERROR: u8 = 0;
    const NO_SUCH_NAME: u8 = 3;
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let mut id = [0; 2];
    sys::random(&mut id)?;
    let probe = DnsProbe { port: server.port(), name: name.to_owned(), kind: DnsKind::A };
    let question = dns::build(&probe, u16::from_be_bytes(id));
    let begin = Instant::now();
    socket.send(&question)?;
    let mut buffer = [0; REPLY_MAX];
    loop {
        socket.set_read_timeout(Some(left(begin, timeout)?))?;
        match socket.recv(&mut buffer) {
            Ok(length) => match dns::judge(&question, &buffer[..length]) {
                dns::Answer::NotOurs => {}
                // The code is in the header (RFC 1035, 4.1.1), which is whole if it was judged.
                _ if [NO_ERROR, NO_SUCH_NAME].contains(&(buffer[3] & 15)) => return Ok(begin.elapsed()),
                dns::Answer::Bad(why) => return Err(io::Error::other(why)),
                dns::Answer::Good => return Ok(begin.elapsed()),
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// What is left of the time for an answer.
fn left(begin: Instant, timeout: Duration) -> io::Result<Duration> {
    match timeout.saturating_sub(begin.elapsed()) {
        Duration::ZERO => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")),
        left => Ok(left),
    }
}

/// Sends one ping and waits for its answer. How long that took.
///
/// # Errors
/// Nobody answered within `timeout`, an error came back, or there is no way there.
pub fn ping(to: IpAddr, timeout: Duration) -> io::Result<Duration> {
    let family = Family::of(to);
    let (domain, protocol) = match family {
        Family::V4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::V6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    let (mut id, mut cookie, mut request) = ([0; 2], [0; COOKIE], Vec::new());
    sys::random(&mut id)?;
    sys::random(&mut cookie)?;
    build(family, u16::from_be_bytes(id), 1, &cookie, SIZE, &mut request);
    // From now on only what comes from there is received, and errors about it are errors of the socket (raw_err in net/ipv4/raw.c).
    socket.connect(&SocketAddr::new(to, 0).into())?;
    let begin = Instant::now();
    (&socket).write_all(&request)?;
    let mut buffer = [0; REPLY_MAX];
    loop {
        socket.set_read_timeout(Some(left(begin, timeout)?))?;
        match (&socket).read(&mut buffer) {
            Ok(length) => match parse(family, &buffer[..length]) {
                Some(Received::Reply { payload, .. }) if payload.starts_with(&cookie) => {
                    return Ok(begin.elapsed());
                }
                _ => {}
            },
            // What a time limit is called (socket(7), SO_RCVTIMEO); the next turn says so.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
