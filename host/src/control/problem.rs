//! Errors as callers get them: problem documents (RFC 9457), all of one shape.

use std::time::Duration;

use axum::{
    body::Body,
    response::{IntoResponse, Response},
};
use hyper::{
    HeaderMap, StatusCode,
    header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use crate::job::{Difference, Refusal, RefusalKind};

/// After how many seconds it is worth trying again when something else is under way.
const RETRY_SECONDS: u64 = 1;

/// Why a request was not done. Boxed, for it is an error nearly everywhere.
#[derive(Debug)]
pub(super) struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    headers: HeaderMap,
    document: Document,
}

#[derive(Debug, Serialize)]
struct Document {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<RefusalKind>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    differences: Vec<Difference>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        let document = Document {
            r#type: "about:blank",
            title,
            status: status.as_u16(),
            detail: detail.into(),
            kind: None,
            differences: Vec::new(),
        };
        Self(Box::new(Parts { status, headers: HeaderMap::new(), document }))
    }

    /// The request can't be understood, or makes no sense.
    pub(super) fn usage(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail).of_kind(RefusalKind::Usage)
    }

    /// Later it may be done.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .of_kind(RefusalKind::Busy)
            .retry_after(Duration::from_secs(RETRY_SECONDS))
    }

    /// There is nobody who could answer.
    pub(super) fn job_gone() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the job has ended or is restarting")
            .retry_after(Duration::from_secs(RETRY_SECONDS))
    }

    pub(super) fn unauthorized() -> Self {
        let detail = "this needs the token that lies in the runtime folder: `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, detail).with(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    pub(super) fn too_many_requests(wait: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too many requests").retry_after(wait)
    }

    pub(super) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is no such path; GET /v1/openapi.json describes all that there are")
    }

    pub(super) fn method_not_allowed(allowed: &str) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path takes {allowed}"));
        match HeaderValue::from_str(allowed) {
            Ok(allowed) => problem.with(ALLOW, allowed),
            Err(_) => problem,
        }
    }

    pub(super) fn too_large(bytes_max: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body has more than {bytes_max} bytes"))
    }

    fn of_kind(mut self, kind: RefusalKind) -> Self {
        self.0.document.kind = Some(kind);
        self
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    fn retry_after(self, wait: Duration) -> Self {
        // In whole seconds, and never at once.
        let seconds = wait.as_secs_f64().ceil().max(1.0) as u64;
        self.with(RETRY_AFTER, HeaderValue::from(seconds))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            RefusalKind::Usage => StatusCode::BAD_REQUEST,
            RefusalKind::Plugin => StatusCode::UNPROCESSABLE_ENTITY,
            RefusalKind::Incompatible => StatusCode::CONFLICT,
            RefusalKind::Busy => return Self::busy(refusal.message),
            RefusalKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let mut problem = Self::new(status, refusal.message).of_kind(refusal.kind);
        problem.0.document.differences = refusal.differences;
        problem
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Parts { status, headers, document } = *self.0;
        let text = serde_json::to_string(&document).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }
}
