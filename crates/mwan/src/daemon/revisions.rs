//! The configurations that were in force: the last of them, with when, who and how, as files of the state directory.
//!
//! A thread writes and reads them, one after another, since that disk may be slow. A file is a line of JSON and the text behind
//! it; one that is not whole is told of and left alone until it is older than all that are kept. Files of sets are not kept, only
//! what they were by a sum.

use std::collections::{BTreeSet, VecDeque};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mwan_api::{Revision, RevisionText, Way};
use mwan_config::ipfire::fnv1a;
use mwan_config::uci::FILE_BYTES_MAX;
use mwan_config::{NamedSet, SET_FILE_BYTES_MAX};
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::config::Source;
use super::events::now_ms;
use crate::regular::{self, Links};
use crate::replace::{Durability, Marks, in_place_is_well, replace};

const FOLDER: &str = "revisions";
/// Configurations that are kept.
const KEPT_MAX: usize = 20;
/// Bytes of all of them, except that two are always kept: the present one and the one before.
const BYTES_MAX: u64 = 1 << 20;
const ALWAYS_KEPT: usize = 2;
/// Files that are looked at, those of the highest numbers: all that are kept, and as many that may be damaged.
const FILES_MAX: usize = 2 * KEPT_MAX;
/// Room for the line in front of a text.
const HEADER_MAX: usize = 64 << 10;
/// What the end of the daemon waits for a slow disk.
const END_MAX: Duration = Duration::from_secs(5);

/// Whose a configuration is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Author {
    pub(super) way: Way,
    pub(super) by: Option<String>,
    /// It takes back all that came after the one of this number.
    pub(super) undoes: Option<u64>,
}

impl Author {
    pub(super) fn new(way: Way, by: Option<String>) -> Self {
        Author { way, by, undoes: None }
    }
}

/// What is in front of a text.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    pub(super) number: u64,
    time_ms: u64,
    way: Way,
    by: Option<String>,
    pub(super) file: String,
    /// Of the text.
    pub(super) revision: String,
    #[serde(default)]
    undoes: Option<u64>,
    /// Names of sets, their files and what was in those.
    #[serde(default)]
    sets: Vec<(String, String, String)>,
    /// Of the whole file; not in it.
    #[serde(skip)]
    bytes: u64,
}

/// Tells a content from any other: its length and a sum. It is for people who would not overwrite each other's work, and
/// withstands nobody.
pub(crate) fn revision(bytes: &[u8]) -> String {
    format!("{:x}-{:016x}", bytes.len(), fnv1a(bytes))
}

/// A line of JSON, and bytes behind it.
pub(super) fn framed<T: Serialize>(header: &T, text: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(header)?;
    bytes.push(b'\n');
    bytes.extend_from_slice(text);
    Ok(bytes)
}

/// The reverse of [`framed`], of a regular file of ours.
pub(super) fn read_framed<T: for<'a> Deserialize<'a>>(path: &Path) -> io::Result<(T, Vec<u8>)> {
    let broken = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why.to_owned());
    let (mut bytes, _) = regular::read(path, Links::Refuse, (FILE_BYTES_MAX + HEADER_MAX) as u64)?;
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or_else(|| broken("it was cut short"))?;
    let header = serde_json::from_slice(&bytes[..end])?;
    bytes.drain(..=end);
    Ok((header, bytes))
}

/// The folder and what is in it.
#[derive(Debug)]
struct Shelf {
    folder: PathBuf,
    /// Ascending by number.
    kept: VecDeque<Header>,
    /// Numbers of those that cannot be used, and why; ascending.
    damaged: Vec<(u64, String)>,
    next: u64,
    /// It could not be written, which was said.
    told: bool,
}

