//! The program under test, timed by its own sd_notify message.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::netns::Netns;
use crate::sys;

/// How long the first program may take to be in the kernel before we give up.
const READY_MAX: Duration = Duration::from_secs(20);

/// Folders, configuration and notification socket of one daemon.
pub(crate) struct Setup {
    mwan: PathBuf,
    router: Arc<Netns>,
    /// Configuration, state and log.
    folder: TempDir,
    /// What `--run-dir` names: in memory, where `/run` is (after `isolate` it is ours alone).
    run: TempDir,
    notify: UnixDatagram,
}

impl Setup {
    pub(crate) fn new(mwan: &Path, router: &Arc<Netns>, uci: &str) -> Result<Setup, String> {
        let folder = tempfile::tempdir().map_err(|e| format!("temporary folder: {e}"))?;
        let fail = |e: std::io::Error| format!("{}: {e}", folder.path().display());
        let run = tempfile::tempdir_in("/run").or_else(|_| tempfile::tempdir()).map_err(fail)?;
        std::fs::write(folder.path().join("config"), uci).map_err(fail)?;
        let notify = UnixDatagram::bind(folder.path().join("notify")).map_err(fail)?;
        notify.set_read_timeout(Some(Duration::from_millis(100))).map_err(fail)?;
        Ok(Setup { mwan: mwan.into(), router: Arc::clone(router), folder, run, notify })
    }

    /// The command line of the daemon.
    pub(crate) fn command(&self) -> Result<Command, String> {
        let at = |name: &str| self.folder.path().join(name);
        let log = File::create(at("log")).map_err(|e| format!("log: {e}"))?;
        let mut command = self.router.command(&self.mwan.to_string_lossy());
        command.arg("daemon").arg("--config").arg(at("config"));
        command.arg("--run-dir").arg(self.run.path()).arg("--state-dir").arg(at("state"));
        command.args(["--platform", "linux"]);
        command.env_remove("MWAN_RUN_DIR").env("NOTIFY_SOCKET", at("notify")).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Ok(command)
    }

    /// Whether `READY=1` is there by now.
    pub(crate) fn is_ready(&self) -> bool {
        let mut text = [0; 256];
        matches!(self.notify.recv(&mut text), Ok(n) if text[..n].starts_with(b"READY=1"))
    }

    /// What the daemon said last.
    pub(crate) fn log_end(&self) -> String {
        let text = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(3).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" / ")
    }

    /// Starts it and waits for its first program to be in the kernel.
    pub(crate) fn start(self) -> Result<Running, String> {
        let mut command = self.command()?;
        let begin = Instant::now();
        let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", self.mwan.display()))?;
        let mut running = Running { child, setup: self, ready: Duration::ZERO };
        while !running.setup.is_ready() {
            let ended = running.child.try_wait().map_err(|e| e.to_string())?;
            if ended.is_some() || begin.elapsed() > READY_MAX {
                return Err(format!("the daemon never became ready: {}", running.setup.log_end()));
            }
        }
        running.ready = begin.elapsed();
        Ok(running)
    }
}

/// A daemon at work; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    setup: Setup,
    /// From before the process was made to its READY=1.
    pub(crate) ready: Duration,
}

impl Running {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn ask(&self, arguments: &[&str]) -> Result<std::process::Output, String> {
        self.ask_with(arguments, "")
    }

    fn ask_with(&self, arguments: &[&str], input: &str) -> Result<std::process::Output, String> {
        let (program, run) = (self.setup.mwan.to_string_lossy(), self.setup.run.path());
        let run = run.to_string_lossy();
        let argv = [&[&*program, "--run-dir", &*run], arguments].concat();
        self.setup.router.output(&argv, input).map_err(|e| e.to_string())
    }

    /// `mwan plan --json` of a configuration.
    pub(crate) fn plan(&self, uci: &str) -> Result<Value, String> {
        let out = self.ask_with(&["plan", "--json", "--config", "-"], uci)?;
        if !out.status.success() {
            return Err(format!("mwan plan: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        serde_json::from_slice(&out.stdout).map_err(|e| format!("`mwan plan --json` is not JSON: {e}"))
    }

    /// How long the daemon's loop takes for an answer from memory.
    pub(crate) fn answer_time(&self) -> Result<Duration, String> {
        let begin = Instant::now();
        let exchange = || -> std::io::Result<usize> {
            let mut stream = UnixStream::connect(self.setup.run.path().join("mwan.sock"))?;
            stream.set_read_timeout(Some(READY_MAX))?;
            stream.write_all(b"{\"method\":\"candidates\"}\n")?;
            stream.read_to_end(&mut Vec::new())
        };
        let answered = exchange().map_err(|e| format!("the control socket: {e}"))?;
        (answered > 0).then(|| begin.elapsed()).ok_or_else(|| "the control socket is silent".into())
    }

    /// Where its control socket is.
    pub(crate) fn socket(&self) -> PathBuf {
        self.setup.run.path().join("mwan.sock")
    }

    /// `mwan status --json`.
    pub(crate) fn status(&self) -> Result<Value, String> {
        let out = self.ask(&["status", "--json"])?;
        // 3 is "degraded": an answer like any other.
        if !matches!(out.status.code(), Some(0 | 3)) {
            let said = String::from_utf8_lossy(&out.stderr).trim().to_owned();
            return Err(format!("mwan status: {said}; log: {}", self.setup.log_end()));
        }
        serde_json::from_slice(&out.stdout).map_err(|e| format!("`mwan status --json` is not JSON: {e}"))
    }

    /// Waits until every path of every interface is online and has been proved so by an answer.
    pub(crate) fn wait_online(&self, patience: Duration) -> Result<(), String> {
        let begin = Instant::now();
        loop {
            let status = self.status()?;
            let waiting = paths(&status).filter(|path| !is_proved(path)).count();
            if waiting == 0 {
                return Ok(());
            }
            if begin.elapsed() > patience {
                return Err(format!("{waiting} paths never came online; log: {}", self.setup.log_end()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the daemon and removes all it made in the kernel.
    pub(crate) fn stop(mut self) -> Result<(), String> {
        let out = self.ask(&["stop"])?;
        if !out.status.success() {
            return Err(format!("mwan stop: {}", String::from_utf8_lossy(&out.stderr).trim()));
        }
        let begin = Instant::now();
        while begin.elapsed() < READY_MAX {
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err("the daemon did not end after `mwan stop`".into())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let _ = sys::kill(self.child.id(), sys::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

/// All paths of a status document.
pub(crate) fn paths(status: &Value) -> impl Iterator<Item = &Value> {
    let interfaces = status["interfaces"].as_array().into_iter().flatten();
    interfaces.flat_map(|interface| interface["paths"].as_array().into_iter().flatten())
}

/// Sum of a counter over all targets of all paths.
pub(crate) fn sum_targets(status: &Value, counter: &str) -> u64 {
    let targets = paths(status).flat_map(|path| path["targets"].as_array().into_iter().flatten());
    targets.filter_map(|target| target[counter].as_u64()).sum()
}

fn is_proved(path: &Value) -> bool {
    let mut targets = path["targets"].as_array().into_iter().flatten();
    path["status"] == "online" && targets.all(|target| target["received"].as_u64() > Some(0))
}
