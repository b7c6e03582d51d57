//! A document takes its place in a UCI text.
//!
//! The order of new sections is that of the program on the cloud's devices, as the guide shows it: globals, rules, then
//! for failover each interface with its member and, with the first one, the policy; then the same for balancing.

use crate::small::Gather;
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::edit::{Editor, Setting, Wanted, members};
use super::json::{Node, Value};
use super::read::{WANS, own_fields, seconds};
use super::{Applied, Document, KEY, Site, Wan, kept};
use crate::codes;
use crate::model::{AddressMatch, AddressRange, Config, Family, Mode, Rule};
use crate::report::{Place, Problem, Report, show};
use crate::uci;

const FAIL_OVER: &str = "FAIL_OVER";
const LOAD_BALANCE: &str = "LOAD_BALANCE";
const DEFAULT_HTTPS: &str = "DEFAULT_HTTPS";
const DEFAULT_ANY: &str = "DEFAULT_ANY";

const MEMBERS: [&[&str]; 2] = [&["member", "route"], &["route", "member"]];
const POLICIES: [&[&str]; 2] = [&["policy", "strategy"], &["strategy", "policy"]];
const USE_MEMBER: [&[&str]; 2] = [&["use_member", "use_route"], &["use_route", "use_member"]];
const USE_POLICY: [&[&str]; 2] = [&["use_policy", "use_strategy"], &["use_strategy", "use_policy"]];

/// What the guide's file says of every interface, whatever the document.
const CONSTANTS: [(&str, &str); 9] = [
    ("down", "1"),
    ("up", "3"),
    ("initial_state", "online"),
    ("track_method", "ping"),
    ("reliability", "1"),
    ("count", "1"),
    ("size", "56"),
    ("max_ttl", "60"),
    ("check_quality", "0"),
];

/// Writes a document into a UCI text, which may be empty. What the document does not own stays as it is.
pub fn apply(document: &Document, file_name: &str, text: &str, site: &Site) -> Applied {
    let editor = Editor::new(text);
    let mwan4 = usize::from(editor.has_kind(&["route", "strategy"]));
    let before = kept(&uci::parse(file_name, text.as_bytes()).0);
    let before = before.map(|node| super::read::understand(&mut Report::new(file_name), node));
    let report = Report::new(file_name);
    let mut merger =
        Merger { document, before, editor, words: mwan4, report, site, written: BTreeSet::new() };
    let text = merger.run();
    let mut report = merger.report;
    check_rules(&crate::parse_uci(file_name, text.as_bytes()).config, &mut report);
    Applied { text, diagnostics: report.finish() }
}

/// How a mode is written, and the policy that does it.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::LoadBalance => LOAD_BALANCE,
        Mode::FailOver => FAIL_OVER,
    }
}

/// A member of one of the two policies.
struct Seat<'a> {
    interface: &'a str,
    metric: u32,
    weight: u32,
}

impl Seat<'_> {
    fn name(&self) -> String {
        format!("{}_m{}_w{}", self.interface, self.metric, self.weight)
    }
}

struct Merger<'a> {
    document: &'a Document,
    /// What was applied last, as far as the text tells.
    before: Option<Document>,
    editor: Editor<'a>,
    /// Whether the file is in mwan3's words (0) or mwan4's (1).
    words: usize,
    report: Report,
    site: &'a Site,
    /// Sections that are there already.
    written: BTreeSet<String>,
}

