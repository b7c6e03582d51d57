//! An explanation on the wire.

use std::net::IpAddr;

use mwan_api as api;
use mwan_config::{Family, LastResort, Target};
use mwan_core::{
    Carrier, Choice, Criterion, Decision, DesiredRule, Explainer, Explanation, Lead, MemberPart, Network,
    Out, Packet, Share, Translated, Walk, Way,
};

use super::super::status::{address_text, port_text, protocol_name};

/// What of a rule's wish is shown: a list of a thousand addresses says no more.
const WANTED_BYTES_MAX: usize = 80;

/// The route of packets that are left to the main table, as the kernel tells it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct MainRoute {
    pub(super) device: Option<String>,
    pub(super) gateway: Option<IpAddr>,
    pub(super) table: Option<u32>,
}

/// The document without what the kernel has to say of a flow or a real packet.
pub(super) fn document(
    explainer: &Explainer,
    packet: &Packet,
    found: &Explanation<'_>,
    main: &MainRoute,
    notes: Vec<String>,
) -> api::Explanation {
    let family = Family::of(packet.destination);
    let (decided_by, target) = decided_by(&found.walk);
    let names = Names(explainer);
    let (choice, choice_text) = choice(&names, found);
    api::Explanation {
        schema: api::SCHEMA_EXPLANATION.to_owned(),
        packet: api::ExplainedPacket {
            family: family.name().to_owned(),
            protocol: protocol_name(packet.protocol),
            source: packet.source.to_string(),
            source_port: packet.source_port,
            destination: packet.destination.to_string(),
            destination_port: packet.destination_port,
            input: packet.input.clone(),
        },
        notes,
        steps: steps(&names, packet, &found.walk),
        rules: rules(packet, &found.walk),
        decided_by: decided_by.to_owned(),
        rule: found.walk.found.map(|found| found.rule.name.clone()),
        target,
        members: found.members.iter().map(member).collect(),
        choice: choice.to_owned(),
        choice_text,
        ways: found.ways.iter().map(|way| way_document(explainer, packet, way, main)).collect(),
        next: found.next.as_ref().and_then(next),
        flow: None,
        verified: None,
    }
}

struct Names<'a>(&'a Explainer);

impl Names<'_> {
    fn of(&self, id: u32) -> String {
        let found = self.0.desired.interfaces.iter().find(|i| i.id == id);
        found.map_or_else(|| format!("interface {id}"), |i| i.name.clone())
    }
}

fn decided_by(walk: &Walk<'_>) -> (&'static str, Option<String>) {
    match &walk.decision {
        Decision::Inbound(_) => ("inbound", None),
        Decision::Local => ("network", Some("default".to_owned())),
        Decision::Home(_) => ("home", None),
        Decision::Unmatched => ("unmatched", None),
        Decision::Rule { .. } => ("rule", walk.found.map(|found| target(&found.rule.target))),
    }
}

fn target(target: &Target) -> String {
    match target {
        Target::Policy(name) => name.clone(),
        Target::Direct(resort) => resort.name().to_owned(),
    }
}

/// The questions before the rules, up to the one that decides.
fn steps(names: &Names<'_>, packet: &Packet, walk: &Walk<'_>) -> Vec<api::ExplainedStep> {
    let mut steps = Vec::new();
    let mut step = |step: &str, decided: bool, text: String| {
        steps.push(api::ExplainedStep { step: step.to_owned(), decided, text });
        !decided
    };
    let inbound = match (&walk.decision, &packet.input) {
        (Decision::Inbound(id), Some(device)) => {
            Some(format!("came in by {device}, so its flow stays on {}", names.of(*id)))
        }
        _ => None,
    };
    let from = || match &packet.input {
        Some(device) => format!("came in by {device}, which is no WAN"),
        None => "is this machine's own".to_owned(),
    };
    if !step("inbound", inbound.is_some(), inbound.unwrap_or_else(from)) {
        return steps;
    }
    let network = walk.network.map(|network| match network {
        Network::Connected(net) => format!("destination is in {net} of the main table: never policy-routed"),
        Network::Custom(net) => {
            format!("destination is in {net} of a table of rt_table_lookup: never policy-routed")
        }
        Network::Dynamic => {
            "destination is in the set dynamic, which others fill: never policy-routed".to_owned()
        }
    });
    let none = "destination is in none of the connected, custom and dynamic networks".to_owned();
    if !step("network", network.is_some(), network.unwrap_or(none)) {
        return steps;
    }
    if names.0.desired.homes.is_some() {
        let home = walk.home.map(|home| {
            let range = mwan_compile::text::Range(home.range);
            format!("source is in {range}, which is at home on {} (source_routing)", names.of(home.id))
        });
        let none = "source is at home on no WAN that is usable (source_routing)".to_owned();
        if !step("home", home.is_some(), home.unwrap_or(none)) {
            return steps;
        }
    }
    if let Some(judged) = walk.judged {
        step("own", false, format!("rules take {judged} for its source (local_source)"));
    }
    steps
}

