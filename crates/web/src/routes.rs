//! Every route, in one table: the router, who may use it, how much it takes, and `docs/openapi.json` follow from it.

use std::sync::Arc;

use axum::RequestPartsExt;
use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, on};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::time::Duration;
use tracing::info;

use crate::Site;
use crate::api::{self, Endpoint};
use crate::assets;
use crate::auth::sessions::Session;
use crate::auth::{Peer, Principal, Role, check_csrf};
use crate::error::ApiError;
use crate::places::Seat;

/// Bodies of most requests are a few words, bytes.
const SMALL: usize = 4096;
/// A configuration, bytes: as much as the daemon takes in one request, with room for what is around it.
const CONFIGURATION: usize = mwan_api::REQUEST_MAX - 4096;
/// A cloud's document, bytes: twice of what is used of one, so that a larger one is refused in its own words.
const DOCUMENT: usize = 2 << 20;
/// A body has to be there by then.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Who may use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Access {
    /// Everybody.
    Open,
    /// Who has at least this role.
    Role(Role),
}

/// A route. What only the documentation tells is not in the program.
#[derive(Debug)]
#[cfg_attr(not(test), expect(dead_code, reason = "docs/openapi.json and its test are made of it"))]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) access: Access,
    pub(crate) endpoint: Endpoint,
    pub(crate) summary: &'static str,
    /// Query parameters: name, type (`integer`, `string` or `boolean`), what they say.
    pub(crate) query: &'static [(&'static str, &'static str, &'static str)],
    /// Name of the schema of the JSON body it takes; empty: none.
    pub(crate) request: &'static str,
    /// Name of the schema of the answer, or a content type; empty: 204.
    pub(crate) response: &'static str,
    /// Longest body, bytes.
    pub(crate) body_max: usize,
}

const fn get(path: &'static str, endpoint: Endpoint, response: &'static str, summary: &'static str) -> Route {
    let access = Access::Role(Role::Viewer);
    Route { method: "GET", path, access, endpoint, summary, query: &[], request: "", response, body_max: 0 }
}

const fn put(path: &'static str, endpoint: Endpoint, summary: &'static str) -> Route {
    let access = Access::Role(Role::Admin);
    let (query, request, response) = (&[], "", "ConfigPut");
    Route {
        method: "PUT",
        path,
        access,
        endpoint,
        summary,
        query,
        request,
        response,
        body_max: CONFIGURATION,
    }
}

const fn post(path: &'static str, role: Role, endpoint: Endpoint, summary: &'static str) -> Route {
    let access = Access::Role(role);
    let (query, request, response) = (&[], "", "");
    Route { method: "POST", path, access, endpoint, summary, query, request, response, body_max: SMALL }
}

const EVENT_QUERY: &[(&str, &str, &str)] = &[
    ("after", "integer", "Only events behind this id, oldest first; without it the newest first."),
    ("before", "integer", "Only events before this id: the next page."),
    ("limit", "integer", "At most so many, 1 to 1000; 100 without it."),
    ("interface", "string", "Only events of this interface."),
    ("kind", "string", "Only of this kind: path, switch, apply, repair, config, command, daemon or alert."),
    ("severity", "string", "Only of this severity or a higher one: debug, info, warning or error."),
];

const HISTORY_QUERY: &[(&str, &str, &str)] = &[
    ("interface", "string", "Name of the interface. Required."),
    ("family", "string", "ipv4 or ipv6; without it the first of which anything is recorded."),
    ("from", "integer", "From when, seconds since 1970; without it an hour before the end."),
    ("to", "integer", "Until when; without it now."),
    ("points", "integer", "At most so many points, up to 4000; 300 without it."),
];

const REPORT_QUERY: &[(&str, &str, &str)] = &[
    ("month", "string", "YYYY-MM, UTC; the present one without it."),
    ("format", "string", "json, or html: a page to print."),
];

