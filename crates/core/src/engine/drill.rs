//! Drills: a WAN is made to look dead to the core, and to nobody else.
//!
//! Its rounds count as lost, so everything that follows is what would follow if it were silent: the tracker's verdict at its
//! own pace, the switch, its flows. Nothing else is pretended, and what is true goes on being looked at: the drill ends at once
//! if it stops being harmless.

use mwan_config::Gather;
use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use mwan_config::{Family, LastResort, Tracking};

use super::{Core, Effect, Switch};
use crate::path::Path;
use crate::policy::{Candidate, carrier};
use crate::reason::Reason;
use crate::{Carrier, PathKey, Share, Time, worst_case_detection};

/// What is wanted of a drill.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct DrillOrder {
    /// Name of the interface.
    pub interface: String,
    /// How long its rounds count as lost.
    pub length: Duration,
    /// Its flows stay on it.
    pub keeps_flows: bool,
}

/// A drill that is under way.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Drill {
    interface: String,
    /// Rounds count as lost until then; afterwards, when it has to be back.
    until: Time,
    /// Rounds count again.
    lifted: bool,
    /// Other paths that may carry. Losing one of them ends the drill.
    others: BTreeSet<PathKey>,
}

/// Why there cannot be a drill.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DrillRefusal {
    /// There is no enabled interface of that name, or the network has not been seen.
    NoInterface,
    /// There is one of this interface.
    Running(String),
    /// None of its paths may carry, and why.
    NotUp(Family, Reason),
    /// It is held back as flapping.
    Held(Family),
    /// It is drained.
    Drained,
    /// Its last round was not good, or none is complete.
    NotAnswering(Family, Reason),
    /// Nothing is probed: a silent fault would not be noticed.
    NotTracked,
    /// A policy in use would be left with its last resort.
    CutsOff {
        /// Its name.
        policy: String,
        /// Family.
        family: Family,
        /// What it would be left with.
        last_resort: LastResort,
    },
    /// Who would carry a policy in use is not known to be well: its last round was not good, or none is complete.
    OthersNotWell(String, Family, Reason),
    /// Shorter than it may take until the fault is seen.
    TooShort {
        /// Longest time until the verdict.
        worst_case: Duration,
    },
}

/// What a drill would do.
#[derive(Clone, PartialEq, Debug)]
pub struct DrillPreview {
    /// Paths that would take part, and the longest time until each is called offline.
    pub paths: Vec<(PathKey, Duration)>,
    /// Policies that would be carried by others.
    pub switches: Vec<Switch>,
}

/// How a drill goes.
#[derive(Clone, PartialEq, Debug)]
pub enum DrillStep {
    /// It has begun with these paths.
    Begun(Vec<PathKey>),
    /// Answers count again: the way back begins.
    Lifted,
    /// It is over.
    Ended(DrillEnd),
}

/// Why a drill is over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DrillEnd {
    /// Its time was over, and every path is back.
    Complete,
    /// Its time was over, and a path that answers was not back in time.
    NotBack(Family),
    /// Somebody ended it.
    Stopped,
    /// A path of it really stopped answering.
    Failed(Family),
    /// Another path that could carry was lost.
    OtherLost(String, Family),
    /// Its device, address or gateway is another.
    Changed(Family),
    /// Another configuration came into force.
    Configured,
}

impl Core {
    /// What a drill would do now.
    ///
    /// # Errors
    /// Why there must be none.
    pub fn preview_drill(&self, order: &DrillOrder) -> Result<DrillPreview, DrillRefusal> {
        let wan = self.wans.iter().find(|w| w.name == order.interface).filter(|_| self.net.is_some());
        let wan = wan.ok_or(DrillRefusal::NoInterface)?;
        if let Some(drill) = &self.drill {
            return Err(DrillRefusal::Running(drill.interface.clone()));
        }
        let settings = &self.config.interfaces[wan.index].tracking;
        let own = self.paths.values().filter(|path| path.key.id == wan.id);
        let paths = drillable(own, settings)?;
        let keys: BTreeSet<PathKey> = paths.iter().map(|(key, _)| *key).gather();
        let switches = self.switches_without(&keys)?;
        let worst_case = paths.iter().map(|(_, worst)| *worst).max().unwrap_or_default();
        match worst_case < order.length {
            true => Ok(DrillPreview { paths, switches }),
            false => Err(DrillRefusal::TooShort { worst_case }),
        }
    }

