//! `mwan support` is fed secrets of every kind there is and public addresses, and every byte of its archive is looked through.
#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::{CONFIG, Daemon, MWAN, unshare};
use mwan_config::ipfire::keys;
use mwan_config::privacy::Privacy;
use mwan_config::{SectionKind, options};

/// In every secret and every name; no byte of it may be in an archive.
const MARK: &str = "zq7x";
/// Public addresses: of a device, its neighbour and its network; of targets, rules and a delegated prefix.
const PUBLIC: [&str; 6] = ["81.2.69.", "92.60.1", "8.8.8.8", "2a02:26f7", "2a00:1450", "3.4.5.0/24"];
const NETWORK: &str = "ip link add wan0 address 52:54:00:5e:c3:e7 type veth peer name isp0 && ip link set isp0 up && \
    ip link set wan0 up && ip address add 81.2.69.150/24 dev wan0 && ip address add 2a02:26f7:1:2::5/64 dev wan0 && \
    ip route add 92.60.128.0/17 via 81.2.69.1 && ip neigh add 81.2.69.1 lladdr 52:54:00:5e:c3:e8 dev wan0 && \
    ip link add br7 address 52:54:00:0e:c3:e9 type bridge && ip link property add dev br7 altname enx5254000ec3e9 && \
    nft add table ip theirs && nft add chain ip theirs c && nft add rule ip theirs c ip daddr 92.60.129.7 counter && ";

fn secret(of: &str) -> String {
    format!("{}-{of}-0042", MARK.to_uppercase())
}

fn name(of: &str) -> String {
    format!("{of}.{MARK}-site.test").replace('_', "-")
}

/// What a private value may be, for every option that has one: from the table, so a new one is among them.
fn private(privacy: Privacy, of: &str) -> Option<String> {
    match privacy {
        Privacy::Open | Privacy::Path => None,
        Privacy::Name => Some(name(of)),
        Privacy::Remark | Privacy::Doubtful | Privacy::Lines | Privacy::Secret => Some(secret(of)),
    }
}

/// Every private option of every section, in UCI.
fn every_secret_of_uci() -> String {
    let mut text = String::new();
    for kind in SectionKind::ALL {
        text.push_str(&format!("\nconfig {} 'all_{}'\n", kind.uci()[0], kind.uci()[0]));
        for option in options().iter().filter(|o| o.section == kind) {
            let of = format!("{}-{}", kind.uci()[0], option.key());
            for (name, value) in option.uci.iter().zip(std::iter::repeat(private(option.privacy(), &of))) {
                let Some(value) = value else { continue };
                let word = if option.list { "list" } else { "option" };
                text.push_str(&format!("\t{word} {name} '{value}'\n"));
            }
        }
        text.push_str(&format!("\toption passwrod '{}'\n", secret(&format!("unknown-{}", kind.uci()[0]))));
    }
    text
}

/// The same in mwan.toml.
fn every_secret_of_toml() -> String {
    let mut text = String::new();
    for kind in SectionKind::ALL {
        let Some(native) = kind.native() else { continue };
        let single = matches!(kind, SectionKind::Globals | SectionKind::Web);
        text.push_str(&match kind {
            SectionKind::Rule => format!("\n[[{native}]]\n"),
            _ if single => format!("\n[{native}]\n"),
            _ => format!("\n[{native}.all]\n"),
        });
        for option in options().iter().filter(|o| o.section == kind) {
            let Some(key) = option.native else { continue };
            let Some(value) = private(option.privacy(), &format!("{native}-{key}")) else { continue };
            let value = if option.list { format!("['{value}']") } else { format!("\"{value}\"") };
            text.push_str(&format!("{key} = {value}\n"));
        }
        text.push_str(&format!("passwrod = '{}'\n", secret(&format!("unknown-{native}"))));
    }
    text
}

