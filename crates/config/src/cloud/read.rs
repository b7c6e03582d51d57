//! The document is understood: every mistake is one diagnostic, and costs what its code says.

use std::time::Duration;

use super::json::{self, Node, Value};
use super::{DOCUMENT_BYTES_MAX, Document, KEY, Wan};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::mode;
use crate::model::Mode;
use crate::report::{Place, Problem, Report, show};
use crate::suggest::nearest;
use crate::target::{ProbeMethod, target};
use crate::uci::{NAME_BYTES_MAX, WORD_BYTES_MAX, is_name};
use crate::values;

/// The field that holds the interfaces.
pub(super) const WANS: &str = "wanInterfacesConfig";
const FIELDS: [&str; 5] = ["enable", "mode", "notificationEmails", "wanInterfaces", WANS];
const WAN_FIELDS: [&str; 9] = [
    "interfaceName",
    "targetIps",
    "failureInterval",
    "recoveryInterval",
    "pingInterval",
    "pingTimeout",
    "multiWANMetric",
    "multiWANWeight",
    "enable",
];

/// The guide's values; what is not said is these.
const INTERVAL: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(2);

/// Most addresses that are told of incidents.
const EMAILS_MAX: usize = 64;

/// What the name of an interface may not be: names of sections that the document makes, and of last resorts.
const TAKEN: [&str; 9] = [
    "FAIL_OVER",
    "LOAD_BALANCE",
    "DEFAULT_HTTPS",
    "DEFAULT_ANY",
    "globals",
    KEY,
    "default",
    "unreachable",
    "blackhole",
];

/// Reads a document: `multiWanV2` itself, or the whole `last_config_response.json` with it. `None` if there is none in it.
pub fn read(file_name: &str, bytes: &[u8]) -> (Option<Document>, Vec<Diagnostic>) {
    let mut report = Report::new(file_name);
    let document = find(bytes).map(|node| understand(&mut report, node));
    let document =
        document.map_err(|(line, problem)| report.add(Place { line, ..Place::default() }, problem));
    (document.ok(), report.finish())
}

/// The document in a text.
fn find(bytes: &[u8]) -> Result<Node, (u32, Problem)> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        let message = format!("{} bytes; the limit is {DOCUMENT_BYTES_MAX}", bytes.len());
        return Err((0, Problem::new(codes::CLOUD_DOCUMENT, message)));
    }
    let node = json::parse(bytes).map_err(|e| (e.line, Problem::new(codes::CLOUD_JSON, e.message)))?;
    let Some(members) = node.members() else {
        let message = format!("an object is expected, not {}", node.kind());
        return Err((node.line, Problem::new(codes::CLOUD_DOCUMENT, message)));
    };
    let inner = match node.get(KEY) {
        Some(inner) if inner.members().is_some() => inner.clone(),
        Some(inner) => {
            let message = format!("{KEY} is {}, not an object", inner.kind());
            return Err((inner.line, Problem::new(codes::CLOUD_DOCUMENT, message)));
        }
        None if members.iter().any(|(name, _)| FIELDS.contains(&name.as_str())) => node,
        None => {
            let problem = Problem::new(
                codes::CLOUD_DOCUMENT,
                format!("there is no {KEY} in it, and none of its fields"),
            );
            let near = members.iter().find(|(name, _)| nearest(name, [KEY]).is_some());
            return Err((
                node.line,
                match near {
                    Some((name, _)) => problem.hint(format!("{} is not {KEY}", show(name))),
                    None => problem,
                },
            ));
        }
    };
    Ok(inner)
}

/// The document without its interfaces, whose place stays.
pub(super) fn own_fields(document: &Node) -> Node {
    let mut own = document.clone();
    if document.get(WANS).is_some_and(|wans| wans.members().is_some()) {
        own.set(WANS, Node::new(Value::Object(Vec::new())));
    }
    own
}

