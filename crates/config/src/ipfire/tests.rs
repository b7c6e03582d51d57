#![allow(clippy::unwrap_used)]
use super::keys::keys;
use super::*;
use crate::link::{AtmBridge, Encapsulation, Lower};

const PPP: &str = "USERNAME=u\nPASSWORD=p\n";

/// A tree whose file of `kind` has `lines` more, beside an untouched profile or interface.
fn tree(kind: FileKind, base: &str, lines: &str) -> Files {
    let extension = matches!(kind, FileKind::Interface | FileKind::Policy) || lines.starts_with("MWAN_");
    let settings = if extension { "MWAN_ENABLED=on\nMWAN_INTERFACE_COUNT=2\n" } else { "ENABLED=on\n" };
    let mut files = Files { root: "/var/ipfire".into(), ..Files::default() };
    let mut put = |name: &str, text: String| drop(files.contents.insert(name.to_owned(), text.into_bytes()));
    put("ethernet/settings", "RED_TYPE=DHCP\nRED_DEV=red0\n".into());
    let more = |of: FileKind| if of == kind { lines } else { "" };
    put("mwan/settings", format!("{settings}{}", more(FileKind::Settings)));
    if extension {
        put("mwan/interfaces/red0", "TYPE=DHCP\nDEVICE=red0\n".into());
        put("mwan/interfaces/red1", format!("{base}{}", more(FileKind::Interface)));
        put("mwan/policies/p", more(FileKind::Policy).into());
    } else {
        put("mwan/profiles/x", format!("{base}{}", more(FileKind::Profile)));
        put("mwan/profiles/y", "TYPE=DHCP\nDEVICE=eth9\n".into());
    }
    files
}

/// A file in which `key` means something.
fn base_of(key: &str) -> String {
    let base = match key {
        "ADDRESS" | "NETMASK" | "GATEWAY" | "DNS1" | "DNS2" => {
            "TYPE=STATIC\nDEVICE=eth1\nADDRESS=192.0.2.2/24\nGATEWAY=192.0.2.1\n"
        }
        "APN" | "PIN" | "NUMBER" | "SPEED" => "TYPE=GSM\nDEVICE=/dev/ttyUSB0\nAPN=i\n",
        "CONTROL" => "TYPE=QMI\nDEVICE=wwan0\nAPN=i\n",
        "SERVER" => "TYPE=PPTP\nDEVICE=eth1\nSERVER=10.0.0.1\n",
        "VPI" | "VCI" | "ENCAP" | "ATM_DEV" => "TYPE=ATM\n",
        "USERNAME" | "PASSWORD" | "AUTH" | "SERVICENAME" | "CONCENTRATORNAME" => "TYPE=PPPOE\nDEVICE=eth1\n",
        _ => "TYPE=DHCP\nDEVICE=eth1\n",
    };
    format!("{base}{PPP}")
}

fn with(base: &str, key: &str, value: &str) -> String {
    let kept: Vec<&str> = base.lines().filter(|l| !l.starts_with(&format!("{key}="))).collect();
    let mask = if key == "NETMASK" { "ADDRESS=192.0.2.2\n" } else { "" };
    let kept = kept
        .into_iter()
        .filter(|l| mask.is_empty() || !l.starts_with("ADDRESS="))
        .collect::<Vec<_>>()
        .join("\n");
    format!("{kept}\n{mask}{key}='{value}'\n")
}

fn takes_anything(kind: &str) -> bool {
    kind == "text"
}

#[test]
fn every_malformed_value_of_every_key_gives_one_diagnostic_and_costs_only_its_file() {
    let mut tried = 0;
    for doc in keys().iter().filter(|k| !takes_anything(k.kind)) {
        for kind in doc.files {
            for value in ["$x;", "-1", "a b/\u{e4}", "99999999999999999999", "/", "!"] {
                if value.starts_with('9')
                    && (doc.kind.contains("name") || doc.kind.contains("device") || doc.kind.contains("/dev"))
                {
                    continue; // a good name
                }
                let files = match kind {
                    FileKind::Settings => {
                        tree(*kind, "TYPE=DHCP\nDEVICE=eth1\n", &format!("{}='{value}'\n", doc.key))
                    }
                    FileKind::Policy => {
                        tree(*kind, "TYPE=DHCP\nDEVICE=eth1\n", &format!("{}='{value}'\n", doc.key))
                    }
                    _ => tree(*kind, "", &with(&base_of(doc.key), doc.key, value)),
                };
                let (config, found) = parse(&files);
                let of_key: Vec<_> = found
                    .iter()
                    .filter(|d| d.option.as_deref() == Some(doc.key) && d.code != "W0804")
                    .collect();
                // A list with several bad pieces has one each; a second switch is said once more.
                let pieces = value.split(' ').count();
                let several = pieces > 1 && matches!(doc.key, "MONITOR_IP" | "MEMBERS");
                let enabled = doc.key.ends_with("ENABLED") && doc.key != "MWAN_FAILOVER_ENABLED";
                assert!(
                    of_key.len() == 1 || several && of_key.len() == pieces || enabled && !of_key.is_empty(),
                    "{kind:?} {}={value}: {found:#?}",
                    doc.key
                );
                let several_reds =
                    matches!(kind, FileKind::Interface | FileKind::Policy) || doc.key.starts_with("MWAN_");
                let other = if several_reds { "red0" } else { "y" };
                assert!(enabled || config.interface(other).is_some(), "{kind:?} {}={value}", doc.key);
                tried += 1;
            }
        }
    }
    assert!(tried > 150, "{tried}");
}

