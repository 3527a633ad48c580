//! Rule tests: what a `*_test.rhai` file says, as data (CONTRACT 4).
//!
//! A test's closure runs once and writes down steps; nothing is simulated here. Every slip is a problem with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};

use super::engine::{AT_LOAD, Outcome, innermost, message_of, within_budget};
use super::problem::{Level, Problem, Problems, hint, list};
use super::program::TestScript;
use super::shape::Shapes;
use super::sli::{has_dimension, metric, no_dimension};
use super::source::place;
use super::value::{Fields, Value};
use crate::domain::filter::{Filter, Match};
use crate::domain::matcher::Matcher;
use crate::domain::metric::Metric;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{Labels, Matchers, Place, RuleSet, Severity};
use crate::domain::series::Series;
use crate::domain::time::{Span, Timestamp};
use crate::domain::traffic::{Traffic, Values};

/// Tests of one rule set, and steps of one test.
const TESTS_MAX: usize = 2_000;
const STEPS_MAX: usize = 2_000;
/// The longest stretch of one step.
const SPAN_MAX: Span = Span::days(100);
/// Most events a minute of one step, and most people.
const PER_MINUTE_MAX: f64 = 10_000_000.0;
const USERS_MAX: u64 = 1_000_000;
/// Most times that people are counted for one step.
const COUNTED_MAX: i64 = 20_000_000;

const METHODS: [&str; 15] = [
    "traffic",
    "history",
    "late",
    "wait",
    "gap",
    "deploy",
    "ack",
    "silence",
    "starts",
    "expect_incident",
    "expect_no_incident",
    "expect_resolved",
    "expect_notified",
    "expect_not_notified",
    "expect_budget",
];

/// One test as it is written.
#[derive(Clone, Debug, PartialEq)]
pub struct Test {
    pub name: String,
    pub place: Place,
    pub steps: Vec<Step>,
    /// What is wrong with it; then it is not worth running.
    pub problems: Vec<Problem>,
}

/// One line of a test.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Simulated time begins here.
    Starts(Timestamp),
    /// Events happen, and arrive so much later.
    Traffic {
        traffic: Box<Traffic>,
        late: Span,
    },
    /// Events that happened before simulated time begins: they fill windows and baselines, and nothing is evaluated.
    History(Box<Traffic>),
    Wait(Span),
    /// Nothing of an app arrives; `*`: the intake is down.
    Gap {
        app: String,
        lasts: Span,
    },
    /// Something changed; its time is when the step is reached.
    Changed(Box<Change>),
    Acknowledge,
    Silence {
        when: Matchers,
        lasts: Span,
    },
    Expect {
        place: Place,
        what: Expectation,
    },
}

/// What should have become of it all.
#[derive(Clone, Debug, PartialEq)]
pub enum Expectation {
    Incident(Wanted),
    NoIncident(Wanted),
    Resolved(Wanted),
    Notified(String),
    NotNotified(String),
    Budget { slo: String, group: Labels, above: Option<f64>, below: Option<f64> },
}

/// Which incident is meant: one with an alert like this.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    pub severity: Option<Severity>,
    /// The name of its SLO or free-form rule.
    pub rule: Option<Match>,
    pub labels: Filter,
    pub within: Option<Span>,
    /// As it is written, for people.
    pub text: String,
}

/// A test while its closure runs.
#[derive(Clone)]
struct Recorder(Arc<Mutex<Recording>>);

struct Recording {
    known: Arc<Known>,
    /// The file that the closure stands in.
    path: String,
    shapes: Arc<Shapes>,
    steps: Vec<Step>,
    problems: Problems,
    changes: usize,
}

/// What a test may name.
struct Known {
    dimensions: BTreeSet<String>,
    bucket: Span,
    slos: BTreeMap<String, Vec<String>>,
    rules: BTreeSet<String>,
    receivers: BTreeSet<String>,
    labels: BTreeSet<String>,
}

