//! What `mwan explain` says of a packet is what the kernel does with it: random configurations through the real core, random
//! packets through the real program. Compared are the rule that counts, the mark (one of those that are explained, where
//! chance decides) and the member that counts. What the explanation needs to know of the kernel it asks the kernel for.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use mwan_compile::nft::{Hook, HookKind, HookPoint, MarkKind, NftOp, Rule as NftRule, Statement};
use mwan_compile::{Observed, check, compile, diff_observed};
use mwan_compile::{entered_by_others, rule_chain, sticky_kind, sticky_placed, sticky_set};
use mwan_config::*;
use mwan_core::{
    Address, Choice, Core, DefaultRoute, Entered, Event, Explainer, Facts, Lead, Link, Memory, NetView,
    Packet, Platform, Share, Time,
};
use mwan_linux::nft::NftSocket;

use super::common::{feed, in_namespace};
use super::lists::{Case, LANS, WAN, address, range};
use super::rng::Rng;
use super::{Router, towards};

/// Configurations, unless the environment says otherwise.
const CONFIGURATIONS: u64 = 250;
/// Packets through each: 100,000 pairs.
const PACKETS: u64 = 400;
/// The other WAN's device.
const WANB: &str = "wan1";
const WANS: [&str; 3] = ["w", "x", "y"];
const POLICIES: [&str; 3] = ["p", "q", "r"];

#[test]
fn the_explanation_is_the_kernels_verdict() {
    in_namespace("explained::the_explanation_is_the_kernels_verdict", || {
        let wanted = std::env::var("EXPLAINED_CONFIGURATIONS").ok();
        let count = wanted.map_or(CONFIGURATIONS, |n| n.parse().expect("a number"));
        let mut router = Router::new();
        let mut tally = Tally::default();
        for seed in 0..count {
            let world = World::new(seed);
            world.install(&mut router);
            let rng = &mut Rng::new(seed ^ 0xe8_0000_0000);
            for _ in 0..PACKETS {
                world.compare(&mut router, &world.packet(rng), &mut tally);
            }
        }
        tally.assert_worth(count * PACKETS);
    });
}

/// A configuration in force, in a network.
struct World {
    seed: u64,
    case: Case,
    explainer: Explainer,
    /// What others have entered into the dynamic networks.
    dynamic: Vec<IpAddr>,
    facts: Kernel,
}

impl World {
    fn new(seed: u64) -> World {
        let rng = &mut Rng::new(seed ^ 0xe1_0000_0000);
        let case = Case::new(seed);
        let config = config(rng, &case);
        let net = network(rng, &case);
        let mut core = Core::new(Platform { translate: true }, Arc::new(config), Memory::default());
        core.handle(Time(1), Event::Network(Arc::new(net)));
        for name in WANS {
            match rng.below(8) {
                0 => drop(core.handle(Time(2), Event::IfDown(name.to_owned()))),
                1 => drop(core.handle(Time(2), Event::Drain(name.to_owned()))),
                _ => {}
            }
        }
        let explainer = core.explainer().expect("the network has been seen");
        let dynamic = (0..rng.below(3)).map(|_| {
            let family = *rng_family(rng);
            address(rng, family)
        });
        let dynamic = dynamic.collect();
        let facts = Kernel::new(explainer.desired.sets.clone());
        World { seed, case, explainer, dynamic, facts }
    }