impl Shelf {
    fn open(state_dir: &Path) -> Self {
        let folder = state_dir.join(FOLDER);
        let mut numbers = BTreeSet::new();
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            numbers.extend(number_of(&entry));
            if numbers.len() > FILES_MAX {
                numbers.pop_first();
            }
        }
        let next = numbers.last().map_or(1, |last| last + 1);
        let mut shelf = Shelf { folder, kept: VecDeque::new(), damaged: Vec::new(), next, told: false };
        for number in numbers {
            match shelf.read(number) {
                Ok((header, _)) => shelf.kept.push_back(header),
                Err(error) => {
                    let line = format!("{} cannot be used: {error}", shelf.path(number).display());
                    warn!("{line}");
                    shelf.damaged.push((number, line));
                }
            }
        }
        shelf.prune();
        shelf
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(name(number))
    }

    fn read(&self, number: u64) -> io::Result<(Header, Vec<u8>)> {
        let (mut header, text): (Header, _) = read_framed(&self.path(number))?;
        let unusable = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        if header.version != 1 {
            return unusable("it is of another version");
        }
        if header.number != number || header.revision != revision(&text) {
            return unusable("its text is not what was written");
        }
        header.bytes = text.len() as u64;
        Ok((header, text))
    }

    /// Takes note of a configuration, unless it is the one that was there last.
    fn add(&mut self, added: &Added) {
        let (file, text) = (&added.file, &added.text);
        let revision = revision(text);
        let same = |last: &Header| last.revision == revision && is_toml(&last.file) == is_toml(file);
        if self.kept.back().is_some_and(same) {
            return;
        }
        let sum =
            |path: &String| content_of(path).map_or_else(|_| String::new(), |bytes| self::revision(&bytes));
        let mut sets: Vec<(String, String, String)> =
            added.sets.iter().map(|(name, path)| (name.clone(), path.clone(), sum(path))).collect();
        if serde_json::to_vec(&sets).is_ok_and(|line| line.len() > HEADER_MAX / 2) {
            // A line that is too long would make the text behind it unreadable.
            sets.clear();
        }
        let Author { way, by, undoes } = added.author.clone();
        let header = Header {
            version: 1,
            number: self.next,
            time_ms: now_ms(),
            way,
            by,
            file: file.clone(),
            revision,
            undoes,
            sets,
            bytes: text.len() as u64,
        };
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        let written = made
            .and_then(|()| framed(&header, text))
            .and_then(|bytes| replace(&self.path(self.next), Marks::ours(0o600), Durability::Reboot, &bytes));
        let written = in_place_is_well(&self.folder, written);
        match written {
            Ok(()) => {
                self.told = false;
                self.next += 1;
                self.kept.push_back(header);
                self.prune();
            }
            Err(error) if !self.told => {
                self.told = true;
                warn!("cannot keep the configuration in {}: {error}", self.folder.display());
            }
            Err(_) => {}
        }
    }

    fn prune(&mut self) {
        let bytes = |kept: &VecDeque<Header>| kept.iter().map(|header| header.bytes).sum::<u64>();
        while self.kept.len() > KEPT_MAX || self.kept.len() > ALWAYS_KEPT && bytes(&self.kept) > BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { return };
            let _ = fs::remove_file(self.path(oldest.number));
        }
        let oldest = self.kept.front().filter(|_| self.kept.len() == KEPT_MAX).map_or(0, |kept| kept.number);
        while self.damaged.len() > KEPT_MAX
            || self.damaged.first().is_some_and(|(number, _)| *number < oldest)
        {
            let (number, _) = self.damaged.remove(0);
            let _ = fs::remove_file(self.path(number));
        }
    }

    /// Whether it was taken back by a later one.
    fn taken_back(&self, header: &Header) -> bool {
        let undoes = |later: &Header| later.undoes.is_some_and(|after| after < header.number);
        self.kept.iter().any(|later| later.number > header.number && undoes(later))
    }

    fn document(&self, header: &Header) -> Revision {
        Revision {
            number: header.number,
            time_ms: header.time_ms,
            way: header.way,
            by: header.by.clone(),
            file: header.file.clone(),
            revision: header.revision.clone(),
            taken_back: self.taken_back(header),
        }
    }

    /// The number asked for, or that of the newest that differs from `present` and was not taken back.
    fn find(&self, number: Option<u64>, present: &str) -> Option<u64> {
        let other = |header: &&Header| header.revision != present && !self.taken_back(header);
        match number {
            Some(number) => Some(number),
            None => self.kept.iter().rev().find(other).map(|header| header.number),
        }
    }

    fn get(&self, number: u64) -> Result<(Header, Vec<u8>), String> {
        if !self.kept.iter().any(|header| header.number == number) {
            return Err(match (self.kept.front(), self.kept.back()) {
                (Some(first), Some(last)) => format!(
                    "there is no configuration {number}; those from {} to {} are kept",
                    first.number, last.number
                ),
                _ => "no configuration is kept".to_owned(),
            });
        }
        self.read(number).map_err(|e| format!("configuration {number} cannot be used: {e}"))
    }

    fn text(&self, number: u64) -> Result<RevisionText, String> {
        let utf8 = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (header, text) = self.get(number)?;
        let before = self.kept.iter().rev().find(|other| other.number < number);
        let before = before.and_then(|other| Some((other.number, utf8(self.read(other.number).ok()?.1))));
        Ok(RevisionText { revision: self.document(&header), text: utf8(text), before })
    }
}

