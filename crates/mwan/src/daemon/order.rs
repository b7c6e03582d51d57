//! `mwan apply`, `confirm` and `rollback`: another configuration with a way back. It goes the way of every other text (`put`);
//! what is added is the record that brings the one before back (`confirm`), and a look whether what has to be reached is.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::PoisonError;
use std::time::Duration;

use mwan_api::{
    Applied, ApplyOrder, CONFIRM_MAX_S, Content, EventKind, MUST_REACH_MAX, Reached, Request, Response,
    Revisions, SCHEMA_REVISIONS, Severity, Way,
};
use tracing::{error, info, warn};

use super::answer::error_response;
use super::confirm;
use super::held::Held;
use super::put::{Change, Desk, Terms, boxed, is_toml};
use super::reach::{REACH_MAX, Target, reach_all};
use super::reload::Reply;
use super::revisions::{Author, changed_sets, revision};
use super::{Daemon, events};
use crate::cli::Failure;

/// Until the new text is in force, the configuration before is given this much longer: a change of the mask waits for 10 s, the
/// look at what has to be reached as long.
const SLACK: Duration = Duration::from_secs(60);

impl Daemon {
    /// `apply`, and what belongs to it. `granted`: as in [`Terms`].
    pub(super) fn with_a_way_back(&self, request: Request, granted: Option<BTreeSet<String>>, reply: Reply) {
        self.at_desk(reply, move |desk, reply| match request {
            Request::Apply(order) => {
                let granted = granted.as_ref();
                desk.carry_out(&order, granted, &|| reply.is_closed()).unwrap_or_else(|response| *response)
            }
            Request::Confirm => desk.confirm(),
            Request::TakeBack => desk.take_back("it was asked for"),
            Request::Revision { number } => desk.revision(number),
            _ => desk.list_revisions(),
        });
    }

    /// Once a second: whether the time for a confirmation is over.
    pub(super) fn look_at_confirm(&mut self) {
        self.tell_news();
        self.confirm.tidy();
        if !self.confirm.is_due() {
            return;
        }
        let desk = match self.desk() {
            Ok(desk) => desk,
            Err(failure) => return self.confirm.failed(&failure.to_string()),
        };
        let work = move || desk.take_back_if_overdue();
        if let Err(error) = std::thread::Builder::new().name("put".to_owned()).spawn(work) {
            self.confirm.failed(&error.to_string());
        }
    }

    /// Tells of what threads have done with configurations.
    pub(super) fn tell_news(&mut self) {
        let news = self.confirm.news();
        if !news.is_empty() && self.confirm.problem().is_none() {
            // A document of a cloud's may have waited for it.
            self.try_cloud_again();
        }
        for (severity, text) in news {
            match severity {
                Severity::Error => error!("{text}"),
                Severity::Warning => warn!("{text}"),
                Severity::Debug | Severity::Info => info!("{text}"),
            }
            self.events.note(events::plain(EventKind::Config, severity, text));
        }
    }
}

/// Another content, whose it is, and what is to be said of it.
struct Chosen {
    text: String,
    author: Author,
    notes: Vec<String>,
}