impl Known {
    fn new(set: &RuleSet, dimensions: &BTreeSet<String>, bucket: Span) -> Known {
        let mut labels: BTreeSet<String> = ["slo", "rule", "service", "owner"].map(str::to_owned).into();
        for (by, own) in set.slos.iter().map(|slo| (&slo.by, &slo.labels)).chain(set.alerts.iter().map(|rule| (&rule.by, &rule.labels))) {
            labels.extend(by.iter().cloned());
            labels.extend(own.keys().cloned());
        }
        let slos: BTreeMap<String, Vec<String>> = set.slos.iter().map(|slo| (slo.name.clone(), slo.by.clone())).collect();
        let rules = slos.keys().cloned().chain(set.alerts.iter().map(|rule| rule.name.clone())).collect();
        let receivers = set.receivers.iter().map(|receiver| receiver.name.clone()).collect();
        Known { dimensions: dimensions.clone(), bucket, slos, rules, receivers, labels }
    }
}

/// The tests of these files, in the order in which they stand, and what is wrong with the files themselves.
pub(super) fn tests(
    scripts: &[TestScript],
    mut engine: Engine,
    set: &RuleSet,
    dimensions: &BTreeSet<String>,
    bucket: Span,
) -> (Vec<Test>, Vec<Problem>) {
    let known = Arc::new(Known::new(set, dimensions, bucket));
    let declared: Arc<Mutex<Vec<(String, Place, FnPtr)>>> = Arc::default();
    let into = declared.clone();
    engine.register_fn("test", move |ctx: NativeCallContext, name: &str, run: FnPtr| -> Outcome<()> {
        let mut declared = into.lock().unwrap_or_else(PoisonError::into_inner);
        if declared.len() >= TESTS_MAX {
            return Err(format!("a rules folder may have at most {TESTS_MAX} tests").into());
        }
        let at = place(ctx.call_source().unwrap_or_default(), ctx.call_position());
        declared.push((name.chars().take(300).collect(), at, run));
        Ok(())
    });
    add(&mut engine);
    let (mut tests, mut problems) = (Vec::new(), Problems::default());
    for script in scripts {
        if let Err(error) = within_budget(AT_LOAD, || engine.run_ast(&script.ast)) {
            fail(&error, &script.path, &mut problems);
        }
        let declared = std::mem::take(&mut *declared.lock().unwrap_or_else(PoisonError::into_inner));
        for (name, mut at, run) in declared {
            at.path.clone_from(&script.path);
            tests.push(record(script, name, at, &run, &engine, &known));
        }
    }
    (tests, problems.into_sorted())
}

/// Runs the closure of one test.
fn record(script: &TestScript, name: String, at: Place, run: &FnPtr, engine: &Engine, known: &Arc<Known>) -> Test {
    let recording = Recording {
        known: known.clone(),
        path: script.path.clone(),
        shapes: script.shapes.clone(),
        steps: Vec::new(),
        problems: Problems::default(),
        changes: 0,
    };
    let recorder = Recorder(Arc::new(Mutex::new(recording)));
    let ran = catch_unwind(AssertUnwindSafe(|| within_budget(AT_LOAD, || run.call::<Dynamic>(engine, &script.ast, (recorder.clone(),)))));
    let mut recording = recorder.lock();
    match ran {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => fail(&error, &script.path, &mut recording.problems),
        Err(_) => recording.problems.error(&at, "the test panicked; this is a fault of burnwatch"),
    }
    let steps = std::mem::take(&mut recording.steps);
    let expects = steps.iter().any(|step| matches!(step, Step::Expect { .. }));
    if !expects && !recording.problems.has_errors() {
        recording.problems.error(&at, "the test expects nothing, so it cannot fail; end it with t.expect_…");
    }
    let problems = std::mem::take(&mut recording.problems).into_sorted();
    Test { name, place: at, steps, problems: problems.into_iter().filter(|problem| problem.level == Level::Error).collect() }
}

fn fail(error: &EvalAltResult, path: &str, problems: &mut Problems) {
    let (inner, file, at) = innermost(error);
    let path = file.filter(|file| file.ends_with(".rhai")).unwrap_or(path);
    let message = match inner {
        EvalAltResult::ErrorFunctionNotFound(signature, _) => usage(signature),
        inner => message_of(inner),
    };
    problems.error(&place(path, at), message);
}

