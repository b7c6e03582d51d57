//! `mwan why NAME`: the present state of whatever has that name, with what decides it, and its last changes.

use mwan_api as api;
use mwan_api::{Event, EventKind, Response, Severity};
use mwan_config::{Config, Family, Policy, Rule, Target, nearest};
use mwan_core::{Carrier, Core, DesiredPolicy, Explainer, Neighbour, Out, PathKey};
use mwan_linux::clock;
use mwan_linux::neighbour::Neighbours;

use super::Daemon;
use super::explain::member_text;
use super::status::carrier_text;
use crate::cli::Failure;

/// Changes that are told.
const CHANGES_MAX: usize = 10;

impl Daemon {
    /// `mwan why`.
    pub(super) fn why(&mut self, name: String) -> Result<Response, Failure> {
        let config = self.core.config().clone();
        let status = self.status();
        let interface = config.interface(&name).and_then(|_| self.why_interface(&name, &status));
        let policy = config.policy(&name).map(|policy| self.why_policy(policy));
        let rule = config.rules.iter().position(|rule| rule.name == name);
        let rule = rule.map(|at| self.why_rule(at, &config.rules[at], &status));
        if interface.is_none() && policy.is_none() && rule.is_none() {
            return Err(nothing(&config, &name));
        }
        let schema = api::SCHEMA_WHY.to_owned();
        Ok(Response::Why(Box::new(api::Why { schema, name, interface, policy, rule })))
    }

    fn changes(&self, wanted: impl Fn(&Event) -> bool) -> Vec<Event> {
        self.events.newest(CHANGES_MAX, |event| event.severity >= Severity::Info && wanted(event))
    }

    fn why_interface(&self, name: &str, status: &api::Status) -> Option<api::WhyInterface> {
        let interface = status.interfaces.iter().find(|i| i.name == name)?;
        let tracking = &self.core.config().interface(name)?.tracking;
        let path = |path: &api::Path| {
            let up = path.targets.iter().filter(|target| target.status == "up").count();
            let text = match path.reason.code.as_str() {
                // The reason of what is well has no numbers.
                "answering" => {
                    format!("{up} of {} targets answer, {} needed", path.targets.len(), tracking.reliability)
                }
                _ => path.reason.text.clone(),
            };
            api::WhyPath {
                family: path.family.clone(),
                status: path.status.clone(),
                usable: path.usable,
                carries: path.carries,
                reason: api::Reason { code: path.reason.code.clone(), text },
                since_s: path.since_s,
                aside: aside(path),
                hold: path.hold.clone(),
                reliability: tracking.reliability,
                up: tracking.up,
                down: tracking.down,
                worst_case_detection_ms: path.worst_case_detection_ms,
                targets: path.targets.iter().map(target_line).collect(),
                fault: path.fault.clone(),
            }
        };
        Some(api::WhyInterface {
            device: interface.device.clone(),
            enabled: interface.enabled,
            paths: interface.paths.iter().map(path).collect(),
            changes: self.changes(|event| event.interface.as_deref() == Some(name)),
        })
    }

    fn why_policy(&self, policy: &Policy) -> api::WhyPolicy {
        let leads = |rule: &&Rule| rule.target == Target::Policy(policy.name.clone());
        let rules = || self.core.config().rules.iter().filter(leads);
        let explainer = self.core.explainer();
        let family = |family: Family| {
            let (carrier, reason) = self.carried(policy, family, explainer.as_ref());
            let members = explainer.iter().flat_map(|explainer| explainer.members(policy, family));
            api::WhyCarrier {
                family: family.name().to_owned(),
                used: rules().any(|rule| rule.families.contains(family)),
                carrier,
                reason,
                since_ms: self.switched_at(&policy.name, family),
                members: members.map(|part| member_text(&part)).collect(),
            }
        };
        api::WhyPolicy {
            families: Family::ALL.into_iter().map(family).collect(),
            rules: rules().map(|rule| rule.name.clone()).collect(),
            changes: self.changes(|event| event.policy.as_ref() == Some(&policy.name)),
        }
    }

