//! The configuration file over the control socket, and a cloud's document in it: the real daemon in a network namespace of its
//! own, its command line, and its file.
//!
//! Needs root or user namespaces; without either it fails, it does not skip.
#![allow(clippy::unwrap_used)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::{CONFIG, Daemon, MWAN};
use serde_json::{Value, json};

/// The guide's two WANs.
const NETWORK: &str = "for n in 0 1; do ip link add eth$n type veth peer name isp$n && ip link set isp$n up && \
    ip address add 192.0.2.$((n + 2))/24 dev eth$n && ip link set eth$n up; done";

const GUIDE: &str = include_str!("../../config/tests/cloud/guide.json");
const GUIDE_FILE: &str = include_str!("../../config/tests/cases/doc-cloud-guide/input.uci");

fn start(config: &str) -> Daemon {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mwan3"), config).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "linux", "--log-format", "json"]);
    })
}

impl Daemon {
    /// One request to the control socket.
    fn ask(&self, request: &Value) -> Value {
        let mut socket = UnixStream::connect(self.path("mwan.sock")).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        writeln!(socket, "{request}").unwrap();
        let mut line = String::new();
        BufReader::new(socket).read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|e| panic!("{request}: {e}: {line}"))
    }

    fn file(&self) -> String {
        std::fs::read_to_string(self.path("mwan3")).unwrap()
    }

    /// `mwan ARGS` with something on standard input.
    fn mwan_with(&self, args: &[&str], input: &str) -> Output {
        let mut command = Command::new(MWAN);
        command.arg("--run-dir").arg(self.dir.path()).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    }

    fn rules(&self) -> String {
        String::from_utf8(self.mwan(&["rules"]).stdout).unwrap()
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// The guide's document with both modes, by the command line; the file it shows is the one on the disk.
#[test]
fn a_document_is_shown_applied_and_exported() {
    let daemon = start("");
    let before = daemon.file();
    let shown = daemon.mwan_with(&["cloud", "apply", "--dry-run", "-"], GUIDE);
    let text = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    assert!(text.contains("+config interface 'eth1'\n+\toption enabled '1'\n"), "{text}");
    assert!(
        text.contains("# changes to the kernel as it is now\n") && text.contains("policy.LOAD_BALANCE.4"),
        "{text}"
    );
    assert_eq!(
        (daemon.file(), daemon.rules().contains("DEFAULT")),
        (before, false),
        "that was only to be shown"
    );

    let applied = daemon.mwan_with(&["cloud", "apply", "-"], GUIDE);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert!(said(&applied).contains("is written and in force"), "{}", said(&applied));
    assert!(daemon.rules().contains("LOAD_BALANCE"), "in force before it says so: {}", daemon.rules());
    // As the guide shows it, but for pppoe0: without netifd nobody knows that there is none.
    let mut file = daemon.file();
    let pppoe = file.find("config interface 'pppoe0'").unwrap();
    let next = pppoe + file[pppoe..].find("\n\n").unwrap() + 2;
    file.replace_range(pppoe..next, "");
    assert_eq!(lines(file.split("config cloud").next().unwrap()), lines(GUIDE_FILE));
    assert_eq!(daemon.json(&["cloud", "export"]), serde_json::from_str::<Value>(GUIDE).unwrap());
    let again = daemon.mwan_with(&["cloud", "apply", "-"], GUIDE);
    assert!(
        said(&again).contains("nothing to be done") && again.status.code() == Some(0),
        "{}",
        said(&again)
    );

    // The whole response, from a file; failover.
    let whole = format!("{{\"id\": 7, \"multiWanV2\": {}}}", GUIDE.replace("LOAD_BALANCE", "FAIL_OVER"));
    std::fs::write(daemon.path("response.json"), whole).unwrap();
    let output = daemon.mwan(&["cloud", "apply", daemon.path("response.json").to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(
        daemon.rules().contains("FAIL_OVER") && !daemon.rules().contains("LOAD_BALANCE"),
        "{}",
        daemon.rules()
    );
    assert_eq!(daemon.json(&["cloud", "export"])["mode"], "FAIL_OVER");
    // It outlives the process, and what the daemon says in its events.
    assert!(String::from_utf8_lossy(&daemon.mwan(&["events"]).stdout).contains("configuration read"));
}

/// The guide's device: without ubus its `/etc/config/network` tells which interfaces there are, and pppoe0 is none.
#[test]
fn the_guides_device_gets_the_guides_file() {
    let dir = tempfile::tempdir().unwrap();
    let network = dir.path().join("network");
    std::fs::write(&network, include_str!("../../config/tests/cloud/network.uci")).unwrap();
    std::fs::write(dir.path().join("mwan3"), "").unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let daemon = Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "openwrt", "--ubus-socket", "/nowhere", "--network-config"]).arg(network);
    });
    let applied = daemon.mwan_with(&["cloud", "apply", "-"], GUIDE);
    assert_eq!(applied.status.code(), Some(0), "{}", said(&applied));
    assert!(said(&applied).contains("note[N0913]: interface 'pppoe0'"), "{}", said(&applied));
    assert_eq!(lines(daemon.file().split("config cloud").next().unwrap()), lines(GUIDE_FILE));
    assert_eq!(daemon.json(&["cloud", "export"]), serde_json::from_str::<Value>(GUIDE).unwrap());
}

