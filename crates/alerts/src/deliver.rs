//! What is due on which channel, and what becomes of it.
//!
//! A channel has one message in flight at a time. What it knows of an incident is in the incident; so nothing is lost or
//! sent twice by a restart but what was in flight.

use serde::{Deserialize, Serialize};

use crate::engine::{Engine, GROUP_MS, MEMORY_MS, calm_ms};
use crate::incident::{Incident, Stage, Subject, TIMES_UNSTABLE, Told, Trouble};
use crate::settings::{Channel, How, Secret, Settings, Severity, Threshold};
use crate::time::{DAY_MS, Now};

/// Nothing is told of sooner, ms: the switch that follows a loss, and the loss of the other family, belong to it.
pub(crate) const GATHER_MS: u64 = 3_000;
/// An hour, ms.
const HOUR_MS: u64 = 3_600_000;
/// Incidents that are due at once on a channel, from which on they are one message.
const BATCH_MIN: usize = 4;
/// Incidents in one message at most: a text is read, and services have limits (Telegram: 4096 characters).
const BATCH_MAX: usize = 20;
/// First pause after the server could not be reached, and the longest, ms.
const UNREACHABLE_MS: (u64, u64) = (10_000, HOUR_MS);
/// The same after the server has refused: it will most likely do so again, and counts.
const REFUSED_MS: (u64, u64) = (300_000, 6 * HOUR_MS);
/// No two attempts of a channel are closer together, ms.
const ATTEMPTS_APART_MS: u64 = 5_000;
/// A path that came up has to be in the kernel before anything can use it, ms.
const AFTER_UP_MS: u64 = 1_000;
/// An incident that is over that long and still could not be told of is given up, ms.
const GIVE_UP_MS: u64 = 3 * DAY_MS;
/// Longest text of a fault that is kept, characters.
const FAULT_CHARS_MAX: usize = 300;

/// What one channel has gone through.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ChannelState {
    /// It has been seen before.
    begun: bool,
    /// Messages of the last hour, ms since 1970; at most as many as may be sent.
    recent_ms: Vec<u64>,
    last_sent_ms: Option<u64>,
    sent: u64,
    /// Attempts in vain since the last success.
    failures: u32,
    last_try_ms: u64,
    /// Not before this, ms since 1970.
    next_ms: u64,
    last_fault: Option<Fault>,
    /// Messages nobody will get.
    pub(crate) dropped: u64,
    /// When it got its last digest, or began.
    digest_ms: u64,
    /// What the time zone added to UTC then, seconds; absent in states of before this was kept.
    #[serde(default)]
    digest_offset_s: Option<i32>,
    /// The last test: number of its event, and what went wrong.
    test: Option<(u64, Option<String>)>,
}

impl ChannelState {
    pub(crate) fn begin(&mut self, now: Now) {
        if !std::mem::replace(&mut self.begun, true) {
            self.digest_is_of(now);
        }
    }

    fn digest_is_of(&mut self, now: Now) {
        (self.digest_ms, self.digest_offset_s) = (now.ms, Some(now.utc_offset_s));
    }

    /// Every moment in it.
    pub(crate) fn moments(&mut self) -> impl Iterator<Item = &mut u64> {
        let fixed = [&mut self.last_try_ms, &mut self.next_ms, &mut self.digest_ms];
        fixed
            .into_iter()
            .filter(|ms| **ms > 0)
            .chain(self.recent_ms.iter_mut())
            .chain(self.last_sent_ms.as_mut())
    }
}

/// Why a message was not sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Fault {
    /// Whether it is worth trying again soon.
    pub kind: FaultKind,
    /// What went wrong, for people.
    pub text: String,
}

/// Kinds of faults.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// The server was not reached, or did not answer.
    Unreachable,
    /// The server said no.
    Refused,
}

/// A message to be sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Outgoing {
    /// By which channel.
    pub channel: String,
    /// A name that is the same if it has to be sent again, and else unique.
    pub id: String,
    /// What of.
    pub parts: Vec<Part>,
    /// When it is made.
    pub now: Now,
    /// Beginning of what a digest is of, ms since 1970; `None`: it is no digest.
    pub digest_since_ms: Option<u64>,
}

