//! Configurations to measure with, as UCI text.

use std::fmt::Write as _;

/// Addresses of the far end that answer pings on every link.
pub(crate) const TARGETS: [&str; 4] = ["198.51.100.1", "198.51.100.2", "198.51.100.3", "198.51.100.4"];

/// The one of IPv6.
pub(crate) const TARGET6: &str = "2001:db8:ffff::1";

/// What the configuration is to contain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    /// Interfaces `w1` to `wN`.
    pub(crate) wans: usize,
    /// Rules of one shape before the last, which matches everything.
    pub(crate) rules: usize,
    /// Targets per interface.
    pub(crate) targets: usize,
    /// Options of each interface, as `interval 0.2`.
    pub(crate) tracking: &'static [&'static str],
    /// The policy of the last rule: `failover` or `balanced`.
    pub(crate) last: &'static str,
}

impl Shape {
    /// The text, of IPv4.
    pub(crate) fn uci(&self) -> String {
        self.text(false)
    }

    /// The text with both families on every interface, and a last rule for each.
    pub(crate) fn dual_uci(&self) -> String {
        self.text(true)
    }

    fn text(&self, dual: bool) -> String {
        let mut out = String::from("config globals 'globals'\n\toption mmx_mask '0x3F00'\n\n");
        for n in 1..=self.wans {
            self.interface(&mut out, n, dual);
        }
        for (policy, kind) in [("failover", 'f'), ("balanced", 'b')] {
            let _ = writeln!(out, "config policy '{policy}'\n\toption last_resort 'unreachable'");
            for n in 1..=self.wans {
                let _ = writeln!(out, "\tlist use_member '{kind}{n}'");
            }
        }
        for n in 0..self.rules {
            let policy = if n % 2 == 0 { "failover" } else { "balanced" };
            let [a, b] = rule_network(n);
            let _ = writeln!(
                out,
                "config rule 'r{n}'\n\toption dest_ip '203.{a}.{b}.0/24'\n\toption proto 'udp'\n\
                 \toption dest_port '{}'\n\toption use_policy '{policy}'",
                rule_port(n)
            );
        }
        for (name, everything) in [("all", "0.0.0.0/0"), ("all6", "::/0")].iter().take(1 + usize::from(dual))
        {
            let _ = writeln!(
                out,
                "config rule '{name}'\n\toption dest_ip '{everything}'\n\toption use_policy '{}'",
                self.last
            );
        }
        out
    }

    fn interface(&self, out: &mut String, n: usize, dual: bool) {
        let _ = writeln!(
            out,
            "config interface 'w{n}'\n\toption enabled '1'\n\toption device 'w{n}'\n\
             \tlist gateway '10.100.{n}.1'"
        );
        if dual {
            let _ = writeln!(
                out,
                "\tlist gateway 'fd00:100:{n}::1'\n\tlist family 'ipv4'\n\tlist family 'ipv6'\n\
                 \tlist track_ip '{TARGET6}'"
            );
        }
        for target in TARGETS.iter().take(self.targets) {
            let _ = writeln!(out, "\tlist track_ip '{target}'");
        }
        for option in self.tracking {
            let (name, value) = option.split_once(' ').unwrap_or((option, "1"));
            let _ = writeln!(out, "\toption {name} '{value}'");
        }
        for (kind, metric) in [('f', n), ('b', 1)] {
            let _ = writeln!(
                out,
                "config member '{kind}{n}'\n\toption interface 'w{n}'\n\toption metric '{metric}'"
            );
        }
    }
}

/// The third and second last byte of rule `n`'s destination, 203.A.B.0/24.
pub(crate) fn rule_network(n: usize) -> [u8; 2] {
    [u8::try_from(n / 250).unwrap_or(255), u8::try_from(n % 250).unwrap_or(255)]
}

/// The destination port of rule `n`.
pub(crate) fn rule_port(n: usize) -> u16 {
    u16::try_from(1000 + n).unwrap_or(u16::MAX)
}
