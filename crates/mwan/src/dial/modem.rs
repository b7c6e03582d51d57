//! Speaks QMI on a modem's control device, for what must not be in an argument of `qmicli`.
//!
//! Every reader of the device may get any answer, so as long as libqmi's proxy has it (`qmicli --device-open-proxy` starts it, and
//! it stays for a while), the proxy is who is spoken to. Nothing that is asked or answered is logged.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use mwan_dial::Failure;
use mwan_dial::qmi::{self, Answer, FRAME_BYTES_MAX, Modem, Request, Setup};
use mwan_linux::process;

use super::pins::Pins;

/// The abstract socket of libqmi's proxy (src/libqmi-glib/qmi-proxy.h).
const PROXY: &str = "qmi-proxy";
/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a SIM may take to try a PIN.
const SIM: Duration = Duration::from_secs(30);
/// How long a PIN that was told may keep us from being stopped: until the SIM has tried it, and said what it is.
const FATE: Duration = Duration::from_secs(45);
/// Pause before a SIM that starts is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause between two looks for an answer.
const LOOK: Duration = Duration::from_millis(10);

/// Tells the modem behind `control` what it must know.
pub(super) fn prepare(control: &str, setup: &Setup, pins: &Pins, stop: &AtomicBool) -> Result<(), Failure> {
    prepare_by(PROXY, control, setup, pins, stop)
}

fn prepare_by(
    proxy: &str,
    control: &str,
    setup: &Setup,
    pins: &Pins,
    stop: &AtomicBool,
) -> Result<(), Failure> {
    match proxy_at(proxy) {
        Some(socket) => {
            let mut line = Line::new(socket, pins, stop);
            qmi::open_by_proxy(&mut line, control)?;
            qmi::prepare(&mut line, setup)
        }
        None => {
            let mut options = fs::OpenOptions::new();
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY);
            let device = options.open(control).map_err(|error| unopened(control, &error))?;
            qmi::prepare(&mut Line::new(device, pins, stop), setup)
        }
    }
}

/// The proxy, if it runs. Anybody could listen under its name, and keep us waiting: secrets are only for one that is root's, and
/// one that does not take us at once is none.
fn proxy_at(name: &str) -> Option<UnixStream> {
    process::connect_abstract(name).ok().filter(process::is_ours)
}

fn unopened(control: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        ErrorKind::NotFound => Failure::NoDevice(control.to_owned()),
        ErrorKind::ResourceBusy => Failure::Busy,
        _ => super::run::trouble(control, error),
    }
}

/// Something non-blocking that speaks QMI.
struct Line<'a, S> {
    stream: S,
    pins: &'a Pins<'a>,
    stop: &'a AtomicBool,
    /// Since when it is open whether the PIN that was told is right: who is asked to end then would never know.
    told: Option<Instant>,
    transaction: u8,
    /// What was read and is no whole frame yet.
    read: Vec<u8>,
}

impl<'a, S: Read + Write> Line<'a, S> {
    fn new(stream: S, pins: &'a Pins<'a>, stop: &'a AtomicBool) -> Self {
        Line { stream, pins, stop, told: None, transaction: 0, read: Vec::new() }
    }

    fn is_to_end(&self) -> bool {
        self.stop.load(Ordering::Relaxed) && self.told.is_none_or(|told| told.elapsed() >= FATE)
    }

    fn say(&mut self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) => self.wait(&error, deadline)?,
            }
        }
        Ok(())
    }

    /// One whole frame.
    fn hear(&mut self, deadline: Instant) -> Result<Vec<u8>, Failure> {
        let mut buffer = [0; 4096];
        loop {
            if let Some(frame) = qmi::frame(&mut self.read) {
                return Ok(frame);
            }
            // One that never stops talking is not listened to for longer, either.
            self.wait(&ErrorKind::WouldBlock.into(), deadline)?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::Lost),
                Ok(length) => self.read.extend(&buffer[..length]),
                Err(error) => self.wait(&error, deadline)?,
            }
            if self.read.len() > 2 * FRAME_BYTES_MAX {
                self.read.clear();
            }
        }
    }

    /// After an attempt that may have been too early.
    fn wait(&self, error: &std::io::Error, deadline: Instant) -> Result<(), Failure> {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::Interrupted => {}
            _ => return Err(Failure::Lost),
        }
        if self.is_to_end() {
            return Err(Failure::Lost);
        }
        if Instant::now() >= deadline {
            return Err(Failure::NoAnswer);
        }
        std::thread::sleep(LOOK);
        Ok(())
    }
}

impl<S: Read + Write> Modem for Line<'_, S> {
    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let deadline = Instant::now() + if self.told.is_some() { SIM } else { ANSWER };
        self.transaction = self.transaction.checked_add(1).unwrap_or(1);
        self.say(&request.bytes(self.transaction), deadline)?;
        loop {
            let frame = self.hear(deadline)?;
            if let Some(answer) = qmi::answer(&frame, request, self.transaction) {
                return Ok(answer);
            }
        }
    }

    fn pause(&mut self) -> Result<(), Failure> {
        if self.is_to_end() {
            return Err(Failure::Lost);
        }
        std::thread::sleep(PAUSE);
        Ok(())
    }

    fn telling(&mut self) -> Result<(), Failure> {
        self.pins.begin()?;
        self.told = Some(Instant::now());
        Ok(())
    }

    fn settled(&mut self) {
        self.pins.end();
        self.told = None;
    }
}

#[cfg(test)]
mod tests;
