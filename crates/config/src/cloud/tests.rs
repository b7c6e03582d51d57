#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use super::*;
use crate::diagnostic::Severity;
use crate::{Loaded, parse_uci};

const GUIDE: &str = include_str!("../../tests/cloud/guide.json");
const GUIDE_FILE: &str = include_str!("../../tests/cases/doc-cloud-guide/input.uci");
const GUIDE_NETWORK: &str = include_str!("../../tests/cloud/network.uci");

/// A document with two interfaces and one of three marks in place of a value.
fn document(top: &str, wan: &str) -> String {
    format!(
        r#"{{"enable": true, "mode": "FAIL_OVER", "notificationEmails": ["ops@example.com"], "wanInterfaces": null{top},
"wanInterfacesConfig": {{
"wan": {{"interfaceName": "wan", "targetIps": ["8.8.8.8"], "failureInterval": 5, "recoveryInterval": 5, "pingInterval": 5,
 "pingTimeout": 2, "multiWANMetric": 1, "multiWANWeight": 3, "enable": true{wan}}},
"wanb": {{"interfaceName": "wanb", "targetIps": ["9.9.9.9"], "failureInterval": 5, "recoveryInterval": 5, "pingInterval": 5,
 "pingTimeout": 2, "multiWANMetric": 2, "multiWANWeight": 2, "enable": true}}
}}}}"#
    )
}

fn plain() -> String {
    document("", "")
}

fn understood(text: &str) -> (Document, Vec<Diagnostic>) {
    let (document, diagnostics) = read("doc.json", text.as_bytes());
    (document.unwrap_or_else(|| panic!("{diagnostics:?}")), diagnostics)
}

/// The text with the document in it, and that text read.
fn applied(json: &str, text: &str) -> (String, Loaded) {
    let text = apply(&understood(json).0, "mwan3", text, &Site::default()).text;
    let loaded = parse_uci("mwan3", text.as_bytes());
    (text, loaded)
}

