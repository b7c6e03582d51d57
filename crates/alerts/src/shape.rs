//! What webhooks are sent: ready shapes of services, and texts of the owner's own.
//!
//! Every value is written by a JSON encoder; a template's placeholders are replaced by values escaped as JSON.

use mwan_config::next_placeholder;
use serde_json::{Map, Value, json};

use crate::deliver::{Outgoing, Part};
use crate::incident::{Stage, Subject};
use crate::settings::{Severity, Shape, Webhook};
use crate::text::{Words, words};
use crate::time::Now;

/// A request.
#[derive(Clone, PartialEq, Debug)]
pub struct HttpRequest {
    /// `POST` or `PUT`.
    pub method: &'static str,
    /// Where to; it may hold a secret.
    pub url: crate::Secret,
    /// The value of `Authorization`, if there is one.
    pub authorization: Option<crate::Secret>,
    /// JSON.
    pub body: String,
    /// Whether it is to be signed with the channel's secret.
    pub signed: bool,
}

/// Where Telegram and PagerDuty are, if no URL is given.
const TELEGRAM: &str = "https://api.telegram.org";
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";
/// Longest text in characters: Telegram takes 4096, ntfy 4096 bytes, PagerDuty's summary 1024.
const TEXT_CHARS_MAX: usize = 3_500;
const SUMMARY_CHARS_MAX: usize = 1_000;
const NTFY_BYTES_MAX: usize = 4_000;

/// The requests of one message, to be made in this order.
pub fn requests(message: &Outgoing, site: &str, hook: &Webhook) -> Vec<HttpRequest> {
    let words = words(message, site);
    let secret = hook.secret.as_ref().map_or("", |s| s.reveal());
    let plain = |body: String| HttpRequest {
        method: "POST",
        url: hook.url.clone(),
        authorization: None,
        body,
        signed: false,
    };
    let bearer = || hook.secret.as_ref().map(|s| crate::Secret::new(format!("Bearer {}", s.reveal())));
    if let Some(template) = &hook.template {
        return vec![HttpRequest {
            signed: !secret.is_empty(),
            ..plain(fill(template, message, site, &words))
        }];
    }
    let to = hook.to.as_deref().unwrap_or_default();
    let titled = format!("{}\n\n{}", heading(&words, site), words.text);
    let text = chars(&titled, TEXT_CHARS_MAX);
    vec![match hook.shape {
        Shape::Json => {
            HttpRequest { signed: !secret.is_empty(), ..plain(document(message, site).to_string()) }
        }
        Shape::Ntfy => {
            let (base, topic) = hook.url.reveal().rsplit_once('/').unwrap_or((hook.url.reveal(), to));
            let body = json!({
                "topic": topic, "title": heading(&words, site), "message": bytes(&words.text, NTFY_BYTES_MAX),
                "priority": priority(&words), "tags": [tag(&words)],
            });
            let url = crate::Secret::new(format!("{base}/"));
            HttpRequest { url, authorization: bearer(), ..plain(body.to_string()) }
        }
        Shape::Telegram => {
            let base = if hook.url.reveal().is_empty() { TELEGRAM } else { hook.url.reveal() };
            let url = crate::Secret::new(format!("{}/bot{secret}/sendMessage", base.trim_end_matches('/')));
            let body = json!({"chat_id": to, "text": text, "disable_web_page_preview": true});
            HttpRequest { url, ..plain(body.to_string()) }
        }
        // In Slack's text these three have a meaning (docs.slack.dev, "Formatting message text").
        Shape::Slack => {
            let escaped = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
            plain(json!({"text": escaped}).to_string())
        }
        Shape::Matrix => {
            let room = percent(to);
            let base = hook.url.reveal().trim_end_matches('/');
            let url =
                format!("{base}/_matrix/client/v3/rooms/{room}/send/m.room.message/{}", percent(&message.id));
            let body = json!({"msgtype": "m.text", "body": text});
            HttpRequest {
                method: "PUT",
                url: crate::Secret::new(url),
                authorization: bearer(),
                ..plain(body.to_string())
            }
        }
        Shape::Pagerduty => return pagerduty(message, site, hook, &words),
    }]
}

/// PagerDuty knows incidents of its own: one is opened and closed by our id.
fn pagerduty(message: &Outgoing, site: &str, hook: &Webhook, words: &Words) -> Vec<HttpRequest> {
    let key = message.parts.first().map_or(message.id.as_str(), |p| p.incident.id.as_str());
    let url = if hook.url.reveal().is_empty() { PAGERDUTY } else { hook.url.reveal() };
    let request = |action: &str| {
        let body = json!({
            "routing_key": hook.secret.as_ref().map_or("", |s| s.reveal()), "event_action": action, "dedup_key": key,
            "payload": {
                "summary": chars(&heading(words, site), SUMMARY_CHARS_MAX), "source": site, "severity": words.severity.word(),
                "custom_details": document(message, site),
            },
        });
        let url = crate::Secret::new(url);
        HttpRequest { method: "POST", url, authorization: None, body: body.to_string(), signed: false }
    };
    match words.stage {
        Stage::Over => vec![request("resolve")],
        Stage::Open => vec![request("trigger")],
        // What is over, or never was, must not stay open.
        Stage::Both | Stage::Note | Stage::Test | Stage::Digest => {
            vec![request("trigger"), request("resolve")]
        }
    }
}