impl Desk {
    /// `Err`: nothing was written.
    fn carry_out(
        &self,
        order: &ApplyOrder,
        granted: Option<&BTreeSet<String>>,
        abandoned: &dyn Fn() -> bool,
    ) -> Result<Response, Box<Response>> {
        let targets = targets(&order.must_reach).map_err(|why| boxed(Failure::says(why)))?;
        if order.confirm_s.is_some_and(|s| s == 0 || s > CONFIRM_MAX_S) {
            let message = format!("a confirmation has 1 to {CONFIRM_MAX_S} seconds");
            return Err(boxed(Failure::says(message)));
        }
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Chosen { text, mut author, notes } = self.choose(order).map_err(boxed)?;
        // Whose text is guarded has put it there by HTTP.
        if granted.is_some() && author.way == Way::Apply {
            author.way = Way::Put;
        }
        let guarded = order.confirm_s.is_some() || !targets.is_empty();
        let begun = Cell::new(false);
        let ready = |held: &Held, text: &str| {
            if !guarded {
                return Ok(());
            }
            let before = self.in_force_text(held)?;
            let limit = Duration::from_secs(order.confirm_s.unwrap_or(0).into()) + SLACK;
            let order = confirm::Order {
                file: &self.file,
                before: &before,
                after: text.as_bytes(),
                by: order.by.clone(),
                base: self.revisions.newest(),
                limit,
            };
            let written = self.confirm.begin(&order);
            begun.set(written.is_ok());
            written
                .map_err(|e| Failure::new("cannot keep the configuration before, so nothing is written", &e))
        };
        let called = match &order.content {
            Content::Text { file, .. } if is_named(file) => Some(file.as_str()),
            _ => None,
        };
        let terms = Terms {
            revision: order.revision.clone(),
            dry_run: order.dry_run,
            granted,
            abandoned,
            author,
            called,
            ready: &ready,
        };
        let put = match self.try_put(Change::Text(text), &terms) {
            Ok(Response::Put(put)) => put,
            other => {
                if begun.get() {
                    self.confirm.forget();
                }
                return other;
            }
        };
        let file = self.name.clone();
        let mut applied =
            Applied { file, put, confirm_s: None, reached: Vec::new(), taken_back: None, notes };
        if begun.get() {
            self.see(order, &targets, &mut applied);
        }
        Ok(Response::Applied(applied))
    }

    /// It is in force: whether it may stay, and for how long.
    fn see(&self, order: &ApplyOrder, targets: &[(String, Target)], applied: &mut Applied) {
        let missed = match &applied.put.waiting {
            // What the kernel still has was reachable before.
            Some(trouble) if !targets.is_empty() => Some(format!("the kernel does not have it: {trouble}")),
            _ => {
                applied.reached = reach_all(targets, REACH_MAX);
                let missed = applied.reached.iter().find(|reached| reached.rtt_us.is_none());
                missed.map(|Reached { target, error, .. }| {
                    format!("{target} is not reached: {}", error.as_deref().unwrap_or("no answer"))
                })
            }
        };
        if let Some(why) = missed {
            applied.taken_back =
                Some(self.take_back_held(&why).unwrap_or_else(|trouble| trouble.to_string()));
            return;
        }
        let written = match order.confirm_s {
            Some(seconds) => {
                applied.confirm_s = Some(seconds);
                self.confirm.count_from_now(Duration::from_secs(seconds.into()))
            }
            None => {
                let names: Vec<&str> = targets.iter().map(|(name, _)| name.as_str()).collect();
                self.confirm.confirmed(format!("the configuration stays: {} reached", names.join(", ")))
            }
        };
        if let Err(error) = written {
            applied.notes.push(format!("the state directory cannot be written: {error}"));
        }
    }

    /// The file may say something else: what was refused, or what nobody has read yet.
    fn in_force_text(&self, held: &Held) -> Result<Vec<u8>, Failure> {
        let there = revision(&held.bytes);
        match self.revisions.in_force().filter(|in_force| *in_force != there) {
            None => Ok(held.bytes.clone()),
            Some(in_force) => self.revisions.of(in_force).map_err(|why| {
                Failure::says(format!(
                    "what is in force is not what {} says, and cannot be kept: {why}",
                    self.name
                ))
                .hint("have the file say it, or apply without a way back")
            }),
        }
    }

