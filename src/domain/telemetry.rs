//! What beacons say about the telemetry itself (F4 to F7, R-7), as events of its own that rules can ask for.
//!
//! They belong to the app `burnwatch/<app>`, so that no SLO counts them as traffic and no silence of an app is hidden by them:
//!
//! - `custom:burnwatch_lag`: one a beacon, the largest distance between an event and its arrival in milliseconds; bad
//!   beyond [`LATE`].
//! - `custom:burnwatch_clock`: one a beacon that says when it was sent, how far that is from its arrival in
//!   milliseconds; bad beyond [`ASTRAY`].
//! - `custom:burnwatch_redacted`: one for each text out of which something personal was taken, by field (`route`); all bad.
//! - `custom:burnwatch_correlated`: one for each failed request; bad without a trace.
//! - `custom:burnwatch_held_back`: one for each event that its source may not add any more; all bad.
//! - `custom:burnwatch_top_source`: once a minute, how much of a metric's bad events of this hour came from the one network that brought
//!   most, in parts of all, by metric (`route`); bad from [`MOST`] on.
//! - `custom:burnwatch_lost`: what a client says that it threw away, by its reason (`route`); all bad.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::cell::UNIT;
use super::event::{Batch, Event, Source};
use super::influence::TopSource;
use super::metric::Metric;
use super::redact::{VALUE_MAX, cut};
use super::series::Series;
use super::time::{Span, Timestamp};

/// What stands before an app's name where the app's telemetry is meant.
pub const APP: &str = "burnwatch/";
/// What arrives later than that changes figures after the fact.
pub const LATE: Span = Span::minutes(2);
/// From this share on one network speaks for most of the bad news.
pub const MOST: f64 = 0.5;
/// The metric of [`top_source`], without `custom:`.
pub const TOP_SOURCE: &str = "burnwatch_top_source";
/// A clock that is off by more than that is wrong and not only slow.
pub const ASTRAY: Span = Span::minutes(1);

/// What is known of one body, beside its events.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    /// Client's time of sending, in milliseconds.
    pub sent_at: Option<f64>,
    /// Fields out of which something personal was taken, one entry each time.
    pub redacted: &'a [&'static str],
    /// What the client threw away itself: why, what, and how many.
    pub lost: &'a [(&'static str, &'static str, u64)],
    /// How many events its source may not add any more.
    pub held_back: usize,
    pub now: Timestamp,
    /// What each beacon stands for, in millionths.
    pub weight: i64,
}

/// Whether a series is about telemetry and not about users.
pub fn is_own(series: &Series) -> bool {
    series.app().starts_with(APP)
}

/// The events that say how the telemetry of these batches is.
pub fn measure(batches: &[Batch<'_>], told: &Told<'_>) -> Vec<Batch<'static>> {
    let mut apps: BTreeMap<&str, Vec<&Event<'_>>> = BTreeMap::new();
    for batch in batches {
        apps.entry(&batch.source.app).or_default().extend(&batch.events);
    }
    let event = |name: &str, bad: bool, value: Option<f64>, field: &'static str| {
        about(format!("burnwatch_{name}"), bad, value, Cow::Borrowed(field), told.weight, told.now)
    };
    let mut measured = Vec::new();
    for (number, (app, found)) in apps.into_iter().enumerate() {
        let mut events = Vec::new();
        if let Some(lag) = found.iter().map(|event| (told.now - event.at).millis().max(0)).max() {
            events.push(event("lag", lag > LATE.millis(), Some(lag as f64), ""));
        }
        let failed = found.iter().filter(|event| event.metric == Metric::Request && event.bad);
        events.extend(failed.map(|failed| Event { weight: failed.weight, ..event("correlated", failed.trace.is_none(), None, "") }));
        // A body as a whole speaks for its first app; others are rare.
        if number == 0 {
            // A clock that is decades off would weigh as much as all others in every mean.
            let skew = told.sent_at.map(|sent| (told.now.millis() as f64 - sent).abs().min(Span::DAY.millis() as f64));
            events.extend(skew.map(|skew| event("clock", skew > ASTRAY.millis() as f64, Some(skew), "")));
            events.extend(told.redacted.iter().map(|field| event("redacted", true, None, field)));
            if let Ok(held_back @ 1..) = i64::try_from(told.held_back) {
                events.push(Event { weight: held_back.saturating_mul(told.weight), ..event("held_back", true, None, "") });
            }
            for (reason, _, count) in told.lost {
                let weight = i64::try_from(*count).unwrap_or(i64::MAX).min(1_000_000).saturating_mul(told.weight);
                events.push(Event { weight, ..event("lost", true, None, reason) });
            }
        }
        if !events.is_empty() && !app.starts_with(APP) {
            measured.push(batch(app, events));
        }
    }
    measured
}

