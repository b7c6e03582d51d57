#![allow(clippy::unwrap_used)]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::mpsc;
use std::thread;

use mwan_config::link::{Auth, Link, Login, Method, Secret};
use mwan_dial::Role;

use super::*;

/// What was asked: service, message, values.
type Asked = (u8, u16, Vec<u8>);

/// A stand-in for a modem behind libqmi's proxy: answers as libqmi's data files say, in pieces, with noise in between.
fn modem(name: &str, right: &'static str, slow: Duration) -> mpsc::Receiver<Asked> {
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name).unwrap()).unwrap();
    let (tell, asked) = mpsc::channel();
    thread::spawn(move || {
        let mut ready = false;
        for stream in listener.incoming() {
            let _ = serve(&mut stream.unwrap(), right, slow, &mut ready, &tell);
        }
    });
    asked
}

fn serve(
    stream: &mut UnixStream,
    right: &str,
    slow: Duration,
    ready: &mut bool,
    tell: &mpsc::Sender<Asked>,
) -> std::io::Result<()> {
    loop {
        let mut start = [0; 3];
        stream.read_exact(&mut start)?;
        let mut rest = vec![0; usize::from(u16::from_le_bytes([start[1], start[2]])) - 2];
        stream.read_exact(&mut rest)?;
        let service = rest[1];
        let head = if service == 0 { 5 } else { 6 };
        let message = u16::from_le_bytes([rest[head], rest[head + 1]]);
        let values = rest[head + 4..].to_vec();
        let (error, told): (u8, Vec<u8>) = match (service, message) {
            (0, 0xFF00 | 0x23) | (1, 0x28) => (0, Vec::new()),
            (0, 0x22) => (0, vec![1, 2, 0, values[3], 9]),
            (0x0B, 0x2F) => (0, status(*ready)),
            (0x0B, 0x26) => {
                *ready = values[10..] == *right.as_bytes();
                (if *ready { 0 } else { 12 }, vec![0x10, 2, 0, 2, 10])
            }
            _ => (71, Vec::new()),
        };
        let _ = tell.send((service, message, values));
        if (service, message) == (0x0B, 0x26) {
            thread::sleep(slow);
        }
        let mut sdu = if service == 0 { vec![1, rest[4]] } else { vec![2, rest[4], rest[5]] };
        sdu.extend([rest[head], rest[head + 1], u8::try_from(7 + told.len()).unwrap(), 0]);
        sdu.extend([2, 4, 0, u8::from(error != 0), 0, error, 0]);
        sdu.extend(told);
        let answer =
            [&[1, u8::try_from(5 + sdu.len()).unwrap(), 0, 0x80, service, rest[2]][..], &sdu].concat();
        // An indication first, then the answer in two pieces.
        stream.write_all(&[1, 12, 0, 0x80, 3, 0xFF, 4, 1, 0, 0x4E, 0, 0, 0])?;
        stream.write_all(&answer[..4])?;
        thread::sleep(LOOK);
        stream.write_all(&answer[4..])?;
    }
}

/// One card with a USIM that asks for its PIN, three wrong ones left, or does not.
fn status(ready: bool) -> Vec<u8> {
    let (state, pin) = if ready { (7, 2) } else { (2, 1) };
    let mut bytes = vec![0x10, 30, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 1, 0, 0, 0, 0, 1];
    bytes.extend([2, state, 0, 0, 0, 0, 1, 0xA0, 0, pin, 3, 10, 0, 0, 0]);
    bytes
}

fn setup(pin: &str) -> Setup {
    let login = Login { user: "me".into(), password: Secret::new("xyzzy"), auth: Auth::Pap };
    Setup { pin: Some(Secret::new(pin)), profile: Some(("internet".into(), login)) }
}

/// Of the PIN 4711, in a folder for all tests of this process but by a name of the test's own.
fn link(name: &str) -> Link {
    Link {
        name: name.into(),
        device: name.into(),
        lower: None,
        method: Method::Qmi {
            control: None,
            apn: "internet".into(),
            pin: Some(Secret::new("4711")),
            login: None,
        },
        session_device: "wwan0".into(),
        on_demand: true,
        mtu: None,
        mac: None,
    }
}

/// Prepares with notes of its own; whether one is left.
fn prepared(
    name: &str,
    control: &str,
    notes: &std::path::Path,
    stop: &AtomicBool,
) -> (Result<(), Failure>, bool) {
    let link = link(name);
    let pins = Pins::new(notes, &link, Role::Carry);
    let end = prepare_by(name, control, &setup("4711"), &pins, stop);
    (end, pins.is_open())
}

fn name(of: &str) -> String {
    format!("mwan-test-{}-{of}", std::process::id())
}

