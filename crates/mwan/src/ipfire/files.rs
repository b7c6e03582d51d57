//! The files below `/var/ipfire` that say what is configured.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use mwan_config::ipfire::Files;
use mwan_ipfire::RedFiles;

use super::folder::{Folder, none_is_well, parts, regular};

/// Largest file that is read, bytes; the reader says so if one is larger than it takes.
const FILE_BYTES_MAX: u64 = 128 * 1024;

/// The folder a configuration belongs to, if it is IPFire's: `ROOT/mwan/settings`.
pub(crate) fn root_of(config: &Path) -> Option<&Path> {
    let folder = config.parent()?;
    let ours = config.file_name()? == "settings" && folder.file_name()? == "mwan";
    folder.parent().filter(|root| ours && !root.as_os_str().is_empty())
}

/// All of them. `settings` is what has been read of `mwan/settings` already.
pub(crate) fn read(root: &Path, settings: &[u8]) -> Files {
    let mut files = Files { root: root.to_string_lossy().into_owned(), ..Files::default() };
    let names = Files::NAMES.into_iter().map(str::to_owned);
    let found = Files::FOLDERS.into_iter().flat_map(|folder| names_in(root, folder));
    for name in names.chain(found).filter(|name| name != "mwan/settings") {
        match read_file(root, &name) {
            Ok(Some(bytes)) => drop(files.contents.insert(name, bytes)),
            Ok(None) => {}
            Err(error) => drop(files.unreadable.insert(name, error.to_string())),
        }
    }
    files.contents.insert("mwan/settings".to_owned(), settings.to_vec());
    files.qmi_devices = entries(Path::new("/sys/class/net"))
        .into_iter()
        .filter(|device| Path::new("/sys/class/net").join(device).join("qmi").is_dir())
        .collect();
    files
}

/// Keeps a copy of them in `folder`, which is whole at any moment, or the one before stands beside it. For root only: there
/// are passwords in them.
pub(crate) fn keep(files: &Files, folder: &Path) -> std::io::Result<()> {
    let contents = &files.contents;
    let kept = kept_settings(folder).and_then(|file| Some(read(root_of(&file)?, &fs::read(&file).ok()?)));
    if kept.is_some_and(|kept| kept.contents == *contents) {
        return Ok(());
    }
    let (new, before) = (folder.with_extension("new"), folder.with_extension("before"));
    for left in [&new, &before] {
        none_is_well(fs::remove_dir_all(left))?;
    }
    for (name, bytes) in contents {
        let file = new.join(name);
        if let Some(folder) = file.parent() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(bytes)?;
        file.sync_all()?;
    }
    none_is_well(fs::rename(folder, &before))?;
    fs::rename(&new, folder)?;
    none_is_well(fs::remove_dir_all(&before))
}

/// Where the settings of a copy are; it is read as the original is.
pub(crate) fn kept_settings(folder: &Path) -> Option<PathBuf> {
    let folders = [folder.to_owned(), folder.with_extension("before")];
    folders.into_iter().map(|folder| folder.join("mwan/settings")).find(|file| file.is_file())
}

/// Files and folders whose change is one of the configuration.
pub(crate) fn watched(root: &Path) -> Vec<PathBuf> {
    let folders = Files::FOLDERS.into_iter().map(str::to_owned);
    let names = Files::NAMES.into_iter().map(str::to_owned);
    let found = Files::FOLDERS.into_iter().flat_map(|folder| names_in(root, folder));
    folders.chain(names).chain(found).map(|name| root.join(name)).collect()
}

fn names_in(root: &Path, folder: &str) -> Vec<String> {
    entries(&root.join(folder)).into_iter().map(|name| format!("{folder}/{name}")).collect()
}

/// Names of what is in a folder, in order, as many as are read; none if there is no such folder.
fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|e| e.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names.truncate(Files::FOLDER_FILES_MAX);
    names
}

/// Of a file below the root, `None` if it is not there. Only a regular file will do.
fn read_file(root: &Path, name: &str) -> std::io::Result<Option<Vec<u8>>> {
    let (folder, name) = parts(Path::new(name))?;
    match Folder::open(root, folder) {
        Ok(folder) => Ok(regular(&folder.at(name), FILE_BYTES_MAX)?.map(|(bytes, ..)| bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What RED's files say; `None` if RED is down.
pub(super) fn red(root: &Path) -> Option<RedFiles> {
    let text = |name: &str| line(&root.join("red").join(name));
    let ip = |name: &str| text(name).and_then(|text| text.parse().ok());
    root.join("red/active").exists().then(|| RedFiles {
        device: text("iface").unwrap_or_default(),
        local: ip("local-ipaddress"),
        remote: ip("remote-ipaddress"),
        dns: ["dns1", "dns2"].into_iter().filter_map(ip).collect(),
    })
}

/// What a file of one line says.
pub(super) fn line(path: &Path) -> Option<String> {
    let (bytes, ..) = regular(path, FILE_BYTES_MAX).ok()??;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned()).filter(|text| !text.is_empty())
}
