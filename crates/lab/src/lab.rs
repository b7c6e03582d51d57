//! A network at work: nodes, captures, flows, the daemon, and the clock the expectations refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::build::Internet;
use crate::capture::{Capture, FlowId, Registry};
use crate::daemon::{Daemon, POLL, status_is};
use crate::flows::{self, Flow, FlowSpec};
use crate::scenario::{Reference, StatusIs};
use crate::stats::Rng;
use crate::topology::Topology;

/// What a step says: its figure, or why it failed.
pub type Outcome = Result<String, String>;

/// Ports below the ephemeral range of every node, so that no client port is ever mistaken for a service.
const FIRST_PORT: u16 = 2000;

/// A network at work.
pub struct Lab {
    /// The nodes.
    pub net: Internet,
    /// One capture per ISP.
    pub captures: BTreeMap<String, Capture>,
    /// All flows ever started, by name.
    pub flows: BTreeMap<String, Flow>,
    /// The program under test.
    pub daemon: Daemon,
    /// Seeded randomness.
    pub rng: Rng,
    registry: Registry,
    ids: BTreeMap<String, FlowId>,
    served: BTreeSet<(u8, SocketAddr)>,
    /// The last fault.
    pub fault: Instant,
    /// The last verdict.
    pub verdict: Instant,
    pub(crate) snapshots: BTreeMap<String, Vec<String>>,
    folder: Folder,
}

/// The working folder: on our private `/run`, or a temporary one that is removed at the end.
enum Folder {
    Private(PathBuf),
    Temporary(tempfile::TempDir),
}

impl Folder {
    fn new(private_run: bool) -> Result<Folder, String> {
        let made = if private_run {
            let path = PathBuf::from("/run/mwan-lab");
            std::fs::create_dir_all(&path).map(|()| Folder::Private(path))
        } else {
            tempfile::Builder::new().prefix("mwan-lab-").tempdir().map(Folder::Temporary)
        };
        made.map_err(|e| format!("no working folder: {e}"))
    }

    fn path(&self) -> &Path {
        match self {
            Folder::Private(path) => path,
            Folder::Temporary(dir) => dir.path(),
        }
    }
}

impl Lab {
    /// Builds the network. `private_run` is what [`crate::netns::isolate`] said.
    pub fn build(topology: &Topology, mwan: &Path, seed: u64, private_run: bool) -> Result<Lab, String> {
        crate::sys::raise_file_limit();
        let folder = Folder::new(private_run)?;
        let net = Internet::build(topology).map_err(|e| chain(&e))?;
        let registry = Registry::default();
        let captures = Capture::start_all(&net, &registry).map_err(|e| chain(&e))?;
        let router = net.node("router").map_err(|e| chain(&e))?;
        let daemon = Daemon::new(mwan, router, folder.path());
        let now = Instant::now();
        Ok(Lab {
            net,
            captures,
            flows: BTreeMap::new(),
            daemon,
            rng: Rng::new(seed),
            registry,
            ids: BTreeMap::new(),
            served: BTreeSet::new(),
            fault: now,
            verdict: now,
            snapshots: BTreeMap::new(),
            folder,
        })
    }

    /// The working folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The moment a time is counted from.
    pub fn reference(&self, reference: Reference) -> Instant {
        match reference {
            Reference::Fault => self.fault,
            Reference::Verdict => self.verdict,
        }
    }

    /// Number of a flow, given on first mention.
    fn id(&mut self, name: &str) -> FlowId {
        let next = FlowId::try_from(self.ids.len()).unwrap_or(FlowId::MAX) + 1;
        *self.ids.entry(name.to_owned()).or_insert(next)
    }

    /// Number of a flow that must exist.
    pub fn known(&self, name: &str) -> Result<FlowId, String> {
        let all = || self.ids.keys().cloned().collect::<Vec<_>>().join(", ");
        self.ids.get(name).copied().ok_or_else(|| format!("no flow `{name}`\nhint: there are {}", all()))
    }