fn counted(asked: &mpsc::Receiver<Asked>, which: (u8, u16)) -> usize {
    asked.try_iter().filter(|(service, message, _)| (*service, *message) == which).count()
}

#[test]
fn a_sim_that_asks_is_told_its_pin_and_the_profile_gets_the_login() {
    let (name, stop, notes) = (name("right"), AtomicBool::new(false), tempfile::tempdir().unwrap());
    let asked = modem(&name, "4711", Duration::ZERO);
    assert_eq!(prepared(&name, "/dev/cdc-wdm0", notes.path(), &stop), (Ok(()), false));
    let all: Vec<Asked> = asked.try_iter().collect();
    let order: Vec<(u8, u16)> = all.iter().map(|(service, message, _)| (*service, *message)).collect();
    let sim = [(0, 0x22), (0x0B, 0x2F), (0x0B, 0x26), (0, 0x23)];
    let profile = [(0, 0x22), (1, 0x28), (0, 0x23)];
    assert_eq!(order, [&[(0, 0xFF00)][..], &sim, &profile].concat(), "every client is given back");
    assert_eq!(all[0].2, b"\x01\x0d\0/dev/cdc-wdm0");
    assert_eq!(all[3].2, b"\x01\x02\0\0\0\x02\x06\0\x01\x044711");
    let login = b"\x01\x02\0\0\x01\x11\x01\0\0\x14\x08\0internet\x1b\x02\0me\x1c\x05\0xyzzy\x1d\x01\0\x01";
    assert_eq!(all[6].2, login);
    // The SIM is ready now.
    assert_eq!(prepared(&name, "/dev/cdc-wdm0", notes.path(), &stop), (Ok(()), false));
    assert_eq!(counted(&asked, (0x0B, 0x26)), 0);
}

#[test]
fn a_wrong_pin_is_told_once_and_ends_the_attempt() {
    let (name, stop, notes) = (name("wrong"), AtomicBool::new(false), tempfile::tempdir().unwrap());
    let asked = modem(&name, "0000", Duration::ZERO);
    let end = prepared(&name, "/dev/cdc-wdm0", notes.path(), &stop);
    assert_eq!(end, (Err(Failure::PinRefused), true));
    let all: Vec<Asked> = asked.try_iter().collect();
    assert_eq!(all.iter().filter(|(service, message, _)| (*service, *message) == (0x0B, 0x26)).count(), 1);
    assert_eq!(all.last().map(|(service, message, _)| (*service, *message)), Some((0, 0x23)));
    // Before anybody has remembered that, another process finds its note.
    assert_eq!(prepared(&name, "/dev/cdc-wdm0", notes.path(), &stop), (Err(Failure::PinRefused), true));
    assert_eq!(counted(&asked, (0x0B, 0x26)), 0);
}

/// The primary is back, or the configuration is another: who does not wait for the answer never knows that the PIN is right.
#[test]
fn a_link_that_is_dropped_while_a_slow_sim_tries_its_pin_waits_for_the_answer() {
    let (name, notes) = (name("slow"), tempfile::tempdir().unwrap());
    let asked = modem(&name, "4711", Duration::from_millis(500));
    let stop = std::sync::Arc::new(AtomicBool::new(false));
    let dropped = stop.clone();
    thread::spawn(move || {
        while asked.recv().is_ok_and(|(service, message, _)| (service, message) != (0x0B, 0x26)) {}
        dropped.store(true, Ordering::Relaxed);
        while asked.recv().is_ok() {}
    });
    let (end, open) = prepared(&name, "/dev/cdc-wdm0", notes.path(), &stop);
    assert!(!open && stop.load(Ordering::Relaxed), "{end:?}");
    assert_ne!(end, Err(Failure::PinRefused));
}

#[test]
fn a_device_that_is_not_there_or_says_nothing_is_told() {
    let stop = AtomicBool::new(true);
    let notes = tempfile::tempdir().unwrap();
    let none = prepared(&name("none"), "/dev/mwan-no-such-device", notes.path(), &stop);
    assert_eq!(none.0, Err(Failure::NoDevice("/dev/mwan-no-such-device".into())));
    // It has an end.
    let ended = prepared(&name("none"), "/dev/null", notes.path(), &AtomicBool::new(false));
    assert_eq!(ended, (Err(Failure::Lost), false), "nothing was told");
    // It is silent, and we are asked to end.
    let (ours, _theirs) = UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let link = link("none");
    let pins = Pins::new(notes.path(), &link, Role::Carry);
    assert_eq!(qmi::prepare(&mut Line::new(ours, &pins, &stop), &setup("4711")), Err(Failure::Lost));
}
