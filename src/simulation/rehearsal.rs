//! Runs the rules' own tests: made-up traffic through the same evaluator, incidents and routes as the daemon's, in simulated
//! time, bounded in real time. `test` shows what came of it; a reload asks before it lets a rule set go live.
//!
//! What stands after a wait, an action or an expectation happens after it; traffic between two of those runs side by side.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use super::timeline::{Entry, after, entries, percent};
use super::{Found, Move, Plan, Simulation};
use crate::domain::alert::AlertChange;
use crate::domain::archive::MemoryArchive;
use crate::domain::burn;
use crate::domain::desk::Silence;
use crate::domain::matcher::Matcher;
use crate::domain::notification::{Change, Status};
use crate::domain::route::matches;
use crate::domain::rule::{Labels, Matchers, Place, RuleSet, Slo};
use crate::domain::segment::Slice;
use crate::domain::series::Series;
use crate::domain::time::{Span, Timestamp};
use crate::domain::traffic::Traffic;
use crate::rules::{Expectation, Loaded, Problem, Step, Test, Wanted};

/// Simulated time begins here unless a test says otherwise: a Monday, 00:00 UTC.
const START: Timestamp = Timestamp(1_767_571_200_000);
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

/// A test laid out in time.
pub(super) struct Score<'a> {
    /// The first that is remembered.
    first: Timestamp,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) traffic: Vec<Part<'a>>,
    pub(super) acts: Vec<(Timestamp, Act<'a>)>,
    pub(super) changes: Vec<Change>,
    /// When the intake was down.
    pub(super) outages: Vec<(Timestamp, Timestamp)>,
    pub(super) expected: Vec<Expected<'a>>,
}

pub(super) struct Part<'a> {
    pub(super) at: Timestamp,
    pub(super) traffic: &'a Traffic,
    pub(super) late: Span,
}

/// What a person does, or what goes missing.
pub(super) enum Act<'a> {
    Acknowledge,
    Silence { when: &'a Matchers, ends: Timestamp },
    Gap { app: &'a str, lasts: Span },
}

pub(super) struct Expected<'a> {
    pub(super) place: &'a Place,
    pub(super) what: &'a Expectation,
    /// The end of everything that stands before it.
    pub(super) at: Timestamp,
    /// The start of the last traffic before it.
    pub(super) since: Timestamp,
}

