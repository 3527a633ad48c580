//! `/incidents/{id}/segments`: the failures of an incident's window, by every value of every dimension.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;

use super::incident::{just, noun, slo_of};
use super::{Query, Site};
use crate::domain::filter::Match;
use crate::domain::rule::Labels;
use crate::domain::rule::{Sli, Slo};
use crate::domain::time::{Span, Timestamp};
use crate::web::frame::Page;
use crate::web::pages::segments::{self as pages, Breakdown, Model, Value};
use crate::web::problem::Problem;
use crate::web::query::{Answer, Ask};

const TIMEOUT: Duration = Duration::from_secs(4);

/// Says itself whether a request failed: it tells nothing about why.
const OUTCOME: &str = "status";

pub async fn page(site: Site, Path(id): Path<String>, query: Query) -> Response {
    let page = read(&site, &id, &query).await;
    site.show(page).await
}

async fn read(site: &Site, id: &str, query: &Query) -> Result<Page, Problem> {
    let snapshot = site.state.snapshot.load_full();
    let incident = just(site, id).await?;
    let found = slo_of(&snapshot, &incident);
    let (from, to) = (incident.window_start.min(incident.opened_at), incident.resolved_at.unwrap_or(site.now));
    let mut dimensions = site.state.config.aggregation.dimensions.clone();
    let mut breakdown = Err("its rules are free-form: there is no objective that says what counts as a failure".to_owned());
    let mut words = ("", "events");
    if let Some((slo, group, _)) = &found {
        words = (slo.name.as_str(), noun(&slo.sli));
        if let Some((metric, _)) = asked(&slo.sli) {
            dimensions.extend(metric.metric.own_dimensions().iter().filter(|name| **name != OUTCOME).map(|name| (*name).to_owned()));
        }
        let wanted = query.get("dimension").unwrap_or_default();
        let by: Vec<String> = if dimensions.iter().any(|name| name == wanted) { vec![wanted.to_owned()] } else { dimensions.clone() };
        breakdown = ask(site, slo, group, by, (from, to)).await;
    }
    Ok(pages::page(&Model {
        objective: words.0.to_owned(),
        noun: words.1,
        incident: &incident,
        from,
        to,
        dimension: query.get("dimension").filter(|name| dimensions.iter().any(|have| have == name)).unwrap_or_default().to_owned(),
        dimensions,
        found: breakdown,
        now: site.now,
    }))
}

/// What an objective counts as bad, where one question can ask for it.
fn asked(sli: &Sli) -> Option<(crate::domain::rule::Selector, Option<crate::domain::cell::Limit>)> {
    match sli {
        Sli::Good(_) | Sli::Within { .. } => sli.inputs().into_iter().next(),
        Sli::Slices { inner, .. } => asked(inner),
        Sli::Ratio { .. } | Sli::Composite { .. } | Sli::External { .. } => None,
    }
}

async fn ask(site: &Site, slo: &Slo, group: &Labels, by: Vec<String>, (from, to): (Timestamp, Timestamp)) -> Result<Breakdown, String> {
    let Some((selector, limit)) = asked(&slo.sli) else {
        return Err("this objective is made of several counts: no single event of it is good or bad".into());
    };
    let mut filter = selector.filter;
    for (name, value) in group {
        filter.0.insert(name.clone(), Match::Equal(value.clone()));
    }
    let bucket = site.state.config.aggregation.bucket;
    let (from, to) = (from.floor(bucket), to.ceil(bucket).max(from + Span(1)));
    let ask = Ask { metric: selector.metric, filter, from, to, step: None, by: by.clone(), quantiles: Vec::new(), limit };
    match tokio::time::timeout(TIMEOUT, site.state.query.ask(ask)).await {
        Ok(Ok(answer)) => Ok(break_down(&by, &answer)),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("stored history did not answer within 4 s".into()),
    }
}

/// Sums over the combinations that have a value, for each value. Values with the same combinations
/// carry the same events, and only the first of them is kept.
fn break_down(by: &[String], answer: &Answer) -> Breakdown {
    #[derive(Default)]
    struct Sum {
        total: f64,
        bad: f64,
        lines: Vec<usize>,
    }
    let mut whole = Breakdown::default();
    let mut sums: BTreeMap<(&str, &str), Sum> = BTreeMap::new();
    for (i, line) in answer.series.iter().enumerate() {
        let (total, bad) = line.points.iter().fold((0.0, 0.0), |(total, bad), point| (total + point.total, bad + point.bad));
        whole.total += total;
        whole.bad += bad;
        for name in by {
            let value = line.labels.get(name).map_or("", String::as_str);
            let sum = sums.entry((name, value)).or_default();
            sum.total += total;
            sum.bad += bad;
            sum.lines.push(i);
        }
    }
    let share = |part: f64, all: f64| if all > 0.0 { part / all } else { 0.0 };
    let mut first: BTreeMap<Vec<usize>, usize> = BTreeMap::new();
    for ((name, value), sum) in sums {
        // A dimension that says nothing, or the same of every event, tells nothing apart.
        if sum.lines.len() == answer.series.len() && answer.series.len() > 1 {
            continue;
        }
        if let Some(have) = first.get(&sum.lines) {
            whole.values[*have].same.push(format!("{name} {}", if value.is_empty() { "(not told)" } else { value }));
            continue;
        }
        first.insert(sum.lines, whole.values.len());
        whole.values.push(Value {
            dimension: name.into(),
            value: value.into(),
            total: sum.total,
            bad: sum.bad,
            bad_share: share(sum.bad, whole.bad),
            traffic_share: share(sum.total, whole.total),
            same: Vec::new(),
        });
    }
    let gap = |value: &Value| value.bad_share - value.traffic_share;
    whole.values.sort_by(|a, b| gap(b).total_cmp(&gap(a)).then(b.total.total_cmp(&a.total)));
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::query::{Line, Point};

    #[test]
    fn values_of_the_same_events_are_one_row_and_the_widest_gap_stands_first() {
        let line = |region: &str, release: &str, device: &str, total: f64, bad: f64| Line {
            labels: [("region", region), ("release", release), ("device", device), ("app", "shop")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            points: vec![Point { total, bad, ..Point::default() }],
        };
        let answer = Answer {
            series: vec![
                line("eu", "2.3.1", "mobile", 100.0, 90.0),
                line("us", "2.3.0", "mobile", 300.0, 5.0),
                line("us", "2.3.0", "desktop", 600.0, 5.0),
            ],
        };
        let by = ["app", "region", "release", "device"].map(str::to_owned);
        let found = break_down(&by, &answer);
        assert_eq!((found.total, found.bad), (1_000.0, 100.0));
        let first = &found.values[0];
        assert_eq!((first.dimension.as_str(), first.value.as_str(), first.bad_share, first.traffic_share), ("region", "eu", 0.9, 0.1));
        assert_eq!(first.same, ["release 2.3.1"]);
        assert!(found.values.iter().all(|value| value.dimension != "app"), "what all events have is no segment");
        assert_eq!(found.values.last().unwrap().value, "us");
    }
}
