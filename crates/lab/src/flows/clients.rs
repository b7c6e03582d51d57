//! The sending side of every kind of flow; one function per kind, each running on threads of its own.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::{Kind, Shared};
use crate::capture::PING_MAGIC;
use crate::stats::Rng;
use crate::sys::{self, Epoll};

/// An application tries again this soon after a failed attempt.
const RETRY: Duration = Duration::from_millis(50);
/// How long one attempt to connect may take: short, so that after a switch the next one comes soon.
const CONNECT: Duration = Duration::from_millis(500);
/// Sockets of a `udp new` flow that still wait for their answer.
const FRESH_SOCKETS_MAX: usize = 2000;
/// A scan ends by itself after this many packets.
const SCAN_MAX: u32 = 200_000;

/// Runs connection (or worker) `index` of a flow until it is stopped or through.
pub(super) fn run(flow: &Shared, index: usize) {
    match flow.spec.kind {
        Kind::TcpLong => tcp_long(flow, index),
        Kind::UdpStream => udp_stream(flow, index),
        Kind::UdpNew => udp_new(flow),
        Kind::TcpShort | Kind::UdpShort => short(flow, index),
        Kind::Ping => ping(flow, index),
    }
}

fn open(flow: &Shared, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(flow.to), kind, None::<Protocol>)?;
    if let Some(device) = &flow.spec.device {
        socket.bind_device(Some(device.as_bytes()))?;
    }
    if let Some(source) = flow.spec.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    Ok(socket)
}

fn connect(flow: &Shared, patience: Duration) -> io::Result<TcpStream> {
    let socket = open(flow, Type::STREAM)?;
    socket.connect_timeout(&flow.to.into(), patience)?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(flow.spec.timeout))?;
    Ok(stream)
}

fn connect_datagram(flow: &Shared) -> io::Result<UdpSocket> {
    let socket = open(flow, Type::DGRAM)?;
    socket.connect(&flow.to.into())?;
    Ok(socket.into())
}

/// A datagram socket with a source port no message before it had. Ports drawn by the kernel come again by
/// chance after a few hundred, and the router rightly takes such a message for part of the old connection.
fn connect_fresh(flow: &Shared, number: u64) -> io::Result<UdpSocket> {
    let socket = open(flow, Type::DGRAM)?;
    if flow.spec.source.is_none() {
        let turn = (number + u64::from(flow.id) * 7_001) % 50_000;
        let any = if flow.to.is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        // A port in use stays with its owner; the kernel draws one then.
        let _ = socket.bind(&SocketAddr::new(any, 10_000 + u16::try_from(turn).unwrap_or(0)).into());
    }
    socket.connect(&flow.to.into())?;
    Ok(socket.into())
}

/// Sleeps until the next tick of a fixed rhythm; ticks missed while waiting are not made up for.
fn until_next(next: &mut Instant, interval: Duration) {
    let now = Instant::now();
    *next += interval;
    if *next > now {
        std::thread::sleep(*next - now);
    } else {
        *next = now;
    }
}

fn tcp_long(flow: &Shared, index: usize) {
    // Connections of one flow do not march in step.
    let count = u32::try_from(flow.conns.len()).unwrap_or(1);
    std::thread::sleep(flow.spec.interval * u32::try_from(index).unwrap_or(0) / count.max(1));
    let (mut number, mut first) = (0, true);
    while !flow.stopped() {
        match connect(flow, CONNECT.min(flow.spec.timeout)) {
            Ok(stream) => {
                if !std::mem::take(&mut first) {
                    flow.conn(index).counts.reconnects += 1;
                }
                talk(flow, index, stream, &mut number);
            }
            Err(_) => {
                flow.conn(index).counts.failures += 1;
                std::thread::sleep(RETRY);
            }
        }
    }
}

/// Exchanges messages on one connection until it fails.
fn talk(flow: &Shared, index: usize, mut stream: TcpStream, number: &mut u64) {
    let mut next = Instant::now();
    while !flow.stopped() {
        *number += 1;
        let mut message = [0x5a; 64];
        message[..8].copy_from_slice(&number.to_be_bytes());
        flow.conn(index).sent(*number, Instant::now());
        let mut answer = [0; 64];
        let result = stream.write_all(&message).and_then(|()| stream.read_exact(&mut answer));
        if let Err(e) = result {
            let retransmissions = sys::tcp_retransmissions(stream.as_fd()).unwrap_or(0);
            let mut conn = flow.conn(index);
            conn.lost(*number);
            conn.counts.retransmissions += u64::from(retransmissions);
            let reset = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof, ErrorKind::BrokenPipe];
            conn.counts.resets += u64::from(reset.contains(&e.kind()));
            drop(conn);
            // The application gives up: nothing of the old connection lingers on the wire.
            let _ = Socket::from(stream).set_linger(Some(Duration::ZERO));
            return;
        }
        let mut conn = flow.conn(index);
        conn.counts.lost += u64::from(answer != message);
        conn.answered(*number, Instant::now());
        drop(conn);
        until_next(&mut next, flow.spec.interval);
    }
}