    fn choose(&self, order: &ApplyOrder) -> Result<Chosen, Failure> {
        match &order.content {
            Content::Text { file, text } => {
                let other = !file.is_empty() && file != "-" && is_toml(file) != is_toml(&self.name);
                if other {
                    return Err(self.other_format(file));
                }
                let author = Author::new(Way::Apply, order.by.clone());
                Ok(Chosen { text: text.clone(), author, notes: Vec::new() })
            }
            Content::Revision { number } => {
                let present = revision(&self.held()?.bytes);
                let (header, bytes) = self
                    .revisions
                    .get(*number, present)
                    .map_err(|why| Failure::says(why).hint("`mwan rollback --list` shows them"))?;
                if is_toml(&header.file) != is_toml(&self.name) {
                    return Err(self.other_format(&header.file));
                }
                let mut notes = vec![format!("configuration {}", header.number)];
                notes.extend(changed_sets(&header));
                let author = Author::new(Way::Rollback, order.by.clone());
                Ok(Chosen { text: self.utf8(bytes)?, author, notes })
            }
        }
    }

    fn other_format(&self, file: &str) -> Failure {
        let form = |name: &str| if is_toml(name) { "mwan.toml" } else { "UCI" };
        Failure::says(format!(
            "{file} is {}, and the daemon's file {} is {}",
            form(file),
            self.name,
            form(&self.name)
        ))
        .hint("`mwan migrate` makes a mwan.toml of a UCI file; start the daemon with it")
    }

    /// `confirm`.
    pub(super) fn confirm(&self) -> Response {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(waiting) = self.confirm.waiting() else { return error_response(self.nothing_waits()) };
        if self.confirm.returning().is_some() {
            return error_response(Failure::says(format!(
                "it is taken back already, only {} could not be written yet",
                self.name
            )));
        }
        let whose = waiting.by.unwrap_or_else(|| "somebody".to_owned());
        match self.confirm.confirmed(format!("the configuration of {whose} is confirmed")) {
            Ok(()) => Response::Done,
            Err(error) => error_response(Failure::new("it cannot be confirmed", &error)),
        }
    }

    fn nothing_waits(&self) -> Failure {
        match self.confirm.last() {
            Some(last) => Failure::says(format!("nothing waits to be confirmed: {last}"))
                .hint("`mwan rollback --list` shows the configurations there were"),
            None => Failure::says("nothing waits to be confirmed")
                .hint("`mwan apply FILE --confirm SECONDS` makes one wait"),
        }
    }

    /// The configuration before the one that waits comes back.
    pub(super) fn take_back(&self, why: &str) -> Response {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        match self.take_back_held(why) {
            Ok(_) => Response::Done,
            Err(failure) => error_response(failure),
        }
    }

    /// Its time was over when this was asked for; whoever was here before may have confirmed it, or given another order.
    fn take_back_if_overdue(&self) {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(why) = self.confirm.overdue() {
            // What is in the way is told by `Confirm::failed`.
            let _ = self.take_back_held(&why);
        }
        self.confirm.seen_to();
    }

    /// The same by who holds the file already. What is read is the text before from the first moment on: a file that cannot be
    /// written, or is written by others, keeps nobody waiting for it.
    ///
    /// # Errors
    /// Nothing waits, or the text is not in the file or not in force.
    fn take_back_held(&self, why: &str) -> Result<String, Failure> {
        let Some(record) = self.confirm.record() else { return Err(self.nothing_waits()) };
        let author = Author { undoes: Some(record.header.base), ..Author::new(Way::TakenBack, None) };
        self.revisions.expect(&record.text, Some(author));
        let first = self.confirm.returns(&record, why);
        let copy = record.put_back(self.confirm.state_dir());
        let trouble = if first { self.reload().err() } else { None };
        match copy {
            Ok(copy) => {
                let text = self.confirm.end(&record, why, copy.as_deref(), trouble.as_deref());
                if trouble.is_some() { Err(Failure::says(text)) } else { Ok(text) }
            }
            Err(error) => {
                self.confirm.failed(&error.to_string());
                let but = "the configuration before is in force again, but cannot be put into";
                Err(Failure::new(format!("{but} {}, which is tried again", self.name), &error))
            }
        }
    }

    /// `revisions`.
    pub(super) fn list_revisions(&self) -> Response {
        let (revisions, damaged) = self.revisions.list();
        let waiting = self.confirm.waiting();
        Response::Revisions(Revisions { schema: SCHEMA_REVISIONS.to_owned(), revisions, damaged, waiting })
    }

