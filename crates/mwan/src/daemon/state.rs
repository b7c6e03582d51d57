//! What survives: ids across reboots (state directory), health across restarts (run directory, volatile).
//!
//! Files are JSON, written to a temporary name and renamed; those that must survive a crash of the machine are synced. One that cannot be read is set aside and
//! told of, never fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mwan_config::{Family, Gather};
use mwan_core::{Hold, Memory, RememberedPath, State, Time};
use mwan_linux::nft::OwnRules;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::config::Source;
use crate::replace::{Durability, Marks, replace};

const IDS: &str = "ids.json";
const HEALTH: &str = "health.json";
const RULES: &str = "rules.json";
/// Copies of the configuration in force; the name tells its format.
const KEPT: [&str; 2] = ["accepted.toml", "accepted.uci"];
/// The same of IPFire's, which is many files.
const KEPT_TREE: &str = "accepted.ipfire";
/// Fewer bits have no room for an interface beside the last resorts.
const MASK_BITS_MIN: u32 = 3;
/// Largest state file read, bytes; thousands of interfaces need less.
const SIZE_MAX: u64 = 4 << 20;

/// Reads and writes [`Memory`].
#[derive(Debug)]
pub(super) struct Store {
    ids: PathBuf,
    health: PathBuf,
    rules: PathBuf,
    state_dir: PathBuf,
    /// Name and content of a configuration of which no copy could be written yet.
    unkept: Option<(String, Source)>,
    written: Memory,
    /// Files that could not be written the last time, of which the owner was told.
    told: BTreeSet<PathBuf>,
    written_rules: Option<OwnRules>,
    /// Mask of the marks in connection entries, as written and as it is.
    marked: (Option<u32>, Option<u32>),
}

#[derive(Serialize, Deserialize, Default)]
struct IdsFile {
    version: u32,
    ids: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize, Default)]
struct HealthFile {
    version: u32,
    /// Health is of one boot: its times count from there, and no connection is older.
    #[serde(default)]
    boot: String,
    /// `mmx_mask` by which connection entries are marked.
    #[serde(default)]
    mask: Option<u32>,
    taken_down: BTreeSet<String>,
    #[serde(default)]
    drained: BTreeSet<String>,
    paths: Vec<PathRecord>,
}

#[derive(Serialize, Deserialize, Default)]
struct RulesFile {
    version: u32,
    table: u64,
    rules: BTreeSet<u64>,
}

#[derive(Serialize, Deserialize)]
struct PathRecord {
    interface: String,
    family: String,
    state: String,
    score: u32,
    /// Microseconds since boot, and weight.
    #[serde(default)]
    losses: Vec<(u64, u32)>,
    #[serde(default)]
    hold: Option<HoldRecord>,
    #[serde(default)]
    pretended: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct HoldRecord {
    until_us: u64,
    losses: u32,
    length_us: u64,
}

impl PathRecord {
    fn of(path: &RememberedPath) -> Self {
        let hold = path.hold.map(|h| HoldRecord {
            until_us: h.until.0,
            losses: h.losses,
            length_us: u64::try_from(h.length.as_micros()).unwrap_or(u64::MAX),
        });
        PathRecord {
            interface: path.interface.clone(),
            family: path.family.name().to_owned(),
            state: path.state.name().to_owned(),
            score: path.score,
            losses: path.losses.iter().map(|(at, weight)| (at.0, *weight)).collect(),
            hold,
            pretended: path.pretended.map(|state| state.name().to_owned()),
        }
    }

    fn path(self) -> Option<RememberedPath> {
        let hold = self.hold.map(|h| Hold {
            until: Time(h.until_us),
            losses: h.losses,
            length: Duration::from_micros(h.length_us),
        });
        Some(RememberedPath {
            interface: self.interface,
            family: Family::ALL.into_iter().find(|f| f.name() == self.family)?,
            state: state(&self.state)?,
            score: self.score,
            losses: self.losses.into_iter().map(|(at, weight)| (Time(at), weight)).collect(),
            hold,
            pretended: self.pretended.as_deref().and_then(state),
        })
    }
}

fn state(name: &str) -> Option<State> {
    STATES.into_iter().find(|state| state.name() == name)
}

impl Store {
    /// The files' places. Nothing is read yet.
    pub(super) fn new(state_dir: &Path, run_dir: &Path) -> Self {
        Store {
            ids: state_dir.join(IDS),
            health: run_dir.join(HEALTH),
            rules: run_dir.join(RULES),
            state_dir: state_dir.to_owned(),
            unkept: None,
            written: Memory::default(),
            told: BTreeSet::new(),
            written_rules: None,
            marked: (None, None),
        }
    }

