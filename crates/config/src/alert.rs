//! Sections of alerts: who is told of incidents, how, and of which.
//!
//! What a mistake costs: the section, if it is about whom to tell or how; the option, if it is about when.

use std::time::Duration;

use crate::cloud::json;
use crate::codes;
use crate::fields::Fields;
use crate::model::{
    Alert, AlertEmail, AlertHow, AlertSecurity, AlertSeverity, AlertShape, AlertWebhook, DayTime, Location,
};
use crate::report::{Place, Problem, Report, show};
use crate::values;

/// Alerts there may be: all of them are handed over as one document, which has a limit.
pub(crate) const ALERTS_MAX: usize = 10;
/// Recipients of one e-mail.
const RECIPIENTS_MAX: usize = 10;
/// Longest URL, template, and program with its arguments, bytes.
const URL_BYTES_MAX: usize = 1_000;
const TEMPLATE_BYTES_MAX: usize = 1_500;
const COMMAND_BYTES_MAX: usize = 1_500;
/// Longest name of a file.
const PATH_BYTES_MAX: usize = 255;
/// Longest Telegram chat or Matrix room, bytes (Matrix: 255).
const RECIPIENT_BYTES_MAX: usize = 255;
/// Messages an hour at most, if nothing is said.
const RATE: u32 = 20;

/// Placeholders of `template`.
pub const TEMPLATE_PLACEHOLDERS: [&str; 10] =
    ["title", "text", "severity", "stage", "id", "site", "begin", "end", "duration_s", "interfaces"];

/// Types of alerts, and which options only they have.
const TYPES: [(&str, &[&str]); 3] = [
    ("email", &["from", "server", "port", "security", "username", "password_file", "sendmail"]),
    ("webhook", &["url", "shape", "template", "secret_file"]),
    ("command", &["command", "timeout"]),
];

/// Reads one section; `None` if it is left out, or switched off.
pub(crate) fn read_alert(
    fields: &mut Fields<'_>,
    name: &str,
    notification_emails: &[String],
    location: Location,
) -> Option<Alert> {
    if fields.damaged {
        return None;
    }
    fields.items("comment");
    let enabled = fields.bool("enabled", true);
    let kind = fields.must("type", |t| values::word(t, &[("email", 0), ("webhook", 1), ("command", 2)]));
    if kind.is_none() && !fields.left_out {
        let problem = Problem::new(codes::ALERT_INCOMPLETE, "it has no type; the alert is left out");
        fields.refuse(problem.hint("write type email, webhook or command"));
    }
    ignore_others(fields, kind);
    let when = When::read(fields);
    let ca_file = fields.must("ca_file", path);
    let how = match kind? {
        0 => read_email(fields, notification_emails).map(AlertHow::Email),
        1 => read_webhook(fields).map(AlertHow::Webhook),
        _ => read_command(fields),
    };
    if fields.left_out || !enabled {
        return None;
    }
    let When { severity, min_duration, quiet_hours, digest, rate_per_hour } = when;
    let name = name.to_owned();
    Some(Alert {
        name,
        severity,
        min_duration,
        quiet_hours,
        digest,
        rate_per_hour,
        ca_file,
        how: how?,
        location,
    })
}

/// Leaves out those beyond the limit; `label` is how messages call an alert.
pub(crate) fn limit(
    report: &mut Report,
    mut alerts: Vec<Alert>,
    label: impl Fn(&str) -> String,
) -> Vec<Alert> {
    for surplus in alerts.split_off(alerts.len().min(ALERTS_MAX)) {
        let message = format!("there can be {ALERTS_MAX} alerts; this one is left out");
        let place = Place { line: surplus.location.line, section: &label(&surplus.name), option: None };
        report.add(place, Problem::new(codes::ALERTS, message));
    }
    alerts
}

