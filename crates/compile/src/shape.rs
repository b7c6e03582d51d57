//! Runs of rules of one shape become one verdict-map lookup, so that a packet's cost does not grow with their
//! number. First match still wins: a rule joins an earlier group only if it is disjoint from everything in
//! between.

use std::cmp::Reverse;

use mwan_config::{AddressMatch, AddressRange, Family, NamedSet, PortRange};
use mwan_core::{DesiredRule, Marks};

use crate::named::{Part, parts};
use crate::near;
use crate::nft::{Selector, Value};
use crate::ranges::{everything, merge, merge_ports};

/// A rule with more keys than this in one family is not expanded into a map: its lists become sets of its own.
const KEYS_PER_RULE_MAX: usize = 4096;

/// A dimension of a rule's match and its values, disjoint and sorted.
type Dimension = (Selector, Vec<Value>);

/// How one rule matches in one family.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Shape {
    /// What has to match, in canonical order; empty = everything.
    pub(crate) dimensions: Vec<Dimension>,
    /// Addresses that must *not* match.
    pub(crate) negated: Vec<Dimension>,
    /// Named sets, of which each has to match.
    pub(crate) sets: Vec<Within>,
}

/// A part of a named set: name, and how many bits of the address are looked up.
type Lookup = (String, u8);

/// The match of a named set.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Within {
    /// An address.
    pub(crate) selector: Selector,
    /// One of its parts has to match.
    pub(crate) parts: Vec<Lookup>,
    /// What tells which of them.
    pub(crate) near: Option<Near>,
}

/// The map that says which parts of a set may match.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Near {
    /// The part that is asked before: most of the list is in it.
    pub(crate) first: Vec<Lookup>,
    pub(crate) map: Lookup,
    /// The parts to be asked, by number from 1 on ([`near`]).
    pub(crate) numbers: Vec<Vec<Lookup>>,
    /// Parts that it knows nothing of.
    pub(crate) others: Vec<Lookup>,
}

impl Shape {
    /// The match of `rule` in `family`; `None` if it cannot match there.
    pub(crate) fn of(found: &DesiredRule, family: Family, sets: &[NamedSet], marks: Marks) -> Option<Shape> {
        let rule = &found.rule;
        if !rule.families.contains(family) {
            return None;
        }
        let mut shape = Shape { dimensions: Vec::new(), negated: Vec::new(), sets: Vec::new() };
        if let Some(device) = &found.source_device {
            shape.dimensions.push((Selector::InputDevice, vec![Value::Device(device.clone())]));
        }
        shape.address(Selector::Source(family), rule.source.as_ref(), family)?;
        shape.address(Selector::Destination(family), rule.destination.as_ref(), family)?;
        let ports = [
            (Selector::SourcePort, &rule.source_ports),
            (Selector::DestinationPort, &rule.destination_ports),
        ];
        let has_ports = ports.iter().any(|(_, ranges)| !ranges.is_empty());
        if !rule.protocols.is_empty() {
            let mut protocols = rule.protocols.clone();
            protocols.sort_unstable();
            protocols.dedup();
            let values = protocols.into_iter().map(|p| Value::Byte(p, p)).collect();
            shape.dimensions.push((Selector::TransportProtocol, values));
        } else if has_ports {
            // Ports exist in tcp and udp only; the configuration sees to that, this keeps it true.
            let tcp_udp = vec![Value::Byte(6, 6), Value::Byte(17, 17)];
            shape.dimensions.push((Selector::TransportProtocol, tcp_udp));
        }
        for (selector, ranges) in ports {
            let full = PortRange { first: 0, last: u16::MAX };
            let merged = merge_ports(ranges.iter().copied());
            if !merged.is_empty() && merged != [full] {
                shape.dimensions.push((selector, merged.into_iter().map(Value::Port).collect()));
            }
        }
        let wanted = [
            (Selector::Source(family), &rule.source_set),
            (Selector::Destination(family), &rule.destination_set),
        ];
        for (selector, name) in wanted {
            let Some(name) = name else { continue };
            let named = sets.iter().find(|set| set.name == *name)?;
            shape.sets.push(Within::new(named, selector, family, marks));
        }
        Some(shape)
    }

    /// Adds an address match. `None`: no address of this family can match.
    fn address(&mut self, selector: Selector, wanted: Option<&AddressMatch>, family: Family) -> Option<()> {
        let Some(wanted) = wanted else { return Some(()) };
        let own = wanted.ranges.iter().copied().filter(|r| Family::of(r.first) == family);
        let merged = merge(own);
        let everything = merged == [everything(family)];
        match (wanted.negated, merged.is_empty(), everything) {
            (false, true, _) | (true, _, true) => None,
            (false, _, true) | (true, true, _) => Some(()),
            (negated, ..) => {
                let values = merged.into_iter().map(Value::Address).collect();
                let list = if negated { &mut self.negated } else { &mut self.dimensions };
                list.push((selector, values));
                Some(())
            }
        }
    }

