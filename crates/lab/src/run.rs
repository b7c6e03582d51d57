//! Executes a scenario.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::faults::Direction;
use crate::lab::{Lab, Outcome, chain, millis};
use crate::netns;
use crate::report::{Report, Style};
use crate::scenario::{DaemonOp, Line, Scenario, Step, Text};
use crate::topology::Topology;

/// How to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program under test.
    pub mwan: PathBuf,
    /// Stay up at the end.
    pub keep: bool,
    /// Seed of all randomness.
    pub seed: u64,
    /// Print repeated steps and the daemon's log too.
    pub verbose: bool,
    /// How to report.
    pub style: Style,
}

/// A run without `limit` may last this long.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs one scenario file in this process, which must not have started any thread yet. `true` if all held.
pub fn run_file(path: &Path, options: &Options) -> Result<bool, String> {
    let scenario = Scenario::load(path).map_err(|e| chain(&e))?;
    let topology = Topology::load(&scenario.topology).map_err(|e| chain(&e))?;
    let mut needed = vec![options.mwan.clone(), path.to_owned(), PathBuf::from(".")];
    needed.extend(std::env::current_exe());
    let private_run = netns::isolate(&needed).map_err(|e| chain(&e))?;
    let mut report = Report::new(options.style, &scenario.file, &scenario.title, options.seed);
    let begin = Instant::now();
    watchdog(&scenario, begin);
    let built = Lab::build(&topology, &options.mwan, options.seed, private_run);
    let name = scenario.topology.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut lab = match built {
        Ok(lab) => {
            report.step(0, &format!("build {name}"), begin.elapsed(), &Ok(millis(begin.elapsed())));
            lab
        }
        Err(e) => {
            report.step(0, &format!("build {name}"), begin.elapsed(), &Err(e));
            report.finish(begin.elapsed());
            return Ok(false);
        }
    };
    let mut runner = Runner { lab: &mut lab, report: &mut report, begin, verbose: options.verbose };
    runner.lines(&scenario.steps, false);
    if !report.result.ok {
        report.result.context = lab.context();
        report.say(&report.result.context);
    } else if options.verbose {
        report.say(&format!("--- daemon log\n{}", lab.daemon.log()));
    }
    report.finish(begin.elapsed());
    if options.keep {
        keep(&lab);
    }
    Ok(report.result.ok)
}

/// Stays until the process is ended; there is nothing to clean up that the kernel does not.
pub fn keep(lab: &Lab) -> ! {
    eprint!("{}", lab.how_to_enter());
    loop {
        std::thread::park();
    }
}

/// Ends the process when the scenario takes longer than it may: no run hangs a test machine.
fn watchdog(scenario: &Scenario, begin: Instant) {
    let limits = scenario.steps.iter().filter_map(|l| match l.step {
        Step::Limit(limit) => Some(limit),
        _ => None,
    });
    let limit = limits.max().unwrap_or(LIMIT);
    let file = scenario.file.clone();
    std::thread::spawn(move || {
        std::thread::sleep(limit.saturating_sub(begin.elapsed()));
        // The run may also be over and only kept up; then the main thread no longer counts.
        if !FINISHED.load(std::sync::atomic::Ordering::Relaxed) {
            eprintln!("{file}: still running after {} s\nhint: `limit` allows more", limit.as_secs());
            std::process::exit(1);
        }
    });
}

/// The steps are through: the watchdog has nothing to watch.
static FINISHED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

struct Runner<'a> {
    lab: &'a mut Lab,
    report: &'a mut Report,
    begin: Instant,
    verbose: bool,
}

