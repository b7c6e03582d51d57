//! The configuration file over the control socket: what is in it, and another text for it.
//!
//! A text is judged as at a reload before anything is written, is written whole (`held`), and read again by the loop like
//! any other change. All of this is done by threads, one writer at a time: the disk may be slow, the loop goes on.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use mwan_api::{CloudDocument, ConfigPut, ConfigText, Request, Response, Way};
use mwan_config::cloud::{self, Document, Site};
use mwan_config::uci::FILE_BYTES_MAX;
use mwan_config::{Diagnostic, Severity};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::Daemon;
use super::answer::{error_response, in_thread};
use super::config::{Watch, parse_config};
use super::confirm::Confirm;
use super::control::Asked;
use super::held::Held;
use super::reload::Reply;
use super::revisions::{Author, Revisions, revision};
use super::status::diagnostics;
use crate::cli::Failure;
use crate::regular::{self, Links};

/// Largest network configuration that is read.
const NETWORK_MAX: u64 = 1 << 20;

/// What a thread needs to work on the configuration file.
#[derive(Clone)]
pub(super) struct Desk {
    pub(super) file: PathBuf,
    pub(super) name: String,
    /// What is wrong with the configuration in force.
    in_force: Vec<Diagnostic>,
    /// The revision that was in force when this was asked for: there may be another by the time its turn comes.
    asked_at: Option<String>,
    ask: mpsc::Sender<Asked>,
    /// Held by the one who writes.
    pub(super) writing: Arc<Mutex<()>>,
    /// What may have to be put back.
    pub(super) confirm: Confirm,
    pub(super) revisions: Revisions,
    /// Where there is netifd: its configuration.
    network: Option<PathBuf>,
}

/// Another content for the file.
pub(super) enum Change {
    /// This.
    Text(String),
    /// What a cloud's document makes of the one that is there.
    Cloud { name: String, bytes: Vec<u8>, partial: bool },
}

/// How it is to be written.
pub(super) struct Terms<'a> {
    /// The revision it was made from, if that matters.
    pub(super) revision: Option<String>,
    pub(super) dry_run: bool,
    /// What of root's files and programs is in force already, where it is not root who asks: nothing else of it may be in the new
    /// content (`Config::trusted`).
    pub(super) granted: Option<&'a BTreeSet<String>>,
    /// Whether nobody waits for the answer any more: then nothing is written.
    pub(super) abandoned: &'a dyn Fn() -> bool,
    pub(super) author: Author,
    /// The file that mistakes are in, for people, if it is not ours.
    pub(super) called: Option<&'a str>,
    /// Asked when it has been judged and is about to be written.
    pub(super) ready: &'a dyn Fn(&Held, &str) -> Result<(), Failure>,
}

/// Nothing more is to be done before a text is written.
pub(super) fn at_once(_: &Held, _: &str) -> Result<(), Failure> {
    Ok(())
}

impl Daemon {
    /// What a thread needs to work on the configuration file.
    ///
    /// # Errors
    /// The configuration is no text that can be replaced.
    pub(super) fn desk(&self) -> Result<Desk, Failure> {
        let options = &self.options;
        let name = options.config.to_string_lossy().into_owned();
        if crate::ipfire::root_of(&options.config).is_some() {
            return Err(
                Failure::says("IPFire's configuration is many files, not a text").hint("use its web page")
            );
        }
        if name == "-" {
            return Err(Failure::says("the configuration came from standard input: there is no file of it")
                .hint("start the daemon with --config FILE"));
        }
        Ok(Desk {
            file: options.config.clone(),
            name,
            in_force: self.diagnostics.clone(),
            asked_at: self.revisions.in_force(),
            ask: self.ask.clone(),
            writing: self.writing.clone(),
            confirm: self.confirm.clone(),
            revisions: self.revisions.clone(),
            network: options.platform.has_netifd().then(|| options.bus.network_config.clone()),
        })
    }

    /// Answers by what a thread finds.
    pub(super) fn at_desk(
        &self,
        reply: Reply,
        work: impl FnOnce(&Desk, &Reply) -> Response + Send + 'static,
    ) {
        let desk = match self.desk() {
            Ok(desk) => desk,
            Err(failure) => return drop(reply.send(error_response(failure))),
        };
        in_thread("put", "works on the configuration file", reply, move |reply| Ok(work(&desk, reply)));
    }