    fn install(&self, router: &mut Router) {
        let (desired, seed) = (&self.explainer.desired, self.seed);
        let program = compile(desired);
        assert_eq!(check(&program, desired.marks), [], "configuration {seed}");
        let extra = by_mark(desired.marks, &desired.interfaces.iter().map(|i| i.id).collect::<Vec<_>>());
        let ops = [diff_observed(&Observed::default(), &program).nft, super::witness(), extra].concat();
        router.nft.delete_table_if_exists().expect("the table before");
        router.nft.commit(&ops, None).unwrap_or_else(|e| panic!("configuration {seed}: {e}"));
        let digit = |ip: &IpAddr| if ip.is_ipv4() { 4 } else { 6 };
        let learned = self.case.learned.iter().map(|(set, ip)| (format!("learned.{set}"), ip));
        let dynamic = self.dynamic.iter().map(|ip| ("dynamic".to_owned(), ip));
        let text: String = learned
            .chain(dynamic)
            .map(|(set, ip)| format!("add element inet mwan {set}.{} {{ {ip} }}\n", digit(ip)))
            .collect();
        if !text.is_empty() {
            feed("nft -f -", &text);
        }
        router.installed = Some(program);
        router.counts = router.read();
    }

    /// Near what a rule wants, now and then near something that is decided before the rules.
    fn packet(&self, rng: &mut Rng) -> Packet {
        let mut packet = self.case.packet(rng);
        let family = Family::of(packet.destination);
        if packet.input.as_deref() == Some(WAN) && rng.chance(50) {
            packet.input = Some(WANB.to_owned());
        }
        let own = |ip: &&IpAddr| Family::of(**ip) == family;
        let dynamic: Vec<_> = self.dynamic.iter().filter(own).collect();
        if !dynamic.is_empty() && rng.chance(4) {
            packet.destination = **rng.pick(&dynamic);
        }
        let homes: Vec<_> = self.explainer.desired.homes(family, packet.input.is_none()).collect();
        if !homes.is_empty() && rng.chance(10) {
            packet.source = rng.pick(&homes).range.first;
        }
        // Sources come again, or nobody would ever be known to a sticky rule.
        if rng.chance(40) {
            packet.source = super::lists::number(rng.below(16), family, 0);
        }
        packet
    }

    fn compare(&self, router: &mut Router, packet: &Packet, tally: &mut Tally) {
        let explanation = self.explainer.explain(packet, &self.facts);
        let family = Family::of(packet.destination);
        let before = router.counts.clone();
        let rules = router.pass(packet);
        let passed = |prefix: &str| -> BTreeSet<String> {
            let counts =
                router.counts.iter().filter(|(name, n)| name.starts_with(prefix) && **n != before[*name]);
            counts.map(|(name, _)| name[prefix.len()..].to_owned()).collect()
        };
        let marks = passed("mark.");
        let explained: Vec<String> = explanation.ways.iter().map(|way| format!("{:x}", way.mark)).collect();
        let context = || {
            format!(
                "configuration {}, {packet:?}: {explanation:#?}\n{}",
                self.seed,
                mwan_compile::text::table(&router.installed.as_ref().expect("installed").table)
            )
        };
        let rule: Vec<String> =
            explanation.walk.found.map(|found| rule_chain(&found.rule.name, family)).into_iter().collect();
        assert_eq!(rules, rule, "the rule that counts, left in the kernel; {}", context());
        assert_eq!(marks.len(), 1, "one mark: {marks:?}");
        assert!(
            marks.iter().all(|mark| explained.contains(mark)),
            "{marks:?}, not {explained:?}; {}",
            context()
        );
        let members = passed("member.");
        let leads = explanation.ways.iter().all(|way| way.interface.is_some());
        let by_member = leads && explanation.walk.found.is_some();
        assert_eq!(members.len(), usize::from(by_member), "{members:?}; {}", context());
        tally.count(&explanation.walk.decision, &explanation.choice, explanation.ways.len());
        tally.unroutable += u64::from(explanation.ways.iter().all(|way| way.lead == Lead::Unreachable));
    }
}

/// What the kernel has of a set.
struct Kernel {
    nft: RefCell<NftSocket>,
    sets: Arc<Vec<NamedSet>>,
}

impl Kernel {
    fn new(sets: Arc<Vec<NamedSet>>) -> Kernel {
        Kernel { nft: RefCell::new(NftSocket::open().expect("nftables")), sets }
    }

