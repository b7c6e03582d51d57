//! The web server as a companion of the daemon, and the commands that say who may use it.

mod commands;
mod serve;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use mwan_config::{Config, Web, WebTls};
use serde::{Deserialize, Serialize};

use crate::cli::DaemonArgs;
use crate::daemon::{Access, LogSettings, Wanted};

pub(crate) use commands::run;

/// Name of the companion, and so of its socket.
const NAME: &str = "web";
/// Folder of accounts and certificate in the state directory.
const FOLDER: &str = "web";
/// Socket for users of this machine, in the run directory.
const API_SOCKET: &str = "api.sock";
/// Where it listens, in the run directory, for `mwan web init`.
const LISTENING: &str = "web.json";

/// What the daemon tells the companion.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
struct Settings {
    run_dir: PathBuf,
    state_dir: PathBuf,
    listen: Vec<Listen>,
    certificate: Option<(PathBuf, PathBuf)>,
    session_timeout_s: u64,
    group: Option<String>,
    hostnames: Vec<String>,
    log: LogSettings,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
struct Listen {
    address: SocketAddr,
    tls: bool,
}

/// What the companion tells commands.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
struct Listening {
    /// Beginnings of links, as `https://192.168.1.1:8480`.
    urls: Vec<String>,
    /// SHA-256 of the certificate, hexadecimal; absent without TLS.
    fingerprint: Option<String>,
}

/// The companion a configuration asks for.
pub(crate) fn companion(config: &Config, run_dir: &Path, options: &DaemonArgs) -> Option<Wanted> {
    let web = config.web.as_ref().filter(|web| web.enabled)?;
    let settings = serde_json::to_string(&settings(web, run_dir, options)).ok()?;
    Some(Wanted { name: NAME, arguments: vec!["web".into(), "serve".into()], settings, access: Access::Web })
}

/// Nothing: this build has it.
pub(crate) fn problem(_: &Config) -> Option<String> {
    None
}

/// What the companion, which cannot any more, leaves in the run directory.
pub(crate) fn forget(run_dir: &Path) {
    for name in [API_SOCKET, LISTENING] {
        let _ = std::fs::remove_file(run_dir.join(name));
    }
}

fn settings(web: &Web, run_dir: &Path, options: &DaemonArgs) -> Settings {
    let listen = |address: &SocketAddr| Listen {
        address: *address,
        tls: match web.tls {
            WebTls::On => true,
            WebTls::Off => false,
            WebTls::Auto => !address.ip().is_loopback(),
        },
    };
    Settings {
        run_dir: run_dir.to_owned(),
        state_dir: options.state_dir.clone(),
        listen: web.listen.iter().map(listen).collect(),
        certificate: web.certificate.as_ref().map(|(file, key)| (file.into(), key.into())),
        session_timeout_s: web.session_timeout.as_secs().max(1),
        group: web.group.clone(),
        hostnames: web.hostnames.clone(),
        log: LogSettings::of(options),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn wanted(text: &str) -> Option<Settings> {
        let config = mwan_config::parse_toml("f", text.as_bytes()).config;
        let options = crate::cli::daemon_args(&["--config", "/etc/mwan.toml"]);
        let wanted = companion(&config, Path::new("/run/mwan"), &options)?;
        Some(serde_json::from_str(&wanted.settings).unwrap())
    }

    #[test]
    fn only_who_asks_for_it_gets_it_and_others_than_this_machine_get_tls() {
        assert_eq!(wanted(""), None);
        assert_eq!(wanted("[web]\nlisten = '0.0.0.0:80'\n"), None);
        let tls = |text: &str| -> Vec<bool> { wanted(text).unwrap().listen.iter().map(|l| l.tls).collect() };
        let listen =
            "[web]\nenabled = true\nlisten = ['127.0.0.1:80', '192.0.2.1:80', '[::1]:80', '[::]:80']\n";
        assert_eq!(tls(listen), [false, true, false, true]);
        assert_eq!(tls(&format!("{listen}tls = 'on'\n")), [true; 4]);
        assert_eq!(tls(&format!("{listen}tls = 'off'\n")), [false; 2], "the others are left out");
    }
}
