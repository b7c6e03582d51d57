//! Drills: the core is told that a WAN is dead, and what follows is measured.
//!
//! The core decides what a drill is and when it ends (`mwan_core`, `engine/drill.rs`). This is the stop-watch: when the verdict
//! came, when the kernel had what follows from it, what became of connections, and whether names and targets could be reached
//! all the time by the router's own traffic. What was measured is judged (`report`), kept (`shelf`) and told.

mod measure;
mod report;
mod schedule;
mod shelf;

use std::path::Path;
use std::time::Duration;

use mwan_api::{
    DRILL_MAX_S, DRILL_MIN_S, DRILL_NAME_MAX, DRILL_REACH_MAX, Drill, DrillCarrier, DrillPath, DrillPhase,
    DrillPlan, DrillSwitch, Drills as Document, EventKind, Response, SCHEMA_DRILLS, ScheduledDrill, Severity,
};
use mwan_config::Failback;
use mwan_core::{
    Carrier, DrillEnd, DrillPreview, DrillRefusal, DrillStep, Effect, Event, Marks, Output, PathKey, Switch,
    Time,
};
use mwan_linux::clock;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tracing::{info, warn};

use super::events::{now_ms, plain};
use super::reach::Target;
use super::status::{carrier_text, millis};
use super::{Daemon, Next};
use crate::cli::Failure;
use crate::show::{drill as text, seconds};
use measure::{Heard, Stage, Test, Testers};
use schedule::Calendar;
use shelf::Shelf;

/// Who ordered an attended drill and has not asked for it for so long has gone.
const LEASE: Duration = Duration::from_secs(5);
/// So long after the switch connections are counted: the second pass that deletes them is over (`core::engine::flows`).
const COUNT_AFTER: Duration = Duration::from_secs(2);
/// So long after the return everything is watched.
const WATCHED_AFTER: Duration = Duration::from_millis(2500);
/// Policies that a report names, so that a thousand of them make no report that nobody can read.
const SWITCHES_TOLD: usize = 50;
/// Asked for if nothing else is said.
const NAME: &str = "example.org";

/// All there is about drills.
pub(super) struct Drills {
    shelf: Shelf,
    running: Option<Running>,
    calendar: Calendar,
    heard: UnboundedReceiver<Heard>,
    tell: UnboundedSender<Heard>,
}

/// The one that is under way.
struct Running {
    order: mwan_core::DrillOrder,
    report: Drill,
    /// Paths in the order of the report.
    keys: Vec<PathKey>,
    /// Those that carry instead, in the order of the report's carriers.
    carriers: Vec<u32>,
    /// When its probes began to count as lost, and when they counted again.
    begun: Time,
    lifted: Time,
    /// Policies in use that went elsewhere, by family.
    switched: usize,
    /// A verdict, and the desired state that follows from it.
    switching: Option<(Time, u64)>,
    /// When it has been watched long enough.
    done_at: Option<Time>,
    /// When who ordered it last asked.
    asked: Option<Time>,
    abandoned: bool,
    /// Tests without which it must not begin.
    required: Vec<String>,
    testers: Testers,
}

impl Drills {
    pub(super) fn open(state_dir: &Path) -> Self {
        let (tell, heard) = unbounded_channel();
        Drills { shelf: Shelf::open(state_dir), running: None, calendar: Calendar::default(), heard, tell }
    }

    /// What the threads that measure have found.
    pub(super) async fn next(&mut self) -> Heard {
        match self.heard.recv().await {
            Some(heard) => heard,
            // We have a sender ourselves.
            None => std::future::pending().await,
        }
    }

    /// What the core made of an event, before any of it is done.
    pub(super) fn decided(&mut self, now: Time, output: &Output) {
        let Some(running) = &mut self.running else { return };
        let mut concerned = false;
        for effect in &output.effects {
            let Effect::Transition(t) = effect else { continue };
            concerned |= running.transition(t.path, t.from.usable(), t.to.usable(), now);
        }
        if !concerned {
            return;
        }
        for effect in &output.effects {
            match effect {
                Effect::Switched(switch) if running.report.phase == DrillPhase::Dark => {
                    running.switched(switch)
                }
                _ => {}
            }
        }
        match &output.desired {
            Some(desired) => running.switching = Some((now, desired.generation)),
            // Nothing has to change: whatever carried goes on.
            None => running.in_the_kernel(None, &self.tell),
        }
    }

