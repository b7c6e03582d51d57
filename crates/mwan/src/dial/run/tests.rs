#![allow(clippy::unwrap_used, clippy::disallowed_methods)]
use mwan_config::link::Method;
use mwan_dial::Dhcp;

use super::*;

fn link() -> Link {
    Link {
        name: "line".into(),
        device: "lo".into(),
        lower: None,
        method: Method::Dhcp { hostname: None },
        session_device: "lo".into(),
        on_demand: true,
        mtu: None,
        mac: None,
    }
}

fn places(dir: &Path) -> Places {
    Places {
        run_dir: dir.to_string_lossy().into_owned(),
        chat: "/usr/sbin/chat".into(),
        pptp: "/usr/sbin/pptp".into(),
        dhcp: Dhcp::Dhcpcd,
    }
}

fn spawn(words: &[&str]) -> Step {
    Step::Spawn { argv: words.iter().map(|w| (*w).to_owned()).collect() }
}

fn wait_for(device: &str) -> Step {
    Step::Await { device: device.into() }
}

/// Runs steps as a plan's; then undoes everything. How it went, and the children there were.
fn carried_out(steps: &[Step]) -> (Result<(), Failure>, Vec<u32>) {
    let dir = tempfile::tempdir().unwrap();
    let (link, places, orders) = (link(), places(dir.path()), Orders::default());
    let pins = Pins::new(dir.path(), &link, Role::Carry);
    let mut run = Run::new(&link, Role::Carry, &places, &pins, &orders);
    let result = steps.iter().try_for_each(|step| run.step(step));
    let children = run.children.iter().map(|(_, child)| child.id()).collect();
    run.undo();
    (result, children)
}

#[test]
fn a_device_that_is_there_is_not_waited_for() {
    assert_eq!(carried_out(&[wait_for("lo")]).0, Ok(()));
}

#[test]
fn a_device_is_not_waited_for_when_its_maker_has_ended() {
    let steps = [spawn(&["sh", "-c", "echo out of circuits; exit 3"]), wait_for("nas7")];
    let failure = Failure::Program { name: "sh".into(), status: 3, said: "out of circuits".into() };
    assert_eq!(carried_out(&steps).0, Err(failure));
}

/// Whether it ended by itself, by our SIGTERM, or by the SIGKILL of somebody else.
#[test]
fn no_child_is_left_a_zombie() {
    let (result, children) =
        carried_out(&[spawn(&["true"]), spawn(&["sleep", "600"]), spawn(&["sh", "-c", "kill -9 $$"])]);
    assert_eq!((result, children.len()), (Ok(()), 3));
    for child in children {
        assert!(
            !Path::new(&format!("/proc/{child}")).exists(),
            "{child} is still there, as a zombie at least"
        );
    }
}

#[test]
fn a_session_that_dies_is_told_and_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let (link, places, orders) = (link(), places(dir.path()), Orders::default());
    let pins = Pins::new(dir.path(), &link, Role::Carry);
    let mut run = Run::new(&link, Role::Carry, &places, &pins, &orders);
    run.step(&spawn(&["sh", "-c", "kill -9 $$"])).unwrap();
    assert!(run.file.exists(), "what a process after us has to undo");
    let end = run.stay();
    run.undo();
    let failure = Failure::Program { name: "sh".into(), status: -9, said: String::new() };
    assert_eq!(end, Err(failure));
    assert!(!run.file.exists());
}

/// A serial line: a terminal under a name, whose other end is a pair of pipes; it says one byte when it is there.
const LINE: &str = "
import os, pty, select, sys, tty
master, slave = pty.openpty()
tty.setraw(slave)
os.symlink(os.ttyname(slave), sys.argv[1])
os.write(1, b'.')
while True:
    for end in select.select([0, master], [], [])[0]:
        data = os.read(end, 4096)
        if not data:
            sys.exit()
        os.write(master if end == 0 else 1, data)
";

/// A modem that speaks AT, with its SIM, behind a serial line; and a `pppd` that has the real chat(8) speak to it and then ends.
struct Gsm {
    dir: tempfile::TempDir,
    notes: PathBuf,
    link: Link,
    places: Places,
    orders: Orders,
    line: Child,
    /// All commands, and whether the SIM is ready.
    said: std::sync::Arc<std::sync::Mutex<(Vec<String>, bool)>>,
}

