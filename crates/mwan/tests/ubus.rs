//! The real daemon on an OpenWrt made of a ubusd with a netifd in it, with a real network around it.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod bus;
mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

use bus::{Bus, Client};
use common::{Daemon, MWAN, unshare};
use mwan_ubus::{Table, Value};

const CONFIG: &str = "
config interface 'wan'
	option enabled '1'
	list family 'ipv4'
	list family 'ipv6'
	list track_ip '192.0.2.1'
	list track_ip '2001:db8::1'
	option interval '0.2'
	option timeout '0.2'
	option up '1'
	option down '2'

config member 'wan_m1_w1'
	option interface 'wan'

config policy 'only'
	list use_member 'wan_m1_w1'

config rule 'https'
	option proto 'tcp'
	option dest_port '443'
	option use_policy 'only'

config rule 'guests'
	option src_iface 'guest'
	option use_policy 'only'
";

/// A WAN with an ISP in a namespace of its own behind it.
const NETWORK: &str = r#"
setpriv --pdeathsig KILL unshare -n sh -c '
    until ip link show isp0 >/dev/null 2>&1; do sleep 0.02; done
    ip address add 192.0.2.1/24 dev isp0; ip address add 2001:db8::1/64 dev isp0 nodad; ip link set isp0 up
    exec sleep 1000000' &
own=$(readlink /proc/$$/ns/net)
until [ "$(readlink /proc/$!/ns/net)" != "$own" ]; do sleep 0.02; done
set -e
ip link add wan0 type veth peer name isp0
ip link set isp0 netns $!
ip link add guest0 type veth peer name guest1
ip address add 192.0.2.2/24 dev wan0; ip address add 2001:db8::2/64 dev wan0 nodad; ip link set wan0 up
set +e"#;

impl Daemon {
    /// `prepare` makes what is there before the daemon.
    fn start<T>(prepare: impl FnOnce(&std::path::Path) -> T) -> (Self, T) {
        let dir = tempfile::tempdir().unwrap();
        let prepared = prepare(dir.path());
        std::fs::write(dir.path().join("mwan3"), CONFIG).unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let (socket, network) = (dir.path().join("ubus.sock"), dir.path().join("network"));
        let daemon = Daemon::spawn(dir, NETWORK, log, |command| {
            command.args(["--platform", "openwrt"]);
            command.env("MWAN_UBUS_SOCKET", socket).env("MWAN_NETWORK_CONFIG", network);
        });
        (daemon, prepared)
    }

    fn on_bus(dump: Table) -> (Self, Bus) {
        let (mut daemon, bus) = Daemon::start(|dir| Bus::start(&dir.join("ubus.sock"), dump));
        daemon.wait("it listens", |_| bus.has_subscriber());
        (daemon, bus)
    }

    /// A path of wan: 0 is IPv4.
    fn wan(&self, path: usize) -> serde_json::Value {
        self.status()["interfaces"][0]["paths"][path].clone()
    }
}

fn tables(all: Vec<Table>) -> Value {
    all.into_iter().map(Value::Table).collect::<Vec<_>>().into()
}

fn down(name: &str) -> Table {
    Table::new().with("interface", name).with("up", false).with("proto", "dhcp").with("device", "wan0")
}

fn up(name: &str, device: &str, gateway: &str) -> Table {
    let target = if gateway.contains(':') { "::" } else { "0.0.0.0" };
    let route = Table::new().with("target", target).with("mask", 0).with("nexthop", gateway);
    Table::new()
        .with("interface", name)
        .with("up", true)
        .with("l3_device", device)
        .with("proto", "dhcp")
        .with("device", device)
        .with("metric", 10)
        .with("route", tables(vec![route]))
        .with("dns-server", vec![Value::from("192.0.2.53")])
}

fn dump(interfaces: Vec<Table>) -> Table {
    Table::new().with("interface", tables(interfaces))
}

fn online() -> Table {
    dump(vec![up("wan", "wan0", "192.0.2.1")])
}