/// Of a file.
fn name(number: u64) -> String {
    format!("{number:010}")
}

/// The reverse, of one of ours: no other name is looked at.
fn number_of(entry: &fs::DirEntry) -> Option<u64> {
    let file = entry.file_name();
    let number = file.to_str()?.parse().ok()?;
    (number < u64::MAX / 2 && *name(number) == *file).then_some(number)
}

fn is_toml(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".toml")
}

fn content_of(path: &str) -> io::Result<Vec<u8>> {
    regular::read(Path::new(path), Links::Follow, SET_FILE_BYTES_MAX).map(|(bytes, _)| bytes)
}

/// Which files of sets are not what they were with this configuration, in words.
pub(super) fn changed_sets(header: &Header) -> Vec<String> {
    let changed = |(name, path, sum): &(String, String, String)| {
        let now = content_of(path).map_or_else(|_| String::new(), |bytes| revision(&bytes));
        (now != *sum).then(|| {
            format!(
                "{path} of set '{name}' is not what it was with configuration {}: files of sets are not kept",
                header.number
            )
        })
    };
    header.sets.iter().filter_map(changed).collect()
}

struct Added {
    file: String,
    text: Vec<u8>,
    sets: Vec<(String, String)>,
    author: Author,
}

/// What the thread is to do with the shelf.
type Job = Box<dyn FnOnce(&mut Shelf) + Send>;

/// The thread's handle.
#[derive(Clone)]
pub(super) struct Revisions {
    jobs: Sender<Job>,
    known: Arc<Mutex<Known>>,
}

/// What is known before the thread has written it.
#[derive(Default)]
struct Known {
    /// Whose the text of this revision is, which is about to be read.
    expected: Option<(String, Author)>,
    /// The revision of what is in force.
    in_force: Option<String>,
}

