//! Numbers, shares, burn rates, budgets, lengths and points of time in the words of the pages.
//!
//! Always holds: rounding never moves a value over a limit, an unknown value is never a number,
//! and zero is only written for zero.

mod budget;
mod time;

use maud::{Markup, html};

pub use budget::{budget, burn, countdown, factor, objective, reached, signed_percent};
pub use time::{age, ago, clock, clock_seconds, day, duration, time, time_seconds, window};

/// What stands where nothing was measured.
pub const NOT_MEASURED: &str = "not measured";

/// 0 to 999 whole, then `1.2k`, `45k`, `1.3M`, `2G`.
pub fn count(value: f64) -> String {
    if !value.is_finite() {
        return NOT_MEASURED.into();
    }
    let value = value.max(0.0);
    if value > 0.0 && value < 0.5 {
        return "< 1".into();
    }
    if value.round() < 1000.0 {
        return format!("{}", value.round());
    }
    let mut scaled = value;
    let mut unit = "";
    for next in ["k", "M", "G", "T"] {
        scaled /= 1000.0;
        unit = next;
        if scaled.round() < 1000.0 {
            break;
        }
    }
    let tenths = (scaled * 10.0).round() / 10.0;
    if tenths < 10.0 { format!("{tenths}{unit}") } else { format!("{}{unit}", scaled.round()) }
}

/// All digits, in groups of three: `1,919`.
pub fn exact(value: f64) -> String {
    if !value.is_finite() {
        return NOT_MEASURED.into();
    }
    let digits = format!("{}", value.abs().round());
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 3);
    if value.round() < 0.0 {
        text.push('−');
    }
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Distinct users: an estimate, and said to be one in its title.
pub fn users(value: u64) -> Markup {
    let word = if value == 1 { "user" } else { "users" };
    html! { span title=(format!("{} distinct {word}, ± 2 %", exact(value as f64))) { (count(value as f64)) " " (word) } }
}

/// A share of something: `11.5 %`, `0.042 %`, `< 0.0001 %`. Only 0 is `0 %`, only all is `100 %`.
pub fn share(ratio: f64) -> String {
    if !ratio.is_finite() {
        return NOT_MEASURED.into();
    }
    let percent = ratio * 100.0;
    if percent <= 0.0 {
        return "0 %".into();
    }
    if percent < 0.0001 {
        return "< 0.0001 %".into();
    }
    if percent >= 100.0 {
        return format!("{} %", trim(format!("{percent:.1}")));
    }
    let mut decimals = if percent >= 10.0 { 1 } else { (1.0 - percent.log10().floor()).clamp(1.0, 6.0) as usize };
    let mut text = format!("{percent:.decimals$}");
    while text.parse() == Ok(100.0) && decimals < 8 {
        decimals += 1;
        text = format!("{percent:.decimals$}");
    }
    if text.parse() == Ok(100.0) { "> 99.999999 %".into() } else { format!("{} %", trim(text)) }
}

/// A share in a sentence: `1 in 9 requests`; `None` when it is too rare or too common to say so.
pub fn one_in(ratio: f64) -> Option<String> {
    if !(0.002..=0.7).contains(&ratio) {
        return None;
    }
    let times = (1.0 / ratio).round();
    (times >= 2.0).then(|| format!("1 in {times}"))
}

/// A share rounded down to a tenth of a per cent: what is only nearly whole is not called whole.
pub fn share_down(ratio: f64) -> String {
    if !ratio.is_finite() {
        return NOT_MEASURED.into();
    }
    format!("{} %", trim(format!("{:.1}", (ratio.clamp(0.0, 1.0) * 1_000.0 + 1e-9).floor() / 10.0)))
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        for (value, text) in [
            (0.0, "0"),
            (0.2, "< 1"),
            (7.0, "7"),
            (999.0, "999"),
            (999.6, "1k"),
            (1_000.0, "1k"),
            (1_240.0, "1.2k"),
            (1_919.0, "1.9k"),
            (9_960.0, "10k"),
            (45_300.0, "45k"),
            (999_499.0, "999k"),
            (999_500.0, "1M"),
            (1_300_000.0, "1.3M"),
            (f64::NAN, "not measured"),
        ] {
            assert_eq!(count(value), text, "{value}");
        }
        assert_eq!(exact(1_919.0), "1,919");
        assert_eq!(exact(-1_234_567.0), "−1,234,567");
        assert_eq!(exact(12.0), "12");
    }

    #[test]
    fn shares_never_become_none_or_all() {
        for (ratio, text) in [
            (0.0, "0 %"),
            (0.115, "11.5 %"),
            (0.99, "99 %"),
            (0.000_42, "0.042 %"),
            (0.034, "3.4 %"),
            (0.000_000_5, "< 0.0001 %"),
            (1.0, "100 %"),
            (0.999_9, "99.99 %"),
            (0.999_999_999_99, "> 99.999999 %"),
            (f64::NAN, "not measured"),
        ] {
            assert_eq!(share(ratio), text, "{ratio}");
        }
        assert_eq!(one_in(0.112).as_deref(), Some("1 in 9"));
        assert_eq!(one_in(0.000_1), None);
        assert_eq!(one_in(0.9), None);
        assert_eq!((share_down(0.999_97), share_down(0.992), share_down(1.0)), ("99.9 %".into(), "99.2 %".into(), "100 %".into()));
    }
}