impl Gsm {
    /// The SIM answers a PIN with `answer`, and is ready then if `ready`.
    fn new(answer: &'static str, ready: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        // chat wants a terminal.
        let mut line = Command::new("python3");
        line.args(["-c", LINE]).arg(dir.path().join("tty"));
        let mut line = line.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (mut input, mut output) = (line.stdout.take().unwrap(), line.stdin.take().unwrap());
        input.read_exact(&mut [0]).unwrap();
        let said = std::sync::Arc::new(std::sync::Mutex::new((Vec::new(), false)));
        let sim = said.clone();
        std::thread::spawn(move || {
            let mut command = Vec::new();
            for byte in std::io::BufReader::new(input).bytes() {
                command.push(byte.unwrap());
                if command.pop_if(|byte| *byte == b'\r').is_none() {
                    continue;
                }
                let text = String::from_utf8(std::mem::take(&mut command)).unwrap();
                let mut sim = sim.lock().unwrap();
                let word = match text.as_str() {
                    "AT+CPIN?" if sim.1 => "+CPIN: READY\r\n\r\nOK",
                    "AT+CPIN?" => "+CPIN: SIM PIN\r\n\r\nOK",
                    "AT+CSQ" => "+CSQ: 17,99\r\n\r\nOK",
                    text if text.starts_with("AT+CPIN=") => {
                        sim.1 |= ready;
                        answer
                    }
                    text if text.starts_with("ATD") => "CONNECT",
                    text if !text.starts_with("AT") || text.contains("ATZ") && text != "ATZ" => "ERROR",
                    _ => "OK",
                };
                sim.0.push(text);
                let _ = write!(output, "\r\n{word}\r\n");
            }
        });
        let method = Method::Modem {
            speed: 115_200,
            apn: "internet".into(),
            number: "*99#".into(),
            pin: Some(mwan_config::link::Secret::new("35071468")),
            login: None,
        };
        let (link, places) = (Link { method, ..link() }, places(dir.path()));
        Gsm { notes: dir.path().join("pins"), line, dir, link, places, orders: Orders::default(), said }
    }

    fn pins(&self) -> Pins<'_> {
        Pins::new(&self.notes, &self.link, Role::Carry)
    }

    /// One attempt, as a process of its own would make it. A connection ends at once.
    fn dial(&self) -> Failure {
        let pppd = self.dir.path().join("pppd");
        let dir = self.dir.path().display();
        let text = format!(
            "#!/bin/sh\n/usr/sbin/chat -r {dir}/line.report -f {dir}/line.chat <{dir}/tty >{dir}/tty || exit 8\n"
        );
        fs::write(&pppd, text).unwrap();
        fs::set_permissions(&pppd, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let pins = self.pins();
        let mut run = Run::new(&self.link, Role::Carry, &self.places, &pins, &self.orders);
        run.plan.ready = Ready::Address { device: "mwan-none".into() };
        for step in run.plan.up.iter_mut().chain(&mut run.plan.unlock) {
            if let Step::Spawn { argv } = step {
                argv[0] = pppd.to_string_lossy().into_owned();
            }
        }
        let end = run.up().unwrap_err();
        run.undo();
        let left = fs::read_dir(self.dir.path()).unwrap().flatten();
        for file in left.filter(|f| f.file_type().unwrap().is_file()) {
            let text = fs::read_to_string(file.path()).unwrap();
            assert!(!text.contains("35071468"), "{}: {text}", file.path().display());
        }
        end
    }

    fn told(&self) -> usize {
        self.said.lock().unwrap().0.iter().filter(|c| *c == "AT+CPIN=\"35071468\"").count()
    }

    fn dialled(&self) -> usize {
        self.said.lock().unwrap().0.iter().filter(|c| c.starts_with("ATD")).count()
    }
}

impl Drop for Gsm {
    fn drop(&mut self) {
        let _ = self.line.kill();
        let _ = self.line.wait();
    }
}

#[test]
fn a_pin_is_told_to_a_sim_behind_a_serial_line_that_asks_for_it() {
    let gsm = Gsm::new("OK", true);
    for dialled in 1..=2 {
        assert_eq!(gsm.dial(), Failure::Lost, "pppd came to its end");
        assert_eq!((gsm.told(), gsm.dialled(), gsm.pins().is_open()), (1, dialled, false));
    }
}

