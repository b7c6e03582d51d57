//! Answers as somebody at a terminal sees them: text or JSON, what is said beside it, and the exit code.
//!
//! The daemon makes them, so the command line reads no large answers; without a daemon it makes the same of what it
//! found out by itself.

pub(crate) mod drill;
mod explain;
mod history;
mod json;
mod package;
mod plan;
mod status;
mod why;

use mwan_api::{
    ConnectedDocument, Explanation, Flows, InterfacesDocument, Look, Plan, PoliciesDocument, Response,
    RulesDocument, Shown, Status, View,
};
use mwan_config::Severity;

use crate::cli::{Exit, Failure};

#[cfg(feature = "tui")]
pub(crate) use explain::text as explanation;
pub(crate) use json::json;

/// A name on a terminal: control characters escaped.
pub(crate) fn plain(text: &str) -> String {
    if text.chars().any(char::is_control) { text.escape_debug().to_string() } else { text.to_owned() }
}

/// Milliseconds as seconds, to a tenth.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{} s", ms / 1000, ms % 1000 / 100)
}

/// An answer as `view` wants it.
///
/// # Errors
/// The answer is a failure, or none of those that are shown.
pub(crate) fn show(response: Response, view: View) -> Result<Shown, Failure> {
    match response {
        Response::Status(status) => of_status(*status, view),
        Response::Plan(plan) => of_plan(&plan, view),
        Response::Explanation(explanation) => of_explanation(&explanation, view),
        Response::Flows(flows) => several(&flows, view),
        Response::History(found) => shown(if view.json { json(&*found)? } else { history::table(&found) }),
        Response::Report(report) => shown(match view {
            View { json: true, .. } => json(&*report)?,
            View { look: Look::Page, .. } => mwan_history::html(&report),
            _ => mwan_history::text(&report),
        }),
        Response::Why(why) => shown(if view.json { json(&*why)? } else { why::text(&why) }),
        Response::DrillPlan(plan) => {
            shown(if view.json { json(&plan)? } else { drill::what_would_be(&plan) })
        }
        Response::Drills(drills) => shown(if view.json { json(&drills)? } else { drill::list(&drills) }),
        Response::Error { message, hint } => Err(Failure::with(message, hint)),
        _ => Err(Failure::says("this answer is not for a terminal")),
    }
}

fn shown(text: String) -> Result<Shown, Failure> {
    Ok(Shown { text, notes: Vec::new(), exit: Exit::Ok as u8, error: None, hint: None })
}

/// The exit code for what is done, but is not as it should be.
fn degraded(shown: Shown, degraded: bool) -> Shown {
    Shown { exit: if degraded { Exit::Degraded as u8 } else { shown.exit }, ..shown }
}

fn of_status(status: Status, view: View) -> Result<Shown, Failure> {
    let is_degraded = status.degraded;
    if let Some(package) = view.package {
        return shown(package::text(package, &status, view.look));
    }
    let schema = str::to_owned;
    let text = match (view.look, view.json) {
        (Look::Interfaces, false) => status::interfaces(&status),
        (Look::Policies, false) => status::policies(&status),
        (Look::Connected, false) => status::connected(&status),
        (Look::Rules, false) => status::rules(&status),
        (Look::Interfaces, true) => json(&InterfacesDocument {
            schema: schema(mwan_api::SCHEMA_INTERFACES),
            interfaces: status.interfaces,
        })?,
        (Look::Policies, true) => {
            json(&PoliciesDocument { schema: schema(mwan_api::SCHEMA_POLICIES), policies: status.policies })?
        }
        (Look::Connected, true) => json(&ConnectedDocument {
            schema: schema(mwan_api::SCHEMA_CONNECTED),
            connected: status.connected,
            custom: status.custom,
        })?,
        (Look::Rules, true) => {
            json(&RulesDocument { schema: schema(mwan_api::SCHEMA_RULES), rules: status.rules })?
        }
        (_, json) => {
            let text = if json { self::json(&status)? } else { status::status(&status) };
            return Ok(degraded(shown(text)?, is_degraded));
        }
    };
    shown(text)
}

fn of_plan(plan: &Plan, view: View) -> Result<Shown, Failure> {
    let impact = || plan.impact.as_ref();
    match (view.look, view.json) {
        (Look::Impact, _) => shown(impact().map(plan::impact_line).unwrap_or_default()),
        (Look::Difference, as_json) => {
            let text = if as_json { json(plan)? } else { plan::changes(plan) };
            Ok(degraded(shown(text)?, !plan.changes.is_empty()))
        }
        (Look::Changes, _) => shown(plan::changes(plan) + &impact().map(plan::impact).unwrap_or_default()),
        (_, as_json) => {
            let text = if as_json { json(plan)? } else { plan::plan(plan) };
            let failed = plan.diagnostics.iter().any(|d| d.severity == Severity::Error.name());
            let exit = if failed { Exit::Failed } else { Exit::Ok } as u8;
            let notes = plan.diagnostics.iter().map(|d| d.text.clone()).collect();
            Ok(Shown { exit, notes, ..shown(text)? })
        }
    }
}

fn of_explanation(found: &Explanation, view: View) -> Result<Shown, Failure> {
    let differs = found.verified.as_ref().is_some_and(|verified| verified.outcome != "agreed");
    Ok(degraded(shown(if view.json { json(found)? } else { explain::text(found) })?, differs))
}

/// Which connections there are to choose from: no answer to what was asked.
fn several(flows: &Flows, view: View) -> Result<Shown, Failure> {
    Ok(Shown {
        error: Some(format!("{} connections have all of that", flows.total)),
        hint: Some("add words to --flow, or give the number of one".to_owned()),
        ..shown(if view.json { json(flows)? } else { explain::several(flows) })?
    })
}
