//! Desired state → program. The shape of the tables and why it is so: DESIGN §4 and ARCHITECTURE "Data plane".

mod looks;
mod names;
mod nat;
mod routing;
mod sets;

use mwan_config::Gather;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mwan_config::{Family, Target};
use mwan_core::{Carrier, Desired, DesiredInterface, DesiredPolicy, DesiredRule, Share};

use crate::Program;
use crate::nft::*;
use crate::shape::{Group, Shape, Within, group};
use crate::sources::entry;
use crate::{log, sources, sticky};
use looks::Looks;
use names::{classify_chain, get_chain, mark_ids, nfproto_vmap, set_marks};
use nat::nat_section;
use routing::{ip_rules, routes};
use sets::{SET_NAMES, set_name, sets};

pub(crate) use names::{bounded, digit, goto, identifier, resort_chain, rule, rules_chain, set_chain};
pub use names::{member_chain, policy_chain, rule_chain};

/// Right behind `mangle` (-150), so that other packages' marks are already set and kept.
const PRIORITY_MANGLE: i32 = -149;
/// Up to so many devices are compared one after another, which costs less than hashing a name of 16 bytes.
const DEVICES_COMPARED_MAX: usize = 4;
/// Up to so many numbers are listed one by one for a random choice: the kernel finds them by one hash, ranges by a
/// binary search with an indirect call per step (nft_set_rbtree).
const RANDOM_SINGLES_MAX: u32 = 128;
/// Compiles and remembers, so that an unchanged part of the desired state costs nothing and is recognised by
/// its pointer further down.
#[derive(Clone, Debug, Default)]
pub struct Compiler {
    last: Option<(Arc<Desired>, Program)>,
    /// Rules that log do not.
    silent: bool,
}

impl Compiler {
    /// From now on without rules that log: this kernel cannot. Returns what was compiled last, which is to be compiled
    /// anew.
    pub fn silence(&mut self) -> Option<Arc<Desired>> {
        self.silent = true;
        self.last.take().map(|(desired, _)| desired)
    }

    /// The program of `desired`.
    pub fn compile(&mut self, desired: &Arc<Desired>) -> Program {
        if desired.off {
            self.last = None;
            return Program::default();
        }
        let (last, silent) = (self.last.take(), self.silent);
        let old = last.as_ref().map(|(old, program)| (old.as_ref(), program));
        let devices = old.filter(|(old, _)| same_devices(old, desired));
        let base = devices.filter(|(old, _)| {
            old.custom.is_empty() == desired.custom.is_empty()
                && old.masquerade == desired.masquerade
                && Family::ALL.into_iter().all(|f| entry(old, f, true) == entry(desired, f, true))
                && Family::ALL.into_iter().all(|f| entry(old, f, false) == entry(desired, f, false))
        });
        let rules = devices.filter(|(old, _)| old.rule_base == desired.rule_base);
        let members = old.filter(|(old, _)| same_members(old, desired));
        let policies = old.filter(|(old, _)| Arc::ptr_eq(&old.policies, &desired.policies));
        let user_rules = old.filter(|(old, _)| {
            Arc::ptr_eq(&old.rules, &desired.rules)
                && Arc::ptr_eq(&old.sets, &desired.sets)
                && old.marks == desired.marks
        });
        let nat = old.filter(|(old, _)| same_homes(old, desired) && old.masquerade == desired.masquerade);
        let same_ways = old.filter(|(old, _)| Arc::ptr_eq(&old.interfaces, &desired.interfaces));
        // Without a sticky rule no policy matters to it.
        let sticky = user_rules.filter(|(old, _)| {
            let any = || desired.rules.iter().any(|found| found.rule.sticky.is_some());
            same_members(old, desired) && (Arc::ptr_eq(&old.policies, &desired.policies) || !any())
        });
        let by_source = user_rules.filter(|(old, _)| {
            old.homes == desired.homes
                && old.local_source == desired.local_source
                && old.marks == desired.marks
        });
        let section = |same: Option<(&Desired, &Program)>, at: usize, build: &dyn Fn() -> Section| {
            same.map_or_else(|| Arc::new(build()), |(_, program)| program.table.sections[at].clone())
        };
        let program = Program {
            table: Table {
                sets: sets(desired, old),
                sections: vec![
                    section(base, 0, &|| base_section(desired)),
                    section(members, 1, &|| member_section(desired)),
                    section(policies, 2, &|| policy_section(desired)),
                    section(user_rules, 3, &|| rule_section(desired, silent)),
                    section(nat, 4, &|| nat_section(desired)),
                    section(sticky, 5, &|| sticky::section(desired)),
                    section(by_source, 6, &|| sources::section(desired)),
                ],
            },
            rules: rules.map_or_else(|| Arc::new(ip_rules(desired)), |(_, program)| program.rules.clone()),
            routes: match same_ways {
                Some((_, program)) => program.routes.clone(),
                None => Arc::new(routes(&desired.interfaces)),
            },
        };
        self.last = Some((desired.clone(), program.clone()));
        program
    }
}

