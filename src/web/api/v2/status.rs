//! Status, receivers, and whether the daemon is up, as Alertmanager says it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::super::health;
use super::time;
use crate::domain::alertmanager;
use crate::domain::posted::RESOLVE_TIMEOUT;
use crate::web::state::State;

/// The version of Alertmanager whose API this is. amtool warns at every call about one that differs from its own.
const SPEAKS: &str = "0.25.0";

/// `GET /api/v2/status`: the routes as a configuration of Alertmanager. There is no cluster of its kind:
/// replicas share a database.
pub async fn status(Take(state): Take<Arc<State>>) -> Json<Value> {
    let rules = state.snapshot.load().rules.clone();
    let original = alertmanager::config(&rules, rules.resolve_timeout.unwrap_or(RESOLVE_TIMEOUT));
    Json(json!({
        "cluster": { "status": "disabled", "peers": [] },
        "config": { "original": original },
        "uptime": time(state.started_at),
        "versionInfo": {
            "branch": concat!("burnwatch-", env!("CARGO_PKG_VERSION")), "buildDate": "", "buildUser": "", "goVersion": "",
            "revision": rules.revision, "version": SPEAKS,
        },
    }))
}

/// `GET /api/v2/receivers`.
pub async fn receivers(Take(state): Take<Arc<State>>) -> Json<Vec<Value>> {
    let rules = state.snapshot.load().rules.clone();
    Json(rules.receivers.iter().map(|receiver| json!({ "name": receiver.name })).collect())
}

/// `/-/healthy`: the process answers.
pub async fn healthy() -> &'static str {
    "OK"
}

/// `/-/ready`: alerts can be stored.
pub async fn ready(Take(state): Take<Arc<State>>) -> (StatusCode, &'static str) {
    match health::can_store(&state).await {
        true => (StatusCode::OK, "OK"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "the database does not answer"),
    }
}
