//! Goldens: a case folder holds a configuration and a world, and beside them the whole program as text.
//! `UPDATE_GOLDEN=1` regenerates. Every table and every rule must also be accepted by the real tools and kernel, in
//! a private namespace.
//!
//! `world.txt`, one fact per line, `#` begins a comment:
//! ```text
//! link NAME [down|nocarrier] [p2p] [ADDRESS/LEN…]     default DEVICE [via GATEWAY]
//! connected PREFIX    custom PREFIX    path INTERFACE FAMILY STATE    down INTERFACE    translate
//! ```

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::disallowed_types)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use mwan_compile::nft::NftOp;
use mwan_compile::{Compiler, Program, check, compile, diff, diff_observed, text};
use mwan_config::Family;
use mwan_core::*;

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 15, "goldens are missing");
    cases
}

/// The world of a case: what the core is told before it decides.
#[derive(Default)]
struct World {
    net: NetView,
    memory: Memory,
    translate: bool,
}

fn world(text: &str) -> World {
    let mut world = World::default();
    let (mut connected, mut custom) = (BTreeSet::new(), BTreeSet::new());
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            [] => {}
            ["link", name, facts @ ..] => {
                world.net.links.insert((*name).into(), link(facts));
            }
            ["default", device, via @ ..] => {
                let gateway = via.get(1).map(|g| g.parse().unwrap());
                let families = match gateway {
                    Some(ip) => vec![Family::of(ip)],
                    None => Family::ALL.to_vec(),
                };
                world.net.defaults.extend(families.into_iter().map(|family| DefaultRoute {
                    family,
                    metric: 0,
                    table: 254,
                    device: (*device).into(),
                    gateway,
                }));
            }
            ["connected", net] => drop(connected.insert(net.parse().unwrap())),
            ["custom", net] => drop(custom.insert(net.parse().unwrap())),
            ["path", interface, family, state] => world.memory.paths.push(RememberedPath {
                interface: (*interface).into(),
                family: if *family == "ipv4" { Family::V4 } else { Family::V6 },
                state: match *state {
                    "online" => State::Online,
                    "offline" => State::Offline,
                    other => panic!("state {other}?"),
                },
                score: 0,
                losses: vec![],
                hold: None,
                pretended: None,
            }),
            ["down", interface] => drop(world.memory.taken_down.insert((*interface).into())),
            ["translate"] => world.translate = true,
            other => panic!("world.txt: {other:?}?"),
        }
    }
    world.net.connected = Arc::new(connected);
    world.net.custom = Arc::new(custom);
    world
}

fn link(facts: &[&str]) -> Link {
    let mut link = Link { index: 1, up: true, carrier: true, ..Link::default() };
    for fact in facts {
        match *fact {
            "down" => link.up = false,
            "nocarrier" => link.carrier = false,
            "p2p" => link.point_to_point = true,
            address => {
                let net: ipnet::IpNet = address.parse().unwrap();
                let (ip, prefix_len) = (net.addr(), net.prefix_len());
                link.addresses.push(Address { ip, prefix_len, peer: None, global: true, preferred: true });
            }
        }
    }
    link
}

/// A case's core after it has seen its world.
fn core(case: &Path) -> Core {
    let file = case.join("config.uci");
    let loaded = mwan_config::parse("config.uci", &fs::read(&file).unwrap());
    let world = world(&fs::read_to_string(case.join("world.txt")).unwrap());
    let platform = Platform { translate: world.translate };
    let mut core = Core::new(platform, Arc::new(loaded.config), world.memory);
    core.handle(Time::from_ms(1), Event::Network(Arc::new(world.net)));
    core
}

fn program(case: &Path) -> Program {
    let core = core(case);
    let desired = core.desired().unwrap();
    let program = compile(desired);
    let faults = check(&program, desired.marks);
    assert!(faults.is_empty(), "{}: {faults:?}", case.display());
    program
}

fn lines<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().map(|i| format!("{i}\n")).collect()
}

/// State and reason of every path.
fn paths(core: &Core) -> String {
    let mut out = String::new();
    for wan in core.desired().unwrap().interfaces.iter() {
        for path in &wan.paths {
            let status = core.path(PathKey { id: wan.id, family: path.family }).unwrap();
            let state = status.state.name();
            writeln!(out, "{} ({}) {} is {state}: {}", wan.name, wan.id, path.family, status.reason).unwrap();
        }
    }
    out
}

