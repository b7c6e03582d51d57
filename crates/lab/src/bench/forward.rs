//! What a forwarded packet costs with mwan in the router, as a ratio to a router without any multi-WAN.
//!
//! Two routers side by side in namespaces of their own; one thread on one core sends to them in turns, and
//! the kernel does the forwarding on that core, inside the sending system call.

use std::net::UdpSocket;
use std::path::Path;
use std::time::{Duration, Instant};

use super::config::{Shape, rule_network, rule_port};
use super::daemon::{Running, Setup};
use super::sys::{BATCH, FRAME, FrameSender, flush_conntrack, pin_to_last_core};
use super::table::{Row, Series};
use super::world::{CLIENT, CLIENT_MAC, ROUTER_MAC, SERVICE, SERVICE_PORT, World};

/// Pairs of slices.
const PAIRS: usize = 21;
/// Pairs before the first that counts.
const WARM_UP: usize = 2;
/// Batches of a slice: some 60 ms with known flows, 100 ms with new ones (19,200 of them).
const BATCHES: usize = 600;
const BATCHES_NEW: usize = 300;
/// First source port; a slice of new flows uses every port once.
const PORT_FIRST: u16 = 10_000;

/// What is sent.
#[derive(Clone, Copy)]
enum Load {
    /// 64 flows that have been answered.
    Established,
    /// Every packet a source port of its own.
    New { to: [u8; 4], port: u16 },
}

/// Costs, each in nanoseconds per packet.
struct Outcome {
    ratio: Series,
    plain: Series,
    mwan: Series,
    generator: f64,
    core: usize,
}

/// Established flows.
pub(crate) fn established(mwan: &Path) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for (wans, target, peers) in [(2, 1.10, ["1.33", "1.24"]), (30, 1.22, ["1.55", "1.43"])] {
        let outcome = compare(mwan, wans, 300, Load::Established)?;
        let what = format!("established packets against no multi-WAN, {wans} interfaces, 300 rules");
        rows.push(outcome.row("established", what, target, peers));
    }
    Ok(rows)
}

/// New flows.
pub(crate) fn new_connections(mwan: &Path) -> Result<Vec<Row>, String> {
    let middle = |rules: usize| {
        let n = rules / 2 + 1; // odd: balanced, as the last rule
        let [a, b] = rule_network(n);
        Load::New { to: [203, a, b, 10], port: rule_port(n) }
    };
    let last = Load::New { to: SERVICE, port: SERVICE_PORT };
    let cases = [
        (2, 300, last, "last", 1.30, ["2.20", "2.34"]),
        (30, 300, last, "last", 1.35, ["3.20", "3.40"]),
        (2, 3000, last, "last", 1.30, ["—", "—"]),
        (2, 300, middle(300), "middle", 1.30, ["—", "—"]),
        (2, 3000, middle(3000), "middle", 1.30, ["—", "—"]),
    ];
    let mut rows = Vec::new();
    for (wans, rules, load, hit, target, peers) in cases {
        let outcome = compare(mwan, wans, rules, load)?;
        let what = format!("new connections, {wans} interfaces × {rules} rules, {hit} rule matches");
        rows.push(outcome.row("new", what, target, peers));
    }
    Ok(rows)
}

impl Outcome {
    fn row(&self, name: &'static str, what: String, target: f64, peers: [&str; 2]) -> Row {
        let ratio = self.ratio.median();
        let net = |series: &Series| series.median() - self.generator;
        let note = format!(
            "{:.0} ns per packet against {:.0} without; {} pairs, middle half {}; generator and sink are {:.0} ns \
             of both (ratio without them {:.3}); core {}.",
            self.mwan.median(),
            self.plain.median(),
            self.ratio.len(),
            self.ratio.quartiles(),
            self.generator,
            net(&self.mwan) / net(&self.plain),
            self.core
        );
        Row::new(name, what)
            .target(format!("≤ {target:.2}"))
            .measured(format!("{ratio:.3}"))
            .peers(peers[0], peers[1])
            .verdict(ratio <= target)
            .note(note)
    }
}