/// Compiles once, without memory.
pub fn compile(desired: &Desired) -> Program {
    Compiler::default().compile(&Arc::new(desired.clone()))
}

/// The chains every packet meets: restore, inbound, classification, and the chains that set marks.
fn base_section(desired: &Desired) -> Section {
    let marks = desired.marks;
    let mut chains = BTreeMap::new();
    let mut add = |name: &str, hook: Option<Hook>, rules: Vec<Rule>| {
        chains.insert(name.to_owned(), Arc::new(Chain { hook, rules }));
    };
    for (name, kind, point) in [
        ("prerouting", HookKind::Filter, HookPoint::Prerouting),
        ("output", HookKind::Route, HookPoint::Output),
    ] {
        let hook = Hook { kind, point, priority: PRIORITY_MANGLE };
        add(name, Some(hook), hook_rules(desired, point == HookPoint::Prerouting));
    }
    let shared = shared_devices(&desired.interfaces);
    for family in Family::ALL.into_iter().filter(|_| !shared.is_empty()) {
        add(&classify_chain(family), None, classify(desired, &[family], false));
    }
    for device in shared {
        add(&device.chain, None, vec![rule("inbound", vec![nfproto_vmap(&device.families)])]);
    }
    for (id, _) in mark_ids(desired) {
        let set = set_marks(marks, id);
        add(&get_chain(marks, id), None, vec![rule("restore", set[..1].to_vec())]);
        add(&set_chain(marks, id), None, vec![rule("mark", set.into())]);
    }
    Section { counters: BTreeSet::new(), chains }
}

/// The rules of a hook, in the order every packet meets them.
fn hook_rules(desired: &Desired, prerouting: bool) -> Vec<Rule> {
    let marks = desired.marks;
    let mask = marks.mask();
    let restore = mark_ids(desired)
        .into_iter()
        .map(|(id, _)| (marks.of(id), Verdict::Goto(get_chain(marks, id))))
        .collect();
    let mut rules = vec![
        // Nearly every packet: nobody else marks it, and it belongs to a known connection.
        rule("restore", vec![Statement::Restore { mask }]),
        // Restored just now; or a probe or `mwan use`, which choose for themselves.
        rule(
            "already marked",
            vec![
                Statement::MarkMatch { mark: MarkKind::Packet, mask, equal: false, value: 0 },
                Statement::Verdict(Verdict::Return),
            ],
        ),
        // The same for packets that others have marked: our bits among theirs.
        rule(
            "established",
            vec![Statement::MarkVmap { mark: MarkKind::Connection, mask, elements: restore }],
        ),
        // Flows older than we are stay where they are. So does neighbour discovery (RFC 4861), which must never be
        // policy-routed: the kernel does not track ICMPv6 133 to 136, and a redirect, 137, is invalid to it
        // (nf_conntrack_proto_icmpv6.c, noct_valid_new and valid_new), so neither is ever new.
        rule("older flows", vec![Statement::NotNew, nat::not_new(desired, prerouting)]),
    ];
    let inbound = inbound_chains(&desired.interfaces);
    if prerouting {
        rules.extend(by_device("inbound", Selector::InputDevice, inbound));
    }
    rules.extend(classify(desired, &Family::ALL, !prerouting));
    rules
}

