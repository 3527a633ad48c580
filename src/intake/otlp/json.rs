//! OTLP's JSON to records, as clients really write it: 64-bit numbers as numbers or texts, enums as
//! numbers or names, ids in hex or base64, empty values, unknown members.
//!
//! As with protobuf each record is read when it is its turn; until then it is a piece of the body.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::Signal;
use super::model::{Attributes, EXCEPTIONS_MAX, Group, Id, Kind, LogRecord, Metric, Nanos, Point, Powers, Span, SpanEvent, Value};
use crate::intake::reason::{Reason, Refusal};

/// What a request holds: one piece for each resource.
pub(super) fn resources(body: &[u8], signal: Signal) -> Result<Vec<&[u8]>, Refusal> {
    #[derive(serde::Deserialize)]
    struct Request<'a> {
        #[serde(borrow, default, rename = "resourceLogs", alias = "resource_logs")]
        logs: Option<Pieces<'a>>,
        #[serde(borrow, default, rename = "resourceSpans", alias = "resource_spans")]
        traces: Option<Pieces<'a>>,
        #[serde(borrow, default, rename = "resourceMetrics", alias = "resource_metrics")]
        metrics: Option<Pieces<'a>>,
    }
    if !is_object(body) && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return Err(Refusal::Shape("the body is no OTLP request".into()));
    }
    let request: Request<'_> = serde_json::from_slice(body).map_err(|error| {
        if error.is_data() { Refusal::Shape("the body is no OTLP request".into()) } else { Refusal::Json(error.to_string()) }
    })?;
    let given = [request.logs, request.traces, request.metrics];
    let elsewhere = given.iter().any(|pieces| pieces.is_some());
    let [logs, traces, metrics] = given;
    let asked = match signal {
        Signal::Logs => logs,
        Signal::Traces => traces,
        Signal::Metrics => metrics,
    };
    match asked {
        Some(pieces) => Ok(pieces.bytes()),
        None if elsewhere => Err(Refusal::Shape("this signal has an address of its own: /v1/logs, /v1/traces or /v1/metrics".into())),
        None => Ok(Vec::new()),
    }
}

/// Reads one resource, scope, record or point.
fn read<'a, T: Deserialize<'a>>(piece: &'a [u8]) -> Result<T, Reason> {
    if !is_object(piece) {
        return Err(Reason::Malformed("it is no JSON object".into()));
    }
    serde_json::from_slice(piece).map_err(|error| Reason::Malformed(error.to_string().chars().take(160).collect()))
}

/// A list could be read as the members of an object one after the other, which nobody means.
fn is_object(piece: &[u8]) -> bool {
    piece.trim_ascii_start().starts_with(b"{")
}

/// A resource and the pieces of its scopes.
pub(super) fn resource(piece: &[u8]) -> Result<Group<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct About<'a> {
        #[serde(borrow)]
        attributes: Attributes<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Resource<'a> {
        #[serde(borrow, default)]
        resource: Option<About<'a>>,
        #[serde(
            borrow,
            default,
            rename = "scopeLogs",
            alias = "scope_logs",
            alias = "scopeSpans",
            alias = "scope_spans",
            alias = "scopeMetrics",
            alias = "scope_metrics"
        )]
        scopes: Option<Pieces<'a>>,
    }
    let resource: Resource<'_> = read(piece)?;
    let attributes = resource.resource.unwrap_or_default().attributes;
    Ok(Group { attributes, members: resource.scopes.unwrap_or_default().bytes(), ..Group::default() })
}

/// A scope and the pieces of its records.
pub(super) fn scope(piece: &[u8]) -> Result<Group<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct About<'a> {
        #[serde(borrow)]
        name: Name<'a>,
        #[serde(borrow)]
        version: Name<'a>,
    }
    #[derive(serde::Deserialize)]
    struct Scope<'a> {
        #[serde(borrow, default)]
        scope: Option<About<'a>>,
        #[serde(borrow, default, rename = "logRecords", alias = "log_records", alias = "spans", alias = "metrics")]
        records: Option<Pieces<'a>>,
    }
    let scope: Scope<'_> = read(piece)?;
    let about = scope.scope.unwrap_or_default();
    Ok(Group { name: about.name.0, version: about.version.0, members: scope.records.unwrap_or_default().bytes(), ..Group::default() })
}