impl<'a> Merger<'a> {
    fn run(&mut self) -> String {
        let present = self.present();
        let seats = |mode: Mode| -> Vec<Seat<'a>> {
            let carrying = present.iter().filter(|wan| wan.enable && wan.ranked);
            carrying
                .map(|wan| match mode {
                    Mode::FailOver => Seat { interface: &wan.name, metric: wan.metric, weight: 1 },
                    Mode::LoadBalance => Seat { interface: &wan.name, metric: 1, weight: wan.weight },
                })
                .collect()
        };
        let (failover, balance) = (seats(Mode::FailOver), seats(Mode::LoadBalance));
        self.remove_old([&failover, &balance]);
        let mode = self.mode();
        self.globals(mode);
        if failover.is_empty() {
            if self.document.enable && !present.is_empty() {
                let problem =
                    Problem::new(codes::CLOUD_IDLE, "no interface is enabled: nothing is routed by a policy");
                self.say(WANS, problem);
            }
        } else {
            self.rules(mode);
        }
        self.pass(&present, FAIL_OVER, &failover);
        self.pass(&present, LOAD_BALANCE, &balance);
        self.keep();
        std::mem::replace(&mut self.editor, Editor::new("")).finish()
    }

    fn say(&mut self, option: &str, problem: Problem) {
        self.report.add(Place { line: 0, section: KEY, option: Some(option) }, problem);
    }

    /// The interfaces that get a section. The document may name some that a device of this kind could have and this one has
    /// not: switched off they are only kept.
    fn present(&mut self) -> Vec<&'a Wan> {
        let document = self.document;
        let mut present = Vec::new();
        for wan in &document.wans {
            if let Some(why) = self.taken(&wan.name) {
                let section = format!("interface {}", show(&wan.name));
                let problem = Problem::new(codes::CLOUD_NAME, format!("{why}; the interface is left out"));
                let place = Place { line: 0, section: &section, option: None };
                self.report.add(place, problem.hint("rename one of them: uci takes both for one section"));
                continue;
            }
            let known = self.site.interfaces.as_ref().is_none_or(|names| names.contains(&wan.name))
                || self.editor.has(&["interface"], &wan.name);
            if known || wan.enable {
                present.push(wan);
            }
            if !known {
                let message = match wan.enable {
                    true => "the network configuration has no such interface; it is written, and waits",
                    false => "the network configuration has no such interface; switched off, it is only kept",
                };
                let code = if wan.enable { codes::CLOUD_ABSENT } else { codes::CLOUD_UNUSED };
                let section = format!("interface {}", show(&wan.name));
                self.report
                    .add(Place { line: 0, section: &section, option: None }, Problem::new(code, message));
            }
        }
        present
    }

    /// What an interface cannot be called since something else is: the names of all sections are one set (UCI). What is so already is
    /// the owner's affair.
    fn taken(&self, name: &str) -> Option<String> {
        if self.editor.has(&["interface"], name) {
            return None;
        }
        if let Some(kind) = self.editor.other_kind("interface", name) {
            return Some(format!("the configuration has a section of kind {} of this name", show(kind)));
        }
        let other = self.document.wans.iter().find(|other| is_member_of(name, &other.name))?;
        Some(format!("a member of {} may be called so", show(&other.name)))
    }

    fn mode(&self) -> Mode {
        let there = self.editor.values(&["globals"], "", &["mode"]).pop();
        let known = crate::mode::WORDS.iter().find(|(word, _)| there.as_deref() == Some(word));
        self.document.mode.or(known.map(|(_, mode)| *mode)).unwrap_or(Mode::FailOver)
    }

    fn is_new(&self, name: &str) -> bool {
        !self.before.as_ref().is_some_and(|before| before.wans.iter().any(|wan| wan.name == name))
    }

    fn globals(&mut self, mode: Mode) {
        let enabled = if self.document.enable { "1" } else { "0" };
        let wanted = Wanted {
            kinds: &["globals"],
            name: "globals".to_owned(),
            options: vec![
                once("mmx_mask", "0x3F00"),
                once("local_source", "lan"),
                option("mode", mode_name(mode)),
                option("enabled", enabled),
                list(&["notification_email"], self.document.emails.clone()),
            ],
        };
        self.editor.want(&wanted, false);
    }

    fn rules(&mut self, mode: Mode) {
        let adopt = self.before.is_none();
        let policy = || Setting {
            names: USE_POLICY[self.words].to_vec(),
            values: vec![mode_name(mode).to_owned()],
            list: false,
            once: false,
        };
        let https = vec![
            once("family", "ipv4"),
            once("sticky", "1"),
            once("proto", "tcp"),
            once("dest_ip", "0.0.0.0/0"),
            once("dest_port", "443"),
            policy(),
        ];
        let any = vec![once("family", "ipv4"), once("dest_ip", "0.0.0.0/0"), policy()];
        for (name, options) in [(DEFAULT_HTTPS, https), (DEFAULT_ANY, any)] {
            self.editor.want(&Wanted { kinds: &["rule"], name: name.to_owned(), options }, adopt);
        }
    }

    /// Interfaces, members and the policy of one mode, in the guide's order.
    fn pass(&mut self, present: &[&Wan], policy: &str, seats: &[Seat<'_>]) {
        for wan in present {
            if self.written.insert(format!("interface {}", wan.name)) {
                let adopt = self.is_new(&wan.name);
                self.editor.want(&interface(wan), adopt);
            }
            let Some(seat) = seats.iter().find(|seat| seat.interface == wan.name) else { continue };
            // Of metric and weight 1 it is in both policies.
            if self.written.insert(format!("member {}", seat.name())) {
                self.editor.want(&member(seat, MEMBERS[self.words]), false);
            }
            if self.written.insert(format!("policy {policy}")) {
                let names = seats.iter().map(Seat::name).collect();
                let options = vec![list(USE_MEMBER[self.words], names)];
                let wanted = Wanted { kinds: POLICIES[self.words], name: policy.to_owned(), options };
                self.editor.want(&wanted, false);
            }
        }
    }

    /// What earlier documents wrote and this one has not.
    fn remove_old(&mut self, seats: [&[Seat<'_>]; 2]) {
        let (document, before) = (self.document, self.before.take());
        let old = before.as_ref().map_or(&[][..], |before| &before.wans);
        let ours: BTreeSet<&str> = old.iter().chain(&document.wans).map(|wan| wan.name.as_str()).gather();
        let wanted: BTreeSet<String> = seats.into_iter().flatten().map(Seat::name).gather();
        let mut used: BTreeSet<String> = BTreeSet::new();
        for policy in self.editor.names(POLICIES[0]) {
            if ![FAIL_OVER, LOAD_BALANCE].contains(&policy.as_str()) {
                used.extend(self.editor.values(POLICIES[0], &policy, USE_MEMBER[0]));
            }
        }
        for (name, interface) in members(&self.editor, MEMBERS[0]) {
            let cloud = ours.contains(interface.as_str()) && is_member_of(&name, &interface);
            if cloud && !wanted.contains(&name) && !used.contains(&name) {
                self.editor.remove(MEMBERS[0], &name);
            }
        }
        if wanted.is_empty() {
            self.editor.remove(POLICIES[0], FAIL_OVER);
            self.editor.remove(POLICIES[0], LOAD_BALANCE);
            self.editor.remove(&["rule"], DEFAULT_HTTPS);
            self.editor.remove(&["rule"], DEFAULT_ANY);
        }
        let left: BTreeSet<String> = members(&self.editor, MEMBERS[0]).into_iter().map(|(_, i)| i).gather();
        for wan in old.iter().filter(|wan| document.wans.iter().all(|other| other.name != wan.name)) {
            // One that the owner uses elsewhere has become the owner's.
            if !left.contains(&wan.name) {
                self.editor.remove(&["interface"], &wan.name);
            }
        }
        self.before = before;
    }

    /// What the other sections cannot say.
    fn keep(&mut self) {
        let fits = |node: Node| Some(node.compact()).filter(|text| text.len() <= uci::WORD_BYTES_MAX);
        let document = &self.document.kept;
        let own = fits(own_fields(document)).unwrap_or_else(|| format!("{{\"{WANS}\":{{}}}}"));
        let wans = document.get(WANS).and_then(Node::members).unwrap_or_default();
        let wans = wans.iter().filter_map(|wan| fits(Node::new(Value::Object(vec![wan.clone()]))));
        let options = vec![option("document", &own), list(&["wan"], wans.collect())];
        self.editor.want(&Wanted { kinds: &["cloud"], name: KEY.to_owned(), options }, false);
    }
}

/// Whether a member has a name that we give.
fn is_member_of(name: &str, interface: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let rest = name.strip_prefix(interface).and_then(|rest| rest.strip_prefix("_m"));
    rest.and_then(|rest| rest.split_once("_w"))
        .is_some_and(|(metric, weight)| digits(metric) && digits(weight))
}

fn option(name: &'static str, value: &str) -> Setting {
    setting(name, value, false)
}

fn once(name: &'static str, value: &str) -> Setting {
    setting(name, value, true)
}

fn setting(name: &'static str, value: &str, once: bool) -> Setting {
    Setting { names: vec![name], values: vec![value.to_owned()], list: false, once }
}

fn list(names: &[&'static str], values: Vec<String>) -> Setting {
    Setting { names: names.to_vec(), values, list: true, once: false }
}

fn interface(wan: &Wan) -> Wanted {
    let mut options = vec![
        option("enabled", if wan.enable { "1" } else { "0" }),
        list(&["track_ip"], wan.targets.clone()),
        option("interval", &seconds(wan.interval)),
        option("timeout", &seconds(wan.timeout)),
        option("failure_interval", &seconds(wan.failure_interval)),
        option("recovery_interval", &seconds(wan.recovery_interval)),
    ];
    options.extend(CONSTANTS.into_iter().map(|(name, value)| once(name, value)));
    Wanted { kinds: &["interface"], name: wan.name.clone(), options }
}

fn member(seat: &Seat<'_>, kinds: &'static [&'static str]) -> Wanted {
    let options = vec![
        option("interface", seat.interface),
        option("metric", &seat.metric.to_string()),
        option("weight", &seat.weight.to_string()),
    ];
    Wanted { kinds, name: seat.name(), options }
}

/// Says if a rule of the owner's leaves nothing to the document's.
fn check_rules(config: &Config, report: &mut Report) {
    let Some(at) = config.rules.iter().position(|rule| rule.name == DEFAULT_ANY) else { return };
    if let Some(first) = config.rules[..at].iter().find(|rule| takes_all(rule)) {
        let message =
            format!("it takes all IPv4 traffic before {DEFAULT_ANY}: what the document says has no effect");
        let place = Place {
            line: first.location.line,
            section: &format!("rule {}", show(&first.name)),
            option: None,
        };
        report.add(place, Problem::new(codes::CLOUD_SHADOWED, message).hint("move it behind, or remove it"));
    }
}

/// Whether every IPv4 packet matches.
fn takes_all(rule: &Rule) -> bool {
    let any = |ranges: &[AddressRange]| {
        ranges.iter().any(|r| matches!((r.first, r.last), (IpAddr::V4(a), IpAddr::V4(b)) if a == Ipv4Addr::UNSPECIFIED && b == Ipv4Addr::BROADCAST))
    };
    let open =
        |addresses: &Option<AddressMatch>| addresses.as_ref().is_none_or(|a| !a.negated && any(&a.ranges));
    rule.families.contains(Family::V4)
        && rule.protocols.is_empty()
        && open(&rule.source)
        && open(&rule.destination)
        && rule.source_ports.is_empty()
        && rule.destination_ports.is_empty()
        && rule.source_interface.is_none()
        && rule.destination_set.is_none()
        && rule.source_set.is_none()
}