impl Runner<'_> {
    /// Runs lines until one fails.
    fn lines(&mut self, lines: &[Line], quiet: bool) -> bool {
        for line in lines {
            let outcome = match &line.step {
                Step::Repeat(times, body) => self.repeat(*times, body),
                step => self.lab.step(step),
            };
            // Of repeated steps only failures are worth a line.
            if !quiet || self.verbose || outcome.is_err() {
                self.report.step(line.number, &line.text, self.begin.elapsed(), &outcome);
            }
            if outcome.is_err() {
                FINISHED.store(true, std::sync::atomic::Ordering::Relaxed);
                return false;
            }
        }
        if !quiet {
            FINISHED.store(true, std::sync::atomic::Ordering::Relaxed);
        }
        true
    }

    fn repeat(&mut self, times: u32, body: &[Line]) -> Outcome {
        for round in 1..=times {
            if !self.lines(body, true) {
                return Err(format!("in round {round}"));
            }
        }
        Ok(format!("{times} rounds"))
    }
}

impl Lab {
    /// Executes one step.
    pub fn step(&mut self, step: &Step) -> Outcome {
        match step {
            Step::Limit(_) | Step::Repeat(..) => Ok(String::new()),
            Step::Config(text) => self.configure(text),
            Step::Daemon(op, arguments) => self.daemon_step(*op, arguments),
            Step::Wait(is, within) => self.wait_status(is, *within),
            Step::Hold(low, high) => {
                let micros = |d: &Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
                let time = Duration::from_micros(self.rng.between(micros(low), micros(high)));
                std::thread::sleep(time);
                Ok(millis(time))
            }
            Step::Exec(node, argv, exit, input) => self.exec(node, argv, *exit, input),
            Step::Mwan(arguments, exit) => self.mwan(arguments, *exit),
            Step::Answer(document, name, arguments, exit) => self.answer(document, name, arguments, *exit),
            Step::Serve(name, protocol, node, address) => {
                self.serve(name, *protocol, node, *address, address.port()).map(|()| String::new())
            }
            Step::Respond(responder, node, address) => {
                let ns = self.net.node(node).map_err(|e| chain(&e))?;
                crate::responders::respond(ns, responder, *address).map_err(|e| chain(&e))?;
                Ok(String::new())
            }
            Step::Catch(catcher, node, file) => {
                let options = self.fill_in(&catcher.options);
                let catcher = crate::catchers::Catcher { options, ..catcher.clone() };
                let ns = self.net.node(node).map_err(|e| chain(&e))?;
                crate::catchers::catch(ns, &catcher, &self.daemon.run_dir(), file).map(|()| String::new())
            }
            Step::Flow(spec) => self.start_flow((**spec).clone()),
            Step::Stop(name) => {
                let flow = self.flow(name)?;
                flow.stop();
                Ok(flow.totals().to_string())
            }
            Step::Reset(name) => self.reset(name.as_deref()),
            Step::Scan(isps, every) => self.scan(isps, *every),
            Step::Snapshot(name) => self.snapshot(name),
            Step::Expect(expect) => self.expect(expect),
            Step::Fails(line) => match self.step(&line.step) {
                Ok(figure) => Err(format!("should have failed, but held: {figure}")),
                Err(why) => Ok(format!("fails as it must: {}", why.lines().next().unwrap_or_default())),
            },
            fault => self.fault_step(fault),
        }
    }

    fn fault_step(&mut self, step: &Step) -> Outcome {
        let net = &mut self.net;
        let at = match step {
            Step::Carrier(isp, up) => net.carrier(isp, *up),
            Step::Blackhole(isp, v4, v6) => net.change_faults(isp, |f| {
                f.blackhole4 |= v4;
                f.blackhole6 |= v6;
            }),
            Step::Oneway(isp, direction) => net.change_faults(isp, |f| {
                f.oneway_in |= *direction != Direction::Out;
                f.oneway_out |= *direction != Direction::In;
            }),
            Step::Loss(isp, loss, direction) => net.change_faults(isp, |f| {
                f.loss_in = if *direction == Direction::Out { 0 } else { *loss };
                f.loss_out = if *direction == Direction::In { 0 } else { *loss };
            }),
            Step::Delay(isp, ms) => net.delay(isp, *ms),
            Step::Heal(isp) => net.heal(isp),
            Step::Renumber(isp, address, gateway) => net.renumber(isp, *address, *gateway),
            Step::Gateway(isp, gateway) => net.gateway(isp, *gateway),
            Step::Rename(from, to) => net.rename(from, to),
            _ => return Err("not a fault".into()),
        };
        self.fault = at.map_err(|e| chain(&e))?;
        Ok(String::new())
    }

