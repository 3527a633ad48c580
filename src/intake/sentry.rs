//! `POST /api/{project}/envelope/`: Sentry's envelopes, as its browser and mobile SDKs send them
//! (RUM-CLIENTS 3.4).
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

mod envelope;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use serde::Deserialize;
use serde_json::value::RawValue;

use self::envelope::{Envelope, Header};
use super::endpoint::{Post, json};
use super::memory::{Known, Memory, key};
use super::reading::{
    Attributes, DURATION_MAX, Decoded, Frame, Loose, Reading, Valued, event_of, family, hard_or_soft, lower, method_name, millis, piece,
    pieces, status_class, trace_id, within,
};
use super::reason::{Reason, Refusal};
use crate::domain::cell::UNIT;
use crate::domain::event::{Batch, Event, Source, event_time};
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::Text;
use crate::domain::keyed::Purpose;
use crate::domain::metric::{Metric, Vital};
use crate::domain::route_template::host_of;
use crate::domain::time::Timestamp;

/// How many events an item of ready-made session counts becomes at most; what is more becomes weight.
const SESSIONS_MAX: u64 = 1_000;
/// How many sessions one entry of such an item may claim.
const CLAIM_MAX: u64 = 100_000;
/// How many lost things one entry of a client report may claim.
const LOST_MAX: u64 = 100_000;

/// Decodes an envelope. `memory` is what others said of the same pages.
pub(super) fn decode<'a>(post: &Post<'a>, memory: &Memory) -> Result<Decoded<'a>, Refusal> {
    let envelope = Envelope::read(post.body)?;
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

