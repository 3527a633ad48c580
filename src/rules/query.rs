//! `q`: what a closure of a free-form rule may ask, as rhai sees it.
//!
//! Texts become metrics, filters and spans in [`call`]; the group's conditions are added there too, so a
//! [`Measure`] gets complete filters. A query that finds nothing measured ends the whole run, past
//! any `try`, so that nothing compares as false in silence.

mod call;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::{Array, Dynamic, Engine, EvalAltResult, Map, NativeCallContext, Position};

use self::call::Call;
use super::engine::Outcome;
use super::problem::Problem;
use super::shape::Shapes;
use crate::domain::filter::{Filter, Match};
use crate::domain::measure::{Answer, Counted, Measure, Unanswered};
use crate::domain::rule::{Labels, Sli, Slo, SloWindow};
use crate::domain::time::Span;

/// Queries that one run may make.
const QUERIES_MAX: usize = 200;
/// Conditions that are kept compiled.
const PATTERNS_MAX: usize = 4_096;

/// Names of the queries, for hints and for checks without running.
pub(super) const NAMES: [&str; 14] = [
    "count",
    "ratio",
    "quantile",
    "users",
    "bad_users",
    "min_users",
    "baseline",
    "top",
    "burn",
    "budget",
    "consumed",
    "exhausted_within",
    "changes",
    "label",
];

/// Queries whose first argument is no metric.
pub(super) const WITHOUT_METRIC: [&str; 6] = ["burn", "budget", "consumed", "exhausted_within", "changes", "label"];

/// How a query is written, for a call that does not fit.
pub(super) fn usage(name: &str) -> Option<String> {
    let takes = match name {
        "count" | "ratio" | "users" | "bad_users" | "baseline" => "(metric, where, window), like (\"request\", #{ app: \"shop\" }, \"5m\")",
        "min_users" => "(people, metric, where, window), like (20, \"request\", #{ app: \"shop\" }, \"5m\")",
        "quantile" => "(metric, 0.95, where, window)",
        "top" => "(metric, dimension, where, window)",
        "burn" => "(slo, window)",
        "budget" => "(slo)",
        "consumed" => "(slo), or (slo, window) for what went within that window",
        "exhausted_within" => "(slo, time), or (slo, time, window) at the burn of that window, like (\"checkout-api\", \"4d\", \"6h\")",
        "changes" => "(where, window), like (#{ app: \"shop\" }, \"30m\")",
        "label" => "(dimension)",
        _ => return None,
    };
    Some(format!("`q.{name}` does not take these arguments; it takes {takes}"))
}

/// Whether a query takes so many arguments.
pub(super) fn takes(name: &str, arguments: usize) -> bool {
    let fits: &[usize] = match name {
        "count" | "ratio" | "users" | "bad_users" | "baseline" | "exhausted_within" => &[2, 3],
        "quantile" | "min_users" | "top" => &[3, 4],
        "burn" => &[2],
        "budget" | "label" => &[1],
        "consumed" | "changes" => &[1, 2],
        _ => &[],
    };
    fits.contains(&arguments)
}

/// What the loaded rule set says about queries; shared by all runs.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) dimensions: BTreeSet<String>,
    pub(super) bucket: Span,
    slos: BTreeMap<String, Known>,
    /// Where everything stands, by file.
    shapes: HashMap<String, Arc<Shapes>>,
    patterns: Mutex<HashMap<String, Match>>,
}

/// What queries must know of an SLO.
#[derive(Debug)]
struct Known {
    by: Vec<String>,
    window: SloWindow,
    /// Of time slices: their length.
    slice: Option<Span>,
    /// Whether any window can be counted from stored history.
    stored: bool,
}

impl Surroundings {
    pub(super) fn new(dimensions: BTreeSet<String>, bucket: Span, slos: &[Slo], shapes: HashMap<String, Arc<Shapes>>) -> Surroundings {
        let known = |slo: &Slo| {
            let (slice, stored) = match &slo.sli {
                Sli::Slices { slice, .. } => (Some(*slice), false),
                Sli::Composite { .. } | Sli::External { .. } => (None, false),
                Sli::Good(_) | Sli::Within { .. } | Sli::Ratio { .. } => (None, true),
            };
            (slo.name.clone(), Known { by: slo.by.clone(), window: slo.window.clone(), slice, stored })
        };
        Surroundings { dimensions, bucket, slos: slos.iter().map(known).collect(), shapes, patterns: Mutex::default() }
    }

    /// A condition that was compiled before: regular expressions cost more than the query.
    fn compiled(&self, text: &str) -> Option<Match> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner).get(text).cloned()
    }

    fn keep_compiled(&self, text: &str, condition: &Match) {
        let mut patterns = self.patterns.lock().unwrap_or_else(PoisonError::into_inner);
        if patterns.len() < PATTERNS_MAX {
            patterns.insert(text.to_owned(), condition.clone());
        }
    }
}