    fn ask(&self, set: &str, key: &[IpAddr]) -> Option<Duration> {
        let found = self.nft.borrow_mut().element(set, key).expect("an answer")?;
        Some(found.left.unwrap_or_default())
    }
}

impl Entered for Kernel {
    fn holds(&self, set: &str, ip: IpAddr) -> bool {
        let Some(named) = self.sets.iter().find(|named| named.name == set) else { return false };
        let family = Family::of(ip);
        let listed =
            named.entries.iter().any(|r| Family::of(r.first) == family && r.first <= ip && ip <= r.last);
        listed && named.families.contains(family)
            || entered_by_others(named, family).is_some_and(|set| self.ask(&set, &[ip]).is_some())
    }

    fn dynamic(&self, ip: IpAddr) -> bool {
        self.ask(if ip.is_ipv4() { "dynamic.4" } else { "dynamic.6" }, &[ip]).is_some()
    }
}

impl Facts for Kernel {
    fn kept(&self, rule: &Rule, id: u32, packet: &Packet) -> Option<Duration> {
        let family = Family::of(packet.destination);
        sticky_kind(rule, family)?;
        let key = match rule.sticky?.key {
            StickyKey::Source => vec![packet.source],
            StickyKey::SourceAndDestination => vec![packet.source, packet.destination],
        };
        self.ask(&sticky_set(&rule.name, id, family), &key)
    }

    fn placed(&self, rule: &Rule, shares: &[Share], packet: &Packet) -> Option<u32> {
        sticky_placed(rule.sticky?.key, shares, packet)
    }
}

/// A counter for every mark a packet can leave the program with.
fn by_mark(marks: mwan_core::Marks, ids: &[u32]) -> Vec<NftOp> {
    let special = [0, marks.default_id(), marks.unreachable_id(), marks.blackhole_id()];
    let values: BTreeSet<u32> = ids.iter().chain(&special).map(|id| marks.of(*id)).collect();
    let mut ops: Vec<NftOp> = values.iter().map(|mark| NftOp::AddCounter(format!("mark.{mark:x}"))).collect();
    for (name, point) in [("marks.in", HookPoint::Prerouting), ("marks.out", HookPoint::Output)] {
        let hook = Some(Hook { kind: HookKind::Filter, point, priority: -101 });
        ops.push(NftOp::AddChain { name: name.into(), hook });
        for (towards, value) in
            towards().into_iter().flat_map(|to| values.iter().map(move |mark| (to.clone(), *mark)))
        {
            let is = Statement::MarkMatch { mark: MarkKind::Packet, mask: marks.mask(), equal: true, value };
            let statements = [towards, vec![is, Statement::Counter(format!("mark.{value:x}"))]].concat();
            ops.push(NftOp::AddRule { chain: name.into(), rule: NftRule { statements, tag: name.into() } });
        }
    }
    ops
}

fn rng_family(rng: &mut Rng) -> &'static Family {
    rng.pick(&[Family::V4, Family::V6])
}

