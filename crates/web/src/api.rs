//! What each endpoint does: a question to the daemon, or to who is logged in.

pub(crate) mod way_back;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::Query;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use mwan_api::{
    ConnectedDocument, Event, EventKind, EventQuery, InterfacesDocument, PoliciesDocument, Request,
    RulesDocument, Severity, Status,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::auth::sessions::Session;
use crate::auth::{LoggedIn, Principal, Role};
use crate::client::Daemon;
use crate::error::ApiError;
use crate::routes::Call;
use crate::{Site, assets, live, metrics};

/// One thing that can be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Endpoint {
    Status,
    Events,
    Live,
    Interfaces,
    Policies,
    Rules,
    Connected,
    Flows,
    Explain,
    Candidates,
    Diff,
    Up,
    Down,
    Drain,
    Undrain,
    History,
    Report,
    Config,
    Validate,
    Plan,
    PutConfig,
    Confirm,
    TakeBack,
    Rollback,
    Revisions,
    Revision,
    Cloud,
    PutCloud,
    Alerts,
    TestAlert,
    Login,
    Logout,
    Session,
    Setup,
    Metrics,
    OpenApi,
}

/// Body of `login`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct LoginRequest {
    /// Name of the user.
    user: String,
    /// His password.
    password: String,
}

/// Body of `setup`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SetupRequest {
    /// What stands behind `#setup=` in the link.
    token: String,
    /// The password that is wanted, 8 characters at least.
    password: String,
}

/// Body of `config/validate`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ValidateRequest {
    /// Name of the file, which tells the format; without it that of the daemon's.
    #[serde(default)]
    file: String,
    /// Its content.
    text: String,
}

/// What is wrong with a text.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Validation {
    /// In the order of the file.
    diagnostics: Vec<mwan_api::Diagnostic>,
    /// Why it would be refused now, if it would.
    refusal: Option<String>,
}

/// Query of `history`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryQuery {
    interface: String,
    family: Option<String>,
    from: Option<u64>,
    to: Option<u64>,
    points: Option<u32>,
}

/// Query of `report`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportQuery {
    month: Option<String>,
    #[serde(default)]
    format: ReportFormat,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ReportFormat {
    #[default]
    Json,
    Html,
}

/// Query of `PUT cloud/multiwan`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CloudQuery {
    #[serde(default)]
    dry_run: bool,
    #[serde(default)]
    partial: bool,
}

/// A test message is on its way.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AlertTestStarted {
    /// By which `alerts` tells what became of it.
    number: u64,
}

/// Body of `config/plan`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PlanRequest {
    /// Name of the file, for diagnostics; `.toml` at its end tells the format.
    file: String,
    /// Its content.
    text: String,
}

/// Who is logged in.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SessionDocument {
    /// His name.
    user: String,
    /// What he may do.
    #[cfg_attr(test, schemars(with = "String"))]
    role: Role,
    /// What requests that change something have to carry as `X-CSRF-Token`; null with a token, which needs none.
    csrf: Option<String>,
}

/// Query of `events`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EventsQuery {
    after: Option<u64>,
    before: Option<u64>,
    limit: Option<u32>,
    interface: Option<String>,
    kind: Option<EventKind>,
    severity: Option<Severity>,
}

/// A page of events.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EventsPage {
    /// As asked for.
    events: Vec<Event>,
    /// What `before` (or, with `after`, `after`) has to be for the next page; null: this was the last one.
    next: Option<u64>,
    /// Id of the oldest event that is still known; 0: none is.
    oldest: u64,
    /// Id of the newest.
    latest: u64,
}

/// Query of `flows`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FlowsQuery {
    limit: Option<u32>,
}

/// Query of `explain`: no real packet is sent for who only asks.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainQuery {
    to: Option<String>,
    from: Option<String>,
    #[serde(rename = "in")]
    input: Option<String>,
    family: Option<String>,
    sport: Option<u16>,
    flow: Option<String>,
}