/// Says which options belong to another type, whatever their values are.
fn ignore_others(fields: &mut Fields<'_>, kind: Option<usize>) {
    for (index, (word, options)) in TYPES.iter().enumerate() {
        for option in *options {
            let item = fields.items(option).pop();
            if let (Some(item), Some(kind)) = (item, kind)
                && kind != index
            {
                let message = format!("it is of alerts of type {word}; it is ignored");
                fields.add(option, item.line, Problem::new(codes::ALERT_OPTION, message));
            }
        }
    }
    let item = fields.items("to").pop();
    if let (Some(item), Some(2)) = (item, kind) {
        fields.add(
            "to",
            item.line,
            Problem::new(codes::ALERT_OPTION, "a command is told nothing by it; it is ignored"),
        );
    }
}

/// Which incidents, and when.
struct When {
    severity: Option<AlertSeverity>,
    min_duration: Duration,
    quiet_hours: Vec<(DayTime, DayTime)>,
    digest: Option<DayTime>,
    rate_per_hour: u32,
}

impl When {
    fn read(fields: &mut Fields<'_>) -> Self {
        let words = [
            ("info", Some(AlertSeverity::Info)),
            ("warning", Some(AlertSeverity::Warning)),
            ("error", Some(AlertSeverity::Error)),
            ("critical", Some(AlertSeverity::Critical)),
            ("never", None),
        ];
        let mut quiet_hours = Vec::new();
        for item in fields.pieces("quiet_hours") {
            match day_times(&item.text) {
                Ok(times) => quiet_hours.push(times),
                Err(mut problem) => {
                    problem.message.push_str("; it is ignored");
                    fields.add("quiet_hours", item.line, problem);
                }
            }
        }
        When {
            severity: fields
                .get("severity", |t| values::word(t, &words))
                .unwrap_or(Some(AlertSeverity::Warning)),
            min_duration: fields.time("min_duration", Duration::from_secs(30)),
            quiet_hours,
            digest: fields.get("digest", day_time),
            rate_per_hour: fields.number("rate", 1, 1000, RATE),
        }
    }
}

fn read_email(fields: &mut Fields<'_>, notification_emails: &[String]) -> Option<AlertEmail> {
    let mut to = Vec::new();
    for item in fields.pieces("to") {
        match values::mail_address(&item.text) {
            Ok(address) if to.len() < RECIPIENTS_MAX => to.push(address),
            Ok(_) => {
                let problem = Problem::new(
                    codes::ALERT_INCOMPLETE,
                    format!("more than {RECIPIENTS_MAX} recipients; the alert is left out"),
                );
                fields.add("to", item.line, problem.hint("name a list's address"));
                fields.left_out = true;
                break;
            }
            Err(mut problem) => {
                problem.message.push_str("; the alert is left out");
                fields.add("to", item.line, problem);
                fields.left_out = true;
            }
        }
    }
    if to.is_empty() {
        to = notification_emails.iter().take(RECIPIENTS_MAX).cloned().collect();
    }
    let from = fields.must("from", values::mail_address);
    let server = fields.must("server", server);
    let sendmail = fields.must("sendmail", path);
    let words =
        [("starttls", AlertSecurity::Starttls), ("tls", AlertSecurity::Tls), ("none", AlertSecurity::None)];
    let security = fields.must("security", |t| values::word(t, &words)).unwrap_or(AlertSecurity::Starttls);
    let standard = match security {
        AlertSecurity::Starttls => 587,
        AlertSecurity::Tls => 465,
        AlertSecurity::None => 25,
    };
    let port = fields.must("port", |t| values::number(t, 1, 65_535)).and_then(|n| u16::try_from(n).ok());
    let username = fields.must("username", plain);
    let password_file = fields.must("password_file", path);
    if fields.left_out {
        return None;
    }
    let needs = |what: &str| Problem::new(codes::ALERT_INCOMPLETE, format!("{what}; the alert is left out"));
    if to.is_empty() {
        fields.refuse(needs("nobody to write to").hint("write to, or notification_email in the globals"));
    } else if server.is_none() && sendmail.is_none() {
        fields.refuse(
            needs("neither a server nor sendmail").hint("write server, or sendmail '/usr/sbin/sendmail'"),
        );
    } else if server.is_some() && sendmail.is_some() {
        fields.refuse(needs("both a server and sendmail").hint("write one of them"));
    } else if username.is_some() != password_file.is_some() {
        fields.refuse(needs("one of username and password_file without the other"));
    }
    let local = |name: &str| name == "localhost" || name.starts_with("127.") || name == "::1";
    if security == AlertSecurity::None && username.is_some() && !server.as_deref().is_some_and(local) {
        let message = "the password goes to the server in clear text; the alert is left out";
        let problem = Problem::new(codes::CLEAR_PASSWORD, message).hint("write security starttls or tls");
        fields.say_at(&["security"], problem);
        fields.left_out = true;
    }
    let port = port.unwrap_or(standard);
    Some(AlertEmail { to, from, server, port, security, username, password_file, sendmail })
}

