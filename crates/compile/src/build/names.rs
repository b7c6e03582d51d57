//! Names of chains and counters, values of marks, and the tag by which a rule is known again.

use std::fmt::Write as _;

use mwan_config::{Family, LastResort};
use mwan_core::{Desired, Marks};

use crate::nft::*;

/// Longest name of a chain, counter or set; the kernel's NFT_NAME_MAXLEN is 256 with the final NUL.
const NAME_MAX: usize = 200;
/// Longest word in a rule's comment; the kernel's limit for all of it is 256, nft's 128.
const COMMENT_WORD_MAX: usize = 80;

/// Every id that can be in a mark, and the interface's name or the last resort's.
pub(super) fn mark_ids(desired: &Desired) -> Vec<(u32, &str)> {
    let marks = desired.marks;
    let mut ids: Vec<(u32, &str)> = desired.interfaces.iter().map(|i| (i.id, i.name.as_str())).collect();
    ids.extend([
        (marks.default_id(), "default"),
        (marks.unreachable_id(), "unreachable"),
        (marks.blackhole_id(), "blackhole"),
    ]);
    ids
}

pub(super) fn special(marks: Marks, id: u32) -> Option<&'static str> {
    match id {
        _ if id == marks.default_id() => Some("default"),
        _ if id == marks.unreachable_id() => Some("unreachable"),
        _ if id == marks.blackhole_id() => Some("blackhole"),
        _ => None,
    }
}

/// Packet mark and connection mark of an id.
pub(super) fn set_marks(marks: Marks, id: u32) -> [Statement; 2] {
    [MarkKind::Packet, MarkKind::Connection].map(|mark| Statement::SetMark {
        mark,
        mask: marks.mask(),
        value: marks.of(id),
    })
}

/// The chain that finds the first rule that matches.
pub(crate) fn rules_chain(family: Family) -> String {
    format!("rules.{}", digit(family))
}

pub(super) fn classify_chain(family: Family) -> String {
    format!("classify.{}", digit(family))
}

pub(crate) fn set_chain(marks: Marks, id: u32) -> String {
    special(marks, id).map_or_else(|| format!("set.{id}"), |name| format!("set.{name}"))
}

pub(super) fn get_chain(marks: Marks, id: u32) -> String {
    special(marks, id).map_or_else(|| format!("get.{id}"), |name| format!("get.{name}"))
}

pub(crate) fn resort_chain(resort: LastResort) -> &'static str {
    match resort {
        LastResort::Default => "set.default",
        LastResort::Unreachable => "set.unreachable",
        LastResort::Blackhole => "set.blackhole",
    }
}

/// Name of a rule's chain and counter.
pub fn rule_chain(rule: &str, family: Family) -> String {
    bounded(format!("rule.{}.{}", identifier(rule), digit(family)))
}

/// Name of the chain that looks for an address in the parts of a rule's set that a number stands for; of its second set
/// likewise, and 0 for what leads there.
pub(crate) fn look_chain(rule: &str, family: Family, set: usize, number: u32) -> String {
    let word = if set == 0 { "look" } else { "look2" };
    bounded(format!("{word}.{}.{}.{number}", identifier(rule), digit(family)))
}

/// Name of a policy's chain.
pub fn policy_chain(policy: &str, family: Family) -> String {
    bounded(format!("policy.{}.{}", identifier(policy), digit(family)))
}

/// Name of a member's chain and counter.
pub fn member_chain(policy: &str, interface: &str, family: Family) -> String {
    bounded(format!("member.{}.{}.{}", identifier(policy), identifier(interface), digit(family)))
}

pub(crate) fn digit(family: Family) -> u8 {
    match family {
        Family::V4 => 4,
        Family::V6 => 6,
    }
}

/// A name as part of an nft identifier: letters, digits, `_`; everything else as `-HEX-`, so that different
/// names stay different.
pub(crate) fn identifier(name: &str) -> String {
    mwan_config::nft_identifier(name)
}

/// A name the kernel accepts, whatever its length; the hash keeps long ones apart.
pub(crate) fn bounded(name: String) -> String {
    if name.len() <= NAME_MAX { name } else { format!("{}.{:016x}", &name[..NAME_MAX - 17], hash(&name)) }
}

pub(crate) fn goto(chain: &str) -> Statement {
    Statement::Verdict(Verdict::Goto(chain.to_owned()))
}

pub(super) fn nfproto_vmap(families: &[(Family, Verdict)]) -> Statement {
    let elements = families.iter().map(|(f, verdict)| (vec![Value::Family(*f)], verdict.clone())).collect();
    Statement::Vmap { key: vec![Selector::NetworkProtocol], elements }
}

/// A rule with its tag: a word for people and the hash of all it does.
pub(crate) fn rule(word: &str, statements: Vec<Statement>) -> Rule {
    let mut rule = Rule { statements, tag: String::new() };
    let hash = hash(&format_args!("{ENCODING} {rule}"));
    let word: String = word
        .chars()
        .filter(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '#') || *c == ' ')
        .take(COMMENT_WORD_MAX)
        .collect();
    rule.tag = format!("{word} #{hash:016x}");
    rule
}

/// Counts up when the same text is encoded differently for the kernel, so that an upgrade rewrites it.
const ENCODING: u32 = 1;

/// FNV-1a, 64 bits: stable between versions and machines, which the standard library's hash is not.
struct Fnv1a(u64);

impl std::fmt::Write for Fnv1a {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(())
    }
}

fn hash(text: &dyn std::fmt::Display) -> u64 {
    let mut hash = Fnv1a(0xcbf2_9ce4_8422_2325);
    // Writing to a hash does not fail.
    let _ = write!(hash, "{text}");
    hash.0
}
