//! The status document, from the core, the writer's counters and the kernel.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use mwan_api as api;
use mwan_config::{AddressMatch, Diagnostic, Family, LastResort, PortRange, Rule, Target};
use mwan_core::{
    Carrier, Core, Desired, DesiredPolicy, DesiredRule, PathKey, PathStatus, TargetState, Time,
    worst_case_detection,
};

use mwan_compile::routing::ObservedRouting;
use mwan_compile::{Observed, log_counter, member_chain, policy_is_installed, rule_chain};

use mwan_linux::nft::Known;

use super::durations::Switches;

/// Packets and bytes by name of the counter.
pub(super) type Counters = BTreeMap<String, (u64, u64)>;

/// Diagnostics on the wire.
pub(crate) fn diagnostics(list: &[Diagnostic]) -> Vec<api::Diagnostic> {
    let one = |d: &Diagnostic| api::Diagnostic {
        severity: d.severity.name().to_owned(),
        code: d.code.to_owned(),
        text: d.to_string(),
    };
    list.iter().map(one).collect()
}

/// Interfaces in the order of the configuration.
pub(super) fn interfaces(core: &Core, achieved: &Achieved<'_>, now: Time) -> Vec<api::Interface> {
    let marks = mwan_core::Marks::new(core.config().globals.mask);
    let carrying = achieved.carrying();
    let one = |i: &mwan_config::Interface| {
        let wan = core.wan(&i.name);
        let id = wan.map_or(0, |(id, _)| id);
        let keys = i.families.iter().map(|family| PathKey { id, family });
        let paths = keys.filter_map(|key| Some((key, core.path(key)?))).map(|(key, status)| api::Path {
            carries: carrying.contains(&key),
            ..path(core, i, key, &status, achieved, now)
        });
        api::Interface {
            name: i.name.clone(),
            device: wan.map_or_else(|| i.device.clone().unwrap_or_default(), |(_, d)| d.to_owned()),
            enabled: i.enabled,
            id,
            mark: format!("{:#x}", marks.of(id)),
            paths: paths.collect(),
        }
    };
    core.config().interfaces.iter().map(one).collect()
}

fn path(
    core: &Core,
    interface: &mwan_config::Interface,
    key: PathKey,
    status: &PathStatus<'_>,
    achieved: &Achieved<'_>,
    now: Time,
) -> api::Path {
    let t = status.tracker;
    let tracking = match (status.ready, t.targets().is_empty()) {
        (false, _) => "down",
        (true, true) => "disabled",
        (true, false) => "active",
    };
    api::Path {
        family: key.family.name().to_owned(),
        status: status.state.name().to_owned(),
        usable: status.state.usable(),
        carries: false,
        drained: status.drained,
        reason: api::Reason { code: status.reason.code().to_owned(), text: status.reason.to_string() },
        since_s: now.since(status.since).as_secs(),
        uptime_s: if status.ready { now.since(status.ready_since).as_secs() } else { 0 },
        tracking: tracking.to_owned(),
        score: t.score(),
        lost: t.lost(),
        rounds: t.rounds(),
        judged_round: t.judged_round(),
        good_round: t.good_round(),
        age_s: t.round_started().map_or(0, |at| now.since(at).as_secs()),
        hold: status.hold.map(|h| api::Hold { remaining_s: h.until.since(now).as_secs(), losses: h.losses }),
        source: status.source.map(|ip| ip.to_string()),
        gateway: status.next_hop.and_then(|n| n.gateway).map(|ip| ip.to_string()),
        worst_case_detection_ms: (!t.targets().is_empty())
            .then(|| millis(worst_case_detection(&interface.tracking, t))),
        check_quality: interface.tracking.quality.is_some(),
        quality: interface.tracking.quality.as_ref().map(quality),
        missing: achieved.observed.map_or(0, |o| missing(core, &o.routing, o, key)),
        targets: status.targets.iter().map(target).collect(),
        network: core.logical(&interface.name, key.family).map(network),
        fault: None,
    }
}

fn quality(quality: &mwan_config::Quality) -> api::Quality {
    api::Quality {
        failure_latency_ms: quality.failure_latency_ms,
        recovery_latency_ms: quality.recovery_latency_ms,
        failure_loss_percent: quality.failure_loss_percent,
        recovery_loss_percent: quality.recovery_loss_percent,
    }
}

