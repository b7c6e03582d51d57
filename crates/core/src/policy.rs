//! Which members carry a policy.

use mwan_config::{Member, Policy};

use crate::{Carrier, Share};

/// An enabled interface as a policy sees it, in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// May carry.
    pub(crate) usable: bool,
    /// May carry even if others can: it is not held back as flapping.
    pub(crate) preferred: bool,
}

/// The usable members with the lowest metric; members held back as flapping only if no other is usable.
///
/// `candidate` answers for an interface; `None` if it is disabled or does not have the family.
pub(crate) fn carrier(policy: &Policy, candidate: &dyn Fn(&str) -> Option<Candidate>) -> Carrier {
    let usable: Vec<(&Member, Candidate)> = policy
        .members
        .iter()
        .filter_map(|m| candidate(&m.interface).map(|c| (m, c)))
        .filter(|(_, c)| c.usable)
        .collect();
    let any_preferred = usable.iter().any(|(_, c)| c.preferred);
    let eligible = || usable.iter().filter(|(_, c)| c.preferred || !any_preferred);
    let Some(metric) = eligible().map(|(m, _)| m.metric).min() else {
        return Carrier::LastResort(policy.last_resort);
    };
    let mut shares: Vec<Share> = Vec::new();
    for (m, c) in eligible().filter(|(m, _)| m.metric == metric) {
        // An interface may be listed twice; its weights add up.
        match shares.iter_mut().find(|s| s.id == c.id) {
            Some(share) => share.weight = share.weight.saturating_add(m.weight),
            None => shares.push(Share { id: c.id, interface: m.interface.clone(), weight: m.weight }),
        }
    }
    Carrier::Members(shares)
}

/// Whether interface `id` is among those that carry.
pub(crate) fn carries(carrier: &Carrier, id: u32) -> bool {
    matches!(carrier, Carrier::Members(shares) if shares.iter().any(|s| s.id == id))
}
