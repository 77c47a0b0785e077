//! What is served where.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request as HttpRequest, State, rejection::PathRejection},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post, put},
};
use bytes::{Bytes, BytesMut};
use hyper::{
    HeaderMap, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::sync::Semaphore;

use super::{
    answers::ask,
    body::{self, Bound},
    components::Components,
    gate::{Gate, METRICS_PATH},
    problem::Problem,
    prometheus,
    requests::{COMPONENT_BYTES_MAX, CheckpointOnWire, SavepointOnWire, StopOnWire, SwapOnWire},
};
use crate::job::{Answer, Live, Request};

/// A component comes from this machine, in a moment; from another one it may take its time.
const COMPONENT: Bound =
    Bound { bytes_max: COMPONENT_BYTES_MAX, time: Duration::from_secs(120), silence: Duration::from_secs(5) };

/// Uploads at the same time, which bounds their memory.
pub(super) const UPLOADS_MAX: usize = 2;

const OPENAPI: &str = include_str!("openapi.json");

/// What all requests share.
pub(super) struct Shared {
    pub(super) live: Arc<Live>,
    pub(super) gate: Gate,
    components: Mutex<Components>,
    uploads: Semaphore,
    closing: AtomicBool,
}

impl Shared {
    pub(super) fn new(live: Arc<Live>, gate: Gate) -> Self {
        Self {
            live,
            gate,
            components: Mutex::default(),
            uploads: Semaphore::new(UPLOADS_MAX),
            closing: AtomicBool::new(false),
        }
    }

    /// Whether the job has ended: nobody answers any more.
    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
    }

    fn with_components<R>(&self, work: impl FnOnce(&mut Components) -> R) -> R {
        work(&mut self.components.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A path that is served.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) method: &'static str,
    handler: MethodRouter<Arc<Shared>>,
}

/// All that is served. `openapi.json` describes each.
pub(super) fn routes() -> Vec<Route> {
    let route = |path, method, handler| Route { path, method, handler };
    vec![
        route("/v1/status", "GET", get(status)),
        route("/v1/checkpoint", "POST", post(checkpoint)),
        route("/v1/savepoint", "POST", post(savepoint)),
        route("/v1/stop", "POST", post(stop)),
        route("/v1/components/{sha256}", "PUT", put(component)),
        route("/v1/swap", "POST", post(swap)),
        route("/v1/openapi.json", "GET", get(openapi)),
        route(METRICS_PATH, "GET", get(metrics)),
    ]
}

/// The routes, without the gate before them.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let mut router = Router::new();
    for Route { path, method, handler } in routes() {
        let not_allowed = move || async move { Problem::method_not_allowed(method) };
        router = router.route(path, handler.fallback(not_allowed));
    }
    router.fallback(|| async { Problem::not_found() }).with_state(shared)
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    json(&shared.live.status())
}

async fn openapi() -> Response {
    typed("application/json", OPENAPI)
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    typed("text/plain; version=0.0.4; charset=utf-8", prometheus::text(&shared.live.status()))
}

async fn checkpoint(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let CheckpointOnWire {} = read(request).await?;
    match ask(&shared, Request::Checkpoint).await? {
        Answer::Checkpoint(location) => Ok(json(&CheckpointDone { location })),
        _ => Err(wrong_answer()),
    }
}

/// The answer of `POST /v1/checkpoint`.
#[derive(Serialize)]
struct CheckpointDone {
    location: String,
}

async fn savepoint(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let wanted: SavepointOnWire = read(request).await?;
    match ask(&shared, Request::Savepoint(wanted.into_request().map_err(Problem::usage)?)).await? {
        Answer::Savepoint(answer) => Ok(json(&answer)),
        _ => Err(wrong_answer()),
    }
}

async fn stop(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let wanted: StopOnWire = read(request).await?;
    match ask(&shared, Request::Stop(wanted.into_request().map_err(Problem::usage)?)).await? {
        Answer::Stop(answer) => Ok(json(&answer)),
        _ => Err(wrong_answer()),
    }
}

async fn swap(State(shared): State<Arc<Shared>>, request: HttpRequest) -> Result<Response, Problem> {
    let wanted: SwapOnWire = read(request).await?;
    let is_meant = !wanted.dry_run;
    let digests: Vec<_> = wanted.operators.0.iter().filter_map(|(_, operator)| operator.component.clone()).collect();
    let wanted = shared.with_components(|components| wanted.into_request(|digest| components.get(digest)));
    match ask(&shared, Request::Swap(wanted.map_err(Problem::usage)?)).await? {
        Answer::Swap(answer) => {
            if is_meant {
                // The job has them.
                shared.with_components(|components| digests.iter().for_each(|digest| components.remove(digest)));
            }
            Ok(json(&answer))
        }
        _ => Err(wrong_answer()),
    }
}

async fn component(
    State(shared): State<Arc<Shared>>,
    sha256: Result<Path<String>, PathRejection>,
    request: HttpRequest,
) -> Result<Response, Problem> {
    // What is no text is no digest.
    let sha256 = sha256.map_or_else(|_| String::new(), |Path(sha256)| sha256);
    let is_digest = sha256.len() == 64 && sha256.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_digest {
        return Err(Problem::usage(
            "the path ends with the SHA-256 of the component: 64 hexadecimal digits in lower case",
        ));
    }
    let length = announced_length(request.headers());
    if length.is_some_and(|bytes| bytes > COMPONENT_BYTES_MAX as u64) {
        return Err(Problem::too_large(COMPONENT_BYTES_MAX));
    }
    let _place = shared.uploads.try_acquire().map_err(|_| Problem::busy("other components are being uploaded"))?;
    let (mut component, mut hash) = (BytesMut::new(), Sha256::new());
    body::each_piece(request.into_body(), COMPONENT, |piece| {
        hash.update(&piece);
        component.extend_from_slice(&piece);
    })
    .await?;
    let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if found != sha256 {
        return Err(Problem::usage(format!("the body has the SHA-256 {found}, not the one of the path")));
    }
    shared.with_components(|components| components.keep(sha256, component.freeze()));
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn read<T: serde::de::DeserializeOwned>(request: HttpRequest) -> Result<T, Problem> {
    if announced_length(request.headers()).is_some_and(|bytes| bytes > body::JSON.bytes_max as u64) {
        return Err(Problem::too_large(body::JSON.bytes_max));
    }
    body::json(request.into_body()).await
}

fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn json(document: &impl Serialize) -> Response {
    match serde_json::to_vec(document) {
        Ok(text) => typed("application/json", text),
        Err(error) => {
            let detail = format!("the answer can't be written as JSON, which is a bug of wasmill: {error}");
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

fn typed(content_type: &'static str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn wrong_answer() -> Problem {
    let detail = "the job answered something else than it was asked, which is a bug of wasmill";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
}