fn udp_stream(flow: &Shared, index: usize) {
    let Some(socket) = patiently(flow, index, || connect_datagram(flow)) else { return };
    let (mut next, mut number) = (Instant::now(), 0u64);
    while !flow.stopped() {
        number += 1;
        flow.conn(index).sent(number, Instant::now());
        // An error is an ICMP complaint or a missing route; either way the message is lost.
        let _ = socket.send(&number.to_be_bytes());
        next = (next + flow.spec.interval).max(Instant::now());
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                std::thread::sleep(left);
                drain(flow, index, &socket);
                break;
            }
            if matches!(sys::readable(socket.as_fd(), left), Ok(true)) {
                drain(flow, index, &socket);
            }
        }
    }
}

fn drain(flow: &Shared, index: usize, socket: &UdpSocket) {
    let mut answer = [0; 8];
    let _ = socket.set_nonblocking(true);
    loop {
        match socket.recv(&mut answer) {
            Ok(8) => flow.conn(index).answered(u64::from_be_bytes(answer), Instant::now()),
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => break,
            // A pending ICMP error; the next read shows what else there is.
            Err(_) => {}
        }
    }
    let _ = socket.set_nonblocking(false);
}

/// Repeats `make` until it succeeds or the flow is stopped.
fn patiently<T>(flow: &Shared, index: usize, make: impl Fn() -> io::Result<T>) -> Option<T> {
    while !flow.stopped() {
        match make() {
            Ok(made) => return Some(made),
            Err(_) => flow.conn(index).counts.failures += 1,
        }
        std::thread::sleep(RETRY);
    }
    None
}

fn udp_new(flow: &Shared) {
    let Ok(epoll) = Epoll::new() else { return };
    let mut sockets: VecDeque<(u64, UdpSocket)> = VecDeque::new();
    let (mut next, mut number) = (Instant::now(), 0u64);
    while !flow.stopped() {
        number += 1;
        flow.conn(0).sent(number, Instant::now());
        let sent = connect_fresh(flow, number).and_then(|s| s.send(&number.to_be_bytes()).map(|_| s));
        match sent {
            Ok(socket) => {
                let _ = epoll.add(socket.as_fd(), number);
                sockets.push_back((number, socket));
            }
            Err(_) => flow.conn(0).counts.failures += 1,
        }
        if sockets.len() > FRESH_SOCKETS_MAX {
            sockets.pop_front();
        }
        let front = |s: &VecDeque<(u64, UdpSocket)>| s.front().map_or(0, |(n, _)| *n);
        for key in epoll.wait(Duration::ZERO).unwrap_or_default() {
            let at = sockets.partition_point(|(n, _)| *n < key);
            if sockets.get(at).is_some_and(|(n, _)| *n == key) {
                let (_, socket) = &sockets[at];
                let mut answer = [0; 8];
                if socket.recv(&mut answer).is_ok() {
                    flow.conn(0).answered(key, Instant::now());
                }
                sockets.remove(at);
            }
        }
        // Half a second without an answer: nobody waits for it any more.
        let keep = u64::try_from(500 / flow.spec.interval.as_millis().max(1)).unwrap_or(1) + 64;
        while front(&sockets) + keep < number && !sockets.is_empty() {
            sockets.pop_front();
        }
        until_next(&mut next, flow.spec.interval);
    }
}

fn short(flow: &Shared, index: usize) {
    let total = flow.spec.count as usize;
    let start = Instant::now();
    while !flow.stopped() {
        let n = flow.next.fetch_add(1, Ordering::Relaxed);
        if n >= total {
            return;
        }
        let due = start + flow.spec.interval * u32::try_from(n).unwrap_or(u32::MAX);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let number = n as u64;
        flow.conn(index).sent(number, Instant::now());
        match exchange(flow, number) {
            Ok(()) => flow.conn(index).answered(number, Instant::now()),
            Err(_) => flow.conn(index).lost(number),
        }
    }
}

