//! Events and snapshots → incidents.
//!
//! | in | becomes |
//! |---|---|
//! | a path is not usable | a trouble; it joins an incident of its interface, or one that has just begun and nobody was told of, else begins one |
//! | it is usable again | the end of its trouble; an incident without troubles is over when it has stayed so |
//! | its owner takes it down, or out of the configuration | the same, but nobody is told that it is right again |
//! | it is lost again soon after | the same incident |
//! | a policy's traffic moves | what moved in the incident of the interface it left; without any WAN left a trouble of its own |
//! | owner's commands, repairs, starts | notes, several of a time in one incident |

use mwan_api::{Event, EventKind, Severity as Weight};

use crate::deliver::Flight;
use crate::event::{PathNow, Snapshot};
use crate::incident::{Incident, MOVES_MAX, Move, Subject, TROUBLES_MAX, Trouble, is_wanted, rank};
use crate::settings::{Settings, Severity};
use crate::state::{INCIDENTS_MAX, State};
use crate::time::{DAY_MS, Now};

/// Troubles that begin within this time of each other belong together, as long as nobody was told, ms.
pub(crate) const GROUP_MS: u64 = 30_000;
/// Moves are kept this long for an incident that is heard of after them, ms.
const MOVE_BEFORE_MS: u64 = 5_000;
/// How long nothing must be wrong until an incident is over, ms.
pub(crate) const CALM_MS: u64 = 30_000;
/// The same for one that comes and goes, and how long after its end it may come again: as long as the core remembers losses (I6), ms.
pub(crate) const MEMORY_MS: u64 = 600_000;
/// An event's own time counts if it is not older than this, ms: an older one is of before the clock was set.
const EVENT_AGE_MAX_MS: u64 = DAY_MS;
/// Longest text that is kept of an event, bytes.
const TEXT_MAX: usize = 400;

/// What happens, and who has to be told.
#[derive(Debug)]
pub struct Engine {
    pub(crate) settings: Settings,
    pub(crate) state: State,
    pub(crate) flights: std::collections::BTreeMap<String, Flight>,
    /// Moves nobody has taken yet, with their times.
    loose: Vec<(u64, Move)>,
    /// Counts what has to be kept.
    pub(crate) revision: u64,
}

impl Engine {
    /// Goes on with what was `saved`; the second value is how many lines of it could not be read.
    pub fn new(settings: Settings, saved: &str, now: Now) -> (Self, usize) {
        let (mut state, bad) = State::load(saved);
        state.channels.retain(|name, _| settings.channel(name).is_some());
        for channel in &settings.channels {
            state.channels.entry(channel.name.clone()).or_default().begin(now);
        }
        for incident in &mut state.incidents {
            incident.told.retain(|name, _| settings.channel(name).is_some());
        }
        (Engine { settings, state, flights: Default::default(), loose: Vec::new(), revision: 0 }, bad)
    }

    /// What has to be kept, as lines of JSON.
    pub fn save(&self) -> String {
        self.state.save()
    }

    /// Changes whenever [`Engine::save`] gives something else that matters.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The last event that is in [`Engine::save`].
    pub fn last_event(&self) -> u64 {
        self.state.meta.event
    }

    /// The incidents that are kept, oldest first.
    pub fn incidents(&self) -> &[Incident] {
        &self.state.incidents
    }

    /// The wall clock was set by so much: every moment is as far from now as it was.
    pub fn clock_set(&mut self, by_ms: i64) {
        self.state.shift(by_ms);
        self.revision += 1;
    }

    /// The daemon's newest event is `latest`. Who hears of the daemon for the first time does not care for what was before;
    /// and if that is before what was heard, the daemon has lost its memory and counts anew.
    pub fn newest_event(&mut self, latest: u64) {
        if (self.state.meta.event == 0 && latest > 0) || self.state.meta.event > latest {
            self.state.meta.event = latest;
            self.revision += 1;
        }
    }