/// Most entries of a list that are given at once.
const LIMIT_MAX: u32 = 1000;
const EVENTS: u32 = 100;
const FLOWS: u32 = 20;

/// The status, asked for at most so often whoever wants it: the daemon looks at the kernel for it.
const STATUS_AGE_MAX: Duration = Duration::from_millis(200);

/// The last status, for a moment.
#[derive(Debug, Default)]
pub(crate) struct StatusCache {
    last: Mutex<Option<(Instant, Arc<Status>)>>,
    /// Counts what makes an answer old that is still under way.
    forgotten: std::sync::atomic::AtomicU64,
}

impl StatusCache {
    /// The status; who asks while another one does gets the same.
    pub(crate) async fn get(&self, daemon: &dyn Daemon) -> Result<Arc<Status>, ApiError> {
        use std::sync::atomic::Ordering::Relaxed;
        let mut last = self.last.lock().await;
        if let Some((at, status)) = last.as_ref()
            && at.elapsed() < STATUS_AGE_MAX
            && self.forgotten.swap(0, Relaxed) == 0
        {
            return Ok(status.clone());
        }
        self.forgotten.store(0, Relaxed);
        match ask(daemon, Request::Status).await? {
            mwan_api::Response::Status(status) => {
                let status = Arc::from(status);
                *last = Some((Instant::now(), Arc::clone(&status)));
                Ok(status)
            }
            _ => Err(unexpected()),
        }
    }