    /// A request about a text of somebody who is not root.
    pub(super) fn guarded(&self, request: Request, reply: Reply) {
        let granted = self.core.config().trusted();
        let (change, revision, dry_run, by) = match request {
            Request::Validate { text, .. } => {
                return self.at_desk(reply, move |desk, _| match desk.forbids(&text, &granted) {
                    Some(why) => Response::Checked { diagnostics: Vec::new(), refusal: Some(why) },
                    None => desk.validate("", &text),
                });
            }
            Request::Plan { text, .. } => {
                return self.at_desk(reply, move |desk, _| match desk.forbids(&text, &granted) {
                    Some(why) => error_response(Failure::says(why)),
                    None => {
                        let planned = desk.ask(Request::Plan { file: desk.name.clone(), text });
                        planned.unwrap_or_else(|| error_response(Failure::says("the daemon is ending")))
                    }
                });
            }
            Request::PutConfig { text, revision, dry_run, by } => {
                (Change::Text(text), Some(revision), dry_run, by)
            }
            Request::PutCloud { document, file, revision, dry_run, partial, by } => {
                (Change::cloud(document, file, partial), revision, dry_run, by)
            }
            request @ Request::Apply(_) => return self.with_a_way_back(request, Some(granted), reply),
            _ => return drop(reply.send(error_response(Failure::says("that request needs no guard")))),
        };
        self.put(change, revision, dry_run, Some(granted), by, reply);
    }

    /// `put_config` and `put_cloud`. `granted`: as in [`Terms`].
    pub(super) fn put(
        &self,
        change: Change,
        revision: Option<String>,
        dry_run: bool,
        granted: Option<BTreeSet<String>>,
        by: Option<String>,
        reply: Reply,
    ) {
        let way = if matches!(change, Change::Cloud { .. }) { Way::Cloud } else { Way::Put };
        let author = Author::new(way, by);
        self.at_desk(reply, move |desk, reply| {
            let (granted, abandoned) = (granted.as_ref(), || reply.is_closed());
            desk.put(
                change,
                &Terms {
                    revision,
                    dry_run,
                    granted,
                    abandoned: &abandoned,
                    author,
                    called: None,
                    ready: &at_once,
                },
            )
        });
    }
}

impl Change {
    /// A document somebody calls `file`.
    pub(super) fn cloud(document: String, file: String, partial: bool) -> Self {
        let name = if file.is_empty() { "document".to_owned() } else { file };
        Change::Cloud { name, bytes: document.into_bytes(), partial }
    }
}

impl Desk {
    /// `config`.
    pub(super) fn text(&self) -> Response {
        let text = || {
            let held = self.held()?;
            let revision = revision(&held.bytes);
            let format = if is_toml(&self.name) { "toml" } else { "uci" };
            let text = self.utf8(held.bytes)?;
            Ok(ConfigText { file: self.name.clone(), format: format.to_owned(), text, revision })
        };
        text().map_or_else(error_response, Response::Config)
    }

    /// `cloud`.
    pub(super) fn cloud(&self) -> Response {
        let document = || {
            self.uci()?;
            let held = self.held()?;
            let revision = revision(&held.bytes);
            let document = cloud::export(&self.name, &self.utf8(held.bytes)?);
            Ok(CloudDocument { file: self.name.clone(), revision, document })
        };
        document().map_or_else(error_response, Response::Cloud)
    }

    /// `validate`.
    pub(super) fn validate(&self, file: &str, text: &str) -> Response {
        let name = if file.is_empty() { &self.name } else { file };
        if crate::ipfire::root_of(Path::new(name)).is_some() {
            return error_response(Failure::says("IPFire's configuration is many files, not a text"));
        }
        let mut loaded = parse_config(name, text.as_bytes());
        let refusal = loaded.refusal(&self.in_force);
        loaded.add(mwan_config::lint::lint(&loaded));
        Response::Checked { diagnostics: diagnostics(&loaded.diagnostics), refusal }
    }

