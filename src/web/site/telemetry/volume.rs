//! F1: page views of each app against the same hour of the days before.

use std::collections::BTreeMap;

use super::{HOURS, app_words, since, sorted};
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{CURVES_MAX, Curve};
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health::{Check, Signal, Volume};
use crate::web::query::Line;

/// Days that the usual is made of.
pub const DAYS: i64 = 7;
/// Fewer days than that have no usual.
pub const DAYS_MIN: usize = 3;
/// What is fine, in parts of the usual.
const BAND: (f64, f64) = (0.5, 2.0);

const NAME: &str = "F1 volume";
const MEANS: &str = "a drop is a blocked SDK or an intake outage before it is calm";

type Hours = BTreeMap<Timestamp, f64>;

/// Page views by app and hour.
fn by_app(lines: &[Line]) -> BTreeMap<&str, Hours> {
    let mut apps: BTreeMap<&str, Hours> = BTreeMap::new();
    for line in lines {
        let app = apps.entry(line.labels.get("app").map_or("", String::as_str)).or_default();
        for point in &line.points {
            *app.entry(point.at).or_default() += point.total;
        }
    }
    apps
}

/// The same hour of the days before, as far as it was measured, in order of size.
fn usual(hours: &Hours, at: Timestamp) -> Vec<f64> {
    let mut values: Vec<f64> = (1..=DAYS).filter_map(|day| hours.get(&(at - Span::days(day))).copied()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// The last whole hour before `hour`, app by app.
pub fn check(lines: &[Line], hour: Timestamp) -> Check {
    let signals: Vec<Signal> = by_app(lines).iter().filter_map(|(app, hours)| signal(app, hours, hour)).collect();
    if signals.is_empty() {
        return Check::unknown(NAME, MEANS, "an app needs page views at this hour of three days before there is a usual");
    }
    sorted(Check { name: NAME, means: MEANS, signals })
}

/// `None`: there is no usual yet.
fn signal(app: &str, hours: &Hours, hour: Timestamp) -> Option<Signal> {
    let last = hour - Span::HOUR;
    let usually = usual(hours, last);
    if usually.len() < DAYS_MIN {
        return None;
    }
    let part = |back: i64| {
        let at = hour - Span::hours(back);
        let usual = usual(hours, at);
        let middle = usual.get(usual.len() / 2).copied().filter(|middle| usual.len() >= DAYS_MIN && *middle > 0.0)?;
        Some(hours.get(&at)? / middle)
    };
    let trend: Vec<Option<f64>> = (1..=HOURS).rev().map(part).collect();
    let since = since(&trend, BAND, hour);
    let figure = match hours.get(&last) {
        None => "nothing in the last whole hour".to_owned(),
        Some(now) => format!("{} page views in the last whole hour", number::count(*now)),
    };
    Some(Signal {
        app: app_words(app),
        tone: if since.is_some() { Tone::Ticket } else { Tone::Fine },
        figure,
        usual: format!("usually {} to {}", number::count(usually[0]), number::count(usually[usually.len() - 1])),
        trend,
        band: Some(BAND),
        since,
    })
}

/// The apps with the most page views.
pub fn chart(lines: &[Line], from: Timestamp, to: Timestamp) -> Option<Volume> {
    let steps = (to - from).millis() / Span::HOUR.millis();
    let mut curves: Vec<(f64, Curve)> = by_app(lines)
        .iter()
        .map(|(app, hours)| {
            let values = (0..steps).map(|i| hours.get(&(from + Span::hours(i))).copied()).collect();
            (hours.values().sum(), Curve { name: app_words(app), values })
        })
        .collect();
    curves.sort_by(|a, b| b.0.total_cmp(&a.0));
    let curves: Vec<Curve> = curves.into_iter().take(CURVES_MAX).map(|(_, curve)| curve).collect();
    (!curves.is_empty()).then_some(Volume { from, step: Span::HOUR, curves, until: to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::site::telemetry::shares::tests::{hour, line};

    #[test]
    fn volume_is_held_against_the_same_hour_of_the_days_before() {
        let judge = |now, usual: &[f64]| check(&[line("de", now, usual)], hour()).signals.remove(0);
        let fine = judge(Some(900.0), &[1_000.0, 800.0, 1_200.0]);
        assert_eq!((fine.tone, fine.app.as_str(), fine.usual.as_str()), (Tone::Fine, "shop", "usually 800 to 1.2k"));
        assert_eq!((fine.trend.len(), fine.trend[23], fine.since), (24, Some(0.9), None));
        let drop = judge(Some(300.0), &[1_000.0, 800.0, 1_200.0]);
        assert_eq!(drop.tone, Tone::Ticket);
        assert!(drop.since.is_some_and(|at| at < hour()));
        assert_eq!(judge(Some(3_000.0), &[1_000.0, 800.0, 1_200.0]).tone, Tone::Ticket);
        let silent = judge(None, &[1_000.0, 800.0, 1_200.0]);
        assert_eq!((silent.tone, silent.trend[23]), (Tone::Ticket, None), "silence is not zero, but it needs a look");
        assert_eq!(judge(Some(900.0), &[1_000.0, 800.0]).tone, Tone::Unknown);
    }

    #[test]
    fn the_app_that_needs_a_look_stands_first() {
        let mut calm = line("de", Some(1_000.0), &[1_000.0; 3]);
        calm.labels.insert("app".into(), "a-calm-app".into());
        let signals = check(&[calm, line("de", Some(10.0), &[1_000.0; 3])], hour()).signals;
        assert_eq!(signals.iter().map(|signal| signal.app.as_str()).collect::<Vec<_>>(), ["shop", "a-calm-app"]);
    }
}
