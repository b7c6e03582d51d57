//! Reads a rule. A rule that cannot be read as written is left out: with a part of its match missing it
//! would catch traffic it was not meant for.

use crate::codes;
use crate::fields::{Fields, Item};
use crate::model::{
    AddressMatch, Families, Family, Globals, LastResort, Location, PortRange, Rule, Sticky, StickyKey, Target,
};
use crate::names::Names;
use crate::report::Problem;
use crate::values;

/// mwan3's default of a sticky rule's `timeout`.
const STICKY_DEFAULT: std::time::Duration = std::time::Duration::from_secs(600);
const STICKY_KEYS: &[(&str, StickyKey)] =
    &[("source", StickyKey::Source), ("source+destination", StickyKey::SourceAndDestination)];
/// Longest name of an interface of the platform, as of a UCI section.
pub(crate) const INTERFACE_NAME_BYTES_MAX: usize = crate::uci::NAME_BYTES_MAX;
/// Longest name of a set: what ipset allows.
pub(crate) const SET_NAME_BYTES_MAX: usize = 31;
const PROTOCOL_ICMP: u8 = 1;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const PROTOCOL_ICMPV6: u8 = 58;

/// The words that stand for themselves where a policy is named.
pub(crate) const LAST_RESORTS: &[(&str, LastResort)] = &[
    ("unreachable", LastResort::Unreachable),
    ("blackhole", LastResort::Blackhole),
    ("default", LastResort::Default),
];

/// Reads one rule section; `None` if it is left out (which has been reported then).
pub(crate) fn read_rule(
    fields: &mut Fields<'_>,
    name: &str,
    policies: &Names,
    globals: &Globals,
    location: Location,
) -> Option<Rule> {
    if fields.damaged {
        return None;
    }
    for ignored in ["comment", "name", "equalize"] {
        read_ignored(fields, ignored);
    }
    let explicit = fields.families("family", true);
    let protocols = fields.must_list("proto", |i| values::protocols(texts(i))).unwrap_or_default();
    let mut source = fields.must_list("src_ip", |i| values::addresses(texts(i))).flatten();
    let mut destination = fields.must_list("dest_ip", |i| values::addresses(texts(i))).flatten();
    let mut source_ports = fields.must_list("src_port", |i| values::ports(texts(i))).unwrap_or_default();
    let mut destination_ports =
        fields.must_list("dest_port", |i| values::ports(texts(i))).unwrap_or_default();
    check_ports(fields, &protocols, &mut source_ports, "src_port");
    check_ports(fields, &protocols, &mut destination_ports, "dest_port");
    let source_interface = fields.must("src_iface", |t| values::foreign_name(t, INTERFACE_NAME_BYTES_MAX));
    let destination_set = fields.must("ipset", |t| values::foreign_name(t, SET_NAME_BYTES_MAX));
    let source_set = fields.must("ipset_src", |t| values::foreign_name(t, SET_NAME_BYTES_MAX));
    let sticky = fields.bool("sticky", false);
    let timeout = fields.time("timeout", STICKY_DEFAULT);
    let key = fields.get("sticky_key", |t| values::word(t, STICKY_KEYS)).unwrap_or(StickyKey::Source);
    let logging = fields.bool("logging", false);
    if let (Some(item), true, false) = (fields.items("logging").last(), logging, globals.logging) {
        let problem = Problem::new(codes::NOT_LOGGED, "the global switch is off: the rule is not logged");
        fields.add("logging", item.line, problem.hint("set 'logging' of the globals to 1, too"));
    }
    let families = read_rule_families(fields, explicit, &mut source, &mut destination);
    check_icmp(fields, &protocols, families);
    let target = read_target(fields, policies);
    if fields.left_out {
        return None;
    }
    Some(Rule {
        name: name.to_owned(),
        families: families?,
        protocols,
        source,
        destination,
        source_ports,
        destination_ports,
        source_interface,
        destination_set,
        source_set,
        sticky: sticky.then_some(Sticky { timeout, key }),
        logging,
        target: target?,
        location,
    })
}

fn texts(items: &[Item]) -> impl Iterator<Item = &str> {
    items.iter().map(|i| i.text.as_str())
}

fn read_ignored(fields: &mut Fields<'_>, key: &'static str) {
    let items = fields.items(key);
    if let (Some(item), "equalize") = (items.first(), key) {
        fields.add(key, item.line, Problem::new(codes::OBSOLETE, "has no effect"));
    }
}

