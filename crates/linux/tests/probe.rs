//! Probes through real devices, against honest and dishonest answers.

mod common;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Peer, in_namespace, sh};
use mwan_config::{Family, ProbeTarget};
use mwan_core::{PathKey, ProbeReport, ProbeRequest};
use mwan_linux::probe::Prober;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

fn run(body: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(body);
}

fn request(round: u64, device: &str, targets: &[&str]) -> ProbeRequest {
    let targets: Vec<IpAddr> = targets.iter().map(|t| t.parse().expect("address")).collect();
    let targets: Vec<ProbeTarget> = targets.into_iter().map(Into::into).collect();
    ProbeRequest {
        path: PathKey { id: 1, family: Family::of(targets[0].ip) },
        round,
        targets,
        count: 1,
        spacing: Duration::from_millis(20),
        timeout: Duration::from_millis(300),
        device: device.into(),
        source: None,
        mark: 0x3f00,
        size: 56,
        ttl: 64,
    }
}

/// Reports until `wait` is over.
async fn collect(reports: &mut UnboundedReceiver<ProbeReport>, wait: Duration) -> Vec<ProbeReport> {
    let mut all = Vec::new();
    let end = tokio::time::Instant::now() + wait;
    while let Ok(Some(report)) = tokio::time::timeout_at(end, reports.recv()).await {
        all.push(report);
    }
    all
}

/// `count` reports, each within half a minute; sorted by round, target and sequence.
async fn exactly(reports: &mut UnboundedReceiver<ProbeReport>, count: usize) -> Vec<ProbeReport> {
    let mut all = Vec::new();
    while all.len() < count {
        let report = tokio::time::timeout(Duration::from_secs(30), reports.recv()).await;
        all.push(report.unwrap_or_else(|_| panic!("only {all:?}")).expect("open"));
    }
    all.sort_by_key(key);
    all
}

fn key(report: &ProbeReport) -> (u64, usize, u32, bool) {
    match report {
        ProbeReport::Reply { round, target, sequence, .. } => (*round, *target, *sequence, true),
        ProbeReport::Failed { round, target, sequence, .. } => (*round, *target, *sequence, false),
    }
}

/// How long probes wait for [`dishonest_responder`]: a thread, which a busy machine may keep waiting.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Answers echo requests by the last byte of the address asked.
fn dishonest_responder(stop: &AtomicBool, ready: &std::sync::mpsc::Sender<()>) {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).expect("raw");
    socket.set_read_timeout(Some(Duration::from_millis(10))).expect("timeout");
    let out = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))).expect("raw");
    ready.send(()).expect("the test waits");
    let mut late: Vec<(Instant, Vec<u8>, [u8; 4])> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        late.retain(|(at, packet, to)| {
            let due = *at <= Instant::now();
            if due {
                send(&out, packet, *to);
            }
            !due
        });
        let mut buffer = [0; 2048];
        let Ok(length) = (&socket).read(&mut buffer) else { continue };
        let packet = &buffer[..length];
        if packet[20] != 8 {
            continue;
        }
        let asker: [u8; 4] = packet[12..16].try_into().expect("four");
        let asked: [u8; 4] = packet[16..20].try_into().expect("four");
        let mut icmp = packet[20..].to_vec();
        icmp[0] = 0;
        match asked[3] {
            20 => send(&out, &reply(asked, asker, &icmp), asker),
            21 => {
                icmp[8] ^= 1;
                send(&out, &reply(asked, asker, &icmp), asker);
            }
            22 => send(&out, &reply([192, 0, 2, 29], asker, &icmp), asker),
            23 => (0..3).for_each(|_| send(&out, &reply(asked, asker, &icmp), asker)),
            24 => late.push((
                Instant::now() + TIMEOUT + Duration::from_millis(500),
                reply(asked, asker, &icmp),
                asker,
            )),
            25 => {
                let mut error = vec![3, 1, 0, 0, 0, 0, 0, 0];
                error.extend_from_slice(&packet[..28]);
                send(&out, &reply([192, 0, 2, 1], asker, &error), asker);
            }
            26 => {
                icmp[4] ^= 1;
                send(&out, &reply(asked, asker, &icmp), asker);
            }
            27 => {
                // A forged error for a probe of ours that went elsewhere.
                let mut error = vec![3, 1, 0, 0, 0, 0, 0, 0];
                error.extend_from_slice(&packet[..28]);
                error[8 + 19] = 99;
                send(&out, &reply([192, 0, 2, 1], asker, &error), asker);
            }
            // Shortened to the cookie, as some hosts do.
            28 => send(&out, &reply(asked, asker, &icmp[..24]), asker),
            _ => {}
        }
    }
}

