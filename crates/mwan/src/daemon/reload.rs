//! Reading the configuration while the daemon runs: files are read and parsed by a thread, and a large change of sets is
//! handed to the core in steps. Meanwhile the loop goes on with what is in force.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use mwan_api::Response;
use mwan_compile::Stages;
use mwan_config::{Config, Diagnostic, NamedSet};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;

use super::config::{Parsed, Source, Watch, parse_watched, reread_config};

/// Where the answer to a request goes.
pub(super) type Reply = oneshot::Sender<Response>;

/// A configuration that was read, and how to get there.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) name: String,
    pub(super) source: Source,
    pub(super) config: Config,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Of the files it depends on, since before they were read.
    pub(super) watches: Vec<Watch>,
    pub(super) stages: Stages,
}

/// What was read, or why it is not taken over.
pub(super) type Outcome = Result<Box<Read>, String>;

/// One reading at a time. Who asks during it gets another one afterwards: the file may have changed behind the reader.
#[derive(Debug)]
pub(super) struct Reload {
    sender: mpsc::UnboundedSender<Outcome>,
    outcomes: mpsc::UnboundedReceiver<Outcome>,
    busy: bool,
    again: bool,
    /// Read, and on its way into the kernel.
    pub(super) staged: Option<Box<Read>>,
    replies: Vec<Reply>,
    later: Vec<Reply>,
}

impl Reload {
    pub(super) fn new() -> Self {
        let (sender, outcomes) = mpsc::unbounded_channel();
        let (replies, later) = (Vec::new(), Vec::new());
        Reload { sender, outcomes, busy: false, again: false, staged: None, replies, later }
    }

    /// Whether a reading may begin now; if not, it is to be asked for again when the present one has ended. `ready`: nothing
    /// else is in the way.
    pub(super) fn begin(&mut self, ready: bool, reply: Option<Reply>) -> bool {
        if self.busy || !ready {
            self.again = true;
            self.later.extend(reply);
            return false;
        }
        self.busy = true;
        self.replies.append(&mut self.later);
        self.replies.extend(reply);
        true
    }

    /// Reads `file` in a thread. `sets` and `diagnostics` are those in force; the text of `instead` is taken for what is in the
    /// file, and whatever is wrong with it.
    pub(super) fn read(
        &self,
        file: PathBuf,
        sets: Arc<Vec<NamedSet>>,
        diagnostics: Vec<Diagnostic>,
        instead: Option<Vec<u8>>,
    ) {
        let sender = self.sender.clone();
        // A loop that has ended needs no answer.
        let work = move || drop(sender.send(read(&file, &sets, &diagnostics, instead)));
        if let Err(error) = std::thread::Builder::new().name("config".to_owned()).spawn(work) {
            warn!("cannot start the thread that reads the configuration: {error}");
            drop(self.sender.send(Err(format!("cannot start a thread: {error}"))));
        }
    }

    /// What was read.
    pub(super) async fn next(&mut self) -> Outcome {
        match self.outcomes.recv().await {
            Some(outcome) => outcome,
            // Never: a sender is ours.
            None => std::future::pending().await,
        }
    }

    /// The next list of sets on the way to what was read; `None` if the way is gone or there is nothing.
    pub(super) fn step(&mut self) -> Option<Arc<Vec<NamedSet>>> {
        self.staged.as_mut()?.stages.next()
    }

    /// The reading has come to its end; who waits for it is told.
    pub(super) fn end(&mut self, response: impl Fn() -> Response) {
        self.busy = false;
        for reply in self.replies.drain(..) {
            let _ = reply.send(response());
        }
    }

    /// Whether it was asked for meanwhile.
    pub(super) fn take_again(&mut self) -> bool {
        !self.busy && std::mem::take(&mut self.again)
    }
}

/// The configuration as it is in the file now, unless it must not take the place of the one in force.
fn read(file: &Path, sets: &[NamedSet], diagnostics: &[Diagnostic], instead: Option<Vec<u8>>) -> Outcome {
    let judged = instead.is_none();
    let (name, bytes) = match instead {
        Some(text) => (file.to_string_lossy().into_owned(), text),
        None => reread_config(file).map_err(|f| f.to_string())?,
    };
    let Parsed { loaded, source, watches } = parse_watched(&name, bytes);
    if let Some(why) = loaded.refusal(diagnostics).filter(|_| judged) {
        return Err(why);
    }
    let mut config = loaded.config;
    let stages = Stages::new(sets, Arc::make_mut(&mut config.sets).as_mut_slice());
    Ok(Box::new(Read { name, source, config, diagnostics: loaded.diagnostics, watches, stages }))
}
