//! From the verdict "this WAN is dead" to the kernel having switched, against the bare kernel transaction in the
//! same run; and from a configuration to the first program in the kernel.
//!
//! Runs in a network namespace of its own (`unshare -n`), as root.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_compile::nft::NftOp;
use mwan_compile::{Compiler, Ops, Program, check, check_change, diff, diff_observed};
use mwan_core::{Core, Effect, Event, Memory, Output, Platform, ProbeReport, Time};
use mwan_linux::monitor::Monitor;
use mwan_linux::nft::NftSocket;
use mwan_linux::routing::RouteSocket;

const ROUNDS: usize = 200;
const INSIDE: &str = "MWAN_BENCH_INSIDE";

fn main() {
    if std::env::var_os(INSIDE).is_none() {
        let me = std::env::current_exe().unwrap();
        let status = Command::new("unshare").args(["-n"]).arg(me).env(INSIDE, "1").status().unwrap();
        std::process::exit(status.code().unwrap_or(1));
    }
    for (interfaces, rules) in [(2, 300), (30, 300), (60, 300), (30, 3000)] {
        switch(interfaces, rules);
    }
}

/// `n` WANs, two policies over all of them (failover and balanced), `rules` rules of like shape.
fn config(n: usize, rules: usize) -> String {
    let mut text = String::from("config globals 'globals'\n");
    for i in 1..=n {
        write!(
            text,
            "config interface 'w{i}'\n option enabled '1'\n option device 'w{i}'\n option gateway '10.{i}.0.1'\n \
             list track_ip '192.0.2.1'\n option down '1'\n option up '1'\n option interval '1'\n option timeout '0.5'\n\
             config member 'f{i}'\n option interface 'w{i}'\n option metric '{i}'\n\
             config member 'b{i}'\n option interface 'w{i}'\n option weight '{i}'\n"
        )
        .unwrap();
    }
    for (policy, member) in [("failover", 'f'), ("balanced", 'b')] {
        writeln!(text, "config policy '{policy}'").unwrap();
        for i in 1..=n {
            writeln!(text, " list use_member '{member}{i}'").unwrap();
        }
    }
    for i in 0..rules {
        let policy = if i % 2 == 0 { "failover" } else { "balanced" };
        writeln!(
            text,
            "config rule 'r{i}'\n option dest_ip '203.{}.{}.0/24'\n option proto 'tcp'\n option dest_port '{}'\n option use_policy '{policy}'",
            i / 250,
            i % 250,
            1000 + i
        )
        .unwrap();
    }
    text
}