#[test]
fn a_password_or_pin_is_in_no_message_and_no_debug_form() {
    let lines = "TYPE=GSM\nDEVICE=/dev/ttyUSB0\nAPN=i\nUSERNAME=u\nPIN=hunter2\nPASSWORD='xyzzy\u{1}'\n";
    let (config, found) = parse(&tree(FileKind::Profile, "", lines));
    let all = format!("{config:?} {found:?} {}", found.iter().map(ToString::to_string).collect::<String>());
    assert!(!all.contains("hunter2") && !all.contains("xyzzy"), "{all}");
    let lines = "TYPE=GSM\nDEVICE=/dev/ttyUSB0\nAPN=i\nUSERNAME=u\nPIN=4711\nPASSWORD=xyzzy\n";
    let (config, _) = parse(&tree(FileKind::Profile, "", lines));
    let link = config.links.iter().find(|l| l.name == "x").unwrap();
    let Method::Modem { pin: Some(pin), login: Some(login), .. } = &link.method else { panic!("{link:?}") };
    assert_eq!((pin.reveal(), login.password.reveal()), ("4711", "xyzzy"));
    assert!(!format!("{config:?}").contains("4711") && !format!("{config:?}").contains("xyzzy"));
}

#[test]
fn the_primary_is_what_ipfires_own_files_and_the_device_say() {
    let read = |ethernet: &str, ppp: &str, qmi: bool| {
        let mut files = tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", "");
        files.contents.insert("ethernet/settings".into(), ethernet.into());
        files.contents.insert("ppp/settings".into(), ppp.into());
        files.qmi_devices.extend(qmi.then(|| "red0".to_owned()));
        let (config, found) = parse(&files);
        let link = config.links.iter().find(|l| l.name == "red");
        link.map_or_else(
            || found[0].code.to_owned(),
            |l| format!("{} {:?} {}", l.method.word(), l.lower, l.session_device),
        )
    };
    let dialled = "RED_TYPE=PPPOE\nRED_DEV=red0\n";
    let login = "USERNAME=u\nPASSWORD=p\n";
    assert_eq!(read("RED_TYPE=DHCP\nRED_DEV=red0\n", "", false), "DHCP None red0");
    let fixed = "RED_TYPE=STATIC\nRED_DEV=red0\nRED_ADDRESS=192.0.2.2\nRED_NETMASK=255.255.255.0\nDEFAULT_GATEWAY=192.0.2.1\n";
    assert_eq!(read(fixed, "", false), "STATIC None red0");
    let green = "RED_TYPE=STATIC\nRED_DEV=green0\nGREEN_DEV=green0\nGREEN_ADDRESS=192.168.1.2\nGREEN_NETMASK=255.255.255.0\nDEFAULT_GATEWAY=192.168.1.1\n";
    assert_eq!(read(green, "", false), "STATIC None green0");
    assert_eq!(read(dialled, &format!("TYPE=pppoe\n{login}"), false), "PPPOE None ppp0");
    assert_eq!(read(dialled, &format!("TYPE=vdsl\n{login}"), false), "PPPOE Some(Vlan(7)) ppp0");
    assert_eq!(read(dialled, &format!("TYPE=pptp\nPPTP_PEER=10.0.0.138\n{login}"), false), "PPTP None ppp0");
    let atm = read(dialled, &format!("TYPE=pppoeatm\nVPI=8\nVCI=35\nENCAP=0\n{login}"), false);
    assert!(atm.starts_with("PPPOE Some(AtmBridge(") && atm.ends_with("ppp0"), "{atm}");
    assert_eq!(read(dialled, "TYPE=qmi\nAPN=i\n", false), "QMI None red0");
    assert_eq!(read(dialled, "TYPE=pppoe\nAPN=i\n", true), "QMI None red0", "a dongle is a dongle");
    assert_eq!(read(dialled, "TYPE=qmi\nAPN=i\nCONTROL=/dev/cdc-wdm1\n", true), "QMI None red0");
    for other in ["/dev/sda", "/dev/cdc-wdm/../sda", "/dev/wwan/x"] {
        assert_eq!(
            read(dialled, &format!("TYPE=qmi\nAPN=i\nCONTROL={other}\n"), true),
            "E0410",
            "root writes there"
        );
    }
    assert_eq!(read(dialled, "TYPE=modem\nCOMPORT=ttyUSB0\nAPN=i\n", false), "GSM None ppp0");
    assert_eq!(read(dialled, "TYPE=serial\nCOMPORT=ttyS0\nAPN=i\n", false), "GSM None ppp0");
    assert_eq!(read("RED_TYPE=TOKENRING\n", "", false), "E0809");
    assert_eq!(read("", "", false), "E0809");
    assert_eq!(read(dialled, "", false), "E0809");
}