/// What may be a WAN, and which interface of the configuration it is already.
pub(super) fn candidates(core: &Core) -> api::Candidates {
    let configured = |device: &str| {
        let has = |i: &&mwan_config::Interface| {
            let known = core.wan(&i.name).map(|(_, device)| device);
            known.or(i.device.as_deref()).unwrap_or(&i.name) == device
        };
        core.config().interfaces.iter().find(has).map(|i| i.name.clone())
    };
    let one = |c: mwan_core::Candidate| api::Candidate {
        interface: configured(&c.device),
        device: c.device,
        network: c.network,
        families: c.families.iter().map(|family| family.name().to_owned()).collect(),
        gateways: c.gateways.iter().map(ToString::to_string).collect(),
        addresses: c.addresses.iter().map(ToString::to_string).collect(),
        main: c.main,
    };
    let candidates = core.candidates().into_iter().map(one).collect();
    api::Candidates { schema: api::SCHEMA_CANDIDATES.to_owned(), candidates }
}

fn network((name, logical): (&str, &mwan_core::LogicalInterface)) -> api::NetworkInterface {
    api::NetworkInterface {
        name: name.to_owned(),
        proto: logical.proto.clone(),
        metric: logical.metric,
        prefixes: logical.prefixes.iter().map(ToString::to_string).collect(),
        dns: logical.dns.iter().map(ToString::to_string).collect(),
    }
}

fn target(target: &mwan_core::Target) -> api::Target {
    let status = match target.state {
        _ if target.is_silent() => "down",
        TargetState::Unknown => "unknown",
        TargetState::Up => "up",
        TargetState::Down => "down",
    };
    api::Target {
        ip: target.ip.to_string(),
        method: target.method.name().to_owned(),
        target: target.probe().to_string(),
        status: status.to_owned(),
        rtt_us: target.rtt.map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        latency_ms: target.figures().latency_ms,
        loss_percent: target.figures().loss_percent,
        sent: target.sent,
        received: target.received,
        error: target.error.clone(),
    }
}

/// mwan3's sum of what is missing: 1 iif rule (only if configured), 2 fwmark rule, 4 unreachable rule,
/// 8 inbound chain, 16 default route.
fn missing(core: &Core, routing: &ObservedRouting, observed: &Observed, key: PathKey) -> u32 {
    let globals = &core.config().globals;
    let base = globals.rule_base;
    let table = globals.table_base + key.id;
    let has = |priority| routing.rules.iter().any(|r| r.family == key.family && r.priority == priority);
    let chain = format!("set.{}", key.id);
    let inbound = observed.table.as_ref().is_some_and(|t| t.chains.contains_key(&chain));
    let route = routing.routes.iter().any(|r| r.family == key.family && r.table == table);
    [
        (1, !base.iif_rules || has(base.iif + key.id)),
        (2, has(base.fwmark + key.id)),
        (4, has(base.unreachable + key.id)),
        (8, inbound),
        (16, route),
    ]
    .into_iter()
    .filter(|(_, present)| !present)
    .map(|(bit, _)| bit)
    .sum()
}

pub(super) fn millis(d: std::time::Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// What the kernel has, as far as it can be said in words: not what is wanted of it, which a failing change or somebody
/// else's hand may keep from being so.
pub(super) struct Achieved<'a> {
    /// What the last accepted change made; before there was one, what is wanted.
    base: Option<&'a Desired>,
    wanted: Option<&'a Desired>,
    observed: Option<&'a Observed>,
}

impl<'a> Achieved<'a> {
    pub(super) fn new(
        core: &'a Core,
        committed: Option<&'a Desired>,
        observed: Option<&'a Observed>,
    ) -> Self {
        let wanted = core.desired().map(std::convert::AsRef::as_ref);
        Achieved { base: committed.or(wanted), wanted, observed }
    }

