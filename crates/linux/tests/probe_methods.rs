//! Every tracking method through a real device, against servers that answer, refuse, are silent, or lie.

mod common;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Peer, in_namespace, sh};
use mwan_config::{Family, ProbeTarget, parse_uci};
use mwan_core::{PathKey, ProbeReport, ProbeRequest};
use mwan_linux::probe::Prober;
use tokio::sync::mpsc::unbounded_channel;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ALL_VERSIONS, HandshakeKind, ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion,
};

/// How long a probe waits here, and therefore how long silence takes: servers are threads of ours, which a busy machine may keep
/// waiting.
const TIMEOUT: Duration = Duration::from_secs(3);

/// What became of a probe: an answer, why there is none, or nothing at all.
#[derive(Clone, PartialEq, Debug)]
enum Fate {
    Answered,
    Failed(String),
    Silent,
}

fn failed(text: &str) -> Fate {
    Fate::Failed(text.to_owned())
}

/// Targets as a configuration has them.
fn targets(texts: &[&str]) -> Vec<ProbeTarget> {
    let list: String = texts.iter().map(|t| format!("\tlist track_ip '{t}'\n")).collect();
    let text = format!("config interface 'wan'\n\toption enabled 1\n\toption family any\n{list}");
    let loaded = parse_uci("f", text.as_bytes());
    let targets = loaded.config.interfaces[0].tracking.targets.clone();
    assert_eq!(targets.len(), texts.len(), "{:?}", loaded.diagnostics);
    targets
}

fn request(round: u64, targets: Vec<ProbeTarget>) -> ProbeRequest {
    let family = Family::of(targets[0].ip);
    ProbeRequest {
        path: PathKey { id: 1, family },
        round,
        targets,
        count: 1,
        spacing: Duration::from_millis(20),
        timeout: TIMEOUT,
        device: "wan".into(),
        source: None,
        mark: 0x3f00,
        size: 56,
        ttl: 64,
    }
}

/// Asks them all at once and returns what became of each.
fn probe(request: ProbeRequest) -> Vec<Fate> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let (sender, mut reports) = unbounded_channel();
        let mut prober = Prober::new(sender);
        let mut fates = vec![Fate::Silent; request.targets.len()];
        let wait = request.timeout + Duration::from_secs(1);
        prober.start(request);
        let end = tokio::time::Instant::now() + wait;
        while fates.contains(&Fate::Silent) {
            let Ok(report) = tokio::time::timeout_at(end, reports.recv()).await else { break };
            let (target, fate) = match report.expect("the prober lives") {
                ProbeReport::Reply { target, rtt, .. } => {
                    assert!(rtt <= TIMEOUT, "{rtt:?}");
                    (target, Fate::Answered)
                }
                ProbeReport::Failed { target, error, .. } => (target, Fate::Failed(error)),
            };
            assert_eq!(fates[target], Fate::Silent, "told once");
            fates[target] = fate;
        }
        fates
    })
}

/// Probes these and compares, target by target.
fn check(expected: &[(&str, Fate)]) {
    check_from(None, expected);
}

fn check_from(source: Option<&str>, expected: &[(&str, Fate)]) {
    let texts: Vec<&str> = expected.iter().map(|(text, _)| *text).collect();
    let source = source.map(|s| s.parse().expect("an address"));
    let fates = probe(ProbeRequest { source, ..request(1, targets(&texts)) });
    for ((text, wanted), fate) in expected.iter().zip(&fates) {
        assert_eq!(fate, wanted, "{text}");
    }
}

