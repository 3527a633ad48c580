//! The rule set in force, and its files.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;

use super::rule::{cost_of, costs_only};
use super::{Query, Site};
use crate::store::rule_sets;
use crate::web::pages::rules::{self as pages, Rules};
use crate::web::problem::Problem;

pub async fn list(site: Site, query: Query) -> Response {
    let snapshot = site.state.snapshot.load_full();
    let free = &snapshot.rules.alerts;
    // Metrics are many where objectives are; they are only looked through where somebody has a cost.
    let metrics = if free.is_empty() { String::new() } else { costs_only(&site.state.metrics.render()) };
    let costs = free.iter().filter_map(|rule| Some((rule.name.clone(), cost_of(&metrics, &rule.name)?))).collect();
    let page = pages::rules(&Rules {
        set: &snapshot.rules,
        since: snapshot.rules_since,
        refused: &snapshot.rules_refused,
        refused_revision: snapshot.rules_refused_revision.as_deref(),
        source: &snapshot.rules_source,
        unreachable: snapshot.rules_unreachable.as_deref(),
        alerts: &snapshot.alerts,
        asked: &snapshot.asked,
        evaluated_at: snapshot.evaluated_at,
        took: snapshot.took,
        q: query.get("q").unwrap_or_default(),
        from: query.get("from").and_then(|from| from.parse().ok()).unwrap_or(0),
        costs: &costs,
        now: site.now,
    });
    site.show(Ok(page)).await
}

pub async fn source(site: Site, Path(path): Path<String>, query: Query) -> Response {
    let page = async {
        let snapshot = site.state.snapshot.load_full();
        let mut tx = site.state.store.read().await?;
        let row = rule_sets::get(&mut tx, &snapshot.rules.revision)
            .await?
            .ok_or_else(|| Problem::unknown("revision", &snapshot.rules.revision))?;
        let files: BTreeMap<String, String> = serde_json::from_str(&row.files).unwrap_or_default();
        let text = files.get(&path).ok_or_else(|| Problem::unknown("rule file", &path))?;
        Ok(pages::source(&path, text, query.get("line").and_then(|line| line.parse().ok())))
    };
    let page = page.await;
    site.show(page).await
}
