//! Messages in words.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::deliver::{Outgoing, Part};
use crate::incident::{Incident, Stage, Subject, Trouble};
use crate::settings::Severity;
use crate::time::{Now, duration_text};

/// A message in words.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Words {
    /// One line.
    pub title: String,
    /// Several.
    pub text: String,
    /// The worst of it.
    pub severity: Severity,
    /// What is said; of several incidents the first that is not over.
    pub stage: Stage,
}

/// Lines of one kind in a message at most; the rest is counted.
const LINES_MAX: usize = 12;

/// The words of a message; `site` is how the machine is called.
pub fn words(message: &Outgoing, site: &str) -> Words {
    let now = message.now;
    let severity = message.parts.iter().map(|p| p.incident.severity).max().unwrap_or(Severity::Info);
    let open = message.parts.iter().find(|p| p.stage == Stage::Open).or(message.parts.first());
    let stage = open.map_or(Stage::Digest, |p| p.stage);
    if let Some(since) = message.digest_since_ms {
        return Words { title: digest_title(message), text: digest(message, site, since), severity, stage };
    }
    match message.parts.as_slice() {
        [part] => {
            let mut text = body(part, now);
            let _ = write!(text, "\nReported by mwan on {site}.\n");
            Words { title: title(part, now), text, severity, stage }
        }
        parts => {
            let titles: Vec<String> = parts.iter().map(|p| title(p, now)).collect();
            let first = titles.first().map_or("", String::as_str);
            let title = format!("{first}, and {} more", titles.len().saturating_sub(1));
            let bodies: Vec<String> = parts
                .iter()
                .zip(&titles)
                .map(|(part, title)| format!("## {title}\n{}", body(part, now)))
                .collect();
            let text = format!("{}\nReported by mwan on {site}.\n", bodies.join("\n"));
            Words { title, text, severity, stage }
        }
    }
}

fn title(part: &Part, now: Now) -> String {
    let incident = &part.incident;
    let took = duration_text(incident.duration_ms(now.ms));
    match part.stage {
        Stage::Open if incident.is_unstable() => {
            let times = incident.times().max(incident.again + 1);
            match names(incident) {
                Some(names) => format!("{names} unstable, lost {times} times"),
                None => format!("{} ({times} times)", what(incident, Tense::Now)),
            }
        }
        Stage::Open => what(incident, Tense::Now),
        Stage::Over => format!("{} after {took}", what(incident, Tense::Again)),
        Stage::Both => format!("{} for {took}", what(incident, Tense::Past)),
        Stage::Note | Stage::Digest => {
            let first = incident.troubles.first().map_or("", |t| t.text.as_str());
            match incident.troubles.len() {
                0 | 1 => first.to_owned(),
                n => format!("{first}, and {} more", n - 1),
            }
        }
        Stage::Test => "test message: nothing has happened".to_owned(),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tense {
    /// What is wrong now.
    Now,
    /// What was wrong and is right again.
    Again,
    /// What was wrong.
    Past,
    /// What is no trouble any more, without being right.
    Withdrawn,
}

/// What is or was wrong, in a few words.
fn what(incident: &Incident, tense: Tense) -> String {
    let of = |wanted: &dyn Fn(&Trouble) -> bool| -> Vec<&Trouble> {
        incident.troubles.iter().filter(|t| wanted(t)).collect()
    };
    let phrases = match tense {
        Tense::Now => phrases(&of(&|t| t.until_ms.is_none()), tense),
        Tense::Again => {
            let right = phrases(&of(&|t| !t.withdrawn), tense);
            [right, phrases(&of(&|t| t.withdrawn), Tense::Withdrawn)].concat()
        }
        Tense::Past | Tense::Withdrawn => phrases(&of(&|_| true), tense),
    };
    // An unstable one may be well at the moment.
    if phrases.is_empty() && tense == Tense::Now { what(incident, Tense::Past) } else { phrases.join("; ") }
}

/// One phrase for each kind of trouble.
fn phrases(troubles: &[&Trouble], tense: Tense) -> Vec<String> {
    let has = |subject: Subject| troubles.iter().any(|t| t.subject == subject);
    let say = |now: &str, again: &str, past: &str, withdrawn: &str| {
        match tense {
            Tense::Now => now,
            Tense::Again => again,
            Tense::Past => past,
            Tense::Withdrawn => withdrawn,
        }
        .to_owned()
    };
    let mut phrases = Vec::new();
    let policies = unique(troubles.iter().filter_map(|t| match &t.subject {
        Subject::Policy { policy, .. } => Some(policy.as_str()),
        _ => None,
    }));
    if !policies.is_empty() {
        let phrase = say(
            "no WAN is left for",
            "there is a WAN again for",
            "no WAN was left for",
            "no WAN is wanted any more for",
        );
        phrases.push(format!("{phrase} {}", list(&policies)));
    }
    let paths = paths(troubles.iter().copied());
    if !paths.is_empty() {
        let verb = match paths.len() {
            1 => say("is down", "is up again", "was down", "is not watched any more"),
            _ => say("are down", "are up again", "were down", "are not watched any more"),
        };
        let names: Vec<String> =
            paths.iter().map(|(name, families)| format!("{name} ({families})")).collect();
        phrases.push(format!("{} {verb}", list(&names)));
    }
    if has(Subject::Kernel) {
        let verb = say("is not as wanted", "is as wanted again", "was not as wanted", "is as wanted again");
        phrases.push(format!("the kernel {verb}"));
    }
    if has(Subject::Config) {
        let verb = say("is refused", "is in force again", "was refused", "is in force again");
        phrases.push(format!("the configuration {verb}"));
    }
    phrases
}

/// Its interfaces, and a verb for them.
fn names(incident: &Incident) -> Option<String> {
    let names = unique(incident.troubles.iter().filter_map(|t| t.subject.interface()));
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("{one} is")),
        several => Some(format!("{} are", list(several))),
    }
}