/// An incident in a message.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// The incident as it is.
    pub incident: Incident,
    /// What is said of it.
    pub stage: Stage,
}

/// A message that somebody is sending.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Flight {
    told: Vec<(u64, Told)>,
    digest: bool,
    test: Option<u64>,
}

/// How a channel is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ChannelStatus {
    /// Its name.
    pub name: String,
    /// `email`, `webhook` or `command`.
    pub kind: &'static str,
    /// Messages that are due and not sent.
    pub queued: usize,
    /// Messages sent.
    pub sent: u64,
    /// When the last one was, ms since 1970.
    pub last_sent_ms: Option<u64>,
    /// Attempts in vain since.
    pub failures: u32,
    /// When it is tried again, ms since 1970; `None`: nothing waits for it.
    pub next_try_ms: Option<u64>,
    /// What went wrong last, until something goes well.
    pub last_error: Option<String>,
    /// Messages that were given up.
    pub dropped: u64,
    /// The last test: number of its event, and what went wrong.
    pub test: Option<(u64, Option<String>)>,
}

/// What a channel is to be told of an incident next, and not before when.
pub(crate) fn owed(incident: &Incident, channel: &Channel) -> Option<(Stage, u64)> {
    let told = incident.told.get(&channel.name);
    if let Some(only) = &incident.only {
        return (*only == channel.name && told.is_none()).then_some((Stage::Test, incident.begin_ms));
    }
    match channel.severity {
        Threshold::From(least) if incident.severity >= least => {}
        _ => return None,
    }
    if incident.is_note() {
        return told.is_none().then_some((Stage::Note, incident.begin_ms + GROUP_MS));
    }
    match told {
        Some(told) if !told.over => match incident.over_ms {
            Some(over) => Some((Stage::Over, over)),
            None => (incident.severity > told.severity).then_some((Stage::Open, incident.begin_ms)),
        },
        Some(told) if incident.again == told.again => None,
        _ => first(incident, channel.min_duration_ms.max(GATHER_MS)),
    }
}

/// The first message of an incident (or of its coming again).
fn first(incident: &Incident, min_duration_ms: u64) -> Option<(Stage, u64)> {
    let unstable = incident.times() >= TIMES_UNSTABLE;
    let long = incident.longest_ms >= min_duration_ms;
    match (incident.over_ms, incident.bad_since_ms) {
        (Some(over), _) => (unstable || long).then_some((Stage::Both, over)),
        (None, Some(since)) if !unstable && !long => Some((Stage::Open, since + min_duration_ms)),
        (None, Some(since)) => Some((Stage::Open, since + GATHER_MS)),
        // It may be over: then one message says it all.
        (None, None) => unstable.then_some((Stage::Open, incident.begin_ms + GATHER_MS)),
    }
}

/// Whether a channel still has to be told something of an incident.
pub(crate) fn is_owed(incident: &Incident, channel: &Channel) -> bool {
    owed(incident, channel).is_some()
}

impl Engine {
    /// Messages that are due now, one for each channel at most. Of each the caller says with [`Engine::sent`] how it went.
    pub fn due(&mut self, now: Now) -> Vec<Outgoing> {
        self.settle(now.ms);
        self.forget(now.ms);
        let channels: Vec<Channel> = self.settings.channels.clone();
        channels.iter().filter_map(|channel| self.due_on(channel, now)).collect()
    }