pub(super) fn log_record(piece: &[u8]) -> Result<LogRecord<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Written<'a> {
        #[serde(borrow, alias = "time_unix_nano")]
        time_unix_nano: Scalar<'a>,
        #[serde(borrow, alias = "observed_time_unix_nano")]
        observed_time_unix_nano: Scalar<'a>,
        #[serde(borrow, alias = "severity_number")]
        severity_number: Scalar<'a>,
        #[serde(borrow, alias = "event_name")]
        event_name: Name<'a>,
        #[serde(borrow)]
        body: Value<'a>,
        #[serde(borrow)]
        attributes: Attributes<'a>,
    }
    let written: Written<'_> = read(piece)?;
    Ok(LogRecord {
        time: written.time_unix_nano.nanos(),
        observed: written.observed_time_unix_nano.nanos(),
        severity: written.severity_number.choice(),
        event_name: written.event_name.0,
        body: written.body,
        attributes: written.attributes,
    })
}

pub(super) fn span(piece: &[u8]) -> Result<Span<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Status<'a> {
        #[serde(borrow)]
        code: Scalar<'a>,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Written<'a> {
        #[serde(borrow, alias = "trace_id")]
        trace_id: Name<'a>,
        #[serde(borrow, alias = "span_id")]
        span_id: Name<'a>,
        #[serde(borrow)]
        name: Name<'a>,
        #[serde(borrow)]
        kind: Scalar<'a>,
        #[serde(borrow, alias = "start_time_unix_nano")]
        start_time_unix_nano: Scalar<'a>,
        #[serde(borrow, alias = "end_time_unix_nano")]
        end_time_unix_nano: Scalar<'a>,
        #[serde(borrow)]
        attributes: Attributes<'a>,
        #[serde(borrow)]
        events: Exceptions<'a>,
        #[serde(borrow)]
        status: Option<Status<'a>>,
    }
    let written: Written<'_> = read(piece)?;
    Ok(Span {
        trace_id: id(&written.trace_id.0, 16),
        span_id: id(&written.span_id.0, 8),
        name: written.name.0,
        kind: written.kind.choice(),
        start: written.start_time_unix_nano.nanos(),
        end: written.end_time_unix_nano.nanos(),
        attributes: written.attributes,
        exceptions: written.events.0,
        status: written.status.unwrap_or_default().code.choice(),
    })
}

/// An id of so many bytes in hex, or in the base64 that protobuf's own JSON would have.
fn id(text: &str, bytes: usize) -> Id {
    let hex = || hex::decode(text).ok();
    let base64 = || STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text)).ok();
    let read = if text.len() == 2 * bytes { hex() } else { base64() };
    Id::of(&read.filter(|read| read.len() == bytes).unwrap_or_default())
}

pub(super) fn metric(piece: &[u8]) -> Result<Metric<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Data<'a> {
        #[serde(borrow, alias = "data_points")]
        data_points: Pieces<'a>,
        #[serde(borrow, alias = "aggregation_temporality")]
        aggregation_temporality: Scalar<'a>,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Written<'a> {
        #[serde(borrow)]
        name: Name<'a>,
        #[serde(borrow)]
        unit: Name<'a>,
        #[serde(borrow)]
        gauge: Option<Data<'a>>,
        #[serde(borrow)]
        sum: Option<Data<'a>>,
        #[serde(borrow)]
        histogram: Option<Data<'a>>,
        #[serde(borrow, alias = "exponential_histogram")]
        exponential_histogram: Option<Data<'a>>,
        #[serde(borrow)]
        summary: Option<Data<'a>>,
    }
    let written: Written<'_> = read(piece)?;
    let kinds = [
        (Kind::Gauge, written.gauge),
        (Kind::Sum, written.sum),
        (Kind::Histogram, written.histogram),
        (Kind::Powers, written.exponential_histogram),
        (Kind::Other, written.summary),
    ];
    let (kind, data) = kinds.into_iter().find_map(|(kind, data)| Some((kind, data?))).unwrap_or_default();
    let temporality = data.aggregation_temporality.choice();
    Ok(Metric { name: written.name.0, unit: written.unit.0, kind, temporality, points: data.data_points.bytes() })
}

/// A point of a metric of this kind.
pub(super) fn point(kind: Kind, piece: &[u8]) -> Result<Point<'_>, Reason> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Buckets {
        offset: Number,
        #[serde(alias = "bucket_counts")]
        bucket_counts: Numbers,
    }
    #[derive(Default, serde::Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Written<'a> {
        #[serde(borrow, alias = "start_time_unix_nano")]
        start_time_unix_nano: Scalar<'a>,
        #[serde(borrow, alias = "time_unix_nano")]
        time_unix_nano: Scalar<'a>,
        #[serde(borrow)]
        attributes: Attributes<'a>,
        #[serde(alias = "as_double")]
        as_double: Option<Number>,
        #[serde(alias = "as_int")]
        as_int: Option<Number>,
        flags: Number,
        count: Number,
        sum: Option<Number>,
        #[serde(alias = "bucket_counts")]
        bucket_counts: Numbers,
        #[serde(alias = "explicit_bounds")]
        explicit_bounds: Numbers,
        scale: Number,
        #[serde(alias = "zero_count")]
        zero_count: Number,
        positive: Option<Buckets>,
        negative: Option<Buckets>,
    }
    let written: Written<'_> = read(piece)?;
    let positive = written.positive.unwrap_or_default();
    let powers = Powers {
        scale: written.scale.0 as i64,
        zeros: written.zero_count.0,
        offset: positive.offset.0 as i64,
        counts: positive.bucket_counts.0,
        negative: written.negative.unwrap_or_default().bucket_counts.0.iter().any(|count| *count > 0.0),
    };
    Ok(Point {
        start: written.start_time_unix_nano.nanos(),
        time: written.time_unix_nano.nanos(),
        attributes: written.attributes,
        value: written.as_double.or(written.as_int).map(|number| number.0),
        flags: written.flags.0 as u64,
        count: written.count.0,
        sum: written.sum.map(|number| number.0),
        counts: written.bucket_counts.0,
        bounds: written.explicit_bounds.0,
        powers: (kind == Kind::Powers).then_some(powers),
    })
}

