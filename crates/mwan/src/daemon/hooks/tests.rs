#![allow(clippy::unwrap_used)]
use std::io::Write;

use mwan_config::Family;
use mwan_core::{Reason, State};
use tracing_subscriber::fmt::MakeWriter;

use super::*;

/// The log of a test.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }

    fn count(&self, word: &str) -> usize {
        self.text().lines().filter(|l| l.contains(word)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

/// A folder with scripts, and a runner whose log can be read.
struct Rig {
    dir: tempfile::TempDir,
    runner: Runner,
    places: Places,
    log: Log,
}

impl Rig {
    fn new(limit: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("hooks.d")).unwrap();
        let places = Places {
            user_script: Some(dir.path().join("mwan3.user")),
            directory: dir.path().join("hooks.d"),
            hotplug: None,
            time_limit: limit,
        };
        let orders = Orders { places: places.clone(), end: None };
        let runner = Runner::new(Arc::default(), Arc::new(Mutex::new(orders)));
        Rig { dir, runner, places, log: Log::default() }
    }

    /// The user script: `OUT` is a file in the folder.
    fn script(&self, text: &str) {
        let text = text.replace("OUT", self.dir.path().join("out").to_str().unwrap());
        fs::write(self.dir.path().join("mwan3.user"), text).unwrap();
    }

    fn file(&self, name: &str, mode: u32, text: &str) {
        let path = self.dir.path().join("hooks.d").join(name);
        fs::write(&path, text.replace("OUT", self.dir.path().join("out").to_str().unwrap())).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn one(&mut self, call: &HookCall) {
        let subscriber =
            tracing_subscriber::fmt().with_writer(self.log.clone()).with_ansi(false).without_time().finish();
        tracing::subscriber::with_default(subscriber, || self.runner.one(call, &self.places));
    }

    fn out(&self) -> String {
        fs::read_to_string(self.dir.path().join("out")).unwrap_or_default()
    }
}

const LONG: Duration = Duration::from_secs(60);

fn call(action: Action) -> HookCall {
    HookCall {
        action,
        scope: Scope::Interface,
        interface: "wan".into(),
        device: if action == Action::IfDown { String::new() } else { "eth1".into() },
        from: Some(State::Online),
        to: State::Offline,
        paths: vec![(
            Family::V4,
            State::Offline,
            Reason::ProbesLost { bad_rounds: 3, since: mwan_core::Time(0) },
        )],
    }
}

fn of_path(action: Action) -> HookCall {
    HookCall { scope: Scope::Path(Family::V4), ..call(action) }
}

#[test]
fn the_user_script_sees_three_variables_and_nothing_else() {
    let mut rig = Rig::new(LONG);
    // Not executable: mwan3 runs it by the shell all the same.
    rig.script("env | grep -v -e ^PATH= -e ^PWD= -e ^SHLVL= -e ^_= | sort >>OUT; echo >>OUT\n");
    for action in [
        Action::IfUp,
        Action::IfDown,
        Action::Connected,
        Action::Disconnected,
        Action::Connecting,
        Action::Disconnecting,
    ] {
        rig.one(&call(action));
        rig.one(&of_path(action));
    }
    let one = |action, device| format!("ACTION={action}\nDEVICE={device}\nINTERFACE=wan\n\n");
    let expected =
        [one("ifup", "eth1"), one("ifdown", ""), one("connected", "eth1"), one("disconnected", "eth1")]
            .concat();
    assert_eq!(rig.out(), expected);
    assert_eq!(rig.log.text(), "");
}

#[test]
fn names_are_data_and_never_shell_text() {
    let mut rig = Rig::new(LONG);
    rig.script("printf '%s\\n' \"$INTERFACE\" >>OUT\n");
    let evil = "$(touch /tmp/mwan-evil);`id`'\"";
    rig.one(&HookCall { interface: evil.into(), ..call(Action::Connected) });
    assert_eq!(rig.out(), format!("{evil}\n"));
}

#[test]
fn programs_of_the_directory_read_the_document_in_lexical_order() {
    let mut rig = Rig::new(LONG);
    rig.file("20-second", 0o755, "#!/bin/sh\necho second >>OUT\n");
    rig.file("10-first", 0o755, "#!/bin/sh\necho first $ACTION >>OUT\ncat >>OUT\n");
    rig.file("15-not-executable", 0o644, "#!/bin/sh\necho wrong >>OUT\n");
    rig.file(".hidden", 0o755, "#!/bin/sh\necho wrong >>OUT\n");
    rig.one(&of_path(Action::Disconnected));
    rig.one(&call(Action::Disconnected));
    let out = rig.out();
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "first disconnected", "second"), "{out}");
    let document: HookDocument = serde_json::from_str(lines[1]).unwrap();
    assert_eq!(document.schema, "mwan.hook.v1");
    assert_eq!((document.family.as_deref(), document.previous.as_deref()), (Some("ipv4"), Some("online")));
    assert_eq!(document.paths[0].reason.code, "probes_lost");
    assert_eq!(document.paths[0].reason.text, "3 rounds in a row lost");
}

