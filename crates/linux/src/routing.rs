//! ip rules and routes: those with our protocol number are read, added and removed.
//!
//! Encoded with our own writer rather than `netlink-bindings`: a rule is eight attributes.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use mwan_compile::routing::{IpRule, ObservedRouting, PROTOCOL, Route, RoutingOp, RuleAction};
use mwan_config::Family;

use crate::netlink::{KernelError, Message, RequestError, Socket, Writer, text, u32_ne};
use crate::rt::{self, ROUTE_HEADER, RouteMessage};

/// Why a rule or route was not changed.
#[derive(Debug, thiserror::Error)]
pub enum RoutingError {
    /// The kernel refused.
    #[error("failed to {op}")]
    Refused {
        /// What we tried: `add rule pref 2001 (ipv6)`.
        op: String,
        /// What the kernel said.
        source: KernelError,
    },
    /// There is no such device.
    #[error("failed to {op}: no device {device}")]
    NoDevice {
        /// What we tried.
        op: String,
        /// The device.
        device: String,
    },
    /// The request itself failed.
    #[error("failed to {op}")]
    Request {
        /// What we tried.
        op: String,
        /// Why.
        source: RequestError,
    },
}

/// Metric of our IPv6 routes: the kernel's own default (IP6_RT_PRIO_USER). Said explicitly because
/// NLM_F_REPLACE only replaces a route of the same metric (fib6_add_rt2node).
const METRIC_V6: u32 = 1024;

const FRA_IIFNAME: u16 = 3;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;

/// Whether the refusal says that there is nothing left to do.
fn already_so(op: &RoutingOp, error: &RoutingError) -> bool {
    let errno = match error {
        RoutingError::Refused { source, .. } => source.errno,
        RoutingError::NoDevice { .. } => libc::ENODEV,
        RoutingError::Request { .. } => return false,
    };
    match op {
        RoutingOp::AddRule(_) => errno == libc::EEXIST,
        // fib_nl_delrule: ENOENT; fib_table_delete, ip6_route_del: ESRCH.
        RoutingOp::DeleteRule(_) | RoutingOp::DeleteRoute(_) => {
            matches!(errno, libc::ENOENT | libc::ESRCH | libc::ENODEV)
        }
        RoutingOp::SetRoute(_) => false,
    }
}

/// An rtnetlink socket for our rules and routes.
#[derive(Debug)]
pub struct RouteSocket {
    socket: Socket,
}

impl RouteSocket {
    /// Opens it in the network namespace of the calling thread.
    pub fn open() -> io::Result<Self> {
        Ok(RouteSocket { socket: rt::open()? })
    }

    /// The port id that notifications of our own changes carry.
    pub fn port(&self) -> u32 {
        self.socket.port()
    }

    /// Our rules and routes, as the kernel has them.
    pub fn observe(&mut self) -> Result<ObservedRouting, RequestError> {
        let mut observed = ObservedRouting::default();
        let mut routes = Vec::new();
        for family in Family::ALL {
            let number = rt::family_number(family);
            let rules =
                self.dump(|| rt::dump_request(rt::GET_RULE, number), |rules, m| rules.extend(parse_rule(m)))?;
            observed.rules.extend(rules.into_iter().filter(|rule: &IpRule| rule.family == family));
            let request = || {
                // With NETLINK_GET_STRICT_CHK the kernel leaves other protocols out by itself.
                let mut header = [0; ROUTE_HEADER];
                header[0] = number;
                header[5] = PROTOCOL;
                Writer::message(rt::GET_ROUTE, 0, &header)
            };
            // A kernel without IPv6 answers with the routes of all families instead (rtnetlink_rcv_msg falls back to
            // PF_UNSPEC): taken for IPv6 they would be surplus, and removed.
            let mut found = self.dump(request, |routes, m| routes.extend(our_route(m)))?;
            found.retain(|route| route.family == family);
            routes.extend(found);
        }
        let mut names = BTreeMap::new();
        for route in routes {
            for hop in &route.hops {
                let device = self.device_name(hop.device, &mut names)?;
                let (family, table, gateway) = (route.family, route.table, hop.gateway);
                observed.routes.push(Route { family, table, device, gateway });
            }
        }
        Ok(observed)
    }