impl Revisions {
    /// Starts it. Without a thread nothing is kept.
    pub(super) fn start(state_dir: &Path) -> Self {
        let (jobs, received): (_, Receiver<Job>) = channel();
        let state_dir = state_dir.to_owned();
        let work = move || {
            let mut shelf = Shelf::open(&state_dir);
            received.into_iter().for_each(|job| job(&mut shelf));
        };
        if let Err(error) = std::thread::Builder::new().name("revisions".to_owned()).spawn(work) {
            warn!("cannot start the thread that keeps configurations: {error}");
        }
        Revisions { jobs, known: Arc::default() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says whose the next configuration is, if it has this text. `None`: it did not come into force.
    pub(super) fn expect(&self, text: &[u8], author: Option<Author>) {
        self.known().expected = author.map(|author| (revision(text), author));
    }

    /// This is in force, as it was before; the file says something else.
    pub(super) fn stays(&self, text: &[u8]) {
        self.known().in_force = Some(revision(text));
    }

    /// The revision of what is in force, where that is known.
    pub(super) fn in_force(&self) -> Option<String> {
        self.known().in_force.clone()
    }

    /// The text of a revision, if it is kept.
    pub(super) fn of(&self, revision: String) -> Result<Vec<u8>, String> {
        let get = move |shelf: &Shelf| match shelf.kept.iter().rfind(|kept| kept.revision == revision) {
            Some(kept) => shelf.get(kept.number).map(|(_, text)| text),
            None => Err("no configuration like it is kept".to_owned()),
        };
        self.ask(get).unwrap_or_else(|| Err(NONE.to_owned()))
    }

    /// This is in force. IPFire's is no text.
    pub(super) fn add(&self, file: &str, source: &Source, sets: &[NamedSet], otherwise: Way) {
        let Source::File(text) = source else { return };
        if file == "-" {
            return;
        }
        let revision = revision(text);
        let author = {
            let mut known = self.known();
            let author = known.expected.take_if(|(wanted, _)| *wanted == revision).map(|(_, author)| author);
            known.in_force = Some(revision);
            author
        };
        let sets = sets.iter().filter_map(|set| Some((set.name.clone(), set.file.clone()?))).collect();
        let author = author.unwrap_or_else(|| Author::new(otherwise, None));
        let added = Added { file: file.to_owned(), text: text.clone(), sets, author };
        // Nobody hears it: that was said.
        let _ = self.jobs.send(Box::new(move |shelf| shelf.add(&added)));
    }

    /// What the thread finds. `None`: there is none.
    fn ask<T: Send + 'static>(&self, what: impl FnOnce(&Shelf) -> T + Send + 'static) -> Option<T> {
        let (reply, replied): (SyncSender<T>, _) = sync_channel(1);
        self.jobs.send(Box::new(move |shelf| drop(reply.send(what(shelf))))).ok()?;
        replied.recv().ok()
    }

    /// Newest first, and what cannot be used.
    pub(super) fn list(&self) -> (Vec<Revision>, Vec<String>) {
        let all = |shelf: &Shelf| {
            let documents = shelf.kept.iter().rev().map(|header| shelf.document(header));
            (documents.collect(), shelf.damaged.iter().map(|(_, line)| line.clone()).collect())
        };
        self.ask(all).unwrap_or_default()
    }

    /// The number of the newest; 0: there is none.
    pub(super) fn newest(&self) -> u64 {
        self.ask(|shelf| shelf.kept.back().map_or(0, |header| header.number)).unwrap_or(0)
    }

    /// One of them, and the one before it.
    pub(super) fn text(&self, number: u64) -> Result<RevisionText, String> {
        self.ask(move |shelf| shelf.text(number)).unwrap_or_else(|| Err(NONE.to_owned()))
    }

    /// The one asked for, or the newest that differs from `present` and was not taken back.
    pub(super) fn get(&self, number: Option<u64>, present: String) -> Result<(Header, Vec<u8>), String> {
        let get = move |shelf: &Shelf| match shelf.find(number, &present) {
            Some(number) => shelf.get(number),
            None => Err("no other configuration is kept".to_owned()),
        };
        self.ask(get).unwrap_or_else(|| Err(NONE.to_owned()))
    }

    /// Everything is written, or the disk is too slow.
    pub(super) fn finish(&self) {
        let (reply, replied) = sync_channel(1);
        let last: Job = Box::new(move |_| reply.send(()).unwrap_or_default());
        if self.jobs.send(last).is_ok() {
            let _ = replied.recv_timeout(END_MAX);
        }
    }
}

const NONE: &str = "configurations are not kept: there is no thread for it";

impl std::fmt::Debug for Revisions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Revisions")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn added(text: &str, author: Author) -> Added {
        Added { file: "/etc/config/mwan3".into(), text: text.into(), sets: Vec::new(), author }
    }

    fn edit(text: &str) -> Added {
        added(text, Author::new(Way::Edit, None))
    }

    fn numbers(shelf: &Shelf) -> Vec<u64> {
        shelf.kept.iter().map(|header| header.number).collect()
    }

    #[test]
    fn the_last_twenty_are_kept_for_the_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        for n in 0..30 {
            shelf.add(&edit(&format!("text {n}")));
            shelf.add(&edit(&format!("text {n}")));
        }
        assert_eq!(numbers(&shelf), (11..=30).collect::<Vec<_>>());
        let shelf = Shelf::open(dir.path());
        assert_eq!((numbers(&shelf), shelf.next), ((11..=30).collect::<Vec<_>>(), 31));
        let text = shelf.text(30).unwrap();
        assert_eq!((text.text.as_str(), text.before), ("text 29", Some((29, "text 28".to_owned()))));
        for entry in fs::read_dir(dir.path().join(FOLDER)).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
        }
        assert_eq!(fs::metadata(dir.path().join(FOLDER)).unwrap().mode() & 0o777, 0o700);
        assert!(shelf.get(3).unwrap_err().contains("from 11 to 30"));
    }

    #[test]
    fn their_bytes_are_bounded_and_two_are_always_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        let long = |n: u64, length: usize| edit(&format!("{n}{}", "x".repeat(length)));
        for n in 0..10 {
            shelf.add(&long(n, 300_000));
        }
        assert_eq!(numbers(&shelf), [8, 9, 10]);
        shelf.add(&long(11, 2_000_000));
        assert_eq!(numbers(&shelf), [10, 11]);
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), 2);
    }

    #[test]
    fn damaged_ones_are_told_of_and_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        ["a", "b", "c", "d"].iter().for_each(|text| shelf.add(&edit(text)));
        fs::write(shelf.path(1), b"{\"version\":1").unwrap();
        let mut bytes = fs::read(shelf.path(2)).unwrap();
        *bytes.last_mut().unwrap() = b'x';
        fs::write(shelf.path(2), bytes).unwrap();
        fs::create_dir(shelf.path(9)).unwrap();
        fs::write(dir.path().join(FOLDER).join("77"), "no name of ours").unwrap();
        fs::write(dir.path().join(FOLDER).join("notes"), "").unwrap();
        let mut shelf = Shelf::open(dir.path());
        assert_eq!((numbers(&shelf), shelf.damaged.len()), (vec![3, 4], 3));
        let told: Vec<&str> = shelf.damaged.iter().map(|(_, line)| line.as_str()).collect();
        assert!(told[0].contains("cut short") && told[1].contains("not what was written"), "{told:?}");
        // A number is never given twice.
        shelf.add(&edit("e"));
        assert_eq!(numbers(&shelf), [3, 4, 10]);
        // Damaged while we run.
        fs::write(shelf.path(4), "").unwrap();
        assert!(shelf.get(4).unwrap_err().contains("cut short"));
    }

    #[test]
    fn files_of_another_version_are_told_of_until_they_are_older_than_all_that_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        (0..3).for_each(|n| shelf.add(&edit(&format!("text {n}"))));
        for number in [4, 5] {
            fs::write(shelf.path(number), b"{\"version\":1}\n").unwrap();
        }
        let of_two = fs::read_to_string(shelf.path(3)).unwrap().replace("\"version\":1", "\"version\":2");
        fs::write(shelf.path(3), of_two).unwrap();
        let mut shelf = Shelf::open(dir.path());
        assert_eq!((numbers(&shelf), shelf.damaged.len()), (vec![1, 2], 3));
        assert!(shelf.damaged[0].1.contains("another version"), "{:?}", shelf.damaged);
        (0..19).for_each(|n| shelf.add(&edit(&format!("next {n}"))));
        assert_eq!((numbers(&shelf)[0], shelf.damaged.len()), (2, 3));
        shelf.add(&edit("one more"));
        assert_eq!((numbers(&shelf)[0], shelf.damaged.len()), (6, 0));
        assert_eq!(fs::read_dir(dir.path().join(FOLDER)).unwrap().count(), KEPT_MAX);
    }

    /// The newest are found, and no number is given twice, however many there are.
    #[test]
    fn a_folder_that_is_full_is_looked_through() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        shelf.add(&edit("a"));
        let one = fs::read_to_string(shelf.path(1)).unwrap();
        for number in 2..=1500 {
            fs::write(shelf.path(number), one.replace("\"number\":1", &format!("\"number\":{number}")))
                .unwrap();
        }
        let mut shelf = Shelf::open(dir.path());
        assert_eq!((numbers(&shelf), shelf.next), ((1481..=1500).collect::<Vec<_>>(), 1501));
        shelf.add(&edit("b"));
        assert_eq!(shelf.get(1501).unwrap().1, b"b");
        // All of them damaged: a bounded number is told of.
        (1400..=1501).for_each(|number| fs::write(shelf.path(number), "").unwrap());
        let shelf = Shelf::open(dir.path());
        assert_eq!((numbers(&shelf), shelf.damaged.len(), shelf.next), (vec![], KEPT_MAX, 1502));
    }

    #[test]
    fn the_one_before_is_never_one_that_was_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        ["a", "b", "bad", "bad, edited"].iter().for_each(|text| shelf.add(&edit(text)));
        shelf.add(&added("b", Author { way: Way::TakenBack, by: None, undoes: Some(2) }));
        let back: Vec<bool> = shelf.kept.iter().map(|header| shelf.taken_back(header)).collect();
        assert_eq!(back, [false, false, true, true, false]);
        assert_eq!(shelf.find(None, &revision(b"b")), Some(1));
        assert_eq!(shelf.find(Some(3), &revision(b"b")), Some(3), "who names it gets it");
        shelf.add(&added("a", Author::new(Way::Rollback, None)));
        assert_eq!(shelf.find(None, &revision(b"a")), Some(5), "and back again");
        assert_eq!(Shelf::open(&dir.path().join("none")).find(None, ""), None);
    }

    #[test]
    fn files_of_sets_are_known_by_a_sum() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list").to_string_lossy().into_owned();
        fs::write(&list, "192.0.2.0/24\n").unwrap();
        let mut shelf = Shelf::open(dir.path());
        shelf.add(&Added { sets: vec![("office".into(), list.clone())], ..edit("a") });
        let (header, _) = shelf.get(1).unwrap();
        assert_eq!(changed_sets(&header), Vec::<String>::new());
        fs::write(&list, "192.0.3.0/24\n").unwrap();
        assert!(changed_sets(&header)[0].contains("set 'office'"), "{:?}", changed_sets(&header));
    }

    #[test]
    fn who_it_is_goes_by_the_text() {
        let dir = tempfile::tempdir().unwrap();
        let revisions = Revisions::start(dir.path());
        let add = |text: &str| revisions.add("mwan3", &Source::File(text.into()), &[], Way::Edit);
        revisions.expect(b"b", Some(Author::new(Way::Apply, Some("root".into()))));
        ["a", "b", "c"].iter().for_each(|text| add(text));
        let ways: Vec<(Way, Option<String>)> =
            revisions.list().0.into_iter().map(|revision| (revision.way, revision.by)).collect();
        assert_eq!(ways, [(Way::Edit, None), (Way::Apply, Some("root".into())), (Way::Edit, None)]);
        revisions.finish();
        assert_eq!(revisions.newest(), 3);
    }

    /// Names of sets and files that would fill the line in front of the text are not worth the text.
    #[test]
    fn too_many_sets_leave_the_text_readable() {
        let dir = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::open(dir.path());
        let sets = (0..2000).map(|n| (format!("set{n}"), format!("/nowhere/{}", "x".repeat(100)))).collect();
        let text = "#".repeat(FILE_BYTES_MAX);
        shelf.add(&Added { sets, ..edit(&text) });
        assert_eq!(shelf.get(1).unwrap().1.len(), FILE_BYTES_MAX);
        assert_eq!(numbers(&Shelf::open(dir.path())), [1]);
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_no_reason_to_stop() {
        let mut shelf = Shelf::open(Path::new("/proc/none"));
        shelf.add(&edit("a"));
        assert!(shelf.kept.is_empty() && shelf.told);
    }
}
