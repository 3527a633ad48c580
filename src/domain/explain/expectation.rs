//! What was to be expected: a ratio for each series, so that always-bad routes, shifts of traffic and campaigns blame nobody.

use super::table::Table;

const ROUNDS: usize = 3;

/// Sets the expected ratio of every row: the overall ratio of the baseline, raked over all dimensions, then drawn to what the
/// series itself had. A value without a past is expected to behave like its surroundings.
pub(super) fn expect(table: &mut Table<'_>) {
    let (mut n, mut b) = (0.0, 0.0);
    for row in &table.rows {
        n += row.baseline_n;
        b += row.baseline_b;
    }
    let overall = (b + 0.5) / (n + 1.0);
    for row in &mut table.rows {
        row.r = overall;
    }
    for _ in 0..ROUNDS {
        for dim in &table.dims {
            let mut sums = vec![(0.0, 0.0); dim.values.len()];
            for (row, code) in table.rows.iter().zip(&dim.codes) {
                let (had, expected) = &mut sums[usize::from(*code)];
                *had += row.baseline_b;
                *expected += row.baseline_n * row.r;
            }
            for (row, code) in table.rows.iter_mut().zip(&dim.codes) {
                let (had, expected) = sums[usize::from(*code)];
                row.r *= (had + 5.0) / (expected + 5.0);
            }
        }
    }
    for row in &mut table.rows {
        row.r *= (3.0 + row.baseline_b) / (3.0 + row.baseline_n * row.r);
        row.r = row.r.clamp(1e-7, 0.95);
    }
}