    /// The kernel has this generation.
    pub(super) fn applied(&mut self, generation: u64, now: Time) {
        let Some(running) = &mut self.running else { return };
        if let Some((since, _)) = running.switching.take_if(|(_, wanted)| *wanted <= generation) {
            running.in_the_kernel(Some(now.since(since)), &self.tell);
        }
    }

    /// Connections of a path went back to a better one.
    pub(super) fn moved(&mut self, path: PathKey, count: usize) {
        let Some(running) = &mut self.running else { return };
        let after = matches!(running.report.phase, DrillPhase::Return | DrillPhase::After);
        if let Some(at) = running.carriers.iter().position(|id| *id == path.id).filter(|_| after) {
            *running.report.carriers[at].moved.get_or_insert(0) += count as u64;
        }
    }

    /// The status' word.
    pub(super) fn under_way(&self) -> Option<String> {
        let running = self.running.as_ref()?;
        Some(running.report.interface.clone())
    }

    /// Everything is written, or the disk is too slow.
    pub(super) fn finish(&mut self) {
        self.shelf.finish();
    }
}

impl Running {
    /// Whether a path of it was lost or is back.
    fn transition(&mut self, path: PathKey, was: bool, is: bool, now: Time) -> bool {
        let Some(at) = self.keys.iter().position(|key| *key == path) else { return false };
        let path = &mut self.report.paths[at];
        match (was, is, self.report.phase) {
            (true, false, DrillPhase::Dark) => {
                let ms = millis(now.since(self.begun));
                path.detected_ms = Some(ms);
                let step = format!("{} seen as lost after {}", path.family, seconds(ms));
                self.report.steps.push(step);
            }
            (false, true, DrillPhase::Return) => path.back_ms = Some(millis(now.since(self.lifted))),
            _ => return false,
        }
        true
    }

    fn switched(&mut self, switch: &Switch) {
        if !switch.used {
            return;
        }
        self.switched += 1;
        if self.report.switches.len() == SWITCHES_TOLD {
            return;
        }
        let document = switch_document(switch);
        self.report.steps.push(format!("policy {}", text::switch(&document)));
        self.report.switches.push(document);
    }

    /// What follows from a verdict is in the kernel; it took so long.
    fn in_the_kernel(&mut self, took: Option<Duration>, tell: &UnboundedSender<Heard>) {
        let us = took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        match self.report.phase {
            DrillPhase::Dark => {
                self.report.switch_us = self.report.switch_us.max(us);
                self.testers.enter(Stage::Away);
                self.testers.count(&self.keys, COUNT_AFTER, tell);
            }
            DrillPhase::Return | DrillPhase::After => {
                self.report.switch_back_us = self.report.switch_back_us.max(us);
                self.testers.enter(Stage::Back);
            }
            DrillPhase::Before | DrillPhase::Over => {}
        }
    }
}

/// An order that has been looked at.
struct Wanted {
    order: mwan_core::DrillOrder,
    preview: DrillPreview,
    tests: Vec<Test>,
    required: Vec<String>,
    notes: Vec<String>,
}

impl Daemon {
    /// `mwan drill`.
    pub(super) fn order_drill(&mut self, order: mwan_api::DrillOrder) -> Result<Response, Failure> {
        let wanted = self.wanted_drill(&order)?;
        if order.dry_run {
            let Wanted { preview, notes, .. } = wanted;
            return Ok(Response::DrillPlan(DrillPlan {
                interface: order.interface,
                paths: preview.paths.iter().map(path_document).collect(),
                switches: preview.switches.iter().filter(|s| s.used).map(switch_document).collect(),
                notes,
            }));
        }
        let by = order.by.unwrap_or_else(|| "somebody".to_owned());
        let report = self.start_drill(wanted, by, order.attended);
        Ok(Response::Drill(Box::new(report)))
    }

