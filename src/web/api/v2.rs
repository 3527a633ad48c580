//! The parts of Alertmanager's API v2 that Prometheus and amtool use, in their formats and with their
//! errors, over our own incidents, routes and silences.

mod alerts;
mod filter;
mod groups;
mod listing;
mod post;
mod silences;
mod status;
mod view;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post as posting};
use axum::{Json, Router};
use serde_json::json;

use super::Params;
use crate::domain::time::Timestamp;
use crate::web::problem::Problem;
use crate::web::state::State;

/// Its routes. They do not name their bodies' limit, so that the one of alerts is theirs alone.
pub fn router(state: &Arc<State>) -> Router<Arc<State>> {
    let alerts = DefaultBodyLimit::max(state.config.server.body_bytes_max);
    Router::new()
        .route("/api/v2/alerts", get(alerts::list).merge(posting(post::take).layer(alerts)))
        .route("/api/v2/alerts/groups", get(groups::list))
        .route("/api/v2/silences", get(silences::list).post(silences::save))
        .route("/api/v2/silence/{id}", get(silences::one).delete(silences::expire))
        .route("/api/v2/receivers", get(status::receivers))
        .route("/api/v2/status", get(status::status))
        .route("/-/ready", get(status::ready))
        .route("/-/healthy", get(status::healthy))
        .route("/api/v2/{*rest}", get(unknown).post(unknown).put(unknown).delete(unknown))
}

async fn unknown() -> Refusal {
    Refusal::Said { status: StatusCode::NOT_FOUND, code: 404, message: "path was not found".into() }
}

/// An error in one of Alertmanager's two shapes.
#[derive(Debug)]
pub enum Refusal {
    /// What its reader of requests says: `{code, message}`.
    Said { status: StatusCode, code: u16, message: String },
    /// What its handlers say: a JSON text.
    Text { status: StatusCode, message: String },
    /// What went wrong here.
    Ours(Problem),
}

impl Refusal {
    fn bad(message: impl Into<String>) -> Refusal {
        Refusal::Text { status: StatusCode::BAD_REQUEST, message: message.into() }
    }

    fn no_silence() -> Refusal {
        Refusal::Text { status: StatusCode::NOT_FOUND, message: "silence not found".into() }
    }

    fn unreadable(message: impl Into<String>) -> Refusal {
        Refusal::Said { status: StatusCode::BAD_REQUEST, code: 400, message: message.into() }
    }

    fn invalid(code: u16, message: impl Into<String>) -> Refusal {
        Refusal::Said { status: StatusCode::UNPROCESSABLE_ENTITY, code, message: message.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Refusal::Said { status, code, message } => (status, Json(json!({ "code": code, "message": message }))).into_response(),
            Refusal::Text { status, message } => (status, Json(message)).into_response(),
            Refusal::Ours(problem) => {
                let status = problem.status();
                let retry = status == StatusCode::SERVICE_UNAVAILABLE;
                let mut response = (status, Json(problem.detail().to_owned())).into_response();
                if retry {
                    response.headers_mut().insert(header::RETRY_AFTER, axum::http::HeaderValue::from_static("2"));
                }
                response
            }
        }
    }
}

impl<E: Into<Problem>> From<E> for Refusal {
    fn from(error: E) -> Refusal {
        Refusal::Ours(error.into())
    }
}

/// A time as Alertmanager writes it: always with milliseconds.
fn time(at: Timestamp) -> String {
    at.to_chrono().map_or_else(|| at.to_string(), |at| at.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
}

/// A flag of the query; without it, yes. What is no word for yes is no, as it is there.
fn flag(params: &Params, name: &str) -> bool {
    params.get(name).is_none_or(|text| ["true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"].contains(&text))
}