/// A span of any version.
struct Span<'a> {
    op: Cow<'a, str>,
    id: Option<Cow<'a, str>>,
    trace: Option<Cow<'a, str>>,
    /// Spans of which this one may be a part, the page load first.
    above: Vec<Cow<'a, str>>,
    start: Option<f64>,
    end: Option<f64>,
    failed: Option<bool>,
    /// What the span calls itself; for requests before version 8 method and address.
    name: Option<Cow<'a, str>>,
    /// The page, as well as the span itself can say.
    page: Option<Cow<'a, str>>,
    attributes: Attributes<'a>,
    measurements: Vec<(Vital, f64)>,
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
        let sdk = sdk.and_then(|sdk| Some((text(&sdk.name)?, text(&sdk.version))));
        let sdk = sdk.map(|(name, version)| version.map_or(name.clone(), |version| Cow::Owned(format!("{name}/{version}"))));
        let reading = &mut *self.reading;
        let agent = reading.agent(who.user_agent.as_deref());
        let known = |read: &'static str, said: Option<Cow<'a, str>>| match read {
            "" => family(said.unwrap_or_default()),
            _ => Cow::Borrowed(read),
        };
        let region = reading.region();
        let source = Source {
            app: reading.clean("app", Some(app)),
            environment: reading.clean("environment", environment),
            region: reading.clean("region", region),
            device: agent.device.into(),
            browser: reading.clean("browser", Some(known(agent.browser, who.browser))),
            os: reading.clean("os", Some(known(agent.os, who.os))),
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

    fn session(&mut self, session: Session<'a>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let sid = text(&session.sid).ok_or(Reason::Missing("sid"))?;
        let status = text(&session.status).ok_or(Reason::Missing("status"))?;
        // Without an end an update is of its beginning.
        let ts = time(&session.timestamp).or_else(|| time(&session.started));
        let mut who = session.attrs.0.unwrap_or_default().who();
        who.user = text(&session.did).or_else(|| Some(sid.clone()));
        let (source, user, keep_ids) = self.source(who)?;
        if !keep_ids && text(&session.init).as_deref() != Some("true") {
            // Nobody may be told apart, so nothing can be said of a session again.
            return Ok(vec![]);
        }
        let at = self.at(ts);
        let crashed = status == "crashed";
        let mut events = Vec::new();
        let mut metrics = vec![Metric::Session];
        if crashed && !self.has_fatal {
            metrics.push(Metric::Crash);
        }
        for metric in metrics {
            let mut event = event_of(index, metric, at, UNIT);
            event.bad = crashed;
            event.user = user;
            if keep_ids {
                event.repeat = Some(self.reading.repeat(&source.app, &event.metric.to_string(), &sid, ts));
            }
            if event.metric == Metric::Crash {
                event.own[0] = Cow::Owned(fingerprint("crash", "", ""));
            }
            events.push(event);
        }
        Ok(vec![Batch { id: None, source, events }])
    }

    /// Sessions that the client counted itself.
    fn sessions(&mut self, payload: &'a [u8]) {
        let sessions: Sessions<'a> = match read(payload) {
            Ok(sessions) => sessions,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let attrs = sessions.attrs.0.unwrap_or_default();
        let mut room = SESSIONS_MAX;
        for entry in pieces(sessions.aggregates) {
            self.one(|walk, index| {
                let entry: SessionCounts<'a> = piece(entry)?;
                let (source, ..) = walk.source(attrs.who())?;
                let at = walk.at(time(&entry.started));
                let counts = [
                    (entry.exited, false),
                    (entry.errored, false),
                    (entry.abnormal, false),
                    (entry.unhandled, false),
                    (entry.crashed, true),
                ];
                let mut events = Vec::new();
                for (count, crashed) in counts.into_iter().filter(|(count, _)| *count > 0) {
                    if count > CLAIM_MAX {
                        return Err(Reason::Range("aggregates"));
                    }
                    let pieces = count.min(room).max(1);
                    room -= pieces.min(room);
                    for n in 0..pieces {
                        let weight = count * (n + 1) / pieces - count * n / pieces;
                        let mut event = event_of(index, Metric::Session, at, weight as i64 * UNIT);
                        event.bad = crashed;
                        events.push(event);
                    }
                }
                Ok(vec![Batch { id: None, source, events }])
            });
        }
    }

    fn event(&mut self, event: WrittenEvent<'a>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let fatal = text(&event.level).as_deref() == Some("fatal");
        let exceptions = event.exception.0.unwrap_or_default().values.0.unwrap_or_default();
        // The last one is what was thrown; those before it are its causes.
        let exception = exceptions.into_iter().rev().find_map(|exception| exception.0);
        if exception.is_none() && !fatal {
            return Ok(vec![]);
        }
        let (kind, message, stack) = match exception {
            Some(exception) => {
                let frames = exception.stacktrace.0.unwrap_or_default().frames.0.unwrap_or_default();
                let frame = frames.into_iter().rev().find_map(|frame| frame.0);
                (text(&exception.kind).unwrap_or_default(), text(&exception.value).unwrap_or_default(), frame.map(Frame::line))
            }
            None => (Cow::Borrowed(""), Cow::Borrowed(""), None),
        };
        let contexts = event.contexts.0.unwrap_or_default();
        let request = event.request.0.unwrap_or_default();
        let tags = event.tags.0.unwrap_or_default();
        let flags = flags_of(tags.0, contexts.flags.0);
        let mut who = Who {
            release: text(&event.release),
            environment: text(&event.environment),
            user_agent: request.user_agent(),
            browser: contexts.browser.0.and_then(|browser| text(&browser.name)),
            os: contexts.os.0.and_then(|os| text(&os.name)),
            user: event.user.0.and_then(|user| text(&user.id)),
            flags,
        };
        who.user = who.user.take().or_else(|| who.flags.iter().find(|(name, _)| name == "session").map(|(_, session)| session.clone()));
        let (source, user, _) = self.source(who)?;
        let at = self.at(time(&event.timestamp));
        let mut made = event_of(index, if fatal { Metric::Crash } else { Metric::JsError }, at, UNIT);
        made.bad = true;
        made.user = user;
        made.own[0] = Cow::Owned(fingerprint(&kind, &message, &stack.unwrap_or_default()));
        made.trace = contexts.trace.0.and_then(|trace| trace_id(text(&trace.trace_id)?));
        let page = text(&event.transaction).or_else(|| text(&request.url)).unwrap_or_default();
        made.route = self.reading.route("page", page);
        let id = text(&event.event_id).or_else(|| text(&self.header.event_id));
        let id = id.map(|id| self.body_id(&source, &id));
        Ok(vec![Batch { id, source, events: vec![made] }])
    }

    fn body_id(&self, source: &Source<'a>, id: &str) -> u64 {
        self.reading.settings.hash.of(Purpose::BodyId, &[source.app.as_bytes(), b"sentry", id.as_bytes()])
    }

    fn spans(&mut self, payload: &'a [u8]) {
        let list: SpanList<'a> = match read(payload) {
            Ok(list) => list,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let Some(items) = list.items else {
            return self.one(|walk, index| {
                let span: OldSpan<'a> = read(payload)?;
                let who = span.data.0.as_ref().map(who_of).unwrap_or_default();
                walk.span(span.into(), who, None, index)
            });
        };
        let items: Vec<Result<NewSpan<'a>, Reason>> = pieces(Some(items)).into_iter().map(piece).collect();
        // Vitals may stand before the page load that they belong to.
        for span in items.iter().flatten() {
            let attributes = &span.attributes.0;
            if let (Some(attributes), Some(id)) = (attributes, text(&span.span_id)) {
                self.remember(&id, attributes.0.get("sentry.op").map_or("", |op| op), page_of(&attributes.0, None));
            }
        }
        for span in items {
            self.one(|walk, index| {
                let span = span?;
                let attributes = span.attributes.0.as_ref();
                let who = attributes.map(|attributes| who_of(&attributes.0)).unwrap_or_default();
                walk.span(span.into(), who, None, index)
            });
        }
    }

    /// Remembers the page of a page load or navigation.
    fn remember(&mut self, id: &str, op: &str, page: Option<Cow<'a, str>>) {
        if let Some(page) = page.filter(|_| op == "pageload" || op == "navigation") {
            let route = self.reading.route("page", page);
            self.known.set_route(self.span_key(id), &route);
        }
    }

    fn span_key(&self, id: &str) -> u64 {
        key(&self.reading.settings.hash, &["sentry span", self.project, id])
    }

    fn transaction(&mut self, payload: &'a [u8]) {
        let transaction: Transaction<'a> = match read(payload) {
            Ok(transaction) => transaction,
            Err(reason) => return self.one(|_, _| Err(reason)),
        };
        let contexts = transaction.contexts.0.unwrap_or_default();
        let trace = contexts.trace.0.unwrap_or_default();
        let request = transaction.request.0.unwrap_or_default();
        let page = text(&transaction.transaction).or_else(|| text(&request.url));
        let who = || Who {
            release: text(&transaction.release),
            environment: text(&transaction.environment),
            user_agent: request.user_agent(),
            user: transaction.user.0.as_ref().and_then(|user| text(&user.id)),
            flags: transaction.tags.0.as_ref().map_or_else(Vec::new, |tags| flags_of(tags.0.clone(), None)),
            ..Who::default()
        };
        let id = text(&transaction.event_id).or_else(|| text(&self.header.event_id));
        let op = text(&trace.op).unwrap_or_default();
        let root = Span {
            id: text(&trace.span_id),
            trace: text(&trace.trace_id),
            above: Vec::new(),
            start: time(&transaction.start_timestamp),
            end: time(&transaction.timestamp),
            failed: None,
            name: None,
            page,
            attributes: trace.data.0.unwrap_or_default(),
            measurements: transaction.measurements.0.unwrap_or_default().0,
            op,
        };
        if let Some(span_id) = &root.id {
            self.remember(span_id, &root.op, root.page.clone());
        }
        let root_id = root.id.clone();
        self.one(|walk, index| walk.span(root, who(), id.as_deref(), index));
        for span in pieces(transaction.spans) {
            self.one(|walk, index| {
                let mut span = Span::from(piece::<OldSpan<'a>>(span)?);
                span.above.extend(root_id.clone());
                walk.span(span, who(), id.as_deref(), index)
            });
        }
    }

    fn span(&mut self, span: Span<'a>, who: Who<'a>, event_id: Option<&str>, index: usize) -> Result<Vec<Batch<'a>>, Reason> {
        let interaction = span.op.strip_prefix("ui.interaction.").map(str::to_owned);
        let vitals: Vec<(Vital, f64)> = Vital::ALL.into_iter().filter_map(|vital| Some((vital, span.vital(vital)?))).collect();
        if vitals.is_empty() && interaction.is_none() && !["pageload", "navigation", "http.client"].contains(&&*span.op) {
            return Ok(vec![]);
        }
        let (source, user, _) = self.source(who)?;
        let header_rate = self.header.trace.0.as_ref().and_then(|trace| text(&trace.sample_rate));
        let rate = header_rate.as_ref().or_else(|| span.attributes.get("sentry.sample_rate"));
        let rate = rate.map(|rate| rate.trim().parse().map_err(|_| Reason::SampleRate)).transpose()?;
        let weight = self.reading.weight(&source.app, rate)?;
        let (began, ended) = (self.at(span.start.or(span.end)), self.at(span.end.or(span.start)));
        let (project, hash) = (self.project, &self.reading.settings.hash);
        let above = span.above.iter().chain(&span.id).map(|id| key(hash, &["sentry span", project, id]));
        let above: Vec<u64> = above.collect();
        let own_route =
            span.page.clone().filter(|_| ["pageload", "navigation"].contains(&&*span.op)).map(|page| self.reading.route("page", page));
        let known = above.iter().find_map(|id| self.known.route(*id).map(str::to_owned));
        let route = own_route.or(known.map(Cow::Owned)).unwrap_or_default();
        let repeat =
            |walk: &Self, what: &str, id: &Option<Cow<'a, str>>| id.as_ref().map(|id| walk.reading.repeat(&source.app, what, id, span.end));
        let mut events = Vec::new();
        let plain = |metric: Metric, at: Timestamp| {
            let mut event = event_of(index, metric, at, weight);
            event.user = user;
            event.route = route.clone();
            event
        };
        match &*span.op {
            "pageload" | "navigation" => {
                let mut event = plain(Metric::PageView, began);
                event.own[0] = hard_or_soft(if span.op == "navigation" { "soft" } else { "" });
                event.bad = span.attributes.number(&["http.response.status_code"]).is_some_and(|status| status >= 400.0);
                event.repeat = repeat(self, "page_view", &span.id);
                events.push(event);
            }
            "http.client" => {
                let mut event = plain(Metric::Request, ended);
                self.request(&span, &mut event)?;
                event.repeat = repeat(self, "request", &span.id);
                events.push(event);
            }
            _ => {}
        }
        if let Some(name) = interaction {
            let mut event = plain(Metric::Interaction, ended);
            event.own[0] = self.reading.required("name", Some(Cow::Owned(name)))?;
            event.value = span.duration().map(|duration| within(duration, DURATION_MAX)).transpose()?;
            event.repeat = repeat(self, "interaction", &span.id);
            events.push(event);
        }
        // A page load has one of each, however many spans tell of it.
        let page = span.above.first().or(span.id.as_ref()).cloned();
        for (vital, value) in vitals {
            let mut event = plain(Metric::Vital(vital), ended);
            event.value = Some(within(value, vital.value_max())?);
            let soft = span.op == "navigation" || span.attributes.get("browser.navigation.type").is_some_and(|nav| nav.starts_with("soft"));
            event.own[0] = hard_or_soft(if soft { "soft" } else { "" });
            event.repeat = repeat(self, vital.name(), &page);
            events.push(event);
        }
        let id = event_id.map(|id| self.body_id(&source, id));
        Ok(vec![Batch { id, source, events }])
    }

    fn request(&mut self, span: &Span<'a>, event: &mut Event<'a>) -> Result<(), Reason> {
        let attributes = &span.attributes;
        let named = span.name.as_deref().and_then(|name| name.split_once(' ')).filter(|(_, url)| url.contains('/'));
        let url = attributes.any(&["url.full", "http.url", "url"]).cloned().or_else(|| named.map(|(_, url)| Cow::Owned(url.to_owned())));
        let url = url.ok_or(Reason::Missing("url.full"))?;
        let method =
            attributes.any(&["http.request.method", "http.method", "method"]).map(|method| &**method).or(named.map(|(method, _)| method));
        let status = attributes.number(&["http.response.status_code", "http.status_code", "status_code"]).map(status_class).transpose()?;
        let (bad, class) = match (status, span.failed) {
            (Some((failed, class)), said) => (said.unwrap_or(failed) || failed, class),
            // A connection that broke has no status code.
            (None, Some(true)) => (true, "0"),
            (None, Some(false)) => (false, ""),
            (None, None) => return Err(Reason::Missing("status")),
        };
        event.bad = bad;
        event.value = span.duration().map(|duration| within(duration, DURATION_MAX)).transpose()?;
        let host = host_of(&url).map(|host| lower(Cow::Owned(host.to_owned())));
        event.own = [self.reading.clean("host", host), method.map_or("", method_name).into(), class.into()];
        event.trace = span.trace.clone().and_then(trace_id);
        event.route = self.reading.route("url", url);
        Ok(())
    }

    fn client_report(&mut self, payload: &'a [u8]) {
        let Ok(report) = read::<ClientReport<'a>>(payload) else {
            return self.one(|_, _| Err(Reason::Malformed("no client report".into())));
        };
        for entry in pieces(report.discarded_events).into_iter().take(64) {
            let Ok(entry) = piece::<Discarded<'a>>(entry) else { continue };
            let name = |field: &Loose<Text<'a>>, known: &[&'static str]| {
                let given = text(field).unwrap_or_default();
                known.iter().find(|name| **name == given).copied().unwrap_or("other")
            };
            let (reason, category) = (name(&entry.reason, &LOST_REASONS), name(&entry.category, &LOST_CATEGORIES));
            self.reading.decoded.lost.push((reason, category, entry.quantity.0.unwrap_or(0).min(LOST_MAX)));
        }
    }
}

