//! Joins the best segments into a plan: one fault, or up to four at once.

use std::collections::BTreeMap;

use super::search::search;
use super::segment::{Judge, Segment, tie};
use super::signature::Anchor;
use super::table::Sums;
use super::{SCORE_MIN, terms};

const SEGMENTS_MAX: usize = 4;
/// How many times a sharper segment is looked for.
const SHARPER: usize = 3;

/// Segments that together explain the excess, in the order in which they were found.
pub(super) struct Plan {
    /// Each one but the first was weighed on the rows that those before it left.
    pub segments: Vec<Segment>,
}

impl Plan {
    /// The rows of all segments, ascending.
    pub fn covered(&self) -> Vec<u32> {
        let mut rows: Vec<u32> = self.segments.iter().flat_map(|segment| segment.rows.iter().copied()).collect();
        rows.sort_unstable();
        rows
    }

    fn worth(&self) -> f64 {
        let sum: f64 = self.segments.iter().map(|segment| segment.score).sum();
        sum * (1.0 - 0.03 * (self.segments.len() as f64 - 1.0))
    }
}

/// The plan that is worth most, and the best score of every anchor that was looked at.
pub(super) fn best(judge: &Judge<'_>, all: &[u32], whole: &Sums) -> (Option<Plan>, BTreeMap<Anchor, f64>) {
    let (starts, mut scores) = starts(judge, all, whole);
    let mut best: Option<Plan> = None;
    for start in starts {
        let plan = follow(judge, start, all);
        for segment in &plan.segments {
            note(judge, segment, &mut scores);
        }
        // The earlier start stays when nothing is gained.
        if best.as_ref().is_none_or(|best| plan.worth() > best.worth()) {
            best = Some(plan);
        }
    }
    (best, scores)
}

/// Where to begin: the best, the best without sets, and segments that stand out even from the fault around them. The last are
/// what separates two small faults from one broad segment that happens to hold both.
fn starts(judge: &Judge<'_>, all: &[u32], whole: &Sums) -> (Vec<Segment>, BTreeMap<Anchor, f64>) {
    let mut ratio = whole.b / whole.n;
    let mut found = search(judge, all, ratio);
    let mut scores = BTreeMap::new();
    for segment in &found {
        note(judge, segment, &mut scores);
    }
    let plain = |segment: &&Segment| !segment.has_set();
    let big = |segment: &&Segment| segment.sums.excess() >= 0.1 * judge.excess;
    let mut starts: Vec<Segment> = Vec::new();
    starts.extend(top(found.iter().filter(big), |segment| segment.score).cloned());
    starts.extend(top(found.iter().filter(big).filter(plain), |segment| segment.score).cloned());
    for turn in 0..SHARPER {
        if turn > 0 {
            found = search(judge, all, ratio);
        }
        let Some(sharper) = top(found.iter().filter(big).filter(plain), |segment| segment.sharp) else { break };
        if sharper.sharp < SCORE_MIN {
            break;
        }
        ratio = sharper.sums.b / sharper.sums.n;
        starts.push(sharper.clone());
    }
    starts.retain(|segment| segment.score >= SCORE_MIN);
    let mut seen = Vec::new();
    starts.retain(|segment| {
        let is_new = !seen.contains(&segment.terms);
        seen.push(segment.terms.clone());
        is_new
    });
    (starts, scores)
}

/// Goes on from a start, greedily, on what is not explained yet.
fn follow(judge: &Judge<'_>, start: Segment, all: &[u32]) -> Plan {
    let mut plan = Plan { segments: vec![start] };
    while plan.segments.len() < SEGMENTS_MAX {
        let covered = plan.covered();
        let left: Vec<u32> = all.iter().copied().filter(|row| covered.binary_search(row).is_err()).collect();
        let sums = judge.table.sums(&left);
        if sums.excess() < 0.1 * judge.excess {
            break;
        }
        let found = search(judge, &left, sums.b / sums.n);
        let first = plan.segments[0].gain;
        let good =
            |segment: &&Segment| segment.score >= SCORE_MIN && segment.gain >= 0.08 * first && segment.sums.excess() >= 0.1 * judge.excess;
        let Some(next) = top(found.iter().filter(good), |segment| segment.score).cloned() else { break };
        plan.segments.push(next);
    }
    plan
}

/// The segment with the highest measure; ties go to what is said with less.
fn top<'s>(segments: impl Iterator<Item = &'s Segment>, measure: impl Fn(&Segment) -> f64) -> Option<&'s Segment> {
    segments.min_by(|a, b| measure(b).total_cmp(&measure(a)).then_with(|| tie(&a.terms, &b.terms)))
}

fn note(judge: &Judge<'_>, segment: &Segment, scores: &mut BTreeMap<Anchor, f64>) {
    let anchor = Anchor::of(&terms(judge.table, segment), &judge.table.app_of(&segment.rows));
    let best = scores.entry(anchor).or_insert(segment.score);
    *best = best.max(segment.score);
}