/// How much of a metric's bad events came from one network.
pub fn top_source(top: &TopSource, now: Timestamp) -> Batch<'static> {
    let route = Cow::Owned(top.metric.to_string());
    batch(&top.app, vec![about(TOP_SOURCE.to_owned(), top.share >= MOST, Some(top.share), route, UNIT, now)])
}

fn batch(app: &str, events: Vec<Event<'static>>) -> Batch<'static> {
    // With what stands before it, a long name is too long.
    let app = cut(Cow::Owned(format!("{APP}{app}")), VALUE_MAX);
    Batch { id: None, source: Source { app, ..Source::default() }, events }
}

fn about(name: String, bad: bool, value: Option<f64>, route: Cow<'static, str>, weight: i64, at: Timestamp) -> Event<'static> {
    Event {
        index: 0,
        metric: Metric::Custom(name),
        at,
        weight,
        bad,
        value,
        user: None,
        repeat: None,
        route,
        own: Default::default(),
        trace: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(app: &str, bad: bool, trace: Option<&'static str>, at: i64) -> Batch<'static> {
        let event = Event {
            index: 0,
            metric: Metric::Request,
            at: Timestamp(at),
            weight: UNIT,
            bad,
            value: None,
            user: None,
            repeat: None,
            route: "/".into(),
            own: Default::default(),
            trace: trace.map(Cow::Borrowed),
        };
        Batch { id: None, source: Source { app: app.to_owned().into(), ..Source::default() }, events: vec![event] }
    }

    fn told(sent_at: Option<f64>) -> Told<'static> {
        Told { sent_at, redacted: &["page"], lost: &[("ratelimit", "error", 7)], held_back: 3, now: Timestamp(1_000_000), weight: UNIT }
    }

    fn said(batches: &[Batch<'_>]) -> Vec<(String, String, bool, Option<f64>, i64, String)> {
        let line = |app: &str, event: &Event<'_>| {
            (app.to_owned(), event.metric.to_string(), event.bad, event.value, event.weight / UNIT, event.route.to_string())
        };
        batches.iter().flat_map(|batch| batch.events.iter().map(|event| line(&batch.source.app, event))).collect()
    }

    #[test]
    fn lag_clock_redactions_orphans_and_loss_are_told_by_app() {
        let batches = [request("shop", true, None, 990_000), request("shop", true, Some("4bf92f3577b34da6a3ce929d0e0e4736"), 800_000)];
        let line = |name: &str, bad, value, weight, route: &str| {
            ("burnwatch/shop".to_owned(), format!("custom:burnwatch_{name}"), bad, value, weight, route.to_owned())
        };
        assert_eq!(
            said(&measure(&batches, &told(Some(930_000.0)))),
            [
                line("lag", true, Some(200_000.0), 1, ""),
                line("correlated", true, None, 1, ""),
                line("correlated", false, None, 1, ""),
                line("clock", true, Some(70_000.0), 1, ""),
                line("redacted", true, None, 1, "page"),
                line("held_back", true, None, 3, ""),
                line("lost", true, None, 7, "ratelimit"),
            ]
        );
        let fine = said(&measure(
            &[request("shop", false, None, 1_000_000)],
            &Told { redacted: &[], lost: &[], held_back: 0, ..told(Some(999_000.0)) },
        ));
        assert_eq!(fine, [line("lag", false, Some(0.0), 1, ""), line("clock", false, Some(1_000.0), 1, "")]);
    }

    #[test]
    fn the_top_source_is_told_by_metric() {
        let told = |share| said(&[top_source(&TopSource { app: "shop".into(), metric: "request".into(), share }, Timestamp(5))]);
        let line =
            |bad, share| ("burnwatch/shop".to_owned(), "custom:burnwatch_top_source".to_owned(), bad, Some(share), 1, "request".to_owned());
        assert_eq!((told(0.5), told(0.25)), (vec![line(true, 0.5)], vec![line(false, 0.25)]));
    }

    #[test]
    fn telemetry_has_no_telemetry_of_its_own() {
        assert!(measure(&[request("burnwatch/shop", true, None, 0)], &told(None)).is_empty());
        assert!(measure(&[], &told(Some(f64::NAN))).is_empty());
    }

    #[test]
    fn the_name_of_an_app_is_cut_with_what_stands_before_it() {
        let long = "é".repeat(VALUE_MAX / 2);
        let measured = measure(&[request(&long, true, None, 0)], &told(None));
        assert!(measured.iter().all(|batch| batch.source.app.len() <= VALUE_MAX && batch.source.app.starts_with("burnwatch/é")));
    }
}