/// `wan` here and `far` there, in both families. Nothing leaves that does not carry the mark of probes.
fn network() -> Peer {
    let peer = Peer::new();
    peer.link("wan", "far");
    sh(
        "ip addr add 192.0.2.2/24 dev wan; ip addr add 192.0.2.3/24 dev wan; ip -6 addr add 2001:db8::2/64 dev wan nodad",
    );
    sh("ip route add 198.51.100.0/24 via 192.0.2.1; ip -6 route add 2001:db8:9::/64 via 2001:db8::1");
    peer.sh("ip addr add 192.0.2.1/24 dev far; ip addr add 192.0.2.9/24 dev far; ip -6 addr add 2001:db8::1/64 dev far nodad");
    peer.sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0");
    sh(
        "nft 'table inet m { chain out { type filter hook output priority 0; meta l4proto { tcp, udp } meta mark != 0x3f00 drop; }; }'",
    );
    peer.sh("nft \"table inet f { chain in { type filter hook input priority 0; tcp dport 81 drop; udp dport 81 drop; udp dport 82 reject with icmpx admin-prohibited; }; }\"");
    // Addresses are usable once duplicate address detection is over.
    common::eventually("link-local addresses", || {
        !sh("ip -6 addr show dev wan").contains("tentative")
            && !peer.sh("ip -6 addr show dev far").contains("tentative")
    });
    peer
}

/// Serves each connection by `answer` in a thread of its own, for as long as the test runs.
fn serve_tcp(peer: &Peer, address: &'static str, answer: impl Fn(TcpStream) + Send + Sync + 'static) {
    let (ready, listening) = std::sync::mpsc::channel();
    let answer = Arc::new(answer);
    peer.spawn(move || {
        let listener = TcpListener::bind(address).expect("listen");
        ready.send(()).expect("the test waits");
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || answer(stream));
        }
    });
    listening.recv().expect("the server listens");
}

fn serve_udp(
    peer: &Peer,
    address: &'static str,
    answer: impl Fn(&UdpSocket, &[u8], SocketAddr) + Send + 'static,
) {
    let (ready, listening) = std::sync::mpsc::channel();
    peer.spawn(move || {
        let socket = UdpSocket::bind(address).expect("bind");
        ready.send(()).expect("the test waits");
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            answer(&socket, &buffer[..length], from);
        }
    });
    listening.recv().expect("the server listens");
}

#[test]
fn tcp_is_answered_refused_or_silent() {
    in_namespace("tcp_is_answered_refused_or_silent", || {
        let peer = network();
        serve_tcp(&peer, "[::]:443", drop);
        check(&[
            ("tcp://192.0.2.1:443", Fate::Answered),
            ("tcp://192.0.2.1:444", failed("Connection refused")),
            ("tcp://192.0.2.1:444#refused=1", Fate::Answered),
            ("tcp://192.0.2.1:81", Fate::Silent),
            ("tcp://198.51.100.1:443", failed("Network is unreachable")),
        ]);
        check(&[
            ("tcp://[2001:db8::1]:443", Fate::Answered),
            ("tcp://[2001:db8::1]:444", failed("Connection refused")),
            ("tcp://[2001:db8::1]:81", Fate::Silent),
        ]);
        sh("ip link set wan down");
        check(&[("tcp://192.0.2.1:443", failed("Network is unreachable"))]);
    });
}

#[test]
fn udp_is_answered_by_the_target_only() {
    in_namespace("udp_is_answered_by_the_target_only", || {
        let peer = network();
        serve_udp(&peer, "[::]:500", |socket, data, from| drop(socket.send_to(data, from)));
        // Its answers come from another port.
        serve_udp(&peer, "192.0.2.1:501", |_, data, from| {
            UdpSocket::bind("192.0.2.1:0").and_then(|other| other.send_to(data, from)).expect("sent");
        });
        // And here from another address.
        serve_udp(&peer, "192.0.2.1:502", |_, data, from| {
            let _ = UdpSocket::bind("192.0.2.9:502").and_then(|other| other.send_to(data, from));
        });
        // A router on the way says that the port is closed, which the target alone can know.
        peer.sh("ip addr add 198.51.100.254/24 dev lo; nft add chain inet f forward \"{ type filter hook forward priority 0; }\"; nft add rule inet f forward reject with icmpx port-unreachable; ip route add 203.0.113.0/24 via 192.0.2.200");
        sh("ip route add 203.0.113.0/24 via 192.0.2.1");
        check(&[
            ("udp://192.0.2.1:500", Fate::Answered),
            ("udp://192.0.2.1:40125", Fate::Answered),
            ("udp://192.0.2.1:81", Fate::Silent),
            ("udp://192.0.2.1:501", Fate::Silent),
            ("udp://192.0.2.1:502", Fate::Silent),
            ("udp://203.0.113.1:40125", failed("port closed (says 192.0.2.1)")),
        ]);
        check(&[("udp://[2001:db8::1]:500", Fate::Answered), ("udp://[2001:db8::1]:40125", Fate::Answered)]);
    });
}

