//! Servers that keep what they are sent, for what tells somebody: a mail server (aiosmtpd) and a web server, both Python's.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::netns::Netns;

/// Both of them.
const SCRIPT: &str = include_str!("../../../lab/catchers/catch.py");
/// Debian's own Python, for which Debian's packages are; another may come first in the path.
const PYTHON: &str = "/usr/bin/python3";
/// How long it may take to begin: Python on a busy machine.
const BEGIN_MAX: Duration = Duration::from_secs(20);

/// A server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Catcher {
    /// `smtp` or `http`.
    pub kind: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its further options.
    pub options: Vec<String>,
}

/// Starts it in `ns`, until the lab ends; `file` of `folder` gets what it is sent.
///
/// # Errors
/// It cannot be started, or has ended at once; in words.
pub fn catch(ns: &Netns, catcher: &Catcher, folder: &Path, file: &str) -> Result<(), String> {
    let (script, file) = (folder.join("catch.py"), folder.join(file));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&script, SCRIPT))
        .map_err(|e| e.to_string())?;
    let mut command = ns.command(PYTHON);
    command.arg(&script).arg(&catcher.kind).arg(catcher.address.ip().to_string());
    command.arg(catcher.address.port().to_string()).arg(&file).args(&catcher.options);
    let mut child = command.stdin(Stdio::null()).spawn().map_err(|e| format!("{PYTHON}: {e}"))?;
    let deadline = Instant::now() + BEGIN_MAX;
    // It makes the file when it listens.
    while !file.exists() {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            return Err(format!(
                "it ended with {status}: is python3-aiosmtpd installed (scripts/setup-debian)?"
            ));
        }
        if Instant::now() > deadline {
            return Err("it does not begin".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
