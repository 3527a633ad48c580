//! Numbers, shares, burn rates, budgets, lengths and points of time in the words of the pages.
//!
//! Always holds: rounding never moves a value over a limit, an unknown value is never a number,
//! and zero is only written for zero.

use chrono::{Datelike, Timelike};
use maud::{Markup, html};

use crate::domain::time::{Span, Timestamp};

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

/// What an objective reached: the decimals of the objective and two more, rounded down, so that a
/// missed objective never looks met.
pub fn reached(total: f64, bad: f64, budget_ppm: u32) -> String {
    let millionths = |events: f64| (events * 1e6).round() as i128;
    let (total, bad) = (millionths(total), millionths(bad));
    if total <= 0 {
        return NOT_MEASURED.into();
    }
    let decimals = objective_decimals(budget_ppm) + 2;
    let scale = 10_i128.pow(decimals as u32);
    let good = (total - bad).max(0).saturating_mul(100 * scale) / total;
    format!("{}.{:0decimals$} %", good / scale, good % scale)
}

/// An objective as it was written: `99.9 %`, `95 %`.
pub fn objective(budget_ppm: u32) -> String {
    let percent = f64::from(1_000_000 - budget_ppm) / 10_000.0;
    format!("{percent:.*} %", objective_decimals(budget_ppm))
}

fn objective_decimals(budget_ppm: u32) -> usize {
    (0..4).find(|decimals| budget_ppm.is_multiple_of(10_u32.pow(4 - decimals))).unwrap_or(4) as usize
}

/// A burn rate, `5.98×`, `35×`, with as many digits as it takes to stay on its side of each limit.
pub fn burn(value: Option<f64>, limits: &[f64]) -> String {
    let Some(value) = value.filter(|value| value.is_finite() && *value >= 0.0) else {
        return NOT_MEASURED.into();
    };
    let start = if value < 9.995 { 2 } else { 0 };
    for decimals in start..=6 {
        let text = format!("{value:.decimals$}");
        let shown: f64 = text.parse().expect("a formatted float reads back");
        let honest = limits.iter().all(|limit| shown.partial_cmp(limit) == value.partial_cmp(limit)) && (shown > 0.0 || value == 0.0);
        if honest {
            return format!("{}×", trim(text));
        }
    }
    // Closer than six digits can tell: say the side in a sign.
    match limits.iter().find(|limit| (value - **limit).abs() < 1e-6) {
        Some(limit) if value > *limit => format!("> {}×", trim(format!("{limit:.4}"))),
        Some(limit) => format!("< {}×", trim(format!("{limit:.4}"))),
        None => "< 0.000001×".into(),
    }
}

/// A tier's factor as it was written: `14.4×`.
pub fn factor(value: f64) -> String {
    format!("{}×", trim(format!("{value:.4}")))
}

/// What is left of a budget, signed: `41 % left`, `−8 %: overspent`.
pub fn budget(remaining: Option<f64>) -> String {
    let Some(remaining) = remaining.filter(|value| value.is_finite()) else {
        return "no data yet".into();
    };
    let text = signed_percent(remaining);
    if remaining < 0.0 { format!("{text}: overspent") } else { format!("{text} left") }
}

/// `41 %`, `−8 %`, `0.3 %`, with a real minus sign; only 0 is `0 %`.
pub fn signed_percent(ratio: f64) -> String {
    let percent = ratio.abs() * 100.0;
    let sign = if ratio < 0.0 { "−" } else { "" };
    if percent == 0.0 {
        return "0 %".into();
    }
    // Rounded towards zero: what is left is never made to look like more.
    let floor = |decimals: i32| {
        let scale = 10_f64.powi(decimals);
        (percent * scale + 1e-9).floor() / scale
    };
    for decimals in if percent >= 10.0 { 0..5 } else { 1..5 } {
        let shown = floor(decimals);
        if shown > 0.0 {
            return format!("{sign}{} %", trim(format!("{shown:.*}", decimals as usize)));
        }
    }
    if ratio < 0.0 { "> −0.0001 %".into() } else { "< 0.0001 %".into() }
}