/// What a method takes, for a call that does not fit.
fn usage(signature: &str) -> String {
    let name = signature.split([' ', '(']).next().unwrap_or(signature);
    let takes = match name {
        "traffic" => "t.traffic(metric, where, #{ per_minute, bad, value, lasts, … })",
        "late" => "t.late(\"30m\", metric, where, #{ per_minute, lasts, … })",
        "history" => "t.history(metric, where, #{ per_minute, lasts, … })",
        "wait" => "t.wait(\"10m\")",
        "gap" => "t.gap(app, \"10m\")",
        "deploy" => "t.deploy(#{ app, release })",
        "ack" => "t.ack()",
        "silence" => "t.silence(#{ service: \"shop\" }, \"1h\")",
        "starts" => "t.starts(\"2026-11-22T03:00:00Z\")",
        "expect_incident" => "t.expect_incident(#{ slo, severity, within, … })",
        "expect_resolved" => "t.expect_resolved(#{ slo, within, … })",
        "expect_no_incident" => "t.expect_no_incident()",
        "expect_notified" | "expect_not_notified" => "the name of a receiver",
        "expect_budget" => "t.expect_budget(slo, #{ above, below })",
        "test" => "test(\"name\", |t| { … })",
        _ => return format!("there is no function or method `{name}`{}", hint(name, METHODS)),
    };
    format!("`{name}` does not take these arguments; it takes {takes}")
}

impl Recorder {
    fn lock(&self) -> MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One call of a method: where it stands.
struct At<'a, 'b> {
    recording: &'a mut Recording,
    ctx: &'a NativeCallContext<'b>,
}

impl At<'_, '_> {
    fn path(&self) -> String {
        self.ctx.call_source().filter(|source| source.ends_with(".rhai")).unwrap_or(&self.recording.path).to_owned()
    }

    fn place(&self) -> Place {
        place(&self.path(), self.ctx.call_position())
    }

    fn arg(&self, it: Dynamic, name: &str, index: usize) -> Value {
        let path = self.path();
        let shapes = if path == self.recording.path { self.recording.shapes.clone() } else { Arc::default() };
        Value::argument(it, name, &path, self.ctx.call_position(), index, &shapes)
    }

    fn step(&mut self, step: Option<Step>) -> Outcome<()> {
        if self.recording.steps.len() >= STEPS_MAX {
            return Err(format!("a test may have at most {STEPS_MAX} steps").into());
        }
        self.recording.steps.extend(step);
        Ok(())
    }

    fn expect(&mut self, what: Option<Expectation>) -> Outcome<()> {
        let place = self.place();
        self.step(what.map(|what| Step::Expect { place, what }))
    }

