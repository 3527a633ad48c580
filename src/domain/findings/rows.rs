//! The rows of a case: sums per series, read from an archive.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::super::archive::{Archive, Ask, read_span};
use super::super::cell::{Cell, Counts, UNIT};
use super::super::explain;
use super::super::filter::Filter;
use super::super::rule::Labels;
use super::super::series::{OTHER, Series};
use super::super::time::{Span, Timestamp};
use super::super::users::Users;
use super::{Source, narrowed};

/// Series that are told apart; those beyond are summed up as "other".
const SERIES_MAX: usize = 50_000;
/// The share of the good that must lie where the total lies for a dimension to fit both.
const FITS: f64 = 0.95;

/// What to read, and into which half of the sums.
pub(super) struct Reading<'a> {
    pub archive: &'a dyn Archive,
    pub bucket: Span,
    pub from: Timestamp,
    pub to: Timestamp,
    pub baseline: bool,
}

/// The sums of one series.
#[derive(Clone, Debug, Default)]
struct Sums {
    window: Counts,
    baseline: Counts,
    /// Users with a bad event in the window.
    users: Users,
}

/// Sums by series.
#[derive(Clone, Debug, Default)]
struct Side {
    index: HashMap<Series, usize>,
    rows: Vec<(Series, Sums)>,
}

/// Everything that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The events, or the total of a ratio or rate.
    total: Side,
    /// The good of a ratio, the bad of a rate.
    part: Side,
}

/// One row as it is explained.
#[derive(Clone, Debug)]
pub(super) struct TableRow<'a> {
    dims: Vec<(&'a str, &'a str)>,
    window: Counts,
    baseline: Counts,
    users: Option<Cow<'a, Users>>,
    bad_users: u64,
}

impl Side {
    fn at(&mut self, series: &Series) -> &mut Sums {
        if let Some(at) = self.index.get(series) {
            return &mut self.rows[*at].1;
        }
        let row = match self.rows.len() < SERIES_MAX {
            true => without_outcome(series),
            // One row for each set of names: few.
            false => Series::new(series.metric.clone(), series.dims().map(|(name, _)| (Arc::from(name), Arc::from(OTHER)))),
        };
        let next = self.rows.len();
        let at = *self.index.entry(row.clone()).or_insert(next);
        if at == next {
            self.rows.push((row, Sums::default()));
        }
        if self.index.len() < 2 * SERIES_MAX {
            // The next cell of this series finds its row at once.
            self.index.insert(series.clone(), at);
        }
        &mut self.rows[at].1
    }

    fn sum(&self, of: impl Fn(&Sums) -> Counts) -> Counts {
        let mut sum = Counts::ZERO;
        self.rows.iter().for_each(|(_, sums)| sum += of(sums));
        sum
    }
}

impl Rows {
    /// Adds a span of what a source selects within the groups.
    pub fn read(&mut self, source: &Source, groups: &[Labels], reading: &Reading<'_>) -> Result<(), String> {
        match source {
            Source::Events { metric, filter, limit } => {
                // What missed a limit is counted from the distribution where it was not counted exactly.
                let detail = !reading.baseline || limit.is_some();
                let ask = Ask { metric, filter, from: reading.from, to: reading.to, step: reading.bucket, detail };
                read(&mut self.total, &ask, groups, reading, &|cell| match limit {
                    None => (cell.counts, Some(&cell.bad_users)),
                    Some(limit) => {
                        let counts = cell.against(*limit);
                        // Who missed a limit is not known one by one: everybody where somebody did.
                        (counts, (counts.bad > 0).then_some(&cell.users))
                    }
                })
            }
            Source::Ratio { good, total } => {
                for (side, selector) in [(&mut self.total, total), (&mut self.part, good)] {
                    let Reading { from, to, bucket, .. } = *reading;
                    let ask = Ask { metric: &selector.metric, filter: &selector.filter, from, to, step: bucket, detail: false };
                    read(side, &ask, groups, reading, &|cell| (Counts { bad: 0, raw_bad: 0, ..cell.counts }, None))?;
                }
                Ok(())
            }
            Source::Rate { bad, of } => {
                let Reading { from, to, bucket, baseline, .. } = *reading;
                let ask = Ask { metric: &of.metric, filter: &of.filter, from, to, step: bucket, detail: false };
                read(&mut self.total, &ask, groups, reading, &|cell| (Counts { bad: 0, raw_bad: 0, ..cell.counts }, None))?;
                let ask = Ask { metric: &bad.metric, filter: &bad.filter, detail: !baseline, ..ask };
                read(&mut self.part, &ask, groups, reading, &|cell| {
                    (Counts { bad: cell.counts.total, raw_bad: cell.counts.raw, ..cell.counts }, Some(&cell.bad_users))
                })
            }
        }
    }

