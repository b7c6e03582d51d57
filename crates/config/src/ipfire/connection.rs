//! A profile, an interface file or IPFire's own settings → [`Link`].

use std::net::IpAddr;

use ipnet::IpNet;

use super::hash::Hash;
use crate::codes;
use crate::link::{AtmBridge, Auth, Encapsulation, Link, Login, Lower, Method, Secret};
use crate::report::{Problem, or_list, show};
use crate::suggest::nearest;
use crate::values;

/// The words of `TYPE`, with what they mean and what lies below.
const TYPES: &[(&str, Type)] = &[
    ("STATIC", Type::Static),
    ("DHCP", Type::Dhcp),
    ("PPPOE", Type::Pppoe),
    ("VDSL", Type::Vdsl),
    ("PPTP", Type::Pptp),
    ("ATM", Type::Atm),
    ("PPPOEATM", Type::PppoeAtm),
    ("PPTPATM", Type::PptpAtm),
    ("GSM", Type::Gsm),
    ("3G", Type::Gsm),
    ("MODEM", Type::Gsm),
    ("QMI", Type::Qmi),
];

/// `TYPE`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Type {
    Static,
    Dhcp,
    Pppoe,
    Vdsl,
    Pptp,
    Atm,
    PppoeAtm,
    PptpAtm,
    Gsm,
    Qmi,
}

impl Type {
    fn over_atm(self) -> bool {
        matches!(self, Type::Atm | Type::PppoeAtm | Type::PptpAtm)
    }

    fn word(self) -> &'static str {
        TYPES.iter().find(|(_, t)| *t == self).map_or("", |(word, _)| word)
    }
}

pub(super) fn type_of(text: &str) -> Result<Type, Problem> {
    if let Some((_, found)) = TYPES.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)) {
        return Ok(*found);
    }
    let words = || TYPES.iter().map(|(word, _)| *word);
    let problem = Problem::new(codes::HASH_TYPE, format!("{} is not {}", show(text), or_list(words())));
    Err(match nearest(&text.to_ascii_uppercase(), words()) {
        Some(word) => problem.hint(format!("did you mean '{word}'?")),
        None => problem,
    })
}

/// Reads a connection; `None` if the file is left out, which has been said then. `session` is the device of a session that
/// makes one of its own.
pub(super) fn read(
    hash: &mut Hash,
    kind: Type,
    device: Option<String>,
    name: &str,
    session: &str,
) -> Option<Link> {
    let device = match device {
        Some(device) => Some(device),
        None if kind == Type::Gsm => hash.need("DEVICE", kind.word(), line_device),
        // The bridge is made on an ATM interface, not on a network device.
        None if kind.over_atm() => Some(String::new()),
        None => hash.need("DEVICE", kind.word(), network_device),
    };
    let lower = lower(hash, kind);
    let method = method(hash, kind);
    let mtu = hash.get("MTU", |t| values::number(t, 68, 65_535));
    let mac = hash.get("MAC", hardware_address);
    let (device, method) = (device?, method?);
    if hash.left_out {
        return None;
    }
    let base = match &lower {
        Some(Lower::Vlan(id)) => format!("{device}.{id}"),
        Some(Lower::AtmBridge(bridge)) => format!("nas{}", bridge.interface),
        None => device.clone(),
    };
    if let Err(problem) =
        values::device(&base).map(|_| ()).or_else(|p| if kind == Type::Gsm { Ok(()) } else { Err(p) })
    {
        hash.refuse("DEVICE", problem);
        return None;
    }
    let session_device = if method.makes_a_device() { session.to_owned() } else { base };
    let on_demand = !matches!(method, Method::Static { .. } | Method::Dhcp { .. });
    Some(Link { name: name.to_owned(), device, lower, method, session_device, on_demand, mtu, mac })
}

fn lower(hash: &mut Hash, kind: Type) -> Option<Lower> {
    if kind.over_atm() {
        let bridge = AtmBridge {
            interface: small(hash.get("ATM_DEV", |t| values::number(t, 0, 255)).unwrap_or(0)),
            vpi: small(hash.get("VPI", |t| values::number(t, 0, 255)).unwrap_or(1)),
            vci: hash
                .get("VCI", |t| values::number(t, 32, 65_535))
                .and_then(|n| u16::try_from(n).ok())
                .unwrap_or(32),
            encapsulation: hash
                .get("ENCAP", |t| values::word(t, &[("0", Encapsulation::Llc), ("1", Encapsulation::VcMux)]))
                .unwrap_or(Encapsulation::Llc),
        };
        return Some(Lower::AtmBridge(bridge));
    }
    let vlan = hash.must("VLAN", |t| values::number(t, 1, 4094)).and_then(|id| u16::try_from(id).ok());
    // What Deutsche Telekom uses, and IPFire's own script for VDSL.
    let default = (kind == Type::Vdsl).then_some(7);
    vlan.or(default).map(Lower::Vlan)
}

