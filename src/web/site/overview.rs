//! The overview: what is in memory, and what is read of stored history once a minute.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::response::Response;
use tracing::warn;

use super::Site;
use super::oncall::row_of;
use super::slos::{change_of, overall};
use crate::domain::filter::{Filter, Match};
use crate::domain::metric::Metric;
use crate::domain::notification::{Change, ChangeKind};
use crate::domain::rule::{Labels, Sli, Slo};
use crate::domain::snapshot::{AlertPhase, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{annotations, incidents, transition};
use crate::web::api::slos::Rows;
use crate::web::frame::Page;
use crate::web::pages::oncall::rank;
use crate::web::pages::overview::{
    self as pages, Compared, EVENTS_MIN, Evidence, Funnel, HeatCell, HeatRow, Overview, ROWS_MAX, Release, Step,
};
use crate::web::pages::slos::{Objective, worst_first};
use crate::web::problem::Problem;
use crate::web::query::{Answer, Ask};
use crate::web::state::State;

const COLUMNS_MAX: usize = 8;
const HEAT_MAX: usize = 12;
/// Points of one sparkline.
const SPARK_POINTS: usize = 60;
const RELEASES_MAX: usize = 3;
const FUNNELS_MAX: usize = 2;
/// Weeks that say what is usual.
const WEEKS: i64 = 4;
/// How long what was read is shown before it is read anew.
const FRESH: Span = Span::MINUTE;
/// How long each question may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// History before this age may be kept in steps of five minutes only.
const STEP: Span = Span::minutes(5);

/// What was last read of stored history. One reading at a time, at most one a minute, whoever looks. Nobody waits
/// for it: the page is made of what is known, and told over `/events` when there is more.
#[derive(Debug, Default)]
pub struct Memory {
    known: ArcSwapOption<(Timestamp, Arc<Evidence>)>,
    reading: AtomicBool,
}

/// Ends a reading, also one that panics.
struct Reading(Arc<State>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.overview.reading.store(false, Ordering::Release);
    }
}

pub async fn page(site: Site) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let page = read(&site, &snapshot).await;
    site.show(page).await
}