/// The `uci` program refuses a file in which two kinds of sections have one name, and with it LuCI.
#[test]
fn no_interface_gets_the_name_of_another_section() {
    let named = |name: &str| plain().replace("\"wanb\"", &format!("\"{name}\""));
    let owners = "config policy 'mine'\n\tlist use_member 'm'\nconfig member 'm'\n\toption interface 'wan'\n";
    for (name, text) in [("mine", owners), ("m", owners), ("wan_m7_w8", "")] {
        let result = apply(&understood(&named(name)).0, "mwan3", text, &Site::default());
        let codes: Vec<&str> = result.diagnostics.iter().map(|d| d.code).collect();
        assert_eq!(codes, ["E0905"], "{name}: {:?}", result.diagnostics);
        assert!(!result.text.contains(&format!("config interface '{name}'")), "{}", result.text);
        assert!(result.text.contains("config interface 'wan'"), "the others are there");
    }
    // What is so already is left as it is.
    let both = format!("{owners}config interface 'mine'\n\toption enabled '1'\n");
    assert!(apply(&understood(&named("mine")).0, "mwan3", &both, &Site::default()).diagnostics.is_empty());
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

fn guide_site() -> Site {
    let (sections, _) = crate::uci::parse("network", GUIDE_NETWORK.as_bytes());
    let interfaces = sections.into_iter().filter(|s| s.kind == "interface").filter_map(|s| s.name);
    Site { interfaces: Some(interfaces.collect()) }
}

/// Line by line, in the guide's order; behind it the one section that keeps what these lines cannot say. `pppoe0` is in the
/// document and not in the guide's file: its device has no such interface (`/etc/config/network`).
#[test]
fn the_guides_file_comes_out_of_its_document() {
    let (document, found) = understood(GUIDE);
    assert_eq!(found, []);
    let Applied { text, diagnostics } = apply(&document, "mwan3", "", &guide_site());
    let (file, kept) = text.split_once("\nconfig cloud 'multiWanV2'\n").unwrap();
    assert_eq!(lines(file), lines(GUIDE_FILE));
    assert_eq!(kept.lines().count(), 5, "{kept}");
    assert_eq!(diagnostics.len(), 1);
    assert!(diagnostics[0].code == "N0913" && diagnostics[0].section.contains("pppoe0"));
    let loaded = parse_uci("mwan3", text.as_bytes());
    assert_eq!(loaded.diagnostics, []);
    // And back: the very same document.
    let back: serde_json::Value = serde_json::from_str(&export("mwan3", &text)).unwrap();
    assert_eq!(back, serde_json::from_str::<serde_json::Value>(GUIDE).unwrap());
    assert_eq!(lines(&export("mwan3", &text)).join(""), lines(GUIDE).join(""), "in the same order, too");
}

/// On the guide's device the document is in force already.
#[test]
fn on_the_guides_own_file_only_the_kept_section_is_new() {
    let (document, _) = understood(GUIDE);
    let text = apply(&document, "mwan3", GUIDE_FILE, &guide_site()).text;
    let added = text.strip_prefix(GUIDE_FILE).unwrap();
    assert!(added.starts_with("\nconfig cloud 'multiWanV2'\n"), "{added}");
    assert!(document.is_in(&text) && !document.is_in(GUIDE_FILE));
    assert_eq!(apply(&document, "mwan3", &text, &guide_site()).text, text);
}

#[test]
fn an_interface_that_is_on_is_written_although_it_is_not_there() {
    let (document, _) = understood(&GUIDE.replacen("\"enable\": false", "\"enable\": true", 1));
    let Applied { text, diagnostics } = apply(&document, "mwan3", GUIDE_FILE, &guide_site());
    assert_eq!(diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["W0909"]);
    assert!(
        text.contains("config interface 'pppoe0'") && text.contains("list use_member 'pppoe0_m3_w1'"),
        "{text}"
    );
}

/// What the cloud's program wrote before there was mwan: pppoe0 and what has no member is unknown.
#[test]
fn without_a_kept_document_the_sections_alone_are_exported() {
    let back: serde_json::Value = serde_json::from_str(&export("mwan3", GUIDE_FILE)).unwrap();
    let mut expected: serde_json::Value = serde_json::from_str(GUIDE).unwrap();
    let wans = expected["wanInterfacesConfig"].as_object_mut().unwrap();
    wans.remove("pppoe0");
    wans["wlm0"]["multiWANMetric"] = 1.into();
    wans["wlm0"]["multiWANWeight"] = 1.into();
    assert_eq!(back, expected);
}

#[test]
fn the_whole_response_of_the_cloud_is_taken_too() {
    let whole = format!("{{\"other\": {{\"x\": [1]}}, \"multiWanV2\": {GUIDE}}}");
    assert_eq!(understood(&whole).0, {
        let (mut document, _) = understood(GUIDE);
        document.kept = understood(&whole).0.kept;
        document
    });
    assert_eq!(understood(&whole).0.kept.compact(), understood(GUIDE).0.kept.compact());
}

#[test]
fn the_example_of_the_page_is_right() {
    let page = include_str!("../../../../docs/cloud.md");
    let example = page.split("```json\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(understood(example).1, []);
}

#[test]
fn both_modes_change_one_option_of_three_sections() {
    let (first, loaded) = applied(&plain(), "");
    assert_eq!(loaded.diagnostics, []);
    let policy = |loaded: &Loaded, name: &str| -> Vec<(String, u32, u32)> {
        let members = &loaded.config.policy(name).unwrap().members;
        members.iter().map(|m| (m.name.clone(), m.metric, m.weight)).collect()
    };
    let seat = |name: &str, metric, weight| (name.to_owned(), metric, weight);
    assert_eq!(policy(&loaded, "FAIL_OVER"), [seat("wan_m1_w1", 1, 1), seat("wanb_m2_w1", 2, 1)]);
    assert_eq!(policy(&loaded, "LOAD_BALANCE"), [seat("wan_m1_w3", 1, 3), seat("wanb_m1_w2", 1, 2)]);
    let (second, loaded) = applied(&plain().replace("FAIL_OVER", "LOAD_BALANCE"), &first);
    assert_eq!(loaded.diagnostics, []);
    let changed: Vec<(&str, &str)> = first.lines().zip(second.lines()).filter(|(a, b)| a != b).collect();
    assert_eq!(first.lines().count(), second.lines().count());
    assert_eq!(changed.len(), 4, "mode, two rules, the kept document: {changed:?}");
    assert!(changed[..3].iter().all(|(_, b)| b.trim_start().ends_with("'LOAD_BALANCE'")), "{changed:?}");
}

#[test]
fn switched_off_as_a_whole_or_one_by_one() {
    let (text, _) = applied(&plain(), "");
    let (off, loaded) = applied(&plain().replacen("true", "false", 1), &text);
    assert!(!loaded.config.globals.enabled && loaded.diagnostics.is_empty());
    let changed = text.lines().zip(off.lines()).filter(|(a, b)| a != b).count();
    assert_eq!(changed, 2, "enabled, and the kept document");
    // One of two: no member of it is left.
    let (one, loaded) = applied(
        &document("", r#", "enable": false"#).replace(r#""enable": true, "enable""#, r#""enable""#),
        &text,
    );
    assert!(!one.contains("wan_m") && one.contains("wanb_m2_w1"), "{one}");
    assert!(!loaded.has_errors() && loaded.config.interfaces.iter().filter(|i| i.enabled).count() == 1);
    // Both: no policy, no rule.
    let (none, loaded) = applied(&plain().replace(r#""enable": true}"#, r#""enable": false}"#), &text);
    assert!(
        !loaded.has_errors() && loaded.config.policies.is_empty() && loaded.config.rules.is_empty(),
        "{none}"
    );
    let found = apply(
        &understood(&plain().replace(r#""enable": true}"#, r#""enable": false}"#)).0,
        "f",
        "",
        &Site::default(),
    );
    assert_eq!(found.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), ["W0911"]);
    // And on again: as it was.
    let sections =
        |text: &str| -> BTreeSet<String> { text.split("\n\n").map(|s| s.trim().to_owned()).collect() };
    assert_eq!(sections(&applied(&plain(), &none).0), sections(&text));
}

const OWNERS: &str = "# mine
config globals 'globals'
	option logging '1' # keep
	option mode 'LOAD_BALANCE'

config rule 'voip'
	option dest_port '5060'
	option proto 'udp'
	option use_policy 'mine'

config interface 'wan'
	option device 'eth7'
	option enabled '0'
	list track_ip '1.1.1.1'
	option reliability '4'

config interface 'own'
	option enabled '1'
	list track_ip '9.9.9.9'

config member 'own_m'
	option interface 'own'

config member 'wan_m9_w9'
	option interface 'wan'
	option metric '9'
	option weight '9'

config policy 'mine'
	list use_member 'own_m'
	list use_member 'wan_m9_w9'
";

#[test]
fn what_is_the_owners_stays() {
    let (text, loaded) = applied(&plain(), OWNERS);
    assert_eq!(loaded.diagnostics, []);
    for line in lines(OWNERS) {
        let replaced = [
            "option mode 'LOAD_BALANCE'",
            "option enabled '0'",
            "list track_ip '1.1.1.1'",
            "option reliability '4'",
        ];
        assert!(text.contains(line) || replaced.contains(&line), "{line}\n{text}");
    }
    let wan = loaded.config.interface("wan").unwrap();
    assert_eq!((wan.device.as_deref(), wan.position, wan.enabled), (Some("eth7"), 1, true));
    assert_eq!(
        (wan.tracking.reliability, wan.tracking.up),
        (1, 3),
        "new to the document: as the guide has it"
    );
    assert_eq!(loaded.config.globals.local_source, None, "the globals were there");
    assert_eq!(
        loaded.config.rules.iter().map(|r| r.name.as_str()).collect::<Vec<_>>(),
        ["voip", "DEFAULT_HTTPS", "DEFAULT_ANY"]
    );
    // What the owner tunes later stays, too; what the document says does not.
    let tuned = text.replacen("option up '3'", "option up '7'", 1).replacen(
        "option interval '5'",
        "option interval '9'",
        1,
    );
    let (again, loaded) = applied(&plain(), &tuned);
    let wan = loaded.config.interface("wan").unwrap();
    assert_eq!((wan.tracking.up, wan.tracking.interval.as_secs()), (7, 5), "{again}");
    // An interface that the next document has not goes, unless the owner uses it.
    let json = plain().replace("\"wan\"", "\"wanc\"");
    let (gone, loaded) = applied(&json, &text);
    assert_eq!(loaded.diagnostics, []);
    assert!(loaded.config.interface("wan").is_some() && gone.contains("config member 'wan_m9_w9'"), "{gone}");
    let (gone, _) = applied(&json.replace("\"wanb\"", "\"wand\""), &gone);
    assert!(!gone.contains("wanb") && gone.contains("config interface 'own'"), "{gone}");
}

#[test]
fn a_file_in_mwan4s_words_stays_one() {
    let text = "config route 'r'\n\toption interface 'x'\n\nconfig interface 'x'\n\toption enabled '1'\n";
    let (text, loaded) = applied(&plain(), text);
    assert_eq!(loaded.diagnostics.iter().filter(|d| d.severity == Severity::Error).count(), 0);
    assert!(text.contains("config strategy 'FAIL_OVER'\n\tlist use_route 'wan_m1_w1'"), "{text}");
    assert!(text.contains("option use_strategy 'FAIL_OVER'") && !text.contains("member"), "{text}");
    assert_eq!(applied(&plain(), &text).0, text);
}

#[test]
fn a_rule_that_leaves_nothing_is_named() {
    let all =
        "config interface 'x'\n\toption enabled '1'\nconfig rule 'mine'\n\toption use_policy 'default'\n";
    let found = apply(&understood(&plain()).0, "f", all, &Site::default()).diagnostics;
    assert!(found.len() == 1 && found[0].code == "W0910" && found[0].location.line == 3, "{found:?}");
    for narrow in
        ["option proto 'tcp'", "option family 'ipv6'", "option src_ip '10.0.0.0/8'", "option src_iface 'lan'"]
    {
        let text = format!("{all}\t{narrow}\n");
        assert_eq!(apply(&understood(&plain()).0, "f", &text, &Site::default()).diagnostics, [], "{narrow}");
    }
}

#[test]
fn addresses_are_kept_and_told() {
    let (text, loaded) = applied(&plain(), "");
    assert_eq!(loaded.config.globals.notification_emails, ["ops@example.com"]);
    let json = plain().replace(
        r#"["ops@example.com"]"#,
        r#"["ops@example.com", "no address", "b@x.org\nBcc: c@x.org", "b@x.org"]"#,
    );
    let found = understood(&json).1;
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0412"; 2], "{found:?}");
    let (more, loaded) = applied(&json, &text);
    assert_eq!(loaded.config.globals.notification_emails, ["ops@example.com", "b@x.org"]);
    let (none, _) = applied(&plain().replace(r#"["ops@example.com"]"#, "[]"), &more);
    assert!(!none.contains("notification_email"), "{none}");
    let native = crate::parse_toml("mwan.toml", b"[global]\nnotification_email = ['a@b.c', 'x']\n");
    assert_eq!(native.config.globals.notification_emails, ["a@b.c"]);
}

#[test]
fn unknown_fields_go_round() {
    let json = document(
        r#", "future": {"a": [1.50, "x'y"]}"#,
        r#", "pingIntervall": 9, "big": 123456789012345678901234567890"#,
    );
    let found = understood(&json).1;
    let told: Vec<_> = found.iter().map(|d| (d.code, d.option.as_deref(), d.location.line)).collect();
    assert_eq!(
        told,
        [("W0907", Some("future"), 1), ("W0907", Some("pingIntervall"), 4), ("W0907", Some("big"), 4)]
    );
    assert!(found[1].to_string().contains("did you mean 'pingInterval'?"), "{}", found[1]);
    let (text, loaded) = applied(&json, "");
    assert_eq!(loaded.diagnostics, []);
    let back = json::parse(export("mwan3", &text).as_bytes()).unwrap();
    assert_eq!(back.compact(), json::parse(json.as_bytes()).unwrap().compact());
}

#[test]
fn what_the_owner_changed_is_in_the_export() {
    let (text, _) = applied(&document("", r#", "x": 1"#), "");
    let edited = text
        .replacen("option enabled '1'", "option enabled '0'", 1)
        .replacen("list track_ip '8.8.8.8'", "list track_ip '8.8.8.8'\n\tlist track_ip '1.0.0.1'", 1)
        .replacen("option interval '5'", "option interval '0.2'", 1)
        .replacen("option weight '3'", "option weight '7'", 1)
        .replace("ops@example.com", "noc@example.com");
    // In the kept section, which is not the owner's to edit, nothing is believed that other sections say.
    let back: serde_json::Value = serde_json::from_str(&export("mwan3", &edited)).unwrap();
    assert_eq!(back["enable"], false);
    assert_eq!(back["notificationEmails"], serde_json::json!(["noc@example.com"]));
    let wan = &back["wanInterfacesConfig"]["wan"];
    assert_eq!(wan["targetIps"], serde_json::json!(["8.8.8.8", "1.0.0.1"]));
    assert_eq!(
        (&wan["pingInterval"], &wan["multiWANWeight"], &wan["x"]),
        (&0.2.into(), &7.into(), &1.into())
    );
    assert_eq!(back["wanInterfacesConfig"]["wanb"]["pingInterval"], 5);
    // Removed, and one more in a policy of the document's.
    let without = text.split("\n\n").filter(|s| !s.contains("wanb'")).collect::<Vec<_>>().join("\n\n");
    assert!(!export("mwan3", &without).contains("wanb"), "{without}");
    let more = format!("{text}\nconfig interface 'new'\n\toption enabled '1'\n\nconfig member 'n'\n\toption interface 'new'\n\toption metric '4'\n")
        .replacen("\tlist use_member 'wanb_m2_w1'", "\tlist use_member 'wanb_m2_w1'\n\tlist use_member 'n'", 1);
    let back: serde_json::Value = serde_json::from_str(&export("mwan3", &more)).unwrap();
    assert_eq!(back["wanInterfacesConfig"]["new"]["multiWANMetric"], 4);
}

/// A document with one mistake, its one code, the line, a word of the message, and how many interfaces are left.
#[test]
fn every_mistake_is_told_once_and_costs_only_itself() {
    let p = plain();
    let wan = |from: &str, to: &str| p.replacen(from, to, 1);
    let long = format!(r#", "x": "{}""#, "y".repeat(40_000));
    let cases = [
        (
            wan(r#""pingInterval": 5"#, r#""pingInterval": "5""#),
            "E0903",
            3,
            "not the string '5'; 5 is used",
            2,
        ),
        (wan(r#""pingTimeout": 2"#, r#""pingTimeout": 1e99"#), "E0403", 4, "2 is used", 2),
        (wan(r#""pingTimeout": 2"#, r#""pingTimeout": -3"#), "E0403", 4, "'-3'", 2),
        (
            wan(r#""failureInterval": 5"#, r#""failureInterval": 99999999999999999999"#),
            "E0403",
            3,
            "one day",
            2,
        ),
        (wan(r#""multiWANMetric": 1"#, r#""multiWANMetric": 70000"#), "E0402", 4, "takes no part", 2),
        (wan(r#""multiWANWeight": 3"#, r#""multiWANWeight": 1.5"#), "E0402", 4, "takes no part", 2),
        (wan(r#""multiWANWeight": 3"#, r#""multiWANWeight": [3]"#), "E0903", 4, "not an array", 2),
        (wan(r#"["8.8.8.8"]"#, r#"["8.8.8.8", "8.8.8"]"#), "E0405", 3, "left out", 2),
        (wan(r#"["8.8.8.8"]"#, r#"["8.8.8.8", "dns.google"]"#), "E0503", 3, "left out", 2),
        (wan(r#"["8.8.8.8"]"#, r#"["8.8.8.8", 8]"#), "E0903", 3, "a string", 2),
        (wan(r#"["8.8.8.8"]"#, r#""8.8.8.8""#), "E0903", 3, "an array of strings", 2),
        (wan(r#"["8.8.8.8"]"#, r#"["http://8.8.8.8/a,b"]"#), "E0511", 3, "left out", 2),
        (p.replace("\"wan\"", "\"eth0.2\""), "E0905", 3, "not a name in UCI", 1),
        (p.replace("\"wan\"", "\"\""), "E0905", 3, "not a name in UCI", 1),
        (p.replace("\"wan\"", "\"a'\\nconfig rule\""), "E0905", 3, "not a name in UCI", 1),
        (p.replace("\"wan\"", "\"FAIL_OVER\""), "E0905", 3, "meaning of its own", 1),
        (wan(r#""interfaceName": "wan""#, r#""interfaceName": "wanx""#), "E0905", 3, "make both the same", 1),
        (wan(r#""interfaceName": "wan""#, r#""interfaceName": 7"#), "E0903", 3, "left out", 1),
        (p.replace("wanb", "wan"), "E0904", 5, "given before, in line 3", 1),
        (wan(r#""mode": "FAIL_OVER""#, r#""mode": "FAILOVER""#), "E0404", 1, "did you mean 'FAIL_OVER'", 2),
        (wan(r#""mode": "FAIL_OVER""#, r#""mode": 1"#), "E0903", 1, "the mode in force stays", 2),
        (wan(r#""enable": true, "mode""#, r#""enable": 1, "mode""#), "E0903", 1, "true or false", 2),
        (wan(r#""enable": true, "mode""#, r#""mode""#), "W0908", 1, "true is used", 2),
        (wan(r#""pingInterval": 5,"#, ""), "W0908", 3, "5 is used", 2),
        (wan(r#""pingInterval": 5"#, r#""pingInterval": null"#), "W0908", 3, "5 is used", 2),
        (wan(r#"["ops@example.com"]"#, r#""ops@example.com""#), "E0903", 1, "ignored", 2),
        (wan(r#""wanInterfaces": null"#, r#""wanInterfaces": ["wan"]"#), "W0907", 1, "no known meaning", 2),
        (
            wan(r#""wanInterfaces": null"#, r#""wanInterfaces": null, "mode": "FAIL_OVER""#),
            "E0904",
            1,
            "this one counts",
            2,
        ),
        (document("", &long), "E0902", 3, "too long", 1),
        (
            r#"{"enable": true, "mode": "FAIL_OVER", "wanInterfacesConfig": {}}"#.into(),
            "E0906",
            1,
            "no usable",
            0,
        ),
        (
            r#"{"enable": true, "mode": "FAIL_OVER", "wanInterfacesConfig": null}"#.into(),
            "E0906",
            1,
            "no usable",
            0,
        ),
        (r#"{"enable": true, "mode": "FAIL_OVER"}"#.into(), "E0906", 1, "\"enable\": false", 0),
    ];
    for (json, code, line, word, left) in cases {
        let (document, found) = understood(&json);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(
            found.len() == 1 && found[0].code == code && found[0].location.line == line,
            "{json}\n{shown:#?}"
        );
        assert!(shown[0].contains(word), "{shown:?}");
        assert_eq!(document.wans.len(), left, "{shown:?}");
        let text = apply(&document, "mwan3", "", &Site::default()).text;
        let loaded = parse_uci("mwan3", text.as_bytes());
        assert!(!loaded.has_errors(), "{json}\n{:?}\n{text}", loaded.diagnostics);
        assert_eq!(loaded.config.interfaces.len(), left);
    }
}

#[test]
fn what_is_too_long_to_be_kept_is_told_and_not_kept() {
    let json = document(&format!(r#", "x": "{}""#, "y".repeat(40_000)), "");
    let (_, found) = understood(&json);
    assert_eq!(found.iter().map(|d| d.code).collect::<Vec<_>>(), ["E0902", "W0907"]);
    let json = document(&format!(r#", "x": "{}""#, "y".repeat(70_000)), "");
    let (text, loaded) = applied(&json, "");
    assert!(loaded.diagnostics.is_empty() && !text.contains("yyy") && export("f", &text).contains("wanb"));
}

#[test]
fn what_is_no_document_is_told_once() {
    let big = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    for (bytes, code, word) in [
        (&b""[..], "E0901", "the text ends"),
        (b"{\"enable\": tru", "E0901", "doc.json:1"),
        (b"[]", "E0902", "not an array"),
        (b"{}", "E0902", "no multiWanV2"),
        (b"{\"multiWanV3\": {}}", "E0902", "'multiWanV3' is not multiWanV2"),
        (b"{\"multiWanV2\": null}", "E0902", "is null"),
        (b"\xff\xfe", "E0901", "UTF-8"),
        (&big, "E0902", "the limit"),
    ] {
        let (document, found) = read("doc.json", bytes);
        let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert!(
            document.is_none() && found.len() == 1 && found[0].code == code && shown[0].contains(word),
            "{shown:?}"
        );
    }
}

mod random {
    use proptest::prelude::*;

    use super::*;

    /// JSON of the document's own words and others, in any place.
    fn value() -> impl Strategy<Value = String> {
        let word = prop_oneof![
            Just("\"FAIL_OVER\"".to_owned()),
            Just("\"8.8.8.8\"".to_owned()),
            Just("\"a'b\\\"\\n;#\"".to_owned()),
            "0|[1-9][0-9]{0,24}|-1|0\\.5|1e9|true|false|null".prop_map(|s| s),
        ];
        word.prop_recursive(3, 24, 6, |inner| {
            let name = prop_oneof![
                Just("wanInterfacesConfig".to_owned()),
                Just("mode".to_owned()),
                Just("enable".to_owned()),
                Just("targetIps".to_owned()),
                Just("interfaceName".to_owned()),
                Just("multiWANMetric".to_owned()),
                "[a-z]{1,4}",
            ];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|v| format!("[{}]", v.join(","))),
                prop::collection::vec((name, inner), 0..6).prop_map(|v| {
                    let members: Vec<String> = v.into_iter().map(|(n, v)| format!("\"{n}\":{v}")).collect();
                    format!("{{{}}}", members.join(","))
                }),
            ]
        })
    }

    /// A good document, with fields nobody knows.
    fn good() -> impl Strategy<Value = String> {
        let wan = (prop::bool::ANY, 1..9u32, 1..9u32, 1..60u32, value(), prop::bool::ANY);
        let wans = prop::collection::vec(wan, 1..6);
        (prop::bool::ANY, prop::bool::ANY, wans, value()).prop_map(|(enable, balance, wans, extra)| {
            let mode = if balance { "LOAD_BALANCE" } else { "FAIL_OVER" };
            let wans: Vec<String> = wans
                .into_iter()
                .enumerate()
                .map(|(i, (on, metric, weight, time, extra, more))| {
                    let extra = if more { format!(", \"extra\": {extra}") } else { String::new() };
                    format!(
                        r#""w{i}": {{"interfaceName": "w{i}", "targetIps": ["8.8.8.8"], "failureInterval": {time},
 "recoveryInterval": {time}, "pingInterval": {time}, "pingTimeout": 2, "multiWANMetric": {metric},
 "multiWANWeight": {weight}, "enable": {on}{extra}}}"#
                    )
                })
                .collect();
            format!(
                r#"{{"extra": {extra}, "enable": {enable}, "mode": "{mode}", "notificationEmails": [], "wanInterfaces": null,
"wanInterfacesConfig": {{{}}}}}"#,
                wans.join(",")
            )
        })
    }

    /// A UCI file as people, scripts and `uci` write them: sections of the document's and of others, in any layout.
    fn messy() -> impl Strategy<Value = String> {
        let kind = prop::sample::select(vec![
            "interface",
            "member",
            "policy",
            "rule",
            "globals",
            "ipset",
            "strange",
        ]);
        let name = prop::sample::select(vec![
            "'wan'",
            "wanb",
            "\"wan_m1_w1\"",
            "FAIL_OVER",
            "DEFAULT_ANY",
            "own",
            "'x'",
            "",
        ]);
        let word = prop::sample::select(vec!["option", "list", "o", "l"]);
        let option = prop::sample::select(vec![
            "enabled",
            "track_ip",
            "interval",
            "use_member",
            "mode",
            "interface",
            "comment",
        ]);
        let value = prop::sample::select(vec![
            "'1'",
            "0",
            "\"a b\"",
            "'it'\\''s'",
            "'two\nlines'",
            "a\\ b",
            "wan",
            "'# no; comment'",
            "''",
        ]);
        let end = prop::sample::select(vec![
            "\n",
            "\n\n",
            " # why; so\n",
            "; ",
            " \\\n\n",
            "\r\n",
            "\t\n# between\n",
        ]);
        let entry = (word, option, value, end.clone()).prop_map(|(w, o, v, e)| format!("\t{w} {o} {v}{e}"));
        let section = (kind, name, end, prop::collection::vec(entry, 0..5))
            .prop_map(|(k, n, e, entries)| format!("config {k} {n}{e}{}", entries.concat()));
        prop::collection::vec(section, 0..8).prop_map(|sections| sections.concat())
    }

    /// Kind, name and what is said in every section that no document has any business with.
    /// Kind and name of a section, and name, value and whether it is of a list, of each of its entries.
    type Other = (String, Option<String>, Vec<(String, String, bool)>);

    fn others(text: &str) -> Vec<Other> {
        let ours = [
            "FAIL_OVER",
            "LOAD_BALANCE",
            "DEFAULT_HTTPS",
            "DEFAULT_ANY",
            "wan",
            "wanb",
            "wanc",
            "multiWanV2",
        ];
        let (sections, _) = crate::uci::parse("f", text.as_bytes());
        let mut found = Vec::new();
        for section in sections {
            let name = section.name.as_deref().unwrap_or_default();
            let member = ["wan_m", "wanb_m", "wanc_m"].iter().any(|of| name.starts_with(of));
            if section.kind != "globals" && !ours.contains(&name) && !member {
                let entries = section.entries.into_iter().map(|e| (e.name, e.value, e.list));
                found.push((section.kind, section.name, entries.collect()));
            }
        }
        found
    }

    proptest! {
        /// However a file is laid out: the document is in it afterwards, and all that is not its own is as before.
        #[test]
        fn any_layout_is_kept(text in messy()) {
            // Of the others: `no_interface_gets_the_name_of_another_section`.
            let editor = crate::cloud::edit::Editor::new(&text);
            prop_assume!(["wan", "wanb", "wanc"].iter().all(|name| editor.other_kind("interface", name).is_none()));
            let (document, _) = understood(&plain());
            let once = apply(&document, "f", &text, &Site::default()).text;
            let loaded = parse_uci("f", once.as_bytes());
            for (name, target) in [("wan", "8.8.8.8"), ("wanb", "9.9.9.9")] {
                let wan = loaded.config.interface(name);
                prop_assert!(wan.is_some_and(|w| w.enabled && w.tracking.interval.as_secs() == 5), "{}", once);
                let targets: Vec<String> = wan.iter().flat_map(|w| &w.tracking.targets).map(|t| t.ip.to_string()).collect();
                prop_assert_eq!(targets, [target], "{}", &once);
            }
            let policy = loaded.config.policy("FAIL_OVER").map(|p| p.members.len());
            prop_assert_eq!(policy, Some(2), "{}", &once);
            prop_assert_eq!(others(&once), others(&text), "{}\n---\n{}", &text, &once);
            prop_assert_eq!(&apply(&document, "f", &once, &Site::default()).text, &once);
            for next in [plain().replace("wanb", "wanc"), plain().replace(r#""enable": true}"#, r#""enable": false}"#)] {
                let twice = apply(&understood(&next).0, "f", &once, &Site::default()).text;
                prop_assert_eq!(others(&twice), others(&text), "{}\n---\n{}", &once, &twice);
                prop_assert_eq!(&apply(&understood(&next).0, "f", &twice, &Site::default()).text, &twice);
            }
            let back = json::parse(export("f", &once).as_bytes()).unwrap();
            prop_assert_eq!(back.compact(), json::parse(plain().as_bytes()).unwrap().compact());
        }

        /// Whatever comes: no panic, a file without errors, and one that does not change when the document comes again.
        #[test]
        fn any_json_is_survived(json in value(), text in "\\PC{0,40}") {
            for bytes in [json.as_bytes(), text.as_bytes(), format!("{{\"multiWanV2\":{json}}}").as_bytes()] {
                let (Some(document), _) = read("doc.json", bytes) else { continue };
                for before in ["", OWNERS, GUIDE_FILE, &text] {
                    let once = apply(&document, "mwan3", before, &Site::default()).text;
                    let errors = |text: &str| parse_uci("mwan3", text.as_bytes()).diagnostics.iter().filter(|d| d.severity == Severity::Error).count();
                    if before != text {
                        prop_assert_eq!(errors(&once), 0, "{}", once);
                    }
                    prop_assert_eq!(&apply(&document, "mwan3", &once, &Site::default()).text, &once);
                    export("mwan3", &once);
                }
            }
        }

        /// Good documents come back as they were, after any other.
        #[test]
        fn good_documents_go_round(first in good(), second in good()) {
            let (one, _) = applied(&first, OWNERS);
            let (two, loaded) = applied(&second, &one);
            prop_assert!(!loaded.has_errors(), "{:?}\n{}", loaded.diagnostics, two);
            for (json, text) in [(first, one), (second, two)] {
                let back = json::parse(export("mwan3", &text).as_bytes()).unwrap();
                prop_assert_eq!(back.compact(), json::parse(json.as_bytes()).unwrap().compact());
            }
        }
    }
}