/// A list whose members are not read yet. `null` is an empty one.
#[derive(Default, serde::Deserialize)]
#[serde(transparent)]
struct Pieces<'a> {
    #[serde(borrow)]
    pieces: Option<Vec<&'a RawValue>>,
}

impl<'a> Pieces<'a> {
    fn bytes(self) -> Vec<&'a [u8]> {
        self.pieces.unwrap_or_default().into_iter().map(|piece| piece.get().as_bytes()).collect()
    }
}

/// Any JSON value that is no list or object.
#[derive(Clone, Debug, Default, PartialEq)]
enum Scalar<'a> {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Beyond the others.
    Large(u64),
    Double(f64),
    Text(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    fn nanos(&self) -> Nanos {
        Nanos(match self {
            Scalar::Null | Scalar::Bool(_) => 0,
            Scalar::Int(number) => u64::try_from(*number).unwrap_or(0),
            Scalar::Large(number) => *number,
            // A float becomes the nearest integer of the range.
            Scalar::Double(number) => *number as u64,
            Scalar::Text(text) => text.trim().parse().unwrap_or_else(|_| text.trim().parse::<f64>().unwrap_or(0.0) as u64),
        })
    }

    fn number(&self) -> Option<f64> {
        match self {
            Scalar::Null | Scalar::Bool(_) => None,
            Scalar::Int(number) => Some(*number as f64),
            Scalar::Large(number) => Some(*number as f64),
            Scalar::Double(number) => Some(*number),
            // Also "NaN" and "Infinity", which have no other form in JSON.
            Scalar::Text(text) => text.trim().parse().ok(),
        }
    }

    /// The number of an enum's value; 0 if the name says nothing to us.
    fn choice(&self) -> i64 {
        match self {
            Scalar::Text(text) => match text.trim() {
                "SPAN_KIND_CLIENT" => 3,
                "STATUS_CODE_OK" | "AGGREGATION_TEMPORALITY_DELTA" => 1,
                "STATUS_CODE_ERROR" | "AGGREGATION_TEMPORALITY_CUMULATIVE" => 2,
                name if name.starts_with("SEVERITY_NUMBER_ERROR") => 17,
                name if name.starts_with("SEVERITY_NUMBER_FATAL") => 21,
                number => number.parse().unwrap_or(0),
            },
            other => other.number().unwrap_or(0.0) as i64,
        }
    }

    fn value(self) -> Value<'a> {
        match self {
            Scalar::Null => Value::Empty,
            Scalar::Bool(truth) => Value::Bool(truth),
            Scalar::Int(number) => Value::Int(number),
            Scalar::Large(number) => Value::Double(number as f64),
            Scalar::Double(number) => Value::Double(number),
            Scalar::Text(text) => Value::Text(text),
        }
    }
}

struct ScalarVisitor;

impl<'de> Visitor<'de> for ScalarVisitor {
    type Value = Scalar<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }
    fn visit_unit<E: Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }
    fn visit_bool<E: Error>(self, truth: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(truth))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Int(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar<'de>, E> {
        Ok(i64::try_from(number).map_or(Scalar::Large(number), Scalar::Int))
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Double(number))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text.to_owned())))
    }
    fn visit_string<E: Error>(self, text: String) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(text)))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Scalar<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ScalarVisitor)
    }
}

/// A text; `null` and anything else that is none is an empty one.
#[derive(Default)]
struct Name<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Name<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Name(Scalar::deserialize(deserializer)?.value().text().unwrap_or_default()))
    }
}

/// A number, also as text; 0 if it is none.
#[derive(Clone, Copy, Default)]
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Number(Scalar::deserialize(deserializer)?.number().unwrap_or(0.0)))
    }
}

/// A list of numbers; `null` is an empty one.
#[derive(Default)]
struct Numbers(Vec<f64>);

