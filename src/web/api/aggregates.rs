//! `POST /v1/aggregates`: ready-made rows, answered after the commit.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::extract::rejection::BytesRejection;
use bytes::Bytes;
use serde_json::json;

use super::Answer;
use crate::web::problem::Problem;
use crate::web::state::State;

pub async fn take(Take(state): Take<Arc<State>>, body: Result<Bytes, BytesRejection>) -> Answer {
    let body = body.map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
    let loaded = (state.aggregates)(body, state.clock.now()).await?;
    Ok(Json(json!(loaded)))
}
