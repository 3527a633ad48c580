//! The demo's inbox: its pages, and the pager and webhook that it plays.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Path, State as Take};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use super::Site;
use crate::web::inbox::{BYTES_MAX, Channel, Inbox, mail};
use crate::web::pages::inbox::{self, Model};
use crate::web::problem::Problem;
use crate::web::state::State;

/// Deliveries of one column; a page with more would be heavy.
const COLUMN_MAX: usize = 12;

/// A mail's own rules: it may look as it likes, and do nothing.
const MAIL_CSP: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

/// Only mounted where there is an inbox.
pub fn router() -> Router<Arc<State>> {
    Router::new()
        .route("/inbox", get(page))
        .route("/inbox/{n}", get(raw))
        .route("/inbox/{n}/mail.html", get(mail_html))
        .route("/inbox/pager/v2/enqueue", post(pager))
        .route("/inbox/hook/{name}", post(hook))
        .layer(DefaultBodyLimit::max(BYTES_MAX))
}

fn inbox_of(state: &State) -> Result<&Inbox, Problem> {
    state.inbox.as_deref().ok_or_else(|| Problem::unknown("page", "inbox"))
}

async fn page(site: Site) -> Response {
    let page = inbox_of(&site.state).map(|inbox| {
        inbox::page(&Model {
            pages: inbox.newest(|channel| *channel == Channel::Pager, COLUMN_MAX),
            tickets: inbox.newest(|channel| matches!(channel, Channel::Hook(_)), COLUMN_MAX),
            mails: inbox.newest(|channel| *channel == Channel::Mail, COLUMN_MAX),
            all: [
                inbox.count(|channel| *channel == Channel::Pager),
                inbox.count(|channel| matches!(channel, Channel::Hook(_))),
                inbox.count(|channel| *channel == Channel::Mail),
            ],
            last: inbox.last(),
            now: site.now,
        })
    });
    site.show(page).await
}

async fn raw(site: Site, Path(n): Path<String>) -> Response {
    let found =
        inbox_of(&site.state).and_then(|inbox| n.parse().ok().and_then(|n| inbox.get(n)).ok_or_else(|| Problem::unknown("delivery", &n)));
    site.show(found.map(|delivery| inbox::raw(&delivery, site.now))).await
}

async fn mail_html(Take(state): Take<Arc<State>>, Path(n): Path<String>) -> Response {
    let delivery = inbox_of(&state).ok().and_then(|inbox| inbox.get(n.parse().ok()?)).filter(|delivery| delivery.channel == Channel::Mail);
    let Some(html) = delivery.and_then(|delivery| mail::parse(&delivery.body).html) else { return StatusCode::NOT_FOUND.into_response() };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(MAIL_CSP)),
    ];
    (headers, html).into_response()
}

/// PagerDuty's Events API v2, as far as a sender sees it.
async fn pager(Take(state): Take<Arc<State>>, headers: HeaderMap, body: Bytes) -> Result<Response, Problem> {
    let inbox = inbox_of(&state)?;
    let event: Value = serde_json::from_slice(&body).map_err(|error| Problem::bad(format!("no JSON: {error}")))?;
    inbox.push_page(state.clock.now(), pairs(&headers), &body);
    state.pulse.send_modify(|n| *n = n.wrapping_add(1));
    let key = event.get("dedup_key").cloned().unwrap_or_else(|| Value::from(crate::chance::id()));
    Ok((StatusCode::ACCEPTED, Json(json!({ "status": "success", "message": "Event processed", "dedup_key": key }))).into_response())
}

async fn hook(Take(state): Take<Arc<State>>, Path(name): Path<String>, headers: HeaderMap, body: Bytes) -> Result<StatusCode, Problem> {
    inbox_of(&state)?.push_hook(state.clock.now(), &name, pairs(&headers), &body);
    state.pulse.send_modify(|n| *n = n.wrapping_add(1));
    Ok(StatusCode::NO_CONTENT)
}

fn pairs(headers: &HeaderMap) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect()
}
