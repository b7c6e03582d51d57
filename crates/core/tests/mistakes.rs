//! What mistakes in a configuration may not do (I8).
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
mod common;

use std::sync::Arc;

use common::{FAILOVER, network};
use mwan_config::Family;
use mwan_core::*;

/// Every target is a mistake, so there is nothing to ask. The WAN is most likely healthy: it carries while its device
/// does, and only that long.
#[test]
fn an_interface_whose_targets_are_all_mistaken_counts_as_up() {
    let interface = |name: &str, device: &str, target: &str| {
        format!(
            "config interface '{name}'\n option enabled 1\n option device {device}\n \
             option initial_state offline\n list track_ip '{target}'\n"
        )
    };
    let text = interface("a", "eth0", "8.8.8") + &interface("b", "eth1", "8.8.8.8") + FAILOVER;
    let loaded = mwan_config::parse("test", text.as_bytes());
    let codes: Vec<&str> = loaded.diagnostics.iter().map(|d| d.code).collect();
    assert!(loaded.has_errors() && codes.contains(&"N0504"), "{:?}", loaded.diagnostics);

    let mut core = Core::new(Platform { translate: false }, Arc::new(loaded.config), Memory::default());
    let mut net = network();
    let carrier = |core: &Core| core.desired().unwrap().policies[0].carrier(Family::V4).clone();
    core.handle(Time(1000), Event::Network(Arc::new(net.clone())));
    let a = PathKey { id: core.wan("a").unwrap().0, family: Family::V4 };
    assert_eq!(core.path(a).unwrap().state, State::Online);
    assert!(matches!(carrier(&core), Carrier::Members(shares) if shares[0].interface == "a"));

    net.links.get_mut("eth0").unwrap().carrier = false;
    core.handle(Time(2000), Event::Network(Arc::new(net)));
    assert_eq!(core.path(a).unwrap().state, State::Disabled);
    assert!(!matches!(carrier(&core), Carrier::Members(shares) if shares[0].interface == "a"));
}