    /// `revision`.
    pub(super) fn revision(&self, number: u64) -> Response {
        let failed = |why| error_response(Failure::says(why).hint("`mwan rollback --list` shows them"));
        self.revisions.text(number).map_or_else(failed, Response::Revision)
    }
}

/// Whether somebody's text has a file of its own, in which mistakes have lines.
fn is_named(file: &str) -> bool {
    !file.is_empty() && file != "-" && crate::ipfire::root_of(Path::new(file)).is_none()
}

fn targets(words: &[String]) -> Result<Vec<(String, Target)>, String> {
    if words.len() > MUST_REACH_MAX {
        return Err(format!("at most {MUST_REACH_MAX} targets can be asked for"));
    }
    words.iter().map(|word| Ok((word.clone(), Target::parse(word)?))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, channel};

    use super::*;
    use crate::daemon::config::Source;
    use crate::daemon::put::tests::{CONFIG, desk_with};

    /// A desk, its file, and what the loop is asked to do. `CONFIG` is in force; the kernel has all but what `trouble` says.
    fn desk(dir: &Path, trouble: Option<&'static str>) -> (Desk, PathBuf, Receiver<Request>) {
        let (told, asked) = channel();
        let (desk, file) = desk_with(dir, move |request| {
            let mut status: mwan_api::Status =
                serde_json::from_str(include_str!("../top/status.json")).unwrap();
            status.daemon.apply_error = trouble.map(str::to_owned);
            let wants_status = matches!(request, Request::Status);
            let _ = told.send(request);
            if wants_status { Response::Status(Box::new(status)) } else { Response::Done }
        });
        desk.revisions.add("mwan3", &Source::File(CONFIG.into()), &[], Way::Start);
        (desk, file, asked)
    }

    fn other() -> String {
        CONFIG.replace("2.1", "2.2")
    }

    fn order(text: &str, confirm_s: Option<u32>, must_reach: &[&str]) -> ApplyOrder {
        ApplyOrder {
            revision: None,
            content: Content::Text { file: String::new(), text: text.to_owned() },
            dry_run: false,
            confirm_s,
            must_reach: must_reach.iter().map(ToString::to_string).collect(),
            by: None,
        }
    }

    fn carry_out(desk: &Desk, order: &ApplyOrder) -> Applied {
        match desk.carry_out(order, None, &|| false) {
            Ok(Response::Applied(applied)) => applied,
            other => panic!("{other:?}"),
        }
    }

    fn text(file: &Path) -> String {
        std::fs::read_to_string(file).unwrap()
    }

    /// A mistake that is in the file was never in force: it is no configuration to come back to.
    #[test]
    fn what_comes_back_is_what_was_in_force_and_not_what_was_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file, _asked) = desk(dir.path(), None);
        std::fs::write(&file, "config rule 'x'\n").unwrap();
        let applied = carry_out(&desk, &order(&other(), Some(600), &[]));
        assert_eq!((text(&file), applied.confirm_s), (other(), Some(600)));
        assert!(matches!(desk.take_back("it is a test"), Response::Done));
        assert_eq!(text(&file), CONFIG);
        // Where that is not kept any more, there is no way back to be had.
        std::fs::write(&file, "config rule 'x'\n").unwrap();
        desk.revisions.stays(b"long gone");
        let refused = *desk.carry_out(&order(&other(), Some(600), &[]), None, &|| false).unwrap_err();
        assert!(
            matches!(&refused, Response::Error { message, .. } if message.contains("cannot be kept")),
            "{refused:?}"
        );
        assert_eq!(text(&file), "config rule 'x'\n");
    }

    /// What the file says already may still not be in force: a file of a set is there by now, say.
    #[test]
    fn what_the_file_says_already_is_read_if_it_is_not_in_force() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file, asked) = desk(dir.path(), None);
        assert!(!carry_out(&desk, &order(CONFIG, Some(600), &[])).put.changed);
        assert!(asked.try_recv().is_err() && desk.confirm.refusal().is_none());
        std::fs::write(&file, other()).unwrap();
        let applied = carry_out(&desk, &order(&other(), Some(600), &[]));
        assert!(applied.put.changed && matches!(asked.try_recv(), Ok(Request::Reload)));
        assert!(matches!(desk.take_back("it is a test"), Response::Done));
        assert_eq!(text(&file), CONFIG);
    }

    /// Whose mistakes they are is the file that somebody has just written.
    #[test]
    fn mistakes_are_told_of_the_file_they_are_in() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, _file, _asked) = desk(dir.path(), None);
        for (file, told) in [("/tmp/next", "/tmp/next:5"), ("-", "mwan3:5"), ("", "mwan3:5")] {
            let mistake =
                format!("{CONFIG}config rule 'r'\n\toption proto 'tpc'\n\toption use_policy 'default'\n");
            let mut order = order(&mistake, None, &[]);
            order.content = Content::Text { file: file.to_owned(), text: mistake };
            let refused = *desk.carry_out(&order, None, &|| false).unwrap_err();
            let Response::Refused { message, .. } = refused else { panic!("{refused:?}") };
            assert!(message.contains(told), "{message}");
        }
    }

    /// Whatever answers then was reached by what the kernel had before.
    #[test]
    fn what_the_kernel_does_not_have_is_not_what_reaches_anything() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file, _asked) = desk(dir.path(), Some("no room"));
        let applied = carry_out(&desk, &order(&other(), None, &["127.0.0.1"]));
        let why = applied.taken_back.unwrap();
        assert!(why.contains("the kernel does not have it: no room") && applied.reached.is_empty(), "{why}");
        assert_eq!((text(&file), desk.confirm.refusal()), (CONFIG.to_owned(), None));
        // Who asks for no proof is but told.
        let applied = carry_out(&desk, &order(&other(), Some(600), &[]));
        assert_eq!((applied.put.waiting.as_deref(), applied.taken_back), (Some("no room"), None));
    }

    /// The thread waits its turn; meanwhile it may be confirmed, or be another order.
    #[test]
    fn a_thread_that_comes_late_takes_nothing_back() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file, _asked) = desk(dir.path(), None);
        carry_out(&desk, &order(&other(), Some(600), &[]));
        desk.take_back_if_overdue();
        assert!(text(&file) == other() && desk.confirm.refusal().is_some());
        assert!(matches!(desk.confirm(), Response::Done));
        desk.take_back_if_overdue();
        assert_eq!(text(&file), other());
    }

    /// It is in force from the first moment on, and cannot be confirmed any more.
    #[test]
    fn what_cannot_be_put_back_is_read_from_the_record() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file, asked) = desk(dir.path(), None);
        carry_out(&desk, &order(&other(), Some(600), &[]));
        std::fs::remove_file(&file).unwrap();
        std::fs::create_dir(&file).unwrap();
        asked.try_iter().for_each(drop);
        let failed = desk.take_back("it is a test");
        let says = |response: &Response, word: &str| {
            assert!(
                matches!(response, Response::Error { message, .. } if message.contains(word)),
                "{response:?}"
            );
        };
        says(&failed, "in force again, but cannot be put into");
        assert!(matches!(asked.try_recv(), Ok(Request::Reload)));
        assert_eq!(desk.confirm.returning().unwrap(), CONFIG.as_bytes());
        says(&desk.confirm(), "it is taken back already");
        asked.try_iter().for_each(drop);
        says(&desk.take_back("it is a test"), "cannot be put into");
        assert!(asked.try_recv().is_err(), "it is in force already");
        std::fs::remove_dir(&file).unwrap();
        assert!(matches!(desk.take_back("it is a test"), Response::Done));
        assert_eq!((text(&file), desk.confirm.returning()), (CONFIG.to_owned(), None));
    }
}
