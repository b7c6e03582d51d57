//! What a configuration has root do with files and programs of its machine. Who may change a configuration but is not root, as the
//! users of the web server, must not gain that: a script of one's own to be run, any file to be read as a list or as a
//! password and sent somewhere.

use std::collections::BTreeSet;
use std::path::{Component, Path};

use crate::model::{Alert, AlertHow, Config};

/// Secrets in this folder may be named by everybody who may change the configuration.
pub const SECRETS: &str = "/etc/mwan/secrets";

impl Config {
    /// Every file that root reads or writes by it and every program that root runs, each as `OPTION VALUE`; a secret with whom it is
    /// told to, or root's password would go to whatever server somebody else names. Programs of alerts and their `ca_file` are none
    /// of them: that is done as an unprivileged user.
    pub fn trusted(&self) -> BTreeSet<String> {
        let globals = &self.globals;
        let single = [
            ("user_script", &globals.hooks.user_script),
            ("hooks_dir", &globals.hooks.directory),
            ("dnsmasq_file", &globals.dnsmasq_file),
            ("cloud_document", &globals.cloud_document),
        ];
        let mut trusted: BTreeSet<String> =
            single.into_iter().filter_map(|(name, value)| named(name, value.as_ref())).collect();
        if !globals.dnsmasq_command.is_empty() {
            // Two words are not one with a blank in it.
            let word = |word: &String| word.replace('\\', "\\\\").replace(' ', "\\ ");
            let words: Vec<String> = globals.dnsmasq_command.iter().map(word).collect();
            trusted.insert(format!("dnsmasq_command {}", words.join(" ")));
        }
        trusted.extend(self.sets.iter().filter_map(|set| named("loadfile", set.file.as_ref())));
        if let Some((certificate, key)) = self.web.as_ref().and_then(|web| web.certificate.as_ref()) {
            trusted.insert(format!("certificate {certificate}"));
            trusted.insert(format!("key {key}"));
        }
        trusted.extend(self.alerts.iter().filter_map(of_alert));
        trusted
    }
}

fn of_alert(alert: &Alert) -> Option<String> {
    match &alert.how {
        AlertHow::Email(email) => {
            let server = email.server.as_deref().unwrap_or("no server");
            secret("password_file", email.password_file.as_ref(), &format!("{server}:{}", email.port))
        }
        AlertHow::Webhook(webhook) => {
            let url = webhook.url.as_deref().unwrap_or("the service of its shape");
            secret("secret_file", webhook.secret_file.as_ref(), url)
        }
        AlertHow::Command { .. } => None,
    }
}

fn secret(option: &str, file: Option<&String>, told_to: &str) -> Option<String> {
    let outside = |file: &&String| {
        let path = Path::new(file.as_str());
        !path.starts_with(SECRETS) || path.components().any(|part| part == Component::ParentDir)
    };
    file.filter(outside).map(|file| format!("{option} {file} for {told_to}"))
}

fn named(option: &str, value: Option<&String>) -> Option<String> {
    value.map(|value| format!("{option} {value}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::options::options;

    const ALL: &str = "
config globals 'globals'
	option user_script '/a/script'
	option hooks_dir '/a/hooks'
	option dnsmasq_file '/a/dnsmasq'
	list dnsmasq_command '/a/command'
	list dnsmasq_command 'word'
	option cloud_document '/a/document'
config interface 'wan'
	option enabled '1'
config ipset 's'
	option loadfile '/a/list'
config web 'web'
	option certificate '/a/certificate'
	option key '/a/key'
config alert 'mail'
	option type 'email'
	option to 'ops@example.com'
	option server 'mail.example.com'
	option username 'u'
	option password_file '/a/password'
	option ca_file '/a/ca'
config alert 'hook'
	option type 'webhook'
	option url 'https://example.com/'
	option secret_file '/a/secret'
config alert 'siren'
	option type 'command'
	list command '/a/siren'
config alert 'sendmail'
	option type 'email'
	option to 'ops@example.com'
	option sendmail '/a/sendmail'
";

    #[test]
    fn every_option_that_names_a_file_or_program_of_roots_is_known() {
        let loaded = crate::parse_uci("f", ALL.as_bytes());
        assert_eq!(
            loaded.diagnostics.iter().filter(|d| d.severity == crate::Severity::Error).count(),
            0,
            "{:?}",
            loaded.diagnostics
        );
        let trusted = loaded.config.trusted();
        let known: BTreeSet<&str> = trusted.iter().filter_map(|text| text.split(' ').next()).gather();
        let names = |kind: &str| kind.contains("path") || kind.contains("program");
        let table: BTreeSet<&str> =
            options().iter().filter(|o| names(o.kind)).map(crate::OptionDoc::key).collect();
        let unprivileged = ["command", "sendmail", "ca_file"];
        assert_eq!(known, table.into_iter().filter(|name| !unprivileged.contains(name)).collect());
        assert!(trusted.contains("dnsmasq_command /a/command word"));
    }

    /// In force is `was`; somebody who is not root wants `is`.
    fn grants(was: &str, is: &str) -> bool {
        let trusted = |text: &str| crate::parse_uci("f", text.as_bytes()).config.trusted();
        trusted(is).is_subset(&trusted(was))
    }

    #[test]
    fn roots_secrets_go_where_root_sends_them() {
        for (was, is) in [
            ("server 'mail.example.com'", "server 'evil.example.com'"),
            ("username 'u'", "port '2525'\n\toption username 'u'"),
            ("url 'https://example.com/'", "url 'https://evil.example.com/'"),
            ("url 'https://example.com/'", "shape 'slack'"),
        ] {
            assert!(ALL.contains(was) && !grants(ALL, &ALL.replace(was, is)), "{is}");
            let free =
                ALL.replace("/a/password", "/etc/mwan/secrets/p").replace("/a/secret", "/etc/mwan/secrets/s");
            assert!(grants(&free, &free.replace(was, is)), "{is}");
        }
        assert!(grants(ALL, &ALL.replace("ops@example.com", "other@example.com")));
    }

    #[test]
    fn another_program_of_the_same_letters_is_another() {
        let one = ALL.replace(
            "\tlist dnsmasq_command '/a/command'\n\tlist dnsmasq_command 'word'\n",
            "\tlist dnsmasq_command '/a/command word'\n",
        );
        assert!(one != ALL && !grants(ALL, &one) && !grants(&one, ALL));
    }

    #[test]
    fn secrets_may_be_named_where_they_are_meant_to_be() {
        let with = |file: &str| {
            let text = ALL.replace("/a/password", file);
            crate::parse_uci("f", text.as_bytes())
                .config
                .trusted()
                .iter()
                .any(|t| t.starts_with("password_file"))
        };
        assert!(!with("/etc/mwan/secrets/mail"));
        assert!(
            with("/etc/mwan/secrets/../../shadow")
                && with("/etc/mwan/secrets-of-others")
                && with("/etc/shadow")
        );
    }
}
