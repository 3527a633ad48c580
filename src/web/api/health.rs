//! Whether the process lives, whether it does its work, and its metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::warn;

use super::slos::window_name;
use crate::domain::notification::Status;
use crate::domain::rule::Severity;
use crate::domain::snapshot::{SloStatus, Snapshot};
use crate::domain::time::{Span, Timestamp};
use crate::store::{Store, StoreError, incidents, outbox};
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

/// Whether the database takes anything.
pub async fn can_store(state: &State) -> bool {
    state.store.ping().await.is_ok()
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
    let mut text = state.metrics.render();
    let snapshot = state.snapshot.load_full();
    revision(&snapshot, &mut text);
    match stored(&state.store).await {
        Ok((incidents, outbox)) => standing(&incidents, &outbox, state.clock.now(), &mut text),
        // What is in memory is worth having just then; `/readyz` says what is wrong with the database.
        Err(error) => warn!(error = &error as &dyn std::error::Error, "incidents and outbox could not be counted for /metrics"),
    }
    budgets(&snapshot, &mut text);
    ([kind], text).into_response()
}

async fn stored(store: &Store) -> Result<(Vec<(String, String, i64)>, outbox::Counts), StoreError> {
    let mut tx = store.read().await?;
    Ok((incidents::counts(&mut tx).await?, outbox::counts(&mut tx).await?))
}

/// Which rule set is in force: exactly one series.
fn revision(snapshot: &Snapshot, out: &mut String) {
    gauge("burnwatch_rules_revision_info", "The revision of the rule set in force.", out);
    out.push_str(&format!("burnwatch_rules_revision_info{{revision=\"{}\"}} 1\n\n", escape(&snapshot.rules.revision)));
}

/// Incidents and outbox as they are stored; every status and severity is there, also with none.
fn standing(incidents: &[(String, String, i64)], outbox: &outbox::Counts, now: Timestamp, out: &mut String) {
    gauge("burnwatch_incidents", "Incidents by status and severity.", out);
    for status in [Status::Open, Status::Acknowledged, Status::Resolved].map(Status::name) {
        for severity in [Severity::Page, Severity::Ticket, Severity::Info].map(Severity::name) {
            let count: i64 = incidents.iter().filter(|(have, how, _)| have == status && how == severity).map(|(_, _, count)| count).sum();
            out.push_str(&format!("burnwatch_incidents{{status=\"{status}\",severity=\"{severity}\"}} {count}\n"));
        }
    }
    let oldest = outbox.oldest.map_or(0.0, |at| (now - at).as_secs_f64().max(0.0));
    let outbox = [
        ("burnwatch_outbox_pending", "Notifications that are yet to be delivered.", outbox.pending.to_string()),
        (
            "burnwatch_outbox_oldest_seconds",
            "Age of the oldest notification that is yet to be delivered; 0 without one.",
            oldest.to_string(),
        ),
        ("burnwatch_deadletters", "Notifications that failed for good and wait for somebody.", outbox.dead.to_string()),
    ];
    for (name, help, value) in outbox {
        out.push('\n');
        gauge(name, help, out);
        out.push_str(&format!("{name} {value}\n"));
    }
    out.push('\n');
}

fn gauge(name: &str, help: &str, out: &mut String) {
    out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} gauge\n"));
}

/// Where every SLO stands, made when it is asked for: there are many of them, and they change with every evaluation.
fn budgets(snapshot: &Snapshot, out: &mut String) {
    let series: Vec<(&SloStatus, String)> = snapshot.slos.iter().map(|status| (&**status, labels(status))).collect();
    gauge("burnwatch_slo_budget_remaining_ratio", "Fraction of the error budget that is left, signed.", out);
    for (status, labels) in &series {
        if let Some(remaining) = status.budget_remaining {
            out.push_str(&format!("burnwatch_slo_budget_remaining_ratio{{{labels}}} {remaining}\n"));
        }
    }
    out.push('\n');
    gauge("burnwatch_slo_burn_rate", "How many times the budget's pace is burnt over a window.", out);
    for (status, labels) in &series {
        for (window, burn) in status.burn.iter().filter_map(|(window, burn)| Some((window_name(*window), (*burn)?))) {
            out.push_str(&format!("burnwatch_slo_burn_rate{{{labels},window=\"{window}\"}} {burn}\n"));
        }
    }
    out.push('\n');
}

/// `slo="checkout",region="eu"`: names and values as the text format wants them.
fn labels(status: &SloStatus) -> String {
    let mut text = format!("slo=\"{}\"", escape(&status.slo));
    for (name, value) in &status.group {
        let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        // A dimension of the same name must not hide ours.
        let taken = matches!(name.as_str(), "slo" | "window") || name.starts_with(|c: char| c.is_ascii_digit());
        let prefix = if taken { "dimension_" } else { "" };
        text.push_str(&format!(",{prefix}{name}=\"{}\"", escape(value)));
    }
    text
}

fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
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

    #[test]
    fn budgets_and_burns_are_shown_with_hostile_labels_quoted() {
        let group = [("region", "e\"u\n\\"), ("slo", "x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let status = SloStatus {
            group: group.into(),
            budget_remaining: Some(0.25),
            burn: [(Span::minutes(5), None), (Span::HOUR, Some(1.5)), (Span::DAY, Some(0.5))].into_iter().collect(),
            ..crate::web::fixture::status()
        };
        let slo = status.slo.clone();
        let mut text = String::new();
        budgets(&Snapshot { slos: vec![Arc::new(status)], ..Snapshot::default() }, &mut text);
        let labels = format!(r#"slo="{slo}",region="e\"u\n\\",dimension_slo="x""#);
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect();
        let remaining = format!("burnwatch_slo_budget_remaining_ratio{{{labels}}} 0.25");
        let burn = |window: &str, burn: f64| format!("burnwatch_slo_burn_rate{{{labels},window=\"{window}\"}} {burn}");
        assert_eq!(lines, [remaining, burn("1h", 1.5), burn("24h", 0.5)], "windows have the names that they have in /v1/slos");
        assert_eq!(text.lines().filter(|line| line.starts_with("# TYPE ")).count(), 2);
    }

    #[test]
    fn every_status_and_severity_is_counted_also_with_none() {
        let counts = outbox::Counts { pending: 3, oldest: Some(Timestamp(1_000)), due: None, dead: 2 };
        let mut text = String::new();
        standing(&[("open".into(), "page".into(), 4), ("resolved".into(), "info".into(), 7)], &counts, Timestamp(3_500), &mut text);
        let has = |line: &str| assert!(text.lines().any(|have| have == line), "no {line} in\n{text}");
        has(r#"burnwatch_incidents{status="open",severity="page"} 4"#);
        has(r#"burnwatch_incidents{status="acknowledged",severity="ticket"} 0"#);
        has(r#"burnwatch_incidents{status="resolved",severity="info"} 7"#);
        has("burnwatch_outbox_pending 3");
        has("burnwatch_outbox_oldest_seconds 2.5");
        has("burnwatch_deadletters 2");
        assert_eq!(text.matches("burnwatch_incidents{").count(), 9);
    }
}