/// Who talks to a modem may die in the middle of a word.
#[test]
fn a_modem_that_was_left_with_half_a_command_is_understood() {
    let gsm = Gsm::new("OK", true);
    fs::write(gsm.dir.path().join("tty"), "AT+").unwrap();
    assert_eq!(gsm.dial(), Failure::Lost);
    assert_eq!((gsm.told(), gsm.dialled()), (1, 1));
}

#[test]
fn a_wrong_pin_is_told_once_whatever_the_modem_calls_that() {
    let gsm = Gsm::new("+CME ERROR: 16", false);
    assert_eq!(gsm.dial(), Failure::PinRefused);
    assert_eq!((gsm.told(), gsm.dialled()), (1, 0));
    // Not every modem gives a reason.
    let gsm = Gsm::new("ERROR", false);
    assert!(matches!(gsm.dial(), Failure::Program { status: 8, .. }));
    for _ in 0..2 {
        assert_eq!(gsm.dial(), Failure::PinRefused);
    }
    assert_eq!((gsm.told(), gsm.dialled()), (1, 0));
}

#[test]
fn a_pin_nobody_said_anything_of_was_right_if_the_sim_is_ready() {
    let gsm = Gsm::new("ERROR", true);
    assert!(matches!(gsm.dial(), Failure::Program { status: 8, .. }));
    assert!(gsm.pins().is_open());
    assert_eq!(gsm.dial(), Failure::Lost);
    assert_eq!((gsm.told(), gsm.dialled(), gsm.pins().is_open()), (1, 1, false));
}

/// By what the log of its last attempt says, and only by that: a later attempt that told nothing says nothing.
#[test]
fn what_a_process_was_killed_at_is_known_to_the_next() {
    for (log, open) in [
        (format!("{SIM_ASKS}\n"), false),
        (format!("{SIM_ASKS}\nmwan: the SIM is told its PIN\n"), true),
        (format!("{SIM_ASKS}\nmwan: the SIM is told its PIN\nmwan: the SIM is ready\n"), false),
        ("Connect script failed\n".to_owned(), true),
    ] {
        let gsm = Gsm::new("OK", true);
        gsm.pins().begin().unwrap();
        fs::write(gsm.dir.path().join("line.log"), &log).unwrap();
        let end = gsm.dial();
        assert_eq!(end == Failure::PinRefused, open, "{log}: {end:?}");
        assert_eq!((gsm.told(), gsm.pins().is_open()), (usize::from(!open), open), "{log}");
    }
}

/// The steps of a QMI modem may take a while before any program is started.
#[test]
fn a_session_that_was_not_brought_up_to_the_end_is_not_carried_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (link, places, orders) = (link(), places(dir.path()), Orders::default());
    let pins = Pins::new(dir.path(), &link, Role::Carry);
    let run = || Run::new(&link, Role::Carry, &places, &pins, &orders);
    let step = |name: &str| Step::Write {
        path: dir.path().join(name).to_string_lossy().into_owned(),
        content: mwan_config::link::Secret::new("x"),
    };
    let mut first = run();
    first.plan.ready = Ready::Address { device: "lo".into() };
    first.plan.then.clear();
    first.plan.up = vec![step("a"), Step::Run { argv: vec!["false".into()], may_fail: false }];
    assert!(first.up().is_err());
    // Killed: nothing is undone.
    assert!(Session::read(&first.file).is_some_and(|left| !left.is_alive()));
    let mut second = run();
    (second.plan.ready, second.plan.then) = (first.plan.ready.clone(), Vec::new());
    second.plan.up = vec![step("b")];
    assert!(second.up().is_ok() && dir.path().join("b").exists());
    let mut third = run();
    (third.plan.ready, third.plan.then) = (first.plan.ready.clone(), Vec::new());
    third.plan.up = vec![step("c")];
    assert!(third.up().is_ok() && !dir.path().join("c").exists(), "what is up is carried on with");
}

#[test]
fn a_fixed_address_that_is_gone_ends_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let (places, orders) = (places(dir.path()), Orders::default());
    for (address, gone) in [("127.0.0.1/8", false), ("192.0.2.77/32", true)] {
        let method = Method::Static {
            addresses: vec![address.parse().unwrap()],
            gateways: Vec::new(),
            dns: Vec::new(),
        };
        let link = Link { method, ..link() };
        let pins = Pins::new(dir.path(), &link, Role::Carry);
        let mut run = Run::new(&link, Role::Carry, &places, &pins, &orders);
        let end = std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(ADDRESS_GONE * 3);
                orders.stop.store(true, Ordering::Relaxed);
            });
            run.stay()
        });
        orders.stop.store(false, Ordering::Relaxed);
        assert_eq!(end, Err(if gone { Failure::NoAddress("lo".into()) } else { Failure::Lost }));
    }
}

