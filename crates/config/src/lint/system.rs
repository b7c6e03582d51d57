//! A configuration and the machine it is for.

use std::net::IpAddr;

use super::facts::{Device, Facts};
use super::tracking::{holds, is_private};
use super::{Lints, enabled, list};
use crate::codes;
use crate::model::{Config, Family, Interface, Location, Masquerade};
use crate::report::{Problem, show};

/// Connections are dropped when the table is full; from here on the owner should know.
const CONNTRACK_PERCENT: i64 = 90;

pub(super) fn judge(config: &Config, facts: &Facts, lints: &mut Lints) {
    let Some(first) = enabled(config).next() else { return };
    let whole = Location { line: 0, ..first.location.clone() };
    let site = Site { config, facts, whole };
    site.marks(lints);
    site.forwarding(lints);
    site.conntrack(lints);
    for interface in enabled(config) {
        site.device(interface, lints);
        site.targets(interface, lints);
    }
    site.same_ports(lints);
    site.inputs(lints);
    if facts.offload_wanted && facts.flowtables.is_empty() {
        let message = "/etc/config/firewall asks for flow_offloading: packets of established connections will go past all rules";
        site.say(lints, Problem::new(codes::OFFLOAD, message));
    }
    if facts.legacy_rules {
        let message = "the old iptables has rules here: their marks and translation have not been looked at";
        site.say(lints, Problem::new(codes::LEGACY, message));
    }
}

struct Site<'a> {
    config: &'a Config,
    facts: &'a Facts,
    /// The configuration as a whole.
    whole: Location,
}

impl<'a> Site<'a> {
    fn say(&self, lints: &mut Lints, problem: Problem) {
        lints.add(&self.whole, String::new(), None, problem);
    }

