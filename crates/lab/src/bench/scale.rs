//! What numbers cost: of rules, and of elements in sets.
//!
//! The time to have them in the kernel is that of a whole start, from before `fork` of the daemon to its READY=1: files
//! read, configuration parsed, compiled, committed. What a first packet costs is compared between two routers that both
//! run mwan and differ in the number alone.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::config::{Shape, rule_network, rule_port};
use super::daemon::Setup;
use super::forward::{PORTS, ROUNDS, Side, WARM_UP, no_source};
use super::inject::{DESTINATIONS, Frame, Injector, STEP6};
use super::sys::pin_to_last_core;
use super::table::{Row, Series};
use super::world::{CROWD, CROWD6, CROWD6_NETWORK, SERVICE_PORT, World};

/// Starts measured.
const RUNS: usize = 9;
const WANS: usize = 2;
const BASE: Shape = Shape { wans: WANS, rules: 0, targets: 1, tracking: &[], last: "balanced" };
/// The network of the packets of lookups that find something.
const CROWD_NETWORK: &str = "198.18.0.0/26";

/// Lists of prefixes of any length: no two touch, so none are merged into one.
#[derive(Clone, Copy)]
enum Prefixes {
    /// Five lengths in equal parts.
    V4,
    /// Seventeen lengths in equal parts.
    V6,
    /// The lengths of networks of the Internet.
    Internet6,
}

/// Prefixes of each length, of a thousand: about those of the IPv6 Internet. Two figures are known: 46 of a hundred are /48
/// (brandergroup.net/2025/03/analysis-of-ipv4-vs-ipv6-in-bgp-routing-tables), and the average length is 43.24
/// (bgp.potaroo.net/v6/as6447, 23 October 2024, 226,415 prefixes). The rest is chosen to fit them: most of it on the borders
/// of nibbles, few of every other length.
const INTERNET6: [(u8, u32); 20] = [
    (29, 15),
    (30, 3),
    (31, 3),
    (32, 110),
    (33, 12),
    (34, 8),
    (35, 5),
    (36, 45),
    (37, 5),
    (38, 12),
    (39, 5),
    (40, 90),
    (41, 5),
    (42, 25),
    (43, 7),
    (44, 105),
    (45, 15),
    (46, 35),
    (47, 35),
    (48, 460),
];

impl Prefixes {
    fn digit(self) -> char {
        match self {
            Prefixes::V4 => '4',
            Prefixes::V6 | Prefixes::Internet6 => '6',
        }
    }

    /// Of an address.
    fn bits(self) -> u32 {
        match self {
            Prefixes::V4 => 32,
            Prefixes::V6 | Prefixes::Internet6 => 128,
        }
    }

    /// The length of the `n`th.
    fn length(self, n: u32) -> u8 {
        match self {
            Prefixes::V4 => 28 + (n % 5) as u8,
            Prefixes::V6 => 48 + (n % 17) as u8,
            Prefixes::Internet6 => {
                // All of a thousand, in an order that mixes them: 617 and 1,000 have no common factor.
                let mut left = n.wrapping_mul(617) % 1000;
                let within = |(length, count): &(u8, u32)| match left.checked_sub(*count) {
                    Some(rest) => {
                        left = rest;
                        None
                    }
                    None => Some(*length),
                };
                INTERNET6.iter().find_map(within).unwrap_or(48)
            }
        }
    }

    /// As many lines of a set file.
    fn lines(self, count: usize) -> String {
        let first = |n: u32| match self {
            Prefixes::V4 => IpAddr::from(Ipv4Addr::from(0x0b00_0000 + n * 32)),
            Prefixes::V6 => ipv6(0x2a00_0000_0000 + u128::from(n) * 2, 48),
            Prefixes::Internet6 => ipv6(0x2a0_0000 + u128::from(n) * 2, 28),
        };
        self.lines_at(count, first)
    }

