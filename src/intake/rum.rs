//! `POST /v1/rum`: our own small JSON, decoded into normalised events (CONTRACT 5).
//!
//! The common case is read in one pass with borrowed texts. A body in which anything has a wrong
//! type is read a second time, piece by piece, so that one bad event costs only itself.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::Settings;
use super::enrich::Enrichment;
use super::reason::{Reason, Refusal};
use crate::config::OptOut;
use crate::domain::event::{Batch, Event, Repeat, Source, event_time, weight_of};
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::{Text, Texts};
use crate::domain::keyed::Purpose;
use crate::domain::metric::{Metric, Vital};
use crate::domain::redact::cut;
use crate::domain::route_template::host_of;
use crate::domain::time::Timestamp;

/// The largest duration in milliseconds and the largest value of a custom metric that can be true.
const DURATION_MAX: f64 = 3_600_000.0;
const CUSTOM_MAX: f64 = 1e12;

/// What a request's body says.
#[derive(Debug, Default)]
pub struct Decoded<'a> {
    pub batches: Vec<Batch<'a>>,
    /// Events that do not count, by index over all events of the request.
    pub rejected: Vec<(usize, Reason)>,
    /// How many events there were.
    pub events: usize,
    /// Fields out of which something personal was taken, one entry each time.
    pub redacted: SmallVec<[&'static str; 4]>,
}

/// Decodes a body that arrived at `now`.
pub fn decode<'a>(body: &'a [u8], settings: &Settings, from: &'a Enrichment, now: Timestamp) -> Result<Decoded<'a>, Refusal> {
    let is_list = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let bodies = if is_list { read_list(body)? } else { vec![read_one(body)?] };
    if !bodies.is_empty() && bodies.iter().all(|body| body.app.is_none()) {
        return Err(Refusal::Shape("there is no `app`".into()));
    }
    let mut decoder = Decoder { settings, from, now, decoded: Decoded::default() };
    for body in bodies {
        decoder.body(body);
    }
    Ok(decoder.decoded)
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

struct Decoder<'a, 's> {
    settings: &'s Settings,
    from: &'a Enrichment,
    now: Timestamp,
    decoded: Decoded<'a>,
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

impl<'a> Decoder<'a, '_> {
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
        // Also without events: the body's `id` was seen.
        self.decoded.batches.push(batch);
    }

    fn shared(&mut self, body: Read<'a>) -> Result<(Source<'a>, Shared<'a>, Option<u64>), Reason> {
        let app = body.app.ok_or(Reason::App)?;
        if let Some(fault) = body.fault {
            return Err(fault);
        }
        let fields = body.fields;
        let app = self.clean("app", Some(app));
        let hash = &self.settings.hash;
        let keep_ids = self.keep_ids(&fields)?;
        let rate = fields.sample_rate.or_else(|| self.settings.sample_rates.get(&*app).copied()).unwrap_or(1.0);
        let weight = weight_of(rate, self.settings.sample_rate_min).ok_or(Reason::SampleRate)?;
        let some = |text: Option<Text<'a>>| text.map(|text| text.0).filter(|text| !text.is_empty());
        let session = some(fields.session).filter(|_| keep_ids);
        let user = some(fields.user).filter(|_| keep_ids);
        // Somebody without a name is still one person as long as the session lasts.
        let user = user.as_ref().or(session.as_ref()).map(|id| hash.of(Purpose::User, &[id.as_bytes()]));
        let id = some(fields.id).map(|id| hash.of(Purpose::BodyId, &[app.as_bytes(), id.as_bytes()]));
        let page = self.route("page", fields.page.map_or(Cow::Borrowed(""), |page| page.0));
        let agent = self.from.agent;
        let cohort = fields.flags.map_or(Cow::Borrowed(""), |flags| self.cohort(flags));
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
        Ok((source, Shared { app, page, session, user, weight, sent_at: fields.sent_at }, id))
    }

    /// Whether user and session may be looked at.
    fn keep_ids(&self, fields: &Written<'_>) -> Result<bool, Reason> {
        let consent = fields.consent.as_ref().map_or("", |consent| consent.0.trim());
        let refused = ["none", "false", "denied", "no", "0"].iter().any(|no| consent.eq_ignore_ascii_case(no));
        let mut keep = !consent.eq_ignore_ascii_case("metrics");
        for (applies, policy) in [(refused, self.settings.consent), (self.from.opted_out, self.settings.browser_signal)] {
            match policy {
                _ if !applies => {}
                OptOut::Count => {}
                OptOut::Anonymous => keep = false,
                OptOut::Drop => return Err(Reason::Consent),
            }
        }
        Ok(keep)
    }

    /// `flag=variant` of the flags that are configured as cohorts, in that order.
    fn cohort(&mut self, flags: Texts<'a>) -> Cow<'a, str> {
        let mut cohort = String::new();
        for name in &self.settings.cohort_flags {
            if let Some((_, variant)) = flags.0.iter().find(|(flag, _)| flag == name) {
                let comma = if cohort.is_empty() { "" } else { "," };
                cohort.push_str(&format!("{comma}{name}={variant}"));
            }
        }
        self.clean("cohort", Some(cohort.into()))
    }

    fn clean(&mut self, field: &'static str, text: Option<Cow<'a, str>>) -> Cow<'a, str> {
        let Some(text) = text else { return Cow::Borrowed("") };
        let (text, redacted) = self.settings.redactor.clean(text);
        if redacted {
            self.decoded.redacted.push(field);
        }
        text
    }

    /// The route of a page or URL.
    fn route(&mut self, field: &'static str, url: Cow<'a, str>) -> Cow<'a, str> {
        // Cut first: no route is made of the end of a URL of megabytes.
        let route = match cut(url, 2048) {
            Cow::Borrowed(url) => self.settings.templates.of(url),
            Cow::Owned(url) => Cow::Owned(self.settings.templates.of(&url).into_owned()),
        };
        self.clean(field, Some(route))
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
                event.own[0] = self.required("name", written.name)?;
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
                event.own[0] = self.required("funnel", written.funnel)?;
                event.own[1] = self.required("step", written.step)?;
            }
            "custom" => {
                let name = written.name.ok_or(Reason::Missing("name"))?.0;
                event.metric = Metric::custom(&name).ok_or(Reason::Name)?;
                event.bad = written.ok == Some(false);
                event.value = written.value.map(|value| within(value, CUSTOM_MAX)).transpose()?;
            }
            _ => return Err(Reason::Kind),
        }
        Ok(event)
    }

    fn required(&mut self, field: &'static str, text: Option<Text<'a>>) -> Result<Cow<'a, str>, Reason> {
        let text = self.clean(field, text.map(|text| text.0));
        if text.is_empty() { Err(Reason::Missing(field)) } else { Ok(text) }
    }

    fn repeat(&self, app: &str, metric: &str, id: &str, ts: Option<f64>) -> Repeat {
        let key = self.settings.hash.of(Purpose::Repeat, &[app.as_bytes(), metric.as_bytes(), id.as_bytes()]);
        // A float becomes the nearest integer of the range, which keeps the order.
        Repeat { key, ts: ts.map(|ts| ts as i64) }
    }
}

