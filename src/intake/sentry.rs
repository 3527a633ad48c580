//! `POST /api/{project}/envelope/`: Sentry's envelopes, as its browser and mobile SDKs send them
//! (RUM-CLIENTS 3.4), and `/api/{project}/store/`, where SDKs from before envelopes send one event.
//!
//! - `session` is a state, not a difference: of one `sid` the update with the latest time holds. Only
//!   `crashed` is a crash; `unhandled`, `errored` and `abnormal` are sessions with errors. `sessions`
//!   are the same, already counted by the client.
//! - `event` with an exception is a `js_error`; of the level `fatal` a `crash`. A session that crashed
//!   without a fatal event beside it is a `crash` too.
//! - `span` (the streamed ones of version 11 and those before) and `transaction`: `pageload` is a hard page
//!   view, `navigation` a soft one, `http.client` a request, `ui.interaction.*` an interaction; vitals
//!   stand in their attributes or measurements. Only these are sampled by the client and so have the
//!   weight of `trace.sample_rate`; errors and sessions are sent in full.
//! - `client_report` is what the SDK threw away: a metric of ours, not an event.
//!
//! The app is what stands before the `@` of the release, else the project of the address. A vital says
//! which page load or navigation it belongs to, not which page: its route is that of the span with that
//! id, if it was seen; otherwise it has none.

mod dialect;
mod envelope;
mod event;
mod report;
mod session;
mod span;
mod written;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::envelope::{Envelope, Header};
use self::event::WrittenEvent;
use super::endpoint::{Post, json};
use super::memory::{Known, Memory};
use super::reading::{Decoded, Loose, Reading, millis, piece, read_or_said, versioned};
use super::reason::{Reason, Refusal};
use crate::domain::event::{Batch, Source, event_time};
use crate::domain::json::Text;
use crate::domain::keyed::Purpose;
use crate::domain::time::Timestamp;

/// What an address takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Envelope,
    /// One event by itself.
    Event,
}

/// Decodes an envelope, or an event as one. `memory` is what others said of the same pages.
pub(super) fn decode<'a>(shape: Shape, post: &Post<'a>, memory: &Memory) -> Result<Decoded<'a>, Refusal> {
    let envelope = match shape {
        Shape::Envelope => Envelope::read(post.body)?,
        Shape::Event => Envelope::around(post.body)?,
    };
    let mut reading = Reading::new(post.settings, post.from, post.now);
    // It stands in the answer: only what is an id comes back.
    let is_id = |id: &Cow<'_, str>| matches!(id.len(), 32 | 36) && id.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    reading.decoded.id = text(&envelope.header.event_id).filter(is_id);
    let mut known = memory.lock();
    let has_fatal = envelope.items.iter().any(|item| item.kind == "event" && is_fatal(item.payload));
    let project = post.part.unwrap_or("");
    let mut walk = Walk { reading: &mut reading, known: &mut known, header: &envelope.header, project, has_fatal };
    for item in &envelope.items {
        walk.item(&item.kind, item.payload);
    }
    if let Some(reason) = envelope.broken {
        walk.one(|_, _| Err(reason));
    }
    Ok(reading.decoded)
}

/// 200 with the id by which the client knows its event, as Sentry answers.
pub(super) fn accepted(id: Option<&str>) -> Response<Full<Bytes>> {
    match id {
        Some(id) => json(StatusCode::OK, &serde_json::json!({ "id": id })),
        None => json(StatusCode::OK, &serde_json::json!({})),
    }
}

/// The key in `X-Sentry-Auth: Sentry sentry_version=7, sentry_key=…`.
pub(super) fn key_of(headers: &HeaderMap) -> Option<&str> {
    let header = headers.get("x-sentry-auth")?.to_str().ok()?;
    let fields = header.strip_prefix("Sentry ").unwrap_or(header).split(',');
    fields.filter_map(|field| field.trim().split_once('=')).find(|(name, _)| *name == "sentry_key").map(|(_, key)| key)
}

/// What decides whether an envelope is kept while only some are: all updates of a session, and all that
/// is said of one trace, have one fate, or their weights would be wrong.
pub(super) fn lot(body: &[u8]) -> &[u8] {
    let after = |mark: &[u8]| {
        let start = body.windows(mark.len()).position(|window| window == mark)? + mark.len();
        let end = body[start..].iter().take(64).position(|byte| *byte == b'"')?;
        Some(&body[start..start + end])
    };
    after(b"\"sid\":\"").or_else(|| after(b"\"trace_id\":\"")).unwrap_or(body)
}

fn text<'a>(field: &Loose<Text<'a>>) -> Option<Cow<'a, str>> {
    field.0.as_ref().map(|text| text.0.clone()).filter(|text| !text.trim().is_empty())
}

fn time(field: &Loose<Text<'_>>) -> Option<f64> {
    field.0.as_ref().and_then(|text| millis(&text.0))
}

fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Reason> {
    piece(serde_json::from_slice::<&RawValue>(payload).map_err(|error| Reason::Malformed(error.to_string().chars().take(160).collect()))?)
}

