//! The RED that IPFire has: which kind it is, and how it is brought up.

use std::collections::BTreeMap;

use super::Files;
use super::connection::{self, Type};
use super::hash::Hash;
use super::keys::FileKind;
use super::readhash::Value;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::link::{Link, OWN_SESSION};
use crate::report::{Problem, show};

/// `RED_TYPE` where all REDs are ours.
pub(super) const SEVERAL: &str = "MWAN";

/// Reads the primary; `None` if it is not understood, which has been said then.
pub(super) fn read(files: &Files, name: &str, found: &mut Vec<Diagnostic>) -> Option<Link> {
    let (mut ethernet, values) = Hash::raw(files, "ethernet/settings");
    let text = |key: &str| values.get(key).map(|v: &Value| v.text.as_str()).filter(|t| !t.is_empty());
    let device = text("RED_DEV").unwrap_or("red0").to_owned();
    let link = match text("RED_TYPE").map(str::to_ascii_uppercase).as_deref() {
        Some("STATIC") => fixed(files, &values, &device, name, found),
        Some("DHCP") => {
            connection::read(&mut lease(files, &values), Type::Dhcp, Some(device), name, OWN_SESSION)
        }
        // IPFire's word for everything that is dialled; which of them stands in the dial profile.
        Some("PPPOE" | "PPTP" | "QMI" | "VDSL") => dialled(files, &device, name, found),
        // A session over it is dialled as any other.
        Some("ATM") if is_session_over_atm(files) => dialled(files, &device, name, found),
        Some("ATM") => bridged(files, &values, &device, name, found),
        Some(SEVERAL) => {
            let message = "RED_TYPE is MWAN: IPFire brings none up; the primary is left out";
            let hint = if name == "red" {
                "write MWAN_ENABLED=on in mwan/settings and a file in mwan/interfaces for each RED, or run `setup`"
            } else {
                "write mwan/interfaces/red0 with its INTERFACE_TYPE, as for every other"
            };
            ethernet.say_whole(Problem::new(codes::PRIMARY, message).hint(hint));
            None
        }
        Some(other) => {
            let message =
                format!("RED_TYPE is {}, which mwan does not know; the primary is left out", show(other));
            ethernet.say_whole(Problem::new(codes::PRIMARY, message));
            None
        }
        None => {
            let message = "no RED_TYPE: IPFire has no RED; the primary is left out";
            ethernet.say_whole(Problem::new(codes::PRIMARY, message).hint("run `setup`"));
            None
        }
    };
    found.extend(ethernet.finish());
    link
}

/// A file made of another's values, under the names of our table.
fn renamed(files: &Files, values: &BTreeMap<String, Value>, names: &[(&str, &str)]) -> Files {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let lines: String = names
        .iter()
        .filter_map(|(theirs, ours)| Some(format!("{ours}={}\n", quoted(&values.get(*theirs)?.text))))
        .collect();
    let mut renamed = Files { root: files.root.clone(), ..Files::default() };
    renamed.contents.insert("ethernet/settings".to_owned(), lines.into_bytes());
    renamed
}

