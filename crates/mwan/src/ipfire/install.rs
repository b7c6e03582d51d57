//! Installing mwan as an add-on of IPFire, and removing it: nothing that was there is changed, and afterwards everything is as
//! it was.
//!
//! What is made is written down first (`state/installed`), all of it at once: whatever dies in between, it is known what is
//! ours. Only what stands there is ever removed; without that list, what is equal to ours to the last byte.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use mwan_ipfire::package::{INIT, ITEMS, ItemKind, LOGS, PROGRAM, SETTINGS, TABLE_NAMES, table_names};

use super::folder::{self, Marks, beside, none_is_well};

/// The list of what is ours.
const LIST: &str = "var/ipfire/mwan/state/installed";
/// Our folder of IPFire's files, and in it that of our state.
const FOLDER: &str = "var/ipfire/mwan";
const STATE: &str = "var/ipfire/mwan/state";
/// The folders in which those two are made, complete, before they get their names.
const NEW: [&str; 2] = ["var/ipfire/.mwan.new", "var/ipfire/mwan/.state.new"];
/// Files that name routing tables.
const TABLE_FILES: [&str; 2] = ["etc/iproute2/rt_tables", "usr/share/iproute2/rt_tables"];

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InstallError {
    /// The system is another.
    #[error("there is no IPFire below {0}")]
    NoIpfire(PathBuf),
    /// Files of others are in the way.
    #[error("there already, and not of mwan: {0}")]
    Foreign(String),
    /// A file cannot be made or removed.
    #[error("{path}: {error}")]
    File {
        /// Which.
        path: String,
        /// Why.
        error: io::Error,
    },
}

/// What is done, in order.
#[derive(Debug)]
pub(super) enum Action {
    /// The list of all paths that are ours.
    List(BTreeSet<String>),
    Folder {
        path: String,
        mode: u32,
    },
    File {
        path: String,
        mode: u32,
        content: Vec<u8>,
    },
    Link {
        path: String,
        target: String,
    },
}

impl Action {
    fn path(&self) -> &str {
        match self {
            Action::List(_) => LIST,
            Action::Folder { path, .. } | Action::File { path, .. } | Action::Link { path, .. } => path,
        }
    }
}

/// How something is there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    Absent,
    Same,
    Other,
}

/// Installs; the paths of what was made, none if everything was there. `program` is our own.
pub(crate) fn install(root: &Path, program: &Path) -> Result<Vec<String>, InstallError> {
    let actions = plan(root, program)?;
    for action in &actions {
        carry_out(root, action).map_err(|e| trouble(action.path(), e))?;
    }
    Ok(actions.iter().filter(|a| a.path() != LIST).map(|a| format!("/{}", a.path())).collect())
}

/// What is missing, or older than ours.
pub(super) fn plan(root: &Path, program: &Path) -> Result<Vec<Action>, InstallError> {
    if !root.join("var/ipfire").is_dir() || !root.join(INIT).is_dir() {
        return Err(InstallError::NoIpfire(root.to_owned()));
    }
    let listed = list(root).unwrap_or_default();
    let (mut ours, mut actions, mut foreign) = (listed.clone(), Vec::new(), Vec::new());
    for action in wanted(root, program)? {
        let path = action.path().to_owned();
        match presence(root, &action) {
            Presence::Same => {}
            Presence::Absent => {
                with_parents(root, &path, &mut ours, &mut actions);
                ours.insert(path);
                actions.push(action);
            }
            // The owner's from the moment they are there.
            Presence::Other if path == SETTINGS => {}
            Presence::Other if listed.contains(&path) => actions.push(action),
            Presence::Other => foreign.push(format!("/{path}")),
        }
    }
    if !foreign.is_empty() {
        return Err(InstallError::Foreign(foreign.join(", ")));
    }
    // With the list come the folders it is in.
    actions.retain(|action| ![FOLDER, STATE].contains(&action.path()));
    if ours != listed {
        actions.insert(0, Action::List(ours));
    }
    Ok(actions)
}

