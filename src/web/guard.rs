//! What every request passes: Host, who it is, where a change comes from, and the headers of the answer.

mod host;
#[cfg(test)]
mod tests;
pub mod visitor;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State as Take};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

use super::problem::Problem;
use super::session;
use super::state::State;
use super::text::query;
use crate::config::Scope;
use crate::domain::time::Timestamp;
use visitor::{Via, Visitor};

/// What pages may load: our own stylesheet, script and frames, nothing else.
pub const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What a path asks of its visitor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// Anybody.
    Nothing,
    Scope(Scope),
}

/// The middleware around all routes of the admin listener.
pub async fn guard(Take(state): Take<Arc<State>>, mut request: Request, next: Next) -> Response {
    let now = state.clock.now();
    let api = is_api(request.uri().path());
    let answer = match admit(&state, &request, now) {
        Ok(visitor) => {
            if super::reads::is_data(request.method(), request.uri().path()) {
                state.reads.note(&visitor.reader.name, &visitor.source, request.uri().path(), now);
            }
            let had_outcome = visitor.outcome.is_some() && !api && request.method() == Method::GET;
            request.extensions_mut().insert(visitor);
            let mut response = next.run(request).await;
            let shown = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
            if had_outcome && shown && !response.headers().contains_key(header::SET_COOKIE) {
                response.headers_mut().append(header::SET_COOKIE, visitor::forget_outcome());
            }
            response
        }
        Err(refusal) => refusal.into_response(api, &request),
    };
    with_headers(answer)
}

/// Whether programs, not people, read the answers under this path.
pub fn is_api(path: &str) -> bool {
    ["/v1/", "/api/", "/hooks/", "/metrics", "/healthz", "/readyz", "/-/", "/openapi.json", "/inbox/pager", "/inbox/hook/", "/events"]
        .iter()
        .any(|start| path.starts_with(start))
}

/// Whether somebody reads pages: a browser says so. Programs get their errors as JSON.
pub fn reads_pages(headers: &HeaderMap) -> bool {
    headers.get_all(header::ACCEPT).iter().filter_map(|accept| accept.to_str().ok()).any(|accept| accept.contains("text/html"))
}

/// Why a request goes no further.
enum Refusal {
    Problem(Problem),
    SignIn,
}

impl Refusal {
    fn into_response(self, api: bool, request: &Request) -> Response {
        match (self, api) {
            (Refusal::SignIn, false) => {
                let here = request.uri().path_and_query().map_or("/", |path| path.as_str());
                let next = if here == "/" { "" } else { here };
                Redirect::to(&format!("/sign-in{}", query(&[("next", next)]))).into_response()
            }
            (Refusal::SignIn, true) => Problem::new(StatusCode::UNAUTHORIZED, "send a token: `Authorization: Bearer …`")
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"burnwatch\""))
                .into_response(),
            (Refusal::Problem(problem), true) => problem.into_response(),
            (Refusal::Problem(problem), false) if !reads_pages(request.headers()) => problem.into_response(),
            (Refusal::Problem(problem), false) => {
                (problem.status(), super::pages::problem::bare(problem.status(), problem.detail())).into_response()
            }
        }
    }
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Refusal {
        Refusal::Problem(problem)
    }
}

fn admit(state: &State, request: &Request, now: Timestamp) -> Result<Visitor, Refusal> {
    let headers = request.headers();
    if !host::is_ours(request.uri(), headers, &state.config.server.public_url) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "this Host is not ours; use an address, localhost, or the host of server.public_url",
        )
        .into());
    }
    let source = request.extensions().get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
    let mut visitor = identify(state, headers, source, now)?;
    let path = request.uri().path();
    let changes = !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if changes && path.starts_with("/inbox/") {
        // The demo's own receivers: called by burnwatch, never by a browser.
        if from_browser(headers) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "only programs deliver here").into());
        }
        return Ok(visitor);
    }
    // Pages carry a token in their forms, which the handlers check; the API has no forms.
    if changes && visitor.via != Via::Bearer {
        let signed =
            headers.get("x-csrf-token").is_some_and(|value| session::same(value.to_str().unwrap_or_default(), &visitor.reader.csrf));
        // A browser that shows a cookie says where it comes from; who has only the cookie proves nothing.
        let says_nothing = matches!(visitor.via, Via::Session(_)) && !from_browser(headers);
        if (is_api(path) && !signed && (says_nothing || !same_origin(state, request))) || cross_site(headers) {
            return Err(Problem::new(StatusCode::FORBIDDEN, "this change comes from another site and was refused").into());
        }
    }
    match need(request.method(), path) {
        Need::Nothing => {}
        Need::Scope(_) if visitor.scope.is_none() => return Err(Refusal::SignIn),
        Need::Scope(scope) if visitor.scope < Some(scope) => {
            let name = if scope == Scope::Admin { "admin" } else { "operate" };
            return Err(
                Problem::new(StatusCode::FORBIDDEN, format!("this takes the scope `{name}`, which this token does not have")).into()
            );
        }
        Need::Scope(_) => {}
    }
    visitor.source = source.to_string();
    Ok(visitor)
}

