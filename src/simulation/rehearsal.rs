//! Runs the rules' own tests: made-up traffic through the same evaluator, incidents and routes as the daemon's, in simulated
//! time, bounded in real time. `test` shows what came of it; a reload asks before it lets a rule set go live.
//!
//! What stands after a wait, an action or an expectation happens after it; traffic between two of those runs side by side.

mod judge;
mod score;

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::timeline::{Entry, entries};
use super::{Found, Plan, Simulation};
use crate::domain::archive::MemoryArchive;
use crate::domain::burn;
use crate::domain::desk::Silence;
use crate::domain::matcher::Matcher;
use crate::domain::rule::{Matchers, Place, RuleSet, Slo};
use crate::domain::segment::Slice;
use crate::domain::time::{Span, Timestamp};
use crate::rules::{Expectation, Loaded, Problem, Test};
use judge::{Seen, judge};

pub(super) use score::{Act, Score};

/// The longest that a test may simulate.
const LENGTH_MAX: Span = Span::days(100);
/// Slices with events, over all traffic of one test.
const CELLS_MAX: i64 = 3_000_000;

/// How long it may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// One test.
    pub each: Duration,
    /// All together: what is not run by then has failed.
    pub all: Duration,
}

impl Default for Limits {
    /// What a reload grants; the tests of the built-in pack take a few seconds.
    fn default() -> Limits {
        Limits { each: Duration::from_secs(30), all: Duration::from_secs(120) }
    }
}

/// What became of one test.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub name: String,
    pub place: Place,
    /// Empty: it passed.
    pub failures: Vec<Failure>,
    /// What happened instead; empty when it passed.
    pub timeline: Vec<Entry>,
    pub took: Duration,
    /// How much time was simulated.
    pub simulated: Span,
}

impl Outcome {
    /// Whether every expectation was met.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }
}

/// An expectation that was not met, or a slip in the test.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub place: Place,
    pub message: String,
}

/// What became of all tests.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub outcomes: Vec<Outcome>,
    /// What is wrong with the test files outside of any test.
    pub problems: Vec<Problem>,
}

impl Report {
    /// Whether everything passed.
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.outcomes.iter().all(Outcome::passed)
    }
}

/// Runs the tests of a rule set whose names `wanted` accepts; `done` hears of each as it ends. Blocks for at most about
/// `limits.all`: call it where that is allowed. A rule set with errors has no tests.
pub fn run(loaded: &Loaded, wanted: &dyn Fn(&str) -> bool, limits: Limits, done: &mut dyn FnMut(&Outcome)) -> Report {
    let Some(set) = &loaded.set else { return Report::default() };
    let started = Instant::now();
    let (tests, problems) = loaded.program.tests(set);
    let rules = Arc::new(set.clone());
    let mut report = Report { outcomes: Vec::new(), problems };
    for test in tests.into_iter().filter(|test| wanted(&test.name)) {
        let began = Instant::now();
        let deadline = (began + limits.each).min(started + limits.all);
        let mut outcome = rehearse(&test, &rules, loaded, deadline);
        outcome.took = began.elapsed();
        done(&outcome);
        report.outcomes.push(outcome);
    }
    report
}

fn rehearse(test: &Test, rules: &Arc<RuleSet>, loaded: &Loaded, deadline: Instant) -> Outcome {
    let mut outcome = Outcome {
        name: test.name.clone(),
        place: test.place.clone(),
        failures: test.problems.iter().map(|problem| Failure { place: problem.place.clone(), message: problem.message.clone() }).collect(),
        timeline: Vec::new(),
        took: Duration::ZERO,
        simulated: Span::ZERO,
    };
    let mut fail = |message: String| outcome.failures.push(Failure { place: test.place.clone(), message });
    if !test.problems.is_empty() {
        return outcome;
    }
    let score = Score::of(test);
    if score.end - score.first > LENGTH_MAX {
        fail(format!("the test is longer than {LENGTH_MAX}"));
        return outcome;
    }
    let bucket = loaded.program.bucket();
    let slices: i64 = score.traffic.iter().map(|part| part.traffic.lasts.0 / bucket.0).sum();
    if slices > CELLS_MAX {
        fail(format!("the test has more than {CELLS_MAX} buckets of traffic; make it shorter"));
        return outcome;
    }
    outcome.simulated = score.end - score.start;
    match play(&score, rules, loaded, deadline) {
        Some((found, seen)) => {
            for (expected, seen) in score.expected.iter().zip(&seen) {
                if let Some(message) = judge(expected, seen, &found, &score) {
                    outcome.failures.push(Failure { place: expected.place.clone(), message });
                }
            }
            for (rule, error) in &found.failures {
                fail_rule(&mut outcome, test, rule, error);
            }
            if !outcome.failures.is_empty() {
                outcome.timeline = entries(&score, &found);
            }
        }
        None => fail("it takes too long; simulate less".into()),
    }
    outcome
}