const EXPLAIN_QUERY: &[(&str, &str, &str)] = &[
    ("to", "string", "Where to: ADDRESS, ADDRESS:PORT, with /PROTOCOL. Required without flow."),
    ("from", "string", "Its source address; without it the packet is the router's own."),
    (
        "in",
        "string",
        "Interface or device it comes in by; without it the one on whose network the source is.",
    ),
    ("family", "string", "ipv4 or ipv6, to be sure."),
    ("sport", "integer", "Its source port."),
    (
        "flow",
        "string",
        "A live connection instead, by what it has; refused with their number if several have it.",
    ),
];

const PUT_QUERY: &[(&str, &str, &str)] = &[(
    "confirm",
    "integer",
    "So many seconds for config/confirm, 1 to 86400; else the configuration before comes back by itself.",
)];

const CLOUD_QUERY: &[(&str, &str, &str)] = &[
    ("dry_run", "boolean", "Only say what would be."),
    ("partial", "boolean", "Apply what is right although something else in it is wrong."),
];

/// In the order of the documentation.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Route] = &[
    get("/api/v1/status", Endpoint::Status, "Status", "Everything: interfaces, policies, rules with counters, problems; as `mwan status --json`."),
    Route { query: EVENT_QUERY, ..get("/api/v1/events", Endpoint::Events, "EventsPage", "What has happened.") },
    get("/api/v1/live", Endpoint::Live, "text/event-stream", "What happens from now on: `event` with an id, `sample` each second, `status` when something changed, `daemon` when it went or came, `logout` at the end of the session. With `Last-Event-ID` first what was missed."),
    get("/api/v1/interfaces", Endpoint::Interfaces, "InterfacesDocument", "The interfaces and their health."),
    get("/api/v1/policies", Endpoint::Policies, "PoliciesDocument", "What carries each policy now."),
    get("/api/v1/rules", Endpoint::Rules, "RulesDocument", "The rules and their counters."),
    get("/api/v1/connected", Endpoint::Connected, "ConnectedDocument", "Networks that are never policy-routed."),
    Route { query: &[("limit", "integer", "Flows in `top`, 1 to 1000; 20 without it.")], ..get("/api/v1/flows", Endpoint::Flows, "Flows", "Connections by interface, and the largest of them.") },
    Route { query: EXPLAIN_QUERY, ..get("/api/v1/explain", Endpoint::Explain, "Explanation", "Why a packet, or a live connection, leaves where it leaves; as `mwan explain --json`.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/diff", Endpoint::Diff, "Plan", "What differs between what should be in the kernel and what is there; as `mwan diff --json`.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/wizard", Endpoint::Candidates, "Candidates", "Devices by which default routes leave: what may be a WAN.") },
    post("/api/v1/interfaces/{name}/up", Role::Operator, Endpoint::Up, "Brings an interface up that was taken down."),
    post("/api/v1/interfaces/{name}/down", Role::Operator, Endpoint::Down, "Takes an interface down: no traffic, no probes."),
    post("/api/v1/interfaces/{name}/drain", Role::Operator, Endpoint::Drain, "The interface gets no new flows while anything else can carry them; those it has stay."),
    post("/api/v1/interfaces/{name}/undrain", Role::Operator, Endpoint::Undrain, "The end of drain."),
    Route { query: HISTORY_QUERY, ..get("/api/v1/history", Endpoint::History, "History", "How a path was: points and outages.") },
    Route { query: REPORT_QUERY, ..get("/api/v1/report", Endpoint::Report, "Report", "Availability, outages, latency and loss of a month, as JSON or as a page to print.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/config", Endpoint::Config, "ConfigText", "The configuration file; its revision is the ETag, too.") },
    Route { request: "ValidateRequest", response: "Validation", body_max: CONFIGURATION, ..post("/api/v1/config/validate", Role::Admin, Endpoint::Validate, "What is wrong with a configuration.") },
    Route { request: "PlanRequest", response: "Plan", body_max: CONFIGURATION, ..post("/api/v1/config/plan", Role::Admin, Endpoint::Plan, "What a configuration would install, and what that changes.") },
    Route { query: PUT_QUERY, request: "PutRequest", response: "PutDone", ..put("/api/v1/config", Endpoint::PutConfig, "Another configuration: in force when this answers, or not at all. `If-Match` says which revision it is made from.") },
    post("/api/v1/config/confirm", Role::Admin, Endpoint::Confirm, "The configuration that waits to be confirmed stays."),
    post("/api/v1/config/takeback", Role::Admin, Endpoint::TakeBack, "The configuration that waits to be confirmed goes at once; the one before is in force again."),
    Route { request: "RollbackRequest", response: "PutDone", ..post("/api/v1/config/rollback", Role::Admin, Endpoint::Rollback, "A configuration that was in force, again. `If-Match` is optional.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/config/revisions", Endpoint::Revisions, "Revisions", "The configurations that were in force, newest first, and the one that waits to be confirmed; as `mwan rollback --list --json`.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/config/revisions/{number}", Endpoint::Revision, "RevisionText", "One of them, and the one before it: what it changed.") },
    Route { access: Access::Role(Role::Admin), ..get("/api/v1/cloud/multiwan", Endpoint::Cloud, "application/json", "The cloud's document that the configuration means (`multiWanV2`).") },
    Route { query: CLOUD_QUERY, request: "application/json", body_max: DOCUMENT, ..put("/api/v1/cloud/multiwan", Endpoint::PutCloud, "A cloud's document, put in force like a configuration. `If-Match` is optional.") },
    get("/api/v1/alerts", Endpoint::Alerts, "Alerts", "Who is told of incidents, and how that goes."),
    Route { response: "AlertTestStarted", ..post("/api/v1/alerts/{name}/test", Role::Operator, Endpoint::TestAlert, "Sends a test message.") },
    Route { access: Access::Open, request: "LoginRequest", response: "SessionDocument", ..post("/api/v1/login", Role::Viewer, Endpoint::Login, "Begins a session: a cookie, and the token that requests which change something carry as X-CSRF-Token.") },
    post("/api/v1/logout", Role::Viewer, Endpoint::Logout, "Ends the session."),
    get("/api/v1/session", Endpoint::Session, "SessionDocument", "Who is asking."),
    Route { access: Access::Open, request: "SetupRequest", response: "SessionDocument", ..post("/api/v1/setup", Role::Viewer, Endpoint::Setup, "Sets the first password by the one-time link of `mwan web init`.") },
    get("/metrics", Endpoint::Metrics, "text/plain", "Metrics for Prometheus, as OpenMetrics or in its older text format, whatever is asked for."),
    Route { access: Access::Open, ..get("/api/v1/openapi.json", Endpoint::OpenApi, "application/json", "This document.") },
];