fn need(method: &Method, path: &str) -> Need {
    // The link's or the call's signature is the permission, for the one thing that it names.
    if ["/assets/", "/act/", "/hooks/"].iter().any(|start| path.starts_with(start))
        || matches!(path, "/healthz" | "/readyz" | "/openapi.json" | "/-/ready" | "/-/healthy" | "/sign-in")
    {
        return Need::Nothing;
    }
    match *method {
        Method::GET | Method::HEAD | Method::OPTIONS => Need::Scope(Scope::Read),
        // Asking is not changing; what one's own browser shows is nobody else's business.
        _ if matches!(path, "/v1/query" | "/v1/routes/test" | "/sign-out" | "/me") => Need::Scope(Scope::Read),
        _ => Need::Scope(Scope::Operate),
    }
}

fn identify(state: &State, headers: &HeaderMap, source: IpAddr, now: Timestamp) -> Result<Visitor, Refusal> {
    let tokens = &state.config.server.tokens;
    if tokens.is_empty() {
        // Only on loopback: the configuration refuses any other address without tokens.
        return Ok(Visitor::new(state, headers, "local", Some(Scope::Admin), Via::Local));
    }
    if let Some(secret) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        if let Some(wait) = state.failures.wait(source, now) {
            let seconds = HeaderValue::from(wait.millis() / 1_000 + 1);
            return Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens from this address")
                .with(header::RETRY_AFTER, seconds)
                .into());
        }
        let secret = secret.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, secret)| secret.trim());
        return match secret.and_then(|secret| session::find(tokens, secret)) {
            Some(token) => Ok(Visitor::new(state, headers, &token.name, widest(&token.scopes), Via::Bearer)),
            None => {
                state.failures.note(source, now);
                Err(Problem::new(StatusCode::UNAUTHORIZED, "this token is not known here")
                    .with(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""))
                    .into())
            }
        };
    }
    let cookie = visitor::cookie(headers, session::COOKIE);
    Ok(match cookie.and_then(|cookie| state.sessions.read(&state.session_key, tokens, &cookie, now)) {
        Some((session, token)) => Visitor::new(state, headers, &token.name, widest(&token.scopes), Via::Session(session)),
        None => Visitor::new(state, headers, "", None, Via::Nobody),
    })
}

fn widest(scopes: &[Scope]) -> Option<Scope> {
    scopes.iter().copied().max()
}

fn header_text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn from_browser(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

/// Whether a browser says that another site sent this.
fn cross_site(headers: &HeaderMap) -> bool {
    header_text(headers, "sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

/// Whether a browser sent this from one of our own pages, or no browser sent it.
fn same_origin(state: &State, request: &Request) -> bool {
    let headers = request.headers();
    let Some(origin) = header_text(headers, "origin") else { return !cross_site(headers) };
    let host = header_text(headers, "host").or(request.uri().authority().map(|authority| authority.as_str())).unwrap_or_default();
    origin == state.config.server.public_url.origin().ascii_serialization()
        || origin.split_once("://").is_some_and(|(scheme, rest)| matches!(scheme, "http" | "https") && rest.eq_ignore_ascii_case(host))
}

/// The headers of every answer; a page with rules of its own keeps them.
fn with_headers(mut response: Response) -> Response {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, CSP),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    for (name, value) in fixed {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
