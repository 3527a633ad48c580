//! What was reached, how fast it burns, what is left of it and for how long.

use super::time::duration;
use super::{NOT_MEASURED, trim};
use crate::domain::time::Span;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
    fn a_budget_lasts_when_its_end_is_beyond_the_window() {
        let month = Span::days(30);
        assert_eq!(countdown(Some(Span::minutes(510)), Some(0.41), month), "gone in 8 h 30 min");
        assert_eq!(countdown(Some(Span::days(31)), Some(0.41), month), "lasts");
        assert_eq!(countdown(None, Some(0.41), month), "lasts");
        assert_eq!(countdown(Some(Span::ZERO), Some(-0.1), month), "gone");
        assert_eq!(countdown(None, None, month), "no data yet");
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