    /// Why somebody who is not root may not have this text: it would have root use files or programs that are neither in force nor in
    /// the file, which is root's.
    fn forbids(&self, text: &str, granted: &BTreeSet<String>) -> Option<String> {
        let trusted = |bytes: &[u8]| mwan_config::parse(&self.name, bytes).config.trusted();
        let wanted = trusted(text.as_bytes());
        // With what has come into force while a turn was waited for, root may have taken something back.
        let stale = self.revisions.in_force() != self.asked_at;
        let mut new = wanted.iter().filter(|what| stale || !granted.contains(*what)).peekable();
        new.peek()?;
        let there = self.held().map(|held| trusted(&held.bytes)).unwrap_or_default();
        let new = new.find(|new| !there.contains(*new))?;
        let secrets = mwan_config::SECRETS;
        Some(format!(
            "only root may name files and programs that root uses: {new}; write it into {} on the machine itself (passwords: a file in \
             {secrets} may be named)",
            self.name
        ))
    }

    /// Writes another content and waits until it is in force.
    pub(super) fn put(&self, change: Change, terms: &Terms<'_>) -> Response {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        self.try_put(change, terms).unwrap_or_else(|response| *response)
    }

    /// The document in `file`, if it is another than the one in force. `None`: there is nothing to be done.
    pub(super) fn put_document(&self, file: &Path) -> Option<Result<(), Failed>> {
        let _one = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let name = file.to_string_lossy().into_owned();
        let bytes = match read_document(file) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                return Some(Err(Failed { why: format!("it cannot be read: {error}"), again: true }));
            }
        };
        if let (Some(document), _) = cloud::read(&name, &bytes)
            && let Ok(held) = self.held()
            && document.is_in(&String::from_utf8_lossy(&held.bytes))
        {
            return None;
        }
        let author = Author::new(Way::Cloud, None);
        let abandoned = || false;
        let terms = Terms {
            revision: None,
            dry_run: false,
            granted: None,
            abandoned: &abandoned,
            author,
            called: None,
            ready: &at_once,
        };
        let put = || {
            let change = Change::Cloud { name: name.clone(), bytes: bytes.clone(), partial: false };
            self.try_put(change, &terms)
        };
        // Somebody else's editor may come in between; more than once it does not.
        let answer = match put() {
            Err(response) if matches!(*response, Response::Conflict { .. }) => put(),
            answer => answer,
        };
        let (response, again) = match answer {
            Ok(response) => (response, false),
            Err(response) => (*response, true),
        };
        Some(match response {
            Response::Refused { message, .. } | Response::Error { message, .. } => {
                Err(Failed { why: message, again })
            }
            Response::Conflict { .. } => {
                Err(Failed { why: "the configuration was changed meanwhile".to_owned(), again })
            }
            _ => Ok(()),
        })
    }

    /// `Err`: nothing was written.
    pub(super) fn try_put(&self, change: Change, terms: &Terms<'_>) -> Result<Response, Box<Response>> {
        let held = self.held().map_err(boxed)?;
        let before = revision(&held.bytes);
        if terms.revision.as_ref().is_some_and(|wanted| *wanted != before) {
            return Err(Box::new(Response::Conflict { revision: before }));
        }
        if let Some(message) = self.confirm.refusal().filter(|_| !terms.dry_run) {
            return Err(Box::new(Response::Refused { message, diagnostics: Vec::new() }));
        }
        let (text, mut found) = self.new_text(change, &held.bytes)?;
        if let Some(message) = terms.granted.and_then(|granted| self.forbids(&text, granted)) {
            return Err(Box::new(Response::Refused { message, diagnostics: Vec::new() }));
        }
        let loaded = parse_config(terms.called.unwrap_or(&self.name), text.as_bytes());
        let refusal = loaded.refusal(&self.in_force);
        found.extend(loaded.diagnostics);
        if let Some(why) = refusal {
            return Err(refused(why, &found));
        }
        let (after, written) = (revision(text.as_bytes()), text.as_bytes() != held.bytes);
        let in_force = self.revisions.in_force().is_none_or(|in_force| in_force == after);
        let mut put = ConfigPut {
            revision: after,
            changed: written || !in_force,
            diagnostics: diagnostics(&found),
            text: None,
            waiting: None,
        };
        if terms.dry_run {
            put.text = Some(text);
            return Ok(Response::Put(put));
        }
        if put.changed {
            (terms.ready)(&held, &text).map_err(boxed)?;
            self.revisions.expect(text.as_bytes(), Some(terms.author.clone()));
            if written {
                self.write(&held, &text, terms).inspect_err(|_| self.revisions.expect(&[], None))?;
            }
            match self.reload() {
                Ok(waiting) => {
                    put.waiting = waiting;
                    // Who is told that it is in force finds it in the list, whatever becomes of us: this is answered behind it.
                    self.revisions.newest();
                }
                Err(why) => {
                    self.revisions.expect(&[], None);
                    let back = if written { self.put_back(&held, &text) } else { Ok(()) };
                    let but = |e| format!("{why}; but {} cannot be put back as it was: {e}", self.name);
                    return Ok(*refused(back.map_or_else(but, |()| why.clone()), &found));
                }
            }
        }
        Ok(Response::Put(put))
    }

    /// The new text, and what is to be said of it beside what is wrong with it.
    fn new_text(&self, change: Change, before: &[u8]) -> Result<(String, Vec<Diagnostic>), Box<Response>> {
        let (name, bytes, partial) = match change {
            Change::Text(text) => return Ok((text, Vec::new())),
            Change::Cloud { name, bytes, partial } => (name, bytes, partial),
        };
        self.uci().map_err(boxed)?;
        let before = self.utf8(before.to_vec()).map_err(boxed)?;
        let (document, mut found) = cloud::read(&name, &bytes);
        let first = error_of(&found);
        let usable = document.filter(Document::is_usable);
        match (usable, first) {
            (Some(document), first) if partial || first.is_none() => {
                let applied = cloud::apply(&document, &self.name, &before, &self.site());
                found.extend(applied.diagnostics);
                match error_of(&found).filter(|_| !partial) {
                    Some(message) => Err(refused(message, &found)),
                    None => Ok((applied.text, found)),
                }
            }
            (_, first) => {
                Err(refused(first.unwrap_or_else(|| "it is no usable document".to_owned()), &found))
            }
        }
    }

    fn write(&self, held: &Held, text: &str, terms: &Terms<'_>) -> Result<(), Box<Response>> {
        if (terms.abandoned)() {
            return Err(boxed(Failure::says("nobody waits for it any more")));
        }
        let conflict = Cell::new(None);
        let still = || {
            let now = held.again(FILE_BYTES_MAX as u64)?;
            if now == held.bytes {
                return Ok(());
            }
            conflict.set(Some(revision(&now)));
            Err(io::Error::other("it was changed meanwhile"))
        };
        held.replace(text.as_bytes(), still).map_err(|error| match conflict.take() {
            Some(revision) => Box::new(Response::Conflict { revision }),
            None => {
                let failure = Failure::new(format!("cannot write {}", self.name), &error);
                boxed(match hint(&error) {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                })
            }
        })
    }

    /// Has the loop read the file. `Ok`: it is in force; but maybe the kernel has not yet what it wants.
    pub(super) fn reload(&self) -> Result<Option<String>, String> {
        match self.ask(Request::Reload) {
            Some(Response::Error { message, .. }) => Err(message),
            Some(_) => Ok(match self.ask(Request::Status) {
                Some(Response::Status(status)) => status.daemon.apply_error,
                _ => None,
            }),
            // What was written is read by the next one.
            None => Ok(Some("the daemon is ending".to_owned())),
        }
    }

    fn ask(&self, request: Request) -> Option<Response> {
        let (reply, replied) = oneshot::channel();
        self.ask.blocking_send((request, reply)).ok()?;
        replied.blocking_recv().ok()
    }

    /// What was good a moment ago is not any more: a file of a set is gone, say. Nothing is applied halfway.
    fn put_back(&self, held: &Held, text: &str) -> io::Result<()> {
        let ours = || match held.again(FILE_BYTES_MAX as u64)? == text.as_bytes() {
            true => Ok(()),
            false => Err(io::Error::other("it was changed meanwhile")),
        };
        held.replace(&held.bytes, ours)
    }

    pub(super) fn held(&self) -> Result<Held, Failure> {
        Held::open(&self.file, FILE_BYTES_MAX as u64).map_err(|error| {
            let failure = Failure::new(format!("cannot open the configuration {}", self.name), &error);
            match error.kind() {
                io::ErrorKind::NotFound => failure.hint("write one there: the daemon reads it by itself"),
                _ => failure,
            }
        })
    }

    pub(super) fn utf8(&self, bytes: Vec<u8>) -> Result<String, Failure> {
        String::from_utf8(bytes).map_err(|e| {
            let error = e.utf8_error();
            Failure::new(format!("the configuration {} is not UTF-8 text", self.name), &error)
                .hint("convert it, for example with iconv")
        })
    }

    fn uci(&self) -> Result<(), Failure> {
        if is_toml(&self.name) {
            let message = format!("{} is mwan.toml; a cloud's document is for a UCI file", self.name);
            return Err(Failure::says(message).hint("use a configuration in the form of /etc/config/mwan3"));
        }
        Ok(())
    }

    fn site(&self) -> Site {
        let interfaces = |path: &PathBuf| -> Option<BTreeSet<String>> {
            let held = Held::open(path, NETWORK_MAX).ok()?;
            let (sections, _) = mwan_config::uci::parse("", &held.bytes);
            let names: BTreeSet<String> =
                sections.into_iter().filter(|s| s.kind == "interface").filter_map(|s| s.name).collect();
            // One without any is just being written.
            Some(names).filter(|names| !names.is_empty())
        };
        Site { interfaces: self.network.as_ref().and_then(interfaces) }
    }
}

