//! Another configuration comes into force: read, judged, and with another mask not before the connection entries know it.

use std::sync::Arc;
use std::time::Duration;

use mwan_api::{EventKind, Response, Severity, Way};
use mwan_config::Config;
use mwan_core::{Event, Marks, Remark};
use mwan_linux::clock;
use tracing::{error, info, warn};

use super::answer::error_response;
use super::flows::Done;
use super::log::log_diagnostics;
use super::reload::{Outcome, Reply};
use super::{Daemon, Next, events, notify};
use crate::cli::Failure;

/// Other marks wait this long for the connection entries; only a table that keeps growing takes longer.
const PREPARE_MAX: Duration = Duration::from_secs(10);

impl Daemon {
    /// Takes over a configuration. Another mask has to wait: established flows keep their WAN only if their entries have
    /// the new marks when the program that reads them comes into force (I10). Meanwhile all goes on as before.
    pub(super) fn configure(&mut self, config: Arc<Config>) {
        let (old, new) = (Marks::new(self.core.config().globals.mask), Marks::new(config.globals.mask));
        if old == new {
            return self.feed(Event::Configure(config));
        }
        let now = clock::now();
        let mut next = self.core.clone();
        next.handle(now, Event::Configure(config.clone()));
        let names = config.interfaces.iter().map(|i| i.name.as_str());
        let ids = names.filter_map(|name| Some((self.core.wan(name)?.0, next.wan(name)?.0)));
        let remark = Remark::new(old, new, ids);
        if !remark.lossless() {
            warn!(
                "mmx_mask {:#x} and {:#x} share bits with another meaning: connections may lose packets for some \
                 milliseconds, and those being set up just now their path",
                old.mask(),
                new.mask()
            );
        }
        self.flows.prepare(remark.clone());
        self.staged = Some((config, remark, now + PREPARE_MAX));
    }

    pub(super) fn flows_changed(&mut self, done: Done) -> Next {
        match done {
            Done::Prepared => self.unstage(),
            Done::Remarked => {
                self.store.set_marked_with(self.core.config().globals.mask);
                self.store.save(self.core.memory());
                info!("connections have the marks of the new mask");
            }
            // Only the end waits for it.
            Done::Cleared => {}
            Done::Moved(path, count) => self.drills.moved(path, count),
        }
        Next::Go
    }

    pub(super) fn unstage(&mut self) {
        let Some((config, remark, _)) = self.staged.take() else { return };
        self.remark = Some(remark);
        self.feed(Event::Configure(config));
        self.reloaded();
    }

    /// Begins to read the configuration anew; `reply` hears when it is taken over, or why not.
    pub(super) fn reload(&mut self, reply: Option<Reply>) {
        if !self.reload.begin(self.staged.is_none(), reply) {
            return;
        }
        notify::notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", clock::now().0));
        self.files.reset_config();
        self.reload.read(
            self.options.config.clone(),
            self.core.config().sets.clone(),
            self.diagnostics.clone(),
            self.confirm.returning(),
        );
    }

    fn reload_if_asked(&mut self) {
        if self.staged.is_none() && self.reload.take_again() {
            self.reload(None);
        }
    }

    pub(super) fn was_read(&mut self, outcome: Outcome) {
        match outcome {
            Ok(read) => {
                self.reload.staged = Some(read);
                self.step();
            }
            Err(why) => {
                let text =
                    format!("the configuration is not taken over, the one before stays in force: {why}");
                error!("{text}");
                self.events.note(events::plain(EventKind::Config, Severity::Warning, text));
                self.config_rejected = Some(why);
                self.reloaded();
            }
        }
    }

    /// Goes one step towards what was read: sets that change much first, by themselves.
    pub(super) fn step(&mut self) {
        if let Some(sets) = self.reload.step() {
            let config = Config { sets, ..Config::clone(self.core.config()) };
            return self.feed(Event::Configure(Arc::new(config)));
        }
        let Some(read) = self.reload.staged.take() else { return };
        self.record.announce(&read.name, &read.source, &read.config);
        self.revisions.add(&read.name, &read.source, &read.config.sets, Way::Edit);
        self.store.keep_config(&read.name, read.source);
        log_diagnostics(&read.diagnostics);
        self.diagnostics = read.diagnostics;
        self.config_rejected = None;
        self.files.follow(read.watches);
        if read.config.globals.rt_table_lookup != self.core.config().globals.rt_table_lookup {
            self.look_at_tables(read.config.globals.rt_table_lookup.clone());
        }
        self.configure(Arc::new(read.config));
        info!("configuration read");
        let text = format!("configuration read: {}", read.name);
        self.events.note(events::plain(EventKind::Config, Severity::Info, text));
        // With another mask it is in force when the connection entries know it: `unstage`.
        if self.staged.is_none() {
            self.reloaded();
        }
        self.try_cloud_again();
    }

    fn reloaded(&mut self) {
        notify::notify("READY=1");
        let rejected = self.config_rejected.as_ref();
        self.reload.end(|| match rejected {
            None => Response::Done,
            Some(why) => {
                error_response(Failure::says(format!("the configuration before stays in force: {why}")))
            }
        });
        self.reload_if_asked();
    }

    fn look_at_tables(&mut self, tables: Vec<u32>) {
        match self.monitor.set_custom_tables(tables) {
            Ok(()) => self.note_unreadable(None),
            Err(error) => self.note_unreadable(Some(&Failure::new("the tables of rt_table_lookup", &error))),
        }
        let net = self.monitor.view();
        self.feed(Event::Network(net));
    }
}
