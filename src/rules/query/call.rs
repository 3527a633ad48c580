//! One call of a query: its arguments, read with their places.
//!
//! A slip at an evaluation ends the run. A dry run notes all slips of a call where they stand, puts something sound in
//! their place and goes on, so that one `check` shows the slips of every call.

use std::sync::{Arc, LazyLock};

use rhai::{Dynamic, NativeCallContext, Position};

use super::super::engine::{Outcome, describe};
use super::super::problem::{Problems, hint, list};
use super::super::shape::Shapes;
use super::super::sli::{self, has_dimension, is_dimension, no_dimension, unknown_dimension};
use super::super::source::place;
use super::super::value::Value;
use super::{CHANGE_KEYS, Known, Query};
use crate::domain::filter::{Filter, Match};
use crate::domain::measure::{BudgetOf, Measure};
use crate::domain::metric::Metric;
use crate::domain::rule::{Labels, SloWindow};
use crate::domain::time::Span;
use crate::domain::window::EXACT_MAX;

/// At an evaluation nobody needs the places of arguments.
static NOWHERE: LazyLock<Arc<Shapes>> = LazyLock::new(Arc::default);

pub(super) struct Call<'q> {
    name: &'static str,
    q: &'q Query,
    args: Vec<Dynamic>,
    path: String,
    position: Position,
    shapes: Arc<Shapes>,
    problems: Problems,
    /// Something was put in the place of an argument that was reported before.
    replaced: bool,
}

impl<'q> Call<'q> {
    pub(super) fn new(name: &'static str, q: &'q Query, ctx: &NativeCallContext<'_>, args: Vec<Dynamic>) -> Call<'q> {
        let (mut path, mut shapes) = (String::new(), None);
        if q.asked.is_some() {
            let source = ctx.call_source().filter(|source| source.ends_with(".rhai"));
            path = source.unwrap_or(&q.path).to_owned();
            shapes = q.around.shapes.get(&path).cloned();
        }
        let shapes = shapes.unwrap_or_else(|| NOWHERE.clone());
        Call { name, q, args, path, position: ctx.call_position(), shapes, problems: Problems::default(), replaced: false }
    }

    /// Whom to ask, once all arguments are read: nobody if one of them is wrong.
    pub(super) fn measure(&self) -> Outcome<&'q dyn Measure> {
        if self.q.asked.is_none()
            && let Some(slip) = self.slip()
        {
            return Err(slip.into());
        }
        Ok(&*self.q.measure)
    }

    /// There are too few or too many arguments.
    pub(super) fn misfit(&mut self) -> Outcome<()> {
        let usage = super::usage(self.name).unwrap_or_default();
        if self.q.asked.is_none() {
            return Err(usage.into());
        }
        self.problems.error(&place(&self.path, self.position), usage);
        Ok(())
    }

    fn slip(&self) -> Option<String> {
        self.problems.first_error().or_else(|| self.replaced.then(|| "a query was given what could not be made".to_owned()))
    }

    /// Hands over what is wrong.
    pub(super) fn end(self) {
        self.q.note(|asked| asked.slips.extend(self.problems.into_sorted()));
    }

    fn arg(&self, index: usize, name: &str) -> Value {
        let it = self.args.get(index).cloned().unwrap_or_default();
        Value::argument(it, name, &self.path, self.position, index, &self.shapes)
    }

    /// What was read, or something sound.
    fn or<T>(&mut self, read: Option<T>, sound: impl FnOnce() -> T) -> T {
        read.unwrap_or_else(|| {
            self.replaced = true;
            sound()
        })
    }

    /// Metric, `where` and window, the metric at `first` and the others right behind it.
    pub(super) fn events(&mut self, first: usize) -> (Metric, Filter, Span) {
        self.events_and(first, first + 1)
    }

    /// The metric at `first`; window or `where` and window from `next` on.
    pub(super) fn events_and(&mut self, first: usize, next: usize) -> (Metric, Filter, Span) {
        let metric = sli::metric(&self.arg(first, "the metric"), &mut self.problems);
        let last = self.args.len() - 1;
        let filter = if next < last { self.filter(next, metric.as_ref()) } else { Filter::default() };
        let window = self.window(last);
        let metric = self.or(metric, || Metric::Request);
        (metric.clone(), self.narrowed(&metric, filter), window)
    }

    fn filter(&mut self, index: usize, metric: Option<&Metric>) -> Filter {
        let around = Arc::clone(&self.q.around);
        self.conditions(index, &|name| match metric {
            Some(metric) if !has_dimension(metric, name, &around.dimensions) => Err(no_dimension(metric, name, &around.dimensions)),
            // A metric that could not be read is no reason to keep a second slip for later.
            None if !is_dimension(name, &around.dimensions) => Err(unknown_dimension(name, &around.dimensions)),
            Some(_) | None => Ok(()),
        })
    }