    fn configure(&mut self, text: &Text) -> Outcome {
        let (text, native) = match text {
            Text::Inline(text) => (text.clone(), false),
            Text::File(path) => (
                std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?,
                path.extension().is_some_and(|e| e == "toml"),
            ),
        };
        self.daemon.set_native(native);
        self.fault = Instant::now();
        std::fs::write(self.daemon.config(), text).map_err(|e| e.to_string())?;
        Ok(String::new())
    }

    fn daemon_step(&mut self, op: DaemonOp, arguments: &[String]) -> Outcome {
        self.fault = Instant::now();
        match op {
            DaemonOp::Start => {
                self.daemon.reset_log();
                let arguments = self.fill_in(arguments);
                self.daemon.start(Some(arguments)).map(|t| format!("answers after {}", millis(t)))
            }
            DaemonOp::Launch => self.daemon.launch().map(|()| String::new()),
            DaemonOp::Stop => self.daemon.stop().map(|t| format!("ended after {}", millis(t))),
            DaemonOp::Kill => self.daemon.kill().map(|()| String::new()),
            DaemonOp::Restart => {
                self.daemon.kill()?;
                self.daemon.start(None).map(|t| format!("answers after {}", millis(t)))
            }
            DaemonOp::Reload => self.daemon.reload().map(|()| String::new()),
        }
    }

    fn exec(&mut self, node: &str, argv: &[String], exit: i32, input: &str) -> Outcome {
        let argv = self.fill_in(argv);
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        self.fault = Instant::now();
        let out = self.net.node(node).and_then(|ns| ns.output(&argv, input)).map_err(|e| chain(&e))?;
        judge(&out, exit)
    }

    fn answer(&mut self, document: &Path, name: &str, arguments: &[String], exit: i32) -> Outcome {
        let filled = self.fill_in(arguments);
        let out = self.daemon.command(&filled).map_err(|e| chain(&e))?;
        judge(&out, exit)?;
        crate::answers::compare(document, name, arguments, &out)
    }

    fn mwan(&mut self, arguments: &[String], exit: i32) -> Outcome {
        let arguments = self.fill_in(arguments);
        self.fault = Instant::now();
        let out = self.daemon.command(&arguments).map_err(|e| chain(&e))?;
        let outcome = judge(&out, exit);
        // `mwan stop` ends the daemon; its exit status is looked at here, not taken for a crash.
        if outcome.is_ok() && arguments.first().is_some_and(|a| a == "stop") && self.daemon.runs() {
            self.daemon.wait_for_end()?;
        }
        outcome
    }
}

fn judge(out: &std::process::Output, exit: i32) -> Outcome {
    let said = String::from_utf8_lossy(&out.stdout).into_owned() + &String::from_utf8_lossy(&out.stderr);
    if out.status.code() == Some(exit) {
        Ok(said.lines().next().unwrap_or_default().trim().to_owned())
    } else {
        Err(format!("{}, not {exit}: {}", out.status, said.trim_end()))
    }
}

/// Builds a topology, starts the daemon if there is a configuration, and stays up.
pub fn up(topology: &Path, config: Option<&Path>, options: &Options) -> Result<bool, String> {
    let parsed = Topology::load(topology).map_err(|e| chain(&e))?;
    let private_run = netns::isolate(&[options.mwan.clone(), ".".into()]).map_err(|e| chain(&e))?;
    let mut lab = Lab::build(&parsed, &options.mwan, options.seed, private_run)?;
    if let Some(config) = config {
        lab.configure(&Text::File(config.into()))?;
        lab.daemon.start(None)?;
    }
    keep(&lab)
}