fn small(number: u32) -> u8 {
    u8::try_from(number).unwrap_or(u8::MAX)
}

fn method(hash: &mut Hash, kind: Type) -> Option<Method> {
    let word = kind.word();
    Some(match kind {
        Type::Static => statics(hash, word)?,
        Type::Atm if hash.has("ADDRESS") => statics(hash, word)?,
        Type::Dhcp | Type::Atm => {
            if hash.has("ADDRESS") {
                let message = "an address has no meaning with DHCP; it is ignored";
                hash.say("ADDRESS", Problem::new(codes::HASH_KEY, message));
            }
            Method::Dhcp { hostname: hash.get("HOSTNAME", host_name) }
        }
        Type::Pppoe | Type::Vdsl | Type::PppoeAtm => Method::Pppoe {
            service: hash.must("SERVICENAME", plain),
            concentrator: hash.must("CONCENTRATORNAME", plain),
            login: login(hash, word, true)?,
        },
        Type::Pptp | Type::PptpAtm => Method::Pptp {
            server: hash.need("SERVER", word, values::host)?,
            address: pptp_address(hash),
            via: hash.must("GATEWAY", values::host),
            login: login(hash, word, true)?,
        },
        Type::Gsm => Method::Modem {
            speed: hash.get("SPEED", |t| values::number(t, 300, 4_000_000)).unwrap_or(115_200),
            apn: hash.need("APN", word, access_point)?,
            number: hash.must("NUMBER", number).unwrap_or_else(|| "*99#".to_owned()),
            pin: hash.must("PIN", pin),
            login: login(hash, word, false),
        },
        Type::Qmi => Method::Qmi {
            control: hash.must("CONTROL", if hash.is_ours() { line_device } else { modem_device }),
            apn: hash.need("APN", word, access_point)?,
            pin: hash.must("PIN", pin),
            login: login(hash, word, false),
        },
    })
}

fn statics(hash: &mut Hash, word: &str) -> Option<Method> {
    let mask = hash.must("NETMASK", mask_length);
    if hash.left_out {
        return None;
    }
    let address = hash.need("ADDRESS", word, |t| address(t, mask))?;
    let gateway = hash.need("GATEWAY", word, values::host)?;
    if gateway.is_ipv4() != address.addr().is_ipv4() {
        let message = format!("{gateway} is not of the family of {}", address.addr());
        hash.refuse("GATEWAY", Problem::new(codes::ADDRESS, message));
        return None;
    }
    Some(Method::Static { addresses: vec![address], gateways: vec![gateway], dns: dns(hash) })
}

fn dns(hash: &mut Hash) -> Vec<IpAddr> {
    ["DNS1", "DNS2"].into_iter().filter_map(|key| hash.get(key, values::host)).collect()
}

fn pptp_address(hash: &mut Hash) -> Option<IpNet> {
    if hash.text("ADDRESS").is_some_and(|t| t.eq_ignore_ascii_case("dhcp")) {
        return None;
    }
    let mask = hash.must("NETMASK", mask_length);
    hash.must("ADDRESS", |t| address(t, mask))
}

fn login(hash: &mut Hash, word: &str, needed: bool) -> Option<Login> {
    if !needed && !hash.has("USERNAME") {
        return None;
    }
    let auths = [("pap-or-chap", Auth::Any), ("pap", Auth::Pap), ("chap", Auth::Chap)];
    let auth = hash.get("AUTH", |t| values::word(t, &auths)).unwrap_or_default();
    let user = hash.need("USERNAME", word, plain)?;
    // A value that cannot be a password must not be shown either: `must` is told nothing of it.
    let password = hash.must("PASSWORD", |t| {
        plain(t).map_err(|_| {
            Problem::new(codes::HASH_SECRET, "not a password: a line break or control character")
        })
    });
    Some(Login { user, password: Secret::new(password.unwrap_or_default()), auth })
}

