//! Who asks, what they may do, and the cookies that belong to their browser.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;

use crate::config::Scope;
use crate::web::frame::{Outcome, Reader, Theme};
use crate::web::pages::problem;
use crate::web::session::{self, Session};
use crate::web::state::State;

/// How a visitor is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// No tokens are configured: whoever reaches the loopback address.
    Local,
    Bearer,
    Session(Session),
    Nobody,
}

/// Who asks.
#[derive(Clone, Debug)]
pub struct Visitor {
    pub reader: Reader,
    pub scope: Option<Scope>,
    pub via: Via,
    /// Their address, for the audit.
    pub source: String,
    pub outcome: Option<Outcome>,
}

impl Visitor {
    pub(super) fn new(state: &State, headers: &HeaderMap, name: &str, scope: Option<Scope>, via: Via) -> Visitor {
        let nonce = match &via {
            Via::Session(session) => session.nonce.as_str(),
            Via::Local | Via::Bearer | Via::Nobody => "",
        };
        let reader = Reader {
            name: name.to_owned(),
            operate: scope >= Some(Scope::Operate),
            admin: scope >= Some(Scope::Admin),
            csrf: if scope.is_some() { session::sign(&state.session_key, &["csrf", name, nonce])[..32].to_owned() } else { String::new() },
            theme: cookie(headers, THEME).and_then(|theme| Theme::parse(&theme)),
            keys_off: cookie(headers, KEYS).is_some_and(|keys| keys == "off"),
        };
        Visitor { reader, scope, via, source: String::new(), outcome: cookie(headers, OUTCOME).and_then(|text| read_outcome(&text)) }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = StatusCode;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, StatusCode> {
        parts.extensions.get::<Visitor>().cloned().ok_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// A form that one of our own pages sent: its token has been checked.
pub struct Posted {
    pub visitor: Visitor,
    pub fields: BTreeMap<String, String>,
}

impl Posted {
    /// A field's text, trimmed; empty when it is not there.
    pub fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |text| text.trim())
    }
}

impl FromRequest<Arc<State>> for Posted {
    type Rejection = Response;

    async fn from_request(request: Request, state: &Arc<State>) -> Result<Posted, Response> {
        let visitor = request.extensions().get::<Visitor>().cloned().ok_or_else(|| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
        let from_query = request.uri().query().unwrap_or_default().to_owned();
        let refuse = |status: StatusCode, what: &str| (status, problem::bare(status, what)).into_response();
        let body =
            Bytes::from_request(request, state).await.map_err(|_| refuse(StatusCode::PAYLOAD_TOO_LARGE, "this form is too large"))?;
        let read = |text: &[u8]| {
            url::form_urlencoded::parse(text).map(|(k, v)| (k.into_owned(), v.into_owned())).take(50).collect::<BTreeMap<_, _>>()
        };
        let mut fields = read(from_query.as_bytes());
        let posted = read(&body);
        // A token in the address would stand in logs and histories: only the body counts.
        let token = posted.get("csrf").map(String::as_str).unwrap_or_default();
        if visitor.reader.csrf.is_empty() || !session::same(token, &visitor.reader.csrf) {
            return Err(refuse(
                StatusCode::FORBIDDEN,
                "this form is not from a page of ours, or its session has ended. Go back, reload the page and try again. Nothing was changed.",
            ));
        }
        fields.extend(posted);
        Ok(Posted { visitor, fields })
    }
}

/// Fixes the theme; set by `/me`.
pub const THEME: &str = "burnwatch_theme";
/// Switches single keys off; set by `/me`.
pub const KEYS: &str = "burnwatch_keys";
const OUTCOME: &str = "burnwatch_outcome";

/// One cookie's value.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().split_once('=').filter(|(have, _)| *have == name).map(|(_, value)| value.to_owned()))
}

/// A cookie for our own pages only.
pub fn set_cookie(name: &str, value: &str, max_age_secs: i64, secure: bool) -> HeaderValue {
    let secure = if secure { "; Secure" } else { "" };
    HeaderValue::from_str(&format!("{name}={value}; Path=/; Max-Age={max_age_secs}; HttpOnly; SameSite=Strict{secure}"))
        .expect("cookie values are made of visible ASCII")
}

/// Carries an outcome over the redirect to the page that says it.
pub fn outcome_cookie(outcome: &Outcome) -> HeaderValue {
    let mut outcome = outcome.clone();
    outcome.text = crate::web::text::clip(&outcome.text, 400);
    let text = serde_json::to_string(&outcome).expect("plain data always serialises");
    set_cookie(OUTCOME, &URL_SAFE_NO_PAD.encode(text), 60, false)
}

pub(super) fn forget_outcome() -> HeaderValue {
    set_cookie(OUTCOME, "", 0, false)
}

fn read_outcome(text: &str) -> Option<Outcome> {
    let outcome: Outcome = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
    let ours = outcome.undo.as_ref().is_none_or(|(path, _)| path.starts_with("/incidents/") || path.starts_with("/silences/"));
    (ours && outcome.text.len() <= 4_000).then_some(outcome)
}
