#![allow(clippy::unwrap_used)]
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use super::*;

const FOLDER: &str = "mwan/state/primary-backup";
const MANIFEST: &str = "mwan/state/primary-backup/manifest";
const SECRETS: &str = "mwan/state/primary-backup/ppp%secrets";
const FILES: [&str; 3] = ["ethernet/settings", "ppp/secrets", "mac/settings"];

type Change = Box<dyn Fn(&Site)>;

struct Site {
    dir: tempfile::TempDir,
    place: Place,
}

impl Site {
    /// Two of the three files are there.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::new(&dir.path().join("var/ipfire"), dir.path());
        let site = Site { dir, place };
        for folder in ["ethernet", "ppp", "mac"] {
            fs::create_dir_all(site.path(folder)).unwrap();
        }
        site.put("ethernet/settings", "RED_TYPE=DHCP\n", 0o644);
        site.put("ppp/secrets", "secret\n", 0o600);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.root.join(name)
    }

    fn put(&self, name: &str, text: &str, mode: u32) {
        fs::write(self.path(name), text).unwrap();
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn is(&self, name: &str) -> (String, u32) {
        let mode = fs::symlink_metadata(self.path(name)).unwrap().mode();
        (fs::read_to_string(self.path(name)).unwrap(), mode & 0o7777)
    }

    fn inode(&self, name: &str) -> u64 {
        fs::metadata(self.path(name)).unwrap().ino()
    }

    fn keep(&self) {
        self.place.keep(&FILES, FOLDER).unwrap();
    }
}

#[test]
fn everything_is_put_back_as_it_was_and_what_was_not_there_is_removed() {
    let site = Site::new();
    site.keep();
    assert_eq!(fs::metadata(site.path(FOLDER)).unwrap().mode() & 0o777, 0o700);
    let before = site.inode("ethernet/settings");
    site.put("ppp/secrets", "another\n", 0o644);
    site.put("mac/settings", "new\n", 0o644);
    site.place.restore(&FILES, FOLDER).unwrap();
    assert_eq!(site.is("ppp/secrets"), ("secret\n".into(), 0o600));
    assert!(!site.path("mac/settings").exists());
    assert_eq!(site.inode("ethernet/settings"), before, "what has not changed is not touched");
    site.place.forget(FOLDER).unwrap();
    assert_eq!(fs::read_dir(site.path("mwan/state")).unwrap().count(), 0);
    // Without a copy nothing is done.
    site.put("ppp/secrets", "another\n", 0o644);
    site.place.restore(&FILES, FOLDER).unwrap();
    assert_eq!(site.is("ppp/secrets").0, "another\n");
}

#[test]
fn a_copy_that_is_there_stays() {
    let site = Site::new();
    site.keep();
    site.put("ppp/secrets", "the backup's\n", 0o600);
    site.keep();
    site.place.restore(&FILES, FOLDER).unwrap();
    assert_eq!(site.is("ppp/secrets").0, "secret\n");
}

#[test]
fn only_what_is_lost_is_mended() {
    let site = Site::new();
    site.keep();
    site.put("ethernet/settings", "RED_TYPE=STATIC\n", 0o644);
    site.put("ppp/secrets", "", 0o644);
    site.place.mend(&FILES, FOLDER).unwrap();
    assert_eq!(site.is("ethernet/settings").0, "RED_TYPE=STATIC\n");
    assert_eq!(site.is("ppp/secrets"), ("secret\n".into(), 0o600));
    fs::remove_file(site.path("ppp/secrets")).unwrap();
    site.place.mend(&FILES, FOLDER).unwrap();
    assert_eq!(site.is("ppp/secrets"), ("secret\n".into(), 0o600));
}

#[test]
fn a_copy_that_was_changed_in_any_way_is_damaged() {
    let changes: [Change; 6] = [
        Box::new(|s| s.put(SECRETS, "secreT\n", 0o600)),
        Box::new(|s| fs::remove_file(s.path(SECRETS)).unwrap()),
        // The same content, but not a file of ours.
        Box::new(|s| {
            fs::rename(s.path(SECRETS), s.path("ppp/moved")).unwrap();
            symlink(s.path("ppp/moved"), s.path(SECRETS)).unwrap();
        }),
        Box::new(|s| fs::remove_file(s.path(MANIFEST)).unwrap()),
        Box::new(|s| s.put(MANIFEST, "", 0o600)),
        // A mode that was not kept.
        Box::new(|s| s.put(MANIFEST, &s.is(MANIFEST).0.replacen(" 644 ", " 777 ", 1), 0o600)),
    ];
    for (at, change) in changes.iter().enumerate() {
        let site = Site::new();
        site.keep();
        site.place.verify(&FILES, FOLDER).unwrap();
        change(&site);
        site.put("ethernet/settings", "", 0o644);
        for result in [
            site.place.verify(&FILES, FOLDER),
            site.place.mend(&FILES, FOLDER),
            site.place.restore(&FILES, FOLDER),
        ] {
            assert!(result.unwrap_err().to_string().contains("damaged"), "{at}");
        }
        assert_eq!(site.is("ethernet/settings").0, "", "{at}");
    }
}

/// What the web server's user may do in its folders.
#[test]
fn links_are_neither_kept_nor_followed_back() {
    let site = Site::new();
    let victim = site.dir.path().join("victim");
    fs::write(&victim, "root's\n").unwrap();
    symlink(&victim, site.path("mac/settings")).unwrap();
    site.put("ppp/secrets", "secret\n", 0o6755);
    site.keep();
    assert!(!site.path(FOLDER).join("mac%settings").exists());
    let new = site.path("ppp/.secrets.mwan");
    for link in [site.path("ppp/secrets"), new] {
        fs::remove_file(site.path("ppp/secrets")).unwrap();
        symlink(&victim, &link).unwrap();
        site.place.mend(&FILES, FOLDER).unwrap();
        assert_eq!(site.is("ppp/secrets"), ("secret\n".into(), 0o755), "no set-id");
        assert_eq!(fs::read_to_string(&victim).unwrap(), "root's\n");
    }
    // A folder that has become a link to one of root's.
    let other = site.dir.path().join("other");
    fs::create_dir(&other).unwrap();
    fs::rename(site.path("ppp"), site.path("ppp-before")).unwrap();
    symlink(&other, site.path("ppp")).unwrap();
    // RED does not wait for that.
    site.place.mend(&FILES, FOLDER).unwrap();
    assert!(site.place.remove("ppp/secrets").is_err());
    assert_eq!(fs::read_dir(&other).unwrap().count(), 0);
}

#[test]
fn a_state_folder_of_another_user_is_not_believed() {
    let site = Site::new();
    site.keep();
    if std::os::unix::fs::chown(site.path("mwan/state"), Some(65534), Some(65534)).is_err() {
        return;
    }
    assert!(site.place.keep(&FILES, FOLDER).unwrap_err().to_string().contains("chown"));
    assert!(site.place.restore(&FILES, FOLDER).is_err());
}
