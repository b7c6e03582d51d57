//! The way to the kernel: desired states are applied, kept and restored, and what the core wishes beside them is done.

use std::sync::Arc;
use std::time::Duration;

use mwan_api::{EventKind, Severity};
use mwan_core::{Desired, Effect, Event, Marks, PathKey, Reason, Time};
use mwan_linux::clock;
use tracing::{debug, error, info, warn};

use super::Daemon;
use super::events;
use super::writer::Trouble;
use crate::cli::Failure;

/// How often the kernel is compared with what should be there although nothing was heard.
pub(super) const VERIFY_INTERVAL: Duration = Duration::from_secs(60);
/// Time before a failed change of the kernel is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Restored things that are logged one by one; a flushed ruleset is hundreds.
const RESTORED_LOGGED_MAX: usize = 8;

impl Daemon {
    /// Brings the kernel to `desired` and returns what the core has to hear of it.
    pub(super) fn apply(&mut self, desired: Arc<Desired>) -> Vec<Event> {
        let generation = desired.generation;
        let (events, failure) = match self.writer.apply(&desired) {
            Ok(applied) => {
                self.drills.applied(generation, clock::now());
                self.flows.placement(self.core.placement());
                if desired.off {
                    self.flows.clear(desired.marks.mask());
                }
                self.dnsmasq.tell(self.core.config());
                self.remark.take().into_iter().for_each(|remark| self.flows.remark(remark));
                (vec![Event::Applied { generation }], applied.incomplete)
            }
            Err(Trouble::Refused(paths)) => {
                // Decided anew without them, right away: nothing waits for a route that cannot be.
                let refused = |(path, error)| Event::Refused { path, error };
                return paths.into_iter().map(refused).collect();
            }
            Err(trouble) => (Vec::new(), Some(Failure::says(trouble.to_string()))),
        };
        if self.writer.take_missed() {
            self.verify_at = clock::now();
        }
        self.pending = failure.is_some().then(|| (desired, clock::now() + RETRY_PAUSE));
        self.note_apply_error(failure);
        events
    }

    /// Says once that the kernel is not as wanted, and once that it is again.
    fn note_apply_error(&mut self, failure: Option<Failure>) {
        let text = failure.map(|f| f.to_string());
        match (&self.apply_error, &text) {
            (old, Some(new)) if old.as_ref() != Some(new) => {
                let text = format!("the kernel is not as wanted: {new}");
                error!("{text}");
                self.events.note(events::plain(EventKind::Apply, Severity::Error, text));
            }
            (Some(_), None) => {
                let text = "the kernel is as wanted again".to_owned();
                info!("{text}");
                self.events.note(events::plain(EventKind::Apply, Severity::Info, text));
            }
            _ => {}
        }
        self.apply_error = text;
    }

    pub(super) fn apply_pending(&mut self) {
        let Some((desired, _)) = self.pending.take() else { return };
        for event in self.apply(desired) {
            self.feed(event);
        }
    }

    pub(super) fn verify(&mut self, now: Time) {
        self.verified = now;
        self.verify_at = now + VERIFY_INTERVAL;
        if self.pending.is_some() {
            return;
        }
        match self.writer.verify() {
            Ok(lines) => {
                self.note_restored(&lines);
                self.note_apply_error(None);
                self.store.save_rules(self.writer.own_rules());
            }
            Err(Trouble::Refused(paths)) => {
                for (path, error) in paths {
                    self.feed(Event::Refused { path, error });
                }
            }
            Err(trouble) => {
                self.note_apply_error(Some(Failure::says(trouble.to_string())));
                self.verify_at = now + RETRY_PAUSE;
            }
        }
    }

    fn note_restored(&mut self, lines: &[String]) {
        for line in lines.iter().take(RESTORED_LOGGED_MAX) {
            warn!("others changed what is ours; restored: {line}");
        }
        let more = lines.len().saturating_sub(RESTORED_LOGGED_MAX);
        if more > 0 {
            warn!("… and {more} more restored");
        }
        if let Some(first) = lines.first() {
            let rest =
                if lines.len() > 1 { format!(", and {} more", lines.len() - 1) } else { String::new() };
            let text = format!("others changed what is ours; restored: {first}{rest}");
            self.events.note(events::plain(EventKind::Repair, Severity::Warning, text));
        }
    }

    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Probe(request) => self.prober.start(request),
            Effect::StopProbes(path) => self.prober.forget(path),
            Effect::FlushPath(path) => self.flush(path),
            Effect::MoveMisplaced(path) => self.move_misplaced(path),
            Effect::FlushStrays => self.writer.flush_strays(),
            Effect::Transition(t) => {
                let event = events::transition(&t);
                let quiet = matches!(
                    t.reason,
                    Reason::Failing { .. }
                        | Reason::Degrading { .. }
                        | Reason::Recovering { .. }
                        | Reason::DrillReturn { .. }
                );
                if quiet {
                    debug!("{}", event.text)
                } else {
                    info!("{}", event.text)
                }
                self.events.note(event);
                self.history.transition(&t);
            }
            Effect::Drill(step) => self.drill_step(step),
            Effect::Hook(call) => self.hooks.call(call),
            Effect::Switched(s) => {
                let yet = if self.apply_error.is_some() { " (not in the kernel yet)" } else { "" };
                let event = events::switch(&s, yet);
                self.switches.note(&s.policy, s.family, self.core.config());
                info!("{}", event.text);
                self.events.note(event);
            }
        }
    }

    fn flush(&mut self, path: PathKey) {
        let marks = Marks::new(self.core.config().globals.mask);
        // An id that a smaller mask has no room for would read as another's mark.
        if path.id <= marks.max_interface_id() {
            self.flows.flush(path, marks);
        }
    }

    fn move_misplaced(&mut self, path: PathKey) {
        let marks = Marks::new(self.core.config().globals.mask);
        if path.id <= marks.max_interface_id() {
            self.flows.move_misplaced(path, marks);
        }
    }
}
