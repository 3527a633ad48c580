//! `POST /v1/rum`: our own small JSON, decoded into normalised events (CONTRACT 5).
//!
//! The common case is read in one pass with borrowed texts. A body in which anything has a wrong
//! type is read a second time, piece by piece, so that one bad event costs only itself.

use std::borrow::Cow;

use super::Settings;
use super::enrich::Enrichment;
use super::reading::{CUSTOM_MAX, DURATION_MAX, Decoded, Reading, hard_or_soft, lower, method_name, status_class, trace_id, within};
use super::reason::{Reason, Refusal};
use crate::domain::event::{Batch, Event, Source, event_time};
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::{Text, Texts};
use crate::domain::keyed::Purpose;
use crate::domain::metric::{Metric, Vital};
use crate::domain::route_template::host_of;
use crate::domain::time::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

/// Decodes a body that arrived at `now`.
pub fn decode<'a>(body: &'a [u8], settings: &Settings, from: &'a Enrichment, now: Timestamp) -> Result<Decoded<'a>, Refusal> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let bodies = if is_list { read_list(body)? } else { vec![read_one(body)?] };
    if !bodies.is_empty() && bodies.iter().all(|body| body.app.is_none()) {
        return Err(Refusal::Shape("there is no `app`".into()));
    }
    let mut reading = Reading::new(settings, from, now);
    for body in bodies {
        reading.body(body);
    }
    Ok(reading.decoded)
}

/// A body as it is written, its events read as far as possible.
struct Read<'a> {
    app: Option<Cow<'a, str>>,
    /// `app` and `events` are taken out.
    fields: Written<'a>,
    events: Vec<Result<WrittenEvent<'a>, Reason>>,
    /// Why none of its events can count.
    fault: Option<Reason>,
}

fn read_one(json: &[u8]) -> Result<Read<'_>, Refusal> {
    match serde_json::from_slice::<Written<'_>>(json) {
        Ok(body) => Ok(Read::from(body)),
        Err(_) => read_loosely(serde_json::from_slice(json).map_err(not_json)?),
    }
}

fn read_list(json: &[u8]) -> Result<Vec<Read<'_>>, Refusal> {
    if let Ok(bodies) = serde_json::from_slice::<Vec<Written<'_>>>(json) {
        return Ok(bodies.into_iter().map(Read::from).collect());
    }
    let bodies: Vec<&RawValue> = serde_json::from_slice(json).map_err(not_json)?;
    bodies.into_iter().map(|body| read_one(body.get().as_bytes())).collect()
}

fn not_json(error: serde_json::Error) -> Refusal {
    if error.is_data() { Refusal::Shape("the body is no JSON object or list of them".into()) } else { Refusal::Json(error.to_string()) }
}

impl<'a> From<Written<'a>> for Read<'a> {
    fn from(mut body: Written<'a>) -> Read<'a> {
        let app = body.app.take().map(|app| app.0).filter(|app| !app.trim().is_empty());
        let events = body.events.take().unwrap_or_default().into_iter().map(Ok).collect();
        Read { app, fields: body, events, fault: None }
    }
}

/// Reads every field and event by itself.
fn read_loosely<'a>(body: Loose<'a>) -> Result<Read<'a>, Refusal> {
    let mut fault = None;
    let fields = Written {
        app: None,
        events: None,
        release: field(body.release, "release", &mut fault),
        environment: field(body.environment, "environment", &mut fault),
        session: field(body.session, "session", &mut fault),
        user: field(body.user, "user", &mut fault),
        page: field(body.page, "page", &mut fault),
        region: field(body.region, "region", &mut fault),
        device: field(body.device, "device", &mut fault),
        browser: field(body.browser, "browser", &mut fault),
        os: field(body.os, "os", &mut fault),
        sdk: field(body.sdk, "sdk", &mut fault),
        // Flags that cannot be read name no cohort, and that is all they are for.
        flags: field(body.flags, "flags", &mut None),
        consent: field(body.consent, "consent", &mut fault),
        sample_rate: field(body.sample_rate, "sample_rate", &mut fault),
        sent_at: field(body.sent_at, "sent_at", &mut fault),
        id: field(body.id, "id", &mut fault),
    };
    let app = field::<Text<'a>>(body.app, "app", &mut None).map(|app| app.0).filter(|app| !app.trim().is_empty());
    let events = match body.events.map(|raw| serde_json::from_str::<Vec<&'a RawValue>>(raw.get())) {
        None => Vec::new(),
        Some(Ok(events)) => events.into_iter().map(|raw| serde_json::from_str(raw.get()).map_err(malformed)).collect(),
        Some(Err(_)) => return Err(Refusal::Shape("`events` must be a list".into())),
    };
    Ok(Read { app, fields, events, fault })
}

