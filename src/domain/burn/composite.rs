//! The burn of composites, whose members each have a budget of their own (SEMANTICS 20).

use std::cmp::Ordering;

use super::exact::Ratio;
use super::{Judgement, Season, View, guard};
use crate::domain::cell::Counts;
use crate::domain::coverage::Coverage;
use crate::domain::fraction::Fraction;
use crate::domain::rule::{Op, Slo, Tier};
use crate::domain::snapshot::TierVerdict;

/// What a composite's burn is made of (SEMANTICS 20).
#[derive(Clone, Debug)]
pub enum Part {
    /// An SLO with data: its budget, its two windows, and the traffic that they are held against (SEMANTICS 10).
    Slo { budget_ppm: u32, long: View, short: View, season: Option<Season> },
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
            Part::Slo { budget_ppm, long, short, season } => {
                let view = match of {
                    Window::Long => long,
                    Window::Short => short,
                };
                if view.counts.total <= 0 || (covered && view.coverage.of == 0) {
                    return Ratio::new(&[0], &[1]);
                }
                let (share, of) = if covered { (u64::from(view.coverage.covered), u64::from(view.coverage.of)) } else { (1, 1) };
                let (bad, budget) = (view.counts.bad.max(0).unsigned_abs(), u64::from(*budget_ppm));
                match season {
                    // A period without any traffic has no window with traffic either.
                    Some(season) if season.total <= 0 || view.length.0 <= 0 => Ratio::new(&[0], &[1]),
                    Some(season) => Ratio::new(
                        &[bad, 1_000_000, share, season.length.0.unsigned_abs()],
                        &[season.total.unsigned_abs(), budget, of, view.length.0.unsigned_abs()],
                    ),
                    None => Ratio::new(&[bad, 1_000_000, share], &[view.counts.total.unsigned_abs(), budget, of]),
                }
            }
            Part::Mean(parts) => {
                let (mut sum, mut weights) = (Ratio::new(&[0], &[1]), Ratio::new(&[0], &[1]));
                for (weight, part) in parts {
                    let weight = Ratio::new(&[weight.num().unsigned_abs() as u64], &[weight.den().unsigned_abs() as u64]);
                    sum = sum.plus(&part.burn(of, covered).by(&weight));
                    weights = weights.plus(&weight);
                }
                // Weights that are all zero would make it infinite; a loaded rule set has none.
                sum.over(&weights).unwrap_or_else(|| Ratio::new(&[0], &[1]))
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

/// Judges a tier of a weighted composite by its burn, in the order of [`super::judge`]. What a member did not measure counts as
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
