//! The HTTP interface of CONTRACT 6, under `/v1` and `/api/v2`.

pub mod aggregates;
pub mod alerts;
pub mod annotations;
pub mod health;
pub mod hooks;
pub mod incidents;
pub mod outbox;
pub mod query;
pub mod rules;
pub mod silences;
pub mod slos;
pub mod v2;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, FromRequest, FromRequestParts, Request, State as Take};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};

use super::guard::visitor::Visitor;
use super::problem::Problem;
use super::state::State;
use crate::chance;
use crate::domain::time::Timestamp;
use crate::store::Tx;
use crate::store::audit::{self, AuditRow};

/// What a handler answers.
pub type Answer = Result<Json<Value>, Problem>;

/// Largest body of everything but aggregates.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// How an alert stands, as lists are asked for it.
const PHASES: [&str; 4] = ["pending", "firing", "unknown", "ok"];

/// All routes of the API.
pub fn router(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .merge(v2::router(state))
        .route("/v1/slos", get(slos::list))
        .route("/v1/slos/{name}", get(slos::one))
        .route("/v1/slos/{name}/gate", get(slos::gate))
        .route("/v1/incidents", get(incidents::list))
        .route("/v1/incidents/{id}", get(incidents::one))
        .route("/v1/incidents/{id}/{action}", post(incidents::act))
        .route("/v1/alerts", get(alerts::list))
        .route("/v1/silences", get(silences::list).post(silences::create))
        .route("/v1/silences/{id}", get(silences::one).delete(silences::expire))
        .route("/v1/annotations", get(annotations::list).post(annotations::create))
        .route("/v1/notifications", get(outbox::notifications))
        .route("/v1/deadletters", get(outbox::dead_letters))
        .route("/v1/deadletters/{id}/replay", post(outbox::replay))
        .route("/v1/deadletters/{id}", delete(outbox::discard))
        .route("/v1/rules", get(rules::rules))
        .route("/v1/receivers", get(rules::receivers))
        .route("/v1/receivers/{name}/test", post(rules::test_receiver))
        .route("/v1/routes/test", post(rules::test_route))
        .route("/v1/query", post(query::query))
        .route("/v1/audit", get(audit_list))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .route("/v1/aggregates", post(aggregates::take).layer(DefaultBodyLimit::max(state.config.server.body_bytes_max)))
        .route("/hooks/{receiver}", post(hooks::take).layer(DefaultBodyLimit::max(hooks::BODY_BYTES_MAX)))
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi))
        .route("/v1/{*rest}", get(unknown).post(unknown).put(unknown).delete(unknown))
}

/// What stands in this file is also in [`OPENAPI`]; a test holds the two together.
const OPENAPI: &str = include_str!("api/openapi.json");

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}

async fn unknown(request: Request) -> Problem {
    Problem::unknown("resource", request.uri().path())
}

/// The pairs of the query, in order; a name may come more than once.
pub struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Params, Self::Rejection> {
        let query = parts.uri.query().unwrap_or_default();
        Ok(Params(url::form_urlencoded::parse(query.as_bytes()).take(100).map(|(k, v)| (k.into_owned(), v.into_owned())).collect()))
    }
}

impl Params {
    /// The last value that is not empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(have, value)| have == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All values; one of them may hold several, with commas.
    pub fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(have, _)| have == name);
        values.flat_map(|(_, value)| value.split(',')).filter(|value| !value.is_empty()).take(20).map(str::to_owned).collect()
    }

    /// All values of a name, as they are.
    pub fn each(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// Like [`Params::all`], of a list of known values: a typo must not silently find nothing.
    pub fn one_of(&self, name: &str, known: &[&str]) -> Result<Vec<String>, Problem> {
        let values = self.all(name);
        match values.iter().find(|value| !known.contains(&value.as_str())) {
            Some(value) => {
                Err(Problem::bad(format!("`{name}={}` is not known; known are {}", super::text::clip(value, 40), known.join(", "))))
            }
            None => Ok(values),
        }
    }

    /// All pairs but these.
    pub fn others(&self, known: &[&str]) -> impl Iterator<Item = (&str, &str)> {
        let known: Vec<String> = known.iter().map(|name| (*name).to_owned()).collect();
        self.0.iter().filter(move |(name, _)| !known.contains(name)).map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `limit`, 1 to 1,000; 100 without.
    pub fn limit(&self) -> Result<usize, Problem> {
        match self.get("limit") {
            None => Ok(100),
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=1_000).contains(limit))
                .ok_or_else(|| Problem::bad("`limit` is a number from 1 to 1000")),
        }
    }

    /// A point in time, RFC 3339 or milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.get(name).map(|text| read_time(text, name)).transpose()
    }
}

/// A point in time, RFC 3339 or milliseconds since the epoch.
pub fn read_time(text: &str, name: &str) -> Result<Timestamp, Problem> {
    let millis = || text.parse().ok().filter(|ms| (0..=253_402_300_799_999).contains(ms)).map(Timestamp);
    text.parse().ok().or_else(millis).ok_or_else(|| Problem::bad(format!("`{name}` is no time; write it like 2026-11-22T03:00:00Z")))
}

/// A JSON body whatever its content type says; an empty one is an empty object.
pub struct Body(pub Value);

