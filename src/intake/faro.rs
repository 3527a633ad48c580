//! `POST /collect`: Grafana Faro, web and mobile (RUM-CLIENTS 3.1).
//!
//! Of what Faro sends the following counts; everything else is left alone.
//! - Page views: the event `faro.performance.navigation` (hard); `faro.navigation`, `route_change`,
//!   `view_changed`, and a page address of a session that has changed without a load (soft). What
//!   several of these say of one navigation counts once.
//! - Web vitals: measurements of the type `web-vitals`; the same id again is an update. Their route is
//!   that of the navigation they belong to, because the payload names the page at the time of sending;
//!   if that is not known and the session has moved on without a load, they have no route.
//! - Requests: `faro.tracing.*`. An app release that never sent one is counted by the resource timing
//!   of its fetches instead. The first trace of a release may come after the resource timing of the same
//!   fetch was counted; then the trace is left out, so that no fetch counts twice.
//! - `exceptions`: `js_error`, or `crash` if fatal, and then the session crashed.
//! - Sessions: `session_start` and `session_resume`; one session counts once.
//! - Interactions: `faro.user.action`.
//! - What the app itself pushes: an event is one `custom:<name>`, bad if its attribute `ok` is `false`, with its attribute `value`;
//!   a measurement is one `custom:<type>.<name>` for each of its values.
//!
//! Conventions in session attributes: `consent`, `sample_rate`, and the flags of `intake.cohort_flags`.

mod meta;
mod request;
mod written;

use std::borrow::Cow;

use http::header::HOST;

use self::meta::Page;
use self::written::{Measurement, Payload, WrittenEvent, WrittenException, WrittenTrace};
use super::endpoint::Post;
use super::memory::{Known, Memory, key};
use super::reading::{
    Attributes, CUSTOM_MAX, DURATION_MAX, Decoded, Frame, Loose, Reading, event_of, hard_or_soft, millis, piece, pieces, within,
};
use super::reason::{Reason, Refusal};
use crate::domain::event::{Batch, Event, event_time};
use crate::domain::fingerprint::fingerprint;
use crate::domain::json::Text;
use crate::domain::keyed::Purpose;
use crate::domain::metric::{Metric, Vital};
use crate::domain::route_template::path_of;
use crate::domain::time::Timestamp;

/// Decodes a post. `memory` is what posts before it said of the same pages.
pub(super) fn decode<'a>(post: &Post<'a>, memory: &Memory) -> Result<Decoded<'a>, Refusal> {
    let payload: Payload<'a> = serde_json::from_slice(post.body).map_err(|error| match error.is_data() {
        true => Refusal::Shape("the body is no Faro payload".into()),
        false => Refusal::Json(error.to_string()),
    })?;
    let mut meta = payload.meta.0.unwrap_or_default();
    let mut app = meta.app.0.take().unwrap_or_default();
    let name = text(std::mem::take(&mut app.name)).ok_or(Refusal::Shape("there is no `meta.app.name`".into()))?;
    let mut reading = Reading::new(post.settings, post.from, post.now);
    let items = Items {
        events: pieces(payload.events).into_iter().map(piece).collect(),
        exceptions: pieces(payload.exceptions).into_iter().map(piece).collect(),
        measurements: pieces(payload.measurements).into_iter().map(piece).collect(),
    };
    let count = items.events.len() + items.exceptions.len() + items.measurements.len();
    reading.decoded.events = count;
    match reading.page(name, app, meta, &items) {
        Ok((source, mut page)) => {
            page.collector = post.headers.get(HOST).and_then(|host| host.to_str().ok());
            let id = post.idempotency_key().map(|id| post.settings.hash.of(Purpose::BodyId, &[source.app.as_bytes(), b"faro", id]));
            let mut known = memory.lock();
            // Also the second one is remembered, whatever the first one says.
            let fresh = id.is_none_or(|id| known.first_time(id)) & known.first_time(post.whole);
            let mut walk = Walk { reading: &mut reading, page, known: &mut known, fresh, batch: Batch { id, source, events: vec![] } };
            walk.items(items);
            let batch = walk.batch;
            drop(known);
            reading.decoded.batches.push(batch);
        }
        Err(reason) => reading.decoded.rejected.extend((0..count).map(|index| (index, reason.clone()))),
    }
    Ok(reading.decoded)
}

/// What is in a payload, each by itself read or not.
struct Items<'a> {
    events: Vec<Result<WrittenEvent<'a>, Reason>>,
    exceptions: Vec<Result<WrittenException<'a>, Reason>>,
    measurements: Vec<Result<Measurement<'a>, Reason>>,
}

