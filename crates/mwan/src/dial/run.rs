//! One run of one plan.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use mwan_config::link::{Link, Method};
use mwan_dial::{
    Established, Event, Failure, Pin, Places, Plan, Ready, Role, SIM_ASKS, Step, established, failure,
    pin_of, plan, qmi_settings, qmi_started, sim_asks,
};
use mwan_linux::process;

use super::pins::Pins;
use super::session::{Down, Process, Session, made_of};
use super::{PATH, modem};

/// Pause between two looks at processes and devices.
const LOOK: Duration = Duration::from_millis(50);
/// Pause between two looks at a session that is being established: packets wait for it.
const READY_LOOK: Duration = Duration::from_millis(5);
/// Pause between two looks at what a session says of itself: what comes in one go must not look like all of it in between.
const DESCRIPTION_LOOK: Duration = Duration::from_millis(20);
/// Pause before a program that ends by itself is looked at again: most take a few milliseconds, and packets wait for them.
const PROGRAM_LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(5));
/// How long they are looked at that often.
const PROGRAM_SOON: Duration = Duration::from_millis(50);
/// How long a session that has its address may take to say what it is.
const DESCRIPTION: Duration = Duration::from_secs(1);
/// Pause between two looks at addresses that no process keeps.
const ADDRESS_LOOK: Duration = Duration::from_millis(250);
/// How long such an address may be missing: who gives a device another one may take the old one first.
const ADDRESS_GONE: Duration = Duration::from_secs(1);
/// Pause before a modem that would not say what its call is like is asked again.
const CALL_LOOK: Duration = Duration::from_millis(500);
/// How long a PIN that was told may keep us from being stopped: who ends a modem then never knows whether it was right.
const FATE: Duration = Duration::from_secs(50);
/// How long a program may take to make its device.
const DEVICE: Duration = Duration::from_secs(15);
/// How long a program that should end by itself may take.
pub(super) const PROGRAM_LIMIT: Duration = Duration::from_secs(20);
/// How long a session may take to say goodbye: pppd asks a far end that is gone twice, for three seconds each
/// (lcp-max-terminate, lcp-restart), and then removes its pid file.
const GOODBYE: Duration = Duration::from_secs(9);
/// Most that programs may say, bytes: the run directory is memory.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// Of what a program says, the end is read, bytes.
const SAID_MAX: u64 = 16 * 1024;

/// What a session is told while it runs.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// It is to end.
    pub(super) stop: AtomicBool,
    /// What was brought up for a trial carries, if that is the same connection. Held while the session's file is written.
    kept: Mutex<bool>,
}

impl Orders {
    /// What was brought up for a trial outlives this process from now on, like everything that carries: that is on the disk
    /// before RED is said to be its, or a process that dies in between would leave the next one an address to take away.
    ///
    /// # Errors
    /// It could not be written, and is asked for again.
    pub(super) fn keep(&self, name: &str, places: &Places) -> std::io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if *kept {
            return Ok(());
        }
        let file = file(name, places);
        if let Some(session) = Session::read(&file).filter(|session| session.trial) {
            Session { trial: false, ..session }.write(&file)?;
        }
        *kept = true;
        Ok(())
    }
}

/// Where a session is written down, unless it is temporary.
fn file(name: &str, places: &Places) -> PathBuf {
    Path::new(&places.run_dir).join(format!("{name}.session"))
}

/// Brings a link up, stays as long as it is, and undoes everything. `tell` is given what happens in between; what is returned
/// is how it ended.
pub(super) fn run(
    link: &Link,
    role: Role,
    places: &Places,
    pins: &Pins,
    orders: &Orders,
    tell: &dyn Fn(Event),
) -> Event {
    let mut run = Run::new(link, role, places, pins, orders);
    let end = run.up().and_then(|connection| {
        tell(Event::Established(connection));
        run.stay()
    });
    run.undo();
    match end {
        Ok(()) => Event::Stopped,
        // That counts, whoever ended it.
        Err(Failure::PinRefused) => Event::Ended(Failure::PinRefused),
        Err(_) if orders.stop.load(Ordering::Relaxed) => Event::Stopped,
        Err(failure) => Event::Ended(failure),
    }
}