/// What an endpoint gets.
pub(crate) struct Call {
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    /// `{name}` or `{number}` of the path.
    pub(crate) name: String,
    pub(crate) body: Bytes,
    pub(crate) peer: Peer,
    pub(crate) seat: Arc<Seat>,
    /// Nobody only where everybody may ask.
    pub(crate) who: Option<(Principal, Option<Session>)>,
}

/// The router over the table, and the dashboard's files for everything else.
pub(crate) fn router(site: &Arc<Site>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let site = site.clone();
        let handler = move |request: Request| async move {
            guarded(site, route, request).await.unwrap_or_else(IntoResponse::into_response)
        };
        router = router.route(route.path, on(filter(route.method), handler));
    }
    router.fallback(file).method_not_allowed_fallback(|| async {
        ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "there is no such method here")
            .hint("the header Allow names those there are")
    })
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "GET" => MethodFilter::GET,
        "PUT" => MethodFilter::PUT,
        _ => MethodFilter::POST,
    }
}

/// A file of the dashboard.
async fn file(request: Request) -> Response {
    let readable = [Method::GET, Method::HEAD].contains(request.method());
    match assets::find(request.uri().path()).filter(|_| readable) {
        Some(asset) => assets::answer(asset, request.headers()),
        None => ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing here")
            .hint("GET /api/v1/openapi.json tells what there is")
            .into_response(),
    }
}