/// Why SDKs throw something away, and what.
const LOST_REASONS: [&str; 12] = [
    "before_send",
    "event_processor",
    "sample_rate",
    "network_error",
    "send_error",
    "ratelimit_backoff",
    "queue_overflow",
    "cache_overflow",
    "buffer_overflow",
    "backpressure",
    "internal_sdk_error",
    "insufficient_data",
];
const LOST_CATEGORIES: [&str; 10] =
    ["default", "error", "transaction", "span", "session", "attachment", "replay", "profile", "monitor", "log_item"];

impl<'a> Span<'a> {
    fn vital(&self, vital: Vital) -> Option<f64> {
        let measured = self.measurements.iter().find(|(measured, _)| *measured == vital).map(|(_, value)| *value);
        measured.or_else(|| self.attributes.number(&[&format!("browser.web_vital.{}.value", vital.name())]))
    }

    /// Milliseconds.
    fn duration(&self) -> Option<f64> {
        Some(self.end? - self.start?)
    }
}

/// The page of a page load or navigation: the name of its route if it has one, else the address.
fn page_of<'a>(attributes: &Attributes<'a>, name: Option<Cow<'a, str>>) -> Option<Cow<'a, str>> {
    let is_route = attributes.any(&["sentry.segment.name.source", "sentry.source"]).is_some_and(|source| source == "route");
    let route = attributes.get("sentry.segment.name").filter(|_| is_route);
    route.or_else(|| attributes.any(&["url.path", "url.full"])).cloned().or(name)
}

