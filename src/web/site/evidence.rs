//! What pages show of stored history beside the figures in memory: read once a minute, whoever looks.

mod endpoint;
mod funnel;
mod release;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::Site;
use super::heat::dimension;
use super::slos::overall;
use crate::domain::filter::{Filter, Match};
use crate::domain::incident::Incident;
use crate::domain::metric::Metric;
use crate::domain::rule::{Labels, Sli, Slo};
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::store::{incidents, transition};
use crate::web::pages::evidence::{Coverage, Evidence};
use crate::web::pages::overview::ROWS_MAX;
use crate::web::pages::slos::worst_first;
use crate::web::query::{Answer, Ask, AskSlo};
use crate::web::state::State;

/// Points of one sparkline.
const SPARK_POINTS: usize = 60;
/// Incidents whose last hour is read: those of the first page.
const BURNING_MAX: usize = 50;
/// How long what was read is shown before it is read anew.
const FRESH: Span = Span::MINUTE;
/// How long each question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// History before this age may be kept in steps of five minutes only.
const STEP: Span = Span::minutes(5);

/// What is known of it; `None` until history has answered for the first time.
pub async fn evidence(site: &Site, snapshot: &Arc<Snapshot>) -> Option<Arc<Evidence>> {
    let (state, now) = (site.state.clone(), site.now);
    let tell = state.clone();
    // Pages without it are open; later readings come with the next tick.
    let told = move || tell.pulse.send_modify(|n| *n = n.wrapping_add(1));
    let snapshot = snapshot.clone();
    site.state.memory.evidence.get((), (now, FRESH), told, || async move { look(&state, &snapshot, now).await }).await
}

/// Reads it. A part that does not answer is left out, and the log says why.
async fn look(state: &State, snapshot: &Snapshot, now: Timestamp) -> Evidence {
    let measured_to = snapshot.watermark.unwrap_or(now).floor(state.config.aggregation.bucket);
    let mut rows = overall(snapshot);
    worst_first(&mut rows);
    let mut evidence = Evidence::default();
    let dimension = dimension(snapshot);
    for slo in rows.iter().take(ROWS_MAX).map(|row| row.slo) {
        if let Ok((_, _, left)) = super::budget::line(state, now, slo, &Labels::new()).await {
            evidence.sparks.insert(slo.name.clone(), thin(&left));
        }
        let values = or_without("the regions of an objective", regions(state, slo, &dimension, measured_to).await);
        if !values.is_empty() {
            evidence.regions.insert(slo.name.clone(), values);
        }
    }
    evidence.burning = or_without("the last hour of incidents", burning(state, snapshot, now).await);
    evidence.endpoints = or_without("failing endpoints", endpoint::endpoints(state, measured_to).await);
    evidence.funnels = or_without("funnels", funnel::funnels(state, now).await);
    evidence.releases = or_without("releases", release::releases(state, now).await);
    evidence.coverage = or_without("what was measured", coverage(state, measured_to).await);
    evidence
}

fn or_without<T: Default>(what: &str, answer: Result<T, String>) -> T {
    answer.unwrap_or_else(|error| {
        warn!(reason = error, "pages go without {what}");
        T::default()
    })
}

/// Fewer points: of those that fall together the lowest, so that no debt disappears.
fn thin(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let each = values.len().div_ceil(SPARK_POINTS).max(1);
    values.chunks(each).map(|chunk| chunk.iter().flatten().copied().reduce(f64::min)).collect()
}

/// Burn in each minute of the last hour, of what the open incidents are about.
async fn burning(state: &State, snapshot: &Snapshot, now: Timestamp) -> Result<BTreeMap<String, Vec<Option<f64>>>, String> {
    let open = async { incidents::open(&mut state.store.read().await?).await };
    let mut open = open.await.map_err(|error| error.to_string())?;
    open.sort_by_key(|row| (std::cmp::Reverse(row.severity == "page"), std::cmp::Reverse(row.users)));
    let to = now.floor(Span::MINUTE);
    let mut found = BTreeMap::new();
    for row in open.iter().take(BURNING_MAX) {
        let incident: Incident = transition::read(row).map_err(|error| error.to_string())?;
        let Some((slo, group, _)) = super::incident::slo_of(snapshot, &incident) else { continue };
        let asked = AskSlo { slo: slo.name.clone(), group, from: to - Span::HOUR, to, step: Span::MINUTE };
        let points = match tokio::time::timeout(TIMEOUT, state.query.slo(asked)).await {
            Ok(answer) => answer.map_err(|error| error.to_string())?,
            Err(_) => return Err("stored history did not answer in time".into()),
        };
        let budget = f64::from(slo.budget_ppm) / 1e6;
        let burn = points.iter().map(|point| point.counts.map(|(total, bad)| bad / total / budget));
        found.insert(row.id.clone(), burn.collect());
    }
    Ok(found)
}

