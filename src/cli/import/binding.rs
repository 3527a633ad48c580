//! Bindings: how a source says which metric of burnwatch its query means.
//!
//! Other formats ask Prometheus or a vendor; burnwatch asks its own aggregates, so a query has a meaning here only where the
//! source names one: a metric source of type `burnwatch` in OpenSLO, the plugin `burnwatch` in Sloth, or annotations
//! `burnwatch.dev/…`. `metric` is a metric, `limit` or `below` a limit for its values, everything else a condition of `where`.

use std::collections::BTreeMap;

use super::document::Node;
use crate::domain::cell::Limit;
use crate::domain::filter::{Filter, Match};
use crate::domain::metric::Metric;
use crate::domain::rule::{Selector, Sli};

/// The name of the plugin and the type of the metric source.
pub const NAME: &str = "burnwatch";
/// Prefix of annotations.
pub const PREFIX: &str = "burnwatch.dev/";

/// The dimensions of a configuration that does not set its own.
const DIMENSIONS: [&str; 10] = ["app", "environment", "route", "region", "device", "browser", "os", "release", "cohort", "sdk"];

/// Whether the metrics of an SLI have a dimension.
pub fn is_dimension(sli: &Sli, name: &str) -> bool {
    sli.inputs().iter().all(|(selector, _)| has(&selector.metric, name))
}

fn has(metric: &Metric, name: &str) -> bool {
    DIMENSIONS.contains(&name) || metric.own_dimensions().contains(&name)
}

/// A binding in one flat map: `{ metric: request, app: shop, limit: 300 }`.
pub fn flat(node: &Node<'_>) -> Result<Sli, String> {
    let mut limit = None;
    let mut metric = None;
    let mut filter = BTreeMap::new();
    for (name, value) in node.entries() {
        match name.as_str() {
            "metric" => metric = value.text(),
            "limit" | "below" => limit = Some(self::limit(&value.text().unwrap_or_default(), name == "limit")?),
            _ => {
                filter.insert(name.clone(), condition(&value)?);
            }
        }
    }
    sli(&metric.unwrap_or_default(), Filter(filter), limit)
}

/// A binding in annotations: `burnwatch.dev/metric`, `/where` as `app=shop,route=/cart`, `/limit` or `/below`. `None` without a metric.
pub fn annotated(annotations: &Node<'_>) -> Option<Result<Sli, String>> {
    let get = |name: &str| {
        let node = annotations.get(&format!("{PREFIX}{name}"));
        node.mapped("sli");
        node.text()
    };
    let metric = get("metric")?;
    let (place, least, most) = (get("where").unwrap_or_default(), get("limit"), get("below"));
    let read = || {
        let limit = match (least, most) {
            (Some(text), _) => Some(limit(&text, true)?),
            (None, Some(text)) => Some(limit(&text, false)?),
            (None, None) => None,
        };
        let mut filter = BTreeMap::new();
        for pair in place.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| format!("`{pair}` is no condition; write dimension=value"))?;
            filter.insert(name.trim().to_owned(), Match::parse(value.trim()).map_err(|error| error.to_string())?);
        }
        sli(&metric, Filter(filter), limit)
    };
    Some(read())
}

/// One side of a ratio: `{ metric: …, where: {…} }`.
pub fn selector(spec: &Node<'_>) -> Result<Selector, String> {
    let metric = metric(&spec.get("metric").text().unwrap_or_default())?;
    let mut filter = BTreeMap::new();
    for (name, value) in spec.get("where").entries() {
        filter.insert(name, condition(&value)?);
    }
    let filter = Filter(filter);
    check(&metric, &filter)?;
    Ok(Selector { metric, filter })
}

fn sli(name: &str, filter: Filter, limit: Option<Limit>) -> Result<Sli, String> {
    let metric = metric(name)?;
    check(&metric, &filter)?;
    held(metric, filter, limit)
}

/// An SLI on a metric: against a limit, or by what is bad of itself.
pub fn held(metric: Metric, filter: Filter, limit: Option<Limit>) -> Result<Sli, String> {
    match limit {
        Some(_) if !metric.has_values() => Err(format!("`{metric}` has no values to hold against a limit")),
        Some(limit) => Ok(Sli::Within { metric, limit, filter }),
        None if !metric.has_bad() => Err(format!("`{metric}` is never bad by itself; give a limit")),
        None => Ok(Sli::Good(Selector { metric, filter })),
    }
}

fn metric(name: &str) -> Result<Metric, String> {
    Metric::parse(name).ok_or_else(|| format!("`{name}` is no metric; known are {} and custom:NAME", Metric::NAMES.join(", ")))
}

fn check(metric: &Metric, filter: &Filter) -> Result<(), String> {
    match filter.0.keys().find(|name| !has(metric, name)) {
        Some(name) => Err(format!("`{metric}` has no dimension `{name}`")),
        None => Ok(()),
    }
}

fn limit(text: &str, inclusive: bool) -> Result<Limit, String> {
    match text.trim().parse::<f64>() {
        Ok(value) if value.is_finite() && value >= 0.0 => Ok(Limit { value, inclusive }),
        Ok(_) | Err(_) => Err(format!("`{text}` is no limit")),
    }
}

fn condition(node: &Node<'_>) -> Result<Match, String> {
    let items: Vec<String> = node.items().iter().filter_map(Node::text).collect();
    if !items.is_empty() {
        return Ok(Match::AnyOf(items));
    }
    match node.text() {
        Some(text) => Match::parse(&text).map_err(|error| error.to_string()),
        None => Err(format!("{} is no condition", node.shown())),
    }
}