    /// What the process before this one left.
    pub(super) fn load(&mut self) -> Memory {
        let ids: IdsFile = read(&self.ids);
        let health: HealthFile = read(&self.health);
        // A run directory that outlives a reboot tells of another world.
        let health = if health.boot == boot_id() { health } else { HealthFile::default() };
        self.marked = (health.mask, health.mask);
        let paths = health.paths.into_iter().filter_map(PathRecord::path);
        let memory = Memory {
            ids: ids.ids.into_iter().collect(),
            paths: paths.collect(),
            taken_down: health.taken_down,
            drained: health.drained,
        };
        self.written = memory.clone();
        memory
    }

    /// Writes what differs from what was last written; what cannot be written is tried again the next time.
    /// Scores alone are not worth a write.
    pub(super) fn save(&mut self, memory: Memory) {
        if memory.ids != self.written.ids {
            let file = IdsFile { version: 1, ids: memory.ids.iter().cloned().gather() };
            if write(&self.ids, &file, Durability::Reboot, &mut self.told) {
                self.written.ids = memory.ids;
            }
        }
        let same = memory.paths.iter().map(unscored).eq(self.written.paths.iter().map(unscored));
        let orders = memory.taken_down == self.written.taken_down && memory.drained == self.written.drained;
        if same && orders && self.marked.0 == self.marked.1 {
            return;
        }
        let file = HealthFile {
            version: 1,
            boot: boot_id(),
            mask: self.marked.1,
            taken_down: memory.taken_down.clone(),
            drained: memory.drained.clone(),
            paths: memory.paths.iter().map(PathRecord::of).collect(),
        };
        if write(&self.health, &file, Durability::Process, &mut self.told) {
            self.written.paths = memory.paths;
            self.written.taken_down = memory.taken_down;
            self.written.drained = memory.drained;
            self.marked.0 = self.marked.1;
        }
    }

    /// Rules in the kernel that the process before this one knew to be as it made them. `None`: it left no word.
    pub(super) fn load_rules(&mut self) -> Option<OwnRules> {
        let file: RulesFile = read(&self.rules);
        self.written_rules = (file.version == 1).then_some(OwnRules { table: file.table, rules: file.rules });
        self.written_rules.clone()
    }

    /// Writes which rules are as we made them, if others are than those last written.
    pub(super) fn save_rules(&mut self, own: Option<&OwnRules>) {
        let Some(own) = own.filter(|own| self.written_rules.as_ref() != Some(own)) else { return };
        let file = RulesFile { version: 1, table: own.table, rules: own.rules.clone() };
        if write(&self.rules, &file, Durability::Process, &mut self.told) {
            self.written_rules = Some(own.clone());
        }
    }

    /// Mask of the marks in connection entries; `mask` if there are none yet.
    pub(super) fn marked_with(&mut self, mask: u32) -> u32 {
        // A file that was tampered with must not make us mark with no bits.
        let known = self.marked.1.filter(|mask| mask.count_ones() >= MASK_BITS_MIN);
        *self.marked.1.insert(known.unwrap_or(mask))
    }

    /// From now on this one; written with the next [`Store::save`].
    pub(super) fn set_marked_with(&mut self, mask: u32) {
        self.marked.1 = Some(mask);
    }

    /// Keeps the configuration that is in force, as it is, for a start at which the file has become unusable. What cannot be
    /// written is tried again by [`Store::try_again`].
    pub(super) fn keep_config(&mut self, name: &str, source: Source) {
        self.unkept = Some((name.to_owned(), source));
        self.keep_again();
    }