fn who_of<'a>(attributes: &Attributes<'a>) -> Who<'a> {
    let flag =
        |(name, value): &(Cow<'a, str>, Cow<'a, str>)| Some((Cow::Owned(name.strip_prefix("flag.evaluation.")?.to_owned()), value.clone()));
    Who {
        release: attributes.get("sentry.release").cloned(),
        environment: attributes.get("sentry.environment").cloned(),
        user_agent: attributes.get("user_agent.original").cloned(),
        user: attributes.get("user.id").cloned(),
        flags: attributes.0.iter().filter_map(flag).collect(),
        ..Who::default()
    }
}

/// Flags as tags (`flag.name` or `name`) and as Sentry's own context.
fn flags_of<'a>(mut tags: Vec<(Cow<'a, str>, Cow<'a, str>)>, flags: Option<Flags<'a>>) -> Vec<(Cow<'a, str>, Cow<'a, str>)> {
    for (name, _) in &mut tags {
        if let Some(flag) = name.strip_prefix("flag.") {
            *name = Cow::Owned(flag.to_owned());
        }
    }
    let evaluated = flags.and_then(|flags| flags.values.0).unwrap_or_default().into_iter().filter_map(|flag| flag.0);
    tags.extend(evaluated.filter_map(|flag| Some((text(&flag.flag)?, text(&flag.result)?))));
    tags
}