/// Everything, as it should be on this system.
fn wanted(root: &Path, program: &Path) -> Result<Vec<Action>, InstallError> {
    let mut all = Vec::new();
    let target = root.join(PROGRAM);
    let same = |a: &fs::Metadata, b: &fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
    let there = fs::metadata(&target).ok().zip(fs::metadata(program).ok()).is_some_and(|(a, b)| same(&a, &b));
    if !there {
        let content = fs::read(program).map_err(|e| trouble(&program.to_string_lossy(), e))?;
        all.push(Action::File { path: PROGRAM.into(), mode: 0o755, content });
    }
    for item in &ITEMS {
        let path = item.path.to_owned();
        match &item.kind {
            // Where the system has such a folder.
            ItemKind::File { .. } if path == TABLE_NAMES && !parent(&root.join(&path)).is_dir() => {}
            ItemKind::File { mode, .. } if path == TABLE_NAMES => {
                let content = table_names(&their_table_names(root)).into_bytes();
                all.push(Action::File { path, mode: *mode, content });
            }
            ItemKind::File { mode, text } => {
                all.push(Action::File { path, mode: *mode, content: text.as_bytes().to_vec() });
            }
            ItemKind::Folder { mode } => all.push(Action::Folder { path, mode: *mode }),
            ItemKind::Link { target } => all.push(Action::Link { path, target: (*target).to_owned() }),
        }
    }
    Ok(all)
}

/// Folders that are missing above a path are ours, too.
fn with_parents(root: &Path, path: &str, ours: &mut BTreeSet<String>, actions: &mut Vec<Action>) {
    let Some((folder, _)) = path.rsplit_once('/') else { return };
    if root.join(folder).is_dir() || actions.iter().any(|action| action.path() == folder) {
        return;
    }
    with_parents(root, folder, ours, actions);
    ours.insert(folder.to_owned());
    actions.push(Action::Folder { path: folder.to_owned(), mode: 0o755 });
}

fn presence(root: &Path, action: &Action) -> Presence {
    let path = root.join(action.path());
    let Ok(meta) = fs::symlink_metadata(&path) else { return Presence::Absent };
    let same = match action {
        Action::List(_) => true,
        // Whose mode is another is somebody's decision.
        Action::Folder { .. } => path.is_dir(),
        Action::File { content, mode, .. } => {
            meta.is_file()
                && meta.mode() & 0o7777 == *mode
                && meta.len() == content.len() as u64
                && fs::read(&path).is_ok_and(|bytes| bytes == *content)
        }
        Action::Link { target, .. } => fs::read_link(&path).is_ok_and(|found| found == Path::new(target)),
    };
    if same { Presence::Same } else { Presence::Other }
}

fn their_table_names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(parent(&root.join(TABLE_NAMES))).into_iter().flatten().flatten();
    let drop_ins = entries.map(|e| e.path()).filter(|p| !p.ends_with("mwan.conf"));
    let files = TABLE_FILES.iter().map(|name| root.join(name)).chain(drop_ins);
    files.filter_map(|file| fs::read_to_string(file).ok()).collect()
}

pub(super) fn carry_out(root: &Path, action: &Action) -> io::Result<()> {
    let path = root.join(action.path());
    match action {
        Action::List(ours) => write_list(root, ours),
        Action::Folder { mode, .. } => none_is_new(make_folder(&path, *mode)),
        Action::File { mode, content, .. } => replace(&path, *mode, content),
        Action::Link { target, .. } => {
            none_is_well(fs::remove_file(&path))?;
            symlink(target, &path)
        }
    }
}

/// The list and the folders it is in appear together: what is not in a list is not ours.
fn write_list(root: &Path, ours: &BTreeSet<String>) -> io::Result<()> {
    let mut text = String::new();
    for path in ours {
        let _ = writeln!(text, "{path}");
    }
    let (new, name, state) = match (root.join(FOLDER).is_dir(), root.join(STATE).is_dir()) {
        (_, true) => return replace(&root.join(LIST), 0o600, text.as_bytes()),
        (true, false) => (root.join(NEW[1]), root.join(STATE), ""),
        (false, false) => (root.join(NEW[0]), root.join(FOLDER), "state"),
    };
    none_is_well(fs::remove_dir_all(&new))?;
    if !state.is_empty() {
        make_folder(&new, 0o755)?;
    }
    make_folder(&new.join(state), 0o700)?;
    replace(&new.join(state).join("installed"), 0o600, text.as_bytes())?;
    fs::rename(&new, name)
}

fn list(root: &Path) -> Option<BTreeSet<String>> {
    let text = fs::read_to_string(root.join(LIST)).ok()?;
    let inside = |path: &&str| !path.is_empty() && !path.starts_with('/') && !path.contains("..");
    Some(text.lines().filter(inside).map(str::to_owned).collect())
}

/// What was removed and what was not.
#[derive(Debug, Default)]
pub(crate) struct Removed {
    /// Paths of what is gone.
    pub(crate) gone: Vec<String>,
    /// What is the owner's and stays.
    pub(crate) kept: Vec<String>,
}

