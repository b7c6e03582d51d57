//! Links, addresses and what becomes of packets on them: the truth, of which the core sees only a part.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::Family;
use mwan_core::{Address, DefaultRoute, Link, NetView};

use crate::rng::Rng;
use crate::setup::{DEVICES, LAN, ip};

/// What happens to packets of one family beyond a device.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Line {
    Good,
    /// Silent blackhole, in one direction or both: the prober cannot tell.
    Dead,
    /// Percentage lost.
    Lossy(u64),
    /// Sending fails at once.
    Refused,
}

#[derive(Clone, Debug)]
pub(crate) struct Dev {
    pub(crate) name: String,
    pub(crate) exists: bool,
    pub(crate) up: bool,
    pub(crate) carrier: bool,
    pub(crate) p2p: bool,
    /// Last part of its address per family, if it has one.
    pub(crate) address: [Option<u8>; 2],
    /// Last part of its gateway's address per family, if there is a default route.
    pub(crate) gateway: [Option<u8>; 2],
    pub(crate) line: [Line; 2],
}

impl Dev {
    /// The same with nothing wrong.
    fn working(&self) -> Dev {
        Dev {
            exists: true,
            up: true,
            carrier: true,
            address: [Some(2); 2],
            gateway: [Some(1); 2],
            line: [Line::Good; 2],
            ..self.clone()
        }
    }
}

pub(crate) struct World {
    pub(crate) devs: Vec<Dev>,
}

fn at(family: Family) -> usize {
    usize::from(family == Family::V6)
}

impl World {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let dev = |name: &&str, rng: &mut Rng| Dev {
            name: (*name).to_owned(),
            exists: rng.chance(95),
            up: rng.chance(97),
            carrier: rng.chance(95),
            p2p: name.starts_with("ppp"),
            address: [rng.chance(95).then_some(2), rng.chance(90).then_some(2)],
            gateway: [rng.chance(90).then_some(1), rng.chance(90).then_some(1)],
            line: [Line::Good; 2],
        };
        World { devs: DEVICES.iter().map(|name| dev(name, rng)).collect() }
    }

    /// One random fault or repair. What happened, for the log.
    pub(crate) fn fault(&mut self, rng: &mut Rng) -> String {
        let number = rng.below(self.devs.len() as u64) as usize;
        let dev = &mut self.devs[number];
        let family = rng.below(2) as usize;
        match rng.below(14) {
            0..=3 => {
                let bad = [Line::Dead, Line::Dead, Line::Lossy(rng.range(5, 80)), Line::Refused];
                dev.line[family] = *rng.pick(&bad);
                if rng.chance(40) {
                    dev.line = [dev.line[family]; 2];
                }
            }
            4..=6 => dev.line = [Line::Good; 2],
            7 => dev.carrier ^= true,
            8 => dev.up ^= true,
            9 => dev.exists ^= true,
            10 => {
                let renamed = format!("{}r", DEVICES[number]);
                dev.name = if dev.name == renamed { DEVICES[number].to_owned() } else { renamed };
            }
            11 => dev.address[family] = rng.chance(60).then_some(rng.range(2, 5) as u8),
            12 => dev.gateway[family] = rng.chance(60).then_some(rng.range(6, 9) as u8),
            _ => *dev = dev.working(),
        }
        format!("{dev:?}")
    }

    /// Everything works.
    pub(crate) fn heal(&mut self) {
        for (number, dev) in self.devs.iter_mut().enumerate() {
            *dev = Dev { name: DEVICES[number].to_owned(), ..dev.working() };
        }
    }

    pub(crate) fn line(&self, device: &str, family: Family) -> Line {
        let working = |d: &&Dev| d.name == device && d.exists && d.up && d.carrier;
        self.devs.iter().find(working).map_or(Line::Refused, |d| d.line[at(family)])
    }

    pub(crate) fn up(&self) -> BTreeSet<String> {
        self.devs.iter().filter(|d| d.exists && d.up).map(|d| d.name.clone()).collect()
    }

    /// What netlink would tell.
    pub(crate) fn view(&self) -> NetView {
        let mut view = NetView::default();
        let mut connected = BTreeSet::new();
        let lan = [("192.168.1.1", 24), ("fd00::1", 64)];
        let addresses = lan.iter().map(|(a, len)| address(ip(a), *len)).collect();
        let lan_link = Link { index: 1, up: true, carrier: true, point_to_point: false, addresses };
        view.links.insert(LAN.to_owned(), lan_link);
        for (number, d) in self.devs.iter().enumerate().filter(|(_, d)| d.exists) {
            let mut link = Link {
                index: number as u32 + 2,
                up: d.up,
                carrier: d.up && d.carrier,
                point_to_point: d.p2p,
                addresses: vec![],
            };
            for family in Family::ALL {
                let Some(host) = d.address[at(family)] else { continue };
                link.addresses
                    .push(address(host_ip(family, number, host), if family == Family::V4 { 24 } else { 64 }));
                if let Some(gateway) = d.gateway[at(family)].filter(|_| d.up) {
                    view.defaults.push(DefaultRoute {
                        family,
                        metric: number as u32,
                        table: 254,
                        device: d.name.clone(),
                        gateway: (!d.p2p).then(|| host_ip(family, number, gateway)),
                    });
                }
            }
            view.links.insert(d.name.clone(), link);
        }
        for link in view.links.values().filter(|l| l.up) {
            for a in &link.addresses {
                let net = IpNet::new(a.ip, a.prefix_len).expect("a prefix");
                connected.insert(net.trunc());
                connected.insert(IpNet::from(a.ip));
            }
        }
        view.connected = Arc::new(connected);
        view.custom = Arc::new([IpNet::new(ip("1.1.1.4"), 32).expect("a prefix")].into());
        view
    }
}

fn address(ip: IpAddr, prefix_len: u8) -> Address {
    Address { ip, prefix_len, peer: None, global: true, preferred: true }
}

fn host_ip(family: Family, number: usize, host: u8) -> IpAddr {
    match family {
        Family::V4 => IpAddr::from([100, 64, number as u8, host]),
        Family::V6 => IpAddr::from([0x2001, 0xdb8, number as u16, 0, 0, 0, 0, u16::from(host)]),
    }
}
