//! F3, F4 and F7: shares that say that what arrives is not what happened.

use std::collections::BTreeMap;

use super::volume::{DAYS, DAYS_MIN};
use super::{HOURS, app_words, percent, since, sorted};
use crate::domain::telemetry::{APP, ASTRAY};
use crate::domain::time::{Span, Timestamp};
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health::{Check, Signal};
use crate::web::query::{Line, Point};

/// A region's share of the traffic may move so far, in parts of all.
const SHIFT_MAX: f64 = 0.10;
/// Beacons whose clock may be off, and failed requests that may be without a trace, in parts of all.
const DRIFT_MAX: f64 = 0.05;
const ORPHANS_MAX: f64 = 0.5;

/// Page views of one app by region and hour.
type Regions<'a> = BTreeMap<&'a str, BTreeMap<Timestamp, f64>>;

/// F3: how the traffic of each app is spread over regions, against the same hour of the days before.
pub fn regions(lines: &[Line], hour: Timestamp) -> Check {
    let (name, means) = ("F3 region shares", "a share that moves without a reason is biased sampling or an edge that drops events");
    let mut apps: BTreeMap<&str, Regions<'_>> = BTreeMap::new();
    for line in lines {
        let of = |name: &str| line.labels.get(name).map_or("", String::as_str);
        let hours = apps.entry(of("app")).or_default().entry(of("region")).or_default();
        for point in &line.points {
            *hours.entry(point.at).or_default() += point.total;
        }
    }
    let signals: Vec<Signal> = apps.iter().filter_map(|(app, regions)| region_signal(app, regions, hour)).collect();
    if signals.is_empty() {
        return Check::unknown(name, means, "needs page views at this hour of three days, and in the last whole hour");
    }
    sorted(Check { name, means, signals })
}

/// The region that moved most in one hour: its name, its share, and its usual share.
fn most_moved<'a>(regions: &Regions<'a>, at: Timestamp) -> Option<(&'a str, f64, f64)> {
    let sum = |at: Timestamp| regions.values().filter_map(|hours| hours.get(&at)).sum::<f64>();
    let days: Vec<Timestamp> = (1..=DAYS).map(|day| at - Span::days(day)).filter(|at| sum(*at) > 0.0).collect();
    let (now, before) = (sum(at), days.iter().map(|at| sum(*at)).sum::<f64>());
    if days.len() < DAYS_MIN || now <= 0.0 {
        return None;
    }
    let share = |hours: &BTreeMap<Timestamp, f64>| {
        let then: f64 = days.iter().filter_map(|at| hours.get(at)).sum();
        (hours.get(&at).unwrap_or(&0.0) / now, then / before)
    };
    let shares = regions.iter().map(|(region, hours)| (*region, share(hours)));
    let (region, (now, usual)) = shares.max_by(|(_, a), (_, b)| (a.0 - a.1).abs().total_cmp(&(b.0 - b.1).abs()))?;
    Some((region, now, usual))
}

fn region_signal(app: &str, regions: &Regions<'_>, hour: Timestamp) -> Option<Signal> {
    let (region, now, usual) = most_moved(regions, hour - Span::HOUR)?;
    let shift = |back: i64| most_moved(regions, hour - Span::hours(back)).map(|(_, now, usual)| (now - usual).abs());
    let trend: Vec<Option<f64>> = (1..=HOURS).rev().map(shift).collect();
    let band = (0.0, SHIFT_MAX);
    let since = since(&trend, band, hour);
    let region = if region.is_empty() { "(no region)" } else { region };
    Some(Signal {
        app: app_words(app),
        tone: if since.is_some() { Tone::Ticket } else { Tone::Fine },
        figure: format!("most moved: {region}, {} of the page views", percent(now)),
        usual: format!("usually {}", percent(usual)),
        trend,
        band: Some(band),
        since,
    })
}

/// F4: how far clients' clocks are off. `end` is the end of the last hour of `lines`.
pub fn drift(lines: &[Line], end: Timestamp) -> Check {
    let (name, means) =
        ("F4 clock drift", "event times are corrected by the time of sending; many clocks that are off are one bad SDK or proxy");
    let said = |point: &Point| {
        let median = point.quantiles.as_ref().and_then(|quantiles| quantiles.get("0.5"));
        let median = median.map(|ms| format!(", median {}", number::duration(Span(*ms as i64)))).unwrap_or_default();
        format!("{} of the beacons off by more than {}{median}", percent(point.bad / point.total), number::duration(ASTRAY))
    };
    told(Check { name, means, signals: Vec::new() }, lines, end, DRIFT_MAX, said, "no beacon of the last day said when it was sent")
}

/// F7: failed requests of which no trace can be found.
pub fn correlation(lines: &[Line], end: Timestamp) -> Check {
    let (name, means) = ("F7 lost correlation", "an alert on failed requests has no traces to open where clients send none");
    let said =
        |point: &Point| format!("{} of {} failed requests without a trace", percent(point.bad / point.total), number::count(point.total));
    told(Check { name, means, signals: Vec::new() }, lines, end, ORPHANS_MAX, said, "no request failed in the last day")
}

