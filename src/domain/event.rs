//! One thing that happened to a user, in the form that every decoder brings it to.
//!
//! A decoder (our own JSON, and others by the same path) turns a body into [`Batch`]es: what the
//! events share ([`Source`]) and the [`Event`]s. Texts in here are clean: no query strings, no
//! personal data, no control characters, bounded in length; ids are keyed hashes.

use std::borrow::Cow;

use super::metric::Metric;
use super::time::{Span, Timestamp};

/// What all events of a batch have in common. An empty text is an absent dimension.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Source<'a> {
    pub app: Cow<'a, str>,
    pub environment: Cow<'a, str>,
    pub region: Cow<'a, str>,
    pub device: Cow<'a, str>,
    pub browser: Cow<'a, str>,
    pub os: Cow<'a, str>,
    pub release: Cow<'a, str>,
    pub cohort: Cow<'a, str>,
    pub sdk: Cow<'a, str>,
}

/// One normalised event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// Place in the request, over all its batches: how an answer names the event.
    pub index: usize,
    pub metric: Metric,
    /// When it happened, corrected by [`event_time`].
    pub at: Timestamp,
    /// Millionths of an event, from [`weight_of`].
    pub weight: i64,
    pub bad: bool,
    /// Finite and within the metric's domain.
    pub value: Option<f64>,
    /// Keyed hash of the user.
    pub user: Option<u64>,
    /// What tells a newer report of the same thing from a new thing.
    pub repeat: Option<Repeat>,
    /// Template of the page's path; for requests of the request's path.
    pub route: Cow<'a, str>,
    /// The metric's own dimensions, in the order of [`Metric::own_dimensions`].
    pub own: [Cow<'a, str>; 3],
    /// Trace of the request, as an example to look at.
    pub trace: Option<Cow<'a, str>>,
}

/// A thing that may be reported again with a newer state: a web vital, a session.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Repeat {
    /// Keyed hash of app, metric and id.
    pub key: u64,
    /// The client's own time of this report: of two reports the later one is right, whichever arrives last.
    pub ts: Option<i64>,
}

/// Events that came together.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch<'a> {
    /// Keyed hash of the body's `id`.
    pub id: Option<u64>,
    pub source: Source<'a>,
    pub events: Vec<Event<'a>>,
}

/// The weight of an event that was kept with probability `rate`, in millionths: 1/p, rounded to the
/// nearest millionth. `None` unless `least <= rate <= 1`.
pub fn weight_of(rate: f64, least: f64) -> Option<i64> {
    // The comparison is false for NaN.
    (rate >= least && rate > 0.0 && rate <= 1.0).then(|| (1e6 / rate).round() as i64)
}

/// The time an event belongs to (CONTRACT 5): `arrival - (sent_at - ts)` when both are given and the
/// difference is between zero and `longest`, else the arrival.
pub fn event_time(arrival: Timestamp, sent_at: Option<f64>, ts: Option<f64>, longest: Span) -> Timestamp {
    let (Some(sent_at), Some(ts)) = (sent_at, ts) else { return arrival };
    let behind = sent_at - ts;
    if (0.0..=longest.millis() as f64).contains(&behind) { arrival - Span(behind.round() as i64) } else { arrival }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weight_is_one_over_the_rate_to_the_millionth() {
        for (rate, weight) in
            [(1.0, 1_000_000), (0.5, 2_000_000), (0.001, 1_000_000_000), (0.3, 3_333_333), (0.7, 1_428_571), (0.15, 6_666_667)]
        {
            assert_eq!(weight_of(rate, 0.001), Some(weight), "{rate}");
        }
        for bad in [0.0, -0.5, 1.000_001, 0.000_9, f64::NAN, f64::INFINITY] {
            assert_eq!(weight_of(bad, 0.001), None, "{bad}");
        }
    }

    #[test]
    fn a_wrong_client_clock_does_not_move_the_event() {
        let arrival = Timestamp(1_000_000);
        let at = |sent_at, ts| event_time(arrival, sent_at, ts, Span::MINUTE).millis();
        assert_eq!(at(Some(50_000.0), Some(48_500.0)), 998_500, "the client is decades behind, the distance counts");
        assert_eq!(at(Some(50_000.0), Some(50_000.0)), 1_000_000);
        assert_eq!(at(Some(90_000.0), Some(30_000.0)), 940_000, "the longest distance still counts");
        assert_eq!(at(Some(90_001.0), Some(30_000.0)), 1_000_000);
        assert_eq!(at(Some(10.0), Some(11.0)), 1_000_000, "an event after its own sending");
        assert_eq!(at(None, Some(5.0)), 1_000_000);
        assert_eq!(at(Some(f64::NAN), Some(5.0)), 1_000_000);
        assert_eq!(at(Some(1e308), Some(-1e308)), 1_000_000);
    }
}
