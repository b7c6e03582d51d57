#![allow(clippy::unwrap_used)]
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const KEY: [u64; 2] = [0x1234_5678_9abc_def0, 42];

fn anonymiser() -> Anonymiser {
    Anonymiser::new(KEY)
}

/// Every address in a text, found in another way: words of the letters that addresses have.
fn found(text: &str) -> Vec<IpAddr> {
    let words = text.split(|c: char| !c.is_ascii_hexdigit() && c != ':' && c != '.');
    words.map(|word| word.trim_end_matches(['.', ':'])).filter_map(|word| word.parse().ok()).collect()
}

/// What an archive may have of addresses.
fn may_be_seen(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let first = ip.octets()[0];
            ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_documentation()
                || ip.is_multicast()
                || first == 0
                || first >= 240
                || (first == 100 && ip.octets()[1] & 0xC0 == 64)
                || (first == 198 && ip.octets()[1] & 0xFE == 18)
                || ip.octets()[..3] == [192, 0, 0]
        }
        IpAddr::V6(ip) => {
            let [a, b, ..] = ip.segments();
            let low = IpAddr::V4(Ipv4Addr::from_bits(u32::try_from(ip.to_bits() & 0xFFFF_FFFF).unwrap()));
            let embedded = a == 0 || (a == 0x64 && b == 0xFF9B);
            (embedded && may_be_seen(low))
                || (a == 0x3FFF && b < 0x1000)
                || (a == 0x2001 && b == 0xDB8)
                || [0xFE, 0xFC, 0xFD, 0xFF].contains(&(a >> 8))
                || a == 0x100
        }
    }
}

fn public_v4() -> impl Strategy<Value = Ipv4Addr> {
    any::<u32>().prop_map(Ipv4Addr::from_bits).prop_filter("public", |ip| !may_be_seen(IpAddr::V4(*ip)))
}

fn public_v6() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>()
        .prop_map(|bits| Ipv6Addr::from_bits(bits >> 3 | 1 << 125))
        .prop_filter("public", |ip| !may_be_seen(IpAddr::V6(*ip)))
}

fn common(a: u128, b: u128) -> u32 {
    (a ^ b).leading_zeros()
}

/// Addresses in words, signs and prefixes around them.
fn line() -> impl Strategy<Value = String> {
    let address = prop_oneof![
        public_v4().prop_map(|ip| ip.to_string()),
        (public_v4(), 0u8..=32).prop_map(|(ip, length)| format!("{ip}/{length}")),
        public_v6().prop_map(|ip| ip.to_string()),
        (public_v6(), 0u8..=128).prop_map(|(ip, length)| format!("{ip}/{length}")),
        public_v6().prop_map(|ip| ip.to_string().to_uppercase()),
        public_v4().prop_map(|ip| format!("::ffff:{ip}")),
        public_v4().prop_map(|ip| format!("64:ff9b::{ip}")),
    ];
    let around = prop_oneof![
        Just(" ".to_owned()),
        Just("\n".to_owned()),
        Just("'".to_owned()),
        Just("(via ".to_owned()),
        Just("-".to_owned()),
        Just(", ".to_owned()),
        Just(" dev eth0.7 metric 100 ".to_owned()),
        Just("http://".to_owned()),
        Just("[".to_owned()),
        Just("]:443 ".to_owned()),
        Just("=".to_owned()),
        Just(" 10.0.0.1 fe80::1 192.0.2.7/24 ".to_owned()),
        "[ -~]{0,6} ",
    ];
    proptest::collection::vec((around, address), 1..8)
        .prop_map(|parts| parts.into_iter().map(|(around, address)| around + &address).collect())
}