/// What to do about a file that cannot be replaced.
fn hint(error: &io::Error) -> Option<&'static str> {
    match error.raw_os_error()? {
        libc::EBUSY => Some("it is mounted by itself: mount the folder it is in instead"),
        libc::EROFS => Some("its file system is mounted read-only"),
        libc::EPERM => Some("it or its folder may be immutable: see lsattr(1)"),
        libc::ENOSPC => Some("make room on its file system"),
        _ => None,
    }
}

pub(super) fn boxed(failure: Failure) -> Box<Response> {
    Box::new(error_response(failure))
}

fn refused(message: String, found: &[Diagnostic]) -> Box<Response> {
    Box::new(Response::Refused { message, diagnostics: diagnostics(found) })
}

/// The first one.
fn error_of(found: &[Diagnostic]) -> Option<String> {
    found.iter().find(|d| d.severity == Severity::Error).map(ToString::to_string)
}

pub(super) fn is_toml(name: &str) -> bool {
    name.to_ascii_lowercase().ends_with(".toml")
}

fn read_document(file: &Path) -> io::Result<Vec<u8>> {
    let (opened, _) = regular::open(file, Links::Follow)?;
    let mut bytes = Vec::new();
    // One more than is taken: it is told that it is too long.
    opened.take(cloud::DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A cloud's document that is applied whenever it changes.
#[derive(Debug)]
pub(super) struct CloudFile {
    path: Option<PathBuf>,
    /// Why it is not in force, if it is not.
    problem: Option<String>,
    /// To be tried again when another configuration is in force.
    again: bool,
    sender: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
}

/// Which document, and what became of it. `None`: nothing was to be done.
pub(super) type Outcome = (PathBuf, Option<Result<(), Failed>>);

/// A document that is not in force.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Failed {
    why: String,
    /// Nothing was written; with another configuration it may be another matter.
    again: bool,
}

impl CloudFile {
    pub(super) fn new() -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        CloudFile { path: None, problem: None, again: false, sender, outcomes }
    }

    pub(super) async fn next(&mut self) -> Outcome {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            // Never: a sender is ours.
            None => std::future::pending().await,
        }
    }

    pub(super) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

