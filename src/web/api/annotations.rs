//! Annotations: deploys, flag flips and sampling changes that pipelines and people report.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Take;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{Answer, Body, Params, note, slice};
use crate::chance;
use crate::domain::time::{Span, Timestamp};
use crate::store::annotations::{self, AnnotationRow};
use crate::web::guard::visitor::Visitor;
use crate::web::problem::Problem;
use crate::web::state::State;

fn json_of(row: &AnnotationRow) -> Value {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    json!({
        "id": row.id, "kind": row.kind, "at": row.at, "app": row.app, "release": text(&row.release), "text": text(&row.text),
        "url": text(&row.url), "created_at": row.created_at,
    })
}

/// Newest first; all that are kept unless `from` and `to` say otherwise.
pub async fn list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let to = params.time("to")?.unwrap_or_else(|| state.clock.now() + Span::days(1));
    let from = params.time("from")?.unwrap_or(Timestamp(0));
    let mut tx = state.store.read().await?;
    let rows = annotations::list(&mut tx, from, to, params.get("app")).await?;
    let rows: Vec<Value> = rows.iter().rev().map(json_of).collect();
    slice(&rows, &params)
}

pub async fn create(Take(state): Take<Arc<State>>, visitor: Visitor, body: Body) -> Result<Response, Problem> {
    body.only(&["kind", "at", "app", "release", "text", "url"])?;
    let now = state.clock.now();
    let row = read(&body, now)?;
    let mut tx = state.store.write_durable().await?;
    annotations::add(&mut tx, &row).await?;
    note(&mut tx, &visitor, now, "annotate", &format!("annotation {}", row.id), json!({ "kind": row.kind, "app": row.app })).await?;
    tx.commit().await?;
    state.changed();
    Ok((StatusCode::CREATED, Json(json_of(&row))).into_response())
}

fn read(body: &Body, now: Timestamp) -> Result<AnnotationRow, Problem> {
    let kind = body.text("kind", 20)?.unwrap_or_default();
    if !matches!(kind.as_str(), "deploy" | "flag" | "sampling" | "other") {
        return Err(Problem::bad("`kind` is one of deploy, flag, sampling, other"));
    }
    let app = body.text("app", 200)?.ok_or_else(|| Problem::bad("`app` is missing: whose change is it?"))?;
    let at = body.time("at")?.unwrap_or(now);
    if at - now > Span::days(1) {
        return Err(Problem::bad("`at` is more than a day ahead"));
    }
    let url = body.text("url", 2_000)?;
    if url.as_deref().is_some_and(|url| crate::web::text::safe_url(url).is_none()) {
        return Err(Problem::bad("`url` has to begin with http:// or https://"));
    }
    Ok(AnnotationRow {
        id: chance::id(),
        kind,
        at,
        app,
        release: body.text("release", 200)?.unwrap_or_default(),
        text: body.text("text", 2_000)?.unwrap_or_default(),
        url: url.unwrap_or_default(),
        created_at: now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_needs_a_kind_an_app_and_a_followable_link() {
        let read = |json: Value| read(&Body(json), Timestamp(1_000));
        assert_eq!(read(json!({ "kind": "deploy", "app": "shop", "release": "2.3.1" })).unwrap().at, Timestamp(1_000));
        for bad in [
            json!({ "app": "shop" }),
            json!({ "kind": "party", "app": "shop" }),
            json!({ "kind": "deploy" }),
            json!({ "kind": "deploy", "app": 5 }),
            json!({ "kind": "deploy", "app": "shop", "url": "javascript:alert(1)" }),
            json!({ "kind": "deploy", "app": "shop", "at": "soon" }),
            json!({ "kind": "deploy", "app": "shop", "at": "2999-01-01T00:00:00Z" }),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }
}
