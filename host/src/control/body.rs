//! The bodies of requests: as much as is allowed, in the time that is allowed.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::StatusCode;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

use super::problem::Problem;

/// What a body may be.
#[derive(Clone, Copy)]
pub(super) struct Bound {
    /// Bytes at most.
    pub(super) bytes_max: usize,
    /// Time for all of it.
    pub(super) time: Duration,
    /// Time without a byte.
    pub(super) silence: Duration,
}

/// A JSON document is typed by a person or made from a job file.
pub(super) const JSON: Bound =
    Bound { bytes_max: 1 << 20, time: Duration::from_secs(10), silence: Duration::from_secs(5) };

/// Hands over the pieces of a body as they come.
pub(super) async fn each_piece(mut body: Body, bound: Bound, mut piece: impl FnMut(Bytes)) -> Result<(), Problem> {
    let end = Instant::now() + bound.time;
    let mut left = bound.bytes_max;
    loop {
        let silence = Instant::now() + bound.silence;
        let frame = timeout_at(end.min(silence), body.frame()).await;
        let frame = frame.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body came too slowly"))?;
        let data = match frame {
            None => return Ok(()),
            Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            Some(Err(_)) => return Err(Problem::usage("the body was cut off")),
        };
        left = left.checked_sub(data.len()).ok_or_else(|| Problem::too_large(bound.bytes_max))?;
        piece(data);
    }
}

/// A JSON document. No body is an empty object.
pub(super) async fn json<T: DeserializeOwned>(body: Body) -> Result<T, Problem> {
    let mut text = Vec::new();
    each_piece(body, JSON, |piece| text.extend_from_slice(&piece)).await?;
    let text = if text.iter().all(u8::is_ascii_whitespace) { b"{}".as_slice() } else { &text };
    serde_json::from_slice(text)
        .map_err(|error| Problem::usage(format!("the body is not what is wanted here: {error}")))
}
