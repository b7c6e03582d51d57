//! The program under test, as a user runs it: one binary, started in the router, asked by its command line.

use std::fs::{File, OpenOptions};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::netns::{Netns, NetnsError};
use crate::scenario::StatusIs;
use crate::sys;

/// How long the daemon may need to answer its first `status`.
const START_MAX: Duration = Duration::from_secs(10);
/// How long it may need to end.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Pause between two questions; it is also the error of a measured verdict.
pub const POLL: Duration = Duration::from_millis(10);

/// The daemon and its folders.
pub struct Daemon {
    mwan: PathBuf,
    router: Arc<Netns>,
    folder: PathBuf,
    arguments: Vec<String>,
    /// Whether the configuration is a `mwan.toml`.
    native: bool,
    child: Option<Child>,
    /// Where in the log the present scenario step group began.
    log_from: u64,
}

impl Daemon {
    /// Nothing runs yet. `folder` holds configuration, state, log and (in `run`) the socket.
    pub fn new(mwan: &Path, router: &Arc<Netns>, folder: &Path) -> Daemon {
        Daemon {
            mwan: mwan.into(),
            router: Arc::clone(router),
            folder: folder.into(),
            arguments: Vec::new(),
            native: false,
            child: None,
            log_from: 0,
        }
    }

    /// The program.
    pub fn program(&self) -> &Path {
        &self.mwan
    }

    /// The configuration file. Its ending tells the format.
    pub fn config(&self) -> PathBuf {
        self.folder.join(if self.native { "config.toml" } else { "config" })
    }

    /// From now on the configuration file is a `mwan.toml`, or is not.
    pub fn set_native(&mut self, native: bool) {
        self.native = native;
    }

    /// What `--run-dir` names.
    pub fn run_dir(&self) -> PathBuf {
        self.folder.join("run")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// Starts it and waits until it answers; says how long that took.
    pub fn start(&mut self, arguments: Option<Vec<String>>) -> Result<Duration, String> {
        if let Some(arguments) = arguments {
            self.arguments = arguments;
        }
        let begin = Instant::now();
        self.launch()?;
        loop {
            match self.status() {
                Ok(_) => return Ok(begin.elapsed()),
                Err(e) if begin.elapsed() > START_MAX => return Err(format!("it never answered: {e}")),
                Err(_) => {}
            }
            if let Some(how) = self.ended() {
                return Err(format!("it ended at once: {how}"));
            }
            std::thread::sleep(POLL);
        }
    }

    /// Starts it and does not wait.
    pub fn launch(&mut self) -> Result<(), String> {
        self.ended();
        if self.child.is_some() {
            return Err("the daemon runs already".into());
        }
        let child = self.spawn().map_err(|e| {
            let hint = "hint: build it (cargo build -p mwan) or name it with --mwan";
            format!("cannot start {}: {e}\n{hint}", self.mwan.display())
        })?;
        self.child = Some(child);
        Ok(())
    }

    fn spawn(&self) -> std::io::Result<Child> {
        for folder in ["run", "state"] {
            std::fs::create_dir_all(self.folder.join(folder))?;
        }
        let log: File = OpenOptions::new().create(true).append(true).open(self.log_path())?;
        let mut command = self.router.command(&self.mwan.to_string_lossy());
        command.arg("daemon").arg("--config").arg(self.config());
        command.arg("--run-dir").arg(self.run_dir()).arg("--state-dir").arg(self.folder.join("state"));
        command.args(["--platform", "linux"]).args(&self.arguments);
        command.env_remove("MWAN_RUN_DIR").env("NO_COLOR", "1");
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()
    }

    /// How it ended, if it did without being told to.
    pub fn ended(&mut self) -> Option<String> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status.to_string())
    }

    fn signal(&self, signal: i32) -> Result<(), String> {
        let child = self.child.as_ref().ok_or("no daemon runs")?;
        sys::kill(child.id(), signal).map_err(|e| e.to_string())
    }

    /// SIGHUP.
    pub fn reload(&self) -> Result<(), String> {
        self.signal(sys::SIGHUP)
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> Result<(), String> {
        self.signal(sys::SIGKILL)?;
        let mut child = self.child.take().ok_or("no daemon runs")?;
        child.wait().map(drop).map_err(|e| e.to_string())
    }

    /// SIGTERM, and waits for its end, which must be a good one.
    pub fn stop(&mut self) -> Result<Duration, String> {
        self.signal(sys::SIGTERM)?;
        self.wait_for_end()
    }

    /// Waits until it has ended by itself.
    pub fn wait_for_end(&mut self) -> Result<Duration, String> {
        let begin = Instant::now();
        let mut child = self.child.take().ok_or("no daemon runs")?;
        while begin.elapsed() < STOP_MAX {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(begin.elapsed()),
                Ok(Some(status)) => {
                    let signal = status.signal().map_or(String::new(), |s| format!(" (signal {s})"));
                    return Err(format!("it ended with {status}{signal}"));
                }
                _ => std::thread::sleep(POLL),
            }
        }
        let _ = child.kill();
        let _ = child.wait();
        Err(format!("still there {} s after being asked to end", STOP_MAX.as_secs()))
    }

    /// Whether it was started and has not been stopped.
    pub fn runs(&mut self) -> bool {
        self.ended();
        self.child.is_some()
    }

    /// Runs an mwan command in the router.
    pub fn command(&self, arguments: &[String]) -> Result<Output, NetnsError> {
        let (program, run) = (self.mwan.to_string_lossy(), self.run_dir());
        let run = run.to_string_lossy();
        let mut argv = vec![&*program, "--run-dir", &*run];
        argv.extend(arguments.iter().map(String::as_str));
        self.router.output(&argv, "")
    }

    /// `mwan status --json`.
    pub fn status(&self) -> Result<Value, String> {
        let out = self.command(&["status".into(), "--json".into()]).map_err(|e| e.to_string())?;
        // 3 is "degraded": an answer like any other.
        if !matches!(out.status.code(), Some(0 | 3)) {
            return Err(String::from_utf8_lossy(&out.stderr).trim().to_owned());
        }
        serde_json::from_slice(&out.stdout).map_err(|e| format!("`mwan status --json` is not JSON: {e}"))
    }

    /// What of the log belongs to the present scenario.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        let from = usize::try_from(self.log_from).unwrap_or(0).min(bytes.len());
        String::from_utf8_lossy(&bytes[from..]).into_owned()
    }

    /// Forgets the log so far.
    pub fn reset_log(&mut self) {
        self.log_from = std::fs::metadata(self.log_path()).map_or(0, |m| m.len());
    }
}