#[test]
fn a_datagram_expires_where_it_should() {
    in_namespace("a_datagram_expires_where_it_should", || {
        let peer = network();
        // Behind the peer there is nobody, but the datagram expires before that is known.
        peer.sh("ip addr add 198.51.100.254/24 dev lo; ip -6 route add 2001:db8:9::/64 via 2001:db8::77");
        peer.sh("ip route add 203.0.113.0/24 via 192.0.2.200");
        sh("ip route add 203.0.113.0/24 via 192.0.2.1");
        check(&[
            ("ttl://203.0.113.1#hops=1", Fate::Answered),
            ("ttl://192.0.2.1#hops=5", Fate::Answered),
            ("ttl://192.0.2.1:81#hops=1", Fate::Silent),
            ("ttl://192.0.2.1:82#hops=2", failed("administratively prohibited (says 192.0.2.1)")),
        ]);
        check(&[
            ("ttl://[2001:db8:9::1]#hops=1", Fate::Answered),
            ("ttl://[2001:db8::1]#hops=3", Fate::Answered),
        ]);
    });
}

/// Answers by the first label of the name.
fn name_server(socket: &UdpSocket, question: &[u8], from: SocketAddr) {
    let label = &question[13..13 + usize::from(question[12])];
    let mut answer = question.to_vec();
    answer[2] |= 0x80;
    let record = [0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];
    match label {
        b"good" => {
            answer[7] = 1;
            answer.extend_from_slice(&record);
        }
        b"servfail" => answer[3] |= 2,
        b"nxdomain" => answer[3] |= 3,
        b"empty" => {}
        b"malformed" => answer[7] = 1,
        b"otherid" => {
            answer[0] ^= 0xff;
            answer[7] = 1;
            answer.extend_from_slice(&record);
        }
        b"otherserver" => {
            answer[7] = 1;
            answer.extend_from_slice(&record);
            UdpSocket::bind("192.0.2.9:53").and_then(|other| other.send_to(&answer, from)).expect("sent");
            return;
        }
        // What does not belong here first, the answer last.
        b"noise" => {
            for _ in 0..200 {
                socket.send_to(b"noise", from).expect("sent");
            }
            answer[7] = 1;
            answer.extend_from_slice(&record);
        }
        _ => return,
    }
    let _ = socket.send_to(&answer, from);
}

#[test]
fn names_must_be_resolved() {
    in_namespace("names_must_be_resolved", || {
        let peer = network();
        serve_udp(&peer, "192.0.2.1:53", name_server);
        serve_udp(&peer, "[2001:db8::1]:53", name_server);
        check(&[
            ("dns://192.0.2.1/good.example.org", Fate::Answered),
            ("dns://192.0.2.1/noise.example.org", Fate::Answered),
            ("dns://192.0.2.1/servfail.example.org", failed("answered SERVFAIL")),
            ("dns://192.0.2.1/nxdomain.example.org", failed("answered NXDOMAIN")),
            ("dns://192.0.2.1/empty.example.org", failed("answered without a record")),
            ("dns://192.0.2.1/malformed.example.org", failed("answered with a malformed record")),
            ("dns://192.0.2.1/otherid.example.org", Fate::Silent),
            ("dns://192.0.2.1/otherserver.example.org", Fate::Silent),
            ("dns://192.0.2.1/silent.example.org", Fate::Silent),
            ("dns://192.0.2.1:54/good.example.org", failed("port closed (says 192.0.2.1)")),
        ]);
        check(&[("dns://[2001:db8::1]/good.example.org#type=AAAA", Fate::Answered)]);
    });
}

