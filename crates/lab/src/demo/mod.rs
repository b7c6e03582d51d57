//! The demo: an ordinary mwan3 configuration, two providers, five disasters, and a table of what was
//! measured against what is promised.

mod screen;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::flows::{FlowSpec, Kind};
use crate::lab::{Lab, chain, millis};
use crate::netns;
use crate::run::{Options, keep};
use crate::scenario::{DaemonOp, Expect, StatusIs, Step, Text};
use crate::stats::split_probability;
use crate::topology::Topology;
use screen::Screen;

const TOPOLOGY: &str = include_str!("../../../../lab/topologies/two-isps.toml");
const CONFIG: &str = include_str!("../../../../lab/configs/demo.mwan3");

/// Connections of the shared traffic.
const SHARED: u32 = 1000;
/// `down × interval + timeout` of the configuration, and one interval: the fault does not wait for a round.
const DETECT: Duration = Duration::from_secs(5);
/// `up × interval + timeout`, and one interval.
const RETURN: Duration = Duration::from_secs(5);
/// Established flows after the verdict.
const MOVE: Duration = Duration::from_secs(2);
/// Carrier lost to first new connection by the backup.
const CARRIER: Duration = Duration::from_millis(20);
/// Confidence of the shares, percent.
const CONFIDENCE: f64 = 99.9;

/// How far above the promise a figure may be before it counts as broken: this may run on a busy machine,
/// beside a compiler. The table shows the figure either way.
fn slack(promised: Duration) -> Duration {
    promised * 3 / 2 + Duration::from_millis(200)
}

struct Promise {
    what: &'static str,
    measured: String,
    promised: String,
    held: bool,
    within: bool,
}

struct Demo {
    lab: Lab,
    screen: Screen,
    promises: Vec<Promise>,
}

type Result<T> = std::result::Result<T, String>;

/// Runs it; `true` if every promise held. The process must not have started any thread yet.
pub fn run(options: &Options) -> Result<bool> {
    let topology = Topology::parse("lab/topologies/two-isps.toml", TOPOLOGY).map_err(|e| chain(&e))?;
    let mut needed = vec![options.mwan.clone(), ".".into()];
    needed.extend(std::env::current_exe());
    let private_run = netns::isolate(&needed).map_err(|e| chain(&e))?;
    let begin = Instant::now();
    let lab = Lab::build(&topology, &options.mwan, options.seed, private_run)?;
    let screen = Screen::start(begin, &lab);
    screen.done(
        true,
        &format!(
            "an internet of {} network namespaces, in {}",
            topology.nodes().len(),
            millis(begin.elapsed())
        ),
    );
    let mut demo = Demo { lab, screen, promises: Vec::new() };
    let outcome = demo.play();
    demo.screen.stop();
    if let Err(why) = &outcome {
        println!("\nThe demo did not come through: {why}\n\n{}", demo.lab.context());
    }
    let held = outcome.is_ok() && demo.promises.iter().all(|p| p.held);
    print!("{}", table(&demo.promises));
    println!(
        "\n{} in {:.0} s (seed {})",
        if held { "Every promise held," } else { "NOT every promise held," },
        begin.elapsed().as_secs_f64(),
        options.seed
    );
    if options.keep {
        keep(&demo.lab);
    }
    Ok(held)
}

impl Demo {
    fn play(&mut self) -> Result<()> {
        self.begin()?;
        self.share()?;
        self.blackhole()?;
        self.heal()?;
        self.carrier()?;
        self.kill()?;
        self.lab.expect(&Expect::NoForeign).map_err(|e| format!("a provider saw foreign addresses: {e}"))?;
        Ok(())
    }

    fn wait(&mut self, state: &str, interface: &str, within: Duration) -> Result<Duration> {
        let is = StatusIs { state: state.into(), interface: interface.into(), family: Some("ipv4".into()) };
        let why = |e| format!("{interface} never became {state}: {e}");
        self.lab.wait_status(&is, within).map_err(why)?;
        Ok(self.lab.verdict - self.lab.fault)
    }

    fn flow(
        &mut self,
        name: &str,
        kind: Kind,
        to: [u8; 4],
        adjust: impl FnOnce(&mut FlowSpec),
    ) -> Result<()> {
        let mut spec = FlowSpec { to: IpAddr::from(to), ..FlowSpec::new(name, kind) };
        adjust(&mut spec);
        self.lab.start_flow(spec).map(drop)
    }

