//! What the two encodings of OTLP have in common: resources, scopes, and the records in them.
//!
//! Only what is counted has a place here; all other fields are skipped by both readers.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The most exceptions of one span that count.
pub(super) const EXCEPTIONS_MAX: usize = 16;

/// A resource with its scopes, or a scope with its records.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Group<'a> {
    /// Of a resource.
    pub attributes: Attributes<'a>,
    /// Of a scope: the library that made the records.
    pub name: Cow<'a, str>,
    pub version: Cow<'a, str>,
    /// In the order of the request, not yet read.
    pub members: Vec<&'a [u8]>,
}

/// The value of an attribute, or the body of a log.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Value<'a> {
    /// Absent, bytes, a list, or nested deeper than anybody means it.
    #[default]
    Empty,
    Text(Cow<'a, str>),
    Bool(bool),
    Int(i64),
    Double(f64),
    Map(Attributes<'a>),
}

impl<'a> Value<'a> {
    /// A text, number or truth value as text; nothing for all others and for an empty text.
    pub fn text(&self) -> Option<Cow<'a, str>> {
        match self {
            Value::Text(text) => Some(text.clone()).filter(|text| !text.is_empty()),
            Value::Bool(truth) => Some(Cow::Borrowed(if *truth { "true" } else { "false" })),
            Value::Int(number) => Some(Cow::Owned(number.to_string())),
            Value::Double(number) => Some(Cow::Owned(number.to_string())),
            Value::Empty | Value::Map(_) => None,
        }
    }

    /// A number, also one that is written as text.
    pub fn number(&self) -> Option<f64> {
        match self {
            Value::Int(number) => Some(*number as f64),
            Value::Double(number) => Some(*number),
            Value::Text(text) => text.trim().parse().ok(),
            Value::Empty | Value::Bool(_) | Value::Map(_) => None,
        }
    }

    /// A truth value, also one that is written as text.
    pub fn truth(&self) -> Option<bool> {
        match self {
            Value::Bool(truth) => Some(*truth),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            Value::Empty | Value::Text(_) | Value::Int(_) | Value::Double(_) | Value::Map(_) => None,
        }
    }
}

/// Names and values in the order of the request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Attributes<'a>(pub Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Attributes<'a> {
    /// Adds one, unless name or value are empty.
    pub fn add(&mut self, name: Cow<'a, str>, value: Value<'a>) {
        if !name.is_empty() && value != Value::Empty {
            self.0.push((name, value));
        }
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

/// Nanoseconds since 1970 as the client's clock has them; 0 is not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Nanos(pub u64);

impl Nanos {
    /// In milliseconds, if it is known.
    pub fn millis(self) -> Option<f64> {
        (self.0 > 0).then_some(self.0 as f64 / 1e6)
    }

    /// The milliseconds from `earlier` on, negative if that is later; nothing unless both are known.
    pub fn millis_since(self, earlier: Nanos) -> Option<f64> {
        let difference = i128::from(self.0) - i128::from(earlier.0);
        (self.0 > 0 && earlier.0 > 0).then_some(difference as f64 / 1e6)
    }

    /// The other one where this one is not known.
    pub fn or(self, other: Nanos) -> Nanos {
        if self.0 > 0 { self } else { other }
    }
}

/// The bytes of a trace or span id; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Id(pub SmallVec<[u8; 16]>);

impl Id {
    /// All zeros are no id, nor is anything longer than an id.
    pub fn of(bytes: &[u8]) -> Id {
        let fine = bytes.len() <= 16 && bytes.iter().any(|byte| *byte != 0);
        Id(SmallVec::from_slice(if fine { bytes } else { &[] }))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct LogRecord<'a> {
    pub time: Nanos,
    pub observed: Nanos,
    /// 17 and above are errors.
    pub severity: i64,
    pub event_name: Cow<'a, str>,
    pub body: Value<'a>,
    pub attributes: Attributes<'a>,
}

#[derive(Debug, Default, PartialEq)]
pub(super) struct Span<'a> {
    pub trace_id: Id,
    pub span_id: Id,
    pub name: Cow<'a, str>,
    /// [`CLIENT`] for requests.
    pub kind: i64,
    pub start: Nanos,
    pub end: Nanos,
    pub attributes: Attributes<'a>,
    /// Its events of that name; others say nothing of success.
    pub exceptions: Vec<SpanEvent<'a>>,
    /// 0 unset, 1 ok, [`FAILED`].
    pub status: i64,
}

/// The kind of a span of whoever asks.
pub(super) const CLIENT: i64 = 3;
/// The status of a span that failed, and of one that did not.
pub(super) const FAILED: i64 = 2;
pub(super) const OK: i64 = 1;

#[derive(Debug, Default, PartialEq)]
pub(super) struct SpanEvent<'a> {
    pub time: Nanos,
    pub name: Cow<'a, str>,
    pub attributes: Attributes<'a>,
}

/// One metric with its points, which are not yet read.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metric<'a> {
    pub name: Cow<'a, str>,
    pub unit: Cow<'a, str>,
    pub kind: Kind,
    /// [`DELTA`] or [`CUMULATIVE`].
    pub temporality: i64,
    pub points: Vec<&'a [u8]>,
}

/// How a metric is summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    /// A summary, whose quantiles nobody can add up, or a kind that is not known.
    #[default]
    Other,
    Gauge,
    Sum,
    Histogram,
    /// A histogram whose bounds are powers.
    Powers,
}

pub(super) const DELTA: i64 = 1;
pub(super) const CUMULATIVE: i64 = 2;

/// One point of any kind of metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Point<'a> {
    pub start: Nanos,
    pub time: Nanos,
    pub attributes: Attributes<'a>,
    /// Of a gauge or sum.
    pub value: Option<f64>,
    /// Bit 0: nothing was recorded.
    pub flags: u64,
    /// Of a histogram, as are all that follow.
    pub count: f64,
    pub sum: Option<f64>,
    /// One more than bounds, or none.
    pub counts: Vec<f64>,
    pub bounds: Vec<f64>,
    /// Of a histogram whose bounds are powers.
    pub powers: Option<Powers>,
}

/// Buckets between powers of 2^(2^-scale).
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Powers {
    pub scale: i64,
    pub zeros: f64,
    /// The first bucket is above the base to this power.
    pub offset: i64,
    pub counts: Vec<f64>,
    /// Whether there are values below zero, which nothing that we count has.
    pub negative: bool,
}