fn fixed(
    files: &Files,
    values: &BTreeMap<String, Value>,
    device: &str,
    name: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<Link> {
    // One network card: RED is an address on GREEN.
    let green = values.get("GREEN_DEV").is_some_and(|v| v.text == device);
    let own = if green { "GREEN" } else { "RED" };
    let names = [
        (format!("{own}_ADDRESS"), "ADDRESS"),
        (format!("{own}_NETMASK"), "NETMASK"),
        (format!("{own}_MTU"), "MTU"),
        ("DEFAULT_GATEWAY".to_owned(), "GATEWAY"),
        ("DNS1".to_owned(), "DNS1"),
        ("DNS2".to_owned(), "DNS2"),
    ];
    let names: Vec<(&str, &str)> = names.iter().map(|(theirs, ours)| (theirs.as_str(), *ours)).collect();
    let mut hash = Hash::theirs(&renamed(files, values, &names), "ethernet/settings", FileKind::Profile);
    let link = connection::read(&mut hash, Type::Static, Some(device.to_owned()), name, OWN_SESSION);
    found.extend(hash.finish());
    link
}

fn is_session_over_atm(files: &Files) -> bool {
    let hash = Hash::theirs(files, "ppp/settings", FileKind::Profile);
    hash.text("TYPE")
        .is_some_and(|text| matches!(connection::type_of(text), Ok(Type::PppoeAtm | Type::PptpAtm)))
}

/// A bridge over ATM: its circuit stands with the dial profiles, its address, if it is a fixed one, with RED's.
fn bridged(
    files: &Files,
    ethernet: &BTreeMap<String, Value>,
    device: &str,
    name: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<Link> {
    let (ppp, circuit) = Hash::raw(files, "ppp/settings");
    found.extend(ppp.finish());
    let mut values = ethernet.clone();
    values.extend(
        circuit.into_iter().filter(|(key, _)| ["VPI", "VCI", "ENCAP", "ATM_DEV"].contains(&key.as_str())),
    );
    let mut names =
        vec![("VPI", "VPI"), ("VCI", "VCI"), ("ENCAP", "ENCAP"), ("ATM_DEV", "ATM_DEV"), ("RED_MTU", "MTU")];
    // What `setup` writes where there is none.
    let given = |key: &str| values.get(key).is_some_and(|v| !matches!(v.text.as_str(), "" | "0.0.0.0"));
    names.extend(if given("RED_ADDRESS") {
        [
            ("RED_ADDRESS", "ADDRESS"),
            ("RED_NETMASK", "NETMASK"),
            ("DEFAULT_GATEWAY", "GATEWAY"),
            ("DNS1", "DNS1"),
            ("DNS2", "DNS2"),
        ]
        .as_slice()
    } else {
        &[("RED_DHCP_HOSTNAME", "HOSTNAME"), ("RED_DHCP_FORCE_MTU", "MTU")]
    });
    // The device of the bridge on the ATM interface 1 is nas1.
    if let (false, Some(number)) = (values.contains_key("ATM_DEV"), device.strip_prefix("nas")) {
        let line = values.get("RED_DEV").map_or(0, |v| v.line);
        values.insert("ATM_DEV".to_owned(), Value { text: number.to_owned(), line });
    }
    let mut hash = Hash::theirs(&renamed(files, &values, &names), "ethernet/settings", FileKind::Profile);
    let link = connection::read(&mut hash, Type::Atm, None, name, OWN_SESSION);
    found.extend(hash.finish());
    link
}

fn lease(files: &Files, values: &BTreeMap<String, Value>) -> Hash {
    let names = [("RED_DHCP_HOSTNAME", "HOSTNAME"), ("RED_DHCP_FORCE_MTU", "MTU")];
    Hash::theirs(&renamed(files, values, &names), "ethernet/settings", FileKind::Profile)
}

fn dialled(files: &Files, device: &str, name: &str, found: &mut Vec<Diagnostic>) -> Option<Link> {
    let mut hash = Hash::theirs(files, "ppp/settings", FileKind::Profile);
    let qmi = files.qmi_devices.contains(device);
    let kind = match hash.text("TYPE") {
        // A dongle that speaks QMI is one whatever the profile says: nothing else works with it.
        _ if qmi => Some(Type::Qmi),
        Some("serial") => Some(Type::Gsm),
        Some(_) => hash.must("TYPE", connection::type_of),
        None => {
            let message = "no TYPE: there is no dial profile; the primary is left out";
            hash.refuse_whole(
                Problem::new(codes::PRIMARY, message).hint("make one on the page System, Dialup"),
            );
            None
        }
    };
    let link = kind.and_then(|kind| {
        // A modem's line is in the profile; everything else is built on RED's device.
        let device = (kind != Type::Gsm).then(|| device.to_owned());
        connection::read(&mut hash, kind, device, name, OWN_SESSION)
    });
    found.extend(hash.finish());
    link
}
