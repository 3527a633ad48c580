//! The pages' handlers: read, build a model, hand it to the pure page, answer with its frame.

pub mod action;
pub mod actions;
pub mod answer;
pub mod budget;
pub mod evidence;
pub mod explore;
pub mod export;
pub mod health;
pub mod heat;
pub mod inbox;
pub mod incident;
pub mod lists;
pub mod oncall;
pub mod overview;
pub mod personal;
pub mod report;
pub mod rule;
pub mod rules;
pub mod segments;
pub mod silence;
pub mod silences;
pub mod slos;

pub mod telemetry;

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use tracing::warn;

use super::frame::{self, Frame, Outcome, Page, Trust};
use super::guard::visitor::{Via, Visitor, outcome_cookie};
use super::pages::problem::heading;
use super::problem::Problem;
use super::state::State;
use crate::domain::time::Timestamp;
use crate::store::{StoreError, incidents};

/// Largest form.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// All pages and their forms.
pub fn router(state: &Arc<State>) -> Router<Arc<State>> {
    let pages = Router::new()
        .route("/", get(oncall::on_call))
        .route("/incidents", get(oncall::archive))
        .route("/incidents/{id}", get(incident::page))
        .route("/incidents/{id}/timeline", get(incident::time_line))
        .route("/incidents/{id}/segments", get(segments::page))
        .route("/incidents/{id}/snooze", get(incident::snooze).post(actions::snooze))
        .route("/incidents/{id}/resolve", get(incident::resolve).post(actions::resolve))
        .route("/incidents/{id}/assign", get(incident::assign))
        .route("/incidents/{id}/owner", post(actions::hand_over))
        .route("/incidents/{id}/severity", post(actions::set_severity))
        .route("/incidents/{id}/ack", post(actions::acknowledge))
        .route("/incidents/{id}/act/{receiver}", get(action::page).post(action::call))
        .route("/act/{sealed}", get(answer::ask).post(answer::act))
        .route("/incidents/{id}/unack", post(actions::unacknowledge))
        .route("/incidents/{id}/note", post(actions::note))
        .route("/incidents/{id}/export.md", get(export::markdown))
        .route("/incidents/{id}/export.json", get(export::json))
        .route("/overview", get(overview::page))
        .route("/slos", get(slos::list))
        .route("/slos/{name}", get(slos::one))
        .route("/silences", get(silences::list))
        .route("/silences/new", get(silences::new).post(actions::silence))
        .route("/silences/{id}", get(silence::page))
        .route("/silences/{id}/end", post(actions::end_silence))
        .route("/rules", get(rules::list))
        .route("/rules/{name}", get(rule::page))
        .route("/rules/file/{*path}", get(rules::source))
        .route("/health", get(health::page))
        .route("/query", get(explore::page))
        .route("/reports/{period}", get(report::latest))
        .route("/reports/{period}/{date}", get(report::page))
        .route("/reports/{period}/{date}/export.md", get(report::markdown))
        .route("/changes", get(lists::changes))
        .route("/notifications", get(lists::notifications))
        .route("/notifications/{id}", get(lists::notification))
        .route("/deadletters", get(lists::dead_letters))
        .route("/deadletters/replay", post(actions::replay_all))
        .route("/deadletters/{id}/replay", post(actions::replay))
        .route("/deadletters/{id}/discard", post(actions::discard))
        .route("/receivers", get(lists::receivers))
        .route("/receivers/{name}/test", post(actions::test_receiver))
        .route("/audit", get(lists::audit))
        .route("/sign-in", get(personal::sign_in).post(personal::sign_in_with))
        .route("/sign-out", post(personal::sign_out))
        .route("/me", get(personal::me).post(personal::set_me))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX));
    if state.inbox.is_some() { pages.merge(inbox::router()) } else { pages }
}

/// What every page's handler has at hand.
pub struct Site {
    pub state: Arc<State>,
    pub visitor: Visitor,
    pub now: Timestamp,
    /// The last event when the request came: what changes while the page is made is told again rather than not at all.
    event: String,
}

