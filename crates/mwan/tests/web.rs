//! The real web server beside the real daemon, in a network namespace of its own.
//!
//! Needs root: the server gives up its rights, and other users knock at its socket.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Daemon, MWAN, enter, is_root};
use serde_json::{Value, json};

/// Two WANs, the better one first; nothing is probed, so their devices decide.
const CONFIG: &str = "
config interface 'wan'
	option enabled '1'
	option device 'wan0'
	option gateway '192.0.2.1'
config interface 'wanb'
	option enabled '1'
	option device 'wan1'
	option gateway '198.51.100.1'
config member 'wan_m1'
	option interface 'wan'
	option metric '1'
config member 'wanb_m2'
	option interface 'wanb'
	option metric '2'
config policy 'failover'
	list use_member 'wan_m1'
	list use_member 'wanb_m2'
config rule 'all'
	option use_policy 'failover'
";

/// Both up; the far ends are in the same namespace.
const NETWORK: &str = "ip link set lo up && \
    ip link add wan0 type veth peer name isp0 && ip link add wan1 type veth peer name isp1 && \
    ip address add 192.0.2.2/24 dev wan0 && ip address add 198.51.100.2/24 dev wan1 && \
    ip link set isp0 up && ip link set isp1 up && ip link set wan0 up && ip link set wan1 up";

const PASSWORD: &str = "correct horse";

/// A group that every Debian has.
const GROUP: (&str, u32) = ("adm", 4);

struct Web {
    daemon: Daemon,
}

/// What curl got.
#[derive(Debug)]
struct Got {
    status: u16,
    text: String,
    json: Value,
}

impl Web {
    fn start(section: &str) -> Self {
        assert!(is_root(), "these tests need root: the web server gives up its rights");
        let dir = tempfile::tempdir().unwrap();
        // Others come as far as the sockets; those are closed to them by their own modes.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(dir.path().join("mwan3"), config(section)).unwrap();
        let log = std::fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
        let daemon = Daemon::spawn(dir, NETWORK, log, |command| {
            command.args(["--platform", "linux", "--log-level", "debug"]);
        });
        let mut web = Web { daemon };
        web.wait_for_server();
        web
    }

    fn wait_for_server(&mut self) {
        self.daemon.wait("the web server answers", |d| {
            d.path("web.json").exists() && local(d, "/api/v1/status").status == 200
        });
    }

    fn configure(&mut self, section: &str) {
        let before = self.pid();
        std::fs::write(self.daemon.path("mwan3"), config(section)).unwrap();
        assert!(self.daemon.mwan(&["reload"]).status.success());
        self.daemon.wait("another web server runs", |d| ![None, before].contains(&pid(d)));
        self.wait_for_server();
    }

    /// Of the web server.
    fn pid(&self) -> Option<u32> {
        pid(&self.daemon)
    }

    fn curl(&self, arguments: &[&str]) -> Got {
        curl(&self.daemon, arguments)
    }

    fn post(&self, url: &str, headers: &[String], body: &Value) -> Got {
        let body = body.to_string();
        let mut arguments = vec!["--json", &body, url];
        headers.iter().for_each(|header| arguments.extend(["-H", header]));
        self.curl(&arguments)
    }

    fn mwan_web(&self, arguments: &[&str], input: &str) -> Output {
        let mut command = Command::new(MWAN);
        command.arg("--run-dir").arg(self.daemon.dir.path()).arg("web").args(arguments);
        command.env("MWAN_STATE_DIR", self.daemon.dir.path());
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn token(&self, name: &str, role: &str) -> String {
        let output = self.mwan_web(&["token", "add", name, "--role", role], "");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }
}

fn config(section: &str) -> String {
    format!("{CONFIG}\nconfig web\n\toption enabled '1'\n{section}")
}

/// The daemon's child that serves.
fn pid(daemon: &Daemon) -> Option<u32> {
    let parent = daemon.pid();
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.ends_with(b"web\0serve\0"))
    })
}

fn curl(daemon: &Daemon, arguments: &[&str]) -> Got {
    let mut command = enter(&daemon.pid().to_string());
    command.args(["curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}"]).args(arguments);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (text, status) = text.rsplit_once('\n').unwrap_or((&text, "0"));
    let text =
        if text.is_empty() { String::from_utf8_lossy(&output.stderr).into_owned() } else { text.to_owned() };
    Got { status: status.parse().unwrap_or(0), json: serde_json::from_str(&text).unwrap_or_default(), text }
}