impl<'a> Score<'a> {
    fn of(test: &'a Test) -> Score<'a> {
        let start = test.steps.iter().find_map(|step| if let Step::Starts(at) = step { Some(*at) } else { None }).unwrap_or(START);
        let mut score = Score {
            first: start,
            start,
            end: start,
            traffic: Vec::new(),
            acts: Vec::new(),
            changes: Vec::new(),
            outages: Vec::new(),
            expected: Vec::new(),
        };
        // Nothing that comes later may begin before `base`, a series not before the end of its last traffic, and an app's
        // not before the end of its gap.
        let mut base = start;
        let mut since = start;
        let mut series: HashMap<&Series, Timestamp> = HashMap::new();
        let mut gaps: HashMap<&str, Timestamp> = HashMap::new();
        for step in &test.steps {
            let now = score.end;
            match step {
                Step::Starts(_) => {}
                Step::Traffic { traffic, late } => {
                    let gap = gaps.get(traffic.series.app()).copied().unwrap_or(start);
                    let at = series.get(&traffic.series).copied().unwrap_or(start).max(base).max(gap);
                    series.insert(&traffic.series, at + traffic.lasts);
                    score.end = now.max(at + traffic.lasts);
                    score.traffic.push(Part { at, traffic, late: *late });
                    since = at;
                }
                Step::History(traffic) => {
                    let at = start - traffic.lasts;
                    score.first = score.first.min(at);
                    score.traffic.push(Part { at, traffic, late: Span::ZERO });
                }
                Step::Wait(span) => {
                    base = now + *span;
                    score.end = base;
                }
                Step::Gap { app, lasts } if app == "*" => {
                    base = now + *lasts;
                    score.outages.push((now, base));
                    score.acts.push((now, Act::Gap { app, lasts: *lasts }));
                    score.end = base;
                }
                Step::Gap { app, lasts } => {
                    let ends = series.iter().filter(|(series, _)| series.app() == app).map(|(_, end)| *end);
                    let at = ends.chain(gaps.get(app.as_str()).copied()).fold(base, Timestamp::max);
                    gaps.insert(app, at + *lasts);
                    score.acts.push((at, Act::Gap { app, lasts: *lasts }));
                    score.end = now.max(at + *lasts);
                }
                Step::Changed(change) => {
                    base = now;
                    score.changes.push(Change { at: now, ..Change::clone(change) });
                }
                Step::Acknowledge => {
                    base = now;
                    score.acts.push((now, Act::Acknowledge));
                }
                Step::Silence { when, lasts } => {
                    base = now;
                    score.acts.push((now, Act::Silence { when, ends: now + *lasts }));
                }
                Step::Expect { place, what } => {
                    base = now;
                    score.expected.push(Expected { place, what, at: now, since });
                }
            }
        }
        score
    }
}

/// What an expectation looks at beside the record, as it was at its time.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// What is left of a budget; `None`: no data.
    remaining: Option<f64>,
    /// Where the rule stood that is expected to fire.
    stands: Vec<String>,
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

/// What is wrong about an expectation; `None`: nothing.
fn judge(expected: &Expected<'_>, seen: &Seen, found: &Found, score: &Score<'_>) -> Option<String> {
    let at = |t: Timestamp| after(t - score.start);
    match expected.what {
        Expectation::Incident(wanted) => incident(expected, wanted, seen, found, score),
        Expectation::NoIncident(wanted) => {
            let moved = moves(wanted, found).find(|moved| moved.at <= expected.at)?;
            let meant = if wanted.text.is_empty() { String::new() } else { format!(" with {}", wanted.text) };
            Some(format!("expected no incident{meant}, but one of `{}` came after {}", moved.rule, at(moved.at)))
        }
        Expectation::Resolved(wanted) => resolved(expected, wanted, found, score),
        Expectation::Notified(receiver) => {
            let told = found.said.iter().any(|said| said.receiver == *receiver && said.at <= expected.at);
            let others: Vec<&str> = found.said.iter().filter(|said| said.at <= expected.at).map(|said| said.receiver.as_str()).collect();
            let instead = match others.first() {
                Some(first) => format!("; who heard something first was `{first}`"),
                None => "; nobody heard anything".to_owned(),
            };
            (!told).then(|| format!("expected `{receiver}` to be notified, but it was not{instead}"))
        }
        Expectation::NotNotified(receiver) => {
            let said = found.said.iter().find(|said| said.receiver == *receiver && said.at <= expected.at)?;
            Some(format!(
                "expected `{receiver}` not to be notified, but it got {} after {}: {}",
                said.kind.name(),
                at(said.at),
                said.reason
            ))
        }
        Expectation::Budget { slo, above, below, .. } => {
            let Some(remaining) = seen.remaining else { return Some(format!("`{slo}` has no budget: nothing of it was measured")) };
            let low = above.filter(|above| remaining <= *above).map(|above| format!("above {}", percent(above)));
            let high = below.filter(|below| remaining >= *below).map(|below| format!("below {}", percent(below)));
            let bound = low.or(high)?;
            Some(format!("expected the budget of `{slo}` to be {bound}, but {} of it are left", percent(remaining)))
        }
    }
}

/// The conditions of a filter, each as a matcher.
fn matchers_of(when: &Matchers) -> Vec<Matcher> {
    when.0.iter().map(|(label, condition)| Matcher { label: label.clone(), condition: condition.clone() }).collect()
}

/// Alerts that opened or rose and are meant.
fn moves<'a>(wanted: &'a Wanted, found: &'a Found) -> impl Iterator<Item = &'a Move> {
    found.moves.iter().filter(|moved| {
        let severity = match moved.change {
            AlertChange::Opened { severity } | AlertChange::Raised { severity } => severity,
            AlertChange::Lowered { .. } | AlertChange::Unconfirmed | AlertChange::Ended => return false,
        };
        moved.incident.is_some() && wanted.severity.is_none_or(|wanted| wanted == severity) && meant(wanted, &moved.rule, &moved.labels)
    })
}

fn meant(wanted: &Wanted, rule: &str, labels: &Labels) -> bool {
    wanted.rule.as_ref().is_none_or(|wanted| wanted.accepts(rule)) && matches(&wanted.labels, labels)
}

fn incident(expected: &Expected<'_>, wanted: &Wanted, seen: &Seen, found: &Found, score: &Score<'_>) -> Option<String> {
    let came: Vec<&Move> = moves(wanted, found).filter(|moved| moved.at <= expected.at).collect();
    let in_time = |moved: &&&Move| wanted.within.is_none_or(|within| moved.at > expected.since && moved.at - expected.since <= within);
    if came.iter().any(|moved| in_time(&moved)) {
        return None;
    }
    let mut text = format!("expected an incident with {}", wanted.text);
    if let Some(first) = came.first() {
        let distance = first.at - expected.since;
        return Some(if distance > Span::ZERO {
            format!("{text}, but it came {} after the start of the last traffic", after(distance))
        } else {
            format!("{text}, but it came {} before the last traffic started", after(-distance))
        });
    }
    let other = Wanted { severity: None, ..wanted.clone() };
    match moves(&other, found).find(|moved| moved.at <= expected.at) {
        Some(moved) => {
            let severity = match moved.change {
                AlertChange::Opened { severity } | AlertChange::Raised { severity } | AlertChange::Lowered { severity } => severity.name(),
                AlertChange::Unconfirmed | AlertChange::Ended => "nothing",
            };
            text.push_str(&format!(", but what came, after {}, was a {severity}", after(moved.at - score.start)));
        }
        None => text.push_str(", but none came"),
    }
    for stand in &seen.stands {
        text.push_str("; ");
        text.push_str(stand);
    }
    Some(text)
}

fn resolved(expected: &Expected<'_>, wanted: &Wanted, found: &Found, score: &Score<'_>) -> Option<String> {
    let meant_incidents = found.incidents.iter().filter(|told| {
        let incident = &told.incident;
        incident.opened_at <= expected.at
            && incident.members.iter().any(|member| {
                let severity = told.severities.get(&member.alert).copied().unwrap_or(member.severity);
                wanted.severity.is_none_or(|wanted| wanted == severity) && meant(wanted, &member.rule, &member.labels)
            })
    });
    let mut any = false;
    let with = if wanted.text.is_empty() { String::new() } else { format!(" with {}", wanted.text) };
    for told in meant_incidents {
        any = true;
        let resolved = told.incident.resolved_at.filter(|at| told.incident.status == Status::Resolved && *at <= expected.at);
        let Some(at) = resolved else {
            let still: Vec<&str> = told.incident.members.iter().filter(|member| member.firing).map(|member| member.rule.as_str()).collect();
            let still = if still.is_empty() { String::new() } else { format!(" ({} fires)", still.join(", ")) };
            return Some(format!("expected the incident{with} to be resolved, but {} is still open{still}", told.incident.key));
        };
        if let Some(within) = wanted.within.filter(|within| at - expected.since > *within) {
            let took = after(at - expected.since);
            return Some(format!(
                "expected the incident{with} to be resolved within {within}, but it took {took} from the last traffic on"
            ));
        }
    }
    (!any).then(|| format!("expected the incident{with} to be resolved, but there was none within {}", after(expected.at - score.start)))
}

/// Where every matching rule stands, for people.
impl Simulation<'_> {
    fn stands(&self, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        const SHOWN: usize = 3;
        let burn = |burn: Option<f64>| burn.map_or_else(|| "no data".to_owned(), |burn| format!("{burn:.1}x"));
        let mut stands: Vec<String> = Vec::new();
        for status in self.write().statuses().iter().filter(|status| wanted(&status.slo)) {
            let group: String = status.group.iter().map(|(name, value)| format!(" {name}={value}")).collect();
            let tiers: Vec<String> = status
                .tiers
                .iter()
                .map(|tier| {
                    let held = tier.held_back.as_ref().map(|held| format!(", held back: {held}")).unwrap_or_default();
                    let burns = format!("{} over {} and {} over {}", burn(tier.burn_long), tier.long, burn(tier.burn_short), tier.short);
                    format!("{} at {}x: {burns}{held}", tier.severity.name(), tier.factor.to_f64())
                })
                .collect();
            stands.push(format!("{}{group} then stood at {}", status.slo, tiers.join(", ")));
        }
        let verdicts: BTreeMap<_, _> = self.free.verdicts.iter().filter(|((rule, _), _)| wanted(rule)).collect();
        for ((rule, group), verdict) in verdicts {
            let said = match verdict {
                crate::rules::Verdict::Unknown(what) => format!("was unknown: {what}"),
                crate::rules::Verdict::Clear => "gave false".to_owned(),
                crate::rules::Verdict::Holds { summary, .. } => format!("gave true: {summary}"),
            };
            stands.push(format!("{rule}{group} last {said}"));
        }
        let more = stands.len().saturating_sub(SHOWN);
        stands.truncate(SHOWN);
        stands.extend((more > 0).then(|| format!("and {more} more groups")));
        stands
    }
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