    fn device_name(&self, interface: &'a Interface) -> &'a str {
        let known = self.facts.device_of.get(&interface.name).or(interface.device.as_ref());
        known.map_or(interface.name.as_str(), String::as_str)
    }

    /// Devices that are no WAN, with the addresses of a family that others reach them by.
    fn inside(&self, family: Family) -> impl Iterator<Item = (&'a String, IpAddr)> {
        let wans: Vec<&str> = enabled(self.config).map(|i| self.device_name(i)).collect();
        let others = self.facts.devices.iter().filter(move |d| d.up && !wans.contains(&d.name.as_str()));
        others.flat_map(move |device| {
            // An address without a network has nothing behind it: that of a VPN's client.
            let networks = device.addresses.iter().filter(|(_, network)| network.first < network.last);
            let addresses = networks.map(|(ip, _)| *ip);
            let reached = addresses.filter(move |ip| Family::of(*ip) == family && !is_of_one_link(*ip));
            reached.map(move |ip| (&device.name, ip))
        })
    }

    fn marks(&self, lints: &mut Lints) {
        let mask = self.config.globals.mask;
        let mut say = |message: String| {
            self.say(lints, Problem::new(codes::MARKS, message).hint("choose another mmx_mask"));
        };
        let mut rules: Vec<((u32, bool), Vec<String>)> = Vec::new();
        for rule in self.facts.rules.iter().filter(|r| r.mask & mask != 0) {
            let shown = format!("{} {} (fwmark {:#x})", rule.family, rule.priority, rule.mark);
            let kind = (rule.mask, rule.mark & mask != 0);
            match rules.iter_mut().find(|(other, _)| *other == kind) {
                Some((_, shown_before)) => shown_before.push(shown),
                None => rules.push((kind, vec![shown])),
            }
        }
        for ((theirs, marked), rules) in rules {
            const SHOWN: usize = 3;
            let more = rules.len().saturating_sub(SHOWN);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            let who = format!(
                "ip rules with mask {theirs:#x}: {}{more}",
                rules[..rules.len().min(SHOWN)].join(", ")
            );
            say(match marked {
                true => format!("{who}: their marks have bits of mwan's mask {mask:#x}"),
                false => format!(
                    "{who}: they do not match any more once mwan has marked a packet (mask {mask:#x})"
                ),
            });
        }
        for mark in self.facts.marks.iter().filter(|m| m.bits & mask != 0) {
            let what = if mark.bits == u32::MAX {
                "the whole mark".to_owned()
            } else {
                format!("bits {:#x}", mark.bits)
            };
            say(format!("nftables table {}: a rule writes {what}; mwan's mask is {mask:#x}", mark.place));
        }
        for program in self.facts.programs.iter().filter(|p| p.bits & mask != 0) {
            let (name, bits, sign) = (&program.name, program.bits, &program.sign);
            say(format!("{name} ({sign}) uses the mark bits {bits:#x}; mwan's mask is {mask:#x}"));
        }
    }

    fn forwarding(&self, lints: &mut Lints) {
        let carried = |family| enabled(self.config).any(|i| i.families.contains(family));
        for (family, sysctl) in
            [(Family::V4, "net.ipv4.ip_forward"), (Family::V6, "net.ipv6.conf.all.forwarding")]
        {
            let off = carried(family) && self.facts.sysctl(sysctl) == Some(0);
            if let Some((device, ip)) = self.inside(family).next().filter(|_| off) {
                let message =
                    format!("{sysctl} is 0: what is behind {device} ({ip}) does not get to any WAN");
                self.say(
                    lints,
                    Problem::new(codes::FORWARDING, message).hint(format!("sysctl -w {sysctl}=1")),
                );
            }
        }
    }

    fn conntrack(&self, lints: &mut Lints) {
        for place in &self.facts.untracked {
            let message = format!("nftables table {place}: a rule exempts packets from connection tracking");
            self.say(lints, Problem::new(codes::CONNTRACK_OFF, message));
        }
        let value = |name: &str| self.facts.sysctl(&format!("net.netfilter.nf_conntrack_{name}"));
        if let (Some(count), Some(max @ 1..)) = (value("count"), value("max"))
            && count >= max / 100 * CONNTRACK_PERCENT
        {
            let message =
                format!("{count} of {max} connections: when the table is full, new ones are dropped");
            self.say(
                lints,
                Problem::new(codes::CONNTRACK_FULL, message).hint("raise net.netfilter.nf_conntrack_max"),
            );
        }
    }

    fn device(&self, interface: &'a Interface, lints: &mut Lints) {
        let name = self.device_name(interface);
        let Some(device) = self.facts.device(name) else {
            // Whoever gives no device leaves it to the platform.
            if interface.device.is_some() {
                let message = format!("there is no device {} on this machine now", show(name));
                lints.interface(interface, Some("device"), Problem::new(codes::NO_DEVICE, message));
            }
            return;
        };
        let conf =
            |family: &str, of: &str, what: &str| self.facts.sysctl(&format!("net.{family}.conf.{of}.{what}"));
        // The kernel takes the larger of the two (IN_DEV_RPFILTER, include/linux/inetdevice.h).
        if interface.families.v4
            && conf("ipv4", "all", "rp_filter").max(conf("ipv4", name, "rp_filter")) == Some(1)
        {
            let message = format!("{name} drops replies: strict reverse path filtering");
            let hint =
                format!("set net.ipv4.conf.{name}.rp_filter and net.ipv4.conf.all.rp_filter to 2 or 0");
            lints.interface(interface, Some("device"), Problem::new(codes::REVERSE_PATH, message).hint(hint));
        }
        let forwards =
            [conf("ipv6", "all", "forwarding"), conf("ipv6", name, "forwarding")].contains(&Some(1));
        let waits = interface.families.v6 && interface.gateway6.is_none() && !device.default_route[1];
        if waits && forwards && conf("ipv6", name, "accept_ra") == Some(1) {
            let message =
                format!("{name} forwards IPv6 and so ignores router advertisements; it has no default route");
            let hint = format!("sysctl -w net.ipv6.conf.{name}.accept_ra=2");
            lints.interface(
                interface,
                Some("device"),
                Problem::new(codes::ROUTER_ADVERTISEMENTS, message).hint(hint),
            );
        }
        for table in self.facts.flowtables.iter().filter(|t| t.devices.iter().any(|d| d == name)) {
            let message = format!(
                "flowtable {} has {name}: packets of established connections go past all rules",
                table.place
            );
            lints.interface(interface, Some("device"), Problem::new(codes::OFFLOAD, message));
        }
        self.translation(interface, name, lints);
    }

    /// Only IPv4: a private IPv6 network is an exception, and its owner knows.
    fn translation(&self, interface: &Interface, name: &str, lints: &mut Lints) {
        let ours = match self.config.globals.masquerade {
            Masquerade::On => true,
            Masquerade::Auto => self.facts.translates,
            Masquerade::Off => false,
        };
        let fits = |device: &str| match device.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => device == name,
        };
        let theirs =
            self.facts.translations.iter().any(|t| t.families[0] && t.device.as_deref().is_none_or(fits));
        if ours || theirs || self.facts.legacy_rules || !interface.families.v4 {
            return;
        }
        if self.facts.sysctl("net.ipv4.ip_forward") != Some(1) {
            return;
        }
        if let Some((device, ip)) = self.inside(Family::V4).find(|(_, ip)| is_private(*ip)) {
            let message = format!(
                "nothing translates the sources of {device} ({ip}) on {name}: answers do not come back"
            );
            lints.interface(
                interface,
                None,
                Problem::new(codes::NO_TRANSLATION, message).hint("set masquerade to 1"),
            );
        }
    }

