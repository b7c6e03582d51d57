//! Desired state: everything that should be in the kernel, as one value.
//!
//! Parts that rarely change are behind `Arc`, so that `compile` can tell "the same as before" by pointer.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use mwan_config::{AddressRange, Family, LastResort, NamedSet, Rule, RuleBase};

use crate::sources::home_of;
use crate::{Home, LocalSource, Marks};

/// Everything that should be in the kernel.
///
/// Two are equal if their contents are; parts that are the same value are not looked into.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Counts up with every change; identifies what the writer reports back.
    pub generation: u64,
    /// Switched off as a whole (`enabled '0'` in the globals): nothing at all is to be in the kernel.
    pub off: bool,
    /// Mask and values.
    pub marks: Marks,
    /// Priorities of ip rules.
    pub rule_base: RuleBase,
    /// Enabled interfaces in order of their id.
    pub interfaces: Arc<Vec<DesiredInterface>>,
    /// Policies in the order of the configuration.
    pub policies: Arc<Vec<DesiredPolicy>>,
    /// Rules in order of evaluation.
    pub rules: Arc<Vec<DesiredRule>>,
    /// Named sets, in the order of the configuration.
    pub sets: Arc<Vec<NamedSet>>,
    /// Destinations that are never policy-routed.
    pub connected: Arc<BTreeSet<IpNet>>,
    /// The same from `rt_table_lookup`.
    pub custom: Arc<BTreeSet<IpNet>>,
    /// Sources that leave by the WAN they are at home on, before any rule; disjoint and sorted. `None`: rules decide alone.
    pub homes: Option<Arc<Vec<Home>>>,
    /// How rules judge the router's own traffic, where that is other than by its source; at most one per family.
    pub local_source: Vec<LocalSource>,
    /// Source translation of what leaves by a WAN.
    pub masquerade: MasqueradePlan,
}

impl Desired {
    /// What stands for the source of the router's own traffic of `family`.
    pub fn local_source(&self, family: Family) -> Option<&LocalSource> {
        self.local_source.iter().find(|local| Family::of(local.address) == family)
    }

    /// The homes that count in `family`, for the router's `own` traffic or what is forwarded.
    pub fn homes(&self, family: Family, own: bool) -> impl Iterator<Item = &Home> {
        let unbound = self.local_source(family).filter(|_| own).and_then(|local| local.unbound);
        let all = self.homes.iter().flat_map(|homes| homes.iter());
        all.filter(move |home| Family::of(home.range.first) == family && Some(home.id) != unbound)
    }

    /// The WAN by which traffic with this source leaves, whatever the rules say, and the range that says so.
    pub(crate) fn home(&self, source: IpAddr, own: bool) -> Option<Home> {
        home_of(self.homes(Family::of(source), own), source)
    }
}

impl PartialEq for Desired {
    fn eq(&self, other: &Self) -> bool {
        fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
            Arc::ptr_eq(a, b) || a == b
        }
        let Desired {
            generation,
            off,
            marks,
            rule_base,
            interfaces,
            policies,
            rules,
            sets,
            connected,
            custom,
            homes,
            local_source,
            masquerade,
        } = self;
        (*generation, *off, *marks, *rule_base, *masquerade)
            == (other.generation, other.off, other.marks, other.rule_base, other.masquerade)
            && same(interfaces, &other.interfaces)
            && same(policies, &other.policies)
            && same(rules, &other.rules)
            && same(sets, &other.sets)
            && same(connected, &other.connected)
            && same(custom, &other.custom)
            && homes == &other.homes
            && local_source == &other.local_source
    }
}

/// Which sources are translated on the way out of a WAN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MasqueradePlan {
    /// None: the platform's firewall does it.
    Off,
    /// All of IPv4; of IPv6 unique local sources and those that belong to another WAN.
    Auto,
    /// Everything.
    Everything,
}

/// An enabled interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredInterface {
    /// Its stable number: mark and rule priorities follow from it.
    pub id: u32,
    /// Its routing table.
    pub table: u32,
    /// Its name.
    pub name: String,
    /// Its kernel device (whether or not that exists now).
    pub device: String,
    /// Its paths; at most one per family, IPv4 first.
    pub paths: Vec<DesiredPath>,
}

/// One family of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredPath {
    /// The family.
    pub family: Family,
    /// Content of its routing table; `None` while the device is down or no gateway is known.
    pub route: Option<NextHop>,
    /// Addresses of its device with their on-link prefixes: sources that are at home here (translation).
    pub addresses: Vec<IpNet>,
    /// What is routed to us by it: sources that are at home here, too.
    pub routed: Vec<AddressRange>,
}

/// Where a path's default route points.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct NextHop {
    /// `None` on point-to-point links: the device alone.
    pub gateway: Option<IpAddr>,
}

/// A policy and what carries it now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DesiredPolicy {
    /// Its name.
    pub name: String,
    /// Id and name of every enabled interface among its members, whether or not it carries.
    pub members: Arc<Vec<(u32, String)>>,
    /// What carries IPv4.
    pub v4: Carrier,
    /// What carries IPv6.
    pub v6: Carrier,
}

impl DesiredPolicy {
    /// What carries `family`.
    pub fn carrier(&self, family: Family) -> &Carrier {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// What carries a policy in one family.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Carrier {
    /// The usable members of the best tier, at least one, in the order of the policy.
    Members(Vec<Share>),
    /// No member is usable.
    LastResort(LastResort),
}

/// A carrying member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Share {
    /// Id of its interface.
    pub id: u32,
    /// Name of its interface.
    pub interface: String,
    /// Its share of the sum of all weights, ≥ 1.
    pub weight: u32,
}

/// A rule whose logical names are resolved.
#[derive(Clone, PartialEq, Debug)]
pub struct DesiredRule {
    /// The configured rule; its target policy exists in `policies`.
    pub rule: Rule,
    /// Kernel device of `source_interface`; a rule that names one that cannot be resolved is not here.
    pub source_device: Option<String>,
    /// syslog level of its line in the kernel log, 0 (emerg) to 7 (debug); `None`: the rule or the global switch does
    /// not ask for one.
    pub log: Option<u8>,
}
