//! Reads an interface and the globals: sections that are never left out for a bad value.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use crate::codes;
use crate::drill::read_drill;
use crate::fields::Fields;
use crate::model::{
    AddressRange, Failback, Families, Family, FlushEvents, Globals, HookPlaces, InitialState, Interface,
    Location, Masquerade, NamedTable, Quality, RuleBase, Tracking,
};
use crate::mwan3::interface_label;
use crate::options::Dialect;
use crate::report::{Place, Problem, Report, show};
use crate::rule::INTERFACE_NAME_BYTES_MAX;
use crate::target::{ProbeMethod, ProbeTarget, target};
use crate::{mode, tables, values};

/// Time of `failback drain` that names none: long enough for a call or a download to end.
const DRAIN_DEFAULT: Duration = Duration::from_secs(300);
/// No site has more targets; a reliability above is a mistake.
const RELIABILITY_MAX: u32 = 255;
/// Probes per target and round: above that it is a flood.
const COUNT_MAX: u32 = 100;
/// Rounds until a verdict.
const ROUNDS_MAX: u32 = 1000;
/// Largest payload: an IP packet holds 65535 bytes with its headers.
const SIZE_MAX: u32 = 65_000;
/// Every target is probed in every round.
const TARGETS_MAX: usize = 64;
/// A minute of latency is an outage.
const LATENCY_MS_MAX: u32 = 60_000;
/// A script that works for longer is a service.
const HOOK_TIMEOUT_S_MAX: u32 = 3600;
/// Fewest and most probes that are judged together.
const QUALITY_WINDOW_MIN: u32 = 5;
const QUALITY_WINDOW_MAX: u32 = 1000;
/// ip rule priority of the main table; ours must come before.
const PRIORITY_MAIN: u32 = 32_766;

/// Defaults of tracking that differ by dialect. mwan3's are kept for mwan3's files; ours see a silent
/// drop within 3 seconds (a round may start just before it, then two have to fail) and ask for ten
/// seconds of proof before going back.
struct Defaults {
    enabled: bool,
    timeout: Duration,
    interval: Duration,
    up: u32,
    down: u32,
    quality_window: u32,
}

fn defaults(dialect: Dialect) -> Defaults {
    let s = Duration::from_secs;
    match dialect {
        Dialect::Uci => {
            Defaults { enabled: false, timeout: s(4), interval: s(10), up: 5, down: 5, quality_window: 0 }
        }
        Dialect::Native => {
            Defaults { enabled: true, timeout: s(1), interval: s(1), up: 10, down: 2, quality_window: 20 }
        }
    }
}

/// Reads one interface section. A bad value is reported and replaced by its default: an interface that
/// works must not disappear because of a typing error.
pub(crate) fn read_interface(
    fields: &mut Fields<'_>,
    name: &str,
    position: u16,
    location: Location,
) -> Interface {
    let defaults = defaults(fields.dialect);
    let enabled = read_enabled(fields, &defaults);
    let method = read_method(fields);
    let targets = read_targets(fields, &method);
    let (gateway4, gateway6) = read_gateways(fields);
    let families = read_families(fields, &targets, gateway4.is_some(), gateway6.is_some());
    let tracking = read_tracking(fields, &defaults, method, targets, families);
    let initial_state = fields
        .get("initial_state", |t| {
            values::word(t, &[("online", InitialState::Online), ("offline", InitialState::Offline)])
        })
        .unwrap_or(InitialState::Online);
    let drill = read_drill(fields, &tracking);
    let drain = fields.time("failback_drain", DRAIN_DEFAULT);
    fields.items("comment");
    Interface {
        name: name.to_owned(),
        enabled,
        position,
        device: fields.get("device", values::device),
        families,
        gateway4: gateway4.filter(|_| families.v4),
        gateway6: gateway6.filter(|_| families.v6),
        routed_networks: read_routed_networks(fields, families),
        tracking,
        initial_state,
        failback: fields.get("failback", |t| values::failback(t, drain)).unwrap_or(Failback::Keep),
        flush_conntrack: read_flush(fields),
        drill,
        location,
    }
}