    fn lines_at(self, count: usize, first: impl Fn(u32) -> IpAddr) -> String {
        let mut out = String::new();
        for n in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            let _ = writeln!(out, "{}/{}", first(n), self.length(n));
        }
        out
    }

    /// Lines of a list of `count` in which all destinations of the packets are. Those of IPv6 are each in a prefix of its own
    /// of the lengths of the list, unless it is too short for that.
    fn crowd(self, count: usize) -> String {
        let destinations = usize::from(DESTINATIONS);
        match self {
            Prefixes::V4 => CROWD_NETWORK.into(),
            _ if count < destinations => CROWD6_NETWORK.into(),
            _ => {
                let first = u128::from(CROWD6) >> 96;
                // As close together as the rest of the list, and of lengths that follow each other as there. (Those of the Internet are.)
                let neighbours = if let Prefixes::V6 = self { 4 } else { 1 };
                let all = (0..u32::from(DESTINATIONS)).flat_map(|n| (0..neighbours).map(move |k| (n, k)));
                let mut lines = String::new();
                for (n, k) in all {
                    let network = ((first + (u128::from(n) << STEP6)) << 16) + 2 * u128::from(k);
                    let _ = writeln!(lines, "{}/{}", ipv6(network, 48), self.length(n + k));
                }
                lines
            }
        }
    }

    /// The first destination.
    fn to(self) -> IpAddr {
        match self {
            Prefixes::V4 => CROWD.into(),
            Prefixes::V6 | Prefixes::Internet6 => CROWD6.into(),
        }
    }
}

/// An address by its first `length` bits.
fn ipv6(bits: u128, length: u32) -> IpAddr {
    Ipv6Addr::from(bits << (128 - length)).into()
}

/// A named set from a file, and how many addresses are in it.
struct Listed {
    prefixes: Prefixes,
    addresses: u128,
    file: PathBuf,
}

impl Listed {
    /// Writes the file; `more` are the last lines.
    fn new(folder: &TempDir, prefixes: Prefixes, count: usize, more: &str) -> Result<Listed, String> {
        let file = folder.path().join(format!("list{}-{count}", prefixes.digit()));
        let text = prefixes.lines(count - more.lines().count()) + more;
        std::fs::write(&file, &text).map_err(|e| format!("{}: {e}", file.display()))?;
        let lengths = text.lines().filter_map(|line| line.split_once('/')?.1.parse::<u32>().ok());
        let addresses = lengths.map(|length| 1u128 << (prefixes.bits() - length)).sum();
        Ok(Listed { prefixes, addresses, file })
    }

    /// The set, and a rule that asks for it.
    fn uci(&self) -> String {
        let digit = self.prefixes.digit();
        format!(
            "config ipset 'list{digit}'\n\toption family 'ipv{digit}'\n\toption loadfile '{}'\n\
             config rule 'listed{digit}'\n\toption family 'ipv{digit}'\n\toption ipset 'list{digit}'\n\
             \toption use_policy 'balanced'\n",
            self.file.display()
        )
    }

    /// Whether the kernel has all of it: as many addresses, in however many sets of however many elements.
    fn assert_loaded(&self, world: &World) -> Result<(), String> {
        let set = format!("set.list{0}.{0}", self.prefixes.digit());
        let out = world.router.output(&["nft", "-j", "list", "table", "inet", "mwan"], "");
        let out = out.map_err(|e| e.to_string())?;
        let json: serde_json::Value = serde_json::from_slice(&out.stdout)
            .map_err(|e| format!("nft: {e}: {}", String::from_utf8_lossy(&out.stderr).trim()))?;
        let objects = json["nftables"].as_array().into_iter().flatten().map(|object| &object["set"]);
        // `set.list4.4` has prefixes, `set.list4.4.24` the first addresses of blocks of that length.
        let parts = objects.filter_map(|found| {
            let rest = found["name"].as_str()?.strip_prefix(&set)?;
            let length: Option<u64> = match rest.strip_prefix('.') {
                None => None,
                // But for `set.list4.near`.
                Some(length) => Some(length.parse().ok()?),
            };
            Some((length, found["elem"].as_array()?))
        });
        let bits = u64::from(self.prefixes.bits());
        let elements = parts.flat_map(|(length, list)| list.iter().map(move |element| (length, element)));
        let lengths = elements.map(|(length, element)| length.or(element["prefix"]["len"].as_u64()));
        let found: u128 = lengths.map(|length| 1u128 << bits.saturating_sub(length.unwrap_or(bits))).sum();
        if found == self.addresses {
            Ok(())
        } else {
            Err(format!("{set} has {found} addresses of {}", self.addresses))
        }
    }
}