/// A length of time with two units at most: `40 s`, `21 min`, `3 h 12 min`, `2 d 4 h`.
pub fn duration(span: Span) -> String {
    let ms = span.millis().saturating_abs();
    let sign = if span.millis() < 0 { "−" } else { "" };
    if ms < 1_000 {
        return if ms == 0 { "0 s".into() } else { format!("{sign}{ms} ms") };
    }
    if ms < 10_000 && ms % 1_000 >= 100 {
        return format!("{sign}{}.{} s", ms / 1_000, ms % 1_000 / 100);
    }
    let seconds = ms / 1_000;
    let (value, unit, rest, small) = match seconds {
        0..60 => (seconds, "s", 0, ""),
        60..3_600 => (seconds / 60, "min", 0, ""),
        3_600..86_400 => (seconds / 3_600, "h", seconds % 3_600 / 60, "min"),
        _ => (seconds / 86_400, "d", seconds % 86_400 / 3_600, "h"),
    };
    if rest == 0 { format!("{sign}{value} {unit}") } else { format!("{sign}{value} {unit} {rest} {small}") }
}

/// The name of a window: `1 h`, `90 min`, `30 days`.
pub fn window(span: Span) -> String {
    let ms = span.millis();
    let plural = |n: i64, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
    match ms {
        _ if ms >= 4 * 86_400_000 && ms % 86_400_000 == 0 => plural(ms / 86_400_000, "day", "days"),
        _ if ms >= 2 * 86_400_000 && ms % 86_400_000 == 0 => format!("{} d", ms / 86_400_000),
        _ if ms >= 3_600_000 && ms % 3_600_000 == 0 => format!("{} h", ms / 3_600_000),
        _ if ms >= 60_000 && ms % 60_000 == 0 => format!("{} min", ms / 60_000),
        _ => duration(span),
    }
}

/// When a budget is gone: `gone in 8 h 30 min`, `lasts`, `gone`.
pub fn countdown(left: Option<Span>, remaining: Option<f64>, window: Span) -> String {
    match (remaining, left) {
        (None, _) => "no data yet".into(),
        (Some(remaining), _) if remaining <= 0.0 => "gone".into(),
        (_, None) => "lasts".into(),
        (_, Some(left)) if left >= window => "lasts".into(),
        (_, Some(left)) => format!("gone in {}", duration(left)),
    }
}

/// A point in time for people: `03:12` on the day of `now`, `19 Nov 03:12` else; UTC.
pub fn clock(at: Timestamp, now: Timestamp) -> String {
    point(at, now, false)
}

/// Like [`clock`] with seconds.
pub fn clock_seconds(at: Timestamp, now: Timestamp) -> String {
    point(at, now, true)
}

fn point(at: Timestamp, now: Timestamp, seconds: bool) -> String {
    let (Some(at), Some(now)) = (at.to_chrono(), now.to_chrono()) else {
        return "at an unknown time".into();
    };
    let mut text = if at.date_naive() == now.date_naive() {
        String::new()
    } else if at.year() == now.year() {
        at.format("%-d %b ").to_string()
    } else {
        at.format("%-d %b %Y ").to_string()
    };
    text.push_str(&format!("{:02}:{:02}", at.hour(), at.minute()));
    if seconds {
        text.push_str(&format!(":{:02}", at.second()));
    }
    text
}

/// `<time>` with the UTC instant for machines; the script puts the local time into its title.
pub fn time(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) { (clock(at, now)) } }
}

/// Like [`time`] with seconds.
pub fn time_seconds(at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) { (clock_seconds(at, now)) } }
}

/// How long ago something was, never negative: clocks of two machines differ.
pub fn ago(at: Timestamp, now: Timestamp) -> String {
    duration(Span((now - at).millis().max(0) / 1_000 * 1_000))
}