#[derive(Deserialize)]
struct Session<'a> {
    #[serde(borrow, default)]
    sid: Loose<Text<'a>>,
    #[serde(borrow, default)]
    did: Loose<Text<'a>>,
    #[serde(borrow, default)]
    init: Loose<Text<'a>>,
    #[serde(borrow, default)]
    started: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    attrs: Loose<SessionAttributes<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SessionAttributes<'a> {
    #[serde(borrow)]
    release: Loose<Text<'a>>,
    #[serde(borrow)]
    environment: Loose<Text<'a>>,
    #[serde(borrow)]
    user_agent: Loose<Text<'a>>,
}

impl<'a> SessionAttributes<'a> {
    fn who(&self) -> Who<'a> {
        let (release, environment) = (text(&self.release), text(&self.environment));
        Who { release, environment, user_agent: text(&self.user_agent), ..Who::default() }
    }
}

#[derive(Deserialize)]
struct Sessions<'a> {
    #[serde(borrow)]
    aggregates: Option<&'a RawValue>,
    #[serde(borrow, default)]
    attrs: Loose<SessionAttributes<'a>>,
}

#[derive(Deserialize)]
struct SessionCounts<'a> {
    #[serde(borrow, default)]
    started: Loose<Text<'a>>,
    #[serde(default)]
    exited: u64,
    #[serde(default)]
    errored: u64,
    #[serde(default)]
    abnormal: u64,
    #[serde(default)]
    unhandled: u64,
    #[serde(default)]
    crashed: u64,
}