fn read_webhook(fields: &mut Fields<'_>) -> Option<AlertWebhook> {
    use AlertShape::{Json, Matrix, Ntfy, Pagerduty, Slack, Telegram};
    let words = [
        ("json", Json),
        ("ntfy", Ntfy),
        ("telegram", Telegram),
        ("slack", Slack),
        ("matrix", Matrix),
        ("pagerduty", Pagerduty),
    ];
    let shape = fields.must("shape", |t| values::word(t, &words));
    let url = fields.must("url", url);
    let template = fields.must("template", template);
    let secret_file = fields.must("secret_file", path);
    let to = fields.must("to", recipient);
    if fields.left_out {
        return None;
    }
    let shape = shape.unwrap_or(Json);
    let needs = |what: &str| {
        Problem::new(codes::ALERT_INCOMPLETE, format!("this shape needs {what}; the alert is left out"))
    };
    if matches!(shape, Telegram | Matrix) && to.is_none() {
        fields.refuse(needs("to").hint("the chat, or the room"));
    } else if matches!(shape, Telegram | Matrix | Pagerduty) && secret_file.is_none() {
        fields.refuse(needs("secret_file").hint("the file that holds the token, or the routing key"));
    } else if url.is_none() && (matches!(shape, Ntfy | Matrix) || secret_file.is_none()) {
        fields.refuse(needs("url").hint("for json and slack the whole URL may be in secret_file"));
    } else if shape == Ntfy && template.is_none() && !url.as_deref().is_some_and(has_topic) {
        fields.refuse(needs("a topic at the end of its url").hint("as in https://ntfy.sh/my-topic"));
    }
    Some(AlertWebhook { url, shape, template, to, secret_file })
}

fn read_command(fields: &mut Fields<'_>) -> Option<AlertHow> {
    let timeout = fields.time("timeout", Duration::from_secs(30));
    let argv: Vec<String> = fields.items("command").into_iter().map(|item| item.text).collect();
    let length: usize = argv.iter().map(String::len).sum();
    let problem = match argv.first() {
        None => Problem::new(codes::ALERT_INCOMPLETE, "no command; the alert is left out")
            .hint("write list command '/usr/local/bin/tell', and its arguments one by one"),
        Some(program) if !program.starts_with('/') => Problem::new(
            codes::PATH,
            format!("{} is not an absolute path; the alert is left out", show(program)),
        )
        .hint("no shell looks for it"),
        Some(_) if length > COMMAND_BYTES_MAX || argv.iter().any(|a| a.contains('\0')) => {
            let message = format!("it is longer than {COMMAND_BYTES_MAX} bytes; the alert is left out");
            Problem::new(codes::ALERT_INCOMPLETE, message)
        }
        Some(_) => return Some(AlertHow::Command { argv, timeout }),
    };
    fields.say_at(&["command"], problem);
    fields.left_out = true;
    None
}

/// `07:30`.
pub(crate) fn day_time(text: &str) -> Result<DayTime, Problem> {
    let bad = || {
        let message = format!("{} is not a time of day", show(text));
        Problem::new(codes::DAY_TIME, message).hint("as in 07:30; 22:00-07:00 for hours")
    };
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let number = |digits: &str, max| {
        let good = (1..=2).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u16>().ok().filter(|n| good && *n < max)
    };
    match (number(hour, 24), number(minute, 60)) {
        (Some(hour), Some(minute)) if minute_digits(text) => Ok(DayTime { minute: hour * 60 + minute }),
        _ => Err(bad()),
    }
}

