//! The protocols of the public listener. Every question that is answered differently for each of
//! them is one function here with one arm a protocol; what they have in common is in `intake`.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;

use super::enrich::Enrichment;
use super::memory::Memory;
use super::otlp::{self, Encoding, Signal};
use super::reading::Decoded;
use super::reason::{Reason, Refusal};
use super::sentry::Shape;
use super::{Settings, faro, reports, rum, sentry};
use crate::domain::time::Timestamp;

/// How many rejected events an answer lists.
const REJECTED_MAX: usize = 1_000;
/// After how long a client that was sent away because of overload may come back.
const OVERLOAD_PATIENCE: Duration = Duration::from_secs(1);

/// What a path means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Rum,
    Faro,
    Reports,
    Sentry(Shape),
    Otlp(Signal),
}

/// What the daemon does with a protocol's posts while it cannot keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overload {
    /// Some are counted, with the weight of all: the clients would lose what is refused.
    Sample,
    /// 503 and `Retry-After`: the clients try again.
    Refuse,
}

/// One body that arrived.
pub(super) struct Post<'a> {
    pub settings: &'a Settings,
    pub from: &'a Enrichment,
    pub headers: &'a HeaderMap,
    /// What followed the endpoint in the path.
    pub part: Option<&'a str>,
    pub query: &'a str,
    /// After decompression.
    pub body: &'a [u8],
    /// Keyed hash of body and source.
    pub whole: u64,
    pub now: Timestamp,
    pub memory: &'a Memory,
    pub otlp: &'a otlp::Memory,
}

impl<'a> Post<'a> {
    /// What the client says that this post is, however often it is sent.
    pub fn idempotency_key(&self) -> Option<&'a [u8]> {
        self.headers.get("idempotency-key").map(|key| key.as_bytes()).filter(|key| !key.is_empty())
    }
}

/// What became of a body's events.
pub(super) struct Outcome<'a> {
    pub accepted: usize,
    pub duplicate: usize,
    pub rejected: &'a [(usize, Reason)],
    /// Id by which the client knows what it sent.
    pub id: Option<&'a str>,
}

impl Endpoint {
    /// The endpoint of a path, and what else stands in it: for most an app key.
    pub fn of(path: &str) -> Option<(Endpoint, Option<&str>)> {
        if let Some(rest) = path.strip_prefix("/api/") {
            let (project, what) = rest.strip_suffix('/').unwrap_or(rest).rsplit_once('/')?;
            let shape = match what {
                "envelope" => Shape::Envelope,
                "store" => Shape::Event,
                _ => return None,
            };
            return (!project.is_empty() && !project.contains('/')).then_some((Endpoint::Sentry(shape), Some(project)));
        }
        let endpoints = [
            ("/v1/rum", Endpoint::Rum),
            ("/collect", Endpoint::Faro),
            ("/v1/reports", Endpoint::Reports),
            ("/v1/logs", Endpoint::Otlp(Signal::Logs)),
            ("/v1/traces", Endpoint::Otlp(Signal::Traces)),
            ("/v1/metrics", Endpoint::Otlp(Signal::Metrics)),
        ];
        let (endpoint, rest) = endpoints
            .into_iter()
            .find_map(|(prefix, endpoint)| Some((endpoint, path.strip_prefix(prefix)?)).filter(|(_, rest)| starts_segment(rest)))?;
        match rest.strip_prefix('/') {
            None | Some("") => Some((endpoint, None)),
            Some(part) if !part.contains('/') => Some((endpoint, Some(part))),
            Some(_) => None,
        }
    }

    /// Every label of [`Endpoint::protocol`].
    pub const PROTOCOLS: [&str; 5] = ["rum", "faro", "reports", "sentry", "otlp"];

