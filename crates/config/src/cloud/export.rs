//! The document back out of a UCI text: as it was applied, with what the owner has changed since.

use std::time::Duration;

use super::json::{Node, Value};
use super::merge::mode_name;
use super::read::{WANS, seconds, understand};
use super::{Document, Wan, kept};
use crate::model::{Config, Interface, Mode, Target};
use crate::report::Report;
use crate::uci::Section;
use crate::{uci, values};

/// The document that a UCI text means, as JSON for people. Where none was ever applied it is made of what the sections
/// say: interfaces of no policy have then metric and weight 1.
pub fn export(file_name: &str, text: &str) -> String {
    let (sections, _) = uci::parse(file_name, text.as_bytes());
    let config = crate::parse_uci(file_name, text.as_bytes()).config;
    let kept = kept(&sections);
    let never = kept.is_none();
    let mut node = kept.unwrap_or_else(empty);
    let before = understand(&mut Report::new(file_name), node.clone());
    own(&mut node, &before, &config, &sections);
    wans(&mut node, &before, &config, &sections, never);
    node.pretty()
}

/// What a document has that says nothing.
fn empty() -> Node {
    let members = [
        ("enable", Value::Bool(true)),
        ("mode", Value::Null),
        ("notificationEmails", Value::Array(Vec::new())),
        ("wanInterfaces", Value::Null),
        (WANS, Value::Object(Vec::new())),
    ];
    Node::new(Value::Object(members.into_iter().map(|(name, v)| (name.to_owned(), Node::new(v))).collect()))
}

/// The fields of the document itself that say something else by now.
fn own(node: &mut Node, before: &Document, config: &Config, sections: &[Section]) {
    if before.enable != config.globals.enabled {
        node.set("enable", Node::new(Value::Bool(config.globals.enabled)));
    }
    let mode = mode(config);
    if mode.is_some() && before.mode != mode {
        node.set("mode", Node::text(mode.map_or("", mode_name)));
    }
    let emails = texts(sections, "globals", None, "notification_email");
    if before.emails != emails {
        node.set("notificationEmails", array(&emails));
    }
}

/// What `mode` says; without it, what the last rule of the document does.
fn mode(config: &Config) -> Option<Mode> {
    if let Some((mode, _)) = config.globals.mode {
        return Some(mode);
    }
    let rule = config.rules.iter().find(|rule| rule.name == "DEFAULT_ANY")?;
    let modes = [Mode::FailOver, Mode::LoadBalance];
    modes.into_iter().find(|mode| rule.target == Target::Policy(mode_name(*mode).to_owned()))
}

/// The interfaces that say something else by now, or are not there any more, or are new.
fn wans(node: &mut Node, before: &Document, config: &Config, sections: &[Section], never: bool) {
    let mut members: Vec<(String, Node)> = Vec::new();
    for (key, wan) in node.get(WANS).and_then(Node::members).unwrap_or_default() {
        let mut wan = wan.clone();
        if let Some(old) = before.wans.iter().find(|old| old.key == *key) {
            match config.interface(&old.name) {
                Some(interface) => update(&mut wan, old, &present(interface, old, config, sections)),
                // What was on had a section; the owner has removed it.
                None if old.enable => continue,
                None => {}
            }
        }
        members.push((key.clone(), wan));
    }
    for interface in &config.interfaces {
        let known = members.iter().any(|(key, _)| *key == interface.name)
            || before.wans.iter().any(|wan| wan.name == interface.name);
        if known || !(never || seats(interface, config).iter().any(Option::is_some)) {
            continue;
        }
        let mut wan =
            Node::new(Value::Object(vec![("interfaceName".to_owned(), Node::text(&interface.name))]));
        let now = present(interface, &unknown(&interface.name), config, sections);
        all(&mut wan, &now);
        members.push((interface.name.clone(), wan));
    }
    let there = node.get(WANS).is_some_and(|wans| wans.members().is_some());
    if there || !members.is_empty() {
        node.set(WANS, Node::new(Value::Object(members)));
    }
}

/// Metric in failover, weight in balancing.
fn seats(interface: &Interface, config: &Config) -> [Option<u32>; 2] {
    let member =
        |mode: Mode| config.policy(mode_name(mode))?.members.iter().find(|m| m.interface == interface.name);
    [member(Mode::FailOver).map(|m| m.metric), member(Mode::LoadBalance).map(|m| m.weight)]
}

/// What nothing is known of but its name.
fn unknown(name: &str) -> Wan {
    let zero = Duration::ZERO;
    Wan {
        name: name.to_owned(),
        key: name.to_owned(),
        enable: false,
        targets: Vec::new(),
        interval: zero,
        timeout: zero,
        failure_interval: zero,
        recovery_interval: zero,
        metric: 1,
        weight: 1,
        ranked: true,
    }
}

/// An interface as the configuration has it; what that does not say is as it was.
fn present(interface: &Interface, old: &Wan, config: &Config, sections: &[Section]) -> Wan {
    let [metric, weight] = seats(interface, config);
    let tracking = &interface.tracking;
    Wan {
        enable: interface.enabled,
        targets: texts(sections, "interface", Some(&interface.name), "track_ip"),
        interval: tracking.interval,
        timeout: tracking.timeout,
        failure_interval: tracking.failure_interval,
        recovery_interval: tracking.recovery_interval,
        metric: metric.unwrap_or(old.metric),
        weight: weight.unwrap_or(old.weight),
        ..old.clone()
    }
}

/// The fields that differ; a number that means the same stays as it was spelled.
fn update(node: &mut Node, old: &Wan, now: &Wan) {
    for ((name, was), (_, is)) in fields(old).into_iter().zip(fields(now)) {
        if was != is {
            node.set(name, Node::new(is));
        }
    }
}

fn all(node: &mut Node, now: &Wan) {
    fields(now).into_iter().for_each(|(name, value)| node.set(name, Node::new(value)));
}

/// In the guide's order.
fn fields(wan: &Wan) -> [(&'static str, Value); 8] {
    let time = |time| Value::Number(seconds(time));
    let number = |n: u32| Value::Number(n.to_string());
    [
        ("targetIps", array(&wan.targets).value),
        ("failureInterval", time(wan.failure_interval)),
        ("recoveryInterval", time(wan.recovery_interval)),
        ("pingInterval", time(wan.interval)),
        ("pingTimeout", time(wan.timeout)),
        ("multiWANMetric", number(wan.metric)),
        ("multiWANWeight", number(wan.weight)),
        ("enable", Value::Bool(wan.enable)),
    ]
}

fn array(texts: &[String]) -> Node {
    Node::new(Value::Array(texts.iter().map(|text| Node::text(text)).collect()))
}

/// All values of an option, as the owner wrote them.
fn texts(sections: &[Section], kind: &str, name: Option<&str>, option: &str) -> Vec<String> {
    let sections =
        sections.iter().filter(|s| s.kind == kind && name.is_none_or(|n| s.name.as_deref() == Some(n)));
    let mut texts = Vec::new();
    for entry in sections.flat_map(|s| &s.entries).filter(|e| e.name == option) {
        if !entry.list {
            texts.clear();
        }
        texts.extend(values::pieces(&entry.value).map(str::to_owned));
    }
    texts
}
