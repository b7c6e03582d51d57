//! Alerts as a companion of the daemon. Which incidents there are and who is told of them is decided in `mwan_alerts`;
//! here is what hears, keeps and sends.
//!
//! | module | what of it |
//! |---|---|
//! | `settings` | the configuration as the companion's settings, and the files of secrets |
//! | `serve` | the companion: its start as root, and its loop |
//! | `listen` | what is heard of the daemon, and what is told to it |
//! | `send`, `mail`, `http`, `program` | a message on its way |
//! | `trust` | certificates that are trusted |

mod http;
mod listen;
mod mail;
mod program;
mod send;
mod serve;
mod settings;
mod trust;

use std::path::Path;

use mwan_config::Config;
use serde::{Deserialize, Serialize};

use crate::cli::DaemonArgs;
use crate::daemon::{Access, LogSettings, Wanted};

pub(crate) use serve::serve;

/// Name of the companion, and so of its socket.
const NAME: &str = "alerts";
/// Its folder in the state directory.
const FOLDER: &str = "alerts";

/// What the daemon tells the companion.
#[derive(Serialize, Deserialize)]
struct Told {
    log: LogSettings,
    alerts: mwan_alerts::Settings,
}

/// The companion a configuration asks for.
pub(crate) fn companion(config: &Config, run_dir: &Path, options: &DaemonArgs) -> Option<Wanted> {
    let told = Told { log: LogSettings::of(options), alerts: settings::of(config)? };
    Some(Wanted {
        name: NAME,
        arguments: vec![
            "--run-dir".into(),
            run_dir.into(),
            "alerts".into(),
            "serve".into(),
            "--state-dir".into(),
            (&options.state_dir).into(),
        ],
        settings: serde_json::to_string(&told).ok()?,
        access: Access::Alerts,
    })
}

/// Nothing: this build has them.
pub(crate) fn problem(_: &Config) -> Option<String> {
    None
}
