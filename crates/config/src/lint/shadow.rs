//! Rules that never match, because rules before them take all of it.
//!
//! What a rule matches is, per family, a product of five sets: protocols, source and destination addresses, source and
//! destination ports; and conditions nothing is known of (named sets, which others fill, and devices). A rule before takes for
//! certain what it matches if those conditions are the later rule's, too; of a named set, what the owner lists is in it in
//! any case. The difference of two products is up to five products, so that what several rules leave of one is exact. Only
//! what is certain is said.

use super::spans::Spans;
use crate::address::bits;
use crate::model::{AddressMatch, AddressRange, Config, Family, PortRange, Rule};

/// More products than this are not followed: the rule is not judged.
const PIECES_MAX: usize = 64;
/// Work for unions in all, in ranges looked at: a tenth of a second at most, however spiteful the rules.
const UNION_BUDGET: usize = 150_000;
/// More rules together are no help to the reader; the message would be right and nobody could follow it.
const TOGETHER_MAX: usize = 16;
/// The port of a packet that has none. Rules without ports match it, those with any do not.
const NO_PORT: u128 = 65_536;

/// Why a rule never matches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Never {
    /// There is nothing it could match.
    Nothing,
    /// These rules before it take all of it together: indices, ascending.
    Taken(Vec<usize>),
}

/// For every rule that certainly never matches: its index and why.
pub(super) fn never(config: &Config) -> Vec<(usize, Never)> {
    let lists = listed(config);
    let shapes: Vec<[Option<Shape<'_>>; 2]> = config
        .rules
        .iter()
        .map(|rule| {
            Family::ALL.map(|family| rule.families.contains(family).then(|| Shape::of(rule, family, &lists)))
        })
        .collect();
    // What each family's rules reach, close together in memory: nearly all pairs have nothing in common, and that is seen here.
    let reaches: [Vec<(usize, Reach)>; 2] = std::array::from_fn(|family| {
        let of = |(i, s): (usize, &[Option<Shape<'_>>; 2])| Some((i, s[family].as_ref()?.product.reach()?));
        shapes.iter().enumerate().filter_map(of).collect()
    });
    let mut budget = UNION_BUDGET;
    let mut found = Vec::new();
    for (index, shape) in shapes.iter().enumerate() {
        let takers = shape.iter().enumerate().filter_map(|(family, shape)| {
            let shape = shape.as_ref().filter(|shape| !shape.product.is_empty())?;
            let own = shape.product.reach()?;
            let before = reaches[family].iter().take_while(|(i, _)| *i < index);
            let near = before.filter(|(_, other)| own.meets(other)).map(|(i, _)| *i);
            let near = near.filter_map(|i| Some((i, shapes[i][family].as_ref()?)));
            Some(shape.takers(near, &mut budget))
        });
        let Some(takers) = takers.collect::<Option<Vec<Vec<usize>>>>() else { continue };
        if takers.is_empty() {
            found.push((index, Never::Nothing));
            continue;
        }
        let mut all: Vec<usize> = Vec::new();
        takers.into_iter().flatten().for_each(|taker| {
            if let Err(at) = all.binary_search(&taker) {
                all.insert(at, taker);
            }
        });
        found.push((index, Never::Taken(all)));
    }
    found
}

/// What the owner lists in each set, by family.
type Lists<'a> = Vec<(&'a str, [Spans; 2])>;

fn listed(config: &Config) -> Lists<'_> {
    let used = |name: &str| {
        config
            .rules
            .iter()
            .any(|r| [&r.source_set, &r.destination_set].iter().any(|s| s.as_deref() == Some(name)))
    };
    let sets = config.sets.iter().filter(|set| used(&set.name));
    sets.map(|set| (set.name.as_str(), Family::ALL.map(|family| addresses(&set.entries, family)))).collect()
}

fn addresses(ranges: &[AddressRange], family: Family) -> Spans {
    let of_family = ranges.iter().filter(|r| Family::of(r.first) == family);
    Spans::of(of_family.map(|r| (bits(r.first), bits(r.last))))
}

/// What a rule matches in one family.
struct Shape<'a> {
    /// Without the named sets.
    product: Product,
    /// Lists of its named sets, where it has any: what of the addresses is matched although nothing else is known of the set.
    source_listed: Option<Spans>,
    destination_listed: Option<Spans>,
    interface: Option<&'a str>,
    source_set: Option<&'a str>,
    destination_set: Option<&'a str>,
}

/// A product of sets.
#[derive(Clone)]
struct Product {
    protocols: [u128; 2],
    dimensions: [Spans; 4],
}

/// The least box around a product: its protocols, and the lowest and highest number of each dimension.
struct Reach {
    ends: [(u128, u128); 4],
    protocols: [u128; 2],
}

