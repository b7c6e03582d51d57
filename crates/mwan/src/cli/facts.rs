//! What `mwan check` looks at on the machine: files, sysctls and what netlink tells. Nothing is changed and no program run.

use mwan_config::Gather;
use std::io::Read;
use std::net::IpAddr;
use std::path::Path;

use mwan_config::lint::{Device, Facts, KNOWN_PROGRAMS, Program, Translation};
use mwan_config::{AddressRange, Config, Family};
use mwan_core::NetView;
use mwan_linux::monitor::Monitor;
use mwan_linux::nft::NftSocket;
use mwan_linux::routing::RouteSocket;

use super::client;
use crate::platform::PlatformName;

/// Largest file that is looked into.
const FILE_MAX: u64 = 1 << 20;
/// Devices are made of devices; deeper than this nobody stacks them.
const DEPTH_MAX: usize = 8;

/// What is known of this machine, and what could not be looked at.
pub(super) fn gather(run_dir: &Path, config: &Config) -> (Facts, Vec<String>) {
    let root = Path::new("/");
    let mut facts = Facts {
        translates: PlatformName::Auto.core().translate,
        names_are_devices: !PlatformName::Auto.has_netifd(),
        programs: programs(root),
        legacy_rules: legacy_rules(root),
        offload_wanted: offload_wanted(root),
        ..Facts::default()
    };
    let mut blind = Vec::new();
    if let Some(status) = client::glimpse(run_dir) {
        let known = status.interfaces.into_iter().filter(|i| !i.device.is_empty());
        facts.device_of = known.map(|i| (i.name, i.device)).gather();
    }
    let looked = (|| {
        let foreign = NftSocket::open().map_err(|e| e.to_string())?.foreign().map_err(|e| said(&e))?;
        (facts.marks, facts.translations) = (foreign.marks, foreign.translations);
        (facts.flowtables, facts.untracked) = (foreign.flowtables, foreign.untracked);
        Ok::<(), String>(())
    })();
    if let Err(why) = looked {
        // Without a look at the firewall nothing follows from what it has not.
        facts.translations.push(Translation { families: [true; 2], device: None });
        blind.push(format!("nftables: {why}"));
    }
    match RouteSocket::open()
        .map_err(|e| e.to_string())
        .and_then(|mut s| s.foreign_marks().map_err(|e| said(&e)))
    {
        Ok(rules) => facts.rules = rules,
        Err(why) => blind.push(format!("ip rules: {why}")),
    }
    match network() {
        Ok(net) => devices(&mut facts, &net, &root.join("sys/class/net")),
        Err(why) => blind.push(format!("network devices: {why}")),
    }
    sysctls(&mut facts, config, &root.join("proc/sys"));
    (facts, blind)
}

/// An error with its causes.
fn said(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// The monitor could hear what comes later, too, for which it wants a runtime.
fn network() -> Result<std::sync::Arc<NetView>, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let _inside = runtime.enter();
    Monitor::open(Vec::new()).map(|mut m| m.view()).map_err(|e| said(&e))
}

fn devices(facts: &mut Facts, net: &NetView, sysfs: &Path) {
    for (name, link) in &net.links {
        let addresses = link.addresses.iter().map(|a| (a.ip, network_of(a.ip, a.prefix_len)));
        let has_default = |family| net.defaults.iter().any(|d| d.device == *name && d.family == family);
        let mut lower = Vec::new();
        lowest(sysfs, name, DEPTH_MAX, &mut lower);
        lower.retain(|device| device != name);
        facts.devices.push(Device {
            name: name.clone(),
            up: link.up,
            lower,
            addresses: addresses.collect(),
            default_route: Family::ALL.map(has_default),
        });
    }
}

/// All addresses of the network that an address is in.
fn network_of(ip: IpAddr, length: u8) -> AddressRange {
    match ipnet::IpNet::new(ip, length) {
        Ok(net) => AddressRange { first: net.network(), last: net.broadcast() },
        Err(_) => AddressRange { first: ip, last: ip },
    }
}

/// The devices at the bottom of a device: itself, or what `lower_…` links of sysfs lead to.
fn lowest(sysfs: &Path, name: &str, depth: usize, found: &mut Vec<String>) {
    let entries = std::fs::read_dir(sysfs.join(name)).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let lower: Vec<String> = names.filter_map(|n| n.strip_prefix("lower_").map(str::to_owned)).collect();
    if (lower.is_empty() || depth == 0) && !found.iter().any(|device| device == name) {
        found.push(name.to_owned());
    }
    for device in lower.iter().filter(|_| depth > 0) {
        lowest(sysfs, device, depth - 1, found);
    }
}

fn sysctls(facts: &mut Facts, config: &Config, root: &Path) {
    let mut names: Vec<String> =
        ["ipv4.ip_forward", "netfilter.nf_conntrack_count", "netfilter.nf_conntrack_max"]
            .map(|name| format!("net.{name}"))
            .into();
    let devices = config.interfaces.iter().filter(|i| i.enabled).map(|i| {
        let known = facts.device_of.get(&i.name).or(i.device.as_ref()).unwrap_or(&i.name);
        known.clone()
    });
    for device in devices.chain(["all".to_owned()]) {
        names.push(format!("net.ipv4.conf.{device}.rp_filter"));
        names.extend(["forwarding", "accept_ra"].map(|what| format!("net.ipv6.conf.{device}.{what}")));
    }
    for name in names {
        if let Some(value) = sysctl(root, &name) {
            facts.sysctls.push((name, value));
        }
    }
}

