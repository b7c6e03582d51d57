//! The status as the packages we replace publish it: method `status` of `mwan3` (policies) and `mwan4` (strategies).

use mwan_api as api;
use mwan_ubus::{Status, Table, Value};

/// What a caller wants.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Wanted<'a> {
    section: Option<&'a str>,
    interface: Option<&'a str>,
}

/// Answers `status` of the object called `object`.
///
/// As with mwan3 an empty or unknown section means all of them, and an interface that does not exist has no entry.
/// Arguments that are no text are refused; the packages' scripts take them for texts that mean nothing.
pub(super) fn status(object: &str, arguments: &Table, status: &api::Status) -> Result<Table, Status> {
    let wanted = Wanted { section: text(arguments, "section")?, interface: text(arguments, "interface")? };
    let policies = if object == "mwan4" { "strategies" } else { "policies" };
    let mut answer = Table::new();
    let known = ["interfaces", "connected", policies];
    let all = wanted.section.is_none_or(|section| !known.contains(&section));
    let has = |section: &str| all || wanted.section == Some(section);
    if has("interfaces") {
        answer.put("interfaces", interfaces(status, wanted.interface));
    }
    if has("connected") {
        answer.put("connected", connected(&status.connected));
    }
    if has(policies) {
        let of = |family| policies_of(status, family);
        answer.put(policies, Table::new().with("ipv4", of("ipv4")).with("ipv6", of("ipv6")));
    }
    Ok(answer)
}

/// An argument: absent and empty are the same, as they are for a shell script.
fn text<'a>(arguments: &'a Table, name: &str) -> Result<Option<&'a str>, Status> {
    match arguments.get(name) {
        None => Ok(None),
        Some(value) => {
            let text = value.as_str().ok_or(Status::InvalidArgument)?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        }
    }
}

fn interfaces(status: &api::Status, only: Option<&str>) -> Table {
    let wanted = status.interfaces.iter().filter(|i| only.is_none_or(|name| i.name == name));
    wanted.fold(Table::new(), |table, i| table.with(&i.name, interface(i)))
}

/// One state for both families, because the format has room for one only: the better one's.
fn interface(interface: &api::Interface) -> Table {
    let path = interface.paths.iter().max_by_key(|p| (p.usable, p.tracking != "down", p.family == "ipv4"));
    let number = |of: fn(&api::Path) -> u64| path.map_or(0, of);
    let word = |of: fn(&api::Path) -> &str, none: &'static str| path.map_or(none, of);
    let tracking = word(|p| &p.tracking, "disabled");
    let of_path = |p: &'_ api::Path| {
        p.targets.iter().map(|t| Value::Table(target(t, p.check_quality))).collect::<Vec<_>>()
    };
    let targets = interface.paths.iter().flat_map(of_path);
    Table::new()
        .with("age", number(|p| p.age_s))
        .with("online", number(|p| if p.usable { p.since_s } else { 0 }))
        .with("offline", number(|p| if p.usable { 0 } else { p.since_s }))
        .with("uptime", number(|p| p.uptime_s))
        .with("score", number(|p| u64::from(p.score)))
        .with("lost", number(|p| u64::from(p.lost)))
        .with("turn", number(|p| p.rounds))
        .with("status", word(|p| &p.status, "unknown"))
        .with("enabled", interface.enabled)
        .with("running", tracking == "active")
        .with("tracking", tracking)
        .with("up", path.is_some_and(|p| p.tracking != "down"))
        .with("track_ip", targets.collect::<Vec<_>>())
}

/// What mwan3track writes for a target that does not answer, milliseconds.
const NO_ANSWER_MS: u64 = 999_999;

/// As with mwan3 both figures are 0 without `check_quality`. They are those by which it is judged.
fn target(target: &api::Target, check_quality: bool) -> Table {
    let (latency_ms, loss_percent) = match (target.latency_ms, target.loss_percent) {
        _ if !check_quality => (0, 0),
        (Some(latency_ms), loss) => (latency_ms.into(), loss.into()),
        (None, loss @ 100..) => (NO_ANSWER_MS, loss.into()),
        (None, loss) => (0, u64::from(loss)),
    };
    Table::new()
        .with("ip", target.ip.as_str())
        .with("status", target.status.as_str())
        .with("latency", latency_ms)
        .with("packetloss", loss_percent)
}

/// Host routes without their length, as `ip route` shows them.
fn connected(networks: &api::Networks) -> Table {
    let list = |nets: &[String], host: &str| {
        let short = |net: &String| Value::from(net.strip_suffix(host).unwrap_or(net));
        nets.iter().map(short).collect::<Vec<_>>()
    };
    Table::new().with("ipv4", list(&networks.ipv4, "/32")).with("ipv6", list(&networks.ipv6, "/128"))
}

/// The policies that have a member of this family: who carries them, and nobody if it is their last resort.
fn policies_of(status: &api::Status, family: &str) -> Table {
    let has_family = |name: &str| {
        let interface = status.interfaces.iter().find(|i| i.name == name);
        interface.is_some_and(|i| i.paths.iter().any(|p| p.family == family))
    };
    let mut table = Table::new();
    for policy in &status.policies {
        let carrier = if family == "ipv4" { &policy.ipv4 } else { &policy.ipv6 };
        if carrier.counters.iter().any(|c| has_family(&c.interface)) {
            let member = |m: &api::Member| {
                let percent = u64::from(m.percent);
                Value::Table(Table::new().with("interface", m.interface.as_str()).with("percent", percent))
            };
            table.put(&policy.name, carrier.members.iter().map(member).collect::<Vec<_>>());
        }
    }
    table
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
