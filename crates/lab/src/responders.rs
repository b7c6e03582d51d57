//! Servers that probes of applications need: HTTP, HTTPS and DNS, each saying one thing.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::netns::{Netns, NetnsError};

/// A client that says nothing is left.
const IDLE_MAX: Duration = Duration::from_secs(10);
/// Longest request.
const REQUEST_MAX: usize = 8192;

/// What is served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Responder {
    /// Every request is answered with this status, and a redirection if there is a location.
    Http {
        /// With a certificate that nobody vouches for.
        tls: bool,
        /// Status.
        status: u16,
        /// Where it redirects to.
        location: Option<String>,
    },
    /// Every question is answered with one record.
    Dns,
}

/// Serves `address` in `ns` until the lab ends.
pub fn respond(ns: &Arc<Netns>, responder: &Responder, address: SocketAddr) -> Result<(), NetnsError> {
    let fail = |source| NetnsError::Io { node: ns.name().into(), what: format!("serve {address}"), source };
    match responder {
        Responder::Dns => {
            let socket = ns.run(|| UdpSocket::bind(address))?.map_err(fail)?;
            ns.spawn(move || answer_names(&socket))?;
        }
        Responder::Http { tls, status, location } => {
            let listener = ns.run(|| TcpListener::bind(address))?.map_err(fail)?;
            let config = if *tls { Some(tls_config().map_err(fail)?) } else { None };
            let location = location.as_ref().map_or_else(String::new, |to| format!("Location: {to}\r\n"));
            let answer =
                format!("HTTP/1.1 {status} Lab\r\n{location}Content-Length: 0\r\nConnection: close\r\n\r\n");
            let inside = Arc::clone(ns);
            ns.spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    let (answer, config) = (answer.clone(), config.clone());
                    // Out of threads: the client sees a reset.
                    let _ = inside.spawn(move || match config {
                        Some(config) => {
                            if let Ok(connection) = ServerConnection::new(config) {
                                answer_request(StreamOwned::new(connection, timed(stream)), &answer);
                            }
                        }
                        None => answer_request(timed(stream), &answer),
                    });
                }
            })?;
        }
    }
    Ok(())
}

fn timed(stream: TcpStream) -> TcpStream {
    // Without it a silent client keeps one thread until the lab ends.
    let _ = stream.set_read_timeout(Some(IDLE_MAX));
    stream
}

fn answer_request(mut stream: impl Read + Write, answer: &str) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
        if request.len() > REQUEST_MAX {
            return;
        }
    }
    let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.flush());
}

fn tls_config() -> std::io::Result<Arc<ServerConfig>> {
    let made =
        rcgen::generate_simple_self_signed(vec!["lab.example".to_owned()]).map_err(std::io::Error::other)?;
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).map_err(std::io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key)
        });
    config.map(Arc::new).map_err(std::io::Error::other)
}

fn answer_names(socket: &UdpSocket) {
    let mut buffer = [0; 512];
    loop {
        // Errors here are ICMP complaints about earlier answers; the server goes on.
        let Ok((length, from)) = socket.recv_from(&mut buffer) else { continue };
        if length < 17 {
            continue;
        }
        let mut answer = buffer[..length].to_vec();
        answer[2] |= 0x80;
        answer[7] = 1;
        // The name asked for, A, IN, 60 s, four bytes.
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 10]);
        let _ = socket.send_to(&answer, from);
    }
}
