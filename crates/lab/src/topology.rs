//! The topology file: which nodes there are and how they are addressed. TOML, validated as a whole
//! before anything is built.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

use serde::Deserialize;

/// Names of nodes that are not ISPs.
pub const FIXED_NODES: [&str; 4] = ["client", "router", "inet", "lan2"];

/// An address with its prefix length, as `ip addr` takes it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Cidr {
    /// The address itself, host bits included.
    pub ip: IpAddr,
    /// Prefix length.
    pub prefix: u8,
}

impl Cidr {
    /// Whether `other` lies in the same network.
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.ip, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                u32::from(a).checked_shr(shift) == u32::from(b).checked_shr(shift)
            }
            (IpAddr::V6(a), IpAddr::V6(b)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                u128::from(a).checked_shr(shift) == u128::from(b).checked_shr(shift)
            }
            _ => false,
        }
    }

    /// The prefix length of one single host.
    pub fn host_prefix(ip: IpAddr) -> u8 {
        if ip.is_ipv4() { 32 } else { 128 }
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.ip, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Cidr, String> {
        let bad = || format!("`{text}` is not an address with prefix length, like 192.0.2.10/24");
        let (ip, prefix) = text.split_once('/').ok_or_else(bad)?;
        let ip: IpAddr = ip.parse().map_err(|_| bad())?;
        let prefix: u8 = prefix.parse().map_err(|_| bad())?;
        if prefix > Cidr::host_prefix(ip) { Err(bad()) } else { Ok(Cidr { ip, prefix }) }
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Cidr, String> {
        text.parse()
    }
}

/// The whole network.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Topology {
    /// The router under test.
    pub router: Router,
    /// The host in its LAN.
    pub client: Host,
    /// A second LAN of the router, for traffic that must never touch a WAN.
    pub lan2: Option<Lan2>,
    /// The far end.
    pub inet: Inet,
    /// The providers, in the order of the file.
    #[serde(rename = "isp")]
    pub isps: Vec<Isp>,
}

/// The router under test.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Router {
    /// Its addresses on `lan0`.
    pub lan: Vec<Cidr>,
    /// nft text of the administrator, loaded before the daemon starts (a port forward, say).
    pub nft: Option<String>,
}

/// A host of the LAN.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Its addresses on `eth0`; the router's address of the same family is its default gateway.
    pub addresses: Vec<Cidr>,
}

/// A second LAN.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lan2 {
    /// The router's addresses on `lan2`.
    pub router: Vec<Cidr>,
    /// The host's.
    pub addresses: Vec<Cidr>,
}

/// The far end: every address is a server.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inet {
    /// Public addresses, both families.
    pub addresses: Vec<IpAddr>,
}

/// One provider and the link it gives to the router.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isp {
    /// Its name in scenarios.
    pub name: String,
    /// The router's device towards it.
    pub device: String,
    /// Its IPv4 service.
    pub v4: Option<Wan>,
    /// Its IPv6 service.
    pub v6: Option<Wan>,
    /// Metric of the default routes the router's own network configuration installs in `main`; none: no route.
    pub metric: Option<u32>,
    /// The link has a peer address instead of a network, like PPP (IPv4).
    #[serde(default)]
    pub p2p: bool,
}

/// One family of an ISP's service.
#[derive(Clone, Copy, PartialEq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wan {
    /// What the router gets.
    pub address: Cidr,
    /// Where it sends to; may be link-local for IPv6.
    pub gateway: IpAddr,
}

impl Isp {
    /// The service of a family, `4` or `6`.
    pub fn wan(&self, v6: bool) -> Option<&Wan> {
        if v6 { self.v6.as_ref() } else { self.v4.as_ref() }
    }
}

/// What is wrong with a topology file.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{file}:{line}: {message}")]
pub struct TopologyError {
    /// File as the user named it.
    pub file: String,
    /// Line, from 1 (0: the whole file).
    pub line: usize,
    /// What, with a hint.
    pub message: String,
}