/// Removes the hooks by which IPFire calls us: what follows must not be answered by a new start.
pub(crate) fn remove_hooks(root: &Path) -> Result<(), InstallError> {
    let hooks = ITEMS.iter().filter(|item| item.path.ends_with("-mwan") && item.path.starts_with(INIT));
    let actions = hooks.filter_map(|item| match item.kind {
        ItemKind::File { mode, text } => {
            Some(Action::File { path: item.path.to_owned(), mode, content: text.as_bytes().to_vec() })
        }
        _ => None,
    });
    let listed = list(root);
    for action in actions.filter(|action| is_ours(root, listed.as_ref(), action)) {
        none_is_well(fs::remove_file(root.join(action.path()))).map_err(|e| trouble(action.path(), e))?;
    }
    Ok(())
}

/// Removes what is ours; the owner's files in our folders only with `purge`. The daemon has ended.
pub(crate) fn uninstall(root: &Path, program: &Path, purge: bool) -> Result<Removed, InstallError> {
    let mut removed = Removed::default();
    let listed = list(root);
    for new in NEW {
        none_is_well(fs::remove_dir_all(root.join(new))).map_err(|e| trouble(new, e))?;
    }
    let wanted = wanted(root, program)?;
    let mut folders: BTreeSet<String> = BTreeSet::new();
    for action in wanted.iter().rev().filter(|action| is_ours(root, listed.as_ref(), action)) {
        match action {
            Action::Folder { path, .. } => drop(folders.insert(path.clone())),
            Action::File { path, .. } if path == SETTINGS && presence(root, action) == Presence::Other => {}
            _ => remove(root, action.path(), &mut removed)?,
        }
    }
    // What an older version made, and the folders above.
    for path in listed.iter().flatten().rev() {
        let meta = fs::symlink_metadata(root.join(path));
        match meta {
            Ok(meta) if meta.is_dir() => drop(folders.insert(path.clone())),
            Ok(_) if path != SETTINGS => remove(root, path, &mut removed)?,
            _ => {}
        }
    }
    for log in LOGS {
        remove(root, log, &mut removed)?;
    }
    if purge {
        none_is_well(fs::remove_dir_all(root.join(FOLDER))).map_err(|e| trouble(FOLDER, e))?;
    }
    remove_folders(root, &folders, listed.is_some(), &mut removed)?;
    Ok(removed)
}

/// A folder after what is in it, the list with the last of them.
fn remove_folders(
    root: &Path,
    folders: &BTreeSet<String>,
    listed: bool,
    removed: &mut Removed,
) -> Result<(), InstallError> {
    let inner = folders.iter().rev().filter(|path| ![FOLDER, STATE].contains(&path.as_str()));
    for path in inner {
        remove_folder(root, path, removed)?;
    }
    if listed {
        let state = if folders.contains(STATE) { STATE } else { LIST };
        let path = root.join(state);
        let result = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        none_is_well(result).map_err(|e| trouble(state, e))?;
    }
    if folders.contains(FOLDER) {
        let settings = root.join(SETTINGS);
        if settings.exists() {
            removed.kept.push(format!("/{SETTINGS}"));
        }
        remove_folder(root, FOLDER, removed)?;
    }
    Ok(())
}

/// An empty one; what is in another is somebody's.
fn remove_folder(root: &Path, path: &str, removed: &mut Removed) -> Result<(), InstallError> {
    match fs::remove_dir(root.join(path)) {
        Ok(()) => removed.gone.push(format!("/{path}")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {
            removed.kept.push(format!("/{path}"));
        }
        Err(error) => return Err(trouble(path, error)),
    }
    Ok(())
}

fn remove(root: &Path, path: &str, removed: &mut Removed) -> Result<(), InstallError> {
    let file = root.join(path);
    none_is_well(fs::remove_file(beside(&file))).map_err(|e| trouble(path, e))?;
    match fs::remove_file(&file) {
        Ok(()) => removed.gone.push(format!("/{path}")),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(trouble(path, error)),
    }
    Ok(())
}

/// By the list; without one, a file or link that is ours to the last byte.
fn is_ours(root: &Path, listed: Option<&BTreeSet<String>>, action: &Action) -> bool {
    match listed {
        Some(listed) => listed.contains(action.path()),
        None => {
            let folder = matches!(action, Action::Folder { .. });
            !folder && action.path() != SETTINGS && presence(root, action) == Presence::Same
        }
    }
}

fn make_folder(path: &Path, mode: u32) -> io::Result<()> {
    fs::DirBuilder::new().mode(mode).create(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
}

fn replace(path: &Path, mode: u32, content: &[u8]) -> io::Result<()> {
    folder::replace(path, Marks::ours(mode), content)
}

fn parent(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

fn none_is_new(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

fn trouble(path: &str, error: io::Error) -> InstallError {
    InstallError::File { path: format!("/{}", path.trim_start_matches('/')), error }
}

#[cfg(test)]
mod tests;