    fn wanted_drill(&self, order: &mwan_api::DrillOrder) -> Result<Wanted, Failure> {
        if !(DRILL_MIN_S..=DRILL_MAX_S).contains(&order.length_s) {
            return Err(Failure::says(format!("a drill takes from {DRILL_MIN_S} to {DRILL_MAX_S} s")));
        }
        if order.reach.len() > DRILL_REACH_MAX {
            return Err(Failure::says(format!("more than {DRILL_REACH_MAX} targets")));
        }
        let (mut tests, mut required, mut notes) = (Vec::new(), Vec::new(), Vec::new());
        let name = order.dns.as_deref().unwrap_or(NAME);
        if !name.is_empty() {
            check_name(name).map_err(Failure::says)?;
            match Test::dns(name) {
                Some(test) => tests.push(test),
                None if order.dns.is_some() => {
                    return Err(Failure::says("there is no resolver in /etc/resolv.conf to be asked"));
                }
                None => {
                    notes.push("there is no resolver in /etc/resolv.conf: names are not tested".to_owned())
                }
            }
        }
        required.extend(tests.iter().filter(|_| order.dns.is_some()).map(|test| test.name.clone()));
        for text in &order.reach {
            tests.push(Test::reach(text, Target::parse(text).map_err(Failure::says)?));
            required.push(text.clone());
        }
        if self.core.wan(&order.interface).is_none() {
            return Err(self.no_interface(&order.interface));
        }
        let order = mwan_core::DrillOrder {
            interface: order.interface.clone(),
            length: Duration::from_secs(order.length_s.into()),
            keeps_flows: order.keep_flows,
        };
        let preview = match &self.drills.running {
            Some(running) => Err(DrillRefusal::Running(running.report.interface.clone())),
            None => self.core.preview_drill(&order),
        };
        let preview = preview.map_err(|refusal| {
            let name = order.interface.escape_debug();
            Failure::says(format!("no drill of {name}, nothing is changed: {refusal}")).hint(refusal.hint())
        })?;
        if preview.switches.iter().all(|switch| !switch.used) {
            notes.push("it carries no policy that a rule leads to: nothing goes elsewhere".to_owned());
        }
        Ok(Wanted { order, preview, tests, required, notes })
    }

    /// What is to be tested is tested once before; [`Heard::Ready`] follows.
    fn start_drill(&mut self, wanted: Wanted, by: String, attended: bool) -> Drill {
        let Wanted { order, preview, tests, required, notes } = wanted;
        let keys: Vec<PathKey> = preview.paths.iter().map(|(key, _)| *key).collect();
        let report = Drill {
            number: self.drills.shelf.next_number(),
            interface: order.interface.clone(),
            begin_ms: now_ms(),
            by,
            length_s: u32::try_from(order.length.as_secs()).unwrap_or(u32::MAX),
            keep_flows: order.keeps_flows,
            phase: DrillPhase::Before,
            end: None,
            passed: None,
            summary: String::new(),
            problems: Vec::new(),
            notes,
            paths: preview.paths.iter().map(path_document).collect(),
            switches: Vec::new(),
            switch_us: None,
            switch_back_us: None,
            carriers: Vec::new(),
            tests: Vec::new(),
            steps: Vec::new(),
            text: String::new(),
        };
        let (carriers, documents) = self.carriers(&preview.switches, &order.interface);
        let marks = Marks::new(self.core.config().globals.mask);
        let testers = Testers::start(report.number, tests, &keys, marks, &self.drills.tell);
        let now = clock::now();
        self.drills.running = Some(Running {
            order,
            report: Drill { carriers: documents, ..report.clone() },
            keys,
            carriers,
            begun: now,
            lifted: now,
            switched: 0,
            switching: None,
            done_at: None,
            asked: attended.then_some(now),
            abandoned: false,
            required,
            testers,
        });
        report
    }

    /// Those that would carry instead.
    fn carriers(&self, switches: &[Switch], drilled: &str) -> (Vec<u32>, Vec<DrillCarrier>) {
        let (mut ids, mut documents) = (Vec::new(), Vec::new());
        for switch in switches.iter().filter(|switch| switch.used) {
            let Carrier::Members(shares) = &switch.to else { continue };
            for share in shares.iter().filter(|share| share.interface != drilled) {
                let interface = self.core.config().interface(&share.interface);
                if ids.contains(&share.id) {
                    continue;
                }
                ids.push(share.id);
                let failback = interface.map_or(Failback::Keep, |interface| interface.failback);
                let failback = match failback {
                    Failback::Keep => "keep".to_owned(),
                    Failback::MoveNow => report::MOVE_NOW.to_owned(),
                    Failback::Drain(limit) => format!("drain {} s", limit.as_secs()),
                };
                documents.push(DrillCarrier { interface: share.interface.clone(), failback, moved: None });
            }
        }
        (ids, documents)
    }