/// What is right, and so is used: two alerts with their files, URLs, programs.
fn used(dir: &Path) -> String {
    let at = |name: &str| dir.join(name).display().to_string();
    format!(
        "
# in a comment: {comment}
config globals 'globals'
	option mmx_mask '0x3F00'
	list notification_email 'ops@{domain}'

config alert 'mail'
	option type 'email'
	option server '{server}'
	option username '{user}'
	option password_file '{password}'
	list to 'boss@{domain}'

config alert 'chat'
	option type 'webhook'
	option url 'https://{host}/services/{path}?token={query}'
	option secret_file '{key}'

config alert 'wrong'
	option type 'webhook'
	option url 'https://{login}:{pass}@{host}/{path}'

config alert 'program'
	option type 'command'
	list command '/bin/true'
	list command '--token={argument}'

config ipset 'shop'
	list entry '92.60.130.0/24'
	list domain '{shop}'

config cloud 'cloud'
	option document '{{\"enable\": true, \"apiToken\": \"{cloud}\", \"publicIp\": \"92.60.131.9\"}}'

config interface 'probed'
	option enabled '1'
	option device 'wan0'
	option gateway '81.2.69.1'
	option family 'any'
	list routed_network '2a00:1450:4001:800::/56'
	list track_ip '8.8.8.8'
	list track_ip '2a00:1450:4001:800::1'
	list track_ip 'http://92.60.132.1/{target}'
	option comment 'customer {remark}' # in a recording, too: {comment}
	option passwrod '{short}'

config rule 'theirs'
	option dest_ip '3.4.5.0/24'
	option use_policy 'only'
",
        comment = secret("comment"),
        domain = name("mail"),
        server = name("smtp"),
        user = secret("user"),
        password = at("password"),
        host = name("hooks"),
        path = secret("path"),
        query = secret("query"),
        key = at("key"),
        login = secret("login"),
        pass = secret("pass"),
        argument = secret("argument"),
        shop = name("shop"),
        cloud = secret("cloud"),
        target = secret("target"),
        remark = secret("remark"),
        // Too short to be looked for.
        short = &MARK[..4],
    )
}

fn with_secret_files(dir: &Path) {
    fs::write(dir.join("password"), format!("{}\n", secret("password-file"))).unwrap();
    fs::write(dir.join("key"), format!("{}\n", secret("secret-file"))).unwrap();
}

/// Lines as a careless program would write them, of a secret and a host that the configuration knows.
fn careless(known: &str, host: &str) -> String {
    let unknown = secret("inlog");
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{unknown}\n-----END PRIVATE KEY-----\n");
    format!(
        "sent {known} to https://u:{unknown}@{host}/x?k={unknown}\nlogin of {known}: password={unknown}\n\
         Authorization: Bearer {unknown}\n{pem}asked 81.2.69.142 and [2a02:26f7:1:2::9]:443 of 92.60.128.0/17, \
         8.8.8.8:53, boss@{host} says\n\
         {{\"json\":\"\\n{known} 2a00:1450:4001:800::77\",\"token\":\"{unknown}\"}}\n"
    )
}