/// `7:5` is no time of day, `7:05` is.
fn minute_digits(text: &str) -> bool {
    text.rsplit(':').next().is_some_and(|m| m.len() == 2)
}

/// `22:00-07:00`.
fn day_times(text: &str) -> Result<(DayTime, DayTime), Problem> {
    let Some((from, to)) = text.split_once('-') else {
        return day_time("").map_err(|p| same(p, text)).map(|t| (t, t));
    };
    match (day_time(from), day_time(to)) {
        (Ok(from), Ok(to)) if from != to => Ok((from, to)),
        (Err(problem), _) | (_, Err(problem)) => Err(same(problem, text)),
        _ => Err(Problem::new(codes::DAY_TIME, format!("{} is no time at all", show(text)))),
    }
}

fn same(problem: Problem, text: &str) -> Problem {
    Problem { message: format!("{} are no hours of a day", show(text)), ..problem }
}

/// A server by name or address. Names are looked up when something is sent.
fn server(text: &str) -> Result<String, Problem> {
    if is_server(text) {
        return Ok(text.to_owned());
    }
    let problem =
        Problem::new(codes::SERVER, format!("{} is not the name or address of a server", show(text)));
    Err(problem.hint("as in mail.example.com; the port has an option of its own"))
}

fn is_server(text: &str) -> bool {
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !l.starts_with('-')
            && !l.ends_with('-')
    };
    // A name whose last label is a number is an address with an error (RFC 3696, 2).
    let named = || {
        let last = text.rsplit('.').next().unwrap_or_default();
        text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
    };
    text.parse::<std::net::IpAddr>().is_ok() || named()
}

/// A file, of a length that leaves room for the other alerts.
fn path(text: &str) -> Result<String, Problem> {
    if text.len() > PATH_BYTES_MAX {
        return Err(Problem::new(
            codes::PATH,
            format!("{} is longer than {PATH_BYTES_MAX} bytes", show(text)),
        ));
    }
    values::absolute_path(text)
}

