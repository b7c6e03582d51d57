//! `mwan apply`, `confirm` and `rollback`: another configuration with a way back. It goes the way of every other text (`put`);
//! what is added is the record that brings the one before back (`confirm`), and a look whether what has to be reached is.

use std::cell::Cell;
use std::collections::BTreeSet;
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
            Request::TakeBack => desk.take_back("its owner wants that"),
            Request::Revision { number } => desk.revision(number),
            _ => desk.list_revisions(),
        });
    }

    /// Once a second: whether the time for a confirmation is over.
    pub(super) fn look_at_confirm(&mut self) {
        self.tell_news();
        let Some(why) = self.confirm.due() else { return };
        let desk = match self.desk() {
            Ok(desk) => desk,
            Err(failure) => return self.confirm.failed(&failure.to_string()),
        };
        let work = move || drop(desk.take_back(&why));
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
            let limit = Duration::from_secs(order.confirm_s.unwrap_or(0).into()) + SLACK;
            let order = confirm::Order {
                file: &self.file,
                before: &held.bytes,
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
        let (revision, dry_run) = (order.revision.clone(), order.dry_run);
        let terms = Terms { revision, dry_run, granted, abandoned, author, ready: &ready };
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
        applied.reached = reach_all(targets, REACH_MAX);
        let missed = applied.reached.iter().find(|reached| reached.rtt_us.is_none());
        if let Some(Reached { target, error, .. }) = missed {
            let error = error.as_deref().unwrap_or("no answer");
            let why = format!("{target} is not reached: {error}");
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

    /// The same by who holds the file already.
    fn take_back_held(&self, why: &str) -> Result<String, Failure> {
        let Some(record) = self.confirm.record() else { return Err(self.nothing_waits()) };
        // It was in force: whatever is wrong with it was so before.
        self.confirm.accept(Some(record.before().to_owned()));
        let author = Author { undoes: Some(record.header.base), ..Author::new(Way::TakenBack, None) };
        self.revisions.expect(&record.text, Some(author));
        let copy = record.put_back(self.confirm.state_dir()).map_err(|error| {
            self.confirm.failed(&error.to_string());
            Failure::new(format!("cannot put the configuration before back into {}", self.name), &error)
        })?;
        let trouble = self.reload().err();
        self.confirm.accept(None);
        Ok(self.confirm.end(&record, why, copy.as_deref(), trouble.as_deref()))
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

fn targets(words: &[String]) -> Result<Vec<(String, Target)>, String> {
    if words.len() > MUST_REACH_MAX {
        return Err(format!("at most {MUST_REACH_MAX} targets can be asked for"));
    }
    words.iter().map(|word| Ok((word.clone(), Target::parse(word)?))).collect()
}
