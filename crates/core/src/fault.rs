//! Where the fault of a WAN lies, from everything that is known of it. Pure: what the kernel knows of the gateway is an argument.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

use mwan_config::ProbeMethod;

use crate::reason::Reason;
use crate::{Core, PathKey, Target, TargetState, Time};

/// What an ICMP error's sender is told by (the prober's words).
const SAYS: &str = "(says ";

/// Where it lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Device, carrier, address or default route.
    Link,
    /// The link is fine, and the next router does not answer.
    Gateway,
    /// The gateway answers, and nothing beyond it does.
    Beyond,
    /// The WAN is fine, what is asked is not.
    Target,
    /// Only names are not resolved.
    Dns,
    /// Nothing answers, and nothing is known of the gateway.
    Unknown,
}

impl Fault {
    /// Stable word.
    pub fn code(self) -> &'static str {
        match self {
            Fault::Link => "link",
            Fault::Gateway => "gateway",
            Fault::Beyond => "beyond",
            Fault::Target => "target",
            Fault::Dns => "dns",
            Fault::Unknown => "unknown",
        }
    }
}

/// A fault and the evidence for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attribution {
    /// Where it lies.
    pub fault: Fault,
    /// Why that is said.
    pub evidence: String,
}

/// What the kernel's table of neighbours says of a gateway.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Neighbour {
    /// It answered, so long ago.
    Answered(Duration),
    /// It was asked and did not.
    Silent,
    /// Nothing is known, or it is being asked.
    Unknown,
}

/// What other WANs say of a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Elsewhere {
    /// None that works asks it.
    NotAsked,
    /// It answers one of them.
    Answers,
    /// It answers none of them.
    Fails,
}

/// A target, as one path and the others see it.
struct Witness<'a> {
    target: &'a Target,
    elsewhere: Elsewhere,
}

impl Witness<'_> {
    fn is(&self, state: TargetState) -> bool {
        self.state() == state
    }

    fn state(&self) -> TargetState {
        if self.target.is_silent() { TargetState::Down } else { self.target.state }
    }

    fn asks_names(&self) -> bool {
        matches!(self.target.method, ProbeMethod::Dns(_))
    }

    /// Who answered with an error.
    fn speaker(&self) -> Option<IpAddr> {
        let (_, rest) = self.target.error.as_ref()?.split_once(SAYS)?;
        rest.split(')').next()?.parse().ok()
    }
}

/// All that is known of one path.
struct Evidence<'a> {
    ready: bool,
    reason: &'a Reason,
    source: Option<IpAddr>,
    gateway: Option<IpAddr>,
    neighbour: Neighbour,
    /// How long its rounds have been bad.
    bad_for: Option<Duration>,
    witnesses: Vec<Witness<'a>>,
}

impl Core {
    /// Where the fault of a path lies; `None`: there is none that is known, or somebody wants it so. `neighbour` is what the kernel
    /// knows of its gateway.
    pub fn fault(&self, key: PathKey, neighbour: Neighbour, now: Time) -> Option<Attribution> {
        let status = self.path(key)?;
        let elsewhere = |target: &Target| {
            let others = self.paths().filter(|other| other.key != key && other.really_usable());
            let same = others.flat_map(|other| other.real_targets()).filter(|t| t.probe() == target.probe());
            let (mut up, mut silent) = (false, false);
            for other in same {
                silent |= other.is_silent();
                up |= other.state == TargetState::Up && !other.is_silent();
            }
            match (up, silent) {
                (true, _) => Elsewhere::Answers,
                (false, true) => Elsewhere::Fails,
                (false, false) => Elsewhere::NotAsked,
            }
        };
        let witness = |target| Witness { target, elsewhere: elsewhere(target) };
        attribute(&Evidence {
            ready: status.ready,
            reason: status.reason,
            source: status.source,
            gateway: status.next_hop.and_then(|hop| hop.gateway),
            neighbour,
            bad_for: status.bad_since.map(|since| now.since(since)),
            witnesses: status.targets.iter().map(witness).collect(),
        })
    }
}

