//! What is known of a machine. Plain values: whoever gathers them has the files and sockets, what follows from them is
//! decided here.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::model::{AddressRange, Family};

/// A machine, as far as it matters to a configuration. What is not known is absent, and nothing is concluded from it.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Facts {
    /// Whether mwan translates sources here with `masquerade auto`.
    pub translates: bool,
    /// Whether interfaces that are no WAN are called by their devices' names here.
    pub names_are_devices: bool,
    /// Numeric sysctls by their name: `net.ipv4.ip_forward`. Dots in a device's name are kept.
    pub sysctls: Vec<(String, i64)>,
    /// Network devices.
    pub devices: Vec<Device>,
    /// Devices of interfaces by the interface's name, where a running daemon knows them.
    pub device_of: BTreeMap<String, String>,
    /// ip rules of others that ask for a mark.
    pub rules: Vec<ForeignRule>,
    /// Mark bits that rules of others write.
    pub marks: Vec<ForeignMark>,
    /// Source translation by others.
    pub translations: Vec<Translation>,
    /// Flowtables.
    pub flowtables: Vec<Flowtable>,
    /// OpenWrt's firewall is configured to make one.
    pub offload_wanted: bool,
    /// Chains with rules that exempt packets from connection tracking.
    pub untracked: Vec<String>,
    /// There are rules of the old iptables, which cannot be seen.
    pub legacy_rules: bool,
    /// Programs that are installed or run here and use marks.
    pub programs: Vec<Program>,
}

/// A network device.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// The devices it is made of (those of a VLAN, a macvlan, a bond), down to the last ones.
    pub lower: Vec<String>,
    /// Its addresses, each with the network it is in.
    pub addresses: Vec<(IpAddr, AddressRange)>,
    /// Whether there is a default route by it: IPv4, IPv6.
    pub default_route: [bool; 2],
}

/// An ip rule that is not ours and asks for a mark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignRule {
    /// Its family.
    pub family: Family,
    /// Its priority.
    pub priority: u32,
    /// The mark it asks for.
    pub mark: u32,
    /// The bits of the mark it looks at.
    pub mask: u32,
}

/// A rule of netfilter that writes marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignMark {
    /// Table and chain: `ip mangle, chain PREROUTING`.
    pub place: String,
    /// The bits it changes.
    pub bits: u32,
}

/// A rule of netfilter that translates sources.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Translation {
    /// Families it is for: IPv4, IPv6.
    pub families: [bool; 2],
    /// The device packets leave by, which may end in `*`; `None`: any, or not understood.
    pub device: Option<String>,
}

/// A flowtable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Flowtable {
    /// Table and name.
    pub place: String,
    /// Its devices.
    pub devices: Vec<String>,
}

/// A program that uses marks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// Its name.
    pub name: String,
    /// The bits it uses.
    pub bits: u32,
    /// The file that told of it.
    pub sign: String,
}

/// A program whose marks are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KnownProgram {
    /// Its name.
    pub name: &'static str,
    /// The bits it uses unless it is told otherwise.
    pub bits: u32,
    /// Files and folders of which one is there where the program is in use.
    pub signs: &'static [&'static str],
    /// Where another mask may stand: file and the word before it.
    pub setting: Option<(&'static str, &'static str)>,
}

/// Programs that mark packets, each with where its bits are laid down.
pub const KNOWN_PROGRAMS: &[KnownProgram] = &[
    // tailscale, util/linuxfw: TailscaleFwmarkMask.
    known(
        "Tailscale",
        0x00FF_0000,
        &["/run/tailscale/tailscaled.sock", "/var/lib/tailscale/tailscaled.state"],
    ),
    // pbr, files/etc/config/pbr: fw_mask (hexadecimal, with or without 0x).
    KnownProgram {
        setting: Some(("/etc/config/pbr", "fw_mask")),
        ..known("pbr", 0x00FF_0000, &["/etc/config/pbr"])
    },
    // nodogsplash and openNDS: fw_mark_authenticated 0x30000, _trusted 0x20000, _blocked 0x10000.
    known("nodogsplash", 0x0003_0000, &["/etc/config/nodogsplash", "/etc/nodogsplash/nodogsplash.conf"]),
    known("openNDS", 0x0003_0000, &["/etc/config/opennds", "/etc/opennds/opennds.conf"]),
    // libnetwork, drivers/overlay/encryption.go: the mark of packets to be encrypted. Swarms only.
    known("Docker (encrypted overlay networks)", 0x00D0_C4E3, &["/var/lib/docker/swarm/docker-state.json"]),
    // kube-proxy --iptables-masquerade-bit 14; kubelet's KUBE-MARK-DROP was bit 15.
    known("kube-proxy", 0x0000_C000, &["/var/lib/kube-proxy", "/var/lib/kubelet"]),
    // cilium, bpf/lib/common.h: MARK_MAGIC_HOST_MASK.
    known("Cilium", 0x0000_0F00, &["/run/cilium/cilium.sock"]),
    // strongSwan, charon.plugins.kernel-netlink.fwmark: only if it is set.
    KnownProgram {
        setting: Some(("/etc/strongswan.d/charon/kernel-netlink.conf", "fwmark")),
        ..known("strongSwan", 0, &["/etc/strongswan.d/charon/kernel-netlink.conf"])
    },
];

const fn known(name: &'static str, bits: u32, signs: &'static [&'static str]) -> KnownProgram {
    KnownProgram { name, bits, signs, setting: None }
}

impl KnownProgram {
    /// The bits that the file of its setting says; `None`: it says nothing. `#` begins a comment.
    pub fn configured(&self, text: &str) -> Option<u32> {
        let (_, word) = self.setting?;
        text.lines().find_map(|line| {
            let line = line.split('#').next().unwrap_or_default();
            let (_, value) = line.split_once(word)?;
            // `option fw_mask '00ff0000'`; `fwmark = !42/0xff`: the mask is what counts, without one all bits do.
            let value = value.trim_matches(|c: char| c.is_whitespace() || "='\"!".contains(c));
            let (mark, mask) = value.split_once('/').map_or((value, None), |(mark, mask)| (mark, Some(mask)));
            match mask {
                Some(mask) => number(mask, 10),
                None if self.bits == 0 => number(mark, 10).map(|_| u32::MAX),
                None => number(mark, 16),
            }
        })
    }
}

fn number(text: &str, radix: u32) -> Option<u32> {
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => u32::from_str_radix(text, radix).ok(),
    }
}

impl Facts {
    /// A sysctl's value.
    pub(super) fn sysctl(&self, name: &str) -> Option<i64> {
        self.sysctls.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
    }

    /// A device.
    pub(super) fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn masks_are_read_from_the_programs_own_files() {
        let of = |name: &str| KNOWN_PROGRAMS.iter().find(|p| p.name == name).unwrap();
        for (program, text, bits) in [
            ("pbr", "config pbr 'config'\n\toption fw_mask '00ff0000'\n", Some(0xFF_0000)),
            ("pbr", "\toption fw_mask '0xFF00'\n", Some(0xFF00)),
            ("pbr", "config pbr 'config'\n", None),
            ("strongSwan", "kernel-netlink {\n    # fwmark =\n    load = yes\n}\n", None),
            ("strongSwan", "    fwmark = !42/0xff00\n", Some(0xFF00)),
            ("strongSwan", "    fwmark = 42\n", Some(u32::MAX)),
            ("Tailscale", "fwmark = 42\n", None),
        ] {
            assert_eq!(of(program).configured(text), bits, "{program}: {text}");
        }
    }
}