    fn promise(&mut self, what: &'static str, measured: String, promised: String, held: bool, within: bool) {
        self.screen.done(held, &format!("{what}: {measured}"));
        self.promises.push(Promise { what, measured, promised, held, within });
    }

    /// A time that was promised to be at most `promised`.
    fn timed(&mut self, what: &'static str, took: Duration, promised: Duration, why: &str) {
        let bound = if promised < Duration::from_secs(1) {
            millis(promised)
        } else {
            format!("{} s", promised.as_secs())
        };
        let held = took <= slack(promised);
        self.promise(what, millis(took), format!("≤ {bound}{why}"), held, took <= promised);
    }

    fn begin(&mut self) -> Result<()> {
        self.screen.now(0.02, "starting mwan daemon with an unchanged mwan3 configuration");
        self.lab.step(&Step::Config(Text::Inline(CONFIG.into())))?;
        self.lab.step(&Step::Daemon(DaemonOp::Start, Vec::new()))?;
        let took = self.lab.fault.elapsed();
        self.wait("online", "eth1", Duration::from_secs(10))?;
        self.wait("online", "eth2", Duration::from_secs(10))?;
        self.screen.done(true, &format!("mwan daemon answers after {}, both providers online", millis(took)));
        // Established flows of every kind, and new ones every millisecond by either preference.
        self.flow("office", Kind::TcpLong, [198, 51, 100, 5], |f| f.count = 20)?;
        self.flow("office new", Kind::UdpNew, [198, 51, 100, 5], |f| f.interval = Duration::from_millis(2))?;
        self.flow("telephone", Kind::UdpStream, [198, 51, 100, 6], |f| f.count = 5)?;
        self.flow("telephone new", Kind::UdpNew, [198, 51, 100, 6], |f| {
            f.interval = Duration::from_millis(1)
        })?;
        self.flow("downloads", Kind::UdpStream, [198, 51, 100, 7], |f| f.count = 10)
    }

    fn share(&mut self) -> Result<()> {
        self.screen.now(0.1, &format!("{SHARED} connections, shared 3:2"));
        self.flow("shared", Kind::TcpShort, [198, 51, 100, 10], |f| {
            f.count = SHARED;
            f.interval = Duration::from_millis(3);
        })?;
        std::thread::sleep(Duration::from_millis(200));
        let split = self.lab.split(&["ispa".into(), "ispb".into()], "shared")?;
        let p = split_probability(&split, &[3, 2]);
        let lost = self.lab.flow("shared")?.totals().lost;
        let held =
            p >= 1.0 - CONFIDENCE / 100.0 && lost == 0 && split.iter().sum::<u64>() == u64::from(SHARED);
        let measured = format!("{} : {} (p = {p:.3})", split[0], split[1]);
        self.promise("connections shared 3:2", measured, "99.9 % confidence".into(), held, held);
        Ok(())
    }

    fn blackhole(&mut self) -> Result<()> {
        self.screen.now(0.2, "ISP A drops everything, its link stays up: waiting for the verdict");
        self.screen.fault(0, "black hole");
        self.lab.step(&Step::Blackhole("ispa".into(), true, true))?;
        let detected = self.wait("offline", "eth1", slack(DETECT) * 2)?;
        self.timed("ISP A silent: detected", detected, DETECT, " (down × interval + timeout + interval)");
        let switched = self.first_on("office new", "ispb")?;
        self.timed("ISP A silent: first new connection by B", switched, DETECT, "");
        let recovered = self.recovered("office")?;
        self.timed("ISP A silent: 20 TCP flows work again, after the verdict", recovered, MOVE, "");
        Ok(())
    }

    fn heal(&mut self) -> Result<()> {
        self.screen.now(0.45, "ISP A works again: waiting for the proof");
        self.screen.fault(0, "");
        self.lab.step(&Step::Heal("ispa".into()))?;
        self.wait("online", "eth1", slack(RETURN) * 2)?;
        let back = self.first_on("office new", "ispa")?;
        self.timed(
            "ISP A healed: new connections by A again",
            back,
            RETURN,
            " (up × interval + timeout + interval)",
        );
        Ok(())
    }