/// Undoes the session of a process before this one.
pub(super) fn undo_left(session: &Session, places: &Places) {
    for process in session.processes.iter().rev() {
        end(process.id, || process::is_alive(process.id, process.start));
    }
    clear(session, places);
}

/// Asks a process group to end, and kills what does not.
fn end(group: u32, mut alive: impl FnMut() -> bool) {
    if !alive() {
        return;
    }
    process::end_group(group);
    let deadline = Instant::now() + GOODBYE;
    while alive() {
        if Instant::now() >= deadline {
            process::kill_group(group);
            return;
        }
        std::thread::sleep(LOOK);
    }
}

fn clear(session: &Session, places: &Places) {
    let log = Path::new(&places.run_dir).join("undo.log");
    for argv in &session.undo {
        let _ = program(argv, &log, PROGRAM_LIMIT);
    }
    for step in &session.down {
        match step {
            Down::Run(argv) => drop(program(argv, &log, PROGRAM_LIMIT)),
            Down::Remove(path) => drop(fs::remove_file(path)),
        }
    }
}

struct Run<'a> {
    link: &'a Link,
    role: Role,
    places: &'a Places,
    pins: &'a Pins<'a>,
    /// It is open whether the PIN is right.
    open: bool,
    /// Since when, if we had it told.
    told: Option<Instant>,
    orders: &'a Orders,
    plan: Plan,
    session: Session,
    file: PathBuf,
    log: PathBuf,
    /// Those we started ourselves; of a process before this one only the numbers are known.
    children: Vec<(String, Child)>,
    settings: Option<Established>,
}

impl<'a> Run<'a> {
    fn new(link: &'a Link, role: Role, places: &'a Places, pins: &'a Pins<'a>, orders: &'a Orders) -> Self {
        let plan = plan(link, role, places);
        let name = format!("{}{}", link.name, if is_temporary(link, role) { ".trial" } else { "" });
        let session = Session {
            made_of: Some(made_of(link)),
            link: link.name.clone(),
            trial: role == Role::Trial,
            down: plan.down.iter().filter_map(down).collect(),
            ..Session::default()
        };
        Run {
            link,
            role,
            places,
            pins,
            open: pins.is_open(),
            told: None,
            orders,
            plan,
            session,
            file: file(&name, places),
            log: Path::new(&places.run_dir).join(format!("{name}.log")),
            children: Vec::new(),
            settings: None,
        }
    }

    fn up(&mut self) -> Result<Established, Failure> {
        let deadline = Instant::now() + self.plan.limit;
        match Session::read(&self.file) {
            // A process before this one brought it up: it is carried on with.
            Some(left)
                if !is_temporary(self.link, self.role)
                    && left.is_of(self.link)
                    && left.is_alive()
                    && self.has_its_addresses() =>
            {
                // Told before this life of ours, or by this link in it.
                self.open &= self.pins.is_own();
                self.session = Session { trial: self.session.trial, ..left };
                // Nothing healthy is ended for want of room.
                let _ = self.remember();
            }
            Some(left) => {
                undo_left(&left, self.places);
                self.begin()?;
            }
            None => self.begin()?,
        }
        match self.wait_ready(deadline) {
            Err(failure) if !self.plan.unlock.is_empty() && sim_asks(&self.report()) => {
                if self.orders.stop.load(Ordering::Relaxed) {
                    return Err(failure);
                }
                self.unlock()?;
                self.wait_ready(Instant::now() + self.plan.limit + FATE)
            }
            other => other,
        }
    }

    fn begin(&mut self) -> Result<(), Failure> {
        // What the attempt before this one came to, if nobody was there to hear it. It says nothing of what another link told
        // the same SIM since.
        if self.log.exists() && self.pins.is_own() {
            self.hear_of_pin(true);
        }
        let _ = fs::remove_file(&self.log);
        self.carry_out(&self.plan.up.clone())
    }

    /// The SIM asks for its PIN, and the program that found out has ended.
    fn unlock(&mut self) -> Result<(), Failure> {
        self.pins.begin()?;
        (self.open, self.told) = (true, Some(Instant::now()));
        // Where this is the last word, the PIN has not gone out.
        let log = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        log.and_then(|mut log| writeln!(log, "{SIM_ASKS}"))
            .map_err(|e| trouble(&self.log.to_string_lossy(), &e))?;
        self.children.retain_mut(|(_, child)| matches!(child.try_wait(), Ok(None)));
        self.session.processes.retain(|p| process::is_alive(p.id, p.start));
        self.carry_out(&self.plan.unlock.clone())
    }