fn field<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, name: &'static str, fault: &mut Option<Reason>) -> Option<T> {
    match serde_json::from_str(raw?.get()) {
        Ok(value) => Some(value),
        Err(_) => {
            fault.get_or_insert(Reason::WrongType(name));
            None
        }
    }
}

fn malformed(error: serde_json::Error) -> Reason {
    Reason::Malformed(error.to_string().chars().take(160).collect())
}

/// What the events of one body share.
struct Shared<'a> {
    app: Cow<'a, str>,
    page: Cow<'a, str>,
    session: Option<Cow<'a, str>>,
    user: Option<u64>,
    weight: i64,
    sent_at: Option<f64>,
}

impl<'a> Reading<'a, '_> {
    fn body(&mut self, mut body: Read<'a>) {
        let first = self.decoded.events;
        let events = std::mem::take(&mut body.events);
        self.decoded.events += events.len();
        let (source, shared, id) = match self.shared(body) {
            Ok(shared) => shared,
            Err(fault) => {
                self.decoded.rejected.extend((first..first + events.len()).map(|index| (index, fault.clone())));
                return;
            }
        };
        let mut batch = Batch { id, source, events: Vec::with_capacity(events.len()) };
        for (at, event) in events.into_iter().enumerate() {
            match event.and_then(|event| self.event(event, &shared, first + at)) {
                Ok(event) => batch.events.push(event),
                Err(reason) => self.decoded.rejected.push((first + at, reason)),
            }
        }
        self.implied(&batch, &shared);
        // Also without events: the body's `id` was seen.
        self.decoded.batches.push(batch);
    }

    /// Counts the session that a body names, once however often it is named; a crash in it is its crash.
    fn implied(&mut self, batch: &Batch<'a>, shared: &Shared<'a>) {
        let (Some(session), Some(first)) = (&shared.session, batch.events.first()) else { return };
        let crashed = batch.events.iter().any(|event| event.metric == Metric::Crash);
        if batch.events.iter().any(|event| event.metric == Metric::Session) && !crashed {
            return;
        }
        let event = Event {
            index: first.index,
            metric: Metric::Session,
            at: first.at,
            weight: shared.weight,
            bad: crashed,
            value: None,
            user: shared.user,
            repeat: Some(self.repeat(&shared.app, "session", session, None)),
            route: shared.page.clone(),
            own: Default::default(),
            trace: None,
        };
        self.decoded.sessions.push(Batch { id: None, source: batch.source.clone(), events: vec![event] });
    }

    fn shared(&mut self, body: Read<'a>) -> Result<(Source<'a>, Shared<'a>, Option<u64>), Reason> {
        let app = body.app.ok_or(Reason::App)?;
        if let Some(fault) = body.fault {
            return Err(fault);
        }
        let fields = body.fields;
        let app = self.clean("app", Some(app));
        let hash = &self.settings.hash;
        let keep_ids = self.keep_ids(fields.consent.as_ref().map_or("", |consent| &consent.0))?;
        let weight = self.weight(&app, fields.sample_rate)?;
        let some = |text: Option<Text<'a>>| text.map(|text| text.0).filter(|text| !text.is_empty());
        let session = some(fields.session).filter(|_| keep_ids);
        let user = some(fields.user).filter(|_| keep_ids);
        // Somebody without a name is still one person as long as the session lasts.
        let user = user.as_ref().or(session.as_ref()).map(|id| hash.of(Purpose::User, &[id.as_bytes()]));
        let id = some(fields.id).map(|id| hash.of(Purpose::BodyId, &[app.as_bytes(), id.as_bytes()]));
        let page = self.route("page", fields.page.map_or(Cow::Borrowed(""), |page| page.0));
        let agent = self.from.agent;
        let cohort = fields.flags.map_or(Cow::Borrowed(""), |flags| self.cohort(&flags.0));
        let given =
            |text: Option<Text<'a>>, otherwise: &'a str| text.map(|text| text.0).or((!otherwise.is_empty()).then_some(otherwise.into()));
        let source = Source {
            environment: self.clean("environment", fields.environment.map(|text| text.0)),
            region: self.clean("region", given(fields.region, &self.from.region)),
            // A bot stays one, whatever its script says of the window.
            device: if agent.device == "bot" { "bot".into() } else { self.clean("device", given(fields.device, agent.device)) },
            browser: self.clean("browser", given(fields.browser, agent.browser)),
            os: self.clean("os", given(fields.os, agent.os)),
            release: self.clean("release", fields.release.map(|text| text.0)),
            cohort,
            sdk: self.clean("sdk", fields.sdk.map(Sdk::name)),
            app: app.clone(),
        };
        self.decoded.sent_at = fields.sent_at;
        Ok((source, Shared { app, page, session, user, weight, sent_at: fields.sent_at }, id))
    }

    fn event(&mut self, written: WrittenEvent<'a>, shared: &Shared<'a>, index: usize) -> Result<Event<'a>, Reason> {
        let kind = written.kind.as_ref().map_or("", |kind| &*kind.0);
        let route = match written.page {
            Some(page) => self.route("page", page.0),
            None => shared.page.clone(),
        };
        let mut event = Event {
            index,
            metric: Metric::PageView,
            at: event_time(self.now, shared.sent_at, written.ts, self.settings.remember),
            weight: shared.weight,
            bad: false,
            value: None,
            user: shared.user,
            repeat: None,
            route,
            own: Default::default(),
            trace: None,
        };
        let nav = || written.nav.as_ref().or(written.navigation_type.as_ref()).map_or("", |nav| &*nav.0);
        match kind {
            "page_view" => {
                event.bad = written.ok == Some(false);
                event.own[0] = hard_or_soft(nav());
            }
            "web_vital" => {
                let name = written.name.as_ref().ok_or(Reason::Missing("name"))?;
                let vital = Vital::ALL.into_iter().find(|vital| vital.name().eq_ignore_ascii_case(&name.0)).ok_or(Reason::Vital)?;
                event.metric = Metric::Vital(vital);
                event.value = Some(within(written.value.ok_or(Reason::Missing("value"))?, vital.value_max())?);
                event.own[0] = hard_or_soft(nav());
                if let Some(id) = written.id.filter(|id| !id.0.is_empty()) {
                    event.repeat = Some(self.repeat(&shared.app, vital.name(), &id.0, written.ts));
                }
            }
            "request" => {
                let url = written.path.or(written.url).ok_or(Reason::Missing("path"))?.0;
                let status = written.status.map(status_class).transpose()?;
                event.bad = match (written.success, status) {
                    (Some(success), _) => !success,
                    (None, Some((failed, _))) => failed,
                    (None, None) => return Err(Reason::Missing("status")),
                };
                event.metric = Metric::Request;
                event.value = written.value.map(|value| within(value, DURATION_MAX)).transpose()?;
                let host = written.host.map(|host| host.0).or_else(|| host_of(&url).map(|host| Cow::Owned(host.to_owned())));
                event.own = [
                    self.clean("host", host.map(lower)),
                    written.method.map_or(Cow::Borrowed(""), |method| Cow::Borrowed(method_name(&method.0))),
                    Cow::Borrowed(status.map_or("", |(_, class)| class)),
                ];
                event.route = self.route("url", url);
                event.trace = written.trace.and_then(|trace| trace_id(trace.0));
            }
            "js_error" | "crash" => {
                let text = |text: &Option<Text<'a>>| text.as_ref().map_or(Cow::Borrowed(""), |text| text.0.clone());
                let (kind_of, message, stack) = (text(&written.kind_of), text(&written.message), text(&written.stack));
                if kind == "js_error" && message.is_empty() && kind_of.is_empty() && stack.is_empty() {
                    return Err(Reason::Missing("message"));
                }
                event.metric = if kind == "crash" { Metric::Crash } else { Metric::JsError };
                event.bad = true;
                event.own[0] = Cow::Owned(fingerprint(&kind_of, &message, &stack));
            }
            "interaction" => {
                event.metric = Metric::Interaction;
                event.value = written.value.map(|value| within(value, DURATION_MAX)).transpose()?;
                event.own[0] = self.required("name", written.name.map(|text| text.0))?;
            }
            "session" => {
                event.metric = Metric::Session;
                event.bad = written.crashed == Some(true);
                if let Some(session) = &shared.session {
                    event.repeat = Some(self.repeat(&shared.app, "session", session, written.ts));
                }
            }
            "step" => {
                event.metric = Metric::Step;
                event.bad = written.ok == Some(false);
                event.own[0] = self.required("funnel", written.funnel.map(|text| text.0))?;
                event.own[1] = self.required("step", written.step.map(|text| text.0))?;
            }
            "custom" => {
                let name = written.name.ok_or(Reason::Missing("name"))?.0;
                event.metric = Metric::custom(&name).filter(|metric| self.fit(metric)).ok_or(Reason::Name)?;
                event.bad = written.ok == Some(false);
                event.value = written.value.map(|value| within(value, CUSTOM_MAX)).transpose()?;
            }
            _ => return Err(Reason::Kind),
        }
        Ok(event)
    }
}

