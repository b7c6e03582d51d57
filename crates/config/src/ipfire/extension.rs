//! Several REDs at once.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{self, type_of};
use super::hash::{Hash, switch};
use super::keys::FileKind;
use super::{Checks, Dialect, Files, SESSIONS_FROM, Site, interface, primary, rules, unread};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::link::Link;
use crate::model::{Config, LastResort, Masquerade, Member, Policy};
use crate::names::Names;
use crate::policy;
use crate::report::{Problem, show};
use crate::values;

/// Name of the policy over all REDs.
const ALL: &str = "red";
/// Routing tables of the interfaces begin behind this one: 200 wan1, 201 wan2, as the document has them.
const TABLE_BASE: u32 = 199;
/// REDs there may be: the default mask has room for 60.
const INTERFACES_MAX: u32 = 60;

/// How a policy uses its members.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spread {
    Weight,
    Failover,
}

const SPREADS: &[(&str, Spread)] = &[
    ("weight", Spread::Weight),
    ("weighted", Spread::Weight),
    ("round-robin", Spread::Weight),
    ("failover", Spread::Failover),
    ("priority", Spread::Failover),
    ("none", Spread::Failover),
];

struct Red {
    link: Link,
    weight: u32,
    priority: u32,
}

pub(super) fn read(files: &Files, settings: &mut Hash, found: &mut Vec<Diagnostic>) -> Config {
    let mut config = Config::default();
    config.globals.enabled = settings.must("MWAN_ENABLED", switch).unwrap_or(false);
    config.globals.table_base = TABLE_BASE;
    config.globals.masquerade = Masquerade::On;
    let checks = Checks {
        interval: settings.get("MWAN_MONITOR_INTERVAL", values::time).unwrap_or(Duration::from_secs(30)),
        down: 3,
        up: 3,
        tracked: settings.get("MWAN_FAILOVER_ENABLED", switch).unwrap_or(true),
    };
    let count = settings.get("MWAN_INTERFACE_COUNT", |t| values::number(t, 1, INTERFACES_MAX)).unwrap_or(1);
    let spread =
        settings.get("MWAN_LOAD_BALANCE_METHOD", |t| values::word(t, SPREADS)).unwrap_or(Spread::Weight);
    let reds: Vec<Red> =
        (0..count).filter_map(|index| red(files, index, checks, &mut config, found)).collect();
    surplus(files, count, found);
    unread(files, &["mwan/profiles"], "ENABLED", found);
    let mut names = Names::default();
    let location = settings.location();
    if !reds.is_empty() {
        let members = members(&reds, spread);
        names.keep(ALL, 0);
        config.policies.push(Policy {
            name: ALL.to_owned(),
            members,
            last_resort: LastResort::Unreachable,
            location,
        });
    }
    policies(files, &reds, &mut config, &mut names, found);
    rules::read(files, &names, &mut config, found);
    let site = Site {
        dialect: Dialect::Extension,
        enabled: config.globals.enabled,
        primary: ipfires_own(files, &reds),
        backups: Vec::new(),
        settle: Duration::ZERO,
    };
    config.links = Arc::new(reds.into_iter().map(|red| red.link).collect());
    config.site = Some(Arc::new(site));
    config
}

/// The RED that IPFire's own scripts bring up: the one on its device.
fn ipfires_own(files: &Files, reds: &[Red]) -> String {
    let (_, values) = Hash::raw(files, "ethernet/settings");
    let text = |key: &str| values.get(key).map(|v| v.text.as_str());
    if text("RED_TYPE").is_some_and(|kind| kind.eq_ignore_ascii_case(primary::SEVERAL)) {
        return String::new();
    }
    let devices = |red: &Red| [Some(red.link.device.clone()), Some(red.link.session_device.clone())];
    let own = reds.iter().find(|red| devices(red).iter().any(|device| device.as_deref() == text("RED_DEV")));
    own.map(|red| red.link.name.clone()).unwrap_or_default()
}

