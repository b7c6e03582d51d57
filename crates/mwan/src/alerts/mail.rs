//! E-mails, by SMTP or by the system's own mailer.

use std::time::{Duration, UNIX_EPOCH};

use lettre::address::Envelope;
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::response::Category;
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use mwan_alerts::{Email, Fault, Outgoing, Security, Stage, words};
use tracing::warn;

use super::send::{chain, refused, subject, unreachable};
use super::{program, trust};

/// How long one answer of a server may take; RFC 5321 (4.5.3.2) has minutes, but then nobody waits for a WAN that is lost.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// Sends a message as an e-mail.
pub(super) async fn send(
    email: &Email,
    ca: Option<&str>,
    site: &str,
    message: &Outgoing,
) -> Result<(), Fault> {
    let mail = compose(email, site, message).map_err(refused)?;
    if let Some(sendmail) = &email.sendmail {
        // -t: recipients are in the message; -i: a line with a dot alone is no end.
        let argv = [sendmail.clone(), "-t".to_owned(), "-i".to_owned()];
        return program::run(&argv, mail.formatted(), super::program::MAILER_MAX).await;
    }
    let transport = transport(email, ca)?;
    let (envelope, bytes) = (mail.envelope().clone(), mail.formatted());
    match transport.send_raw(&envelope, &bytes).await {
        Ok(_) => Ok(()),
        Err(error) if envelope.to().len() > 1 && refuses_somebody(&error) => {
            one_by_one(&transport, &envelope, &bytes).await
        }
        Err(error) => Err(fault(&error)),
    }
}

type SmtpError = lettre::transport::smtp::Error;

fn fault(error: &SmtpError) -> Fault {
    let text = chain(error);
    // What a server says, and what is wrong with a certificate, is so tomorrow, too.
    let said = error.is_permanent() || error.is_transient() || error.is_client() || error.is_tls();
    if said { refused(text) } else { unreachable(text) }
}

/// Whether the server says no to a recipient, perhaps to one of several: RFC 5321 (4.2.3), 550 to 554. Not to a password (535).
fn refuses_somebody(error: &SmtpError) -> bool {
    error.is_permanent() && error.status().is_some_and(|code| code.category == Category::MailSystem)
}

/// Each recipient by himself: one whose mailbox is gone keeps nobody else in the dark. Refused if nobody takes it.
async fn one_by_one(
    transport: &AsyncSmtpTransport<Tokio1Executor>,
    envelope: &Envelope,
    bytes: &[u8],
) -> Result<(), Fault> {
    let (mut taken, mut last) = (false, None);
    for address in envelope.to() {
        let to = vec![address.clone()];
        let alone = Envelope::new(envelope.from().cloned(), to).map_err(|error| refused(chain(&error)))?;
        match transport.send_raw(&alone, bytes).await {
            Ok(_) => taken = true,
            Err(error) => {
                warn!("alerts: {address} gets no mail: {}", chain(&error));
                last = Some(fault(&error));
            }
        }
    }
    match last {
        Some(fault) if !taken => Err(fault),
        _ => Ok(()),
    }
}

fn transport(email: &Email, ca: Option<&str>) -> Result<AsyncSmtpTransport<Tokio1Executor>, Fault> {
    let tls = match email.security {
        Security::None => Tls::None,
        Security::Starttls => Tls::Required(parameters(&email.server, ca)?),
        Security::Tls => Tls::Wrapper(parameters(&email.server, ca)?),
    };
    // `dangerous` is without TLS, which is set here.
    let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&email.server)
        .port(email.port)
        .tls(tls)
        .timeout(Some(ANSWER_MAX));
    if let Some(domain) = domain(&email.from) {
        builder = builder.hello_name(ClientId::Domain(domain.to_owned()));
    }
    if let (Some(username), Some(password)) = (&email.username, &email.password) {
        builder = builder.credentials(Credentials::new(username.clone(), password.reveal().to_owned()));
    }
    Ok(builder.build())
}

fn parameters(server: &str, ca: Option<&str>) -> Result<TlsParameters, Fault> {
    let mut builder = TlsParameters::builder(server.to_owned()).certificate_store(CertificateStore::None);
    for der in trust::certificates(ca).map_err(|e| refused(e.to_string()))? {
        let certificate = Certificate::from_der(der.to_vec()).map_err(|e| refused(chain(&e)))?;
        builder = builder.add_root_certificate(certificate);
    }
    builder.build_rustls().map_err(|e| refused(chain(&e)))
}

/// The e-mail itself.
fn compose(email: &Email, site: &str, message: &Outgoing) -> Result<Message, String> {
    let mailbox = |address: &str| {
        let parsed = address.parse().map_err(|e| format!("{address}: {e}"))?;
        Ok::<_, String>(Mailbox::new(None, parsed))
    };
    let domain = domain(&email.from).unwrap_or("localhost");
    let id = |name: &str| format!("<{name}@{domain}>");
    let date = UNIX_EPOCH + Duration::from_millis(message.now.ms);
    // RFC 3834: nobody on holiday answers it.
    let automatic =
        HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned());
    let mut builder = Message::builder()
        .from(mailbox(&email.from)?)
        .subject(subject(message, site))
        .date(date)
        .message_id(Some(id(&message.id)))
        .raw_header(automatic)
        .header(ContentType::TEXT_PLAIN);
    for address in &email.to {
        builder = builder.to(mailbox(address)?);
    }
    // Everything about an incident is one conversation, whose first message everybody may have or not.
    if let [part] = message.parts.as_slice()
        && part.stage != Stage::Test
    {
        let thread = id(&part.incident.id);
        builder = builder.references(thread.clone());
        if part.stage == Stage::Over {
            builder = builder.in_reply_to(thread);
        }
    }
    builder.body(words(message, site).text).map_err(|e| e.to_string())
}

fn domain(address: &str) -> Option<&str> {
    address.rsplit_once('@').map(|(_, domain)| domain)
}
