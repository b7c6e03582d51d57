//! Why a new flow goes where it goes: the steps of [`walk`], what they lead to, and what would carry it otherwise.
//!
//! Nothing is decided here. Rules are asked by the walk that [`crate::classify`] takes, members are chosen by the function that
//! fills policies; what only the kernel knows is handed in ([`Facts`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mwan_config::{AddressRange, Config, Family, LastResort, Member, Policy, Rule};

use crate::classify::{Decision, Entered, Packet, Walk, by_rules, owner, walk};
use crate::policy::{Candidate, carrier};
use crate::reason::{Hold, Reason};
use crate::{
    Carrier, Desired, DesiredInterface, DesiredPath, DesiredRule, MasqueradePlan, NetView, NextHop, PathKey,
    Share,
};

/// What only the kernel knows.
pub trait Facts: Entered {
    /// How much longer the packet's source is kept on interface `id` by a sticky rule; `None`: it is not.
    fn kept(&self, rule: &Rule, id: u32, packet: &Packet) -> Option<Duration>;
    /// Where a sticky rule places a new source: the id of one of `shares`.
    fn placed(&self, rule: &Rule, shares: &[Share], packet: &Packet) -> Option<u32>;
}

/// How a path stands, as far as a member's place in a policy depends on it.
#[derive(Clone, Debug)]
pub struct Standing {
    /// It may carry.
    pub usable: bool,
    /// It is held back as flapping.
    pub hold: Option<Hold>,
    /// Its interface is drained.
    pub drained: bool,
    /// Why it is as it is.
    pub reason: Reason,
}

/// Everything that explanations are made of, as one value: they are made while the core goes on.
#[derive(Clone, Debug)]
pub struct Explainer {
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What should be in the kernel.
    pub desired: Arc<Desired>,
    /// The network as last seen.
    pub net: Arc<NetView>,
    /// How every path stands.
    pub standings: BTreeMap<PathKey, Standing>,
}

/// Why a packet goes where it goes.
#[derive(Clone, Debug)]
pub struct Explanation<'a> {
    /// The steps to the decision.
    pub walk: Walk<'a>,
    /// The members of the policy that carries it, in its order.
    pub members: Vec<MemberPart<'a>>,
    /// How one of several members is chosen.
    pub choice: Choice,
    /// Where it may go; more than one only if it is left to chance.
    pub ways: Vec<Way>,
    /// What would decide it if this did not.
    pub next: Option<Walk<'a>>,
}

/// A member of the policy and what becomes of it.
#[derive(Clone, PartialEq, Debug)]
pub struct MemberPart<'a> {
    /// The member.
    pub member: &'a Member,
    /// Its part of new flows, as a fraction of all weights that carry; `None`: it carries none.
    pub part: Option<(u32, u32)>,
    /// Why it carries none.
    pub out: Option<Out>,
}

/// Why a member does not carry.
#[derive(Clone, PartialEq, Debug)]
pub enum Out {
    /// Its interface is disabled or does not have the family.
    Absent,
    /// Its path is not usable.
    Unusable(Reason),
    /// It is held back as flapping.
    Held(Hold),
    /// It is drained.
    Drained,
    /// Members with a lower metric carry.
    OtherTier,
}

/// How a member is chosen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Choice {
    /// There is nothing to choose.
    Only,
    /// By a random number, by weight.
    Random,
    /// Its source is kept on this interface, for so much longer.
    Kept(u32, Duration),
    /// Its source is new to a sticky rule and placed by a hash; `None`: where is not known here.
    Placed(Option<u32>),
}

/// A way a packet may take.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Way {
    /// Its chance: this many in `of`.
    pub weight: u32,
    /// Sum of all weights.
    pub of: u32,
    /// The interface it is marked for, if it is one.
    pub interface: Option<(u32, String)>,
    /// What it is marked with, of the bits of the mask.
    pub mark: u32,
    /// Where that leads.
    pub lead: Lead,
    /// What would carry it if this interface did not.
    pub instead: Option<Carrier>,
}