/// Interfaces with their families, `IPv4` or `IPv4 and IPv6`.
fn paths<'a>(troubles: impl Iterator<Item = &'a Trouble>) -> Vec<(&'a str, String)> {
    let mut found: Vec<(&str, Vec<&str>)> = Vec::new();
    for trouble in troubles {
        let Subject::Path { interface, family } = &trouble.subject else { continue };
        match found.iter_mut().find(|(name, _)| name == interface) {
            Some((_, families)) => families.push(family_name(family)),
            None => found.push((interface, vec![family_name(family)])),
        }
    }
    found
        .into_iter()
        .map(|(name, mut families)| {
            families.sort_unstable();
            (name, families.join(" and "))
        })
        .collect()
}

fn body(part: &Part, now: Now) -> String {
    let (incident, mut out) = (&part.incident, String::new());
    // Writing into a String cannot fail.
    match part.stage {
        Stage::Test => {
            return format!(
                "This is a test, asked for at {}. Nothing has happened.\n",
                now.show(incident.begin_ms)
            );
        }
        Stage::Note => {
            let lines = incident.troubles.iter().map(|t| format!("{}  {}", now.show(t.since_ms), t.text));
            return bounded(lines);
        }
        _ => {}
    }
    let _ = writeln!(out, "Since:    {}", now.show(incident.begin_ms));
    match incident.over_ms {
        Some(over) => {
            let _ = writeln!(out, "Over:     {}", now.show(over));
            let _ = writeln!(out, "Duration: {}", duration_text(incident.duration_ms(now.ms)));
        }
        None => {
            let _ = writeln!(out, "So far:   {}", duration_text(incident.duration_ms(now.ms)));
        }
    }
    if incident.times() > 1 || incident.again > 0 {
        let _ = writeln!(out, "Lost:     {} times", incident.times().max(incident.again + 1));
    }
    out.push_str("Cause:\n");
    out.push_str(&bounded(causes(incident).map(|line| format!("  {line}"))));
    let moves = moves(incident);
    if !moves.is_empty() {
        out.push_str("Moved:\n");
        out.push_str(&bounded(moves.into_iter().map(|line| format!("  {line}"))));
    }
    out
}

/// One line for each cause; the families of an interface that have the same one share it.
fn causes(incident: &Incident) -> impl Iterator<Item = String> {
    let mut lines: Vec<(String, Vec<&str>, String)> = Vec::new();
    for trouble in incident.causes() {
        let (who, family) = match &trouble.subject {
            Subject::Path { interface, family } => (interface.clone(), Some(family.as_str())),
            Subject::Policy { policy, family } => (format!("policy {policy}"), Some(family.as_str())),
            Subject::Kernel => ("kernel".to_owned(), None),
            Subject::Config => ("configuration".to_owned(), None),
            Subject::Note | Subject::Test => (String::new(), None),
        };
        let why = match &trouble.subject {
            Subject::Policy { .. } if trouble.text.is_empty() => "no WAN is left".to_owned(),
            Subject::Policy { .. } => format!("no WAN is left: {}", trouble.text),
            _ if trouble.code.is_empty() => trouble.text.clone(),
            _ => format!("{} [{}]", trouble.text, trouble.code),
        };
        let family = family.map(family_name);
        match lines.iter_mut().find(|(w, _, y)| *w == who && *y == why) {
            Some((_, families, _)) => families.extend(family),
            None => lines.push((who, family.into_iter().collect(), why)),
        }
    }
    lines.into_iter().map(|(who, families, why)| match families.as_slice() {
        [] => format!("{who}: {why}"),
        families => format!("{who}, {}: {why}", families.join(" and ")),
    })
}