    fn all(&self) -> impl Iterator<Item = &'a DesiredPolicy> {
        self.base.into_iter().flat_map(|desired| desired.policies.iter())
    }

    fn wanted(&self, name: &str) -> Option<&'a DesiredPolicy> {
        self.wanted.and_then(|desired| desired.policies.iter().find(|p| p.name == name))
    }

    /// What carries a policy in the kernel; `None` if it has something else or nothing of that name. If it cannot be
    /// read, what was last accepted.
    fn carrier(&self, policy: &'a DesiredPolicy, family: Family) -> Option<&'a Carrier> {
        let Some(observed) = self.observed else { return Some(policy.carrier(family)) };
        let table = observed.table.as_ref()?;
        let known = [Some(policy), self.wanted(&policy.name)].into_iter().flatten();
        known.into_iter().find(|p| policy_is_installed(p, family, table)).map(|p| p.carrier(family))
    }

    /// Paths that carry a policy to which a rule leads: others get no new connections by what they have.
    pub(super) fn carrying(&self) -> BTreeSet<PathKey> {
        let mut carrying = BTreeSet::new();
        let led = led(self.base.map_or(&[], |desired| &desired.rules));
        let each = self.all().flat_map(|policy| Family::ALL.map(|family| (policy, family)));
        for (policy, family) in each.filter(|(policy, family)| led.contains(&(policy.name.as_str(), *family)))
        {
            if let Some(Carrier::Members(shares)) = self.carrier(policy, family) {
                carrying.extend(shares.iter().map(|share| PathKey { id: share.id, family }));
            }
        }
        carrying
    }

    /// Policies in the order of the configuration.
    pub(super) fn policies(&self, counters: &Counters, switches: &Switches) -> Vec<api::Policy> {
        let of = |p: &'a DesiredPolicy, family| api::Carrier {
            switches: switches.of(&p.name, family),
            ..carrier(p, self.carrier(p, family), family, counters)
        };
        let one = |p: &'a DesiredPolicy| api::Policy {
            name: p.name.clone(),
            ipv4: of(p, Family::V4),
            ipv6: of(p, Family::V6),
        };
        self.all().map(one).collect()
    }

    /// Rules in order of evaluation, once per family they apply to. `known` tells who keeps an interface by a sticky rule.
    pub(super) fn rules(
        &self,
        counters: &Counters,
        mut known: impl FnMut(&Rule, u32, Family) -> Vec<Known>,
    ) -> Vec<api::Rule> {
        let Some(desired) = self.base else { return Vec::new() };
        let each = |family: Family| desired.rules.iter().map(move |r| (family, r));
        Family::ALL
            .into_iter()
            .flat_map(each)
            .filter(|(family, found)| found.rule.families.contains(*family))
            .map(|(family, found)| api::Rule {
                sticky_entries: sticky_entries(desired, &found.rule, family, &mut known),
                logged: logged(found, family, counters),
                ..rule_status(&found.rule, family, counters)
            })
            .collect()
    }

    /// Policies that are not as wanted, in words.
    pub(super) fn differences(&self) -> Vec<String> {
        let policies = self.wanted.into_iter().flat_map(|desired| desired.policies.iter());
        let each = policies.flat_map(|p| Family::ALL.map(|family| (p, family)));
        each.filter_map(|(wanted, family)| {
            let base = self.all().find(|p| p.name == wanted.name).unwrap_or(wanted);
            let (is, should) = (self.carrier(base, family), wanted.carrier(family));
            let is_text = is.map_or_else(|| "not in the kernel".to_owned(), carrier_text);
            (is != Some(should)).then(|| {
                let (name, should) = (&wanted.name, carrier_text(should));
                format!("policy {name} {} is {is_text}, and should be {should}", family.name())
            })
        })
        .collect()
    }
}

fn carrier(
    policy: &DesiredPolicy,
    carrier: Option<&Carrier>,
    family: Family,
    counters: &Counters,
) -> api::Carrier {
    let (members, last_resort) = match carrier {
        None => (Vec::new(), None),
        Some(Carrier::LastResort(resort)) => (Vec::new(), Some(resort.name().to_owned())),
        Some(Carrier::Members(shares)) => {
            let sum: u64 = shares.iter().map(|s| u64::from(s.weight)).sum();
            let member = |s: &mwan_core::Share| api::Member {
                interface: s.interface.clone(),
                percent: u32::try_from(u64::from(s.weight) * 100 / sum.max(1)).unwrap_or(0),
                weight: s.weight,
            };
            (shares.iter().map(member).collect(), None)
        }
    };
    let counter = |(_, interface): &(u32, String)| {
        let name = member_chain(&policy.name, interface, family);
        let (packets, bytes) = counters.get(&name).copied().unwrap_or_default();
        api::MemberCounter { interface: interface.clone(), packets, bytes }
    };
    let counters = policy.members.iter().map(counter).collect();
    api::Carrier { members, last_resort, counters, switches: 0 }
}

