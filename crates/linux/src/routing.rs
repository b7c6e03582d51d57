//! ip rules and routes: those with our protocol number are read, added and removed.
//!
//! Encoded with our own writer rather than `netlink-bindings`: a rule is eight attributes.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use mwan_compile::removal;
use mwan_compile::routing::{Foreign, IpRule, ObservedRouting, PROTOCOL, Route, RoutingOp, RuleAction};
use mwan_config::Family;
use mwan_config::lint::ForeignRule;

use crate::netlink::{KernelError, Message, RequestError, Socket, Writer, text, u32_ne};
use crate::rt::{self, Hop, ROUTE_HEADER};

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
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PROTOCOL: u16 = 21;
const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
/// `FIB_RULE_INVERT`: `ip rule add not …`.
const INVERT: u32 = 2;

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
        RoutingOp::DeleteRule(_) | RoutingOp::DeleteRoute(_) | RoutingOp::DeleteForeign(_) => {
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

    /// Everything with our protocol number, as the kernel has it.
    pub fn observe(&mut self) -> Result<ObservedRouting, RequestError> {
        let mut observed = ObservedRouting::default();
        let mut hops = Vec::new();
        for family in Family::ALL {
            let number = rt::family_number(family);
            let rules = self.dump(
                || rt::dump_request(rt::GET_RULE, number),
                number,
                |rules, m| rules.extend(parse_rule(m)),
            )?;
            for rule in rules {
                match rule {
                    Seen::Ours(rule) => observed.rules.push(rule),
                    Seen::Foreign(rule) => observed.foreign_rules.push(rule),
                }
            }
            let request = || {
                // With NETLINK_GET_STRICT_CHK the kernel leaves other protocols out by itself.
                let mut header = [0; ROUTE_HEADER];
                header[0] = number;
                header[5] = PROTOCOL;
                Writer::message(rt::GET_ROUTE, 0, &header)
            };
            for route in self.dump(request, number, |routes, m| routes.extend(parse_route(m)))? {
                match route {
                    Seen::Ours((table, hop)) => hops.push((family, table, hop)),
                    Seen::Foreign(route) => observed.foreign_routes.push(route),
                }
            }
        }
        let mut names = BTreeMap::new();
        for (family, table, Hop { device, gateway }) in hops {
            let device = self.device_name(device, &mut names)?;
            observed.routes.push(Route { family, table, device, gateway });
        }
        Ok(observed)
    }

    /// The rules of others that ask for a mark.
    pub fn foreign_marks(&mut self) -> Result<Vec<ForeignRule>, RequestError> {
        let mut found = Vec::new();
        for family in Family::ALL {
            let number = rt::family_number(family);
            let request = || rt::dump_request(rt::GET_RULE, number);
            found.extend(self.dump(request, number, |rules, m| rules.extend(parse_foreign_mark(m)))?);
        }
        Ok(found)
    }

    /// A dump that is empty if the kernel lacks the family (`ipv6.disable=1`). Such a kernel refuses to list its rules, but
    /// answers with the routes of all families (rtnetlink_rcv_msg falls back to PF_UNSPEC): seen a second time they would
    /// be surplus, and removed.
    fn dump<T>(
        &mut self,
        request: impl Fn() -> Writer,
        family: u8,
        mut each: impl FnMut(&mut Vec<T>, &Message<'_>),
    ) -> Result<Vec<T>, RequestError> {
        let of_family = |all: &mut Vec<T>, m: &Message<'_>| {
            if m.payload.first() == Some(&family) {
                each(all, m);
            }
        };
        match self.socket.dump(request, Vec::new, of_family) {
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
            RoutingOp::DeleteForeign(foreign) => {
                self.socket.request(Writer::finished(foreign.removal.clone()))
            }
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
        let ops = removal(&self.observe()?);
        Ok(self.apply_all(&ops))
    }
}

const RTNH_F_PERVASIVE: u32 = 2;
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
        RoutingOp::DeleteForeign(f) => format!("delete {f}"),
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

/// Something with our protocol number.
enum Seen<T> {
    /// Of a kind that we make.
    Ours(T),
    Foreign(Foreign),
}

/// A rule with our protocol number; rules of others are none.
fn parse_rule(m: &Message<'_>) -> Option<Seen<IpRule>> {
    let attributes = m.attributes(ROUTE_HEADER);
    let word = |kind| attributes.find(kind).and_then(u32_ne);
    if m.kind != rt::NEW_RULE || attributes.find(FRA_PROTOCOL) != Some(&[PROTOCOL]) {
        return None;
    }
    let family = rt::family_of(m.byte(0))?;
    let priority = word(FRA_PRIORITY).unwrap_or(0);
    let table = word(FRA_TABLE).unwrap_or(u32::from(m.byte(4)));
    let Some(action) = our_action(m, table) else {
        let text = format!("rule pref {priority}");
        return Some(Seen::Foreign(Foreign { family, table, text, removal: rule_removal(m)? }));
    };
    // The kernel reports a mask whenever there is one, and a mark whenever there is a mark or mask.
    let fwmark = match (word(FRA_FWMARK), word(FRA_FWMASK)) {
        (None, None) => None,
        (mark, mask) => Some((mark.unwrap_or(0), mask.unwrap_or(u32::MAX))),
    };
    let (iif, oif) = (attributes.find(FRA_IIFNAME).map(text), attributes.find(FRA_OIFNAME).map(text));
    Some(Seen::Ours(IpRule { family, priority, fwmark, iif, oif, action }))
}

fn parse_foreign_mark(m: &Message<'_>) -> Option<ForeignRule> {
    let attributes = m.attributes(ROUTE_HEADER);
    let word = |kind| attributes.find(kind).and_then(u32_ne);
    let mark = word(FRA_FWMARK)?;
    let ours = attributes.find(FRA_PROTOCOL) == Some(&[PROTOCOL]);
    let foreign = ForeignRule {
        family: rt::family_of(m.byte(0))?,
        priority: word(FRA_PRIORITY).unwrap_or(0),
        mark,
        mask: word(FRA_FWMASK).unwrap_or(u32::MAX),
    };
    (m.kind == rt::NEW_RULE && !ours && (mark, foreign.mask) != (0, 0)).then_some(foreign)
}

/// The action of a rule that says no more than an [`IpRule`] can.
fn our_action(m: &Message<'_>, table: u32) -> Option<RuleAction> {
    // dst_len, src_len, tos; then what fib_nl_fill_rule tells of one of ours. "None" is told as -1.
    let plain = m.byte(1) == 0 && m.byte(2) == 0 && m.byte(3) == 0 && m.word(8) & INVERT == 0;
    let mut suppress = None;
    for (kind, value) in m.attributes(ROUTE_HEADER) {
        match kind {
            FRA_SUPPRESS_PREFIXLEN | FRA_SUPPRESS_IFGROUP if u32_ne(value) == Some(u32::MAX) => {}
            FRA_SUPPRESS_PREFIXLEN => suppress = u32_ne(value),
            FRA_PRIORITY | FRA_PROTOCOL | FRA_TABLE | FRA_FWMARK | FRA_FWMASK => {}
            FRA_IIFNAME | FRA_OIFNAME => {}
            _ => return None,
        }
    }
    match (m.byte(7), suppress) {
        _ if !plain => None,
        (FR_ACT_TO_TBL, Some(0)) => Some(RuleAction::LookupSpecific(table)),
        (FR_ACT_TO_TBL, None) => Some(RuleAction::Lookup(table)),
        (FR_ACT_BLACKHOLE, None) => Some(RuleAction::Blackhole),
        (FR_ACT_UNREACHABLE, None) => Some(RuleAction::Unreachable),
        _ => None,
    }
}

/// A rule's own words back to the kernel: it deletes the first rule that has all of them (rule_find).
fn rule_removal(m: &Message<'_>) -> Option<Vec<u8>> {
    let mut header = [0; ROUTE_HEADER];
    header[..8].copy_from_slice(m.payload.get(..8)?);
    // The other flags are the kernel's.
    header[8..].copy_from_slice(&(m.word(8) & INVERT).to_ne_bytes());
    let mut writer = Writer::message(rt::DELETE_RULE, 0, &header);
    for (kind, value) in m.attributes(ROUTE_HEADER) {
        writer.put(kind, value);
    }
    writer.finish().ok()
}

/// A route with our protocol number: table and hop of one like ours.
fn parse_route(m: &Message<'_>) -> Option<Seen<(u32, Hop)>> {
    // Cached exceptions belong to a route and are none.
    if m.kind != rt::NEW_ROUTE || m.byte(5) != PROTOCOL || m.word(8) & rt::RTM_F_CLONED != 0 {
        return None;
    }
    if let Some(ours) = our_route(m) {
        return Some(Seen::Ours(ours));
    }
    let family = rt::family_of(m.byte(0))?;
    let attributes = m.attributes(ROUTE_HEADER);
    let table = attributes.find(rt::RTA_TABLE as u16).and_then(u32_ne).unwrap_or(u32::from(m.byte(4)));
    let destination = match attributes.find(rt::RTA_DST as u16).and_then(rt::address) {
        Some(ip) => format!("{ip}/{}", m.byte(1)),
        None => "default".to_owned(),
    };
    let text = format!("route table {table} {destination}");
    Some(Seen::Foreign(Foreign { family, table, text, removal: route_removal(m)? }))
}

/// Table and hop of a default route that is exactly as [`route_request`] makes it.
fn our_route(m: &Message<'_>) -> Option<(u32, Hop)> {
    let route = rt::parse_route(m)?;
    let [hop] = route.hops[..] else { return None };
    let told = |kind: u16| match i32::from(kind) {
        rt::RTA_TABLE | rt::RTA_OIF | rt::RTA_GATEWAY | rt::RTA_VIA => true,
        // IPv6 tells these of every route.
        rt::RTA_PRIORITY | rt::RTA_CACHEINFO | rt::RTA_PREF => route.family == Family::V6,
        _ => false,
    };
    let form = match (route.family, hop.gateway) {
        (Family::V4, Some(_)) => (0, libc::RT_SCOPE_UNIVERSE, RTNH_F_ONLINK),
        (Family::V4, None) => (0, libc::RT_SCOPE_LINK, 0),
        // On-link only where the kernel found no other way.
        (Family::V6, Some(_)) => (METRIC_V6, libc::RT_SCOPE_UNIVERSE, m.word(8) & RTNH_F_ONLINK),
        (Family::V6, None) => (METRIC_V6, libc::RT_SCOPE_UNIVERSE, 0),
    };
    // The other flags tell how the device is.
    let found = (route.metric, m.byte(6), m.word(8) & (RTNH_F_ONLINK | RTNH_F_PERVASIVE));
    let plain = route.destination.prefix_len() == 0 && route.tos == 0 && route.kind == rt::TYPE_UNICAST;
    (plain && found == form && m.attributes(ROUTE_HEADER).all(|(kind, _)| told(kind)))
        .then_some((route.table, hop))
}

/// A route's own words back to the kernel, as far as they name it (fib_table_delete, ip6_route_del).
fn route_removal(m: &Message<'_>) -> Option<Vec<u8>> {
    let mut header = [0; ROUTE_HEADER];
    header[..8].copy_from_slice(m.payload.get(..8)?);
    let mut writer = Writer::message(rt::DELETE_ROUTE, 0, &header);
    let object = m.attributes(ROUTE_HEADER).find(rt::RTA_NH_ID as u16).is_some();
    for (kind, value) in m.attributes(ROUTE_HEADER) {
        let names = match i32::from(kind) {
            rt::RTA_DST | rt::RTA_SRC | rt::RTA_PRIORITY | rt::RTA_PREFSRC | rt::RTA_TABLE => true,
            rt::RTA_NH_ID => true,
            // rtm_to_fib_config takes either an object or hops.
            rt::RTA_OIF | rt::RTA_GATEWAY | rt::RTA_VIA | rt::RTA_MULTIPATH => !object,
            _ => false,
        };
        if names {
            writer.put(kind, value);
        }
    }
    writer.finish().ok()
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