#[test]
fn a_bad_document_is_told_of_and_changes_nothing() {
    let daemon = start(CONFIG);
    let bad = GUIDE.replacen("\"8.8.8.8\"", "\"8.8.8\"", 1).replacen("pingTimeout", "pingTimout", 1);
    let output = daemon.mwan_with(&["cloud", "apply", "-"], &bad);
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.contains("-:10: error[E0405]: wanInterfacesConfig 'pppoe0', option 'targetIps': '8.8.8'"),
        "{text}"
    );
    assert!(
        text.contains("did you mean 'pingTimeout'?")
            && text.contains("is not applied")
            && text.contains("--partial"),
        "{text}"
    );
    assert_eq!(daemon.file(), CONFIG);
    for (input, word) in [("{", "E0901"), ("[]", "E0902"), ("{\"enable\": true}", "E0906"), ("", "E0901")] {
        for args in [
            &["cloud", "apply", "-"][..],
            &["cloud", "apply", "--partial", "-"],
            &["cloud", "apply", "--dry-run", "-"],
        ] {
            let output = daemon.mwan_with(args, input);
            assert!(
                output.status.code() == Some(1) && said(&output).contains(word),
                "{args:?} {input}: {}",
                said(&output)
            );
        }
    }
    assert_eq!(daemon.mwan(&["cloud", "apply", "/nowhere"]).status.code(), Some(1));
    assert_eq!(daemon.mwan(&["cloud", "apply"]).status.code(), Some(2));
    let partial = daemon.mwan_with(&["cloud", "apply", "--partial", "-"], &bad);
    assert_eq!(partial.status.code(), Some(0), "{}", said(&partial));
    assert!(daemon.file().starts_with(CONFIG), "what is the owner's stays");
    assert!(daemon.rules().contains("LOAD_BALANCE") && daemon.rules().contains("only"), "{}", daemon.rules());
    assert!(!daemon.log().contains("panicked"));
}

