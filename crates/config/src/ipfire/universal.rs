//! One RED, and backups for it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::connection::{self, type_of};
use super::hash::{Hash, switch};
use super::keys::FileKind;
use super::{Checks, Dialect, Files, Site, fnv1a, interface, link_name, primary, rules, unread};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::link::Link;
use crate::model::{Config, LastResort, Masquerade, Member, Policy};
use crate::report::{Problem, or_list, show};
use crate::values;

/// Name of the primary's interface, and of the policy.
const RED: &str = rules::REST;
/// Routing tables of the interfaces begin behind this one: 100, 101, 102, as the document has them.
const TABLE_BASE: u32 = 99;

pub(super) fn read(files: &Files, settings: &mut Hash, found: &mut Vec<Diagnostic>) -> Config {
    let mut config = Config::default();
    config.globals.enabled = settings.must("ENABLED", switch).unwrap_or(false);
    config.globals.table_base = TABLE_BASE;
    // IPFire translates what leaves by the one device its own files name.
    config.globals.masquerade = Masquerade::On;
    let checks = Checks {
        interval: settings.get("PRIMARY_CHECK_INTERVAL", values::time).unwrap_or(Duration::from_secs(30)),
        down: settings.get("FAILOVER_THRESHOLD", |t| values::number(t, 1, 100)).unwrap_or(3),
        up: settings.get("FAILBACK_ATTEMPTS", |t| values::number(t, 1, 100)).unwrap_or(3),
        tracked: true,
    };
    let mut links = Vec::new();
    let mut members = Vec::new();
    if let Some(link) = primary::read(files, RED, found) {
        let location = settings.location();
        config.interfaces.push(interface(settings, &link, 1, checks, location));
        members.push(member(RED, 1));
        links.push(link);
    }
    let mut backups = profiles(files, checks, &mut config, found);
    order(settings, &mut backups);
    unread(files, &["mwan/interfaces", "mwan/policies", "mwan/rules"], "MWAN_ENABLED", found);
    for (index, backup) in backups.iter().enumerate() {
        // Every place of the order is a tier: the best usable one carries alone.
        members.push(member(&backup.link.name, u32::try_from(index + 2).unwrap_or(u32::MAX)));
    }
    let site = Site {
        dialect: Dialect::Universal,
        enabled: config.globals.enabled,
        primary: RED.to_owned(),
        backups: backups.iter().map(|b| b.link.name.clone()).collect(),
        // The first check is made at once.
        settle: checks.interval * (checks.up - 1),
    };
    links.extend(backups.into_iter().map(|b| b.link));
    share_no_device(&mut links);
    if !members.is_empty() {
        let location = settings.location();
        let last_resort = LastResort::Unreachable;
        config.policies.push(Policy {
            name: RED.to_owned(),
            members,
            last_resort,
            location: location.clone(),
        });
        config.rules.push(rules::rest(location));
    }
    config.links = Arc::new(links);
    config.site = Some(Arc::new(site));
    config
}

fn member(interface: &str, metric: u32) -> Member {
    Member { name: interface.to_owned(), interface: interface.to_owned(), metric, weight: 1 }
}

struct Backup {
    priority: u32,
    link: Link,
}

/// Numbers of the devices of profiles' sessions.
const SESSIONS: std::ops::Range<u64> = 100..1000;

/// The device of a profile's session, by its name alone: a session must not end because there is another profile now.
fn session(name: &str, taken: &mut BTreeSet<u64>) -> String {
    let count = SESSIONS.end - SESSIONS.start;
    let mut place = fnv1a(name.as_bytes()) % count;
    while !taken.insert(place) {
        place = (place + 1) % count;
    }
    format!("ppp{}", SESSIONS.start + place)
}

/// The good profiles; their interfaces are in the configuration then. A profile that is left out keeps its place: ids and
/// tables must not move because another file has a typing error.
fn profiles(files: &Files, checks: Checks, config: &mut Config, found: &mut Vec<Diagnostic>) -> Vec<Backup> {
    let (mut backups, mut sessions) = (Vec::new(), BTreeSet::new());
    for (index, name) in files.of_folder("mwan/profiles").into_iter().enumerate() {
        let mut hash = Hash::ours(files, FileKind::Profile, &format!("mwan/profiles/{name}"));
        let taken = name == RED;
        if taken {
            let message = format!("{} is the primary's name; the profile is left out", show(name));
            hash.refuse_whole(Problem::new(codes::HASH_NAME, message).hint("give the file another name"));
        }
        if !taken && link_name(&mut hash, name) {
            let priority = hash.get("PRIORITY", |t| values::number(t, 0, 65_535)).unwrap_or(100);
            let session = session(name, &mut sessions);
            let kind = hash.need("TYPE", "every profile", type_of);
            if let Some(link) = kind.and_then(|kind| connection::read(&mut hash, kind, None, name, &session))
            {
                let location = hash.location();
                config.interfaces.push(interface(&mut hash, &link, index + 2, checks, location));
                backups.push(Backup { priority, link });
            }
        }
        found.extend(hash.finish());
    }
    backups
}

/// `BACKUP_PROFILE` first, then by priority, then by name.
fn order(settings: &mut Hash, backups: &mut [Backup]) {
    let first = settings.text("BACKUP_PROFILE").map(str::to_owned);
    if let Some(first) = first.as_deref().filter(|first| !backups.iter().any(|b| b.link.name == **first)) {
        let names = || backups.iter().map(|b| b.link.name.as_str());
        let problem =
            Problem::new(codes::HASH_PROFILE, format!("no usable profile is called {}", show(first)));
        let hint = if backups.is_empty() {
            "there is none in mwan/profiles".to_owned()
        } else {
            format!("there is {}", or_list(names()))
        };
        settings.say("BACKUP_PROFILE", problem.hint(hint));
    }
    let is_first = |b: &Backup| Some(b.link.name.as_str()) == first.as_deref();
    backups.sort_by_key(|b| (!is_first(b), b.priority, b.link.name.clone()));
}

/// A lease or an address on the device of another link is taken only while that one is given up.
fn share_no_device(links: &mut [Link]) {
    for index in 1..links.len() {
        let (before, rest) = links.split_at_mut(index);
        if let Some(link) =
            rest.first_mut().filter(|l| before.iter().any(|b| b.device == l.device && b.lower == l.lower))
        {
            link.on_demand = true;
        }
    }
}
