//! How each kind of connection is made, by the platform's own programs.

mod ppp;

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use ipnet::IpNet;
use mwan_config::link::{AtmBridge, Encapsulation, Link, Lower, Method, Secret};

use crate::outcome::Established;
use crate::plan::{Plan, Ready, Step};
use crate::qmi::{PROFILE, Setup};

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// To carry traffic.
    Carry,
    /// To see whether it would, beside the one that carries: temporary.
    Trial,
}

/// What a platform has, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Places {
    /// A folder of our own that only root can enter; absolute, without spaces or quotes.
    pub run_dir: String,
    /// `chat`, absolute: `pppd` hands it to a shell, with words of ours only.
    pub chat: String,
    /// `pptp`, absolute, for the same reason.
    pub pptp: String,
    /// The client there is.
    pub dhcp: Dhcp,
}

/// A DHCP client.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dhcp {
    /// `dhcpcd`, as on IPFire: sets addresses itself.
    Dhcpcd,
    /// busybox's `udhcpc`, which leaves that to a program.
    Udhcpc {
        /// Called with an event, and its variables in the environment: see [`crate::Lease`]. Or, to take a lease back that it left,
        /// with `deconfig` and the device. Absolute.
        script: String,
    },
}

/// The session on trial, which must not be taken for any other.
const TRIAL_DEVICE: &str = "ppp99";
/// Routes of ours stay behind every other in the main table: which WAN is used is not decided there.
const LEASE_METRIC: &str = "20000";

/// libqmi's words for a call that is established (src/qmicli/qmicli-wds.c).
pub(crate) const QMI_STARTED: &str = "Network started";

/// How `link` is brought up for `role`.
pub fn plan(link: &Link, role: Role, places: &Places) -> Plan {
    let mut plan = Plan {
        up: Vec::new(),
        down: Vec::new(),
        ready: Ready::Address { device: session_device(link, role) },
        limit: Duration::from_secs(30),
        report: None,
        unlock: Vec::new(),
        then: Vec::new(),
    };
    let base = lower(link, &mut plan);
    match &link.method {
        Method::Static { addresses, gateways, .. } => statics(&mut plan, &base, addresses, gateways),
        Method::Dhcp { hostname } => lease(&mut plan, link, &base, hostname.as_deref(), places),
        Method::Pppoe { .. } => ppp::pppoe(&mut plan, link, role, &base, places),
        Method::Pptp { server, address, via, .. } => {
            let hop = ppp::Hop { server: *server, address: *address, via: *via };
            ppp::pptp(&mut plan, link, role, &base, &hop, places);
        }
        Method::Modem { .. } => ppp::modem(&mut plan, link, role, places),
        Method::Qmi { .. } => qmi(&mut plan, link),
    }
    plan
}

/// The device packets leave by.
fn session_device(link: &Link, role: Role) -> String {
    if role == Role::Trial && link.method.makes_a_device() {
        TRIAL_DEVICE.to_owned()
    } else {
        link.session_device.clone()
    }
}

/// What lies below the connection; the device it is built on.
fn lower(link: &Link, plan: &mut Plan) -> String {
    let device = link.device.as_str();
    let name = match &link.lower {
        None if device.starts_with('/') => return device.to_owned(),
        None => device.to_owned(),
        Some(Lower::Vlan(id)) => {
            let name = format!("{device}.{id}");
            plan.up.push(Step::run(&["ip", "link", "set", "dev", device, "up"]));
            // It may be there already: IPFire's own, or that of a session before this one.
            let id = id.to_string();
            let add = ["ip", "link", "add", "link", device, "name", &name, "type", "vlan", "id", &id];
            plan.up.push(Step::make(&add, &["ip", "link", "del", "dev", &name]));
            name
        }
        Some(Lower::AtmBridge(bridge)) => atm(bridge, plan),
    };
    if let Some(mac) = &link.mac {
        plan.up.push(Step::run(&["ip", "link", "set", "dev", &name, "address", mac]));
    }
    if let Some(mtu) = link.mtu.filter(|_| !link.method.makes_a_device()) {
        plan.up.push(Step::run(&["ip", "link", "set", "dev", &name, "mtu", &mtu.to_string()]));
    }
    plan.up.push(Step::run(&["ip", "link", "set", "dev", &name, "up"]));
    name
}