    /// The rows to explain, one per series.
    pub fn table(&self, source: &Source) -> Vec<TableRow<'_>> {
        match source {
            Source::Events { limit, .. } => self
                .total
                .rows
                .iter()
                .map(|(series, sums)| {
                    let estimate = sums.users.estimate();
                    // A user who missed a limit did so with an event of its own.
                    let at_most = if limit.is_some() { sums.window.raw_bad.max(0).unsigned_abs() } else { u64::MAX };
                    TableRow {
                        dims: series.dims().collect(),
                        window: sums.window,
                        baseline: sums.baseline,
                        users: Some(Cow::Borrowed(&sums.users)),
                        bad_users: estimate.min(at_most),
                    }
                })
                .collect(),
            Source::Ratio { .. } => self.joined(missing),
            // An error is one more outcome beside a view: its share grows with the rate, and never passes one.
            Source::Rate { .. } => self.joined(|total, bad| {
                let mut sum = total;
                sum += bad;
                sum
            }),
        }
    }

    /// The whole of a ratio's window, which is exact whatever series it comes from.
    pub fn sum(&self, source: &Source) -> Option<Counts> {
        match source {
            Source::Events { .. } | Source::Rate { .. } => None,
            Source::Ratio { .. } => Some(missing(self.total.sum(|sums| sums.window), self.part.sum(|sums| sums.window))),
        }
    }

    /// The total and its part come from different series: they are brought together by the dimensions in which both
    /// have the same values. A step of a funnel has another route than the one before; such dimensions drop out.
    fn joined(&self, put: fn(Counts, Counts) -> Counts) -> Vec<TableRow<'_>> {
        let fitting = self.fitting();
        let key = |series: &'_ Series| -> Vec<String> { fitting.iter().map(|name| series.get(name).to_owned()).collect() };
        let mut joined: BTreeMap<Vec<String>, (Vec<(&str, &str)>, [Counts; 4], Users)> = BTreeMap::new();
        for (side, first) in [(&self.total, 0), (&self.part, 2)] {
            for (series, sums) in &side.rows {
                let dims = || series.dims().filter(|(name, _)| fitting.contains(name)).collect();
                let (_, counts, users) = joined.entry(key(series)).or_insert_with(|| (dims(), [Counts::ZERO; 4], Users::default()));
                users.merge(&sums.users);
                counts[first] += sums.window;
                counts[first + 1] += sums.baseline;
            }
        }
        let row = |(dims, [total, base_total, part, base_part], users): (Vec<_>, [Counts; 4], Users)| TableRow {
            dims,
            window: put(total, part),
            baseline: put(base_total, base_part),
            bad_users: users.estimate(),
            users: Some(Cow::Owned(users)),
        };
        joined.into_values().map(row).collect()
    }

    fn fitting(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.total.rows.iter().flat_map(|(series, _)| series.dims().map(|(name, _)| name)).collect();
        names.sort_unstable();
        names.dedup();
        let by_value = |side: &'_ Side, name: &str| -> BTreeMap<String, i128> {
            let mut sums = BTreeMap::new();
            for (series, row) in &side.rows {
                *sums.entry(series.get(name).to_owned()).or_insert(0) += i128::from(row.window.total) + i128::from(row.baseline.total);
            }
            sums
        };
        names.retain(|name| {
            let (total, good) = (by_value(&self.total, name), by_value(&self.part, name));
            let whole: i128 = good.values().sum();
            let met: i128 = good.iter().map(|(value, good)| (*good).min(total.get(value).copied().unwrap_or(0)).max(0)).sum();
            met as f64 >= FITS * whole as f64
        });
        names
    }
}

