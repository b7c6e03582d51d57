//! Every malformed value of every option gives one diagnostic and costs nothing but its own section. The values come out
//! of the option table, by the kind of the option; a new option is tested by being in the table.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fmt::Write;

use mwan_config::*;

/// Two sections of each kind: `x` gets the value, `y` must not notice. Values under test come last in `x`.
const UCI: [(SectionKind, &str); 9] = [
    (SectionKind::Globals, "config globals 'globals'\n"),
    (
        SectionKind::Interface,
        "config interface 'x'\n\toption enabled '1'\n\tlist track_ip '8.8.8.8'\n\toption check_quality '1'\n",
    ),
    (SectionKind::Member, "config member 'mx'\n\toption interface 'x'\n"),
    (SectionKind::Policy, "config policy 'px'\n\tlist use_member 'mx'\n"),
    (SectionKind::Rule, "config rule 'rx'\n\toption proto 'tcp'\n\toption use_policy 'py'\n"),
    (SectionKind::Ipset, "config ipset 'sx'\n"),
    (SectionKind::Web, "config web 'web'\n"),
    (
        SectionKind::Alert,
        "config alert 'ax'\n\toption type 'email'\n\toption to 'a@b.c'\n\toption server 'b.c'\n",
    ),
    (SectionKind::Cloud, "config cloud 'multiWanV2'\n"),
];

const UCI_OTHERS: &str = "
config interface 'y'
	option enabled '1'
	list track_ip '9.9.9.9'
config member 'my'
	option interface 'y'
config policy 'py'
	list use_member 'my'
	list use_member 'mx'
config rule 'ry'
	option dest_port '443'
	option proto 'tcp'
	option use_policy 'py'
";

const NATIVE: [(SectionKind, &str); 7] = [
    (SectionKind::Globals, "[global]\n"),
    (SectionKind::Interface, "[wan.x]\ntargets = \"8.8.8.8\"\ncheck_quality = true\n"),
    (SectionKind::Policy, "[policy.px]\n"),
    (SectionKind::Rule, "[[rule]]\n"),
    (SectionKind::Ipset, "[set.sx]\n"),
    (SectionKind::Web, "[web]\n"),
    (SectionKind::Alert, "[alert.ax]\ntype = 'email'\nto = 'a@b.c'\nserver = 'b.c'\n"),
];

const NATIVE_OTHERS: &str = "
[wan.y]
targets = '9.9.9.9'
[policy.py]
balance = ['y']
[[rule]]
name = 'ry'
dport = 443
proto = 'tcp'
policy = 'py'
";

/// Whether any text at all is a good value: then there is nothing malformed.
fn takes_anything(doc: &OptionDoc) -> bool {
    let file = doc.kind.contains("file") || doc.kind.contains("path");
    file && doc.kind != "absolute path"
        || matches!(doc.kind, "text" | "string")
        // It is shown, and no more.
        || doc.section == SectionKind::Rule && doc.native == Some("name")
        || doc.kind.starts_with("program")
        || doc.description.to_lowercase().contains("without effect")
}

/// Malformed values for a kind of option. What fits none of the words is taken for a name or word.
fn malformed(doc: &OptionDoc) -> Vec<&'static str> {
    let kind = doc.kind;
    // In a list every piece is a value of its own.
    let one_value = |v: &&str| !doc.list || !v.contains([' ', ',']);
    let has = |words: &[&str]| words.iter().any(|w| kind.contains(w));
    let values = if kind == "absolute path" {
        vec!["here", "../there", "~/mine", "\u{1}"]
    } else if kind == "boolean" {
        vec!["maybe", "2", "-1", "1 1", "1;reboot"]
    } else if kind.starts_with("table") && has(&["routing", "numbers"]) {
        vec!["0", "-1", "4294967296", "no such table", "$(id)"]
    } else if has(&["time", "keep, drain"]) {
        vec!["soon", "-1", "1e3", "99999999999", "5 parsecs", "0x10"]
    } else if has(&["number", "ms,", "percent", "bytes"]) && !has(&["names"]) {
        vec!["many", "-1", "1.5", "99999999999999999999", "0x", "1 2", "١"]
    } else if has(&["port"]) {
        vec!["0", "65536", "http", "90:80", "-1", "80-", "1-2-3"]
    } else if has(&["address"]) {
        vec!["300.1.1.1", "::g", "8.8.8.8/33", "one two", "10.0.0.1-", "8.8.8", "<script>"]
    } else {
        vec!["?!", "a b;c", "\u{1}", "$(reboot)", "☃", "'\"", "{ drop }"]
    };
    values.into_iter().filter(one_value).collect()
}

/// Diagnostics beyond those of the configuration without the option.
fn new<'l>(loaded: &'l Loaded, before: &Loaded) -> Vec<&'l Diagnostic> {
    let text = |d: &Diagnostic| format!("{} {} {:?} {}", d.code, d.section, d.option, d.message);
    let known: BTreeSet<String> = before.diagnostics.iter().map(text).collect();
    loaded.diagnostics.iter().filter(|d| !known.contains(&text(d))).collect()
}