/// What closures asked for in the dry run.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) filters: Vec<Filter>,
    pub(super) dimensions: BTreeSet<String>,
    /// Windows of SLOs.
    pub(super) windows: BTreeMap<String, BTreeSet<Span>>,
    /// What is wrong about the arguments of calls, each slip where it stands.
    pub(super) slips: BTreeSet<Problem>,
}

/// The `q` of one run.
#[derive(Clone)]
pub(super) struct Query {
    measure: Arc<dyn Measure>,
    around: Arc<Surroundings>,
    group: Arc<Labels>,
    /// The file of the rule.
    path: Arc<str>,
    asked: Option<Arc<Mutex<Asked>>>,
    left: Arc<AtomicUsize>,
}

/// Ends a run that found nothing measured; no `try` catches it.
#[derive(Clone, Debug)]
pub(super) struct NothingMeasured(pub(super) String);

impl Query {
    pub(super) fn new(measure: Arc<dyn Measure>, around: Arc<Surroundings>, group: Arc<Labels>) -> Query {
        Query { measure, around, group, path: "".into(), asked: None, left: Arc::new(QUERIES_MAX.into()) }
    }

    /// Remembers what is asked, and goes on past what is wrong about the arguments of a call: a dry run of a rule in `path`.
    pub(super) fn recording(self, path: &str, asked: Arc<Mutex<Asked>>) -> Query {
        Query { path: path.into(), asked: Some(asked), ..self }
    }

