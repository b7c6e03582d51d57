//! Multi-WAN manager: daemon and command line.

mod cli;
mod daemon;
mod dial;
mod ipfire;
mod openwrt;
mod platform;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}
