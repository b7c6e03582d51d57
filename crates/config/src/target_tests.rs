#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

fn read(text: &str) -> Result<ProbeTarget, Problem> {
    target(text, &ProbeMethod::Ping)
}

fn good(text: &str) -> ProbeTarget {
    read(text).unwrap_or_else(|problem| panic!("{text}: {}", problem.message))
}

#[test]
fn plain_addresses_take_the_interfaces_method() {
    let default = ProbeMethod::of_mwan3("nping-tcp", false).unwrap();
    assert_eq!(target("192.0.2.1", &default).unwrap().method, ProbeMethod::Tcp { port: 80, refused: true });
    assert_eq!(target("ping://192.0.2.1", &default).unwrap().method, ProbeMethod::Ping);
}

#[test]
fn every_method_of_mwan3_can_be_written_as_a_target() {
    let words =
        ["ping", "arping", "httping", "nping-tcp", "nping-udp", "nping-icmp", "nping-arp", "nslookup"];
    for word in words {
        for tls in [false, true] {
            for ip in ["192.0.2.1", "2001:db8::1"] {
                let method = ProbeMethod::of_mwan3(word, tls).unwrap();
                let target = ProbeTarget { ip: ip.parse().unwrap(), method };
                assert_eq!(good(&target.to_string()), target, "{word}");
            }
        }
    }
    assert_eq!(ProbeMethod::of_mwan3("tcp", false), None);
}

#[test]
fn nslookup_asks_for_the_name_that_mwan3_asks_for() {
    let method = ProbeMethod::of_mwan3("nslookup", false).unwrap();
    assert_eq!(target("192.0.2.53", &method).unwrap().to_string(), "dns://192.0.2.53/www.google.com");
}

#[test]
fn urls_are_read_and_written() {
    for (text, same) in [
        ("ping://192.0.2.1", "192.0.2.1"),
        ("arp://fe80::1", "arp://[fe80::1]"),
        ("arp://[fe80::1]", "arp://[fe80::1]"),
        ("tcp://192.0.2.1:443", "tcp://192.0.2.1:443"),
        ("tcp://[2001:db8::1]:443#refused=yes", "tcp://[2001:db8::1]:443#refused=1"),
        ("tcp://192.0.2.1:443/", "tcp://192.0.2.1:443"),
        ("udp://192.0.2.1:500", "udp://192.0.2.1:500"),
        ("ttl://192.0.2.1#hops=3", "ttl://192.0.2.1:33434#hops=3"),
        ("dns://192.0.2.1/example.org.", "dns://192.0.2.1/example.org"),
        ("dns://192.0.2.1:5353/.#type=ns", "dns://192.0.2.1:5353/.#type=NS"),
        ("dns://192.0.2.1/_a.example.org#type=A", "dns://192.0.2.1/_a.example.org"),
        ("http://192.0.2.1", "http://192.0.2.1/"),
        ("http://192.0.2.1?a=b", "http://192.0.2.1/?a=b"),
        ("http://192.0.2.1:80/x#status=200-299", "http://192.0.2.1/x"),
        (
            "http://192.0.2.1/generate_204#status=204&host=example.org",
            "http://192.0.2.1/generate_204#host=example.org&status=204",
        ),
        (
            "https://[2001:db8::1]:8443/a?b=c#status=200-399&body=all%20is%20well",
            "https://[2001:db8::1]:8443/a?b=c#status=200-399&body=all%20is%20well",
        ),
        ("https://192.0.2.1/#method=HEAD", "https://192.0.2.1/#method=HEAD"),
    ] {
        assert_eq!(good(text).to_string(), same, "{text}");
        assert_eq!(good(same), good(text));
    }
    let ProbeMethod::Http(http) = good("https://192.0.2.1/#body=%C3%BC").method else { panic!("http") };
    assert_eq!((http.port, http.tls, http.body.as_deref()), (443, true, Some("ü")));
}

#[test]
fn what_is_wrong_is_said() {
    for (text, code, part) in [
        ("gopher://192.0.2.1", codes::TARGET, "none of"),
        ("htp://192.0.2.1", codes::TARGET, "none of"),
        ("http://example.org/", codes::HOST_NAME, "is a name"),
        ("http://127.0.0.1/", codes::ADDRESS, "host on a WAN"),
        ("http://", codes::ADDRESS, "not an address"),
        ("tcp://192.0.2.1", codes::TARGET, "no port"),
        ("tcp://192.0.2.1:0", codes::TARGET, "no port from 1"),
        ("tcp://192.0.2.1:65536", codes::TARGET, "no port from 1"),
        ("tcp://192.0.2.1:+5", codes::TARGET, "no port from 1"),
        ("tcp://[2001:db8::1:443", codes::TARGET, "no ']'"),
        ("tcp://[192.0.2.1]:443", codes::TARGET, "between the brackets"),
        ("tcp://[2001:db8::1]443", codes::TARGET, "after the address"),
        ("tcp://192.0.2.1:443/path", codes::TARGET, "has a path"),
        ("tcp://192.0.2.1:443#refuse=1", codes::TARGET, "unknown parameter 'refuse'"),
        ("tcp://192.0.2.1:443#refused", codes::TARGET, "without a value"),
        ("tcp://192.0.2.1:443#refused=1&refused=1", codes::TARGET, "twice"),
        ("tcp://192.0.2.1:443#refused=perhaps", codes::BOOLEAN, "neither"),
        ("ping://192.0.2.1:7", codes::TARGET, "has a port"),
        ("ttl://192.0.2.1", codes::TARGET, "#hops="),
        ("ttl://192.0.2.1#hops=0", codes::TARGET, "#hops="),
        ("ttl://192.0.2.1#hops=256", codes::TARGET, "#hops="),
        ("dns://192.0.2.1", codes::TARGET, "no valid name"),
        ("dns://192.0.2.1/a..b", codes::TARGET, "no valid name"),
        ("dns://192.0.2.1/example.org#type=ANY", codes::WORD, "is not"),
        ("http://192.0.2.1/#status=99", codes::TARGET, "no status"),
        ("http://192.0.2.1/#status=300-200", codes::TARGET, "reversed"),
        ("http://192.0.2.1/#body=", codes::TARGET, "no text"),
        ("http://192.0.2.1/#body=%4", codes::TARGET, "no text"),
        ("http://192.0.2.1/#body=%+4", codes::TARGET, "no text"),
        ("http://192.0.2.1/#method=POST", codes::WORD, "is not"),
        ("http://192.0.2.1/#method=HEAD&body=a", codes::TARGET, "HEAD brings none"),
        ("http://192.0.2.1/#host=a%0d%0ab", codes::TARGET, "host="),
        ("http://192.0.2.1/ü", codes::TARGET, "%XX"),
    ] {
        let problem = read(text).expect_err(text);
        assert_eq!(problem.code, code, "{text}: {}", problem.message);
        assert!(problem.message.contains(part), "{text}: {}", problem.message);
    }
    assert!(read(&format!("http://192.0.2.1/{}", "x".repeat(2000))).is_err());
}

proptest! {
    #[test]
    fn no_text_makes_it_panic_and_what_is_read_can_be_written(
        text in r"(ping|arp|tcp|udp|ttl|dns|http|https)://(192\.0\.2\.1|\[2001:db8::1\]|\[|x)?(:[0-9]{0,6})?[a-z./?#=&%0-9ü-]{0,40}"
    ) {
        if let Ok(target) = read(&text) {
            prop_assert_eq!(read(&target.to_string()).ok(), Some(target));
        }
    }
}