/// Where a mark leads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Lead {
    /// By the main table, which is asked first for everything but its default routes.
    Main,
    /// By the table of an interface.
    Table {
        /// Its number.
        table: u32,
        /// Its device.
        device: String,
        /// Its next hop.
        hop: NextHop,
    },
    /// Answered with ICMP unreachable.
    Unreachable,
    /// Dropped.
    Blackhole,
}

impl Explainer {
    /// Explains the first packet of a flow.
    pub fn explain<'a>(&'a self, packet: &Packet, facts: &dyn Facts) -> Explanation<'a> {
        let desired = &*self.desired;
        let family = Family::of(packet.destination);
        let walk = walk(desired, packet, facts);
        let next = self.next(&walk, packet, facts);
        let policy = match walk.decision {
            Decision::Rule { policy: Some(name), .. } => self.config.policy(name),
            _ => None,
        };
        let members = policy.map(|policy| self.members(policy, family)).unwrap_or_default();
        let choice = self.choice(&walk, packet, facts);
        let ways = self.ways(&walk, policy, &choice, packet);
        Explanation { walk, members, choice, ways, next }
    }

    /// From now on as if every path were usable and had a route: where there is no network to look at.
    pub fn assume_online(&mut self) {
        for standing in self.standings.values_mut() {
            *standing = Standing { usable: true, hold: None, drained: false, reason: Reason::AssumedOnline };
        }
        let mut desired = (*self.desired).clone();
        for path in Arc::make_mut(&mut desired.interfaces).iter_mut().flat_map(|i| &mut i.paths) {
            path.route.get_or_insert(NextHop { gateway: None });
        }
        for policy in Arc::make_mut(&mut desired.policies) {
            let Some(configured) = self.config.policy(&policy.name) else { continue };
            policy.v4 = self.carrier(configured, Family::V4, None);
            policy.v6 = self.carrier(configured, Family::V6, None);
        }
        self.desired = Arc::new(desired);
    }

    /// What would decide if the decision were not: the next rule that matches; for what is decided before the rules, the rules.
    fn next<'a>(&'a self, walk: &Walk<'a>, packet: &Packet, facts: &dyn Facts) -> Option<Walk<'a>> {
        let rules = match (&walk.decision, walk.found) {
            (Decision::Home(_), _) => &self.desired.rules[..],
            (Decision::Rule { .. }, Some(_)) => self.desired.rules.get(walk.missed.len() + 1..)?,
            _ => return None,
        };
        let next = by_rules(&self.desired, rules, packet, facts);
        next.found.is_some().then_some(next)
    }

    fn candidate(&self, name: &str, family: Family, without: Option<u32>) -> Option<Candidate> {
        let id = self.desired.interfaces.iter().find(|i| i.name == name)?.id;
        let standing = self.standings.get(&PathKey { id, family })?;
        let usable = standing.usable && without != Some(id);
        Some(Candidate { id, usable, preferred: usable && standing.hold.is_none() && !standing.drained })
    }

    /// What carries a policy, if need be without one interface.
    fn carrier(&self, policy: &Policy, family: Family, without: Option<u32>) -> Carrier {
        carrier(policy, |at| self.candidate(&policy.members.get(at)?.interface, family, without))
    }

    /// The members of a policy and what becomes of each, in its order.
    pub fn members<'a>(&'a self, policy: &'a Policy, family: Family) -> Vec<MemberPart<'a>> {
        let carrier = self.carrier(policy, family, None);
        let shares = match &carrier {
            Carrier::Members(shares) => shares.as_slice(),
            Carrier::LastResort(_) => &[],
        };
        let of = shares.iter().map(|share| share.weight).sum();
        let metric = |share: &Share| {
            let own = policy.members.iter().filter(|m| m.interface == share.interface);
            own.map(|m| m.metric).min()
        };
        let tier = shares.iter().filter_map(metric).min();
        let part = |member: &'a Member| {
            let carries =
                shares.iter().any(|s| s.interface == member.interface) && tier == Some(member.metric);
            let part = carries.then_some((member.weight, of));
            MemberPart { member, part, out: (!carries).then(|| self.out(member, family)) }
        };
        policy.members.iter().map(part).collect()
    }

    fn out(&self, member: &Member, family: Family) -> Out {
        let Some(candidate) = self.candidate(&member.interface, family, None) else { return Out::Absent };
        match self.standings.get(&PathKey { id: candidate.id, family }) {
            None => Out::Absent,
            Some(standing) if !standing.usable => Out::Unusable(standing.reason.clone()),
            Some(Standing { hold: Some(hold), .. }) => Out::Held(*hold),
            Some(Standing { drained: true, .. }) => Out::Drained,
            Some(_) => Out::OtherTier,
        }
    }

    fn choice(&self, walk: &Walk<'_>, packet: &Packet, facts: &dyn Facts) -> Choice {
        let (Decision::Rule { carrier: Carrier::Members(shares), .. }, Some(found)) =
            (&walk.decision, walk.found)
        else {
            return Choice::Only;
        };
        let several = shares.len() > 1;
        if found.rule.sticky.is_none() {
            return if several { Choice::Random } else { Choice::Only };
        }
        // As the program asks: one member after the other.
        let kept = shares.iter().find_map(|s| Some((s.id, facts.kept(&found.rule, s.id, packet)?)));
        match kept {
            Some((id, left)) => Choice::Kept(id, left),
            None if several => Choice::Placed(facts.placed(&found.rule, shares, packet)),
            None => Choice::Only,
        }
    }

    fn ways(&self, walk: &Walk<'_>, policy: Option<&Policy>, choice: &Choice, packet: &Packet) -> Vec<Way> {
        let family = Family::of(packet.destination);
        let marks = self.desired.marks;
        let resort = |resort: LastResort| match resort {
            LastResort::Default => self.way(marks.default_id(), packet),
            LastResort::Unreachable => self.way(marks.unreachable_id(), packet),
            LastResort::Blackhole => self.way(marks.blackhole_id(), packet),
        };
        match &walk.decision {
            Decision::Inbound(id) | Decision::Home(id) => vec![self.way(*id, packet)],
            Decision::Local => vec![self.way(marks.default_id(), packet)],
            Decision::Unmatched => vec![Way { mark: 0, ..self.way(marks.default_id(), packet) }],
            Decision::Rule { carrier: Carrier::LastResort(last), .. } => vec![resort(*last)],
            Decision::Rule { carrier: Carrier::Members(shares), .. } => {
                let chosen = match choice {
                    Choice::Kept(id, _) | Choice::Placed(Some(id)) => Some(*id),
                    Choice::Only | Choice::Random | Choice::Placed(None) => None,
                };
                let open = || shares.iter().filter(|share| chosen.is_none_or(|id| id == share.id));
                let of = open().map(|share| share.weight).sum();
                let way = |share: &Share| Way {
                    weight: share.weight,
                    of,
                    instead: policy.map(|policy| self.carrier(policy, family, Some(share.id))),
                    ..self.way(share.id, packet)
                };
                open().map(way).collect()
            }
        }
    }

    /// Where the mark of an id leads, by the ip rules.
    fn way(&self, id: u32, packet: &Packet) -> Way {
        let marks = self.desired.marks;
        let family = Family::of(packet.destination);
        let interface = self.desired.interfaces.iter().find(|i| i.id == id);
        let lead = match interface {
            // IPv6 has all groups in the local table, which is asked first (addrconf_add_mroute, net/ipv6/addrconf.c); those of
            // IPv4 are among the connected networks.
            _ if packet.destination.is_multicast() => Lead::Main,
            // The first ip rule: main, without its default routes.
            _ if self.desired.connected.iter().any(|net| net.contains(&packet.destination)) => Lead::Main,
            Some(interface) => match path(interface, family).and_then(|path| path.route) {
                Some(hop) => Lead::Table { table: interface.table, device: interface.device.clone(), hop },
                // Without a route in its table: a marked packet never leaks by main.
                None => Lead::Unreachable,
            },
            None if id == marks.unreachable_id() => Lead::Unreachable,
            None if id == marks.blackhole_id() => Lead::Blackhole,
            None => Lead::Main,
        };
        let interface = interface.map(|i| (i.id, i.name.clone()));
        Way { weight: 1, of: 1, interface, mark: marks.of(id), lead, instead: None }
    }

    /// The source that a packet has which leaves by `device`, if its own is translated by us; `None`: it stays.
    pub fn translated(&self, device: &str, packet: &Packet) -> Option<Translated> {
        translated(&self.desired, device, packet)
    }

    /// The device by which packets with this source arrive: on whose network it is. `None`: on none.
    pub fn arrives_by(&self, source: IpAddr) -> Option<&str> {
        let nets =
            self.net.links.iter().flat_map(|(name, link)| link.addresses.iter().map(move |a| (name, a)));
        let around = nets.filter_map(|(name, address)| {
            let net = IpNet::new(address.ip, address.prefix_len).ok()?;
            (net.contains(&source) && address.ip != source).then_some((net.prefix_len(), name.as_str()))
        });
        around.max().map(|(_, name)| name)
    }

    /// Whether an address is one of this machine's.
    pub fn is_own(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.net.links.values().flat_map(|link| &link.addresses).any(|a| a.ip == ip)
    }

    /// Whether the configuration or the kernel has a device of this name.
    pub fn has_device(&self, name: &str) -> bool {
        self.net.links.contains_key(name)
    }

    /// Id of the WAN that has `device` in `family`.
    pub fn owner(&self, device: &str, family: Family) -> Option<u32> {
        owner(&self.desired, device, family)
    }

    /// Rules up to the one that decides which ask for the device a packet came in by.
    pub fn asks_for_input<'a>(&'a self, walk: &Walk<'a>) -> impl Iterator<Item = &'a DesiredRule> {
        let asked = walk.missed.len() + usize::from(walk.found.is_some());
        self.desired.rules.iter().take(asked).filter(|rule| rule.source_device.is_some())
    }
}