impl Reach {
    /// Whether they may have a packet in common; wrong only where lists lie between each other.
    fn meets(&self, other: &Reach) -> bool {
        // Destinations differ most often.
        [DESTINATION, SOURCE, 3, 2].into_iter().all(|i| {
            let ((first, last), (others_first, others_last)) = (self.ends[i], other.ends[i]);
            first <= others_last && others_first <= last
        }) && self.protocols.iter().zip(other.protocols).any(|(mine, its)| mine & its != 0)
    }
}

const SOURCE: usize = 0;
const DESTINATION: usize = 1;

impl<'a> Shape<'a> {
    fn of(rule: &'a Rule, family: Family, lists: &Lists<'_>) -> Self {
        let source = matched(rule.source.as_ref(), family);
        let destination = matched(rule.destination.as_ref(), family);
        let listed = |set: &Option<String>, addresses: &Spans| {
            let set = set.as_deref()?;
            let list = lists.iter().find(|(name, _)| *name == set);
            let list = list.map(|(_, list)| list[usize::from(family == Family::V6)].and(addresses));
            Some(list.unwrap_or_default())
        };
        Shape {
            source_listed: listed(&rule.source_set, &source),
            destination_listed: listed(&rule.destination_set, &destination),
            product: Product {
                protocols: protocols(&rule.protocols),
                dimensions: [source, destination, ports(&rule.source_ports), ports(&rule.destination_ports)],
            },
            interface: rule.source_interface.as_deref(),
            source_set: rule.source_set.as_deref(),
            destination_set: rule.destination_set.as_deref(),
        }
    }

    /// What of its addresses (`SOURCE`, `DESTINATION`) a packet that `later` matches is certain to be matched by.
    fn certain(&self, dimension: usize, later: &Shape<'_>) -> &Spans {
        let (set, other, listed) = match dimension {
            SOURCE => (self.source_set, later.source_set, &self.source_listed),
            _ => (self.destination_set, later.destination_set, &self.destination_listed),
        };
        match listed {
            Some(listed) if set != other => listed,
            _ => &self.product.dimensions[dimension],
        }
    }

    /// The sets of its product as `later` may count on them; `None` if it asks for a device that `later` does not.
    fn against(&self, later: &Shape<'_>) -> Option<[&Spans; 4]> {
        let [_, _, source_ports, destination_ports] = &self.product.dimensions;
        let device = self.interface.is_none() || self.interface == later.interface;
        device.then(|| {
            [self.certain(SOURCE, later), self.certain(DESTINATION, later), source_ports, destination_ports]
        })
    }

    /// The rules of `before` that take all of it: one if there is such a one, else several. `None`: none do, or it would
    /// take too long to find out.
    fn takers<'b>(
        &self,
        before: impl Iterator<Item = (usize, &'b Shape<'b>)>,
        budget: &mut usize,
    ) -> Option<Vec<usize>>
    where
        'a: 'b,
    {
        let candidates: Vec<Candidate<'_>> = before
            .filter_map(|(index, shape)| {
                let dimensions = shape.against(self)?;
                let candidate = Candidate { index, protocols: shape.product.protocols, dimensions };
                candidate.meets(&self.product).then_some(candidate)
            })
            .collect();
        if let Some(one) = candidates.iter().find(|candidate| candidate.covers(&self.product)) {
            return Some(vec![one.index]);
        }
        // A corner that nobody has is quicker found than a difference.
        let open = |point: &Point| !candidates.iter().any(|candidate| candidate.contains(point));
        if self.product.corners().iter().any(open) {
            return None;
        }
        let mut together = union(&self.product, &candidates.iter().collect::<Vec<_>>(), budget)?;
        if together.len() > TOGETHER_MAX {
            return None;
        }
        // Those that the others can do without are no part of the reason.
        let mut at = 0;
        while at < together.len() {
            let mut fewer = together.clone();
            fewer.remove(at);
            match union(&self.product, &fewer, budget) {
                Some(less) => together = less,
                None => at += 1,
            }
        }
        Some(together.iter().map(|candidate| candidate.index).collect())
    }
}

/// A rule before another, as far as that one may count on it.
struct Candidate<'a> {
    index: usize,
    protocols: [u128; 2],
    dimensions: [&'a Spans; 4],
}

/// A packet.
struct Point {
    protocol: usize,
    coordinates: [u128; 4],
}

impl Candidate<'_> {
    fn covers(&self, product: &Product) -> bool {
        product.protocols.iter().zip(self.protocols).all(|(its, mine)| its & !mine == 0)
            && product.dimensions.iter().zip(self.dimensions).all(|(its, mine)| mine.covers(its))
    }

    /// Whether they may have a packet in common; wrong only where lists lie between each other.
    fn meets(&self, product: &Product) -> bool {
        let overlap = |(its, mine): (&Spans, &Spans)| match (its.ends(), mine.ends()) {
            (Some(its), Some(mine)) => its.0 <= mine.1 && mine.0 <= its.1,
            _ => false,
        };
        product.protocols.iter().zip(self.protocols).any(|(its, mine)| its & mine != 0)
            && product.dimensions.iter().zip(self.dimensions).all(overlap)
    }

    fn contains(&self, point: &Point) -> bool {
        self.protocols[point.protocol / 128] >> (point.protocol % 128) & 1 == 1
            && self.dimensions.iter().zip(point.coordinates).all(|(mine, number)| mine.contains(number))
    }
}

