//! Signing in and out, and what belongs to one's own browser.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::{ConnectInfo, Form, State as Take};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use serde::Deserialize;
use tracing::info;

use super::{Query, Site, back};
use crate::web::frame::{Outcome, Theme};
use crate::web::guard::visitor::{KEYS, Posted, THEME, Via, set_cookie};
use crate::web::number;
use crate::web::pages::personal as pages;
use crate::web::session;
use crate::web::state::State;

/// How long the choices of a browser are kept.
const CHOICE_SECS: i64 = 365 * 86_400;

/// A path inside the product to go on to; anything else is the first page.
fn inside(next: &str) -> &str {
    let inside = next.starts_with('/') && !next.starts_with("//") && !next.contains('\\') && !next.chars().any(char::is_control);
    if inside && next.len() <= 2_000 { next } else { "/" }
}

pub async fn sign_in(site: Site, query: Query) -> Response {
    if site.visitor.via != Via::Nobody {
        return Redirect::to(inside(query.get("next").unwrap_or("/"))).into_response();
    }
    pages::bare(site.now).render(pages::sign_in(query.get("next").unwrap_or("/"), None)).into_response()
}

/// What the form sends.
#[derive(Deserialize)]
pub struct SignIn {
    token: String,
    #[serde(default)]
    next: String,
}

pub async fn sign_in_with(site: Site, connect: Option<axum::Extension<ConnectInfo<SocketAddr>>>, Form(form): Form<SignIn>) -> Response {
    let (state, now) = (&site.state, site.now);
    let source = connect.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.0.ip());
    let refuse = |status: StatusCode, why: &str| (status, pages::bare(now).render(pages::sign_in(&form.next, Some(why)))).into_response();
    if let Some(wait) = state.failures.wait(source, now) {
        return refuse(
            StatusCode::TOO_MANY_REQUESTS,
            &format!("Too many wrong tokens from this address. Try again in {}.", number::duration(wait)),
        );
    }
    let Some(token) = session::find(&state.config.server.tokens, form.token.trim()) else {
        state.failures.note(source, now);
        return refuse(StatusCode::UNAUTHORIZED, "This token is not known here.");
    };
    info!(user = token.name, "signed in");
    let cookie =
        set_cookie(session::COOKIE, &session::open(&state.session_key, token, now), session::LASTS.millis() / 1_000, secure(state));
    let mut response = Redirect::to(inside(&form.next)).into_response();
    response.headers_mut().append(header::SET_COOKIE, cookie);
    response
}

fn secure(state: &State) -> bool {
    state.config.server.public_url.scheme() == "https"
}

pub async fn sign_out(Take(state): Take<Arc<State>>, posted: Posted) -> Response {
    if let Via::Session(session) = &posted.visitor.via {
        state.sessions.end(session, state.clock.now());
    }
    let mut response = Redirect::to("/sign-in").into_response();
    response.headers_mut().append(header::SET_COOKIE, set_cookie(session::COOKIE, "", 0, secure(&state)));
    response
}

pub async fn me(site: Site) -> Response {
    let ends = match &site.visitor.via {
        Via::Session(session) => Some(session.ends),
        Via::Local | Via::Bearer | Via::Nobody => None,
    };
    let page = pages::me(&site.visitor.reader, ends, site.now);
    site.show(Ok(page)).await
}

pub async fn set_me(Take(state): Take<Arc<State>>, posted: Posted) -> Response {
    let mut response = back("/me", &Outcome { good: true, text: "Saved for this browser.".into(), undo: None });
    let theme = Theme::parse(posted.field("theme")).map(Theme::name);
    let keys = (posted.field("keys") == "off").then_some("off");
    for (name, value) in [(THEME, theme), (KEYS, keys)] {
        let cookie = set_cookie(name, value.unwrap_or_default(), if value.is_some() { CHOICE_SECS } else { 0 }, secure(&state));
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_only_sent_on_inside_the_product() {
        assert_eq!(inside("/incidents/4127?range=6h"), "/incidents/4127?range=6h");
        for bad in ["", "//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\r\nSet-Cookie: x=y"] {
            assert_eq!(inside(bad), "/", "{bad}");
        }
    }
}