/// Everything of `y`, and that `x` is there if it is an interface.
fn others(config: &Config) -> String {
    let mut out = String::new();
    let nowhere = Location { file: "".into(), line: 0 };
    for i in config.interfaces.iter().filter(|i| i.name == "y") {
        write!(out, "{:?}", Interface { location: nowhere.clone(), ..i.clone() }).unwrap();
    }
    for p in config.policies.iter().filter(|p| p.name == "py") {
        let own: Vec<&Member> = p.members.iter().filter(|m| m.interface == "y").collect();
        write!(out, "{own:?} {:?}", p.last_resort).unwrap();
    }
    for r in config.rules.iter().filter(|r| r.name == "ry") {
        write!(out, "{:?}", Rule { location: nowhere.clone(), ..r.clone() }).unwrap();
    }
    let working = config.interfaces.iter().filter(|i| i.enabled).count();
    write!(out, "{working} interfaces").unwrap();
    out
}

/// Whether one option with one bad value has exactly one diagnostic, about this option, and the others as before. `text` makes the
/// file, with the option's line or without.
fn check(
    doc: &OptionDoc,
    name: &str,
    file: &str,
    value: &str,
    text: &dyn Fn(Option<&str>) -> String,
) -> Result<(), String> {
    let with = text(Some(value));
    let (before, after) = (parse(file, text(None).as_bytes()), parse(file, with.as_bytes()));
    let found = new(&after, &before);
    let listed: String = found.iter().map(|d| format!("{d}\n")).collect();
    let what = format!("{:?} {name} = {value:?} ({}):\n{listed}", doc.section, doc.kind);
    // A rule or policy that is left out for it takes no further diagnostics with it; a member may: its policy.
    let about: Vec<_> = found.iter().filter(|d| d.option.as_deref() == Some(name)).collect();
    let consequences = if doc.section == SectionKind::Member { found.len() - about.len() } else { 0 };
    if about.len() != 1 || found.len() - consequences != 1 {
        return Err(format!("one diagnostic about the option, none about anything else: {what}"));
    }
    if about[0].severity < Severity::Warning || about[0].location.line == 0 {
        return Err(format!("a warning or an error, with its line: {what}"));
    }
    // `enabled` with a bad value is its default.
    if doc.key() != "enabled" && others(&before.config) != others(&after.config) {
        return Err(format!("others are as before: {what}"));
    }
    Ok(())
}

#[test]
fn every_malformed_value_in_uci_files() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for doc in options().iter().filter(|o| !takes_anything(o)) {
        let Some((_, header)) = UCI.iter().find(|(kind, _)| *kind == doc.section) else { panic!("{doc:?}") };
        for name in doc.uci {
            for value in malformed(doc) {
                let text = |value: Option<&str>| {
                    let keyword = if doc.list { "list" } else { "option" };
                    let line = value.map(|v| format!("\t{keyword} {name} {}\n", uci::quote(v)));
                    // A list goes on, an option is replaced.
                    let own = format!("\toption {} ", doc.key());
                    let kept = |l: &&str| line.is_none() || !l.starts_with(&own);
                    let kept: String = header.lines().filter(kept).map(|l| format!("{l}\n")).collect();
                    let rest: String =
                        UCI.iter().filter(|(kind, _)| *kind != doc.section).map(|(_, t)| *t).collect();
                    format!("{kept}{}{rest}{UCI_OTHERS}", line.unwrap_or_default())
                };
                wrong.extend(check(doc, name, "mwan3", value, &text).err());
                tried += 1;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 250, "{tried}");
}

#[test]
fn every_malformed_value_in_mwan_toml() {
    let (mut tried, mut wrong) = (0, Vec::new());
    for doc in options().iter().filter(|o| !takes_anything(o)) {
        let Some(name) = doc.native else { continue };
        // Arrays and tables of names: their mistakes are in cases/toml-wrong-shapes.
        if name == "prefer" || name == "balance" {
            continue;
        }
        let (_, header) = NATIVE.iter().find(|(kind, _)| *kind == doc.section).unwrap();
        for value in malformed(doc) {
            let text = |value: Option<&str>| {
                let own = |line: &&str| value.is_none() || !line.starts_with(&format!("{name} = "));
                let kept: String = header.lines().filter(own).map(|l| format!("{l}\n")).collect();
                let good = if name == "targets" { "'8.8.8.8', " } else { "" };
                let line = value.map(|v| format!("{name} = [{good}{}]\n", basic(v)));
                let line = if doc.list { line } else { value.map(|v| format!("{name} = {}\n", basic(v))) };
                let line = line.unwrap_or_default();
                let policy = if name == "policy" && value.is_some() { "" } else { "policy = 'py'\n" };
                let required = match doc.section {
                    SectionKind::Policy => "prefer = ['y']\n",
                    SectionKind::Rule if name == "proto" => policy,
                    SectionKind::Rule => &format!("proto = 'tcp'\n{policy}"),
                    _ => "",
                };
                let before = if doc.section == SectionKind::Interface { "" } else { "[wan.x]\n" };
                format!("{before}{kept}{line}{required}{NATIVE_OTHERS}")
            };
            wrong.extend(check(doc, name, "mwan.toml", value, &text).err());
            tried += 1;
        }
    }
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 150, "{tried}");
}

fn basic(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", u32::from(c)),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}
