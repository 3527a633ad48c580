//! Notifications and dead letters: what was said to whom, and what gave up.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State as Take};
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::{Answer, Body, Params, items, note};
use crate::domain::time::Timestamp;
use crate::store::outbox::{self, OutboxRow};
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

fn json_of(row: &OutboxRow) -> Value {
    json!({
        "id": row.id, "at": row.created_at, "incident": row.incident, "receiver": row.receiver, "type": format!("incident.{}", short_kind(&row.kind)),
        "state": row.state, "due_at": (row.state == "pending").then_some(row.due_at), "finished_at": row.finished_at,
        "attempts": row.attempts, "error": (!row.last_error.is_empty()).then_some(&row.last_error), "correlation": row.correlation,
    })
}

/// `opened`, also where the row says `incident.opened`.
pub fn short_kind(kind: &str) -> &str {
    kind.strip_prefix("incident.").unwrap_or(kind)
}

async fn list(state: &State, params: &Params, states: Vec<String>) -> Answer {
    let filter = outbox::Filter {
        state: states,
        receiver: params.get("receiver").map(str::to_owned),
        incident: params.get("incident").map(str::to_owned),
    };
    let mut tx = state.store.read().await?;
    let (rows, next) = outbox::list(&mut tx, &filter, params.get("cursor"), params.limit()?).await?;
    Ok(items(&rows.iter().map(json_of).collect::<Vec<_>>(), next))
}

pub async fn notifications(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    list(&state, &params, params.one_of("state", &["pending", "delivered", "dead", "discarded"])?).await
}

pub async fn dead_letters(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    list(&state, &params, vec!["dead".into()]).await
}

/// Sends a dead letter once more. `false`: there is none with this id.
pub async fn send_again(state: &State, visitor: &Visitor, id: &str, now: Timestamp) -> Result<bool, Problem> {
    let mut tx = state.store.write_durable().await?;
    if !outbox::replay(&mut tx, id, now).await? {
        return Ok(false);
    }
    note(&mut tx, visitor, now, "replay", &format!("delivery {id}"), json!({})).await?;
    tx.commit().await?;
    state.changed();
    Ok(true)
}

/// Most dead letters that are sent again at once.
pub const AGAIN_MAX: usize = 1_000;

/// Sends all dead letters once more, or those of one receiver; how many they are.
pub async fn send_all_again(state: &State, visitor: &Visitor, receiver: Option<String>, now: Timestamp) -> Result<usize, Problem> {
    let mut tx = state.store.write_durable().await?;
    let thing = receiver.as_ref().map_or_else(|| "all dead letters".to_owned(), |receiver| format!("dead letters of {receiver}"));
    let filter = outbox::Filter { state: vec!["dead".into()], receiver, incident: None };
    let (rows, _) = outbox::list(&mut tx, &filter, None, AGAIN_MAX).await?;
    let mut sent = 0;
    for row in &rows {
        sent += usize::from(outbox::replay(&mut tx, &row.id, now).await?);
    }
    if sent > 0 {
        note(&mut tx, visitor, now, "replay", &thing, json!({ "deliveries": sent })).await?;
    }
    tx.commit().await?;
    state.changed();
    Ok(sent)
}

/// Gives a dead letter up for good, with a reason. `false`: there is none with this id.
pub async fn give_up(state: &State, visitor: &Visitor, id: &str, reason: &str, now: Timestamp) -> Result<bool, Problem> {
    let mut tx = state.store.write_durable().await?;
    if outbox::get(&mut tx, id).await?.is_none_or(|row| row.state != "dead") {
        return Ok(false);
    }
    if !outbox::discard(&mut tx, id, now, reason).await? {
        return Ok(false);
    }
    note(&mut tx, visitor, now, "discard", &format!("delivery {id}"), json!({ "reason": reason })).await?;
    tx.commit().await?;
    state.changed();
    Ok(true)
}

pub async fn replay(Take(state): Take<Arc<State>>, visitor: Visitor, Path(id): Path<String>, _: Body) -> Answer {
    if send_again(&state, &visitor, &id, state.clock.now()).await? {
        Ok(Json(json!({ "id": id, "state": "pending" })))
    } else {
        Err(Problem::unknown("dead letter", &id))
    }
}

/// `DELETE /v1/deadletters/{id}?reason=…`
pub async fn discard(
    Take(state): Take<Arc<State>>,
    visitor: Visitor,
    Path(id): Path<String>,
    params: Params,
) -> Result<StatusCode, Problem> {
    let reason = params.get("reason").ok_or_else(|| Problem::bad("say why: `?reason=…`"))?;
    if give_up(&state, &visitor, &id, &crate::web::text::clip(reason, 500), state.clock.now()).await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::unknown("dead letter", &id))
    }
}