#[test]
fn an_interface_that_netifd_brings_up_carries_and_its_child_does_for_ipv6() {
    let (mut daemon, bus) = Daemon::on_bus(dump(vec![down("wan")]));
    daemon.wait("netifd is heard", |d| d.wan(0)["reason"]["code"] == "interface_down");
    assert!(daemon.wan(0)["reason"]["text"].as_str().unwrap().contains("wan is down"));

    bus.netif(online(), "interface.update");
    daemon.wait("online", |d| d.wan(0)["status"] == "online" && d.wan(0)["reason"]["code"] == "answering");
    let wan = daemon.wan(0);
    assert_eq!((&wan["gateway"], &wan["source"]), (&"192.0.2.1".into(), &"192.0.2.2".into()));
    assert_eq!(wan["network"]["dns"], serde_json::json!(["192.0.2.53"]));
    assert_eq!(daemon.status()["interfaces"][0]["device"], "wan0");
    assert!(daemon.inside(&["ip", "route", "show", "table", "1"]).contains("default via 192.0.2.1 dev wan0"));
    assert_eq!(daemon.wan(1)["reason"]["code"], "no_gateway", "of IPv6 netifd knows nothing yet");

    let child = up("wan_6", "wan0", "2001:db8::1").with("dynamic", true);
    bus.netif(dump(vec![up("wan", "wan0", "192.0.2.1"), child]), "interface.update");
    daemon.wait("IPv6 too", |d| d.wan(1)["reason"]["code"] == "answering");
    assert_eq!(
        (&daemon.wan(1)["network"]["name"], &daemon.wan(0)["network"]["name"]),
        (&"wan_6".into(), &"wan".into())
    );

    // A rule waits for an interface that is no WAN, and its name is not its device's.
    let rules = |d: &Daemon| d.inside(&["nft", "list", "table", "inet", "mwan"]);
    assert!(!rules(&daemon).contains("guest0"));
    let guest = Table::new().with("interface", "guest").with("up", true).with("l3_device", "guest0");
    bus.netif(dump(vec![up("wan", "wan0", "192.0.2.1"), guest]), "interface.update");
    daemon.wait("the rule for guests", |d| rules(d).contains("guest0"));

    bus.netif(dump(vec![down("wan")]), "interface.down");
    daemon.wait("down", |d| d.wan(0)["reason"]["code"] == "interface_down" && d.wan(0)["usable"] == false);
    assert_eq!(daemon.status()["interfaces"][0]["device"], "wan0", "it keeps its device");
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
}

#[test]
fn ubusd_may_go_and_come_and_nothing_healthy_notices() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    let answering = |d: &Daemon| d.wan(0)["reason"]["code"] == "answering";
    daemon.wait("online", answering);
    let objects = ["mwan", "mwan3", "mwan4"];
    daemon.wait("published", |_| bus.objects() == objects);
    let applies = daemon.status()["daemon"]["applies"].clone();
    drop(bus);
    daemon.wait("it is told", |d| d.log().contains("ubusd is gone"));
    assert!(answering(&daemon));
    let socket = daemon.path("ubus.sock");
    let bus = Bus::start(&socket, online());
    daemon.wait("published again", |_| bus.objects() == objects && bus.has_subscriber() && bus.dumps() > 0);
    assert!(Client::connect(&socket).call("mwan3", "status", Table::new()).is_ok());
    assert!(answering(&daemon));
    assert_eq!(daemon.status()["daemon"]["applies"], applies, "nothing was touched");
    bus.netif(dump(vec![down("wan")]), "interface.down");
    daemon.wait("it hears again", |d| d.wan(0)["reason"]["code"] == "interface_down");
}

#[test]
fn a_daemon_that_was_killed_takes_over_without_touching_anything() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    daemon.wait("online", |d| d.wan(0)["reason"]["code"] == "answering");
    daemon.wait("settled", |d| d.mwan(&["diff"]).status.code() == Some(0));
    // Where netifd does not answer in time, its configuration says the same.
    std::fs::write(
        daemon.path("network"),
        "config interface 'wan'\n\toption device 'wan0'\n\toption gateway '192.0.2.1'\n",
    )
    .unwrap();
    daemon.restart();
    assert_eq!(daemon.status()["daemon"]["applies"], 0, "{}", daemon.log());
    assert_eq!(daemon.wan(0)["usable"], true);
    daemon.wait("published by the new one", |_| bus.objects() == ["mwan", "mwan3", "mwan4"]);
    // And the same while ubusd is not there: its devices come from netifd's configuration, gateways from the kernel.
    drop(bus);
    daemon.restart();
    assert_eq!(daemon.status()["daemon"]["applies"], 0, "{}", daemon.log());
    assert_eq!(daemon.wan(0)["usable"], true);
}