impl<'de> Deserialize<'de> for Numbers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Option::<Vec<Number>>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Numbers(numbers.into_iter().map(|number| number.0).collect()))
    }
}

/// The exceptions among a span's events. `null` is an empty list.
#[derive(Default)]
struct Exceptions<'a>(Vec<SpanEvent<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for Exceptions<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default, rename_all = "camelCase")]
        struct Written<'a> {
            #[serde(borrow, alias = "time_unix_nano")]
            time_unix_nano: Scalar<'a>,
            #[serde(borrow)]
            name: Name<'a>,
            #[serde(borrow)]
            attributes: Attributes<'a>,
        }
        struct ExceptionsVisitor;
        impl<'de> Visitor<'de> for ExceptionsVisitor {
            type Value = Exceptions<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of events")
            }
            fn visit_unit<E: Error>(self) -> Result<Exceptions<'de>, E> {
                Ok(Exceptions::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Exceptions<'de>, A::Error> {
                let mut events = Vec::new();
                while events.len() < EXCEPTIONS_MAX {
                    let Some(written) = seq.next_element::<Written<'de>>()? else { return Ok(Exceptions(events)) };
                    if written.name.0 == "exception" {
                        let time = written.time_unix_nano.nanos();
                        events.push(SpanEvent { time, name: written.name.0, attributes: written.attributes });
                    }
                }
                while seq.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Exceptions(events))
            }
        }
        deserializer.deserialize_any(ExceptionsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Attributes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Written<'a> {
            #[serde(borrow)]
            key: Name<'a>,
            #[serde(borrow)]
            value: Value<'a>,
        }
        struct AttributesVisitor;
        impl<'de> Visitor<'de> for AttributesVisitor {
            type Value = Attributes<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of attributes")
            }
            fn visit_unit<E: Error>(self) -> Result<Attributes<'de>, E> {
                Ok(Attributes::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Attributes<'de>, A::Error> {
                let mut attributes = Attributes::default();
                while let Some(written) = seq.next_element::<Written<'de>>()? {
                    attributes.add(written.key.0, written.value);
                }
                Ok(attributes)
            }
        }
        deserializer.deserialize_any(AttributesVisitor)
    }
}

/// The member that says what kind of value follows.
enum ValueKind {
    Scalar,
    Int,
    Double,
    Map,
    Unknown,
}

impl<'de> Deserialize<'de> for ValueKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KindVisitor;
        impl Visitor<'_> for KindVisitor {
            type Value = ValueKind;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_str<E: Error>(self, name: &str) -> Result<ValueKind, E> {
                Ok(match name {
                    "stringValue" | "string_value" | "boolValue" | "bool_value" => ValueKind::Scalar,
                    "intValue" | "int_value" => ValueKind::Int,
                    "doubleValue" | "double_value" => ValueKind::Double,
                    "kvlistValue" | "kvlist_value" => ValueKind::Map,
                    _ => ValueKind::Unknown,
                })
            }
        }
        deserializer.deserialize_identifier(KindVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Value<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

/// A value is an object with one member, or none; a bare one is understood too.
struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value<'de>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
        #[derive(Default, serde::Deserialize)]
        #[serde(default)]
        struct Mapped<'a> {
            #[serde(borrow)]
            values: Attributes<'a>,
        }
        let mut value = Value::Empty;
        while let Some(kind) = map.next_key::<ValueKind>()? {
            let given = match kind {
                ValueKind::Scalar => map.next_value::<Scalar<'de>>()?.value(),
                ValueKind::Int => match map.next_value::<Scalar<'de>>()? {
                    Scalar::Text(text) => text.trim().parse().map_or(Value::Empty, Value::Int),
                    other => other.value(),
                },
                ValueKind::Double => map.next_value::<Scalar<'de>>()?.number().map_or(Value::Empty, Value::Double),
                ValueKind::Map => map.next_value::<Option<Mapped<'de>>>()?.map_or(Value::Empty, |map| Value::Map(map.values)),
                ValueKind::Unknown => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            value = given;
        }
        Ok(value)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Empty)
    }
    fn visit_unit<E: Error>(self) -> Result<Value<'de>, E> {
        Ok(Value::Empty)
    }
    fn visit_bool<E: Error>(self, truth: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(truth))
    }
    fn visit_i64<E: Error>(self, number: i64) -> Result<Value<'de>, E> {
        Ok(Value::Int(number))
    }
    fn visit_u64<E: Error>(self, number: u64) -> Result<Value<'de>, E> {
        ScalarVisitor.visit_u64(number).map(Scalar::value)
    }
    fn visit_f64<E: Error>(self, number: f64) -> Result<Value<'de>, E> {
        Ok(Value::Double(number))
    }
    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(text)))
    }
    fn visit_str<E: Error>(self, text: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(text.to_owned())))
    }
}