/// Answers a request by its path.
fn web_server(mut stream: impl Read + Write, client: IpAddr) {
    let mut request = Vec::new();
    let mut buffer = [0; 1024];
    while !request.ends_with(b"\r\n\r\n") {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(length) => request.extend_from_slice(&buffer[..length]),
        }
    }
    let text = String::from_utf8(request).expect("text");
    let first = text.lines().next().expect("a line").to_owned();
    let path = first.split(' ').nth(1).expect("a path").to_owned();
    let answer =
        |head: &str, body: &str| format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let out = match path.as_str() {
        "/ok" => answer("200 OK", &format!("hello {client}\n{text}")),
        "/204" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
        "/portal" => answer("302 Found\r\nLocation: http://portal.example/\u{7}login", ""),
        "/garbage" => "SSH-2.0-OpenSSH\r\n\r\n".to_owned(),
        "/close" => return,
        "/endless-head" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"X-More: and more and more and more\r\n").is_ok() {}
            return;
        }
        "/endless-body" => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
            while stream.write_all(&[b'x'; 1000]).is_ok() {}
            return;
        }
        "/silent" => {
            let _ = stream.read(&mut buffer);
            return;
        }
        // `httping` asks for / with HEAD.
        "/" if first.starts_with("HEAD") => "HTTP/1.1 404 Not Found\r\nContent-Length: 7\r\n\r\n".to_owned(),
        _ => answer("404 Not Found", ""),
    };
    let _ = stream.write_all(out.as_bytes());
}

#[test]
fn http_must_answer_as_expected() {
    in_namespace("http_must_answer_as_expected", || {
        let peer = network();
        serve_tcp(&peer, "[::]:80", |stream| {
            let client = stream.peer_addr().expect("connected").ip().to_canonical();
            web_server(stream, client);
        });
        check_from(
            Some("192.0.2.3"),
            &[
                ("http://192.0.2.1/ok", Fate::Answered),
                ("http://192.0.2.1/ok#body=hello%20192.0.2.3", Fate::Answered),
                ("http://192.0.2.1/ok#body=host%3A%20192.0.2.1%0D", Fate::Answered),
                (
                    "http://192.0.2.1/ok#host=www.example.org&body=host%3A%20www.example.org%0D",
                    Fate::Answered,
                ),
                ("http://192.0.2.1/204#status=204", Fate::Answered),
                ("http://192.0.2.1/ok#status=204", failed("status 200, expected 204")),
                ("http://192.0.2.1/missing", failed("status 404, expected 200 to 299")),
                ("http://192.0.2.1/#method=HEAD&status=100-599", Fate::Answered),
                ("http://192.0.2.1/garbage", failed("invalid HTTP version")),
                ("http://192.0.2.1/close", failed("the connection was closed without an answer")),
                ("http://192.0.2.1/silent", Fate::Silent),
                ("http://192.0.2.1/endless-body", Fate::Answered),
                (
                    "http://192.0.2.1/endless-body#body=y",
                    failed("status 200, but the expected text is not in the first 16384 bytes"),
                ),
                ("http://192.0.2.1:8080/ok", failed("Connection refused")),
                ("http://192.0.2.1:81/ok", Fate::Silent),
            ],
        );
        // Too many fields or too many bytes: whichever it meets first.
        let fates = probe(request(1, targets(&["http://192.0.2.1/endless-head", "http://192.0.2.1/portal"])));
        assert!(matches!(&fates[0], Fate::Failed(text) if text.contains("too")), "{fates:?}");
        assert!(matches!(&fates[1], Fate::Failed(_)), "{fates:?}");
        check(&[("http://[2001:db8::1]/ok#body=host%3A%20%5B2001%3Adb8%3A%3A1%5D", Fate::Answered)]);
    });
}

