//! Whether the process lives, whether it does its work, and its metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::domain::snapshot::Snapshot;
use crate::domain::time::{Span, Timestamp};
use crate::web::state::State;

/// The process answers.
pub async fn healthz() -> Response {
    Json(json!({ "status": "ok" })).into_response()
}

/// Database, rules and evaluations, each with what is wrong.
pub async fn readyz(Take(state): Take<Arc<State>>) -> Response {
    let now = state.clock.now();
    let database = state.store.ping().await.err().map(|error| error.to_string());
    let snapshot = state.snapshot.load_full();
    let config = &state.config.aggregation;
    let evaluations = late(&snapshot, now, config.bucket, config.settle);
    let rules = snapshot.rules_since.is_none().then(|| "no rule set has taken effect yet".to_owned());
    let ready = database.is_none() && evaluations.is_none() && rules.is_none();
    let said = |problem: Option<String>| problem.unwrap_or_else(|| "ok".into());
    let body = json!({
        "ready": ready, "database": said(database), "rules": said(rules), "evaluations": said(evaluations),
        "evaluated_at": snapshot.evaluated_at, "revision": snapshot.rules.revision,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Why evaluations are not on time.
fn late(snapshot: &Snapshot, now: Timestamp, bucket: Span, settle: Span) -> Option<String> {
    let Some(at) = snapshot.evaluated_at else { return Some("nothing has been evaluated yet".into()) };
    let allowed = bucket + bucket + settle + Span::MINUTE;
    (now - at > allowed).then(|| format!("the last evaluation was at {at}, {} ago", crate::web::number::duration(now - at)))
}

/// In the text format of Prometheus.
pub async fn metrics(Take(state): Take<Arc<State>>) -> Response {
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"));
    ([kind], state.metrics.render()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_means_that_evaluations_are_on_time() {
        let now = Timestamp(10_000_000);
        let at = |evaluated_at| late(&Snapshot { evaluated_at, ..Snapshot::default() }, now, Span::MINUTE, Span::seconds(30));
        assert!(at(None).is_some());
        assert!(at(Some(now - Span::seconds(100))).is_none());
        assert!(at(Some(now - Span::minutes(10))).is_some());
    }
}