    fn due_on(&mut self, channel: &Channel, now: Now) -> Option<Outgoing> {
        let may = self.may_send_at(channel)?;
        let mut due: Vec<(u64, Stage)> = Vec::new();
        for incident in &self.state.incidents {
            if let Some((stage, at)) = owed(incident, channel)
                && now.ms >= at
                && (stage == Stage::Test || now.ms >= may && !is_quiet(channel, incident, now))
            {
                due.push((incident.number, stage));
            }
        }
        if due.is_empty() {
            return if now.ms >= may && now.ms >= self.digest_at(channel, now)? {
                Some(self.digest(channel, now))
            } else {
                None
            };
        }
        let batch = channel.batches() && due.len() >= BATCH_MIN && due.iter().all(|(_, s)| *s != Stage::Test);
        let test = due.iter().position(|(_, stage)| *stage == Stage::Test);
        let picked = if batch { &due[..due.len().min(BATCH_MAX)] } else { &due[test.unwrap_or(0)..][..1] };
        Some(self.launch(channel, picked, now))
    }

    /// When the next message may be tried; `None` while one is, or if there is no way at all.
    fn may_send_at(&self, channel: &Channel) -> Option<u64> {
        if self.flights.contains_key(&channel.name) || channel.problem.is_some() {
            return None;
        }
        let state = self.state.channels.get(&channel.name)?;
        let most = usize::try_from(channel.rate_per_hour).unwrap_or(usize::MAX);
        let full = state.recent_ms.len().checked_sub(most).and_then(|i| state.recent_ms.get(i));
        Some(state.next_ms.max(full.map_or(0, |oldest| oldest + HOUR_MS)))
    }

    fn launch(&mut self, channel: &Channel, picked: &[(u64, Stage)], now: Now) -> Outgoing {
        let (mut parts, mut told, mut test) = (Vec::new(), Vec::new(), None);
        for (number, stage) in picked {
            let Some(incident) = self.state.incidents.iter().find(|i| i.number == *number) else { continue };
            let over = *stage != Stage::Open;
            told.push((*number, Told { severity: incident.severity, again: incident.again, over }));
            if *stage == Stage::Test {
                test = incident.troubles.first().and_then(|t| t.code.parse().ok());
            }
            parts.push(Part { incident: incident.clone(), stage: *stage });
        }
        self.flights.insert(channel.name.clone(), Flight { told, digest: false, test });
        let id = message_id(&parts);
        Outgoing { channel: channel.name.clone(), id, parts, now, digest_since_ms: None }
    }

    fn digest_at(&self, channel: &Channel, now: Now) -> Option<u64> {
        let state = self.state.channels.get(&channel.name)?;
        let utc_offset_s = state.digest_offset_s.unwrap_or(now.utc_offset_s);
        let last = Now { ms: state.digest_ms, utc_offset_s };
        // The day that follows by the clock on the wall, which may have been put forward or back since.
        Some(last.after_in_zone_of(now, last.until(channel.digest?)))
    }

    fn digest(&mut self, channel: &Channel, now: Now) -> Outgoing {
        let since = self.state.channels.get(&channel.name).map_or(now.ms, |s| s.digest_ms);
        let of_it = |i: &&Incident| i.only.is_none() && i.over_ms.is_none_or(|over| over >= since);
        let incidents = self.state.incidents.iter().filter(of_it).cloned();
        let parts: Vec<Part> = incidents.map(|incident| Part { incident, stage: Stage::Digest }).collect();
        self.flights.insert(channel.name.clone(), Flight { told: Vec::new(), digest: true, test: None });
        let id = format!("{since:x}-digest");
        Outgoing { channel: channel.name.clone(), id, parts, now, digest_since_ms: Some(since) }
    }