/// RFC 2684 by `br2684ctl`, which leaves a daemon that ends with the kernel's socket.
fn atm(bridge: &AtmBridge, plan: &mut Plan) -> String {
    let (interface, name) = (bridge.interface.to_string(), format!("nas{}", bridge.interface));
    let encapsulation = match bridge.encapsulation {
        Encapsulation::Llc => "0",
        Encapsulation::VcMux => "1",
    };
    let circuit = format!("{}.{}.{}", bridge.interface, bridge.vpi, bridge.vci);
    plan.up.push(Step::spawn(&["br2684ctl", "-c", &interface, "-e", encapsulation, "-a", &circuit]));
    // It makes the device, and gives it the hardware address of the card when the circuit is open.
    plan.up.push(Step::Await { device: name.clone() });
    name
}

fn statics(plan: &mut Plan, device: &str, addresses: &[IpNet], gateways: &[IpAddr]) {
    for address in addresses {
        let address = address.to_string();
        plan.up.push(own_address(&address, device));
    }
    for gateway in gateways {
        let gateway = gateway.to_string();
        let route = |verb| last_route(verb, device, Some(&gateway));
        plan.up.push(Step::make(&route("append"), &route("del")));
    }
    plan.limit = Duration::from_secs(10);
}

/// A default route in the main table, behind every other. Which WAN is used is not decided there, but a packet of the machine's own
/// needs one to get as far as our marks: without any, connect(2) says that the network is unreachable.
pub(crate) fn last_route<'a>(verb: &'a str, device: &'a str, gateway: Option<&'a str>) -> Vec<&'a str> {
    // Some providers' next hop is in no network of theirs.
    let via = gateway.into_iter().flat_map(|gateway| ["via", gateway, "onlink"]);
    ["ip", "route", verb, "default"]
        .into_iter()
        .chain(via)
        .chain(["dev", device, "metric", LEASE_METRIC])
        .collect()
}

/// An address that others may have given the device already.
pub(crate) fn own_address(address: &str, device: &str) -> Step {
    let words = |verb| ["ip", "address", verb, address, "dev", device];
    Step::make(&words("add"), &words("del"))
}

/// Two dhcpcds with one metric would have one default route between them: the second finds that there is one (EEXIST), and its link
/// has no next hop. So each link has a number behind ours, made of its name (FNV-1a, 24 bits of it), which is the same every time.
fn lease_metric(name: &str) -> u32 {
    let fnv1a = |sum: u32, byte: u8| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    20_001 + (name.bytes().fold(0x811c_9dc5, fnv1a) & 0x00ff_ffff)
}

fn lease(plan: &mut Plan, link: &Link, device: &str, hostname: Option<&str>, places: &Places) {
    let metric = lease_metric(&link.name).to_string();
    let mut argv: Vec<&str> = match &places.dhcp {
        // -B stays; -c: no script, which on IPFire would take this lease for RED's own.
        Dhcp::Dhcpcd => vec!["dhcpcd", "-B", "-4", "-q", "--noipv4ll", "-c", "/bin/true", "-m", &metric],
        // -f stays, -R gives the lease back at the end; -n would end it, the limit is ours.
        Dhcp::Udhcpc { script } => {
            vec!["udhcpc", "-f", "-R", "-S", "-t", "5", "-A", "5", "-s", script, "-i", device]
        }
    };
    let mtu = link.mtu.map(|mtu| format!("mtu={mtu}"));
    let named = hostname.map(|name| format!("hostname:{name}"));
    match (&places.dhcp, hostname) {
        (Dhcp::Dhcpcd, name) => {
            argv.extend(name.into_iter().flat_map(|name| ["-h", name]));
            argv.extend(mtu.as_deref().into_iter().flat_map(|mtu| ["-S", mtu]));
            argv.push(device);
            // Says what the lease has besides the address, in the log.
            plan.then.push(Step::attempt(&["dhcpcd", "-4", "-U", device]));
        }
        (Dhcp::Udhcpc { script }, _) => {
            argv.extend(named.as_deref().into_iter().flat_map(|name| ["-x", name]));
            // Where it was killed it took nothing back.
            plan.down.push(Step::attempt(&[script, "deconfig", device]));
        }
    }
    plan.up.push(Step::spawn(&argv));
}