async fn read(site: &Site, snapshot: &Arc<Snapshot>) -> Result<Page, Problem> {
    let mut tx = site.state.store.read().await?;
    let open = incidents::open(&mut tx).await?;
    drop(tx);
    let mut incidents = open.iter().map(|row| Ok(row_of(&transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    rank(&mut incidents);
    let mut rows = overall(snapshot);
    worst_first(&mut rows);
    let shown = rows.iter().take(ROWS_MAX).map(|row| row.slo.name.clone()).collect();
    let evidence = evidence(site, snapshot, shown);
    let (dimension, heat) = heat(snapshot, &rows, evidence.as_deref());
    Ok(pages::page(&Overview { rows, heat, dimension, incidents, evidence, silent: snapshot.silent_apps.clone(), now: site.now }))
}

/// What is known; if that is old, somebody reads it anew meanwhile.
fn evidence(site: &Site, snapshot: &Arc<Snapshot>, shown: Vec<String>) -> Option<Arc<Evidence>> {
    let memory = &site.state.overview;
    let known = memory.known.load_full();
    let fresh = known.as_ref().is_some_and(|known| site.now - known.0 < FRESH);
    if !fresh && !memory.reading.swap(true, Ordering::AcqRel) {
        let (reading, snapshot, now) = (Reading(site.state.clone()), snapshot.clone(), site.now);
        tokio::spawn(async move {
            let evidence = look(&reading.0, &snapshot, shown, now).await;
            let first = reading.0.overview.known.swap(Some(Arc::new((now, Arc::new(evidence))))).is_none();
            if first {
                // Pages without it are open; later readings come with the next tick.
                reading.0.pulse.send_modify(|n| *n = n.wrapping_add(1));
            }
        });
    }
    known.map(|known| known.1.clone())
}

/// Reads it. A part that does not answer is left out, and the log says why.
async fn look(state: &State, snapshot: &Snapshot, shown: Vec<String>, now: Timestamp) -> Evidence {
    let left_out = |what: &str, error: String| warn!(reason = error, "the overview goes without {what}");
    let (mut sparks, mut by_region) = (BTreeMap::new(), BTreeMap::new());
    let dimension = dimension(snapshot);
    let measured_to = snapshot.watermark.unwrap_or(now).floor(state.config.aggregation.bucket);
    for name in shown {
        let Some(slo) = snapshot.rules.slo(&name) else { continue };
        if let Ok((_, _, left)) = super::budget::line(state, now, slo, &Labels::new()).await {
            sparks.insert(name.clone(), thin(&left));
        }
        match regions(state, slo, &dimension, measured_to).await {
            Ok(values) if values.is_empty() => {}
            Ok(values) => {
                by_region.insert(name, values);
            }
            Err(error) => left_out("the regions of an objective", error),
        }
    }
    let funnels = funnels(state, now).await.unwrap_or_else(|error| {
        left_out("funnels", error);
        Vec::new()
    });
    let releases = releases(state, now).await.unwrap_or_else(|error| {
        left_out("releases", error);
        Vec::new()
    });
    Evidence { sparks, regions: by_region, funnels, releases }
}

/// Fewer points: of those that fall together the lowest, so that no debt disappears.
fn thin(values: &[Option<f64>]) -> Vec<Option<f64>> {
    let each = values.len().div_ceil(SPARK_POINTS).max(1);
    values.chunks(each).map(|chunk| chunk.iter().flatten().copied().reduce(f64::min)).collect()
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

/// The funnels with the most people in the last hour, and the same hour of the weeks before.
async fn funnels(state: &State, now: Timestamp) -> Result<Vec<Funnel>, String> {
    let by = ["app", "funnel", "step"];
    let to = now.floor(STEP);
    let key = |labels: &Labels| by.map(|name| labels.get(name).cloned().unwrap_or_default());
    let mut usual: BTreeMap<[String; 3], f64> = BTreeMap::new();
    let mut weeks = 0;
    let mut found: BTreeMap<(String, String), Vec<Step>> = BTreeMap::new();
    let live = totals(state, Metric::Step, "", &by, (to - Span::HOUR, to)).await?;
    if live.is_empty() {
        return Ok(Vec::new());
    }
    for week in 1..=WEEKS {
        let to = to - Span::days(7 * week);
        let then = totals(state, Metric::Step, "", &by, (to - Span::HOUR, to)).await?;
        weeks += usize::from(!then.is_empty());
        for (labels, total, _) in then {
            *usual.entry(key(&labels)).or_default() += total;
        }
    }
    for (labels, total, _) in live {
        let at = key(&labels);
        let usual = usual.get(&at).copied().unwrap_or(0.0);
        let [app, funnel, step] = at;
        found.entry((app, funnel)).or_default().push(Step { name: step, count: total, usual });
    }
    let mut funnels: Vec<Funnel> = found
        .into_iter()
        .map(|((app, name), mut steps)| {
            // Every step has passed through the ones before it, so the order is that of the numbers; the
            // usual ones, because on a bad day nothing can be concluded from today's.
            let often = |step: &Step| if weeks > 0 { step.usual } else { step.count };
            steps.sort_by(|a, b| often(b).total_cmp(&often(a)).then_with(|| b.count.total_cmp(&a.count)));
            Funnel { app, name, steps, weeks }
        })
        .filter(|funnel| funnel.steps.len() > 1)
        .collect();
    funnels.sort_by(|a, b| b.steps[0].count.total_cmp(&a.steps[0].count));
    funnels.truncate(FUNNELS_MAX);
    Ok(funnels)
}

/// The latest releases, the hour before each against what was measured on it since.
async fn releases(state: &State, now: Timestamp) -> Result<Vec<Release>, String> {
    let listed = async { annotations::list(&mut state.store.read().await?, now - Span::days(7), now + Span::MINUTE, None).await };
    let changes = listed.await.map_err(|error| error.to_string())?;
    let deploys = changes.iter().rev().map(change_of).filter(|change| change.kind == ChangeKind::Deploy && change.release.is_some());
    let mut releases = Vec::new();
    for change in deploys.take(RELEASES_MAX) {
        releases.push(release(state, change, now).await?);
    }
    Ok(releases)
}

async fn release(state: &State, change: Change, now: Timestamp) -> Result<Release, String> {
    let name = change.release.clone().unwrap_or_default();
    let at = change.at.floor(STEP);
    let before = (at - Span::HOUR, at);
    let after = (at, now.ceil(STEP).min(at + Span::DAY));
    let mut compared = Vec::new();
    for (metric, what) in
        [(Metric::Request, "failing requests"), (Metric::PageView, "failing page loads"), (Metric::Session, "crashing sessions")]
    {
        let sum = |rows: &[(Labels, f64, f64)], only: Option<&str>| {
            let of = rows.iter().filter(|(labels, _, _)| only.is_none_or(|only| labels.get("release").is_some_and(|have| have == only)));
            of.fold((0.0, 0.0), |(bad, all), (_, total, failed)| (bad + failed, all + total))
        };
        let then = totals(state, metric.clone(), &change.app, &["release"], before).await?;
        let since = totals(state, metric, &change.app, &["release"], after).await?;
        compared.push(Compared { what, before: sum(&then, None), after: sum(&since, Some(&name)) });
    }
    let lately = totals(state, Metric::PageView, &change.app, &["release"], (now.floor(STEP) - STEP, now.ceil(STEP))).await?;
    let all: f64 = lately.iter().map(|(_, total, _)| total).sum();
    let on_it = lately.iter().filter(|(labels, _, _)| labels.get("release") == Some(&name)).map(|(_, total, _)| total).sum::<f64>();
    Ok(Release { change, traffic: (all > 0.0).then(|| on_it / all), compared })
}

/// Objectives against the values of one dimension: the one that most budgets are split by, else the region.
fn heat<'a>(snapshot: &'a Snapshot, rows: &[Objective<'a>], evidence: Option<&Evidence>) -> (String, Vec<HeatRow<'a>>) {
    let dimension = dimension(snapshot);
    let grouped = |slo: &Slo| slo.by.len() == 1 && slo.by[0] == dimension;
    let measured = |slo: &Slo| evidence.and_then(|evidence| evidence.regions.get(&slo.name));
    let chosen: Vec<&Objective<'a>> = rows.iter().filter(|row| grouped(row.slo) || measured(row.slo).is_some()).take(HEAT_MAX).collect();
    // The values with the most traffic over all, in the order of their names. Windows differ by objective,
    // so each has one vote of a size of its own.
    let all = Rows::new(snapshot);
    let mut traffic: BTreeMap<String, f64> = BTreeMap::new();
    for row in &chosen {
        let mut counts: Vec<(String, f64)> = Vec::new();
        if grouped(row.slo) {
            counts.extend(all.of(row.slo).iter().filter_map(|status| Some((status.group.get(&dimension)?.clone(), status.total))));
        } else {
            counts.extend(measured(row.slo).into_iter().flatten().map(|(value, _, total)| (value.clone(), *total)));
        }
        let whole: f64 = counts.iter().map(|(_, total)| total).sum();
        for (value, total) in counts.into_iter().filter(|_| whole > 0.0) {
            *traffic.entry(value).or_default() += total / whole;
        }
    }
    let mut values: Vec<(String, f64)> = traffic.into_iter().collect();
    values.sort_by(|a, b| b.1.total_cmp(&a.1));
    let columns: BTreeSet<String> = values.into_iter().take(COLUMNS_MAX).map(|(value, _)| value).collect();
    if columns.is_empty() {
        return (String::new(), Vec::new());
    }
    let cell = |row: &Objective<'a>, value: &String| {
        if grouped(row.slo) {
            return all.group(row.slo, &dimension, value).map_or(HeatCell::Unknown, HeatCell::Group);
        }
        let known = measured(row.slo).and_then(|regions| regions.iter().find(|(have, _, total)| have == value && *total >= EVENTS_MIN));
        let Some((_, burn, _)) = known else { return HeatCell::Unknown };
        let limit = row.slo.tiers.iter().min_by_key(|tier| tier.long).map_or(f64::INFINITY, |tier| tier.factor.to_f64());
        let firing = row.status.severity.filter(|_| row.status.state == AlertPhase::Firing);
        HeatCell::Measured { burn: *burn, over: *burn > limit, firing }
    };
    let heat = chosen.into_iter().map(|row| (row.slo, columns.iter().map(|value| (value.clone(), cell(row, value))).collect())).collect();
    (dimension, heat)
}

/// The dimension that most budgets are split by, else the region.
fn dimension(snapshot: &Snapshot) -> String {
    let mut shared: BTreeMap<&str, usize> = BTreeMap::new();
    for slo in snapshot.rules.slos.iter().filter(|slo| slo.enabled && slo.by.len() == 1) {
        *shared.entry(&slo.by[0]).or_default() += 1;
    }
    shared.into_iter().max_by_key(|(_, count)| *count).map_or("region", |(name, _)| name).to_owned()
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
}
