//! What belongs to mwan as an add-on of IPFire: files, links and folders, as they are in the package.
//!
//! The text of the files is that of `package/ipfire/files`; what the program installs and what the package holds cannot differ.

use std::collections::BTreeSet;

/// Something the add-on puts into the system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Item {
    /// Below the root, without a leading slash.
    pub path: &'static str,
    /// What it is.
    pub kind: ItemKind,
}

/// What an [`Item`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ItemKind {
    /// A folder.
    Folder {
        /// Its mode.
        mode: u32,
    },
    /// A file.
    File {
        /// Its mode.
        mode: u32,
        /// All of it.
        text: &'static str,
    },
    /// A symbolic link.
    Link {
        /// Where it leads.
        target: &'static str,
    },
}

/// The program.
pub const PROGRAM: &str = "usr/local/bin/mwan";
/// The settings: written only where there are none, and the owner's from then on.
pub const SETTINGS: &str = "var/ipfire/mwan/settings";
/// Names of our routing tables.
pub const TABLE_NAMES: &str = "etc/iproute2/rt_tables.d/mwan.conf";
/// Where IPFire keeps what it runs; there is no IPFire where this is not.
pub const INIT: &str = "etc/rc.d/init.d/networking";
/// The log, with what is rotated.
pub const LOGS: [&str; 3] = ["var/log/mwan.log", "var/log/mwan.log.1", "var/log/mwan.log.2"];

macro_rules! file {
    ($mode:expr, $path:literal) => {
        Item {
            path: $path,
            kind: ItemKind::File {
                mode: $mode,
                text: include_str!(concat!("../../../package/ipfire/files/", $path)),
            },
        }
    };
}

const fn folder(mode: u32, path: &'static str) -> Item {
    Item { path, kind: ItemKind::Folder { mode } }
}

const fn link(path: &'static str, target: &'static str) -> Item {
    Item { path, kind: ItemKind::Link { target } }
}

/// Everything but the program itself, a folder before what is in it. Modes are those of IPFire's own scripts; profiles hold
/// passwords.
pub const ITEMS: [Item; 21] = [
    folder(0o755, "var/ipfire/mwan"),
    folder(0o700, "var/ipfire/mwan/state"),
    folder(0o700, "var/ipfire/mwan/profiles"),
    folder(0o700, "var/ipfire/mwan/interfaces"),
    folder(0o755, "var/ipfire/mwan/policies"),
    folder(0o755, "var/ipfire/mwan/rules"),
    file!(0o644, "var/ipfire/mwan/settings"),
    folder(0o755, "etc/rc.d/init.d/networking/mwan.up"),
    folder(0o755, "etc/rc.d/init.d/networking/mwan.down"),
    link("usr/local/bin/mwan-config", "mwan"),
    link("usr/local/bin/mwan-daemon-universal", "mwan"),
    file!(0o754, "etc/rc.d/init.d/mwan"),
    // After the network has been started, and ended before DNS (K79) and the network (K80) are.
    link("etc/rc.d/rc3.d/S23mwan", "../init.d/mwan"),
    link("etc/rc.d/rc0.d/K77mwan", "../init.d/mwan"),
    link("etc/rc.d/rc6.d/K77mwan", "../init.d/mwan"),
    file!(0o644, "etc/iproute2/rt_tables.d/mwan.conf"),
    file!(0o644, "var/ipfire/backup/addons/includes/mwan"),
    file!(0o755, "srv/web/ipfire/cgi-bin/mwan.cgi"),
    file!(0o644, "var/ipfire/menu.d/EX-mwan.menu"),
    // Last: from here on IPFire calls us.
    file!(0o754, "etc/rc.d/init.d/networking/red.down/60-mwan"),
    file!(0o754, "etc/rc.d/init.d/networking/red.up/60-mwan"),
];

/// The names of our routing tables that nobody else has given: `theirs` are the files that name tables already.
pub fn table_names(theirs: &[String]) -> String {
    let words = |line: &str| -> Option<(String, String)> {
        let mut words = line.split('#').next()?.split_ascii_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned()))
    };
    let (numbers, names): (BTreeSet<String>, BTreeSet<String>) =
        theirs.iter().flat_map(|text| text.lines().filter_map(words)).unzip();
    let ours = ITEMS.iter().find_map(|item| match (&item.kind, item.path == TABLE_NAMES) {
        (ItemKind::File { text, .. }, true) => Some(*text),
        _ => None,
    });
    let free = |line: &&str| {
        words(line).is_none_or(|(number, name)| !numbers.contains(&number) && !names.contains(&name))
    };
    ours.unwrap_or_default().lines().filter(free).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_folder_stands_before_what_is_in_it() {
        for (index, item) in ITEMS.iter().enumerate() {
            let inside =
                ITEMS[..index].iter().find(|other| other.path.starts_with(&format!("{}/", item.path)));
            assert_eq!(inside, None);
        }
    }

    #[test]
    fn names_of_tables_that_others_have_given_stay_theirs() {
        let all = table_names(&[]);
        assert!(all.contains("\n100 mwan-primary\n") && all.contains("\n200 wan1\n201 wan2\n"));
        let theirs = "# 203 wan4\n255 local\n200\tmine # theirs\n77 wan3\n".to_owned();
        let names = table_names(&[theirs]);
        assert!(!names.contains("wan1") && !names.contains("wan3"), "{names}");
        assert!(names.contains("201 wan2\n") && names.contains("203 wan4\n"), "{names}");
    }
}