    fn spend(&self) -> Outcome<()> {
        let left = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| format!("a rule may ask at most {QUERIES_MAX} queries at an evaluation").into())
    }

    /// Notes what is asked, in a dry run.
    fn note(&self, note: impl FnOnce(&mut Asked)) {
        if let Some(asked) = &self.asked {
            note(&mut asked.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

fn answer<T>(answer: Answer<T>) -> Outcome<T> {
    answer.map_err(|why| match why {
        Unanswered::NoData(what) => Box::new(EvalAltResult::ErrorTerminated(Dynamic::from(NothingMeasured(what)), Position::NONE)),
        Unanswered::Failed(why) => why.into(),
    })
}

fn finite(number: f64) -> Outcome<Dynamic> {
    if number.is_finite() { Ok(number.into()) } else { Err("a query gave no finite number".into()) }
}

/// A map of numbers as closures get it.
fn map_of<const N: usize>(numbers: [(&str, f64); N]) -> Outcome<Map> {
    let mut map = Map::new();
    for (key, value) in numbers {
        map.insert(key.into(), finite(value)?);
    }
    Ok(map)
}

fn counted(counted: Counted) -> Outcome<Map> {
    map_of([("total", counted.total), ("bad", counted.bad), ("raw", counted.raw)])
}

/// A query: reads its arguments and gives the answer.
type Ask = fn(&mut Call<'_>) -> Outcome<Dynamic>;

/// Registers `q` and its queries; `where` may be left out everywhere.
pub(super) fn add(engine: &mut Engine) {
    engine.register_type_with_name::<Query>("q");
    let queries: [(&'static str, Ask); NAMES.len()] = [
        ("count", count),
        ("ratio", ratio),
        ("quantile", quantile),
        ("users", users),
        ("bad_users", bad_users),
        ("min_users", min_users),
        ("baseline", baseline),
        ("top", top),
        ("burn", burn),
        ("budget", budget),
        ("consumed", consumed),
        ("exhausted_within", exhausted_within),
        ("changes", changes),
        ("label", label),
    ];
    for (name, ask) in queries {
        for arity in 0..=ARGUMENTS_MAX {
            if takes(name, arity) { register(engine, name, arity, ask) } else { register(engine, name, arity, misfit(name)) }
        }
    }
}

/// Calls with more arguments than that are unknown functions.
const ARGUMENTS_MAX: usize = 6;

/// What answers a call with a wrong number of arguments: a dry run goes on with something of the right kind.
fn misfit(name: &'static str) -> Ask {
    fn map(call: &mut Call<'_>) -> Outcome<Dynamic> {
        call.misfit()?;
        Ok(map_of([("total", 1.0), ("bad", 0.0), ("raw", 1.0), ("median", 1.0), ("mad", 1.0), ("z", 0.0)])?.into())
    }
    fn number(call: &mut Call<'_>) -> Outcome<Dynamic> {
        call.misfit()?;
        Ok(0.5.into())
    }
    fn truth(call: &mut Call<'_>) -> Outcome<Dynamic> {
        call.misfit()?;
        Ok(false.into())
    }
    fn list(call: &mut Call<'_>) -> Outcome<Dynamic> {
        call.misfit()?;
        Ok(Array::new().into())
    }
    fn text(call: &mut Call<'_>) -> Outcome<Dynamic> {
        call.misfit()?;
        Ok("".into())
    }
    match name {
        "count" | "baseline" => map,
        "min_users" | "exhausted_within" => truth,
        "top" | "changes" => list,
        "label" => text,
        _ => number,
    }
}

fn register(engine: &mut Engine, name: &'static str, arity: usize, ask: Ask) {
    let run = move |ctx: &NativeCallContext<'_>, q: &Query, args: Vec<Dynamic>| -> Outcome<Dynamic> {
        q.spend()?;
        let mut call = Call::new(name, q, ctx, args);
        let answered = ask(&mut call);
        call.end();
        answered
    };
    match arity {
        0 => engine.register_fn(name, move |ctx: NativeCallContext, q: &mut Query| run(&ctx, q, vec![])),
        1 => engine.register_fn(name, move |ctx: NativeCallContext, q: &mut Query, a: Dynamic| run(&ctx, q, vec![a])),
        2 => engine.register_fn(name, move |ctx: NativeCallContext, q: &mut Query, a: Dynamic, b: Dynamic| run(&ctx, q, vec![a, b])),
        3 => engine.register_fn(name, move |ctx: NativeCallContext, q: &mut Query, a: Dynamic, b: Dynamic, c: Dynamic| {
            run(&ctx, q, vec![a, b, c])
        }),
        4 => engine.register_fn(name, move |ctx: NativeCallContext, q: &mut Query, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic| {
            run(&ctx, q, vec![a, b, c, d])
        }),
        5 => engine.register_fn(
            name,
            move |ctx: NativeCallContext, q: &mut Query, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic, e: Dynamic| {
                run(&ctx, q, vec![a, b, c, d, e])
            },
        ),
        _ => engine.register_fn(
            name,
            move |ctx: NativeCallContext, q: &mut Query, a: Dynamic, b: Dynamic, c: Dynamic, d: Dynamic, e: Dynamic, f: Dynamic| {
                run(&ctx, q, vec![a, b, c, d, e, f])
            },
        ),
    };
}

fn count(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events(0);
    Ok(counted(answer(call.measure()?.count(&metric, &filter, window))?)?.into())
}

fn ratio(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events(0);
    let counted = answer(call.measure()?.count(&metric, &filter, window))?;
    if counted.total <= 0.0 {
        return answer(Err(Unanswered::NoData(format!("no {metric} within {window}"))));
    }
    finite(counted.bad / counted.total)
}

fn quantile(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let share = call.quantile(1);
    let (metric, filter, window) = call.events_and(0, 2);
    call.has_values(0, &metric);
    finite(answer(call.measure()?.quantile(&metric, share, &filter, window))?)
}

fn users(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events(0);
    finite(answer(call.measure()?.users(&metric, &filter, window))?)
}

fn bad_users(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events(0);
    finite(answer(call.measure()?.bad_users(&metric, &filter, window))?)
}

/// Whether at least so many people had a bad event: one person, however often, does not wake anybody.
fn min_users(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let least = call.people(0);
    let (metric, filter, window) = call.events(1);
    let users = answer(call.measure()?.bad_users(&metric, &filter, window))?;
    Ok((users >= least as f64).into())
}

fn baseline(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events(0);
    let usual = answer(call.measure()?.baseline(&metric, &filter, window))?;
    Ok(map_of([("median", usual.median), ("mad", usual.mad), ("z", usual.z)])?.into())
}

fn top(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (metric, filter, window) = call.events_and(0, 2);
    let dimension = call.dimension(1, &metric);
    let found = answer(call.measure()?.top(&metric, &dimension, &filter, window))?;
    let mut rows = Array::with_capacity(found.len());
    for top in found.into_iter().take(100) {
        let mut row = counted(top.counted)?;
        row.insert("value".into(), top.value.into());
        row.insert("share".into(), finite(top.share)?);
        rows.push(row.into());
    }
    Ok(rows.into())
}

fn burn(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let of = call.slo(0);
    let window = call.burn_window(1, &of);
    finite(answer(call.measure()?.burn(&of.slo, &of.group, window))?)
}

fn budget(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let of = call.slo(0);
    finite(answer(call.measure()?.budget(&of.slo, &of.group))?)
}

fn consumed(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let of = call.slo(0);
    let window = call.budget_window(1, &of);
    finite(answer(call.measure()?.consumed(&of.slo, &of.group, window))?)
}

fn exhausted_within(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let of = call.slo(0);
    let within = call.time(1);
    let window = call.budget_window(2, &of);
    Ok(answer(call.measure()?.exhausted_within(&of.slo, &of.group, within, window))?.into())
}

/// What `changes` can be narrowed by.
pub(super) const CHANGE_KEYS: [&str; 3] = ["kind", "app", "release"];

fn changes(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let (filter, window) = call.changes();
    let found = answer(call.measure()?.changes(&filter, window))?;
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
    Ok(found.into_iter().take(100).map(row).collect::<Array>().into())
}

fn label(call: &mut Call<'_>) -> Outcome<Dynamic> {
    let value = call.label(0);
    call.measure()?;
    Ok(value.into())
}