/// A series without the dimension that says how a request ended: that failures have a failing status blames nobody.
fn without_outcome(series: &Series) -> Series {
    if series.get("status").is_empty() {
        return series.clone();
    }
    let dims = series.dims().filter(|(name, _)| *name != "status").map(|(name, value)| (Arc::from(name), Arc::from(value)));
    Series::new(series.metric.clone(), dims)
}

/// What of `total` is not in `good`.
fn missing(total: Counts, good: Counts) -> Counts {
    Counts { bad: (total.total - good.total).max(0), raw_bad: (total.raw - good.raw).max(0), ..total }
}

fn read(
    side: &mut Side,
    ask: &Ask<'_>,
    groups: &[Labels],
    reading: &Reading<'_>,
    take: &dyn Fn(&Cell) -> (Counts, Option<&Users>),
) -> Result<(), String> {
    let one: Filter;
    let ask = match groups {
        [group] => {
            one = narrowed(ask.filter, group);
            Ask { filter: &one, ..*ask }
        }
        _ => *ask,
    };
    let in_group =
        |series: &Series| groups.len() <= 1 || groups.iter().any(|group| group.iter().all(|(name, value)| series.get(name) == value));
    read_span(reading.archive, &ask, &mut |series, _, cell| {
        if !in_group(series) {
            return;
        }
        let (counts, users) = take(cell);
        let sums = side.at(series);
        if reading.baseline {
            sums.baseline += counts;
        } else {
            sums.window += counts;
            if let Some(users) = users {
                sums.users.merge(users);
            }
        }
    })
}

impl<'a> TableRow<'a> {
    /// As the explanation takes it.
    pub fn line(&self) -> explain::Row<'a> {
        let weight = |weight: i64| weight as f64 / UNIT as f64;
        let raw = |count: i64| count.max(0).unsigned_abs();
        explain::Row {
            dims: self.dims.clone(),
            n: weight(self.window.total),
            b: weight(self.window.bad),
            raw: raw(self.window.raw),
            raw_bad: raw(self.window.raw_bad),
            bad_users: self.bad_users,
            baseline_n: weight(self.baseline.total),
            baseline_b: weight(self.baseline.bad),
        }
    }

    /// The sums of the window.
    pub fn window(&self) -> Counts {
        self.window
    }
}

/// Distinct users with a bad event over some rows: a union, not a sum.
pub(super) fn users<'a>(rows: impl Iterator<Item = &'a TableRow<'a>>) -> u64 {
    let mut all = Users::default();
    let mut at_most = 0_u64;
    for row in rows {
        at_most = at_most.saturating_add(row.bad_users);
        if let Some(users) = &row.users {
            all.merge(users);
        }
    }
    all.estimate().min(at_most)
}

#[cfg(test)]
mod tests {
    use super::super::super::metric::Metric;
    use super::*;

    #[test]
    fn requests_are_told_apart_by_who_sent_them_and_not_by_how_they_ended() {
        let mut side = Side::default();
        let mut add = |region: &str, status: &str, bad: i64| {
            let dims = [("region", region), ("status", status)].map(|(name, value)| (Arc::from(name), Arc::from(value)));
            side.at(&Series::new(Metric::Request, dims)).window += Counts::plain(10, bad);
        };
        for _ in 0..2 {
            add("de", "2xx", 0);
            add("de", "5xx", 10);
            add("fr", "2xx", 0);
        }
        let rows: Vec<(String, Counts)> = side.rows.iter().map(|(series, sums)| (series.dims_json(), sums.window)).collect();
        let expected = [(r#"{"region":"de"}"#, Counts::plain(40, 20)), (r#"{"region":"fr"}"#, Counts::plain(20, 0))];
        assert_eq!(rows, expected.map(|(dims, counts)| (dims.to_owned(), counts)));
    }
}
