#![allow(clippy::unwrap_used)]

use super::*;

/// `Ok(text)` or `Err(code)` of a reader.
fn outcome<T>(result: Result<T, Problem>, text: impl Fn(T) -> String) -> Result<String, &'static str> {
    result.map(text).map_err(|p| {
        assert!(!p.message.contains('\n'), "one line: {}", p.message);
        p.code
    })
}

#[test]
fn times() {
    for (text, ms) in [
        ("5", 5000),
        ("0.2", 200),
        (".5", 500),
        ("1.", 1000),
        ("0.05", 50),
        ("50ms", 50),
        ("0.0509", 50),
        ("1.5s", 1500),
        ("2 s", 2000),
        ("2m", 120_000),
        ("0.5h", 1_800_000),
        ("1d", 86_400_000),
        ("86400", 86_400_000),
        ("007", 7000),
    ] {
        assert_eq!(time(text), Ok(Duration::from_millis(ms)), "{text}");
    }
    for text in [
        "",
        ".",
        "0",
        "0.04",
        "49ms",
        "-1",
        "+1",
        "1e3",
        "86401",
        "2d",
        "1w",
        "fast",
        "1 2",
        "9999999999",
        "0x5",
        "1,5",
        "١",
    ] {
        assert_eq!(time(text).unwrap_err().code, "E0403", "{text}");
    }
}

#[test]
fn booleans() {
    for text in ["1", "on", "true", "yes", "enabled", "Yes", "TRUE"] {
        assert_eq!(boolean(text), Ok(true), "{text}");
    }
    for text in ["0", "off", "false", "no", "disabled"] {
        assert_eq!(boolean(text), Ok(false), "{text}");
    }
    for text in ["", "2", "y", "maybe"] {
        assert_eq!(boolean(text).unwrap_err().code, "E0401", "{text}");
    }
}

#[test]
fn numbers() {
    assert_eq!(number("0", 0, 9), Ok(0));
    assert_eq!(number("9", 0, 9), Ok(9));
    for text in ["", "10", "-1", "+1", "1.0", "0x1", " 1", "99999999999", "١"] {
        assert_eq!(number(text, 0, 9).unwrap_err().code, "E0402", "{text}");
    }
}

