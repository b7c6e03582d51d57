//! The status as the commands `mwan3` and `mwan4` print it, so that scripts that parse them keep working.

use mwan_api::{Look, Package, Status};
use mwan_config::sort_short_by;

use super::status;

/// What a package's command prints.
pub(super) fn text(package: Package, status: &Status, look: Look) -> String {
    match look {
        Look::Interfaces => interfaces(package, status),
        Look::Policies => policies(package, status),
        Look::Connected => connected(status),
        Look::Rules => rules(status),
        _ => [interfaces(package, status), policies(package, status), connected(status), rules(status)]
            .concat(),
    }
}

/// Each part ends with an empty line, the last one, too.
fn interfaces(package: Package, status: &Status) -> String {
    status::interfaces_with_family(status, package == Package::Mwan4) + "\n"
}

/// By name, and of each its members from the last to the first: so mwan3's chains list them.
fn policies(package: Package, status: &Status) -> String {
    let mut status = status.clone();
    sort_short_by(&mut status.policies, |a, b| a.name > b.name);
    for policy in &mut status.policies {
        policy.ipv4.members.reverse();
        policy.ipv6.members.reverse();
    }
    let mut text = status::policies(&status) + "\n";
    let word = match package {
        Package::Mwan3 => "policies",
        Package::Mwan4 => "strategies",
    };
    for family in ["ipv4", "ipv6"] {
        let header = format!("Current {family} {word}:\n");
        text = text.replacen(&format!("Current {family} policies:\n"), &header, 1);
    }
    text
}

fn connected(status: &Status) -> String {
    status::connected(status) + "\n"
}

fn rules(status: &Status) -> String {
    status::rules(status) + "\n"
}

#[cfg(test)]
mod tests;
