//! Errors of the API as `application/problem+json`.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tracing::error;

use super::query::QueryError;
use super::state::CallError;
use crate::store::StoreError;

/// An error with its status and words for the caller.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// Any status.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Problem {
        Problem { status, detail: detail.into(), header: None }
    }

    /// 400.
    pub fn bad(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 404 for a thing of this kind.
    pub fn unknown(what: &str, id: &str) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, format!("there is no {what} `{}`", super::text::clip(id, 80)))
    }

    /// With a header beside it.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Problem {
        self.header = Some((name, value));
        self
    }

    /// Its status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Its words.
    pub fn detail(&self) -> &str {
        &self.detail
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body =
            json!({ "title": self.status.canonical_reason().unwrap_or("error"), "status": self.status.as_u16(), "detail": self.detail });
        let mut response = (self.status, Json(body)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        match &error {
            StoreError::Cursor => Problem::bad(error.to_string()),
            StoreError::NotOne { .. } => Problem::new(StatusCode::CONFLICT, error.to_string()),
            StoreError::Taken(_) => Problem::new(StatusCode::CONFLICT, error.to_string()),
            _ if error.is_retryable() || error.is_full() => {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()).with(header::RETRY_AFTER, HeaderValue::from_static("2"))
            }
            _ => {
                error!(error = &error as &dyn std::error::Error, "a request could not be answered");
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the database could not answer; the log says why")
            }
        }
    }
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Problem {
        match error {
            QueryError::Refused(why) => Problem::bad(why),
            QueryError::Failed(source) => failed(&*source),
        }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        match error {
            CallError::Refused(why) => Problem::bad(why),
            CallError::Failed(source) => failed(&*source),
        }
    }
}

impl From<JsonRejection> for Problem {
    fn from(rejection: JsonRejection) -> Problem {
        Problem::new(rejection.status(), rejection.body_text())
    }
}

fn failed(source: &(dyn std::error::Error + Send + Sync + 'static)) -> Problem {
    error!(error = source as &dyn std::error::Error, "a request could not be answered");
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "it could not be done now; try again, the log says why")
        .with(header::RETRY_AFTER, HeaderValue::from_static("2"))
}