    /// A stretch of simulated time.
    fn stretch(&mut self, value: &Value) -> Option<Span> {
        let bucket = self.recording.known.bucket;
        let problems = &mut self.recording.problems;
        let span = value.length(problems)?;
        if span.0 % bucket.0 != 0 {
            problems.error(&value.at, format!("{} must be whole buckets of {bucket}, not {span}", value.name));
            return None;
        }
        if span > SPAN_MAX {
            problems.error(&value.at, format!("{} may be at most {SPAN_MAX}", value.name));
            return None;
        }
        Some(span)
    }
}

/// Registers the methods of `t`.
fn add(engine: &mut Engine) {
    macro_rules! method {
        ($name:literal, |$at:ident $(, $arg:ident)*| $body:expr) => {
            engine.register_fn($name, |ctx: NativeCallContext, t: &mut Recorder $(, $arg: Dynamic)*| -> Outcome<()> {
                let mut recording = t.lock();
                let mut $at = At { recording: &mut recording, ctx: &ctx };
                $body
            });
        };
    }
    method!("traffic", |at, metric, filter, options| {
        let step = traffic(&mut at, [metric, filter, options], 0).map(|traffic| Step::Traffic { traffic, late: Span::ZERO });
        at.step(step)
    });
    method!("late", |at, late, metric, filter, options| {
        let late = at.arg(late, "how late it is", 0).length(&mut at.recording.problems);
        let traffic = traffic(&mut at, [metric, filter, options], 1);
        at.step(traffic.zip(late).map(|(traffic, late)| Step::Traffic { traffic, late }))
    });
    method!("history", |at, metric, filter, options| {
        let place = at.place();
        let step = traffic(&mut at, [metric, filter, options], 0).map(Step::History);
        let same = |have: &Step| matches!((have, &step), (Step::History(have), Some(Step::History(new))) if have.series == new.series);
        if at.recording.steps.iter().any(same) {
            at.recording.problems.error(&place, "the history of the same metric and place is given twice");
        }
        at.step(step)
    });
    method!("wait", |at, span| {
        let span = at.arg(span, "the wait", 0);
        let step = at.stretch(&span).map(Step::Wait);
        at.step(step)
    });
    method!("gap", |at, app, span| {
        let app = at.arg(app, "the app", 0).name(&mut at.recording.problems);
        let span = at.arg(span, "the gap", 1);
        let lasts = at.stretch(&span);
        at.step(app.zip(lasts).map(|(app, lasts)| Step::Gap { app, lasts }))
    });
    method!("starts", |at, time| {
        let value = at.arg(time, "the start", 0);
        let time = value.time(&mut at.recording.problems);
        let bucket = at.recording.known.bucket;
        if time.is_some_and(|time| time.0.rem_euclid(bucket.0) != 0) {
            at.recording.problems.error(&value.at, format!("the start must be at a whole bucket of {bucket}"));
        }
        if !at.recording.steps.is_empty() {
            at.recording.problems.error(&value.at, "t.starts comes before everything else");
        }
        at.step(time.map(Step::Starts))
    });
    method!("deploy", |at, change| changed(&mut at, change));
    method!("ack", |at| at.step(Some(Step::Acknowledge)));
    method!("silence", |at, when, span| {
        let value = at.arg(when, "the silence", 0);
        let when = if value.it.is_array() {
            listed(&value, &mut at.recording.problems)
        } else {
            super::route::matchers(&value, &mut at.recording.problems)
        };
        if when.0.is_empty() {
            at.recording.problems.error(&value.at, "a silence without a matcher would silence everything");
        }
        let span = at.arg(span, "its length", 1);
        let lasts = span.length(&mut at.recording.problems);
        at.step(lasts.map(|lasts| Step::Silence { when, lasts }))
    });
    method!("expect_incident", |at, wanted| {
        let what = read_wanted(&mut at, wanted, true).map(Expectation::Incident);
        at.expect(what)
    });
    method!("expect_resolved", |at, wanted| {
        let what = read_wanted(&mut at, wanted, true).map(Expectation::Resolved);
        at.expect(what)
    });
    method!("expect_resolved", |at| at.expect(Some(Expectation::Resolved(Wanted::default()))));
    method!("expect_no_incident", |at, wanted| {
        let what = read_wanted(&mut at, wanted, false).map(Expectation::NoIncident);
        at.expect(what)
    });
    method!("expect_no_incident", |at| at.expect(Some(Expectation::NoIncident(Wanted::default()))));
    method!("expect_notified", |at, name| {
        let what = receiver(&mut at, name).map(Expectation::Notified);
        at.expect(what)
    });
    method!("expect_not_notified", |at, name| {
        let what = receiver(&mut at, name).map(Expectation::NotNotified);
        at.expect(what)
    });
    method!("expect_budget", |at, slo, bounds| {
        let what = budget(&mut at, slo, bounds);
        at.expect(what)
    });
}

/// Matchers as `/v1/silences` takes them: `["service=shop", "region=~eu.*"]`.
fn listed(value: &Value, problems: &mut Problems) -> Filter {
    let mut conditions = BTreeMap::new();
    for (text, place) in value.named_texts(problems) {
        match Matcher::parse(&text) {
            Ok(matcher) => {
                conditions.insert(matcher.label, matcher.condition);
            }
            Err(error) => problems.error(&place, error.to_string()),
        }
    }
    Filter(conditions)
}

fn receiver(at: &mut At<'_, '_>, name: Dynamic) -> Option<String> {
    let value = at.arg(name, "the receiver", 0);
    let known = at.recording.known.clone();
    named(&value, "receiver", known.receivers.iter(), &mut at.recording.problems)
}

/// A text that names something of the rule set.
fn named<'a>(value: &Value, kind: &str, known: impl Iterator<Item = &'a String> + Clone, problems: &mut Problems) -> Option<String> {
    let name = value.name(problems)?;
    if known.clone().any(|have| *have == name) {
        return Some(name);
    }
    problems.error(&value.at, format!("there is no {kind} `{name}`{}", hint(&name, known.map(String::as_str))));
    None
}

