//! Made-up events for rule tests: so many a minute, of which so many bad, with these values, of so many people.
//!
//! Nothing is left to chance. A rate of x gives floor(i·x) - floor((i-1)·x) events in the i-th slice (CONTRACT 4), computed in
//! integers; values follow their distribution as evenly as their number allows.

use super::cell::{Cell, Counts, Limit, Over, UNIT, square};
use super::segment::Slice;
use super::series::Series;
use super::time::{Span, Timestamp};

/// Millionths.
const PPM: i128 = 1_000_000;
const MINUTE: i128 = 60_000;
/// From this many values in a slice on they are taken from so many equal parts of the distribution.
const PARTS: i64 = 100;
/// The golden ratio's fraction: its multiples spread evenly over [0, 1), however many there are.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

/// Events of one series over a stretch of time.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    pub series: Series,
    /// Millionths of an event per minute. Several: equal parts of a day, from midnight UTC.
    pub per_minute: Vec<i64>,
    /// Bad events among a million.
    pub bad_ppm: i64,
    pub values: Values,
    /// People whom the events are of, one after the other; `None`: nobody is known.
    pub users: Option<u64>,
    /// People whom the bad events hit; `None`: any of them.
    pub bad_users: Option<u64>,
    /// Events that the SDK keeps, among a million: each weighs as many as it stands for.
    pub kept_ppm: i64,
    pub lasts: Span,
}

/// What the events carry.
#[derive(Clone, Debug, PartialEq)]
pub enum Values {
    Nothing,
    One(f64),
    /// Share of the values that are at most so large, both ascending. Between two they grow evenly; below the first they
    /// grow from half of it, above the last to twice of it.
    Quantiles(Vec<(f64, f64)>),
}

impl Values {
    /// The value at a share of the distribution.
    fn at(&self, share: f64) -> Option<f64> {
        match self {
            Values::Nothing => None,
            Values::One(value) => Some(*value),
            Values::Quantiles(points) => {
                let (first, last) = (points.first()?, points.last()?);
                let between = |(from, low): (f64, f64), (to, high): (f64, f64)| {
                    if to > from { low + (high - low) * (share - from) / (to - from) } else { high }
                };
                if share <= first.0 {
                    return Some(between((0.0, first.1 / 2.0), *first));
                }
                if share > last.0 {
                    return Some(between(*last, (1.0, last.1 * 2.0)));
                }
                points.windows(2).find(|pair| share <= pair[1].0).map(|pair| between(pair[0], pair[1]))
            }
        }
    }
}

impl Traffic {
    /// Calls `visit` with every slice in which something happens, from `start` (a boundary) on; `limits` are counted exactly.
    pub fn make(&self, start: Timestamp, bucket: Span, limits: &[Limit], mut visit: impl FnMut(Slice, Cell)) {
        let first = start.0.div_euclid(bucket.0);
        let mut made = Made { traffic: self, limits, rate: 0, events: 0, bad: 0 };
        for slice in first..first + self.lasts.0.div_euclid(bucket.0) {
            let cell = made.next(Timestamp(slice * bucket.0), bucket);
            if let Some(cell) = cell {
                visit(slice, cell);
            }
        }
    }

    /// Millionths of an event per minute at a point in time.
    fn rate_at(&self, at: Timestamp) -> i64 {
        let parts = self.per_minute.len() as i64;
        let part = (at.0.rem_euclid(Span::DAY.0) * parts).div_euclid(Span::DAY.0);
        self.per_minute.get(part as usize).copied().unwrap_or(0)
    }

    /// Millionths of an event that a kept one stands for.
    fn weight(&self) -> i64 {
        (PPM * PPM / i128::from(self.kept_ppm.max(1))) as i64
    }
}

/// How far the making of a stretch is.
struct Made<'a> {
    traffic: &'a Traffic,
    limits: &'a [Limit],
    /// Sum of the rates so far, in millionths of millionths of an event per minute, times milliseconds.
    rate: i128,
    events: i64,
    bad: i64,
}