/// The page's example is what a program reads, but for the time.
#[test]
fn the_page_shows_the_document() {
    const PAGE: &str = include_str!("../../../../../docs/hooks.md");
    let example = PAGE.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    let example: HookDocument = serde_json::from_str(example).unwrap();
    let document: HookDocument = serde_json::from_slice(&document(&of_path(Action::Disconnected))).unwrap();
    assert_eq!(example, HookDocument { time_s: example.time_s, ..document });
}

#[test]
fn a_program_that_does_not_read_its_document_is_no_failure() {
    let mut rig = Rig::new(LONG);
    rig.file("10", 0o755, "#!/bin/sh\nexec <&-\n");
    rig.one(&of_path(Action::Connected));
    assert_eq!(rig.log.text(), "");
}

#[test]
fn what_is_missing_is_no_failure() {
    let mut rig = Rig::new(LONG);
    fs::remove_dir(rig.dir.path().join("hooks.d")).unwrap();
    rig.one(&call(Action::IfUp));
    rig.one(&of_path(Action::Connected));
    assert_eq!(rig.log.text(), "");
}

#[test]
fn a_program_that_cannot_be_started_is_one_warning() {
    let mut rig = Rig::new(LONG);
    rig.file("10", 0o755, "#!/no/such/interpreter\n");
    rig.one(&of_path(Action::Connected));
    rig.one(&of_path(Action::Disconnected));
    assert_eq!(rig.log.count("cannot be run"), 1, "{}", rig.log.text());
}

#[test]
fn a_script_that_fails_is_one_warning_until_it_works_again() {
    let mut rig = Rig::new(LONG);
    rig.script("exit 3\n");
    for _ in 0..5 {
        rig.one(&call(Action::Connected));
    }
    assert_eq!(rig.log.count("WARN"), 1, "{}", rig.log.text());
    assert_eq!(rig.log.count("failed: exit code 3"), 1);
    rig.script("kill -TERM $$\n");
    rig.one(&call(Action::Connected));
    rig.script("exit 0\n");
    rig.one(&call(Action::Connected));
    assert_eq!(rig.log.count("works again"), 1, "{}", rig.log.text());
    rig.script("exit 3\n");
    rig.one(&call(Action::Connected));
    assert_eq!(rig.log.count("WARN"), 2, "{}", rig.log.text());
}

/// Whether a process is there and no zombie.
fn alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn a_script_that_hangs_is_killed_with_all_it_started() {
    let mut rig = Rig::new(Duration::from_secs(3));
    rig.script("sleep 1000 & echo $! >OUT; trap '' TERM; while :; do sleep 1000; done\n");
    rig.one(&call(Action::Connected));
    let text = rig.log.text();
    assert_eq!((rig.log.count("was killed: not done after 3 s"), rig.log.count("WARN")), (1, 1), "{text}");
    let background = rig.out().trim().to_owned();
    assert!(!background.is_empty());
    // The signal is sent; its effect may take the kernel a moment.
    while alive(&background) {
        std::thread::sleep(Duration::from_millis(5));
    }
    rig.one(&call(Action::Disconnected));
    assert_eq!(rig.log.count("WARN"), 1, "once: {}", rig.log.text());
}