impl Daemon {
    /// Looks after the document that the configuration in force names.
    pub(super) fn follow_cloud(&mut self) {
        let path = self.core.config().globals.cloud_document.as_ref().map(PathBuf::from);
        if self.cloud.path == path {
            return;
        }
        self.cloud.problem = None;
        self.files.follow_cloud(path.as_deref().map(Watch::new));
        self.cloud.path = path;
        self.apply_cloud();
    }

    /// Another configuration is in force: a document that did not go with the one before may go with this one.
    pub(super) fn try_cloud_again(&mut self) {
        if std::mem::take(&mut self.cloud.again) {
            self.apply_cloud();
        }
    }

    /// The document is new, or has changed.
    pub(super) fn apply_cloud(&mut self) {
        let Some(path) = self.cloud.path.clone() else { return };
        let desk = match self.desk() {
            Ok(desk) => desk,
            Err(failure) => {
                let failed = Failed { why: failure.to_string(), again: false };
                return self.cloud_done((path, Some(Err(failed))));
            }
        };
        let sender = self.cloud.sender.clone();
        let work = move || {
            let outcome = desk.put_document(&path);
            // A loop that has ended needs no answer.
            let _ = sender.send((path, outcome));
        };
        if let Err(error) = std::thread::Builder::new().name("cloud".to_owned()).spawn(work) {
            warn!("cannot start the thread that applies the cloud's document: {error}");
        }
    }