fn is_fatal(payload: &[u8]) -> bool {
    read::<WrittenEvent<'_>>(payload).is_ok_and(|event| text(&event.level).as_deref() == Some("fatal"))
}

/// An envelope on its way to events.
struct Walk<'r, 'a, 's> {
    reading: &'r mut Reading<'a, 's>,
    known: &'r mut Known,
    header: &'r Header<'a>,
    project: &'a str,
    /// Whether an event beside the session tells of its crash already.
    has_fatal: bool,
}

/// Who sent something, and from where.
#[derive(Default)]
struct Who<'a> {
    release: Option<Cow<'a, str>>,
    environment: Option<Cow<'a, str>>,
    user_agent: Option<Cow<'a, str>>,
    browser: Option<Cow<'a, str>>,
    os: Option<Cow<'a, str>>,
    user: Option<Cow<'a, str>>,
    flags: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Walk<'_, 'a, '_> {
    fn item(&mut self, kind: &str, payload: &'a [u8]) {
        match kind {
            "session" => self.one(|walk, index| walk.session(read(payload)?, index)),
            "sessions" => self.sessions(payload),
            "event" => self.one(|walk, index| walk.event(read(payload)?, index)),
            "span" => self.spans(payload),
            "transaction" => self.transaction(payload),
            "client_report" => self.client_report(payload),
            // Replays, profiles, logs, attachments and what comes after them.
            _ => {}
        }
    }

    /// Counts one thing, or why it does not count.
    fn one(&mut self, make: impl FnOnce(&mut Self, usize) -> Result<Vec<Batch<'a>>, Reason>) {
        let index = self.reading.decoded.events;
        self.reading.decoded.events += 1;
        match make(self, index) {
            Ok(batches) => batches.into_iter().for_each(|batch| self.push(batch)),
            Err(reason) => self.reading.decoded.rejected.push((index, reason)),
        }
    }

    fn push(&mut self, batch: Batch<'a>) {
        match self.reading.decoded.batches.last_mut() {
            Some(last) if last.id == batch.id && last.source == batch.source => last.events.extend(batch.events),
            Some(_) | None => self.reading.decoded.batches.push(batch),
        }
    }

    /// The source of something, and the hash of its user.
    fn source(&mut self, who: Who<'a>) -> Result<(Source<'a>, Option<u64>, bool), Reason> {
        let consent = who.flags.iter().find(|(name, _)| name == "consent").map(|(_, consent)| consent.clone());
        let keep_ids = self.reading.keep_ids(consent.as_deref().unwrap_or(""))?;
        let trace = self.header.trace.0.as_ref();
        let release = who.release.or_else(|| text(&trace?.release));
        let environment = who.environment.or_else(|| text(&trace?.environment));
        // An address has its `@` too: taken apart it would no longer be known as one.
        let is_version = |version: &str| version.len() < 2 || version.bytes().take(2).all(|byte| byte.is_ascii_digit() || byte == b'.');
        let release = match release {
            Some(release) if release.rsplit_once('@').is_some_and(|(_, version)| !is_version(version)) => {
                Some(self.reading.clean("release", Some(release)))
            }
            other => other,
        };
        let (app, release) = match release.as_ref().and_then(|release| release.rsplit_once('@')) {
            Some((app, version)) if !app.is_empty() => (Cow::Owned(app.to_owned()), Some(Cow::Owned(version.to_owned()))),
            Some(_) | None => (Cow::Borrowed(self.project), release),
        };
        let sdk = self.header.sdk.0.as_ref();
        let sdk = sdk.and_then(|sdk| Some(versioned(text(&sdk.name)?, text(&sdk.version).unwrap_or_default())));
        let reading = &mut *self.reading;
        let agent = reading.agent(who.user_agent.as_deref());
        let region = reading.region();
        let source = Source {
            app: reading.clean("app", Some(app)),
            environment: reading.clean("environment", environment),
            region: reading.clean("region", region),
            device: agent.device.into(),
            browser: reading.clean("browser", Some(read_or_said(agent.browser, who.browser))),
            os: reading.clean("os", Some(read_or_said(agent.os, who.os))),
            release: reading.clean("release", release),
            cohort: reading.cohort(&who.flags),
            sdk: reading.clean("sdk", sdk),
        };
        let user = who.user.filter(|_| keep_ids).map(|user| reading.settings.hash.of(Purpose::User, &[user.as_bytes()]));
        Ok((source, user, keep_ids))
    }

    fn at(&mut self, ts: Option<f64>) -> Timestamp {
        self.reading.decoded.sent_at = time(&self.header.sent_at);
        event_time(self.reading.now, time(&self.header.sent_at), ts, self.reading.settings.remember)
    }

    fn body_id(&self, source: &Source<'a>, id: &str) -> u64 {
        self.reading.settings.hash.of(Purpose::BodyId, &[source.app.as_bytes(), b"sentry", id.as_bytes()])
    }
}

#[cfg(test)]
mod tests;
