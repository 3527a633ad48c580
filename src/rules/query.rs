//! `q`: what a closure of a free-form rule may ask, as rhai sees it.
//!
//! Texts become metrics, filters and spans here; the group's conditions are added here too, so a
//! [`Measure`] gets complete filters. A query that finds nothing measured ends the whole run, past
//! any `try`, so that nothing compares as false in silence.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext, Position};

use super::engine::{Outcome, describe};
use super::problem::{hint, list};
use super::sli::{has_dimension, no_dimension, no_metric};
use crate::domain::filter::{Filter, Match};
use crate::domain::measure::{Answer, Counted, Measure, Unanswered};
use crate::domain::metric::Metric;
use crate::domain::rule::Labels;
use crate::domain::time::Span;

/// Queries that one run may make.
const QUERIES_MAX: usize = 200;
/// Conditions that are kept compiled.
const PATTERNS_MAX: usize = 4_096;

/// Names of the queries, for hints and for checks without running.
pub(super) const NAMES: [&str; 12] =
    ["count", "ratio", "quantile", "users", "bad_users", "min_users", "baseline", "top", "burn", "budget", "changes", "label"];

/// How a query is written, for a call that does not fit.
pub(super) fn usage(name: &str) -> Option<String> {
    let takes = match name {
        "count" | "ratio" | "users" | "bad_users" | "baseline" => "(metric, where, window), like (\"request\", #{ app: \"shop\" }, \"5m\")",
        "quantile" => "(metric, 0.95, where, window)",
        "top" => "(metric, dimension, where, window)",
        "burn" => "(slo, window)",
        "budget" => "(slo)",
        "changes" => "(where, window), like (#{ app: \"shop\" }, \"30m\")",
        "label" => "(dimension)",
        _ => return None,
    };
    Some(format!("`q.{name}` does not take these arguments; it takes {takes}"))
}

/// What the loaded rule set says about queries; shared by all runs.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) dimensions: BTreeSet<String>,
    pub(super) bucket: Span,
    /// The `by` dimensions of every SLO.
    pub(super) slos: BTreeMap<String, Vec<String>>,
    patterns: Mutex<HashMap<String, Match>>,
}

impl Surroundings {
    pub(super) fn new(dimensions: BTreeSet<String>, bucket: Span, slos: BTreeMap<String, Vec<String>>) -> Surroundings {
        Surroundings { dimensions, bucket, slos, patterns: Mutex::default() }
    }

    /// A condition, compiled once: regular expressions cost more than the query.
    fn condition(&self, text: &str) -> Result<Match, String> {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = patterns.get(text) {
            return Ok(known.clone());
        }
        let condition = Match::parse(text).map_err(|error| error.to_string())?;
        if patterns.len() < PATTERNS_MAX {
            patterns.insert(text.to_owned(), condition.clone());
        }
        Ok(condition)
    }
}

/// Metrics, filters and dimensions that closures asked for in the dry run.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) filters: Vec<Filter>,
    pub(super) dimensions: BTreeSet<String>,
}

/// The `q` of one run.
#[derive(Clone)]
pub(super) struct Query {
    measure: Arc<dyn Measure>,
    around: Arc<Surroundings>,
    group: Arc<Labels>,
    asked: Option<Arc<Mutex<Asked>>>,
    left: Arc<std::sync::atomic::AtomicUsize>,
}

/// Ends a run that found nothing measured; no `try` catches it.
#[derive(Clone, Debug)]
pub(super) struct NothingMeasured(pub(super) String);

impl Query {
    pub(super) fn new(measure: Arc<dyn Measure>, around: Arc<Surroundings>, group: Arc<Labels>) -> Query {
        Query { measure, around, group, asked: None, left: Arc::new(QUERIES_MAX.into()) }
    }

    /// Remembers what is asked.
    pub(super) fn recording(mut self, asked: Arc<Mutex<Asked>>) -> Query {
        self.asked = Some(asked);
        self
    }

    fn spend(&self) -> Outcome<()> {
        let left =
            self.left.fetch_update(std::sync::atomic::Ordering::Relaxed, std::sync::atomic::Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| format!("a rule may ask at most {QUERIES_MAX} queries at an evaluation").into())
    }

