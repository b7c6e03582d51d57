//! What survives: ids across reboots (state directory), health across restarts (run directory, volatile).
//!
//! Files are JSON, written to a temporary name, synced and renamed. One that cannot be read is set aside and
//! told of, never fatal.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use mwan_config::Family;
use mwan_core::{Memory, RememberedPath, State};
use serde::{Deserialize, Serialize};
use tracing::warn;

const IDS: &str = "ids.json";
const HEALTH: &str = "health.json";

/// Reads and writes [`Memory`].
#[derive(Debug)]
pub(super) struct Store {
    ids: PathBuf,
    health: PathBuf,
    written: Memory,
}

#[derive(Serialize, Deserialize, Default)]
struct IdsFile {
    version: u32,
    ids: BTreeMap<String, u32>,
}

#[derive(Serialize, Deserialize, Default)]
struct HealthFile {
    version: u32,
    taken_down: BTreeSet<String>,
    paths: Vec<PathRecord>,
}

#[derive(Serialize, Deserialize)]
struct PathRecord {
    interface: String,
    family: String,
    state: String,
    score: u32,
}

impl Store {
    /// The files' places. Nothing is read yet.
    pub(super) fn new(state_dir: &Path, run_dir: &Path) -> Self {
        Store { ids: state_dir.join(IDS), health: run_dir.join(HEALTH), written: Memory::default() }
    }

    /// What the process before this one left.
    pub(super) fn load(&mut self) -> Memory {
        let ids: IdsFile = read(&self.ids);
        let health: HealthFile = read(&self.health);
        let paths = health.paths.into_iter().filter_map(|r| {
            let family = Family::ALL.into_iter().find(|f| f.name() == r.family)?;
            let state = STATES.into_iter().find(|s| s.name() == r.state)?;
            Some(RememberedPath { interface: r.interface, family, state, score: r.score })
        });
        let memory = Memory {
            ids: ids.ids.into_iter().collect(),
            paths: paths.collect(),
            taken_down: health.taken_down,
        };
        self.written = memory.clone();
        memory
    }

    /// Writes what changed since the last time. Scores alone are not worth a write.
    pub(super) fn save(&mut self, memory: Memory) {
        if memory.ids != self.written.ids {
            let ids = memory.ids.iter().cloned().collect();
            write(&self.ids, &IdsFile { version: 1, ids });
        }
        let states = |m: &Memory| -> Vec<(String, Family, State)> {
            m.paths.iter().map(|p| (p.interface.clone(), p.family, p.state)).collect()
        };
        if states(&memory) != states(&self.written) || memory.taken_down != self.written.taken_down {
            let paths = memory.paths.iter().map(|p| PathRecord {
                interface: p.interface.clone(),
                family: p.family.name().to_owned(),
                state: p.state.name().to_owned(),
                score: p.score,
            });
            let file =
                HealthFile { version: 1, taken_down: memory.taken_down.clone(), paths: paths.collect() };
            write(&self.health, &file);
        }
        self.written = memory;
    }

    /// Forgets health: the data plane is gone, the next start is a first one.
    pub(super) fn forget_health(&mut self) {
        let _ = fs::remove_file(&self.health);
        self.written.paths.clear();
    }
}

const STATES: [State; 5] =
    [State::Online, State::Offline, State::Connecting, State::Disconnecting, State::Disabled];

fn read<T: for<'a> Deserialize<'a> + Default>(path: &Path) -> T {
    let Ok(bytes) = fs::read(path) else { return T::default() };
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

fn write<T: Serialize>(path: &Path, value: &T) {
    if let Err(error) = try_write(path, value) {
        warn!("cannot write {}: {error}", path.display());
    }
}

fn try_write<T: Serialize>(path: &Path, value: &T) -> std::io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    match path.parent() {
        Some(folder) => fs::File::open(folder)?.sync_all(),
        None => Ok(()),
    }
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
                state: State::Offline,
                score: 0,
            }],
            taken_down: BTreeSet::from(["wanb".to_owned()]),
        };
        let mut store = Store::new(dir.path(), dir.path());
        assert_eq!(store.load(), Memory::default());
        store.save(memory.clone());
        assert_eq!(Store::new(dir.path(), dir.path()).load(), memory);

        fs::write(dir.path().join(IDS), b"{\"version\":1,").unwrap();
        let loaded = Store::new(dir.path(), dir.path()).load();
        assert!(loaded.ids.is_empty() && loaded.paths == memory.paths);
        assert!(dir.path().join("ids.json.broken").exists());
    }
}
