//! Points and lengths of time, in whole milliseconds, UTC.
//!
//! Nothing here reads a clock: a [`Timestamp`] is always handed in.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};
use std::str::FromStr;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
///
/// Reads and writes as RFC 3339 text in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);

/// A length of time in milliseconds; may be negative as the difference of two timestamps.
///
/// Reads and writes as `"90s"`, `"5m"`, `"1h"`, `"3d"`, `"4w"`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl Timestamp {
    /// Milliseconds since the epoch.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// The start of the slice of length `step` (aligned to the epoch) that holds this point.
    pub const fn floor(self, step: Span) -> Timestamp {
        Timestamp(self.0.div_euclid(step.0) * step.0)
    }

    /// The first slice boundary at or after this point.
    pub const fn ceil(self, step: Span) -> Timestamp {
        Timestamp(-((-self.0).div_euclid(step.0)) * step.0)
    }

    /// The same point as a `chrono` value; `None` outside the years that chrono knows.
    pub fn to_chrono(self) -> Option<DateTime<Utc>> {
        DateTime::from_timestamp_millis(self.0)
    }

    /// Whole seconds since the epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// One second.
    pub const SECOND: Span = Span(1_000);
    /// One minute.
    pub const MINUTE: Span = Span(60_000);
    /// One hour.
    pub const HOUR: Span = Span(3_600_000);
    /// One day of 24 hours.
    pub const DAY: Span = Span(86_400_000);

    /// `n` minutes.
    pub const fn minutes(n: i64) -> Span {
        Span(n * 60_000)
    }

    /// `n` seconds.
    pub const fn seconds(n: i64) -> Span {
        Span(n * 1_000)
    }

    /// `n` hours.
    pub const fn hours(n: i64) -> Span {
        Span(n * 3_600_000)
    }

    /// `n` days of 24 hours.
    pub const fn days(n: i64) -> Span {
        Span(n * 86_400_000)
    }

    /// Length in milliseconds.
    pub const fn millis(self) -> i64 {
        self.0
    }

    /// Length in seconds, as a float for display and forecasts.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// As a `std` duration for timers; negative lengths become zero.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.max(0) as u64)
    }
}

impl From<std::time::Duration> for Span {
    fn from(value: std::time::Duration) -> Self {
        Span(i64::try_from(value.as_millis()).unwrap_or(i64::MAX))
    }
}

impl Add<Span> for Timestamp {
    type Output = Timestamp;
    fn add(self, rhs: Span) -> Timestamp {
        Timestamp(self.0.saturating_add(rhs.0))
    }
}
impl AddAssign<Span> for Timestamp {
    fn add_assign(&mut self, rhs: Span) {
        *self = *self + rhs;
    }
}
impl Sub<Span> for Timestamp {
    type Output = Timestamp;
    fn sub(self, rhs: Span) -> Timestamp {
        Timestamp(self.0.saturating_sub(rhs.0))
    }
}
impl SubAssign<Span> for Timestamp {
    fn sub_assign(&mut self, rhs: Span) {
        *self = *self - rhs;
    }
}
impl Sub<Timestamp> for Timestamp {
    type Output = Span;
    fn sub(self, rhs: Timestamp) -> Span {
        Span(self.0.saturating_sub(rhs.0))
    }
}
impl Add for Span {
    type Output = Span;
    fn add(self, rhs: Span) -> Span {
        Span(self.0.saturating_add(rhs.0))
    }
}
impl Sub for Span {
    type Output = Span;
    fn sub(self, rhs: Span) -> Span {
        Span(self.0.saturating_sub(rhs.0))
    }
}
impl Neg for Span {
    type Output = Span;
    fn neg(self) -> Span {
        Span(-self.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_chrono() {
            Some(at) if self.0 % 1000 == 0 => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            Some(at) => f.write_str(&at.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

/// A text that is no RFC 3339 time.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no time; write it like 2026-11-22T03:00:00Z")]
pub struct BadTime(String);

impl FromStr for Timestamp {
    type Err = BadTime;
    fn from_str(text: &str) -> Result<Self, BadTime> {
        DateTime::parse_from_rfc3339(text).map(|at| Timestamp(at.timestamp_millis())).map_err(|_| BadTime(text.chars().take(64).collect()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for Span {
    /// The shortest exact form with one unit: `90s`, `5m`, `30d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        for (unit, name) in [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s")] {
            if ms != 0 && ms % unit == 0 {
                return write!(f, "{}{name}", ms / unit);
            }
        }
        if ms == 0 { f.write_str("0s") } else { write!(f, "{ms}ms") }
    }
}

/// A text that is no duration.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no duration; write a whole number and a unit, like \"90s\", \"5m\", \"1h\", \"3d\" or \"4w\"")]
pub struct BadSpan(String);

impl FromStr for Span {
    type Err = BadSpan;
    fn from_str(text: &str) -> Result<Self, BadSpan> {
        let bad = || BadSpan(text.chars().take(64).collect());
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let number: i64 = number.parse().map_err(|_| bad())?;
        let unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 7 * 86_400_000,
            _ => return Err(bad()),
        };
        // A century is more than any window, silence or timer needs and keeps sums far from overflow.
        let span = number.checked_mul(unit).filter(|ms| *ms <= 36_525 * 86_400_000).ok_or_else(bad)?;
        Ok(Span(span))
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_and_write_the_units_of_the_contract() {
        for text in ["90s", "5m", "1h", "3d", "28d", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("4w".parse::<Span>().unwrap(), Span::days(28));
        for bad in ["", "5", "m", "5 m", "-5m", "1.5h", "5M", "99999999999d", "5mm"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }

    #[test]
    fn times_are_rfc3339_in_utc() {
        let at: Timestamp = "2026-11-22T04:00:00+01:00".parse().unwrap();
        assert_eq!(at.to_string(), "2026-11-22T03:00:00Z");
        assert_eq!(Timestamp(1).to_string(), "1970-01-01T00:00:00.001Z");
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn floor_and_ceil_are_aligned_to_the_epoch_also_before_it() {
        assert_eq!(Timestamp(-1).floor(Span::MINUTE), Timestamp(-60_000));
        assert_eq!(Timestamp(1).ceil(Span::MINUTE), Timestamp(60_000));
        assert_eq!(Timestamp(60_000).ceil(Span::MINUTE), Timestamp(60_000));
    }
}