    fn why_rule(&self, at: usize, rule: &Rule, status: &api::Status) -> api::WhyRule {
        let explainer = self.core.explainer();
        let name = match &rule.target {
            Target::Policy(name) => name.as_str(),
            Target::Direct(resort) => resort.name(),
        };
        let policy = self.core.config().policy(name).filter(|_| matches!(rule.target, Target::Policy(_)));
        let of =
            |family: Family| status.rules.iter().find(|r| r.name == rule.name && r.family == family.name());
        let family = |family: Family| {
            let (carrier, reason) = match (of(family).and_then(|r| r.waiting_for.as_ref()), policy) {
                (Some(interface), _) => {
                    let text = format!(
                        "it waits for interface {interface}, which has no device: it is not in the kernel"
                    );
                    ("nothing".to_owned(), said("waiting", text))
                }
                (None, Some(policy)) => self.carried(policy, family, explainer.as_ref()),
                (None, None) => (name.to_owned(), said("direct", "the rule itself says so".to_owned())),
            };
            api::WhyTarget {
                family: family.name().to_owned(),
                target: name.to_owned(),
                carrier,
                reason,
                since_ms: policy.and_then(|policy| self.switched_at(&policy.name, family)),
                packets: of(family).map_or(0, |r| r.packets),
            }
        };
        let wants = rule.families.iter().find_map(of).map(wants).unwrap_or_default();
        api::WhyRule {
            position: at as u64 + 1,
            families: rule.families.iter().map(family).collect(),
            wants,
            changes: self
                .changes(|event| policy.is_some_and(|policy| event.policy.as_ref() == Some(&policy.name))),
        }
    }

    /// What carries a policy, and what decides that.
    fn carried(
        &self,
        policy: &Policy,
        family: Family,
        explainer: Option<&Explainer>,
    ) -> (String, api::Reason) {
        let desired = self.core.desired().and_then(|d| d.policies.iter().find(|p| p.name == policy.name));
        let (Some(desired), Some(explainer)) = (desired, explainer) else {
            return (
                "nothing".to_owned(),
                said("off", "mwan is switched off, or has not seen the network".to_owned()),
            );
        };
        let carrier = desired.carrier(family);
        (carrier_text(carrier), criterion(desired, policy, family, explainer))
    }

    /// When a policy came to be carried as it is, if that is remembered.
    fn switched_at(&self, policy: &str, family: Family) -> Option<u64> {
        let of = |event: &Event| {
            event.kind == EventKind::Switch
                && event.policy.as_deref() == Some(policy)
                && event.family.as_deref() == Some(family.name())
        };
        self.events.newest(1, of).first().map(|event| event.time_ms)
    }
}

/// Finds out where the fault of every path lies that has one. The kernel is asked only of gateways of those.
pub(super) fn find_faults(core: &Core, interfaces: &mut [api::Interface]) {
    let mut neighbours = None;
    for interface in interfaces.iter_mut().filter(|interface| interface.enabled) {
        let id = interface.id;
        for path in &mut interface.paths {
            let Some(family) = Family::ALL.into_iter().find(|family| family.name() == path.family) else {
                continue;
            };
            let key = PathKey { id, family };
            let Some(status) = core.path(key) else { continue };
            let wrong = status.targets.iter().any(mwan_core::Target::is_silent);
            if status.ready && !wrong {
                continue;
            }
            let gateway = status.next_hop.and_then(|hop| hop.gateway);
            let device =
                core.network().and_then(|net| net.links.get(&interface.device)).map(|link| link.index);
            let neighbour = match (gateway, device) {
                (Some(gateway), Some(device)) => {
                    let socket = neighbours.get_or_insert_with(Neighbours::open);
                    socket.as_mut().map_or(Neighbour::Unknown, |socket| socket.ask(device, gateway))
                }
                _ => Neighbour::Unknown,
            };
            let fault = core.fault(key, neighbour, clock::now());
            path.fault = fault.map(|found| said(found.fault.code(), found.to_string()));
        }
    }
}