/// How much of the day that ends at `to` was measured, over all apps that sent anything in it.
async fn coverage(state: &State, to: Timestamp) -> Result<Option<Coverage>, String> {
    let to = to.floor(STEP);
    let from = to - Span::DAY;
    let mut apps: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let steps = usize::try_from(Span::DAY.millis() / STEP.millis()).unwrap_or_default();
    for metric in [Metric::PageView, Metric::Request] {
        let by = vec!["app".to_owned()];
        let asked = Ask { metric, filter: Filter::default(), from, to, step: Some(STEP), by, quantiles: Vec::new(), limit: None };
        for line in ask(state, asked).await?.series {
            let app = apps.entry(line.labels.get("app").cloned().unwrap_or_default()).or_insert_with(|| vec![0.0; steps]);
            for point in line.points {
                let at = usize::try_from((point.at - from).millis() / STEP.millis()).ok();
                if let Some(sum) = at.and_then(|at| app.get_mut(at)) {
                    *sum += point.total;
                }
            }
        }
    }
    let measured: usize = apps.values().map(|counts| covered(counts)).sum();
    Ok((!apps.is_empty()).then(|| Coverage { share: measured as f64 / (apps.len() * steps) as f64, apps: apps.len() }))
}

/// Events without which a stretch of an app counts as silent, as evaluation sees it.
const EXPECTED_MIN: f64 = 20.0;

/// How many steps were measured: all but those in stretches without any event in which at least [`EXPECTED_MIN`] were to be
/// expected at the mean rate. What lies before the first event is not known, and so not measured.
fn covered(counts: &[f64]) -> usize {
    let measured = counts.iter().filter(|count| **count > 0.0).count();
    let mean = counts.iter().sum::<f64>() / measured.max(1) as f64;
    let mut missing = counts.iter().take_while(|count| **count <= 0.0).count();
    for run in counts[missing..].chunk_by(|a, b| (*a > 0.0) == (*b > 0.0)) {
        let silent = run[0] <= 0.0 && run.len() as f64 * mean >= EXPECTED_MIN;
        missing += if silent { run.len() } else { 0 };
    }
    counts.len() - missing
}

async fn ask(state: &State, ask: Ask) -> Result<Answer, String> {
    match tokio::time::timeout(TIMEOUT, state.query.ask(ask)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("stored history did not answer in time".into()),
    }
}

/// Totals by group of one span.
async fn totals(
    state: &State,
    metric: Metric,
    app: &str,
    by: &[&str],
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(Labels, f64, f64)>, String> {
    let filter = if app.is_empty() { Filter::default() } else { Filter([("app".to_owned(), Match::Equal(app.to_owned()))].into()) };
    let by = by.iter().map(|name| (*name).to_owned()).collect();
    let answer = ask(state, Ask { metric, filter, from, to, step: None, by, quantiles: Vec::new(), limit: None }).await?;
    let sum = |line: crate::web::query::Line| {
        let (total, bad) = line.points.iter().fold((0.0, 0.0), |(total, bad), point| (total + point.total, bad + point.bad));
        (line.labels, total, bad)
    };
    Ok(answer.series.into_iter().map(sum).collect())
}

/// How an objective with one budget burns at each value: value, burn, events.
async fn regions(state: &State, slo: &Slo, dimension: &str, to: Timestamp) -> Result<Vec<(String, f64, f64)>, String> {
    let inputs = slo.sli.inputs();
    let (Some((selector, limit)), Some(long)) = (inputs.first(), slo.tiers.iter().map(|tier| tier.long).min()) else {
        return Ok(Vec::new());
    };
    let single = match slo.sli {
        Sli::Good(_) | Sli::Within { .. } => true,
        // Two counts, slices and other objectives do not add up by value.
        Sli::Ratio { .. } | Sli::Slices { .. } | Sli::Composite { .. } | Sli::External { .. } => false,
    };
    if !single || slo.by.iter().any(|name| name == dimension) {
        return Ok(Vec::new());
    }
    let (metric, filter) = (selector.metric.clone(), selector.filter.clone());
    let question =
        Ask { metric, filter, from: to - long, to, step: None, by: vec![dimension.to_owned()], quantiles: Vec::new(), limit: *limit };
    let budget = f64::from(slo.budget_ppm) / 1e6;
    let answer = ask(state, question).await?;
    let value = |line: crate::web::query::Line| {
        let point = line.points.into_iter().next().filter(|point| point.total > 0.0)?;
        Some((line.labels.get(dimension)?.clone(), point.bad / point.total / budget, point.total))
    };
    Ok(answer.series.into_iter().filter_map(value).filter(|(name, _, _)| !name.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_out_lines_keep_their_lowest_point_and_their_gaps() {
        let mut values: Vec<Option<f64>> = (0..720).map(|i| Some(f64::from(i))).collect();
        values[100] = Some(-3.0);
        values[240..264].fill(None);
        let thin = thin(&values);
        assert_eq!(thin.len(), SPARK_POINTS);
        assert!(thin.contains(&Some(-3.0)) && thin[20].is_none() && thin[21].is_none() && thin[22].is_some());
    }

    #[test]
    fn a_stretch_is_not_measured_when_events_were_to_be_expected_in_it() {
        let mut counts = vec![100.0; 288];
        assert_eq!(covered(&counts), 288);
        counts[100..103].fill(0.0);
        assert_eq!(covered(&counts), 285, "three hundred events are missing");
        counts[..10].fill(0.0);
        assert_eq!(covered(&counts), 275, "before the first event nothing is known");
        let mut seldom = vec![0.0; 288];
        for at in (0..288).step_by(4) {
            seldom[at] = 2.0;
        }
        assert_eq!(covered(&seldom), 288, "a seldom event does not make the time between it dark");
        assert_eq!(covered(&[0.0; 288]), 0);
    }
}
