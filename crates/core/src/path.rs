//! One path: its device's readiness, its tracker, and how it has behaved lately.

mod drill;

use std::net::IpAddr;
use std::time::Duration;

use mwan_config::{Family, InitialState, Interface, ProbeTarget};

use crate::reason::{Hold, Reason};
use crate::{
    LogicalInterface, NetView, NextHop, PathKey, PlatformView, RememberedPath, State, Time, Tracker,
};

/// Losses within this time count as flapping.
const FLAP_WINDOW: Duration = Duration::from_secs(600);
/// The second loss within the window holds a path back for this long, each further one for twice as long.
const HOLD_FIRST: Duration = Duration::from_secs(60);
/// A path that has been up for this long may always carry again.
const HOLD_MAX: Duration = Duration::from_secs(600);
/// Losses remembered: enough to reach `HOLD_MAX`.
const LOSSES_KEPT: usize = 12;
/// Weight of a loss of the link: no answers, no carrier. Twice this within the window is flapping.
const LINK_LOST: u32 = 2;
/// Weight of an address, gateway or device that went: a renewed lease or a redial is no fault of the link.
const RENUMBERED: u32 = 1;

/// What a device offers a family, if it can carry anything at all.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Ready {
    pub(crate) device: String,
    pub(crate) next_hop: NextHop,
    pub(crate) source: Option<IpAddr>,
}

/// One path.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Path {
    pub(crate) key: PathKey,
    pub(crate) tracker: Tracker,
    pub(crate) ready: Option<Ready>,
    pub(crate) reason: Reason,
    /// When `tracker.state().usable()` last changed.
    pub(crate) since: Time,
    /// When the device became ready, for `uptime`.
    pub(crate) ready_since: Time,
    /// When the first of the bad rounds in a row began.
    first_bad: Time,
    losses: Vec<(Time, u32)>,
    pub(crate) hold: Option<Hold>,
    /// Its manager is only trying it: it must not carry.
    pub(crate) on_trial: bool,
    /// Its owner wants no new flows on it.
    pub(crate) drained: bool,
    /// It is made to look dead.
    drill: Option<drill::Shadow>,
    /// State, what keeps it aside (hold, trial, drain) and readiness as last told.
    told: (State, [bool; 3], Option<NextHop>),
}

impl Path {
    /// Whether a path can have come to this; it may have been read from a file.
    #[cfg(feature = "record")]
    pub(crate) fn is_sound(&self) -> bool {
        self.tracker.is_sound()
            && self.losses.len() <= LOSSES_KEPT
            && self.drill.as_ref().is_none_or(|drill| drill.is_sound(self.tracker.targets().len()))
    }

    /// A path of which nothing is known yet. Its rounds are numbered from `rounds` on, so that reports to a
    /// path of the same key that was removed before are not taken for its own.
    pub(crate) fn new(key: PathKey, rounds: u64, now: Time) -> Self {
        Path {
            key,
            tracker: Tracker::disabled(Vec::new()).numbered_from(rounds),
            ready: None,
            reason: Reason::NotSeen,
            since: now,
            ready_since: now,
            first_bad: now,
            losses: Vec::new(),
            hold: None,
            on_trial: false,
            drained: false,
            drill: None,
            told: (State::Disabled, [false; 3], None),
        }
    }

    /// State before and after, and whether the next hop is another, if anything that decisions depend on changed since
    /// the last call.
    pub(crate) fn take_change(&mut self) -> Option<(State, State, bool)> {
        let aside = [self.hold.is_some(), self.on_trial, self.drained];
        let present = (self.tracker.state(), aside, self.ready.as_ref().map(|r| r.next_hop));
        let told = std::mem::replace(&mut self.told, present);
        (told != present).then_some((told.0, present.0, told.2 != present.2))
    }

