//! What is heard of the daemon beside its events.

use mwan_api::{Carrier, Status};

use crate::incident::is_wanted;

/// How one path is, of a [`Snapshot`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathNow {
    /// Its interface.
    pub interface: String,
    /// `ipv4` or `ipv6`.
    pub family: String,
    /// `online`, `offline`, `connecting`, `disconnecting` or `disabled`.
    pub status: String,
    /// Code of its reason.
    pub code: String,
    /// Its reason for people.
    pub text: String,
    /// Since when, ms.
    pub age_ms: u64,
}

/// How everything is now, whatever events were missed.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Snapshot {
    /// The paths of enabled interfaces.
    pub paths: Vec<PathNow>,
    /// Policies without a WAN, as name and family.
    pub without_wan: Vec<(String, String)>,
    /// Policies that have one.
    pub with_wan: Vec<(String, String)>,
    /// Why the last change of the kernel failed, if it did.
    pub apply_error: Option<String>,
    /// Why the configuration file is not in force, if it is not.
    pub config_rejected: Option<String>,
}

impl From<&Status> for Snapshot {
    fn from(status: &Status) -> Self {
        let enabled = status.interfaces.iter().filter(|i| i.enabled);
        let paths = enabled.flat_map(|interface| {
            interface.paths.iter().map(|path| PathNow {
                interface: interface.name.clone(),
                family: path.family.clone(),
                status: path.status.clone(),
                code: path.reason.code.clone(),
                text: path.reason.text.clone(),
                age_ms: path.since_s.saturating_mul(1000),
            })
        });
        let carriers = status.policies.iter().flat_map(|p| [(p, "ipv4", &p.ipv4), (p, "ipv6", &p.ipv6)]);
        // A policy without a path of the family has nothing to lose; nor has one whose paths the owner has taken down.
        let could = |carrier: &Carrier, family: &str| {
            let members = carrier
                .counters
                .iter()
                .filter_map(|c| status.interfaces.iter().find(|i| i.name == c.interface));
            let paths = members.filter(|i| i.enabled).flat_map(|i| &i.paths);
            paths.into_iter().any(|p| p.family == family && !is_wanted(&p.reason.code))
        };
        let used = |policy: &str, family: &str| {
            status.rules.iter().any(|rule| rule.target == policy && rule.family == family)
        };
        let (mut without_wan, mut with_wan) = (Vec::new(), Vec::new());
        for (policy, family, carrier) in carriers.filter(|(policy, family, _)| used(&policy.name, family)) {
            let name = (policy.name.clone(), family.to_owned());
            match &carrier.last_resort {
                Some(_) if could(carrier, family) => without_wan.push(name),
                Some(_) => {}
                None => with_wan.push(name),
            }
        }
        Snapshot {
            paths: paths.collect(),
            without_wan,
            with_wan,
            apply_error: status.daemon.apply_error.clone(),
            config_rejected: status.daemon.config_rejected.clone(),
        }
    }
}
