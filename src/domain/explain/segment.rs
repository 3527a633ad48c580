//! What a set of values earns as an explanation: a likelihood, less a price for every word that is said.

use std::cmp::Ordering;

use smallvec::SmallVec;

use super::super::notification::{Change, ChangeKind};
use super::super::series::OTHER;
use super::super::time::Span;
use super::table::{Sums, Table};
use super::{Input, RAW_BAD_MIN};

/// Price of a value that is named.
pub(super) const WORD: f64 = 7.0;

/// One or several values of one dimension.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Term {
    pub dim: usize,
    /// Sorted codes.
    pub values: SmallVec<[u16; 5]>,
}

/// Terms on different dimensions, sorted by dimension. No term at all is everything.
pub(super) type Terms = SmallVec<[Term; 3]>;

/// Some terms, the rows they select, and what they earn.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    pub terms: Terms,
    pub rows: Vec<u32>,
    pub sums: Sums,
    /// Evidence, counted in events that were really received.
    pub gain: f64,
    pub score: f64,
    /// The same against a ratio that was given to the search, instead of what was to be expected.
    pub sharp: f64,
}

impl Segment {
    /// Whether a term has several values.
    pub fn has_set(&self) -> bool {
        self.terms.iter().any(|term| term.values.len() > 1)
    }
}

/// How many values are named.
pub(super) fn words(terms: &[Term]) -> usize {
    terms.iter().map(|term| term.values.len()).sum()
}

/// Orders what scores the same: fewer values, then the order of dimensions, then values.
pub(super) fn tie(a: &[Term], b: &[Term]) -> Ordering {
    words(a)
        .cmp(&words(b))
        .then_with(|| a.iter().map(|term| term.dim).cmp(b.iter().map(|term| term.dim)))
        .then_with(|| a.iter().map(|term| &term.values).cmp(b.iter().map(|term| &term.values)))
}

/// n × the Kullback-Leibler divergence of the ratio b/n from the ratio `p`; 0 unless it is higher.
pub(super) fn divergence(n: f64, b: f64, p: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    let q = (b / n).min(1.0);
    if q <= p || p <= 0.0 {
        return 0.0;
    }
    let good = if q < 1.0 { (1.0 - q) * ((1.0 - q) / (1.0 - p)).ln() } else { 0.0 };
    n * (q * (q / p).ln() + good)
}

/// Weighs segments against what was to be expected.
pub(super) struct Judge<'a> {
    pub table: &'a Table<'a>,
    changes: Vec<&'a Change>,
    /// Bad events above what was to be expected, of all rows.
    pub excess: f64,
    /// Received over weighted bad events.
    scale: f64,
    release: Option<usize>,
    cohort: Option<usize>,
    app: Option<usize>,
}

