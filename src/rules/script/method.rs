//! What `t` can do: each method writes down a step.

use std::collections::BTreeMap;
use std::sync::Arc;

use rhai::{Dynamic, Engine, NativeCallContext};

use super::expected::{budget, named_receiver, read_wanted};
use super::traffic::traffic;
use super::{Expectation, Recorder, Recording, STEPS_MAX, Step, Wanted};
use crate::domain::filter::Filter;
use crate::domain::matcher::Matcher;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::Place;
use crate::domain::time::{Span, Timestamp};
use crate::rules::engine::Outcome;
use crate::rules::problem::Problems;
use crate::rules::source::place;
use crate::rules::value::Value;

/// The longest stretch of one step.
const SPAN_MAX: Span = Span::days(100);

/// One call of a method: where it stands.
pub(super) struct At<'a, 'b> {
    pub(super) recording: &'a mut Recording,
    ctx: &'a NativeCallContext<'b>,
}

impl At<'_, '_> {
    fn path(&self) -> String {
        self.ctx.call_source().filter(|source| source.ends_with(".rhai")).unwrap_or(&self.recording.path).to_owned()
    }

    pub(super) fn place(&self) -> Place {
        place(&self.path(), self.ctx.call_position())
    }

    pub(super) fn arg(&self, it: Dynamic, name: &str, index: usize) -> Value {
        let path = self.path();
        let shapes = if path == self.recording.path { self.recording.shapes.clone() } else { Arc::default() };
        Value::argument(it, name, &path, self.ctx.call_position(), index, &shapes)
    }

    pub(super) fn step(&mut self, step: Option<Step>) -> Outcome<()> {
        if self.recording.steps.len() >= STEPS_MAX {
            return Err(format!("a test may have at most {STEPS_MAX} steps").into());
        }
        self.recording.steps.extend(step);
        Ok(())
    }

    pub(super) fn expect(&mut self, what: Option<Expectation>) -> Outcome<()> {
        let place = self.place();
        self.step(what.map(|what| Step::Expect { place, what }))
    }

    /// A stretch of simulated time.
    pub(super) fn stretch(&mut self, value: &Value) -> Option<Span> {
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
pub(super) fn add(engine: &mut Engine) {
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
            crate::rules::route::matchers(&value, &mut at.recording.problems)
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
        let what = named_receiver(&mut at, name).map(Expectation::Notified);
        at.expect(what)
    });
    method!("expect_not_notified", |at, name| {
        let what = named_receiver(&mut at, name).map(Expectation::NotNotified);
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
