//! Which members carry a policy.

use mwan_config::{Member, Policy};

use crate::{Carrier, Share};

/// An enabled interface as a policy sees it, in one family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Candidate {
    pub(crate) id: u32,
    /// May carry.
    pub(crate) usable: bool,
    /// May carry even if others can: it is neither held back as flapping nor drained.
    pub(crate) preferred: bool,
}

/// The usable members with the lowest metric; those held back as flapping or drained only if no other is usable.
///
/// `candidate` answers for the interface of a member, by its place; `None` if it is disabled or does not have the family.
pub(crate) fn carrier(policy: &Policy, candidate: impl Fn(usize) -> Option<Candidate>) -> Carrier {
    let usable: Vec<(&Member, Candidate)> = policy
        .members
        .iter()
        .enumerate()
        .filter_map(|(at, m)| candidate(at).map(|c| (m, c)))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mwan_config::{LastResort, Location};

    const NAMES: [&str; 3] = ["a", "b", "c"];

    /// Every policy over three WANs with metrics 1 and 2 × every state of them: absent, down, held, up.
    #[test]
    fn every_small_world_chooses_as_brute_force_does() {
        let mut worlds = 0;
        for choice in 1..27u32 {
            let metric = |at: u32| choice / 3u32.pow(at) % 3;
            let members: Vec<Member> = (0..3)
                .filter(|at| metric(*at) > 0)
                .map(|at| Member {
                    name: String::new(),
                    interface: NAMES[at as usize].into(),
                    metric: metric(at),
                    weight: at + 1,
                })
                .collect();
            let location = Location { file: "test".into(), line: 0 };
            let policy = Policy { name: "p".into(), members, last_resort: LastResort::Blackhole, location };
            for states in 0..64u32 {
                check(&policy, &|name| states >> (2 * NAMES.iter().position(|n| *n == name).unwrap()) & 3);
                worlds += 1;
            }
        }
        assert_eq!(worlds, 26 * 64);
    }

    /// `state`: 0 absent, 1 down, 2 held, 3 up.
    fn check(policy: &Policy, state: &dyn Fn(&str) -> u32) {
        let id = |name: &str| NAMES.iter().position(|n| *n == name).unwrap() as u32 + 1;
        let candidate = |name: &str| {
            let s = state(name);
            (s > 0).then(|| Candidate { id: id(name), usable: s >= 2, preferred: s == 3 })
        };
        // In order of preference: up and metric 1, up and metric 2, held and metric 1, …
        let class = |m: &Member| match (state(&m.interface), m.metric) {
            (3, metric) => Some(metric),
            (2, metric) => Some(10 + metric),
            _ => None,
        };
        let best = policy.members.iter().filter_map(class).min();
        let wanted: Vec<u32> = policy
            .members
            .iter()
            .filter(|m| best.is_some() && class(m) == best)
            .map(|m| id(&m.interface))
            .collect();
        match carrier(policy, |at| candidate(&policy.members[at].interface)) {
            Carrier::Members(shares) => {
                assert_eq!(shares.iter().map(|s| s.id).collect::<Vec<_>>(), wanted, "{policy:?}");
                assert!(shares.iter().all(|s| s.weight == s.id), "weights");
            }
            Carrier::LastResort(resort) => {
                assert_eq!((wanted.len(), resort), (0, LastResort::Blackhole), "{policy:?}");
            }
        }
    }
}
