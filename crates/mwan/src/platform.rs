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

    /// For the core.
    pub(crate) fn core(self) -> mwan_core::Platform {
        mwan_core::Platform { translate: self.resolve() == PlatformName::Linux }
    }
}
