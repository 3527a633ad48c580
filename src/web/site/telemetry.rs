//! F1 to F7: what can be told of the telemetry itself, out of stored history and the daemon's own counters.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Site;
use crate::domain::filter::Filter;
use crate::domain::metric::Metric;
use crate::domain::snapshot::Snapshot;
use crate::domain::telemetry::ASTRAY;
use crate::domain::time::{Span, Timestamp};
use crate::web::chart::plot::{CURVES_MAX, Curve};
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::operations::{Fact, Volume};
use crate::web::query::{Ask, Line};

const TIMEOUT: Duration = Duration::from_secs(3);
/// Days that the usual is made of.
const DAYS: i64 = 7;
/// Fewer days than that have no usual.
const DAYS_MIN: usize = 3;
/// A region's share of the traffic may move so far, in parts of all.
const SHIFT_MAX: f64 = 0.10;
/// Events that may be refused, in parts of all.
const LOSS_MAX: f64 = 0.01;
/// Beacons whose clock may be off, and failed requests that may be without a trace, in parts of all.
const DRIFT_MAX: f64 = 0.05;
const ORPHANS_MAX: f64 = 0.5;

/// The rows F1 to F7, and page views by hour of the last week.
pub async fn facts(site: &Site, snapshot: &Snapshot) -> (Vec<Fact>, Option<Volume>) {
    let hour = snapshot.watermark.unwrap_or(site.now).floor(Span::HOUR);
    let from = hour - Span::days(DAYS) - Span::HOUR;
    let by = vec!["app".to_owned(), "region".to_owned()];
    let ask = Ask {
        metric: Metric::PageView,
        filter: Filter::default(),
        from,
        to: hour,
        step: Some(Span::HOUR),
        by,
        quantiles: Vec::new(),
        limit: None,
    };
    let lines = match tokio::time::timeout(TIMEOUT, site.state.query.ask(ask)).await {
        Ok(Ok(answer)) => answer.series,
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let mut facts = vec![volume(&lines, hour), over_collection(snapshot, site), shares(&lines, hour)];
    facts.push(drift(&told_of(site, snapshot, "burnwatch_clock").await));
    facts.push(match snapshot.events_late {
        Some(late) => {
            let settle = site.state.config.aggregation.settle;
            fact(
                "F5 late reporting",
                late <= settle,
                format!("{} (P95)", number::duration(late)),
                "what comes later than `aggregation.settle` changes figures after the fact",
            )
        }
        None => unknown("F5 late reporting", "no event has come since the daemon started"),
    });
    let metrics = site.state.metrics.render();
    facts.push(redactions(&metrics));
    facts.push(correlation(&told_of(site, snapshot, "burnwatch_correlated").await));
    facts.push(loss(&metrics));
    facts.push(one_source(&metrics));
    let apps = by_app(&lines);
    (facts, chart(&apps, from, hour))
}

/// What beacons said of the telemetry in the last hour, by app.
async fn told_of(site: &Site, snapshot: &Snapshot, name: &str) -> Vec<Line> {
    let to = snapshot.watermark.unwrap_or(site.now).floor(Span::minutes(5));
    let ask = Ask {
        metric: Metric::Custom(name.to_owned()),
        filter: Filter::default(),
        from: to - Span::HOUR,
        to,
        step: None,
        by: vec!["app".to_owned()],
        quantiles: vec![0.5],
        limit: None,
    };
    match tokio::time::timeout(TIMEOUT, site.state.query.ask(ask)).await {
        Ok(Ok(answer)) => answer.series,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// Bad parts by app, the largest first: app, bad, total, median.
fn bad_parts(lines: &[Line]) -> Vec<(&str, f64, f64, Option<f64>)> {
    fn of(Line { labels, points }: &Line) -> (&str, f64, f64, Option<f64>) {
        let app = labels.get("app").map_or("", String::as_str);
        let (bad, total) = points.iter().fold((0.0, 0.0), |(bad, total), point| (bad + point.bad, total + point.total));
        let median = points.iter().filter_map(|point| point.quantiles.as_ref()?.get("0.5").copied()).next_back();
        (app.strip_prefix(crate::domain::telemetry::APP).unwrap_or(app), bad, total, median)
    }
    let mut parts: Vec<_> = lines.iter().map(of).filter(|(_, _, total, _)| *total > 0.0).collect();
    parts.sort_by(|a, b| (b.1 / b.2).total_cmp(&(a.1 / a.2)).then(a.0.cmp(b.0)));
    parts
}

/// F4: how far clients' clocks are off.
fn drift(lines: &[Line]) -> Fact {
    let name = "F4 clock drift";
    let parts = bad_parts(lines);
    if parts.is_empty() {
        return unknown(name, "no beacon of the last hour said when it was sent");
    }
    let said = |(app, bad, total, median): &(&str, f64, f64, Option<f64>)| {
        let median = median.map(|ms| format!(", median {}", number::duration(Span(ms as i64)))).unwrap_or_default();
        format!("{app}: {} of the beacons off by more than {}{median}", number::share(bad / total), number::duration(ASTRAY))
    };
    let fine = parts.iter().all(|(_, bad, total, _)| bad / total <= DRIFT_MAX);
    let figure = parts.iter().take(5).map(said).collect::<Vec<_>>().join("; ");
    fact(name, fine, figure, "event times are corrected by the time of sending; many clocks that are off are one bad SDK or proxy")
}

/// F7: failed requests of which no trace can be found.
fn correlation(lines: &[Line]) -> Fact {
    let name = "F7 lost correlation";
    let parts = bad_parts(lines);
    if parts.is_empty() {
        return unknown(name, "no request failed in the last hour");
    }
    let said = |(app, bad, total, _): &(&str, f64, f64, Option<f64>)| {
        format!("{app}: {} of {} failed requests without a trace", number::share(bad / total), number::count(*total))
    };
    let fine = parts.iter().all(|(_, bad, total, _)| bad / total <= ORPHANS_MAX);
    let figure = parts.iter().take(5).map(said).collect::<Vec<_>>().join("; ");
    fact(name, fine, figure, "an alert on failed requests has no traces to open where clients send none")
}

/// whether one source makes the news.
fn one_source(metrics: &str) -> Fact {
    let name = "one source";
    let reasons = counter(metrics, "burnwatch_intake_rejected_total", "reason");
    let refused = reasons.get("source_share").copied().unwrap_or(0.0);
    let share = metrics.lines().find_map(|line| line.strip_prefix("burnwatch_intake_top_source_share ")?.trim().parse::<f64>().ok());
    let Some(share) = share else {
        return unknown(name, "nothing came from other machines, or `intake.influence_per_source` is 0");
    };
    fact(
        name,
        refused == 0.0,
        format!(
            "the largest share of a network in a metric's minute is {}, {} events refused",
            number::share(share),
            number::exact(refused)
        ),
        "beyond `intake.influence_per_source` events of one network or person are refused, so that none makes good or bad news alone",
    )
}

fn fact(name: &'static str, fine: bool, figure: String, means: &str) -> Fact {
    let (tone, word) = if fine { (Tone::Fine, "Fine") } else { (Tone::Ticket, "Look") };
    Fact { name, tone, word, figure, means: means.into() }
}

fn unknown(name: &'static str, means: &str) -> Fact {
    Fact { name, tone: Tone::Unknown, word: "Unknown", figure: number::NOT_MEASURED.into(), means: means.into() }
}

/// Page views by app and hour.
fn by_app(lines: &[Line]) -> BTreeMap<&str, BTreeMap<Timestamp, f64>> {
    let mut apps: BTreeMap<&str, BTreeMap<Timestamp, f64>> = BTreeMap::new();
    for line in lines {
        let app = apps.entry(line.labels.get("app").map_or("", String::as_str)).or_default();
        for point in &line.points {
            *app.entry(point.at).or_default() += point.total;
        }
    }
    apps
}

/// The same hour of the days before, as far as it was measured, in order of size.
fn usual(hours: &BTreeMap<Timestamp, f64>, last: Timestamp) -> Vec<f64> {
    let mut values: Vec<f64> = (1..=DAYS).filter_map(|day| hours.get(&(last - Span::days(day))).copied()).collect();
    values.sort_by(f64::total_cmp);
    values
}

/// F1: the last whole hour against the same hour of the days before.
fn volume(lines: &[Line], hour: Timestamp) -> Fact {
    let name = "F1 volume";
    let last = hour - Span::HOUR;
    let (mut said, mut fine, mut judged) = (Vec::new(), true, 0);
    for (app, hours) in by_app(lines) {
        let usual = usual(&hours, last);
        if usual.len() < DAYS_MIN {
            continue;
        }
        judged += 1;
        let (low, high, middle) = (usual[0], usual[usual.len() - 1], usual[usual.len() / 2]);
        let app = if app.is_empty() { "(no app)" } else { app };
        let band = format!("usually {} to {}", number::count(low), number::count(high));
        match hours.get(&last) {
            None => {
                fine = false;
                said.push(format!("{app}: nothing in the last whole hour, {band}"));
            }
            Some(now) => {
                fine &= *now >= middle * 0.5 && *now <= middle * 2.0;
                said.push(format!("{app}: {} page views in the last whole hour, {band}", number::count(*now)));
            }
        }
    }
    if judged == 0 {
        return unknown(name, "an app needs page views at this hour of three days before there is a usual");
    }
    said.truncate(5);
    fact(
        name,
        fine,
        said.join("; "),
        "a drop is a blocked SDK or an intake outage before it is calm; beyond twice or half the usual it needs a look",
    )
}

/// F2: more is collected than is worth it.
fn over_collection(snapshot: &Snapshot, site: &Site) -> Fact {
    let max = site.state.config.aggregation.series_max;
    let room = (snapshot.series as f64) < 0.9 * max as f64;
    let figure = format!(
        "{} series of {}, {} events folded",
        number::exact(snapshot.series as f64),
        number::exact(max as f64),
        number::exact(snapshot.folded as f64)
    );
    fact("F2 over-collection", room && snapshot.folded == 0, figure, "beyond the limit values stand as __other__; totals stay exact")
}

/// F3: how the traffic is spread over regions, against the same hour of the days before.
fn shares(lines: &[Line], hour: Timestamp) -> Fact {
    let name = "F3 region shares";
    let last = hour - Span::HOUR;
    let mut now: BTreeMap<&str, f64> = BTreeMap::new();
    let mut before: BTreeMap<&str, f64> = BTreeMap::new();
    let mut days: std::collections::BTreeSet<i64> = Default::default();
    for line in lines {
        let region = line.labels.get("region").map_or("", String::as_str);
        for point in &line.points {
            if point.at == last {
                *now.entry(region).or_default() += point.total;
            }
            let behind = (last - point.at).millis();
            if behind > 0 && behind % Span::DAY.millis() == 0 {
                *before.entry(region).or_default() += point.total;
                days.insert(behind);
            }
        }
    }
    let (sum_now, sum_before): (f64, f64) = (now.values().sum(), before.values().sum());
    if days.len() < DAYS_MIN || sum_now <= 0.0 || sum_before <= 0.0 {
        return unknown(name, "needs page views at this hour of three days, and in the last whole hour");
    }
    let regions: std::collections::BTreeSet<&str> = now.keys().chain(before.keys()).copied().collect();
    let shift = |region: &str| now.get(region).unwrap_or(&0.0) / sum_now - before.get(region).unwrap_or(&0.0) / sum_before;
    let widest = regions.into_iter().max_by(|a, b| shift(a).abs().total_cmp(&shift(b).abs())).unwrap_or_default();
    let by = shift(widest);
    let usually = before.get(widest).unwrap_or(&0.0) / sum_before;
    let region = if widest.is_empty() { "(no region)" } else { widest };
    let figure = format!("most moved: {region}, {} of the page views, usually {}", number::share(usually + by), number::share(usually));
    fact(name, by.abs() <= SHIFT_MAX, figure, "a share that moves without a reason is biased sampling or an edge that drops events")
}

/// The values of a counter by the value of one of its labels.
fn counter(metrics: &str, name: &str, label: &str) -> BTreeMap<String, f64> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    for line in metrics.lines() {
        let Some(rest) = line.strip_prefix(name).and_then(|rest| rest.strip_prefix('{')) else { continue };
        let Some((labels, value)) = rest.rsplit_once("} ") else { continue };
        let wanted = labels.split(',').find_map(|pair| pair.strip_prefix(label)?.strip_prefix("=\"")?.strip_suffix('"'));
        if let (Some(key), Ok(value)) = (wanted, value.trim().parse::<f64>()) {
            *found.entry(key.to_owned()).or_default() += value;
        }
    }
    found
}

/// F6: what had to be removed from texts, by field.
fn redactions(metrics: &str) -> Fact {
    let fields = counter(metrics, "burnwatch_intake_redacted_total", "field");
    let sum: f64 = fields.values().sum();
    let figure = if sum == 0.0 {
        "none since the daemon started".to_owned()
    } else {
        let listed = |counts: &BTreeMap<String, f64>| {
            counts.iter().take(8).map(|(name, count)| format!("{name} {}", number::exact(*count))).collect::<Vec<_>>().join(", ")
        };
        let apps = counter(metrics, "burnwatch_intake_redacted_total", "app");
        if apps.is_empty() { listed(&fields) } else { format!("{}; by app: {}", listed(&fields), listed(&apps)) }
    };
    fact(
        "F6 personal data",
        sum == 0.0,
        figure,
        "addresses, tokens and card-like numbers are removed before anything is stored; the app should not send them",
    )
}

/// Events that clients sent and that were not taken.
fn loss(metrics: &str) -> Fact {
    let outcomes = counter(metrics, "burnwatch_intake_events_total", "outcome");
    let all: f64 = outcomes.values().sum();
    if all <= 0.0 {
        return unknown("intake loss", "no beacon has come since the daemon started");
    }
    let rejected = outcomes.get("rejected").copied().unwrap_or(0.0);
    let reasons = counter(metrics, "burnwatch_intake_rejected_total", "reason");
    let mut figure = format!("{} of {} events refused", number::exact(rejected), number::exact(all));
    for (reason, count) in reasons.iter().take(5) {
        figure.push_str(&format!(", {reason} {}", number::exact(*count)));
    }
    fact("intake loss", rejected <= all * LOSS_MAX, figure, "what is refused is not measured; reasons are in the answers that clients get")
}

fn chart(apps: &BTreeMap<&str, BTreeMap<Timestamp, f64>>, from: Timestamp, to: Timestamp) -> Option<Volume> {
    let steps = (to - from).millis() / Span::HOUR.millis();
    let mut curves: Vec<(f64, Curve)> = apps
        .iter()
        .map(|(app, hours)| {
            let values = (0..steps).map(|i| hours.get(&(from + Span::hours(i))).copied()).collect();
            (hours.values().sum(), Curve { name: if app.is_empty() { "(no app)".into() } else { (*app).to_owned() }, values })
        })
        .collect();
    curves.sort_by(|a, b| b.0.total_cmp(&a.0));
    let curves: Vec<Curve> = curves.into_iter().take(CURVES_MAX).map(|(_, curve)| curve).collect();
    (!curves.is_empty()).then_some(Volume { from, step: Span::HOUR, curves, until: to })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rule::Labels;
    use crate::web::query::Point;

    const LAST: i64 = 24 * 10;

    fn line(region: &str, now: Option<f64>, usual: &[f64]) -> Line {
        let point = |hour: i64, total: f64| Point { at: Timestamp(hour * 3_600_000), total, ..Point::default() };
        let mut points: Vec<Point> = usual.iter().enumerate().map(|(day, total)| point(LAST - 24 * (day as i64 + 1), *total)).collect();
        points.extend(now.map(|now| point(LAST, now)));
        let labels: Labels = [("app", "shop"), ("region", region)].map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Line { labels, points }
    }

    fn hour() -> Timestamp {
        Timestamp((LAST + 1) * 3_600_000)
    }

    #[test]
    fn volume_is_held_against_the_same_hour_of_the_days_before() {
        let judge = |now, usual: &[f64]| volume(&[line("de", now, usual)], hour());
        let fine = judge(Some(900.0), &[1_000.0, 800.0, 1_200.0]);
        assert_eq!((fine.tone, fine.figure.as_str()), (Tone::Fine, "shop: 900 page views in the last whole hour, usually 800 to 1.2k"));
        assert_eq!(judge(Some(300.0), &[1_000.0, 800.0, 1_200.0]).tone, Tone::Ticket);
        assert_eq!(judge(Some(3_000.0), &[1_000.0, 800.0, 1_200.0]).tone, Tone::Ticket);
        assert_eq!(judge(None, &[1_000.0, 800.0, 1_200.0]).tone, Tone::Ticket, "silence is not zero, but it needs a look");
        assert_eq!(judge(Some(900.0), &[1_000.0, 800.0]).tone, Tone::Unknown);
    }

    #[test]
    fn a_region_that_loses_its_share_is_named() {
        let usual = [500.0, 500.0, 500.0];
        let lines = [line("de", Some(100.0), &usual), line("us", Some(900.0), &usual)];
        let found = shares(&lines, hour());
        assert_eq!(found.tone, Tone::Ticket);
        assert!(found.figure.contains("usually 50 %"), "{}", found.figure);
        assert_eq!(shares(&[line("de", Some(90.0), &usual), line("us", Some(100.0), &usual)], hour()).tone, Tone::Fine);
        assert_eq!(shares(&[], hour()).tone, Tone::Unknown);
    }

    fn told(app: &str, bad: f64, total: f64, median: Option<f64>) -> Line {
        let quantiles = median.map(|median| [("0.5".to_owned(), median)].into());
        let labels: Labels = [("app".to_owned(), format!("burnwatch/{app}"))].into();
        Line { labels, points: vec![Point { total, bad, quantiles, ..Point::default() }] }
    }

    #[test]
    fn clocks_and_lost_traces_are_told_by_app_the_worst_first() {
        let clocks = drift(&[told("fine", 0.0, 90.0, Some(400.0)), told("shop", 30.0, 100.0, Some(90_000.0))]);
        assert_eq!(clocks.tone, Tone::Ticket);
        assert!(clocks.figure.starts_with("shop: 30 % of the beacons off by more than 1 min"), "{}", clocks.figure);
        assert_eq!(drift(&[told("shop", 1.0, 100.0, None)]).tone, Tone::Fine);
        assert_eq!(drift(&[]).tone, Tone::Unknown);
        let orphans = correlation(&[told("shop", 80.0, 100.0, None), told("api", 0.0, 10.0, None)]);
        assert_eq!(orphans.tone, Tone::Ticket);
        assert!(orphans.figure.starts_with("shop: 80 % of 100 failed requests without a trace; api: 0 %"), "{}", orphans.figure);
        assert_eq!((correlation(&[told("shop", 5.0, 100.0, None)]).tone, correlation(&[]).tone), (Tone::Fine, Tone::Unknown));
    }

    #[test]
    fn one_source_that_sends_too_much_is_told() {
        let share = "burnwatch_intake_top_source_share 0.25\n";
        let refused = format!("burnwatch_intake_rejected_total{{reason=\"source_share\"}} 7\n{share}");
        assert_eq!((one_source("").tone, one_source(share).tone, one_source(&refused).tone), (Tone::Unknown, Tone::Fine, Tone::Ticket));
        assert!(one_source(&refused).figure.contains("25 %") && one_source(&refused).figure.contains("7 events refused"));
    }

    #[test]
    fn counters_are_read_by_a_label() {
        let metrics = "burnwatch_intake_events_total{protocol=\"rum\",outcome=\"accepted\"} 97\nburnwatch_intake_events_total{protocol=\"otlp\",outcome=\"rejected\"} 3\nburnwatch_intake_redacted_total{field=\"text\"} 4\n";
        assert_eq!(counter(metrics, "burnwatch_intake_events_total", "outcome")["accepted"], 97.0);
        assert_eq!(loss(metrics).tone, Tone::Ticket);
        assert_eq!((redactions(metrics).tone, redactions(metrics).figure), (Tone::Ticket, "text 4".to_owned()));
        assert_eq!((loss("").tone, redactions("").tone), (Tone::Unknown, Tone::Fine));
    }
}