    /// Writes what could not be written; health is written by [`Store::save`] whenever it differs.
    pub(super) fn try_again(&mut self, own: Option<&OwnRules>) {
        self.keep_again();
        if self.told.contains(&self.rules) {
            self.save_rules(own);
        }
    }

    fn keep_again(&mut self) {
        let Some((name, source)) = self.unkept.take() else { return };
        let kept = match &source {
            Source::Tree(files) => {
                let folder = self.state_dir.join(KEPT_TREE);
                told(crate::ipfire::keep_files(files, &folder), &folder, &mut self.told)
            }
            Source::File(bytes) => self.keep_file(&name, bytes),
        };
        self.unkept = (!kept).then_some((name, source));
    }

    fn keep_file(&mut self, name: &str, bytes: &[u8]) -> bool {
        let (own, other) = if is_toml(name) { (KEPT[0], KEPT[1]) } else { (KEPT[1], KEPT[0]) };
        let own = self.state_dir.join(own);
        if fs::read(&own).is_ok_and(|kept| kept == bytes) {
            return true;
        }
        let _ = fs::remove_file(self.state_dir.join(other));
        let written = replace(&own, Marks::ours(0o600), Durability::Reboot, bytes);
        told(written, &own, &mut self.told)
    }

    /// Name and content of the configuration that was in force last.
    pub(super) fn kept_config(&self) -> Option<(String, Vec<u8>)> {
        let tree = crate::ipfire::kept_settings(&self.state_dir.join(KEPT_TREE));
        let files = KEPT.iter().map(|name| self.state_dir.join(name));
        let path = tree.into_iter().chain(files).find(|path| path.is_file())?;
        let bytes = fs::read(&path).ok()?;
        Some((path.to_string_lossy().into_owned(), bytes))
    }

    /// Forgets health: the data plane is gone, the next start is a first one.
    pub(super) fn forget_health(&mut self) {
        for file in [&self.health, &self.rules] {
            let _ = fs::remove_file(file);
        }
        self.written_rules = None;
        self.written.paths.clear();
        self.written.taken_down.clear();
        self.written.drained.clear();
        self.marked.0 = None;
    }
}

/// All that is worth a write when it changes.
fn unscored(path: &RememberedPath) -> RememberedPath {
    RememberedPath { score: 0, ..path.clone() }
}

/// The kernel's name for this boot; empty where there is no /proc.
pub(super) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

const STATES: [State; 5] =
    [State::Online, State::Offline, State::Connecting, State::Disconnecting, State::Disabled];

fn read<T: for<'a> Deserialize<'a> + Default>(path: &Path) -> T {
    // Only a regular file: a pipe or a device of that name would keep us waiting for ever.
    let regular = fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= SIZE_MAX);
    let Some(bytes) = regular.then(|| fs::read(path).ok()).flatten() else { return T::default() };
    match serde_json::from_slice(&bytes) {
        Ok(value) => value,
        Err(error) => {
            let aside = path.with_extension("json.broken");
            warn!("{} cannot be used ({error}); set aside as {}", path.display(), aside.display());
            let _ = fs::rename(path, aside);
            T::default()
        }
    }
}

/// Whether it was written.
fn write<T: Serialize>(
    path: &Path,
    value: &T,
    durability: Durability,
    files: &mut BTreeSet<PathBuf>,
) -> bool {
    told(try_write(path, value, durability), path, files)
}

/// Whether it was written. That a disk is full is told once, not once a second; `files` are those of which it was told.
fn told(written: std::io::Result<()>, path: &Path, files: &mut BTreeSet<PathBuf>) -> bool {
    match written {
        Ok(()) => {
            if files.remove(path) {
                info!("{} is written again", path.display());
            }
            true
        }
        Err(error) => {
            if files.insert(path.to_owned()) {
                warn!("cannot write {}: {error}; it is tried again", path.display());
            }
            false
        }
    }
}

fn is_toml(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".toml")
}