#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    app: Option<Text<'a>>,
    #[serde(borrow)]
    events: Option<Vec<WrittenEvent<'a>>>,
    #[serde(borrow)]
    release: Option<Text<'a>>,
    #[serde(borrow)]
    environment: Option<Text<'a>>,
    #[serde(borrow)]
    session: Option<Text<'a>>,
    #[serde(borrow)]
    user: Option<Text<'a>>,
    #[serde(borrow)]
    page: Option<Text<'a>>,
    #[serde(borrow)]
    region: Option<Text<'a>>,
    #[serde(borrow)]
    device: Option<Text<'a>>,
    #[serde(borrow)]
    browser: Option<Text<'a>>,
    #[serde(borrow)]
    os: Option<Text<'a>>,
    #[serde(borrow)]
    sdk: Option<Sdk<'a>>,
    #[serde(borrow)]
    flags: Option<Texts<'a>>,
    #[serde(borrow)]
    consent: Option<Text<'a>>,
    sample_rate: Option<f64>,
    sent_at: Option<f64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
}

/// `"web-vitals/6.2.3"` or `{"name":"web-vitals","version":"6.2.3"}`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Sdk<'a> {
    Text(#[serde(borrow)] Text<'a>),
    Parts { name: String, version: Option<String> },
}

impl<'a> Sdk<'a> {
    fn name(self) -> Cow<'a, str> {
        match self {
            Sdk::Text(text) => text.0,
            Sdk::Parts { name, version: Some(version) } => Cow::Owned(format!("{name}/{version}")),
            Sdk::Parts { name, version: None } => Cow::Owned(name),
        }
    }
}

