//! ip rules and routes, as far as the program is made of them.

use std::fmt;
use std::net::IpAddr;

use mwan_config::Family;

/// Protocol number of every ip rule and route we install (`ip rule`, `ip route … proto 77`): our ownership
/// tag. Not in iproute2's `rt_protos` and used by no routing daemon.
pub const PROTOCOL: u8 = 77;

/// The kernel's main table.
pub const TABLE_MAIN: u32 = 254;

/// An ip rule. The kernel keeps a multiset; ours are unique.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct IpRule {
    /// Family.
    pub family: Family,
    /// `pref`.
    pub priority: u32,
    /// `fwmark VALUE/MASK`.
    pub fwmark: Option<(u32, u32)>,
    /// `iif`.
    pub iif: Option<String>,
    /// `oif`.
    pub oif: Option<String>,
    /// What happens to what matches.
    pub action: RuleAction,
}

/// Action of an ip rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RuleAction {
    /// `lookup TABLE`.
    Lookup(u32),
    /// `lookup TABLE suppress_prefixlength 0`: everything but default routes.
    LookupSpecific(u32),
    /// `unreachable`.
    Unreachable,
    /// `blackhole`.
    Blackhole,
}

/// A default route in one of our tables.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Route {
    /// Family.
    pub family: Family,
    /// Table; the id of the interface.
    pub table: u32,
    /// `dev`.
    pub device: String,
    /// `via`; `None` for point-to-point links.
    pub gateway: Option<IpAddr>,
}

/// A change to ip rules or routes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RoutingOp {
    /// Add a rule that is not there (exclusively: never a duplicate).
    AddRule(IpRule),
    /// Remove a rule that is there.
    DeleteRule(IpRule),
    /// Add a route, replacing what the table's default is.
    SetRoute(Route),
    /// Remove a route that is there.
    DeleteRoute(Route),
    /// Remove a rule or route that passes for ours.
    DeleteForeign(Foreign),
}

/// What the kernel has with our protocol number, in any table.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ObservedRouting {
    /// Rules of a kind that we make, in the kernel's order; duplicates included.
    pub rules: Vec<IpRule>,
    /// Default routes as we make them.
    pub routes: Vec<Route>,
    /// Rules that we never make: further selectors, other actions.
    pub foreign_rules: Vec<Foreign>,
    /// Routes that we never make: other destinations, types, metrics, several hops…
    pub foreign_routes: Vec<Foreign>,
}

/// A rule or route with our protocol number that says something an [`IpRule`] or [`Route`] cannot say: somebody
/// else made it, or made it of ours.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Foreign {
    /// Its family.
    pub family: Family,
    /// Its table.
    pub table: u32,
    /// What it is, for people.
    pub text: String,
    /// The request that removes it, made of the kernel's own words: only so it names just this one.
    pub removal: Vec<u8>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} proto {PROTOCOL}, which is none of ours", dash(self.family), self.text)
    }
}

impl fmt::Display for IpRule {
    /// As `ip rule add` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}rule pref {} from all", dash(self.family), self.priority)?;
        if let Some((value, mask)) = self.fwmark {
            write!(f, " fwmark {value:#x}/{mask:#x}")?;
        }
        if let Some(device) = &self.iif {
            write!(f, " iif {device}")?;
        }
        if let Some(device) = &self.oif {
            write!(f, " oif {device}")?;
        }
        match self.action {
            RuleAction::Lookup(table) => write!(f, " lookup {table}")?,
            RuleAction::LookupSpecific(table) => write!(f, " lookup {table} suppress_prefixlength 0")?,
            RuleAction::Unreachable => f.write_str(" unreachable")?,
            RuleAction::Blackhole => f.write_str(" blackhole")?,
        }
        write!(f, " proto {PROTOCOL}")
    }
}

impl fmt::Display for Route {
    /// As `ip route add` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}route table {} default", dash(self.family), self.table)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " dev {} proto {PROTOCOL}", self.device)
    }
}

impl fmt::Display for RoutingOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RoutingOp::AddRule(rule) => write!(f, "add {rule}"),
            RoutingOp::DeleteRule(rule) => write!(f, "delete {rule}"),
            RoutingOp::SetRoute(route) => write!(f, "replace {route}"),
            RoutingOp::DeleteRoute(route) => write!(f, "delete {route}"),
            RoutingOp::DeleteForeign(foreign) => write!(f, "delete {foreign}"),
        }
    }
}

/// `-6 ` for IPv6: what `ip` wants before the object.
fn dash(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => "-6 ",
    }
}
