//! F1 to F7: what can be told of the telemetry itself, out of stored history and the daemon's own counters. Read in the
//! background, whoever looks.

mod counters;
mod shares;
mod volume;

use std::sync::Arc;
use std::time::Duration;

use super::Site;
use crate::domain::filter::Filter;
use crate::domain::metric::Metric;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::web::icon::Tone;
use crate::web::number;
use crate::web::pages::health::{Check, Signal, Telemetry};
use crate::web::query::{Ask, Line};
use crate::web::state::State;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How long what was read is shown before it is read anew.
const FRESH: Span = Span::seconds(20);
/// Hours of a trend.
const HOURS: i64 = 24;

/// What is known of it; `None` until history has answered for the first time.
pub async fn telemetry(site: &Site, snapshot: &Arc<Snapshot>) -> Option<Arc<Telemetry>> {
    let (state, now) = (site.state.clone(), site.now);
    let tell = state.clone();
    let told = move || tell.pulse.send_modify(|n| *n = n.wrapping_add(1));
    let snapshot = snapshot.clone();
    site.state.memory.telemetry.get((), (now, FRESH), told, || async move { look(&state, &snapshot, now).await }).await
}

/// What stored history says of the telemetry at a time: of the last whole hour before it, and of the day before that.
struct Past {
    hour: Timestamp,
    to: Timestamp,
    views: Vec<Line>,
    clocks: Vec<Line>,
    correlated: Vec<Line>,
}

async fn past(state: &State, at: Timestamp) -> Past {
    let hour = at.floor(Span::HOUR);
    let from = hour - Span::days(volume::DAYS) - Span::hours(HOURS);
    let views = lines(state, Metric::PageView, (from, hour), &["app", "region"], false).await;
    let to = at.floor(Span::minutes(5));
    let told = async |name: &str| {
        let metric = Metric::Custom(name.to_owned());
        lines(state, metric, (to - Span::hours(HOURS), to), &["app"], true).await
    };
    Past { hour, to, views, clocks: told("burnwatch_clock").await, correlated: told("burnwatch_correlated").await }
}

/// F1, F3, F4 and F7 as they would have been shown at a time that is over; the other checks leave nothing behind.
pub async fn back_then(state: &State, at: Timestamp) -> Vec<Check> {
    let Past { hour, to, views, clocks, correlated } = past(state, at).await;
    vec![volume::check(&views, hour), shares::regions(&views, hour), shares::drift(&clocks, to), shares::correlation(&correlated, to)]
}

async fn look(state: &State, snapshot: &Snapshot, now: Timestamp) -> Telemetry {
    let Past { hour, to, views, clocks, correlated } = past(state, snapshot.watermark.unwrap_or(now)).await;
    let metrics = state.metrics.render();
    let settle = state.config.aggregation.settle;
    let max = state.config.aggregation.series_max;
    let checks = vec![
        volume::check(&views, hour),
        counters::over_collection(snapshot, max),
        shares::regions(&views, hour),
        shares::drift(&clocks, to),
        counters::late(snapshot.events_late, settle),
        counters::redactions(&metrics),
        shares::correlation(&correlated, to),
        counters::loss(&metrics),
        counters::one_source(&metrics),
    ];
    Telemetry { checks, volume: volume::chart(&views, hour - Span::days(7), hour), intake: counters::intake(&metrics) }
}

/// What was removed from texts since the daemon started, by field, the most first.
pub fn redacted(metrics: &str) -> Vec<(String, f64)> {
    counters::intake(metrics).redacted
}

/// Sums by the hour; nothing where history does not answer in time.
async fn lines(state: &State, metric: Metric, (from, to): (Timestamp, Timestamp), by: &[&str], medians: bool) -> Vec<Line> {
    let ask = Ask {
        metric,
        filter: Filter::default(),
        from,
        to,
        step: Some(Span::HOUR),
        by: by.iter().map(|name| (*name).to_owned()).collect(),
        quantiles: if medians { vec![0.5] } else { Vec::new() },
        limit: None,
    };
    match tokio::time::timeout(TIMEOUT, state.query.ask(ask)).await {
        Ok(Ok(answer)) => answer.series,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

/// A signal without a past.
fn plain(fine: bool, figure: String, usual: &str) -> Signal {
    let tone = if fine { Tone::Fine } else { Tone::Ticket };
    Signal { app: String::new(), tone, figure, usual: usual.into(), trend: Vec::new(), band: None, since: None }
}

/// Those that need a look first, then by the name of the app.
fn sorted(mut check: Check) -> Check {
    check.signals.sort_by(|a, b| (a.tone != Tone::Ticket, &a.app).cmp(&(b.tone != Tone::Ticket, &b.app)));
    check
}

/// Since when the newest values have been out of the band without a break; `None` if the newest is in it.
fn since(trend: &[Option<f64>], (low, high): (f64, f64), end: Timestamp) -> Option<Timestamp> {
    let out = |value: &&Option<f64>| value.is_none_or(|value| value < low || value > high);
    let run = trend.iter().rev().take_while(out).count();
    (run > 0).then(|| end - Span::hours(i64::try_from(run).unwrap_or(HOURS)))
}

fn app_words(app: &str) -> String {
    if app.is_empty() { "(no app)".into() } else { app.to_owned() }
}

/// `30 %`, for the middle of sentences.
fn percent(share: f64) -> String {
    number::share(share)
}