/// A certificate that nobody vouches for.
fn tls_config(versions: &[&'static SupportedProtocolVersion]) -> Arc<ServerConfig> {
    let made = rcgen::generate_simple_self_signed(vec!["www.example.org".to_owned()]).expect("certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("config");
    Arc::new(config)
}

/// A TLS server without memory.
fn tls_server(stream: TcpStream) {
    let connection = ServerConnection::new(tls_config(ALL_VERSIONS)).expect("connection");
    let client = stream.peer_addr().expect("connected").ip();
    web_server(StreamOwned::new(connection, stream), client);
}

/// A session is resumed, and still only a server that is there can do it.
#[test]
fn tls_sessions_are_resumed_and_prove_no_less() {
    in_namespace("tls_sessions_are_resumed_and_prove_no_less", || {
        let peer = network();
        for (address, url, version) in [
            ("[::]:447", "https://192.0.2.1:447/ok", &TLS13),
            ("[::]:448", "https://192.0.2.1:448/ok", &TLS12),
        ] {
            let first = tls_config(&[version]);
            let config = Arc::new(Mutex::new(Some(Arc::clone(&first))));
            let kinds = Arc::new(Mutex::new(Vec::new()));
            let (served, seen) = (Arc::clone(&config), Arc::clone(&kinds));
            serve_tcp(&peer, address, move |mut stream| {
                let Some(config) = served.lock().expect("lock").clone() else {
                    // It takes the hello and is mute.
                    while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
                    return;
                };
                let mut connection = ServerConnection::new(config).expect("connection");
                while connection.is_handshaking() {
                    connection.complete_io(&mut stream).expect("handshake");
                }
                seen.lock().expect("lock").push(connection.handshake_kind().expect("done"));
                let client = stream.peer_addr().expect("connected").ip();
                web_server(StreamOwned::new(connection, stream), client);
            });
            let ask = || probe(request(1, targets(&[url])));
            for _ in 0..3 {
                assert_eq!(ask(), [Fate::Answered]);
            }
            use HandshakeKind::{Full, Resumed};
            assert_eq!(std::mem::take(&mut *kinds.lock().expect("lock")), [Full, Resumed, Resumed], "{url}");
            *config.lock().expect("lock") = None;
            assert_eq!(ask(), [Fate::Silent], "{url}: a session is no proof by itself");
            *config.lock().expect("lock") = Some(first);
            assert_eq!(ask(), [Fate::Answered], "{url}: it is not offered to who took it amiss");
            *config.lock().expect("lock") = Some(tls_config(&[version]));
            assert_eq!(ask(), [Fate::Answered], "{url}: another server, another session");
            assert_eq!(*kinds.lock().expect("lock"), [Full, Full], "{url}");
        }
    });
}

#[test]
fn https_needs_tls_and_no_certificate() {
    in_namespace("https_needs_tls_and_no_certificate", || {
        let peer = network();
        serve_tcp(&peer, "[::]:443", tls_server);
        serve_tcp(&peer, "[::]:444", |mut stream| drop(stream.write_all(b"220 mail\r\n")));
        serve_tcp(&peer, "[::]:446", |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"220 mail.example.org ready\r\n\r\n");
        });
        check(&[
            ("https://192.0.2.1/ok", Fate::Answered),
            ("https://192.0.2.1/ok#host=www.example.org&body=host%3A%20www.example.org", Fate::Answered),
            ("https://192.0.2.1/#method=HEAD&status=100-599", Fate::Answered),
            ("https://192.0.2.1/204#status=200", failed("status 204, expected 200")),
            ("https://192.0.2.1:445/", failed("Connection refused")),
            ("https://192.0.2.1:81/", Fate::Silent),
            ("http://192.0.2.1:446/", failed("invalid HTTP version")),
        ]);
        let fates = probe(request(1, targets(&["https://192.0.2.1:444/"])));
        assert!(matches!(&fates[0], Fate::Failed(text) if !text.is_empty()), "{fates:?}");
        check(&[("https://[2001:db8::1]/ok", Fate::Answered)]);
    });
}