/// Networks by family, sorted.
pub(super) fn networks<'a>(nets: impl Iterator<Item = &'a IpNet>) -> api::Networks {
    let (v4, v6): (Vec<&IpNet>, Vec<&IpNet>) = nets.partition(|net| matches!(net, IpNet::V4(_)));
    let text = |nets: Vec<&IpNet>| nets.iter().map(ToString::to_string).collect();
    api::Networks { ipv4: text(v4), ipv6: text(v6) }
}

/// Sources shown per sticky rule and interface: more than anyone reads, and the answer stays small.
const STICKY_SHOWN_MAX: usize = 1000;

fn sticky_entries(
    desired: &Desired,
    rule: &Rule,
    family: Family,
    known: &mut impl FnMut(&Rule, u32, Family) -> Vec<Known>,
) -> Vec<api::StickyEntry> {
    let (Some(_), Target::Policy(policy)) = (rule.sticky, &rule.target) else { return Vec::new() };
    let members = desired.policies.iter().filter(|p| p.name == *policy).flat_map(|p| p.members.iter());
    let mut entries = Vec::new();
    for (id, interface) in members {
        let of = |known: Known| api::StickyEntry {
            source: known.source.to_string(),
            destination: known.destination.map(|ip| ip.to_string()),
            interface: interface.clone(),
            left_s: known.left_ms.div_ceil(1000),
        };
        entries.extend(known(rule, *id, family).into_iter().take(STICKY_SHOWN_MAX).map(of));
    }
    entries
}

/// The policies to which rules in force lead, by family.
fn led(rules: &[DesiredRule]) -> BTreeSet<(&str, Family)> {
    let named = rules.iter().filter_map(|rule| match &rule.rule.target {
        Target::Policy(name) => Some((name.as_str(), &rule.rule.families)),
        _ => None,
    });
    named.flat_map(|(name, families)| families.iter().map(move |family| (name, family))).collect()
}

/// Rules that wait for their interface, once per family they are for, and each as a problem.
pub(super) fn waiting(core: &Core) -> (Vec<api::Rule>, Vec<String>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for (rule, interface) in core.waiting_rules() {
        for family in rule.families.iter() {
            let waiting_for = Some(interface.to_owned());
            rules.push(api::Rule { waiting_for, ..rule_status(rule, family, &Counters::new()) });
        }
        let (name, interface) = (rule.name.escape_debug(), interface.escape_debug());
        problems.push(format!("rule {name} waits for interface {interface}, which has no device"));
    }
    (rules, problems)
}

fn rule_status(rule: &Rule, family: Family, counters: &Counters) -> api::Rule {
    let (packets, bytes) = counters.get(&rule_chain(&rule.name, family)).copied().unwrap_or_default();
    let protocols: Vec<String> = rule.protocols.iter().map(|p| protocol_name(*p)).collect();
    let mut more = String::new();
    for (word, ports) in [("sports", &rule.source_ports), ("dports", &rule.destination_ports)] {
        if !ports.is_empty() {
            let list: Vec<String> = ports.iter().map(port_text).collect();
            more.push_str(&format!("multiport {word} {} ", list.join(",")));
        }
    }
    if let Some(interface) = &rule.source_interface {
        more.push_str(&format!("in {interface} "));
    }
    for (set, end) in [(&rule.destination_set, "dst"), (&rule.source_set, "src")] {
        if let Some(set) = set {
            more.push_str(&format!("match-set {set} {end} "));
        }
    }
    api::Rule {
        name: rule.name.clone(),
        family: family.name().to_owned(),
        target: match &rule.target {
            Target::Policy(name) => name.clone(),
            Target::Direct(LastResort::Default) => "default".to_owned(),
            Target::Direct(resort) => resort.name().to_owned(),
        },
        sticky: rule.sticky.is_some(),
        packets,
        bytes,
        protocol: if protocols.is_empty() { "all".to_owned() } else { protocols.join(",") },
        source: address_text(rule.source.as_ref(), family),
        destination: address_text(rule.destination.as_ref(), family),
        more,
        sticky_entries: Vec::new(),
        logged: None,
        waiting_for: None,
    }
}

