//! What the kernel says of a gateway, on a real link.

mod common;

use std::net::IpAddr;
use std::time::Duration;

use common::{Peer, eventually, in_namespace, sh};
use mwan_core::Neighbour;
use mwan_linux::neighbour::Neighbours;

fn index(device: &str) -> u32 {
    let line = sh(&format!("ip -o link show dev {device}"));
    line.split(':').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_gateway_answers_or_does_not_in_both_families() {
    in_namespace("a_gateway_answers_or_does_not_in_both_families", || {
        let peer = Peer::new();
        sh(&format!("ip link add eth0 type veth peer name far netns {}", peer.pid()));
        sh(
            "ip addr add 192.0.2.2/24 dev eth0 && ip addr add 2001:db8::2/64 dev eth0 nodad && ip link set eth0 up",
        );
        peer.sh("ip addr add 192.0.2.1/24 dev far && ip addr add 2001:db8::1/64 dev far nodad && ip link set far up");
        let mut neighbours = Neighbours::open().expect("a socket");
        let mut ask = |ip: &str| neighbours.ask(index("eth0"), ip.parse::<IpAddr>().expect("an address"));
        assert_eq!(ask("192.0.2.1"), Neighbour::Unknown, "nobody has asked for it");
        for (here, nobody) in [("192.0.2.1", "192.0.2.9"), ("2001:db8::1", "2001:db8::9")] {
            eventually("an answer", || {
                let _ = std::process::Command::new("ping").args(["-c1", "-W1", here]).output();
                matches!(ask(here), Neighbour::Answered(ago) if ago < Duration::from_secs(60))
            });
            let _ = std::process::Command::new("ping").args(["-c1", "-W1", nobody]).output();
            assert_eq!(ask(nobody), Neighbour::Silent, "{nobody}");
        }
        sh("ip neigh replace 192.0.2.1 dev eth0 lladdr 02:00:00:00:00:01 nud permanent");
        assert_eq!(ask("192.0.2.1"), Neighbour::Unknown, "somebody says so");
        assert_eq!(neighbours.ask(4_000_000, "192.0.2.1".parse().expect("an address")), Neighbour::Unknown);
    });
}
