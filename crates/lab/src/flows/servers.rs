//! Echo servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::capture::TCP;
use crate::netns::{Netns, NetnsError};

/// An idle connection is dropped: its client is long gone (a failover leaves such halves behind).
const IDLE_MAX: Duration = Duration::from_secs(120);
/// Short flows come in bursts.
const BACKLOG: i32 = 1024;

/// Serves `address` in `ns`: whatever arrives is sent back, from that very address.
pub fn serve(ns: &Arc<Netns>, protocol: u8, address: SocketAddr) -> Result<(), NetnsError> {
    let fail = |source| NetnsError::Io { node: ns.name().into(), what: format!("serve {address}"), source };
    let tcp = protocol == TCP;
    let socket = ns.run(|| bind(tcp, address))?.map_err(fail)?;
    let inside = Arc::clone(ns);
    ns.spawn(move || {
        if tcp {
            accept(&inside, &socket.into());
        } else {
            echo_datagrams(&socket.into());
        }
    })?;
    Ok(())
}

fn bind(tcp: bool, address: SocketAddr) -> std::io::Result<Socket> {
    let kind = if tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(address), kind, None::<Protocol>)?;
    socket.set_reuse_address(true)?;
    if !tcp {
        socket.set_recv_buffer_size(4 << 20)?;
    }
    socket.bind(&address.into())?;
    if tcp {
        socket.listen(BACKLOG)?;
    }
    Ok(socket)
}

fn accept(ns: &Arc<Netns>, listener: &TcpListener) {
    while let Ok((stream, _)) = listener.accept() {
        // Out of threads: the client sees a reset, and the scenario a failed connection.
        let _ = ns.spawn(move || echo_stream(stream));
    }
}

fn echo_stream(mut stream: TcpStream) {
    let mut buffer = [0; 4096];
    if stream.set_nodelay(true).is_err() || stream.set_read_timeout(Some(IDLE_MAX)).is_err() {
        return;
    }
    while let Ok(n) = stream.read(&mut buffer) {
        if n == 0 || stream.write_all(&buffer[..n]).is_err() {
            return;
        }
    }
}

fn echo_datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // Errors here are ICMP complaints about earlier answers; the server goes on.
        if let Ok((n, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..n], from);
        }
    }
}