#[test]
fn what_a_script_leaves_in_the_background_does_not_hold_it_up() {
    let mut rig = Rig::new(LONG);
    rig.script("sleep 1000 & echo $! >OUT\necho done\n");
    rig.one(&call(Action::Connected));
    let background = rig.out().trim().to_owned();
    assert!(alive(&background), "mail being sent is not interrupted");
    assert_eq!(rig.log.count("done"), 1, "{}", rig.log.text());
    mwan_linux::process::kill_group(background_group(&background));
}

/// The process group of a process (proc(5): the third field behind the name).
fn background_group(pid: &str) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap().parse().unwrap()
}

#[test]
fn output_is_logged_line_by_line_and_bounded() {
    let mut rig = Rig::new(LONG);
    let long = "x".repeat(5000);
    rig.script(&format!("echo one; echo two >&2; printf 'bell\\007\\033[31m'; echo; echo {long}\n"));
    rig.one(&call(Action::Connected));
    let text = rig.log.text();
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.contains(": one\n") && text.contains(": two\n") && text.contains("bell  [31m\n"), "{text}");
    assert!(text.lines().all(|l| l.len() < 500 && !l.chars().any(char::is_control)), "{text}");

    rig.script("i=0; while [ $i -lt 5000 ]; do echo line $i; i=$((i+1)); done\n");
    for _ in 0..30 {
        rig.one(&call(Action::Connected));
    }
    assert!(rig.log.count(": line ") <= LINES_PER_MINUTE, "{}", rig.log.count(": line "));
    assert_eq!(rig.log.count("printed too much"), 1);
    assert_eq!(rig.log.count("4980 lines are not logged"), 1, "{}", rig.log.text());
}

#[test]
fn a_script_that_floods_for_ever_is_bounded_in_time_and_log() {
    let mut rig = Rig::new(Duration::from_secs(3));
    rig.script("yes\n");
    rig.one(&call(Action::Connected));
    assert_eq!(rig.log.text().lines().count(), LINES_PER_RUN + 1, "{}", rig.log.text());
    assert_eq!(rig.log.count("WARN"), 1);
}

#[test]
fn ten_thousand_transitions_hold_nobody_up_and_are_accounted_for() {
    const CALLS: u64 = 10_000;
    let rig = Rig::new(LONG);
    // Nothing runs until all calls are made: whoever makes them would wait for ever if the queue made it.
    rig.script("while [ ! -e OUT.go ]; do sleep 0.01; done; echo $INTERFACE >>OUT\n");
    let hooks = Hooks::start(rig.places.clone()).unwrap();
    for number in 0..CALLS {
        hooks.call(HookCall { interface: number.to_string(), ..call(Action::Connected) });
    }
    let dropped = hooks.dropped.load(Ordering::Relaxed);
    fs::write(rig.dir.path().join("out.go"), "").unwrap();
    let expected = CALLS - dropped;
    // One is being run, or about to be, while the queue is full.
    assert!((QUEUE_MAX as u64..=QUEUE_MAX as u64 + 1).contains(&expected), "{expected}");
    while (rig.out().lines().count() as u64) < expected {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ran: Vec<u64> = rig.out().lines().map(|l| l.parse().unwrap()).collect();
    // The one more is whichever came when the runner had taken its first.
    assert_eq!(ran[..QUEUE_MAX], (0..QUEUE_MAX as u64).collect::<Vec<_>>(), "in order, once each");
    assert!(ran[QUEUE_MAX..].iter().all(|n| *n >= QUEUE_MAX as u64 && *n < CALLS), "{:?}", &ran[QUEUE_MAX..]);
}

#[test]
fn openwrts_hotplug_hears_of_the_tracker_only() {
    let mut rig = Rig::new(LONG);
    rig.file("hotplug", 0o755, "#!/bin/sh\necho $1 $ACTION >>OUT\n");
    rig.places.hotplug = Some(rig.dir.path().join("hooks.d/hotplug"));
    rig.places.directory = rig.dir.path().join("none");
    for action in [Action::IfUp, Action::Connecting, Action::Connected, Action::IfDown] {
        rig.one(&call(action));
        rig.one(&of_path(action));
    }
    assert_eq!(rig.out(), "iface connecting\niface connected\n");
}

#[test]
fn the_user_script_is_that_of_the_package_whose_configuration_is_read() {
    let of = |config: &str| user_script_of(Path::new(config));
    assert_eq!(of("/etc/config/mwan3"), Some("/etc/mwan3.user".into()));
    assert_eq!(of("/etc/config/mwan4"), Some("/etc/mwan4.user".into()));
    assert_eq!(of("/etc/mwan/mwan.toml"), None);
}

#[test]
fn the_command_line_comes_before_the_configuration_and_that_before_the_defaults() {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        daemon: DaemonArgs,
    }
    let places = |arguments: &[&str], configuration: &str| {
        let all = [&["mwan", "--config", "/etc/config/mwan3", "--platform", "linux"], arguments].concat();
        let loaded = mwan_config::parse("mwan3", configuration.as_bytes());
        assert_eq!(loaded.diagnostics, []);
        Places::new(&Line::parse_from(all).daemon, &loaded.config.globals.hooks)
    };
    let shown = |p: Places| {
        let (script, limit) = (p.user_script.unwrap(), p.time_limit.as_secs());
        format!("{} {} {limit}", script.display(), p.directory.display())
    };
    assert_eq!(shown(places(&[], "")), "/etc/mwan3.user /etc/mwan/hooks.d 30");
    let configuration =
        "config globals\n option user_script /a\n option hooks_dir /b\n option hook_timeout 7\n";
    assert_eq!(shown(places(&[], configuration)), "/a /b 7");
    let asked = ["--user-script", "/x", "--hooks-dir", "/y", "--hook-timeout", "9"];
    assert_eq!(shown(places(&asked, configuration)), "/x /y 9");
}