    /// Something changed: the next one is asked for anew.
    pub(crate) fn forget(&self) {
        self.forgotten.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

/// The list of connections is asked for at most so often whoever wants it: the kernel's whole table is read for it.
const FLOWS_AGE_MAX: Duration = Duration::from_secs(1);

/// The last list of connections, for a moment.
#[derive(Debug, Default)]
pub(crate) struct FlowsCache {
    /// When, for how many, and what.
    last: Mutex<Option<(Instant, u32, mwan_api::Flows)>>,
}

impl FlowsCache {
    /// Connections, at least `limit` of them one by one if there are so many.
    async fn get(&self, daemon: &dyn Daemon, limit: u32) -> Result<mwan_api::Flows, ApiError> {
        let mut last = self.last.lock().await;
        if let Some((at, known, flows)) = last.as_ref()
            && at.elapsed() < FLOWS_AGE_MAX
            && *known >= limit
        {
            return Ok(flows.clone());
        }
        // Two sizes: who asks for ever more of them has the table read no more often.
        let limit = if limit <= FLOWS { FLOWS } else { LIMIT_MAX };
        match ask(daemon, Request::Flows { limit }).await? {
            mwan_api::Response::Flows(flows) => {
                *last = Some((Instant::now(), limit, flows.clone()));
                Ok(flows)
            }
            _ => Err(unexpected()),
        }
    }
}

/// Asks the daemon; what it refuses is a conflict with the state it is in.
async fn ask(daemon: &dyn Daemon, request: Request) -> Result<mwan_api::Response, ApiError> {
    match daemon.ask(request).await {
        Ok(mwan_api::Response::Error { message, hint }) => {
            let error = ApiError::new(StatusCode::CONFLICT, "refused", message);
            Err(match hint {
                Some(hint) => error.hint(hint),
                None => error,
            })
        }
        Ok(response) => Ok(response),
        Err(error) => Err(ApiError::unavailable(format!("the daemon does not answer: {error}"))),
    }
}

fn unexpected() -> ApiError {
    ApiError::new(StatusCode::BAD_GATEWAY, "daemon", "the daemon's answer does not fit the question")
        .hint("are both of the same version?")
}

/// Answers one call.
pub(crate) async fn answer(site: Arc<Site>, endpoint: Endpoint, call: Call) -> Result<Response, ApiError> {
    match endpoint {
        Endpoint::Status => Ok(json(&*site.status.get(&*site.daemon).await?)),
        Endpoint::Interfaces | Endpoint::Policies | Endpoint::Rules | Endpoint::Connected => {
            part(&*site.status.get(&*site.daemon).await?, endpoint)
        }
        Endpoint::Events => events(&site, &call.uri).await,
        Endpoint::Live => live(site, call).await,
        Endpoint::Candidates => candidates(&site).await,
        Endpoint::Diff => diff(&site).await,
        Endpoint::Flows => flows(&site, &call.uri).await,
        Endpoint::Explain => explain(&site, &call.uri).await,
        Endpoint::Up => command(&site, call.name, |interface| Request::IfUp { interface }).await,
        Endpoint::Down => command(&site, call.name, |interface| Request::IfDown { interface }).await,
        Endpoint::Drain => command(&site, call.name, |interface| Request::Drain { interface }).await,
        Endpoint::Undrain => command(&site, call.name, |interface| Request::Undrain { interface }).await,
        Endpoint::History => history(&site, &call.uri).await,
        Endpoint::Report => report(&site, &call.uri).await,
        Endpoint::Config => config(&site).await,
        Endpoint::Validate => validate(&site, &call.body).await,
        Endpoint::Plan => plan(&site, &call.body).await,
        Endpoint::PutConfig => way_back::put_config(&site, &call).await,
        Endpoint::Confirm => way_back::decide(&site, Request::Confirm).await,
        Endpoint::TakeBack => way_back::decide(&site, Request::TakeBack).await,
        Endpoint::Rollback => way_back::rollback(&site, &call).await,
        Endpoint::Revisions => way_back::revisions(&site).await,
        Endpoint::Revision => way_back::revision(&site, &call.name).await,
        Endpoint::Cloud => cloud(&site).await,
        Endpoint::PutCloud => put_cloud(&site, &call).await,
        Endpoint::Alerts => alerts(&site).await,
        Endpoint::TestAlert => test_alert(&site, call.name).await,
        Endpoint::Login => {
            let LoginRequest { user, password } = parse(&call.body)?;
            Ok(logged_in(site.auth.log_in(call.peer, &user, password).await?))
        }
        Endpoint::Setup => {
            let SetupRequest { token, password } = parse(&call.body)?;
            Ok(logged_in(site.auth.set_up(call.peer, token, password).await?))
        }
        Endpoint::Logout => {
            let (who, _) = call.who.ok_or_else(ApiError::unauthenticated)?;
            let cookie = site.auth.log_out(call.peer, &who);
            Ok(with_cookie(StatusCode::NO_CONTENT.into_response(), &cookie))
        }
        Endpoint::Session => {
            let (who, session) = call.who.ok_or_else(ApiError::unauthenticated)?;
            Ok(json(&session_document(&who, session.as_ref())))
        }
        Endpoint::Metrics => Ok(metrics(&site, &call).await),
        Endpoint::OpenApi => Ok(assets::answer(&assets::OPENAPI, &call.headers)),
    }
}

fn json(value: &impl Serialize) -> Response {
    match serde_json::to_vec(value) {
        Ok(bytes) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            (kind, bytes).into_response()
        }
        Err(_) => unexpected().into_response(),
    }
}

/// A body as what it should be.
fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|error| {
        // serde_json repeats names of fields, at most, and of values their kind or, of words, themselves.
        let message = format!("the body does not fit: {}", shortened(&error.to_string()));
        ApiError::bad_request(message).hint("GET /api/v1/openapi.json tells what fits")
    })
}

/// The query as what it should be.
fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, ApiError> {
    let parsed = Query::<T>::try_from_uri(uri).map_err(|error| {
        let message = format!("the query does not fit: {}", shortened(&error.body_text()));
        ApiError::bad_request(message).hint("GET /api/v1/openapi.json tells what fits")
    });
    parsed.map(|Query(query)| query)
}

/// One line that repeats not too much of what a client said.
fn shortened(text: &str) -> String {
    text.chars()
        .take(200)
        .collect::<String>()
        .escape_debug()
        .to_string()
        .replace("\\'", "'")
        .replace("\\\"", "\"")
}