    /// What a thread that measures has found.
    pub(super) fn drill_heard(&mut self, heard: Heard) -> Next {
        let Some(running) = &mut self.drills.running else { return Next::Go };
        match heard {
            Heard::Ready { number } if number == running.report.number => {
                let missing = running.testers.missing(&running.required);
                match missing {
                    Some(test) => {
                        let text = format!("it did not begin: {test} did not answer before it either");
                        self.drill_over("not_begun", text);
                    }
                    None => self.begin_drill(),
                }
            }
            Heard::Counted { number, before, counts } if number == running.report.number => {
                for (key, count) in counts {
                    let Some(at) = running.keys.iter().position(|known| *known == key) else { continue };
                    let path = &mut running.report.paths[at];
                    let place = if before { &mut path.flows } else { &mut path.flows_left };
                    *place = Some(count as u64);
                }
            }
            Heard::Ready { .. } | Heard::Counted { .. } => {}
        }
        Next::Go
    }

    /// The world may be another than when it was ordered.
    fn begin_drill(&mut self) {
        let Some(running) = &self.drills.running else { return };
        let order = running.order.clone();
        match self.core.preview_drill(&order) {
            Ok(_) => self.feed(Event::Drill(order)),
            Err(refusal) => self.drill_over("not_begun", format!("it did not begin: {refusal}")),
        }
    }

    /// How it goes, says the core.
    pub(super) fn drill_step(&mut self, step: DrillStep) {
        let now = clock::now();
        let Some(running) = &mut self.drills.running else { return };
        match step {
            DrillStep::Begun(_) => {
                running.begun = now;
                running.report.phase = DrillPhase::Dark;
                running.report.begin_ms = now_ms();
                running.testers.enter(Stage::Unseen);
                let Drill { interface, by, length_s, steps, .. } = &mut running.report;
                steps.push(format!("{interface} looks dead to mwan for {length_s} s; Ctrl-C ends it"));
                let text = format!("drill of {interface} for {length_s} s, ordered by {by}");
                let interface = interface.clone();
                self.note_drill(interface, Severity::Info, "begun", text);
            }
            DrillStep::Lifted => {
                running.lifted = now;
                running.report.phase = DrillPhase::Return;
                running.report.steps.push("time is over, it is on its way back".to_owned());
            }
            DrillStep::Ended(DrillEnd::Complete) => {
                running.report.phase = DrillPhase::After;
                running.done_at = Some(now + WATCHED_AFTER);
            }
            DrillStep::Ended(end) => {
                let text = if running.abandoned {
                    "whoever ordered it has gone".to_owned()
                } else {
                    end.to_string()
                };
                self.drill_over(end.code(), text);
            }
        }
    }

    /// `mwan drill --stop`.
    pub(super) fn stop_drill(&mut self) -> Result<Response, Failure> {
        let Some(running) = &self.drills.running else {
            return Err(Failure::says("there is no drill, nothing is changed"));
        };
        match running.report.phase {
            DrillPhase::Before => {
                self.drill_over(DrillEnd::Stopped.code(), "it was ended by hand".to_owned())
            }
            _ => self.feed(Event::EndDrill),
        }
        Ok(Response::Done)
    }

    /// `mwan drill --list`, and who waits for one.
    pub(super) fn drills(&mut self, attended: Option<u64>) -> Response {
        if let Some(running) = &mut self.drills.running
            && attended == Some(running.report.number)
            && let Some(asked) = &mut running.asked
        {
            *asked = clock::now();
        }
        let scheduled = self.core.config().interfaces.iter().filter(|i| i.enabled).filter_map(|i| {
            let drill = i.drill.as_ref()?;
            let length_s = u32::try_from(drill.length.as_secs()).unwrap_or(u32::MAX);
            Some(ScheduledDrill { interface: i.name.clone(), when: drill.to_string(), length_s })
        });
        let running = self
            .drills
            .running
            .as_ref()
            .map(|running| Drill { tests: running.testers.results(), ..running.report.clone() });
        Response::Drills(Document {
            schema: SCHEMA_DRILLS.to_owned(),
            running,
            drills: self.drills.shelf.documents(attended),
            scheduled: scheduled.collect(),
        })
    }