    /// All steps, or there is nothing that a process after us could carry on with.
    fn carry_out(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.session.unfinished = true;
        self.remember()?;
        for step in steps {
            if self.orders.stop.load(Ordering::Relaxed) {
                return Err(Failure::Lost);
            }
            self.step(step)?;
        }
        self.session.unfinished = false;
        self.remember()
    }

    /// What became of a PIN that is told by `chat`, as its log has it. `over`: nobody tells it any more.
    fn hear_of_pin(&mut self, over: bool) {
        if !self.open || !matches!(self.link.method, Method::Modem { .. }) {
            return;
        }
        match pin_of(&self.said()) {
            Pin::Ready => self.pins.end(),
            Pin::Untold if over => self.pins.take_back(),
            Pin::Unknown | Pin::Untold | Pin::Told => return,
        }
        (self.open, self.told) = (self.pins.is_open(), None);
    }

    /// Whether we are asked to end, and may.
    fn is_to_end(&self) -> bool {
        self.orders.stop.load(Ordering::Relaxed) && self.told.is_none_or(|told| told.elapsed() >= FATE)
    }

    fn step(&mut self, step: &Step) -> Result<(), Failure> {
        match step {
            Step::Write { path, content } => write(path, content.reveal()),
            Step::Set { path, value } => fs::write(path, value).map_err(|e| trouble(path, &e)),
            Step::Remove { path } => match fs::remove_file(path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(trouble(path, &e)),
                _ => Ok(()),
            },
            Step::Run { argv, may_fail } => match self.program(argv) {
                Err(_) if *may_fail => Ok(()),
                other => other,
            },
            Step::Make { argv, undo } => {
                if self.program(argv).is_ok() {
                    // The last thing made is the first undone.
                    self.session.undo.insert(0, undo.clone());
                    self.remember()?;
                }
                Ok(())
            }
            Step::Await { device } => self.wait_for(device),
            Step::Qmi { control, setup } => modem::prepare(control, setup, self.pins, &self.orders.stop),
            Step::Spawn { argv } => self.spawn(argv),
        }
    }

    /// Until there is such a device, or the program that should make it has ended.
    fn wait_for(&mut self, device: &str) -> Result<(), Failure> {
        let deadline = Instant::now() + DEVICE;
        while !process::is_device(device) {
            self.look()?;
            if Instant::now() >= deadline {
                return Err(Failure::NoDevice(device.to_owned()));
            }
            std::thread::sleep(READY_LOOK);
        }
        Ok(())
    }

    /// Runs a program to its end.
    fn program(&mut self, argv: &[String]) -> Result<(), Failure> {
        let name = argv.first().cloned().unwrap_or_default();
        let status = program(argv, &self.log, PROGRAM_LIMIT).map_err(|e| no_program(&name, &e))?;
        if status.success() {
            return Ok(());
        }
        Err(failure(self.link, &name, code(status), &self.said(), &self.report()))
    }

    fn spawn(&mut self, argv: &[String]) -> Result<(), Failure> {
        let name = argv.first().map(|path| basename(path)).unwrap_or_default();
        let mut command = waiting(argv, &self.log).map_err(|e| no_program(&name, &e))?;
        if is_temporary(self.link, self.role) {
            process::end_with_parent(&mut command);
        }
        let mut child = command.spawn().map_err(|e| no_program(&name, &e))?;
        let go = child.stdin.take();
        let start = process::start_of(child.id()).unwrap_or_default();
        self.session.processes.push(Process { id: child.id(), start });
        self.children.push((name, child));
        self.remember()?;
        // One that has ended already is found where ends are looked for.
        let _ = go.map(|mut go| go.write_all(b"\n"));
        Ok(())
    }

    fn remember(&mut self) -> Result<(), Failure> {
        let kept = self.orders.kept.lock().unwrap_or_else(PoisonError::into_inner);
        self.session.trial &= !*kept || is_temporary(self.link, self.role);
        self.session.write(&self.file).map_err(|e| trouble(&self.file.to_string_lossy(), &e))
    }

