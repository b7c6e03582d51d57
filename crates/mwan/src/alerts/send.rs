//! A message on its way, by whichever way its channel has.

use std::time::Duration;

use mwan_alerts::{Channel, Fault, FaultKind, How, Outgoing, requests, words};

use super::{http, mail, program};

/// After this time whatever has not been sent was not reached.
const SEND_MAX: Duration = Duration::from_secs(60);

/// Sends a message.
///
/// # Errors
/// It was not sent; or nobody knows, as when the answer is missing.
pub(super) async fn send(site: &str, channel: &Channel, message: &Outgoing) -> Result<(), Fault> {
    let sending = async {
        match &channel.how {
            How::Email(email) => mail::send(email, channel.ca_file.as_deref(), site, message).await,
            How::Webhook(hook) => {
                for request in requests(message, site, hook) {
                    http::send(&request, hook.secret.as_ref(), channel.ca_file.as_deref(), message).await?;
                }
                Ok(())
            }
            How::Command(run) => {
                let document = mwan_alerts::document(message, site).to_string();
                program::run(&run.argv, document.into_bytes(), Duration::from_millis(run.timeout_ms)).await
            }
        }
    };
    // A program has a limit of its own.
    let limit = match &channel.how {
        How::Command(run) => Duration::from_millis(run.timeout_ms) + SEND_MAX,
        How::Email(_) | How::Webhook(_) => SEND_MAX,
    };
    let late = || unreachable(format!("nothing came of it within {} s", limit.as_secs()));
    tokio::time::timeout(limit, sending).await.unwrap_or_else(|_| Err(late()))
}

/// The subject of a message, with where it is from.
pub(super) fn subject(message: &Outgoing, site: &str) -> String {
    let words = words(message, site);
    format!("[{site}] {}", words.title)
}

pub(super) fn unreachable(text: impl Into<String>) -> Fault {
    Fault { kind: FaultKind::Unreachable, text: text.into() }
}

pub(super) fn refused(text: impl Into<String>) -> Fault {
    Fault { kind: FaultKind::Refused, text: text.into() }
}

/// An error with what it came from.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.contains(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        cause = error.source();
    }
    text
}
