//! Another configuration with a way back, and the ones there were: what `mwan apply`, `confirm` and `rollback` are on the machine.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mwan_api::{Applied, ApplyOrder, CONFIRM_MAX_S, ConfigPut, Content, Reached, Request};
use serde::{Deserialize, Serialize};

use super::{answered, ask, by, if_match, json, parse, query, tagged, unexpected};
use crate::Site;
use crate::error::ApiError;
use crate::routes::Call;

/// Query of `PUT config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutQuery {
    confirm: Option<u32>,
}

/// Body of `PUT config`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PutRequest {
    /// The whole file.
    text: String,
    /// What the router has to reach with it (`ADDRESS`, `ADDRESS:PORT/tcp`, at most eight); else the configuration before comes back
    /// at once.
    #[serde(default)]
    must_reach: Vec<String>,
}

/// Body of `config/rollback`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct RollbackRequest {
    /// Number of the configuration that is wanted again.
    number: u64,
    /// Seconds for `config/confirm`, 1 to 86400; without it, it stays.
    #[serde(default)]
    confirm: Option<u32>,
    /// As in `PUT config`.
    #[serde(default)]
    must_reach: Vec<String>,
}

/// Another configuration is in force.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PutDone {
    /// What was written.
    #[serde(flatten)]
    put: ConfigPut,
    /// It has to be confirmed within so many seconds (`config/confirm`), or the configuration before comes back.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirm_s: Option<u32>,
    /// What was tried to be reached.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reached: Vec<Reached>,
    /// What else there is to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

/// `PUT config`.
pub(super) async fn put_config(site: &Site, call: &Call) -> Result<Response, ApiError> {
    let PutQuery { confirm } = query(&call.uri)?;
    let PutRequest { text, must_reach } = parse(&call.body)?;
    let revision = if_match(call).ok_or_else(|| {
        let message = "the request does not say which revision it is made from";
        ApiError::new(StatusCode::PRECONDITION_REQUIRED, "revision_required", message)
            .hint("send `If-Match` with the ETag of GET /api/v1/config")
    })?;
    if confirm.is_none() && must_reach.is_empty() {
        return super::put(site, Request::PutConfig { text, revision, dry_run: false, by: by(call) }).await;
    }
    let content = Content::Text { file: String::new(), text };
    give(site, call, Order { content, revision: Some(revision), confirm_s: confirm, must_reach }).await
}

/// `config/rollback`.
pub(super) async fn rollback(site: &Site, call: &Call) -> Result<Response, ApiError> {
    let RollbackRequest { number, confirm, must_reach } = parse(&call.body)?;
    let content = Content::Revision { number: Some(number) };
    give(site, call, Order { content, revision: if_match(call), confirm_s: confirm, must_reach }).await
}

struct Order {
    content: Content,
    revision: Option<String>,
    confirm_s: Option<u32>,
    must_reach: Vec<String>,
}

async fn give(site: &Site, call: &Call, order: Order) -> Result<Response, ApiError> {
    let Order { content, revision, confirm_s, must_reach } = order;
    if let Some(seconds) = confirm_s.filter(|s| !(1..=CONFIRM_MAX_S).contains(s)) {
        let message = format!("confirm is {seconds}, and has to be from 1 to {CONFIRM_MAX_S} seconds");
        return Err(ApiError::bad_request(message));
    }
    let order = ApplyOrder { content, revision, dry_run: false, confirm_s, must_reach, by: by(call) };
    let _turn = site.plans.acquire().await.map_err(|_| unexpected())?;
    let answer = ask(&*site.daemon, Request::Apply(order)).await;
    site.status.forget();
    match answer? {
        mwan_api::Response::Applied(applied) => done(applied),
        other => answered(other),
    }
}

fn done(applied: Applied) -> Result<Response, ApiError> {
    let Applied { put, confirm_s, reached, taken_back, notes, .. } = applied;
    if let Some(why) = taken_back {
        let reached = serde_json::to_value(&reached).unwrap_or_default();
        return Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_reached", why)
            .hint("`reached` says what answered and what did not")
            .with("reached", reached));
    }
    let revision = put.revision.clone();
    Ok(tagged(json(&PutDone { put, confirm_s, reached, notes }), &revision))
}

/// `config/confirm` and `config/takeback`.
pub(super) async fn decide(site: &Site, request: Request) -> Result<Response, ApiError> {
    let answer = ask(&*site.daemon, request).await;
    site.status.forget();
    match answer? {
        mwan_api::Response::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        _ => Err(unexpected()),
    }
}

/// `config/revisions`.
pub(super) async fn revisions(site: &Site) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::Revisions).await? {
        mwan_api::Response::Revisions(revisions) => Ok(json(&revisions)),
        _ => Err(unexpected()),
    }
}

/// `config/revisions/{number}`.
pub(super) async fn revision(site: &Site, number: &str) -> Result<Response, ApiError> {
    let missing = |message: String| ApiError::new(StatusCode::NOT_FOUND, "no_revision", message);
    let known = "GET /api/v1/config/revisions lists them";
    let Ok(number) = number.parse() else {
        return Err(missing(format!("'{}' is no number", super::shortened(number))).hint(known));
    };
    match ask(&*site.daemon, Request::Revisions).await? {
        mwan_api::Response::Revisions(all) if all.revisions.iter().all(|kept| kept.number != number) => {
            return Err(missing(format!("configuration {number} is not kept")).hint(known));
        }
        mwan_api::Response::Revisions(_) => {}
        _ => return Err(unexpected()),
    }
    match ask(&*site.daemon, Request::Revision { number }).await? {
        mwan_api::Response::Revision(revision) => Ok(json(&revision)),
        _ => Err(unexpected()),
    }
}
