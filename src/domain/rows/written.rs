//! The fields of a row as they are written, and what counts and times among them mean.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use super::RowError;
use crate::domain::cell::UNIT;
use crate::domain::json::{Text, Texts};
use crate::domain::time::Timestamp;

/// The most events that one row may stand for; sums of very many rows still fit.
const EVENTS_MAX: i64 = 1_000_000_000;

/// A row as it stands in a file, nothing of it checked.
#[derive(Deserialize)]
pub struct Written<'a> {
    pub bucket: Option<Bucket>,
    #[serde(borrow)]
    pub metric: Option<Text<'a>>,
    #[serde(borrow)]
    pub dims: Option<Texts<'a>>,
    pub total: Option<Amount>,
    pub bad: Option<Amount>,
    pub raw: Option<Amount>,
    pub raw_bad: Option<Amount>,
    pub sum: Option<f64>,
    pub histogram: Option<Vec<(Option<f64>, Amount)>>,
    #[serde(borrow)]
    pub users: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub bad_users: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    pub id: Option<Text<'a>>,
}

/// A count as it is written: whole, or with decimals.
#[derive(Clone, Copy, Debug)]
pub enum Amount {
    Whole(u64),
    Decimal(f64),
    Negative,
}

impl Amount {
    pub fn of(number: f64) -> Amount {
        if number < 0.0 { Amount::Negative } else { Amount::Decimal(number) }
    }

    /// In millionths, rounded to the nearest.
    pub fn weight(self, name: &'static str) -> Result<i64, RowError> {
        match self {
            Amount::Negative => Err(RowError::Negative(name)),
            Amount::Whole(whole) if whole <= EVENTS_MAX as u64 => Ok(whole as i64 * UNIT),
            Amount::Decimal(number) if number <= EVENTS_MAX as f64 => Ok((number * UNIT as f64).round() as i64),
            Amount::Whole(_) | Amount::Decimal(_) => Err(RowError::TooLarge(name)),
        }
    }

    pub fn whole(self, name: &'static str) -> Result<i64, RowError> {
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
pub struct Bucket(pub Option<Timestamp>);

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
pub fn quick_time(text: &[u8]) -> Option<Timestamp> {
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
