//! Why a path is in its state: one type, printed alike everywhere (I9).

use std::fmt;
use std::time::Duration;

use crate::Time;
use crate::quality::PoorTarget;

/// The deciding fact behind a path's state, with its numbers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum Reason {
    /// The network has not been read yet.
    NotSeen,
    /// Nothing is tested, so it counts as up.
    NotTracked,
    /// Configured as online until proven otherwise, and no round is complete yet.
    AssumedOnline,
    /// Configured as offline until proven, and not proven yet.
    NotYetProven,
    /// State taken over from the process before this one.
    Resumed,
    /// Enough targets answer.
    Answering,
    /// Rounds fail, but not yet enough of them.
    Failing {
        /// Bad rounds in a row.
        bad_rounds: u32,
        /// Bad rounds that take it offline.
        down: u32,
    },
    /// Rounds fail although targets answer: too slowly or too seldom (`check_quality`).
    Degrading {
        /// Bad rounds in a row.
        bad_rounds: u32,
        /// Bad rounds that take it offline.
        down: u32,
        /// The worst target of the last one.
        poor: PoorTarget,
    },
    /// Enough rounds failed, the last one although targets answered.
    PoorQuality {
        /// Bad rounds in a row.
        bad_rounds: u32,
        /// When the first of them began.
        since: Time,
        /// The worst target of the last one.
        poor: PoorTarget,
    },
    /// Enough rounds failed.
    ProbesLost {
        /// Bad rounds in a row.
        bad_rounds: u32,
        /// When the first of them began.
        since: Time,
    },
    /// `mwan drill`: rounds count as lost although targets may answer.
    Drill {
        /// Rounds in a row that counted as lost.
        bad_rounds: u32,
        /// Lost rounds that take it offline.
        down: u32,
        /// When they count again.
        until: Time,
    },
    /// The drill's time is over: rounds count again, but not yet enough of them are good.
    DrillReturn {
        /// Good rounds in a row.
        good_rounds: u32,
        /// Good rounds that bring it online.
        up: u32,
    },
    /// The device is back; the first answer proves the path.
    Returning,
    /// Rounds succeed again, but not yet enough of them.
    Recovering {
        /// Good rounds in a row.
        good_rounds: u32,
        /// Good rounds that bring it online.
        up: u32,
    },
    /// The network manager has no interface of that name.
    NoInterface(String),
    /// The network manager's interface is down: not dialled in, no lease, or taken down.
    InterfaceDown(String),
    /// The family's packets would leave by another device than the other family's.
    OtherDevice(String),
    /// No device of that name.
    NoDevice(String),
    /// The device is administratively down.
    DeviceDown(String),
    /// The device has no carrier.
    NoCarrier(String),
    /// The device has no address of this family.
    NoAddress(String),
    /// No default route of this family leaves by the device and no gateway is configured.
    NoGateway(String),
    /// The kernel was started or built without IPv6.
    NoIpv6,
    /// The kernel does not take the path's route.
    RouteRefused(String),
    /// `mwan ifdown` was said.
    TakenDown,
    /// Its manager is only trying it, beside what carries.
    OnTrial,
    /// All of mwan was stopped; scripts are told, nobody else is left to be.
    Stopped,
}