    /// A `where` whose keys pass `known`.
    fn conditions(&mut self, index: usize, known: &dyn Fn(&str) -> Result<(), String>) -> Filter {
        let value = self.arg(index, "`where`");
        let mut filter = Filter::default();
        let entries = value.entries(&mut self.problems);
        for (name, (at, value)) in self.or(entries, Default::default) {
            if let Err(unknown) = known(&name) {
                self.problems.error(&at, unknown);
            } else if let Some(condition) = self.condition(&value) {
                filter.0.insert(name, condition);
            }
        }
        let clean = !self.problems.has_errors();
        self.q.note(|asked| asked.filters.extend(clean.then(|| filter.clone())));
        filter
    }

    /// One condition. What a list holds may come from an answer, so it may be empty or hold anything that is a text.
    fn condition(&mut self, value: &Value) -> Option<Match> {
        if value.it.is_array() {
            return Some(Match::AnyOf(value.items().iter().filter_map(|item| item.text(&mut self.problems)).collect()));
        }
        let text = value.it.clone().into_string().ok();
        if self.q.asked.is_none()
            && let Some(known) = text.as_deref().and_then(|text| self.q.around.compiled(text))
        {
            return Some(known);
        }
        let condition = sli::condition(value, &mut self.problems)?;
        if let Some(text) = text {
            self.q.around.keep_compiled(&text, &condition);
        }
        Some(condition)
    }

    /// Narrowed to the group. A metric that does not have a dimension cannot be narrowed by it: it counts for every group.
    fn narrowed(&self, metric: &Metric, mut filter: Filter) -> Filter {
        let has = |name: &str| has_dimension(metric, name, &self.q.around.dimensions);
        narrow(&mut filter, self.q.group.iter().filter(|(name, _)| has(name)));
        filter
    }

    /// What `changes` asks for.
    pub(super) fn changes(&mut self) -> (Filter, Span) {
        let known = |name: &str| match CHANGE_KEYS.contains(&name) {
            true => Ok(()),
            false => Err(format!("changes have no `{name}`{}; they have {}", hint(name, CHANGE_KEYS), list(&CHANGE_KEYS))),
        };
        let last = self.args.len() - 1;
        let mut filter = if last > 0 { self.conditions(0, &known) } else { Filter::default() };
        narrow(&mut filter, self.q.group.iter().filter(|(name, _)| ["app", "release"].contains(&name.as_str())));
        (filter, self.window(last))
    }

    fn window(&mut self, index: usize) -> Span {
        let value = self.arg(index, "the window");
        if !value.it.is_string() && !value.is_broken() {
            let given = describe(&value.it);
            self.problems.error(&value.at, format!("the window comes last and is a text like \"5m\", not {given}"));
            return self.bucket();
        }
        let span = value.span(&mut self.problems);
        let span = self.or(span, Span::default);
        self.whole_buckets(&value, span)
    }

    /// A window, if it is whole buckets; one bucket if not.
    fn whole_buckets(&mut self, value: &Value, span: Span) -> Span {
        let bucket = self.bucket();
        if span.0 > 0 && span.0 % bucket.0 == 0 {
            return span;
        }
        if !self.problems.errors.contains(&value.at) && !value.is_broken() {
            self.problems.error(&value.at, format!("{} must be whole buckets of {bucket}, not {span}", value.name));
        }
        bucket
    }

    fn bucket(&self) -> Span {
        self.q.around.bucket
    }

    /// A time that need not be whole buckets.
    pub(super) fn time(&mut self, index: usize) -> Span {
        let span = self.arg(index, "the time").length(&mut self.problems);
        self.or(span, || Span::HOUR)
    }

    pub(super) fn quantile(&mut self, index: usize) -> f64 {
        let value = self.arg(index, "the quantile");
        let share = value.it.as_float().or_else(|_| value.it.as_int().map(|n| n as f64)).unwrap_or(f64::NAN);
        if (0.0..=1.0).contains(&share) {
            return share;
        }
        let text = "the quantile is a fraction from 0 to 1, like 0.95, and comes second: q.quantile(metric, 0.95, where, window)";
        self.report(&value, text.to_owned());
        0.5
    }

    pub(super) fn has_values(&mut self, index: usize, metric: &Metric) {
        if !metric.has_values() && !self.replaced {
            let value = self.arg(index, "the metric");
            self.report(&value, format!("`{metric}` has no values, so it has no quantiles"));
        }
    }

    pub(super) fn people(&mut self, index: usize) -> i64 {
        let value = self.arg(index, "the number of people");
        match value.it.as_int() {
            Ok(least) if least > 0 => least,
            _ => {
                self.report(&value, "the first part of `min_users` is a number of people, 1 or more".to_owned());
                1
            }
        }
    }

