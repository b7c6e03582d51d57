//! `/metrics`: the status and the samples of the last minutes as metrics; docs/metrics.md is made from the table of families.

pub(crate) mod text;
pub(crate) mod window;

use mwan_api::{Carrier, Daemon, Interface, Path, Policy, Rule, Status, Target};

use text::{Exposition, Family, Format, Kind, Label};
use window::{QUANTILES, Window};

macro_rules! families {
    ($($constant:ident = $name:literal, $kind:ident, $unit:literal, $help:literal;)*) => {
        $(const $constant: Family = Family { name: $name, kind: Kind::$kind, unit: $unit, help: $help };)*
        /// Every family, in the order in which it is written.
        #[cfg(test)]
        pub(crate) const FAMILIES: &[Family] = &[$($constant),*];
    };
}

families! {
    UP = "mwan_up", Gauge, "", "Whether the daemon answers; if it does not, there is nothing but this.";
    BUILD = "mwan_build", Info, "", "The version that runs.";
    UPTIME = "mwan_uptime_seconds", Gauge, "seconds", "Time since the daemon started.";
    PROBLEMS = "mwan_problems", Gauge, "", "Things that are not as they should be, as `mwan status` lists them.";
    REJECTED = "mwan_config_rejected", Gauge, "", "Whether the configuration file as it is now is not in force.";
    GENERATION = "mwan_generation", Gauge, "", "Number of the desired state in the kernel.";
    APPLY = "mwan_apply_duration_seconds", Histogram, "seconds", "How long changes of the kernel took.";
    APPLY_FAILING = "mwan_apply_failing", Gauge, "", "Whether the kernel is not as wanted since the last change failed.";
    REPAIRS = "mwan_repairs", Counter, "", "Times something of ours had been removed by others and was restored.";
    LATE = "mwan_late_rounds", Counter, "", "Probe rounds started more than 0.1 s after they were due.";
    ENABLED = "mwan_interface_enabled", Gauge, "", "Whether the configuration enables the interface.";
    STATE = "mwan_path_state", StateSet, "", "State of one family of an interface.";
    REASON = "mwan_path_reason", Info, "", "Why it is in its state: the stable word of `mwan status --json`.";
    USABLE = "mwan_path_usable", Gauge, "", "Whether it may carry traffic.";
    CARRIES = "mwan_path_carries", Gauge, "", "Whether rules lead new flows to it now.";
    DRAINED = "mwan_path_drained", Gauge, "", "Whether its owner wants no new flows on it.";
    HELD = "mwan_path_held", Gauge, "", "Whether it is held back as flapping.";
    SINCE = "mwan_path_since_seconds", Gauge, "seconds", "Time since it became usable, or stopped being so.";
    ROUNDS = "mwan_path_rounds", Counter, "", "Probe rounds started.";
    RTT = "mwan_path_rtt_seconds", Summary, "seconds", "Round-trip time, mean of the targets that answer, each second; quantiles of the last five minutes.";
    JITTER = "mwan_path_jitter_seconds", Gauge, "seconds", "How much round-trip times vary (RFC 3550, 6.4.1).";
    LOSS = "mwan_path_loss_ratio", Gauge, "ratio", "Share of the last probes that were not answered, all targets together.";
    RECEIVED = "mwan_path_receive_bytes", Counter, "bytes", "Bytes its device has received, both families together.";
    SENT = "mwan_path_transmit_bytes", Counter, "bytes", "Bytes its device has sent, both families together.";
    TARGET_UP = "mwan_target_up", Gauge, "", "Whether a target answers; not there before the first outcome.";
    TARGET_RTT = "mwan_target_rtt_seconds", Gauge, "seconds", "Last round-trip time of a target.";
    TARGET_LOSS = "mwan_target_loss_ratio", Gauge, "ratio", "Share of its last probes that were not answered.";
    TARGET_SENT = "mwan_target_probes", Counter, "", "Probes sent to a target.";
    TARGET_RECEIVED = "mwan_target_replies", Counter, "", "Replies of a target.";
    SHARE = "mwan_policy_share_ratio", Gauge, "ratio", "Share of the new flows of a policy that an interface gets; not there where it does not carry.";
    CARRIED = "mwan_policy_carried", Gauge, "", "Whether any interface carries the policy; if not, its last resort does.";
    SWITCHES = "mwan_policy_switches", Counter, "", "Times others came to carry a policy.";
    MEMBER_FLOWS = "mwan_member_flows", Counter, "", "Flows that a policy has given to an interface.";
    MEMBER_BYTES = "mwan_member_first_packet_bytes", Counter, "bytes", "Bytes of the first packets of these flows: what follows is not counted per policy.";
    RULE_FLOWS = "mwan_rule_flows", Counter, "", "Flows that matched a rule.";
    RULE_BYTES = "mwan_rule_first_packet_bytes", Counter, "bytes", "Bytes of the first packets of these flows.";
    STICKY = "mwan_rule_sticky_entries", Gauge, "", "Sources that keep an interface by a sticky rule.";
    CLIENTS = "mwan_web_event_clients", Gauge, "", "Clients of the event stream.";
    DROPPED = "mwan_web_event_clients_dropped", Counter, "", "Clients of the event stream that were let go since they did not keep up.";
}

