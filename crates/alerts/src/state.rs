//! What outlives the process: JSON, one thing per line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::deliver::ChannelState;
use crate::incident::Incident;

/// Longest state that is read, bytes: more than [`INCIDENTS_MAX`] incidents of the usual size.
pub(crate) const STATE_BYTES_MAX: usize = 8 << 20;
/// Incidents that are kept at most. Beyond it the oldest that is over goes, else the oldest.
pub(crate) const INCIDENTS_MAX: usize = 200;

/// Everything that is kept.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct State {
    pub(crate) meta: Meta,
    pub(crate) incidents: Vec<Incident>,
    pub(crate) channels: BTreeMap<String, ChannelState>,
}

/// What is about all of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Meta {
    /// Number of the next incident.
    pub(crate) next: u64,
    /// The last event that is in it.
    pub(crate) event: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "line")]
enum Line {
    Meta(Meta),
    Channel { name: String, state: ChannelState },
    Incident(Incident),
}

impl State {
    /// As lines.
    pub(crate) fn save(&self) -> String {
        let channels = self
            .channels
            .iter()
            .map(|(name, state)| Line::Channel { name: name.clone(), state: state.clone() });
        let incidents = self.incidents.iter().cloned().map(Line::Incident);
        let mut out = String::new();
        for line in std::iter::once(Line::Meta(self.meta)).chain(channels).chain(incidents) {
            // Only maps with keys that are no text could fail.
            out.push_str(&serde_json::to_string(&line).unwrap_or_default());
            out.push('\n');
        }
        out
    }

    /// From lines. What cannot be read is left out; how many lines that were comes with it.
    pub(crate) fn load(text: &str) -> (Self, usize) {
        let (mut state, mut bad) = (State::default(), 0);
        if text.len() > STATE_BYTES_MAX {
            return (state, text.lines().count());
        }
        for line in text.lines().filter(|l| !l.is_empty()) {
            match serde_json::from_str(line) {
                Ok(Line::Meta(meta)) => state.meta = meta,
                Ok(Line::Channel { name, state: channel }) => drop(state.channels.insert(name, channel)),
                Ok(Line::Incident(incident)) if state.incidents.len() < INCIDENTS_MAX => {
                    state.incidents.push(incident);
                }
                Ok(Line::Incident(_)) | Err(_) => bad += 1,
            }
        }
        let used = state.incidents.iter().map(|i| i.number + 1).max().unwrap_or(0);
        state.meta.next = state.meta.next.max(used);
        (state, bad)
    }

    /// The clock was set: every moment is as far from now as it was.
    pub(crate) fn shift(&mut self, by_ms: i64) {
        let shift = |ms: &mut u64| *ms = ms.saturating_add_signed(by_ms);
        for incident in &mut self.incidents {
            shift(&mut incident.begin_ms);
            incident.earlier.iter_mut().for_each(|earlier| shift(&mut earlier.begin_ms));
            for moment in [&mut incident.bad_since_ms, &mut incident.well_since_ms, &mut incident.over_ms]
                .into_iter()
                .flatten()
            {
                shift(moment);
            }
            for trouble in &mut incident.troubles {
                shift(&mut trouble.since_ms);
                trouble.until_ms.iter_mut().for_each(shift);
            }
        }
        self.channels.values_mut().for_each(|c| c.moments().for_each(shift));
    }
}