fn exchange(flow: &Shared, number: u64) -> io::Result<()> {
    let (message, mut answer) = (number.to_be_bytes(), [0; 8]);
    if flow.spec.kind == Kind::TcpShort {
        let mut stream = connect(flow, flow.spec.timeout)?;
        stream.write_all(&message)?;
        stream.read_exact(&mut answer)?;
    } else {
        let socket = connect_fresh(flow, number)?;
        socket.set_read_timeout(Some(flow.spec.timeout))?;
        socket.send(&message)?;
        socket.recv(&mut answer)?;
    }
    if answer == message { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

fn ping(flow: &Shared, index: usize) {
    let v4 = flow.to.is_ipv4();
    let (domain, protocol) =
        if v4 { (Domain::IPV4, Protocol::ICMPV4) } else { (Domain::IPV6, Protocol::ICMPV6) };
    let open = || {
        let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
        if let Some(device) = &flow.spec.device {
            socket.bind_device(Some(device.as_bytes()))?;
        }
        if let Some(source) = flow.spec.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    };
    let Some(socket) = patiently(flow, index, open) else { return };
    // One identifier per connection and flow, so that every ping is a flow of its own to the router.
    let id = flow.id.wrapping_mul(256).wrapping_add(u16::try_from(index).unwrap_or(0)).wrapping_add(1);
    let target = SocketAddr::new(flow.to.ip(), 0).into();
    let (mut next, mut number) = (Instant::now(), 0u16);
    while !flow.stopped() {
        number = number.wrapping_add(1);
        flow.conn(index).sent(u64::from(number), Instant::now());
        let _ = socket.send_to(&echo_request(v4, id, number, flow.id), &target);
        next = (next + flow.spec.interval).max(Instant::now());
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let left = left.max(Duration::from_millis(1));
            let answer = match sys::readable(socket.as_fd(), left) {
                Ok(true) => echo_reply(&socket, v4, id),
                _ => None,
            };
            if let Some(answered) = answer {
                flow.conn(index).answered(u64::from(answered), Instant::now());
            }
        }
    }
}

fn echo_request(v4: bool, id: u16, number: u16, flow: u16) -> Vec<u8> {
    let mut packet = vec![if v4 { 8 } else { 128 }, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.extend(PING_MAGIC);
    packet.extend(flow.to_be_bytes());
    if v4 {
        // The kernel fills in the checksum of ICMPv6 only (RFC 3542 §3.1).
        let words = packet.chunks(2).map(|c| u32::from(u16::from_be_bytes([c[0], c[1]])));
        let sum: u32 = words.sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
        packet[2..4].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

fn echo_reply(socket: &Socket, v4: bool, id: u16) -> Option<u16> {
    let mut buffer = [0; 256];
    let mut reader = socket;
    let n = reader.read(&mut buffer).ok()?;
    let bytes = &buffer[..n];
    let skip = if v4 { usize::from(bytes.first()? & 15) * 4 } else { 0 };
    let message = bytes.get(skip..)?;
    let reply = if v4 { 0 } else { 129 };
    let word = |at: usize| Some(u16::from_be_bytes(message.get(at..at + 2)?.try_into().ok()?));
    (*message.first()? == reply && word(4)? == id && message.get(8..14)? == PING_MAGIC).then(|| word(6))?
}

/// Sends to random high ports until stopped.
pub(super) fn scan(targets: &[IpAddr], every: Duration, rng: &mut Rng, stop: &AtomicBool) {
    let mut next = Instant::now();
    for _ in 0..SCAN_MAX {
        if stop.load(Ordering::Relaxed) || targets.is_empty() {
            return;
        }
        let pick = usize::try_from(rng.next_u64() % targets.len() as u64).unwrap_or(0);
        let port = u16::try_from(rng.between(61_000, 65_000)).unwrap_or(61_000);
        let to = SocketAddr::new(targets[pick], port);
        if rng.between(0, 1) == 0 {
            let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0; 16], 0).into() };
            let _ = UdpSocket::bind(any).and_then(|s| s.send_to(b"scan", to));
        } else if let Ok(socket) = Socket::new(Domain::for_address(to), Type::STREAM, None) {
            // One SYN; the socket is gone before the answer.
            let _ = socket.set_nonblocking(true);
            let _ = socket.connect(&to.into());
        }
        until_next(&mut next, every);
    }
}
