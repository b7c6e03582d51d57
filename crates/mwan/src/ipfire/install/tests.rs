#![allow(clippy::unwrap_used)]
use std::collections::BTreeMap;

use super::*;

/// A path's mode, and content or target.
type Tree = BTreeMap<String, (u32, Vec<u8>)>;

fn tree(root: &Path) -> Tree {
    let mut all = Tree::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                folders.push(path.clone());
                Vec::new()
            } else if meta.is_symlink() {
                fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
            } else {
                fs::read(&path).unwrap()
            };
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            all.insert(name, (meta.mode(), content));
        }
    }
    all
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

/// As much of IPFire as matters here, and a program.
fn ipfire() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    for path in [
        "etc/rc.d/init.d/network",
        "etc/rc.d/init.d/networking/red",
        "etc/rc.d/init.d/networking/red.up/20-firewall",
        "etc/rc.d/init.d/networking/red.down/20-firewall",
        "etc/rc.d/rc0.d/K80network",
        "etc/rc.d/rc3.d/S20network",
        "etc/rc.d/rc6.d/K80network",
        "usr/local/bin/readhash",
        "var/ipfire/ethernet/settings",
        "var/ipfire/backup/addons/includes/tor",
        "var/ipfire/menu.d/EX-tor.menu",
        "srv/web/ipfire/cgi-bin/index.cgi",
        "var/log/messages",
        "elsewhere/mwan",
    ] {
        write(root, path, path);
    }
    symlink("rc.d/init.d", root.join("etc/init.d")).unwrap();
    let program = root.join("elsewhere/mwan");
    (dir, program)
}

fn assert_same(found: &Tree, expected: &Tree) {
    let names = |tree: &Tree| tree.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(found), names(expected));
    assert_eq!(found, expected);
}

#[test]
fn nothing_is_changed_and_everything_goes_again() {
    let (dir, program) = ipfire();
    let root = dir.path();
    let before = tree(root);
    let made = install(root, &program).unwrap();
    let after = tree(root);
    for (path, what) in &before {
        assert_eq!(after.get(path), Some(what), "{path}");
    }
    assert!(made.contains(&"/usr/local/bin/mwan".to_owned()), "{made:?}");
    assert_eq!(after["usr/local/bin/mwan-config"].1, b"mwan");
    assert_eq!(after["etc/rc.d/init.d/networking/red.up/60-mwan"].0 & 0o777, 0o754);
    assert_eq!(after["var/ipfire/mwan/profiles"].0 & 0o777, 0o700);
    // There is no rt_tables.d: nothing is made for it.
    assert!(!after.contains_key("etc/iproute2"));
    assert!(install(root, &program).unwrap().is_empty(), "twice changes nothing");
    assert_same(&tree(root), &after);
    write(root, "var/log/mwan.log", "a line\n");
    write(root, "var/ipfire/mwan/state/current-profile", "primary\n");
    let removed = uninstall(root, &program, false).unwrap();
    assert_same(&tree(root), &before);
    assert!(removed.kept.is_empty(), "{removed:?}");
    assert!(uninstall(root, &program, false).unwrap().gone.is_empty());
    assert_same(&tree(root), &before);
}

/// Whatever dies in between: after any number of steps it can be finished, and it can be undone.
#[test]
fn a_partial_installation_is_finished_or_undone() {
    let steps = {
        let (dir, program) = ipfire();
        plan(dir.path(), &program).unwrap().len()
    };
    assert!(steps > 15);
    for done in 0..=steps {
        let (dir, program) = ipfire();
        let root = dir.path();
        let before = tree(root);
        for action in plan(root, &program).unwrap().iter().take(done) {
            carry_out(root, action).unwrap();
        }
        // It died in the middle of the next one.
        if let Some(Action::File { path, .. }) = plan(root, &program).unwrap().get(1)
            && done > 0
        {
            fs::write(beside(&root.join(path)), "half").unwrap();
        }
        if done % 2 == 0 {
            install(root, &program).unwrap();
            assert!(plan(root, &program).unwrap().is_empty());
        }
        uninstall(root, &program, false).unwrap();
        assert_same(&tree(root), &before);
    }
}

#[test]
fn what_others_have_there_ends_it_before_anything_was_made() {
    let (dir, program) = ipfire();
    let root = dir.path();
    write(root, "usr/local/bin/mwan-config", "somebody's");
    let before = tree(root);
    let error = install(root, &program).unwrap_err();
    assert_eq!(error.to_string(), "there already, and not of mwan: /usr/local/bin/mwan-config");
    assert_same(&tree(root), &before);
    uninstall(root, &program, false).unwrap();
    assert_same(&tree(root), &before);
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(install(empty.path(), &program), Err(InstallError::NoIpfire(_))));
}

