//! What the core decided, as far as it is compared and told.

use std::fmt;

use mwan_config::Family;
use mwan_core::{Carrier, Effect, Output, PathKey, Reason, State, Time};
use serde::{Deserialize, Serialize};

/// A decision and when it was taken.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Decided {
    /// When.
    pub at: Time,
    /// What.
    pub decision: Decision,
}

/// Something that followed from an event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub enum Decision {
    /// A path changed its state.
    Path {
        /// Name of the interface.
        interface: String,
        /// Family.
        family: Family,
        /// Before.
        from: State,
        /// After.
        to: State,
        /// Why.
        reason: Reason,
    },
    /// A policy is carried by others.
    Policy {
        /// Its name.
        policy: String,
        /// Family.
        family: Family,
        /// Before.
        from: Carried,
        /// After.
        to: Carried,
        /// Whether a rule leads to it.
        used: bool,
    },
    /// The connection entries of a path are deleted.
    Flush(PathKey),
    /// Those of them that would go elsewhere.
    Move(PathKey),
    /// The sets of sticky rules are emptied once more.
    FlushStrays,
    /// Something else is to be in the kernel: the number of that desired state.
    Wanted(u64),
}

/// What carries a policy.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Carried {
    /// Names of interfaces and their weights.
    By(Vec<(String, u32)>),
    /// None has left: its last resort.
    LastResort(String),
}

impl From<&Carrier> for Carried {
    fn from(carrier: &Carrier) -> Self {
        match carrier {
            Carrier::Members(shares) => {
                Carried::By(shares.iter().map(|s| (s.interface.clone(), s.weight)).collect())
            }
            Carrier::LastResort(resort) => Carried::LastResort(resort.name().to_owned()),
        }
    }
}

impl Decision {
    /// The decisions of an output. Probes, hooks and times to wake up follow from the same state: they are not kept.
    pub(crate) fn of(output: &Output) -> Vec<Decision> {
        let effects = output.effects.iter().filter_map(|effect| {
            Some(match effect {
                Effect::Transition(t) => Decision::Path {
                    interface: t.interface.clone(),
                    family: t.path.family,
                    from: t.from,
                    to: t.to,
                    reason: t.reason.clone(),
                },
                Effect::Switched(s) => Decision::Policy {
                    policy: s.policy.clone(),
                    family: s.family,
                    from: (&s.from).into(),
                    to: (&s.to).into(),
                    used: s.used,
                },
                Effect::FlushPath(path) => Decision::Flush(*path),
                Effect::MoveMisplaced(path) => Decision::Move(*path),
                Effect::FlushStrays => Decision::FlushStrays,
                Effect::Probe(_) | Effect::StopProbes(_) | Effect::Hook(_) | Effect::Drill(_) => return None,
            })
        });
        effects.chain(output.desired.as_ref().map(|desired| Decision::Wanted(desired.generation))).collect()
    }

    /// Whether traffic, or what is known of a path, changed: what people are told of.
    pub fn is_told(&self) -> bool {
        !matches!(self, Decision::Wanted(_) | Decision::FlushStrays)
    }

    /// A policy that rules lead to has no member left.
    pub fn is_last_resort(&self) -> bool {
        matches!(self, Decision::Policy { to: Carried::LastResort(_), from: Carried::By(_), used: true, .. })
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Carried::By(shares) => {
                for (at, (name, weight)) in shares.iter().enumerate() {
                    let comma = if at > 0 { ", " } else { "" };
                    write!(f, "{comma}{}", name.escape_debug())?;
                    if shares.len() > 1 {
                        write!(f, " {weight}")?;
                    }
                }
                Ok(())
            }
            Carried::LastResort(resort) => write!(f, "last resort ({})", resort.escape_debug()),
        }
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = |f: &mut fmt::Formatter<'_>, what: &str, path: &PathKey| {
            write!(f, "{what} of the WAN with id {} ({})", path.id, path.family.name())
        };
        match self {
            Decision::Path { interface, family, from, to, reason } => {
                let (interface, family) = (interface.escape_debug(), family.name());
                write!(f, "{interface} {family}: {} -> {}: {reason}", from.name(), to.name())
            }
            Decision::Policy { policy, family, from, to, used } => {
                let unused = if *used { "" } else { " (no rule leads to it)" };
                write!(f, "policy {} {}: {from} -> {to}{unused}", policy.escape_debug(), family.name())
            }
            Decision::Flush(key) => path(f, "connection entries are deleted", key),
            Decision::Move(key) => path(f, "misplaced connection entries are deleted", key),
            Decision::FlushStrays => write!(f, "sets of sticky rules are emptied once more"),
            Decision::Wanted(generation) => write!(f, "desired state {generation}"),
        }
    }
}