impl Made<'_> {
    fn next(&mut self, at: Timestamp, bucket: Span) -> Option<Cell> {
        let traffic = self.traffic;
        self.rate += i128::from(traffic.rate_at(at)) * i128::from(traffic.kept_ppm) * i128::from(bucket.0);
        let whole = PPM * PPM * MINUTE;
        let events = (self.rate / whole) as i64 - self.events;
        if events <= 0 {
            return None;
        }
        // A bad event is one of the events: what is due before one happens waits for it.
        let bad = ((self.rate * i128::from(traffic.bad_ppm) / (whole * PPM)) as i64 - self.bad).min(events);
        let cell = self.cell(events, bad);
        self.events += events;
        self.bad += bad;
        Some(cell)
    }

    fn cell(&self, events: i64, bad: i64) -> Cell {
        let traffic = self.traffic;
        let weight = traffic.weight();
        let counts = |raw: i64, bad: i64| Counts {
            total: raw * weight,
            bad: bad * weight,
            raw,
            raw_bad: bad,
            sq: i128::from(raw) * if weight == UNIT { i128::from(UNIT) } else { square(weight) },
        };
        let mut cell = Cell { counts: counts(events, bad), bad_sq: counts(bad, 0).sq, ..Cell::default() };
        if traffic.values != Values::Nothing {
            cell.valued = counts(events, 0);
            self.values(events, |value, count| {
                cell.sum += (count * weight) as f64 / UNIT as f64 * value;
                cell.sketch.add(value, count * weight);
                for limit in self.limits {
                    let over = if limit.missed_by(value) { count } else { 0 };
                    cell.add_over(Over { limit: *limit, tested: count * weight, over: over * weight, raw_over: over });
                }
            });
        }
        if let Some(users) = traffic.users.filter(|users| *users > 0) {
            let hit = traffic.bad_users.unwrap_or(users).clamp(1, users);
            for nth in 0..(bad as u64).min(hit) {
                let user = user((self.bad as u64 + nth) % hit);
                cell.bad_users.add(user);
                cell.users.add(user);
            }
            for nth in 0..(events as u64).min(users) {
                cell.users.add(user((self.events as u64 + nth) % users));
            }
        }
        cell
    }

    /// The values of the next events, with how many have each.
    fn values(&self, events: i64, mut visit: impl FnMut(f64, i64)) {
        let values = &self.traffic.values;
        let mut at = |share: f64, count: i64| {
            if let Some(value) = values.at(share).filter(|_| count > 0) {
                visit(value, count);
            }
        };
        if let Values::Nothing | Values::One(_) = values {
            at(0.5, events);
        } else if events >= PARTS {
            for part in 0..PARTS {
                at((part as f64 + 0.5) / PARTS as f64, (part + 1) * events / PARTS - part * events / PARTS);
            }
        } else {
            for nth in 0..events {
                at(((self.events + nth) as f64 * GOLDEN).fract(), 1);
            }
        }
    }
}

