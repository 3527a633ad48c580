//! A cell: what is known of one series in one slice of time. Cells of a series and slice add up.
//!
//! Weights are whole millionths of an event, so that sums are exact in any order (SEMANTICS 2).
//! Cells are signed: an update of something already counted posts the difference.

use std::ops::{AddAssign, SubAssign};

use smallvec::SmallVec;

use super::sketch::Sketch;
use super::users::Users;

/// Millionths of an event.
pub const UNIT: i64 = 1_000_000;

/// The sums that decide: weights in millionths, raw counts, and the squares of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Counts {
    /// Σ weight of all events, in millionths of an event.
    pub total: i64,
    /// Σ weight of the bad ones.
    pub bad: i64,
    /// How many events were really received.
    pub raw: i64,
    /// How many bad ones were really received.
    pub raw_bad: i64,
    /// Σ weight², in millionths of an event².
    pub sq: i128,
}

impl Counts {
    /// Nothing was counted.
    pub const ZERO: Counts = Counts { total: 0, bad: 0, raw: 0, raw_bad: 0, sq: 0 };

    /// One event of this weight.
    pub fn event(weight: i64, bad: bool) -> Counts {
        Counts { total: weight, bad: if bad { weight } else { 0 }, raw: 1, raw_bad: i64::from(bad), sq: square(weight) }
    }

    /// `raw` events of weight one, `raw_bad` of them bad.
    pub fn plain(raw: i64, raw_bad: i64) -> Counts {
        Counts { total: raw * UNIT, bad: raw_bad * UNIT, raw, raw_bad, sq: i128::from(raw) * i128::from(UNIT) }
    }

    /// Whether every number is zero.
    pub fn is_zero(&self) -> bool {
        *self == Counts::ZERO
    }

    /// Whether every event weighs one.
    pub fn is_plain(&self) -> bool {
        *self == Counts::plain(self.raw, self.raw_bad)
    }

    /// Kish's effective sample size (Σw)²/Σw²; zero when nothing was counted (SEMANTICS 11).
    pub fn effective(&self) -> f64 {
        if self.sq <= 0 {
            return 0.0;
        }
        let total = self.total as f64;
        total * total / (self.sq as f64 * UNIT as f64)
    }
}

/// weight² in millionths of an event², from a weight in millionths.
pub fn square(weight: i64) -> i128 {
    i128::from(weight) * i128::from(weight) / i128::from(UNIT)
}

impl AddAssign for Counts {
    fn add_assign(&mut self, rhs: Counts) {
        self.total += rhs.total;
        self.bad += rhs.bad;
        self.raw += rhs.raw;
        self.raw_bad += rhs.raw_bad;
        self.sq += rhs.sq;
    }
}
impl SubAssign for Counts {
    fn sub_assign(&mut self, rhs: Counts) {
        self.total -= rhs.total;
        self.bad -= rhs.bad;
        self.raw -= rhs.raw;
        self.raw_bad -= rhs.raw_bad;
        self.sq -= rhs.sq;
    }
}

/// A limit that a rule or a histogram names: values above it (or at it and above) are slow.
///
/// Ordered and compared by the number; never NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limit {
    pub value: f64,
    /// `true`: values equal to the limit are fine (`within`); `false`: they are not (`below`).
    pub inclusive: bool,
}

impl Limit {
    /// Whether this value misses the limit.
    pub fn missed_by(&self, value: f64) -> bool {
        if self.inclusive { value > self.value } else { value >= self.value }
    }

    fn key(&self) -> (u64, bool) {
        (self.value.to_bits(), self.inclusive)
    }
}
impl Eq for Limit {}
impl std::hash::Hash for Limit {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

/// How many values missed one limit, counted exactly from the moment the limit was known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Over {
    pub limit: Limit,
    /// Σ weight of the values that were held against the limit.
    pub tested: i64,
    /// Σ weight of those that missed it.
    pub over: i64,
    /// How many received values missed it.
    pub raw_over: i64,
}