impl<'a> Judge<'a> {
    pub fn new(table: &'a Table<'a>, input: &Input<'a>, excess: f64, scale: f64) -> Judge<'a> {
        let near = |change: &&Change| {
            let after = change.at - input.window_start;
            after >= -Span::HOUR && after <= Span::minutes(5)
        };
        let mut changes: Vec<&Change> = input.changes.iter().filter(near).collect();
        // The latest one that fits is the one to name.
        changes.sort_by(|a, b| b.at.cmp(&a.at).then_with(|| a.id.cmp(&b.id)));
        Judge { table, changes, excess, scale, release: table.dim("release"), cohort: table.dim("cohort"), app: table.dim("app") }
    }

    /// Whether a segment is worth a look.
    pub fn is_candidate(&self, sums: &Sums) -> bool {
        sums.raw_bad >= RAW_BAD_MIN && sums.excess() >= 0.05 * self.excess && sums.b >= 2.0 * sums.e
    }

    /// Received evidence that the sums have their own ratio instead of `p`.
    pub fn evidence(&self, sums: &Sums, p: f64) -> f64 {
        divergence(sums.n, sums.b, p) * self.scale
    }

    /// Received evidence that the rows fail more than was to be expected, all alike or on top of their own backgrounds.
    pub fn gain(&self, rows: &[u32], sums: &Sums) -> f64 {
        if sums.n <= 0.0 {
            return 0.0;
        }
        let own_ratio = divergence(sums.n, sums.b, sums.e / sums.n);
        own_ratio.max(self.on_top(rows, sums)) * self.scale
    }

    /// Log likelihood of "a fault hits each event with probability d on top of its background".
    fn on_top(&self, rows: &[u32], sums: &Sums) -> f64 {
        let mut d = sums.excess() / sums.n;
        if d <= 0.0 {
            return 0.0;
        }
        let bad: Vec<(f64, f64)> =
            rows.iter().map(|row| &self.table.rows[*row as usize]).filter(|row| row.b > 0.0).map(|row| (row.b, row.r)).collect();
        for _ in 0..8 {
            d = bad.iter().map(|(b, r)| b * d / (r + d * (1.0 - r))).sum::<f64>() / sums.n;
        }
        let d = d.min(1.0);
        let hit: f64 = bad.iter().map(|(b, r)| b * ((r + d * (1.0 - r)) / r).ln()).sum();
        let good = sums.n - sums.b;
        if good > 0.0 { hit + good * (1.0 - d).ln() } else { hit }
    }

    /// Evidence less the price of the words, with the bonus that decides near ties.
    pub fn score(&self, terms: &[Term], rows: &[u32], evidence: f64) -> f64 {
        let words = words(terms) as f64;
        let count = terms.len() as f64;
        (evidence - WORD * words) * (1.0 - 0.05 * (count - 1.0) - 0.02 * (words - count)) * self.bonus(terms, rows)
    }

    fn bonus(&self, terms: &[Term], rows: &[u32]) -> f64 {
        let is_other = |term: &Term| term.values.iter().any(|code| self.table.dims[term.dim].values[usize::from(*code)] == OTHER);
        let mut bonus = 1.0;
        if self.is_new(terms) {
            bonus += 0.06;
        }
        if self.change(terms, rows).is_some() {
            bonus += 0.06;
        }
        if terms.iter().any(is_other) {
            bonus -= 0.06;
        }
        bonus
    }

    /// Whether a term had less than a tenth of today's share of the traffic in the baseline.
    pub fn is_new(&self, terms: &[Term]) -> bool {
        terms.iter().any(|term| {
            let traffic = &self.table.dims[term.dim].traffic;
            let (mut all, mut own) = ((0.0, 0.0), (0.0, 0.0));
            for (code, (n, baseline_n)) in traffic.iter().enumerate() {
                let named = if term.values.contains(&(code as u16)) { 1.0 } else { 0.0 };
                all = (all.0 + n, all.1 + baseline_n);
                own = (own.0 + n * named, own.1 + baseline_n * named);
            }
            // own.1 / all.1 < own.0 / all.0 / 10, without dividing by nothing
            10.0 * own.1 * all.0 < own.0 * all.1
        })
    }

    /// The annotation that names the segment: a deploy of its release, or a flag of its cohort.
    pub fn change(&self, terms: &[Term], rows: &[u32]) -> Option<&'a Change> {
        let values = |dim: Option<usize>| {
            let term = terms.iter().find(|term| Some(term.dim) == dim)?;
            Some(term.values.iter().map(|code| self.table.dims[term.dim].values[usize::from(*code)]))
        };
        self.changes.iter().copied().find(|change| {
            let named = match change.kind {
                ChangeKind::Deploy => {
                    values(self.release).is_some_and(|mut releases| releases.any(|release| Some(release) == change.release.as_deref()))
                }
                ChangeKind::Flag => values(self.cohort).is_some_and(|mut cohorts| cohorts.any(|cohort| names_cohort(change, cohort))),
                ChangeKind::Sampling | ChangeKind::Other => false,
            };
            named && self.has_app(rows, &change.app)
        })
    }

    fn has_app(&self, rows: &[u32], app: &str) -> bool {
        match self.app {
            None => self.table.app == app,
            Some(dim) => {
                let dim = &self.table.dims[dim];
                dim.values.binary_search(&app).is_ok_and(|code| rows.iter().any(|row| usize::from(dim.codes[*row as usize]) == code))
            }
        }
    }
}

/// Whether the words of a flag's annotation name a cohort, as `new-checkout` or by its flag in `new-checkout=on`.
fn names_cohort(change: &Change, cohort: &str) -> bool {
    let flag = cohort.split(['=', ':']).next().unwrap_or(cohort);
    let is_word = |c: char| c.is_alphanumeric() || "-_.:=/".contains(c);
    let texts = [change.text.as_deref(), change.release.as_deref()];
    let mut words = texts.into_iter().flatten().flat_map(|text| text.split(|c: char| !is_word(c)));
    !cohort.is_empty() && words.any(|word| word == cohort || word == flag)
}
