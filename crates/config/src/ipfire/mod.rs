//! IPFire's files → [`Config`]: the universal daemon's settings with its backup profiles, or several REDs.
//!
//! | file below `/var/ipfire` | says |
//! |---|---|
//! | `mwan/settings` | which of the two, and its numbers |
//! | `ethernet/settings`, `ppp/settings` | what RED is: IPFire's own files, read only |
//! | `mwan/profiles/NAME` | a backup for RED |
//! | `mwan/interfaces/redN` | one of several REDs |
//! | `mwan/policies/NAME`, `mwan/rules/NAME` | policies and rules over them; rules in mwan3's words, in capitals |

mod connection;
mod extension;
mod files;
mod fnv;
mod hash;
pub mod keys;
pub mod order;
mod primary;
pub(crate) mod readhash;
mod rules;
mod universal;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::time::Duration;

pub use files::Files;
pub use fnv::fnv1a;
pub use readhash::{set_value, shown};

use crate::codes;
use crate::diagnostic::{Diagnostic, Severity};
use crate::link::{Link, Method};
use crate::model::{
    Config, Failback, Families, Family, FlushEvents, InitialState, Interface, Location, Tracking,
};
use crate::report::{Problem, show};
use crate::target::{ProbeMethod, ProbeTarget};
use crate::values;
use hash::Hash;
use keys::FileKind;

/// Most diagnostics of all files together.
const DIAGNOSTICS_MAX: usize = 1000;
/// What is asked where nothing else is said: the universal daemon's three.
const TARGETS: [&str; 3] = ["8.8.8.8", "1.1.1.1", "208.67.222.222"];
/// The sessions of several REDs begin here; ppp0 is IPFire's, ppp99 the one on trial, and those of profiles begin behind it.
const SESSIONS_FROM: usize = 10;

/// What of the site is IPFire's, besides the configuration every platform has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    /// Which of the two documents the settings are of.
    pub dialect: Dialect,
    /// Whether mwan does anything at all.
    pub enabled: bool,
    /// Interface of the RED IPFire itself brings up; empty if all of them are ours.
    pub primary: String,
    /// Interfaces of the backups, in the order they are tried.
    pub backups: Vec<String>,
    /// How long a primary that is brought up anew has to answer until it carries.
    pub settle: Duration,
}

/// Which of the two documents the settings are of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Dialect {
    /// One RED, and backups for it.
    Universal,
    /// Several REDs.
    Extension,
}

/// Reads them all.
pub fn parse(files: &Files) -> (Config, Vec<Diagnostic>) {
    let mut settings = Hash::ours(files, FileKind::Settings, "mwan/settings");
    let mut found = Vec::new();
    let config = match (settings.has("ENABLED"), settings.has("MWAN_ENABLED")) {
        (false, true) => extension::read(files, &mut settings, &mut found),
        (true, false) => universal::read(files, &mut settings, &mut found),
        (true, true) => {
            let problem = Problem::new(codes::HASH_DIALECTS, "ENABLED and MWAN_ENABLED: MWAN_ENABLED counts");
            settings.say(
                "ENABLED",
                problem.hint("ENABLED is for one RED with backups, MWAN_ENABLED for several REDs"),
            );
            extension::read(files, &mut settings, &mut found)
        }
        (false, false) => {
            let message = "neither ENABLED nor MWAN_ENABLED: nothing is configured";
            settings.say_whole(Problem::new(codes::HASH_MISSING, message).hint("write ENABLED=on"));
            Config::default()
        }
    };
    found.splice(0..0, settings.finish());
    limit(&mut found);
    (config, found)
}

/// Says which folders there are whose files nobody reads.
fn unread(files: &Files, folders: &[&str], reader: &str, found: &mut Vec<Diagnostic>) {
    for folder in folders {
        let count = files.of_folder(folder).len();
        if count > 0 {
            let (mut hash, _) = Hash::raw(files, folder);
            let things = if count == 1 { "1 file" } else { &format!("{count} files") };
            let message = format!("{things} in {folder}, which only {reader} reads; ignored");
            hash.say_whole(Problem::new(codes::HASH_UNREAD, message));
            found.extend(hash.finish());
        }
    }
}