    /// The name of the interface of which there is a drill.
    pub fn drill(&self) -> Option<&str> {
        self.drill.as_ref().map(|drill| drill.interface.as_str())
    }

    /// What would carry other policies than now if these paths were dead.
    fn switches_without(&self, dead: &BTreeSet<PathKey>) -> Result<Vec<Switch>, DrillRefusal> {
        let mut switches = Vec::new();
        let policies = self.config.policies.iter().zip(&self.members).zip(&self.used);
        for ((policy, members), families) in policies.filter(|_| self.config.globals.enabled) {
            for family in Family::ALL {
                let candidate = |at: usize, without: bool| {
                    let key = PathKey { id: (*members.ids.get(at)?)?, family };
                    let path = self.paths.get(&key)?;
                    let alive = !(without && dead.contains(&key));
                    let (usable, preferred) = (path.usable() && alive, path.preferred() && alive);
                    Some(Candidate { id: key.id, usable, preferred })
                };
                let from = carrier(policy, |at| candidate(at, false));
                let to = carrier(policy, |at| candidate(at, true));
                if from == to {
                    continue;
                }
                let used = families.contains(&family);
                if let (Carrier::LastResort(last_resort), true) = (&to, used) {
                    let last_resort = *last_resort;
                    return Err(DrillRefusal::CutsOff { policy: policy.name.clone(), family, last_resort });
                }
                if let (Carrier::Members(shares), true) = (&to, used) {
                    shares.iter().try_for_each(|share| self.is_well(share, family))?;
                }
                switches.push(Switch { policy: policy.name.clone(), family, from, to, used });
            }
        }
        Ok(switches)
    }

