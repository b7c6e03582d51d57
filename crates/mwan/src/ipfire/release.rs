//! RED is IPFire's own again, without a daemon: after a stop, before an uninstallation, and after a daemon that died.

use std::io;
use std::path::Path;

use mwan_config::ipfire::Site;
use mwan_config::link::{Link, OWN_SESSION};
use mwan_ipfire::{Batch, STATE, Step, bring_up, kept, kept_files, tidy_after_boot};
use tokio::sync::mpsc::unbounded_channel;

use super::execute::Place;
use super::{boot, files};
use crate::dial::Runner;

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

/// Whether RED can be given back, as far as its kept settings are whole: before anything is ended for that.
///
/// # Errors
/// They are damaged.
pub(crate) fn check(root: &Path) -> io::Result<()> {
    // Nothing is run: the run directory does not matter.
    Place::new(root, root).verify(&kept_files(), &kept())
}

/// Gives RED back, ends the sessions a daemon left, and has IPFire bring its primary up where that is down. `root` is
/// `/var/ipfire`; the caller holds the daemon's locks.
///
/// # Errors
/// The kept settings are damaged or cannot be put back: then no session is ended. What could not be written at all (a full
/// disk) leaves everything as it is, for the journal is written first.
pub(crate) fn release(root: &Path, run_dir: &Path) -> io::Result<Released> {
    check(root)?;
    let loaded = mwan_config::parse_ipfire(&super::read_files(root, &settings(root)));
    let primary = loaded.config.site.as_deref().and_then(|site| primary(site, &loaded.config.links));
    // Nobody has to be told: the threads of a runner are not started.
    let runner = Runner::new(run_dir, &root.join(STATE), unbounded_channel().0)?;
    let place = Place::new(root, run_dir);
    let state = root.join(STATE);
    let profile = files::line(&state.join("current-profile"));
    let ours = profile.is_some_and(|profile| profile.trim() != "primary")
        || ["journal", "interference", "primary-backup"].iter().any(|name| state.join(name).exists());
    let name = primary.map_or("red", |link| link.name.as_str());
    let device = primary.map(device_of).unwrap_or_default();
    let released = match (ours, files::line(&state.join("boot")) == boot()) {
        (false, _) => Released::Nothing,
        (true, false) => Released::Tidied,
        (true, true) => Released::GivenBack,
    };
    let mut batch = match released {
        Released::GivenBack => Some(mwan_ipfire::release(name, device)),
        Released::Tidied => Some(tidy_after_boot()),
        Released::Nothing => None,
    };
    let carry_out = |batch: &Batch| place.carry_out(batch).map_err(|(_, error)| io::Error::other(error));
    if let Some(batch) = &mut batch {
        // Files first: where they cannot be written, the backup is not hung up for it. IPFire's own script last: it dials beside
        // no other session.
        batch.steps.retain(|step| !matches!(step, Step::BringUp { .. }));
        carry_out(batch)?;
    }
    let dialled = !runner.left().is_empty();
    runner.sweep(&|_, _| false);
    if dialled || released == Released::GivenBack {
        carry_out(&bring_up(device))?;
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
