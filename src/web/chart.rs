//! Charts as inline SVG made here: fluid without scaling their text, without style and script.
//!
//! Always holds: what was not measured breaks the line, is hatched, and has no coordinate.

pub mod bullet;
pub mod draw;
mod numbers;
pub mod plot;
pub mod spark;
mod stroke;

use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};
use crate::web::query::SloPoint;

/// Most points that one chart draws.
pub const POINTS_MAX: usize = 400;

/// One step of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Step {
    /// `None`: not measured.
    pub counts: Option<(f64, f64)>,
    pub burn_long: Option<f64>,
    pub burn_short: Option<f64>,
    /// Whether later events may still change it.
    pub partial: bool,
}

impl Step {
    /// Share of bad; `None` where nothing was measured or nothing happened.
    pub fn ratio(&self) -> Option<f64> {
        self.counts.filter(|(total, _)| *total > 0.0).map(|(total, bad)| bad / total)
    }
}

/// A vertical line with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Marker {
    pub at: Timestamp,
    pub glyph: char,
    pub text: String,
}

/// A limit across the burn panel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TierLine {
    pub severity: Severity,
    pub factor: f64,
}

/// Failing share and burn rate of one objective over a span of time.
#[derive(Clone, Debug, PartialEq)]
pub struct BurnChart {
    pub from: Timestamp,
    pub step: Span,
    pub steps: Vec<Step>,
    pub long: Span,
    pub short: Span,
    pub tiers: Vec<TierLine>,
    pub markers: Vec<Marker>,
    /// What is counted: `requests`, `page loads`.
    pub noun: String,
}

impl BurnChart {
    /// Folds fine points into at most [`POINTS_MAX`] steps of `step`: counts add up, lines keep
    /// their maximum. `points` begin a long window before `from`, so that lines start at once.
    pub fn fold(
        points: &[SloPoint],
        fine: Span,
        span: (Timestamp, Timestamp),
        step: Span,
        windows: (Span, Span),
        budget: f64,
    ) -> BurnChart {
        let (from, to) = (span.0.floor(step), span.1);
        let step = Span(step.millis().max(((to - from).millis() / POINTS_MAX as i64 / fine.millis().max(1) + 1) * fine.millis()));
        let lines = [rolling(points, fine, windows.0, budget), rolling(points, fine, windows.1, budget)];
        let count = usize::try_from((to - from).millis().div_euclid(step.millis()).max(1)).unwrap_or(1).min(POINTS_MAX);
        let mut steps = vec![Step::default(); count];
        for (i, point) in points.iter().enumerate() {
            let offset = (point.at - from).millis();
            if offset < 0 {
                continue;
            }
            let Some(slot) = usize::try_from(offset / step.millis()).ok().and_then(|at| steps.get_mut(at)) else { continue };
            if let Some((total, bad)) = point.counts {
                let sum = slot.counts.get_or_insert((0.0, 0.0));
                sum.0 += total;
                sum.1 += bad;
            }
            slot.partial |= point.partial;
            slot.burn_long = larger(slot.burn_long, lines[0][i]);
            slot.burn_short = larger(slot.burn_short, lines[1][i]);
        }
        let (long, short) = windows;
        BurnChart { from, step, steps, long, short, tiers: Vec::new(), markers: Vec::new(), noun: "events".into() }
    }

    /// End of the last step.
    pub fn to(&self) -> Timestamp {
        self.from + Span(self.step.millis() * self.steps.len() as i64)
    }

    /// Whether any step was measured.
    pub fn measured(&self) -> bool {
        self.steps.iter().any(|step| step.counts.is_some())
    }
}

fn larger(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Burn over the window that ends with each point; unknown below nine tenths of coverage.
fn rolling(points: &[SloPoint], fine: Span, window: Span, budget: f64) -> Vec<Option<f64>> {
    let length = usize::try_from(window.millis() / fine.millis().max(1)).unwrap_or(1).max(1);
    let (mut total, mut bad, mut covered) = (0.0, 0.0, 0usize);
    let mut line = Vec::with_capacity(points.len());
    for (i, point) in points.iter().enumerate() {
        if let Some((t, b)) = point.counts {
            total += t;
            bad += b;
            covered += 1;
        }
        if i >= length
            && let Some((t, b)) = points[i - length].counts
        {
            total -= t;
            bad -= b;
            covered -= 1;
        }
        // A line does not start before its first whole window, and stands still nowhere: where the
        // point itself was not measured there is no line either.
        let known = i + 1 >= length && point.counts.is_some() && covered * 10 >= length * 9 && total > 1e-9 && budget > 0.0;
        line.push(known.then(|| (bad.max(0.0) / total) / budget));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(values: &[Option<(f64, f64)>]) -> Vec<SloPoint> {
        values
            .iter()
            .enumerate()
            .map(|(i, counts)| SloPoint { at: Timestamp(i as i64 * 60_000), counts: *counts, partial: false })
            .collect()
    }

    #[test]
    fn a_gap_is_not_folded_into_zero() {
        let points = points(&[Some((100.0, 1.0)), None, None, Some((100.0, 3.0))]);
        let chart = BurnChart::fold(
            &points,
            Span::MINUTE,
            (Timestamp(0), Timestamp(240_000)),
            Span::MINUTE,
            (Span::minutes(2), Span::MINUTE),
            0.001,
        );
        assert_eq!(chart.steps.len(), 4);
        assert_eq!(chart.steps[1].counts, None);
        assert_eq!(chart.steps[1].burn_short, None);
        assert_eq!(chart.steps[3].burn_short.map(f64::round), Some(30.0));
        assert_eq!(chart.steps[3].burn_long, None, "half of its window is missing");
    }

    #[test]
    fn merged_steps_add_counts_and_keep_the_highest_burn() {
        let points = points(&[Some((100.0, 0.0)), Some((100.0, 5.0)), Some((100.0, 0.0)), Some((100.0, 1.0))]);
        let chart = BurnChart::fold(
            &points,
            Span::MINUTE,
            (Timestamp(0), Timestamp(240_000)),
            Span::minutes(2),
            (Span::minutes(2), Span::MINUTE),
            0.01,
        );
        assert_eq!(chart.steps[0].counts, Some((200.0, 5.0)));
        assert_eq!(chart.steps[0].burn_short, Some(5.0));
        assert_eq!(chart.steps[1].burn_long, Some(2.5));
    }

    #[test]
    fn a_chart_is_bounded() {
        let many: Vec<_> = (0..5_000).map(|_| Some((1.0, 0.0))).collect();
        let chart = BurnChart::fold(
            &points(&many),
            Span::MINUTE,
            (Timestamp(0), Timestamp(5_000 * 60_000)),
            Span::MINUTE,
            (Span::HOUR, Span::minutes(5)),
            0.01,
        );
        assert!(chart.steps.len() <= POINTS_MAX);
        assert!(chart.steps.iter().all(|step| step.counts.is_some()));
    }
}
