//! Reads members and policies. A member that cannot be read as written is left out of its policies; a
//! policy stays as long as one member is left.

use std::collections::{BTreeMap, BTreeSet};

use crate::codes;
use crate::fields::Fields;
use crate::model::{LastResort, Location, Member, Policy};
use crate::names::Names;
use crate::report::{Problem, show};
use crate::rule::LAST_RESORTS;
use crate::values;

/// Highest metric. Far above any list of preferences, and it fits wherever a metric is shown or stored.
pub(crate) const METRIC_MAX: u32 = 65_535;
/// Highest weight: shares finer than a thousandth cannot be told apart, and the sum stays small enough
/// for a kernel's verdict map.
pub(crate) const WEIGHT_MAX: u32 = 1000;

/// Reads one member section; `None` if it is left out.
pub(crate) fn read_member(fields: &mut Fields<'_>, name: &str, interfaces: &Names) -> Option<Member> {
    if fields.damaged {
        return None;
    }
    fields.items("comment");
    let metric = fields.must("metric", |t| {
        values::number(t, 0, METRIC_MAX).map_err(|_| {
            Problem::new(codes::METRIC, format!("{} is not a metric from 1 to {METRIC_MAX}", show(t)))
        })
    });
    if metric == Some(0) {
        let line = fields.items("metric").last().map_or(0, |i| i.line);
        let problem = Problem::new(codes::METRIC_ZERO, "metrics begin at 1; 0 comes before it");
        fields.add("metric", line, problem);
    }
    let weight = read_weight(fields);
    let interface = match fields.one("interface") {
        None => {
            fields.refuse(Problem::new(codes::NO_INTERFACE, "no option 'interface'; the member is left out"));
            None
        }
        Some(item) if interfaces.contains(&item.text) => Some(item.text),
        Some(item) => {
            let consequence = "the member is left out";
            let none = std::iter::empty();
            let problem =
                interfaces.unknown(codes::UNKNOWN_INTERFACE, "interface", &item.text, consequence, none);
            fields.add("interface", item.line, problem);
            None
        }
    };
    if fields.left_out {
        return None;
    }
    let (metric, weight) = (metric.unwrap_or(1), weight.unwrap_or(1));
    Some(Member { name: name.to_owned(), interface: interface?, metric, weight })
}

fn read_weight(fields: &mut Fields<'_>) -> Option<u32> {
    let weight = fields.must("weight", weight)?;
    if weight <= WEIGHT_MAX {
        return Some(weight);
    }
    let line = fields.items("weight").last().map_or(0, |i| i.line);
    fields.add("weight", line, weight_large(weight));
    Some(WEIGHT_MAX)
}

/// A weight, perhaps above the maximum: that is cut, since owners write bandwidths.
pub(crate) fn weight(text: &str) -> Result<u32, Problem> {
    match values::number(text, 0, u32::MAX) {
        Ok(0) => Err(Problem::new(codes::WEIGHT, "weight 0 would carry nothing")
            .hint("remove the member from its policies instead")),
        Ok(n) => Ok(n),
        Err(_) => {
            Err(Problem::new(codes::WEIGHT, format!("{} is not a weight from 1 to {WEIGHT_MAX}", show(text))))
        }
    }
}

pub(crate) fn weight_large(weight: u32) -> Problem {
    let message = format!("weight {weight} is taken as {WEIGHT_MAX}");
    Problem::new(codes::WEIGHT_LARGE, message).hint("weights are shares: divide them all by the same number")
}

/// Reads `use_member` of a policy section.
pub(crate) fn read_use_member(
    fields: &mut Fields<'_>,
    members: &BTreeMap<String, Member>,
    names: &Names,
) -> Vec<Member> {
    let mut used: Vec<Member> = Vec::new();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut first_of: BTreeMap<&str, &str> = BTreeMap::new();
    for item in fields.pieces("use_member") {
        if seen.contains(&item.text) {
            let message = format!("member {} is given twice; it is used once", show(&item.text));
            fields.add("use_member", item.line, Problem::new(codes::MEMBER_TWICE, message));
        } else if let Some(member) = members.get(&item.text) {
            if let Some(other) = first_of.get(member.interface.as_str()) {
                let message = format!("{} and {} are of the same interface", show(other), show(&item.text));
                fields.add("use_member", item.line, Problem::new(codes::MEMBER_TWICE, message));
            }
            first_of.entry(&member.interface).or_insert(&member.name);
            seen.insert(item.text);
            used.push(member.clone());
        } else {
            let none = std::iter::empty();
            let problem = names.unknown(codes::UNKNOWN_MEMBER, "member", &item.text, "it is not used", none);
            fields.add("use_member", item.line, problem);
        }
    }
    used
}

/// The rest of a policy, given its members; `None` if it is left out.
pub(crate) fn finish_policy(
    fields: &mut Fields<'_>,
    name: &str,
    members: Vec<Member>,
    location: Location,
) -> Option<Policy> {
    if fields.damaged {
        return None;
    }
    fields.items("comment");
    let last_resort =
        fields.get("last_resort", |t| values::word(t, LAST_RESORTS)).unwrap_or(LastResort::Unreachable);
    if LAST_RESORTS.iter().any(|(word, _)| *word == name) {
        let message = format!("{} has a meaning of its own; the policy is left out", show(name));
        fields.refuse(Problem::new(codes::RESERVED, message).hint("give it another name"));
    }
    if members.is_empty() && !fields.left_out {
        fields.refuse(Problem::new(codes::NO_MEMBERS, "no usable member; the policy is left out"));
    }
    (!fields.left_out).then(|| Policy { name: name.to_owned(), members, last_resort, location })
}
