//! Spans as the versions of the SDKs write them, brought to one form.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::span::page_of;
use super::written::{Contexts, Tags, User, WrittenRequest};
use super::{text, time};
use crate::domain::json::Text;
use crate::domain::metric::Vital;
use crate::intake::reading::{Attributes, Loose, Valued};

/// A span of any version.
pub(super) struct Span<'a> {
    pub(super) op: Cow<'a, str>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) trace: Option<Cow<'a, str>>,
    /// Spans of which this one may be a part, the page load first.
    pub(super) above: Vec<Cow<'a, str>>,
    pub(super) start: Option<f64>,
    pub(super) end: Option<f64>,
    pub(super) failed: Option<bool>,
    /// What the span calls itself; for requests before version 8 method and address.
    pub(super) name: Option<Cow<'a, str>>,
    /// The page, as well as the span itself can say.
    pub(super) page: Option<Cow<'a, str>>,
    pub(super) attributes: Attributes<'a>,
    pub(super) measurements: Vec<(Vital, f64)>,
}

/// Spans as version 11 streams them; without `items` it is one span as they were before.
#[derive(Deserialize)]
pub(super) struct SpanList<'a> {
    #[serde(borrow)]
    pub(super) items: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct NewSpan<'a> {
    #[serde(borrow, default)]
    pub(super) name: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) trace_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) parent_span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) end_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) attributes: Loose<Valued<'a>>,
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
pub(super) struct OldSpan<'a> {
    #[serde(borrow, default)]
    pub(super) op: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) description: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) trace_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) parent_span_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) segment_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) status: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) data: Loose<Attributes<'a>>,
    #[serde(default)]
    pub(super) measurements: Loose<Measurements>,
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
pub(super) struct Transaction<'a> {
    #[serde(borrow, default)]
    pub(super) event_id: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) transaction: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) start_timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) timestamp: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) release: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) environment: Loose<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) request: Loose<WrittenRequest<'a>>,
    #[serde(borrow, default)]
    pub(super) user: Loose<User<'a>>,
    #[serde(borrow, default)]
    pub(super) tags: Loose<Tags<'a>>,
    #[serde(borrow, default)]
    pub(super) contexts: Loose<Contexts<'a>>,
    #[serde(default)]
    pub(super) measurements: Loose<Measurements>,
    #[serde(borrow)]
    pub(super) spans: Option<&'a RawValue>,
}

/// Vitals in milliseconds, CLS without a unit.
#[derive(Default)]
pub(super) struct Measurements(pub(super) Vec<(Vital, f64)>);

impl<'de> Deserialize<'de> for Measurements {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Measurements, D::Error> {
        let all = Valued::deserialize(deserializer)?.0;
        let vital = |vital: Vital| Some((vital, all.number(&[vital.name()])?));
        Ok(Measurements(Vital::ALL.into_iter().filter_map(vital).collect()))
    }
}
