//! Incidents: the list, one with its history, and what people do to it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::slos::merge;
use super::{Answer, Body, Params, items, note};
use crate::domain::desk::Desk;
use crate::domain::incident::{Incident, Input};
use crate::domain::notification::Status;
use crate::domain::rule::Severity;
use crate::domain::time::{Span, Timestamp};
use crate::store::{events, incidents, transition};
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

/// Longest note.
pub const NOTE_CHARS_MAX: usize = 4_000;
/// Longest name of an owner, and longest reason for a change by hand.
pub const OWNER_CHARS_MAX: usize = 100;
pub const WHY_CHARS_MAX: usize = 500;
/// Longest snooze.
const SNOOZE_MAX: Span = Span::days(30);

pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let filter = incidents::Filter {
        status: params.one_of("status", &["open", "acknowledged", "resolved"])?,
        severity: params.one_of("severity", &["page", "ticket", "info"])?,
        service: params.get("service").map(str::to_owned),
        from: None,
        to: None,
        q: params.get("q").map(str::to_owned),
        rule: None,
    };
    let mut tx = state.store.read().await?;
    let (rows, next) = incidents::list(&mut tx, &filter, params.get("cursor"), params.limit()?).await?;
    let views = rows.iter().map(|row| Ok(json_of(&state, &transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    Ok(items(&views, next))
}

/// The incident as its payload shows it, and what belongs to no payload.
pub fn json_of(state: &State, incident: &Incident) -> Value {
    let mut json = json!(incident.view(state.public_url()));
    let Incident { acknowledged_by, snoozed_until, parent, children, by_hand, .. } = incident;
    merge(&mut json, json!({ "acknowledged_by": acknowledged_by, "snoozed_until": snoozed_until, "parent": parent, "children": children }));
    let severity = by_hand.severity.as_ref().map(|chosen| json!({ "severity": chosen.severity, "by": chosen.by }));
    merge(&mut json, json!({ "by_hand": { "owner": by_hand.owner, "severity": severity } }));
    json
}

/// An incident with its history, oldest first.
pub async fn with_history(state: &State, id: &str) -> Result<Value, Problem> {
    let mut tx = state.store.read().await?;
    let row = incidents::get(&mut tx, id).await?.ok_or_else(|| Problem::unknown("incident", id))?;
    let history: Vec<Value> = events::list(&mut tx, id)
        .await?
        .iter()
        .map(|event| json!({ "at": event.at, "kind": event.kind, "who": event.who, "text": event.text }))
        .collect();
    let mut json = json_of(state, &transition::read(&row)?);
    merge(&mut json, json!({ "history": history }));
    Ok(json)
}

pub async fn one(Take(state): Take<Arc<State>>, Path(id): Path<String>) -> Answer {
    Ok(Json(with_history(&state, &id).await?))
}

/// `POST /v1/incidents/{id}/{ack|unack|resolve|snooze|note|owner|severity}`.
pub async fn act(Take(state): Take<Arc<State>>, visitor: Visitor, Path((id, action)): Path<(String, String)>, body: Body) -> Answer {
    let now = state.clock.now();
    // What silences call a comment is one here, too.
    let text = body.text("text", NOTE_CHARS_MAX)?.or(body.text("comment", NOTE_CHARS_MAX)?);
    let by = visitor.reader.name.clone();
    let input = match action.as_str() {
        "ack" => {
            body.only(&["text", "comment"])?;
            Input::Acknowledge { by: by.clone() }
        }
        "unack" => {
            body.only(&[])?;
            Input::Unacknowledge { by: by.clone() }
        }
        "resolve" => {
            body.only(&["text", "comment", "reason", "why"])?;
            let reason = body.text("reason", 500)?.or(body.text("why", 500)?);
            Input::Resolve { by: by.clone(), why: reason.or_else(|| text.clone()).unwrap_or_default() }
        }
        "snooze" => {
            body.only(&["text", "comment", "for", "until"])?;
            let span =
                body.text("for", 40)?.map(|span| span.parse::<Span>().map_err(|error| Problem::bad(error.to_string()))).transpose()?;
            let until = match (body.time("until")?, span) {
                (Some(until), None) => until,
                (None, Some(span)) => now + span,
                (Some(_), Some(_)) | (None, None) => return Err(Problem::bad("say `for` (like \"1h\") or `until` (a time), one of them")),
            };
            Input::Snooze { by: by.clone(), until: checked_snooze(until, now)? }
        }
        "note" => {
            body.only(&["text", "comment"])?;
            Input::Note { by: by.clone(), text: text.clone().ok_or_else(|| Problem::bad("`text` is missing: what is to be noted?"))? }
        }
        "owner" => {
            body.only(&["owner", "why"])?;
            let owner = body.text("owner", OWNER_CHARS_MAX)?.unwrap_or_default();
            Input::HandOver { by: by.clone(), owner: checked_owner(&owner)?, why: body.text("why", WHY_CHARS_MAX)?.unwrap_or_default() }
        }
        "severity" => {
            body.only(&["severity", "why"])?;
            let severity = body.text("severity", 10)?.unwrap_or_default();
            let why = body.text("why", WHY_CHARS_MAX)?.unwrap_or_default();
            Input::SetSeverity { by: by.clone(), severity: checked_severity(&severity)?, why }
        }
        _ => return Err(Problem::unknown("action", &action)),
    };
    let comment = text.filter(|_| matches!(input, Input::Acknowledge { .. } | Input::Snooze { .. }));
    let incident = apply(&state, &visitor, &id, input, comment, now).await?;
    Ok(Json(json_of(&state, &incident)))
}

/// An owner, if it can be one.
pub fn checked_owner(owner: &str) -> Result<String, Problem> {
    let owner = owner.trim();
    if owner.is_empty() || owner.chars().count() > OWNER_CHARS_MAX || owner.chars().any(char::is_control) {
        return Err(Problem::bad(format!("say who the `owner` is: 1 to {OWNER_CHARS_MAX} characters in one line")));
    }
    Ok(owner.to_owned())
}

/// A severity; `auto` is the alerts' own.
pub fn checked_severity(severity: &str) -> Result<Option<Severity>, Problem> {
    match severity {
        "page" => Ok(Some(Severity::Page)),
        "ticket" => Ok(Some(Severity::Ticket)),
        "info" => Ok(Some(Severity::Info)),
        "auto" => Ok(None),
        _ => Err(Problem::bad("`severity` is page, ticket, info, or auto (what its alerts say)")),
    }
}

/// The end of a snooze, if it is one.
pub fn checked_snooze(until: Timestamp, now: Timestamp) -> Result<Timestamp, Problem> {
    if until <= now {
        return Err(Problem::bad("a snooze that ends before now would do nothing"));
    }
    if until - now > SNOOZE_MAX {
        return Err(Problem::bad("a snooze lasts 30 days at most; use a silence for longer"));
    }
    Ok(until)
}

/// Does it, with its history, its notifications and its line in the audit, in one durable transaction.
pub async fn apply(
    state: &State,
    visitor: &Visitor,
    id: &str,
    input: Input,
    comment: Option<String>,
    now: Timestamp,
) -> Result<Incident, Problem> {
    let (action, detail) = match &input {
        Input::Acknowledge { .. } => ("acknowledge", json!({})),
        Input::Unacknowledge { .. } => ("take acknowledgement back", json!({})),
        Input::Snooze { until, .. } => ("snooze", json!({ "until": until })),
        Input::Resolve { why, .. } => ("resolve", json!({ "why": why })),
        Input::Note { .. } => ("note", json!({})),
        Input::HandOver { owner, why, .. } => ("hand over", json!({ "owner": owner, "why": why })),
        Input::SetSeverity { severity, why, .. } => ("set severity", json!({ "severity": severity, "why": why })),
        Input::AlertOpened(_)
        | Input::AlertMoved { .. }
        | Input::AlertUnconfirmed { .. }
        | Input::AlertEnded { .. }
        | Input::AlertRefreshed { .. }
        | Input::Posted { .. }
        | Input::Explained { .. }
        | Input::Tick => return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "this is no action of a person")),
    };
    let desk = Desk::new(state.snapshot.load().rules.clone());
    let decides = matches!(input, Input::HandOver { .. } | Input::SetSeverity { .. });
    let mut tx = state.store.write_durable().await?;
    if decides && incidents::get_for_update(&mut tx, id).await?.is_some_and(|row| row.status == Status::Resolved.name()) {
        return Err(Problem::new(StatusCode::CONFLICT, "it is resolved: neither owner nor severity matter to anybody now"));
    }
    let (incident, _) =
        transition::apply(&mut tx, &desk, id, input, now, state.public_url()).await?.ok_or_else(|| Problem::unknown("incident", id))?;
    if let Some(text) = comment {
        transition::apply(&mut tx, &desk, id, Input::Note { by: visitor.reader.name.clone(), text }, now, state.public_url()).await?;
    }
    note(&mut tx, visitor, now, action, &format!("incident {id}"), detail).await?;
    tx.commit().await?;
    state.changed();
    Ok(incident)
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::web::fixture::house::{House, MIRA, read, request};

    async fn call(house: &House, action: &str, body: Value) -> (StatusCode, Value) {
        let token = format!("Bearer {MIRA}");
        let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
        let request = request(Method::POST, &format!("/v1/incidents/4127/{action}"), &headers, &body.to_string());
        let (status, _, body) = read(house.send(request).await).await;
        (status, serde_json::from_str(&body).unwrap())
    }

    #[tokio::test]
    async fn a_comment_is_noted_like_a_text() {
        let house = House::new(true, false).await;
        assert_eq!(call(&house, "ack", json!({ "comment": "on my way" })).await.0, StatusCode::OK);
        assert_eq!(call(&house, "note", json!({ "comment": "rolled back" })).await.0, StatusCode::OK);
        let token = format!("Bearer {MIRA}");
        let asked = request(Method::GET, "/v1/incidents/4127", &[("authorization", &token)], "");
        let (_, _, page) = read(house.send(asked).await).await;
        let history = serde_json::from_str::<Value>(&page).unwrap()["history"].to_string();
        assert!(history.contains("on my way") && history.contains("rolled back"), "{history}");
    }

    #[tokio::test]
    async fn a_person_sets_owner_and_severity_and_the_history_says_so() {
        let house = House::new(true, false).await;
        let (status, json) = call(&house, "owner", json!({ "owner": "team-db", "why": "disk full" })).await;
        assert_eq!((status, json["owner"].as_str(), json["by_hand"]["owner"].as_str()), (StatusCode::OK, Some("team-db"), Some("team-db")));
        let (_, json) = call(&house, "severity", json!({ "severity": "info", "why": "nobody is hit" })).await;
        assert_eq!((json["severity"].as_str(), json["by_hand"]["severity"]["by"].as_str()), (Some("info"), Some("mira")));
        let (_, json) = call(&house, "severity", json!({ "severity": "auto" })).await;
        assert_eq!((json["severity"].as_str(), &json["by_hand"]["severity"]), (Some("page"), &Value::Null));
        for (action, body) in [
            ("owner", json!({})),
            ("owner", json!({ "owner": " " })),
            ("owner", json!({ "owner": "a\nb" })),
            ("severity", json!({})),
            ("severity", json!({ "severity": "loud" })),
            ("severity", json!({ "level": "page" })),
        ] {
            assert_eq!(call(&house, action, body.clone()).await.0, StatusCode::BAD_REQUEST, "{action} {body}");
        }
        let token = format!("Bearer {MIRA}");
        let asked = request(Method::GET, "/v1/incidents/4127", &[("authorization", &token)], "");
        let (_, _, page) = read(house.send(asked).await).await;
        let history = serde_json::from_str::<Value>(&page).unwrap()["history"].to_string();
        assert!(
            history.contains("to team-db by mira: disk full") && history.contains("severity left to its alerts again by mira"),
            "{history}"
        );
        let (_, _, form) = House::new(false, false).await.get("/incidents/4127/assign").await;
        assert!(form.contains("/incidents/4127/severity") && form.contains("/incidents/4127/owner"), "{form}");
        call(&house, "resolve", json!({})).await;
        assert_eq!(call(&house, "severity", json!({ "severity": "page" })).await.0, StatusCode::CONFLICT);
        assert_eq!(call(&house, "owner", json!({ "owner": "x" })).await.0, StatusCode::CONFLICT);
    }
}
