//! What a forwarded packet costs with mwan in the router, as a ratio to a router without any multi-WAN.
//!
//! Three routers side by side in namespaces of their own, each spreading its flows over all links: one in which ip rules
//! are in use, as on every router whose network configuration or VPN touches them (OpenWrt's netifd does at boot);
//! one that never had an ip rule, in which the kernel takes a short cut past them; and one with mwan. One thread on one core has packets arrive at them in
//! turns; the kernel forwards them on that core, inside the thread's system call, and times it itself.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::config::{Shape, rule_network, rule_port};
use super::daemon::Setup;
use super::inject::{DESTINATIONS, Frame, Injector};
use super::sys::pin_to_last_core;
use super::table::{Row, Series};
use super::world::{CROWD, SERVICE_PORT, World};

/// Rounds of one slice per router.
pub(super) const ROUNDS: usize = 21;
/// Rounds before the first that counts.
pub(super) const WARM_UP: usize = 2;
/// Packets of one system call, 10 to 30 ms: below that, what the kernel does once per call (it waits for all
/// processors to have seen the program) is most of the time.
const CALL: u32 = 4096;
/// Calls of a slice.
const CALLS: u32 = 5;
/// Known flows: one to each destination.
const FLOWS: u32 = DESTINATIONS as u32;
/// Source ports for new ones; a slice uses each once at most.
pub(super) const PORTS: u32 = 32_768;

/// What is sent.
#[derive(Clone, Copy)]
enum Load {
    /// 64 flows that have been answered.
    Established,
    /// Every packet a source port of its own.
    New { to: Ipv4Addr, port: u16 },
}

impl Load {
    /// The first destination, the port there, and how many source ports.
    fn flows(self) -> (Ipv4Addr, u16, u32) {
        match self {
            Load::Established => (CROWD, SERVICE_PORT, FLOWS),
            Load::New { to, port } => (to, port, PORTS),
        }
    }
}

/// Nanoseconds per packet of every slice.
#[derive(Default)]
struct Slices {
    plain: Vec<f64>,
    ruled: Vec<f64>,
    mwan: Vec<f64>,
}

/// What came of them.
struct Outcome {
    /// Against the router in which ip rules are in use.
    ratio: Series,
    /// Against the one that never had any.
    ratio_plain: Series,
    plain: Series,
    ruled: Series,
    mwan: Series,
    source: f64,
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
        Load::New { to: Ipv4Addr::new(203, a, b, 0), port: rule_port(n) }
    };
    let last = Load::New { to: CROWD, port: SERVICE_PORT };
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
    fn new(slices: Slices, source: f64, core: usize) -> Result<Outcome, String> {
        let over =
            |base: &[f64]| slices.mwan.iter().zip(base).map(|(with, without)| with / without).collect();
        Ok(Outcome {
            ratio: Series::new(over(&slices.ruled))?,
            ratio_plain: Series::new(over(&slices.plain))?,
            plain: Series::new(slices.plain)?,
            ruled: Series::new(slices.ruled)?,
            mwan: Series::new(slices.mwan)?,
            source,
            core,
        })
    }

    fn row(&self, name: &'static str, what: String, target: f64, peers: [&str; 2]) -> Row {
        let (ratio, plain) = (self.ratio.median(), self.ratio_plain.median());
        let note = format!(
            "{:.0} ns per packet against {:.0} (never an ip rule: {:.0}), of which {:.0} are the source of the \
             packets; {} rounds, middle half {} ({}); core {}.",
            self.mwan.median(),
            self.ruled.median(),
            self.plain.median(),
            self.source,
            self.ratio.len(),
            self.ratio.quartiles(),
            self.ratio_plain.quartiles(),
            self.core
        );
        Row::new(name, what)
            .target(format!("≤ {target:.2}"))
            .measured(format!("{ratio:.2} (never an ip rule: {plain:.2})"))
            .peers(peers[0], peers[1])
            .verdict(ratio <= target)
            .note(note)
    }
}

fn compare(mwan: &Path, wans: usize, rules: usize, load: Load) -> Result<Outcome, String> {
    eprintln!("      {wans} interfaces, {rules} rules …");
    let shape = Shape { wans, rules, targets: 1, tracking: &[], last: "balanced" };
    let [plain, ruled, managed] =
        [World::build("plain", wans)?, World::build("ruled", wans)?, World::build("mwan", wans)?];
    plain.masquerade()?;
    ruled.masquerade()?;
    let (to, ..) = load.flows();
    plain.spread(to)?;
    ruled.spread(to)?;
    // fib4_rule_delete() leaves fib_has_custom_rules set.
    ruled.router.ip("rule add pref 40000 lookup main\nrule del pref 40000\n").map_err(|e| e.to_string())?;
    let daemon = Setup::new(mwan, &managed.router, &shape.uci())?.start()?;
    daemon.wait_online(Duration::from_secs(10))?;
    let sides = [plain, ruled, managed].map(Side);
    let measured = std::thread::scope(|scope| {
        let thread = scope.spawn(|| alternate(&sides, load));
        thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
    });
    daemon.stop()?;
    measured
}