fn reply(from: [u8; 4], to: [u8; 4], icmp: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 1, 0, 0];
    packet.extend_from_slice(&from);
    packet.extend_from_slice(&to);
    let mut icmp = icmp.to_vec();
    icmp[2..4].fill(0);
    let mut sum: u32 =
        icmp.chunks(2).map(|c| u32::from(c[0]) << 8 | u32::from(*c.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    icmp[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    packet.extend_from_slice(&icmp);
    packet
}

fn send(socket: &Socket, packet: &[u8], to: [u8; 4]) {
    socket.send_to(packet, &SocketAddr::from((Ipv4Addr::from(to), 0)).into()).expect("send");
}

#[test]
fn only_authentic_replies_in_time_count() {
    in_namespace("only_authentic_replies_in_time_count", || {
        run(async {
            let peer = Peer::new();
            peer.link("wan", "far");
            sh("ip addr add 192.0.2.2/24 dev wan");
            peer.sh("ip addr add 192.0.2.1/24 dev far; ip route add local 192.0.2.16/28 dev lo; sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
            let stop = Arc::new(AtomicBool::new(false));
            let (ready, listening) = std::sync::mpsc::channel();
            let responder = peer.spawn({
                let stop = Arc::clone(&stop);
                move || dishonest_responder(&stop, &ready)
            });
            listening.recv().expect("the responder listens");
            let (sender, mut reports) = unbounded_channel();
            let mut prober = Prober::new(sender);
            let all: Vec<_> = (20..=29).map(|n| format!("192.0.2.{n}")).collect();
            let all: Vec<_> = all.iter().map(String::as_str).collect();
            for (round, size) in [(1, 56), (2, 16), (3, 1400)] {
                prober.start(ProbeRequest { size, timeout: TIMEOUT, ..request(round, "wan", &all) });
                let mut got = collect(&mut reports, TIMEOUT + Duration::from_secs(1)).await;
                got.sort_by_key(key);
                let keys: Vec<_> = got.iter().map(key).collect();
                let expected =
                    [(round, 0, 0, true), (round, 3, 0, true), (round, 5, 0, false), (round, 8, 0, true)];
                assert_eq!(keys, expected, "{got:?}");
                let ProbeReport::Reply { rtt, .. } = got[0] else { panic!("{got:?}") };
                assert!(rtt > Duration::ZERO && rtt <= TIMEOUT, "{rtt:?}");
                let ProbeReport::Failed { error, .. } = &got[2] else { panic!("{got:?}") };
                assert_eq!(error, "host unreachable (says 192.0.2.1)");
            }
            // Smaller than a cookie: identifier, sequence and source still hold.
            prober.start(ProbeRequest {
                size: 0,
                timeout: TIMEOUT,
                ..request(4, "wan", &["192.0.2.20", "192.0.2.22", "192.0.2.26"])
            });
            let got = collect(&mut reports, TIMEOUT).await;
            assert_eq!(got.iter().map(key).collect::<Vec<_>>(), [(4, 0, 0, true)]);
            stop.store(true, Ordering::Relaxed);
            responder.join().expect("responder");
        })
    });
}

#[test]
fn probes_carry_mark_source_and_ttl_and_follow_the_device() {
    in_namespace("probes_carry_mark_source_and_ttl_and_follow_the_device", || {
        run(async {
            let peer = Peer::new();
            let setup = || {
                peer.link("wan", "far");
                sh("ip addr add 192.0.2.2/24 dev wan; ip addr add 192.0.2.3/24 dev wan");
                peer.sh("ip addr add 192.0.2.1/24 dev far");
            };
            setup();
            sh("nft 'add table ip t; add chain ip t o { type filter hook output priority 0; }; \
            add rule ip t o meta mark 0x3f00 ip saddr 192.0.2.3 ip ttl 7 oifname wan icmp type echo-request counter'");
            let (sender, mut reports) = unbounded_channel();
            let mut prober = Prober::new(sender);
            let with_source = |round| ProbeRequest {
                source: "192.0.2.3".parse().ok(),
                ttl: 7,
                count: 3,
                ..request(round, "wan", &["192.0.2.1"])
            };
            prober.start(with_source(1));
            let keys: Vec<_> = exactly(&mut reports, 3).await.iter().map(key).collect();
            assert_eq!(keys, [(1, 0, 0, true), (1, 0, 1, true), (1, 0, 2, true)]);
            assert!(sh("nft list ruleset").contains("counter packets 3 "), "{}", sh("nft list ruleset"));
            // Another source needs another socket.
            prober.start(request(2, "wan", &["192.0.2.1"]));
            assert_eq!(key(&exactly(&mut reports, 1).await[0]), (2, 0, 0, true));
            // No such device, down, then another device of the same name.
            prober.start(request(3, "nope", &["192.0.2.1", "192.0.2.9"]));
            let got = exactly(&mut reports, 2).await;
            assert!(
                matches!(&got[1], ProbeReport::Failed { target: 1, error, .. } if error == "No such device"),
                "{got:?}"
            );
            prober.start(request(4, "wan", &["192.0.2.1"]));
            assert_eq!(key(&exactly(&mut reports, 1).await[0]), (4, 0, 0, true));
            sh("ip link del wan");
            prober.start(request(5, "wan", &["192.0.2.1"]));
            assert_eq!(key(&exactly(&mut reports, 1).await[0]), (5, 0, 0, false));
            setup();
            prober.start(request(6, "wan", &["192.0.2.1"]));
            assert_eq!(key(&exactly(&mut reports, 1).await[0]), (6, 0, 0, true));
            sh("ip link set wan down");
            prober.start(request(7, "wan", &["192.0.2.1"]));
            let got = exactly(&mut reports, 1).await;
            assert!(matches!(&got[0], ProbeReport::Failed { round: 7, .. }), "{got:?}");
            prober.forget(PathKey { id: 1, family: Family::V4 });
        })
    });
}

#[test]
fn ipv6_global_link_local_and_errors() {
    in_namespace("ipv6_global_link_local_and_errors", || {
        run(async {
            let peer = Peer::new();
            peer.link("wan", "far");
            sh(
                "ip addr add 2001:db8::2/64 dev wan nodad; ip addr add fe80::2/64 dev wan nodad; ip -6 route add default via 2001:db8::1",
            );
            peer.sh("ip addr add 2001:db8::1/64 dev far nodad; ip addr add fe80::1/64 dev far nodad; sysctl -qw net.ipv6.conf.all.forwarding=1; ip -6 route add 2001:db8:a::/64 dev far");
            // Addresses of a link that is just coming up are put into force by a work queue (addrconf_dad_work).
            let local =
                |text: String, ours: [&str; 2]| ours.iter().all(|a| text.contains(&format!("local {a} ")));
            common::eventually("the addresses are in force", || {
                local(sh("ip -6 route show table local"), ["2001:db8::2", "fe80::2"])
                    && local(peer.sh("ip -6 route show table local"), ["2001:db8::1", "fe80::1"])
            });
            let (sender, mut reports) = unbounded_channel();
            let mut prober = Prober::new(sender);
            prober.start(request(1, "wan", &["2001:db8::1", "fe80::1", "2001:db8:9::1"]));
            let got = exactly(&mut reports, 3).await;
            let keys: Vec<_> = got.iter().map(key).collect();
            assert_eq!(keys, [(1, 0, 0, true), (1, 1, 0, true), (1, 2, 0, false)], "{got:?}");
            assert!(
                matches!(&got[2], ProbeReport::Failed { error, .. } if error == "no route to destination (says 2001:db8::1)"),
                "{got:?}"
            );
            let source = "fe80::2".parse().ok();
            prober.start(ProbeRequest { source, size: 1300, ..request(2, "wan", &["fe80::1"]) });
            assert_eq!(key(&exactly(&mut reports, 1).await[0]), (2, 0, 0, true));
            prober.start(ProbeRequest { ttl: 1, ..request(3, "wan", &["2001:db8:a::1"]) });
            let got = exactly(&mut reports, 1).await;
            assert!(
                matches!(&got[0], ProbeReport::Failed { error, .. } if error.starts_with("time to live exceeded")),
                "{got:?}"
            );
        })
    });
}

/// Sixty WANs with four targets each, a round a second: every answer is told, and what one round costs is printed (`make bench` holds
/// it to a limit).
#[test]
fn sixty_paths_are_cheap() {
    in_namespace("sixty_paths_are_cheap", || {
        run(async {
            const PATHS: u32 = 60;
            let peer = Peer::new();
            let pid = peer.pid();
            let (mut ours, mut theirs) = (String::new(), String::new());
            for n in 1..=PATHS {
                ours += &format!(
                    "link add name w{n} type veth peer name f{n} netns {pid}\nlink set w{n} up\naddr add 10.0.{n}.2/24 dev w{n}\n"
                );
                theirs += &format!("link set f{n} up\naddr add 10.0.{n}.1/24 dev f{n}\n");
                for last in 3..6 {
                    theirs += &format!("addr add 10.0.{n}.{last}/24 dev f{n}\n");
                }
            }
            common::feed("ip -batch -", &ours);
            common::feed(&format!("nsenter -t {pid} -n ip -batch -"), &theirs);
            let (sender, mut reports) = unbounded_channel();
            let mut prober = Prober::new(sender);
            let mut used = Duration::ZERO;
            const ROUNDS: u64 = 20;
            // The first rounds resolve neighbours and open sockets.
            for round in 0..ROUNDS + 2 {
                let before = cpu_time();
                for n in 1..=PATHS {
                    let targets: Vec<_> =
                        [1, 3, 4, 5].iter().map(|last| format!("10.0.{n}.{last}")).collect();
                    let targets: Vec<_> = targets.iter().map(String::as_str).collect();
                    let path = PathKey { id: n, family: Family::V4 };
                    prober.start(ProbeRequest {
                        path,
                        timeout: Duration::from_secs(5),
                        ..request(round, &format!("w{n}"), &targets)
                    });
                }
                exactly(&mut reports, 240).await;
                if round >= 2 {
                    used += cpu_time() - before;
                }
            }
            let per_round = used / ROUNDS as u32;
            println!(
                "60 paths x 4 targets: {per_round:?} of CPU per round, the veth pairs' own work included"
            );
        })
    });
}

fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|t| t.parse().ok()).expect("number"))
}