proptest! {
    #[test]
    fn no_public_address_is_left(text in line()) {
        let shown = anonymiser().text(&text);
        for ip in found(&shown) {
            prop_assert!(may_be_seen(ip), "{ip} of {text:?} in {shown:?}");
        }
        let json = serde_json::json!({ "a": text, "b": [1, 2.5, { text.as_str(): null }] }).to_string();
        let shown = anonymiser().json(&json);
        let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
        prop_assert_eq!(&parsed["b"][1], &serde_json::json!(2.5));
        for ip in found(&shown) {
            prop_assert!(may_be_seen(ip), "{ip} of {json:?} in {shown:?}");
        }
    }

    #[test]
    fn addresses_have_as_many_bits_in_common_as_before(a in public_v4(), b in any::<u32>(), at in 16u32..32) {
        // Another address that is the same up to some bit.
        let b = Ipv4Addr::from_bits(a.to_bits() ^ (b | 1 << 31) >> at);
        let mut addresses = Addresses::new(KEY);
        let (x, y) = (addresses.v4(a, None), addresses.v4(b, None));
        prop_assert_eq!(
            common(u128::from(a.to_bits()) << 96, u128::from(b.to_bits()) << 96),
            common(u128::from(x.to_bits()) << 96, u128::from(y.to_bits()) << 96)
        );
        prop_assert_eq!(addresses.v4(a, None), x);
        // A prefix holds what it held.
        let length = u8::try_from(at).unwrap();
        let mask = u32::MAX << (32 - at);
        let net = addresses.v4(Ipv4Addr::from_bits(a.to_bits() & mask), Some(length));
        prop_assert_eq!((net.to_bits() & !mask, net.to_bits()), (0, x.to_bits() & mask));
    }

    #[test]
    fn so_have_those_of_ipv6(a in public_v6(), b in any::<u128>(), at in 32u32..128) {
        let b = Ipv6Addr::from_bits(a.to_bits() ^ (b | 1 << 127) >> at);
        let mut addresses = Addresses::new(KEY);
        let (x, y) = (addresses.v6(a, None), addresses.v6(b, None));
        prop_assert_eq!(common(a.to_bits(), b.to_bits()), common(x.to_bits(), y.to_bits()));
        let mask = u128::MAX << (128 - at);
        let net = addresses.v6(Ipv6Addr::from_bits(a.to_bits() & mask), Some(u8::try_from(at).unwrap()));
        prop_assert_eq!((net.to_bits() & !mask, net.to_bits()), (0, x.to_bits() & mask));
    }

    #[test]
    fn different_addresses_have_different_placeholders(all in proptest::collection::btree_set(public_v4(), 1..300)) {
        let mut addresses = Addresses::new(KEY);
        let shown: BTreeSet<Ipv4Addr> = all.iter().map(|ip| addresses.v4(*ip, None)).collect();
        prop_assert_eq!(shown.len(), all.len());
        prop_assert!(shown.iter().all(|ip| (240..255).contains(&ip.octets()[0])));
    }

    #[test]
    fn no_secret_is_left_however_it_is_written(secret in "[!-~]([ -~]{4,30})[!-~]", around in "[ -~]{0,10}") {
        let mut anonymiser = anonymiser();
        anonymiser.secret(&secret);
        prop_assume!(!around.contains(&secret) && !"[secret-1]name.example".contains(secret.trim()));
        let uci = format!("{around} '{}' {around}", secret.replace('\'', r"'\''"));
        for text in [format!("{around}{secret}{around}"), uci.clone(), format!("{around} {secret:?}")] {
            let shown = anonymiser.text(&text);
            prop_assert!(!shown.contains(&secret), "{text:?}: {shown:?}");
        }
        let json = serde_json::json!({ around.as_str(): [secret.as_str(), uci] }).to_string();
        let shown = anonymiser.json(&json);
        let parsed: serde_json::Value = serde_json::from_str(&shown).unwrap();
        let escaped = serde_json::Value::String(secret.clone()).to_string();
        prop_assert!(!shown.contains(&secret) && !shown.contains(&escaped[1..escaped.len() - 1]), "{json}: {parsed}");
    }

    #[test]
    fn any_text_is_taken(text in any::<String>(), secret in any::<String>()) {
        let mut anonymiser = anonymiser();
        anonymiser.secret(&secret);
        anonymiser.name(&secret);
        let _ = (anonymiser.text(&text), anonymiser.json(&text), anonymiser.doubtful(&text));
    }

    #[test]
    fn what_is_not_private_stays(text in "[a-z ]{0,20}(10\\.[0-9]{1,2}\\.1\\.2/8|fd00::[1-9]:1|mark 0x[0-9a-f]{4}|[0-9]{2}:[0-9]{2}:[0-9]{2}) [a-z0-9.]{0,5}") {
        prop_assume!(found(&text).iter().all(|ip| may_be_seen(*ip)));
        prop_assert_eq!(anonymiser().text(&text), text);
    }
}

