//! Targets and thresholds that cannot do what they are for.

use std::net::IpAddr;
use std::time::Duration;

use super::{Lints, enabled};
use crate::codes;
use crate::model::{AddressRange, Config, Family, Interface, TRACKING_TURNS_MAX, Tracking};
use crate::report::Problem;
use crate::target::ProbeMethod;

/// A WAN that is dead for so long has been noticed by everybody.
const DETECTION_MAX: Duration = Duration::from_secs(60);

pub(super) fn judge(config: &Config, lints: &mut Lints) {
    for interface in enabled(config) {
        judge_targets(config, interface, lints);
        let tracking = &interface.tracking;
        if !tracking.targets.is_empty() || tracking.track_gateway {
            judge_times(interface, lints);
        }
    }
}

fn judge_targets(config: &Config, interface: &Interface, lints: &mut Lints) {
    for ip in interface.tracking.targets.iter().map(|t| t.ip) {
        let Some((other, what)) =
            enabled(config).filter(|o| o.name != interface.name).find_map(|o| elsewhere(o, ip))
        else {
            continue;
        };
        // Two modems with the same address are two targets.
        if gateway(interface, Family::of(ip)) == Some(ip) || is_routed(interface, ip) {
            continue;
        }
        let message =
            format!("{ip} is {what} of interface '{}': by this one it cannot be reached", other.name);
        lints.interface(interface, Some("track_ip"), Problem::new(codes::TARGET_ELSEWHERE, message));
    }
    for family in interface.families.iter() {
        judge_near(interface, family, lints);
    }
}

/// Whether the address belongs to an interface, and as what.
fn elsewhere(other: &Interface, ip: IpAddr) -> Option<(&Interface, &'static str)> {
    if gateway(other, Family::of(ip)) == Some(ip) {
        return Some((other, "the gateway"));
    }
    is_routed(other, ip).then_some((other, "in a network"))
}

fn gateway(interface: &Interface, family: Family) -> Option<IpAddr> {
    match family {
        Family::V4 => interface.gateway4.map(IpAddr::V4),
        Family::V6 => interface.gateway6.map(IpAddr::V6),
    }
}

fn is_routed(interface: &Interface, ip: IpAddr) -> bool {
    interface.routed_networks.iter().any(|network| holds(network, ip))
}

pub(super) fn holds(range: &AddressRange, ip: IpAddr) -> bool {
    Family::of(range.first) == Family::of(ip) && range.first <= ip && ip <= range.last
}

/// Says if so many targets answer from this side of the provider that the Internet does not count.
fn judge_near(interface: &Interface, family: Family, lints: &mut Lints) {
    let tracking = &interface.tracking;
    let of_family: Vec<_> = tracking.targets.iter().filter(|t| Family::of(t.ip) == family).collect();
    let near = of_family.iter().filter(|t| {
        t.method == ProbeMethod::Neighbour || gateway(interface, family) == Some(t.ip) || is_private(t.ip)
    });
    let near = near.count() + usize::from(tracking.track_gateway);
    if near == 0 || near < tracking.reliability as usize {
        return;
    }
    let others = of_family.len() + usize::from(tracking.track_gateway) - near;
    let message = match others {
        0 => format!(
            "every target of {family} is the gateway or has a private address: an outage beyond is not seen"
        ),
        _ => format!(
            "with reliability {} the gateway and private addresses keep {family} up alone: an outage beyond is not seen",
            tracking.reliability
        ),
    };
    let hint = match others {
        0 => "add a target in the Internet, and let reliability ask for it".to_owned(),
        _ => format!("set reliability to {}", near + 1),
    };
    lints.interface(interface, Some("track_ip"), Problem::new(codes::TARGET_NEAR, message).hint(hint));
}

/// Networks that are in no Internet: RFC 1918, RFC 6598, RFC 3927; RFC 4193, RFC 4291 section 2.5.6.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || ip.is_link_local() || a == 100 && b & 0xC0 == 64
        }
        IpAddr::V6(ip) => ip.segments()[0] & 0xFE00 == 0xFC00 || ip.segments()[0] & 0xFFC0 == 0xFE80,
    }
}

fn judge_times(interface: &Interface, lints: &mut Lints) {
    let t = &interface.tracking;
    let s = |time: Duration| format!("{} s", time.as_secs_f64());
    if t.down > 1 && t.timeout > t.failure_interval {
        let message = format!(
            "timeout {} is longer than the {} between failing rounds: a lost round takes {0}, whatever the interval",
            s(t.timeout),
            s(t.failure_interval)
        );
        let hint = "an answer rarely takes longer than a second: lower 'timeout'";
        lints.interface(interface, Some("timeout"), Problem::new(codes::TIMEOUT_LONG, message).hint(hint));
    }
    if t.failure_interval > t.interval {
        let message = format!(
            "failure_interval {} is longer than interval {}: a WAN that fails is asked less often than one that works",
            s(t.failure_interval),
            s(t.interval)
        );
        lints.interface(interface, Some("failure_interval"), Problem::new(codes::THRESHOLD_MOOT, message));
    }
    if let Some(quality) = &t.quality {
        if Duration::from_millis(quality.failure_latency_ms.into()) > t.timeout {
            let message = format!(
                "failure_latency {} ms is beyond timeout {}: an answer as late counts as lost",
                quality.failure_latency_ms,
                s(t.timeout)
            );
            let hint = "raise 'timeout', or lower 'failure_latency'";
            let problem = Problem::new(codes::THRESHOLD_MOOT, message).hint(hint);
            lints.interface(interface, Some("failure_latency"), problem);
        }
        if quality.window == 0 && t.count == 1 {
            let message = "loss is measured by the one probe of a round: it is 0 or 100 %";
            let hint = "set 'count' to 5, or 'quality_window' to 20";
            let problem = Problem::new(codes::THRESHOLD_MOOT, message).hint(hint);
            lints.interface(interface, Some("failure_loss"), problem);
        }
    }
    let detection = detection_at_least(t);
    if detection > DETECTION_MAX {
        let message = format!("a silent outage is noticed after up to {} s", detection.as_secs());
        let hint = "lower 'interval', 'failure_interval', 'timeout' or 'down'";
        lints.interface(interface, None, Problem::new(codes::SLOW_DETECTION, message).hint(hint));
    }
}

/// The least the longest time to a verdict can be, however many of the targets answer at other times.
fn detection_at_least(t: &Tracking) -> Duration {
    let targets = u32::try_from(t.targets.len()).unwrap_or(u32::MAX).saturating_add(1);
    let turns = t.count == 1 && t.quality.is_none() && targets / t.reliability.max(1) > 1;
    let noticed = if turns { t.interval / TRACKING_TURNS_MAX } else { t.interval.max(t.round_length()) };
    noticed + t.verdict_after_notice()
}
