//! `/query`: a form's question, asked like `POST /v1/query` asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use axum::response::Response;
use serde_json::{Map, Value, json};

use super::{Query, Site};
use crate::domain::metric::Metric;
use crate::domain::rule::Labels;
use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::web::api::Body;
use crate::web::api::query::read;
use crate::web::chart::POINTS_MAX;
use crate::web::chart::plot::{CURVES_MAX, Curve};
use crate::web::pages::explore::{self as pages, Form, Found, GROUPS_MAX, Group, Model, Show};
use crate::web::pages::slos::group_words;
use crate::web::problem::Problem;
use crate::web::query::{Answer, Ask, Line, Point};

/// An answer that takes longer is not waited for.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Steps that a chosen step makes, at most.
const STEPS_WANTED: i64 = 200;

pub async fn page(site: Site, query: Query) -> Response {
    let text = |name: &str| query.get(name).unwrap_or_default().trim().to_owned();
    let form = Form {
        metric: text("metric"),
        filter: text("where"),
        by: query.all("by").iter().map(|name| name.trim()).collect::<Vec<_>>().join(", "),
        from: text("from"),
        to: text("to"),
        step: text("step"),
        show: Show::parse(query.get("show").unwrap_or_default()),
    };
    let found = if form.metric.is_empty() { None } else { Some(ask(&site, &form).await.map_err(|problem| problem.detail().to_owned())) };
    let snapshot = site.state.snapshot.load_full();
    let model = Model {
        form,
        metrics: metrics(&snapshot),
        dimensions: site.state.config.aggregation.dimensions.clone(),
        found,
        measured_to: snapshot.watermark,
        now: site.now,
    };
    site.show(Ok(pages::page(&model))).await
}

/// The fixed metrics, and the custom ones that objectives count.
fn metrics(snapshot: &Snapshot) -> Vec<String> {
    let mut custom: BTreeSet<String> = BTreeSet::new();
    for slo in &snapshot.rules.slos {
        for (selector, _) in slo.sli.inputs() {
            if let Metric::Custom(_) = selector.metric {
                custom.insert(selector.metric.to_string());
            }
        }
    }
    Metric::NAMES.iter().map(|name| (*name).to_owned()).chain(custom).collect()
}

/// The form as a body of `POST /v1/query`.
fn body(form: &Form) -> Result<Value, Problem> {
    let mut question = Map::new();
    question.insert("metric".into(), json!(form.metric));
    let mut conditions = Map::new();
    for line in form.filter.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once('=').ok_or_else(|| Problem::bad(format!("`{line}` is no condition; write dimension=value")))?;
        let pattern = value.trim_start_matches('!').starts_with('/');
        let value =
            if value.contains(',') && !pattern { json!(value.split(',').map(str::trim).collect::<Vec<_>>()) } else { json!(value.trim()) };
        conditions.insert(name.trim().to_owned(), value);
    }
    if !conditions.is_empty() {
        question.insert("where".into(), Value::Object(conditions));
    }
    let by: Vec<&str> = form.by.split([',', ' ']).filter(|name| !name.is_empty()).collect();
    if !by.is_empty() {
        question.insert("by".into(), json!(by));
    }
    for (name, value) in [("from", &form.from), ("to", &form.to), ("step", &form.step)] {
        if !value.is_empty() && value != "now" {
            question.insert(name.into(), json!(value));
        }
    }
    if let Some(quantile) = form.show.quantile() {
        question.insert("quantiles".into(), json!([quantile]));
    }
    Ok(Value::Object(question))
}

/// A round step that makes a readable chart of a span.
fn step_of(span: Span, bucket: Span) -> Span {
    let round = [1, 5, 15, 60, 360, 1_440].map(Span::minutes);
    let fits = |step: &Span| step.millis() % bucket.millis().max(1) == 0 && span.millis() / step.millis() <= STEPS_WANTED;
    let fine = [bucket].into_iter().filter(|_| span.millis() / bucket.millis().max(1) <= STEPS_WANTED);
    fine.chain(round).find(fits).unwrap_or_else(|| Span(Span::DAY.millis() * (span.millis() / Span::DAY.millis() / STEPS_WANTED + 1)))
}