/// What `t.traffic`, `t.late` and `t.history` have in common; the arguments begin at `first`.
fn traffic(at: &mut At<'_, '_>, [metric_, filter, options]: [Dynamic; 3], first: usize) -> Option<Box<Traffic>> {
    let metric_ = at.arg(metric_, "the metric", first);
    let filter = at.arg(filter, "the place", first + 1);
    let options = at.arg(options, "the traffic", first + 2);
    let metric = metric(&metric_, &mut at.recording.problems);
    let known = at.recording.known.clone();
    let mut dims = Vec::new();
    for (name, (key, value)) in filter.entries(&mut at.recording.problems).unwrap_or_default() {
        if let Some(metric) = metric.as_ref().filter(|metric| !has_dimension(metric, &name, &known.dimensions)) {
            at.recording.problems.error(&key, no_dimension(metric, &name, &known.dimensions));
        } else if let Some(text) = value.text(&mut at.recording.problems) {
            dims.push((Arc::from(name.as_str()), Arc::from(text.as_str())));
        }
    }
    let keys = ["per_minute", "bad", "value", "quantiles", "lasts", "users", "bad_users", "sample_rate"];
    let fields = options.fields(&mut at.recording.problems, &keys);
    let (metric, mut fields) = metric.zip(fields)?;
    let per_minute = per_minute(&mut fields, &mut at.recording.problems);
    let lasts = match fields.take("lasts") {
        Some(value) => at.stretch(&value),
        None if per_minute.as_ref().is_some_and(|list| list.len() > 1) => Some(Span::DAY),
        None => fields.need("lasts", &mut at.recording.problems).and(None),
    };
    let problems = &mut at.recording.problems;
    let always = matches!(metric, Metric::JsError | Metric::Crash);
    let bad_ppm = match fields.take("bad") {
        Some(value) => millionths(&value, problems, 0.0, 1.0).inspect(|bad| {
            if !metric.has_bad() && *bad > 0 {
                problems.error(&value.at, format!("no event of `{metric}` is bad by itself; give it a `value` that misses the limit"));
            } else if always && *bad != 1_000_000 {
                problems.error(&value.at, format!("every `{metric}` is bad"));
            }
        }),
        None => Some(if always { 1_000_000 } else { 0 }),
    };
    let kept_ppm = fields.take("sample_rate").map_or(Some(1_000_000), |value| millionths(&value, problems, 0.000_1, 1.0));
    let values = values(&mut fields, &metric, problems);
    let users = people(&mut fields, "users", problems);
    let bad_users = people(&mut fields, "bad_users", problems);
    let (per_minute, lasts, bad_ppm, kept_ppm, values) = (per_minute?, lasts?, bad_ppm?, kept_ppm?, values?);
    let busiest = per_minute.iter().copied().max().unwrap_or(0) / 1_000_000;
    if users.unwrap_or(0).min(busiest as u64) as i64 * (lasts.0 / Span::MINUTE.0) > COUNTED_MAX {
        at.recording.problems.error(&options.at, "these are too many people to count over so long a time; give fewer `users`");
        return None;
    }
    let series = Series::new(metric, dims);
    Some(Box::new(Traffic { series, per_minute, bad_ppm, values, users, bad_users, kept_ppm, lasts }))
}

fn per_minute(fields: &mut Fields, problems: &mut Problems) -> Option<Vec<i64>> {
    let value = fields.need("per_minute", problems)?;
    let items = value.items();
    if items.is_empty() || items.len() > 1_440 {
        problems.error(&value.at, "`per_minute` is a number, or a list of up to 1440 numbers that make up a day");
        return None;
    }
    items.iter().map(|item| millionths(item, problems, 0.0, PER_MINUTE_MAX)).collect()
}

