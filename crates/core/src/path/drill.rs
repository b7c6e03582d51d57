//! A path that is made to look dead, and what is really true of it.

use std::time::Duration;

use mwan_config::{Interface, Tracking};

use super::{LINK_LOST, Path};
use crate::reason::Reason;
use crate::{Outcome, State, Target, Time, Tracker};

/// What a drill keeps of a path: a second tracker, which is told the truth.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Shadow {
    /// Told of every answer. Its rounds are those of the path's own tracker.
    tracker: Tracker,
    /// When the first of its bad rounds in a row began.
    first_bad: Time,
    /// Answers do not count.
    dark: bool,
    until: Time,
    /// Flows stay on the path.
    keeps_flows: bool,
}

impl Shadow {
    /// Whether it can be that of a path with so many targets.
    #[cfg(feature = "record")]
    pub(super) fn is_sound(&self, targets: usize) -> bool {
        self.tracker.is_sound() && self.tracker.targets().len() == targets
    }

    fn note(&mut self, outcome: Option<Outcome>) {
        if outcome.is_some() && self.tracker.bad_rounds() == 1 {
            self.first_bad = self.tracker.round_started().unwrap_or(self.first_bad);
        }
    }
}

impl Path {
    /// From now on answers do not count.
    pub(crate) fn begin_drill(&mut self, until: Time, keeps_flows: bool, now: Time) {
        let tracker = self.tracker.clone();
        self.drill = Some(Shadow { tracker, first_bad: now, dark: true, until, keeps_flows });
    }

    /// Answers count again: what follows is the way back of any path.
    pub(crate) fn lift_drill(&mut self) {
        if let Some(drill) = &mut self.drill {
            drill.dark = false;
        }
    }

    /// Whether it takes part in a drill and is not back yet.
    pub(crate) fn drilled(&self) -> bool {
        self.drill.is_some()
    }

    /// Whether its flows stay although it looks dead.
    pub(crate) fn keeps_flows(&self) -> bool {
        self.drill.as_ref().is_some_and(|drill| drill.keeps_flows)
    }

    /// Whether it could carry if there were no drill.
    pub(crate) fn really_usable(&self) -> bool {
        self.drill.as_ref().map_or(self.usable(), |drill| drill.tracker.state().usable() && !self.on_trial)
    }

    /// State and score as they would be without a drill.
    pub(crate) fn real_state(&self) -> (State, u32) {
        let tracker = self.drill.as_ref().map_or(&self.tracker, |drill| &drill.tracker);
        (tracker.state(), tracker.score())
    }

    /// Since when its rounds have really been bad, if they are.
    pub(crate) fn bad_since(&self) -> Option<Time> {
        let own = (&self.tracker, self.first_bad);
        let (tracker, first_bad) = self.drill.as_ref().map_or(own, |drill| (&drill.tracker, drill.first_bad));
        (tracker.bad_rounds() > 0).then_some(first_bad)
    }

    /// Its targets as they are, whatever is pretended.
    pub(crate) fn real_targets(&self) -> &[Target] {
        self.drill.as_ref().map_or(&self.tracker, |drill| &drill.tracker).targets()
    }

    /// The reason, while a drill is why the tracker says so. Also on the way back: without the drill it would not be there.
    pub(super) fn drill_reason(&self, interface: &Interface) -> Option<Reason> {
        let drill = self.drill.as_ref()?;
        let (up, down) = (interface.tracking.up, interface.tracking.down);
        match self.tracker.state() {
            State::Disconnecting | State::Offline => {
                Some(Reason::Drill { bad_rounds: self.tracker.bad_rounds(), down, until: drill.until })
            }
            State::Connecting => Some(Reason::DrillReturn { good_rounds: self.tracker.score(), up }),
            State::Online | State::Disabled => None,
        }
    }

    pub(crate) fn reply(
        &mut self,
        settings: &Tracking,
        (round, target): (u64, usize),
        rtt: Duration,
        now: Time,
    ) -> Option<Outcome> {
        if let Some(drill) = &mut self.drill {
            let outcome = drill.tracker.reply(settings, round, target, rtt, now);
            drill.note(outcome);
            if drill.dark {
                return None;
            }
        }
        self.tracker.reply(settings, round, target, rtt, now)
    }

    pub(crate) fn failure(
        &mut self,
        settings: &Tracking,
        (round, target): (u64, usize),
        error: String,
        now: Time,
    ) -> Option<Outcome> {
        if let Some(drill) = &mut self.drill {
            let outcome = drill.tracker.failure(settings, round, target, error.clone(), now);
            drill.note(outcome);
            if drill.dark {
                return None;
            }
        }
        self.tracker.failure(settings, round, target, error, now)
    }

    /// What time alone decides of the round on the wire.
    pub(crate) fn timeout(&mut self, settings: &Tracking, now: Time) -> Option<Outcome> {
        if let Some(drill) = &mut self.drill {
            let outcome = drill.tracker.timeout(settings, now);
            drill.note(outcome);
        }
        self.tracker.timeout(settings, now)
    }

    /// The tracker has begun a round.
    pub(crate) fn follow_round(&mut self, settings: &Tracking) {
        if let Some(drill) = &mut self.drill {
            drill.tracker.follow(&self.tracker, settings);
        }
    }

    /// It is back by itself: what it knows of its targets is what is true of them.
    pub(crate) fn finish_drill(&mut self) {
        if let Some(drill) = self.drill.take() {
            self.tracker.set_targets_as_in(drill.tracker);
        }
    }

    /// Ends the drill before it is back: what is true counts from now on. A loss that was pretended is no loss (I6), and
    /// who comes back from one is not held back; a true one is.
    pub(crate) fn break_drill(&mut self, interface: &Interface, now: Time) {
        let Some(drill) = self.drill.take() else { return };
        let was_usable = self.usable();
        self.tracker = drill.tracker;
        self.first_bad = drill.first_bad;
        self.reason = self.reason_of_rounds(interface).unwrap_or(Reason::Answering);
        if self.usable() != was_usable {
            self.since = now;
        }
        if !self.usable() {
            self.lose(LINK_LOST, now);
        }
    }
}
