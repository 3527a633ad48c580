//! Times, lengths, shares and counts as they are read at night.

use crate::domain::time::{Span, Timestamp};

/// `2026-11-22 03:12 UTC`.
pub(super) fn time(at: Timestamp) -> String {
    match at.to_chrono() {
        Some(at) => at.format("%Y-%m-%d %H:%M UTC").to_string(),
        None => at.to_string(),
    }
}

/// `42m`, `3h 5m`, `2d 4h`.
pub(super) fn length(span: Span) -> String {
    let minutes = span.millis().max(0) / 60_000;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, 0) => format!("{}s", span.millis().max(0) / 1000),
        (0, 0, m) => format!("{m}m"),
        (0, h, 0) => format!("{h}h"),
        (0, h, m) => format!("{h}h {m}m"),
        (d, 0, _) => format!("{d}d"),
        (d, h, _) => format!("{d}d {h}h"),
    }
}

/// A share as a percentage that does not round to nothing.
pub(super) fn percent(share: f64) -> String {
    let value = share * 100.0;
    match value {
        v if !v.is_finite() => "an unknown share".to_owned(),
        v if v <= 0.0 => "0 %".to_owned(),
        v if v < 0.1 => "under 0.1 %".to_owned(),
        v if v < 10.0 => format!("{} %", trim(format!("{v:.1}"))),
        v => format!("{v:.0} %"),
    }
}

/// A count with thousands set apart.
pub(super) fn count(value: f64) -> String {
    if !value.is_finite() || value < 0.0 {
        return "an unknown number of".to_owned();
    }
    let digits = format!("{value:.0}");
    let mut out = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A burn rate: one decimal, none when it is large.
pub(super) fn number(value: f64) -> String {
    if value.abs() >= 100.0 { format!("{value:.0}") } else { trim(format!("{value:.1}")) }
}

fn trim(text: String) -> String {
    match text.strip_suffix(".0") {
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.0, 0.0004, 0.0224, 0.05, 0.92, 1.5].map(percent), ["0 %", "under 0.1 %", "2.2 %", "5 %", "92 %", "150 %"]);
        assert_eq!([0.0, 999.0, 1000.0, 1_234_567.0].map(count), ["0", "999", "1,000", "1,234,567"]);
        let spans = [Span::seconds(42), Span::minutes(42), Span::hours(3), Span::minutes(185), Span::days(2), Span::hours(52)];
        assert_eq!(spans.map(length), ["42s", "42m", "3h", "3h 5m", "2d", "2d 4h"]);
    }
}