#[test]
fn neighbours_answer_on_the_link() {
    in_namespace("neighbours_answer_on_the_link", || {
        let peer = network();
        let link_local = peer.sh("ip -6 -o addr show dev far scope link");
        let link_local =
            link_local.split_whitespace().nth(3).and_then(|a| a.split('/').next()).expect("fe80::");
        // What is forwarded is not on the link, even if the peer has it.
        peer.sh("ip addr add 203.0.113.1/32 dev lo; sysctl -qw net.ipv4.conf.far.arp_ignore=1");
        check_from(
            Some("192.0.2.2"),
            &[
                ("arp://192.0.2.1", Fate::Answered),
                ("arp://192.0.2.9", Fate::Answered),
                ("arp://192.0.2.200", Fate::Silent),
                ("arp://203.0.113.1", Fate::Silent),
            ],
        );
        check(&[("arp://192.0.2.1", Fate::Answered)]);
        check_from(
            Some("2001:db8::2"),
            &[
                ("arp://[2001:db8::1]", Fate::Answered),
                (&format!("arp://[{link_local}]"), Fate::Answered),
                ("arp://[2001:db8::99]", Fate::Silent),
                ("arp://[fe80::99]", Fate::Silent),
            ],
        );
        // A ping is silenced, the neighbour still answers.
        peer.sh("sysctl -qw net.ipv4.icmp_echo_ignore_all=1");
        check(&[("192.0.2.1", Fate::Silent), ("arp://192.0.2.1", Fate::Answered)]);
        sh("ip tuntap add mode tun name tun0; ip link set tun0 up; ip addr add 10.9.9.1/24 dev tun0");
        let fates = probe(ProbeRequest { device: "tun0".into(), ..request(1, targets(&["arp://10.9.9.2"])) });
        assert_eq!(fates, [failed("not an Ethernet device: nothing to resolve on this link")]);
    });
}

/// One round of all methods, several probes of each; a device that is made anew; and a new round ends the old one.
#[test]
fn methods_share_a_round() {
    in_namespace("methods_share_a_round", || {
        let peer = network();
        serve_tcp(&peer, "[::]:443", drop);
        serve_udp(&peer, "192.0.2.1:53", name_server);
        let mixed = [
            "192.0.2.1",
            "arp://192.0.2.1",
            "tcp://192.0.2.1:443",
            "dns://192.0.2.1/good",
            "udp://192.0.2.1:9",
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (sender, mut reports) = unbounded_channel();
            let mut prober = Prober::new(sender);
            prober.start(request(1, targets(&["tcp://192.0.2.1:81"])));
            prober.start(ProbeRequest { count: 3, ..request(2, targets(&mixed)) });
            let mut answers = vec![0; mixed.len()];
            for _ in 0..mixed.len() * 3 {
                let report = tokio::time::timeout(Duration::from_secs(30), reports.recv()).await;
                match report.expect("in time").expect("open") {
                    ProbeReport::Reply { round: 2, target, .. } => answers[target] += 1,
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!(answers, [3; 5]);
            sh("ip link del wan");
            peer.link("wan", "far");
            sh("ip addr add 192.0.2.2/24 dev wan");
            peer.sh("ip addr add 192.0.2.1/24 dev far");
            prober.start(request(3, targets(&mixed[..3])));
            for _ in 0..3 {
                let report = tokio::time::timeout(Duration::from_secs(30), reports.recv()).await;
                let report = report.expect("in time").expect("open");
                assert!(matches!(report, ProbeReport::Reply { round: 3, .. }), "{report:?}");
            }
            // More probes than sockets: the surplus is told at once, and the rest is still asked.
            prober.start(ProbeRequest { count: 100, spacing: Duration::ZERO, ..request(4, targets(&["tcp://192.0.2.1:81"])) });
            let report = tokio::time::timeout(Duration::from_secs(30), reports.recv()).await;
            let report = report.expect("in time").expect("open");
            assert!(
                matches!(&report, ProbeReport::Failed { round: 4, sequence: 64, error, .. } if error.contains("64 probes")),
                "{report:?}"
            );
        });
    });
}
