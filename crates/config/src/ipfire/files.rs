//! IPFire's files, as one value.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The files a configuration is read from.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Files {
    /// The folder the names begin in, for messages (`/var/ipfire`).
    pub root: String,
    /// Content by name below the root (`mwan/settings`). A file that is there and cannot be read is not in it.
    pub contents: BTreeMap<String, Vec<u8>>,
    /// Files that are there and cannot be read, and why.
    pub unreadable: BTreeMap<String, String>,
    /// Network devices of modems that speak QMI (a folder `qmi` in sysfs).
    pub qmi_devices: BTreeSet<String>,
}

/// Names alone: there are passwords in them.
impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("root", &self.root)
            .field("names", &self.contents.keys())
            .finish_non_exhaustive()
    }
}

impl Files {
    /// Files that are always looked for, besides those of [`Files::FOLDERS`].
    pub const NAMES: [&'static str; 3] = ["mwan/settings", "ethernet/settings", "ppp/settings"];

    /// Folders whose every file is read.
    pub const FOLDERS: [&'static str; 4] =
        ["mwan/profiles", "mwan/interfaces", "mwan/policies", "mwan/rules"];

    /// Most files of one folder that are read.
    pub const FOLDER_FILES_MAX: usize = 256;

    /// Names of the files of a folder, without it; what editors and backups leave is none of ours.
    pub(super) fn of_folder(&self, folder: &str) -> Vec<&str> {
        let names = self.contents.keys().chain(self.unreadable.keys());
        let mut names: Vec<&str> = names
            .filter_map(|name| name.strip_prefix(folder)?.strip_prefix('/'))
            .filter(|name| !name.starts_with('.') && !name.ends_with('~') && !name.ends_with(".bak"))
            .collect();
        names.sort_unstable();
        names
    }
}
