//! `mwan migrate`: the text written means what the text read meant, nothing is lost, and mwan4's own migrations come out
//! as its readme shows them. `UPDATE_GOLDEN=1 cargo test -p mwan-config --test migrate` writes the golden files.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use mwan_config::migrate::{Migrated, Step, mwan4_steps, to_mwan4, to_toml};
use mwan_config::*;
use proptest::prelude::*;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

fn cases() -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for case in fs::read_dir(folder("cases")).unwrap() {
        let case = case.unwrap();
        if let Ok(bytes) = fs::read(case.path().join("input.uci")) {
            found.push((case.file_name().to_string_lossy().into_owned(), bytes));
        }
    }
    found.sort();
    assert!(found.len() > 20);
    found
}

/// The model without what must differ: where things stand.
fn model(file: &str, text: &[u8]) -> Config {
    let mut config = parse(file, text).config;
    let nowhere = Location { file: "".into(), line: 0 };
    config.interfaces.iter_mut().for_each(|i| i.location = nowhere.clone());
    config.policies.iter_mut().for_each(|p| p.location = nowhere.clone());
    config.globals.rt_table_names.iter_mut().for_each(|t| t.line = 0);
    config.globals.mode = config.globals.mode.map(|(mode, _)| (mode, 0));
    config.rules.iter_mut().for_each(|r| r.location = nowhere.clone());
    std::sync::Arc::make_mut(&mut config.sets).iter_mut().for_each(|s| s.location = nowhere.clone());
    std::sync::Arc::make_mut(&mut config.alerts).iter_mut().for_each(|a| a.location = nowhere.clone());
    config
}

/// And without what `mwan.toml` has no words for and nothing depends on: names of members and of anonymous rules, the
/// numbers of metrics (their order is what counts), `mode`, members that can never carry, and the places of sections
/// that are no interfaces.
fn meaning(mut config: Config) -> Config {
    for policy in &mut config.policies {
        let ranks: BTreeSet<u32> = policy.members.iter().map(|m| m.metric).collect();
        policy.members.sort_by_key(|m| m.metric);
        let mut kept: BTreeMap<String, usize> = BTreeMap::new();
        let mut members: Vec<Member> = Vec::new();
        for member in std::mem::take(&mut policy.members) {
            match kept.get(&member.interface).map(|at| &mut members[*at]) {
                Some(first) if first.metric == member.metric => first.weight += member.weight,
                Some(_) => {}
                None => {
                    kept.insert(member.interface.clone(), members.len());
                    members.push(Member { name: String::new(), ..member });
                }
            }
        }
        let left: BTreeSet<u32> = members.iter().map(|m| m.metric).collect();
        for member in &mut members {
            member.metric = left.iter().take_while(|m| **m < member.metric).count() as u32 + 1;
        }
        assert!(left.len() <= ranks.len());
        policy.members = members;
    }
    for rule in config.rules.iter_mut().filter(|r| r.name.starts_with('@')) {
        rule.name.clear();
    }
    config.globals.mode = None;
    for (position, interface) in (1..).zip(&mut config.interfaces) {
        interface.position = position;
    }
    config
}

fn assert_same(name: &str, input: &[u8]) {
    let mwan4 = to_mwan4("mwan3", input).unwrap();
    assert_eq!(model("x", input), model("x", mwan4.text.as_bytes()), "{name} as mwan4:\n{}", mwan4.text);
    let toml = to_toml("mwan3", input).unwrap();
    let (before, after) = (meaning(model("x", input)), meaning(model("x.toml", toml.text.as_bytes())));
    assert_eq!(before, after, "{name} as toml:\n{}", toml.text);
}

#[test]
fn every_case_means_the_same_afterwards() {
    for (name, input) in cases() {
        if std::str::from_utf8(&input).is_ok() {
            assert_same(&name, &input);
        }
    }
}

#[test]
fn migrating_twice_changes_nothing() {
    for (name, input) in cases() {
        let Ok(once) = to_mwan4("mwan3", &input) else { continue };
        let twice = to_mwan4("mwan4", once.text.as_bytes()).unwrap();
        assert_eq!(once.text, twice.text, "{name}");
    }
}