    /// Once a second.
    pub(super) fn look_at_drills(&mut self) {
        let now = clock::now();
        if let Some(running) = &mut self.drills.running {
            let gone = running.asked.is_some_and(|asked| now.since(asked) > LEASE);
            if gone && !running.abandoned && running.report.phase != DrillPhase::After {
                running.abandoned = true;
                match running.report.phase {
                    DrillPhase::Before => {
                        self.drill_over(DrillEnd::Stopped.code(), "whoever ordered it has gone".to_owned());
                    }
                    _ => self.feed(Event::EndDrill),
                }
            } else if running.done_at.is_some_and(|at| at <= now) {
                self.drill_over(DrillEnd::Complete.code(), DrillEnd::Complete.to_string());
            }
        }
        let unix_s = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
        let local_s = unix_s.saturating_add(clock::utc_offset_s(unix_s).into());
        self.drills.calendar.look(unix_s, local_s, self.core.config());
        if self.drills.running.is_none()
            && let Some(interface) = self.drills.calendar.due()
        {
            self.drill_by_schedule(interface);
        }
    }

    fn drill_by_schedule(&mut self, interface: String) {
        let Some(schedule) = self.core.config().interface(&interface).and_then(|i| i.drill) else { return };
        let order = mwan_api::DrillOrder {
            interface: interface.clone(),
            length_s: u32::try_from(schedule.length.as_secs()).unwrap_or(u32::MAX),
            keep_flows: false,
            dry_run: false,
            dns: None,
            reach: Vec::new(),
            attended: false,
            by: None,
        };
        match self.wanted_drill(&order) {
            Ok(wanted) => drop(self.start_drill(wanted, "schedule".to_owned(), false)),
            Err(failure) => {
                let text = format!("drill by schedule is left out: {failure}");
                self.note_drill(interface, Severity::Info, "skipped", text);
            }
        }
    }

    /// It is over: judged, kept, told.
    fn drill_over(&mut self, code: &str, text: String) {
        let Some(running) = self.drills.running.take() else { return };
        let mut report = Drill { tests: running.testers.results(), ..running.report };
        report.phase = DrillPhase::Over;
        if running.switched > report.switches.len() {
            let more = running.switched - report.switches.len();
            report.notes.push(format!("{more} policies more went elsewhere"));
        }
        report.end = Some(mwan_api::Reason { code: code.to_owned(), text });
        report::judge(&mut report);
        let severity = if report::is_bad(&report) { Severity::Warning } else { Severity::Info };
        let word = if report.passed == Some(true) { "passed" } else { "failed" };
        self.note_drill(report.interface.clone(), severity, word, report.summary.clone());
        self.drills.shelf.add(&report);
    }

    fn note_drill(&mut self, interface: String, severity: Severity, code: &str, text: String) {
        match severity {
            Severity::Warning => warn!("{text}"),
            _ => info!("{text}"),
        }
        let event = plain(EventKind::Drill, severity, text);
        self.events.note(mwan_api::Event {
            interface: Some(interface),
            code: Some(code.to_owned()),
            ..event
        });
    }
}

fn path_document((key, worst_case): &(PathKey, Duration)) -> DrillPath {
    DrillPath {
        family: key.family.name().to_owned(),
        promised_ms: millis(*worst_case),
        detected_ms: None,
        back_ms: None,
        flows: None,
        flows_left: None,
    }
}

fn switch_document(switch: &Switch) -> DrillSwitch {
    DrillSwitch {
        policy: switch.policy.clone(),
        family: switch.family.name().to_owned(),
        from: carrier_text(&switch.from),
        to: carrier_text(&switch.to),
    }
}

/// Whether a name can be asked for, with a label before it (RFC 1035, 2.3.1; with the underscore that is usual).
///
/// # Errors
/// Why not.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let good = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    match name.len() <= DRILL_NAME_MAX && name.split('.').all(good) {
        true => Ok(()),
        false => {
            Err(format!("'{}' is no name that can be asked for: as in example.org", name.escape_debug()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_are_names() {
        for good in ["example.org", "a", "_dmarc.example.org", "xn--nxasmq6b.example"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = format!("{}.org", "x".repeat(64));
        for wrong in
            ["", ".", "example..org", "example.org.", "exa mple.org", "ex\u{e4}mple.org", long.as_str()]
        {
            assert!(check_name(wrong).is_err(), "{wrong}");
        }
    }
}
