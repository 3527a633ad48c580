//! What every decoder needs to bring a body to normalised events: names cleaned of anything personal,
//! routes instead of URLs, keyed hashes instead of ids, and one meaning of "failed" for all protocols.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::Settings;
use super::enrich::Enrichment;
use super::reason::Reason;
use crate::config::OptOut;
use crate::domain::event::{Batch, Repeat};
use crate::domain::keyed::Purpose;
use crate::domain::redact::cut;
use crate::domain::rows::Row;
use crate::domain::time::Timestamp;

/// The largest duration in milliseconds and the largest value of a custom metric that can be true.
pub(super) const DURATION_MAX: f64 = 3_600_000.0;
pub(super) const CUSTOM_MAX: f64 = 1e12;

/// What a request's body says.
#[derive(Debug, Default)]
pub struct Decoded<'a> {
    pub batches: Vec<Batch<'a>>,
    /// What clients have summed up by themselves, with its index.
    pub rows: Vec<(usize, Row<'a>)>,
    /// Events that do not count, by index over all events of the request.
    pub rejected: Vec<(usize, Reason)>,
    /// How many events there were.
    pub events: usize,
    /// Fields out of which something personal was taken, one entry each time.
    pub redacted: SmallVec<[&'static str; 4]>,
}

/// One request that is being decoded.
pub(super) struct Reading<'a, 's> {
    pub settings: &'s Settings,
    pub from: &'a Enrichment,
    pub now: Timestamp,
    pub decoded: Decoded<'a>,
}

impl<'a, 's> Reading<'a, 's> {
    /// Nothing is decoded yet.
    pub fn new(settings: &'s Settings, from: &'a Enrichment, now: Timestamp) -> Reading<'a, 's> {
        Reading { settings, from, now, decoded: Decoded::default() }
    }

    /// Whether user and session may be looked at, given what the body says of consent.
    pub fn keep_ids(&self, consent: &str) -> Result<bool, Reason> {
        let consent = consent.trim();
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
    pub fn cohort(&mut self, flags: &[(Cow<'_, str>, Cow<'_, str>)]) -> Cow<'a, str> {
        let mut cohort = String::new();
        for name in &self.settings.cohort_flags {
            if let Some((_, variant)) = flags.iter().find(|(flag, _)| flag == name) {
                let comma = if cohort.is_empty() { "" } else { "," };
                cohort.push_str(&format!("{comma}{name}={variant}"));
            }
        }
        self.clean("cohort", Some(cohort.into()))
    }

    /// A dimension's text without anything personal; counts what was taken out.
    pub fn clean(&mut self, field: &'static str, text: Option<Cow<'a, str>>) -> Cow<'a, str> {
        let Some(text) = text else { return Cow::Borrowed("") };
        let (text, redacted) = self.settings.redactor.clean(text);
        if redacted {
            self.decoded.redacted.push(field);
        }
        text
    }

    /// The route of a page or URL.
    pub fn route(&mut self, field: &'static str, url: Cow<'a, str>) -> Cow<'a, str> {
        // Cut first: no route is made of the end of a URL of megabytes.
        let route = match cut(url, 2048) {
            Cow::Borrowed(url) => self.settings.templates.of(url),
            Cow::Owned(url) => Cow::Owned(self.settings.templates.of(&url).into_owned()),
        };
        self.clean(field, Some(route))
    }

    /// A text that must be there.
    pub fn required(&mut self, field: &'static str, text: Option<Cow<'a, str>>) -> Result<Cow<'a, str>, Reason> {
        let text = self.clean(field, text);
        if text.is_empty() { Err(Reason::Missing(field)) } else { Ok(text) }
    }

    /// What a newer report of the same thing is known by.
    pub fn repeat(&self, app: &str, metric: &str, id: &str, ts: Option<f64>) -> Repeat {
        let key = self.settings.hash.of(Purpose::Repeat, &[app.as_bytes(), metric.as_bytes(), id.as_bytes()]);
        // A float becomes the nearest integer of the range, which keeps the order.
        Repeat { key, ts: ts.map(|ts| ts as i64) }
    }
}

/// A value of the domain 0 to `max`; anything else is no measurement.
pub(super) fn within(value: f64, max: f64) -> Result<f64, Reason> {
    if (0.0..=max).contains(&value) { Ok(value + 0.0) } else { Err(Reason::Range("value")) }
}

/// Navigation types of the web-vitals library are all hard but one.
pub(super) fn hard_or_soft(nav: &str) -> Cow<'static, str> {
    Cow::Borrowed(if nav.starts_with("soft") { "soft" } else { "hard" })
}

/// Whether a status means failure, and its class. Status 0 is a connection that failed.
pub(super) fn status_class(status: f64) -> Result<(bool, &'static str), Reason> {
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

pub(super) fn method_name(method: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(method)).unwrap_or(if method.is_empty() { "" } else { "other" })
}

pub(super) fn lower(text: Cow<'_, str>) -> Cow<'_, str> {
    if text.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(text.to_ascii_lowercase()) } else { text }
}

/// A trace id, by itself or within a W3C `traceparent`.
pub(super) fn trace_id(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let id = match text.split('-').nth(1) {
        Some(id) if text.len() == 55 => Cow::Owned(id.to_owned()),
        _ => text,
    };
    ((16..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}