    fn metric(&self, value: &Dynamic) -> Outcome<Metric> {
        let name = text(value, "the metric")?;
        Metric::parse(&name).ok_or_else(|| no_metric(&name).into())
    }

    fn window(&self, value: &Dynamic) -> Outcome<Span> {
        if !value.is_string() {
            return Err(format!("the window comes last and is a text like \"5m\", not {}", describe(value)).into());
        }
        let text = text(value, "the window")?;
        let span: Span = text.parse().map_err(|error| format!("the window: {error}"))?;
        if span.0 <= 0 || span.0 % self.around.bucket.0 != 0 {
            return Err(format!("the window must be whole buckets of {}, not {span}", self.around.bucket).into());
        }
        Ok(span)
    }

    /// The `where` of a query, narrowed to the group.
    fn filter(&self, metric: &Metric, value: &Dynamic) -> Outcome<Filter> {
        let mut filter = self.conditions(value, &|name| {
            if has_dimension(metric, name, &self.around.dimensions) {
                Ok(())
            } else {
                Err(no_dimension(metric, name, &self.around.dimensions))
            }
        })?;
        for (name, value) in &*self.group {
            // A metric that does not have the dimension cannot be narrowed by it: it counts for every group.
            if !has_dimension(metric, name, &self.around.dimensions) {
                continue;
            }
            let narrowed = match filter.get(name) {
                Some(condition) if !condition.accepts(value) => Match::AnyOf(Vec::new()),
                _ => Match::Equal(value.clone()),
            };
            filter.0.insert(name.clone(), narrowed);
        }
        Ok(filter)
    }

    fn conditions(&self, value: &Dynamic, known: &dyn Fn(&str) -> Result<(), String>) -> Outcome<Filter> {
        let Some(map) = value.read_lock::<Map>() else {
            return Err(format!("`where` must be a map, #{{ … }}, not {}", describe(value)).into());
        };
        let mut filter = Filter::default();
        for (name, condition) in map.iter() {
            known(name)?;
            let condition = if let Ok(text) = condition.clone().into_string() {
                self.around.condition(&text)?
            } else if let Ok(items) = condition.clone().into_array() {
                Match::AnyOf(items.iter().map(|item| text(item, &format!("`{name}`"))).collect::<Result<_, _>>()?)
            } else {
                return Err(format!("`{name}` must be a text or a list of texts, not {}", describe(condition)).into());
            };
            filter.0.insert(name.to_string(), condition);
        }
        if let Some(asked) = &self.asked {
            asked.lock().unwrap_or_else(PoisonError::into_inner).filters.push(filter.clone());
        }
        Ok(filter)
    }

    /// The SLO and the group of it that belongs to this rule's group; the overall row where there is none.
    fn slo(&self, value: &Dynamic) -> Outcome<(String, Labels)> {
        let name = text(value, "the SLO")?;
        let Some(by) = self.around.slos.get(&name) else {
            return Err(format!("there is no SLO `{name}`{}", hint(&name, self.around.slos.keys().map(String::as_str))).into());
        };
        let group: Labels = by.iter().filter_map(|name| Some((name.clone(), self.group.get(name)?.clone()))).collect();
        let whole = group.len() == by.len();
        Ok((name, if whole { group } else { Labels::new() }))
    }
}

fn text(value: &Dynamic, what: &str) -> Outcome<String> {
    value.clone().into_string().map_err(|_| format!("{what} must be a text, not {}", describe(value)).into())
}

fn answer<T>(answer: Answer<T>) -> Outcome<T> {
    answer.map_err(|why| match why {
        Unanswered::NoData(what) => Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(NothingMeasured(what)), Position::NONE)),
        Unanswered::Failed(why) => why.into(),
    })
}

fn finite(number: f64) -> Outcome<f64> {
    if number.is_finite() { Ok(number) } else { Err("a query gave no finite number".into()) }
}

fn counted(counted: Counted) -> Outcome<Map> {
    let mut map = Map::new();
    for (key, value) in [("total", counted.total), ("bad", counted.bad), ("raw", counted.raw)] {
        map.insert(key.into(), finite(value)?.into());
    }
    Ok(map)
}

