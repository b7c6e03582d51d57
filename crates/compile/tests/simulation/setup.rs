//! Random configurations, and random changes to one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use mwan_config::*;

use crate::rng::Rng;

const NAMES: [&str; 7] = ["wan", "wan6", "wanb", "fiber", "lte-2.x", "dsl", "a_rather_long_name_of_a_wan"];
pub(crate) const DEVICES: [&str; 6] = ["eth0", "eth1", "eth2", "ppp0", "eth4", "eth5"];
pub(crate) const LAN: &str = "lan0";

fn location() -> Location {
    Location { file: "sim".into(), line: 0 }
}

pub(crate) fn config(rng: &mut Rng) -> Config {
    let mut config = Config::default();
    let masks = [0x3F00, 0x3F00, 0xFF, 0x00FF_0000, 0xAAAA, 0xFFFF_FFFF, 0x8000_1111];
    config.globals.mask = *rng.pick(&masks);
    config.globals.masquerade = *rng.pick(&[Masquerade::Auto, Masquerade::On, Masquerade::Off]);
    config.globals.rule_base.iif_rules = rng.chance(30);
    config.globals.logging = rng.chance(50);
    config.globals.loglevel = rng.below(8) as u8;
    config.globals.source_routing = rng.chance(30);
    let count = rng.range(1, 6) as usize;
    let mut names = NAMES.to_vec();
    rng.shuffle(&mut names);
    for name in names.iter().take(count) {
        let interface = interface(rng, name);
        config.interfaces.push(interface);
    }
    renumber(&mut config);
    policies_and_rules(rng, &mut config);
    config
}

/// A changed configuration. The mask stays: changing it abandons every mark in the kernel.
pub(crate) fn reconfigured(rng: &mut Rng, old: &Config) -> Config {
    let mut config = old.clone();
    match rng.below(9) {
        0 => {
            let free: Vec<&str> = NAMES.into_iter().filter(|n| config.interface(n).is_none()).collect();
            if !free.is_empty() && config.interfaces.len() < 6 {
                let name = *rng.pick(&free);
                let at = rng.below(config.interfaces.len() as u64 + 1) as usize;
                let interface = interface(rng, name);
                config.interfaces.insert(at, interface);
            }
        }
        1 if config.interfaces.len() > 1 => {
            let at = rng.below(config.interfaces.len() as u64) as usize;
            config.interfaces.remove(at);
        }
        2 => rng.shuffle(&mut config.interfaces),
        3 => {
            let at = rng.below(config.interfaces.len() as u64) as usize;
            let new = interface(rng, &config.interfaces[at].name.clone());
            config.interfaces[at] = new;
        }
        4 => {
            // The same link under a new name.
            let free: Vec<&str> = NAMES.into_iter().filter(|n| config.interface(n).is_none()).collect();
            let at = rng.below(config.interfaces.len() as u64) as usize;
            if let Some(name) = free.first() {
                config.interfaces[at].name = (*name).to_owned();
            }
        }
        5 => {
            let at = rng.below(config.interfaces.len() as u64) as usize;
            config.interfaces[at].tracking = tracking(rng, config.interfaces[at].families);
        }
        6 => {
            let at = rng.below(config.interfaces.len() as u64) as usize;
            config.interfaces[at].enabled ^= true;
        }
        7 => {
            config.globals.enabled = !config.globals.enabled || rng.chance(80);
            config.globals.rule_base.fwmark ^= 0x8;
            config.globals.source_routing = rng.chance(50);
        }
        _ => {}
    }
    renumber(&mut config);
    if rng.chance(40) {
        policies_and_rules(rng, &mut config);
    } else {
        prune(&mut config);
    }
    config
}

fn renumber(config: &mut Config) {
    for (at, interface) in config.interfaces.iter_mut().enumerate() {
        interface.position = at as u16 + 1;
    }
}

/// A valid configuration has no dangling references.
fn prune(config: &mut Config) {
    let names: Vec<String> = config.interfaces.iter().map(|i| i.name.clone()).collect();
    for policy in &mut config.policies {
        policy.members.retain(|m| names.contains(&m.interface));
    }
    config.policies.retain(|p| !p.members.is_empty());
    let policies: Vec<String> = config.policies.iter().map(|p| p.name.clone()).collect();
    config.rules.retain(|r| match &r.target {
        Target::Policy(name) => policies.contains(name),
        Target::Direct(_) => true,
    });
}

fn interface(rng: &mut Rng, name: &str) -> Interface {
    let families = *rng.pick(&[
        Families { v4: true, v6: false },
        Families { v4: true, v6: false },
        Families { v4: false, v6: true },
        Families::ALL,
        Families::ALL,
    ]);
    Interface {
        name: name.to_owned(),
        enabled: rng.chance(92),
        position: 0,
        device: Some((*rng.pick(&DEVICES)).to_owned()),
        families,
        gateway4: rng.chance(15).then_some(Ipv4Addr::new(100, 64, 99, 1)),
        gateway6: rng.chance(15).then_some(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0x99)),
        routed_networks: Vec::new(),
        tracking: tracking(rng, families),
        initial_state: if rng.chance(70) { InitialState::Online } else { InitialState::Offline },
        failback: match rng.below(3) {
            0 => Failback::Keep,
            1 => Failback::Drain(rng.ms(100, 20_000)),
            _ => Failback::MoveNow,
        },
        flush_conntrack: FlushEvents {
            ifup: rng.chance(20),
            ifdown: rng.chance(20),
            connected: rng.chance(20),
            disconnected: rng.chance(20),
        },
        drill: None,
        location: location(),
    }
}