/// Keys of tables, recursively, of lists by their first item: what a page or a collector relies on.
fn keys(value: &serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), keys(v))).collect(),
        serde_json::Value::Array(items) => items.iter().take(1).map(keys).collect(),
        serde_json::Value::String(_) => "text".into(),
        serde_json::Value::Number(_) => "number".into(),
        other => other.to_string().replace("true", "bool").replace("false", "bool").into(),
    }
}

fn json(value: &Value) -> serde_json::Value {
    match value {
        Value::Array(items) => items.iter().map(json).collect(),
        Value::Table(table) => table.0.iter().map(|(k, v)| (k.clone(), json(v))).collect(),
        Value::Text(_) => value.as_str().unwrap().into(),
        Value::Int8(_) => value.as_bool().unwrap().into(),
        _ => value.as_i64().unwrap().into(),
    }
}

#[test]
fn callers_get_what_mwan3_would_have_told_them() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    daemon.wait("online", |d| d.wan(0)["reason"]["code"] == "answering");
    daemon.wait("published", |_| bus.has_method("mwan3", "status") && bus.has_method("mwan4", "status"));
    let mut client = Client::connect(&daemon.path("ubus.sock"));
    let sample: serde_json::Value =
        serde_json::from_str(include_str!("../../ubus/tests/wire/mwan3-status.json")).unwrap();
    let mut call =
        |object: &str, arguments: Table| client.call(object, "status", arguments).map(Value::Table);
    let all = json(&call("mwan3", Table::new()).unwrap());
    assert_eq!(keys(&all["interfaces"]["wan"]), keys(&sample["interfaces"]["wan"]));
    assert_eq!(keys(&all["policies"]["ipv4"]["only"]), keys(&sample["policies"]["ipv4"]["wan_only"]));
    assert_eq!(keys(&all["connected"]), keys(&sample["connected"]));
    let top = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(top(&all), top(&sample));
    let wan = &all["interfaces"]["wan"];
    for (field, expected) in [("status", "online"), ("tracking", "active")] {
        assert_eq!(wan[field], expected);
    }
    assert_eq!((&wan["score"], &wan["running"], &wan["offline"]), (&3.into(), &true.into(), &0.into()));
    assert!(wan["uptime"].as_u64() >= wan["online"].as_u64() && wan["turn"].as_u64() > Some(0), "{wan}");
    assert_eq!(all["policies"]["ipv4"]["only"], serde_json::json!([{ "interface": "wan", "percent": 100 }]));
    assert!(all["connected"]["ipv4"].as_array().unwrap().contains(&"192.0.2.0/24".into()));

    let one = Table::new().with("section", "interfaces").with("interface", "wan");
    assert_eq!(top(&json(&call("mwan", one).unwrap())), ["interfaces"]);
    let strategies = json(&call("mwan4", Table::new()).unwrap());
    assert!(strategies["strategies"]["ipv4"]["only"].is_array() && strategies.get("policies").is_none());
    let unknown = Table::new().with("section", "interfaces").with("interface", "none");
    assert_eq!(json(&call("mwan3", unknown).unwrap()), serde_json::json!({ "interfaces": {} }));
    assert_eq!(top(&json(&call("mwan3", Table::new().with("section", "none")).unwrap())), top(&sample));
    assert_eq!(call("mwan3", Table::new().with("section", 5)), Err(2), "invalid argument");
    assert_eq!(client.call("mwan3", "nope", Table::new()), Err(3), "method not found");
    assert_eq!(client.call("mwan5", "status", Table::new()), Err(4), "not found");
}