    /// How the message in flight on a channel went.
    pub fn sent(&mut self, now: Now, channel: &str, result: Result<(), Fault>) {
        let Some(flight) = self.flights.remove(channel) else { return };
        let settings = &self.settings;
        let Some(state) = self.state.channels.get_mut(channel) else { return };
        self.revision += 1;
        let result = result.map_err(|f| Fault { text: without_secrets(settings, &f.text), ..f });
        if let Some(event) = flight.test {
            state.test = Some((event, result.as_ref().err().map(|f| f.text.clone())));
        }
        let is_told = result.is_ok() || flight.test.is_some();
        for (number, told) in flight.told.iter().filter(|_| is_told) {
            if let Some(incident) = self.state.incidents.iter_mut().find(|i| i.number == *number) {
                incident.told.insert(channel.to_owned(), *told);
            }
        }
        state.last_try_ms = now.ms;
        match result {
            Ok(()) => {
                state.recent_ms.retain(|ms| ms.saturating_add(HOUR_MS) > now.ms);
                state.recent_ms.push(now.ms);
                state.last_sent_ms = Some(now.ms);
                state.sent += 1;
                (state.failures, state.next_ms, state.last_fault) = (0, 0, None);
                if flight.digest {
                    state.digest_is_of(now);
                }
            }
            // Somebody is trying it out: what waits is not delayed by it.
            Err(fault) if flight.test.is_some() && state.failures == 0 => state.last_fault = Some(fault),
            Err(fault) => {
                state.failures = state.failures.saturating_add(1);
                state.next_ms = now.ms + pause(&fault, state.failures, channel);
                state.last_fault = Some(fault);
            }
        }
    }

    /// A path can be used again: who was not reached is tried again at once.
    pub(crate) fn path_is_up(&mut self, now: Now) {
        for state in self.state.channels.values_mut() {
            let unreachable = state.last_fault.as_ref().is_some_and(|f| f.kind == FaultKind::Unreachable);
            if unreachable && state.next_ms > 0 {
                let soon = (now.ms + AFTER_UP_MS).max(state.last_try_ms + ATTEMPTS_APART_MS);
                state.next_ms = state.next_ms.min(soon);
            }
        }
    }

    /// Somebody wants to see a message on a channel; `event` is the number by which the result is known.
    pub fn test(&mut self, now: Now, channel: &str, event: u64) {
        let Some(settings) = self.settings.channel(channel) else { return };
        if let (Some(problem), Some(state)) = (&settings.problem, self.state.channels.get_mut(channel)) {
            state.test = Some((event, Some(format!("it is not tried: {problem}"))));
            return;
        }
        self.begin(now.ms, &Subject::Test);
        if let Some(incident) = self.state.incidents.last_mut() {
            incident.only = Some(channel.to_owned());
            incident.over_ms = Some(now.ms);
            let (code, text) = (event.to_string(), "a test: nothing has happened".to_owned());
            let (since_ms, until_ms, subject) = (now.ms, Some(now.ms), Subject::Test);
            let withdrawn = false;
            incident.troubles.push(Trouble { subject, code, text, since_ms, until_ms, withdrawn, times: 1 });
        }
    }

    /// Forgets what everybody knows, and what nobody could be told in days.
    fn forget(&mut self, now_ms: u64) {
        let (settings, channels, flights) = (&self.settings, &mut self.state.channels, &self.flights);
        let before = self.state.incidents.len();
        self.state.incidents.retain(|incident| {
            let Some(over) = incident.over_ms else { return true };
            if flights.values().any(|f| f.told.iter().any(|(number, _)| *number == incident.number)) {
                return true;
            }
            let old = now_ms >= over.saturating_add(GIVE_UP_MS);
            let mut wanted = false;
            for channel in &settings.channels {
                let Some(state) = channels.get_mut(&channel.name) else { continue };
                let owed = is_owed(incident, channel);
                state.dropped += u64::from(old && owed);
                wanted |=
                    owed || channel.digest.is_some() && incident.only.is_none() && over >= state.digest_ms;
            }
            !old && (wanted || incident.only.is_none() && now_ms < over.saturating_add(MEMORY_MS))
        });
        self.revision += u64::from(self.state.incidents.len() != before);
    }

    /// When [`Engine::due`] has to be asked again at the latest, ms since 1970; `None`: when something happens.
    pub fn wake_at(&self, now: Now) -> Option<u64> {
        let settling = self.state.incidents.iter().filter_map(|i| Some(i.well_since_ms? + calm_ms(i)));
        let channels = self.settings.channels.iter().filter_map(|channel| {
            let may = self.may_send_at(channel)?;
            let digest = self.digest_at(channel, now).map(|at| at.max(may));
            self.next_at(channel, may, now).into_iter().chain(digest).min()
        });
        settling.chain(channels).min()
    }