fn folder() -> Result<TempDir, String> {
    tempfile::tempdir().map_err(|e| format!("temporary folder: {e}"))
}

/// Two interfaces of IPv4; the sets with their rules first, so that no first packet gets past them unasked; then `rules`.
fn uci(listed: &[Listed], rules: &str) -> String {
    in_front(&BASE.uci(), listed, rules)
}

fn in_front(base: &str, listed: &[Listed], rules: &str) -> String {
    let (before, last) = base.split_once("config rule ").unwrap_or((base, ""));
    let sets: String = listed.iter().map(Listed::uci).collect();
    format!("{before}{sets}{rules}config rule {last}")
}

/// Rules of one shape (destination network, protocol, port) or of five in turns.
fn rules(count: usize, mixed: bool) -> String {
    let mut out = String::new();
    for n in 0..count {
        let [a, b] = rule_network(n);
        let _ = write!(
            out,
            "config rule 'r{n}'\n\toption dest_ip '203.{a}.{b}.0/24'\n\toption use_policy 'balanced'\n"
        );
        let (source, protocol) = ("\toption src_ip '10.99.0.0/24'\n", "\toption proto 'udp'\n");
        let port = format!("\toption dest_port '{}'\n", rule_port(n));
        let more = match if mixed { n % 5 } else { 0 } {
            0 => [protocol, &port],
            1 => [protocol, ""],
            2 => [source, protocol],
            3 => [source, ""],
            _ => ["", ""],
        };
        out.extend(more);
    }
    out
}

/// 1,000 rules and sets of 50,000 elements.
pub(crate) fn apply(mwan: &Path) -> Result<Vec<Row>, String> {
    const TARGET_MS: f64 = 150.0;
    let folder = folder()?;
    let mut rows = Vec::new();
    for (what, families) in [
        ("a set of 50,000", &[Prefixes::V4][..]),
        ("two sets of 50,000, IPv4 and IPv6", &[Prefixes::V4, Prefixes::V6]),
    ] {
        let listed: Result<Vec<Listed>, String> =
            families.iter().map(|prefixes| Listed::new(&folder, *prefixes, 50_000, "")).collect();
        let listed = listed?;
        let started = starts(mwan, &uci(&listed, &rules(1000 - listed.len(), true)), &listed)?;
        let row = Row::new("rules-apply", format!("1,000 rules and {what}: start")).target("≤ 150 ms");
        rows.push(started.row(row, TARGET_MS));
    }
    Ok(rows)
}

/// 100,000 prefixes.
pub(crate) fn load(mwan: &Path) -> Result<Vec<Row>, String> {
    const TARGET_MS: f64 = 1000.0;
    let folder = folder()?;
    let mut rows = Vec::new();
    for prefixes in [Prefixes::V4, Prefixes::V6] {
        let listed = [Listed::new(&folder, prefixes, 100_000, "")?];
        let started = starts(mwan, &uci(&listed, ""), &listed)?;
        let what = format!("a set file of 100,000 IPv{} prefixes: start", prefixes.digit());
        rows.push(started.row(Row::new("set-load", what).target("< 1 s"), TARGET_MS));
    }
    Ok(rows)
}

/// Times of starts.
struct Started {
    whole: Series,
    kernel: Series,
}

impl Started {
    fn row(&self, row: Row, target_ms: f64) -> Row {
        let median = self.whole.median();
        row.measured(format!("{median:.0} ms")).verdict(median <= target_ms).note(format!(
            "from before fork to READY=1; median of {}, {:.0}–{:.0} ms, of which {:.0} ms are the change of the kernel.",
            self.whole.len(),
            self.whole.min(),
            self.whole.max(),
            self.kernel.median()
        ))
    }
}

