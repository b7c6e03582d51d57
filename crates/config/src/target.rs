//! What is probed and how: an address with a method. A plain address is probed by the interface's `track_method`; one
//! written as a URL brings its own, so that methods can be mixed under one `reliability`.
//!
//! The host part is always an address. What follows `#` (which no program ever sends, RFC 3986 section 3.5) says what
//! is expected.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::codes;
use crate::report::{Problem, or_list, show};
use crate::suggest::nearest;
use crate::values;

/// Longest target, characters.
const TARGET_MAX: usize = 1024;
/// Longest text that is looked for in an answer, bytes.
const BODY_MAX: usize = 256;
/// nping's port of its UDP probes.
const NPING_UDP_PORT: u16 = 40_125;
/// traceroute's first port: nobody listens there.
const TTL_PORT: u16 = 33_434;
/// The name that mwan3 and mwan4 look up, written into mwan3track (since 2.11.17: openwrt/packages pull request 25676,
/// `nslookup www.google.com $track_ip`) and into mwan4track.
const NSLOOKUP_NAME: &str = "www.google.com";

/// A target of probes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct ProbeTarget {
    /// Its address.
    pub ip: IpAddr,
    /// How it is asked.
    pub method: ProbeMethod,
}

/// How a target is asked, and what counts as an answer.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub enum ProbeMethod {
    /// ICMP echo.
    Ping,
    /// ARP for IPv4, neighbour solicitation for IPv6. Reaches what is on the link itself.
    Neighbour,
    /// A TCP connection is accepted.
    Tcp {
        /// Port.
        port: u16,
        /// A refusal is an answer, too (nping's idea).
        refused: bool,
    },
    /// A UDP datagram is answered, or its port is said to be closed by the target itself.
    Udp {
        /// Port.
        port: u16,
    },
    /// A UDP datagram expires on its way: the router there says so.
    Ttl {
        /// How many hops away.
        hops: u8,
        /// Port.
        port: u16,
    },
    /// A DNS question gets an answer.
    Dns(Arc<DnsProbe>),
    /// An HTTP request gets the expected answer.
    Http(Arc<HttpProbe>),
}

/// A DNS question. The answer must be without error and hold a record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct DnsProbe {
    /// UDP port of the server.
    pub port: u16,
    /// Name, without the dot at its end; empty: the root.
    pub name: String,
    /// Type of record.
    pub kind: DnsKind,
}

/// Types of records that can be asked for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
#[allow(missing_docs)]
pub enum DnsKind {
    A,
    Ns,
    Soa,
    Mx,
    Txt,
    Aaaa,
}

impl DnsKind {
    /// Its number (RFC 1035, RFC 3596).
    pub fn number(self) -> u16 {
        match self {
            DnsKind::A => 1,
            DnsKind::Ns => 2,
            DnsKind::Soa => 6,
            DnsKind::Mx => 15,
            DnsKind::Txt => 16,
            DnsKind::Aaaa => 28,
        }
    }
}

const KINDS: &[(&str, DnsKind)] = &[
    ("A", DnsKind::A),
    ("NS", DnsKind::Ns),
    ("SOA", DnsKind::Soa),
    ("MX", DnsKind::Mx),
    ("TXT", DnsKind::Txt),
    ("AAAA", DnsKind::Aaaa),
];

/// An HTTP request and what is expected.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "record", derive(serde::Serialize, serde::Deserialize))]
pub struct HttpProbe {
    /// TCP port.
    pub port: u16,
    /// By TLS. Certificates are not checked: reachability is tested, as `httping` does.
    pub tls: bool,
    /// Name in the Host header and for TLS; without it the address.
    pub host: Option<String>,
    /// Path and query, beginning with `/`.
    pub path: String,
    /// HEAD instead of GET.
    pub head: bool,
    /// Lowest and highest status that is an answer.
    pub status: (u16, u16),
    /// Text that the beginning of the body must contain.
    pub body: Option<String>,
}

