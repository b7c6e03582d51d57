//! Sections of alerts, in both formats.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use mwan_config::*;

const UCI: &str = "
config globals 'globals'
	list notification_email 'ops@example.com'
config interface 'wan'
	option enabled '1'
config alert 'mail'
	option type 'email'
	option server 'mail.example.com'
	option username 'router'
	option password_file '/etc/mwan/mail.password'
	list quiet_hours '22:00-07:00'
	option digest '07:30'
	option severity 'critical'
config alert 'pager'
	option type 'webhook'
	option shape 'pagerduty'
	option secret_file '/etc/mwan/pager.key'
	option min_duration '2m'
config alert 'siren'
	option type 'command'
	list command '/usr/bin/siren'
	list command '--tone'
	list command 'two words; reboot'
	option rate '3'
config alert 'off'
	option enabled '0'
	option type 'command'
	list command '/bin/true'
";

const NATIVE: &str = r#"
[global]
notification_email = "ops@example.com"
[wan.wan]
[alert.mail]
type = "email"
server = "mail.example.com"
username = "router"
password_file = "/etc/mwan/mail.password"
quiet_hours = "22:00-07:00"
digest = "07:30"
severity = "critical"
[alert.pager]
type = "webhook"
shape = "pagerduty"
secret_file = "/etc/mwan/pager.key"
min_duration = "2m"
[alert.siren]
type = "command"
command = ["/usr/bin/siren", "--tone", "two words; reboot"]
rate = 3
[alert.off]
enabled = false
type = "command"
command = ["/bin/true"]
"#;

#[test]
fn one_alert_of_each_type() {
    for (file, text) in [("mwan3", UCI), ("mwan.toml", NATIVE)] {
        let loaded = parse(file, text.as_bytes());
        let errors: Vec<_> = loaded.diagnostics.iter().filter(|d| d.severity > Severity::Note).collect();
        assert_eq!(errors, Vec::<&Diagnostic>::new(), "{file}");
        let alerts = &loaded.config.alerts;
        let names: Vec<&str> = alerts.iter().map(|a| a.name.as_str()).collect();
        assert_eq!(names, ["mail", "pager", "siren"], "{file}: what is off is not there");
        let AlertHow::Email(mail) = &alerts[0].how else { panic!("{:?}", alerts[0]) };
        assert_eq!(mail.to, ["ops@example.com"], "those of the globals");
        assert_eq!((mail.port, mail.security), (587, AlertSecurity::Starttls));
        assert_eq!(alerts[0].severity, Some(AlertSeverity::Critical));
        assert_eq!(alerts[0].quiet_hours, [(DayTime { minute: 1320 }, DayTime { minute: 420 })]);
        assert_eq!(alerts[0].digest, Some(DayTime { minute: 450 }));
        assert_eq!((alerts[0].min_duration, alerts[0].rate_per_hour), (Duration::from_secs(30), 20));
        let AlertHow::Webhook(hook) = &alerts[1].how else { panic!("{:?}", alerts[1]) };
        assert_eq!((hook.shape, hook.url.as_deref()), (AlertShape::Pagerduty, None));
        assert_eq!(alerts[1].min_duration, Duration::from_secs(120));
        let AlertHow::Command { argv, .. } = &alerts[2].how else { panic!("{:?}", alerts[2]) };
        assert_eq!(argv[2], "two words; reboot", "one argument");
        assert_eq!(alerts[2].rate_per_hour, 3);
    }
}

/// Lines of a section, and a part of the one error there has to be; the alert is left out and the other one stays.
#[test]
fn what_is_missing_or_contradicts_itself_costs_the_alert_alone() {
    for (lines, part) in [
        ("", "no type"),
        ("type email\nserver b.c", "nobody to write to"),
        ("type email\nto a@b.c", "neither a server nor sendmail"),
        ("type email\nto a@b.c\nserver b.c\nsendmail /usr/sbin/sendmail", "both"),
        ("type email\nto a@b.c\nserver b.c\nusername me", "without the other"),
        ("type email\nto a@b.c\nserver b.c\nusername me\npassword_file /p\nsecurity none", "clear text"),
        ("type email\nto nobody\nserver b.c", "not a mail address"),
        ("type webhook", "needs url"),
        ("type webhook\nurl https://me:hunter2@b.c/", "name or password"),
        ("type webhook\nshape telegram\nsecret_file /p", "needs to"),
        ("type webhook\nshape matrix\nto !a:b\nurl https://b.c", "needs secret_file"),
        ("type webhook\nurl https://b.c\ntemplate {{{titel}}}", "no placeholder"),
        ("type command", "no command"),
        ("type command\ncommand true", "not an absolute path"),
    ] {
        let options: String = lines
            .lines()
            .map(|l| l.split_once(' ').unwrap())
            .map(|(name, value)| format!("\toption {name} {}\n", uci::quote(value)))
            .collect();
        let good = "config alert 'good'\n\toption type 'command'\n\tlist command '/bin/true'\n";
        let text =
            format!("config interface 'wan'\n\toption enabled '1'\nconfig alert 'bad'\n{options}{good}");
        let loaded = parse("mwan3", text.as_bytes());
        let errors: Vec<String> = loaded
            .diagnostics
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .map(ToString::to_string)
            .collect();
        assert_eq!(errors.len(), 1, "{lines}: {errors:#?}");
        assert!(errors[0].contains(part) && errors[0].contains("alert 'bad'"), "{errors:?}");
        assert!(!errors[0].contains("hunter2"));
        assert_eq!(loaded.config.alerts.len(), 1, "{lines}");
        assert_eq!(loaded.config.interfaces.len(), 1);
    }
    // On this machine nobody listens.
    let text = "config alert 'a'\n\toption type email\n\toption to a@b.c\n\toption server 127.0.0.1\n\toption username me\n\toption password_file /p\n\toption security none\n";
    assert_eq!(parse("mwan3", text.as_bytes()).config.alerts.len(), 1);
}

#[test]
fn alerts_are_bounded() {
    let text: String = (0..12)
        .map(|n| format!("config alert 'a{n}'\n\toption type command\n\tlist command /bin/true\n"))
        .collect();
    let loaded = parse("mwan3", text.as_bytes());
    assert_eq!(loaded.config.alerts.len(), 10);
    assert_eq!(loaded.diagnostics.iter().filter(|d| d.code == "E1108").count(), 2);
}

#[test]
fn a_migrated_file_has_the_same_alerts() {
    let migrated = migrate::to_toml("mwan3", UCI.as_bytes()).unwrap();
    let names = |loaded: &Loaded| {
        loaded.config.alerts.iter().map(|a| (a.name.clone(), a.how.clone())).collect::<Vec<_>>()
    };
    let (before, after) = (parse("mwan3", UCI.as_bytes()), parse("mwan.toml", migrated.text.as_bytes()));
    assert_eq!(names(&before), names(&after), "{}", migrated.text);
}