/// A script that reads the answer sees what `check_quality` sees, and zeros without it.
#[test]
fn latency_and_loss_are_those_that_decide() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    daemon.wait("published", |_| bus.has_method("mwan3", "status"));
    let silent = "\tlist track_ip '192.0.2.99'\n\toption interval";
    let figures = |d: &Daemon| {
        let mut client = Client::connect(&d.path("ubus.sock"));
        let answer = json(&client.call("mwan3", "status", Table::new()).map(Value::Table).unwrap());
        let targets = answer["interfaces"]["wan"]["track_ip"].as_array().unwrap().clone();
        let figure = |ip: &str| {
            let target = targets.iter().find(|t| t["ip"] == ip)?;
            Some((target["status"].clone(), target["latency"].as_u64()?, target["packetloss"].as_u64()?))
        };
        (figure("192.0.2.1"), figure("192.0.2.99"))
    };
    let config = CONFIG.replace("\toption interval", silent);
    std::fs::write(daemon.path("mwan3"), &config).unwrap();
    assert!(daemon.mwan(&["reload"]).status.success());
    let without = (Some(("up".into(), 0, 0)), Some(("down".into(), 0, 0)));
    daemon.wait("both are known", |d| figures(d) == without);

    let quality = "\toption check_quality '1'\n\toption interval";
    std::fs::write(daemon.path("mwan3"), config.replace("\toption interval", quality)).unwrap();
    assert!(daemon.mwan(&["reload"]).status.success());
    daemon.wait("they are judged", |d| {
        let (near, silent) = figures(d);
        silent == Some(("down".into(), 999_999, 100))
            && near.is_some_and(|(s, _, loss)| s == "up" && loss == 0)
    });
}

#[test]
fn many_callers_and_many_hints_do_not_disturb_the_daemon() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    daemon.wait("online", |d| d.wan(0)["reason"]["code"] == "answering");
    daemon.wait("published", |_| bus.has_method("mwan3", "status"));
    let before = bus.dumps();
    let socket = daemon.path("ubus.sock");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let socket = socket.clone();
            std::thread::spawn(move || {
                let mut client = Client::connect(&socket);
                (0..20).filter(|_| client.call("mwan3", "status", Table::new()).is_ok()).count()
            })
        })
        .collect();
    let began = Instant::now();
    for _ in 0..2000 {
        bus.netif(online(), "interface.update");
    }
    let answered: usize = callers.into_iter().map(|c| c.join().unwrap()).sum();
    assert_eq!(answered, 160);
    // At most ten a second, however many hints.
    let seconds = began.elapsed().as_secs() as usize + 1;
    assert!(bus.dumps() - before <= 10 * seconds + 2, "{} dumps in {seconds} s", bus.dumps() - before);
    assert_eq!(daemon.wan(0)["usable"], true);
}

/// More connected networks than a message of ubus holds.
#[test]
fn an_answer_that_is_too_long_is_refused_and_its_other_sections_are_not() {
    let (mut daemon, bus) = Daemon::on_bus(online());
    daemon.wait("published", |_| bus.has_method("mwan3", "status"));
    daemon.inside(&["ip", "link", "set", "lo", "up"]);
    let routes = "seq 0 49999 | awk '{ printf \"route add 10.%d.%d.%d/32 dev lo\\n\", 100 + $1 / 62500, \
        $1 / 250 % 250, $1 % 250 }' | ip -batch -";
    daemon.inside(&["sh", "-c", routes]);
    daemon.wait("all are seen", |d| {
        d.status()["connected"]["ipv4"].as_array().is_some_and(|nets| nets.len() > 50_000)
    });
    let mut client = Client::connect(&daemon.path("ubus.sock"));
    assert_eq!(client.call("mwan3", "status", Table::new()), Err(8), "not supported");
    let section = Table::new().with("section", "interfaces");
    assert!(client.call("mwan3", "status", section).is_ok());
}