    /// Whether time alone has something for it to do.
    pub(crate) fn due(&self, now: Time) -> bool {
        self.tracker.wake_at().is_some_and(|at| at <= now) || self.hold.is_some_and(|h| h.until <= now)
    }

    /// Nothing is older than this.
    pub(crate) fn begin(&mut self, now: Time) {
        self.since = now;
        self.ready_since = now;
    }

    /// Whether it may carry traffic at all.
    pub(crate) fn usable(&self) -> bool {
        self.tracker.state().usable() && !self.on_trial
    }

    /// Whether it may carry traffic if something else can.
    pub(crate) fn preferred(&self) -> bool {
        self.usable() && self.hold.is_none() && !self.drained
    }

    /// Whether there is a prober at work for it.
    pub(crate) fn probing(&self) -> bool {
        self.ready.is_some() && !self.tracker.targets().is_empty()
    }

    /// Takes note of what the device offers now. A device that becomes ready starts the tracker over;
    /// `resume` is what an earlier process left.
    pub(crate) fn set_ready(
        &mut self,
        interface: &Interface,
        ready: Result<Ready, Reason>,
        resume: Option<&RememberedPath>,
        on_trial: bool,
        now: Time,
    ) {
        let was_usable = resume.map_or(self.usable(), |left| left.state.usable());
        self.on_trial = on_trial;
        let same_device = |ready: &Ready| self.ready.as_ref().is_some_and(|r| r.device == ready.device);
        match ready {
            Ok(ready) if same_device(&ready) => {
                self.set_targets(interface, targets(interface, self.key.family, &ready), now);
                self.ready = Some(ready);
            }
            Ok(ready) => {
                self.start(interface, targets(interface, self.key.family, &ready), resume, now);
                self.ready = Some(ready);
                self.ready_since = now;
            }
            Err(reason) => {
                if self.ready.take().is_some() {
                    self.ready_since = now;
                }
                let kept = self.tracker.targets().iter().map(crate::Target::probe).collect();
                self.tracker = Tracker::disabled(kept).numbered_from(self.tracker.rounds());
                self.reason = reason;
            }
        }
        self.note_usability(was_usable, now);
        // It did not come back, it has been there all the time: the hold is what it was.
        if let Some(resume) = resume.filter(|_| was_usable && self.usable()) {
            self.hold = resume.hold.filter(|hold| hold.until > now && hold.until <= now + hold.length);
        }
    }

    /// Losses that an earlier process saw.
    pub(crate) fn remember(&mut self, losses: &[(Time, u32)], now: Time) {
        let known = losses.iter().copied().filter(|(at, _)| *at <= now);
        self.losses = known.take(LOSSES_KEPT).collect();
    }

    /// Losses that count, or did lately.
    pub(crate) fn losses(&self) -> &[(Time, u32)] {
        &self.losses
    }

    /// The device is ready, or another one than before is.
    fn start(
        &mut self,
        interface: &Interface,
        targets: Vec<ProbeTarget>,
        resume: Option<&RememberedPath>,
        now: Time,
    ) {
        let settings = &interface.tracking;
        let rounds = self.tracker.rounds();
        let tracked = !targets.is_empty();
        let seen = self.reason != Reason::NotSeen;
        let (tracker, reason) = match resume.filter(|left| left.state != State::Disabled && tracked) {
            None if seen && tracked && interface.initial_state == InitialState::Online => {
                (Tracker::returning(settings, targets, now), Reason::Returning)
            }
            Some(left) => (Tracker::resume(settings, left.state, left.score, targets, now), Reason::Resumed),
            None => {
                let reason = match interface.initial_state {
                    _ if !tracked => Reason::NotTracked,
                    InitialState::Online => Reason::AssumedOnline,
                    InitialState::Offline => Reason::NotYetProven,
                };
                (Tracker::start(settings, interface.initial_state, targets, now), reason)
            }
        };
        self.tracker = tracker.numbered_from(rounds);
        self.reason = reason;
    }