/// One signal for each app that said anything: its last hour that did, and the hours before.
fn told(mut check: Check, lines: &[Line], end: Timestamp, max: f64, said: impl Fn(&Point) -> String, none: &str) -> Check {
    for line in lines {
        let app = line.labels.get("app").map_or("", String::as_str);
        let part = |point: &Point| point.bad / point.total;
        let known: Vec<&Point> = line.points.iter().filter(|point| point.total > 0.0).collect();
        let Some(last) = known.last() else { continue };
        let start = end - Span::hours(HOURS);
        let mut trend = vec![None; usize::try_from(HOURS).unwrap_or_default()];
        for point in &known {
            let at = usize::try_from((point.at - start).millis().div_euclid(Span::HOUR.millis())).ok();
            if let Some(slot) = at.and_then(|at| trend.get_mut(at)) {
                *slot = Some(part(point));
            }
        }
        let band = (0.0, max);
        // Hours in which nothing could go wrong say nothing for or against it.
        let run = known.iter().rev().take_while(|point| part(point) > max).count();
        let bad = run > 0;
        check.signals.push(Signal {
            app: app_words(app.strip_prefix(APP).unwrap_or(app)),
            tone: if bad { Tone::Ticket } else { Tone::Fine },
            figure: said(last),
            usual: format!("at most {}", percent(max)),
            trend,
            band: Some(band),
            since: bad.then(|| known[known.len() - run].at),
        });
    }
    if check.signals.is_empty() {
        return Check::unknown(check.name, check.means, none);
    }
    sorted(check)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::domain::rule::Labels;

    const LAST: i64 = 24 * 10;

    /// Page views of a region of the shop: in the last whole hour, and at this hour of the days before.
    pub fn line(region: &str, now: Option<f64>, usual: &[f64]) -> Line {
        let point = |hour: i64, total: f64| Point { at: Timestamp(hour * 3_600_000), total, ..Point::default() };
        let mut points: Vec<Point> = usual.iter().enumerate().map(|(day, total)| point(LAST - 24 * (day as i64 + 1), *total)).collect();
        points.extend(now.map(|now| point(LAST, now)));
        let labels: Labels = [("app", "shop"), ("region", region)].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Line { labels, points }
    }

    pub fn hour() -> Timestamp {
        Timestamp((LAST + 1) * 3_600_000)
    }

    #[test]
    fn a_region_that_loses_its_share_is_named() {
        let usual = [500.0, 500.0, 500.0];
        let lines = [line("de", Some(100.0), &usual), line("us", Some(900.0), &usual)];
        let found = regions(&lines, hour()).signals.remove(0);
        assert_eq!((found.tone, found.usual.as_str()), (Tone::Ticket, "usually 50 %"));
        let calm = [line("de", Some(90.0), &usual), line("us", Some(100.0), &usual)];
        assert_eq!(regions(&calm, hour()).signals[0].tone, Tone::Fine);
        assert_eq!(regions(&[], hour()).signals[0].tone, Tone::Unknown);
    }

    fn said(app: &str, parts: &[(i64, f64, f64)], median: Option<f64>) -> Line {
        let quantiles = median.map(|median| std::collections::BTreeMap::from([("0.5".to_owned(), median)]));
        let labels: Labels = [("app".to_owned(), format!("burnwatch/{app}"))].into();
        let point = |(back, bad, total): &(i64, f64, f64)| Point {
            at: hour() - Span::hours(*back),
            total: *total,
            bad: *bad,
            quantiles: quantiles.clone(),
            ..Point::default()
        };
        Line { labels, points: parts.iter().map(point).collect() }
    }

    #[test]
    fn clocks_and_lost_traces_are_told_by_app_the_worst_first() {
        let clocks = drift(&[said("fine", &[(1, 0.0, 90.0)], Some(400.0)), said("shop", &[(1, 30.0, 100.0)], Some(90_000.0))], hour());
        assert_eq!((clocks.signals[0].app.as_str(), clocks.signals[0].tone), ("shop", Tone::Ticket));
        assert!(clocks.signals[0].figure.starts_with("30 % of the beacons off by more than 1 min"), "{}", clocks.signals[0].figure);
        assert_eq!(clocks.signals[1].tone, Tone::Fine);
        assert_eq!(drift(&[], hour()).signals[0].tone, Tone::Unknown);
        let orphans = correlation(&[said("shop", &[(1, 80.0, 100.0)], None), said("api", &[(1, 0.0, 10.0)], None)], hour());
        assert_eq!(orphans.signals[0].figure, "80 % of 100 failed requests without a trace");
        assert_eq!(correlation(&[], hour()).signals[0].tone, Tone::Unknown);
    }

    #[test]
    fn since_when_it_is_so_is_the_start_of_the_run() {
        let run = [(5, 1.0, 100.0), (3, 30.0, 100.0), (2, 40.0, 100.0)];
        let signal = drift(&[said("shop", &run, None)], hour()).signals.remove(0);
        assert_eq!(signal.since, Some(hour() - Span::hours(3)), "hours without a beacon do not end it");
        assert_eq!((signal.trend[19], signal.trend[21], signal.trend[23]), (Some(0.01), Some(0.3), None));
        assert_eq!(drift(&[said("shop", &[(1, 1.0, 100.0)], None)], hour()).signals[0].since, None);
    }
}
