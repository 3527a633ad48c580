//! Questions to stored history: the `q.…` queries of free-form rules.
//!
//! What an app sent nothing of is *unknown*; what it sent something of, but nothing that a filter selects,
//! is a measured zero: an order funnel that stops counts as stopped, an app that is silent does not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, PoisonError, RwLock};

use super::archive::{Archive, Ask, read_span};
use super::burn;
use super::cell::{Cell, Counts};
use super::evaluate::{Evaluator, could_match};
use super::filter::{Filter, Match};
use super::measure::{self, Answer, Baseline, Counted, Measure, Top, Unanswered};
use super::metric::Metric;
use super::rule::{Labels, MaintenanceBudget, RuleSet, Sli, Slo, SloWindow};
use super::sketch::Sketch;
use super::time::{Span, Timestamp};
use super::users::Users;
use super::window::events;

/// Weeks that a baseline looks back, and how many of them it needs (SEMANTICS 18).
const WEEKS: i64 = 4;
const PAST_MIN: usize = 3;
/// Values of a dimension that are told apart, and those that are given.
const VALUES_MAX: usize = 100_000;
const TOP_MAX: usize = 100;

/// Time that says nothing about what is usual: an incident, or maintenance that is excluded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// The app that it is about; `None`: any.
    pub app: Option<String>,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl LeftOut {
    /// Whether it touches a span of what a filter selects.
    pub fn touches(&self, filter: &Filter, from: Timestamp, to: Timestamp) -> bool {
        let same_app = self.app.as_deref().is_none_or(|app| filter.get("app").is_none_or(|apps| apps.accepts(app)));
        same_app && self.from < to && from < self.to
    }
}

/// The times that maintenance takes out of budgets, for the apps of the SLOs that it is about.
pub fn exclusions(rules: &RuleSet, from: Timestamp, to: Timestamp) -> Vec<LeftOut> {
    let mut out = Vec::new();
    for maintenance in rules.maintenances.iter().filter(|maintenance| maintenance.budget == MaintenanceBudget::Exclude) {
        let slos = rules.slos.iter().filter(|slo| could_match(maintenance, slo));
        let app = |slo: &Slo| slo.sli.inputs().first().and_then(|(selector, _)| selector.filter.equal("app").map(str::to_owned));
        let apps: BTreeSet<Option<String>> = slos.map(app).collect();
        for (from, to) in maintenance.intervals(from, to) {
            out.extend(apps.iter().map(|app| LeftOut { app: app.clone(), from, to }));
        }
    }
    out
}