/// By the Unix socket, as root.
fn local(daemon: &Daemon, path: &str) -> Got {
    let socket = daemon.path("api.sock");
    curl(daemon, &["--unix-socket", socket.to_str().unwrap(), &format!("http://localhost{path}")])
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

#[test]
fn the_section_says_where_and_how_it_listens() {
    let mut web = Web::start(
        "\tlist listen '127.0.0.1:8480'\n\tlist listen '192.0.2.2:8443'\n\tlist hostname 'router.test'\n",
    );
    // A login, too, on this machine; the rest only by TLS.
    assert_eq!(web.curl(&["http://127.0.0.1:8480/api/v1/status"]).status, 401);
    assert_eq!(web.curl(&["-k", "https://192.0.2.2:8443/api/v1/status"]).status, 401);
    assert_eq!(web.curl(&["http://192.0.2.2:8443/api/v1/status"]).status, 0);
    assert_eq!(web.curl(&["-k", "https://192.0.2.2:8443/"]).status, 200);
    let plain = "http://127.0.0.1:8480/";
    assert_eq!(web.curl(&["-H", "Host: router.test:8480", plain]).status, 200);
    let evil = web.curl(&["-H", "Host: evil.example", plain]);
    assert_eq!((evil.status, &evil.json["error"]["code"]), (421, &json!("unknown_host")));

    // Nobody, with nothing.
    let pid = web.pid().unwrap();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let field =
        |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned();
    let user = std::fs::metadata(web.daemon.path("web")).unwrap().uid();
    assert_ne!(user, 0);
    assert_eq!(
        field("Uid:").split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
        vec![user.to_string(); 4]
    );
    assert_eq!(
        (field("CapEff:"), field("CapPrm:"), field("NoNewPrivs:")),
        ("0".repeat(16), "0".repeat(16), "1".into())
    );
    assert_eq!(field("Groups:"), "");

    // The owner's certificate; its key is root's alone. Both are what was made, so that it can be checked.
    for (from, to) in [("web/tls-certificate.pem", "own.pem"), ("web/tls-key.pem", "own.key")] {
        std::fs::copy(web.daemon.path(from), web.daemon.path(to)).unwrap();
    }
    std::fs::set_permissions(web.daemon.path("own.key"), std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::remove_file(web.daemon.path("web/tls-key.pem")).unwrap();
    let file = |name: &str| web.daemon.path(name).to_str().unwrap().to_owned();
    let (own, key) = (file("own.pem"), file("own.key"));
    web.configure(&format!(
        "\tlist listen '127.0.0.1:8481'\n\toption tls 'on'\n\toption certificate '{own}'\n\toption key '{key}'\n"
    ));
    assert_eq!(web.curl(&["--cacert", &own, "https://127.0.0.1:8481/"]).status, 200);
    assert_eq!(web.curl(&["--cacert", &own, "https://localhost:8481/"]).status, 200);
    assert_eq!(web.curl(&[plain]).status, 0, "it does not listen there any more");
    // Off: nobody serves, nothing is left.
    std::fs::write(web.daemon.path("mwan3"), CONFIG).unwrap();
    assert!(web.daemon.mwan(&["reload"]).status.success());
    web.daemon.wait("it ends", is_gone);
    assert!(!web.daemon.log().contains(PASSWORD));
}

fn is_gone(daemon: &Daemon) -> bool {
    pid(daemon).is_none() && !daemon.path("web.sock").exists()
}

#[test]
fn a_link_a_login_and_what_they_allow() {
    let web = Web::start("");
    let base = "http://127.0.0.1:8480/api/v1";
    let url = |path: &str| format!("{base}/{path}");
    let printed = web.mwan_web(&["init"], "");
    assert!(printed.status.success(), "{printed:?}");
    let links = String::from_utf8(printed.stdout).unwrap();
    let link =
        links.lines().find(|line| line.starts_with("http://127.0.0.1:8480/#setup=")).unwrap().to_owned();
    let secret = link.split("#setup=").nth(1).unwrap();
    let accounts = web.daemon.path("web/accounts.json");
    assert_eq!(std::fs::metadata(&accounts).unwrap().permissions().mode() & 0o777, 0o600);
    let set = web.post(&url("setup"), &[], &json!({ "token": secret, "password": PASSWORD }));
    assert_eq!((set.status, &set.json["user"]), (200, &json!("admin")), "{set:?}");
    assert_eq!(
        web.post(&url("setup"), &[], &json!({ "token": secret, "password": "another one" })).status,
        403
    );

    let jar = web.daemon.path("jar");
    let login = json!({ "user": "admin", "password": PASSWORD }).to_string();
    let got = web.curl(&["-c", jar.to_str().unwrap(), "--json", &login, &url("login")]);
    assert_eq!((got.status, &got.json["role"]), (200, &json!("admin")), "{got:?}");
    let csrf = format!("X-CSRF-Token: {}", got.json["csrf"].as_str().unwrap());
    let cookie = ["-b", jar.to_str().unwrap()];
    let with = |more: &[&str]| -> Got { web.curl(&[&cookie[..], more].concat()) };
    assert_eq!(with(&[&url("status")]).json["schema"], "mwan.status.v1");
    assert_eq!(with(&["-X", "POST", &url("interfaces/wan/down")]).json["error"]["code"], "csrf");
    assert_eq!(carrier(&web.daemon), "wan");
    assert_eq!(with(&["-X", "POST", "-H", &csrf, &url("interfaces/wan/down")]).status, 204);
    assert_eq!(carrier(&web.daemon), "wanb", "it has been done when the answer comes");
    assert_eq!(with(&["-X", "POST", "-H", &csrf, &url("interfaces/wan/up")]).status, 204);
    assert_eq!(with(&["-X", "POST", "-H", &csrf, &url("interfaces/none/up")]).status, 404);
    let events = with(&[&url("events?kind=command&limit=1")]);
    assert!(events.json["events"][0]["text"].as_str().unwrap().contains("wan"), "{events:?}");
    let plan = json!({ "file": "mwan3", "text": CONFIG.replace("failover", "other") }).to_string();
    let planned = with(&["-H", &csrf, "--json", &plan, &url("config/plan")]);
    assert_eq!((planned.status, &planned.json["schema"]), (200, &json!("mwan.plan.v1")), "{planned:?}");
    assert_eq!(with(&["-X", "POST", "-H", &csrf, &url("logout")]).status, 204);
    assert_eq!(with(&[&url("session")]).status, 401, "the cookie is replayed");

    // Users and tokens by the command line.
    assert_eq!(web.mwan_web(&["user", "add", "bob"], "short\n").status.code(), Some(1));
    assert!(web.mwan_web(&["user", "add", "bob", "--role", "operator"], "long enough\n").status.success());
    let bob = web.post(&url("login"), &[], &json!({ "user": "bob", "password": "long enough" }));
    assert_eq!((bob.status, &bob.json["role"]), (200, &json!("operator")));
    let token = web.token("reader", "viewer");
    assert_eq!(web.curl(&["-H", &bearer(&token), &url("rules")]).json["schema"], "mwan.rules.v1");
    assert_eq!(web.post(&url("interfaces/wan/up"), &[bearer(&token)], &json!({})).status, 403);
    let listed = |what| String::from_utf8(web.mwan_web(&[what, "list"], "").stdout).unwrap();
    assert_eq!(
        (listed("user"), listed("token")),
        ("admin admin\nbob operator\n".into(), "reader viewer\n".into())
    );
    assert!(web.mwan_web(&["token", "remove", "reader"], "").status.success());
    assert_eq!(web.curl(&["-H", &bearer(&token), &url("rules")]).status, 401);
    let gone = web.mwan_web(&["token", "remove", "reader"], "");
    assert!(String::from_utf8_lossy(&gone.stderr).contains("hint: `mwan web token list`"), "{gone:?}");
    for secret in [PASSWORD, "long enough", secret, &token] {
        assert!(
            !web.daemon.log().contains(secret)
                && !std::fs::read_to_string(&accounts).unwrap().contains(secret)
        );
    }
}

#[test]
fn members_of_the_group_are_operators_at_the_socket() {
    let web = Web::start(&format!("\toption group '{}'\n", GROUP.0));
    let socket = web.daemon.path("api.sock");
    let meta = std::fs::metadata(&socket).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.permissions().mode() & 0o777), (0, GROUP.1, 0o660));
    let ask = |group: u32, path: &str, body: &str| {
        let mut command = enter(&web.daemon.pid().to_string());
        command.args([
            "setpriv",
            "--reuid",
            "65534",
            "--regid",
            &group.to_string(),
            "--clear-groups",
            "curl",
            "-sS",
        ]);
        command.args(["-o", "/dev/null", "-w", "%{http_code}", "--json", body, "--unix-socket"]).arg(&socket);
        let output = command.arg(format!("http://localhost/api/v1/{path}")).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(ask(GROUP.1, "interfaces/wan/drain", "{}"), "204");
    assert_eq!(ask(GROUP.1, "interfaces/wan/undrain", "{}"), "204");
    assert_eq!(ask(GROUP.1, "config/plan", "{\"file\":\"mwan3\",\"text\":\"\"}"), "403");
    assert_eq!(ask(65534, "interfaces/wan/drain", "{}"), "000", "others do not get in");
    assert_eq!(local(&web.daemon, "/api/v1/session").json["role"], "admin");
}

#[test]
fn flows_are_told_by_wan_and_without_accounting_bytes_are_not() {
    let web = Web::start("");
    let insert = "for n in $(seq 1 20); do conntrack -I -p udp -s 10.9.0.$n -d 198.51.100.9 --sport 7 --dport 8 -t 600 -m 0x100; done; \
        conntrack -I -p tcp -s 10.9.0.1 -d 203.0.113.9 --sport 9 --dport 443 --state ESTABLISHED -t 600 -m 0x200; \
        conntrack -I -p udp -s 10.9.0.1 -d 203.0.113.9 --sport 9 --dport 53 -t 600";
    web.daemon.inside(&["sh", "-c", &format!("sysctl -qw net.netfilter.nf_conntrack_acct=0; {insert}")]);
    let flows = local(&web.daemon, "/api/v1/flows?limit=5");
    let count = |n: usize| {
        (flows.json["by_interface"][n]["interface"].clone(), flows.json["by_interface"][n]["flows"].as_u64())
    };
    assert_eq!(count(0), (json!("wan"), Some(20)), "{flows:?}");
    assert_eq!(count(1), (json!("wanb"), Some(1)));
    assert!(flows.json["total"].as_u64().unwrap() >= 22);
    assert_eq!(flows.json["top"].as_array().unwrap().len(), 5);
    assert_eq!(
        (&flows.json["counted"], &flows.json["by_interface"][0]["bytes"]),
        (&json!(false), &Value::Null)
    );

    // With accounting, of connections that begin afterwards: a real one over the loopback device.
    web.daemon.inside(&["sysctl", "-qw", "net.netfilter.nf_conntrack_acct=1"]);
    web.daemon.inside(&["ping", "-c", "3", "-i", "0.2", "-s", "1000", "127.0.0.1"]);
    // Older than what is kept for a moment.
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let flows = local(&web.daemon, "/api/v1/flows?limit=1000");
        let ping = flows.json["top"].as_array().unwrap().iter().find(|flow| flow["proto"] == "icmp").cloned();
        if let Some(ping) = ping.filter(|flow| flow["bytes"].as_u64().is_some_and(|bytes| bytes >= 6000)) {
            assert_eq!((&ping["packets"], &ping["interface"]), (&json!(6), &json!("default")), "{ping}");
            assert_eq!(flows.json["counted"], true);
            break;
        }
        assert!(Instant::now() < deadline, "{flows:?}");
    }
}

