//! The configuration and the network of the core's tests.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, missing_docs, unreachable_pub)]

use std::fmt::Write as _;
use std::sync::Arc;

use mwan_config::{Config, Family};
use mwan_core::*;

/// WANs `a`, `b`, … on `eth0`, `eth1`, …: IPv4, one target, one lost round is enough.
pub fn config(wans: &[&str], rest: &str) -> Arc<Config> {
    let mut text = String::new();
    for name in wans {
        let device = format!("eth{}", name.as_bytes()[0] - b'a');
        writeln!(
            text,
            "config interface '{name}'\n option enabled 1\n option device {device}\n option family ipv4\n \
             list track_ip 8.8.8.8\n option interval 1\n option timeout 1\n option up 1\n option down 1"
        )
        .unwrap();
    }
    text.push_str(rest);
    let loaded = mwan_config::parse("test", text.as_bytes());
    assert!(!loaded.has_errors(), "{:?}", loaded.diagnostics);
    Arc::new(loaded.config)
}

/// `a` before `b` for everything.
pub const FAILOVER: &str = "
config member 'a1'
 option interface 'a'
 option metric 1
config member 'b2'
 option interface 'b'
 option metric 2
config policy 'failover'
 list use_member 'a1'
 list use_member 'b2'
config rule 'all'
 option use_policy 'failover'
";

pub fn network() -> NetView {
    let mut net = NetView::default();
    for number in 0..3u8 {
        let ip = [100, 64, number, 2].into();
        let address = Address { ip, prefix_len: 24, peer: None, global: true, preferred: true };
        let link = Link {
            index: number.into(),
            up: true,
            carrier: true,
            point_to_point: false,
            addresses: vec![address],
        };
        let device = format!("eth{number}");
        net.links.insert(device.clone(), link);
        let gateway = Some([100, 64, number, 1].into());
        net.defaults.push(DefaultRoute { family: Family::V4, metric: 0, table: 254, device, gateway });
    }
    net
}
