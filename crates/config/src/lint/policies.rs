//! Policies and interfaces that cannot do what they seem to be for.

use crate::small::Gather;
use std::collections::BTreeSet;

use super::{Lints, enabled, is_used, list};
use crate::codes;
use crate::model::{Config, Family, Member, Policy, Target};
use crate::options::Dialect;
use crate::report::{Problem, show};

pub(super) fn judge(config: &Config, lints: &mut Lints) {
    for policy in config.policies.iter().filter(|p| is_used(config, p)) {
        judge_members(config, policy, lints);
    }
}

/// Interfaces that no rule leads to.
pub(super) fn orphans(config: &Config, lints: &mut Lints) {
    if config.rules.is_empty() {
        if let Some(first) = enabled(config).next() {
            let message =
                "there is no rule: nothing is sent by any policy, all traffic goes by the main routing table";
            lints.add(&first.location, String::new(), None, Problem::new(codes::NO_RULES, message));
        }
        return;
    }
    // By the source of a packet all of them carry.
    if config.globals.source_routing {
        return;
    }
    let used = config.policies.iter().filter(|p| is_used(config, p));
    let carrying: BTreeSet<&str> = used.flat_map(|p| &p.members).map(|m| m.interface.as_str()).gather();
    for interface in enabled(config).filter(|i| !carrying.contains(i.name.as_str())) {
        let member = |p: &&Policy| p.members.iter().any(|m| m.interface == interface.name);
        let of: Vec<String> = config.policies.iter().filter(member).map(|p| p.name.clone()).collect();
        let message = match of.len() {
            0 => "no policy uses it: it carries no new connection of yours".to_owned(),
            _ => format!(
                "only {} would use it, and no rule leads there: it carries no new connection of yours",
                list(&of)
            ),
        };
        let problem = Problem::new(codes::INTERFACE_IDLE, message);
        lints.interface(interface, None, problem.hint("make it a member of a policy that a rule uses"));
    }
}

/// The members of a policy that a rule leads to.
fn judge_members(config: &Config, policy: &Policy, lints: &mut Lints) {
    let interface = |m: &&Member| config.interface(&m.interface).filter(|i| i.enabled);
    let alive: Vec<&Member> = policy.members.iter().filter(|m| interface(m).is_some()).collect();
    if alive.is_empty() {
        let names: Vec<String> = policy.members.iter().map(|m| m.interface.clone()).collect();
        let resort = policy.last_resort.name();
        let message =
            format!("none of its interfaces ({}) is enabled: its traffic is always {resort}", list(&names));
        lints.policy(
            policy,
            Problem::new(codes::POLICY_DISABLED, message).hint("enable one, or use another policy"),
        );
        return;
    }
    let names: BTreeSet<&str> = alive.iter().map(|m| m.interface.as_str()).gather();
    if let (1, 2..) = (names.len(), alive.len()) {
        let name = show(&alive[0].interface);
        let message =
            format!("all its members are of interface {name}: it can neither balance nor fail over");
        lints.policy(
            policy,
            Problem::new(codes::ONE_INTERFACE, message).hint("name another interface in one of them"),
        );
    } else {
        judge_weights(config, policy, &alive, lints);
    }
    let lacking: Vec<Family> = Family::ALL
        .into_iter()
        .filter(|family| {
            let asked = |r: &crate::Rule| {
                r.families.contains(*family) && matches!(&r.target, Target::Policy(p) if *p == policy.name)
            };
            let carries = |m: &&Member| interface(m).is_some_and(|i| i.families.contains(*family));
            // Where no WAN has the family there is none of it to be carried.
            config.rules.iter().any(asked)
                && !alive.iter().any(carries)
                && enabled(config).any(|i| i.families.contains(*family))
        })
        .collect();
    for family in lacking {
        let resort = policy.last_resort.name();
        let message =
            format!("rules send {family} here, and no member carries it: that traffic is always {resort}");
        let hint = format!("add a member of {family}, or limit those rules by 'family'");
        lints.policy(policy, Problem::new(codes::FAMILY_MISSING, message).hint(hint));
    }
}

/// Weights are shares within a metric: alone in it, a member has all of it.
fn judge_weights(config: &Config, policy: &Policy, alive: &[&Member], lints: &mut Lints) {
    let shares = |a: &Member, b: &Member| {
        let of = |m: &Member| config.interface(&m.interface).map(|i| i.families);
        let together = of(a).zip(of(b)).is_some_and(|(a, b)| a.v4 && b.v4 || a.v6 && b.v6);
        a.metric == b.metric && a.interface != b.interface && together
    };
    let alone = |m: &&&Member| !policy.members.iter().any(|other| shares(m, other));
    // A member section for several policies brings its weight along.
    let shared = |member: &Member| {
        let others = config.policies.iter().filter(|p| p.name != policy.name).flat_map(|p| &p.members);
        lints.dialect == Dialect::Uci
            && others.into_iter().any(|m| (&m.interface, m.weight) == (&member.interface, member.weight))
    };
    let weights: BTreeSet<u32> = alive.iter().filter(|m| !shared(m)).map(|m| m.weight).gather();
    if alive.iter().filter(alone).count() < alive.len() || weights.iter().all(|weight| *weight == 1) {
        return;
    }
    let members = &policy.members;
    let metric_shared = members.iter().any(|m| members.iter().any(|o| m != o && m.metric == o.metric));
    let (message, hint) = match (members.as_slice(), weights.len()) {
        ([one], _) => {
            let message = format!("weight {} has no effect: there is nobody to share with", one.weight);
            (message, "to balance, give it another member")
        }
        (_, 1) => return,
        _ if metric_shared => {
            let message = "the weights have no effect: no two members of a metric carry the same family";
            (message.to_owned(), "to balance, use interfaces of the same family")
        }
        _ => {
            let message =
                "the weights have no effect: each metric has one member, so one interface carries at a time";
            (message.to_owned(), "to balance, give the members the same metric")
        }
    };
    lints.policy(policy, Problem::new(codes::WEIGHT_MOOT, message).hint(hint));
}
