//! Rule tests: what a `*_test.rhai` file says, as data (CONTRACT 4).
//!
//! A test's closure runs once and writes down steps; nothing is simulated here. Every slip is a problem with its place.

mod expected;
mod method;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rhai::{Dynamic, Engine, EvalAltResult, FnPtr, NativeCallContext};

use super::engine::{AT_LOAD, Outcome, innermost, message_of, within_budget};
use super::problem::{Level, Problem, Problems, hint};
use super::program::TestScript;
use super::shape::Shapes;
use super::source::place;
use crate::domain::filter::{Filter, Match};
use crate::domain::notification::Change;
use crate::domain::rule::{Labels, Matchers, Place, RuleSet, Severity};
use crate::domain::time::{Span, Timestamp};
use crate::domain::traffic::Traffic;

/// Tests of one rule set, and steps of one test.
const TESTS_MAX: usize = 2_000;
const STEPS_MAX: usize = 2_000;
/// What `t` can do.
pub(super) const METHODS: [&str; 15] = [
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
    method::add(&mut engine);
    let (mut tests, mut problems) = (Vec::new(), Problems::default());
    for script in scripts {
        if let Err(error) = within_budget(AT_LOAD, || engine.run_ast(&script.ast)) {
            let beginning = Place { path: script.path.clone(), line: 1, column: 1 };
            fail(&error, &beginning, &mut problems);
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
        Ok(Err(error)) => fail(&error, &at, &mut recording.problems),
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

/// Reports why a script stopped; `around` is where it began.
fn fail(error: &EvalAltResult, around: &Place, problems: &mut Problems) {
    let (inner, file, at) = innermost(error);
    let path = file.filter(|file| file.ends_with(".rhai")).unwrap_or(&around.path);
    let message = match inner {
        EvalAltResult::ErrorFunctionNotFound(signature, _) if !signature.starts_with("anon$") => usage(signature),
        inner => message_of(inner),
    };
    let known = !at.is_none();
    problems.error(&if known { place(path, at) } else { around.clone() }, message);
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
