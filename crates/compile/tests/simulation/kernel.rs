//! A model of the parts of the kernel that a program lives in: it executes operations as strictly as the real
//! one, tells what is there, and takes packets through it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mwan_compile::nft::*;
use mwan_compile::routing::{IpRule, ObservedRouting, Route, RoutingOp, RuleAction};
use mwan_compile::{Observed, Ops};
use mwan_compile::{blocks, near};
use mwan_config::{AddressRange, Family};

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct KTable {
    pub(crate) dormant: bool,
    pub(crate) sets: BTreeMap<String, KSet>,
    pub(crate) counters: BTreeSet<String>,
    pub(crate) chains: BTreeMap<String, Arc<KChain>>,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct KSet {
    pub(crate) kind: SetKind,
    pub(crate) ranges: BTreeSet<AddressRange>,
    /// What packets have entered.
    pub(crate) known: BTreeSet<Vec<IpAddr>>,
}

impl KSet {
    pub(crate) fn new(kind: SetKind) -> Self {
        KSet { kind, ranges: BTreeSet::new(), known: BTreeSet::new() }
    }

    /// What a map of blocks has for so many bits of an address.
    fn mark(&self, ip: IpAddr, bits: u8) -> Option<u32> {
        let cut = ipnet::IpNet::new(ip, bits).expect("a prefix length").network();
        let ElementKind::Near(level, mask) = self.kind.elements else { panic!("no map") };
        let found = self.ranges.iter().map(|element| near::blocks_of(*element, level.length, mask));
        found.into_iter().find_map(|(mut blocks, mark)| blocks.any(|first| first == cut).then_some(mark))
    }

    /// Looks up so many bits of an address. A set of blocks is a hash table of the first addresses of them.
    fn holds(&self, ip: IpAddr, bits: u8) -> bool {
        let cut = ipnet::IpNet::new(ip, bits).expect("a prefix length").network();
        match self.kind.elements {
            ElementKind::Blocks(level) => {
                self.ranges.iter().any(|run| blocks::addresses(*run, level.length).any(|first| first == cut))
            }
            _ => self.ranges.iter().any(|r| r.first <= cut && cut <= r.last),
        }
    }
}

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct KChain {
    pub(crate) hook: Option<Hook>,
    /// Policy of a base chain.
    pub(crate) drop: bool,
    pub(crate) rules: Vec<Rule>,
}

#[derive(Clone, Default, PartialEq, Debug)]
pub(crate) struct Kernel {
    pub(crate) table: Option<KTable>,
    pub(crate) rules: Vec<IpRule>,
    pub(crate) routes: Vec<Route>,
    /// Devices that are up: routes need one.
    pub(crate) up: BTreeSet<String>,
    /// Destinations of the main table other than default.
    pub(crate) main: Arc<BTreeSet<ipnet::IpNet>>,
}

/// One step of an apply: the transaction counts as one.
pub(crate) enum Step<'a> {
    Routing(&'a RoutingOp),
    Nft(&'a [NftOp]),
}

pub(crate) fn steps(ops: &Ops) -> Vec<Step<'_>> {
    let nft = (!ops.nft.is_empty()).then_some(Step::Nft(&ops.nft));
    ops.add.iter().map(Step::Routing).chain(nft).chain(ops.remove.iter().map(Step::Routing)).collect()
}

impl Kernel {
    pub(crate) fn step(&mut self, step: &Step<'_>) -> Result<(), String> {
        match step {
            Step::Routing(op) => self.routing(op),
            Step::Nft(ops) => self.transaction(ops),
        }
    }

    fn routing(&mut self, op: &RoutingOp) -> Result<(), String> {
        match op {
            RoutingOp::AddRule(rule) if self.rules.contains(rule) => Err("EEXIST".into()),
            RoutingOp::AddRule(rule) => {
                self.rules.push(rule.clone());
                self.rules.sort_by_key(|r| r.priority);
                Ok(())
            }
            RoutingOp::DeleteRule(rule) => remove(&mut self.rules, rule),
            RoutingOp::SetRoute(route) if !self.up.contains(&route.device) => Err("ENETDOWN".into()),
            RoutingOp::SetRoute(route) => {
                let same = |r: &Route| r.family == route.family && r.table == route.table;
                match self.routes.iter_mut().find(|r| same(r)) {
                    Some(there) => *there = route.clone(),
                    None => self.routes.push(route.clone()),
                }
                Ok(())
            }
            RoutingOp::DeleteRoute(route) => remove(&mut self.routes, route),
            RoutingOp::DeleteForeign(foreign) => Err(format!("the model has none: {foreign}")),
        }
    }

    /// All or nothing.
    fn transaction(&mut self, ops: &[NftOp]) -> Result<(), String> {
        let mut table = self.table.clone();
        for op in ops {
            execute(&mut table, op).map_err(|e| format!("{op}: {e}"))?;
        }
        self.table = table;
        Ok(())
    }

    pub(crate) fn observe(&self) -> Observed {
        let table = self.table.as_ref().map(|t| ObservedTable {
            dormant: t.dormant,
            sets: t
                .sets
                .iter()
                .map(|(n, set)| {
                    let (elements, others) = (set.ranges.clone(), !set.known.is_empty());
                    (n.clone(), ObservedSet { kind: Some(set.kind), elements, others })
                })
                .collect(),
            counters: t.counters.clone(),
            chains: t
                .chains
                .iter()
                .map(|(n, c)| {
                    let tags = c.rules.iter().map(|r| r.tag.clone()).collect();
                    let base = c.hook.filter(|_| c.drop).map_or(Base::ours(c.hook), Base::Dropping);
                    (n.clone(), ObservedChain { base, tags })
                })
                .collect(),
        });
        Observed {
            table,
            routing: ObservedRouting {
                rules: self.rules.clone(),
                routes: self.routes.clone(),
                ..ObservedRouting::default()
            },
        }
    }
}

fn remove<T: PartialEq>(list: &mut Vec<T>, wanted: &T) -> Result<(), String> {
    let at = list.iter().position(|r| r == wanted).ok_or("ENOENT")?;
    list.remove(at);
    Ok(())
}

/// Chains, sets and counters a rule refers to.
fn references(rule: &Rule) -> Vec<&str> {
    let mut names = Vec::new();
    let mut verdict = |v| match v {
        &Verdict::Goto(ref c) | &Verdict::Jump(ref c) => names.push(c.as_str()),
        _ => {}
    };
    for s in &rule.statements {
        match s {
            Statement::Verdict(v) => verdict(v),
            Statement::MarkVmap { elements, .. } => elements.iter().for_each(|(_, v)| verdict(v)),
            Statement::Vmap { elements, .. } => elements.iter().for_each(|(_, v)| verdict(v)),
            Statement::RandomVmap { elements, .. } | Statement::HashVmap { elements, .. } => {
                elements.iter().for_each(|(_, _, v)| verdict(v));
            }
            _ => {}
        }
    }
    for s in &rule.statements {
        match s {
            Statement::InSet { set: name, .. }
            | Statement::Near { map: name, .. }
            | Statement::Known { set: name, .. }
            | Statement::Remember { set: name, .. }
            | Statement::Counter(name) => names.push(name),
            _ => {}
        }
    }
    names
}

fn referenced(table: &KTable, name: &str) -> bool {
    table.chains.values().flat_map(|c| &c.rules).any(|r| references(r).contains(&name))
}

fn execute(table: &mut Option<KTable>, op: &NftOp) -> Result<(), String> {
    match op {
        NftOp::AddTable => {
            table.get_or_insert_default().dormant = false;
            return Ok(());
        }
        NftOp::DeleteTable => return table.take().map(|_| ()).ok_or("ENOENT".into()),
        _ => {}
    }
    let t = table.as_mut().ok_or("no table")?;
    match op {
        NftOp::AddSet { name, kind } => {
            let new = t.sets.insert(name.clone(), KSet::new(*kind)).is_none();
            if new { Ok(()) } else { Err("EEXIST".into()) }
        }
        NftOp::DeleteSet(name) if referenced(t, name) => Err("EBUSY".into()),
        NftOp::DeleteSet(name) => t.sets.remove(name).map(|_| ()).ok_or("ENOENT".into()),
        NftOp::AddElements { set, elements, .. } => add_elements(t, set, elements),
        NftOp::FlushSet(name) => {
            let set = t.sets.get_mut(name).ok_or("no such set")?;
            *set = KSet::new(set.kind);
            Ok(())
        }
        NftOp::DeleteElements { set, elements, .. } => {
            let there = &mut t.sets.get_mut(set).ok_or("no such set")?.ranges;
            let all = elements.iter().all(|e| there.remove(e));
            if all { Ok(()) } else { Err("ENOENT".into()) }
        }
        NftOp::AddCounter(name) if !t.counters.insert(name.clone()) => Err("EEXIST".into()),
        NftOp::AddCounter(_) => Ok(()),
        NftOp::DeleteCounter(name) if referenced(t, name) => Err("EBUSY".into()),
        NftOp::DeleteCounter(name) if !t.counters.remove(name) => Err("ENOENT".into()),
        NftOp::DeleteCounter(_) => Ok(()),
        NftOp::AddChain { name, hook: hook @ Some(_) }
            if t.chains.get(name).is_some_and(|c| c.hook == *hook) =>
        {
            let chain = Arc::make_mut(t.chains.get_mut(name).ok_or("ENOENT")?);
            // An update; ours never updates to what is there already.
            if std::mem::take(&mut chain.drop) { Ok(()) } else { Err("nothing to do".into()) }
        }
        NftOp::AddChain { name, hook } => {
            let chain = Arc::new(KChain { hook: *hook, ..KChain::default() });
            let new = t.chains.insert(name.clone(), chain).is_none();
            if new { Ok(()) } else { Err("EEXIST".into()) }
        }
        NftOp::FlushChain(name) => {
            Arc::make_mut(t.chains.get_mut(name).ok_or("ENOENT")?).rules.clear();
            Ok(())
        }
        NftOp::DeleteChain(name) if referenced(t, name) => Err("EBUSY".into()),
        NftOp::DeleteChain(name) => match t.chains.remove(name) {
            Some(chain) if chain.rules.is_empty() => Ok(()),
            Some(_) => Err("EBUSY: has rules".into()),
            None => Err("ENOENT".into()),
        },
        NftOp::AddRule { chain, rule } => {
            let known =
                |n: &&str| t.chains.contains_key(*n) || t.sets.contains_key(*n) || t.counters.contains(*n);
            if let Some(missing) = references(rule).iter().find(|n| !known(n)) {
                return Err(format!("ENOENT: {missing}"));
            }
            Arc::make_mut(t.chains.get_mut(chain).ok_or("no such chain")?).rules.push(rule.clone());
            Ok(())
        }
        NftOp::AddTable | NftOp::DeleteTable => Ok(()),
    }
}

fn add_elements(t: &mut KTable, set: &str, elements: &[AddressRange]) -> Result<(), String> {
    let KSet { kind, ranges: there, .. } = t.sets.get_mut(set).ok_or("no such set")?;
    for e in elements {
        if kind.is_dynamic()
            || Family::of(e.first) != kind.family
            || there.iter().any(|o| o.first <= e.last && e.first <= o.last)
        {
            return Err(format!("EEXIST or EINVAL: {e:?}"));
        }
        there.insert(*e);
    }
    let (count, size): (usize, u32) = match kind.elements {
        ElementKind::Blocks(level) => {
            (there.iter().map(|run| blocks::addresses(*run, level.length).count()).sum(), level.size)
        }
        ElementKind::Near(level, mask) => {
            (there.iter().map(|e| near::blocks_of(*e, level.length, mask).0.count()).sum(), level.size)
        }
        _ => (0, 0),
    };
    if count > size as usize { Err("ENFILE".into()) } else { Ok(()) }
}

/// A packet on its way.
#[derive(Clone, Debug)]
pub(crate) struct Skb {
    pub(crate) packet: mwan_core::Packet,
    pub(crate) mark: u32,
    pub(crate) ct_mark: u32,
    pub(crate) new: bool,
    /// Device a socket is bound to.
    pub(crate) bound: Option<String>,
    /// What `numgen random` says, before the modulus.
    pub(crate) random: u32,
    /// What it enters into sets, which [`Kernel::learn`] carries out.
    pub(crate) learned: Vec<(String, Vec<IpAddr>)>,
}

impl Skb {
    /// The first packet of a connection, marked by nobody.
    pub(crate) fn first(packet: &mwan_core::Packet) -> Self {
        Skb {
            packet: packet.clone(),
            mark: 0,
            ct_mark: 0,
            new: true,
            bound: None,
            random: 0,
            learned: vec![],
        }
    }
}

/// Where it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Out {
    /// By the main table.
    Main,
    /// By one of our tables.
    Via(Route),
    Unreachable,
    Blackhole,
}

