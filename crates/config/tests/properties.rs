//! What holds for every input, valid or not.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::time::Duration;

use mwan_config::*;
use proptest::prelude::*;

/// The promises of `Config`'s documentation.
fn assert_consistent(loaded: &Loaded) {
    let config = &loaded.config;
    let unique = |names: Vec<&str>, what: &str| {
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{what} names are unique");
    };
    unique(config.interfaces.iter().map(|i| i.name.as_str()).collect(), "interface");
    unique(config.policies.iter().map(|p| p.name.as_str()).collect(), "policy");
    unique(config.rules.iter().map(|r| r.name.as_str()).collect(), "rule");
    assert!(config.globals.mask.count_ones() >= 3);
    let highest_id = (1u64 << config.globals.mask.count_ones()) - 4;
    for i in &config.interfaces {
        assert!(u64::from(i.position) <= highest_id);
        assert!(i.families.v4 || i.families.v6);
        assert!(i.gateway4.is_none() || i.families.v4);
        assert!(i.gateway6.is_none() || i.families.v6);
        let t = &i.tracking;
        for time in [t.timeout, t.interval, t.failure_interval, t.recovery_interval] {
            assert!((Duration::from_millis(50)..=Duration::from_secs(86_400)).contains(&time));
        }
        assert!(t.reliability >= 1 && t.count >= 1 && t.up >= 1 && t.down >= 1 && t.max_ttl >= 1);
        assert!(t.targets.iter().all(|t| i.families.contains(Family::of(t.ip))));
        assert_eq!(t.targets.iter().collect::<BTreeSet<_>>().len(), t.targets.len());
    }
    for p in &config.policies {
        assert!(!p.members.is_empty());
        assert!(!["default", "unreachable", "blackhole"].contains(&p.name.as_str()));
        unique(p.members.iter().map(|m| m.name.as_str()).collect(), "member");
        for m in &p.members {
            assert!(config.interface(&m.interface).is_some() && (1..=1000).contains(&m.weight));
        }
    }
    for r in &config.rules {
        assert_consistent_rule(config, r);
    }
    for d in &loaded.diagnostics {
        let line = d.to_string();
        assert!(!line.chars().any(char::is_control), "one harmless line: {line:?}");
        assert!(codes().any(|c| c.code == d.code), "{} is documented", d.code);
        let letter = d.severity.name()[..1].to_uppercase();
        assert_eq!(&d.code[..1], letter, "the letter is the severity");
    }
    assert!(
        loaded
            .diagnostics
            .windows(2)
            .all(|w| { w[0].location.line <= w[1].location.line || w[1].location.line == 0 })
    );
}

fn assert_consistent_rule(config: &Config, r: &Rule) {
    assert!(r.families.v4 || r.families.v6);
    for list in [&r.source, &r.destination].into_iter().flatten() {
        assert!(!list.ranges.is_empty());
        for range in &list.ranges {
            assert!(range.first <= range.last);
            assert_eq!(Family::of(range.first), Family::of(range.last));
            assert!(r.families.contains(Family::of(range.first)));
        }
        for family in r.families.iter() {
            assert!(list.ranges.iter().any(|x| Family::of(x.first) == family), "no family without a range");
        }
    }
    if !r.source_ports.is_empty() || !r.destination_ports.is_empty() {
        assert!(!r.protocols.is_empty() && r.protocols.iter().all(|p| [6, 17].contains(p)));
    }
    assert!(r.source_ports.iter().chain(&r.destination_ports).all(|p| 0 < p.first && p.first <= p.last));
    if let Target::Policy(name) = &r.target {
        assert!(config.policy(name).is_some());
    }
}