    pub(super) fn cloud_done(&mut self, (path, outcome): Outcome) {
        use mwan_api::{EventKind, Severity};
        if self.cloud.path.as_ref() != Some(&path) {
            return;
        }
        let name = path.display();
        let before = self.cloud.problem.take();
        self.cloud.again = false;
        let (severity, text) = match outcome {
            None => return,
            Some(Ok(())) => (Severity::Info, format!("the cloud's document {name} is applied")),
            Some(Err(Failed { why, again })) => {
                self.cloud.again = again;
                let text =
                    format!("the cloud's document {name} is not applied, the configuration stays: {why}");
                self.cloud.problem = Some(text.clone());
                (Severity::Warning, text)
            }
        };
        if before.as_ref() == Some(&text) {
            return;
        }
        match severity {
            Severity::Warning => tracing::error!("{text}"),
            _ => tracing::info!("{text}"),
        }
        self.events.note(super::events::plain(EventKind::Config, severity, text));
    }
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(in crate::daemon) const CONFIG: &str =
        "config interface 'wan'\n\toption enabled '1'\n\tlist track_ip '192.0.2.1'\n";
    const DOCUMENT: &str = r#"{"enable": true, "mode": "FAIL_OVER", "wanInterfacesConfig": {"wan": {"targetIps": ["192.0.2.9"],
"failureInterval": 5, "recoveryInterval": 5, "pingInterval": 5, "pingTimeout": 2, "multiWANMetric": 1, "multiWANWeight": 1, "enable": true}}}"#;

    /// A desk, and a loop that answers `reload` with `answer`.
    fn desk(dir: &Path, answer: fn() -> Response) -> (Desk, PathBuf) {
        desk_with(dir, move |_| answer())
    }

    /// The same with a loop that answers whatever is asked.
    pub(in crate::daemon) fn desk_with(
        dir: &Path,
        mut answer: impl FnMut(Request) -> Response + Send + 'static,
    ) -> (Desk, PathBuf) {
        let (ask, mut asked) = mpsc::channel::<Asked>(4);
        std::thread::spawn(move || {
            while let Some((request, reply)) = asked.blocking_recv() {
                let _ = reply.send(answer(request));
            }
        });
        let file = dir.join("mwan3");
        std::fs::write(&file, CONFIG).unwrap();
        let name = file.to_string_lossy().into_owned();
        let desk = Desk {
            file: file.clone(),
            name,
            in_force: Vec::new(),
            asked_at: None,
            ask,
            writing: Arc::default(),
            confirm: Confirm::new(dir, dir),
            revisions: Revisions::start(dir),
            network: None,
        };
        (desk, file)
    }

    fn terms(revision: Option<&str>) -> Terms<'static> {
        let (revision, author) = (revision.map(str::to_owned), Author::new(Way::Put, None));
        Terms {
            revision,
            dry_run: false,
            granted: None,
            abandoned: &|| false,
            author,
            called: None,
            ready: &at_once,
        }
    }

    fn text(text: &str) -> Change {
        Change::Text(text.to_owned())
    }

    #[test]
    fn lost_updates_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        let Response::Config(first) = desk.text() else { panic!("no text") };
        assert_eq!((first.format.as_str(), first.text.as_str()), ("uci", CONFIG));
        let (one, other) = (CONFIG.replace("2.1", "2.2"), CONFIG.replace("2.1", "2.3"));
        let Response::Put(put) = desk.put(text(&one), &terms(Some(&first.revision))) else {
            panic!("refused")
        };
        assert!(put.changed && put.revision != first.revision);
        let conflict = desk.put(text(&other), &terms(Some(&first.revision)));
        assert_eq!(conflict, Response::Conflict { revision: put.revision.clone() });
        assert_eq!(std::fs::read_to_string(&file).unwrap(), one);
        // The same text again is no change.
        let again = desk.put(text(&one), &terms(Some(&put.revision)));
        assert!(matches!(again, Response::Put(ConfigPut { changed: false, .. })), "{again:?}");
    }

    #[test]
    fn who_is_not_root_has_root_use_nothing_that_is_neither_in_force_nor_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        let script = |path: &str| format!("{CONFIG}config globals\n\toption user_script '{path}'\n");
        let cloud = || Change::cloud(DOCUMENT.to_owned(), String::new(), false);
        let granted = BTreeSet::from(["user_script /in/force".to_owned()]);
        let guarded = || Terms { granted: Some(&granted), ..terms(None) };
        let refused = desk.put(text(&script("/mine")), &guarded());
        assert!(
            matches!(&refused, Response::Refused { message, .. } if message.contains("user_script /mine"))
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        // Root has written another one, which is not in force yet.
        for (there, wanted, is_put) in
            [("/roots", "/roots", true), ("/roots", "/in/force", true), ("/roots", "/mine", false)]
        {
            std::fs::write(&file, script(there)).unwrap();
            let answer = desk.put(text(&script(wanted)), &guarded());
            assert_eq!(matches!(answer, Response::Put(_)), is_put, "{wanted}: {answer:?}");
        }
        let answer = desk.put(cloud(), &guarded());
        assert!(matches!(answer, Response::Put(_)), "{answer:?}");
        assert!(std::fs::read_to_string(&file).unwrap().contains("/roots"));
        // Root takes it out while somebody waits for his turn.
        std::fs::write(&file, CONFIG).unwrap();
        desk.revisions.stays(CONFIG.as_bytes());
        let late = desk.put(text(&script("/in/force")), &guarded());
        assert!(
            matches!(&late, Response::Refused { message, .. } if message.contains("user_script /in/force")),
            "{late:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        let desk = Desk { asked_at: desk.revisions.in_force(), ..desk };
        assert!(matches!(desk.put(text(&script("/in/force")), &guarded()), Response::Put(_)));
    }

    #[test]
    fn of_many_writers_with_one_revision_one_wins() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        let first = revision(CONFIG.as_bytes());
        let writers: Vec<_> = (2..10)
            .map(|n| {
                let (desk, first) = (desk.clone(), first.clone());
                std::thread::spawn(move || {
                    let own = CONFIG.replace("192.0.2.1", &format!("192.0.2.{n}"));
                    matches!(desk.put(text(&own), &terms(Some(&first))), Response::Put(_)).then_some(own)
                })
            })
            .collect();
        let won: Vec<String> = writers.into_iter().filter_map(|w| w.join().unwrap()).collect();
        assert_eq!(won, [std::fs::read_to_string(&file).unwrap()]);
    }

    #[test]
    fn what_would_be_refused_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        let bad = format!("{CONFIG}config rule 'r'\n\toption proto 'tpc'\n\toption use_policy 'default'\n");
        for (change, word) in [(text(&bad), "tpc"), (text(""), "no interface"), (text("\0"), "E0105")] {
            let Response::Refused { message, diagnostics } = desk.put(change, &terms(None)) else {
                panic!("taken")
            };
            assert!(
                message.contains(word) && (word == "no interface" || !diagnostics.is_empty()),
                "{message}"
            );
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        let checked = desk.validate("", &bad);
        assert!(
            matches!(&checked, Response::Checked { diagnostics, refusal: Some(_) } if diagnostics.len() == 1)
        );
        // An error that is in force already is no reason.
        let in_force = mwan_config::parse("mwan3", bad.as_bytes()).diagnostics;
        let desk = Desk { in_force, ..desk };
        assert!(matches!(desk.put(text(&bad), &terms(None)), Response::Put(_)));
    }

    #[test]
    fn what_the_loop_refuses_is_put_back_and_what_nobody_waits_for_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let refuse = || Response::Error { message: "a set is gone".to_owned(), hint: None };
        let (desk, file) = desk(dir.path(), refuse);
        let other = CONFIG.replace("2.1", "2.2");
        let refused = desk.put(text(&other), &terms(None));
        assert!(
            matches!(&refused, Response::Refused { message, .. } if message == "a set is gone"),
            "{refused:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        let gone = Terms { abandoned: &|| true, ..terms(None) };
        assert!(matches!(desk.put(text(&other), &gone), Response::Error { .. }));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
    }

    #[test]
    fn a_document_with_an_error_is_refused_unless_the_rest_is_wanted() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        let bad = DOCUMENT.replace("\"192.0.2.9\"", "\"192.0.2.9\", \"one\"");
        let change =
            |text: &str, partial| Change::Cloud { name: "d.json".into(), bytes: text.into(), partial };
        let Response::Refused { message, .. } = desk.put(change(&bad, false), &terms(None)) else {
            panic!("taken")
        };
        assert!(message.starts_with("d.json:1: error["), "{message}");
        // Found only where the document meets the file.
        let taken = DOCUMENT.replace("\"wan\": {", "\"mine\": {");
        let policy = format!("{CONFIG}config policy 'mine'\n");
        std::fs::write(&file, &policy).unwrap();
        let response = desk.put(change(&taken, false), &terms(None));
        assert!(
            matches!(&response, Response::Refused { message, .. } if message.contains("E0905")),
            "{response:?}"
        );
        assert_eq!(std::fs::read_to_string(&file).unwrap(), policy);
        std::fs::write(&file, CONFIG).unwrap();
        let empty = r#"{"enable": true, "mode": "FAIL_OVER", "wanInterfacesConfig": {}}"#;
        for nothing in [empty, "{", "[]"] {
            assert!(
                matches!(desk.put(change(nothing, true), &terms(None)), Response::Refused { .. }),
                "{nothing}"
            );
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        let dry = Terms { dry_run: true, ..terms(None) };
        let Response::Put(put) = desk.put(change(&bad, true), &dry) else { panic!("refused") };
        assert!(put.changed && put.text.unwrap().contains("list track_ip '192.0.2.9'"));
        assert_eq!(std::fs::read_to_string(&file).unwrap(), CONFIG);
        assert!(matches!(desk.put(change(DOCUMENT, false), &terms(None)), Response::Put(_)));
        let Response::Cloud(cloud) = desk.cloud() else { panic!("no document") };
        assert!(cloud.document.contains("\"multiWANMetric\": 1"));
        // A file of it that says the same is no news; one with an error may be another matter with another configuration.
        let document = dir.path().join("d.json");
        std::fs::write(&document, DOCUMENT).unwrap();
        assert_eq!(desk.put_document(&document), None);
        assert_eq!(desk.put_document(&dir.path().join("none")), None);
        std::fs::write(&document, &bad).unwrap();
        assert!(matches!(desk.put_document(&document), Some(Err(Failed { again: true, .. }))));
    }

    #[test]
    fn what_is_no_uci_text_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let (desk, file) = desk(dir.path(), || Response::Done);
        std::fs::write(&file, b"# caf\xe9\nconfig interface 'wan'\n").unwrap();
        for response in [desk.text(), desk.cloud()] {
            assert!(
                matches!(&response, Response::Error { message, .. } if message.contains("UTF-8")),
                "{response:?}"
            );
        }
        let toml = Desk { name: "/etc/mwan/mwan.toml".into(), ..desk };
        let change = Change::Cloud { name: String::new(), bytes: DOCUMENT.into(), partial: false };
        for response in [toml.cloud(), toml.put(change, &terms(None))] {
            assert!(
                matches!(&response, Response::Error { message, .. } if message.contains("mwan.toml")),
                "{response:?}"
            );
        }
    }
}