/// Everything in the document that has a meaning.
pub(super) fn understand(report: &mut Report, kept: Node) -> Document {
    if own_fields(&kept).compact().len() > WORD_BYTES_MAX / 2 {
        let problem = Problem::new(codes::CLOUD_DOCUMENT, "its own fields are too long to be kept");
        report.add(Place { line: kept.line, section: KEY, option: None }, problem);
    }
    let mut top = Object::new(report, KEY.to_owned(), &kept, &FIELDS);
    let enable = top.boolean("enable", true);
    let mode = top.mode();
    let emails = top.emails();
    if let Some(node) = top.given("wanInterfaces").filter(|node| node.value != Value::Null) {
        let problem =
            Problem::new(codes::CLOUD_FIELD, "it has no known meaning; it is kept, and without effect");
        top.say(node.line, "wanInterfaces", problem);
    }
    let wans = top.wans();
    let wans = wans.map_or_else(Vec::new, |members| read_wans(report, members));
    if wans.is_empty() && enable {
        let line = kept.get(WANS).map_or(kept.line, |node| node.line);
        let problem = Problem::new(codes::CLOUD_EMPTY, "there is no usable interface in it");
        let hint = "to switch multi-WAN off, write \"enable\": false";
        report.add(Place { line, section: KEY, option: Some(WANS) }, problem.hint(hint));
    }
    Document { enable, mode, emails, wans, kept }
}

fn read_wans(report: &mut Report, members: &[(String, Node)]) -> Vec<Wan> {
    let mut wans: Vec<Wan> = Vec::new();
    for (index, (key, node)) in members.iter().enumerate() {
        let label = format!("{WANS} {}", show(key));
        // Of a name given twice the last one counts; that it is there twice is told of already.
        if members[index + 1..].iter().any(|(other, _)| other == key) {
            continue;
        }
        let mut say = |problem: Problem| {
            report.add(Place { line: node.line, section: &label, option: None }, problem);
        };
        if node.members().is_none() {
            let message = format!("an object is expected, not {}; the interface is left out", node.kind());
            say(Problem::new(codes::CLOUD_TYPE, message));
            continue;
        }
        if node.compact().len() + key.len() > WORD_BYTES_MAX / 2 {
            say(Problem::new(codes::CLOUD_DOCUMENT, "its fields are too long; the interface is left out"));
            continue;
        }
        let wan = read_wan(report, label.clone(), key, node);
        let Some(wan) = wan else { continue };
        match wans.iter().find(|other| other.name == wan.name) {
            None => wans.push(wan),
            Some(other) => {
                let message = format!("its name is that of {}; it is left out", show(&other.key));
                report.add(
                    Place { line: node.line, section: &label, option: Some("interfaceName") },
                    Problem::new(codes::CLOUD_TWICE, message),
                );
            }
        }
    }
    wans
}

fn read_wan(report: &mut Report, label: String, key: &str, node: &Node) -> Option<Wan> {
    let mut object = Object::new(report, label, node, &WAN_FIELDS);
    let name = object.name(key)?;
    let targets = object.targets();
    let metric = object.rank("multiWANMetric", 65_535);
    let weight = object.rank("multiWANWeight", 1000);
    Some(Wan {
        key: key.to_owned(),
        enable: object.boolean("enable", true),
        targets,
        interval: object.time("pingInterval", INTERVAL),
        timeout: object.time("pingTimeout", TIMEOUT),
        failure_interval: object.time("failureInterval", INTERVAL),
        recovery_interval: object.time("recoveryInterval", INTERVAL),
        metric: metric.unwrap_or(1),
        weight: weight.unwrap_or(1),
        ranked: metric.is_some() && weight.is_some(),
        name,
    })
}

/// An object whose fields are asked for by name.
struct Object<'r, 'a> {
    report: &'r mut Report,
    label: String,
    node: &'a Node,
}

impl<'r, 'a> Object<'r, 'a> {
    /// Says which of its fields are unknown, and which are there twice.
    fn new(report: &'r mut Report, label: String, node: &'a Node, known: &[&'static str]) -> Self {
        let mut object = Object { report, label, node };
        let members = node.members().unwrap_or_default();
        object.twice(members);
        let mut suggestions = 0;
        for (name, value) in members.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            let problem = Problem::new(codes::CLOUD_FIELD, "unknown field; it is kept, and without effect");
            suggestions += 1;
            // More than anybody reads need no guess.
            let near = if suggestions < 100 { nearest(name, known.iter().copied()) } else { None };
            object.say(
                value.line,
                name,
                match near {
                    Some(word) => problem.hint(format!("did you mean '{word}'?")),
                    None => problem,
                },
            );
        }
        object
    }

