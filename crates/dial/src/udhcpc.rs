//! What busybox's `udhcpc` leaves to a program: it tells of a lease in environment variables, and the program gives the device its
//! address. All of it comes from whoever answers on the wire; only what reads as an address gets any further.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::drivers::{last_route, own_address};
use crate::plan::Step;

/// Addresses of one kind that are read of a lease.
const ADDRESSES_MAX: usize = 4;

/// What a server gave.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lease {
    /// Our address and the length of its network.
    pub address: Ipv4Net,
    /// The next hop.
    pub router: Option<Ipv4Addr>,
    /// Name servers.
    pub dns: Vec<Ipv4Addr>,
}

impl Lease {
    /// From the variables of an event that tells of one (`bound`, `renew`): `ip`, `mask` (a length), `router`, `dns`. `None` without a
    /// usable address.
    pub fn read(variable: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let addresses = |name: &str| -> Vec<Ipv4Addr> {
            let text = variable(name).unwrap_or_default();
            let all = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
            all.filter(is_host).take(ADDRESSES_MAX).collect()
        };
        let address = variable("ip")?.parse().ok().filter(is_host)?;
        // Without the option: one host.
        let length = variable("mask").and_then(|text| text.parse().ok()).unwrap_or(32);
        Some(Lease {
            address: Ipv4Net::new(address, length).ok()?,
            router: addresses("router").first().copied(),
            dns: addresses("dns"),
        })
    }

    /// What gives `device` the lease, after `before`. What stays is not touched: not for a moment is there no address.
    pub fn up(&self, device: &str, before: Option<&Lease>) -> Vec<Step> {
        let mut steps = Vec::new();
        let address = |lease: &Lease| lease.address.to_string();
        // Whatever is there already, as after a crash of ours, is well.
        steps.push(attempt(own_address(&address(self), device)));
        steps.extend(self.route("append", device));
        if let Some(before) = before {
            if before.router != self.router {
                steps.extend(before.route("del", device));
            }
            if before.address != self.address {
                let old = address(before);
                steps.push(Step::attempt(&["ip", "address", "del", &old, "dev", device]));
            }
        }
        steps
    }

    /// What takes it from `device`.
    pub fn down(&self, device: &str) -> Vec<Step> {
        let address = self.address.to_string();
        let mut steps = self.route("del", device);
        steps.push(Step::attempt(&["ip", "address", "del", &address, "dev", device]));
        steps
    }

    fn route(&self, verb: &str, device: &str) -> Vec<Step> {
        let route = |router: &Ipv4Addr| {
            let router = router.to_string();
            Step::attempt(&last_route(verb, device, Some(&router)))
        };
        self.router.iter().map(route).collect()
    }

    /// The line of name servers that [`crate::established`] reads, as `dhcpcd -U` has it.
    pub fn dns_line(&self) -> String {
        let servers: Vec<String> = self.dns.iter().map(ToString::to_string).collect();
        format!("domain_name_servers='{}'", servers.join(" "))
    }

    /// For the next call: `ADDRESS/LENGTH [ROUTER]`.
    pub fn remembered(&self) -> String {
        let router = self.router.map(|router| format!(" {router}")).unwrap_or_default();
        format!("{}{router}\n", self.address)
    }

    /// What the call before remembered.
    pub fn recall(text: &str) -> Option<Self> {
        let mut words = text.split_ascii_whitespace();
        let address = words.next()?.parse().ok()?;
        let router = words.next().and_then(|word| word.parse().ok());
        Some(Lease { address, router, dns: Vec::new() })
    }
}

/// Neither everybody nor nobody.
fn is_host(ip: &Ipv4Addr) -> bool {
    !(ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast() || ip.is_loopback())
}

/// The same, where it does no harm if it is there already.
fn attempt(step: Step) -> Step {
    match step {
        Step::Make { argv, .. } | Step::Run { argv, .. } => Step::Run { argv, may_fail: true },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Option<Lease> {
        Lease::read(&|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned()))
    }

    fn text(steps: &[Step]) -> Vec<String> {
        let words = |step: &Step| match step {
            Step::Run { argv, may_fail: true } => argv.join(" "),
            other => panic!("{other:?}"),
        };
        steps.iter().map(words).collect()
    }

    #[test]
    fn a_lease_is_read_and_what_is_no_address_is_not() {
        let lease = read(&[
            ("ip", "192.0.2.50"),
            ("mask", "24"),
            ("router", "192.0.2.1 192.0.2.2"),
            ("dns", "9.9.9.9 $(reboot) 0.0.0.0 149.112.112.112"),
        ]);
        let lease = lease.unwrap();
        assert_eq!(lease.remembered(), "192.0.2.50/24 192.0.2.1\n");
        assert_eq!(lease.dns_line(), "domain_name_servers='9.9.9.9 149.112.112.112'");
        assert_eq!(Lease::recall(&lease.remembered()), Some(Lease { dns: Vec::new(), ..lease }));
        for ip in ["", "-f", "224.0.0.1", "255.255.255.255", "1.2.3.4/24", "2001:db8::1"] {
            assert_eq!(read(&[("ip", ip), ("mask", "24")]), None, "{ip}");
        }
        assert_eq!(read(&[("ip", "192.0.2.50"), ("mask", "33")]), None);
        assert_eq!(read(&[("ip", "192.0.2.50")]).unwrap().address.prefix_len(), 32);
    }

    #[test]
    fn what_stays_is_not_touched_and_the_new_comes_before_the_old_goes() {
        let old = Lease::recall("192.0.2.50/24 192.0.2.1").unwrap();
        let new = Lease::recall("192.0.2.51/24 192.0.2.1").unwrap();
        let route = "ip route append default via 192.0.2.1 onlink dev eth1 metric 20000";
        let first = ["ip address add 192.0.2.50/24 dev eth1", route];
        assert_eq!(text(&old.up("eth1", None)), first);
        assert_eq!(text(&old.up("eth1", Some(&old))), first);
        let changed =
            ["ip address add 192.0.2.51/24 dev eth1", route, "ip address del 192.0.2.50/24 dev eth1"];
        assert_eq!(text(&new.up("eth1", Some(&old))), changed);
        let gone = [
            "ip route del default via 192.0.2.1 onlink dev eth1 metric 20000",
            "ip address del 192.0.2.50/24 dev eth1",
        ];
        assert_eq!(text(&old.down("eth1")), gone);
    }
}