/// A free-form rule that failed is neither true nor false, so no expectation means anything.
fn fail_rule(outcome: &mut Outcome, test: &Test, rule: &str, error: &str) {
    outcome.failures.push(Failure { place: test.place.clone(), message: format!("the rule `{rule}` failed: {error}") });
}

/// Plays a test; `None` when the deadline passed.
fn play(score: &Score<'_>, rules: &Arc<RuleSet>, loaded: &Loaded, deadline: Instant) -> Option<(Found, Vec<Seen>)> {
    let bucket = loaded.program.bucket();
    let limits = rules.limits();
    let mut archive = MemoryArchive::new(bucket);
    let mut late = Vec::new();
    for part in &score.traffic {
        if Instant::now() > deadline {
            return None;
        }
        let series = &part.traffic.series;
        let limits = limits.get(&series.metric).map_or(&[][..], Vec::as_slice);
        let id = (part.late == Span::ZERO).then(|| archive.intern(series));
        part.traffic.make(part.at, bucket, limits, |slice: Slice, cell| match id {
            Some(id) => archive.add(id, slice, &cell),
            None => late.push((Timestamp((slice + 1) * bucket.0) + part.late, series.clone(), slice, cell)),
        });
    }
    archive.seal();
    score.changes.iter().for_each(|change| archive.add_change(change.clone()));
    let plan = Plan {
        rules: rules.clone(),
        program: &loaded.program,
        only: None,
        archive: Arc::new(RwLock::new(archive)),
        bucket,
        from: score.start,
        to: score.end,
        start: score.first,
        up: &|at| !score.outages.iter().any(|(from, to)| *from <= at && at < *to),
    };
    let mut simulation = Simulation::new(&plan);
    for (at, series, slice, cell) in late {
        simulation.expect_late(at, series, slice, cell);
    }
    let mut seen = vec![Seen::default(); score.expected.len()];
    let mut acts = score.acts.iter().peekable();
    let mut t = score.start;
    loop {
        while let Some((at, act)) = acts.next_if(|(at, _)| *at <= t) {
            match act {
                Act::Acknowledge => {
                    simulation.acknowledge("test", *at);
                }
                Act::Silence { when, ends } => {
                    let silence = Silence { id: "of the test".into(), when: matchers_of(when), starts: *at, ends: *ends };
                    simulation.silence(silence);
                }
                Act::Gap { .. } => {}
            }
        }
        for (expected, seen) in score.expected.iter().zip(&mut seen).filter(|(expected, _)| expected.at == t) {
            *seen = look(expected.what, &simulation, rules);
        }
        let Some(next) = simulation.step() else { break };
        t = next;
        if Instant::now() > deadline {
            return None;
        }
    }
    Some((simulation.finish(), seen))
}

fn look(what: &Expectation, simulation: &Simulation<'_>, rules: &RuleSet) -> Seen {
    let mut seen = Seen::default();
    match what {
        Expectation::Budget { slo, group, .. } => {
            let evaluator = simulation.evaluator();
            let budget = |slo: &Slo| burn::burn(evaluator.window(&slo.name, group, None)?, slo.budget_ppm);
            let burn = evaluator.combined_burn(slo, group, None).or_else(|| rules.slo(slo).and_then(budget));
            seen.remaining = burn.map(|burn| 1.0 - burn);
        }
        Expectation::Incident(wanted) => {
            if let Some(rule) = &wanted.rule {
                seen.stands = simulation.stands(&|name| rule.accepts(name));
            }
        }
        Expectation::NoIncident(_) | Expectation::Resolved(_) | Expectation::Notified(_) | Expectation::NotNotified(_) => {}
    }
    seen
}

/// The conditions of a filter, each as a matcher.
fn matchers_of(when: &Matchers) -> Vec<Matcher> {
    when.0.iter().flat_map(|(label, condition)| Matcher::of(label, condition)).collect()
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