/// What is routed to us by the interface, of the families it carries.
fn read_routed_networks(fields: &mut Fields<'_>, families: Families) -> Vec<AddressRange> {
    let mut networks = Vec::new();
    for item in fields.pieces("routed_network") {
        match values::address_range(&item.text) {
            Ok(range) if families.contains(Family::of(range.first)) => networks.push(range),
            Ok(_) => {
                let message = format!("{} is of a family the interface does not carry", show(&item.text));
                fields.add("routed_network", item.line, Problem::new(codes::OTHER_FAMILY, message));
            }
            Err(mut problem) => {
                problem.message.push_str("; it is left out");
                fields.add("routed_network", item.line, problem);
            }
        }
    }
    networks
}

fn read_enabled(fields: &mut Fields<'_>, defaults: &Defaults) -> bool {
    if fields.items("enabled").is_empty() && !defaults.enabled {
        let problem = Problem::new(codes::NOT_ENABLED, "no option 'enabled': the interface takes no part");
        fields.say(problem.hint("write option enabled '1'"));
    }
    fields.bool("enabled", defaults.enabled)
}

/// How plain addresses are probed.
fn read_method(fields: &mut Fields<'_>) -> ProbeMethod {
    let tls = fields.bool("httping_ssl", false);
    let word = fields.get("track_method", |t| values::word(t, TRACK_METHODS)).unwrap_or("ping");
    ProbeMethod::of_mwan3(word, tls).unwrap_or(ProbeMethod::Ping)
}

/// The good targets, each once.
fn read_targets(fields: &mut Fields<'_>, method: &ProbeMethod) -> Vec<(ProbeTarget, u32)> {
    let mut targets: Vec<(ProbeTarget, u32)> = Vec::new();
    for item in fields.pieces("track_ip") {
        if targets.len() == TARGETS_MAX {
            let message = format!("more than {TARGETS_MAX} targets; the others are left out");
            fields.add("track_ip", item.line, Problem::new(codes::TOO_MANY_TARGETS, message));
            break;
        }
        match target(&item.text, method) {
            Ok(target) if targets.iter().any(|(t, _)| *t == target) => {
                let what = if item.text.contains("://") { target.to_string() } else { target.ip.to_string() };
                let message = format!("{what} is given twice; it counts once");
                fields.add("track_ip", item.line, Problem::new(codes::DUPLICATE_TARGET, message));
            }
            Ok(target) => targets.push((target, item.line)),
            Err(mut problem) => {
                problem.message.push_str("; the target is left out");
                fields.add("track_ip", item.line, problem);
            }
        }
    }
    targets
}

fn read_gateways(fields: &mut Fields<'_>) -> (Option<std::net::Ipv4Addr>, Option<std::net::Ipv6Addr>) {
    let (mut gateway4, mut gateway6) = (None, None);
    for item in fields.pieces("gateway") {
        let again = match values::host(&item.text) {
            Ok(IpAddr::V4(ip)) => gateway4.replace(ip).is_some(),
            Ok(IpAddr::V6(ip)) => gateway6.replace(ip).is_some(),
            Err(mut problem) => {
                problem.message.push_str("; the gateway is left out");
                fields.add("gateway", item.line, problem);
                continue;
            }
        };
        if again {
            let message = format!("one gateway per family is expected; {} counts", show(&item.text));
            fields.add("gateway", item.line, Problem::new(codes::SEVERAL, message));
        }
    }
    (gateway4, gateway6)
}

fn read_families(
    fields: &mut Fields<'_>,
    targets: &[(ProbeTarget, u32)],
    gateway4: bool,
    gateway6: bool,
) -> Families {
    const V4: Families = Families { v4: true, v6: false };
    let given = fields.families("family", false);
    let families = given.unwrap_or_else(|| match fields.dialect {
        Dialect::Uci => V4,
        Dialect::Native => {
            let has = |family| targets.iter().any(|(t, _)| Family::of(t.ip) == family);
            let found = Families { v4: gateway4 || has(Family::V4), v6: gateway6 || has(Family::V6) };
            if found.v4 || found.v6 { found } else { V4 }
        }
    });
    for (family, present) in [(Family::V4, gateway4), (Family::V6, gateway6)] {
        if present && !families.contains(family) {
            let line = fields.items("gateway").first().map_or(0, |i| i.line);
            fields.add("gateway", line, other_family(family));
        }
    }
    families
}