#[test]
fn programs_are_as_expected() {
    let update = std::env::var_os("UPDATE_GOLDEN").is_some();
    let mut wrong = vec![];
    for case in cases() {
        let program = program(&case);
        for (name, is) in [
            ("expected.nft", text::table(&program.table)),
            ("expected.rules", lines(program.rules.iter())),
            ("expected.routes", lines(program.routes.iter())),
            ("expected.paths", paths(&core(&case))),
        ] {
            let file = case.join(name);
            if update {
                fs::write(&file, &is).unwrap();
            } else if fs::read_to_string(&file).unwrap_or_default() != is {
                let got =
                    std::env::temp_dir().join(format!("{}.{name}", case.file_name().unwrap().display()));
                fs::write(&got, &is).unwrap();
                wrong.push(format!("diff {} {}", file.display(), got.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "see what changed, then UPDATE_GOLDEN=1:\n{}", wrong.join("\n"));
}

/// Runs a shell script in a network namespace of its own; its output.
fn in_namespace(script: &str) -> String {
    let version = Command::new("nft").arg("--version").output();
    assert!(version.is_ok_and(|o| o.status.success()), "nft is missing: apt-get install nftables");
    let run = |flags: &str| Command::new("unshare").args([flags, "sh", "-ec", script]).output().unwrap();
    let root = Command::new("unshare").args(["-n", "true"]).output().unwrap().status.success();
    let out = run(if root { "-n" } else { "-rn" });
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{said}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A folder for files that tools read; removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("mwan-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Scratch(folder)
    }

    fn file(&self, name: &str, content: String) -> String {
        let file = self.0.join(name);
        fs::write(&file, content).unwrap();
        file.display().to_string()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn nft_accepts_every_table() {
    let scratch = Scratch::new("tables");
    let mut script = String::new();
    for case in cases() {
        let name = case.file_name().unwrap().display().to_string();
        let file = scratch.file(&name, text::table(&program(&case).table));
        writeln!(script, "nft -c -f {file} || {{ echo {name} >&2; exit 1; }}").unwrap();
    }
    in_namespace(&script);
}

#[test]
fn ip_accepts_every_rule() {
    let mut script = String::new();
    for case in cases() {
        for rule in program(&case).rules.iter() {
            let (family, text) = match rule.family {
                Family::V4 => ("-4", rule.to_string()),
                Family::V6 => ("-6", rule.to_string().trim_start_matches("-6 ").to_owned()),
            };
            writeln!(script, "ip {family} {}", text.replacen("rule ", "rule add ", 1)).unwrap();
        }
        script.push_str("ip -4 rule flush; ip -6 rule flush\n");
    }
    in_namespace(&script);
}

/// A table as the kernel lists it; the order of chains and sets says nothing.
fn blocks(listing: &str) -> BTreeSet<String> {
    let inside = listing.trim_start_matches("table inet mwan {\n").trim_end_matches("}\n");
    inside.split("\n\n").map(|block| block.trim_end_matches(['\n', '\t', '}']).to_owned()).collect()
}

/// The real kernel gets from every program to the next one, and arrives at the same as from nothing.
#[test]
fn the_kernel_gets_from_every_program_to_the_next() {
    let programs: Vec<Program> = cases().iter().map(|c| program(c)).collect();
    let scratch = Scratch::new("changes");
    let mut script = String::new();
    let mut pairs = vec![];
    for from in 0..programs.len() {
        let to = (from + 1) % programs.len();
        pairs.extend([(from, to), (to, from)]);
    }
    for (number, (from, to)) in pairs.iter().enumerate() {
        let fresh = |p: &Program| text::ops(&diff_observed(&Default::default(), p).nft);
        let step = |name: &str, content| scratch.file(&format!("{number}.{name}"), content);
        let start = step("start", fresh(&programs[*from]));
        let change = step("change", text::ops(&diff(&programs[*from], &programs[*to]).nft));
        let direct = step("direct", fresh(&programs[*to]));
        writeln!(
            script,
            "nft -f {start}; nft -f {change}; nft -s list ruleset; nft delete table inet mwan; echo @@@
             nft -f {direct}; nft -s list ruleset; nft delete table inet mwan; echo @@@"
        )
        .unwrap();
    }
    let out = in_namespace(&script);
    let listings: Vec<&str> = out.split("@@@\n").collect();
    for (number, (from, to)) in pairs.iter().enumerate() {
        let [changed, direct] = [0, 1].map(|n| blocks(listings[2 * number + n]));
        assert!(direct.len() > 3, "nothing was listed");
        let differing: Vec<&String> = changed.symmetric_difference(&direct).collect();
        assert!(differing.is_empty(), "from {:?} to {:?}: {differing:#?}", cases()[*from], cases()[*to]);
    }
}

/// `enabled '0'` means nothing at all, from wherever one comes to it and back.
#[test]
fn switched_off_there_is_no_table_no_rule_and_no_route() {
    for case in cases() {
        let on = core(&case).desired().unwrap().clone();
        let off = Arc::new(Desired { off: true, ..(*on).clone() });
        let mut compiler = Compiler::default();
        let [before, none, after] = [&on, &off, &on].map(|desired| compiler.compile(desired));
        assert_eq!((&before, &none), (&after, &Program::default()));
        assert!(check(&none, off.marks).is_empty());
        let gone = diff(&before, &none);
        assert_eq!(gone.nft, [NftOp::DeleteTable], "{}", case.display());
        assert!(gone.add.is_empty() && gone.remove.len() == before.rules.len() + before.routes.len());
        assert!(diff(&none, &none).is_empty() && diff_observed(&Default::default(), &none).is_empty());
        assert_eq!(diff(&none, &after), diff_observed(&Default::default(), &after));
    }
}

/// For a kernel that cannot log: as if nobody had asked for it.
#[test]
fn a_silenced_compiler_makes_the_same_program_without_logging() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/logging");
    let logging = core(&case).desired().unwrap().clone();
    let quiet: Vec<_> =
        logging.rules.iter().cloned().map(|found| DesiredRule { log: None, ..found }).collect();
    let quiet = Desired { rules: Arc::new(quiet), ..(*logging).clone() };
    let mut compiler = Compiler::default();
    let loud = compiler.compile(&logging);
    assert!(mwan_compile::text::table(&loud.table).contains("log prefix"));
    assert_eq!(compiler.silence(), Some(logging.clone()));
    assert_eq!(compiler.compile(&logging), compile(&quiet));
    assert_ne!(loud, compile(&quiet));
}
