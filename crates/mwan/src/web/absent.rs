//! A build without the web server.

use std::path::Path;

use mwan_config::Config;

use crate::cli::DaemonArgs;
use crate::daemon::Wanted;

/// None.
pub(crate) fn companion(_: &Config, _: &Path, _: &DaemonArgs) -> Option<Wanted> {
    None
}

/// That it is asked for in vain.
pub(crate) fn problem(config: &Config) -> Option<String> {
    let wanted = config.web.as_ref().is_some_and(|web| web.enabled);
    wanted.then(|| {
        "the section web is enabled, and this build is without it: build it with --features web".to_owned()
    })
}

/// Nothing.
pub(crate) fn forget(_: &Path) {}