    /// A dump that is empty if the kernel lacks the family (`ipv6.disable=1`).
    fn dump<T>(
        &mut self,
        request: impl Fn() -> Writer,
        each: impl FnMut(&mut Vec<T>, &Message<'_>),
    ) -> Result<Vec<T>, RequestError> {
        match self.socket.dump(request, Vec::new, each) {
            Err(RequestError::Kernel(e)) if matches!(e.errno, libc::EOPNOTSUPP | libc::EAFNOSUPPORT) => {
                Ok(Vec::new())
            }
            other => other,
        }
    }

    fn device_name(&mut self, index: u32, names: &mut BTreeMap<u32, String>) -> Result<String, RequestError> {
        if let Some(name) = names.get(&index) {
            return Ok(name.clone());
        }
        let name = match rt::find_link(&mut self.socket, None, index) {
            Ok(link) => link.name,
            // Gone since the dump; its route is too.
            Err(RequestError::Kernel(e)) if e.errno == libc::ENODEV => String::new(),
            Err(error) => return Err(error),
        };
        names.insert(index, name.clone());
        Ok(name)
    }

    /// Makes the changes in order and says of each what became of it.
    pub fn apply_all(&mut self, ops: &[RoutingOp]) -> Vec<Result<(), RoutingError>> {
        ops.iter().map(|op| self.apply(op)).collect()
    }

    /// Makes one change. What is already so is done: the kernel drops a device's rules and routes by itself, and
    /// may be faster than we are.
    pub fn apply(&mut self, op: &RoutingOp) -> Result<(), RoutingError> {
        match self.attempt(op) {
            Err(error) if already_so(op, &error) => Ok(()),
            result => result,
        }
    }

    fn attempt(&mut self, op: &RoutingOp) -> Result<(), RoutingError> {
        let result = match op {
            RoutingOp::AddRule(rule) => {
                // EXCL: without it the kernel adds a second, equal rule.
                let flags = libc::NLM_F_CREATE | libc::NLM_F_EXCL;
                self.socket.request(rule_request(rt::NEW_RULE, flags, rule))
            }
            RoutingOp::DeleteRule(rule) => self.socket.request(rule_request(rt::DELETE_RULE, 0, rule)),
            RoutingOp::SetRoute(route) => return self.route(op, route, true),
            RoutingOp::DeleteRoute(route) => return self.route(op, route, false),
        };
        result.map_err(|source| failed(op, source))
    }

    fn route(&mut self, op: &RoutingOp, route: &Route, set: bool) -> Result<(), RoutingError> {
        let index = match rt::find_link(&mut self.socket, Some(&route.device), 0) {
            Ok(link) => link.index,
            Err(e) if e.errno() == Some(libc::ENODEV) => {
                return Err(RoutingError::NoDevice { op: describe(op), device: route.device.clone() });
            }
            Err(source) => return Err(failed(op, source)),
        };
        let result = if set {
            self.set_route(route, index)
        } else {
            self.socket.request(route_request(rt::DELETE_ROUTE, 0, route, index, 0))
        };
        result.map_err(|source| failed(op, source))
    }

    fn set_route(&mut self, route: &Route, index: u32) -> Result<(), RequestError> {
        let flags = libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
        // Two WANs may have the same gateway address, and one may be outside every on-link prefix. IPv4 takes
        // our word for it always; IPv6 refuses `onlink` in places (link-local gateways need none), so only
        // where the kernel finds no way to the gateway.
        let onlink = match (route.family, route.gateway) {
            (Family::V4, Some(_)) => RTNH_F_ONLINK,
            _ => 0,
        };
        let result = self.socket.request(route_request(rt::NEW_ROUTE, flags, route, index, onlink));
        match (result, route.gateway) {
            (Err(RequestError::Kernel(e)), Some(IpAddr::V6(gateway)))
                if onlink == 0
                    && !gateway.is_unicast_link_local()
                    && matches!(e.errno, libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EINVAL) =>
            {
                self.socket.request(route_request(rt::NEW_ROUTE, flags, route, index, RTNH_F_ONLINK))
            }
            (result, _) => result,
        }
    }

    /// Removes everything with our protocol number, in any table. Needs no configuration.
    pub fn delete_ours(&mut self) -> Result<Vec<Result<(), RoutingError>>, RequestError> {
        let observed = self.observe()?;
        let rules = observed.rules.into_iter().map(RoutingOp::DeleteRule);
        let routes = observed.routes.into_iter().map(RoutingOp::DeleteRoute);
        Ok(self.apply_all(&rules.chain(routes).collect::<Vec<_>>()))
    }
}

const RTNH_F_ONLINK: u32 = 4;

fn failed(op: &RoutingOp, source: RequestError) -> RoutingError {
    let op = describe(op);
    match source {
        RequestError::Kernel(source) => RoutingError::Refused { op, source },
        source => RoutingError::Request { op, source },
    }
}

/// A change in words: `add rule pref 2001 (ipv6)`.
fn describe(op: &RoutingOp) -> String {
    let rule = |r: &IpRule| format!("rule pref {} ({})", r.priority, r.family);
    let route = |r: &Route| {
        let gateway = r.gateway.map(|g| format!(" via {g}")).unwrap_or_default();
        format!("default{gateway} dev {} table {} ({})", r.device, r.table, r.family)
    };
    match op {
        RoutingOp::AddRule(r) => format!("add {}", rule(r)),
        RoutingOp::DeleteRule(r) => format!("delete {}", rule(r)),
        RoutingOp::SetRoute(r) => format!("set route {}", route(r)),
        RoutingOp::DeleteRoute(r) => format!("delete route {}", route(r)),
    }
}

/// The table's number in the 8 bits of the header, if it fits; the attribute always says it in full.
fn table_byte(table: u32) -> u8 {
    // RT_TABLE_COMPAT
    u8::try_from(table).unwrap_or(252)
}

fn rule_request(kind: u16, flags: i32, rule: &IpRule) -> Writer {
    let (action, table) = match rule.action {
        RuleAction::Lookup(table) | RuleAction::LookupSpecific(table) => (FR_ACT_TO_TBL, table),
        RuleAction::Unreachable => (FR_ACT_UNREACHABLE, 0),
        RuleAction::Blackhole => (FR_ACT_BLACKHOLE, 0),
    };
    // struct fib_rule_hdr: family, dst_len, src_len, tos, table, res1, res2, action, flags.
    let family = rt::family_number(rule.family);
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[4], header[7]) = (family, table_byte(table), action);
    let mut writer = Writer::message(kind, flags, &header);
    writer.put_u32(FRA_PRIORITY, rule.priority);
    writer.put(FRA_PROTOCOL, &[PROTOCOL]);
    if let Some((mark, mask)) = rule.fwmark {
        writer.put_u32(FRA_FWMARK, mark);
        writer.put_u32(FRA_FWMASK, mask);
    }
    if let Some(device) = &rule.iif {
        writer.put_str(FRA_IIFNAME, device);
    }
    if let Some(device) = &rule.oif {
        writer.put_str(FRA_OIFNAME, device);
    }
    if action == FR_ACT_TO_TBL {
        writer.put_u32(FRA_TABLE, table);
    }
    if let RuleAction::LookupSpecific(_) = rule.action {
        writer.put_u32(FRA_SUPPRESS_PREFIXLEN, 0);
    }
    writer
}