fn limit(wanted: Option<u32>, default: u32) -> Result<u32, ApiError> {
    let limit = wanted.unwrap_or(default);
    if (1..=LIMIT_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(ApiError::bad_request(format!("limit is {limit}, and has to be from 1 to {LIMIT_MAX}")))
}

fn part(status: &Status, endpoint: Endpoint) -> Result<Response, ApiError> {
    Ok(match endpoint {
        Endpoint::Interfaces => json(&InterfacesDocument {
            schema: mwan_api::SCHEMA_INTERFACES.to_owned(),
            interfaces: status.interfaces.clone(),
        }),
        Endpoint::Policies => json(&PoliciesDocument {
            schema: mwan_api::SCHEMA_POLICIES.to_owned(),
            policies: status.policies.clone(),
        }),
        Endpoint::Rules => {
            json(&RulesDocument { schema: mwan_api::SCHEMA_RULES.to_owned(), rules: status.rules.clone() })
        }
        _ => json(&ConnectedDocument {
            schema: mwan_api::SCHEMA_CONNECTED.to_owned(),
            connected: status.connected.clone(),
            custom: status.custom.clone(),
        }),
    })
}

async fn events(site: &Site, uri: &Uri) -> Result<Response, ApiError> {
    let asked: EventsQuery = query(uri)?;
    let limit = limit(asked.limit, EVENTS)?;
    let EventsQuery { after, before, interface, kind, severity, .. } = asked;
    let query = EventQuery { after, before, limit: Some(limit), interface, kind, severity };
    let mwan_api::Response::Events(found) = ask(&*site.daemon, Request::Events(query)).await? else {
        return Err(unexpected());
    };
    let whole = found.events.len() >= limit as usize;
    let next = found.events.last().map(|event| event.id).filter(|_| whole);
    Ok(json(&EventsPage { events: found.events, next, oldest: found.oldest, latest: found.latest }))
}

async fn live(site: Arc<Site>, call: Call) -> Result<Response, ApiError> {
    let (who, _) = call.who.ok_or_else(ApiError::unauthenticated)?;
    let after = call.headers.get("last-event-id").and_then(|id| id.to_str().ok()?.trim().parse().ok());
    let stream = live::stream(site, who, after, call.seat).await;
    let stream = stream.ok_or_else(|| ApiError::too_many("too many clients listen already", 10))?;
    let headers = [(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"))];
    Ok((headers, Body::new(stream)).into_response())
}

async fn candidates(site: &Site) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::Candidates).await? {
        mwan_api::Response::Candidates(found) => Ok(json(&found)),
        _ => Err(unexpected()),
    }
}

async fn flows(site: &Site, uri: &Uri) -> Result<Response, ApiError> {
    let asked: FlowsQuery = query(uri)?;
    let limit = limit(asked.limit, FLOWS)?;
    let mut flows = site.flows.get(&*site.daemon, limit).await?;
    flows.top.truncate(limit as usize);
    Ok(json(&flows))
}

async fn explain(site: &Site, uri: &Uri) -> Result<Response, ApiError> {
    let ExplainQuery { to, from, input, family, sport, flow } = query(uri)?;
    let asked = mwan_api::ExplainQuery { from, to, input, family, sport, flow, verify: false };
    // Each is a thread of the daemon: one at a time.
    let _turn = site.questions.acquire().await.map_err(|_| unexpected())?;
    match ask(&*site.daemon, Request::Explain(asked)).await? {
        mwan_api::Response::Explanation(explanation) => Ok(json(&*explanation)),
        mwan_api::Response::Flows(flows) => {
            let message = format!("{} connections have all of that", flows.total);
            Err(ApiError::new(StatusCode::CONFLICT, "several", message).hint("add words to flow"))
        }
        _ => Err(unexpected()),
    }
}

/// Something is done with an interface.
async fn command(
    site: &Site,
    name: String,
    request: impl FnOnce(String) -> Request,
) -> Result<Response, ApiError> {
    let status = site.status.get(&*site.daemon).await?;
    if !status.interfaces.iter().any(|interface| interface.name == name) {
        let known: Vec<&str> = status.interfaces.iter().map(|interface| interface.name.as_str()).collect();
        let message = format!("there is no interface '{}'", shortened(&name));
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_interface", message)
            .hint(format!("the configuration has: {}", known.join(", "))));
    }
    let answer = ask(&*site.daemon, request(name)).await;
    site.status.forget();
    match answer? {
        mwan_api::Response::Done => Ok(StatusCode::NO_CONTENT.into_response()),
        _ => Err(unexpected()),
    }
}

