//! Connections `pppd` makes. All its options are in a file that only root may read; its arguments name the file.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use mwan_config::link::{Auth, Link, Login, Method, OWN_SESSION, Secret};

use super::{LEASE_METRIC, Role, file, session_device, write};
use crate::drivers::Places;
use crate::plan::{Plan, Step};
use crate::sim;

/// How long a SIM may take to try a PIN, seconds: some take twenty.
const SIM_S: u32 = 45;

/// The way to a PPTP server.
pub(super) struct Hop {
    pub(super) server: IpAddr,
    pub(super) address: Option<IpNet>,
    pub(super) via: Option<IpAddr>,
}

/// RFC 2516, by pppd's plugin.
pub(super) fn pppoe(plan: &mut Plan, link: &Link, role: Role, device: &str, places: &Places) {
    let Method::Pppoe { service, concentrator, login } = &link.method else { return };
    let mut options = Options::new(link, role);
    // The plugin first: only then the words after it exist.
    options.word(&["plugin", "pppoe.so"]);
    if let Some(service) = service {
        options.text("rp_pppoe_service", service);
    }
    if let Some(concentrator) = concentrator {
        options.text("rp_pppoe_ac", concentrator);
    }
    // Anything else would be taken for a device of that name.
    options.word(&[&format!("nic-{device}")]);
    options.login(Some(login));
    start(plan, options, link, role, places);
}

/// RFC 2637, by `pptp` below pppd.
pub(super) fn pptp(plan: &mut Plan, link: &Link, role: Role, device: &str, hop: &Hop, places: &Places) {
    let Method::Pptp { login, .. } = &link.method else { return };
    let server = hop.server.to_string();
    match hop.address {
        Some(address) => {
            plan.up.push(super::own_address(&address.to_string(), device));
        }
        None => super::lease(plan, link, device, None, places),
    }
    if let Some(via) = hop.via {
        let via = via.to_string();
        let route = |verb| ["ip", "route", verb, &server, "via", &via, "dev", device, "metric", LEASE_METRIC];
        plan.up.push(Step::make(&route("add"), &route("del")));
    }
    let mut options = Options::new(link, role);
    // pppd gives this to a shell; the server is an address, and the program's place is ours.
    options.text("pty", &format!("{} {server} --nolaunchpppd", places.pptp));
    options.login(Some(login));
    start(plan, options, link, role, places);
}

/// A modem on a serial line, by `chat` below pppd.
pub(super) fn modem(plan: &mut Plan, link: &Link, role: Role, places: &Places) {
    let Method::Modem { speed, apn, number, pin, login } = &link.method else { return };
    let (script, report) = (file(places, link, role, "chat"), file(places, link, role, "report"));
    plan.up.push(Step::remove(&report));
    // A card that is ready must not be asked to count: without a PIN it is found out whether it asks for one.
    plan.up.push(write(&script, chat(apn, number, None)));
    plan.down.push(Step::remove(&script));
    let mut options = Options::new(link, role);
    options.word(&[&link.device, &speed.to_string()]);
    options.word(&["lock"]);
    options.word(&["modem"]);
    options.word(&["crtscts"]);
    // pppd gives this to a shell; every word of it is ours.
    options.text("connect", &format!("{} -r {report} -f {script}", places.chat));
    options.login(login.as_ref());
    start(plan, options, link, role, places);
    if pin.is_some() {
        plan.unlock.push(Step::remove(&report));
        plan.unlock.push(write(&script, chat(apn, number, pin.as_ref())));
        plan.unlock.extend(plan.up.last().cloned());
    }
    plan.report = Some(report);
    plan.limit = Duration::from_secs(75);
}