/// What a rule has logged; nothing if the kernel has no such counter, as one that cannot log has not.
fn logged(found: &DesiredRule, family: Family, counters: &Counters) -> Option<api::Logged> {
    let level = mwan_config::loglevel_name(found.log?).to_owned();
    let (packets, bytes) = counters.get(&log_counter(&found.rule.name, family)).copied()?;
    Some(api::Logged { packets, bytes, level })
}

pub(super) fn port_text(range: &PortRange) -> String {
    if range.first == range.last {
        range.first.to_string()
    } else {
        format!("{}:{}", range.first, range.last)
    }
}

pub(super) fn address_text(wanted: Option<&AddressMatch>, family: Family) -> String {
    let Some(wanted) = wanted else { return String::new() };
    let own = wanted.ranges.iter().filter(|r| Family::of(r.first) == family);
    let list: Vec<String> = own.map(|r| mwan_compile::text::Range(*r).to_string()).collect();
    format!("{}{}", if wanted.negated { "!" } else { "" }, list.join(","))
}

pub(super) fn protocol_name(protocol: u8) -> String {
    let known = [(1, "icmp"), (6, "tcp"), (17, "udp"), (47, "gre"), (50, "esp"), (51, "ah"), (58, "icmpv6")];
    let name = known.iter().find(|(number, _)| *number == protocol).map(|(_, name)| (*name).to_owned());
    name.unwrap_or_else(|| protocol.to_string())
}

/// Says if the interface of `local_source` has no address at all: then nothing stands for the router's own source.
pub(super) fn local_source(core: &Core) -> Option<String> {
    let globals = &core.config().globals;
    let name = globals.local_source.as_ref().filter(|_| globals.enabled)?;
    let none = core.desired().is_some_and(|desired| desired.local_source.is_empty());
    none.then(|| {
        let name = name.escape_debug();
        format!("local_source '{name}': no such interface, or it has no address; the router's own traffic is judged by its own source")
    })
}

/// What is not as it should be, in words.
pub(super) fn problems(status: &api::Status, switched_off: bool) -> Vec<String> {
    let mut problems = Vec::new();
    if switched_off {
        problems.push("switched off by `option enabled '0'` in the globals section".to_owned());
    }
    let errors = status.diagnostics.iter().filter(|d| d.severity == "error");
    problems.extend(errors.map(|d| d.text.clone()));
    problems
        .extend(status.daemon.config_rejected.iter().map(|why| format!("configuration not in force: {why}")));
    problems.extend(status.daemon.apply_error.iter().map(|why| format!("kernel not as wanted: {why}")));
    for interface in status.interfaces.iter().filter(|i| i.enabled) {
        if crate::platform::strict_reverse_path(&interface.device) {
            problems.push(format!(
                "{0} drops replies: strict reverse path filtering; set net.ipv4.conf.{0}.rp_filter and \
                 net.ipv4.conf.all.rp_filter to 2 or 0",
                interface.device
            ));
        }
        for path in &interface.paths {
            let name = format!("{} {}", interface.name, path.family);
            if !path.usable {
                problems
                    .push(format!("{name} is {} for {} s: {}", path.status, path.since_s, path.reason.text));
            } else if let Some(hold) = &path.hold {
                problems.push(format!(
                    "{name} is up but held back for {} s more: lost {} times lately",
                    hold.remaining_s, hold.losses
                ));
            }
        }
    }
    problems
}

/// Who carries, in the words of the log and of `status`.
pub(super) fn carrier_text(carrier: &mwan_core::Carrier) -> String {
    match carrier {
        mwan_core::Carrier::LastResort(resort) => resort.name().to_owned(),
        mwan_core::Carrier::Members(shares) => {
            let names: Vec<&str> = shares.iter().map(|s| s.interface.as_str()).collect();
            names.join("+")
        }
    }
}