/// Registers `q` and its queries; `where` may be left out everywhere.
pub(super) fn add(engine: &mut Engine) {
    engine.register_type_with_name::<Query>("q");
    measured(engine, "count", |q, metric, filter, window| Ok(counted(answer(q.measure.count(metric, filter, window))?)?.into()));
    measured(engine, "ratio", |q, metric, filter, window| {
        let counted = answer(q.measure.count(metric, filter, window))?;
        if counted.total <= 0.0 {
            return answer(Err(Unanswered::NoData(format!("no {metric} within {window}"))));
        }
        Ok(finite(counted.bad / counted.total)?.into())
    });
    measured(engine, "users", |q, metric, filter, window| Ok(finite(answer(q.measure.users(metric, filter, window))?)?.into()));
    measured(engine, "bad_users", |q, metric, filter, window| Ok(finite(answer(q.measure.bad_users(metric, filter, window))?)?.into()));
    measured(engine, "baseline", |q, metric, filter, window| {
        let usual = answer(q.measure.baseline(metric, filter, window))?;
        let mut map = Map::new();
        for (key, value) in [("median", usual.median), ("mad", usual.mad), ("z", usual.z)] {
            map.insert(key.into(), finite(value)?.into());
        }
        Ok(map.into())
    });
    engine.register_fn("min_users", |q: &mut Query, least: Dynamic, metric: Dynamic, filter: Dynamic, window: Dynamic| {
        min_users(q, &least, &metric, &filter, &window)
    });
    engine.register_fn("min_users", |q: &mut Query, least: Dynamic, metric: Dynamic, window: Dynamic| {
        min_users(q, &least, &metric, &Map::new().into(), &window)
    });
    engine.register_fn("quantile", |q: &mut Query, metric: Dynamic, share: Dynamic, filter: Dynamic, window: Dynamic| {
        quantile(q, &metric, &share, &filter, &window)
    });
    engine.register_fn("quantile", |q: &mut Query, metric: Dynamic, share: Dynamic, window: Dynamic| {
        quantile(q, &metric, &share, &Map::new().into(), &window)
    });
    engine.register_fn("top", |q: &mut Query, metric: Dynamic, dimension: Dynamic, filter: Dynamic, window: Dynamic| {
        top(q, &metric, &dimension, &filter, &window)
    });
    engine.register_fn("top", |q: &mut Query, metric: Dynamic, dimension: Dynamic, window: Dynamic| {
        top(q, &metric, &dimension, &Map::new().into(), &window)
    });
    engine.register_fn("burn", |q: &mut Query, slo: Dynamic, window: Dynamic| -> Outcome<f64> {
        q.spend()?;
        let (slo, group) = q.slo(&slo)?;
        finite(answer(q.measure.burn(&slo, &group, q.window(&window)?))?)
    });
    engine.register_fn("budget", |q: &mut Query, slo: Dynamic| -> Outcome<f64> {
        q.spend()?;
        let (slo, group) = q.slo(&slo)?;
        finite(answer(q.measure.budget(&slo, &group))?)
    });
    engine.register_fn("changes", |q: &mut Query, filter: Dynamic, window: Dynamic| changes(q, &filter, &window));
    engine.register_fn("changes", |q: &mut Query, window: Dynamic| changes(q, &Map::new().into(), &window));
    engine.register_fn("label", |q: &mut Query, name: Dynamic| -> Outcome<String> {
        let name = text(&name, "the dimension")?;
        let known = || list(&q.group.keys().collect::<Vec<_>>());
        q.group.get(&name).cloned().ok_or_else(|| format!("the rule has no `{name}` in its `by`, only {}", known()).into())
    });
}

type Ask = fn(&Query, &Metric, &Filter, Span) -> Outcome<Dynamic>;

/// A query of the form (metric, where, window) or (metric, window).
fn measured(engine: &mut Engine, name: &'static str, ask: Ask) {
    let run = move |q: &Query, metric: &Dynamic, filter: &Dynamic, window: &Dynamic| -> Outcome<Dynamic> {
        q.spend()?;
        let metric = q.metric(metric)?;
        ask(q, &metric, &q.filter(&metric, filter)?, q.window(window)?)
    };
    engine.register_fn(name, move |_: NativeCallContext, q: &mut Query, metric: Dynamic, filter: Dynamic, window: Dynamic| {
        run(q, &metric, &filter, &window)
    });
    engine.register_fn(name, move |_: NativeCallContext, q: &mut Query, metric: Dynamic, window: Dynamic| {
        run(q, &metric, &Map::new().into(), &window)
    });
}

