//! Blame: which segment carries an incident, when nobody in particular does, and what the answer signs with.
//!
//! Sums of a window and of a baseline go in, one row per series; suspects, a verdict and a signature come
//! out. The same rows give the same answer in any order and on any replica: rows are sorted before anything
//! is summed, and every comparison is total.
//!
//! `table` interns the rows and caps what one client counts for, `expectation` says what each series should
//! have had, `segment` says what a set of values earns, `search` finds candidates, `plan` joins the best of
//! them, and this file decides whether anybody is to blame. `signature` is the life of an answer.

mod expectation;
mod plan;
mod search;
mod segment;
mod sentence;
mod signature;
mod table;

use std::collections::BTreeMap;
use std::fmt;

use super::notification::{Change, Suspect, Values, Verdict};
use super::time::{Span, Timestamp};
use plan::Plan;
use segment::Segment;
use table::{Sums, Table};

pub use sentence::{brief, clean, place, sentence, users_text};
pub use signature::{Anchor, Cause, Signature, Update, same_cause};

/// Longest baseline that is worth reading.
pub const BASELINE_MAX: Span = Span::hours(24);
/// Fewest received bad events that say anything.
const RAW_BAD_MIN: f64 = 10.0;
/// Fewest points a segment must score to be named.
const SCORE_MIN: f64 = 12.0;
/// Fewer users than this are one client, which is no segment.
pub const USERS_MIN: u64 = 3;

/// One series: its dimensions, its sums over the window, and its sums over the baseline.
#[derive(Clone, Debug, Default)]
pub struct Row<'a> {
    /// Names and values in any order; an absent dimension is the empty value.
    pub dims: Vec<(&'a str, &'a str)>,
    /// Weighted events in the window.
    pub n: f64,
    /// Weighted bad events in the window.
    pub b: f64,
    /// Events that were really received in the window.
    pub raw: u64,
    /// Bad events that were really received in the window.
    pub raw_bad: u64,
    /// Estimate of the distinct users with a bad event in the window; 0 where users are not known.
    pub bad_users: u64,
    /// Weighted events in the baseline.
    pub baseline_n: f64,
    /// Weighted bad events in the baseline.
    pub baseline_b: f64,
}

/// What is to be explained.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// The app of the SLI, or empty if it looks at several.
    pub app: &'a str,
    /// Every series of the SLI that has anything in the window or in the baseline.
    pub rows: &'a [Row<'a>],
    /// Annotations near the window's start; others are ignored.
    pub changes: &'a [Change],
    /// Start of the window.
    pub window_start: Timestamp,
}

/// A suspect, and the rows of the input that it consists of.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    pub suspect: Suspect,
    /// Indices into [`Input::rows`], ascending: whose user sketches are to be merged.
    pub rows: Vec<usize>,
    /// What an alert signs with when this is its first suspect.
    pub anchor: Anchor,
    /// What it earned.
    pub score: f64,
    /// Weighted over received bad events; more than 1 when the app samples.
    pub weight: f64,
    /// Whether any of its bad events came with a user.
    pub users_known: bool,
}

impl Found {
    /// Whether all of it may come from one client, which signs nothing.
    pub fn one_client(&self) -> bool {
        self.users_known && self.suspect.users < USERS_MIN
    }
}

/// An answer, or an honest refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub verdict: Verdict,
    pub reason: Reason,
    /// Ordered by their share of the excess; empty unless the verdict is `segment`.
    pub found: Vec<Found>,
    /// What it signs with; `None` if it signs nothing.
    pub anchor: Option<Anchor>,
    /// The best score of each anchor that was looked at, for [`Signature::update`].
    pub scores: BTreeMap<Anchor, f64>,
    /// Bad events above what was to be expected, weighted.
    pub excess: f64,
    pub app: String,
}

