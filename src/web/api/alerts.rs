//! `GET /v1/alerts`: one entry per alert that is not idle.

use std::sync::Arc;

use axum::extract::State as Take;
use serde_json::{Value, json};

use super::{Answer, PHASES, Params, slice};
use crate::web::state::State;

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let snapshot = state.snapshot.load_full();
    let states = params.one_of("state", &PHASES)?;
    let (severities, rule) = (params.one_of("severity", &["page", "ticket", "info"])?, params.get("rule"));
    let rows: Vec<Value> = snapshot
        .alerts
        .iter()
        .filter(|alert| states.is_empty() || states.iter().any(|state| state == alert.phase.name()))
        .filter(|alert| {
            severities.is_empty() || alert.severity.is_some_and(|severity| severities.iter().any(|name| name == severity.name()))
        })
        .filter(|alert| rule.is_none_or(|rule| alert.rule == rule))
        .map(|alert| {
            json!({
                "rule": alert.rule, "state": alert.phase, "severity": alert.severity, "labels": alert.labels, "since": alert.since,
                "values": alert.values, "reason": alert.reason, "incident": alert.incident,
            })
        })
        .collect();
    slice(&rows, &params)
}
