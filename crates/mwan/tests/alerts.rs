//! The real daemon with its companion, and servers that keep what they are sent: aiosmtpd, Python's web server, a script.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Output;

use common::{CONFIG, Daemon};
use serde_json::Value;

const CATCH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../lab/catchers/catch.py");
/// Texts nobody must ever see but the servers they are for.
const SECRETS: [&str; 3] = ["pass-w0rd-of-mail", "t0ken-of-telegram", "key-of-s1gnature"];

/// One WAN that is a dummy, and a folder that a user without rights gets to.
struct World {
    dir: tempfile::TempDir,
    servers: String,
    config: String,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
        fs::write(dir.path().join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        for (name, secret) in ["password", "token", "key"].iter().zip(SECRETS) {
            fs::write(dir.path().join(name), format!("{secret}\n")).unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::create_dir(dir.path().join("open")).unwrap();
        fs::set_permissions(dir.path().join("open"), fs::Permissions::from_mode(0o777)).unwrap();
        let mailer = format!("#!/bin/sh\n{{ echo \"$@\"; cat; }} > {}/open/mailed\n", dir.path().display());
        fs::write(dir.path().join("sendmail"), mailer).unwrap();
        fs::set_permissions(dir.path().join("sendmail"), fs::Permissions::from_mode(0o755)).unwrap();
        World { dir, servers: String::new(), config: CONFIG.to_owned() }
    }

    fn at(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    /// A server on this port, which keeps what it is sent in the file `kept`.
    fn server(mut self, kind: &str, port: u16, kept: &str, options: &str) -> Self {
        let options = options
            .replace("{tls}", "--certificate {}/cert.pem --key {}/key.pem")
            .replace("{}", &self.at(""));
        let file = self.at(kept);
        self.servers.push_str(&format!(
            "setpriv --pdeathsig KILL /usr/bin/python3 {CATCH} {kind} 127.0.0.1 {port} {file} {options} &\n\
             while [ ! -e {file} ]; do sleep 0.05; done\n"
        ));
        self
    }

    /// An alert, with its options as lines of `name value`.
    fn alert(mut self, name: &str, options: &str) -> Self {
        self.config.push_str(&format!("\nconfig alert '{name}'\n"));
        for (option, value) in options.lines().filter_map(|l| l.trim().split_once(' ')) {
            let value = value.replace("{}", &self.at(""));
            let word = if ["command", "to"].contains(&option) { "list" } else { "option" };
            self.config.push_str(&format!("\t{word} {option} '{value}'\n"));
        }
        self
    }

    fn start(self) -> Daemon {
        fs::write(self.at("mwan3"), &self.config).unwrap();
        let network = format!(
            "ip link set lo up\nip link add wan0 type veth peer name isp0\nip link set isp0 up\nip addr add 192.0.2.2/24 dev wan0\nip link set wan0 up\n{}",
            self.servers
        );
        let log = fs::File::create(self.at("log")).unwrap();
        let mut daemon = Daemon::spawn(self.dir, &network, log, |_| {});
        daemon.wait("the companion has reported", |d| {
            let alerts = d.json(&["alerts", "--json"]);
            alerts["problem"].is_null() && d.path("alerts/alerts.jsonl").exists()
        });
        daemon
    }
}

fn kept(daemon: &Daemon, file: &str) -> Vec<Value> {
    let text = fs::read_to_string(daemon.path(file)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What servers were sent, without attempts to log in.
fn messages(daemon: &Daemon, file: &str) -> Vec<Value> {
    kept(daemon, file).into_iter().filter(|r| r.get("attempt").is_none()).collect()
}

fn test(daemon: &Daemon, name: &str) -> Output {
    daemon.mwan(&["alerts", "test", name])
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn alert(daemon: &Daemon, name: &str) -> Value {
    let alerts = daemon.json(&["alerts", "--json"]);
    alerts["alerts"].as_array().unwrap().iter().find(|a| a["name"] == name).unwrap().clone()
}

/// Nobody has seen a secret: no file of ours but those that hold them, no argument, no environment, nothing that is shown.
fn assert_secret(daemon: &Daemon, outputs: &[Output]) {
    let mut seen = Vec::new();
    let mut look = |what: String, bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes);
        seen.extend(SECRETS.iter().filter(|s| text.contains(**s)).map(|s| format!("{s} is in {what}")));
    };
    for words in [
        &["alerts", "--json"][..],
        &["alerts"],
        &["status", "--json"],
        &["status"],
        &["events", "--json", "--all"],
    ] {
        let output = daemon.mwan(words);
        look(format!("{words:?}"), &[output.stdout, output.stderr].concat());
    }
    for output in outputs {
        look("a test".to_owned(), &[&output.stdout[..], &output.stderr].concat());
    }
    let kept = ["password", "token", "key", "web", "mail"];
    let mut folders = vec![daemon.dir.path().to_owned()];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if path.is_file() && !kept.contains(&name.as_str()) {
                look(path.display().to_string(), &fs::read(&path).unwrap());
                files += 1;
            }
        }
    }
    assert!(files > 4, "the log, the state and others: {files}");
    let own = daemon.dir.path().display().to_string();
    for process in fs::read_dir("/proc").unwrap().flatten().map(|e| e.path()) {
        let command = fs::read(process.join("cmdline")).unwrap_or_default();
        // The web server has its key as an argument; it is none of ours.
        if String::from_utf8_lossy(&command).contains(&own)
            && !String::from_utf8_lossy(&command).contains("catch.py")
        {
            look(process.display().to_string(), &command);
            look(process.display().to_string(), &fs::read(process.join("environ")).unwrap_or_default());
        }
    }
    assert_eq!(seen, Vec::<String>::new());
}

#[test]
fn every_way_arrives_and_no_secret_is_seen() {
    let daemon = World::new()
        .server("smtp", 2525, "mail", &format!("--starttls {{tls}} --login router:{}", SECRETS[0]))
        .server("smtp", 2465, "mail", "--tls {tls}")
        .server("smtp", 2526, "mail", "")
        .server("http", 8080, "web", &format!("--signed {}", SECRETS[2]))
        .server("http", 8443, "web", "--tls {tls}")
        .alert(
            "starttls",
            "type email\nto ops@example.com\nfrom mwan@example.net\nserver 127.0.0.1\nport 2525\nusername router\n\
             password_file {}/password\nca_file {}/cert.pem",
        )
        .alert("tls", "type email\nto ops@example.com\nserver 127.0.0.1\nport 2465\nsecurity tls\nca_file {}/cert.pem")
        .alert("plain", "type email\nto ops@example.com\nserver 127.0.0.1\nport 2526\nsecurity none")
        .alert("mailer", "type email\nto ops@example.com\nsendmail {}/sendmail")
        .alert("untrusted", "type email\nto ops@example.com\nserver 127.0.0.1\nport 2465\nsecurity tls")
        .alert("signed", "type webhook\nurl http://127.0.0.1:8080/hook?x=1\nsecret_file {}/key")
        .alert("topic", "type webhook\nshape ntfy\nurl https://127.0.0.1:8443/topic\nca_file {}/cert.pem")
        .alert("chat", "type webhook\nshape telegram\nurl http://127.0.0.1:8080\nto -100\nsecret_file {}/token")
        .alert("siren", "type command\ncommand /usr/bin/tee\ncommand {}/open/two words; $(id)\ncommand {}/open/heard")
        .alert("broken", "type webhook\nshape slack\nsecret_file {}/none")
        .start();
    let outputs: Vec<Output> = ["starttls", "tls", "plain", "signed", "topic", "chat", "siren", "mailer"]
        .map(|name| test(&daemon, name))
        .into();
    for output in &outputs {
        assert!(output.status.success(), "{}\n{}", said(output), daemon.log());
    }
    let mails = messages(&daemon, "mail");
    assert_eq!(mails.len(), 3, "{mails:#?}");
    assert_eq!((&mails[0]["tls"], &mails[0]["login"]), (&true.into(), &true.into()));
    assert_eq!((&mails[1]["tls"], &mails[2]["tls"]), (&true.into(), &false.into()));
    assert_eq!(mails[0]["from"], "mwan@example.net");
    assert_eq!(mails[0]["to"][0], "ops@example.com");
    assert!(mails[0]["subject"].as_str().unwrap().contains("test message"));
    assert_eq!(mails[0]["headers"]["Auto-Submitted"], "auto-generated");
    assert!(mails[0]["headers"]["Message-ID"].as_str().unwrap().ends_with("@example.net>"));
    let requests = messages(&daemon, "web");
    let path = |n: usize| requests[n]["path"].as_str().unwrap();
    assert_eq!((path(0), &requests[0]["signed"]), ("/hook?x=1", &true.into()));
    assert_eq!(requests[0]["body"]["schema"], "mwan.alert.v1");
    assert_eq!((path(1), &requests[1]["body"]["topic"]), ("/", &"topic".into()));
    assert_eq!(path(2), format!("/bot{}/sendMessage", SECRETS[1]));
    let mailed = fs::read_to_string(daemon.path("open/mailed")).unwrap();
    assert!(mailed.starts_with("-t -i\n") && mailed.contains("To: ops@example.com\r\n"), "{mailed}");
    let heard: Value = serde_json::from_slice(&fs::read(daemon.path("open/heard")).unwrap()).unwrap();
    assert_eq!(heard["stage"], "test");
    assert!(daemon.path("open/two words; $(id)").exists(), "one argument, and no shell");
    // What cannot work says why.
    let untrusted = test(&daemon, "untrusted");
    assert!(!untrusted.status.success() && said(&untrusted).contains("certificate"), "{}", said(&untrusted));
    assert!(alert(&daemon, "broken")["last_error"].as_str().unwrap().contains("No such file"));
    let untried = test(&daemon, "broken");
    assert!(!untried.status.success() && said(&untried).contains("No such file"), "{}", said(&untried));
    assert!(!daemon.log().contains("broken works again"), "{}", daemon.log());
    let nobody = test(&daemon, "nobody");
    assert!(
        said(&nobody).contains("there is no alert nobody")
            && said(&nobody).contains("hint: there are starttls")
    );
    assert_secret(&daemon, &outputs);
}

#[test]
fn a_mailbox_that_is_gone_keeps_nobody_else_in_the_dark() {
    let to = |recipients: &str| format!("type email\n{recipients}server 127.0.0.1\nport 2527\nsecurity none");
    let daemon = World::new()
        .server("smtp", 2527, "mail", "--unknown gone@example.com")
        .alert("several", &to("to gone@example.com\nto ops@example.com\n"))
        .alert("gone", &to("to gone@example.com\n"))
        .start();
    let several = test(&daemon, "several");
    assert!(several.status.success(), "{}\n{}", said(&several), daemon.log());
    let mails = messages(&daemon, "mail");
    assert_eq!((mails.len(), &mails[0]["to"]), (1, &serde_json::json!(["ops@example.com"])));
    assert!(daemon.log().contains("gone@example.com gets no mail: "), "{}", daemon.log());
    let gone = test(&daemon, "gone");
    assert!(!gone.status.success() && said(&gone).contains("550"), "{}", said(&gone));
}

#[test]
fn a_wrong_password_and_a_server_that_is_not_there_are_told_and_do_not_flood() {
    let mut daemon = World::new()
        .server("smtp", 2525, "mail", "--starttls {tls} --login router:another")
        .alert(
            "wrong",
            "type email\nto a@b.c\nserver 127.0.0.1\nport 2525\nusername router\npassword_file {}/password\n\
             ca_file {}/cert.pem\nmin_duration 0.05",
        )
        .alert("away", "type webhook\nurl http://127.0.0.1:9/\nmin_duration 0.05")
        .start();
    daemon.inside(&["ip", "link", "set", "wan0", "down"]);
    daemon.wait("both have failed", |d| {
        ["wrong", "away"].iter().all(|name| alert(d, name)["failures"].as_u64().unwrap() > 0)
    });
    let wrong = alert(&daemon, "wrong");
    assert!(wrong["last_error"].as_str().unwrap().contains("535"), "{wrong}");
    assert_eq!((&wrong["queued"], &wrong["failures"]), (&1.into(), &1.into()));
    let next = wrong["next_try_ms"].as_u64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
    assert!(next > now + 120_000, "not again before minutes have passed: {next} {now}");
    let away = alert(&daemon, "away");
    assert!(away["last_error"].as_str().unwrap().contains("refused"), "{away}");
    assert_eq!(kept(&daemon, "mail").len(), 1, "one attempt");
    assert_eq!(daemon.mwan(&["alerts"]).status.code(), Some(3), "something is not as it should be");
    let problems = daemon.status()["problems"].to_string();
    assert!(problems.contains("alert wrong: ") && problems.contains("alert away: "), "{problems}");
    assert!(daemon.log().contains("WARN alert wrong: "), "{}", daemon.log());
    assert_secret(&daemon, &[]);
}

/// The incident outlives the companion, however often that dies, and is told of once; so is its end.
#[test]
fn an_incident_is_told_of_once_over_deaths_of_the_companion() {
    let mut daemon =
        World::new().alert("hook", "type webhook\nurl http://127.0.0.1:8080/\nmin_duration 1").start();
    daemon.inside(&["ip", "link", "set", "wan0", "down"]);
    daemon.wait("nobody was there", |d| alert(d, "hook")["failures"].as_u64().unwrap() > 0);
    kill_companion(&mut daemon);
    let pid = daemon.pid().to_string();
    let file = daemon.path("web");
    let mut server = common::enter(&pid)
        .args(["setpriv", "--pdeathsig", "KILL", "/usr/bin/python3", CATCH, "http", "127.0.0.1", "8080"])
        .arg(&file)
        .spawn()
        .unwrap();
    daemon.wait("the server is there", |_| file.exists());
    let arrived = |d: &Daemon, n: usize| kept(d, "web").len() >= n;
    daemon.wait("it has arrived", |d| arrived(d, 1));
    daemon.wait("that is known", |d| alert(d, "hook")["sent"] == 1);
    kill_companion(&mut daemon);
    daemon.inside(&["ip", "link", "set", "wan0", "up"]);
    // An incident is over when nothing has been wrong for half a minute.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while !arrived(&daemon, 2) && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let told = kept(&daemon, "web");
    let stages: Vec<&Value> = told.iter().map(|t| &t["body"]["stage"]).collect();
    assert_eq!(stages, ["open", "over"], "{told:#?}\n{}", daemon.log());
    let incident = |n: usize| &told[n]["body"]["incidents"][0];
    assert_eq!(incident(0)["id"], incident(1)["id"]);
    let causes = incident(0)["causes"].as_array().unwrap();
    assert!(causes.iter().any(|c| c["interface"] == "wan" && c["code"] == "device_down"), "{causes:?}");
    assert_eq!(incident(0)["moved"][0]["policy"], "only");
    server.kill().unwrap();
    server.wait().unwrap();
}

fn kill_companion(daemon: &mut Daemon) {
    let pid = companion(daemon).expect("there is one");
    assert!(std::process::Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
    daemon.wait("another one runs", |d| companion(d).is_some_and(|other| other != pid));
    daemon.wait("and has reported", |d| d.json(&["alerts", "--json"])["problem"].is_null());
}

/// The process that sends alerts for this daemon; it is not root.
fn companion(daemon: &Daemon) -> Option<u32> {
    let own = daemon.dir.path().display().to_string();
    fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let words = String::from_utf8_lossy(&fs::read(entry.path().join("cmdline")).ok()?).into_owned();
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let unprivileged =
            status.lines().any(|l| l.starts_with("CapEff:") && l.ends_with("0000000000000000"));
        (words.contains(&own) && words.contains("\0serve\0") && unprivileged && Path::new("/").exists())
            .then_some(pid)
    })
}