fn tracking(rng: &mut Rng, families: Families) -> Tracking {
    let per_family = rng.below(4) as usize;
    let mut targets: Vec<ProbeTarget> = Vec::new();
    for family in families.iter() {
        for i in 0..per_family as u8 {
            let ip = match family {
                Family::V4 => IpAddr::from([8, 8, 8, i + 1]),
                Family::V6 => IpAddr::from([0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, u16::from(i) + 1]),
            };
            targets.push(ip.into());
        }
    }
    let interval = rng.ms(200, 5000);
    let other = |rng: &mut Rng| if rng.chance(50) { interval } else { rng.ms(200, 3000) };
    Tracking {
        method: ProbeMethod::Ping,
        targets,
        track_gateway: rng.chance(10),
        reliability: rng.range(1, per_family.max(1) as u64) as u32,
        count: rng.range(1, 2) as u32,
        timeout: rng.ms(100, 4000),
        interval,
        failure_interval: other(rng),
        recovery_interval: other(rng),
        keep_failure_interval: rng.chance(30),
        up: rng.range(1, 4) as u32,
        down: rng.range(1, 4) as u32,
        size: 56,
        max_ttl: 60,
        quality: None,
    }
}

fn policies_and_rules(rng: &mut Rng, config: &mut Config) {
    config.policies.clear();
    for number in 0..rng.range(1, 5) {
        let mut members = Vec::new();
        for at in 0..rng.range(1, 6) {
            let interface = rng.pick(&config.interfaces).name.clone();
            let (metric, weight) = (rng.range(1, 3) as u32, rng.range(1, 5) as u32);
            members.push(Member { name: format!("m{at}"), interface, metric, weight });
        }
        let last_resort = *rng.pick(&[LastResort::Unreachable, LastResort::Blackhole, LastResort::Default]);
        config.policies.push(Policy {
            name: format!("p{number}"),
            members,
            last_resort,
            location: location(),
        });
    }
    config.rules = (0..rng.below(9)).map(|number| rule(rng, config, number)).collect();
    if rng.chance(70) {
        let mut rest = rule(rng, config, 99);
        rest = Rule {
            families: Families::ALL,
            protocols: vec![],
            source: None,
            destination: None,
            source_ports: vec![],
            destination_ports: vec![],
            source_interface: None,
            ..rest
        };
        config.rules.push(rest);
    }
}

/// Rules from small pools, so that they overlap.
fn rule(rng: &mut Rng, config: &Config, number: u64) -> Rule {
    let protocols = rng.pick(&[vec![], vec![6], vec![17], vec![6, 17], vec![1, 58]]).clone();
    let ports = |rng: &mut Rng, protocols: &[u8]| {
        if protocols.is_empty() || protocols.contains(&1) || rng.chance(40) {
            return vec![];
        }
        let pool = [(80, 80), (443, 443), (53, 53), (1, 1023), (400, 500), (0, 65535)];
        (0..rng.range(1, 2))
            .map(|_| *rng.pick(&pool))
            .map(|(first, last)| PortRange { first, last })
            .collect()
    };
    let destination_ports = ports(rng, &protocols);
    let source_ports = if rng.chance(20) { ports(rng, &protocols) } else { vec![] };
    let source_interface = rng.chance(12).then(|| match rng.below(3) {
        0 => LAN.to_owned(),
        1 => rng.pick(&config.interfaces).name.clone(),
        _ => "nowhere".to_owned(),
    });
    let target = if rng.chance(80) {
        Target::Policy(rng.pick(&config.policies).name.clone())
    } else {
        Target::Direct(*rng.pick(&[LastResort::Unreachable, LastResort::Blackhole, LastResort::Default]))
    };
    let v4 = rng.chance(60);
    let families = match rng.below(3) {
        0 => Families::ALL,
        _ => Families { v4, v6: !v4 },
    };
    Rule {
        name: format!("r{number}"),
        families,
        protocols,
        source: addresses(rng),
        destination: addresses(rng),
        source_ports,
        destination_ports,
        source_interface,
        destination_set: None,
        source_set: None,
        sticky: rng.chance(35).then(|| Sticky {
            timeout: Duration::from_secs(600),
            key: *rng.pick(&[StickyKey::Source, StickyKey::SourceAndDestination]),
        }),
        logging: rng.chance(30),
        target,
        location: location(),
    }
}

fn addresses(rng: &mut Rng) -> Option<AddressMatch> {
    if rng.chance(50) {
        return None;
    }
    let pool = [
        ("1.0.0.0", "1.255.255.255"),
        ("1.1.1.0", "1.1.1.255"),
        ("1.1.1.1", "1.1.1.1"),
        ("1.1.1.1", "1.1.1.4"),
        ("192.168.1.0", "192.168.1.127"),
        ("192.168.1.10", "192.168.1.10"),
        ("0.0.0.0", "255.255.255.255"),
        ("2606::", "2606:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("2606::1", "2606::1"),
        ("fd00::10", "fd00::1f"),
        ("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    ];
    let ranges = (0..rng.range(1, 3))
        .map(|_| *rng.pick(&pool))
        .map(|(first, last)| AddressRange { first: ip(first), last: ip(last) })
        .collect();
    Some(AddressMatch { ranges, negated: rng.chance(15) })
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Longest time a path with these settings may need to be proven.
pub(crate) fn proof_time(t: &Tracking) -> Duration {
    let step = t.interval.max(t.recovery_interval).max(t.failure_interval).max(t.timeout);
    step * (t.up + t.down + 3)
}
