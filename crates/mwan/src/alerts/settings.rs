//! The configuration as settings of the companion.
//!
//! The daemon names the files of secrets and never opens them: one that is a pipe would hold it up. The companion reads
//! them while it is still root.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::time::UNIX_EPOCH;

use mwan_alerts::{
    Channel, CommandRun, Email, How, Quiet, Secret, Security, Settings, Severity, Shape, Threshold, Webhook,
};
use mwan_config::{
    Alert, AlertEmail, AlertHow, AlertSecurity, AlertSeverity, AlertShape, AlertWebhook, Config,
};

/// Longest secret: no password and no token is longer.
const SECRET_MAX: u64 = 4096;
/// The program that is taken if only addresses are given, as a cloud's document does.
const SENDMAIL: &str = "/usr/sbin/sendmail";
/// Name of that channel.
const NOTIFICATION: &str = "notification_email";

/// What the companion has to know; `None`: nobody wants to be told.
pub(super) fn of(config: &Config) -> Option<Settings> {
    let site = site();
    let mut channels: Vec<Channel> = config.alerts.iter().map(|alert| channel(alert, &site)).collect();
    let emails = &config.globals.notification_emails;
    let by_mail = |c: &Channel| matches!(c.how, How::Email(_));
    if !emails.is_empty() && !channels.iter().any(by_mail) {
        channels.push(without_section(emails, &site));
    }
    (!channels.is_empty() && config.globals.enabled).then_some(Settings { site, channels })
}

/// Addresses, and nothing that says by which server: the system's own mailer has to do.
fn without_section(emails: &[String], site: &str) -> Channel {
    let missing = format!("no section alert of type email says by which server, and there is no {SENDMAIL}");
    let how = How::Email(Email {
        to: emails.to_vec(),
        from: sender(site),
        server: String::new(),
        port: 0,
        security: Security::None,
        username: None,
        password: None,
        sendmail: Some(SENDMAIL.to_owned()),
    });
    Channel {
        name: NOTIFICATION.to_owned(),
        severity: Threshold::From(Severity::Warning),
        min_duration_ms: 30_000,
        quiet: Vec::new(),
        digest: None,
        rate_per_hour: 20,
        problem: (!std::path::Path::new(SENDMAIL).exists()).then_some(missing),
        secret_file: None,
        secret_stamp: None,
        ca_file: None,
        how,
    }
}

fn channel(alert: &Alert, site: &str) -> Channel {
    let secret_file = match &alert.how {
        AlertHow::Email(mail) => mail.password_file.clone(),
        AlertHow::Webhook(hook) => hook.secret_file.clone(),
        AlertHow::Command { .. } => None,
    };
    Channel {
        name: alert.name.clone(),
        severity: alert.severity.map_or(Threshold::Never, |least| {
            Threshold::From(match least {
                AlertSeverity::Info => Severity::Info,
                AlertSeverity::Warning => Severity::Warning,
                AlertSeverity::Error => Severity::Error,
                AlertSeverity::Critical => Severity::Critical,
            })
        }),
        min_duration_ms: ms(alert.min_duration),
        quiet: alert
            .quiet_hours
            .iter()
            .map(|(from, to)| Quiet { from: from.minute, to: to.minute })
            .collect(),
        digest: alert.digest.map(|at| at.minute),
        rate_per_hour: alert.rate_per_hour,
        problem: None,
        secret_stamp: secret_file.as_deref().and_then(stamp),
        secret_file,
        ca_file: alert.ca_file.clone(),
        how: match &alert.how {
            AlertHow::Email(mail) => How::Email(email(mail, site)),
            AlertHow::Webhook(hook) => How::Webhook(webhook(hook)),
            AlertHow::Command { argv, timeout } => {
                How::Command(CommandRun { argv: argv.clone(), timeout_ms: ms(*timeout) })
            }
        },
    }
}

fn email(mail: &AlertEmail, site: &str) -> Email {
    Email {
        to: mail.to.clone(),
        from: mail.from.clone().unwrap_or_else(|| sender(site)),
        server: mail.server.clone().unwrap_or_default(),
        port: mail.port,
        security: match mail.security {
            AlertSecurity::Starttls => Security::Starttls,
            AlertSecurity::Tls => Security::Tls,
            AlertSecurity::None => Security::None,
        },
        username: mail.username.clone(),
        password: None,
        sendmail: mail.sendmail.clone(),
    }
}

fn webhook(hook: &AlertWebhook) -> Webhook {
    Webhook {
        url: Secret::new(hook.url.clone().unwrap_or_default()),
        shape: match hook.shape {
            AlertShape::Json => Shape::Json,
            AlertShape::Ntfy => Shape::Ntfy,
            AlertShape::Telegram => Shape::Telegram,
            AlertShape::Slack => Shape::Slack,
            AlertShape::Matrix => Shape::Matrix,
            AlertShape::Pagerduty => Shape::Pagerduty,
        },
        template: hook.template.clone(),
        to: hook.to.clone(),
        secret: None,
    }
}

fn ms(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Changes when the file does, so that a reload begins anew with its new content.
fn stamp(path: &str) -> Option<u64> {
    let changed = fs::metadata(path).ok()?.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    u64::try_from(changed.as_nanos()).ok()
}

/// The name of this machine.
fn site() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    let good = !name.is_empty() && name != "(none)" && !name.chars().any(char::is_control);
    if good { name.to_owned() } else { "router".to_owned() }
}

fn sender(site: &str) -> String {
    let good = site.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    format!("mwan@{}", if good { site } else { "localhost" })
}

