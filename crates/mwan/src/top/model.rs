//! What is known, and what is selected. No clock, no terminal, no socket.

use std::collections::{BTreeMap, VecDeque};

use crate::show;
use mwan_api::{
    Event, ExplainQuery, Flows, Interface, Path, Request, Response, Sample, Severity, Status, Watched,
};
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

/// Samples that are kept of each path, one a second: as many as the widest sparkline has columns.
const SAMPLES_MAX: usize = 240;
/// Events that are kept.
const EVENTS_MAX: usize = 500;

/// A part of the picture in which something can be selected.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Pane {
    /// Interfaces; drain and enable are about the one that is selected.
    #[default]
    Interfaces,
    /// What carries each policy.
    Policies,
    /// The largest connections.
    Flows,
    /// What has happened.
    Events,
}

impl Pane {
    pub(super) const ALL: [Pane; 4] = [Pane::Interfaces, Pane::Policies, Pane::Flows, Pane::Events];

    fn after(self, steps: usize) -> Self {
        let at = Pane::ALL.iter().position(|pane| *pane == self).unwrap_or(0);
        Pane::ALL[(at + steps) % Pane::ALL.len()]
    }
}

/// What a key leads to.
#[derive(PartialEq, Debug)]
pub(super) enum Action {
    /// The end.
    Quit,
    /// The daemon is to be told this.
    Ask(Request),
}

/// A question to the user, answered by `y`.
#[derive(PartialEq, Debug)]
pub(super) struct Question {
    pub(super) text: String,
    /// What is done, in two words.
    does: String,
    request: Request,
}

/// What the last seconds of a path were like.
#[derive(Default, Debug)]
pub(super) struct Track {
    /// Round-trip times, microseconds, oldest first; none where nothing answered.
    pub(super) rtt: VecDeque<Option<u64>>,
    pub(super) jitter_us: Option<u64>,
    pub(super) loss_percent: Option<u8>,
    /// Bytes a second, of the device.
    pub(super) rx: Option<u64>,
    pub(super) tx: Option<u64>,
    /// Time and counters of the sample before.
    before: Option<(u64, Option<u64>, Option<u64>)>,
}

impl Track {
    fn add(&mut self, time_ms: u64, path: &mwan_api::PathSample) {
        if self.rtt.len() == SAMPLES_MAX {
            self.rtt.pop_front();
        }
        self.rtt.push_back(path.rtt_us.filter(|_| path.usable));
        (self.jitter_us, self.loss_percent) = (path.jitter_us, path.loss_percent);
        let rate = |now: Option<u64>, before: Option<u64>, span_ms: u64| {
            now?.checked_sub(before?)?.checked_mul(1000)?.checked_div(span_ms)
        };
        if let Some((at, rx, tx)) = self.before {
            let span = time_ms.saturating_sub(at);
            (self.rx, self.tx) = (rate(path.rx_bytes, rx, span), rate(path.tx_bytes, tx, span));
        }
        self.before = Some((time_ms, path.rx_bytes, path.tx_bytes));
    }
}

/// Everything the picture is made of.
#[derive(Default, Debug)]
pub(super) struct Model {
    pub(super) status: Option<Box<Status>>,
    /// Why the daemon does not answer, if it does not.
    pub(super) problem: Option<String>,
    /// By interface and family.
    pub(super) tracks: BTreeMap<(String, String), Track>,
    pub(super) flows: Option<Flows>,
    /// How many connections each interface has more than two seconds ago.
    pub(super) gained: BTreeMap<String, i64>,
    /// Oldest first.
    pub(super) events: VecDeque<Event>,
    /// When the last sample was, milliseconds since 1970.
    pub(super) time_ms: Option<u64>,
    pub(super) focus: Pane,
    selected: [usize; 4],
    /// What became of the last command.
    pub(super) message: Option<String>,
    pub(super) question: Option<Question>,
    pub(super) help: bool,
    /// What was asked for, over the rest.
    pub(super) page: Option<Page>,
}

/// A text to be read.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) text: String,
    /// Lines that have been read.
    pub(super) above: u16,
}

impl Model {
    /// A line of `watch`.
    pub(super) fn watched(&mut self, watched: Watched) {
        match watched {
            Watched::Event(event) => self.event(event),
            Watched::Sample(sample) => self.sample(&sample),
            Watched::Missed | Watched::TestAlert { .. } => {}
        }
    }

    fn event(&mut self, event: Event) {
        // A daemon that is heard again tells of the past once more.
        let new = self.events.back().is_none_or(|last| last.id < event.id);
        if event.severity == Severity::Debug || !new {
            return;
        }
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
        // Who reads older ones goes on reading them.
        if self.focus == Pane::Events && self.selected(Pane::Events) > 0 {
            self.selected[Pane::Events as usize] += 1;
        }
    }

    fn sample(&mut self, sample: &Sample) {
        self.time_ms = Some(sample.time_ms);
        for path in &sample.paths {
            let key = (path.interface.clone(), path.family.clone());
            self.tracks.entry(key).or_default().add(sample.time_ms, path);
        }
        let there = |(interface, family): &(String, String)| {
            sample.paths.iter().any(|path| path.interface == *interface && path.family == *family)
        };
        self.tracks.retain(|key, _| there(key));
    }

    /// What the daemon answered to the clock.
    pub(super) fn answer(&mut self, answer: Result<Response, String>) {
        match answer {
            Ok(Response::Status(status)) => {
                self.status = Some(status);
                self.problem = None;
            }
            Ok(Response::Flows(flows)) => self.take_flows(flows),
            Ok(_) => {}
            Err(text) => self.problem = Some(text),
        }
    }