    /// When a channel is told of the next incident if nothing happens; messages may leave from `may` on.
    fn next_at(&self, channel: &Channel, may: u64, now: Now) -> Option<u64> {
        let at = |incident: &Incident| match owed(incident, channel)? {
            (Stage::Test, at) => Some(at),
            (_, at) if is_quiet(channel, incident, now) => Some(at.max(may).max(quiet_end(channel, now))),
            (_, at) => Some(at.max(may)),
        };
        self.state.incidents.iter().filter_map(at).min()
    }

    /// How the channels are, in the order of the configuration.
    pub fn status(&self, now: Now) -> Vec<ChannelStatus> {
        let of = |channel: &Channel| {
            let state = self.state.channels.get(&channel.name).cloned().unwrap_or_default();
            let due = |i: &&Incident| owed(i, channel).is_some_and(|(_, at)| now.ms >= at);
            let queued = self.state.incidents.iter().filter(due).count();
            ChannelStatus {
                name: channel.name.clone(),
                kind: match channel.how {
                    How::Email(_) => "email",
                    How::Webhook(_) => "webhook",
                    How::Command(_) => "command",
                },
                queued,
                sent: state.sent,
                last_sent_ms: state.last_sent_ms,
                failures: state.failures,
                next_try_ms: (queued > 0)
                    .then(|| self.next_at(channel, self.may_send_at(channel)?, now))
                    .flatten()
                    .map(|ms| ms.max(now.ms)),
                last_error: channel.problem.clone().or(state.last_fault.map(|f| f.text)),
                dropped: state.dropped,
                test: state.test,
            }
        };
        self.settings.channels.iter().map(of).collect()
    }
}

fn is_quiet(channel: &Channel, incident: &Incident, now: Now) -> bool {
    incident.severity < Severity::Critical && channel.quiet.iter().any(|q| q.contains(now))
}

/// When the quiet hours that are now end, ms since 1970.
fn quiet_end(channel: &Channel, now: Now) -> u64 {
    let ends = channel.quiet.iter().filter(|q| q.contains(now)).map(|q| now.ms + now.until(q.to));
    ends.max().unwrap_or(now.ms)
}

fn message_id(parts: &[Part]) -> String {
    let Some(first) = parts.first() else { return String::new() };
    let more = if parts.len() > 1 { format!("-and-{}", parts.len() - 1) } else { String::new() };
    let (incident, stage) = (&first.incident, first.stage.word());
    let severity = if first.stage == Stage::Open { incident.severity.word() } else { "" };
    format!("{}-{stage}{severity}{}{more}", incident.id, incident.again)
}

/// Twice as long each time, and not in step with other channels: a tenth more or less, by the channel's name.
fn pause(fault: &Fault, failures: u32, channel: &str) -> u64 {
    let (first, longest) = match fault.kind {
        FaultKind::Unreachable => UNREACHABLE_MS,
        FaultKind::Refused => REFUSED_MS,
    };
    let pause = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    // Stable from run to run.
    let hash = mwan_config::ipfire::fnv1a(format!("{channel} {failures}").as_bytes());
    pause - pause / 10 + hash % (pause / 5)
}

/// A text in which no secret of any channel stands, on one line, and not longer than anybody reads.
fn without_secrets(settings: &Settings, text: &str) -> String {
    let of = |channel: &Channel| match &channel.how {
        How::Email(mail) => vec![mail.password.clone()],
        How::Webhook(hook) => vec![Some(hook.url.clone()), hook.secret.clone()],
        How::Command(_) => Vec::new(),
    };
    let mut secrets: Vec<Secret> = settings.channels.iter().flat_map(of).flatten().collect();
    // The longest first: one may be a part of another.
    secrets.sort_by_key(|s| std::cmp::Reverse(s.reveal().len()));
    let mut text = text.to_owned();
    for secret in secrets.iter().filter(|s| !s.reveal().is_empty()) {
        text = text.replace(secret.reveal(), "…");
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(FAULT_CHARS_MAX).collect()
}