fn other_family(family: Family) -> Problem {
    Problem::new(codes::OTHER_FAMILY, format!("the interface does not carry {family}; this is not used"))
        .hint(format!("add '{family}' to its families"))
}

fn read_tracking(
    fields: &mut Fields<'_>,
    defaults: &Defaults,
    method: ProbeMethod,
    targets: Vec<(ProbeTarget, u32)>,
    families: Families,
) -> Tracking {
    let interval = fields.time("interval", defaults.interval);
    let mut kept = Vec::new();
    for (target, line) in targets {
        if families.contains(Family::of(target.ip)) {
            kept.push(target);
        } else {
            fields.add("track_ip", line, other_family(Family::of(target.ip)));
        }
    }
    let tracking = Tracking {
        method,
        targets: kept,
        track_gateway: fields.bool("track_gateway", false),
        reliability: fields.number("reliability", 1, RELIABILITY_MAX, 1),
        count: fields.number("count", 1, COUNT_MAX, 1),
        timeout: fields.time("timeout", defaults.timeout),
        interval,
        failure_interval: fields.time("failure_interval", interval),
        recovery_interval: fields.time("recovery_interval", interval),
        keep_failure_interval: fields.bool("keep_failure_interval", false),
        up: fields.number("up", 1, ROUNDS_MAX, defaults.up),
        down: fields.number("down", 1, ROUNDS_MAX, defaults.down),
        size: fields.number("size", 0, SIZE_MAX, 56) as u16,
        max_ttl: fields.number("max_ttl", 1, 255, 60) as u8,
        quality: read_quality(fields, defaults.quality_window),
    };
    check_target_numbers(fields, &tracking, families);
    tracking
}

const TRACK_METHODS: &[(&str, &str)] = &[
    ("ping", "ping"),
    ("arping", "arping"),
    ("httping", "httping"),
    ("nping-tcp", "nping-tcp"),
    ("nping-udp", "nping-udp"),
    ("nping-icmp", "nping-icmp"),
    ("nping-arp", "nping-arp"),
    ("nslookup", "nslookup"),
];

/// A share of fewer probes is no percentage.
fn quality_window(text: &str) -> Result<u32, Problem> {
    let window = values::number(text, 0, QUALITY_WINDOW_MAX)?;
    if window != 0 && window < QUALITY_WINDOW_MIN {
        let message = format!(
            "{} is neither 0 nor a number from {QUALITY_WINDOW_MIN} to {QUALITY_WINDOW_MAX}",
            show(text)
        );
        return Err(Problem::new(codes::NUMBER, message));
    }
    Ok(window)
}

/// Options that `check_quality` gives a meaning.
const QUALITY: [&str; 5] =
    ["failure_latency", "recovery_latency", "failure_loss", "recovery_loss", "quality_window"];

fn read_quality(fields: &mut Fields<'_>, window: u32) -> Option<Quality> {
    let wanted = fields.bool("check_quality", false);
    let mut quality = Quality {
        failure_latency_ms: fields.number("failure_latency", 1, LATENCY_MS_MAX, 1000),
        recovery_latency_ms: fields.number("recovery_latency", 1, LATENCY_MS_MAX, 500),
        failure_loss_percent: fields.number("failure_loss", 1, 100, 40) as u8,
        recovery_loss_percent: fields.number("recovery_loss", 0, 100, 10) as u8,
        window: fields.get("quality_window", quality_window).unwrap_or(window),
    };
    if !wanted {
        let given = |fields: &mut Fields<'_>, key| !fields.items(key).is_empty();
        // Who writes `check_quality 0` knows.
        if !given(fields, "check_quality")
            && let Some(key) = QUALITY.into_iter().find(|key| given(fields, key))
        {
            let problem = Problem::new(codes::THRESHOLD_MOOT, "without 'check_quality' it has no effect");
            fields.say_at(&[key], problem.hint("set check_quality to 1"));
        }
        return None;
    }
    if quality.recovery_latency_ms > quality.failure_latency_ms {
        quality.recovery_latency_ms = quality.failure_latency_ms;
        fields.say_at(
            &["recovery_latency", "failure_latency"],
            thresholds("recovery_latency", "failure_latency"),
        );
    }
    if quality.recovery_loss_percent > quality.failure_loss_percent {
        quality.recovery_loss_percent = quality.failure_loss_percent;
        fields.say_at(&["recovery_loss", "failure_loss"], thresholds("recovery_loss", "failure_loss"));
    }
    Some(quality)
}