    /// Traffic would be led to it: it must not be one that is just about to be lost, or that nobody has heard of yet.
    fn is_well(&self, share: &Share, family: Family) -> Result<(), DrillRefusal> {
        match self.paths.get(&PathKey { id: share.id, family }) {
            Some(path) if !path.tracker.targets().is_empty() && path.reason != Reason::Answering => {
                Err(DrillRefusal::OthersNotWell(share.interface.clone(), family, path.reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// One that must not be is none.
    pub(super) fn begin_drill(&mut self, order: DrillOrder, now: Time, effects: &mut Vec<Effect>) {
        let Ok(preview) = self.preview_drill(&order) else { return };
        let keys: Vec<PathKey> = preview.paths.into_iter().map(|(key, _)| key).collect();
        let until = now + order.length;
        for path in self.paths.values_mut().filter(|path| keys.contains(&path.key)) {
            path.begin_drill(until, order.keeps_flows, now);
        }
        let others = self.paths.values().filter(|path| path.usable() && !path.drilled());
        let others = others.map(|path| path.key).collect();
        self.drill = Some(Drill { interface: order.interface, until, lifted: false, others });
        effects.push(Effect::Drill(DrillStep::Begun(keys)));
    }

    /// Ends it now: what is true counts at once.
    pub(super) fn end_drill(&mut self, end: DrillEnd, now: Time, effects: &mut Vec<Effect>) {
        if self.drill.take().is_none() {
            return;
        }
        for wan in &self.wans {
            let interface = &self.config.interfaces[wan.index];
            for path in self.paths.values_mut().filter(|path| path.key.id == wan.id) {
                path.break_drill(interface, now);
            }
        }
        effects.push(Effect::Drill(DrillStep::Ended(end)));
    }

    /// What time, or what has really happened, makes of it. Whether it ended before its paths were back: then their trackers
    /// are others.
    pub(super) fn look_at_drill(&mut self, now: Time, effects: &mut Vec<Effect>) -> bool {
        let Some(drill) = &self.drill else { return false };
        let (lifted, over) = (drill.lifted, drill.until <= now);
        if let Some(end) = self.spoilt(drill) {
            self.end_drill(end, now, effects);
            return true;
        }
        if !lifted && over {
            self.lift(now);
            effects.push(Effect::Drill(DrillStep::Lifted));
            return true;
        }
        match self.paths.values().find(|path| path.drilled() && !path.usable()).map(|path| path.key.family) {
            Some(family) if over => {
                self.end_drill(DrillEnd::NotBack(family), now, effects);
                true
            }
            _ => false,
        }
    }

    /// Once everything that follows from the return of its paths has been told: it is over if all of them are back.
    pub(super) fn complete_drill(&mut self, effects: &mut Vec<Effect>) {
        if !self.drill.as_ref().is_some_and(|drill| drill.lifted) {
            return;
        }
        let back = self.paths.values_mut().filter(|path| path.drilled() && path.usable());
        back.for_each(Path::finish_drill);
        if !self.paths.values().any(Path::drilled) {
            self.drill = None;
            effects.push(Effect::Drill(DrillStep::Ended(DrillEnd::Complete)));
        }
    }

    /// Why it must not go on.
    fn spoilt(&self, drill: &Drill) -> Option<DrillEnd> {
        let lost = |key: &&PathKey| !self.paths.get(key).is_some_and(Path::usable);
        if let Some(key) = drill.others.iter().find(lost) {
            let name = self.wans.iter().find(|wan| wan.id == key.id).map(|wan| wan.name.clone());
            return Some(DrillEnd::OtherLost(name.unwrap_or_default(), key.family));
        }
        let failed = self.paths.values().find(|path| path.drilled() && !path.really_usable());
        failed.map(|path| DrillEnd::Failed(path.key.family))
    }

    /// Answers count again. The way back has twice the time it takes if everything is answered. What was not even lost has none.
    fn lift(&mut self, now: Time) {
        let Some(drill) = &mut self.drill else { return };
        let Some(wan) = self.wans.iter().find(|wan| wan.name == drill.interface) else { return };
        let interface = &self.config.interfaces[wan.index];
        drill.lifted = true;
        drill.until = now + way_back(&interface.tracking) * 2;
        for path in self.paths.values_mut().filter(|path| path.drilled()) {
            path.lift_drill();
            if path.usable() {
                path.break_drill(interface, now);
            }
        }
    }

    /// When it has something to do next.
    pub(super) fn drill_due_at(&self) -> Option<Time> {
        self.drill.as_ref().map(|drill| drill.until)
    }
}

/// Those of an interface's paths that can be made to look dead, and the longest time until that is seen.
fn drillable<'a>(
    paths: impl Iterator<Item = &'a Path>,
    settings: &Tracking,
) -> Result<Vec<(PathKey, Duration)>, DrillRefusal> {
    let (mut found, mut refusal) = (Vec::new(), DrillRefusal::NoInterface);
    for path in paths {
        let family = path.key.family;
        if path.drained {
            return Err(DrillRefusal::Drained);
        }
        if !path.usable() {
            // One family may have never been there.
            refusal = DrillRefusal::NotUp(family, path.reason.clone());
        } else if path.tracker.targets().is_empty() {
            refusal = DrillRefusal::NotTracked;
        } else if path.hold.is_some() {
            return Err(DrillRefusal::Held(family));
        } else if path.reason != Reason::Answering {
            return Err(DrillRefusal::NotAnswering(family, path.reason.clone()));
        } else {
            found.push((path.key, worst_case_detection(settings, &path.tracker)));
        }
    }
    if found.is_empty() { Err(refusal) } else { Ok(found) }
}

/// The longest time from a round that may be on the wire to `up` good ones.
fn way_back(settings: &Tracking) -> Duration {
    let longest = settings.interval.max(settings.failure_interval).max(settings.recovery_interval);
    longest.max(settings.round_length()) * settings.up.saturating_add(2)
}

impl DrillRefusal {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            DrillRefusal::NoInterface => "`mwan interfaces` shows them",
            DrillRefusal::Running(_) => "`mwan drill --stop` ends it",
            DrillRefusal::NotUp(..) | DrillRefusal::NotAnswering(..) => "`mwan why NAME` says more",
            DrillRefusal::Held(_) => "wait until it has been up long enough: `mwan status`",
            DrillRefusal::Drained => "`mwan undrain NAME` first",
            DrillRefusal::NotTracked => "give it a track_ip: without, only a lost link is noticed",
            DrillRefusal::OthersNotWell(..) => "`mwan why NAME` says more of it; try again when it answers",
            DrillRefusal::CutsOff { .. } => "another member of the policy has to be online first",
            DrillRefusal::TooShort { .. } => {
                "make --for longer, or detection quicker (interval, timeout, down)"
            }
        }
    }
}

impl fmt::Display for DrillRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillRefusal::NoInterface => write!(f, "there is no such interface in use"),
            DrillRefusal::Running(name) => write!(f, "there is a drill of {} already", name.escape_debug()),
            DrillRefusal::NotUp(family, reason) => {
                write!(f, "it does not carry as it is: {}: {reason}", family.name())
            }
            DrillRefusal::Held(family) => write!(f, "it is held back as flapping ({})", family.name()),
            DrillRefusal::Drained => write!(f, "it is drained"),
            DrillRefusal::NotAnswering(family, reason) => {
                write!(f, "it is not known to be well: {}: {reason}", family.name())
            }
            DrillRefusal::NotTracked => write!(f, "nothing is probed: a silent fault would never be noticed"),
            DrillRefusal::CutsOff { policy, family, last_resort } => {
                let (policy, family) = (policy.escape_debug(), family.name());
                write!(
                    f,
                    "it would cut the site off: policy {policy} would be left with its last resort ({}) for {family}",
                    last_resort.name()
                )
            }
            DrillRefusal::OthersNotWell(name, family, reason) => {
                let (name, family) = (name.escape_debug(), family.name());
                write!(f, "{name} would carry instead, and is not known to be well: {family}: {reason}")
            }
            DrillRefusal::TooShort { worst_case } => {
                write!(
                    f,
                    "it is too short: its failure may take {:.1} s to be seen",
                    worst_case.as_secs_f64()
                )
            }
        }
    }
}

impl DrillEnd {
    /// Stable word.
    pub fn code(&self) -> &'static str {
        match self {
            DrillEnd::Complete => "complete",
            DrillEnd::NotBack(_) => "not_back",
            DrillEnd::Stopped => "stopped",
            DrillEnd::Failed(_) => "failed",
            DrillEnd::OtherLost(..) => "other_lost",
            DrillEnd::Changed(_) => "changed",
            DrillEnd::Configured => "configured",
        }
    }
}

impl fmt::Display for DrillEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DrillEnd::Complete => write!(f, "its time is over and everything is back"),
            DrillEnd::NotBack(family) => {
                write!(f, "{} answers, but was not back in twice the time that should take", family.name())
            }
            DrillEnd::Stopped => write!(f, "it was ended by hand"),
            DrillEnd::Failed(family) => write!(f, "{} really stopped answering", family.name()),
            DrillEnd::OtherLost(name, family) => {
                write!(f, "{} {} was lost meanwhile", name.escape_debug(), family.name())
            }
            DrillEnd::Changed(family) => {
                write!(f, "device, address or gateway of {} changed meanwhile", family.name())
            }
            DrillEnd::Configured => write!(f, "another configuration came into force"),
        }
    }
}