/// mwan3 drops the ports of a rule whose protocol has none; so do we, but we say so.
fn check_ports(fields: &mut Fields<'_>, protocols: &[u8], ports: &mut Vec<PortRange>, key: &'static str) {
    let has_ports =
        !protocols.is_empty() && protocols.iter().all(|p| [PROTOCOL_TCP, PROTOCOL_UDP].contains(p));
    if ports.is_empty() || has_ports {
        return;
    }
    ports.clear();
    let line = fields.items(key).first().map_or(0, |i| i.line);
    let problem = Problem::new(codes::PORTS_IGNORED, "ports need the protocol tcp or udp; they are ignored");
    fields.add(key, line, problem.hint("add the protocol: tcp, udp or both"));
}

/// The families a rule can match: the configured ones less those its addresses exclude. Ranges of a
/// family the rule does not match are removed from its lists.
fn read_rule_families(
    fields: &mut Fields<'_>,
    explicit: Option<Families>,
    source: &mut Option<AddressMatch>,
    destination: &mut Option<AddressMatch>,
) -> Option<Families> {
    let wanted = explicit.unwrap_or(Families::ALL);
    let mut families = wanted;
    for (key, list) in [("src_ip", &*source), ("dest_ip", &*destination)] {
        let Some(list) = list else { continue };
        let found = families_of(list);
        if !(wanted.v4 && found.v4 || wanted.v6 && found.v6) {
            let line = fields.items(key).first().map_or(0, |i| i.line);
            let family = if found.v4 { Family::V4 } else { Family::V6 };
            let wanted = names_of(wanted);
            let message =
                format!("only {family} addresses, but the rule is for {wanted}; the rule is left out");
            fields.add(key, line, Problem::new(codes::FAMILY, message).hint("correct 'family'"));
            fields.left_out = true;
            return None;
        }
        families = Families { v4: families.v4 && found.v4, v6: families.v6 && found.v6 };
    }
    if !families.v4 && !families.v6 {
        let message = "source and destination are of different families; the rule is left out";
        fields.refuse(Problem::new(codes::NO_FAMILY, message));
        return None;
    }
    for (key, list) in [("src_ip", source), ("dest_ip", destination)] {
        let Some(list) = list else { continue };
        let before = list.ranges.len();
        list.ranges.retain(|r| families.contains(Family::of(r.first)));
        if list.ranges.len() < before {
            let line = fields.items(key).first().map_or(0, |i| i.line);
            let message =
                format!("the rule is for {}; the other addresses have no effect", names_of(families));
            fields.add(key, line, Problem::new(codes::OTHER_ADDRESSES, message));
        }
    }
    Some(families)
}

fn families_of(list: &AddressMatch) -> Families {
    let has = |family| list.ranges.iter().any(|r| Family::of(r.first) == family);
    Families { v4: has(Family::V4), v6: has(Family::V6) }
}

fn names_of(families: Families) -> String {
    families.iter().map(Family::name).collect::<Vec<_>>().join(" and ")
}

fn check_icmp(fields: &mut Fields<'_>, protocols: &[u8], families: Option<Families>) {
    let never = match (families, protocols) {
        (Some(Families { v4: false, .. }), [PROTOCOL_ICMP]) => "icmp in a rule for ipv6 only",
        (Some(Families { v6: false, .. }), [PROTOCOL_ICMPV6]) => "icmpv6 in a rule for ipv4 only",
        _ => return,
    };
    let line = fields.items("proto").first().map_or(0, |i| i.line);
    let problem = Problem::new(codes::NEVER, format!("{never} never matches"));
    fields.add("proto", line, problem.hint("use icmp for IPv4, icmpv6 for IPv6"));
}

fn read_target(fields: &mut Fields<'_>, policies: &Names) -> Option<Target> {
    let Some(item) = fields.one("use_policy") else {
        fields.refuse(Problem::new(codes::NO_POLICY, "the rule names no policy; it is ignored"));
        return None;
    };
    if let Some((_, direct)) = LAST_RESORTS.iter().find(|(w, _)| *w == item.text) {
        return Some(Target::Direct(*direct));
    }
    if policies.contains(&item.text) {
        return Some(Target::Policy(item.text));
    }
    let known = LAST_RESORTS.iter().map(|(w, _)| *w);
    let problem =
        policies.unknown(codes::UNKNOWN_POLICY, "policy", &item.text, "the rule is left out", known);
    fields.add("use_policy", item.line, problem);
    fields.left_out = true;
    None
}
