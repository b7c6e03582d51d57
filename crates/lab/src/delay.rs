//! Delay without netem: the provider routes what it forwards through a tun device, and a thread here hands
//! each packet back after its time.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::build::{CUSTOMER_LINK, UPSTREAM_LINK};
use crate::netns::{Netns, NetnsError};
use crate::sys;

/// A full queue drops, like any router's.
const QUEUE_PACKETS_MAX: usize = 20_000;

/// A relay at work in one namespace.
pub struct Delay {
    micros: Arc<AtomicU64>,
}

impl Delay {
    /// Diverts everything `ns` forwards through a new relay that holds each packet for `oneway`.
    pub fn start(ns: &Arc<Netns>, oneway: Duration) -> Result<Delay, NetnsError> {
        let fail = |source| NetnsError::Io { node: ns.name().into(), what: "/dev/net/tun".into(), source };
        let tun = ns.run(|| sys::open_tun("delay0"))?.map_err(fail)?;
        ns.ip(&format!(
            "link set delay0 up mtu 9000\n\
             route add default dev delay0 table 100\n-6 route add default dev delay0 table 100\n\
             rule add pref 100 iif {CUSTOMER_LINK} lookup 100\n\
             rule add pref 100 iif {UPSTREAM_LINK} lookup 100\n\
             -6 rule add pref 100 iif {CUSTOMER_LINK} lookup 100\n\
             -6 rule add pref 100 iif {UPSTREAM_LINK} lookup 100\n"
        ))?;
        let delay = Delay { micros: Arc::default() };
        delay.set(oneway);
        let micros = Arc::clone(&delay.micros);
        ns.spawn(move || relay(tun, &micros))?;
        Ok(delay)
    }

    /// Changes the time each packet is held.
    pub fn set(&self, oneway: Duration) {
        let micros = u64::try_from(oneway.as_micros()).unwrap_or(u64::MAX);
        self.micros.store(micros, Ordering::Relaxed);
    }
}

fn relay(mut tun: std::fs::File, micros: &AtomicU64) {
    let mut queue: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let now = Instant::now();
        while queue.front().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, packet)) = queue.pop_front() {
                // A packet the kernel refuses is a packet lost on the way.
                let _ = tun.write(&packet);
            }
        }
        let next =
            queue.front().map_or(Duration::from_secs(1), |(due, _)| due.saturating_duration_since(now));
        // poll counts whole milliseconds; the last one is spent spinning through short waits.
        match sys::readable(tun.as_fd(), next) {
            Ok(true) => match tun.read(&mut buffer) {
                Ok(n) if queue.len() < QUEUE_PACKETS_MAX => {
                    let due = Instant::now() + Duration::from_micros(micros.load(Ordering::Relaxed));
                    queue.push_back((due, buffer[..n].to_vec()));
                }
                Ok(_) => {}
                Err(_) => return,
            },
            Ok(false) if next < Duration::from_millis(1) => std::thread::sleep(next),
            Ok(false) => {}
            Err(_) => return,
        }
    }
}