    /// A flow that was started.
    pub fn flow(&self, name: &str) -> Result<&Flow, String> {
        self.flows.get(name).ok_or_else(|| format!("no flow `{name}` was started"))
    }

    /// The capture of an ISP.
    pub fn capture(&self, isp: &str) -> Result<&Capture, String> {
        let all = || self.captures.keys().cloned().collect::<Vec<_>>().join(", ");
        self.captures.get(isp).ok_or_else(|| format!("no ISP `{isp}`\nhint: there are {}", all()))
    }

    /// Starts an echo server unless it is there, and claims `port` on the wire for the flow.
    pub fn serve(
        &mut self,
        name: &str,
        protocol: u8,
        node: &str,
        address: SocketAddr,
        port: u16,
    ) -> Result<(), String> {
        let id = self.id(name);
        if !self.registry.claim(protocol, port, id) {
            return Err(format!("port {port} belongs to another flow"));
        }
        if self.served.insert((protocol, address)) {
            let ns = self.net.node(node).map_err(|e| chain(&e))?;
            flows::serve(ns, protocol, address).map_err(|e| chain(&e))?;
        }
        Ok(())
    }

    /// Starts a flow, and its server where the destination is one of ours.
    pub fn start_flow(&mut self, spec: FlowSpec) -> Outcome {
        let id = self.id(&spec.name);
        let port = spec.port.unwrap_or(FIRST_PORT + id);
        if let Some(protocol) = spec.kind.protocol() {
            let here = SocketAddr::new(spec.to, port);
            let (node, address) = match &spec.server {
                Some((node, address)) => (node.clone(), *address),
                None => (self.owner(spec.to)?, here),
            };
            self.serve(&spec.name, protocol, &node, address, port)?;
        }
        if let Some(old) = self.flows.remove(&spec.name) {
            old.stop();
        }
        let ns = self.net.node(&spec.from).map_err(|e| chain(&e))?.clone();
        let (name, wait) = (spec.name.clone(), spec.kind.is_finite() && !spec.background);
        let flow = Flow::start(id, spec, port, &ns).map_err(|e| chain(&e))?;
        self.flows.insert(name.clone(), flow);
        if wait { self.finish(&name) } else { Ok(String::new()) }
    }

    /// Waits until a short flow is through.
    pub fn finish(&mut self, name: &str) -> Outcome {
        let flow = self.flow(name)?;
        while !flow.done() {
            std::thread::sleep(POLL);
        }
        let (took, totals) = (flow.started.elapsed(), flow.totals());
        Ok(format!("{}/{} answered in {:.1} s", totals.answered, totals.sent, took.as_secs_f64()))
    }

    fn owner(&self, ip: IpAddr) -> Result<String, String> {
        if let Some(node) = self.net.topology.owner(ip) {
            return Ok(node.into());
        }
        let wans = self.net.isps.values().flat_map(|s| [s.isp.wan(false), s.isp.wan(true)]);
        if wans.flatten().any(|w| w.address.ip == ip) {
            return Ok("router".into());
        }
        Err(format!(
            "nobody in the topology has {ip}\nhint: add it to [inet] addresses, or say server=NODE/ADDRESS:PORT"
        ))
    }

    /// Counts from zero.
    pub fn reset(&mut self, name: Option<&str>) -> Outcome {
        let id = name.map(|n| self.known(n)).transpose()?;
        for flow in self.flows.values().filter(|f| name.is_none_or(|n| f.spec.name == n)) {
            flow.reset();
        }
        for capture in self.captures.values() {
            capture.link().reset(id);
        }
        Ok(String::new())
    }

    /// Lets inbound scans run against the router's addresses at these ISPs.
    pub fn scan(&mut self, isps: &[String], every: Duration) -> Outcome {
        let mut targets = Vec::new();
        for isp in isps {
            let isp = &self.net.state(isp).map_err(|e| chain(&e))?.isp;
            targets.extend([false, true].iter().filter_map(|v6| isp.wan(*v6)).map(|w| w.address.ip));
        }
        let inet = self.net.node("inet").map_err(|e| chain(&e))?;
        flows::scan(inet, targets, every, self.rng.next_u64()).map_err(|e| chain(&e))?;
        Ok(String::new())
    }