/// The web server's own figures.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clients {
    pub(crate) listening: usize,
    pub(crate) dropped: u64,
}

/// All metrics. Without a status there are only those of the web server.
pub(crate) fn write(format: Format, status: Option<&Status>, window: &Window, clients: Clients) -> String {
    let mut out = Exposition::new(format);
    out.sample(&UP, &[], flag(status.is_some()));
    if let Some(status) = status {
        daemon(&mut out, &status.daemon, status.problems.len());
        for interface in &status.interfaces {
            let labels = [("interface", interface.name.as_str()), ("device", interface.device.as_str())];
            out.sample(&ENABLED, &labels, flag(interface.enabled));
        }
        paths(&mut out, &status.interfaces, window);
        targets(&mut out, &status.interfaces);
        policies(&mut out, &status.policies);
        rules(&mut out, &status.rules);
    }
    out.sample(&CLIENTS, &[], clients.listening as f64);
    out.sample(&DROPPED, &[], clients.dropped as f64);
    out.finish()
}

fn flag(is: bool) -> f64 {
    f64::from(u8::from(is))
}

/// Exact up to 2^53, which no counter of ours reaches.
fn number(value: u64) -> f64 {
    value as f64
}

fn micros(us: u64) -> f64 {
    us as f64 / 1e6
}

fn daemon(out: &mut Exposition, daemon: &Daemon, problems: usize) {
    out.sample(&BUILD, &[("version", &daemon.version)], 1.0);
    out.sample(&UPTIME, &[], number(daemon.uptime_s));
    out.sample(&PROBLEMS, &[], problems as f64);
    out.sample(&REJECTED, &[], flag(daemon.config_rejected.is_some()));
    out.sample(&GENERATION, &[], number(daemon.generation));
    let times = &daemon.apply_times;
    for bucket in &times.buckets {
        let at_most = micros(bucket.at_most_us).to_string();
        out.part(&APPLY, "_bucket", &[("le", &at_most)], number(bucket.count));
    }
    out.part(&APPLY, "_bucket", &[("le", "+Inf")], number(times.count));
    out.part(&APPLY, "_sum", &[], micros(times.sum_us));
    out.part(&APPLY, "_count", &[], number(times.count));
    out.sample(&APPLY_FAILING, &[], flag(daemon.apply_error.is_some()));
    out.sample(&REPAIRS, &[], number(daemon.repairs));
    out.sample(&LATE, &[], number(daemon.late_rounds));
}

/// States a path can be in.
const STATES: [&str; 5] = ["online", "offline", "connecting", "disconnecting", "disabled"];

fn paths(out: &mut Exposition, interfaces: &[Interface], window: &Window) {
    let all: Vec<(&Interface, &Path)> =
        interfaces.iter().flat_map(|i| i.paths.iter().map(move |p| (i, p))).collect();
    let labels =
        |i: &'_ Interface, p: &'_ Path| [("interface", i.name.clone()), ("family", p.family.clone())];
    for (i, p) in &all {
        for state in STATES {
            let labels = [("interface", i.name.as_str()), ("family", p.family.as_str()), (STATE.name, state)];
            out.sample(&STATE, &labels, flag(p.status == state));
        }
    }
    for (i, p) in &all {
        let labels = [
            ("interface", i.name.as_str()),
            ("family", p.family.as_str()),
            ("reason", p.reason.code.as_str()),
        ];
        out.sample(&REASON, &labels, 1.0);
    }
    let mut each = |family: &Family, value: &dyn Fn(&Path) -> f64| {
        for (i, p) in &all {
            let [a, b] = labels(i, p);
            out.sample(family, &[(a.0, &a.1), (b.0, &b.1)], value(p));
        }
    };
    each(&USABLE, &|p| flag(p.usable));
    each(&CARRIES, &|p| flag(p.carries));
    each(&DRAINED, &|p| flag(p.drained));
    each(&HELD, &|p| flag(p.hold.is_some()));
    each(&SINCE, &|p| number(p.since_s));
    each(&ROUNDS, &|p| number(p.rounds));
    samples(out, window);
}