    /// The selectors of a map this match can be part of; `None` if it cannot be part of any.
    pub(crate) fn key(&self) -> Option<Vec<Selector>> {
        let keys = self.dimensions.iter().fold(1usize, |keys, (_, values)| keys.saturating_mul(values.len()));
        // Device names are variable-length strings: not in a concatenation with intervals.
        let devices = self.dimensions.iter().any(|(s, _)| *s == Selector::InputDevice);
        let plain = self.negated.is_empty() && self.sets.is_empty() && !devices;
        (plain && !self.dimensions.is_empty() && keys <= KEYS_PER_RULE_MAX)
            .then(|| self.dimensions.iter().map(|(selector, _)| *selector).collect())
    }

    /// All combinations of its values.
    pub(crate) fn keys(&self) -> Vec<Vec<Value>> {
        self.dimensions.iter().fold(vec![Vec::new()], |rows, (_, values)| {
            rows.iter()
                .flat_map(|row| {
                    values.iter().map(move |value| {
                        let mut row = row.clone();
                        row.push(value.clone());
                        row
                    })
                })
                .collect()
        })
    }

    /// Whether no packet can match both. Negations and sets are taken as "may match anything".
    pub(crate) fn disjoint(&self, other: &Shape) -> bool {
        self.dimensions.iter().any(|(selector, values)| {
            let theirs = other.dimensions.iter().find(|(s, _)| s == selector);
            theirs.is_some_and(|(_, theirs)| disjoint(values, theirs))
        })
    }
}

impl Within {
    fn new(named: &NamedSet, selector: Selector, family: Family, marks: Marks) -> Within {
        let bits = |part| match part {
            Part::Blocks(level) | Part::Near(level) => level.length,
            Part::Listed | Part::Learned | Part::Foreign => family.bits(),
        };
        let (mut map, mut others, mut levels) = (None, Vec::new(), Vec::new());
        for (name, _, part) in parts(named).into_iter().filter(|(_, of, _)| *of == family) {
            let lookup = (name, bits(part));
            match part {
                Part::Near(_) => map = Some(lookup),
                // They come in order.
                Part::Blocks(level) => levels.push((level.size, levels.len(), lookup)),
                Part::Listed | Part::Learned | Part::Foreign => others.push(lookup),
            }
        }
        // Where most of the list is comes first.
        let mut sorted = Vec::new();
        while let Some(most) = (0..levels.len()).max_by_key(|at| (levels[*at].0, Reverse(levels[*at].1))) {
            let (_, level, lookup) = levels.swap_remove(most);
            sorted.push((level, lookup));
        }
        let of_code = |code: u32| -> Vec<Lookup> {
            let own = sorted.iter().filter(|(level, _)| code >> level & 1 == 1);
            own.map(|(_, lookup)| lookup.clone()).collect()
        };
        let all = of_code(u32::MAX);
        let codes = near::numbered(named.layout.codes(family), marks);
        let first = near::first(&named.layout, family).map_or(0, |level| 1 << level);
        let near = map.map(|map| Near {
            first: of_code(first),
            map,
            numbers: [!first].iter().chain(codes).map(|code| of_code(*code)).collect(),
            others: others.clone(),
        });
        Within { selector, parts: [all, others].concat(), near }
    }
}

/// Whether two sorted lists of disjoint values have nothing in common.
fn disjoint(a: &[Value], b: &[Value]) -> bool {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        match order(x, y) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => return false,
        }
    }
    true
}

/// Before, after, or overlapping (`Equal`).
fn order(a: &Value, b: &Value) -> std::cmp::Ordering {
    use std::cmp::Ordering::{Equal, Greater, Less};
    fn ranges<T: Ord>(a: (T, T), b: (T, T)) -> std::cmp::Ordering {
        if a.1 < b.0 {
            Less
        } else if b.1 < a.0 {
            Greater
        } else {
            Equal
        }
    }
    match (a, b) {
        (Value::Byte(a0, a1), Value::Byte(b0, b1)) => ranges((a0, a1), (b0, b1)),
        (Value::Port(a), Value::Port(b)) => ranges((a.first, a.last), (b.first, b.last)),
        (Value::Address(AddressRange { first: a0, last: a1 }), Value::Address(b)) => {
            ranges((*a0, *a1), (b.first, b.last))
        }
        _ => a.cmp(b),
    }
}

/// Rules that one statement decides.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Group {
    /// Selectors of the map; `None`: a single rule that is matched on its own.
    pub(crate) key: Option<Vec<Selector>>,
    /// Indices into the rules, ascending, and their matches.
    pub(crate) rules: Vec<(usize, Shape)>,
}

/// Groups `shapes` (index of the rule, its match) in order of evaluation.
pub(crate) fn group(shapes: Vec<(usize, Shape)>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for (index, shape) in shapes {
        let key = shape.key();
        match home(&groups, &shape, key.as_deref()) {
            Some(at) => groups[at].rules.push((index, shape)),
            None => groups.push(Group { key, rules: vec![(index, shape)] }),
        }
    }
    groups
}

/// The last group of the same key this rule may join without overtaking a rule it overlaps.
fn home(groups: &[Group], shape: &Shape, key: Option<&[Selector]>) -> Option<usize> {
    let key = key?;
    for (at, group) in groups.iter().enumerate().rev() {
        if !group.rules.iter().all(|(_, other)| shape.disjoint(other)) {
            return None;
        }
        if group.key.as_deref() == Some(key) {
            return Some(at);
        }
    }
    None
}