/// Starts the daemon again and again, each time with an empty kernel and empty folders.
fn starts(mwan: &Path, uci: &str, listed: &[Listed]) -> Result<Started, String> {
    let world = World::build("scale", WANS)?;
    let (mut times, mut applies) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let running = Setup::new(mwan, &world.router, uci)?.start()?;
        times.push(running.ready);
        let apply_us = running.status()?["daemon"]["last_apply_us"].as_u64().unwrap_or(0);
        applies.push(Duration::from_micros(apply_us));
        listed.iter().try_for_each(|set| set.assert_loaded(&world))?;
        running.stop()?;
    }
    Ok(Started { whole: Series::of_ms(&times)?, kernel: Series::of_ms(&applies)? })
}

/// First packets through 1,000 rules against those through ten.
pub(crate) fn through_rules(mwan: &Path) -> Result<Vec<Row>, String> {
    const TARGET: f64 = 1.3;
    let mut rows = Vec::new();
    for (what, mixed) in [("one shape", false), ("five shapes in turns", true)] {
        let configs = [uci(&[], &rules(10, mixed)), uci(&[], &rules(1000, mixed))];
        let outcome = pair(mwan, World::build, configs, CROWD.into())?;
        let what = format!("new connections, 1,000 rules of {what} against 10");
        rows.push(outcome.row(Row::new("rules-new", what).target("≤ 1.30"), TARGET));
    }
    Ok(rows)
}

/// First packets that ask for a set of 100,000 prefixes against one of ten.
pub(crate) fn lookup(mwan: &Path) -> Result<Vec<Row>, String> {
    /// "No more" as far as the middle half of a run on a quiet machine can tell.
    const TARGET: f64 = 1.05;
    let mut rows = Vec::new();
    for (prefixes, name) in [
        (Prefixes::V4, "IPv4"),
        (Prefixes::V6, "IPv6, 17 lengths"),
        (Prefixes::Internet6, "IPv6, lengths as in the Internet"),
    ] {
        for (what, found) in [("found", true), ("not found", false)] {
            let outcome = lookup_pair(mwan, prefixes, found)?;
            let what = format!("new connections, set of 100,000 against one of 10, {name}, {what}");
            rows.push(outcome.row(Row::new("set-lookup", what).target("≤ 1.05"), TARGET));
        }
    }
    Ok(rows)
}

fn lookup_pair(mwan: &Path, prefixes: Prefixes, found: bool) -> Result<Pair, String> {
    let folder = folder()?;
    let listed = |count: usize| {
        let more = if found { prefixes.crowd(count) } else { String::new() };
        Listed::new(&folder, prefixes, count, &more)
    };
    let (build, base): (Build, String) = match prefixes {
        Prefixes::V4 => (World::build, BASE.uci()),
        Prefixes::V6 | Prefixes::Internet6 => (World::dual, BASE.dual_uci()),
    };
    let config = |count| listed(count).map(|listed| in_front(&base, &[listed], ""));
    pair(mwan, build, [config(10)?, config(100_000)?], prefixes.to())
}

/// How a world is made.
type Build = fn(&str, usize) -> Result<World, String>;

/// Nanoseconds per packet with little and with much configured.
struct Pair {
    ratio: Series,
    few: Series,
    many: Series,
    source: f64,
    core: usize,
}

impl Pair {
    fn row(&self, row: Row, target: f64) -> Row {
        let ratio = self.ratio.median();
        row.measured(format!("{ratio:.2}")).verdict(ratio <= target).note(format!(
            "{:.0} ns per packet against {:.0}, of which {:.0} are the source of the packets; {} rounds, middle half \
             {}; core {}.",
            self.many.median(),
            self.few.median(),
            self.source,
            self.ratio.len(),
            self.ratio.quartiles(),
            self.core
        ))
    }
}

