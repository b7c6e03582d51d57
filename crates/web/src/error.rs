//! Errors as clients see them: one JSON shape, the right status, a hint.

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why a request is refused: `{"error": {"code", "message", "hint"}}` and a status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// Boxed: results are handed on a lot, and most of them are good.
    details: Box<Details>,
}

#[derive(Debug, Default)]
struct Details {
    hint: Option<String>,
    headers: Vec<(HeaderName, HeaderValue)>,
    more: Option<(&'static str, Value)>,
}

impl ApiError {
    /// `code` is a stable word for programs, `message` one line for people.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into(), details: Box::default() }
    }

    /// What to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.details.hint = Some(hint.into());
        self
    }

    /// A header of the response.
    pub(crate) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.details.headers.push((name, value));
        self
    }

    /// Something beside code, message and hint.
    pub(crate) fn with(mut self, name: &'static str, value: Value) -> Self {
        self.details.more = Some((name, value));
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn unauthenticated() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthenticated", "there is no valid session or token")
            .hint("log in, or send `Authorization: Bearer TOKEN` (mwan web token add)")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"mwan\""))
    }

    /// Nothing more will be listened to before `after_s` seconds are over.
    pub(crate) fn too_many(message: impl Into<String>, after_s: u64) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
            .hint(format!("try again in {after_s} s"))
            .header(header::RETRY_AFTER, HeaderValue::from(after_s))
    }

    /// The daemon does not answer.
    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "daemon_unavailable", message)
            .hint("the data plane goes on without it; try again in a second")
            .header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    /// The body of the response.
    pub(crate) fn json(&self) -> serde_json::Value {
        let mut error = json!({ "code": self.code, "message": self.message, "hint": self.details.hint });
        if let Some((name, value)) = &self.details.more {
            error[*name] = value.clone();
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(self.details.headers);
        response
    }
}
