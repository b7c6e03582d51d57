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
    let (link, places, stop) = (link(), places(dir.path()), AtomicBool::new(false));
    let mut run = Run::new(&link, Role::Carry, &places, &stop);
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
    let (link, places, stop) = (link(), places(dir.path()), AtomicBool::new(false));
    let mut run = Run::new(&link, Role::Carry, &places, &stop);
    run.step(&spawn(&["sh", "-c", "kill -9 $$"])).unwrap();
    assert!(run.file.exists(), "what a process after us has to undo");
    let end = run.stay();
    run.undo();
    let failure = Failure::Program { name: "sh".into(), status: -9, said: String::new() };
    assert_eq!(end, Err(failure));
    assert!(!run.file.exists());
}