async fn alerts(site: &Site) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::Alerts).await? {
        mwan_api::Response::Alerts(alerts) => Ok(json(&alerts)),
        _ => Err(unexpected()),
    }
}

async fn test_alert(site: &Site, name: String) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::TestAlert { name }).await? {
        mwan_api::Response::TestAlert { number } => Ok(json(&AlertTestStarted { number })),
        _ => Err(unexpected()),
    }
}

async fn diff(site: &Site) -> Result<Response, ApiError> {
    // The daemon reads the whole ruleset back: one at a time.
    let _turn = site.plans.acquire().await.map_err(|_| unexpected())?;
    match ask(&*site.daemon, Request::Diff).await? {
        mwan_api::Response::Plan(plan) => Ok(json(&plan)),
        _ => Err(unexpected()),
    }
}

async fn plan(site: &Site, body: &[u8]) -> Result<Response, ApiError> {
    let PlanRequest { file, text } = parse(body)?;
    // The daemon compiles it in a thread of its own: one at a time.
    let _turn = site.plans.acquire().await.map_err(|_| unexpected())?;
    match ask(&*site.daemon, Request::Plan { file, text }).await? {
        mwan_api::Response::Plan(plan) => Ok(json(&plan)),
        _ => Err(unexpected()),
    }
}

async fn history(site: &Site, uri: &Uri) -> Result<Response, ApiError> {
    let HistoryQuery { interface, family, from, to, points } = query(uri)?;
    let wanted = mwan_api::HistoryQuery { interface, family, from_s: from, to_s: to, points };
    match ask(&*site.daemon, Request::History(wanted)).await? {
        mwan_api::Response::History(history) => Ok(json(&*history)),
        _ => Err(unexpected()),
    }
}

/// A page that can be printed has its style in it, and nothing else: no script runs there at all.
const REPORT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

async fn report(site: &Site, uri: &Uri) -> Result<Response, ApiError> {
    let ReportQuery { month, format } = query(uri)?;
    let mwan_api::Response::Report(report) = ask(&*site.daemon, Request::Report { month }).await? else {
        return Err(unexpected());
    };
    Ok(match format {
        ReportFormat::Json => json(&*report),
        ReportFormat::Html => {
            let headers = [
                (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
                (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY)),
            ];
            (headers, mwan_history::html(&report)).into_response()
        }
    })
}

/// A revision as a header has it (RFC 9110, 8.8.3).
fn tag(revision: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{revision}\"")).ok()
}

fn tagged(mut response: Response, revision: &str) -> Response {
    response.headers_mut().extend(tag(revision).map(|tag| (header::ETAG, tag)));
    response
}

/// The revision a change was made from.
fn if_match(call: &Call) -> Option<String> {
    let given = call.headers.get(header::IF_MATCH)?.to_str().ok()?.trim();
    let given = given.strip_prefix("W/").unwrap_or(given);
    Some(given.trim_matches('"').to_owned())
}

async fn config(site: &Site) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::Config).await? {
        mwan_api::Response::Config(config) => Ok(tagged(json(&config), &config.revision)),
        _ => Err(unexpected()),
    }
}