/// A body of which nothing is read yet.
#[derive(Deserialize)]
struct Loose<'a> {
    #[serde(borrow)]
    app: Option<&'a RawValue>,
    #[serde(borrow)]
    release: Option<&'a RawValue>,
    #[serde(borrow)]
    environment: Option<&'a RawValue>,
    #[serde(borrow)]
    session: Option<&'a RawValue>,
    #[serde(borrow)]
    user: Option<&'a RawValue>,
    #[serde(borrow)]
    page: Option<&'a RawValue>,
    #[serde(borrow)]
    region: Option<&'a RawValue>,
    #[serde(borrow)]
    device: Option<&'a RawValue>,
    #[serde(borrow)]
    browser: Option<&'a RawValue>,
    #[serde(borrow)]
    os: Option<&'a RawValue>,
    #[serde(borrow)]
    sdk: Option<&'a RawValue>,
    #[serde(borrow)]
    flags: Option<&'a RawValue>,
    #[serde(borrow)]
    consent: Option<&'a RawValue>,
    #[serde(borrow)]
    sample_rate: Option<&'a RawValue>,
    #[serde(borrow)]
    sent_at: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    events: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct WrittenEvent<'a> {
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    ts: Option<f64>,
    #[serde(borrow)]
    page: Option<Text<'a>>,
    #[serde(borrow)]
    nav: Option<Text<'a>>,
    #[serde(borrow, rename = "navigationType")]
    navigation_type: Option<Text<'a>>,
    ok: Option<bool>,
    #[serde(borrow)]
    name: Option<Text<'a>>,
    value: Option<f64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    #[serde(borrow)]
    host: Option<Text<'a>>,
    #[serde(borrow)]
    path: Option<Text<'a>>,
    #[serde(borrow)]
    url: Option<Text<'a>>,
    #[serde(borrow)]
    method: Option<Text<'a>>,
    status: Option<f64>,
    success: Option<bool>,
    #[serde(borrow)]
    trace: Option<Text<'a>>,
    #[serde(borrow, rename = "type")]
    kind_of: Option<Text<'a>>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    stack: Option<Text<'a>>,
    crashed: Option<bool>,
    #[serde(borrow)]
    funnel: Option<Text<'a>>,
    #[serde(borrow)]
    step: Option<Text<'a>>,
}

#[cfg(test)]
mod tests;
