//! A build without alerts.

use std::path::Path;

use mwan_config::Config;

use crate::cli::DaemonArgs;
use crate::daemon::Wanted;

/// None.
pub(crate) fn companion(_: &Config, _: &Path, _: &DaemonArgs) -> Option<Wanted> {
    None
}

/// That they are asked for in vain.
pub(crate) fn problem(config: &Config) -> Option<String> {
    (!config.alerts.is_empty()).then(|| {
        "there are alerts, and this build is without them: build it with --features alerts".to_owned()
    })
}