/// An address or a lease is one connection on trial and afterwards; a call is another.
#[test]
fn what_is_kept_of_a_trial_outlives_us_and_a_call_on_trial_does_not() {
    for (dialled, survives) in [(false, true), (true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let (mut link, places, orders) = (link(), places(dir.path()), Orders::default());
        if dialled {
            link.method = Method::Qmi { control: None, apn: "i".into(), pin: None, login: None };
        }
        let pins = Pins::new(dir.path(), &link, Role::Trial);
        let mut run = Run::new(&link, Role::Trial, &places, &pins, &orders);
        let left = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                run.step(&spawn(&["sleep", "600"])).unwrap();
                orders.keep(&link.name, &places).unwrap();
                // Whoever dies now has left it, and what is written later does not take that back.
                let left = Session::read(&run.file).unwrap();
                run.remember().unwrap();
                assert_eq!(Session::read(&run.file).as_ref(), Some(&left));
                (left, run.children.pop().unwrap().1)
            });
            thread.join().unwrap()
        });
        let (session, mut child) = left;
        assert_eq!(session.role(), if survives { Role::Carry } else { Role::Trial });
        if survives {
            assert!(session.is_alive());
            // The next one carries on with it, for whatever it is wanted.
            for role in [Role::Trial, Role::Carry] {
                let orders = Orders::default();
                let mut next = Run::new(&link, role, &places, &pins, &orders);
                (next.plan.up, next.plan.then) = (vec![spawn(&["false"])], Vec::new());
                assert_eq!(next.up().map(|_| next.session.role()), Ok(role));
                assert_eq!(next.session.processes, session.processes);
            }
            child.kill().unwrap();
        }
        // By the signal that its thread's end is.
        child.wait().unwrap();
    }
}

/// The log of this profile is older than what another has told the same modem.
#[test]
fn an_old_log_settles_nothing_that_others_told() {
    let gsm = Gsm::new("ERROR", false);
    let other = Link { name: "other".into(), ..gsm.link.clone() };
    Pins::new(&gsm.notes, &other, Role::Carry).begin().unwrap();
    fs::write(gsm.dir.path().join("line.log"), "mwan: the SIM is ready\n").unwrap();
    assert_eq!((gsm.dial(), gsm.told()), (Failure::PinRefused, 0));
}

/// The configuration was changed while there was no daemon.
#[test]
fn a_session_of_another_link_of_the_same_name_is_not_carried_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (places, orders) = (places(dir.path()), Orders::default());
    let changed = Link { mtu: Some(1400), ..link() };
    for (link, made) in [(link(), "a"), (link(), ""), (changed, "b")] {
        let pins = Pins::new(dir.path(), &link, Role::Carry);
        let mut run = Run::new(&link, Role::Carry, &places, &pins, &orders);
        let file = dir.path().join("made");
        let path = file.to_string_lossy().into_owned();
        let content = mwan_config::link::Secret::new("x");
        (run.plan.up, run.plan.then) = (vec![Step::Write { path, content }], Vec::new());
        assert!(run.up().is_ok());
        assert_eq!(fs::remove_file(&file).is_ok(), !made.is_empty(), "{made}");
    }
}

/// Who starts it may be killed before anybody could know of it.
#[test]
fn a_program_that_nobody_remembers_is_never_begun() {
    let dir = tempfile::tempdir().unwrap();
    let (log, made) = (dir.path().join("log"), dir.path().join("made"));
    let argv = ["touch", made.to_str().unwrap()].map(str::to_owned);
    for go in [false, true] {
        let mut child = waiting(&argv, &log).unwrap().spawn().unwrap();
        if go {
            child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        }
        drop(child.stdin.take());
        assert_eq!((child.wait().unwrap().success(), made.exists()), (go, go));
    }
    assert_eq!(fs::read_to_string(&log).unwrap(), "", "and says nothing");
    let none = waiting(&["mwan-no-such-program".to_owned()], &log);
    assert_eq!(none.unwrap_err().kind(), std::io::ErrorKind::NotFound);
}