/// A value of the domain 0 to `max`; anything else is no measurement.
fn within(value: f64, max: f64) -> Result<f64, Reason> {
    if (0.0..=max).contains(&value) { Ok(value + 0.0) } else { Err(Reason::Range("value")) }
}

/// Navigation types of the web-vitals library are all hard but one.
fn hard_or_soft(nav: &str) -> Cow<'static, str> {
    Cow::Borrowed(if nav.starts_with("soft") { "soft" } else { "hard" })
}

/// Whether a status means failure, and its class. Status 0 is a connection that failed.
fn status_class(status: f64) -> Result<(bool, &'static str), Reason> {
    if status.fract() != 0.0 {
        return Err(Reason::Range("status"));
    }
    Ok(match status as i64 {
        0 => (true, "0"),
        100..=199 => (false, "1xx"),
        200..=299 => (false, "2xx"),
        300..=399 => (false, "3xx"),
        400..=499 => (true, "4xx"),
        500..=599 => (true, "5xx"),
        _ => return Err(Reason::Range("status")),
    })
}

fn method_name(method: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(method)).unwrap_or(if method.is_empty() { "" } else { "other" })
}

fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

/// A trace id, by itself or within a W3C `traceparent`.
fn trace_id(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let id = match text.split('-').nth(1) {
        Some(id) if text.len() == 55 => Cow::Owned(id.to_owned()),
        _ => text,
    };
    ((16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
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