fn attribute(e: &Evidence<'_>) -> Option<Attribution> {
    let found = |fault, evidence: String| Some(Attribution { fault, evidence });
    if !e.ready {
        return is_of_the_link(e.reason)
            .then(|| Attribution { fault: Fault::Link, evidence: e.reason.to_string() });
    }
    let is_gateway = |w: &&Witness<'_>| Some(w.target.ip) == e.gateway;
    let beyond = || e.witnesses.iter().filter(|w| !is_gateway(w));
    let down: Vec<&Witness<'_>> = beyond().filter(|w| w.is(TargetState::Down)).collect();
    let up: Vec<&Witness<'_>> = beyond().filter(|w| w.is(TargetState::Up)).collect();
    let of_gateway = |state| -> Vec<&Witness<'_>> {
        e.witnesses.iter().filter(|w| is_gateway(w) && w.is(state)).collect()
    };
    let silent = of_gateway(TargetState::Down);
    let gateway_down = !silent.is_empty();
    if !up.is_empty() {
        return match (down.is_empty(), gateway_down) {
            (true, false) => None,
            (true, true) => {
                found(Fault::Target, "the gateway does not answer, and what is beyond it does".to_owned())
            }
            (false, _) if down.iter().all(|w| w.asks_names()) && !up.iter().all(|w| w.asks_names()) => {
                found(Fault::Dns, format!("names are not resolved ({}), other targets answer", list(&down)))
            }
            (false, _) => found(Fault::Target, format!("no answer from {}; others answer", list(&down))),
        };
    }
    if !down.is_empty() && down.iter().all(|w| w.elsewhere == Elsewhere::Fails) {
        return found(Fault::Target, format!("no WAN reaches {}", list(&down)));
    }
    if down.is_empty() && !gateway_down {
        return None;
    }
    if down.is_empty() && !of_gateway(TargetState::Up).is_empty() {
        // It is asked in several ways, and nothing beyond it is.
        return found(Fault::Target, format!("no answer from {}; others answer", list(&silent)));
    }
    let (fault, evidence) = of_the_way(e, !down.is_empty());
    found(fault, evidence)
}

/// Nothing beyond the gateway answers: is it the gateway?
fn of_the_way(e: &Evidence<'_>, asked_beyond: bool) -> (Fault, String) {
    let Some(gateway) = e.gateway else {
        return (Fault::Beyond, "the link is up, and nobody at its other end answers".to_owned());
    };
    let of_gateway = |state| e.witnesses.iter().any(|w| w.target.ip == gateway && w.is(state));
    let mut speakers = e.witnesses.iter().filter_map(Witness::speaker);
    // An error of our own says that the next hop's address was not found (ip_error, ndisc_error_report).
    let foreign = speakers.clone().find(|ip| Some(*ip) != e.source);
    let own = speakers.any(|ip| Some(ip) == e.source);
    let nothing = if asked_beyond { ", and no target beyond it" } else { "" };
    if of_gateway(TargetState::Up) {
        return (Fault::Beyond, format!("the gateway {gateway} answers{nothing} does"));
    }
    if let Some(ip) = foreign {
        return (Fault::Beyond, format!("{ip} answers that they cannot be reached"));
    }
    // The kernel asks for an address again only when its answer has grown old (RFC 4861, 7.3.2: half a minute or so), so what it
    // knows may be from before the fault.
    let answers = |ago| e.bad_for.is_some_and(|bad| ago < bad);
    match e.neighbour {
        Neighbour::Answered(ago) if answers(ago) && asked_beyond => {
            (Fault::Beyond, format!("the gateway {gateway} answers on the link{nothing} does"))
        }
        // It is there, and does not answer what it is asked.
        Neighbour::Answered(ago) if answers(ago) => {
            (Fault::Target, format!("the gateway {gateway} is there, and does not answer probes"))
        }
        Neighbour::Silent => {
            (Fault::Gateway, format!("the link is up, and the gateway {gateway} is not on it"))
        }
        _ if own => {
            (Fault::Gateway, format!("the link is up, and the gateway {gateway} does not answer on it"))
        }
        _ if of_gateway(TargetState::Down) => {
            (Fault::Gateway, format!("the link is up, and the gateway {gateway} does not answer"))
        }
        Neighbour::Answered(ago) => {
            let s = ago.as_secs();
            (
                Fault::Unknown,
                format!("nothing answers; the gateway {gateway} did on the link {s} s ago, before that"),
            )
        }
        Neighbour::Unknown => {
            (Fault::Unknown, format!("nothing answers; of the gateway {gateway} nothing is known"))
        }
    }
}

/// Some targets by name, few enough to be read.
fn list(witnesses: &[&Witness<'_>]) -> String {
    const SHOWN: usize = 3;
    let mut text = String::new();
    for (at, witness) in witnesses.iter().take(SHOWN).enumerate() {
        let comma = if at > 0 { ", " } else { "" };
        text.push_str(&format!("{comma}{}", witness.target.probe()));
    }
    if witnesses.len() > SHOWN {
        text.push_str(&format!(" and {} more", witnesses.len() - SHOWN));
    }
    text
}

/// Whether a path that is not ready is so because of its link, and not because somebody wants it.
fn is_of_the_link(reason: &Reason) -> bool {
    matches!(
        reason,
        Reason::NoInterface(_)
            | Reason::InterfaceDown(_)
            | Reason::OtherDevice(_)
            | Reason::NoDevice(_)
            | Reason::DeviceDown(_)
            | Reason::NoCarrier(_)
            | Reason::NoAddress(_)
            | Reason::NoGateway(_)
    )
}

impl fmt::Display for Attribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fault = match self.fault {
            Fault::Link => "the link",
            Fault::Gateway => "the gateway",
            Fault::Beyond => "beyond the gateway",
            Fault::Target => "the target only",
            Fault::Dns => "DNS only",
            Fault::Unknown => "not known where",
        };
        write!(f, "{fault}: {}", self.evidence)
    }
}

#[cfg(test)]
mod tests;