    /// Targets in the network of another device.
    fn targets(&self, interface: &'a Interface, lints: &mut Lints) {
        let own = self.device_name(interface);
        let on = |device: &Device, ip| device.addresses.iter().any(|(_, network)| holds(network, ip));
        for ip in interface.tracking.targets.iter().map(|t| t.ip) {
            if self.facts.device(own).is_none_or(|device| on(device, ip)) {
                continue;
            }
            if let Some(device) = self.facts.devices.iter().find(|device| device.up && on(device, ip)) {
                let name = &device.name;
                let message = if device.addresses.iter().any(|(own, _)| *own == ip) {
                    format!("{ip} is this machine's own address, on {name}")
                } else {
                    format!("{ip} is in the network of {name}: by {own} it cannot be reached")
                };
                lints.interface(interface, Some("track_ip"), Problem::new(codes::TARGET_ELSEWHERE, message));
            }
        }
    }

    /// Devices that rules ask for.
    fn inputs(&self, lints: &mut Lints) {
        if !self.facts.names_are_devices || self.facts.devices.is_empty() {
            return;
        }
        for rule in &self.config.rules {
            let named = rule.source_interface.as_deref();
            let known =
                |name: &&str| self.config.interface(name).is_some() || self.facts.device(name).is_some();
            if let Some(name) = named.filter(|name| !known(name)) {
                let message =
                    format!("there is no interface and no device {} now: the rule waits for it", show(name));
                lints.rule(rule, Some("src_iface"), Problem::new(codes::NO_DEVICE, message));
            }
        }
    }

    fn same_ports(&self, lints: &mut Lints) {
        let mut before: Vec<(&Interface, &str, &str)> = Vec::new();
        for interface in enabled(self.config) {
            let name = self.device_name(interface);
            let lower = self.facts.device(name).map(|d| d.lower.as_slice()).unwrap_or_default();
            let ports =
                if lower.is_empty() { vec![name] } else { lower.iter().map(String::as_str).collect() };
            for port in ports {
                // One device in two families, or by mistake: others tell of it.
                let same = before.iter().filter(|(_, device, other)| *other == port && *device != name);
                let names: Vec<String> = same.map(|(other, ..)| other.name.clone()).collect();
                if !names.is_empty() {
                    let message =
                        format!("{name} is on {port}, as is {}: one cable carries both", list(&names));
                    lints.interface(interface, Some("device"), Problem::new(codes::SAME_PORT, message));
                }
                before.push((interface, name, port));
            }
        }
    }
}

/// Addresses that say nothing of a network behind the device.
fn is_of_one_link(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.segments()[0] & 0xFFC0 == 0xFE80,
    }
}