    pub(super) fn dimension(&mut self, index: usize, metric: &Metric) -> String {
        let value = self.arg(index, "the dimension");
        let Ok(dimension) = value.it.clone().into_string() else {
            let given = describe(&value.it);
            self.report(
                &value,
                format!("the dimension is a text and comes second, q.top(metric, dimension, where, window); this is {given}"),
            );
            return "app".to_owned();
        };
        if !has_dimension(metric, &dimension, &self.q.around.dimensions) {
            // Of a metric that could not be read it is not known which it has.
            let unknown = match self.replaced {
                true if is_dimension(&dimension, &self.q.around.dimensions) => return dimension,
                true => unknown_dimension(&dimension, &self.q.around.dimensions),
                false => no_dimension(metric, &dimension, &self.q.around.dimensions),
            };
            self.report(&value, unknown);
            return "app".to_owned();
        }
        self.q.note(|asked| {
            asked.dimensions.insert(dimension.clone());
        });
        dimension
    }

    /// The value that the group has of a dimension.
    pub(super) fn label(&mut self, index: usize) -> String {
        let value = self.arg(index, "the dimension");
        let name = value.text(&mut self.problems);
        let name = self.or(name, String::new);
        if let Some(of_group) = self.q.group.get(&name) {
            return of_group.clone();
        }
        let has: Vec<&str> = self.q.group.keys().map(String::as_str).collect();
        let near = hint(&name, has.iter().copied());
        self.report(&value, format!("the rule has no `{name}` in its `by`, only {}{near}", list(&has)));
        String::new()
    }

    /// The SLO, and the group of it that belongs to this rule's group; the overall row where there is none.
    pub(super) fn slo(&mut self, index: usize) -> BudgetOf {
        let value = self.arg(index, "the SLO");
        let name = value.text(&mut self.problems);
        let name = self.or(name, String::new);
        let Some(known) = self.q.around.slos.get(&name) else {
            let near = hint(&name, self.q.around.slos.keys().map(String::as_str));
            self.report(&value, format!("there is no SLO `{name}`{near}"));
            return BudgetOf { slo: name, group: Labels::new() };
        };
        let group: Labels = known.by.iter().filter_map(|name| Some((name.clone(), self.q.group.get(name)?.clone()))).collect();
        let whole = group.len() == known.by.len();
        BudgetOf { slo: name, group: if whole { group } else { Labels::new() } }
    }

    /// A window of an SLO's burn.
    pub(super) fn burn_window(&mut self, index: usize, of: &BudgetOf) -> Span {
        let window = self.window(index);
        self.slo_window(index, of, window, |known| known.stored)
    }

    /// A window within which a budget was spent or burns; without one the SLO's own is meant.
    pub(super) fn budget_window(&mut self, index: usize, of: &BudgetOf) -> Option<Span> {
        if index >= self.args.len() {
            return None;
        }
        let window = self.window(index);
        let window = self.slo_window(index, of, window, |_| false);
        let value = self.arg(index, "the window");
        if let Some(known) = self.q.around.slos.get(&of.slo)
            && window > known.window.nominal()
        {
            self.report(&value, format!("the window is {window}, longer than that of `{}` ({})", of.slo, known.window));
        }
        Some(window)
    }

    /// A window of an SLO, which the evaluator keeps from now on. A longer one is the SLO's own, or `counted` from what is stored.
    fn slo_window(&mut self, index: usize, of: &BudgetOf, window: Span, counted: fn(&Known) -> bool) -> Span {
        let value = self.arg(index, "the window");
        let q = self.q;
        let Some(known) = q.around.slos.get(&of.slo) else { return window };
        if let Some(slice) = known.slice.filter(|slice| window.0 % slice.0 != 0) {
            self.report(&value, format!("the window must be whole slices of {slice}, as `{}` counts them, not {window}", of.slo));
            return slice;
        }
        if window <= EXACT_MAX {
            q.note(|asked| {
                asked.windows.entry(of.slo.clone()).or_default().insert(window);
            });
        } else if known.window != SloWindow::Rolling(window) && !counted(known) {
            let own = &known.window;
            self.report(
                &value,
                format!("the window is at most {EXACT_MAX}, or {own}, the window of `{}` itself; {window} is neither", of.slo),
            );
        }
        window
    }

    /// Reports a slip, unless it is about something that was reported before.
    fn report(&mut self, value: &Value, message: String) {
        if !value.is_broken() && !self.problems.errors.contains(&value.at) {
            self.problems.error(&value.at, message);
        }
    }
}

/// Adds what a group says; what contradicts it matches nothing.
fn narrow<'g>(filter: &mut Filter, group: impl Iterator<Item = (&'g String, &'g String)>) {
    for (name, value) in group {
        let narrowed = match filter.get(name) {
            Some(condition) if !condition.accepts(value) => Match::AnyOf(Vec::new()),
            _ => Match::Equal(value.clone()),
        };
        filter.0.insert(name.clone(), narrowed);
    }
}
