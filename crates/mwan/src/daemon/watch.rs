//! Files that others change or remove while the daemon runs: one list, looked at once a second.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use mwan_core::Event;
use tracing::{debug, info, warn};

use super::{Daemon, Next, SOCKET, control};
use crate::openwrt::Openwrt;

/// What a watched file is to us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    /// The configuration itself.
    Configuration,
    /// Read along with the configuration: elements of sets, names of routing tables.
    Dependency,
    /// netifd's configuration, which counts where netifd is not there to say what it makes of it.
    Platform,
}

/// Every file that is watched.
#[derive(Debug)]
pub(super) struct Watches(Vec<(Role, Watch)>);

impl Watches {
    /// To be made before the files are read: what is written from then on is a change.
    pub(super) fn new(configuration: &Path, platform: Option<&Path>) -> Self {
        let platform = platform.map(|file| (Role::Platform, Watch::new(file)));
        Watches([(Role::Configuration, Watch::new(configuration))].into_iter().chain(platform).collect())
    }

    /// Watches what the configuration in force depends on, instead of what the one before did.
    pub(super) fn depend_on(&mut self, files: &[PathBuf]) {
        self.0.retain(|(role, _)| *role != Role::Dependency);
        self.0.extend(files.iter().map(|file| (Role::Dependency, Watch::new(file))));
    }

    /// The configuration has been read for another reason.
    pub(super) fn configuration_read(&mut self) {
        self.0.iter_mut().filter(|(role, _)| *role == Role::Configuration).for_each(|(_, w)| w.reset());
    }

    /// The files to be read again. Every file is looked at: what changed together is read together.
    pub(super) fn look(&mut self) -> Vec<(Role, PathBuf)> {
        let changed = self.0.iter_mut().filter_map(|(role, watch)| {
            let changed = watch.look();
            changed.then(|| (*role, watch.path.clone()))
        });
        changed.collect()
    }
}

/// Notices that a file changed. A look is one `stat`; a change counts when it has been the same for two looks,
/// so that a file is not read while it is written.
#[derive(Debug)]
struct Watch {
    path: PathBuf,
    read: Option<Stamp>,
    seen: Option<Stamp>,
}

/// What changes when a file does: inode, size, modification time.
type Stamp = (u64, u64, i64, i64);

impl Watch {
    fn new(path: &Path) -> Self {
        let stamp = stamp(path);
        Watch { path: path.to_owned(), read: stamp, seen: stamp }
    }

    /// Whether the file is to be read again. A file that is not there is not a change: it is about to be written.
    fn look(&mut self) -> bool {
        let now = stamp(&self.path);
        let settled = now == self.seen;
        self.seen = now;
        if settled && now.is_some() && now != self.read {
            self.read = now;
            return true;
        }
        false
    }

    /// The file has been read for another reason.
    fn reset(&mut self) {
        *self = Watch::new(&self.path);
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

impl Daemon {
    /// Once a second: files that others change or remove.
    pub(super) fn look_around(&mut self) -> Next {
        let mut reload = false;
        for (role, file) in self.watches.look() {
            let file = file.display();
            match role {
                Role::Configuration => info!("the configuration file changed"),
                Role::Dependency => info!("{file} changed, which the configuration uses"),
                Role::Platform => self.platform_file_changed(),
            }
            reload |= role != Role::Platform;
        }
        if reload {
            self.reload();
        }
        self.keep_socket();
        self.store.save(self.core.memory());
        Next::Go
    }

    fn platform_file_changed(&mut self) {
        if let Some(view) = self.openwrt.as_ref().and_then(Openwrt::changed_file) {
            self.feed(Event::Platform(view));
        }
    }

    /// The control socket is made anew if somebody tidied the run directory up.
    fn keep_socket(&self) {
        let socket = self.run_dir.join(SOCKET);
        if socket.exists() {
            return;
        }
        match fs::create_dir_all(&self.run_dir).and_then(|()| control::listen(&socket, &self.ask)) {
            Ok(()) => warn!("{} was gone and is there again", socket.display()),
            Err(error) => debug!("cannot listen at {}: {error}", socket.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_change_counts_once_and_when_it_has_settled() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(&file);
        assert!(!watch.look());
        std::fs::write(&file, "bb").unwrap();
        assert!(!watch.look(), "just changed");
        assert!(watch.look());
        assert!(!watch.look());
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.look());
        assert!(!watch.look(), "a vanished file is no configuration");
        std::fs::write(&file, "bb").unwrap();
        assert!(!watch.look());
        assert!(watch.look());
    }

    #[test]
    fn dependencies_are_replaced_and_told_with_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let [config, old, new] = ["config", "old", "new"].map(|name| dir.path().join(name));
        for file in [&config, &old, &new] {
            std::fs::write(file, "a").unwrap();
        }
        let mut watches = Watches::new(&config, None);
        watches.depend_on(std::slice::from_ref(&old));
        watches.depend_on(std::slice::from_ref(&new));
        for file in [&config, &old, &new] {
            std::fs::write(file, "bb").unwrap();
        }
        assert_eq!(watches.look(), [], "just changed");
        let expected = [(Role::Configuration, config.clone()), (Role::Dependency, new.clone())];
        assert_eq!(watches.look(), expected);
        std::fs::write(&config, "ccc").unwrap();
        watches.configuration_read();
        assert_eq!((watches.look(), watches.look()), (vec![], vec![]), "it has been read");
    }
}
