//! Commands run with their sockets bound.

mod common;

use std::ffi::OsString;

use common::{Peer, in_namespace, in_namespace_as_root, sh};
use mwan_linux::usecmd::{Binding, UseError, run};

fn use_command(device: &str, command: &[&str]) -> Result<std::process::ExitStatus, UseError> {
    let command: Vec<OsString> = command.iter().map(Into::into).collect();
    let binding = Binding { device: device.into(), mark: 0x200 };
    run(&command, &binding, &[("DEVICE".into(), device.into())])
}

fn code(device: &str, script: &str) -> Option<i32> {
    use_command(device, &["bash", "-c", script]).expect("run").code()
}

/// Two ways to 192.0.2.1, the better one by `wa`.
fn world() -> Peer {
    let peer = Peer::new();
    for (name, metric) in [("wa", 1), ("wb", 2)] {
        peer.link(name, &format!("far-{name}"));
        sh(&format!(
            "ip addr add 10.0.{metric}.2/24 dev {name}; ip route add default via 10.0.{metric}.1 metric {metric}"
        ));
        sh(&format!("ip -6 addr add 2001:db8:{metric}::2/64 dev {name} nodad"));
        sh(&format!("ip -6 route add default via 2001:db8:{metric}::1 metric {metric}"));
        peer.sh(&format!("ip addr add 10.0.{metric}.1/24 dev far-{name}; ip addr add 2001:db8:{metric}::1/64 dev far-{name} nodad"));
    }
    peer.sh("ip addr add 192.0.2.1/32 dev lo; ip addr add 2001:db8:ff::1/128 dev lo nodad");
    sh("nft 'add table inet t; add chain inet t o { type filter hook output priority 0; }'");
    peer
}

fn count(matching: &str) -> u32 {
    sh(&format!(
        "nft -a list chain inet t o | grep -F '{matching}' | grep -o 'packets [0-9]*' | cut -d' ' -f2"
    ))
    .trim()
    .parse()
    .expect("one number")
}

#[test]
fn every_socket_is_bound_and_marked() {
    in_namespace_as_root("every_socket_is_bound_and_marked", || {
        let _peer = world();
        let rules = [
            "oifname \"wb\" meta mark 0x00000200 icmp type echo-request counter",
            "oifname \"wb\" meta mark 0x00000200 icmpv6 type echo-request counter",
            "oifname \"wb\" meta mark 0x00000200 meta skuid 65534 udp dport 9 counter",
            "oifname \"wa\" icmp type echo-request counter",
        ];
        for rule in rules {
            sh(&format!("nft 'add rule inet t o {rule}'"));
        }
        // Children of children, both families, several sockets, and the command's own status.
        let script = "sh -c 'ping -q -c 2 -i 0.01 192.0.2.1 >/dev/null' && ping -q -c 3 -i 0.01 2001:db8:ff::1 >/dev/null; [ $DEVICE = wb ] && exit 7";
        assert_eq!(code("wb", script), Some(7));
        assert_eq!(count("icmp type echo-request counter packets 2"), 2);
        assert_eq!(count("icmpv6 type echo-request counter packets 3"), 3);
        // Who drops privileges is seen as who it is, and gains none: no raw socket.
        let script =
            "setpriv --reuid=65534 --regid=65534 --clear-groups bash -c 'echo x >/dev/udp/192.0.2.1/9'";
        assert_eq!(code("wb", script), Some(0));
        assert_eq!(count("skuid 65534"), 1);
        // Without us the better way is taken.
        sh("ping -q -c 1 192.0.2.1");
        assert_eq!(count("oifname \"wa\""), 1);
    });
}

#[test]
fn privileges_other_namespaces_and_other_sockets_are_left_alone() {
    in_namespace_as_root("privileges_other_namespaces_and_other_sockets_are_left_alone", || {
        let _peer = world();
        // arping needs no IP socket; nft needs netlink only.
        assert_eq!(code("wb", "nft list ruleset >/dev/null && ip link >/dev/null"), Some(0));
        // A namespace of the command's own: its lo is no device of ours.
        assert_eq!(
            code("wb", "unshare -n sh -c 'ip link set lo up; ping -q -c 1 127.0.0.1 >/dev/null'"),
            Some(0)
        );
        // A caller without the right to raw sockets gets none from us either: a ping without file capabilities.
        let script = "set -e; dir=$(mktemp -d); chmod 755 $dir; cp $(command -v ping) $dir/ping; \
                      (setpriv --reuid=65534 --regid=65534 --clear-groups $dir/ping -q -c 1 192.0.2.1 2>&1 && echo worked) \
                      | grep -c permitted; rm -r $dir";
        sh("sysctl -qw net.ipv4.ping_group_range='1 0'");
        assert_eq!(code("wb", script), Some(0));
        // Background processes are supervised to their end.
        assert_eq!(
            code("wb", "(sleep 0.2; ping -q -c 1 192.0.2.1 >/dev/null && touch /tmp/mwan-use-$$) & exit 3"),
            Some(3)
        );
        assert_eq!(sh("ls /tmp/mwan-use-* | wc -l; rm -f /tmp/mwan-use-*").trim(), "1");
    });
}

#[test]
fn errors_are_typed() {
    in_namespace("errors_are_typed", || {
        sh("ip link add name wb type veth peer name far");
        assert!(matches!(use_command("wb", &[]), Err(UseError::Empty)));
        assert!(matches!(use_command("wb", &["/does/not/exist"]), Err(UseError::Start { .. })));
        assert!(matches!(use_command("nope", &["true"]), Err(UseError::Supervise(_))));
        // Killed by a signal: the status says so.
        use std::os::unix::process::ExitStatusExt;
        let status = use_command("wb", &["sh", "-c", "kill -9 $$"]).expect("run");
        assert_eq!(status.signal(), Some(9));
    });
}
