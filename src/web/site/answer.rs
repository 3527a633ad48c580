//! Links that acknowledge: a page that asks (`GET`), and the answer (`POST`). Neither takes a sign-in; the link is
//! the permission, for this one incident.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::Extension;
use axum::extract::{ConnectInfo, Path};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use super::Site;
use crate::domain::answer::{Claim, LASTS, Refusal};
use crate::domain::incident::Incident;
use crate::domain::time::Span;
use crate::web::answer::{Answered, Answerer, Subject, acknowledge, look};
use crate::web::frame::Page;
use crate::web::number;
use crate::web::pages::answer as pages;
use crate::web::pages::personal;
use crate::web::problem::Problem;
use crate::web::text::clip;

type Connect = Option<Extension<ConnectInfo<SocketAddr>>>;

/// Shows what the link would do; changes nothing, however often it is fetched.
pub async fn ask(site: Site, connect: Connect, Path(sealed): Path<String>) -> Response {
    let claim = match open(&site, source(&connect), &sealed) {
        Ok(claim) => claim,
        Err(refused) => return *refused,
    };
    match look(&site.state, &subject(&claim)).await {
        Ok(Answered::Done(incident)) => show(&site, StatusCode::OK, pages::confirm(&incident, &claim.receiver, claim.ends, site.now)),
        Ok(answered) => tell(&site, &answered),
        Err(problem) => failed(&site, &problem),
    }
}

/// Does it.
pub async fn act(site: Site, connect: Connect, Path(sealed): Path<String>) -> Response {
    let source = source(&connect);
    let claim = match open(&site, source, &sealed) {
        Ok(claim) => claim,
        Err(refused) => return *refused,
    };
    let by = Answerer { who: format!("link to {}", clip(&claim.receiver, 80)), source: source.to_string() };
    match acknowledge(&site.state, &by, &subject(&claim), None, site.now).await {
        Ok(answered) => tell(&site, &answered),
        Err(problem) => failed(&site, &problem),
    }
}

fn source(connect: &Connect) -> IpAddr {
    connect.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.0.ip())
}

fn subject(claim: &Claim) -> Subject<'_> {
    Subject { incident: &claim.incident, generation: claim.generation }
}

/// The claim, or the page that says why there is none. Forged links count as failed sign-ins of their source.
fn open(site: &Site, source: IpAddr, sealed: &str) -> Result<Claim, Box<Response>> {
    let failures = &site.state.failures;
    let refuse = |status, title: &str, what: &str| Box::new(show(site, status, pages::said(title, what, None, site.now)));
    if let Some(wait) = failures.wait(source, site.now) {
        let what = format!("Too many broken links or wrong tokens came from this address. Try again in {}.", number::duration(wait));
        let mut refused = refuse(StatusCode::TOO_MANY_REQUESTS, "Too many attempts", &what);
        let secs = (wait.millis() + 999) / Span::SECOND.millis();
        refused.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        return Err(refused);
    }
    site.state.answer_key.open(sealed, site.now).map_err(|refusal| match refusal {
        Refusal::Forged => {
            failures.note(source, site.now);
            let what = "It was cut or changed on its way, or another burnwatch wrote it. Nothing was changed. Open the incident to acknowledge it.";
            refuse(StatusCode::FORBIDDEN, "This link is not valid", what)
        }
        Refusal::Expired => {
            let what = format!(
                "Links in messages are good for {}. Nothing was changed. Open the incident to acknowledge it.",
                number::duration(LASTS)
            );
            refuse(StatusCode::GONE, "This link has expired", &what)
        }
    })
}

/// What came of it, in words.
fn tell(site: &Site, answered: &Answered) -> Response {
    let said =
        |status, title: &str, what: &str, incident: Option<&Incident>| show(site, status, pages::said(title, what, incident, site.now));
    match answered {
        Answered::Done(incident) => {
            let what = "Escalation and reminders stop; everybody who was told of it is told that it is acknowledged.";
            said(StatusCode::OK, "Acknowledged", what, Some(incident))
        }
        Answered::Before(incident) => {
            let who = incident.acknowledged_by.as_deref().unwrap_or("somebody");
            let what = format!("It was acknowledged by {} before. Nothing was changed.", clip(who, 80));
            said(StatusCode::OK, "Already acknowledged", &what, Some(incident))
        }
        Answered::Over(incident) => {
            said(StatusCode::OK, "Already resolved", "There is nothing left to acknowledge. Nothing was changed.", Some(incident))
        }
        Answered::Earlier(incident) => {
            let what = "It was sent when this incident had opened before; it has opened again since, and what is open now is another thing to answer for. Nothing was changed.";
            said(StatusCode::CONFLICT, "This link is about an earlier time", what, Some(incident))
        }
        Answered::Unknown => {
            said(StatusCode::NOT_FOUND, "This incident is gone", "It was removed by retention. Nothing was changed.", None)
        }
    }
}

