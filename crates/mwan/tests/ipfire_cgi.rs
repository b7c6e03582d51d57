//! The page of IPFire's web interface: run as the web server runs it, with stand-ins for IPFire's own modules, on the socket of a
//! real daemon.
#![allow(clippy::unwrap_used)]

mod common;
mod firewall;
mod isps;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Output, Stdio};

use firewall::{CABLE, Firewall, is_root};

const GENERAL: &str = r#"
package General;
our $swroot = '/var/ipfire';
1;
"#;
const LANG: &str = r#"
package Lang;
our %tr = ('error messages' => 'Error messages');
1;
"#;
/// As much as the page uses, and IPFire's protection: a POST counts if it comes from a page of this server.
const HEADER: &str = r#"
package Header;
our $colourgreen = '#339933';
our $colourred = '#993333';
sub showhttpheaders { print "Content-Type: text/html; charset=UTF-8\n\n"; }
sub getcgihash {
	my ($hash) = @_;
	return if ($ENV{'REQUEST_METHOD'} ne 'POST');
	my ($referer) = ($ENV{'HTTP_REFERER'} // '') =~ m/^https?\:\/\/([^\/]+)/;
	return if (($referer // '') ne $ENV{'SERVER_NAME'});
	read(STDIN, my $body, 65536);
	foreach my $pair (split(/&/, $body)) {
		my ($key, $value) = split(/=/, $pair, 2);
		$value =~ s/\+/ /g;
		$value =~ s/%([0-9a-fA-F]{2})/chr(hex($1))/ge;
		$hash->{$key} = $value;
	}
}
sub openpage { print "<html><head>$_[2]</head><body><h1>$_[0]</h1>\n"; }
sub closepage { print "</body></html>\n"; }
sub openbigbox { }
sub closebigbox { }
sub openbox { print "<section><h2>$_[2]</h2>\n"; }
sub closebox { print "</section>\n"; }
1;
"#;
const CGI: &str = "/srv/web/ipfire/cgi-bin/mwan.cgi";

fn stand_ins(firewall: &Firewall) {
    firewall.write("var/ipfire/general-functions.pl", GENERAL);
    firewall.write("var/ipfire/lang.pl", LANG);
    firewall.write("var/ipfire/header.pl", HEADER);
}

fn request(firewall: &Firewall, method: &str, referer: &str, body: &str) -> Output {
    let mut command = firewall.as_nobody(CGI);
    command.env("REQUEST_METHOD", method).env("SERVER_NAME", "ipfire.example:444");
    command.env("SCRIPT_NAME", "/cgi-bin/mwan.cgi").env("HTTP_REFERER", referer);
    command.env("QUERY_STRING", body).env("CONTENT_LENGTH", body.len().to_string());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A page that does not read it may have ended.
    let _ = child.stdin.take().unwrap().write_all(body.as_bytes());
    child.wait_with_output().unwrap()
}

/// The page, which is whole and complains of nothing.
fn page(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{text}");
    assert!(output.status.success());
    let text = text.strip_prefix("Content-Type: text/html; charset=UTF-8\n\n").unwrap().to_owned();
    balanced(&text);
    text
}

/// Every element that is opened is closed, in order.
fn balanced(text: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in text.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        let name = tag.split_ascii_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{text}"),
            None if name == "meta" => {}
            None => open.push(name),
        }
    }
    assert!(open.is_empty(), "{open:?} are not closed: {text}");
}

fn get(firewall: &Firewall) -> String {
    page(&request(firewall, "GET", "", ""))
}

fn post(firewall: &Firewall, body: &str) -> String {
    page(&request(firewall, "POST", "https://ipfire.example:444/cgi-bin/mwan.cgi", body))
}

#[test]
fn the_page_shows_the_links_and_its_buttons_switch_red() {
    let firewall = Firewall::running();
    stand_ins(&firewall);
    firewall.ok(&format!("perl -wc {CGI}"));
    let text = get(&firewall);
    assert!(text.contains("RED is carried by primary."), "{text}");
    assert!(text.contains("<td>red (primary)</td><td>STATIC</td><td>red0</td>"), "{text}");
    assert!(text.contains("<td>cable</td><td>STATIC</td><td>eth1</td>"), "{text}");
    assert_eq!(text.matches("style='color: #339933'>ipv4 online (").count(), 2, "{text}");
    assert!(text.contains("<option value='cable'>cable</option>"), "{text}");

    let text = post(&firewall, "ACTION=failover");
    assert!(text.contains("The best backup takes RED over"), "{text}");
    let by_hand = "RED is carried by cable, by hand until failback.";
    firewall.wait("the backup carries", |f| get(f).contains(by_hand));
    post(&firewall, "ACTION=failback");
    firewall.wait("the primary carries", |f| f.carried_by("primary"));
    post(&firewall, "ACTION=switch&PROFILE=cable");
    firewall.wait("the backup carries", |f| f.carried_by("cable"));
    assert!(post(&firewall, "ACTION=test").contains("its line below shows how that goes"));
    post(&firewall, "ACTION=failback");
    firewall.wait("the primary carries", |f| f.carried_by("primary"));

    let profile = "var/ipfire/mwan/state/current-profile";
    post(&firewall, "ACTION=switch&PROFILE=cable");
    firewall.wait("the backup has RED", |f| f.read(profile) == "cable\n");
    post(&firewall, "ACTION=disable");
    firewall.wait("RED is given back", |f| f.read(profile) == "primary\n");
    firewall.wait("it is off", |f| get(f).contains("mwan is switched off: RED is IPFire&#39;s own."));
    assert!(firewall.read("var/ipfire/mwan/settings").starts_with("ENABLED=off\n"));
    assert!(!get(&firewall).contains("value='failover'"));
    post(&firewall, "ACTION=enable");
    firewall.wait("it is on", |f| get(f).contains("RED is carried by primary."));
}

#[test]
fn nothing_is_done_for_others() {
    let firewall = Firewall::running();
    stand_ins(&firewall);
    let refused = "did not come from a page of this firewall, or asks for something unknown";
    // A link somebody was made to follow, a form on another server, no form at all, another word.
    assert!(!page(&request(&firewall, "GET", "", "ACTION=failover")).contains("takes RED over"));
    let foreign = page(&request(&firewall, "POST", "https://evil.example/", "ACTION=failover"));
    assert!(foreign.contains(refused), "{foreign}");
    assert!(page(&request(&firewall, "POST", "", "ACTION=failover")).contains(refused));
    assert!(post(&firewall, "ACTION=stop").contains(refused));
    assert!(post(&firewall, "").contains(refused));
    for profile in ["", "a%22%7D", "..%2F%00", "%0Acable", "cable%0A", "x%27%3B+rm", "<b>"] {
        let text = post(&firewall, &format!("ACTION=switch&PROFILE={profile}"));
        assert!(text.contains("This is not the name of a profile."), "{profile}: {text}");
    }
    let text = post(&firewall, "ACTION=switch&PROFILE=nobody");
    assert!(
        text.contains("there is no usable profile &#39;nobody&#39; (the configuration has: cable)"),
        "{text}"
    );
    assert!(firewall.status().starts_with("RED is carried by primary\n"), "{}", firewall.status());
}

fn ask(socket: &str, request: &str) -> String {
    let mut stream = UnixStream::connect(socket).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    answer
}

#[test]
fn operators_may_see_and_switch_and_nothing_else() {
    let firewall = Firewall::running();
    let path = firewall.path("run/mwan/operator.sock");
    let meta = std::fs::metadata(&path).unwrap();
    let group = if is_root() { 99 } else { meta.gid() };
    assert_eq!((meta.mode() & 0o777, meta.gid()), (0o660, group));
    assert_eq!(std::fs::metadata(firewall.path("run/mwan/mwan.sock")).unwrap().mode() & 0o777, 0o600);
    let socket = path.to_str().unwrap();
    assert!(ask(socket, "{\"method\":\"status\"}\n").starts_with("{\"result\":\"status\","));
    for refused in [
        r#"{"method":"stop"}"#,
        r#"{"method":"reload"}"#,
        r#"{"method":"if_down","interface":"red"}"#,
        r#"{"method":"use","interface":"red"}"#,
        r#"{"method":"diff"}"#,
        r#"{"method":"plan","file":"x","text":""}"#,
    ] {
        let answer = ask(socket, &format!("{refused}\n"));
        assert!(answer.contains("this socket is for the status and for RED"), "{refused}: {answer}");
    }
    // Longer than any request of an operator.
    let answer =
        ask(socket, &format!("{{\"method\":\"plan\",\"file\":\"{}\",\"text\":\"\"}}\n", "x".repeat(5000)));
    assert!(answer.contains("not a request"), "{answer}");
    if is_root() {
        let denied = firewall.as_nobody("/usr/local/bin/mwan status").output().unwrap();
        assert!(String::from_utf8_lossy(&denied.stderr).contains("hint: run it as root"), "{denied:?}");
    }
    // Somebody tidied up: it is there again.
    std::fs::remove_file(&path).unwrap();
    firewall.wait("it is there again", |_| path.exists());
    firewall.ok("/usr/local/bin/mwan-daemon-universal stop");
    assert!(!path.exists());
}

#[test]
fn several_reds_have_a_page_and_named_tables() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    stand_ins(&firewall);
    let settings = "MWAN_ENABLED=on\nMWAN_INTERFACE_COUNT=2\nMWAN_MONITOR_INTERVAL=0.3\n";
    firewall.write("var/ipfire/mwan/settings", settings);
    firewall.write("var/ipfire/mwan/interfaces/red0", "INTERFACE_WEIGHT=1\n");
    firewall.write("var/ipfire/mwan/interfaces/red1", CABLE);
    firewall.ok("/usr/local/bin/mwan-daemon-universal start");
    firewall.wait("both carry", |f| f.status().starts_with("RED is carried by red0, red1\n"));
    let text = get(&firewall);
    assert!(text.contains("Several REDs at once.") && !text.contains("value='failover'"), "{text}");
    assert_eq!(text.matches("<td>yes</td>").count(), 2, "{text}");
    assert!(firewall.ok("/usr/bin/env ip route show table wan1").contains("192.0.2.1"));
    assert!(firewall.ok("/usr/bin/env ip route show table wan2").contains("198.51.100.1"));
    post(&firewall, "ACTION=disable");
    firewall.wait("it is off", |f| f.read("var/ipfire/mwan/settings").starts_with("MWAN_ENABLED=off\n"));
}

