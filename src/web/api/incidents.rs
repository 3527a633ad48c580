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
use crate::domain::time::{Span, Timestamp};
use crate::store::{events, incidents, transition};
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

/// Longest note.
pub const NOTE_CHARS_MAX: usize = 4_000;
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
    };
    let mut tx = state.store.read().await?;
    let (rows, next) = incidents::list(&mut tx, &filter, params.get("cursor"), params.limit()?).await?;
    let views = rows.iter().map(|row| Ok(json_of(&state, &transition::read(row)?))).collect::<Result<Vec<_>, Problem>>()?;
    Ok(items(&views, next))
}

/// The incident as its payload shows it, and what belongs to no payload.
pub fn json_of(state: &State, incident: &Incident) -> Value {
    let mut json = json!(incident.view(state.public_url()));
    let Incident { acknowledged_by, snoozed_until, parent, children, .. } = incident;
    merge(&mut json, json!({ "acknowledged_by": acknowledged_by, "snoozed_until": snoozed_until, "parent": parent, "children": children }));
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

/// `POST /v1/incidents/{id}/{ack|unack|resolve|snooze|note}`.
pub async fn act(Take(state): Take<Arc<State>>, visitor: Visitor, Path((id, action)): Path<(String, String)>, body: Body) -> Answer {
    let now = state.clock.now();
    let text = body.text("text", NOTE_CHARS_MAX)?;
    let by = visitor.reader.name.clone();
    let input = match action.as_str() {
        "ack" => {
            body.only(&["text"])?;
            Input::Acknowledge { by: by.clone() }
        }
        "unack" => {
            body.only(&[])?;
            Input::Unacknowledge { by: by.clone() }
        }
        "resolve" => {
            body.only(&["text", "reason", "why"])?;
            let reason = body.text("reason", 500)?.or(body.text("why", 500)?);
            Input::Resolve { by: by.clone(), why: reason.or_else(|| text.clone()).unwrap_or_default() }
        }
        "snooze" => {
            body.only(&["text", "for", "until"])?;
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
            body.only(&["text"])?;
            Input::Note { by: by.clone(), text: text.clone().ok_or_else(|| Problem::bad("`text` is missing: what is to be noted?"))? }
        }
        _ => return Err(Problem::unknown("action", &action)),
    };
    let comment = text.filter(|_| matches!(input, Input::Acknowledge { .. } | Input::Snooze { .. }));
    let incident = apply(&state, &visitor, &id, input, comment, now).await?;
    Ok(Json(json_of(&state, &incident)))
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
    let mut tx = state.store.write_durable().await?;
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