#[test]
fn every_kind_of_address_has_its_place() {
    let mut anonymiser = anonymiser();
    for kept in [
        "0.0.0.0/0",
        "0.0.0.0/1",
        "128.0.0.0/1",
        "10.1.2.3",
        "100.64.0.1",
        "127.0.0.1",
        "169.254.1.1",
        "172.31.0.1/16",
        "192.0.2.1",
        "192.168.0.1",
        "198.18.0.1",
        "198.51.100.7",
        "203.0.113.9",
        "224.0.0.22",
        "255.255.255.255",
        "netmask 255.255.252.0",
        "::",
        "::1",
        "::/0",
        "2000::/3",
        "fe80::1",
        "fd12:3456::1",
        "2001:db8::1",
        "ff02::1",
        "eth0@if3 12:34:56 mwan::deed 1.2.3",
        "ff:ff:ff:ff:ff:ff",
        "33:33:00:00:00:01",
        "00:00:00:00:00:00",
    ] {
        assert_eq!(anonymiser.text(kept), kept);
    }
    for (text, shown) in [
        (
            "link/ether 52:54:00:12:34:56 brd ff:ff:ff:ff:ff:ff",
            "link/ether 02:00:00:00:00:01 brd ff:ff:ff:ff:ff:ff",
        ),
        // The link-local address made of it.
        ("inet6 fe80::5054:ff:fe12:3456/64", "inet6 fe80::ff:fe00:1/64"),
        ("52:54:00:ab:cd:ef", "02:00:00:00:00:02"),
        ("8.0.0.0/9", "240.0.1.0/9"),
        ("2a00::/12", "2a00::/12"),
        ("2a02:0:0:0::/24", "3fff:0:0:2::/24"),
    ] {
        assert_eq!(anonymiser.text(text), shown);
    }
    // What is ours to give is given anew, or one placeholder could be two.
    for ours in [
        "240.1.2.3",
        "3fff:1::1",
        "2002:5102:304::1",
        "ff3e:30:2a02:1:2:3::1",
        "ff02::1:ff12:3456",
        "1.2.3.4.5",
        "x81.2.3.4y",
        "a2a02:1:2::3",
    ] {
        let shown = anonymiser.text(ours);
        assert!(shown != ours && found(&shown).iter().all(|ip| may_be_seen(*ip)), "{ours}: {shown}");
    }
    let ranges = anonymiser.text("81.2.69.142-81.2.69.160 and 081.002.069.142");
    assert!(!ranges.contains("69") && ranges.matches("240.").count() == 3, "{ranges}");
}

#[test]
fn more_networks_than_placeholders_share_one_and_it_is_known() {
    let mut anonymiser = anonymiser();
    for n in 0..5000u32 {
        anonymiser.text(&Ipv4Addr::from_bits(0x2000_0001 + (n << 16)).to_string());
    }
    assert!(anonymiser.is_full());
    assert_eq!(anonymiser.text("151.1.2.3"), "240.0.255.255");
}

