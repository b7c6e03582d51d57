//! What is wanted: the channels. Handed to the process that sends as one JSON document.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::time::Now;

/// Everything the sending process needs to know.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Settings {
    /// How this machine is called in messages.
    pub site: String,
    /// The channels in the order of the configuration; names are unique.
    pub channels: Vec<Channel>,
}

impl Settings {
    /// The channel called `name`.
    pub fn channel(&self, name: &str) -> Option<&Channel> {
        self.channels.iter().find(|c| c.name == name)
    }
}

/// How bad something is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Something has happened that may be of interest.
    Info,
    /// A WAN is lost, others carry.
    Warning,
    /// mwan cannot do what is wanted.
    Error,
    /// A policy has no WAN left.
    Critical,
}

impl Severity {
    /// As configuration and messages write it.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Info => "info",
            Severity::Warning => "warning",
            Severity::Error => "error",
            Severity::Critical => "critical",
        }
    }
}

/// What a channel wants to be told of.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// This and worse.
    From(Severity),
    /// Nothing by itself: only the digest.
    Never,
}

/// A time of day in which a channel is not disturbed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Quiet {
    /// First minute of the day.
    pub from: u16,
    /// The first minute after it; smaller than `from` if it goes past midnight.
    pub to: u16,
}

impl Quiet {
    /// Whether `now` is in it.
    pub fn contains(self, now: Now) -> bool {
        let minute = now.minute();
        if self.from <= self.to {
            (self.from..self.to).contains(&minute)
        } else {
            minute >= self.from || minute < self.to
        }
    }
}

/// One way to tell somebody.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Channel {
    /// Its name.
    pub name: String,
    /// What it is told of.
    pub severity: Threshold,
    /// How long something has to be wrong before it is told of, ms.
    pub min_duration_ms: u64,
    /// When it is told of critical incidents only.
    pub quiet: Vec<Quiet>,
    /// The minute of the day at which it gets a digest.
    pub digest: Option<u16>,
    /// Messages within an hour at most.
    pub rate_per_hour: u32,
    /// Why it cannot be used as it is (a file with a secret that cannot be read).
    #[serde(default)]
    pub problem: Option<String>,
    /// The file that holds its secret: password, token, key or whole URL. Who sends reads it.
    pub secret_file: Option<String>,
    /// When that file was changed, in nanoseconds since 1970: other settings if it was.
    #[serde(default)]
    pub secret_stamp: Option<u64>,
    /// A file of certificates (PEM) that are trusted instead of those of the system.
    pub ca_file: Option<String>,
    /// The way.
    pub how: How,
}

impl Channel {
    /// Whether several incidents may be one message.
    pub(crate) fn batches(&self) -> bool {
        match &self.how {
            How::Email(_) => true,
            How::Command(_) => false,
            How::Webhook(hook) => {
                matches!(hook.shape, Shape::Ntfy | Shape::Telegram | Shape::Slack | Shape::Matrix)
            }
        }
    }
}

/// The way of a channel.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// By e-mail.
    Email(Email),
    /// By a request to a web server.
    Webhook(Webhook),
    /// By a program.
    Command(CommandRun),
}

/// An e-mail.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Email {
    /// Recipients; at least one.
    pub to: Vec<String>,
    /// Sender.
    pub from: String,
    /// The server, a name or an address; with a program it is not used.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Encryption.
    pub security: Security,
    /// Who logs in.
    pub username: Option<String>,
    /// With which password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// A program in sendmail's manner instead of a server: it is given `-t -i`.
    pub sendmail: Option<String>,
}

/// Encryption of a connection to a mail server.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Security {
    /// Begins unencrypted and must change to TLS (RFC 3207).
    Starttls,
    /// TLS from the first byte (RFC 8314).
    Tls,
    /// None.
    None,
}

/// A request to a web server.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Where to. It may hold a secret (Slack). Empty until the file that holds it is read.
    pub url: Secret,
    /// What is sent.
    pub shape: Shape,
    /// Text with placeholders instead of the shape's own.
    pub template: Option<String>,
    /// Who it is for: Telegram's chat, Matrix' room.
    pub to: Option<String>,
    /// Token, routing key, or the key of the signature, by shape.
    #[serde(default)]
    pub secret: Option<Secret>,
}

/// Forms of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// The document `mwan.alert.v1`.
    Json,
    /// ntfy's publishing as JSON.
    Ntfy,
    /// Telegram's `sendMessage`.
    Telegram,
    /// Slack's incoming webhook.
    Slack,
    /// A text in a room, by Matrix' client-server API.
    Matrix,
    /// PagerDuty's Events API v2.
    Pagerduty,
}

/// A program.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct CommandRun {
    /// Program and arguments; at least one.
    pub argv: Vec<String>,
    /// How long it may take, ms.
    pub timeout_ms: u64,
}

/// A text that nobody must see: it shows itself in no log and no message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Keeps `text`.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself; for the one who is to know it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quiet_hours_may_go_past_midnight() {
        let at = |minute: u64| Now { ms: minute * 60_000, utc_offset_s: 0 };
        let night = Quiet { from: 22 * 60, to: 7 * 60 };
        let noon = Quiet { from: 12 * 60, to: 13 * 60 };
        for (minute, by_night, by_noon) in [
            (0, true, false),
            (7 * 60 - 1, true, false),
            (7 * 60, false, false),
            (12 * 60, false, true),
            (13 * 60, false, false),
            (22 * 60 - 1, false, false),
            (22 * 60, true, false),
        ] {
            assert_eq!(
                (night.contains(at(minute)), noon.contains(at(minute))),
                (by_night, by_noon),
                "{minute}"
            );
        }
        assert!(!Quiet { from: 60, to: 60 }.contains(at(60)), "no time at all");
    }

    #[test]
    fn a_secret_does_not_show_itself() {
        let hook = Webhook {
            url: Secret::new("https://hooks/T0/hunter2"),
            shape: Shape::Slack,
            template: None,
            to: None,
            secret: Some(Secret::new("hunter2")),
        };
        assert!(!format!("{hook:?}").contains("hunter2"));
        let back: Webhook =
            serde_json::from_str(&serde_json::to_string(&hook).expect("is JSON")).expect("is JSON");
        assert_eq!(back, hook);
    }
}