fn thresholds(recovery: &str, failure: &str) -> Problem {
    Problem::new(codes::THRESHOLDS, format!("{recovery} is above {failure}; {failure} is used for both"))
}

/// Families are judged alone, so `reliability` must be reachable in each.
fn check_target_numbers(fields: &mut Fields<'_>, tracking: &Tracking, families: Families) {
    for family in families.iter() {
        let listed = tracking.targets.iter().filter(|t| Family::of(t.ip) == family).count();
        let targets = listed + usize::from(tracking.track_gateway);
        if targets == 0 {
            let message =
                format!("no target for {family}: not tracked, it counts as up while its device is up");
            fields.say(Problem::new(codes::UNTRACKED, message));
        } else if tracking.reliability as usize > targets {
            let (wanted, plural) = (tracking.reliability, if targets == 1 { "" } else { "s" });
            let message =
                format!("reliability {wanted} with {targets} target{plural} of {family}: always down");
            fields.say(
                Problem::new(codes::RELIABILITY, message)
                    .hint(format!("use at most {targets}, or add targets of {family}")),
            );
        }
    }
}

/// Every historic form: the words of mwan3 2.x and mwan4 as option or list, `always`, `never`, booleans.
fn read_flush(fields: &mut Fields<'_>) -> FlushEvents {
    const NEVER: FlushEvents =
        FlushEvents { ifup: false, ifdown: false, connected: false, disconnected: false };
    const ALWAYS: FlushEvents = FlushEvents { ifup: true, ifdown: true, ..NEVER };
    const WORDS: &[(&str, FlushEvents)] = &[
        ("ifup", FlushEvents { ifup: true, ..NEVER }),
        ("ifdown", FlushEvents { ifdown: true, ..NEVER }),
        ("connected", FlushEvents { connected: true, ..NEVER }),
        ("disconnected", FlushEvents { disconnected: true, ..NEVER }),
        ("always", ALWAYS),
        ("never", NEVER),
    ];
    let mut events = NEVER;
    for item in fields.pieces("flush_conntrack") {
        let found = match values::boolean(&item.text) {
            Ok(on) => Ok(if on { ALWAYS } else { NEVER }),
            Err(_) => values::word(&item.text, WORDS),
        };
        match found {
            Ok(e) => {
                events.ifup |= e.ifup;
                events.ifdown |= e.ifdown;
                events.connected |= e.connected;
                events.disconnected |= e.disconnected;
            }
            Err(mut problem) => {
                problem.message.push_str("; it is ignored");
                fields.add("flush_conntrack", item.line, problem);
            }
        }
    }
    events
}

/// Says which enabled interfaces a packet's device cannot tell apart.
pub(crate) fn check_devices(interfaces: &[Interface], dialect: Dialect, report: &mut Report) {
    let mut owners: BTreeMap<(&str, Family), &Interface> = BTreeMap::new();
    for interface in interfaces.iter().filter(|i| i.enabled) {
        let device = interface.device.as_deref().unwrap_or(&interface.name);
        let mut others = BTreeMap::new();
        for family in interface.families.iter() {
            let owner = owners.entry((device, family)).or_insert(interface);
            if owner.name != interface.name {
                others.entry(&owner.name).or_insert((*owner, Vec::new())).1.push(family.name());
            }
        }
        for (other, families) in others.into_values() {
            let (families, owner) = (families.join(" and "), show(&other.name));
            let message = format!(
                "device {} is that of interface {owner} (line {}) too, for {families}: what comes in by it cannot be \
                 told apart",
                show(device),
                other.location.line
            );
            let hint = "give each interface a device of its own, or leave it one family";
            let line = interface.location.line;
            let place =
                Place { line, section: &interface_label(dialect, &interface.name), option: Some("device") };
            report.add(place, Problem::new(codes::SHARED_DEVICE, message).hint(hint));
        }
    }
}

