//! What numbers cost: of rules, and of elements in sets.
//!
//! The time to have them in the kernel is that of a whole start, from before `fork` of the daemon to its READY=1: files
//! read, configuration parsed, compiled, committed. What a first packet costs is compared between two routers that both
//! run mwan and differ in the number alone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::config::{Shape, rule_network, rule_port};
use super::daemon::Setup;
use super::forward::{Load, PORTS, ROUNDS, Side, WARM_UP, no_source};
use super::inject::{Injector, frame};
use super::sys::pin_to_last_core;
use super::table::{Row, Series};
use super::world::{CROWD, SERVICE_PORT, World};

/// Starts measured.
const RUNS: usize = 9;
const WANS: usize = 2;
/// The network of the packets of lookups that find something.
const CROWD_NETWORK: &str = "198.18.0.0/26";

/// A family's documentation-like prefixes for lists of any length: no two touch, so none are merged into one.
#[derive(Clone, Copy)]
enum Prefixes {
    V4,
    V6,
}

impl Prefixes {
    fn digit(self) -> char {
        match self {
            Prefixes::V4 => '4',
            Prefixes::V6 => '6',
        }
    }

    /// Of an address.
    fn bits(self) -> u32 {
        match self {
            Prefixes::V4 => 32,
            Prefixes::V6 => 128,
        }
    }

    /// As many lines of a set file.
    fn lines(self, count: usize) -> String {
        let mut out = String::new();
        for n in 0..u32::try_from(count).unwrap_or(u32::MAX) {
            // Of various lengths, as lists of countries or providers are.
            let _ = match self {
                Prefixes::V4 => {
                    let address = std::net::Ipv4Addr::from(0x0b00_0000 + n * 32);
                    writeln!(out, "{address}/{}", 28 + n % 5)
                }
                Prefixes::V6 => writeln!(out, "2a00:{:x}:{:x}::/{}", n >> 15, (n & 0x7fff) * 2, 48 + n % 17),
            };
        }
        out
    }
}

/// A named set from a file, and how many addresses are in it.
struct Listed {
    prefixes: Prefixes,
    addresses: u128,
    file: PathBuf,
}

impl Listed {
    /// Writes the file; `more` is the last line.
    fn new(folder: &TempDir, prefixes: Prefixes, count: usize, more: &str) -> Result<Listed, String> {
        let file = folder.path().join(format!("list{}-{count}", prefixes.digit()));
        let text = prefixes.lines(count - usize::from(!more.is_empty())) + more;
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
            let length: Option<u64> = rest.strip_prefix('.').and_then(|length| length.parse().ok());
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

/// Two interfaces; the sets with their rules first, so that no first packet gets past them unasked; then `rules`.
fn uci(listed: &[Listed], rules: &str) -> String {
    let base = Shape { wans: WANS, rules: 0, targets: 1, tracking: &[], last: "balanced" }.uci();
    let (before, last) = base.split_once("config rule ").unwrap_or((&base, ""));
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
        let last = Load::New { to: CROWD, port: SERVICE_PORT };
        let outcome = pair(mwan, configs, last)?;
        let what = format!("new connections, 1,000 rules of {what} against 10");
        rows.push(outcome.row(Row::new("rules-new", what).target("≤ 1.30"), TARGET));
    }
    Ok(rows)
}

/// First packets that ask for a set of 100,000 prefixes against one of ten.
pub(crate) fn lookup(mwan: &Path) -> Result<Vec<Row>, String> {
    /// "No more" as far as the middle half of a run on a quiet machine can tell.
    const TARGET: f64 = 1.05;
    let folder = folder()?;
    let mut rows = Vec::new();
    for (what, more) in [("found", CROWD_NETWORK), ("not found", "")] {
        let config = |count| Listed::new(&folder, Prefixes::V4, count, more).map(|listed| uci(&[listed], ""));
        let configs = [config(10)?, config(100_000)?];
        let outcome = pair(mwan, configs, Load::New { to: CROWD, port: SERVICE_PORT })?;
        let what = format!("new connections, set of 100,000 against one of 10, {what}");
        rows.push(outcome.row(Row::new("set-lookup", what).target("≤ 1.05"), TARGET));
    }
    Ok(rows)
}

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

/// Two routers side by side, each with a daemon.
fn pair(mwan: &Path, configs: [String; 2], load: Load) -> Result<Pair, String> {
    let worlds = [World::build("few", WANS)?, World::build("many", WANS)?];
    let mut daemons = Vec::new();
    for (world, uci) in worlds.iter().zip(&configs) {
        let daemon = Setup::new(mwan, &world.router, uci)?.start()?;
        daemon.wait_online(Duration::from_secs(10))?;
        daemons.push(daemon);
    }
    let sides = worlds.map(Side);
    // On a thread of its own, which stays on one core.
    let measured = std::thread::scope(|scope| {
        let thread = scope.spawn(|| alternate(&sides, load));
        thread.join().unwrap_or_else(|_| Err("a thread panicked".into()))
    });
    daemons.into_iter().try_for_each(super::daemon::Running::stop)?;
    measured
}

fn alternate(sides: &[Side; 2], load: Load) -> Result<Pair, String> {
    let core = pin_to_last_core().map_err(|e| format!("cannot stay on one core: {e}"))?;
    let source = Injector::new(frame(load.destinations(), SERVICE_PORT, 18), PORTS).map_err(no_source)?;
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for round in 0..WARM_UP + ROUNDS {
        let mut cost = [0.0; 2];
        for turn in 0..2 {
            let which = (round + turn) % 2;
            cost[which] = sides[which].slice(load, &source)?;
        }
        if round >= WARM_UP {
            few.push(cost[0]);
            many.push(cost[1]);
        }
    }
    let ratio = many.iter().zip(&few).map(|(many, few)| many / few).collect();
    let (few, many) = (Series::new(few)?, Series::new(many)?);
    Ok(Pair { ratio: Series::new(ratio)?, few, many, source: sides[0].source_alone()?, core })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_a_list_are_networks_that_do_not_touch() {
        for (line, n) in Prefixes::V4.lines(1000).lines().zip(0u32..) {
            let (address, length) = line.split_once('/').unwrap();
            let first = u32::from(address.parse::<std::net::Ipv4Addr>().unwrap());
            let size = 1u32 << (32 - length.parse::<u32>().unwrap());
            assert!(first % size == 0 && first == 0x0b00_0000 + n * 32 && size < 32, "{line}");
        }
        assert_eq!(Prefixes::V6.lines(32_769).lines().last(), Some("2a00:1:0::/57"));
    }

    #[test]
    fn the_rules_are_as_many_as_said() {
        assert_eq!(rules(1000, true).matches("config rule").count(), 1000);
        assert!(uci(&[], &rules(3, false)).ends_with("option use_policy 'balanced'\n"));
        assert_eq!(uci(&[], &rules(3, false)).matches("config rule").count(), 4);
    }
}
