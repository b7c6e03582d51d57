//! Tells dnsmasq which domains fill which set: a file, replaced as a whole and only if it changes, and a command that
//! makes dnsmasq read it. The sets are in the kernel before dnsmasq hears of them.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mwan_config::{Config, NamedSet};
use tracing::{info, warn};

/// The command is killed after so long; a restart of dnsmasq takes well under a second.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(30);
/// How often it is looked whether the command has ended.
const COMMAND_POLL: Duration = Duration::from_millis(50);

/// What dnsmasq was last told, so that nothing is read or compared while nothing changes.
#[derive(Debug, Default)]
pub(super) struct Dnsmasq {
    told: Option<(PathBuf, Arc<Vec<NamedSet>>)>,
}

impl Dnsmasq {
    /// Writes the file of `config` if it is to be written and differs, and runs the command then.
    pub(super) fn tell(&mut self, config: &Config) {
        let Some(file) = config.globals.dnsmasq_file.as_ref().map(PathBuf::from) else { return };
        let same = |(path, sets): &(PathBuf, Arc<Vec<NamedSet>>)| *path == file && *sets == config.sets;
        if self.told.as_ref().is_some_and(same) {
            return;
        }
        match replace(&file, &mwan_compile::dnsmasq(&config.sets)) {
            Ok(true) => {
                info!("{} written for dnsmasq", file.display());
                run(&config.globals.dnsmasq_command);
            }
            Ok(false) => {}
            Err(error) => {
                // Tried again with the next change of the kernel.
                warn!("cannot write {} for dnsmasq: {error}", file.display());
                return;
            }
        }
        self.told = Some((file, config.sets.clone()));
    }
}

/// Whether the file had another content. Readers see the old one or the new one, never a part.
fn replace(file: &Path, text: &str) -> io::Result<bool> {
    if std::fs::read(file).is_ok_and(|present| present == text.as_bytes()) {
        return Ok(false);
    }
    let mut name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    // dnsmasq's conf-dir skips names that end like this.
    name.push("~");
    let draft = file.with_file_name(name);
    std::fs::write(&draft, text)?;
    std::fs::rename(&draft, file)?;
    Ok(true)
}

/// Runs a program in the background; no shell sees it.
fn run(command: &[String]) {
    let [program, arguments @ ..] = command else { return };
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", path)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) => return warn!("dnsmasq_command: cannot run {program}: {error}"),
    };
    let program = program.clone();
    let wait = move || {
        let end = Instant::now() + COMMAND_TIME_MAX;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return,
                Ok(Some(status)) => return warn!("dnsmasq_command: {program}: {status}"),
                Ok(None) if Instant::now() < end => std::thread::sleep(COMMAND_POLL),
                _ => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return warn!("dnsmasq_command: {program} did not end in {COMMAND_TIME_MAX:?}: killed");
                }
            }
        }
    };
    if let Err(error) = std::thread::Builder::new().name("dnsmasq".into()).spawn(wait) {
        warn!("dnsmasq_command: cannot wait for it: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_file_is_written_and_the_command_run_only_on_change() {
        let dir = tempfile::tempdir().unwrap();
        let (file, mark) = (dir.path().join("mwan.conf"), dir.path().join("told"));
        let text = |domain: &str| {
            format!(
                "config globals\n\toption dnsmasq_file '{}'\n\tlist dnsmasq_command 'mkdir'\n\tlist dnsmasq_command '{}'\n\
                 config ipset 's'\n\tlist domain '{domain}'\n",
                file.display(),
                mark.display()
            )
        };
        let config = |domain: &str| mwan_config::parse_uci("f", text(domain).as_bytes()).config;
        let told = || {
            let end = Instant::now() + Duration::from_secs(10);
            while !mark.exists() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(5));
            }
            std::fs::remove_dir(&mark).is_ok()
        };
        Dnsmasq::default().tell(&config("example.org"));
        assert!(told());
        let line = "nftset=/example.org/4#inet#mwan#learned.s.4,6#inet#mwan#learned.s.6\n";
        assert!(std::fs::read_to_string(&file).unwrap().ends_with(line));
        let before = std::fs::metadata(&file).unwrap();
        let mut next = Dnsmasq::default();
        next.tell(&config("example.org"));
        assert_eq!(std::fs::metadata(&file).unwrap().modified().unwrap(), before.modified().unwrap());
        next.tell(&config("example.net"));
        assert!(told());
        assert!(std::fs::read_to_string(&file).unwrap().contains("/example.net/"));
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "no draft stays");
    }
}