fn rules(packet: &Packet, walk: &Walk<'_>) -> Vec<api::AskedRule> {
    let missed = walk.missed.iter().map(|(rule, criterion)| missed(packet, walk, rule, *criterion));
    let found = walk.found.map(|found| api::AskedRule {
        rule: found.rule.name.clone(),
        matched: true,
        criterion: None,
        wanted: None,
        value: None,
    });
    missed.chain(found).collect()
}

/// A rule that does not match: in the words of the configuration.
fn missed(packet: &Packet, walk: &Walk<'_>, found: &DesiredRule, criterion: Criterion) -> api::AskedRule {
    let rule = &found.rule;
    let family = Family::of(packet.destination);
    let source = walk.judged.unwrap_or(packet.source);
    let port = |port: Option<u16>| port.map_or_else(|| "none".to_owned(), |port| port.to_string());
    let ports =
        |ranges: &[mwan_config::PortRange]| ranges.iter().map(port_text).collect::<Vec<_>>().join(",");
    let (word, wanted, value) = match criterion {
        Criterion::Family => {
            let families: Vec<_> = rule.families.iter().map(Family::name).collect();
            ("family", families.join(","), family.name().to_owned())
        }
        Criterion::Input => (
            "src_iface",
            found.source_device.clone().unwrap_or_default(),
            packet.input.clone().unwrap_or_else(|| "none, it is this machine's own".to_owned()),
        ),
        Criterion::Protocol => {
            let list: Vec<_> = rule.protocols.iter().map(|p| protocol_name(*p)).collect();
            ("proto", list.join(","), protocol_name(packet.protocol))
        }
        Criterion::Source => ("src_ip", address_text(rule.source.as_ref(), family), source.to_string()),
        Criterion::Destination => {
            ("dest_ip", address_text(rule.destination.as_ref(), family), packet.destination.to_string())
        }
        Criterion::SourcePort => ("src_port", ports(&rule.source_ports), port(packet.source_port)),
        Criterion::DestinationPort => {
            ("dest_port", ports(&rule.destination_ports), port(packet.destination_port))
        }
        Criterion::SourceSet => {
            ("ipset_src", rule.source_set.clone().unwrap_or_default(), source.to_string())
        }
        Criterion::DestinationSet => {
            ("ipset", rule.destination_set.clone().unwrap_or_default(), packet.destination.to_string())
        }
    };
    let wanted = if wanted.is_empty() { format!("nothing of {family}") } else { clipped(wanted) };
    api::AskedRule {
        rule: rule.name.clone(),
        matched: false,
        criterion: Some(word.to_owned()),
        wanted: Some(wanted),
        value: Some(value),
    }
}

