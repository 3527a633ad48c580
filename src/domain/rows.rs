//! Ready-made aggregate rows (CONTRACT 5): NDJSON or a JSON array, each line read, checked and turned
//! into a [`Cell`] by itself. Used by `POST /v1/aggregates`, `aggregates load` and `backtest --data`.
//!
//! Built for files of millions of lines: texts are borrowed, one line is looked at once.

mod histogram;
mod written;

use std::borrow::Cow;

use serde_json::value::RawValue;

use self::histogram::fill;
use self::written::{Amount, Written};
use super::cell::{Cell, Counts, UNIT};
use super::json::{Text, Texts};
use super::keyed::{KeyedHash, Purpose};
use super::metric::Metric;
use super::redact::{Redactor, VALUE_MAX};
use super::series::Series;
use super::time::{Span, Timestamp};
use super::user_keys::UserKeys;

/// The most bins of a histogram.
pub const BINS_MAX: usize = 200;

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

#[cfg(test)]
mod tests;