    /// Something has happened.
    pub fn event(&mut self, now: Now, event: &Event) {
        if event.id <= self.state.meta.event {
            return; // heard before
        }
        self.state.meta.event = event.id;
        let recent = now.ms.saturating_sub(EVENT_AGE_MAX_MS)..=now.ms;
        let at = if recent.contains(&event.time_ms) { event.time_ms } else { now.ms };
        self.settle(now.ms);
        let (text, code) = (cut(&event.text), event.code.clone().unwrap_or_default());
        match event.kind {
            EventKind::Path => {
                if let (Some(interface), Some(family), Some(to)) =
                    (&event.interface, &event.family, &event.to)
                {
                    let subject = Subject::Path { interface: cut(interface), family: cut(family) };
                    self.path(at, subject, to, &code, reason_of(&text));
                    if is_usable(to) && !event.from.as_deref().is_some_and(is_usable) {
                        self.path_is_up(now);
                    }
                }
            }
            // Of a policy that no rule leads to.
            EventKind::Switch if event.severity == Weight::Debug => {}
            EventKind::Switch => self.switch(at, event),
            EventKind::Apply if event.severity >= Weight::Warning => {
                self.bad(at, Subject::Kernel, &code, &text)
            }
            EventKind::Apply => self.well(at, &Subject::Kernel, Ended::Right),
            EventKind::Config if event.severity >= Weight::Warning => {
                self.bad(at, Subject::Config, &code, &text)
            }
            EventKind::Config => self.well(at, &Subject::Config, Ended::Right),
            // It stops on purpose, and nobody will be told of anything from now on.
            EventKind::Daemon | EventKind::Drill if event.severity >= Weight::Warning => {
                self.note(at, Severity::Warning, &text)
            }
            EventKind::Repair | EventKind::Command | EventKind::Daemon | EventKind::Drill => {
                self.note(at, Severity::Info, &text)
            }
        }
    }

    /// How everything is: what was missed is made up for.
    pub fn snapshot(&mut self, now: Now, snapshot: &Snapshot) {
        self.settle(now.ms);
        for PathNow { interface, family, status, code, text, age_ms } in &snapshot.paths {
            let subject = Subject::Path { interface: cut(interface), family: cut(family) };
            let came_up = is_usable(status) && self.open_subjects().any(|open| *open == subject);
            self.path(now.ms.saturating_sub(*age_ms), subject, status, code, &cut(text));
            // One that has been up all the time is no reason to try a server again that does not answer.
            if came_up {
                self.path_is_up(now);
            }
        }
        for (policy, family) in &snapshot.without_wan {
            let subject = Subject::Policy { policy: cut(policy), family: cut(family) };
            self.bad(now.ms, subject, "no_wan", "");
        }
        let gone: Vec<Subject> = self.open_subjects().filter(|s| !is_in(snapshot, s)).cloned().collect();
        for subject in &gone {
            self.well(now.ms, subject, ended(snapshot, subject));
        }
        if let Some(text) = &snapshot.apply_error {
            self.bad(now.ms, Subject::Kernel, "apply_failed", &cut(text));
        }
        if let Some(text) = &snapshot.config_rejected {
            self.bad(now.ms, Subject::Config, "config_rejected", &cut(text));
        }
    }

    fn open_subjects(&self) -> impl Iterator<Item = &Subject> {
        let troubles = self.state.incidents.iter().flat_map(|i| &i.troubles);
        troubles.filter(|t| t.until_ms.is_none()).map(|t| &t.subject)
    }

    fn path(&mut self, at: u64, subject: Subject, status: &str, code: &str, text: &str) {
        match status {
            usable if is_usable(usable) => self.well(at, &subject, Ended::Right),
            // `disabled` is also a path without a device.
            "offline" | "connecting" | "disabled" if !is_wanted(code) => self.bad(at, subject, code, text),
            "offline" | "connecting" | "disabled" => self.well(at, &subject, Ended::Withdrawn),
            _ => {}
        }
    }

    /// Something is wrong, or still is.
    fn bad(&mut self, at: u64, subject: Subject, code: &str, text: &str) {
        let index = self.incident_for(at, &subject);
        let incident = &mut self.state.incidents[index];
        if let Some(over) = incident.over_ms.take() {
            incident.longest_ms = 0;
            if incident.told.is_empty() {
                incident.begin_anew(at, over);
            } else {
                incident.again += 1;
            }
        }
        incident.severity = incident.severity.max(subject.severity());
        let full = incident.troubles.len() >= TROUBLES_MAX;
        match incident.troubles.iter_mut().find(|t| t.subject == subject) {
            Some(trouble) => {
                let again = trouble.until_ms.take().is_some();
                trouble.withdrawn = false;
                trouble.times += u32::from(again);
                // The deepest cause of one loss counts; on the way back there are others, which explain nothing.
                if rank(code) < rank(&trouble.code) || again && rank(code) < rank("") {
                    (trouble.code, trouble.text) = (code.to_owned(), text.to_owned());
                } else if !again && incident.bad_since_ms.is_some() {
                    return;
                }
            }
            None if full => return,
            None => incident.troubles.push(Trouble {
                subject,
                code: code.to_owned(),
                text: text.to_owned(),
                since_ms: at,
                until_ms: None,
                withdrawn: false,
                times: 1,
            }),
        }
        incident.bad_since_ms.get_or_insert(at);
        incident.well_since_ms = None;
        self.revision += 1;
    }