#[test]
fn a_reload_may_name_other_scripts() {
    let rig = Rig::new(LONG);
    rig.script("echo old >>OUT\n");
    let hooks = Hooks::start(rig.places.clone()).unwrap();
    hooks.call(call(Action::Connected));
    while rig.out().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = rig.dir.path().join("other");
    fs::write(&other, format!("echo new >>{}\n", rig.dir.path().join("out").display())).unwrap();
    hooks.look_in(Places { user_script: Some(other), ..rig.places.clone() });
    hooks.call(call(Action::Connected));
    while rig.out() != "old\nnew\n" {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn finish(hooks: &mut Hooks, within: Duration) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(hooks.finish(within));
}

#[test]
fn what_waits_at_the_end_is_run() {
    let rig = Rig::new(LONG);
    rig.script("sleep 0.05; echo $ACTION >>OUT\n");
    let mut hooks = Hooks::start(rig.places.clone()).unwrap();
    let actions = [Action::IfUp, Action::Connected, Action::Disconnected];
    actions.into_iter().for_each(|action| hooks.call(call(action)));
    finish(&mut hooks, LONG);
    assert_eq!(rig.out(), "ifup\nconnected\ndisconnected\n");
    // Nobody is left to run it, and nobody minds.
    hooks.call(call(Action::IfUp));
    assert_eq!(rig.out().lines().count(), 3);
}

/// Both bounds: the time that is left at the end, and the scripts' own limit if that is less.
#[test]
fn a_script_that_hangs_at_the_end_holds_it_up_no_longer_than_it_may() {
    for (limit, within) in [(LONG, Duration::from_millis(200)), (Duration::from_secs(3), LONG)] {
        let rig = Rig::new(limit);
        rig.script("echo $$ >>OUT\nexec sleep 1000\n");
        let mut hooks = Hooks::start(rig.places.clone()).unwrap();
        for _ in 0..5 {
            hooks.call(call(Action::Disconnected));
        }
        while rig.out().is_empty() {
            std::thread::sleep(Duration::from_millis(5));
        }
        let asked = Instant::now();
        finish(&mut hooks, within);
        assert!(asked.elapsed() < LONG / 2, "{:?}", asked.elapsed());
        let pids = rig.out();
        assert!(pids.lines().count() <= 2, "five limits were waited for: {pids}");
        for pid in pids.lines() {
            assert!(!Path::new("/proc").join(pid).exists(), "{pid} is still there");
        }
    }
}