/// What the samples tell.
fn samples(out: &mut Exposition, window: &Window) {
    for ((interface, family), seen) in &window.paths {
        let labels: [Label<'_>; 2] = [("interface", interface), ("family", family)];
        for ((name, _), value) in QUANTILES.iter().zip(seen.quantiles()) {
            out.sample(&RTT, &[labels[0], labels[1], ("quantile", name)], value);
        }
        out.part(&RTT, "_sum", &labels, micros(seen.sum_us));
        out.part(&RTT, "_count", &labels, number(seen.count));
    }
    let mut each = |family: &Family, value: &dyn Fn(&mwan_api::PathSample) -> Option<f64>| {
        for ((interface, name), seen) in &window.paths {
            if let Some(value) = value(&seen.last) {
                out.sample(family, &[("interface", interface), ("family", name)], value);
            }
        }
    };
    each(&JITTER, &|p| p.jitter_us.map(micros));
    each(&LOSS, &|p| p.loss_percent.map(|percent| f64::from(percent) / 100.0));
    each(&RECEIVED, &|p| p.rx_bytes.map(number));
    each(&SENT, &|p| p.tx_bytes.map(number));
}

fn targets(out: &mut Exposition, interfaces: &[Interface]) {
    let mut each = |family: &Family, value: &dyn Fn(&Target) -> Option<f64>| {
        for (interface, path) in interfaces.iter().flat_map(|i| i.paths.iter().map(move |p| (i, p))) {
            for target in &path.targets {
                let labels = [
                    ("interface", interface.name.as_str()),
                    ("family", path.family.as_str()),
                    ("target", target.target.as_str()),
                ];
                if let Some(value) = value(target) {
                    out.sample(family, &labels, value);
                }
            }
        }
    };
    each(&TARGET_UP, &|t| (t.status != "unknown").then(|| flag(t.status == "up")));
    each(&TARGET_RTT, &|t| t.rtt_us.map(micros));
    each(&TARGET_LOSS, &|t| (t.sent > 0).then(|| f64::from(t.loss_percent) / 100.0));
    each(&TARGET_SENT, &|t| Some(number(t.sent)));
    each(&TARGET_RECEIVED, &|t| Some(number(t.received)));
}

fn policies(out: &mut Exposition, policies: &[Policy]) {
    let carriers = |p: &'_ Policy| [("ipv4", p.ipv4.clone()), ("ipv6", p.ipv6.clone())];
    let all: Vec<(&str, &str, Carrier)> = policies
        .iter()
        .flat_map(|p| carriers(p).map(|(family, carrier)| (p.name.as_str(), family, carrier)))
        .collect();
    for (policy, family, carrier) in &all {
        for member in &carrier.members {
            let labels = [("policy", *policy), ("family", *family), ("interface", member.interface.as_str())];
            let sum: u32 = carrier.members.iter().map(|member| member.weight).sum();
            out.sample(&SHARE, &labels, f64::from(member.weight) / f64::from(sum.max(1)));
        }
    }
    for (policy, family, carrier) in &all {
        let labels = [("policy", *policy), ("family", *family)];
        out.sample(&CARRIED, &labels, flag(!carrier.members.is_empty()));
    }
    for (policy, family, carrier) in &all {
        out.sample(&SWITCHES, &[("policy", *policy), ("family", *family)], number(carrier.switches));
    }
    let mut each = |metric: &Family, value: &dyn Fn(&mwan_api::MemberCounter) -> u64| {
        for (policy, family, carrier) in &all {
            // An interface that is a member twice has one counter.
            let mut told: Vec<&str> = Vec::new();
            for counter in &carrier.counters {
                if told.contains(&counter.interface.as_str()) {
                    continue;
                }
                told.push(&counter.interface);
                let labels =
                    [("policy", *policy), ("family", *family), ("interface", counter.interface.as_str())];
                out.sample(metric, &labels, number(value(counter)));
            }
        }
    };
    each(&MEMBER_FLOWS, &|counter| counter.packets);
    each(&MEMBER_BYTES, &|counter| counter.bytes);
}

fn rules(out: &mut Exposition, rules: &[Rule]) {
    let mut each = |metric: &Family, value: &dyn Fn(&Rule) -> Option<f64>| {
        for rule in rules.iter().filter(|rule| rule.waiting_for.is_none()) {
            if let Some(value) = value(rule) {
                out.sample(
                    metric,
                    &[("rule", &rule.name), ("family", &rule.family), ("target", &rule.target)],
                    value,
                );
            }
        }
    };
    each(&RULE_FLOWS, &|rule| Some(number(rule.packets)));
    each(&RULE_BYTES, &|rule| Some(number(rule.bytes)));
    each(&STICKY, &|rule| rule.sticky.then_some(rule.sticky_entries.len() as f64));
}

#[cfg(test)]
mod tests;