fn red(
    files: &Files,
    index: u32,
    checks: Checks,
    config: &mut Config,
    found: &mut Vec<Diagnostic>,
) -> Option<Red> {
    let name = format!("red{index}");
    let file = format!("mwan/interfaces/{name}");
    let mut hash = Hash::ours(files, FileKind::Interface, &file);
    let given = files.contents.contains_key(&file);
    // IPFire's own RED needs no file: its type and device stand in IPFire's settings.
    let link = match (given && hash.has("TYPE"), index) {
        (true, _) => {
            let session = format!("ppp{}", if index == 0 { 0 } else { SESSIONS_FROM + index as usize });
            hash.need("TYPE", "every interface", type_of)
                .and_then(|kind| connection::read(&mut hash, kind, None, &name, &session))
        }
        (false, 0) => primary::read(files, &name, found),
        (false, _) => {
            let message = format!("{file} is missing or has no INTERFACE_TYPE; {name} is left out");
            hash.refuse_whole(
                Problem::new(codes::HASH_MISSING, message).hint("or lower MWAN_INTERFACE_COUNT"),
            );
            None
        }
    };
    let red = link.map(|link| {
        let weight = hash.get("WEIGHT", policy::weight).unwrap_or(1);
        let priority = hash.get("PRIORITY", |t| values::number(t, 0, 65_535)).unwrap_or(100);
        // Every RED stays up, whatever it is: all carry at once, or may have to at any moment.
        let link = Link { on_demand: false, ..link };
        let location = hash.location();
        config.interfaces.push(interface(&mut hash, &link, index as usize + 1, checks, location));
        Red { link, weight, priority }
    });
    found.extend(hash.finish());
    red
}

/// Files of interfaces that are not counted.
fn surplus(files: &Files, count: u32, found: &mut Vec<Diagnostic>) {
    for name in files.of_folder("mwan/interfaces") {
        let number = name.strip_prefix("red").and_then(|n| n.parse::<u32>().ok());
        if number.is_none_or(|n| n >= count) {
            let (mut hash, _) = Hash::raw(files, &format!("mwan/interfaces/{name}"));
            let message = format!(
                "{} is not one of the {count} that MWAN_INTERFACE_COUNT says; it is ignored",
                show(name)
            );
            hash.say_whole(Problem::new(codes::HASH_SURPLUS, message));
            found.extend(hash.finish());
        }
    }
}

fn members<'a>(reds: impl IntoIterator<Item = &'a Red>, spread: Spread) -> Vec<Member> {
    let member = |red: &Red| Member {
        name: red.link.name.clone(),
        interface: red.link.name.clone(),
        // Tiers begin at 1; a policy that spreads has one.
        metric: if spread == Spread::Failover { red.priority + 1 } else { 1 },
        weight: if spread == Spread::Failover { 1 } else { red.weight },
    };
    reds.into_iter().map(member).collect()
}

fn policies(
    files: &Files,
    reds: &[Red],
    config: &mut Config,
    names: &mut Names,
    found: &mut Vec<Diagnostic>,
) {
    for name in files.of_folder("mwan/policies") {
        let mut hash = Hash::ours(files, FileKind::Policy, &format!("mwan/policies/{name}"));
        match policy(&mut hash, name, reds, names) {
            Some(policy) => {
                names.keep(name, 0);
                config.policies.push(policy);
            }
            None => names.leave_out(name, 0),
        }
        found.extend(hash.finish());
    }
}

fn policy(hash: &mut Hash, name: &str, reds: &[Red], names: &Names) -> Option<Policy> {
    let resorts = [
        ("unreachable", LastResort::Unreachable),
        ("blackhole", LastResort::Blackhole),
        ("default", LastResort::Default),
    ];
    let reserved = names.contains(name) || resorts.iter().any(|(word, _)| *word == name);
    if reserved || values::foreign_name(name, 64).is_err() {
        let message = format!("{} cannot be the name of a policy; it is left out", show(name));
        hash.refuse_whole(Problem::new(codes::HASH_NAME, message).hint("give the file another name"));
        return None;
    }
    let spread = hash.get("METHOD", |t| values::word(t, SPREADS)).unwrap_or(Spread::Weight);
    let last_resort =
        hash.get("LAST_RESORT", |t| values::word(t, &resorts)).unwrap_or(LastResort::Unreachable);
    let wanted: Option<Vec<String>> =
        hash.text("MEMBERS").map(|text| values::pieces(text).map(str::to_owned).collect());
    for unknown in wanted.iter().flatten().filter(|name| !reds.iter().any(|r| r.link.name == **name)) {
        let message = format!("no usable interface is called {}; it is left out", show(unknown));
        hash.say("MEMBERS", Problem::new(codes::HASH_MEMBER, message));
    }
    let used = reds.iter().filter(|r| wanted.as_ref().is_none_or(|w| w.contains(&r.link.name)));
    let members = members(used, spread);
    if members.is_empty() {
        hash.refuse_whole(Problem::new(codes::NO_MEMBERS, "no usable member; the policy is left out"));
    }
    (!members.is_empty()).then(|| Policy {
        name: name.to_owned(),
        members,
        last_resort,
        location: hash.location(),
    })
}