/// Two routers side by side, each with a daemon; the packets go to `to` and the destinations behind it.
fn pair(mwan: &Path, build: Build, configs: [String; 2], to: IpAddr) -> Result<Pair, String> {
    let worlds = [build("few", WANS)?, build("many", WANS)?];
    let mut daemons = Vec::new();
    for (world, uci) in worlds.iter().zip(&configs) {
        let daemon = Setup::new(mwan, &world.router, uci)?.start()?;
        daemon.wait_online(Duration::from_secs(10))?;
        daemons.push(daemon);
    }
    let sides = worlds.map(Side);
    // On a thread of its own, which stays on one core.
    let measured = std::thread::scope(|scope| {
        let thread = scope.spawn(|| alternate(&sides, to));
        thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
    });
    daemons.into_iter().try_for_each(super::daemon::Running::stop)?;
    measured
}

fn alternate(sides: &[Side; 2], to: IpAddr) -> Result<Pair, String> {
    let core = pin_to_last_core().map_err(|e| format!("cannot stay on one core: {e}"))?;
    let frame = Frame::new(to, SERVICE_PORT);
    let source = Injector::new(frame.clone(), PORTS).map_err(no_source)?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let mut cost = [0.0; 2];
        for turn in 0..2 {
            let which = (round + turn) % 2;
            cost[which] = sides[which].slice_of_new(&source)?;
        }
        if round >= WARM_UP {
            few.push(cost[0]);
            many.push(cost[1]);
        }
    }
    let ratio = many.iter().zip(&few).map(|(many, few)| many / few).collect();
    let (few, many) = (Series::new(few)?, Series::new(many)?);
    Ok(Pair { ratio: Series::new(ratio)?, few, many, source: sides[0].source_alone(frame)?, core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_a_list_are_networks_that_do_not_touch() {
        for prefixes in [Prefixes::V4, Prefixes::V6, Prefixes::Internet6] {
            let list = prefixes.lines(40_000) + &prefixes.crowd(40_000);
            let mut end = 0;
            for line in list.lines() {
                let (address, length) = line.split_once('/').unwrap();
                let first = match address.parse().unwrap() {
                    IpAddr::V4(address) => u128::from(u32::from(address)),
                    IpAddr::V6(address) => u128::from(address),
                };
                let size = 1u128 << (prefixes.bits() - length.parse::<u32>().unwrap());
                assert!(first % size == 0 && first > end, "{line}");
                end = first + size;
            }
        }
        assert_eq!(Prefixes::V6.lines(32_769).lines().last(), Some("2a00:1::/57"));
    }

    #[test]
    fn lengths_are_those_of_the_internet() {
        let all: Vec<f64> = (0..1000).map(|n| f64::from(Prefixes::Internet6.length(n))).collect();
        let longest = all.iter().filter(|length| **length == 48.0).count();
        let average = all.iter().sum::<f64>() / 1000.0;
        assert!(longest == 460 && (average - 43.24).abs() < 0.05, "{longest} {average}");
    }

    #[test]
    fn every_destination_is_in_a_prefix_of_the_list() {
        for (prefixes, neighbours) in [(Prefixes::V6, 4), (Prefixes::Internet6, 1)] {
            let (few, many) = (prefixes.crowd(10), prefixes.crowd(100_000));
            assert_eq!((few.lines().count(), many.lines().count()), (1, 64 * neighbours));
            for (line, n) in many.lines().step_by(neighbours).zip(0u16..) {
                let to = Ipv6Addr::new(0x2a80, n << STEP6, 0, 0, 0, 0, 0, 0);
                assert_eq!(line, format!("{to}/{}", prefixes.length(n.into())));
                assert_eq!(u128::from(to) >> 106, u128::from(CROWD6) >> 106, "outside of {CROWD6_NETWORK}");
            }
        }
    }

    #[test]
    fn the_rules_are_as_many_as_said() {
        assert_eq!(rules(1000, true).matches("config rule").count(), 1000);
        assert!(uci(&[], &rules(3, false)).ends_with("option use_policy 'balanced'\n"));
        assert_eq!(uci(&[], &rules(3, false)).matches("config rule").count(), 4);
    }
}