impl<'a> Items<'a> {
    /// The newest time in it: when the client sent it, as nearly as it says.
    fn sent_at(&self) -> Option<f64> {
        let events = self.events.iter().flatten().filter_map(|item| at(&item.timestamp));
        let exceptions = self.exceptions.iter().flatten().filter_map(|item| at(&item.timestamp));
        let measurements = self.measurements.iter().flatten().filter_map(|item| at(&item.timestamp));
        events.chain(exceptions).chain(measurements).reduce(f64::max)
    }
}

fn at(timestamp: &Loose<Text<'_>>) -> Option<f64> {
    timestamp.0.as_ref().and_then(|text| millis(&text.0))
}

fn text(field: Loose<Text<'_>>) -> Option<Cow<'_, str>> {
    field.0.map(|text| text.0).filter(|text| !text.trim().is_empty())
}

/// Names of views that stand for none.
fn is_no_view(view: &str) -> bool {
    ["", "default", "unknown"].contains(&view)
}

/// A payload on its way to events.
struct Walk<'r, 'a, 's> {
    reading: &'r mut Reading<'a, 's>,
    known: &'r mut Known,
    page: Page<'a>,
    /// Whether the post was not looked at before: only then it changes what is remembered.
    fresh: bool,
    batch: Batch<'a>,
}

impl<'a> Walk<'_, 'a, '_> {
    fn items(&mut self, items: Items<'a>) {
        let has_moved = self.look_around(&items.events);
        let mut index = 0;
        for item in items.events {
            let made = item.and_then(|item| self.event(item, index));
            self.take(index, made);
            index += 1;
        }
        for item in items.exceptions {
            let made = item.map(|item| self.exception(item, index));
            self.take(index, made);
            index += 1;
        }
        for item in items.measurements {
            let made = item.and_then(|item| self.measurement(item, index, has_moved));
            self.take(index, made);
            index += 1;
        }
    }

    fn take(&mut self, index: usize, made: Result<Vec<Event<'a>>, Reason>) {
        match made {
            Ok(events) => self.batch.events.extend(events),
            Err(reason) => self.reading.decoded.rejected.push((index, reason)),
        }
    }