/// The rules that lead from a device to its chain.
fn by_device(word: &str, selector: Selector, chains: Vec<(String, String)>) -> Vec<Rule> {
    if chains.len() <= DEVICES_COMPARED_MAX {
        let one = |(device, chain): (String, String)| {
            let is = Statement::Match { selector, equal: true, values: vec![Value::Device(device)] };
            rule(word, vec![is, goto(&chain)])
        };
        return chains.into_iter().map(one).collect();
    }
    let element = |(device, chain)| (vec![Value::Device(device)], Verdict::Goto(chain));
    let elements = chains.into_iter().map(element).collect();
    vec![rule(word, vec![Statement::Vmap { key: vec![selector], elements }])]
}

pub(crate) fn family_is(family: Family) -> Statement {
    Statement::Match { selector: Selector::NetworkProtocol, equal: true, values: vec![Value::Family(family)] }
}

/// What decides about a new flow of these families.
fn classify(desired: &Desired, families: &[Family], own: bool) -> Vec<Rule> {
    let custom = !desired.custom.is_empty();
    let mut rules: Vec<Rule> =
        families.iter().map(|family| user_rules(*family, custom, &entry(desired, *family, own))).collect();
    rules.push(rule("not policy-routed", vec![goto("set.default")]));
    rules
}

/// The user's rules decide unless the destination is in one of the sets. One rule, not one per set: it need not ask
/// for the family three times.
fn user_rules(family: Family, custom: bool, entry: &str) -> Rule {
    let names = SET_NAMES.iter().filter(|name| custom || **name != "custom");
    let outside = names.map(|name| Statement::InSet {
        selector: Selector::Destination(family),
        bits: family.bits(),
        equal: false,
        set: set_name(name, family),
    });
    let mut statements = vec![family_is(family)];
    statements.extend(outside);
    statements.push(goto(entry));
    rule(family.name(), statements)
}

/// A device of which the families belong to different interfaces, or only one family to any.
struct SharedDevice {
    device: String,
    chain: String,
    families: [(Family, Verdict); 2],
}

/// Id of the interface that has `device` in `family`.
fn owner(interfaces: &[DesiredInterface], device: &str, family: Family) -> Option<u32> {
    let has = |i: &&DesiredInterface| i.device == device && i.paths.iter().any(|p| p.family == family);
    interfaces.iter().find(has).map(|i| i.id)
}

fn devices(interfaces: &[DesiredInterface]) -> BTreeSet<&str> {
    interfaces.iter().map(|i| i.device.as_str()).collect()
}

fn shared_devices(interfaces: &[DesiredInterface]) -> Vec<SharedDevice> {
    devices(interfaces)
        .into_iter()
        .filter_map(|device| {
            let [v4, v6] = Family::ALL.map(|family| owner(interfaces, device, family));
            if v4 == v6 {
                return None;
            }
            let verdict = |family, id: Option<u32>| {
                Verdict::Goto(id.map_or_else(|| classify_chain(family), |id| format!("set.{id}")))
            };
            let chain = format!("in.{}", v4.or(v6)?);
            let families = [(Family::V4, verdict(Family::V4, v4)), (Family::V6, verdict(Family::V6, v6))];
            Some(SharedDevice { device: device.to_owned(), chain, families })
        })
        .collect()
}