/// Reads the files of secrets. A channel whose file cannot be read has a problem, and the others go on.
pub(super) fn read_secrets(settings: &mut Settings) {
    for channel in &mut settings.channels {
        let Some(path) = &channel.secret_file else { continue };
        match read_secret(path) {
            Ok(secret) => match &mut channel.how {
                How::Email(mail) => mail.password = Some(secret),
                How::Webhook(hook) if hook.url.reveal().is_empty() && takes_url(hook.shape) => {
                    hook.url = secret
                }
                How::Webhook(hook) => hook.secret = Some(secret),
                How::Command(_) => {}
            },
            Err(error) => channel.problem = Some(format!("cannot read {path}: {error}")),
        }
    }
}

/// Shapes whose whole URL may be the secret.
fn takes_url(shape: Shape) -> bool {
    matches!(shape, Shape::Json | Shape::Slack)
}

/// The first line of a file.
fn read_secret(path: &str) -> io::Result<Secret> {
    // Nobody waits for a writer of a pipe.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path)?;
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    if !file.metadata()?.is_file() {
        return Err(invalid("it is no file"));
    }
    let mut text = String::new();
    File::take(file, SECRET_MAX + 1).read_to_string(&mut text).map_err(|_| invalid("it is not text"))?;
    let line = text.lines().next().unwrap_or_default().trim_end();
    match text.len() as u64 {
        0 => Err(invalid("it is empty")),
        _ if line.is_empty() => Err(invalid("its first line is empty")),
        length if length > SECRET_MAX => Err(invalid("it is too long")),
        _ if line.chars().any(char::is_control) => Err(invalid("there is a control character in it")),
        _ => Ok(Secret::new(line)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings(text: &str) -> Option<Settings> {
        of(&mwan_config::parse("mwan3", text.as_bytes()).config)
    }

    const WAN: &str = "config interface 'wan'\n\toption enabled '1'\n";

    #[test]
    fn who_has_addresses_alone_is_told_what_is_missing() {
        assert_eq!(settings(WAN), None);
        let emails = "config globals 'globals'\n\tlist notification_email 'ops@example.com'\n";
        let only = settings(&format!("{WAN}{emails}")).unwrap().channels.remove(0);
        assert_eq!(only.name, NOTIFICATION);
        let there = std::path::Path::new(SENDMAIL).exists();
        assert_eq!(only.problem.is_none(), there, "{:?}", only.problem);
        let mail = "config alert 'mail'\n\toption type email\n\toption server b.c\n";
        let all = settings(&format!("{WAN}{emails}{mail}")).unwrap();
        assert_eq!(all.channels.len(), 1);
        let How::Email(mail) = &all.channels[0].how else { panic!() };
        assert_eq!(mail.to, ["ops@example.com"]);
        assert!(mail.from.starts_with("mwan@"), "{}", mail.from);
        assert_eq!(
            settings(&format!("{WAN}{emails}\toption enabled '0'\n")),
            None,
            "mwan does nothing at all"
        );
    }

    /// Ten alerts with the longest of everything fit into what a companion is handed (`companion::SETTINGS_MAX`).
    #[test]
    fn the_largest_configuration_can_be_handed_over() {
        let long = |n: usize| "x".repeat(n);
        let path = format!("/{}", long(254));
        let to: String = (0..10).map(|n| format!("\tlist to '{n}{}@b.c'\n", long(248))).collect();
        let quoted = format!("[{}\"\"]", "\"\",".repeat(498));
        let text: String = (0..10)
            .map(|n| match n % 2 {
                0 => format!(
                    "config alert 'a{n}'\n\toption type email\n{to}\toption from 'a@{}'\n\toption server b.c\n\toption username \
                     '{}'\n\toption password_file '{path}'\n\toption ca_file '{path}'\n",
                    long(250),
                    long(255)
                ),
                _ => format!(
                    "config alert 'a{n}'\n\toption type webhook\n\toption url 'https://b.c/{}'\n\toption template '{quoted}'\n\
                     \toption secret_file '{path}'\n\toption ca_file '{path}'\n",
                    long(980)
                ),
            })
            .collect();
        let loaded = mwan_config::parse("mwan3", format!("{WAN}{text}").as_bytes());
        assert!(!loaded.has_errors(), "{:#?}", loaded.diagnostics);
        let settings = of(&loaded.config).unwrap();
        assert_eq!(settings.channels.len(), 10);
        let length = serde_json::to_string(&settings).unwrap().len();
        assert!((30_000..60_000).contains(&length), "{length}");
    }

    #[test]
    fn secrets_are_the_first_line_of_a_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let read = |content: &[u8]| {
            let file = dir.path().join("secret");
            fs::write(&file, content).unwrap();
            read_secret(file.to_str().unwrap()).map(|s| s.reveal().to_owned()).map_err(|e| e.to_string())
        };
        assert_eq!(read(b"hunter2\n"), Ok("hunter2".to_owned()));
        assert_eq!(read(b"hunter2\r\nmore"), Ok("hunter2".to_owned()));
        for bad in [&b""[..], b"\n", b"a\x00b", b"\xff", &[b'x'; 5000]] {
            let said = read(bad).unwrap_err();
            assert!(!said.contains("hunter2") && !said.contains("xxx"), "{said}");
        }
        assert!(read_secret("/dev/zero").is_err() && read_secret("/none").is_err());
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        assert!(read_secret(pipe.to_str().unwrap()).is_err(), "and nobody waits for it");
    }
}