/// A decimal as whole millionths.
fn millionths(value: &Value, problems: &mut Problems, least: f64, most: f64) -> Option<i64> {
    let number = value.number(problems)?;
    if !(least..=most).contains(&number) {
        problems.error(&value.at, format!("{} must be from {least} to {most}, not {number}", value.name));
        return None;
    }
    let exact = value.exact(problems)?.scale(1_000_000, 1).filter(|scaled| scaled.den() == 1);
    if exact.is_none() {
        problems.error(&value.at, format!("{} may have at most 6 decimals", value.name));
    }
    exact.and_then(|scaled| i64::try_from(scaled.num()).ok())
}

fn people(fields: &mut Fields, key: &str, problems: &mut Problems) -> Option<u64> {
    let value = fields.take(key)?;
    let count = value.whole(problems)?;
    if count > USERS_MAX {
        problems.error(&value.at, format!("`{key}` may be at most {USERS_MAX}"));
    }
    Some(count.min(USERS_MAX))
}

fn values(fields: &mut Fields, metric: &Metric, problems: &mut Problems) -> Option<Values> {
    let (value, quantiles) = (fields.take("value"), fields.take("quantiles"));
    let given = value.as_ref().or(quantiles.as_ref());
    if let (Some(given), false) = (given, metric.has_values()) {
        problems.error(&given.at, format!("events of `{metric}` carry no value"));
        return None;
    }
    match (value, quantiles) {
        (Some(value), None) => checked(&value, metric, problems).map(Values::One),
        (None, Some(quantiles)) => read_quantiles(&quantiles, metric, problems),
        (Some(_), Some(quantiles)) => {
            problems.error(&quantiles.at, "give either `value` or `quantiles`");
            None
        }
        (None, None) if metric.has_bad() => Some(Values::Nothing),
        (None, None) => {
            problems.error(&fields.at, format!("events of `{metric}` need a `value`, or `quantiles: #{{ p50: …, p95: … }}`"));
            None
        }
    }
}

fn checked(value: &Value, metric: &Metric, problems: &mut Problems) -> Option<f64> {
    let number = value.number(problems)?;
    let most = if let Metric::Vital(vital) = metric { vital.value_max() } else { f64::MAX };
    if (0.0..=most).contains(&number) {
        return Some(number);
    }
    problems.error(&value.at, format!("{} must be from 0 to {most}: the intake refuses others", value.name));
    None
}

/// `#{ p50: 1200, p95: 2500 }`, or a list of pairs of a share and a value.
fn read_quantiles(value: &Value, metric: &Metric, problems: &mut Problems) -> Option<Values> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    if value.it.is_map() {
        for (key, (place, item)) in value.entries(problems)? {
            let share =
                key.strip_prefix('p').map_or_else(|| key.parse().ok(), |text| text.parse::<f64>().ok().map(|percent| percent / 100.0));
            let Some(share) = share.filter(|share| *share > 0.0 && *share < 1.0) else {
                problems.error(&place, format!("`{key}` is no quantile; write p50, p95, or \"p99.9\""));
                return None;
            };
            points.push((share, checked(&item, metric, problems)?));
        }
    } else {
        for item in value.items() {
            let pair = item.items();
            let [share, item] = pair.as_slice() else {
                item.wrong(problems, "a map like #{ p50: 1200, p95: 2500 }");
                return None;
            };
            points.push((millionths(share, problems, 0.000_001, 0.999_999)? as f64 / 1e6, checked(item, metric, problems)?));
        }
    }
    points.sort_by(|a, b| a.0.total_cmp(&b.0));
    if points.is_empty() || points.windows(2).any(|pair| pair[0].1 > pair[1].1 || pair[0].0 >= pair[1].0) {
        problems.error(&value.at, "quantiles ascend: a larger share has no smaller value");
        return None;
    }
    Some(Values::Quantiles(points))
}

fn changed(at: &mut At<'_, '_>, change: Dynamic) -> Outcome<()> {
    let value = at.arg(change, "the change", 0);
    let problems = &mut at.recording.problems;
    let Some(mut fields) = value.fields(problems, &["kind", "app", "release", "text", "url"]) else { return Ok(()) };
    let kinds = [ChangeKind::Deploy, ChangeKind::Flag, ChangeKind::Sampling, ChangeKind::Other].map(|kind| (kind.name(), kind));
    let kind = fields.take("kind").map_or(Some(ChangeKind::Deploy), |value| value.choice(problems, &kinds));
    let app = fields.need("app", problems).and_then(|value| value.name(problems));
    let mut text = |key: &str| fields.text(key, problems);
    let (release, text, url) = (text("release"), text("text"), text("url"));
    at.recording.changes += 1;
    let id = format!("change-{}", at.recording.changes);
    let change = kind.zip(app).map(|(kind, app)| Change { id, kind, at: Timestamp(0), app, release, text, url });
    at.step(change.map(|change| Step::Changed(Box::new(change))))
}