fn inputs() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut found = Vec::new();
    for case in fs::read_dir(root).unwrap() {
        for name in ["input.uci", "input.toml"] {
            if let Ok(bytes) = fs::read(case.as_ref().unwrap().path().join(name)) {
                found.push((name.to_owned(), bytes));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_case_is_consistent() {
    for (name, bytes) in inputs() {
        assert_consistent(&parse(&name, &bytes));
    }
}

/// Cutting a file anywhere must neither panic nor break a promise.
#[test]
fn every_prefix_of_every_case() {
    for (name, bytes) in inputs() {
        for end in (0..bytes.len()).step_by(7) {
            assert_consistent(&parse(&name, &bytes[..end]));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn arbitrary_bytes(bytes in prop::collection::vec(any::<u8>(), 0..1500)) {
        assert_consistent(&parse_uci("f", &bytes));
        assert_consistent(&parse_toml("f", &bytes));
    }

    #[test]
    fn mutated_files(
        file in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..4, any::<u8>()), 1..12),
    ) {
        let inputs = inputs();
        let (name, mut bytes) = inputs[file.index(inputs.len())].clone();
        for (at, what, byte) in edits {
            if bytes.is_empty() { break; }
            let at = at.index(bytes.len());
            match what {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                2 => drop(bytes.remove(at)),
                // The characters that matter to the grammar.
                _ => bytes[at] = b"'\"\\#;\n\t[]{}=,!-:/"[byte as usize % 17],
            }
        }
        assert_consistent(&parse(&name, &bytes));
    }

    #[test]
    fn values_of_every_option(
        option in any::<prop::sample::Index>(),
        value in r#"[0-9a-z.:/!, \-']{0,20}|(ipv4|tcp|0\.5|::|10\.0\.0\.0/8|80:443|always|drain)( ?[,!-]?[0-9.]{0,4})"#,
    ) {
        let doc = options()[option.index(options().len())];
        if let Some(name) = doc.uci.first() {
            let kind = doc.section.uci()[0];
            let text = format!("config interface 'w'\n\toption enabled 1\nconfig {kind} 'w'\n\toption {name} {}\n", uci::quote(&value));
            assert_consistent(&parse_uci("f", text.as_bytes()));
        }
    }
}

const TWO: &str = "config interface 'good'\n\toption enabled 1\n\tlist track_ip 8.8.8.8\n\
    config member 'm'\n\toption interface good\n\
    config policy 'p'\n\tlist use_member m\n\
    config rule 'r'\n\toption use_policy p\n";

/// I8: no value of any option of one section takes anything of another section away, and no value of an
/// interface's option takes the interface away.
#[test]
fn a_bad_value_stays_in_its_section() {
    let healthy = parse_uci("f", TWO.as_bytes());
    assert_eq!(healthy.diagnostics, []);
    for doc in options().iter().filter(|o| o.section != SectionKind::Globals) {
        for name in doc.uci {
            for value in ["}{", "", "-1", "99999999999", "a\nb", "1; reboot", "ü"] {
                let kind = doc.section.uci()[0];
                let text = format!(
                    "{TWO}config {kind} 'bad'\n\toption enabled 1\n\toption {name} {}\n",
                    uci::quote(value)
                );
                let loaded = parse_uci("f", text.as_bytes());
                assert_eq!(loaded.config.globals, healthy.config.globals);
                assert_eq!(loaded.config.interfaces[0], healthy.config.interfaces[0], "{text}");
                assert_eq!(loaded.config.policies[0], healthy.config.policies[0], "{text}");
                assert_eq!(loaded.config.rules[0], healthy.config.rules[0], "{text}");
                if doc.section == SectionKind::Interface {
                    assert!(loaded.config.interface("bad").is_some(), "{text}");
                }
                assert_consistent(&loaded);
            }
        }
    }
}

/// Every malformed value of every option of an interface is one finding, and costs nothing else: the interface is as if
/// the option were not there.
#[test]
fn a_malformed_value_of_an_interface_is_one_finding() {
    let base =
        "config interface 'w'\n\toption enabled 1\n\tlist track_ip 8.8.8.8\n\toption check_quality 1\n";
    let healthy = parse_uci("f", base.as_bytes());
    assert_eq!(healthy.diagnostics, []);
    let text_options = ["comment"];
    let all = options().iter().filter(|o| o.section == SectionKind::Interface);
    let mut tried = 0;
    for name in all.flat_map(|o| o.uci).filter(|name| !text_options.contains(name)) {
        for value in [
            "}{",
            "-1",
            "99999999999999999999",
            "http://}{",
            "\u{fc}",
            "1;reboot",
            "tcp://1.1.1.1:0",
            "a=b#c",
        ] {
            if (*name, value) == ("device", "-1") {
                // The kernel has no objection to this name.
                continue;
            }
            let word = if ["track_ip", "gateway"].contains(name) { "list" } else { "option" };
            // Given twice would be a finding of its own.
            let rest: String = base
                .lines()
                .filter(|l| word == "list" || !l.contains(&format!("option {name} ")))
                .fold(String::new(), |text, line| text + line + "\n");
            let loaded = parse_uci("f", format!("{rest}\t{word} {name} {}\n", uci::quote(value)).as_bytes());
            let found: Vec<String> = loaded.diagnostics.iter().map(ToString::to_string).collect();
            assert_eq!(found.len(), 1, "{name} {value}: {found:#?}");
            assert!(found[0].contains(name) && found[0].starts_with("f:"), "{found:?}");
            assert!(
                loaded.config.interface("w").is_some_and(|i| i.tracking.targets.len() == 1),
                "{name} {value}"
            );
            tried += 1;
        }
    }
    assert!(tried > 150, "{tried}");
}

/// The same for `mwan.toml`, with syntax errors: a broken table is alone in its misfortune.
#[test]
fn a_broken_table_is_alone() {
    let good = "[wan.good]\ntargets = \"8.8.8.8\"\n\n[policy.p]\nprefer = [\"good\"]\n\n[[rule]]\nname = \"r\"\npolicy = \"p\"\n\n";
    for table in ["[wan.bad]", "[policy.bad]", "[[rule]]", "[global]"] {
        for line in [
            "x = ",
            "x = [1",
            "x = \"open",
            "x = {",
            "= 1",
            "junk",
            "x = 1 2",
            "\"",
            "'''",
            "\"\"\"",
            "x = 1\nx = 2",
            "\u{7}",
        ] {
            for text in [format!("{good}{table}\n{line}\n"), format!("{table}\n{line}\n\n{good}")] {
                let loaded = parse_toml("f", text.as_bytes());
                assert!(
                    loaded.config.interface("good").is_some_and(|i| !i.tracking.targets.is_empty()),
                    "{text}"
                );
                assert!(loaded.config.policy("p").is_some(), "{text}");
                assert!(loaded.config.rules.iter().any(|r| r.name == "r"), "{text}");
                assert!(loaded.has_errors(), "{text}");
                assert!(!loaded.config.rules.iter().any(|r| r.name != "r"), "{text}");
                assert_consistent(&loaded);
            }
        }
    }
}

/// Ours (docs/configuration.md): a silent drop is seen in 3 s, and 10 s of proof are asked for.
#[test]
fn native_defaults_keep_their_promise() {
    let loaded = parse_toml("f", b"[wan.a]\ntargets = \"8.8.8.8\"\n");
    let i = &loaded.config.interfaces[0];
    let t = &i.tracking;
    assert!(i.enabled);
    // The drop may come just after a round began; then `down` rounds must start and the last time out.
    assert!(t.interval * t.down + t.timeout <= Duration::from_secs(3));
    assert_eq!(t.interval * t.up, Duration::from_secs(10));
}

#[test]
fn the_extension_chooses_the_format() {
    let toml = b"[wan.a]\ntargets = \"8.8.8.8\"\n";
    assert_eq!(parse("/etc/mwan/mwan.toml", toml).config.interfaces.len(), 1);
    assert_eq!(parse("MWAN.TOML", toml).config.interfaces.len(), 1);
    assert_eq!(parse("/etc/config/mwan3", TWO.as_bytes()).config.interfaces.len(), 1);
}

#[test]
fn huge_files() {
    let many: String = (0..30_000).fold(TWO.to_owned(), |mut text, n| {
        write!(text, "config rule 'r{n}'\n\toption use_policy q{n}\n").unwrap();
        text
    });
    let loaded = parse_uci("f", many.as_bytes());
    assert_consistent(&loaded);
    assert_eq!(loaded.diagnostics.len(), 1001);
    assert_eq!(loaded.diagnostics.last().unwrap().code, "E0110");

    let targets: String = (0..100).map(|n| format!("\tlist track_ip 192.0.2.{n}\n")).collect();
    let loaded = parse_uci("f", format!("config interface w\n\toption enabled 1\n{targets}").as_bytes());
    assert_eq!(loaded.config.interfaces[0].tracking.targets.len(), 64);

    let long = "x".repeat(5 << 20);
    for loaded in [parse_toml("f", long.as_bytes()), parse_uci("f", long.as_bytes())] {
        assert!(loaded.diagnostics.iter().any(|d| d.code == "E0107"));
    }
    let deep = format!("[wan.a]\nx = {}", "[".repeat(100_000));
    assert!(parse_toml("f", deep.as_bytes()).has_errors());
    let long_line = format!(
        "{TWO}config rule 'long'\n\toption dest_ip '{}'\n\toption use_policy p\n",
        "x".repeat(1 << 20)
    );
    let loaded = parse_uci("f", long_line.as_bytes());
    assert!(loaded.config.rules.len() == 1 && loaded.diagnostics.iter().any(|d| d.code == "E0106"));
}

/// Whatever is in a value, it cannot come out as anything but a typed value.
#[test]
fn text_cannot_be_injected() {
    for option in ["src_ip", "dest_ip", "src_port", "dest_port", "proto", "family", "src_iface", "use_policy"]
    {
        for value in [
            "1.1.1.1 drop",
            "1.1.1.1; flush ruleset",
            "1.1.1.1\ndrop",
            "{ 1.1.1.1 }",
            "$x",
            "`id`",
            "@set",
            "80 accept",
        ] {
            let text = format!(
                "{TWO}config rule 'evil'\n\toption proto tcp\n\toption use_policy p\n\toption {option} {}\n",
                uci::quote(value)
            );
            let loaded = parse_uci("f", text.as_bytes());
            assert!(!loaded.config.rules.iter().any(|r| r.name == "evil"), "{option} {value}");
        }
    }
}

/// Every code is exercised: by a golden case, or here because it takes a built input.
#[test]
fn every_code_has_a_test() {
    const BUILT_ELSEWHERE: [&str; 7] = ["E0105", "E0106", "E0107", "E0108", "E0109", "E0110", "E0814"];
    const BUILT_HERE: [&str; 1] = ["E0509"];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let goldens: String = fs::read_dir(root)
        .unwrap()
        .map(|case| fs::read_to_string(case.unwrap().path().join("expected.txt")).unwrap_or_default())
        .collect();
    // Of documents that are JSON.
    let documents = include_str!("../src/cloud/tests.rs");
    let lints = include_str!("lints.rs");
    let untested: Vec<&str> = codes()
        .map(|c| c.code)
        .filter(|c| {
            let shown = format!("[{c}]");
            let golden =
                goldens.contains(&shown) || lints.contains(&shown) || documents.contains(&format!("\"{c}\""));
            !BUILT_ELSEWHERE.contains(c) && !BUILT_HERE.contains(c) && !golden
        })
        .collect();
    assert_eq!(untested, Vec::<&str>::new());
}