/// Runs on a thread of its own, which stays on one core.
fn alternate(sides: &[Side; 3], load: Load) -> Result<Outcome, String> {
    let core = pin_to_last_core().map_err(|e| format!("cannot stay on one core: {e}"))?;
    let (to, port, flows) = load.flows();
    let frame = Frame::new(to.into(), port);
    let source = Injector::new(frame.clone(), flows).map_err(no_source)?;
    if matches!(load, Load::Established) {
        sides.iter().try_for_each(Side::establish)?;
    }
    let mut slices = Slices::default();
    for round in 0..WARM_UP + ROUNDS {
        let mut cost = [0.0; 3];
        // Whoever comes next finds caches and clock as the one before left them: take turns.
        for turn in 0..3 {
            let which = (round + turn) % 3;
            cost[which] = match load {
                Load::Established => sides[which].slice(&source)?,
                Load::New { .. } => sides[which].slice_of_new(&source)?,
            };
        }
        if round >= WARM_UP {
            slices.plain.push(cost[0]);
            slices.ruled.push(cost[1]);
            slices.mwan.push(cost[2]);
        }
    }
    Outcome::new(slices, sides[0].source_alone(frame)?, core)
}

/// One router under load.
pub(super) struct Side(pub(super) World);

impl Side {
    /// Sends one empty datagram per flow and has the far end answer it.
    fn establish(&self) -> Result<(), String> {
        self.0.flush_conntrack()?;
        let fail = |e: std::io::Error| format!("far end: {e}");
        let sockets = self.0.peer.run(|| (0..DESTINATIONS).map(answering).collect::<Result<Vec<_>, _>>());
        let sockets = sockets.map_err(|e| e.to_string())?.map_err(fail)?;
        let empty = Injector::new(Frame::empty(CROWD, SERVICE_PORT), FLOWS).map_err(no_source)?;
        self.receive(&empty, 1, FLOWS)?;
        for socket in &sockets {
            let (_, from) = socket.recv_from(&mut []).map_err(|e| format!("a flow did not arrive: {e}"))?;
            socket.send_to(&[], from).map_err(fail)?;
        }
        Ok(())
    }

    /// `calls` times `count` packets; nanoseconds per packet of each call.
    fn receive(&self, source: &Injector, calls: u32, count: u32) -> Result<Vec<f64>, String> {
        // A thread in the router's namespace; it inherits the core.
        let work = || (0..calls).map(|_| source.receive("lan0", count)).collect::<Result<Vec<_>, _>>();
        self.0.router.run(work).map_err(|e| e.to_string())?.map_err(|e| format!("inject: {e}"))
    }

    /// The same of packets that all begin a flow: those of the slice before are forgotten first.
    pub(super) fn slice_of_new(&self, source: &Injector) -> Result<f64, String> {
        self.0.flush_conntrack()?;
        let time = self.slice(source)?;
        // Connection tracking has none of packets with a wrong checksum.
        let (sent, known) = (u64::from(CALLS * CALL), self.0.known()?);
        if known + sent / 100 < sent {
            return Err(format!("of {sent} new flows the router knows only {known}"));
        }
        Ok(time)
    }

    /// Nanoseconds per packet: the median of many short calls, so that one in which something else had the
    /// core does not count.
    fn slice(&self, source: &Injector) -> Result<f64, String> {
        source.rewind().map_err(|e| format!("counter: {e}"))?;
        let before = self.0.arrived()?;
        let times = self.receive(source, CALLS, CALL)?;
        // What another thread had to finish: a softirq handed over to ksoftirqd.
        std::thread::sleep(Duration::from_millis(2));
        let (sent, arrived) = (u64::from(CALLS * CALL), self.0.arrived()? - before);
        if arrived + sent / 100 < sent {
            return Err(format!("of {sent} packets only {arrived} arrived"));
        }
        Ok(Series::new(times)?.median())
    }

    /// The same frames to another link address: the router drops them as soon as it sees them.
    pub(super) fn source_alone(&self, frame: Frame) -> Result<f64, String> {
        let source = Injector::new(frame.astray(), FLOWS).map_err(no_source)?;
        Ok(Series::new(self.receive(&source, CALLS, CALL)?)?.median())
    }
}

/// A socket of the far end at one of its many addresses.
fn answering(last: u8) -> std::io::Result<UdpSocket> {
    let [a, b, c, _] = CROWD.octets();
    let socket = UdpSocket::bind((Ipv4Addr::new(a, b, c, last), SERVICE_PORT))?;
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    Ok(socket)
}

pub(super) fn no_source(error: std::io::Error) -> String {
    format!(
        "cannot load the packet source: {error}\nhint: it needs root and a kernel of 5.18 or later with BPF"
    )
}

#[cfg(test)]
mod tests {
    use super::super::inject::PORT_FIRST;
    use super::*;

    #[test]
    fn ports_of_a_slice_never_repeat() {
        assert!(CALLS * CALL <= PORTS && PORTS <= u32::from(u16::MAX - PORT_FIRST));
    }
}