/// Devices and the chains that pin what comes in by them.
fn inbound_chains(interfaces: &[DesiredInterface]) -> Vec<(String, String)> {
    let shared: BTreeMap<String, String> =
        shared_devices(interfaces).into_iter().map(|d| (d.device, d.chain)).gather();
    devices(interfaces)
        .into_iter()
        .filter_map(|device| {
            let chain = match shared.get(device) {
                Some(chain) => chain.clone(),
                None => format!("set.{}", owner(interfaces, device, Family::V4)?),
            };
            Some((device.to_owned(), chain))
        })
        .collect()
}

/// One chain per member of a policy and family it has: its counter, then the interface's mark (not by its chain: every
/// new connection comes here). They stay while the
/// member exists, carrying or not, so that counters survive failovers.
fn member_section(desired: &Desired) -> Section {
    let mut section = Section::default();
    for policy in desired.policies.iter() {
        for (id, interface) in policy.members.iter() {
            let paths = desired.interfaces.iter().filter(|i| i.id == *id).flat_map(|i| &i.paths);
            for family in paths.map(|p| p.family) {
                let name = member_chain(&policy.name, interface, family);
                let mut statements = vec![Statement::Counter(name.clone())];
                statements.extend(set_marks(desired.marks, *id));
                let chain = Chain { hook: None, rules: vec![rule(interface, statements)] };
                section.counters.insert(name.clone());
                section.chains.insert(name, Arc::new(chain));
            }
        }
    }
    section
}

/// One chain per policy and family, replaced when what carries it changes; nothing else changes in a failover.
fn policy_section(desired: &Desired) -> Section {
    let mut section = Section::default();
    for policy in desired.policies.iter() {
        for family in Family::ALL {
            let chain = Chain { hook: None, rules: vec![policy_rule(policy, family)] };
            section.chains.insert(policy_chain(&policy.name, family), Arc::new(chain));
        }
    }
    section
}

fn policy_rule(policy: &DesiredPolicy, family: Family) -> Rule {
    let statement = match policy.carrier(family) {
        Carrier::LastResort(resort) => goto(resort_chain(*resort)),
        Carrier::Members(shares) => balance(policy, shares, family),
    };
    rule(&policy.name, vec![statement])
}

/// Whether the kernel has this policy with just these carriers.
pub fn policy_is_installed(policy: &DesiredPolicy, family: Family, observed: &ObservedTable) -> bool {
    let chain = observed.chains.get(&policy_chain(&policy.name, family));
    chain.is_some_and(|chain| chain.tags == [policy_rule(policy, family).tag])
}

/// Exact weights by one random number and one lookup.
fn balance(policy: &DesiredPolicy, shares: &[Share], family: Family) -> Statement {
    let target = |share: &Share| Verdict::Goto(member_chain(&policy.name, &share.interface, family));
    if let [only] = shares {
        return Statement::Verdict(target(only));
    }
    let (modulus, elements) = spread(shares, target);
    Statement::RandomVmap { modulus, elements }
}

