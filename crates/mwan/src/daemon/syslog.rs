//! The log of a daemon without a terminal: one datagram per line to `/dev/log` (RFC 3164, as every syslogd on Linux reads
//! it). A line nobody takes is lost; it never holds the daemon up.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// `LOG_DAEMON` (syslog.h), shifted as a priority wants it.
const FACILITY: u8 = 3 << 3;

/// The way to the system's log.
#[derive(Clone, Debug)]
pub(super) struct Syslog(Arc<UnixDatagram>);

impl Syslog {
    /// `None` where there is no system's log.
    pub(super) fn open() -> Option<Self> {
        Syslog::at("/dev/log")
    }

    fn at(path: &str) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.set_nonblocking(true).ok()?;
        socket.connect(path).ok()?;
        Some(Syslog(Arc::new(socket)))
    }
}

/// Writes one line.
#[derive(Debug)]
pub(super) struct LineWriter {
    socket: Arc<UnixDatagram>,
    priority: u8,
}

impl io::Write for LineWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        let line = format!("<{}>mwan[{}]: {}", self.priority, std::process::id(), text.trim_end());
        let _ = self.socket.send(line.as_bytes());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Syslog {
    type Writer = LineWriter;

    fn make_writer(&'a self) -> LineWriter {
        LineWriter { socket: self.0.clone(), priority: FACILITY | severity(Level::INFO) }
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> LineWriter {
        LineWriter { socket: self.0.clone(), priority: FACILITY | severity(*meta.level()) }
    }
}

/// syslog's numbers.
fn severity(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_line_is_a_datagram_with_its_priority() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let server = UnixDatagram::bind(&path).unwrap();
        let log = Syslog::at(path.to_str().unwrap()).unwrap();
        let subscriber = tracing_subscriber::fmt()
            .with_writer(log)
            .with_ansi(false)
            .without_time()
            .with_level(false)
            .with_target(false)
            .finish();
        tracing::subscriber::with_default(subscriber, || tracing::warn!("wan is down"));
        let mut buffer = [0; 256];
        let length = server.recv(&mut buffer).unwrap();
        let expected = format!("<28>mwan[{}]: wan is down", std::process::id());
        assert_eq!(String::from_utf8_lossy(&buffer[..length]), expected);
        assert!(Syslog::at("/no/such/socket").is_none());
    }
}