    /// Remembers what the events say of pages and of who reports requests. Done before anything is
    /// counted, because the items of a payload are not in order. Whether the session has moved on from
    /// the page that it loaded.
    fn look_around(&mut self, events: &[Result<WrittenEvent<'a>, Reason>]) -> bool {
        let here = self.page_key(&self.page.url);
        let mut loads = false;
        let mut reported = false;
        for event in events.iter().flatten() {
            let name = event.name();
            let attributes = event.attributes();
            if let Some(navigation) = attributes.get("faroNavigationId").filter(|_| name == NAVIGATION) {
                let url = attributes.get("name").unwrap_or(&self.page.url).clone();
                loads |= path_of(&url) == path_of(&self.page.url);
                let route = self.reading.route("page", url);
                let navigation = self.navigation_key(navigation);
                self.known.set_route(navigation, &route);
            }
            loads |= name == SESSION_START || name == SESSION_RESUME;
            reported |= is_soft(name, attributes);
            if name.starts_with(TRACED) && self.fresh {
                self.known.set_traced(self.page.build);
            }
        }
        let (Some(session), Some(sent_at)) = (self.session_key(), self.page.sent_at) else { return false };
        let session = self.known.session(session);
        if !self.fresh {
            return session.has_moved();
        }
        if loads {
            session.load(here, sent_at as i64);
        } else if reported {
            // Counted by what was reported, below.
            session.open(here);
        } else if !self.page.url.is_empty() && session.visit(here, sent_at as i64) {
            let at = self.at(Some(sent_at));
            let view = self.view(self.reading.decoded.events.saturating_sub(1), at, "soft", false, self.page.route.clone());
            self.batch.events.push(view);
            return true;
        }
        self.known.session(self.session_key().expect("asked above")).has_moved()
    }

    fn event(&mut self, event: WrittenEvent<'a>, index: usize) -> Result<Vec<Event<'a>>, Reason> {
        let ts = at(&event.timestamp);
        let when = self.at(ts);
        let (name, attributes) = (event.name(), event.attributes());
        Ok(match name {
            NAVIGATION => {
                let failed = attributes.number(&["responseStatus"]).is_some_and(|status| status >= 400.0);
                // The address of the payload is that of the time of sending.
                let loaded = attributes.get("name").filter(|_| !self.page.is_view).cloned();
                let route = loaded.map_or_else(|| self.page.route.clone(), |url| self.reading.route("page", url));
                vec![self.view(index, when, "hard", failed, route)]
            }
            _ if is_soft(name, attributes) => {
                let again = match (self.session_key(), ts) {
                    (Some(session), Some(ts)) if self.fresh => !self.known.session(session).soft(ts as i64),
                    _ => false,
                };
                let to = attributes.any(&["toRoute", "toUrl", "toView"]).cloned();
                let route = to.map_or_else(|| self.page.route.clone(), |to| self.reading.route("page", to));
                if again { vec![] } else { vec![self.view(index, when, "soft", false, route)] }
            }
            SESSION_START | SESSION_RESUME => self.session(index, when, ts, false),
            "faro.user.action" => {
                let mut made = self.plain(index, Metric::Interaction, when);
                let duration = attributes.number(&["userActionDuration"]);
                made.value = duration.map(|duration| within(duration, DURATION_MAX)).transpose()?;
                made.own[0] = self.reading.required("name", attributes.get("userActionName").cloned())?;
                vec![made]
            }
            "faro.performance.resource" if is_fetch(attributes) => self.resource(attributes, index, when)?,
            _ if name.starts_with(TRACED) => self.traced(&event, index, when)?,
            _ if name.is_empty() || name.starts_with(OF_FARO) || OF_SDK.contains(&name) => vec![],
            _ => {
                let ok = attributes.get("ok").is_none_or(|ok| !ok.eq_ignore_ascii_case("false"));
                let value = attributes.number(&["value"]);
                vec![self.custom(name, index, when, value, ok)?]
            }
        })
    }

    fn exception(&mut self, exception: WrittenException<'a>, index: usize) -> Vec<Event<'a>> {
        let ts = at(&exception.timestamp);
        let when = self.at(ts);
        let fatal = text(exception.fatal).is_some_and(|fatal| fatal.eq_ignore_ascii_case("true"));
        let (kind, message) = (text(exception.kind).unwrap_or_default(), text(exception.value).unwrap_or_default());
        let frame = exception.stacktrace.0.unwrap_or_default().frames.0.unwrap_or_default().into_iter().find_map(|frame| frame.0);
        let mut made = self.plain(index, if fatal { Metric::Crash } else { Metric::JsError }, when);
        made.bad = true;
        made.own[0] = Cow::Owned(fingerprint(&kind, &message, &frame.map(Frame::line).unwrap_or_default()));
        made.trace = exception.trace.0.and_then(WrittenTrace::id);
        let mut all = vec![made];
        if fatal {
            all.extend(self.session(index, when, ts, true));
        }
        all
    }

    /// What the app counts itself.
    fn custom(&mut self, name: &str, index: usize, when: Timestamp, value: Option<f64>, ok: bool) -> Result<Event<'a>, Reason> {
        // Names of events are free text, those of metrics are not.
        let fit = |c: char| if c.is_ascii_alphanumeric() || "_.-".contains(c) { c } else { '_' };
        let metric = Metric::custom(&name.trim().chars().take(CUSTOM_NAME_MAX).map(fit).collect::<String>());
        let metric = metric.filter(|_| self.reading.is_impersonal(name)).ok_or(Reason::Name)?;
        let mut made = self.plain(index, metric, when);
        made.bad = !ok;
        made.value = value.map(|value| within(value, CUSTOM_MAX)).transpose()?;
        Ok(made)
    }

    fn measurement(&mut self, mut measurement: Measurement<'a>, index: usize, has_moved: bool) -> Result<Vec<Event<'a>>, Reason> {
        match text(std::mem::take(&mut measurement.kind)).as_deref() {
            Some("web-vitals") => self.vitals(measurement, index, has_moved),
            Some(kind) => {
                let when = self.at(at(&measurement.timestamp));
                let values = measurement.values.0.unwrap_or_default();
                let numbers = values.0.iter().filter_map(|(name, _)| Some((name, values.number(&[name])?)));
                numbers
                    .take(VALUES_MAX)
                    .map(|(name, value)| self.custom(&format!("{kind}.{name}"), index, when, Some(value), true))
                    .collect()
            }
            None => Ok(vec![]),
        }
    }

    /// All vitals of a measurement: nearly always one, and its parts, which have other names.
    fn vitals(&mut self, measurement: Measurement<'a>, index: usize, has_moved: bool) -> Result<Vec<Event<'a>>, Reason> {
        let ts = at(&measurement.timestamp);
        let when = self.at(ts);
        let context = measurement.context.0.unwrap_or_default();
        let values = measurement.values.0.unwrap_or_default();
        let navigation = context.get("navigation_entry_id").filter(|id| !is_no_view(id)).map(|id| self.navigation_key(id));
        let route = match navigation.and_then(|navigation| self.known.route(navigation)) {
            Some(route) => Cow::Owned(route.to_owned()),
            None if has_moved => Cow::Borrowed(""),
            None => self.page.route.clone(),
        };
        let mut all = Vec::new();
        for vital in Vital::ALL {
            let Some(value) = values.get(vital.name()) else { continue };
            let value = value.parse().map_err(|_| Reason::Range("value"))?;
            let mut made = self.plain(index, Metric::Vital(vital), when);
            made.value = Some(within(value, vital.value_max())?);
            made.own[0] = hard_or_soft(context.get("navigation_type").map_or("", |nav| nav));
            made.route = route.clone();
            if let Some(id) = context.get("id").filter(|id| !id.is_empty()) {
                made.repeat = Some(self.reading.repeat(&self.batch.source.app, vital.name(), id, ts));
            }
            all.push(made);
        }
        Ok(all)
    }

    /// The session of the payload, if it says which; one that crashed stays crashed.
    fn session(&mut self, index: usize, when: Timestamp, ts: Option<f64>, crashed: bool) -> Vec<Event<'a>> {
        let Some(session) = self.page.session.clone() else { return vec![] };
        let mut made = self.plain(index, Metric::Session, when);
        made.bad = crashed;
        made.repeat = Some(self.reading.repeat(&self.batch.source.app, "session", &session, ts));
        vec![made]
    }

    fn view(&self, index: usize, when: Timestamp, nav: &'static str, bad: bool, route: Cow<'a, str>) -> Event<'a> {
        let mut made = self.plain(index, Metric::PageView, when);
        (made.bad, made.route) = (bad, route);
        made.own[0] = Cow::Borrowed(nav);
        made
    }

    fn plain(&self, index: usize, metric: Metric, when: Timestamp) -> Event<'a> {
        let mut made = event_of(index, metric, when, self.page.weight);
        made.user = self.page.user;
        made.route = self.page.route.clone();
        made
    }

    fn at(&self, ts: Option<f64>) -> Timestamp {
        event_time(self.reading.now, self.page.sent_at, ts, self.reading.settings.remember)
    }

    fn session_key(&self) -> Option<u64> {
        let session = self.page.session.as_ref()?;
        Some(self.key(&["faro session", session]))
    }

    fn navigation_key(&self, id: &str) -> u64 {
        self.key(&["faro navigation", self.page.session.as_deref().unwrap_or(""), id])
    }

    fn page_key(&self, url: &str) -> u64 {
        // 0 stands for no page.
        self.key(&["faro page", path_of(url)]).max(1)
    }

    fn key(&self, parts: &[&str]) -> u64 {
        let mut all: Vec<&str> = vec![&self.batch.source.app];
        all.extend(parts);
        key(&self.reading.settings.hash, &all)
    }
}

const NAVIGATION: &str = "faro.performance.navigation";
const SESSION_START: &str = "session_start";
const SESSION_RESUME: &str = "session_resume";
const TRACED: &str = "faro.tracing.";
/// Events that the SDK pushes for itself: those with this prefix, and these.
const OF_FARO: &str = "faro.";
const OF_SDK: [&str; 7] =
    [SESSION_START, SESSION_RESUME, "session_extend", "view_changed", "route_change", "service_name_override", "service_name_overridden"];
/// How many characters of the name of an event are kept, and how many values of a measurement.
const CUSTOM_NAME_MAX: usize = 64;
const VALUES_MAX: usize = 16;

/// Whether an event says that a page moved on without being loaded. The first view of a page is no move.
fn is_soft(name: &str, attributes: &Attributes<'_>) -> bool {
    match name {
        "faro.navigation" | "route_change" => true,
        "view_changed" => attributes.get("fromView").is_some_and(|view| !is_no_view(view)),
        _ => false,
    }
}

fn is_fetch(attributes: &Attributes<'_>) -> bool {
    attributes.get("initiatorType").is_some_and(|kind| ["fetch", "xmlhttprequest"].contains(&&**kind))
}

#[cfg(test)]
mod tests;
