//! What a free-form rule may ask: the `q.…` queries of CONTRACT 4, as plain calls.
//!
//! The rule language turns texts into metrics, filters and spans, narrows filters to the rule's
//! group, and calls these. Whoever implements this answers from stored aggregates as of one
//! logical time t, which it keeps itself: a window W covers the slices that start in [t - W, t).

use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::filter::Filter;
use super::metric::Metric;
use super::rule::{Labels, RuleSet, Selector, Sli, Slo};
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

/// What a free-form rule is about, as far as its queries tell: the events among which the bad ones are counted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subject {
    pub of: Selector,
    /// Page views that errors are set against, as every error is bad.
    pub per: Option<Selector>,
    pub window: Span,
    /// The budget that it asked for, where it asked for nothing else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetOf>,
}

/// The budget of an SLO and group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetOf {
    pub slo: String,
    /// Its `by` dimensions, or nothing: the overall row.
    pub group: Labels,
}

/// Queries that are remembered of one evaluation.
const NOTED_MAX: usize = 16;

/// How far back is looked for what spent a budget, where a rule names no window.
const BUDGET_WINDOW: Span = Span::DAY;

/// Passes queries on and remembers what they looked at.
pub struct Noting {
    inner: Arc<dyn Measure>,
    rules: Arc<RuleSet>,
    noted: Mutex<Vec<(Selector, Span)>>,
    /// The first budget.
    budget: Mutex<Option<(BudgetOf, Span)>>,
}

impl Noting {
    /// Has noted nothing yet.
    pub fn new(inner: Arc<dyn Measure>, rules: Arc<RuleSet>) -> Noting {
        Noting { inner, rules, noted: Mutex::default(), budget: Mutex::default() }
    }

    fn note(&self, metric: &Metric, filter: &Filter, window: Span) {
        let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.len() < NOTED_MAX {
            noted.push((Selector { metric: metric.clone(), filter: filter.clone() }, window));
        }
    }

    fn note_budget(&self, slo: &str, group: &Labels, window: Option<Span>) {
        let mut noted = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        noted.get_or_insert_with(|| (BudgetOf { slo: slo.to_owned(), group: group.clone() }, window.unwrap_or(BUDGET_WINDOW)));
    }

    /// The events of the SLO whose budget was asked for first.
    fn of_budget(&self) -> Option<Subject> {
        let (budget, window) = self.budget.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let of = first_selector(&self.rules, self.rules.slo(&budget.slo)?, self.rules.slos.len())?;
        Some(Subject { of, per: None, window, budget: Some(budget) })
    }

    /// The first errors that were asked for, else the first events that can be bad, else the first budget; values alone name nobody.
    pub fn subject(&self) -> Option<Subject> {
        self.of_events().or_else(|| self.of_budget())
    }

    fn of_events(&self) -> Option<Subject> {
        let noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
        let error = |metric: &Metric| matches!(metric, Metric::JsError | Metric::Crash);
        if let Some((of, window)) = noted.iter().find(|(of, _)| error(&of.metric)) {
            let views = noted.iter().find(|(of, _)| of.metric == Metric::PageView).map(|(of, _)| of.clone());
            let per = views.unwrap_or_else(|| {
                let mut filter = of.filter.clone();
                filter.0.remove("fingerprint");
                Selector { metric: Metric::PageView, filter }
            });
            return Some(Subject { of: of.clone(), per: Some(per), window: *window, budget: None });
        }
        let outcome = |metric: &Metric| match metric {
            Metric::PageView | Metric::Request | Metric::Session | Metric::Step | Metric::Custom(_) => true,
            Metric::Vital(_) | Metric::Interaction | Metric::JsError | Metric::Crash => false,
        };
        let (of, window) = noted.iter().find(|(of, _)| outcome(&of.metric))?;
        Some(Subject { of: of.clone(), per: None, window: *window, budget: None })
    }
}

/// The first thing that an SLO counts; of a composite its first member's, through at most `depth` of them.
fn first_selector(rules: &RuleSet, slo: &Slo, depth: usize) -> Option<Selector> {
    match &slo.sli {
        Sli::Composite { members, .. } => first_selector(rules, rules.slo(members.first()?)?, depth.checked_sub(1)?),
        Sli::Good(_) | Sli::Within { .. } | Sli::Ratio { .. } | Sli::Slices { .. } | Sli::External { .. } => {
            slo.sli.inputs().into_iter().next().map(|(selector, _)| selector)
        }
    }
}

impl Measure for Noting {
    fn count(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Counted> {
        self.note(metric, filter, window);
        self.inner.count(metric, filter, window)
    }

    fn quantile(&self, metric: &Metric, q: f64, filter: &Filter, window: Span) -> Answer<f64> {
        self.note(metric, filter, window);
        self.inner.quantile(metric, q, filter, window)
    }

    fn users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64> {
        self.note(metric, filter, window);
        self.inner.users(metric, filter, window)
    }

    fn bad_users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64> {
        self.note(metric, filter, window);
        self.inner.bad_users(metric, filter, window)
    }

    fn baseline(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Baseline> {
        self.note(metric, filter, window);
        self.inner.baseline(metric, filter, window)
    }

    fn top(&self, metric: &Metric, dimension: &str, filter: &Filter, window: Span) -> Answer<Vec<Top>> {
        self.note(metric, filter, window);
        self.inner.top(metric, dimension, filter, window)
    }

    fn burn(&self, slo: &str, group: &Labels, window: Span) -> Answer<f64> {
        self.inner.burn(slo, group, window)
    }

    fn budget(&self, slo: &str, group: &Labels) -> Answer<f64> {
        self.note_budget(slo, group, None);
        self.inner.budget(slo, group)
    }

    fn consumed(&self, slo: &str, group: &Labels, window: Option<Span>) -> Answer<f64> {
        self.note_budget(slo, group, window);
        self.inner.consumed(slo, group, window)
    }

    fn exhausted_within(&self, slo: &str, group: &Labels, within: Span, window: Option<Span>) -> Answer<bool> {
        self.note_budget(slo, group, window);
        self.inner.exhausted_within(slo, group, within, window)
    }

    fn changes(&self, filter: &Filter, window: Span) -> Answer<Vec<Change>> {
        self.inner.changes(filter, window)
    }
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

    /// The share of an SLO's whole budget that went: over its window, or within `window` before now.
    fn consumed(&self, slo: &str, group: &Labels, window: Option<Span>) -> Answer<f64>;

    /// Whether the budget is gone after `within` at the latest, at the burn of its own window or of `window`.
    fn exhausted_within(&self, slo: &str, group: &Labels, within: Span, window: Option<Span>) -> Answer<bool>;

    /// Annotations of the window, newest first. `filter` may name `kind`, `app` and `release`; none found is an empty list.
    fn changes(&self, filter: &Filter, window: Span) -> Answer<Vec<Change>>;
}