/// Numbers `0..modulus` shared out by weight: first, last, and where they lead.
pub(crate) fn spread<T: Clone>(shares: &[Share], target: impl Fn(&Share) -> T) -> (u32, Vec<(u32, u32, T)>) {
    let divisor = shares.iter().map(|s| s.weight).fold(0, gcd).max(1);
    let mut start = 0;
    let spans: Vec<(u32, u32, T)> = shares
        .iter()
        .map(|share| {
            let first = start;
            start += share.weight / divisor;
            (first, start - 1, target(share))
        })
        .collect();
    let elements = if start > RANDOM_SINGLES_MAX {
        spans
    } else {
        spans
            .into_iter()
            .flat_map(|(first, last, to)| (first..=last).map(move |n| (n, n, to.clone())))
            .collect()
    };
    (start, elements)
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// The user's rules: one chain per rule and family (its line in the log if it has one, its counter, then its target), and
/// per family the chain that finds the first match.
fn rule_section(desired: &Desired, silent: bool) -> Section {
    let rules = desired.rules.as_slice();
    let mut section = Section::default();
    let log_share = (!silent).then(|| log::share(desired));
    for family in Family::ALL {
        let shapes: Vec<(usize, Shape)> = rules
            .iter()
            .enumerate()
            .filter_map(|(i, r)| Some((i, Shape::of(r, family, &desired.sets, desired.marks)?)))
            .collect();
        for (index, _) in &shapes {
            let found = &rules[*index].rule;
            let name = rule_chain(&found.name, family);
            let target = match &found.target {
                Target::Policy(_) if found.sticky.is_some() => sticky::chain(&found.name, family),
                Target::Policy(policy) => policy_chain(policy, family),
                Target::Direct(resort) => resort_chain(*resort).to_owned(),
            };
            let statements = vec![Statement::Counter(name.clone()), goto(&target)];
            let logging = log_share.and_then(|share| log::logging(&rules[*index], family, share));
            section.counters.extend(logging.as_ref().map(|_| log::counter(&found.name, family)));
            let rules = logging.into_iter().chain([rule(&found.name, statements)]).collect();
            section.counters.insert(name.clone());
            section.chains.insert(name, Arc::new(Chain { hook: None, rules }));
        }
        let rules = first_match(
            shapes,
            rules,
            family,
            &mut Some(Looks { chains: &mut section.chains, marks: desired.marks }),
        );
        section.chains.insert(rules_chain(family), Arc::new(Chain { hook: None, rules }));
    }
    section
}

/// What finds the first rule that matches; without `looks` no chain of its own is made for a rule.
pub(crate) fn first_match(
    shapes: Vec<(usize, Shape)>,
    rules: &[DesiredRule],
    family: Family,
    looks: &mut Option<Looks<'_>>,
) -> Vec<Rule> {
    group(shapes).into_iter().flat_map(|g| dispatch(&g, rules, family, looks)).collect()
}

/// What decides a group of rules: one rule, except where a named set is made of several.
fn dispatch(
    group: &Group,
    rules: &[DesiredRule],
    family: Family,
    looks: &mut Option<Looks<'_>>,
) -> Vec<Rule> {
    let target = |index: usize| Verdict::Goto(rule_chain(&rules[index].rule.name, family));
    match (&group.key, group.rules.as_slice()) {
        (_, [(index, shape)]) => {
            let name = &rules[*index].rule.name;
            let one = |mut statements: Vec<Statement>, verdict: Verdict| {
                if statements.iter().any(is_address) {
                    statements.insert(0, family_is(family));
                }
                statements.push(Statement::Verdict(verdict));
                rule(name, statements)
            };
            match looks {
                Some(looks) if shape.sets.iter().any(|set| set.near.is_some()) => {
                    looks.rules(name, shape, family)
                }
                _ => linear(shape).into_iter().map(|found| one(found, target(*index))).collect(),
            }
        }
        (key, many) => {
            let elements = many
                .iter()
                .flat_map(|(index, shape)| shape.keys().into_iter().map(|k| (k, target(*index))))
                .collect();
            let mut statements = vec![most_telling_first(key.as_deref().unwrap_or_default(), elements)];
            if statements.iter().any(is_address) {
                statements.insert(0, family_is(family));
            }
            vec![rule(&format!("{} rules", many.len()), statements)]
        }
    }
}

/// The map with its selectors in the order in which fewer elements share a value. The kernel compares one after another
/// and, for each, goes through all elements that still match (`pipapo_refill`, nft_set_pipapo.c): were the source of a
/// thousand rules asked for first that is the same network in all of them, every new connection would pay for a thousand.
fn most_telling_first(key: &[Selector], elements: Vec<(Vec<Value>, Verdict)>) -> Statement {
    let shared = |at: usize| {
        let mut counts: BTreeMap<Option<&Value>, usize> = BTreeMap::new();
        elements.iter().for_each(|(values, _)| *counts.entry(values.get(at)).or_default() += 1);
        counts.into_values().max()
    };
    let mut order: Vec<usize> = (0..key.len()).collect();
    order.sort_by_cached_key(|at| shared(*at));
    let arrange = |values: &[Value]| order.iter().filter_map(|at| values.get(*at).cloned()).collect();
    Statement::Vmap {
        key: order.iter().filter_map(|at| key.get(*at).copied()).collect(),
        elements: elements.iter().map(|(values, to)| (arrange(values), to.clone())).collect(),
    }
}

fn is_address(statement: &Statement) -> bool {
    let address = |s: &Selector| matches!(s, Selector::Source(_) | Selector::Destination(_));
    match statement {
        Statement::Match { selector, .. }
        | Statement::InSet { selector, .. }
        | Statement::Near { selector, .. } => address(selector),
        Statement::Vmap { key, .. } => key.iter().any(address),
        _ => false,
    }
}

/// The match of a single rule, one statement per dimension; in as many variants as its sets have parts.
fn linear(shape: &Shape) -> Vec<Vec<Statement>> {
    let positive = shape.dimensions.iter().map(|(s, values)| (*s, true, values));
    let negative = shape.negated.iter().map(|(s, values)| (*s, false, values));
    let statements: Vec<Statement> = positive
        .chain(negative)
        .map(|(selector, equal, values)| Statement::Match { selector, equal, values: values.clone() })
        .collect();
    shape.sets.iter().fold(vec![statements], |variants, Within { selector, parts, .. }| {
        let with = |statements: &Vec<Statement>, (set, bits): &(String, u8)| {
            let (selector, set) = (*selector, set.clone());
            let within = Statement::InSet { selector, bits: *bits, equal: true, set };
            [statements.as_slice(), &[within]].concat()
        };
        variants.iter().flat_map(|v| parts.iter().map(move |set| with(v, set))).collect()
    })
}

/// Whether marks, and interfaces with their devices and families, are the same.
fn same_devices(a: &Desired, b: &Desired) -> bool {
    a.marks == b.marks
        && alike(&a.interfaces, &b.interfaces, |x, y| {
            (x.id, x.table, &x.device) == (y.id, y.table, &y.device)
                && x.paths.iter().map(|p| p.family).eq(y.paths.iter().map(|p| p.family))
        })
}

/// Whether the members that policies can ever have, their families and the marks are the same.
fn same_members(a: &Desired, b: &Desired) -> bool {
    let families = |x: &DesiredInterface, y: &DesiredInterface| {
        x.id == y.id && x.paths.iter().map(|p| p.family).eq(y.paths.iter().map(|p| p.family))
    };
    let members = |x: &DesiredPolicy, y: &DesiredPolicy| x.name == y.name && x.members == y.members;
    a.marks == b.marks
        && alike(&a.policies, &b.policies, members)
        && alike(&a.interfaces, &b.interfaces, families)
}

/// Whether devices and addresses are the same; routes do not matter for translation.
fn same_homes(a: &Desired, b: &Desired) -> bool {
    alike(&a.interfaces, &b.interfaces, |x, y| {
        let paths = |i: &DesiredInterface| i.paths.len();
        (x.id, &x.name, &x.device, paths(x)) == (y.id, &y.name, &y.device, paths(y))
            && x.paths
                .iter()
                .zip(&y.paths)
                .all(|(p, q)| (p.family, &p.addresses, &p.routed) == (q.family, &q.addresses, &q.routed))
    })
}

fn alike<T>(a: &Arc<Vec<T>>, b: &Arc<Vec<T>>, same: impl Fn(&T, &T) -> bool) -> bool {
    Arc::ptr_eq(a, b) || a.len() == b.len() && a.iter().zip(b.iter()).all(|(x, y)| same(x, y))
}
