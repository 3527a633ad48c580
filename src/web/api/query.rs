//! `POST /v1/query`: sums, users and quantiles per step and group.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use serde_json::{Value, json};

use super::{Answer, Body};
use crate::domain::filter::{Filter, Match};
use crate::domain::metric::Metric;
use crate::domain::time::{Span, Timestamp};
use crate::web::problem::Problem;
use crate::web::query::Ask;
use crate::web::state::State;

const POINTS_MAX: i64 = 10_000;
const BY_MAX: usize = 5;
const QUANTILES_MAX: usize = 10;

pub async fn query(Take(state): Take<Arc<State>>, body: Body) -> Answer {
    let config = &state.config.aggregation;
    let ask = read(&body, &config.dimensions, config.bucket, state.clock.now())?;
    let answer = state.query.ask(ask).await?;
    Ok(Json(json!(answer)))
}

/// The question, or what is wrong with it. Without `to` it ends now, without `from` an hour before.
pub fn read(body: &Body, dimensions: &[String], bucket: Span, now: Timestamp) -> Result<Ask, Problem> {
    body.only(&["metric", "where", "from", "to", "step", "by", "quantiles"])?;
    let name = body.text("metric", 100)?.ok_or_else(|| Problem::bad("`metric` is missing"))?;
    let metric = Metric::parse(&name)
        .ok_or_else(|| Problem::bad(format!("`{name}` is no metric; there are {}, custom:<name>", Metric::NAMES.join(", "))))?;
    let known: BTreeSet<&str> = dimensions.iter().map(String::as_str).chain(metric.own_dimensions().iter().copied()).collect();
    let check = |dimension: &str| {
        if known.contains(dimension) {
            return Ok(());
        }
        let names = known.iter().copied().collect::<Vec<_>>().join(", ");
        Err(Problem::bad(format!("`{metric}` has no dimension `{}`; it has {names}", crate::web::text::clip(dimension, 60))))
    };
    let mut filter = Filter::default();
    match body.0.get("where") {
        None | Some(Value::Null) => {}
        Some(Value::Object(conditions)) => {
            for (dimension, condition) in conditions {
                check(dimension)?;
                filter.0.insert(dimension.clone(), read_condition(dimension, condition)?);
            }
        }
        Some(_) => return Err(Problem::bad("`where` has to be an object, like {\"app\": \"shop\"}")),
    }
    let by = texts(body, "by", BY_MAX)?;
    for dimension in &by {
        check(dimension)?;
    }
    let to = moment(body, "to", now)?.unwrap_or(now);
    let from = moment(body, "from", now)?.unwrap_or(to - Span::HOUR);
    if from >= to {
        return Err(Problem::bad("`from` has to be before `to`"));
    }
    let step = body.text("step", 20)?.map(|step| step.parse::<Span>().map_err(|error| Problem::bad(error.to_string()))).transpose()?;
    if let Some(step) = step {
        if step.millis() <= 0 || step.millis() % bucket.millis() != 0 {
            return Err(Problem::bad(format!("`step` has to be a whole number of buckets of {bucket}")));
        }
        if (to - from).millis() / step.millis() > POINTS_MAX {
            return Err(Problem::bad(format!("that would be more than {POINTS_MAX} points a series; use a longer `step`")));
        }
    }
    let quantiles = match body.0.get("quantiles") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(list)) if list.len() <= QUANTILES_MAX => list
            .iter()
            .map(|one| one.as_f64().filter(|q| (0.0..=1.0).contains(q)).ok_or_else(|| Problem::bad("`quantiles` are numbers from 0 to 1")))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(Problem::bad(format!("`quantiles` is a list of at most {QUANTILES_MAX} numbers"))),
    };
    Ok(Ask { metric, filter, from, to, step, by, quantiles, limit: None })
}

fn moment(body: &Body, name: &str, now: Timestamp) -> Result<Option<Timestamp>, Problem> {
    // `-1h` counts back from now.
    if let Some(Value::String(text)) = body.0.get(name)
        && let Some(back) = text.strip_prefix('-')
    {
        return back.parse::<Span>().map(|span| Some(now - span)).map_err(|error| Problem::bad(error.to_string()));
    }
    body.time(name)
}

fn read_condition(dimension: &str, value: &Value) -> Result<Match, Problem> {
    let shown = crate::web::text::clip(dimension, 60);
    match value {
        Value::String(text) => Match::parse(text).map_err(|error| Problem::bad(format!("`where.{shown}`: {error}"))),
        Value::Array(list) if list.len() <= 100 => list
            .iter()
            .map(|one| one.as_str().map(str::to_owned))
            .collect::<Option<Vec<_>>>()
            .map(Match::AnyOf)
            .ok_or_else(|| Problem::bad(format!("`where.{shown}` has to hold texts"))),
        _ => Err(Problem::bad(format!("`where.{shown}` has to be a text or a list of at most 100 texts"))),
    }
}

fn texts(body: &Body, name: &str, max: usize) -> Result<Vec<String>, Problem> {
    match body.0.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= max => list
            .iter()
            .map(|one| one.as_str().map(str::to_owned).ok_or_else(|| Problem::bad(format!("`{name}` has to hold texts"))))
            .collect(),
        Some(_) => Err(Problem::bad(format!("`{name}` has to be a list of at most {max} texts"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(json: Value) -> Result<Ask, Problem> {
        read(&Body(json), &["app".into(), "region".into()], Span::MINUTE, Timestamp(7_200_000))
    }

    #[test]
    fn a_question_is_read_with_its_defaults() {
        let read = ask(json!({ "metric": "lcp", "where": { "app": "shop", "region": ["de", "at"] }, "by": ["region"], "quantiles": [0.5, 0.95], "step": "5m" })).unwrap();
        assert_eq!((read.from, read.to, read.step), (Timestamp(3_600_000), Timestamp(7_200_000), Some(Span::minutes(5))));
        assert_eq!(read.by, ["region"]);
        assert_eq!(ask(json!({ "metric": "request", "from": "-30m", "where": { "status": "5xx" } })).unwrap().from, Timestamp(5_400_000));
    }

    #[test]
    fn a_question_that_cannot_be_answered_says_why() {
        for (bad, word) in [
            (json!({}), "metric"),
            (json!({ "metric": "lpc" }), "no metric"),
            (json!({ "metric": "lcp", "where": { "planet": "x" } }), "planet"),
            (json!({ "metric": "lcp", "by": ["planet"] }), "planet"),
            (json!({ "metric": "lcp", "where": { "app": 5 } }), "where.app"),
            (json!({ "metric": "lcp", "where": { "app": "/(/" } }), "where.app"),
            (json!({ "metric": "lcp", "step": "90s" }), "bucket"),
            (json!({ "metric": "lcp", "step": "1m", "from": 0 , "to": 720000000 }), "points"),
            (json!({ "metric": "lcp", "from": 5, "to": 5 }), "before"),
            (json!({ "metric": "lcp", "quantiles": [2] }), "quantiles"),
            (json!({ "metric": "lcp", "group": [] }), "group"),
        ] {
            let problem = ask(bad.clone()).unwrap_err();
            assert!(problem.detail().contains(word), "{bad}: {}", problem.detail());
        }
    }
}