/// The windows that an evaluator keeps anyway.
pub trait Budgets: Send + Sync {
    /// Sums of one window of an SLO's group (`None`: its budget's window); `None` if it is not kept.
    fn window(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<Counts>;

    /// The burn of a composite's group over a window of its tiers (`None`: its budget's window).
    fn combined_burn(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<f64>;

    /// The share of its whole budget that a composite's group spent within a window that is kept.
    fn combined_spent(&self, slo: &str, group: &Labels, window: Span) -> Option<f64>;
}

impl Budgets for Evaluator {
    fn window(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<Counts> {
        Evaluator::window(self, slo, group, window)
    }

    fn combined_burn(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<f64> {
        Evaluator::combined_burn(self, slo, group, window)
    }

    fn combined_spent(&self, slo: &str, group: &Labels, window: Span) -> Option<f64> {
        self.combined_spent_within(slo, group, window)
    }
}

impl<B: Budgets> Budgets for RwLock<B> {
    fn window(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<Counts> {
        self.read().unwrap_or_else(PoisonError::into_inner).window(slo, group, window)
    }

    fn combined_burn(&self, slo: &str, group: &Labels, window: Option<Span>) -> Option<f64> {
        self.read().unwrap_or_else(PoisonError::into_inner).combined_burn(slo, group, window)
    }

    fn combined_spent(&self, slo: &str, group: &Labels, window: Span) -> Option<f64> {
        self.read().unwrap_or_else(PoisonError::into_inner).combined_spent(slo, group, window)
    }
}

/// Answers the queries of one evaluation, as of `now`.
#[derive(Clone)]
pub struct Lookup {
    pub archive: Arc<dyn Archive>,
    pub budgets: Arc<dyn Budgets>,
    pub rules: Arc<RuleSet>,
    /// The logical time of the evaluation.
    pub now: Timestamp,
    pub bucket: Span,
    /// Not part of any baseline.
    pub left_out: Arc<[LeftOut]>,
}

impl Lookup {
    fn ask<'a>(&self, metric: &'a Metric, filter: &'a Filter, window: Span, detail: bool) -> Ask<'a> {
        Ask { metric, filter, from: self.now - window, to: self.now, step: self.bucket, detail }
    }

    /// Reads a window; nothing measured in it is no answer.
    fn read(&self, ask: &Ask<'_>, visit: &mut dyn FnMut(&super::series::Series, &Cell)) -> Answer<()> {
        let mut any = false;
        let mut visit = |series: &super::series::Series, _: Timestamp, cell: &Cell| {
            any = true;
            visit(series, cell);
        };
        read_span(&*self.archive, ask, &mut visit).map_err(Unanswered::Failed)?;
        if any || self.measured(ask.filter, ask.from, ask.to)? {
            return Ok(());
        }
        Err(nothing(ask.metric, ask.to - ask.from))
    }

    fn measured(&self, filter: &Filter, from: Timestamp, to: Timestamp) -> Answer<bool> {
        self.archive.measured(filter.get("app"), from, to).map_err(Unanswered::Failed)
    }

    /// The total of one past window, unless it was not measured or does not count as usual.
    fn past(&self, metric: &Metric, filter: &Filter, from: Timestamp, to: Timestamp) -> Answer<Option<f64>> {
        if self.left_out.iter().any(|out| out.touches(filter, from, to)) {
            return Ok(None);
        }
        // History that begins or breaks off within the window would look like little traffic.
        let middle = (from + Span((to - from).0 / 2)).ceil(self.bucket);
        let halves = if middle < to { [(from, middle), (middle, to)] } else { [(from, to); 2] };
        for (from, to) in halves {
            if !self.measured(filter, from, to)? {
                return Ok(None);
            }
        }
        let mut total = 0;
        let ask = Ask { metric, filter, from, to, step: self.bucket, detail: false };
        read_span(&*self.archive, &ask, &mut |_, _, cell| total += cell.counts.total).map_err(Unanswered::Failed)?;
        Ok(Some(events(total)))
    }

    fn distinct(&self, metric: &Metric, filter: &Filter, window: Span, of: fn(&Cell) -> &Users) -> Answer<f64> {
        let mut users = Users::default();
        self.read(&self.ask(metric, filter, window, true), &mut |_, cell| users.merge(of(cell)))?;
        Ok(users.estimate() as f64)
    }

    /// A window of an SLO's group that the evaluator keeps because a rule asks for it.
    fn kept(&self, slo: &Slo, group: &Labels, window: Span) -> Answer<Counts> {
        if let Some(counts) = self.budgets.window(&slo.name, group, Some(window)) {
            return Ok(counts);
        }
        // A group that never had an event has no windows at all.
        if self.budgets.window(&slo.name, group, None).is_none() {
            return Ok(Counts::ZERO);
        }
        // Only a window that the dry run did not see: one that is computed from what a rule finds.
        Err(Unanswered::Failed(format!("{window} of SLO `{}` is not kept; write the window as a text", slo.name)))
    }

    fn slo(&self, name: &str) -> Answer<&Slo> {
        self.rules.slo(name).ok_or_else(|| Unanswered::Failed(format!("there is no SLO `{name}`")))
    }
}

/// A window, unless it is the SLO's own.
fn shorter(slo: &Slo, window: Option<Span>) -> Option<Span> {
    window.filter(|window| slo.window != SloWindow::Rolling(*window))
}

fn nothing(metric: &Metric, window: Span) -> Unanswered {
    Unanswered::NoData(format!("nothing of {metric} was measured within {window}"))
}

impl Measure for Lookup {
    fn count(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Counted> {
        let mut sum = Counts::ZERO;
        self.read(&self.ask(metric, filter, window, false), &mut |_, cell| sum += cell.counts)?;
        Ok(counted(sum))
    }

    fn quantile(&self, metric: &Metric, q: f64, filter: &Filter, window: Span) -> Answer<f64> {
        let mut sketch = Sketch::default();
        self.read(&self.ask(metric, filter, window, true), &mut |_, cell| sketch.merge(&cell.sketch))?;
        sketch.quantile(q).ok_or_else(|| Unanswered::NoData(format!("no values of {metric} within {window}")))
    }

    fn users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64> {
        self.distinct(metric, filter, window, |cell| &cell.users)
    }

    fn bad_users(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<f64> {
        self.distinct(metric, filter, window, |cell| &cell.bad_users)
    }

    fn baseline(&self, metric: &Metric, filter: &Filter, window: Span) -> Answer<Baseline> {
        let current = self.count(metric, filter, window)?.total;
        let mut past = Vec::new();
        for week in 1..=WEEKS {
            let to = self.now - Span::days(7 * week);
            past.extend(self.past(metric, filter, to - window, to)?);
        }
        if past.len() < PAST_MIN {
            return Err(Unanswered::NoData(format!(
                "only {} of the last {WEEKS} weeks are known at this time, {PAST_MIN} are needed",
                past.len()
            )));
        }
        Ok(usual(current, &past))
    }

    fn top(&self, metric: &Metric, dimension: &str, filter: &Filter, window: Span) -> Answer<Vec<Top>> {
        let mut values: BTreeMap<String, Counts> = BTreeMap::new();
        let mut whole = Counts::ZERO;
        self.read(&self.ask(metric, filter, window, false), &mut |series, cell| {
            whole += cell.counts;
            let value = series.get(dimension);
            if let Some(sum) = values.get_mut(value) {
                *sum += cell.counts;
            } else if values.len() < VALUES_MAX {
                values.insert(value.to_owned(), cell.counts);
            }
        })?;
        let mut top: Vec<(String, Counts)> = values.into_iter().filter(|(_, sum)| !sum.is_zero()).collect();
        // Sorted by value before, so equal totals keep that order.
        top.sort_by_key(|(_, sum)| std::cmp::Reverse(sum.total));
        top.truncate(TOP_MAX);
        let share = |sum: &Counts| if whole.total > 0 { sum.total as f64 / whole.total as f64 } else { 0.0 };
        Ok(top.into_iter().map(|(value, sum)| Top { value, share: share(&sum), counted: counted(sum) }).collect())
    }

    fn burn(&self, slo: &str, group: &Labels, window: Span) -> Answer<f64> {
        let slo = self.slo(slo)?;
        let kept = shorter(slo, Some(window));
        if let Sli::Composite { .. } = slo.sli {
            let burn = self.budgets.combined_burn(&slo.name, group, kept);
            return burn.ok_or_else(|| Unanswered::NoData(format!("no events of `{}` within {window}", slo.name)));
        }
        let counts = match self.budgets.window(&slo.name, group, kept) {
            Some(counts) => counts,
            None => sli_counts(&*self.archive, &slo.sli, group, self.now - window, self.now, self.bucket)?,
        };
        burn::burn(counts, slo.budget_ppm).ok_or_else(|| Unanswered::NoData(format!("no events of SLO `{}` within {window}", slo.name)))
    }

    fn budget(&self, slo: &str, group: &Labels) -> Answer<f64> {
        let slo = self.slo(slo)?;
        if let Sli::Composite { .. } = slo.sli {
            let burn = self.budgets.combined_burn(&slo.name, group, None);
            return burn.map(|burn| 1.0 - burn).ok_or_else(|| Unanswered::NoData(format!("no events of `{}` in its window", slo.name)));
        }
        let counts = self.budgets.window(&slo.name, group, None).unwrap_or(Counts::ZERO);
        burn::budget(counts, slo.budget_ppm, slo.window.nominal())
            .map(|budget| budget.remaining)
            .ok_or_else(|| Unanswered::NoData(format!("no events of SLO `{}` in its window", slo.name)))
    }

    fn consumed(&self, slo: &str, group: &Labels, window: Option<Span>) -> Answer<f64> {
        let slo = self.slo(slo)?;
        let window = shorter(slo, window);
        let unmeasured = || Unanswered::NoData(format!("no events of `{}` in its window", slo.name));
        if let Sli::Composite { .. } = slo.sli {
            let share = match window {
                None => self.budgets.combined_burn(&slo.name, group, None),
                Some(window) => self.budgets.combined_spent(&slo.name, group, window),
            };
            return share.ok_or_else(unmeasured);
        }
        let whole = self.budgets.window(&slo.name, group, None).unwrap_or(Counts::ZERO);
        let spent = match window {
            None => whole,
            Some(window) => self.kept(slo, group, window)?,
        };
        // What lies before a calendar period's start was spent of the budget before.
        burn::consumed(spent.bad.min(whole.bad), whole, slo.budget_ppm).ok_or_else(unmeasured)
    }

    fn exhausted_within(&self, slo: &str, group: &Labels, within: Span, window: Option<Span>) -> Answer<bool> {
        let slo = self.slo(slo)?;
        let window = shorter(slo, window);
        let unmeasured = || Unanswered::NoData(format!("no events of `{}` in its windows", slo.name));
        let period = slo.window.nominal();
        if let Sli::Composite { .. } = slo.sli {
            let burn = |window| self.budgets.combined_burn(&slo.name, group, window).ok_or_else(unmeasured);
            let state = burn::forecast(1.0 - burn(None)?, burn(window)?, period);
            return Ok(state.remaining <= 0.0 || state.countdown_secs.is_some_and(|left| left <= within.as_secs_f64()));
        }
        let whole = self.budgets.window(&slo.name, group, None).unwrap_or(Counts::ZERO);
        let recent = match window {
            None => whole,
            Some(window) => self.kept(slo, group, window)?,
        };
        burn::exhausted_within(whole, recent, slo.budget_ppm, period, within).ok_or_else(unmeasured)
    }

    fn changes(&self, filter: &Filter, window: Span) -> Answer<Vec<measure::Change>> {
        let found = self.archive.changes(self.now - window, self.now, filter.equal("app")).map_err(Unanswered::Failed)?;
        let accepts = |name: &str, value: &str| filter.get(name).is_none_or(|condition| condition.accepts(value));
        let release = |change: &super::notification::Change| change.release.clone().unwrap_or_default();
        let wanted = found
            .into_iter()
            .rev()
            .filter(|change| accepts("kind", change.kind.name()) && accepts("app", &change.app) && accepts("release", &release(change)));
        let as_asked = |change: super::notification::Change| measure::Change {
            kind: change.kind.name().to_owned(),
            at: change.at,
            age: self.now - change.at,
            release: release(&change),
            text: change.text.unwrap_or_default(),
            app: change.app,
        };
        Ok(wanted.map(as_asked).collect())
    }
}

fn counted(sum: Counts) -> Counted {
    Counted { total: events(sum.total), bad: events(sum.bad), raw: sum.raw as f64 }
}

/// Median, MAD, and how far `current` is from the median (SEMANTICS 18). `past` is not empty.
fn usual(current: f64, past: &[f64]) -> Baseline {
    let middle = median(past);
    let mad = median(&past.iter().map(|value| (value - middle).abs()).collect::<Vec<_>>());
    let scale = (1.4826 * mad).max(0.05 * middle).max(1.0);
    Baseline { median: middle, mad, z: (current - middle) / scale }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[half] } else { (sorted[half - 1] + sorted[half]) / 2.0 }
}

/// The sums of an SLI over a span, from stored history: for windows that no evaluator keeps.
fn sli_counts(archive: &dyn Archive, sli: &Sli, group: &Labels, from: Timestamp, to: Timestamp, bucket: Span) -> Answer<Counts> {
    let read = |metric: &Metric, filter: &Filter, detail: bool, of: &dyn Fn(&Cell) -> Counts| {
        let filter = narrowed(filter, group);
        let mut sum = Counts::ZERO;
        let ask = Ask { metric, filter: &filter, from, to, step: bucket, detail };
        read_span(archive, &ask, &mut |_, _, cell| sum += of(cell)).map_err(Unanswered::Failed)?;
        Ok(sum)
    };
    match sli {
        Sli::Good(selector) => read(&selector.metric, &selector.filter, false, &|cell| cell.counts),
        Sli::Within { metric, limit, filter } => read(metric, filter, true, &|cell| cell.against(*limit)),
        Sli::Ratio { good, total } => {
            let mut sum = read(&total.metric, &total.filter, false, &|cell| cell.counts)?;
            let good = read(&good.metric, &good.filter, false, &|cell| cell.counts)?;
            sum.bad = (sum.total - good.total).max(0);
            sum.raw_bad = (sum.raw - good.raw).max(0);
            Ok(sum)
        }
        Sli::Slices { .. } | Sli::Composite { .. } | Sli::External { .. } => {
            Err(Unanswered::Failed("`burn` of such an SLO looks at most 7 days back".into()))
        }
    }
}

/// A filter that also asks for the group's values.
pub fn narrowed(filter: &Filter, group: &Labels) -> Filter {
    let mut filter = filter.clone();
    for (name, value) in group {
        let accepted = filter.get(name).is_none_or(|condition| condition.accepts(value));
        filter.0.insert(name.clone(), if accepted { Match::Equal(value.clone()) } else { Match::AnyOf(Vec::new()) });
    }
    filter
}

#[cfg(test)]
#[path = "lookup_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "budget_alert_tests.rs"]
mod budget_tests;