#[test]
fn an_unreadable_file_is_said_and_an_empty_site_is_an_error() {
    let mut files = tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", "");
    files.contents.remove("mwan/settings");
    files.unreadable.insert("mwan/settings".into(), "Permission denied".into());
    let (config, found) = parse(&files);
    assert!(config.interfaces.is_empty());
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0814", "E0805"]);
}

proptest::proptest! {
    #[test]
    fn nothing_panics_and_everything_is_consistent(lines in proptest::collection::vec("[A-Z_]{3,12}=.{0,20}|TYPE=(DHCP|GSM|ATM)|DEVICE=[a-z/0-9]{1,8}", 0..12)) {
        let text = lines.join("\n");
        for kind in FileKind::ALL {
            let (config, _) = parse(&tree(kind, "", &text));
            for policy in &config.policies {
                for member in &policy.members {
                    proptest::prop_assert!(config.interface(&member.interface).is_some());
                }
            }
            for link in config.links.iter() {
                proptest::prop_assert!(config.interface(&link.name).is_some());
            }
        }
    }
}

#[test]
fn what_has_no_meaning_is_said() {
    let unused = |files: &Files| -> Vec<String> {
        let (_, found) = parse(files);
        let unused = found.iter().filter(|d| d.code == "W0815");
        unused
            .map(|d| format!("{} {}: {}", d.option.as_deref().unwrap_or(""), d.location.line, d.message))
            .collect()
    };
    let profile =
        "BACKUP_TYPE=DHCP\nBACKUP_DEVICE=eth1\nBACKUP_APN=internet\nBACKUP_PIN=\nBACKUP_PRIORITY=3\n";
    assert_eq!(
        unused(&tree(FileKind::Profile, "", profile)),
        ["BACKUP_APN 3: has no meaning with 'DHCP'; it is ignored"]
    );
    let settings = "MWAN_LOAD_BALANCE_METHOD=weight\nFAILOVER_THRESHOLD=3\n";
    assert_eq!(
        unused(&tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", settings)),
        ["FAILOVER_THRESHOLD 4: has no meaning with MWAN_ENABLED; it is ignored"]
    );
    // A file that is left out says why, and no more.
    assert_eq!(unused(&tree(FileKind::Profile, "", "TYPE=PPPOE\nDEVICE=eth1\nAPN=i\n")), [""; 0]);
}

#[test]
fn the_primary_is_asked_what_its_owner_names() {
    let files =
        tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", "PRIMARY_MONITOR_IP='192.0.2.9 192.0.2.10'\n");
    let (config, found) = parse(&files);
    let asked = |name: &str| -> Vec<String> {
        config.interface(name).unwrap().tracking.targets.iter().map(|t| t.ip.to_string()).collect()
    };
    assert_eq!(asked("red"), ["192.0.2.9", "192.0.2.10"], "{found:?}");
    assert_eq!(asked("x"), TARGETS);
}

/// A session must not end because another profile was added, or is spelt wrong.
#[test]
fn the_device_of_a_session_does_not_depend_on_other_profiles() {
    let login = "USERNAME=u\nPASSWORD=p\n";
    let profile = format!("TYPE=PPPOE\nDEVICE=eth2\n{login}");
    let session = |others: usize| {
        let mut files = tree(FileKind::Settings, "", "");
        files.contents.insert("mwan/profiles/gsm".into(), profile.clone().into_bytes());
        for n in 0..others {
            files.contents.insert(format!("mwan/profiles/a{n}"), profile.clone().into_bytes());
        }
        let links = parse(&files).0.links;
        let mut devices: Vec<String> = links.iter().map(|link| link.session_device.clone()).collect();
        devices.sort_unstable();
        devices.dedup();
        assert_eq!(devices.len(), links.len(), "each its own");
        assert!(!devices.iter().any(|device| device == "ppp99"));
        links.iter().find(|link| link.name == "gsm").unwrap().session_device.clone()
    };
    assert_eq!(session(0), session(1));
    assert_eq!(session(0), session(40));
    session(200);
}

#[test]
fn what_is_in_folders_of_the_other_way_is_said_once_for_each() {
    let unread = |settings: &str| -> Vec<String> {
        let mut files = tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", settings);
        files
            .contents
            .retain(|name, _| !name.starts_with("mwan/profiles") && !name.starts_with("mwan/interfaces"));
        for name in
            ["profiles/a", "interfaces/red0", "policies/p", "rules/10-a", "rules/20-b", "rules/old.bak"]
        {
            files.contents.insert(format!("mwan/{name}"), "RUBBISH\n".into());
        }
        let (_, found) = parse(&files);
        found
            .iter()
            .filter(|d| d.code == "W0816")
            .map(|d| format!("{} {}", d.location.file, d.message))
            .collect()
    };
    assert_eq!(
        unread(""),
        [
            "/var/ipfire/mwan/interfaces 1 file in mwan/interfaces, which only MWAN_ENABLED reads; ignored",
            "/var/ipfire/mwan/policies 1 file in mwan/policies, which only MWAN_ENABLED reads; ignored",
            "/var/ipfire/mwan/rules 2 files in mwan/rules, which only MWAN_ENABLED reads; ignored",
        ]
    );
    assert_eq!(
        unread("MWAN_MONITOR_INTERVAL=1\n"),
        ["/var/ipfire/mwan/profiles 1 file in mwan/profiles, which only ENABLED reads; ignored"]
    );
}

#[test]
fn a_bridge_over_atm_may_be_the_primary() {
    let read = |ethernet: &str, ppp: &str| {
        let mut files = tree(FileKind::Settings, "TYPE=DHCP\nDEVICE=eth1\n", "");
        files.contents.insert("ethernet/settings".into(), format!("RED_TYPE=ATM\n{ethernet}").into());
        files.contents.insert("ppp/settings".into(), ppp.into());
        let (config, found) = parse(&files);
        assert_eq!(found, []);
        config.links.iter().find(|l| l.name == "red").unwrap().clone()
    };
    let bridge = |interface, vpi, vci, encapsulation| {
        Some(Lower::AtmBridge(AtmBridge { interface, vpi, vci, encapsulation }))
    };
    // What IPFire's setup writes where there is no fixed address.
    let link = read(
        "RED_DEV=nas0\nRED_ADDRESS=0.0.0.0\nRED_NETMASK=0.0.0.0\nRED_DHCP_HOSTNAME=fire\n",
        "VPI=8\nVCI=35\nENCAP=1\n",
    );
    assert_eq!(link.lower, bridge(0, 8, 35, Encapsulation::VcMux));
    assert_eq!((link.method.word(), link.session_device.as_str()), ("DHCP", "nas0"));
    let fixed = "RED_DEV=nas1\nRED_ADDRESS=192.0.2.2\nRED_NETMASK=255.255.255.0\nDEFAULT_GATEWAY=192.0.2.1\n";
    let link = read(fixed, "");
    assert_eq!(link.lower, bridge(1, 1, 32, Encapsulation::Llc));
    assert_eq!((link.method.word(), link.session_device.as_str()), ("STATIC", "nas1"));
    // A session over it.
    let link = read("RED_DEV=nas0\n", "TYPE=pppoeatm\nVPI=8\nVCI=35\nUSERNAME=u\nPASSWORD=p\n");
    assert_eq!((link.method.word(), link.session_device.as_str()), ("PPPOE", "ppp0"));
}

/// The document's type of a RED that is several.
#[test]
fn with_the_type_mwan_every_red_is_one_of_ours() {
    let reds = |red0: bool, settings: &str| {
        let mut files = tree(FileKind::Interface, "TYPE=DHCP\nDEVICE=eth1\n", "");
        files.contents.insert("ethernet/settings".into(), "RED_TYPE=MWAN\nRED_DEV=red0\n".into());
        files.contents.insert("mwan/settings".into(), settings.into());
        if !red0 {
            files.contents.remove("mwan/interfaces/red0");
        }
        let (config, found) = parse(&files);
        let names: Vec<String> = config.links.iter().map(|l| l.name.clone()).collect();
        let said = found.iter().filter(|d| d.code == "E0809");
        (names, config.site.as_ref().unwrap().primary.clone(), said.cloned().collect::<Vec<_>>())
    };
    let several = "MWAN_ENABLED=on\nMWAN_INTERFACE_COUNT=2\n";
    assert_eq!(reds(true, several), (vec!["red0".to_owned(), "red1".to_owned()], String::new(), Vec::new()));
    for (settings, hint) in [(several, "mwan/interfaces/red0"), ("ENABLED=on\n", "MWAN_ENABLED=on")] {
        let (_, _, said) = reds(false, settings);
        assert!(said.len() == 1 && said[0].hint.as_deref().unwrap().contains(hint), "{said:?}");
    }
}