    /// What it answered to a key.
    pub(super) fn told(&mut self, answer: Result<Response, String>) {
        let before = self.message.take().unwrap_or_default();
        self.message = Some(match answer {
            Ok(Response::Explanation(explanation)) => {
                self.page = Some(Page { text: show::explanation(&explanation), above: 0 });
                return;
            }
            Ok(_) => format!("{before}: done"),
            Err(text) => text,
        });
    }

    fn take_flows(&mut self, flows: Flows) {
        let count = |all: &Flows, name: &str| {
            let found = all.by_interface.iter().find(|i| i.interface == name);
            found.map_or(0, |i| i64::try_from(i.flows).unwrap_or(i64::MAX))
        };
        if let Some(before) = &self.flows {
            let gain = |name: &String| (name.clone(), count(&flows, name) - count(before, name));
            self.gained = flows.by_interface.iter().map(|i| gain(&i.interface)).collect();
        }
        self.flows = Some(flows);
    }

    /// What is selected in a pane; within what there is.
    pub(super) fn selected(&self, pane: Pane) -> usize {
        self.selected[pane as usize].min(self.rows(pane).saturating_sub(1))
    }

    fn rows(&self, pane: Pane) -> usize {
        let status = self.status.as_deref();
        match pane {
            Pane::Interfaces => self.paths().count(),
            Pane::Policies => status.map_or(0, |s| s.policies.len()),
            Pane::Flows => self.flows.as_ref().map_or(0, |f| f.top.len()),
            Pane::Events => self.events.len(),
        }
    }

    /// A row per path; an interface that is switched off has one of its own.
    pub(super) fn paths(&self) -> impl Iterator<Item = (&Interface, Option<&Path>)> {
        let interfaces = self.status.iter().flat_map(|status| &status.interfaces);
        interfaces.flat_map(|interface| {
            let none = interface.paths.is_empty().then_some((interface, None));
            none.into_iter().chain(interface.paths.iter().map(move |path| (interface, Some(path))))
        })
    }

    /// What a key means.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Action> {
        if key.kind == KeyEventKind::Release {
            return None;
        }
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Some(Action::Quit);
        }
        if let Some(question) = self.question.take() {
            let yes = matches!(key.code, KeyCode::Char('y' | 'Y'));
            self.message = Some(if yes { question.does } else { "nothing done".to_owned() });
            return yes.then_some(Action::Ask(question.request));
        }
        if self.help {
            self.help = false;
            return None;
        }
        if let Some(page) = &mut self.page {
            let lines = u16::try_from(page.text.lines().count()).unwrap_or(u16::MAX);
            match key.code {
                KeyCode::Down | KeyCode::Char('j') => page.above = page.above.saturating_add(1).min(lines),
                KeyCode::Up | KeyCode::Char('k') => page.above = page.above.saturating_sub(1),
                _ => self.page = None,
            }
            return None;
        }
        self.message = None;
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Some(Action::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = true,
            KeyCode::Tab => self.focus = self.focus.after(1),
            KeyCode::BackTab => self.focus = self.focus.after(Pane::ALL.len() - 1),
            KeyCode::Down | KeyCode::Char('j') => self.step(1),
            KeyCode::Up | KeyCode::Char('k') => self.step(-1),
            KeyCode::PageDown => self.step(10),
            KeyCode::PageUp => self.step(-10),
            KeyCode::Home => self.step(isize::MIN),
            KeyCode::End => self.step(isize::MAX),
            KeyCode::Char('d') => return self.drain(),
            KeyCode::Char('e') => self.enable(),
            KeyCode::Char('x') => return self.explain(),
            _ => {}
        }
        None
    }

    fn step(&mut self, by: isize) {
        let last = self.rows(self.focus).saturating_sub(1);
        let at = self.selected(self.focus).saturating_add_signed(by);
        self.selected[self.focus as usize] = at.min(last);
    }

    /// Of the interface that is selected: its end, if it is drained.
    fn drain(&mut self) -> Option<Action> {
        let (interface, path) = self.paths().nth(self.selected(Pane::Interfaces))?;
        let (interface, drained) = (interface.name.clone(), path.is_some_and(|path| path.drained));
        self.message = Some(format!("{} {interface}", if drained { "undrain" } else { "drain" }));
        Some(Action::Ask(if drained { Request::Undrain { interface } } else { Request::Drain { interface } }))
    }

    /// Why the connection that is selected leaves where it leaves.
    fn explain(&mut self) -> Option<Action> {
        let flow =
            self.flows.as_ref()?.top.get(self.selected(Pane::Flows)).filter(|_| self.focus == Pane::Flows);
        let Some(flow) = flow else {
            self.message = Some("select a connection first (Tab)".to_owned());
            return None;
        };
        let query = ExplainQuery { flow: Some(flow.id.to_string()), ..ExplainQuery::default() };
        self.message = Some("explain".to_owned());
        Some(Action::Ask(Request::Explain(query)))
    }

    /// Takes the interface that is selected down, or brings it up again; both move traffic, so it asks.
    fn enable(&mut self) {
        let Some((interface, path)) = self.paths().nth(self.selected(Pane::Interfaces)) else { return };
        let name = interface.name.clone();
        self.question = Some(match path {
            None => {
                self.message = Some(format!("{name} is disabled in the configuration"));
                return;
            }
            Some(path) if path.reason.code == "taken_down" => Question {
                text: format!("bring {name} up again? (y/n)"),
                does: format!("ifup {name}"),
                request: Request::IfUp { interface: name },
            },
            Some(_) => Question {
                text: format!("take {name} down: no traffic and no probes until it is brought up? (y/n)"),
                does: format!("ifdown {name}"),
                request: Request::IfDown { interface: name },
            },
        });
    }
}
