#![allow(clippy::unwrap_used)]
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use tokio::sync::{broadcast, mpsc};

use super::*;

/// Companions that are shells: the program is what `/proc/self/exe` is replaced by in tests.
fn companions(dir: &Path) -> (Companions, mpsc::Receiver<control::Asked>) {
    let (asked, receiver) = mpsc::channel(8);
    let hub = Hub { asked, live: broadcast::Sender::new(8) };
    (Companions { program: "/bin/sh".into(), ..Companions::new(dir, hub) }, receiver)
}

fn shell(name: &'static str, script: &str, settings: &str) -> Wanted {
    Wanted {
        name,
        arguments: vec!["-c".into(), script.into()],
        settings: settings.to_owned(),
        access: Access::Owner,
    }
}

/// Looks until it is so, as the daemon does once a second.
fn until(companions: &mut Companions, what: &str, mut so: impl FnMut(&Companions) -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !so(companions) {
        assert!(Instant::now() < end, "{what}: {companions:?}");
        std::thread::sleep(Duration::from_millis(10));
        companions.look();
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[tokio::test]
async fn settings_go_by_standard_input_whose_end_is_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, _asked) = companions(dir.path());
    let file = dir.path().join("heard");
    let script = format!("read -r line; echo \"$line\" >> {0}; cat; echo end >> {0}", file.display());
    all.set(vec![shell("web", &script, "{\"a\":1}")]);
    until(&mut all, "it reads", |_| read(&file) == "{\"a\":1}\n");
    let socket = std::fs::metadata(dir.path().join("web.sock")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    assert_eq!(socket.uid(), user().unwrap().id);

    all.set(vec![shell("web", &script, "{\"a\":1}")]);
    assert!(all.ending.is_empty(), "the same goes on");
    all.set(vec![shell("web", &script, "{\"a\":2}")]);
    until(&mut all, "another begins", |_| read(&file).contains("{\"a\":2}"));
    all.finish();
    assert!(all.ending.is_empty() && !dir.path().join("web.sock").exists());
}

#[tokio::test]
async fn one_that_dies_is_started_again_more_slowly_and_the_owner_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, _asked) = companions(dir.path());
    all.set(vec![shell("web", "exit 7", ""), shell("alerts", "cat", "")]);
    until(&mut all, "it died", |all| all.problems().next().is_some());
    let problems: Vec<String> = all.problems().collect();
    assert_eq!(problems, ["web does not run: exit status: 7"]);
    let pause = |all: &Companions| all.all["web"].pause;
    let first = pause(&all);
    until(&mut all, "it died again", |all| pause(all) > first);
    assert!(all.all["alerts"].running.is_some(), "nobody else minds");
    all.finish();
}

#[tokio::test]
async fn one_that_does_not_want_to_end_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, _asked) = companions(dir.path());
    let file = dir.path().join("there");
    let script = format!("trap '' TERM; echo 1 > {}; while :; do sleep 1; done", file.display());
    all.set(vec![shell("web", &script, "")]);
    until(&mut all, "it runs", |_| read(&file) == "1\n");
    all.set(Vec::new());
    assert_eq!(all.ending.len(), 1);
    until(&mut all, "it is gone", |all| all.ending.is_empty());
}

#[tokio::test]
async fn settings_that_do_not_fit_the_pipe_are_a_problem_and_block_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let (mut all, _asked) = companions(dir.path());
    all.set(vec![shell("web", "cat", &"x".repeat(SETTINGS_MAX + 1))]);
    let problems: Vec<String> = all.problems().collect();
    assert_eq!(problems, ["web does not run: its settings are larger than 60000 bytes"]);
}

#[test]
fn a_process_gives_everything_up_for_good() {
    if !User::own().is_root() {
        return;
    }
    // In a process of its own: there is no way back.
    let test = "daemon::companion::tests::gives_everything_up";
    let own = std::env::current_exe().unwrap();
    let output = Command::new(own).args(["--exact", test, "--ignored", "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
#[ignore = "run by a_process_gives_everything_up_for_good, in a process of its own"]
fn gives_everything_up() {
    process::become_user(user().unwrap()).unwrap();
    assert_eq!(User::own(), user().unwrap_or(User::own()));
    let status = read(Path::new("/proc/thread-self/status"));
    for line in ["CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1", "Groups:\t \n"] {
        assert!(status.contains(line), "{line}: {status}");
    }
    assert!(std::fs::read("/etc/shadow").is_err());
}