/// A network device in raw IP mode; the addresses come from the modem, see [`qmi_settings`].
fn qmi(plan: &mut Plan, link: &Link) {
    let Method::Qmi { control, apn, pin, login } = &link.method else { return };
    let device = link.device.as_str();
    let control = control.as_deref().unwrap_or("/dev/cdc-wdm0");
    let raw = format!("/sys/class/net/{device}/qmi/raw_ip");
    // The mode can only be changed while the device is down.
    plan.up.insert(0, Step::run(&["ip", "link", "set", "dev", device, "down"]));
    plan.up.insert(1, Step::Set { path: raw, value: "Y" });
    plan.limit = Duration::from_secs(60);
    if pin.is_some() || login.is_some() {
        let profile = login.clone().map(|login| (apn.clone(), login));
        plan.up.push(Step::Qmi { control: control.to_owned(), setup: Setup { pin: pin.clone(), profile } });
        // A SIM takes its time to start, and to try a PIN.
        plan.limit += Duration::from_secs(60);
    }
    let opened = ["qmicli", "--device", control, "--device-open-proxy"];
    // It stays as long as the call does, and ends the call when it is asked to end: no client of the modem's, of which there are
    // few, is left allocated.
    let start = match login {
        // Access point and login are in the modem's profile then.
        Some(_) => format!("--wds-start-network=3gpp-profile={PROFILE},ip-type=4"),
        None => format!("--wds-start-network=apn={apn},ip-type=4"),
    };
    plan.up.push(Step::spawn(&[&opened[..], &[&start, "--wds-follow-network"]].concat()));
    // Where it was killed, the call is still up.
    plan.down.push(Step::attempt(&[&opened[..], &["--wds-reset"]].concat()));
    plan.down.push(Step::attempt(&["ip", "address", "flush", "dev", device]));
    let ask = opened.into_iter().chain(["--wds-get-current-settings"]).map(str::to_owned).collect();
    plan.ready = Ready::Qmi { device: device.to_owned(), ask };
}

/// Whether `qmicli --wds-start-network` has said that the call is established.
pub fn qmi_started(output: &str) -> bool {
    output.contains(QMI_STARTED)
}

/// What `qmicli --wds-get-current-settings` said: the steps that give the device its address, and the connection.
/// `None` if there is no address in it. `has`: the addresses it has; one that it keeps is not touched.
pub fn qmi_settings(device: &str, output: &str, has: &[IpNet]) -> Option<(Vec<Step>, Established)> {
    let value = |name: &str| {
        // The last word counts.
        let line = output.lines().rev().find_map(|line| line.trim().strip_prefix(name))?;
        Some(line.trim_start().strip_prefix(':')?.trim().to_owned())
    };
    let address: Ipv4Addr = value("IPv4 address")?.parse().ok()?;
    let mask: IpAddr = value("IPv4 subnet mask")?.parse().ok()?;
    let net = IpNet::new(address.into(), ipnet::ip_mask_to_prefix(mask).ok()?).ok()?;
    let gateway: Option<IpAddr> = value("IPv4 gateway address").and_then(|text| text.parse().ok());
    let dns = ["IPv4 primary DNS", "IPv4 secondary DNS"].into_iter();
    let dns = dns.filter_map(|name| value(name)?.parse().ok()).collect();
    let mut steps = Vec::new();
    if let Some(mtu) =
        value("MTU").and_then(|text| text.parse::<u32>().ok()).filter(|mtu| (68..=65_535).contains(mtu))
    {
        steps.push(Step::run(&["ip", "link", "set", "dev", device, "mtu", &mtu.to_string()]));
    }
    let replace = Step::run(&["ip", "address", "replace", &net.to_string(), "dev", device]);
    let others: Vec<String> = has
        .iter()
        .filter(|other| **other != net && other.addr().is_ipv4())
        .map(ToString::to_string)
        .collect();
    // The new one first: the device is never without.
    steps.extend((!has.contains(&net)).then(|| replace.clone()));
    steps.extend(others.iter().map(|other| Step::attempt(&["ip", "address", "del", other, "dev", device])));
    // One of the same network was secondary to the old one, and has gone with it.
    steps.extend((!others.is_empty()).then_some(replace));
    let via = gateway.map(|gateway| gateway.to_string());
    steps.push(Step::attempt(&last_route("append", device, via.as_deref())));
    let gateways = gateway.into_iter().collect();
    Some((steps, Established { device: device.to_owned(), gateways, peer: None, dns }))
}

/// A file of ours for a link: `RUN_DIR/NAME.WORD`.
fn file(places: &Places, link: &Link, role: Role, word: &str) -> String {
    let role = if role == Role::Trial { ".trial" } else { "" };
    format!("{}/{}{role}.{word}", places.run_dir, link.name)
}

fn write(path: &str, content: String) -> Step {
    Step::Write { path: path.to_owned(), content: Secret::new(content) }
}

#[cfg(test)]
mod tests;
