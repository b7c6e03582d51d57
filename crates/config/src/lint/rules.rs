//! Rules that never decide anything.

use super::shadow::{self, Never};
use super::{Lints, enabled, list};
use crate::codes;
use crate::model::{AddressMatch, Config, Interface, Rule};
use crate::report::{Problem, show};

pub(super) fn judge(config: &Config, lints: &mut Lints) {
    for (index, why) in shadow::never(config) {
        let rule = &config.rules[index];
        let problem = match why {
            Never::Nothing => {
                Problem::new(codes::MATCHES_NOTHING, "what is left of its lists is nothing: it never matches")
            }
            Never::Taken(by) => taken(rule, &by.iter().map(|i| &config.rules[*i]).collect::<Vec<_>>()),
        };
        lints.rule(rule, None, problem);
    }
    for rule in &config.rules {
        for (option, list) in [("src_ip", &rule.source), ("dest_ip", &rule.destination)] {
            if let Some(one) =
                list.as_ref().filter(|list| is_nobody(list)).and_then(|list| list.ranges.first())
            {
                let message = format!("no packet has the address {}: this rule never matches", one.first);
                let hint = format!("for all addresses write {}/0, or leave it out", one.first);
                lints.rule(rule, Some(option), Problem::new(codes::MATCHES_NOTHING, message).hint(hint));
            }
        }
        if let Some(wan) = rule.source_interface.as_deref().and_then(|name| wan_of(config, rule, name)) {
            let message = format!(
                "what comes in by {}, a WAN, goes back by it whatever the rules say: this rule never matches",
                show(&wan.name)
            );
            lints.rule(
                rule,
                Some("src_iface"),
                Problem::new(codes::FROM_WAN, message).hint("name an interface of the LAN"),
            );
        }
    }
}

fn taken(rule: &Rule, by: &[&Rule]) -> Problem {
    let names: Vec<String> = by.iter().map(|r| r.name.clone()).collect();
    let lines: Vec<String> = by.iter().take(3).map(|r| r.location.line.to_string()).collect();
    let (plural, verb, lines) = match lines.as_slice() {
        [line] => ("", "takes", format!("line {line}")),
        _ => ("s", "together take", format!("lines {}", lines.join(", "))),
    };
    let who = format!("rule{plural} {} ({lines})", list(&names));
    if by.iter().all(|other| other.target == rule.target && other.sticky == rule.sticky) {
        let message = format!("{who} before it {verb} all its traffic, and the same way: it has no effect");
        return Problem::new(codes::SURPLUS, message).hint("remove it");
    }
    let message = format!("never matches: {who} before it {verb} all its traffic");
    Problem::new(codes::SHADOWED, message).hint("move it up: the first rule that matches decides")
}

/// Whether a list has no other address than that of nobody.
fn is_nobody(list: &AddressMatch) -> bool {
    !list.negated && list.ranges.iter().all(|r| r.first == r.last && r.first.is_unspecified())
}

/// The WAN of this name, if everything the rule could match from it is pinned to it. Families that no WAN carries are no matter.
fn wan_of<'a>(config: &'a Config, rule: &Rule, name: &str) -> Option<&'a Interface> {
    let wan = enabled(config).find(|i| i.name == name)?;
    let carried = |family| enabled(config).any(|i| i.families.contains(family));
    let mut asked = rule.families.iter().filter(|family| carried(*family)).peekable();
    (asked.peek().is_some() && asked.all(|family| wan.families.contains(family))).then_some(wan)
}
