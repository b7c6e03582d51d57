//! What another configuration would mean for the connections that are there. Nothing is decided anew: the core takes the
//! configuration over in a copy, and what that copy then owes its flows ([`super::flows`]) is asked for each of them.

use mwan_config::Gather;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mwan_config::{Config, Family, LastResort};

use super::flows::WayOut;
use super::{Core, Effect, Event, Placement};
use crate::classify::Packet;
use crate::{Carrier, Marks, PathKey, Time};

/// Where a connection goes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Passage {
    /// By these interfaces (one, or those that share it), by the numbers they have now.
    By(Vec<u32>),
    /// By the main routing table.
    Main,
    /// Nowhere: dropped without a word.
    Blackhole,
    /// Nowhere: the sender is told so.
    Unreachable,
}

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Fate {
    /// It stays where it is.
    Stay,
    /// It goes on by another way.
    Move,
    /// It ends: its address changes under it, or there is no way.
    Reset,
}

/// What becomes of the flows of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Course {
    /// Their entries are deleted.
    Leaves,
    /// Those of flows that would take another way now.
    Misplaced,
    /// The same; and what stays has no routing table of its own any more.
    Gone,
    /// All of it: mwan is switched off.
    Off,
}

/// A connection entry, as far as it matters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Entry {
    /// What it began with, as far as conntrack remembers.
    pub first: Packet,
    /// Where replies are sent: the source after translation.
    pub reply_destination: IpAddr,
    /// Connection mark.
    pub mark: u32,
}

/// What another configuration means for present connections.
#[derive(Clone, Debug)]
pub struct Impact {
    marks: Marks,
    /// By present number and family; what is not here stays.
    courses: BTreeMap<PathKey, Course>,
    /// Number by the other configuration → present one.
    numbers: BTreeMap<u32, u32>,
    names: BTreeMap<u32, String>,
    placement: Option<Placement>,
    /// The router's own addresses.
    own: BTreeSet<IpAddr>,
    /// Whether any rule asks for the port a connection comes from.
    source_ports: bool,
}

/// Protocols whose connections are bound to both addresses (RFC 9293, 9260, 4340).
const BOUND: [u8; 3] = [6, 132, 33];

/// Present numbers of interfaces that are only in the other configuration start here: no mark has them.
const NEW: u32 = 1 << 31;

impl Core {
    /// Takes `config` over, and says what that means for the connections that are there.
    pub fn impact(&mut self, config: Arc<Config>, now: Time) -> Impact {
        let before = self.clone();
        let effects = self.handle(now, Event::Configure(config)).effects;
        let mut numbers = BTreeMap::new();
        let mut names: BTreeMap<u32, String> = before.wans.iter().map(|w| (w.id, w.name.clone())).gather();
        for wan in &self.wans {
            let present = before.wan(&wan.name).map_or(NEW | wan.id, |(id, _)| id);
            numbers.insert(wan.id, present);
            names.insert(present, wan.name.clone());
        }
        let off = !self.config.globals.enabled;
        let mut courses = BTreeMap::new();
        for key in before.paths.keys() {
            let name = before.wans.iter().find(|w| w.id == key.id).map(|w| w.name.as_str());
            let id = name.and_then(|name| self.wan(name)).map(|(id, _)| id);
            let after = id.map(|id| PathKey { id, ..*key }).filter(|key| self.paths.contains_key(key));
            let course = match after {
                _ if off => Some(Course::Off),
                None => Some(Course::Gone),
                Some(after) => self.course(after, &effects),
            };
            courses.extend(course.map(|course| (*key, course)));
        }
        let marks = Marks::new(before.config.globals.mask);
        let placement = self.placement();
        let own = placement.iter().flat_map(Placement::own).collect();
        let source_ports = self.config.rules.iter().any(|rule| !rule.source_ports.is_empty());
        Impact { marks, courses, numbers, names, placement, own, source_ports }
    }

