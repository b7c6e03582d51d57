//! What another configuration would do to present connections: the kernel's table is gone through once, and what is kept of it is
//! bounded, however long it is. For a thread.

use mwan_config::sort_short;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use mwan_api::{ImpactFlow, ImpactSource, ImpactWay};
use mwan_config::Family;
use mwan_core::{Entry, Fate, Impact, Passage};
use mwan_linux::conntrack::{Conntrack, Flow};
use tracing::debug;

use super::flow_list::is_counted;
use super::flows::first_packet;
use super::status::protocol_name;
use crate::cli::Failure;

/// Connections, or hosts, told one by one.
const TOP_MAX: usize = 10;
/// Kept until the smallest of them are dropped.
const TOP_KEPT: usize = 1024;
/// Hosts whose connections are counted; where there are more, those that come later are not told one by one.
const SOURCES_MAX: usize = 4096;

/// Answers that are remembered, some 200 bytes each.
const KNOWN_MAX: usize = 4096;

#[derive(Default)]
struct Counts {
    counted: bool,
    ways: BTreeMap<(Passage, Passage, Fate), (u64, u64)>,
    top: Vec<(u64, Flow, (Passage, Passage, Fate))>,
    sources: BTreeMap<IpAddr, u64>,
    /// Answers to what is asked again and again.
    known: HashMap<Entry, (Passage, Passage, Fate)>,
}

/// Goes through the kernel's table. `None`: it cannot be read.
pub(super) fn count(impact: &Impact) -> Option<mwan_api::Impact> {
    let walk = || {
        let mut counts = Counts { counted: is_counted(), ..Counts::default() };
        let mut conntrack = Conntrack::open()?;
        for family in Family::ALL {
            conntrack.walk(family, 0, 0, &mut |flow| counts.add(impact, flow))?;
        }
        Ok(counts)
    };
    let walked: Result<Counts, mwan_linux::conntrack::ConntrackError> = walk();
    match walked {
        Ok(counts) => Some(counts.document(impact)),
        Err(error) => {
            debug!("{}", Failure::new("connections cannot be listed", &error));
            None
        }
    }
}

impl Counts {
    fn add(&mut self, impact: &Impact, flow: Flow) {
        let entry =
            Entry { first: first_packet(&flow), reply_destination: flow.reply_destination, mark: flow.mark };
        let way = self.way(impact, entry);
        let bytes = flow.traffic.map_or(0, |(_, bytes)| bytes);
        let of_way = self.ways.entry(way.clone()).or_default();
        of_way.0 += 1;
        of_way.1 = of_way.1.saturating_add(bytes);
        if way.2 == Fate::Stay {
            return;
        }
        if !self.counted {
            if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&flow.source) {
                *self.sources.entry(flow.source).or_default() += 1;
            }
            return;
        }
        self.top.push((bytes, flow, way));
        if self.top.len() >= TOP_KEPT {
            self.cut();
        }
    }

    /// Many connections are like another: a rule that asks for the port they come from is rare.
    fn way(&mut self, impact: &Impact, entry: Entry) -> (Passage, Passage, Fate) {
        let entry = impact.like(entry);
        if let Some(known) = self.known.get(&entry) {
            return known.clone();
        }
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        let way = impact.of(&entry);
        self.known.insert(entry, way.clone());
        way
    }

    fn cut(&mut self) {
        self.top.sort_by_key(|(bytes, ..)| Reverse(*bytes));
        self.top.truncate(TOP_MAX);
    }

    fn document(mut self, impact: &Impact) -> mwan_api::Impact {
        self.cut();
        let counted = self.counted;
        let sum =
            |fate| self.ways.iter().filter(|((.., f), _)| *f == fate).map(|(_, (flows, _))| flows).sum();
        let (stay, moves, reset): (u64, u64, u64) = (sum(Fate::Stay), sum(Fate::Move), sum(Fate::Reset));
        let name = |way: &Passage| name(impact, way);
        let mut ways: Vec<ImpactWay> = self
            .ways
            .iter()
            .map(|((from, to, fate), (flows, bytes))| ImpactWay {
                from: name(from),
                to: name(to),
                fate: word(*fate),
                flows: *flows,
                bytes: counted.then_some(*bytes),
            })
            .collect();
        sort_short(&mut ways, |way| Reverse(way.flows));
        let top = self.top.iter().map(|(bytes, flow, (from, to, fate))| ImpactFlow {
            proto: protocol_name(flow.protocol),
            src: flow.source.to_string(),
            dst: flow.destination.to_string(),
            sport: flow.source_port,
            dport: flow.destination_port,
            from: name(from),
            to: name(to),
            fate: word(*fate),
            bytes: *bytes,
        });
        let mut sources: Vec<(IpAddr, u64)> = self.sources.into_iter().collect();
        sources.sort_by_key(|(_, flows)| Reverse(*flows));
        sources.truncate(TOP_MAX);
        mwan_api::Impact {
            total: stay + moves + reset,
            stay,
            moves,
            reset,
            counted,
            ways,
            top: top.collect(),
            sources: sources
                .into_iter()
                .map(|(src, flows)| ImpactSource { src: src.to_string(), flows })
                .collect(),
        }
    }
}

fn name(impact: &Impact, way: &Passage) -> String {
    match way {
        Passage::By(ids) => ids.iter().filter_map(|id| impact.name(*id)).collect::<Vec<_>>().join("+"),
        Passage::Main => "main".to_owned(),
        Passage::Blackhole => "blackhole".to_owned(),
        Passage::Unreachable => "unreachable".to_owned(),
    }
}

fn word(fate: Fate) -> mwan_api::Fate {
    match fate {
        Fate::Stay => mwan_api::Fate::Stay,
        Fate::Move => mwan_api::Fate::Move,
        Fate::Reset => mwan_api::Fate::Reset,
    }
}
