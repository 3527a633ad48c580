//! Burn rates: whether a tier's windows pass its factor, exactly (SEMANTICS 2, 3, 5, 8 to 12).

mod budget;
mod composite;
mod confidence;
mod exact;

use std::cmp::Ordering;

pub use self::budget::{BudgetState, budget, consumed, exhausted_within, forecast};
pub use self::composite::{Part, judge_mean};
use self::confidence::{normal_quantile, wilson_lower};
use self::exact::compare_products;
use super::cell::{Counts, UNIT};
use super::coverage::Coverage;
use super::rule::{Op, Slo, Tier};
use super::snapshot::TierVerdict;
use super::time::Span;

/// Parts per million in one.
const UNIT_PPM: i128 = 1_000_000;

/// One window of a tier as it stands.
#[derive(Clone, Copy, Debug)]
pub struct View {
    pub counts: Counts,
    pub coverage: Coverage,
    pub length: Span,
}

/// What the whole period says, for traffic-corrected burn (SEMANTICS 10).
#[derive(Clone, Copy, Debug)]
pub struct Season {
    /// Events of the period, in millionths.
    pub total: i64,
    /// The period, or as much of it as there is history for.
    pub length: Span,
}

/// Why a guard held a tier back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    MinEvents { have: i64, need: u64 },
    MinBad { have: i64, need: u64 },
    Confidence,
}

impl std::fmt::Display for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Guard::MinEvents { have, need } => write!(f, "min_events: {have} of {need} events"),
            Guard::MinBad { have, need } => write!(f, "min_bad: {have} of {need} bad events"),
            Guard::Confidence => f.write_str("confidence: too few events to be sure"),
        }
    }
}

/// What one evaluation says of one tier.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    pub verdict: TierVerdict,
    pub guard: Option<Guard>,
    /// Whether each window passes by itself.
    pub long_over: bool,
    pub short_over: bool,
}

/// Judges a tier: both windows, coverage, guards, in the order of SEMANTICS 5 and 8.
pub fn judge(slo: &Slo, tier: &Tier, long: &View, short: &View, season: Option<Season>) -> Judgement {
    let unknown = Judgement { verdict: TierVerdict::Unknown, guard: None, long_over: false, short_over: false };
    if long.counts.total <= 0 || short.counts.total <= 0 {
        return unknown;
    }
    let plain = |view: &View| passes(slo, tier, view, None, season);
    let (long_over, short_over) = (plain(long), plain(short));
    let measured = Judgement { long_over, short_over, ..unknown };
    let enough = long.coverage.is_enough() && short.coverage.is_enough();
    let holds = if enough {
        long_over && short_over
    } else {
        // What was not measured is taken as good, at the window's mean traffic.
        [long, short].into_iter().all(|view| passes(slo, tier, view, Some(view.coverage), season))
    };
    let no = if enough { TierVerdict::Clear } else { TierVerdict::Unknown };
    if !holds {
        return Judgement { verdict: no, ..measured };
    }
    match guard(slo, tier, long, enough) {
        Some(guard) => Judgement { verdict: no, guard: Some(guard), ..measured },
        None => Judgement { verdict: TierVerdict::Holds, ..measured },
    }
}

/// bad / total against factor × budget, with every product whole.
fn passes(slo: &Slo, tier: &Tier, view: &View, coverage: Option<Coverage>, season: Option<Season>) -> bool {
    let bad = view.counts.bad.clamp(0, i64::MAX).unsigned_abs();
    // One stands for a factor that does not apply.
    let (mut left, mut right) = ([bad, tier.factor.den() as u64, 1_000_000, 1, 1], [1; 6]);
    right[0] = tier.factor.num().max(0) as u64;
    right[1] = u64::from(slo.budget_ppm);
    match season {
        // burn = bad / (budget × events of the period × window / period)
        Some(season) => {
            left[3] = season.length.0.unsigned_abs();
            right[2] = season.total.max(0).unsigned_abs();
            right[3] = view.length.0.unsigned_abs();
        }
        None => right[2] = view.counts.total.unsigned_abs(),
    }
    if let Some(coverage) = coverage {
        left[4] = u64::from(coverage.covered);
        right[4] = u64::from(coverage.of);
    }
    match compare_products(&left, &right) {
        Ordering::Greater => true,
        Ordering::Equal => tier.op == Op::AtLeast,
        Ordering::Less => false,
    }
}

fn guard(slo: &Slo, tier: &Tier, long: &View, enough: bool) -> Option<Guard> {
    let counts = long.counts;
    let raw_bad = counts.raw_bad.max(0);
    if counts.raw < slo.min_events as i64 {
        return Some(Guard::MinEvents { have: counts.raw, need: slo.min_events });
    }
    let min_bad = slo.min_bad.unwrap_or(if counts.bad > raw_bad.saturating_mul(UNIT) { 2 } else { 0 });
    if raw_bad < min_bad as i64 {
        return Some(Guard::MinBad { have: raw_bad, need: min_bad });
    }
    let confidence = slo.confidence?;
    let share = counts.bad.clamp(0, counts.total) as f64 / counts.total as f64;
    let share = if enough { share } else { share * long.coverage.ratio() };
    let bound = wilson_lower(share, counts.effective(), normal_quantile(confidence));
    let limit = tier.factor.to_f64() * f64::from(slo.budget_ppm) / 1e6;
    let passes = if tier.op == Op::AtLeast { bound >= limit } else { bound > limit };
    (!passes).then_some(Guard::Confidence)
}

/// The burn of a window: error ratio over budget; `None` where nothing was measured.
pub fn burn(counts: Counts, budget_ppm: u32) -> Option<f64> {
    if counts.total <= 0 || budget_ppm == 0 {
        return None;
    }
    Some(error_ratio(counts)? / (f64::from(budget_ppm) / 1e6))
}

/// Burn by the traffic of the whole period (SEMANTICS 10).
pub fn corrected_burn(view: &View, budget_ppm: u32, season: Season) -> Option<f64> {
    if view.counts.total <= 0 || season.total <= 0 || season.length.0 <= 0 {
        return None;
    }
    let expected = season.total as f64 * view.length.0 as f64 / season.length.0 as f64;
    Some(view.counts.bad.max(0) as f64 / (f64::from(budget_ppm) / 1e6 * expected))
}

/// bad / total, at most 1; `None` where nothing was measured.
pub fn error_ratio(counts: Counts) -> Option<f64> {
    (counts.total > 0).then(|| counts.bad.max(0) as f64 / counts.total as f64)
}

#[cfg(test)]
mod tests;