/// Words that are neither names we change nor quotes: all of them are still there, in their order.
#[test]
fn comments_and_values_survive_in_their_order() {
    for (name, input) in cases() {
        let Ok(text) = std::str::from_utf8(&input) else { continue };
        let migrated = to_mwan4("mwan3", &input).unwrap().text;
        let comments = |t: &str| -> Vec<String> {
            t.lines().filter(|l| l.trim_start().starts_with('#')).map(str::to_owned).collect()
        };
        let after = comments(&migrated);
        let mut at = after.iter();
        for comment in comments(text) {
            assert!(at.any(|c| *c == comment), "{name}: {comment}");
        }
    }
}

fn notes(migrated: &Migrated) -> String {
    migrated.notes.iter().map(|n| format!("{}: {}\n", n.line, n.text)).collect()
}

fn golden(path: &Path, got: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, got).unwrap();
    } else {
        let expected = fs::read_to_string(path).unwrap_or_default();
        assert_eq!(got, expected, "{}: UPDATE_GOLDEN=1 if this is right", path.display());
    }
}

/// Each of mwan4's uci-defaults on its own, then all of them, then `mwan.toml`.
#[test]
fn golden_files() {
    let steps: [(&str, &[Step]); 3] =
        [("flush", &[Step::FlushConntrack]), ("family", &[Step::Family]), ("rename", &[Step::Rename])];
    let mut seen = 0;
    for case in fs::read_dir(folder("migrate")).unwrap() {
        let case = case.unwrap().path();
        let input = fs::read(case.join("input.uci")).unwrap();
        for (name, steps) in steps {
            let migrated = mwan4_steps("mwan3", &input, steps).unwrap();
            golden(&case.join(format!("{name}.uci")), &migrated.text);
        }
        let mwan4 = to_mwan4("mwan3", &input).unwrap();
        golden(&case.join("mwan4.uci"), &mwan4.text);
        golden(&case.join("mwan4.notes"), &notes(&mwan4));
        let toml = to_toml("mwan3", &input).unwrap();
        golden(&case.join("mwan.toml"), &toml.text);
        golden(&case.join("mwan.notes"), &notes(&toml));
        assert_same(&case.display().to_string(), &input);
        seen += 1;
    }
    assert!(seen >= 3, "{seen}");
}

/// The readme's "Example Migration", its own two texts.
#[test]
fn the_readmes_example_comes_out_as_the_readme_shows() {
    let text = |name: &str| fs::read_to_string(folder("cases").join(name).join("input.uci")).unwrap();
    let without_comments = |t: &str| -> Vec<String> {
        t.lines()
            .filter(|l| !l.trim().is_empty())
            .map(|l| l.split('#').next().unwrap().trim_end().to_owned())
            .filter(|l| !l.is_empty())
            .collect()
    };
    let migrated = to_mwan4("mwan3", text("doc-mwan4-migrate-before").as_bytes()).unwrap();
    assert_eq!(without_comments(&migrated.text), without_comments(&text("doc-mwan4-migrate-after")));
    let renamed =
        mwan4_steps("mwan3", text("doc-mwan4-mwan3-names-fragment").as_bytes(), &[Step::Rename]).unwrap();
    assert_eq!(without_comments(&renamed.text), without_comments(&text("doc-mwan4-mwan4-names-fragment")));
}

#[test]
fn what_is_no_uci_file_is_refused_in_words() {
    assert!(to_toml("mwan.toml", b"").unwrap_err().contains("already"));
    assert!(to_mwan4("mwan3", b"\xff\xfe").unwrap_err().contains("not UTF-8"));
    assert!(to_mwan4("mwan3", &vec![b'#'; 5 << 20]).unwrap_err().contains("larger"));
}

