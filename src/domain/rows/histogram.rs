//! Histograms of rows: where their values are put, and what they count exactly.

use smallvec::SmallVec;

use super::written::Amount;
use super::{BINS_MAX, RowError, squares};
use crate::domain::cell::{Cell, Counts, Limit, Over};
use crate::domain::sketch::Sketch;

/// At how many points of a bin its values are put.
const POINTS: i64 = 8;
/// Above the last finite bound of a histogram nothing is known; values there count as this much larger.
const BEYOND: f64 = 1.05;

/// Puts a histogram into a cell: the distribution, and an exact counter at each finite bound.
pub fn fill(cell: &mut Cell, bins: &[(Option<f64>, Amount)]) -> Result<(), RowError> {
    if bins.len() > BINS_MAX {
        return Err(RowError::Histogram("has more than 200 bins"));
    }
    if bins.is_empty() {
        return Ok(());
    }
    let mut weights: SmallVec<[i64; 16]> = SmallVec::new();
    let mut last: Option<f64> = None;
    for (at, (bound, count)) in bins.iter().enumerate() {
        match bound {
            Some(bound) if *bound < 0.0 => return Err(RowError::Histogram("has a negative bound")),
            Some(bound) if last.is_some_and(|last| *bound <= last) => return Err(RowError::Histogram("has bounds that do not ascend")),
            None if at + 1 < bins.len() => return Err(RowError::Histogram("has a null bound before the last one")),
            _ => {}
        }
        last = bound.or(last);
        weights.push(count.weight("histogram")?);
    }
    let Some(last) = last else { return Err(RowError::Histogram("has no finite bound")) };
    let valued: i64 = weights.iter().sum();
    // Counts and total are rounded to millionths one by one.
    if valued > cell.counts.total + bins.len() as i64 {
        return Err(RowError::Histogram("counts more events than `total`"));
    }
    let share =
        |part: i64, of: i64, raw: i64| if of == 0 { 0 } else { ((i128::from(part) * i128::from(raw) * 2 / i128::from(of) + 1) / 2) as i64 };
    let raw = share(valued, cell.counts.total, cell.counts.raw).max(i64::from(valued > 0));
    cell.valued = Counts { total: valued, bad: 0, raw, raw_bad: 0, sq: squares(valued, raw) };
    let (mut low, mut over) = (0.0, valued);
    for ((bound, _), weight) in bins.iter().zip(weights) {
        if let Some(bound) = *bound {
            over -= weight;
            let limit = Limit { value: bound, inclusive: true };
            // Bounds ascend, so the counters stay sorted.
            cell.over.push(Over { limit, tested: valued, over, raw_over: share(over, valued, raw) });
        }
        match *bound {
            _ if weight == 0 => {}
            Some(high) => spread(&mut cell.sketch, low, high, weight),
            None => cell.sketch.add((last * BEYOND).max(1e-3), weight),
        }
        low = bound.unwrap_or(low);
    }
    Ok(())
}

/// Puts the values of one bin at evenly spaced points of it. Where they really lie is not known, so
/// a finer spread would only make millions of rows large and slow.
fn spread(sketch: &mut Sketch, low: f64, high: f64, weight: i64) {
    let points = if high <= low * 1.02 { 1 } else { POINTS };
    let mut given = 0;
    for point in 1..=points {
        // At most 10^15 × 8.
        let target = weight * point / points;
        let value = low + (high - low) * (point as f64 - 0.5) / points as f64;
        if target > given {
            sketch.add(value, target - given);
        }
        given = target;
    }
}