async fn validate(site: &Site, body: &[u8]) -> Result<Response, ApiError> {
    let ValidateRequest { file, text } = parse(body)?;
    let _turn = site.plans.acquire().await.map_err(|_| unexpected())?;
    match ask(&*site.daemon, Request::Validate { file, text }).await? {
        mwan_api::Response::Checked { diagnostics, refusal } => {
            Ok(json(&Validation { diagnostics, refusal }))
        }
        _ => Err(unexpected()),
    }
}

/// Whose request it is, for the configurations that are kept.
fn by(call: &Call) -> Option<String> {
    call.who.as_ref().map(|(who, _)| who.name.clone())
}

async fn cloud(site: &Site) -> Result<Response, ApiError> {
    match ask(&*site.daemon, Request::Cloud).await? {
        mwan_api::Response::Cloud(cloud) => {
            let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
            Ok(tagged((kind, cloud.document).into_response(), &cloud.revision))
        }
        _ => Err(unexpected()),
    }
}

async fn put_cloud(site: &Site, call: &Call) -> Result<Response, ApiError> {
    let CloudQuery { dry_run, partial } = query(&call.uri)?;
    let document =
        std::str::from_utf8(&call.body).map_err(|_| ApiError::bad_request("the document is not UTF-8"))?;
    let (document, file) = (document.to_owned(), String::new());
    let (revision, by) = (if_match(call), by(call));
    put(site, Request::PutCloud { document, file, revision, dry_run, partial, by }).await
}

/// Another configuration: in force when this answers, or not at all.
async fn put(site: &Site, request: Request) -> Result<Response, ApiError> {
    let _turn = site.plans.acquire().await.map_err(|_| unexpected())?;
    let answer = ask(&*site.daemon, request).await;
    site.status.forget();
    answered(answer?)
}

/// What became of it.
fn answered(answer: mwan_api::Response) -> Result<Response, ApiError> {
    match answer {
        mwan_api::Response::Put(put) => Ok(tagged(json(&put), &put.revision)),
        mwan_api::Response::Conflict { revision } => {
            let message = "somebody else has changed the configuration meanwhile";
            let error = ApiError::new(StatusCode::PRECONDITION_FAILED, "conflict", message)
                .hint("look at what is there now, and make the change anew")
                .with("revision", revision.clone().into());
            Err(match tag(&revision) {
                Some(tag) => error.header(header::ETAG, tag),
                None => error,
            })
        }
        mwan_api::Response::Refused { message, diagnostics } => {
            let hint = match diagnostics.is_empty() {
                true => "nothing was written",
                false => "nothing was written; `diagnostics` say what is wrong",
            };
            let diagnostics = serde_json::to_value(&diagnostics).unwrap_or_default();
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", message)
                .hint(hint)
                .with("diagnostics", diagnostics))
        }
        _ => Err(unexpected()),
    }
}

fn session_document(who: &Principal, session: Option<&Session>) -> SessionDocument {
    let csrf = session.map(|session| session.csrf.reveal().to_owned());
    SessionDocument { user: who.name.clone(), role: who.role, csrf }
}

fn logged_in(done: LoggedIn) -> Response {
    let csrf = Some(done.session.csrf.reveal().to_owned());
    let document = SessionDocument { user: done.session.user, role: done.role, csrf };
    with_cookie(json(&document), &done.cookie)
}

fn with_cookie(mut response: Response, cookie: &str) -> Response {
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

/// Metrics are there without the daemon, too: that it is away is one of them.
async fn metrics(site: &Site, call: &Call) -> Response {
    let status = site.status.get(&*site.daemon).await.ok();
    let accepted = call.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = metrics::text::Format::accepted(accepted.unwrap_or_default());
    let clients = metrics::Clients { listening: site.hub.count(), dropped: site.hub.dropped() };
    let window = site.window.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let text = metrics::write(format, status.as_deref(), &window, clients);
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static(format.content_type()))];
    (kind, text).into_response()
}
