//! The drills that are over: lines of a file in the state directory.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use mwan_api::{Drill, Json};
use serde::Deserialize;
use serde_json::value::RawValue;
use tracing::warn;

use crate::regular::{self, Links};
use crate::replace::{Durability, Marks, replace};

const FILE: &str = "drills.jsonl";
/// A year of weekly ones.
const KEPT_MAX: usize = 50;
/// A file that is larger is none of ours.
const FILE_MAX: usize = 4 << 20;
/// No number of ours is larger: beyond 2^53 JavaScript takes some for others.
const NUMBER_MAX: u64 = 1 << 52;

/// What is read of one here.
#[derive(Deserialize)]
struct Head {
    number: u64,
}

/// One that is over: the whole is handed on as it was written.
struct Kept {
    number: u64,
    document: Box<RawValue>,
}

impl Kept {
    fn read(line: &[u8]) -> Option<Self> {
        let document: Box<RawValue> = serde_json::from_slice(line).ok()?;
        let Head { number } = serde_json::from_str(document.get()).ok()?;
        Some(Kept { number, document })
    }

    fn of(drill: &Drill) -> Option<Self> {
        let document = serde_json::to_string(drill).and_then(RawValue::from_string).ok()?;
        Some(Kept { number: drill.number, document })
    }
}

/// What is kept.
pub(super) struct Shelf {
    file: PathBuf,
    /// Oldest first.
    kept: VecDeque<Kept>,
    next: u64,
    writing: Option<JoinHandle<()>>,
}

impl Shelf {
    /// With what daemons before us left. Lines that are none are left out.
    pub(super) fn open(state_dir: &Path) -> Self {
        let file = state_dir.join(FILE);
        let bytes =
            regular::read(&file, Links::Refuse, FILE_MAX as u64).map(|(bytes, _)| bytes).unwrap_or_default();
        let lines = bytes.split(|byte| *byte == b'\n');
        let mut kept: VecDeque<Kept> = VecDeque::new();
        for drill in lines.filter_map(Kept::read) {
            let number = drill.number;
            if number < NUMBER_MAX && kept.back().is_none_or(|last| last.number < number) {
                kept.push_back(drill);
            }
        }
        bound(&mut kept);
        let next = kept.back().map_or(1, |last| last.number + 1);
        Shelf { file, kept, next, writing: None }
    }

    /// For a drill that begins.
    pub(super) fn next_number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// The newest first; only one, if its number is given.
    pub(super) fn documents(&self, number: Option<u64>) -> Vec<Json> {
        let wanted = self.kept.iter().rev().filter(|kept| number.is_none_or(|n| n == kept.number));
        wanted.map(|kept| Json(kept.document.clone())).collect()
    }

    /// Keeps one. In a thread: the disk may be slow.
    pub(super) fn add(&mut self, drill: &Drill) {
        self.kept.extend(Kept::of(drill));
        bound(&mut self.kept);
        let text: String = self.kept.iter().flat_map(|kept| [kept.document.get(), "\n"]).collect();
        let (file, before) = (self.file.clone(), self.writing.take());
        let work = move || {
            // In their order.
            let _ = before.map(JoinHandle::join);
            if let Err(error) = replace(&file, Marks::ours(0o600), Durability::Reboot, text.as_bytes()) {
                warn!("cannot write {}: {error}", file.display());
            }
        };
        let thread = std::thread::Builder::new().name("drills".to_owned()).spawn(work);
        self.writing = thread.inspect_err(|e| warn!("cannot start the thread that keeps drills: {e}")).ok();
    }

    /// Waits until it is written.
    pub(super) fn finish(&mut self) {
        if let Some(thread) = self.writing.take() {
            let _ = thread.join();
        }
    }
}

/// The oldest go: as many as there may be, in a file that we read again.
fn bound(kept: &mut VecDeque<Kept>) {
    let mut bytes: usize = kept.iter().map(|kept| kept.document.get().len() + 1).sum();
    while kept.len() > KEPT_MAX || bytes > FILE_MAX {
        let Some(oldest) = kept.pop_front() else { return };
        bytes -= oldest.document.get().len() + 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use mwan_api::DrillPhase;

    use super::*;

    fn drill(shelf: &mut Shelf) -> Drill {
        Drill {
            number: shelf.next_number(),
            interface: "wan".into(),
            begin_ms: 0,
            by: "root".into(),
            length_s: 60,
            keep_flows: false,
            phase: DrillPhase::Over,
            end: None,
            passed: Some(true),
            summary: String::new(),
            problems: vec![],
            notes: vec![],
            paths: vec![],
            switches: vec![],
            switch_us: None,
            switch_back_us: None,
            carriers: vec![],
            tests: vec![],
            steps: vec![],
            text: String::new(),
        }
    }

    fn numbers(shelf: &Shelf) -> Vec<u64> {
        shelf.kept.iter().rev().map(|kept| kept.number).collect()
    }

    /// What does not fit into the file is not lost with it.
    #[test]
    fn large_ones_are_fewer() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        for _ in 0..5 {
            let drill = Drill { text: "x".repeat(1 << 20), ..drill(&mut shelf) };
            shelf.add(&drill);
        }
        shelf.finish();
        assert_eq!(numbers(&shelf), [5, 4, 3]);
        assert_eq!(numbers(&Shelf::open(dir.path())), [5, 4, 3]);
    }

    #[test]
    fn the_last_fifty_are_kept_over_restarts_and_numbers_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        for _ in 0..60 {
            let drill = drill(&mut shelf);
            shelf.add(&drill);
        }
        shelf.finish();
        let mut shelf = Shelf::open(dir.path());
        assert_eq!(numbers(&shelf), (11..=60).rev().collect::<Vec<_>>());
        assert_eq!(shelf.next_number(), 61);
    }

    #[test]
    fn a_file_that_is_damaged_costs_what_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        for _ in 0..3 {
            let drill = drill(&mut shelf);
            shelf.add(&drill);
        }
        shelf.finish();
        let path = dir.path().join(FILE);
        let text = std::fs::read_to_string(&path).unwrap();
        let half = text.len() * 5 / 6;
        std::fs::write(&path, &text.as_bytes()[..half]).unwrap();
        assert_eq!(numbers(&Shelf::open(dir.path())), [2, 1]);
        std::fs::write(&path, [0xFF; 100]).unwrap();
        assert_eq!(Shelf::open(dir.path()).next_number(), 1);
        // A disk that cannot be written costs nothing but the file.
        let mut shelf = Shelf::open(Path::new("/proc/none"));
        let drill = drill(&mut shelf);
        shelf.add(&drill);
        shelf.finish();
        assert_eq!(numbers(&shelf), [1]);
    }
}