impl ProbeMethod {
    /// What `track_method` calls it; `None` if mwan3 has no such method.
    pub(crate) fn of_mwan3(word: &str, tls: bool) -> Option<ProbeMethod> {
        Some(match word {
            "ping" | "nping-icmp" => ProbeMethod::Ping,
            "arping" | "nping-arp" => ProbeMethod::Neighbour,
            "httping" => ProbeMethod::Http(Arc::new(HttpProbe {
                port: if tls { 443 } else { 80 },
                tls,
                host: None,
                path: "/".to_owned(),
                head: true,
                status: ANY_STATUS,
                body: None,
            })),
            "nping-tcp" => ProbeMethod::Tcp { port: 80, refused: true },
            "nping-udp" => ProbeMethod::Udp { port: NPING_UDP_PORT },
            "nslookup" => ProbeMethod::Dns(Arc::new(DnsProbe {
                port: 53,
                name: NSLOOKUP_NAME.to_owned(),
                kind: DnsKind::A,
            })),
            _ => return None,
        })
    }

    /// A word for status: what is sent.
    pub fn name(&self) -> &'static str {
        match self {
            ProbeMethod::Ping => "ping",
            ProbeMethod::Neighbour => "arp",
            ProbeMethod::Tcp { .. } => "tcp",
            ProbeMethod::Udp { .. } => "udp",
            ProbeMethod::Ttl { .. } => "ttl",
            ProbeMethod::Dns(_) => "dns",
            ProbeMethod::Http(http) if http.tls => "https",
            ProbeMethod::Http(_) => "http",
        }
    }
}

impl From<IpAddr> for ProbeTarget {
    /// A target that is pinged.
    fn from(ip: IpAddr) -> Self {
        ProbeTarget { ip, method: ProbeMethod::Ping }
    }
}

const ANY_STATUS: (u16, u16) = (100, 599);
/// What an http target expects that names no status: a captive portal's redirection is no success.
const SUCCESS: (u16, u16) = (200, 299);

/// As it can be written in a configuration; a pinged one is its address.
impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = match self.ip {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        };
        let scheme = self.method.name();
        match &self.method {
            ProbeMethod::Ping => write!(f, "{}", self.ip),
            ProbeMethod::Neighbour => write!(f, "{scheme}://{host}"),
            ProbeMethod::Tcp { port, refused } => {
                write!(f, "{scheme}://{host}:{port}{}", if *refused { "#refused=1" } else { "" })
            }
            ProbeMethod::Udp { port } => write!(f, "{scheme}://{host}:{port}"),
            ProbeMethod::Ttl { hops, port } => write!(f, "{scheme}://{host}:{port}#hops={hops}"),
            ProbeMethod::Dns(dns) => {
                let name = if dns.name.is_empty() { "." } else { &dns.name };
                write!(f, "{scheme}://{host}{}/{name}", Port(dns.port, 53))?;
                match KINDS.iter().find(|(_, kind)| *kind == dns.kind) {
                    Some((word, kind)) if *kind != DnsKind::A => write!(f, "#type={word}"),
                    _ => Ok(()),
                }
            }
            ProbeMethod::Http(http) => {
                let standard = if http.tls { 443 } else { 80 };
                write!(f, "{scheme}://{host}{}{}", Port(http.port, standard), http.path)?;
                let mut separator = '#';
                for (key, value) in http.parameters() {
                    write!(f, "{separator}{key}={value}")?;
                    separator = '&';
                }
                Ok(())
            }
        }
    }
}

impl HttpProbe {
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let mut parameters = Vec::new();
        if let Some(host) = &self.host {
            parameters.push(("host", host.clone()));
        }
        if self.head {
            parameters.push(("method", "HEAD".to_owned()));
        }
        let (low, high) = self.status;
        if self.status != SUCCESS {
            parameters.push(("status", if low == high { low.to_string() } else { format!("{low}-{high}") }));
        }
        if let Some(body) = &self.body {
            parameters.push(("body", encode(body)));
        }
        parameters
    }
}

/// `:port` unless it is the standard one.
struct Port(u16, u16);

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == self.1 { Ok(()) } else { write!(f, ":{}", self.0) }
    }
}

/// Percent encoding of all but the harmless (RFC 3986 section 2.3).
fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        if *first == b'%' {
            let digits = std::str::from_utf8(tail.get(..2)?).ok()?;
            let hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| hex)?);
            rest = &tail[2..];
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

const SCHEMES: &[&str] = &["ping", "arp", "tcp", "udp", "ttl", "dns", "http", "https"];

