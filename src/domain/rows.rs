//! Ready-made aggregate rows (CONTRACT 5): NDJSON or a JSON array, each line read, checked and turned
//! into a [`Cell`] by itself. Used by `POST /v1/aggregates`, `aggregates load` and `backtest --data`.
//!
//! Built for files of millions of lines: texts are borrowed, one line is looked at once.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;
use smallvec::SmallVec;

use super::cell::{Cell, Counts, Limit, Over, UNIT};
use super::json::{Text, Texts};
use super::keyed::{KeyedHash, Purpose};
use super::metric::Metric;
use super::redact::{Redactor, VALUE_MAX};
use super::series::Series;
use super::sketch::Sketch;
use super::time::{Span, Timestamp};
use super::user_keys::UserKeys;

/// The most events that one row may stand for; sums of very many rows still fit.
const EVENTS_MAX: i64 = 1_000_000_000;
/// The most bins of a histogram.
pub const BINS_MAX: usize = 200;
/// At how many points of a bin its values are put.
const POINTS: i64 = 8;
/// Above the last finite bound of a histogram nothing is known; values there count as this much larger.
const BEYOND: f64 = 1.05;

/// One row, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Row<'a> {
    /// Start of its bucket.
    pub at: Timestamp,
    pub metric: Metric,
    dims: Texts<'a>,
    /// Without its users.
    pub cell: Cell,
    /// Hashes of its users, before the key that rotates (`user_keys`).
    pub users: Vec<u64>,
    pub bad_users: Vec<u64>,
    /// Keyed hash of its `id`.
    pub id: Option<u64>,
}

impl<'a> Row<'a> {
    /// A row of parts that were checked and cleaned where they came in; dimensions without a value are left out.
    pub fn of(at: Timestamp, metric: Metric, mut dims: Vec<(Cow<'a, str>, Cow<'a, str>)>, cell: Cell) -> Row<'a> {
        dims.retain(|(_, value)| !value.is_empty());
        Row { at, metric, dims: Texts(dims), cell, users: Vec::new(), bad_users: Vec::new(), id: None }
    }
}

impl Row<'_> {
    /// Counts its users, under the key of its time.
    pub fn count_users(&mut self, keys: &UserKeys) {
        for user in self.users.iter().chain(&self.bad_users) {
            let (key, hash) = keys.of(self.at, *user);
            self.cell.users.add_under(key, hash);
        }
        for user in &self.bad_users {
            let (key, hash) = keys.of(self.at, *user);
            self.cell.bad_users.add_under(key, hash);
        }
    }

    /// Dimension names and values, in the order in which they were written; no value is empty.
    pub fn dims(&self) -> impl Iterator<Item = (&str, &str)> + Clone {
        self.dims.0.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The series it belongs to, unless caps fold it.
    pub fn series(&self) -> Series {
        Series::new(self.metric.clone(), self.dims().map(|(name, value)| (name.into(), value.into())))
    }
}