#[test]
fn address_lists() {
    let read = |text: &str| {
        outcome(addresses(std::iter::once(text)), |m| match m {
            None => "any".to_owned(),
            Some(m) => {
                let ranges: Vec<String> =
                    m.ranges.iter().map(|r| format!("{}-{}", r.first, r.last)).collect();
                format!("{}{}", if m.negated { "!" } else { "" }, ranges.join(" "))
            }
        })
    };
    for (text, meant) in [
        ("", "any"),
        (",", "any"),
        ("1.2.3.4", "1.2.3.4-1.2.3.4"),
        ("10.0.0.5/8", "10.0.0.0-10.255.255.255"),
        ("10.0.0.0/255.0.0.0", "10.0.0.0-10.255.255.255"),
        ("0.0.0.0/0", "0.0.0.0-255.255.255.255"),
        ("0.0.0.0/0.0.0.0", "0.0.0.0-255.255.255.255"),
        ("1.2.3.4/32", "1.2.3.4-1.2.3.4"),
        ("1.2.3.4/255.255.255.255", "1.2.3.4-1.2.3.4"),
        (
            "1.1.1.1,2.2.2.2 3.3.3.3, 4.4.4.4",
            "1.1.1.1-1.1.1.1 2.2.2.2-2.2.2.2 3.3.3.3-3.3.3.3 4.4.4.4-4.4.4.4",
        ),
        ("10.0.0.1-10.0.0.9", "10.0.0.1-10.0.0.9"),
        ("10.0.0.1-10.0.0.1", "10.0.0.1-10.0.0.1"),
        ("2001:db8::1-2001:db8::f", "2001:db8::1-2001:db8::f"),
        ("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("/126", "::-::3"),
        ("2001:DB8::/127", "2001:db8::-2001:db8::1"),
        ("!1.1.1.1", "!1.1.1.1-1.1.1.1"),
        ("! 1.1.1.1", "!1.1.1.1-1.1.1.1"),
        ("!1.1.1.1,2.2.2.2", "!1.1.1.1-1.1.1.1 2.2.2.2-2.2.2.2"),
        ("!1.1.1.1,!2.2.2.2", "!1.1.1.1-1.1.1.1 2.2.2.2-2.2.2.2"),
    ] {
        assert_eq!(read(text), Ok(meant.to_owned()), "{text}");
    }
    for (text, code) in [
        ("1.2.3", "E0405"),
        ("1.2.3.256", "E0405"),
        ("01.2.3.4", "E0405"),
        ("1.2.3.4/33", "E0405"),
        ("1.2.3.4/", "E0405"),
        ("1.2.3.4/+8", "E0405"),
        ("1.2.3.4/255.0.255.0", "E0405"),
        ("::/129", "E0405"),
        ("::1/255.0.0.0", "E0405"),
        ("::1::2", "E0405"),
        ("fe80::1%eth0", "E0405"),
        ("10.0.0.9-10.0.0.1", "E0405"),
        ("10.0.0.9-::1", "E0405"),
        ("10.0.0.9-", "E0405"),
        ("-", "E0405"),
        ("!", "E0405"),
        ("!!1.1.1.1", "E0405"),
        ("example.com", "E0503"),
        ("localhost", "E0503"),
        ("1.1.1.1,!2.2.2.2", "E0705"),
        ("!1.1.1.1,2.2.2.2,!3.3.3.3", "E0705"),
        ("!1.1.1.1,!2.2.2.2,3.3.3.3", "E0705"),
        ("1.1.1.1 } accept", "E0405"),
        ("1.1.1.1\n;drop", "E0405"),
    ] {
        assert_eq!(read(text), Err(code), "{text}");
    }
}

#[test]
fn port_lists() {
    let read = |text: &str| {
        outcome(ports(std::iter::once(text)), |ports| {
            ports.iter().map(|p| format!("{}-{}", p.first, p.last)).collect::<Vec<_>>().join(" ")
        })
    };
    for (text, meant) in [
        ("", ""),
        ("80", "80-80"),
        ("80,443 8080", "80-80 443-443 8080-8080"),
        ("80,80", "80-80"),
        ("1024:2048", "1024-2048"),
        ("1024-2048", "1024-2048"),
        ("1024:", "1024-65535"),
        (":1024", "1-1024"),
        ("1:65535", "1-65535"),
        ("!25", "1-24 26-65535"),
        ("! 25", "1-24 26-65535"),
        ("!25,465:587,!500", "1-24 26-464 588-65535"),
        ("!1", "2-65535"),
        ("!65535", "1-65534"),
    ] {
        assert_eq!(read(text), Ok(meant.to_owned()), "{text}");
    }
    for text in [
        "0",
        "65536",
        "2048:1024",
        "http",
        "-1",
        ":",
        "1:2:3",
        "0:5",
        "5:70000",
        "!1:65535",
        "80,!25",
        "80;443",
    ] {
        assert_eq!(read(text), Err("E0406"), "{text}");
    }
}

#[test]
fn protocol_lists() {
    for (text, meant) in [
        ("", vec![]),
        ("all", vec![]),
        ("any", vec![]),
        ("0", vec![]),
        ("tcp,all", vec![]),
        ("tcp", vec![6]),
        ("TCP", vec![6]),
        ("udp tcp", vec![6, 17]),
        ("tcpudp", vec![6, 17]),
        ("tcp,tcp,6", vec![6]),
        ("icmp icmpv6 ipv6-icmp esp ah gre sctp udplite igmp ospf", vec![1, 2, 47, 50, 51, 58, 89, 132, 136]),
        ("255", vec![255]),
    ] {
        assert_eq!(protocols(std::iter::once(text)), Ok(meant), "{text}");
    }
    for text in ["256", "tpc", "-6", "!tcp", "tcp;udp"] {
        assert_eq!(protocols(std::iter::once(text)).unwrap_err().code, "E0407", "{text}");
    }
}

#[test]
fn masks() {
    for (text, meant) in
        [("0x3F00", 0x3F00), ("0X3f00", 0x3F00), ("16128", 0x3F00), ("0x7", 7), ("0xFFFFFFFF", u32::MAX)]
    {
        assert_eq!(mask(text), Ok(meant), "{text}");
    }
    for text in
        ["", "0x", "blue", "0x100000000", "-1", "0x+3F", "0x-1", "3F00", "0", "0x3", "0x101", "4294967296"]
    {
        assert_eq!(mask(text).unwrap_err().code, "E0408", "{text}");
    }
}

#[test]
fn routing_tables() {
    for (text, meant) in [("main", 254), ("LOCAL", 255), ("default", 253), ("1", 1), ("4294967295", u32::MAX)]
    {
        assert_eq!(table(text), Ok(meant), "{text}");
    }
    for text in ["", "0", "-1", "vpn", "4294967296"] {
        assert_eq!(table(text).unwrap_err().code, "E0411", "{text}");
    }
}

#[test]
fn failbacks() {
    let d = Duration::from_secs;
    for (text, meant) in [
        ("keep", Failback::Keep),
        ("drain", Failback::Drain(d(7))),
        ("drain 300", Failback::Drain(d(300))),
        ("drain 5m", Failback::Drain(d(300))),
        ("drain  300s", Failback::Drain(d(300))),
        ("drain:300", Failback::Drain(d(300))),
        ("move-now", Failback::MoveNow),
        ("move_now", Failback::MoveNow),
        ("Keep", Failback::Keep),
    ] {
        assert_eq!(failback(text, d(7)), Ok(meant), "{text}");
    }
    for text in ["", "keep 5", "drain soon", "drain 0", "move", "now"] {
        assert!(failback(text, d(7)).is_err(), "{text}");
    }
}

#[test]
fn hosts() {
    for text in ["8.8.8.8", "10.0.0.1", "2001:db8::1", "fe80::1"] {
        assert!(host(text).is_ok(), "{text}");
    }
    for text in ["0.0.0.0", "::", "127.0.0.1", "::1", "224.0.0.1", "ff02::1", "255.255.255.255", "8.8.8.8/32"]
    {
        assert_eq!(host(text).unwrap_err().code, "E0405", "{text}");
    }
    for text in ["dns.google", "gateway", "a-b.example"] {
        let problem = host(text).unwrap_err();
        assert_eq!(problem.code, "E0503", "{text}");
        assert!(problem.hint.unwrap().contains("DNS"));
    }
}

#[test]
fn device_names() {
    for text in ["eth0", "pppoe-wan", "eth0.10", "br-lan", "wwan0", "abcdefghijklmno"] {
        assert_eq!(device(text), Ok(text.to_owned()));
    }
    for text in ["", ".", "..", "abcdefghijklmnop", "eth 0", "eth/0", "eth0\"", "eth*", "eth0:1", "ethü"] {
        assert_eq!(device(text).unwrap_err().code, "E0410", "{text}");
    }
}