/// What is said to a modem (ITU-T V.250, 3GPP TS 27.007), in the words of chat(8). With a PIN: to one whose SIM asks for it.
pub(super) fn chat(apn: &str, number: &str, pin: Option<&Secret>) -> String {
    let mut lines = Vec::new();
    // What it reports ends up in the report; the longest word first, chat takes the first that fits.
    let words = ["NO CARRIER", "NO DIALTONE", "NO DIAL TONE", "NO ANSWER", "BUSY", "SIM PUK", "+CME ERROR"];
    for word in words {
        lines.push(format!("ABORT '{word}'"));
        lines.push(format!("REPORT '{word}'"));
    }
    if pin.is_none() {
        // Not at once the end: the OK behind it would be left for the next, and taken for an answer to its first command.
        lines.push("REPORT 'SIM PIN'".to_owned());
    }
    lines.push("TIMEOUT 5".to_owned());
    // Whoever was connected before may have left it in data mode.
    lines.push("'' ATZ".to_owned());
    // And whoever died while it said something has left half a command, which is to be ended first.
    lines.push("'OK-+++\\c-OK-\\r\\dATZ-OK' ATE0".to_owned());
    lines.push("OK AT+CMEE=1".to_owned());
    lines.push("OK AT+CPIN?".to_owned());
    // An empty word to say would be a carriage return: it is `\c`.
    match pin {
        // SAY is written at once: whoever reads the log knows at every moment whether the PIN may have been told.
        Some(pin) => {
            lines.push("'SIM PIN' '\\c'".to_owned());
            lines.push("OK '\\c'".to_owned());
            lines.push("ABORT ERROR".to_owned());
            lines.push(format!("TIMEOUT {SIM_S}"));
            lines.push(format!("SAY '{}\\n\\c'", sim::TOLD));
            lines.push(format!("'' '\\qAT+CPIN=\"{}\"'", pin.reveal()));
            lines.push("OK '\\c'".to_owned());
            lines.push(format!("SAY '{}\\n\\c'", sim::READY));
            lines.push("CLR_ABORT ERROR".to_owned());
            lines.push("'' '\\dAT+CSQ'".to_owned());
        }
        // The OK behind READY is still to come, and must not be taken for that of the next command: then the one after it would
        // interrupt that (V.250, section 5.6.1). So a command is asked whose answer has a word of its own.
        None => {
            lines.push("READY '\\dAT+CSQ'".to_owned());
            lines.push(format!("SAY '{}\\n\\c'", sim::READY));
        }
    }
    lines.push("TIMEOUT 30".to_owned());
    lines.push("CSQ: '\\c'".to_owned());
    lines.push(format!("OK 'AT+CGDCONT=1,\"IP\",\"{apn}\"'"));
    lines.push(format!("OK 'ATD{number}'"));
    lines.push("CONNECT \\c".to_owned());
    lines.join("\n") + "\n"
}

/// Writes the options, and pppd's place in the plan.
fn start(plan: &mut Plan, options: Options, link: &Link, role: Role, places: &Places) {
    let path = file(places, link, role, "ppp");
    plan.up.push(write(&path, options.text));
    plan.up.push(Step::spawn(&["pppd", "file", &path]));
    plan.down.push(Step::remove(&path));
    let device = session_device(link, role);
    if device == OWN_SESSION {
        // IPFire's own session leaves its route there, for the time when we do not run. pppd does not make it where another is,
        // as that of a lease, whatever its metric.
        plan.then.push(Step::attempt(&["ip", "route", "replace", "default", "dev", &device]));
    } else if role == Role::Carry {
        plan.then.push(Step::attempt(&super::last_route("append", &device, None)));
    }
    plan.limit = Duration::from_secs(45);
}

/// The text of a file of options (pppd(8), OPTIONS FILES).
struct Options {
    text: String,
}

impl Options {
    fn new(link: &Link, role: Role) -> Self {
        let mut options = Options { text: String::new() };
        let device = session_device(link, role);
        let unit = device.trim_start_matches(|c: char| !c.is_ascii_digit());
        options.word(&["unit", unit]);
        for word in [
            "nodetach",
            "noauth",
            "noipdefault",
            // Which WAN is used is not decided in the main table.
            "nodefaultroute",
            // IPFire's RED is IPv4.
            "noipv6",
            "hide-password",
            "nopersist",
        ] {
            options.word(&[word]);
        }
        options.word(&["maxfail", "1"]);
        // A concentrator that is gone is missed after half a minute even where nobody probes.
        options.word(&["lcp-echo-interval", "10"]);
        options.word(&["lcp-echo-failure", "3"]);
        options.word(&["logfd", "2"]);
        // The platform's own scripts take every session for the one it knows; who is told what is decided by us.
        options.word(&["ip-up-script", "/bin/true"]);
        options.word(&["ip-down-script", "/bin/true"]);
        if role == Role::Carry {
            options.word(&["usepeerdns"]);
        }
        if let Some(mtu) = link.mtu {
            let mtu = mtu.to_string();
            options.word(&["mtu", &mtu]);
            options.word(&["mru", &mtu]);
        }
        options
    }

    /// Words without spaces or quotes.
    fn word(&mut self, words: &[&str]) {
        self.text.push_str(&words.join(" "));
        self.text.push('\n');
    }

    /// A word and text of the owner's, quoted as options.c reads it: a backslash before what would end it.
    fn text(&mut self, word: &str, text: &str) {
        let quoted: String = text
            .chars()
            .flat_map(|c| ['"', '\\'].contains(&c).then_some('\\').into_iter().chain([c]))
            .collect();
        self.text.push_str(&format!("{word} \"{quoted}\"\n"));
    }

    fn login(&mut self, login: Option<&Login>) {
        let Some(login) = login else { return };
        self.text("user", &login.user);
        self.text("password", login.password.reveal());
        let refused: &[&str] = match login.auth {
            Auth::Any => &[],
            Auth::Pap => &["refuse-chap", "refuse-mschap", "refuse-mschap-v2", "refuse-eap"],
            Auth::Chap => &["refuse-pap", "refuse-eap"],
        };
        refused.iter().for_each(|word| self.word(&[word]));
    }
}
