//! `/etc/config/network` as the core takes it, where ubus is absent: devices and metrics by what netifd would do. Whether an
//! interface is up is then for the kernel to say.

use mwan_config::Gather;
use std::collections::BTreeMap;

use mwan_config::Severity;
use mwan_config::uci::{self, Section};
use mwan_core::{LogicalInterface, PlatformView};

/// Aliases of aliases: netifd takes more, nobody writes them.
const ALIAS_DEPTH_MAX: usize = 8;

/// Protocols whose device is made anew and named after the interface (netifd-proto scripts).
const TUNNELS: [(&str, &str); 12] = [
    ("pppoe", "pppoe-"),
    ("pppoa", "pppoa-"),
    ("pptp", "pptp-"),
    ("l2tp", "l2tp-"),
    ("3g", "3g-"),
    ("ppp", "ppp-"),
    ("6in4", "6in4-"),
    ("6to4", "6to4-"),
    ("6rd", "6rd-"),
    ("dslite", "ds-"),
    ("464xlat", "464-"),
    ("map", "map-"),
];
/// Protocols whose device has the name of the interface.
const NAMESAKES: [&str; 5] = ["wireguard", "wireguard_vxlan", "openconnect", "xfrm", "vpnc"];

/// The interfaces of a `network` file as far as they can be read, and what keeps it from being believed: a line that is none,
/// or that there is no interface at all, as in a file that is just being written or was cut short.
pub(super) fn view(file: &str, bytes: &[u8]) -> (PlatformView, Option<String>) {
    let (sections, found) = uci::parse(file, bytes);
    let error = found.iter().find(|d| d.severity == Severity::Error).map(ToString::to_string);
    let none = sections.iter().all(|s| s.kind != "interface");
    let doubt = error.or_else(|| none.then(|| format!("{file}: it has no interface section")));
    (read(&sections), doubt)
}

fn read(sections: &[Section]) -> PlatformView {
    let off = |s: &&Section| {
        !["1", "yes", "on", "true", "enabled"].contains(&option(s, "disabled").unwrap_or_default())
    };
    let interfaces = sections.iter().filter(|s| s.kind == "interface").filter(off);
    let named: BTreeMap<&str, &Section> = interfaces.filter_map(|s| Some((s.name.as_deref()?, s))).gather();
    let one = |(name, section): (&&str, &&Section)| {
        let device = device(&named, name, section, ALIAS_DEPTH_MAX);
        let gateways = ["gateway", "ip6gw"].into_iter().filter_map(|o| option(section, o)?.parse().ok());
        let interface = LogicalInterface {
            up: true,
            device: device.clone(),
            lower_device: device,
            proto: option(section, "proto").unwrap_or_default().to_owned(),
            metric: option(section, "metric").and_then(|m| m.parse().ok()).unwrap_or(0),
            gateways: gateways.collect(),
            dns: values(section, "dns")
                .flat_map(str::split_whitespace)
                .filter_map(|ip| ip.parse().ok())
                .collect(),
            ..LogicalInterface::default()
        };
        ((*name).to_owned(), interface)
    };
    PlatformView { interfaces: named.iter().map(one).gather() }
}

/// The device packets of an interface leave by.
fn device(named: &BTreeMap<&str, &Section>, name: &str, section: &Section, depth: usize) -> Option<String> {
    let proto = option(section, "proto").unwrap_or_default();
    if let Some((_, prefix)) = TUNNELS.iter().find(|(p, _)| *p == proto) {
        return Some(format!("{prefix}{name}"));
    }
    if NAMESAKES.contains(&proto) {
        return Some(name.to_owned());
    }
    // Before 21.02 bridges were a type of interface.
    if option(section, "type") == Some("bridge") {
        return Some(format!("br-{name}"));
    }
    let device = option(section, "device").or_else(|| option(section, "ifname"))?;
    let first = device.split_whitespace().next()?;
    match first.strip_prefix('@') {
        None => Some(first.to_owned()),
        Some(other) => device_of(named, other, depth),
    }
}

/// An alias shares the device of another interface.
fn device_of(named: &BTreeMap<&str, &Section>, other: &str, depth: usize) -> Option<String> {
    let (name, section) = named.get_key_value(other)?;
    device(named, name, section, depth.checked_sub(1)?)
}

/// The last value of an option counts.
fn option<'a>(section: &'a Section, name: &str) -> Option<&'a str> {
    values(section, name).last().filter(|value| !value.is_empty())
}

fn values<'a>(section: &'a Section, name: &str) -> impl Iterator<Item = &'a str> {
    section.entries.iter().filter(move |e| e.name == name).map(|e| e.value.as_str())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "
config interface 'loopback'
	option device 'lo'
	option proto 'static'

config device
	option name 'br-lan'
	option type 'bridge'
	list ports 'lan1'

config interface 'lan'
	option device 'br-lan'
	option proto 'static'

config interface 'wan'
	option device 'eth1'
	option proto 'dhcp'
	option metric '10'

config interface 'wan6'
	option device '@wan'
	option proto 'dhcpv6'

config interface 'dsl'
	option device 'eth2.7'
	option proto 'pppoe'

config interface 'dsl6'
	option device '@dsl'
	option proto 'dhcpv6'

config interface 'old'
	option ifname 'eth3 eth4'
	option type 'bridge'

config interface 'fixed'
	option ifname 'eth5'
	option proto 'static'
	option gateway '192.0.2.1'
	list dns '192.0.2.53'

config interface 'wg'
	option proto 'wireguard'

config interface 'off'
	option device 'eth6'
	option disabled '1'

config interface 'round'
	option device '@about'

config interface 'about'
	option device '@round'
";

    #[test]
    fn devices_are_those_netifd_makes() {
        let (view, doubt) = view("network", FILE.as_bytes());
        assert_eq!(doubt, None);
        let device = |name: &str| view.interfaces.get(name).map(|i| i.device.clone().unwrap_or_default());
        for (name, expected) in [
            ("lan", "br-lan"),
            ("wan", "eth1"),
            ("wan6", "eth1"),
            ("dsl", "pppoe-dsl"),
            ("dsl6", "pppoe-dsl"),
            ("old", "br-old"),
            ("fixed", "eth5"),
            ("wg", "wg"),
            ("round", ""),
        ] {
            assert_eq!(device(name).as_deref(), Some(expected), "{name}");
        }
        assert_eq!(device("off"), None);
        assert_eq!(view.interfaces["wan"].metric, 10);
        assert_eq!(view.interfaces["fixed"].gateways, ["192.0.2.1".parse::<std::net::IpAddr>().unwrap()]);
        assert_eq!(view.interfaces["fixed"].dns.len(), 1);
    }

    /// netifd's own words: a type may have a hyphen.
    #[test]
    fn damaged_files_give_what_can_be_read_and_are_not_believed() {
        let good = "config interface 'wan'\n option device 'eth1'\nconfig bridge-vlan\n option vlan '1'\n";
        let (found, doubt) = view("network", good.as_bytes());
        assert_eq!((found.interfaces.len(), doubt), (1, None));
        let bad = [good.as_bytes(), b"nonsense\n\xff\xfe\nconfig interface\n"].concat();
        let (found, doubt) = view("network", &bad);
        assert_eq!(found.interfaces.len(), 1);
        assert!(doubt.is_some_and(|text| text.contains("network:5")));
        for empty in [&b""[..], b"# nothing\n", b"config device\n option name 'br-lan'\n"] {
            let (found, doubt) = view("network", empty);
            assert!(found.interfaces.is_empty());
            assert!(doubt.is_some_and(|text| text.contains("no interface section")));
        }
    }
}