    fn said(&self) -> String {
        tail(&self.log)
    }

    fn report(&self) -> String {
        self.plan.report.as_ref().map(|file| tail(Path::new(file))).unwrap_or_default()
    }

    fn wait_ready(&mut self, deadline: Instant) -> Result<Established, Failure> {
        let device = match self.plan.ready.clone() {
            Ready::Address { device } => device,
            Ready::Qmi { device, ask } => {
                self.take_settings(&device, &ask, deadline)?;
                device
            }
        };
        loop {
            if !process::addresses_of(&device).is_empty() {
                for step in self.plan.then.clone() {
                    self.step(&step)?;
                }
                return Ok(self.settings.take().unwrap_or_else(|| self.describe(&device)));
            }
            self.look()?;
            if Instant::now() >= deadline {
                return Err(Failure::NoAnswer);
            }
            std::thread::sleep(READY_LOOK);
        }
    }

    /// What the connection is. `pppd` gives the device its address first and says the rest a moment later, in a few lines.
    fn describe(&self, device: &str) -> Established {
        let mut found = established(device, &self.said());
        let deadline = Instant::now() + DESCRIPTION;
        while self.link.method.makes_a_device() && Instant::now() < deadline {
            std::thread::sleep(DESCRIPTION_LOOK);
            let before = std::mem::replace(&mut found, established(device, &self.said()));
            if found.peer.is_some() && found == before {
                break;
            }
        }
        found
    }

    /// What the modem says of its call gives the device its address.
    fn take_settings(&mut self, device: &str, ask: &[String], deadline: Instant) -> Result<(), Failure> {
        loop {
            self.look()?;
            if qmi_started(&self.said()) {
                let told = program(ask, &self.log, PROGRAM_LIMIT).map_err(|e| no_program("qmicli", &e))?;
                let has: Vec<IpNet> = process::networks_of(device)
                    .into_iter()
                    .filter_map(|(address, bits)| IpNet::new(address, bits).ok())
                    .collect();
                if let Some((steps, connection)) =
                    qmi_settings(device, &self.said(), &has).filter(|_| told.success())
                {
                    self.settings = Some(connection);
                    return steps.iter().try_for_each(|step| self.step(step));
                }
                std::thread::sleep(CALL_LOOK);
            }
            if Instant::now() >= deadline {
                return Err(Failure::NoAnswer);
            }
            std::thread::sleep(READY_LOOK);
        }
    }