/// KiB of a recording as bytes. Less has hardly room for where it begins.
fn record_bytes(text: &str) -> Result<u32, Problem> {
    const KIB: (u32, u32) = (64, 16 << 10);
    match values::number(text, 0, KIB.1)? {
        0 => Ok(0),
        _ => Ok(values::number(text, KIB.0, KIB.1)? << 10),
    }
}

/// Reads the globals section.
pub(crate) fn read_globals(fields: &mut Fields<'_>) -> Globals {
    let default = Globals::default();
    if let Some(item) = fields.one("rtmon_interval") {
        let problem = Problem::new(codes::OBSOLETE, "has no effect: routes are followed as they change");
        fields.add("rtmon_interval", item.line, problem);
    }
    let mut globals = Globals {
        enabled: fields.bool("enabled", default.enabled),
        mask: fields.get("mmx_mask", values::mask).unwrap_or(default.mask),
        logging: fields.bool("logging", default.logging),
        loglevel: fields.get("loglevel", loglevel).unwrap_or(default.loglevel),
        rt_table_lookup: Vec::new(),
        rt_table_names: Vec::new(),
        local_source: fields
            .get("local_source", |t| values::foreign_name(t, INTERFACE_NAME_BYTES_MAX))
            .filter(|name| name != "none"),
        mode: fields.items("mode").pop().and_then(|item| {
            let mode = fields.get("mode", |t| values::word(t, mode::WORDS))?;
            Some((mode, item.line))
        }),
        source_routing: fields.bool("source_routing", default.source_routing),
        masquerade: fields.get("masquerade", masquerade).unwrap_or(default.masquerade),
        rule_base: read_rule_base(fields),
        table_base: default.table_base,
        hooks: HookPlaces {
            user_script: fields.get("user_script", values::absolute_path),
            directory: fields.get("hooks_dir", values::absolute_path),
            timeout: fields.get("hook_timeout", hook_timeout),
        },
        dnsmasq_file: fields.one("dnsmasq_file").map(|item| item.text),
        history: fields.bool("history", default.history),
        record_bytes: fields.get("record_size", record_bytes).unwrap_or(default.record_bytes),
        record_incidents: fields.bool("record_incidents", default.record_incidents),
        dnsmasq_command: fields.items("dnsmasq_command").into_iter().map(|item| item.text).collect(),
        notification_emails: read_emails(fields),
        cloud_document: fields.get("cloud_document", values::absolute_path),
    };
    let mut seen = BTreeSet::new();
    for item in fields.pieces("rt_table_lookup") {
        match values::table(&item.text) {
            Ok(table) if !seen.insert(table) => {}
            Ok(table) => globals.rt_table_lookup.push(table),
            Err(_) if tables::is_name(&item.text) => {
                globals.rt_table_names.push(NamedTable { name: item.text, line: item.line });
            }
            Err(mut problem) => {
                problem.message.push_str("; it is ignored");
                fields.add("rt_table_lookup", item.line, problem);
            }
        }
    }
    check_rule_base(fields, &mut globals);
    globals
}

fn read_emails(fields: &mut Fields<'_>) -> Vec<String> {
    let mut emails = Vec::new();
    for item in fields.pieces("notification_email") {
        match values::mail_address(&item.text) {
            Ok(address) if emails.contains(&address) => {}
            Ok(address) => emails.push(address),
            Err(mut problem) => {
                problem.message.push_str("; it is left out");
                fields.add("notification_email", item.line, problem);
            }
        }
    }
    emails
}

