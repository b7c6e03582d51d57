//! The only crate that talks to the kernel: netlink, conntrack, monitors, probes.
//!
//! Everything here is mechanism. What should be in the kernel is decided by `mwan-core` and spelled by
//! `mwan-compile`; this crate writes it, reads it back and tells when it changed.
//!
//! Requests are synchronous: the kernel answers a netlink request before `sendmsg` returns, so waiting for
//! the reply never blocks and needs no task. Only what really arrives later (monitors, probe replies) is async.

#![deny(unsafe_code)]

pub mod clock;
pub mod conntrack;
pub mod lookup;
pub mod monitor;
pub mod neighbour;
pub mod netlink;
pub mod netview;
pub mod nft;
pub mod probe;
pub mod process;
pub mod reach;
pub mod routing;
mod rt;
#[allow(unsafe_code)]
mod sys;
pub mod usecmd;
pub mod verify;

#[cfg(test)]
#[path = "../tests/common/mod.rs"]
mod common;

/// Whether the kernel knows IPv6 at all: neither built nor started (`ipv6.disable=1`) without. With the sysctl
/// `disable_ipv6` there are no addresses, but rules and routes can be made.
pub fn has_ipv6() -> bool {
    use socket2::{Domain, Socket, Type};
    let absent = |e: std::io::Error| e.raw_os_error() == Some(libc::EAFNOSUPPORT);
    !Socket::new(Domain::IPV6, Type::DGRAM, None).is_err_and(absent)
}