fn trim(text: String) -> String {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
    }

    #[test]
    fn a_missed_objective_never_looks_met() {
        assert_eq!(reached(100_000.0, 59.0, 1_000), "99.941 %");
        assert_eq!(reached(1_000.0, 1.0, 1_000), "99.900 %");
        assert_eq!(reached(1_000_000.0, 1_000.001, 1_000), "99.899 %");
        assert_eq!(reached(100.0, 6.0, 50_000), "94.00 %");
        assert_eq!(reached(0.0, 0.0, 1_000), "not measured");
        assert_eq!(objective(1_000), "99.9 %");
        assert_eq!(objective(50_000), "95 %");
        assert_eq!(objective(100), "99.99 %");
    }

    #[test]
    fn burns_stay_on_their_side() {
        let limits = [14.4, 6.0, 3.0, 1.0];
        for (value, text) in [
            (35.04, "35×"),
            (117.2, "117×"),
            (5.98, "5.98×"),
            (5.998, "5.998×"),
            (6.0, "6×"),
            (6.000_2, "6.0002×"),
            (0.62, "0.62×"),
            (14.4, "14.4×"),
            (14.39, "14×"),
            (14.41, "14.41×"),
            (14.2, "14×"),
            (1.3, "1.3×"),
            (14.400_000_000_1, "> 14.4×"),
            (0.999_999_999, "< 1×"),
            (0.0, "0×"),
            (0.000_01, "0.00001×"),
            (9.999, "10×"),
        ] {
            assert_eq!(burn(Some(value), &limits), text, "{value}");
        }
        assert_eq!(burn(None, &limits), "not measured");
        assert_eq!(burn(Some(f64::NAN), &limits), "not measured");
    }

    #[test]
    fn budgets_are_signed_and_never_clamped() {
        for (left, text) in [
            (Some(0.41), "41 % left"),
            (Some(-0.08), "−8 %: overspent"),
            (Some(-3.2), "−320 %: overspent"),
            (Some(1.0), "100 % left"),
            (Some(0.999), "99 % left"),
            (Some(0.003), "0.3 % left"),
            (Some(0.000_004), "0.0004 % left"),
            (Some(-0.000_000_1), "> −0.0001 %: overspent"),
            (Some(0.0), "0 % left"),
            (None, "no data yet"),
        ] {
            assert_eq!(budget(left), text, "{left:?}");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (ms, text) in [
            (0, "0 s"),
            (400, "400 ms"),
            (4_200, "4.2 s"),
            (40_000, "40 s"),
            (61_000, "1 min"),
            (21 * 60_000, "21 min"),
            (3 * 3_600_000 + 12 * 60_000, "3 h 12 min"),
            (8 * 3_600_000, "8 h"),
            (52 * 3_600_000, "2 d 4 h"),
            (-90_000, "−1 min"),
        ] {
            assert_eq!(duration(Span(ms)), text, "{ms}");
        }
        assert_eq!(window(Span::days(30)), "30 days");
        assert_eq!(window(Span::hours(1)), "1 h");
        assert_eq!(window(Span::days(3)), "3 d");
        assert_eq!(window(Span::hours(24)), "24 h");
        assert_eq!(window(Span::minutes(5)), "5 min");
        assert_eq!(ago(Timestamp(5_000), Timestamp(0)), "0 s");
    }

    #[test]
    fn a_budget_lasts_when_its_end_is_beyond_the_window() {
        let month = Span::days(30);
        assert_eq!(countdown(Some(Span::minutes(510)), Some(0.41), month), "gone in 8 h 30 min");
        assert_eq!(countdown(Some(Span::days(31)), Some(0.41), month), "lasts");
        assert_eq!(countdown(None, Some(0.41), month), "lasts");
        assert_eq!(countdown(Some(Span::ZERO), Some(-0.1), month), "gone");
        assert_eq!(countdown(None, None, month), "no data yet");
    }

    #[test]
    fn times_carry_a_date_unless_they_are_of_today() {
        let now: Timestamp = "2026-11-19T03:12:40Z".parse().unwrap();
        assert_eq!(clock("2026-11-19T02:51:00Z".parse().unwrap(), now), "02:51");
        assert_eq!(clock("2026-11-18T23:59:00Z".parse().unwrap(), now), "18 Nov 23:59");
        assert_eq!(clock("2025-01-02T03:04:05Z".parse().unwrap(), now), "2 Jan 2025 03:04");
        assert_eq!(clock_seconds("2026-11-19T02:51:07Z".parse().unwrap(), now), "02:51:07");
        assert_eq!(time(now, now).into_string(), "<time datetime=\"2026-11-19T03:12:40Z\">03:12</time>");
    }

    proptest! {
        #[test]
        fn a_rounded_burn_never_crosses_a_limit(value in 0.0..200.0f64, near in 0usize..5, by in -0.01..0.01f64) {
            let limits = [14.4, 6.0, 3.0, 1.0];
            let value = limits.get(near).map_or(value, |limit| limit + by).max(0.0);
            let text = burn(Some(value), &limits);
            if let Ok(shown) = text.trim_end_matches('×').parse::<f64>() {
                for limit in limits {
                    prop_assert_eq!(shown.partial_cmp(&limit), value.partial_cmp(&limit), "{} for {}", text, value);
                }
            }
        }

        #[test]
        fn a_rounded_budget_keeps_its_sign(left in -2.0..1.0f64) {
            let text = budget(Some(left));
            prop_assert_eq!(text.contains('−'), left < 0.0, "{}", text);
            prop_assert_eq!(text.starts_with("0 %"), left == 0.0, "{}", text);
        }
    }
}