    /// The label of the metrics.
    pub const fn protocol(self) -> &'static str {
        match self {
            Endpoint::Rum => "rum",
            Endpoint::Faro => "faro",
            Endpoint::Reports => "reports",
            Endpoint::Sentry(_) => "sentry",
            Endpoint::Otlp(_) => "otlp",
        }
    }

    /// The app key of a request, in whatever place this protocol's clients can put one.
    pub fn key<'a>(self, part: Option<&'a str>, query: &'a str, headers: &'a HeaderMap) -> Option<&'a str> {
        let header = || headers.get("x-api-key").and_then(|key| key.to_str().ok());
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports | Endpoint::Otlp(_) => {
                part.or_else(header).or_else(|| parameter(query, "key"))
            }
            Endpoint::Sentry(_) => parameter(query, "sentry_key").or_else(|| sentry::key_of(headers)),
        }
    }

    /// How large a body may be after decompression.
    pub fn bytes_max(self, settings: &Settings) -> usize {
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports | Endpoint::Sentry(_) => settings.body_bytes_max,
            Endpoint::Otlp(_) => settings.otlp_bytes_max,
        }
    }

    pub const fn overload(self) -> Overload {
        match self {
            Endpoint::Rum | Endpoint::Reports | Endpoint::Sentry(_) => Overload::Sample,
            Endpoint::Faro | Endpoint::Otlp(_) => Overload::Refuse,
        }
    }

    /// What decides whether a body is kept while only some are.
    pub fn lot(self, body: &[u8]) -> &[u8] {
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports | Endpoint::Otlp(_) => body,
            Endpoint::Sentry(_) => sentry::lot(body),
        }
    }

    /// About how many events there are in a body, without reading it.
    pub fn estimate(self, body: &[u8]) -> usize {
        let mark: &[u8] = match self {
            Endpoint::Rum => b"\"kind\"",
            Endpoint::Faro => b"\"timestamp\"",
            Endpoint::Reports => b"\"type\"",
            Endpoint::Sentry(_) => b"timestamp\"",
            Endpoint::Otlp(Signal::Logs) => b"observedTimeUnixNano",
            Endpoint::Otlp(Signal::Traces) => b"endTimeUnixNano",
            Endpoint::Otlp(Signal::Metrics) => b"startTimeUnixNano",
        };
        body.windows(mark.len()).filter(|window| *window == mark).count()
    }

    pub fn decode<'a>(self, post: &Post<'a>) -> Result<Decoded<'a>, Refusal> {
        match self {
            Endpoint::Rum => rum::decode(post.body, post.settings, post.from, post.now),
            Endpoint::Faro => faro::decode(post, post.memory),
            Endpoint::Reports => reports::decode(post),
            Endpoint::Sentry(shape) => sentry::decode(shape, post, post.memory),
            Endpoint::Otlp(signal) => otlp::decode(signal, post),
        }
    }

    /// The body as it can be read. `headers` are the request's, here and in all that follow.
    pub fn mended<'a>(self, headers: &HeaderMap, body: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports | Endpoint::Sentry(_) => Cow::Borrowed(body),
            Endpoint::Otlp(_) => otlp::mended(content_type(headers), body),
        }
    }

    /// The answer to a body that was read.
    pub fn accept(self, headers: &HeaderMap, body: &[u8], outcome: &Outcome<'_>) -> Response<Full<Bytes>> {
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports => accepted(outcome),
            Endpoint::Sentry(_) => sentry::accepted(outcome.id),
            Endpoint::Otlp(signal) => otlp::accept(signal, Encoding::of(content_type(headers), body), outcome.rejected),
        }
    }

    /// The answer to a request that was refused.
    pub fn refuse(self, refusal: &Refusal, headers: &HeaderMap) -> Response<Full<Bytes>> {
        match self {
            Endpoint::Rum | Endpoint::Faro | Endpoint::Reports | Endpoint::Sentry(_) => problem(refusal),
            Endpoint::Otlp(_) => otlp::refuse(refusal, headers),
        }
    }
}

/// What a request says of its body, often wrongly.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("")
}

fn starts_segment(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// A parameter of a query, as it is written there.
pub(super) fn parameter<'a>(query: &'a str, name: &str) -> Option<&'a str> {
    query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name).map(|(_, value)| value)
}

#[derive(Serialize)]
struct Accepted<'a> {
    accepted: usize,
    rejected: &'a [Rejected],
    #[serde(skip_serializing_if = "is_zero")]
    duplicate: usize,
    /// How many more were rejected than are listed.
    #[serde(skip_serializing_if = "is_zero")]
    rejected_more: usize,
}

#[derive(Serialize)]
struct Rejected {
    index: usize,
    reason: String,
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// 202, with every event that does not count.
fn accepted(outcome: &Outcome<'_>) -> Response<Full<Bytes>> {
    let rejected = outcome.rejected;
    let listed: Vec<Rejected> =
        rejected.iter().take(REJECTED_MAX).map(|(index, reason)| Rejected { index: *index, reason: reason.to_string() }).collect();
    let more = rejected.len() - listed.len();
    let body = Accepted { accepted: outcome.accepted, rejected: &listed, duplicate: outcome.duplicate, rejected_more: more };
    json(StatusCode::ACCEPTED, &body)
}

/// A refusal as `application/problem+json`.
pub(super) fn problem(refusal: &Refusal) -> Response<Full<Bytes>> {
    let status = StatusCode::from_u16(refusal.status()).expect("a valid status");
    let body = serde_json::json!({ "title": status.canonical_reason(), "status": status.as_u16(), "detail": refusal.to_string() });
    let mut answer = json(status, &body);
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    tell_what_next(refusal, answer.headers_mut());
    answer
}

/// The headers that say what a refused client may do, whatever the protocol.
pub(super) fn tell_what_next(refusal: &Refusal, headers: &mut HeaderMap) {
    match refusal {
        Refusal::Method(allowed) => drop(headers.insert(ALLOW, HeaderValue::from_static(allowed))),
        Refusal::Limited { retry_after } => drop(headers.insert(RETRY_AFTER, (*retry_after).into())),
        Refusal::Unavailable => drop(headers.insert(RETRY_AFTER, HeaderValue::from_static("5"))),
        Refusal::Overloaded => drop(headers.insert(RETRY_AFTER, OVERLOAD_PATIENCE.as_secs().into())),
        _ => {}
    }
}

/// An answer with a JSON body.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Full<Bytes>> {
    let bytes = serde_json::to_vec(body).expect("numbers and texts always serialise");
    let mut answer = Response::new(Full::new(bytes.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}