fn quantile(q: &Query, metric: &Dynamic, share: &Dynamic, filter: &Dynamic, window: &Dynamic) -> Outcome<f64> {
    q.spend()?;
    let metric = q.metric(metric)?;
    if !metric.has_values() {
        return Err(format!("`{metric}` has no values, so it has no quantiles").into());
    }
    let share = share.as_float().or_else(|_| share.as_int().map(|n| n as f64)).unwrap_or(f64::NAN);
    if !(0.0..=1.0).contains(&share) {
        return Err("the quantile is a fraction from 0 to 1, like 0.95, and comes second: q.quantile(metric, 0.95, where, window)".into());
    }
    finite(answer(q.measure.quantile(&metric, share, &q.filter(&metric, filter)?, q.window(window)?))?)
}

/// Whether at least so many people had a bad event: one person, however often, does not wake anybody.
fn min_users(q: &Query, least: &Dynamic, metric: &Dynamic, filter: &Dynamic, window: &Dynamic) -> Outcome<bool> {
    q.spend()?;
    let metric = q.metric(metric)?;
    let least = least.as_int().ok().filter(|least| *least > 0);
    let least = least.ok_or("the first part of `min_users` is a number of people, 1 or more")?;
    let users = answer(q.measure.bad_users(&metric, &q.filter(&metric, filter)?, q.window(window)?))?;
    Ok(finite(users)? >= least as f64)
}

fn top(q: &Query, metric: &Dynamic, dimension: &Dynamic, filter: &Dynamic, window: &Dynamic) -> Outcome<Array> {
    q.spend()?;
    let metric = q.metric(metric)?;
    if !dimension.is_string() {
        let given = describe(dimension);
        return Err(format!("the dimension is a text and comes second, q.top(metric, dimension, where, window); this is {given}").into());
    }
    let dimension = text(dimension, "the dimension")?;
    if !has_dimension(&metric, &dimension, &q.around.dimensions) {
        return Err(no_dimension(&metric, &dimension, &q.around.dimensions).into());
    }
    if let Some(asked) = &q.asked {
        asked.lock().unwrap_or_else(PoisonError::into_inner).dimensions.insert(dimension.clone());
    }
    let found = answer(q.measure.top(&metric, &dimension, &q.filter(&metric, filter)?, q.window(window)?))?;
    let mut rows = Array::with_capacity(found.len());
    for top in found.into_iter().take(100) {
        let mut row = counted(top.counted)?;
        row.insert("value".into(), top.value.into());
        row.insert("share".into(), finite(top.share)?.into());
        rows.push(row.into());
    }
    Ok(rows)
}

/// What `changes` can be narrowed by.
pub(super) const CHANGE_KEYS: [&str; 3] = ["kind", "app", "release"];

fn changes(q: &Query, filter: &Dynamic, window: &Dynamic) -> Outcome<Array> {
    q.spend()?;
    let known = |name: &str| match CHANGE_KEYS.contains(&name) {
        true => Ok(()),
        false => Err(format!("changes have no `{name}`; they have {}", list(&CHANGE_KEYS))),
    };
    let mut filter = q.conditions(filter, &known)?;
    for key in ["app", "release"] {
        if let Some(value) = q.group.get(key) {
            let narrowed = match filter.get(key) {
                Some(condition) if !condition.accepts(value) => Match::AnyOf(Vec::new()),
                _ => Match::Equal(value.clone()),
            };
            filter.0.insert(key.to_owned(), narrowed);
        }
    }
    let found = answer(q.measure.changes(&filter, q.window(window)?))?;
    let row = |change: crate::domain::measure::Change| {
        let mut row = Map::new();
        row.insert("kind".into(), change.kind.into());
        row.insert("at".into(), change.at.to_string().into());
        row.insert("age_s".into(), change.age.as_secs_f64().into());
        row.insert("app".into(), change.app.into());
        row.insert("release".into(), change.release.into());
        row.insert("text".into(), change.text.into());
        Dynamic::from(row)
    };
    Ok(found.into_iter().take(100).map(row).collect())
}
