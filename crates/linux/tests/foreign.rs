//! What others have in netfilter and among the ip rules, as `mwan check` sees it.

mod common;

use common::{in_namespace, sh};
use mwan_config::Family;
use mwan_config::lint::{ForeignMark, ForeignRule, Translation};
use mwan_linux::nft::NftSocket;
use mwan_linux::routing::RouteSocket;

/// One rule per form in which marks are written and sources translated; ours and what has no effect on the way is not there.
const RULES: &str = "\
table inet mwan { chain prerouting { type filter hook prerouting priority -149; meta mark set 0x100; }; }
table inet whole { chain pre { type filter hook prerouting priority -150; meta mark set 0x1; }; }
table inet bits { chain pre { type filter hook prerouting priority -150; meta mark set meta mark or 0x10000; }; }
table inet masked {
  chain user { meta mark set meta mark and 0xff00ffff or 0x420000; }
  chain on { type filter hook forward priority -150; meta mark set 0x5; }
}
table ip conn { chain out { type route hook output priority -150; ct mark set ct mark and 0xffffff00; }; }
table ip saves { chain on { type filter hook forward priority -150; ct mark set meta mark; }; }
table ip nat {
  chain post {
    type nat hook postrouting priority 100;
    oifname \"eth1\" masquerade
    oifname \"ppp*\" snat to 192.0.2.1
    oifname != \"lan\" masquerade
  }
}
table ip6 nat { chain post { type nat hook postrouting priority 100; oifname { \"a\", \"b\" } masquerade; }; }
table ip other { chain pre { type nat hook prerouting priority -100; dnat to 192.0.2.9; }; }
table inet raw { chain pre { type filter hook prerouting priority -300; udp dport 53 notrack; }; }
";

#[test]
fn marks_and_translation_of_others_are_seen() {
    in_namespace("marks_and_translation_of_others_are_seen", || {
        let mut socket = NftSocket::open().expect("socket");
        assert_eq!(socket.foreign().expect("look"), Default::default());
        common::feed("nft -f -", RULES);
        let mut found = socket.foreign().expect("look");
        found.marks.sort_by_key(|mark| mark.place.clone());
        found.translations.sort_by_key(|t| (!t.families[0], t.device.clone()));
        let mark = |place: &str, bits| ForeignMark { place: place.to_owned(), bits };
        assert_eq!(
            found.marks,
            [
                mark("inet bits, chain pre", 0x1_0000),
                mark("inet masked, chain user", 0xFF_0000),
                mark("inet whole, chain pre", u32::MAX),
                mark("ip conn, chain out", 0xFF),
                mark("ip saves, chain on", u32::MAX),
            ]
        );
        let (v4, v6) = ([true, false], [false, true]);
        let by = |families, device: Option<&str>| Translation { families, device: device.map(str::to_owned) };
        assert_eq!(
            found.translations,
            [by(v4, None), by(v4, Some("eth1")), by(v4, Some("ppp*")), by(v6, None)]
        );
        assert_eq!(found.untracked, ["inet raw, chain pre"]);
        assert_eq!(found.flowtables, []);
    });
}

#[test]
fn marks_of_foreign_ip_rules_are_seen() {
    in_namespace("marks_of_foreign_ip_rules_are_seen", || {
        sh("ip rule add pref 100 fwmark 0x1 lookup 100; ip rule add pref 2001 fwmark 0x100/0x3f00 lookup 1 proto 77
            ip -6 rule add pref 200 not fwmark 51820 lookup 51820; ip rule add pref 300 from 192.0.2.1 lookup 7
            ip rule add pref 400 fwmark 0x80000/0xff0000 lookup main");
        let rule = |family, priority, mark, mask| ForeignRule { family, priority, mark, mask };
        assert_eq!(
            RouteSocket::open().expect("socket").foreign_marks().expect("look"),
            [
                rule(Family::V4, 100, 1, u32::MAX),
                rule(Family::V4, 400, 0x8_0000, 0xFF_0000),
                rule(Family::V6, 200, 51820, u32::MAX),
            ]
        );
    });
}