#[test]
fn without_ubus_devices_come_from_the_configuration_of_the_network() {
    let file = "config interface 'wan'\n\toption device 'wan0'\n\toption proto 'static'\n\toption gateway '192.0.2.1'\n";
    let (mut daemon, ()) = Daemon::start(|dir| std::fs::write(dir.join("network"), file).unwrap());
    daemon.wait("online", |d| d.wan(0)["reason"]["code"] == "answering");
    assert!(daemon.log().contains("no ubus at"), "{}", daemon.log());
    // Emptied, cut short or garbage it changes nothing, and that is told (I8).
    let problem = |d: &Daemon| d.status()["problems"].to_string().contains("netifd is not believed");
    for bad in
        ["", "nonsense\n", &file.replace("option gateway", "option"), "config device\n\toption name 'br'\n"]
    {
        std::fs::write(daemon.path("network"), bad).unwrap();
        daemon.wait("it is told", problem);
        assert_eq!(daemon.wan(0)["reason"]["code"], "answering", "{bad:?}: {}", daemon.log());
        std::fs::write(daemon.path("network"), file).unwrap();
        daemon.wait("it is good again", |d| !problem(d));
    }
    assert_eq!(daemon.log().matches("devices stay as they are").count(), 4, "{}", daemon.log());
    // Read again when it changes, as long as nobody knows better.
    std::fs::write(daemon.path("network"), file.replace("wan0", "wan9")).unwrap();
    daemon.wait("the change is seen", |d| d.wan(0)["reason"]["code"] == "no_device");
    let bus = Bus::start(&daemon.path("ubus.sock"), online());
    daemon.wait("netifd knows better", |d| d.wan(0)["reason"]["code"] == "answering");
    assert!(bus.has_subscriber());
}

#[test]
fn a_plan_without_daemon_knows_the_devices_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("mwan3");
    std::fs::write(&file, CONFIG).unwrap();
    let bus = Bus::start(&dir.path().join("ubus.sock"), online());
    let network = "ip link add wan0 type veth peer name isp0 && ip link set isp0 up && ip link set wan0 up && \
        ip address add 192.0.2.2/24 dev wan0 && exec \"$0\" \"$@\"";
    let output = unshare()
        .args(["sh", "-c", network, MWAN])
        .args(["plan", "--platform", "openwrt", "--config"])
        .arg(&file)
        .env("MWAN_RUN_DIR", dir.path())
        .env("MWAN_UBUS_SOCKET", dir.path().join("ubus.sock"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        text.contains("default via 192.0.2.1 dev wan0"),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(bus.objects().is_empty(), "a plan publishes nothing");
}

/// Servers that are no ubusd: silent, talking nonsense, hanging up.
#[test]
fn a_broken_ubusd_keeps_nothing_from_working() {
    for what in ["silent", "nonsense", "endless", "closing", "greeting"] {
        let (mut daemon, ()) = Daemon::start(|dir| {
            std::fs::write(
                dir.join("network"),
                "config interface 'wan'\n\toption device 'wan0'\n\toption gateway '192.0.2.1'\n",
            )
            .unwrap();
            let listener = UnixListener::bind(dir.join("ubus.sock")).unwrap();
            std::thread::spawn(move || {
                for client in listener.incoming().map(Result::unwrap) {
                    std::thread::spawn(move || nonsense(what, client));
                }
            });
        });
        daemon.wait(what, |d| d.wan(0)["reason"]["code"] == "answering");
        assert!(!daemon.log().contains("panicked"), "{}", daemon.log());
        let complaints = ["no ubus at", "ubusd is gone"].map(|text| daemon.log().matches(text).count());
        assert!(complaints.iter().sum::<usize>() <= 1, "said once: {}", daemon.log());
    }
}

fn nonsense(what: &str, mut client: std::os::unix::net::UnixStream) {
    let mut sink = [0; 4096];
    match what {
        "silent" => while matches!(client.read(&mut sink), Ok(1..)) {},
        "nonsense" => drop(client.write_all(&[0xff; 100_000])),
        "greeting" => drop(client.write_all(&[0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 4])),
        // The beginning of the longest message there may be, and never its end.
        "endless" => {
            let _ = client.write_all(&[0, 2, 0, 0, 0, 0, 0, 0, 0, 0x0f, 0xff, 0xf4]);
            while client.write_all(&[0; 64]).is_ok() {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        _ => {}
    }
}