fn read_wanted(at: &mut At<'_, '_>, wanted: Dynamic, timed: bool) -> Option<Wanted> {
    let value = at.arg(wanted, "the incident", 0);
    let known = at.recording.known.clone();
    let problems = &mut at.recording.problems;
    let mut wanted = Wanted::default();
    let mut labels = BTreeMap::new();
    let mut texts = Vec::new();
    let mut fine = true;
    for (key, (place, value)) in value.entries(problems)? {
        match key.as_str() {
            "severity" => {
                let choices = [Severity::Page, Severity::Ticket, Severity::Info].map(|severity| (severity.name(), severity));
                wanted.severity = value.choice(problems, &choices);
                fine &= wanted.severity.is_some();
            }
            "within" if timed => {
                wanted.within = value.length(problems);
                fine &= wanted.within.is_some();
            }
            "slo" | "rule" => {
                let name = match key.as_str() {
                    "slo" => named(&value, "SLO", known.slos.keys(), problems),
                    _ => named(&value, "rule", known.rules.iter(), problems),
                };
                fine &= name.is_some();
                wanted.rule = name.map(Match::Equal);
            }
            _ if known.labels.contains(&key) => match super::sli::condition(&value, problems) {
                Some(condition) => {
                    labels.insert(key.clone(), condition);
                }
                None => fine = false,
            },
            _ => {
                let mut names: Vec<&str> = known.labels.iter().map(String::as_str).chain(["severity"]).collect();
                names.extend(timed.then_some("within"));
                let near = hint(&key, names.iter().copied());
                let rest = if near.is_empty() { format!("; there are {}", list(&names)) } else { near };
                problems.error(&place, format!("no alert has a label `{}`{rest}", key.chars().take(64).collect::<String>()));
                fine = false;
            }
        }
        texts.push(format!("{key}={}", shown(&value)));
    }
    wanted.labels = Filter(labels);
    wanted.text = texts.join(" ");
    fine.then_some(wanted)
}

fn shown(value: &Value) -> String {
    value.it.clone().into_string().unwrap_or_else(|_| value.it.to_string()).chars().filter(|c| !c.is_control()).take(200).collect()
}

fn budget(at: &mut At<'_, '_>, slo: Dynamic, bounds: Dynamic) -> Option<Expectation> {
    let slo = at.arg(slo, "the SLO", 0);
    let bounds = at.arg(bounds, "the budget", 1);
    let known = at.recording.known.clone();
    let problems = &mut at.recording.problems;
    let slo = named(&slo, "SLO", known.slos.keys(), problems)?;
    let by = &known.slos[&slo];
    let keys: Vec<&str> = ["above", "below"].into_iter().chain(by.iter().map(String::as_str)).collect();
    let mut fields = bounds.fields(problems, &keys)?;
    let mut bound = |key: &str| {
        let value = fields.take(key)?;
        let share = value.number(problems)?;
        if share > 1.0 {
            problems.error(&value.at, format!("`{key}` is a share of the budget, at most 1: 50 % is 0.5, not {share}"));
        }
        Some(share)
    };
    let (above, below) = (bound("above"), bound("below"));
    let group: Labels = by.iter().filter_map(|name| Some((name.clone(), fields.text(name, problems)?))).collect();
    if !group.is_empty() && group.len() < by.len() {
        problems.error(&bounds.at, format!("a group of `{slo}` has {}; without any of them it is the budget of all together", list(by)));
        return None;
    }
    if above.is_none() && below.is_none() {
        problems.error(&bounds.at, "a budget is expected to be `above` or `below` a share, like #{ above: 0.5 }");
        return None;
    }
    Some(Expectation::Budget { slo, group, above, below })
}
