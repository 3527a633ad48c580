//! What a free-form rule may ask: the `q.…` queries of CONTRACT 4, as plain calls.
//!
//! The rule language turns texts into metrics, filters and spans, narrows filters to the rule's
//! group, and calls these. Whoever implements this answers from stored aggregates as of one
//! logical time t, which it keeps itself: a window W covers the slices that start in [t - W, t).

use super::filter::Filter;
use super::metric::Metric;
use super::rule::Labels;
use super::time::{Span, Timestamp};

/// Why there is no number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unanswered {
    /// Nothing was measured: the rule becomes *unknown*. The text says what was missing.
    NoData(String),
    /// The question could not be answered (unknown SLO, failing store): the rule is in error.
    Failed(String),
}

/// The answer to a query.
pub type Answer<T> = Result<T, Unanswered>;

/// Sums over a window, weighted (in events) but for `raw`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counted {
    pub total: f64,
    pub bad: f64,
    /// How many events were really received.
    pub raw: f64,
}

/// What is usual at this time of the week (SEMANTICS 18).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Baseline {
    pub median: f64,
    pub mad: f64,
    /// How far the current total is from the median, in scales.
    pub z: f64,
}

/// One value of a dimension and what was counted for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Top {
    pub value: String,
    pub counted: Counted,
    /// Share of the total over all values.
    pub share: f64,
}

/// A deploy, a flag flip, or another annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub kind: String,
    pub at: Timestamp,
    /// Logical time minus `at`.
    pub age: Span,
    pub app: String,
    pub release: String,
    pub text: String,
}

/// Answers the queries of one evaluation. Filters are complete: the group is already in them.
pub trait Measure: Send + Sync {
    /// Sums of one metric; `NoData` where nothing was counted at all.
    fn count(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Counted>;

    /// The value below which the share `q` (0 to 1) of the values lies.
    fn quantile(&self, metric: &Metric, q: f64, filter: &Filter, window: Span) -> Answer<f64>;

    /// Distinct users of all events.
    fn users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64>;

    /// Distinct users with a bad event.
    fn bad_users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64>;

    /// The total at the same time of the last four weeks; fewer than three past values are `NoData`.
    fn baseline(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Baseline>;

    /// The values of a dimension by total, greatest first, at most 100.
    fn top(&self, metric: &Metric, dimension: &str, filter: &Filter, window: Span) -> Answer<Vec<Top>>;

    /// Burn rate of an SLO. `group` holds exactly the SLO's `by` dimensions, or nothing: the overall row.
    fn burn(&self, slo: &str, group: &Labels, window: Span) -> Answer<f64>;

    /// Remaining budget of an SLO as a fraction, signed; `group` as in [`Measure::burn`].
    fn budget(&self, slo: &str, group: &Labels) -> Answer<f64>;

    /// Annotations of the window, newest first. `filter` may name `kind`, `app` and `release`; none found is an empty list.
    fn changes(&self, filter: &Filter, window: Span) -> Answer<Vec<Change>>;
}
