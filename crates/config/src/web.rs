//! Reads the section of the web server: never left out for a bad value, and never open to others without TLS.

use std::net::SocketAddr;
use std::time::Duration;

use crate::codes;
use crate::fields::Fields;
use crate::model::{Web, WebTls};
use crate::report::{Problem, show};
use crate::values;

/// An owner who looks at a dashboard does something at least so often.
const SESSION_TIMEOUT: Duration = Duration::from_secs(1800);
/// More than a router has addresses that anybody configures one by one.
const LISTEN_MAX: usize = 16;
const HOSTNAMES_MAX: usize = 32;
/// Longest domain name (RFC 1035, 2.3.4), and longest name of a group (shadow's GROUP_NAME_MAX_LENGTH), bytes.
const HOSTNAME_MAX: usize = 253;
const GROUP_MAX: usize = 32;

/// Where it listens if nothing is said, and nobody else reaches it.
const LISTEN: [&str; 2] = ["127.0.0.1:8480", "[::1]:8480"];

/// Reads the section.
pub(crate) fn read_web(fields: &mut Fields<'_>) -> Web {
    let tls_words = [("auto", WebTls::Auto), ("on", WebTls::On), ("off", WebTls::Off)];
    let tls = fields.get("tls", |text| values::word(text, &tls_words)).unwrap_or(WebTls::Auto);
    let certificate = fields.get("certificate", values::absolute_path);
    let key = fields.get("key", values::absolute_path);
    if certificate.is_some() != key.is_some() {
        let message = "certificate and key belong together; a certificate of mwan's own is used";
        fields.say_at(&["certificate", "key"], Problem::new(codes::WEB_KEY, message));
    }
    let web = Web {
        enabled: fields.bool("enabled", false),
        listen: read_listen(fields, tls),
        tls,
        certificate: certificate.zip(key),
        session_timeout: fields.time("session_timeout", SESSION_TIMEOUT),
        group: fields.get("group", |text| name(text, GROUP_MAX, "._-")),
        hostnames: read_hostnames(fields),
    };
    fields.items("comment");
    web
}

fn read_listen(fields: &mut Fields<'_>, tls: WebTls) -> Vec<SocketAddr> {
    let items = fields.pieces("listen");
    if items.is_empty() {
        return LISTEN.iter().filter_map(|text| text.parse().ok()).collect();
    }
    let mut listen: Vec<SocketAddr> = Vec::new();
    for item in items {
        let refused = match item.text.parse::<SocketAddr>() {
            Ok(address) if address.port() == 0 || listen.len() >= LISTEN_MAX => Problem::new(
                codes::WEB_LISTEN,
                format!("{} cannot be listened at; it is left out", show(&item.text)),
            ),
            Ok(address) if tls == WebTls::Off && !address.ip().is_loopback() => {
                let message = format!(
                    "{} is reached by other machines, and tls is off; it is left out",
                    show(&item.text)
                );
                Problem::new(codes::WEB_PLAIN, message).hint("leave tls out: a certificate is made")
            }
            Ok(address) => {
                if !listen.contains(&address) {
                    listen.push(address);
                }
                continue;
            }
            Err(_) => {
                let message = format!("{} is not ADDRESS:PORT; it is left out", show(&item.text));
                Problem::new(codes::WEB_LISTEN, message).hint("as 192.168.1.1:8480 or [::1]:8480")
            }
        };
        fields.add("listen", item.line, refused);
    }
    listen
}

fn read_hostnames(fields: &mut Fields<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for item in fields.pieces("hostname") {
        match name(&item.text, HOSTNAME_MAX, ".-") {
            Ok(name) if names.len() < HOSTNAMES_MAX => names.push(name),
            Ok(_) => {
                let message = format!("there are more than {HOSTNAMES_MAX}; it is left out");
                fields.add("hostname", item.line, Problem::new(codes::WEB_NAME, message));
            }
            Err(mut problem) => {
                problem.message.push_str("; it is left out");
                fields.add("hostname", item.line, problem);
            }
        }
    }
    names
}

/// A name of ASCII letters, digits and these.
fn name(text: &str, max: usize, also: &str) -> Result<String, Problem> {
    let fits = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    if (1..=max).contains(&text.len()) && text.chars().all(fits) {
        return Ok(text.to_owned());
    }
    Err(Problem::new(codes::WEB_NAME, format!("{} is not a name", show(text))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{parse, parse_uci};

    #[test]
    fn nothing_is_on_unless_it_is_asked_for_and_then_on_this_machine() {
        assert_eq!(parse_uci("mwan3", b"").config.web, None);
        let web = parse_uci("mwan3", b"config web\n\toption enabled '1'\n").config.web.unwrap_or_default();
        assert!(web.enabled && web.listen.iter().all(|address| address.ip().is_loopback()));
        assert_eq!((web.listen.len(), web.tls, web.certificate), (2, WebTls::Auto, None));
    }

    #[test]
    fn both_formats_say_the_same() {
        let uci = b"config web\n\toption enabled '1'\n\tlist listen '0.0.0.0:443'\n\toption certificate '/c'\n\
            \toption key '/k'\n\toption session_timeout '5m'\n\toption group 'adm'\n\tlist hostname 'router.lan'\n";
        let toml = b"[web]\nenabled = true\nlisten = '0.0.0.0:443'\ncertificate = '/c'\nkey = '/k'\n\
            session_timeout = '5m'\ngroup = 'adm'\nhostnames = ['router.lan']\n";
        let (uci, toml) = (parse("mwan3", uci), parse("mwan.toml", toml));
        assert_eq!((&uci.diagnostics, &toml.diagnostics), (&vec![], &vec![]));
        assert!(uci.config.web.is_some());
        assert_eq!(uci.config.web, toml.config.web);
    }

    #[test]
    fn off_the_machine_only_with_tls() {
        let text =
            b"config web\n\toption tls 'off'\n\tlist listen '192.0.2.1:80'\n\tlist listen '127.0.0.1:80'\n";
        let loaded = parse_uci("mwan3", text);
        let web = loaded.config.web.unwrap_or_default();
        assert_eq!(web.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["127.0.0.1:80"]);
        assert_eq!(loaded.diagnostics.iter().map(|d| d.code).collect::<Vec<_>>(), [codes::WEB_PLAIN]);
    }
}
