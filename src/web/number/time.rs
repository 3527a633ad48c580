//! Lengths and points of time.

use chrono::{Datelike, Timelike};
use maud::{Markup, html};

use crate::domain::time::{Span, Timestamp};

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

/// How long something has been going on, in whole minutes: figures that change each second pull the eye.
pub fn age(from: Timestamp, to: Timestamp) -> String {
    let minutes = (to - from).millis().max(0) / 60_000;
    if minutes == 0 { "under 1 min".into() } else { duration(Span::minutes(minutes)) }
}

/// `Thursday 19 November`, in UTC.
pub fn day(at: Timestamp) -> String {
    at.to_chrono().map_or_else(|| "an unknown day".into(), |at| at.format("%A %-d %B").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(age(Timestamp(0), Timestamp(59_000)), "under 1 min");
        assert_eq!(age(Timestamp(0), Timestamp(61_000)), "1 min");
    }

    #[test]
    fn times_carry_a_date_unless_they_are_of_today() {
        let now: Timestamp = "2026-11-19T03:12:40Z".parse().unwrap();
        assert_eq!(clock("2026-11-19T02:51:00Z".parse().unwrap(), now), "02:51");
        assert_eq!(clock("2026-11-18T23:59:00Z".parse().unwrap(), now), "18 Nov 23:59");
        assert_eq!(clock("2025-01-02T03:04:05Z".parse().unwrap(), now), "2 Jan 2025 03:04");
        assert_eq!(clock_seconds("2026-11-19T02:51:07Z".parse().unwrap(), now), "02:51:07");
        assert_eq!(time(now, now).into_string(), "<time datetime=\"2026-11-19T03:12:40Z\">03:12</time>");
        assert_eq!(day(now), "Thursday 19 November");
    }
}