async fn ask(site: &Site, form: &Form) -> Result<Found, Problem> {
    let config = &site.state.config.aggregation;
    let mut question = body(form)?;
    let mut ask = read(&Body(question.clone()), &config.dimensions, config.bucket, site.now)?;
    let step = ask.step.unwrap_or_else(|| step_of(ask.to - ask.from, config.bucket));
    // Whole steps: history is kept in slices, and half of one cannot be told.
    (ask.from, ask.to) = (ask.from.floor(step), ask.to.ceil(step));
    if (ask.to - ask.from).millis() / step.millis() > POINTS_MAX as i64 {
        return Err(Problem::bad(format!("a page draws at most {POINTS_MAX} steps; use a longer step, or ask the API")));
    }
    let whole = answer(site, Ask { step: None, ..ask.clone() }).await?;
    let (groups, all) = groups(whole);
    let lines = answer(site, Ask { step: Some(step), ..ask.clone() }).await?;
    if let Value::Object(fields) = &mut question {
        fields.insert("from".into(), json!(ask.from));
        fields.insert("to".into(), json!(ask.to));
        fields.insert("step".into(), json!(step.to_string()));
    }
    let curves = curves(&groups, &lines.series, (ask.from, ask.to), step, form.show);
    let json = serde_json::to_string_pretty(&question).unwrap_or_default();
    Ok(Found { metric: ask.metric, from: ask.from, to: ask.to, step, groups, all, curves, json })
}

async fn answer(site: &Site, ask: Ask) -> Result<Answer, Problem> {
    match tokio::time::timeout(TIMEOUT, site.state.query.ask(ask)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::bad("stored history did not answer within 5 s; ask for a shorter span or fewer groups")),
    }
}

/// The groups with the most events, and how many there are.
fn groups(whole: Answer) -> (Vec<Group>, usize) {
    let all = whole.series.len();
    let mut groups: Vec<Group> =
        whole.series.into_iter().filter_map(|line| Some(Group { labels: line.labels, whole: line.points.into_iter().next()? })).collect();
    groups.sort_by(|a, b| b.whole.total.total_cmp(&a.whole.total).then_with(|| a.labels.cmp(&b.labels)));
    groups.truncate(GROUPS_MAX);
    (groups, all)
}

fn curves(groups: &[Group], lines: &[Line], (from, to): (Timestamp, Timestamp), step: Span, show: Show) -> Vec<Curve> {
    let steps = usize::try_from((to - from).millis() / step.millis()).unwrap_or(0);
    let by_labels: BTreeMap<&Labels, &Vec<Point>> = lines.iter().map(|line| (&line.labels, &line.points)).collect();
    let curve = |group: &Group| {
        let mut values = vec![None; steps];
        for point in by_labels.get(&group.labels).into_iter().flat_map(|points| points.iter()) {
            let slot = usize::try_from((point.at - from).millis() / step.millis()).ok().and_then(|at| values.get_mut(at));
            if let Some(slot) = slot {
                *slot = show.of(point);
            }
        }
        Curve { name: if group.labels.is_empty() { "all".into() } else { group_words(&group.labels) }, values }
    };
    groups.iter().take(CURVES_MAX).map(curve).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_asks_what_the_api_would_be_asked() {
        let form = Form {
            metric: "request".into(),
            filter: "app=shop\nstatus = 5xx\nregion=eu,us\nroute=/\\/a{1,2}/".into(),
            by: "region release".into(),
            from: "-6h".into(),
            to: "now".into(),
            step: "5m".into(),
            show: Show::P95,
        };
        assert_eq!(
            body(&form).unwrap(),
            json!({ "metric": "request", "where": { "app": "shop", "status": "5xx", "region": ["eu", "us"], "route": "/\\/a{1,2}/" },
                "by": ["region", "release"], "from": "-6h", "step": "5m", "quantiles": [0.95] })
        );
        assert!(body(&Form { filter: "shop".into(), ..form }).unwrap_err().detail().contains("no condition"));
    }

    #[test]
    fn a_chosen_step_is_round_and_whole_buckets() {
        for (span, bucket, step) in [
            (Span::HOUR, Span::MINUTE, Span::MINUTE),
            (Span::minutes(30), Span::seconds(10), Span::seconds(10)),
            (Span::HOUR, Span::seconds(10), Span::MINUTE),
            (Span::hours(24), Span::MINUTE, Span::minutes(15)),
            (Span::days(7), Span::MINUTE, Span::HOUR),
            (Span::days(30), Span::MINUTE, Span::hours(6)),
            (Span::days(400), Span::MINUTE, Span::days(3)),
        ] {
            assert_eq!(step_of(span, bucket), step, "{span} of {bucket}");
        }
    }

    #[test]
    fn a_step_without_a_point_stays_a_gap() {
        let group = Group { labels: Labels::new(), whole: Point::default() };
        let point = |minute: i64, total: f64| Point { at: Timestamp(minute * 60_000), total, ..Point::default() };
        let line = Line { labels: Labels::new(), points: vec![point(0, 5.0), point(2, 0.0)] };
        let curves = curves(&[group], &[line], (Timestamp(0), Timestamp(180_000)), Span::MINUTE, Show::Total);
        assert_eq!(curves[0].values, [Some(5.0), None, Some(0.0)]);
    }
}