fn try_write<T: Serialize>(path: &Path, value: &T, durability: Durability) -> std::io::Result<()> {
    replace(path, Marks::ours(0o600), durability, &serde_json::to_vec(value)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_saved_is_loaded_and_broken_files_are_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Memory {
            ids: vec![("wan".into(), 1), ("wanb".into(), 4)],
            paths: vec![RememberedPath {
                interface: "wan".into(),
                family: Family::V6,
                state: State::Online,
                score: 0,
                losses: vec![(Time(7), 2), (Time(9), 1)],
                hold: Some(Hold { until: Time(70), losses: 2, length: Duration::from_secs(60) }),
                pretended: Some(State::Offline),
            }],
            taken_down: BTreeSet::from(["wanb".to_owned()]),
            drained: BTreeSet::from(["wan".to_owned()]),
        };
        let mut store = Store::new(dir.path(), dir.path());
        assert_eq!(store.load(), Memory::default());
        store.save(memory.clone());
        assert_eq!(Store::new(dir.path(), dir.path()).load(), memory);

        // A write that failed is made up for.
        let mut store = Store::new(&dir.path().join("absent"), &dir.path().join("absent"));
        store.load();
        store.save(memory.clone());
        assert_eq!(store.told.len(), 2);
        fs::create_dir(dir.path().join("absent")).unwrap();
        store.save(memory.clone());
        assert!(store.told.is_empty());
        assert_eq!(Store::new(&dir.path().join("absent"), &dir.path().join("absent")).load(), memory);

        let own = OwnRules { table: 3, rules: BTreeSet::from([5, 9]) };
        assert_eq!(store.load_rules(), None);
        store.save_rules(Some(&own));
        store.save_rules(None);
        assert_eq!(store.load_rules(), Some(own));

        fs::write(dir.path().join(IDS), b"{\"version\":1,").unwrap();
        let loaded = Store::new(dir.path(), dir.path()).load();
        assert!(loaded.ids.is_empty() && loaded.paths == memory.paths);
        assert!(dir.path().join("ids.json.broken").exists());
    }

    /// Times count from boot, so a reboot forgets, even where the run directory does not.
    #[test]
    fn health_of_another_boot_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::new(dir.path(), dir.path());
        assert_eq!(store.marked_with(0x3F00), 0x3F00);
        store.save(Memory { taken_down: BTreeSet::from(["wan".to_owned()]), ..Memory::default() });
        let mut again = Store::new(dir.path(), dir.path());
        assert_eq!((again.load().taken_down.len(), again.marked_with(0xFF00)), (1, 0x3F00));
        let health = dir.path().join(HEALTH);
        let text = fs::read_to_string(&health).unwrap();
        assert!(text.contains(&boot_id()), "{text}");
        fs::write(&health, text.replace(&boot_id(), "another")).unwrap();
        let mut again = Store::new(dir.path(), dir.path());
        assert_eq!((again.load(), again.marked_with(0xFF00)), (Memory::default(), 0xFF00));
    }

    #[test]
    fn the_configuration_in_force_is_kept_with_its_format() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::new(dir.path(), dir.path());
        assert_eq!(store.kept_config(), None);
        store.keep_config("/etc/config/mwan3", Source::File(b"config globals\n\xff".to_vec()));
        let (name, bytes) = store.kept_config().unwrap();
        assert!(name.ends_with(".uci") && bytes == b"config globals\n\xff");
        store.keep_config("/etc/mwan/mwan.toml", Source::File(b"[global]".to_vec()));
        let (name, bytes) = store.kept_config().unwrap();
        assert!(name.ends_with(".toml") && bytes == b"[global]");

        // A disk that was full has room again.
        let later = dir.path().join("later");
        let mut store = Store::new(&later, &later);
        store.keep_config("/etc/config/mwan3", Source::File(b"config globals\n".to_vec()));
        assert_eq!(store.kept_config(), None);
        let own = OwnRules { table: 3, rules: BTreeSet::from([5]) };
        store.save_rules(Some(&own));
        fs::create_dir(&later).unwrap();
        store.try_again(Some(&own));
        assert_eq!(store.kept_config().unwrap().1, b"config globals\n");
        assert_eq!(Store::new(&later, &later).load_rules(), Some(own));
    }
}