/// A file that the cloud's own program writes: noticed, applied; a bad one is told of once, and what was good stays.
#[test]
fn a_watched_document_is_applied_and_a_bad_one_is_told_of_once() {
    let dir = tempfile::tempdir().unwrap();
    let document = dir.path().join("last_config_response.json");
    let config =
        format!("config globals 'globals'\n\toption cloud_document '{}'\n{CONFIG}", document.display());
    std::fs::write(dir.path().join("mwan3"), config).unwrap();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let mut daemon = Daemon::spawn(dir, NETWORK, log, |command| {
        command.args(["--platform", "linux", "--log-format", "json"]);
    });
    let whole = |text: &str| format!("{{\"multiWanV2\": {text}}}");
    std::fs::write(&document, whole(GUIDE)).unwrap();
    daemon.wait("it is applied", |d| d.rules().contains("LOAD_BALANCE"));
    assert!(daemon.file().contains("option cloud_document"), "{}", daemon.file());
    let good = daemon.file();
    let problem = |d: &Daemon| d.status()["problems"].to_string().contains("the cloud's document");
    let told = |d: &Daemon| d.log().matches("is not applied").count();
    std::fs::write(&document, whole(&GUIDE.replace("LOAD_BALANCE", "FAILOVER"))).unwrap();
    daemon.wait("it is refused", problem);
    assert!(
        daemon.status()["problems"].to_string().contains("did you mean 'FAIL_OVER'?"),
        "{}",
        daemon.status()["problems"]
    );
    assert_eq!((told(&daemon), daemon.file()), (1, good.clone()));
    // A look or two later it is still told of once.
    let looks = daemon.status()["daemon"]["uptime_s"].as_u64().unwrap() + 3;
    daemon.wait("some looks later", |d| d.status()["daemon"]["uptime_s"].as_u64() >= Some(looks));
    assert_eq!((told(&daemon), daemon.file(), problem(&daemon)), (1, good.clone(), true));
    std::fs::write(&document, whole(&GUIDE.replace("LOAD_BALANCE", "FAIL_OVER"))).unwrap();
    daemon.wait("the next good one", |d| d.rules().contains("FAIL_OVER") && !problem(d));
    // Good, but the owner is just writing the file: taken when that is right again.
    let right = daemon.file();
    let half = format!("{right}config rule 'half'\n\toption proto 'tc\n");
    std::fs::write(daemon.path("mwan3"), half).unwrap();
    std::fs::write(&document, whole(GUIDE)).unwrap();
    daemon.wait("it cannot be applied to that", problem);
    std::fs::write(daemon.path("mwan3"), &right).unwrap();
    daemon.wait("it is", |d| d.rules().contains("LOAD_BALANCE") && !problem(d));
    // What the owner changes afterwards stays over a restart: the document is the same.
    let own = daemon.file().replacen("option interval '5'", "option interval '7'", 1);
    std::fs::write(daemon.path("mwan3"), &own).unwrap();
    assert!(daemon.mwan(&["reload"]).status.success());
    daemon.restart();
    std::fs::write(daemon.path("mwan3"), &own).unwrap();
    let looks = daemon.status()["daemon"]["uptime_s"].as_u64().unwrap() + 3;
    daemon.wait("some looks later", |d| d.status()["daemon"]["uptime_s"].as_u64() >= Some(looks));
    assert_eq!(daemon.file(), own);
    // A document that changed while nobody looked is seen at a start.
    std::fs::write(&document, whole(&GUIDE.replace("LOAD_BALANCE", "FAIL_OVER"))).unwrap();
    daemon.restart();
    daemon.wait("at the start", |d| d.rules().contains("FAIL_OVER"));
}

