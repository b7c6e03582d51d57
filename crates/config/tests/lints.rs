//! `mwan check` beyond reading: a configuration, and what is said of it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::fmt::Write;
use std::fs;
use std::path::Path;

use std::net::IpAddr;

use mwan_config::lint::{
    Device, Facts, Flowtable, ForeignMark, ForeignRule, Program, Translation, lint, lint_system,
};
use mwan_config::{AddressRange, Family, codes, parse};

/// Every configuration of `cases/doc-*`: those of wiki, readme and guides, which people run. What is said of them is
/// in `lints.txt`; `UPDATE_GOLDEN=1` writes it. Each line there is looked at: it has to be true and worth saying.
#[test]
fn known_configurations_get_no_false_alarm() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut cases: Vec<_> = fs::read_dir(root.join("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    let mut got = String::new();
    for case in cases {
        for file in ["input.uci", "input.toml"] {
            let Ok(bytes) = fs::read(case.join(file)) else { continue };
            let mut loaded = parse(file, &bytes);
            loaded.load_set_files(&|file| fs::read(case.join(file)).map_err(|_| "there is none".to_owned()));
            writeln!(got, "{}", case.file_name().unwrap().to_string_lossy()).unwrap();
            for diagnostic in lint(&loaded) {
                writeln!(got, "  {diagnostic}").unwrap();
            }
        }
    }
    let golden = root.join("lints.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &got).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap_or_default();
    assert!(expected == got, "UPDATE_GOLDEN=1 if this is right:\n{got}");
}

/// Two WANs that are balanced, with nothing to be said of them.
const GOOD: &str = "
[wan.a]
device = 'eth1'
targets = ['1.1.1.1', '9.9.9.9']
[wan.b]
device = 'eth2'
targets = ['1.1.1.1', '9.9.9.9']
[policy.both]
balance = { a = 2, b = 1 }
[[rule]]
name = 'all'
family = 'ipv4'
policy = 'both'
";

/// What is said of a configuration: code and what follows the section, in the order of the lines.
fn said(file: &str, text: &str) -> Vec<String> {
    let loaded = parse(file, text.as_bytes());
    lint(&loaded).iter().map(ToString::to_string).collect()
}

/// `text` with something added or changed, and all that is said of it: at least one line, each beginning as given.
fn expect(file: &str, text: &str, expected: &[&str]) {
    let got = said(file, text);
    let fits = got.len() == expected.len() && got.iter().zip(expected).all(|(got, e)| got.contains(e));
    assert!(fits, "{text}\n got: {got:#?}\nwant: {expected:#?}");
}

#[test]
fn nothing_is_said_of_a_good_one() {
    expect("mwan.toml", GOOD, &[]);
}

#[test]
fn every_lint_of_interfaces() {
    for (from, to, expected) in [
        // Orphans.
        (
            "[policy.both]",
            "[wan.c]\ntargets = ['8.8.8.8']\n[policy.both]",
            &["warning[W0512]: wan.c: no policy uses it"][..],
        ),
        (
            "[policy.both]",
            "[wan.c]\ntargets = ['8.8.8.8']\n[policy.spare]\nprefer = ['c']\n[policy.both]",
            &[
                "[W0512]: wan.c: only 'spare' would use it, and no rule leads there",
                "note[N0613]: policy.spare: no rule uses it",
            ],
        ),
        ("[policy.both]", "[wan.c]\nenabled = false\n[policy.both]", &[]),
        // Times.
        (
            "device = 'eth1'",
            "interval = 1\ntimeout = '2s'",
            &["[W0513]: wan.a, option 'timeout': timeout 2 s is longer than the 1 s between failing rounds"],
        ),
        ("device = 'eth1'", "interval = 1\ntimeout = '2s'\ndown = 1", &[]),
        (
            "device = 'eth1'",
            "interval = 2\nfailure_interval = 5",
            &["[W0514]: wan.a, option 'failure_interval': failure_interval 5 s is longer than interval 2 s"],
        ),
        (
            "device = 'eth1'",
            "check_quality = true\nfailure_latency = 1500",
            &["[W0514]: wan.a, option 'failure_latency': failure_latency 1500 ms is beyond timeout 1 s"],
        ),
        ("device = 'eth1'", "check_quality = true\nfailure_latency = 1000", &[]),
        (
            "device = 'eth1'",
            "check_quality = true\nquality_window = 0",
            &["[W0514]: wan.a, option 'failure_loss': loss is measured by the one probe of a round"],
        ),
        ("device = 'eth1'", "check_quality = true\nquality_window = 0\ncount = 5", &[]),
        (
            "device = 'eth1'",
            "interval = 30\ndown = 3",
            &["[W0515]: wan.a: a silent outage is noticed after up to 76 s"],
        ),
        // With turns it can be noticed sooner: 15 + 30 + 1 s.
        ("device = 'eth1'", "interval = 30\ndown = 2", &[]),
        // Targets.
        (
            "device = 'eth2'\ntargets = ['1.1.1.1', '9.9.9.9']",
            "gateway = '203.0.113.1'\ntargets = ['9.9.9.9', '203.0.113.1']\nreliability = 2\n[wan.c]\nenabled = false",
            &[],
        ),
        (
            "device = 'eth1'\ntargets = ['1.1.1.1', '9.9.9.9']",
            "targets = ['9.9.9.9', '203.0.113.1', '198.51.100.7']\n[wan.c]\nenabled = false\ngateway = '203.0.113.1'",
            &[],
        ),
        (
            "targets = ['1.1.1.1', '9.9.9.9']\n[wan.b]",
            "targets = ['9.9.9.9', '203.0.113.1', '198.51.100.7']\n[wan.b]\ngateway = '203.0.113.1'\nrouted_networks = ['198.51.100.0/24']",
            &[
                "[W0516]: wan.a, option 'targets': 203.0.113.1 is the gateway of interface 'b'",
                "[W0516]: wan.a, option 'targets': 198.51.100.7 is in a network of interface 'b'",
            ],
        ),
        (
            "device = 'eth1'",
            "track_gateway = true",
            &[
                "note[N0517]: wan.a, option 'targets': with reliability 1 the gateway and private addresses keep ipv4 up alone",
            ],
        ),
        ("device = 'eth1'", "track_gateway = true\nreliability = 2", &[]),
        (
            "targets = ['1.1.1.1', '9.9.9.9']\n[wan.b]",
            "targets = ['192.168.1.1', 'arp://203.0.113.1']\n[wan.b]",
            &[
                "[N0517]: wan.a, option 'targets': every target of ipv4 is the gateway or has a private address",
            ],
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        expect("mwan.toml", &text, expected);
    }
}

#[test]
fn every_lint_of_members_and_policies() {
    // One WAN less, or none.
    for (from, to, expected) in [
        // It may be enabled again.
        ("device = 'eth2'", "enabled = false", &[][..]),
        ("family = 'ipv4'\n", "", &[]),
        (
            "family = 'ipv4'\npolicy = 'both'",
            "policy = 'both'\n[wan.six]\nfamilies = ['ipv6']\ntargets = ['2620:fe::fe']\n[policy.six]\nprefer = ['six']\n\
             [[rule]]\nname = 'six'\nproto = 'tcp'\npolicy = 'six'\nfamily = 'ipv6'",
            &[
                "[W0617]: policy.both: rules send ipv6 here, and no member carries it: that traffic is always unreachable",
            ],
        ),
    ] {
        let text = GOOD.replacen(from, to, 1);
        let mut got = said("mwan.toml", &text);
        // The last rule there is shadowed: another test's business.
        got.retain(|line| !line.contains("W0720"));
        let fits = got.len() == expected.len() && got.iter().zip(expected).all(|(got, e)| got.contains(e));
        assert!(fits, "{text}\n{got:#?}");
    }
    let none =
        GOOD.replace("device = 'eth1'", "enabled = false").replace("device = 'eth2'", "enabled = false");
    expect("mwan.toml", &none, &["[W0616]: policy.both: none of its interfaces ('a' and 'b') is enabled"]);

    // What only UCI can say.
    let uci = |members: &str, uses: &str| {
        let mut text = String::new();
        for wan in ["a", "b"] {
            text.push_str(&format!(
                "config interface '{wan}'\n\toption enabled '1'\n\tlist track_ip '1.1.1.1'\n\tlist track_ip '9.9.9.9'\n"
            ));
        }
        for member in members.split(' ') {
            let parts: Vec<&str> = member.split('_').collect();
            text.push_str(&format!(
                "config member '{member}'\n\toption interface '{}'\n\toption metric '{}'\n\toption weight '{}'\n",
                parts[0], parts[1], parts[2]
            ));
        }
        text.push_str("config policy 'p'\n");
        uses.split(' ').for_each(|member| text.push_str(&format!("\tlist use_member '{member}'\n")));
        text + "config rule 'r'\n\toption family 'ipv4'\n\toption use_policy 'p'\n"
    };
    for (members, uses, expected) in [
        ("a_1_3 b_1_2", "a_1_3 b_1_2", &[][..]),
        ("a_1_3 b_1_2 b_2_2", "a_1_3 b_1_2", &["note[N0612]: member 'b_2_2': no policy uses it"]),
        (
            "a_1_3 b_2_2",
            "a_1_3 b_2_2",
            &["note[N0615]: policy 'p': the weights have no effect: each metric has one member"],
        ),
        ("a_1_1 b_2_1", "a_1_1 b_2_1", &[]),
        (
            "a_1_3",
            "a_1_3",
            &[
                "[W0512]: interface 'b'",
                "[N0615]: policy 'p': weight 3 has no effect: there is nobody to share with",
            ],
        ),
        // All that a failover from sections for several policies brings along.
        ("a_1_3 b_2_3", "a_1_3 b_2_3", &[]),
        (
            "a_1_3 a_1_2 b_1_1",
            "a_1_3 a_1_2",
            &[
                "warning[W0512]: interface 'b': no policy uses it",
                "note[N0612]: member 'b_1_1'",
                "warning[W0614]: policy 'p': all its members are of interface 'a'",
            ],
        ),
    ] {
        expect("mwan3", &uci(members, uses), expected);
    }
}

/// A rule before and a rule behind it; what is said.
#[test]
fn every_lint_of_rules() {
    let with = |rules: &str| {
        let head = GOOD.split("[[rule]]").next().unwrap();
        let mut text = format!("{head}[policy.a]\nprefer = ['a']\n[set.s]\nentries = ['192.0.2.0/24']\n");
        for (number, rule) in rules.split(" | ").enumerate() {
            text.push_str(&format!("[[rule]]\nname = 'r{number}'\n{}\n", rule.replace(", ", "\n")));
            text.push_str(if rule.contains("policy =") { "" } else { "policy = 'both'\n" });
        }
        text
    };
    let never = "[W0720]: rule 'r1': never matches: rule 'r0' (line 14) before it takes all its traffic";
    let surplus =
        "note[N0721]: rule 'r1': rule 'r0' (line 14) before it takes all its traffic, and the same way";
    for (rules, expected) in [
        ("family = 'ipv4' | to = '10.0.0.0/8', policy = 'a'", Some(never)),
        ("family = 'ipv4' | to = '10.0.0.0/8'", Some(surplus)),
        ("family = 'ipv4' | policy = 'a'", None),
        ("family = 'ipv4' | to = 'fd00::/8', policy = 'a'", None),
        ("to = '::/0' | to = 'fd00::/8', policy = 'a'", Some(never)),
        // Addresses.
        ("to = '10.0.0.0/8' | to = '10.1.0.0-10.255.255.255', policy = 'a'", Some(never)),
        ("to = '10.0.0.0/8' | to = '10.1.0.0-11.0.0.0', policy = 'a'", None),
        ("to = ['10.0.0.0/9','10.128.0.0/9'] | to = '10.0.0.0/8', policy = 'a'", Some(never)),
        ("to = '!10.0.0.0/8' | to = '11.0.0.0/8', policy = 'a'", Some(never)),
        ("to = '!10.0.0.0/8' | to = '!10.0.0.0/7', policy = 'a'", Some(never)),
        ("to = '!10.0.0.0/8' | to = '!10.0.0.0/9', policy = 'a'", None),
        ("from = '10.0.0.0/8' | to = '10.0.0.0/8', policy = 'a'", None),
        // Protocols and ports.
        ("proto = 'tcp', family = 'ipv4' | proto = 'udp', family = 'ipv4', policy = 'a'", None),
        ("proto = ['tcp','udp'] | proto = 'tcp', dport = '443', policy = 'a'", Some(never)),
        ("proto = 'tcp', dport = '1:1023' | proto = 'tcp', dport = ['80','443'], policy = 'a'", Some(never)),
        ("proto = 'tcp', dport = '80' | proto = 'tcp', dport = '80-81', policy = 'a'", None),
        ("proto = 'tcp', dport = '80' | proto = ['tcp','udp'], dport = '80', policy = 'a'", None),
        // Devices: where a packet came in is known of those that the rule names.
        ("to = '::/0' | to = 'fd00::/8', in = 'lan', policy = 'a'", Some(never)),
        ("to = '::/0', in = 'lan' | to = 'fd00::/8', in = 'lan', policy = 'a'", Some(never)),
        ("to = '::/0', in = 'lan' | to = 'fd00::/8', in = 'guest', policy = 'a'", None),
        ("to = '::/0', in = 'lan' | to = 'fd00::/8', policy = 'a'", None),
        // Sets: what others fill is anybody's guess, what is listed is in it.
        ("set = 's' | set = 's', proto = 'tcp', policy = 'a'", Some(never)),
        ("set = 's' | to = '192.0.2.128/25', policy = 'a'", Some(never)),
        ("set = 's' | to = '192.0.2.0/23', policy = 'a'", None),
        ("to = '192.0.2.0/24' | set = 's', policy = 'a'", None),
        ("set = 's' | source_set = 's', policy = 'a'", None),
        ("family = 'ipv4' | set = 's', family = 'ipv4', policy = 'a'", Some(never)),
    ] {
        let mut text = with(rules);
        if !text.contains("'s'\n") {
            text = text.replace("[set.s]\nentries = ['192.0.2.0/24']\n", "[wan.unused]\nenabled = false\n");
        }
        let mut got = said("mwan.toml", &text);
        got.retain(|line| !line.contains("N0613") && !line.contains("W0512"));
        assert_eq!(got.len(), usize::from(expected.is_some()), "{rules}: {got:#?}");
        assert!(expected.is_none_or(|expected| got[0].contains(expected)), "{rules}: {got:#?}");
    }
    // Several together, in both families, and which.
    let two = with(
        "proto = 'udp' | family = 'ipv4' | to = '::/1' | to = '8000::/1' | proto = 'tcp', dport = '53', policy = 'a'",
    );
    let two = said("mwan.toml", &two);
    let expected = "[W0720]: rule 'r4': never matches: rules 'r1', 'r2' and 'r3' (lines 18, 22, 26) before it together take all its traffic";
    assert!(two.iter().any(|line| line.contains(expected)), "{two:#?}");

    let one = |rule: &str, code: &str| {
        let got = said("mwan.toml", &with(rule));
        let found: Vec<&String> = got.iter().filter(|line| line.contains(code)).collect();
        assert_eq!(found.len(), 1, "{rule}: {got:#?}");
    };
    one("to = '!0.0.0.0/0'", "[W0722]: rule 'r0': what is left of its lists is nothing");
    one(
        "family = 'ipv4', in = 'b'",
        "[W0723]: rule 'r0', option 'in': what comes in by 'b', a WAN, goes back by it",
    );
    // In both families, of which no WAN has the other one.
    one("in = 'b'", "[W0723]: rule 'r0', option 'in': what comes in by 'b', a WAN, goes back by it");
    one("to = '0.0.0.0'", "[W0722]: rule 'r0', option 'to': no packet has the address 0.0.0.0");
    one("family = 'ipv4'", "note[N0725]: set.s: no rule uses it");
    let none = GOOD.split("[[rule]]").next().unwrap();
    expect("mwan.toml", none, &["mwan.toml:2: warning[W0724]: there is no rule"]);
}

/// Members of mwan3 are shared: their weights are for the policy that balances.
#[test]
fn weights_that_have_an_effect_elsewhere_are_not_told_of() {
    let text = "config interface 'a'\n\toption enabled '1'\n\tlist track_ip '1.1.1.1'\nconfig interface 'b'\n\toption enabled '1'\n\tlist track_ip '1.1.1.1'\n\
        config member 'a_m1_w3'\n\toption interface 'a'\n\toption weight '3'\nconfig member 'b_m1_w2'\n\toption interface 'b'\n\toption weight '2'\n\
        config member 'b_m2_w2'\n\toption interface 'b'\n\toption weight '2'\n\toption metric '2'\n\
        config policy 'balanced'\n\tlist use_member 'a_m1_w3'\n\tlist use_member 'b_m1_w2'\n\
        config policy 'a_b'\n\tlist use_member 'a_m1_w3'\n\tlist use_member 'b_m2_w2'\n\
        config rule 'r1'\n\toption dest_ip '192.0.2.1'\n\toption use_policy 'a_b'\nconfig rule 'r2'\n\toption use_policy 'balanced'\n";
    expect("mwan3", text, &[]);
    let alone = text
        .replacen("\tlist use_member 'a_m1_w3'\n", "", 1)
        .replace("weight '2'\n\toption metric", "weight '4'\n\toption metric");
    assert!(said("mwan3", &alone).iter().any(|line| line.contains("N0615")), "{alone}");
    // One of them carries the other family: "a metric of its own" would be wrong.
    let families = GOOD
        .replace("device = 'eth1'", "device = 'eth1'\nfamilies = ['ipv4']")
        .replace("device = 'eth2'", "device = 'eth2'\nfamilies = ['ipv6']");
    let got = said("mwan.toml", &families);
    assert!(got.iter().any(|l| l.contains("no two members of a metric carry the same family")), "{got:#?}");
}

#[test]
fn by_source_every_wan_carries() {
    let idle = GOOD.replace("[policy.both]", "[wan.c]\ntargets = ['8.8.8.8']\n[policy.both]");
    expect("mwan.toml", &idle, &["W0512"]);
    expect("mwan.toml", &format!("[global]\nsource_routing = true\n{idle}"), &[]);
}

#[test]
fn thresholds_of_quality_without_check_quality_are_told_of() {
    let of = |text: &str| {
        let text = format!("config interface 'a'\n\toption enabled '1'\n\tlist track_ip '1.1.1.1'\n{text}");
        parse("mwan3", text.as_bytes()).diagnostics.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let found = of("\toption failure_latency '100'\n");
    assert!(found.len() == 1 && found[0].starts_with("mwan3:4: warning[W0514]"), "{found:?}");
    for fine in ["\toption check_quality '0'\n\toption failure_latency '100'\n", ""] {
        assert_eq!(of(fine), [""; 0], "{fine}");
    }
}

#[test]
fn a_mistake_elsewhere_makes_no_orphans() {
    let typo = GOOD.replace("policy = 'both'", "policy = 'bothh'");
    expect("mwan.toml", &typo, &[]);
    let off = format!("[global]\nenabled = false\n{GOOD}[policy.unused]\nprefer = ['a']\n");
    expect("mwan.toml", &off, &[]);
}

/// A router with a LAN and the two WANs of [`GOOD`], as it should be.
fn router() -> Facts {
    let device = |name: &str, addresses: &[&str], lower: &[&str]| Device {
        name: name.to_owned(),
        up: true,
        lower: lower.iter().map(ToString::to_string).collect(),
        addresses: addresses
            .iter()
            .map(|text| {
                let net: Vec<&str> = text.split(' ').collect();
                let range = AddressRange { first: net[1].parse().unwrap(), last: net[2].parse().unwrap() };
                (net[0].parse::<IpAddr>().unwrap(), range)
            })
            .collect(),
        default_route: [true, false],
    };
    let sysctls = [
        ("net.ipv4.ip_forward", 1),
        ("net.ipv4.conf.all.rp_filter", 2),
        ("net.ipv4.conf.eth1.rp_filter", 1),
        ("net.ipv6.conf.all.forwarding", 1),
        ("net.netfilter.nf_conntrack_count", 10),
        ("net.netfilter.nf_conntrack_max", 1000),
    ];
    Facts {
        translates: true,
        sysctls: sysctls.map(|(name, value)| (name.to_owned(), value)).into(),
        devices: [
            device("eth1", &["203.0.113.5 203.0.113.0 203.0.113.255"], &[]),
            device("eth2", &["198.51.100.5 198.51.100.0 198.51.100.255"], &[]),
            device(
                "br-lan",
                &["192.168.1.1 192.168.1.0 192.168.1.255", "fd00::1 fd00:: fd00::ff"],
                &["eth0"],
            ),
        ]
        .into(),
        ..Facts::default()
    }
}

fn set(facts: &mut Facts, sysctl: &str, value: i64) {
    facts.sysctls.retain(|(name, _)| name != sysctl);
    facts.sysctls.push((sysctl.to_owned(), value));
}

fn device<'a>(facts: &'a mut Facts, name: &str) -> &'a mut Device {
    facts.devices.iter_mut().find(|device| device.name == name).unwrap()
}

/// What is said of `text` on a machine.
fn said_on(text: &str, facts: &Facts) -> Vec<String> {
    lint_system(&parse("mwan.toml", text.as_bytes()).config, facts).iter().map(ToString::to_string).collect()
}

#[test]
#[allow(clippy::too_many_lines)] // A table: what is changed of a machine, and what is said of it.
fn every_lint_of_the_machine() {
    type Change = fn(&mut Facts);
    let cases: [(&str, Change, &[&str]); 28] = [
        ("", |_| {}, &[]),
        // Marks.
        (
            "",
            |f| f.rules = vec![ForeignRule { family: Family::V4, priority: 9, mark: 0xCA6C, mask: u32::MAX }],
            &[
                "mwan.toml: warning[W1201]: ip rules with mask 0xffffffff: ipv4 9 (fwmark 0xca6c): their marks have bits of mwan's mask 0x3f00",
            ],
        ),
        (
            "",
            |f| {
                f.rules = (0..5)
                    .map(|n| ForeignRule { family: Family::V6, priority: n, mark: 1, mask: u32::MAX })
                    .collect();
            },
            &["ipv6 2 (fwmark 0x1) and 2 more: they do not match any more once mwan has marked a packet"],
        ),
        (
            "",
            |f| {
                f.rules =
                    vec![ForeignRule { family: Family::V4, priority: 9, mark: 0x8_0000, mask: 0xFF_0000 }]
            },
            &[],
        ),
        (
            "",
            |f| {
                f.marks = vec![
                    ForeignMark { place: "inet x, chain y".into(), bits: u32::MAX },
                    ForeignMark { place: "inet fine, chain y".into(), bits: 0xFF_0000 },
                ];
            },
            &["[W1201]: nftables table inet x, chain y: a rule writes the whole mark"],
        ),
        (
            "[global]\nmask = 0x3F0000\n",
            |f| {
                f.programs =
                    vec![Program { name: "Tailscale".into(), bits: 0xFF_0000, sign: "/run/x".into() }]
            },
            &["[W1201]: Tailscale (/run/x) uses the mark bits 0xff0000; mwan's mask is 0x3f0000"],
        ),
        (
            "",
            |f| {
                f.programs =
                    vec![Program { name: "Tailscale".into(), bits: 0xFF_0000, sign: "/run/x".into() }]
            },
            &[],
        ),
        // Sysctls.
        (
            "",
            |f| set(f, "net.ipv4.conf.all.rp_filter", 0),
            &["mwan.toml:2: warning[W1202]: wan.a, option 'device': eth1 drops replies"],
        ),
        (
            "",
            |f| set(f, "net.ipv4.ip_forward", 0),
            &[
                "[W1204]: net.ipv4.ip_forward is 0: what is behind br-lan (192.168.1.1) does not get to any WAN",
            ],
        ),
        // A machine of its own.
        (
            "",
            |f| {
                set(f, "net.ipv4.ip_forward", 0);
                f.devices.retain(|d| d.name != "br-lan");
            },
            &[],
        ),
        // No WAN carries it.
        ("", |f| set(f, "net.ipv6.conf.all.forwarding", 0), &[]),
        ("", |f| set(f, "net.netfilter.nf_conntrack_count", 900), &["[W1208]: 900 of 1000 connections"]),
        (
            "",
            |f| f.untracked = vec!["inet raw, chain pre".into()],
            &["[W1207]: nftables table inet raw, chain pre"],
        ),
        // Offload.
        (
            "",
            |f| {
                f.flowtables = vec![Flowtable {
                    place: "inet fw4 ft".into(),
                    devices: vec!["br-lan".into(), "eth2".into()],
                }]
            },
            &["[W1203]: wan.b, option 'device': flowtable inet fw4 ft has eth2"],
        ),
        (
            "",
            |f| f.flowtables = vec![Flowtable { place: "inet x ft".into(), devices: vec!["lan1".into()] }],
            &[],
        ),
        ("", |f| f.offload_wanted = true, &["[W1203]: /etc/config/firewall asks for flow_offloading"]),
        // Translation.
        (
            "[global]\nmasquerade = 0\n",
            |_| {},
            &[
                "[W1206]: wan.a: nothing translates the sources of br-lan (192.168.1.1) on eth1",
                "[W1206]: wan.b: nothing translates the sources of br-lan (192.168.1.1) on eth2",
            ],
        ),
        ("", |f| f.translates = false, &["[W1206]: wan.a", "[W1206]: wan.b"]),
        (
            "",
            |f| {
                f.translates = false;
                f.translations = vec![
                    Translation { families: [true, false], device: Some("eth1".into()) },
                    Translation { families: [false, true], device: None },
                ];
            },
            &["[W1206]: wan.b"],
        ),
        (
            "",
            |f| {
                f.translates = false;
                f.translations = vec![Translation { families: [true, false], device: Some("eth*".into()) }];
            },
            &[],
        ),
        (
            "",
            |f| {
                f.translates = false;
                f.legacy_rules = true;
            },
            &["note[N1211]: the old iptables has rules here"],
        ),
        // Devices.
        (
            "[[rule]]\nname = 'guests'\nfamily = 'ipv4'\nin = 'lann'\npolicy = 'both'\n",
            |f| f.names_are_devices = true,
            &["note[N1210]: rule 'guests', option 'in': there is no interface and no device 'lann' now"],
        ),
        ("[[rule]]\nfamily = 'ipv4'\nin = 'br-lan'\npolicy = 'both'\n", |f| f.names_are_devices = true, &[]),
        (
            "",
            |f| f.devices.retain(|d| d.name != "eth2"),
            &["note[N1210]: wan.b, option 'device': there is no device 'eth2'"],
        ),
        (
            "",
            |f| {
                for (name, lower) in [("eth1", "eth7"), ("eth2", "eth7")] {
                    device(f, name).lower = vec![lower.into()];
                }
            },
            &["note[N1209]: wan.b, option 'device': eth2 is on eth7, as is 'a'"],
        ),
        (
            "",
            |f| device(f, "eth2").lower = vec!["eth1".into()],
            &["[N1209]: wan.b, option 'device': eth2 is on eth1"],
        ),
        // Targets.
        (
            "",
            |f| {
                let net =
                    AddressRange { first: "9.9.9.0".parse().unwrap(), last: "9.9.9.255".parse().unwrap() };
                device(f, "eth2").addresses.push(("9.9.9.5".parse().unwrap(), net));
            },
            &[
                "[W0516]: wan.a, option 'targets': 9.9.9.9 is in the network of eth2: by eth1 it cannot be reached",
            ],
        ),
        (
            "",
            |f| {
                let net =
                    AddressRange { first: "9.9.9.9".parse().unwrap(), last: "9.9.9.9".parse().unwrap() };
                device(f, "br-lan").addresses.push(("9.9.9.9".parse().unwrap(), net));
            },
            &[
                "[W0516]: wan.a, option 'targets': 9.9.9.9 is this machine's own address, on br-lan",
                "[W0516]: wan.b",
            ],
        ),
    ];
    for (before, change, expected) in cases {
        let mut facts = router();
        change(&mut facts);
        let got = said_on(&format!("{before}{}", GOOD.trim_start_matches('\n')), &facts);
        let got: Vec<String> =
            got.into_iter().map(|line| line.replace("mwan.toml:1:", "mwan.toml:2:")).collect();
        let fits = got.len() == expected.len() && got.iter().zip(expected).all(|(got, e)| got.contains(e));
        assert!(fits, " got: {got:#?}\nwant: {expected:#?}");
    }
}

/// IPv6: advertisements are taken in by what forwards only if told so.
#[test]
fn advertisements_that_are_ignored() {
    let text = GOOD.replacen("device = 'eth1'", "device = 'eth1'\nfamilies = ['ipv4', 'ipv6']", 1);
    let mut facts = router();
    set(&mut facts, "net.ipv6.conf.eth1.accept_ra", 1);
    let got = said_on(&text, &facts);
    assert!(
        got.len() == 1 && got[0].contains("[W1205]: wan.a, option 'device': eth1 forwards IPv6"),
        "{got:#?}"
    );
    set(&mut facts, "net.ipv6.conf.eth1.accept_ra", 2);
    assert_eq!(said_on(&text, &facts), [] as [&str; 0]);
    set(&mut facts, "net.ipv6.conf.eth1.accept_ra", 1);
    device(&mut facts, "eth1").default_route[1] = true;
    assert_eq!(said_on(&text, &facts), [] as [&str; 0]);
    set(&mut facts, "net.ipv6.conf.all.forwarding", 0);
    let got = said_on(&text, &facts);
    assert!(
        got.len() == 1
            && got[0].contains("[W1204]: net.ipv6.conf.all.forwarding is 0: what is behind br-lan (fd00::1)"),
        "{got:#?}"
    );
}

/// Every code of this file is in a test above, has a fix, and is no error: nothing is refused because of it.
#[test]
fn every_lint_is_tested_and_explained() {
    let source = include_str!("lints.rs");
    let lints = codes().filter(|c| !c.fix.is_empty());
    let mut count = 0;
    for doc in lints {
        assert!(source.contains(doc.code), "{} is in no test", doc.code);
        assert!(!doc.code.starts_with('E') && doc.fix.ends_with('.'), "{}", doc.code);
        count += 1;
    }
    assert!(count >= 27, "{count}");
}