    /// What is owed to the flows of a path: just now by `effects`, or as soon as the kernel has what is wanted.
    fn course(&self, key: PathKey, effects: &[Effect]) -> Option<Course> {
        let (owes, wished, moves) = self.owed(key);
        let way_out = if owes { self.way_out(key) } else { WayOut::None };
        let said = |effect: Effect| effects.contains(&effect);
        if wished || way_out == WayOut::ForAll || said(Effect::FlushPath(key)) {
            return Some(Course::Leaves);
        }
        let some = moves || way_out == WayOut::ForSome || said(Effect::MoveMisplaced(key));
        some.then_some(Course::Misplaced)
    }
}

impl Impact {
    /// Name of an interface by the number in a [`Passage`].
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(&id).map(String::as_str)
    }

    /// The entry without what makes no difference: what [`Impact::of`] says of it, it says of all that are like it.
    pub fn like(&self, mut entry: Entry) -> Entry {
        entry.first.source_port = entry.first.source_port.filter(|_| self.source_ports);
        entry.mark &= self.marks.mask();
        entry
    }

    /// Where a connection is, where it goes, and what that does to it.
    pub fn of(&self, entry: &Entry) -> (Passage, Passage, Fate) {
        let family = Family::of(entry.first.destination);
        let id = self.marks.id_of(entry.mark);
        let from = self.present(id);
        let course = self.courses.get(&PathKey { id, family });
        let (Some(course), Some(placement)) = (course, &self.placement) else {
            return (from.clone(), from, Fate::Stay);
        };
        if *course == Course::Off {
            return (from, Passage::Main, self.fate(entry, &Passage::Main));
        }
        let inbound = self.own.contains(&entry.first.destination);
        let carriers = if inbound { None } else { placement.possible(&entry.first) };
        let elsewhere = carriers.as_ref().is_some_and(|carriers| {
            let here = |carrier: &Carrier| match carrier {
                Carrier::Members(shares) => shares.iter().any(|s| self.numbers.get(&s.id) == Some(&id)),
                Carrier::LastResort(_) => true,
            };
            !carriers.iter().any(here)
        });
        let to = || carriers.iter().flatten().next().map_or(Passage::Main, |carrier| self.way(carrier));
        let to = match course {
            // Its entry is made anew by its next packet, maybe just where it was.
            Course::Leaves => to(),
            _ if elsewhere => to(),
            Course::Gone | Course::Off => Passage::Main,
            Course::Misplaced => return (from.clone(), from, Fate::Stay),
        };
        if inbound && *course == Course::Leaves {
            return (from, to, Fate::Reset);
        }
        let fate = if to == from { Fate::Stay } else { self.fate(entry, &to) };
        (from, to, fate)
    }

    /// Where the flows with this number in their mark are.
    fn present(&self, id: u32) -> Passage {
        match id {
            _ if id == self.marks.unreachable_id() => Passage::Unreachable,
            _ if id == self.marks.blackhole_id() => Passage::Blackhole,
            _ if self.names.contains_key(&id) => Passage::By(vec![id]),
            _ => Passage::Main,
        }
    }

    fn way(&self, carrier: &Carrier) -> Passage {
        match carrier {
            Carrier::Members(shares) => {
                let ids: BTreeSet<u32> =
                    shares.iter().filter_map(|s| self.numbers.get(&s.id).copied()).collect();
                Passage::By(ids.into_iter().collect())
            }
            Carrier::LastResort(LastResort::Default) => Passage::Main,
            Carrier::LastResort(LastResort::Unreachable) => Passage::Unreachable,
            Carrier::LastResort(LastResort::Blackhole) => Passage::Blackhole,
        }
    }

    /// A connection with an address of ours at its outer end cannot take it along to another way.
    fn fate(&self, entry: &Entry, to: &Passage) -> Fate {
        let ours = self.own.contains(&entry.reply_destination) || self.own.contains(&entry.first.destination);
        match to {
            Passage::Unreachable | Passage::Blackhole => Fate::Reset,
            Passage::By(_) | Passage::Main if ours && BOUND.contains(&entry.first.protocol) => Fate::Reset,
            Passage::By(_) | Passage::Main => Fate::Move,
        }
    }
}