#[derive(Deserialize)]
struct WrittenEvent<'a> {
    #[serde(borrow, default)]
    event_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    level: Loose<Text<'a>>,
    #[serde(borrow, default)]
    release: Loose<Text<'a>>,
    #[serde(borrow, default)]
    environment: Loose<Text<'a>>,
    #[serde(borrow, default)]
    transaction: Loose<Text<'a>>,
    #[serde(borrow, default)]
    request: Loose<WrittenRequest<'a>>,
    #[serde(borrow, default)]
    user: Loose<User<'a>>,
    #[serde(borrow, default)]
    tags: Loose<Tags<'a>>,
    #[serde(borrow, default)]
    contexts: Loose<Contexts<'a>>,
    #[serde(borrow, default)]
    exception: Loose<Exceptions<'a>>,
}

#[derive(Default, Deserialize)]
struct Exceptions<'a> {
    #[serde(borrow, default)]
    values: Loose<Vec<Loose<Exception<'a>>>>,
}

#[derive(Deserialize)]
struct Exception<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Loose<Text<'a>>,
    #[serde(borrow, default)]
    value: Loose<Text<'a>>,
    #[serde(borrow, default)]
    stacktrace: Loose<Stack<'a>>,
}

#[derive(Default, Deserialize)]
struct Stack<'a> {
    /// The newest call last.
    #[serde(borrow, default)]
    frames: Loose<Vec<Loose<Frame<'a>>>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct WrittenRequest<'a> {
    #[serde(borrow)]
    url: Loose<Text<'a>>,
    #[serde(borrow)]
    headers: Loose<Attributes<'a>>,
}

impl<'a> WrittenRequest<'a> {
    fn user_agent(&self) -> Option<Cow<'a, str>> {
        self.headers.0.as_ref()?.any(&["User-Agent", "user-agent"]).cloned()
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User<'a> {
    #[serde(borrow)]
    id: Loose<Text<'a>>,
}

/// Tags as an object or as a list of pairs.
#[derive(Default)]
struct Tags<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Tags<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Tags<'a>, D::Error> {
        let raw = <&'de RawValue>::deserialize(deserializer)?.get();
        if raw.starts_with('{') {
            return serde_json::from_str::<Attributes<'de>>(raw).map(|tags| Tags(tags.0)).map_err(serde::de::Error::custom);
        }
        let pairs: Vec<Loose<(Text<'de>, Text<'de>)>> = serde_json::from_str(raw).map_err(serde::de::Error::custom)?;
        Ok(Tags(pairs.into_iter().filter_map(|pair| pair.0).map(|(name, value)| (name.0, value.0)).collect()))
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Contexts<'a> {
    #[serde(borrow)]
    trace: Loose<TraceContext<'a>>,
    #[serde(borrow)]
    browser: Loose<Named<'a>>,
    #[serde(borrow)]
    os: Loose<Named<'a>>,
    #[serde(borrow)]
    flags: Loose<Flags<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct TraceContext<'a> {
    #[serde(borrow)]
    op: Loose<Text<'a>>,
    #[serde(borrow)]
    span_id: Loose<Text<'a>>,
    #[serde(borrow)]
    trace_id: Loose<Text<'a>>,
    #[serde(borrow)]
    data: Loose<Attributes<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Named<'a> {
    #[serde(borrow)]
    name: Loose<Text<'a>>,
}

#[derive(Default, Deserialize)]
struct Flags<'a> {
    #[serde(borrow, default)]
    values: Loose<Vec<Loose<Flag<'a>>>>,
}

