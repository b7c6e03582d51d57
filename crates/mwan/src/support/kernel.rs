//! What the kernel and the system are asked, beside mwan's own words for it (`plan`, `diff`).

use std::fmt::Write as _;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A program of the system: name in the archive, its words; others if those are not understood (busybox's `ip` has no details).
pub(super) type Asked = (&'static str, &'static [&'static str], &'static [&'static str]);

/// Programs that only look. Sets are left out of the ruleset: they may hold a hundred thousand addresses.
pub(super) const PROGRAMS: [Asked; 9] = [
    ("kernel/rules4.txt", &["ip", "-details", "rule", "show"], &["ip", "rule", "show"]),
    ("kernel/rules6.txt", &["ip", "-6", "-details", "rule", "show"], &["ip", "-6", "rule", "show"]),
    ("kernel/routes4.txt", &["ip", "route", "show", "table", "all"], &["ip", "route", "show"]),
    ("kernel/routes6.txt", &["ip", "-6", "route", "show", "table", "all"], &["ip", "-6", "route", "show"]),
    ("kernel/addresses.txt", &["ip", "address", "show"], &[]),
    ("kernel/links.txt", &["ip", "-statistics", "-details", "link", "show"], &["ip", "link", "show"]),
    ("kernel/neighbours.txt", &["ip", "neigh", "show"], &[]),
    ("kernel/nft.txt", &["nft", "--terse", "list", "ruleset"], &["nft", "list", "table", "inet", "mwan"]),
    ("kernel/iptables.txt", &["iptables-save"], &[]),
];

/// The old iptables is asked only where it has tables: it would make them.
pub(super) fn is_asked(program: &str) -> bool {
    let tables = |file: &str| {
        fs::metadata(file).is_ok() && fs::read_to_string(file).is_ok_and(|text| !text.is_empty())
    };
    program != "iptables-save" || tables("/proc/net/ip_tables_names")
}

/// Files of one system or another, of which those that are there say what it is.
pub(super) const SYSTEM: [&str; 8] = [
    "/proc/version",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/meminfo",
    "/etc/os-release",
    "/etc/openwrt_release",
    "/etc/debian_version",
    "/etc/system-release",
];

/// Settings that decide about packets of several WANs, below /proc/sys.
const SYSCTLS: [&str; 18] = [
    "kernel/osrelease",
    "net/ipv4/ip_forward",
    "net/ipv4/fwmark_reflect",
    "net/ipv4/tcp_fwmark_accept",
    "net/ipv4/fib_multipath_hash_policy",
    "net/ipv4/fib_multipath_use_neigh",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/ping_group_range",
    "net/ipv6/fwmark_reflect",
    "net/ipv6/fib_multipath_hash_policy",
    "net/netfilter/nf_conntrack_acct",
    "net/netfilter/nf_conntrack_buckets",
    "net/netfilter/nf_conntrack_count",
    "net/netfilter/nf_conntrack_max",
    "net/netfilter/nf_conntrack_tcp_be_liberal",
    "net/netfilter/nf_conntrack_tcp_loose",
    "net/netfilter/nf_conntrack_udp_timeout",
    "net/netfilter/nf_log_all_netns",
];
/// The same of each device.
const OF_DEVICE: [(&str, &[&str]); 2] = [
    ("ipv4", &["forwarding", "rp_filter", "src_valid_mark", "accept_local", "arp_ignore", "arp_announce"]),
    ("ipv6", &["forwarding", "accept_ra", "accept_ra_defrtr", "autoconf", "disable_ipv6"]),
];
/// Devices that are looked at, and names in a listing.
const DEVICES_MAX: usize = 128;
const NAMES_MAX: usize = 500;
/// How deep a folder is listed.
const DEPTH: usize = 3;
/// Longest value of a sysctl, bytes.
const VALUE_MAX: u64 = 256;

/// `net.ipv4.ip_forward = 1`, a line each.
pub(super) fn sysctls() -> String {
    let root = Path::new("/proc/sys");
    let mut out = String::new();
    let mut add = |name: &str| {
        let mut value = String::new();
        let file = fs::File::open(root.join(name));
        if file.and_then(|file| file.take(VALUE_MAX).read_to_string(&mut value)).is_ok() {
            let _ = writeln!(out, "{} = {}", name.replace('/', "."), value.trim());
        }
    };
    SYSCTLS.iter().for_each(|name| add(name));
    for (family, names) in OF_DEVICE {
        for device in names_in(&root.join(format!("net/{family}/conf")), DEVICES_MAX) {
            names.iter().for_each(|name| add(&format!("net/{family}/conf/{device}/{name}")));
        }
    }
    out
}

/// Names in a folder, in order.
fn names_in(folder: &Path, most: usize) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|e| e.file_name().into_string().ok()).take(most).collect();
    names.sort_unstable();
    names
}

/// Files, and what is below folders: permissions, owner, size, name; never what is in them.
pub(super) fn listing(paths: &[PathBuf]) -> String {
    let mut out = String::new();
    let mut left = NAMES_MAX;
    paths.iter().for_each(|path| list(path, DEPTH, &mut left, &mut out));
    out
}

fn list(path: &Path, depth: usize, left: &mut usize, out: &mut String) {
    let Some(rest) = left.checked_sub(1) else { return };
    *left = rest;
    let shown = path.display();
    let _ = match fs::symlink_metadata(path) {
        Ok(meta) => {
            let kind = match meta.file_type() {
                kind if kind.is_dir() => "folder",
                kind if kind.is_file() => "file",
                kind if kind.is_symlink() => "link",
                _ => "other",
            };
            let (mode, user, group) = (meta.mode() & 0o7777, meta.uid(), meta.gid());
            writeln!(out, "{kind:6} {mode:04o} {user}:{group} {:>9} {shown}", meta.len())
        }
        Err(error) => writeln!(out, "{shown}: {error}"),
    };
    if depth > 0 && fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir()) {
        for name in names_in(path, NAMES_MAX) {
            list(&path.join(name), depth - 1, left, out);
        }
    }
}

/// Parts of the program that this one was built with.
pub(super) fn features() -> String {
    let built = [
        ("alerts", cfg!(feature = "alerts")),
        ("ipfire", cfg!(feature = "ipfire")),
        ("record", cfg!(feature = "record")),
        ("tls", cfg!(feature = "tls")),
        ("tui", cfg!(feature = "tui")),
        ("web", cfg!(feature = "web")),
    ];
    let names: Vec<&str> = built.into_iter().filter(|(_, is)| *is).map(|(name, _)| name).collect();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    format!(
        "mwan {}\nfeatures: {}\nbuild: {profile}, {} {}\n",
        env!("CARGO_PKG_VERSION"),
        names.join(" "),
        std::env::consts::ARCH,
        std::env::consts::OS
    )
}