    /// Takes over other targets. The state stays, unless tracking as such begins or ends.
    fn set_targets(&mut self, interface: &Interface, targets: Vec<ProbeTarget>, now: Time) {
        if self.tracker.targets().iter().map(crate::Target::probe).eq(targets.iter().cloned()) {
            return;
        }
        if targets.is_empty() {
            self.reason = Reason::NotTracked;
        } else if self.tracker.targets().is_empty() {
            // It has been carrying traffic, and nothing speaks against it yet.
            self.reason = Reason::AssumedOnline;
        }
        self.tracker.reconfigure(&interface.tracking, targets, now);
    }

    /// After a round: the reason that goes with the tracker's state, and whether usability changed.
    pub(crate) fn note_round(&mut self, interface: &Interface, was_usable: bool, now: Time) {
        if self.tracker.bad_rounds() == 1 {
            self.first_bad = self.tracker.round_started().unwrap_or(now);
        }
        let Some(reason) = self.reason_of_rounds(interface) else { return };
        self.reason = reason;
        self.note_usability(was_usable, now);
    }

    /// The reason that goes with the tracker's rounds; a device that cannot carry has another one.
    fn reason_of_rounds(&self, interface: &Interface) -> Option<Reason> {
        let t = &self.tracker;
        if let Some(reason) = self.drill_reason(interface) {
            return Some(reason);
        }
        Some(match t.state() {
            State::Online => Reason::Answering,
            State::Disconnecting => {
                let (bad_rounds, down) = (t.bad_rounds(), interface.tracking.down);
                match t.poor().cloned() {
                    Some(poor) => Reason::Degrading { bad_rounds, down, poor },
                    None => Reason::Failing { bad_rounds, down },
                }
            }
            State::Offline => {
                let (bad_rounds, since) = (t.bad_rounds(), self.first_bad);
                match t.poor().cloned() {
                    Some(poor) => Reason::PoorQuality { bad_rounds, since, poor },
                    None => Reason::ProbesLost { bad_rounds, since },
                }
            }
            State::Connecting if t.is_returning() => Reason::Returning,
            State::Connecting => Reason::Recovering { good_rounds: t.score(), up: interface.tracking.up },
            State::Disabled => return None,
        })
    }

    /// Keeps the history of losses, from which holding back follows (I6).
    fn note_usability(&mut self, was_usable: bool, now: Time) {
        if self.usable() == was_usable {
            return;
        }
        self.since = now;
        if self.drilled() {
            // Neither a loss nor a return: it was made to look so.
            self.hold = None;
            return;
        }
        if self.usable() {
            self.losses.retain(|(loss, _)| now.since(*loss) < FLAP_WINDOW);
            let weight: u32 = self.losses.iter().map(|(_, weight)| weight).sum();
            let repeats = (weight / LINK_LOST).saturating_sub(1);
            let losses = u32::try_from(self.losses.len()).unwrap_or(u32::MAX);
            self.hold = (repeats > 0).then(|| {
                let length = (HOLD_FIRST * 2u32.saturating_pow(repeats - 1).min(64)).min(HOLD_MAX);
                Hold { until: now + length, losses, length }
            });
        } else {
            self.hold = None;
            // What the owner or the manager does is no flapping.
            if self.reason == Reason::TakenDown || self.on_trial {
                return;
            }
            let weight = match self.reason {
                Reason::NoAddress(_) | Reason::NoGateway(_) | Reason::NoDevice(_) => RENUMBERED,
                Reason::NoInterface(_) | Reason::InterfaceDown(_) | Reason::OtherDevice(_) => RENUMBERED,
                // Another device took its place.
                Reason::Returning | Reason::NotYetProven => RENUMBERED,
                _ => LINK_LOST,
            };
            self.lose(weight, now);
        }
    }

    fn lose(&mut self, weight: u32, now: Time) {
        self.losses.push((now, weight));
        if self.losses.len() > LOSSES_KEPT {
            self.losses.remove(0);
        }
    }

