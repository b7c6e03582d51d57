//! `mode` of cloud configurations: it names in a word what the rules on the device say. The rules decide; that they say
//! something else is worth a word.

use crate::codes;
use crate::model::{Config, Family, Mode, Policy, Target};
use crate::options::Dialect;
use crate::report::{Place, Problem, Report, show};

/// The words of the cloud's document.
pub(crate) const WORDS: &[(&str, Mode)] =
    &[("LOAD_BALANCE", Mode::LoadBalance), ("FAIL_OVER", Mode::FailOver)];

/// Says if the rules balance where `mode` says failover, or the other way round.
pub(crate) fn check(config: &Config, dialect: Dialect, report: &mut Report) {
    let Some((mode, line)) = config.globals.mode else { return };
    let used = config.rules.iter().filter_map(|rule| match &rule.target {
        Target::Policy(name) => config.policy(name),
        Target::Direct(_) => None,
    });
    let used: Vec<&Policy> = used.collect();
    let Some(first) = used.first() else { return };
    let balancing = used.iter().find(|policy| balances(config, policy));
    let (message, hint) = match (mode, balancing) {
        (Mode::LoadBalance, None) => (
            format!(
                "LOAD_BALANCE, but no rule leads to a policy that balances ({} does not)",
                show(&first.name)
            ),
            "give its members the same metric, or let the rules use another policy",
        ),
        (Mode::FailOver, Some(policy)) => (
            format!("FAIL_OVER, but a rule leads to policy {}, which balances", show(&policy.name)),
            "give its members different metrics, or let the rules use another policy",
        ),
        _ => return,
    };
    let section = match dialect {
        Dialect::Uci => "globals 'globals'",
        Dialect::Native => "global",
    };
    let place = Place { line, section, option: Some("mode") };
    let message = format!("{message}; the rules decide");
    report.add(place, Problem::new(codes::MODE, message).hint(hint));
}

/// Whether two interfaces of one family share the best tier.
fn balances(config: &Config, policy: &Policy) -> bool {
    Family::ALL.into_iter().any(|family| {
        let takes_part =
            |name: &str| config.interface(name).is_some_and(|i| i.enabled && i.families.contains(family));
        let members: Vec<_> = policy.members.iter().filter(|m| takes_part(&m.interface)).collect();
        let best = members.iter().map(|m| m.metric).min();
        members.iter().filter(|m| Some(m.metric) == best).count() > 1
    })
}

#[cfg(test)]
mod tests {
    /// What is said of `mode` where the rule's policy has these metrics.
    fn found(mode: &str, metrics: [u16; 2]) -> Vec<String> {
        let [a, b] = metrics;
        let text = format!(
            "config globals 'globals'\n\toption mode '{mode}'\nconfig interface 'a'\n\toption enabled '1'\n\
             config interface 'b'\n\toption enabled '1'\nconfig member 'ma'\n\toption interface 'a'\n\toption metric '{a}'\n\
             config member 'mb'\n\toption interface 'b'\n\toption metric '{b}'\nconfig policy 'p'\n\tlist use_member 'ma'\n\
             \tlist use_member 'mb'\nconfig rule 'r'\n\toption use_policy 'p'\n"
        );
        let loaded = crate::parse_uci("f", text.as_bytes());
        loaded
            .diagnostics
            .iter()
            .filter(|d| d.option.as_deref() == Some("mode"))
            .map(ToString::to_string)
            .collect()
    }

    #[test]
    fn a_mode_that_contradicts_the_rules_is_named() {
        for (mode, metrics, said) in [
            ("LOAD_BALANCE", [1, 1], None),
            ("LOAD_BALANCE", [1, 2], Some("W0302")),
            ("FAIL_OVER", [1, 2], None),
            ("fail_over", [2, 2], Some("W0302")),
            ("FAILOVERS", [1, 2], Some("E0404")),
        ] {
            let found = found(mode, metrics);
            assert_eq!(found.len(), usize::from(said.is_some()), "{mode} {metrics:?}: {found:?}");
            assert!(
                found.iter().all(|d| d.contains(said.unwrap_or_default()) && d.contains("f:2:")),
                "{found:?}"
            );
        }
    }
}
