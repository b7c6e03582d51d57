//! A configuration that has to be confirmed: the one before it waits in the state directory, and comes back by itself, whatever
//! becomes of the daemon, the machine or the connection of whoever gave the order.
//!
//! The record is on the disk before the new text is. What it promises is counted on `CLOCK_BOOTTIME`, which no NTP moves. A daemon
//! of the same boot goes on counting; one of a later boot, or one whose run directory is another, puts the text back before it
//! reads it: nobody is known to have reached the machine since. What comes back is read from the record, not from the file: it is
//! in force even where the file cannot be written.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mwan_api::{Severity, Waiting};
use mwan_config::uci::FILE_BYTES_MAX;
use mwan_linux::clock;
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use super::events::now_ms;
use super::held::Held;
use super::revisions::{framed, read_framed, revision};
use super::state::boot_id;
use super::status::millis;
use crate::replace::{Durability, Marks, in_place_is_well, none_is_well, replace, sync_folder};

const FILE: &str = "unconfirmed";
/// In the run directory, which may be the same.
const TOKEN: &str = "unconfirmed.token";
/// Copy of a file that was edited meanwhile.
const EDITED: &str = "unconfirmed.edited";
/// Time until it is tried again to put a text back.
const RETRY: Duration = Duration::from_secs(10);

/// What has to be known to put the configuration before back.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    version: u32,
    /// Of the boot in which the deadline counts.
    boot: String,
    /// Also in the run directory: a container keeps the boot and loses that.
    token: String,
    /// Since boot.
    deadline_ms: u64,
    /// How long there was, for people.
    limit_s: u64,
    pub(super) file: String,
    by: Option<String>,
    time_ms: u64,
    /// Of the text before and of the new one.
    before: String,
    after: String,
    /// Number of the last configuration before.
    pub(super) base: u64,
}

/// An order that is not confirmed yet.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Record {
    pub(super) header: Header,
    /// The text before.
    pub(super) text: Vec<u8>,
}

/// What is known when an order is given.
pub(super) struct Order<'a> {
    pub(super) file: &'a Path,
    pub(super) before: &'a [u8],
    pub(super) after: &'a [u8],
    pub(super) by: Option<String>,
    pub(super) base: u64,
    /// At most so long from now.
    pub(super) limit: Duration,
}

impl Record {
    fn new(order: &Order<'_>, boot: String, now: Duration) -> io::Result<Self> {
        // The daemon that puts it back may be started in another folder.
        let file = std::path::absolute(order.file)?;
        let no_text = || io::Error::new(io::ErrorKind::InvalidInput, "the name of the file is not UTF-8");
        let header = Header {
            version: 1,
            boot,
            token: format!("{}.{}", now_ms(), now.as_nanos()),
            deadline_ms: millis(now + order.limit),
            limit_s: order.limit.as_secs(),
            file: file.to_str().ok_or_else(no_text)?.to_owned(),
            by: order.by.clone(),
            time_ms: now_ms(),
            before: revision(order.before),
            after: revision(order.after),
            base: order.base,
        };
        Ok(Record { header, text: order.before.to_vec() })
    }

    fn whose(&self) -> &str {
        self.header.by.as_deref().unwrap_or("somebody")
    }

    /// Puts the text before into the file. Returns where what somebody else had written there meanwhile is kept, if anybody had.
    ///
    /// # Errors
    /// Those of the file system; then all is as it was.
    pub(super) fn put_back(&self, state_dir: &Path) -> io::Result<Option<PathBuf>> {
        let file = Path::new(&self.header.file);
        let held = match Held::open(file, FILE_BYTES_MAX as u64) {
            Ok(held) => held,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let written = replace(file, Marks::ours(0o600), Durability::Reboot, &self.text);
                return in_place_is_well(file, written).map(|()| None);
            }
            Err(error) => return Err(error),
        };
        if held.bytes == self.text {
            return Ok(None);
        }
        let mut copy = None;
        if revision(&held.bytes) != self.header.after {
            let path = state_dir.join(EDITED);
            let written = replace(&path, Marks::ours(0o600), Durability::Reboot, &held.bytes);
            in_place_is_well(&path, written)?;
            copy = Some(path);
        }
        let still = || match held.again(FILE_BYTES_MAX as u64)? == held.bytes {
            true => Ok(()),
            false => Err(io::Error::other("it is being edited")),
        };
        held.replace(&self.text, still)?;
        Ok(copy)
    }
}