/// Where scripts/setup-debian puts Debian's Prometheus.
fn prometheus(name: &str) -> PathBuf {
    let own = PathBuf::from("/usr/local/lib/mwan-tests").join(name);
    if own.exists() { own } else { name.into() }
}

#[test]
fn debians_prometheus_reads_the_metrics() {
    let web = Web::start("");
    let token = web.token("prometheus", "viewer");
    let metrics =
        |accept: &str| web.curl(&["-H", &bearer(&token), "-H", accept, "http://127.0.0.1:8480/metrics"]);
    assert_eq!(web.curl(&["http://127.0.0.1:8480/metrics"]).status, 401);
    // promtool knows the older format alone.
    let text = metrics("Accept: text/plain").text;
    let mut check = Command::new(prometheus("promtool"));
    let check =
        check.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut check = check.spawn().expect("promtool is installed by scripts/setup-debian");
    check.stdin.take().unwrap().write_all(format!("{text}\n").as_bytes()).unwrap();
    let checked = check.wait_with_output().unwrap();
    assert!(
        checked.status.success() && checked.stderr.is_empty(),
        "{}\n{text}",
        String::from_utf8_lossy(&checked.stderr)
    );
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/../../package/prometheus/mwan-alerts.yml");
    let checked = Command::new(prometheus("promtool")).args(["check", "rules", rules]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let cases = concat!(env!("CARGO_MANIFEST_DIR"), "/../web/tests/mwan-alerts.test.yml");
    let tried = Command::new(prometheus("promtool")).args(["test", "rules", cases]).output().unwrap();
    assert!(tried.status.success(), "{}", String::from_utf8_lossy(&tried.stdout));

    // The real one, which asks for OpenMetrics.
    assert!(
        metrics("Accept: application/openmetrics-text; version=1.0.0").text.trim_end().ends_with("# EOF")
    );
    std::fs::write(web.daemon.path("token"), &token).unwrap();
    let file = |name: &str| web.daemon.path(name).to_str().unwrap().to_owned();
    let scrape = format!(
        "global: {{ scrape_interval: 1s }}\nrule_files: [\"{rules}\"]\nscrape_configs:\n  - job_name: mwan\n    authorization: {{ credentials_file: {} }}\n    \
         static_configs: [{{ targets: [\"127.0.0.1:8480\"] }}]\n",
        file("token")
    );
    std::fs::write(web.daemon.path("prometheus.yml"), scrape).unwrap();
    let mut server = enter(&web.daemon.pid().to_string());
    server.arg(prometheus("prometheus")).arg(format!("--config.file={}", file("prometheus.yml")));
    server.arg(format!("--storage.tsdb.path={}", file("tsdb"))).arg("--web.listen-address=127.0.0.1:9099");
    let log = std::fs::File::create(web.daemon.path("prometheus.log")).unwrap();
    let mut server = server.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let query = |text: &str| {
        web.curl(&["-G", "--data-urlencode", &format!("query={text}"), "http://127.0.0.1:9099/api/v1/query"])
            .json
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    let value = |text: &str| query(text)["data"]["result"][0]["value"][1].as_str().map(str::to_owned);
    while value("mwan_up").is_none() {
        let log = std::fs::read_to_string(web.daemon.path("prometheus.log")).unwrap_or_default();
        assert!(server.try_wait().unwrap().is_none() && Instant::now() < deadline, "{log}");
        std::thread::sleep(Duration::from_millis(100));
    }
    let series = [
        ("up{job=\"mwan\"}", "1"),
        ("mwan_path_usable{interface=\"wan\",family=\"ipv4\"}", "1"),
        ("mwan_path_state{interface=\"wan\",mwan_path_state=\"online\"}", "1"),
        ("mwan_policy_share_ratio{policy=\"failover\",interface=\"wan\"}", "1"),
        ("count(mwan_build_info)", "1"),
        ("sum(mwan_rule_flows_total{rule=\"all\"}) >= bool 0", "1"),
    ];
    for (text, expected) in series {
        assert_eq!(value(text).as_deref(), Some(expected), "{text}: {}", query(text));
    }
    let log = std::fs::read_to_string(web.daemon.path("prometheus.log")).unwrap();
    assert!(!log.contains("level=error") && !log.contains("Append failed"), "{log}");
    server.kill().unwrap();
    server.wait().unwrap();
}

/// How long it took from the order to cut a link until the daemon noted that another WAN carries, milliseconds.
fn fail_over(web: &mut Web) -> i128 {
    // The kernel tells of links once a second (linkwatch_schedule_work in net/core/link_watch.c): not of this one late.
    std::thread::sleep(Duration::from_millis(1500));
    let now = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let start = now();
    web.daemon.inside(&["ip", "link", "set", "isp0", "down"]);
    web.daemon.wait("the other WAN carries", |d| carrier(d) == "wanb");
    let events = web.daemon.json(&["events", "--json"]);
    let switched = events["events"].as_array().unwrap().iter().filter(|event| event["to"] == "wanb");
    let switched = switched.max_by_key(|event| event["id"].as_u64()).unwrap();
    i128::from(switched["time_ms"].as_u64().unwrap()) - i128::try_from(start).unwrap()
}

fn carrier(daemon: &Daemon) -> Value {
    daemon.status()["policies"][0]["ipv4"]["members"][0]["interface"].clone()
}

#[test]
fn a_hostile_crowd_changes_nothing() {
    let mut web = Web::start("\tlist listen '0.0.0.0:8480'\n\tlist listen '127.0.0.1:8481'\n");
    let pid = web.pid().unwrap();
    let before = fail_over(&mut web);
    web.daemon.inside(&["ip", "link", "set", "isp0", "up"]);
    web.daemon.wait("the first one carries again", |d| carrier(d) == "wan");
    // A thousand connections that say nothing, half a head, or half a handshake; from another process, in the namespace.
    let script = "import socket,sys,time\n\
        kept=[]\n\
        for n in range(1000):\n\
        \x20s=socket.socket(); s.settimeout(5)\n\
        \x20try:\n\
        \x20\x20s.connect(('127.0.0.1', 8481 if n%2 else 8480))\n\
        \x20\x20s.send([b'', b'GET / HTTP/1.1\\r\\nHost: loc', b'\\x16\\x03\\x01\\x02\\x00', b'POST /api/v1/login HTTP/1.1\\r\\nHost: localhost\\r\\nContent-Type: application/json\\r\\nContent-Length: 4000\\r\\n\\r\\n{'][n%4])\n\
        \x20except OSError: pass\n\
        \x20kept.append(s)\n\
        print('ready', flush=True)\n\
        sys.stdin.read()\n";
    let mut crowd = enter(&web.daemon.pid().to_string());
    let mut crowd =
        crowd.args(["python3", "-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = [0; 5];
    crowd.stdout.as_mut().unwrap().read_exact(&mut ready).unwrap();
    let late_rounds = |web: &Web| web.daemon.status()["daemon"]["late_rounds"].as_u64().unwrap();
    let late = late_rounds(&web);
    let during = fail_over(&mut web);
    println!("another WAN carries after {before} ms, in the crowd after {during} ms");
    // The tick of the second pass over dead flows may be late on a machine that stalls.
    assert!(late_rounds(&web) <= late + 1);
    // Who means it is served all the same, from the crowd's own address, and from here.
    assert_eq!(web.curl(&["http://127.0.0.1:8481/"]).status, 200);
    assert_eq!(local(&web.daemon, "/api/v1/status").status, 200);
    assert_eq!(web.pid(), Some(pid), "it was not even the server that died of it");
    let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    assert!(open < 300, "{open} open files");
    drop(crowd.stdin.take());
    crowd.wait().unwrap();
}

#[test]
fn the_server_dies_and_comes_back_while_packets_flow() {
    let mut web = Web::start("");
    // The far end of the first WAN in a namespace of its own, so that packets really leave by it.
    let far = "ip netns add far 2>/dev/null; ip link set isp0 netns far && ip -n far address add 192.0.2.1/24 dev isp0 && ip -n far link set isp0 up";
    let unshared = format!(
        "mount -t tmpfs tmpfs /run/netns 2>/dev/null || {{ mkdir -p /run/netns; mount -t tmpfs tmpfs /run/netns; }}; {far}; \
        ping -q -i 0.02 -c 300 192.0.2.1"
    );
    let daemon = web.daemon.pid();
    web.daemon.wait("it carries", |d| d.status()["interfaces"][0]["paths"][0]["usable"] == true);
    let mut ping = enter(&daemon.to_string());
    let ping = ping.args(["unshare", "-m", "sh", "-c", &unshared]).stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..2 {
        let killed = web.pid().unwrap();
        let kill = Command::new("kill").args(["-9", &killed.to_string()]).status().unwrap();
        assert!(kill.success());
        web.daemon.wait("another one serves", |d| ![None, Some(killed)].contains(&pid(d)));
        web.wait_for_server();
    }
    let output = ping.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("300 packets transmitted, 300 received"), "{text}");
    assert_eq!(web.daemon.pid(), daemon, "the daemon is the one it was");
    assert_eq!(web.daemon.mwan(&["diff"]).status.code(), Some(0), "and so is the data plane");
}

/// As `mwan reload`, but from a browser: whole or not at all, and nobody's change is lost.
#[test]
fn a_configuration_is_put_in_force_over_http() {
    let web = Web::start("");
    let header = bearer(&web.token("editor", "admin"));
    let url = "http://127.0.0.1:8480/api/v1/config";
    let read = web.curl(&["-H", &header, url]);
    assert_eq!((read.status, &read.json["format"]), (200, &json!("uci")), "{read:?}");
    let (text, revision) = (read.json["text"].as_str().unwrap(), read.json["revision"].as_str().unwrap());
    let put = |text: &str, revision: &str| {
        let body = json!({ "text": text }).to_string();
        let revision = format!("If-Match: \"{revision}\"");
        web.curl(&["-X", "PUT", "-H", &header, "-H", &revision, "--json", &body, url])
    };
    let changed = text.replace("config rule 'all'", "config rule 'every'");
    let done = put(&changed, revision);
    assert_eq!(done.status, 200, "{done:?}");
    assert_eq!(web.daemon.status()["rules"][0]["name"], "every", "in force when it is answered");
    let differs = web.curl(&["-H", &header, "http://127.0.0.1:8480/api/v1/diff"]);
    assert_eq!((differs.status, &differs.json["changes"]), (200, &json!([])), "{differs:?}");
    assert_eq!(std::fs::read_to_string(web.daemon.path("mwan3")).unwrap(), changed);
    let lost = put(text, revision);
    assert_eq!((lost.status, &lost.json["error"]["revision"]), (412, &done.json["revision"]));
    let wrong = put(
        &changed.replace("list use_member 'wan_m1'", "list use_member 'nobody'"),
        done.json["revision"].as_str().unwrap(),
    );
    assert_eq!((wrong.status, &wrong.json["error"]["code"]), (422, &json!("invalid")), "{wrong:?}");
    assert!(wrong.json["error"]["diagnostics"].to_string().contains("E0608"), "{wrong:?}");
    assert_eq!(std::fs::read_to_string(web.daemon.path("mwan3")).unwrap(), changed, "nothing was written");
}

/// The change ends the server that was asked for it.
#[test]
fn a_configuration_of_the_server_itself_is_answered() {
    let mut web = Web::start("");
    let header = bearer(&web.token("editor", "admin"));
    let url = "http://127.0.0.1:8480/api/v1/config";
    let heard = web.daemon.path("heard");
    let mut listening = enter(&web.daemon.pid().to_string())
        .args(["curl", "-sN", "-m", "60", "-H", &header, "http://127.0.0.1:8480/api/v1/live"])
        .stdout(std::fs::File::create(&heard).unwrap())
        .spawn()
        .unwrap();
    let listens = |_: &Daemon| std::fs::read_to_string(&heard).unwrap().contains("event: status");
    web.daemon.wait("somebody listens", listens);
    let before = web.pid();
    let read = web.curl(&["-H", &header, url]).json;
    let text = format!("{}\toption session_timeout '600'\n", read["text"].as_str().unwrap());
    let revision = format!("If-Match: {}", read["revision"]);
    let body = json!({ "text": text }).to_string();
    let done = web.curl(&["-X", "PUT", "-H", &header, "-H", &revision, "--json", &body, url]);
    assert_eq!((done.status, &done.json["changed"]), (200, &json!(true)), "{done:?}");
    web.daemon.wait("another web server runs", |d| ![None, before].contains(&pid(d)));
    web.wait_for_server();
    assert!(listening.wait().unwrap().success(), "the event stream was ended, not cut off");
}

/// Not even an admin of the web server: whoever takes that process over is admin, too.
#[test]
fn nobody_becomes_root_by_a_configuration_over_http() {
    let web = Web::start("");
    let header = bearer(&web.token("editor", "admin"));
    let url = "http://127.0.0.1:8480/api/v1/config";
    let post =
        |path: &str, body: &Value| web.post(&format!("{url}{path}"), std::slice::from_ref(&header), body);
    let read = web.curl(&["-H", &header, url]).json;
    let (text, revision) = (read["text"].as_str().unwrap(), read["revision"].as_str().unwrap());
    for (section, what) in [
        ("config globals\n\toption user_script '/tmp/mine'\n", "user_script /tmp/mine"),
        ("config globals\n\tlist dnsmasq_command '/bin/sh'\n", "dnsmasq_command /bin/sh"),
        ("config ipset 'shadow'\n\toption loadfile '/etc/shadow'\n", "loadfile /etc/shadow"),
    ] {
        let text = format!("{text}\n{section}");
        let body = json!({ "file": "/var/ipfire/mwan/settings", "text": text });
        let checked = post("/validate", &body);
        assert_eq!(checked.status, 200, "{checked:?}");
        assert!(checked.json["refusal"].as_str().unwrap().contains(what), "{checked:?}");
        assert!(
            !checked.text.contains("root:"),
            "a line of the file is in what is wrong with it: {checked:?}"
        );
        let planned = post("/plan", &body);
        assert!(planned.status >= 400 && planned.text.contains(what), "{planned:?}");
        let body = json!({ "text": text }).to_string();
        let revision = format!("If-Match: \"{revision}\"");
        let put = web.curl(&["-X", "PUT", "-H", &header, "-H", &revision, "--json", &body, url]);
        assert!(put.status == 422 && put.text.contains(what), "{put:?}");
        let confirmed = format!("{url}?confirm=60");
        let put = web.curl(&["-X", "PUT", "-H", &header, "-H", &revision, "--json", &body, &confirmed]);
        assert!(put.status == 422 && put.text.contains(what), "{put:?}");
    }
    assert_eq!(std::fs::read_to_string(web.daemon.path("mwan3")).unwrap(), text, "nothing was written");
    // What is in force already stays as it may be: root wrote it.
    let granted = format!("{text}\nconfig ipset 'mine'\n\toption loadfile '/etc/hostname'\n");
    std::fs::write(web.daemon.path("mwan3"), &granted).unwrap();
    let _ = web.daemon.mwan(&["reload"]);
    let checked = post("/validate", &json!({ "file": "", "text": granted }));
    assert_eq!(checked.json["refusal"], Value::Null, "{checked:?}");
    // What root has taken out of the file is not gone back to by others.
    std::fs::write(web.daemon.path("mwan3"), text).unwrap();
    let _ = web.daemon.mwan(&["reload"]);
    let with_set = |d: &Daemon| {
        let list = local(d, "/api/v1/config/revisions").json["revisions"].clone();
        let numbers = list.as_array()?.iter().filter_map(|one| one["number"].as_u64());
        let text = |n: &u64| local(d, &format!("/api/v1/config/revisions/{n}")).json["text"].clone();
        numbers.into_iter().find(|n| text(n) == granted.as_str())
    };
    until(|| with_set(&web.daemon).is_some());
    let back = post("/rollback", &json!({ "number": with_set(&web.daemon) }));
    assert!(back.status == 422 && back.text.contains("loadfile /etc/hostname"), "{back:?}");
    assert_eq!(std::fs::read_to_string(web.daemon.path("mwan3")).unwrap(), text);
}

#[test]
fn what_nobody_confirms_over_http_comes_back_by_itself() {
    let web = Web::start("");
    let header = bearer(&web.token("editor", "admin"));
    let viewer = bearer(&web.token("reader", "operator"));
    let url = "http://127.0.0.1:8480/api/v1/config";
    let get = |path: &str| web.curl(&["-H", &header, &format!("{url}{path}")]).json;
    let post =
        |path: &str, body: &Value| web.post(&format!("{url}{path}"), std::slice::from_ref(&header), body);
    let put = |query: &str, text: &str, must_reach: &[&str]| {
        let revision = format!("If-Match: {}", get("")["revision"]);
        let body = json!({ "text": text, "must_reach": must_reach }).to_string();
        let to = format!("{url}{query}");
        web.curl(&["-X", "PUT", "-H", &header, "-H", &revision, "--json", &body, &to])
    };
    let before = get("")["text"].as_str().unwrap().to_owned();
    let other = format!("{before}# another\n");
    let file = web.daemon.path("mwan3");
    let is = |text: &str| std::fs::read_to_string(&file).unwrap() == text;
    // Nobody says anything.
    let done = put("?confirm=1", &other, &[]);
    assert_eq!((done.status, &done.json["confirm_s"]), (200, &json!(1)), "{done:?}");
    until(|| is(&before));
    until(|| get("/revisions")["revisions"][0]["way"] == "taken_back");
    let list = get("/revisions");
    let ours = &list["revisions"][1];
    assert_eq!((&ours["way"], &ours["taken_back"]), (&json!("put"), &json!(true)), "{list}");
    assert_eq!(ours["by"], "token editor (web)");
    let one = get(&format!("/revisions/{}", ours["number"]));
    assert_eq!((&one["text"], &one["before"][1]), (&json!(other), &json!(before)));
    let late = post("/confirm", &json!({}));
    assert_eq!((late.status, &late.json["error"]["code"]), (409, &json!("refused")), "{late:?}");
    assert!(late.text.contains("nobody confirmed it"), "{late:?}");
    // Somebody says no, somebody yes; and nothing else is written meanwhile.
    assert_eq!(put("?confirm=600", &other, &[]).status, 200);
    assert_eq!(get("/revisions")["waiting"]["by"], "token editor (web)");
    assert_eq!(put("", &before, &[]).status, 422);
    for path in ["confirm", "takeback", "rollback"] {
        let to = format!("{url}/{path}");
        let refused = web.post(&to, std::slice::from_ref(&viewer), &json!({ "number": 1 }));
        assert_eq!(refused.status, 403, "{refused:?}");
    }
    assert_eq!(post("/takeback", &json!({})).status, 204);
    assert!(is(&before));
    assert_eq!(put("?confirm=600", &other, &[]).status, 200);
    assert_eq!(post("/confirm", &json!({})).status, 204);
    assert!(is(&other) && get("/revisions")["waiting"].is_null());
    // What has to be reached: an address of this machine, and one that is nobody's.
    let missed = put("", &before, &["127.0.0.1", "203.0.113.99"]);
    assert_eq!((missed.status, &missed.json["error"]["code"]), (422, &json!("not_reached")), "{missed:?}");
    assert!(is(&other));
    assert_eq!(put("", &before, &["127.0.0.1"]).status, 200);
    assert!(is(&before));
    until(|| get("/revisions")["revisions"][0]["way"] == "put");
    let back = post("/rollback", &json!({ "number": ours["number"], "confirm": 60 }));
    assert_eq!((back.status, &back.json["confirm_s"]), (200, &json!(60)), "{back:?}");
    assert!(is(&other));
    assert_eq!(post("/confirm", &json!({})).status, 204);
    until(|| get("/revisions")["revisions"][0]["way"] == "rollback");
}

/// Waits for something; the daemon is borrowed meanwhile.
fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Clock ticks a process has used.
fn ticks(pid: u64) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    // utime and stime, fields 14 and 15 of proc(5).
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

/// Figures, with `--nocapture`; the limits are those of a release build on a quiet machine.
#[test]
fn sixty_interfaces_are_scraped_and_fifty_browsers_listen() {
    let web = Web::start("");
    let header = bearer(&web.token("figures", "viewer"));
    web.daemon.inside(&["sh", "-c", "for n in $(seq 58); do ip link add dm$n type veth peer name fm$n && ip link set fm$n up && ip address add 10.$n.0.2/24 dev dm$n && ip link set dm$n up; done"]);
    let interfaces: String = (1..=58)
        .map(|n| format!("config interface 'w{n}'\n\toption enabled '1'\n\toption device 'dm{n}'\n\toption gateway '10.{n}.0.1'\n\tlist track_ip '10.{n}.0.9'\n\
            config member 'w{n}_m'\n\toption interface 'w{n}'\nconfig policy 'p{n}'\n\tlist use_member 'w{n}_m'\n"))
        .collect();
    std::fs::write(web.daemon.path("mwan3"), format!("{}\n{interfaces}", config(""))).unwrap();
    assert!(web.daemon.mwan(&["reload"]).status.success());
    assert_eq!(web.daemon.status()["interfaces"].as_array().unwrap().len(), 60);
    let (mut times, mut again_times): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let got = web.curl(&[
            "-H",
            &header,
            "-w",
            "\n%{time_total}\n%{http_code}",
            "http://127.0.0.1:8480/metrics",
        ]);
        let (text, time) = got.text.trim_end().rsplit_once('\n').unwrap();
        assert_eq!(got.status, 200);
        assert_eq!(text.lines().filter(|line| line.starts_with("mwan_path_usable{")).count(), 60);
        times.push(time.parse().unwrap());
        let again = web.curl(&[
            "-H",
            &header,
            "-o",
            "/dev/null",
            "-w",
            "\n%{time_total}\n%{http_code}",
            "http://127.0.0.1:8480/metrics",
        ]);
        again_times.push(again.text.trim_end().rsplit_once('\n').unwrap().1.parse().unwrap());
        // The next one is no answer from memory.
        std::thread::sleep(Duration::from_millis(250));
    }
    times.sort_by(f64::total_cmp);
    again_times.sort_by(f64::total_cmp);
    println!(
        "scrape of 60 interfaces: median {:.1} ms, longest {:.1} ms; with a status of a moment ago {:.1} ms",
        times[10] * 1e3,
        times[19] * 1e3,
        again_times[10] * 1e3
    );

    let mut browsers: Vec<_> = (0..50)
        .map(|_| {
            let mut curl = enter(&web.daemon.pid().to_string());
            curl.args(["curl", "-sN", "-H", &header, "http://127.0.0.1:8480/api/v1/live"]);
            curl.stdout(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for browser in &mut browsers {
        let mut first = [0; 1];
        browser.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    }
    let clients = || web.curl(&["-H", &header, "http://127.0.0.1:8480/metrics"]).text;
    assert!(clients().contains("\nmwan_web_event_clients 50\n"));
    let (server, daemon) = (u64::from(web.pid().unwrap()), web.daemon.pid());
    let drain = |seconds: u64, browsers: &mut Vec<std::process::Child>| {
        // They read, as browsers do.
        let until = Instant::now() + Duration::from_secs(seconds);
        while Instant::now() < until {
            for browser in browsers.iter_mut() {
                let mut buffer = [0; 64 * 1024];
                let _ = browser.stdout.as_mut().unwrap().read(&mut buffer).unwrap();
            }
        }
    };
    let before = (ticks(server), ticks(daemon));
    drain(5, &mut browsers);
    let used = (ticks(server) - before.0, ticks(daemon) - before.1);
    let memory = |pid: u64| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        status
            .lines()
            .find(|line| line.starts_with("RssAnon"))
            .unwrap()
            .split_whitespace()
            .nth(1)
            .unwrap()
            .to_owned()
    };
    println!(
        "50 browsers, 60 interfaces: {:.1} % of a core in the web server, {:.1} % in the daemon; {} KiB and {} KiB of memory of their own",
        used.0 as f64 / 5.0,
        used.1 as f64 / 5.0,
        memory(server),
        memory(daemon)
    );
    for mut browser in browsers {
        browser.kill().unwrap();
        browser.wait().unwrap();
    }
    assert!(clients().contains("mwan_web_event_clients_dropped_total 0\n"), "none was too slow");
}
