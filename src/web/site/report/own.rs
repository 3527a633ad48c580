//! What belongs to a review of one length alone, out of stored history and the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;

use crate::config::OptOut;
use crate::domain::filter::{Filter, Match};
use crate::domain::metric::{Metric, Vital};
use crate::domain::notification::ChangeKind;
use crate::domain::rule::{Labels, Period};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::Timestamp;
use crate::store::annotations;
use crate::web::number;
use crate::web::pages::evidence::EVENTS_MIN;
use crate::web::pages::report::{Errors, Month, Own, Quarter, Slow, Volume, Week};
use crate::web::query::{Ask, Line};
use crate::web::site::slos::change_of;
use crate::web::site::telemetry::redacted;
use crate::web::state::State;

const ROWS_MAX: usize = 10;
const APPS_MAX: usize = 20;
/// Reports of sampling changes, and annotations that are looked through for them.
const SAMPLING_MAX: usize = 10;
const CHANGES_MAX: usize = 1_000;
const TIMEOUT: Duration = Duration::from_secs(10);

/// Start of the period before, start, end.
type Times = (Timestamp, Timestamp, Timestamp);

/// What a review of this length has beside the others.
pub async fn read(state: &State, period: Period, times: Times, snapshot: &Snapshot) -> Own {
    match period {
        Period::Week => Own::Week(week(state, times).await),
        Period::Month => Own::Month(month(state, times, snapshot).await),
        Period::Quarter => Own::Quarter(quarter(state)),
        Period::Day | Period::Year => Own::Nothing,
    }
}

/// Sums of the whole span by dimension values; nothing where history does not answer, and the log says why.
async fn sums(
    state: &State,
    metric: Metric,
    filter: Filter,
    by: &[&str],
    (from, to): (Timestamp, Timestamp),
    quantiles: &[f64],
) -> Vec<Line> {
    if from >= to {
        return Vec::new();
    }
    let by = by.iter().map(|name| (*name).to_owned()).collect();
    let ask = Ask { metric, filter, from, to, step: None, by, quantiles: quantiles.to_vec(), limit: None };
    match tokio::time::timeout(TIMEOUT, state.query.ask(ask)).await {
        Ok(Ok(answer)) => answer.series,
        Ok(Err(error)) => {
            warn!(reason = %error, "a review goes without a part");
            Vec::new()
        }
        Err(_) => {
            warn!("a review goes without a part: stored history did not answer in time");
            Vec::new()
        }
    }
}

fn label(labels: &Labels, name: &str) -> String {
    labels.get(name).cloned().unwrap_or_default()
}

fn total(line: &Line) -> f64 {
    line.points.iter().map(|point| point.total).sum()
}

async fn week(state: &State, (_, from, to): Times) -> Week {
    let mut errors: Vec<Errors> = Vec::new();
    for metric in [Metric::JsError, Metric::Crash] {
        let routes = sums(state, metric.clone(), Filter::default(), &["fingerprint", "route"], (from, to), &[]).await;
        for line in sums(state, metric, Filter::default(), &["app", "fingerprint"], (from, to), &[]).await {
            let fingerprint = label(&line.labels, "fingerprint");
            let here = routes.iter().filter(|route| label(&route.labels, "fingerprint") == fingerprint);
            let route = here.max_by(|a, b| total(a).total_cmp(&total(b))).map(|line| label(&line.labels, "route")).unwrap_or_default();
            let users = line.points.first().and_then(|point| point.users);
            errors.push(Errors { app: label(&line.labels, "app"), fingerprint, route, events: total(&line), users });
        }
    }
    errors.sort_by(|a, b| b.events.total_cmp(&a.events).then_with(|| a.fingerprint.cmp(&b.fingerprint)));
    errors.truncate(ROWS_MAX);
    let people = Filter([("device".to_owned(), Match::Not("bot".to_owned()))].into());
    let paints = sums(state, Metric::Vital(Vital::Lcp), people, &["app", "route"], (from, to), &[0.75, 0.95]).await;
    let mut slow: Vec<Slow> = paints
        .iter()
        .filter_map(|line| {
            let point = line.points.first().filter(|point| point.total >= EVENTS_MIN)?;
            let of = |q: &str| point.quantiles.as_ref()?.get(q).copied();
            let (app, route) = (label(&line.labels, "app"), label(&line.labels, "route"));
            Some(Slow { app, route, loads: point.total, p75: of("0.75")?, p95: of("0.95")? })
        })
        .collect();
    slow.sort_by(|a, b| b.p75.total_cmp(&a.p75).then_with(|| a.route.cmp(&b.route)));
    slow.truncate(ROWS_MAX);
    Week { errors, slow }
}

async fn month(state: &State, (earlier, from, to): Times, snapshot: &Snapshot) -> Month {
    let mut apps: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    let mut before: BTreeMap<String, f64> = BTreeMap::new();
    for metric in [Metric::PageView, Metric::Request] {
        for line in sums(state, metric.clone(), Filter::default(), &["app"], (from, to), &[]).await {
            let sum = apps.entry(label(&line.labels, "app")).or_default();
            sum.0 += line.points.iter().map(|point| point.raw as f64).sum::<f64>();
            sum.1 += total(&line);
        }
        for line in sums(state, metric, Filter::default(), &["app"], (earlier, from), &[]).await {
            *before.entry(label(&line.labels, "app")).or_default() += line.points.iter().map(|point| point.raw as f64).sum::<f64>();
        }
    }
    let volume =
        |(app, (received, stand_for)): (String, (f64, f64))| Volume { before: before.get(&app).copied(), app, received, stand_for };
    let mut apps: Vec<Volume> = apps.into_iter().map(volume).collect();
    apps.sort_by(|a, b| b.received.total_cmp(&a.received).then_with(|| a.app.cmp(&b.app)));
    apps.truncate(APPS_MAX);
    let changes = async { annotations::newest(&mut state.store.read().await?, (from, to), None, CHANGES_MAX).await };
    let changes = changes.await.unwrap_or_else(|error| {
        warn!(reason = %error, "a review goes without changes of sampling");
        Vec::new()
    });
    let sampling = changes.iter().map(change_of).filter(|change| change.kind == ChangeKind::Sampling).take(SAMPLING_MAX).collect();
    Month { apps, sampling, series: snapshot.series, series_max: state.config.aggregation.series_max as u64 }
}

fn quarter(state: &State) -> Quarter {
    let (retention, privacy) = (&state.config.retention, &state.config.privacy);
    let opt_out = |what: OptOut| match what {
        OptOut::Count => "they count as any other",
        OptOut::Anonymous => "they count without user and session",
        OptOut::Drop => "they are dropped, and that is counted",
    };
    Quarter {
        retention: vec![
            ("buckets as they came", retention.bucket),
            ("five-minute sums", retention.rollup_5m),
            ("hourly sums", retention.rollup_1h),
        ],
        privacy: vec![
            ("redaction of texts", if privacy.redact { "on".into() } else { "off".into() }),
            ("own patterns", privacy.redact_patterns.len().to_string()),
            ("events without consent", opt_out(privacy.consent).into()),
            ("browsers that say no (GPC, DNT)", opt_out(privacy.browser_signal).into()),
            ("user hashes", format!("their key changes every {}", number::window(privacy.hash_rotation))),
        ],
        redacted: redacted(&state.metrics.render()),
    }
}