fn support(run_dir: &Path, cwd: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(MWAN);
    command.arg("--run-dir").arg(run_dir).arg("support").args(words).current_dir(cwd);
    command.stdin(Stdio::null()).output().unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// No byte of a secret, of a name or of a public address.
fn look_through(archive: &Path) {
    let bytes = fs::read(archive).unwrap();
    let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
    let around = |at: usize| {
        let cut = |at: usize| (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap();
        text[cut(at.saturating_sub(200))..cut((at + 100).min(text.len()))].to_owned()
    };
    // As `ip` writes the addresses of devices, too: in addresses of IPv6, in those of bridges, in names.
    for word in PUBLIC.iter().chain(&[MARK, "52:54:00:5e:c3", "5e:c3e7", "52:54:0:e:c3", "54000ec3"]) {
        assert_eq!(text.find(word).map(around), None, "{word} is in the archive");
    }
    assert_eq!(fs::metadata(archive).unwrap().permissions().mode() & 0o7777, 0o600);
}

/// What is in an archive, by the names in its folder.
fn unpacked(archive: &Path) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--strip-components=1", "-xf"]).arg(archive).arg("-C").arg(dir.path());
    assert!(tar.status().unwrap().success());
    dir
}

fn read(dir: &tempfile::TempDir, name: &str) -> String {
    fs::read_to_string(dir.path().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn start(config: &str, dir: tempfile::TempDir) -> Daemon {
    fs::write(dir.path().join("mwan3"), config).unwrap();
    let log = fs::OpenOptions::new().create(true).append(true).open(dir.path().join("log")).unwrap();
    Daemon::spawn(dir, NETWORK.trim_end_matches(" && "), log, |command| {
        command.args(["--platform", "linux", "--log-level", "debug"]);
    })
}

#[test]
fn no_secret_and_no_public_address_is_in_an_archive() {
    let dir = tempfile::tempdir().unwrap();
    with_secret_files(dir.path());
    let config = format!("{CONFIG}{}{}", used(dir.path()), every_secret_of_uci());
    let before = format!("{config}\nconfig alert 'old'\n\toption username '{}'\n", secret("before"));
    let mut daemon = start(&before, dir);
    // Another configuration; what the one before said is in its copy and, say, in the log.
    fs::write(daemon.path("mwan3"), config).unwrap();
    let kept = |d: &Daemon| d.json(&["rollback", "--list", "--json"])["revisions"].as_array().unwrap().len();
    daemon.wait("the new one is in force", |d| kept(d) == 2);
    let log = daemon.log()
        + &format!("once it was {}\n", secret("before"))
        + &careless(&secret("password-file"), &name("hooks"));
    fs::write(daemon.path("log"), log).unwrap();
    assert!(daemon.mwan(&["ifdown", "probed"]).status.success());

    let out = daemon.dir.path().join("out");
    fs::create_dir(&out).unwrap();
    // In the daemon's namespace, as its owner would.
    let mut command = common::enter(&daemon.pid().to_string());
    command.args([MWAN, "--run-dir"]).arg(daemon.dir.path()).arg("support").current_dir(&out);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let archive = fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
    let name = archive.file_name().unwrap().to_string_lossy().into_owned();
    assert!(
        name.starts_with("mwan-support-2") && name.ends_with(".tar") && err(&output).starts_with(&name),
        "{output:?}"
    );
    look_through(&archive);

    let there = unpacked(&archive);
    let manifest = read(&there, "MANIFEST");
    for name in [
        "status.txt",
        "check.txt",
        "diff.txt",
        "plan.txt",
        "events.txt",
        "revisions.txt",
        "report.txt",
        "log/stderr.txt",
    ] {
        assert!(
            manifest.contains(&format!("  {name}  (")) && !read(&there, name).is_empty(),
            "{name}: {manifest}"
        );
    }
    for name in ["status", "diff", "events", "flows", "revisions", "candidates"] {
        let json: serde_json::Value =
            serde_json::from_str(&read(&there, &format!("answers/{name}.json"))).unwrap();
        assert!(json["result"] != "error", "{name}: {json}");
    }
    let revisions: serde_json::Value = serde_json::from_str(&read(&there, "answers/revisions.json")).unwrap();
    let sums =
        revisions["revisions"].as_array().unwrap().iter().map(|kept| kept["revision"].as_str().unwrap());
    assert!(sums.clone().count() == 2 && sums.clone().all(|sum| sum.starts_with("[secret-")), "{revisions}");
    // It still says what it has to: lines, names, structure, and which address is which.
    let shown = read(&there, "config/mwan3");
    assert!(shown.contains("config interface 'probed'") && shown.contains("option type 'email'"), "{shown}");
    assert!(read(&there, "events.txt").contains("probed"));
    assert!(
        read(&there, "kernel/nft.txt").contains("table inet mwan")
            && read(&there, "log/stderr.txt").contains("says")
    );
    let gateway =
        shown.lines().find(|l| l.contains("gateway '240.")).unwrap().split('\'').nth(1).unwrap().to_owned();
    for name in ["kernel/neighbours.txt", "kernel/routes4.txt"] {
        assert!(read(&there, name).contains(&gateway), "{gateway} in {name}: {}", read(&there, name));
    }
    // In its network, as before.
    let network = gateway.rsplit_once('.').unwrap().0;
    assert!(read(&there, "kernel/routes4.txt").contains(&format!("{network}.0/24 dev wan0")), "{network}");
    recording(&there, &manifest);
}

/// A recording is one still.
fn recording(there: &tempfile::TempDir, manifest: &str) {
    if !cfg!(feature = "record") {
        assert!(!manifest.contains("recording.json"));
        return;
    }
    let replay = Command::new(MWAN).arg("replay").arg(there.path().join("recording.json")).output().unwrap();
    let said = String::from_utf8(replay.stdout).unwrap();
    assert!(
        said.ends_with("every decision is the recorded one\n"),
        "{said}{:?}",
        String::from_utf8(replay.stderr)
    );
}

#[test]
fn without_a_daemon_there_is_what_there_is_and_the_rest_is_said() {
    let dir = tempfile::tempdir().unwrap();
    with_secret_files(dir.path());
    let config = dir.path().join("mwan.toml");
    let known = "[wan.wan]\ndevice = 'wan0'\ngateway = '81.2.69.1'\n[policy.only]\nprefer = ['wan']\n";
    fs::write(&config, format!("{known}# {}\n{}", secret("comment"), every_secret_of_toml())).unwrap();
    let event =
        serde_json::json!({ "id": 1, "text": careless(&secret("alert-username"), &name("web-hostnames")) });
    fs::write(dir.path().join("events.jsonl"), format!("{event}\n{{\"cut\": \"{}", secret("alert-username")))
        .unwrap();
    fs::write(dir.path().join("ids.json"), "{\"version\":1,\"ids\":{\"wan\":1}}").unwrap();
    let words = ["--state-dir", dir.path().to_str().unwrap(), "--config", config.to_str().unwrap(), "x.tar"];
    let output = support(dir.path(), dir.path(), &words);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(
        err(&output).contains("not in it: what the daemon would say: no daemon answers at "),
        "{}",
        err(&output)
    );
    let archive = dir.path().join("x.tar");
    look_through(&archive);
    let there = unpacked(&archive);
    assert!(
        read(&there, "MANIFEST").contains("\nNot there\nwhat the daemon would say: no daemon answers at ")
    );
    assert!(read(&there, "config/mwan.toml").contains("[policy.only]\nprefer = [\"wan\"]\n#\n"));
    assert!(read(&there, "plan.txt").contains("wan0") && read(&there, "check.txt").contains("mwan.toml"));
    assert!(
        read(&there, "state/events.jsonl").contains("\"id\":1")
            && read(&there, "state/ids.json").contains("\"wan\":1")
    );
}

#[test]
fn ipfires_files_are_shown_without_what_is_in_their_keys() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("ipfire");
    let profile: String = keys::keys()
        .iter()
        .filter_map(|key| Some(format!("{}={}\n", key.key, private(key.privacy(), key.key)?)))
        .collect();
    let words =
        format!("TYPE=PPPOE\nDEVICE=red0\nPASWORD={}\nADDRESS=81.2.69.150/24\n{profile}", secret("misspelt"));
    let theirs = format!("RED_ADDRESS=81.2.69.150\nADMIN='{}'\n", secret("of-ipfire"));
    for (name, text) in [
        ("mwan/settings", "ENABLED=on\n"),
        ("mwan/profiles/dsl", &words),
        ("ethernet/settings", &theirs),
        ("ppp/settings", &words),
    ] {
        fs::create_dir_all(root.join(name).parent().unwrap()).unwrap();
        fs::write(root.join(name), text).unwrap();
    }
    fs::write(dir.path().join("events.jsonl"), format!("dialled as {}\n", secret("USERNAME"))).unwrap();
    let words = ["--state-dir", dir.path().to_str().unwrap(), "--config"];
    let settings = root.join("mwan/settings").display().to_string();
    let output = support(dir.path(), dir.path(), &[&words[..], &[&settings, "x.tar"]].concat());
    assert!(output.status.success(), "{output:?}");
    look_through(&dir.path().join("x.tar"));
    let there = unpacked(&dir.path().join("x.tar"));
    let shown = read(&there, "config/mwan/profiles/dsl");
    assert!(
        shown.contains("TYPE='PPPOE'")
            && shown.contains("PASSWORD='[secret-")
            && shown.contains("ADDRESS='240."),
        "{shown}"
    );
    assert!(read(&there, "config/ppp/settings").contains("USERNAME='[secret-"));
}

#[test]
fn what_cannot_be_written_is_said_in_a_line_and_nothing_is_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| -> PathBuf { dir.path().join(name) };
    fs::write(at("there.tar"), "mine").unwrap();
    symlink(at("elsewhere"), at("link.tar")).unwrap();
    let said = |words: &[&str]| {
        let output = support(dir.path(), dir.path(), words);
        assert_eq!(output.status.code(), Some(1), "{words:?}");
        err(&output).lines().map(str::to_owned).collect::<Vec<_>>()
    };
    for taken in ["there.tar", "link.tar", "."] {
        let lines = said(&[taken]);
        assert_eq!(
            lines,
            [
                format!("mwan: {taken} is there already, and is not overwritten"),
                "hint: name another file: mwan support FILE".into()
            ]
        );
    }
    assert_eq!(fs::read_to_string(at("there.tar")).unwrap(), "mine");
    assert!(!at("elsewhere").exists());
    let lines = said(&["no/x.tar"]);
    assert!(
        lines[0].starts_with("mwan: cannot write no/x.tar: ")
            && lines[1].starts_with("hint: name a file elsewhere"),
        "{lines:?}"
    );

    // A configuration that cannot be read is no reason to have nothing.
    let config = ["--config", dir.path().to_str().unwrap(), "y.tar"];
    let output = support(dir.path(), dir.path(), &config);
    assert!(
        output.status.success() && err(&output).contains("not in it: ") && at("y.tar").exists(),
        "{output:?}"
    );

    // Nor is one whose name is longer than a header of the archive.
    let long = at(&format!("{}.toml", "n".repeat(120)));
    fs::write(&long, "[wan.wan]\ndevice = 'eth0'\n").unwrap();
    let output = support(dir.path(), dir.path(), &["--config", long.to_str().unwrap(), "z.tar"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        read(&unpacked(&at("z.tar")), "MANIFEST")
            .contains(&format!("({}, as it is on disk)", long.display()))
    );

    // A disk that is full.
    let script = "mount -t tmpfs -o size=8k none \"$0\" && cd \"$0\" && \"$1\" --run-dir \"$0\" support x.tar; code=$?; ls; exit $code";
    fs::create_dir(at("small")).unwrap();
    let output = unshare().args(["-m", "sh", "-c", script]).arg(at("small")).arg(MWAN).output().unwrap();
    let lines: Vec<String> = err(&output).lines().map(str::to_owned).collect();
    assert_eq!(
        (output.status.code(), output.stdout.as_slice()),
        (Some(1), &b""[..]),
        "nothing is left: {lines:?}"
    );
    assert!(lines[0].starts_with("mwan: cannot write x.tar: No space left on device"), "{lines:?}");
    assert!(lines[1].starts_with("hint: name a file elsewhere"), "{lines:?}");
}

#[test]
fn an_archive_goes_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let output = support(dir.path(), dir.path(), &["-"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{:?}", err(&output));
    fs::write(dir.path().join("x.tar"), output.stdout).unwrap();
    assert!(read(&unpacked(&dir.path().join("x.tar")), "MANIFEST").starts_with("mwan support\n"));
}