    /// Ends the hold if its time is over.
    pub(crate) fn release(&mut self, now: Time) {
        if self.hold.is_some_and(|h| h.until <= now) {
            self.hold = None;
        }
    }
}

/// Targets of one family; the gateway first if it is one.
fn targets(interface: &Interface, family: Family, ready: &Ready) -> Vec<ProbeTarget> {
    let settings = &interface.tracking;
    let gateway = ready.next_hop.gateway.filter(|_| settings.track_gateway);
    let gateway = gateway.map(|ip| ProbeTarget { ip, method: settings.method.clone() });
    let own = settings.targets.iter().filter(|t| Family::of(t.ip) == family && Some(*t) != gateway.as_ref());
    gateway.iter().chain(own).cloned().collect()
}

/// What `device` offers `family` now, or why it offers nothing.
pub(crate) fn readiness(
    net: &NetView,
    interface: &Interface,
    device: &str,
    family: Family,
) -> Result<Ready, Reason> {
    device_readiness(net, interface, device, family, None)
}

/// The same where a network manager has a say too.
pub(crate) fn managed_readiness(
    view: &PlatformView,
    net: &NetView,
    interface: &Interface,
    device: &str,
    family: Family,
) -> Result<Ready, Reason> {
    let (name, logical) =
        view.serving(&interface.name, family).ok_or_else(|| Reason::NoInterface(interface.name.clone()))?;
    if !logical.up {
        return Err(Reason::InterfaceDown(name.to_owned()));
    }
    // It may be up before it has a device; then the kernel's reasons say what is missing.
    match &logical.device {
        Some(other) if other != device => Err(Reason::OtherDevice(other.clone())),
        _ => device_readiness(net, interface, device, family, Some(logical)),
    }
}

fn device_readiness(
    net: &NetView,
    interface: &Interface,
    device: &str,
    family: Family,
    logical: Option<&LogicalInterface>,
) -> Result<Ready, Reason> {
    let name = || device.to_owned();
    if family == Family::V6 && net.ipv6_absent {
        return Err(Reason::NoIpv6);
    }
    let link = net.links.get(device).ok_or_else(|| Reason::NoDevice(name()))?;
    if !link.up {
        return Err(Reason::DeviceDown(name()));
    }
    if !link.carrier {
        return Err(Reason::NoCarrier(name()));
    }
    let source = match logical {
        Some(logical) => logical.source(net, link, family),
        None => link.source(family),
    };
    // IPv6 may be routed to a router that has its address elsewhere (a delegated prefix on the LAN); then the
    // kernel's own choice of source is right. IPv4 cannot do without an address on the device.
    let elsewhere = || family == Family::V6 && net.links.values().any(|l| l.source(family).is_some());
    if source.is_none() && !elsewhere() {
        return Err(Reason::NoAddress(name()));
    }
    let configured = match family {
        Family::V4 => interface.gateway4.map(IpAddr::V4),
        Family::V6 => interface.gateway6.map(IpAddr::V6),
    };
    let told = logical.and_then(|l| l.gateway(family)).map(Some);
    let kernel = || {
        // Two interfaces of a network manager may share a device; its metric tells their routes apart.
        let mut all = net.defaults.iter().filter(|d| d.family == family && d.device == device);
        let own = logical.and_then(|l| all.find(|d| d.metric == l.metric));
        own.or_else(|| net.default_route(family, device)).map(|route| route.gateway)
    };
    let found = told.or_else(kernel);
    let gateway = match (configured, found) {
        (Some(gateway), _) => Some(gateway),
        (None, Some(gateway)) => gateway,
        (None, None) if link.point_to_point => None,
        (None, None) => return Err(Reason::NoGateway(name())),
    };
    Ok(Ready { device: name(), next_hop: NextHop { gateway }, source })
}

#[cfg(test)]
mod tests;