/// The message as a document; schema `mwan.alert.v1`.
pub fn document(message: &Outgoing, site: &str) -> Value {
    let words = words(message, site);
    let incidents: Vec<Value> = message.parts.iter().map(|part| incident(part, message.now)).collect();
    json!({
        "schema": "mwan.alert.v1", "id": message.id, "site": site, "stage": words.stage.word(),
        "severity": words.severity.word(), "title": words.title, "text": words.text,
        "time_ms": message.now.ms, "incidents": incidents,
    })
}

fn incident(part: &Part, now: Now) -> Value {
    let i = &part.incident;
    let causes: Vec<Value> = i
        .causes()
        .map(|t| {
            let mut cause = Map::new();
            let mut put = |key: &str, value: Value| drop(cause.insert(key.to_owned(), value));
            match &t.subject {
                Subject::Path { interface, family } => {
                    put("interface", json!(interface));
                    put("family", json!(family));
                }
                Subject::Policy { policy, family } => {
                    put("policy", json!(policy));
                    put("family", json!(family));
                }
                Subject::Kernel | Subject::Config | Subject::Note | Subject::Test => {}
            }
            put("code", json!(t.code));
            put("text", json!(t.text));
            put("since_ms", json!(t.since_ms));
            put("until_ms", json!(t.until_ms));
            put("withdrawn", json!(t.withdrawn));
            put("times", json!(t.times));
            Value::Object(cause)
        })
        .collect();
    let moved: Vec<Value> = i
        .moves
        .iter()
        .map(|m| json!({"policy": m.policy, "family": m.family, "from": m.from, "to": m.to}))
        .collect();
    json!({
        "id": i.id, "stage": part.stage.word(), "severity": i.severity.word(), "begin_ms": i.begin_ms, "end_ms": i.over_ms,
        "duration_s": i.duration_ms(now.ms) / 1000, "unstable": i.is_unstable(), "causes": causes, "moved": moved,
    })
}

/// A template with its placeholders replaced, in one pass: what a value holds is never taken for a placeholder.
fn fill(template: &str, message: &Outgoing, site: &str, words: &Words) -> String {
    let first = message.parts.first().map(|p| &p.incident);
    let time = |ms: Option<u64>| ms.map_or(String::new(), |ms| message.now.rfc3339(ms));
    let value = |name: &str| match name {
        "title" => heading(words, site),
        "text" => words.text.clone(),
        "severity" => words.severity.word().to_owned(),
        "stage" => words.stage.word().to_owned(),
        "id" => message.id.clone(),
        "site" => site.to_owned(),
        "begin" => time(first.map(|i| i.begin_ms).or(message.digest_since_ms)),
        "end" => time(first.and_then(|i| i.over_ms)),
        "duration_s" => first.map_or(0, |i| i.duration_ms(message.now.ms) / 1000).to_string(),
        "interfaces" => {
            let all =
                message.parts.iter().flat_map(|p| &p.incident.troubles).filter_map(|t| t.subject.interface());
            let mut names: Vec<&str> = all.collect();
            names.sort_unstable();
            names.dedup();
            names.join(", ")
        }
        _ => String::new(),
    };
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, name, after)) = next_placeholder(rest) {
        out.push_str(before);
        let quoted = Value::String(value(name)).to_string();
        out.push_str(&quoted[1..quoted.len() - 1]);
        rest = after;
    }
    out + rest
}

/// The title with where it is.
fn heading(words: &Words, site: &str) -> String {
    format!("[{site}] {}", words.title)
}

/// ntfy's priorities: 1 to 5, 3 is usual.
fn priority(words: &Words) -> u8 {
    match (words.stage, words.severity) {
        (Stage::Open, Severity::Critical) => 5,
        (Stage::Open, Severity::Error | Severity::Warning) => 4,
        _ => 3,
    }
}

fn tag(words: &Words) -> &'static str {
    match words.stage {
        Stage::Open if words.severity == Severity::Critical => "rotating_light",
        Stage::Open => "warning",
        Stage::Over | Stage::Both => "white_check_mark",
        Stage::Note | Stage::Test | Stage::Digest => "information_source",
    }
}

fn chars(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn bytes(text: &str, most: usize) -> String {
    let end = (0..=most.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].to_owned()
}

/// As a segment of a path (RFC 3986, 3.3), with everything but unreserved characters encoded.
fn percent(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(b).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