    /// Waits for a status; the moment it is seen is the verdict.
    pub fn wait_status(&mut self, wanted: &StatusIs, within: Duration) -> Outcome {
        let begin = Instant::now();
        let mut last = String::new();
        loop {
            match self.daemon.status().and_then(|s| status_is(&s, wanted)) {
                Ok(()) => {
                    self.verdict = Instant::now();
                    return Ok(format!("{} after the fault", millis(self.verdict - self.fault)));
                }
                Err(e) => last.clone_from(&e),
            }
            if let Some(how) = self.daemon.ended() {
                return Err(format!("the daemon ended: {how}"));
            }
            if begin.elapsed() > within {
                return Err(format!("not within {}: {last}", millis(within)));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Puts the programs and folders in for their placeholders.
    pub fn fill_in(&self, argv: &[String]) -> Vec<String> {
        let lab = std::env::current_exe().unwrap_or_else(|_| "mwan-lab".into());
        let values = [
            ("{mwan}", self.daemon.program().to_owned()),
            ("{lab}", lab),
            ("{run}", self.daemon.run_dir()),
            ("{config}", self.daemon.config()),
        ];
        let fill = |word: &String| {
            values.iter().fold(word.clone(), |w, (key, value)| w.replace(key, &value.to_string_lossy()))
        };
        argv.iter().map(fill).collect()
    }

    /// What a person debugging a failed step wants to see first.
    pub fn context(&mut self) -> String {
        const LOG_LINES: usize = 15;
        let mut out = String::new();
        let mut section = |title: &str, text: &str| {
            if !text.trim().is_empty() {
                out.push_str(&format!("--- {title}\n{}\n", text.trim_end()));
            }
        };
        for flow in self.flows.values() {
            let (alive, all) = flow.alive();
            section(&format!("flow {}", flow.spec.name), &format!("{alive}/{all} alive, {}", flow.totals()));
        }
        if let Ok(router) = self.net.node("router") {
            for argv in [
                &["ip", "rule"][..],
                &["ip", "-6", "rule"],
                &["ip", "route", "show", "table", "all", "proto", "77"],
                &["ip", "-6", "route", "show", "table", "all", "proto", "77"],
            ] {
                section(&argv.join(" "), &router.must(argv, "").unwrap_or_default());
            }
        }
        if self.daemon.runs() {
            let out = self.daemon.command(&["status".into()]);
            let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
            section("mwan status", &text.unwrap_or_default());
        }
        let log = self.daemon.log();
        let lines: Vec<&str> = log.lines().collect();
        section("daemon log", &lines[lines.len().saturating_sub(LOG_LINES)..].join("\n"));
        out
    }

    /// How to look inside while it is kept.
    pub fn how_to_enter(&self) -> String {
        let pid = std::process::id();
        let mut out = String::from("The network stays up until Ctrl-C. To look inside, as root:\n");
        for ns in self.net.nodes() {
            out.push_str(&format!("  {:8} nsenter -t {pid} -m --net={} bash\n", ns.name(), ns.path()));
        }
        // nsenter -m begins in `/`: a path relative to where the lab was started leads nowhere there.
        let program = self.daemon.program();
        let program = std::path::absolute(program).unwrap_or_else(|_| program.to_owned());
        out.push_str(&format!(
            "  in the router: {} --run-dir {} status\n",
            program.display(),
            self.daemon.run_dir().display()
        ));
        out
    }
}

/// An error with its causes, each said once.
pub fn chain(error: &dyn std::error::Error) -> String {
    let (mut out, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        let text = error.to_string();
        if !out.contains(&text) {
            out = format!("{out}: {text}");
        }
        cause = error.source();
    }
    out
}

/// A time as people read it.
pub fn millis(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    if ms < 100.0 { format!("{ms:.1} ms") } else { format!("{ms:.0} ms") }
}