fn make_devices(n: usize) {
    let mut batch = String::new();
    for i in 1..=n {
        writeln!(batch, "link add w{i} type veth peer name p{i}").unwrap();
        writeln!(batch, "link set p{i} up\nlink set w{i} up\naddress add 10.{i}.0.2/24 dev w{i}").unwrap();
    }
    let mut ip = Command::new("ip")
        .args(["-force", "-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut ip.stdin.take().unwrap(), batch.as_bytes()).unwrap();
    ip.wait().unwrap();
}

/// The parts of the daemon between an event and the kernel.
struct Machine {
    core: Core,
    compiler: Compiler,
    installed: Option<Program>,
    nft: NftSocket,
    routes: RouteSocket,
    generation: u32,
    last: Vec<NftOp>,
}

impl Machine {
    fn step(&mut self, now: Time, event: Event) -> Output {
        let output = self.core.handle(now, event);
        if let Some(desired) = &output.desired {
            let program = self.compiler.compile(desired);
            let faults = match &self.installed {
                Some(installed) => check_change(installed, &program, desired.marks),
                None => check(&program, desired.marks),
            };
            assert_eq!(faults, []);
            let ops = match self.installed.take() {
                Some(installed) => diff(&installed, &program),
                None => self.first(&program),
            };
            self.execute(&ops);
            self.installed = Some(program);
            self.last = ops.nft;
        }
        output
    }

    fn first(&mut self, program: &Program) -> Ops {
        let (table, generation) = self.nft.observe().unwrap();
        self.generation = generation;
        let routing = self.routes.observe().unwrap();
        diff_observed(&mwan_compile::Observed { table, routing }, program)
    }

    fn execute(&mut self, ops: &Ops) {
        for op in ops.add.iter() {
            self.routes.apply(op).unwrap();
        }
        if !ops.nft.is_empty() {
            self.generation = self.nft.commit(&ops.nft, Some(self.generation)).unwrap();
        }
        for op in ops.remove.iter() {
            self.routes.apply(op).unwrap();
        }
    }

    /// A round in which every path answers, or all but the first; returns how long the step took that switched.
    fn round(&mut self, now: &mut Time, first_answers: bool) -> Duration {
        *now = *now + Duration::from_secs(1);
        let output = self.step(*now, Event::Tick);
        let mut took = Duration::ZERO;
        let generation = self.core.desired().unwrap().generation;
        for effect in output.effects {
            let Effect::Probe(request) = effect else { continue };
            if request.path.id == 1 && !first_answers {
                continue;
            }
            let report = ProbeReport::Reply {
                path: request.path,
                round: request.round,
                target: 0,
                sequence: 0,
                rtt: Duration::from_millis(1),
            };
            let started = Instant::now();
            self.step(*now, Event::Probe(report));
            took = took.max(started.elapsed());
        }
        if !first_answers {
            *now = *now + Duration::from_millis(500);
            let started = Instant::now();
            self.step(*now, Event::Tick);
            took = started.elapsed();
        }
        let desired = self.core.desired().unwrap().generation;
        self.core.handle(*now, Event::Applied { generation: desired });
        if desired == generation { Duration::ZERO } else { took }
    }
}

fn switch(interfaces: usize, rules: usize) {
    make_devices(interfaces);
    let text = config(interfaces, rules);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let net = runtime.block_on(async { Monitor::open(vec![]).unwrap().view() });
    let mut machine = Machine {
        core: Core::new(Platform { translate: true }, Arc::default(), Memory::default()),
        compiler: Compiler::default(),
        installed: None,
        nft: NftSocket::open().unwrap(),
        routes: RouteSocket::open().unwrap(),
        generation: 0,
        last: Vec::new(),
    };
    let started = Instant::now();
    let loaded = mwan_config::parse("bench", text.as_bytes());
    let parsed = started.elapsed();
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics.first());
    machine.core = Core::new(Platform { translate: true }, Arc::new(loaded.config), Memory::default());
    let mut now = Time::from_ms(1000);
    machine.step(now, Event::Network(net));
    let cold = started.elapsed();

    machine.round(&mut now, true);
    let (mut whole, mut bare, mut down_ops, mut up_ops) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let took = machine.round(&mut now, round % 2 == 1);
        // Flapping is held back by design (I6): a round may switch nothing.
        if took.is_zero() {
            now = now + Duration::from_secs(3600);
            continue;
        }
        whole.push(took);
        *(if round % 2 == 0 { &mut down_ops } else { &mut up_ops }) = machine.last.clone();
        now = now + Duration::from_secs(3600);
    }
    for _ in 0..whole.len() / 2 {
        for ops in [&down_ops, &up_ops] {
            let started = Instant::now();
            machine.nft.commit(ops, None).unwrap();
            bare.push(started.elapsed());
        }
    }
    let (whole, bare) = (median(&mut whole), median(&mut bare));
    println!(
        "{interfaces:>3} interfaces, {rules:>4} rules: parse {parsed:>9.1?}, cold start {cold:>9.1?}; switch {whole:>8.1?}, \
         bare transaction {bare:>8.1?}, ratio {:.2}",
        whole.as_secs_f64() / bare.as_secs_f64()
    );
    machine.nft.delete_table_if_exists().unwrap();
    let _ = machine.routes.delete_ours();
}

fn median(values: &mut [Duration]) -> Duration {
    values.sort_unstable();
    values.get(values.len() / 2).copied().unwrap_or_default()
}