/// What keeps a usable path aside.
fn aside(path: &api::Path) -> Option<api::Reason> {
    if !path.usable {
        return None;
    }
    match &path.hold {
        Some(hold) => Some(said(
            "held",
            format!(
                "held back as flapping: lost {} times lately, for {} s more",
                hold.losses, hold.remaining_s
            ),
        )),
        None if path.drained => Some(said("drained", "drained by its owner".to_owned())),
        None => None,
    }
}

/// Why those carry that do.
fn criterion(desired: &DesiredPolicy, policy: &Policy, family: Family, explainer: &Explainer) -> api::Reason {
    let shares = match desired.carrier(family) {
        Carrier::LastResort(resort) => {
            return said("last_resort", format!("no member is usable: last resort {}", resort.name()));
        }
        Carrier::Members(shares) => shares,
    };
    let carries = |name: &str| shares.iter().any(|share| share.interface == name);
    let standing = |name: &str| {
        let share = shares.iter().find(|share| share.interface == name)?;
        explainer.standings.get(&PathKey { id: share.id, family })
    };
    let carriers = || policy.members.iter().filter(|member| carries(&member.interface));
    let metric = carriers().map(|member| member.metric).min().unwrap_or(0);
    let aside = carriers().all(|member| {
        standing(&member.interface).is_some_and(|standing| standing.hold.is_some() || standing.drained)
    });
    let better: Vec<String> = explainer
        .members(policy, family)
        .iter()
        .filter(|part| part.member.metric < metric && !matches!(part.out, None | Some(Out::OtherTier)))
        .map(|part| part.member.interface.clone())
        .collect();
    if aside {
        return said("nothing_better", "all usable members are held back or drained".to_owned());
    }
    match better.as_slice() {
        [] => said("lowest_metric", format!("lowest metric ({metric}) of all members")),
        names => said(
            "failover",
            format!("lowest metric ({metric}) of those that can; {} cannot", names.join(", ")),
        ),
    }
}

fn said(code: &str, text: String) -> api::Reason {
    api::Reason { code: code.to_owned(), text }
}

fn target_line(target: &api::Target) -> String {
    let mut line = format!("{}: {}", target.target, target.status);
    if let Some(ms) = target.latency_ms {
        line.push_str(&format!(", {ms} ms"));
    }
    line.push_str(&format!(", {} % lost lately", target.loss_percent));
    if let Some(error) = &target.error {
        line.push_str(&format!(" ({error})"));
    }
    line
}

/// What a rule asks, each criterion in the words of the status.
fn wants(rule: &api::Rule) -> Vec<String> {
    let named = [("proto", &rule.protocol), ("src", &rule.source), ("dst", &rule.destination)];
    let given = named.into_iter().filter(|(_, value)| !value.is_empty() && *value != "all");
    let more = Some(rule.more.trim().to_owned()).filter(|more| !more.is_empty());
    given.map(|(word, value)| format!("{word} {value}")).chain(more).collect()
}

/// Nothing has that name.
fn nothing(config: &Config, name: &str) -> Failure {
    let interfaces = config.interfaces.iter().map(|i| i.name.as_str());
    let policies = config.policies.iter().map(|p| p.name.as_str());
    let rules = config.rules.iter().map(|r| r.name.as_str());
    let known = || interfaces.clone().chain(policies.clone()).chain(rules.clone());
    let failure = Failure::says(format!("no interface, policy or rule is called '{}'", name.escape_debug()));
    match nearest(name, known()) {
        Some(near) => failure.hint(format!("did you mean '{}'?", near.escape_debug())),
        None => failure.hint("`mwan status` shows all of them"),
    }
}