/// `ADDRESS/LENGTH`, `ADDRESS/MASK`, or an address with the mask beside it.
fn address(text: &str, mask: Option<u8>) -> Result<IpNet, Problem> {
    let (ip, length) = match (text.split_once('/'), mask) {
        (Some((ip, length)), _) => (ip, mask_length(length)?),
        (None, Some(length)) => (text, length),
        (None, None) => {
            let message = format!("{} has no network mask", show(text));
            return Err(Problem::new(codes::ADDRESS, message).hint("give NETMASK, or write ADDRESS/LENGTH"));
        }
    };
    let ip = values::host(ip.trim())?;
    IpNet::new(ip, length).map_err(|_| bad_mask(&length.to_string()))
}

/// `24` or `255.255.255.0`.
fn mask_length(text: &str) -> Result<u8, Problem> {
    let text = text.trim();
    match text.parse::<IpAddr>() {
        Ok(mask) => ipnet::ip_mask_to_prefix(mask).map_err(|_| bad_mask(text)),
        Err(_) => values::number(text, 0, 128).map(small).map_err(|_| bad_mask(text)),
    }
}

fn bad_mask(text: &str) -> Problem {
    Problem::new(codes::ADDRESS, format!("{} is not a network mask", show(text)))
}

/// A device that programs are given as an argument, where a leading hyphen would make an option of it.
fn network_device(text: &str) -> Result<String, Problem> {
    if text.starts_with('-') {
        return Err(Problem::new(codes::DEVICE, format!("{} is not a device name", show(text))));
    }
    values::device(text)
}

/// RFC 952 and RFC 1123, section 2.1.
fn host_name(text: &str) -> Result<String, Problem> {
    if text.starts_with('-') {
        return Err(Problem::new(codes::SET_NAME, format!("{} is not a valid name", show(text))));
    }
    values::foreign_name(text, 63)
}

/// Text that stands in a file of one line a value.
fn plain(text: &str) -> Result<String, Problem> {
    if text.len() <= 255 && !text.chars().any(char::is_control) {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(codes::WORD, format!("{} is too long or has control characters", show(text))))
    }
}

/// 3GPP TS 23.003, section 9.1: labels of letters, digits and hyphens; some networks have underscores.
fn access_point(text: &str) -> Result<String, Problem> {
    let good = (1..=100).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(codes::WORD, format!("{} is not the name of an access point", show(text))))
    }
}

/// What a modem can dial (ITU-T V.250, section 6.3.1).
fn number(text: &str) -> Result<String, Problem> {
    let good = (1..=40).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_digit() || b"*#+,ABCDTPW".contains(&b));
    if good {
        Ok(text.to_owned())
    } else {
        Err(Problem::new(codes::WORD, format!("{} cannot be dialled", show(text))))
    }
}

/// 3GPP TS 31.101: four to eight digits. A wrong one is never shown.
fn pin(text: &str) -> Result<Secret, Problem> {
    if (4..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit()) {
        Ok(Secret::new(text))
    } else {
        Err(Problem::new(codes::HASH_SECRET, "not a PIN: it has four to eight digits"))
    }
}

/// A character device.
fn line_device(text: &str) -> Result<String, Problem> {
    let name = text.strip_prefix("/dev/").unwrap_or(text);
    let good = (1..=64).contains(&name.len())
        && !name.starts_with('-')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/:".contains(&b))
        && !name.split('/').any(|part| matches!(part, "" | "." | ".."));
    if good {
        Ok(format!("/dev/{name}"))
    } else {
        Err(Problem::new(codes::DEVICE, format!("{} is not a device in /dev", show(text))))
    }
}

/// What the kernel calls control devices of modems (drivers/usb/class/cdc-wdm.c, drivers/net/wwan). IPFire's own file belongs to
/// the web server's user, who must not say into which other device root writes.
fn modem_device(text: &str) -> Result<String, Problem> {
    let device = line_device(text)?;
    let known = ["/dev/cdc-wdm", "/dev/wwan"].iter().any(|start| device.starts_with(start))
        && !device[5..].contains('/');
    let unknown =
        || Problem::new(codes::DEVICE, format!("{} is not a control device of a modem", show(text)));
    known.then_some(device).ok_or_else(unknown)
}

/// `02:00:00:00:00:01`; IPFire writes hyphens too.
fn hardware_address(text: &str) -> Result<String, Problem> {
    let text = text.replace('-', ":").to_ascii_lowercase();
    let parts: Vec<&str> = text.split(':').collect();
    let good =
        parts.len() == 6 && parts.iter().all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    if good && !text.starts_with("ff:") {
        Ok(text)
    } else {
        Err(Problem::new(codes::DEVICE, format!("{} is not a hardware address", show(&text))))
    }
}