/// Whether both names are of one file, as far as anybody can tell.
fn is_same(a: &Path, b: &Path) -> bool {
    let real = |path: &Path| fs::canonicalize(path).or_else(|_| std::path::absolute(path)).ok();
    real(a) == real(b)
}

#[derive(Debug, Default)]
struct State {
    waiting: Option<Record>,
    /// A thread is about to put it back.
    busy: bool,
    /// Why the text before is in force again, if it has only still to be put into the file.
    returns: Option<String>,
    /// There is a record of what has ended: it could not be removed.
    stale: bool,
    /// It could not be put back, which was said.
    told: bool,
    /// How the last one ended.
    last: Option<String>,
    /// Told by the loop.
    news: Vec<(Severity, String)>,
}

/// The one configuration that may be waiting, shared by the loop and by the threads that write.
#[derive(Clone, Debug)]
pub(super) struct Confirm {
    state_dir: PathBuf,
    token: PathBuf,
    state: Arc<Mutex<State>>,
}

impl Confirm {
    /// Nothing is read yet.
    pub(super) fn new(state_dir: &Path, run_dir: &Path) -> Self {
        Confirm { state_dir: state_dir.to_owned(), token: run_dir.join(TOKEN), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn file(&self) -> PathBuf {
        self.state_dir.join(FILE)
    }

    pub(super) fn state_dir(&self) -> &Path {
        &self.state_dir
    }

    /// What a daemon before us left, where `config` is our file. `Some`: what is to be read instead of it, and what that takes back.
    pub(super) fn resume(&self, config: &Path) -> Option<Record> {
        self.resume_at(config, &boot_id(), clock::since_boot())
    }

    fn resume_at(&self, config: &Path, boot: &str, now: Duration) -> Option<Record> {
        let record = match self.read() {
            Ok(record) => record,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                self.set_aside(&error.to_string());
                return None;
            }
        };
        let file = Path::new(&record.header.file);
        let ours = is_same(file, config);
        if Held::open(file, FILE_BYTES_MAX as u64).is_ok_and(|held| held.bytes == record.text) {
            // The end came before the new text was written, or after it was taken back: in both cases that is the one before.
            self.forget();
            let whose = record.whose();
            self.tell(
                Severity::Info,
                format!("an order of {whose} was cut short, and the configuration before is in the file"),
            );
            return ours.then_some(record);
        }
        if !ours {
            self.put_back_another(&record);
            return None;
        }
        let here = fs::read_to_string(&self.token).is_ok_and(|token| token == record.header.token);
        let why = if record.header.boot != boot || !here {
            "the machine was started anew before anybody confirmed it".to_owned()
        } else if record.header.deadline_ms <= millis(now) {
            format!("nobody confirmed it within {} s", record.header.limit_s)
        } else {
            info!("the configuration in force has to be confirmed within {} s", record.left_s(now));
            self.state().waiting = Some(record);
            return None;
        };
        match record.put_back(&self.state_dir) {
            Ok(copy) => drop(self.end(&record, &why, copy.as_deref(), None)),
            Err(error) => {
                self.returns(&record, &why);
                self.failed(&error.to_string());
            }
        }
        Some(record)
    }

    fn read(&self) -> io::Result<Record> {
        let (header, text): (Header, Vec<u8>) = read_framed(&self.file())?;
        let unusable = |why| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        match () {
            () if header.version != 1 => unusable("it is of another version"),
            () if header.before != revision(&text) => unusable("its text is not what was written"),
            () => Ok(Record { header, text }),
        }
    }

    /// Nobody can confirm what the daemon does not read any more.
    fn put_back_another(&self, record: &Record) {
        let (file, whose) = (&record.header.file, record.whose());
        match record.put_back(&self.state_dir) {
            Ok(copy) => {
                self.forget();
                let text = format!(
                    "the configuration of {whose} in {file} is taken back: the daemon was started with another file"
                );
                self.tell(Severity::Warning, with_copy(text, copy.as_deref()));
            }
            // The next start tries it again.
            Err(error) => self.tell(
                Severity::Error,
                format!("the configuration of {whose} in {file} cannot be taken back: {error}"),
            ),
        }
    }

    fn tell(&self, severity: Severity, text: String) {
        let mut state = self.state();
        state.last = Some(text.clone());
        state.news.push((severity, text));
    }

    fn set_aside(&self, why: &str) {
        let (file, aside) = (self.file(), self.state_dir.join(format!("{FILE}.broken")));
        let text = format!(
            "{} cannot be used ({why}); it is set aside, and the configuration stays as it is",
            file.display()
        );
        warn!("{text}");
        let _ = fs::rename(file, aside);
        self.state().news.push((Severity::Warning, text));
    }

    /// Why nothing else may be written now.
    pub(super) fn refusal(&self) -> Option<String> {
        let state = self.state();
        let record = state.waiting.as_ref()?;
        if state.returns.is_some() {
            return Some(format!(
                "{} has first to be put back as it was: see `mwan status`",
                record.header.file
            ));
        }
        Some(format!(
            "a configuration of {} waits to be confirmed: `mwan confirm` keeps it, `mwan rollback` takes it back",
            record.whose()
        ))
    }

    /// For the status. Without the time that is left, which would be another problem every second.
    pub(super) fn problem(&self) -> Option<String> {
        let state = self.state();
        let record = state.waiting.as_ref()?;
        if state.returns.is_some() {
            return Some(format!(
                "the configuration before is in force, but {} could not be put back as it was",
                record.header.file
            ));
        }
        Some(format!(
            "the configuration of {} has to be confirmed (mwan confirm), or the one before comes back",
            record.whose()
        ))
    }

    /// For clients.
    pub(super) fn waiting(&self) -> Option<Waiting> {
        let state = self.state();
        let Record { header, .. } = state.waiting.as_ref()?;
        let left_ms = header.deadline_ms.saturating_sub(millis(clock::since_boot()));
        Some(Waiting { by: header.by.clone(), time_ms: header.time_ms, left_s: left_ms.div_ceil(1000) })
    }

    pub(super) fn record(&self) -> Option<Record> {
        self.state().waiting.clone()
    }

    /// How the last one ended.
    pub(super) fn last(&self) -> Option<String> {
        self.state().last.clone()
    }

    /// The record is on the disk when this returns; only then may the new text be written.
    ///
    /// # Errors
    /// Those of the file system; then there is no record.
    pub(super) fn begin(&self, order: &Order<'_>) -> io::Result<()> {
        let record = Record::new(order, boot_id(), clock::since_boot())?;
        let token = record.header.token.as_bytes();
        replace(&self.token, Marks::ours(0o600), Durability::Process, token)?;
        if let Err(error) = self.write(&record) {
            // Nothing is left that a start would carry out.
            self.forget();
            return Err(error);
        }
        let mut state = self.state();
        (state.waiting, state.told, state.stale) = (Some(record), false, false);
        Ok(())
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        let bytes = framed(&record.header, &record.text)?;
        replace(&self.file(), Marks::ours(0o600), Durability::Reboot, &bytes)
    }

    /// The new text is in force: from now on there is so long to confirm it.
    ///
    /// # Errors
    /// Those of the file system; then the time given at first counts.
    pub(super) fn count_from_now(&self, limit: Duration) -> io::Result<()> {
        let Some(mut record) = self.record() else { return Ok(()) };
        record.header.deadline_ms = millis(clock::since_boot() + limit);
        record.header.limit_s = limit.as_secs();
        in_place_is_well(&self.file(), self.write(&record))?;
        let mut state = self.state();
        state.news.push((
            Severity::Info,
            format!(
                "the configuration of {} has to be confirmed within {} s",
                record.whose(),
                limit.as_secs()
            ),
        ));
        state.waiting = Some(record);
        Ok(())
    }

    /// It stays.
    ///
    /// # Errors
    /// The record cannot be removed: it would be put back after all.
    pub(super) fn confirmed(&self, text: String) -> io::Result<()> {
        self.remove()?;
        self.state().waiting = None;
        self.tell(Severity::Info, text);
        Ok(())
    }

    /// It never came into force, or is what was there before.
    pub(super) fn forget(&self) {
        let removed = self.remove();
        if let Err(error) = &removed {
            warn!("cannot remove {}, it is tried again: {error}", self.file().display());
        }
        let mut state = self.state();
        (state.waiting, state.returns, state.stale) = (None, None, removed.is_err());
    }

    /// A record of what has ended would be carried out by the next boot.
    pub(super) fn tidy(&self) {
        let mut state = self.state();
        state.stale = state.stale && self.remove().is_err();
    }

    fn remove(&self) -> io::Result<()> {
        none_is_well(fs::remove_file(self.file()))?;
        sync_folder(&self.state_dir)?;
        let _ = fs::remove_file(&self.token);
        Ok(())
    }

    /// The text before is in the file again, and in force but for what `trouble` says. What is to be said of it.
    pub(super) fn end(
        &self,
        record: &Record,
        why: &str,
        copy: Option<&Path>,
        trouble: Option<&str>,
    ) -> String {
        self.forget();
        let mut text = format!(
            "the configuration of {} is taken back, the one before is in force again: {why}",
            record.whose()
        );
        text = with_copy(text, copy);
        if let Some(trouble) = trouble {
            text.push_str(&format!("; but it is not taken over yet: {trouble}"));
        }
        self.tell(Severity::Warning, text.clone());
        text
    }

    /// It could not be put back: again in a while.
    pub(super) fn failed(&self, why: &str) {
        let state = &mut *self.state();
        state.busy = false;
        let returns = state.returns.is_some();
        let Some(record) = &mut state.waiting else { return };
        record.header.deadline_ms = millis(clock::since_boot() + RETRY);
        if !std::mem::replace(&mut state.told, true) {
            let text = match returns {
                true => format!(
                    "the configuration before is in force again, but {} cannot be written, it is tried again: {why}",
                    record.header.file
                ),
                false => format!("the configuration before cannot be put back, it is tried again: {why}"),
            };
            state.news.push((Severity::Error, text));
        }
    }

    /// Whether a thread has to see to it now; it says when it is [`Confirm::seen_to`].
    pub(super) fn is_due(&self) -> bool {
        self.overdue().is_some() && !std::mem::replace(&mut self.state().busy, true)
    }

    pub(super) fn seen_to(&self) {
        self.state().busy = false;
    }

    /// Why it has to be put back, if it has.
    pub(super) fn overdue(&self) -> Option<String> {
        let now = millis(clock::since_boot());
        let state = self.state();
        let record = state.waiting.as_ref().filter(|record| record.header.deadline_ms <= now)?;
        let in_time = || format!("nobody confirmed it within {} s", record.header.limit_s);
        Some(state.returns.clone().unwrap_or_else(in_time))
    }

    /// From now on the text of `record` is what is read, whatever is wrong with it: it was in force. Whether that is new.
    pub(super) fn returns(&self, record: &Record, why: &str) -> bool {
        let mut state = self.state();
        state.waiting = Some(record.clone());
        let new = state.returns.is_none();
        state.returns.get_or_insert_with(|| why.to_owned());
        new
    }

    /// What is to be read instead of the file.
    pub(super) fn returning(&self) -> Option<Vec<u8>> {
        let state = self.state();
        state.waiting.as_ref().filter(|_| state.returns.is_some()).map(|record| record.text.clone())
    }

    /// What happened since it was last asked.
    pub(super) fn news(&self) -> Vec<(Severity, String)> {
        std::mem::take(&mut self.state().news)
    }
}

impl Record {
    fn left_s(&self, now: Duration) -> u64 {
        self.header.deadline_ms.saturating_sub(millis(now)).div_ceil(1000)
    }
}

fn with_copy(text: String, copy: Option<&Path>) -> String {
    match copy {
        Some(copy) => format!("{text}; what was edited meanwhile is in {}", copy.display()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct World {
        dir: tempfile::TempDir,
    }

    impl World {
        /// An order that replaced "old" by "new" and has a minute.
        fn new() -> (Self, Confirm) {
            let world = World { dir: tempfile::tempdir().unwrap() };
            for dir in ["state", "run"] {
                fs::create_dir(world.dir.path().join(dir)).unwrap();
            }
            fs::write(world.config(), "old").unwrap();
            let confirm = world.confirm();
            let order = Order {
                file: &world.config(),
                before: b"old",
                after: b"new",
                by: Some("root".into()),
                base: 7,
                limit: Duration::from_secs(60),
            };
            confirm.begin(&order).unwrap();
            fs::write(world.config(), "new").unwrap();
            (world, confirm)
        }

        fn config(&self) -> PathBuf {
            self.dir.path().join("mwan3")
        }

        fn confirm(&self) -> Confirm {
            Confirm::new(&self.dir.path().join("state"), &self.dir.path().join("run"))
        }

        fn text(&self) -> String {
            fs::read_to_string(self.config()).unwrap()
        }
    }

    fn later(seconds: u64) -> Duration {
        clock::since_boot() + Duration::from_secs(seconds)
    }

    fn said(confirm: &Confirm) -> String {
        confirm.news().into_iter().map(|(_, text)| text).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn a_daemon_of_the_same_boot_goes_on_counting() {
        let (world, _) = World::new();
        let confirm = world.confirm();
        assert_eq!(confirm.resume_at(&world.config(), &boot_id(), later(50)), None);
        assert_eq!(world.text(), "new");
        assert!(!confirm.is_due() && confirm.refusal().unwrap().contains("of root"));
        assert!((55..=60).contains(&confirm.waiting().unwrap().left_s));
        confirm.confirmed("kept".into()).unwrap();
        assert_eq!(world.confirm().resume_at(&world.config(), &boot_id(), later(90)), None);
        assert_eq!(world.text(), "new");
    }

    #[test]
    fn past_its_time_or_its_boot_the_text_before_is_there_at_the_start() {
        type Break = fn(&World) -> (String, u64);
        let past: Break = |_| (boot_id(), 61);
        let booted: Break = |_| ("another boot".into(), 1);
        let emptied: Break = |world| {
            fs::remove_dir_all(world.dir.path().join("run")).unwrap();
            (boot_id(), 1)
        };
        for (what, word) in [(past, "within 60 s"), (booted, "started anew"), (emptied, "started anew")] {
            let (world, _) = World::new();
            let (boot, after) = what(&world);
            let confirm = world.confirm();
            let back = confirm.resume_at(&world.config(), &boot, later(after)).unwrap();
            assert_eq!((back.text.as_slice(), back.header.base), (b"old".as_slice(), 7));
            let said = said(&confirm);
            assert!(world.text() == "old" && said.contains(word), "{said}");
            assert_eq!((confirm.record(), confirm.last().as_ref()), (None, Some(&said)));
            assert_eq!(world.confirm().resume_at(&world.config(), &boot, later(after)), None, "once");
        }
    }

    #[test]
    fn what_was_edited_meanwhile_is_kept_beside() {
        let (world, confirm) = World::new();
        fs::write(world.config(), "edited").unwrap();
        let record = confirm.record().unwrap();
        let copy = record.put_back(confirm.state_dir()).unwrap().unwrap();
        assert_eq!((world.text().as_str(), fs::read_to_string(&copy).unwrap().as_str()), ("old", "edited"));
        let said = confirm.end(&record, "nobody", Some(&copy), None);
        assert!(said.contains("unconfirmed.edited"), "{said}");
        // Nobody's edit, no copy; and one that was removed is there again.
        let (world, confirm) = World::new();
        fs::remove_file(world.config()).unwrap();
        assert_eq!(confirm.record().unwrap().put_back(confirm.state_dir()).unwrap(), None);
        assert_eq!(world.text(), "old");
    }

    /// The end came before the new text was written, or when it had been taken back and the record was still there.
    #[test]
    fn an_end_with_the_text_before_in_the_file_takes_back_what_came_after_it() {
        let (world, _) = World::new();
        fs::write(world.config(), "old").unwrap();
        let confirm = world.confirm();
        let back = confirm.resume_at(&world.config(), "another", later(1)).unwrap();
        assert_eq!((back.header.base, back.text.as_slice(), confirm.record()), (7, b"old".as_slice(), None));
        assert!(!confirm.file().exists() && said(&confirm).contains("an order of root was cut short"));
        assert_eq!(confirm.resume_at(&world.config(), "another", later(1)), None, "once");
    }

    /// Nobody could confirm what is not read any more, and what is read is no business of the record's.
    #[test]
    fn a_daemon_of_another_file_puts_the_first_one_back_and_reads_its_own() {
        let (world, _) = World::new();
        let other = world.dir.path().join("other");
        let confirm = world.confirm();
        assert_eq!(confirm.resume_at(&other, &boot_id(), later(1)), None);
        assert_eq!((world.text().as_str(), confirm.record(), confirm.file().exists()), ("old", None, false));
        assert!(said(&confirm).contains("the daemon was started with another file"));
        // By another name it is the same.
        let (world, _) = World::new();
        std::os::unix::fs::symlink(world.config(), world.dir.path().join("link")).unwrap();
        let confirm = world.confirm();
        assert_eq!(confirm.resume_at(&world.dir.path().join("link"), &boot_id(), later(1)), None);
        assert!(world.text() == "new" && confirm.record().is_some());
    }

    /// One that was started by a relative name may be followed by one in another folder.
    #[test]
    fn a_record_names_its_file_from_the_root() {
        let record = |file: &Path| {
            let order = Order {
                file,
                before: b"old",
                after: b"new",
                by: None,
                base: 0,
                limit: Duration::from_secs(60),
            };
            Record::new(&order, boot_id(), clock::since_boot())
        };
        let here = std::env::current_dir().unwrap().join("mwan3");
        assert_eq!(Path::new(&record(Path::new("mwan3")).unwrap().header.file), here);
        use std::os::unix::ffi::OsStrExt;
        let no_text = Path::new(std::ffi::OsStr::from_bytes(b"/etc/\xff"));
        assert!(record(no_text).unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn a_damaged_record_is_set_aside_and_changes_nothing() {
        for damage in [b"{\"version\":1".as_slice(), b"", b"{}\nold"] {
            let (world, first) = World::new();
            fs::write(first.file(), damage).unwrap();
            let confirm = world.confirm();
            assert_eq!(confirm.resume_at(&world.config(), &boot_id(), later(90)), None);
            assert!(world.text() == "new" && said(&confirm).contains("set aside"));
            assert!(!confirm.file().exists());
        }
    }

    #[test]
    fn what_cannot_be_put_back_is_in_force_and_tried_again() {
        let (world, _) = World::new();
        let confirm = world.confirm();
        fs::remove_file(world.config()).unwrap();
        fs::create_dir(world.config()).unwrap();
        let back = confirm.resume_at(&world.config(), "another", later(1)).unwrap();
        assert_eq!((back.text.as_slice(), confirm.returning()), (b"old".as_slice(), Some(b"old".to_vec())));
        confirm.failed("still");
        let said = said(&confirm);
        assert!(said.contains("in force again, but") && said.matches("tried again").count() == 1, "{said}");
        assert!(confirm.problem().unwrap().contains("could not be put back"));
        assert!(confirm.refusal().unwrap().contains("has first to be put back"));
        assert!(!confirm.is_due() && confirm.waiting().unwrap().left_s <= RETRY.as_secs());
        // When it is due it says why it was taken back, not why it is tried once more.
        confirm.state().waiting.as_mut().unwrap().header.deadline_ms = 0;
        assert!(confirm.is_due() && !confirm.is_due(), "one thread");
        assert!(confirm.overdue().unwrap().contains("started anew"));
        confirm.end(&back, "x", None, None);
        assert_eq!((confirm.returning(), confirm.overdue()), (None, None));
    }

    /// A disk that is read-only until it is mounted anew must not make the next boot carry out what has ended.
    #[test]
    fn a_record_that_cannot_be_removed_is_removed_later() {
        let (world, confirm) = World::new();
        fs::remove_file(confirm.file()).unwrap();
        fs::create_dir(confirm.file()).unwrap();
        confirm.forget();
        assert!(confirm.record().is_none() && confirm.file().exists());
        fs::remove_dir(confirm.file()).unwrap();
        fs::write(confirm.file(), "").unwrap();
        confirm.tidy();
        assert!(!confirm.file().exists());
        // A new order's record is not what is tidied up.
        let (file, limit) = (world.config(), Duration::from_secs(1));
        let order = Order { file: &file, before: b"new", after: b"x", by: None, base: 8, limit };
        confirm.begin(&order).unwrap();
        confirm.tidy();
        assert!(confirm.file().exists());
    }

    #[test]
    fn an_order_whose_record_cannot_be_written_leaves_none() {
        let (world, confirm) = World::new();
        confirm.confirmed("kept".into()).unwrap();
        fs::create_dir_all(confirm.file().join("in it")).unwrap();
        let (file, limit) = (world.config(), Duration::from_secs(1));
        let order = Order { file: &file, before: b"new", after: b"x", by: None, base: 8, limit };
        assert!(confirm.begin(&order).is_err() && confirm.record().is_none());
    }
}