impl Kernel {
    /// Takes a packet through our table and the ip rules.
    pub(crate) fn forward(&self, skb: &mut Skb) -> Out {
        let base = if skb.packet.input.is_some() { "prerouting" } else { "output" };
        if let Some(table) = self.table.as_ref().filter(|t| !t.dormant && t.chains.contains_key(base)) {
            walk(table, base, skb, &mut vec![]);
        }
        self.route(skb)
    }

    /// Enters what a packet has left to be remembered.
    pub(crate) fn learn(&mut self, skb: &Skb) {
        let Some(table) = &mut self.table else { return };
        for (set, key) in &skb.learned {
            table.sets.get_mut(set).expect("rules name sets that are there").known.insert(key.clone());
        }
    }

    fn route(&self, skb: &Skb) -> Out {
        let family = Family::of(skb.packet.destination);
        for rule in self.rules.iter().filter(|r| r.family == family) {
            let marked = rule.fwmark.is_none_or(|(value, mask)| skb.mark & mask == value);
            let iif = rule.iif.is_none() || rule.iif == skb.packet.input;
            let oif = rule.oif.is_none() || rule.oif == skb.bound;
            if !(marked && iif && oif) {
                continue;
            }
            match rule.action {
                RuleAction::Unreachable => return Out::Unreachable,
                RuleAction::Blackhole => return Out::Blackhole,
                RuleAction::LookupSpecific(_) => {
                    if self.main.iter().any(|n| n.contains(&skb.packet.destination)) {
                        return Out::Main;
                    }
                }
                RuleAction::Lookup(table) => {
                    let route = self.routes.iter().find(|r| r.family == family && r.table == table);
                    if let Some(route) = route {
                        return Out::Via(route.clone());
                    }
                }
            }
        }
        Out::Main
    }
}