/// The lists of a case with several WANs, policies, sticky rules, and what else the core knows.
fn config(rng: &mut Rng, case: &Case) -> Config {
    let text: String = WANS
        .iter()
        .map(|name| {
            let device = if *name == "w" { WAN } else if *name == "x" { WANB } else { "wan2" };
            let families = *rng.pick(&["any", "any", "ipv4", "ipv6"]);
            let state = *rng.pick(&["online", "online", "online", "offline"]);
            let family = *rng_family(rng);
            let routed = range(rng, family);
            let routed = format!("{}-{}", routed.first, routed.last);
            format!(
                "config interface '{name}'\n option enabled 1\n option device {device}\n option family {families}\n \
                 option initial_state {state}\n list track_ip 198.51.100.1\n list track_ip 2001:db8::1\n \
                 list routed_network '{routed}'\n"
            )
        })
        .collect();
    let loaded = parse("test", text.as_bytes());
    let mut config = loaded.config;
    config.globals.source_routing = rng.chance(30);
    config.globals.local_source = rng.chance(30).then(|| LANS[0].to_owned());
    let location = Location { file: "test".into(), line: 0 };
    for name in POLICIES {
        let count = rng.range(1, 5);
        let members = (0..count).map(|n| Member {
            name: format!("m{n}"),
            interface: (*rng.pick(&WANS)).to_owned(),
            metric: *rng.pick(&[1, 1, 1, 2]),
            weight: *rng.pick(&[1, 1, 2, 3, 200]),
        });
        let members = members.collect();
        let last_resort = *rng.pick(&[LastResort::Unreachable, LastResort::Blackhole, LastResort::Default]);
        config.policies.push(Policy {
            name: name.to_owned(),
            members,
            last_resort,
            location: location.clone(),
        });
    }
    for found in case.desired.rules.iter() {
        let mut rule = found.rule.clone();
        if let Target::Policy(_) = rule.target {
            rule.target = Target::Policy((*rng.pick(&POLICIES)).to_owned());
            let key = *rng.pick(&[StickyKey::Source, StickyKey::SourceAndDestination]);
            rule.sticky = rng.chance(40).then_some(Sticky { timeout: Duration::from_secs(3600), key });
        }
        config.rules.push(rule);
    }
    config.sets = case.desired.sets.clone();
    config
}

fn network(rng: &mut Rng, case: &Case) -> NetView {
    let mut net = NetView {
        connected: case.desired.connected.clone(),
        custom: case.desired.custom.clone(),
        ..NetView::default()
    };
    for (index, device) in (1..).zip([LANS[0], LANS[1], WAN, WANB, "wan2"]) {
        let own = |rng: &mut Rng, family: Family| {
            let prefix_len = family.bits() - *rng.pick(&[0, 1, 2]);
            Address { ip: address(rng, family), prefix_len, peer: None, global: true, preferred: true }
        };
        let addresses = Family::ALL.map(|family| own(rng, family)).into();
        let link = Link { index, up: true, carrier: true, point_to_point: false, addresses };
        net.links.insert(device.to_owned(), link);
        for family in Family::ALL.into_iter().filter(|_| device.starts_with("wan")) {
            let gateway = Some(address(rng, family));
            net.defaults.push(DefaultRoute {
                family,
                metric: index,
                table: 254,
                device: device.to_owned(),
                gateway,
            });
        }
    }
    net
}

/// What was seen: a test that only ever sees one way proves little.
#[derive(Default, Debug)]
struct Tally {
    decided: BTreeMap<&'static str, u64>,
    chosen: BTreeMap<&'static str, u64>,
    unroutable: u64,
}

impl Tally {
    fn count(&mut self, decision: &mwan_core::Decision<'_>, choice: &Choice, ways: usize) {
        use mwan_core::Decision::{Home, Inbound, Local, Rule, Unmatched};
        let word = match decision {
            Inbound(_) => "inbound",
            Local => "local",
            Home(_) => "home",
            Rule { policy: None, .. } => "direct",
            Rule { .. } => "policy",
            Unmatched => "unmatched",
        };
        *self.decided.entry(word).or_default() += 1;
        let word = match choice {
            Choice::Only => "only",
            Choice::Random => "random",
            Choice::Kept(..) => "kept",
            Choice::Placed(Some(_)) => "placed",
            Choice::Placed(None) => panic!("the hash is known"),
        };
        assert!(ways == 1 || word == "random");
        *self.chosen.entry(word).or_default() += 1;
    }

    fn assert_worth(&self, packets: u64) {
        println!("{packets} packets: {self:?}");
        assert_eq!((self.decided.len(), self.chosen.len()), (6, 4), "{self:?}");
        for count in self.decided.values().chain(self.chosen.values()) {
            assert!(count * 1000 >= packets, "hardly seen: {self:?}");
        }
    }
}
