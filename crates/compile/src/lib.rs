//! Desired state compiled to nftables objects, ip rules and routes, and diffed against what the kernel has.
//!
//! Pure: the same desired state gives the same program, byte for byte.

pub mod blocks;
mod build;
mod check;
mod diff;
mod log;
mod named;
pub mod near;
pub mod nft;
pub mod ranges;
pub mod routing;
mod shape;
mod sources;
mod stages;
mod sticky;
pub mod text;

use std::collections::BTreeSet;
use std::sync::Arc;

use mwan_config::Family;

pub use blocks::lay_out;
pub use build::{Compiler, compile, member_chain, policy_chain, policy_is_installed, rule_chain};
pub use check::{Fault, check, check_change};
pub use diff::{Ops, cleanup, diff, diff_observed, diff_routing, emptied, flush_strays, refill, removal};
pub use log::counter as log_counter;
pub use named::{dnsmasq, entered_by_others};
pub use stages::{STEP, Stages};
pub use sticky::{kind as sticky_kind, placed as sticky_placed, set as sticky_set};

/// Desired state in the kernel's terms.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Program {
    /// The table `inet mwan`.
    pub table: nft::Table,
    /// ip rules with our protocol number.
    pub rules: Arc<BTreeSet<routing::IpRule>>,
    /// Routes with our protocol number.
    pub routes: Arc<BTreeSet<routing::Route>>,
}

impl Program {
    /// Without the rules and routes of a family that the kernel does not have. The table stays whole: nf_tables knows
    /// the addresses of both families by itself.
    pub fn without_routing_of(mut self, family: Family) -> Self {
        Arc::make_mut(&mut self.rules).retain(|rule| rule.family != family);
        Arc::make_mut(&mut self.routes).retain(|route| route.family != family);
        self
    }
}

/// What of ours the kernel has.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// The table `inet mwan`, if there is one.
    pub table: Option<nft::ObservedTable>,
    /// Rules and routes with our protocol number.
    pub routing: routing::ObservedRouting,
}