fn compare(mwan: &Path, wans: usize, rules: usize, load: Load) -> Result<Outcome, String> {
    eprintln!("      {wans} interfaces, {rules} rules …");
    let shape = Shape { wans, rules, targets: 1, tracking: &[], last: "balanced" };
    let plain = Side::new(World::build("plain", wans)?)?;
    plain.world.masquerade()?;
    let mut managed = Side::new(World::build("mwan", wans)?)?;
    let daemon = Setup::new(mwan, &managed.world.router, &shape.uci())?.start()?;
    daemon.wait_online(Duration::from_secs(10))?;
    managed.daemon = Some(daemon);
    let measured = std::thread::scope(|scope| {
        let thread = scope.spawn(|| alternate(&plain, &managed, load));
        thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
    });
    if let Some(daemon) = managed.daemon.take() {
        daemon.stop()?;
    }
    measured
}

/// Runs on a thread of its own, which stays on one core.
fn alternate(plain: &Side, managed: &Side, load: Load) -> Result<Outcome, String> {
    let core = pin_to_last_core().map_err(|e| format!("cannot stay on one core: {e}"))?;
    if matches!(load, Load::Established) {
        plain.establish()?;
        managed.establish()?;
    }
    let (mut ratios, mut without, mut with) = (Vec::new(), Vec::new(), Vec::new());
    for pair in 0..WARM_UP + PAIRS {
        // Whoever comes second finds caches and clock as the first left them: take turns.
        let (a, b) = if pair % 2 == 0 {
            let a = plain.slice(load)?;
            (a, managed.slice(load)?)
        } else {
            let b = managed.slice(load)?;
            (plain.slice(load)?, b)
        };
        if pair >= WARM_UP {
            ratios.push(b / a);
            without.push(a);
            with.push(b);
        }
    }
    Ok(Outcome {
        ratio: Series::new(ratios)?,
        plain: Series::new(without)?,
        mwan: Series::new(with)?,
        generator: plain.generator_alone()?,
        core,
    })
}

/// One router under load.
struct Side {
    world: World,
    sender: FrameSender,
    daemon: Option<Running>,
}

impl Side {
    fn new(world: World) -> Result<Side, String> {
        let sender = world.client.run(|| FrameSender::open("eth0")).map_err(|e| e.to_string())?;
        let sender = sender.map_err(|e| format!("packet socket: {e}"))?;
        Ok(Side { world, sender, daemon: None })
    }

    fn flush(&self) -> Result<(), String> {
        let flushed = self.world.router.run(flush_conntrack).map_err(|e| e.to_string())?;
        flushed.map_err(|e| format!("conntrack: {e}"))
    }

    fn send(&self, frames: &mut [[u8; FRAME]; BATCH]) -> Result<(), String> {
        self.sender.send(frames).map_err(|e| format!("send: {e}"))
    }

    /// Sends one empty datagram per flow and has the far end answer it.
    fn establish(&self) -> Result<(), String> {
        self.flush()?;
        let address = (std::net::Ipv4Addr::from(SERVICE), SERVICE_PORT);
        let fail = |e: std::io::Error| format!("far end: {e}");
        let socket = self.world.peer.run(|| UdpSocket::bind(address)).map_err(|e| e.to_string())?;
        let socket = socket.map_err(fail)?;
        socket.set_read_timeout(Some(Duration::from_secs(2))).map_err(fail)?;
        let mut frames = [frame(SERVICE, SERVICE_PORT, 0); BATCH];
        set_ports(&mut frames, PORT_FIRST);
        self.send(&mut frames)?;
        for _ in 0..BATCH {
            let (_, from) = socket.recv_from(&mut []).map_err(|e| format!("a flow did not arrive: {e}"))?;
            socket.send_to(&[], from).map_err(fail)?;
        }
        Ok(())
    }