#[test]
fn the_file_is_read_and_replaced_and_lost_updates_are_refused() {
    let daemon = start(CONFIG);
    std::fs::set_permissions(daemon.path("mwan3"), std::fs::Permissions::from_mode(0o640)).unwrap();
    let config = daemon.ask(&json!({"method": "config"}));
    assert_eq!(
        (&config["result"], &config["format"], &config["text"]),
        (&json!("config"), &json!("uci"), &json!(CONFIG))
    );
    let put = |text: &str, revision: &Value| {
        daemon.ask(&json!({"method": "put_config", "text": text, "revision": revision}))
    };
    let other = CONFIG.replace("'443'", "'443,8443'");
    let dry = daemon.ask(
        &json!({"method": "put_config", "text": other, "revision": config["revision"], "dry_run": true}),
    );
    assert_eq!(
        (&dry["result"], &dry["changed"], daemon.file()),
        (&json!("put"), &json!(true), CONFIG.to_owned())
    );
    let done = put(&other, &config["revision"]);
    assert_eq!((&done["result"], &done["waiting"]), (&json!("put"), &Value::Null), "{done}");
    assert_eq!(done["revision"], dry["revision"]);
    assert!(daemon.rules().contains("8443"), "in force when it is answered: {}", daemon.rules());
    assert_eq!(daemon.mwan(&["diff"]).status.code(), Some(0));
    assert_eq!(std::fs::metadata(daemon.path("mwan3")).unwrap().mode() & 0o7777, 0o640);
    // With the revision from before: refused, and told which there is.
    let lost = put(CONFIG, &config["revision"]);
    assert_eq!((&lost["result"], &lost["revision"]), (&json!("conflict"), &done["revision"]));
    assert_eq!(daemon.file(), other);
    // Somebody else's editor counts, too.
    let third = CONFIG.replace("'443'", "'80'");
    std::fs::write(daemon.path("mwan3"), &third).unwrap();
    assert_eq!(put(CONFIG, &done["revision"])["result"], "conflict");
    // With an error: refused with what is wrong, and nothing is written.
    let now = &daemon.ask(&json!({"method": "config"}))["revision"];
    let bad = CONFIG.replace("'tcp'", "'tpc'");
    let refused = put(&bad, now);
    assert_eq!(
        (&refused["result"], &refused["diagnostics"][1]["code"]),
        (&json!("refused"), &json!("E0407")),
        "{refused}"
    );
    let checked = daemon.ask(&json!({"method": "validate", "text": bad}));
    assert_eq!((&checked["result"], &checked["diagnostics"]), (&json!("checked"), &refused["diagnostics"]));
    assert!(checked["refusal"].as_str().unwrap().contains("tpc"));
    assert_eq!(daemon.ask(&json!({"method": "validate", "text": CONFIG}))["refusal"], Value::Null);
    assert_eq!(
        daemon.ask(&json!({"method": "validate", "file": "x.toml", "text": "[wan.a]\n"}))["refusal"],
        Value::Null
    );
    assert_eq!(put("", now)["result"], "refused");
    assert_eq!(daemon.file(), third);
    let leftovers = std::fs::read_dir(daemon.dir.path())
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".mwan3"));
    assert_eq!(leftovers.count(), 0);
}

/// Another mask takes a while: the answer comes when it is in force.
#[test]
fn an_answer_waits_for_another_mask() {
    let daemon = start(CONFIG);
    let revision = &daemon.ask(&json!({"method": "config"}))["revision"];
    let text = format!("config globals 'globals'\n\toption mmx_mask '0xff0000'\n{CONFIG}");
    let put = daemon.ask(&json!({"method": "put_config", "text": text, "revision": revision}));
    assert_eq!(put["result"], "put", "{put}");
    assert_eq!(daemon.status()["interfaces"][0]["mark"], "0x10000");
}

/// A configuration that is no file, or is none any more.
#[test]
fn without_a_file_there_is_a_clear_error() {
    let daemon = start(CONFIG);
    std::fs::remove_file(daemon.path("mwan3")).unwrap();
    let requests = [
        json!({"method": "config"}),
        json!({"method": "cloud"}),
        json!({"method": "put_config", "text": CONFIG, "revision": ""}),
        json!({"method": "put_cloud", "document": GUIDE}),
    ];
    for request in &requests {
        let answer = daemon.ask(request);
        assert!(
            answer["result"] == "error" && answer["message"].as_str().unwrap().contains("No such file"),
            "{answer}"
        );
    }
    assert!(!daemon.path("mwan3").exists());
    // A pipe keeps nobody waiting.
    assert!(Command::new("mkfifo").arg(daemon.path("mwan3")).status().unwrap().success());
    for request in &requests {
        assert_eq!(daemon.ask(request)["result"], "error");
    }
    let mut answer = String::new();
    let mut socket = UnixStream::connect(daemon.path("mwan.sock")).unwrap();
    socket.write_all(b"{\"method\":\"put_config\",\"text\":7}\n").unwrap();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("not a request"), "{answer}");
}
