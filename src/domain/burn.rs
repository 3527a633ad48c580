//! Burn rates: whether a tier's windows pass its factor, exactly (SEMANTICS 2, 3, 5, 8 to 12).

use std::cmp::Ordering;

use super::cell::{Counts, UNIT};
use super::coverage::Coverage;
use super::fraction::Fraction;
use super::rule::{Op, Slo, Tier};
use super::snapshot::TierVerdict;
use super::time::Span;

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

/// What a composite's burn is made of (SEMANTICS 20).
#[derive(Clone, Debug)]
pub enum Part {
    /// An SLO with data: its budget and its two windows.
    Slo { budget_ppm: u32, long: View, short: View },
    /// The weighted mean of others.
    Mean(Vec<(Fraction, Part)>),
    /// The highest of others.
    Worst(Vec<Part>),
}

impl Part {
    /// Calls `visit` with the two windows of every SLO in it.
    fn visit(&self, visit: &mut impl FnMut(&View, &View)) {
        match self {
            Part::Slo { long, short, .. } => visit(long, short),
            Part::Mean(parts) => parts.iter().for_each(|(_, part)| part.visit(visit)),
            Part::Worst(parts) => parts.iter().for_each(|part| part.visit(visit)),
        }
    }

    /// The burn over one of the windows. What was not measured burns nothing; `covered` also takes the uncovered part
    /// of a window as good.
    fn burn(&self, of: Window, covered: bool) -> Ratio {
        match self {
            Part::Slo { budget_ppm, long, short } => {
                let view = match of {
                    Window::Long => long,
                    Window::Short => short,
                };
                if view.counts.total <= 0 || (covered && view.coverage.of == 0) {
                    return Ratio::new(&[0], &[1]);
                }
                let (share, of) = if covered { (u64::from(view.coverage.covered), u64::from(view.coverage.of)) } else { (1, 1) };
                let (bad, total) = (view.counts.bad.max(0).unsigned_abs(), view.counts.total.unsigned_abs());
                Ratio::new(&[bad, 1_000_000, share], &[total, u64::from(*budget_ppm), of])
            }
            Part::Mean(parts) => {
                let (mut sum, mut weights) = (Ratio::new(&[0], &[1]), Ratio::new(&[0], &[1]));
                for (weight, part) in parts {
                    let weight = Ratio::new(&[weight.num().unsigned_abs() as u64], &[weight.den().unsigned_abs() as u64]);
                    sum = sum.plus(&part.burn(of, covered).by(&weight));
                    weights = weights.plus(&weight);
                }
                // Weights that are all zero would make it infinite; a loaded rule set has none.
                if weights.top.limbs.is_empty() {
                    Ratio::new(&[0], &[1])
                } else {
                    sum.by(&Ratio { top: weights.bottom, bottom: weights.top })
                }
            }
            Part::Worst(parts) => {
                let burns = parts.iter().map(|part| part.burn(of, covered));
                burns.max_by(Ratio::cmp).unwrap_or_else(|| Ratio::new(&[0], &[1]))
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Window {
    Long,
    Short,
}

/// Judges a tier of a weighted composite by its burn, in the order of [`judge`]. What a member did not measure counts as
/// good; it is enough for a page, never for an all-clear.
pub fn judge_mean(slo: &Slo, tier: &Tier, part: &Part) -> Judgement {
    let (mut slos, mut measured, mut counts) = (0, true, Counts::ZERO);
    part.visit(&mut |long, short| {
        slos += 1;
        measured &= [long, short].into_iter().all(|view| view.counts.total > 0 && view.coverage.is_enough());
        counts += long.counts;
    });
    let passes = |of: Window, covered: bool| {
        let burn = part.burn(of, covered);
        match burn.cmp(&Ratio::new(&[tier.factor.num().max(0) as u64], &[tier.factor.den().unsigned_abs() as u64])) {
            Ordering::Greater => true,
            Ordering::Equal => tier.op == Op::AtLeast,
            Ordering::Less => false,
        }
    };
    let (long_over, short_over) = (passes(Window::Long, false), passes(Window::Short, false));
    let holds = if measured { long_over && short_over } else { passes(Window::Long, true) && passes(Window::Short, true) };
    let no = if measured && slos > 0 { TierVerdict::Clear } else { TierVerdict::Unknown };
    if !holds {
        return Judgement { verdict: no, guard: None, long_over, short_over };
    }
    // How sure a mean of several burns is cannot be said by the bound of one ratio.
    let plain = Slo { confidence: None, ..slo.clone() };
    let whole = View { counts, coverage: Coverage { covered: 1, of: 1 }, length: tier.long };
    match guard(&plain, tier, &whole, measured) {
        Some(guard) => Judgement { verdict: no, guard: Some(guard), long_over, short_over },
        None => Judgement { verdict: TierVerdict::Holds, guard: None, long_over, short_over },
    }
}

/// A fraction of any size, not below zero.
#[derive(Clone, Debug)]
struct Ratio {
    top: Big,
    bottom: Big,
}

impl Ratio {
    /// One product over another.
    fn new(top: &[u64], bottom: &[u64]) -> Ratio {
        let product = |factors: &[u64]| factors.iter().fold(Big::from(1), |product, factor| product.times(*factor));
        Ratio { top: product(top), bottom: product(bottom) }
    }

    fn plus(&self, other: &Ratio) -> Ratio {
        Ratio { top: self.top.by(&other.bottom).plus(&other.top.by(&self.bottom)), bottom: self.bottom.by(&other.bottom) }
    }

    fn by(&self, other: &Ratio) -> Ratio {
        Ratio { top: self.top.by(&other.top), bottom: self.bottom.by(&other.bottom) }
    }

    fn cmp(&self, other: &Ratio) -> Ordering {
        self.top.by(&other.bottom).cmp(&other.top.by(&self.bottom))
    }
}

/// A whole number of any size: the mean of many fractions has no bound that a machine word would hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Big {
    /// The lowest first, none of them zero at the end.
    limbs: Vec<u64>,
}

impl Big {
    fn from(value: u64) -> Big {
        Big { limbs: vec![value] }.trimmed()
    }

    fn trimmed(mut self) -> Big {
        while self.limbs.last() == Some(&0) {
            self.limbs.pop();
        }
        self
    }

    fn times(&self, factor: u64) -> Big {
        let mut carry = 0_u128;
        let mut limbs = Vec::with_capacity(self.limbs.len() + 1);
        for limb in &self.limbs {
            let value = u128::from(*limb) * u128::from(factor) + carry;
            limbs.push(value as u64);
            carry = value >> 64;
        }
        limbs.push(carry as u64);
        Big { limbs }.trimmed()
    }

    fn plus(&self, other: &Big) -> Big {
        let mut carry = 0_u128;
        let mut limbs = Vec::new();
        for at in 0..self.limbs.len().max(other.limbs.len()) {
            let value = [self, other].iter().map(|big| u128::from(big.limbs.get(at).copied().unwrap_or(0))).sum::<u128>() + carry;
            limbs.push(value as u64);
            carry = value >> 64;
        }
        limbs.push(carry as u64);
        Big { limbs }.trimmed()
    }

    fn by(&self, other: &Big) -> Big {
        let mut product = Big::from(0);
        for limb in other.limbs.iter().rev() {
            if !product.limbs.is_empty() {
                product.limbs.insert(0, 0);
            }
            product = product.plus(&self.times(*limb));
        }
        product
    }

    fn cmp(&self, other: &Big) -> Ordering {
        self.limbs.len().cmp(&other.limbs.len()).then_with(|| self.limbs.iter().rev().cmp(other.limbs.iter().rev()))
    }
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

/// Compares two products of whole numbers without rounding and without overflow.
pub fn compare_products(left: &[u64], right: &[u64]) -> Ordering {
    const LIMBS: usize = 8;
    fn product(factors: &[u64]) -> [u64; LIMBS] {
        let mut limbs = [0_u64; LIMBS];
        limbs[0] = 1;
        for factor in factors {
            let mut carry = 0_u128;
            for limb in &mut limbs {
                let value = u128::from(*limb) * u128::from(*factor) + carry;
                *limb = value as u64;
                carry = value >> 64;
            }
            debug_assert_eq!(carry, 0, "eight factors of 64 bits fit into 512");
        }
        limbs
    }
    let small = |factors: &[u64]| factors.iter().try_fold(1_u128, |product, factor| product.checked_mul(u128::from(*factor)));
    match (small(left), small(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => product(left).iter().rev().cmp(product(right).iter().rev()),
    }
}

/// Lower bound of the Wilson score interval for a share `p` of `n` events
/// (E. B. Wilson, J. Am. Stat. Assoc. 22, 1927).
pub fn wilson_lower(p: f64, n: f64, z: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    let z2 = z * z;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).max(0.0).sqrt() / (1.0 + z2 / n);
    centre - half
}

/// The point below which the share `p` of a standard normal distribution lies, for 0 < p < 1
/// (M. J. Wichura, algorithm AS 241, routine PPND7: about seven digits).
pub fn normal_quantile(p: f64) -> f64 {
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180_625 - q * q;
        return q * (((59.109_374_720 * r + 159.291_132_02) * r + 50.434_271_938) * r + 3.387_132_717_9)
            / (((67.187_563_600 * r + 78.757_757_664) * r + 17.895_169_469) * r + 1.0);
    }
    let tail = if q < 0.0 { p } else { 1.0 - p };
    let r = (-tail.max(f64::MIN_POSITIVE).ln()).sqrt();
    let value = if r <= 5.0 {
        let r = r - 1.6;
        (((0.170_238_210_3 * r + 1.306_728_481_6) * r + 2.756_815_390_0) * r + 1.423_437_277_7)
            / ((0.120_211_326_8 * r + 0.737_001_642_5) * r + 1.0)
    } else {
        let r = r - 5.0;
        (((0.017_337_203_997 * r + 0.428_682_944_86) * r + 3.081_226_386_0) * r + 6.657_905_115_0)
            / ((0.012_258_202_635 * r + 0.241_978_942_57) * r + 1.0)
    };
    if q < 0.0 { -value } else { value }
}

/// The factor that spends the share `share` of a period's budget in `long` (SEMANTICS 3).
pub fn factor_for_share(share: Fraction, period: Span, long: Span) -> Option<Fraction> {
    share.scale(i128::from(period.0), i128::from(long.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::{NoData, Severity, Sli, SloWindow};

    fn slo(budget_ppm: u32) -> Slo {
        Slo {
            name: "s".into(),
            place: Default::default(),
            description: String::new(),
            owner: String::new(),
            service: String::new(),
            budget_ppm,
            window: SloWindow::Rolling(Span::days(30)),
            sli: Sli::Composite { members: vec![], how: crate::domain::rule::Combine::Worst },
            by: vec![],
            tiers: vec![],
            min_events: 0,
            min_bad: None,
            confidence: None,
            traffic_corrected: false,
            no_data: NoData::Keep,
            labels: Default::default(),
            runbook: None,
            dashboard: None,
            tier: None,
            enabled: true,
            budget_policy: None,
        }
    }

    fn tier(factor: &str, op: Op) -> Tier {
        Tier {
            place: Default::default(),
            severity: Severity::Page,
            long: Span::hours(1),
            short: Span::minutes(5),
            factor: factor.parse().unwrap(),
            op,
            pending: Span::ZERO,
            keep_firing: Span::ZERO,
        }
    }

    fn view(counts: Counts, covered: u32, of: u32) -> View {
        View { counts, coverage: Coverage { covered, of }, length: Span::hours(1) }
    }

    fn verdict(slo: &Slo, tier: &Tier, long: View, short: View) -> TierVerdict {
        judge(slo, tier, &long, &short, None).verdict
    }

    #[test]
    fn a_ratio_exactly_at_the_limit_fires_only_with_at_least() {
        let (slo, exact) = (slo(100_000), view(Counts::plain(10, 6), 60, 60));
        assert_eq!(verdict(&slo, &tier("6", Op::Above), exact, exact), TierVerdict::Clear);
        assert_eq!(verdict(&slo, &tier("6", Op::AtLeast), exact, exact), TierVerdict::Holds);
        // 14.4 × 0.001 is 0.014400000000000001 in floating point.
        let (slo, exact) = (self::slo(1_000), view(Counts::plain(10_000, 144), 60, 60));
        assert_eq!(verdict(&slo, &tier("14.4", Op::AtLeast), exact, exact), TierVerdict::Holds);
        assert_eq!(verdict(&slo, &tier("14.4", Op::Above), exact, exact), TierVerdict::Clear);
    }

    #[test]
    fn nothing_measured_is_unknown_and_a_gap_counts_as_good() {
        let (slo, tier) = (slo(1_000), tier("14.4", Op::Above));
        let none = view(Counts::ZERO, 60, 60);
        let bad = view(Counts::plain(1000, 100), 60, 60);
        assert_eq!(verdict(&slo, &tier, bad, none), TierVerdict::Unknown);
        // 10 % bad in half of the window is still 50x over all of it.
        assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 100), 30, 60), bad), TierVerdict::Holds);
        // 2 % bad is 20x, but 10x when the missing half was good: neither open nor resolve.
        assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 20), 30, 60), bad), TierVerdict::Unknown);
        assert_eq!(verdict(&slo, &tier, view(Counts::plain(1000, 20), 54, 60), bad), TierVerdict::Holds);
    }

    #[test]
    fn guards_pass_at_equality_and_come_after_coverage() {
        let mut slo = slo(1_000);
        slo.min_events = 50;
        let tier = tier("14.4", Op::Above);
        let at = |raw, covered| view(Counts::plain(raw, 10), covered, 60);
        assert_eq!(verdict(&slo, &tier, at(50, 60), at(50, 60)), TierVerdict::Holds);
        assert_eq!(verdict(&slo, &tier, at(49, 60), at(49, 60)), TierVerdict::Clear);
        assert_eq!(verdict(&slo, &tier, at(49, 40), at(49, 40)), TierVerdict::Unknown);
        let held = judge(&slo, &tier, &at(49, 60), &at(49, 60), None);
        assert_eq!(held.guard, Some(Guard::MinEvents { have: 49, need: 50 }));
    }

    #[test]
    fn one_kept_event_of_weight_one_hundred_cannot_page_alone() {
        let (slo, tier) = (slo(1_000), tier("14.4", Op::Above));
        let mut counts = Counts::ZERO;
        counts += Counts::event(100 * UNIT, true);
        (0..9).for_each(|_| counts += Counts::event(100 * UNIT, false));
        let alone = view(counts, 60, 60);
        assert_eq!(judge(&slo, &tier, &alone, &alone, None).guard, Some(Guard::MinBad { have: 1, need: 2 }));
    }

    #[test]
    fn one_of_ten_is_a_fluke_at_99_per_cent() {
        let one_of_ten = view(Counts::plain(10, 1), 60, 60);
        let mut slo = slo(1_000);
        let tier = tier("14.4", Op::Above);
        for (confidence, expected) in [(None, TierVerdict::Holds), (Some(0.95), TierVerdict::Holds), (Some(0.99), TierVerdict::Clear)] {
            slo.confidence = confidence;
            assert_eq!(verdict(&slo, &tier, one_of_ten, one_of_ten), expected, "{confidence:?}");
        }
        assert!((wilson_lower(0.1, 10.0, normal_quantile(0.95)) - 0.0226).abs() < 5e-5);
        assert!((wilson_lower(0.1, 10.0, normal_quantile(0.99)) - 0.01389).abs() < 5e-6);
        assert!((normal_quantile(0.99) - 2.3263).abs() < 5e-5);
        assert!((normal_quantile(0.01) + 2.3263).abs() < 5e-5);
        assert!((normal_quantile(0.999_999_9) - 5.1993).abs() < 5e-4);
    }

    #[test]
    fn a_nights_few_failures_are_no_outage_when_corrected_for_traffic() {
        let night = view(Counts::plain(600, 9), 60, 60);
        let season = Season { total: 20_000_000 * UNIT, length: Span::days(30) };
        assert!((burn(night.counts, 1_000).unwrap() - 15.0).abs() < 1e-9);
        assert!((corrected_burn(&night, 1_000, season).unwrap() - 0.324).abs() < 1e-9);
        let (mut slo, tier) = (slo(1_000), tier("14.4", Op::Above));
        slo.traffic_corrected = true;
        assert_eq!(judge(&slo, &tier, &night, &night, Some(season)).verdict, TierVerdict::Clear);
        assert_eq!(judge(&slo, &tier, &night, &night, None).verdict, TierVerdict::Holds);
    }

    #[test]
    fn sums_over_sums_not_means_of_ratios() {
        let mut counts = Counts::plain(2, 1);
        (0..3).for_each(|_| counts += Counts::plain(100_000, 1));
        assert!((burn(counts, 1_000).unwrap() - 0.0133).abs() < 5e-5);
    }

    #[test]
    fn sampling_is_weighed_away() {
        // All 100 errors kept, 100,000 healthy sessions kept at 1 %.
        let mut counts = Counts::ZERO;
        (0..100).for_each(|_| counts += Counts::event(UNIT, true));
        (0..999).for_each(|_| counts += Counts::event(100 * UNIT, false));
        assert!((error_ratio(counts).unwrap() - 0.001).abs() < 1e-6);
        assert!((counts.raw_bad as f64 / counts.raw as f64 - 0.091).abs() < 1e-3);
    }

    #[test]
    fn a_budget_is_signed_and_has_two_forecasts() {
        let state = budget(Counts::plain(1000, 2), 1_000, Span::days(30)).unwrap();
        assert!((state.remaining + 1.0).abs() < 1e-9);
        assert_eq!((state.pace_secs, state.countdown_secs), (Some(1_296_000.0), Some(0.0)));
        let state = budget(Counts::plain(1000, 0), 1_000, Span::days(30)).unwrap();
        assert_eq!((state.remaining, state.pace_secs), (1.0, None));
        assert_eq!(budget(Counts::ZERO, 1_000, Span::days(30)), None);
    }

    #[test]
    fn products_beyond_128_bits_compare_exactly() {
        let big = u64::MAX;
        assert_eq!(compare_products(&[big, big, big], &[big, big, big - 1]), Ordering::Greater);
        assert_eq!(compare_products(&[big, big, big, 2], &[2, big, big, big]), Ordering::Equal);
        assert_eq!(compare_products(&[0, 7], &[1]), Ordering::Less);
    }
}