/// Whole seconds are enough: a script is given time to do its work, not a deadline.
fn hook_timeout(text: &str) -> Result<Duration, Problem> {
    values::number(text, 1, HOOK_TIMEOUT_S_MAX).map(|s| Duration::from_secs(u64::from(s)))
}

fn masquerade(text: &str) -> Result<Masquerade, Problem> {
    if text.eq_ignore_ascii_case("auto") {
        return Ok(Masquerade::Auto);
    }
    match values::boolean(text) {
        Ok(true) => Ok(Masquerade::On),
        Ok(false) => Ok(Masquerade::Off),
        Err(_) => Err(Problem::new(codes::WORD, format!("{} is not auto, 1 or 0", show(text)))),
    }
}

/// Levels of syslog.
const LEVELS: &[(&str, u8)] = &[
    ("emerg", 0),
    ("alert", 1),
    ("crit", 2),
    ("error", 3),
    ("warning", 4),
    ("notice", 5),
    ("info", 6),
    ("debug", 7),
];

/// The word for a level of rule logging, 0 to 7.
pub fn loglevel_name(level: u8) -> &'static str {
    LEVELS.iter().find(|(_, number)| *number == level).map_or("debug", |(word, _)| *word)
}

fn loglevel(text: &str) -> Result<u8, Problem> {
    let text = match text {
        "err" => "error",
        "warn" => "warning",
        other => other,
    };
    values::number(text, 0, 7).map(|n| n as u8).or_else(|_| values::word(text, LEVELS))
}

fn read_rule_base(fields: &mut Fields<'_>) -> RuleBase {
    let d = RuleBase::default();
    let max = PRIORITY_MAIN - 1;
    RuleBase {
        connected: fields.number("rule_base_connected", 1, max, d.connected),
        iif: fields.number("rule_base_iif", 1, max, d.iif),
        iif_rules: fields.bool("iif_rules", d.iif_rules),
        fwmark: fields.number("rule_base_fwmark", 1, max, d.fwmark),
        oif: fields.number("rule_base_oif", 1, max, d.oif),
        unreachable: fields.number("rule_base_unreachable", 1, max, d.unreachable),
    }
}

/// The bands of configured bases must not run into each other. The defaults are not judged: they are
/// mwan3's, and only masks of more than 8 bits could fill them.
fn check_rule_base(fields: &mut Fields<'_>, globals: &mut Globals) {
    /// Ids of up to 8 mask bits: as far apart as mwan3's documented bands (1001 to 1250).
    const BAND_WIDTH_MAX: u32 = 255;
    let (base, default) = (globals.rule_base, RuleBase::default());
    if (RuleBase { iif_rules: default.iif_rules, ..base }) == default {
        return;
    }
    let width = (1u64 << globals.mask.count_ones()).min(u64::from(BAND_WIDTH_MAX)) as u32;
    let mut bands = vec![
        (base.connected, base.connected, "rule_base_connected"),
        (base.fwmark, base.fwmark + width, "rule_base_fwmark"),
        (base.oif, base.oif + width, "rule_base_oif"),
        (base.unreachable, base.unreachable + width, "rule_base_unreachable"),
    ];
    if base.iif_rules {
        bands.push((base.iif, base.iif + width, "rule_base_iif"));
    }
    bands.sort_unstable();
    let collision = bands.windows(2).find_map(|pair| match pair {
        [(_, last, a), (first, _, b)] if first <= last => {
            Some((format!("the bands of {a} and {b} overlap"), [*b, *a]))
        }
        _ => None,
    });
    let too_high = bands.iter().find(|(_, last, _)| *last >= PRIORITY_MAIN);
    let too_high = too_high.map(|(_, last, name)| {
        (format!("the band of {name} ends at {last}, behind the main table"), [*name; 2])
    });
    if let Some((message, options)) = collision.or(too_high) {
        fields.say_at(
            &options,
            Problem::new(codes::RULE_BASE, format!("{message}; the default bases are used"))
                .hint(format!("leave {} between two bases", width + 1)),
        );
        globals.rule_base = RuleBase { iif_rules: base.iif_rules, ..default };
    }
}