fn clipped(mut text: String) -> String {
    if text.len() > WANTED_BYTES_MAX {
        let end = (0..=WANTED_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn member(part: &MemberPart<'_>) -> api::ExplainedMember {
    let out = part.out.as_ref().map(|out| match out {
        Out::Absent => "disabled, or without this family".to_owned(),
        Out::Unusable(reason) => format!("offline: {reason}"),
        Out::Held(hold) => format!("held back: lost {} times within ten minutes", hold.losses),
        Out::Drained => "drained by the owner".to_owned(),
        Out::OtherTier => "members with a lower metric carry".to_owned(),
    });
    api::ExplainedMember {
        interface: part.member.interface.clone(),
        metric: part.member.metric,
        weight: part.member.weight,
        percent: part.part.map(|(weight, of)| percent(weight, of)),
        out,
    }
}

/// A member of a policy in a line.
pub(in super::super) fn member_text(part: &MemberPart<'_>) -> String {
    let member = member(part);
    let what = match (member.percent, member.out) {
        (Some(percent), _) => format!("carries {percent} %"),
        (None, out) => out.unwrap_or_default(),
    };
    format!("{} (metric {}, weight {}): {what}", member.interface, member.metric, member.weight)
}

fn percent(weight: u32, of: u32) -> u32 {
    let (weight, of) = (u64::from(weight), u64::from(of.max(1)));
    u32::try_from((weight * 100 + of / 2) / of).unwrap_or(100)
}

fn choice(names: &Names<'_>, found: &Explanation<'_>) -> (&'static str, String) {
    let parts = |ways: &[Way]| {
        let one = |way: &Way| {
            let name = way.interface.as_ref().map_or("", |(_, name)| name);
            format!("{name} {} %", percent(way.weight, way.of))
        };
        ways.iter().map(one).collect::<Vec<_>>().join(", ")
    };
    match &found.choice {
        Choice::Only => ("only", String::new()),
        Choice::Random => ("random", format!("random by weight: {}", parts(&found.ways))),
        Choice::Kept(id, left) => {
            ("sticky", format!("sticky: kept on {} for {} s more", names.of(*id), left.as_secs()))
        }
        Choice::Placed(Some(id)) => {
            ("hash", format!("sticky, and new here: its hash is {}'s", names.of(*id)))
        }
        Choice::Placed(None) => ("hash", format!("sticky, and new here: by a hash: {}", parts(&found.ways))),
    }
}

fn way_document(explainer: &Explainer, packet: &Packet, way: &Way, main: &MainRoute) -> api::ExplainedWay {
    let (leads, table, device, gateway) = match &way.lead {
        Lead::Main => ("main", main.table, main.device.clone(), main.gateway),
        Lead::Table { table, device, hop } => ("route", Some(*table), Some(device.clone()), hop.gateway),
        Lead::Unreachable => ("unreachable", None, None, None),
        Lead::Blackhole => ("blackhole", None, None, None),
    };
    let translated = device.as_ref().and_then(|device| explainer.translated(device, packet));
    // What came in and ends here does not leave.
    let leaves = |device: &&String| packet.input.is_none() || *device != super::LOOPBACK;
    let source = device.as_ref().filter(leaves).and_then(|_| match translated {
        None => Some(packet.source.to_string()),
        Some(Translated::To(ip)) => Some(ip.to_string()),
        Some(Translated::Somewhere) => None,
    });
    api::ExplainedWay {
        percent: percent(way.weight, way.of),
        interface: way.interface.as_ref().map(|(_, name)| name.clone()),
        mark: format!("{:#x}", way.mark),
        leads: leads.to_owned(),
        table,
        device,
        gateway: gateway.map(|ip| ip.to_string()),
        source,
        translated: translated.is_some(),
        instead: way.instead.as_ref().map(carried),
    }
}

fn carried(carrier: &Carrier) -> String {
    let resort = |resort: &LastResort| format!("{} (last resort)", resort.name());
    let share = |of: u32| move |s: &Share| format!("{} {} %", s.interface, percent(s.weight, of));
    match carrier {
        Carrier::LastResort(last) => resort(last),
        Carrier::Members(shares) if shares.len() == 1 => shares.iter().map(|s| s.interface.clone()).collect(),
        Carrier::Members(shares) => {
            let of = shares.iter().map(|s| s.weight).sum();
            shares.iter().map(share(of)).collect::<Vec<_>>().join(", ")
        }
    }
}

fn next(walk: &Walk<'_>) -> Option<api::NextDecision> {
    let found = walk.found?;
    let carried_by = match (&walk.decision, &found.rule.target) {
        (_, Target::Direct(resort)) => resort.name().to_owned(),
        (Decision::Rule { carrier, .. }, Target::Policy(policy)) => format!("{policy}: {}", carried(carrier)),
        _ => return None,
    };
    Some(api::NextDecision { rule: found.rule.name.clone(), carried_by })
}
