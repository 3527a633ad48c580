//! What pages and `POST /v1/query` ask of stored history.
//!
//! The daemon implements [`Query`] over chunks, rollups and partials; tests hand in a fixed one.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::domain::cell::Limit;
use crate::domain::filter::Filter;
use crate::domain::metric::Metric;
use crate::domain::rule::Labels;
use crate::domain::time::{Span, Timestamp};

/// An answer that is on its way.
pub type Later<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A question over stored history, already checked and bounded.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub metric: Metric,
    pub filter: Filter,
    /// `[from, to)`.
    pub from: Timestamp,
    pub to: Timestamp,
    /// `None`: one point for the whole span.
    pub step: Option<Span>,
    /// One series of points per combination of these dimensions' values.
    pub by: Vec<String>,
    /// Each in 0 ..= 1.
    pub quantiles: Vec<f64>,
    /// Bad are the values that do not meet this limit, as an objective counts them; without one, bad events.
    pub limit: Option<Limit>,
}

/// What came of an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Answer {
    pub series: Vec<Line>,
}

/// One group's points, in order of time. A step that was not measured has no point.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Line {
    pub labels: Labels,
    pub points: Vec<Point>,
}

/// One step of one group.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Point {
    pub at: Timestamp,
    pub total: f64,
    pub bad: f64,
    pub raw: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_users: Option<u64>,
    /// By the quantile as it was asked: `"0.95"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantiles: Option<BTreeMap<String, f64>>,
}

/// A question for the good and bad of one SLO and group, as its windows count them.
#[derive(Clone, Debug, PartialEq)]
pub struct AskSlo {
    pub slo: String,
    pub group: Labels,
    pub from: Timestamp,
    pub to: Timestamp,
    pub step: Span,
}

/// One step of an SLO. There is one for every step of the span, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SloPoint {
    pub at: Timestamp,
    /// Total and bad, weighted; `None` where nothing was measured.
    pub counts: Option<(f64, f64)>,
    /// Whether the step is not yet complete.
    pub partial: bool,
}

/// A question for traces of what went bad.
#[derive(Clone, Debug, PartialEq)]
pub struct AskTraces {
    pub metric: Metric,
    pub filter: Filter,
    /// `[from, to)`.
    pub from: Timestamp,
    pub to: Timestamp,
    /// What is told of the series of each.
    pub by: Vec<String>,
}

/// A trace, with the values of the dimensions that were asked for.
pub type Traced = (Vec<String>, String);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The question is at fault: unknown dimension, unknown SLO, too much at once.
    #[error("{0}")]
    Refused(String),
    #[error("the store did not answer")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Reads stored history. Answers are bounded by the implementation in work, by callers in size.
pub trait Query: Send + Sync {
    /// Sums, users and quantiles per step and group.
    fn ask(&self, ask: Ask) -> Later<Result<Answer, QueryError>>;

    /// Good and bad of an SLO per step: one point for each step of `[from, to)`.
    fn slo(&self, ask: AskSlo) -> Later<Result<Vec<SloPoint>, QueryError>>;

    /// Traces of bad events, the newest first.
    fn traces(&self, ask: AskTraces) -> Later<Result<Vec<Traced>, QueryError>>;
}