    fn carrier(&mut self) -> Result<()> {
        self.screen.now(0.65, "ISP B loses its carrier");
        std::thread::sleep(Duration::from_millis(500));
        self.lab.reset(Some("telephone"))?;
        self.screen.fault(1, "no carrier");
        self.lab.step(&Step::Carrier("ispb".into(), false))?;
        let switched = self.first_on("telephone new", "ispa")?;
        self.timed("carrier of B lost: first new connection by A", switched, CARRIER, "");
        std::thread::sleep(Duration::from_secs(1));
        let silence = self.lab.flow("telephone")?.totals().gap_max;
        self.timed("carrier of B lost: longest silence of a telephone call", silence, MOVE, "");
        self.screen.now(0.75, "ISP B has its carrier back: waiting for the failback");
        self.screen.fault(1, "");
        self.lab.step(&Step::Carrier("ispb".into(), true))?;
        self.wait("online", "eth2", slack(RETURN) * 2)?;
        let back = self.first_on("telephone new", "ispb")?;
        self.timed("carrier of B back: new connections by B again", back, RETURN, "");
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.screen.now(0.9, "mwan is killed with -9 and started again");
        std::thread::sleep(Duration::from_millis(1500));
        self.lab.reset(None)?;
        std::thread::sleep(Duration::from_millis(300));
        self.lab.step(&Step::Daemon(DaemonOp::Kill, Vec::new()))?;
        std::thread::sleep(Duration::from_millis(700));
        self.lab.step(&Step::Daemon(DaemonOp::Start, Vec::new()))?;
        std::thread::sleep(Duration::from_secs(1));
        let (mut sent, mut broken) = (0, 0);
        for name in ["office", "telephone", "downloads"] {
            // Its own words are for scenarios; here the sum counts, once everything is decided.
            let _ = self.lab.expect(&Expect::Undisturbed(name.into()));
            let totals = self.lab.flow(name)?.totals();
            sent += totals.sent;
            broken += totals.lost + totals.resets + totals.reconnects;
        }
        let held = broken == 0 && sent > 0;
        let measured = format!("{broken} of {sent} packets lost");
        self.promise(
            "mwan killed -9 and restarted",
            measured,
            "0 lost of established flows".into(),
            held,
            held,
        );
        self.screen.now(1.0, "done");
        Ok(())
    }

    /// When, after the last fault, a packet of the flow first left by the ISP.
    fn first_on(&mut self, flow: &str, isp: &str) -> Result<Duration> {
        let id = self.lab.known(flow)?;
        let capture = self.lab.capture(isp)?.clone();
        let from = self.lab.fault;
        while from.elapsed() < slack(DETECT) * 2 {
            if let Some(at) = capture.link().first_since(id, from) {
                return Ok(at - from);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("no new connection of `{flow}` by {isp} in {}", millis(from.elapsed())))
    }

    /// How long after the last verdict every connection of the flow works.
    fn recovered(&mut self, flow: &str) -> Result<Duration> {
        let begin = Instant::now();
        while begin.elapsed() < Duration::from_secs(10) {
            let (well, took) = self.lab.flow(flow)?.recovery(self.lab.verdict);
            if well {
                return Ok(took);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(format!("`{flow}` never came back: {}", self.lab.flow(flow)?.totals()))
    }
}

fn table(promises: &[Promise]) -> String {
    let width = |pick: fn(&Promise) -> usize| promises.iter().map(pick).max().unwrap_or(0);
    let what = width(|p| p.what.chars().count()).max(4);
    let measured = width(|p| p.measured.chars().count()).max(8);
    let mut out = format!("\n  {:what$}  {:measured$}  promised\n", "what", "measured");
    for p in promises {
        let verdict = match (p.held, p.within) {
            (true, true) => "ok  ",
            (true, false) => "slow",
            _ => "FAIL",
        };
        out.push_str(&format!("{verdict} {:what$}  {:measured$}  {}\n", p.what, p.measured, p.promised));
    }
    if promises.iter().any(|p| p.held && !p.within) {
        out.push_str("slow: above the promise, within what is allowed for a busy machine (half as much again and 200 ms)\n");
    }
    out
}
