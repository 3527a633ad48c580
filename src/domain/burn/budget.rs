//! Error budgets: what is left, how long that lasts, and when it is too little (SEMANTICS 12).

use std::cmp::Ordering;

use super::exact::Ratio;
use super::{UNIT_PPM, burn};
use crate::domain::cell::Counts;
use crate::domain::time::Span;

/// Where a budget stands (SEMANTICS 12).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetState {
    /// 1 - bad / allowed: signed, never clamped.
    pub remaining: f64,
    /// P / burn: how long the whole budget lasts at this rate; `None` when nothing burns.
    pub pace_secs: Option<f64>,
    /// max(0, remaining) × P / burn.
    pub countdown_secs: Option<f64>,
}

/// The budget of a period of length `period`, at the burn that the period itself shows.
pub fn budget(counts: Counts, budget_ppm: u32, period: Span) -> Option<BudgetState> {
    let burn = burn(counts, budget_ppm)?;
    let remaining = 1.0 - burn;
    Some(forecast(remaining, burn, period))
}

/// The two forecasts of a budget that has `remaining` left and burns at `burn`.
pub fn forecast(remaining: f64, burn: f64, period: Span) -> BudgetState {
    let pace = (burn > 0.0).then(|| period.as_secs_f64() / burn);
    BudgetState { remaining, pace_secs: pace, countdown_secs: pace.map(|pace| remaining.max(0.0) * pace) }
}

/// Which share of the budget of `whole`, the SLO's window, `bad` events (in millionths) are: 0.75 is three quarters, 1 and more is all
/// of it. `None` where nothing was measured.
///
/// A share that is a decimal is exactly the number that the decimal reads as, so that `>= 0.75` holds at equality.
pub fn consumed(bad: i64, whole: Counts, budget_ppm: u32) -> Option<f64> {
    if whole.total <= 0 || budget_ppm == 0 {
        return None;
    }
    let top = i128::from(bad.max(0)) * UNIT_PPM;
    let bottom = i128::from(whole.total) * i128::from(budget_ppm);
    // In lowest terms both sides of a decimal are small, and one division of small numbers rounds as reading the decimal does.
    let common = gcd(top, bottom);
    Some((top / common) as f64 / (bottom / common) as f64)
}

fn gcd(mut a: i128, mut b: i128) -> i128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Whether the budget of `whole` is gone after `within` at the latest, should it go on burning as over `recent`:
/// countdown <= H, with every product whole. `None` where nothing was measured.
///
/// With B = bad × 10⁶ / (budget × total) of each window: (1 - B) × P / B' <= H, and what is gone already is gone.
pub fn exhausted_within(whole: Counts, recent: Counts, budget_ppm: u32, period: Span, within: Span) -> Option<bool> {
    if whole.total <= 0 || recent.total <= 0 || budget_ppm == 0 {
        return None;
    }
    let [total, recent_total] = [whole, recent].map(|counts| counts.total.unsigned_abs());
    let [bad, recent_bad] = [whole, recent].map(|counts| counts.bad.max(0).unsigned_abs());
    let (budget, million) = (u64::from(budget_ppm), UNIT_PPM as u64);
    let product = |factors: &[u64]| Ratio::new(factors, &[1]);
    if product(&[bad, million]).cmp(&product(&[budget, total])) != Ordering::Less {
        return Some(true);
    }
    if recent_bad == 0 {
        return Some(false);
    }
    let [period, within] = [period, within].map(|span| span.0.max(0).unsigned_abs());
    let burnt = product(&[bad, million, period, recent_total]);
    let ahead = product(&[within, recent_bad, million, total]);
    Some(product(&[budget, total, period, recent_total]).cmp(&burnt.plus(&ahead)) != Ordering::Greater)
}