#[test]
fn what_a_key_or_a_form_says_is_secret_goes() {
    let mut anonymiser = anonymiser();
    for (text, shown) in [
        ("option password 'hunter2'\nnext", "option password [hidden]\nnext"),
        ("api_token = \"a b\"", "api_token = [hidden]"),
        ("PSK: 12345 and more", "PSK: [hidden]"),
        ("run --token abc def", "run --token [hidden]"),
        ("password_file '/etc/mwan/secrets/mail'", "password_file '/etc/mwan/secrets/mail'"),
        ("the password is read from a file", "the password is read from a file"),
        ("Proxy: Bearer abcdefgh12345 x", "Proxy: Bearer [hidden] x"),
        ("Basic dXNlcjpwYXNz, x", "Basic [hidden], x"),
        ("Basic setup", "Basic setup"),
        ("https://me:p@ss/word@host.example:8443/a?b=c d", "https://[hidden]@host.example:8443/hidden d"),
        ("'http://192.0.2.1/generate_204'", "'http://192.0.2.1/hidden'"),
        ("https://[2001:db8::1]:8480/", "https://[2001:db8::1]:8480/"),
        ("to ops@site.example.com.", "to mail-1@name.example."),
        (
            "x -----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY----- y",
            "x [key or certificate] y",
        ),
        ("-----BEGIN PRIVATE KEY-----\nabc", "[key or certificate]"),
    ] {
        assert_eq!(anonymiser.text(text), shown);
    }
    let json = r#"{"token":{"a":["x",1,{"b":2}]},"port":25,"my_secret":"y","file":"/etc/x"} {"a":1}"#;
    assert_eq!(
        anonymiser.json(json),
        r#"{"token":{"a":["[hidden]",0,{"b":0}]},"port":25,"my_secret":"[hidden]","file":"/etc/x"} {"a":1}"#
    );
    // Lines between documents, and half a document.
    let log =
        anonymiser.json("{\"a\":1}\npanicked at 81.2.69.142, 2001:470:1:2:3:4:5:6\n{\"b\":\"81.2.69.142");
    assert!(
        log.starts_with("{\"a\":1}\npanicked at 240.") && !log.contains("81.2") && !log.contains("470"),
        "{log}"
    );
}

#[test]
fn values_that_were_learnt_go_wherever_they_stand_also_when_they_were_cut() {
    let mut anonymiser = anonymiser();
    let token = "https://hooks.site.test/services/T0001/B0002/abcdefghijklmnop";
    assert_eq!(anonymiser.secret(token), "[secret-1]");
    assert_eq!(anonymiser.secret("4711"), "[secret-2]");
    assert_eq!(anonymiser.secret("ab"), "[secret-3]");
    assert_eq!(anonymiser.secret("hunter2\nand more of it\n"), "[secret-4]");
    assert_eq!(anonymiser.name("Site.Test"), "name-1.example");
    assert_eq!(anonymiser.name("192.0.2.1"), "192.0.2.1");
    assert_eq!(anonymiser.text(&format!("url '{}…' is bad", &token[..50])), "url '[secret-1]…' is bad");
    assert_eq!(anonymiser.text("pin 4711, port 47110, ab"), "pin [secret-2], port 47110, ab");
    assert_eq!(anonymiser.text("xhunter2x"), "x[secret-4]x");
    assert_eq!(anonymiser.text("vpn.SITE.test notsite.test"), "vpn.name-1.example notsite.test");
    assert_eq!(anonymiser.json(r#"{"pin":4711}"#), r#"{"pin":"[secret-2]"}"#);
    assert_eq!(anonymiser.doubtful("restart"), "[hidden]");
    assert_eq!(anonymiser.text("restart"), "restart");
    assert_eq!(anonymiser.doubtful("hunter42"), "[secret-5]");
}

#[test]
fn addresses_keep_their_notation() {
    let shown = anonymiser()
        .text("64:ff9b::15.243.128.0:0a ::ffff:15.243.128.0 64:ff9b::ff3:8000 fe80::5efe:15.243.128.0");
    let dots: Vec<bool> = shown.split(' ').map(|word| word.contains('.')).collect();
    assert_eq!(dots, [true, true, false, true], "{shown}");
    assert!(shown.starts_with("64:ff9b::240.1.") && shown.contains(":0a "), "{shown}");
}