/// One line for each way traffic went, with the policies that went it.
fn moves(incident: &Incident) -> Vec<String> {
    let mut ways: BTreeMap<(&str, &str, &str), Vec<&str>> = BTreeMap::new();
    for moved in &incident.moves {
        ways.entry((&moved.from, &moved.to, &moved.family)).or_default().push(&moved.policy);
    }
    let line = |((from, to, family), policies): ((&str, &str, &str), Vec<&str>)| {
        let (policies, family) = (list(&policies), family_name(family));
        let nothing =
            |carrier: &str| if carrier.is_empty() { "nothing".to_owned() } else { carrier.to_owned() };
        if from == to {
            format!("{policies}, {family}: back on {}", nothing(from))
        } else {
            format!("{policies}, {family}: {} -> {}", nothing(from), nothing(to))
        }
    };
    ways.into_iter().map(line).collect()
}

fn digest_title(message: &Outgoing) -> String {
    let incidents = message.parts.iter().filter(|p| !p.incident.is_note());
    let (mut open, mut over) = (0, 0);
    incidents.for_each(|p| if p.incident.over_ms.is_none() { open += 1 } else { over += 1 });
    match (open, over) {
        (0, 0) => "digest: no incidents".to_owned(),
        (0, over) => format!("digest: {over} incident{}, all over", if over == 1 { "" } else { "s" }),
        (open, over) => format!("digest: {open} open, {over} over"),
    }
}

fn digest(message: &Outgoing, site: &str, since: u64) -> String {
    let now = message.now;
    let mut out = format!("From {} to {}\n\n", now.show(since), now.show(now.ms));
    let lines = message.parts.iter().map(|part| {
        let i = &part.incident;
        let (begin_ms, before_ms) = i.earlier.map_or((i.begin_ms, 0), |e| (e.begin_ms, e.took_ms));
        let begin = now.show(begin_ms);
        if i.is_note() {
            return format!("{begin}  {}", title(part, now));
        }
        let state = if i.over_ms.is_some() { "took" } else { "open for" };
        let times = if i.times() > 1 { format!(", {} times", i.times()) } else { String::new() };
        let why = causes(i).next().unwrap_or_default();
        format!(
            "{begin}  {state} {}{times}: {} ({why})",
            duration_text(before_ms.saturating_add(i.duration_ms(now.ms))),
            what(i, Tense::Past)
        )
    });
    // More than a letter's page is in the history.
    let lines: Vec<String> = lines.collect();
    if lines.is_empty() {
        out.push_str("Nothing has happened.\n");
    }
    out.push_str(&bounded_to(lines.into_iter(), 100));
    let _ = write!(out, "\nReported by mwan on {site}.\n");
    out
}

fn bounded(lines: impl Iterator<Item = String>) -> String {
    bounded_to(lines, LINES_MAX)
}

fn bounded_to(lines: impl Iterator<Item = String>, most: usize) -> String {
    let (mut out, mut more) = (String::new(), 0);
    for (index, line) in lines.enumerate() {
        if index < most {
            out.push_str(&line);
            out.push('\n');
        } else {
            more += 1;
        }
    }
    if more > 0 {
        let _ = writeln!(out, "  … and {more} more");
    }
    out
}

fn family_name(family: &str) -> &str {
    match family {
        "ipv4" => "IPv4",
        "ipv6" => "IPv6",
        other => other,
    }
}

fn unique<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut found: Vec<&str> = Vec::new();
    for name in names {
        if !found.contains(&name) {
            found.push(name);
        }
    }
    found
}

/// `a, b and c`; of many the first ones and how many more.
fn list(names: &[impl AsRef<str>]) -> String {
    const NAMES_MAX: usize = 5;
    let shown: Vec<&str> = names.iter().take(NAMES_MAX).map(AsRef::as_ref).collect();
    match (shown.as_slice(), names.len().saturating_sub(NAMES_MAX)) {
        ([], _) => String::new(),
        ([one], _) => (*one).to_owned(),
        (all, 0) => {
            let (last, rest) = all.split_last().unwrap_or((&"", &[]));
            format!("{} and {last}", rest.join(", "))
        }
        (some, more) => format!("{} and {more} more", some.join(", ")),
    }
}