    fn twice(&mut self, members: &[(String, Node)]) {
        let mut seen = std::collections::BTreeMap::new();
        for (name, value) in members {
            if let Some(first) = seen.insert(name, value.line) {
                let message = format!("given before, in line {first}; this one counts");
                self.say(value.line, name, Problem::new(codes::CLOUD_TWICE, message));
            }
        }
    }

    fn say(&mut self, line: u32, field: &str, problem: Problem) {
        self.report.add(Place { line, section: &self.label, option: Some(field) }, problem);
    }

    fn given(&self, field: &str) -> Option<&'a Node> {
        self.node.get(field)
    }

    /// A field that should be there. `null` says nothing, like a field that is not there.
    fn expected(&mut self, field: &str, default: &str) -> Option<&'a Node> {
        let given = self.given(field).filter(|node| node.value != Value::Null);
        if given.is_none() {
            let line = self.given(field).unwrap_or(self.node).line;
            let message = format!("it is not given; {default}");
            self.say(line, field, Problem::new(codes::CLOUD_MISSING, message));
        }
        given
    }

    fn wrong(&mut self, node: &Node, field: &str, wanted: &str, cost: &str) {
        let found = match &node.value {
            Value::Text(text) => format!("the string {}", show(text)),
            _ => node.kind().to_owned(),
        };
        let message = format!("{wanted} is expected, not {found}; {cost}");
        self.say(node.line, field, Problem::new(codes::CLOUD_TYPE, message));
    }

    fn boolean(&mut self, field: &str, default: bool) -> bool {
        let cost = format!("{default} is used");
        match self.expected(field, &cost) {
            None => default,
            Some(Node { value: Value::Bool(value), .. }) => *value,
            Some(node) => {
                self.wrong(node, field, "true or false", &cost);
                default
            }
        }
    }

    fn time(&mut self, field: &str, default: Duration) -> Duration {
        let cost = format!("{} is used", seconds(default));
        let Some(node) = self.expected(field, &cost) else { return default };
        let Value::Number(text) = &node.value else {
            self.wrong(node, field, "a number of seconds", &cost);
            return default;
        };
        values::time(text).unwrap_or_else(|mut problem| {
            problem.message.push_str(&format!("; {cost}"));
            problem.hint = None;
            self.say(node.line, field, problem);
            default
        })
    }

    /// A metric or a weight; `None` if it is given and is none.
    fn rank(&mut self, field: &str, max: u32) -> Option<u32> {
        let cost = "the interface takes no part";
        let Some(node) = self.expected(field, "1 is used") else { return Some(1) };
        let Value::Number(text) = &node.value else {
            self.wrong(node, field, "a number", cost);
            return None;
        };
        let number = values::number(text, 1, max).map_err(|mut problem| {
            problem.message.push_str(&format!("; {cost}"));
            self.say(node.line, field, problem);
        });
        number.ok()
    }

    fn mode(&mut self) -> Option<Mode> {
        let cost = "the mode in force stays";
        let node = self.expected("mode", cost)?;
        let Value::Text(text) = &node.value else {
            self.wrong(node, "mode", "LOAD_BALANCE or FAIL_OVER", cost);
            return None;
        };
        let mode = values::word(text, mode::WORDS).map_err(|mut problem| {
            problem.message.push_str(&format!("; {cost}"));
            self.say(node.line, "mode", problem);
        });
        mode.ok()
    }

    /// The strings of an array.
    fn texts(&mut self, field: &str, node: &'a Node) -> Vec<(u32, &'a str)> {
        let Value::Array(items) = &node.value else {
            self.wrong(node, field, "an array of strings", "it is ignored");
            return Vec::new();
        };
        let mut texts = Vec::new();
        for item in items {
            match &item.value {
                Value::Text(text) => texts.push((item.line, text.as_str())),
                _ => self.wrong(item, field, "a string", "it is left out"),
            }
        }
        texts
    }

    fn emails(&mut self) -> Vec<String> {
        const FIELD: &str = "notificationEmails";
        let Some(node) = self.given(FIELD).filter(|node| node.value != Value::Null) else {
            return Vec::new();
        };
        let mut emails: Vec<String> = Vec::new();
        for (line, text) in self.texts(FIELD, node) {
            match values::mail_address(text) {
                Ok(_) if emails.len() >= EMAILS_MAX => {
                    let message = format!("more than {EMAILS_MAX} addresses; {} is left out", show(text));
                    self.say(line, FIELD, Problem::new(codes::MAIL_ADDRESS, message));
                    break;
                }
                Ok(address) if !emails.contains(&address) => emails.push(address),
                Ok(_) => {}
                Err(mut problem) => {
                    problem.message.push_str("; it is left out");
                    self.say(line, FIELD, problem);
                }
            }
        }
        emails
    }

    fn targets(&mut self) -> Vec<String> {
        const FIELD: &str = "targetIps";
        let Some(node) = self.expected(FIELD, "the interface is not tested") else { return Vec::new() };
        let mut targets: Vec<String> = Vec::new();
        for (line, text) in self.texts(FIELD, node) {
            // In UCI comma and blank separate.
            let one = values::pieces(text).eq([text]);
            let problem = match target(text, &ProbeMethod::Ping) {
                Ok(_) if one => {
                    if !targets.iter().any(|other| other == text) {
                        targets.push(text.to_owned());
                    }
                    continue;
                }
                Ok(_) => Problem::new(codes::TARGET, format!("{} is not one target", show(text))),
                Err(problem) => problem,
            };
            let message = format!("{}; it is left out", problem.message);
            self.say(line, FIELD, Problem { message, ..problem });
        }
        targets
    }

    /// What the interface is called: `interfaceName`, which is the key, too.
    fn name(&mut self, key: &str) -> Option<String> {
        const FIELD: &str = "interfaceName";
        let node = self.given(FIELD).filter(|node| node.value != Value::Null);
        let line = node.unwrap_or(self.node).line;
        let name = match node.map(|node| &node.value) {
            None => key,
            Some(Value::Text(name)) => name,
            Some(_) => {
                self.wrong(node?, FIELD, "a string", "the interface is left out");
                return None;
            }
        };
        let (message, hint) = if name != key {
            let message = format!("{} is called {} in {WANS}", show(name), show(key));
            (message, "make both the same")
        } else if !is_name(name) || name.len() + MEMBER_SUFFIX_MAX > NAME_BYTES_MAX {
            (format!("{} is not a name in UCI", show(name)), "use A-Z, a-z, 0-9 and _")
        } else if TAKEN.contains(&name) {
            (format!("{} has a meaning of its own in the configuration", show(name)), "rename the interface")
        } else {
            return Some(name.to_owned());
        };
        let problem = Problem::new(codes::CLOUD_NAME, format!("{message}; the interface is left out"));
        self.say(line, FIELD, problem.hint(hint));
        None
    }

    /// The interfaces.
    fn wans(&mut self) -> Option<&'a [(String, Node)]> {
        let node = self.given(WANS).filter(|node| node.value != Value::Null)?;
        match node.members() {
            Some(members) => {
                let label = std::mem::replace(&mut self.label, WANS.to_owned());
                self.twice(members);
                self.label = label;
                Some(members)
            }
            None => {
                self.wrong(node, WANS, "an object", "it is ignored");
                None
            }
        }
    }
}

/// What a member's name has behind that of its interface: `_m65535_w1000`.
const MEMBER_SUFFIX_MAX: usize = 13;

/// As UCI and the document write it: whole, or with a fraction.
pub(super) fn seconds(time: Duration) -> String {
    let (whole, ms) = (time.as_secs(), time.subsec_millis());
    if ms == 0 { whole.to_string() } else { format!("{whole}.{ms:03}").trim_end_matches('0').to_owned() }
}
