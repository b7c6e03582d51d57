//! Every scenario file of `lab/scenarios` is a test case of its own, named by the file, run with real packets
//! in private namespaces by the real `mwan-lab` and the real `mwan`.
//!
//! The program under test is `MWAN_BIN`, else the `mwan` beside or above this test in the target folder.
//! Without root and without unprivileged user namespaces these tests fail; they never pretend to pass.

use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Failed, Trial};

/// Scenarios mostly wait, but their times are real: a few at once is what two cores bear.
const PARALLEL: usize = 2;
/// The one scenario that needs no `mwan`.
const WITHOUT_MWAN: &str = "selftest";

fn main() {
    let mut arguments = Arguments::from_args();
    arguments.test_threads = arguments.test_threads.or(Some(PARALLEL));
    let mut trials: Vec<Trial> = scenario_files().into_iter().map(trial).collect();
    trials.push(Trial::test("nothing_is_left_after_kill_9", nothing_is_left_after_kill_9));
    trials.push(Trial::test("what_keep_advises_works", what_keep_advises_works));
    trials.push(Trial::test("usage_errors_are_2_and_failures_1", exit_codes));
    libtest_mimic::run(&arguments, trials).exit();
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/scenarios")
}

fn scenario_files() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder()).expect("lab/scenarios is part of the repository");
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.retain(|f| f.extension().is_some_and(|e| e == "scenario"));
    files.sort();
    files
}

fn trial(file: PathBuf) -> Trial {
    let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let needs_mwan = name != WITHOUT_MWAN;
    Trial::test(name, move || run(&file, needs_mwan))
}

/// The `mwan` to test. `current_exe` is `target/PROFILE/deps/scenarios-…`.
fn mwan() -> Result<PathBuf, Failed> {
    if let Some(path) = std::env::var_os("MWAN_BIN") {
        return Ok(path.into());
    }
    let me = std::env::current_exe()?;
    let profile = me.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    let target = profile.parent().unwrap_or(Path::new("."));
    let places = [profile.join("mwan"), target.join("debug/mwan"), target.join("release/mwan")];
    let found = places.into_iter().find(|p| p.exists());
    found.ok_or_else(|| "no mwan to test: `cargo build -p mwan`, or set MWAN_BIN".into())
}

fn lab() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mwan-lab"))
}

fn run(file: &Path, needs_mwan: bool) -> Result<(), Failed> {
    let mut command = lab();
    command.arg("run").arg(file).env("NO_COLOR", "1");
    if needs_mwan {
        command.arg("--mwan").arg(mwan()?);
    }
    let out = command.output()?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stdout) + String::from_utf8_lossy(&out.stderr);
    Err(format!("{}\n{said}", out.status).into())
}

/// The lab is killed in the middle of traffic: no process, no namespace, no folder stays.
fn nothing_is_left_after_kill_9() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let topology = std::fs::canonicalize(self::folder())?.join("../topologies/two-isps.toml");
    let marker = format!("31{}", std::process::id() % 10_000);
    let text = format!(
        "# killed\ntopology {}\nflow x udp stream from=router to 198.51.100.10\nexec router sleep {marker}\n",
        topology.display()
    );
    let file = folder.path().join("killed.scenario");
    std::fs::write(&file, text)?;
    let mut child = lab().arg("run").arg(&file).stdout(std::process::Stdio::null()).spawn()?;
    wait_for(|| sleeping(&marker).is_some(), "the scenario never got to its sleep")?;
    let inside = sleeping(&marker).ok_or("gone already")?;
    let outside = std::fs::read_link("/proc/self/ns/net")?;
    let namespace = std::fs::read_link(format!("/proc/{inside}/ns/net"))?;
    if namespace == outside {
        return Err("the program ran in the host's namespace".into());
    }
    child.kill()?;
    child.wait()?;
    wait_for(|| sleeping(&marker).is_none(), "a child survived its lab")?;
    if Path::new("/run/mwan-lab").exists() {
        return Err("the working folder is visible outside".into());
    }
    Ok(())
}

/// The commands that `--keep` prints do what they say, wherever the lab was started from.
fn what_keep_advises_works() -> Result<(), Failed> {
    use std::io::{BufRead, BufReader, Write};
    let folder = tempfile::tempdir()?;
    let topology = std::fs::canonicalize(self::folder())?.join("../topologies/two-isps.toml");
    let config = std::fs::canonicalize(self::folder())?.join("../configs/demo.mwan3");
    let file = folder.path().join("kept.scenario");
    let (topology, config) = (topology.display(), config.display());
    std::fs::write(&file, format!("# kept\ntopology {topology}\nconfig {config}\ndaemon start\n"))?;
    let mwan = std::fs::canonicalize(mwan()?)?;
    let beside = mwan.parent().ok_or("no folder")?;
    let mut child = lab()
        .args(["run", "--keep", "--mwan", "./mwan"])
        .arg(&file)
        .current_dir(beside)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()?;
    let out = BufReader::new(child.stderr.take().ok_or("no output")?);
    let (mut enter, mut ask) = (String::new(), String::new());
    for line in out.lines() {
        let line = line?;
        if let Some(("router", command)) = line.trim().split_once(' ') {
            enter = command.trim().to_owned();
        }
        if let Some((_, command)) = line.split_once("in the router: ") {
            ask = command.to_owned();
            break;
        }
    }
    let mut shell = Command::new("sh")
        .args(["-c", &format!("exec {enter}")])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()?;
    shell.stdin.take().ok_or("no input")?.write_all(format!("{ask}\n").as_bytes())?;
    let said = shell.wait_with_output()?;
    child.kill()?;
    child.wait()?;
    let text = String::from_utf8_lossy(&said.stdout);
    if text.contains("Interface status:") {
        Ok(())
    } else {
        Err(format!("`{enter}`, `{ask}`: {text}").into())
    }
}

/// The process that runs `sleep MARKER`, if there is one.
fn sleeping(marker: &str) -> Option<u32> {
    let wanted = format!("sleep\0{marker}\0").into_bytes();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        (std::fs::read(entry.path().join("cmdline")).ok()? == wanted).then_some(pid)
    })
}

fn wait_for(condition: impl Fn() -> bool, otherwise: &str) -> Result<(), Failed> {
    let begin = std::time::Instant::now();
    while !condition() {
        if begin.elapsed().as_secs() > 10 {
            return Err(otherwise.into());
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    Ok(())
}

fn exit_codes() -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let topology = std::fs::canonicalize(self::folder())?.join("../topologies/two-isps.toml");
    let file = folder.path().join("x.scenario");
    for (steps, code) in [("hold 1ms", 0), ("exec client false", 1), ("nonsense", 2)] {
        std::fs::write(&file, format!("# x\ntopology {}\n{steps}\n", topology.display()))?;
        let out = lab().arg("run").arg(&file).output()?;
        if out.status.code() != Some(code) {
            return Err(format!("`{steps}`: {} instead of {code}", out.status).into());
        }
    }
    for arguments in [&["fly"][..], &["run"], &["run", "/nonexistent.scenario"]] {
        let out = lab().args(arguments).output()?;
        if out.status.code() != Some(2) {
            return Err(format!("{arguments:?}: {} instead of 2", out.status).into());
        }
    }
    Ok(())
}