impl Reason {
    /// Stable word for JSON and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::NotSeen => "not_seen",
            Reason::NotTracked => "not_tracked",
            Reason::AssumedOnline => "assumed_online",
            Reason::NotYetProven => "not_yet_proven",
            Reason::Resumed => "resumed",
            Reason::Answering => "answering",
            Reason::Failing { .. } => "failing",
            Reason::Degrading { .. } => "degrading",
            Reason::PoorQuality { .. } => "poor_quality",
            Reason::ProbesLost { .. } => "probes_lost",
            Reason::Drill { .. } | Reason::DrillReturn { .. } => "drill",
            Reason::Returning => "returning",
            Reason::Recovering { .. } => "recovering",
            Reason::NoInterface(_) => "no_interface",
            Reason::InterfaceDown(_) => "interface_down",
            Reason::OtherDevice(_) => "other_device",
            Reason::NoDevice(_) => "no_device",
            Reason::DeviceDown(_) => "device_down",
            Reason::NoCarrier(_) => "no_carrier",
            Reason::NoAddress(_) => "no_address",
            Reason::NoGateway(_) => "no_gateway",
            Reason::NoIpv6 => "no_ipv6",
            Reason::RouteRefused(_) => "route_refused",
            Reason::TakenDown => "taken_down",
            Reason::OnTrial => "on_trial",
            Reason::Stopped => "stopped",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotSeen => write!(f, "the network has not been read yet"),
            Reason::NotTracked => write!(f, "no track_ip of this family: counts as up"),
            Reason::AssumedOnline => write!(f, "assumed online (initial_state), first round is running"),
            Reason::NotYetProven => write!(f, "offline until proven (initial_state)"),
            Reason::Resumed => write!(f, "state taken over from before the restart"),
            Reason::Answering => write!(f, "targets answer"),
            Reason::Failing { bad_rounds, down } => write!(f, "{bad_rounds} of {down} rounds lost"),
            Reason::Degrading { bad_rounds, down, poor } => {
                write!(f, "{bad_rounds} of {down} rounds not good enough: {poor}")
            }
            Reason::PoorQuality { bad_rounds, poor, .. } => {
                let plural = if *bad_rounds == 1 { "round" } else { "rounds in a row" };
                write!(f, "{bad_rounds} {plural} not good enough: {poor}")
            }
            Reason::ProbesLost { bad_rounds, .. } => {
                let plural = if *bad_rounds == 1 { "round" } else { "rounds in a row" };
                write!(f, "{bad_rounds} {plural} lost")
            }
            Reason::Drill { bad_rounds, down, .. } if bad_rounds < down => {
                write!(f, "drill: {bad_rounds} of {down} rounds counted as lost")
            }
            Reason::Drill { bad_rounds, .. } => {
                let plural = if *bad_rounds == 1 { "round" } else { "rounds in a row" };
                write!(f, "drill: {bad_rounds} {plural} counted as lost")
            }
            Reason::DrillReturn { good_rounds, up } => {
                write!(f, "drill is over, {good_rounds} of {up} rounds answered")
            }
            Reason::Returning => write!(f, "device is back, waiting for the first answer"),
            Reason::Recovering { good_rounds, up } => write!(f, "recovering, {good_rounds} of {up}"),
            Reason::NoInterface(i) => {
                write!(f, "the network has no interface {} and no device is configured", i.escape_debug())
            }
            Reason::InterfaceDown(i) => write!(f, "network interface {} is down", i.escape_debug()),
            Reason::OtherDevice(d) => {
                let d = d.escape_debug();
                write!(f, "this family is on another device, {d}: it needs an interface section of its own")
            }
            Reason::NoDevice(d) => write!(f, "there is no device {}", d.escape_debug()),
            Reason::DeviceDown(d) => write!(f, "device {} is down", d.escape_debug()),
            Reason::NoCarrier(d) => write!(f, "device {} has no carrier", d.escape_debug()),
            Reason::NoAddress(d) => write!(f, "device {} has no address of this family", d.escape_debug()),
            Reason::NoGateway(d) => {
                write!(f, "no default route leaves by {} and no gateway is configured", d.escape_debug())
            }
            Reason::NoIpv6 => write!(f, "this kernel runs without IPv6"),
            Reason::RouteRefused(why) => {
                write!(f, "the kernel does not take its route: {}", why.escape_debug())
            }
            Reason::TakenDown => write!(f, "taken down by ifdown"),
            Reason::OnTrial => write!(f, "answers, on trial beside what carries"),
            Reason::Stopped => write!(f, "mwan was stopped"),
        }
    }
}

/// Why a usable path does not carry although it could (I6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct Hold {
    /// It must be up without a break until then.
    pub until: Time,
    /// Losses that led to it.
    pub losses: u32,
    /// How long it must be up in all.
    pub length: Duration,
}