/// Why a row was refused.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    #[error("no aggregate row: {0}")]
    Json(String),
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{0}` is negative")]
    Negative(&'static str),
    #[error("`{0}` is larger than 1000000000 events; split the row")]
    TooLarge(&'static str),
    #[error("`{0}` must be a whole number")]
    NotWhole(&'static str),
    #[error("`bucket` is neither a time like 2026-11-22T03:00:00Z nor milliseconds since 1970")]
    Time,
    #[error("`bucket` is not aligned to {0}")]
    Unaligned(Span),
    #[error("`{0}` is no metric")]
    Metric(String),
    #[error("`{metric}` has no dimension `{dimension}`")]
    Dimension { metric: String, dimension: String },
    #[error("the value of `{0}` is longer than 128 bytes")]
    LongValue(String),
    #[error("`bad` is more than `total`")]
    BadOverTotal,
    #[error("`raw_bad` is more than `raw`")]
    RawBadOverRaw,
    #[error("`raw` is 0 although `total` is not")]
    NoRaw,
    #[error("`{0}` has no values, so no `{1}`")]
    NoValues(String, &'static str),
    #[error("`histogram` {0}")]
    Histogram(&'static str),
}

/// The body as a whole is neither NDJSON nor a JSON array.
#[derive(Debug, thiserror::Error)]
#[error("not a JSON array of rows: {0}")]
pub struct NotRows(String);

/// Reads rows for one configuration.
#[derive(Clone, Debug)]
pub struct Reader {
    bucket: Span,
    dimensions: Vec<String>,
    hash: KeyedHash,
    redactor: Redactor,
}

impl Reader {
    /// For buckets of this length and series with these dimensions beside the metric's own.
    pub fn new(bucket: Span, dimensions: &[String], hash: KeyedHash, redactor: Redactor) -> Reader {
        Reader { bucket, dimensions: dimensions.to_vec(), hash, redactor }
    }

    /// Calls `visit` with the number (from 1) and content of every line of NDJSON, or of every
    /// element of an array. Empty lines are skipped.
    pub fn read<'a>(&self, bytes: &'a [u8], mut visit: impl FnMut(usize, Result<Row<'a>, RowError>)) -> Result<(), NotRows> {
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
            let rows: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|error| NotRows(error.to_string()))?;
            for (at, row) in rows.into_iter().enumerate() {
                visit(at + 1, self.row(row.get().as_bytes()));
            }
            return Ok(());
        }
        for (at, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
            if !line.iter().all(u8::is_ascii_whitespace) {
                visit(at + 1, self.row(line));
            }
        }
        Ok(())
    }

    /// Reads one row.
    pub fn row<'a>(&self, json: &'a [u8]) -> Result<Row<'a>, RowError> {
        let mut written: Written<'a> = serde_json::from_slice(json).map_err(|error| RowError::Json(error.to_string()))?;
        let at = written.bucket.ok_or(RowError::Missing("bucket"))?.0.ok_or(RowError::Time)?;
        if at.floor(self.bucket) != at {
            return Err(RowError::Unaligned(self.bucket));
        }
        let name = written.metric.as_ref().ok_or(RowError::Missing("metric"))?.0.as_ref();
        let metric = Metric::parse(name).ok_or_else(|| RowError::Metric(name.chars().take(80).collect()))?;
        let dims = self.dims(&metric, written.dims.take().unwrap_or_default())?;
        let cell = self.cell(&metric, &written)?;
        let id = written.id.map(|id| self.hash.of(Purpose::RowId, &[id.0.as_bytes()]));
        let hashes = |ids: &Option<Vec<Text<'a>>>| ids.iter().flatten().map(|id| self.hash.of(Purpose::User, &[id.0.as_bytes()])).collect();
        let (users, bad_users) = (hashes(&written.users), hashes(&written.bad_users));
        Ok(Row { at, metric, dims, cell, users, bad_users, id })
    }

    fn dims<'a>(&self, metric: &Metric, mut written: Texts<'a>) -> Result<Texts<'a>, RowError> {
        for (name, value) in &mut written.0 {
            if !self.dimensions.iter().any(|known| known == name) && name != "app" && !metric.own_dimensions().contains(&&**name) {
                return Err(RowError::Dimension { metric: metric.to_string(), dimension: name.chars().take(80).collect() });
            }
            if value.len() > VALUE_MAX {
                return Err(RowError::LongValue(name.to_string()));
            }
            *value = self.redactor.clean(std::mem::take(value)).0;
        }
        written.0.retain(|(_, value)| !value.is_empty());
        Ok(written)
    }

    fn cell(&self, metric: &Metric, row: &Written<'_>) -> Result<Cell, RowError> {
        let total = row.total.ok_or(RowError::Missing("total"))?.weight("total")?;
        let bad = match row.bad {
            Some(bad) => bad.weight("bad")?,
            // Events of these are always bad.
            None if matches!(metric, Metric::JsError | Metric::Crash) => total,
            None => 0,
        };
        if bad > total {
            return Err(RowError::BadOverTotal);
        }
        let raw = match row.raw {
            Some(raw) => raw.whole("raw")?,
            None => whole_of(total),
        };
        let raw_bad = match row.raw_bad {
            Some(raw_bad) => raw_bad.whole("raw_bad")?,
            None => whole_of(bad).min(raw),
        };
        if raw_bad > raw {
            return Err(RowError::RawBadOverRaw);
        }
        if raw == 0 && total > 0 {
            return Err(RowError::NoRaw);
        }
        let mut cell = Cell {
            counts: Counts { total, bad, raw, raw_bad, sq: squares(total, raw) },
            bad_sq: squares(bad, raw_bad),
            pushed: true,
            ..Cell::default()
        };
        if let Some(sum) = row.sum {
            if !metric.has_values() {
                return Err(RowError::NoValues(metric.to_string(), "sum"));
            }
            if sum < 0.0 {
                return Err(RowError::Negative("sum"));
            }
            cell.sum = sum;
        }
        if let Some(bins) = &row.histogram {
            if !metric.has_values() {
                return Err(RowError::NoValues(metric.to_string(), "histogram"));
            }
            fill(&mut cell, bins)?;
        }
        Ok(cell)
    }
}

/// What a client of the intake has summed up by itself. Unlike a pushed row it does not say that its bucket was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summed {
    /// Events, weighted.
    pub total: f64,
    pub bad: f64,
    /// Events that the client really saw.
    pub raw: f64,
    pub sum: Option<f64>,
    /// As the `histogram` of a row.
    pub bins: Vec<(Option<f64>, f64)>,
}

impl Summed {
    /// The cell, under the same checks as a row's.
    pub fn cell(&self) -> Result<Cell, RowError> {
        let (total, bad) = (Amount::of(self.total).weight("total")?, Amount::of(self.bad).weight("bad")?);
        let raw = whole_of(Amount::of(self.raw).weight("raw")?);
        if bad > total {
            return Err(RowError::BadOverTotal);
        }
        let raw_bad = if bad == total { raw } else { whole_of(bad).min(raw) };
        let mut cell = Cell {
            counts: Counts { total, bad, raw, raw_bad, sq: squares(total, raw) },
            bad_sq: squares(bad, raw_bad),
            sum: self.sum.unwrap_or(0.0),
            ..Cell::default()
        };
        let bins: Vec<(Option<f64>, Amount)> = self.bins.iter().map(|(bound, count)| (*bound, Amount::of(*count))).collect();
        fill(&mut cell, &bins)?;
        Ok(cell)
    }
}

/// The nearest whole number of events, at least one unless there are none.
fn whole_of(weight: i64) -> i64 {
    if weight == 0 { 0 } else { ((weight + UNIT / 2) / UNIT).max(1) }
}

/// Σw² of `raw` events that weigh `total` together and equally, in millionths of an event².
fn squares(total: i64, raw: i64) -> i128 {
    if raw == 0 { 0 } else { i128::from(total) * i128::from(total) / (i128::from(raw) * i128::from(UNIT)) }
}

/// Puts a histogram into a cell: the distribution, and an exact counter at each finite bound.
fn fill(cell: &mut Cell, bins: &[(Option<f64>, Amount)]) -> Result<(), RowError> {
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

#[derive(Deserialize)]
struct Written<'a> {
    bucket: Option<Bucket>,
    #[serde(borrow)]
    metric: Option<Text<'a>>,
    #[serde(borrow)]
    dims: Option<Texts<'a>>,
    total: Option<Amount>,
    bad: Option<Amount>,
    raw: Option<Amount>,
    raw_bad: Option<Amount>,
    sum: Option<f64>,
    histogram: Option<Vec<(Option<f64>, Amount)>>,
    #[serde(borrow)]
    users: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    bad_users: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
}

/// A count as it is written: whole, or with decimals.
#[derive(Clone, Copy, Debug)]
enum Amount {
    Whole(u64),
    Decimal(f64),
    Negative,
}

impl Amount {
    fn of(number: f64) -> Amount {
        if number < 0.0 { Amount::Negative } else { Amount::Decimal(number) }
    }

    /// In millionths, rounded to the nearest.
    fn weight(self, name: &'static str) -> Result<i64, RowError> {
        match self {
            Amount::Negative => Err(RowError::Negative(name)),
            Amount::Whole(whole) if whole <= EVENTS_MAX as u64 => Ok(whole as i64 * UNIT),
            Amount::Decimal(number) if number <= EVENTS_MAX as f64 => Ok((number * UNIT as f64).round() as i64),
            Amount::Whole(_) | Amount::Decimal(_) => Err(RowError::TooLarge(name)),
        }
    }

    fn whole(self, name: &'static str) -> Result<i64, RowError> {
        let weight = self.weight(name)?;
        if weight % UNIT == 0 { Ok(weight / UNIT) } else { Err(RowError::NotWhole(name)) }
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;
        impl Visitor<'_> for AmountVisitor {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Amount, E> {
                Ok(Amount::Whole(number))
            }
            fn visit_i64<E: Error>(self, number: i64) -> Result<Amount, E> {
                Ok(u64::try_from(number).map_or(Amount::Negative, Amount::Whole))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Amount, E> {
                Ok(Amount::of(number))
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
}

/// RFC 3339 or milliseconds; `None` if it is neither.
#[derive(Clone, Copy)]
struct Bucket(Option<Timestamp>);

impl<'de> Deserialize<'de> for Bucket {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BucketVisitor;
        /// The years 1970 to 9999.
        const MILLIS: std::ops::Range<i64> = 0..253_402_300_800_000;
        impl Visitor<'_> for BucketVisitor {
            type Value = Bucket;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Bucket, E> {
                let at = quick_time(text.as_bytes()).or_else(|| text.parse().ok());
                Ok(Bucket(at.filter(|at| MILLIS.contains(&at.millis()))))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Bucket, E> {
                Ok(Bucket(i64::try_from(number).ok().filter(|ms| MILLIS.contains(ms)).map(Timestamp)))
            }
            fn visit_i64<E: Error>(self, _: i64) -> Result<Bucket, E> {
                Ok(Bucket(None))
            }
            fn visit_f64<E: Error>(self, number: f64) -> Result<Bucket, E> {
                let whole = number.fract() == 0.0 && number >= 0.0 && number < MILLIS.end as f64;
                Ok(Bucket(whole.then_some(Timestamp(number as i64))))
            }
        }
        deserializer.deserialize_any(BucketVisitor)
    }
}

/// `2026-11-22T03:00:00Z`, the form that nearly every row has; `None` for any other.
fn quick_time(text: &[u8]) -> Option<Timestamp> {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2, b'Z'] = *text else { return None };
    let number = |digits: &[u8]| digits.iter().try_fold(0_i64, |n, digit| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0')));
    let (year, month, day) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?);
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[n1, n2])?, number(&[s1, s2])?);
    // Days that not every month has, and leap seconds, are left to the careful reader.
    if !(1..=12).contains(&month) || !(1..=28).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    // Days since 1970-01-01 in the Gregorian calendar, counting years from March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (shifted.div_euclid(400), shifted.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Timestamp((days * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader() -> Reader {
        let dimensions = ["app", "route", "region"].map(str::to_owned);
        Reader::new(Span::MINUTE, &dimensions, KeyedHash::new([1; 16]), Redactor::default())
    }

    fn row(json: &str) -> Result<Row<'_>, String> {
        reader().row(json.as_bytes()).map_err(|error| error.to_string())
    }

    const HEAD: &str = r#""bucket":"2026-11-22T03:00:00Z","metric":"lcp","dims":{"app":"shop","region":"de"}"#;

    #[test]
    fn a_plain_row_is_whole_events_of_weight_one() {
        let json = r#"{"bucket":1795316400000,"metric":"request","dims":{"app":"shop","status":500,"os":null},"total":100,"bad":7}"#;
        let row = row(json).unwrap();
        assert_eq!(row.at.to_string(), "2026-11-22T03:00:00Z");
        assert_eq!(row.cell.counts, Counts::plain(100, 7));
        assert!(row.cell.pushed);
        assert_eq!(row.series().dims_json(), r#"{"app":"shop","status":"500"}"#);
    }

    #[test]
    fn decimals_are_weights_in_exact_millionths_and_squares_are_total_squared_over_raw() {
        let json = format!("{{{HEAD},\"total\":1234567.000001,\"bad\":0.1,\"raw\":12}}");
        let counts = row(&json).unwrap().cell.counts;
        assert_eq!((counts.total, counts.bad, counts.raw, counts.raw_bad), (1_234_567_000_001, 100_000, 12, 1));
        assert_eq!(counts.sq, 1_234_567_000_001_i128.pow(2) / 12 / 1_000_000);
        assert!((counts.effective() - 12.0).abs() < 1e-6);
    }

    #[test]
    fn a_measured_zero_is_a_cell() {
        let json = format!("{{{HEAD},\"total\":0}}");
        let cell = row(&json).unwrap().cell;
        assert!(cell.pushed && cell.counts.is_zero());
    }

    #[test]
    fn a_bound_is_an_exact_limit_and_the_rest_comes_from_the_distribution() {
        let json = format!("{{{HEAD},\"total\":100,\"histogram\":[[1000,50],[2500,30],[4000,15],[null,5]]}}");
        let cell = row(&json).unwrap().cell;
        for (limit, bad) in [(1000.0, 50), (2500.0, 20), (4000.0, 5)] {
            assert_eq!(cell.against(Limit { value: limit, inclusive: true }), Counts::plain(100, bad), "{limit}");
        }
        assert_eq!(cell.sketch.weight(), 100 * UNIT);
        let median = cell.sketch.quantile(0.65).unwrap();
        assert!((1600.0..1900.0).contains(&median), "{median}");
        assert!(cell.sketch.quantile(1.0).unwrap() > 4000.0);
    }

    #[test]
    fn users_are_hashed_and_bad_users_are_users() {
        let json = format!("{{{HEAD},\"total\":3,\"users\":[\"a\",\"b\",7],\"bad_users\":[\"b\",\"c\"]}}");
        let mut row = row(&json).unwrap();
        row.count_users(&UserKeys::default());
        assert_eq!((row.cell.users.estimate(), row.cell.bad_users.estimate()), (4, 2));
    }

    #[test]
    fn what_cannot_be_true_is_refused_with_a_reason() {
        for (rest, reason) in [
            (r#""total":-1"#, "`total` is negative"),
            (r#""total":-0.5"#, "`total` is negative"),
            (r#""total":1,"bad":2"#, "`bad` is more than `total`"),
            (r#""total":1,"bad":-2"#, "`bad` is negative"),
            (r#""total":10,"raw":2.5"#, "`raw` must be a whole number"),
            (r#""total":10,"raw":0"#, "`raw` is 0 although `total` is not"),
            (r#""total":10,"raw":5,"raw_bad":6"#, "`raw_bad` is more than `raw`"),
            (r#""total":1e10"#, "`total` is larger than 1000000000 events; split the row"),
            (r#""bad":1"#, "`total` is missing"),
            (r#""total":null"#, "`total` is missing"),
            (r#""total":1,"sum":-1"#, "`sum` is negative"),
            (r#""total":1,"histogram":[[5,1],[5,0]]"#, "`histogram` has bounds that do not ascend"),
            (r#""total":1,"histogram":[[null,1],[5,0]]"#, "`histogram` has a null bound before the last one"),
            (r#""total":1,"histogram":[[null,1]]"#, "`histogram` has no finite bound"),
            (r#""total":1,"histogram":[[-1,1]]"#, "`histogram` has a negative bound"),
            (r#""total":1,"histogram":[[1,-1]]"#, "`histogram` is negative"),
            (r#""total":1,"histogram":[[1,2]]"#, "`histogram` counts more events than `total`"),
        ] {
            let json = format!("{{{HEAD},{rest}}}");
            assert_eq!(row(&json).unwrap_err(), reason, "{rest}");
        }
        for (json, reason) in [
            (r#"{"metric":"lcp","total":1}"#, "`bucket` is missing"),
            (r#"{"bucket":1,"metric":"lcp","total":1}"#, "`bucket` is not aligned to 1m"),
            (
                r#"{"bucket":"soon","metric":"lcp","total":1}"#,
                "`bucket` is neither a time like 2026-11-22T03:00:00Z nor milliseconds since 1970",
            ),
            (r#"{"bucket":0,"total":1}"#, "`metric` is missing"),
            (r#"{"bucket":0,"metric":"LCP","total":1}"#, "`LCP` is no metric"),
            (r#"{"bucket":0,"metric":"lcp","dims":{"planet":"mars"},"total":1}"#, "`lcp` has no dimension `planet`"),
            (r#"{"bucket":0,"metric":"page_view","total":1,"histogram":[[1,1]]}"#, "`page_view` has no values, so no `histogram`"),
        ] {
            assert_eq!(row(json).unwrap_err(), reason, "{json}");
        }
        for broken in [
            "",
            "nonsense",
            "{",
            "[]",
            "1",
            r#"{"bucket":0,"metric":"lcp","total":"5"}"#,
            r#"{"bucket":0,"metric":"lcp","total":1e400}"#,
            r#"{"bucket":0,"metric":"lcp","total":NaN}"#,
            r#"{"bucket":0,"metric":"lcp","dims":{"app":{}},"total":1}"#,
        ] {
            assert!(row(broken).unwrap_err().starts_with("no aggregate row: "), "{broken}");
        }
    }

    #[test]
    fn lines_and_arrays_read_alike_and_bad_ones_cost_only_themselves() {
        let good = r#"{"bucket":0,"metric":"lcp","total":1}"#;
        let collect = |text: &str| {
            let mut out = Vec::new();
            reader().read(text.as_bytes(), |line, row| out.push((line, row.is_ok()))).map(|()| out)
        };
        assert_eq!(collect(&format!("{good}\r\n\nbroken\n{good}")).unwrap(), [(1, true), (3, false), (4, true)]);
        assert_eq!(collect(&format!(" [{good},\n5,{good}]")).unwrap(), [(1, true), (2, false), (3, true)]);
        assert!(collect(&format!("[{good}")).is_err());
        assert_eq!(collect("").unwrap(), []);
    }

    #[test]
    fn the_quick_way_to_read_a_time_agrees_with_the_careful_one() {
        for day in 0..60_000_i64 {
            let at = Timestamp(day * 86_400_000 + (day * 7_919 % 86_400) * 1_000);
            let text = at.to_string();
            if let Some(quick) = quick_time(text.as_bytes()) {
                assert_eq!(quick, at, "{text}");
            }
        }
        assert!(quick_time(b"2026-02-28T23:59:59Z").is_some());
        for odd in ["2026-02-30T00:00:00Z", "2026-13-01T00:00:00Z", "2026-11-22T24:00:00Z", "2026-11-22 03:00:00Z", "2026-11-2aT03:00:00Z"]
        {
            assert_eq!(quick_time(odd.as_bytes()), None, "{odd}");
        }
    }
}