/// Everything that is kept of one series in one slice of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub counts: Counts,
    /// Σ weight² of the bad events, in millionths of an event².
    pub bad_sq: i128,
    /// Counts of the events that carried a value; `bad` and `raw_bad` stay zero.
    pub valued: Counts,
    /// Σ weight × value, in events × the metric's unit.
    pub sum: f64,
    /// Exact counters of named limits, sorted by limit.
    pub over: SmallVec<[Over; 1]>,
    /// Distribution of the values.
    pub sketch: Sketch,
    /// Distinct users of all events.
    pub users: Users,
    /// Distinct users with at least one bad event.
    pub bad_users: Users,
    /// Whether some of it came as ready-made rows, whose presence says that the slice was measured.
    pub pushed: bool,
}

impl Cell {
    /// Adds another cell of the same series and slice.
    pub fn merge(&mut self, other: &Cell) {
        self.counts += other.counts;
        self.bad_sq += other.bad_sq;
        self.valued += other.valued;
        self.sum += other.sum;
        for over in &other.over {
            self.add_over(*over);
        }
        self.sketch.merge(&other.sketch);
        self.users.merge(&other.users);
        self.bad_users.merge(&other.bad_users);
        self.pushed |= other.pushed;
    }

    /// Adds to the counter of one limit.
    pub fn add_over(&mut self, over: Over) {
        let at = self.over.partition_point(|have| limit_order(&have.limit, &over.limit).is_lt());
        match self.over.get_mut(at) {
            Some(have) if have.limit == over.limit => {
                have.tested += over.tested;
                have.over += over.over;
                have.raw_over += over.raw_over;
            }
            _ => self.over.insert(at, over),
        }
    }

    /// The counts of `within(limit)`: total = events with a value, bad = those that missed the limit.
    ///
    /// Exact where the limit was counted; the rest comes from the sketch (SEMANTICS 16).
    pub fn against(&self, limit: Limit) -> Counts {
        let exact = self.over.iter().find(|over| over.limit == limit);
        let (tested, mut bad, mut raw_bad) = exact.map_or((0, 0, 0), |over| (over.tested, over.over, over.raw_over));
        let untested = self.valued.total - tested;
        if untested != 0 {
            let share = self.sketch.share_above(limit.value, limit.inclusive).unwrap_or(0.0);
            bad += (untested as f64 * share).round() as i64;
            let raw_untested = match self.valued.total {
                0 => 0.0,
                total => self.valued.raw as f64 * (untested as f64 / total as f64),
            };
            raw_bad += (raw_untested * share).round() as i64;
        }
        let bad = if self.valued.total >= 0 { bad.clamp(0, self.valued.total) } else { bad };
        let raw_bad = if self.valued.raw >= 0 { raw_bad.clamp(0, self.valued.raw) } else { raw_bad };
        Counts { bad, raw_bad, ..self.valued }
    }
}

/// Sorts limits by number, then by whether equality is fine.
pub fn limit_order(a: &Limit, b: &Limit) -> std::cmp::Ordering {
    a.value.total_cmp(&b.value).then(a.inclusive.cmp(&b.inclusive))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { value: 2500.0, inclusive: true };

    #[test]
    fn effective_size_of_equal_weights_is_the_raw_count() {
        let mut counts = Counts::ZERO;
        for _ in 0..10 {
            counts += Counts::event(100 * UNIT, false);
        }
        assert!((counts.effective() - 10.0).abs() < 1e-9);
        assert!(!counts.is_plain());
        assert_eq!(Counts::ZERO.effective(), 0.0);
    }

    #[test]
    fn a_named_limit_is_counted_exactly() {
        let mut cell = Cell::default();
        for value in [2499.0, 2500.0, 2500.001, 9000.0] {
            cell.valued += Counts::event(UNIT, false);
            cell.sketch.add(value, UNIT);
            let over = i64::from(LIMIT.missed_by(value));
            cell.add_over(Over { limit: LIMIT, tested: UNIT, over: over * UNIT, raw_over: over });
        }
        assert_eq!(cell.against(LIMIT), Counts::plain(4, 2));
        let below = Limit { value: 2500.0, inclusive: false };
        assert!(below.missed_by(2500.0) && !LIMIT.missed_by(2500.0));
    }

    #[test]
    fn a_limit_named_later_is_estimated_from_the_sketch() {
        let mut cell = Cell::default();
        for value in [100.0, 200.0, 5000.0, 6000.0] {
            cell.valued += Counts::event(UNIT, false);
            cell.sketch.add(value, UNIT);
        }
        assert_eq!(cell.against(LIMIT), Counts::plain(4, 2));
    }
}