/// What is the same for every route: who asks, whether he may, whether he means it, and how much he says.
async fn guarded(site: Arc<Site>, route: &'static Route, request: Request) -> Result<Response, ApiError> {
    let (mut parts, body) = request.into_parts();
    let lost = || ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the connection is not known");
    let peer = parts.extensions.get::<Peer>().copied().ok_or_else(lost)?;
    let seat = parts.extensions.get::<Arc<Seat>>().cloned().ok_or_else(lost)?;
    // A stream that reconnects by itself is no sign of life of its user.
    let touch = route.endpoint != Endpoint::Live;
    let who = site.auth.identify(peer, &parts.headers, touch)?;
    if let Access::Role(role) = route.access {
        authorize(&site, who.as_ref(), role)?;
        if parts.method != Method::GET && parts.method != Method::HEAD {
            check_csrf(who.as_ref().and_then(|(_, session)| session.as_ref()), &parts.headers)?;
        }
    }
    if parts.method != Method::GET && parts.method != Method::HEAD {
        check_origin(peer, &parts.headers)?;
    }
    let name = path_name(&mut parts).await?;
    let body = read_body(route, &parts.headers, body).await?;
    seat.set_busy(true);
    let Parts { uri, headers, method, .. } = parts;
    // Who is let in by a password is told of there; of others nothing is, or they fill the log.
    if let (&(Method::POST | Method::PUT), Some((by, _))) = (&method, &who) {
        info!("{method} {} by {}", uri.path().escape_debug(), by.name.escape_debug());
    }
    let call = Call { uri, headers, name, body, peer, seat: seat.clone(), who };
    let answer = api::answer(site, route.endpoint, call).await;
    if route.endpoint != Endpoint::Live || answer.is_err() {
        seat.set_busy(false);
    }
    answer
}

fn authorize(site: &Site, who: Option<&(Principal, Option<Session>)>, role: Role) -> Result<(), ApiError> {
    let Some((principal, _)) = who else {
        let error = ApiError::unauthenticated();
        return Err(if site.auth.needs_setup() {
            error.hint(
                "the first password is set by the link that `mwan web init` prints, as root on the router",
            )
        } else {
            error
        });
    };
    if principal.role >= role {
        return Ok(());
    }
    let (is, wanted) = (principal.role.name(), role.name());
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "forbidden",
        format!("this is for the role {wanted}; yours is {is}"),
    ))
}

/// A page of another site must not change anything, not even log somebody in. Browsers say where a request comes from (Fetch
/// Metadata; RFC 6454, 7); other programs say nothing.
fn check_origin(peer: Peer, headers: &HeaderMap) -> Result<(), ApiError> {
    if peer.local.is_some() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let scheme = if peer.tls { "https" } else { "http" };
    let same_origin = text("origin").is_none_or(|origin| origin == format!("{scheme}://{host}"));
    let same_site = text("sec-fetch-site").is_none_or(|site| ["same-origin", "none"].contains(&site));
    if same_origin && same_site {
        return Ok(());
    }
    Err(ApiError::new(StatusCode::FORBIDDEN, "cross_site", "the request comes from a page of another site"))
}

async fn path_name(parts: &mut Parts) -> Result<String, ApiError> {
    let parameters = parts.extract::<RawPathParams>().await;
    let parameters = parameters.map_err(|_| ApiError::bad_request("the path is not UTF-8"))?;
    Ok(parameters.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default())
}

async fn read_body(route: &Route, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    let too_large = || {
        let message = format!("the body is larger than {} bytes", route.body_max);
        ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    };
    // Refused before it is sent, where the client says how much it will be.
    if body.size_hint().lower() > route.body_max as u64 {
        return Err(too_large());
    }
    let collected = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, route.body_max).collect()).await;
    let collected = collected.map_err(|_| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "too_slow", "the body did not come in time")
    })?;
    let bytes = match collected {
        Ok(collected) => collected.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(_) => return Err(ApiError::bad_request("the body is cut off or malformed")),
    };
    // A form of another page can send text or a form, but no JSON.
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let json =
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if !route.request.is_empty() && !json {
        return Err(ApiError::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "content_type",
            "the body has to be JSON",
        )
        .hint("send `Content-Type: application/json`"));
    }
    Ok(bytes)
}