/// Why the verdict is what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Suspects were found.
    Carried,
    /// There is nothing to compare with.
    NoBaseline,
    /// Too little was seen to say anything.
    TooFew,
    /// Nothing is above what was to be expected.
    NoExcess,
    /// One rise of everything says more than any list of segments.
    CommonRise,
    /// The best segments hold less than half of the excess.
    Scattered,
    /// Those outside of the best segments fail as well.
    OthersToo,
    /// Hardly anybody is outside of the best segments.
    NoWitness,
    /// Several segments together are nearly everybody.
    Broad,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Carried => "the failures above normal come from the named segments, and everyone else fails as usual",
            Reason::NoBaseline => "there is no earlier traffic to compare with",
            Reason::TooFew => "too few bad events were received to tell where they come from",
            Reason::NoExcess => "no more fails than before",
            Reason::CommonRise => "one rise of everything explains it better than any segment",
            Reason::Scattered => "the best segments together hold less than half of the failures above normal",
            Reason::OthersToo => "the others fail too, not only the best segment",
            Reason::NoWitness => "too few events lie outside of the best segment to show that the others are fine",
            Reason::Broad => "the best segments together have more than 80 % of the traffic",
        })
    }
}

impl Explanation {
    /// The key of the answer: `release:shop/2.3.1`, `global:shop`, or empty if it signs nothing.
    pub fn signature(&self) -> String {
        self.anchor.as_ref().map(ToString::to_string).unwrap_or_default()
    }

    /// The suspects as they stand in payloads.
    pub fn suspects(&self) -> Vec<Suspect> {
        self.found.iter().map(|found| found.suspect.clone()).collect()
    }

    /// Fills in the distinct users of each suspect: `merged` gets its rows and gives the estimate of the merged
    /// sketches. A suspect that turns out to be one client no longer signs.
    pub fn count_users(&mut self, mut merged: impl FnMut(&[usize]) -> u64) {
        for found in &mut self.found {
            found.suspect.users = merged(&found.rows);
        }
        if self.verdict == Verdict::Segment {
            self.anchor = first_anchor(&self.found);
        }
    }
}

fn first_anchor(found: &[Found]) -> Option<Anchor> {
    found.iter().find(|found| !found.one_client()).map(|found| found.anchor.clone())
}

/// The baseline that belongs to a window: it ends before the window starts, by the short window but at least five minutes.
pub fn baseline(window_start: Timestamp, short: Span) -> (Timestamp, Timestamp) {
    let end = window_start - short.max(Span::minutes(5));
    (end - BASELINE_MAX, end)
}

/// Whether an answer of `last` is due again: each minute for the first ten, then every five.
pub fn due(opened_at: Timestamp, last: Timestamp, now: Timestamp) -> bool {
    let every = if now - opened_at <= Span::minutes(10) { Span::MINUTE } else { Span::minutes(5) };
    now - last >= every
}

/// Finds who carries the failures above normal, or says that nobody does.
pub fn explain(input: &Input<'_>) -> Explanation {
    let mut table = Table::new(input);
    if table.rows.iter().map(|row| row.baseline_n).sum::<f64>() <= 0.0 {
        return nothing(&table, Verdict::Unknown, Reason::NoBaseline);
    }
    expectation::expect(&mut table);
    let all: Vec<u32> = (0..table.rows.len() as u32).collect();
    let whole = table.sums(&all);
    if whole.raw_bad < RAW_BAD_MIN {
        return nothing(&table, Verdict::Unknown, Reason::TooFew);
    }
    if whole.excess() <= 0.0 {
        return nothing(&table, Verdict::Unknown, Reason::NoExcess);
    }
    let scale = whole.raw_bad / whole.b;
    let judge = segment::Judge::new(&table, input, whole.excess(), scale);
    let everything = judge.gain(&all, &whole);
    let (plan, scores) = plan::best(&judge, &all, &whole);

    let mut answer = nothing(&table, Verdict::Global, Reason::Scattered);
    answer.excess = whole.excess();
    answer.scores = scores;
    answer.anchor = Some(Anchor::global(&table.app));
    match plan {
        // Not even "everything fails more" is worth saying.
        None if everything - segment::WORD < SCORE_MIN => {
            answer.verdict = Verdict::Unknown;
            answer.reason = Reason::TooFew;
            answer.anchor = None;
        }
        None => {}
        Some(plan) => match alike(&table, &plan, &whole, everything, scale) {
            Some(reason) => answer.reason = reason,
            None => {
                answer.verdict = Verdict::Segment;
                answer.reason = Reason::Carried;
                answer.found = report(&judge, &plan, &all, &whole);
                answer.anchor = first_anchor(&answer.found);
            }
        },
    }
    answer
}

