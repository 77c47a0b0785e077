//! Who comes in: looks at the head of a request alone, before anything else does.
//!
//! What it refuses says nothing about the job, and is the same for every path. Strangers have a bucket of their own, so that they can't use up the requests of those who know the token.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use hyper::{
    HeaderMap, Method, StatusCode, Uri,
    header::{AUTHORIZATION, HOST, HeaderName, ORIGIN},
    http::request::Parts,
};

use super::{MetricsAccess, Token, address::Authorities, problem::Problem, rate::Bucket};

/// The one path that the metrics token opens.
pub(super) const METRICS_PATH: &str = "/metrics";

pub(super) struct Gate {
    pub(super) authorities: Authorities,
    pub(super) token: Token,
    pub(super) metrics_token: Token,
    pub(super) metrics: MetricsAccess,
    buckets: Mutex<Buckets>,
}

struct Buckets {
    /// Of those who know a token.
    known: Bucket,
    /// Of those who read metrics that are open.
    anyone: Bucket,
    strangers: Bucket,
}

/// Who was let in.
enum Caller {
    Known,
    Anyone,
}

impl Gate {
    pub(super) fn new(
        authorities: Authorities,
        (token, metrics_token): (Token, Token),
        metrics: MetricsAccess,
        now: Instant,
    ) -> Self {
        let buckets =
            Mutex::new(Buckets { known: Bucket::new(now), anyone: Bucket::new(now), strangers: Bucket::new(now) });
        Self { authorities, token, metrics_token, metrics, buckets }
    }

    /// Lets a request in, or says why not.
    pub(super) fn admit(&self, head: &Parts, now: Instant) -> Result<(), Problem> {
        let judged = self.judge(&head.method, &head.uri, &head.headers);
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = match &judged {
            Ok(Caller::Known) => &mut buckets.known,
            Ok(Caller::Anyone) => &mut buckets.anyone,
            Err(_) => &mut buckets.strangers,
        };
        bucket.take(now).map_err(Problem::too_many_requests)?;
        judged.map(drop)
    }

    fn judge(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<Caller, Problem> {
        // What a request line names counts before the header; both have to fit.
        let named = uri.authority().is_none_or(|authority| self.authorities.serve(authority.as_str()));
        if !named || !only(headers, HOST).is_some_and(|host| self.authorities.serve(host)) {
            return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "`Host` is not the address that is served here"));
        }
        if headers.contains_key(ORIGIN) && !only(headers, ORIGIN).is_some_and(|origin| self.authorities.is_own(origin))
        {
            return Err(Problem::new(StatusCode::FORBIDDEN, "pages of another origin may not ask"));
        }
        let reads_metrics = uri.path() == METRICS_PATH && matches!(*method, Method::GET | Method::HEAD);
        let given = only(headers, AUTHORIZATION).and_then(bearer).unwrap_or_default().as_bytes();
        // Both are compared, whatever comes of the first.
        let (is_full, is_metrics) = (self.token.is(given), self.metrics_token.is(given));
        match (is_full, is_metrics) {
            (true, _) => Ok(Caller::Known),
            (false, true) if reads_metrics => Ok(Caller::Known),
            _ if reads_metrics && self.metrics == MetricsAccess::Open => Ok(Caller::Anyone),
            (false, true) => Err(Problem::new(StatusCode::FORBIDDEN, "this token reads metrics and nothing else")),
            (false, false) => Err(Problem::unauthorized()),
        }
    }
}

/// The value of a header that is there once, and is text.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)?.to_str().ok()
}

/// The scheme's name may be written in any case.
fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}
