//! What machine this is, and what follows from it.

use std::path::Path;

use clap::ValueEnum;

/// The kind of system mwan runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum PlatformName {
    /// Find out.
    Auto,
    /// Any Linux: devices by name, source translation by mwan.
    Linux,
    /// OpenWrt: translation is the firewall's.
    Openwrt,
    /// IPFire: translation is the firewall's.
    Ipfire,
}

impl PlatformName {
    /// `auto` resolved by looking at the system.
    pub(crate) fn resolve(self) -> Self {
        match self {
            PlatformName::Auto if Path::new("/etc/openwrt_release").exists() => PlatformName::Openwrt,
            PlatformName::Auto if Path::new("/var/ipfire").exists() => PlatformName::Ipfire,
            PlatformName::Auto => PlatformName::Linux,
            other => other,
        }
    }

    /// Whether there is a netifd to be asked what interfaces are called.
    pub(crate) fn has_netifd(self) -> bool {
        self.resolve() == PlatformName::Openwrt
    }

    /// For the core.
    pub(crate) fn core(self) -> mwan_core::Platform {
        mwan_core::Platform { translate: self.resolve() == PlatformName::Linux }
    }
}

/// Whether this machine forwards IPv4: without it only its own connections meet the rules.
pub(crate) fn forwards_ipv4() -> bool {
    std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").is_ok_and(|text| text.trim() != "0")
}

/// Whether the kernel drops replies that arrive by `device` because it would send to their source by another one
/// (`rp_filter = 1`, RFC 3704 strict mode): then no WAN but the main table's best one can work.
pub(crate) fn strict_reverse_path(device: &str) -> bool {
    let value = |name: &str| -> u8 {
        let path = Path::new("/proc/sys/net/ipv4/conf").join(name).join("rp_filter");
        std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    };
    // The kernel takes the larger of the two (IN_DEV_RPFILTER, include/linux/inetdevice.h).
    value("all").max(value(device)) == 1
}