/// Evaluates a chain, noting every chain on the way. `true`: evaluation of the hook is over.
pub(crate) fn walk<'t>(table: &'t KTable, chain: &str, skb: &mut Skb, chains: &mut Vec<&'t str>) -> bool {
    assert!(chains.len() < 32, "endless evaluation in {chain}");
    let (name, chain) = table.chains.get_key_value(chain).expect("the kernel keeps no dangling verdicts");
    chains.push(name);
    for rule in &chain.rules {
        for statement in &rule.statements {
            let verdict = match evaluate(table, statement, skb) {
                Go::Next => continue,
                Go::Break => break,
                Go::Verdict(v) => v,
            };
            match verdict {
                Verdict::Accept => return true,
                // Back to the `jump`, if there was one: `goto` never comes back.
                Verdict::Return => return false,
                Verdict::Goto(to) => return walk(table, &to, skb, chains),
                Verdict::Jump(to) => {
                    if walk(table, &to, skb, chains) {
                        return true;
                    }
                }
            }
        }
    }
    false
}

enum Go {
    Next,
    Break,
    Verdict(Verdict),
}

fn evaluate(table: &KTable, statement: &Statement, skb: &mut Skb) -> Go {
    let test = |ok: bool| if ok { Go::Next } else { Go::Break };
    let lookup = |v: Option<&Verdict>| v.map_or(Go::Break, |v| Go::Verdict(v.clone()));
    match statement {
        Statement::MarkMatch { mark, mask, equal, value } => {
            test((read(skb, *mark) & mask == *value) == *equal)
        }
        Statement::MarkVmap { mark, mask, elements } => {
            let key = read(skb, *mark) & mask;
            lookup(elements.iter().find(|(v, _)| *v == key).map(|(_, v)| v))
        }
        Statement::Restore { mask } if skb.mark == 0 => {
            skb.mark = skb.ct_mark & mask;
            Go::Next
        }
        Statement::Restore { .. } => Go::Break,
        Statement::NotNew => test(!skb.new),
        // Every packet of the simulation belongs to a connection.
        Statement::Invalid => Go::Break,
        Statement::Match { selector, equal, values } => {
            test(field(skb, *selector).is_some_and(|f| values.iter().any(|v| holds(v, &f)) == *equal))
        }
        Statement::InSet { selector, bits, equal, set } => test(match field(skb, *selector) {
            Some(Field::Ip(ip)) => table.sets[set].holds(ip, *bits) == *equal,
            _ => false,
        }),
        Statement::Near { selector, bits, map } => match field(skb, *selector) {
            Some(Field::Ip(ip)) if skb.mark == 0 => match table.sets[map].mark(ip, *bits) {
                Some(mark) => {
                    skb.mark = mark;
                    Go::Next
                }
                None => Go::Break,
            },
            _ => Go::Break,
        },
        Statement::Vmap { key, elements } => {
            let fields: Option<Vec<Field>> = key.iter().map(|s| field(skb, *s)).collect();
            let Some(fields) = fields else { return Go::Break };
            let row = |values: &[Value]| values.iter().zip(&fields).all(|(v, f)| holds(v, f));
            let mut hits = elements.iter().filter(|(values, _)| row(values));
            let hit = hits.next();
            assert!(hits.next().is_none(), "two elements of a map match");
            lookup(hit.map(|(_, v)| v))
        }
        Statement::RandomVmap { modulus, elements } => {
            let key = skb.random % modulus;
            lookup(elements.iter().find(|(a, b, _)| *a <= key && key <= *b).map(|(_, _, v)| v))
        }
        Statement::Known { key, set } => {
            let known = addresses(skb, key).is_some_and(|key| table.sets[set].known.contains(&key));
            test(known)
        }
        Statement::Remember { key, set, .. } => match addresses(skb, key) {
            Some(key) => {
                skb.learned.push((set.clone(), key));
                Go::Next
            }
            None => Go::Break,
        },
        Statement::HashVmap { key, modulus, elements } => {
            let Some(key) = addresses(skb, key) else { return Go::Break };
            let key = hash(&key) % modulus;
            lookup(elements.iter().find(|(a, b, _)| *a <= key && key <= *b).map(|(_, _, v)| v))
        }
        Statement::SetMark { mark, mask, value } => {
            let place = match mark {
                MarkKind::Packet => &mut skb.mark,
                MarkKind::Connection => &mut skb.ct_mark,
            };
            *place = *place & !mask | value;
            Go::Next
        }
        // Whatever the limit says, it must not matter to where the packet goes.
        Statement::Limit { .. } => test(skb.random.is_multiple_of(2)),
        Statement::Counter(_) | Statement::Log { .. } | Statement::Masquerade => Go::Next,
        Statement::Verdict(v) => Go::Verdict(v.clone()),
    }
}