/// A daemon that answers what it is told to.
fn pretend(firewall: &Firewall, answers: Vec<Vec<u8>>) -> std::thread::JoinHandle<()> {
    let folder = firewall.path("run/mwan");
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("operator.sock");
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut client, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&client).read_line(&mut line).unwrap();
            client.write_all(&answer).unwrap();
        }
    })
}

#[test]
fn whatever_the_daemon_says_the_page_is_whole() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    stand_ins(&firewall);
    assert!(get(&firewall).contains("The daemon does not run."));
    let hostile = r#"{"result":"status","problems":["<script>alert(1)</script> \"é\" \u00e9 \u0000\\ & 'x'"],"interfaces":[],
        "red":{"enabled":true,"profile":"<b>","state":"settled","forced":null,"problem":null,"links":[
        {"name":"x' onclick='y","method":"GSM","primary":false,"phase":"waiting","on_trial":false,"device":"<i>","attempt":2,
        "reason":"said: <img src=x>","retry_s":7}]}}"#;
    let one_line = hostile.replace('\n', "") + "\n";
    let daemon = pretend(&firewall, vec![one_line.clone().into_bytes()]);
    let text = get(&firewall);
    daemon.join().unwrap();
    for gone in ["<script", "<img", "<i>", "<b>", "x' onclick"] {
        assert!(!text.contains(gone), "{gone}: {text}");
    }
    assert!(
        text.contains("&lt;script&gt;alert(1)&lt;/script&gt; &quot;é&quot; é  \\ &amp; &#39;x&#39;"),
        "{text}"
    );
    assert!(text.contains("waiting: said: &lt;img src=x&gt;; again in 7 s"), "{text}");
    let half = one_line.as_bytes()[..200].to_vec();
    let deep = [b"{\"a\":".repeat(1000), b"\n".to_vec()].concat();
    for nonsense in [b"\n".to_vec(), Vec::new(), b"[1,2]\n".to_vec(), half, deep, b"{\"red\":[]}\n".to_vec()]
    {
        let daemon = pretend(&firewall, vec![nonsense]);
        let text = get(&firewall);
        daemon.join().unwrap();
        assert!(!text.contains("RED is"), "{text}");
    }
}

/// As Header::genmenu reads it.
#[test]
fn the_menu_leads_to_the_page() {
    let firewall = Firewall::new();
    firewall.ok("/root/mwan ipfire install");
    let read = r#"my $subipfire = {}; eval `cat /var/ipfire/menu.d/*.menu`; die $@ if ($@);
        my $item = $subipfire->{"60.mwan"}; print "$item->{caption} $item->{enabled} $item->{uri}""#;
    assert_eq!(firewall.ok(&format!("/usr/bin/perl -Mstrict -we '{read}'")), "Multi-WAN 1 /cgi-bin/mwan.cgi");
    assert!(firewall.path("srv/web/ipfire/cgi-bin/mwan.cgi").exists());
}

/// It has no other way to do anything: no file, no program, no evaluated text.
#[test]
fn the_page_can_do_nothing_but_ask() {
    let path =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../package/ipfire/files/srv/web/ipfire/cgi-bin/mwan.cgi");
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    let code: String =
        text.lines().filter(|l| !l.trim_start().starts_with('#')).map(|l| format!("{l}\n")).collect();
    for word in ["system", "exec", "qx", "`", "open(", "opendir", "unlink", "eval \"", "eval(", "/ee"] {
        assert!(!code.contains(word), "{word}");
    }
}