/// Whether a status document says so; else what it says instead.
pub fn status_is(status: &Value, wanted: &StatusIs) -> Result<(), String> {
    let list = status["interfaces"].as_array().ok_or("no `interfaces` in the status")?;
    let interface = list.iter().find(|i| i["name"] == wanted.interface.as_str());
    let interface = interface.ok_or_else(|| format!("no interface `{}` in the status", wanted.interface))?;
    let paths = interface["paths"].as_array().ok_or("no `paths` in the status")?;
    let mut seen = 0;
    for path in paths {
        let family = path["family"].as_str().unwrap_or("");
        if wanted.family.as_deref().is_some_and(|f| f != family) {
            continue;
        }
        seen += 1;
        let state = path["status"].as_str().unwrap_or("");
        let carries = path["carries"].as_bool().unwrap_or(false);
        let holds = match wanted.state.as_str() {
            "carries" => carries,
            "idle" => !carries,
            state_wanted => state == state_wanted,
        };
        if !holds {
            return Err(format!(
                "{} {family} is {state}{}",
                wanted.interface,
                if carries { ", carries" } else { "" }
            ));
        }
    }
    if seen == 0 { Err(format!("{} has no such path", wanted.interface)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_read_by_path() {
        let status: Value = serde_json::from_str(
            r#"{"schema":"mwan.status.v1","interfaces":[{"name":"wan","paths":[
                {"family":"ipv4","status":"online","carries":true},
                {"family":"ipv6","status":"offline","carries":false}]}]}"#,
        )
        .unwrap();
        let is = |state: &str, interface: &str, family: Option<&str>| {
            let (state, interface) = (state.into(), interface.into());
            status_is(&status, &StatusIs { state, interface, family: family.map(Into::into) })
        };
        assert_eq!(is("online", "wan", Some("ipv4")), Ok(()));
        assert_eq!(is("carries", "wan", Some("ipv4")), Ok(()));
        assert_eq!(is("idle", "wan", Some("ipv6")), Ok(()));
        assert_eq!(is("online", "wan", None), Err("wan ipv6 is offline".into()));
        assert!(is("online", "wanb", None).is_err());
    }
}