impl FromRequestParts<Arc<State>> for Site {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Site, StatusCode> {
        let visitor = Visitor::from_request_parts(parts, state).await?;
        Ok(Site { state: state.clone(), visitor, now: state.clock.now(), event: super::live::last_event(state) })
    }
}

impl Site {
    /// The page in its frame, or the page that says why there is none.
    pub async fn show(&self, page: Result<Page, Problem>) -> Response {
        let frame = self.frame().await;
        match page {
            Ok(page) => frame.render(page).into_response(),
            Err(problem) => self.problem(&frame, &problem),
        }
    }

    fn problem(&self, frame: &Frame, problem: &Problem) -> Response {
        let status = problem.status();
        let request = crate::chance::id();
        if status.is_server_error() {
            warn!(request, reason = problem.detail(), "a page could not be made");
        }
        let next = match status {
            StatusCode::NOT_FOUND => "It may have been removed by retention, or the link was cut. What is open stands on the first page.",
            _ if status.is_server_error() => {
                "Evaluation and delivery do not depend on this page. Reload it in a moment; /readyz says what is wrong."
            }
            _ => "Nothing was changed.",
        };
        (status, frame::problem(frame, heading(status), problem.detail(), next, status.is_server_error().then_some(&request)))
            .into_response()
    }

    /// What surrounds every page. When the store does not answer, the strip says so.
    pub async fn frame(&self) -> Frame {
        let snapshot = self.state.snapshot.load();
        let aggregation = &self.state.config.aggregation;
        let mut trust = Trust::of(&snapshot, aggregation.bucket, aggregation.settle);
        let (mut open, mut paging) = (0, false);
        match self.open_counts().await {
            Ok(counts) => {
                for (severity, n) in &counts {
                    open += usize::try_from(*n).unwrap_or(0);
                    paging |= severity == "page" && *n > 0;
                }
            }
            Err(error) => trust.failed = Some(error.to_string()),
        }
        let signed_in = self.visitor.via != Via::Nobody;
        Frame {
            now: self.now,
            reader: self.visitor.reader.clone(),
            open: if signed_in { open } else { 0 },
            paging,
            trust,
            outcome: self.visitor.outcome.clone(),
            inbox: self.state.inbox.is_some(),
            event: self.event.clone(),
        }
    }

    async fn open_counts(&self) -> Result<Vec<(String, i64)>, StoreError> {
        incidents::open_counts(&mut self.state.store.read().await?).await
    }
}

/// Back to a page, which then says how it went.
pub fn back(path: &str, outcome: &Outcome) -> Response {
    let mut response = Redirect::to(path).into_response();
    response.headers_mut().append(header::SET_COOKIE, outcome_cookie(outcome));
    response
}

/// Back with what was done, or with why it was not.
pub fn said(path: &str, result: Result<String, Problem>) -> Response {
    back(
        path,
        &match result {
            Ok(text) => Outcome { good: true, text, undo: None },
            Err(problem) => Outcome { good: false, text: problem.detail().to_owned(), undo: None },
        },
    )
}

/// A method that a path does not take; the router adds which ones it does.
pub async fn wrong_method(method: axum::http::Method, uri: axum::http::Uri) -> Problem {
    let (path, method) = (super::text::clip(uri.path(), 120), super::text::clip(method.as_str(), 20));
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, format!("`{path}` does not take {method}"))
}

/// `GET` of something that is not there.
pub async fn missing(site: Site, uri: axum::http::Uri, headers: axum::http::HeaderMap) -> Response {
    if super::guard::is_api(uri.path()) || !super::guard::reads_pages(&headers) {
        return Problem::unknown("resource", uri.path()).into_response();
    }
    site.show(Err(Problem::new(StatusCode::NOT_FOUND, format!("Nothing is at {}.", super::text::clip(uri.path(), 120))))).await
}

/// A query that never fails to be read.
pub type Query = super::api::Params;