fn limit(found: &mut Vec<Diagnostic>) {
    if found.len() > DIAGNOSTICS_MAX {
        // Errors first: what is left out must be known.
        found.sort_by_key(|d| d.severity != Severity::Error);
        found.truncate(DIAGNOSTICS_MAX);
    }
}

/// How often and how strictly interfaces are checked.
#[derive(Clone, Copy)]
struct Checks {
    interval: Duration,
    down: u32,
    up: u32,
    tracked: bool,
}

/// The interface of a link.
fn interface(hash: &mut Hash, link: &Link, position: usize, checks: Checks, location: Location) -> Interface {
    let families = families(&link.method);
    let targets = if checks.tracked { targets(hash, families) } else { Vec::new() };
    let gateway = |family| match &link.method {
        Method::Static { gateways, .. } => gateways.iter().copied().find(|ip| Family::of(*ip) == family),
        _ => None,
    };
    Interface {
        name: link.name.clone(),
        enabled: true,
        position: u16::try_from(position).unwrap_or(u16::MAX),
        // Which device serves it changes with its sessions; who dials them says it.
        device: None,
        families,
        gateway4: gateway(Family::V4).and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
        gateway6: gateway(Family::V6).and_then(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }),
        tracking: tracking(checks, targets),
        // A router that starts must not wait for three checks of half a minute; what is dialled later waits for its first
        // answer anyway.
        initial_state: InitialState::Online,
        failback: Failback::Keep,
        flush_conntrack: FlushEvents::default(),
        drill: None,
        routed_networks: Vec::new(),
        location,
    }
}

/// IPFire's RED is IPv4; a fixed address may be of the other family.
fn families(method: &Method) -> Families {
    match method {
        Method::Static { addresses, .. } => Families {
            v4: addresses.iter().any(|a| a.addr().is_ipv4()),
            v6: addresses.iter().any(|a| a.addr().is_ipv6()),
        },
        _ => Families { v4: true, v6: false },
    }
}

fn targets(hash: &mut Hash, families: Families) -> Vec<ProbeTarget> {
    let given: Vec<String> = hash
        .text("MONITOR_IP")
        .map_or_else(Vec::new, |text| values::pieces(text).map(str::to_owned).collect());
    let words: Vec<&str> =
        if given.is_empty() { TARGETS.to_vec() } else { given.iter().map(String::as_str).collect() };
    let mut targets: Vec<ProbeTarget> = Vec::new();
    for word in words {
        match crate::target::target(word, &ProbeMethod::Ping) {
            Ok(target) if !families.contains(Family::of(target.ip)) => {
                // The three of the documents are of one family; of the other only what the owner names is known.
                if !given.is_empty() {
                    let message =
                        format!("{} is not of a family this connection has; it is left out", show(word));
                    hash.say("MONITOR_IP", Problem::new(codes::ADDRESS, message));
                }
            }
            Ok(target) if targets.contains(&target) => {}
            Ok(target) => targets.push(target),
            Err(mut problem) => {
                problem.message.push_str("; it is left out");
                hash.say("MONITOR_IP", problem);
            }
        }
    }
    targets
}

fn tracking(checks: Checks, targets: Vec<ProbeTarget>) -> Tracking {
    let timeout = checks.interval.min(Duration::from_secs(5));
    Tracking {
        method: ProbeMethod::Ping,
        targets,
        track_gateway: false,
        reliability: 1,
        count: 1,
        timeout,
        interval: checks.interval,
        failure_interval: checks.interval,
        recovery_interval: checks.interval,
        keep_failure_interval: false,
        up: checks.up,
        down: checks.down,
        size: 56,
        max_ttl: 60,
        quality: None,
    }
}

/// A name that can be one of an interface and of files.
fn link_name(hash: &mut Hash, name: &str) -> bool {
    let bad = values::foreign_name(name, 32).is_err() || matches!(name, "." | "..");
    if bad {
        let message = format!(
            "{} is not a name: letters, digits, '.', '_', '-', at most 32; it is left out",
            show(name)
        );
        hash.refuse_whole(Problem::new(codes::HASH_NAME, message));
    }
    !bad
}