    /// Nanoseconds per packet: the median of many batches, so that a batch in which something else had the
    /// core does not count.
    fn slice(&self, load: Load) -> Result<f64, String> {
        let (to, port, batches) = match load {
            Load::Established => (SERVICE, SERVICE_PORT, BATCHES),
            Load::New { to, port } => (to, port, BATCHES_NEW),
        };
        let mut frames = [frame(to, port, 18); BATCH];
        set_ports(&mut frames, PORT_FIRST);
        let is_new = matches!(load, Load::New { .. });
        if is_new {
            self.flush()?;
        }
        let before = self.world.arrived()?;
        let mut times = Vec::with_capacity(batches);
        for batch in 0..batches {
            if is_new {
                set_ports(&mut frames, PORT_FIRST + u16::try_from(batch * BATCH).unwrap_or(0));
            }
            let begin = Instant::now();
            self.send(&mut frames)?;
            times.push(begin.elapsed().as_nanos() as f64 / BATCH as f64);
        }
        // What another thread had to finish: a softirq handed over to ksoftirqd.
        std::thread::sleep(Duration::from_millis(2));
        let (sent, arrived) = ((batches * BATCH) as u64, self.world.arrived()? - before);
        if arrived + sent / 100 < sent {
            return Err(format!("of {sent} packets only {arrived} arrived"));
        }
        Ok(Series::new(times)?.median())
    }

    /// The same frames to another link address: the router drops them as soon as it sees them.
    fn generator_alone(&self) -> Result<f64, String> {
        let mut frames = [frame(SERVICE, SERVICE_PORT, 18); BATCH];
        for frame in &mut frames {
            frame[5] ^= 0x80;
        }
        let mut times = Vec::with_capacity(BATCHES);
        for _ in 0..BATCHES {
            let begin = Instant::now();
            self.send(&mut frames)?;
            times.push(begin.elapsed().as_nanos() as f64 / BATCH as f64);
        }
        Ok(Series::new(times)?.median())
    }
}

/// A UDP datagram of the client with `content` bytes in it (at most 18), addressed to the router's link.
fn frame(to: [u8; 4], port: u16, content: u16) -> [u8; FRAME] {
    let mut out = [0; FRAME];
    out[0..6].copy_from_slice(&ROUTER_MAC);
    out[6..12].copy_from_slice(&CLIENT_MAC);
    out[12..14].copy_from_slice(&0x0800u16.to_be_bytes());
    out[14] = 0x45;
    out[16..18].copy_from_slice(&(28 + content).to_be_bytes());
    out[22] = 64;
    out[23] = 17;
    out[26..30].copy_from_slice(&CLIENT);
    out[30..34].copy_from_slice(&to);
    let checksum = internet_checksum(&out[14..34]);
    out[24..26].copy_from_slice(&checksum.to_be_bytes());
    out[36..38].copy_from_slice(&port.to_be_bytes());
    // UDP's checksum stays 0: none (RFC 768).
    out[38..40].copy_from_slice(&(8 + content).to_be_bytes());
    out
}

fn set_ports(frames: &mut [[u8; FRAME]; BATCH], first: u16) {
    for (frame, port) in frames.iter_mut().zip(first..) {
        frame[34..36].copy_from_slice(&port.to_be_bytes());
    }
}

/// RFC 1071.
fn internet_checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(*w.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let folded = (sum & 0xFFFF) + (sum >> 16);
    !((folded & 0xFFFF) as u16).wrapping_add((folded >> 16) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_a_valid_header() {
        let frame = frame([198, 51, 100, 10], 9, 18);
        assert_eq!(internet_checksum(&frame[14..34]), 0);
        assert_eq!(frame[38..40], [0, 26]);
    }

    #[test]
    fn ports_of_a_slice_never_repeat() {
        let last = usize::from(PORT_FIRST) + BATCHES_NEW * BATCH;
        assert!(last <= usize::from(u16::MAX), "{last}");
    }
}