impl FromRequest<Arc<State>> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Body, Problem> {
        let bytes = bytes::Bytes::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new(rejection.status(), rejection.body_text()))?;
        if bytes.trim_ascii().is_empty() {
            return Ok(Body(json!({})));
        }
        let value: Value = serde_json::from_slice(&bytes).map_err(|error| Problem::bad(format!("the body is no JSON: {error}")))?;
        if value.is_object() { Ok(Body(value)) } else { Err(Problem::bad("the body has to be a JSON object")) }
    }
}

impl Body {
    /// A text field, at most `max` characters; `None` if absent, null or empty.
    pub fn text(&self, name: &str, max: usize) -> Result<Option<String>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.chars().count() <= max => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(Value::String(_)) => Err(Problem::bad(format!("`{name}` is longer than {max} characters"))),
            Some(_) => Err(Problem::bad(format!("`{name}` has to be text"))),
        }
    }

    /// A point in time: RFC 3339 text or milliseconds.
    pub fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => read_time(text, name).map(Some),
            Some(Value::Number(number)) => read_time(&number.to_string(), name).map(Some),
            Some(_) => Err(Problem::bad(format!("`{name}` is no time; write it like 2026-11-22T03:00:00Z"))),
        }
    }

    /// Refuses what nobody will read: a typo must not silently change nothing.
    pub fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let fields = self.0.as_object().into_iter().flatten();
        for (name, _) in fields {
            if !known.contains(&name.as_str()) {
                return Err(Problem::bad(format!("`{}` is not known here; known are {}", super::text::clip(name, 60), known.join(", "))));
            }
        }
        Ok(())
    }
}

/// A list's answer.
pub fn items<T: Serialize>(items: &[T], next: Option<String>) -> Json<Value> {
    Json(json!({ "items": items, "next": next }))
}

/// A page of a list that is whole in memory; the cursor is where it goes on.
pub fn slice<T: Serialize>(all: &[T], params: &Params) -> Answer {
    slice_of(all, params, |one| json!(one))
}

/// Like [`slice()`], for rows that are written out only when they are shown.
pub fn slice_of<T>(all: &[T], params: &Params, write: impl Fn(&T) -> Value) -> Answer {
    let start: usize = match params.get("cursor") {
        None => 0,
        Some(cursor) => cursor.parse().map_err(|_| Problem::bad("this cursor was not given out by this list; start without one"))?,
    };
    let start = start.min(all.len());
    let end = all.len().min(start + params.limit()?);
    let shown: Vec<Value> = all[start..end].iter().map(write).collect();
    Ok(items(&shown, (end < all.len()).then(|| end.to_string())))
}

/// Notes who did what, in the transaction that does it.
pub async fn note(tx: &mut Tx, visitor: &Visitor, now: Timestamp, action: &str, thing: &str, detail: Value) -> Result<(), Problem> {
    note_by(tx, &visitor.reader.name, &visitor.source, now, action, thing, detail).await
}

/// Like [`note()`], for somebody who is no visitor of the API or the pages.
pub async fn note_by(
    tx: &mut Tx,
    who: &str,
    source: &str,
    now: Timestamp,
    action: &str,
    thing: &str,
    detail: Value,
) -> Result<(), Problem> {
    let row = AuditRow {
        id: chance::id(),
        at: now,
        who: who.to_owned(),
        action: action.into(),
        thing: thing.into(),
        source: source.to_owned(),
        detail: detail.to_string(),
    };
    Ok(audit::add(tx, &row).await?)
}

async fn audit_list(Take(state): Take<Arc<State>>, params: Params) -> Answer {
    let mut tx = state.store.read().await?;
    let (rows, next) = audit::list(&mut tx, params.get("cursor"), params.limit()?, audit::Acts::All).await?;
    let rows: Vec<Value> = rows
        .iter()
        .map(|row| {
            let detail: Value = serde_json::from_str(&row.detail).unwrap_or_default();
            json!({ "id": row.id, "at": row.at, "who": row.who, "action": row.action, "thing": row.thing, "source": row.source, "detail": detail })
        })
        .collect();
    Ok(items(&rows, next))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The routes of this file and the paths of the description, each as `METHOD path`.
    #[test]
    fn the_description_names_every_route_and_no_other() {
        let description: Value = serde_json::from_str(OPENAPI).expect("JSON");
        let mut described = BTreeSet::new();
        for (path, operations) in description["paths"].as_object().expect("paths") {
            described.extend(operations.as_object().expect("operations").keys().map(|method| format!("{method} {path}")));
        }
        let source = include_str!("api.rs");
        let mut routed = BTreeSet::new();
        for line in source.lines().filter_map(|line| line.trim().strip_prefix(".route(\"")).filter(|line| !line.contains("{*rest}")) {
            let (path, handlers) = line.split_once('"').expect("a path in quotes");
            routed.extend(
                ["get", "post", "delete", "put"].iter().filter(|m| handlers.contains(&format!("{m}("))).map(|m| format!("{m} {path}")),
            );
        }
        assert!(routed.len() > 20, "{routed:?}");
        assert_eq!(described, routed);
    }

    #[test]
    fn the_description_refers_to_nothing_that_is_missing() {
        let description: Value = serde_json::from_str(OPENAPI).expect("JSON");
        let schemas = &description["components"]["schemas"];
        for reference in OPENAPI.split("\"#/components/schemas/").skip(1) {
            let name = reference.split('"').next().expect("split gives one at least");
            assert!(schemas.get(name).is_some(), "{name}");
        }
    }
}