fn failed(site: &Site, problem: &Problem) -> Response {
    error!(reason = problem.detail(), "an acknowledgement by link could not be made");
    let what = "The store does not answer. Nothing was changed; try again in a moment.";
    show(site, problem.status(), pages::said("This could not be done now", what, None, site.now))
}

fn show(site: &Site, status: StatusCode, page: Page) -> Response {
    (status, personal::bare(site.now).render(page)).into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;
    use crate::domain::answer::{Action, Key};
    use crate::domain::time::Timestamp;
    use crate::web::fixture::NOW;
    use crate::web::fixture::house::{EVE, House, read, request};

    fn link(generation: i64, incident: &str, ends: Timestamp) -> String {
        let claim = Claim { incident: incident.into(), generation, action: Action::Acknowledge, receiver: "team-mail".into(), ends };
        format!("/act/{}", Key::derive(&[7; 32]).seal(&claim))
    }

    async fn ask(house: &House, method: Method, path: &str) -> (StatusCode, String) {
        let (status, _, body) = read(house.send(request(method, path, &[], "")).await).await;
        (status, body)
    }

    async fn seen(house: &House, path: &str) -> String {
        read(house.send(request(Method::GET, path, &[("authorization", &format!("Bearer {EVE}"))], "")).await).await.2
    }

    #[tokio::test]
    async fn a_link_asks_first_and_acknowledges_once_without_a_sign_in() {
        let house = House::new(true, false).await;
        let link = link(1, "4127", NOW + LASTS);
        for _ in 0..3 {
            let (status, body) = ask(&house, Method::GET, &link).await;
            assert_eq!(status, StatusCode::OK);
            assert!(body.contains("Acknowledge this?") && body.contains("Checkout fails"), "{body}");
        }
        assert_eq!(ask(&house, Method::HEAD, &link).await.0, StatusCode::OK);
        assert!(seen(&house, "/v1/incidents/4127").await.contains("\"status\":\"open\""), "looking changes nothing");

        let (status, body) = ask(&house, Method::POST, &link).await;
        assert_eq!(status, StatusCode::OK);
        assert!(body.contains("<h1>Acknowledged</h1>"), "{body}");
        let incident = seen(&house, "/v1/incidents/4127").await;
        assert!(incident.contains("\"acknowledged_by\":\"link to team-mail\""), "{incident}");
        let audit = seen(&house, "/v1/audit").await;
        assert!(audit.contains("\"who\":\"link to team-mail\"") && audit.contains("\"action\":\"acknowledge\""), "{audit}");

        let (_, body) = ask(&house, Method::POST, &link).await;
        assert!(body.contains("Already acknowledged"), "{body}");
        assert_eq!(seen(&house, "/v1/audit").await.matches("link to team-mail").count(), 1, "the second time is no action");
    }

    #[tokio::test]
    async fn what_a_link_cannot_do_is_said_in_words() {
        let house = House::new(true, false).await;
        let good = link(1, "4127", NOW + LASTS);
        let forged = good.replace("/act/", "/act/A");
        for (path, status, words) in [
            (forged.as_str(), StatusCode::FORBIDDEN, "This link is not valid"),
            ("/act/x", StatusCode::FORBIDDEN, "This link is not valid"),
            (&link(1, "4127", NOW), StatusCode::GONE, "This link has expired"),
            (&link(2, "4127", NOW + LASTS), StatusCode::CONFLICT, "about an earlier time"),
            (&link(1, "9999", NOW + LASTS), StatusCode::NOT_FOUND, "This incident is gone"),
        ] {
            for method in [Method::GET, Method::POST] {
                let (is, body) = ask(&house, method, path).await;
                assert_eq!(is, status, "{path}");
                assert!(body.contains(words) && body.contains("Nothing was changed"), "{path}: {body}");
            }
        }
        assert!(seen(&house, "/v1/incidents/4127").await.contains("\"status\":\"open\""));
        assert!(!seen(&house, "/v1/audit").await.contains("link to"));
    }

    #[tokio::test]
    async fn whoever_tries_links_has_to_wait() {
        let house = House::new(true, false).await;
        for _ in 0..20 {
            assert_eq!(ask(&house, Method::GET, "/act/x.y").await.0, StatusCode::FORBIDDEN);
        }
        let answer = house.send(request(Method::POST, &link(1, "4127", NOW + LASTS), &[], "")).await;
        assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(answer.headers().contains_key(header::RETRY_AFTER));
    }

    #[tokio::test]
    async fn another_site_cannot_press_the_button() {
        let house = House::new(true, false).await;
        let answer = house.send(request(Method::POST, &link(1, "4127", NOW + LASTS), &[("sec-fetch-site", "cross-site")], "")).await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}