#[test]
fn what_the_owner_made_before_and_after_stays() {
    let (dir, program) = ipfire();
    let root = dir.path();
    // As the document has it: settings first.
    write(root, "var/ipfire/mwan/settings", "ENABLED=on\n");
    write(root, "var/ipfire/mwan/profiles/gsm", "BACKUP_TYPE=GSM\n");
    symlink("mwan", root.join("usr/local/bin/mwan-config")).unwrap();
    let before = tree(root);
    install(root, &program).unwrap();
    assert_eq!(fs::read(root.join(SETTINGS)).unwrap(), b"ENABLED=on\n");
    uninstall(root, &program, false).unwrap();
    assert_same(&tree(root), &before);

    let (dir, program) = ipfire();
    let root = dir.path();
    let before = tree(root);
    install(root, &program).unwrap();
    write(root, "var/ipfire/mwan/settings", "ENABLED=on\n");
    write(root, "var/ipfire/mwan/profiles/gsm", "BACKUP_TYPE=GSM\n");
    write(root, "etc/rc.d/init.d/networking/mwan.up/10-mine", "#!/bin/sh\n");
    let removed = uninstall(root, &program, false).unwrap();
    assert_eq!(
        removed.kept,
        [
            "/var/ipfire/mwan/profiles",
            "/etc/rc.d/init.d/networking/mwan.up",
            "/var/ipfire/mwan/settings",
            "/var/ipfire/mwan"
        ]
    );
    let kept: Vec<String> = tree(root).into_keys().filter(|path| !before.contains_key(path)).collect();
    assert_eq!(
        kept,
        [
            "etc/rc.d/init.d/networking/mwan.up",
            "etc/rc.d/init.d/networking/mwan.up/10-mine",
            "var/ipfire/mwan",
            "var/ipfire/mwan/profiles",
            "var/ipfire/mwan/profiles/gsm",
            "var/ipfire/mwan/settings"
        ]
    );
    // Installed over it, and removed with everything of the owner's in our folder.
    install(root, &program).unwrap();
    fs::remove_dir_all(root.join("etc/rc.d/init.d/networking/mwan.up")).unwrap();
    uninstall(root, &program, true).unwrap();
    assert_same(&tree(root), &before);
}

#[test]
fn without_its_list_what_is_ours_to_the_last_byte_goes() {
    let (dir, program) = ipfire();
    let root = dir.path();
    install(root, &program).unwrap();
    fs::remove_dir_all(root.join("var/ipfire/mwan")).unwrap();
    write(root, "etc/rc.d/init.d/mwan", "changed by somebody");
    uninstall(root, &program, false).unwrap();
    assert!(!root.join("etc/rc.d/init.d/networking/red.up/60-mwan").exists());
    assert!(!root.join("usr/local/bin/mwan").exists());
    assert!(root.join("etc/rc.d/init.d/mwan").exists());
}

#[test]
fn another_version_replaces_what_is_ours() {
    let (dir, program) = ipfire();
    let root = dir.path();
    let before = tree(root);
    install(root, &program).unwrap();
    write(root, "elsewhere/mwan", "newer");
    write(root, "etc/rc.d/init.d/mwan", "of an older version");
    fs::set_permissions(root.join("etc/rc.d/init.d/mwan"), fs::Permissions::from_mode(0o754)).unwrap();
    let made = install(root, &program).unwrap();
    assert_eq!(made, ["/usr/local/bin/mwan", "/etc/rc.d/init.d/mwan"]);
    write(root, "elsewhere/mwan", "elsewhere/mwan");
    uninstall(root, &program, false).unwrap();
    assert_same(&tree(root), &before);
}

#[test]
fn tables_get_names_where_the_system_has_a_folder_for_them() {
    let (dir, program) = ipfire();
    let root = dir.path();
    write(root, "etc/iproute2/rt_tables", "255 local\n200 wan1\n");
    write(root, "etc/iproute2/rt_tables.d/README", "nothing\n");
    let before = tree(root);
    install(root, &program).unwrap();
    let names = fs::read_to_string(root.join(TABLE_NAMES)).unwrap();
    assert!(names.contains("\n100 mwan-primary\n") && names.contains("\n201 wan2\n"), "{names}");
    assert!(!names.contains("200 wan1"), "named already");
    assert!(install(root, &program).unwrap().is_empty());
    uninstall(root, &program, false).unwrap();
    assert_same(&tree(root), &before);
}