/// The source a packet gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Translated {
    /// This address of the device.
    To(IpAddr),
    /// An address of the device, of which none is known.
    Somewhere,
}

fn path(interface: &DesiredInterface, family: Family) -> Option<&DesiredPath> {
    interface.paths.iter().find(|path| path.family == family)
}

/// Translation as the program has it: sources that are not at home on the WAN they leave by.
fn translated(desired: &Desired, device: &str, packet: &Packet) -> Option<Translated> {
    let family = Family::of(packet.destination);
    if desired.masquerade == MasqueradePlan::Off {
        return None;
    }
    let here = desired.interfaces.iter().filter(|i| i.device == device);
    let mut here = here.filter_map(|i| Some((i, path(i, family)?)));
    let (_, path) = here.find(|(interface, path)| {
        let own = path.addresses.iter().any(|net| net.addr() == packet.source)
            || within(&path.routed, packet.source);
        let auto_v6 = family == Family::V6 && desired.masquerade == MasqueradePlan::Auto;
        !own && (!auto_v6 || is_foreign(&desired.interfaces, interface.id, packet.source))
    })?;
    // inet_select_addr (net/ipv4/devinet.c): the first one whose network has the next hop, else the first.
    let gateway = path.route.and_then(|hop| hop.gateway);
    let near = path.addresses.iter().find(|net| gateway.is_some_and(|gateway| net.contains(&gateway)));
    let source = near.or(path.addresses.first());
    Some(source.map_or(Translated::Somewhere, |net| Translated::To(net.addr())))
}

/// IPv6 sources that cannot be valid beyond WAN `id`: unique local ones (RFC 4193) and other WANs' own.
fn is_foreign(interfaces: &[DesiredInterface], id: u32, source: IpAddr) -> bool {
    let IpAddr::V6(ip) = source else { return false };
    let paths = |own: bool| {
        let some = interfaces.iter().filter(move |i| (i.id == id) == own).flat_map(|i| &i.paths);
        some.filter(|path| path.family == Family::V6)
    };
    let at_home: Vec<IpNet> = paths(true).flat_map(|path| &path.addresses).map(IpNet::trunc).collect();
    let others = paths(false).flat_map(|path| &path.addresses).map(IpNet::trunc);
    ip.is_unique_local()
        || others.filter(|net| !at_home.contains(net)).any(|net| net.contains(&source))
        || paths(false).any(|path| within(&path.routed, source))
}

fn within(ranges: &[AddressRange], ip: IpAddr) -> bool {
    ranges.iter().any(|r| Family::of(r.first) == Family::of(ip) && r.first <= ip && ip <= r.last)
}
