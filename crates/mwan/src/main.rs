//! Multi-WAN manager: daemon and command line.

#[cfg(feature = "alerts")]
mod alerts;
#[cfg(not(feature = "alerts"))]
#[path = "alerts/absent.rs"]
mod alerts;
mod cli;
mod daemon;
#[cfg(feature = "ipfire")]
mod dial;
mod history;
#[cfg(feature = "ipfire")]
mod ipfire;
#[cfg(not(feature = "ipfire"))]
#[path = "ipfire/absent.rs"]
mod ipfire;
mod openwrt;
mod platform;
mod regular;
mod replace;
mod show;
mod support;
#[cfg(feature = "tui")]
mod top;
#[cfg(feature = "web")]
mod web;
#[cfg(not(feature = "web"))]
#[path = "web/absent.rs"]
mod web;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