/// Reads a target: an address, probed by `default`, or a URL.
pub(crate) fn target(text: &str, default: &ProbeMethod) -> Result<ProbeTarget, Problem> {
    let Some((scheme, rest)) = text.split_once("://") else {
        return Ok(ProbeTarget { ip: values::host(text)?, method: default.clone() });
    };
    if text.len() > TARGET_MAX {
        return Err(bad(text, &format!("is longer than {TARGET_MAX} characters")));
    }
    if !SCHEMES.contains(&scheme) {
        let problem = bad(text, &format!("begins with none of {}", or_list(SCHEMES.iter().copied())));
        return Err(match nearest(scheme, SCHEMES.iter().copied()) {
            Some(word) => problem.hint(format!("did you mean '{word}://'?")),
            None => problem,
        });
    }
    let (location, parameters) = rest.split_once('#').unwrap_or((rest, ""));
    let path_at = location.find(['/', '?']).unwrap_or(location.len());
    let (authority, path) = location.split_at(path_at);
    let (ip, port) = authority_of(text, authority)?;
    let url = Url { text, scheme, port, path, parameters: parameters_of(text, parameters)? };
    Ok(ProbeTarget { ip, method: url.method()? })
}

fn bad(text: &str, what: &str) -> Problem {
    Problem::new(codes::TARGET, format!("{} {what}", show(text)))
}

/// Address and port.
fn authority_of(text: &str, authority: &str) -> Result<(IpAddr, Option<u16>), Problem> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(inside) => {
            let (ip, rest) = inside.split_once(']').ok_or_else(|| bad(text, "has no ']'"))?;
            ip.parse::<Ipv6Addr>().map_err(|_| bad(text, "has no IPv6 address between the brackets"))?;
            match rest.strip_prefix(':') {
                Some(port) => (ip, Some(port)),
                None if rest.is_empty() => (ip, None),
                None => return Err(bad(text, "has something other than a port after the address")),
            }
        }
        None if authority.parse::<Ipv6Addr>().is_ok() => (authority, None),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let ip = values::host(host).map_err(|problem| {
        let named = problem.code == codes::HOST_NAME;
        if named {
            problem.hint("write the address; an http target may have its name behind it, as #host=NAME")
        } else {
            problem
        }
    })?;
    let port = port.map(|port| number(text, "port", port, 1, u16::MAX)).transpose()?;
    Ok((ip, port))
}

fn number(text: &str, what: &str, value: &str, min: u16, max: u16) -> Result<u16, Problem> {
    let digits = value.bytes().all(|b| b.is_ascii_digit());
    let number = value.parse::<u16>().ok().filter(|n| digits && (min..=max).contains(n));
    number.ok_or_else(|| bad(text, &format!("has no {what} from {min} to {max}")))
}

type Parameters<'t> = Vec<(&'t str, &'t str)>;

fn parameters_of<'t>(text: &str, parameters: &'t str) -> Result<Parameters<'t>, Problem> {
    let mut found: Parameters<'t> = Vec::new();
    for parameter in parameters.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = parameter
            .split_once('=')
            .ok_or_else(|| bad(text, &format!("has a parameter {} without a value", show(parameter))))?;
        if found.iter().any(|(known, _)| *known == key) {
            return Err(bad(text, &format!("has the parameter {} twice", show(key))));
        }
        found.push((key, value));
    }
    Ok(found)
}

struct Url<'t> {
    text: &'t str,
    scheme: &'t str,
    port: Option<u16>,
    path: &'t str,
    parameters: Parameters<'t>,
}

