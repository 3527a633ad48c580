//! A test laid out in time: when its traffic happens, what people do, and when expectations look.

use std::collections::HashMap;

use crate::domain::notification::Change;
use crate::domain::rule::{Matchers, Place};
use crate::domain::series::Series;
use crate::domain::time::{Span, Timestamp};
use crate::domain::traffic::Traffic;
use crate::rules::{Expectation, Step, Test};

/// Simulated time begins here unless a test says otherwise: a Monday, 00:00 UTC.
const START: Timestamp = Timestamp(1_767_571_200_000);

/// A test laid out in time.
pub(in crate::simulation) struct Score<'a> {
    /// The first that is remembered.
    pub(super) first: Timestamp,
    pub(in crate::simulation) start: Timestamp,
    pub(in crate::simulation) end: Timestamp,
    pub(in crate::simulation) traffic: Vec<Part<'a>>,
    pub(in crate::simulation) acts: Vec<(Timestamp, Act<'a>)>,
    pub(in crate::simulation) changes: Vec<Change>,
    /// When the intake was down.
    pub(in crate::simulation) outages: Vec<(Timestamp, Timestamp)>,
    pub(in crate::simulation) expected: Vec<Expected<'a>>,
}

pub(in crate::simulation) struct Part<'a> {
    pub(in crate::simulation) at: Timestamp,
    pub(in crate::simulation) traffic: &'a Traffic,
    pub(in crate::simulation) late: Span,
}

/// What a person does, or what goes missing.
pub(in crate::simulation) enum Act<'a> {
    Acknowledge,
    Silence { when: &'a Matchers, ends: Timestamp },
    Gap { app: &'a str, lasts: Span },
}

pub(in crate::simulation) struct Expected<'a> {
    pub(in crate::simulation) place: &'a Place,
    pub(in crate::simulation) what: &'a Expectation,
    /// The end of everything that stands before it.
    pub(in crate::simulation) at: Timestamp,
    /// The start of the last traffic before it.
    pub(in crate::simulation) since: Timestamp,
}

impl<'a> Score<'a> {
    pub(super) fn of(test: &'a Test) -> Score<'a> {
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
