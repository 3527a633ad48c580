//! Exact numbers that decide pages: the decimals that people write, kept as fractions.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A fraction `num / den` in lowest terms with `den > 0`.
///
/// Both parts stay below 10^12, far inside what products of three such numbers need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fraction {
    num: i64,
    den: i64,
}

const PART_MAX: i128 = 1_000_000_000_000;

impl Fraction {
    /// The fraction `num / den`, reduced; `None` if `den` is zero or a part is too large.
    pub fn new(num: i128, den: i128) -> Option<Fraction> {
        if den == 0 {
            return None;
        }
        let sign = if den < 0 { -1 } else { 1 };
        let divisor = gcd(num.unsigned_abs(), den.unsigned_abs()).max(1) as i128;
        let (num, den) = (sign * num / divisor, sign * den / divisor);
        if num.abs() > PART_MAX || den > PART_MAX {
            return None;
        }
        Some(Fraction { num: num as i64, den: den as i64 })
    }

    /// A whole number.
    pub const fn whole(n: i32) -> Fraction {
        Fraction { num: n as i64, den: 1 }
    }

    /// Numerator, with the sign.
    pub const fn num(self) -> i128 {
        self.num as i128
    }

    /// Denominator, always positive.
    pub const fn den(self) -> i128 {
        self.den as i128
    }

    /// The product with `num / den`; `None` when it leaves the range.
    pub fn scale(self, num: i128, den: i128) -> Option<Fraction> {
        Fraction::new(self.num() * num, self.den() * den)
    }

    /// For display and forecasts only, never for a comparison that decides.
    pub fn to_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// The decimal that a float prints as: `14.4_f64` is exactly 144/10.
    ///
    /// Rule files are read by rhai, which hands literals over as floats; the shortest text that
    /// reads back as the same float is what the author wrote, for up to 15 digits.
    pub fn from_written(value: f64) -> Option<Fraction> {
        if value.is_finite() { format!("{value}").parse().ok() } else { None }
    }
}

impl PartialOrd for Fraction {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Fraction {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.num() * other.den()).cmp(&(other.num() * self.den()))
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// A text that is no plain decimal number.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is no decimal number with at most 12 digits")]
pub struct BadDecimal(String);

impl FromStr for Fraction {
    type Err = BadDecimal;
    fn from_str(text: &str) -> Result<Self, BadDecimal> {
        let bad = || BadDecimal(text.chars().take(64).collect());
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
        let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
        if whole.is_empty() || !all_digits(whole) || !all_digits(part) || whole.len() + part.len() > 30 {
            return Err(bad());
        }
        let num: i128 = format!("{whole}{part}").parse().map_err(|_| bad())?;
        let den = 10_i128.pow(part.len() as u32);
        Fraction::new(if negative { -num } else { num }, den).ok_or_else(bad)
    }
}

impl fmt::Display for Fraction {
    /// As a decimal where it is one, else as `num/den`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for digits in 0..=12_u32 {
            let scaled = self.num() * 10_i128.pow(digits);
            if scaled % self.den() == 0 {
                let value = scaled / self.den();
                if digits == 0 {
                    return write!(f, "{value}");
                }
                let unit = 10_i128.pow(digits);
                let sign = if value < 0 { "-" } else { "" };
                let value = value.abs();
                return write!(f, "{sign}{}.{:0width$}", value / unit, value % unit, width = digits as usize);
            }
        }
        write!(f, "{}/{}", self.num, self.den)
    }
}

impl Serialize for Fraction {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{}/{}", self.num, self.den))
    }
}
impl<'de> Deserialize<'de> for Fraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let parsed = match text.split_once('/') {
            Some((num, den)) => match (num.parse(), den.parse()) {
                (Ok(num), Ok(den)) => Fraction::new(num, den),
                _ => None,
            },
            None => text.parse().ok(),
        };
        parsed.ok_or_else(|| serde::de::Error::custom("no fraction"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_float_is_the_decimal_that_was_written() {
        let factor = Fraction::from_written(14.4).unwrap();
        assert_eq!((factor.num(), factor.den()), (72, 5));
        assert_eq!(Fraction::from_written(99.95).unwrap().to_string(), "99.95");
        assert_eq!(Fraction::from_written(f64::NAN), None);
    }

    #[test]
    fn thirds_stay_exact() {
        let third = Fraction::new(1, 3).unwrap();
        assert_eq!(third.scale(3, 1), Some(Fraction::whole(1)));
        assert_eq!(third.to_string(), "1/3");
        assert!(Fraction::from_written(0.333).unwrap() < third);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", ".", "1e3", "0x1", "1.2.3", "--1", " 1"] {
            assert!(text.parse::<Fraction>().is_err(), "{text}");
        }
    }
}