/// An http or https URL without a name and password in it.
fn url(text: &str) -> Result<String, Problem> {
    let bad = |what: &str| Problem::new(codes::URL, format!("{} is not a URL: {what}", show(text)));
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else {
        return Err(bad("it begins with neither https:// nor http://"));
    };
    // RFC 3986: no blanks, quotes or brackets of that kind, nothing outside of ASCII.
    if text.len() > URL_BYTES_MAX
        || !text.bytes().all(|b| b.is_ascii_graphic() && !b"\"<>\\^`{|}".contains(&b))
    {
        return Err(bad("a character that does not belong there, or too long"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        // Not shown: it holds a password.
        let problem = Problem::new(codes::URL, "there is a name or password in it");
        return Err(problem.hint("secrets are read from secret_file"));
    }
    let (host, port) = match authority.strip_prefix('[').and_then(|r| r.split_once(']')) {
        Some((host, port)) => (host, port.strip_prefix(':')),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if !is_server(host) {
        return Err(bad("no server in it"));
    }
    if port.is_some_and(|p| values::number(p, 1, 65_535).is_err()) {
        return Err(bad("its port"));
    }
    Ok(text.to_owned())
}

/// Whether a URL ends with a topic as ntfy takes them (server/server.go, `topicRegex`).
fn has_topic(url: &str) -> bool {
    let path = url.split_once("://").and_then(|(_, rest)| rest.split_once('/'));
    let topic = path.map_or("", |(_, path)| path.rsplit('/').next().unwrap_or_default());
    let good = topic.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
    good && (1..=64).contains(&topic.len())
}

fn recipient(text: &str) -> Result<String, Problem> {
    let good = text.len() <= RECIPIENT_BYTES_MAX && text.bytes().all(|b| b.is_ascii_graphic());
    match good {
        true => Ok(text.to_owned()),
        false => Err(Problem::new(codes::WORD, format!("{} is not a chat or room", show(text)))),
    }
}

fn plain(text: &str) -> Result<String, Problem> {
    match text.len() <= RECIPIENT_BYTES_MAX && !text.chars().any(char::is_control) {
        true => Ok(text.to_owned()),
        false => Err(Problem::new(codes::WORD, format!("{} is not a user's name", show(text)))),
    }
}

fn template(text: &str) -> Result<String, Problem> {
    let problem = |what: String| Problem::new(codes::TEMPLATE, what);
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(problem(format!("the template is longer than {TEMPLATE_BYTES_MAX} bytes")));
    }
    template_problem(text).map_or_else(|| Ok(text.to_owned()), |(what, hint)| Err(problem(what).hint(hint)))
}

/// What is wrong with a template, and what to do about it: a placeholder nobody knows, or no JSON when they are filled in.
fn template_problem(template: &str) -> Option<(String, String)> {
    let (mut sample, mut rest) = (String::new(), template);
    while let Some((before, name, after)) = next_placeholder(rest) {
        if !TEMPLATE_PLACEHOLDERS.contains(&name) {
            let known = TEMPLATE_PLACEHOLDERS.join(", ");
            return Some((format!("there is no placeholder {}", show(name)), format!("there are {known}")));
        }
        sample.push_str(before);
        sample.push('1');
        rest = after;
    }
    sample.push_str(rest);
    let error = json::parse(sample.as_bytes()).err()?;
    let hint = "placeholders of texts stand in quotes: {\"text\": \"{{title}}\"}".to_owned();
    Some((format!("the template is no JSON: {}", error.message), hint))
}

/// The next `{{NAME}}` of a template: what is before it, its name, what is behind.
pub fn next_placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name.trim(), after))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn times_of_day() {
        for (text, minute) in [("00:00", 0), ("7:05", 425), ("23:59", 1439)] {
            assert_eq!(day_time(text).unwrap().minute, minute);
        }
        for bad in ["24:00", "12:60", "7", "7:5", "07:30:00", "-1:00", "+1:00", "", ":", "١:00"] {
            assert!(day_time(bad).is_err(), "{bad}");
        }
        assert!(day_times("22:00-07:00").is_ok());
        for bad in ["22:00", "22:00-", "22:00-22:00", "a-b", "22:00-07:00-08:00"] {
            assert!(day_times(bad).unwrap_err().message.starts_with('\''), "{bad}");
        }
    }

    #[test]
    fn urls() {
        for good in [
            "https://example.com",
            "http://[2001:db8::1]:8080/x?y#z",
            "https://10.0.0.1/",
            "https://a-b.c:1/%20",
        ] {
            assert!(url(good).is_ok(), "{good}");
        }
        for bad in [
            "ftp://x/",
            "https://",
            "https:///x",
            "https://a b/",
            "https://x:0/",
            "https://x:http/",
            "https://ü/",
            "https://-a/",
            "https://1.2.3/",
            "example.com",
            "https://a/{x}",
        ] {
            assert!(url(bad).is_err(), "{bad}");
        }
        for (text, whether) in [
            ("https://ntfy.sh/my-topic", true),
            ("http://10.0.0.1:8080/ntfy/t_1", true),
            ("https://ntfy.sh", false),
            ("https://ntfy.sh/", false),
            ("https://ntfy.sh/t?auth=x", false),
        ] {
            assert_eq!(has_topic(text), whether, "{text}");
        }
        let secret = url("https://me:hunter2@example.com/").unwrap_err();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    #[test]
    fn templates_are_json_with_known_placeholders() {
        for good in [r#"{"a":"{{title}} {{ text }}"}"#, r#"{"n":{{duration_s}}}"#, "[]"] {
            assert_eq!(template_problem(good), None, "{good}");
        }
        for (bad, part) in [
            (r#"{"a":"{{titel}}"}"#, "'titel'"),
            (r#"{"a":{{title}"}"#, "no JSON"),
            ("{", "no JSON"),
            ("", "no JSON"),
        ] {
            assert!(template_problem(bad).unwrap().0.contains(part), "{bad}");
        }
    }
}