#[derive(Deserialize)]
struct Flag<'a> {
    #[serde(borrow, default)]
    flag: Loose<Text<'a>>,
    #[serde(borrow, default)]
    result: Loose<Text<'a>>,
}

/// Spans as version 11 streams them; without `items` it is one span as they were before.
#[derive(Deserialize)]
struct SpanList<'a> {
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct NewSpan<'a> {
    #[serde(borrow, default)]
    name: Loose<Text<'a>>,
    #[serde(borrow, default)]
    span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    trace_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    parent_span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    end_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    attributes: Loose<Valued<'a>>,
}

impl<'a> From<NewSpan<'a>> for Span<'a> {
    fn from(span: NewSpan<'a>) -> Span<'a> {
        let attributes = span.attributes.0.unwrap_or_default().0;
        let above = attributes.get("sentry.pageload.span_id").or_else(|| attributes.get("sentry.segment.id")).cloned();
        let op = attributes.get("sentry.op").cloned().unwrap_or_default();
        let is_root = ["pageload", "navigation"].contains(&&*op);
        Span {
            id: text(&span.span_id),
            trace: text(&span.trace_id),
            above: above.into_iter().chain(text(&span.parent_span_id)).filter(|_| !is_root).collect(),
            start: time(&span.start_timestamp),
            end: time(&span.end_timestamp),
            failed: text(&span.status).map(|status| status != "ok"),
            name: text(&span.name),
            page: page_of(&attributes, None),
            measurements: Vec::new(),
            attributes,
            op,
        }
    }
}

/// A span within a transaction, or by itself before version 11.
#[derive(Deserialize)]
struct OldSpan<'a> {
    #[serde(borrow, default)]
    op: Loose<Text<'a>>,
    #[serde(borrow, default)]
    description: Loose<Text<'a>>,
    #[serde(borrow, default)]
    span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    trace_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    parent_span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    segment_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    data: Loose<Attributes<'a>>,
    #[serde(default)]
    measurements: Loose<Measurements>,
}

impl<'a> From<OldSpan<'a>> for Span<'a> {
    fn from(span: OldSpan<'a>) -> Span<'a> {
        Span {
            op: text(&span.op).unwrap_or_default(),
            id: text(&span.span_id),
            trace: text(&span.trace_id),
            above: text(&span.segment_id).into_iter().chain(text(&span.parent_span_id)).collect(),
            start: time(&span.start_timestamp),
            end: time(&span.timestamp),
            failed: text(&span.status).map(|status| status != "ok"),
            name: text(&span.description),
            page: None,
            attributes: span.data.0.unwrap_or_default(),
            measurements: span.measurements.0.unwrap_or_default().0,
        }
    }
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow, default)]
    event_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    transaction: Loose<Text<'a>>,
    #[serde(borrow, default)]
    start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    release: Loose<Text<'a>>,
    #[serde(borrow, default)]
    environment: Loose<Text<'a>>,
    #[serde(borrow, default)]
    request: Loose<WrittenRequest<'a>>,
    #[serde(borrow, default)]
    user: Loose<User<'a>>,
    #[serde(borrow, default)]
    tags: Loose<Tags<'a>>,
    #[serde(borrow, default)]
    contexts: Loose<Contexts<'a>>,
    #[serde(default)]
    measurements: Loose<Measurements>,
    #[serde(borrow)]
    spans: Option<&'a RawValue>,
}

/// Vitals in milliseconds, CLS without a unit.
#[derive(Default)]
struct Measurements(Vec<(Vital, f64)>);

impl<'de> Deserialize<'de> for Measurements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Measurements, D::Error> {
        let all = Valued::deserialize(deserializer)?.0;
        let vital = |vital: Vital| Some((vital, all.number(&[vital.name()])?));
        Ok(Measurements(Vital::ALL.into_iter().filter_map(vital).collect()))
    }
}

#[derive(Deserialize)]
struct ClientReport<'a> {
    #[serde(borrow)]
    discarded_events: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Discarded<'a> {
    #[serde(borrow, default)]
    reason: Loose<Text<'a>>,
    #[serde(borrow, default)]
    category: Loose<Text<'a>>,
    #[serde(default)]
    quantity: Loose<u64>,
}

#[cfg(test)]
mod tests;