/// Stands for the keyed hash of a person (the finaliser of SplitMix64).
fn user(number: u64) -> u64 {
    let mut z = number.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::metric::{Metric, Vital};

    fn traffic(per_minute: f64, bad: f64, lasts: Span) -> Traffic {
        Traffic {
            series: Series::new(Metric::Request, []),
            per_minute: vec![(per_minute * 1e6).round() as i64],
            bad_ppm: (bad * 1e6).round() as i64,
            values: Values::Nothing,
            users: None,
            bad_users: None,
            kept_ppm: 1_000_000,
            lasts,
        }
    }

    fn made(traffic: &Traffic, bucket: Span, limits: &[Limit]) -> Vec<(Slice, Cell)> {
        let mut made = Vec::new();
        traffic.make(Timestamp(0), bucket, limits, |slice, cell| made.push((slice, cell)));
        made
    }

    #[test]
    fn fractions_of_events_are_spread() {
        let cells = made(&traffic(2.5, 0.0, Span::minutes(4)), Span::MINUTE, &[]);
        assert_eq!(cells.iter().map(|(slice, cell)| (*slice, cell.counts.raw)).collect::<Vec<_>>(), [(0, 2), (1, 3), (2, 2), (3, 3)]);
        // 600 a minute, two of ten thousand bad: 0.12 a minute, so the first in the ninth.
        let cells = made(&traffic(600.0, 0.0002, Span::HOUR), Span::MINUTE, &[]);
        let bad: Vec<Slice> = cells.iter().filter(|(_, cell)| cell.counts.raw_bad == 1).map(|(slice, _)| *slice).collect();
        assert_eq!(bad, [8, 16, 24, 33, 41, 49, 58]);
        assert_eq!(made(&traffic(0.3, 0.0, Span::HOUR), Span::seconds(10), &[]).len(), 18);
    }

    #[test]
    fn a_bad_event_waits_for_an_event() {
        let cells = made(&traffic(0.5, 0.9, Span::minutes(40)), Span::MINUTE, &[]);
        assert!(cells.iter().all(|(_, cell)| cell.counts.bad <= cell.counts.total));
        assert_eq!(cells.iter().map(|(_, cell)| cell.counts.raw_bad).sum::<i64>(), 18);
    }

    #[test]
    fn a_list_is_the_shape_of_a_day() {
        let day = Traffic { per_minute: vec![0, 1_000_000, 2_000_000, 0], ..traffic(1.0, 0.0, Span::days(2)) };
        let cells = made(&day, Span::MINUTE, &[]);
        assert_eq!((cells[0].0, cells.len()), (360, 2 * 720));
        assert_eq!(cells.iter().filter(|(slice, _)| *slice < 1440).map(|(_, cell)| cell.counts.raw).sum::<i64>(), 360 + 720);
    }

    #[test]
    fn quantiles_are_what_they_say() {
        let limit = Limit { value: 2_500.0, inclusive: true };
        for per_minute in [7.0, 60.0, 1_000.0] {
            let vitals = Traffic {
                series: Series::new(Metric::Vital(Vital::Lcp), []),
                values: Values::Quantiles(vec![(0.5, 1_200.0), (0.95, 2_500.0)]),
                ..traffic(per_minute, 0.0, Span::HOUR)
            };
            let mut all = Cell::default();
            made(&vitals, Span::MINUTE, &[limit]).iter().for_each(|(_, cell)| all.merge(cell));
            let over = all.against(limit);
            let share = over.raw_bad as f64 / over.raw as f64;
            assert!((share - 0.05).abs() < 0.006, "{per_minute}: {share}");
            assert!((all.sketch.quantile(0.5).unwrap() / 1_200.0 - 1.0).abs() < 0.03);
        }
    }

    #[test]
    fn sampling_changes_weights_and_no_ratio() {
        let sampled = Traffic { kept_ppm: 100_000, ..traffic(600.0, 0.1, Span::HOUR) };
        let mut all = Counts::ZERO;
        made(&sampled, Span::MINUTE, &[]).iter().for_each(|(_, cell)| all += cell.counts);
        assert_eq!((all.raw, all.raw_bad, all.total, all.bad), (3_600, 360, 36_000 * UNIT, 3_600 * UNIT));
        assert!((all.effective() - 3_600.0).abs() < 1e-6);
    }

    #[test]
    fn bad_events_hit_whom_they_are_said_to_hit() {
        let few = Traffic { users: Some(1_000), bad_users: Some(5), ..traffic(600.0, 0.1, Span::minutes(10)) };
        let mut all = Cell::default();
        made(&few, Span::MINUTE, &[]).iter().for_each(|(_, cell)| all.merge(cell));
        assert_eq!(all.bad_users.estimate(), 5);
        assert!((all.users.estimate() as f64 / 1_000.0 - 1.0).abs() < 0.05);
    }
}