    /// Until it ends, or is to end.
    fn stay(&mut self) -> Result<(), Failure> {
        let (mut looked, mut had) = (Instant::now(), Instant::now());
        loop {
            self.look()?;
            if looked.elapsed() >= ADDRESS_LOOK {
                looked = Instant::now();
                if self.has_its_addresses() {
                    had = looked;
                } else if had.elapsed() >= ADDRESS_GONE {
                    return Err(Failure::NoAddress(self.device().to_owned()));
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// The device packets leave by.
    fn device(&self) -> &str {
        match &self.plan.ready {
            Ready::Address { device } | Ready::Qmi { device, .. } => device,
        }
    }

    /// Fixed addresses are kept by nobody: they go with a device that is pulled out, and one that is plugged in again has none.
    fn has_its_addresses(&self) -> bool {
        let Method::Static { addresses, .. } = &self.link.method else { return true };
        let there = process::addresses_of(self.device());
        addresses.iter().any(|own| there.contains(&own.addr()))
    }

    /// Whether everything still runs.
    fn look(&mut self) -> Result<(), Failure> {
        self.hear_of_pin(false);
        shorten(&self.log);
        if self.is_to_end() {
            return Err(Failure::Lost);
        }
        for (name, child) in &mut self.children {
            let ended = child.try_wait().ok().flatten();
            if let Some(status) = ended {
                let name = name.clone();
                return Err(failure(self.link, &name, code(status), &self.said(), &self.report()));
            }
        }
        if self.children.is_empty() && !self.session.runs() {
            return Err(Failure::Lost);
        }
        Ok(())
    }

    fn undo(&mut self) {
        for (_, child) in self.children.iter_mut().rev() {
            end(child.id(), || matches!(child.try_wait(), Ok(None)));
            // No zombie, whatever it died of.
            let _ = child.wait();
        }
        undo_left(&self.session, self.places);
        self.hear_of_pin(true);
        if let Some(report) = &self.plan.report {
            let _ = fs::remove_file(report);
        }
        let _ = fs::remove_file(&self.file);
    }
}

/// Whether it ends with us, whatever becomes of it: a call on trial is another one than that which carries, an address or a lease
/// may be kept.
fn is_temporary(link: &Link, role: Role) -> bool {
    role == Role::Trial && link.method.is_dialled()
}

fn down(step: &Step) -> Option<Down> {
    match step {
        Step::Run { argv, .. } => Some(Down::Run(argv.clone())),
        Step::Remove { path } => Some(Down::Remove(path.clone())),
        _ => None,
    }
}

/// The name of a program, wherever it is.
fn basename(path: &str) -> String {
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A file only root may read, from its first byte on.
fn write(path: &str, content: &str) -> Result<(), Failure> {
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    written.and_then(|mut file| file.write_all(content.as_bytes())).map_err(|e| trouble(path, &e))
}

pub(super) fn trouble(what: &str, error: &std::io::Error) -> Failure {
    Failure::Program {
        name: what.to_owned(),
        status: error.raw_os_error().unwrap_or(0),
        said: error.to_string(),
    }
}

fn no_program(name: &str, error: &std::io::Error) -> Failure {
    match error.kind() {
        std::io::ErrorKind::NotFound => Failure::NoProgram(name.to_owned()),
        _ => trouble(name, error),
    }
}

fn code(status: ExitStatus) -> i32 {
    status.code().or_else(|| status.signal().map(|s| -s)).unwrap_or_default()
}

fn find(name: &str) -> std::io::Result<PathBuf> {
    // An absolute name is itself whatever it is joined to.
    let found = PATH.split(':').map(|dir| Path::new(dir).join(name)).find(|path| path.exists());
    Ok(found.ok_or(std::io::ErrorKind::NotFound)?)
}

/// In a group of its own, without our environment; what it says is appended to a file.
fn command(argv: &[String], log: &Path) -> std::io::Result<Command> {
    let program = find(argv.first().ok_or(std::io::ErrorKind::InvalidInput)?)?;
    let output = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(log)?;
    let mut command = Command::new(program);
    command
        .args(&argv[1..])
        .env_clear()
        .env("PATH", PATH)
        // What is read must be in the words it is written for.
        .env("LC_ALL", "C")
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    Ok(command)
}

/// A program that is begun when it gets a line, and never if who starts it dies before: nobody would know of it. It is the same
/// process then.
fn waiting(argv: &[String], log: &Path) -> std::io::Result<Command> {
    let program = find(argv.first().ok_or(std::io::ErrorKind::InvalidInput)?)?;
    let shell = ["sh", "-c", "read -r go && exec \"$@\" </dev/null", "sh"].map(str::to_owned);
    let words = [&shell[..], &[program.to_string_lossy().into_owned()], &argv[1..]].concat();
    let mut command = command(&words, log)?;
    command.stdin(Stdio::piped());
    Ok(command)
}

/// Runs a program to its end, or kills it.
pub(super) fn program(argv: &[String], log: &Path, limit: Duration) -> std::io::Result<ExitStatus> {
    let mut child = command(argv, log)?.spawn()?;
    let begun = Instant::now();
    let deadline = begun + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            // Those it left in the background may say more.
            shorten(log);
            return Ok(status);
        }
        if Instant::now() >= deadline || is_long(log) {
            process::kill_group(child.id());
            shorten(log);
            return child.wait();
        }
        let soon = begun.elapsed() < PROGRAM_SOON;
        std::thread::sleep(if soon { PROGRAM_LOOKS.0 } else { PROGRAM_LOOKS.1 });
    }
}

fn is_long(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|meta| meta.len() > LOG_BYTES_MAX)
}

/// A log that has become too long begins anew: whoever writes it appends.
fn shorten(log: &Path) {
    if is_long(log) {
        let _ = File::options().write(true).open(log).and_then(|file| file.set_len(0));
    }
}

/// The end of a file, as text.
fn tail(file: &Path) -> String {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(SAID_MAX)))?;
        let mut bytes = Vec::new();
        file.take(SAID_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests;
