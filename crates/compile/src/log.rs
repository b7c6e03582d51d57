//! Rules that log: the kernel log gets a line for the first packet of each connection a rule decides.
//!
//! ```text
//! rule.NAME.4   limit, log prefix "MWAN3(NAME)", counter log.NAME.4       one rule: over the limit it ends here,
//!               counter, goto policy…                                     and the next one decides all the same
//! ```
//!
//! It is in the chain of the rule, not where rules are told apart, so that verdict maps stay as they are and rules
//! without logging cost nothing. mwan3 logs in the same place: behind the match, before the policy is chosen.

use mwan_config::Family;
use mwan_core::{Desired, DesiredRule};

use crate::build::{bounded, digit, identifier, rule};
use crate::nft::{Rule, Statement};

/// Lines per minute of one rule and family: ten a second. mwan3 has no limit; a flood of connections would become a
/// flood of lines, and a serial console makes the kernel wait for each.
const PER_MINUTE_MAX: u32 = 600;
/// Lines per minute of all of them together.
const ALL_PER_MINUTE_MAX: u32 = 6000;
/// So many lines may come at once before the rate counts.
const BURST: u32 = 20;
/// Longest name in a prefix: NF_LOG_PREFIXLEN of the kernel is 128 with the final NUL.
const NAME_MAX: usize = 119;

/// What each rule that logs may write per minute, so that all of them stay below the limit.
pub(crate) fn share(desired: &Desired) -> u32 {
    let families = |found: &DesiredRule| found.rule.families.iter().count();
    let logging = desired.rules.iter().filter(|found| found.log.is_some()).map(families).sum::<usize>();
    let share = ALL_PER_MINUTE_MAX / u32::try_from(logging).unwrap_or(u32::MAX).max(1);
    share.clamp(1, PER_MINUTE_MAX)
}

/// The rule that logs, if `found` asks for it.
pub(crate) fn logging(found: &DesiredRule, family: Family, per_minute: u32) -> Option<Rule> {
    let name = &found.rule.name;
    let statements = vec![
        Statement::Limit { per_minute, burst: BURST },
        Statement::Log { prefix: prefix(name), level: found.log? },
        Statement::Counter(counter(name, family)),
    ];
    Some(rule(&format!("log {name}"), statements))
}

/// mwan3's prefix, to the letter: the kernel writes `IN=` right behind it. What could end nft's text (`"`), be a
/// variable in it (`$`) or be no text at all becomes `_`; names of UCI sections have nothing of the kind.
fn prefix(rule: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "._-:/@+[] ".contains(c) { c } else { '_' };
    let name: String = rule.chars().map(plain).take(NAME_MAX).collect();
    format!("MWAN3({name})")
}

/// Name of the counter of what a rule has logged.
pub fn counter(rule: &str, family: Family) -> String {
    bounded(format!("log.{}.{}", identifier(rule), digit(family)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_text_for_nft_and_fit_the_kernel() {
        assert_eq!(prefix("https"), "MWAN3(https)");
        assert_eq!(prefix("@rule[3]"), "MWAN3(@rule[3])");
        assert_eq!(prefix("a\"$b\n\u{e9}(c)"), "MWAN3(a__b___c_)");
        assert_eq!(prefix(&"x".repeat(300)).len(), 126);
    }
}