/// One of our rules; rules of others and such as we never make are none.
fn parse_rule(m: &Message<'_>) -> Option<IpRule> {
    let attributes = m.attributes(ROUTE_HEADER);
    let word = |kind| attributes.find(kind).and_then(u32_ne);
    if m.kind != rt::NEW_RULE || attributes.find(FRA_PROTOCOL) != Some(&[PROTOCOL]) {
        return None;
    }
    let table = word(FRA_TABLE).unwrap_or(u32::from(m.byte(4)));
    // The attribute is there with -1 for "none".
    let suppress = word(FRA_SUPPRESS_PREFIXLEN).filter(|length| *length != u32::MAX);
    let action = match (m.byte(7), suppress) {
        (FR_ACT_TO_TBL, Some(0)) => RuleAction::LookupSpecific(table),
        (FR_ACT_TO_TBL, _) => RuleAction::Lookup(table),
        (FR_ACT_BLACKHOLE, _) => RuleAction::Blackhole,
        (FR_ACT_UNREACHABLE, _) => RuleAction::Unreachable,
        _ => return None,
    };
    // The kernel reports a mask whenever there is one, and a mark whenever there is a mark or mask.
    let fwmark = match (word(FRA_FWMARK), word(FRA_FWMASK)) {
        (None, None) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    Some(IpRule {
        family: rt::family_of(m.byte(0))?,
        priority: word(FRA_PRIORITY).unwrap_or(0),
        fwmark,
        iif: attributes.find(FRA_IIFNAME).map(text),
        oif: attributes.find(FRA_OIFNAME).map(text),
        action,
    })
}

/// A default route with our number.
fn our_route(m: &Message<'_>) -> Option<RouteMessage> {
    let route = rt::parse_route(m)?;
    let ours = m.kind == rt::NEW_ROUTE && route.protocol == PROTOCOL && route.destination.prefix_len() == 0;
    ours.then_some(route)
}

fn route_request(kind: u16, flags: i32, route: &Route, index: u32, route_flags: u32) -> Writer {
    let scope = match (kind, route.gateway) {
        // Whatever it is: as `ip route del` asks.
        (rt::DELETE_ROUTE, _) => libc::RT_SCOPE_NOWHERE,
        (_, None) if route.family == Family::V4 => libc::RT_SCOPE_LINK,
        _ => libc::RT_SCOPE_UNIVERSE,
    };
    // struct rtmsg: family, dst_len, src_len, tos, table, protocol, scope, type, flags.
    let family = rt::family_number(route.family);
    let mut header = [0; ROUTE_HEADER];
    (header[0], header[4], header[5]) = (family, table_byte(route.table), PROTOCOL);
    (header[6], header[7]) = (scope, rt::TYPE_UNICAST);
    header[8..].copy_from_slice(&route_flags.to_ne_bytes());
    let mut writer = Writer::message(kind, flags, &header);
    writer.put_u32(rt::RTA_TABLE as u16, route.table);
    writer.put_u32(rt::RTA_OIF as u16, index);
    match route.gateway {
        Some(gateway) if Family::of(gateway) == route.family => {
            writer.put(rt::RTA_GATEWAY as u16, &rt::octets(gateway));
        }
        Some(gateway) => {
            // struct rtvia: IPv4 through an IPv6 neighbour.
            let mut via = u16::from(rt::family_number(Family::of(gateway))).to_ne_bytes().to_vec();
            via.extend_from_slice(&rt::octets(gateway));
            writer.put(18, &via);
        }
        None => {}
    }
    if route.family == Family::V6 {
        writer.put_u32(rt::RTA_PRIORITY as u16, METRIC_V6);
    }
    writer
}