impl Product {
    fn is_empty(&self) -> bool {
        self.protocols == [0, 0] || self.dimensions.iter().any(Spans::is_empty)
    }

    /// `None`: it is empty.
    fn reach(&self) -> Option<Reach> {
        let [source, destination, from, to] = &self.dimensions;
        let ends = [source.ends()?, destination.ends()?, from.ends()?, to.ends()?];
        Some(Reach { ends, protocols: self.protocols })
    }

    /// Packets of its edge: all lowest, all highest, and the highest of each set with the lowest of the others.
    fn corners(&self) -> Vec<Point> {
        let ends: Vec<(u128, u128)> = self.dimensions.iter().filter_map(Spans::ends).collect();
        let Ok(ends) = <[(u128, u128); 4]>::try_from(ends) else { return Vec::new() };
        let [low, high] = self.protocols;
        let lowest = if low != 0 { low.trailing_zeros() } else { 128 + high.trailing_zeros() };
        let highest = if high != 0 { 255 - high.leading_zeros() } else { 127 - low.leading_zeros() };
        let point = |protocol: u32, picks: usize| Point {
            protocol: protocol as usize,
            coordinates: std::array::from_fn(|i| if picks >> i & 1 == 1 { ends[i].1 } else { ends[i].0 }),
        };
        let picks = [0, 0b1111, 0b0001, 0b0010, 0b0100, 0b1000];
        [lowest, highest].into_iter().flat_map(|p| picks.map(|picks| point(p, picks))).collect()
    }

    /// What of it `taker` does not take: products with nothing in common.
    fn without(&self, taker: &Candidate<'_>, rest: &mut Vec<Product>) {
        let mut inside = self.clone();
        let left = std::array::from_fn(|i| self.protocols[i] & !taker.protocols[i]);
        inside.protocols = std::array::from_fn(|i| self.protocols[i] & taker.protocols[i]);
        if left != [0, 0] {
            rest.push(Product { protocols: left, dimensions: self.dimensions.clone() });
        }
        if inside.protocols == [0, 0] {
            return;
        }
        for (i, mine) in taker.dimensions.iter().enumerate() {
            let left = inside.dimensions[i].without(mine);
            if !left.is_empty() {
                let mut piece = inside.clone();
                piece.dimensions[i] = left;
                rest.push(piece);
            }
            inside.dimensions[i] = inside.dimensions[i].and(mine);
            if inside.dimensions[i].is_empty() {
                return;
            }
        }
    }

    fn size(&self) -> usize {
        self.dimensions.iter().map(Spans::len).sum()
    }
}

/// Those of `candidates` that took something until nothing was left; `None` if something was, or it is too much work.
fn union<'c, 'a>(
    product: &Product,
    candidates: &[&'c Candidate<'a>],
    budget: &mut usize,
) -> Option<Vec<&'c Candidate<'a>>> {
    let mut pieces = vec![product.clone()];
    let mut took = Vec::new();
    for candidate in candidates {
        let mut rest = Vec::new();
        let mut takes = false;
        for piece in pieces {
            if !candidate.meets(&piece) {
                rest.push(piece);
                continue;
            }
            takes = true;
            let work = piece.size() + candidate.dimensions.iter().map(|d| d.len()).sum::<usize>();
            *budget = budget.checked_sub(work).filter(|left| *left > 0)?;
            piece.without(candidate, &mut rest);
            if rest.len() > PIECES_MAX {
                return None;
            }
        }
        if takes {
            took.push(*candidate);
        }
        if rest.is_empty() {
            return Some(took);
        }
        pieces = rest;
    }
    None
}

fn matched(wanted: Option<&AddressMatch>, family: Family) -> Spans {
    let all = Spans::up_to(if family == Family::V4 { u128::from(u32::MAX) } else { u128::MAX });
    match wanted {
        None => all,
        Some(list) if list.negated => all.without(&addresses(&list.ranges, family)),
        Some(list) => addresses(&list.ranges, family),
    }
}

fn ports(wanted: &[PortRange]) -> Spans {
    if wanted.is_empty() {
        return Spans::up_to(NO_PORT);
    }
    Spans::of(wanted.iter().map(|r| (u128::from(r.first), u128::from(r.last))))
}

fn protocols(wanted: &[u8]) -> [u128; 2] {
    if wanted.is_empty() {
        return [u128::MAX; 2];
    }
    let mut bits = [0; 2];
    for protocol in wanted {
        bits[usize::from(protocol / 128)] |= 1u128 << (protocol % 128);
    }
    bits
}