impl Topology {
    /// Reads a file.
    pub fn load(path: &Path) -> Result<Topology, TopologyError> {
        let file = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Topology::parse(&file, &text),
            Err(e) => Err(TopologyError { file, line: 0, message: e.to_string() }),
        }
    }

    /// Parses text; `file` is only for messages.
    pub fn parse(file: &str, text: &str) -> Result<Topology, TopologyError> {
        let error = |line, message: String| TopologyError { file: file.into(), line, message };
        let topology: Topology = toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start);
            let line = text.bytes().take(at).filter(|b| *b == b'\n').count() + 1;
            error(line, e.message().replace('\n', " "))
        })?;
        match topology.problem() {
            None => Ok(topology),
            Some((needle, message)) => {
                let line = text.lines().position(|l| l.contains(&needle)).map_or(0, |n| n + 1);
                Err(error(line, message))
            }
        }
    }

    /// The first inconsistency: a word of the file near it, and what is wrong.
    fn problem(&self) -> Option<(String, String)> {
        if self.isps.is_empty() {
            return Some(("[[isp]]".into(), "no ISP\nhint: add an [[isp]] section".into()));
        }
        let (mut names, mut devices) = (BTreeSet::new(), BTreeSet::from(["lo", "lan0", "lan2"]));
        for isp in &self.isps {
            if let Some(message) = isp_problem(isp) {
                return Some((isp.name.clone(), format!("ISP `{}`: {message}", isp.name)));
            }
            if FIXED_NODES.contains(&isp.name.as_str()) || !names.insert(isp.name.as_str()) {
                return Some((isp.name.clone(), format!("the name `{}` is taken", isp.name)));
            }
            if !devices.insert(isp.device.as_str()) {
                return Some((isp.device.clone(), format!("the device `{}` is taken", isp.device)));
            }
        }
        None
    }

    /// The ISP of that name.
    pub fn isp(&self, name: &str) -> Option<&Isp> {
        self.isps.iter().find(|i| i.name == name)
    }

    /// Names of all nodes.
    pub fn nodes(&self) -> Vec<&str> {
        let fixed = FIXED_NODES.into_iter().filter(|n| *n != "lan2" || self.lan2.is_some());
        fixed.chain(self.isps.iter().map(|i| i.name.as_str())).collect()
    }

    /// The node an address lives on, if it is one of those the file fixes.
    pub fn owner(&self, ip: IpAddr) -> Option<&'static str> {
        let has = |list: &[Cidr]| list.iter().any(|c| c.ip == ip);
        if self.inet.addresses.contains(&ip) {
            Some("inet")
        } else if has(&self.client.addresses) {
            Some("client")
        } else if has(&self.router.lan) || self.lan2.as_ref().is_some_and(|l| has(&l.router)) {
            Some("router")
        } else if self.lan2.as_ref().is_some_and(|l| has(&l.addresses)) {
            Some("lan2")
        } else {
            None
        }
    }
}

fn isp_problem(isp: &Isp) -> Option<String> {
    let fits = |name: &str| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
        !name.is_empty() && name.len() <= 15 && name.bytes().all(plain)
    };
    if !fits(&isp.name) || !fits(&isp.device) {
        return Some("names are 1 to 15 letters, digits, `-`, `_`, `.`".into());
    }
    if isp.v4.is_none() && isp.v6.is_none() {
        return Some("neither v4 nor v6\nhint: v4 = { address = \"…/24\", gateway = \"…\" }".into());
    }
    let wrong = |wan: &Option<Wan>, v4: bool| {
        wan.is_some_and(|w| w.address.ip.is_ipv4() != v4 || w.gateway.is_ipv4() != v4)
    };
    if wrong(&isp.v4, true) || wrong(&isp.v6, false) {
        return Some("an address of the other family in v4 or v6".into());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = include_str!("../../../lab/topologies/three-isps.toml");

    #[test]
    fn the_shipped_topologies_parse() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../lab/topologies");
        for entry in std::fs::read_dir(dir).unwrap() {
            Topology::load(&entry.unwrap().path()).unwrap();
        }
    }

    #[test]
    fn mistakes_name_their_line() {
        for (from, to, line_has, message) in [
            ("name = \"ispb\"", "name = \"ispa\"", "ispa", "taken"),
            ("metric = 10", "metrik = 10", "metrik", "unknown field `metrik`"),
            ("198.51.100.10\"", "198.51.100.300\"", "198.51.100.300", "invalid IP address"),
            ("gateway = \"100.64.1.1\"", "gateway = \"fe80::1\"", "ispa", "other family"),
            ("100.64.1.2/24", "100.64.1.2/64", "100.64.1.2/64", "not an address with prefix"),
        ] {
            let text = GOOD.replacen(from, to, 1);
            let error = Topology::parse("x.toml", &text).expect_err(to);
            let line = text.lines().nth(error.line.max(1) - 1).unwrap();
            assert!(error.message.contains(message), "{error}");
            assert!(line.contains(line_has), "{error} points at `{line}`");
        }
    }

    #[test]
    fn networks_contain_their_hosts() {
        let net: Cidr = "100.64.1.2/24".parse().unwrap();
        assert!(net.contains("100.64.1.200".parse().unwrap()));
        assert!(!net.contains("100.64.2.1".parse().unwrap()));
        assert!(!net.contains("fe80::1".parse().unwrap()));
        let all: Cidr = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("8.8.8.8".parse().unwrap()));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "\\PC*") {
            let _ = Topology::parse("x", &text);
        }

        #[test]
        fn no_mutation_panics(at in 0usize..2000, with in "\\PC{0,8}") {
            let mut text = GOOD.to_owned();
            if text.is_char_boundary(at.min(text.len())) {
                text.insert_str(at.min(text.len()), &with);
            }
            let _ = Topology::parse("x", &text);
        }
    }
}