/// The value of a sysctl. Dots separate its parts, but those in the middle belong to a device: `eth1.10`.
fn sysctl(root: &Path, name: &str) -> Option<i64> {
    let parts: Vec<&str> = name.split('.').collect();
    let path = match parts.as_slice() {
        [net, family, "conf", device @ .., last] => {
            root.join(net).join(family).join("conf").join(device.join(".")).join(last)
        }
        _ => root.join(parts.join("/")),
    };
    read(&path)?.trim().parse().ok()
}

fn read(path: &Path) -> Option<String> {
    let file = std::fs::File::open(path).ok().filter(|file| file.metadata().is_ok_and(|m| m.is_file()))?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Programs of which a sign is there, with the bits that their own files say.
fn programs(root: &Path) -> Vec<Program> {
    let under = |path: &str| root.join(path.trim_start_matches('/'));
    let found = KNOWN_PROGRAMS.iter().filter_map(|known| {
        let sign = known.signs.iter().find(|sign| under(sign).exists())?;
        let configured = known.setting.and_then(|(file, _)| known.configured(&read(&under(file))?));
        let (name, sign) = (known.name.to_owned(), (*sign).to_owned());
        Some(Program { name, bits: configured.unwrap_or(known.bits), sign })
    });
    found.filter(|program| program.bits != 0).collect()
}

/// Whether the old iptables has tables in which marks and translation could be. Those of `iptables-nft` are not among them.
fn legacy_rules(root: &Path) -> bool {
    let names = ["ip_tables_names", "ip6_tables_names"].map(|file| read(&root.join("proc/net").join(file)));
    names
        .iter()
        .flatten()
        .flat_map(|text| text.lines())
        .any(|table| ["mangle", "nat", "raw"].contains(&table))
}

/// Whether OpenWrt's firewall is told to offload flows.
fn offload_wanted(root: &Path) -> bool {
    let Some(text) = read(&root.join("etc/config/firewall")) else { return false };
    let (sections, _) = mwan_config::uci::parse("firewall", text.as_bytes());
    let defaults = sections.iter().filter(|section| section.kind == "defaults").flat_map(|s| &s.entries);
    defaults.into_iter().any(|entry| entry.name == "flow_offloading" && entry.value == "1")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(root: &Path, file: &str, text: &str) {
        let file = root.join(file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    #[test]
    fn programs_are_found_by_their_files() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert_eq!(programs(root), []);
        write(root, "etc/config/pbr", "config pbr 'config'\n\toption fw_mask '0000ff00'\n");
        write(root, "var/lib/tailscale/tailscaled.state", "");
        // Installed, and no mark set.
        write(root, "etc/strongswan.d/charon/kernel-netlink.conf", "# fwmark = 1\n");
        let found: Vec<(String, u32)> = programs(root).into_iter().map(|p| (p.name, p.bits)).collect();
        assert_eq!(found, [("Tailscale".to_owned(), 0xFF_0000), ("pbr".to_owned(), 0xFF00)]);
    }

    #[test]
    fn other_signs_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        assert!(!legacy_rules(root) && !offload_wanted(root));
        write(root, "proc/net/ip_tables_names", "filter\n");
        assert!(!legacy_rules(root), "filters neither mark nor translate");
        write(root, "proc/net/ip_tables_names", "filter\nmangle\n");
        write(root, "etc/config/firewall", "config defaults\n\toption flow_offloading '1'\n");
        assert!(legacy_rules(root) && offload_wanted(root));
        write(root, "net/ipv4/conf/eth1.10/rp_filter", "1\n");
        write(root, "net/ipv4/ip_forward", "0\n");
        assert_eq!(sysctl(root, "net.ipv4.conf.eth1.10.rp_filter"), Some(1));
        assert_eq!(sysctl(root, "net.ipv4.ip_forward"), Some(0));
        assert_eq!(sysctl(root, "net.ipv4.conf.none.rp_filter"), None);
    }

    #[test]
    fn devices_are_followed_to_the_bottom() {
        let dir = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let mut found = Vec::new();
            lowest(dir.path(), name, DEPTH_MAX, &mut found);
            found.sort();
            found
        };
        for (upper, lower) in [("bond0.7", "bond0"), ("bond0", "eth0"), ("bond0", "eth1"), ("loop", "loop")] {
            write(dir.path(), &format!("{upper}/lower_{lower}"), "");
        }
        write(dir.path(), "eth0/mtu", "");
        assert_eq!(of("bond0.7"), ["eth0", "eth1"]);
        assert_eq!(of("eth0"), ["eth0"]);
        assert_eq!(of("ppp0"), ["ppp0"]);
        assert_eq!(of("loop"), ["loop"], "sysfs that leads in circles ends somewhere");
    }
}