/// One option with a value that is often good, sometimes not, in any notation.
fn option(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just("always"),
        Just("never"),
        Just("ifup"),
        Just("disconnected"),
        Just("ipv4"),
        Just("ipv6"),
        Just("any"),
        Just("ipv4 ipv6"),
        Just("1"),
        Just("0"),
        Just("5"),
        Just("yes"),
        Just("0.5"),
        Just("10.0.0.0/8"),
        Just("::/0"),
        Just("8.8.8.8"),
        Just("2001:db8::1"),
        Just("tcp"),
        Just("80,443"),
        Just("a_m1"),
        Just("b_m2"),
        Just("b_m1"),
        Just("p"),
        Just("q"),
        Just("a"),
        Just("b"),
        Just("default"),
        Just("blackhole"),
        Just("keep"),
        Just("drain 60"),
        Just("x y"),
        Just(""),
        Just("it's \"so\""),
        Just("two\nlines"),
    ];
    let tail = prop_oneof![4 => Just(""), 1 => Just(" # why"), 1 => Just("; option comment x")];
    (any::<bool>(), prop::sample::select(names), value, tail).prop_map(|(list, name, value, tail)| {
        let keyword = if list { "list" } else { "option" };
        format!("\t{keyword} {name} {}{tail}\n", uci::quote(value))
    })
}

const INTERFACE: &[&str] = &[
    "enabled",
    "family",
    "flush_conntrack",
    "track_ip",
    "interval",
    "timeout",
    "up",
    "down",
    "reliability",
    "comment",
    "failback",
    "initial_state",
    "gateway",
    "unheard_of",
];
const MEMBER: &[&str] = &["interface", "metric", "weight", "comment"];
const POLICY: &[&str] = &["use_member", "use_route", "last_resort", "comment"];
const RULE: &[&str] = &[
    "family",
    "use_policy",
    "use_strategy",
    "dest_ip",
    "src_ip",
    "dest_port",
    "proto",
    "sticky",
    "timeout",
    "unheard_of",
];

fn sections() -> impl Strategy<Value = String> {
    let section = prop_oneof![
        3 => (prop::sample::select(vec!["interface a", "interface b", "interface 'a'"]), prop::collection::vec(option(INTERFACE), 0..6)),
        2 => (prop::sample::select(vec!["member a_m1", "member b_m2", "route b_m1"]), prop::collection::vec(option(MEMBER), 0..4)),
        2 => (prop::sample::select(vec!["policy p", "strategy q", "policy 'default'"]), prop::collection::vec(option(POLICY), 0..5)),
        2 => (prop::sample::select(vec!["rule", "rule r", "rule s", "nonsense n", "globals g"]), prop::collection::vec(option(RULE), 0..6)),
    ];
    prop::collection::vec((section, any::<bool>()), 0..9).prop_map(|all| {
        // Enough that resolves for policies to have members.
        let mut text = String::from(
            "# the site\nconfig interface a\n\toption enabled 1\nconfig interface b\n\toption enabled 1\n\
             config member a_m1\n\toption interface a\n\toption metric 3\n\toption weight 2\n\
             config member b_m1\n\toption interface b\n\toption metric 3\nconfig member b_m2\n\toption interface b\n\
             \toption metric 7\nconfig policy p\n\tlist use_member a_m1\n",
        );
        for ((header, options), commented) in all {
            write!(text, "{}config {header}\n{}", if commented { "\n# about it\n" } else { "" }, options.concat()).unwrap();
        }
        text
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn whatever_is_written_means_the_same(text in sections()) {
        assert_same("generated", text.as_bytes());
        let once = to_mwan4("mwan3", text.as_bytes()).unwrap();
        let twice = to_mwan4("mwan3", once.text.as_bytes()).unwrap();
        prop_assert_eq!(once.text, twice.text);
    }

    #[test]
    fn no_text_panics(text in "(config|option|list|family|flush_conntrack|interface|'|\"|#|;|\\\\|\n|\t| |[a-z]|\\PC){0,80}") {
        let _ = to_mwan4("mwan3", text.as_bytes());
        if let Ok(toml) = to_toml("mwan3", text.as_bytes()) {
            let _ = parse("x.toml", toml.text.as_bytes());
        }
    }
}