    /// The incident a trouble belongs to.
    fn incident_for(&mut self, at: u64, subject: &Subject) -> usize {
        let incidents = &self.state.incidents;
        let position =
            |fits: &dyn Fn(&Incident) -> bool| incidents.iter().rposition(|i| i.only.is_none() && fits(i));
        let has = |i: &Incident| i.troubles.iter().any(|t| t.subject == *subject);
        let may_return = |i: &Incident| i.over_ms.is_none_or(|over| at < over.saturating_add(MEMORY_MS));
        let interface = |i: &Incident| subject.interface().is_some_and(|name| i.concerns(name));
        let just_begun = |i: &Incident| i.told.is_empty() && at < i.begin_ms.saturating_add(GROUP_MS);
        let is_path = |i: &Incident| i.troubles.iter().any(|t| t.subject.interface().is_some());
        let note = *subject == Subject::Note;
        let active = |i: &Incident| i.over_ms.is_none() && !i.is_note();
        let found = position(&|i| !note && has(i) && active(i))
            .or_else(|| position(&|i| !note && has(i) && may_return(i)))
            .or_else(|| position(&|i| interface(i) && active(i)))
            // What a policy lost, it lost with the paths that went last.
            .or_else(|| {
                position(&|i| {
                    matches!(subject, Subject::Policy { .. }) && is_path(i) && i.bad_since_ms.is_some()
                })
            })
            .or_else(|| position(&|i| i.is_note() == note && just_begun(i) && (note || active(i))));
        found.unwrap_or_else(|| {
            self.begin(at, subject);
            self.state.incidents.len() - 1
        })
    }

    /// A new incident, with the moves that were heard of just before if it is one that can have moved anything.
    pub(crate) fn begin(&mut self, at: u64, subject: &Subject) {
        let mut incident = Incident::new(self.state.meta.next, at);
        self.state.meta.next += 1;
        if !matches!(subject, Subject::Note | Subject::Test) {
            let loose = std::mem::take(&mut self.loose).into_iter();
            let recent = loose.filter(|(time, _)| time.saturating_add(MOVE_BEFORE_MS) >= at);
            incident.moves = recent.map(|(_, moved)| moved).collect();
        }
        self.make_room();
        self.state.incidents.push(incident);
        self.revision += 1;
    }

    fn make_room(&mut self) {
        if self.state.incidents.len() < INCIDENTS_MAX {
            return;
        }
        let over = self.state.incidents.iter().position(|i| i.over_ms.is_some());
        let lost = self.state.incidents.remove(over.unwrap_or(0));
        for (name, channel) in &mut self.state.channels {
            let wanted = self.settings.channel(name).is_some_and(|c| crate::deliver::is_owed(&lost, c));
            channel.dropped += u64::from(wanted);
        }
    }

    /// Something is right (again), or no trouble any more.
    fn well(&mut self, at: u64, subject: &Subject, ended: Ended) {
        for incident in &mut self.state.incidents {
            for trouble in &mut incident.troubles {
                if trouble.subject == *subject && trouble.until_ms.is_none() {
                    trouble.until_ms = Some(at.max(trouble.since_ms));
                    trouble.withdrawn = ended == Ended::Withdrawn;
                    self.revision += 1;
                }
            }
            if incident.troubles.iter().all(|t| t.until_ms.is_some())
                && let Some(since) = incident.bad_since_ms.take()
            {
                incident.longest_ms = incident.longest_ms.max(at.saturating_sub(since));
                incident.well_since_ms = Some(at.max(since));
            }
        }
    }

    /// Traffic of a policy goes elsewhere.
    fn switch(&mut self, at: u64, event: &Event) {
        let (Some(policy), Some(family)) = (&event.policy, &event.family) else { return };
        let (from, to) = (event.from.clone().unwrap_or_default(), event.to.clone().unwrap_or_default());
        let moved = Move { policy: cut(policy), family: cut(family), from: cut(&from), to: cut(&to) };
        let active = |i: &Incident| i.over_ms.is_none() && !i.is_note() && i.only.is_none();
        let names = |i: &Incident, carrier: &str| members(carrier).any(|name| i.concerns(name));
        let incidents = &self.state.incidents;
        let left =
            |i: &Incident| members(&from).any(|name| !members(&to).any(|t| t == name) && i.concerns(name));
        let returns = |i: &Incident| has_move(i, &moved) && i.moves.iter().any(|m| m.from == to);
        let index = incidents
            .iter()
            .rposition(|i| active(i) && returns(i))
            .or_else(|| incidents.iter().rposition(|i| active(i) && left(i)))
            .or_else(|| incidents.iter().rposition(|i| active(i) && has_move(i, &moved)))
            .or_else(|| incidents.iter().rposition(|i| active(i) && (names(i, &from) || names(i, &to))));
        match index {
            Some(index) => record(&mut self.state.incidents[index].moves, moved),
            None => self.loose.push((at, moved)),
        }
        self.loose.retain(|(time, _)| time.saturating_add(MOVE_BEFORE_MS) >= at);
        let excess = self.loose.len().saturating_sub(MOVES_MAX);
        self.loose.drain(..excess);
        self.revision += u64::from(index.is_some());
        let subject = Subject::Policy { policy: cut(policy), family: cut(family) };
        if is_last_resort(&to) {
            self.bad(at, subject, "no_wan", &cut(&to));
        } else {
            self.well(at, &subject, Ended::Right);
        }
    }