impl Url<'_> {
    fn method(&self) -> Result<ProbeMethod, Problem> {
        match self.scheme {
            "ping" | "arp" => {
                self.allow(&[])?;
                self.no_path()?;
                if self.port.is_some() {
                    return Err(bad(self.text, "has a port, and this method has none"));
                }
                Ok(if self.scheme == "ping" { ProbeMethod::Ping } else { ProbeMethod::Neighbour })
            }
            "tcp" => {
                self.allow(&["refused"])?;
                self.no_path()?;
                let refused = match self.parameter("refused") {
                    Some(text) => values::boolean(text)?,
                    None => false,
                };
                Ok(ProbeMethod::Tcp { port: self.needed_port()?, refused })
            }
            "udp" => {
                self.allow(&[])?;
                self.no_path()?;
                Ok(ProbeMethod::Udp { port: self.needed_port()? })
            }
            "ttl" => {
                self.allow(&["hops"])?;
                self.no_path()?;
                let hops = self.parameter("hops").unwrap_or_default();
                let hops = number(self.text, "#hops=", hops, 1, 255)?;
                Ok(ProbeMethod::Ttl { hops: hops as u8, port: self.port.unwrap_or(TTL_PORT) })
            }
            "dns" => self.dns(),
            tls => self.http(tls == "https"),
        }
    }

    fn dns(&self) -> Result<ProbeMethod, Problem> {
        self.allow(&["type"])?;
        let name = self.path.strip_prefix('/').unwrap_or_default();
        if name != "." && !is_host_name(name.strip_suffix('.').unwrap_or(name)) {
            return Err(
                bad(self.text, "has no valid name after the address").hint("as in dns://9.9.9.9/example.org")
            );
        }
        let kind = match self.parameter("type") {
            Some(word) => values::word(word, KINDS)?,
            None => DnsKind::A,
        };
        let name = name.strip_suffix('.').unwrap_or(name).to_owned();
        Ok(ProbeMethod::Dns(Arc::new(DnsProbe { port: self.port.unwrap_or(53), name, kind })))
    }

    fn http(&self, tls: bool) -> Result<ProbeMethod, Problem> {
        self.allow(&["host", "method", "status", "body"])?;
        if !self.path.bytes().all(|b| b.is_ascii_graphic() && !b"<>\"\\^`{|}".contains(&b)) {
            return Err(bad(self.text, "has a character in its path that must be written as %XX"));
        }
        let path = match self.path.as_bytes().first() {
            Some(b'/') => self.path.to_owned(),
            _ => format!("/{}", self.path),
        };
        let host = self.parameter("host");
        if host.is_some_and(|name| !is_host_name(name)) {
            return Err(bad(self.text, "has no valid name after host="));
        }
        let body =
            self.parameter("body").map(|text| decode(text).filter(|b| (1..=BODY_MAX).contains(&b.len())));
        if body == Some(None) {
            let what =
                format!("has no text of 1 to {BODY_MAX} bytes after body=, with %XX for what is special");
            return Err(bad(self.text, &what));
        }
        let head = match self.parameter("method") {
            Some(word) => values::word(word, &[("GET", false), ("HEAD", true)])?,
            None => false,
        };
        if head && body.is_some() {
            return Err(bad(self.text, "expects a body, and HEAD brings none"));
        }
        Ok(ProbeMethod::Http(Arc::new(HttpProbe {
            port: self.port.unwrap_or(if tls { 443 } else { 80 }),
            tls,
            host: host.map(str::to_owned),
            path,
            head,
            status: self.status()?,
            body: body.flatten(),
        })))
    }

    fn status(&self) -> Result<(u16, u16), Problem> {
        let Some(text) = self.parameter("status") else { return Ok(SUCCESS) };
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let one = |value| number(self.text, "status", value, ANY_STATUS.0, ANY_STATUS.1);
        let (low, high) = (one(low)?, one(high)?);
        if low > high {
            return Err(bad(self.text, "has a reversed range after status="));
        }
        Ok((low, high))
    }

    fn parameter(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| *known == key).map(|(_, value)| *value)
    }

    fn allow(&self, known: &[&'static str]) -> Result<(), Problem> {
        let Some((key, _)) = self.parameters.iter().find(|(key, _)| !known.contains(key)) else {
            return Ok(());
        };
        let problem = bad(self.text, &format!("has an unknown parameter {}", show(key)));
        Err(match nearest(key, known.iter().copied()) {
            Some(word) => problem.hint(format!("did you mean '{word}'?")),
            None => problem,
        })
    }

    fn no_path(&self) -> Result<(), Problem> {
        if matches!(self.path, "" | "/") {
            Ok(())
        } else {
            Err(bad(self.text, "has a path, and this method has none"))
        }
    }

    fn needed_port(&self) -> Result<u16, Problem> {
        self.port.ok_or_else(|| {
            bad(self.text, "has no port").hint(format!("as in {}://192.0.2.1:443", self.scheme))
        })
    }
}

/// RFC 1123, and underscores, which DNS has.
fn is_host_name(name: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    name.len() <= 253 && name.parse::<Ipv4Addr>().is_err() && name.split('.').all(label)
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
