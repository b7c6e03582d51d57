//! RED is IPFire's own again, without a daemon: after a stop, before an uninstallation, and after a daemon that died.

use std::io;
use std::path::Path;
use std::time::Duration;

use mwan_config::ipfire::Site;
use mwan_config::link::{Link, OWN_SESSION};
use mwan_ipfire::{STATE, give_back, tidy_after_boot};
use mwan_linux::process;
use tokio::sync::mpsc::unbounded_channel;

use super::execute::Place;
use super::{boot, files};
use crate::dial::{Runner, program_with};

/// How long IPFire's own script may take to bring RED up: it waits for a dial of its own.
const RED_LIMIT: Duration = Duration::from_secs(90);

/// What there was to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Released {
    /// RED was IPFire's.
    Nothing,
    /// A backup's; it is not any more.
    GivenBack,
    /// It was, before the last boot.
    Tidied,
}

/// Ends the sessions a daemon left, gives RED back, and has IPFire bring its primary up where that is down. `root` is
/// `/var/ipfire`; the caller holds the daemon's locks.
///
/// # Errors
/// The kept settings are damaged or cannot be put back: everything stays as it is then.
pub(crate) fn release(root: &Path, run_dir: &Path) -> io::Result<Released> {
    let loaded = mwan_config::parse_ipfire(&super::read_files(root, &settings(root)));
    let primary = loaded.config.site.as_deref().and_then(|site| primary(site, &loaded.config.links));
    // Nobody has to be told: the threads of a runner are not started.
    let runner = Runner::new(run_dir, unbounded_channel().0)?;
    let dialled = !runner.left().is_empty();
    runner.sweep(&|_| false);
    let place = Place::new(root, run_dir);
    let state = root.join(STATE);
    let profile = files::line(&state.join("current-profile"));
    let ours = profile.is_some_and(|profile| profile.trim() != "primary")
        || ["journal", "interference", "primary-backup"].iter().any(|name| state.join(name).exists());
    let released = match (ours, files::line(&state.join("boot")) == boot()) {
        (false, _) => Released::Nothing,
        (true, false) => {
            place.carry_out(&tidy_after_boot()).map_err(io::Error::other)?;
            Released::Tidied
        }
        (true, true) => {
            let name = primary.map_or("red", |link| link.name.as_str());
            place.carry_out(&give_back(name, None)).map_err(io::Error::other)?;
            Released::GivenBack
        }
    };
    let down = |device: &str| process::addresses_of(device).is_empty();
    if (dialled || released == Released::GivenBack) && primary.is_some_and(|link| down(device_of(link))) {
        bring_up(&place);
    }
    Ok(released)
}

fn settings(root: &Path) -> Vec<u8> {
    std::fs::read(root.join("mwan/settings")).unwrap_or_default()
}

fn primary<'a>(site: &Site, links: &'a [Link]) -> Option<&'a Link> {
    links.iter().find(|link| link.name == site.primary)
}

fn device_of(link: &Link) -> &str {
    if link.method.makes_a_device() { OWN_SESSION } else { &link.session_device }
}

/// IPFire's own script: our session of its primary ended with us, or its own did when a backup took over.
fn bring_up(place: &Place) {
    let script = place.system("/etc/rc.d/init.d/networking/red").to_string_lossy().into_owned();
    match program_with(&[script.clone(), "start".to_owned()], &[], &place.log, RED_LIMIT) {
        Ok(status) if status.success() => {}
        Ok(status) => crate::cli::talk(&format!("mwan: {script} start: {status}")),
        Err(error) => crate::cli::talk(&format!("mwan: {script} start: {error}")),
    }
}