    /// Something has happened and is over.
    fn note(&mut self, at: u64, severity: Severity, text: &str) {
        let index = self.incident_for(at, &Subject::Note);
        let incident = &mut self.state.incidents[index];
        incident.over_ms = Some(at.max(incident.begin_ms));
        incident.severity = incident.severity.max(severity);
        if incident.troubles.len() < TROUBLES_MAX {
            let (code, text) = (String::new(), text.to_owned());
            let (since_ms, until_ms) = (at, Some(at));
            incident.troubles.push(Trouble {
                subject: Subject::Note,
                code,
                text,
                since_ms,
                until_ms,
                withdrawn: false,
                times: 1,
            });
        }
        self.revision += 1;
    }

    /// Ends incidents that have been calm long enough, and forgets those everybody knows.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        for incident in &mut self.state.incidents {
            let Some(well) = incident.well_since_ms else { continue };
            if now_ms >= well.saturating_add(calm_ms(incident)) {
                (incident.over_ms, incident.well_since_ms) = (Some(well), None);
                self.revision += 1;
            }
        }
    }
}

/// Whether a path in this state may carry.
fn is_usable(state: &str) -> bool {
    matches!(state, "online" | "disconnecting")
}

/// How a trouble ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ended {
    /// It is right again.
    Right,
    /// Nobody wants it to be right any more.
    Withdrawn,
}

/// How a trouble has ended of which a snapshot does not say that it goes on.
fn ended(snapshot: &Snapshot, subject: &Subject) -> Ended {
    match subject {
        Subject::Path { .. } => Ended::Withdrawn,
        Subject::Policy { policy, family }
            if !snapshot.with_wan.iter().any(|(p, f)| (p, f) == (policy, family)) =>
        {
            Ended::Withdrawn
        }
        _ => Ended::Right,
    }
}

/// How long an incident has to be calm until it is over.
pub(crate) fn calm_ms(incident: &Incident) -> u64 {
    if incident.is_unstable() { MEMORY_MS } else { CALM_MS }
}

/// Whether a move of this policy is known of the incident.
fn has_move(incident: &Incident, moved: &Move) -> bool {
    incident.moves.iter().any(|m| (&m.policy, &m.family) == (&moved.policy, &moved.family))
}

fn record(moves: &mut Vec<Move>, moved: Move) {
    let full = moves.len() >= MOVES_MAX;
    match moves.iter_mut().find(|m| (&m.policy, &m.family) == (&moved.policy, &moved.family)) {
        Some(known) => known.to = moved.to,
        None if full => {}
        None => moves.push(moved),
    }
}

/// The interfaces that carry, of `wan` or `wan 60%, wanb 40%`.
fn members(carrier: &str) -> impl Iterator<Item = &str> {
    let words = carrier.split([',', '+']).filter_map(|part| part.split_whitespace().next());
    words.filter(|word| !is_last_resort(word))
}

/// Whether this is what happens without a WAN.
fn is_last_resort(carrier: &str) -> bool {
    matches!(carrier, "" | "none" | "unreachable" | "blackhole" | "default")
}

/// Whether a snapshot says something about the subject, or is silent because it is right.
fn is_in(snapshot: &Snapshot, subject: &Subject) -> bool {
    match subject {
        Subject::Path { interface, family } => {
            snapshot.paths.iter().any(|p| (&p.interface, &p.family) == (interface, family))
        }
        Subject::Policy { policy, family } => {
            snapshot.without_wan.iter().any(|(p, f)| (p, f) == (policy, family))
        }
        Subject::Kernel => snapshot.apply_error.is_some(),
        Subject::Config => snapshot.config_rejected.is_some(),
        Subject::Note | Subject::Test => true,
    }
}

/// The reason in the text of a path's event, which begins with what else the event says.
fn reason_of(text: &str) -> &str {
    text.split_once(" -> ").and_then(|(_, rest)| rest.split_once(": ")).map_or(text, |(_, reason)| reason)
}

/// Bounded, and without what steers a terminal or ends a header.
fn cut(text: &str) -> String {
    let mut out: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if out.len() > TEXT_MAX {
        let end = (0..=TEXT_MAX).rev().find(|i| out.is_char_boundary(*i)).unwrap_or(0);
        out.truncate(end);
        out.push('…');
    }
    out
}
