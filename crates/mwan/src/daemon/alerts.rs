//! What the daemon knows of its companion that sends alerts: what that has said last.

use mwan_api::{Alert, Alerts, Response, SCHEMA_ALERTS, Watched};
use mwan_config::AlertHow;
use tracing::{info, warn};

use super::Daemon;
use super::events::now_ms;
use crate::cli::Failure;

/// Alerts that are kept of a report: more than can be configured.
const REPORTED_MAX: usize = 64;

/// The last report, and the last test.
#[derive(Debug, Default)]
pub(super) struct AlertBoard {
    reported: Vec<Alert>,
    last_test: u64,
    /// The last test, until it is reported of: name of the alert, number.
    asked: Option<(String, u64)>,
}

impl AlertBoard {
    /// The companion says how they are.
    pub(super) fn report(&mut self, mut alerts: Vec<Alert>) {
        alerts.truncate(REPORTED_MAX);
        for alert in &alerts {
            let before = self.reported.iter().find(|r| r.name == alert.name).and_then(trouble);
            match (before, trouble(alert)) {
                (before, Some(now)) if before.as_ref() != Some(&now) => warn!("alert {}: {now}", alert.name),
                (Some(_), None) => info!("alert {} works again", alert.name),
                _ => {}
            }
        }
        self.reported = alerts;
        let tested =
            |name: &str| self.reported.iter().find(|r| r.name == name)?.test.as_ref().map(|t| t.number);
        self.asked.take_if(|(name, number)| tested(name).is_some_and(|tested| tested >= *number));
    }

    /// The test nothing was heard of, for a companion that begins to listen: it may have been asked for before.
    pub(super) fn asked(&self) -> Option<Watched> {
        self.asked.clone().map(|(name, number)| Watched::TestAlert { name, number })
    }

    /// Those that do not work, in words.
    pub(super) fn problems(&self) -> impl Iterator<Item = String> {
        self.reported.iter().filter_map(|alert| Some(format!("alert {}: {}", alert.name, trouble(alert)?)))
    }

    /// Numbers grow, over restarts too.
    fn next_test(&mut self) -> u64 {
        self.last_test = now_ms().max(self.last_test + 1);
        self.last_test
    }
}

impl Daemon {
    /// Those of the configuration, as far as anything is known of them; then what the companion has beside them.
    pub(super) fn alerts(&self) -> Alerts {
        let reported = &self.alerts.reported;
        let configured = self.core.config().alerts.iter();
        let mut alerts: Vec<Alert> = configured
            .map(|alert| {
                let known = reported.iter().find(|r| r.name == alert.name);
                known.cloned().unwrap_or_else(|| unknown(&alert.name, &alert.how))
            })
            .collect();
        let more = reported.iter().filter(|r| self.is_notification(r));
        alerts.extend(more.cloned());
        let problem = self.companions.problem_of("alerts").map(str::to_owned);
        let problem = crate::alerts::problem(self.core.config()).or(problem);
        Alerts { schema: SCHEMA_ALERTS.to_owned(), problem, alerts }
    }

    /// Alerts that are wanted and do not work.
    pub(super) fn alert_problems(&self) -> Vec<String> {
        // What was reported of others is of a configuration before.
        if self.alerts().alerts.is_empty() { Vec::new() } else { self.alerts.problems().collect() }
    }

    /// Whether it is the channel of addresses for which no section says how.
    fn is_notification(&self, alert: &Alert) -> bool {
        let config = self.core.config();
        !config.globals.notification_emails.is_empty() && !config.alerts.iter().any(|a| a.name == alert.name)
    }

    /// Asks the companion for a test message.
    pub(super) fn test_alert(&mut self, name: String) -> Result<Response, Failure> {
        let alerts = self.alerts();
        if !alerts.alerts.iter().any(|alert| alert.name == name) {
            let names: Vec<&str> = alerts.alerts.iter().map(|a| a.name.as_str()).collect();
            let failure = Failure::says(format!("there is no alert {}", name.escape_debug()));
            return Err(failure.hint(match names.as_slice() {
                [] => "no alert is configured".to_owned(),
                names => format!("there are {}", names.join(", ")),
            }));
        }
        if let Some(problem) = alerts.problem {
            return Err(Failure::says(format!("nobody sends alerts: {problem}")));
        }
        let number = self.alerts.next_test();
        self.alerts.asked = Some((name.clone(), number));
        self.events.tell(&Watched::TestAlert { name, number });
        Ok(Response::TestAlert { number })
    }
}

/// Why an alert does not work, if it does not. A test that failed has been told to who asked for it.
fn trouble(alert: &Alert) -> Option<String> {
    let error = alert.last_error.as_ref()?;
    let of_test = alert.test.as_ref().is_some_and(|test| test.error.as_ref() == Some(error));
    (alert.failures > 0 || !of_test).then(|| error.clone())
}

fn unknown(name: &str, how: &AlertHow) -> Alert {
    let kind = match how {
        AlertHow::Email(_) => "email",
        AlertHow::Webhook(_) => "webhook",
        AlertHow::Command { .. } => "command",
    };
    Alert {
        name: name.to_owned(),
        kind: kind.to_owned(),
        queued: 0,
        sent: 0,
        last_sent_ms: None,
        failures: 0,
        next_try_ms: None,
        last_error: None,
        dropped: 0,
        test: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_is_told_again_until_it_is_reported_of() {
        let mut board = AlertBoard::default();
        assert_eq!(board.asked(), None);
        board.asked = Some(("mail".to_owned(), 7));
        let told = Some(Watched::TestAlert { name: "mail".to_owned(), number: 7 });
        let how = AlertHow::Command { argv: Vec::new(), timeout: std::time::Duration::ZERO };
        let report = |name: &str, number| Alert {
            test: Some(mwan_api::AlertTest { number, error: None }),
            ..unknown(name, &how)
        };
        board.report(vec![report("mail", 6), report("other", 9)]);
        assert_eq!(board.asked(), told, "those are others");
        board.report(vec![report("mail", 7)]);
        assert_eq!(board.asked(), None);
    }
}