fn nothing(table: &Table<'_>, verdict: Verdict, reason: Reason) -> Explanation {
    Explanation { verdict, reason, found: Vec::new(), anchor: None, scores: BTreeMap::new(), excess: 0.0, app: table.app.clone() }
}

/// Why no single segment is to blame, if that is so.
fn alike(table: &Table<'_>, plan: &Plan, whole: &Sums, everything: f64, scale: f64) -> Option<Reason> {
    let inside = table.sums(&plan.covered());
    let outside = *whole - inside;
    if everything > plan.segments.iter().map(|segment| segment.gain).sum::<f64>() {
        return Some(Reason::CommonRise);
    }
    if inside.excess() < 0.5 * whole.excess() {
        return Some(Reason::Scattered);
    }
    // Without anybody outside there is neither a comparison nor a witness.
    if outside.n <= 0.0 {
        return Some(Reason::NoWitness);
    }
    let per_event = inside.excess() / inside.n;
    if outside.excess() / outside.n > 0.2 * per_event || outside.b / outside.e - 1.0 > 0.2 * (inside.b / inside.e - 1.0) {
        return Some(Reason::OthersToo);
    }
    if outside.n * per_event * scale < RAW_BAD_MIN {
        return Some(Reason::NoWitness);
    }
    (plan.segments.len() > 1 && inside.n > 0.8 * whole.n).then_some(Reason::Broad)
}

/// The segments of a plan as suspects, the largest share of the excess first.
fn report(judge: &segment::Judge<'_>, plan: &Plan, all: &[u32], whole: &Sums) -> Vec<Found> {
    let table = judge.table;
    let counted_b: f64 = table.rows.iter().map(|row| row.counted_b).sum();
    let mut found: Vec<Found> = Vec::new();
    for segment in &plan.segments {
        // A later segment of the plan was found among what was left; what is reported is all of it.
        let rows = table.select(all, &segment.terms);
        let sums = table.sums(&rows);
        let of_rows = || rows.iter().map(|row| &table.rows[*row as usize]);
        let own_b: f64 = of_rows().map(|row| row.counted_b).sum();
        let change = judge.change(&segment.terms, &rows);
        let suspect = Suspect {
            terms: terms(table, segment),
            bad_share: own_b / counted_b,
            traffic_share: sums.n / whole.n,
            excess_share: sums.excess() / whole.excess(),
            // A union is at least its largest part; the caller merges the sketches.
            users: of_rows().map(|row| row.bad_users).max().unwrap_or(0),
            new: judge.is_new(&segment.terms),
            change: change.map(|change| change.id.clone()),
        };
        found.push(Found {
            anchor: Anchor::of(&suspect.terms, &table.app_of(&rows)),
            suspect,
            rows: input_rows(table, &rows),
            score: segment.score,
            weight: if sums.raw_bad > 0.0 { sums.b / sums.raw_bad } else { 1.0 },
            users_known: of_rows().any(|row| row.bad_users > 0),
        });
    }
    // The plan's order breaks ties, and it is the same on every replica.
    found.sort_by(|a, b| b.suspect.excess_share.total_cmp(&a.suspect.excess_share));
    found
}

fn input_rows(table: &Table<'_>, rows: &[u32]) -> Vec<usize> {
    let mut input: Vec<usize> = rows.iter().map(|row| table.rows[*row as usize].input).collect();
    input.sort_unstable();
    input
}

fn terms(table: &Table<'_>, segment: &Segment) -> BTreeMap<String, Values> {
    let mut terms = BTreeMap::new();
    for term in &segment.terms {
        let dim = &table.dims[term.dim];
        let mut values: Vec<String> = term.values.iter().map(|code| dim.values[usize::from(*code)].to_owned()).collect();
        let values = if values.len() == 1 { Values::One(values.remove(0)) } else { Values::Any(values) };
        terms.insert(dim.name.to_owned(), values);
    }
    terms
}

#[cfg(test)]
mod tests;