fn addresses(skb: &Skb, key: &[Selector]) -> Option<Vec<IpAddr>> {
    let one = |selector: &Selector| match field(skb, *selector) {
        Some(Field::Ip(ip)) => Some(ip),
        _ => None,
    };
    key.iter().map(one).collect()
}

/// Any function of the key and of nothing else will do.
fn hash(key: &[IpAddr]) -> u32 {
    let text = format!("{key:?}");
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

fn read(skb: &Skb, mark: MarkKind) -> u32 {
    match mark {
        MarkKind::Packet => skb.mark,
        MarkKind::Connection => skb.ct_mark,
    }
}

enum Field<'a> {
    Device(&'a str),
    Family(Family),
    Byte(u8),
    Ip(IpAddr),
    Port(u16),
}

fn field(skb: &Skb, selector: Selector) -> Option<Field<'_>> {
    let p = &skb.packet;
    let of = |family: Family, ip: IpAddr| (Family::of(ip) == family).then_some(Field::Ip(ip));
    match selector {
        Selector::InputDevice => Some(Field::Device(p.input.as_deref().unwrap_or(""))),
        Selector::OutputDevice => None,
        Selector::NetworkProtocol => Some(Field::Family(Family::of(p.destination))),
        Selector::TransportProtocol => Some(Field::Byte(p.protocol)),
        Selector::Source(f) => of(f, p.source),
        Selector::Destination(f) => of(f, p.destination),
        Selector::SourcePort => p.source_port.map(Field::Port),
        Selector::DestinationPort => p.destination_port.map(Field::Port),
        Selector::Icmpv6Type => (p.protocol == 58).then_some(Field::Byte(128)),
    }
}

fn holds(value: &Value, field: &Field<'_>) -> bool {
    match (value, field) {
        (Value::Device(a), Field::Device(b)) => a == b,
        (Value::Family(a), Field::Family(b)) => a == b,
        (Value::Byte(a, b), Field::Byte(x)) => a <= x && x <= b,
        (Value::Address(r), Field::Ip(ip)) => r.first <= *ip && *ip <= r.last,
        (Value::Port(r), Field::Port(x)) => r.first <= *x && *x <= r.last,
        _ => panic!("{value:?} cannot be compared with this selector"),
    }
}
